"""Weights that travel: torch.hub, ONNX, and plain torch.load."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from places import ROOT
from running import outcome, refused

from eruv_dali.errors import EruvError
from eruv_dali.export import main
from eruv_dali.models import BACKBONES, build_backbone, load_backbone, save_backbone
from eruv_dali.models.onnx_file import export_onnx


@pytest.fixture(params=BACKBONES)
def saved(request, tmp_path):
    """A backbone with BatchNorm statistics of its own, in evaluation, and its file."""
    torch.manual_seed(0)
    backbone = build_backbone(request.param, width=4)
    backbone(torch.rand(4, 3, 16, 32, 32))
    save_backbone(backbone, tmp_path / "backbone.pt")
    return backbone.eval(), tmp_path / "backbone.pt"


@pytest.mark.slow
def test_onnxruntime_gives_what_pytorch_gives(saved):
    backbone, path = saved
    onnx = path.with_suffix(".onnx")
    assert export_onnx(load_backbone(path), onnx, crop=32) < 1e-4
    session = onnxruntime.InferenceSession(onnx)
    clips = torch.rand(3, 3, 16, 32, 32)
    features, maps = session.run(["features", "maps"], {"clips": clips.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(features, backbone(clips).numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(maps, backbone.feature_maps(clips).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_program_says_how_far_the_two_differ(tmp_path):
    save_backbone(build_backbone("r3d", width=2), tmp_path / "backbone.pt")
    done = subprocess.run([sys.executable, "-m", "eruv_dali.export", tmp_path / "backbone.pt", "--out",
                           tmp_path / "x.onnx", "--crop", "32"], capture_output=True, text=True)
    assert done.returncode == 0 and "differ by at most" in done.stdout and done.stderr == "", done.stderr


def test_torch_hub_and_torch_load(saved):
    backbone, path = saved
    clips = torch.rand(2, 3, 16, 32, 32)
    hub = torch.hub.load(str(ROOT), backbone.name, source="local", weights=path).eval()
    record = torch.load(path, weights_only=True)
    assert record["backbone"] == backbone.name and record["width"] == 4
    plain = build_backbone(record["backbone"], width=record["width"])
    plain.load_state_dict(record["state_dict"])
    with torch.no_grad():
        wanted = backbone(clips)
        assert torch.equal(hub(clips), wanted) and torch.equal(plain.eval()(clips), wanted)
    other = next(name for name in BACKBONES if name != backbone.name)
    with pytest.raises(EruvError, match=f"holds a {backbone.name}, not a {other}"):
        torch.hub.load(str(ROOT), other, source="local", weights=path)


def test_random_weights_by_torch_hub():
    parameters = torch.hub.load(str(ROOT), "r3d", source="local").parameters()
    assert sum(p.numel() for p in parameters) == 14_361_792  # the 14.36 M of the paper


def test_a_run_gives_its_own_clip_length_and_crop(monkeypatch, capsys, tmp_path):
    save_backbone(build_backbone("r3d", width=2), tmp_path / "backbone.pt")
    (tmp_path / "config.yaml").write_text("data: {clip_length: 8, crop: 40}\n")
    seen = []

    def noted(backbone, path, **look):
        seen.append(look)
        path.touch()
        return 0.0

    monkeypatch.setattr("eruv_dali.models.onnx_file.export_onnx", noted)
    for words in ([], ["--crop", 64]):
        outcome(monkeypatch, capsys, main, tmp_path, "--out", tmp_path / "x.onnx", *words)
    assert seen == [dict(clip_length=8, crop=40), dict(clip_length=8, crop=64)]
    (tmp_path / "config.yaml").write_text("data: [")
    assert refused(monkeypatch, capsys, main, tmp_path, "--out", tmp_path / "x.onnx", "--crop", "0").endswith(
        "--crop 0 must be at least 1")
    assert "config.yaml: not valid YAML" in refused(monkeypatch, capsys, main, tmp_path, "--out", tmp_path / "x.onnx")


def test_a_file_that_is_no_backbone_is_refused(monkeypatch, capsys, tmp_path):
    (tmp_path / "x.pt").write_text("nothing")
    said = refused(monkeypatch, capsys, main, tmp_path / "x.pt", "--out", tmp_path / "x.onnx")
    assert "is not a backbone file" in said and not (tmp_path / "x.onnx").exists()


def test_clips_that_are_too_small_for_the_network_are_refused(monkeypatch, capsys, tmp_path):
    save_backbone(build_backbone("c3d", width=1), tmp_path / "backbone.pt")
    said = refused(monkeypatch, capsys, main, tmp_path, "--out", tmp_path / "x.onnx", "--crop", "8")
    assert said.startswith("error: c3d cannot take a clip of 16 frames of 8x8")
