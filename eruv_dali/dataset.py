"""A DATASET: the folder that `prepare` writes and the loaders read.

    dataset.json     format version, frame size, pack kind, and the settings that made the rest
    videos.csv       video,path,frames,fps,width,height,codec,rotation,size,mtime_ns,note
    shots.csv        video,shot,start,end,score,start_time,end_time,transition,transition_start,transition_end
    segments.csv     segment,video,shot,start,end
    rejected.csv     video,reason
    packs.json       the pack file that holds each video's frames (which one is chance, so it stands in no table)
    segments.npy     segments.csv again, quick to read
    seal.json        how prepare left the big files, see eruv_dali/seal.py
    frames.npy       one FRAME record a frame, the videos of videos.csv one after the other; memory-mapped
    pack/            the decode-once copy of the frames, if one was asked for
    records/         what `prepare` found in each video, one file a video: its memory between runs

Frames count from 0, `end` is exclusive, `video` is the path relative to the folder that was given to `prepare`. Times
are seconds on the clock of players. `transition` is what opens a shot: "cut", "gradual" (its frames transition_start to
transition_end-1 belong to no shot), or nothing where the video begins.
"""

import csv
import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.pack import PackReader, first_damaged
from eruv_dali.seal import Seal
from eruv_dali.slices import FrameIndex

log = logging.getLogger("eruv_dali")

FORMAT = 2

# What is kept of each frame. `offset` and `size` (bytes) and `crc` (CRC-32) locate it in its video's pack file.
FRAME = np.dtype([("pts", "<i8"), ("offset", "<i8"), ("size", "<u4"), ("crc", "<u4"), ("key", "?")])

SEGMENT = np.dtype([("segment", "<i4"), ("video", "<i4"), ("shot", "<i4"), ("start", "<i4"), ("end", "<i4")])

VIDEO_COLUMNS = ("video", "path", "frames", "fps", "width", "height", "codec", "rotation", "size", "mtime_ns", "note")
SHOT_COLUMNS = ("video", "shot", "start", "end", "score", "start_time", "end_time", "transition", "transition_start",
                "transition_end")
SEGMENT_COLUMNS = ("segment", "video", "shot", "start", "end")


@dataclass(frozen=True)
class VideoRow:
    """One line of videos.csv; `first` is the place of its frame 0 in frames.npy."""

    video: str
    path: Path
    frames: int
    codec: str
    rotation: int
    pack: str
    first: int
    size: int = 0
    mtime_ns: int = 0


class Dataset:
    """A prepared DATASET, opened for reading.

    Attributes:
        folder: where it lies.
        frame_height, frame_width: size of the resized frames that clips are cropped from.
        pack: "none", "jpeg" or "raw".
        videos: list of VideoRow, sorted by name.
        segments: (S,) array of SEGMENT; `video` is a position in `videos`.

    Raises:
        EruvError: the folder is no DATASET, was written by another version, or its parts do not fit together.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        settings = read_settings(self.folder)
        if settings is None:
            raise EruvError(f"{self.folder}: no DATASET here (no dataset.json); make one with eruv_dali.prepare")
        self.frame_height, self.frame_width = settings["frame_height"], settings["frame_width"]
        self.pack = settings["pack"]
        self._seal = Seal(self.folder)
        if wrong := self._seal.whole("frames.npy"):
            raise EruvError(f"{self.folder}/frames.npy: {wrong}; run prepare on this DATASET again")
        try:
            self.videos = self._read_videos()
            self.segments = self._read_segments()
            self._frames = np.load(self.folder / "frames.npy", mmap_mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise EruvError(f"{self.folder}: damaged DATASET ({error}); run prepare on it again") from None
        total = sum(video.frames for video in self.videos)
        if self._frames.dtype != FRAME or len(self._frames) != total:
            raise EruvError(
                f"{self.folder}: frames.npy holds {len(self._frames)} frames, videos.csv names {total}; prepare was "
                "interrupted, run it again"
            )
        self.index = lru_cache(maxsize=4096)(self._index)
        self.packed = PackReader(self.folder / "pack")

    def frames_of(self, video: int) -> np.ndarray:
        """(frames,) FRAME records of one video, memory-mapped."""
        row = self.videos[video]
        return self._frames[row.first : row.first + row.frames]

    def check(self) -> None:
        """Make sure that clips can be had: of the pack, if there is one, and that the videos are those prepared.

        Originals that are gone matter only where there is no pack.

        Raises:
            EruvError: a file that is missing, has changed or is damaged, by name.
        """
        gone, changed = [], []
        for video in self.videos:
            try:
                status = video.path.stat()
            except OSError:
                gone.append(video)
                continue
            if (status.st_size, status.st_mtime_ns) != (video.size, video.mtime_ns):
                changed.append(video)
        if changed:
            share = f"{len(changed)} of {len(self.videos)}"
            raise EruvError(f"{changed[0].path}: has changed since prepare ({share} have); run prepare on "
                            f"{self.folder} again")
        if self.pack == "none":
            if gone:
                raise EruvError(f"{gone[0].path}: is missing ({len(gone)} of {len(self.videos)} videos are); bring it "
                                f"back, or run prepare on {self.folder} again")
            return
        files = sorted({video.pack for video in self.videos})
        for file in files:
            if wrong := self._seal.whole(f"pack/{file}", lambda file=file: self._pack_damage(file)):
                raise EruvError(f"{self.folder}/pack/{file}: {wrong}; run prepare on this DATASET again")
        try:
            self.packed.hold(files)
        except (OSError, ValueError) as error:
            raise EruvError(f"{self.folder}/pack: cannot be read ({error}); run prepare on this DATASET again"
                            ) from None

    def _pack_damage(self, file: str) -> str:
        log.warning("%s/pack/%s: was copied or touched since prepare; checking it, once", self.folder, file)
        for number, video in enumerate(self.videos):
            if video.pack == file and (frame := first_damaged(self.packed, file, self.frames_of(number))) is not None:
                return f"its checksum is wrong at frame {frame} of {video.video}"
        return ""

    def _index(self, video: int) -> FrameIndex:
        frames = self.frames_of(video)
        return FrameIndex(np.array(frames["pts"]), np.array(frames["key"]))

    def _read_videos(self) -> list[VideoRow]:
        videos, first = [], 0
        packs = json.loads((self.folder / "packs.json").read_text())
        with open(self.folder / "videos.csv", newline="") as file:
            for row, pack in zip(csv.DictReader(file), packs, strict=True):
                frames = int(row["frames"])
                videos.append(VideoRow(row["video"], Path(row["path"]), frames, row["codec"], int(row["rotation"]),
                                       pack, first, int(row["size"]), int(row["mtime_ns"])))
                first += frames
        return videos

    def _read_segments(self) -> np.ndarray:
        if self._seal.untouched("segments.npy") and not self._seal.whole("segments.csv"):
            return np.load(self.folder / "segments.npy")
        # The table is the word; people may have taken lines out of it.
        place = {video.video: position for position, video in enumerate(self.videos)}
        with open(self.folder / "segments.csv", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != SEGMENT_COLUMNS:
                raise ValueError(f"segments.csv has other columns than {','.join(SEGMENT_COLUMNS)}")
            cut = [(int(segment), place[video], int(shot), int(start), int(end))
                   for segment, video, shot, start, end in rows]
        return np.array(cut, SEGMENT)

    def close(self) -> None:
        """Let go of the files. (The system unmaps them when the last array that looks into them is gone.)"""
        self.packed.close()
        self.index.cache_clear()
        self._frames = None


def read_settings(folder: Path) -> dict | None:
    """The content of dataset.json, or None where there is none.

    Raises:
        EruvError: it cannot be read, or was written by another version of the format.
    """
    file = folder / "dataset.json"
    try:
        settings = json.loads(file.read_text())
        version = settings["format"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EruvError(f"{file}: cannot be read ({error}); prepare the videos again into a new folder") from None
    if version != FORMAT:
        raise EruvError(f"{file}: DATASET of format {version}, this version reads format {FORMAT}; prepare the videos "
                        "again into a new folder")
    return settings
