"""benchmarks/representation.py: the evaluation itself can be trusted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from layouts import COLOURS, write_action
from places import benchmark

from eruv_dali.errors import EruvError
from eruv_dali.models import build_backbone, save_backbone

representation = benchmark("representation")
from evaluation import bootstrap, finetuning, folds, frozen, gate, ridge, sets, starts  # noqa: E402

GROUPS = np.repeat(["ann", "bob", "cid", "dan", "eva"], [4, 7, 3, 5, 6])


@pytest.mark.parametrize("number", [None, 2, 3])
def test_every_video_is_tested_once_and_groups_stay_together(number):
    sides = [test for _, test in folds.leave_out(GROUPS, number)]
    assert len(sides) == (number or 5)
    assert (np.sum(sides, 0) == 1).all()
    assert all(len(set(test[name == GROUPS])) == 1 for test in sides for name in set(GROUPS))
    sizes = [test.sum() for test in sides]
    assert number is None or max(sizes) - min(sizes) <= 3


def test_labels_are_drawn_from_every_class_and_only_by_the_words_given():
    labels, train = np.repeat([0, 1, 2], [20, 8, 2]), np.arange(30) % 10 != 0
    drawn = folds.draw_labelled(train, labels, 0.25, "set", "fold", 3)
    assert np.bincount(labels[drawn]).tolist() == [4, 2, 1] and not (drawn & ~train).any()
    assert (drawn == folds.draw_labelled(train, labels, 0.25, "set", "fold", 3)).all()
    assert (drawn != folds.draw_labelled(train, labels, 0.25, "set", "fold", 4)).any()
    assert (folds.draw_labelled(train, labels, 1.0, "set") == train).all()


def drawn_set(**told: float) -> gate.Told:
    """Six classes, ten groups of six; `told`: how much of the label is in first frames, lengths or groups."""
    random = np.random.default_rng(0)
    labels, groups = np.tile(np.arange(6), 10), np.repeat(np.arange(10), 6)
    if "group" in told:
        groups = np.random.default_rng(1).permutation(10).repeat(6)
        labels = groups % 6
    frames = random.normal(size=(60, 30)) + told.get("frame", 0) * np.eye(6, 30)[labels]
    lengths = random.integers(50, 100, 60) + told.get("length", 0) * labels
    return gate.told(labels, groups.astype(str), frames, lengths)


def test_the_gate_lets_a_set_pass_that_nothing_tells():
    assert drawn_set().failed == () and drawn_set().marked == ()


@pytest.mark.parametrize("what", ["frame", "length", "group"])
def test_the_gate_refuses_a_set_whose_label_can_be_read_without_the_action(what):
    told = drawn_set(**{what: 100})
    assert told.failed == (what,) and getattr(told, what) > 0.9


def test_the_gate_looks_for_the_first_frame_in_other_groups_only():
    # Frames of a group are all but equal, and a group has one class twice: within it they would tell the label.
    labels, groups = np.repeat(np.arange(6), 2), np.repeat(np.arange(6), 2)
    labels = np.concatenate([labels, np.roll(labels, 2)])
    groups = np.concatenate([groups, groups + 6]).astype(str)
    frames = np.random.default_rng(0).normal(size=(12, 30)).repeat(2, 0)
    assert gate.told(labels, groups, frames, np.arange(24)).frame < 0.5


def test_the_interval_of_a_known_difference_is_clear_of_zero_and_of_none_is_not():
    random = np.random.default_rng(0)
    units = {"a": np.repeat(np.arange(10), 6), "b": np.repeat(np.arange(8), 10)}
    base = {name: (random.random((5, len(rows))) < 0.3).astype(float) for name, rows in units.items()}
    better = {name: np.maximum(hits, random.random(hits.shape) < 0.2) for name, hits in base.items()}
    gain = bootstrap.estimate({name: better[name] - base[name] for name in units}, units)
    assert gain.mean == pytest.approx(0.14, abs=0.03) and 0.05 < gain.low < gain.mean < gain.high < 0.25
    other = {name: (random.random(hits.shape) < 0.3).astype(float) for name, hits in base.items()}
    null = bootstrap.estimate({name: other[name] - base[name] for name in units}, units)
    assert null.low < 0 < null.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random, covered = np.random.default_rng(1), 0
    units = {"a": np.repeat(np.arange(12), 5)}
    for _ in range(100):  # groups differ by 0.2, seeds by 0.1, around 0.5
        share = 0.5 + 0.2 * random.normal(size=12).repeat(5) + 0.1 * random.normal(size=(6, 1))
        found = bootstrap.estimate({"a": (random.random((6, 60)) < share).astype(float)}, units)
        covered += found.low <= 0.5 <= found.high
    assert 80 <= covered <= 100


def test_the_interval_widens_with_groups_and_with_seeds_that_differ():
    units = {"a": np.repeat(np.arange(6), 10)}
    alike = np.tile([1.0, 0.0], (4, 30))
    by_group = np.tile(np.repeat([1.0, 0.0], 30), (4, 1))
    by_seed = np.tile([[1.0], [0.0], [1.0], [0.0]], (1, 60))
    width = [(found := bootstrap.estimate({"a": hits}, units)).high - found.low for hits in (alike, by_group, by_seed)]
    assert width[0] == pytest.approx(0) and width[1] > 0.5 and width[2] > 0.5


def labelled(classes: int, groups: int, each: int = 1) -> sets.LabelledVideos:
    labels = np.tile(np.arange(classes).repeat(each), groups)
    names = np.array([f"g{number}" for number in range(groups)]).repeat(classes * each)
    return sets.LabelledVideos("drawn", tuple(Path(f"{row}.avi") for row in range(len(labels))),
                               tuple(map(str, range(classes))), labels, names, names)


def test_z_scored_retrieval_finds_what_large_dimensions_hide():
    videos, random = labelled(5, 8), np.random.default_rng(0)
    known = 3 * np.eye(5, 8)[videos.labels] + random.normal(size=(40, 8)) * 0.3
    loud = 100 + 50 * random.normal(size=(40, 4))
    rows = np.concatenate([known, loud, np.full((40, 1), 7.0)], 1).astype(np.float32)
    hits = frozen.hits_of(videos, {"pool5": rows, "average": rows[:, None]}, 1.0, 0)
    assert hits["retrieval"].mean() < 0.5
    assert all(hits[measure].mean() > 0.9 for measure in ("retrieval, z-scored", "kNN, z-scored", "probe"))


def test_z_scores_are_those_of_the_training_side():
    train, test = np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[5.0, 6.0]])
    first, second = frozen.standardise(train, test)
    assert first.tolist() == [[-1, 0], [1, 0]] and second.tolist() == [[4, 0]]


def test_features_without_information_are_at_chance():
    videos = labelled(5, 12, 2)
    rows = np.random.default_rng(0).normal(size=(120, 1, 6)).astype(np.float32)
    hits = frozen.hits_of(videos, {"pool5": rows[:, 0], "average": rows}, 1.0, 0)
    assert all(0.08 < right.mean() < 0.33 for right in hits.values())


def test_the_probe_chooses_its_penalty_on_groups_left_out():
    random, labels = np.random.default_rng(0), np.tile(np.arange(3), 10)
    groups = np.repeat(np.arange(10), 3)
    noise = random.normal(size=(30, 2, 20))
    clear = 20 * np.eye(3, 20)[labels][:, None] + noise
    assert ridge.probe(noise[:15], labels[:15], groups[:15], noise[15:], 3)[1] == max(ridge.PENALTIES)
    said, penalty = ridge.probe(clear[:15], labels[:15], groups[:15], clear[15:], 3)
    assert (said == labels[15:]).all() and penalty < max(ridge.PENALTIES)


def test_the_rate_of_a_fold_is_chosen_on_the_others():
    tests = {"one": np.array([True, True, False, False]), "two": np.array([False, False, True, True])}
    results = {(0, "one", 0.1): {"hits": {"5": [0, 0], "9": [1, 1]}}, (0, "one", 0.3): {"hits": {"5": [0, 0]}},
               (0, "two", 0.1): {"hits": {"5": [0, 1]}}, (0, "two", 0.3): {"hits": {"5": [1, 1]}}}
    hits, rates = finetuning.chosen_hits(results, tests, None)
    # 0.1 is best on "one", so it counts for "two", though 0.3 is better there; and the other way round.
    assert rates == {"one": 0.3, "two": 0.1} and hits.tolist() == [[0, 0, 0, 1]]
    assert finetuning.chosen_hits(results, tests, 6)[1]["two"] == 0.1  # as good as 0.3 by then: the first


def write_run(folder: Path, seed: int, **model) -> Path:
    """A RUN as pretrain leaves it, of a tiny network on frames of 36x48."""
    folder.mkdir(parents=True)
    torch.manual_seed(100 + seed)
    save_backbone(build_backbone("c3d", width=1, **model), folder / "backbone.pt")
    data = {"dataset": str(folder.parent / "corpus"), "crop": 32, "frame_size": [36, 48]}
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": seed, "device": "cpu", "data": data}))
    return folder


def test_the_random_start_has_the_seed_and_the_input_of_the_run(tmp_path):
    write_run(tmp_path / "diff_4", 4, input="difference")
    fresh, trained = starts.entrants_of("diff", f"{tmp_path}/diff_{{seed}}", 4)
    torch.manual_seed(4)
    expected = build_backbone("c3d", width=1, input="difference").state_dict()
    assert fresh.start.backbone.input == "difference" and fresh.baseline == trained.baseline == fresh.name
    assert all(torch.equal(value, expected[key]) for key, value in fresh.start.backbone.state_dict().items())
    assert not torch.equal(trained.start.backbone.conv1[0].weight, expected["conv1.0.weight"])
    (tmp_path / "diff_4").rename(tmp_path / "diff_5")
    with pytest.raises(EruvError, match="seed 4, not 5"):
        starts.entrants_of("diff", f"{tmp_path}/diff_{{seed}}", 5)


def run(monkeypatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["representation.py", *map(str, words)])
    representation.main()


@pytest.mark.parametrize("words, message", [
    ((), "no --start"), (("--start", "plus"), "NAME=PATH"), (("--start", "plus=runs/plus"), "{seed}"),
    (("--start", "random=r_{seed}"), "choose another"), (("--start", "a=r_{seed}", "--labels", "25"), "--labels 25"),
    (("--start", "a=nowhere_{seed}"), "nowhere_0: no such checkpoint"),
    (("--start", "a=r_{seed}", "--start", "a=s_{seed}"), "same name"),
    (("--start", "a=r_{seed}", "--folds", "1"), "--folds 1"),
    (("--start", "a=r_{seed}", "--layer-rates", "0"), "--layer-rates 0 must lie above 0"),
    (("--start", "a=r_{seed}", "--layer-rates", "0.5", "2"), "--layer-rates 2 must lie above 0"),
])
def test_bad_input_is_one_line(tmp_path, monkeypatch, words, message):
    with pytest.raises(EruvError) as raised:
        run(monkeypatch, "--out", tmp_path / "out", *words)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.slow
def test_it_runs_whole_refuses_a_set_and_goes_on(tmp_path, monkeypatch, capsys):
    for name in ("clear", "told"):
        for number, action in enumerate(("bend", "run", "wave1")):
            for person in ("daria", "eli", "ido", "lena"):
                random = np.random.default_rng([ord(person[0]), number, 5])
                colour = COLOURS[action] if name == "told" else tuple(random.integers(40, 200, 3))
                write_action(tmp_path / name / action / f"{person}_{action}.avi", colour, frames=20)
    for seed in (0, 1):
        write_run(tmp_path / f"run_{seed}", seed)
    monkeypatch.setattr(representation, "KINDS", {name: sets.Kind(name, r"/([a-z]+)_") for name in ("clear", "told")})
    monkeypatch.setattr(starts, "_recalibrate", lambda entrant, corpus: entrant.start.backbone)
    rates, AdamW = set(), torch.optim.AdamW

    def noted(groups, **options):
        rates.add(tuple(dict.fromkeys(round(group["lr"], 9) for group in groups)))
        return AdamW(groups, **options)

    monkeypatch.setattr(torch.optim, "AdamW", noted)
    words = ("--out", tmp_path / "out", "--videos", tmp_path, "--sets", "clear", "told", "--seeds", 0, 1, "--start",
             f"tiny={tmp_path}/run_{{seed}}", "--labels", 0.5, "--steps", 3, "--rates", 0.01, "--layer-rates", 1, 0.5,
             "--workers", 1, "--json", tmp_path / "result.json")
    run(monkeypatch, *words)
    # conv1 to conv5, then the classifier
    assert rates == {(0.01,), (0.01 / 32, 0.01 / 16, 0.01 / 8, 0.01 / 4, 0.01 / 2, 0.01)}
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["gate"]["told"]["failed"] == ["frame"] and list(result["sets"]) == ["clear"]
    figures = {(line["start"], line["measure"]): line for line in result["figures"] if line["set"] == "mean"}
    assert {measure for start, measure in figures if start == "tiny"} == {*frozen.MEASURES, "fine-tuning"}
    assert figures["tiny, rescaled", "fine-tuning"]["baseline"] == result["baselines"]["tiny"]
    tiny, place = (figures[start, "retrieval"]["mean"] for start in ("tiny", "place of motion"))
    assert figures["tiny", "retrieval"]["over_place_of_motion"]["mean"] == pytest.approx(tiny - place)
    assert "over_place_of_motion" not in figures["tiny", "fine-tuning"]  # a measure without it
    assert all(len(line["seeds"]) == 2 and 0 <= line["mean"] <= 1 for line in figures.values())
    assert "left out: frame" in capsys.readouterr().out and (tmp_path / "out" / "representation.png").exists()

    for place, name in ((finetuning, "tune"), (frozen, "probe")):
        monkeypatch.setattr(place, name, None)  # nothing is left to do
    run(monkeypatch, *words)
    assert json.loads((tmp_path / "result.json").read_text()) == result
