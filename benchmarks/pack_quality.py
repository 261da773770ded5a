"""What a pack costs: bytes a frame, its error against the resized frame, and the time to encode and to decode a frame.

    python benchmarks/pack_quality.py --videos my_videos/ --json benchmarks/results/pack_quality.json

Every frame of every video, for each kind of pack as `prepare` writes it, and for a video pack with one setting changed
at a time: what was looked at to choose them. PSNR is over RGB at the frame size, the mean over frames; "worst" is the
mean of the worst video. Milliseconds are of one thread's own time, conversion from and to RGB included; the times of a
busy machine are only good beside one another. The index adds 25 bytes a frame, prepare's own records about 60.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack import QUALITY, PackWriter
from eruv_dali.dataset.pack_reader import PackReader
from eruv_dali.dataset.unpack import unpack
from eruv_dali.errors import run_program
from eruv_dali.options import Parser
from eruv_dali.prepare import prepare
from eruv_dali.video import closed_groups
from eruv_dali.video.frames import FRAME_SIZE

# Of a video pack: what is changed, its quality, and pairs to replace in the encoder's settings.
CHANGES: list[tuple[str, int, list[tuple[str, str]]]] = [
    *((f"quality {quality}", quality, []) for quality in (16, 18, 19, 21)),
    *((f"group {group}", QUALITY["video"], [("keyint=16:min-keyint=16", f"keyint={group}:min-keyint={group}")])
      for group in (8, 12)),
    ("with arithmetic coding", QUALITY["video"], [("cabac=0", "cabac=1")]),
    ("with deblocking", QUALITY["video"], [("no-deblock=1", "no-deblock=0")]),
    *((f"preset {preset}", QUALITY["video"], [("veryfast", preset)]) for preset in ("superfast", "medium")),
]


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--videos", required=True, metavar="DIR", help="folder of videos")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        dataset = prepare([args.videos], Path(scratch) / "raw", pack="raw", min_length=1, frame_size=FRAME_SIZE)
        rows = [{"pack": kind, "changed": "", **cost(dataset, kind, QUALITY[kind])} for kind in ("jpeg", "video")]
        rows += [{"pack": "video", "changed": changed, **cost(dataset, "video", quality, replaced)}
                 for changed, quality, replaced in CHANGES]
    table = Table(*rows[0], title=args.videos)
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    if args.json:
        Path(args.json).write_text(json.dumps({
            "date": time.strftime("%Y-%m-%d"), "source": args.videos, "frame_size": FRAME_SIZE, "rows": rows,
        }, indent=1) + "\n")


def cost(dataset: Dataset, kind: str, quality: int, replaced: Sequence[tuple[str, str]] = ()) -> dict:
    """Encode and decode every frame of a raw DATASET with one setting."""
    settings, preset = closed_groups.SETTINGS, closed_groups.PRESET
    for before, after in replaced:
        closed_groups.SETTINGS = closed_groups.SETTINGS.replace(before, after)
        closed_groups.PRESET = closed_groups.PRESET.replace(before, after)
    sizes, psnr, worst, encoding, decoding = [], [], np.inf, 0.0, 0.0
    try:
        for number in track(range(len(dataset.videos)), description=f"{kind} {quality} {replaced or ''}"):
            with tempfile.TemporaryDirectory() as folder:
                writer = PackWriter(Path(folder), kind, quality)
                file, offset = writer.begin_video()
                frames = dataset.frames_of(number).copy()
                frames["offset"], begun = offset, time.thread_time()
                for place, picture in enumerate(pictures(dataset, number)):
                    frames["size"][place], frames["crc"][place] = writer.add(picture)
                encoding += time.thread_time() - begun
                writer.end_video()
                frames["offset"][1:] += np.cumsum(frames["size"][:-1], dtype=np.int64)
                packed, of_video = PackReader(Path(folder)), []
                again = unpack(packed, kind, FRAME_SIZE, file, frames)
                for picture in pictures(dataset, number):
                    decoded = next(again)
                    squared = (decoded.astype(np.float32) - picture) ** 2
                    of_video.append(10 * np.log10(255**2 / max(float(squared.mean()), 1e-3)))
                begun = time.thread_time()
                for _ in unpack(packed, kind, FRAME_SIZE, file, frames):
                    pass
                decoding += time.thread_time() - begun
                packed.close()
                writer.close()
                sizes += frames["size"].tolist()
                psnr += of_video
                worst = min(worst, float(np.mean(of_video)))
    finally:
        closed_groups.SETTINGS, closed_groups.PRESET = settings, preset
    return {"quality": quality, "frames": len(sizes), "bytes_per_frame": float(np.mean(sizes)),
            "psnr_db": float(np.mean(psnr)), "psnr_db_worst_video": worst,
            "encode_ms": encoding / len(sizes) * 1e3, "decode_ms": decoding / len(sizes) * 1e3}


def pictures(dataset: Dataset, video: int) -> Iterator[np.ndarray]:
    return unpack(dataset.packed, "raw", FRAME_SIZE, dataset.videos[video].pack_file, dataset.frames_of(video))


if __name__ == "__main__":
    run_program(main)
