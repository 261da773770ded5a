"""The paper's tables, filled with our figures, next to the paper's own.

    python -m eruv_dali.tables runs/*/result.json
    python -m eruv_dali.tables runs/c3d runs/c3d_ucf101 runs/random_ucf101 --out tables

RUN is a folder that pretrain, finetune or retrieve wrote, or its result.json. Prints the tables as Markdown, percent;
with --out FOLDER writes tables.md, and each table as a CSV of fractions of 1. A table without figures is left out.

    Table I    accuracy for each relation, of networks trained on all seven
    Table II   subsets of the relations: their accuracy (chance differs!), and the recognition after fine-tuning
               (runs: of pretrain + of finetune)
    Table IV   recognition of actions, all layers trained: random weights and pre-trained, each backbone
    Table V    retrieval on UCF101
    Table VI   retrieval on HMDB51
    and, not in the paper: recognition by fixed features (linear probe, nearest neighbours), and retrieval on other
    videos. We do not know the content of the paper's Table III, so it is not here.

Runs that differ only in their seed, or start from pre-trainings that do, share a row: mean ± sample deviation, and the
number of runs. The paper's figures (means over three splits) are shown only for networks of its size, width 64; – means
that there is no figure.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from eruv_dali.errors import EruvError, run_program
from eruv_dali.evaluate.pretrained import NONE
from eruv_dali.files import write_csv, write_text
from eruv_dali.pretext.eruv import RELATIONS, Eruv

NAMES = {"c3d": "C3D", "r3d": "R3D", "r2plus1d": "R(2+1)D", "caffenet": "CaffeNet", "ucf101": "UCF101",
         "hmdb51": "HMDB51"}
TOPS = ("top1", "top5", "top10", "top20", "top50")
PAPER_WIDTH = 64
ERUV = Eruv.name

# What the paper reports, fractions of 1. Start: False random weights, True pre-trained.
PAPER_RELATIONS = {"CS": 0.712, "CV": 0.893, "CD": 0.845, "CR": 0.762, "PI": 0.505, "PD": 0.443, "PS": 0.485,
                   "overall": 0.667}  # C3D
PAPER_RECOGNITION = {
    ("c3d", "ucf101", False): 0.618, ("c3d", "hmdb51", False): 0.247,
    ("c3d", "ucf101", True): 0.696, ("c3d", "hmdb51", True): 0.337,
    ("r3d", "ucf101", False): 0.545, ("r3d", "hmdb51", False): 0.234,
    ("r3d", "ucf101", True): 0.688, ("r3d", "hmdb51", True): 0.316,
    ("r2plus1d", "ucf101", False): 0.558, ("r2plus1d", "hmdb51", False): 0.220,
    ("r2plus1d", "ucf101", True): 0.684, ("r2plus1d", "hmdb51", True): 0.319,
}
PAPER_RETRIEVAL = {("c3d", "ucf101", False): 0.167, ("c3d", "ucf101", True): 0.252}  # top-1


@dataclass(frozen=True)
class Run:
    """One result.json.

    Attributes:
        name: its folder.
        result: its content, checked by `read_run`.
        training: the configuration of the network's pre-training, without its seed; runs where it is equal share a row.
        relations: that it was pre-trained on; None if unknown, or if the pretext was not ERUV; () for
            random weights.
        pretext: that it was pre-trained with; "" if unknown, and for random weights.
    """

    name: str
    result: dict[str, Any]
    training: str
    relations: tuple[str, ...] | None
    pretext: str

    @property
    def network(self) -> str:
        name, width = NAMES[self.result["backbone"]], self.result["width"]
        return name if width == PAPER_WIDTH else f"{name}, width {width}"

    @property
    def start(self) -> str:
        if self.relations is None:
            return self.pretext.upper() or "pre-trained"
        return "random" if not self.relations else "ERUV" if all_seven(self.relations) else " ".join(self.relations)

    @property
    def in_paper(self) -> tuple[str, str, bool] | None:
        """Key of the paper's figures, None if this network is not one of the paper's."""
        other = self.pretext not in ("", ERUV) or (self.relations and not all_seven(self.relations))
        if self.result["width"] != PAPER_WIDTH or other:
            return None
        return self.result["backbone"], self.result.get("dataset", ""), self.relations != ()


@dataclass
class Row:
    """A row: words, for each figure the values of its runs (fractions of 1), the paper's values, the runs' names and
    their number."""

    words: tuple[str, ...]
    figures: dict[str, list[float | None]]
    paper: dict[str, float | None] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    count: str = ""


@dataclass
class Table:
    """A table.

    Attributes:
        file: of its CSV, without the ending.
        title: of its Markdown.
        words, figures: headers of the columns; `paper`: the figures that also have a column with the paper's value.
    """

    file: str
    title: str
    words: tuple[str, ...]
    figures: tuple[str, ...]
    paper: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)


def all_seven(relations: Iterable[str] | None) -> bool:
    return set(relations or ()) == set(RELATIONS)


def read_run(path: Path) -> Run:
    """Read a RUN folder's result.json, or the file itself.

    Raises:
        EruvError: it is missing, cannot be read, or is not one of pretrain, finetune or retrieve.
    """
    file = path / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise EruvError(f"{file}: no such file; give finished RUNs of pretrain, finetune or retrieve")
    try:
        result = json.loads(file.read_text())
    except ValueError as error:
        raise EruvError(f"{file}: is not JSON ({error}); run its program again, or leave it out") from None
    program = result.get("program") if isinstance(result, dict) else None
    wanted = {"pretrain": ("pretext", "accuracy"), "finetune": ("dataset", "splits", "init", "mode",
              "top1", "top5"), "retrieve": ("dataset", "splits", "init", "queries", "topk")}
    if program not in wanted:
        raise EruvError(f"{file}: its program is {program!r}, not one of {', '.join(wanted)}; leave it out")
    if missing := [key for key in ("backbone", "width", *wanted[program]) if key not in result]:
        raise EruvError(f"{file}: a result of {program} without {missing[0]!r}; it is of another version: run it again")
    if result["backbone"] not in NAMES:
        raise EruvError(f"{file}: backbone {result['backbone']!r} is unknown")
    _check_figures(file, result)
    folder, name = file.parent, str(file.parent)
    if program == "pretrain":
        relations = tuple(result["relations"]) if "relations" in result else None
        return Run(name, result, _training(folder) or json.dumps([name, relations]), relations, result["pretext"])
    if result["init"] == NONE:
        return Run(name, result, NONE, (), "")
    training = _training(Path(result["init"]).parent)
    known = json.loads(training) if training else {}
    relations, pretext = known.get("relations"), (known.get("pretext") or {}).get("name", "")
    return Run(name, result, training or result["init"], tuple(relations) if relations else None, pretext)


def _check_figures(file: Path, result: dict) -> None:
    figures = {key: result[key] for key in ("accuracy", "top1", "top5") if key in result}
    for part in ("per_relation", "topk"):
        if not isinstance(result.get(part, {}), dict):
            raise EruvError(f"{file}: {part} is {result[part]!r}, not names and figures; run it again")
        figures |= result.get(part, {})
    for key, value in figures.items():
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise EruvError(f"{file}: {key} is {value!r}, not a fraction of 1; leave out this file")


def _training(folder: Path) -> str | None:
    """The settings of a RUN of pretrain that affect its weights, without the seed; None if unknown."""
    file = folder / "config.yaml"
    if not file.is_file():
        return None
    try:
        config = yaml.safe_load(file.read_text())
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise EruvError(f"{file}: is not the config.yaml of a RUN; restore it, or remove it")
    told = {key: config.get(key) for key in ("pretext", "relations", "model", "data", "optim")}
    return json.dumps(told, sort_keys=True)


def _together(runs: Iterable[Run], *keys: str) -> list[list[Run]]:
    """Runs of one pre-training (any seed) whose results agree in `keys`, in the order of the first of each."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        parts = run.result.get("per_split", {})
        sizes = {name: [part.get(key) for key in ("videos", "query_rows", "database_rows")]
                 for name, part in parts.items()}
        key = json.dumps([run.training, sizes, *(run.result.get(key) for key in keys)])
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def paper_tables(runs: Sequence[Run]) -> list[Table]:
    """The tables that these runs have figures for."""
    by = {program: [run for run in runs if run.result["program"] == program]
          for program in ("pretrain", "finetune", "retrieve")}
    tuned = [run for run in by["finetune"] if run.result["mode"] == "finetune"]
    fixed = [run for run in by["finetune"] if run.result["mode"] != "finetune"]
    eruv = [run for run in by["pretrain"] if run.relations is not None]
    tables = [_relations(eruv), _ablations(eruv, tuned),
              _recognition(tuned, "table_4", "Table IV: recognition"),
              _recognition(fixed, "fixed_features", "Recognition by fixed features")]
    for data, file, title in (("ucf101", "table_5", "Table V: retrieval on UCF101"),
                              ("hmdb51", "table_6", "Table VI: retrieval on HMDB51"),
                              ("folder", "retrieval_folder", "Retrieval on other videos")):
        tables.append(_retrieval([run for run in by["retrieve"] if run.result["dataset"] == data], file, title))
    return [table for table in tables if table.rows]


def _reported(figures: dict[tuple[str, str, bool], float], run: Run) -> float | None:
    """What the paper reports of this run's network, None where it reports nothing."""
    return None if run.in_paper is None else figures.get(run.in_paper)


def _names(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(run.name for run in runs)


def _relations(runs: list[Run]) -> Table:
    table = Table("table_1", "Table I: accuracy for each relation", ("network", "relation", "chance"), ("accuracy",),
                  ("accuracy",))
    for group in _together([run for run in runs if all_seven(run.relations)], "backbone", "width", "head"):
        first = group[0]
        for relation in (*RELATIONS, "overall"):
            values = [run.result["accuracy"] if relation == "overall" else run.result["per_relation"].get(relation)
                      for run in group]
            known = first.in_paper is not None and first.result["backbone"] == "c3d"
            table.rows.append(Row((first.network, relation, f"{100 / len(RELATIONS):.1f}"), {"accuracy": values},
                                  {"accuracy": PAPER_RELATIONS[relation] if known else None}, _names(group)))
    return table


def _ablations(pretrained: list[Run], tuned: list[Run]) -> Table:
    """A row for each pre-training and each dataset that it was fine-tuned on."""
    table = Table("table_2", "Table II: what each relation is worth", ("relations", "network", "chance", "recognition"),
                  ("accuracy", *RELATIONS, "top1"), ("top1",))
    known = [run for run in tuned if run.relations]
    for training in dict.fromkeys(run.training for run in (*pretrained, *known)):
        asked = [run for run in pretrained if run.training == training]
        follow = _together([run for run in known if run.training == training], *RECOGNITION_KEYS)
        for group in follow or [[]]:
            first = (asked or group)[0]
            asked_of = first.relations or ()
            figures = {"accuracy": [run.result["accuracy"] for run in asked],
                       **{name: [run.result["per_relation"].get(name) for run in asked] for name in RELATIONS},
                       "top1": [run.result["top1"] for run in group]}
            words = (" ".join(asked_of), first.network, f"{100 / len(asked_of):.1f}",
                     _data(group[0]) if group else "–")
            paper = _reported(PAPER_RECOGNITION, group[0]) if group else None
            count = f"{len(asked)} + {len(group)}" if group else str(len(asked))
            table.rows.append(Row(words, figures, {"top1": paper}, _names((*asked, *group)), count))
    return table


RECOGNITION_KEYS = ("backbone", "width", "dataset", "splits", "classes", "mode", "k", "clips", "crop", "frame_size",
                    "epochs", "lr", "batch_size", "weight_decay")


def _recognition(runs: list[Run], file: str, title: str) -> Table:
    table = Table(file, title, ("data", "splits", "network", "start", "method"), ("top1", "top5"),
                  ("top1",) if file == "table_4" else ())
    for group in _together(runs, *RECOGNITION_KEYS):
        first = group[0]
        mode = first.result["mode"]
        method = {"finetune": "fine-tuned", "freeze": "linear probe", "knn": f"{first.result.get('k')} nearest"}[mode]
        paper = _reported(PAPER_RECOGNITION, first) if mode == "finetune" else None
        table.rows.append(Row((_data(first), _splits(first), first.network, first.start, method),
                              {key: [run.result[key] for run in group] for key in ("top1", "top5")}, {"top1": paper},
                              _names(group)))
    table.rows.sort(key=lambda row: (row.words[:3], row.words[3] != "random"))
    return table


def _retrieval(runs: list[Run], file: str, title: str) -> Table:
    table = Table(file, title, ("splits", "network", "start", "queries"), TOPS,
                  () if file == "retrieval_folder" else ("top1",))
    for group in _together(runs, "backbone", "width", "dataset", "splits", "queries", "clips", "crop", "frame_size"):
        first = group[0]
        table.rows.append(Row((_splits(first), first.network, first.start, first.result["queries"]),
                              {top: [run.result["topk"].get(top) for run in group] for top in TOPS},
                              {"top1": _reported(PAPER_RETRIEVAL, first)}, _names(group)))
    table.rows.sort(key=lambda row: (row.words[:2], row.words[2] != "random"))
    return table


def _data(run: Run) -> str:
    classes = run.result.get("classes")
    name = NAMES.get(run.result["dataset"], run.result["dataset"])
    return name if name != "folder" or not classes else f"folder, {len(classes)} classes"


def _splits(run: Run) -> str:
    splits = run.result["splits"]
    return ", ".join(map(str, splits)) if len(splits) <= 3 else f"mean of {len(splits)}"


def mean_and_deviation(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean, None if a value is missing; sample deviation, None for fewer than two values."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def markdown(table: Table) -> str:
    """The table as Markdown, percent."""
    header = [*table.words]
    for name in table.figures:
        header += [name, f"{name}, paper"] if name in table.paper else [name]
    lines = [f"## {table.title}", "", _line([*header, "runs"]),
             "|" + "---|" * len(table.words) + "---:|" * (len(header) + 1 - len(table.words))]
    for row in table.rows:
        cells = [*row.words]
        for name in table.figures:
            mean, deviation = mean_and_deviation(row.figures[name])
            cells.append(_percent(mean) + ("" if deviation is None else f" ± {100 * deviation:.1f}"))
            cells += [_percent(row.paper.get(name))] if name in table.paper else []
        lines.append(_line([*cells, row.count or str(len(row.runs))]))
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write_table(table: Table, file: Path) -> None:
    """Write the table as CSV: fractions of 1, empty if there is none, and the folders of each row's runs."""
    header = [*table.words]
    for name in table.figures:
        header += [name, f"{name}_deviation"] + [f"{name}_paper"] * (name in table.paper)
    rows = []
    for row in table.rows:
        cells: list[object] = [*row.words]
        for name in table.figures:
            cells += mean_and_deviation(row.figures[name])
            cells += [row.paper.get(name)] if name in table.paper else []
        rows.append(["" if cell is None or cell == "–" else cell for cell in (*cells, "; ".join(row.runs))])
    write_csv(file, [*header, "runs"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.tables", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder with a result.json, or that file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables.md and a CSV for each table")
    args = parser.parse_args()
    files = dict.fromkeys((run / "result.json" if run.is_dir() else run).resolve() for run in args.runs)
    tables = paper_tables([read_run(file) for file in files])
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
