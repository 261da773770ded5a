"""Pictures of shots as files: some frames of each, full size, as JPEG."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from eruv_dali.dataset.records import Record
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.shots import Shot
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.place import locate
from eruv_dali.video.reader import FrameNotFound, FrameReader


def frames_shown(shot: Shot, count: int) -> list[int]:
    """`count` frames of a shot, evenly spread from its first to its last; of one, the middle. Fewer in a short shot."""
    if count == 1:
        return [(shot.start + shot.end - 1) // 2]
    return np.unique(np.linspace(shot.start, shot.end - 1, count).round().astype(int)).tolist()


def write_shot_images(folder: Path, record: Record, shots: Sequence[Shot], count: int) -> None:
    """Write folder/SHOT-frame-FRAME.jpg, `count` of each shot, numbers as in shots.csv, upright and full size.

    Raises:
        EruvError: the video can no longer be read or has other frames than its record.
    """
    path, facts = locate(record.note.identity.path), record.facts
    folder.mkdir(parents=True, exist_ok=True)
    index = FrameIndex(record.frames["pts"], record.frames["key"])
    with closing(FrameReader()) as reader:
        for number, shot in enumerate(shots):
            for frame in frames_shown(shot, count):
                try:
                    picture = reader.read(path, index, [frame], facts.height, facts.width)[0]
                except (FrameNotFound, UnusableVideo) as error:
                    raise EruvError(f"{path}: cannot be read for pictures ({error}); run prepare on it again") from None
                write_aside(folder / f"{number:04d}-frame-{frame}.jpg",
                            partial(Image.fromarray(picture).save, format="JPEG", quality=92))
