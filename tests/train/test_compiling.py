"""torch.compile: once, for whole batches; and all processes run compiled, or none."""

import functools

import pytest
import torch
from counted_compiler import CountingCompiler, small_net, train_where_one_compiler_fails
from forked import all_ended, ranks

from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep


@pytest.fixture
def compiler(monkeypatch):
    """torch.compile with a compiler that compiles nothing and counts the graphs it is given."""
    counting = CountingCompiler()
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counting))
    yield counting
    torch.compiler.reset()


def batches(*sizes):
    """As the loaders deliver them, channels last."""
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        clips = torch.rand(size, 4, 8, 8, 3, generator=generator)
        yield clips.permute(0, 4, 1, 2, 3), torch.randint(7, (size,), generator=generator)


def trained(sizes, *, compile="on"):
    step = TrainStep(small_net(), OptimConfig(compile=compile), device=torch.device("cpu"), precision=torch.float32)
    for number, (clips, target) in enumerate(batches(*sizes)):
        step(clips, target, number, whole=len(clips) == 4)
    return step.net.state_dict()


@pytest.mark.parametrize("sizes", [(4, 4, 3, 4, 2, 4), (3, 4, 4, 3)])
def test_smaller_batches_are_not_compiled_for(compiler, sizes):
    compiled = trained(sizes)
    assert compiler.batch_sizes == {4} and compiler.graphs == 1
    plain = trained(sizes, compile="off")
    assert all(torch.equal(compiled[name], plain[name]) for name in plain)


def test_cudnn_does_not_try_its_algorithms_on_a_smaller_batch(monkeypatch):
    """Forwards nor backwards: both ask for the flag when they run."""
    seen = []

    class Spy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append(("forwards", len(x), torch.backends.cudnn.benchmark))
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.append(("backwards", len(gradient), torch.backends.cudnn.benchmark))
            return gradient

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 7))
    step = TrainStep(net, OptimConfig(), device=torch.device("cpu"), precision=torch.float32,
                     loss=lambda output, target: torch.nn.functional.cross_entropy(Spy.apply(output), target))
    for number, size in enumerate((4, 3, 4)):
        step(torch.rand(size, 3, 1, 2, 2), torch.zeros(size, dtype=torch.int64), number, whole=size == 4)
    assert seen == [(way, size, size == 4) for size in (4, 3, 4) for way in ("forwards", "backwards")]
    assert torch.backends.cudnn.benchmark


@pytest.mark.slow
@pytest.mark.parametrize("sync_batchnorm", [False, True])
@pytest.mark.parametrize("fails, at", [(None, ""), (1, "forwards"), (0, "backwards")])
def test_where_one_compiler_fails_all_processes_go_on_uncompiled(tmp_path, fails, at, sync_batchnorm):
    """The first batches of the two are not of one size, as at the end of an epoch, where a run may go on."""
    all_ended(ranks(tmp_path / "said", 2, train_where_one_compiler_fails, tmp_path, fails, at, sync_batchnorm))
    runs = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [run["compiled"] for run in runs] == [fails is None] * 2
    if fails is None and not sync_batchnorm:
        assert [run["graphs"] for run in runs] == [1, 1]
    for name, value in runs[0]["net"].items():
        assert torch.equal(value, runs[1]["net"][name]) or "running" in name
    said = [run["said"] for run in runs]
    for rank in (0, 1):
        assert ("torch.compile failed" in said[rank]) == (fails is not None)
    if fails is not None:
        assert "no compiler here" in said[fails] and "in another process" in said[1 - fails]
