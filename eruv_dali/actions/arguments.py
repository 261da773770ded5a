"""Command-line arguments shared by all programs on labelled videos: which dataset, which splits, which network."""

import argparse
from pathlib import Path

from eruv_dali.actions.split import DATASETS, TEST_FRACTION
from eruv_dali.choices import BACKBONES, INPUTS
from eruv_dali.options import add_device, height_by_width


def add_split_arguments(parser: argparse.ArgumentParser, kind: str = "--dataset") -> None:
    """`kind` (as `dataset`), --root, --splits, --split, and for folders --groups, --test-groups, --leave-one-out, …"""
    data = parser.add_argument_group("labelled videos")
    data.add_argument(kind, dest="dataset", required=True, choices=DATASETS, help="folder: one folder per class")
    data.add_argument("--root", required=True, type=Path, metavar="DIR", help="the folder of class folders")
    data.add_argument("--splits", type=Path, metavar="DIR", help="official split files (default in DIR or next to it)")
    data.add_argument("--split", type=int, nargs="+", metavar="N",
                      help="number of the split, or, for folder, of the draw; with "
                      "several, figures are their mean (default 1)")
    data.add_argument("--groups", metavar="REGEX", help="folder: its first (group), searched in CLASS/path, names the "
                      "person or source; each stays on one side of the split")
    data.add_argument("--test-groups", nargs="+", metavar="NAME", help="folder: the groups of the test side, instead "
                      "of a draw")
    data.add_argument("--leave-one-out", action="store_true", help="folder: one split for each group, which is its "
                      "test side; figures are their mean")
    data.add_argument("--test-fraction", type=float, help="folder: share of each class that is drawn for the test side "
                      f"(default {TEST_FRACTION})")
    data.add_argument("--skip-missing", action="store_true", help="leave out videos that are absent or cannot be "
                      "decoded, with a warning, instead of stopping")


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """--init, --backbone, --width, --input, --crop, --frame-size, --clips, --batch-size, --seed, --device, --out."""
    net = parser.add_argument_group("network and clips")
    net.add_argument("--init", required=True, metavar="CKPT", help="a RUN of pretrain, its backbone.pt, best.pt or "
                     "last.pt; a file of VCOP's or PRP's public code; none: random weights, with --backbone, --width, "
                     "--input, --crop and --frame-size as in the run to compare with")
    net.add_argument("--backbone", choices=BACKBONES, help="with --init none (default c3d); a checkpoint knows its own")
    net.add_argument("--width", type=int, help="with --init none: channels of the first convolution (default 64)")
    net.add_argument("--input", choices=INPUTS, help="with --init none: what the network sees of a clip: its colours, "
                     "or each frame's difference from the one before (default rgb)")
    net.add_argument("--crop", type=int, help="pixels (default as in the checkpoint's RUN, else 112)")
    net.add_argument("--frame-size", type=height_by_width, metavar="HxW", help="of the frames that are cropped "
                     "(default as in the checkpoint's RUN, else 128x171)")
    net.add_argument("--clips", type=int, default=10, help="clips per test video (default %(default)s)")
    net.add_argument("--batch-size", type=int, default=8, help="clips (default %(default)s)")
    net.add_argument("--seed", type=int, default=0, help="of random weights, held-out videos and training batches "
                     "(the test side is drawn by --split)")
    add_device(net)
    net.add_argument("--out", required=True, type=Path, metavar="RUN", help="folder to write")
