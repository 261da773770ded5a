"""The README's table of measured results, made only from benchmarks/results/*.json.

    python benchmarks/readme_table.py            rewrites the table in README.md
    python benchmarks/readme_table.py --check    exit code 1 if it does not match the results

A missing result has no row.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- made by benchmarks/readme_table.py: -->\n", "<!-- :made -->"

Row = tuple[str, str, str]

FORMS = {"originals": "original files", "copies": "small H.264 copies", "jpeg": "JPEG frames", "raw": "raw frames"}


def demo(d: dict) -> list[Row]:
    return [(f"the demonstration: validation accuracy over 7 relations, chance {d['chance']:.1%}, seed {d['seed']}",
             f"{d['accuracy']:.1%} in {d['minutes']:.1f} minutes", "python -m eruv_dali.pretrain")]


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
    setting = d["setting"]

    def shown(measure: str) -> str:
        starts = {name: measures[measure] for name, measures in d["figures"].items() if name != "both"}
        return "; ".join(f"{name} " + " → ".join(
            f"{100 * figures[start]['mean']:.1f} ± {100 * figures[start]['deviation']:.1f}"
            for start in ("random", "ERUV")) + " %" for name, figures in starts.items())

    what = (f"random weights → pre-trained, top-1, {len(d['seeds'])} seeds, {setting['backbone']} of width "
            f"{setting['width']}, {setting['epochs'] * setting['steps_per_epoch']:,} steps")
    return [(f"{what}: {measure}", shown(measure), "benchmarks/representation.py")
            for measure in ("retrieval", "fine-tuning")]


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


def shots_synthetic(d: dict) -> list[Row]:
    f1 = {name: f"{total['f1']:.3f}" for name, total in d["totals"].items()}
    ours, peers = ("robust", "untrimmednets", "threshold=0.09"), ("transnetv2", "psd-adaptive", "psd-content",
                                                                 "ffmpeg-scene")
    return [(f"shot detection F1, ±2 frames, {len(d['videos'])} synthetic videos of ours: {' / '.join(ours)}",
             " / ".join(f1[name] for name in ours), "benchmarks/shots.py"),
            (f"… {' / '.join(peers)}", " / ".join(f1[name] for name in peers), "")]


def shots_cross_validation(d: dict) -> list[Row]:
    return [("… robust, its constants chosen without the video it is scored on", f"{d['f1_held_out']:.3f}",
             "benchmarks/shots.py --cross-validate")]


def shots_speed(d: dict) -> list[Row]:
    first, second = (run["ratios"] for run in d["runs"])
    return [("… speed of `prepare`, whole program: no pack / JPEG pack beside PySceneDetect adaptive; no pack beside "
             "TransNetV2", f"{first['prepare']['psd-adaptive']:.1f} / {first['prepare-jpeg']['psd-adaptive']:.1f} ×; "
             f"{second['prepare']['transnetv2']:.0f} ×", "benchmarks/shots.py --speed 3")]


def shots_decoding(d: dict) -> list[Row]:
    share = d["of_decoding"]
    return [("… of what `ffmpeg -threads 2 -f null` decodes of the same files: no pack / video pack, by the clock (by "
             "processor time)", " / ".join(f"{share[name]['clock']:.0%} ({share[name]['processor']:.0%})"
                                           for name in ("prepare", "prepare-video")),
             "benchmarks/shots.py --speed 3")]


TABLES = {"demo_cpu": demo, "peers_cpu": peers, "train_step_cpu": train_step,
          "head": head, "representation_cpu": representation, "scale_cpu": scale, "pack_quality": pack_quality,
          "shots_synthetic": shots_synthetic,
          "shots_cross_validation": shots_cross_validation, "shots_speed": shots_speed,
          "shots_decoding": shots_decoding}


def table() -> str:
    lines = ["| what | result | command | date |", "|---|---|---|---|"]
    for name, rows in TABLES.items():
        file = HERE / "results" / f"{name}.json"
        if not file.exists():
            continue
        result = json.loads(file.read_text())
        for what, figure, command in rows(result):
            lines.append(f"| {what} | {figure} | {f'`{command}`' if command else ''} | {result.get('date', '')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    made = before + BEGIN + table() + END + after
    if "--check" in sys.argv[1:]:
        print(f"README.md {'holds' if made == text else 'does not hold'} what the results say")
        return int(made != text)
    README.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
