"""Where the results of random weights lie: each kind of network has a name of its own, whatever the order of
--pretexts, and results of another kind are never taken for its own.

A single kind is called `none`; of several, each is called `none_` and a digest of what it is. Results that lie there
under another name (`none` of when there was one kind; none1, none2, as they were called once) are used where they are
right.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eruv_dali.choices import MEASURES
from eruv_dali.compare.entrants import Entrant
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import NONE

FOLDER = re.compile(rf"({NONE}\w*?)_seed\d+_(?:{'|'.join(MEASURES)})")


def name_baselines(field: Sequence[Entrant], out: Path, recorded: Mapping[str, Any]) -> list[Entrant]:
    """The entrants, those of random weights with the folder name that their results have in `out`, or will have.

    `recorded`: what `record_baselines` gave when `out` was last written to.

    Raises:
        EruvError: a result.json there is damaged.
    """
    known = {name: [described] for name, described in recorded.items()}
    for file in sorted(out.glob(f"{NONE}*_seed*_*/result.json")):
        found = FOLDER.fullmatch(file.parent.name)
        if found and found[1] not in recorded:
            known.setdefault(found[1], []).append(_read(file))
    random = [entrant for entrant in field if entrant.name == NONE]
    named = []
    for entrant in field:
        if entrant.name == NONE:
            # A name that fits several, because old results do not say all, is nobody's.
            own = [name for name, each in sorted(known.items(), key=lambda item: (item[0] not in recorded, item[0]))
                   if [other for other in random if _fits(each, other)] == [entrant]]
            if own:
                entrant = replace(entrant, folder=own[0])
            elif len(random) > 1 or NONE in known:
                entrant = replace(entrant, folder=f"{NONE}_{_digest(entrant)}")
        named.append(entrant)
    return named


def record_baselines(field: Sequence[Entrant], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """`recorded`, and what each name of random weights now stands for."""
    return {**recorded, **{entrant.folder: describe(entrant) for entrant in field if entrant.name == NONE}}


def describe(entrant: Entrant) -> dict[str, Any]:
    """An entrant's network and the format of its clips in evaluation, as JSON has them."""
    model, data = entrant.config.model, entrant.config.data
    return {"backbone": model.backbone, "width": model.width, "input": model.input, "clip_length": data.clip_length,
            "crop": entrant.crop, "frame_size": list(data.frame_size), "mean": list(data.mean), "std": list(data.std)}


def _digest(entrant: Entrant) -> str:
    return hashlib.sha256(json.dumps(describe(entrant)).encode()).hexdigest()[:8]


def _fits(each: Sequence[Mapping[str, Any]], entrant: Entrant) -> bool:
    """Whether results were made with this network, as far as they say."""
    wanted = describe(entrant)
    return all(found.get(key, value) == value for found in each for key, value in wanted.items())


def _read(file: Path) -> dict[str, Any]:
    """What a result.json says of its network; one that does not name the input is of before there was a choice."""
    try:
        return {"input": "rgb", **dict(json.loads(file.read_text()))}
    except (ValueError, TypeError):
        raise EruvError(f"{file}: is damaged; remove {file.parent} and run again") from None
