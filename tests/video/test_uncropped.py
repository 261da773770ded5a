"""Slices of H.264 and HEVC crop nothing, bit by bit as libavcodec does it, and show the very pictures."""

import io
import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from numbered import write_video

from eruv_dali.video.index import index_video
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.parameter_sets import NotUnderstood
from eruv_dali.video.reader import FrameReader
from eruv_dali.video.uncropped import Coded, uncropped_sps, uncropped_stream
from eruv_dali.video.video_slice import make_slice

CODECS = {"h264": "libx264", "hevc": "libx265"}
QUICK = {"h264": {"preset": "ultrafast", "bf": "2"}, "hevc": {"preset": "ultrafast", "x265-params": "log-level=none"}}


def written(folder, codec, size, name="a.mp4", **more):
    return write_video(folder / name, frames=24, codec=CODECS[codec], size=size, gop=8, b_frames=2,
                       **{"options": QUICK[codec]} | more)


def filtered(path: Path, crop: tuple[int, int, int, int], name: str) -> Path:
    """The video with this cropping (left, right, top, bottom), by libavcodec's filter."""
    out = path.with_name(name)
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        sides = ":".join(f"crop_{side}={n}" for side, n in zip(("left", "right", "top", "bottom"), crop, strict=True))
        bsf = av.bitstream.BitStreamFilterContext(f"{stream.codec_context.name}_metadata={sides}", stream, copy)
        for packet in source.demux(stream):
            for new in bsf.filter(packet if packet.size else None):
                new.stream = copy
                target.mux(new)
    return out


def stream_of(path: Path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return bytes(stream.codec_context.extradata), [bytes(p) for p in container.demux(stream) if p.size]


def planes(frame, shown=None):
    """The part of a 4:2:0 frame that is shown, by planes."""
    top, left, bottom, right = (0, 0, frame.height, frame.width) if shown is None else shown
    whole = [np.frombuffer(memoryview(p), np.uint8).reshape(-1, p.line_size) for p in frame.planes]
    return [plane[top // n : -(-bottom // n), left // n : -(-right // n)]
            for plane, n in zip(whole, (1, 2, 2), strict=True)]


def units(data):
    """Those of a stream with start codes, which may be of 3 or 4 bytes."""
    return [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1") if unit.rstrip(b"\0")]


def frames_of(source, count=None):
    with av.open(source, metadata_errors="ignore") as container:
        return list(itertools.islice(container.decode(video=0), count))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size, rate", [((180, 320), 25), ((90, 170), 30), ((106, 202), 24), ((98, 132), 50)])
def test_bit_by_bit_what_libavcodec_makes(tmp_path, codec, size, rate):
    """Other rates give other bits behind the cropping, with bytes against false start codes in other places."""
    options = {"h264": {"x264-params": "repeat-headers=1"}, "hevc": {"x265-params": "log-level=none:repeat-headers=1"}}
    path = written(tmp_path, codec, size, rate=rate, options={**QUICK[codec], **options[codec]})
    private, packets = stream_of(path)
    new, changed, coded = uncropped_stream(codec, private, packets)
    block = 16 if codec == "h264" else 8
    assert coded.height % block == coded.width % block == 0 and (coded.bottom, coded.right) == size
    want = stream_of(filtered(path, (0, 0, 0, 0), "none.mp4"))
    assert (new, changed) == want
    assert new != private and sum(a != b for a, b in zip(packets, changed, strict=True)) == 3  # its key frames
    again = uncropped_stream(codec, new, changed)
    assert again == (new, changed, Coded(coded.height, coded.width, 0, 0, coded.height, coded.width))


@pytest.mark.parametrize("codec", CODECS)
def test_units_with_start_codes(tmp_path, codec):
    """As in a transport stream; the parameter sets of the extradata go before a first packet that has none."""
    private, packets = stream_of(written(tmp_path, codec, (90, 170), "a.ts"))
    assert private.startswith(b"\0\0\1") and b"\0\0\1" in packets[0][:5]
    new, changed, coded = uncropped_stream(codec, private, packets)
    want = stream_of(filtered(tmp_path / "a.ts", (0, 0, 0, 0), "none.ts"))
    assert new != private and list(map(units, (new, *changed))) == list(map(units, (want[0], *want[1])))
    assert (coded.bottom, coded.right) == (90, 170)
    later = next(n for n, packet in enumerate(packets) if changed[n] == packet)
    alone = uncropped_stream(codec, private, packets[later : later + 1])
    assert alone[1] == [new + packets[later]]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("crop", [None, (0, 12, 6, 10), (64, 2, 0, 4)])
def test_a_slice_shows_all_that_is_coded_and_says_which_part_counts(tmp_path, codec, name, crop):
    path = written(tmp_path, codec, (180, 320), name)
    if crop:
        path = filtered(path, crop, f"cropped.{name[2:]}")
    index, _ = index_video(path)
    want, wanted = frames_of(str(path)), np.array([9, 11, 14])
    cut = FrameReader().slice(path, index, wanted)
    with av.open(io.BytesIO(cut.data)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (320, 192)
        packets = [packet for packet in container.demux(stream) if packet.size]
    order = [packet.pts for packet in packets]
    assert sorted(order) == list(range(len(order))) and order[0] == 0 and order != sorted(order)  # B-frames
    assert packets[0].is_keyframe
    frames = frames_of(io.BytesIO(cut.data))
    top, left, bottom, right = cut.shown.tolist()
    left_, right_, top_, bottom_ = crop or (0, 0, 0, 12)
    assert (top, left, bottom, right) == (top_, left_, 192 - bottom_, 320 - right_)
    for place, number in zip(cut.positions, wanted, strict=True):
        assert (frames[place].height, frames[place].width) == (192, 320)
        for got, plane, n in zip(planes(frames[place], cut.shown), planes(want[number]), (1, 2, 2), strict=True):
            assert np.array_equal(got, plane[: (bottom - top) // n, : (right - left) // n])


def test_what_libav_shows_otherwise_is_left_to_it(tmp_path):
    """Left of a picture, libav crops to aligned memory only."""
    path = filtered(written(tmp_path, "h264", (180, 320)), (2, 0, 0, 12), "left.mp4")
    assert FrameReader().slice(path, index_video(path)[0], np.arange(3)) is None


def test_no_slice_where_the_parameter_sets_do_not_tell_the_size(tmp_path):
    private, packets = stream_of(written(tmp_path, "h264", (90, 170)))
    other = stream_of(written(tmp_path, "h264", (90, 200), "b.mp4", options={"x264-params": "repeat-headers=1"}))[1]
    assert uncropped_stream("h264", private, packets) is not None
    for broken in (b"", private[:20], b"\2" + private[1:], private[:8] + b"\1\2\3"):
        assert uncropped_stream("h264", broken, packets) is None
    assert uncropped_stream("h264", private, [*packets, other[0]]) is None  # the size changes
    times, keys, position = range(len(packets)), [True] * len(packets), np.array([0])
    assert make_slice("h264", private, 90, 170, 1, packets, keys, times, position) is not None
    assert make_slice("h264", private, 90, 172, 1, packets, keys, times, position) is None  # not the container's size
    assert make_slice("h264", private, 90, 170, 8, packets, keys, times, position) is None  # YCgCo
    assert make_slice("av1", private, 90, 170, 1, packets, keys, times, position) is None


def test_a_broken_parameter_set_is_not_understood():
    for unit in (b"\x67", b"\x67\x64\0\x1f", b"\x67\x64\0\x1f\0\0\0\0\1"):
        with pytest.raises(NotUnderstood):
            uncropped_sps("h264", unit)


@pytest.mark.slow
def test_real_files_show_the_same_pictures(real_videos):
    tried = cropped = 0
    for path in sorted((real_videos / "untrimmed").rglob("*.*")):
        if path.suffix not in (".mp4", ".webm") or path.stat().st_size > 1e6:
            continue
        try:
            index, facts = index_video(path)
        except UnusableVideo:
            continue
        wanted = np.arange(3, min(6, len(index.pts)))
        cut = FrameReader().slice(path, index, wanted) if facts.codec in CODECS and not facts.rotation else None
        if cut is None:
            continue
        want, frames = frames_of(str(path), 6), frames_of(io.BytesIO(cut.data))
        if want[0].format.name not in ("yuv420p", "yuvj420p"):
            continue
        for place, number in zip(cut.positions, wanted, strict=True):
            for got, plane in zip(planes(frames[place], cut.shown), planes(want[number]), strict=True):
                assert np.array_equal(got, plane), path
        tried += 1
        cropped += (frames[0].height, frames[0].width) != (facts.height, facts.width)
    assert tried > 20 and cropped
