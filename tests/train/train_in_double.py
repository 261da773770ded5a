"""Training in float64, for test_processes.py: in a module of its own, which the processes of a run import."""

from pathlib import Path

import torch

from eruv_dali import RelationLoader
from eruv_dali.models import RelationNet, build_backbone
from eruv_dali.train.processes import from_environment, join
from eruv_dali.train.schedule import scaled
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep


def train_in_double(dataset: Path, out: Path, batch_size: int, lr: float) -> None:
    """Train six steps, among the processes that the environment tells of, and save the weights."""
    processes, cpu = from_environment(), torch.device("cpu")
    join(processes, cpu)
    torch.manual_seed(0)
    net = RelationNet(build_backbone("r3d", width=4), 7, head="linear").double()
    optim = OptimConfig(lr=scaled(lr, processes.world, "linear"), sync_batchnorm=True)
    step = TrainStep(net, optim, device=cpu, precision=torch.float32, processes=processes)
    with RelationLoader(dataset, batch_size=batch_size, crop=40, device="cpu", pairs_per_epoch=24,
                        shard_id=processes.rank, num_shards=processes.world) as loader:
        for number, batch in enumerate(loader):
            step(batch.clips.double(), batch.relation, number)
    if processes.first:
        torch.save(net.state_dict(), out)
