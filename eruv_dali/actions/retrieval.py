"""Retrieval of labelled videos: which training videos are most similar to each test video, and are they of its class?

The program `retrieve` says what is written.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from eruv_dali.actions.chosen import chosen_network, prepared_splits, refuse_other_run, run_settings, split_folder
from eruv_dali.actions.split import ActionSplit
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.even_clips import clip_starts, names_in
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.evaluate.search import hits, nearest
from eruv_dali.files import write_aside, write_csv, write_text

TOPS = (1, 5, 10, 20, 50)
KEPT = 10  # neighbours of a query in neighbours.json


def retrieval_scores(hit_Qk: np.ndarray, database: int) -> dict[str, float | None]:
    """{"top1": share of queries whose first neighbour is a hit, "top5": one of the first 5, …}; None if the database
    is smaller.

    hit_Qk: (Q, k) bool, k = min(50, database), neighbours in order.
    """
    return {f"top{k}": float(hit_Qk[:, :k].any(1).mean()) if k <= database else None for k in TOPS}


def retrieve(
    train: np.ndarray, train_labels: Sequence[int] | np.ndarray, test: np.ndarray,
    test_labels: Sequence[int] | np.ndarray, *, device: str = "auto",
) -> tuple[dict[str, float | None], np.ndarray, np.ndarray, np.ndarray]:
    """Search the training features for each row of the test features, (N, D) and (Q, D); labels belong to the rows.

    Returns:
        `retrieval_scores`; and for each query's neighbours, (Q, k) with k = min(50, N): row, similarity, whether a hit.

    Raises:
        EruvError: features of different dimension.
    """
    index_Qk, similarity_Qk = nearest(test, train, min(max(TOPS), len(train)), device=device)
    hit_Qk = hits(index_Qk, test_labels, train_labels)
    return retrieval_scores(hit_Qk, len(train)), index_Qk, similarity_Qk, hit_Qk


def retrieve_split(
    features: SplitFeatures, split: ActionSplit, dataset: Dataset, out: Path, *, queries: str, clips: int,
    clip_length: int, device: str = "auto",
) -> dict[str, Any]:
    """Retrieve on one split and write its files into `out`. → {"query_rows", "database_rows", "topk"}"""
    train, test = features.of(split.train), features.of(split.test)
    for name, array in (("features_train.npy", train), ("features_test.npy", test)):
        write_aside(out / name, partial(np.save, arr=array))
    write_csv(out / "index.csv", ("video", "class", "split", "row"), [
        (path.resolve(), split.classes[label], side, row)
        for side, videos in (("train", split.train), ("test", split.test)) for row, (path, label) in enumerate(videos)])
    each = clips if queries == "clip" else 1
    labels = [np.repeat([label for _, label in side], each) for side in (split.train, split.test)]
    topk, index_Qk, similarity_Qk, hit_Qk = retrieve(train.reshape(-1, train.shape[-1]), labels[0],
                                                     test.reshape(-1, test.shape[-1]), labels[1], device=device)
    database, asked = (_rows(side, split.classes, dataset, each, clip_length) for side in (split.train, split.test))
    found = [{**query, "neighbours": [
        {**database[row], "similarity": round(float(similarity), 6), "hit": bool(hit)}
        for row, similarity, hit in zip(rows[:KEPT], similarities, hit_k, strict=False)]}
        for query, rows, similarities, hit_k in zip(asked, index_Qk, similarity_Qk, hit_Qk, strict=True)]
    lines = ",\n".join(json.dumps(query) for query in found)  # one query per line: there may be tens of thousands
    length = f'"clip_length": {clip_length}, ' if each > 1 else ""
    write_text(out / "neighbours.json", f'{{"dataset": {json.dumps(str(dataset.folder.resolve()))}, {length}"queries": '
               f"[\n{lines}\n]}}\n")
    return {"query_rows": len(asked), "database_rows": len(database), "topk": topk}


def _rows(
    side: Sequence[tuple[Path, int]], classes: Sequence[str], dataset: Dataset, clips: int, clip_length: int
) -> list[dict[str, Any]]:
    """The entry of each row in neighbours.json: video, class, and for a clip its first frame."""
    rows = [{"video": str(path.resolve()), "class": classes[label]} for path, label in side]
    if clips == 1:
        return rows
    frames = {video.name: video.frames for video in dataset.videos}
    names = names_in(dataset, [path for path, _ in side])
    return [{**row, "start": start} for row, name in zip(rows, names, strict=True)
            for start in clip_starts(frames[name], clips, clip_length)]


def run(args: argparse.Namespace) -> None:
    """Run the program `retrieve`; `args` as it takes them."""
    refuse_other_run(args.out, "retrieve")
    if (args.out / "result.json").exists() and not args.overwrite:
        raise EruvError(f"{args.out}: holds a finished run; choose another --out, or write it again with --overwrite")
    start = chosen_network(args)
    splits, dataset = prepared_splits(args, start)
    if args.queries == "clip" and args.clips == 1:
        raise EruvError("--queries clip with --clips 1: each video is one clip; leave out --queries")
    retrieve_splits(args, start, splits, dataset)


def retrieve_splits(
    args: argparse.Namespace, start: Pretrained, splits: list[tuple[str, ActionSplit]], dataset: Dataset
) -> None:
    """Retrieve on each split and write the results into `args.out`; `args` as the program takes them."""
    features = SplitFeatures(start, [split for _, split in splits], dataset, layer="pool5", clips=args.clips,
                             average_clips=args.queries == "video", batch_size=2 * args.batch_size, device=args.device)
    settings = {"program": "retrieve", **run_settings(args, start, splits), "queries": args.queries}
    per_split = {}
    for name, split in splits:
        folder = split_folder(args.out, name, len(splits))
        folder.mkdir(parents=True, exist_ok=True)
        per_split[name] = retrieve_split(features, split, dataset, folder, queries=args.queries, clips=args.clips,
                                         clip_length=start.clip_length, device=args.device)
        if len(splits) > 1:
            _write_result(folder, {**settings, "splits": [name], "classes": list(split.classes), **per_split[name]})
    topk = {top: _mean([figures["topk"][top] for figures in per_split.values()]) for top in map("top{}".format, TOPS)}
    result = {**settings, "splits": list(per_split), "topk": topk, "per_split": per_split}
    _write_result(args.out, result)
    _print_result({**result, "init": start.init}, args.out)


def _mean(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if len(known) == len(figures) else None


def _write_result(out: Path, result: dict) -> None:
    write_text(out / "result.json", json.dumps(result, indent=1) + "\n")


def _print_result(result: dict, out: Path) -> None:
    table = Table(title=Text(f"Retrieval on {result['dataset']}, from {result['init']}"))
    table.add_column("split")
    for name in ("queries", "database", *(f"top-{k}" for k in TOPS)):
        table.add_column(name, justify="right")
    rows = [(name, str(figures["query_rows"]), str(figures["database_rows"]), figures["topk"])
            for name, figures in result["per_split"].items()]
    if len(rows) > 1:
        rows.append(("mean", "", "", result["topk"]))
    for *words, topk in rows:
        table.add_row(*words, *("–" if value is None else f"{value:.1%}" for value in topk.values()))
    console.print(table)
    if None in result["topk"].values():
        console.print("–: more neighbours than there are training videos", highlight=False)
    console.print(f"{out}: result.json, features, index.csv, neighbours.json", highlight=False, markup=False)
