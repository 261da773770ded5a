"""Why pictures are looked at before DALI sees them: reduced to DALI alone, bytes that are no picture crash the process.

DALI 2.4's CPU decoder reads the headers of a batch, and gives samples to its threads meanwhile; a header that it cannot
read is an exception, and the function is left while the threads are at work with its variables (Valgrind: "Address is
on thread 5's stack, 736 bytes below stack pointer"). Small batches are not begun that early: there, it is an error like
any other. Neither inputs without a copy nor rebuilt pipelines play a part. Of a DALI that has mended it the last test
is reported as passed unexpectedly (XPASS), every time: then jpeg_header may go.
"""

import signal

import numpy as np
import nvidia.dali as dali
import pytest
from forked import Forked
from nvidia.dali import fn, types

from eruv_dali.dataset.pack import encode_jpeg
from eruv_dali.loader.read_jpeg_pack import jpeg_header

PICTURE = encode_jpeg(np.random.default_rng(0).integers(0, 256, (128, 171, 3), np.uint8), 92)


def decode(batch, bad, top):
    """A batch of which one picture is bad, or is cropped at `top`; copied, one thread, one run."""
    @dali.pipeline_def(batch_size=batch, num_threads=1, device_id=None, exec_dynamic=True, prefetch_queue_depth=1)
    def pipeline():
        data = fn.external_source(name="data", ndim=1, dtype=types.UINT8)
        start = fn.external_source(name="start", ndim=1, dtype=types.INT32)
        return fn.decoders.image_slice(data, start=start, shape=(112, 112), axes=(0, 1), output_type=types.RGB)

    built = pipeline()
    built.build()
    pictures = [np.frombuffer(bad if place == 3 else PICTURE, np.uint8) for place in range(batch)]
    starts = np.full((batch, 2), 5, np.int32)
    starts[3] = top
    try:
        built.feed_input("data", pictures)
        built.feed_input("start", starts)
        built.run()
    except RuntimeError:
        pass


def test_all_is_in_the_header():
    size, length = jpeg_header(PICTURE[:1024])
    assert size == (128, 171) and PICTURE[length - 14 : length - 12] == b"\xff\xda"
    for cut in range(length):
        assert jpeg_header(PICTURE[:cut]) is None
    assert jpeg_header(b"no picture " * 100) is None
    assert jpeg_header(PICTURE[:20] + b"\xff\x01" + PICTURE[22:1024]) is None


@pytest.mark.parametrize("batch, bad, top", [
    (8, b"no picture " * 3000, 5), (64, PICTURE, 5), (64, PICTURE[: len(PICTURE) // 2], 5)])
def test_dali_is_left_alive_by_small_batches_and_whole_headers(tmp_path, batch, bad, top):
    assert Forked(tmp_path, decode, batch, bad, top).ended() == 0


@pytest.mark.slow
@pytest.mark.xfail(reason="DALI crashes over headers that it cannot read", raises=AssertionError, strict=False)
@pytest.mark.parametrize("bad", [b"no picture " * 3000, PICTURE[:220]])
def test_dali_is_left_alive_by_bad_headers_in_large_batches(tmp_path, bad):
    """It crashes now and then, depending on how far its threads are; on a busy machine not once in 20 times."""
    for attempt in range(20):
        code = Forked(tmp_path / str(attempt), decode, 64, bad, 5).ended()
        if code not in (0, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
            pytest.fail(f"exit code {code}")
        assert code == 0
