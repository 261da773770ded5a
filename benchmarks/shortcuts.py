"""What do relations give away without being understood? A small perceptron on numbers that any network could find.

    python benchmarks/shortcuts.py --data my_dataset --crop 112

It learns to tell the relation of a pair from a few numbers, and is tested on pairs of held-out videos:

    motion           how much changes between frames 1, 2, 4 and 8 apart: mean, deviation and maximum over the clip (see
                     motion.py), of both clips and their difference; and the distance of their mean colours
    place of motion  mean change between neighbouring frames in 6x8 cells, of both clips
    colours          histograms of red, green and blue, 8 bins each, of both clips and how far they overlap
    clip j alone     motion, place of motion and colours of the second clip, without the first

A relation that it recognises leaves a trace that a network can learn instead of comparing the clips. A relation told
from clip j alone needs no comparison at all. If motion leaves PD (disordered) and PS (sped up) near chance, the videos
hardly move. --set changes the options of the pretext, such as --set shared_base=true. Needs no GPU, takes a minute.
"""

import json
from pathlib import Path

import torch
from motion import change, place_of_motion
from torch import nn
from torch.nn import functional as F

from eruv_dali.dataset import Dataset
from eruv_dali.errors import run_program
from eruv_dali.options import Parser
from eruv_dali.pretext.eruv import RELATIONS
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.train.config import load_config
from eruv_dali.train.kind_scores import KindScores

DARK = 1e-5  # added before logarithms
BINS = 8
EPOCHS, BATCH, HIDDEN = 60, 128, 64


def colours(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """(B, 24): shares of red, green and blue, from 0 to 1, in BINS bins each."""
    bins = (clips_BCTHW * BINS).long().clamp(0, BINS - 1).flatten(2)
    return F.one_hot(bins, BINS).float().mean(2).flatten(1)


def numbers_of(clips_BKCTHW: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the perceptron is given of each pair, (B, D), by name."""
    first, second = (clips_BKCTHW[:, k].contiguous() for k in (0, 1))
    motion = change(first), change(second)
    place = place_of_motion(first), place_of_motion(second)
    colour = colours(first), colours(second)
    distance = ((first - second).mean((2, 3, 4)).abs().mean(1, keepdim=True) + DARK).log()
    overlap = torch.minimum(*colour).sum(1, keepdim=True) / 3
    return {"motion": torch.cat([*motion, motion[1] - motion[0], distance], 1),
            "place of motion": torch.cat(place, 1),
            "colours": torch.cat([*colour, overlap], 1),
            "clip j alone": torch.cat([motion[1], place[1], colour[1]], 1)}


def numbers_of_epoch(loader: PretextLoader) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The numbers of an epoch's pairs, (N, D) by name, and their relations (N,)."""
    found: dict[str, list[torch.Tensor]] = {}
    relations = []
    for batch in loader:
        for name, numbers_BD in numbers_of(batch.clips).items():
            found.setdefault(name, []).append(numbers_BD)
        relations.append(batch.label)
    return {name: torch.cat(parts) for name, parts in found.items()}, torch.cat(relations)


def tell(train_ND: torch.Tensor, relation_N: torch.Tensor, test_ND: torch.Tensor, relations: int) -> torch.Tensor:
    """Train the perceptron; returns its logits (N, relations) for the test pairs."""
    mean, std = train_ND.mean(0), train_ND.std(0) + 1e-6
    net = nn.Sequential(nn.Linear(train_ND.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, relations))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train_ND)).split(BATCH):
            loss = F.cross_entropy(net((train_ND[rows] - mean) / std), relation_N[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return net((test_ND - mean) / std)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, metavar="DATASET", help="written by prepare")
    parser.add_argument("--crop", type=int, default=112, help="side of the clips, pixels")
    parser.add_argument("--pairs", type=int, default=6000, help="for training")
    parser.add_argument("--val-fraction", type=float, default=0.15, help="of the videos")
    parser.add_argument("--relations", default=",".join(RELATIONS), metavar="A,B,…", help="that are told apart")
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="options of the pretext, such as "
                        "shared_base=true")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and perceptron")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    dataset = Dataset(args.data)
    options = load_config(None, [f"relations={args.relations}", *(f"pretext.{word}" for word in args.set)]).pretext
    look = dict(options=options, batch_size=50, crop=args.crop, device="cpu", val_fraction=args.val_fraction)
    with (
        PretextLoader(dataset, split="train", samples_per_epoch=args.pairs, seed=args.seed, **look) as train,
        PretextLoader(dataset, split="val", samples_per_epoch=args.pairs // 4, seed=args.seed + 1, **look) as val,
    ):
        relations = train.pretext.kinds
        (train_of, train_N), (val_of, val_N) = numbers_of_epoch(train), numbers_of_epoch(val)
    found = {}
    for name, train_ND in train_of.items():
        logits_NR = tell(train_ND, train_N, val_of[name], len(relations))
        scores = KindScores(relations, torch.device("cpu"))
        scores.add(logits_NR, val_N, F.cross_entropy(logits_NR, val_N))
        found[name] = {"accuracy": scores.accuracy, "per_relation": scores.per_kind}
    result = {"chance": 1 / len(relations), "samples": len(val_N), "crop": args.crop, "options": vars(options),
              "frame_size": [dataset.frame_height, dataset.frame_width], "found": found}
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"Percent of {len(val_N)} held-out pairs; chance is {result['chance']:.1%}.\n\n"
          f"| from | all | {' | '.join(relations)} |\n|---|--:{'|--:' * len(relations)}|")
    for name, told in found.items():
        cells = ("–" if value is None else f"{100 * value:.0f}" for value in told["per_relation"].values())
        print(f"| {name} | {100 * told['accuracy']:.1f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    run_program(main)
