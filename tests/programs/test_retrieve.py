"""retrieve: the figures are those of the features it saves, and every query's neighbours can be found again."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from running import refused, run

from eruv_dali import EruvError
from eruv_dali.actions.retrieval import retrieval_scores, retrieve
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.dataset import Dataset
from eruv_dali.evaluate.features import video_features
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.retrieve import main

WORDS = ["--dataset", "folder", "--groups", r"/([a-z]+)_", "--init", "none", "--backbone", "r3d", "--width", "2",
         "--crop", "32", "--frame-size", "36x48", "--device", "cpu", "--batch-size", "4", "--clips", "3"]


def test_scores_count_a_query_once_however_many_hits_it_has():
    hit = np.zeros((4, 50), bool)
    hit[0, [0, 1, 2]] = hit[1, 4] = hit[2, 19] = True
    assert retrieval_scores(hit, 60) == {"top1": 0.25, "top5": 0.5, "top10": 0.5, "top20": 0.75, "top50": 0.75}
    assert retrieval_scores(hit[:, :7], 7) == {"top1": 0.25, "top5": 0.5, "top10": None, "top20": None, "top50": None}


def test_retrieve_against_brute_force():
    random = np.random.default_rng(0)
    train, test = random.standard_normal((90, 12)), random.standard_normal((31, 12))
    labels, wanted = random.integers(0, 8, 90), random.integers(0, 8, 31)
    topk, index, similarity, hit = retrieve(train, labels, test, wanted, device="cpu")
    cosine = (test / np.linalg.norm(test, axis=1, keepdims=True)) @ (train / np.linalg.norm(train, axis=1)[:, None]).T
    order = np.argsort(-cosine, 1)[:, :50]
    assert (index == order).all() and np.abs(similarity - np.take_along_axis(cosine, order, 1)).max() < 1e-6
    for k in (1, 5, 10, 20, 50):
        assert topk[f"top{k}"] == np.mean([any(labels[i] == w for i in row[:k])
                                           for row, w in zip(order, wanted, strict=True)])
    with pytest.raises(EruvError, match="queries have 12 dimensions, the database has 9"):
        retrieve(train[:, :9], labels, test, wanted, device="cpu")


@pytest.mark.parametrize("queries", ["video", "clip"])
def test_what_it_writes(monkeypatch, tmp_path, persons, queries):
    out = tmp_path / "run"
    run(monkeypatch, main, *WORDS, "--root", persons, "--test-groups", "ido", "--queries", queries, "--out", out)
    result = json.loads((out / "result.json").read_text())
    known = {"program": "retrieve", "dataset": "folder", "splits": ["ido"], "init": "none", "seed": 0,
             "backbone": "r3d", "width": 2, "queries": queries, "root": str(persons), "groups": r"/([a-z]+)_",
             "test_fraction": None, "classes": ["bend", "run", "wave1"]}
    assert known.items() <= result.items() and result["topk"]["top50"] is None
    assert result["topk"]["top5"] == 1  # three easy actions

    features = {side: np.load(out / f"features_{side}.npy") for side in ("train", "test")}
    with open(out / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and {row["split"] for row in rows if "ido" in row["video"]} == {"test"}
    start = load_pretrained("none", backbone="r3d", width=2)
    found = json.loads((out / "neighbours.json").read_text())
    assert found.get("clip_length") == (16 if queries == "clip" else None)
    dataset = Dataset(found["dataset"])
    for row in rows[::3]:
        alone = video_features(start.backbone, [row["video"]], clips=3, crop=32, dataset=dataset, device="cpu")[0]
        alone = alone.mean(0) if queries == "video" else alone
        saved = features[row["split"]][int(row["row"])]
        assert saved.shape == alone.shape and saved.dtype == np.float32
        np.testing.assert_allclose(saved, alone, rtol=1e-3, atol=1e-6)
        assert Path(row["video"]).parent.name == row["class"]

    each = 3 if queries == "clip" else 1
    assert len(found["queries"]) == 3 * each == result["per_split"]["ido"]["query_rows"]
    for query in found["queries"]:
        assert "ido" in query["video"] and len(query["neighbours"]) == min(10, 9 * each)
        similarities = [neighbour["similarity"] for neighbour in query["neighbours"]]
        assert similarities == sorted(similarities, reverse=True) and similarities[0] <= 1.000001
        for neighbour in query["neighbours"]:
            assert Path(neighbour["video"]).is_file() and "ido" not in neighbour["video"]
            assert neighbour["hit"] == (neighbour["class"] == query["class"])
            assert ("start" in neighbour) == (queries == "clip")
    top1 = np.mean([query["neighbours"][0]["hit"] for query in found["queries"]])
    assert result["topk"]["top1"] == pytest.approx(top1)


def test_several_splits_share_features_and_take_the_mean(monkeypatch, tmp_path, persons):
    made = []
    make = SplitFeatures.__init__
    monkeypatch.setattr(SplitFeatures, "__init__", lambda self, *a, **k: (made.append(1), make(self, *a, **k))[1])
    run(monkeypatch, main, *WORDS, "--root", persons, "--leave-one-out", "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert len(made) == 1 and result["splits"] == ["daria", "denis", "eli", "ido"]
    assert result["topk"]["top1"] == pytest.approx(
        np.mean([part["topk"]["top1"] for part in result["per_split"].values()]))
    one = json.loads((tmp_path / "run" / "split_eli" / "result.json").read_text())
    assert one["topk"] == result["per_split"]["eli"]["topk"] and one["queries"] == "video"
    assert np.load(tmp_path / "run" / "split_eli" / "features_test.npy").shape[0] == 3


def test_bad_input(monkeypatch, capsys, tmp_path, persons):
    said = refused(monkeypatch, capsys, main, *WORDS, "--root", persons, "--splits", tmp_path, "--out",
                   tmp_path / "run")
    assert "splits is for ucf101 and hmdb51" in said
    said = refused(monkeypatch, capsys, main, *WORDS, "--root", persons, "--split", "1", "-1", "--out",
                   tmp_path / "run")
    assert "split -1 must be at least 0" in said


def test_a_finished_run_is_not_written_again_unless_told(monkeypatch, capsys, tmp_path, persons):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/result.json").write_text('{"program": "retrieve"}')
    words = (*WORDS, "--root", persons, "--out", tmp_path / "run")
    assert "holds a finished run" in refused(monkeypatch, capsys, main, *words)
    # It gets as far as the next mistake.
    said = refused(monkeypatch, capsys, main, *words, "--overwrite", "--frame-size", "16x16")
    assert "--crop 32 does not fit" in said
