"""Several training processes: who they are, what they tell each other. Alone, each function is a plain no-op.

`torchrun` starts the processes and tells each its place in the environment. GPUs talk through NCCL, CPUs through gloo.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

PREPARING = timedelta(days=7)  # how long the others wait while the first process prepares videos


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: its number; number 0 alone writes files and speaks to people.
        world: how many there are, on all machines; `local_rank`, `local_world`: the same on this machine.
        restarts: how often torchrun has started them all anew.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    restarts: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0


ALONE = Processes()


def from_environment() -> Processes:
    """What torchrun says of this process; one process alone where it says nothing."""
    names = {"rank": "RANK", "world": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_world": "LOCAL_WORLD_SIZE",
             "restarts": "TORCHELASTIC_RESTART_COUNT"}
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    return Processes(**{field: int(os.environ[name]) for field, name in names.items() if name in os.environ})


def join(processes: Processes, device: torch.device) -> None:
    """Meet the other processes. On a GPU each takes that of its number on its machine."""
    if device.type == "cuda":
        torch.cuda.set_device(processes.local_rank)
    if processes.world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=_store(processes.restarts),
                                rank=processes.rank, world_size=processes.world)


def first_alone(processes: Processes, work: Callable[[], str]) -> str:
    """Let the first process do `work` and give its answer to all, however long it takes. Before `join`."""
    if processes.world == 1:
        return work()
    store = _store(processes.restarts)
    if processes.first:
        store.set("first_alone", work())
    store.wait(["first_alone"], PREPARING)
    return store.get("first_alone").decode()


@cache
def _store(restarts: int) -> dist.Store:
    """Where torchrun lets the processes leave notes for each other. Those of before a restart are still in it."""
    return dist.PrefixStore(f"eruv_dali/{restarts}", next(rendezvous("env://"))[0])


def add_up(processes: Processes, *tensors: torch.Tensor) -> None:
    """Replace each tensor by its sum over all processes."""
    if processes.world > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


class Agreement:
    """Whether any process wants to stop: told by all to all at every step, learnt one step later.

    The answer is on its way while the step runs, through gloo, so neither host nor GPU waits for it; and since all
    learn it at the same step, they stop at the same step.
    """

    def __init__(self, processes: Processes) -> None:
        self._group = dist.new_group(backend="gloo") if processes.world > 1 else None
        self._wish = torch.zeros(1)
        self._told: dist.Work | None = None

    def reached(self, wish: bool) -> bool:
        """Tell this process's wish; True once any process wished it, before this call or (alone) at it."""
        if self._group is None:
            return wish
        if self._told is not None:
            self._told.wait()
        reached = bool(self._wish)
        self._wish = torch.tensor([float(wish or reached)])
        self._told = dist.all_reduce(self._wish, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        return reached


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; so is its gradient, for every process's loss depends on every summand."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class HostSyncBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d over the batches of all processes, on CPUs, where torch.nn.SyncBatchNorm refuses to work."""

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x_BCTHW)
        add_up, over = _SumOverProcesses.apply, (0, 2, 3, 4)
        x = x_BCTHW if x_BCTHW.dtype is torch.float64 else x_BCTHW.float()
        count = x.new_tensor([x.numel() / x.shape[1]])
        dist.all_reduce(count)
        mean_C = add_up(x.sum(over)) / count
        centred = x - mean_C[:, None, None, None]
        var_C = add_up(centred.square().sum(over)) / count
        with torch.no_grad():
            # What BatchNorm3d has unless it was asked to go without.
            assert self.num_batches_tracked is not None and self.momentum is not None
            assert self.running_mean is not None and self.running_var is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * (count / (count - 1)), self.momentum)
        scale = self.weight * (var_C + self.eps).rsqrt()
        return (centred * scale[:, None, None, None] + self.bias[:, None, None, None]).to(x_BCTHW.dtype)


def synchronise_batchnorm(net: nn.Module, device: torch.device) -> nn.Module:
    """`net` with its BatchNorm taking mean and variance over the batches of all processes; keys stay the same."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = HostSyncBatchNorm3d
    return net
