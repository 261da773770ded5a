"""Recognise actions in labelled videos with a pre-trained network (Table IV), or with a random one for comparison.

    python -m eruv_dali.finetune --dataset ucf101 --root UCF-101 --splits ucfTrainTestlist --split 1 2 3 \\
        --init runs/c3d --out runs/c3d_ucf101
    python -m eruv_dali.finetune --dataset hmdb51 --root hmdb51_org --init none --backbone r3d --out runs/random_hmdb51
    python -m eruv_dali.finetune --dataset folder --root my_actions --groups '/([a-z]+)_' --leave-one-out \\
        --init runs/c3d --freeze --out runs/c3d_probe
    torchrun --nproc-per-node 8 -m eruv_dali.finetune --dataset ucf101 --root UCF-101 --init runs/c3d --out runs/c3d_u

All layers are trained, the best epoch on a held-out part of the training list is kept, and the prediction for each test
video is the mean over 10 clips. --freeze trains a linear classifier on the unchanged features, --knn K classifies by a
vote of the K most similar training videos; neither takes long. --init none is the random baseline: other weights, the
rest is the same.

The videos are prepared once, into a folder dataset_… next to RUN that the next run there finds again. Writes into RUN
result.json (fractions of 1: top1, top5, per_class, confusion, per_split) and confusion.png. If all layers are trained,
also writes for each split (with several, in RUN/split_N): metrics.jsonl, best.pt, backbone.pt with its config.yaml, and
last.pt, from which --resume continues. Ctrl-C and SIGTERM save before they end the run. Under torchrun each process
takes its own batch and the learning rate is multiplied by their number.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from rich.table import Table

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.arguments import (
    add_network_arguments,
    add_split_arguments,
    chosen_network,
    prepared_splits,
    refuse_other_run,
    split_folder,
)
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError, run_program
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.recognise import finetune_split, knn_split, probe_split, write_result
from eruv_dali.finetune.task import Recipe
from eruv_dali.train.loop import refuse_run
from eruv_dali.train.processes import ALONE, Processes, first_alone, from_environment
from eruv_dali.train.stop import Stopped
from eruv_dali.visualize.confusion import draw_confusion

WORST = 3  # classes listed at the end


def main(words: Sequence[str] | None = None) -> None:
    """Run the program with these words, by default those of the command line."""
    logging.basicConfig(format="%(message)s")
    args = build_parser().parse_args(words)

    processes = from_environment()
    args.resume = args.resume or processes.restarts > 0
    refuse_other_run(args.out, "finetune")
    start = chosen_network(args)
    if not args.resume and (args.out / "result.json").exists():
        raise EruvError(f"{args.out}: holds a run already; add --resume to continue it, or choose another --out")
    refuse_run(args.out, args.resume)
    if processes.world > 1:
        if args.freeze or args.knn is not None:
            raise EruvError("--freeze and --knn use one process; run them without torchrun")
        first_alone(processes, lambda: str(prepared_splits(args, start)[1].folder))  # the others find it prepared
    splits, dataset = prepared_splits(args, start)
    try:
        recognise(args, lambda: chosen_network(args), splits, dataset, processes)
    except Stopped as stopped:
        if processes.first:
            console.print(str(stopped), highlight=False, markup=False, soft_wrap=True)
        sys.exit(128 + stopped.signal)


def build_parser() -> argparse.ArgumentParser:
    """The words that this program takes."""
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.finetune", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_split_arguments(parser)
    add_network_arguments(parser)
    training = parser.add_argument_group("training")
    how = training.add_mutually_exclusive_group()
    how.add_argument("--freeze", action="store_true", help="train only a linear classifier, on fixed features")
    how.add_argument("--knn", type=int, metavar="K", help="train nothing: the K most similar training videos vote")
    training.add_argument("--epochs", type=int, default=Recipe.epochs, help="default %(default)s")
    training.add_argument("--lr", type=float, default=Recipe.lr, help="default %(default)s")
    training.add_argument("--weight-decay", type=float, default=Recipe.weight_decay, help="default %(default)s")
    training.add_argument("--val-fraction", type=float, default=0.1, help="of the training videos, held out to choose "
                          "the epoch (or --freeze's penalty); 0 takes the last (default %(default)s)")
    training.add_argument("--resume", action="store_true", help="go on with the run in RUN")
    return parser


def recognise(
    args: argparse.Namespace, load: Callable[[], Pretrained], splits: list[tuple[str, ActionSplit]], dataset: Dataset,
    processes: Processes = ALONE,
) -> None:
    """Train and test on each split, write the results into `args.out`.

    `args` as from `build_parser`; `load` loads the network to start from: each split starts from the same weights, but
    the one before has trained them.
    """
    start = load()
    settings = {
        "program": "finetune", "mode": "freeze" if args.freeze else "knn" if args.knn is not None else "finetune",
        "dataset": args.dataset, "backbone": start.backbone.name, "width": start.backbone.width, "init": start.init,
        "seed": args.seed, "clips": args.clips, "crop": start.crop, "frame_size": list(start.frame_size),
    }
    if args.knn is not None:
        settings["k"] = args.knn
    if settings["mode"] == "finetune":
        settings |= {"epochs": args.epochs, "lr": args.lr, "batch_size": args.batch_size,
                     "weight_decay": args.weight_decay}
    recipe = Recipe(args.epochs, args.lr, args.batch_size, args.weight_decay, seed=args.seed)
    per_split, features = {}, None
    if settings["mode"] != "finetune":
        knn = args.knn is not None
        features = SplitFeatures(start, [split for _, split in splits], dataset, layer="pool5" if knn else "average",
                                 clips=args.clips, average_clips=knn, batch_size=2 * args.batch_size,
                                 device=args.device)
    for name, split in splits:
        folder = split_folder(args.out, name, len(splits))
        folder.mkdir(parents=True, exist_ok=True)
        if processes.first:
            console.print(f"{settings['mode']} {start.backbone.name} from {start.init}, {args.dataset} split {name}: "
                          f"{len(split.train)} training and {len(split.test)} test videos of {len(split.classes)} "
                          "classes", highlight=False, markup=False)
        if args.knn is not None:
            figures = knn_split(start, split, dataset, k=args.knn, device=args.device, features=features)
        elif args.freeze:
            figures = probe_split(start, split, dataset, val_fraction=args.val_fraction, groups=args.groups,
                                  seed=args.seed, features=features)
        else:
            if processes.first:
                _write_config(folder, start, args.seed)
            figures = finetune_split(load(), split, dataset, folder, recipe, clips=args.clips,
                                     groups=args.groups, val_fraction=args.val_fraction, device=args.device,
                                     resume=args.resume, processes=processes)
        per_split[name] = figures
        if len(splits) > 1 and processes.first:
            write_text(folder / "result.json", json.dumps({**settings, "splits": [name], "classes": list(split.classes),
                                                           **figures}, indent=1) + "\n")
    if not processes.first:
        return
    result = write_result(args.out, settings, per_split, splits[0][1].classes)
    draw_confusion(result["confusion"], result["classes"], args.out / "confusion.png",
                   title=f"{args.dataset}, {start.backbone.name} from {start.init}: top-1 {result['top1']:.1%}")
    _print_result(result, args.out)


def _write_config(folder: Path, start: Pretrained, seed: int) -> None:
    """Write the format of backbone.pt's clips, for loading it later (see `load_pretrained`)."""
    config = {
        "data": {"clip_length": start.clip_length, "crop": start.crop, "frame_size": list(start.frame_size),
                 "mean": list(start.mean), "std": list(start.std)},
        "model": {"backbone": start.backbone.name, "width": start.backbone.width},
        "seed": seed,
    }
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))


def _print_result(result: dict, out: Path) -> None:
    table = Table(title=f"{result['mode']} on {result['dataset']}, from {result['init']}")
    for column in ("split", "videos", "top-1", "top-5"):
        table.add_column(column, justify="left" if column == "split" else "right")
    rows = [*result["per_split"].items()] + ([("mean", result)] if len(result["splits"]) > 1 else [])
    for name, figures in rows:
        top5 = "–" if figures["top5"] is None else f"{figures['top5']:.1%}"
        table.add_row(name, str(figures["videos"]), f"{figures['top1']:.1%}", top5)
    console.print(table)
    if result["top5"] is None:
        console.print(f"top-5 is meaningless for {len(result['classes'])} classes", highlight=False)
    worst = sorted((value, name) for name, value in result["per_class"].items() if value is not None)[:WORST]
    named = ", ".join(f"{name} {value:.0%}" for value, name in worst)
    console.print(f"hardest: {named}", highlight=False, markup=False)
    console.print(f"{out}: result.json, confusion.png", highlight=False, markup=False)


if __name__ == "__main__":
    run_program(main)
