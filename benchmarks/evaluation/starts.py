"""Where networks start from: a pre-trained backbone, and the random network that it was before."""

import inspect
from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from torch import nn

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import Pretrained, load_pretrained
from eruv_dali.loader import ClipLoader
from eruv_dali.models import Backbone, build_backbone, load_backbone, save_backbone

BN_CLIPS, BN_BATCH = 640, 32  # that BatchNorm's statistics are measured on


class Entrant(NamedTuple):
    """A network that is evaluated.

    Attributes:
        name: of the start; seed: of its run. baseline: name of the random start with the same architecture and input.
        kind: "pre-trained", "random" or "random, BN".
        start: the network and the format of its clips. run: the RUN folder that it comes from.
    """

    name: str
    seed: int
    baseline: str
    kind: str
    start: Pretrained
    run: Path


def parse_start(word: str) -> tuple[str, str]:
    """NAME=PATH as (NAME, PATH).

    Raises:
        EruvError: no name, no path, or no {seed} in it.
    """
    name, _, path = word.partition("=")
    if not name or not path or "{seed}" not in path:
        raise EruvError(f"--start {word!r} is not NAME=PATH with {{seed}} in PATH, such as plus=runs/plus_{{seed}}")
    if name.startswith("random"):
        raise EruvError(f"--start {word!r}: names that begin with random are the random starts'; choose another")
    return name, path


def entrants_of(name: str, pattern: str, seed: int) -> list[Entrant]:
    """A pre-trained network and the random one that it began as.

    Raises:
        EruvError: no such file, one that is damaged, or a run of another seed.
    """
    path = Path(pattern.replace("{seed}", str(seed)))
    start = load_pretrained(path)
    run = path if path.is_dir() else path.parent
    config = _config(run)
    if config and config.get("seed", seed) != seed:
        raise EruvError(f"{run / 'config.yaml'}: seed {config['seed']}, not {seed}: its random start is another's")
    description = described(start.backbone)
    words = [f"{description['name']} {description['width']}"]
    words += [str(value) for key, value in description.items() if key not in ("name", "width")]
    baseline = f"random ({', '.join(words)}, crop {start.crop} of {start.frame_size[0]}x{start.frame_size[1]})"
    torch.manual_seed(seed)  # as pre-training does before it builds the same network
    fresh = start._replace(backbone=build_backbone(**description), init="none")
    return [Entrant(baseline, seed, baseline, "random", fresh, run),
            Entrant(name, seed, baseline, "pre-trained", start, run)]


def described(backbone: Backbone) -> dict:
    """The arguments of `build_backbone` that build the same network with other weights."""
    return {key: getattr(backbone, key) for key in inspect.signature(build_backbone).parameters}


def fingerprint(start: Pretrained, *words: object) -> str:
    """Of a network's weights, its description, and what else features depend on."""
    digest = sha256(repr((described(start.backbone), start.look, tuple(start.frame_size), words)).encode())
    for name, value in start.backbone.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]


def _config(run: Path) -> dict:
    file = run / "config.yaml"
    return yaml.safe_load(file.read_text()) if file.exists() else {}


def corpus_of(entrant: Entrant, corpus: Path | None) -> Path:
    """The DATASET of natural clips for BatchNorm's statistics: `corpus`, or what the run was pre-trained on.

    Raises:
        EruvError: neither is known.
    """
    told = corpus or (_config(entrant.run).get("data") or {}).get("dataset")
    if not told:
        raise EruvError(f"{entrant.run}: its config.yaml names no data.dataset; give the DATASET of the pre-training "
                        "by --corpus")
    return Path(told)


def recalibrated(entrant: Entrant, corpus: Path, kept: Path) -> Entrant:
    """The same network, its BatchNorm statistics measured on clips of the pre-training corpus; kept in `kept`."""
    file = kept / f"{fingerprint(entrant.start, corpus.resolve(), entrant.seed, BN_CLIPS)}.pt"
    if not file.exists():
        kept.mkdir(parents=True, exist_ok=True)
        save_backbone(_recalibrate(entrant, corpus), file)
    return entrant._replace(name=f"{entrant.name}, BN", kind="random, BN",
                            start=entrant.start._replace(backbone=load_backbone(file)))


def _recalibrate(entrant: Entrant, corpus: Path) -> Backbone:
    start = entrant.start
    backbone = build_backbone(**described(start.backbone))
    backbone.load_state_dict(start.backbone.state_dict())
    with closing(Dataset(corpus)) as dataset:
        size = (dataset.frame_height, dataset.frame_width)
        if size != tuple(start.frame_size):
            raise EruvError(f"{corpus}: frames of {size[0]}x{size[1]}, but {entrant.run} was trained on "
                            f"{start.frame_size[0]}x{start.frame_size[1]}; give another --corpus")
        with ClipLoader(dataset, batch_size=BN_BATCH, random_crop=True, shuffle=True, device="cpu", seed=entrant.seed,
                        **start.look) as clips:
            measure_batchnorm(backbone, (batch.clips for batch, _ in zip(clips, range(BN_CLIPS // BN_BATCH),
                                                                         strict=False)))
    return backbone


@torch.no_grad()
def measure_batchnorm(net: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Set the running statistics of all BatchNorm layers to their plain mean over these batches of clips."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)]
    momenta = [norm.momentum for norm in norms]
    was_training = net.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches, not a running one
    net.train()
    for x_BCTHW in batches:
        net(x_BCTHW)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.train(was_training)
