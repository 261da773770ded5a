"""What each relation is worth: pre-train once for each of several configurations, and set the results side by side
(the paper's Table II).

    python -m eruv_dali.ablations configs/ablations/*.yaml --data my_dataset --out runs/ablations
    python -m eruv_dali.ablations configs/ablations/*.yaml --data my_dataset --out runs/ablations optim.epochs=20
    python -m eruv_dali.ablations configs/ablations/*.yaml --data my_dataset --out runs/ablations \\
        --finetune "--dataset ucf101 --root UCF-101 --splits ucfTrainTestlist"

Each FILE.yaml is a run of its own, FOLDER/FILE. Stopped at any moment, the same command goes on where it was: a
finished run is not made again, one under way is resumed. With --finetune each network, and a random one, is then
trained to recognise actions (FOLDER/FILE_finetune; the words are those of python -m eruv_dali.finetune). Writes
FOLDER/ablations.md and ablations.csv. Accuracies over other relations are not comparable: chance stands beside them.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eruv_dali.config import load_config
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_csv, write_text
from eruv_dali.pretrain.checkpoint import checkpoints
from eruv_dali.relations import RELATIONS

COLUMNS = ("run", "relations", "accuracy", "chance", *RELATIONS, "recognition")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.ablations", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", metavar="FILE | key=value", help="YAML files, and values for all of them")
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder that eruv_dali.prepare wrote")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the runs and the table")
    parser.add_argument("--finetune", metavar="WORDS", help="also train each network to recognise actions")
    args, more = parser.parse_known_args()
    if unknown := [word for word in more if word.startswith("-") or "=" not in word]:
        raise EruvError(f"{unknown[0]}: not known here; see --help")
    files = [Path(word) for word in args.configs if "=" not in word]
    values = [word for word in args.configs if "=" in word] + more
    names = [file.stem for file in files]
    if twice := {name for name in names if names.count(name) > 1}:
        raise EruvError(f"two configurations are called {twice.pop()}; rename one")
    if not files:
        raise EruvError("name the configurations to compare, such as configs/ablations/*.yaml")
    configs = [load_config(file, values) for file in files]  # found wrong now, not after the first run's hours
    rows = []
    for file, config in zip(files, configs, strict=True):
        run = args.out / file.stem
        if not (run / "result.json").exists():
            resume = ["--resume"] if checkpoints(run / "last.pt") else []
            _python("pretrain", "--config", file, "--data", args.data, "--out", run, *resume, *values)
        rows.append(_row(file.stem, config.relations, run, _recognition(args, file.stem, str(run))))
    if args.finetune:
        first = configs[0].model
        init = ["none", "--backbone", first.backbone, "--width", first.width]
        rows.append(_row("random weights", [], None, _recognition(args, "random", *init)))
    _write(rows, args.out)


def _recognition(args: argparse.Namespace, name: str, *init: object) -> float | None:
    """Top-1 of the network fine-tuned, where that was asked for."""
    if not args.finetune:
        return None
    out = args.out / f"{name}_finetune"
    if not (out / "result.json").exists():
        resume = ["--resume"] if out.exists() else []
        _python("finetune", *shlex.split(args.finetune), "--init", *init, "--out", out, *resume)
    return json.loads((out / "result.json").read_text())["top1"]


def _python(program: str, *words: object) -> None:
    """Run a program of this package; where it fails, this one ends with its exit code, for it has said why."""
    code = subprocess.run([sys.executable, "-m", f"eruv_dali.{program}", *map(str, words)]).returncode
    if code:
        sys.exit(code if code > 0 else 128 - code)


def _row(name: str, relations: list[str], run: Path | None, recognition: float | None) -> dict:
    result = json.loads((run / "result.json").read_text()) if run else {}
    asked = result.get("per_relation", {})
    return {"run": name, "relations": " ".join(relations), "accuracy": result.get("accuracy"),
            "chance": result.get("chance"), **{relation: asked.get(relation) for relation in RELATIONS},
            "recognition": recognition}


def _write(rows: list[dict], out: Path) -> None:
    """Print the table, and write it as Markdown (percent) and CSV (fractions of 1)."""
    columns = [name for name in COLUMNS if any(row[name] is not None for row in rows)]

    def shown(value: str | float | None) -> str:
        return "–" if value is None else value if isinstance(value, str) else f"{100 * value:.1f}"

    table = Table(title="Ablations: accuracy, %")
    for name in columns:
        table.add_column(name, justify="left" if name in ("run", "relations") else "right")
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in rows:
        table.add_row(*(shown(row[name]) for name in columns))
        lines.append(f"| {' | '.join(shown(row[name]) for name in columns)} |")
    Console().print(table)
    write_text(out / "ablations.md", "\n".join(lines) + "\n")
    write_csv(out / "ablations.csv", columns, [["" if row[name] is None else row[name] for name in columns]
                                               for row in rows])


if __name__ == "__main__":
    run_program(main)
