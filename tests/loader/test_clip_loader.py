"""ClipLoader: any list of clips, exact to the frame; bad input is refused before the first batch."""

import os
import shutil

import numpy as np
import pytest
import torch
from numbered import CENTRE, KINDS, numbers, write_video

from eruv_dali import ClipLoader, EruvError, RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.prepare import prepare


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_list_of_clips(videos, shuffle):
    wanted = [(videos / name, start, label) for label, name in enumerate(KINDS) for start in (0, 33, 104)]
    with ClipLoader(wanted, batch_size=4, device="cpu", shuffle=shuffle) as loader:
        assert len(loader) == -(-len(wanted) // 4)
        seen = []
        for batch in loader:
            assert batch.clips.shape[1:] == (3, 16, 112, 112)
            assert batch.clips.is_contiguous(memory_format=torch.channels_last_3d)
            for clip, label, info in zip(batch.clips, batch.label.tolist(), batch.info, strict=True):
                seen.append((type(videos)(info.video), info.frames[0], label))
                assert numbers(clip) == list(info.frames) == list(range(info.frames[0], info.frames[0] + 16))
                assert (info.shot, info.segment, info.crop, info.speed) == (-1, -1, CENTRE, 1)
    assert (seen == wanted) is not shuffle
    assert sorted(seen) == sorted(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("pack, counts", [("none", (500, 100, 100, 100)), ("jpeg", (700, 100, 100, 100)),
                                          ("raw", (700, 100, 100, 100))])
def test_thousands_of_random_requests(videos, datasets, pack, counts):
    """Every codec, lengths, strides and places: the frames are always those asked for."""
    random = np.random.default_rng(5)
    frames = {name: {"long/a.mp4": 500, "long/b.mp4": 240}.get(name, 120) for name in [*KINDS, "long/a.mp4",
                                                                                       "long/b.mp4"]}
    for (length, stride), count in zip(((16, 1), (8, 3), (1, 1), (16, 4)), counts, strict=True):
        starts = [(name, int(random.integers(frames[name] - (length - 1) * stride)))
                  for name in random.choice(list(frames), count)]
        source = dict(dataset=datasets[pack]) if pack != "none" else {}
        wanted = [(name if source else videos / name, start, start) for name, start in starts]
        seen = 0
        with ClipLoader(wanted, batch_size=32, clip_length=length, stride=stride, device="cpu", **source) as loader:
            for batch in loader:
                for clip, start in zip(batch.clips, batch.label.tolist(), strict=True):
                    asked = [number % 256 for number in range(start, start + (length - 1) * stride + 1, stride)]
                    assert [number % 256 for number in numbers(clip)] == asked
                    seen += 1
        assert seen == count


def test_layout_dtype_and_normalisation(videos):
    wanted = [(videos / "h264_b.mp4", 5, 0), (videos / "vp9.webm", 50, 1)]
    options = dict(batch_size=2, device="cpu")
    with ClipLoader(wanted, **options) as one, ClipLoader(wanted, layout="TCHW", dtype="bfloat16", mean=(0.4, 0.5, 0.6),
                                                          std=(0.2, 0.3, 0.4), **options) as other:
        (first,), (second,) = list(one), list(other)
    assert second.clips.shape == (2, 16, 3, 112, 112) and second.clips.is_contiguous()
    assert second.clips.dtype == torch.bfloat16
    shape = (1, 1, 3, 1, 1)
    expected = (first.clips.transpose(1, 2) - torch.tensor([0.4, 0.5, 0.6]).view(shape)
                ) / torch.tensor([0.2, 0.3, 0.4]).view(shape)
    assert (second.clips.float() - expected).abs().max() < 0.02


def test_a_folder_is_cut_into_clips_and_labelled_by_its_folders(videos, tmp_path):
    for name, kind in (("jump/a.mp4", "h264_b.mp4"), ("jump/b.mp4", "mpeg4.mp4"), ("run/c.mp4", "hevc.mp4")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(videos / kind, tmp_path / name)
    with ClipLoader(tmp_path, batch_size=6, stride=2, device="cpu") as loader:
        assert loader.classes == ("jump", "run")
        found = [(info.video, info.frames[0], label) for batch in loader
                 for info, label in zip(batch.info, batch.label.tolist(), strict=True)]
    assert found == [(name, start, label) for name, label in (("jump/a.mp4", 0), ("jump/b.mp4", 0), ("run/c.mp4", 1))
                     for start in (0, 31, 62)]
    with ClipLoader([tmp_path / "run", tmp_path / "jump" / "b.mp4"], device="cpu") as loader:
        assert sorted({info.video for batch in loader for info in batch.info}) == ["b.mp4", "c.mp4"]


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_a_dataset_is_cut_within_its_segments(datasets, pack):
    dataset = Dataset(datasets[pack])
    with ClipLoader(datasets[pack], batch_size=16, device="cpu", random_crop=True, seed=3) as loader:
        infos = []
        for batch in loader:
            for clip, info in zip(batch.clips, batch.info, strict=True):
                assert [n % 256 for n in numbers(clip, info.crop)] == [n % 256 for n in info.frames]
                infos.append(info)
    assert len({info.crop for info in infos}) > len(infos) / 2
    segments = {int(segment["segment"]): segment for segment in dataset.segments}
    assert {info.segment for info in infos} == set(segments)
    for info in infos:
        segment = segments[info.segment]
        assert segment["start"] <= info.frames[0] and info.frames[-1] < segment["end"] and info.shot == segment["shot"]


def test_a_list_out_of_a_pack(datasets):
    with ClipLoader([("long/a.mp4", 300, 7)], batch_size=1, dataset=datasets["jpeg"], device="cpu") as loader:
        (batch,) = loader
    assert batch.label.tolist() == [7] and batch.info[0].frames[0] == 300
    assert [n % 256 for n in numbers(batch.clips[0])] == [n % 256 for n in range(300, 316)]


def test_shuffled_epochs_shards_and_resuming(videos):
    wanted = [(videos / "long/a.mp4", start, start) for start in range(0, 400, 20)]
    options = dict(batch_size=3, device="cpu", shuffle=True, random_crop=True, seed=8)
    with ClipLoader(wanted, **options) as loader:
        first, second = ([info for batch in loader for info in batch.info] for _ in range(2))
        starts = [[info.frames[0] for info in epoch] for epoch in (first, second)]
        assert starts[0] != starts[1] and sorted(starts[0]) == sorted(starts[1]) == [start for _, start, _ in wanted]
        assert starts[0] != sorted(starts[0])
        loader.set_epoch(0)
        batches = iter(loader)
        begun = list(next(batches).info)
        state = loader.state_dict()
    rest = []
    for shard in range(2):
        with ClipLoader(wanted, shard_id=shard, num_shards=2, threads=3, **options) as loader:
            loader.load_state_dict(state)
            rest += [info for batch in loader for info in batch.info]
    assert sorted(map(repr, begun + rest)) == sorted(map(repr, first))


@pytest.mark.parametrize("options, message", [
    (dict(stride=-1), "stride -1 must be at least 1"),
    (dict(clip_length=0), "clip_length 0 must be"),
    (dict(crop=0), "crop 0 must be"),
    (dict(crop=129), "crop 129 does not fit into frames of 128x171"),
    (dict(dtype="uint8"), "dtype uint8 is not one of float32"),
    (dict(layout="THWC"), "layout 'THWC' is not one of CTHW, TCHW"),
    (dict(batch_size=0), "batch_size 0"),
    (dict(threads=0), "threads 0"),
    (dict(threads=10**6), "threads 1000000 must be at most 1024"),
    (dict(shuffle="no"), "shuffle 'no' must be true or false"),
    (dict(random_crop=1), "random_crop 1 must be true or false"),
    (dict(skip_unreadable="no"), "skip_unreadable 'no' must be true or false"),
    (dict(drop_last="no"), "drop_last 'no' must be true or false"),
    (dict(labels_on_device="no"), "labels_on_device 'no' must be true or false"),
    (dict(device="tpu"), "'tpu' is not one of"),
    (dict(std=(1, 1, 0)), r"std \(1.0, 1.0, 0.0\) must be greater than 0"),
    (dict(shard_id=1), "shard_id 1 also needs num_shards"),
    (dict(shard_id=1, num_shards=1), "shard_id 1 must lie between"),
    (dict(num_shards=2), "num_shards 2 also needs shard_id"),
    (dict(mean=(0.5, 0.5)), r"mean \(0.5, 0.5\) must be three numbers"),
    (dict(mean=0.5), "mean 0.5 must be three numbers"),
    (dict(std=("a", 1, 1)), "std .* must be three numbers"),
    (dict(batch_size=2.5), "batch_size 2.5 must be a whole number"),
    (dict(batch_size="8"), "batch_size '8' must be a whole number"),
    (dict(batch_size=True), "batch_size True must be a whole number"),
    (dict(stride=1.0), "stride 1.0 must be a whole number"),
    (dict(frame_size=128), r"frame_size 128 must be \(height, width\)"),
    (dict(frame_size=(128, 171.5)), "width of frame_size 171.5 must be a whole number"),
    (dict(device="cuda:x"), "device 'cuda:x' is not one of"),
    (dict(device="cpu:1"), "device 'cpu:1' is not one of"),
])
def test_bad_arguments(videos, options, message):
    with pytest.raises(EruvError, match=message):
        ClipLoader([(videos / "mjpeg.avi", 0, 0)], **{"device": "cpu", **options})


@pytest.mark.parametrize("clips, message", [
    ([], "the list of clips is empty"),
    ([("{}/h264_b.mp4", 0)], r"clip 0 of the list is .*\(path, start_frame, label\)"),
    ([("{}/h264_b.mp4", 0, 0), ("{}/h264_b.mp4", 105, 0)],
     r"clip 1 of the list, .*h264_b\.mp4 from frame 105: its 16 frames run past .* frames 0 to 119"),
    ([("{}/h264_b.mp4", -1, 0)], "from frame -1: frames are counted from 0"),
    ([("{}/h264_b.mp4", 3.7, 0)], "start_frame 3.7 must be a whole number"),
    ([("{}/h264_b.mp4", 0, 1.5)], "label 1.5 must be a whole number"),
    ([("{}/h264_b.mp4", 0, "walk")], "label 'walk' must be a whole number"),
    ([("{}/absent.mp4", 0, 0)], r"absent\.mp4: no such file \(1 of 1"),
])
def test_bad_lists(videos, clips, message):
    with pytest.raises(EruvError, match=message):
        ClipLoader([(clip[0].format(videos), *clip[1:]) for clip in clips], device="cpu")


def test_bad_files_and_folders(videos, datasets, tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(EruvError, match=r"notes\.mp4: cannot be opened as a video"):
        ClipLoader(tmp_path, device="cpu")
    with pytest.raises(EruvError, match="no such file or folder"):
        ClipLoader(tmp_path / "absent", device="cpu")
    with pytest.raises(EruvError, match="no video 'x.mp4' in this DATASET"):
        ClipLoader([("x.mp4", 0, 0)], dataset=datasets["raw"], device="cpu")
    short = write_video(tmp_path / "short" / "s.mp4", frames=10)
    with pytest.raises(EruvError, match="no video here has the 16 frames"):
        ClipLoader(short.parent, device="cpu")


def test_other_words_for_arguments(videos):
    """NumPy's integers, PyTorch's devices, generators: what people have at hand."""
    clips = ((videos / "h264_b.mp4", np.int64(start), np.int32(1)) for start in (0, 20))
    with ClipLoader(clips, batch_size=np.int64(2), device=torch.device("cpu"), mean=np.zeros(3)) as loader:
        (batch,) = loader
    assert batch.label.tolist() == [1, 1] and [info.frames[0] for info in batch.info] == [0, 20]
    with pytest.raises(EruvError, match=r"source 5 must be a folder"):
        ClipLoader(5, device="cpu")
    if not torch.cuda.is_available():
        for word in ("cuda", "cuda:1", torch.device("cuda", 0), "gpu"):
            with pytest.raises(EruvError, match=f"device '{word}': PyTorch sees no NVIDIA GPU"):
                ClipLoader(videos, device=word)


def test_drop_last_and_labels_where_the_clips_are(videos):
    wanted = [(videos / "h264_b.mp4", start, start) for start in range(0, 70, 10)]
    with ClipLoader(wanted, batch_size=3, device="cpu", drop_last=True, labels_on_device=True) as loader:
        assert len(loader) == 2
        assert [batch.label.tolist() for batch in loader] == [[0, 10, 20], [30, 40, 50]] and loader.epoch == 1
        assert all(batch.label.device == batch.clips.device for batch in loader)
    with (ClipLoader(wanted, batch_size=8, device="cpu", drop_last=True) as loader,
          pytest.raises(EruvError, match="batches of 8 .* can never be filled: an epoch has 7 items")):
        next(iter(loader))


def test_damaged_files_are_left_out_and_counted(videos, tmp_path, caplog):
    shutil.copy(videos / "h264_b.mp4", tmp_path / "a.mp4")
    shutil.copy(videos / "vp8.webm", tmp_path / "c.webm")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(EruvError, match=r"b\.mp4: cannot be opened"):
        ClipLoader(tmp_path, device="cpu")
    with ClipLoader(tmp_path, device="cpu", skip_unreadable=True) as loader:
        assert {info.video for batch in loader for info in batch.info} == {"a.mp4", "c.webm"}
        assert loader.stats()["skipped"] == 1
    assert any("b.mp4: cannot be opened" in record.getMessage() and "left out" in record.getMessage()
               for record in caplog.records)
    wanted = [(tmp_path / name, start, 7) for name, start in
              (("b.mp4", 0), ("a.mp4", 50), ("absent.mp4", 0), ("c.webm", 110), ("c.webm", 3))]
    with ClipLoader(wanted, device="cpu", skip_unreadable=True) as loader:
        (batch,) = loader
        assert [numbers(clip)[0] for clip in batch.clips] == [50, 3] and loader.stats()["skipped"] == 2
    with pytest.raises(EruvError, match="cannot be read, nor can any other of the 1 files"):
        ClipLoader([tmp_path / "b.mp4"], device="cpu", skip_unreadable=True)


@pytest.fixture
def small(tmp_path):
    """Two videos of our own, and a way to prepare them."""
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "videos" / name, frames=100, gop=20)

    def make(pack):
        prepare([tmp_path / "videos"], tmp_path / pack, device="cpu", pack=pack, workers=1)
        return tmp_path / pack

    return make


@pytest.mark.parametrize("pack", ["jpeg", "none"])
def test_a_dataset_whose_videos_changed(small, pack):
    folder = small(pack)
    path = Dataset(folder).videos[1].path

    def works():
        with ClipLoader(folder, device="cpu") as loader:
            assert sum(len(batch.info) for batch in loader) == 12

    os.utime(path, (1, 1))
    works()  # its content is the same
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if pack == "none":
        for loader in (RelationLoader, ClipLoader):
            with pytest.raises(EruvError, match=r"b\.mp4: has changed since prepare \(1 of 2 have\); run prepare"):
                loader(folder, device="cpu")
    else:  # the pack has all its frames
        works()
    path.unlink()
    if pack == "none":
        with pytest.raises(EruvError, match=r"b\.mp4: is missing \(1 of 2 videos are\)"):
            ClipLoader(folder, device="cpu")
    else:
        works()


@pytest.mark.parametrize("pack", ["jpeg", "raw"])
def test_a_pack_whose_checksum_fails(small, pack):
    folder = small(pack)
    (file,) = (folder / "pack").glob("*.bin")
    with open(file, "r+b") as opened:
        opened.seek(file.stat().st_size * 3 // 4)
        byte = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte[0] ^ 1]))
    for loader in (RelationLoader, ClipLoader):
        with pytest.raises(EruvError, match=r"frames-00000\.bin: its checksum is wrong at frame \d+ of b\.mp4"):
            loader(folder, device="cpu")
    before = Dataset(folder).segments.copy()
    small(pack)  # prepare mends it
    with ClipLoader(folder, device="cpu") as loader:
        assert sum(len(batch.info) for batch in loader) == 12
    assert np.array_equal(Dataset(folder).segments, before)


def test_a_pack_that_was_cut_short_or_copied(small, tmp_path, caplog):
    folder = small("jpeg")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copy)  # other times, same content
    for times in (1, 0):
        caplog.clear()
        ClipLoader(copy, device="cpu").close()
        assert len([record for record in caplog.records if "checking it once" in record.message]) == times
    (file,) = (copy / "pack").glob("*.bin")
    os.truncate(file, 1000)
    with pytest.raises(EruvError, match=r"frames-00000\.bin: has 1000 bytes, but prepare left \d+; run prepare"):
        ClipLoader(copy, device="cpu")
    file.unlink()
    with pytest.raises(EruvError, match=r"frames-00000\.bin: is missing"):
        ClipLoader(copy, device="cpu")
    os.truncate(folder / "frames.npy", 500)
    with pytest.raises(EruvError, match=r"frames\.npy: has 500 bytes"):
        ClipLoader(folder, device="cpu")


def test_lines_may_be_taken_out_of_the_segments(small):
    folder = small("raw")
    table = folder / "segments.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if ",a.mp4," not in line))
    assert {int(segment["video"]) for segment in Dataset(folder).segments} == {1}


def test_a_clip_without_a_start_lies_elsewhere_in_every_epoch(videos, tmp_path):
    name, label = videos / "vp9.webm", 3
    with ClipLoader([(name, None, label)] * 6, batch_size=4, device="cpu", seed=1) as loader:
        epochs = [[info.frames[0] for batch in loader for info in batch.info] for _ in range(8)]
        loader.set_epoch(0)
        first = [number for batch in loader for clip, info in zip(batch.clips, batch.info, strict=True)
                 for number in [numbers(clip)[0]] if numbers(clip) == list(info.frames)]
    assert first == epochs[0]
    assert len({start for epoch in epochs for start in epoch}) > 30
    eighteen = write_video(tmp_path / "eighteen.mp4", frames=18)
    with ClipLoader([(eighteen, None, 0)] * 60, device="cpu") as loader:
        assert {info.frames[0] for batch in loader for info in batch.info} == {0, 1, 2}


def test_a_clip_may_hold_the_last_frame(videos):
    wanted = [(videos / "vp9.webm", 110, 0), (videos / "h264_b.mp4", 119, 1)]
    with pytest.raises(EruvError, match="run past the video"):
        ClipLoader(wanted, device="cpu")
    with ClipLoader(wanted, device="cpu", hold_last=True) as loader:
        (batch,) = loader
    assert [numbers(clip) for clip in batch.clips] == [[*range(110, 120), *[119] * 6], [119] * 16]


def test_a_dataset_is_loaded_alone(datasets, tmp_path):
    for sources in ([datasets["raw"], tmp_path / "nowhere"], [tmp_path / "nowhere", str(datasets["raw"])]):
        with pytest.raises(EruvError, match="is a DATASET, and one of 2 sources; give it alone"):
            ClipLoader(sources, device="cpu")
