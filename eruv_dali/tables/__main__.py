"""The paper's tables, filled with our figures, next to the paper's own.

    python -m eruv_dali.tables runs/*/result.json
    python -m eruv_dali.tables runs/c3d runs/c3d_ucf101 runs/random_ucf101 --out tables
    python -m eruv_dali.tables --paper                         the paper's own tables, all rows

RUN is a folder that pretrain, finetune or retrieve wrote, or its result.json. Prints the tables as Markdown, percent;
with --out FOLDER writes tables.md, and each table as a CSV of fractions of 1. A table without figures is left out, and
so are the paper's rows that no run belongs to, unless --paper is given.

    Table I    accuracy for each relation, of ERUV networks trained on all seven
    Table II   subsets of the relations: their accuracy (chance differs!), and the recognition after fine-tuning
               (runs: of pretrain + of finetune)
    Table III  recognition after pre-training on trimmed and on untrimmed videos (data.trimmed), each pretext
    Table IV   recognition of actions, all layers trained: random weights and each pretext, each backbone
    Table V    retrieval on UCF101
    Table VI   retrieval on HMDB51
    and, not in the paper: recognition by fixed features (linear probe, nearest neighbours), and retrieval on other
    videos.

Runs that differ only in their seed, or start from pre-trainings that do, share a row: mean ± sample deviation, and the
number of runs. The paper's figures (II and III: split 1 of UCF101; IV: means over three splits) are shown only for
networks of its size, width 64; – means that there is no figure.
"""

from collections.abc import Sequence
from pathlib import Path

from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.options import program


def main(words: Sequence[str] | None = None) -> None:
    """Run the program with these words, by default those of the command line."""
    parser = program("tables", __doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder with a result.json, or that file")
    parser.add_argument("--paper", action="store_true", help="also the paper's rows that no RUN belongs to")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables.md and a CSV for each table")
    args = parser.parse_args(words)
    files = dict.fromkeys((run / "result.json" if run.is_dir() else run).resolve() for run in args.runs)
    if not files and not args.paper:
        raise EruvError("give finished RUNs of pretrain, finetune or retrieve, or --paper")
    if args.out and args.out.exists() and not args.out.is_dir():
        raise EruvError(f"{args.out}: is a file; --out names a folder")
    # PyTorch takes seconds, and --help need not wait for it.
    from eruv_dali.tables.filled import markdown, paper_tables, write_table
    from eruv_dali.tables.runs import read_run

    tables = paper_tables([read_run(file) for file in files], whole=args.paper)
    if not tables:
        raise EruvError("these runs have no figure for any table")
    text = "\n".join(markdown(table) for table in tables)
    print(text, end="")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        for table in tables:
            write_table(table, args.out / f"{table.file}.csv")
        write_text(args.out / "tables.md", text)


if __name__ == "__main__":
    run_program(main)
