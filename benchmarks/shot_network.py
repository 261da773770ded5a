"""Teach the network of the rule `robust` where shots end, on videos whose transitions are known.

    python benchmarks/edits.py --clips DIR … --out EDITS0 --half 0 --videos 10           and EDITS1 likewise, --half 1
    python benchmarks/shot_network.py --edits EDITS0 EDITS1 SYNTHETIC --takes DIR … --weights network.npz
    python benchmarks/shot_network.py --edits EDITS0 --half 0 --takes DIR … --weights half0.npz      to score on half 1
    python benchmarks/shots.py --videos EDITS1 --weights half0.npz --detectors robust

EDITS are folders of videos with their truth next to them, as edits.py writes them and shots.py reads them; TAKES are
folders of videos without a transition. Every video is learnt as it is and as another camera, editor or site would have
it (see `another_version`), whole and in short excerpts, as short videos and the ends of long ones are; edits also
backwards. The takes that edits.py found in its clips (EDITS/takes.json) are learnt as well. --curves keeps the curves,
which take minutes, for the next time. docs/shot-detector.md says what the network of the package was taught on.

Two numbers a frame are learnt, by cross entropy: whether it is the first one after a cut, and whether it lies within a
gradual transition. Where such a one lies, it counts less whether a cut is seen.
"""

import dataclasses
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from edits import half_of
from rich.console import Console
from rich.progress import track
from shots import VIDEOS
from torch import nn
from torch.nn import functional

from eruv_dali.errors import run_program
from eruv_dali.files import write_aside
from eruv_dali.options import Parser
from eruv_dali.prepare.scan import HOG_SIZE
from eruv_dali.shots import ShotCurves, ShotStatistics, find_shots
from eruv_dali.shots.curves import EDGE, EDGES, LAGS
from eruv_dali.shots.network import DILATIONS, features
from eruv_dali.video.decode import decode_pictures

WIDTH, KERNEL, DROPPED = 48, 5, 0.1
STEPS, BATCH, LENGTH = 4500, 32, 256  # pieces of so many frames
RATE, DECAY = 3e-3, 1e-2
SHARES = {"edits": 0.55, "takes": 0.2, "excerpts": 0.25}  # of the pieces
EXCERPTS = (10, 90)  # frames
# Added to each feature of a piece, in standard deviations: another camera, encoder or size of the picture shifts them.
SHIFT = 0.15
CUT_WEIGHT = 2.0  # of a cut, next to a frame that is none
WITHIN_GRADUAL = 0.3  # weight of the frames of a gradual transition, for cuts

VERSIONS = 2

Example = tuple[np.ndarray, np.ndarray, np.ndarray]  # (C, N) features, (2, N) truth, (2, N) weights


class Network(nn.Module):
    """(B, C, N) -> (B, 2, N) logits; the same as `eruv_dali.shots.network` computes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, WIDTH, KERNEL, padding=KERNEL // 2)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, padding=d, dilation=d) for d in DILATIONS)
        self.last = nn.Conv1d(WIDTH, 2, 1)

    def forward(self, x: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        """`known` (B, 1, N) is 1 for frames of the video, 0 beyond its end, where all layers have zeros."""
        known = torch.ones_like(x[:, :1]) if known is None else known
        x = functional.relu(self.first(x)) * known
        for layer in self.layers:
            x = (x + functional.relu(layer(functional.dropout(x, DROPPED, self.training)))) * known
        return self.last(x)


def backwards(curves: ShotCurves) -> ShotCurves:
    """The curves of the video played backwards."""
    def turned(x: np.ndarray, first: int, last: int = 0) -> np.ndarray:
        y, end = np.zeros_like(x), len(x) - last
        if end > first:
            y[first:end] = x[first:end][::-1]
        return y

    def windows(rows: np.ndarray) -> np.ndarray:
        return np.stack([turned(row, edge, edge) for row, edge in zip(rows, EDGES, strict=True)])

    def lagged(rows: np.ndarray) -> np.ndarray:
        return np.stack([turned(row, lag) for row, lag in zip(rows, LAGS, strict=True)])

    return ShotCurves(turned(curves.hog, 1), turned(curves.luminance, 1), lagged(curves.lags), lagged(curves.low),
                      turned(curves.window, EDGE, EDGE), windows(curves.window_low), windows(curves.colour),
                      np.ascontiguousarray(curves.grey[:, ::-1]))


def another_version(frames_THWC: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The video at another rate, with frames repeated or left out, and with grain, bars or other light: its frames, and
    which frame of the video each one is."""
    T, H, W, _ = frames_THWC.shape
    source = np.arange(T)
    rate = rng.choice(["as it is", "doubled", "pulldown", "half", "slower"], p=[0.3, 0.3, 0.15, 0.15, 0.1])
    if rate == "doubled":
        source = np.repeat(source, 2)
    elif rate == "pulldown":
        source = np.repeat(source, np.resize([2, 3], T))
    elif rate == "half":
        source = source[::2]
    elif rate == "slower":  # every fifth frame twice, as from 24 to 30 frames a second
        source = np.repeat(source, np.resize([1, 1, 1, 2], T))
    contrast, light = (rng.uniform(0.6, 1.3), rng.uniform(-25, 25)) if rng.random() < 0.5 else (1.0, 0.0)
    grain = rng.uniform(2, 9) if rng.random() < 0.4 else 0.4  # even repeated frames differ a little, as encoded
    down, across = np.ones((2, H, W, 1), bool)
    if rng.random() < 0.3:
        bar = int(rng.integers(4, 20))
        down[:bar], down[H - bar :] = False, False
    if rng.random() < 0.15:
        bar = int(rng.integers(4, 40))
        across[:, :bar], across[:, W - bar :] = False, False
    shown = down & across
    made = np.empty((len(source), H, W, 3), np.uint8)
    for t, number in enumerate(source):
        noise = rng.standard_normal((H, W, 1), np.float32) * np.float32(grain)
        picture = (frames_THWC[number] - 128.0) * contrast + 128 + light + noise
        made[t] = np.where(shown, np.clip(picture + 0.5, 0, 255), 16)
    return made, source


def events_shown(events: Sequence[dict], source: np.ndarray) -> list[dict]:
    """The events in a version of which `source` says which frame of the video each frame is."""
    shown = [{"a": int(np.searchsorted(source, event["a"], "right")) - 1, "b": int(np.searchsorted(source, event["b"]))}
             for event in events]
    return [event for event in shown if event["a"] >= 0 and event["b"] < len(source)]


def example(curves: ShotCurves, events: Sequence[dict]) -> Example:
    truth, weights = np.zeros((2, len(curves)), np.float32), np.ones((2, len(curves)), np.float32)
    for event in events:
        a, b = event["a"], event["b"]
        if b == a + 1:
            truth[0, b] = 1
        else:
            truth[1, a + 1 : b] = 1
            weights[0, a : b + 1] = WITHIN_GRADUAL
            weights[0, b + 1 : b + 2] = 0
    return features(curves), truth, weights


def excerpt(curves: ShotCurves, begin: int, end: int) -> ShotCurves:
    """The curves of the frames begin .. end-1 alone: what needs frames beyond them is 0."""
    def part(x: np.ndarray, first: int, last: int = 0) -> np.ndarray:
        y = x[begin:end].copy()
        y[:first] = 0
        y[max(len(y) - last, 0) :] = 0
        return y

    def windows(rows: np.ndarray) -> np.ndarray:
        return np.stack([part(row, edge, edge) for row, edge in zip(rows, EDGES, strict=True)])

    def lagged(rows: np.ndarray) -> np.ndarray:
        return np.stack([part(row, lag) for row, lag in zip(rows, LAGS, strict=True)])

    return ShotCurves(part(curves.hog, 1), part(curves.luminance, 1), lagged(curves.lags), lagged(curves.low),
                      part(curves.window, EDGE, EDGE), windows(curves.window_low), windows(curves.colour),
                      curves.grey[:, begin:end])


def excerpts(curves: ShotCurves, events: Sequence[dict], rng: np.random.Generator) -> Iterator[Example]:
    """The video in short pieces, each as if it were a video of its own."""
    _, truth, weights = example(curves, events)
    begin = 0
    while begin < len(curves):
        end = min(begin + int(rng.integers(*EXCERPTS)), len(curves))
        known = truth[:, begin:end].copy()
        known[0, 0] = 0
        yield features(excerpt(curves, begin, end)), known, weights[:, begin:end]
        begin = end


def both_ways(curves: ShotCurves, events: Sequence[dict]) -> list[Example]:
    last = len(curves) - 1
    turned = [{"a": last - event["b"], "b": last - event["a"]} for event in events]
    return [example(curves, events), example(backwards(curves), turned)]


def train(examples: Sequence[Example], *, seed: int = 0, steps: int = STEPS) -> dict[str, np.ndarray]:
    """The weights, as `eruv_dali.shots.network` reads them."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    seen = np.concatenate([x for x, _, _ in examples], 1)
    mean, deviation = seen.mean(1, keepdims=True), seen.std(1, keepdims=True) + 1e-3
    groups = [[(x - mean) / deviation, truth, weights] for x, truth, weights in examples]
    whole = {"edits": [], "takes": [], "excerpts": []}
    for group in groups:
        kind = "excerpts" if group[0].shape[1] < EXCERPTS[1] else "edits" if group[1].any() else "takes"
        whole[kind].append(group)
    whole = {kind: group for kind, group in whole.items() if group}
    network = Network(len(mean)).train()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
    more = torch.tensor([[CUT_WEIGHT], [1.0]])
    for _ in track(range(steps), "training", console=Console(stderr=True)):
        x, truth, weights, known = (torch.from_numpy(part) for part in _batch(whole, rng))
        loss = functional.binary_cross_entropy_with_logits(network(x, known), truth, reduction="none", pos_weight=more)
        loss = (loss * weights).sum() / weights.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return {"mean": mean, "deviation": deviation, **_named(network)}


def _batch(whole: dict[str, list], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Features, truth, weights, and where they are known, of BATCH pieces."""
    channels = len(next(iter(whole.values()))[0][0])
    x, truth = np.zeros((BATCH, channels, LENGTH), np.float32), np.zeros((BATCH, 2, LENGTH), np.float32)
    weights, known = np.zeros_like(truth), np.zeros((BATCH, 1, LENGTH), np.float32)
    shares = np.array([SHARES[kind] for kind in whole])
    lengths = {kind: np.array([group[0].shape[1] for group in groups], float) for kind, groups in whole.items()}
    for row in range(BATCH):
        kind = list(whole)[rng.choice(len(shares), p=shares / shares.sum())]
        parts = whole[kind][rng.choice(len(whole[kind]), p=lengths[kind] / lengths[kind].sum())]
        N = min(parts[0].shape[1], LENGTH)
        begin = rng.integers(parts[0].shape[1] - N + 1)
        for into, part in zip((x, truth, weights), parts, strict=True):
            into[row, :, :N] = part[:, begin : begin + N]
        x[row, :, :N] += rng.normal(0, SHIFT, (channels, 1))
        known[row, :, :N] = 1
    return x, truth, weights, known


def _named(network: Network) -> dict[str, np.ndarray]:
    parts = {"first": network.first, "last": network.last,
             **{f"layer{number}": layer for number, layer in enumerate(network.layers)}}
    return {name + end: value.detach().numpy() for name, part in parts.items()
            for end, value in (("", part.weight), ("_bias", part.bias))}


def versions(paths: Sequence[Path], folder: Path | None, count: int = VERSIONS
             ) -> Iterator[tuple[ShotCurves, list[dict]]]:
    """The curves and events of each video as it is, and of count - 1 other versions of it. `folder` keeps them."""
    for path in track(paths, "videos", console=Console(stderr=True)):
        kept = [folder / f"{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}_{number}.npz"
                for number in range(count)] if folder else []
        if not (kept and all(file.exists() for file in kept)):
            made = list(_decoded(path, count))
            for (curves, events), file in zip(made, kept, strict=False):
                content = {"truth": json.dumps({"events": events}), **dataclasses.asdict(curves)}
                write_aside(file, lambda stream, content=content: np.savez(stream, **content))
            yield from made
            continue
        for file in kept:
            with np.load(file) as content:
                truth = json.loads(str(content["truth"]) or "{}").get("events", [])
                yield ShotCurves(**{name: content[name] for name in content.files if name != "truth"}), truth


def _decoded(path: Path, count: int) -> Iterator[tuple[ShotCurves, list[dict]]]:
    truth = path.with_suffix(".json")
    events = json.loads(truth.read_text())["events"] if truth.exists() else []
    frames = np.concatenate([chunk.pictures[0] for chunk in decode_pictures(path, [HOG_SIZE], device="cpu", threads=2)])
    for number in range(count):
        made, source = frames, np.arange(len(frames))
        if number:
            made, source = another_version(frames, np.random.default_rng([zlib.crc32(path.name.encode()), number]))
        statistics = ShotStatistics(device="cpu")
        statistics.add(made)
        yield statistics.finish(), events_shown(events, source)


def takes_of(folders: Sequence[Path], half: int | None, kept: Path | None) -> Iterator[ShotCurves]:
    """The takes that edits.py found in the clips that it drew these folders of; with `half`, in that half of them."""
    found = {tuple(take) for folder in folders if (folder / "takes.json").exists()
             for take in json.loads((folder / "takes.json").read_text())}
    clips = sorted({Path(path) for path, *_ in found if half in (None, half_of(Path(path)))})
    for clip, (curves, _) in zip(clips, versions(clips, kept, count=1), strict=True):
        takes = (excerpt(curves, start, end) for path, start, end in sorted(found) if path == str(clip))
        yield from (take for take in takes if len(find_shots(take)) == 1)  # an older rule may have missed something


def videos_in(folders: Sequence[Path]) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--edits", type=Path, nargs="+", required=True, metavar="DIR", help="videos with their truth")
    parser.add_argument("--takes", type=Path, nargs="*", default=[], metavar="DIR", help="videos without transitions")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="to write")
    parser.add_argument("--half", type=int, choices=(0, 1), help="learn only the takes of this half of the clips")
    parser.add_argument("--curves", type=Path, metavar="DIR", help="where the videos' curves are kept")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the training (default 0)")
    args = parser.parse_args()
    if args.curves:
        args.curves.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    examples: list[Example] = []
    for curves, events in versions(videos_in(args.edits), args.curves):
        examples += [*both_ways(curves, events), *excerpts(curves, events, rng)]
    for curves, _ in versions(videos_in(args.takes), args.curves):
        examples += [example(curves, []), *excerpts(curves, [], rng)]
    for curves in takes_of(args.edits, args.half, args.curves):
        examples += [example(curves, []), *excerpts(curves, [], rng)]
    weights = train(examples, seed=args.seed)
    stored = {name: value.astype(np.float16) for name, value in weights.items()}
    write_aside(args.weights, lambda stream: np.savez(stream, **stored))
    frames = sum(x.shape[1] for x, _, _ in examples)
    print(f"{args.weights}: taught on {len(examples)} versions of videos, {frames:,} frames")


if __name__ == "__main__":
    run_program(main)
