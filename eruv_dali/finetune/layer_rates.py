"""Layer-wise learning rates: the nearer to the input, the slower.

Howard, Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018, section 3.2 (discriminative
fine-tuning): the first layers learn what is common to many tasks, and need to change less. A layer is a top-level
module of the backbone: conv1 … conv5 of C3D, stem and stages of the residual networks.
"""

from collections.abc import Callable

from torch import nn


def rates_by_name(backbone: nn.Module, rate: float) -> Callable[[str], float]:
    """What the learning rate of a parameter of an `ActionNet` with this backbone is multiplied by, from its name: 1 in
    the classifier, `rate` in the backbone's last layer, `rate`² in the one before, and so on."""
    layers = [name for name, module in backbone.named_children() if next(module.parameters(), None) is not None]
    rates = {name: rate ** depth for depth, name in enumerate(reversed(layers), 1)}

    def rate_of(name: str) -> float:
        part, _, rest = name.partition(".")
        return rates[rest.partition(".")[0]] if part == "backbone" else 1.0

    return rate_of
