"""The loaders in other code: a plain loop, PyTorch Lightning, transformers, and the lines of the README."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from eruv_dali import ClipLoader, RelationLoader, RelationNet, build_backbone

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def clips(videos):
    """Two classes that differ at a glance: frames 0 to 15 and 100 to 115 of some videos."""
    return [(videos / name, start, label) for name in ("h264_b.mp4", "vp8.webm", "mjpeg.avi", "long/a.mp4")
            for label, start in enumerate((0, 100))]


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


def test_lightning_fits_over_it(datasets, tmp_path):
    lightning = pytest.importorskip("lightning")

    class Pretraining(lightning.LightningModule):
        def __init__(self, relations):
            super().__init__()
            self.net = RelationNet(build_backbone("r3d"), relations)
            self.seen = []

        def training_step(self, batch, number):
            self.seen += batch.info
            return nn.functional.cross_entropy(self.net(batch.clips), batch.relation)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    with RelationLoader(datasets["jpeg"], batch_size=2, crop=32, clip_length=4, device="cpu",
                        pairs_per_epoch=6) as loader:
        module = Pretraining(len(loader.relations))
        before = [parameter.clone() for parameter in module.parameters()]
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                                    enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path)
        trainer.fit(module, loader)
        assert trainer.global_step == 6 and loader.epoch == 2
    assert len(module.seen) == 12 and module.seen[:6] != module.seen[6:]
    assert any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


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


def test_the_five_lines_of_the_readme(videos, tmp_path, monkeypatch):
    (code,) = re.findall(r"\n(    from eruv_dali import ClipLoader\n(?:    .*\n)*)", README.read_text())
    lines = code.splitlines()
    assert len(lines) <= 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_videos").symlink_to(videos)
    scope = {}
    exec("\n".join(line[4:] for line in lines), scope)
    assert scope["batch"].clips.shape[1:] == (3, 16, 112, 112)
