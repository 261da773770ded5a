"""What preparing and pre-training cost with very many videos, from the figures measured in benchmarks/results.

    python benchmarks/cost.py --videos 1e6 1e8 --seconds 60 --cores 1024 --gpus 64

For each number of videos and each kind of pack: bytes stored, core hours of prepare, GPU hours of training, what has to
be moved, and how many days each step takes on the given cores and GPUs; the longest is the bottleneck. docs/scale.md
has the result, and what of it is measured, predicted or assumed.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eruv_dali.dataset.columns import FRAME, SEGMENT
from eruv_dali.dataset.pack import PACK_KINDS
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser, height_by_width
from eruv_dali.shots.curves import LAGS

RESULTS = Path(__file__).parent / "results"
PACK_ROWS = {"none": "direct", "video": "video pack", "jpeg": "jpeg pack", "raw": "raw pack"}  # of profile_cpu.json
MEASURED_SIZE = (360, 640)  # of the videos behind shots_decoding.json
CURVE_BYTES = 4 * (3 + len(LAGS))  # of a frame, in a record
FRAMES_A_SEGMENT = 6.4e6 / 30_500  # THUMOS14's validation videos
SEGMENT_BYTES = SEGMENT.itemsize + 40  # segments.npy and segments.csv
CLIP = 16  # frames
VIDEO_CLIP = 24  # frames that are read for one, from groups of 16
CLIPS_A_SAMPLE = 2  # ERUV
# Predicted, docs/devices.md: floating-point operations of a training step for a clip; of a GPU, peak and share used.
CLIP_FLOP = {"c3d": 231e9, "r3d": 119e9}
PEAK, SHARE = 798e12, 0.35
GPU_FRAMES = {"none": 9_800, "video": 4_100, "jpeg": 9_800, "raw": 9_800}  # a second that prepare does on a GPU


@dataclass(frozen=True)
class Rates:
    """Measured. Per frame: bytes and core seconds; per clip: core seconds that a loader takes on a CPU."""

    original_bytes: float
    decode_seconds: float
    scan_seconds: dict[str, float]  # beside decoding, by kind of pack
    pack_bytes: dict[str, float]
    clip_seconds: dict[str, float]


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    videos: float
    seconds: float
    fps: float
    size: tuple[int, int]
    epochs: float
    backbone: str

    @property
    def frames(self) -> float:
        return self.videos * self.seconds * self.fps

    @property
    def segments(self) -> float:
        return self.frames / FRAMES_A_SEGMENT

    @property
    def clips(self) -> float:
        return self.segments * CLIPS_A_SAMPLE * self.epochs


@dataclass(frozen=True)
class Cost:
    """Bytes, and hours of one core or GPU."""

    originals: float
    pack: float
    index: float
    prepare_core_hours: float
    prepare_gpu_hours: float
    train_gpu_hours: float
    load_core_hours: float
    read_per_gpu: float  # bytes a second

    def days(self, cores: float, gpus: float) -> dict[str, float]:
        """How long each step takes: reading clips on the CPUs goes on beside training."""
        return {"prepare": self.prepare_core_hours / cores / 24, "training": self.train_gpu_hours / gpus / 24,
                "loading": self.load_core_hours / cores / 24}


def measured(folder: Path = RESULTS) -> Rates:
    """The rates from the results in `folder`.

    Raises:
        EruvError: a result is missing or has other content.
    """
    try:
        decoding, packs, index, profile = (json.loads((folder / f"{name}.json").read_text())
                                           for name in ("shots_decoding", "pack_quality", "index", "profile_cpu"))
        frames = decoding["frames"]
        each = {way: statistics.median(runs) / frames for way, runs in decoding["processor_seconds"].items()}
        own = {row["pack"]: row for row in packs["rows"] if not row["changed"]}
        scan = each["prepare"] - each["ffmpeg-decode"]
        ours = {row["source"]: sum(value for name, value in row.items() if name != "source") / 1e3
                for row in profile["profile"]}
        return Rates(
            original_bytes=index["folders"]["shots_synthetic"]["megabytes"] * 1e6 / frames,
            decode_seconds=each["ffmpeg-decode"],
            scan_seconds={"none": scan, "raw": scan, "video": each["prepare-video"] - each["ffmpeg-decode"],
                          "jpeg": scan + own["jpeg"]["encode_ms"] / 1e3},
            pack_bytes={"none": 0, "raw": 3 * packs["frame_size"][0] * packs["frame_size"][1],
                        "video": own["video"]["bytes_per_frame"], "jpeg": own["jpeg"]["bytes_per_frame"]},
            clip_seconds={pack: ours[row] for pack, row in PACK_ROWS.items()})
    except (OSError, KeyError, ValueError) as error:
        raise EruvError(f"{folder}: holds no results to reckon with ({type(error).__name__}: {error}); run this from "
                        "the repository") from None


def cost(rates: Rates, work: Work, pack: str) -> Cost:
    """What `work` costs with this kind of pack. Decoding is taken to cost as much per pixel as measured."""
    pixels = work.size[0] * work.size[1] / (MEASURED_SIZE[0] * MEASURED_SIZE[1])
    clip_bytes = {"none": VIDEO_CLIP * rates.original_bytes * pixels, "video": VIDEO_CLIP * rates.pack_bytes["video"],
                  "jpeg": CLIP * rates.pack_bytes["jpeg"], "raw": CLIP * rates.pack_bytes["raw"]}[pack]
    clips_a_second = PEAK * SHARE / CLIP_FLOP[work.backbone]
    return Cost(
        originals=work.frames * rates.original_bytes * pixels,
        pack=work.frames * rates.pack_bytes[pack],
        index=work.frames * (2 * FRAME.itemsize + CURVE_BYTES) + work.segments * SEGMENT_BYTES,
        prepare_core_hours=work.frames * (rates.decode_seconds * pixels + rates.scan_seconds[pack]) / 3600,
        prepare_gpu_hours=work.frames / GPU_FRAMES[pack] / 3600,
        train_gpu_hours=work.clips / clips_a_second / 3600,
        load_core_hours=work.clips * rates.clip_seconds[pack] / 3600,
        read_per_gpu=clips_a_second * clip_bytes)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--videos", type=float, nargs="+", default=[1e6, 1e8], help="how many (default 1e6 1e8)")
    parser.add_argument("--seconds", type=float, default=60, help="of a video (default %(default)g)")
    parser.add_argument("--fps", type=float, default=25, help="frames a second of a video (default %(default)g)")
    parser.add_argument("--size", type=height_by_width, default=MEASURED_SIZE, metavar="HxW",
                        help="of the originals (default 360x640, which is what was measured)")
    parser.add_argument("--epochs", type=float, default=10, help="of training (default %(default)g)")
    parser.add_argument("--backbone", default="r3d", choices=CLIP_FLOP, help="the network that is trained")
    parser.add_argument("--cores", type=float, default=1024, help="at hand for prepare (default %(default)g)")
    parser.add_argument("--gpus", type=float, default=64, help="at hand for training (default %(default)g)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    for name in ("seconds", "fps", "epochs", "cores", "gpus"):
        if not getattr(args, name) > 0:
            raise EruvError(f"--{name} {getattr(args, name):g} must be greater than 0")
    rates, rows = measured(), []
    table = Table(*("videos", "pack", "originals", "pack TB", "index TB", "prepare core h", "or GPU h", "train GPU h",
                    "load core h", "read MB/s a GPU", "days: prepare", "training", "loading", "longest"))
    for videos in args.videos:
        work = Work(videos, args.seconds, args.fps, args.size, args.epochs, args.backbone)
        for pack in PACK_KINDS:
            this = cost(rates, work, pack)
            days = this.days(args.cores, args.gpus)
            longest = max(days, key=days.__getitem__)
            rows.append({"videos": videos, "pack": pack, **vars(this), "days": days, "longest": longest})
            table.add_row(f"{videos:g}", pack, *(f"{size / 1e12:,.1f}" for size in (
                this.originals, this.pack, this.index)), f"{this.prepare_core_hours:,.0f}",
                f"{this.prepare_gpu_hours:,.0f}", f"{this.train_gpu_hours:,.0f}", f"{this.load_core_hours:,.0f}",
                f"{this.read_per_gpu / 1e6:,.0f}", *(f"{day:,.1f}" for day in days.values()), longest)
    Console(width=180).print(table)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
