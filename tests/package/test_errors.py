"""An EruvError is a ValueError too: what catches ValueError must not take it for somebody else's."""

import errno
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch

from eruv_dali import EruvError
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.records import BadRecord
from eruv_dali.errors import run_program
from eruv_dali.files import write_text
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


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_file_that_the_system_refuses_is_one_line(tmp_path, monkeypatch, capsys, number):
    """Every program ends like that; of a full disk, the system names no file, and `write_aside` adds it."""
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SystemExit) as ended:
        run_program(lambda: write_text(tmp_path / "page.html", "text"))
    assert ended.value.code == 2 and not list(tmp_path.iterdir())
    assert capsys.readouterr().err == (f"error: {tmp_path}/page.html: cannot be read or written ({os.strerror(number)}"
                                       "); fix that, and run again\n")


@pytest.mark.parametrize("file", ["page.html", None])
def test_a_lack_of_open_files_is_one_line(capsys, file):
    """Where no file was being opened but a pipe, the system names none."""
    def lack():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), file)

    with pytest.raises(SystemExit) as ended:
        run_program(lack)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (f"error: {'page.html: ' if file else ''}Too many open files; close other "
                                       "programs, or raise the limit (ulimit -a), and run again\n")


def test_other_errors_of_the_system_are_not_hidden():
    with pytest.raises(BrokenPipeError):
        run_program(lambda: (_ for _ in ()).throw(BrokenPipeError(errno.EPIPE, "Broken pipe")))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_nobody_reads_or_that_is_full(unbuffered):
    """`eruv | true`, which like other programs then says nothing, and `eruv > /dev/full`."""
    read, write = os.pipe()
    os.close(read)
    for output, code, said in ((write, 141, ""), (os.open("/dev/full", os.O_WRONLY), 2, (
            "error: standard output, or a temporary file: No space left on device; make room, and run again\n"))):
        done = subprocess.run([sys.executable, "-m", "eruv_dali"], stdout=output, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
        os.close(output)
        assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:surrogateescape"])
def test_signs_that_standard_output_cannot_encode_are_escaped(encoding):
    done = subprocess.run([sys.executable, "-m", "eruv_dali"], capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith(rb"usage: eruv COMMAND \u2026 ")


def test_ctrl_c_that_a_library_turned_into_an_error_of_its_own(capsys):
    def exporting():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            raise RuntimeError("see the full stack trace above") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as ended:
            run_program(exporting)
        with pytest.raises(RuntimeError):  # without Ctrl-C it is a fault of ours, to be seen
            run_program(lambda: (_ for _ in ()).throw(RuntimeError))
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted\n"
