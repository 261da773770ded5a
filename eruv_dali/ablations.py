"""What each relation contributes: pre-train once for each of several configurations, and compare the results
(the paper's Table II, unless other configurations are given).

    python -m eruv_dali.ablations --data my_dataset --out runs/table2
    python -m eruv_dali.ablations --data my_dataset --out runs/table2 optim.epochs=20 model.backbone=r3d
    python -m eruv_dali.ablations --data my_dataset --out runs/table2 \\
        --finetune "--dataset ucf101 --root UCF-101 --splits ucfTrainTestlist"
    python -m eruv_dali.ablations heads.yaml configs/vcop_c3d.yaml --data my_dataset --out runs/heads

FILE.yaml is a configuration with rows, a run for each: rows: {NAME: {key: value, …}, …} says what differs from the rest
of the file (see configs/table2.yaml); or, without rows, a run of its own, called FILE. A run goes to FOLDER/NAME. If
stopped at any moment, the same command continues where it stopped: a finished run is not repeated, an unfinished one is
resumed. With --finetune each network, and a random one, is then trained to recognise actions (FOLDER/NAME_finetune; the
arguments are those of python -m eruv_dali.finetune). The tables are those of python -m eruv_dali.tables:
FOLDER/tables.md, table_2.csv. Accuracies over different relations are not comparable: chance is shown next to them.
"""

import argparse
import contextlib
import json
import shlex
import sys
from collections import Counter
from pathlib import Path

from eruv_dali.actions.arguments import chosen_splits
from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError, run_program
from eruv_dali.finetune.__main__ import build_parser
from eruv_dali.finetune.__main__ import main as finetune
from eruv_dali.native import data_dir
from eruv_dali.pretrain.once import check_same_run, pretrain_once, release
from eruv_dali.pretrain.run import check_run, for_dataset
from eruv_dali.tables.__main__ import main as tables
from eruv_dali.train.config import load_rows
from eruv_dali.train.stop import Stopped

TABLE_2 = "table2.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.ablations", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", metavar="FILE | key=value", help="YAML files (default: configs/"
                        f"{TABLE_2}), and values for all of their configurations")
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder that eruv_dali.prepare wrote")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the runs and the table")
    parser.add_argument("--finetune", metavar="WORDS", help="also train each network to recognise actions")
    args, more = parser.parse_known_args()
    if unknown := [word for word in more if word.startswith("-") or "=" not in word]:
        raise EruvError(f"{unknown[0]}: unknown argument; see --help")
    files = [Path(word) for word in args.configs if "=" not in word] or [data_dir("configs") / TABLE_2]
    values = [word for word in args.configs if "=" in word] + more
    # Mistakes in any of the runs are found now, not hours into the first ones.
    rows = [row for file in files
            for row in load_rows(file, [*values, f"data.dataset={json.dumps(args.data)}"]).items()]
    if twice := [name for name, count in Counter(name for name, _ in rows).items() if count > 1]:
        raise EruvError(f"two configurations are called {twice[0]}; rename one")
    if args.finetune:
        words = build_parser().parse_args([*shlex.split(args.finetune), "--init", "none", "--out", str(args.out)])
        chosen_splits(words)
    with contextlib.closing(Dataset(args.data)) as dataset:
        for place, (name, config) in enumerate(rows):
            try:
                config = for_dataset(config, dataset)
                check_run(config, dataset)
            except EruvError as error:
                raise EruvError(f"{name}: {error}") from None
            rows[place] = name, config
            check_same_run(config, args.out / name)
        runs = []
        try:
            for name, config in rows:
                pretrain_once(config, dataset, args.out / name)
                runs += [args.out / name, *_recognition(args, name, args.out / name)]
        except Stopped as stopped:
            console.print(f"{str(stopped).partition(';')[0]}; continue with the same command", highlight=False,
                          markup=False, soft_wrap=True)
            sys.exit(128 + stopped.signal)
    if args.finetune:
        model, data = rows[0][1].model, rows[0][1].data
        runs += _recognition(args, "random", "none", "--backbone", model.backbone, "--width", model.width,
                             "--crop", data.crop, "--frame-size", "x".join(map(str, data.frame_size)))
    tables([*map(str, runs), "--out", str(args.out)])


def _recognition(args: argparse.Namespace, name: str, *init: object) -> list[Path]:
    """The run that fine-tunes a network, if --finetune is given."""
    if not args.finetune:
        return []
    run = args.out / f"{name}_finetune"
    if not (run / "result.json").exists():
        release()
        resume = ["--resume"] if run.exists() else []
        finetune(["--init", *map(str, init), *shlex.split(args.finetune), "--out", str(run), *resume])
    return [run]


if __name__ == "__main__":
    run_program(main)
