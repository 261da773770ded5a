"""The list of peers: for each form of the videos, how each peer's contender is made."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from peers.data_loader import DataLoaderPeer
from peers.files import Files
from peers.jpeg import opencv_jpeg_decoder, simplejpeg_decoder, torchcodec_jpeg_decoder, torchvision_jpeg_decoder
from peers.on_gpu import DaliReaderPeer, GpuPeer, pynvvideocodec, spdl_nvdec, torchcodec_cuda
from peers.raw import memmap_reader
from peers.spdl_video import SpdlPeer, spdl_decoder
from peers.video import Decode, decord_decoder, opencv_decoder, pyav_decoder, torchcodec_decoder


class Peer(NamedTuple):
    """How a peer is made.

    Attributes:
        contender: (files, device) → something with `batches(requests)` and `close()`.
        decoder: makes its function from a PeerClip to frames, to find what it cannot read; None: it needs a GPU.
    """

    contender: Callable[[Files, str], Any]
    decoder: Callable[[], Decode] | None


def _loaded(make: Callable[[], Decode]) -> Peer:
    return Peer(partial(DataLoaderPeer, make), make)


def _video(resize: bool) -> dict[str, Peer]:
    decoders = {"pyav": pyav_decoder, "opencv": opencv_decoder, "decord": decord_decoder,
                "torchcodec": torchcodec_decoder}
    return {
        **{name: _loaded(partial(make, resize)) for name, make in decoders.items()},
        "spdl": Peer(partial(SpdlPeer, resize), partial(spdl_decoder, resize)),
        "torchcodec-cuda": Peer(partial(GpuPeer, torchcodec_cuda, 1), None),
        "spdl-nvdec": Peer(partial(GpuPeer, spdl_nvdec, 4), None),
        "pynvvideocodec": Peer(partial(GpuPeer, pynvvideocodec, 1), None),
        "dali-reader": Peer(DaliReaderPeer, None),
    }


PEERS: dict[str, dict[str, Peer]] = {
    "originals": _video(resize=True),
    "copies": _video(resize=False),
    "jpeg": {"simplejpeg": _loaded(simplejpeg_decoder), "opencv": _loaded(opencv_jpeg_decoder),
             "torchcodec": _loaded(torchcodec_jpeg_decoder), "torchvision": _loaded(torchvision_jpeg_decoder)},
    "raw": {"memmap": _loaded(memmap_reader)},
}
NAMES = list(dict.fromkeys(name for peers in PEERS.values() for name in peers))
