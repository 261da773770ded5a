"""Files that change while a loader reads them: the clips that come are right, or one line says why none do."""

import os
import shutil

import pytest
from editing import FIRST
from forked import WARM, Forked
from numbered import numbers

from eruv_dali import ClipLoader
from eruv_dali.errors import run_program
from eruv_dali.prepare import prepare


def load(folder, pipe):
    """Three epochs of clips, each read back from its pixels; says when the first batch has come, and waits."""
    def work():
        with ClipLoader(folder, batch_size=2, device="cpu", threads=2, shuffle=True) as loader:
            for _ in range(3):
                for number, batch in enumerate(loader):
                    for clip, info in zip(batch.clips, batch.info, strict=True):
                        assert numbers(clip) == [FIRST[info.video] + frame for frame in info.frames]
                    if number == 0:
                        pipe.send("running")
                        pipe.recv()

    run_program(work)


def truncate(folder, films, draw):
    for file in (folder / "pack").iterdir():
        os.truncate(file, draw.randrange(file.stat().st_size))


def replace(folder, films, draw):
    """By another file of the same name, which the loader has not open."""
    for file in (folder / "pack").iterdir():
        (folder / "other").write_bytes(draw.randbytes(1000))
        os.replace(folder / "other", file)


def overwrite(folder, films, draw):
    for file in (folder / "pack").iterdir():
        with open(file, "r+b") as opened:
            for _ in range(20):
                opened.seek(draw.randrange(file.stat().st_size))
                opened.write(draw.randbytes(draw.randint(1, 3000)))


def delete(folder, films, draw):
    shutil.rmtree(folder)


def prepare_again(folder, films, draw):
    """Without a video, and with another size of frames."""
    (films / draw.choice(sorted(FIRST))).unlink()
    prepare([films], folder, device="cpu", pack="raw" if (folder / "pack").exists() else "none", workers=1,
            remove=True, frame_size=draw.choice([(128, 171), (120, 160)]))


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw"])
@pytest.mark.parametrize("change", [truncate, replace, overwrite, delete, prepare_again])
def test_the_pack(copy_of, films, tmp_path, draw, pack, change):
    if (pack, change) == ("raw", overwrite):
        pytest.skip("a raw pack is not checked where it is read: docs/guarantees.md")
    folder, ours = copy_of(pack), shutil.copytree(films, tmp_path / "films")
    pipe, theirs = WARM.Pipe()
    process = Forked(tmp_path / "said", load, folder, theirs)
    theirs.close()
    try:
        for number in range(3):
            assert pipe.recv() == "running"
            if number == 0:
                change(folder, ours, draw)
            pipe.send("go on")
    except (EOFError, BrokenPipeError, ConnectionResetError):  # it has ended, with one line
        pass
    code = process.ended()
    said = process.stderr
    assert code in (0, 2) and "Traceback" not in said, said
    if code == 2:
        assert change in (truncate, overwrite) and said.count("error: ") == 1
