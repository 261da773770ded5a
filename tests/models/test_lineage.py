"""Weights with the names that VCOP's and PRP's public code give them; here our own networks, renamed."""

import argparse
import pickle
from itertools import combinations

import pytest
import torch
from places import ROOT
from torch import nn
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.models import HeadOptions, PretextNet, build_backbone, load_backbone, load_vcop
from eruv_dali.models.heads import PairwiseHead


def c3d_vcop() -> list[str]:
    places = "1 2 3a 3b 4a 4b 5a 5b".split()
    return [f"{kind}{place}" for place in places for kind in ("conv", "bn")]


def c3d_prp() -> list[str]:
    places = "1 2 3_1 3_2 4_1 4_2 5_1 5_2".split()
    return [f"conv{place}.conv3d.{layer}" for place in places for layer in "01"]


def resnet(parts: list[str]) -> list[str]:
    modules = [f"conv1.{part}" for part in parts] + ["bn1"]
    for stage in (2, 3, 4, 5):
        block = f"conv{stage}.block1"
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("downsampleconv", "downsamplebn"))[:2 + (stage > 2)]:
            modules += [f"{block}.{conv}.{part}" for part in parts] + [f"{block}.{norm}"]
    return modules


# Modules of their networks, in the order of those in our state dicts.
THEIRS = {
    "c3d of VCOP": c3d_vcop(),
    "c3d of PRP": c3d_prp(),
    "r3d": resnet(["temporal_spatial_conv"]),
    "r2plus1d": resnet(["spatial_conv", "bn", "temporal_conv"]),
}
VCOP_HEAD = {"fc7.weight": (512, 32), "fc7.bias": (512,), "fc8.weight": (6, 1536), "fc8.bias": (6,)}
PRP_HEAD = {"up1.up3d.weight": (16, 16, 2, 2, 2), "up1.conv3d.conv3d.0.weight": (8, 16, 3, 3, 3),
            "up4_1.weight": (2, 2, 2, 2, 2), "outc.conv3d.1.running_var": (3,), "conv6_cls.conv3d.0.bias": (16,),
            "conv6_rec.conv3d.1.weight": (16,), "fc8.weight": (4, 16), "fc8.bias": (4,)}
CLASSIFIER = {"linear.weight": (101, 16), "linear.bias": (101,)}


def make(name: str, width: int = 2):
    """A backbone whose BatchNorms have statistics of their own, in evaluation."""
    torch.manual_seed(0)
    backbone = build_backbone(name, width=width)
    backbone(torch.rand(4, 3, 8, 32, 32))
    return backbone.eval()


def renamed(backbone, modules: list[str]) -> dict[str, torch.Tensor]:
    state = backbone.state_dict()
    ours = list(dict.fromkeys(key.rsplit(".", 1)[0] for key in state))
    there = dict(zip(ours, modules, strict=True))
    return {f"{there[module]}.{leaf}": value for key, value in state.items() for module, leaf in [key.rsplit(".", 1)]}


def head(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.rand(shape) for name, shape in shapes.items()}


def within(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


FORMS = {
    "the backbone": lambda state: state,
    "in DataParallel": lambda state: within("module.", state),
    "fine-tuned": lambda state: state | head(CLASSIFIER),
    "fine-tuned in DataParallel": lambda state: within("module.", state | head(CLASSIFIER)),
    "VCOPN": lambda state: within("base_network.", state) | head(VCOP_HEAD),
    "VCOPN in DataParallel": lambda state: within("module.", within("base_network.", state) | head(VCOP_HEAD)),
    "SSCN in DataParallel": lambda state: within("module.", within("base_network.", state) | head(PRP_HEAD)),
    "within a dict": lambda state: {"epoch": 3, "state_dict": within("module.", state),
                                    "optimizer": {"state": {0: {"momentum_buffer": torch.rand(2)}}}},
    "within a dict, as model": lambda state: {"model": within("base_network.", state) | head(VCOP_HEAD), "loss": 0.5},
    "before PyTorch 0.4.1": lambda state: {key: value for key, value in state.items()
                                           if not key.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", THEIRS)
def test_every_form_of_their_files_gives_the_backbone(tmp_path, kind, form, legacy):
    name = kind.split()[0]
    backbone = make(name)
    file = tmp_path / "model_20.pth.tar"
    torch.save(FORMS[form](renamed(backbone, THEIRS[kind])), file, _use_new_zipfile_serialization=not legacy)
    x = torch.rand(1, 3, 8, 32, 32)
    for loaded in (load_backbone(file), load_pretrained(file).backbone):
        assert (loaded.name, loaded.width) == (name, 2) and loaded.training
        assert torch.equal(loaded.eval()(x), backbone(x))


def test_width_is_told_from_the_tensors(tmp_path):
    for width in (1, 6):
        torch.save(renamed(make("r2plus1d", width), THEIRS["r2plus1d"]), tmp_path / "x.pt")
        assert load_backbone(tmp_path / "x.pt").width == width


def test_a_config_of_another_program_beside_the_file_is_not_read(tmp_path):
    torch.save(renamed(make("r3d"), THEIRS["r3d"]), tmp_path / "x.pt")
    (tmp_path / "config.yaml").write_text("arch: r3d\n")
    start = load_pretrained(tmp_path / "x.pt")
    assert (start.clip_length, start.crop, start.frame_size, start.mean) == (16, 112, (128, 171), (0, 0, 0))
    with pytest.raises(EruvError, match="holds a r3d of width 2, not backbone c3d"):
        load_pretrained(tmp_path / "x.pt", backbone="c3d")


def test_torch_hub_takes_them_too(tmp_path):
    backbone, x = make("r3d"), torch.rand(1, 3, 8, 32, 32)
    torch.save(FORMS["VCOPN"](renamed(backbone, THEIRS["r3d"])), tmp_path / "x.pt")
    assert torch.equal(torch.hub.load(str(ROOT), "r3d", source="local", weights=tmp_path / "x.pt").eval()(x),
                       backbone(x))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("clips", [2, 3, 4])
def test_vcop_whole_gives_the_logits_of_its_definition(tmp_path, clips, prefix):
    """Shared fc7 on each pair in the order (1, 2), (1, 3), (2, 3), ReLU, all concatenated, fc8."""
    backbone, pairs, orders = make("c3d"), clips * (clips - 1) // 2, {2: 2, 3: 6, 4: 24}[clips]
    fc7, fc8 = nn.Linear(32, 20), nn.Linear(20 * pairs, orders)
    state = within("base_network.", renamed(backbone, THEIRS["c3d of VCOP"]))
    state |= within("fc7.", fc7.state_dict()) | within("fc8.", fc8.state_dict())
    torch.save(within(prefix, state), tmp_path / "best_model_7.pt")
    net = load_vcop(tmp_path / "best_model_7.pt")
    assert isinstance(net, PretextNet) and isinstance(net.head, PairwiseHead) and net.clips == clips and net.training
    x = torch.rand(3, clips, 3, 8, 32, 32)
    with torch.no_grad():
        features = [backbone(x[:, k]) for k in range(clips)]
        h = torch.cat([F.relu(fc7(torch.cat(pair, dim=1))) for pair in combinations(features, 2)], dim=1)
        torch.testing.assert_close(net.eval()(x), fc8(h), rtol=0, atol=1e-5)


def test_vcop_whole_is_the_network_of_our_pretext(tmp_path):
    """The head that the pretext `vcop` builds has the same tensors, so that training can go on from there."""
    torch.save(FORMS["VCOPN"](renamed(make("r3d"), THEIRS["r3d"])), tmp_path / "x.pt")
    ours = PretextNet(build_backbone("r3d", width=2), PairwiseHead(3, 16, 6, HeadOptions()), clips=3)
    ours.load_state_dict(load_vcop(tmp_path / "x.pt").state_dict())


def refuses(load, file, pattern):
    with pytest.raises(EruvError, match=pattern) as caught:
        load(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_head_that_does_not_fit_is_named(tmp_path):
    file, state = tmp_path / "x.pt", FORMS["VCOPN"](renamed(make("r3d"), THEIRS["r3d"]))
    for change, pattern in (
        ({"fc8.weight": torch.rand(6, 1000)}, "fc8 has 1000 inputs, not the 512 of fc7 for each pair"),
        ({"fc8.weight": torch.rand(24, 1536)}, r"VCOP's head: fc8.weight has shape \(24, 1536\), not \(6, 1536\)"),
        ({"fc7.weight": torch.rand(512, 30)}, r"fc7.weight has shape \(512, 30\), not \(512, 32\)"),
        ({"fc7.bias": None}, "fc7.bias is missing"),
        ({"fc7.weight": None}, "holds no VCOPN"),
    ):
        torch.save({key: value for key, value in (state | change).items() if value is not None}, file)
        refuses(load_vcop, file, pattern)
    torch.save({"epoch": 1}, file)
    refuses(load_vcop, file, "holds no VCOPN")


@pytest.mark.parametrize("kind", THEIRS)
def test_every_tensor_must_be_there_and_fit(tmp_path, kind):
    file, state = tmp_path / "x.pt", renamed(make(kind.split()[0], 1), THEIRS[kind])
    first = next(iter(state))
    for name in (first, *list(state)[1::11]):
        torch.save({key: value for key, value in state.items() if key != name}, file)
        refuses(load_backbone, file, "is not a backbone file" if name == first else f"{name} is missing")
        torch.save(state | {name: torch.zeros(7, 7)}, file)
        refuses(load_backbone, file, "is not a backbone file" if name == first else
                r"(does not hold .*) has shape|has shape \(7, 7\), not")


def test_what_is_left_over_is_named(tmp_path):
    file, state = tmp_path / "x.pt", renamed(make("r3d"), THEIRS["r3d"])

    def refuse(content, pattern):
        torch.save(content, file)
        refuses(load_backbone, file, pattern)

    deeper = "conv2.blocks.0.conv1.temporal_spatial_conv.weight"  # of a network of more blocks
    refuse(state | {deeper: torch.rand(2, 2, 3, 3, 3)}, f"does not hold .*r3d of width 2: {deeper} is neither")
    refuse(state | {"projector.weight": torch.rand(2, 2)}, "projector.weight is neither one of its tensors nor")
    refuse(state | {"module.bn1.weight": torch.rand(2)}, "occurs twice")
    refuse(state | {"bn1.weight": [1.0, 1.0]}, "not all values are tensors")
    refuse({"model": state, "model_ema": state}, "several networks .model, model_ema.")
    refuse(state | {"bn1.weight": torch.rand(1000)}, "does not hold .* of width 1000: ")  # and builds no such one
    refuse(state | {"bn1.weight": torch.rand(10**6)}, "backbone width 1000000 must be at most 1024")
    image = {"conv1.weight": torch.rand(64, 3, 7, 7), "bn1.weight": torch.rand(64)}
    refuse(image, "is not a backbone file: give the backbone.pt")
    for other in ({}, [], 3, {"state_dict": 5}, {1: torch.rand(2)}):
        refuse(other, "is not a backbone file")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_nothing_in_a_file_is_run(tmp_path, legacy):
    file, sprung = tmp_path / "x.pt", tmp_path / "sprung"
    state = renamed(make("r3d"), THEIRS["r3d"])
    for load in (load_backbone, load_pretrained, load_vcop):
        for extra, what in ((Trap(sprung), "open"), (argparse.Namespace(lr=1), "argparse.Namespace")):
            torch.save({"state_dict": state, "options": extra}, file, _use_new_zipfile_serialization=not legacy)
            refuses(load, file, f"it holds a .*{what}, and only tensors and plain values are read")
        file.write_bytes(pickle.dumps(Trap(sprung)))
        refuses(load, file, "is not a backbone file")
    assert not sprung.exists()


def test_damaged_legacy_files_end_in_one_line(tmp_path):
    file = tmp_path / "x.pt"
    torch.save(renamed(make("r3d", 1), THEIRS["r3d"]), file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    for size in (*range(12, 400, 19), len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        refuses(load_backbone, file, "damaged or not a backbone file|is not a backbone file")
    told = 0
    for place in range(0, 3000, 67):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:])
        try:
            load_backbone(file)  # legacy files have no checksums: a changed number goes unnoticed
        except EruvError as error:
            told += 1
            assert str(error).startswith(str(file)) and "\n" not in str(error)
    assert told > 15
