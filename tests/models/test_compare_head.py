"""The head that compares two clips."""

import pytest
import torch

from eruv_dali.errors import EruvError
from eruv_dali.models import HeadOptions, RelationNet, build_backbone
from eruv_dali.models.heads import concatenated
from eruv_dali.train.config import load_config


def test_it_sees_differences_and_products_alone():
    torch.manual_seed(0)
    options = HeadOptions("compare", hidden=8)
    head = concatenated(2, 4, 7, options).eval()
    f_B2D = torch.randn(5, 2, 4)
    f, g = f_B2D.unbind(1)
    first, last = head[0], head[3]
    wanted = last(torch.relu(first(torch.cat([(f - g).abs(), f * g], 1))))
    torch.testing.assert_close(head(f_B2D), wanted)
    torch.testing.assert_close(head(f_B2D.flip(1)), wanted)  # it does not know which is the first
    net = RelationNet(build_backbone("r3d", width=1), 7, head="compare")
    assert net(torch.rand(2, 2, 3, 4, 16, 16)).shape == (2, 7)


def test_it_is_for_samples_of_two_clips():
    with pytest.raises(EruvError, match="head 'compare' compares two clips, and a sample has 3"):
        concatenated(3, 4, 7, HeadOptions("compare"))
    assert load_config(None, ["model.head=compare"]).model.head == "compare"
    for pretext in ("vcop", "rotnet3d", "prp"):
        with pytest.raises(EruvError, match=f"'compare' is not supported by pretext {pretext}"):
            load_config(None, [f"pretext={pretext}", "model.head=compare"])
