"""Damaged and hostile checkpoints and metrics: one line each, nothing in them is run, and the one before is taken."""

import errno
import io
import json
import os
import random
import resource
import zipfile

import pytest
import torch

from eruv_dali import EruvError
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.train.checkpoint import FORMAT, load_checkpoint, load_newest, parts_of, save_checkpoint
from eruv_dali.train.loop import disk_errors_named
from eruv_dali.train.metrics import read_metrics
from eruv_dali.train.report import Report


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.fixture
def two(tmp_path):
    """last.pt, and the one before it."""
    path = tmp_path / "last.pt"
    for number in range(2):
        save_checkpoint(path, {"number": number, "net": torch.arange(500.0)}, keep=2)
    return path


def test_any_damage_falls_back_to_the_one_before(two, caplog):
    draw, whole, intact = random.Random(0), two.read_bytes(), 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        two.write_bytes(damaged[: draw.choice([len(damaged), draw.randrange(len(damaged))])])
        state, file = load_newest(two)
        intact += file == two
        assert state["number"] == (1 if file == two else 0)
        assert torch.equal(state["net"], torch.arange(500.0))
    assert 0 < intact < 100 and not any("\n" in record.getMessage() for record in caplog.records)


def repacked(path, compression, content=lambda name, data: data):
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", compression) as new:
        for member in old.infolist():
            new.writestr(member.filename, content(member.filename, old.read(member)))


def bomb(path):
    repacked(path, zipfile.ZIP_DEFLATED, lambda name, data: bytes(3 * 10**8) if name.endswith("data/0") else data)


def long_name(path):
    torch.save({"format": FORMAT, "net": Trap()}, path)
    repacked(path, zipfile.ZIP_STORED, lambda name, data: data.replace(b"mkdir", b"m" * 5000))


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage, said", [
    (folder, "checkpoint cannot be read .Is a directory"),
    (lambda path: path.write_bytes(b""), "torch.save did not write it"),
    (lambda path: torch.save({"format": FORMAT, "net": Trap()}, path), "it holds a posix.mkdir, and only tensors"),
    (long_name, "it holds a posix.mmm"),
    (lambda path: torch.save([1], path), "not a checkpoint of this version"),
    (bomb, "its parts are compressed"),
], ids=["a folder", "empty", "code", "a long name", "a list", "a bomb"])
def test_hostile_ones_are_refused_in_one_line(two, damage, said, monkeypatch, caplog):
    monkeypatch.chdir(two.parent)
    damage(two)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EruvError, match=said) as caught:
        load_checkpoint(two)
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value) and len(str(caught.value)) < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert load_newest(two)[0]["number"] == 0 and not (two.parent / "sprung").exists()


def test_an_archive_that_claims_to_span_disks(two):
    """Python's zipfile asks such a file whether it is one in an exception."""
    content = bytearray(two.read_bytes())
    content[content.rindex(b"PK\x06\x07") + 16] = 2  # disks
    two.write_bytes(content)
    for load in (load_checkpoint, load_pretrained):
        with pytest.raises(EruvError, match="truncated or damaged"):
            load(two)


@pytest.mark.parametrize("use", [
    lambda state: state["optimizer"], lambda state: state["number"].items(), lambda state: int(state["net"]),
    lambda state: torch.nn.Linear(1, 1).load_state_dict(state["net"])])
def test_parts_that_are_none_are_one_line(two, use):
    state = load_checkpoint(two)
    with pytest.raises(EruvError, match="last.pt: its parts are not those of this run's checkpoints") as caught, \
            parts_of(two):
        use(state)
    assert "\n" not in str(caught.value)


def test_without_a_checkpoint_a_full_disk_does_not_speak_of_one(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(EruvError, match="nothing was saved yet") as caught:
            save_checkpoint(tmp_path / "last.pt", {"net": torch.zeros(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "resume" not in str(caught.value)


@pytest.mark.parametrize("number, advice", [
    (errno.ENOSPC, "free some space, or choose another folder"), (errno.EROFS, "choose another folder")])
def test_space_is_asked_for_only_where_it_lacks(tmp_path, number, advice):
    with pytest.raises(EruvError, match=f"nothing was saved yet; {advice}$"), disk_errors_named(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path))


ODD = b'{"step": 1}\n[1]\n5\n{"val": {}}\n{"step": "2"}\n{"step": 3, "val": 1}\n\xff\xfe\n' + b"[" * 3000 + b'\n{"st'


def test_odd_lines_of_metrics_are_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert read_metrics(file) == []
    file.write_bytes(ODD)
    assert read_metrics(file) == [{"step": 1}]
    Report(tmp_path, 40, 6, tensorboard=False, at_chance={}, cores=2).forget_after(6, 6)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"step": 1}]
