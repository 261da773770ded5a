"""Pictures of what the programs found.

    python -m eruv_dali.visualize shots my_dataset --out shots.html
    python -m eruv_dali.visualize shots my_dataset --video a.mp4 --out a.png --rule robust --threshold 0.08
    python -m eruv_dali.visualize embedding --init none runs/vcop runs/eruv --dataset ucf101 --root UCF-101 \\
        --classes Basketball,YoYo,Diving --samples 300 --out embedding.png
    python -m eruv_dali.visualize attention my_video.mp4 --init none runs/vcop runs/eruv --out attention.png
    python -m eruv_dali.visualize attention my_video.mp4 --init runs/c3d --start 300 --frames 120 --out attention.mp4
    python -m eruv_dali.visualize neighbours runs/c3d_ucf101_retrieval --queries 20 --k 5 --out neighbours.html
    python -m eruv_dali.visualize pairs runs/c3d --out pairs.html
    python -m eruv_dali.visualize training runs/c3d --out training.html

`shots` draws each video's difference curve with its cuts and gradual transitions, and the first, middle and last frame
of every shot: a page that needs no other file (.html), or a picture (.png). --rule and --threshold try other settings
without changing the DATASET.

`embedding` draws clips of a few classes as points on the plane of the two principal components of their pool5
features, one panel per network, and prints the mean distances within and between classes, which it also writes to a
.json file next to the .png.

`attention` draws where the last convolution responds strongly (mean over channels of its square), networks below each
other in a .png, side by side in an .mp4 or .gif.

`neighbours` shows queries of a RUN of retrieve, each with its nearest videos, moving, hits and misses marked, on a page
that needs no other file.

`pairs` shows samples of the held-out videos that a RUN of pretrain is validated on, for ERUV pairs of clips: moving, as
the network sees them, each with what it is, what the network said, and how probable it found that. It can be filtered.

`training` is the report of a RUN of pretrain or finetune, finished, stopped or under way: curves, accuracy of each
relation, confusion, configuration, and the pairs, on one page that needs no other file.
"""

import argparse
from pathlib import Path

from eruv_dali.actions import DATASETS
from eruv_dali.choices import BACKBONES
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import add_device, height_by_width, program
from eruv_dali.shots import RULES

EXAMPLES, *PARAGRAPHS = (__doc__ or "").split("\n\n")[1:]


def words_of(name: str) -> str:
    """The examples and the explanation of one kind, out of the docstring of this module."""
    lines = EXAMPLES.replace("\\\n", "\0").splitlines()
    examples = [line.replace("\0", "\\\n") for line in lines if f"visualize {name} " in line]
    return "\n\n".join(["\n".join(examples), *(text for text in PARAGRAPHS if text.startswith(f"`{name}`"))])


def main() -> None:
    parser = program("visualize", __doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)

    def add_kind(name: str, draw, words: str, ends: str) -> argparse.ArgumentParser:
        kind = kinds.add_parser(name, help=words, description=words_of(name))
        kind.add_argument("--out", type=Path, required=True, metavar="FILE", help=f"file to write: {ends}")
        kind.set_defaults(draw=draw)
        return kind

    shots = add_kind("shots", _shots, "difference curve, cuts and contact sheet of prepared videos", ".html or .png")
    shots.add_argument("dataset", metavar="DATASET", help="folder made by eruv_dali.prepare")
    shots.add_argument("--video", nargs="+", metavar="NAME", help="videos as named in videos.csv (default all)")
    shots.add_argument("--rule", choices=RULES, help="instead of the one the DATASET was made with")
    shots.add_argument("--threshold", type=float, help="instead of the rule's own")

    embedding = add_kind("embedding", _embedding, "clips of a few classes as points on a plane", ".png")
    embedding.add_argument("--dataset", required=True, choices=DATASETS, help="folder: one folder per class")
    embedding.add_argument("--root", required=True, type=Path, metavar="DIR", help="the folder of class folders")
    embedding.add_argument("--classes", required=True, metavar="A,B,C", help="names of class folders")
    embedding.add_argument("--samples", type=int, default=300, help="clips, over all classes (default %(default)s)")
    embedding.add_argument("--batch-size", type=int, default=16, help="clips (default %(default)s)")

    attention = add_kind("attention", _attention, "where in a video the network responds strongly", ".png, .mp4, .gif")
    attention.add_argument("video", type=Path, metavar="VIDEO", help="video file")
    attention.add_argument("--start", type=int, default=0, help="first frame (default %(default)s)")
    attention.add_argument("--frames", type=int, default=64, help="how many (default %(default)s)")
    attention.add_argument("--power", type=float, default=2, help="p of |A|^p (default %(default)s)")

    neighbours = add_kind("neighbours", _neighbours, "queries of retrieve and what they found", ".html")
    neighbours.add_argument("run", type=Path, metavar="RUN", help="folder that eruv_dali.retrieve wrote; with several "
                            "splits, one of its RUN/split_N")
    neighbours.add_argument("--queries", type=int, default=20, help="how many, spread over all (default %(default)s)")
    neighbours.add_argument("--k", type=int, default=5, help="neighbours of each, at most 10 (default %(default)s)")

    pairs = add_kind("pairs", _pairs, "held-out samples and what the network said about them", ".html")
    training = add_kind("training", _training, "the report of a run: curves, confusion, pairs", ".html")
    for kind, what in ((pairs, "pretrain"), (training, "pretrain or finetune")):
        kind.add_argument("run", type=Path, metavar="RUN", help=f"folder that eruv_dali.{what} writes")
        kind.add_argument("--samples", type=int, default=48, help="how many of the held-out samples, from the first on"
                          + "; 0: without them" * (kind is training))
        kind.add_argument("--data", metavar="DATASET", help="where the DATASET of the run lies (default where it lay)")
        add_device(kind)

    for kind in (embedding, attention):
        kind.add_argument("--init", required=True, nargs="+", metavar="CKPT", help="RUNs or checkpoints of pretrain; "
                          "none: random weights, in a network like the first checkpoint's")
        kind.add_argument("--backbone", choices=BACKBONES, help="of the random network (default a checkpoint's, c3d)")
        kind.add_argument("--width", type=int, help="of the random network (default a checkpoint's, 64)")
        kind.add_argument("--crop", type=int, help="pixels (default as in the checkpoint's RUN, else 112)")
        kind.add_argument("--frame-size", type=height_by_width, metavar="HxW", help="of the frames that are cropped "
                          "(default as in the checkpoint's RUN, else 128x171)")
        kind.add_argument("--seed", type=int, default=0, help="of random weights and samples (default %(default)s)")
        add_device(kind)
    args = parser.parse_args()
    if not args.out.parent.is_dir():
        raise EruvError(f"{args.out.parent}: no such folder; --out names a file to write")
    args.draw(args)
    print(args.out)


def _shots(args: argparse.Namespace) -> None:
    from eruv_dali.prepare.shot_page import draw_shots

    draw_shots(args.dataset, args.out, names=args.video, rule=args.rule, threshold=args.threshold)


def _networks(args: argparse.Namespace) -> list:
    from eruv_dali.visualize.networks import load_networks

    return load_networks(args.init, backbone=args.backbone, width=args.width, crop=args.crop,
                         frame_size=args.frame_size, seed=args.seed)


def _embedding(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.embedding import draw_embedding, labelled_videos

    classes = list(dict.fromkeys(name.strip() for name in args.classes.split(",")))
    videos = labelled_videos(args.dataset, args.root, classes)
    found = draw_embedding(_networks(args), videos, classes, args.out, samples=args.samples, seed=args.seed,
                           batch_size=args.batch_size, device=args.device)
    for network in found:
        distances = network["pool5"]
        print(f"{network['name']} ({network['backbone']}): within classes {distances['intra']:.4g}, between "
              f"{distances['inter']:.4g}, ratio {distances['ratio']:.3f}")


def _attention(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.attention import draw_attention

    draw_attention(_networks(args), args.video, args.out, start=args.start, frames=args.frames, p=args.power,
                   device=args.device)


def _neighbours(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.neighbours import draw_neighbours

    draw_neighbours(args.run, args.out, queries=args.queries, k=args.k)


def _pairs(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.pairs import draw_pairs

    draw_pairs(args.run, args.out, samples=args.samples, data=args.data, device=args.device)


def _training(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.training import draw_training

    draw_training(args.run, args.out, samples=args.samples, data=args.data, device=args.device)


if __name__ == "__main__":
    run_program(main)
