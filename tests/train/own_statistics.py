"""A network whose processes have counted different statistics, for test_processes.py: the processes import this."""

from pathlib import Path

import torch

from eruv_dali.train.processes import from_environment, join, same_buffers


def own_statistics(folder: Path) -> None:
    """Save the running mean that this process has after `same_buffers`; before, it is 1 + its rank."""
    processes = from_environment()
    join(processes, torch.device("cpu"))
    net = torch.nn.BatchNorm1d(2)
    net.running_mean.fill_(1 + processes.rank)
    same_buffers(processes, net)
    torch.save(net.running_mean, folder / f"{processes.rank}.pt")
