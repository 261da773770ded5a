"""The tables of gpu_proof.sh: how each part ended, and each figure beside its limit and its goal.

    python benchmarks/proof_table.py DIR

DIR is the folder of what the parts wrote. Writes DIR/proof.md and prints it. Exit code 1 if a part failed.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured, its value, the limit beside it, and the goal; `met`: None where that cannot be said."""

    what: str
    value: str
    limit: str
    goal: str
    met: bool | None


def last_summary(log: str) -> str:
    """pytest's summary line of passed tests, or else the last line."""
    lines = [line.strip(" =") for line in log.splitlines() if re.search(r"\w", line)]
    counted = [line for line in lines if re.search(r"\d+ (passed|failed|skipped)", line)]
    return (counted or lines or ["nothing was printed"])[-1]


def parts(folder: Path) -> Iterator[dict]:
    """Each part's end, in the order in which they ended."""
    for file in sorted(folder.glob("*.part.json"), key=lambda path: path.stat().st_mtime_ns):
        part = json.loads(file.read_text())
        code = part["exit_code"]
        ended = "ok" if code == 0 else "out of time" if code in (124, 137) else f"failed ({code})"
        log = folder / f"{part['part']}.log"
        yield {**part, "ended": ended, "said": last_summary(log.read_text(errors="replace") if log.exists() else "")}


def figures(folder: Path) -> Iterator[Figure]:
    """All figures that are there, of parts that were cut off too."""
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")
            if not path.name.endswith(".part.json")}
    if "loading" in read:
        raw = [read.get(name, {}).get("rows", []) for name in ("nvdec_video", "nvdec_none")]
        nvdec = {row["pack"]: row for row in sum(raw, [])}
        for row in read["loading"]["rows"]:
            if "clips_per_second" in row:
                yield loading(row, nvdec.get(row["pack"]))
    for name in ("step_c3d", "step_r3d"):
        if name in read:
            yield from step(name.removeprefix("step_"), read[name])
    for row in read.get("pretrain", {}).get("rows", ()):
        share = row["of_cached"]
        yield Figure(f"pretrain on a {row['pack']} pack", f"{row['clips_per_second']:.4g} clips/s, data wait "
                     f"{row['data_wait']:.1%}", f"the network on a cached batch: {share:.1%} of it" if share else "",
                     "wait < 5 %, ≥ 95 % of the network", row["data_wait"] < 0.05 and bool(share and share >= 0.95))
    if "hog" in read:
        rate = read["hog"]["frames_per_second"]
        yield Figure("HOG", f"{rate['hog']:,.0f} frames/s; all statistics {rate['statistics']:,.0f}", "",
                     "≥ 5,000,000 frames/s", rate["hog"] >= 5e6)
    if "prepare" in read:
        yield from prepared(read["prepare"])
    for row in read.get("transform", {}).get("results", ()):
        ratio = row["ratio"]["median"]
        yield Figure(f"operator, {row['case']}", f"{row['eruv']['median']:,.0f} clips/s",
                     f"DALI's own graph {row['dali']['median']:,.0f}: {ratio:.2f} × it", "≥ 2 ×", ratio >= 2)


def loading(row: dict, nvdec: dict | None) -> Figure:
    rate, pack = row["clips_per_second"], row["pack"]
    turns = ", ".join(f"{turn['clips_per_second']:.4g}" for turn in row["turns"])
    value = f"{rate:.4g} clips/s (turns: {turns}; Python {row['turns'][-1]['python']:.3f} ms a clip)"
    used = row["turns"][-1]["utilisation"]
    busy = "; ".join(f"{name} {share:.0f} % busy" for name, share in used.items())
    if pack in ("video", "none"):
        goal = "≥ 90 % of raw NVDEC" if pack == "video" else "beside raw NVDEC"
        limit, met = "raw NVDEC not measured", None
        if nvdec and nvdec.get("clips_per_second"):
            raw, each = nvdec["clips_per_second"], nvdec["pictures_a_clip"]
            limit = (f"raw NVDEC {raw:.4g} clips/s = {raw * each:,.0f} pictures/s; ours {rate * each:,.0f}: "
                     f"{rate / raw:.0%} of it ({nvdec['clips_without_slice']} clips without a slice)")
            met = rate >= 0.9 * raw if pack == "video" else None
    else:
        goal, met = "≥ 3,000 clips/s", rate >= 3000
        limit = f"{16 * rate:,.0f} JPEGs/s" if pack == "jpeg" else ""
    said = "; ".join(filter(None, [limit, busy]))
    return Figure(f"RelationLoader, {'original files' if pack == 'none' else pack + ' pack'}", value, said, goal, met)


def step(backbone: str, read: dict) -> Iterator[Figure]:
    ways = {row["way"]: row for row in read["rows"]}
    loaded, cached, reference = (ways[way] for way in ("loader + network", "cached batch", "reference"))
    tf32 = ways.get("reference, TF32")
    beside = f", {cached['clips_per_second'] / tf32['clips_per_second']:.2f} × it with TF32" if tf32 else ""
    peaks = ", ".join(f"{name.removeprefix('torch.')} {peak / 1e12:.3g}" for name, peak in read["matrix_peak"].items())
    yield Figure(f"step, {backbone}", f"{cached['clips_per_second']:.4g} clips/s on a cached batch",
                 f"plain float32 without TF32 {reference['clips_per_second']:.4g}: {cached['times_reference']:.2f} × it"
                 f"{beside}", "≥ 3 × float32 without TF32", cached["times_reference"] >= 3)
    yield Figure(f"step, {backbone}: of the matrix peak", f"{cached['flops'] / 1e12:.3g} TFLOP/s",
                 f"measured peaks, TFLOP/s: {peaks}; {cached['of_matrix_peak']:.0%} of it",
                 "≥ 35 %" if backbone == "c3d" else "", cached["of_matrix_peak"] >= 0.35 if backbone == "c3d" else None)
    share = read["loader_of_cached"]
    yield Figure(f"loader + network, {backbone}", f"{loaded['clips_per_second']:.4g} clips/s, data wait "
                 f"{loaded['data_wait']:.1%}", f"the network on a cached batch: {share:.1%} of it",
                 "wait < 5 %, ≥ 95 % of the network", loaded["data_wait"] < 0.05 and share >= 0.95)


def prepared(read: dict) -> Iterator[Figure]:
    same = sum(row["same"] for row in read["videos"])
    apart = max((row.get("mean_difference", 0.0) for row in read["videos"]), default=0.0)
    pixels = max((row.get("pixel_difference", 0.0) for row in read["videos"]), default=0.0)
    yield Figure("prepare against the CPU", f"{same} of {len(read['videos'])} videos with equal frames and keys; "
                 f"{read['cuts_changed']} of {read['cuts']} cuts changed",
                 f"grey levels: frames' means up to {apart:.2f}, pixels up to {pixels:.2f}", "equal, ≤ 1 % of the cuts",
                 read["same"])
    if rate := read.get("frames_per_second"):
        yield Figure("prepare, no pack", f"{rate['prepare']:,.0f} frames/s", f"decoding alone, one process "
                     f"{rate['decode_alone']:,.0f}: {rate['share']:.0%} of it", "≥ 90 % of decoding alone",
                     rate["share"] >= 0.9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="what gpu_proof.sh wrote; proof.md is written into it")
    folder = parser.parse_args().folder
    ended = list(parts(folder))
    lines = ["| part | result | seconds of limit | last line |", "|---|---|---|---|"]
    lines += [f"| {part['part']} | {part['ended']} | {part['seconds']:.0f} of {part['limit']} | "
              f"{part['said'].replace('|', '/')[:160]} |" for part in ended]
    lines += ["", "| figure | measured | beside it | goal | met |", "|---|---|---|---|---|"]
    met = {None: "–", True: "yes", False: "no"}
    lines += [f"| {' | '.join(figure[:4])} | {met[figure.met]} |" for figure in figures(folder)]
    (folder / "proof.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(any(part["exit_code"] for part in ended))


if __name__ == "__main__":
    sys.exit(main())
