"""The speed of a network alone: r3d, forwards, backwards and update, on one batch that is there already."""

import torch
from train_step import timed

from eruv_dali.models import RelationNet, build_backbone
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep, choose_precision

BACKBONE = "r3d"
PAIRS, STEPS = {"gpu": 8, "cpu": 1}, {"gpu": 20, "cpu": 1}  # a step on a CPU takes seconds


class Network:
    """`run` gives clips per second; the first call compiles and warms up."""

    def __init__(self, device: str) -> None:
        place = torch.device("cuda" if device == "gpu" else "cpu")
        torch.manual_seed(0)
        precision = choose_precision("auto", place)
        net = RelationNet(build_backbone(BACKBONE), 7)
        self._step = TrainStep(net, OptimConfig(), device=place, precision=precision)
        clips = torch.rand(PAIRS[device], 2, 16, 112, 112, 3, dtype=precision, device=place)
        relation = torch.arange(PAIRS[device], device=place) % 7
        self._batches = [(clips.permute(0, 1, 5, 2, 3, 4), relation)] * STEPS[device]
        self._device = place
        self.setting = f"{BACKBONE}, {2 * PAIRS[device]} clips, {str(precision).removeprefix('torch.')}"

    def run(self) -> float:
        return timed(self._step, self._batches, self._device)[0]
