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

    python -m eruv_dali.prepare --from-pack my_dataset --out smaller --pack video

converts a pack without the original videos.

    DATASET/videos.csv, shots.csv, segments.csv, rejected.csv (with the reason)      see eruv_dali/dataset/opened.py
    DATASET/stats/VIDEO.csv       with --stats: how much every frame differs from the one before it
    DATASET/export/VIDEO.FORMAT   with --export
"""

import argparse

from eruv_dali.console import height_by_width
from eruv_dali.dataset.pack import PACK_KINDS, QUALITY
from eruv_dali.dataset.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.device import DEVICES
from eruv_dali.errors import EruvError, run_program
from eruv_dali.prepare.convert import convert
from eruv_dali.prepare.export import EXPORTS
from eruv_dali.prepare.run import TIME_LIMIT, prepare
from eruv_dali.shots import RULES
from eruv_dali.video.frames import FRAME_SIZE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.prepare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", metavar="VIDEO_OR_DIR", help="video files, or folders of them")
    parser.add_argument("--from-pack", metavar="DATASET", help="in place of videos: a DATASET whose jpeg, raw or video"
                        " pack is converted into --pack")
    parser.add_argument("--out", required=True, metavar="DATASET", help="folder to write")
    unnamed = parser.add_mutually_exclusive_group()
    unnamed.add_argument("--add", action="store_true",
                         help="keep the videos that the DATASET already holds, even if they are not given now")
    unnamed.add_argument("--remove", action="store_true",
                         help="remove videos that the DATASET holds and that are not given or not found now")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--pack", default="video", choices=PACK_KINDS,
                        help="keep a decode-once copy of the frames: video (default, about 1.1 KB per frame),"
                        " jpeg (9 KB), raw (65 KB)")
    parser.add_argument("--quality", type=int, metavar="N",
                        help=f"of the pack: video 0 to 51, lower is better (default {QUALITY['video']}); jpeg 1 to 95 "
                        f"(default {QUALITY['jpeg']})")
    parser.add_argument("--rule", default="robust", choices=RULES, help="how shots are found")
    parser.add_argument("--threshold", type=float, help="on the HOG difference, instead of the rule's own"
                        " (robust 0.06, the others 0.0715); higher finds less")
    parser.add_argument("--segment-length", type=int, default=SEGMENT_LENGTH, help="frames (default %(default)s)")
    parser.add_argument("--min-length", type=int, default=MIN_LENGTH,
                        help="frames; shorter segments are dropped (default %(default)s)")
    parser.add_argument("--frame-size", type=height_by_width, metavar="HxW",
                        help="size of the frames that clips are cropped from (default 128x171)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core; up to 3 on a GPU)")
    parser.add_argument("--time-limit", type=float, default=TIME_LIMIT, metavar="SECONDS",
                        help="give up a video that twice yields no frame for so long (default %(default)g)")
    parser.add_argument("--stats", action="store_true", help="write the differences between frames to stats/VIDEO.csv")
    parser.add_argument("--export", nargs="+", default=[], choices=EXPORTS,
                        help="write each video's shots to export/VIDEO.FORMAT")
    args = parser.parse_args()
    if bool(args.videos) == bool(args.from_pack):
        raise EruvError("give videos, or a DATASET to convert with --from-pack; not both")
    if args.from_pack:
        for option in ("frame_size", "add", "remove"):
            if getattr(args, option):
                raise EruvError(f"--{option.replace('_', '-')} is for videos; --from-pack takes all frames as they are")
        convert(args.from_pack, args.out, pack=args.pack, quality=args.quality, rule=args.rule,
                threshold=args.threshold, segment_length=args.segment_length, min_length=args.min_length,
                workers=args.workers, stats=args.stats, export=args.export)
        return
    prepare(args.videos, args.out, device=args.device, pack=args.pack, rule=args.rule, threshold=args.threshold,
            segment_length=args.segment_length, min_length=args.min_length, frame_size=args.frame_size or FRAME_SIZE,
            quality=args.quality,
            workers=args.workers, time_limit=args.time_limit, stats=args.stats, export=args.export, add=args.add,
            remove=args.remove)


if __name__ == "__main__":
    run_program(main)
