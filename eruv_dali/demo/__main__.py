"""Write four small drawn videos, which ship with this package, into a folder: something to try the programs on.

    python -m eruv_dali.demo --out my_videos
    python -m eruv_dali.prepare my_videos/ --out my_dataset

Each lasts some 15 seconds and has four shots with hard cuts between them. Files of the same names are written again.
"""

from functools import partial
from pathlib import Path
from typing import BinaryIO

from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_aside
from eruv_dali.options import program

VIDEOS = Path(__file__).parent / "videos"  # the first four films of the demo corpus, at 192x144, x264's rate factor 36


def main() -> None:
    parser = program("demo", __doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    args = parser.parse_args()
    if args.out.exists() and not args.out.is_dir():
        raise EruvError(f"{args.out}: is a file; --out names a folder")
    args.out.mkdir(parents=True, exist_ok=True)
    for video in sorted(VIDEOS.glob("*.mp4")):
        write_aside(args.out / video.name, partial(_copy, video))
        print(args.out / video.name)


def _copy(video: Path, file: BinaryIO) -> None:
    file.write(video.read_bytes())


if __name__ == "__main__":
    run_program(main)
