"""What the network of a pre-training run says about samples of the held-out videos, and the pictures it saw of them."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.device import torch_device
from eruv_dali.errors import EruvError
from eruv_dali.models import HeadOptions, build_backbone
from eruv_dali.models.backbone import channels_last
from eruv_dali.pretext.loader import PretextBatch, SampleInfo
from eruv_dali.pretext.pretext import Pretext
from eruv_dali.train.checkpoint import checkpoints, load_checkpoint, load_newest, parts_of
from eruv_dali.train.config import Config, load_config, of_pretrain
from eruv_dali.train.run_dataset import run_dataset
from eruv_dali.train.sample_loader import sample_loader
from eruv_dali.train.step import choose_precision
from eruv_dali.video.place import locate


@dataclass(frozen=True)
class Answer:
    """A sample, and what the network says.

    Attributes:
        info: its kind, and where its clips came from.
        clips_KTHWC: (K, T, H, W, 3) uint8, as the network saw them: cropped, turned, in the order shown.
        label: position of its kind.
        shares: (R,) float, the softmax over the kinds: what the network gives for the probability of each; empty for a
            pretext without kinds.
        loss: of this sample.
    """

    info: SampleInfo
    clips_KTHWC: np.ndarray
    label: int
    shares: np.ndarray
    loss: float

    @property
    def said(self) -> int:
        """Position of the kind that the network takes it for."""
        return int(self.shares.argmax())

    @property
    def right(self) -> bool:
        return self.said == self.label


@dataclass(frozen=True)
class Answers:
    """The first samples of a run's validation, in its order, and what the network says about them.

    Attributes:
        pretext: that drew them.
        file: of the network's weights; `epochs`: how many it was trained for, None for a checkpoint within one.
        samples: of the whole validation.
    """

    answers: list[Answer]
    pretext: Pretext
    file: Path
    epochs: int | None
    samples: int


def held_out_answers(
    run: Path, *, samples: int = 48, data: str | Path | None = None, device: str = "auto"
) -> Answers:
    """Have the best network of a pre-training run answer samples that the run is validated on.

    Args:
        run: the RUN folder: its config.yaml says what a sample is; the network is that of best.pt, or, before the
            first validation, of last.pt.
        samples: how many, from the first on; all, if there are fewer.
        data: the DATASET; by default the one that the run was trained on.
        device: "auto", "gpu", "cpu".

    Raises:
        EruvError: no run of pretrain, no checkpoint yet, a damaged one or one of another configuration, no DATASET, or
            one that does not suffice for the run's pretext.
    """
    if samples < 1:
        raise EruvError(f"samples {samples} must be at least 1")
    config = replace(_config(run), device=device)
    weights, epochs, file = _weights(run)
    folder = locate(data) if data is not None else run_dataset(config, run)
    if data is None and isinstance(folder, Path) and not folder.is_dir():
        raise EruvError(f"{folder}: the DATASET of {run} is not here; name the folder where it lies now (--data)")
    place = torch_device(device)
    precision = choose_precision(config.optim.precision, place)
    with closing(Dataset(folder)) as dataset, sample_loader(config, dataset, "val", precision) as loader:
        pretext, model = loader.pretext, config.model
        backbone = build_backbone(model.backbone, width=model.width, input=model.input)
        net = pretext.net(backbone, HeadOptions(model.head, model.hidden, model.dropout))
        with parts_of(file):
            net.load_state_dict(weights)
        net = channels_last(net, place).eval()
        of, loader.items = loader.items, min(samples, loader.items)
        loader.set_epoch(0)
        answers: list[Answer] = []
        with torch.inference_mode():
            for batch in loader:
                with torch.autocast(place.type, precision, enabled=precision is not torch.float32):
                    output = net(batch.clips).float()
                answers += _answers(pretext, batch, output)
    return Answers(answers[:samples], pretext, file, epochs, of)


def _answers(pretext: Pretext, batch: PretextBatch, output: torch.Tensor) -> list[Answer]:
    setting = pretext.setting
    mean, std = (torch.tensor(three, device=batch.clips.device).view(3, 1, 1, 1)
                 for three in (setting.mean, setting.std))
    target = pretext.target(batch.label, batch.clips).to(output.device)
    shares_BR = output[:, :len(pretext.kinds)].softmax(1).cpu().numpy()
    found = []
    for place, (clips, info) in enumerate(zip(batch.clips, batch.info, strict=True)):
        pictures = (255 * (clips.float() * std + mean)).round().clamp(0, 255).byte().permute(0, 2, 3, 4, 1)
        loss = float(pretext.loss(output[place:place + 1], target[place:place + 1]))
        found.append(Answer(info, pictures.cpu().numpy(), int(batch.label[place]), shares_BR[place], loss))
    return found


def _config(run: Path) -> Config:
    file = run / "config.yaml"
    if not run.is_dir():
        raise EruvError(f"{run}: no such folder; name a RUN of eruv_dali.pretrain")
    if not file.exists():
        raise EruvError(f"{run}: no run of pretrain here (no config.yaml); name a RUN of eruv_dali.pretrain")
    if not of_pretrain(file):
        raise EruvError(f"{run}: is a run of finetune, which has no such samples; name a RUN of eruv_dali.pretrain")
    return load_config(file)


def _weights(run: Path) -> tuple[dict[str, Any], int | None, Path]:
    """State of the network, epochs it was trained for (None: not known), and the file."""
    file = run / "best.pt"
    if file.exists():
        state = load_checkpoint(file)
        with parts_of(file):
            return dict(state["net"]), int(state["epoch"]) + 1, file
    if not checkpoints(run / "last.pt"):
        raise EruvError(f"{run}: has no checkpoint yet (neither best.pt nor last.pt); wait for the end of its first "
                        "epoch")
    state, file = load_newest(run / "last.pt")
    with parts_of(file):
        return dict(state["net"]), None, file
