"""Pack: a decode-once copy of every frame, resized, in a few large files.

A pack is a folder of `frames-NNNNN.bin`, each a plain sequence of encoded frames; their offsets and sizes are in the
dataset's `frames.npy`. "jpeg" stores JPEG images, "raw" uint8 RGB. Every frame is independent, so a clip is a list of
byte ranges, and an inverted, shuffled or sped-up clip is just another list of them.
"""

import io
import mmap
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from eruv_dali.dataset.damage import reading

PACK_KINDS = ("none", "jpeg", "raw")
PACK_FILE = re.compile(r"frames-[0-9]+\.bin")  # a name in the pack folder: no path that leaves it

# 4:4:4 keeps the colour of small frames and costs less than the quality that 4:2:0 would need for the same error.
# Measured on the resized frames of real videos: see benchmarks/results/pack_quality.json.
JPEG_QUALITY = 92
JPEG_SUBSAMPLING = 0  # 4:4:4

FILE_BYTES = 4 << 30  # beyond this size a new file is started


def encode_frame(picture: np.ndarray, kind: str) -> bytes:
    """Encode one (H, W, 3) uint8 RGB picture for a pack of this kind ("jpeg" or "raw")."""
    if kind == "raw":
        return np.ascontiguousarray(picture).tobytes()
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING)
    return buffer.getvalue()


class PackWriter:
    """Appends videos to its own pack files; each writing process has its own writer, so none waits for another.

    Appended frames count only once a record refers to them: after a kill, `trim_pack` cuts off all other bytes.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self._file: io.BufferedWriter | None = None

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
        return Path(self._file.name).name, self._file.tell()

    def add(self, picture: np.ndarray) -> tuple[int, int]:
        """Append one (H, W, 3) uint8 frame: its size in bytes and its CRC-32."""
        data = encode_frame(picture, self.kind)
        self._begun.write(data)
        return len(data), zlib.crc32(data)

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
        number = 0
        while True:
            try:
                return open(self.folder / f"frames-{number:05d}.bin", "xb")
            except FileExistsError:
                number += 1


def trim_pack(folder: Path, used: dict[str, int], sealed: dict[str, int]) -> None:
    """Delete pack files that no record refers to, and cut off unused ends of the others.

    A running training has the files mapped. Deleting a file does not affect it, but truncating one kills it (SIGBUS):
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


def first_damaged(packed: "PackReader", file: str, frames: np.ndarray) -> int | None:
    """The first of these FRAME records whose bytes are not as written, or None."""
    for number, (_, offset, size, crc, _) in enumerate(frames.tolist()):
        if zlib.crc32(packed.bytes_at(file, offset, size).data) != crc:
            return number
    return None


class PackReader:
    """Memory-maps pack files; `bytes_at` gives views of them, without a copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._maps: dict[str, mmap.mmap] = {}
        self._bytes: dict[str, np.ndarray] = {}

    def bytes_at(self, file: str, offset: int, size: int) -> np.ndarray:
        """(size,) uint8, a read-only view into the mapped file."""
        if file not in self._maps:
            self._map(file)
        return self._bytes[file][offset : offset + size]

    def size(self, file: str) -> int:
        """Bytes in the file."""
        if file not in self._maps:
            self._map(file)
        return len(self._bytes[file])

    def will_need(self, file: str, offset: int, size: int) -> None:
        """Have the operating system fetch these bytes in the background, at once; page by page is 10 times slower."""
        if file not in self._maps:
            self._map(file)
        begin = offset - offset % mmap.PAGESIZE
        self._maps[file].madvise(mmap.MADV_WILLNEED, begin, offset + size - begin)

    def hold(self, files: Iterable[str]) -> None:
        """Map these files now: mapped files stay readable even if `prepare` deletes or replaces them."""
        for file in files:
            if file not in self._maps:
                self._map(file)

    def _map(self, file: str) -> None:
        with reading(self.folder / file), open(self.folder / file, "rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.madvise(mmap.MADV_RANDOM)  # clips are drawn at random: read-ahead would waste disk bandwidth
        self._maps[file], self._bytes[file] = mapped, np.frombuffer(mapped, np.uint8)

    def close(self) -> None:
        """Release the files; each is unmapped when its last view is freed."""
        self._bytes.clear()
        self._maps.clear()
