"""The films drawn and written as videos."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from eruv_dali.checks import whole_number
from eruv_dali.demo.actors import DRAWN, Stage, weather
from eruv_dali.demo.backdrop import backdrop
from eruv_dali.demo.films import DESIGN, FPS, HEIGHT, WIDTH, Film, Shot, plan_film
from eruv_dali.device import cores
from eruv_dali.errors import EruvError


def draw_shot(film: Film, shot: Shot) -> np.ndarray:
    """All frames of one shot, (frames, HEIGHT, WIDTH, 3) uint8."""
    still = backdrop(film, shot)
    stage = Stage(film, shot)
    rng = np.random.default_rng(shot.seed)
    actors = [DRAWN[name](stage, rng) for name in shot.actors] + [weather(stage, rng)]
    frames = np.empty((shot.frames, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(shot.frames):
        image = still.copy()
        for draw in actors:
            draw(image, number / FPS)
        frames[number] = np.clip(image * 255 + 0.5, 0, 255)
    return frames


def render_film(film: Film, path: Path, mark: str) -> None:
    """Draw `film` and encode it as H.264 in MP4 at `path`, through a temporary file that is renamed when complete."""
    aside = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    try:
        with av.open(f"file:{aside}", "w", options={"movflags": "faststart"}) as container:
            container.metadata["comment"] = mark
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.time_base = Fraction(1, FPS)
            # One thread: the bytes must not depend on the number of cores, and the films already run side by side.
            stream.options = {"preset": "veryfast", "crf": "20", "g": "48", "threads": "1"}
            for shot in film.shots:
                for picture in draw_shot(film, shot):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def is_rendered(path: Path, mark: str) -> bool:
    """True if `path` is a film that an earlier run finished, of this design and seed."""
    try:
        with av.open(f"file:{path}") as container:
            return container.metadata.get("comment") == mark
    except (av.error.FFmpegError, OSError):
        return False


def render_corpus(
    folder: Path, *, num_videos: int = 20, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Draw the demo corpus into `folder` and return its videos' paths, `demo_00.mp4` first.

    Films that an earlier run finished are kept; the same seed gives the same films. Two films are drawn at a time on
    two cores, and so on. progress: called with (films finished, num_videos) at the start and after each film.
    Raises `EruvError` if the folder cannot be written.
    """
    if num_videos < 1:
        raise EruvError(f"num_videos ({num_videos}) must be at least 1")
    whole_number("seed", seed, least=0)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EruvError(f"cannot write the demo videos to {folder}: {error.strerror}; choose another folder") from error
    mark = f"eruv_dali demo corpus, design {DESIGN}, seed {seed}"
    films = [plan_film(index, seed) for index in range(num_videos)]
    paths = [folder / film.name for film in films]
    todo = [(film, path, mark) for film, path in zip(films, paths, strict=True) if not is_rendered(path, mark)]
    done = num_videos - len(todo)
    if progress:
        progress(done, num_videos)
    # Spawned, not forked: the caller may already have threads and a GPU context.
    workers = min(len(todo), cores())
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            running = [pool.submit(render_film, *job) for job in todo]
            for rendered in as_completed(running):
                rendered.result()
                done += 1
                if progress:
                    progress(done, num_videos)
    else:
        for job in todo:
            render_film(*job)
            done += 1
            if progress:
                progress(done, num_videos)
    return paths
