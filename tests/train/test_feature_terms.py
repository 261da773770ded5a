"""Further terms of the loss: what they measure, that they are trained on, logged apart, and resumed."""

import math
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from running import metrics

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.models import RelationNet, build_backbone
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config
from eruv_dali.train.contrast import info_nce
from eruv_dali.train.decorrelation import covariance_term, variance_term
from eruv_dali.train.feature_terms import FeatureTerms
from eruv_dali.train.loss_scores import LossScores
from eruv_dali.train.settings import LossConfig, OptimConfig
from eruv_dali.train.step import TrainStep
from eruv_dali.train.term_scores import TermScores

CPU = torch.device("cpu")
SMALL = ["device=cpu", "data.crop=40", "data.batch_size=2", "data.val_pairs=8", "data.pairs_per_epoch=8",
         "model.width=2", "model.backbone=r3d", "optim.epochs=1", "log.every_steps=2", "log.tensorboard=false"]


def test_the_terms_are_those_of_the_paper():
    torch.manual_seed(0)
    f_ND = torch.randn(9, 4, dtype=torch.float64) * torch.tensor([0.1, 0.5, 1, 3])
    deviations = [float(column.var() + 1e-4) ** 0.5 for column in f_ND.T]
    assert float(variance_term(f_ND)) == pytest.approx(sum(max(0, 1 - s) for s in deviations) / 4)
    means = f_ND.mean(0)
    wanted = sum(2 * float(((f_ND[:, i] - means[i]) * (f_ND[:, j] - means[j])).sum() / 8) ** 2
                 for i, j in combinations(range(4), 2)) / 4
    assert float(covariance_term(f_ND)) == pytest.approx(wanted)
    assert variance_term(torch.zeros(5, 3)) == pytest.approx(0.99) and covariance_term(torch.zeros(5, 3)) == 0
    still = torch.zeros(5, 3, requires_grad=True)
    variance_term(still).backward()
    assert torch.isfinite(still.grad).all()
    assert covariance_term(f_ND.bfloat16()).dtype is variance_term(f_ND.half()).dtype is torch.float32


def test_independent_features_have_the_covariance_that_the_warning_says():
    torch.manual_seed(0)
    terms = FeatureTerms(LossConfig(covariance=1))
    found = sum(float(covariance_term(torch.randn(16, 64))) for _ in range(50)) / 50
    assert found == pytest.approx(63 / 15, rel=0.05)
    (warning,) = terms.warnings(16, 64)
    assert "64 features are estimated from 16 clips a batch" in warning and "about 4.2" in warning
    assert not terms.warnings(32, 64) and not FeatureTerms(LossConfig(variance=1)).warnings(16, 64)
    assert not FeatureTerms(LossConfig()) and terms


def test_contrast_is_the_share_of_the_partner_among_clips_of_other_videos():
    torch.manual_seed(0)
    f_B2D = torch.randn(4, 2, 5, dtype=torch.float64, requires_grad=True)
    videos = torch.tensor([[0, 0], [1, 1], [0, 0], [2, 1]])
    positive = torch.tensor([True, True, False, False])

    def similar(a, b):
        a, b = f_B2D[a].detach(), f_B2D[b].detach()
        return float(torch.exp(a @ b / a.norm() / b.norm() / 0.5))

    losses = []
    for i, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
        own = similar((i, k), (i, 1 - k))
        others = [similar((i, k), (j, m)) for j in range(4) for m in range(2) if videos[j, m] != videos[i, k]]
        assert len(others) == {0: 4, 1: 5}[i]  # the other pair of video 0 is no negative
        losses.append(-math.log(own / (own + sum(others))))
    found = info_nce(f_B2D, positive, videos, 0.5)
    assert float(found.detach()) == pytest.approx(sum(losses) / 4, rel=1e-5)
    found.backward()
    assert (f_B2D.grad.abs().sum(2) > 0).sum() == 8 and torch.isfinite(f_B2D.grad).all()
    for nothing in (torch.zeros(4, dtype=torch.bool), positive):  # no pair, or no other video
        f_B2D.grad = None
        loss = info_nce(f_B2D, nothing, torch.zeros_like(videos), 0.5)
        loss.backward()
        assert loss.abs() < 1e-6 and f_B2D.grad.abs().max() < 1e-6


def test_positives_are_the_pairs_of_one_shot_and_videos_are_told_apart():
    def sample(kind, *videos):
        return SimpleNamespace(kind=kind, clips=[SimpleNamespace(video=video) for video in videos])

    batch = SimpleNamespace(info=[sample("CS", "b", "b"), sample("PI", "a", "a"), sample("CD", "b", "c")])
    terms = FeatureTerms(LossConfig(contrast=1), ("CS",))
    assert terms.origins(batch).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 2]]
    f_B2D = torch.randn(3, 2, 4)
    total, values = terms(f_B2D, terms.origins(batch))
    wanted = info_nce(f_B2D, torch.tensor([True, False, False]), torch.tensor([[0, 0], [1, 1], [0, 2]]), 0.1)
    assert total == wanted == values[0]


def spread_after(loss, steps=10):
    """After training on one batch: the share of the features' variance in their first direction, and the least standard
    deviation."""
    torch.manual_seed(0)
    net = RelationNet(build_backbone("r3d", width=2), 7, dropout=0.0)
    terms = FeatureTerms(loss)
    net.features_too = bool(terms)
    step = TrainStep(net, OptimConfig(name="adamw", lr=0.01), device=CPU, precision=torch.float32, terms=terms)
    clips, target = torch.rand(16, 2, 3, 4, 16, 16), torch.arange(16) % 7
    for number in range(steps):
        output, own = step(clips, target, number)
    assert output.shape == (16, 7)
    torch.testing.assert_close(own, torch.nn.functional.cross_entropy(output, target))  # without the terms
    assert step.terms.shape == (len(terms.names),)
    f_ND = step.net.backbone(clips.flatten(0, 1)).detach()
    spread = torch.linalg.eigvalsh(torch.cov(f_ND.T))
    return float(spread[-1] / spread.sum()), float(f_ND.std(0).min())


def test_training_spreads_the_features():
    share, least = spread_after(LossConfig())
    assert spread_after(LossConfig(variance=1, covariance=1))[0] < share / 2
    assert spread_after(LossConfig(variance=5))[1] > least + 0.1


@pytest.mark.slow
def test_a_run_logs_the_terms_apart_and_resumes_them_exactly(datasets, tmp_path):
    words = [*SMALL, "loss.variance=1", "loss.covariance=0.5", "loss.contrast=1"]
    dataset = Dataset(datasets["raw"])
    pretrain(load_config(None, words), dataset, tmp_path / "whole")
    pretrain(load_config(None, [*words, "optim.max_steps=2"]), dataset, tmp_path / "parts")
    pretrain(load_config(None, words), dataset, tmp_path / "parts", resume=True)
    lines = [line for line in metrics(tmp_path / "whole") if "loss" in line]
    assert lines == [line for line in metrics(tmp_path / "parts") if "loss" in line]
    assert all(0 < line["variance"] < 1 and line["covariance"] > 0 <= line["contrast"] for line in lines)
    assert lines[0]["loss"] < 4
    with pytest.raises(EruvError, match="loss.variance = 0.0 was 1.0 when this run began"):
        pretrain(load_config(None, [*words, "loss.variance=0"]), dataset, tmp_path / "parts", resume=True)
    net, other = (torch.load(tmp_path / run / "last.pt", weights_only=True)["net"] for run in ("whole", "parts"))
    assert all(torch.equal(value, other[key]) for key, value in net.items())


def test_the_terms_are_averaged_over_an_interval_and_kept_in_checkpoints():
    scores = TermScores(LossScores(CPU), ("variance", "covariance"), CPU)
    for loss, values in ((3.0, [1.0, 0.5]), (1.0, [0.5, 0.0])):
        scores.add(torch.zeros(2, 1), torch.zeros(2), torch.tensor(loss))
        scores.add_terms(torch.tensor(values))
    other = TermScores(LossScores(CPU), ("variance", "covariance"), CPU)
    other.load_state_dict(scores.state_dict())
    assert other.figures() == {"loss": 2.0, "variance": 0.75, "covariance": 0.25}


def test_what_no_term_can_be_computed_from_is_refused(datasets, tmp_path):
    for word in ("loss.variance=-1", "loss.covariance=.inf"):
        with pytest.raises(EruvError, match="must be (at least 0|a finite number)"):
            load_config(None, [word])
    with pytest.raises(EruvError, match="loss.variance compares the clips of a batch, and there is one"):
        pretrain(load_config(None, [*SMALL, "pretext=pace", "data.batch_size=1", "loss.variance=1"]),
                 Dataset(datasets["raw"]), tmp_path)
    for words, problem in (("pretext=pace", "pace has none; use eruv"), ("relations=CR,PI", "add CS to the relations")):
        with pytest.raises(EruvError, match=problem):
            pretrain(load_config(None, [*SMALL, words, "loss.contrast=1"]), Dataset(datasets["raw"]), tmp_path)
