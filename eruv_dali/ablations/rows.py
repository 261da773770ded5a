"""What the program does once its command line is read: a run for each row, and the tables."""

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eruv_dali.ablations.same_recognition import check_same_recognition
from eruv_dali.actions.chosen import chosen_splits
from eruv_dali.console import warn
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.finetune.__main__ import build_parser
from eruv_dali.finetune.__main__ import main as finetune
from eruv_dali.finetune.program import check_words
from eruv_dali.pretrain.once import check_same_run, pretrain_once, release
from eruv_dali.pretrain.run import check_run, for_dataset
from eruv_dali.tables.__main__ import main as tables
from eruv_dali.train.config import Config, load_rows
from eruv_dali.train.stop import Stopped


def run(args: argparse.Namespace, files: Sequence[Path], values: Sequence[str]) -> None:
    """Run the program: `args` as it takes them, the files of configurations, the values for all of them."""
    # Mistakes in any of the runs are found now, not hours into the first ones.
    rows = [row for file in files
            for row in load_rows(file, [*values, f"data.dataset={json.dumps(args.data)}"]).items()]
    if twice := [name for name, count in Counter(name for name, _ in rows).items() if count > 1]:
        raise EruvError(f"two configurations are called {twice[0]}; rename one")
    if args.finetune:
        words = build_parser().parse_args([*args.finetune, "--init", "none", "--out", str(args.out)])
        check_words(words)
        splits = chosen_splits(words)
    with contextlib.closing(Dataset(args.data)) as dataset:
        for place, (name, config) in enumerate(rows):
            try:
                config = for_dataset(config, dataset)
                check_run(config, dataset)
            except EruvError as error:
                raise EruvError(f"{name}: {error}") from None
            rows[place] = name, config
            check_same_run(config, args.out / name)
        for name, config in [*rows, *_random(rows)] if args.finetune else ():
            check_same_recognition(_folder(args, name), words, splits, config)
        runs = []
        try:
            for name, config in rows:
                pretrain_once(config, dataset, args.out / name)
                runs += [args.out / name, *_recognition(args, name, args.out / name)]
        except Stopped as stopped:
            warn(f"{str(stopped).partition(';')[0]}; continue with the same command")
            sys.exit(128 + stopped.signal)
    for name, config in _random(rows):
        model, data = config.model, config.data
        runs += _recognition(args, name, "none", "--backbone", model.backbone, "--width", model.width,
                             "--input", model.input, "--crop", data.crop,
                             "--frame-size", "x".join(map(str, data.frame_size)))
    tables([*map(str, runs), "--out", str(args.out)])


def _random(rows: Sequence[tuple[str, Config]]) -> list[tuple[str, Config]]:
    """The random networks to compare with: the first row's, for each kind of input, and what they are called."""
    first = rows[0][1]
    return [("random" if seen == first.model.input else f"random_{seen}",
             replace(first, model=replace(first.model, input=seen)))
            for seen in dict.fromkeys(config.model.input for _, config in rows)]


def _folder(args: argparse.Namespace, name: str) -> Path:
    """Of the run that fine-tunes the network of this name."""
    return args.out / f"{name}_finetune"


def _recognition(args: argparse.Namespace, name: str, *init: object) -> list[Path]:
    """The run that fine-tunes a network, if --finetune is given."""
    if not args.finetune:
        return []
    run = _folder(args, name)
    if not (run / "result.json").exists():
        release()
        resume = ["--resume"] if run.exists() else []
        finetune(["--init", *map(str, init), *args.finetune, "--out", str(run), *resume])
    return [run]
