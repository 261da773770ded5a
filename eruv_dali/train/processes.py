"""Several training processes: ranks and communication. With one process, each function is a no-op.

`torchrun` starts the processes and sets each one's rank in the environment. GPUs communicate by NCCL, CPUs by gloo.
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

from eruv_dali.device import cores

PREPARING = timedelta(days=7)  # how long the others wait while the first process prepares videos


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: its number; only process 0 writes files and prints.
        world: how many there are, on all machines; `local_rank`, `local_world`: the same on this machine.
        restarts: how often torchrun has restarted them all.
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
    """This process as torchrun's environment describes it; a single process if torchrun did not start it."""
    names = {"rank": "RANK", "world": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_world": "LOCAL_WORLD_SIZE",
             "restarts": "TORCHELASTIC_RESTART_COUNT"}
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    return Processes(**{field: int(os.environ[name]) for field, name in names.items() if name in os.environ})


def take_device(processes: Processes, device: torch.device) -> None:
    """On GPUs, make the one with this process's local rank the current one. Call before loaders and networks."""
    if device.type == "cuda":
        torch.cuda.set_device(processes.local_rank)


def join(processes: Processes, device: torch.device) -> None:
    """Connect to the other processes."""
    if processes.world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=_store(processes.restarts),
                                rank=processes.rank, world_size=processes.world)


def first_alone(processes: Processes, work: Callable[[], str]) -> str:
    """Run `work` in the first process only, and return its result in all, however long it takes. Call before `join`."""
    if processes.world == 1:
        return work()
    store = _store(processes.restarts)
    if processes.first:
        store.set("first_alone", work())
    store.wait(["first_alone"], PREPARING)
    return store.get("first_alone").decode()


@cache
def _store(restarts: int) -> dist.Store:
    """torchrun's key-value store, shared by the processes. Entries from before a restart are still in it."""
    return dist.PrefixStore(f"eruv_dali/{restarts}", next(rendezvous("env://"))[0])


def cores_each(processes: Processes) -> int:
    """How many of this machine's cores are this process's own."""
    return max(1, cores() // processes.local_world)


def same_buffers(processes: Processes, net: nn.Module) -> None:
    """Give all processes the first one's running statistics, which are those that it saves. In training each counts its
    own, and DistributedDataParallel shares the first one's only ahead of a training step."""
    if processes.world > 1:
        for buffer in net.buffers():
            dist.broadcast(buffer, 0)


def add_up(processes: Processes, *tensors: torch.Tensor) -> None:
    """Replace each tensor by its sum over all processes."""
    if processes.world > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def anywhere(processes: Processes, here: bool, device: torch.device) -> bool:
    """Whether something is so in any process, if it is so `here`; all processes must ask. Waits for `device`."""
    count = torch.tensor(int(here), device=device)
    add_up(processes, count)
    return bool(count)


class Agreement:
    """Whether any process wants to stop: an all-reduce at every step, whose result is known one step later.

    The all-reduce runs through gloo during the step, so neither host nor GPU waits for it; and since all processes get
    the result at the same step, they stop at the same step.
    """

    def __init__(self, processes: Processes) -> None:
        self._group = dist.new_group(backend="gloo") if processes.world > 1 else None
        self._wish = torch.zeros(1)
        self._told: dist.Work | None = None

    def reached(self, wish: bool) -> bool:
        """Announce whether this process wants to stop; True once any process did so in an earlier call, or, if there is
        only one process, in this one."""
        if self._group is None:
            return wish
        if self._told is not None:
            self._told.wait()
        reached = bool(self._wish)
        self._wish = torch.tensor([float(wish or reached)])
        self._told = dist.all_reduce(self._wish, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        return reached


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes. Its gradient is summed too, because every process's loss depends on every summand."""

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
    """BatchNorm3d over the batches of all processes, on CPUs, which torch.nn.SyncBatchNorm does not support."""

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
    """`net` with BatchNorm that computes mean and variance over the batches of all processes; keys stay the same."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = HostSyncBatchNorm3d
    return net
