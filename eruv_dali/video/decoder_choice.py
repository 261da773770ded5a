"""Which decoder reads a video: DALI's, or PyAV, and why. One rule for whole videos and for slices."""

from eruv_dali.device import gpu_number
from eruv_dali.video.coding import Coding
from eruv_dali.video.nvdec import Capabilities, Limits, nvdec

# Pixel formats that DALI turns into RGB (it asks NVDEC for 8-bit 4:2:0 whatever the video is), and their bits.
PIXELS = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10}
DEEPER = ("hevc", "vp9")  # codecs of which DALI is given more than 8 bits

# Profiles without tools that NVDEC lacks. Codecs that are not named here have none.
PROFILES = {
    "h264": ("Baseline", "Constrained Baseline", "Main", "High", "Constrained High", "Progressive High"),
    "hevc": ("Main", "Main 10", "Main Still Picture"),
    "vp9": ("Profile 0", "Profile 2"),
    "mpeg4": ("Simple Profile", "Advanced Simple Profile", ""),  # XviD and DivX often do not say
}

ANY_SIZE = Limits(1, 1, 1 << 16, 1 << 16, 1 << 24)
# DALI's decoder on a CPU. Programs do not use it; the tests do, where there is no GPU.
DALI_ON_CPU = Capabilities(limits={(codec, 8): ANY_SIZE for codec in ("vp8", "vp9", "mjpeg")}, hidden=True)


def capabilities(device: str, gpu: int | None = None) -> Capabilities:
    """What DALI decodes on `device`, "gpu" or "cpu"; `gpu`: the GPU's number, by default PyTorch's current one."""
    if device == "cpu":
        return DALI_ON_CPU
    return nvdec(gpu_number(device) if gpu is None else gpu)


def why_not_dali(codec: str, rotation: int, coding: Coding, decoder: Capabilities) -> str:
    """Why DALI cannot be trusted with a video, in words that continue "because"; "" if it can.

    Args:
        codec: libav's name; `rotation`: degrees by which the file says to turn the pictures; `coding`: the rest.
        decoder: what DALI's decoder can do on the device.
    """
    if decoder.problem:
        return decoder.problem
    if codec not in {known for known, _ in decoder.limits}:
        return f"codec {codec}"
    if rotation:
        return f"rotated by {rotation} degrees"
    bits = PIXELS.get(coding.pixels)
    if bits is None or bits > 8 and codec not in DEEPER:
        return f"{codec} with pixels {coding.pixels}"
    if coding.profile not in PROFILES.get(codec, (coding.profile,)):
        return f"{codec} of profile {coding.profile or 'unknown'}"
    if coding.interlaced:
        return "interlaced"
    if coding.hidden and not decoder.hidden:
        return "hidden pictures"
    if (codec, bits) not in decoder.limits:
        return f"{codec} of {bits} bits on this GPU"
    limits, width, height = decoder.limits[codec, bits], coding.coded_width, coding.coded_height
    if width < limits.min_width or height < limits.min_height:
        return f"{codec} smaller than {limits.min_width}x{limits.min_height}"
    if (width > limits.max_width or height > limits.max_height
            or width * height // 256 > limits.max_macroblocks):
        return f"{codec} larger than {limits.max_width}x{limits.max_height} or {limits.max_macroblocks} macroblocks"
    return ""
