"""Embedding: the features of clips of a few classes, on a plane (the paper's Fig. 5).

Points are clips; they are close if their pool5 features are similar in the two directions of largest variance (PCA).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from eruv_dali.actions import hmdb51, ucf101
from eruv_dali.actions.folder import list_classes
from eruv_dali.actions.lists import find_root
from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.features import video_features
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.visualize.curves import COLOURS, write_figure

MARKS = "os^DvPX"  # distinguishable without colours
ACROSS = 4  # panels per row


def principal_plane(features_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (N, 2) of features (N, D) along their two first principal components, and their shares of variance.

    A component's sign, which PCA does not determine, is chosen so that its entry of largest magnitude is positive.

    Raises:
        EruvError: fewer than three features.
    """
    if len(features_ND) < 3 or features_ND.shape[1] < 2:
        raise EruvError(f"{len(features_ND)} features of {features_ND.shape[1]} numbers do not span a plane; take more "
                        "samples")
    centred_ND = features_ND.astype(np.float64) - features_ND.mean(0, dtype=np.float64)
    left_NK, scale_K, axes_KD = np.linalg.svd(centred_ND, full_matrices=False)
    largest = np.abs(axes_KD[:2]).argmax(1)
    sign = np.where(axes_KD[[0, 1], largest] < 0, -1, 1)
    total = (scale_K**2).sum()
    return left_NK[:, :2] * scale_K[:2] * sign, scale_K[:2] ** 2 / total if total else np.zeros(2)


def class_distances(features_ND: np.ndarray, labels_N: np.ndarray) -> dict[str, float]:
    """Mean Euclidean distance of two samples of one class ("intra") and of different classes ("inter"), and "ratio" =
    inter / intra, which does not depend on the features' scale; each class, each pair of classes has equal weight."""
    x = features_ND.astype(np.float64)
    square_N = (x**2).sum(1)
    distance_NN = np.sqrt(np.maximum(square_N[:, None] + square_N - 2 * x @ x.T, 0))
    classes = np.unique(labels_N)
    members = [np.flatnonzero(labels_N == label) for label in classes]
    intra = np.mean([distance_NN[np.ix_(m, m)].sum() / (len(m) * (len(m) - 1)) for m in members])
    inter = np.mean([distance_NN[np.ix_(a, b)].mean() for n, a in enumerate(members) for b in members[:n]])
    return {"intra": float(intra), "inter": float(inter), "ratio": float(inter / intra) if intra else float("inf")}


def labelled_videos(dataset: str, root: Path, classes: Sequence[str]) -> list[list[Path]]:
    """The videos of each of `classes` in a dataset as it unpacks, sorted.

    Raises:
        EruvError: no such folder, fewer than two classes, a class that does not exist.
    """
    folder = find_root(root, {"ucf101": ucf101.FOLDER, "hmdb51": hmdb51.FOLDER, "folder": ""}[dataset])
    found = list_classes(folder)
    if len(set(classes)) < 2:
        raise EruvError(f"classes {','.join(classes)}: give at least two of {', '.join(list(found)[:10])}"
                        f"{', …' if len(found) > 10 else ''}")
    if unknown := [name for name in classes if name not in found]:
        raise EruvError(f"class {unknown[0]!r} is not in {folder}, which has {', '.join(list(found)[:10])}"
                        f"{', …' if len(found) > 10 else ''}")
    return [[folder / video for video in found[name]] for name in dict.fromkeys(classes)]


def sample_clips(
    net: Pretrained, videos: Sequence[Sequence[Path]], samples: int, *, seed: int = 0, batch_size: int = 16,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """pool5 features (N, D) of `samples` clips drawn equally from the videos of each class, and their labels (N,).

    A class with fewer videos than its share gives several clips of each, spread evenly. A seed gives the same clips for
    every network (of one clip length).

    Raises:
        EruvError: a negative seed, fewer than two samples per class; see `video_features`.
    """
    whole_number("seed", seed, least=0)
    share = samples // len(videos)
    if share < 2:
        raise EruvError(f"samples {samples} is fewer than two for each of {len(videos)} classes")
    random = np.random.default_rng(seed)
    drawn, kept, at = [], [], 0
    clips = max(-(-share // min(share, len(each))) for each in videos)  # per video, the same for all classes
    for each in videos:
        chosen = sorted(random.permutation(len(each))[:share])
        drawn += [each[place] for place in chosen]
        # One clip from every video before a second from any.
        order = np.concatenate([random.permuted(np.arange(clips)) for _ in chosen]).reshape(len(chosen), clips).T
        rows = (np.arange(len(chosen)) * clips + order).reshape(-1)[:share]
        kept.append(at + np.sort(rows))
        at += len(chosen) * clips
    features_VCD = video_features(net.backbone, drawn, clips=clips, frame_size=net.frame_size, batch_size=batch_size,
                                  device=device, title=net.init, **net.look)
    rows = np.concatenate(kept)
    labels = np.repeat(np.arange(len(videos)), [len(each) for each in kept])
    return features_VCD.reshape(-1, features_VCD.shape[-1])[rows], labels


def draw_embedding(
    networks: Sequence[tuple[str, Pretrained]], videos: Sequence[Sequence[Path]], classes: Sequence[str], out: Path, *,
    samples: int = 300, seed: int = 0, batch_size: int = 16, device: str = "auto",
) -> list[dict]:
    """Draw a panel for each network into `out` (.png), and write the distances into a .json file next to it.

    Returns:
        The JSON's entry for each network: name, init, backbone, width, "pool5" and "plane" (`class_distances` of the
        features and of the points drawn), "variance" (shares of the two components).

    Raises:
        EruvError: an unsupported file type; see `sample_clips`, `principal_plane`.
    """
    if out.suffix != ".png":
        raise EruvError(f"{out}: choose a file name that ends in .png")
    found, points = [], []
    for name, net in networks:
        features_ND, labels_N = sample_clips(net, videos, samples, seed=seed, batch_size=batch_size, device=device)
        plane_N2, variance = principal_plane(features_ND)
        points.append(plane_N2)
        found.append({"name": name, "init": net.init, "backbone": net.backbone.name, "width": net.backbone.width,
                      "pool5": class_distances(features_ND, labels_N), "plane": class_distances(plane_N2, labels_N),
                      "variance": variance.tolist()})
    _draw(found, points, labels_N, classes, out)
    record = {"classes": list(classes), "samples": len(labels_N), "seed": seed, "networks": found}
    write_text(out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    return found


def _draw(
    found: list[dict], points: list[np.ndarray], labels_N: np.ndarray, classes: Sequence[str], out: Path
) -> None:
    across, down = min(ACROSS, len(found)), -(-len(found) // ACROSS)
    figure = Figure(figsize=(max(4.6 * across, 5), 4.9 * down + 0.4),
                    layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12))
    panels = figure.subplots(down, across, squeeze=False).reshape(-1)
    for axes, network, plane_N2 in zip(panels, found, points, strict=False):
        for label, name in enumerate(classes):
            axes.scatter(*plane_N2[labels_N == label].T, s=18, alpha=0.75, linewidths=0, label=name,
                         marker=MARKS[label % len(MARKS)], color=COLOURS[label % len(COLOURS)])
        d = network["pool5"]
        axes.set_title(f"{network['name']} ({network['backbone']})\n"
                       f"distance between classes / within: {d['inter']:.3g} / {d['intra']:.3g} = {d['ratio']:.3f}",
                       fontsize=10)
        axes.set_xlabel(f"first component ({network['variance'][0]:.0%} of variance)", fontsize=9)
        axes.set_ylabel(f"second ({network['variance'][1]:.0%})", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_box_aspect(1)
        axes.set_aspect("equal", adjustable="datalim")  # the same scale on both axes
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(found):]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(classes), 6),
                  frameon=False)
    write_figure(figure, out)
