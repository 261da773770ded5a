"""The layout of a DATASET's files: columns of its tables, and the records of a frame, a segment and a video."""

from dataclasses import dataclass

import numpy as np

from eruv_dali.video.coding import COLUMNS, Coding
from eruv_dali.video.place import Location

# The record of each frame. `offset` and `size` (bytes) and `crc` (CRC-32) locate it in its video's pack file. Without a
# pack, `offset` and `size` say where its packet lies in the original MP4 or MOV file; size 0: not known.
FRAME = np.dtype([("pts", "<i8"), ("offset", "<i8"), ("size", "<u4"), ("crc", "<u4"), ("key", "?")])

SEGMENT = np.dtype([("segment", "<i4"), ("video", "<i4"), ("shot", "<i4"), ("start", "<i4"), ("end", "<i4")])

VIDEO_COLUMNS = ("video", "path", "frames", "fps", "width", "height", "codec", "rotation", "size", "mtime_ns",
                 *COLUMNS, "note")
SHOT_COLUMNS = ("video", "shot", "start", "end", "score", "start_time", "end_time", "transition", "transition_start",
                "transition_end")
SEGMENT_COLUMNS = ("segment", "video", "shot", "start", "end")


@dataclass(frozen=True)
class VideoRow:
    """A video of a DATASET, as in videos.json: `name` is its key there, and the column "video" of the tables.

    `pack_file` is the file in pack/ that holds its frames, "" without a pack; `first` is the position of its frame 0 in
    frames.npy. `coding` is None and `content` (see `content_of`) "" where they are not known, as in a DATASET of an
    earlier version.
    """

    name: str
    path: Location
    frames: int
    codec: str
    rotation: int
    pack_file: str
    first: int
    size: int = 0
    mtime_ns: int = 0
    coding: Coding | None = None
    content: str = ""
