"""Fine-tuning of all layers, on clips in memory: from each start with several rates, until the training is learnt.

Rates are pairs: that of the classifier, and what it is multiplied by for each further layer down (`layer_rates.py`).
Each fold is trained with every pair. The one that counts for a fold is the one that did best on the other folds of
the set, over all seeds: groups of its training side. So a video's own result has no part in the choice of its rates,
and no training is spent on the choice alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch.nn import functional as F

from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.layer_rates import rates_by_name
from eruv_dali.finetune.task import ActionNet
from eruv_dali.models.backbone import channels_last
from eruv_dali.models.rescale import rescale_convolutions
from evaluation.features import cut, even_clips, normalised
from evaluation.folds import draw_labelled, leave_out
from evaluation.sets import Frames, LabelledVideos, open_frames
from evaluation.starts import fingerprint, measure_batchnorm

WEIGHT_DECAY = 0.01
TEST_CLIPS, BATCH = 3, 40
LEARNT = 0.1  # training loss, mean over the last RECENT steps, at which training ends
RECENT = 5
# Pixels that a training crop lies off the centre, at most, in each direction. Tests see the central crop; with crops
# from anywhere in the frame, ten videos take many times as long to learn.
SHIFT = 3
BN_STEPS = 4  # training batches that BatchNorm's statistics are measured on before a test


@dataclass(frozen=True)
class Budget:
    """How fine-tuning is done: folds of a set, learning rates and layer rates, of which all pairs are tried, batch,
    most steps, steps at which it is tested."""

    folds: int = 2
    rates: tuple[float, ...] = (0.002, 0.006)
    layer_rates: tuple[float, ...] = (1.0,)
    batch_size: int = 16
    steps: int = 160
    tested: tuple[int, ...] = (20, 40, 80)


@dataclass(frozen=True)
class Task:
    """One training: a start, a set, a fold, a share of the labels, a pair of rates."""

    start: Pretrained
    videos: LabelledVideos
    fold: str
    test: np.ndarray
    train: np.ndarray
    rates: tuple[float, float]
    rescale: bool
    seed: int
    view: str
    budget: Budget
    frames: Path
    out: Path
    device: torch.device


def tasks_of(
    start: Pretrained, sets: Sequence[LabelledVideos], share: float, rescale: bool, seed: int, view: str,
    budget: Budget, frames: Path, out: Path, device: torch.device,
) -> Iterator[Task]:
    """All trainings of a start; those whose file is in `out` are done."""
    words = fingerprint(start, view, asdict(budget), rescale, share, seed, LEARNT, RECENT, SHIFT, TEST_CLIPS,
                        BN_STEPS, WEIGHT_DECAY)
    for videos in sets:
        names = crc32(repr([str(path) for path in videos.paths]).encode())
        for fold, test in leave_out(videos.groups, budget.folds):
            train = draw_labelled(~test, videos.labels, share, videos.name, fold, seed)
            for rate, layer_rate in product(budget.rates, budget.layer_rates):
                file = out / f"{videos.name}_{fold}_{rate:g}_{layer_rate:g}_{words}_{names:08x}.json"
                yield Task(start, videos, fold, test, train, (rate, layer_rate), rescale, seed, view, budget, frames,
                           file, device)


def run_tasks(tasks: Sequence[Task], workers: int, done: Callable[[], object]) -> None:
    """Train what is not done yet; `done` is called after each."""
    left = [task for task in tasks if not task.out.exists()]
    if workers < 2 or len(left) < 2:
        for task in left:
            tune(task)
            done()
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            for _ in pool.map(tune, left):
                done()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def tune(task: Task) -> None:
    """Train, test, write: {"steps", "loss", "learnt": whether the loss fell below LEARNT, "hits": {steps: 0 or 1 of
    each test video, in the set's order}}; the last is where training ended."""
    frames = _frames(tuple(task.start.frame_size), task.frames)
    start, videos, budget = task.start, task.videos, task.budget
    backbone = deepcopy(start.backbone)
    if task.rescale:
        rescale_convolutions(backbone)
    torch.manual_seed(task.seed)
    net = channels_last(ActionNet(backbone, len(videos.classes)), task.device).train()
    # SGD takes several times as many steps to the same loss.
    rate, rate_of = task.rates[0], rates_by_name(backbone, task.rates[1])
    optimizer = torch.optim.AdamW([{"params": [parameter], "lr": rate * rate_of(name)}
                                   for name, parameter in net.named_parameters()], weight_decay=WEIGHT_DECAY)
    tested = np.flatnonzero(task.test)
    some = LabelledVideos(videos.name, tuple(videos.paths[row] for row in tested), videos.classes,
                          videos.labels[tested], videos.groups[tested], videos.units[tested])
    crop = start.crop if task.view == "crop" else None
    clips = even_clips(some, frames, start, TEST_CLIPS, crop=crop)
    batches = _batches(task, frames)
    losses: list[float] = []
    hits: dict[int, list[int]] = {}
    learnt = False
    for step in range(1, budget.steps + 1):
        x_BCTHW, label_B = next(batches)
        loss = F.cross_entropy(net(x_BCTHW), label_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        learnt = step >= RECENT and float(np.mean(losses[-RECENT:])) < LEARNT
        if step in budget.tested or step == budget.steps or learnt:
            hits[step] = _test(net, clips, some.labels, task, [next(batches)[0] for _ in range(BN_STEPS)])
        if learnt:
            break
    result = {"steps": len(losses), "loss": float(np.mean(losses[-RECENT:])), "learnt": learnt, "hits": hits}
    task.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(task.out, json.dumps(result) + "\n")


def _batches(task: Task, frames: Frames) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches: every video once in turn, each time another clip and crop; the same for all starts of a seed."""
    start, videos = task.start, task.videos
    random = np.random.default_rng([task.seed, crc32(f"{videos.name} {task.fold}".encode())])
    rows = np.flatnonzero(task.train)
    queue: list[int] = []
    while True:
        while len(queue) < task.budget.batch_size:
            queue += random.permutation(rows).tolist()
        chosen, queue = queue[: task.budget.batch_size], queue[task.budget.batch_size :]
        clips = []
        for row in chosen:
            path = videos.paths[row]
            first = int(random.integers(max(1, frames.place[str(path)][1] - start.clip_length + 1)))
            top, left = (_around(side, start.crop, random) for side in start.frame_size)
            clips.append(cut(frames.clip(path, first, start.clip_length), start.crop, top, left))
        yield (normalised(np.stack(clips), start, task.device),
               torch.from_numpy(videos.labels[chosen]).to(task.device))


def _around(side: int, crop: int, random: np.random.Generator) -> int:
    """Where a crop begins: SHIFT from the centre at most."""
    space = side - crop
    return int(np.clip(space // 2 + random.integers(-SHIFT, SHIFT + 1), 0, space))


@torch.no_grad()
def _test(
    net: ActionNet, clips: np.ndarray, labels: np.ndarray, task: Task, batches: list[torch.Tensor]
) -> list[int]:
    """0 or 1 of each video. BatchNorm's running mean lags behind in few steps, so its statistics are measured anew."""
    measure_batchnorm(net, batches)
    net.eval()
    flat = clips.reshape(-1, *clips.shape[2:])
    logits = torch.cat([net(normalised(flat[first : first + BATCH], task.start, task.device))
                        for first in range(0, len(flat), BATCH)])
    net.train()
    said = logits.reshape(len(clips), clips.shape[1], -1).mean(1).argmax(1).cpu().numpy()
    return (said == labels).astype(int).tolist()


@cache
def _frames(size: tuple[int, int], out: Path) -> Frames:
    return open_frames(size, out)


def chosen_hits(results: dict[tuple[int, str, tuple[float, float]], dict], tests: dict[str, np.ndarray],
                steps: int | None) -> tuple[np.ndarray, dict[str, tuple[float, float]]]:
    """Which videos of a set are recognised, with the rates of each fold chosen on the other folds.

    Args:
        results: (seed, fold, rates) → what `tune` wrote.
        tests: fold → (N,) bool, its test side.
        steps: read after so many; where training ended earlier, there. None: where it ended.

    Returns:
        (seeds, N) 0 or 1, seeds in ascending order; and fold → its rates.
    """
    seeds, rates = (sorted({key[place] for key in results}) for place in (0, 2))
    hits = np.zeros((len(seeds), len(next(iter(tests.values())))))
    chosen = {}
    for fold, test in tests.items():
        others = [other for other in tests if other != fold] or [fold]
        # Of rates that do equally well, the first: the lowest.
        chosen[fold] = max(rates, key=lambda rate, others=others: np.mean(np.concatenate(
            [_after(results[seed, other, rate], steps) for other in others for seed in seeds])))
        for row, seed in enumerate(seeds):
            hits[row, test] = _after(results[seed, fold, chosen[fold]], steps)
    return hits, chosen


def _after(result: dict, steps: int | None) -> list[int]:
    """The hits after so many steps: at the last test up to then, or the first one where there is none."""
    tested = sorted(result["hits"], key=int)
    wanted = [step for step in tested if steps is None or int(step) <= steps] or tested[:1]
    return result["hits"][wanted[-1]]
