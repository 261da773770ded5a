"""Shots as files of their own: video and sound of each, copied packet by packet where the cuts allow, else encoded."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np

from eruv_dali.console import warn
from eruv_dali.dataset.records import Record
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.shots import Shot
from eruv_dali.video.frames import VideoFacts
from eruv_dali.video.open import NO_PTS, UnusableVideo, frames_of, libav_words, open_video, packets_of
from eruv_dali.video.place import Location, locate

QUALITY = "18"  # x264's constant rate factor: no difference to be seen
IN_MP4 = {"h264", "hevc", "av1", "vp9", "mpeg4"}, {"aac", "mp3", "ac3", "opus", "alac", "flac"}  # video, sound
COPIED_FROM = ("mp4", "matroska")  # formats whose packets others can take over as they are
UNSAID = (0, 2, 3)  # RGB, of which we make YUV, or reserved; not specified; reserved
FORMATS = {".mp4": "mp4", ".mkv": "matroska"}


def write_shot_files(folder: Path, record: Record, shots: Sequence[Shot]) -> None:
    """Write each shot to folder/0000.mp4, folder/0001.mp4 ... (numbers as in shots.csv), replacing what is there.

    A shot is copied without loss if it begins with a key frame and the next frame after it is one, and no packet in
    between belongs to a frame elsewhere; otherwise it is encoded anew as H.264. Sound is always copied, from the
    first packet that begins within the shot. Videos or sounds that MP4 does not hold are written as .mkv; where that
    does not hold them either, the video is encoded and the sound left out, with a warning.

    Raises:
        EruvError: the video can no longer be read or has other frames than its record, or it or its sound cannot be
            written.
    """
    path = locate(record.note.identity.path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        sound_in = _sound_in(path, record) if shots else []
        to_encode = [number for number, shot in enumerate(shots)
                     if not _copied(folder, path, record, number, shot, sound_in)]
        if to_encode:
            _encode(folder, path, record, {number: shots[number] for number in to_encode}, sound_in)
    except EruvError:
        raise
    except (UnusableVideo, av.error.FFmpegError, ValueError) as error:  # PyAV's own refusals are ValueErrors
        raise EruvError(f"{path}: cannot be split into shots ({libav_words(error)})") from None


def _copied(
    folder: Path, path: Location, record: Record, number: int, shot: Shot, sound_in: Sequence[str]
) -> bool:
    """Copy a shot, if its packets are its frames and no others, and a file of ours holds them."""
    frames, N = record.frames, len(record.frames)
    if not frames["key"][shot.start] or (shot.end < N and not frames["key"][shot.end]) or record.note.remark:
        return False
    pts = np.sort(frames["pts"][shot.start : shot.end])
    if pts[0] == NO_PTS:
        return False
    container, stream = open_video(path)
    with container:
        if not any(name in container.format.name for name in COPIED_FROM):
            return False
        container.seek(int(pts[0]), stream=stream)
        packets: list[av.Packet] = []
        for packet in packets_of(container, stream):
            if packet.size == 0 or packet.pts is None or packet.dts is None or packet.is_discard:
                continue
            if packet.is_keyframe and (packet.pts > pts[-1] or packets and packet.pts < pts[0]):
                break
            if packets or packet.pts == pts[0]:
                packets.append(packet)
        if sorted(packet.pts or 0 for packet in packets) != pts.tolist():
            return False
        suffix = _suffix(stream.codec_context.codec.canonical_name, sound_in)
        if not _holds(suffix, stream):
            return False

        def write(sound: Sound | None, file: BinaryIO) -> None:
            with av.open(file, "w", format=FORMATS[suffix]) as output:
                target = output.add_stream_from_template(stream, opaque=True)  # there may be no encoder of its codec
                _mux_sound(output, sound)
                for packet in packets:
                    packet.pts, packet.dts = (packet.pts or 0) - int(pts[0]), (packet.dts or 0) - int(pts[0])
                    packet.stream = target
                    output.mux(packet)

        with _sound(path, record, shot, sound_in) as sound:
            write_aside(folder / f"{number:04d}{suffix}", partial(write, sound))
    return True


def _encode(folder: Path, path: Location, record: Record, shots: dict[int, Shot], sound_in: Sequence[str]) -> None:
    """Encode shots (by number, in order), in one pass over the video: frames are known by counting."""
    suffix = _suffix("h264", sound_in)
    container, stream = open_video(path, threads=2)
    with container:
        numbered = enumerate(frames_of(container, stream))
        for number, shot in shots.items():
            wanted = (frame for place, frame in numbered if place >= shot.start)
            with _sound(path, record, shot, sound_in) as sound:
                write_aside(folder / f"{number:04d}{suffix}",
                            partial(_encode_one, record, shot, stream, wanted, sound, suffix))


def _encode_one(
    record: Record, shot: Shot, source: av.VideoStream, frames: Iterator[av.VideoFrame], sound: "Sound | None",
    suffix: str, file: BinaryIO,
) -> None:
    facts, times = record.facts, record.times()
    tick = Fraction(1, 90000)
    with av.open(file, "w", format=FORMATS[suffix]) as output:
        stream = output.add_stream("libx264", rate=Fraction(facts.rate).limit_denominator(10**5),
                                   options={"crf": QUALITY})
        stream.width, stream.height = facts.width, facts.height
        stream.pix_fmt = "yuv444p" if facts.width % 2 or facts.height % 2 else "yuv420p"
        stream.codec_context.time_base = tick
        for place in range(shot.start, shot.end):
            decoded = next(frames, None)
            if decoded is None:
                raise EruvError(f"{record.note.identity.path}: has fewer frames than its record; run prepare again")
            frame = _upright(decoded, facts, stream.pix_fmt)
            if place == shot.start:
                _tag(stream.codec_context, source, frame, facts)
                _mux_sound(output, sound)  # only now: it makes libav open the encoder
            frame.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses its own key frames
            frame.time_base, frame.pts = tick, round((times[place] - times[shot.start]) / tick)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def _upright(frame: av.VideoFrame, facts: VideoFacts, pix_fmt: str) -> av.VideoFrame:
    """A frame as it is encoded. It is turned plane by plane, not as RGB, so that its colours stay as they are meant."""
    size = (facts.height, facts.width) if facts.rotation % 180 else (facts.width, facts.height)
    frame = frame.reformat(*size, pix_fmt)
    if not facts.rotation:
        return frame
    turned = av.VideoFrame(facts.width, facts.height, pix_fmt)
    for lying, upright in zip(frame.planes, turned.planes, strict=True):
        before, after = (np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            : plane.height, : plane.width] for plane in (lying, upright))
        after[:] = np.rot90(before, facts.rotation // 90)
    turned.colorspace, turned.color_range = frame.colorspace, frame.color_range
    return turned


def _tag(
    encoder: av.VideoCodecContext, source: av.VideoStream, frame: av.VideoFrame, facts: VideoFacts
) -> None:
    """Say of what is encoded how its colours are meant and which shape its pixels have, as `source` says it."""
    shape = source.sample_aspect_ratio
    if shape:
        encoder.sample_aspect_ratio = 1 / shape if facts.rotation % 180 else shape
    encoder.color_range = frame.color_range
    said = source.codec_context
    for name, value in (("colorspace", frame.colorspace), ("color_primaries", said.color_primaries),
                        ("color_trc", said.color_trc)):
        if value not in UNSAID:
            setattr(encoder, name, value)


class Sound(NamedTuple):
    """The packets of an audio stream that begin within a shot, from the time stamp `first` on."""

    stream: av.AudioStream
    first: int
    packets: list[av.Packet]


@contextmanager
def _sound(path: Location, record: Record, shot: Shot, sound_in: Sequence[str]) -> Iterator[Sound | None]:
    """The sound of a shot, for as long as its file is open; None if there is none that our files hold."""
    if not sound_in:
        yield None
        return
    times = record.times()
    container, _ = open_video(path)
    with container:
        stream = _audio(container)[0]
        opened, tick = (container.start_time or 0) / 1e6, float(stream.time_base or 1)
        first, last = (round((times[place] + opened) / tick) for place in (shot.start, shot.end))
        container.seek(first, stream=stream)
        packets: list[av.Packet] = []
        for packet in packets_of(container, stream):
            if packet.pts is None or packet.size == 0:
                continue
            if packet.pts >= last:
                break
            if packet.pts >= first:
                packets.append(packet)
        yield Sound(stream, first, packets)


def _audio(container: av.container.InputContainer) -> list[av.AudioStream]:
    return [stream for stream in container.streams.audio if stream.codec_context is not None]


def _sound_in(path: Location, record: Record) -> list[str]:
    """The suffixes of the files that hold the sound of a video, its first audio stream; none: there is none to keep."""
    container, _ = open_video(path)
    with container:
        streams = _audio(container)[:1]
        if not streams:
            return []
        codec = streams[0].codec_context.codec.canonical_name
        held = [suffix for suffix in FORMATS if (suffix != ".mp4" or codec in IN_MP4[1]) and _holds(suffix, streams[0])]
    if ".mkv" not in held:  # which also holds what mp4 does, and any video that we encode
        warn(f"{record.note.video}: the files of --split are without its sound ({codec}), which mp4 and mkv cannot "
             "hold")
        return []
    return held


def _suffix(video_codec: str, sound_in: Sequence[str]) -> str:
    """The suffix of a file for video of this codec and the sound, if there is any."""
    return ".mp4" if video_codec in IN_MP4[0] and (not sound_in or ".mp4" in sound_in) else ".mkv"


def _holds(suffix: str, stream: av.VideoStream | av.AudioStream) -> bool:
    """Whether a file of this suffix takes a stream's packets as they are: only libav knows."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()  # writes the header
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _mux_sound(output: av.container.OutputContainer, sound: Sound | None) -> None:
    if sound is None:
        return
    target = output.add_stream_from_template(sound.stream)
    for packet in sound.packets:
        pts = (packet.pts or 0) - sound.first
        packet.pts, packet.dts = pts, pts if packet.dts is None else packet.dts - sound.first
        packet.stream = target
        output.mux(packet)
