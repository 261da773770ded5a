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
resumed. With --finetune each network, and a random one that sees the same, is then trained to recognise actions
(FOLDER/NAME_finetune; the arguments are those of python -m eruv_dali.finetune). The tables are those of python -m
eruv_dali.tables: FOLDER/tables.md, table_2.csv. Accuracies over different relations are not comparable: chance is shown
next to them.
"""

import shlex
from pathlib import Path

from eruv_dali.errors import EruvError, run_program
from eruv_dali.native import data_dir
from eruv_dali.options import add_quiet, program

TABLE_2 = "table2.yaml"


def main() -> None:
    parser = program("ablations", __doc__)
    parser.add_argument("configs", nargs="*", metavar="FILE | key=value", help="YAML files, or names of those in "
                        f"configs/ (default {TABLE_2}), and values for all of their configurations")
    parser.add_argument("--data", required=True, metavar="DATASET",
                        help="folder that eruv_dali.prepare wrote, or its copy's URL")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the runs and the table")
    parser.add_argument("--finetune", metavar="WORDS", help="also train each network to recognise actions")
    add_quiet(parser)
    args, more = parser.parse_known_args()
    if unknown := [word for word in more if word.startswith("-") or "=" not in word]:
        raise EruvError(f"{unknown[0]}: unknown argument; see --help")
    try:
        args.finetune = shlex.split(args.finetune or "")
    except ValueError as error:
        raise EruvError(f"--finetune {args.finetune!r}: {error}") from None
    from eruv_dali.ablations.rows import run  # PyTorch takes seconds, and --help need not wait for it

    files = [Path(word) for word in args.configs if "=" not in word] or [data_dir("configs") / TABLE_2]
    run(args, files, [*(word for word in args.configs if "=" in word), *more])


if __name__ == "__main__":
    run_program(main)
