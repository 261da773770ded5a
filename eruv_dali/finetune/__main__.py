"""Recognise actions in labelled videos with a pre-trained network (Table IV), or with a random one for comparison.

    python -m eruv_dali.finetune --dataset ucf101 --root UCF-101 --splits ucfTrainTestlist --split 1 2 3 \\
        --init runs/c3d --out runs/c3d_ucf101
    python -m eruv_dali.finetune --dataset hmdb51 --root hmdb51_org --init none --backbone r3d --out runs/random_hmdb51
    python -m eruv_dali.finetune --dataset folder --root my_actions --groups '/([a-z]+)_' --leave-one-out \\
        --init runs/c3d --freeze --out runs/c3d_probe
    torchrun --nproc-per-node 8 -m eruv_dali.finetune --dataset ucf101 --root UCF-101 --init runs/c3d --out runs/c3d_u

All layers are trained, the best epoch on a held-out part of the training list is kept, and the prediction for each test
video is the mean over 10 clips. --freeze trains a linear classifier on the unchanged features, --knn K classifies by a
vote of the K most similar training videos; neither takes long. --init none is the random baseline: other weights, the
rest is the same.

The videos are prepared once, into a folder dataset_… next to RUN that the next run there finds again. Writes into RUN
result.json (fractions of 1: top1, top5, per_class, confusion, per_split) and confusion.png. If all layers are trained,
also writes for each split (with several, in RUN/split_N): metrics.jsonl, best.pt, backbone.pt with its config.yaml, and
last.pt, from which --resume continues. Ctrl-C and SIGTERM save before they end the run. Under torchrun each process
takes its own batch and the learning rate is multiplied by their number.
"""

import argparse
import logging
from collections.abc import Sequence

from eruv_dali.actions.arguments import add_network_arguments, add_split_arguments
from eruv_dali.errors import run_program
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.options import add_quiet, program


def main(words: Sequence[str] | None = None) -> None:
    """Run the program with these words, by default those of the command line."""
    logging.basicConfig(format="%(message)s")
    args = build_parser().parse_args(words)
    from eruv_dali.finetune.program import run  # PyTorch takes seconds, and --help need not wait for it

    run(args)


def build_parser() -> argparse.ArgumentParser:
    """The words that this program takes."""
    parser = program("finetune", __doc__)
    add_split_arguments(parser)
    add_network_arguments(parser)
    training = parser.add_argument_group("training")
    how = training.add_mutually_exclusive_group()
    how.add_argument("--freeze", action="store_true", help="train only a linear classifier, on fixed features")
    how.add_argument("--knn", type=int, metavar="K", help="train nothing: the K most similar training videos vote")
    training.add_argument("--epochs", type=int, help=f"passes over the training videos (default {Recipe.epochs})")
    training.add_argument("--lr", type=float, help=f"learning rate (default {Recipe.lr})")
    training.add_argument("--weight-decay", type=float, help=f"weight decay (default {Recipe.weight_decay})")
    training.add_argument("--layer-rate", type=float, metavar="R", help="each layer of the backbone learns at R times "
                          "the rate of the one above it, from the head down (default "
                          f"{Recipe.layer_rate}: all at --lr)")
    training.add_argument("--rescale", action=argparse.BooleanOptionalAction, default=False, help="begin with "
                          "convolutions as large as a fresh network's, BatchNorm with them: the same function, but "
                          "weights that grew in pre-training can be turned again (default --no-rescale)")
    training.add_argument("--val-fraction", type=float, default=0.1, help="of the training videos, held out to choose "
                          "the epoch (or --freeze's penalty); 0 takes the last (default %(default)s)")
    training.add_argument("--resume", action="store_true", help="go on with the run in RUN")
    add_quiet(parser)
    return parser


if __name__ == "__main__":
    run_program(main)
