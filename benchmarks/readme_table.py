"""The tables of measured results, made only from benchmarks/results/*.json: in README.md what matters most, ours beside
the best other; in docs/benchmarks.md all of them.

    python benchmarks/readme_table.py            rewrites both tables
    python benchmarks/readme_table.py --check    exit code 1 if they do not match the results

A missing result has no row.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).parent
README, ALL = HERE.parent / "README.md", HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- made by benchmarks/readme_table.py: -->\n", "<!-- :made -->"

Row = tuple[str, str, str]

FORMS = {"originals": "original files", "copies": "small H.264 copies", "jpeg": "JPEG frames", "raw": "raw frames"}


def demo(d: dict) -> list[Row]:
    return [(f"the demonstration: validation accuracy over 7 relations, chance {d['chance']:.1%}, seed {d['seed']}",
             f"{d['accuracy']:.1%} in {d['minutes']:.1f} minutes; seeds {_other_seeds(d)}",
             "python -m eruv_dali.pretrain")]


def _other_seeds(d: dict) -> str:
    values = ", ".join(f"{value:.1%}" for value in d["other_seeds"].values())
    elsewhere = ", ".join(f"{value:.1%}" for value in d["other_processors"])
    return f"{', '.join(d['other_seeds'])}: {values}; seed {d['seed']} on other processors: {elsewhere}"


def peers(d: dict) -> list[Row]:
    """Each form of the videos: ours, then the peers that read the same form."""
    found = []
    places = dict.fromkeys((row["group"], row["order"]) for row in d["rows"])
    for group, order in places:
        rows = [row for row in d["rows"] if (row["group"], row["order"]) == (group, order)]
        form = FORMS[group] + (f", {order} order" if group in ("originals", "copies") else "")
        for row in rows:
            if row["loader"].startswith("ours"):
                beside = f": {row['ratio']:.3g} × the best peer" if row["ratio"] else ""
                found.append((f"clips/s, 16 frames to 112×112 float32, {d['videos']} real videos, median (min to max), "
                              f"{form}: {row['loader'].removeprefix('ours, ')}",
                              f"{row['median']:.4g} ({row['min']:.4g} to {row['max']:.4g}){beside}; "
                              f"{row['bytes_per_frame'] / 1000:.2g} KB a frame", "benchmarks/throughput.py"))
        others = [row for row in rows if not row["loader"].startswith("ours")]
        if others:
            size = others[0]["bytes_per_frame"] / 1000
            names = (row["loader"] + " (wrong frames)" * bool(row["wrong_clips"]) for row in others)
            speeds = (f"{row['median']:.4g}" for row in others)
            found.append((f"… {' / '.join(names)}", f"{' / '.join(speeds)}; {size:.2g} KB a frame", ""))
    return found


def train_step(d: dict) -> list[Row]:
    rows = {row["way"]: row for row in d["rows"]}
    loaded, cached = rows["loader + network"], rows["cached batch"]
    return [(f"training step: {d['setting']}",
             f"{loaded['clips_per_second']:.3g} clips/s, {loaded['times_reference']:.2f} × plain float32; waiting for "
             f"clips {loaded['data_wait']:.1%}; {cached['of_matrix_peak']:.0%} of the matrix peak",
             "benchmarks/train_step.py")]


def head(d: dict) -> list[Row]:
    both = [d["heads"][name]["all"] for name in ("mlp", "linear")]
    return [(f"heads `mlp` / `linear` on the demonstration, {len(d['seeds'])} seeds (see docs/head.md)",
             " / ".join(f"{100 * each['mean']:.1f} ± {100 * each['deviation']:.1f} %" for each in both),
             "benchmarks/head.py")]


def representation(d: dict) -> list[Row]:
    return gains_of(d, {"retrieval": d["labels"], "retrieval, z-scored": d["labels"]})


def finetuning(d: dict) -> list[Row]:
    return gains_of(d, {"fine-tuning after 20 steps": d["finetune_labels"], "fine-tuning": d["finetune_labels"]})


def gains_of(d: dict, shown: dict[str, list[float]]) -> list[Row]:
    """The gain of each pre-trained start over its random one, mean of the sets, in these measures."""
    rows = []
    for measure, shares in shown.items():
        for share in shares:
            gains = [(line["start"], line["gain"]) for line in d["figures"] if line["set"] == "mean"
                     and line["kind"] == "pre-trained" and (line["measure"], line["labels"]) == (measure, share)]
            if gains:
                rows.append((f"pre-trained less the random start with the same input, mean of {len(d['sets'])} sets, "
                             f"{len(d['seeds'])} seeds: {measure}, {share:.0%} of the labels",
                             "; ".join(f"{start} {100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, "
                                       f"{100 * gain['high']:+.1f}]" for start, gain in gains) + " points",
                             "benchmarks/representation.py"))
    return rows


def scale(d: dict) -> list[Row]:
    o = d["open"]
    return [(f"a DATASET of {o['videos']:,} videos and {o['segments']:,} segments: opened / loader built / first batch",
             f"{o['open_seconds']:.1f} / {o['loader_seconds']:.1f} / {o['first_batch_seconds']:.1f} s; memory over "
             f"1,000 batches: {d['flat']['growth']:+.1%}", "benchmarks/scale.py")]


def pack_quality(d: dict) -> list[Row]:
    rows = {row["pack"]: row for row in d["rows"] if not row["changed"]}
    return [("size of a frame and its PSNR: " + " / ".join(f"{kind} pack" for kind in rows),
             " / ".join(f"{row['bytes_per_frame'] / 1000:.3g} KB, {row['psnr_db']:.1f} dB" for row in rows.values()),
             "benchmarks/pack_quality.py")]


def robustness(d: dict) -> list[Row]:
    fuzz, faults = d["fuzz"], d["faults"]
    came = {name: sum(counts.get(name, 0) for counts in fuzz["counts"].values())
            for name in ("delivered", "refused", "crash", "hang", "trace", "wrong", "memory")}
    tests = [counts for of_seed in faults.values() for counts in of_seed["tests"].values()]
    survived, failed = (sum(counts[name] for counts in tests) for name in ("survived", "failed"))
    return [("mutated videos, packs, tables, records, checkpoints, configurations: read right or refused in one line / "
             "crashes / hangs / tracebacks / wrong frames, all of damaged originals (docs/guarantees.md) / over 2 GB",
             f"{came['delivered'] + came['refused']:,} of {sum(came.values()):,} / " + " / ".join(
                 f"{came[name]}" for name in ("crash", "hang", "trace", "wrong", "memory")), "benchmarks/fuzz.py"),
            ("faults by chance (killed, disk full, files changed under a loader, …) survived",
             f"{survived:,} of {survived + failed:,}", "benchmarks/faults.py")]


def shots_synthetic(d: dict) -> list[Row]:
    f1 = {name: f"{total['f1']:.3f}" for name, total in d["totals"].items()}
    ours, peers = ("robust", "untrimmednets", "threshold=0.09"), ("transnetv2", "psd-adaptive", "psd-content",
                                                                 "ffmpeg-scene")
    return [(f"shot detection F1, ±2 frames, {len(d['videos'])} synthetic videos of ours: {' / '.join(ours)}",
             " / ".join(f1[name] for name in ours), "benchmarks/shots.py"),
            (f"… {' / '.join(peers)}", " / ".join(f1[name] for name in peers), "")]


def found_in_edits(d: dict) -> dict[str, dict]:
    """Of both halves of the drawn edits, each by a network that was taught on the other one: sums, and F1, by rule."""
    halves = [d["sets"][name]["kinds"]["all"] for name in ("half 0, taught on half 1", "half 1, taught on half 0")]
    sums = {rule: {key: sum(half[rule][key] for half in halves) for key in halves[0][rule]} for rule in halves[0]}
    for total in sums.values():
        total["f1"] = 2 * total["hits"] / (total["hits"] + total["false"] + total["events"])
    return sums


def shots_edits(d: dict) -> list[Row]:
    found, other = found_in_edits(d), d["sets"]["drawn by other code, taught on half 0"]["kinds"]["all"]
    robust = found["robust"]
    return [("… 18 kinds of edits of web videos, clips that the network was not taught on: robust / untrimmednets",
             f"{robust['f1']:.3f} / {found['untrimmednets']['f1']:.3f}", "benchmarks/edits.py, shot_network.py"),
            ("… … frames of gradual transitions left in shots; frames of shots lost for each transition",
             f"{robust['left'] / robust['between']:.0%}; {robust['lost'] / robust['events']:.1f}",
             "benchmarks/edits.py, shot_network.py"),
            ("… 15 videos of edits drawn by other code, likewise: robust / untrimmednets",
             f"{other['robust']['f1']:.3f} / {other['untrimmednets']['f1']:.3f}", "benchmarks/shots.py --weights")]


def shots_decoding(d: dict) -> list[Row]:
    share = d["of_decoding"]
    return [("… of what `ffmpeg -threads 2 -f null` decodes of the same files: no pack / video pack, by the clock (by "
             "processor time)", " / ".join(f"{share[name]['clock']:.0%} ({share[name]['processor']:.0%})"
                                           for name in ("prepare", "prepare-video")),
             "benchmarks/shots.py --speed 3"),
            ("… speed of `prepare`, whole program: no pack / video pack beside PySceneDetect adaptive",
             " / ".join(f"{d['ratios'][name]['psd-adaptive']:.1f} ×" for name in ("prepare", "prepare-video")),
             "benchmarks/shots.py --speed 3")]


TABLES = {"demo_cpu": demo, "peers_cpu": peers, "train_step_cpu": train_step,
          "head": head, "representation_flow": representation, "representation_cpu": representation,
          "representation_flow_finetuning": finetuning, "representation_finetuning": finetuning,
          "scale_cpu": scale, "pack_quality": pack_quality,
          "robustness": robustness,
          "shots_synthetic": shots_synthetic,
          "shots_edits": shots_edits, "shots_decoding": shots_decoding}


def every_result() -> str:
    lines = ["| what | result | command | date |", "|---|---|---|---|"]
    for name, rows in TABLES.items():
        if result := read(name):
            for what, figure, command in rows(result):
                lines.append(f"| {what} | {figure} | {f'`{command}`' if command else ''} | {result.get('date', '')} |")
    return "\n".join(lines) + "\n"


def main_results() -> str:
    lines = ["| what | here | beside it | |", "|---|--:|--:|---|"]
    for name, rows in MAIN.items():
        if result := read(name):
            lines += [f"| {' | '.join(row)} |" for row in rows(result)]
    return "\n".join(lines) + "\n"


def read(name: str) -> dict | None:
    file = HERE / "results" / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def main_peers(d: dict) -> list[tuple[str, ...]]:
    """Each form of the videos once: its first order."""
    found = []
    for form, words in FORMS.items():
        rows = [row for row in d["rows"] if row["group"] == form]
        rows = [row for row in rows if row["order"] == rows[0]["order"]]
        ours = next((row for row in rows if row["loader"].startswith("ours")), None)
        others = [row for row in rows if not row["loader"].startswith("ours") and not row["wrong_clips"]]
        if ours and others:
            best = max(others, key=lambda row: row["median"])
            size, theirs = (f"{row['bytes_per_frame'] / 1000:.2g}" for row in (ours, best))
            found.append((f"clips/s from {words}, {size} KB a frame" + f" (theirs {theirs})" * (size != theirs),
                          f"{ours['median']:,.0f}", f"{best['median']:,.0f} {best['loader']}",
                          f"{ours['median'] / best['median']:.1f} ×"))
    return found


def main_quality(d: dict) -> list[tuple[str, ...]]:
    rows = {row["pack"]: row for row in d["rows"] if not row["changed"]}
    small, jpeg = rows["video"], rows["jpeg"]
    return [("a frame of the video pack, and its PSNR", f"{small['bytes_per_frame'] / 1000:.1f} KB, "
             f"{small['psnr_db']:.0f} dB", f"{jpeg['bytes_per_frame'] / 1000:.1f} KB, {jpeg['psnr_db']:.0f} dB JPEG "
             "pack", f"1/{jpeg['bytes_per_frame'] / small['bytes_per_frame']:.0f}")]


def main_shots(d: dict) -> list[tuple[str, ...]]:
    totals = d["totals"]
    best = max(("transnetv2", "psd-adaptive", "psd-content", "ffmpeg-scene"), key=lambda name: totals[name]["f1"])
    return [("shots found, F1, 8 synthetic videos (ours learnt them)", f"{totals['robust']['f1']:.3f}", f"{totals[best]['f1']:.3f} {best}",
             "")]


def main_edits(d: dict) -> list[tuple[str, ...]]:
    found = found_in_edits(d)
    return [("… 18 kinds of edits of web videos", f"{found['robust']['f1']:.3f}",
             f"{found['untrimmednets']['f1']:.3f} the paper's code", "")]


def main_speed(d: dict) -> list[tuple[str, ...]]:
    ours, theirs = (statistics.median(d["frames_per_second"][name]) for name in ("prepare", "psd-adaptive"))
    return [("… frames/s of 640x360, whole program", f"{ours:,.0f}", f"{theirs:,.0f} PySceneDetect adaptive",
             f"{d['ratios']['prepare']['psd-adaptive']:.1f} ×")]


def main_representation(d: dict) -> list[tuple[str, ...]]:
    """The best start's retrieval beside the random network's."""
    lines = {line["start"]: line for line in d["figures"] if line["set"] == "mean" and line["measure"] == "retrieval"
             and line["labels"] == 1}
    best = max((line for line in lines.values() if line["kind"] == "pre-trained"), key=lambda line: line["mean"])
    random = lines[d["baselines"][best["start"]]]
    gain = best["gain"]
    pretext = best["start"].partition(",")[0]
    return [(f"actions retrieved after pre-training (`{pretext}`), {len(d['sets'])} sets, {len(d['seeds'])} seeds",
             f"{100 * best['mean']:.1f} %", f"{100 * random['mean']:.1f} % random weights",
             f"{100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]")]


def main_finetuning(d: dict) -> list[tuple[str, ...]]:
    """The start without rescaling beside the random network."""
    lines = {line["start"]: line for line in d["figures"] if line["set"] == "mean" and line["measure"] == "fine-tuning"}
    (name,) = d["starts"]
    random, gain = lines[d["baselines"][name]], lines[name]["gain"]
    pretext = name.partition(",")[0].lower()
    return [(f"… recognised after fine-tuning on {d['finetune_labels'][0]:.0%} of the labels (`{pretext}`)",
             f"{100 * lines[name]['mean']:.1f} %", f"{100 * random['mean']:.1f} % random weights",
             f"{100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]")]


def main_robustness(d: dict) -> list[tuple[str, ...]]:
    counts = {name: sum(of.get(name, 0) for of in d["fuzz"]["counts"].values())
              for name in ("delivered", "refused", "crash", "hang", "trace", "wrong", "memory")}
    tests = [counts for of_seed in d["faults"].values() for counts in of_seed["tests"].values()]
    survived = sum(test["survived"] for test in tests)
    good, bad = counts["delivered"] + counts["refused"], counts["crash"] + counts["hang"] + counts["trace"]
    mended = [finding["came"] for finding in d["fuzz"]["findings"] if "mended" in finding]
    wrong = counts["wrong"] - mended.count("wrong")
    bad -= len(mended) - mended.count("wrong")
    return [("mutated files read right or refused in one line", f"{good:,} of {sum(counts.values()):,}",
             f"{bad} crashes, hangs, tracebacks", f"{wrong} wrong, of damaged originals; {len(mended)} others mended"),
            ("faults survived: killed, disk full, files changed …", f"{survived:,} of "
             f"{survived + sum(test['failed'] for test in tests):,}", "", "")]


def main_demo(d: dict) -> list[tuple[str, ...]]:
    return [(f"the demonstration: which of 7 relations, in {d['minutes']:.1f} minutes", f"{d['accuracy']:.1%}",
             f"{d['chance']:.1%} chance", f"seeds {_other_seeds(d)}")]


MAIN = {"peers_cpu": main_peers, "pack_quality": main_quality, "shots_synthetic": main_shots,
        "shots_edits": main_edits, "shots_decoding": main_speed,
        "robustness": main_robustness, "demo_cpu": main_demo,
        "representation_flow": main_representation, "representation_flow_finetuning": main_finetuning,
        "representation_finetuning": main_finetuning}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table does not match")
    check = parser.parse_args().check
    differing = 0
    for file, table in ((README, main_results()), (ALL, every_result())):
        text = file.read_text()
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        made = before + BEGIN + table + END + after
        if check:
            print(f"{file.name} {'holds' if made == text else 'does not hold'} what the results say")
            differing += made != text
        else:
            file.write_text(made)
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
