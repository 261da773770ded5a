"""A video is converted by its own tag, on both devices: what DALI makes by BT.601 is corrected to what PyAV makes."""

import io

import av
import numpy as np
import nvidia.dali as dali
import pytest
from av.video.reformatter import Colorspace
from decoded import decode
from nvidia.dali import fn, types
from test_uncropped import filtered, frames_of, written

from eruv_dali.video.colour import MEANS_BT601, WEIGHTS, colour_of, from_bt601
from eruv_dali.video.decode_nvdec import decode_with_dali
from eruv_dali.video.frames import ACCURATE, SCALING, rgb_picture
from eruv_dali.video.index import index_video
from eruv_dali.video.original_pictures import original_pictures
from eruv_dali.video.reader import FrameReader

SPACES = {1: Colorspace.ITU709, 7: Colorspace.SMPTE240M, 4: Colorspace.FCC}
CLOSE = 2 if ACCURATE else 5  # PyAV 17 converts less accurately


def patches(matrix, full, size=(64, 96)):
    """A 4:2:0 frame of even patches, moderate in colour, whose tag says this."""
    random = np.random.default_rng(0)
    frame = av.VideoFrame(size[1], size[0], "yuv420p")
    for plane, low, high in zip(frame.planes, (60, 100, 100), (190, 157, 157), strict=True):
        step = 16 if plane.width == size[1] else 8
        small = random.integers(low, high, (plane.height // step, plane.width // step), dtype=np.uint8)
        values = np.zeros((plane.height, plane.line_size), np.uint8)
        values[:, : plane.width] = np.kron(small, np.ones((step, step), np.uint8))
        plane.update(values.tobytes())
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def middles(picture):
    return picture[8::16, 8::16].astype(int)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [*MEANS_BT601, *WEIGHTS])
def test_correcting_bt601_gives_what_pyav_makes_of_the_tag(matrix, full):
    want = middles(rgb_picture(patches(matrix, full), 64, 96))
    by_601 = middles(rgb_picture(patches(5, full), 64, 96))
    corrected = np.clip(np.rint(by_601 @ from_bt601(matrix).T), 0, 255)
    assert np.abs(corrected - want).max() <= CLOSE
    assert (np.abs(by_601 - want).max() > 5) == (matrix in WEIGHTS and matrix != 4)  # FCC is nearly BT.601


def test_a_tag_that_swscale_refuses_has_no_matrix():
    for matrix in range(20):
        try:
            rgb_picture(patches(matrix, False), 64, 96)
        except av.error.FFmpegError:
            assert from_bt601(matrix) is None, matrix
        else:
            assert from_bt601(matrix) is not None, matrix


def test_white_and_grey_stay_as_they_are():
    for matrix in WEIGHTS:
        assert np.allclose(from_bt601(matrix).sum(1), 1, atol=1e-6)


def tagged(path, matrix, full=False, codec="libvpx-vp9"):
    """A video of the patches whose stream is tagged so."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 2_000_000
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for number in range(10):
            frame = patches(matrix, full)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("matrix, full, codec, name",
                         [(1, False, "libx264", "a.mp4"), (1, True, "libx264", "a.mkv"), (6, True, "libx265", "a.mp4"),
                          (9, False, "libx265", "a.mkv"), (1, False, "libvpx-vp9", "a.webm")])
def test_the_tag_is_read_from_stream_and_frame(tmp_path, matrix, full, codec, name):
    with av.open(str(tagged(tmp_path / name, matrix, full, codec))) as container:
        frame = next(container.decode(video=0))
        assert colour_of(container.streams.video[0].codec_context) == colour_of(frame) == (matrix, full)
    cut = FrameReader().slice(tmp_path / name, index_video(tmp_path / name)[0], np.arange(3))
    assert np.array_equal(cut.correction, from_bt601(matrix))


@pytest.mark.parametrize("matrix", [1, 5])
def test_dali_shows_a_tagged_video_as_pyav_does(tmp_path, matrix):
    """DALI's decoder on the CPU takes BT.601 for every VP9 video, as its decoder on a GPU does."""
    path = tagged(tmp_path / "a.webm", matrix)
    ((want,), _, _), size = decode(path, ((64, 96),)), ((64, 96),)
    difference = np.abs(middles(np.concatenate([chunk.pictures[0] for chunk in decode_with_dali(
        path, size, device="cpu")])[0]) - middles(want[0]))
    assert difference.max() <= CLOSE + 1  # the decoder rounds each of its steps


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_what_is_cropped_never_shows_in_the_pictures(tmp_path, codec):
    """DALI's graph on all that is coded, as libavcodec decodes it from a slice, against the CPU's pictures."""
    path = filtered(written(tmp_path, codec, (180, 320)), (64, 40, 30, 50), "cropped.mp4")
    index, wanted, size = index_video(path)[0], np.array([2, 9]), (56, 75)
    cut = FrameReader().slice(path, index, wanted)
    coded = [frame.reformat(format="rgb24", interpolation=SCALING, threads=1).to_ndarray()
             for frame in frames_of(io.BytesIO(cut.data))]

    @dali.pipeline_def(batch_size=2, num_threads=1, device_id=None, exec_dynamic=True, prefetch_queue_depth=1)
    def graph():
        frames = fn.external_source(name="frames", ndim=4, dtype=types.UINT8, layout="FHWC")
        shown = fn.external_source(name="shown", ndim=1, dtype=types.INT32)
        colour = fn.external_source(name="correction", ndim=2, dtype=types.FLOAT)
        return original_pictures(frames, shown, colour, size)

    pipeline = graph()
    top, left, bottom, right = cut.shown
    whole = 255 - np.stack([coded[place] for place in cut.positions])  # around what is shown, as different as can be
    whole[:, top:bottom, left:right] = 255 - whole[:, top:bottom, left:right]
    other = np.array([0, 0, 192, 320], np.int32)  # another video of the batch, of which all is shown
    pipeline.feed_input("frames", [whole, whole])
    pipeline.feed_input("shown", np.stack([cut.shown, other]))
    pipeline.feed_input("correction", np.stack([cut.correction, cut.correction]))
    pipeline.schedule_run()
    (out,) = pipeline.outputs()
    want = FrameReader().read(path, index, wanted, *size)
    difference = np.abs(np.array(out[0]).astype(int) - want)
    assert difference.mean() < (0.5 if ACCURATE else 2) and np.percentile(difference, 99) <= CLOSE + 1
    assert np.abs(np.array(out[1]).astype(int) - want).mean() > 10
