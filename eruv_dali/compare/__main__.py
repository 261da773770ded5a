"""Which pretext serves your videos: pre-train with each on the same videos, and compare what the networks are good for.

    python -m eruv_dali.compare --pretexts eruv,vcop,none --data my_dataset --clips 200000 \\
        --labelled ucf101 --root UCF-101 --splits ucfTrainTestlist --out runs/compared
    python -m eruv_dali.compare --pretexts eruv,vcop,none --data my_dataset --clips 20000 --seeds 0 1 2 3 4 \\
        --labelled folder --root my_actions --groups '/([a-z]+)_' --evaluate retrieval,knn,probe \\
        --out runs/compared model.backbone=r3d model.width=16 vcop.pretext.gap=4

Each network sees the same number of clips (--clips): the number of steps follows from the clips in a sample and the
samples in a batch. `none` is the network without pre-training: random weights, the same ones that the pre-training of
the same seed begins with. The networks are evaluated on labelled videos by retrieval, a vote of the nearest neighbours,
a linear probe and fine-tuning of all layers, as by retrieve and finetune.

A pretext's configuration is configs/NAME_c3d.yaml, else its default options; `key=value` sets a key for all,
`NAME.key=value` for one. With networks of several kinds each kind has a `none` of its own. Videos count as untrimmed
unless data.trimmed=true.

FOLDER holds a RUN for each pre-training and evaluation, and compare.md, compare.csv, compare.png: mean, sample
deviation and 95 % confidence interval (Student's t) over the seeds, the gain over random weights, and what the paper
reports. They are written anew after every seed. If stopped at any moment, the same command continues: finished pieces
are not repeated, an unfinished one is resumed; more pretexts, seeds and measures may be added.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eruv_dali.actions.arguments import add_split_arguments, chosen_splits
from eruv_dali.actions.prepared import keep_usable, prepare_labelled
from eruv_dali.compare.chart import draw_chart
from eruv_dali.compare.entrants import Entrant, entrants
from eruv_dali.compare.measures import MEASURES, Labelled, measure
from eruv_dali.compare.summary import folder, markdown, rows, write_table
from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.device import DEVICES
from eruv_dali.errors import EruvError, run_program
from eruv_dali.evaluate.pretrained import NONE, Pretrained, load_pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.task import Recipe
from eruv_dali.pretrain.once import check_same_run, pretrain_once
from eruv_dali.train.processes import from_environment
from eruv_dali.train.stop import Stopped


def main() -> None:
    logging.basicConfig(format="%(message)s")
    args = build_parser().parse_intermixed_args()
    if from_environment().world > 1:
        raise EruvError("compare uses one process; run it without torchrun")
    names, measures = (list(filter(None, words.split(","))) for words in (args.pretexts, args.evaluate))
    if not names:
        raise EruvError("--pretexts names none; give some, such as --pretexts eruv,vcop,none")
    if unknown := [name for name in measures if name not in MEASURES] or [args.evaluate] * (not measures):
        raise EruvError(f"--evaluate {unknown[0]}: not one of {', '.join(MEASURES)}")
    measures = [name for name in MEASURES if name in measures]
    for name in ("clips", "test_clips", "test_crop", "batch_size", "finetune_epochs", "finetune_lr"):
        if getattr(args, name) is not None and getattr(args, name) <= 0:
            raise EruvError(f"--{name.replace('_', '-')} {getattr(args, name)} must be greater than 0")
    seeds = list(dict.fromkeys(args.seeds))
    if min(seeds) < 0:
        raise EruvError(f"--seeds {min(seeds)}: a seed must be at least 0")
    values = [*args.values, *([f"device={args.device}"] if args.device else [])]
    splits = chosen_splits(args)
    with contextlib.closing(Dataset(args.data)) as dataset:
        field = entrants(names, dataset, args.clips, values, args.test_crop)
        settings = _settings(args, dataset, splits)
        _check_folder(args.out, settings)
        for entrant in field:
            for seed in seeds if entrant.name != NONE else ():
                check_same_run(entrant.seeded(seed), folder(args.out, entrant, seed))
        args.device = field[0].config.device
        labelled_dataset = prepare_labelled(splits[0][1].root, args.out / "labelled", device=args.device,
                                            frame_size=(dataset.frame_height, dataset.frame_width))
        labelled = Labelled(keep_usable(splits, labelled_dataset, skip_missing=args.skip_missing), labelled_dataset,
                            args)
        labelled.check(measures, seeds)
        args.out.mkdir(parents=True, exist_ok=True)
        write_text(args.out / "compare.json", json.dumps(settings, indent=1) + "\n")
        write = partial(_write, args, field, measures, seeds, labelled)
        try:
            for number, seed in enumerate(seeds):
                for entrant in field:
                    _take_part(entrant, seed, measures, dataset, labelled, args.out)
                table = write(seeds[:number + 1])
        except Stopped as stopped:
            console.print(f"{str(stopped).partition(';')[0]}; continue with the same command", highlight=False,
                          markup=False, soft_wrap=True)
            sys.exit(128 + stopped.signal)
    print(table, end="")
    console.print(f"{args.out}: compare.md, compare.csv, compare.png", highlight=False, markup=False)


def build_parser() -> argparse.ArgumentParser:
    """The words that this program takes."""
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.compare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", nargs="*", metavar="[NAME.]key=value", help="configuration of the pre-trainings")
    parser.add_argument("--pretexts", required=True, metavar="A,B,…", help="pretexts, and none: random weights")
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder that eruv_dali.prepare wrote")
    parser.add_argument("--clips", required=True, type=int, metavar="N", help="clips that each network is pre-trained "
                        "on (the last batch may exceed it)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S", help="default 0 1 2")
    parser.add_argument("--evaluate", default=",".join(MEASURES), metavar="A,B,…", help="default %(default)s")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the runs and the table")
    parser.add_argument("--device", choices=DEVICES, help="the same as device=…")
    add_split_arguments(parser, "--labelled")
    how = parser.add_argument_group("evaluation")
    how.add_argument("--test-clips", type=int, default=10, help="clips per video (default %(default)s)")
    how.add_argument("--test-crop", type=int, metavar="PIXELS", help="of the clips in evaluation (default: data.crop, "
                     "which for puzzles is the side of a piece)")
    how.add_argument("--batch-size", type=int, default=8, help="clips (default %(default)s)")
    how.add_argument("--knn", type=int, default=5, metavar="K", help="neighbours that vote (default %(default)s)")
    how.add_argument("--val-fraction", type=float, default=0.1, help="of the training videos, held out to choose "
                     "fine-tuning's epoch and the probe's penalty (default %(default)s)")
    how.add_argument("--finetune-epochs", type=int, default=Recipe.epochs, help="default %(default)s")
    how.add_argument("--finetune-lr", type=float, default=Recipe.lr, help="default %(default)s")
    how.add_argument("--finetune-weight-decay", type=float, default=Recipe.weight_decay, help="default %(default)s")
    return parser


def _take_part(
    entrant: Entrant, seed: int, measures: Sequence[str], dataset: Dataset, labelled: Labelled, out: Path
) -> None:
    """Pre-train and evaluate one network, as far as that is not done."""
    load = partial(entrant.random_network, seed)
    if entrant.name != NONE:
        run = folder(out, entrant, seed)
        pretrain_once(entrant.seeded(seed), dataset, run)
        load = partial(_pretrained, run, entrant.crop)
    for name in measures:
        measure(name, load, labelled, folder(out, entrant, seed, name), seed)


def _pretrained(run: Path, crop: int) -> Pretrained:
    return load_pretrained(run)._replace(crop=crop)


def _check_folder(out: Path, settings: dict[str, object]) -> None:
    """Make sure that `out` is free, or holds a comparison with these settings.

    Raises:
        EruvError: it is a file, or a RUN, or a comparison with others.
    """
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; --out names a folder")
    if (out / "config.yaml").exists() or (out / "result.json").exists():
        raise EruvError(f"{out}: holds a run of another program; choose another --out")
    file = out / "compare.json"
    if not file.exists():
        return
    try:
        before = dict(json.loads(file.read_text()))
    except (ValueError, TypeError):
        raise EruvError(f"{file}: is damaged; choose another --out") from None
    for key, value in settings.items():
        if before.get(key) != value:
            raise EruvError(f"{out}: was begun with {key} = {before.get(key)}, not {value}; continue with what it was, "
                            "or choose another --out")


def _settings(args: argparse.Namespace, dataset: Dataset, splits: list) -> dict[str, object]:
    """What all pieces of a comparison have in common: written to compare.json, and compared when it continues."""
    digest = hashlib.sha256("\n".join(video.name for video in dataset.videos).encode() + dataset.segments.tobytes())
    videos = [[name, sorted(map(str, split.train)), sorted(map(str, split.test))] for name, split in splits]
    evaluation = ("test_clips", "test_crop", "knn", "val_fraction", "finetune_epochs", "finetune_lr",
                  "finetune_weight_decay", "batch_size")
    return {"data": str(dataset.folder.resolve()), "digest of the segments": digest.hexdigest(), "clips": args.clips,
            "labelled": args.dataset, "root": str(args.root.resolve()), "groups": args.groups,
            "splits": [name for name, _ in splits],
            "digest of the labelled videos": hashlib.sha256(json.dumps(videos).encode()).hexdigest(),
            **{name: getattr(args, name) for name in evaluation}}


def _write(
    args: argparse.Namespace, field: Sequence[Entrant], measures: Sequence[str], all_seeds: Sequence[int],
    labelled: Labelled, seeds: Sequence[int],
) -> str:
    """Write compare.md, compare.csv and compare.png for the seeds that are finished; returns the Markdown."""
    found = rows(field, measures, seeds, args.out, args.dataset)
    split = labelled.splits[0][1]
    chance = 1 / len(split.classes)
    sides = f"{len(split.train)} training and {len(split.test)} test videos of {len(split.classes)} classes"
    several = f", mean of {len(labelled.splits)} splits" if len(labelled.splits) > 1 else ""
    rest = f" Not finished: seeds {', '.join(map(str, all_seeds[len(seeds):]))}." if len(seeds) < len(all_seeds) else ""
    words = (f"Pre-trained on {args.data}, {args.clips} clips each; evaluated on {args.dataset} {args.root} ({sides}"
             f"{several}; chance {100 * chance:.1f} %). Percent: mean ± sample deviation (95 % confidence interval) "
             "over the seeds. The interval covers weights, samples and order, not the choice of videos. The paper's "
             "networks are of full size, trained on UCF101 or THUMOS14 for 300 epochs."
             f"{rest}")
    text = markdown(found, words)
    write_text(args.out / "compare.md", text)
    write_table(found, args.out, args.out / "compare.csv")
    draw_chart(found, chance, f"{args.data} → {args.dataset} {args.root}, {args.clips} clips each, "
               f"{len(seeds)} seed{'s' * (len(seeds) > 1)}", args.out / "compare.png")
    return text


if __name__ == "__main__":
    run_program(main)
