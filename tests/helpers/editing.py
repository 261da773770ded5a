"""A small DATASET of three films for tests that edit and damage it, and what its loader then delivers."""

import csv
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from numbered import PACKS, numbers, write_video

from eruv_dali import ClipLoader, EruvError
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.prepare import prepare

FIRST = {"a.mp4": 0, "b.webm": 1000, "c.mp4": 2000}  # the number that each video's frames count from
CODECS = {"a.mp4": "libx264", "b.webm": "libvpx-vp9", "c.mp4": "mpeg4"}
FRAMES = 64

EVERY = [name for name in FIRST for _ in range(FRAMES // 16)]  # the videos of the clips of an epoch


def draw_films(folder: Path) -> None:
    """Three videos of one length, so that taking one for another breaks no count."""
    for name, first in FIRST.items():
        write_video(folder / name, frames=FRAMES, first=first, codec=CODECS[name], gop=20, size=(144, 192),
                    options={"deadline": "realtime", "cpu-used": "8"} if "vp9" in CODECS[name] else None)
    return folder


def prepare_films(films: Path, folder: Path) -> None:
    """A DATASET of them with each kind of pack."""
    for pack in PACKS:
        prepare([films], folder / pack, device="cpu", pack=pack, workers=1)


def delivered(folder, look=True):
    """The videos of the clips that come; reads from the pixels that each clip is the one that it is said to be."""
    names = []
    with ClipLoader(folder, batch_size=12, device="cpu", threads=1) as loader:
        for batch in loader:
            for clip_CTHW, info in zip(batch.clips, batch.info, strict=True):
                names.append(info.video)
                if look:
                    assert numbers(clip_CTHW) == [FIRST[info.video] + n for n in info.frames]
    return names


def rows_of(file):
    with open(file, newline="") as opened:
        return list(csv.reader(opened))


def write_rows(file, rows, **options):
    with open(file, "w", newline="", encoding=options.pop("encoding", "utf-8")) as opened:
        csv.writer(opened, **options).writerows(rows)


def edit(file: Path, change: Callable):
    """Change the rows of a table; the first is the header."""
    rows = rows_of(file)
    write_rows(file, change(rows))


def set_cell(file: Path, line: int, column: str, value: str) -> None:
    """Change one cell of a table; the header is line 1."""
    rows = rows_of(file)
    rows[line - 1][rows[0].index(column)] = value
    write_rows(file, rows)


def change_json(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def reseal(folder):
    """Make the seal agree with whatever is there now."""
    seal_dataset(folder, "")
    settings = (folder / "dataset.json").read_bytes()  # damaged, it may be no text
    change_json(folder / "seal.json", lambda files: files["dataset.json"].update(crc=zlib.crc32(settings)))


def says(folder, message):
    with pytest.raises(EruvError, match=message) as caught:
        delivered(folder)
    assert "\n" not in str(caught.value)
