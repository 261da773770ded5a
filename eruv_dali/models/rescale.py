"""Convolutions brought back to the norm that they began with, without changing what the network computes.

A BatchNorm after a convolution takes the scale of its weights out again, so training is free to let them grow; but the
larger the weights, the less a step of the same rate turns them: the effective rate falls with the square of their norm
(van Laarhoven, "L2 Regularization versus Batch and Weight Normalization", 2017; Zhang et al., "Three Mechanisms of
Weight Decay Regularization", ICLR 2019). A network whose weights grew in pre-training hardly moves when it is
fine-tuned at the rate that suits a random one.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def initial_norm(conv: nn.Conv3d) -> float:
    """The norm that the weights of a fresh convolution have: √(channels out / 3).

    PyTorch draws each weight uniformly from ±1/√fan_in (He et al., ICCV 2015, with its a = √5), so its square is
    1 / (3 · fan_in) on average, and there are fan_in · channels out of them. The expected norm rather than that of one
    fresh network: it needs no seed, and only convolutions of few weights stray from it by more than some hundredths.
    """
    return (conv.out_channels / 3) ** 0.5


@torch.no_grad()
def rescale_convolutions(net: nn.Module) -> list[float]:
    """Scale the weights and the bias of each convolution that a BatchNorm follows, so that its weights have their
    `initial_norm`, and the BatchNorm's running mean and variance with them.

    The function stays the same but for BatchNorm's ε, which counts for more or less beside another variance. A
    convolution whose weights are all zero stays. (2+1)D convolutions are two, each with its own BatchNorm.

    Args:
        net: a backbone of this package, whose convolutions are registered in the order in which they compute, each
            followed by its BatchNorm. It is changed in place.

    Returns:
        The factor of each convolution, in their order.
    """
    layers = [module for module in net.modules() if next(module.parameters(recurse=False), None) is not None]
    factors = []
    for conv, norm in pairwise(layers):
        if not (isinstance(conv, nn.Conv3d) and isinstance(norm, _BatchNorm)):
            continue
        has = float(torch.linalg.vector_norm(conv.weight.double()))
        factor = initial_norm(conv) / has if has else 1.0
        conv.weight.mul_(factor)
        if conv.bias is not None:
            conv.bias.mul_(factor)
        if norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.mul_(factor)
            norm.running_var.mul_(factor**2)
        factors.append(factor)
    return factors
