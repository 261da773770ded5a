"""Pictures of what the programs found.

    python -m eruv_dali.visualize shots my_dataset --out shots.html
    python -m eruv_dali.visualize shots my_dataset --video a.mp4 --out a.png --rule robust --threshold 0.08

`shots` draws each video's difference curve with its cuts and gradual transitions, and the first, middle and last frame
of every shot: a page that needs no other file (.html), or a picture (.png). --rule and --threshold try other settings
without writing anything to the DATASET.
"""

import argparse
from pathlib import Path

from eruv_dali.errors import EruvError, run_program
from eruv_dali.shots import RULES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.visualize", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    shots = kinds.add_parser("shots", help="difference curve, cuts and contact sheet of prepared videos",
                             description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shots.add_argument("dataset", type=Path, metavar="DATASET", help="folder made by eruv_dali.prepare")
    shots.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write: .html or .png")
    shots.add_argument("--video", nargs="+", metavar="NAME", help="videos as named in videos.csv (default: all)")
    shots.add_argument("--rule", choices=RULES, help="in place of the one the DATASET was made with")
    shots.add_argument("--threshold", type=float, help="in place of the rule's own")
    args = parser.parse_args()

    from eruv_dali.visualize.shots import draw_shots

    if not args.out.parent.is_dir():
        raise EruvError(f"{args.out.parent}: no such folder; --out names a file to write")
    draw_shots(args.dataset, args.out, names=args.video, rule=args.rule, threshold=args.threshold)
    print(args.out)


if __name__ == "__main__":
    run_program(main)
