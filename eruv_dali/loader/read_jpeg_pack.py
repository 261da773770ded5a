"""Clips from a JPEG pack: the bytes of each frame, for DALI to decode."""

import functools
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

HEAD = 256  # the first bytes of a pack's JPEG, which contain its size: the two tables before it take less


class JpegPackReader(ClipReader):
    """Reads JPEGs; see ClipReader. A place holds one JPEG a row, (T, the largest one's bytes): decoders ignore what
    follows a JPEG's end mark."""

    by_frame = True

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip = dataset, clip
        super().__init__((clip.clip_length, dataset.largest_frame))

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
            if (found := jpeg_size(picture[:HEAD].tobytes())) != self.clip.frame_size:
                said = f"a JPEG of {found[0]}x{found[1]}" if found else "not a JPEG"
                raise EruvError(f"{dataset.folder}/pack/{video.pack_file}: frame {number} of {video.name} is {said}, "
                                f"dataset.json gives frames of {self.clip.frame_size[0]}x{self.clip.frame_size[1]}; "
                                "run prepare on this DATASET again")
            self.bytes += size

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return request.crop


@functools.lru_cache(maxsize=64)  # all frames of a pack have the same header: 0.3 us each, 2 us for a new header
def jpeg_size(head: bytes) -> tuple[int, int] | None:
    """(height, width) of the JPEG that starts with these bytes, or None if they are not a JPEG's or are too few.

    In DALI 2.4, bytes that are not an image, and crops outside the image, crash the whole process.
    """
    place = 2 if head[:2] == b"\xff\xd8" else len(head)
    while place + 9 <= len(head) and head[place] == 0xFF:
        if head[place + 1] in (0xC0, 0xC1, 0xC2):  # a frame header: length, bits per sample, height, width
            height, width = head[place + 5 : place + 7], head[place + 7 : place + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None
