"""BatchNorm's statistics measured again."""

from types import SimpleNamespace

import pytest
import torch
from running import metrics

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.models import build_backbone, load_backbone
from eruv_dali.models.recalibrate import recalibrate
from eruv_dali.pretrain import natural
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config


def test_the_statistics_are_the_means_over_the_batches():
    torch.manual_seed(0)
    net = build_backbone("c3d", width=1).eval()
    weights = [value.clone() for value in net.parameters()]
    batches = [torch.rand(4, 3, 8, 16, 16) * scale for scale in (1, 3)]
    for _ in range(2):  # the second time from other statistics
        recalibrate(net, batches)
    outputs = [net.conv1[0](x) for x in batches]
    norm = net.conv1[1]
    torch.testing.assert_close(norm.running_mean, sum(x.mean((0, 2, 3, 4)) for x in outputs) / 2)
    torch.testing.assert_close(norm.running_var, sum(x.var((0, 2, 3, 4)) for x in outputs) / 2)
    assert norm.momentum == 0.1 and not net.training
    assert all(torch.equal(value, was) for value, was in zip(net.parameters(), weights, strict=True))


@pytest.mark.parametrize("sizes", [[32, 32], [63], [33, 33, 33], [64, 1]])
def test_batches_of_any_size_hold_the_clips_in_order(sizes):
    clips = torch.arange(sum(sizes))[:, None]
    loader = [SimpleNamespace(clips=part) for part in clips.split(natural.BATCH)]
    found = list(natural._batches(loader, sizes, torch.device("cpu")))
    assert [len(x) for x in found] == sizes and torch.equal(torch.cat(found), clips)


def test_a_run_ends_with_the_statistics_of_clips_as_they_were_filmed(datasets, tmp_path, monkeypatch):
    seen = []

    class Recorder(natural.ClipLoader):
        def __iter__(self):
            for batch in super().__iter__():
                seen.extend(batch.info)
                yield batch

    sizes = []

    def recording(backbone, batches):
        recalibrate(backbone, (sizes.append(len(x)) or x for x in batches))

    monkeypatch.setattr(natural, "ClipLoader", Recorder)
    monkeypatch.setattr(natural, "recalibrate", recording)
    words = ["device=cpu", "data.crop=40", "data.batch_size=2", "data.val_pairs=4", "data.pairs_per_epoch=4",
             "model.width=1", "model.backbone=r3d", "optim.epochs=1", "log.tensorboard=false"]
    dataset = Dataset(datasets["raw"])
    pretrain(load_config(None, words), dataset, tmp_path / "plain")
    result = pretrain(load_config(None, [*words, "checkpoint.recalibrate=70"]), dataset, tmp_path / "run")
    assert result["recalibrated"] == 70 and metrics(tmp_path / "run") == metrics(tmp_path / "plain")
    assert len(seen) == 70 and sizes == [35, 35]
    assert all(list(clip.frames) == list(range(clip.frames[0], clip.frames[0] + 16)) and clip.rotation == 0
               for clip in seen)
    assert len({clip.video for clip in seen}) > 3 and len({clip.crop for clip in seen}) > 20
    plain, other = (load_backbone(tmp_path / run / "backbone.pt").state_dict() for run in ("plain", "run"))
    for name, value in plain.items():
        assert ("running" in name) != torch.equal(value, other[name]), name  # two steps, and two batches
    with pytest.raises(EruvError, match="checkpoint.recalibrate = 31 must be 0, or a number of clips of at least 32"):
        load_config(None, ["checkpoint.recalibrate=31"])
