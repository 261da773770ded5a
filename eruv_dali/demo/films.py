"""The content of the demo's films, without the pixels.

Each video is a small film of four to six shots with hard cuts. It has its own hue, backdrop (towers, trees, peaks, …)
and ground, which distinguish C_V (same video, another shot) from C_D (another video). Its shots differ in place,
light and camera; some show a place again through a second camera from the other side (C_S against C_V).

    world: X to the right, Y up, metres, ground at Y = 0 · screen: 256×192 pixels, y down, 24 frames a second
"""

from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, FPS = 256, 192, 24
DESIGN = 2  # increase whenever the drawing changes: videos of another design are drawn again
BACKDROPS = ("towers", "trees", "peaks", "bricks", "domes", "poles")
ACTORS = ("walker", "ball", "sparks", "cart")


@dataclass(frozen=True)
class Shot:
    """One take: what is shown (a place, the actors in it), through which camera, for how many frames."""

    frames: int
    place: int
    light: float  # 1 is noon, 0.3 is night
    camera_x: float  # metres
    zoom: float  # pixels per metre
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
    # Places 0, 1, 2 in turn; then place 0 or 1 again through the second camera.
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
    # Golden-ratio steps spread the hues of any number of films evenly around the colour circle.
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
