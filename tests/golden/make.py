"""Golden files: what prepare writes, what the loaders deliver and what training makes of it, as it was once.

    python tests/golden/make.py            writes prepare.json, batches.json and training.json anew: a change was wanted
    python tests/golden/make.py DATASET    prints what training makes of a raw DATASET

Frame counts, order and places are exact on every machine. Grey levels and weights hang on the encoder that draws the
videos, on libjpeg and on the order of additions: they are compared within a tolerance. Training is limited to AVX2,
since processors with and without AVX-512 add in another order. The checksum of the weights is compared only on the kind
of machine that it was made on.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
if __name__ == "__main__":  # PyTorch reads these when it is imported
    os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2")
sys.path.insert(1, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(1, str(Path(__file__).parents[2]))

import av
import torch
from numbered import write_all
from prepared import TABLES, table

from eruv_dali import ClipLoader, RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.prepare import prepare
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

HERE = Path(__file__).parent
FREE = {"path", "size", "mtime_ns"}  # columns that are other ones in every place
PACKS = ("jpeg", "raw", "none")
TRAINING = ["device=cpu", "data.crop=56", "data.batch_size=4", "data.val_pairs=8", "data.pairs_per_epoch=16",
            "model.width=4", "model.backbone=r3d", "model.dropout=0", "optim.epochs=1", "optim.lr=0.05",
            "log.every_steps=1", "log.tensorboard=false"]


def tables_of(folder: Path) -> dict[str, Any]:
    """{"shots.csv": {"0 start": "0", …}, …}, a value for each row and column."""
    return {name: {f"row {n} {column}": value for n, row in enumerate(table(folder, name))
                   for column, value in row.items() if column not in FREE} for name in TABLES}


def loaders(folder: Path) -> Iterator[tuple[str, Any]]:
    yield "ClipLoader", ClipLoader(folder, batch_size=4, device="cpu", shuffle=True, random_crop=True, seed=1)
    yield "RelationLoader", RelationLoader(folder, batch_size=4, device="cpu", seed=1)
    yield "PretextLoader vcop", PretextLoader(folder, "vcop", batch_size=4, device="cpu", seed=1)


def batches_of(folder: Path) -> dict[str, Any]:
    """For each loader the first two batches: infos, labels, and mean grey levels of the three colours of each clip."""
    found = {}
    for name, loader in loaders(folder):
        infos, labels, levels = {}, {}, {}
        with loader:
            for number, batch in zip(range(2), loader, strict=False):
                for b, info in enumerate(batch.info):
                    where = f"batch {number} item {b}"
                    infos[where] = repr(info)
                    labels[where] = int((batch.relation if hasattr(batch, "relation") else batch.label)[b])
                    clips = batch.clips[b].unflatten(0, (-1, 3)) if batch.clips.ndim == 5 else batch.clips[b]
                    for k, clip in enumerate(clips):
                        levels[f"{where} clip {k}"] = [round(level, 1) for level in
                                                       (clip.mean((1, 2, 3)) * 255).tolist()]
        found[name] = {"infos": infos, "labels": labels, "levels": levels}
    return found


def training_of(folder: Path, out: Path) -> dict[str, Any]:
    """Four steps of pretrain: losses, and of each tensor of the network its mean and its mean size.

    None of the videos it trains on is VP8, which libvpx, encoding against the clock, never draws twice alike.
    """
    pretrain(load_config(None, TRAINING), Dataset(folder), out)
    net = torch.load(out / "last.pt", weights_only=True)["net"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {"losses": {f"step {line['step']}": round(line["loss"], 4) for line in lines if "loss" in line},
            "weights": {name: [round(value.double().mean().item(), 6), round(value.double().abs().mean().item(), 6)]
                        for name, value in net.items()},
            "sha256": hashlib.sha256(b"".join(value.numpy().tobytes() for value in net.values())).hexdigest(),
            "machine": machine()}


def machine() -> str:
    """What must be the same for the same bits."""
    models = {line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")} if Path("/proc/cpuinfo").exists() else {"?"}
    return (f"{'/'.join(sorted(models))}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads, "
            f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, av {av.__version__}")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        write_all(Path(scratch) / "videos")
        folders = {pack: Path(scratch) / pack for pack in PACKS}
        for pack, folder in folders.items():
            prepare([Path(scratch) / "videos"], folder, device="cpu", pack=pack, workers=1)
        made = {"prepare": tables_of(folders["none"]),
                "batches": {pack: batches_of(folder) for pack, folder in folders.items()},
                "training": training_of(folders["raw"], Path(scratch) / "run")}
    # What a batch holds is the same from every source: it is kept once.
    first = made["batches"][PACKS[0]]
    made["batches"] = {loader: {**{part: first[loader][part] for part in ("infos", "labels")},
                                **{pack: made["batches"][pack][loader]["levels"] for pack in PACKS}}
                       for loader in first}
    for name, content in made.items():
        (HERE / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(training_of(Path(sys.argv[1]), Path(scratch))))
    else:
        main()
