"""What the program does once its command line is read: find or prepare the videos, pre-train, print the result."""

import argparse
import shlex
import sys
from pathlib import Path

from rich.table import Table

from eruv_dali.console import console, progress, warn
from eruv_dali.dataset import Dataset
from eruv_dali.demo.corpus import render_corpus
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.native import data_dir
from eruv_dali.prepare import prepare
from eruv_dali.prepare.plan import VideosNotNamed, removing_command
from eruv_dali.pretext import find_pretext
from eruv_dali.pretext.eruv import RELATION_NAMES
from eruv_dali.pretrain.run import check_start, pretrain
from eruv_dali.train.checkpoint import checkpoints
from eruv_dali.train.config import Config, load_config
from eruv_dali.train.processes import first_alone, from_environment
from eruv_dali.train.run_dataset import own_dataset
from eruv_dali.train.stop import Stopped

RUNS = Path("runs")


def run(args: argparse.Namespace) -> None:
    """Run the program; `args` as it takes them."""
    # In `--videos a b optim.lr=0.1` argparse takes the overrides for videos.
    videos = [word for word in args.videos or ()
              if "=" not in word or "://" in word.partition("=")[0] or Path(word).exists()]
    overrides = args.overrides + [word for word in args.videos or () if word not in videos]

    processes = from_environment()
    if args.resume and not args.out:
        raise EruvError("--resume needs --out RUN, the run to continue")
    if (processes.world > 1 or processes.restarts) and not args.out:
        raise EruvError("under torchrun --out RUN is needed: the folder of the run, which its processes share")
    resume = args.resume or (processes.restarts > 0 and bool(checkpoints(Path(args.out) / "last.pt")))
    file, known = args.config, {}
    if args.resume and file is None:
        file = Path(args.out) / "config.yaml"
        if not file.exists():
            raise EruvError(f"{args.out}: no run to resume here (no config.yaml)")
    if args.data:
        known = {"data.dataset": args.data, "data.videos": []}
    elif videos:
        known = {"data.videos": videos, "data.dataset": None}
    if args.device:
        known["device"] = args.device
    config = load_config(file, overrides, **known)
    demo = not (config.data.dataset or config.data.videos)
    if demo and file is None:
        on_gpu = resolve_device(config.device) == "gpu"
        file = data_dir("configs") / ("demo_gpu.yaml" if on_gpu else "demo.yaml")
        config = load_config(file, overrides, **known)
    out = Path(args.out) if args.out else _next_run()
    check_start(config, out, resume=resume, processes=processes)

    def prepare_dataset() -> str:
        if demo:
            return str(_demo_dataset(config, out).folder)
        return str(_users_dataset(config, own_dataset(config, out)).folder)

    dataset = config.data.dataset or first_alone(processes, prepare_dataset)
    try:
        result = pretrain(config, Dataset(dataset), out, resume=resume, processes=processes)
    except Stopped as stopped:
        if processes.first:
            warn(str(stopped))
        sys.exit(128 + stopped.signal)
    if processes.first:
        _print_result(result, out)


def _next_run() -> Path:
    """runs/001, or the number after the last of those that are there."""
    taken = [int(path.name) for path in RUNS.glob("*") if path.name.isdigit()]
    return RUNS / f"{max(taken, default=0) + 1:03d}"


def _prepared(config: Config, videos: list[str], folder: Path, *, remove: bool = False) -> Dataset:
    data = config.data
    return prepare(
        videos, folder, device=config.device, pack=data.pack, rule=data.rule, threshold=data.threshold,
        segment_length=data.segment_length, min_length=data.min_length, frame_size=data.height_and_width,
        remove=remove,
    )


def _users_dataset(config: Config, folder: Path) -> Dataset:
    """Prepare the videos of the configuration. If some have vanished since, the user must decide what to do.

    Raises:
        EruvError: some have vanished, with the choices; or see `prepare`.
    """
    data = config.data
    try:
        return _prepared(config, data.videos, folder)
    except VideosNotNamed as error:
        command = removing_command(data.videos, folder, pack=data.pack, frame_size=data.height_and_width,
                                   min_length=data.min_length)
        raise EruvError(f"{error.said}; restore them, train on all that was prepared with --data "
                        f"{shlex.quote(str(folder))}, or remove them first: {command}") from None


def _demo_dataset(config: Config, out: Path) -> Dataset:
    """Draw the demo's videos, unless an earlier run did, and prepare them."""
    folder = out.parent / "demo_videos"
    console.print("[bold]demo[/] no videos given: drawing a small untrimmed corpus", highlight=False)
    with progress("videos") as bar:
        task = bar.add_task("draw", total=None)
        render_corpus(folder, progress=lambda done, total: bar.update(task, completed=done, total=total))
    # Both folders are ours: if a later version draws other videos, the old ones are of no use.
    return _prepared(config, [str(folder)], own_dataset(config, out), remove=True)


def _print_result(result: dict, out: Path) -> None:
    files = "backbone.pt (weights), best.pt, last.pt, metrics.jsonl, result.json, curves.png"
    if "accuracy" not in result:
        console.print(f"Validation loss [bold]{result['loss']:.4f}[/] ({result['samples']} samples of held-out videos, "
                      f"epoch {result['epoch']})", highlight=False)
        console.print(f"{out}: {files}", highlight=False, markup=False)
        return
    word = find_pretext(result["pretext"]).kind_word
    named = word == "relation"
    table = Table(title=f"Accuracy, epoch {result['epoch']} ({result['samples']} samples of held-out videos)")
    for column in (word, "", "accuracy", "chance") if named else (word, "accuracy", "chance"):
        table.add_column(column, justify="left" if column in (word, "") else "right")
    chance = f"{result['chance']:.1%}"
    for name, accuracy in result[f"per_{word}"].items():
        words = [name, RELATION_NAMES[name]] if named else [name]
        table.add_row(*words, "–" if accuracy is None else f"{accuracy:.1%}", chance)
    table.add_section()
    table.add_row("overall", *[""] * named, f"[bold]{result['accuracy']:.1%}", chance)
    console.print(table)
    console.print(f"{out}: {files}, confusion.png", highlight=False, markup=False)
