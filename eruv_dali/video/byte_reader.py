"""Decode wanted frames of MP4 and MOV files from byte ranges, with libavcodec alone: no container is opened."""

from collections import OrderedDict, deque
from collections.abc import Iterator

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from eruv_dali.video.byte_slice import StreamHeader, needed_packets, stream_header
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.place import Location

# Of these, real files were compared with decoding through the container. MPEG-4 of one file came out otherwise.
CODECS = ("h264", "hevc")
PIXELS = ("yuv420p", "yuvj420p", "yuv420p10le")
# Decoders that can skip a frame which no other needs (usually a B-frame) without decoding it, at no loss.
# Not HEVC: its non-reference pictures may still be referenced by a higher temporal layer.
SKIP_CODECS = ("h264", "mpeg4", "mpeg2video", "vp8")

OPEN_DECODERS = 16


class ByteReader:
    """Decodes selected frames. One per thread.

    Attributes:
        bytes: of packets read so far.
    """

    def __init__(self) -> None:
        self._decoders: OrderedDict[StreamHeader, VideoCodecContext] = OrderedDict()
        self.bytes = 0

    def frames(self, path: Location, index: FrameIndex, wanted: np.ndarray) -> Iterator[av.VideoFrame] | None:
        """The wanted frames (ascending, no repeats), in order; it ends early where one is missing. None: this file has
        to be read through its container.

        Raises:
            UnusableVideo: the file cannot be opened.
        """
        if index.offset is None:
            return None
        header = stream_header(path)
        if header.codec not in CODECS or header.pixels not in PIXELS or header.rotation:
            return None
        found = needed_packets(path, index, wanted)
        if found is None:
            return None
        numbers, order, packets = found
        self.bytes += sum(map(len, packets))
        return self._decode(self._decoder(header), numbers[order].tolist(), packets, wanted.tolist())

    def _decode(
        self, codec: VideoCodecContext, numbers: list[int], packets: list[bytes], wanted: list[int]
    ) -> Iterator[av.VideoFrame]:
        can_skip, needed, left = codec.name in SKIP_CODECS, set(wanted), deque(wanted)
        skipping = False
        for number, data in zip([*numbers, -1], [*packets, None], strict=True):
            if can_skip and skipping != (number >= 0 and number not in needed):
                skipping = not skipping
                codec.skip_frame = "NONREF" if skipping else "DEFAULT"
            packet = av.Packet(data) if data is not None else None
            if packet is not None:
                packet.pts = number  # the decoder hands it on to the frame
            for frame in codec.decode(packet):
                if frame.pts is None or frame.pts < left[0]:
                    continue
                if frame.pts > left.popleft():
                    return
                yield frame
                if not left:
                    return

    def _decoder(self, header: StreamHeader) -> VideoCodecContext:
        """A decoder of this kind of stream, ready for a key frame."""
        if header in self._decoders:
            self._decoders.move_to_end(header)
            known = self._decoders[header]
            known.flush_buffers()
            known.skip_frame = "DEFAULT"
            return known
        codec = av.CodecContext.create(header.codec, "r")
        assert isinstance(codec, VideoCodecContext)
        codec.thread_type = "NONE"
        codec.extradata = header.private or None
        codec.codec_tag = header.tag
        codec.width, codec.height = header.width, header.height
        codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc = header.colours
        self._decoders[header] = codec
        while len(self._decoders) > OPEN_DECODERS:
            self._decoders.popitem(last=False)
        return codec
