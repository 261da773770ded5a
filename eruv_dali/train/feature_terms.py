"""Further terms of a pre-training's loss, computed from the features of a batch's clips.

    clips (B, K, …) ──backbone──► features (B, K, D) ──head──► output ──pretext──► loss
                                       └──► variance, covariance, contrast ──weights──► + loss

The output is judged as without them, and so are held-out samples: "loss" in metrics.jsonl is the pretext's own, and
each term stands beside it, without its weight. Under several processes each computes the terms of its own clips: the
gradients are averaged, the covariances and negatives are not those of all clips together.
"""

from collections.abc import Sequence

import torch

from eruv_dali.errors import EruvError
from eruv_dali.pretext.loader import PretextBatch
from eruv_dali.pretext.pretext import Pretext
from eruv_dali.train.contrast import info_nce
from eruv_dali.train.decorrelation import covariance_term, variance_term
from eruv_dali.train.settings import LossConfig

ENOUGH = 0.5  # clips for each feature, below which a batch's covariances are mostly chance
TERMS = ("variance", "covariance", "contrast")


class FeatureTerms:
    """The terms that `loss` gives a weight.

    Args:
        loss: weights and the rest.
        positives: names of the kinds whose samples are positive pairs of "contrast".

    Attributes:
        names: of the terms, in the order of their values.
    """

    def __init__(self, loss: LossConfig, positives: Sequence[str] = ()) -> None:
        self._weights = {name: getattr(loss, name) for name in TERMS if getattr(loss, name)}
        self._positives, self._temperature = frozenset(positives), loss.temperature
        self.names = tuple(self._weights)

    def __bool__(self) -> bool:
        return bool(self.names)

    def check(self, clips: int, pretext: Pretext) -> None:
        """Check that they can be computed from batches of this many clips of this pretext.

        Raises:
            EruvError: they cannot.
        """
        if self.names and clips < 2:
            raise EruvError(f"loss.{self.names[0]} compares the clips of a batch, and there is one in it; raise "
                            "data.batch_size")
        if "contrast" in self.names and not self._positives.intersection(pretext.kinds):
            wanted = ", ".join(pretext.positives)
            advice = f"add {wanted} to the {pretext.kind_word}s" if wanted else f"{pretext.name} has none; use eruv"
            raise EruvError(f"loss.contrast needs pairs of clips that are to be alike: {advice}")

    def warnings(self, clips: int, features: int) -> list[str]:
        """Warnings about batches of this many clips, to show before training."""
        if "covariance" not in self.names or clips >= ENOUGH * features:
            return []
        independent = (features - 1) / (clips - 1)
        return [f"loss.covariance: the covariances of {features} features are estimated from {clips} clips a batch "
                f"and would be about {independent:.1f} for independent features; raise data.batch_size (or lower "
                "model.width)"]

    def origins(self, batch: PretextBatch) -> torch.Tensor | None:
        """What the terms must know of a batch beside its clips: (B, 1 + K) int64 on the CPU, whether the sample is a
        positive pair, and a number for the video of each clip, the same for the same video. None if none must."""
        if "contrast" not in self.names:
            return None
        numbers: dict[str, int] = {}
        return torch.tensor([[sample.kind in self._positives,
                              *(numbers.setdefault(clip.video, len(numbers)) for clip in sample.clips)]
                             for sample in batch.info], dtype=torch.int64)

    def __call__(self, f_BKD: torch.Tensor, origins: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The terms of a batch: their weighted sum, scalar, and their values (terms,) without weights, detached; both
        float32, whatever the features are. "contrast" needs the batch's `origins`."""
        f_ND = f_BKD.float().flatten(0, 1)
        values = []
        for name in self.names:
            if name == "variance":
                values.append(variance_term(f_ND))
            elif name == "covariance":
                values.append(covariance_term(f_ND))
            else:
                assert origins is not None
                values.append(info_nce(f_BKD, origins[:, 0].bool(), origins[:, 1:], self._temperature))
        weighted = [weight * value for weight, value in zip(self._weights.values(), values, strict=True)]
        return torch.stack(weighted).sum(), torch.stack(values).detach()
