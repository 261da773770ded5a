"""What prepare left: the tables of a DATASET as other programs read them, its pack; and mishaps while it decodes."""

import csv
import textwrap
import zlib
from pathlib import Path

import pytest
from numbered import write_video

from eruv_dali.dataset import Dataset

TABLES = ("videos.csv", "shots.csv", "segments.csv", "rejected.csv")


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table."""
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def tables(folder: Path) -> dict[str, bytes]:
    """All tables as they lie there."""
    return {name: (folder / name).read_bytes() for name in TABLES}


def draw_long(folder: Path, *names: str) -> Path:
    """Videos of 200 frames, which are decoded in several chunks, and no.mp4, which is none."""
    for name in names:
        write_video(folder / f"{name}.mp4", frames=200, size=(64, 96))
    (folder / "no.mp4").write_text("no video")
    return folder


def check_pack(folder: Path, every: int = 40) -> None:
    """Of each video some frames are in the pack as they were written."""
    dataset = Dataset(folder)
    for number, video in enumerate(dataset.videos):
        for frame in dataset.frames_of(number)[::every]:
            data = dataset.packed.read(video.pack_file, int(frame["offset"]), int(frame["size"]))
            assert zlib.crc32(data) == frame["crc"]
    dataset.close()


# Worker processes start with this.
WHILE_DECODING = """
import os, signal, time
import eruv_dali.prepare.scan as scan
decode = scan.decode_pictures

def decode_pictures(path, *arguments, **options):
    for chunk in decode(path, *arguments, **options):
        yield chunk
{mishap}

scan.decode_pictures = decode_pictures
"""


def while_decoding(monkeypatch: pytest.MonkeyPatch, folder: Path, mishap: str) -> None:
    """Let worker processes run the code `mishap` over each chunk of frames of the video at `path`."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WHILE_DECODING.format(mishap=textwrap.indent(mishap, " " * 8)))
    monkeypatch.syspath_prepend(folder)
