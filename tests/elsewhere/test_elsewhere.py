"""The loaders in other code: a plain loop, PyTorch Lightning, transformers, and the lines of the README."""

import functools
import logging
import os
import re
import subprocess
import sys

import pytest
import torch
from forked import all_ended, ranks
from places import ROOT
from torch import nn

from eruv_dali import ClipLoader, EruvError, RelationLoader, RelationNet, build_backbone

README = ROOT / "README.md"


@pytest.fixture(scope="module")
def clips(videos):
    """Two classes that differ at a glance: frames 0 to 15 and 100 to 115 of some videos."""
    return [(videos / name, start, label) for name in ("h264_b.mp4", "vp8.webm", "mjpeg.avi", "long/a.mp4")
            for label, start in enumerate((0, 100))]


@pytest.mark.slow
def test_a_plain_loop_learns(clips):
    torch.manual_seed(0)
    net = nn.Sequential(nn.AvgPool3d((16, 8, 8)), nn.Flatten(), nn.Linear(3 * 14 * 14, 2))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    losses = []
    with ClipLoader(clips, batch_size=4, shuffle=True, device="cpu") as loader:
        for _ in range(20):
            for batch in loader:
                loss = nn.functional.cross_entropy(net(batch.clips), batch.label)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
    assert len(losses) == 40 and losses[-1] < losses[0] / 4


@pytest.fixture(scope="module")
def pretraining():
    """A LightningModule that notes what it is given, and a Trainer that keeps quiet."""
    lightning = pytest.importorskip("lightning")

    class Pretraining(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.seen, self.validated = RelationNet(build_backbone("r3d", width=4), 7), [], []

        def training_step(self, batch, number):
            self.seen.append(batch.info)
            return nn.functional.cross_entropy(self.net(batch.clips), batch.relation)

        def validation_step(self, batch, number):
            self.validated.append(batch.info)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    def trainer(folder, checkpoints=(), **options):
        return lightning.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=bool(checkpoints), enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder, callbacks=list(checkpoints),
            **options)

    return Pretraining, trainer


SMALL = dict(batch_size=2, crop=32, clip_length=4, device="cpu")


def test_lightning_fits_over_it(datasets, tmp_path, pretraining):
    make, trainer = pretraining
    with RelationLoader(datasets["jpeg"], pairs_per_epoch=6, **SMALL) as loader:
        module = make()
        before = [parameter.clone() for parameter in module.parameters()]
        training = trainer(tmp_path, max_epochs=2)
        training.fit(module, loader)
        assert training.global_step == 6 and loader.epoch == 2
    assert len(module.seen) == 6 and module.seen[:3] != module.seen[3:]
    assert any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def test_lightning_with_steps_limited_sees_another_epoch_each_time(datasets, tmp_path, pretraining):
    make, trainer = pretraining
    with RelationLoader(datasets["raw"], pairs_per_epoch=20, **SMALL) as loader:
        epochs = [[batch.info for batch in loader] for _ in range(3)]
        loader.set_epoch(0)
        module = make()
        trainer(tmp_path, max_epochs=3, limit_train_batches=3).fit(module, loader)
    assert module.seen == [info for epoch in epochs for info in epoch[:3]]


@pytest.fixture(scope="module")
def whole_fits(datasets, tmp_path_factory, pretraining):
    """`whole_fits(limit)`: a folder with a checkpoint of each step of three epochs, and what was seen in them."""
    make, trainer = pretraining
    from lightning.pytorch.callbacks import ModelCheckpoint

    @functools.cache
    def fit(limit):
        folder = tmp_path_factory.mktemp("fit")
        saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        with RelationLoader(datasets["raw"], pairs_per_epoch=20, **SMALL) as loader:
            whole = make()
            trainer(folder, [saving], max_epochs=3, limit_train_batches=limit).fit(whole, loader)
        return folder, whole.seen

    return fit


@pytest.mark.parametrize("limit, saved_after", [(None, 4), (None, 10), (None, 14), (3, 2), (3, 3), (3, 4), (3, 6)])
def test_lightning_resumes_exactly_by_its_own_checkpoint(datasets, tmp_path, pretraining, whole_fits, limit,
                                                         saved_after):
    """In mid-epoch and at the end of one, with the steps of an epoch limited and not."""
    make, trainer = pretraining
    folder, seen = whole_fits(limit)
    with RelationLoader(datasets["raw"], pairs_per_epoch=20, **SMALL) as loader:
        resumed = make()
        trainer(tmp_path, max_epochs=3, limit_train_batches=limit).fit(
            resumed, loader, ckpt_path=folder / f"step={saved_after}.ckpt")
    assert len(seen) == 3 * (limit or 10) and resumed.seen == seen[saved_after:]


@pytest.mark.parametrize("limit", [None, 3])
def test_lightning_resumes_exactly_from_the_end_of_an_epoch(datasets, tmp_path, pretraining, limit):
    make, trainer = pretraining
    from lightning.pytorch.callbacks import ModelCheckpoint

    options = dict(max_epochs=3, limit_train_batches=limit)
    with RelationLoader(datasets["raw"], pairs_per_epoch=20, **SMALL) as loader:
        whole = make()
        saving = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        trainer(tmp_path, [saving], **options).fit(whole, loader)
    with RelationLoader(datasets["raw"], pairs_per_epoch=20, **SMALL) as loader:
        resumed = make()
        trainer(tmp_path, **options).fit(resumed, loader, ckpt_path=tmp_path / "epoch=0.ckpt")
    assert resumed.seen == whole.seen[limit or 10:]


def test_lightning_with_one_loader_for_both_says_so(datasets, tmp_path, pretraining):
    make, trainer = pretraining
    with RelationLoader(datasets["raw"], pairs_per_epoch=20, **SMALL) as loader:
        with pytest.raises(EruvError, match="make a second loader .* for validation between training steps"):
            trainer(tmp_path, max_epochs=1, val_check_interval=5).fit(make(), loader, loader)
        with RelationLoader(datasets["raw"], pairs_per_epoch=20, seed=1, **SMALL) as other:
            module = make()
            trainer(tmp_path, max_epochs=1, val_check_interval=5).fit(module, loader, other)
    assert len(module.seen) == 10 and len(module.validated) == 20


IN_LIGHTNING = """
import sys, torch, lightning
from eruv_dali import RelationLoader
loader = RelationLoader(sys.argv[1], batch_size=2, crop=32, clip_length=4, device="cpu", pairs_per_epoch=21)

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net, self.seen = torch.nn.Linear(1, 1), []

    def training_step(self, batch, number):
        self.seen += [repr(info) for info in batch.info]
        return self.net(batch.clips.mean().view(1, 1)).sum()

    def on_train_epoch_end(self):
        with open(f"{sys.argv[2]}/{self.global_rank}.{self.current_epoch}", "w") as file:
            file.write("\\n".join(self.seen))
        self.seen = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

lightning.Trainer(accelerator="cpu", strategy="ddp", devices=2, max_epochs=2, logger=False, enable_checkpointing=False,
                  enable_progress_bar=False, enable_model_summary=False).fit(Module(), loader)
"""


def two_epochs(dataset, out):
    """A rank's own loop over a loader."""
    logging.basicConfig(level=logging.INFO)
    with RelationLoader(dataset, pairs_per_epoch=21, **SMALL) as loader:
        for epoch in range(2):
            assert len(loader) == 6
            seen = [[repr(info) for info in batch.info] for batch in loader]
            assert len(seen) == 6
            (out / f"{os.environ['RANK']}.{epoch}").write_text("\n".join(sum(seen, [])))


def each_took_its_half(dataset, out):
    """Two epochs of 21 pairs, by what both ranks wrote down."""
    with RelationLoader(dataset, pairs_per_epoch=21, **SMALL) as loader:
        for epoch in range(2):
            want = [repr(info) for batch in loader for info in batch.info]
            one, two = ((out / f"{rank}.{epoch}").read_text().split("\n") for rank in range(2))
            # 21 pairs are 6 batches of 2 for each of 2 ranks, the last of one pair; a 22nd pair makes them equal.
            assert (len(one), len(two)) == (11, 11)
            assert not set(one) & set(two) and set(want) < set(one) | set(two)


def test_two_ranks_of_torchrun_take_each_its_half(datasets, tmp_path):
    both = ranks(tmp_path, 2, two_epochs, datasets["raw"], tmp_path)
    all_ended(both)
    each_took_its_half(datasets["raw"], tmp_path)
    for rank, process in enumerate(both):
        assert process.stderr.count(f"RelationLoader: process {rank} of 2 takes its share of each epoch") == 1


@pytest.mark.slow
def test_two_ranks_of_lightning_take_each_its_half(datasets, tmp_path):
    """Lightning starts the second rank itself, by the command that started the first."""
    pytest.importorskip("lightning")
    (tmp_path / "script.py").write_text(IN_LIGHTNING)
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    ran = subprocess.run([sys.executable, tmp_path / "script.py", datasets["raw"], tmp_path], env=environment,
                         capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    each_took_its_half(datasets["raw"], tmp_path)


def test_videomae_takes_a_batch_as_it_is(clips):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=112, patch_size=16, num_frames=16, tubelet_size=2, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64, num_labels=2,
    )
    net = transformers.VideoMAEForVideoClassification(config)
    with ClipLoader(clips, batch_size=4, layout="TCHW", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
                    device="cpu") as loader:
        batch = next(iter(loader))
    assert batch.clips.shape == (4, 16, 3, 112, 112)
    out = net(pixel_values=batch.clips, labels=batch.label)
    out.loss.backward()
    assert out.logits.shape == (4, 2) and torch.isfinite(out.loss)


def test_hugging_faces_trainer_as_the_readme_says(clips, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    (code,) = re.findall(r"\n(      from eruv_dali import ClipLoader\n      from transformers(?:.*\n)*?)\n\S",
                         README.read_text())
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=112, patch_size=16, num_frames=16, tubelet_size=2, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64, num_labels=2,
    )
    net = transformers.VideoMAEForVideoClassification(config)
    options = transformers.TrainingArguments(tmp_path, max_steps=5, report_to=[], use_cpu=True, save_strategy="no",
                                             disable_tqdm=True)
    scope = dict(net=net, options=options, clips=clips, __name__="readme")
    exec("\n".join(line[6:] for line in code.splitlines()), scope)
    assert scope["trainer"].state.global_step == 5 and scope["loader"].state_dict() == {"epoch": 1, "position": 2}


def test_the_five_lines_of_the_readme(videos, tmp_path, monkeypatch):
    (code,) = re.findall(r"\n(    from eruv_dali import ClipLoader\n(?:    .*\n)*)", README.read_text())
    lines = code.splitlines()
    assert len(lines) <= 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_videos").symlink_to(videos)
    scope = {}
    exec("\n".join(line[4:] for line in lines), scope)
    assert scope["batch"].clips.shape[1:] == (3, 16, 112, 112)
