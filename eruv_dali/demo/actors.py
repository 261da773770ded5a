"""What moves in a shot. All of it follows gravity and has a direction in time.

Drops fall ever faster, sparks burst, arc and burn down, balls lose height at every bounce, exhaust grows and fades
behind a cart, people walk the way they face: so rotation (C_R), inversion (P_I), shuffling (P_D) and speed (P_S) can be
seen in any half second. Each actor is a function of (stage, rng) that returns what paints it at a time in seconds.
"""

from collections.abc import Callable

import numpy as np

from eruv_dali.demo.films import HEIGHT, WIDTH, Film, Shot
from eruv_dali.demo.paint import paint_capsule, paint_disc, rgb

GRAVITY = 9.8


class Stage:
    """A shot's camera and style for the actors: converts world metres to pixels, and colours to the shot's light."""

    def __init__(self, film: Film, shot: Shot):
        self.shot = shot
        self.film = film
        self.half_width = WIDTH / 2 / shot.zoom  # metres visible to either side of the camera

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Screen position of the point `x` metres right of the camera's middle, `y` metres above the ground line."""
        return WIDTH / 2 + x * self.shot.zoom, self.shot.ground_row + 0.08 * HEIGHT - y * self.shot.zoom

    def colour(self, hue: float, saturation: float = 0.8) -> np.ndarray:
        return rgb(self.film.hue + hue, saturation, 0.35 + 0.65 * self.shot.light)


def weather(stage: Stage, rng: np.random.Generator) -> Callable[[np.ndarray, float], None]:
    """Drops that fall faster and faster, tail behind; with the same speed on screen through every camera.

    Slow enough (at first 1/100 of the picture's height per frame) that it visibly falls even at four times the speed.
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
    """A person walks through the picture the way they face; legs and arms swing in opposite phase."""
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

        for leg in (np.pi, 0.0):  # the far leg first, the trunk between the two
            swing = 0.6 * np.sin(gait + leg)
            bend = 0.9 * max(0.0, np.cos(gait + leg))  # the knee bends while the leg comes forward
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
    """A cart rolls through, nose first; its exhaust stays where it was released, grows, rises and fades."""
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
