"""Pictures of what was learnt: neighbours, attention, embedding."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from eruv_dali.actions import read_split
from eruv_dali.errors import EruvError
from eruv_dali.models import build_backbone, save_backbone
from eruv_dali.pretrained import load_pretrained
from eruv_dali.visualize.attention import attention, draw_attention, overlay
from eruv_dali.visualize.embedding import distances, draw_embedding, project
from eruv_dali.visualize.neighbours import draw_neighbours


def program(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def actions(tmp_path_factory) -> Path:
    """Two classes of four videos: red squares that go right, blue ones that go down, each from another place."""
    root = tmp_path_factory.mktemp("actions")
    for name, colour, (dy, dx) in (("right", (220, 20, 20), (0, 3)), ("down", (20, 20, 220), (3, 0))):
        (root / name).mkdir()
        for number in range(4):
            with av.open(str(root / name / f"{number}.mp4"), "w") as container:
                stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
                stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
                for t in range(20):
                    frame = np.full((64, 96, 3), 128, np.uint8)
                    top, left = 3 * number + t * dy // 2, 20 + 4 * number + t * dx
                    frame[top : top + 12, left : left + 12] = colour
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode())
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A RUN folder with a small backbone and what it sees."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    save_backbone(build_backbone("r3d", width=4), folder / "backbone.pt")
    (folder / "config.yaml").write_text("data:\n  crop: 32\n  frame_size: [32, 48]\n")
    return folder


def test_neighbours_of_a_retrieval(actions, run, tmp_path):
    out = tmp_path / "retrieval"
    done = program("eruv_dali.retrieve", "--dataset", "folder", "--root", actions, "--init", run, "--out", out,
                   "--clips", 2, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "neighbours.json").read_text())
    done = program("eruv_dali.visualize", "neighbours", out, "--out", tmp_path / "page.html", "--k", 2)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    queries = record["queries"]
    assert page.count('class="query"') == len(queries)
    marked = [neighbour["hit"] for query in queries for neighbour in query["neighbours"][:2]]
    assert (page.count('class="hit"'), page.count('class="miss"')) == (sum(marked), len(marked) - sum(marked))
    assert page.count("data:image/webp;base64,") == len(queries) + len(marked)
    assert "src=\"http" not in page and "<script" not in page
    hits = sum(any(n["hit"] for n in query["neighbours"][:2]) for query in queries)
    assert f"{len(queries)} queries, {hits} with a hit among their 2 nearest" in done.stdout


def test_neighbours_say_what_is_wrong(tmp_path):
    with pytest.raises(EruvError, match="no neighbours.json here"):
        draw_neighbours(tmp_path, tmp_path / "page.html")
    (tmp_path / "neighbours.json").write_text("{}")
    with pytest.raises(EruvError, match="not what retrieve writes"):
        draw_neighbours(tmp_path, tmp_path / "page.html")
    with pytest.raises(EruvError, match="ends in .html"):
        draw_neighbours(tmp_path, tmp_path / "page.png")


class Excited(torch.nn.Module):
    """Its one feature map is bright in one corner, in the second half of the clip."""

    def feature_maps(self, x_BCTHW):
        maps = torch.zeros(len(x_BCTHW), 5, 2, 4, 4)
        maps[:, 2, 1, 3, 0] = -2.0
        return maps


def test_attention_is_where_and_when_the_maps_are_excited():
    maps = attention(Excited(), torch.zeros(2, 3, 16, 32, 32))
    assert maps.shape == (2, 16, 32, 32) and maps.min() == 0 and maps.max() == 1
    t, y, x = np.unravel_index(int(maps[0].argmax()), maps[0].shape)
    assert t >= 12 and y >= 28 and x <= 3
    assert maps[0, :, :, 16:].max() == 0 and maps[0, 0].max() == 0  # not elsewhere, and not at the start
    frame = np.full((32, 32, 3), 90, np.uint8)
    drawn = overlay(frame, maps[0, 15].numpy()).astype(int)
    assert drawn[31, 0].sum() > drawn[0, 31].sum() + 200


@pytest.mark.parametrize("kind", ["png", "gif", "mp4"])
def test_attention_as_a_strip_and_in_motion(actions, run, tmp_path, kind):
    out = tmp_path / f"attention.{kind}"
    networks = [load_pretrained(run), load_pretrained(run)]
    draw_attention(actions / "right" / "0.mp4", networks, out)
    if kind == "png":
        assert Image.open(out).width > 800
    elif kind == "gif":
        picture = Image.open(out)
        assert picture.n_frames == 16 and picture.size == (3 * 32, 32)
    else:
        with av.open(str(out)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 16 and frames[0].shape == (32, 96, 3)
        red = frames[0][..., 0].astype(int) - frames[0][..., 2]
        assert red[:, :32].max() > 100  # the frame itself comes first


def test_attention_refuses_what_it_cannot_draw(actions, run, tmp_path):
    video = actions / "right" / "0.mp4"
    for arguments, message in (
        ((video, [load_pretrained(run)], tmp_path / "x.jpg"), "ends in .png, .gif, .mp4"),
        ((video, [load_pretrained(run), load_pretrained("none", width=4)], tmp_path / "x.png"), "sees 112 pixels"),
        ((tmp_path / "absent.mp4", [load_pretrained(run)], tmp_path / "x.png"), "absent.mp4"),
    ):
        with pytest.raises(EruvError, match=message):
            draw_attention(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_projection_and_distances():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(50, 2)) * (5, 1)
    turned = np.linalg.qr(rng.normal(size=(20, 20)))[0][:, :2]
    points = project(flat @ turned.T + 7)
    wanted = flat - flat.mean(0)
    np.testing.assert_allclose(np.abs(np.corrcoef(points[:, 0], wanted[:, 0])[0, 1]), 1, atol=0.01)
    np.testing.assert_allclose(points.std(0), np.linalg.svd(wanted)[1] / np.sqrt(50), rtol=1e-6)
    np.testing.assert_array_equal(points, project(flat @ turned.T + 7))
    two = np.array([[1.0, 0], [3, 0], [0, 2], [0, 1]])
    assert distances(two, np.array([0, 0, 1, 1])) == pytest.approx((0, 2**0.5))


def test_embedding_of_two_classes(actions, run, tmp_path):
    split = read_split("folder", actions, test_fraction=0.5)
    found = draw_embedding(split, [load_pretrained(run), load_pretrained(run)], tmp_path / "e.png",
                           classes=["right", "down"], samples=12, device="cpu")
    assert [net["samples"] for net in found] == [12, 12] and found[0]["intra"] == found[1]["intra"]
    assert found[0]["ratio"] > 1.0  # red and blue are told apart by any weights
    assert json.loads((tmp_path / "e.json").read_text()) == {"classes": ["right", "down"], "networks": found}
    assert Image.open(tmp_path / "e.png").width > 900
    with pytest.raises(EruvError, match="class 'up' is not one of down, right"):
        draw_embedding(split, [load_pretrained(run)], tmp_path / "x.png", classes=["up", "down"])


def test_the_programs_draw_and_print(actions, run, tmp_path):
    done = program("eruv_dali.visualize", "embedding", "--dataset", "folder", "--root", actions, "--init", run, "none",
                   "--samples", 8, "--classes", "right,down", "--out", tmp_path / "e.png", "--device", "cpu")
    assert done.returncode == 0 and done.stdout.count("8 clips, mean distance within a class") == 2, done.stderr
    done = program("eruv_dali.visualize", "attention", actions / "down" / "1.mp4", "--init", run, "none", "--out",
                   tmp_path / "a.png")
    assert done.returncode == 0 and (tmp_path / "a.png").exists(), done.stderr
    done = program("eruv_dali.visualize", "attention", actions / "down" / "1.mp4", "--init", tmp_path / "no", "--out",
                   tmp_path / "b.png")
    assert done.returncode == 2 and "no such checkpoint" in done.stderr and "Traceback" not in done.stderr
