"""What the program does once its command line is read: fine-tune, or classify fixed features, on each split."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.chosen import chosen_network, prepared_splits, refuse_other_run, run_settings, split_folder
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.console import console, warn
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.held_out import hold_out
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.finetune.recognise import check_k, finetune_split, knn_split, probe_split, write_result
from eruv_dali.train.checkpoint import checkpoints
from eruv_dali.train.loop import refuse_run
from eruv_dali.train.processes import ALONE, Processes, first_alone, from_environment
from eruv_dali.train.stop import Stopped
from eruv_dali.visualize.confusion import draw_confusion

WORST = 3  # classes listed at the end


def run(args: argparse.Namespace) -> None:
    """Run the program; `args` as from `build_parser`."""
    processes = from_environment()
    args.resume = args.resume or processes.restarts > 0
    check_words(args)
    refuse_other_run(args.out, "finetune")
    start = chosen_network(args)
    if not args.resume and (args.out / "result.json").exists():
        raise EruvError(f"{args.out}: holds a run already; add --resume to continue it, or choose another --out")
    _check_folder(args.out, args)
    if processes.world > 1:
        if args.freeze or args.knn is not None:
            raise EruvError("--freeze and --knn use one process; run them without torchrun")
        first_alone(processes, lambda: str(prepared_splits(args, start)[1].folder))  # the others find it prepared
    splits, dataset = prepared_splits(args, start)
    for name, _ in splits:
        _check_folder(split_folder(args.out, name, len(splits)), args)
    try:
        recognise(args, lambda: chosen_network(args), splits, dataset, processes)
    except Stopped as stopped:
        if processes.first:
            warn(str(stopped))
        sys.exit(128 + stopped.signal)


def check_words(args: argparse.Namespace) -> None:
    """Find what is wrong with the words about training, whatever the videos are; `args` as from `build_parser`.

    Raises:
        EruvError: a value out of its range, or a word that is not for this way of training.
    """
    for name in ("rescale", "layer_rate", "epochs", "lr", "weight_decay"):
        given = getattr(args, name)
        if given is not None and given is not False and (args.freeze or args.knn is not None):
            raise EruvError(f"--{name.replace('_', '-')} is for training all layers; leave it out with --freeze and "
                            "--knn")
    _recipe(args)
    if not 0 <= args.val_fraction < 1:
        raise EruvError(f"--val-fraction {args.val_fraction} must be at least 0 and less than 1")


def recognise(
    args: argparse.Namespace, load: Callable[[], Pretrained], splits: list[tuple[str, ActionSplit]], dataset: Dataset,
    processes: Processes = ALONE,
) -> None:
    """Train and test on each split, write the results into `args.out`.

    `args` as from `build_parser`; `load` loads the network to start from: each split starts from the same weights, but
    the one before has trained them.
    """
    start, recipe = load(), _recipe(args)
    settings = {"program": "finetune", **run_settings(args, start, splits), **training_settings(args)}
    # What would stop any of the splits is found before the first one takes its time.
    held_out: dict[str, np.ndarray | None] = {}
    for name, split in splits:
        if args.knn is not None:
            check_k(args.knn, split)
        else:
            held_out[name] = hold_out(split.train, split.root, split.classes, fraction=args.val_fraction,
                                      groups=args.groups, seed=args.seed)
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
            figures = probe_split(start, split, dataset, features=features, held_out=held_out[name])
        else:
            figures = finetune_split(load(), split, dataset, folder, recipe, clips=args.clips, device=args.device,
                                     resume=args.resume, processes=processes, held_out=held_out[name])
        per_split[name] = figures
        if len(splits) > 1 and processes.first:
            write_text(folder / "result.json", json.dumps({**settings, "splits": [name], "classes": list(split.classes),
                                                           **figures}, indent=1) + "\n")
    if not processes.first:
        return
    result = write_result(args.out, settings, per_split, splits[0][1].classes)
    draw_confusion(result["confusion"], result["classes"], args.out / "confusion.png",
                   title=f"{args.dataset}, {start.backbone.name} from {start.init}: top-1 {result['top1']:.1%}")
    _print_result({**result, "init": start.init}, args.out)


def training_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What result.json tells of the way of training; `args` as from `build_parser`."""
    mode, recipe = _mode(args), _recipe(args)
    told: dict[str, Any] = {"mode": mode, "val_fraction": None if mode == "knn" else args.val_fraction}
    if mode == "knn":
        told["k"] = args.knn
    if mode == "finetune":
        told |= {"epochs": recipe.epochs, "lr": recipe.lr, "batch_size": recipe.batch_size,
                 "weight_decay": recipe.weight_decay, "layer_rate": recipe.layer_rate, "rescale": recipe.rescale}
    return told


def _check_folder(folder: Path, args: argparse.Namespace) -> None:
    """Make sure that RUN, or the folder of one of its splits, is free, or holds what --resume can go on with.

    Raises:
        EruvError: it holds a run of another program or mode, or any without --resume.
    """
    refuse_other_run(folder, "finetune")
    refuse_run(folder, args.resume)
    file = folder / "result.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    trained = "finetune" if checkpoints(folder / "last.pt") else None
    mode = _mode(args)
    if (was := trained or before.get("mode", mode)) != mode:
        raise EruvError(f"{folder}: holds a run of mode {was}, not {mode}; choose another --out")
    if mode == "knn" and (k := before.get("k", args.knn)) != args.knn:
        raise EruvError(f"{folder}: holds a run of --knn {k}, not {args.knn}; choose another --out")


def _mode(args: argparse.Namespace) -> str:
    return "freeze" if args.freeze else "knn" if args.knn is not None else "finetune"


def _recipe(args: argparse.Namespace) -> Recipe:
    told = {name: value for name in ("epochs", "lr", "weight_decay", "layer_rate")
            if (value := getattr(args, name)) is not None}
    return Recipe(batch_size=args.batch_size, seed=args.seed, rescale=args.rescale, **told)


def _print_result(result: dict, out: Path) -> None:
    table = Table(title=Text(f"{result['mode']} on {result['dataset']}, from {result['init']}"))
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
