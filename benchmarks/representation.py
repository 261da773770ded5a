"""Does pre-training on unlabelled videos help? Pre-trained networks against random ones on the actions of four sets.

    python benchmarks/representation.py --out /tmp/representation --seeds 0 1 2 3 4 \\
        --start eruv=runs/eruv_{seed} --start plus=runs/plus_{seed}

NAME=PATH names what was pre-trained, one RUN folder or backbone.pt for each seed ({seed} stands for it); pre-training
itself is `python -m eruv_dali.pretrain`, with none of the labelled sets among its videos. Beside each: the random
network that it began as (same seed, architecture, input), the same with BatchNorm's statistics measured on the
pre-training clips, and baselines without a network: amount of motion (12 numbers), place of motion (48), and what
the pretext `flow` learns to tell (128).

    retrieval           the nearest training video has the test video's class: pool5, mean of 5 clips, cosine
      z-scored          features less the training side's mean, divided by its deviation
    kNN, z-scored       vote of the 3 nearest
    probe               a linear classifier on fixed features
    fine-tuning         all layers, until the training loss is below 0.1; "after N steps": read on the way
      rescaled          convolutions first brought to the norm of fresh ones (`finetune --rescale`)

Every video is tested once, with its person, take or sequence left out; fine-tuning leaves out half of them at a time.
With --labels 0.25 a quarter of the training side's labels is given, drawn by seed and fold, for all starts the same.
Intervals are at 95 %, over groups and seeds; "gain" is paired, over the random start of the same seed with the same
input. Before anything else, each set passes a gate: group, first frame and length must not tell its labels.

--videos holds weizmann, ut_interaction/set1, egogestar, asu and arid, each with a folder for every class. Writes table,
chart and all figures (--json). Stages are kept in --out: a stopped run goes on, and starts and seeds can be added.
"""

import argparse
import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from evaluation.bootstrap import estimate
from evaluation.chart import draw
from evaluation.features import MOTION, motion_features, network_features
from evaluation.finetuning import Budget, chosen_hits, run_tasks, tasks_of
from evaluation.folds import leave_out
from evaluation.frozen import hits_of
from evaluation.gate import REFUSED, examine
from evaluation.kept import kept_hits
from evaluation.sets import KINDS, Frames, LabelledVideos, decode_sets, read_set
from evaluation.starts import Entrant, corpus_of, entrants_of, parse_start, recalibrated
from evaluation.table import Row, gate_table, markdown

from eruv_dali.console import progress
from eruv_dali.device import cores, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser, add_device

RESULTS = Path(__file__).parent / "results"
PARTS = ("frozen", "finetune")
PLACE = "place of motion"


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="for decoded frames, features, figures")
    parser.add_argument("--start", action="append", default=[], metavar="NAME=PATH", help="pre-trained networks; again "
                        "for further ones")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the networks")
    parser.add_argument("--videos", type=Path, default=Path(__file__).parents[2] / "shared" / "data", metavar="DIR",
                        help="folder of the sets (default shared/data beside the repository)")
    parser.add_argument("--sets", nargs="+", choices=KINDS, default=list(KINDS),
                        help="that networks are tested on (default all)")
    parser.add_argument("--corpus", type=Path, metavar="DATASET",
                        help="for BatchNorm's statistics (default that of each run)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS),
                        help="frozen: all but fine-tuning (default both)")
    parser.add_argument("--labels", type=float, nargs="+", default=[0.25, 1.0], metavar="SHARE",
                        help="shares of the training side's labels that are given")
    parser.add_argument("--finetune-labels", type=float, nargs="+", metavar="SHARE", help="the same for "
                        "fine-tuning (default as --labels)")
    parser.add_argument("--view", choices=("crop", "frame"), default="crop", help="what networks are tested on: the "
                        "central crop of the size that they were trained on, or whole frames")
    parser.add_argument("--folds", type=int, default=Budget.folds, help="of a set, in fine-tuning")
    parser.add_argument("--rates", type=float, nargs="+", default=list(Budget.rates), help="learning rates that "
                        "fine-tuning tries")
    parser.add_argument("--layer-rates", type=float, nargs="+", default=list(Budget.layer_rates), metavar="R",
                        help="that it tries with each rate: every layer learns at R times the rate of the one above it")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="of fine-tuning, at most")
    parser.add_argument("--workers", type=int, default=cores(), help="processes that fine-tune (default one per core)")
    add_device(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file (default "
                        "OUT/representation.json)")
    args = parser.parse_args()
    for share in (*args.labels, *(args.finetune_labels or ())):
        if not 0 < share <= 1:
            raise EruvError(f"--labels {share:g} must lie above 0 and be at most 1")
    for name, least in (("folds", 2), ("steps", 1), ("workers", 1)):
        if getattr(args, name) < least:
            raise EruvError(f"--{name} {getattr(args, name)} must be at least {least}")
    if min(args.rates) <= 0:
        raise EruvError(f"--rates {min(args.rates):g} must be greater than 0")
    for rate in args.layer_rates:
        if not 0 < rate <= 1:
            raise EruvError(f"--layer-rates {rate:g} must lie above 0 and be at most 1")
    tested = tuple(step for step in Budget.tested if step < args.steps)
    budget = Budget(args.folds, tuple(sorted(set(args.rates))), tuple(sorted(set(args.layer_rates))), steps=args.steps,
                    tested=tested)
    device = torch.device("cuda" if resolve_device(args.device) == "gpu" else "cpu")
    entrants = find_entrants([parse_start(word) for word in args.start], args.seeds)
    args.out.mkdir(parents=True, exist_ok=True)

    found = [read_set(name, args.videos, KINDS[name]) for name in args.sets]
    size = tuple(entrants[0].start.frame_size)
    frames = decode_sets(found, size, args.out)
    gate = {videos.name: examine(videos, frames) for videos in found}
    print(gate_table(found, gate), flush=True)
    sets = [videos for videos in found if not gate[videos.name].failed]
    if not sets:
        raise EruvError(f"{args.videos}: no set passes the gate, see the table above; choose others by --sets")

    rows = []
    if "frozen" in args.parts:
        rows += frozen_rows(entrants, sets, frames, args, device)
    if "finetune" in args.parts:
        rows += tuned_rows([entrant for entrant in entrants if entrant.kind != "random, BN"], sets, budget, args,
                           device)
    units = {videos.name: videos.units for videos in sets}
    baseline_of = {entrant.name: entrant.baseline for entrant in entrants}
    lines = [line for row in rows for line in figures(row, rows, units, baseline_of)]
    clear = [videos.name for videos in sets if not gate[videos.name].marked]
    summary = {
        "date": time.strftime("%Y-%m-%d"), "seeds": args.seeds,
        "starts": dict(parse_start(word) for word in args.start), "view": args.view,
        "labels": args.labels, "finetune_labels": args.finetune_labels or args.labels,
        "budget": asdict(budget), "baselines": baseline_of, "clear": clear,
        "gate": {name: {**asdict(told), "failed": told.failed, "marked": told.marked} for name, told in gate.items()},
        "sets": {videos.name: {"videos": len(videos.paths), "classes": len(videos.classes),
                               "groups": len(set(videos.groups)), "left_out": videos.left_out} for videos in sets},
        "refused": REFUSED, "figures": lines,
    }
    file = args.json or args.out / "representation.json"
    write_text(file, json.dumps(summary, indent=1) + "\n")
    text = markdown(lines, [videos.name for videos in sets], gate)
    write_text(args.out / "representation.md", gate_table(found, gate) + "\n\n" + text + "\n")
    draw(lines, args.out / "representation.png")
    print(text)
    print(f"\n{file}, {args.out / 'representation.md'}, representation.png")


def find_entrants(starts: list[tuple[str, str]], seeds: list[int]) -> list[Entrant]:
    """All networks, each random start once.

    Raises:
        EruvError: none given, a name twice, a missing or damaged file, other frames than those of the first.
    """
    if not starts:
        raise EruvError("no --start NAME=PATH given: name what was pre-trained, such as --start plus=runs/plus_{seed}")
    if len({name for name, _ in starts}) < len(starts):
        raise EruvError("two --start have the same name; give each its own")
    first_of: dict[str, Entrant] = {}
    entrants = {(each.name, each.seed): each for name, pattern in starts for seed in dict.fromkeys(seeds)
                for each in entrants_of(name, pattern, seed)}
    for each in entrants.values():
        of_run = first_of.setdefault(each.baseline, each)
        if of_run.start.look != each.start.look:
            raise EruvError(f"{each.run}: trained on clips of another length, mean or std than {of_run.run}, so they "
                            "have no random start in common; evaluate them one by one")
    sizes = {tuple(each.start.frame_size): each for each in entrants.values()}
    if len(sizes) > 1:
        raise EruvError(f"{' and '.join(str(each.run) for each in sizes.values())}: trained on frames of different "
                        "sizes; evaluate them one by one")
    return sorted(entrants.values(), key=lambda each: (each.kind != "random", each.name, each.seed))


def frozen_rows(
    entrants: list[Entrant], sets: list[LabelledVideos], frames: Frames, args: argparse.Namespace, device: torch.device
) -> list[Row]:
    """Every measure that changes no weights."""
    hits: dict[tuple[str, str, float], dict[int, dict[str, np.ndarray]]] = {}
    kinds = dict.fromkeys(MOTION, "motion")
    folder = args.out / "features"
    folder.mkdir(exist_ok=True)
    with progress("features", transient=True) as bar:
        task = bar.add_task("features", total=len(entrants))
        motion = motion_features(entrants[0].start, sets, frames)
        for seed in dict.fromkeys(args.seeds):
            of_start = {name: motion[name] for name in motion}
            for entrant in (each for each in entrants if each.seed == seed):
                versions = [entrant]
                if entrant.kind == "random":
                    versions.append(recalibrated(entrant, corpus_of(entrant, args.corpus), args.out / "batchnorm"))
                for each in versions:
                    kinds[each.name] = each.kind
                    of_start[each.name] = network_features(each.start, sets, frames, folder, view=args.view,
                                                           device=device)
                bar.advance(task)
            for name, features in of_start.items():
                for share in args.labels:
                    for videos in sets:
                        compute = partial(hits_of, videos, features[videos.name], share, seed)
                        kept = kept_hits(args.out / "frozen", videos, features[videos.name], (share, seed), compute)
                        for measure, right in kept.items():
                            hits.setdefault((name, measure, share), {}).setdefault(seed, {})[videos.name] = right
    return [Row(name, kinds[name], measure, share, {
        videos.name: np.stack([of_seed[videos.name] for of_seed in seeds.values()]).astype(float) for videos in sets})
        for (name, measure, share), seeds in hits.items()]


def tuned_rows(
    entrants: list[Entrant], sets: list[LabelledVideos], budget: Budget, args: argparse.Namespace, device: torch.device
) -> list[Row]:
    """Fine-tuning with and without rescaling; random starts have the norm of fresh networks as they are."""
    wanted = {}
    for share in args.finetune_labels or args.labels:
        for entrant in entrants:
            for rescale in (False, True) if entrant.kind == "pre-trained" else (False,):
                wanted[entrant, share, rescale] = list(tasks_of(
                    entrant.start, sets, share, rescale, entrant.seed, args.view, budget, args.out,
                    args.out / "finetune", device))
    everything = [task for tasks in wanted.values() for task in tasks]
    with progress("fine-tuning", transient=True) as bar:
        shown = bar.add_task("fine-tuning", total=sum(not task.out.exists() for task in everything))
        run_tasks(everything, args.workers, lambda: bar.advance(shown))
    rows = []
    for name, kind, share, rescale in dict.fromkeys((each.name, each.kind, share, rescale)
                                                    for each, share, rescale in wanted):
        results = {(each.seed, task.videos.name, task.fold, task.rates): json.loads(task.out.read_text())
                   for (each, *words), tasks in wanted.items() if (each.name, words) == (name, [share, rescale])
                   for task in tasks}
        for steps in (*budget.tested, None):
            measure = "fine-tuning" + ("" if steps is None else f" after {steps} steps")
            hits, rates = {}, {}
            for videos in sets:
                tests = dict(leave_out(videos.groups, budget.folds))
                of_set = {(seed, fold, rate): result for (seed, of, fold, rate), result in results.items()
                          if of == videos.name}
                hits[videos.name], rates[videos.name] = chosen_hits(of_set, tests, steps)
            chosen = [result for (_, of, fold, rate), result in results.items() if rates[of][fold] == rate]
            rows.append(Row(name + (", rescaled" if rescale else ""), kind, measure, share, hits, {
                "rates": rates, "learnt": float(np.mean([result["learnt"] for result in chosen])),
                "steps": float(np.mean([result["steps"] for result in chosen])),
                "loss": float(np.mean([result["loss"] for result in chosen]))} if steps is None else {}))
    return rows


def figures(row: Row, rows: list[Row], units: dict[str, np.ndarray], baseline_of: dict[str, str]) -> list[dict]:
    """A row's estimate for each set and their mean, its gain over the random start, and, of a pre-trained network, over
    the place of motion, as plain values."""
    def same(name: str | None) -> Row | None:
        return next((other for other in rows if other.name == name and other is not row
                     and (other.measure, other.share) == (row.measure, row.share)), None)

    against = same(baseline_of.get(row.name.removesuffix(", rescaled").removesuffix(", BN")))
    lines = []
    for where in (*row.hits, "mean"):
        names = list(row.hits) if where == "mean" else [where]
        line = {"start": row.name, "kind": row.kind, "measure": row.measure, "labels": row.share, "set": where,
                **estimate({name: row.hits[name] for name in names}, units)._asdict(),
                "seeds": np.mean([row.hits[name].mean(1) for name in names], 0).tolist(), **row.words}
        if against is not None:
            line["gain"] = estimate({name: row.hits[name] - against.hits[name] for name in names}, units)._asdict()
            line["baseline"] = against.name
        if row.kind == "pre-trained" and (place := same(PLACE)) is not None:
            line["over_place_of_motion"] = estimate(
                {name: row.hits[name] - place.hits[name] for name in names}, units)._asdict()
        lines.append(line)
    return lines


if __name__ == "__main__":
    run_program(main)
