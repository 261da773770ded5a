"""A file's content is told by its size and samples."""

import os

import numpy as np

from eruv_dali.video.content import SAMPLE, WHOLE, content_of


def test_content(tmp_path):
    bytes_of = np.random.default_rng(0).bytes
    for number, size in enumerate((0, 1000, WHOLE, 3 * WHOLE)):
        path, copy = tmp_path / f"{number}.mp4", tmp_path / f"{number}.copy"
        data = bytes_of(size)
        path.write_bytes(data)
        copy.write_bytes(data)
        os.utime(copy, (1, 1))
        assert content_of(path) == content_of(copy) != "" and len(content_of(path)) == 32
        copy.write_bytes(data + b"x")
        assert content_of(path) != content_of(copy)
        for at in {0, size // 2 if size <= WHOLE else 5, size - 1} if size else ():  # a byte of the same size of file
            copy.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert content_of(path) != content_of(copy), (size, at)
    assert content_of(tmp_path / "absent") == content_of(tmp_path) == ""
    assert 64 * SAMPLE == WHOLE  # what is read of a larger file
