"""RelationLoader delivers the very frames that `info` names, in that order, crop and rotation, on every path."""

from contextlib import closing

import numpy as np
import pytest
import torch
from numbered import infos, read_number, upright

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.split import split_segments
from eruv_dali.errors import EruvError
from eruv_dali.pretext.eruv import RELATIONS
from eruv_dali.video.decode import decode_pictures

# Mean absolute difference, in grey levels, that each path may show against an independent decode.
TOLERANCE = {"video": 3, "jpeg": 3.0, "raw": 0.5, "none": 2.0}


@pytest.fixture(scope="module")
def truth(videos):
    """Every frame of every video, decoded from the file without the loader: {name: (N, 128, 171, 3)}."""
    names = [path.relative_to(videos).as_posix() for path in sorted(videos.rglob("*.*"))]
    return {name: np.concatenate([chunk.pictures[0] for chunk in decode_pictures(videos / name, [(128, 171)])])
            for name in names}


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_pixels_are_those_of_the_frames_named(datasets, truth, pack):
    seen = set()
    with RelationLoader(datasets[pack], batch_size=8, device="cpu", pairs_per_epoch=96, seed=1) as loader:
        for batch in loader:
            for b, info in enumerate(batch.info):
                assert info.relation == RELATIONS[batch.relation[b]]
                for k, clip in enumerate(info.clips):
                    seen.add((info.relation, clip.video))
                    top, left = clip.crop
                    got = upright(batch.clips[b, k], clip.rotation)
                    want = truth[clip.video][list(clip.frames), top : top + 112, left : left + 112]
                    assert np.abs(got - want).mean() < TOLERANCE[pack], (info.relation, clip)
                    numbers = [read_number(picture, clip.crop) for picture in got]
                    assert numbers == list(clip.frames)
    assert {relation for relation, _ in seen} == set(RELATIONS)
    assert {video for _, video in seen} == set(truth)


@pytest.mark.gpu
@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_gpu_delivers_what_the_cpu_delivers(datasets, pack, caplog):
    """With NVDEC decoding what it should, to the end: no pipeline dies, and no video is turned over to PyAV."""
    options = dict(batch_size=8, pairs_per_epoch=64, seed=3)
    with (RelationLoader(datasets[pack], device="gpu", **options) as on_gpu,
          RelationLoader(datasets[pack], device="cpu", **options) as on_cpu):
        sliced = on_gpu._engine.source._sliced.copy()
        by_nvdec = {video.codec for video, yes in zip(on_gpu.videos.videos, sliced, strict=True) if yes}
        if pack == "none":
            assert {"h264", "hevc", "mpeg4"} <= by_nvdec and "mjpeg" not in by_nvdec
        assert sliced.all() == (pack == "video")
        for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
            assert gpu.info == cpu.info
            assert gpu.clips.is_cuda and gpu.clips[:, 0].is_contiguous(memory_format=torch.channels_last_3d)
            difference = (gpu.clips.cpu() - cpu.clips).abs().mean(dim=(2, 3, 4, 5)) * 255
            assert difference.max() < 2
        assert np.array_equal(on_gpu._engine.source._sliced, sliced)
    said = [record.getMessage() for record in caplog.records]
    assert not [line for line in said if "died" in line or "PyAV will from now on" in line]


def test_batch_shapes_and_memory(datasets):
    with RelationLoader(datasets["jpeg"], batch_size=3, device="cpu", pairs_per_epoch=7) as loader:
        assert len(loader) == 3
        batches = list(loader)
    assert [len(batch.info) for batch in batches] == [3, 3, 1]
    for batch in batches:
        assert batch.clips.shape == (len(batch.info), 2, 3, 16, 112, 112) and batch.clips.dtype == torch.float32
        assert batch.relation.dtype == torch.int64
        assert batch.clips.min() >= 0 and batch.clips.max() <= 1
        for k in (0, 1):
            assert batch.clips[:, k].is_contiguous(memory_format=torch.channels_last_3d)
        # Both clips of all pairs go through the network as one tensor, without a copy.
        assert batch.clips.transpose(0, 1).flatten(0, 1).data_ptr() == batch.clips.data_ptr()


@pytest.mark.parametrize("pack", ["jpeg", "none"])
def test_a_batch_held_stays_as_it_was(datasets, pack):
    with RelationLoader(datasets[pack], batch_size=2, device="cpu", pairs_per_epoch=24) as loader:
        held = [(batch.clips, batch.clips.clone()) for batch in loader]
    assert all(torch.equal(clips, copy) for clips, copy in held)


@pytest.mark.parametrize("dtype", ["float16", torch.bfloat16])
def test_dtypes_and_normalisation(datasets, dtype):
    options = dict(batch_size=2, device="cpu", pairs_per_epoch=2)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    with (RelationLoader(datasets["raw"], **options) as plain,
          RelationLoader(datasets["raw"], dtype=dtype, mean=mean, std=std, **options) as scaled):
        (want,), (got,) = list(plain), list(scaled)
    assert str(got.clips.dtype) == f"torch.{dtype}".replace("torch.torch", "torch")
    shape = (1, 1, 3, 1, 1, 1)
    expected = (want.clips - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    assert (got.clips.float() - expected).abs().max() < 0.02


def test_same_seed_same_pairs_whatever_the_threads(datasets):
    runs = []
    for threads, batch_size in ((1, 4), (3, 4), (2, 8)):
        with RelationLoader(datasets["raw"], batch_size=batch_size, device="cpu", threads=threads, seed=9) as loader:
            runs.append(infos(loader))
    assert runs[0] == runs[1] == runs[2]


def test_epochs_differ_and_can_be_chosen(datasets):
    with RelationLoader(datasets["raw"], batch_size=4, device="cpu") as loader:
        first, second = infos(loader), infos(loader)
        assert first != second and loader.epoch == 2
        loader.set_epoch(0)
        assert infos(loader) == first


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_state_in_mid_epoch_gives_exactly_the_rest(datasets, num_shards):
    options = dict(batch_size=2, device="cpu", pairs_per_epoch=30, seed=4)
    with RelationLoader(datasets["raw"], **options) as loader:
        whole = infos(loader)
    states, begun = [], []
    for shard in range(2):
        with RelationLoader(datasets["raw"], shard_id=shard, num_shards=2, **options) as loader:
            batches = iter(loader)
            begun += [info for _ in range(3) for info in next(batches).info]
            states.append(loader.state_dict())
    assert states[0] == states[1]
    rest = []
    for shard in range(num_shards):
        with RelationLoader(datasets["raw"], shard_id=shard, num_shards=num_shards, **options) as loader:
            loader.load_state_dict(states[0])
            rest += infos(loader)
            assert loader.epoch == 1
    assert sorted(map(repr, begun + rest)) == sorted(map(repr, whole))


def test_splits_share_no_video(datasets):
    parts = {}
    for split in ("train", "val", "all"):
        with RelationLoader(datasets["raw"], split=split, device="cpu", val_fraction=0.3) as loader:
            parts[split] = set(loader.pretext.segments["video"].tolist())
    assert not parts["train"] & parts["val"]
    assert parts["train"] | parts["val"] == parts["all"]


def test_no_video_is_left_for_training(datasets):
    with pytest.raises(EruvError, match=r"^val_fraction 0\.9999 holds out all \d+ videos .*; choose a smaller one"):
        RelationLoader(datasets["raw"], split="train", val_fraction=0.9999, device="cpu")
    with closing(Dataset(datasets["raw"])) as dataset:
        videos = np.unique(dataset.segments["video"])
        held = [len(split_segments(dataset, dataset.segments, "val", 0.3, lambda video=video: [np.array([video])]))
                for video in videos]
        last = videos[np.argmax(held)]
        with pytest.raises(EruvError, match=r"^val_fraction 0\.3 and the kinds .* take all .*; prepare more"):
            split_segments(dataset, dataset.segments, "train", 0.3, lambda: [np.array([last])])
        assert len(split_segments(dataset, dataset.segments, "val", 0.3, lambda: [np.array([last])])) == max(held)


def test_trimmed_takes_whole_videos(datasets):
    with RelationLoader(datasets["raw"], batch_size=4, device="cpu", trimmed=True) as loader:
        assert loader.relations == ("CS", "CR", "PI", "PD", "PS")
        assert len(loader.pretext) == len(loader.videos.videos)
        for batch in loader:
            for b, info in enumerate(batch.info):
                assert info.clips[0].video == info.clips[1].video
                assert loader.relations[batch.relation[b]] == info.relation


@pytest.mark.parametrize("options, message", [
    (dict(batch_size=0), "batch_size 0"),
    (dict(dtype="int8"), "dtype int8 is not one of"),
    (dict(device="tpu"), "'tpu' is not one of"),
    (dict(shard_id=2, num_shards=2), "shard_id 2"),
    (dict(split="test"), "'test' is not one of"),
    (dict(crop=200), "crop 200 does not fit"),
    (dict(relations=["XX"]), "'XX' is not one of"),
    (dict(relations="CS"), "relations 'CS' must be a list of names"),
    (dict(clip_length=16.0), "clip_length 16.0 must be a whole number"),
    (dict(pairs_per_epoch=2.5), "pairs_per_epoch 2.5 must be a whole number"),
    (dict(seed=-5), "seed -5 must be at least 0"),
])
def test_bad_arguments(datasets, options, message):
    with pytest.raises(EruvError, match=message):
        RelationLoader(datasets["raw"], **{"device": "cpu", **options})


def test_no_dataset(tmp_path):
    with pytest.raises(EruvError, match="no DATASET here"):
        RelationLoader(tmp_path, device="cpu")
