"""Which pretext serves your videos: pre-train with each on the same videos, and compare what the networks are good for.

    python -m eruv_dali.compare --pretexts eruv,vcop,none --data my_dataset --clips 200000 \\
        --labelled ucf101 --root UCF-101 --splits ucfTrainTestlist --out runs/compared
    python -m eruv_dali.compare --pretexts eruv,vcop,none --data my_dataset --clips 20000 --seeds 0 1 2 3 4 \\
        --labelled folder --root my_actions --groups '/([a-z]+)_' --evaluate retrieval,knn,probe \\
        --out runs/compared model.backbone=r3d model.width=16 vcop.pretext.gap=4

Each network sees the same number of clips (--clips): the number of steps follows from the clips of a sample that it
sees and the samples in a batch. `none` is the network without pre-training: random weights, the same ones that the
pre-training of the same seed begins with. The networks are evaluated on labelled videos by retrieval, a vote of the
nearest neighbours, a linear probe and fine-tuning of all layers, as by retrieve and finetune.

A pretext's configuration is configs/NAME_c3d.yaml, else its default options; `key=value` sets a key for all,
`NAME.key=value` for one. With networks of several kinds each kind has a `none` of its own, whose folders are then
called none_DIGEST. Videos count as untrimmed unless data.trimmed=true.

FOLDER holds a RUN for each pre-training and evaluation, and compare.html, compare.md, compare.csv, compare.png: mean,
sample deviation and 95 % confidence interval (Student's t) over the seeds, the gain over random weights, and what the
paper reports. They are written anew after every seed. If stopped at any moment, the same command continues: finished
pieces are not repeated, an unfinished one is resumed; more pretexts, seeds and measures may be added.
"""

import argparse
import logging
from pathlib import Path

from eruv_dali.actions.arguments import add_split_arguments
from eruv_dali.choices import MEASURES
from eruv_dali.errors import run_program
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.options import add_device, add_quiet, program


def main() -> None:
    logging.basicConfig(format="%(message)s")
    args = build_parser().parse_intermixed_args()
    from eruv_dali.compare.program import run  # PyTorch takes seconds, and --help need not wait for it

    run(args)


def build_parser() -> argparse.ArgumentParser:
    """The words that this program takes."""
    parser = program("compare", __doc__)
    parser.add_argument("values", nargs="*", metavar="[NAME.]key=value", help="configuration of the pre-trainings")
    parser.add_argument("--pretexts", required=True, metavar="A,B,…", help="pretexts, and none: random weights")
    parser.add_argument("--data", required=True, metavar="DATASET",
                        help="folder that eruv_dali.prepare wrote, or its copy's URL")
    parser.add_argument("--clips", required=True, type=int, metavar="N", help="clips that each network is pre-trained "
                        "on (the last batch may exceed it)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N",
                        help="one pre-training for each")
    parser.add_argument("--evaluate", default=",".join(MEASURES), metavar="A,B,…", help="measures")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder of the runs and the table")
    add_device(parser, of_configuration=True)
    add_quiet(parser)
    add_split_arguments(parser, "--labelled")
    how = parser.add_argument_group("evaluation")
    how.add_argument("--test-clips", type=int, default=10, help="clips per video (default %(default)s)")
    how.add_argument("--test-crop", type=int, help="pixels, of the clips in evaluation (default data.crop, "
                     "which for puzzles is the side of a piece)")
    how.add_argument("--batch-size", type=int, default=8, help="clips (default %(default)s)")
    how.add_argument("--knn", type=int, default=5, metavar="K", help="neighbours that vote (default %(default)s)")
    how.add_argument("--val-fraction", type=float, default=0.1, help="of the training videos, held out to choose "
                     "fine-tuning's epoch and the probe's penalty (default %(default)s)")
    how.add_argument("--finetune-epochs", type=int, default=Recipe.epochs, help="passes over the training videos")
    how.add_argument("--finetune-lr", type=float, default=Recipe.lr, help="learning rate of fine-tuning")
    how.add_argument("--finetune-weight-decay", type=float, default=Recipe.weight_decay,
                     help="weight decay of fine-tuning")
    return parser


if __name__ == "__main__":
    run_program(main)
