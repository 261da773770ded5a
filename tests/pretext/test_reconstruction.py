"""PRP's reconstruction: which frames are wanted, what the motion mask weighs, and that it is learnt beside the rest."""

import numpy as np
import pytest
import torch
from numbered import numbers, write_video

from eruv_dali import EruvError, PretextLoader, load_backbone
from eruv_dali.dataset import SEGMENT, Dataset
from eruv_dali.models import HeadOptions, build_backbone
from eruv_dali.prepare import prepare
from eruv_dali.pretext.pretext import Setting
from eruv_dali.pretext.prp import Prp, PrpOptions
from eruv_dali.pretext.reconstruction import ReconstructingNet, error, motion_mask, wanted
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

SEGMENTS = np.array([(0, 0, 0, 0, 125), (1, 1, 0, 20, 144), (2, 2, 0, 300, 600)], SEGMENT)  # the second is too short


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconstruction")
    for name in ("a", "b", "c", "d"):
        write_video(folder / "videos" / f"{name}.mp4", frames=130, size=(128, 176))
    prepare([folder / "videos"], folder / "data", device="cpu", pack="raw", workers=1)
    return folder / "data"


def test_the_wanted_frames_are_those_of_the_clip_at_twice_its_rate(folder):
    seen = set()
    with PretextLoader(folder, "prp", options=dict(reconstruct=True), batch_size=4, device="cpu",
                       samples_per_epoch=24) as loader:
        for batch in loader:
            assert batch.clips.shape[1:] == (2, 3, 16, 112, 112)
            for video, info in zip(wanted(batch.clips), batch.info, strict=True):
                clip, between = info.clips
                step, first = int(info.kind), clip.frames[0]
                assert clip.crop == between.crop and clip.frames == tuple(range(first, first + 16 * step, step))
                shown = numbers(video, clip.crop)
                if step > 1:
                    assert shown == list(range(first, first + 16 * step, step // 2))
                else:
                    assert shown[::2] == list(clip.frames)
                seen.add(step)
    assert seen == {1, 2, 4, 8}


def test_all_frames_are_within_the_segment_and_without_it_samples_are_as_ever():
    plain, pretext = (Prp(SEGMENTS, Setting(), PrpOptions(reconstruct=reconstruct)) for reconstruct in (False, True))
    assert plain.segments["segment"].tolist() == [0, 1, 2] and pretext.segments["segment"].tolist() == [0, 2]
    ends = set()
    for number in range(400):
        sample = pretext.sample(0, number)
        segment = SEGMENTS[sample.clips[0].segment]
        frames = np.concatenate([clip.frames for clip in sample.clips])
        assert segment["start"] <= frames.min() and frames.max() < segment["end"]
        if segment["segment"] == 0 and sample.kind == "8":
            ends.add(int(frames.max()))
        assert len(plain.sample(0, number).clips) == 1
    assert ends == {124}  # the only place where the longest fits


def by_hand(wanted_3THW, dilation):
    """The motion mask of one sample in plain loops, (3, s, H, W), for pictures of 16x16: patches of 4, at every pixel.
    """
    if dilation == 1:
        wanted_3THW = wanted_3THW[:, ::2]
    count = wanted_3THW.shape[1] // dilation
    looks = {16: (0, 5, 10, 15), 8: (0, 2, 5, 7), 4: (0, 1, 2, 3)}[count]
    masks = []
    for chunk in range(dilation):
        frames = wanted_3THW[:, chunk * count:(chunk + 1) * count].numpy().astype(np.float64)
        moved = sum((frames[:, b] - frames[:, a]) ** 2 for a, b in zip(looks, looks[1:], strict=False)) / 3
        patches = np.array([[[moved[c, y:y + 4, x:x + 4].mean() for x in range(13)] for y in range(13)]
                            for c in range(3)])
        low, high = (side((1, 2), keepdims=True) for side in (patches.min, patches.max))
        weight = 0.8 + 1.2 * (patches - low) / (high - low)
        masks.append(torch.nn.functional.interpolate(torch.tensor(weight)[None], (16, 16), mode="bilinear")[0])
    return torch.stack(masks, 1)


@pytest.mark.parametrize("dilation", [1, 2, 4, 8])
def test_the_mask_is_as_defined(dilation):
    video = torch.rand(2, 3, 32, 16, 16, generator=torch.Generator().manual_seed(dilation))
    mask = motion_mask(video, dilation)
    assert mask.shape == (2, 3, dilation, 16, 16) and mask.min() >= 0.8 and mask.max() <= 2
    for sample, found in zip(video, mask, strict=True):
        torch.testing.assert_close(found, by_hand(sample, dilation).float(), atol=1e-3, rtol=0)


def test_the_mask_is_heavy_where_something_moves_and_one_where_nothing_does():
    video = torch.zeros(2, 3, 32, 112, 112)
    video[0, :, :, 10:30, 60:80] = torch.rand(32, 1, 1, generator=torch.Generator().manual_seed(0))
    mask = motion_mask(video, 2)
    assert (mask[0, :, :, 10:30, 60:80].mean((-2, -1)) > 1.5).all() and (mask[0].amax((-2, -1)) > 1.9).all()
    torch.testing.assert_close(mask[0, :, :, 60:], torch.full((3, 2, 52, 112), 0.8), atol=1e-3, rtol=0)
    assert (mask[1] == 1).all()


def test_the_error_counts_each_chunk_by_its_mask_and_with_dilation_1_only_the_frames_that_were_seen():
    random = torch.Generator().manual_seed(0)
    video, aim = (torch.rand(2, 3, 32, 16, 16, generator=random) for _ in range(2))
    for dilation in (2, 8):
        mask = motion_mask(aim, dilation).repeat_interleave(32 // dilation, 2)
        squares = (video - aim) ** 2
        torch.testing.assert_close(error(squares, aim, dilation), (squares * mask).mean((1, 2, 3, 4)))
    squares = (video - aim) ** 2
    before = [error(squares, aim, dilation) for dilation in (1, 2)]
    squares[:, :, 1::2] += 5
    assert torch.equal(error(squares, aim, 1), before[0]) and (error(squares, aim, 2) > before[1] + 1).all()


def net_and_pretext(width=4):
    pretext = Prp(SEGMENTS, Setting(crop=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)), PrpOptions(reconstruct=True))
    torch.manual_seed(0)
    return pretext.net(build_backbone("c3d", width=width), HeadOptions("linear")), pretext


def test_the_loss_is_the_error_of_the_true_dilation_and_a_tenth_of_the_classification():
    _, pretext = net_and_pretext()
    output = torch.rand(3, 8)
    label = torch.tensor([0, 3, 2])
    expected = (output[0, 4] + output[1, 7] + output[2, 6]) / 3
    expected = expected + 0.1 * torch.nn.functional.cross_entropy(output[:, :4], label)
    torch.testing.assert_close(pretext.loss(output, label), expected)


def test_the_network_reconstructs_what_was_delivered_before_it_was_normalised():
    net, pretext = net_and_pretext()
    clips = torch.rand(2, 2, 3, 16, 32, 32)
    shown = clips * net.std + net.mean
    net.eval()
    output = net(clips)
    video = net.decoder(net.reconstruct(net.backbone.feature_maps(clips[:, 0])))
    assert output.shape == (2, 8) and video.shape == (2, 3, 32, 32, 32) and video.min() >= 0
    torch.testing.assert_close(output[:, 6], error((video - wanted(shown)) ** 2, wanted(shown), 4))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.2, 0.3, 0.4]))
    other = clips.clone()
    other[:, 1] = 0  # the frames between are not seen
    assert torch.equal(net(other)[:, :4], output[:, :4]) and not torch.equal(net(other)[:, 5], output[:, 5])


@pytest.mark.slow
def test_both_losses_fall_on_a_few_samples():
    net, pretext = net_and_pretext(width=8)
    clips = torch.nn.functional.interpolate(torch.rand(4, 6, 4, 4, 4), (16, 32, 32)).unflatten(1, (2, 3))
    label = torch.arange(4)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    losses = []
    for _ in range(40):
        output = net(clips)
        loss = pretext.loss(output, label)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is not None for weight in net.parameters())
        optimizer.step()
        losses.append((output[:, 4:].gather(1, label[:, None]).mean().item(), loss.item()))
    assert losses[-1][0] < 0.5 * losses[0][0] and losses[-1][1] < 0.5 * losses[0][1]


def test_a_run_is_scored_by_its_dilations_and_its_backbone_file_is_like_any_other(folder, tmp_path):
    config = load_config(None, [
        "pretext={name: prp, reconstruct: true}", "device=cpu", "data.crop=32", "data.batch_size=2",
        "data.pairs_per_epoch=4", "data.val_pairs=4", "model.width=2", "optim.epochs=1"])
    result = pretrain(config, Dataset(folder), tmp_path / "run")
    assert set(result["per_dilation"]) == {"1", "2", "4", "8"} and 0 <= result["accuracy"] <= 1
    backbone = load_backbone(tmp_path / "run" / "backbone.pt")
    assert backbone.state_dict().keys() == build_backbone("c3d", width=2).state_dict().keys()


@pytest.mark.parametrize("options, setting, message", [
    ({}, dict(clip_length=12), "a clip of 12 frames of 112x112 cannot be reconstructed"),
    ({}, dict(crop=100), "a clip of 16 frames of 100x100 cannot be reconstructed: .* data.crop of 16"),
    (dict(dilations=[1, 3]), {}, "pretext.dilations 3 cannot be reconstructed"),
    (dict(dilations=[1, 6]), {}, "pretext.dilations 6 cannot be .* an even divisor of 32"),
    (dict(dilations=[1, 32]), {}, "pretext.dilations 32 cannot be .* not larger than clip_length, 16"),
    (dict(classification=-1), {}, "pretext.classification -1 must be a number, at least 0"),
    (dict(classification=float("nan")), {}, "pretext.classification nan must be"),
])
def test_what_cannot_be_reconstructed_is_told_early(options, setting, message):
    with pytest.raises(EruvError, match=message):
        Prp.check(Setting(**setting), PrpOptions(**{"reconstruct": True, **options}))


def test_a_2d_backbone_is_refused():
    with pytest.raises(EruvError, match="caffenet cannot reconstruct a clip.*choose a 3D backbone"):
        ReconstructingNet(build_backbone("caffenet", width=2), torch.nn.Identity(), dilations=[1, 2], mean=(0, 0, 0),
                          std=(1, 1, 1))
