"""CaffeNet, the 2D backbone: its layers against plain 2D ones, sizes of frames, and the mean over frames."""

import pytest
import torch
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.features import pool5
from eruv_dali.models import build_backbone
from eruv_dali.visualize.attention import attention_maps


def stirred(width: int):
    """A network in evaluation whose BatchNorms have statistics of their own."""
    torch.manual_seed(0)
    backbone = build_backbone("caffenet", width=width)
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = 1.0  # the statistics of the one batch that follows
    backbone(torch.rand(4, 3, 2, 80, 80))
    return backbone.eval()


def plain_2d(backbone, x_BCHW):
    """conv5 and fc6 of single frames by functions of 2D layers, from the layout in Caffe's terms; 80x80 only."""
    def layer(part, x, **options):
        conv, norm, _ = part
        x = F.conv2d(x, conv.weight.squeeze(2), conv.bias, **options)
        return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = pool(layer(backbone.conv1, x_BCHW, stride=4))
    assert x.shape[2:] == (9, 9)
    x = pool(layer(backbone.conv2, x, padding=2, groups=2))
    x = layer(backbone.conv4, layer(backbone.conv3, x, padding=1), padding=1, groups=2)
    maps = layer(backbone.conv5, x, padding=1, groups=2)
    assert maps.shape[2:] == (4, 4) and pool(maps).shape[2:] == (2, 2)
    linear, norm, _ = backbone.fc6  # Caffe's InnerProduct: all values of a frame at once
    h = F.linear(pool(maps).flatten(1), linear.weight.flatten(1), linear.bias)
    h = F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return maps, F.relu(h)


def test_the_layers_are_those_of_caffenet_and_the_size_opns():
    backbone = build_backbone("caffenet")
    kernels = [tuple(getattr(backbone, f"conv{n}")[0].weight.shape) for n in range(1, 6)]
    assert kernels == [(96, 3, 1, 11, 11), (256, 48, 1, 5, 5), (384, 256, 1, 3, 3), (384, 192, 1, 3, 3),
                       (256, 192, 1, 3, 3)]
    assert backbone.fc6[0].weight.shape == (1024, 256, 1, 2, 2) and backbone.feature_dim == 1024
    assert sum(p.numel() for p in backbone.parameters()) == 3_388_480
    assert (backbone.name, backbone.width, backbone.averages_frames) == ("caffenet", 64, True)


def test_frames_of_opns_size_give_what_plain_2d_layers_give():
    backbone, x = stirred(4), torch.rand(3, 3, 1, 80, 80)
    with torch.no_grad():
        maps, features = plain_2d(backbone, x[:, :, 0])
        torch.testing.assert_close(backbone.feature_maps(x)[:, :, 0], maps)
        torch.testing.assert_close(backbone(x), features)
    assert features.std(0).mean() > 0.01  # it depends on the frame


def test_a_clip_is_the_mean_of_its_frames():
    backbone, x = stirred(2), torch.rand(2, 3, 5, 64, 80)
    with torch.no_grad():
        frames = torch.stack([backbone(x[:, :, t:t + 1]) for t in range(5)])
        torch.testing.assert_close(backbone(x), frames.mean(0))
        maps = backbone.feature_maps(x)
        torch.testing.assert_close(maps[:, :, 3:4], backbone.feature_maps(x[:, :, 3:4]))
        torch.testing.assert_close(backbone.features(maps), backbone(x))
        torch.testing.assert_close(pool5(backbone, x), torch.stack([pool5(backbone, x[:, :, t:t + 1])
                                                                    for t in range(5)]).mean(0))


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("crop", [*range(32, 48), 56, 64, 80, 100, 112, 128, 171, 224])
def test_frames_of_any_size_reach_features_retrieval_and_attention(crop, frames):
    backbone, x = stirred(1), torch.rand(2, 3, frames, crop, crop)
    with torch.no_grad():
        maps = backbone.feature_maps(x)
        side = maps.shape[-1]
        assert maps.shape == (2, 4, frames, side, side) and side >= 2
        # By torch's own adaptive pooling, behind the fifth pool where that leaves 2 or more.
        pooled = F.max_pool3d(maps, (1, 3, 3), (1, 2, 2), ceil_mode=True) if side > 3 else maps
        wanted = backbone.fc6(F.adaptive_max_pool3d(pooled, (frames, 2, 2))).mean((2, 3, 4))
        torch.testing.assert_close(backbone(x), wanted)
        assert backbone(x).shape == (2, 16)
        assert pool5(backbone, x).shape == (2, 4 * (side // 2) ** 2)
        assert attention_maps(backbone, x).shape == (2, frames, crop, crop)


def test_retrieval_features_at_full_size():
    with torch.no_grad():
        assert pool5(build_backbone("caffenet").eval(), torch.rand(1, 3, 2, 112, 112)).shape == (1, 256 * 3 * 3)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 16])
def test_narrow_networks_keep_their_two_groups(width):
    backbone = build_backbone("caffenet", width=width)
    assert backbone(torch.rand(2, 3, 1, 48, 48)).shape == (2, backbone.feature_dim) == (2, 16 * width)


def test_frames_too_small_are_refused():
    with pytest.raises(EruvError, match="caffenet cannot take frames of 14x32.*at least 15x15"):
        build_backbone("caffenet", width=1)(torch.rand(1, 3, 1, 14, 32))
