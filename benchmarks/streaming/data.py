"""What is read: one clip of each segment of a DATASET with a video pack, and the same segments as litdata and MosaicML
streaming keep them: a sample is a segment, for a clip may begin anywhere in it."""

import functools
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.dataset.video_table import write_videos
from eruv_dali.files import write_csv, write_text
from eruv_dali.loader.read_video_pack import _needed
from eruv_dali.video.closed_groups import GROUP, coded_size
from eruv_dali.video.decode_groups import CropDecoder, Uses

T, CROP = 16, 112


def multiply(source: Path, out: Path, copies: int) -> None:
    """A DATASET with the videos of another, so many times, each time in pack files of their own."""
    one = Dataset(source)
    (out / "pack").mkdir(parents=True)
    rows, frames, segments = {}, [], []
    known = sorted({video.pack_file for video in one.videos})
    for copy in range(copies):
        names = {file: f"frames-{copy * len(known) + n:05d}.bin" for n, file in enumerate(known)}
        for file, name in names.items():
            shutil.copy(source / "pack" / file, out / "pack" / name)
        for number, video in enumerate(one.videos):
            first = sum(map(len, frames))
            frames.append(one.frames_of(number))
            rows[f"{copy:03d}/{video.name}"] = dict(
                path=str(video.path), frames=video.frames, codec=video.codec, rotation=video.rotation, size=video.size,
                mtime_ns=video.mtime_ns, pack=names[video.pack_file], first=first,
                coding=video.coding and asdict(video.coding), content=video.content)
        part = one.segments.copy()
        part["video"] += copy * len(one.videos)
        part["segment"] += copy * len(part)
        segments.append(part)
    write_videos(out, rows)
    np.save(out / "frames.npy", np.concatenate(frames))
    np.save(out / "segments.npy", np.concatenate(segments))
    for table in ("videos.csv", "segments.csv"):  # not read, as they are unedited
        write_csv(out / table, ("video",), [])
    settings = (source / "dataset.json").read_text()
    seal_dataset(out, settings)
    write_text(out / "dataset.json", settings)


def clips(folder: Path) -> list[tuple[str, int, int]]:
    """(video, first frame, segment) of one clip of each segment."""
    dataset, random = Dataset(folder), np.random.default_rng(0)
    return [(dataset.videos[video].name, int(random.integers(start, end - T + 1)), segment)
            for segment, video, _, start, end in dataset.segments.tolist()]


def samples(folder: Path) -> list[dict]:
    """Each segment as a sample: its packets from the group on in which it begins."""
    dataset = Dataset(folder)
    found = []
    for (_, first, _), (segment, video, _, start, end) in zip(clips(folder), dataset.segments.tolist(), strict=True):
        begin = start // GROUP * GROUP
        records = dataset.frames_of(video)[begin:end]
        offsets = np.append(records["offset"], records["offset"][-1] + records["size"][-1]) - records["offset"][0]
        found.append({"segment": segment, "first": first, "begin": begin, "offsets": offsets.astype(np.int64).tobytes(),
                      "data": dataset.packed.read(dataset.videos[video].pack_file, int(records["offset"][0]),
                                                  int(offsets[-1]))})
    return found


def decoded(sample: dict, frame_size: tuple[int, int]) -> np.ndarray:
    """The sample's clip, (T, CROP, CROP, 3) uint8, by the decoder that the loader here uses."""
    offsets = np.frombuffer(sample["offsets"], np.int64)
    shown = np.arange(sample["first"], sample["first"] + T)
    needed = _needed(shown)
    low, high = int(needed[0]) - sample["begin"], int(needed[-1]) + 1 - sample["begin"]
    place, uses = np.empty((T, CROP, CROP, 3), np.uint8), Uses()
    uses.add(np.searchsorted(needed, shown).tolist(), place, *((side - CROP) // 2 for side in frame_size))
    parts = (offsets[low : high + 1] - offsets[low]).tolist()
    data = bytes(sample["data"][offsets[low] : offsets[high]])  # of litdata, at times a view
    assert _decoder(frame_size).decode(data, parts, uses) == len(needed)
    return place


@functools.cache
def _decoder(frame_size: tuple[int, int]) -> CropDecoder:
    return CropDecoder(*coded_size(*frame_size))


def write_shards(folder: Path, out: Path, which: str) -> None:
    """The samples as "litdata" or "mosaicml" keeps them, in shards of the size that is usual there, 64 MB."""
    if which == "litdata":
        import litdata

        kept = {sample["segment"]: sample for sample in samples(folder)}
        litdata.optimize(fn=kept.__getitem__, inputs=[*kept], output_dir=str(out), chunk_bytes="64MB", num_workers=1)
    else:
        from streaming import MDSWriter

        columns = {"segment": "int", "first": "int", "begin": "int", "offsets": "bytes", "data": "bytes"}
        with MDSWriter(out=str(out), columns=columns, size_limit=1 << 26) as writer:
            for sample in samples(folder):
                writer.write(sample)


def frame_size(folder: Path) -> tuple[int, int]:
    settings = json.loads((folder / "dataset.json").read_text())
    return settings["frame_height"], settings["frame_width"]
