"""Which videos every peer can open, and which peers work at all: each is tried in a process of its own."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from peers.all import PEERS
from peers.files import Files, PeerClip

from eruv_dali.dataset import Dataset
from eruv_dali.loader.requests import ClipRequest
from race.clips import T


def long_enough(dataset: Dataset, codecs: list[str]) -> list[int]:
    """Videos of a clip's length or more, in these codecs; in any if there are none."""
    return [number for number, video in enumerate(dataset.videos)
            if video.frames >= T and (not codecs or video.codec in codecs)]


def working(group: str, names: list[str], files: Files, device: str) -> tuple[list[str], list[int], list[str]]:
    """The peers among `names` that read these files; the videos that all of those can read; a line for each left out.
    """
    peers, videos, out = [], list(files.paths), []
    unfit = [name for name in names if PEERS[group][name].decoder is None and device != "gpu"]
    if unfit:
        out.append(f"{', '.join(unfit)} ({group}: decode on a GPU, this race is on the CPU)")
    for name in names:
        if name in unfit:
            continue
        decoder = PEERS[group][name].decoder
        failed, reason = {}, None
        if decoder is not None:
            clips = {video: files.clip(ClipRequest(video, 0, 0, np.arange(T), 0, (0, 0), 1)) for video in videos}
            failed, reason = _tried(decoder, clips)
        if reason is None and len(failed) > len(videos) / 2:
            reason = f"fails on {len(failed)} of {len(videos)} videos; {next(iter(failed.values()))}"
        if reason is not None:
            out.append(f"{name} ({group}: {reason})")
            continue
        peers.append(name)
        out += [f"{files.paths[video].name} ({group}, {name}: {reason})" for video, reason in failed.items()]
        videos = [video for video in videos if video not in failed]
    return peers, videos, out


def last_line(error: BaseException) -> str:
    """The last line of what first went wrong."""
    while (inner := (getattr(error, "exceptions", None) or [error.__cause__])[0]) is not None:
        error = inner
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]


def _tried(decoder: Callable, clips: dict[int, PeerClip]) -> tuple[dict[int, str], str | None]:
    """What goes wrong with each clip, and why the peer does not work at all, if it does not."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_try, decoder, clips).result(), None
        except (BrokenProcessPool, ImportError, OSError, RuntimeError) as error:
            return {}, last_line(error)


def _try(decoder: Callable, clips: dict[int, PeerClip]) -> dict[int, str]:
    decode, failed = decoder(), {}
    for video, clip in clips.items():
        try:
            if (count := len(decode(clip))) != T:
                raise RuntimeError(f"{count} of {T} frames came")
        except Exception as error:
            failed[video] = last_line(error)
    return failed
