"""Compilers for test_compiling.py: in a module of its own, which the processes of a run import."""

import functools
import logging
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from eruv_dali.models import RelationNet, build_backbone
from eruv_dali.train.processes import from_environment, join
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep


class CountingCompiler:
    """A backend of torch.compile that runs graphs as they are.

    Attributes:
        graphs: so many were compiled; runs: so many times one was run; batch_sizes: first axes of their inputs, where
            they are clips.
        fails: "", or "forwards": compiling fails; "backwards": the backward pass of what was compiled does.
    """

    def __init__(self, fails: str = "") -> None:
        self.graphs = self.runs = 0
        self.batch_sizes: set = set()
        self.fails = fails

    def __call__(self, graph, inputs):
        self.graphs += 1
        self.batch_sizes |= {x.shape[0] for x in inputs if isinstance(x, torch.Tensor) and x.dim() == 6}
        if self.fails == "forwards":
            raise RuntimeError("no compiler here")

        def run(*arguments):
            self.runs += 1
            out = graph.forward(*arguments)
            if self.fails == "backwards":
                for x in out:
                    if x.requires_grad:
                        x.register_hook(_no_backward)
            return out

        return run


def _no_backward(gradient):
    raise RuntimeError("no compiler here for the backward pass")


def train_where_one_compiler_fails(out: Path, fails: int | None, at: str, sync_batchnorm: bool) -> None:
    """Train four steps as one of two processes; the compiler of process number `fails` fails. Save what came of it."""
    logging.basicConfig(level=logging.WARNING)
    processes, cpu = from_environment(), torch.device("cpu")
    join(processes, cpu)
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=60), dist.group.WORLD)  # or a hang lasts half an hour
    compiler = CountingCompiler(at if processes.rank == fails else "")
    torch.compile = functools.partial(torch.compile, backend=compiler)
    torch.manual_seed(0)
    net = RelationNet(build_backbone("r3d", width=4), 7)
    step = TrainStep(net, OptimConfig(compile="on", sync_batchnorm=sync_batchnorm), device=cpu,
                     precision=torch.float32, processes=processes, batch_size=4)
    generator = torch.Generator().manual_seed(processes.rank)
    for number, size in enumerate((4 - processes.rank, 4, 4, 4)):
        if number == 1:
            compiler.runs = 0
        clips = torch.rand(2, size, 4, 16, 16, 3, generator=generator).permute(1, 0, 5, 2, 3, 4)
        step(clips, torch.randint(7, (size,), generator=generator), number)
    torch.save({"net": net.state_dict(), "compiled": compiler.runs > 0, "graphs": compiler.graphs},
               out / f"rank{processes.rank}.pt")
