"""Labelled data sets in miniature, with the syntax of the official files, and what is said of faulty ones."""

import argparse
from pathlib import Path

import pytest
from layouts import HMDB, UCF, make_hmdb51, make_ucf101, touch

from eruv_dali import EruvError
from eruv_dali.actions import read_split
from eruv_dali.actions.chosen import chosen_splits


@pytest.fixture
def ucf101(tmp_path) -> Path:
    return make_ucf101(tmp_path, touch)


@pytest.fixture
def hmdb51(tmp_path) -> Path:
    return make_hmdb51(tmp_path, touch)


@pytest.fixture
def five_persons(tmp_path) -> Path:
    for action in ("bend", "run", "wave1"):
        for person in ("daria", "denis", "eli", "ido", "ira"):
            for take in (1, 2):
                touch(tmp_path / action / f"{person}_{action}_{take}.avi")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def relative(side, root):
    return [(path.relative_to(root).as_posix(), label) for path, label in side]


@pytest.mark.parametrize("root", ["", "UCF-101"])
def test_ucf101(ucf101, root):
    split = read_split("ucf101", ucf101 / root, split=2)
    assert split.classes == ("ApplyEyeMakeup", "Basketball", "YoYo")
    assert relative(split.test, ucf101 / "UCF-101") == [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.avi", 0), ("Basketball/v_Basketball_g02_c01.avi", 1),
        ("YoYo/v_YoYo_g02_c01.avi", 2)]
    assert len(split.train) == 6 and [label for _, label in split.train] == [0, 0, 1, 1, 2, 2]
    assert read_split("ucf101", ucf101, splits=ucf101 / "ucfTrainTestlist").test != split.test


def test_ucf101_faulty_files(ucf101):
    lists = ucf101 / "ucfTrainTestlist"
    with pytest.raises(EruvError, match="split 4 is not one of ucf101's 1, 2, 3"):
        read_split("ucf101", ucf101, split=4)
    train = lists / "trainlist01.txt"
    whole = train.read_text()
    train.write_text(whole.replace(" 2\n", " 3\n", 1))
    with pytest.raises(EruvError, match=r"trainlist01.txt, line 3: label 3 is not that of Basketball \(2"):
        read_split("ucf101", ucf101)
    train.write_text("Juggling/v_Juggling_g01_c01.avi 1\n" + whole)
    with pytest.raises(EruvError, match="line 1: .*'Juggling', which classInd.txt does not name"):
        read_split("ucf101", ucf101)
    train.unlink()
    with pytest.raises(EruvError, match="trainlist01.txt: cannot be read"):
        read_split("ucf101", ucf101)
    (lists / "classInd.txt").write_text("0 ApplyEyeMakeup\n")
    with pytest.raises(EruvError, match="classInd.txt, line 1: '0 ApplyEyeMakeup' is not '1 CLASS'"):
        read_split("ucf101", ucf101)


def test_hmdb51_with_odd_names(hmdb51):
    split = read_split("hmdb51", hmdb51 / "hmdb51_org", splits=hmdb51 / "testTrainMulti_7030_splits", split=3)
    assert split.classes == ("brush_hair", "shoot_ball")
    root = hmdb51 / "hmdb51_org"
    assert relative(split.train, root) == [(f"{name}/{videos[0]}", n) for n, (name, videos) in enumerate(HMDB.items())]
    assert relative(split.test, root) == [(f"{name}/{videos[1]}", n) for n, (name, videos) in enumerate(HMDB.items())]


def test_hmdb51_faulty_files(hmdb51):
    file = hmdb51 / "testTrainMulti_7030_splits" / "shoot_ball_test_split1.txt"
    file.write_text(file.read_text() + "more.avi 3\n")
    with pytest.raises(EruvError, match=r"line 4: 'more.avi 3' is not 'NAME.avi 1\|2\|0'"):
        read_split("hmdb51", hmdb51)
    with pytest.raises(EruvError, match="no split files here"):
        read_split("hmdb51", hmdb51, splits=hmdb51 / "hmdb51_org")
    with pytest.raises(EruvError, match="no such folder"):
        read_split("hmdb51", hmdb51 / "nowhere", splits=hmdb51 / "testTrainMulti_7030_splits")


def test_absent_videos_are_counted_and_named_or_left_out(hmdb51, ucf101, caplog):
    for group in (2, 3):
        for name in UCF:
            (ucf101 / "UCF-101" / name / f"v_{name}_g{group:02d}_c01.avi").unlink()
    with pytest.raises(EruvError) as error:
        read_split("ucf101", ucf101)
    said = str(error.value)
    assert said.startswith("6 of 9 videos of split 1 are missing under") and said.count("v_") == 5 and "…" in said
    with pytest.raises(EruvError, match="3 of 3 classes have no training video: 'ApplyEyeMakeup', 'Basketball', 'Yo"):
        read_split("ucf101", ucf101, skip_missing=True)
    touch(ucf101 / "UCF-101/YoYo/v_YoYo_g02_c01.avi")
    for name in ("ApplyEyeMakeup", "Basketball"):
        touch(ucf101 / "UCF-101" / name / f"v_{name}_g03_c01.avi")
    split = read_split("ucf101", ucf101, skip_missing=True)
    assert len(split.train) == 3 and len(split.missing) == 3 and "3 of 9" in caplog.text


def test_a_class_without_test_videos(hmdb51):
    file = hmdb51 / "testTrainMulti_7030_splits" / "shoot_ball_test_split1.txt"
    file.write_text(file.read_text().replace(" 2 ", " 0 "))
    with pytest.raises(EruvError, match="1 of 2 classes have no test video: 'shoot_ball'"):
        read_split("hmdb51", hmdb51)


def test_folder_draws_a_seeded_share_of_each_class(five_persons):
    split = read_split("folder", five_persons)
    assert split.classes == ("bend", "run", "wave1")
    assert [sum(label == n for _, label in split.test) for n in range(3)] == [3, 3, 3]
    assert sorted(split.train + split.test) == sorted((path, split.classes.index(path.parent.name))
                                                      for path in five_persons.rglob("*.avi"))
    assert split == read_split("folder", five_persons)
    assert split != read_split("folder", five_persons, seed=1) and split != read_split("folder", five_persons, split=2)


@pytest.mark.parametrize("seed", range(5))
def test_folder_keeps_groups_on_one_side(five_persons, seed):
    split = read_split("folder", five_persons, groups=r"/([a-z]+)_", test_fraction=0.4, seed=seed)
    sides = [{path.name.split("_")[0] for path, _ in side} for side in (split.train, split.test)]
    assert not sides[0] & sides[1] and len(sides[1]) == 2 and len(split.test) == 12


def test_folder_with_groups_within_classes(tmp_path):
    """Source films that belong to one class each: every class still has both sides."""
    for name in "abcdefghij":
        for film in range(3):
            for scene in range(4):
                touch(tmp_path / name / f"{name}{film}_{scene}.avi")
    split = read_split("folder", tmp_path, groups="/(.*)_")
    assert [sum(label == n for _, label in split.test) for n in range(10)] == [4] * 10


def test_folder_leaves_named_groups_out(five_persons, caplog):
    split = read_split("folder", five_persons, groups=r"/([a-z]+)_", test_groups=["ido"])
    assert {path.name.split("_")[0] for path, _ in split.test} == {"ido"} and len(split.train) == 24
    for take in (1, 2):
        (five_persons / "run" / f"ido_run_{take}.avi").unlink()
    split = read_split("folder", five_persons, groups=r"/([a-z]+)_", test_groups=["ido"])
    assert len(split.test) == 4 and "1 of 3 classes have no test video: 'run'" in caplog.text


def test_folder_bad_input(five_persons, tmp_path_factory):
    for wrong, said in (("(", "not a valid regular"), ("[a-z]+", "no .group"), (r"(xyz)", "nothing in 30 of 30")):
        with pytest.raises(EruvError, match=said):
            read_split("folder", five_persons, groups=wrong)
    with pytest.raises(EruvError, match="'bob' is not one of those that .* finds: daria, denis, eli, ido, ira"):
        read_split("folder", five_persons, groups=r"/([a-z]+)_", test_groups=["bob"])
    with pytest.raises(EruvError, match="need groups"):
        read_split("folder", five_persons, test_groups=["ido"])
    with pytest.raises(EruvError, match="'bend' cannot be on both sides"):
        read_split("folder", five_persons, groups="(a|e)")
    with pytest.raises(EruvError, match="test fraction 1"):
        read_split("folder", five_persons, test_fraction=1)
    with pytest.raises(EruvError, match="splits is for"):
        read_split("folder", five_persons, splits=five_persons)
    with pytest.raises(EruvError, match="groups are for"):
        read_split("ucf101", five_persons, groups="(x)")
    with pytest.raises(EruvError, match="'kinetics' is not one of ucf101, hmdb51, folder"):
        read_split("kinetics", five_persons)
    (five_persons / "empty").mkdir()
    with pytest.raises(EruvError, match="empty: no videos in this folder"):
        read_split("folder", five_persons)
    with pytest.raises(EruvError, match="no class folders here"):
        read_split("folder", tmp_path_factory.mktemp("nothing"))


@pytest.mark.parametrize("numbers", [dict(seed=-1), dict(split=-1)])
def test_a_draw_has_no_negative_number(five_persons, numbers):
    (name,) = numbers
    with pytest.raises(EruvError, match=f"^{name} -1 must be at least 0$"):
        read_split("folder", five_persons, **numbers)


def test_groups_that_would_share_a_folder_are_refused(tmp_path):
    for path in ("bend/a/b/1.avi", "bend/a_b/2.avi", "run/a/b/3.avi", "run/a_b/4.avi"):
        touch(tmp_path / path)
    words = argparse.Namespace(leave_one_out=True, dataset="folder", root=tmp_path, groups="^[^/]+/(.+)/",
                               test_groups=None, splits=None, split=None, test_fraction=None,
                               skip_missing=False)
    with pytest.raises(EruvError, match="the files of 'a/b' and 'a_b' would share the folder split_a_b; choose"):
        chosen_splits(words)
    for name in ("bend", "run"):
        (tmp_path / name / "a_b").rename(tmp_path / name / "a-b")
    assert [name for name, _ in chosen_splits(words)] == ["a-b", "a/b"]


def test_weizmann_leave_one_person_out(real_videos):
    split = read_split("folder", real_videos / "weizmann", groups="/([a-z]+)_", test_groups=["lena"])
    assert len(split.classes) == 10 and len(split.test) == 10 and len(split.train) == 50
