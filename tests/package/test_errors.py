"""An EruvError is a ValueError too: what catches ValueError must not take it for somebody else's."""

import zipfile

import pytest
import torch

from eruv_dali import EruvError
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.records import BadRecord
from eruv_dali.train.checkpoint import load_checkpoint, save_checkpoint


def test_callers_may_catch_value_error():
    assert issubclass(EruvError, ValueError) and issubclass(BadRecord, EruvError)


@pytest.mark.parametrize("failure", [EruvError, BadRecord])
def test_reading_lets_its_own_errors_pass(tmp_path, failure):
    ours = EruvError("segments.csv: line 3: says already what is wrong")
    with pytest.raises(EruvError) as caught, reading(tmp_path / "segments.csv", failure):
        raise ours
    assert caught.value is ours
    with pytest.raises(failure, match="damaged DATASET"), reading(tmp_path / "segments.csv", failure):
        raise ValueError("somebody else's")


def test_a_rotten_checkpoint_is_named_once(tmp_path):
    file = tmp_path / "last.pt"
    save_checkpoint(file, {"net": {"weight": torch.arange(1000.0)}})
    with zipfile.ZipFile(file) as archive:
        member = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(file.read_bytes())
    content[member.header_offset + 1000] ^= 1  # among the weights
    file.write_bytes(content)
    with pytest.raises(EruvError) as caught:
        load_checkpoint(file)
    assert str(caught.value) == f"{file}: damaged checkpoint (checksum of {member.filename})"
