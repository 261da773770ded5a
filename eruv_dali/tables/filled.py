"""The paper's tables with the figures of RUNs; `python -m eruv_dali.tables --help` says which and how."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from eruv_dali.files import write_csv
from eruv_dali.pretext.eruv import RELATION_NAMES, RELATIONS
from eruv_dali.tables.paper import (
    ABLATIONS,
    METHODS,
    PAPER_WIDTH,
    PRETRAINING_DATA,
    RANDOM,
    RECOGNITION,
    RELATION_ACCURACY,
    RETRIEVAL,
    TOPS,
)
from eruv_dali.tables.runs import ERUV, NAMES, Run, all_seven

Key = TypeVar("Key")
Value = TypeVar("Value")


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
        note: a line below the title, of Markdown.
    """

    file: str
    title: str
    words: tuple[str, ...]
    figures: tuple[str, ...]
    paper: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    note: str = ""


SHORT_NAMES = "; ".join(f"{name}: {words}" for name, words in RELATION_NAMES.items())


def _together(runs: Iterable[Run], *keys: str) -> list[list[Run]]:
    """Runs of one pre-training (any seed) whose results agree in `keys`, in the order of the first of each."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        parts = run.result.get("per_split", {})
        sizes = {name: [part.get(key) for key in ("videos", "query_rows", "database_rows")]
                 for name, part in parts.items()}
        key = json.dumps([run.training, sizes, _told(run, keys)])
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _told(run: Run, keys: Iterable[str]) -> list[object]:
    """What a run's result tells under these keys; None for what an older one does not. The root of a dataset with
    official splits only says where it lies."""
    return [run.result.get(key) for key in keys if key != "root" or run.result["dataset"] == "folder"]


def paper_tables(runs: Sequence[Run], *, whole: bool = False) -> list[Table]:
    """The tables that these runs have figures for; `whole`: also the paper's rows and tables that no run belongs to."""
    by = {program: [run for run in runs if run.result["program"] == program]
          for program in ("pretrain", "finetune", "retrieve")}
    tuned = [run for run in by["finetune"] if run.result["mode"] == "finetune"]
    fixed = [run for run in by["finetune"] if run.result["mode"] != "finetune"]
    eruv = [run for run in by["pretrain"] if run.relations is not None]
    tables = [_relations(eruv, whole), _ablations(eruv, tuned, whole), _pretraining_data(tuned, whole),
              _recognition(tuned, "table_4", "Table IV: recognition", whole),
              _recognition(fixed, "fixed_features", "Recognition by fixed features", False)]
    for data, file, title in (("ucf101", "table_5", "Table V: retrieval on UCF101"),
                              ("hmdb51", "table_6", "Table VI: retrieval on HMDB51"),
                              ("folder", "retrieval_folder", "Retrieval on other videos")):
        tables.append(_retrieval([run for run in by["retrieve"] if run.result["dataset"] == data], data, file, title,
                                 whole))
    return [table for table in tables if table.rows]


def _left(figures: Mapping[Key, Value], shown: set, whole: bool) -> list[tuple[Key, Value]]:
    """The paper's figures that are to be shown, `whole`, and are not yet."""
    return [(key, value) for key, value in figures.items() if whole and key not in shown]


def _names(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(run.name for run in runs)


def _relations(runs: list[Run], whole: bool) -> Table:
    table = Table("table_1", "Table I: accuracy for each relation", ("network", "relation", "chance"), ("accuracy",),
                  ("accuracy",), note=SHORT_NAMES)
    chance = f"{100 / len(RELATIONS):.1f}"
    for group in _together([run for run in runs if all_seven(run.relations)], "backbone", "width", "input", "head"):
        first = group[0]
        for relation in (*RELATIONS, "overall"):
            values = [run.result["accuracy"] if relation == "overall" else run.result["per_relation"].get(relation)
                      for run in group]
            paper = RELATION_ACCURACY[relation] if first.in_paper == ("c3d", ERUV) else None
            table.rows.append(Row((first.network, relation, chance), {"accuracy": values}, {"accuracy": paper},
                                  _names(group)))
    shown = {row.words[1] for row in table.rows if row.paper["accuracy"] is not None}
    for relation, paper in _left(RELATION_ACCURACY, shown, whole):
        table.rows.append(Row((NAMES["c3d"], relation, chance), {"accuracy": []}, {"accuracy": paper}))
    return table


def _ablations(pretrained: list[Run], tuned: list[Run], whole: bool) -> Table:
    """A row for each pre-training and each dataset that it was fine-tuned on, and what they were fine-tuned from
    otherwise: random weights."""
    table = Table("table_2", "Table II: what each relation is worth", ("relations", "network", "chance", "recognition"),
                  ("accuracy", *RELATIONS, "top1"), ("top1",), note=SHORT_NAMES)
    shown: set[tuple[str, ...]] = set()

    def reported(run: Run | None, relations: tuple[str, ...]) -> float | None:
        """The paper's figure for a fine-tuned network."""
        if not run or run.trimmed or [run.result[key] for key in ("dataset", "backbone", "width", "input")] != [
                "ucf101", "c3d", PAPER_WIDTH, "rgb"]:
            return None
        key = next((key for key in ABLATIONS if set(key) == set(relations)), None)
        shown.update([key] if key is not None else [])
        return ABLATIONS[key] if key is not None else None

    known = [run for run in tuned if run.relations]
    rows = []
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
            paper = reported(group[0] if group else None, asked_of)
            count = f"{len(asked)} + {len(group)}" if group else str(len(asked))
            rows.append(Row(words, figures, {"top1": paper}, _names((*asked, *group)), count))
    if rows:
        for group in _together([run for run in tuned if run.pretext == RANDOM], *RECOGNITION_KEYS):
            first = group[0]
            table.rows.append(Row(("random weights", first.network, "–", _data(first)), _nothing(table) | {
                "top1": [run.result["top1"] for run in group]}, {"top1": reported(first, ())}, _names(group)))
    table.rows += rows
    for relations, paper in _left(ABLATIONS, shown, whole):
        chance = f"{100 / len(relations):.1f}" if relations else "–"
        table.rows.append(Row((" ".join(relations) or "random weights", NAMES["c3d"], chance, NAMES["ucf101"]),
                              _nothing(table), {"top1": paper}))
    return table


def _nothing(table: Table) -> dict[str, list[float | None]]:
    """The figures of a row that has none."""
    return {name: [] for name in table.figures}


def _pretraining_data(tuned: list[Run], whole: bool) -> Table:
    """A row for each pretext that was pre-trained, by one recipe, on trimmed videos or on untrimmed ones; only if there
    are any trimmed ones."""
    table = Table("table_3", "Table III: pre-training on trimmed and on untrimmed videos",
                  ("pretext", "network", "recognition", "splits"), ("trimmed", "untrimmed"), ("trimmed", "untrimmed"))
    groups: dict[str, list[Run]] = {}
    for run in tuned if any(run.trimmed for run in tuned) else ():
        if run.trimmed is not None and run.whole:
            told = json.loads(run.training)
            key = json.dumps([[told.get(part) for part in ("pretext", "model", "optim")],
                              _told(run, RECOGNITION_KEYS)])
            groups.setdefault(key, []).append(run)
    shown = set()
    for group in groups.values():
        first = group[0]
        figures: dict[str, list[float | None]] = {
            name: [run.result["top1"] for run in group if run.trimmed is (name == "trimmed")]
            for name in table.figures}
        papers = {}
        if first.in_paper == ("c3d", first.pretext) and first.result["dataset"] == "ucf101":
            papers = {name: PRETRAINING_DATA.get((first.pretext, name == "trimmed")) for name in table.paper}
            shown.add(first.pretext)
        table.rows.append(Row((METHODS.get(first.pretext, first.pretext), first.network, _data(first), _splits(first)),
                              figures, dict(papers), _names(group),
                              " + ".join(str(len(values)) for values in figures.values())))
    rest: dict[str, dict[str, float | None]] = {}
    for (pretext, trimmed), paper in PRETRAINING_DATA.items():
        if whole and pretext not in shown:
            rest.setdefault(pretext, {})["trimmed" if trimmed else "untrimmed"] = paper
    table.rows += [Row((METHODS[pretext], NAMES["c3d"], NAMES["ucf101"], "1"), _nothing(table), papers)
                   for pretext, papers in rest.items()]
    return table


VIDEOS_KEYS = ("dataset", "root", "splits", "groups", "test_fraction", "classes")
RECOGNITION_KEYS = ("backbone", "width", *VIDEOS_KEYS, "mode", "k", "clips", "crop", "frame_size", "val_fraction",
                    "epochs", "lr", "batch_size", "weight_decay", "input", "rescale", "layer_rate")


def _recognition(runs: list[Run], file: str, title: str, whole: bool) -> Table:
    table = Table(file, title, ("data", "splits", "network", "start", "method"), ("top1", "top5"),
                  ("top1",) if file == "table_4" else ())
    shown = set()
    for group in _together(runs, *RECOGNITION_KEYS):
        first = group[0]
        mode = first.result["mode"]
        how = "fine-tuned" + (", rescaled" if first.result["rescale"] else "") + (
            "" if first.result["layer_rate"] == 1 else f", layer rate {first.result['layer_rate']:g}")
        method = {"finetune": how, "freeze": "linear probe", "knn": f"{first.result.get('k')} nearest"}[mode]
        key = (first.result["dataset"], *_key(first))
        shown.add(key)
        table.rows.append(Row((_data(first), _splits(first), first.network, first.start, method),
                              {key: [run.result[key] for run in group] for key in ("top1", "top5")},
                              {"top1": RECOGNITION.get(key) if mode == "finetune" else None}, _names(group)))
    for (data, network, start), paper in _left(RECOGNITION, shown, whole):
        table.rows.append(Row((NAMES[data], "mean of 3", NAMES[network], METHODS[start], "fine-tuned"),
                              _nothing(table), {"top1": paper}))
    table.rows.sort(key=lambda row: (row.words[0], _place(row.words[2], NAMES.values()),
                                     _place(row.words[3], METHODS.values()), row.words[1]))
    return table


def _retrieval(runs: list[Run], data: str, file: str, title: str, whole: bool) -> Table:
    table = Table(file, title, ("splits", "network", "start", "queries"), TOPS,
                  () if file == "retrieval_folder" else TOPS)
    shown = set()
    for group in _together(runs, "backbone", "width", "input", *VIDEOS_KEYS, "queries", "clips", "crop", "frame_size"):
        first = group[0]
        key = (data, *_key(first))
        shown.add(key)
        table.rows.append(Row((_splits(first), first.network, first.start, first.result["queries"]),
                              {top: [run.result["topk"].get(top) for run in group] for top in TOPS},
                              _tops(RETRIEVAL.get(key, ())), _names(group)))
    for (of, network, start), papers in _left(RETRIEVAL, shown, whole):
        if of == data:
            table.rows.append(Row(("–", NAMES[network], METHODS[start], "clip"), _nothing(table), _tops(papers)))
    table.rows.sort(key=lambda row: (_place(row.words[1], NAMES.values()), _place(row.words[2], METHODS.values()),
                                     row.words[0]))
    return table


def _key(run: Run) -> tuple[str, str]:
    """(network, method) of the paper's figures; ("", "") if it has none for this run."""
    # Its ERUV networks were pre-trained on untrimmed videos; those trained on trimmed ones are in Table III.
    return ("", "") if run.in_paper is None or run.pretext == ERUV and run.trimmed else run.in_paper


def _tops(figures: Sequence[float]) -> dict[str, float | None]:
    return dict(zip(TOPS, figures, strict=False))


def _place(word: str, order: Iterable[str]) -> tuple[int, str]:
    """A key to sort by: the position in `order`, others behind."""
    known = list(order)
    return (known.index(word) if word in known else len(known), word)


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
    lines = [f"## {table.title}", "", *([f"{table.note}.", ""] if table.note else []), _line([*header, "runs"]),
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
