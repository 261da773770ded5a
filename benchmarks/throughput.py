"""Clips per second from videos to a training batch: this loader beside the common alternatives, like with like.

    pip install -e '.[bench]'
    python benchmarks/throughput.py --videos my_videos/ more_videos/ --json result.json --plot result.png

All contenders deliver the same random clips in the same order, 16 frames each, resized to 128x171, cropped to 112x112,
float32, in batches of 16. They race in groups, by the form that the videos are kept in, and ours is compared with the
best peer of its own group:

    originals   the files themselves            ours, direct       PyAV, OpenCV, decord, torchcodec, SPDL
    copies      small H.264 copies              ours, video pack   the same
    jpeg        a JPEG file a frame             ours, jpeg pack    simplejpeg, OpenCV, torchcodec, torchvision
    raw         uint8 frames                    ours, raw pack     numpy.memmap

Peers run in a PyTorch DataLoader with one persistent worker per core, each keeping its files open and decoding on one
thread; SPDL runs its own threads. On a GPU, peers that decode there join. Their copies hold the frames that our packs
hold (see peers/files.py: size, quality, --gop); DATASETs and copies are made first and not counted. All files are read
once before, so that none waits for a disk. The contenders of a group take turns, so that a noisy machine affects them
equally.

Our loader decodes clips of one group of pictures that it has in hand at the same time once. So video is read in two
orders, measured apart: in `spread` no video comes twice within 144 clips and nothing can be shared (it needs more
videos than that); in `random` sharing is possible.

    clips/s          the epoch from its first request to its last batch; the first run of each warms up, uncounted
    CPU ms/clip      of all processes
    peak memory      growth of the processes' own memory (not mapped files)
    KB a frame       of the videos, in the form that the group reads, on disk
    of the network   clips/s as a share of what r3d trains on a batch that is there already
    wrong frames     before the race each contender's frames are compared with the reference (see race/guard.py)

Videos that one of them cannot open, or no longer than a clip, are left out for all; peers that are not installed, or
fail, are left out; the table says so.

`--profile` measures the parts of ours instead (see race/stages.py): milliseconds per clip in each stage, and of Python
on the training thread.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from peers.all import NAMES, PEERS
from peers.files import FORMS, Files, originals, write_forms
from race.clips import APART, BATCH, FRAME_SIZE, ORDERS
from race.groups import GROUPS, group_of, our_name, packs_of
from race.guard import references
from race.heat import run_heat
from race.network import Network
from race.ours import Ours
from race.report import plot, show_profile, show_race
from race.stages import profile
from race.usable import long_enough, working
from rich.console import Console

from eruv_dali.dataset import Dataset
from eruv_dali.device import cores, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser, add_device
from eruv_dali.prepare import prepare
from eruv_dali.video.closed_groups import GROUP

PACKAGES = ("av", "opencv-python-headless", "decord2", "torchcodec", "spdl", "simplejpeg", "torchvision",
            "PyNvVideoCodec")


def opened(args: argparse.Namespace, scratch: Path, device: str) -> list[Dataset]:
    """The DATASETs named, or one of each kind of pack, made of the videos named."""
    if args.data:
        datasets = [Dataset(folder) for folder in args.data]
    else:
        kinds = packs_of(args.groups) or ["none"]
        datasets = [prepare(args.videos, scratch / kind, device=device, pack=kind, frame_size=FRAME_SIZE)
                    for kind in kinds]
    for dataset in datasets:
        if (dataset.frame_height, dataset.frame_width) != FRAME_SIZE:
            raise EruvError(f"{dataset.folder}: frames of another size than {FRAME_SIZE[0]}x{FRAME_SIZE[1]}")
        if [video.path for video in dataset.videos] != [video.path for video in datasets[0].videos]:
            raise EruvError(f"{dataset.folder}: holds other videos than {datasets[0].folder}")
        dataset.check()
    return datasets


def orders_of(asked: list[str] | None, videos: int) -> tuple[list[str], list[str]]:
    """The orders in which video is read, and a line for the one that so few videos do not allow."""
    if videos > APART:
        return asked or list(ORDERS), []
    line = f"needs more than {APART} usable videos, here are {videos}"
    if asked and "spread" in asked:
        raise EruvError(f"--order spread {line}; name more folders, or take --order random")
    return ["random"], [f"spread order ({line})"]


def race(
    datasets: list[Dataset], candidates: list[int], scratch: Path, args: argparse.Namespace, device: str,
    console: Console,
) -> tuple[list[dict], list[int], dict, list[str]]:
    """Rows of all groups, the videos raced with, the network's figures, and a line for all that was left out."""
    base, left_out = datasets[0], []
    ours = {group_of(dataset.pack): dataset for dataset in datasets}
    asked = {group: [name for name in args.peers if name in PEERS[group]] for group in args.groups}
    peers, videos = {}, candidates
    files = {"originals": originals(base, candidates)}
    if "originals" in asked:
        peers["originals"], videos, out = working("originals", asked["originals"], files["originals"], device)
        left_out += out
        files["originals"] = originals(base, videos)
    if not videos:
        raise EruvError("no video is left that every peer can open; leave some out with --peers")
    forms = [form for form in FORMS if asked.get(form)]
    if forms:
        console.print(f"[dim]writing the peers' {', '.join(forms)}[/]")
        files |= write_forms(forms, base, videos, scratch / "peers", args.gop)
    for form in forms:
        peers[form], kept, out = working(form, asked[form], files[form], device)
        videos = [video for video in videos if video in kept]
        left_out += out
    orders, out = orders_of(args.order, len(videos))
    left_out += out if any(GROUPS[group].video for group in args.groups) else []

    def say(line: str) -> None:
        console.print(f"[dim]{line}[/]", highlight=False)

    expected = references(base, videos)
    network, rates = Network(device), []
    network.run()
    rows = []
    for group in args.groups:
        rates.append(network.run())
        makers = {}
        if group in ours:
            _read_through(ours[group], files["originals"])
            makers[our_name(ours[group].pack)] = partial(Ours, ours[group], device)
        for name in peers.get(group, []):
            makers[name] = partial(PEERS[group][name].contender, files[group], device)
        if group in files:
            files[group].read_through()
        found, failed = run_heat(
            makers, base, videos, expected, orders=orders if GROUPS[group].video else ["random"],
            clips=GROUPS[group].times * args.clips, repeats=args.repeats, device=device,
            say=lambda line, group=group: say(f"{group}: {line}"))
        left_out += [f"{group}: {line}" for line in failed]
        for row in found:
            own = row["loader"].startswith("ours") and group != "originals"
            size = _pack_bytes(ours[group], videos) if own else files[group].bytes_per_frame
            rows.append({"group": group, **row, "bytes_per_frame": size})
    rates.append(network.run())
    alone = {"setting": network.setting, "min": min(rates), "median": statistics.median(rates), "max": max(rates)}
    for row in rows:
        row["of_network"] = row["median"] / alone["median"]
    return rows, videos, alone, left_out


def _read_through(dataset: Dataset, files: Files) -> None:
    """Read the pack, or else the originals, into the page cache."""
    if dataset.pack == "none":
        files.read_through()
    for path in (dataset.folder / "pack").glob("*"):
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass


def _pack_bytes(dataset: Dataset, videos: list[int]) -> float:
    """Bytes a frame in the pack."""
    frames = [dataset.frames_of(video)["size"] for video in videos]
    return sum(int(sizes.sum()) for sizes in frames) / sum(map(len, frames))


def versions() -> dict[str, str]:
    """Of the peers' packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos", metavar="DIR", nargs="+", help="folders of videos, prepared here")
    source.add_argument("--data", metavar="DATASET", nargs="+", help="prepared DATASETs of the same videos")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS),
                        help="that race (default all; with --data, those of the DATASETs)")
    add_device(parser)
    parser.add_argument("--peers", nargs="*", default=NAMES, choices=NAMES, metavar="PEER",
                        help=f"of {', '.join(NAMES)} (default all)")
    parser.add_argument("--codecs", nargs="*", default=[], metavar="CODEC", help="only videos in these, such as h264")
    parser.add_argument("--order", nargs="+", choices=ORDERS, help="of clips from video (default both)")
    parser.add_argument("--gop", type=int, default=GROUP, help="frames in a group of pictures of the peers' copies")
    parser.add_argument("--clips", type=int, default=128,
                        help="per run of a contender that decodes originals (copies and jpeg: 8x, raw: 16x)")
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each; the median is reported")
    parser.add_argument("--profile", action="store_true", help="measure where our time goes, instead of the race")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    parser.add_argument("--plot", metavar="FILE", help="bar chart of the race, as PNG (needs matplotlib)")
    args = parser.parse_args()
    for name in ("clips", "repeats", "gop"):
        if getattr(args, name) < 1:
            raise EruvError(f"--{name} {getattr(args, name)} must be at least 1")
    if args.profile and (args.plot or args.clips < 3 * BATCH):
        raise EruvError(f"--profile draws no chart and needs --clips {3 * BATCH} or more")
    return args


def main() -> None:
    args = arguments()
    device = resolve_device(args.device)
    console = Console(width=None if sys.stdout.isatty() else 150)
    if not args.groups:
        args.groups = [group_of(Dataset(folder).pack) for folder in args.data] if args.data else list(GROUPS)
    with tempfile.TemporaryDirectory() as scratch:
        datasets = opened(args, Path(scratch), device)
        videos = long_enough(datasets[0], args.codecs)
        if not videos:
            raise EruvError("no video of 16 frames" + (f" in {', '.join(args.codecs)}" if args.codecs else "")
                            + " to measure with")
        if args.profile:
            result = {"profile": profile(datasets, videos, args.clips, device)}
            left_out: list[str] = []
        else:
            rows, videos, network, left_out = race(datasets, videos, Path(scratch), args, device, console)
            result = {"network": network, "rows": rows}
    what = f"{len(videos)} videos{' in ' * bool(args.codecs) + ', '.join(args.codecs)}, {cores()} cores"
    if args.profile:
        show_profile(console, result["profile"])
    else:
        show_race(console, f"Clips per second, {what}, {device}, {args.repeats} runs", rows)
        console.print(f"the network alone ({network['setting']}): {network['median']:.3g} clips/s "
                      f"({network['min']:.3g} to {network['max']:.3g})", highlight=False)
    for line in left_out:
        console.print(f"left out: {line}", highlight=False, markup=False)
    if args.json:
        setting = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv]), "device": device,
                   "cores": cores(), "python": platform.python_version(), "torch": torch.__version__,
                   "packages": versions(), "videos": len(videos), "clips": args.clips, "repeats": args.repeats,
                   "gop": args.gop, "left_out": left_out}
        Path(args.json).write_text(json.dumps({**setting, **result}, indent=1) + "\n")
    if args.plot:
        plot(rows, f"16 frames to 112x112 float32; {what}, {device}, {time.strftime('%Y-%m-%d')}", args.plot)


if __name__ == "__main__":
    run_program(main)
