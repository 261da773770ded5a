"""Pictures of what the programs found.

    python -m eruv_dali.visualize shots my_dataset --out shots.html
    python -m eruv_dali.visualize shots my_dataset --video a.mp4 --out a.png --rule robust --threshold 0.08
    python -m eruv_dali.visualize neighbours runs/c3d_retrieval --out neighbours.html --queries 20 --k 5
    python -m eruv_dali.visualize attention video.mp4 --init runs/c3d runs/r3d none --out strip.png
    python -m eruv_dali.visualize attention video.mp4 --init runs/c3d --out attention.mp4
    python -m eruv_dali.visualize embedding --dataset folder --root my_actions --classes run,jump,wave \\
        --init runs/c3d none --out embedding.png

shots       each video's difference curve with its cuts and gradual transitions, and the first, middle and last frame of
            every shot: a page that needs no other file (.html), or a picture (.png). --rule and --threshold try other
            settings without writing anything to the DATASET.
neighbours  a page of queries and the videos that `retrieve` found most alike them, moving, hit or miss marked.
attention   where in a video's frames the last convolution is excited: a strip (.png), or in motion (.gif, .mp4).
embedding   clips of some classes on the two main axes of their pool5 features, networks side by side, and how far
            clips of one class and of two lie apart (.png, with the figures in a .json beside it).
"""

import argparse
import logging
from pathlib import Path

from eruv_dali.device import DEVICES
from eruv_dali.errors import EruvError, run_program
from eruv_dali.shots import RULES


def main() -> None:
    logging.basicConfig(format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.visualize", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)

    def kind(name: str, summary: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=summary, description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
        added.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
        return added

    shots = kind("shots", "difference curve, cuts and contact sheet of prepared videos")
    shots.add_argument("dataset", type=Path, metavar="DATASET", help="folder made by eruv_dali.prepare")
    shots.add_argument("--video", nargs="+", metavar="NAME", help="videos as named in videos.csv (default: all)")
    shots.add_argument("--rule", choices=RULES, help="in place of the one the DATASET was made with")
    shots.add_argument("--threshold", type=float, help="in place of the rule's own")

    neighbours = kind("neighbours", "queries and the videos found most alike them")
    neighbours.add_argument("run", type=Path, metavar="RUN", help="folder that eruv_dali.retrieve wrote")
    neighbours.add_argument("--queries", type=int, default=12, help="how many are shown (default: 12)")
    neighbours.add_argument("--k", type=int, default=5, help="neighbours of each, up to 10 (default: 5)")

    attention = kind("attention", "where the last convolution is excited")
    attention.add_argument("video", type=Path, metavar="VIDEO")
    attention.add_argument("--start", type=int, help="first frame of the strip (default: the clip in the middle)")

    embedding = kind("embedding", "clips of some classes on the main axes of their features")
    embedding.add_argument("--dataset", required=True, choices=("ucf101", "hmdb51", "folder"))
    embedding.add_argument("--root", type=Path, required=True, metavar="DIR")
    embedding.add_argument("--splits", type=Path, metavar="DIR", help="official split files")
    embedding.add_argument("--split", type=int, default=1, help="its test videos are shown (default: 1)")
    embedding.add_argument("--classes", metavar="A,B,C", help="default: the first three")
    embedding.add_argument("--samples", type=int, default=300, help="clips in all (default: 300)")
    embedding.add_argument("--device", choices=DEVICES, default="auto")

    for of_networks in (attention, embedding):
        of_networks.add_argument("--init", nargs="+", required=True, metavar="CKPT", help="RUN folders, backbone.pt, "
                                 "best.pt or last.pt; none: random weights like those of the first")
    args = parser.parse_args()
    if not args.out.parent.is_dir():
        raise EruvError(f"{args.out.parent}: no such folder; --out names a file to write")
    {"shots": _shots, "neighbours": _neighbours, "attention": _attention, "embedding": _embedding}[args.kind](args)
    print(args.out)


# Each imports what it alone needs: matplotlib and PyTorch take a second to load.


def _shots(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.shots import draw_shots

    draw_shots(args.dataset, args.out, names=args.video, rule=args.rule, threshold=args.threshold)


def _neighbours(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.neighbours import draw_neighbours

    shown, hits = draw_neighbours(args.run, args.out, queries=args.queries, k=args.k)
    print(f"{shown} queries, {hits} with a hit among their {args.k} nearest")


def _attention(args: argparse.Namespace) -> None:
    from eruv_dali.visualize.attention import draw_attention

    draw_attention(args.video, _networks(args.init), args.out, start=args.start)


def _embedding(args: argparse.Namespace) -> None:
    from eruv_dali.actions import read_split
    from eruv_dali.visualize.embedding import draw_embedding

    split = read_split(args.dataset, args.root, splits=args.splits, split=args.split)
    classes = args.classes.split(",") if args.classes else None
    for net in draw_embedding(split, _networks(args.init), args.out, classes=classes, samples=args.samples,
                              device=args.device):
        print(f"{net['init']}: {net['samples']} clips, mean distance within a class {net['intra']:.3f}, between "
              f"classes {net['inter']:.3f}: × {net['ratio']:.2f}")


def _networks(inits: list[str]) -> list:
    """The networks; random ones are built like the first that is not, and see what it sees."""
    from eruv_dali.models import build_backbone
    from eruv_dali.pretrained import NONE, load_pretrained

    trained = next((load_pretrained(init) for init in inits if init != NONE), None)
    networks = []
    for init in inits:
        net = load_pretrained(init)
        if init == NONE and trained:
            net = trained._replace(backbone=build_backbone(trained.backbone.name, width=trained.backbone.width),
                                   init=NONE)
        networks.append(net)
    return networks


if __name__ == "__main__":
    run_program(main)
