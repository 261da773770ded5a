"""Pairs: the page shows the samples of the validation, exactly the frames that it names, and what the network says."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trained
from numbered import read_numbers
from running import outcome, run
from sprites import sprites

from eruv_dali.evaluate.answers import held_out_answers
from eruv_dali.loader.epochs import ClipInfo
from eruv_dali.models import HeadOptions, build_backbone
from eruv_dali.train.config import load_config
from eruv_dali.train.run_dataset import run_dataset
from eruv_dali.visualize.__main__ import main
from eruv_dali.visualize.kind_names import kind_name
from eruv_dali.visualize.moving import WIDEST, moving
from eruv_dali.visualize.pairs import described, frames_in_words

ARTICLE = re.compile(r'<article class="sample (\w*)" data-kind="(\d+)".*?</article>', re.S)
CLIP = re.compile(r'class="moving( many)? (s\d+)" role="img" aria-label="sample \d+, clip \d+: (.*?)"')


def frames_of(words: str) -> list[int]:
    """The frames that a caption names."""
    if many := re.search(r"frames ([\d ]+\d)(,|$)", words):
        return [int(frame) for frame in many[1].split()]
    every, first, last = re.search(r"(?:every (\d+)\w\w frame from|frames) (\d+) to (\d+)", words).groups()
    step = int(every or 1) * (1 if int(last) > int(first) else -1)
    return list(range(int(first), int(last) + step, step))


def test_the_page_shows_exactly_the_frames_that_it_names(monkeypatch, tmp_path, pretrained):
    run(monkeypatch, main, "pairs", pretrained / "run", "--out", tmp_path / "p.html", "--device", "cpu")
    page = (tmp_path / "p.html").read_text()
    assert not re.search(r"(src|href)=|url\((?!data:)|<b>\.mp4|https?://", page)
    pictures = sprites(page)
    found = held_out_answers(pretrained / "run", device="cpu")
    cards = list(ARTICLE.finditer(page))
    assert len(cards) == len(found.answers) == found.samples == 14 and len(pictures) == 28
    seen = set()
    for card, answer in zip(cards, found.answers, strict=True):
        assert card[1] == ("right" if answer.right else "wrong")
        assert f"</span> true: {html.escape(kind_name('relation', answer.info.kind))}</h3>" in card[0]
        for (_, name, words), info in zip(CLIP.findall(card[0]), answer.info.clips, strict=True):
            shown, words = pictures[name], html.unescape(words)
            assert words.startswith(f"{info.video}, shot {info.shot}, ") and frames_of(words) == list(info.frames)
            assert ("backwards" in words) is (info.frames[0] > info.frames[-1] and answer.info.kind == "PI")
            assert (f"turned by {info.rotation}°" in words) is (info.rotation > 0)
            first = 200 * ["a <b>.mp4", "sub/another name, and a long one.mp4", "c.mp4", "d.mp4"].index(info.video)
            upright = np.rot90(shown, -(info.rotation // 90), axes=(1, 2))
            assert read_numbers(upright, info.crop) == [first + frame for frame in info.frames]
        seen.add(answer.info.kind)
    assert len(seen) > 3


def test_the_answers_are_those_of_the_validation(pretrained):
    """All samples together give the confusion and the loss by which the run was judged."""
    found = held_out_answers(pretrained / "run", samples=1000, device="cpu")
    result = json.loads((pretrained / "run" / "result.json").read_text())
    confusion = np.zeros((7, 7), int)
    for answer in found.answers:
        confusion[answer.label, answer.said] += 1
    assert confusion.tolist() == result["confusion"] and found.epochs == result["epoch"] + 1
    loss = torch.load(pretrained / "run" / "best.pt", weights_only=True)["loss"]
    assert np.mean([answer.loss for answer in found.answers]) == pytest.approx(loss, rel=1e-4)
    for answer in found.answers:
        assert answer.shares.sum() == pytest.approx(1, abs=1e-5)
        assert answer.loss == pytest.approx(-np.log(answer.shares[answer.label]), rel=1e-4)


def test_what_was_said_stands_in_the_card(monkeypatch, tmp_path, pretrained):
    """Probabilities are those of an independent softmax of the saved network."""
    run(monkeypatch, main, "pairs", pretrained / "run", "--out", tmp_path / "p.html", "--device", "cpu",
        "--samples", 5)
    page = (tmp_path / "p.html").read_text()
    assert "The first 5 of the 14 samples" in page
    found = held_out_answers(pretrained / "run", samples=5, device="cpu")
    state = torch.load(pretrained / "run" / "best.pt", weights_only=True)["net"]
    net = found.pretext.net(build_backbone("r3d", width=2), HeadOptions("mlp", 512, 0.5))
    net.load_state_dict(state)
    right = 0
    for card, answer in zip(ARTICLE.finditer(page), found.answers, strict=True):
        x = torch.from_numpy(answer.clips_KTHWC).permute(0, 4, 1, 2, 3)[None].float() / 255
        with torch.inference_mode():
            shares = net.eval()(x)[0].softmax(0)
        said = found.pretext.kinds[int(shares.argmax())]
        lines = re.findall(r"<li><span>(.*?)(?: <b>(.*?)</b>)?</span><span>(\d+)%</span>", card[0])
        role = "said, true" if said == answer.info.kind else "said"
        assert (lines[0][0], lines[0][1]) == (html.escape(kind_name("relation", said)), role)
        for name, _, percent in lines:
            kind = next(kind for kind in found.pretext.kinds if html.escape(kind_name("relation", kind)) == name)
            assert abs(100 * float(shares[found.pretext.kinds.index(kind)]) - int(percent)) < 0.6
        assert len([line for line in lines if "true" in line[1]]) == 1
        right += said == answer.info.kind
    assert f"It is right about <b>{right} of 5</b>" in page


@pytest.mark.slow
@pytest.mark.parametrize("words, clips", [
    (["pretext=vcop", "pretext.gap=0"], 3), (["pretext=mas", "data.mean=0.5,0.4,0.3", "data.std=0.2,0.2,0.2"], 1),
    (["pretext=prp", "pretext.dilations=1,2,4", "pretext.reconstruct=true", "data.crop=48"], 2),
    (["pretext=puzzle3d", "data.crop=48", "pretext.jitter=8", "pretext.time_jitter=0"], 4),
    (["pretext=jigsaw", "data.crop=32", "pretext.jitter=10", "data.clip_length=1", "model.backbone=caffenet"], 9),
])
def test_every_pretext_can_be_shown(monkeypatch, tmp_path, pretrained, words, clips):
    trained.train(pretrained / "dataset", tmp_path / "run", *words, "optim.epochs=1")
    run(monkeypatch, main, "pairs", tmp_path / "run", "--out", tmp_path / "p.html", "--device", "cpu", "--samples", 3)
    page = (tmp_path / "p.html").read_text()
    pictures = sprites(page)
    assert len(pictures) == 3 * clips
    mas = words[0] == "pretext=mas"
    assert page.count("<h3>loss ") == 3 * mas and ('id="wrong"' in page) is not mas
    for _, name, said in CLIP.findall(page):
        one = clips == 9
        assert len(pictures[name]) == (1 if one else 16)
        if mas:  # the clips are shown as they were before they were normalised
            info = re.search(r"frames (\d+) to", said)
            assert int(info[1]) < 160 and pictures[name].max() > 150 and pictures[name].min() < 60


def test_a_run_within_its_first_epoch(monkeypatch, tmp_path, pretrained):
    """Without best.pt its newest checkpoint answers; without any the program says so."""
    folder = shutil.copytree(pretrained / "run", tmp_path / "run")
    (folder / "best.pt").unlink()
    run(monkeypatch, main, "pairs", folder, "--out", tmp_path / "p.html", "--device", "cpu", "--samples", 2)
    assert "the network (last.pt, within an epoch)" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize("words, said", [
    (["run", "--out", "p.png"], "p.png: choose a file name that ends in .html"),
    (["absent"], "absent: no such folder; name a RUN of eruv_dali.pretrain"),
    (["."], "no run of pretrain here (no config.yaml)"),
    (["run", "--samples", "0"], "samples 0 must be at least 1"),
    (["run", "--data", "gone"], "gone: no DATASET here"),
    ("moved", "the DATASET of run is not here; name the folder where it lies now (--data)"),
    ("unsaved", "run: has no checkpoint yet"),
    ("other", "best.pt: its parts are not those of this run's checkpoints"),
    ("finetune", "is a run of finetune"),
])
def test_bad_input(monkeypatch, capsys, tmp_path, pretrained, words, said):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pretrained / "run", "run")
    config = (folder := Path("run")) / "config.yaml"
    if words == "moved":
        config.write_text(config.read_text().replace(str(pretrained / "dataset"), "elsewhere"))
    elif words == "unsaved":
        for file in folder.glob("*.pt"):
            file.unlink()
    elif words == "other":
        config.write_text(config.read_text().replace("width: 2", "width: 3"))
    elif words == "finetune":
        config.write_text("data: {crop: 112}\nmodel: {backbone: r3d}\nseed: 0\n")
    words = words if isinstance(words, list) else ["run"]
    out = [] if "--out" in words else ["--out", "p.html"]
    done = outcome(monkeypatch, capsys, main, "pairs", *words, *out, "--device", "cpu")
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not Path("p.html").exists()


def test_frames_in_words():
    assert frames_in_words((3, 4, 5)) == "frames 3 to 5" and frames_in_words((5, 4)) == "frames 5 to 4, backwards"
    assert frames_in_words((3, 5, 7)) == "every 2nd frame from 3 to 7"
    assert frames_in_words((9, 6, 3)) == "every 3rd frame from 9 to 3, backwards"
    assert frames_in_words((0, 8)) == "every 8th frame from 0 to 8"
    assert frames_in_words((4, 4, 4)) == frames_in_words((4,)) == "frame 4"
    assert frames_in_words((4, 6, 5)) == "frames 4 6 5"
    info = ClipInfo("a.mp4", -1, -1, (7,), 0, (0, 0), 1, True, (1, 0, 3, 2), (0.0,) * 12)
    assert described(info) == "a.mp4, frame 7, mirrored, quarters in the order 2 1 4 3, colours changed"


def test_a_long_clip_fits_into_one_picture():
    random = np.random.default_rng(0)
    clip = random.integers(0, 255, (300, 1, 1, 3)).repeat(80, 1).repeat(112, 2).astype(np.uint8)
    found = moving(clip)
    assert found.frames * found.width <= WIDEST and found.width / found.height == pytest.approx(112 / 80, rel=0.02)
    shown = sprites(found.style("v"))["v"]
    assert np.abs(shown.mean((1, 2)) - clip[:, 0, 0]).mean() < 6


def test_the_dataset_of_a_run_is_found_where_the_run_prepared_it():
    """Under the names that earlier versions gave, or runs would prepare their videos again."""
    out = Path("runs/x")
    assert run_dataset(load_config(None, ["data.dataset=here"]), out) == Path("here")
    videos = load_config(None, ["data.videos=[/no/such/b,/no/such/a]"])
    assert run_dataset(videos, out) == Path("runs/dataset_a_d8ddb5c5")
    assert run_dataset(load_config("demo"), out) == Path("runs/demo_dataset_64x86_video")
