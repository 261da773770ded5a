"""Whether `prepare` on a GPU finds what it finds on the CPU, and how much of the speed of decoding it reaches.

    python benchmarks/prepare_check.py --videos DIR --json FILE
    python benchmarks/prepare_check.py --videos DIR --device cpu --copies 2      the CPU against itself: a dry run

Prepares the videos with a raw pack on the CPU and on the device, and compares per video: number of frames, key frames,
shot starts, and the packed pictures. Pictures may differ by the scalers' rounding; `mean_difference` is the largest
difference over frames of two frames' mean values, `pixel_difference` the mean over all pixels, in grey levels.

Speed: frames/s of `prepare --pack none` beyond its start, from a run on all videos and one on --copies of each; and of
decoding alone in one process, to the size that shots are found on. Exit code 1 if frames, keys or more than MOST_CUTS
of the cuts differ.
"""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser, add_device
from eruv_dali.prepare import prepare
from eruv_dali.prepare.scan import HOG_SIZE
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.find import Video, find_videos
from eruv_dali.video.open import DamagedVideo, UnusableVideo

MOST_CUTS = 0.01  # of the CPU's cuts: those that lie at the threshold
SAMPLED = 64  # frames of a video whose pixels are compared


def shot_starts(dataset: Dataset) -> dict[str, set[int]]:
    """The first frames of each video's shots but the first one's."""
    found: dict[str, set[int]] = {row.name: set() for row in dataset.videos}
    with open(dataset.folder / "shots.csv", newline="") as file:
        for row in csv.DictReader(file):
            found[row["video"]].add(int(row["start"]))
    return {name: starts - {0} for name, starts in found.items()}


def pictures(dataset: Dataset, number: int, wanted: np.ndarray) -> np.ndarray:
    """Frames `wanted` of a raw pack, (N, height, width, 3) uint8."""
    row, frames = dataset.videos[number], dataset.frames_of(number)
    read = [dataset.packed.read(row.pack_file, int(frames["offset"][n]), int(frames["size"][n])) for n in wanted]
    return np.frombuffer(b"".join(read), np.uint8).reshape(-1, dataset.frame_height, dataset.frame_width, 3)


def compare(base: Dataset, other: Dataset) -> list[dict]:
    """A row for each video of `base`."""
    numbers = {row.name: number for number, row in enumerate(other.videos)}
    cuts, cuts_there = shot_starts(base), shot_starts(other)
    rows = []
    for number, video in enumerate(base.videos):
        there = numbers.get(video.name)
        if there is None:
            rows.append({"video": video.name, "same": False, "trouble": "rejected on the device"})
            continue
        frames, others = video.frames, other.videos[there].frames
        keys, keys_there = base.index(number).keys, other.index(there).keys
        changed = len(cuts[video.name] ^ cuts_there[video.name])
        row = {"video": video.name, "codec": video.codec, "frames": [frames, others],
               "keys_equal": bool(np.array_equal(keys, keys_there)), "cuts": len(cuts[video.name]),
               "cuts_changed": changed}
        if frames == others:
            wanted = np.unique(np.linspace(0, frames - 1, SAMPLED).astype(int))
            one, two = (pictures(*pair, wanted).astype(np.int16) for pair in ((base, number), (other, there)))
            means = abs(one.mean((1, 2, 3)) - two.mean((1, 2, 3)))
            row |= {"mean_difference": float(means.max()), "pixel_difference": float(abs(one - two).mean())}
        rows.append({**row, "same": frames == others and row["keys_equal"]})
    return rows


def speed(videos: list[Video], copies: int, device: str, scratch: Path) -> dict:
    """Frames/s of prepare beyond its start, and of decoding alone."""
    took, frames = [], []
    for count in (1, copies):
        folder = scratch / f"times_{count}"
        for copy in range(count):
            for number, video in enumerate(videos):
                link = folder / f"{copy}_{number}{video.path.suffix}"
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(video.path.resolve())
        began = time.perf_counter()
        made = prepare([folder], scratch / f"prepared_{count}", device=device, pack="none")
        took.append(time.perf_counter() - began)
        frames.append(sum(row.frames for row in made.videos))
        made.close()
    alone: list[float] = []
    for _ in range(2):  # the first builds pipelines
        began, count = time.perf_counter(), 0
        for video in videos:
            try:
                for chunk in decode_pictures(video.path, [HOG_SIZE], device=device):
                    count += len(chunk.pts)
            except (UnusableVideo, DamagedVideo):
                continue
        alone.append(count / (time.perf_counter() - began))
    rate = (frames[1] - frames[0]) / (took[1] - took[0]) if took[1] > took[0] else float("nan")
    return {"prepare": rate, "decode_alone": alone[1], "share": rate / alone[1], "start_seconds": took[0],
            "copies": copies}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--videos", required=True, nargs="+", metavar="DIR", help="folders of videos")
    add_device(parser)
    parser.add_argument("--copies", type=int, default=6, help="of each video, to measure speed with")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    if args.copies < 2:
        raise EruvError(f"--copies {args.copies} must be at least 2: speed is the difference to one")
    device = resolve_device(args.device)
    result: dict = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv]), "device": device}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        base = prepare(args.videos, scratch / "base", device="cpu", pack="raw")
        other = prepare(args.videos, scratch / "other", device=device, pack="raw")
        rows = result["videos"] = compare(base, other)
        cuts, changed = (sum(row.get(key, 0) for row in rows) for key in ("cuts", "cuts_changed"))
        result |= {"cuts": cuts, "cuts_changed": changed, "frames": sum(video.frames for video in base.videos),
                   "same": all(row["same"] for row in rows) and changed <= MOST_CUTS * cuts}
        if args.json:
            write_text(Path(args.json), json.dumps(result, indent=1) + "\n")
        for row in rows:
            print(json.dumps(row))
        base.close(), other.close()
        result["frames_per_second"] = speed(find_videos(args.videos), args.copies, device, scratch)
    print(json.dumps(result["frames_per_second"]))
    if args.json:
        write_text(Path(args.json), json.dumps(result, indent=1) + "\n")
    if not result["same"]:
        print(f"the {device} does not find what the CPU finds")
        sys.exit(1)


if __name__ == "__main__":
    run_program(main)
