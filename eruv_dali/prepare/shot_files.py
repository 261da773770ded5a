"""Shots as files of their own: video and sound of each, copied packet by packet where the cuts allow, else encoded."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from eruv_dali.dataset.records import Record
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.shots import Shot
from eruv_dali.video.frames import rgb_picture
from eruv_dali.video.open import NO_PTS, UnusableVideo, frames_of, libav_words, open_video, packets_of
from eruv_dali.video.place import Location, locate

QUALITY = "18"  # x264's constant rate factor: no difference to be seen
IN_MP4 = {"h264", "hevc", "av1", "vp9", "mpeg4"}, {"aac", "mp3", "ac3", "opus", "alac", "flac"}  # video, sound
COPIED_FROM = ("mp4", "matroska")  # formats whose packets others can take over as they are


def write_shot_files(folder: Path, record: Record, shots: Sequence[Shot]) -> None:
    """Write each shot to folder/0000.mp4, folder/0001.mp4 ... (numbers as in shots.csv), replacing what is there.

    A shot is copied without loss if it begins with a key frame and the next frame after it is one, and no packet in
    between belongs to a frame elsewhere; otherwise it is encoded anew as H.264. Sound is always copied, from the
    first packet that begins within the shot. Videos or sounds that MP4 does not hold are written as .mkv.

    Raises:
        EruvError: the video can no longer be read or has other frames than its record, or its sound cannot be copied.
    """
    path = locate(record.note.identity.path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        to_encode = [number for number, shot in enumerate(shots) if not _copied(folder, path, record, number, shot)]
        if to_encode:
            _encode(folder, path, record, {number: shots[number] for number in to_encode})
    except (UnusableVideo, av.error.FFmpegError) as error:
        said = libav_words(error) if isinstance(error, av.error.FFmpegError) else error
        raise EruvError(f"{path}: cannot be split into shots ({said})") from None


def _copied(folder: Path, path: Location, record: Record, number: int, shot: Shot) -> bool:
    """Copy a shot, if its packets are its frames and no others."""
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
        suffix, sound = _sound(path, record, shot, stream.codec_context.codec.canonical_name)

        def write(file: BinaryIO) -> None:
            with av.open(file, "w", format=FORMATS[suffix]) as output:
                target = output.add_stream_from_template(stream)
                _mux_sound(output, sound)
                for packet in packets:
                    packet.pts, packet.dts = (packet.pts or 0) - int(pts[0]), (packet.dts or 0) - int(pts[0])
                    packet.stream = target
                    output.mux(packet)

        write_aside(folder / f"{number:04d}{suffix}", write)
    return True


FORMATS = {".mp4": "mp4", ".mkv": "matroska"}


def _encode(folder: Path, path: Location, record: Record, shots: dict[int, Shot]) -> None:
    """Encode shots (by number, in order), in one pass over the video: frames are known by counting."""
    container, stream = open_video(path, threads=2)
    with container:
        numbered = enumerate(frames_of(container, stream))
        for number, shot in shots.items():
            suffix, sound = _sound(path, record, shot, "h264")
            wanted = (frame for place, frame in numbered if place >= shot.start)
            write_aside(folder / f"{number:04d}{suffix}", partial(_encode_one, record, shot, wanted, sound, suffix))


def _encode_one(
    record: Record, shot: Shot, frames: Iterator[av.VideoFrame], sound: "Sound | None", suffix: str, file: BinaryIO
) -> None:
    facts, times = record.facts, record.times()
    tick = Fraction(1, 90000)
    with av.open(file, "w", format=FORMATS[suffix]) as output:
        stream = output.add_stream("libx264", rate=Fraction(facts.rate).limit_denominator(10**5),
                                   options={"crf": QUALITY})
        stream.width, stream.height = facts.width, facts.height
        stream.pix_fmt = "yuv444p" if facts.width % 2 or facts.height % 2 else "yuv420p"
        stream.codec_context.time_base = tick
        _mux_sound(output, sound)
        for place in range(shot.start, shot.end):
            frame = next(frames, None)
            if frame is None:
                raise EruvError(f"{record.note.identity.path}: has fewer frames than its record; run prepare again")
            if facts.rotation:
                frame = av.VideoFrame.from_ndarray(rgb_picture(frame, facts.height, facts.width), format="rgb24")
            frame = frame.reformat(facts.width, facts.height, stream.pix_fmt)
            frame.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses its own key frames
            frame.time_base, frame.pts = tick, round((times[place] - times[shot.start]) / tick)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


class Sound:
    """The packets of a file's first audio stream that begin within a shot; `close` when they have been written."""

    def __init__(
        self, container: av.container.InputContainer, stream: av.AudioStream, begin: float, end: float
    ) -> None:
        self.container, self.stream = container, stream
        opened = (container.start_time or 0) / 1e6
        tick = float(stream.time_base or 1)
        self.first, last = round((begin + opened) / tick), round((end + opened) / tick)
        container.seek(self.first, stream=stream)
        self.packets = []
        for packet in container.demux(stream):
            if packet.pts is None or packet.size == 0:
                continue
            if packet.pts >= last:
                break
            if packet.pts >= self.first:
                self.packets.append(packet)


def _sound(path: Location, record: Record, shot: Shot, video_codec: str) -> tuple[str, Sound | None]:
    """The suffix of the file to write, and the sound of a shot, if there is any."""
    times = record.times()
    container, _ = open_video(path)
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    codecs = [stream.codec_context.codec.canonical_name for stream in streams[:1]]
    suffix = ".mp4" if video_codec in IN_MP4[0] and all(codec in IN_MP4[1] for codec in codecs) else ".mkv"
    if not streams:
        container.close()
        return suffix, None
    return suffix, Sound(container, streams[0], times[shot.start], times[shot.end])


def _mux_sound(output: av.container.OutputContainer, sound: Sound | None) -> None:
    if sound is None:
        return
    with sound.container:
        target = output.add_stream_from_template(sound.stream)
        for packet in sound.packets:
            pts = (packet.pts or 0) - sound.first
            packet.pts, packet.dts = pts, pts if packet.dts is None else packet.dts - sound.first
            packet.stream = target
            output.mux(packet)
