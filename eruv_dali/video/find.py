"""Find video files, and give them names."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eruv_dali.errors import EruvError
from eruv_dali.video.place import Location, Place, locate, look_again
from eruv_dali.video.remote_store import HTTP, OutOfReach, listing
from eruv_dali.video.tar import TarLists, clean_name

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .f4v .flv .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogm "
    ".ogv .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)
TAR = ".tar"
SPLIT = "split"  # folder in a DATASET, with a file of each shot
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")


@dataclass(frozen=True)
class Video:
    """A video and its name: its path relative to the given folder, or in its tar."""

    name: str
    path: Location


def find_videos(
    paths: Sequence[str | Path] | str | Path, tars: TarLists | None = None, *, written: Path | None = None
) -> list[Video]:
    """Collect videos from files, folders (searched recursively), tars and URLs of these, sorted by name; `paths` may be
    one of them.

    A file given directly is taken whatever its suffix; in a folder only video suffixes and .tar count, and not hidden
    files. Links are followed; a folder that can be reached in several ways is searched once. Links that lead nowhere
    and folders that cannot be read are left out, with a warning. Of a URL the suffix tells whether it is a file.

    A video in a tar has its member's name; where another has that too, the name of the tar, without .tar, and a slash
    before it. What can be read of a damaged or half-written tar is taken, with a warning.

    Args:
        tars: lists of what tars hold, so that known ones are not read again.
        written: the folder of a DATASET that `prepare` will write. What lies in it is left out, unless it or a place
            in it is itself among `paths`; the folder of shots in it is left out all the same.

    Raises:
        EruvError: a path does not exist or cannot be read, a folder or tar holds no video, a store cannot be reached,
            two videos have the same name, or one given would be deleted with the shots in `written`.
    """
    tars, began = tars or TarLists(), time.monotonic()
    found: dict[str, Location] = {}
    members: dict[str, dict[Location, str]] = {}  # by name: where each is, and its tar's name
    troubles: list[tuple[str, str]] = []  # with tars, and what becomes of each

    def add(name: str, path: Location) -> None:
        if found.setdefault(name, path).resolve() != path.resolve():
            raise EruvError(f"{path} and {found[name]} would both be called {name!r}; give their common folder")

    for given in [paths] if isinstance(paths, str | Path) else paths:
        if not isinstance(given, str | Path | Place) or given == "":
            raise EruvError(f"{given!r} is no path; give video files or folders of them")
        location = locate(str(given)) if isinstance(given, str) else given
        named = _below(location, written) if isinstance(location, Path) else _below_url(location)
        before = len(found), len(members), len(troubles)
        for name, path in named:
            if not name.lower().endswith(TAR):
                add(name, path)
                continue
            places, wrong = _videos_in(path, tars)
            for member, place in places:
                members.setdefault(member, {})[place.resolve()] = name[: -len(TAR)]
            if wrong:
                what = f"the {len(places)} videos before that are" if len(places) > 1 else "the video before that is"
                troubles.append((f"{path}: {wrong}", f"{what} used" if places else "left out"))
            elif not places and len(named) == 1:
                raise EruvError(f"{path}: no videos in this tar (looked for {_suffixes()})")
        if not named or len(named) > 1 and (len(found), len(members), len(troubles)) == before:
            raise EruvError(f"{given}: no videos in this folder (looked for {_suffixes()}; a file of another kind, "
                            "such as .gif, is read if it is named itself)")
    for member, holders in members.items():
        alone = len(holders) == 1 and member not in found
        for where, shard in holders.items():
            add(member if alone else f"{shard}/{member}", where)
    if not found:
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        raise EruvError(troubles[0][0] + more if troubles else "no videos given; give video files or folders of them")
    for trouble, done in troubles:
        log.warning("%s; %s", trouble, done)
    look_again(found.values(), since=began)
    return [Video(name, found[name]) for name in sorted(found)]


def _below(given: Path, written: Path | None) -> list[tuple[str, Location]]:
    """Name and path of a file, or of the video files and tars below a folder; `written` as of `find_videos`."""
    if not given.exists():
        pattern = "; without quotes the shell replaces * and ? by names" * any(c in str(given) for c in "*?")
        raise EruvError(f"{given}: no such file or folder{pattern}")
    if not os.access(given, os.R_OK):
        raise EruvError(f"{given}: not readable; check its permissions")
    apart = None
    if written is not None:
        top, apart = given.resolve(), written.resolve()
        if top.is_relative_to(apart):
            apart /= SPLIT
            if top.is_relative_to(apart):
                raise EruvError(f"{given}: lies in {written / SPLIT}, which prepare deletes and makes anew; move it "
                                f"away, or choose another folder than {written} for the DATASET")
    if given.is_dir():
        return [(path.relative_to(given).as_posix(), path) for path in sorted(_files_below(given, apart))]
    _refuse_compressed(given.name, given)
    return [(given.name, given)]


def _below_url(given: Place) -> list[tuple[str, Location]]:
    """The same of a URL."""
    parts = urlsplit(str(given))
    name = clean_name(unquote(parts.path).rpartition("/")[2])
    _refuse_compressed(name, given)
    if _counts(name):
        return [(name, given)]
    try:
        objects = listing(str(given))
    except OutOfReach as error:
        raise EruvError(f"{given}: {error.strerror}") from None
    named = ((clean_name(unquote(name) if parts.scheme in HTTP else name), url) for name, url in objects.items())
    return [(name, Place(url)) for name, url in sorted(named)
            if _counts(name) and not any(part.startswith(".") for part in name.split("/"))]


def _refuse_compressed(name: str, given: Location) -> None:
    if name.lower().endswith(COMPRESSED):
        raise EruvError(f"{given}: a compressed tar, whose videos cannot be read in place; decompress it, and give the "
                        ".tar")


def is_folder(url: Place) -> bool:
    """Whether a URL is not that of one video or tar, as far as its name tells."""
    return url.size is None and not _counts(urlsplit(str(url)).path)


def _counts(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES or name.lower().endswith(TAR)


def _suffixes() -> str:
    return ", ".join(sorted(VIDEO_SUFFIXES))


def _videos_in(tar: Location, tars: TarLists) -> tuple[list[tuple[str, Place]], str]:
    """Name and place of each video in a tar, and what is wrong with the tar, "" if nothing is."""
    try:
        contents = tars.contents(tar)
    except OSError as error:
        return [], f"cannot be read ({error.strerror})"
    file = tar if isinstance(tar, Path) else tar.file
    return [(name, Place(file, name, offset, size)) for name, offset, size in contents.members
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not Path(name).name.startswith(".")], contents.trouble


def _files_below(top: Path, apart: Path | None) -> list[Path]:
    """The video files and tars in a folder and the folders within it, but for those within `apart`, a resolved path."""
    files: list[Path] = []
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    if apart is not None and apart.is_dir():
        status = apart.stat()
        seen.add((status.st_dev, status.st_ino))
    own: list[Path] = [top]  # folders still to be searched
    linked: list[Path] = []  # those behind links come last: the names of files in others do not depend on them
    while own or linked:
        folder = own.pop(0) if own else linked.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            left_out.append(f"{folder}: {error.strerror}")
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            link = entry.is_symlink()
            if link and apart is not None and path.resolve().is_relative_to(apart):
                continue
            if path.is_dir() if link else entry.is_dir():
                (linked if link else own).append(path)
            elif _counts(entry.name):
                if path.is_file() if link else entry.is_file():
                    files.append(path)
                elif link:
                    left_out.append(f"{path}: a link that leads nowhere")
    if left_out:
        log.warning("%s%s", left_out[0], f" (and {len(left_out) - 1} more)" * (len(left_out) > 1) + "; left out")
    return files
