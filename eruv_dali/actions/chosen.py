"""What the arguments shared by all programs on labelled videos stand for: splits, network, prepared videos, folders."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eruv_dali.actions.folder import group_names, list_classes
from eruv_dali.actions.prepared import keep_usable, prepare_labelled
from eruv_dali.actions.split import TEST_FRACTION, ActionSplit, read_split
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import NONE, Pretrained, load_pretrained
from eruv_dali.models.backbone_file import check_clip


def chosen_splits(args: argparse.Namespace) -> list[tuple[str, ActionSplit]]:
    """(name, split) of every split chosen on the command line.

    Raises:
        EruvError: words that contradict one another; two groups whose files would share a folder; see `read_split`.
    """
    if args.leave_one_out or args.test_groups:
        word = "--leave-one-out" if args.leave_one_out else "--test-groups"
        for drawing, given in (("--split", args.split), ("--test-fraction", args.test_fraction)):
            if given is not None:
                raise EruvError(f"{drawing} is for a draw of the test side, and {word} draws none; leave out one of "
                                "them")
    if args.dataset != "folder" and args.test_fraction is not None:
        raise EruvError(f"--test-fraction is for --dataset folder; {args.dataset} has official splits")
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
        draws = [(str(number), dict(split=number)) for number in dict.fromkeys(args.split or [1])]
    folders: dict[Path, str] = {}
    for name, _ in draws:
        folder = split_folder(Path(), name, len(draws))
        if name != folders.setdefault(folder, name):
            raise EruvError(f"--groups {args.groups!r}: the files of {folders[folder]!r} and {name!r} would share the "
                            f"folder {folder}; choose an expression that names them otherwise, or rename one")
    return [(name, read_split(args.dataset, args.root, splits=args.splits, groups=args.groups,
                              test_fraction=_test_fraction(args), skip_missing=args.skip_missing, **draw))
            for name, draw in draws]


def chosen_network(args: argparse.Namespace) -> Pretrained:
    """The network to start from, with the crop and frame size of the command line if given.

    Raises:
        EruvError: see `load_pretrained`; a crop larger than the frames, or too small for the network.
    """
    start = load_pretrained(args.init, backbone=args.backbone, width=args.width, input=args.input,
                            seed=args.seed)
    start = start._replace(crop=start.crop if args.crop is None else args.crop,
                           frame_size=args.frame_size or start.frame_size)
    if not 1 <= start.crop <= min(start.frame_size):
        raise EruvError(f"--crop {start.crop} does not fit into frames of {start.frame_size[0]}x{start.frame_size[1]}; "
                        "also give --frame-size")
    check_clip(start.backbone.name, start.clip_length, start.crop, start.crop)
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


def run_settings(
    args: argparse.Namespace, start: Pretrained, splits: list[tuple[str, ActionSplit]]
) -> dict[str, Any]:
    """What result.json tells of a run of either program: which videos, which network, which clips."""
    return {
        **video_settings(args, splits),
        "backbone": start.backbone.name, "width": start.backbone.width, "input": start.backbone.input,
        # Whoever reads it may be in another folder. A link is not followed: config.yaml lies beside it.
        "init": start.init if start.init == NONE else os.path.abspath(start.init), "seed": args.seed,
        "clips": args.clips, "crop": start.crop, "frame_size": list(start.frame_size),
    }


def video_settings(args: argparse.Namespace, splits: Sequence[tuple[str, ActionSplit]]) -> dict[str, Any]:
    """The part of `run_settings` that is about the videos."""
    split = splits[0][1]
    drawn = args.dataset == "folder" and not args.leave_one_out and not args.test_groups
    return {"dataset": args.dataset, "root": str(split.root.resolve()), "groups": args.groups,
            "test_fraction": _test_fraction(args) if drawn else None, "classes": list(split.classes)}


def _test_fraction(args: argparse.Namespace) -> float:
    return TEST_FRACTION if args.test_fraction is None else args.test_fraction


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
