"""BatchNorm's statistics measured again, on other clips than those of training.

Wu, Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 (PreciseBN): the means of the statistics of many batches
under fixed weights, instead of running means of those that training met. What training met may be far from what the
network is used on: half of a pretext's clips are turned, sped up or disordered (section 5, "domain shift").
"""

from collections.abc import Iterable

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from eruv_dali.models.backbone import Backbone


@torch.no_grad()
def recalibrate(backbone: Backbone, batches: Iterable[torch.Tensor]) -> None:
    """Replace each BatchNorm's running mean and variance by their means over `batches` of clips, (B, 3, T, H, W) float,
    of one size. Weights stay; so does the backbone's mode. The same batches give the same statistics whatever the old
    ones were."""
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    momenta, training = [norm.momentum for norm in norms], backbone.training
    backbone.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all that come
    for x_BCTHW in batches:
        backbone(x_BCTHW)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    backbone.train(training)
