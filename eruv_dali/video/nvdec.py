"""What this machine's NVDEC decodes: asked of NVIDIA's library libnvcuvid, once a process, before DALI is.

DALI asks too late: a video that NVDEC cannot decode, or a container without the library, ends its pipeline. (The
structure and the numbers are those of NVIDIA's header cuviddec.h, Video Codec SDK 12; the library is called by ctypes.)
"""

import ctypes
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

# libav's names, and cuviddec.h's numbers: what DALI's decoder asks NVDEC for (DALI 2.4.0 takes no MJPEG there).
CODECS = {"mpeg4": 2, "h264": 4, "hevc": 8, "vp8": 9, "vp9": 10}
BITS = (8, 10)
YUV420, NV12 = 1, 0  # the only chroma format and the only output that DALI asks for

NO_LIBRARY = ("libnvcuvid.so.1 cannot be loaded, so videos are decoded on the CPU; in a container start with "
              "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video")


class Limits(NamedTuple):
    """The coded sizes that can be decoded, in pixels, and the most macroblocks (256 pixels) of a picture."""

    min_width: int
    min_height: int
    max_width: int
    max_height: int
    max_macroblocks: int


@dataclass(frozen=True)
class Capabilities:
    """What a decoder can decode.

    Attributes:
        problem: why it can decode nothing, "" if it can.
        limits: of each (codec by libav's name, bits per sample) that it decodes, 4:2:0.
        hidden: DALI delivers the right frames of a video with hidden pictures; on a GPU it does not, see `hidden`.
    """

    problem: str = ""
    limits: Mapping[tuple[str, int], Limits] = field(default_factory=dict)
    hidden: bool = False


class DecoderCaps(ctypes.Structure):
    """CUVIDDECODECAPS: the first four are asked, the rest is answered."""

    _fields_ = [
        ("codec", ctypes.c_int), ("chroma", ctypes.c_int), ("bits_minus_8", ctypes.c_uint),
        ("reserved1", ctypes.c_uint * 3), ("supported", ctypes.c_ubyte), ("engines", ctypes.c_ubyte),
        ("output_formats", ctypes.c_ushort), ("max_width", ctypes.c_uint), ("max_height", ctypes.c_uint),
        ("max_macroblocks", ctypes.c_uint), ("min_width", ctypes.c_ushort), ("min_height", ctypes.c_ushort),
        ("histogram", ctypes.c_ubyte), ("counter_bits", ctypes.c_ubyte), ("histogram_bins", ctypes.c_ushort),
        ("reserved3", ctypes.c_uint * 10),
    ]


class _Refused(Exception):
    """A call into NVIDIA's libraries failed; the message names it."""


@functools.cache
def nvdec(gpu: int) -> Capabilities:
    """What the NVDEC of GPU number `gpu` decodes. A machine without one has a `problem`; nothing is raised."""
    return probe(gpu, "libcuda.so.1", "libnvcuvid.so.1")


def probe(gpu: int, cuda_library: str, nvcuvid_library: str) -> Capabilities:
    """The same of libraries of these names or paths, which are loaded."""
    try:
        nvcuvid = ctypes.CDLL(nvcuvid_library)
    except OSError:
        return Capabilities(NO_LIBRARY)
    limits = {}
    try:
        with _context(ctypes.CDLL(cuda_library), gpu):
            for codec, number in CODECS.items():
                for bits in BITS:
                    caps = DecoderCaps(codec=number, chroma=YUV420, bits_minus_8=bits - 8)
                    _call(nvcuvid, "cuvidGetDecoderCaps", ctypes.byref(caps))
                    if caps.supported and caps.output_formats >> NV12 & 1:
                        limits[codec, bits] = Limits(caps.min_width, caps.min_height, caps.max_width, caps.max_height,
                                                     caps.max_macroblocks)
    except (OSError, _Refused) as error:
        return Capabilities(f"NVDEC cannot be used, so videos are decoded on the CPU ({error})")
    return Capabilities("" if limits else f"GPU {gpu} has no video decoder, so videos are decoded on the CPU", limits)


@contextmanager
def _context(cuda: ctypes.CDLL, gpu: int) -> Iterator[None]:
    """Have the GPU's own context current, the one that PyTorch and DALI use; NVDEC cannot be asked without one."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call(cuda, "cuInit", 0)
    _call(cuda, "cuDeviceGet", ctypes.byref(device), gpu)
    _call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        _call(cuda, "cuCtxPushCurrent_v2", context)
        try:
            yield
        finally:
            _call(cuda, "cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
    finally:
        _call(cuda, "cuDevicePrimaryCtxRelease_v2", device)


def _call(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    try:
        function = getattr(library, name)
    except AttributeError:
        raise _Refused(f"{library._name} has no {name}: the driver is too old") from None
    if code := function(*arguments):
        raise _Refused(f"{name}: CUDA error {code}")
