"""Flips, tiles and colours through the public loader, from all four sources: the pixels are those that info names."""

import dataclasses

import numpy as np
import pytest
from numbered import PACKS, read_numbers

from eruv_dali import EruvError, PretextLoader
from eruv_dali import pretext as pretexts
from eruv_dali.loader.pipelines import ClipFormat, frames_pipeline
from eruv_dali.loader.prefetch import ClipEngine
from eruv_dali.pretext.pretext import Pretext, Sample

ALL = ("flip", "tiles", "color")
DRAWN = {
    "flip": lambda random: bool(random.integers(2)),
    "tiles": lambda random: tuple(random.permutation(4).tolist()) if random.integers(4) else None,
    "color": lambda random: tuple(random.normal(0, 0.5, 12).tolist()) if random.integers(4) else None,
}
PLAIN = ClipFormat(16, 112, (128, 171), "float32", (0, 0, 0), (1, 1, 1), "THWC", "cpu")


class Changed(Pretext):
    """Two clips, turned at random, and changed at random in the ways that `asks` names."""

    name = "changed"
    transforms = ALL
    kinds = ("only",)
    clips_per_sample = 2
    asks = ALL

    @classmethod
    def frames_needed(cls, setting, options):
        return setting.clip_length

    def sample(self, epoch, number, attempt=0):
        random, place = self.random(epoch, number, attempt), self.anchor(epoch, number)
        return Sample("only", 0, tuple(
            self.clip(place, random, rotation=90 * int(random.integers(4)), **{a: DRAWN[a](random) for a in self.asks})
            for _ in range(2)))


@pytest.fixture
def changed(monkeypatch):
    monkeypatch.setitem(pretexts.PRETEXTS, "changed", Changed)
    return lambda **attributes: [monkeypatch.setattr(Changed, *attribute) for attribute in attributes.items()]


def carried_out(x, info):
    """A clip (T, crop, crop, 3) from 0 to 1, changed as `info` says."""
    half = x.shape[1] // 2
    if info.flip:
        x = x[:, :, ::-1]
    if info.tiles:
        a, b, c, d = (x[:, t // 2 * half : (t // 2 + 1) * half, t % 2 * half : (t % 2 + 1) * half] for t in info.tiles)
        x = np.concatenate([np.concatenate([a, b], 2), np.concatenate([c, d], 2)], 1)
    x = np.rot90(x, info.rotation // 90, axes=(1, 2))
    if info.color:
        matrix = np.array(info.color).reshape(3, 4)
        x = np.clip(x @ matrix[:, :3].T + matrix[:, 3], 0, 1)
    return x


def plain_clips(videos, requests):
    """The same frames and crops, not changed: (N, T, H, W, 3)."""
    engine = ClipEngine(videos, PLAIN, max_clips=len(requests), threads=1)
    nothing = dict(rotation=0, flip=False, tiles=None, color=None)
    engine.submit([dataclasses.replace(request, **nothing) for request in requests])
    clips = engine.collect().numpy().copy()
    engine.close()
    return clips


@pytest.mark.parametrize("asks", [("flip",), ("tiles",), ("color",), ALL], ids="-".join)
@pytest.mark.parametrize("pack", PACKS)
def test_the_pixels_are_those_of_the_plain_clip_changed_as_info_says(datasets, changed, pack, asks):
    changed(asks=asks)
    with PretextLoader(datasets[pack], "changed", batch_size=3, device="cpu", samples_per_epoch=8, seed=3) as loader:
        samples = [loader.pretext.sample(0, number) for number in range(8)]
        plain = plain_clips(loader.videos, [clip for sample in samples for clip in sample.clips])
        batches = list(loader)
    clips = np.concatenate([batch.clips.flatten(0, 1).permute(0, 2, 3, 4, 1).numpy() for batch in batches])
    infos = [clip for batch in batches for info in batch.info for clip in info.clips]
    for whole, clip, info in zip(plain, clips, infos, strict=True):
        assert read_numbers(whole * 255, info.crop) == list(info.frames)
        np.testing.assert_allclose(clip, carried_out(whole, info), rtol=0, atol=2e-6 if info.color else 0)
    for name, given in (("flip", {i.flip for i in infos}), ("tiles", {bool(i.tiles) for i in infos}),
                        ("color", {bool(i.color) for i in infos})):
        assert given == ({False, True} if name in asks else {False})


@pytest.mark.parametrize("missing", ALL)
def test_what_the_loader_was_not_made_for_is_refused(datasets, changed, missing):
    changed(transforms=tuple(name for name in ALL if name != missing), asks=(missing,))
    with PretextLoader(datasets["raw"], "changed", batch_size=8, device="cpu", seed=3) as loader:
        with pytest.raises(EruvError, match=f"asks for {missing}=.*not made for"):
            next(iter(loader))
        changed(asks=())  # the loader itself goes on
        assert len(next(iter(loader)).clips) == 8


@pytest.mark.parametrize(("name", "value", "message"), [
    ("tiles", (0, 1, 2), "tiles .0, 1, 2."),
    ("tiles", (0, 1, 2, 4), "quarters 0 to 3"),
    ("color", (1.0,) * 9, "12 finite numbers"),
    ("color", (float("nan"),) * 12, "12 finite numbers"),
])
def test_wrong_values_are_refused_before_a_clip_is_read(datasets, changed, monkeypatch, name, value, message):
    changed(asks=(name,))
    monkeypatch.setitem(DRAWN, name, lambda random: value)
    with (PretextLoader(datasets["raw"], "changed", batch_size=2, device="cpu") as loader,
          pytest.raises(EruvError, match=message)):
        next(iter(loader))
    assert loader.stats()["bytes_read"] == 0


def test_tiles_need_an_even_crop(datasets, changed):
    with pytest.raises(EruvError, match="crop 111 must be even"):
        PretextLoader(datasets["raw"], "changed", crop=111, device="cpu")
    changed(transforms=("flip", "color"), asks=("flip", "color"))
    with PretextLoader(datasets["raw"], "changed", batch_size=2, crop=111, device="cpu") as loader:
        assert next(iter(loader)).clips.shape == (2, 2, 3, 16, 111, 111)


def test_unknown_transforms_are_refused():
    with pytest.raises(EruvError, match="'blur'"):
        dataclasses.replace(PLAIN, transforms=("blur",))


def test_a_loader_that_needs_none_has_no_inputs_for_them():
    def inputs(**asked):
        pipeline = frames_pipeline(dataclasses.replace(PLAIN, **asked), batch_size=1, num_threads=1, device_id=None)
        return {name for name in ("data", "crop_pos", "rotation", *ALL) if accepts(pipeline, name)}

    assert inputs() == {"data", "crop_pos", "rotation"}
    assert inputs(transforms=("color",)) == {"data", "crop_pos", "rotation", "color"}


def accepts(pipeline, name):
    try:
        return pipeline.input_feed_count(name) > 0
    except KeyError:
        return False
