"""Can one linear layer recognise the relation of two clips? The paper's literal head against the default one.

    python benchmarks/head.py --out /tmp/head
    python benchmarks/head.py --out /tmp/head --seeds 1 2 3 4 5 --device gpu optim.epochs=10

Draws the demo's videos, prepares them once, and pre-trains on them with `model.head=linear` and
`model.head=mlp`, each with several seeds; the rest is the demo's configuration (configs/demo.yaml, on a GPU
demo_gpu.yaml) with the `key=value` words applied. Prints validation accuracy for each relation, mean ± deviation
over the seeds, as a Markdown table, and writes it to --json. Finished runs in --out are not run again.

    told apart   of the CS, CV and CD pairs that were predicted as one of these three: the share predicted right. They
                 differ only in how the two clips relate, so a head that cannot compare stays at a third
    all          of all pairs
"""

import argparse
import json
import statistics
from pathlib import Path

from eruv_dali.dataset import Dataset
from eruv_dali.demo.corpus import render_corpus
from eruv_dali.device import resolve_device
from eruv_dali.errors import run_program
from eruv_dali.files import write_text
from eruv_dali.models import HEADS
from eruv_dali.native import data_dir
from eruv_dali.options import Parser, add_device
from eruv_dali.prepare import prepare
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

BETWEEN = ("CS", "CV", "CD")  # both clips untransformed: only a comparison tells these apart
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="for the videos, the DATASET, the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the runs of each head")
    add_device(parser)
    parser.add_argument("--json", type=Path, default=RESULTS / "head.json", metavar="FILE",
                        help="write the figures to this file (default benchmarks/results/head.json)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration, such as optim.epochs=1")
    args = parser.parse_args()
    device = resolve_device(args.device)
    preset = data_dir("configs") / ("demo_gpu.yaml" if device == "gpu" else "demo.yaml")
    data = load_config(preset, args.overrides).data
    args.out.mkdir(parents=True, exist_ok=True)
    render_corpus(args.out / "videos")
    dataset = prepare([args.out / "videos"], args.out / "dataset", device=device, pack=data.pack,
                      frame_size=tuple(data.frame_size))
    runs = []
    for seed in args.seeds:
        for head in HEADS:
            result = _run(args, preset, dataset, device, head, seed)
            runs.append({"head": head, "seed": seed, **{key: result[key] for key in
                         ("accuracy", "per_relation", "confusion", "samples", "chance")}})
    summary = {"setting": [preset.name, *args.overrides], "device": device, "seeds": args.seeds,
               "heads": {head: _summarise([run for run in runs if run["head"] == head]) for head in HEADS},
               "runs": runs}
    write_text(args.json, json.dumps(summary, indent=1) + "\n")
    print(_table(summary))


def _run(args: argparse.Namespace, preset: Path, dataset: Dataset, device: str, head: str, seed: int) -> dict:
    """The result of one pre-training; a finished run is reused, an unfinished one is resumed."""
    out = args.out / f"{head}_{seed}"
    if (out / "result.json").exists():
        return json.loads((out / "result.json").read_text())
    config = load_config(preset, args.overrides, **{"model.head": head, "seed": seed, "device": device})
    return pretrain(config, dataset, out, resume=(out / "last.pt").exists())


def _summarise(runs: list[dict]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the runs, for each relation and for all of them."""
    figures = {name: [run["per_relation"][name] for run in runs] for name in runs[0]["per_relation"]}
    figures["told apart"] = [told_apart(run) for run in runs]
    figures["all"] = [run["accuracy"] for run in runs]
    return {name: {"mean": statistics.mean(values), "deviation": statistics.stdev(values) if len(values) > 1 else 0.0}
            for name, values in figures.items()}


def told_apart(run: dict) -> float:
    """Share right of the pairs of `BETWEEN` that were predicted as one of them."""
    places = [list(run["per_relation"]).index(name) for name in BETWEEN]
    counts = [[run["confusion"][true][answer] for answer in places] for true in places]
    return sum(counts[k][k] for k in range(len(places))) / max(1, sum(map(sum, counts)))


def _table(summary: dict) -> str:
    columns = list(summary["heads"][HEADS[0]])
    lines = ["| head | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
    for head, figures in summary["heads"].items():
        cells = [f"{100 * each['mean']:.1f} ± {100 * each['deviation']:.1f}" for each in figures.values()]
        lines.append(f"| {head} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_program(main)
