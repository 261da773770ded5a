"""Draw edited videos with known shot transitions out of real clips, one video per kind of edit, to score with shots.py.

    python benchmarks/edits.py --clips DIR ... --out EDITS [--half 0] [--videos 2]
    python benchmarks/shots.py --videos EDITS --json benchmarks/results/shots_edits.json

Web videos are edited in ways that neither films nor our first synthetic set show. The kinds are of three sorts:

    gradual  blend (dissolves, dips to black or white), wipe, slide, push, whip (pan), zoom (through), spin
    cuts     jump (ahead within a take), punch (in or out: the take is suddenly enlarged), short (runs of short shots)
    both     still (pictures that stand still, or grow slowly)
    not cuts caption, inset (picture in picture), letterbox, exposure, glitch, flash, passing (something before the
             camera): within shots that are joined by cuts

Clips are first divided into single takes where their colours change at once or where `robust` finds a transition: a
cut within a clip would count as a false one. So what it wrongly finds in single takes is not seen here; measure that
with shots.py --single-take. EDITS/takes.json keeps the result. A clip belongs to one half by its name, so that
constants can be chosen on one half and scored on the other.

Needs opencv-python-headless. The truth is written next to each video, as shots.py reads it; its `distractors` are the
frames at which something other than the shot changes.
"""

import contextlib
import functools
import importlib
import json
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from detection.detectors import read_curves
from rich.console import Console
from rich.progress import track
from shots import VIDEOS

from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser
from eruv_dali.shots import find_shots

with contextlib.suppress(ImportError):  # main says so, where OpenCV is not installed
    import cv2

H, W, RATE = 180, 320, 25
SHOTS = 22  # in a video
LONG = (36, 90)  # frames of a shot
LEAST_TAKE = 60  # frames
MARGIN = 4  # frames left out on either side of a change of colours
COLOURS = {2: 0.5, 12: 0.9}  # so many frames apart, the shares of 64 colours differ by more than this (2: all differ)
LONGEST = 400  # frames read of a clip

Frames = np.ndarray  # (T, H, W, 3) uint8


class Takes:
    """Pieces of clips without a cut, drawn at random, the same clip never twice in a row."""

    def __init__(self, takes: Sequence[tuple[Path, int, int]], rng: np.random.Generator) -> None:
        self.takes, self.rng, self.last = takes, rng, None

    def draw(self, length: int) -> Frames:
        fitting = [take for take in self.takes if take[2] - take[1] >= length and take[0] != self.last]
        path, start, end = fitting[self.rng.integers(len(fitting))]
        self.last = path
        start += int(self.rng.integers(end - start - length + 1))
        return read(path)[start : start + length]


@functools.lru_cache(maxsize=16)
def read(path: Path) -> Frames:
    """All frames of a clip, scaled and cropped to fill the picture."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            scale = max(H / picture.shape[0], W / picture.shape[1])
            picture = cv2.resize(picture, None, fx=scale + 1e-3, fy=scale + 1e-3, interpolation=cv2.INTER_AREA)
            y, x = (picture.shape[0] - H) // 2, (picture.shape[1] - W) // 2
            frames.append(picture[y : y + H, x : x + W])
            if len(frames) == LONGEST:
                break
    return np.stack(frames)


def half_of(path: Path) -> int:
    """Which half of the clips a clip belongs to, by its name."""
    return zlib.crc32(path.name.split(".")[0].encode()) % 2


def find_takes(path: Path) -> list[tuple[str, int, int]]:
    """(path, first frame, end) of every long enough piece of a clip without a change at once, or one that we find."""
    with av.open(str(path)) as container:
        if float(container.streams.video[0].average_rate or 0) < 12:
            return []
    frames = read(path)
    small = np.stack([cv2.resize(frame, (32, 18), interpolation=cv2.INTER_AREA) for frame in frames]) >> 6
    bins = (small.astype(int) @ [16, 4, 1]).reshape(len(frames), -1)
    shares = np.stack([np.bincount(row, minlength=64) for row in bins]) / bins.shape[1]
    found = {0, len(frames)}
    for lag, most in COLOURS.items():
        found |= {int(t) + lag // 2 + 1 for t in np.flatnonzero(np.abs(shares[lag:] - shares[:-lag]).sum(1) > most)}
    curves = read_curves(path, device="cpu")
    for shot in find_shots(curves)[1:]:
        found |= {t for t in (shot.transition_start, shot.start) if t < len(frames)}
    edges = sorted(found)
    return [(str(path), start + MARGIN * (start > 0), end - MARGIN * (end < len(frames)))
            for start, end in zip(edges, edges[1:], strict=False) if end - start >= LEAST_TAKE + 2 * MARGIN]


# Gradual transitions: function(old, new, T, rng) -> T frames, given T frames of each shot.

def positions(T: int, rng: np.random.Generator) -> np.ndarray:
    """T places strictly between 0 and 1, at an even or an eased pace."""
    x = np.arange(1, T + 1) / (T + 1)
    return [x, x * x * (3 - 2 * x), 1 - (1 - x) ** 2, x**2][rng.integers(4)]


def blend(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    x = (np.arange(1, T + 1) / (T + 1))[:, None, None, None]
    if rng.random() < 0.5:
        return (old * (1 - x) + new * x).astype(np.uint8)
    colour = 0 if rng.random() < 0.7 else 255
    faded = np.where(x < 0.5, old * np.clip(1 - 2 * x, 0, 1) + colour * np.clip(2 * x, 0, 1),
                     new * np.clip(2 * x - 1, 0, 1) + colour * np.clip(2 - 2 * x, 0, 1))
    return faded.astype(np.uint8)


def wipe(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    y, x = np.mgrid[:H, :W]
    u, v = (x + 0.5) / W, (y + 0.5) / H
    shape = rng.choice(["straight", "straight", "diagonal", "clock", "iris", "blinds"])
    field = {"straight": [u, 1 - u, v, 1 - v][rng.integers(4)],
             "diagonal": [(u + v) / 2, (u + 1 - v) / 2][rng.integers(2)],
             "clock": (np.arctan2(v - 0.5, u - 0.5) / (2 * np.pi)) % 1,
             "iris": np.hypot(u - 0.5, v - 0.5) / np.hypot(0.5, 0.5), "blinds": (u * 8) % 1}[shape]
    soft = rng.choice([0.003, 0.05, 0.15])
    mask = [np.clip((at * (1 + soft) - field) / soft, 0, 1)[..., None] for at in positions(T, rng)]
    return np.stack([a * (1 - m) + b * m for a, b, m in zip(old, new, mask, strict=True)]).astype(np.uint8)


def shifted(frame: Frames, dy: float, dx: float) -> Frames:
    return cv2.warpAffine(frame, np.float32([[1, 0, dx], [0, 1, dy]]), (W, H))


def slide(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    dy, dx = [(0, 1), (0, -1), (1, 0), (-1, 0)][rng.integers(4)]
    covers, white = rng.random() < 0.5, np.full((H, W), 1, np.uint8)
    frames = []
    for a, b, at in zip(old, new, positions(T, rng), strict=True):
        far = 1 - at if covers else at
        moving, still = (b, a) if covers else (a, b)
        where = shifted(white, dy * far * H, dx * far * W)[..., None]
        frames.append(np.where(where, shifted(moving, dy * far * H, dx * far * W), still))
    return np.stack(frames)


def push(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    dy, dx = [(0, 1), (0, -1), (1, 0), (-1, 0)][rng.integers(4)]
    return np.stack([shifted(a, dy * at * H, dx * at * W) + shifted(b, dy * (at - 1) * H, dx * (at - 1) * W)
                     if abs(dy) + abs(dx) else a for a, b, at in zip(old, new, positions(T, rng), strict=True)])


def whip(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    """The old picture accelerates away, blurred, and the new one arrives so and slows down."""
    sign, upright, frames = rng.choice([-1, 1]), rng.random() < 0.25, []
    for a, b, x in zip(old, new, np.arange(1, T + 1) / (T + 1), strict=True):
        picture, along = (a, x**2 * 2) if x < 0.5 else (b, -((1 - x) ** 2) * 2)
        blur = max(1, int((x if x < 0.5 else 1 - x) * 2 * rng.integers(60, 90)))
        size = W if not upright else H
        at = int(sign * along * size * 1.5) % (2 * size)
        both = np.concatenate([picture, picture[:, ::-1] if not upright else picture[::-1]], 0 if upright else 1)
        both = np.roll(both, at, 0 if upright else 1)[:H, :W]
        frames.append(cv2.blur(both, (1, blur) if upright else (blur, 1)))
    return np.stack(frames)


def turned(frame: Frames, scale: float, angle: float) -> Frames:
    matrix = cv2.getRotationMatrix2D((W / 2, H / 2), angle, scale)
    return cv2.warpAffine(frame, matrix, (W, H), borderMode=cv2.BORDER_REFLECT)


def zoom(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    """The old picture grows (or shrinks), and the new one goes on growing (or shrinking) to its own size."""
    most, inward, soft = rng.uniform(2, 4), rng.random() < 0.7, rng.random() < 0.5
    frames = []
    for a, b, x in zip(old, new, np.arange(1, T + 1) / (T + 1), strict=True):
        first, second = most ** (2 * x), most ** (2 * x - 2)
        if not inward:
            first, second = most ** (-2 * x), most ** (2 - 2 * x)
        if soft and 0.35 < x < 0.65:
            m = (x - 0.35) / 0.3
            frames.append((turned(a, first, 0) * (1 - m) + turned(b, second, 0) * m).astype(np.uint8))
        else:
            frames.append(turned(a, first, 0) if x < 0.5 else turned(b, second, 0))
    return np.stack(frames)


def spin(old: Frames, new: Frames, T: int, rng: np.random.Generator) -> Frames:
    sign, most, frames = rng.choice([-1, 1]), rng.uniform(60, 180), []
    for a, b, x in zip(old, new, np.arange(1, T + 1) / (T + 1), strict=True):
        angle = most * (2 * x**2 if x < 0.5 else -2 * (1 - x) ** 2)
        speed = most * 4 * (x if x < 0.5 else 1 - x) / T
        picture = a if x < 0.5 else b
        smear = [turned(picture, 1.1, sign * (angle + speed * part)) for part in (-0.5, -0.25, 0, 0.25, 0.5)]
        frames.append(np.mean(smear, 0).astype(np.uint8))
    return np.stack(frames)


GRADUAL: dict[str, tuple[Callable, tuple[int, int]]] = {  # and the range of lengths
    "blend": (blend, (8, 31)), "wipe": (wipe, (8, 31)), "slide": (slide, (6, 26)), "push": (push, (6, 26)),
    "whip": (whip, (6, 15)), "zoom": (zoom, (8, 21)), "spin": (spin, (8, 21)),
}


# Not cuts: function(frames, rng, takes) -> (frames, the frames at which it changes)

def caption(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """Lines of text, with or without a box, that come, change and go; some large, some sliding in."""
    frames, changes, t = frames.copy(), [], int(rng.integers(4, 12))
    while t < len(frames) - 8:
        until = min(t + int(rng.integers(8, 40)), len(frames) - 4)
        layer, cover = np.zeros((H, W, 3), np.uint8), np.zeros((H, W), np.float32)
        size, style = rng.choice([0.5, 0.7, 1.0, 1.6]), rng.choice(["plain", "box", "panel"])
        lines = int(rng.integers(1, 4))
        step = int(34 * size)
        top = int(rng.integers(5, max(6, H - lines * step - 5))) if rng.random() < 0.4 else H - lines * step - 6
        top = max(top, 2)
        left = int(rng.integers(5, 80))
        if style != "plain":
            right = W - left if style == "box" else int(rng.integers(W // 3, W // 2))
            box = np.s_[top : min(H, top + lines * step + 6), left:right] if style == "box" else np.s_[:, :right]
            layer[box], cover[box] = rng.integers(0, 256, 3), rng.choice([0.6, 1.0])
        for line in range(lines):
            words = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz  ABCDEFGH!?"), int(rng.integers(6, 26))))
            where = (left + 4, top + int(step * (line + 0.8)))
            colour = tuple(int(c) for c in rng.integers(150, 256, 3))
            mask = np.zeros((H, W), np.uint8)
            font = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX][rng.integers(3)]
            cv2.putText(mask, words, where, font, size, 255, max(1, int(2 * size)), cv2.LINE_AA)
            outline = cv2.dilate(mask, np.ones((3, 3)))
            for picture, ink in ((outline, (0, 0, 0)), (mask, colour)):
                layer[picture > 100], cover[picture > 100] = ink, 1.0
        ease, way = (1, "hard") if rng.random() < 0.5 else (int(rng.integers(4, 12)), rng.choice(["fade", "slide"]))
        for n in range(t, until):
            share = min(1.0, (n - t + 1) / ease, (until - n) / ease)
            over, alpha = layer, cover[..., None] * (share if way == "fade" else 1)
            if way == "slide" and share < 1:
                over, alpha = shifted(layer, (1 - share) * H, 0), shifted(cover, (1 - share) * H, 0)[..., None]
            frames[n] = (frames[n] * (1 - alpha) + over * alpha).astype(np.uint8)
        changes += [t, until]
        t = until + (0 if rng.random() < 0.5 else int(rng.integers(1, 15)))
    return frames, changes


def inset(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """Another take in a corner, for a while; its own content may be cut."""
    frames, start = frames.copy(), int(rng.integers(5, 15))
    end = len(frames) - int(rng.integers(5, 12))
    scale = rng.uniform(0.25, 0.55)
    h, w = int(H * scale), int(W * scale)
    y, x = rng.choice([6, H - h - 6]), rng.choice([6, W - w - 6])
    length, half = end - start, (end - start) // 2
    inner = takes.draw(length)
    changes = [start, end]
    if rng.random() < 0.4:
        inner = np.concatenate([inner[:half], takes.draw(length - half)])
        changes.append(start + half)
    grow = int(rng.integers(4, 12)) if rng.random() < 0.4 else 1
    for n in range(length):
        share = min(1.0, (n + 1) / grow, (length - n) / grow)
        hh, ww = max(2, int(h * share)), max(2, int(w * share))
        frames[start + n, y : y + hh, x : x + ww] = cv2.resize(inner[n], (ww, hh), interpolation=cv2.INTER_AREA)
    return frames, sorted(changes)


def letterbox(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """Bars above and below or at the sides, black or blurred, at once or growing."""
    frames, t = frames.copy(), int(rng.integers(8, len(frames) - 12))
    upright = rng.random() < 0.4
    most = rng.uniform(0.08, 0.2) * (W if upright else H)
    grow = int(rng.integers(6, 20)) if rng.random() < 0.5 else 1
    leaving, blurred = rng.random() < 0.4, rng.random() < 0.3
    for n in range(len(frames)):
        share = float(np.clip((n - t + 1) / grow, 0, 1))
        bar = int(most * (1 - share if leaving else share))
        if bar:
            fill = cv2.blur(frames[n], (41, 41)) // 2 if blurred else np.zeros_like(frames[n])
            for place in ((np.s_[:, :bar], np.s_[:, -bar:]) if upright else (np.s_[:bar], np.s_[-bar:])):
                frames[n][place] = fill[place]
    return frames, [t]


def exposure(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """The light goes up or down within 1 to 25 frames and may come back; the colour may shift with it."""
    t, length = int(rng.integers(6, len(frames) - 20)), int(rng.integers(1, 26))
    most = rng.uniform(0.3, 0.6) if rng.random() < 0.5 else rng.uniform(1.6, 2.8)
    ramp = np.clip((np.arange(len(frames)) - t + 1) / length, 0, 1)
    if rng.random() < 0.5:
        back = t + length + int(rng.integers(1, 20))
        ramp *= 1 - np.clip((np.arange(len(frames)) - back) / length, 0, 1)
    gain = (most ** ramp)[:, None, None, None] * (1 + ramp[:, None, None, None] * rng.uniform(-0.2, 0.2, 3))
    return np.clip(frames * gain, 0, 255).astype(np.uint8), [t]


def glitch(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """One to six frames torn, split into colours, displaced in blocks, full of noise, of another take, or frozen."""
    frames, changes = frames.copy(), []
    for t in range(int(rng.integers(5, 15)), len(frames) - 14, int(rng.integers(18, 40))):
        kind = rng.choice(["tear", "colours", "blocks", "noise", "other", "freeze", "jump"])
        length = int(rng.integers(1, 7))
        other = takes.draw(length) if kind == "other" else None
        for n in range(t, t + length):
            if kind == "tear":
                edges = sorted(rng.integers(0, H, 8))
                for a, b in zip([0, *edges], [*edges, H], strict=True):
                    frames[n, a:b] = np.roll(frames[n, a:b], int(rng.integers(-60, 60)), 1)
            elif kind == "colours":
                for c in range(3):
                    frames[n, ..., c] = np.roll(frames[n, ..., c], int(rng.integers(-25, 25)), 1)
            elif kind == "blocks":
                for _ in range(40):
                    y, x, v, u = rng.integers(0, (H - 30, W - 50, H - 30, W - 50))
                    frames[n, y : y + 30, x : x + 50] = frames[n, v : v + 30, u : u + 50]
            elif kind == "noise":
                frames[n] = (frames[n] * 0.3 + rng.integers(0, 180, (H, W, 1))).astype(np.uint8)
            elif kind == "other":
                frames[n] = other[n - t]
            elif kind == "freeze":
                frames[n] = frames[t]
            else:
                frames[n] = np.roll(frames[n], int(rng.integers(-H, H)), 0)
        changes.append(t)
    return frames, changes


def flash(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """Flashes of one to four frames that fade, single or in a row, white or coloured, of all or part of the picture."""
    frames, changes, t = frames.copy(), [], int(rng.integers(5, 15))
    while t < len(frames) - 12:
        colour, most, decay = rng.uniform(180, 256, 3), rng.uniform(0.4, 1), rng.uniform(0.2, 0.8)
        x, y, wide = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(0.5, 4) * W
        down, across = np.mgrid[:H, :W]
        place = np.exp(-((across - x) ** 2 + (down - y) ** 2) / wide**2)[..., None]
        for n in range(int(rng.integers(1, 5))):
            share = most * decay**n * place
            frames[t + n] = (frames[t + n] * (1 - share) + colour * share).astype(np.uint8)
        changes.append(t)
        t += int(rng.integers(3, 8)) if rng.random() < 0.4 else int(rng.integers(15, 45))
    return frames, changes


def passing(frames: Frames, rng: np.random.Generator, takes: Takes) -> tuple[Frames, list[int]]:
    """Something large moves across before the camera, in 4 to 24 frames: dark, plain, or a piece of another take."""
    frames, changes, t = frames.copy(), [], int(rng.integers(5, 15))
    while t < len(frames) - 26:
        T, wide = int(rng.integers(4, 25)), rng.uniform(0.3, 1.1) * W
        thing = takes.draw(1)[0] if rng.random() < 0.5 else np.full((H, W, 3), rng.integers(0, 120, 3), np.uint8)
        edge, back, lean = int(rng.choice([1, 9, 41])), rng.random() < 0.5, rng.uniform(-0.5, 0.5)
        across, down = np.arange(W)[None, :], np.arange(H)[:, None]
        for n in range(T):
            left = -wide + (W + wide) * (n + 0.5) / T + lean * (down - H / 2)
            cover = ((across >= left) & (across < left + wide)).astype(np.float32)
            cover = cv2.blur(cover, (edge, edge))[..., None]
            if back:
                cover = cover[:, ::-1]
            frames[t + n] = (frames[t + n] * (1 - cover) + thing * cover).astype(np.uint8)
        changes.append(t)
        t += T + int(rng.integers(10, 30))
    return frames, changes


WITHIN: dict[str, Callable] = {"caption": caption, "inset": inset, "letterbox": letterbox, "exposure": exposure,
                               "glitch": glitch, "flash": flash, "passing": passing}


def jump(takes: Takes, rng: np.random.Generator) -> list[Frames]:
    """One take with pieces left out, where that is seen."""
    frames = takes.draw(int(rng.integers(LEAST_TAKE, 200)) if rng.random() < 0.7 else LEAST_TAKE)
    parts, begin, end = [], 0, int(rng.integers(20, 40))
    while True:
        after = end + int(rng.integers(15, 60))
        if after + 20 > len(frames):
            return [*parts, frames[begin : max(end, begin + 20)]]
        if np.abs(frames[end - 1].astype(int) - frames[after]).mean() > 10:
            parts.append(frames[begin:end])
            begin = after
        end = after + int(rng.integers(20, 40))


def punch(takes: Takes, rng: np.random.Generator) -> list[Frames]:
    """One take, of which parts are enlarged."""
    parts, close = [], False
    frames = takes.draw(LEAST_TAKE)
    place = np.array([rng.uniform(0.3, 0.7) * W, rng.uniform(0.3, 0.7) * H])
    for begin, end in ((0, 20), (20, 42), (42, 60)):
        scale = rng.uniform(1.25, 1.8) if close else 1.0
        matrix = np.float32([[scale, 0, (1 - scale) * place[0]], [0, scale, (1 - scale) * place[1]]])
        parts.append(np.stack([cv2.warpAffine(frame, matrix, (W, H)) for frame in frames[begin:end]]))
        close = not close
    return parts


def still(picture: Frames, T: int, rng: np.random.Generator) -> Frames:
    """A picture for T frames, as it is or slowly approached or left, with a little grain or none."""
    most, grain = rng.choice([1, 1, rng.uniform(1.05, 1.3)]), rng.choice([0, 2])
    scales = most ** np.linspace(0, 1, T)[:: rng.choice([-1, 1])]
    frames = np.stack([picture if most == 1 else turned(picture, scale, 0) for scale in scales])
    return np.clip(frames + rng.normal(0, grain, frames.shape), 0, 255).astype(np.uint8) if grain else frames


KINDS = (*GRADUAL, "jump", "punch", "short", "still", *WITHIN)


def draw(kind: str, takes: Takes, rng: np.random.Generator) -> tuple[list[Frames], list[dict], list[int]]:
    """A video: pieces to join, its events and its distractors."""
    pieces: list[Frames] = []
    events: list[dict] = []
    distractors: list[int] = []

    def length() -> int:
        return sum(map(len, pieces))

    def cut(to: Frames, name: str = "cut") -> None:
        if pieces:
            events.append({"a": length() - 1, "b": length(), "type": name})
        pieces.append(to)

    if kind in GRADUAL:
        between, (least, most) = GRADUAL[kind]
        left = takes.draw(60)
        for _ in range(SHOTS - 1):
            T = int(rng.integers(least, most))
            new = takes.draw(int(rng.integers(30, 60)) + T + 30)
            pieces.append(left[:-T])
            events.append({"a": length() - 1, "b": length() + T, "type": kind})
            pieces.append(between(left[-T:], new[:T], T, rng))
            left = new[T:]
        pieces.append(left)
    elif kind in WITHIN:
        for _ in range(SHOTS - 4):
            frames, changes = WITHIN[kind](takes.draw(int(rng.integers(50, 91))), rng, takes)
            distractors += [length() + t for t in changes]
            cut(frames)
    elif kind == "short":
        for _ in range(12):
            cut(takes.draw(int(rng.integers(*LONG))))
            for _ in range(int(rng.integers(3, 8))):
                cut(takes.draw(int(rng.integers(6, 17))))
    elif kind == "still":
        left = still(takes.draw(1)[0], 60, rng)
        for _ in range(SHOTS - 1):
            name = "cut" if rng.random() < 0.3 else str(rng.choice(("blend", "blend", "wipe", "slide", "push")))
            T = 0 if name == "cut" else int(rng.integers(*GRADUAL[name][1]))
            new = still(takes.draw(1)[0], int(rng.integers(30, 60)) + T + 30, rng)
            pieces.append(left[: len(left) - T])
            events.append({"a": length() - 1, "b": length() + T, "type": name})
            if T:
                pieces.append(GRADUAL[name][0](left[-T:], new[:T], T, rng))
            left = new[T:]
        pieces.append(left)
    else:
        for _ in range(SHOTS // 2):
            parts = (jump if kind == "jump" else punch)(takes, rng)
            for number, part in enumerate(parts):
                cut(part, kind if number else "cut")
    return pieces, events, distractors


def write(path: Path, frames: Frames) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE), options={
            "crf": "23", "preset": "veryfast", "g": "250", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--clips", type=Path, nargs="+", required=True, metavar="DIR", help="folders of real videos")
    parser.add_argument("--out", type=Path, required=True, metavar="EDITS", help="folder to write")
    parser.add_argument("--half", type=int, choices=(0, 1), default=0, help="half of the clips")
    parser.add_argument("--videos", type=int, default=2, metavar="N", help="videos of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND",
                        help=f"of {', '.join(KINDS)} (default all)")
    args = parser.parse_args()
    try:
        importlib.import_module("cv2")
    except ImportError as error:  # it may also lack a library of the system
        raise EruvError(f"edits.py draws with OpenCV ({error}); pip install opencv-python-headless") from None
    args.out.mkdir(parents=True, exist_ok=True)
    known = args.out / "takes.json"
    if not known.exists():
        paths = sorted(path for folder in args.clips for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
        found = [take for path in track(paths, "takes", console=Console(stderr=True)) for take in find_takes(path)]
        known.write_text(json.dumps(found, indent=0) + "\n")
    takes = [(Path(path), start, end) for path, start, end in json.loads(known.read_text())
             if half_of(Path(path)) == args.half]
    if len({path for path, *_ in takes}) < 10:
        raise EruvError(f"only {len(takes)} takes of {LEAST_TAKE} frames in {args.clips[0]}; give more clips")
    for kind in args.kinds:
        for number in range(args.videos):
            rng = np.random.default_rng([zlib.crc32(kind.encode()), number, args.half])
            pieces, events, distractors = draw(kind, Takes(takes, rng), rng)
            path = args.out / f"{kind}_{args.half}{number}.mp4"
            write(path, np.concatenate(pieces))
            truth = {"kind": kind, "events": events, "distractors": distractors}
            path.with_suffix(".json").write_text(json.dumps(truth) + "\n")


if __name__ == "__main__":
    run_program(main)
