"""Order: what a run of prepare was asked for, checked, and its videos found, before anything is written."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eruv_dali.checks import height_and_width, shown, whole_number
from eruv_dali.dataset.opened import FORMAT, LARGEST, MOST_FRAMES, SMALLEST
from eruv_dali.dataset.pack import PACK_KINDS, check_quality
from eruv_dali.dataset.records import Scan
from eruv_dali.dataset.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.device import cores, resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.prepare.export import EXPORTS
from eruv_dali.prepare.ray_workers import check_cluster
from eruv_dali.prepare.tables import Extras
from eruv_dali.shots import RULES
from eruv_dali.video.closed_groups import check_encoder
from eruv_dali.video.find import Video, find_videos
from eruv_dali.video.frames import FRAME_SIZE
from eruv_dali.video.place import locate
from eruv_dali.video.tar import TarLists

# On a GPU a video pack's encoder, x264, has one thread for each video, and describing frames stops for each chunk's
# curves. Every worker takes up to an eighth of the GPU's memory for decoded frames. NVDEC has no limit of sessions.
GPU_WORKERS = 3
TIME_LIMIT = 120.0  # seconds; the slowest frames measured (2560 x 1600 AV1 on one core) take a tenth of a second


def folder_to_write(out: str | Path) -> Path:
    """The DATASET's folder.

    Raises:
        EruvError: it is a URL.
    """
    if isinstance(place := locate(out), Path):
        return place
    raise EruvError(f"{out}: a DATASET is written to a folder of this machine; give one with --out, then copy it to "
                    "the store, as with `aws s3 sync` or `rclone copy`, and read it there")


def check_cutting(rule: str, threshold: float | None, segment_length: int, min_length: int) -> None:
    """Check how videos are cut into shots and these into segments.

    Raises:
        EruvError: no such rule, a threshold that is no finite number above 0, lengths that are no whole numbers, or
            segments that must be longer than they may be.
    """
    if rule not in RULES:
        raise EruvError(f"rule {rule!r} is not one of {', '.join(RULES)}")
    if threshold is not None and not (isinstance(threshold, int | float) and 0 < threshold < math.inf):
        raise EruvError(f"threshold {shown(threshold)} must be greater than 0, and finite")
    whole_number("segment_length", segment_length, least=1, most=MOST_FRAMES)
    if not 1 <= whole_number("min_length", min_length, least=1) <= segment_length:
        raise EruvError(f"min_length {min_length} must lie between 1 and segment_length {segment_length}")


def known_formats(export: Sequence[str] | str) -> tuple[str, ...]:
    """The formats named, each a name of EXPORTS; a single one may come by itself.

    Raises:
        EruvError: one is unknown.
    """
    names = (export,) if isinstance(export, str) else tuple(export)
    for name in names:
        if name not in EXPORTS:
            raise EruvError(f"export {name!r} is not one of {', '.join(EXPORTS)}")
    return names


def seconds(name: str, value: Any) -> float:
    """`value`, a time or duration.

    Raises:
        EruvError: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise EruvError(f"{name} {shown(value)} must be a number of seconds")
    return value


@dataclass(kw_only=True)
class Order:
    """The arguments of `prepare`, which see. `paths` and `out` come as given; the rest of the names as there.

    Attributes:
        tars: lists of what the tars among them hold.
        videos: the videos found in `paths`.
        scan: how they are decoded and packed.
        settings: what dataset.json will say.
        extras: what is written of each video beside the tables.

    Raises:
        EruvError: bad arguments, no videos, or two videos of one name.
    """

    paths: Sequence[str | Path] | str | Path
    out: Path
    device: str = "auto"
    pack: str = "video"
    rule: str = "robust"
    threshold: float | None = None
    segment_length: int = SEGMENT_LENGTH
    min_length: int = MIN_LENGTH
    frame_size: tuple[int, int] = FRAME_SIZE
    quality: int | None = None
    workers: int | None = None
    time_limit: float = TIME_LIMIT
    stats: bool = False
    export: Sequence[str] | str = ()
    add: bool = False
    remove: bool = False
    ray: str | None = None
    min_shot: int | None = None
    start: float | None = None
    end: float | None = None
    split: bool = False
    images: int = 0
    print_shots: bool = False
    tars: TarLists = field(init=False)
    videos: list[Video] = field(init=False)
    scan: Scan = field(init=False)
    settings: dict[str, Any] = field(init=False)
    extras: Extras = field(init=False)

    def __post_init__(self) -> None:
        self.device = resolve_device(self.device)
        if self.pack not in PACK_KINDS:
            raise EruvError(f"pack {self.pack!r} is not one of {', '.join(PACK_KINDS)}")
        self.frame_size = height_and_width("frame_size", self.frame_size)
        for side in self.frame_size:
            whole_number("frame_size", side, least=SMALLEST, most=LARGEST)
        check_cutting(self.rule, self.threshold, self.segment_length, self.min_length)
        if self.workers is not None:
            whole_number("workers", self.workers, least=1)
        if not seconds("time_limit", self.time_limit) > 0:
            raise EruvError(f"time_limit {self.time_limit} must be greater than 0 seconds")
        self.export = known_formats(self.export)
        if self.min_shot is not None:
            whole_number("min_shot", self.min_shot, least=1)
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None:
                seconds(name, value)
        if not 0 <= (self.start or 0) < (math.inf if self.end is None else self.end):
            raise EruvError(f"start {self.start or 0:g} must lie between 0 and the end, {self.end or 0:g} seconds")
        whole_number("images", self.images, least=0)
        if self.ray is not None:
            check_cluster(self.ray)
        if self.add and self.remove:
            raise EruvError("add and remove cannot both be set; one keeps the videos not given, the other removes "
                            "them")
        self.tars = TarLists(Path(self.out) / "tars")
        self.videos = find_videos(self.paths, self.tars, written=Path(self.out))
        if self.ray is not None:  # other nodes have other working folders
            self.out = self.out.absolute()
            self.videos = [Video(video.name, video.path.absolute()) for video in self.videos]
        self.scan = Scan(*self.frame_size, self.pack, check_quality(self.pack, self.quality))
        if self.pack == "video":
            check_encoder()
        self.settings = {
            "format": FORMAT, **asdict(self.scan), "rule": self.rule, "threshold": self.threshold,
            "segment_length": self.segment_length, "min_length": self.min_length, "min_shot": self.min_shot,
            "start": self.start, "end": self.end,
        }
        self.extras = Extras(self.stats, self.export, self.split, self.images, self.print_shots)

    @property
    def processes(self) -> int:
        """How many work on this machine: those asked for, or one per core, and on a GPU at most GPU_WORKERS."""
        return self.workers or (min(GPU_WORKERS, cores()) if self.device == "gpu" else cores())

    def shortest(self, known: dict | None) -> int:
        """Videos with fewer frames count as unusable, by these settings or by those the DATASET was made with."""
        return min(self.min_length, (known or self.settings).get("min_length", self.min_length))
