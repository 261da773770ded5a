"""Labelled data sets in miniature, with the official files' syntax, and small videos that a network can tell apart."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

UCF = {"ApplyEyeMakeup": 3, "Basketball": 3, "YoYo": 3}
HMDB = {
    "brush_hair": ["#20_Rhythm_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
                   "Blonde_(being)_brushed_brush_hair_f_nm_np2_ri_med_0.avi"],
    "shoot_ball": ["1;2_shoot_ball_u_cm_np1_fr_med_0.avi", "[2009]_Me & you!_shoot_ball_u_cm_np1_fr_med_1.avi",
                   "KELVIN'S_50%_shoot_ball_f_nm_np1_fr_goo_2.avi"],
}


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not opened by read_split")
    return path


def make_ucf101(folder: Path, write: Callable[[Path], object]) -> Path:
    """UCF101 as it unpacks, videos by `write(path)`. Groups 1 to 3, group n is the test side of split n."""
    names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name, groups in UCF.items()
             for group in range(1, groups + 1)]
    for name in names:
        write(folder / "UCF-101" / name)
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_bytes(b"".join(f"{n} {name}\r\n".encode() for n, name in enumerate(UCF, 1)))
    for split in (1, 2, 3):
        test = [name for name in names if f"_g{split:02d}_" in name]
        train = [name for name in names if name not in test]
        label = {name: n for n, name in enumerate(UCF, 1)}
        (lists / f"testlist{split:02d}.txt").write_text("".join(f"{name}\r\n" for name in test) + "\r\n")
        (lists / f"trainlist{split:02d}.txt").write_text(
            "".join(f"{name} {label[name.split('/')[0]]}\n" for name in train) + "\n\n")
    return folder


def make_hmdb51(folder: Path, write: Callable[[Path], object]) -> Path:
    """HMDB51 as it unpacks: of each class one video is for training, one for testing, one for neither."""
    lists = folder / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for name, videos in HMDB.items():
        for video in videos:
            write(folder / "hmdb51_org" / name / video)
        for split in (1, 2, 3):
            (lists / f"{name}_test_split{split}.txt").write_text(
                "".join(f"{video} {side} \n" for video, side in zip(videos, (1, 2, 0), strict=True)))
    return folder


COLOURS = {"bend": (200, 60, 60), "run": (60, 200, 60), "wave1": (60, 60, 200)}


def write_action(path: Path, colour: tuple[int, int, int], *, frames: int = 20, seed: int = 0) -> Path:
    """A video of noise in one colour, 48x64: the easiest action there is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 1_000_000
        for _ in range(frames):
            picture = np.clip(colour + random.normal(0, 25, (48, 64, 3)), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def make_persons(folder: Path) -> Path:
    """One folder a class, three classes, person_action.avi of four persons; that of one is shorter than a clip."""
    for label, (action, colour) in enumerate(COLOURS.items()):
        for number, person in enumerate(("daria", "denis", "eli", "ido")):
            write_action(folder / action / f"{person}_{action}.avi", colour, frames=20 if number else 9,
                         seed=10 * label + number)
    return folder
