"""The demo corpus: a few untrimmed videos, drawn on the spot, so that `python -m eruv_dali.pretrain` runs without any.

Each video is a small film of four to six shots with hard cuts. It has its own hue, backdrop (towers, trees, peaks, …)
and ground, which is what tells C_V (same video, another shot) from C_D (another video). Its shots differ in place,
light and camera, and some show a place again through a second camera from the other side, which tells C_S from C_V.
All that moves obeys gravity and an arrow of time (weather falls ever faster, sparks burst, arc and burn down, balls
lose height at every bounce, exhaust grows and fades behind a cart, people walk the way they look), so rotation (C_R),
inversion (P_I), shuffling (P_D) and speed (P_S) can be seen in any half second.

    world: X to the right, Y up, metres, ground at Y = 0 · screen: 256×192 pixels, y down, 24 frames a second
"""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from eruv_dali.errors import EruvError

WIDTH, HEIGHT, FPS = 256, 192, 24
DESIGN = 2  # raise it whenever the drawing changes: videos of another design are drawn again
GRAVITY = 9.8
BACKDROPS = ("towers", "trees", "peaks", "bricks", "domes", "poles")
ACTORS = ("walker", "ball", "sparks", "cart")


@dataclass(frozen=True)
class Shot:
    """One take: what is seen (a place, the actors in it), through which camera, for how many frames."""

    frames: int
    place: int
    light: float  # 1 is noon, 0.3 is night
    camera_x: float  # metres
    zoom: float  # pixels a metre
    ground_row: float  # screen row of the ground line
    mirrored: bool  # seen from the other side
    actors: tuple[str, ...]
    seed: int  # of the actors' motion


@dataclass(frozen=True)
class Film:
    """One video: its style and its shots."""

    name: str
    hue: float
    ground_hue: float
    saturation: float
    backdrop: str
    seed: int
    shots: tuple[Shot, ...]

    @property
    def cuts(self) -> list[int]:
        """First frame of every shot but the first."""
        return np.cumsum([shot.frames for shot in self.shots])[:-1].tolist()

    @property
    def frames(self) -> int:
        return sum(shot.frames for shot in self.shots)


def plan_film(index: int, seed: int) -> Film:
    """The film number `index` of corpus `seed`: everything but the pixels. It does not depend on the other films."""
    rng = np.random.default_rng((seed, index, DESIGN))
    lights = rng.permutation([1.0, 0.68, 0.4])
    cameras = [  # (zoom, ground row): wide, medium, close
        (44.0, 0.62 * HEIGHT),
        (60.0, 0.74 * HEIGHT),
        (84.0, 0.88 * HEIGHT),
    ]
    # Places 0, 1, 2 in turn; after them, place 0 or 1 comes again through the second camera.
    places = [0, 1, 2, 0, 1, 2][: int(rng.choice([4, 4, 5, 6]))]
    first_camera = rng.permutation(3)
    pairs = [tuple(rng.permutation(ACTORS)[:2]) for _ in range(3)]
    shots = []
    for number, place in enumerate(places):
        again = number >= 3
        zoom, ground_row = cameras[(first_camera[place] + again) % 3]
        shots.append(
            Shot(
                frames=int(rng.integers(80, 105)),
                place=place,
                light=float(lights[place]),
                camera_x=20.0 * place + float(rng.uniform(-1, 1)),
                zoom=zoom,
                ground_row=ground_row,
                mirrored=again,
                actors=pairs[place],
                seed=int(rng.integers(2**31)),
            )
        )
    # Golden-ratio steps spread the hues of any number of films evenly round the circle.
    hue = (0.6180339887 * (index + 7 * seed)) % 1.0
    return Film(
        name=f"demo_{index:02d}.mp4",
        hue=hue,
        ground_hue=(hue + (0.0, 0.2, 0.4, -0.2)[index % 4]) % 1.0,
        saturation=float(rng.uniform(0.55, 0.85)),
        backdrop=BACKDROPS[(index + seed) % len(BACKDROPS)],
        seed=int(rng.integers(2**31)),
        shots=tuple(shots),
    )


# --- colour and anti-aliased painting on a float image (HEIGHT, WIDTH, 3) in [0, 1] --------------------------------


def rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Hue, saturation, value in [0, 1] (hue wraps) to float32 RGB."""
    k = (np.array([5.0, 3.0, 1.0]) + 6.0 * hue) % 6.0
    return (value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0, 1)).astype(np.float32)


def paint_capsule(image: np.ndarray, a, b, radius_a: float, radius_b: float, colour, *, alpha=1.0, stripes=0.0) -> None:
    """A rounded bar from `a` to `b` (x, y pixels), radius going from `radius_a` to `radius_b`, with a dark rim.

    stripes: pixels between dark bands across the bar, 0 for none. alpha: its opacity.
    """
    (ax, ay), (bx, by) = a, b
    reach = max(radius_a, radius_b) + 1.5
    x0, x1 = max(0, int(min(ax, bx) - reach)), min(image.shape[1], int(max(ax, bx) + reach) + 2)
    y0, y1 = max(0, int(min(ay, by) - reach)), min(image.shape[0], int(max(ay, by) + reach) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    x = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(ax)
    y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(ay)
    dx, dy = np.float32(bx - ax), np.float32(by - ay)
    along = np.clip((x * dx + y * dy) / np.float32(dx * dx + dy * dy + 1e-6), 0, 1)
    radius = radius_a + (radius_b - radius_a) * along
    inside = radius - np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
    cover = np.clip(inside + 0.5, 0, 1) * np.float32(alpha)
    shade = 0.55 + 0.45 * np.clip(inside / 2.5, 0, 1)
    if stripes:
        shade = shade * np.where((along * np.hypot(dx, dy) / stripes) % 1.0 < 0.5, 1.0, 0.7)
    patch = image[y0:y1, x0:x1]
    patch += cover[..., None] * (shade[..., None] * colour - patch)


def paint_disc(image: np.ndarray, centre, radius: float, colour, *, alpha=1.0, spin=0.0, squash=1.0, spokes=0) -> None:
    """A disc, flattened vertically by `squash`, whose `spokes` dark sectors have turned by `spin` radians."""
    cx, cy = centre
    rx, ry = radius / np.sqrt(squash), radius * np.sqrt(squash)
    x0, x1 = max(0, int(cx - rx - 1)), min(image.shape[1], int(cx + rx + 3))
    y0, y1 = max(0, int(cy - ry - 1)), min(image.shape[0], int(cy + ry + 3))
    if x0 >= x1 or y0 >= y1 or radius < 0.3:
        return
    x = (np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(cx)) / np.float32(rx)
    y = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(ry)
    inside = (1 - np.sqrt(x * x + y * y)) * np.float32(radius)
    shade = 0.5 + 0.5 * np.clip(inside / 2.5, 0, 1)
    if spokes:
        shade = shade * np.where(np.sin(spokes * (np.arctan2(y, x) - spin)) > 0, 1.0, 0.45)
    patch = image[y0:y1, x0:x1]
    patch += (np.clip(inside + 0.5, 0, 1) * np.float32(alpha))[..., None] * (shade[..., None] * colour - patch)


# --- the still part of a shot --------------------------------------------------------------------------------------


def scatter(cell: np.ndarray, salt: int) -> np.ndarray:
    """A fixed pseudo-random number in [0, 1) for each whole number in `cell`."""
    return (np.sin(cell * 12.9898 + salt % 1000 * 78.233) * 43758.5453) % 1.0


def backdrop(film: Film, shot: Shot) -> np.ndarray:
    """Sky, ridge, the film's structures and ground as (HEIGHT, WIDTH, 3) float32 in [0, 1], four samples a pixel."""
    x = (np.arange(2 * WIDTH, dtype=np.float64)[None, :] + 0.5) / 2
    y = (np.arange(2 * HEIGHT, dtype=np.float64)[:, None] + 0.5) / 2
    side = -1.0 if shot.mirrored else 1.0
    X = shot.camera_x + side * (x - WIDTH / 2) / shot.zoom
    Y = (shot.ground_row - y) / shot.zoom
    salt = film.seed + 101 * shot.place
    tone, light, h = film.saturation, shot.light, film.hue

    height = np.clip(1 - y / shot.ground_row, 0, 1)[..., None]
    image = height * rgb(h, tone, light) + (1 - height) * rgb(h, 0.35 * tone, min(1.0, 1.15 * light))
    image = np.broadcast_to(image, (2 * HEIGHT, 2 * WIDTH, 3)).copy()

    def fill(mask: np.ndarray, colour: np.ndarray) -> None:
        image[np.broadcast_to(mask, image.shape[:2])] = colour

    ridge = 1.6 + 0.5 * np.sin(0.9 * X + salt) + 0.3 * np.sin(2.3 * X + 2 * salt)
    fill(ridge > Y, rgb(h + 0.04, 0.7 * tone, 0.75 * light))

    near, far, bright = rgb(h - 0.05, tone, 0.5 * light), rgb(h + 0.06, tone, 0.62 * light), rgb(h, 0.2, light)
    pitch = 1.5
    cell = np.floor(X / pitch)
    u = (X / pitch - cell - 0.5) * pitch  # metres from the middle of the cell
    tall = scatter(cell, salt)
    if film.backdrop == "towers":
        top = 1.2 + 2.0 * tall
        tower = (np.abs(u) < 0.55) & (top > Y)
        fill(tower, near)
        fill(tower & (np.abs(u * 4 % 1 - 0.5) < 0.25) & (np.abs(Y * 3 % 1 - 0.5) < 0.25), bright)
    elif film.backdrop == "trees":
        top = 1.2 + 0.8 * tall
        fill((np.abs(u) < 0.1) & (top > Y), near)
        crown = np.hypot(u, Y - top) < 0.5 + 0.2 * tall
        fill(crown, far)
        fill(crown & (np.sin(14 * (u + Y)) > 0.3), near)
    elif film.backdrop == "peaks":
        top = (1.4 + 1.4 * tall) * (1 - np.abs(u) / (0.5 * pitch))
        fill(top > Y, near)
        fill((top > Y) & (1.0 + 0.3 * np.abs(np.sin(9 * X)) < Y), bright)
    elif film.backdrop == "bricks":
        wall = 1.6 + 0.4 * (tall > 0.5) > Y
        row = np.floor(Y * 4)
        fill(wall, near)
        fill(wall & ((Y * 4 % 1 < 0.16) | ((X * 1.6 + 0.5 * (row % 2)) % 1 < 0.08)), bright)
    elif film.backdrop == "domes":
        top = 0.7 + 0.5 * tall
        dome = (np.abs(u) < 0.6) & (top > Y) | (np.hypot(u, Y - top) < 0.6)
        fill(dome, far)
        fill(dome & (np.sin(2 * np.pi * Y * 3) > 0.5), near)
    else:
        fill((np.abs(u) < 0.12) & (2.0 + 0.8 * tall > Y), near)
        fill((np.abs(u) < 0.12) & (2.0 + 0.8 * tall > Y) & (Y * 2 % 1 < 0.4), bright)
        fill(np.abs(Y - 1.3) < 0.08, far)

    # Ground: tiles in perspective, darker than all above it, so that up and down are plain.
    depth = np.maximum(y - shot.ground_row, 1e-3) / HEIGHT
    tiles = (np.floor(0.9 * X * (0.4 / (0.25 + depth))) + np.floor(1.6 / (0.15 + depth))) % 2
    value = (0.3 + 0.1 * tiles) * light
    ground = rgb(film.ground_hue, tone, 1.0) * value[..., None]
    mask = np.broadcast_to(Y <= 0, image.shape[:2])
    image[mask] = ground[mask]

    image *= 1 + 0.05 * np.random.default_rng(salt).standard_normal((2 * HEIGHT, 2 * WIDTH, 1))
    image = image.reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
    return np.clip(image, 0, 1).astype(np.float32)


# --- what moves ----------------------------------------------------------------------------------------------------


class Stage:
    """A shot's camera and style for the actors: world metres to pixels, and the film's colours under its light."""

    def __init__(self, film: Film, shot: Shot):
        self.shot = shot
        self.film = film
        self.half_width = WIDTH / 2 / shot.zoom  # metres seen to either side of the camera

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Screen position of the point `x` metres right of the camera's middle, `y` metres above the ground line."""
        return WIDTH / 2 + x * self.shot.zoom, self.shot.ground_row + 0.08 * HEIGHT - y * self.shot.zoom

    def colour(self, hue: float, saturation: float = 0.8) -> np.ndarray:
        return rgb(self.film.hue + hue, saturation, 0.35 + 0.65 * self.shot.light)


def weather(stage: Stage, rng: np.random.Generator) -> Callable[[np.ndarray, float], None]:
    """Drops that fall a little faster all the time, tail behind; the same speed on screen through every camera.

    Slow enough (a hundredth of the picture's height a frame, at first) that four times as fast is still seen to fall.
    """
    count = 12
    phase, lane = rng.random(count), (np.arange(count) + rng.random(count)) / count
    seconds = 2.8
    colour = stage.colour(0.0, 0.1)

    def draw(image: np.ndarray, t: float) -> None:
        for i in range(count):
            age, turn = (t / seconds + phase[i]) % 1.0, int(t / seconds + phase[i])
            x = WIDTH * ((lane[i] + 0.37 * turn) % 1.0)
            y = (0.7 * age + 0.3 * age * age) * (HEIGHT + 50) - 15
            paint_capsule(image, (x, y), (x, y - 14 - 12 * age), 6.5, 1.0, colour)

    return draw


def walker(stage: Stage, rng: np.random.Generator) -> Callable[[np.ndarray, float], None]:
    """A person walks through the picture the way they look; legs and arms swing in opposite phase."""
    facing = float(rng.choice([-1.0, 1.0]))
    speed, start = rng.uniform(1.2, 1.5), rng.random()
    shirt, legs, skin = stage.colour(0.5), stage.colour(0.42, 0.9), stage.colour(0.55, 0.3)
    span = 2 * stage.half_width + 1.2

    def draw(image: np.ndarray, t: float) -> None:
        x = facing * ((start * span + speed * t) % span - span / 2)
        gait = 2 * np.pi * speed * t / 1.3
        hip = (x, 0.85 + 0.04 * np.cos(2 * gait))
        neck = (x + 0.08 * facing, hip[1] + 0.55)
        z = stage.shot.zoom

        def limb(root, upper, lower, lengths, radius, colour):
            joint = (root[0] + facing * lengths[0] * np.sin(upper), root[1] - lengths[0] * np.cos(upper))
            end = (joint[0] + facing * lengths[1] * np.sin(lower), joint[1] - lengths[1] * np.cos(lower))
            paint_capsule(image, stage.at(*root), stage.at(*joint), radius * z, 0.85 * radius * z, colour)
            paint_capsule(image, stage.at(*joint), stage.at(*end), 0.85 * radius * z, 0.65 * radius * z, colour)
            return end

        for leg in (np.pi, 0.0):  # the far side first, the trunk between them
            swing = 0.6 * np.sin(gait + leg)
            bend = 0.9 * max(0.0, np.cos(gait + leg))  # the knee folds while the leg comes forward
            foot = limb(hip, swing, swing - bend, (0.42, 0.42), 0.085, legs * (0.7 if leg else 1.0))
            toe = (foot[0] + 0.17 * facing, foot[1] - 0.02)
            paint_capsule(image, stage.at(*foot), stage.at(*toe), 0.06 * z, 0.05 * z, legs * 0.5)
            arm = 0.7 * np.sin(gait + leg + np.pi)
            if leg:
                limb(neck, arm, arm + 0.5, (0.28, 0.27), 0.06, skin * 0.7)
                paint_capsule(image, stage.at(*hip), stage.at(*neck), 0.14 * z, 0.17 * z, shirt, stripes=0.12 * z)
            else:
                limb(neck, arm, arm + 0.5, (0.28, 0.27), 0.06, skin)
        head = (neck[0] + 0.03 * facing, neck[1] + 0.26)
        paint_disc(image, stage.at(*head), 0.15 * z, skin)
        brim = (head[0] + 0.26 * facing, head[1] + 0.06)
        paint_capsule(image, stage.at(head[0], head[1] + 0.08), stage.at(*brim), 0.09 * z, 0.03 * z, shirt)

    return draw


def ball(stage: Stage, rng: np.random.Generator) -> Callable[[np.ndarray, float], None]:
    """A striped ball drops, bounces lower each time, comes to rest, and is thrown in again."""
    radius, bounce, top = 0.24, 0.78, rng.uniform(1.7, 2.1)
    drift = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.35, 0.55)
    start = rng.uniform(0.2, 0.6) * -np.sign(drift) * stage.half_width
    first = np.sqrt(2 * top / GRAVITY)
    flights = [2 * first * bounce**n for n in range(1, 6)]  # seconds in the air after each bounce
    colour = stage.colour(0.33)
    offset = rng.uniform(0, 2)

    def draw(image: np.ndarray, t: float) -> None:
        t = (t + offset) % (first + sum(flights))
        x, since, height = start + drift * t, t - first, top - GRAVITY * t * t / 2
        if since >= 0:
            for flight in flights:
                if since < flight:
                    height = GRAVITY * since * (flight - since) / 2
                    break
                since -= flight
            else:
                height = 0.0
        squash = 0.7 + 0.3 * min(1.0, height / 0.2)
        at = stage.at(x, height + radius * squash)
        paint_disc(image, at, radius * stage.shot.zoom, colour, spin=6 * drift * t, squash=squash, spokes=3)

    return draw


def sparks(stage: Stage, rng: np.random.Generator) -> Callable[[np.ndarray, float], None]:
    """A fire bowl: twice a second sparks burst up, arc under gravity and burn down as they fall."""
    x0 = rng.uniform(-0.6, 0.6) * stage.half_width
    period, life, count = 0.55, 1.0, 6
    angles = rng.uniform(-0.55, 0.55, (64, count))
    power = rng.uniform(3.8, 5.2, (64, count))
    bowl = stage.colour(0.45, 0.5) * 0.6

    def draw(image: np.ndarray, t: float) -> None:
        z = stage.shot.zoom
        t = t + life
        for burst in range(int((t - life) / period), int(t / period) + 1):
            age = t - burst * period
            if not 0 <= age < life:
                continue
            for angle, v in zip(angles[burst % 64], power[burst % 64], strict=True):
                x = x0 + v * np.sin(angle) * age
                y = 0.4 + v * np.cos(angle) * age - GRAVITY * age * age / 2
                left = 1 - age / life
                paint_disc(image, stage.at(x, y), 0.15 * z * left, rgb(0.02 + 0.13 * left, 0.9 - 0.5 * left, 1.0))
        paint_capsule(image, stage.at(x0 - 0.3, 0.3), stage.at(x0 + 0.3, 0.3), 0.12 * z, 0.12 * z, bowl, stripes=5)
        paint_capsule(image, stage.at(x0, 0.2), stage.at(x0, 0.0), 0.08 * z, 0.14 * z, bowl)

    return draw


def cart(stage: Stage, rng: np.random.Generator) -> Callable[[np.ndarray, float], None]:
    """A cart rolls through, nose first; its exhaust stays where it was let out, grows, rises and fades."""
    facing = float(rng.choice([-1.0, 1.0]))
    speed, start = rng.uniform(1.6, 2.0), rng.random()
    span = 2 * stage.half_width + 2.6
    body, glass, smoke = stage.colour(0.6), stage.colour(0.1, 0.15), stage.colour(0.0, 0.08)
    puff_every, puff_life = 0.2, 1.0

    def draw(image: np.ndarray, t: float) -> None:
        z = stage.shot.zoom
        way = start * span + speed * t
        x = facing * (way % span - span / 2)
        for puff in range(int((t + 9) / puff_every) - 5, int((t + 9) / puff_every) + 1):
            age = t + 9 - puff * puff_every
            if 0 <= age < puff_life:
                at = stage.at(x - facing * (0.75 + speed * age), 0.35 + 0.5 * age)
                paint_disc(image, at, (0.06 + 0.22 * age) * z, smoke, alpha=0.9 * (1 - age / puff_life))
        low, high = 0.38, 0.75
        back, front = stage.at(x - 0.5 * facing, high), stage.at(x + 0.1 * facing, high)
        paint_capsule(image, back, front, 0.2 * z, 0.17 * z, glass)
        back, nose = stage.at(x - 0.6 * facing, low), stage.at(x + 0.75 * facing, low)
        paint_capsule(image, back, nose, 0.24 * z, 0.15 * z, body, stripes=9)
        for wheel in (-0.45, 0.5):
            turn = facing * way / 0.2
            paint_disc(image, stage.at(x + wheel * facing, 0.2), 0.2 * z, 0.5 * body, spin=turn, spokes=4)

    return draw


DRAWN = {"walker": walker, "ball": ball, "sparks": sparks, "cart": cart}


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


# --- files ---------------------------------------------------------------------------------------------------------


def render_film(film: Film, path: Path, mark: str) -> None:
    """Draw `film` and encode it as H.264 in MP4 at `path`, written aside and renamed when whole."""
    aside = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    try:
        with av.open(str(aside), "w", options={"movflags": "faststart"}) as container:
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
    """True where `path` is a film that an earlier run finished, of this design and seed."""
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment") == mark
    except (av.error.FFmpegError, OSError):
        return False


def render_corpus(
    folder: Path, *, num_videos: int = 20, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Draw the demo corpus into `folder` and return its videos' paths, `demo_00.mp4` first.

    Films that an earlier run finished are kept; the same seed gives the same films. Two films are drawn at a time on
    two cores, and so on. progress: called with (films finished, num_videos) at the start and after each film.
    Raises `EruvError` where the folder cannot be written.
    """
    if num_videos < 1:
        raise EruvError(f"num_videos ({num_videos}) must be at least 1")
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
    # Spawned, not forked: by now the caller may hold threads and a GPU.
    workers = min(len(todo), len(os.sched_getaffinity(0)))
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(render_film, *job) for job in todo]
            for job in as_completed(jobs):
                job.result()
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


def corpus_cuts(*, num_videos: int = 20, seed: int = 0) -> dict[str, list[int]]:
    """The true cuts of `render_corpus` with the same arguments: file name → first frame of each shot but the first."""
    return {film.name: film.cuts for film in (plan_film(index, seed) for index in range(num_videos))}
