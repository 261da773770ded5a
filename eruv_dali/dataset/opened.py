"""A DATASET: the folder that `prepare` writes and the loaders read.

For users to read and edit:

    videos.csv       video,path,frames,fps,width,height,codec,rotation,size,mtime_ns,
                     pixels,profile,interlaced,hidden,coded_width,coded_height,range,matrix,note
    segments.csv     segment,video,shot,start,end
    shots.csv        video,shot,start,end,score,start_time,end_time,transition,transition_start,transition_end
    rejected.csv     video,reason

For programs, not to be edited:

    dataset.json     format version, frame size, pack kind, and the settings with which the rest was made
    videos.json      {video: {path, frames, codec, rotation, size, mtime_ns, pack, first, coding, content}}, for
                     loaders; `pack` is the file that holds the video's frames, `first` the position of its frame 0
                     in frames.npy; earlier versions wrote no `coding` and no `content`
    videos-CRC.npy   where each video's text lies in the videos.json of that checksum, see video_table.py
    segments.npy     the same as segments.csv; `video` is a position in videos.json; memory-mapped
    frames.npy       one FRAME record per frame, in the order of videos.json; memory-mapped
    pack/            the decode-once copy of the frames, if one was requested
    seal.json        sizes, times and checksums of these files as prepare left them, see seal.py
    records/         what `prepare` found in each video, one file per video: its state between runs

Frames count from 0, `end` is exclusive, `video` is the path relative to the folder given to `prepare`. Times
are seconds as players show them. `transition` is what starts a shot: "cut", "gradual" (its frames transition_start to
transition_end-1 belong to no shot), or empty at the start of the video.

Two tables, videos.csv and segments.csv, may be edited with an editor or a spreadsheet, and sorted in any way, because
nothing is looked up by its position in them (see edited.py). A video can be deleted from both tables; segments can be
deleted, moved and added. Any other edit, and any damage to the other files, is refused with one line that names the
file and the value. Running `prepare` on the same folder restores everything, without decoding recorded videos again.

A DATASET may also lie in a store, by URL, to be read: see fetched.py and remote_pack.py.
"""

import json
import logging
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from eruv_dali.dataset.columns import FRAME, SEGMENT, VideoRow
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.edited import first_outside, read_edited_segments, read_kept_videos
from eruv_dali.dataset.fetched import as_in_store, fetch_tables
from eruv_dali.dataset.pack import PACK_KINDS
from eruv_dali.dataset.pack_reader import PackReader, first_damaged
from eruv_dali.dataset.remote_pack import RemotePack
from eruv_dali.dataset.seal import Seal
from eruv_dali.dataset.video_table import VideoTable, frames_and_first, pack_files_of, places_file, row_of
from eruv_dali.errors import EruvError
from eruv_dali.video.content import content_of
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.place import Location, Place, locate, look_again
from eruv_dali.video.remote_store import OutOfReach

log = logging.getLogger(__name__)

FORMAT = 3
SMALLEST, LARGEST = 8, 65500  # height and width of frames; a JPEG is no larger
MOST_FRAMES = 2**31 - 1  # of a segment


class Dataset:
    """A prepared DATASET, opened for reading.

    Args:
        folder: its path, or the URL of what was copied to a store.
        empty: open it even if it holds no video, only shots of those that are too short for clips.

    Attributes:
        folder: its Path, or the Place of a URL.
        in_store: whether it lies in a store.
        frame_height, frame_width: size of the resized frames that clips are cropped from.
        pack: "none", "video", "jpeg" or "raw".
        videos: sequence of VideoRow, sorted by name.
        segments: (S,) array of SEGMENT, read-only; `video` is a position in `videos`.

    Raises:
        EruvError: the folder is not a DATASET, was written by another version, is damaged, or has invalid edits; the
            store cannot be reached, or the DATASET changes while it is read.
    """

    def __init__(self, folder: str | Location, *, empty: bool = False) -> None:
        if not isinstance(folder, str | Path | Place):
            raise EruvError(f"{folder!r} is no path of a DATASET; make one with eruv_dali.prepare")
        self.folder = locate(folder)
        self.in_store = isinstance(self.folder, Place)
        self._tables = self.folder if isinstance(self.folder, Path) else fetch_tables(self.folder)
        with as_in_store(self._tables, self.folder):
            self._open()
            if not self._every and not empty:
                raise EruvError(f"{self._tables}: holds no video for clips, only some that are too short or cannot be "
                                "used (see rejected.csv there); prepare others, or these with a smaller min_length")
        self.index = lru_cache(maxsize=4096)(self._index)
        self.packed = (PackReader(self.folder / "pack") if isinstance(self.folder, Path) else
                       RemotePack(self.folder / "pack"))
        self._checked: set[str] = set()

    def _open(self) -> None:
        settings = read_settings(self._tables)
        if settings is None:
            raise EruvError(f"{self._tables}: no DATASET here (no dataset.json); make one with eruv_dali.prepare")
        self.frame_height, self.frame_width = settings["frame_height"], settings["frame_width"]
        self.pack = settings["pack"]
        self._largest_frame = settings.get("largest_frame")
        self._seal = Seal(self._tables)
        self._seal.content("dataset.json")
        self._every = self._read_videos()  # including those deleted from videos.csv
        self._frames: np.ndarray | None = self._map_frames()
        self.videos, self.segments = self._read_tables()

    @cached_property
    def largest_frame(self) -> int:
        """Bytes of the largest frame of the pack."""
        if self._largest_frame is None:  # written by an early version
            assert self._frames is not None
            self._largest_frame = int(self._frames["size"].max())
        return self._largest_frame

    def frames_of(self, video: int) -> np.ndarray:
        """(frames,) FRAME records of one video, memory-mapped.

        Raises:
            EruvError: they refer to bytes outside the video's pack file.
        """
        return self._frames_of(self.videos[video])

    def check(self) -> None:
        """Make sure that clips can be read: check the pack; without one, that the original files have not changed. One
        that has another modification time is the same if its content is.

        Raises:
            EruvError: a file is missing, has changed or is damaged; the message names it.
        """
        if self.pack == "none":
            self._check_originals()
            return
        files = pack_files_of(self.videos)
        if isinstance(self.packed, RemotePack):
            self.packed.check_sizes({file: self._seal.pack_size(file) for file in files})
            return
        for file in files:
            self._whole(f"pack/{file}", partial(self._pack_damage, file))
        self.packed.hold(files)

    def close(self) -> None:
        """Release the files. (They are unmapped when the last array that views them is freed.)"""
        self.packed.close()
        self.index.cache_clear()
        self._frames = None

    def _check_originals(self) -> None:
        gone, changed = [], []
        look_again(video.path for video in self.videos)
        for video in self.videos:
            try:
                status = video.path.stat()
            except OutOfReach as error:
                raise EruvError(f"{video.path}: {error.strerror}") from None
            except OSError:
                gone.append(video)
                continue
            if status.st_size != video.size or (
                    status.st_mtime_ns != video.mtime_ns
                    and not (video.content and content_of(video.path) == video.content)):
                changed.append(video)
        if changed:
            share = f"{len(changed)} of {len(self.videos)}"
            raise EruvError(f"{changed[0].path}: has changed since prepare ({share} have); run prepare on "
                            f"{self.folder} again")
        if gone:
            raise EruvError(f"{gone[0].path}: is missing ({len(gone)} of {len(self.videos)} videos are); bring it "
                            f"back, or run prepare on {self.folder} again")

    def _whole(self, file: str, *damage: Callable[[], str]) -> None:
        if wrong := self._seal.whole(file, *damage):
            raise EruvError(f"{self.folder}/{file}: {wrong}; run prepare on this DATASET again")

    def _pack_damage(self, file: str) -> str:
        log.warning("%s/pack/%s: was copied or modified since prepare; checking it once", self.folder, file)
        for video in self._every:
            if video.pack_file != file:
                continue
            if (frame := first_damaged(self.packed, file, self._frames_of(video))) is not None:
                return f"its checksum is wrong at frame {frame} of {video.name}"
        return ""

    def _index(self, video: int) -> FrameIndex:
        frames = self.frames_of(video)
        places = [] if self.pack != "none" else [frames[column].astype(np.int64) for column in ("offset", "size")]
        return FrameIndex(np.array(frames["pts"]), np.array(frames["key"]), *places)

    def _read_videos(self) -> Sequence[VideoRow]:
        file = self.folder / "videos.json"
        content = self._seal.content("videos.json")
        places = places_file(self._seal.files["videos.json"]["crc"])
        if places in self._seal.files and not self._seal.whole(places):
            with reading(self._tables / places):
                return VideoTable(file, content, np.load(self._tables / places), self.pack)
        with reading(file):
            return [row_of(name, facts, self.pack) for name, facts in json.loads(content).items()]

    def _map_frames(self) -> np.ndarray:
        """frames.npy. The seal covers its content; what could crash a decoder is checked video by video."""
        self._whole("frames.npy")
        with reading(self._tables / "frames.npy"):
            frames = np.load(self._tables / "frames.npy", mmap_mode="r")
            counts, firsts = frames_and_first(self._every)
            total = int(counts.sum())
            if frames.dtype != FRAME or frames.shape != (total,):
                raise ValueError(f"it holds {frames.shape} of {frames.dtype.names}, videos.json names {total} frames")
        order = np.argsort(firsts, kind="stable")
        expected = np.cumsum(counts[order]) - counts[order]
        for place in np.flatnonzero(firsts[order] != expected)[:1]:
            video = self._every[order[place]]
            raise EruvError(f"{self._tables}/videos.json: damaged DATASET (first {video.first} of {video.name}, "
                            f"expected {expected[place]}); run prepare on it again")
        return frames

    def _frames_of(self, row: VideoRow) -> np.ndarray:
        assert self._frames is not None, "the DATASET was closed"
        frames = self._frames[row.first : row.first + row.frames]
        # Done at first use of a video, 0.04 ms for 5,000 frames in memory: at opening, 70 million frames would be
        # 2 GB to read. The seal detects any damage; this covers the case that the seal itself is wrong.
        if self.pack != "none" and row.name not in self._checked:
            offset, size = frames["offset"], frames["size"].astype(np.int64)
            good = (offset >= 0) & (offset <= self.packed.size(row.pack_file) - size) & (size > 0)
            if self.pack == "raw":  # read as one run
                bytes_each = self.frame_height * self.frame_width * 3
                good &= (size == bytes_each) & (offset == offset[0] + bytes_each * np.arange(len(frames)))
            if not good.all():
                wrong = int(np.argmin(good))
                raise EruvError(f"{self.folder}/frames.npy: damaged DATASET (frame {wrong} of {row.name} cannot be "
                                f"{size[wrong]} bytes at {offset[wrong]} of pack/{row.pack_file}); run prepare on it "
                                "again")
            self._checked.add(row.name)
        return frames

    def _read_tables(self) -> tuple[Sequence[VideoRow], np.ndarray]:
        """The videos still listed in videos.csv, and the segments of segments.csv, which must lie in them."""
        kept: set[str] | None = None  # all
        if self._edited("videos.csv"):
            kept = read_kept_videos(self._tables / "videos.csv", {video.name: video for video in self._every})
        if self._every and kept == set():
            raise EruvError(f"{self._tables}/videos.csv: lists no video; run prepare on this DATASET again")
        self._whole("segments.npy")
        fewer = kept is not None and len(kept) < len(self._every)
        if self._edited("segments.csv") or fewer:
            kept = kept or {video.name for video in self._every}
            segments = read_edited_segments(self._tables / "segments.csv", self._every, kept)
        else:
            with reading(self._tables / "segments.npy"):
                segments = np.load(self._tables / "segments.npy", mmap_mode="r").view(np.ndarray)
                if segments.dtype != SEGMENT or segments.ndim != 1 or first_outside(segments, self._every) is not None:
                    raise ValueError("it holds no segments of these videos")
        videos = self._every
        if kept and fewer:
            place = np.cumsum([video.name in kept for video in self._every]) - 1  # among those kept
            segments["video"] = place[segments["video"]]
            videos = [video for video in self._every if video.name in kept]
        segments.flags.writeable = False
        return videos, segments

    def _edited(self, table: str) -> bool:
        wrong = self._seal.whole(table)
        if wrong == "is missing":
            raise EruvError(f"{self._tables}/{table}: is missing; run prepare on this DATASET again")
        return bool(wrong)


class NewerFormat(EruvError):
    """A DATASET that a later version of this package wrote."""


def read_settings(folder: Path) -> dict | None:
    """The content of dataset.json, or None if there is no such file.

    Raises:
        NewerFormat: a later version wrote it.
        EruvError: it cannot be read, holds an invalid value, or an earlier version wrote it.
    """
    file = folder / "dataset.json"
    with reading(file):
        if not file.exists():
            return None
        settings = json.loads(file.read_text())
        version = settings["format"]
        if type(version) is not int:
            raise ValueError(f"format {version!r}")
    which = f"{file}: DATASET of format {version}, this version reads format {FORMAT}"
    if version > FORMAT:
        raise NewerFormat(f"{which}; prepare the videos again into a new folder")
    if version < FORMAT:
        raise EruvError(f"{which}; run prepare on it again, which keeps what its records hold")
    with reading(file):
        numbers = {"frame_height": (SMALLEST, LARGEST), "frame_width": (SMALLEST, LARGEST),
                   "segment_length": (1, MOST_FRAMES), "min_length": (1, settings["segment_length"])}
        for key, (low, high) in numbers.items():
            if type(settings[key]) is not int or not low <= settings[key] <= high:
                raise ValueError(f"{key} {settings[key]!r}")
        if settings["pack"] not in PACK_KINDS:
            raise ValueError(f"pack {settings['pack']!r}")
        if not isinstance(settings["rule"], str):
            raise ValueError(f"rule {settings['rule']!r}")
        if "largest_frame" in settings and (type(settings["largest_frame"]) is not int
                                            or not 0 <= settings["largest_frame"] < 2**32):
            raise ValueError(f"largest_frame {settings['largest_frame']!r}")
        threshold = settings["threshold"]
        if not (threshold is None or (type(threshold) in (int, float) and threshold > 0)):
            raise ValueError(f"threshold {threshold!r}")
    return settings


def refuse_newer(folder: Path) -> dict | None:
    """Let `prepare` write into this folder, unless a later version wrote it: an older or damaged DATASET is remade.

    Returns the settings, or None if they cannot be read.

    Raises:
        EruvError: a later version wrote it, or dataset.json is a folder.
    """
    if (folder / "dataset.json").is_dir():
        raise EruvError(f"{folder}/dataset.json: is a folder; move it away and run prepare again")
    try:
        return read_settings(folder)
    except NewerFormat:
        raise
    except EruvError as error:
        log.warning("%s", error)
        return None
