"""A small pre-training run on numbered videos, for tests of what is drawn of a run."""

from pathlib import Path

from numbered import write_video

from eruv_dali.dataset import Dataset
from eruv_dali.prepare import prepare
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

# Batches and an epoch as small as can be; clips of the size whose numbers can be read.
TINY = ["model.backbone=r3d", "model.width=2", "device=cpu", "data.batch_size=2", "data.pairs_per_epoch=4",
        "data.val_pairs=14", "optim.epochs=2", "log.every_steps=1", "log.tensorboard=false"]


def make_videos(folder: Path) -> None:
    """Four numbered videos of two shots, one of a name that HTML must escape, prepared in folder/dataset."""
    for number, name in enumerate(("a <b>.mp4", "sub/another name, and a long one.mp4", "c.mp4", "d.mp4")):
        write_video(folder / "videos" / name, frames=160, shots=2, size=(144, 192), gop=16, first=200 * number)
    prepare([folder / "videos"], folder / "dataset", device="cpu", pack="raw", workers=1)


def train(dataset: Path, run: Path, *words: str) -> dict:
    """Pre-train on the DATASET; returns the result."""
    return pretrain(load_config(None, [*TINY, *words], **{"data.dataset": str(dataset)}), Dataset(dataset), run)
