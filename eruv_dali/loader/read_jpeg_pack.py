"""Clips from a JPEG pack: the bytes of each frame, for DALI to decode."""

import zlib
from collections.abc import Sequence

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack_reader import CutShort
from eruv_dali.errors import EruvError
from eruv_dali.loader.clip_reader import ClipReader, UnreadableFrames
from eruv_dali.loader.pipelines import ClipFormat, jpeg_pipeline
from eruv_dali.loader.requests import ClipRequest

HEAD = 1024  # the first bytes of a pack's JPEG, which contain all that comes before its pixels: about 620 bytes
# Kinds of a JPEG's segments: sizes of the picture; tables, comments and other programs' data; the start of the pixels.
SIZES, SEGMENTS, SCAN = (0xC0, 0xC1, 0xC2), (0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE), 0xDA


class JpegPackReader(ClipReader):
    """Reads JPEGs; see ClipReader. A place holds one JPEG a row, (T, the largest one's bytes): decoders ignore what
    follows a JPEG's end mark."""

    by_frame = True

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip = dataset, clip
        super().__init__((clip.clip_length, dataset.largest_frame))
        self._header = b""  # of the last sound picture; all of a pack have the same

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        return jpeg_pipeline(self.clip, batch_size=max_clips * self.clip.clip_length, **settings)

    def read(self, requests: Sequence[ClipRequest], places: Sequence[np.ndarray]) -> None:
        for request, place in zip(requests, places, strict=True):
            self._read_clip(request, place)

    def _read_clip(self, request: ClipRequest, place: np.ndarray) -> None:
        dataset, video = self.dataset, self.dataset.videos[request.video]
        records = dataset.frames_of(request.video)[request.frames].tolist()
        try:
            dataset.packed.read_frames(video.pack_file, [record[1:3] for record in records], place)
        except CutShort as error:
            lost = [record[1] + record[2] > error.end for record in records]
            raise UnreadableFrames(f"{video.path}: {error}", np.unique(request.frames[lost])) from None
        for number, row, (_, _, size, crc, _) in zip(request.frames, place, records, strict=True):
            picture = row[:size]
            # 30 times faster than decoding; and bytes that are not a JPEG crash the whole process in DALI 2.4.
            if zlib.crc32(picture) != crc:
                raise UnreadableFrames(f"{video.path}: frame {number} cannot be decoded (wrong checksum in "
                                       f"pack/{video.pack_file})", np.array([number]))
            if not self._header or picture[: len(self._header)].tobytes() != self._header:
                self._check_header(picture, f"{dataset.folder}/pack/{video.pack_file}: frame {number} of {video.name}")
            self.bytes += size

    def _check_header(self, picture: np.ndarray, which: str) -> None:
        head = picture[:HEAD].tobytes()
        size, length = jpeg_header(head) or (None, 0)
        if size != self.clip.frame_size:
            said = f"a JPEG of {size[0]}x{size[1]}" if size else "not a JPEG"
            height, width = self.clip.frame_size
            raise EruvError(f"{which} is {said}, dataset.json gives frames of {height}x{width}; run prepare on this "
                            "DATASET again")
        self._header = head[:length]

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return request.crop


def jpeg_header(head: bytes) -> tuple[tuple[int, int], int] | None:
    """(height, width) of the JPEG that starts with these bytes, and how many of them come before its pixels; None if
    they are not a JPEG's, or its header is not whole.

    DALI 2.4 must not see such bytes, nor a crop outside the image: where a CPU decoder finds the first fault of a batch
    before it decodes, it raises while other threads already decode the rest, with variables of the function that has
    been left, and the process crashes (docs/guarantees.md).
    """
    place, size = 2 if head[:2] == b"\xff\xd8" else len(head), None
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4], "big")
        if marker in SIZES:  # length, bits per sample, height, width
            height, width = head[place + 5 : place + 7], head[place + 7 : place + 9]
            size = int.from_bytes(height, "big"), int.from_bytes(width, "big")
        elif marker not in (*SEGMENTS, SCAN) or length < 2:
            return None
        place += 2 + length
        if marker == SCAN:
            return (size, place) if size and place <= len(head) else None
    return None
