"""The arithmetic of the benchmarks that train: what they make of the runs' figures."""

import json

import pytest
import torch
from places import benchmark as load


def test_told_apart_counts_only_answers_among_the_three():
    head = load("head")
    # Of the CS pairs 3 are right, 1 is taken for CD and 6 for CR, which is no answer among the three; CD are all CV.
    confusion = [[3, 0, 1, 6], [0, 2, 0, 0], [0, 4, 0, 0], [5, 0, 0, 5]]
    run = {"per_relation": dict.fromkeys(("CS", "CV", "CD", "CR"), 0.0), "confusion": confusion}
    assert head.told_apart(run) == pytest.approx(5 / 10)


def test_change_tells_still_from_moving_and_ordered_from_shuffled():
    motion = load("motion")
    ramp = torch.linspace(0, 1, 16).reshape(1, 1, 16, 1, 1).expand(1, 3, 16, 8, 8)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    still, ordered, shuffled = (motion.change(clip).exp()[0] - motion.DARK
                                for clip in (torch.full((1, 3, 16, 8, 8), 0.3), ramp, ramp[:, :, order]))
    assert still.abs().max() < 1e-6
    assert ordered[0::3].tolist() == pytest.approx([apart / 15 for apart in motion.APART], abs=1e-5)  # the means
    assert shuffled[0] > 3 * ordered[0]


def test_place_of_motion_is_counted_row_by_row():
    motion = load("motion")
    clips = torch.zeros(1, 3, 4, 48, 64)
    clips[:, :, 1::2, 8:16, 24:32] = 0.5  # blinks in the second row, fourth column
    place = motion.place_of_motion(clips)[0]
    assert place.argmax() == 8 + 3 and place[11] == pytest.approx(0.5) and place.sum() == pytest.approx(0.5)


def test_colours_are_shares_of_each_channel():
    clips = torch.zeros(1, 3, 2, 4, 4)
    clips[:, 0], clips[:, 1, :, :2] = 1.0, 0.5
    red, green, blue = load("shortcuts").colours(clips)[0].reshape(3, 8)
    assert red.tolist() == [0] * 7 + [1] and blue.tolist() == [1] + [0] * 7
    assert green[0] == green[4] == pytest.approx(0.5)


@pytest.mark.slow
def test_shortcuts_tell_what_they_can(datasets, tmp_path, monkeypatch, capsys):
    file = tmp_path / "shortcuts.json"
    monkeypatch.setattr("sys.argv", ["shortcuts.py", "--data", str(datasets["raw"]), "--crop", "56", "--pairs", "120",
                                     "--relations", "CS,PD", "--json", str(file)])
    load("shortcuts").main()
    result = json.loads(file.read_text())
    assert list(result["found"]) == ["motion", "place of motion", "colours", "clip j alone"]
    assert result["samples"] == 30 and result["options"]["relations"] == ["CS", "PD"]
    printed = capsys.readouterr().out
    for name, told in result["found"].items():
        assert set(told["per_relation"]) == {"CS", "PD"} and f"| {name} | {100 * told['accuracy']:.1f} |" in printed
