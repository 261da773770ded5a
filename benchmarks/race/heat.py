"""A heat: the contenders of one group take turns, so that a noisy machine affects them equally."""

import statistics
from collections.abc import Callable
from typing import Any

import torch

from eruv_dali.dataset import Dataset
from race.clips import clip_requests
from race.guard import Reference, wrong_clips
from race.measure import PeakMemory, measure
from race.usable import last_line


def run_heat(
    makers: dict[str, Callable[[], Any]], dataset: Dataset, videos: list[int], expected: list[Reference], *,
    orders: list[str], clips: int, repeats: int, device: str, say: Callable[[str], None],
) -> tuple[list[dict], list[str]]:
    """A row for each contender and order, and a line for each contender that failed.

    Args:
        makers: of the contenders, by name; a failure of one of ours, "ours, …", is raised.
        expected: clips whose frames each contender must deliver, before the race.
        clips: in a run.
    """
    contenders: dict[str, Any] = {}
    checked: dict[str, dict] = {}
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    failed = []
    for repeat in range(repeats + 1):
        for name, make in makers.items():
            if any(line.startswith(f"{name} (") for line in failed):
                continue
            try:
                if repeat == 0:
                    requests = clip_requests(dataset, videos, clips, seed=0, order=orders[0])
                    with PeakMemory() as peak:
                        contenders[name] = make()
                        measure(contenders[name].batches(requests), clips, device)
                    checked[name] = {"peak_memory_bytes": peak.bytes, **_check(contenders[name], expected)}
                    say(f"warming up: {name}")
                    continue
                for order in orders:
                    requests = clip_requests(dataset, videos, clips, seed=repeat, order=order)
                    figures = measure(contenders[name].batches(requests), clips, device)
                    runs.setdefault((name, order), []).append(figures)
                    say(f"run {repeat} of {repeats}: {name}, {order} order: {figures[0]:.0f} clips/s")
            except Exception as error:
                if name.startswith("ours"):
                    raise
                failed.append(f"{name} ({last_line(error)})")
                if name in contenders:
                    contenders.pop(name).close()
    for contender in contenders.values():
        contender.close()
    rows = []
    for order in orders:
        for name in contenders:
            rates = sorted(rate for rate, _ in runs[name, order])
            rows.append({"loader": name, "order": order, "min": rates[0], "median": statistics.median(rates),
                         "max": rates[-1], "ratio": None, "best_peer": None,
                         "cpu_seconds_per_clip": statistics.median(cpu for _, cpu in runs[name, order]),
                         **checked[name]})
    _compare(rows)
    return rows, failed


def _check(contender: Any, expected: list[Reference]) -> dict:
    clips = torch.cat([batch.cpu() for batch in contender.batches([reference.request for reference in expected])])
    return {"checked_clips": len(expected), "wrong_clips": wrong_clips(clips, expected)}


def _compare(rows: list[dict]) -> None:
    """Give each row of ours its ratio to the best peer of its order, and that peer's name."""
    for row in rows:
        peers = [other for other in rows if other["order"] == row["order"] and not other["loader"].startswith("ours")]
        if row["loader"].startswith("ours") and peers:
            best = max(peers, key=lambda peer: peer["median"])
            row["ratio"], row["best_peer"] = row["median"] / best["median"], best["loader"]
