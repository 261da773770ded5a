"""Prepare raw videos for pre-training: decode each once, find its shots, cut them into segments, write a DATASET.

    python -m eruv_dali.prepare my_videos/ --out my_dataset

As a shot detector alone, with an edit list and a web page for every video:

    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack none --export edl html
    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack none --export edl html --threshold 0.08

The second run decodes nothing: the differences between frames are stored. Run again on the same DATASET, it processes
only what is new or changed; killed at any moment, it continues where it was. Each video is one transaction: a file
in DATASET/records. The tables are made from the records at the end.

    python -m eruv_dali.prepare more_videos/ --out my_dataset --add

adds to what the DATASET holds. Without --add the DATASET should hold exactly the given videos; if it holds others,
nothing is changed unless --remove is given, which removes them.

    python -m eruv_dali.prepare my_videos/ --out my_dataset --dry-run

says what would be decoded, and about how much time and disk that takes.

    python -m eruv_dali.prepare --from-pack my_dataset --out smaller --pack video

converts a pack without the original videos.

On several machines that share a file system, each run takes a part, for example as the tasks of a Slurm array job; when
all have ended, --merge makes the tables, or says what is missing and which shards to run again:

    sbatch --array=0-15 --wrap "python -m eruv_dali.prepare my_videos/ --out my_dataset --shard slurm"
    python -m eruv_dali.prepare my_videos/ --out my_dataset --merge

On a Ray cluster, from one of its nodes:

    python -m eruv_dali.prepare my_videos/ --out my_dataset --ray auto

    DATASET/videos.csv, shots.csv, segments.csv, rejected.csv (with the reason)      see eruv_dali/dataset/opened.py
    DATASET/stats/VIDEO.csv       with --stats: how much every frame differs from the one before it
    DATASET/export/VIDEO.FORMAT   with --export
    DATASET/split/VIDEO/, images/VIDEO/   with --split and --save-images

A run without --stats, --export, --split or --save-images deletes what an earlier run wrote for that option: it may be
of other shots.
"""

import argparse
import codecs
import math
import os
import sys
from typing import BinaryIO

from eruv_dali.console import console
from eruv_dali.dataset.pack import PACK_KINDS, QUALITY
from eruv_dali.dataset.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import add_device, height_by_width, program
from eruv_dali.prepare.convert import convert
from eruv_dali.prepare.dry_run import report
from eruv_dali.prepare.export import EXPORTS
from eruv_dali.prepare.option_file import parse_with_file
from eruv_dali.prepare.order import TIME_LIMIT
from eruv_dali.prepare.run import forecast, prepare
from eruv_dali.prepare.shards import merge_shards, named_shard, prepare_shard
from eruv_dali.shots import RULES
from eruv_dali.shots.rules import MIN_SHOT
from eruv_dali.video.frames import FRAME_SIZE


def main() -> None:
    parser = program("prepare", __doc__)
    remade = "a run without this option deletes them"
    parser.add_argument("videos", nargs="*", metavar="VIDEO_OR_DIR", help="video files, tars, or folders of them; or"
                        " their URLs (s3://…, https://…); - takes a list of them from standard input")
    parser.add_argument("--from-pack", metavar="DATASET", help="in place of videos: a DATASET whose jpeg, raw or video"
                        " pack is converted into --pack; videos are cut as there unless said otherwise, and edits of"
                        " its tables are not taken over")
    parser.add_argument("--out", required=True, metavar="DATASET", help="folder to write")
    unnamed = parser.add_mutually_exclusive_group()
    unnamed.add_argument("--add", action="store_true",
                         help="keep the videos that the DATASET already holds, even if they are not given now")
    unnamed.add_argument("--remove", action="store_true",
                         help="remove videos that the DATASET holds and that are not given or not found now")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--shard", metavar="I/N", help="scan only part I of N, from 0 to N-1, next to runs that scan the"
                      " others; slurm: the task of the array job that this is, of all its tasks")
    part.add_argument("--merge", action="store_true",
                      help="make the tables of a DATASET whose shards have ended; with the same videos and settings")
    part.add_argument("--ray", metavar="CLUSTER", help="work on all nodes of a Ray cluster that share a file system:"
                      " auto (the one that this node is of), local (a new one of this machine alone) or HOST:PORT;"
                      " pip install 'eruv_dali[ray]'")
    add_device(parser)
    parser.add_argument("--pack", default="video", choices=PACK_KINDS,
                        help="keep a decode-once copy of the frames: video (default, about 1.1 KB per frame),"
                        " jpeg (9 KB), raw (65 KB)")
    parser.add_argument("--quality", type=int, metavar="N",
                        help=f"of the pack: video 0 to 51, lower is better (default {QUALITY['video']}); jpeg 1 to 95 "
                        f"(default {QUALITY['jpeg']})")
    parser.add_argument("--rule", choices=RULES,
                        help="how shots are found: robust, our own, a network that sees dissolves,"
                        " fades and wipes, and through flashes; untrimmednets, that of the code the paper follows;"
                        " threshold, the paper's text alone")
    parser.add_argument("--threshold", type=float, help="instead of the rule's own: robust 0.06, of the"
                        " evidence of its network; the others 0.0715, of the HOG difference; higher finds less")
    parser.add_argument("--segment-length", type=int, help=f"frames (default {SEGMENT_LENGTH})")
    parser.add_argument("--min-length", type=int,
                        help=f"frames; shorter segments are dropped (default {MIN_LENGTH})")
    parser.add_argument("--frame-size", type=height_by_width, metavar="HxW",
                        help="size of the frames that clips are cropped from (default 128x171)")
    parser.add_argument("--workers", type=int, help="processes (default one per core; up to 3 on a GPU; on Ray twice"
                        " the cluster's cores, so that some wait)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS",
                        help=f"give up a video that twice yields no frame for so long (default {TIME_LIMIT:g})")
    parser.add_argument("--stats", action="store_true", help="write the differences between frames to stats/VIDEO.csv; "
                        + remade)
    parser.add_argument("--min-shot", type=int, metavar="FRAMES",
                        help="fewest frames of a shot; of transitions nearer together the strongest counts (default "
                        f"{MIN_SHOT} with robust, 1 with the others)")
    parser.add_argument("--start", type=clock_time, metavar="TIME", help="keep only shots from this time of each video "
                        "on: seconds, M:S or H:M:S")
    parser.add_argument("--end", type=clock_time, metavar="TIME", help="... up to this time")
    parser.add_argument("--split", action="store_true",
                        help="write each shot to split/VIDEO/SHOT.mp4: copied where it lies between key frames, else "
                        "encoded; " + remade)
    parser.add_argument("--save-images", type=int, default=0, metavar="N",
                        help="write N frames of each shot, full size, to images/VIDEO/SHOT-frame-FRAME.jpg; " + remade)
    parser.add_argument("--json-lines", action="store_true", help="print each shot as a line of JSON")
    parser.add_argument("--export", nargs="+", default=[], choices=EXPORTS,
                        help="write each video's shots to export/VIDEO.FORMAT; " + remade)
    parser.add_argument("--dry-run", action="store_true", help="write nothing: say which videos would be decoded, and "
                        "about how much time and disk that takes")
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong: no progress, no summary")
    args = parse_with_file(parser)
    console.quiet = args.quiet
    if "-" in args.videos and sys.stdin is None:
        raise EruvError("-: standard input is closed; pipe a list of videos into this program, one a line")
    args.videos = [path for given in args.videos for path in (listed(sys.stdin.buffer) if given == "-" else [given])]
    if bool(args.videos) == bool(args.from_pack):
        raise EruvError("give videos, or a DATASET to convert with --from-pack; not both")
    if args.from_pack:
        for option in ("frame_size", "add", "remove", "shard", "merge", "ray", "dry_run", "min_shot", "start", "end",
                       "split", "save_images", "json_lines", "time_limit", "device"):
            value = getattr(args, option)
            if value not in (None, False, "auto") or isinstance(value, float):  # a time of 0 is given, too
                raise EruvError(f"--{option.replace('_', '-')} is for videos; --from-pack takes all frames as they are")
        convert(args.from_pack, args.out, pack=args.pack, quality=args.quality, rule=args.rule,
                threshold=args.threshold, segment_length=args.segment_length, min_length=args.min_length,
                workers=args.workers, stats=args.stats, export=args.export)
        return
    options = dict(
        device=args.device, pack=args.pack, rule=args.rule or "robust", threshold=args.threshold,
        segment_length=SEGMENT_LENGTH if args.segment_length is None else args.segment_length,
        min_length=MIN_LENGTH if args.min_length is None else args.min_length,
        frame_size=args.frame_size or FRAME_SIZE, quality=args.quality, workers=args.workers,
        time_limit=TIME_LIMIT if args.time_limit is None else args.time_limit, stats=args.stats, export=args.export,
        add=args.add, remove=args.remove, ray=args.ray, min_shot=args.min_shot, start=args.start, end=args.end,
        split=args.split, images=args.save_images, print_shots=args.json_lines)
    if args.dry_run:
        for option in ("shard", "merge", "ray"):
            if getattr(args, option):
                raise EruvError(f"--dry-run says what one run of this machine would do; leave out --{option}")
        print(report(forecast(args.videos, args.out, **options), args.out))
    elif args.shard:
        prepare_shard(args.videos, args.out, named_shard(args.shard, os.environ), **options)
    else:
        (merge_shards if args.merge else prepare)(args.videos, args.out, **options)


def listed(lines: BinaryIO) -> list[str]:
    """Paths from a list: one a line, as editors of any system write lines, or, if it holds a zero byte, as `find
    -print0` ends them."""
    text = lines.read()
    names = text.split(b"\0") if b"\0" in text else (
        line.removesuffix(b"\r") for line in text.removeprefix(codecs.BOM_UTF8).split(b"\n"))
    paths = [os.fsdecode(name) for name in names if name.strip()]
    if not paths:
        raise EruvError("-: no paths came on standard input; pipe a list of videos into this program, one a line")
    return paths


def clock_time(text: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30.0", for argparse."""
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or min(values) < 0 or max(values[1:], default=0) >= 60 or not math.isfinite(values[0]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 90, 1:30 or 0:01:30.5")
    return sum(value * 60**place for place, value in enumerate(reversed(values)))


if __name__ == "__main__":
    run_program(main)
