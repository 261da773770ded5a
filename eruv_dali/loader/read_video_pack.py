"""Clips from a video pack: the packets from the start of a group on, decoded by libavcodec, or handed to DALI."""

import zlib
from collections.abc import Hashable, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack_reader import CutShort
from eruv_dali.errors import EruvError
from eruv_dali.loader.clip_reader import ClipReader, Slice, UnreadableFrames
from eruv_dali.loader.pipelines import SLICES_ON, ClipFormat, frames_pipeline, slices_pipeline
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.native import say_once
from eruv_dali.video.closed_groups import GROUP, STARTS_GROUP, coded_size, group_coding
from eruv_dali.video.decode_groups import CropDecoder, Uses
from eruv_dali.video.decoder_choice import capabilities, why_not_dali
from eruv_dali.video.matroska import matroska


class VideoPackReader(ClipReader):
    """Decodes a video pack; see ClipReader. A place holds the crops, (T, crop, crop, 3) RGB."""

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip = dataset, clip
        super().__init__((clip.clip_length, clip.crop, clip.crop, 3))
        self._decoder = CropDecoder(*coded_size(*clip.frame_size))

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        if self._sliced:
            return slices_pipeline(self.clip, self.place, original=False, batch_size=max_clips, **settings)
        return frames_pipeline(self.clip, batch_size=max_clips, **settings)

    def group(self, request: ClipRequest) -> Hashable | None:
        return request.video, min(request.frames.tolist()) // GROUP

    def slices(self, video: int) -> bool:
        return self._sliced

    @cached_property
    def _sliced(self) -> bool:
        """Whether DALI decodes the pack; if it cannot although there is a GPU, that is logged, once."""
        if self.clip.device not in SLICES_ON:
            return False
        refusal = why_not_dali("h264", 0, group_coding(*self.clip.frame_size),
                               capabilities(self.clip.device, self.clip.device_id))
        if refusal:
            say_once(f"libavcodec decodes the video pack: {refusal}")
        return not refusal

    def slice(self, request: ClipRequest) -> Slice | None:
        shown = np.unique(request.frames)
        needed, run, offsets = self._run(request.video, shown)
        packets = [run[begin:end] for begin, end in zip(offsets, offsets[1:], strict=False)]
        height, width = coded_size(*self.clip.frame_size)
        starts = [packet.startswith(STARTS_GROUP) for packet in packets]
        data = matroska("h264", b"", width, height, packets, starts, range(len(packets)))
        return Slice(np.frombuffer(data, np.uint8), np.searchsorted(needed, shown).astype(np.int32))

    def read(self, requests: Sequence[ClipRequest], places: Sequence[np.ndarray]) -> None:
        shown = np.unique(np.concatenate([request.frames for request in requests]))
        needed, data, offsets = self._run(requests[0].video, shown)
        uses = Uses()
        for request, place in zip(requests, places, strict=True):
            uses.add(np.searchsorted(needed, request.frames).tolist(), place, *request.crop)
        done = self._decoder.decode(data, offsets, uses)
        if done < len(needed):
            path, number = self.dataset.videos[requests[0].video].path, int(needed[done])
            raise UnreadableFrames(f"{path}: frame {number} cannot be decoded from the pack", _lost(shown, number))

    def _run(self, video: int, shown: np.ndarray) -> tuple[np.ndarray, bytes, list[int]]:
        """What frames `shown` need: the numbers of those to decode, their packets end to end, and where each begins,
        and the last one ends.
        """
        row = self.dataset.videos[video]
        needed = _needed(shown)
        first = int(needed[0])
        records = self.dataset.frames_of(video)[first:int(needed[-1]) + 1][needed - first].tolist()
        begin = records[0][1]
        try:
            data = self.dataset.packed.read(row.pack_file, begin, records[-1][1] + records[-1][2] - begin)
        except CutShort as error:
            whole = sum(record[1] + record[2] <= error.end for record in records)
            raise UnreadableFrames(f"{row.path}: {error}", shown[shown >= needed[whole]]) from None
        self.bytes += len(data)
        packets = [data[record[1] - begin:record[1] - begin + record[2]] for record in records]
        for number, packet, (_, _, _, crc, _) in zip(needed.tolist(), packets, records, strict=True):
            # The decoder conceals damage: it would show wrong pictures, without an error.
            if zlib.crc32(packet) != crc:
                raise UnreadableFrames(f"{row.path}: frame {number} cannot be decoded (wrong checksum in "
                                       f"pack/{row.pack_file})", _lost(shown, number))
        if not data.startswith(STARTS_GROUP):
            raise EruvError(f"{self.dataset.folder}/pack/{row.pack_file}: no group of pictures begins at frame {first} "
                            f"of {row.name}; run prepare on this DATASET again")
        return needed, b"".join(packets), [0, *accumulate(map(len, packets))]

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return 0, 0


def _needed(shown: np.ndarray) -> np.ndarray:
    """The frames that must be decoded to show those, (N,) ascending: of each group that has some, from its first frame
    to the last that is shown."""
    last = shown[np.append(np.diff(shown // GROUP) > 0, True)]
    return np.concatenate([np.arange(end // GROUP * GROUP, end + 1) for end in last.tolist()])


def _lost(shown: np.ndarray, number: int) -> np.ndarray:
    """Those of the frames that need the one of this number: from it to the end of its group."""
    return shown[(shown >= number) & (shown // GROUP == number // GROUP)]
