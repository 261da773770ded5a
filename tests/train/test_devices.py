"""What must hold on either device; the GPU's half is skipped where there is none."""

import time

import pytest
import torch

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.models import RelationNet, build_backbone
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.clock import StepClock
from eruv_dali.train.config import load_config
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep

either = pytest.mark.parametrize("device", ["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])


@either
def test_a_batch_that_is_held_stays_what_it_was(datasets, device):
    """The loader's memory goes back to DALI only when nobody holds the batch any more."""
    with RelationLoader(datasets["raw"], batch_size=2, device=device, pairs_per_epoch=40) as loader:
        batches = iter(loader)
        held = next(batches)
        copy, half = held.clips.clone(), held.clips[:, 1]
        half_copy = half.clone()
        later = [batch.clips.sum().item() for batch in batches]
        assert len(later) == 19 and len(set(later)) > 10
        assert torch.equal(held.clips, copy)
        del held
        for _ in loader:
            pass
        assert torch.equal(half, half_copy)
    assert torch.equal(half, half_copy)  # the loader is closed, the half is still there


@either
def test_two_loaders_at_once_do_not_disturb_each_other(datasets, device):
    def loader(seed, pack):
        return RelationLoader(datasets[pack], batch_size=3, device=device, pairs_per_epoch=12, seed=seed)

    alone = []
    for seed, pack in ((1, "raw"), (2, "jpeg")):
        with loader(seed, pack) as one:
            alone.append([batch.clips.clone() for batch in one])
    with loader(1, "raw") as first, loader(2, "jpeg") as second:
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            assert torch.equal(a.clips, alone[0][number]) and torch.equal(b.clips, alone[1][number])


@either
def test_the_clock_tells_waiting_from_working(device):
    place = torch.device("cuda" if device == "gpu" else "cpu")
    clock = StepClock(place)
    x = torch.rand(64, 64, device=place)
    for _ in range(5):
        clock.waiting()
        time.sleep(0.02)  # nothing comes
        clock.working()
        x = x @ x
        x = x / x.norm()
        if device == "cpu":
            time.sleep(0.01)
    read = time.perf_counter()
    seconds, waited = clock.lap()
    assert 0.1 <= waited <= seconds
    if device == "cpu":
        assert seconds >= 0.15
    seconds, waited = clock.lap()
    assert waited == 0 and seconds <= time.perf_counter() - read


@pytest.mark.slow
@either
def test_a_stopped_run_goes_on(datasets, device, tmp_path):
    small = [f"device={device}", "data.crop=56", "data.batch_size=2", "data.val_pairs=8", "data.pairs_per_epoch=8",
             "model.width=8", "model.backbone=r3d", "optim.epochs=2", "log.every_steps=2"]
    dataset = Dataset(datasets["raw"])
    pretrain(load_config(None, [*small, "optim.max_steps=3"]), dataset, tmp_path)
    result = pretrain(load_config(None, small), dataset, tmp_path, resume=True)
    assert result["samples"] == 8 and (tmp_path / "curves.png").exists() and (tmp_path / "confusion.png").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("pack", ["raw", "jpeg"])
def test_gpu_memory_does_not_grow(datasets, pack):
    with RelationLoader(datasets[pack], batch_size=4, device="gpu", pairs_per_epoch=4400) as loader:
        used = []
        for number, _ in enumerate(loader):
            if number in (99, 1099):
                torch.cuda.synchronize()
                free, total = torch.cuda.mem_get_info()
                used.append(total - free)
    assert used[1] - used[0] < 16e6


def losses(datasets, device, precision, compile="off", steps=50):
    """The loss of so many steps, always from the same weights, on the same pairs."""
    place = torch.device("cuda" if device == "gpu" else "cpu")
    torch.manual_seed(0)
    net = RelationNet(build_backbone("r3d", width=8), 7, head="linear")
    step = TrainStep(net, OptimConfig(lr=0.002, compile=compile), device=place, precision=precision)
    found = []
    with RelationLoader(datasets["raw"], batch_size=4, crop=56, device=device, dtype=precision,
                        pairs_per_epoch=4 * steps) as loader:
        for number, batch in enumerate(loader):
            found.append(step(batch.clips, batch.relation.to(place), number)[1])
    return torch.stack(found).cpu()


@pytest.mark.gpu
@pytest.mark.parametrize("precision, compile, tolerance", [
    (torch.float32, "off", 0.02), (torch.float32, "on", 0.02), (torch.bfloat16, "on", 0.15),
    (torch.float16, "off", 0.1)])
def test_fifty_steps_lose_as_they_do_on_the_cpu(datasets, precision, compile, tolerance):
    """float32 differs by the order of additions, the halves by their 8 or 11 bits: the curves stay together."""
    wanted = losses(datasets, "cpu", torch.float32)
    found = losses(datasets, "gpu", precision, compile)
    assert (found[:5] - wanted[:5]).abs().max() < tolerance
    # Single steps part in time, for rounding grows with every update; what the curve does must not.
    smooth = torch.nn.functional.avg_pool1d
    apart = (smooth(found[None], 10)[0] - smooth(wanted[None], 10)[0]).abs().max()
    assert apart < 3 * tolerance
