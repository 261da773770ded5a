"""Pre-train a 3D CNN on raw, unlabelled videos by classifying the relation between two clips.

    python -m eruv_dali.pretrain                                          a demo on videos that it draws itself
    python -m eruv_dali.pretrain --videos my_videos/                      prepares the videos first, then trains
    python -m eruv_dali.pretrain --config configs/thumos14_c3d.yaml --data my_dataset --out runs/c3d
    python -m eruv_dali.pretrain --out runs/c3d --resume
    python -m eruv_dali.pretrain --data my_dataset model.backbone=r3d optim.epochs=50 optim.lr=0.02
    torchrun --nproc-per-node 8 -m eruv_dali.pretrain --data my_dataset --out runs/c3d

Writes a RUN folder: config.yaml, metrics.jsonl, last.pt, best.pt, backbone.pt, result.json, curves.png, confusion.png.
Ctrl-C and SIGTERM save before they end the run; --resume then continues exactly where it stopped. Under torchrun each
process takes data.batch_size pairs and optim.lr is multiplied by their number (optim.lr_rule); if torchrun restarts it,
a run continues from its last checkpoint.
"""

import logging

from eruv_dali.errors import run_program
from eruv_dali.options import add_device, add_quiet, program


def main() -> None:
    logging.basicConfig(format="%(message)s")
    parser = program("pretrain", __doc__)
    parser.add_argument("--config", metavar="FILE", help="YAML file, or the name of one in configs/")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="DATASET", help="folder that eruv_dali.prepare wrote, or its copy's URL")
    source.add_argument("--videos", metavar="PATH", nargs="+", help="video files or folders, prepared on the first run")
    add_device(parser, of_configuration=True)
    parser.add_argument("--out", metavar="RUN", help="folder to write (default runs/001, runs/002, …)")
    parser.add_argument("--resume", action="store_true", help="continue from RUN/last.pt")
    add_quiet(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration, such as optim.epochs=3")
    args = parser.parse_intermixed_args()
    from eruv_dali.pretrain.program import run  # PyTorch takes seconds, and --help need not wait for it

    run(args)


if __name__ == "__main__":
    run_program(main)
