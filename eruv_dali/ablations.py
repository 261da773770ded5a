"""What each relation contributes: pre-train once for each of several configurations, and compare the results
(the paper's Table II).

    python -m eruv_dali.ablations configs/ablations/*.yaml --data my_dataset --out runs/ablations
    python -m eruv_dali.ablations configs/ablations/*.yaml --data my_dataset --out runs/ablations optim.epochs=20
    python -m eruv_dali.ablations configs/ablations/*.yaml --data my_dataset --out runs/ablations \\
        --finetune "--dataset ucf101 --root UCF-101 --splits ucfTrainTestlist"

Each FILE.yaml is its own run, FOLDER/FILE. If stopped at any moment, the same command continues where it stopped: a
finished run is not repeated, an unfinished one is resumed. With --finetune each network, and a random one, is then
trained to recognise actions (FOLDER/FILE_finetune; the arguments are those of python -m eruv_dali.finetune). The tables
are those of python -m eruv_dali.tables: FOLDER/tables.md, table_2.csv. Accuracies over different relations are not
comparable: chance is shown next to them.
"""

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

from eruv_dali.actions.arguments import chosen_splits
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError, run_program
from eruv_dali.finetune.__main__ import build_parser
from eruv_dali.pretrain.run import check_run
from eruv_dali.train.checkpoint import checkpoints
from eruv_dali.train.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.ablations", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", metavar="FILE | key=value", help="YAML files, and values for all of them")
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder that eruv_dali.prepare wrote")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the runs and the table")
    parser.add_argument("--finetune", metavar="WORDS", help="also train each network to recognise actions")
    args, more = parser.parse_known_args()
    if unknown := [word for word in more if word.startswith("-") or "=" not in word]:
        raise EruvError(f"{unknown[0]}: unknown argument; see --help")
    files = [Path(word) for word in args.configs if "=" not in word]
    values = [word for word in args.configs if "=" in word] + more
    names = [file.stem for file in files]
    if twice := {name for name in names if names.count(name) > 1}:
        raise EruvError(f"two configurations are called {twice.pop()}; rename one")
    if not files:
        raise EruvError("give the configurations to compare, such as configs/ablations/*.yaml")
    # Mistakes in any of the runs are found now, not hours into the first ones.
    configs = [load_config(file, [*values, *_data(args.data)]) for file in files]
    with contextlib.closing(Dataset(args.data)) as dataset:
        for file, config in zip(files, configs, strict=True):
            try:
                check_run(config, dataset)
            except EruvError as error:
                raise EruvError(f"{file}: {error}") from None
    if args.finetune:
        words = build_parser().parse_args([*shlex.split(args.finetune), "--init", "none", "--out", str(args.out)])
        chosen_splits(words)
    runs = []
    for file in files:
        run = args.out / file.stem
        if not (run / "result.json").exists():
            resume = ["--resume"] if checkpoints(run / "last.pt") else []
            _python("pretrain", "--config", file, "--data", args.data, "--out", run, *resume, *values)
        runs += [run, *_recognition(args, file.stem, run)]
    if args.finetune:
        model, data = configs[0].model, configs[0].data
        runs += _recognition(args, "random", "none", "--backbone", model.backbone, "--width", model.width,
                             "--crop", data.crop, "--frame-size", "x".join(map(str, data.frame_size)))
    _python("tables", *runs, "--out", args.out)


def _data(dataset: str) -> list[str]:
    """The DATASET as a word of the configuration."""
    return [f"data.dataset={json.dumps(dataset)}"]


def _recognition(args: argparse.Namespace, name: str, *init: object) -> list[Path]:
    """The run that fine-tunes a network, if --finetune is given."""
    if not args.finetune:
        return []
    run = args.out / f"{name}_finetune"
    if not (run / "result.json").exists():
        resume = ["--resume"] if run.exists() else []
        _python("finetune", "--init", *init, *shlex.split(args.finetune), "--out", run, *resume)
    return [run]


def _python(program: str, *words: object) -> None:
    """Run a program of this package; if it fails, it has printed why, and this one exits with its exit code."""
    code = subprocess.run([sys.executable, "-m", f"eruv_dali.{program}", *map(str, words)]).returncode
    if code:
        sys.exit(code if code > 0 else 128 - code)


if __name__ == "__main__":
    run_program(main)
