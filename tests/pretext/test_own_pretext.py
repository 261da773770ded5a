"""The example in docs/pretexts.md works as it stands there; the table there has every pretext and its options."""

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch
from numbered import numbers, write_video
from places import ROOT

from eruv_dali import EruvError, PretextLoader
from eruv_dali.models import HeadOptions
from eruv_dali.prepare import prepare
from eruv_dali.pretext import PRETEXTS
from eruv_dali.train.config import load_config

TEXT = (ROOT / "docs/pretexts.md").read_text()


def test_the_example(tmp_path, monkeypatch):
    code, _ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "arrow.py").write_text(code)
    spec = importlib.util.spec_from_file_location("arrow", tmp_path / "arrow.py")
    arrow = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "arrow", arrow)  # a dataclass looks its module up
    spec.loader.exec_module(arrow)
    monkeypatch.setitem(PRETEXTS, "arrow", arrow.Arrow)
    write_video(tmp_path / "videos" / "a.mp4", frames=60, size=(128, 176))
    prepare([tmp_path / "videos"], tmp_path / "data", device="cpu", pack="raw", workers=1)
    seen = set()
    with PretextLoader(tmp_path / "data", "arrow", batch_size=4, device="cpu", samples_per_epoch=12) as loader:
        for batch in loader:
            for clips, label, info in zip(batch.clips, batch.label, batch.info, strict=True):
                frames = list(info.clips[0].frames)
                assert numbers(clips[0], info.clips[0].crop) == frames
                assert frames[1] - frames[0] == (2 if info.kind == "forwards" else -2)
                assert loader.pretext.kinds[label] == info.kind
                seen.add(info.kind)
        output = loader.pretext.head(8, HeadOptions())(torch.rand(4, 1, 8))
        assert loader.pretext.loss(output, loader.pretext.target(batch.label, batch.clips)).ndim == 0
    assert seen == {"forwards", "backwards"}
    assert load_config(None, ["pretext=arrow", "pretext.speed=4"]).pretext.speed == 4
    with pytest.raises(EruvError, match="pretext.speed 0 must be at least 1"):
        load_config(None, ["pretext=arrow", "pretext.speed=0"])


@pytest.mark.slow
def test_the_script(tmp_path):
    """What it prints shows that the option of the example, in the folder of the script, is known."""
    for name, text in zip(("arrow.py", "train.py"), re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), strict=True):
        (tmp_path / name).write_text(text)
    done = subprocess.run([sys.executable, tmp_path / "train.py", "pretext=arrow", "pretext.speed=0"],
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and done.stderr == "error: pretext.speed 0 must be at least 1\n"


def test_the_table_has_every_pretext_and_option():
    rows = {row.split("`")[1]: row for row in TEXT.splitlines() if row.startswith("| `")}
    for name, pretext in PRETEXTS.items():
        for option in dataclasses.fields(pretext.Options):
            assert option.name == "name" or f"`{option.name}`" in rows[name], (name, option.name)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*_c*.yaml")), ids=lambda file: file.stem)
def test_the_configurations(file):
    config = load_config(file)
    assert config.pretext.name == file.stem.rpartition("_")[0] or file.stem == "thumos14_c3d"
    if config.pretext.name != "eruv":  # the defaults are those of the configuration
        assert config.pretext == PRETEXTS[config.pretext.name].Options()
