"""Entrants: each pretext with its configuration and the steps it is given, so that all see the same number of clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from eruv_dali.dataset import Dataset
from eruv_dali.device import torch_device
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.features import pool5
from eruv_dali.evaluate.pretrained import NONE, Pretrained, load_pretrained
from eruv_dali.models import HeadOptions, build_backbone
from eruv_dali.native import data_dir
from eruv_dali.pretext import PRETEXTS
from eruv_dali.pretrain.run import check_run
from eruv_dali.train.config import Config, load_config

# What the comparison decides: the same for all, or following from the number of clips.
DECIDED = {"data.dataset": "--data", "data.videos": "--data", "data.frame_size": "the DATASET", "seed": "--seeds",
           "optim.epochs": "--clips", "optim.max_steps": "--clips",
           "pretext": "--pretexts", "pretext.name": "--pretexts"}


@dataclass(frozen=True)
class Entrant:
    """A pretext that takes part, or random weights.

    Attributes:
        name: of the pretext, or NONE. Networks of different kinds (backbone, width, clips) each have their own random
            one.
        config: of its pre-training, but for the seed; of NONE: of the pre-training whose network it is compared with.
        clips: that it sees in pre-training; 0 for NONE.
        folder: name of its folders, the seed is added; where several are random, see `name_baselines`.
        crop: of the clips in evaluation, pixels.
    """

    name: str
    config: Config
    clips: int
    folder: str
    crop: int

    @property
    def network(self) -> tuple:
        """What decides its random network and the format of its clips in evaluation."""
        model, data = self.config.model, self.config.data
        return (model.backbone, model.width, model.input, data.clip_length, self.crop, tuple(data.mean),
                tuple(data.std))

    def seeded(self, seed: int) -> Config:
        return replace(self.config, seed=seed)

    def random_network(self, seed: int) -> Pretrained:
        """The random network of this seed: the same weights that a pre-training of this seed begins with."""
        model, data = self.config.model, self.config.data
        net = load_pretrained(NONE, backbone=model.backbone, width=model.width, input=model.input, seed=seed)
        return net._replace(clip_length=data.clip_length, crop=self.crop, frame_size=data.height_and_width,
                            mean=tuple(data.mean), std=tuple(data.std))


def entrants(
    names: Sequence[str], dataset: Dataset, clips: int, values: Sequence[str], test_crop: int | None = None
) -> list[Entrant]:
    """The entrants of these names, with everything that can be found out about them before they are trained.

    A pretext's configuration is configs/NAME_c3d.yaml, or, if there is none, its default options in the default
    configuration; the data are untrimmed videos unless said. Then come `values`: `key=value` for all,
    `NAME.key=value` for one.

    Args:
        names: of pretexts, and NONE.
        dataset: that all are pre-trained on.
        clips: that each is to see; the last batch may exceed it.
        values: of the configuration.
        test_crop: of the clips in evaluation, pixels; by default each one's `data.crop`.

    Raises:
        EruvError: an unknown or repeated name, a bad value, or one that is not for the user to set; a pretext that this
            DATASET cannot serve, a network or head that cannot be built, clips too small or large to be evaluated.
    """
    for name in names:
        if name != NONE and name not in PRETEXTS:
            raise EruvError(f"--pretexts {name}: not one of {', '.join(PRETEXTS)}, {NONE}")
        if names.count(name) > 1:
            raise EruvError(f"--pretexts {name}: named twice; name each once")
    for word in values:
        key = _for_one(word.partition("=")[0])[1]
        if key in DECIDED:
            raise EruvError(f"{word}: {key} is decided by {DECIDED[key]}, the same for all")
    chosen = [name for name in names if name != NONE]
    for word in values:
        of = _for_one(word.partition("=")[0])[0]
        if of is not None and of not in chosen:
            raise EruvError(f"{word}: {of} is not among --pretexts {','.join(names)}")
    found = [_entrant(name, dataset, clips, values, test_crop) for name in chosen]
    if NONE not in names:
        return found
    networks = {entrant.network: (entrant.config, entrant.crop) for entrant in found}
    if not found:
        config = load_config(None, list(values), **_given(dataset))
        networks[()] = config, test_crop or config.data.crop
        _check_evaluated(*networks[()])
    random = [Entrant(NONE, config, 0, NONE, crop) for config, crop in networks.values()]
    place = list(names).index(NONE)
    return [*found[:place], *random, *found[place:]]


def _entrant(
    name: str, dataset: Dataset, clips: int, values: Sequence[str], test_crop: int | None
) -> Entrant:
    words, own = [], []
    for word in values:
        key, separator, value = word.partition("=")
        of, key = _for_one(key)
        if of is None:
            words.append(word)
        elif of == name:
            own.append(f"{key}{separator}{value}")
    file = data_dir("configs") / f"{name}_c3d.yaml"
    given = _given(dataset)
    try:
        words += own  # after those for all, whatever the order in which they were given
        if not any(word.startswith("data.trimmed=") for word in words):
            words = ["data.trimmed=false", *words]
        config = load_config(file if file.exists() else None, [f"pretext={name}", *words], **given)
        pretext = check_run(config, dataset)
        model = config.model
        with torch.device("meta"):  # neither memory nor time: only whether it can be built
            backbone = build_backbone(model.backbone, width=model.width, input=model.input)
            net = pretext.net(backbone, HeadOptions(model.head, model.hidden, model.dropout))
        _check_evaluated(config, test_crop or config.data.crop)
        torch_device(config.device, 0)
    except EruvError as error:
        raise EruvError(f"{name}: {error}") from None
    batch = config.data.batch_size * net.seen  # PRP's reconstruction is of clips that the network does not see
    steps = -(-clips // batch)
    epoch_steps = -(-(config.data.pairs_per_epoch or len(pretext)) // config.data.batch_size)
    optim = replace(config.optim, epochs=-(-steps // epoch_steps), max_steps=steps)
    return Entrant(name, replace(config, optim=optim), steps * batch, name, test_crop or config.data.crop)


def _check_evaluated(config: Config, crop: int) -> None:
    """Make sure that clips of this crop fit into the frames, and leave the network something to pool."""
    height, width = config.data.frame_size
    if crop > min(height, width):
        raise EruvError(f"clips of {crop}x{crop} pixels do not fit into the DATASET's frames of {height}x{width}; set "
                        "data.crop or --test-crop")
    with torch.device("meta"):
        backbone = build_backbone(config.model.backbone, width=config.model.width, input=config.model.input).eval()
        try:
            pool5(backbone, torch.empty(1, 3, config.data.clip_length, crop, crop))
        except EruvError as error:
            raise EruvError(f"evaluation, --test-crop {crop}: {error}") from None


def _given(dataset: Dataset) -> dict[str, object]:
    """What the DATASET decides; its frame size is also that of the labelled videos."""
    return {"data.dataset": str(dataset.folder), "data.videos": [],
            "data.frame_size": [dataset.frame_height, dataset.frame_width]}


def _for_one(key: str) -> tuple[str | None, str]:
    """A dotted key without the pretext's name that it may begin with, and that name."""
    first, _, rest = key.partition(".")
    return (first, rest) if first in PRETEXTS and rest else (None, key)
