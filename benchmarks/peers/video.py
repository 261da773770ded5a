"""One clip from a video file by PyAV, OpenCV, decord or torchcodec, on one thread, the files kept open.

Each maker returns a function from a PeerClip to its frames, (16, 128, 171 or more, 3) uint8. `resize` says whether
frames are scaled to 128x171 (the originals) or have that size already (the copies).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from race.clips import FRAME_SIZE

from peers.files import PeerClip

OPEN_FILES = 256  # that a process keeps open; decord, which indexes a file when it opens it, needs this most

Decode = Callable[[PeerClip], np.ndarray]
HEIGHT, WIDTH = FRAME_SIZE


def pyav_decoder(resize: bool) -> Decode:
    import av
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        container = av.open(path, metadata_errors="ignore")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return container, stream

    def decode(clip: PeerClip) -> np.ndarray:
        container, stream = opened(clip.path)
        begin = int(clip.window[0] / stream.time_base)
        container.seek(begin, stream=stream)
        pictures = []
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts < begin:
                continue
            size = (WIDTH, HEIGHT) if resize else (frame.width, frame.height)
            pictures.append(scaler.reformat(frame, *size, "rgb24", threads=1).to_ndarray())
            if len(pictures) == len(clip.frames):
                break
        return np.stack(pictures)

    return decode


def opencv_decoder(resize: bool) -> Decode:
    import cv2

    cv2.setNumThreads(1)

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])

    def decode(clip: PeerClip) -> np.ndarray:
        capture = opened(clip.path)
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(clip.frames[0]))
        pictures = [capture.read()[1] for _ in clip.frames]
        if resize:
            pictures = [cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for picture in pictures]
        return np.stack(pictures)[..., ::-1]

    return decode


def decord_decoder(resize: bool) -> Decode:
    import decord

    size = dict(width=WIDTH, height=HEIGHT) if resize else {}

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return decord.VideoReader(path, num_threads=1, **size)

    return lambda clip: opened(clip.path).get_batch(clip.frames.tolist()).asnumpy()


def torchcodec_decoder(resize: bool) -> Decode:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    transforms = [Resize(size=FRAME_SIZE)] if resize else None

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate", dimension_order="NHWC",
                            transforms=transforms)

    def decode(clip: PeerClip) -> np.ndarray:
        return opened(clip.path).get_frames_in_range(int(clip.frames[0]), int(clip.frames[-1]) + 1).data.numpy()

    return decode
