"""Networks that see frame differences: what they see, and that their files know it."""

import pytest
import torch

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.models import build_backbone, load_backbone, save_backbone
from eruv_dali.models.differences import SCALE, frame_differences
from eruv_dali.train.checkpoint import save_checkpoint
from eruv_dali.train.config import load_config


def test_each_frame_less_the_one_before():
    clips = torch.rand(2, 16, 4, 5, 3).permute(0, 4, 1, 2, 3)
    seen = frame_differences(clips)
    assert seen.shape == clips.shape and not seen[:, :, 0].any()
    assert seen.is_contiguous(memory_format=torch.channels_last_3d)
    for t in range(1, 16):
        assert torch.equal(seen[:, :, t], (clips[:, :, t] - clips[:, :, t - 1]) * SCALE)


@pytest.mark.parametrize("name", ["c3d", "r3d", "r2plus1d"])
def test_the_network_sees_differences_and_its_file_says_so(name, tmp_path):
    torch.manual_seed(0)
    rgb, moving = build_backbone(name, width=2).eval(), build_backbone(name, width=2, input="difference").eval()
    moving.load_state_dict(rgb.state_dict())
    clips = torch.rand(2, 3, 8, 32, 32)
    assert torch.equal(moving(clips), rgb(frame_differences(clips))) and not torch.allclose(moving(clips), rgb(clips))
    torch.testing.assert_close(moving(clips + 1), moving(clips), rtol=1e-4, atol=1e-5)  # blind to what stands still
    assert moving.feature_maps(clips).shape == rgb.feature_maps(clips).shape
    save_backbone(moving, tmp_path / "backbone.pt")
    for loaded in (load_backbone(tmp_path / "backbone.pt"), load_pretrained(tmp_path).backbone):
        assert loaded.input == "difference" and torch.equal(loaded.eval()(clips), moving(clips))
    with pytest.raises(EruvError, match="holds a .* on frame differences, not input rgb"):
        load_pretrained(tmp_path, input="rgb")


def test_files_without_the_key_mean_colours(tmp_path):
    save_backbone(build_backbone("r3d", width=1), tmp_path / "backbone.pt")
    assert "input" not in torch.load(tmp_path / "backbone.pt", weights_only=True)
    assert load_backbone(tmp_path / "backbone.pt").input == "rgb"
    weights = {f"backbone.{key}": value for key, value in build_backbone("r3d", width=1).state_dict().items()}
    for model, wanted in (({}, "rgb"), ({"input": "difference"}, "difference")):
        save_checkpoint(tmp_path / "best.pt", {"net": weights, "model": {"backbone": "r3d", "width": 1, **model}})
        assert load_pretrained(tmp_path / "best.pt").backbone.input == wanted


def test_networks_and_clips_without_differences_are_refused(tmp_path):
    with pytest.raises(EruvError, match="caffenet sees single frames"):
        build_backbone("caffenet", width=1, input="difference")
    with pytest.raises(EruvError, match="input 'flow' is not one of rgb, difference"):
        build_backbone("c3d", input="flow")
    for words, problem in ((["model.input=flow"], "model.input = 'flow' is not one of"),
                           (["model.backbone=caffenet"], "caffenet sees single frames"),
                           (["pretext=opn", "model.backbone=r3d"], "pretext opn shows single frames"),
                           (["pretext=rotnet3d", "model.backbone=r3d", "data.clip_length=1"], "clip_length = 1 is")):
        with pytest.raises(EruvError, match=problem):
            load_config(None, ["model.input=difference", *words])
    save_backbone(build_backbone("r3d", width=1), tmp_path / "backbone.pt")
    record = torch.load(tmp_path / "backbone.pt", weights_only=True)
    torch.save(record | {"input": "flow"}, tmp_path / "backbone.pt")
    with pytest.raises(EruvError, match="backbone.pt: backbone input 'flow'"):
        load_backbone(tmp_path / "backbone.pt")
