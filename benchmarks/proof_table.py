"""The last lines of gpu_proof.sh: a table of part, result, figure, goal, from the files that its parts wrote.

    python benchmarks/proof_table.py OUT

Writes OUT/proof.md and prints it. Exit code 1 if a part failed.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

STEP_GOALS = {"step_c3d": "≥ 3 × reference, wait < 5 %, ≥ 35 % of the matrix peak", "step_r3d": "≥ 3 ×, wait < 5 %",
              "step_r2plus1d": "≥ 3 ×, wait < 5 %"}


def step_figures(figures: dict) -> str:
    rows = {row["way"]: row for row in figures["rows"]}
    loaded, cached = rows["loader + network"], rows["cached batch"]
    return (f"{loaded['clips_per_second']:.4g} clips/s = {loaded['times_reference']:.2f} × reference, wait "
            f"{loaded['data_wait']:.1%}; cached {cached['clips_per_second']:.4g} = {cached['of_matrix_peak']:.0%} of "
            f"the matrix peak ({figures['setting']})")


def throughput_figures(figures: dict) -> str:
    return "; ".join(f"{row['loader']} {row['median']:.4g}" for row in figures["rows"]) + " clips/s"


def shots_figures(figures: dict) -> str:
    speeds = (f"{name} {statistics.median(values):.4g}" for name, values in figures["frames_per_second"].items())
    return f"{', '.join(speeds)} frames/s over {figures['frames']:,} frames on the {figures['device']}"


def transform_figures(figures: dict) -> str:
    cases = (f"{row['case']} {row['ratio']['median']:.1f} ×" for row in figures["results"])
    return "the operator against DALI's built-in graph: " + ", ".join(cases)


def last_summary(log: str) -> str:
    """pytest's summary line of passed tests, or else the last line."""
    lines = [line.strip(" =") for line in log.splitlines() if re.search(r"\w", line)]
    counted = [line for line in lines if re.search(r"\d+ (passed|failed|skipped)", line)]
    return (counted or lines or ["nothing was printed"])[-1]


def rows(out: Path) -> Iterator[tuple[str, str, str, str]]:
    """Part, result, figure, goal."""
    for file in sorted(out.glob("*.part.json"), key=lambda path: path.stat().st_mtime_ns):
        part = json.loads(file.read_text())
        name, code = part["part"], part["exit_code"]
        result = "ok" if code == 0 else "out of time" if code in (124, 137) else f"failed ({code})"
        figures = out / f"{name}.json"
        figure, goal = last_summary((out / f"{name}.log").read_text(errors="replace")), ""
        if code == 0 and figures.exists():
            kind = name.partition("_")[0]
            figure = {"throughput": throughput_figures, "transform": transform_figures, "shots": shots_figures,
                      "step": step_figures}[kind](json.loads(figures.read_text()))
        if name in STEP_GOALS:
            goal = STEP_GOALS[name]
        elif name == "throughput":
            goal = "pack ≥ 3,000 clips/s"
        elif name == "transform":
            goal = "≥ 2 ×"
        elif name in ("tests", "sanitizer"):
            goal = "all pass, none skipped"
        yield name, f"{result}, {part['seconds']:.0f} s", figure.replace("|", "/")[:300], goal


def main() -> int:
    out = Path(sys.argv[1])
    found = list(rows(out))
    lines = ["| part | result | figure | goal |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in found)]
    (out / "proof.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(any(not row[1].startswith("ok") for row in found))


if __name__ == "__main__":
    sys.exit(main())
