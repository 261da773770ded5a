"""finetune: learns, keeps the best epoch, judges by ten clips; random weights get the same seeds; bad input is told."""

import json
import os
import shutil
import signal
from itertools import product

import numpy as np
import pytest
import torch
from forked import all_ended, program, ranks
from layouts import make_hmdb51, make_ucf101, write_action
from running import lasting, metrics, refused, run

from eruv_dali import EruvError, build_backbone, load_backbone, save_backbone
from eruv_dali.actions import ActionSplit, prepared, read_split
from eruv_dali.actions.action_scores import action_scores, mean_over_splits
from eruv_dali.actions.chosen import chosen_splits
from eruv_dali.actions.prepared import prepare_labelled
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.finetune import program as finetune_program
from eruv_dali.finetune.__main__ import build_parser, main
from eruv_dali.finetune.held_out import hold_out
from eruv_dali.finetune.knn import knn_scores
from eruv_dali.finetune.probe import probe_logits
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.finetune.task import FinetuneTask, train_actions
from eruv_dali.prepare import prepare
from eruv_dali.tables.runs import read_run
from eruv_dali.train import loop
from eruv_dali.train.checkpoint import load_checkpoint, save_checkpoint
from eruv_dali.train.stop import Stopped

SMALL = ["--crop", "32", "--frame-size", "36x48", "--device", "cpu", "--batch-size", "4"]
RANDOM = ["--init", "none", "--backbone", "r3d", "--width", "2", *SMALL]
GROUPS = ["--groups", r"/([a-z]+)_"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, persons):
    """A folder for runs, in which the videos are prepared once."""
    folder = tmp_path_factory.mktemp("runs")
    prepare_labelled(persons, folder / "any", frame_size=(36, 48), device="cpu")
    return folder


def dataset(runs, persons):
    return prepare_labelled(persons, runs / "any", frame_size=(36, 48), device="cpu")


@pytest.mark.parametrize("mode, words", [
    ("finetune", ["--epochs", "14", "--lr", "0.005", "--val-fraction", "0.34", "--batch-size", "3"]),
    ("freeze", ["--freeze"]), ("knn", ["--knn", "3"]),
])
def test_it_learns_easy_actions_of_unseen_persons(monkeypatch, runs, persons, mode, words):
    out = runs / mode
    run(monkeypatch, main, "--dataset", "folder", "--root", persons, *GROUPS, "--test-groups", "ido", *RANDOM, *words,
        "--out", out)
    result = json.loads((out / "result.json").read_text())
    assert result["top1"] == 1 and result["top5"] is None and result["videos"] == 3
    assert result["per_class"] == {"bend": 1, "run": 1, "wave1": 1} and result["confusion"] == np.eye(3).tolist()
    known = {"program": "finetune", "mode": mode, "dataset": "folder", "splits": ["ido"], "init": "none", "seed": 0,
             "backbone": "r3d", "width": 2, "classes": ["bend", "run", "wave1"], "root": str(persons),
             "groups": GROUPS[1], "test_fraction": None,
             "val_fraction": {"finetune": 0.34, "freeze": 0.1, "knn": None}[mode]}
    assert known.items() <= result.items() and result["per_split"]["ido"]["top1"] == 1
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    if mode == "finetune":
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        steps, epochs = ([line for line in lines if ("val" in line) is val] for val in (False, True))
        assert [line["epoch"] for line in epochs] == list(range(14)) and steps[-1]["loss"] < steps[0]["loss"]
        best = max(epochs, key=lambda line: (line["val"]["accuracy"], -line["val"]["loss"]))
        assert torch.load(out / "best.pt", weights_only=True)["epoch"] == best["epoch"]
        assert load_backbone(out / "backbone.pt").name == "r3d"
        again = load_pretrained(out)
        assert (again.crop, again.frame_size, again.backbone.width) == (32, (36, 48), 2)


def test_leave_one_out_takes_the_mean_over_persons(monkeypatch, runs, persons):
    run(monkeypatch, main, "--dataset", "folder", "--root", persons, *GROUPS, "--leave-one-out", *RANDOM, "--knn", "9",
        "--out", runs / "each")
    result = json.loads((runs / "each" / "result.json").read_text())
    assert result["splits"] == ["daria", "denis", "eli", "ido"] and result["videos"] == 12
    assert result["top1"] == pytest.approx(np.mean([part["top1"] for part in result["per_split"].values()]))
    assert np.sum(result["confusion"]) == 12
    one = json.loads((runs / "each" / "split_eli" / "result.json").read_text())
    assert one["top1"] == result["per_split"]["eli"]["top1"] and one["splits"] == ["eli"]


@pytest.mark.parametrize("make, name", [(make_ucf101, "ucf101"), (make_hmdb51, "hmdb51")])
def test_official_layouts_from_end_to_end(monkeypatch, capsys, tmp_path, make, name):
    """Odd names, CRLF, videos shorter than a clip, three splits."""
    make(tmp_path / "data",
         lambda path: write_action(path, (90, 90, 200), frames=6 if "g01" in path.name else 18))
    words = ["--dataset", name, "--root", tmp_path / "data", "--split", 1, 2, 3, *RANDOM, "--freeze",
             "--val-fraction", 0, "--clips", 2, "--out"]
    run(monkeypatch, main, *words, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["splits"] == ["1", "2", "3"] and result["videos"] == {"ucf101": 9, "hmdb51": 6}[name]

    there = sorted((tmp_path / "data").rglob("*g02_c01.avi" if name == "ucf101" else "*_u_*.avi"))
    there[0].unlink()
    said = refused(monkeypatch, capsys, main, *words, tmp_path / "other")
    assert "1 of " in said and there[0].name in said and "--skip-missing" in said


def test_every_training_video_is_seen_once_an_epoch_with_the_same_head_and_order_from_any_weights(
        monkeypatch, tmp_path, runs, persons):
    split = read_split("folder", persons, groups=GROUPS[1], test_groups=["ido"])
    seen = {}
    recipe = Recipe(epochs=3, batch_size=4, lr=1e-9, seed=5)

    class Recorder(loop.TrainStep):
        def __init__(self, net, *args, **options):
            super().__init__(net, *args, **options)
            self.seen = seen[len(seen)] = [net.head.weight.detach().clone()]

        def __call__(self, clips, target, number, **how):
            self.seen.append((clips.clone(), target.tolist(), number))
            return super().__call__(clips, target, number, **how)

    def recording_target(self, batch):
        places.extend((info.video, info.frames[0], info.crop) for info in batch.info)
        return target(self, batch)

    places, target = [], FinetuneTask.target
    monkeypatch.setattr(loop, "TrainStep", Recorder)
    monkeypatch.setattr(FinetuneTask, "target", recording_target)
    for name, weights in (("random", 0), ("other", 1)):
        start = load_pretrained("none", backbone="r3d", width=1, seed=weights)._replace(crop=32, frame_size=(36, 48))
        train_actions(start, split.train, np.zeros(9, bool), split.classes, dataset(runs, persons), tmp_path / name,
                      recipe, device="cpu")
    (head, *batches), (other_head, *other_batches) = seen.values()
    assert torch.equal(head, other_head) and len(batches) == len(other_batches) == 9
    for (clips, labels, number), other in zip(batches, other_batches, strict=True):
        assert torch.equal(clips, other[0]) and (labels, number) == other[1:]
    epochs = [[label for _, labels, _ in batches[first : first + 3] for label in labels] for first in (0, 3, 6)]
    assert all(sorted(epoch) == [0, 0, 0, 1, 1, 1, 2, 2, 2] for epoch in epochs) and epochs[0] != epochs[1]
    assert [len(labels) for _, labels, _ in batches] == [4, 4, 1] * 3  # the last batch is not dropped
    # Clips lie elsewhere in every epoch, in time and in the frame; the video of 9 frames has one place in time.
    assert len({crop for _, _, crop in places}) > 10
    assert len({start for video, start, _ in places if "denis" in video}) > 2
    assert {start for video, start, _ in places if "daria" in video} == {0}


def test_layers_have_rates_and_begin_with_the_norms_of_a_fresh_network(monkeypatch, tmp_path, runs, persons):
    split = read_split("folder", persons, groups=GROUPS[1], test_groups=["ido"])
    seen = []

    class Recorder(loop.TrainStep):
        def __init__(self, net, *args, **options):
            super().__init__(net, *args, **options)
            seen.append((net, net.backbone.stage4.conv2.weight.detach().clone(),
                         {id(p): group["lr"] for group in self.optimizer.param_groups for p in group["params"]}))

    monkeypatch.setattr(loop, "TrainStep", Recorder)
    start = load_pretrained("none", backbone="r3d", width=1)._replace(crop=32, frame_size=(36, 48))
    with torch.no_grad():
        start.backbone.stage4.conv2.weight.mul_(7)
    recipe = Recipe(epochs=1, batch_size=9, lr=0.01, layer_rate=0.5, rescale=True)
    train_actions(start, split.train, np.zeros(9, bool), split.classes, dataset(runs, persons), tmp_path / "run",
                  recipe, device="cpu")
    ((net, weight, rates),) = seen
    assert float(weight.norm()) == pytest.approx((8 / 3) ** 0.5, rel=1e-5)
    found = {name.removeprefix("backbone.").partition(".")[0]: rates[id(p)] for name, p in net.named_parameters()}
    assert found == pytest.approx({"head": 0.01, "stage4": 0.005, "stage3": 0.0025, "stage2": 0.00125,
                                   "stage1": 0.000625, "stem": 0.0003125})
    assert metrics(tmp_path / "run")[0]["lr"] == 0.01  # the head's


def test_the_best_epoch_is_kept_by_accuracy_then_by_loss(monkeypatch, tmp_path, runs, persons):
    split = read_split("folder", persons, groups=GROUPS[1], test_groups=["ido"])
    figures = iter([(0.2, 0.1), (0.8, 3.0), (0.8, 2.0), (0.8, 2.5), (0.7, 0.1)])

    def says(self, step, processes, pause):
        return dict(zip(("accuracy", "loss"), next(figures), strict=True))

    monkeypatch.setattr(FinetuneTask, "validate", says)
    start = load_pretrained("none", backbone="r3d", width=1)._replace(crop=32, frame_size=(36, 48))
    net = train_actions(start, split.train, np.zeros(9, bool), split.classes, dataset(runs, persons), tmp_path / "run",
                        Recipe(epochs=5, batch_size=4), device="cpu")
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    last = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert best["epoch"] == 2 and torch.equal(net.head.weight, best["net"]["head.weight"])
    assert not torch.equal(net.head.weight, last["net"]["head.weight"]) and not net.training


@pytest.fixture
def trained(runs, persons):
    """Fine-tune a small network: `trained(out, …)` gives the lines of metrics.jsonl but for the time, and weights."""
    split = read_split("folder", persons, groups=GROUPS[1], test_groups=["ido"])
    held_out = hold_out(split.train, split.root, split.classes, fraction=0.3, groups=GROUPS[1], seed=0)

    def train(out, epochs=4, resume=False, lr=0.01, **look):
        look = {"crop": 32, "frame_size": (36, 48), **look}
        start = load_pretrained("none", backbone="r3d", width=1)._replace(**look)
        videos = prepare_labelled(persons, runs / "any", frame_size=start.frame_size, device="cpu")
        net = train_actions(start, split.train, held_out, split.classes, videos, out,
                            Recipe(epochs=epochs, batch_size=2, lr=lr), device="cpu", resume=resume)
        return metrics(out), net.state_dict()

    return train


def same(one, other):
    return all(torch.equal(other[name], value) for name, value in one.items())


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(monkeypatch, tmp_path, trained):
    metrics, weights = trained(tmp_path / "straight")
    validate = FinetuneTask.validate
    calls = iter([True, True, False])

    def dies(self, *rest):
        if next(calls, True):
            return validate(self, *rest)
        raise ZeroDivisionError

    monkeypatch.setattr(FinetuneTask, "validate", dies)
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path / "broken")
    with open(tmp_path / "broken" / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "step": 7, "of a run killed": true}\n')
    with pytest.raises(EruvError, match="holds a run already"):
        trained(tmp_path / "broken")
    with pytest.raises(EruvError, match="recipe.lr = 0.5 was 0.01 when this run began"):
        trained(tmp_path / "broken", resume=True, lr=0.5)
    resumed, resumed_weights = trained(tmp_path / "broken", resume=True)
    assert resumed == metrics and sum("val" in line for line in resumed) == 4 and same(weights, resumed_weights)


def test_a_run_goes_on_with_the_clips_it_began_with_and_one_that_is_refused_changes_nothing(tmp_path, trained):
    trained(tmp_path / "run", epochs=1)
    before = lasting(tmp_path / "run")
    grey = (0.5, 0.5, 0.5)
    for key, value in (("frame_size", (40, 50)), ("clip_length", 8), ("mean", grey), ("std", grey), ("crop", 28)):
        with pytest.raises(EruvError, match=f"^{key} = .* was .* when this run began"):
            trained(tmp_path / "run", epochs=2, resume=True, **{key: value})
    assert lasting(tmp_path / "run") == before and load_pretrained(tmp_path / "run").crop == 32


def test_a_run_that_began_before_its_checkpoints_told_the_format_of_clips_goes_on(tmp_path, trained):
    trained(tmp_path / "run", epochs=1)
    file = tmp_path / "run" / "last.pt"
    state = load_checkpoint(file)
    for key in ("frame_size", "clip_length", "mean", "std"):
        del state["fingerprint"][key]
    save_checkpoint(file, state)
    resumed, _ = trained(tmp_path / "run", epochs=2, resume=True)
    assert [line["epoch"] for line in resumed if "val" in line] == [0, 1]
    assert load_checkpoint(file)["fingerprint"]["frame_size"] == [36, 48]


def test_ctrl_c_within_an_epoch_loses_nothing(monkeypatch, tmp_path, trained):
    metrics, weights = trained(tmp_path / "straight")
    target, steps = FinetuneTask.target, iter(range(100))

    def interrupted(self, batch):
        if next(steps) == 4:  # the third step of the second epoch
            os.kill(os.getpid(), signal.SIGINT)
        return target(self, batch)

    monkeypatch.setattr(FinetuneTask, "target", interrupted)
    with pytest.raises(Stopped, match="saved after step 5 of 12; continue with the same command and --resume$"):
        trained(tmp_path / "stopped")
    resumed, resumed_weights = trained(tmp_path / "stopped", resume=True)
    assert resumed == metrics and same(weights, resumed_weights)


@pytest.mark.slow
def test_two_processes_train_and_test_together(runs, persons, tmp_path):
    """As one with the doubled batch would, but for BatchNorm; here: it runs, and every video is tested once."""
    out = runs / "two"
    all_ended(ranks(tmp_path, 2, program, main, "--dataset", "folder", "--root", persons, *GROUPS, "--test-groups",
                    "ido", *RANDOM, "--epochs", "2", "--batch-size", "2", "--out", out))
    result = json.loads((out / "result.json").read_text())
    assert result["videos"] == 3 and np.sum(result["confusion"]) == 3
    assert torch.load(out / "last.pt", weights_only=True)["samples_a_step"] == 4


def test_held_out_part(tmp_path, caplog):
    names = [f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi" for name in ("a", "b") for group in range(10)
             for clip in range(4)]
    train = [(tmp_path / name, int(name[0] == "b")) for name in names]
    held = hold_out(train, tmp_path, ("a", "b"), fraction=0.1, groups=None, seed=0)
    by_group = {}
    for name, out in zip(names, held, strict=True):
        by_group.setdefault(name.split("_")[2], set()).add(bool(out))
    assert all(len(sides) == 1 for sides in by_group.values()) and held.sum() == 8  # UCF101's groups stay whole
    assert not hold_out(train, tmp_path, ("a", "b"), fraction=0, groups=None, seed=0).any()
    hmdb = [(tmp_path / f"wave/{film}_wave_u_{camera}_np1_fr_med_{n}.avi", 0) for film, camera in
            (("A_1", "cm"), ("#2", "nm"), ("C", "cm")) for n in range(3)]
    held = hold_out(hmdb, tmp_path, ("wave",), fraction=0.1, groups=None, seed=0)
    assert held.reshape(3, 3).all(1).sum() == 1 and held.sum() == 3
    assert hold_out(hmdb[:3], tmp_path, ("wave",), fraction=0.1, groups=None, seed=0).sum() == 1
    assert "single clips are held out" in caplog.text
    shown = ("u_nm_np1_fr_med_0", "f_nm_np1_ba_bad_1", "h_cm_np2_le_goo_2")  # of clips of one film
    hmdb = [(tmp_path / f"hit/{film}_hit_{words}.avi", 0) for film in ("FilmA", "Film_B", "C_u_nm") for words in shown]
    for seed in range(5):
        held = hold_out(hmdb, tmp_path, ("hit",), fraction=0.1, groups=None, seed=seed)
        assert held.reshape(3, 3).all(1).sum() == 1 and held.sum() == 3
    plain = [(tmp_path / f"a/{n}.avi", 0) for n in range(20)]
    assert hold_out(plain, tmp_path, ("a",), fraction=0.1, groups=None, seed=0).sum() == 2
    with pytest.raises(EruvError, match="val_fraction 0"):
        hold_out(plain[:1], tmp_path, ("a",), fraction=0.1, groups=None, seed=0)
    with pytest.raises(EruvError, match="val_fraction 1"):
        hold_out(plain, tmp_path, ("a",), fraction=1, groups=None, seed=0)


def test_scores():
    logits = np.array([[9, 1, 0, 0, 0, 0], [0, 9, 1, 0, 0, 0], [5, 4, 3, 2, 1, 0], [0, 0, 0, 9, 0, 0]], np.float32)
    scores = action_scores(logits, [0, 2, 5, 3], [*"abcdef"])
    assert (scores["top1"], scores["top5"], scores["videos"]) == (0.5, 0.75, 4)
    assert scores["per_class"] == {"a": 1, "b": None, "c": 0, "d": 1, "e": None, "f": 0}
    assert scores["confusion"][2][1] == scores["confusion"][5][0] == 1
    mean = mean_over_splits({"1": scores, "2": action_scores(logits[:1], [0], [*"abcdef"])}, [*"abcdef"])
    assert (mean["top1"], mean["top5"], mean["videos"], mean["per_class"]["a"]) == (0.75, 0.875, 5, 1)
    assert action_scores(logits[:, :5], [0, 2, 4, 3], [*"abcde"])["top5"] is None


def test_neighbours_vote_by_their_likeness():
    train = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    votes = knn_scores(train, [0, 1, 2, 2], np.array([[1, 0], [0, 2]], np.float32), 3, k=2, device="cpu")
    assert votes.argmax(1).tolist() == [0, 2] and votes[0, 2] == 0 and votes[0, 0] > votes[0, 1] > 0
    with pytest.raises(EruvError, match="k 5 must lie between 1 and 4"):
        knn_scores(train, [0, 1, 2, 2], train, 3, k=5, device="cpu")


def test_probe_finds_the_direction_that_separates():
    random = np.random.default_rng(0)
    labels = np.arange(30) % 3
    features = random.standard_normal((30, 4, 20)).astype(np.float32) * 100
    features[..., 0] += 600 * labels[:, None] - 600
    features[..., 1] = 7  # says nothing
    held_out = np.arange(30) >= 24
    logits, penalty = probe_logits(features, labels, held_out, features, 3)
    assert logits.shape == (30, 3) and (logits.argmax(1) == labels).all()
    fresh = random.standard_normal((90, 4, 20)).astype(np.float32) * 100
    fresh[..., 0] += 600 * (np.arange(90) % 3)[:, None] - 600
    logits, _ = probe_logits(features, labels, held_out, fresh, 3)
    assert (logits.argmax(1) == np.arange(90) % 3).mean() > 0.9
    scale = 10.0 ** random.integers(-4, 4, 20)
    scaled, _ = probe_logits(features * scale.astype(np.float32), labels, held_out, fresh * scale.astype(np.float32), 3)
    np.testing.assert_allclose(scaled, logits, atol=0.05)  # whatever the features' scale


def test_checkpoints_of_every_kind_give_the_same_backbone(tmp_path):
    from eruv_dali.models import RelationNet

    torch.manual_seed(3)
    net = RelationNet(build_backbone("r3d", width=2), 7)
    save_backbone(net.backbone, tmp_path / "backbone.pt")
    save_checkpoint(tmp_path / "best.pt", {"net": net.state_dict(), "model": {"backbone": "r3d", "width": 2}})
    save_checkpoint(tmp_path / "last.pt", {"net": net.state_dict(),
                                           "fingerprint": {"model.backbone": "r3d", "model.width": 2}})
    for file in (tmp_path, *(tmp_path / name for name in ("backbone.pt", "best.pt", "last.pt"))):
        start = load_pretrained(file)
        assert start.crop == 112 and start.backbone.name == "r3d"
        assert all(torch.equal(value, net.backbone.state_dict()[key])
                   for key, value in start.backbone.state_dict().items())
    (tmp_path / "config.yaml").write_text("data: {crop: 56, frame_size: [64, 86], mean: [0.4, 0.4, 0.4]}\n")
    start = load_pretrained(tmp_path / "best.pt")
    assert (start.crop, start.frame_size, start.mean) == (56, (64, 86), (0.4, 0.4, 0.4))
    with pytest.raises(EruvError, match="holds a r3d of width 2, not backbone c3d"):
        load_pretrained(tmp_path, backbone="c3d")
    with pytest.raises(EruvError, match="holds a r3d of width 2, not width 64"):
        load_pretrained(tmp_path / "best.pt", width=64)
    (tmp_path / "bad.pt").write_bytes((tmp_path / "best.pt").read_bytes()[:5000])
    (tmp_path / "empty").mkdir()
    for file in ("bad.pt", "absent.pt", "empty", "config.yaml"):
        with pytest.raises(EruvError, match=file):
            load_pretrained(tmp_path / file)
    save_checkpoint(tmp_path / "other.pt", {"net": {}})
    with pytest.raises(EruvError, match="no backbone in this checkpoint"):
        load_pretrained(tmp_path / "other.pt")
    save_checkpoint(tmp_path / "best.pt", {"net": net.state_dict(), "epoch": 1})  # as finetune writes it
    with pytest.raises(EruvError, match="best.pt: does not say what its backbone is, .* the backbone.pt beside it"):
        load_pretrained(tmp_path / "best.pt")
    for seed in (-1, 2**70, 1.5):
        with pytest.raises(EruvError, match="^seed .* must be"):
            load_pretrained("none", seed=seed)


@pytest.mark.parametrize("key, value", [
    ("epochs", 0), ("epochs", 1.5), ("batch_size", 0), ("seed", -1), ("seed", 2**63), ("lr", 0), ("lr", float("nan")),
    ("lr", float("inf")), ("weight_decay", -1e-9), ("weight_decay", float("nan")), ("momentum", float("inf")),
    ("layer_rate", 2), ("layer_rate", 0), ("layer_rate", float("nan")),
])
def test_a_recipe_that_cannot_be(key, value):
    with pytest.raises(EruvError, match=f"^{key} {value} must be"):
        Recipe(**{key: value})


def test_what_bad_input_gets(monkeypatch, capsys, tmp_path, runs, persons):
    folder = ["--dataset", "folder", "--root", persons]
    out = ["--out", runs / "new"]
    assert "does not fit into frames of 36x48" in refused(
        monkeypatch, capsys, main, *folder, "--init", "none", "--crop", 40, "--frame-size", "36x48", *out)
    assert "--crop 0 does not fit" in refused(monkeypatch, capsys, main, *folder, *RANDOM, "--crop", 0, *out)
    c3d = ("--init", "none", "--crop", 8, "--width")
    assert "c3d cannot take a clip of 16 frames of 8x8" in refused(monkeypatch, capsys, main, *folder, *c3d, 1, *out)
    assert "backbone width 0 must" in refused(monkeypatch, capsys, main, *folder, *c3d, 0, *out)
    assert "no such checkpoint" in refused(monkeypatch, capsys, main, *folder, "--init", "nowhere.pt", *out)
    assert "k 13 must lie between 1 and" in refused(monkeypatch, capsys, main, *folder, *RANDOM, "--knn", 13, *out)
    assert "--leave-one-out needs" in refused(monkeypatch, capsys, main, *folder, *RANDOM, "--leave-one-out", *out)
    assert "epochs 0 must be" in refused(monkeypatch, capsys, main, *folder, *RANDOM, "--epochs", 0, *out)
    training = ["--epochs", 150], ["--lr", 1], ["--weight-decay", 0], ["--layer-rate", 1], ["--rescale"]
    for how, word in product((["--freeze"], ["--knn", 1]), training):
        said = refused(monkeypatch, capsys, main, *folder, *RANDOM, *how, *word, *out)
        assert f"{word[0]} is for training all layers" in said
    groups = [*folder, *GROUPS, *RANDOM]
    for how, drawing in product((["--leave-one-out"], ["--test-groups", "ido"]),
                                (["--split", 1], ["--test-fraction", 0.3])):
        said = refused(monkeypatch, capsys, main, *groups, *how, *drawing, *out)
        assert f"{drawing[0]} is for a draw of the test side, and {how[0]} draws none" in said
    assert "--test-fraction is for --dataset folder" in refused(
        monkeypatch, capsys, main, "--dataset", "ucf101", "--root", persons, *RANDOM, "--test-fraction", 0.3, *out)
    before = set(runs.iterdir())
    elsewhere = ["--frame-size", "40x50", "--out", runs / "new"]  # not prepared yet
    for option, value in (("lr", "nan"), ("val-fraction", "1"), ("val-fraction", "nan")):
        said = refused(monkeypatch, capsys, main, *folder, *RANDOM, f"--{option}", value, *elsewhere)
        assert f"{option} {float(value)} must be" in said
    assert set(runs.iterdir()) == before
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "result.json").write_text("{}")
    (tmp_path / "old" / "result.json").write_text('{"program": "pretrain"}')
    assert "holds a run of pretrain" in refused(monkeypatch, capsys, main, *folder, *RANDOM, "--out", tmp_path / "old")
    (tmp_path / "old" / "result.json").write_text('{"program": "finetune"}')
    assert "add --resume" in refused(monkeypatch, capsys, main, *folder, *RANDOM, "--knn", 1, "--out", tmp_path / "old")


def test_the_result_tells_where_the_network_lies_from_any_folder(monkeypatch, tmp_path, runs, persons):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pre").mkdir()
    save_backbone(build_backbone("r3d", width=2), tmp_path / "pre" / "backbone.pt")
    (tmp_path / "pre" / "config.yaml").write_text("pretext: {name: vcop, clips: 3}\n")
    run(monkeypatch, main, "--dataset", "folder", "--root", persons, "--init", "pre", *SMALL, "--knn", 1, "--clips", 1,
        "--test-fraction", 0.5, "--out", runs / "from_pre")
    result = json.loads((runs / "from_pre" / "result.json").read_text())
    assert result["init"] == str(tmp_path / "pre" / "backbone.pt") and result["test_fraction"] == 0.5
    monkeypatch.chdir("/")
    assert read_run(runs / "from_pre").start == "VCOP"


def test_a_run_is_not_overwritten_by_one_of_another_mode(monkeypatch, capsys, tmp_path, runs, persons):
    words = ["--dataset", "folder", "--root", persons, *GROUPS, *RANDOM, "--clips", 1]
    tuned, voted = tmp_path / "tuned", runs / "voted"
    (tuned / "split_2").mkdir(parents=True)
    save_checkpoint(tuned / "split_2" / "last.pt", {})
    run(monkeypatch, main, *words, "--knn", 2, "--out", voted)
    before = lasting(voted)

    def said(*more):
        return refused(monkeypatch, capsys, main, *words, *more)

    assert "voted: holds a run of mode knn, not finetune" in said("--out", voted, "--resume")
    assert "voted: holds a run of mode knn, not freeze" in said("--out", voted, "--resume", "--freeze")
    assert "voted: holds a run of --knn 2, not 3" in said("--out", voted, "--resume", "--knn", 3)
    assert lasting(voted) == before
    for name in ("split_2", "."):  # of several splits, the second alone has begun; RUN itself has
        shutil.copytree(tuned / "split_2", runs / "tuned" / name, dirs_exist_ok=True)
        several = ["--out", runs / "tuned", "--split", 1, 2]
        assert "holds a run of mode finetune, not knn" in said(*several, "--resume", "--knn", 2)
        assert "holds a run already" in said(*several)
    assert sorted(path.name for path in (runs / "tuned").rglob("*")) == ["last.pt", "last.pt", "split_2"]


def test_what_stops_a_split_is_found_before_features_are_computed(monkeypatch, capsys, runs, persons):
    def computes(*_, **__):
        raise AssertionError

    monkeypatch.setattr(finetune_program, "SplitFeatures", computes)
    words = ["--dataset", "folder", "--root", persons, *GROUPS, *RANDOM, "--leave-one-out", "--out", runs / "early"]
    assert "k 10 must lie between 1 and 9" in refused(monkeypatch, capsys, main, *words, "--knn", 10)
    monkeypatch.setattr(finetune_program, "finetune_split", computes)
    words = ["--dataset", "folder", "--root", persons, *RANDOM, "--out", runs / "early"]
    for how in (["--freeze"], []):
        said = refused(monkeypatch, capsys, main, *words, *how, "--test-fraction", 0.75)
        assert "no part of the training videos can be held out" in said


def test_videos_that_cannot_be_decoded_are_refused_or_left_out(monkeypatch, capsys, tmp_path, persons):
    shutil.copytree(persons, tmp_path / "data")
    for name in ("bend/denis_bend.avi", "run/eli_run.avi"):
        (tmp_path / "data" / name).write_bytes(b"no video at all")
    words = ["--dataset", "folder", "--root", tmp_path / "data", *GROUPS, "--test-groups", "ido", *RANDOM, "--knn", 1,
             "--out", tmp_path / "run"]
    said = refused(monkeypatch, capsys, main, *words)
    assert "2 of 12 videos cannot be decoded" in said and "denis_bend.avi" in said and "--skip-missing" in said
    run(monkeypatch, main, *words, "--skip-missing")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["videos"] == 3


def test_a_damaged_video_does_not_ask_more_of_test_groups(monkeypatch, tmp_path, persons):
    """A named group may lack a class, also where another video cannot be decoded."""
    shutil.copytree(persons, tmp_path / "data")
    (tmp_path / "data" / "run" / "ido_run.avi").unlink()
    (tmp_path / "data" / "bend" / "denis_bend.avi").write_bytes(b"no video at all")
    words = ["--dataset", "folder", "--root", tmp_path / "data", *GROUPS, *RANDOM, "--knn", 1, "--clips", 1,
             "--skip-missing"]
    run(monkeypatch, main, *words, "--leave-one-out", "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["videos"] == 10


def test_prepared_videos_are_found_again_until_something_changes(monkeypatch, tmp_path, persons):
    shutil.copytree(persons, tmp_path / "data")
    calls = []
    monkeypatch.setattr(prepared, "prepare", lambda *a, **k: (calls.append(1), prepare(*a, **k))[1])

    def again():
        with_frames = prepare_labelled(tmp_path / "data", tmp_path / "run", frame_size=(36, 48), device="cpu")
        return {video.name: video.frames for video in with_frames.videos}, len(calls)

    assert again()[1] == 1 and again()[1] == 1
    write_action(tmp_path / "data" / "run" / "new_run.avi", (60, 200, 60), frames=11)
    found, count = again()
    assert count == 2 and found["run/new_run.avi"] == 11
    write_action(tmp_path / "data" / "run" / "new_run.avi", (60, 200, 60), frames=12)
    found, count = again()
    assert count == 3 and found["run/new_run.avi"] == 12 and again()[1] == 3
    (tmp_path / "data" / "run" / "new_run.avi").unlink()
    with pytest.raises(EruvError, match=r"'run/new_run.avi'.*or remove them first: python -m eruv_dali.prepare .*--out "
                                        r".* --min-length 1 --remove$"):
        again()


def test_the_test_side_is_drawn_by_the_split_whatever_the_seed(persons):
    parser = build_parser()
    words = ["--dataset", "folder", "--root", str(persons), "--init", "none", "--out", "run"]
    zero, same, other = (chosen_splits(parser.parse_args([*words, *more])) for more in (
        ["--seed", "0"], ["--seed", "1"], ["--split", "2"]))
    assert zero == same and zero[0][1] != other[0][1]
    assert "the test side is drawn by --split" in " ".join(parser.format_help().split())


def test_splits_compare_by_what_they_hold(persons):
    split = read_split("folder", persons)
    assert isinstance(split, ActionSplit) and split == read_split("folder", str(persons))


@pytest.mark.gpu
def test_gpu_learns_too(monkeypatch, runs, persons):
    words = [word if word != "cpu" else "gpu" for word in RANDOM]
    run(monkeypatch, main, "--dataset", "folder", "--root", persons, *GROUPS, "--test-groups", "ido", *words,
        "--epochs", "14", "--lr", "0.005", "--val-fraction", "0.34", "--batch-size", "3", "--out", runs / "gpu")
    assert json.loads((runs / "gpu" / "result.json").read_text())["top1"] >= 2 / 3
