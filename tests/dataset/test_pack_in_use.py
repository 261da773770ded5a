"""A pack that a running training reads: prepare may work on the DATASET, and the training reads on what it began with.

The loaders run in a process of their own: reading a mapped file that was cut short ends a process (SIGBUS).
"""

import subprocess
import sys

import pytest
from numbered import write_video
from running import with_our_path

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack import trim_pack
from eruv_dali.prepare import prepare

TRAIN = """
import sys
from numbered import verified
from eruv_dali import ClipLoader, RelationLoader

folder, begin = sys.argv[1:]
def meanwhile():
    print("running", flush=True)
    sys.stdin.readline()

seen = set()
with RelationLoader(folder, batch_size=4, device="cpu", pairs_per_epoch=80, threads=1) as pairs, \\
     ClipLoader(folder, batch_size=4, device="cpu", shuffle=True, threads=1) as clips:
    if begin == "opened":
        meanwhile()
    for number, batch in enumerate(pairs):
        if begin == "iterating" and number == 1:
            meanwhile()
        seen |= {told.video for info in verified(batch) for told in info.clips}
    for batch in clips:
        seen |= {info.video for info in verified(batch)}
    assert pairs.stats()["replaced"] == clips.stats()["replaced"] == 0
print(*sorted(seen))
"""


@pytest.fixture
def films(tmp_path):
    for name in "abcd":
        write_video(tmp_path / "films" / f"{name}.mp4", frames=200, size=(144, 192), shots=2)
    return tmp_path / "films"


@pytest.fixture
def training(films, tmp_path):
    """A program that trains on what `prepare` made, stopped in the middle; call to let it go on to its end."""
    begun = []

    def start(pack, begin):
        prepare([films], tmp_path / "out", device="cpu", pack=pack, workers=1)
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path / "out"), begin], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=with_our_path())
        begun.append(process)
        line = process.stdout.readline()
        assert line == "running\n", process.communicate()[1]

        def go_on():
            said, wrong = process.communicate("go on\n", timeout=120)
            assert process.returncode == 0, (process.returncode, wrong)
            assert said.split() == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]

        return tmp_path / "out", go_on

    yield start
    for process in begun:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["video", "jpeg", "raw"])
def test_videos_are_removed_under_a_training(training, films, pack, capsys):
    out, go_on = training(pack, "iterating")
    (films / "c.mp4").unlink()
    (films / "d.mp4").unlink()
    prepare([films], out, device="cpu", pack=pack, workers=1, remove=True)
    assert "of it no longer used" in capsys.readouterr().err
    (films / "e.mp4").write_bytes((films / "b.mp4").read_bytes())
    prepare([films], out, device="cpu", pack=pack, workers=1)  # and a third time, with more to write
    go_on()
    assert [video.name for video in Dataset(out).videos] == ["a.mp4", "b.mp4", "e.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["opened", "iterating"])
def test_a_pack_file_is_replaced_under_a_training(training, films, begin):
    """All is scanned anew, twice: the second time, the file of the name that the training has open is another one."""
    out, go_on = training("raw", begin)
    for frame_size in ((96, 128), (112, 150)):
        prepare([films], out, device="cpu", pack="raw", workers=1, frame_size=frame_size)
    assert [path.name for path in (out / "pack").iterdir()] == ["frames-00000.bin"]
    go_on()


def test_what_is_cut_off(tmp_path):
    """Files that no record names go; others keep what a finished DATASET held of them; links are left alone."""
    (tmp_path / "victim").write_bytes(b"v" * 9000)
    pack = tmp_path / "pack"
    pack.mkdir()
    for number in range(3):
        (pack / f"frames-{number:05d}.bin").write_bytes(b"p" * 1000)
    (pack / "frames-00003.bin").symlink_to(tmp_path / "victim")
    (pack / "frames-00004.bin").symlink_to(tmp_path / "victim")
    used = {"frames-00000.bin": 300, "frames-00001.bin": 300, "frames-00003.bin": 1}
    trim_pack(pack, used, {"frames-00001.bin": 700, "frames-00002.bin": 1000})
    assert {path.name: path.stat().st_size for path in pack.iterdir()} == {
        "frames-00000.bin": 300, "frames-00001.bin": 700, "frames-00003.bin": 9000, "frames-00004.bin": 9000}
    assert (tmp_path / "victim").stat().st_size == 9000
