"""Heads: from the features of a sample's clips, (B, K, D), to the output of a pretext."""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import nn

from eruv_dali.errors import EruvError

HEADS = ("mlp", "linear", "compare")


@dataclass(frozen=True)
class HeadOptions:
    """How the head is built.

    Attributes:
        kind: "mlp", or "linear" or "compare" if the pretext supports it.
        hidden: width of the hidden layer; `dropout`: share of it that is dropped in training. Neither is for "linear".
    """

    kind: str = "mlp"
    hidden: int = 512
    dropout: float = 0.5


class ConcatenatedMLP(nn.Sequential):
    """The K features concatenated → Linear(K·D, hidden) → ReLU → Dropout → Linear(hidden, answers)."""

    def __init__(self, clips: int, feature_dim: int, answers: int, options: HeadOptions) -> None:
        super().__init__(nn.Linear(clips * feature_dim, options.hidden), nn.ReLU(inplace=True),
                         nn.Dropout(options.dropout), nn.Linear(options.hidden, answers))

    def forward(self, f_BKD: torch.Tensor) -> torch.Tensor:
        return super().forward(f_BKD.flatten(1))


class ComparingMLP(ConcatenatedMLP):
    """Of two clips' features f, g the differences |f - g| and the products f · g, number by number, in the place of
    the two features that `ConcatenatedMLP` takes.

    Compared before the first layer, the features themselves have to be comparable, and these are what is transferred;
    a layer over [f; g] can learn to compare features that are not. As for pairs of sentences in Tai, Socher, Manning,
    "Improved Semantic Representations From Tree-Structured LSTMs", ACL 2015, section 4.2. It does not know which clip
    is the first.
    """

    def __init__(self, feature_dim: int, answers: int, options: HeadOptions) -> None:
        super().__init__(2, feature_dim, answers, options)

    def forward(self, f_B2D: torch.Tensor) -> torch.Tensor:
        f_BD, g_BD = f_B2D.unbind(1)
        return super().forward(torch.stack([(f_BD - g_BD).abs(), f_BD * g_BD], 1))


class ConcatenatedLinear(nn.Linear):
    """The K features concatenated → Linear(K·D, answers): a sum of one term for each clip."""

    def __init__(self, clips: int, feature_dim: int, answers: int) -> None:
        super().__init__(clips * feature_dim, answers)

    def forward(self, f_BKD: torch.Tensor) -> torch.Tensor:
        return super().forward(f_BKD.flatten(1))


class PairwiseHead(nn.Module):
    """Each pair of the K features → one shared Linear(2·D, hidden) → ReLU; all pairs concatenated → Dropout →
    Linear(pairs·hidden, answers). (VCOP, section 3.3; pairs in the order (1, 2), (1, 3), (2, 3).)"""

    def __init__(self, clips: int, feature_dim: int, answers: int, options: HeadOptions) -> None:
        super().__init__()
        self.pairs = list(combinations(range(clips), 2))
        self.pair = nn.Linear(2 * feature_dim, options.hidden)
        self.relu, self.dropout = nn.ReLU(inplace=True), nn.Dropout(options.dropout)
        self.answer = nn.Linear(len(self.pairs) * options.hidden, answers)

    def forward(self, f_BKD: torch.Tensor) -> torch.Tensor:
        h_BPH = self.relu(self.pair(torch.stack([f_BKD[:, pair].flatten(1) for pair in self.pairs], dim=1)))
        return self.answer(self.dropout(h_BPH.flatten(1)))


def concatenated(clips: int, feature_dim: int, answers: int, options: HeadOptions) -> nn.Module:
    """`ConcatenatedMLP`, `ConcatenatedLinear` or `ComparingMLP`, by `options.kind`.

    Raises:
        EruvError: an unknown kind; "compare" with other than two clips.
    """
    if options.kind not in HEADS:
        raise EruvError(f"unknown head {options.kind!r}: choose one of {', '.join(HEADS)}")
    if options.kind == "linear":
        return ConcatenatedLinear(clips, feature_dim, answers)
    if options.kind == "compare":
        if clips != 2:
            raise EruvError(f"head 'compare' compares two clips, and a sample has {clips}; choose mlp or linear")
        return ComparingMLP(feature_dim, answers, options)
    return ConcatenatedMLP(clips, feature_dim, answers, options)
