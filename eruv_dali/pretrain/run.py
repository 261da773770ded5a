"""A pre-training run, from its configuration and a prepared DATASET to a RUN folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eruv_dali.dataset import Dataset
from eruv_dali.device import torch_device
from eruv_dali.errors import EruvError
from eruv_dali.files import write_text
from eruv_dali.pretext import find_pretext
from eruv_dali.pretext.eruv import RELATION_NAMES
from eruv_dali.pretext.loader import pretext_of_part
from eruv_dali.pretext.pretext import Pretext, Setting
from eruv_dali.pretrain.natural import recalibrate_file
from eruv_dali.pretrain.task import PretrainTask
from eruv_dali.train.config import Config, dump_config
from eruv_dali.train.loop import Trainer, disk_errors_named, only_training, refuse_run
from eruv_dali.train.processes import ALONE, Processes, join, take_device
from eruv_dali.train.sample_loader import refuse_large_batch, sample_loader
from eruv_dali.train.step import choose_precision
from eruv_dali.video.frames import FRAME_SIZE
from eruv_dali.visualize.confusion import draw_confusion
from eruv_dali.visualize.curves import draw_curves


def pretrain(
    config: Config, dataset: Dataset, out: Path, *, resume: bool = False, processes: Processes = ALONE
) -> dict[str, Any]:
    """Pre-train on a prepared DATASET and fill the RUN folder `out`.

    Writes config.yaml, metrics.jsonl, last.pt, best.pt (best validation accuracy), backbone.pt (the best backbone;
    with `checkpoint.recalibrate`, its BatchNorm statistics are those of natural clips once the run is over),
    result.json, curves.png and confusion.png; returns the content of result.json: {"accuracy", "per_relation", …},
    fractions of 1, of the best epoch. A pretext without kinds has "loss" instead of "accuracy", the best epoch is that
    of the lowest validation loss, and there is no confusion.png.

    Args:
        config: everything that determines the run. `data.batch_size` and `optim.lr` are for one process: with several,
            each takes its own batch, and the learning rate is multiplied according to `optim.lr_rule`.
        dataset: written by `prepare`.
        out: the RUN folder.
        resume: continue from the newest intact checkpoint in `out`, bit for bit.
        processes: this process among those that train together; only the first writes.

    Raises:
        EruvError: `out` holds a run already (without `resume`), or a run with another `config`; the data does not
            suffice for the configuration; the loss is not a finite number; a file cannot be written.
        Stopped: SIGINT or SIGTERM was received, and the run was saved.
    """
    device = check_start(config, out, resume=resume, processes=processes)
    config = for_dataset(config, dataset)
    take_device(processes, device)
    precision = choose_precision(config.optim.precision, device)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    with (
        sample_loader(config, dataset, "train", precision, processes) as train,
        sample_loader(config, dataset, "val", precision, processes) as val,
        disk_errors_named(out),
        only_training(out, resume, processes),
    ):
        join(processes, device)
        task = PretrainTask(config, train, val)
        trainer = Trainer(task, optim=config.optim, checkpoint=config.checkpoint, log=config.log, out=out,
                          seed=config.seed, device=device, precision=precision, processes=processes, resume=resume,
                          terms=task.terms)
        if processes.first:
            write_text(out / "config.yaml", dump_config(config))
        result = trainer.train()
        if processes.first:
            if config.checkpoint.recalibrate:
                recalibrate_file(out / "backbone.pt", config, train, device)
                result = {**result, "recalibrated": config.checkpoint.recalibrate}
            write_text(out / "result.json", json.dumps(result, indent=1) + "\n")
            draw_curves(out / "metrics.jsonl", out / "curves.png")
            if train.pretext.kinds:
                names = [f"{kind}: {RELATION_NAMES[kind]}" if kind in RELATION_NAMES else kind
                         for kind in train.pretext.kinds]
                draw_confusion(result["confusion"], names, out / "confusion.png",
                               title=f"{result['samples']} samples of held-out videos, epoch {result['epoch']}")
        return result


def for_dataset(config: Config, dataset: Dataset) -> Config:
    """`config` with the DATASET's own `data.frame_size`, which evaluation has to prepare its videos with too.

    Raises:
        EruvError: the configuration asks for another one.
    """
    frames = [dataset.frame_height, dataset.frame_width]
    if config.data.frame_size not in (frames, list(FRAME_SIZE)):
        raise EruvError(f"data.frame_size = {config.data.frame_size}, but the frames of {dataset.folder} are {frames}; "
                        "leave it out, or prepare the videos again with that --frame-size")
    return replace(config, data=replace(config.data, frame_size=frames))


def check_start(config: Config, out: Path, *, resume: bool, processes: Processes) -> torch.device:
    """Find what would stop `pretrain` whatever the videos are; returns this process's device.

    Raises:
        EruvError: no such device, `out` holds a run already, or a batch that `data.pairs_per_epoch` can never fill.
    """
    device = torch_device(config.device, processes.local_rank)
    refuse_run(out, resume)
    if config.data.pairs_per_epoch is not None:
        refuse_large_batch(config.data.batch_size, config.data.pairs_per_epoch, processes)
    return device


def check_run(config: Config, dataset: Dataset) -> Pretext:
    """Find what would stop `pretrain` on this DATASET at its beginning, without making loaders or networks; returns the
    pretext of the training videos.

    Raises:
        EruvError: the videos or the pack are not what prepare left, the crop does not fit into the DATASET's frames, a
            kind that these videos cannot show, or a batch that can never be filled.
    """
    dataset.check()
    data, kind = config.data, find_pretext(config.pretext.name)
    setting = Setting(data.clip_length, data.crop, (dataset.frame_height, dataset.frame_width), config.seed,
                      data.trimmed)
    train, _ = (pretext_of_part(dataset, split, data.val_fraction, kind, setting, config.pretext)
                for split in ("train", "val"))
    refuse_large_batch(data.batch_size, data.pairs_per_epoch or len(train), ALONE)
    return train
