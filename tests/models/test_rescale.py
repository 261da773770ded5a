"""Convolutions brought back to the norm of a fresh network: the same function, other weights."""

import pytest
import torch
from torch import nn

from eruv_dali.models import BACKBONES, build_backbone
from eruv_dali.models.rescale import initial_norm, rescale_convolutions


def convolutions(net):
    return [module for module in net.modules() if isinstance(module, nn.Conv3d)]


def norms(net):
    return [float(conv.weight.detach().norm()) for conv in convolutions(net)]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_grown_network_computes_the_same_with_the_norms_of_a_fresh_one(name):
    torch.manual_seed(0)
    net = build_backbone(name, width=4)
    wanted = [initial_norm(conv) for conv in convolutions(net)]
    assert norms(net) == pytest.approx(wanted, rel=0.25)  # so narrow a network has convolutions of 8 weights
    with torch.no_grad():
        for place, conv in enumerate(convolutions(net)):
            for value in conv.parameters():
                value.mul_(2 + place % 3)
    grown = norms(net)
    for _ in range(20):  # BatchNorm's statistics follow
        net(torch.rand(2, 3, 8, 32, 32))
    clips = torch.rand(2, 3, 8, 32, 32)
    before = net.eval()(clips)
    assert before.std() > 0.01
    factors = rescale_convolutions(net)
    assert norms(net) == pytest.approx(wanted, rel=1e-5)
    assert factors == pytest.approx([to / from_ for to, from_ in zip(wanted, grown, strict=True)], rel=1e-4)
    torch.testing.assert_close(net(clips), before, rtol=0.005, atol=0.005)  # ε is 1e-5
    assert rescale_convolutions(net) == pytest.approx([1] * len(wanted), rel=1e-5)


def test_a_wide_network_begins_with_the_norms_of_the_formula():
    torch.manual_seed(0)
    net = build_backbone("r3d", width=16)
    assert norms(net) == pytest.approx([initial_norm(conv) for conv in convolutions(net)], rel=0.1)
