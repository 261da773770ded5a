"""Is there enough motion in these videos to learn from? What the amount of change between frames alone reveals.

    python benchmarks/motion.py --data my_dataset --crop 112

From each clip only the mean absolute difference between frames 1, 2, 4 and 8 apart is used: its mean, deviation
and maximum over the clip; from a pair, also the difference of mean colours. A small perceptron learns to classify the
relation from these numbers. A relation that it recognises on held-out videos leaves a trace that any network could
find; if PD (disordered) and PS (sped up) stay near chance, the videos hardly move. Needs no GPU, takes a minute.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.errors import run_program
from eruv_dali.pretext.eruv import RELATIONS
from eruv_dali.train.kind_scores import KindScores

APART = (1, 2, 4, 8)  # frames
DARK = 1e-5  # added before logarithms
EPOCHS, BATCH, HIDDEN = 60, 128, 64


def change(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """(B, 12): logarithms of mean, deviation and maximum over time of the change between frames 1, 2, 4, 8 apart."""
    found = []
    for apart in APART:
        change_BT = (clips_BCTHW[:, :, apart:] - clips_BCTHW[:, :, :-apart]).abs().mean((1, 3, 4))
        found += [change_BT.mean(1), change_BT.std(1), change_BT.amax(1)]
    return (torch.stack(found, 1) + DARK).log()


def pair_numbers(loader: RelationLoader) -> tuple[torch.Tensor, torch.Tensor]:
    """The perceptron's inputs for an epoch's pairs, (N, 37), and their relations (N,)."""
    numbers, relations = [], []
    for batch in loader:
        first, second = (change(batch.clips[:, k]) for k in (0, 1))
        colour_BC = (batch.clips[:, 0] - batch.clips[:, 1]).mean((2, 3, 4))
        colour = (colour_BC.abs().mean(1, keepdim=True) + DARK).log()
        numbers.append(torch.cat([first, second, second - first, colour], 1))
        relations.append(batch.relation)
    return torch.cat(numbers), torch.cat(relations)


def tell(train: tuple[torch.Tensor, torch.Tensor], test_ND: torch.Tensor, relations: int) -> torch.Tensor:
    """Train the perceptron; returns its logits (N, relations) for the test pairs."""
    train_ND, relation_N = train
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, metavar="DATASET", help="written by prepare")
    parser.add_argument("--crop", type=int, default=112, help="pixels (default %(default)s)")
    parser.add_argument("--pairs", type=int, default=6000, help="for training (default %(default)s)")
    parser.add_argument("--val-fraction", type=float, default=0.15, help="of the videos (default %(default)s)")
    parser.add_argument("--relations", default=",".join(RELATIONS), help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    dataset, relations = Dataset(args.data), args.relations.split(",")
    look = dict(batch_size=50, crop=args.crop, device="cpu", relations=relations, val_fraction=args.val_fraction)
    with (
        RelationLoader(dataset, split="train", pairs_per_epoch=args.pairs, seed=args.seed, **look) as train,
        RelationLoader(dataset, split="val", pairs_per_epoch=args.pairs // 4, seed=args.seed + 1, **look) as val,
    ):
        val_ND, relation_N = pair_numbers(val)
        logits_NR = tell(pair_numbers(train), val_ND, len(relations))
    scores = KindScores(relations, torch.device("cpu"))
    scores.add(logits_NR, relation_N, F.cross_entropy(logits_NR, relation_N))
    result = {"accuracy": scores.accuracy, "chance": 1 / len(relations), "per_relation": scores.per_kind,
              "samples": scores.count, "crop": args.crop, "frame_size": [dataset.frame_height, dataset.frame_width]}
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"from the amount of change alone: {scores.accuracy:.1%} (chance {result['chance']:.1%}); "
          + " ".join(f"{name} {value:.0%}" for name, value in scores.per_kind.items() if value is not None))


if __name__ == "__main__":
    run_program(main)
