"""Compilers for test_compiling.py: in a module of its own, which the processes of a run import."""

import functools
import logging
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from eruv_dali.train.processes import from_environment, join
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep


class CountingCompiler:
    """A backend of torch.compile that runs graphs as they are.

    Attributes:
        graphs: so many were compiled; runs: so many times one was run; batch_sizes: of the clips among their inputs.
        fails: "", or "forwards": compiling fails; "backwards": the backward pass of what was compiled does.
    """

    def __init__(self, fails: str = "") -> None:
        self.graphs = self.runs = 0
        self.batch_sizes: set = set()
        self.fails = fails

    def __call__(self, graph, inputs):
        self.graphs += 1
        self.batch_sizes |= {x.shape[0] for x in inputs if x.shape[1:] == (3, 4, 8, 8)}
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
    said: list[str] = []
    step_log = logging.getLogger("eruv_dali.train.step")
    step_log.addFilter(lambda record: said.append(record.getMessage()) or True)
    processes, cpu = from_environment(), torch.device("cpu")
    join(processes, cpu)
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=30), dist.group.WORLD)  # or a hang lasts half an hour
    compiler = CountingCompiler(at if processes.rank == fails else "")
    torch.compile = functools.partial(torch.compile, backend=compiler)
    step = TrainStep(small_net(), OptimConfig(compile="on", sync_batchnorm=sync_batchnorm), device=cpu,
                     precision=torch.float32, processes=processes)
    generator = torch.Generator().manual_seed(processes.rank)
    for number, size in enumerate((4 - processes.rank, 4, 4, 4)):
        compiler.runs = 0
        clips = torch.rand(size, 4, 8, 8, 3, generator=generator).permute(0, 4, 1, 2, 3)
        step(clips, torch.randint(7, (size,), generator=generator), number, whole=number > 0)
    torch.save({"net": step.net.state_dict(), "compiled": compiler.runs > 0, "graphs": compiler.graphs,
                "said": "".join(said)},
               out / f"rank{processes.rank}.pt")


class SmallNet(torch.nn.Module):
    """Clips (B, 3, 4, 8, 8) → (B, 7). A class of its own: below DDP, PyTorch compiles none of its own classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.BatchNorm3d(4), torch.nn.ReLU(),
                                          torch.nn.Flatten(), torch.nn.Linear(4 * 2 * 6 * 6, 7))

    def forward(self, x):
        return self.layers(x)


def small_net() -> SmallNet:
    """With the same weights each time."""
    torch.manual_seed(0)
    return SmallNet()
