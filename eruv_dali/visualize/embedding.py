"""Embedding (the paper's Fig. 5): do clips of one class lie together in the space of pool5 features?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eruv_dali.actions import ActionSplit
from eruv_dali.errors import EruvError
from eruv_dali.features import video_features
from eruv_dali.files import write_text
from eruv_dali.pretrained import Pretrained
from eruv_dali.visualize.curves import COLOURS, write_figure

MARKERS = "osD^vP*X<>"


def draw_embedding(
    split: ActionSplit, networks: Sequence[Pretrained], out: Path, *, classes: Sequence[str] | None = None,
    samples: int = 300, device: str = "auto",
) -> list[dict[str, Any]]:
    """Draw the two main axes (PCA) of the pool5 features of some classes' clips, a panel for each network.

    Args:
        split: whose test videos are shown; training videos too, where they are too few.
        networks: side by side in one figure.
        out: the .png file; the distances go into a .json beside it.
        classes: names (default: the first three).
        samples: clips in all, as many of each class as can be had.
        device: "auto", "gpu" or "cpu".

    Returns:
        For each network {"init", "backbone", "samples", "intra", "inter", "ratio"}: the mean distance between clips of
        one class and of two, between features scaled to length 1 (0 to 2), and inter / intra.

    Raises:
        EruvError: another kind of file, unknown classes, too few samples.
    """
    if out.suffix != ".png":
        raise EruvError(f"{out}: name a file that ends in .png")
    classes = list(classes or split.classes[:3])
    if unknown := [name for name in classes if name not in split.classes]:
        raise EruvError(f"class {unknown[0]!r} is not one of {', '.join(split.classes)}")
    if samples < 2 * len(classes) or len(classes) < 2:
        raise EruvError(f"{samples} samples of {len(classes)} classes are too few; take two classes and two of each")
    videos, labels, clips = _chosen(split, classes, samples)
    figure = Figure(figsize=(5 * len(networks), 5), layout="constrained")
    found = []
    for axes, net in zip(figure.subplots(1, len(networks), squeeze=False)[0], networks, strict=True):
        features_VCD = video_features(net.backbone, videos, clips=clips, device=device, frame_size=net.frame_size,
                                      **net.look)
        features_ND = features_VCD.reshape(-1, features_VCD.shape[-1])
        label_N = np.repeat(labels, clips)
        keep = np.concatenate([np.flatnonzero(label_N == k)[: samples // len(classes)] for k in range(len(classes))])
        features_ND, label_N = features_ND[keep], label_N[keep]
        intra, inter = distances(features_ND, label_N)
        points_N2 = project(features_ND)
        for k, name in enumerate(classes):
            axes.scatter(*points_N2[label_N == k].T, s=16, alpha=0.75, color=COLOURS[k % len(COLOURS)],
                         marker=MARKERS[k % len(MARKERS)], label=name, linewidths=0)
        name = "random weights" if net.init == "none" else Path(net.init).parent.name
        axes.set_title(f"{net.backbone.name}, {name}\nwithin {intra:.3f}, between {inter:.3f}: × {inter / intra:.2f}",
                       fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.legend(fontsize=8, frameon=False)
        found.append({"init": net.init, "backbone": net.backbone.name, "samples": len(keep), "intra": intra,
                      "inter": inter, "ratio": inter / intra})
    write_figure(figure, out)
    write_text(out.with_suffix(".json"), json.dumps({"classes": classes, "networks": found}, indent=1) + "\n")
    return found


def project(features_ND: np.ndarray) -> np.ndarray:
    """PCA to (N, 2). Of the two directions that an axis could have, the one whose largest weight is positive."""
    centred = features_ND - features_ND.mean(0)
    _, _, axes_KD = np.linalg.svd(centred, full_matrices=False)
    axes_2D = axes_KD[:2]
    largest = np.take_along_axis(axes_2D, np.abs(axes_2D).argmax(1)[:, None], 1)
    return centred @ (axes_2D * np.sign(largest)).T


def distances(features_ND: np.ndarray, label_N: np.ndarray) -> tuple[float, float]:
    """The mean Euclidean distance between two of one class, and between two of different classes, at length 1."""
    unit = features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), 1e-12)
    apart = np.sqrt(np.maximum(2 - 2 * (unit @ unit.T), 0))
    same = label_N[:, None] == label_N[None]
    others = ~np.eye(len(unit), dtype=bool)
    return float(apart[same & others].mean()), float(apart[~same].mean())


def _chosen(split: ActionSplit, classes: Sequence[str], samples: int) -> tuple[list[Path], np.ndarray, int]:
    """Videos, their places in `classes`, and how many clips of each give `samples` in all."""
    videos, labels = [], []
    for k, name in enumerate(classes):
        label = split.classes.index(name)
        of_class = [path for path, other in [*split.test, *split.train] if other == label]
        some = of_class[: -(-samples // len(classes))]
        videos += some
        labels += [k] * len(some)
    fewest = min(labels.count(k) for k in range(len(classes)))
    return videos, np.array(labels), max(1, -(-samples // (len(classes) * fewest)))
