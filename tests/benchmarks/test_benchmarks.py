"""The arithmetic of the benchmarks that train: what they make of the runs' figures."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import COLOURS, write_action
from numbered import write_video
from places import benchmark as load


def test_told_apart_counts_only_answers_among_the_three():
    head = load("head")
    # Of the CS pairs 3 are right, 1 is taken for CD and 6 for CR, which is no answer among the three; CD are all CV.
    confusion = [[3, 0, 1, 6], [0, 2, 0, 0], [0, 4, 0, 0], [5, 0, 0, 5]]
    run = {"per_relation": dict.fromkeys(("CS", "CV", "CD", "CR"), 0.0), "confusion": confusion}
    assert head.told_apart(run) == pytest.approx(5 / 10)


def runs(representation, **of_start):
    """One run a dataset, seed and start; of_start gives its figure in all measures for each seed."""
    return [{"dataset": name, "start": start, "seed": seed, "dimensions": 2.0, "amount": 0.5,
             **dict.fromkeys(representation.MEASURES, value)}
            for name in representation.LABELLED for start, values in of_start.items()
            for seed, value in enumerate(values)]


def test_deviation_is_over_seeds_and_both_is_the_mean_of_the_datasets():
    representation = load("representation")
    made = runs(representation, **{"random": [0.2, 0.3], "random, BN": [0.2, 0.2], "ERUV": [0.5, 0.6]})
    for run in made:  # the second dataset is 0.2 easier for all
        if run["dataset"] == "UT-Interaction":
            run.update({measure: run[measure] + 0.2 for measure in representation.MEASURES})
    both = representation.summarise(made)["both"]["retrieval"]
    assert both["ERUV"]["mean"] == pytest.approx(0.65)
    assert both["ERUV"]["deviation"] == pytest.approx(0.1 / 2**0.5)


def test_gain_is_over_the_better_random_start_and_overlap_is_said():
    representation = load("representation")
    made = runs(representation, **{"random": [0.2, 0.2], "random, BN": [0.3, 0.4], "ERUV": [0.35, 0.45]})
    for run in made:
        if run["start"] == "random, BN":
            run["fine-tuning"] = None
    table = representation.markdown({"figures": representation.summarise(made),
                                   "motion": {"Weizmann": {"retrieval": 0.4}}}).splitlines()
    retrieval = next(line for line in table if "Weizmann | retrieval" in line)
    assert "+5.0" in retrieval and "overlap" in retrieval and retrieval.endswith("| 40.0 |")
    tuned = next(line for line in table if "Weizmann | fine-tuning" in line)
    assert "–" in tuned and "+20.0" in tuned and "apart" in tuned


def test_directions_of_a_line_that_follows_the_change_and_of_a_round_cloud():
    representation = load("representation")
    change = np.arange(12.0).reshape(6, 2, 1) * np.array([1.0, -5.0])
    line = 3 - change[..., :1] * np.array([1.0, 2.0, 3.0])
    assert representation.directions(line, change) == pytest.approx((1, 1))
    axes = np.concatenate([np.eye(4), -np.eye(4)]).reshape(4, 2, 4)
    assert representation.directions(axes, np.arange(8.0).reshape(4, 2, 1))[0] == pytest.approx(4)
    turned = line[np.array([3, 0, 5, 1, 4, 2])]
    assert representation.directions(turned, change)[1] < 0.6


def test_motion_finds_what_moves_alike():
    representation = load("representation")
    split = representation.ActionSplit(["still", "fast"], [("a", 0), ("b", 1)], [("c", 1), ("d", 0)], Path(), ())
    change = np.array([[[-9.0, 1]], [[-1.0, 2]], [[-2.0, 2]], [[-8.0, 1]]])
    representation.K = 1
    assert representation.motion_scores(split, change, "cpu") == {"retrieval": 1.0, "kNN": 1.0}


@pytest.mark.parametrize("dataset, path, group", [
    ("Weizmann", "walk/daria_walk.avi", "daria"), ("Weizmann", "wave1/ira_wave1.avi", "ira"),
    ("UT-Interaction", "kick/59_10_2.avi", "10"), ("UT-Interaction", "shake/8_2_0.avi", "2"),
])
def test_groups_are_persons_and_sequences(dataset, path, group):
    labelled = load("representation").LABELLED[dataset]
    assert re.search(labelled.groups, path)[1] == group
    assert (group in labelled.test_groups) == (group in ("ira", "10"))


def test_stages_of_another_setting_are_refused(tmp_path):
    representation = load("representation")
    representation.refuse_other_setting(tmp_path / "setting.json", representation.CPU)
    representation.refuse_other_setting(tmp_path / "setting.json", representation.CPU)
    with pytest.raises(representation.EruvError, match="another setting"):
        representation.refuse_other_setting(tmp_path / "setting.json", representation.GPU)


@pytest.mark.slow
def test_representation_runs_whole_and_goes_on(tmp_path, monkeypatch, capsys):
    representation = load("representation")
    for number in range(4):
        write_video(tmp_path / "untrimmed" / f"{number}.mp4", frames=128, shots=2, size=(48, 64))
    sets = {"A": representation.Labelled("a", r"/([a-z]+)_", ("eli",)),
            "B": representation.Labelled("b", r"/([a-z]+)_", ("ido",))}
    for labelled in sets.values():
        for number, action in enumerate(("bend", "run")):
            for person in ("daria", "eli", "ido"):
                name = f"{person}_{action}_{labelled.folder}.avi"
                write_action(tmp_path / labelled.folder / action / name, COLOURS[action], frames=40, seed=number)
    tiny = dataclasses.replace(representation.CPU, width=1, crop=32, test_crop=36, frame_size=(36, 48), batch_size=4,
                               epochs=1, steps_per_epoch=2, finetune_epochs=1)
    for name, value in {"LABELLED": sets, "CPU": tiny, "BN_CLIPS": 16}.items():
        monkeypatch.setattr(representation, name, value)
    file = tmp_path / "result.json"
    monkeypatch.setattr("sys.argv", ["representation.py", "--videos", str(tmp_path), "--out", str(tmp_path / "out"),
                                     "--device", "cpu", "--seeds", "0", "--json", str(file)])
    representation.main()
    result = json.loads(file.read_text())
    assert result["videos"]["unlabelled"] == 4 + 2 * 4  # without the test persons
    assert len(result["runs"]) == 2 * 3
    assert all(0 <= run[measure] <= 1 for run in result["runs"] for measure in ("retrieval", "kNN", "probe"))
    assert capsys.readouterr().out.count("\n| A | ") == len(representation.MEASURES) + 2

    monkeypatch.setattr(representation, "evaluate", None)  # nothing is left to do
    monkeypatch.setattr(representation, "pretrain", None)
    representation.main()
    assert json.loads(file.read_text())["runs"] == result["runs"]


def test_change_tells_still_from_moving_and_ordered_from_shuffled():
    motion = load("motion")
    ramp = torch.linspace(0, 1, 16).reshape(1, 1, 16, 1, 1).expand(1, 3, 16, 8, 8)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    still, ordered, shuffled = (motion.change(clip).exp()[0] - motion.DARK
                                for clip in (torch.full((1, 3, 16, 8, 8), 0.3), ramp, ramp[:, :, order]))
    assert still.abs().max() < 1e-6
    assert ordered[0::3].tolist() == pytest.approx([apart / 15 for apart in motion.APART], abs=1e-5)  # the means
    assert shuffled[0] > 3 * ordered[0]


def test_motion_alone_tells_what_it_can(datasets, tmp_path, monkeypatch, capsys):
    file = tmp_path / "motion.json"
    monkeypatch.setattr("sys.argv", ["motion.py", "--data", str(datasets["raw"]), "--crop", "56", "--pairs", "120",
                                     "--relations", "CS,PD", "--json", str(file)])
    load("motion").main()
    result = json.loads(file.read_text())
    assert set(result["per_relation"]) == {"CS", "PD"} and result["samples"] == 30
    assert f"{result['accuracy']:.1%}" in capsys.readouterr().out
