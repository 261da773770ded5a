"""Decode: every frame of a video, once, in display order, as RGB pictures of the requested sizes.

Frame n of a video is the n-th frame shown, counting from 0, regardless of time stamps; every other module counts
the same way. Pictures are upright: a rotation in the file's metadata (phone videos) is applied.
"""

import logging
from collections.abc import Iterator, Sequence

from eruv_dali.native import say_once
from eruv_dali.video.decode_pyav import decode_with_pyav
from eruv_dali.video.decoder_choice import capabilities
from eruv_dali.video.frames import Chunk
from eruv_dali.video.place import Location

log = logging.getLogger(__name__)


def decode_pictures(
    path: str | Location, sizes: Sequence[tuple[int, int]], *, device: str = "cpu", threads: int = 1
) -> Iterator[Chunk]:
    """Decode every frame of a video, in chunks, each frame resized to each of `sizes` (height, width).

    On a GPU the frames come from NVDEC where `decoder_choice` allows it, and from PyAV otherwise.

    Raises:
        UnusableVideo: no frame can be decoded from the file.
        DamagedVideo: decoding failed after some good frames; raised after the last of them was yielded.
    """
    done = 0
    if device == "gpu" and (problem := capabilities(device).problem):
        say_once(problem)
    elif device == "gpu":
        from eruv_dali.video.decode_nvdec import NotForDali, decode_with_dali

        try:
            for chunk in decode_with_dali(path, sizes, device=device):
                yield chunk
                done += len(chunk.pts)
            return
        except NotForDali as reason:
            log.info("%s: decoded on the CPU from frame %d on (%s)", path, done, reason)
    for chunk in decode_with_pyav(path, sizes, threads):
        skip = min(done, len(chunk.pts))
        done -= skip
        if skip < len(chunk.pts):
            yield chunk.part(slice(skip, None))
