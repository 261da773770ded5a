"""The report of a training run: curves, accuracies, confusion, configuration and samples, on a page of its own."""

import html
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.answers import held_out_answers
from eruv_dali.files import printable, write_text
from eruv_dali.page import facts, html_page, scrolling, table
from eruv_dali.train.checkpoint import checkpoints
from eruv_dali.train.config import defaults, flatten, load_config
from eruv_dali.train.metrics import is_number
from eruv_dali.visualize import confusion_table, line_chart, moving, pairs
from eruv_dali.visualize.curves import SMOOTHED, kinds_of, smoothed
from eruv_dali.visualize.kind_names import kind_name
from eruv_dali.visualize.line_chart import LINES, Line
from eruv_dali.visualize.run_figures import RunFigures, Scored, read_run

DRAWN = 500  # points of a faint line, at most: of more lines of metrics.jsonl every n-th
KNOWN = ("epoch", "step", "loss", "accuracy", "clips_per_second", "data_wait", "lr")  # of a line; others are terms


def draw_training(
    run: Path, out: Path, *, samples: int = pairs.SAMPLES, data: str | Path | None = None, device: str = "auto"
) -> None:
    """Draw the report of a RUN of pretrain or finetune, finished or not, into an .html page.

    Args:
        samples: of the held-out samples of a pre-training, 0 for none; see `held_out_answers`, as for `data`, `device`.

    Raises:
        EruvError: an unsupported file type; see `read_run`, `held_out_answers`.
    """
    if out.suffix not in (".html", ".htm"):
        raise EruvError(f"{out}: choose a file name that ends in .html")
    if samples < 0:
        raise EruvError(f"samples {samples} must be at least 0")
    figures = read_run(run)
    title = f"Training, {printable(str(run))}"
    parts = [f"<h1>{html.escape(title)}</h1>", facts(_facts(run, figures)), *_curves(figures), *_kinds(figures)]
    style, script = [line_chart.STYLE, confusion_table.STYLE, STYLE], []
    if figures.program == "pretrain" and samples:
        parts.append("<h2>What the network says</h2>")
        if (run / "best.pt").exists() or checkpoints(run / "last.pt"):
            section, pictures = pairs.pairs_section(held_out_answers(run, samples=samples, data=data, device=device))
            parts.append(section)
            style += [moving.STYLE, pairs.STYLE, pictures]
            script += [moving.SCRIPT, pairs.SCRIPT]
        else:
            parts.append("<p>The run has saved no network yet; it will at the end of its first epoch.</p>")
    parts += _configuration(run, figures)
    write_text(out, html_page(title, parts, style=style, script=script))


def _facts(run: Path, figures: RunFigures) -> list[tuple[str, str]]:
    """The run in a few lines: name and value."""
    result, scored, last = figures.result, figures.scored, [*figures.steps, *figures.vals]
    steps = max((line["step"] for line in last), default=0)
    done = f"{steps} step{'s' * (steps != 1)}"
    state = f"finished, {done}" if figures.finished else f"not finished: {done} so far"
    if figures.finished and not last:
        state = "finished; nothing was trained but a classifier" if result.get("mode") == "freeze" else "finished"
    elif not figures.finished:
        written = (run / "metrics.jsonl").stat().st_mtime
        state += f", last written {time.strftime('%Y-%m-%d %H:%M', time.localtime(written))}"
    found = [("state", state), *_what(run, figures)]
    if scored and scored.accuracy is not None:
        chance = f", chance {1 / len(scored.kinds):.1%}" if scored.kinds else ""
        where = "test videos" if figures.program == "finetune" and figures.finished else "held-out videos"
        of = f", {scored.samples} samples" if scored.samples else ""
        found.append(("accuracy", f"{scored.accuracy:.1%} on {where}{of}{chance}"))
    if scored and scored.epoch is not None:
        found.append(("best epoch", f"number {scored.epoch}, counted from 0"
                      + (f"; loss {scored.loss:.4g}" if scored.loss is not None else "")))
    if figures.steps:
        speed = statistics.median(line["clips_per_second"] for line in figures.steps)
        wait = statistics.fmean(line["data_wait"] for line in figures.steps)
        found.append(("speed", f"{speed:.3g} clips/s (median), {wait:.0%} of the time waiting for clips"))
    return found


def _what(run: Path, figures: RunFigures) -> list[tuple[str, str]]:
    result = figures.result
    if figures.program == "finetune":
        how = {"freeze": ", a linear classifier on fixed features", "knn": ", a vote of neighbours"}
        named = [("program", "finetune" + how.get(str(result.get("mode")), ""))]
        return named + [(key, str(result[key])) for key in ("dataset", "init", "backbone") if key in result]
    config = load_config(run / "config.yaml")
    model = config.model
    return [("pretext", config.pretext.name),
            ("network", f"{model.backbone}, width {model.width}, head {model.head}, on "
                        f"{'frame differences' if model.input == 'difference' else 'RGB'}"),
            ("clips", f"{config.data.clip_length} frames of {config.data.crop}x{config.data.crop} pixels"),
            ("epochs", f"{config.optim.epochs} planned"
             + (f", at most {config.optim.max_steps} steps" if config.optim.max_steps else ""))]


def _curves(figures: RunFigures) -> list[str]:
    steps, vals, named = figures.steps, figures.vals, partial(_named, figures)
    if not (steps or vals):
        return []
    losses = [*_training(steps, "loss"), Line("held-out videos", [(v["step"], v["val"]["loss"]) for v in vals])]
    charts = [line_chart.line_chart("Loss", losses, from_zero=False)]
    scored = all("accuracy" in line for line in (*steps, *(line["val"] for line in vals)))
    names = figures.scored.kinds if figures.scored else []
    level = ("chance", 100 / len(names)) if names else None
    if scored:
        held = Line("held-out videos", [(v["step"], 100 * v["val"]["accuracy"]) for v in vals])
        charts.append(line_chart.line_chart("Accuracy", [*_training(steps, "accuracy", 100), held], unit="%",
                                            highest=100, level=level))
    followed = list(kinds_of(vals[-1]["val"])) if vals else []
    word = figures.scored.word if figures.scored else ""
    if 1 < len(followed) <= LINES and len(vals) > 1:
        found = [(line["step"], kinds_of(line["val"])) for line in vals]
        lines = [Line(named(name), [(step, 100 * kinds[name]) for step, kinds in found if name in kinds])
                 for name in followed]
        charts.append(line_chart.line_chart(f"Accuracy of each {word}, held-out videos", lines, unit="%", highest=100,
                                            level=level))
    if steps:
        rates = _thinned(steps, "lr")
        charts += [line_chart.line_chart("Learning rate", [Line("", rates, dotted=len(rates) <= SMOOTHED)]),
                   line_chart.line_chart("Waiting for clips", _training(steps, "data_wait", 100, name=""),
                                         unit="% of the time", highest=100),
                   line_chart.line_chart("Speed", _training(steps, "clips_per_second", name=""), unit="clips/s")]
        terms = [key for key in steps[0] if key not in KNOWN and all(is_number(line.get(key)) for line in steps)]
        charts += [line_chart.line_chart(f"Term of the loss: {term}", _training(steps, term)) for term in terms]
    note = (f" Strong lines are means of up to {SMOOTHED} equal stretches, faint ones single logging steps."
            if len(steps) > SMOOTHED else "")
    return ["<h2>Curves</h2>", f"<p>Over the steps of training, each a batch.{note}</p>",
            f'<div class="charts">{"".join(charts)}</div>', _validations(vals, scored, named)]


def _training(steps: Sequence[dict[str, Any]], key: str, scale: float = 1, name: str = "training") -> list[Line]:
    """A figure of the training steps: every line's value, faint, and the means of stretches, strong; few points are
    shown as they are."""
    if len(steps) <= SMOOTHED:
        return [Line(name, _thinned(steps, key, scale))]
    x, y = np.array([line["step"] for line in steps]), np.array([scale * line[key] for line in steps])
    return [Line(name, _thinned(steps, key, scale), faint=True),
            Line(name, list(zip(*smoothed(x, y), strict=True)), dotted=False)]


def _thinned(steps: Sequence[dict[str, Any]], key: str, scale: float = 1) -> list[tuple[float, float]]:
    """Points (step, value) of every n-th line, so that there are at most DRAWN."""
    return [(line["step"], scale * line[key]) for line in steps[::max(1, -(-len(steps) // DRAWN))]]


def _validations(vals: Sequence[dict[str, Any]], scored: bool, named: Callable[[str], str]) -> str:
    if not vals:
        return ""
    kinds = list(kinds_of(vals[-1]["val"])) if len(kinds_of(vals[-1]["val"])) <= LINES else []
    rows = []
    for line in vals:
        val = line["val"]
        cells = [str(line.get("epoch", "")), str(line["step"]), f"{val['loss']:.4f}"]
        cells += [f"{val['accuracy']:.1%}"] if scored else []
        rows.append(cells + [f"{kinds_of(val)[name]:.1%}" if name in kinds_of(val) else "–" for name in kinds])
    heads = ["epoch", "step", "loss", *["accuracy"] * scored, *map(named, kinds)]
    return ("<details><summary>The validations as numbers</summary>"
            + scrolling(table(heads, rows, numbers=range(len(heads))), "validations") + "</details>")


def _kinds(figures: RunFigures) -> list[str]:
    """Accuracy of each kind, and the confusion matrix."""
    scored = figures.scored
    if scored is None or not scored.kinds:
        return []
    names = [_named(figures, name) for name in scored.kinds]
    where = "test videos" if figures.program == "finetune" else "held-out videos"
    parts = [f"<h2>Accuracy of each {html.escape(scored.word)}</h2>",
             f"<p>On {where}{_at(scored)}. The line marks chance, {1 / len(names):.1%}.</p>",
             _bars(scored, names)]
    if scored.confusion:
        parts += ["<h2>Confusion</h2>", f"<p>Each row: what was said of samples of one {html.escape(scored.word)}; "
                  "percent of the row, and how many.</p>",
                  confusion_table.confusion_table(scored.confusion, names, scored.kinds)]
    return parts


def _named(figures: RunFigures, kind: str) -> str:
    """A kind in words."""
    word = figures.scored.word if figures.scored else ""
    return kind_name(word, kind) if figures.program == "pretrain" else kind


def _at(scored: Scored) -> str:
    return f", epoch {scored.epoch}" if scored.epoch is not None else ""


def _bars(scored: Scored, names: Sequence[str]) -> str:
    chance = 100 / len(names)
    rows = []
    for number, (kind, name) in enumerate(zip(scored.kinds, names, strict=True)):
        share = scored.per_kind.get(kind)
        of = f" of {sum(scored.confusion[number])}" if scored.confusion else ""
        said = "no samples" if share is None else f"{share:.1%}{of}"
        rows.append(f'<li><span>{html.escape(name)}</span><div class="bar" aria-hidden="true"><i style="width: '
                    f'{100 * (share or 0):.1f}%"></i><b style="left: {chance:.2f}%"></b></div><span>{said}</span></li>')
    return f'<ul class="bars">{"".join(rows)}</ul>'


def _configuration(run: Path, figures: RunFigures) -> list[str]:
    parts = ["<h2>Configuration</h2>"]
    if figures.program == "finetune":
        plain = [(key, _shown(value)) for key, value in figures.result.items()
                 if isinstance(value, str | int | float) and not isinstance(value, bool) or key == "frame_size"]
        if not plain:
            return [*parts, "<p>finetune writes it with its result, at the end of the run.</p>"]
        return [*parts, scrolling(table(("key", "value"), plain), "configuration")]
    config = load_config(run / "config.yaml")
    values, usual = flatten(config), defaults(config.pretext.name)
    changed = [(key, _shown(value), _shown(usual.get(key))) for key, value in values.items() if value != usual.get(key)]
    every = [(key, _shown(value)) for key, value in values.items()]
    return [*parts, "<p>What differs from the defaults:</p>",
            scrolling(table(("key", "value", "default"), changed), "what differs from the defaults"),
            "<details><summary>All keys</summary>"
            + scrolling(table(("key", "value"), every), "all keys of the configuration") + "</details>"]


def _shown(value: Any) -> str:
    """As a configuration writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return printable(str(value))


STYLE = """
.bars { list-style: none; padding: 0; max-width: 60rem; font-variant-numeric: tabular-nums; }
.bars li { display: grid; grid-template-columns: minmax(0, 14rem) minmax(4rem, 1fr) 8rem; gap: .8rem; padding: .2rem 0;
  align-items: center; }
.bars .bar b { position: absolute; top: -3px; bottom: -3px; width: 0; border-left: 2px dotted var(--ink); }
@media (max-width: 40rem) { .bars li { grid-template-columns: minmax(0, 1fr) auto; gap: 0 .8rem; }
  .bars .bar { grid-row: 2; grid-column: 1 / -1; } }
"""
