"""Plan: what a run of `prepare` will do to a DATASET, all of it decided before anything is changed.

Each video that the DATASET holds has a record. A record is valid while the file is the one that was scanned, with the
same settings, and its part of the pack is intact. Such a video is not scanned again, even if the file was moved,
copied, renamed or touched: its content is what counts. A video that is held but no longer given is kept (`add`) or
removed (`remove`); with neither, the run is refused, because the videos' folder may only be temporarily unavailable.
"""

import logging
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from eruv_dali.dataset.pack import pack_files, trim_pack
from eruv_dali.dataset.pack_reader import PackReader, first_damaged
from eruv_dali.dataset.records import BadRecord, Identity, Note, Scan, carry_record, identity, read_record, record_path
from eruv_dali.dataset.seal import SEAL, Seal
from eruv_dali.errors import EruvError
from eruv_dali.video.content import content_of, same_content
from eruv_dali.video.find import Video
from eruv_dali.video.place import is_file, locate, look_again, out_of_reach, unplaced

log = logging.getLogger(__name__)


class VideosNotNamed(EruvError):
    """A run would drop videos; `said` is the message without the advice on the arguments of `prepare`."""

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        held = "1 video that is" if len(names) == 1 else f"{len(names)} videos that are"
        self.said = (f"{out}: holds {held} not among those given now ({names[0]!r}{' first' * (len(names) > 1)}; is a "
                     "disk not mounted?); nothing was changed")
        super().__init__(f"{self.said}; add=True (--add) keeps them, remove=True (--remove) removes them")
        self._made_of = out, names

    def __reduce__(self) -> tuple:
        return type(self), self._made_of


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        videos: all that the DATASET will hold, sorted by name.
        todo: those to scan.
        carried: those whose record is valid, but for another path or name; the record's path for each.
        superseded: records of files that now have another name; to delete at the end.
        gone: records to delete.
        removed: the names of the usable videos among `gone`.
        forgotten: how many videos among `gone` were unusable anyway.
        used: the end of the part still needed of each pack file.
    """

    videos: list[Video]
    todo: list[Video]
    carried: dict[Video, Path]
    superseded: list[Path]
    gone: list[Path]
    removed: list[str]
    forgotten: int
    used: dict[str, int]


def make_plan(
    out: Path, videos: Sequence[Video], scan: Scan, *, shortest: int, add: bool = False, remove: bool = False,
    shard: bool = False, merge: bool = False,
) -> Plan:
    """Compare what the DATASET `out` holds with the videos given now. Nothing is changed.

    Args:
        shortest: videos with fewer frames count as unusable.
        add, remove: keep the videos that are held but not given, or remove them.
        shard: the videos are one shard's, and records of others are none of its business: they are not looked at.
        merge: what the next run tries again is as good as scanned; its shard has just tried.

    Raises:
        VideosNotNamed: there are such videos, and neither is set.
        EruvError: a video would replace another one of the same name, or one to keep cannot be kept.
    """
    records = ((path for video in videos if (path := record_path(out, video.name)).exists()) if shard else
               (out / "records").glob("*.npz"))
    held = {path: note_of(path) for path in sorted(records)}
    notes = {path: note for path, note in held.items() if note}  # of the records that can be read
    if add:
        videos = _by_held_names(out, videos, held)
    here = {video: _identity(video, notes.get(record_path(out, video.name))) for video in videos}
    # A file that has vanished since it was found is treated as not found.
    named = {path: video for video in videos if (path := record_path(out, video.name)) not in held
             or here[video].size >= 0}
    files = {unplaced(here[video].path) for video in named.values()}
    other = {path: note for path, note in held.items() if note is None or unplaced(note.identity.path) not in files}
    unnamed = [path for path in other if path not in named]
    replaced = [path for path, note in other.items() if path in named and note and _changed(note, here[named[path]])]
    superseded = [path for path in held if path not in named and path not in other]
    renamed = _renamed({path: here[video] for path, video in named.items() if path not in held},
                       {path: notes[path] for path in unnamed if path in notes})
    if not add:
        superseded += sorted(set(renamed.values()))
        unnamed = [path for path in unnamed if path not in superseded]

    clashing = [path for path in replaced if usable(path, held[path], shortest)]
    if clashing and not remove:
        video = named[clashing[0]]
        raise EruvError(f"{out}: holds {notes[clashing[0]].identity.path} under the name {video.name!r}, which "
                        f"{here[video].path} would have now; nothing was changed; give their common folder, or remove "
                        "the former with remove=True (--remove)")
    lost = [path for path in unnamed if usable(path, held[path], shortest)]
    if lost and not (add or remove):
        raise VideosNotNamed(out, sorted(_name(path, held[path]) for path in lost))
    if add and (unreadable := [path for path in unnamed if held[path] is None]):
        raise EruvError(f"{unreadable[0]}: cannot be read, so its video cannot be kept; give all "
                        "videos, which scans it again, or delete this file; nothing was changed")

    # A folder at a record's path would be in its way.
    in_the_way = [path for path, note in other.items() if path in named and note is None and path.is_dir()]
    gone = replaced + in_the_way + ([] if add else unnamed)
    by_file = {note.identity: path for path, note in held.items() if note}
    todo: list[Video] = []
    carried: dict[Video, Path] = {}
    kept, suspect, valid = [], suspect_packs(out), ("", PROVISIONAL) if merge else ("",)
    with closing(PackReader(out / "pack")) as packed:
        for path, video in named.items():
            source = path if path in held else by_file.get(here[video]) or renamed.get(path)
            note = notes.get(source) if source else None
            if (source is None or note is None or _changed(note, here[video])
                    or stale(source, note, scan, suspect, packed) not in valid):
                todo.append(video)
            elif source != path or note.identity != here[video]:
                carried[video] = source
        for path in sorted(unnamed, key=lambda path: notes[path].video) if add else ():
            note = notes[path]
            video = Video(note.video, locate(note.identity.path))
            kept.append(video)
            outdated = stale(path, note, scan, suspect, packed)
            if outdated not in valid and not _changed(note, identity(video)):
                todo.append(video)
            elif outdated not in ("", PROVISIONAL) and not note.reason:
                raise EruvError(f"{video.path}: is missing or has changed, and without it {video.name!r} cannot be "
                                f"kept ({outdated}); nothing was changed; restore the file, use the settings it was "
                                "scanned with, or remove it with remove=True (--remove)")

    used: dict[str, int] = {}
    for path in notes.keys() - gone:
        note = notes[path]
        if note.pack:
            used[note.pack] = max(used.get(note.pack, 0), note.pack_end)
    removed = sorted(_name(path, held[path]) for path in clashing + lost) if remove else []
    return Plan(
        videos=sorted([*named.values(), *kept], key=lambda video: video.name),
        todo=sorted(todo, key=lambda video: video.name), carried=carried, superseded=superseded, gone=gone,
        removed=removed, forgotten=0 if add else len(unnamed) - len(lost), used=used,
    )


def refuse_late_start(out: Path, plan: Plan, start: float | None, *, scanned: bool = False) -> None:
    """Make sure that some video lasts until `start`, in seconds: the tables would say nothing of any. Only those that
    have a record are known, which is all of them once the plan's are `scanned`.

    Raises:
        EruvError: none does.
    """
    if not start:
        return
    ends = []
    for video in plan.videos:
        path = plan.carried.get(video, record_path(out, video.name))
        note = None if path in plan.gone else note_of(path)
        if note is None or note.reason:
            continue
        ends.append((float(read_record(path).times()[-1]), video.name))
        if ends[-1][0] > start:  # most often the first one
            return
    if ends:
        last, name = max(ends)
        more = bool(plan.todo) and not scanned
        raise EruvError(f"start {start:g}: every video ends before{', of those held' * more}, the longest, {name}, "
                        f"after {last:.1f} seconds; choose an earlier start"
                        f"{', or prepare the new or changed videos without it first' * more}")


def begin(out: Path, plan: Plan, *, shard: bool = False) -> None:
    """Carry out the part of a plan that comes before scanning.

    A kill at any moment loses nothing but what was to be removed: a record that is no longer valid, or is stored under
    an old name, stays until the new one is written.

    Args:
        shard: other runs may be writing records and pack files: only what is the plan's own is touched.
    """
    if not shard:
        remove_asides(out)
    if plan.todo or plan.carried or plan.superseded or plan.gone:
        (out / "dataset.json").unlink(missing_ok=True)  # if killed from here on, it is not a DATASET until the next run
    for video, source in plan.carried.items():
        carry_record(source, out, video)
    for path in plan.gone:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if not shard:
        trim_pack(out / "pack", plan.used, sealed_sizes(out))


def remove_asides(out: Path) -> None:
    """Delete what runs that were killed while writing a file left next to it."""
    for folder in (out, out / "records"):
        for left in folder.glob(".*.aside"):
            left.unlink()


def end(plan: Plan) -> None:
    """Carry out the part of a plan that comes after scanning, when every video has its record."""
    for path in plan.superseded:
        path.unlink()


def sealed_sizes(out: Path) -> dict[str, int]:
    """Bytes in each pack file, by its name, when the DATASET was last finished."""
    if not (out / SEAL).exists():
        return {}
    try:
        seal = Seal(out)
    except EruvError:
        return {file.name: file.stat().st_size for file in pack_files(out / "pack")}
    return {Path(file).name: known["mark"][0] for file, known in seal.files.items() if file.startswith("pack/")}


def removing_command(
    paths: Sequence[str | Path], out: Path, *, pack: str, frame_size: tuple[int, int], min_length: int
) -> str:
    """The command that removes the videos no longer given, for messages of programs that call `prepare`."""
    return shlex.join(map(str, [
        "python", "-m", "eruv_dali.prepare", *paths, "--out", out, "--pack", pack, "--frame-size",
        f"{frame_size[0]}x{frame_size[1]}", "--min-length", min_length, "--remove",
    ]))


PROVISIONAL = "its scan must be tried again"


def _identity(video: Video, note: Note | None) -> Identity:
    """The identity of a video's file now. One in a store that is out of reach is taken for what it was."""
    now = identity(video)
    if now.size < 0 and note and not note.reason and (why := out_of_reach(video.path)):
        log.warning("%s: %s; what is held of it is kept", video.path, why)
        return note.identity
    return now


def _by_held_names(out: Path, videos: Sequence[Video], held: dict[Path, Note | None]) -> list[Video]:
    """The videos, each under the name that the DATASET already has for its file, wherever the file was found now."""
    names = {video.name for video in videos}
    known = {unplaced(note.identity.path): note.video for note in held.values() if note and note.video not in names}
    return [video if record_path(out, video.name) in held
            else Video(known.get(unplaced(identity(video).path), video.name), video.path) for video in videos]


def stale(path: Path, note: Note, scan: Scan, suspect: set[str], packed: PackReader) -> str:
    """Why a record is no longer valid although the file is the same, or an empty string."""
    if note.scan != scan:
        return f"it was scanned with {note.scan}"
    if note.pack and _pack_lost(packed, note, path, note.pack in suspect):
        return "its part of the pack is damaged"
    return PROVISIONAL if note.provisional else ""


def _changed(note: Note, here: Identity) -> bool:
    """Whether a record's file is not the one here. Size and time tell that of a file in its place; at another path, or
    where the time is another, the content does. A record of an earlier version does not know it: then a file of the
    same size and time was moved, unless the old path still exists.
    """
    then = note.identity
    if then.size != here.size:
        return True
    if then.mtime_ns != here.mtime_ns:
        return not note.content or note.content != content_of(here.path)
    if then.path == here.path:
        return False
    try:
        if locate(then.path).exists():
            return not same_content(then.path, here.path)
    except OSError:
        return True
    return bool(note.content) and note.content != content_of(here.path)


def _renamed(new: dict[Path, Identity], missed: dict[Path, Note]) -> dict[Path, Path]:
    """The files that were usable under another name: for the path of each one's record, that of the record under the
    former name, where there is no file any more.

    Of files with one content each has its own record, as long as there are enough. A record that does not know the
    content is taken only if no other record or file has its size and time.
    """
    look_again(locate(note.identity.path) for note in missed.values())
    by_size: dict[int, list[Path]] = {}
    for path, note in missed.items():
        if not note.reason and not locate(note.identity.path).exists():
            by_size.setdefault(note.identity.size, []).append(path)
    alike_now = Counter(here[1:] for here in new.values())
    found: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path, here in new.items():
        alike = [old for old in by_size.get(here.size, ()) if not _changed(missed[old], here)]
        sure = [old for old in alike if missed[old].content]
        if not sure and len(alike) == 1 and alike_now[here[1:]] == 1:
            sure = alike
        if sure:
            found[path] = next((old for old in sure if old not in taken), sure[0])
            taken.add(found[path])
    return found


def usable(path: Path, note: Note | None, shortest: int) -> bool:
    """Whether a record's video is usable; if the record cannot be read, it may be."""
    if note is None or note.reason:
        return note is None
    return len(read_record(path).frames) >= shortest


def _name(path: Path, note: Note | None) -> str:
    return note.video if note else f"{path.parent.name}/{path.name}"


def note_of(path: Path) -> Note | None:
    """The note of a record, or None if the record is damaged or of another version."""
    try:
        return read_record(path).note
    except BadRecord:
        return None


def suspect_packs(out: Path) -> set[str]:
    """Pack files that were modified since they were sealed, or are missing."""
    if not (out / SEAL).exists() and not (out / "dataset.json").exists():
        return set()  # the first run was interrupted: frames are flushed to disk before the record that refers to them
    try:
        seal = Seal(out)
    except EruvError:  # the seal is missing or damaged: suspect all pack files
        return {file.name for file in pack_files(out / "pack")}
    return {Path(file).name for file in seal.files if file.startswith("pack/") and not seal.untouched(file)}


def _pack_lost(packed: PackReader, note: Note, path: Path, suspect: bool) -> bool:
    """Whether the pack no longer holds this video as written; its bytes are checked only in a `suspect` file."""
    file = packed.folder / note.pack
    if not is_file(file) or file.stat().st_size < note.pack_end:
        return True
    return suspect and first_damaged(packed, note.pack, read_record(path).frames) is not None
