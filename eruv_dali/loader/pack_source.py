"""Clips from a pack: byte ranges of the mapped files, passed to DALI without a copy."""

import functools
import zlib
from collections.abc import Sequence

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.loader.bad_clips import Unreadable, UnreadableClips
from eruv_dali.loader.pipelines import ClipFormat, jpeg_pipeline, raw_pipeline
from eruv_dali.loader.requests import ClipRequest

HEAD = 256  # the first bytes of a pack's JPEG, which contain its size: the two tables before it take less


class PackSource:
    """Feeds DALI from a pack. In "jpeg" one sample is one frame, so order and speed cost nothing and exactly the frames
    of the clip are decoded; in "raw" one sample is the run of frames that the clip spans, read in place.

    Attributes:
        bytes: handed to DALI so far.
    """

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip, self.bytes = dataset, clip, 0
        self._jpeg = dataset.pack == "jpeg"
        self.seconds = {"read": 0.0, "demux": 0.0, "decode": 0.0}  # all the work is DALI's

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        if self._jpeg:
            return jpeg_pipeline(self.clip, batch_size=max_clips * self.clip.clip_length, **settings)
        return raw_pipeline(self.clip, batch_size=max_clips, **settings)

    def begin(self, request: ClipRequest) -> ClipRequest:
        """Have the operating system fetch the frames that are not in memory."""
        records = self.dataset.frames_of(request.video)
        first, last = records[request.frames.min()], records[request.frames.max()]
        begin = int(first["offset"])
        self.dataset.packed.will_need(self.dataset.videos[request.video].pack_file, begin,
                                      int(last["offset"] + last["size"]) - begin)
        return request

    def ready(self, begun: ClipRequest) -> bool:
        return True

    def inputs(self, begun: Sequence[ClipRequest]) -> dict:
        """The inputs of DALI's pipeline for these clips.

        Raises:
            UnreadableClips: JPEG frames whose bytes differ from those that prepare wrote.
            EruvError: prepare did not write a JPEG of the size given in dataset.json.
        """
        return self._jpeg_inputs(begun) if self._jpeg else self._raw_inputs(begun)

    def _jpeg_inputs(self, requests: Sequence[ClipRequest]) -> dict:
        dataset, T = self.dataset, self.clip.clip_length
        data, damaged = [], {}
        for position, request in enumerate(requests):
            file = dataset.videos[request.video].pack_file
            records = dataset.frames_of(request.video)[request.frames]
            for n, (_, offset, size, crc, _) in zip(request.frames, records.tolist(), strict=True):
                picture = dataset.packed.bytes_at(file, offset, size)
                # 30 times faster than decoding; and bytes that are not a JPEG crash the whole process in DALI 2.4.
                if zlib.crc32(picture.data) != crc:
                    path = dataset.videos[request.video].path
                    damaged[position] = Unreadable(
                        np.array([n]), f"{path}: frame {n} cannot be decoded (wrong checksum in pack/{file})")
                elif (found := jpeg_size(picture[:HEAD].tobytes())) != self.clip.frame_size:
                    said = f"a JPEG of {found[0]}x{found[1]}" if found else "not a JPEG"
                    raise EruvError(f"{dataset.folder}/pack/{file}: frame {n} of {dataset.videos[request.video].name} "
                                    f"is {said}, dataset.json gives frames of {self.clip.frame_size[0]}x"
                                    f"{self.clip.frame_size[1]}; run prepare on this DATASET again")
                self.bytes += size
                data.append(picture)
        if damaged:
            raise UnreadableClips(damaged)
        return {
            "data": data,
            "crop_pos": np.repeat(np.array([request.crop for request in requests], np.int32), T, axis=0),
            "rotation": np.repeat(np.array([request.rotation for request in requests], np.int32), T),
        }

    def _raw_inputs(self, requests: Sequence[ClipRequest]) -> dict:
        dataset, (height, width) = self.dataset, self.clip.frame_size
        data = []
        for request in requests:
            records, first = dataset.frames_of(request.video), request.frames.min()
            span = int(request.frames.max() - first + 1)
            run = dataset.packed.bytes_at(
                dataset.videos[request.video].pack_file, int(records["offset"][first]), span * height * width * 3)
            self.bytes += self.clip.clip_length * height * width * 3
            data.append(run.reshape(span, height, width, 3))
        return {
            "data": data,
            "index": np.array([request.frames - request.frames.min() for request in requests], np.int32),
            "crop_pos": np.array([request.crop for request in requests], np.int32),
            "rotation": np.array([request.rotation for request in requests], np.int32),
        }

    def blame(self, begun: ClipRequest, reason: str) -> Unreadable | None:
        """DALI could not decode this clip."""
        path, frames = self.dataset.videos[begun.video].path, np.unique(begun.frames)
        return Unreadable(frames, f"{path}: frames {frames[0]}..{frames[-1]} cannot be decoded ({reason})")

    def drop(self) -> None:
        """Nothing is in flight."""

    def close(self) -> None:
        """Nothing to close: the dataset holds the files."""


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
