"""Retrieve videos by a video (Tables V and VI): which training videos are most similar to each test video?

    python -m eruv_dali.retrieve --dataset ucf101 --root UCF-101 --splits ucfTrainTestlist --init runs/c3d \\
        --out runs/c3d_ucf101_retrieval
    python -m eruv_dali.retrieve --dataset folder --root my_actions --groups '/([a-z]+)_' --leave-one-out \\
        --init none --backbone r3d --out runs/random_retrieval

Each video is described by its pool5 features (9,216 numbers at full size), the mean of 10 clips; similarity is the
cosine. A test video is a hit at k if any of the k training videos most similar to it has its class. With --queries clip
each clip of a test video is a query by itself, against all clips of the training videos.

The videos are prepared once, into a folder dataset_… next to RUN that the next run there finds again. Writes into RUN
result.json (fractions of 1: topk, per_split) and, for each split (with several, in RUN/split_N):

    features_train.npy, features_test.npy    float32, (videos, 9216); with --queries clip (videos, clips, 9216)
    index.csv                                video,class,split,row: which row of which file is which video
    neighbours.json                          each query, and the 10 training videos most similar to it:
        {"dataset": DATASET folder, "queries": [{"video": path, "class": name, "neighbours":
            [{"video": path, "class": name, "similarity": cosine, "hit": true or false}, …]}, …]}
        with --queries clip each video also has "start", the first frame of the clip
"""

import argparse
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.arguments import (
    add_network_arguments,
    add_split_arguments,
    chosen_network,
    prepared_splits,
    refuse_other_run,
    split_folder,
)
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError, run_program
from eruv_dali.evaluate.even_clips import clip_starts, names_in
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.evaluate.search import hits, nearest
from eruv_dali.files import write_aside, write_csv, write_text

TOPS = (1, 5, 10, 20, 50)
QUERIES = ("video", "clip")
KEPT = 10  # neighbours of a query in neighbours.json


def retrieval_scores(hit_Qk: np.ndarray, database: int) -> dict[str, float | None]:
    """{"top1": share of queries whose first neighbour is a hit, "top5": one of the first 5, …}; None if the database
    is smaller.

    hit_Qk: (Q, k) bool, k = min(50, database), neighbours in order.
    """
    return {f"top{k}": float(hit_Qk[:, :k].any(1).mean()) if k <= database else None for k in TOPS}


def retrieve(
    train: np.ndarray, train_labels: Sequence[int] | np.ndarray, test: np.ndarray,
    test_labels: Sequence[int] | np.ndarray, *,     device: str = "auto",
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
    write_text(out / "neighbours.json", f'{{"dataset": {json.dumps(str(dataset.folder.resolve()))}, "queries": [\n'
               f"{lines}\n]}}\n")
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


def main() -> None:
    logging.basicConfig(format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.retrieve", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_split_arguments(parser)
    add_network_arguments(parser)
    parser.add_argument("--queries", choices=QUERIES, default="video", help="what is searched for: each test video, or "
                        "each clip of it (default %(default)s)")
    args = parser.parse_args()

    refuse_other_run(args.out, "retrieve")
    start = chosen_network(args)
    splits, dataset = prepared_splits(args, start)
    if args.queries == "clip" and args.clips == 1:
        raise EruvError("--queries clip with --clips 1: each video is one clip; leave out --queries")
    retrieve_splits(args, start, splits, dataset)


def retrieve_splits(
    args: argparse.Namespace, start: Pretrained, splits: list[tuple[str, ActionSplit]], dataset: Dataset
) -> None:
    """Retrieve on each split and write the results into `args.out`; `args` as this program takes them."""
    features = SplitFeatures(start, [split for _, split in splits], dataset, layer="pool5", clips=args.clips,
                             average_clips=args.queries == "video", batch_size=2 * args.batch_size, device=args.device)
    settings = {
        "program": "retrieve", "dataset": args.dataset, "backbone": start.backbone.name,
        "width": start.backbone.width, "init": start.init, "seed": args.seed, "queries": args.queries,
        "clips": args.clips, "crop": start.crop, "frame_size": list(start.frame_size),
    }
    per_split = {}
    for name, split in splits:
        folder = split_folder(args.out, name, len(splits))
        folder.mkdir(parents=True, exist_ok=True)
        per_split[name] = retrieve_split(features, split, dataset, folder, queries=args.queries, clips=args.clips,
                                         clip_length=start.clip_length, device=args.device)
        if len(splits) > 1:
            _write_result(folder, {**settings, "splits": [name], **per_split[name]})
    topk = {top: _mean([figures["topk"][top] for figures in per_split.values()]) for top in map("top{}".format, TOPS)}
    result = {**settings, "splits": list(per_split), "topk": topk, "per_split": per_split}
    _write_result(args.out, result)
    _print_result(result, args.out)


def _mean(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if len(known) == len(figures) else None


def _write_result(out: Path, result: dict) -> None:
    write_text(out / "result.json", json.dumps(result, indent=1) + "\n")


def _print_result(result: dict, out: Path) -> None:
    table = Table(title=f"Retrieval on {result['dataset']}, from {result['init']}")
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


if __name__ == "__main__":
    run_program(main)
