"""Frames are encoded for the pack while the next ones are decoded; the pack is the same, and memory is bounded."""

import threading
import weakref

import numpy as np
import pytest

from eruv_dali.dataset.pack import PackWriter
from eruv_dali.dataset.records import Scan, read_record, record_path
from eruv_dali.prepare import scan as scanning
from eruv_dali.prepare.encode_ahead import CHUNKS_WAITING, EncodeAhead
from eruv_dali.prepare.scan import Job, Scanner
from eruv_dali.video.find import Video

PATIENCE = 20  # seconds; no test waits for so long unless it fails


@pytest.mark.parametrize("kind, quality", [("video", 20), ("jpeg", 92), ("raw", 0)])
def test_the_pack_is_the_same_on_any_number_of_threads(videos, tmp_path, kind, quality):
    packs = []
    for threads in (1, 4):
        out = tmp_path / str(threads)
        (out / "records").mkdir(parents=True)
        scanner = Scanner(out, Scan(64, 86, kind, quality), "cpu", threads)
        for name in ("h264_b.mp4", "mpeg4.avi"):
            scanner(Job(Video(name, videos / name)), lambda count: None)
        scanner.close()
        records = [read_record(record_path(out, name)).frames for name in ("h264_b.mp4", "mpeg4.avi")]
        (file,) = (out / "pack").iterdir()
        packs.append((file.read_bytes(), [frames.tobytes() for frames in records]))
    assert packs[0] == packs[1]


def test_encoding_goes_on_while_the_next_frames_are_decoded(videos, tmp_path, monkeypatch):
    """The encoder does not finish the first chunk before the second is decoded, nor is the second decoded before the
    first is being encoded."""
    encoding, decoded = threading.Event(), threading.Event()
    decode, encode = scanning.decode_pictures, PackWriter.encode

    def slow_decode(*arguments, **settings):
        (chunk,) = decode(*arguments, **settings)  # 120 frames
        yield chunk.part(slice(0, 60))
        assert encoding.wait(PATIENCE), "the second chunk is asked for, and nobody encodes the first"
        decoded.set()
        yield chunk.part(slice(60, None))

    def slow_encode(writer, picture):
        encoding.set()
        assert decoded.wait(PATIENCE), "the first chunk is being encoded, and nobody decodes the second"
        return encode(writer, picture)

    monkeypatch.setattr(scanning, "decode_pictures", slow_decode)
    monkeypatch.setattr(PackWriter, "encode", slow_encode)
    (tmp_path / "records").mkdir()
    scanner = Scanner(tmp_path, Scan(64, 86, "jpeg", 92), "cpu", 2)
    assert scanner(Job(Video("h264_b.mp4", videos / "h264_b.mp4")), lambda count: None) == 120
    scanner.close()


def test_only_so_many_chunks_wait_for_a_slow_encoder(tmp_path):
    class Writer:
        independent, size = True, 0

        def encode(self, picture):
            threading.Event().wait(0.002)
            return picture.tobytes()

        def append(self, data):
            self.size += len(data)
            return len(data), data[0]

    alive, most = [], 0  # chunks, of which a weak reference tells whether they are still in memory
    with EncodeAhead(Writer(), 2) as encoding:
        for number in range(12):
            chunk = np.full((20, 2, 2, 3), number, np.uint8)
            alive.append(weakref.ref(chunk))
            encoding.add(chunk)
            del chunk
            most = max(most, sum(chunk() is not None for chunk in alive))
        written = encoding.finish()
    assert 1 < most <= CHUNKS_WAITING + 1
    assert written == [(12, number) for number in range(12) for _ in range(20)]


def test_what_the_encoder_says_is_raised_where_frames_are_added(tmp_path):
    class Writer:
        independent, append = True, None

        def encode(self, picture):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), EncodeAhead(Writer(), 2) as encoding:
        encoding.add(np.zeros((20, 2, 2, 3), np.uint8))
        encoding.finish()
