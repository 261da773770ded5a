"""What the program does once its command line is read: pre-train, evaluate, and write the comparison."""

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eruv_dali.actions.chosen import chosen_splits
from eruv_dali.actions.prepared import keep_usable, prepare_labelled
from eruv_dali.checks import whole_number
from eruv_dali.choices import MEASURES
from eruv_dali.compare.baselines import name_baselines, record_baselines
from eruv_dali.compare.chart import draw_chart
from eruv_dali.compare.entrants import Entrant, entrants
from eruv_dali.compare.measures import Labelled, measure
from eruv_dali.compare.page import comparison_page
from eruv_dali.compare.summary import folder, markdown, rows, write_table
from eruv_dali.console import console, warn
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import NONE, Pretrained, load_pretrained
from eruv_dali.files import write_text
from eruv_dali.pretrain.once import check_same_run, pretrain_once
from eruv_dali.train.config import RANGES
from eruv_dali.train.processes import from_environment
from eruv_dali.train.stop import Stopped


def run(args: argparse.Namespace) -> None:
    """Run the program; `args` as from `build_parser`."""
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
    for seed in seeds:
        whole_number("--seeds", seed, least=RANGES["seed"][0], most=RANGES["seed"][1])
    values = [*args.values, *([f"device={args.device}"] if args.device else [])]
    splits = chosen_splits(args)
    with contextlib.closing(Dataset(args.data)) as dataset:
        field = entrants(names, dataset, args.clips, values, args.test_crop)
        settings = _settings(args, dataset, splits)
        recorded = _check_folder(args.out, settings)
        field = name_baselines(field, args.out, recorded)
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
        settings["random"] = record_baselines(field, recorded)
        write_text(args.out / "compare.json", json.dumps(settings, indent=1) + "\n")
        write = partial(_write, args, field, measures, seeds, labelled)
        try:
            for number, seed in enumerate(seeds):
                for entrant in field:
                    _take_part(entrant, seed, measures, dataset, labelled, args.out)
                table = write(seeds[:number + 1])
        except Stopped as stopped:
            warn(f"{str(stopped).partition(';')[0]}; continue with the same command")
            sys.exit(128 + stopped.signal)
    print(table, end="")
    console.print(f"{args.out}: compare.md, compare.csv, compare.png, compare.html", highlight=False, markup=False)


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


def _check_folder(out: Path, settings: dict[str, object]) -> dict[str, Any]:
    """Make sure that `out` is free, or holds a comparison with these settings; returns what it recorded of random
    weights, see `record_baselines`.

    Raises:
        EruvError: it is a file, or a RUN, or a comparison with others.
    """
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; --out names a folder")
    if (out / "config.yaml").exists() or (out / "result.json").exists():
        raise EruvError(f"{out}: holds a run of another program; choose another --out")
    file = out / "compare.json"
    if not file.exists():
        return {}
    try:
        before = dict(json.loads(file.read_text()))
        recorded = {name: dict(described) for name, described in dict(before.get("random", {})).items()}
    except (ValueError, TypeError):
        raise EruvError(f"{file}: is damaged; choose another --out") from None
    for key, value in settings.items():
        if before.get(key) != value:
            raise EruvError(f"{out}: was begun with {key} = {before.get(key)}, not {value}; continue with what it was, "
                            "or choose another --out")
    return recorded


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
    """Write compare.md, compare.csv, compare.png and compare.html for the finished seeds; returns the Markdown."""
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
    write_text(args.out / "compare.html", comparison_page(found, chance, words))
    draw_chart(found, chance, f"{args.data} → {args.dataset} {args.root}, {args.clips} clips each, "
               f"{len(seeds)} seed{'s' * (len(seeds) > 1)}", args.out / "compare.png")
    return text
