"""Small H.264 in closed groups: one packet a picture, decodable from any group on, alone or in a Matroska file."""

import io

import av
import numpy as np
import pytest
from numbered import numbered_picture, read_number

from eruv_dali import EruvError
from eruv_dali.video import closed_groups, yuv420
from eruv_dali.video.closed_groups import GROUP, STARTS_GROUP, GroupDecoder, GroupEncoder
from eruv_dali.video.frames import ACCURATE
from eruv_dali.video.matroska import matroska
from eruv_dali.video.yuv420 import rgb_rectangle

N = 40


@pytest.fixture(scope="module")
def pictures():
    return [numbered_picture(n, 128, 171, shot=n // 20) for n in range(N)]


@pytest.fixture(scope="module")
def packets(pictures):
    encoder = GroupEncoder(128, 171, 20)
    return [encoder.add(picture) for picture in pictures]


def rgb(frame, height=128, width=171, top=0, left=0):
    picture = np.empty((height, width, 3), np.uint8)
    rgb_rectangle(frame, top, left, picture)
    return picture


def test_a_packet_a_picture_from_any_group_on(pictures, packets):
    assert [packet.startswith(STARTS_GROUP) for packet in packets] == [n % GROUP == 0 for n in range(N)]
    decoder = GroupDecoder()
    for first in (16, 0, 32):  # in any order, by one decoder
        found = [rgb(frame) for frame in decoder.decode_packets(packets[first:])]
        assert [read_number(picture) for picture in found] == list(range(first, N))
        assert all(np.abs(picture - pictures[n].astype(int)).mean() < 4 for n, picture in enumerate(found, first))


def test_what_suits_every_decoder(packets):
    (frame, *_) = GroupDecoder().decode_packets(packets[:1])
    assert (frame.width, frame.height, frame.format.name, frame.interlaced_frame) == (176, 128, "yuv420p", False)
    codec = av.CodecContext.create("h264", "r")
    codec.decode(av.Packet(packets[0]))
    assert codec.has_b_frames == 0 and codec.profile == "Main" or codec.profile == "High"
    assert (codec.coded_width, codec.coded_height) == (176, 128)


def test_packets_hold_no_comments(packets):
    """x264 writes its settings, 600 bytes, into the first packet of a video."""
    assert b"x264" not in b"".join(packets)
    types = [unit[0] & 31 for packet in packets for unit in packet.split(b"\0\0\1")[1:]]
    assert set(types) == {1, 5, 7, 8}  # pictures, parameter sets


def test_the_same_bytes_every_time(pictures, packets):
    encoder = GroupEncoder(128, 171, 20)
    assert [encoder.add(picture) for picture in pictures] == packets


@pytest.mark.parametrize("height, width", [(8, 8), (16, 16), (33, 47), (128, 171), (256, 340)])
def test_any_size(height, width):
    ramp = np.linspace(0, 255, height * width).reshape(height, width, 1).repeat(3, 2).astype(np.uint8)
    encoder = GroupEncoder(height, width, 10)
    packets = [encoder.add(ramp) for _ in range(3)]
    found = [rgb(frame, height, width) for frame in GroupDecoder().decode_packets(packets)]
    assert len(found) == 3 and all(np.abs(picture - ramp.astype(int)).mean() < 3 for picture in found)


@pytest.mark.parametrize("top, left", [(0, 0), (1, 1), (7, 30), (16, 59), (16, 64)])
def test_a_rectangle_is_cut_from_the_whole(packets, top, left):
    (frame, *_) = GroupDecoder().decode_packets(packets[:1])
    whole = rgb(frame, 128, 176)
    assert np.array_equal(rgb(frame, 112, 112, top, left), whole[top : top + 112, left : left + 112])


@pytest.mark.skipif(not ACCURATE, reason="PyAV 17 converts to interleaved RGB less accurately")
def test_colours_are_swscales(packets, monkeypatch):
    """The oracle is swscale's accurate conversion, which also takes over where there is no compiler."""
    frames = list(GroupDecoder().decode_packets(packets))
    ours = np.stack([rgb(frame) for frame in frames]).astype(int)
    monkeypatch.setattr(yuv420, "_library", lambda: None)
    swscales = np.stack([rgb(frame) for frame in frames])
    assert np.abs(ours - swscales).max() <= 2 and np.abs(ours - swscales).mean() < 0.05


def test_bt601_primaries():
    """Full red, green, blue, white and black come back, whatever rounds."""
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)):
        encoder = GroupEncoder(32, 32, 1)
        picture = np.broadcast_to(np.uint8(colour), (32, 32, 3))
        (frame,) = GroupDecoder().decode_packets([encoder.add(picture)])
        assert np.abs(rgb(frame, 32, 32).astype(int) - picture).max() <= 4, colour


def test_a_matroska_file_without_a_muxer(packets):
    data = matroska("h264", b"", 176, 128, packets, [n % GROUP == 0 for n in range(N)], range(N))
    with av.open(io.BytesIO(data)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 176, 128)
        found = [(frame.time, read_number(rgb(frame))) for frame in container.decode(stream)]
    assert found == [(pytest.approx(n / 1000), n) for n in range(N)]
    with av.open(io.BytesIO(data)) as container:
        assert [bytes(packet) for packet in container.demux(video=0) if packet.size] == packets
    flags = [data[data.index(packet) - 1] for packet in packets]  # libav tells key frames of H.264 by itself
    assert flags == [0x80 * (n % GROUP == 0) for n in range(N)]


def test_an_encoder_that_is_missing(monkeypatch):
    monkeypatch.setattr(closed_groups, "ENCODER", "libnothing")
    with pytest.raises(EruvError, match="PyAV .* was built without the encoder libnothing.* or choose pack jpeg"):
        GroupEncoder(128, 171, 20)
