"""What is mutated: small files of every kind that this package reads, drawn here; frames carry their number."""

import io
import json
import shutil
from pathlib import Path

import torch
from editing import delivered, draw_films, prepare_films
from layouts import UCF
from numbered import write_video
from tars import write_tar

from eruv_dali.models import build_backbone, save_backbone
from eruv_dali.native import data_dir
from eruv_dali.train.checkpoint import save_checkpoint
from eruv_dali.train.config import dump_config, load_config

FRAMES, SIZE = 40, (96, 128)
FAST = {"deadline": "realtime", "cpu-used": "8"}
X265 = {"x265-params": "log-level=none"}

# Arguments of numbered.write_video.
VIDEOS = {
    "b.mp4": dict(b_frames=2, gop=12),
    "edit_list.mp4": dict(b_frames=2, gop=12, start_pts=7),
    "open.mkv": dict(b_frames=2, gop=10, options={"x264-params": "open-gop=1:keyint=10"}),
    "plain.ts": dict(gop=12), "plain.mov": dict(gop=12), "plain.flv": dict(gop=12),
    "uneven.mkv": dict(gop=12, pts=[n + n * n // 7 for n in range(FRAMES)]),
    "hevc.mp4": dict(codec="libx265", gop=12, b_frames=2, options=X265),
    "vp8.webm": dict(codec="libvpx", gop=12, options=FAST),
    "vp9.webm": dict(codec="libvpx-vp9", gop=12, options=FAST),
    "mpeg4.mp4": dict(codec="mpeg4", gop=12, b_frames=2),
    "mpeg4.avi": dict(codec="mpeg4", gop=12, b_frames=2),
    "mjpeg.avi": dict(codec="mjpeg"),
    "mpeg2.ts": dict(codec="mpeg2video", gop=12, b_frames=2),
    "mpeg1.mpg": dict(codec="mpeg1video", gop=12),
}


def draw_seeds(folder: Path) -> None:
    """videos/, tars/, datasets/PACK, torch/, yaml/, json/, lists/."""
    for name, kind in VIDEOS.items():
        write_video(folder / "videos" / name, frames=FRAMES, size=SIZE, **kind)
    write_tar(folder / "tars" / "a.tar", {f"{'long/' * 30 * (n % 2)}{path.name}": path for n, path
                                          in enumerate(sorted((folder / "videos").iterdir())[:4])})
    films = folder / "films"
    films.mkdir()
    prepare_films(draw_films(films), folder / "datasets")
    delivered(folder / "datasets" / "raw")  # builds the operator library, which may take longer than a case may
    _torch_files(folder / "torch")
    (folder / "yaml").mkdir()
    for file in [*data_dir("configs").rglob("*.yaml")]:
        shutil.copy(file, folder / "yaml" / file.name)
    (folder / "yaml" / "whole.yaml").write_text(dump_config(load_config()))
    _json_files(folder / "json")
    lists = folder / "lists"
    lists.mkdir()
    names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name, groups in UCF.items() for group in range(1, groups + 1)]
    (lists / "classInd.txt").write_text("".join(f"{n} {name}\r\n" for n, name in enumerate(UCF, 1)))
    (lists / "testlist01.txt").write_text("".join(f"{name}\n" for name in names if "g01" in name))
    (lists / "trainlist01.txt").write_text("".join(
        f"{name} {list(UCF).index(name.split('/')[0]) + 1}\n" for name in names if "g01" not in name))


def _torch_files(folder: Path) -> None:
    folder.mkdir()
    net = build_backbone("r3d", width=1)
    save_backbone(net, folder / "backbone.pt")
    state = net.state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, folder / "legacy.pt",
               _use_new_zipfile_serialization=False)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.zeros(2, 3, 8, 64, 64)).sum().backward()
    optimizer.step()
    save_checkpoint(folder / "last.pt", {
        "net": {f"backbone.{key}": value for key, value in state.items()}, "optimizer": optimizer.state_dict(),
        "step": 3, "validated": 0, "best": None, "result": {}, "at_chance": {"CS": 1},
        "fingerprint": {"model.backbone": "r3d", "model.width": 1, "seed": 0}, "samples_a_step": 8})
    content = io.BytesIO()
    torch.save([torch.arange(5), "text", {"a": (1, 2.5, None, True)}], content)
    (folder / "values.pt").write_bytes(content.getvalue())


def _json_files(folder: Path) -> None:
    folder.mkdir()
    lines = [{"epoch": 0, "step": n, "loss": 2.0, "accuracy": 0.2, "clips_per_second": 10.0, "data_wait": 0.1,
              "lr": 0.01} for n in range(1, 9)]
    kinds = {"CS": 0.5, "CR": None}
    lines.append({"epoch": 0, "step": 8, "val": {"accuracy": 0.4, "loss": 1.5, "per_relation": kinds}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    video = {"video": "a.mp4", "class": "run", "start": 3}
    near = [{**video, "similarity": 0.9 - n / 10, "hit": n == 1} for n in range(3)]
    (folder / "neighbours.json").write_text(json.dumps({"queries": [{**video, "neighbours": near}] * 3}))

