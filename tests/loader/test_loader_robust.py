"""What goes wrong while an epoch runs costs one clip, never the epoch; a loader leaves nothing behind."""

import gc
import os
import re
import shutil
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from numbered import verified, verified_infos, write_video

from eruv_dali import ClipLoader, EruvError, RelationLoader
from eruv_dali.dataset import Dataset, pack_reader
from eruv_dali.dataset.crop_mapped import MappedFile
from eruv_dali.loader import clip_transform as operator
from eruv_dali.loader import read_originals
from eruv_dali.loader.clip_reader import UnreadableFrames
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.read_raw_pack import RawPackReader
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.prepare import prepare
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.video.closed_groups import GROUP


@pytest.fixture
def prepared(tmp_path):
    """Prepare two films of three shots and one clip in VP9, with any kind of pack."""
    for name, shots in (("a.mp4", 3), ("b.mp4", 3)):
        write_video(tmp_path / "videos" / name, frames=240, gop=30, shots=shots, size=(144, 192))
    write_video(tmp_path / "videos" / "c.webm", frames=120, gop=30, codec="libvpx-vp9", size=(144, 192),
                options={"deadline": "realtime", "cpu-used": "8"})

    def make(pack):
        prepare([tmp_path / "videos"], tmp_path / pack, device="cpu", pack=pack, workers=1)
        return tmp_path / pack

    return make


def overwrite(path, offset, data):
    """Damage a file behind the back of every check: its size and time stay."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def damage_video(path):
    """Put noise over the middle of a video file; its index, at the end, stays."""
    size = path.stat().st_size
    overwrite(path, size * 4 // 10, np.random.default_rng(0).bytes(size // 5))


def epoch_with_damage(folder, caplog, **options):
    """Run an epoch twice, with other threads; both must be whole and alike. Returns infos and the loader's figures."""
    runs = []
    for threads in (1, 3):
        caplog.clear()
        with RelationLoader(folder, batch_size=4, device="cpu", pairs_per_epoch=80, seed=2, threads=threads,
                            **options) as loader:
            runs.append((verified_infos(loader), loader.stats(), [record.getMessage() for record in caplog.records]))
            assert len(runs[-1][0]) == 80
            state = loader.state_dict()
            assert state == {"epoch": 1, "position": 0}
    assert runs[0][0] == runs[1][0]
    return runs[0]


@pytest.mark.slow
def test_damage_in_a_file_costs_the_clips_that_show_it(prepared, caplog):
    folder = prepared("none")
    with RelationLoader(folder, batch_size=4, device="cpu", pairs_per_epoch=80, seed=2) as loader:
        before = verified_infos(loader)
    path = Dataset(folder).videos[0].path
    damage_video(path)
    found, stats, lines = epoch_with_damage(folder, caplog)
    assert stats["replaced"] > 0 and stats["quarantined"] > 0
    named = [line for line in lines
             if re.search(r"a\.mp4: frames \d+\.\.\d+ cannot be decoded .*another clip takes its", line)]
    assert named
    changed = [n for n in range(80) if found[n] != before[n]]
    assert len(changed) == stats["replaced"]
    for n in changed:
        assert found[n].relation == before[n].relation
        assert any(clip.video == "a.mp4" for clip in before[n].clips)


def test_a_file_that_vanishes_meanwhile(prepared, caplog):
    folder = prepared("none")
    with RelationLoader(folder, batch_size=4, device="cpu", pairs_per_epoch=60, relations=["CR", "PI", "PD"]) as loader:
        Dataset(folder).videos[1].path.unlink()
        found = verified_infos(loader)
        assert len(found) == 60 and loader.stats()["replaced"] > 0
    assert "b.mp4" not in {clip.video for info in found for clip in info.clips}


@pytest.mark.slow
@pytest.mark.parametrize("pack, at, spoilt", [("jpeg", 700, [100]), ("video", 9, range(100, 112))])
def test_a_pack_that_rots_meanwhile(prepared, caplog, pack, at, spoilt):
    """DALI would crash over such a JPEG; libavcodec would conceal the damage, and show the rest of the group wrong."""
    folder = prepared(pack)
    dataset = Dataset(folder)
    record = dataset.frames_of(0)[100]
    overwrite(folder / "pack" / dataset.videos[0].pack_file, int(record["offset"]) + at, b"rot")
    found, stats, lines = epoch_with_damage(folder, caplog)
    assert 0 < stats["quarantined"] <= len(spoilt) and stats["replaced"] > 0
    assert any("a.mp4: frame 100 cannot be decoded (wrong checksum" in line for line in lines)
    assert not any(clip.video == "a.mp4" and {*spoilt} & {*clip.frames} for info in found for clip in info.clips)


def test_damage_in_frames_that_a_sped_up_clip_skips_costs_nothing(prepared):
    """Such frames were read too, and their damage blamed on no frame that is shown: the same clip was tried forever."""
    folder = prepared("video")
    dataset = Dataset(folder)
    damaged = (7, 37, 110)  # none at the start of its group
    options = dict(options={"dilations": [3, 5]}, device="cpu", crop=32, samples_per_epoch=60, seed=1)
    with PretextLoader(folder, "prp", **options) as loader:
        before = [info for batch in loader for info in batch.info]
    for number in damaged:
        record = dataset.frames_of(0)[number]
        overwrite(folder / "pack" / dataset.videos[0].pack_file, int(record["offset"]) + 9, b"rot")
    with PretextLoader(folder, "prp", **options) as loader:
        after = [info for batch in loader for info in batch.info]
    needing = [number for number, info in enumerate(before) for clip in info.clips if clip.video == "a.mp4" and any(
        frame >= lost and frame // GROUP == lost // GROUP for lost in damaged for frame in clip.frames)]
    skipping = [info for info in before for clip in info.clips if clip.video == "a.mp4" and any(
        clip.frames[0] < lost < clip.frames[-1] and lost not in clip.frames for lost in damaged)]
    assert needing and skipping
    assert [number for number in range(60) if after[number] != before[number]] == needing


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw"])
def test_a_pack_that_is_cut_short_meanwhile(prepared, pack, caplog):
    """No signal ends the process, though a raw pack is mapped. The epoch is longer than what is read ahead."""
    folder = prepared(pack)
    with RelationLoader(folder, batch_size=4, device="cpu", pairs_per_epoch=100, seed=2, threads=2) as loader:
        batches = iter(loader)
        found = verified(next(batches))
        (file,) = (folder / "pack").iterdir()
        end = file.stat().st_size * 3 // 5
        os.truncate(file, end)
        for batch in batches:
            found += verified(batch)
        assert len(found) == 100 and loader.stats()["replaced"] > 0
        # Only frames that are gone: a clip that can still be read is never avoided.
        beyond = sum(int((row["offset"] + row["size"] > end).sum()) for row in map(loader.videos.frames_of, range(3)))
        assert 0 < loader.stats()["quarantined"] <= beyond
    lines = [record.getMessage() for record in caplog.records]
    assert any(re.search(r"c\.webm: .*frames-00000\.bin: ends at byte \d+, .* another clip takes its", line)
               for line in lines)


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw"])
def test_a_pack_that_is_deleted_meanwhile(prepared, pack):
    """The loader has the file open, so the disk keeps it."""
    folder = prepared(pack)
    with RelationLoader(folder, batch_size=4, device="cpu", pairs_per_epoch=20) as loader:
        shutil.rmtree(folder / "pack")
        assert len(verified_infos(loader)) == 20 and loader.stats()["replaced"] == 0


def test_what_dali_cannot_decode_pyav_does(prepared, caplog, monkeypatch):
    """A slice that kills DALI: the pipeline is built anew and the video goes to PyAV; nothing is lost."""
    folder = prepared("none")
    monkeypatch.setattr(read_originals, "SLICES_ON", ("gpu", "cpu"))
    options = dict(batch_size=4, device="cpu", pairs_per_epoch=40, seed=4, threads=1)
    with RelationLoader(folder, **options) as loader:
        want = verified_infos(loader)
    whole = read_originals.FrameReader.slice

    def broken(*arguments):
        cut = whole(*arguments)
        return cut and replace(cut, data=bytes(5000))

    monkeypatch.setattr(read_originals.FrameReader, "slice", broken)
    with RelationLoader(folder, **options) as loader:
        assert verified_infos(loader) == want
        assert loader.stats()["replaced"] == 0
    lines = [record.getMessage() for record in caplog.records]
    assert any("pipeline died" in line for line in lines)
    assert any("c.webm: DALI cannot decode it; PyAV will from now on" in line for line in lines)


def test_an_epoch_without_a_sound_clip_ends_with_a_clear_line(prepared):
    folder = prepared("none")
    with ClipLoader(folder, batch_size=2, device="cpu") as loader:
        for video in loader.videos.videos:
            video.path.unlink()
        with pytest.raises(EruvError, match="100 clips in a row cannot be decoded .the last one: .*; run prepare"):
            list(loader)


def test_a_clip_is_replaced_by_one_of_its_label(prepared):
    folder = prepared("none")
    paths = [video.path for video in Dataset(folder).videos]
    wanted = [(path, start, label) for label, path in enumerate(paths) for start in range(0, 100, 10)]
    damage_video(paths[0])
    with ClipLoader(wanted, batch_size=4, device="cpu") as loader:
        batches = list(loader)
        stats = loader.stats()
    assert stats["replaced"] > 0
    assert [label for batch in batches for label in batch.label.tolist()] == [label for _, _, label in wanted]
    for batch in batches:
        assert [paths.index(type(paths[0])(info.video)) for info in batch.info] == batch.label.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["jpeg", "none"])
def test_twenty_loaders_leave_no_thread_and_no_file(datasets, pack):
    def held():
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def one():
        with RelationLoader(datasets[pack], batch_size=2, device="cpu", pairs_per_epoch=4, threads=2) as loader:
            next(iter(loader))

    for _ in range(3):
        one()
    before = held()
    for _ in range(20):
        one()
    after = held()
    assert all(b <= a + 2 for a, b in zip(before, after, strict=True)), (before, after)


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_a_compiler_the_pixels_are_the_same(datasets, pack, dtype, monkeypatch):
    options = dict(batch_size=4, device="cpu", pairs_per_epoch=24, seed=6, dtype=dtype)
    with RelationLoader(datasets[pack], **options) as loader:
        want = list(loader)
    monkeypatch.setattr(operator, "load_operator", lambda device: False)
    with RelationLoader(datasets[pack], **options) as loader:
        for expected, batch in zip(want, loader, strict=True):
            assert batch.info == expected.info and batch.clips.stride() == expected.clips.stride()
            assert (batch.clips.float() - expected.clips.float()).abs().max() * 255 <= 1


def test_a_raw_pack_larger_than_memory_is_read_not_mapped(datasets, monkeypatch):
    copied, copy = [], MappedFile.crop
    monkeypatch.setattr(MappedFile, "crop", lambda *args: copied.append(copy(*args)) or copied[-1])
    options = dict(batch_size=2, device="cpu", pairs_per_epoch=10)
    with RelationLoader(datasets["raw"], **options) as mapped:
        want = [batch.clips.clone() for batch in mapped]
    assert len(copied) == 20 and all(copied)
    monkeypatch.setattr(pack_reader, "MEMORY", 1000)
    with RelationLoader(datasets["raw"], **options) as read:
        for expected, batch in zip(want, read, strict=True):
            assert torch.equal(batch.clips, expected)
    assert len(copied) == 20


def test_of_a_raw_pack_cut_within_a_frame_that_frame_is_lost_too(prepared):
    folder = prepared("raw")
    with closing(Dataset(folder)) as dataset:
        rows = dataset.frames_of(0)
        os.truncate(folder / "pack" / dataset.videos[0].pack_file, int(rows["offset"][20]) + 5)
        reader = RawPackReader(dataset, ClipFormat(4, 40, (128, 171), "float32", (0, 0, 0), (1, 1, 1), "THWC", "cpu"))
        place = np.empty((4, 40, 40, 3), np.uint8)
        for frames, lost in (([16, 17, 18, 19], []), ([17, 18, 19, 20], [20]), ([22, 19, 21, 20], [20, 21, 22])):
            request = ClipRequest(0, 0, 0, np.array(frames), 0, (3, 5), 1)
            if lost:
                with pytest.raises(UnreadableFrames) as error:
                    reader.read([request], [place])
                assert error.value.frames.tolist() == lost
            else:
                reader.read([request], [place])


def test_two_loaders_at_once(datasets):
    options = dict(batch_size=2, device="cpu", pairs_per_epoch=10)
    with RelationLoader(datasets["raw"], **options) as alone:
        want = [batch.clips.clone() for batch in alone]
    with RelationLoader(datasets["raw"], **options) as one, RelationLoader(datasets["none"], **options) as two:
        for expected, first, second in zip(want, one, two, strict=True):
            assert torch.equal(first.clips, expected) and first.info == second.info


def test_figures(datasets):
    with RelationLoader(datasets["raw"], batch_size=4, device="cpu", pairs_per_epoch=12) as loader:
        assert loader.stats()["clips"] == 0
        assert len(list(loader)) == 3
        stats = loader.stats()
    assert stats["clips"] == 24 and stats["clips_per_second"] > 0 and stats["queued"] == 0
    assert stats["bytes_read"] == 24 * 16 * 128 * 171 * 3
    assert 0 < stats["wait_seconds"] < 60 and stats["quarantined"] == stats["replaced"] == 0
    with RelationLoader(datasets["none"], batch_size=4, device="cpu", pairs_per_epoch=12) as loader:
        list(loader)
        stats = loader.stats()
    assert stats["bytes_read"] > 0 and stats["decode_seconds"] > 0 and stats["demux_seconds"] > 0
