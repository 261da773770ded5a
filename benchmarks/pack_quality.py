"""What the JPEG pack costs: bytes per frame, and its error against the resized frame it was made from.

    python benchmarks/pack_quality.py --videos my_videos/ --json benchmarks/results/pack_quality.json

Takes every 25th frame of every video. PSNR is the mean over frames; the error is the mean absolute one, in grey levels.
"""

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from eruv_dali.dataset import pack
from eruv_dali.errors import run_program
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.find import find_videos
from eruv_dali.video.frames import FRAME_SIZE
from eruv_dali.video.open import DamagedVideo, UnusableVideo

EVERY = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", required=True, metavar="DIR")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    sizes, psnr, errors = [], [], []
    for video in track(find_videos([args.videos]), description="encoding"):
        frame = 0
        try:
            for chunk in decode_pictures(video.path, [FRAME_SIZE], threads=2):
                for picture in chunk.pictures[0][-frame % EVERY :: EVERY]:
                    data = pack.encode_frame(picture, "jpeg")
                    difference = np.asarray(Image.open(io.BytesIO(data))).astype(float) - picture
                    sizes.append(len(data))
                    errors.append(np.abs(difference).mean())
                    psnr.append(10 * np.log10(255**2 / max((difference**2).mean(), 1e-3)))
                frame += len(chunk.pts)
        except (UnusableVideo, DamagedVideo) as reason:
            print(f"{video.name}: {reason}")
    figures = {
        "date": time.strftime("%Y-%m-%d"), "source": args.videos, "quality": pack.JPEG_QUALITY, "frames": len(sizes),
        "bytes_per_frame": float(np.mean(sizes)), "psnr_db": float(np.mean(psnr)),
        "psnr_db_5th_percentile": float(np.percentile(psnr, 5)), "mean_absolute_error": float(np.mean(errors)),
    }
    Console().print(figures)
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
