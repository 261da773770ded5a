"""What NVDEC cannot decode is known before DALI is asked: from how a video is coded, and from what the library says."""

import subprocess
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from coded import CODED, FRAMES, write_coded, write_hiding
from decoded import SIZE, decode
from numbered import KINDS, read_number

from eruv_dali.video import decode as decode_module
from eruv_dali.video import decode_nvdec, decoder_choice, nvdec
from eruv_dali.video.closed_groups import GroupEncoder, group_coding
from eruv_dali.video.coding import Coding, checked_coding, read_coding
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.decode_nvdec import NotForDali, decode_with_dali
from eruv_dali.video.decoder_choice import why_not_dali
from eruv_dali.video.hidden import mpeg4_hides, vp8_hides, vp9_hides
from eruv_dali.video.nvdec import NO_LIBRARY, Capabilities, Limits
from eruv_dali.video.open import UnusableVideo, open_video
from eruv_dali.video.parameter_sets import may_hold_fields

# An H100's, as NVIDIA's table gives it: no H.264 of 10 bits.
HOPPER = Capabilities(limits={
    ("h264", 8): Limits(48, 16, 4096, 4096, 65536), ("mpeg4", 8): Limits(48, 16, 2032, 2032, 8192),
    ("vp8", 8): Limits(48, 16, 4096, 4096, 65536), ("hevc", 8): Limits(144, 144, 8192, 8192, 262144),
    ("hevc", 10): Limits(144, 144, 8192, 8192, 262144), ("vp9", 8): Limits(128, 128, 8192, 8192, 262144)})
PLAIN = Coding("yuv420p", "High", False, False, 640, 368)


@pytest.mark.parametrize("codec, changes, why", [
    ("h264", {}, ""),
    ("h264", dict(profile="Constrained Baseline", range="full", matrix="bt709", pixels="yuvj420p"), ""),
    ("h264", dict(pixels="yuv422p", profile="High 4:2:2"), "h264 with pixels yuv422p"),
    ("h264", dict(pixels="yuv444p", profile="High 4:4:4 Predictive"), "h264 with pixels yuv444p"),
    ("h264", dict(pixels="yuv420p10le", profile="High 10"), "h264 with pixels yuv420p10le"),
    ("h264", dict(pixels="gray"), "h264 with pixels gray"),
    ("h264", dict(profile="High 4:4:4 Predictive"), "h264 of profile High 4:4:4 Predictive"),
    ("h264", dict(profile="Extended"), "h264 of profile Extended"),
    ("h264", dict(interlaced=True), "interlaced"),
    ("h264", dict(rotation=90), "rotated by 90 degrees"),
    ("h264", dict(coded_width=32), "h264 smaller than 48x16"),
    ("h264", dict(coded_width=4112), "h264 larger than 4096x4096 or 65536 macroblocks"),
    ("mpeg4", dict(profile="", coded_width=2000, coded_height=1100),
     "mpeg4 larger than 2032x2032 or 8192 macroblocks"),
    ("hevc", dict(profile="Main"), ""),
    ("hevc", dict(profile="Main 10", pixels="yuv420p10le"), ""),
    ("hevc", dict(profile="Rext", pixels="yuv422p"), "hevc with pixels yuv422p"),
    ("hevc", dict(profile="Rext"), "hevc of profile Rext"),
    ("hevc", dict(profile="Main", coded_height=143), "hevc smaller than 144x144"),
    ("hevc", dict(profile="Main", coded_height=144), ""),
    ("vp9", dict(profile="Profile 0"), ""),
    ("vp9", dict(profile="Profile 0", hidden=True), "hidden pictures"),
    ("vp9", dict(profile="Profile 2", pixels="yuv420p10le"), "vp9 of 10 bits on this GPU"),
    ("vp9", dict(profile="Profile 0", coded_width=127), "vp9 smaller than 128x128"),
    ("vp8", dict(profile=""), ""),
    ("vp8", dict(profile="", hidden=True), "hidden pictures"),
    ("mpeg4", dict(profile="Advanced Simple Profile"), ""),
    ("mpeg4", dict(profile="", hidden=True), "hidden pictures"),
    ("mpeg4", dict(profile="Simple Profile", interlaced=True), "interlaced"),
    ("mjpeg", dict(pixels="yuvj420p", profile="Baseline"), "codec mjpeg"),
    ("av1", dict(profile="Main"), "codec av1"),
    ("mpeg2video", dict(profile="Main"), "codec mpeg2video"),
])
def test_the_decoder_and_why(codec, changes, why):
    changes = dict(changes)
    rotation = changes.pop("rotation", 0)
    assert why_not_dali(codec, rotation, replace(PLAIN, **changes), HOPPER) == why


def test_without_the_library_everything_is_refused():
    assert why_not_dali("h264", 0, PLAIN, Capabilities(NO_LIBRARY)) == NO_LIBRARY


@pytest.fixture(scope="module")
def coded(made_once):
    return made_once("coded", lambda folder: [write_coded(folder, name) for name in CODED])


EXPECTED = {  # what differs from an H.264 video of 240 x 176, and why DALI on a Hopper does not decode it
    "360p.mp4": (dict(coded_width=640, coded_height=368), ""),
    "180p.mp4": (dict(coded_width=320, coded_height=192), ""),
    "high422.mp4": (dict(pixels="yuv422p", profile="High 4:2:2"), "pixels yuv422p"),
    "high444.mp4": (dict(pixels="yuv444p", profile="High 4:4:4 Predictive"), "pixels yuv444p"),
    "high10.mp4": (dict(pixels="yuv420p10le", profile="High 10"), "pixels yuv420p10le"),
    "fields.mp4": (dict(interlaced=True, coded_height=192), "interlaced"),
    "fields.ts": (dict(interlaced=True, coded_height=192), "interlaced"),
    "frames_as_fields.mp4": (dict(interlaced=True, coded_height=192), "interlaced"),
    "full.mp4": (dict(pixels="yuvj420p", range="full"), ""),
    "bt709.mp4": (dict(range="limited", matrix="bt709"), ""),
    "main.mp4": (dict(profile="Main", range="limited"), ""),
    "main10.mp4": (dict(profile="Main 10", pixels="yuv420p10le", range="limited"), ""),
    "hevc422.mp4": (dict(profile="Rext", pixels="yuv422p", range="limited"), "pixels yuv422p"),
    "vp9.webm": (dict(profile="Profile 0", range="limited"), ""),
    "hidden.webm": (dict(profile="Profile 0", range="limited", hidden=True), "hidden pictures"),
    "vp8.webm": (dict(profile="", range="limited", matrix="bt470bg"), ""),
    "simple.mp4": (dict(profile="Simple Profile"), ""),
    "fields4.mp4": (dict(profile="Simple Profile", interlaced=True), "interlaced"),
    "mjpeg.avi": (dict(profile="Baseline", pixels="yuvj420p", range="full", matrix="bt470bg"), "codec mjpeg"),
}


@pytest.mark.parametrize("name", CODED)
def test_how_a_file_is_coded(coded, name):
    differs, why = EXPECTED[name]
    found = read_coding(coded / name)
    assert found == replace(Coding("yuv420p", "High", False, False, 240, 176), **differs)
    assert checked_coding(vars(found)) == found
    container, stream = open_video(coded / name)
    with container:
        reason = why_not_dali(stream.codec_context.codec.canonical_name, 0, found, HOPPER)
    assert why in reason and bool(why) == bool(reason)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_two_passes_hide_pictures(tmp_path, codec):
    path = write_hiding(tmp_path, codec)
    if path is None:
        pytest.skip("no ffmpeg")
    assert read_coding(path).hidden


@pytest.mark.parametrize("changes", [dict(pixels=3), dict(hidden=0), dict(coded_width="640"), dict(coded_height=0),
                                     dict(more=1)])
def test_a_coding_that_cannot_be_right_is_refused(changes):
    with pytest.raises((ValueError, TypeError)):
        checked_coding(vars(PLAIN) | changes)


def test_a_video_pack_is_coded_as_the_choice_is_told(tmp_path):
    encoder = GroupEncoder(100, 171, 20)
    (tmp_path / "group.h264").write_bytes(b"".join(encoder.add(np.full((100, 171, 3), n, np.uint8))
                                                   for n in range(20)))
    assert read_coding(tmp_path / "group.h264") == group_coding(100, 171)


def test_real_files(real_videos):
    packed = real_videos / "untrimmed/mmaction2/test.avi"
    assert read_coding(packed).hidden
    assert not any(read_coding(path).hidden for path in sorted((real_videos / "weizmann").rglob("*.avi"))[:5])
    assert read_coding(real_videos / "odd/torchcodec/h264_10bits.mp4").pixels == "yuv420p10le"
    with pytest.raises(UnusableVideo):
        read_coding(real_videos / "README.md")
    with pytest.raises(UnusableVideo, match="No such file"):
        read_coding(real_videos / "nothing.mp4")


def test_hidden_pictures_of_vp8_and_vp9():
    assert vp8_hides(b"\0\0\0") and not vp8_hides(b"\x10\0\0")
    assert not vp9_hides(b"\x82\x49\x83")  # a key frame, shown
    assert vp9_hides(b"\x84\0\0") and not vp9_hides(b"\x86\0\0")
    assert vp9_hides(b"\x88")  # an earlier picture is shown
    # Profile 3 has these bits one further: shown, hidden, an earlier one.
    assert not vp9_hides(b"\xb1\0") and vp9_hides(b"\xb2\0") and vp9_hides(b"\xb4\0")
    two = bytes([0x86, 1, 2, 0x86, 1, 0xC1, 3, 2, 0xC1])
    assert vp9_hides(two)
    assert not vp9_hides(two[:-4] + b"\xc2" + two[-3:])  # this is no index: it does not begin as it ends
    assert not vp9_hides(bytes([0x86, 1, 0xC0, 2, 0xC0]))  # an index of one picture


def test_packed_mpeg4():
    vop = b"\0\0\1\xb6" + bytes(40)
    assert not mpeg4_hides(vop) and mpeg4_hides(vop + vop) and mpeg4_hides(vop[:8]) and mpeg4_hides(b"\x7f")


def test_fields_by_the_parameter_set(coded):
    sets = {}
    for name in ("180p.mp4", "fields.mp4", "fields.ts", "high422.mp4", "high10.mp4"):
        with av.open(str(coded / name)) as container:
            sets[name] = bytes(container.streams.video[0].codec_context.extradata)
            assert may_hold_fields(sets[name]) is name.startswith("fields")
    whole = sets["fields.mp4"]
    for cut in (0, 5, 8, 12):
        assert may_hold_fields(whole[:cut]) is None
    # Scaling lists lie before the flag.
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 25)
    encoder.options = {"x264-params": "cqm=jvt:interlaced=1"}
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.open()
    assert may_hold_fields(bytes(encoder.extradata)) is True


FAKES = r"""
#include <cstring>
extern "C" {
static int current = 0, retained = 0;
int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int number) { *device = number + 40; return number > 1 ? 101 : 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0x123456789abcll; return device - 41; }
int cuCtxPushCurrent_v2(void *context) { current = context == (void *)0x123456789abcll; return 0; }
int cuCtxPopCurrent_v2(void **context) { *context = nullptr; current = 0; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
struct Caps {
  int codec, chroma;
  unsigned bits, reserved1[3];
  unsigned char supported, engines;
  unsigned short formats;
  unsigned max_width, max_height, max_macroblocks;
  unsigned short min_width, min_height;
  unsigned char rest[4];
  unsigned reserved3[10];
};
static_assert(sizeof(Caps) == 88);
int cuvidGetDecoderCaps(Caps *caps) {
  if (!current) return 201;
  bool h264 = caps->codec == 4 && caps->bits == 0;
  caps->supported = caps->chroma == 1 && (caps->codec == 8 || h264 || caps->codec == 9);
  caps->formats = caps->codec == 9 ? 2 : 3;  /* VP8 only as 16 bits, which DALI does not ask for */
  caps->min_width = 48 + caps->codec; caps->min_height = 16;
  caps->max_width = 4096; caps->max_height = 70000; caps->max_macroblocks = 65536 + caps->bits;
  return 0;
}
}
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """One library that stands for both of NVIDIA's."""
    folder = tmp_path_factory.mktemp("fakes")
    (folder / "fakes.cc").write_text(FAKES)
    subprocess.run(["g++", "-std=c++20", "-shared", "-fPIC", "-o", folder / "fakes.so", folder / "fakes.cc"],
                   check=True)
    return str(folder / "fakes.so")


def test_the_library_is_asked(libraries):
    assert nvdec.probe(1, libraries, libraries) == Capabilities("", {
        ("h264", 8): Limits(52, 16, 4096, 70000, 65536), ("hevc", 8): Limits(56, 16, 4096, 70000, 65536),
        ("hevc", 10): Limits(56, 16, 4096, 70000, 65538)})


def test_a_library_that_does_not_answer(libraries):
    assert "cuDeviceGet: CUDA error 101" in nvdec.probe(2, libraries, libraries).problem
    assert "cuDevicePrimaryCtxRetain: CUDA error -1" in nvdec.probe(0, libraries, libraries).problem
    assert nvdec.probe(1, libraries, "libnvcuvid_absent.so.1") == Capabilities(NO_LIBRARY)
    assert "libcuda_absent" in nvdec.probe(1, "libcuda_absent.so.1", libraries).problem
    assert "no cuvidGetDecoderCaps" in nvdec.probe(1, libraries, "libc.so.6").problem


def test_without_the_library_no_pipeline_is_built_to_decode_a_video(videos, monkeypatch, caplog):
    monkeypatch.setattr(decode_module, "capabilities", lambda device: Capabilities(NO_LIBRARY))
    monkeypatch.setattr(decode_nvdec, "_pipeline", None)
    decode_module.say_once.cache_clear()
    for name in ("mpeg4.mp4", "h264_b.mp4"):
        chunks = list(decode_pictures(videos / name, (SIZE,), device="gpu"))
        assert sum(len(chunk.pts) for chunk in chunks) == 120
    assert [record.getMessage() for record in caplog.records] == [NO_LIBRARY]


@pytest.mark.parametrize("name, why", [(name, why) for name, (_, why) in EXPECTED.items() if why])
def test_dali_is_refused_a_video_before_it_is_asked(coded, name, why, monkeypatch):
    monkeypatch.setattr(decode_nvdec, "capabilities", lambda device: HOPPER)
    monkeypatch.setattr(decode_nvdec, "_pipeline", None)
    with pytest.raises(NotForDali, match=why):
        list(decode_with_dali(coded / name, (SIZE,), device="gpu"))


ON_GPU = [name for name, (_, why) in EXPECTED.items() if not why]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_GPU)
def test_nvdec_decodes(coded, name):
    """By NVDEC itself: there is no other decoder to fall back to here."""
    assert_nvdec(coded / name, FRAMES)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith(("h264", "hevc", "mpeg4.", "vfr"))])
def test_nvdec_decodes_every_kind(videos, name):
    assert_nvdec(videos / name, 120)


@pytest.mark.gpu
@pytest.mark.parametrize("name, why", [(name, why) for name, (_, why) in EXPECTED.items() if why])
def test_a_gpu_is_refused_a_video(coded, name, why):
    """Alternate reference frames, fields, 4:2:2 and the like, on the real GPU's own capabilities."""
    with pytest.raises(NotForDali, match=why):
        list(decode_with_dali(coded / name, (SIZE,), device="gpu"))


@pytest.mark.gpu
def test_the_gpu_says_what_it_decodes():
    found = decoder_choice.capabilities("gpu")
    assert not found.problem and {("h264", 8), ("hevc", 8), ("hevc", 10), ("mpeg4", 8)} <= set(found.limits)
    assert found.limits["h264", 8].max_width >= 4096 and 0 < found.limits["h264", 8].min_width <= 64


def assert_nvdec(path, frames):
    (pictures,), _, _ = decode(path)
    chunks = list(decode_with_dali(path, ((96, 128), SIZE), device="gpu"))
    on_gpu = np.concatenate([chunk.pictures[1] for chunk in chunks])
    assert [read_number(picture) for picture in on_gpu] == list(range(frames))
    assert np.abs(on_gpu.astype(int) - pictures).mean((1, 2, 3)).max() < 2
