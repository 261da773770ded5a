"""Videos are decoded in display order, whole, upright and scaled; what cannot be decoded says why."""

import av
import numpy as np
import pytest
import torch
from decoded import SIZE, decode
from numbered import KINDS, read_number

from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.decode_nvdec import NotForDali, decode_with_dali
from eruv_dali.video.frames import ACCURATE, SCALING, rgb_picture
from eruv_dali.video.open import DamagedVideo, UnusableVideo, open_video


@pytest.mark.parametrize("name", KINDS)
def test_frame_n_is_the_nth_picture_shown(videos, name):
    (pictures,), _, _ = decode(videos / name)
    assert [read_number(picture) for picture in pictures] == list(range(120))


@pytest.mark.parametrize("name", ["vp8.webm", "vp9.webm", "mjpeg.avi"])
def test_dali_decodes_the_same_frames_as_pyav(videos, name):
    pictures, index, facts = decode(videos / name, ((96, 128), SIZE))
    chunks = list(decode_with_dali(videos / name, ((96, 128), SIZE), device="cpu"))
    for k in (0, 1):
        by_dali = np.concatenate([chunk.pictures[k] for chunk in chunks])
        assert by_dali.shape == pictures[k].shape
        assert np.abs(by_dali.astype(int) - pictures[k]).mean((1, 2, 3)).max() < (1 if ACCURATE else 3)
    assert np.array_equal(np.concatenate([chunk.pts for chunk in chunks]), index.pts)
    assert np.array_equal(np.concatenate([chunk.key for chunk in chunks]), index.key)
    assert chunks[0].facts == facts


def test_dali_is_not_given_what_it_cannot_decode(videos):
    with pytest.raises(NotForDali, match="h264"):
        list(decode_with_dali(videos / "h264_b.mp4", (SIZE,), device="cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", KINDS)
def test_a_gpu_decodes_the_same_frames_as_pyav(videos, name):
    """By whichever decoder is chosen. That NVDEC decodes what it should: test_decoder_choice.py."""
    (pictures,), index, _ = decode(videos / name)
    chunks = list(decode_pictures(videos / name, ((96, 128), SIZE), device="gpu"))
    on_gpu = np.concatenate([chunk.pictures[1] for chunk in chunks])
    assert [read_number(picture) for picture in on_gpu] == list(range(120))
    assert np.abs(on_gpu.astype(int) - pictures).mean((1, 2, 3)).max() < 2


def test_scaling_averages_like_pytorchs_antialiased_bilinear(real_videos):
    with av.open(str(real_videos / "untrimmed/video_llamb/dance.mp4")) as container:
        frame = next(container.decode(video=0))
    full = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)[None].float()
    oracle = torch.nn.functional.interpolate(full, SIZE, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    # libav's unscaled conversion, which the oracle starts from, rounds down by 1 level; that is most of the difference.
    assert (torch.from_numpy(rgb_picture(frame, *SIZE)).float() - oracle).abs().mean() < 1.5


def test_rotated_files_are_set_upright(real_videos):
    for degrees in (0, 90, 180, 270):  # clockwise, as the file asks
        path = real_videos / f"odd/decord/video_{degrees}.mov"
        (pictures,), _, facts = decode(path, ((64, 64),))
        with av.open(str(path)) as container:
            coded = next(container.decode(video=0)).reformat(64, 64, "rgb24").to_ndarray()
        assert np.abs(pictures[0].astype(int) - np.rot90(coded, -degrees // 90)).mean() < 4
        assert (facts.width, facts.height) == ((320, 568) if degrees % 180 else (568, 320))


def test_damage_in_mid_file_keeps_the_good_part(real_videos):
    count = 0
    with pytest.raises(DamagedVideo, match=r"damaged after frame \d+"):
        for chunk in decode_pictures(real_videos / "odd/decord/corrupted.mp4", (SIZE,)):
            count += len(chunk.pts)
    assert count > 10


def test_what_is_no_video_says_why(tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("not a video at all")
    with pytest.raises(UnusableVideo, match="cannot be opened as a video"):
        list(decode_pictures(text, (SIZE,)))
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnusableVideo, match="no video stream"):
        list(decode_pictures(sound, (SIZE,)))


def test_a_header_that_asks_for_all_memory_is_damage(videos, tmp_path):
    video = tmp_path / "video.mp4"
    data = bytearray((videos / "h264_b.mp4").read_bytes())
    count = data.index(b"stts") + 8
    data[count : count + 4] = (0x0FFFFFFF).to_bytes(4, "big")
    video.write_bytes(data)
    with pytest.raises(UnusableVideo, match="Cannot allocate memory"):
        open_video(video)


@pytest.mark.skipif(not ACCURATE, reason="PyAV 17 converts to interleaved RGB less accurately")
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p", "nv12", "gray", "rgb24", "gbrp"])
@pytest.mark.parametrize("size", [(241, 135), (180, 320), (96, 128), (65, 43)])
def test_converting_by_planes_gives_what_interleaved_rgb_gives(pix_fmt, size):
    random = np.random.default_rng(0)
    noise = av.VideoFrame.from_ndarray(random.integers(0, 256, (*size, 3), dtype=np.uint8), "rgb24")
    frame = noise.reformat(format=pix_fmt)
    expected = frame.reformat(128, 96, "rgb24", interpolation=SCALING, threads=1).to_ndarray()
    found = rgb_picture(frame, 96, 128)
    assert np.abs(found.astype(int) - expected).max() <= (1 if size[0] < 96 else 0)
    planes = np.empty((3, 96, 128), np.uint8)
    rgb_picture(frame, 96, 128, out=planes.transpose(1, 2, 0))
    assert np.array_equal(planes, found.transpose(2, 0, 1))
