"""What peers read: the original videos, or decode-once forms of them, made here from the frames that ours packs hold.

    originals  the files themselves
    copies     one mp4 a video, encoded as our video pack is: the same x264 settings, quality and colours, closed groups
               of --gop pictures, no B-pictures. The 128x171 frame is padded to 128x176 by repeating its last column, so
               peers need not scale: they crop from its left 171 columns
    jpeg       one folder a video, a JPEG file a frame: the very bytes that our JPEG pack holds
    raw        one file a video: (frames, 128, 171, 3) uint8
"""

import concurrent.futures
import contextlib
import itertools
import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from race.clips import FRAME_SIZE

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack import QUALITY, encode_jpeg
from eruv_dali.device import cores
from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video import closed_groups
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.open import DamagedVideo, open_video
from eruv_dali.video.yuv420 import yuv420_frame

RATE = 25  # frames per second of the copies
FORMS = ("copies", "jpeg", "raw")


class PeerClip(NamedTuple):
    """One clip as peers are asked for it.

    Attributes:
        path: the video's file or folder.
        frames: (16,) int64, consecutive; `window`: seconds from the time of the first to halfway past the last.
        crop: (top, left) of the 112x112 crop in the 128x171 frame.
    """

    path: str
    frames: np.ndarray
    window: tuple[Fraction, Fraction]
    crop: tuple[int, int]


@dataclass(frozen=True)
class Files:
    """One form of the videos.

    Attributes:
        form: "originals", or one of FORMS.
        paths: by position in the dataset; `times`: of each video's frames, seconds.
        bytes_per_frame: on disk.
    """

    form: str
    paths: dict[int, Path]
    times: Callable[[int, int], Fraction]
    bytes_per_frame: float

    def clip(self, request: ClipRequest) -> PeerClip:
        first, last = int(request.frames[0]), int(request.frames[-1])
        before, end = self.times(request.video, last - 1), self.times(request.video, last)
        window = (self.times(request.video, first), end + (end - before) / 2)
        return PeerClip(str(self.paths[request.video]), request.frames, window, request.crop)

    def read_through(self) -> None:
        """Read everything into the page cache."""
        for path in _all_files(self.paths.values()):
            with open(path, "rb") as file:
                while file.read(1 << 24):
                    pass


def originals(dataset: Dataset, videos: list[int]) -> Files:
    """The original files; the times of their frames are those of our index, where the files give time stamps."""
    scale: dict[int, tuple[Fraction, bool]] = {}

    def time(video: int, frame: int) -> Fraction:
        if video not in scale:
            container, stream = open_video(dataset.videos[video].path)
            ordered = dataset.index(video).ordered
            scale[video] = (stream.time_base if ordered else 1 / Fraction(stream.average_rate or RATE), ordered)
            container.close()
        unit, ordered = scale[video]
        return unit * (int(dataset.index(video).pts[frame]) if ordered else frame)

    paths = {video: dataset.videos[video].path for video in videos}
    return Files("originals", paths, time, _bytes(paths.values()) / frames_of(dataset, videos))


def write_forms(forms: list[str], dataset: Dataset, videos: list[int], folder: Path, gop: int) -> dict[str, Files]:
    """Write the videos' frames in these forms, decoding each video once, on all cores."""
    paths = {form: {video: folder / form / f"{video:06d}{SUFFIXES[form]}" for video in videos} for form in forms}
    for form in forms:
        (folder / form).mkdir(parents=True)
    with concurrent.futures.ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_write_video, str(dataset.videos[video].path), dataset.videos[video].frames,
                            {form: str(paths[form][video]) for form in forms}, gop) for video in videos]
        for job in jobs:
            job.result()
    count = frames_of(dataset, videos)
    return {form: Files(form, paths[form], _copied_time, _bytes(paths[form].values()) / count) for form in forms}


def frames_of(dataset: Dataset, videos: list[int]) -> int:
    return sum(dataset.videos[video].frames for video in videos)


def _copied_time(video: int, frame: int) -> Fraction:
    return Fraction(frame, RATE)


def _write_video(video: str, frames: int, paths: dict[str, str], gop: int) -> None:
    with contextlib.ExitStack() as stack:
        adders = [stack.enter_context(WRITERS[form](path, gop)) for form, path in paths.items()]
        done = 0
        for picture in _pictures(video):
            if done == frames:
                break
            for add in adders:
                add(picture)
            done += 1
    if done < frames:
        raise EruvError(f"{video}: {done} of {frames} frames can be decoded; run prepare on the DATASET again")


def _pictures(video: str) -> Iterable[np.ndarray]:
    with contextlib.suppress(DamagedVideo):  # prepare uses such a video up to there, too
        for chunk in decode_pictures(video, [FRAME_SIZE]):
            yield from chunk.pictures[0]


@contextlib.contextmanager
def _h264(path: str, gop: int):
    closed_groups.check_encoder()
    height, width = closed_groups.coded_size(*FRAME_SIZE)
    options = closed_groups.encoder_options(QUALITY["video"])
    settings = options["x264-params"].replace(f"keyint={closed_groups.GROUP}", f"keyint={gop}")
    options["x264-params"] = settings.removesuffix(":repeat-headers=1:annexb=1")  # an mp4 has them in its header
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = Colorspace.ITU601, ColorRange.MPEG
        stream.codec_context.thread_count = 1
        stream.options = options
        yield lambda picture: container.mux(stream.encode(yuv420_frame(picture, height, width)))
        container.mux(stream.encode(None))


@contextlib.contextmanager
def _jpeg(path: str, gop: int):
    folder = Path(path)
    folder.mkdir()
    count = itertools.count()
    yield lambda picture: (folder / jpeg_name(next(count))).write_bytes(encode_jpeg(picture, QUALITY["jpeg"]))


@contextlib.contextmanager
def _raw(path: str, gop: int):
    with open(path, "wb") as file:
        yield lambda picture: file.write(picture.tobytes())


WRITERS = {"copies": _h264, "jpeg": _jpeg, "raw": _raw}
SUFFIXES = {"copies": ".mp4", "jpeg": "", "raw": ".rgb"}


def jpeg_name(frame: int) -> str:
    return f"{frame:06d}.jpg"


def _all_files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from path.iterdir() if path.is_dir() else (path,)


def _bytes(paths: Iterable[Path]) -> int:
    """What these files and folders take on disk, in whole blocks: a small file takes 4 KB at least."""
    return sum(512 * path.stat().st_blocks for path in _all_files(paths))
