"""Backbones (parameter counts, shapes, layouts), the relation head, and backbone.pt."""

import resource

import pytest
import torch
from torch import nn

from eruv_dali.errors import EruvError
from eruv_dali.models import BACKBONES, RelationNet, build_backbone, load_backbone, save_backbone
from eruv_dali.models.resnet3d import conv2plus1d, factorised_channels


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "millions"), [("c3d", 27.66), ("r3d", 14.36), ("r2plus1d", 14.37)])
def test_parameter_count_is_the_papers(name, millions):
    backbone = build_backbone(name)
    assert round(count(backbone) / 1e6, 2) == millions
    assert (backbone.name, backbone.width, backbone.feature_dim) == (name, 64, 512)


STAGES = {
    "c3d": {
        "pool1": (4, 16, 56, 56), "pool2": (8, 8, 28, 28), "pool3": (16, 4, 14, 14), "pool4": (32, 2, 7, 7),
        "conv5": (32, 2, 7, 7),
    },
    "r3d": {
        "stem": (4, 16, 56, 56), "stage1": (4, 16, 56, 56), "stage2": (8, 8, 28, 28), "stage3": (16, 4, 14, 14),
        "stage4": (32, 2, 7, 7),
    },
}
STAGES["r2plus1d"] = STAGES["r3d"]
STAGES["caffenet"] = {
    "conv1": (6, 16, 26, 26), "conv2": (16, 16, 13, 13), "conv3": (24, 16, 6, 6), "conv4": (24, 16, 6, 6),
    "conv5": (16, 16, 6, 6), "fc6": (64, 16, 1, 1),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_shapes_at_each_stage(name):
    backbone = build_backbone(name, width=4).eval()
    seen = {}
    for stage in STAGES[name]:
        getattr(backbone, stage).register_forward_hook(lambda m, i, out, stage=stage: seen.update({stage: out.shape}))
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 16, 112, 112))
    assert {stage: tuple(shape[1:]) for stage, shape in seen.items()} == STAGES[name]
    assert features.shape == (2, backbone.feature_dim) and backbone.feature_dim == (64 if name == "caffenet" else 32)


@pytest.mark.parametrize("name", ["c3d", "r3d", "r2plus1d"])
def test_other_clip_sizes_and_feature_is_the_mean_of_the_maps(name):
    backbone = build_backbone(name, width=2).eval()
    x = torch.rand(2, 3, 16, 56, 72)
    with torch.no_grad():
        maps = backbone.feature_maps(x)
        assert maps.shape[:3] == (2, 16, 2)
        torch.testing.assert_close(backbone(x), maps.flatten(2).mean(2))
        assert backbone(torch.rand(1, 3, 8, 32, 32)).shape == (1, 16)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("clips", [torch.rand(3, 16, 32, 32), torch.rand(1, 16, 3, 32, 32),
                                   torch.zeros(1, 3, 16, 32, 32, dtype=torch.uint8)])
def test_what_is_no_clip_is_said_to_be(name, clips):
    """In place of PyTorch's "could not create a primitive"."""
    with pytest.raises(EruvError, match=r"^clips of shape \(.*\), torch\..*: expected \(B, 3, T, H, W\) of floats"):
        build_backbone(name, width=1)(clips)


def test_c3d_names_a_clip_too_small_to_pool():
    with pytest.raises(EruvError, match="4 frames of 56x56.*at least 8 frames"):
        build_backbone("c3d", width=2)(torch.rand(1, 3, 4, 56, 56))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_last_3d_gives_the_same_numbers(name, dtype):
    torch.manual_seed(0)
    backbone = build_backbone(name, width=8).to(dtype)
    x = torch.rand(2, 3, 16, 32, 32, dtype=dtype)

    def features_and_stem_gradient(x):
        backbone.zero_grad()
        features = backbone(x)
        features.square().sum().backward()
        return features.detach(), next(backbone.parameters()).grad.clone()

    plain, plain_gradient = features_and_stem_gradient(x)
    backbone.to(memory_format=torch.channels_last_3d)
    last, last_gradient = features_and_stem_gradient(x.to(memory_format=torch.channels_last_3d))
    if dtype == torch.float32:
        torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)
    else:  # float32 gradients through BatchNorm and ReLU kinks differ by rounding alone; in float64 they must agree
        torch.testing.assert_close(last, plain)
        torch.testing.assert_close(last_gradient, plain_gradient)


@pytest.mark.parametrize(
    ("i", "o", "kernel", "middle"),
    # ⌊27·64·64 / (9·64 + 3·64)⌋, the stem ⌊3·49·3·64 / (49·3 + 3·64)⌋, a shortcut ⌊64·128 / (64 + 128)⌋
    [(64, 64, (3, 3, 3), 144), (3, 64, (3, 7, 7), 83), (64, 128, (1, 1, 1), 42)],
)
def test_factorised_convolution_keeps_the_parameter_budget(i, o, kernel, middle):
    assert factorised_channels(i, o, kernel) == middle
    space, _, _, time = conv2plus1d(i, o, kernel, (2, 2, 2))
    k_t, k_h, k_w = kernel
    assert space.weight.shape == (middle, i, 1, k_h, k_w) and time.weight.shape == (o, middle, k_t, 1, 1)
    assert (space.stride, time.stride) == ((1, 2, 2), (2, 1, 1))
    full, one_more = k_t * k_h * k_w * i * o, (middle + 1) * (k_h * k_w * i + k_t * o)
    assert count(space) + count(time) <= full < one_more


def test_shortcuts_only_where_the_shape_changes():
    for name in ("r3d", "r2plus1d"):
        backbone = build_backbone(name, width=2)
        assert isinstance(backbone.stage1.shortcut, nn.Identity)
        assert count(backbone.stage2.shortcut) > 0
    # A zero residual branch leaves relu(shortcut(x)): the block adds, it does not replace.
    block = backbone.stage1.eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 2, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_mlp_and_linear_heads_have_the_stated_layers():
    backbone = build_backbone("r3d")
    mlp = RelationNet(backbone, 7)
    assert count(mlp.head) == (1024 * 512 + 512) + (512 * 7 + 7)
    assert [type(m) for m in mlp.head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert mlp.head[2].p == 0.5
    assert count(RelationNet(backbone, 7, head="linear").head) == 1024 * 7 + 7
    with pytest.raises(EruvError, match="unknown head 'cosine'"):
        RelationNet(backbone, 7, head="cosine")
    for number in (0, "CS", 1.5):
        with pytest.raises(EruvError, match="^num_relations .* must be"):
            RelationNet(backbone, number)
    for other in ("r3d", 7, nn.Linear(1, 1)):
        with pytest.raises(EruvError, match="^backbone .* is no network with a feature_dim; make one with build_"):
            RelationNet(other, 7)


def test_relation_net_is_the_backbone_on_each_clip_then_the_head_on_both():
    torch.manual_seed(0)
    net = RelationNet(build_backbone("r3d", width=4), 7, hidden=16).eval()
    clips = torch.rand(3, 2, 3, 8, 32, 32)
    with torch.no_grad():
        expected = net.head(torch.cat([net.backbone(clips[:, 0]), net.backbone(clips[:, 1])], dim=1))
        torch.testing.assert_close(net(clips), expected)
        assert not torch.allclose(net(clips), net(clips.flip(1)))  # the order of the two clips matters
    with pytest.raises(EruvError, match=r"\(3, 3, 8, 32, 32\) are not samples of 2"):
        net(clips[:, 0])


def test_one_forward_pass_shares_weights_and_gradients_between_both_clips():
    torch.manual_seed(0)
    net = RelationNet(build_backbone("c3d", width=2), 7, dropout=0.0)
    calls = []
    net.backbone.register_forward_hook(lambda m, i, out: calls.append(i[0]))
    clips = torch.rand(2, 2, 3, 8, 16, 16, requires_grad=True)
    net(clips).square().sum().backward()
    assert [call.shape[0] for call in calls] == [4]
    assert (clips.grad.abs().amax(dim=(2, 3, 4, 5)) > 0).all()  # every clip of every pair reaches the loss
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_channels_last_pairs_reach_the_backbone_as_a_view():
    # The loader's layout: three first clips, then their partners; RGB interleaved.
    storage = torch.rand(2, 3, 8, 16, 16, 3)
    clips = storage.permute(1, 0, 5, 2, 3, 4)
    net = RelationNet(build_backbone("c3d", width=2), 7).eval()
    seen = []
    net.backbone.register_forward_hook(lambda m, i, out: seen.append(i[0]))
    logits = net(clips)
    assert seen[0].is_contiguous(memory_format=torch.channels_last_3d) and seen[0].data_ptr() == storage.data_ptr()
    torch.testing.assert_close(logits, net(clips.contiguous()))


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_file_round_trip(name, tmp_path):
    path = tmp_path / "backbone.pt"
    backbone = build_backbone(name, width=2)
    backbone(torch.rand(2, 3, 8, 32, 32))  # moves BatchNorm's running statistics off their defaults
    save_backbone(backbone, path)
    loaded = load_backbone(path)
    assert (loaded.name, loaded.width) == (name, 2)
    x = torch.rand(1, 3, 8, 32, 32)
    assert torch.equal(loaded.eval()(x), backbone.eval()(x))
    record = torch.load(path, weights_only=True)
    assert set(record) == {"format", "version", "backbone", "width", "state_dict"}
    assert [p.name for p in tmp_path.iterdir()] == ["backbone.pt"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    """The system refuses to write more than 1,000 bytes, as it does when a disk is full."""
    path = tmp_path / "backbone.pt"
    save_backbone(build_backbone("r3d", width=1), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            save_backbone(build_backbone("r3d", width=1), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["backbone.pt"]


def test_load_backbone_names_the_file_and_the_problem(tmp_path):
    path = tmp_path / "b.pt"

    def refuses(pattern):
        with pytest.raises(EruvError, match=pattern) as caught:
            load_backbone(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    refuses("does not exist")
    path.write_bytes(b"")
    refuses("not a backbone file")
    path.write_text("epoch,loss\n1,2.0\n")
    refuses("not a backbone file")

    save_backbone(build_backbone("r3d", width=1), path)
    whole = path.read_bytes()
    for size in (5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refuses("truncated or damaged")

    path.write_bytes(whole)
    record = torch.load(path, weights_only=True)
    for change, pattern in (
        ({"format": "other"}, "not a backbone file"),
        ({"version": 2}, "format version 2, but this program reads 1"),
        ({"backbone": "r3D"}, "unknown backbone 'r3D'.*did you mean 'r3d'"),
        ({"width": 2}, "does not hold a r3d of width 2: stem.0.weight has shape"),
        ({"state_dict": {}}, "stem.0.weight is missing"),
        ({"state_dict": record["state_dict"] | {"fc.bias": torch.zeros(1)}}, "fc.bias is not one of its tensors"),
    ):
        torch.save(record | change, path)
        refuses(pattern)
    torch.save(nn.Linear(1, 1), path)  # a pickled module: refused unread, weights_only stays on
    refuses("damaged or not a backbone file")


def test_only_backbones_are_saved_and_only_where_there_is_a_folder(tmp_path):
    with pytest.raises(EruvError, match="^Linear is no backbone; give one that build_backbone or load_backbone made$"):
        save_backbone(nn.Linear(1, 1), tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError) as caught:
        save_backbone(build_backbone("r3d", width=1), tmp_path / "no" / "x.pt")
    assert caught.value.filename == str(tmp_path / "no" / "x.pt")  # not the file that would have been renamed to it


def test_build_backbone_refuses_unknown_names_and_widths():
    with pytest.raises(EruvError, match="unknown backbone 'resnet'"):
        build_backbone("resnet")
    for width in (0, -1, 1.5, True, None, 10**6, 10**18, 10**5000):
        with pytest.raises(EruvError, match="backbone width"):
            build_backbone("c3d", width=width)
