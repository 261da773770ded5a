"""The benchmark of stores reads the same clips by every way: a segment as a sample gives the clip that the loader
gives."""

import socket
import sys
from urllib.request import Request, urlopen

import numpy as np
import pytest
from places import ROOT

from eruv_dali.dataset import Dataset
from eruv_dali.loader import ClipLoader

sys.path.append(str(ROOT))
from benchmarks.streaming import __main__ as streaming  # noqa: E402
from benchmarks.streaming import data  # noqa: E402


def test_a_sample_is_the_clip_of_the_loader(datasets, tmp_path):
    many = tmp_path / "many"
    data.multiply(datasets["video"], many, 2)
    one, two = Dataset(datasets["video"]), Dataset(many)
    assert len(two.videos) == 2 * len(one.videos) and len(two.segments) == 2 * len(one.segments)
    clips, samples = data.clips(many), data.samples(many)
    assert [segment for *_, segment in clips] == [sample["segment"] for sample in samples]
    assert len({segment for *_, segment in clips}) == len(two.segments)
    with ClipLoader(clips, dataset=many, batch_size=len(clips), device="cpu") as loader:
        (batch,) = loader
    for clip, sample in zip(batch.clips, samples, strict=True):
        pixels = np.rint(clip.permute(1, 2, 3, 0).numpy() * 255)
        assert (pixels == data.decoded(sample, (128, 171))).all()


def test_medians():
    runs = [{"first_batch": first, "local_bytes": 5, "epochs": [
        {"clips": 4, "seconds": first, "core_seconds": 1, "requests": 3, "gets": 2, "bytes": 10 * first}]}
        for first in (3, 1, 2)]
    assert streaming.summary(runs) == {"first_batch_seconds": 2, "local_bytes": 5, "failed_runs": [], "epochs": [
        {"clips": 4, "seconds": 2, "core_seconds": 1, "requests": 3, "gets": 2, "bytes": 20}]}


def test_the_server_speaks_enough_of_s3(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setattr(streaming, "PORT", free.getsockname()[1])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    (tmp_path / "store" / "bucket" / "a.bin").write_bytes(bytes(range(100)))
    server = streaming.serve(tmp_path / "store", 0)
    try:
        url = f"http://127.0.0.1:{streaming.PORT}"
        with urlopen(Request(f"{url}/bucket/a.bin", headers={"Range": "bytes=10-19"})) as answer:
            assert answer.status == 206 and answer.read() == bytes(range(10, 20))
        with urlopen(f"{url}/bucket?list-type=2&prefix=a") as answer:
            assert b"<Key>a.bin</Key><Size>100</Size>" in answer.read()
        with urlopen(f"{url}/-/counts") as answer:
            assert answer.read() == b'{"requests": 2, "gets": 2, "bytes": 10}'
        with pytest.raises(OSError, match="404"):
            urlopen(f"{url}/../secret")
    finally:
        server.kill()
        server.wait()
