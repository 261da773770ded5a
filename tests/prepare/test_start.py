"""What prepare does not import where it is not needed: PyTorch, DALI and CuPy take seconds."""

import ctypes
import subprocess
import sys

import pytest
from numbered import write_video
from places import ROOT
from prepared import table

HEAVY = ("torch", "nvidia", "cupy", "matplotlib")


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_neither_prepare_nor_its_workers_import_what_only_gpus_and_networks_need(tmp_path, monkeypatch, device):
    if device == "auto" and has_driver():
        pytest.skip("there is an NVIDIA driver: PyTorch is asked about the GPU")
    for name in HEAVY:
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("raise SystemExit(f'{__name__} is imported')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{ROOT}")
    film = write_video(tmp_path / "film.mp4", frames=60, size=(64, 96))
    command = [sys.executable, "-m", "eruv_dali.prepare", str(film), "--out", str(tmp_path / "dataset"), "--pack",
               "none", "--device", device]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["frames"] for row in table(tmp_path / "dataset", "videos.csv")] == ["60"]


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
