"""The networks alone, where DALI and CuPy are not installed: their import is refused in a fresh process."""

import subprocess
import sys

import pytest
from places import ROOT

pytestmark = pytest.mark.slow

BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cupy", "cupy_backends") or name.startswith("nvidia"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def without_dali(code: str, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", BLOCK + code, *map(str, words)], capture_output=True, text=True,
                          cwd=ROOT)


def test_a_backbone_is_built_saved_and_loaded(tmp_path):
    done = without_dali("""
import torch
from eruv_dali import PretextNet, RelationNet, build_backbone, load_backbone, save_backbone

made = build_backbone("r3d", width=4).eval()
save_backbone(made, sys.argv[1])
loaded = load_backbone(sys.argv[1]).eval()
clips = torch.rand(1, 3, 8, 32, 32)
assert torch.equal(loaded(clips), made(clips))
assert RelationNet(loaded, 7)(torch.stack([clips, clips], 1)).shape == (1, 7)
import eruv_dali.export
import eruv_dali.models.onnx_file
import hubconf
assert torch.equal(hubconf.r3d(sys.argv[1]).eval()(clips), made(clips))
""", tmp_path / "backbone.pt")
    assert done.returncode == 0, done.stderr


def test_what_needs_dali_says_so():
    done = without_dali("from eruv_dali import ClipLoader")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ImportError")]
    assert "ClipLoader needs NVIDIA DALI" in line and "build_backbone" in line
    assert done.stderr.count("Traceback") == 1 and "nvidia.dali" not in done.stderr.partition("ImportError")[0]
