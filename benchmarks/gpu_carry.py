"""Puts together what a GPU machine without a network needs for gpu_proof.sh, and checks that it fits.

    python benchmarks/gpu_carry.py --out .gpu --videos DIR [DIR ...]            the sample, made from these videos
    python benchmarks/gpu_carry.py --out .gpu                                   drawn, where no videos are at hand
    python benchmarks/gpu_carry.py --out .gpu --packages DIR                    and the calls to make, in order

OUT/videos gets SAMPLES, of one codec, size and peculiarity each: about 14 videos of at most LARGEST in all. They are
cut from the videos named (the longest first, SECONDS of each, scaled and coded again, every frame, at the
demonstration's rate) or from our demonstration's films.

--packages names a folder of site.tar.xz in pieces, part-00, part-01, …: the packages that the machine lacks. A call
carries the working tree, that is all files that git tracks or does not ignore, and some of OUT, which git should
therefore ignore (.git/info/exclude). The commands write to $OUT, a folder on that machine that is brought back.

Printed are each part's size beside its limit, and the command of each call. Exit code 1 if something does not fit.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.video.reformatter import ColorRange, Colorspace

from eruv_dali.demo.corpus import draw_shot
from eruv_dali.demo.films import FPS, plan_film
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser
from eruv_dali.video.find import find_videos
from eruv_dali.video.open import UnusableVideo, open_video

MIB = 1 << 20
SECONDS = 14  # of each sample
LARGEST = 25_000_000  # bytes of all samples
COMMAND = 2000  # characters


@dataclass(frozen=True)
class Sample:
    """How one sample is coded. `gop`: pictures in a group; `quality`: constant rate factor or quantiser."""

    name: str
    size: tuple[int, int]  # width, height
    encoder: str = "libx264"
    gop: int = 30
    pixels: str = "yuv420p"
    quality: int = 23
    tagged_709: bool = False
    full_range: bool = False
    options: dict[str, str] = field(default_factory=dict)


SAMPLES = (
    Sample("h264_180p.mp4", (320, 180)),
    Sample("h264_240p.mp4", (320, 240), gop=12),
    Sample("h264_240p_gop250.mp4", (320, 240), gop=250),
    Sample("h264_256p.mp4", (340, 256)),
    Sample("h264_360p.mp4", (640, 360), quality=24),
    Sample("h264_360p_gop250.mp4", (640, 360), gop=250, quality=24),
    Sample("h264_480p.mkv", (854, 480), quality=26),
    Sample("h264_1080p.mp4", (1920, 1080), quality=28),
    Sample("h264_709.mp4", (640, 360), tagged_709=True, quality=24),
    Sample("h264_full_range.mp4", (320, 240), full_range=True),
    Sample("h264_444.mp4", (320, 240), pixels="yuv444p"),
    Sample("mpeg4.avi", (320, 240), "mpeg4", gop=12, quality=4),
    Sample("vp9.webm", (320, 240), "libvpx-vp9", gop=64, quality=32,
           options={"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}),
    Sample("hevc.mp4", (640, 360), "libx265", quality=26),
)


def pictures_of(path: Path | None, number: int) -> Iterator[av.VideoFrame]:
    """Frames of a video, or of the demonstration's film of this number."""
    if path is None:
        for shot in plan_film(number, seed=0).shots:
            for picture in draw_shot(plan_film(number, seed=0), shot):
                yield av.VideoFrame.from_ndarray(picture, format="rgb24")
        return
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        yield from container.decode(video=0)


def write_sample(sample: Sample, frames: Iterator[av.VideoFrame], path: Path, seconds: float) -> int:
    """Code up to `seconds` of the frames, at FPS; returns their number."""
    width, height = sample.size
    colour = Colorspace.ITU709 if sample.tagged_709 else Colorspace.ITU601
    reach = ColorRange.JPEG if sample.full_range else ColorRange.MPEG
    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(sample.encoder, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, sample.pixels
        stream.time_base, stream.gop_size = Fraction(1, FPS), sample.gop
        stream.options = encoder_options(sample)
        if sample.tagged_709:
            stream.codec_context.colorspace = int(colour)
            stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        if sample.full_range:
            stream.codec_context.color_range = int(reach)
        for frame in islice(frames, round(FPS * seconds)):
            made = frame.reformat(width, height, sample.pixels, dst_colorspace=colour, dst_color_range=reach)
            made.pts, made.time_base = count, Fraction(1, FPS)
            made.pict_type = 0
            container.mux(stream.encode(made))
            count += 1
        container.mux(stream.encode())
    return count


def encoder_options(sample: Sample) -> dict[str, str]:
    own = {
        "libx264": {"preset": "veryfast", "crf": str(sample.quality), "x264-params": "scenecut=0"},
        "libx265": {"preset": "ultrafast", "crf": str(sample.quality), "x265-params": "log-level=none:scenecut=0"},
        "libvpx-vp9": {"crf": str(sample.quality), "b": "0"},
        "mpeg4": {"qmin": str(sample.quality), "qmax": str(sample.quality)},
    }[sample.encoder]
    return {**own, **sample.options}


def write_samples(out: Path, sources: list[Path], seconds: float) -> list[tuple[Path, int]]:
    """Write all samples, each from another source; returns paths and numbers of frames."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, sample in enumerate(SAMPLES):
        path = out / sample.name
        source = sources[number % len(sources)] if sources else None
        written.append((path, write_sample(sample, pictures_of(source, number), path, seconds)))
    return written


def usable(folders: list[str], seconds: float) -> list[Path]:
    """The videos to cut samples from: those that are long enough and no larger than full HD, the longest first."""
    found = []
    for video in find_videos(folders):
        path = video.path
        try:
            container, stream = open_video(path)
        except UnusableVideo:
            continue
        with container:
            frames = float(container.duration or 0) / av.time_base * float(stream.average_rate or 0)
            area = stream.width * stream.height
        if 160 * 120 <= area <= 1920 * 1080 and frames >= seconds * FPS:
            found.append((-frames, str(path)))
    return [Path(path) for _, path in sorted(found)]


def tree_bytes() -> int:
    """Of the files that git tracks or does not ignore."""
    root = Path(__file__).parents[1]
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=root, check=True,
                            capture_output=True, text=True).stdout.split("\0")
    return sum((root / name).stat().st_size for name in listed if name and (root / name).is_file())


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def calls(out: str, parts: list[str]) -> list[tuple[list[str], str]]:
    """What each call carries, and its command: the packages one part a call, the videos and run A with the last."""
    made: list[tuple[list[str], str]] = []
    for part in parts:
        made.append(([f"{out}/{part}"], f"cat {out}/{part} >> /tmp/site.tar.xz"))
    unpack = "mkdir -p /tmp/site && tar xJf /tmp/site.tar.xz -C /tmp/site && export PYTHONPATH=/tmp/site && "
    proof = f'benchmarks/gpu_proof.sh A "$OUT" {out}/videos'
    if not parts:
        return [([f"{out}/videos"], proof)]
    carried, command = made[-1]
    made[-1] = ([*carried, f"{out}/videos"], f"{command} && {unpack}{proof}")
    return made


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--out", required=True, metavar="DIR", help="inside the repository, ignored by git")
    parser.add_argument("--videos", nargs="+", metavar="DIR", help="videos to cut the samples from")
    parser.add_argument("--packages", metavar="DIR", help="folder of part-00, part-01, …")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each sample (default %(default)g)")
    parser.add_argument("--limit-mib", type=float, default=64, help="of one call, working tree included (default "
                        "%(default)g)")
    args = parser.parse_args()
    out, limit = Path(args.out), args.limit_mib * MIB
    sources = usable(args.videos, args.seconds) if args.videos else []
    if args.videos and not sources:
        raise EruvError(f"{' '.join(args.videos)}: no video of {args.seconds * FPS:g} frames to cut samples from")
    fits = True

    def say(what: str, size: float, most: float) -> None:
        nonlocal fits
        fits = fits and size <= most
        print(f"{'  ' if size <= most else '! '}{size / MIB:7.2f} of {most / MIB:6.2f} MiB  {what}")

    frames = 0
    for path, count in write_samples(out / "videos", sources, args.seconds):
        frames += count
        print(f"  {path.stat().st_size / MIB:7.2f} MiB {count:6} frames  {path.name}")
    say(f"all samples, {frames:,} frames", folder_bytes(out / "videos"), LARGEST)
    parts = []
    if args.packages:
        for part in sorted(Path(args.packages).glob("part-*")):
            shutil.copy(part, out / part.name)
            parts.append(part.name)
        if not parts:
            raise EruvError(f"{args.packages}: no part-00 here")
    tree = tree_bytes()
    for number, (carried, command) in enumerate(calls(args.out, parts), 1):
        size = tree + sum(folder_bytes(path) if path.is_dir() else path.stat().st_size for path in map(Path, carried))
        say(f"call {number}, carrying {' '.join(carried)}; the working tree is {tree / MIB:.2f} of it", size, limit)
        print(f"      {command}")
        fits = fits and len(command) <= COMMAND
    print("  run B: the same calls with B for A; on a machine that is still warm, the last command from mkdir on")
    if not fits:
        sys.exit(1)


if __name__ == "__main__":
    run_program(main)
