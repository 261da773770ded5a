"""Decode runs of a video pack's packets straight into RGB crops: kernels/decode_groups.cc with PyAV's own libavcodec.

One call decodes a clip without Python's lock, so that threads do not wait for one another. Where it cannot be had (no
compiler, a PyAV of another build), PyAV decodes picture by picture, to the same pixels, at about half the speed.
"""

import ctypes
import functools
import re
import weakref
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from eruv_dali import native
from eruv_dali.video.closed_groups import GroupDecoder
from eruv_dali.video.yuv420 import rgb_rectangle

VERSIONS = range(59, 63)  # of libavcodec, whose structures kernels/decode_groups.cc knows
FUNCTIONS = (  # in the order of the structure Libavcodec
    ("avcodec", "avcodec_find_decoder"), ("avcodec", "avcodec_alloc_context3"), ("avcodec", "avcodec_open2"),
    ("avcodec", "avcodec_free_context"), ("avcodec", "avcodec_flush_buffers"), ("avcodec", "avcodec_send_packet"),
    ("avcodec", "avcodec_receive_frame"), ("avcodec", "av_packet_alloc"), ("avcodec", "av_packet_free"),
    ("avutil", "av_frame_alloc"), ("avutil", "av_frame_free"),
)


class Uses:
    """Which pictures of a run go where: picture `number` to the memory at `address`, from (top, left) on."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.addresses: list[int] = []
        self.corners: list[tuple[int, int]] = []
        self.places: list[np.ndarray] = []

    def add(self, numbers: Sequence[int], place: np.ndarray, top: int, left: int) -> None:
        """The pictures of these numbers go to the rows of `place`, (N, rows, columns, 3) uint8, contiguous."""
        self.numbers += numbers
        self.addresses += range(place.ctypes.data, place.ctypes.data + place.nbytes, place[0].nbytes)
        self.corners += [(top, left)] * len(numbers)
        self.places += list(place)


class CropDecoder:
    """Decodes runs of packets that begin at the start of a group. One per thread.

    Args:
        height, width: of the coded pictures.
    """

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._library = library()
        self._decoder = self._library.open_decoder(libavcodec()) if self._library else None
        if self._library:
            if not self._decoder:
                raise RuntimeError("libavcodec did not open its H.264 decoder")
            weakref.finalize(self, self._library.close_decoder, self._decoder)
        self._pictures = GroupDecoder()

    def decode(self, data: bytes, offsets: Sequence[int], uses: Uses) -> int:
        """Decode packet n, the bytes from offsets[n] to offsets[n + 1], for each n; write the pictures where they go.

        Returns how many packets gave their picture; fewer than there are: that one is damaged.
        """
        count = len(offsets) - 1
        if not self._library or not self._decoder:
            return self._decode_by_picture([data[begin:end] for begin, end in zip(offsets, offsets[1:], strict=False)],
                                           uses)
        numbers = np.array(uses.numbers, np.int64)
        order = np.argsort(numbers, kind="stable")
        first_use = np.searchsorted(numbers[order], np.arange(count + 1))
        corners = np.array(uses.corners, np.int64)[order].T.copy()
        ends, out = np.array(offsets, np.int64), np.array(uses.addresses, np.uintp)
        rows, columns, _ = uses.places[0].shape
        return self._library.decode_groups(
            self._decoder, data, ends.ctypes.data, count, first_use.ctypes.data, order.ctypes.data,
            corners[0].ctypes.data, corners[1].ctypes.data, rows, columns, self._height, self._width, out.ctypes.data)

    def _decode_by_picture(self, packets: list[bytes], uses: Uses) -> int:
        of_picture: dict[int, list[int]] = {}
        for use, number in enumerate(uses.numbers):
            of_picture.setdefault(number, []).append(use)
        done = 0
        try:
            for frame in self._pictures.decode_packets(packets):
                for use in of_picture.get(done, ()):
                    rgb_rectangle(frame, *uses.corners[use], uses.places[use])
                done += 1
        except av.error.FFmpegError:
            self._pictures = GroupDecoder()
        return done


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None, with a line that says why, where they cannot be had."""
    try:
        if libavcodec() is None:
            raise native.NoCompiler(f"PyAV {av.__version__} brings no libavcodec of version {VERSIONS[0]} to "
                                    f"{VERSIONS[-1]}")
        built = native.load_cpp("decode_groups", "yuv420.cc")
    except native.NoCompiler as reason:
        native.say_once(f"{reason}; PyAV decodes a video pack picture by picture, which is slower")
        return None
    built.open_decoder.restype, built.open_decoder.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    built.close_decoder.restype, built.close_decoder.argtypes = None, [ctypes.c_void_p]
    built.decode_groups.restype = ctypes.c_int
    built.decode_groups.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int,
                                    *[ctypes.c_void_p] * 4, *[ctypes.c_int] * 4, ctypes.c_void_p]
    return built


@functools.cache
def libavcodec() -> ctypes.Array | None:
    """The structure Libavcodec: addresses of the functions, from the libraries that PyAV itself has loaded."""
    if av.library_versions["libavcodec"][0] not in VERSIONS:
        return None
    loaded = {name: _loaded(name) for name in ("avcodec", "avutil")}
    addresses = []
    for name, function in FUNCTIONS:
        library = loaded[name]
        if library is None:
            return None
        addresses.append(ctypes.cast(getattr(library, function), ctypes.c_void_p).value)
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _loaded(name: str) -> ctypes.CDLL | None:
    """The library of this name that PyAV uses. DALI brings and loads another version, so the version decides."""
    major, minor, micro = av.library_versions[f"lib{name}"]
    paths = re.findall(rf"(/\S*/lib{name}[-.][^/\s]*\.so\S*)$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    for path in dict.fromkeys(paths):
        library = ctypes.CDLL(path)
        if getattr(library, f"{name}_version")() == major << 16 | minor << 8 | micro:
            return library
    return None
