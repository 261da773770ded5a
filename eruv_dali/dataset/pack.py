"""Pack: a decode-once copy of every frame, resized, in a few large files.

A pack is a folder of `frames-NNNNN.bin`, each a plain sequence of encoded frames; their offsets and sizes are in the
dataset's `frames.npy`. A clip is a list of byte ranges; no container is opened to read it.

    video    H.264, one packet a frame, in closed groups of GROUP frames counted from the video's first one: about 1 KB
             a frame. A clip is read from the beginning of the group that holds its first frame.
    jpeg     JPEG images, about 9 KB. Every frame is independent.
    raw      uint8 RGB, height x width x 3 bytes.
"""

import io
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.video import closed_groups

PACK_KINDS = ("none", "video", "jpeg", "raw")
PACK_FILE = re.compile(r"frames-[0-9]+\.bin")  # a name in the pack folder: no path that leaves it

# Of a kind of pack, unless another is chosen. Measured on the resized frames of real videos: see
# benchmarks/results/pack_quality.json. A video's is x264's constant rate factor: lower is better.
QUALITY = {"none": 0, "video": closed_groups.QUALITY, "jpeg": 92, "raw": 0}
QUALITIES = {"video": closed_groups.QUALITIES, "jpeg": (1, 95)}  # lowest and highest
# 4:4:4 keeps the colour of small frames and costs less than the quality that 4:2:0 would need for the same error.
JPEG_SUBSAMPLING = 0

FILE_BYTES = 4 << 30  # beyond this size a new file is started


def check_quality(kind: str, quality: int | None) -> int:
    """The quality for a kind of pack: its own where none is given.

    Raises:
        EruvError: this kind has no quality to choose, or not this one.
    """
    if quality is None:
        return QUALITY[kind]
    if kind not in QUALITIES:
        raise EruvError(f"quality {quality} is for a video or jpeg pack; pack {kind} has none, leave it out")
    low, high = QUALITIES[kind]
    if not low <= whole_number("quality", quality, least=0) <= high:
        raise EruvError(f"quality {quality} of a {kind} pack must lie between {low} and {high}")
    return quality


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """One (H, W, 3) uint8 RGB picture as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=JPEG_SUBSAMPLING)
    return buffer.getvalue()


class PackWriter:
    """Appends videos to its own pack files; each writing process has its own writer, so none waits for another.

    Appended frames count only once a record refers to them: after a kill, `trim_pack` cuts off all other bytes.

    Args:
        kind: "video", "jpeg" or "raw"; `quality` as in QUALITY.
        first_file: the number in the name of the first new file; the next free one if it is taken.
    """

    def __init__(self, folder: Path, kind: str, quality: int, first_file: int = 0) -> None:
        self.folder, self.kind, self.quality, self.first_file = folder, kind, quality, first_file
        self._file: io.BufferedWriter | None = None
        self._encoder: closed_groups.GroupEncoder | None = None  # of the video that was begun

    @property
    def _begun(self) -> io.BufferedWriter:
        """The file of the video that was begun."""
        assert self._file is not None, "begin_video comes first"
        return self._file

    def begin_video(self) -> tuple[str, int]:
        """Start a video: the pack file's name and the offset at which the video's first frame will lie."""
        if self._file is None or self._file.tell() >= FILE_BYTES:
            self.close()
            self._file = self._new_file()
        self._encoder = None
        return Path(self._file.name).name, self._file.tell()

    def add(self, picture: np.ndarray) -> tuple[int, int]:
        """Append one (H, W, 3) uint8 frame: its size in bytes and its CRC-32."""
        return self.append(self.encode(picture))

    def append(self, data: bytes) -> tuple[int, int]:
        """Append one encoded frame: its size in bytes and its CRC-32."""
        self._begun.write(data)
        return len(data), zlib.crc32(data)

    @property
    def independent(self) -> bool:
        """Whether frames may be encoded in any order, on several threads."""
        return self.kind != "video"

    def encode(self, picture: np.ndarray) -> bytes:
        """Encode the next (H, W, 3) uint8 frame of the video that was begun."""
        if self.kind == "raw":
            return np.ascontiguousarray(picture).tobytes()
        if self.kind == "jpeg":
            return encode_jpeg(picture, self.quality)
        if self._encoder is None:
            height, width = picture.shape[:2]
            self._encoder = closed_groups.GroupEncoder(height, width, self.quality)
        return self._encoder.add(picture)

    def end_video(self) -> None:
        """Flush what was appended to disk, so that a record may refer to it."""
        self._begun.flush()
        os.fsync(self._begun.fileno())

    def drop_video(self, offset: int) -> None:
        """Remove the video started at `offset`: it turned out unusable."""
        self._begun.seek(offset)
        self._begun.truncate()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _new_file(self) -> io.BufferedWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        number = self.first_file
        while True:
            try:
                return open(self.folder / f"frames-{number:05d}.bin", "xb")
            except FileExistsError:
                number += 1


def place_frames(frames: np.ndarray, offset: int, written: Sequence[tuple[int, int]]) -> int:
    """Note in a video's FRAME records where `PackWriter.add` put each frame; returns where the last one ends.

    Args:
        offset: of the first frame; `written`: what `add` returned for each frame.
    """
    frames["size"], frames["crc"] = np.array(written, np.uint32).T
    frames["offset"] = offset + np.concatenate([[0], np.cumsum(frames["size"][:-1], dtype=np.int64)])
    return int(offset + frames["size"].sum(dtype=np.int64))


def trim_pack(folder: Path, used: dict[str, int], sealed: dict[str, int]) -> None:
    """Delete pack files that no record refers to, and cut off unused ends of the others.

    A running training has the files open. Deleting a file does not affect it, but truncating one takes its frames away:
    so nothing is truncated that a finished DATASET ever contained. Symbolic links are left alone.

    Args:
        used: the end of the part that records refer to, by file name.
        sealed: the size when the DATASET was last finished, by file name; absent for newer files.
    """
    for file in pack_files(folder):
        end = max(used.get(file.name, 0), sealed.get(file.name, 0))
        if file.name not in used:
            file.unlink()
        elif file.stat().st_size > end:
            os.truncate(file, end)


def pack_files(folder: Path) -> list[Path]:
    """The pack's own files, without links to files elsewhere."""
    return sorted(file for file in folder.glob("frames-*.bin") if file.is_file() and not file.is_symlink())
