"""Command-line arguments shared by all programs on labelled videos: which dataset, which splits, which network."""

import argparse
import json
from pathlib import Path
from typing import Any

from eruv_dali.actions.folder import group_names, list_classes
from eruv_dali.actions.prepared import keep_usable, prepare_labelled
from eruv_dali.actions.split import DATASETS, ActionSplit, read_split
from eruv_dali.console import height_by_width
from eruv_dali.dataset import Dataset
from eruv_dali.device import DEVICES
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import Pretrained, load_pretrained
from eruv_dali.models import BACKBONES


def add_split_arguments(parser: argparse.ArgumentParser, kind: str = "--dataset") -> None:
    """`kind` (as `dataset`), --root, --splits, --split, and for folders --groups, --test-groups, --leave-one-out, …"""
    data = parser.add_argument_group("labelled videos")
    data.add_argument(kind, dest="dataset", required=True, choices=DATASETS, help="folder: one folder per class")
    data.add_argument("--root", required=True, type=Path, metavar="DIR", help="the folder of class folders")
    data.add_argument("--splits", type=Path, metavar="DIR", help="official split files (default: in DIR or next to it)")
    data.add_argument("--split", type=int, nargs="+", default=[1], metavar="N",
                      help="number of the split, or, for folder, of the draw; with "
                      "several, figures are their mean (default 1)")
    data.add_argument("--groups", metavar="REGEX", help="folder: its first (group), searched in CLASS/path, names the "
                      "person or source; each stays on one side of the split")
    data.add_argument("--test-groups", nargs="+", metavar="NAME", help="folder: the groups of the test side, instead "
                      "of a draw")
    data.add_argument("--leave-one-out", action="store_true", help="folder: one split for each group, which is its "
                      "test side; figures are their mean")
    data.add_argument("--test-fraction", type=float, default=0.3, help="folder: share of each class that is drawn for "
                      "the test side (default %(default)s)")
    data.add_argument("--skip-missing", action="store_true", help="leave out videos that are absent or cannot be "
                      "decoded, with a warning, instead of stopping")


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """--init, --backbone, --width, --crop, --frame-size, --clips, --batch-size, --seed, --device, --out."""
    net = parser.add_argument_group("network and clips")
    net.add_argument("--init", required=True, metavar="CKPT", help="a RUN of pretrain, its backbone.pt, best.pt or "
                     "last.pt; a file of VCOP's or PRP's public code; none: random weights, with --backbone, --width, "
                     "--crop and --frame-size as in the run to compare with")
    net.add_argument("--backbone", choices=BACKBONES, help="with --init none (default c3d); a checkpoint knows its own")
    net.add_argument("--width", type=int, help="with --init none: channels of the first convolution (default 64)")
    net.add_argument("--crop", type=int, help="pixels (default: as in the checkpoint's RUN, else 112)")
    net.add_argument("--frame-size", type=height_by_width, metavar="HxW", help="of the frames that are cropped "
                     "(default: as in the checkpoint's RUN, else 128x171)")
    net.add_argument("--clips", type=int, default=10, help="clips per test video (default %(default)s)")
    net.add_argument("--batch-size", type=int, default=8, help="clips (default %(default)s)")
    net.add_argument("--seed", type=int, default=0)
    net.add_argument("--device", default="auto", choices=DEVICES)
    net.add_argument("--out", required=True, type=Path, metavar="RUN", help="folder to write")


def chosen_splits(args: argparse.Namespace) -> list[tuple[str, ActionSplit]]:
    """(name, split) of every split chosen on the command line.

    Raises:
        EruvError: see `read_split`.
    """
    if args.leave_one_out:
        if args.dataset != "folder" or not args.groups or args.test_groups:
            raise EruvError("--leave-one-out needs --dataset folder and --groups, and no --test-groups")
        if not args.root.is_dir():
            raise EruvError(f"{args.root}: no such folder; --root names the folder of videos, one folder per class")
        paths = [path for videos in list_classes(args.root).values() for path in videos]
        draws: list[tuple[str, dict[str, Any]]] = [
            (name, dict(test_groups=[name]))
            for name in sorted(set(group_names(args.root, paths, args.groups).values()))]
        if len(draws) < 2:
            raise EruvError(f"--leave-one-out: --groups {args.groups!r} finds only one group, {draws[0][0]!r}")
    elif args.test_groups:
        draws = [("+".join(args.test_groups), dict(test_groups=args.test_groups))]
    else:
        draws = [(str(number), dict(split=number)) for number in dict.fromkeys(args.split)]
    return [(name, read_split(args.dataset, args.root, splits=args.splits, groups=args.groups,
                              test_fraction=args.test_fraction, skip_missing=args.skip_missing, **draw))
            for name, draw in draws]


def chosen_network(args: argparse.Namespace) -> Pretrained:
    """The network to start from, with the crop and frame size of the command line if given.

    Raises:
        EruvError: see `load_pretrained`; a crop larger than the frames.
    """
    start = load_pretrained(args.init, backbone=args.backbone, width=args.width, seed=args.seed)
    start = start._replace(crop=args.crop or start.crop, frame_size=args.frame_size or start.frame_size)
    if not 1 <= start.crop <= min(start.frame_size):
        raise EruvError(f"--crop {start.crop} does not fit into frames of {start.frame_size[0]}x{start.frame_size[1]}; "
                        "also give --frame-size")
    for name, value in (("clips", args.clips), ("batch-size", args.batch_size)):
        if value < 1:
            raise EruvError(f"--{name} {value} must be at least 1")
    return start


def prepared_splits(
    args: argparse.Namespace, start: Pretrained
) -> tuple[list[tuple[str, ActionSplit]], Dataset]:
    """The splits, with all their videos prepared next to --out.

    Raises:
        EruvError: see `chosen_splits`, `prepare`, `keep_usable`.
    """
    splits = chosen_splits(args)
    dataset = prepare_labelled(splits[0][1].root, args.out, frame_size=start.frame_size, device=args.device)
    return keep_usable(splits, dataset, skip_missing=args.skip_missing), dataset


def refuse_other_run(out: Path, program: str) -> None:
    """Make sure that `out` is not a RUN of another program, whose result.json would be overwritten.

    Raises:
        EruvError: it is.
    """
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; --out names a folder")
    file = out / "result.json"
    try:
        other = json.loads(file.read_text()).get("program") if file.exists() else program
    except (OSError, ValueError, AttributeError):
        other = "something else"
    if other != program:
        raise EruvError(f"{out}: holds a run of {other or 'pretrain'}; choose another --out")


def split_folder(out: Path, name: str, of: int) -> Path:
    """Where a split's files go: RUN itself, or, if there are several splits, a folder in it for each."""
    return out if of == 1 else out / f"split_{name.replace('/', '_')}"
