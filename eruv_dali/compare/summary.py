"""The comparison's table: mean, deviation and confidence interval over the seeds, gains over random weights, and the
paper's figures."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eruv_dali.choices import MEASURES
from eruv_dali.compare.entrants import Entrant
from eruv_dali.compare.measures import read_figure
from eruv_dali.evaluate.pretrained import NONE
from eruv_dali.files import write_csv
from eruv_dali.tables.paper import METHODS, PAPER_WIDTH, RECOGNITION, RETRIEVAL
from eruv_dali.tables.runs import NAMES

# Student's t, two-sided 95 %, for 1, 2, … degrees of freedom.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
       2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
NORMAL = 1.959964


@dataclass(frozen=True)
class Estimate:
    """Values of several seeds: their mean; sample deviation, and half the width of the mean's 95 % confidence interval,
    both None for a single value."""

    mean: float
    deviation: float | None
    half: float | None
    count: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean, deviation and 95 % confidence interval (Student's t); None if there are no values."""
    if not values:
        return None
    if len(values) == 1:
        return Estimate(values[0], None, None, 1)
    deviation = statistics.stdev(values)
    return Estimate(statistics.fmean(values), deviation, student(len(values) - 1) * deviation / math.sqrt(len(values)),
                    len(values))


def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t; beyond 30 degrees of freedom by its expansion about the normal
    quantile z, to the second order, right to three decimals there."""
    if freedom <= len(T95):
        return T95[freedom - 1]
    z = NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


@dataclass(frozen=True)
class Row:
    """An entrant by one measure.

    Attributes:
        entrant, measure: which.
        values: top-1 by seed, fractions of 1, of the seeds that are finished.
        gain: over random weights: mean of the differences within a seed, whose networks begin with the same weights.
        paper: what the paper reports of this method and backbone, None if nothing; `paper_data`: on which data.
    """

    entrant: Entrant
    measure: str
    values: dict[int, float]
    gain: Estimate | None
    paper: float | None
    paper_data: str


def rows(
    field: Sequence[Entrant], measures: Sequence[str], seeds: Sequence[int], out: Path, dataset: str
) -> list[Row]:
    """A row for each entrant and measure, as far as finished. `dataset`: of the labelled videos."""
    data = dataset if dataset in ("ucf101", "hmdb51") else "ucf101"
    found = []
    for entrant in field:
        random = next((other for other in field if other.name == NONE and other.network == entrant.network), None)
        for name in measures:
            mine = _values(entrant, name, seeds, out)
            base = _values(random, name, seeds, out) if random and random is not entrant else {}
            gain = estimate([mine[seed] - base[seed] for seed in mine if seed in base])
            found.append(Row(entrant, name, mine, gain, _paper(entrant, name, data), data))
    return found


def folder(out: Path, entrant: Entrant, seed: int, measure: str | None = None) -> Path:
    """The RUN of a pre-training, or of one measure of its network."""
    return out / (f"{entrant.folder}_seed{seed}" + (f"_{measure}" if measure else ""))


def _values(entrant: Entrant, name: str, seeds: Sequence[int], out: Path) -> dict[int, float]:
    found = {seed: read_figure(name, folder(out, entrant, seed, name)) for seed in seeds}
    return {seed: figure for seed, figure in found.items() if figure is not None}


def _paper(entrant: Entrant, name: str, data: str) -> float | None:
    key = (data, entrant.config.model.backbone, entrant.name)
    return {"finetune": RECOGNITION.get(key), "retrieval": RETRIEVAL.get(key, (None,))[0]}.get(name)


def called(entrant: Entrant) -> str:
    """Its name in table and chart."""
    return "random weights" if entrant.name == NONE else METHODS.get(entrant.name, entrant.name)


def network(entrant: Entrant) -> str:
    """Its network and the clips of evaluation, in table and chart."""
    model, data = entrant.config.model, entrant.config.data
    name = NAMES.get(model.backbone, model.backbone)
    other = "" if (data.mean, data.std) == ([0.0] * 3, [1.0] * 3) else ", colours normalised"
    seen = ", frame differences" if model.input == "difference" else ""
    return f"{name}, width {model.width}, {data.clip_length}x{entrant.crop}x{entrant.crop}{seen}{other}"


def markdown(found: Sequence[Row], introduction: str) -> str:
    """The comparison as Markdown, percent."""
    measures = list(dict.fromkeys(row.measure for row in found))
    each: dict[str, list[Row]] = {}
    for row in found:
        each.setdefault(row.entrant.folder, []).append(row)
    papers = [name for name in measures if any(row.paper is not None for row in found if row.measure == name)]
    data = NAMES[found[0].paper_data]
    heads = [MEASURES[name] + extra for name in measures
             for extra in ("", f": paper, {data}, width {PAPER_WIDTH}")[: 2 if name in papers else 1]]
    lines = ["# Pretexts compared", "", introduction, "", _line(["start", "network", "clips seen", *heads, "seeds"]),
             "|---|---|---:|" + "---:|" * (len(heads) + 1)]
    for mine in each.values():
        first = mine[0].entrant
        cells = [called(first), network(first), str(first.clips)]
        for row in mine:
            cells.append(cell(estimate(list(row.values.values()))))
            if row.measure in papers:
                cells.append("–" if row.paper is None else f"{100 * row.paper:.1f}")
        counts = [len(row.values) for row in mine]
        lines.append(_line([*cells, str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"]))
    if any(row.gain for row in found):
        lines += ["", "Gain over the random weights that the pre-training of the same seed began with, points:", "",
                  _line(["start", "network", *(MEASURES[name] for name in measures)]),
                  "|---|---|" + "---:|" * len(measures)]
        for mine in each.values():
            if any(row.gain for row in mine):
                first = mine[0].entrant
                lines.append(_line([called(first), network(first), *(cell(row.gain, sign=True) for row in mine)]))
    return "\n".join(lines) + "\n"


def cell(found: Estimate | None, *, sign: bool = False) -> str:
    """Mean ± deviation (confidence interval), percent."""
    if found is None:
        return "–"
    mean = f"{100 * found.mean:+.1f}" if sign else f"{100 * found.mean:.1f}"
    if found.deviation is None:
        return mean
    low, high = interval(found, least=-1 if sign else 0)
    return f"{mean} ± {100 * found.deviation:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def interval(found: Estimate, *, least: float = 0) -> tuple[float, float]:
    """The 95 % confidence interval of several values, within what is possible: `least` (0, of a gain -1) to 1."""
    half = found.half or 0
    return max(least, found.mean - half), min(1.0, found.mean + half)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_table(found: Sequence[Row], out: Path, file: Path) -> None:
    """Write the comparison as CSV, a row for each start and measure: fractions of 1, empty where there is none."""
    header = ("pretext", "backbone", "width", "crop", "clips", "measure", "seeds", "mean", "deviation", "low", "high",
              "gain", "gain_low", "gain_high", "paper", "paper_data", "values", "runs")
    table = []
    for row in found:
        config, found_row = row.entrant.config, estimate(list(row.values.values()))
        cells: list[object] = [row.entrant.name, config.model.backbone, config.model.width, row.entrant.crop,
                               row.entrant.clips, row.measure, " ".join(map(str, row.values))]
        for part, least in ((found_row, 0), (row.gain, -1)):
            cells.append(part.mean if part else "")
            cells += [part.deviation if part and part.deviation is not None else ""] if least == 0 else []
            cells += interval(part, least=least) if part and part.half is not None else ("", "")
        cells += ["" if row.paper is None else row.paper, "" if row.paper is None else row.paper_data,
                  " ".join(map(str, row.values.values())),
                  " ".join(folder(out, row.entrant, seed, row.measure).name for seed in row.values)]
        table.append(cells)
    write_csv(file, header, table)
