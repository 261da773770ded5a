"""What reads the mutated files, and how a wrong answer is told from a right one.

Each target is called with a folder of its own and a random generator, mutates one file and reads it. It returns what
came of it: "delivered" or "refused". Whatever else it raises is a finding; `Wrong` is a silently wrong answer.
"""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags, Flags2
from editing import delivered, reseal
from hostile.mutations import damage, damage_text
from numbered import BITS

from eruv_dali.actions.lists import read_lines
from eruv_dali.dataset.records import read_record
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.models import load_backbone
from eruv_dali.models.vcop_file import load_vcop
from eruv_dali.shots import find_shots
from eruv_dali.train.checkpoint import load_checkpoint
from eruv_dali.train.config import dump_config, load_config, load_rows
from eruv_dali.train.metrics import read_metrics
from eruv_dali.video.coding import read_coding
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.frames import rgb_picture
from eruv_dali.video.index import FrameIndex, index_video
from eruv_dali.video.open import NO_PTS, DamagedVideo, UnusableVideo
from eruv_dali.video.place import Place, open_location
from eruv_dali.video.reader import FrameNotFound, FrameReader
from eruv_dali.video.tags import tags_hold
from eruv_dali.video.tar import read_headers
from eruv_dali.visualize.curves import draw_curves
from eruv_dali.visualize.neighbours import read_neighbours

SIZE = (96, 128)  # of the videos; they are decoded at their own size
UNREADABLE = -1  # a picture that shows no number clearly
MOST_SHIFTED = 2  # pictures that may show another number: where a decoder conceals damage, a neighbour's shows through
LONGEST = 2000  # characters of an error's line


class Wrong(Exception):
    """A wrong answer, given without a word."""


def one_line(error: Exception) -> str:
    """"refused", if the error says what is wrong in one line of reasonable length."""
    said = str(error)
    if not said or "\n" in said or len(said) > LONGEST:
        raise Wrong(f"{type(error).__name__} is not one line: {said[:300]!r} of {len(said)} characters") from error
    return "refused"


def clear_numbers(pictures_NHWC: np.ndarray) -> np.ndarray:
    """(N,) the number that each picture shows; UNREADABLE where a band is neither black nor white throughout."""
    H, W = pictures_NHWC.shape[1:3]
    found = np.zeros(len(pictures_NHWC), int)
    clear = np.ones(len(found), bool)
    for bit in range(BITS):
        row = int(H / 8 + (bit + 0.5) * (H * 3 / 4) / BITS)
        band = pictures_NHWC[:, row - 1 : row + 2, W // 2 - 8 : W // 2 + 8].reshape(len(found), -1)
        white, black = band.min(1) > 190, band.max(1) < 65
        clear &= white | black
        found |= white.astype(int) << bit
    return np.where(clear, found, UNREADABLE)


def compare(what: str, shown: np.ndarray, should: np.ndarray) -> None:
    """Wrong: more than MOST_SHIFTED pictures clearly show another number than they should."""
    unlike = (shown != should) & (shown != UNREADABLE) & (should != UNREADABLE)
    if unlike.sum() > MOST_SHIFTED:
        raise Wrong(f"{what}: frames show {shown[unlike][:8].tolist()} instead of {should[unlike][:8].tolist()}")


class Videos:
    """index, decode, read and slice of a mutated video: frames have the numbers that decoding it whole gives them."""

    def __init__(self, seeds: Path) -> None:
        self.seeds = {path.name: path.read_bytes() for path in sorted((seeds / "videos").iterdir())}

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        name = sorted(self.seeds)[random.integers(len(self.seeds))]
        path = folder / name
        path.write_bytes(damage(self.seeds[name], random, [*self.seeds.values()]))
        return read_video(path, random)


def read_video(path: Path, random: np.random.Generator) -> str:
    chunks, remark = [], ""
    try:
        for chunk in decode_pictures(path, [SIZE]):
            chunks.append(chunk)
    except (UnusableVideo, DamagedVideo) as error:
        remark = one_line(error)
    indices: dict[str, FrameIndex] = {}
    try:
        indices["index_video"] = index_video(path)[0]
        read_coding(path)
    except UnusableVideo as error:
        one_line(error)
    if not chunks:
        return "refused"
    whole = clear_numbers(np.concatenate([chunk.pictures[0] for chunk in chunks]))
    columns = {key: np.concatenate([getattr(chunk, key) for chunk in chunks])
               for key in ("pts", "key", "offset", "size")}
    if not tags_hold(path):
        columns["pts"][:] = NO_PTS
    indices["prepare"] = FrameIndex(**columns)
    for maker, index in indices.items():
        wanted = np.unique(random.integers(len(index.pts), size=8))
        # What frame n is, its time stamp says, if each has one of its own; or else its place.
        place = {pts: number for number, pts in enumerate(columns["pts"].tolist())} if index.tagged else {}
        places = [place.get(int(index.pts[n]), -1) if place else n for n in wanted]
        should = np.array([whole[at] if 0 <= at < len(whole) else UNREADABLE for at in places])
        reader = FrameReader()
        try:
            compare(f"{maker}, slice", _slice(reader, path, index, wanted), should)
            compare(f"{maker}, read", clear_numbers(reader.read(path, index, wanted, *SIZE)), should)
        except FrameNotFound as error:
            remark = one_line(error)
        finally:
            reader.close()
    return remark or "delivered"


def _slice(reader: FrameReader, path: Path, index: FrameIndex, wanted: np.ndarray) -> np.ndarray:
    """The numbers in a slice, at the positions where it says that the wanted frames are; UNREADABLE where it has none.

    DALI decodes slices, on a GPU. Here libavcodec does, told to leave out no picture, as NVDEC leaves out none.
    """
    shown = np.full(len(wanted), UNREADABLE)
    cut = reader.slice(path, index, wanted)
    if cut is None:
        return shown
    try:
        with av.open(io.BytesIO(cut.data)) as container:
            decoder = container.streams.video[0].codec_context
            decoder.thread_type = "NONE"
            decoder.flags |= Flags.output_corrupt
            decoder.flags2 |= Flags2.show_all
            for number, frame in enumerate(container.decode(video=0)):
                for place in np.flatnonzero(cut.positions == number):
                    shown[place] = clear_numbers(rgb_picture(frame, *SIZE)[None])[0]
    except (av.error.FFmpegError, IndexError):  # IndexError: libav finds no video in it
        pass  # DALI's decoder would say so, and the video be read in the other way
    return shown


class Datasets:
    """A DATASET of which one file was mutated, some with a seal that agrees, through the loader."""

    FILES = ("dataset.json", "videos.json", "videos-*.npy", "videos.csv", "segments.csv", "segments.npy", "frames.npy",
             "seal.json", "pack/frames-00000.bin")

    def __init__(self, seeds: Path) -> None:
        self.folders = sorted((seeds / "datasets").iterdir())

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        source = self.folders[random.integers(len(self.folders))]
        copy = folder / source.name
        if not copy.exists():
            shutil.copytree(source, copy)
        names = [str(path.relative_to(source)) for name in self.FILES for path in source.glob(name)]
        name, how = names[random.integers(len(names))], random.choice(["plain", "same time", "agreeing seal"])
        change = damage if name.endswith((".npy", ".bin")) else damage_text
        before = (source / name).read_bytes()
        changed = change(before, random)
        kept = (copy / name).stat().st_mtime_ns
        (copy / name).write_bytes(changed)
        # With size and time as they were, these two are taken for whole, unread: docs/guarantees.md.
        unread = name == "frames.npy" or (name.startswith("pack/") and source.name == "raw")
        if how == "same time" and not unread:
            os.utime(copy / name, ns=(kept, kept))
        liar = how == "agreeing seal"
        if liar and name != "seal.json":
            try:
                reseal(copy)
            except (ValueError, KeyError):  # dataset.json is no longer JSON
                liar = False
        try:
            try:
                names = delivered(copy, look=not liar)
            except AssertionError as error:
                raise Wrong(f"{source.name}: {name}, {how}: {error}") from error
            return "delivered" if names else "refused"
        except EruvError as error:
            return one_line(error)
        finally:
            for each in {name, "seal.json"}:
                shutil.copy2(source / each, copy / each)


class Tars:
    """A tar of videos: members whose header and bytes stand as they were are found, or it says what is wrong."""

    def __init__(self, seeds: Path) -> None:
        self.seeds = [(path.read_bytes(), read_headers(path).members) for path in sorted((seeds / "tars").iterdir())]

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        whole, members = self.seeds[random.integers(len(self.seeds))]
        path = folder / "x.tar"
        path.write_bytes(data := damage(whole, random, [whole]))
        try:
            found = read_headers(path)
        except OSError as error:
            raise Wrong(f"a tar that can be read cannot be read: {error}") from error
        if found.trouble and ("\n" in found.trouble or len(found.trouble) > LONGEST):
            raise Wrong(f"not one line: {found.trouble[:300]!r}")
        for name, offset, size in found.members:
            with open_location(Place(path, name, offset, size)) as file:
                if file.read() != data[offset : offset + size] or offset + size > len(data):
                    raise Wrong(f"{name}: other bytes than those at {offset} to {offset + size}")
        same = [member for member in members if data[member.offset - 512 : member.offset + member.size]
                == whole[member.offset - 512 : member.offset + member.size]]
        places = {member[1:] for member in found.members}  # a long name stands before the header, without a checksum
        if lost := [] if found.trouble else [member for member in same if member[1:] not in places]:
            raise Wrong(f"left out without a word: {lost}")
        return "refused" if found.trouble else "delivered"


class Records:
    """A record of prepare, mutated outside or within its archive."""

    def __init__(self, seeds: Path) -> None:
        self.seeds = [path.read_bytes() for path in sorted(seeds.glob("datasets/*/records/*.npz"))]

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        path = folder / "record.npz"
        path.write_bytes(damage_archive(self.seeds, random))
        try:
            record = read_record(path)
        except EruvError as error:
            return one_line(error)
        if not record.note.reason:
            record.times()
            find_shots(record.curves)
        return "delivered"


def damage_archive(seeds: Sequence[bytes], random: np.random.Generator) -> bytes:
    """One of some zip archives with mutated bytes; half of the time those of a member, with the right checksum."""
    data = seeds[random.integers(len(seeds))]
    if random.random() < 0.5 or not data.startswith(b"PK"):
        return damage(data, random, seeds)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        members = old.infolist()
        chosen = int(random.integers(len(members)))
        for number, member in enumerate(members):
            content = old.read(member)
            if number == chosen:
                content = damage_text(content, random) if b'"version"' in content else damage(content, random)
            new.writestr(member.filename, content)
    return made.getvalue()


class TorchFiles:
    """Checkpoints, backbone files and state dicts, through everything that loads them."""

    LOADERS: tuple[Callable, ...] = (load_checkpoint, load_backbone, load_pretrained, load_vcop)

    def __init__(self, seeds: Path) -> None:
        self.seeds = [path.read_bytes() for path in sorted((seeds / "torch").iterdir())]

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        path = folder / "x.pt"
        path.write_bytes(damage_archive(self.seeds, random))
        came = "refused"
        for load in self.LOADERS:
            try:
                load(path)
                came = "delivered"
            except EruvError as error:
                one_line(error)
        return came


class Configurations:
    """YAML files and overrides; what is accepted is written and read back as itself."""

    def __init__(self, seeds: Path) -> None:
        self.seeds = [path.read_bytes() for path in sorted((seeds / "yaml").iterdir())]

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        path = folder / "c.yaml"
        path.write_bytes(damage_text(self.seeds[random.integers(len(self.seeds))], random, self.seeds))
        words = []
        if random.random() < 0.3:
            words = [damage_text(b"optim.lr=0.1", random).decode("latin-1")]
        try:
            configs = [*load_rows(path, words).values()]
        except EruvError as error:
            return one_line(error)
        for config in configs:
            path.write_text(dump_config(config))
            if load_config(path) != config:
                raise Wrong("a configuration is not read back as it was written")
        return "delivered"


class Figures:
    """metrics.jsonl, neighbours.json and lists of splits."""

    def __init__(self, seeds: Path) -> None:
        self.seeds = {path.name: path.read_bytes() for kind in ("json", "lists") for path in (seeds / kind).iterdir()}

    def __call__(self, folder: Path, random: np.random.Generator) -> str:
        name = sorted(self.seeds)[random.integers(len(self.seeds))]
        path = folder / name
        path.write_bytes(damage_text(self.seeds[name], random, [*self.seeds.values()]))
        try:
            if name == "metrics.jsonl":
                json.dumps(read_metrics(path))
                if random.random() < 0.02:  # 0.7 s
                    draw_curves(path, folder / "curves.png")
            elif name == "neighbours.json":
                read_neighbours(folder)
            else:
                read_lines(path)
        except EruvError as error:
            return one_line(error)
        return "delivered"


# Of a hundred cases, so many.
SHARES = {"videos": (Videos, 40), "datasets": (Datasets, 8), "records": (Records, 14), "torch": (TorchFiles, 10),
          "configurations": (Configurations, 12), "figures": (Figures, 8), "tars": (Tars, 8)}
