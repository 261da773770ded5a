"""The index of a video: the frames that counting packets finds are those that decoding finds."""

import itertools
import struct

import av
import numpy as np
import pytest
from decoded import decode
from numbered import KINDS, write_video

from eruv_dali.dataset import Dataset
from eruv_dali.video.index import FrameIndex, index_by_decoding, index_video
from eruv_dali.video.mp4 import packets_from_header
from eruv_dali.video.open import DamagedVideo, UnusableVideo, open_video, packets_of
from eruv_dali.video.reader import FrameNotFound, FrameReader

IN_HEADER = [name for name in KINDS if name.endswith(".mp4")]


@pytest.mark.parametrize("name", [*KINDS, "long/a.mp4"])
def test_counting_packets_finds_the_frames_that_decoding_finds(videos, datasets, name):
    index, facts = index_video(videos / name)
    dataset = Dataset(datasets["none"])
    (number,) = [n for n, video in enumerate(dataset.videos) if video.name == name]
    assert np.array_equal(index.pts, dataset.index(number).pts)
    assert np.array_equal(index.key, dataset.index(number).key)
    assert facts.codec == dataset.videos[number].codec


class Wrapped:
    """A container in all but how its packets are read."""

    def __init__(self, container):
        self._container = container

    def __getattr__(self, attribute):
        return getattr(self._container, attribute)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._container.close()


class Broken(Wrapped):
    """A container that PyAV fails on after some packets, as on a transport stream in which another stream begins."""

    def demux(self, stream):
        yield from itertools.islice(self._container.demux(stream), 30)
        raise IndexError("list index out of range")


def test_a_stream_that_begins_in_mid_file(videos, monkeypatch):
    """Once a traceback, and the end of a whole run of prepare."""
    path = videos / "mpeg2.ts"
    for module in ("decode_pyav", "index", "reader", "tags"):
        monkeypatch.setattr(f"eruv_dali.video.{module}.open_video", broken := lambda *arguments, **options: (
            lambda container, stream: (Broken(container), stream))(*open_video(*arguments, **options)))
    assert 20 < len(index_by_decoding(path).pts) <= 30
    index, _ = index_video(path)
    assert 20 < len(index.pts) <= 30
    with pytest.raises(DamagedVideo, match="a stream that begins in mid-file"):
        decode(path)
    with pytest.raises(FrameNotFound):
        FrameReader().read(path, FrameIndex(np.arange(120), np.arange(120) == 0), [100], 96, 128)
    with pytest.raises(av.error.FFmpegError):
        list(packets_of(*broken(path)))


@pytest.mark.parametrize("name", IN_HEADER)
def test_the_frames_of_an_mp4_are_found_without_reading_its_data(videos, name, monkeypatch):
    assert told(videos / name) is not None
    read = []
    demux = av.container.InputContainer.demux

    class Counting(Wrapped):  # a container whose packets are counted
        def demux(self, stream):
            for packet in demux(self._container, stream):
                read.append(packet.pts)
                yield packet

    def counted(path):
        container, stream = open_video(path)
        return Counting(container), stream

    monkeypatch.setattr("eruv_dali.video.index.open_video", counted)
    index, _ = index_video(videos / name)
    assert len(index.pts) == 120 and 0 < len(read) < 20


@pytest.mark.parametrize("name", IN_HEADER)
def test_an_mp4s_index_says_where_each_frames_packet_lies(videos, datasets, name):
    dataset = Dataset(datasets["none"])
    (number,) = [n for n, video in enumerate(dataset.videos) if video.name == name]
    content = (videos / name).read_bytes()
    container, stream = open_video(videos / name)
    with container:
        packets = {packet.pts: bytes(packet) for packet in container.demux(stream) if packet.size}
    for index in (index_video(videos / name)[0], dataset.index(number)):
        for pts, offset, size in zip(index.pts.tolist(), index.offset.tolist(), index.size.tolist(), strict=True):
            assert content[offset : offset + size] == packets[pts]


def test_other_containers_name_no_places(videos, datasets):
    assert index_video(videos / "vp9.webm")[0].offset is None
    dataset = Dataset(datasets["none"])
    numbers = [n for n, video in enumerate(dataset.videos) if not video.name.endswith(".mp4")]
    assert numbers and not any(dataset.index(n).size.any() for n in numbers)


def remuxed(path, to, movflags):
    """The same packets in an MP4 file written with other options."""
    with av.open(str(path)) as source, av.open(str(to), "w", options={"movflags": movflags}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return to


def test_a_truncated_mp4_is_indexed_from_the_packets_it_still_has(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", frames=90, b_frames=2, options={"movflags": "faststart"})
    front = remuxed(whole, tmp_path / "front.mp4", "faststart")
    assert told(front) is not None
    content = front.read_bytes()
    short = tmp_path / "short.mp4"
    short.write_bytes(content[: len(content) * 2 // 3])
    assert told(short) is None
    index, _ = index_video(short)
    assert 30 < len(index.pts) < 90 and same(index, index_by_decoding(short))


def test_a_fragmented_mp4_is_indexed_from_its_packets(tmp_path):
    plain = write_video(tmp_path / "plain.mp4", frames=60, b_frames=2, gop=20)
    fragmented = remuxed(plain, tmp_path / "fragmented.mp4", "frag_keyframe+empty_moov")
    assert told(fragmented) is None
    index, _ = index_video(fragmented)
    assert len(index.pts) == 60 and same(index, index_by_decoding(fragmented))


@pytest.mark.parametrize("box", [b"ctts", b"stsz", b"tkhd", b"elst", b"stbl"])
def test_a_header_with_a_damaged_box_misleads_nobody(videos, tmp_path, monkeypatch, box):
    """Each of the box's first numbers set to others: the index is the one that all packets give."""
    tried = 0
    content = (videos / "h264_b.mp4").read_bytes()
    at = content.index(box)
    for place in range(at - 4, at + 28, 4):
        for value in (0, 3, 0x7FFFFFFF):
            if place == at:
                continue
            damaged = tmp_path / "damaged.mp4"
            damaged.write_bytes(content[:place] + struct.pack(">I", value) + content[place + 4 :])
            try:
                index, _ = index_video(damaged)
            except UnusableVideo:
                continue
            tried += 1
            with monkeypatch.context() as context:
                context.setattr("eruv_dali.video.index.packets_from_header", lambda *arguments: None)
                assert same(index, index_video(damaged)[0]), (box, place - at, value)
    assert tried > 3


def told(path):
    container, stream = open_video(path)
    with container:
        return packets_from_header(path, container, stream)


def same(index: FrameIndex, other: FrameIndex) -> bool:
    return np.array_equal(index.pts, other.pts) and np.array_equal(index.key, other.key)
