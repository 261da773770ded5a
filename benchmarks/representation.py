"""Does pre-training on unlabelled videos help? Pre-trained weights against random ones on real actions.

    python benchmarks/representation.py --out /tmp/representation                   reduced, for a CPU: see CPU below
    python benchmarks/representation.py --out /tmp/representation --device gpu      full size, planned for 10 minutes

Pre-trains on untrimmed videos and on the training side of two labelled sets, without their labels, then recognises
the actions of the test side. Persons (Weizmann) and sequences (UT-Interaction) are on one side only, and those of the
test side are in no pre-training. For each seed, three starts that differ only in the weights:

    random       the random weights that the pre-training started from
    random, BN   the same; BatchNorm's mean and variance measured on the pre-training clips, as pre-training does too
    ERUV         after pre-training

    retrieval    pool5, 10 clips averaged, cosine: the nearest training video has the test video's class
    kNN          vote of the K nearest
    probe        a linear classifier on fixed features
    fine-tuning  all layers; it updates BatchNorm's statistics itself, so there is no "random, BN"
    dimensions   not an accuracy: how many directions the averaged conv5 features of all clips spread over
    amount       not an accuracy: how closely (correlation) the first one follows the amount of change between frames

"motion" is not a network: retrieval and kNN by twelve numbers on the amount of change (see motion.py). What a network
does no better than these needs only the amount of motion.

--videos holds untrimmed/, weizmann/CLASS/PERSON_ACTION.avi, ut_interaction/set1/CLASS/NUMBER_SEQUENCE_CLASS.avi.
Prints mean ± deviation over the seeds as a Markdown table and writes all figures to --json. Each stage is kept in
--out: a stopped run continues from there.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from motion import change
from torch import nn

from eruv_dali import RelationLoader
from eruv_dali.actions import ActionSplit, read_split
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.dataset import Dataset
from eruv_dali.device import DEVICES, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.evaluate.even_clips import EvenClips
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.knn import knn_scores
from eruv_dali.finetune.recognise import finetune_split, knn_split, probe_split
from eruv_dali.finetune.task import Recipe
from eruv_dali.models import build_backbone, load_backbone
from eruv_dali.prepare import prepare
from eruv_dali.pretext.eruv import RELATIONS as ALL_RELATIONS
from eruv_dali.pretrain.run import pretrain
from eruv_dali.retrieve import retrieve
from eruv_dali.train.config import load_config

RESULTS = Path(__file__).parent / "results"
STARTS = ("random", "random, BN", "ERUV")
MEASURES = ("retrieval", "kNN", "probe", "fine-tuning")
NO_ACCURACY = ("dimensions", "amount")
MEAN, STD = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)
VAL_FRACTION = 0.15
CLIPS, K = 10, 3
BN_CLIPS = 640  # clips that BatchNorm's statistics are measured on


@dataclass(frozen=True)
class Labelled:
    """A set of labelled videos, and its groups that are the test side: half of them."""

    folder: str
    groups: str
    test_groups: tuple[str, ...]


LABELLED = {
    "Weizmann": Labelled("weizmann", r"/([a-z]+)_", ("ido", "ira", "lena")),
    "UT-Interaction": Labelled("ut_interaction/set1", r"/\d+_(\d+)_", ("6", "7", "8", "9", "10")),
}


@dataclass(frozen=True)
class Setting:
    """Sizes and durations."""

    backbone: str
    width: int
    crop: int  # in pre-training
    test_crop: int  # in evaluation: pool5 must leave at least 2x2 places
    frame_size: tuple[int, int]
    relations: tuple[str, ...]
    head: str
    optimizer: str
    lr: float
    batch_size: int  # pairs
    epochs: int
    steps_per_epoch: int
    finetune_epochs: int
    finetune_lr: float


# Only 14 of the 127 videos have several shots: a network that memorises them recognises CV without comparing clips.
RELATIONS = tuple(relation for relation in ALL_RELATIONS if relation != "CV")
# Frames of 72x96 and crops of 40 (72 in evaluation) instead of 128x171 and 112; C3D an eighth as wide (0.43 M
# parameters); AdamW and the linear head, because they learn faster in a short run (see docs/head.md). That head cannot
# compare clips, so CD is dropped as well, as on trimmed videos.
CPU = Setting("c3d", 8, 40, 72, (72, 96), tuple(relation for relation in RELATIONS if relation != "CD"), "linear",
              "adamw", 1.5e-3, 8, 5, 1000, 150, 1e-2)
# The paper's network, clips and learning rates; fewer steps.
GPU = Setting("c3d", 64, 112, 112, (128, 171), RELATIONS, "mlp", "sgd", 1e-2, 32, 6, 300, 60, 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="for DATASETs, runs and figures")
    parser.add_argument("--videos", type=Path, default=Path(__file__).parents[2] / "shared" / "data", metavar="DIR")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: results/representation_DEVICE.json")
    args = parser.parse_args()
    device = resolve_device(args.device)
    setting = GPU if device == "gpu" else CPU
    for folder in ("untrimmed", *(labelled.folder for labelled in LABELLED.values())):
        if not (args.videos / folder).is_dir():
            raise EruvError(f"{args.videos / folder}: no such folder; --videos names the folder that contains it")
    started = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    refuse_other_setting(args.out / "setting.json", setting)

    splits = {name: read_split("folder", args.videos / labelled.folder, groups=labelled.groups,
                               test_groups=labelled.test_groups) for name, labelled in LABELLED.items()}
    look = dict(device=device, frame_size=setting.frame_size)
    unlabelled = [args.videos / "untrimmed", *(path for split in splits.values() for path, _ in split.train)]
    corpus = prepare(unlabelled, args.out / "dataset_unlabelled", min_length=32, **look)
    datasets = {name: prepare([args.videos / labelled.folder], args.out / f"dataset_{name}", min_length=16, **look)
                for name, labelled in LABELLED.items()}
    tested = {path.resolve() for split in splits.values() for path, _ in split.test}
    if leaked := sorted(tested & {video.path.resolve() for video in corpus.videos}):
        raise EruvError(f"{leaked[0]}: a test video is among those to pre-train on; remove it from untrimmed/")

    moves = {name: _change(split, datasets[name], setting, device) for name, split in splits.items()}
    figures, relations = [], []
    for seed in args.seeds:
        relations.append(_pretrain(setting, corpus, args.out / f"pretrain_{seed}", seed, device))
        for start in STARTS:
            for name, split in splits.items():
                made = args.out / f"figures_{name}_{start.replace(', ', '_')}_{seed}.json"
                if not made.exists():
                    begin = partial(_start, start, setting, corpus, args.out, seed, device)
                    scores = evaluate(begin, split, datasets[name], moves[name], LABELLED[name], setting,
                                       args.out / f"fine_{made.stem}", seed, device)
                    write_text(made, json.dumps(scores, indent=1) + "\n")
                figures.append({"dataset": name, "start": start, "seed": seed, **json.loads(made.read_text())})
    summary = {
        "setting": asdict(setting), "device": device, "seeds": args.seeds, "clips": CLIPS, "k": K,
        "seconds": round(time.monotonic() - started),
        "videos": {"unlabelled": len(corpus.videos), "segments": len(corpus.segments),
                   **{name: {"train": len(split.train), "test": len(split.test), "classes": len(split.classes)}
                      for name, split in splits.items()}},
        "pretraining": relations, "figures": summarise(figures), "runs": figures,
        "motion": {name: motion_scores(split, moves[name], device) for name, split in splits.items()},
    }
    write_text(args.json or RESULTS / f"representation_{device}.json", json.dumps(summary, indent=1) + "\n")
    print(markdown(summary))


def refuse_other_setting(file: Path, setting: Setting) -> None:
    """Refuse to continue with stages that were made in another setting."""
    text = json.dumps(asdict(setting), indent=1) + "\n"
    if file.exists() and file.read_text() != text:
        raise EruvError(f"{file}: the stages here were made in another setting; choose another --out")
    write_text(file, text)


def _pretrain(setting: Setting, corpus: Dataset, out: Path, seed: int, device: str) -> dict:
    """Pre-train, or resume it; returns the accuracy on the held-out unlabelled videos."""
    if not (out / "result.json").exists():
        config = load_config(None, (), **{
            "seed": seed, "device": device, "relations": list(setting.relations),
            "model.backbone": setting.backbone, "model.width": setting.width, "model.head": setting.head,
            "model.dropout": 0.2, "data.crop": setting.crop, "data.frame_size": list(setting.frame_size),
            "data.mean": list(MEAN), "data.std": list(STD), "data.batch_size": setting.batch_size,
            "data.pairs_per_epoch": setting.batch_size * setting.steps_per_epoch, "data.val_fraction": VAL_FRACTION,
            "data.val_pairs": 280, "optim.name": setting.optimizer, "optim.lr": setting.lr,
            "optim.weight_decay": 0.01 if setting.optimizer == "adamw" else 5e-4, "optim.schedule": "cosine",
            "optim.epochs": setting.epochs,
        })
        pretrain(config, corpus, out, resume=(out / "last.pt").exists())
    result = json.loads((out / "result.json").read_text())
    return {"seed": seed, **{key: result[key] for key in ("accuracy", "per_relation", "chance")}}


def _start(start: str, setting: Setting, corpus: Dataset, out: Path, seed: int, device: str) -> Pretrained:
    """The network to start from, built again at each call."""
    if start == "ERUV":
        backbone = load_backbone(out / f"pretrain_{seed}" / "backbone.pt")
    else:
        torch.manual_seed(seed)  # as pre-training does before it builds the same network
        backbone = build_backbone(setting.backbone, width=setting.width)
        if start == "random, BN":
            _measure_batchnorm(backbone, setting, corpus, seed, device)
    return Pretrained(backbone, start, 16, setting.test_crop, setting.frame_size, MEAN, STD)


@torch.no_grad()
def _measure_batchnorm(backbone: nn.Module, setting: Setting, corpus: Dataset, seed: int, device: str) -> None:
    """Set the running statistics of all BatchNorm layers to their mean over pre-training batches."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm3d)]
    momentum = norms[0].momentum
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches, not a running one
    place = torch.device("cuda" if device == "gpu" else "cpu")
    backbone.to(place).train()
    with RelationLoader(corpus, batch_size=setting.batch_size, crop=setting.crop, device=device, mean=MEAN, std=STD,
                        relations=setting.relations, val_fraction=VAL_FRACTION, seed=seed,
                        pairs_per_epoch=BN_CLIPS // 2) as pairs:
        for batch in pairs:
            backbone(batch.clips.transpose(0, 1).flatten(0, 1))
    for norm in norms:
        norm.momentum = momentum
    backbone.cpu()


def _change(split: ActionSplit, dataset: Dataset, setting: Setting, device: str) -> np.ndarray:
    """(V, clips, 12): how much changes between the frames of the clips of all videos, the training side's first."""
    videos = [path for path, _ in (*split.train, *split.test)]
    with EvenClips(videos, clips=CLIPS, crop=setting.test_crop, device=device, dataset=dataset) as even:
        return even.answers(lambda x_BCTHW: change(x_BCTHW.float()))


def motion_scores(split: ActionSplit, change_VKC: np.ndarray, device: str) -> dict[str, float]:
    """Retrieval and kNN by the amount of change alone, standardised by the training side's mean and deviation."""
    videos_VC, train = change_VKC.mean(1), len(split.train)
    videos_VC = (videos_VC - videos_VC[:train].mean(0)) / videos_VC[:train].std(0)
    labels = [np.array([label for _, label in side]) for side in (split.train, split.test)]
    topk, *_ = retrieve(videos_VC[:train], labels[0], videos_VC[train:], labels[1], device=device)
    votes_VC = knn_scores(videos_VC[:train], labels[0], videos_VC[train:], len(split.classes), k=K, device=device)
    return {"retrieval": topk["top1"], "kNN": float((votes_VC.argmax(1) == labels[1]).mean())}


def evaluate(
    begin: Callable[[], Pretrained], split: ActionSplit, dataset: Dataset, change_VKC: np.ndarray, labelled: Labelled,
    setting: Setting, out: Path, seed: int, device: str,
) -> dict[str, float | None]:
    """Top-1 accuracy on the test videos, one figure for each of MEASURES."""
    start = begin()
    look = dict(clips=CLIPS, batch_size=16, device=device)
    videos = SplitFeatures(start, [split], dataset, layer="pool5", average_clips=True, **look)
    clips = SplitFeatures(start, [split], dataset, layer="average", **look)
    labels = [[label for _, label in side] for side in (split.train, split.test)]
    topk, *_ = retrieve(videos.of(split.train), labels[0], videos.of(split.test), labels[1], device=device)
    # The probe's penalty is chosen on a held-out person or sequence; fine-tuning uses its last epoch.
    probe = probe_split(start, split, dataset, val_fraction=0.2, groups=labelled.groups, seed=seed, features=clips)
    knn = knn_split(start, split, dataset, k=K, device=device, features=videos)
    dimensions, amount = directions(clips.of([*split.train, *split.test]), change_VKC)
    scores = {"retrieval": topk["top1"], "kNN": knn["top1"], "probe": probe["top1"], "fine-tuning": None,
              "dimensions": dimensions, "amount": amount}
    if start.init != STARTS[1]:
        recipe = Recipe(epochs=setting.finetune_epochs, lr=setting.finetune_lr, seed=seed)
        scores["fine-tuning"] = finetune_split(begin(), split, dataset, out, recipe, clips=CLIPS, val_fraction=0,
                                               device=device, resume=True)["top1"]
    return scores


def directions(features_VKD: np.ndarray, change_VKC: np.ndarray) -> tuple[float, float]:
    """How many directions the clips' features spread over, and how closely the first follows the amount of change.

    The number is the participation ratio (Σλ)² / Σλ² of the covariance's eigenvalues λ: D for a round cloud, 1 for a
    line. The other is the absolute correlation with the logarithm of the mean change from frame to frame.
    """
    rows_ND = features_VKD.reshape(-1, features_VKD.shape[-1]).astype(np.float64)
    places, singular, _ = np.linalg.svd(rows_ND - rows_ND.mean(0), full_matrices=False)
    amount_N = change_VKC[..., 0].reshape(-1)
    return (float((singular**2).sum() ** 2 / (singular**4).sum()),
            float(abs(np.corrcoef(places[:, 0], amount_N)[0, 1])))


def summarise(figures: list[dict]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """dataset → measure → start → mean and standard deviation over the seeds; "both" is the mean of the datasets."""
    summary: dict = {}
    for dataset in (*LABELLED, "both"):
        for measure in (*MEASURES, *NO_ACCURACY):
            for start in STARTS:
                by_seed: dict[int, list[float]] = {}
                for run in figures:
                    wanted = run["start"] == start and dataset in (run["dataset"], "both")
                    if wanted and run[measure] is not None:
                        by_seed.setdefault(run["seed"], []).append(run[measure])
                if not by_seed:
                    continue
                values = [statistics.mean(each) for each in by_seed.values()]
                summary.setdefault(dataset, {}).setdefault(measure, {})[start] = {
                    "mean": statistics.mean(values),
                    "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
                }
    return summary


def markdown(summary: dict) -> str:
    """Markdown; the gain is over the better of the two random starts."""
    lines = ["| dataset | measure | " + " | ".join(STARTS) + " | gain | deviations | motion |",
             "|---|---" + "|--:" * (len(STARTS) + 1) + "|---|--:|"]
    for dataset, measures in summary["figures"].items():
        for measure, starts in measures.items():
            share, digits = measure in MEASURES, 2 if measure == "amount" else 1
            cells = [f"{100**share * starts[start]['mean']:.{digits}f} ± "
                     f"{100**share * starts[start]['deviation']:.{digits}f}"
                     if start in starts else "–" for start in STARTS]
            ours = starts["ERUV"]
            best = max((starts[start] for start in starts if start != "ERUV"), key=lambda each: each["mean"])
            gain = ours["mean"] - best["mean"]
            apart = "apart" if abs(gain) > ours["deviation"] + best["deviation"] else "overlap"
            cells += [f"{100 * gain:+.1f}", apart] if share else ["", ""]
            motion = summary["motion"].get(dataset, {}).get(measure)
            cells.append("" if motion is None else f"{100 * motion:.1f}")
            lines.append(f"| {dataset} | {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_program(main)
