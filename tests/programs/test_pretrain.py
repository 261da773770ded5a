"""Pre-training: a run's files, exact resume, and what a person is told."""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from forked import Forked, program
from numbered import write_video
from running import metrics, outcome, refused

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.columns import SEGMENT
from eruv_dali.errors import EruvError
from eruv_dali.models import HeadOptions, RelationNet, build_backbone, load_backbone
from eruv_dali.prepare import prepare
from eruv_dali.prepare.__main__ import main as prepare_program
from eruv_dali.pretext.eruv import RELATIONS, Eruv, EruvOptions
from eruv_dali.pretext.pretext import Setting
from eruv_dali.pretrain.__main__ import main
from eruv_dali.pretrain.run import pretrain
from eruv_dali.pretrain.task import PretrainTask
from eruv_dali.train.checkpoint import checkpoints, load_checkpoint, load_newest, save_checkpoint
from eruv_dali.train.config import load_config
from eruv_dali.train.kind_scores import KindScores
from eruv_dali.train.loop import only_training
from eruv_dali.train.processes import ALONE
from eruv_dali.train.report import EPOCHS_AT_CHANCE, Report
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep, choose_precision

SMALL = ["device=cpu", "data.crop=40", "data.batch_size=2", "data.val_pairs=8", "data.pairs_per_epoch=8",
         "model.width=4", "model.backbone=r3d", "optim.epochs=2", "log.every_steps=2"]


def test_a_quiet_run_says_what_is_wrong(datasets, tmp_path, monkeypatch, capsys):
    words = ["--data", datasets["raw"], "--out", tmp_path / "run", *SMALL, "optim.epochs=1"]
    done = outcome(monkeypatch, capsys, main, *words, "--quiet")
    assert done.returncode == 0 and not done.stdout and (tmp_path / "run/result.json").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: only ") and "can show CV" in line
    assert "holds a run already" in refused(monkeypatch, capsys, main, *words, "--quiet")
    (tmp_path / "file").touch()
    assert refused(monkeypatch, capsys, main, *words, "--out", tmp_path / "file").endswith(
        "file: is a file; --out names a folder")


def test_a_run_and_its_files(datasets, tmp_path):
    result = pretrain(load_config(None, SMALL), Dataset(datasets["raw"]), tmp_path / "run")
    assert json.loads((tmp_path / "run/result.json").read_text()) == result
    assert 0 <= result["accuracy"] <= 1 and set(result["per_relation"]) == set(RELATIONS)
    assert result["samples"] == 8 and result["pretext"] == "eruv" and result["relations"] == list(RELATIONS)
    right = sum(result["confusion"][k][k] for k in range(7))
    assert result["accuracy"] == right / 8
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6, 8]
    assert [line["epoch"] for line in lines if "val" in line] == [0, 1]
    assert max(line["val"]["accuracy"] for line in lines if "val" in line) == result["accuracy"]
    backbone = load_backbone(tmp_path / "run/backbone.pt")
    best = torch.load(tmp_path / "run/best.pt", weights_only=True)["net"]
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, best[f"backbone.{name}"])
    assert load_config(tmp_path / "run/config.yaml") == load_config(None, SMALL)


@pytest.mark.slow
def test_the_network_learns_a_batch_by_heart(datasets):
    """Pixels, labels and gradients belong together: a batch seen again and again is soon named without a mistake."""
    torch.manual_seed(0)
    with RelationLoader(datasets["raw"], batch_size=8, crop=56, device="cpu", pairs_per_epoch=8) as loader:
        (batch,) = loader
    net = RelationNet(build_backbone("c3d", width=4), 7, dropout=0.0)
    optimizer = torch.optim.AdamW(net.parameters(), 0.005)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(net(batch.clips), batch.relation)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    assert torch.equal(net(batch.clips).argmax(1), batch.relation)


def test_scores_count_each_relation_by_itself():
    cpu = torch.device("cpu")
    scores = KindScores(("CS", "CR", "PI"), cpu)
    answers = [(0, 0), (0, 1), (0, 1), (1, 1), (1, 2)]  # true, answered
    for part in (answers[:2], answers[2:]):
        logits = torch.nn.functional.one_hot(torch.tensor([answered for _, answered in part]), 3).float()
        scores.add(logits, torch.tensor([true for true, _ in part]), torch.tensor(float(len(part))))
    assert scores.confusion.tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 0]]
    assert scores.per_kind == {"CS": 1 / 3, "CR": 1 / 2, "PI": None}
    assert scores.accuracy == 2 / 5 and scores.count == 5 and scores.loss == (2 * 2 + 3 * 3) / 5


def test_a_second_run_in_the_same_place_is_refused(datasets, tmp_path):
    dataset = Dataset(datasets["raw"])
    with (only_training(tmp_path, False, ALONE),  # one that has not saved anything yet
          pytest.raises(EruvError, match="another training is writing this run; wait for it to end")):
        pretrain(load_config(None, SMALL), dataset, tmp_path)
    assert not list(tmp_path.iterdir())
    pretrain(load_config(None, [*SMALL, "optim.max_steps=1"]), dataset, tmp_path)
    with pytest.raises(EruvError, match="holds a run already"):
        pretrain(load_config(None, SMALL), dataset, tmp_path)
    # Begun and ended since this one asked: it has the lock, but the folder is not its own.
    with pytest.raises(EruvError, match="holds a run already"), only_training(tmp_path, False, ALONE):
        pass


def test_videos_are_prepared_once(program_here, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--videos", videos / "long", *SMALL, "optim.max_steps=1", "data.val_fraction=0.5", "relations=CS,PI"]
    refused = program_here(*arguments, "--out", tmp_path / "run")
    assert refused.returncode == 2 and "2 videos with segments are too few" in refused.stderr
    (folder,) = tmp_path.glob("dataset_long_*")
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    program_here(*arguments, "--out", tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()} == stamps


def test_the_program_prints_accuracy_beside_chance(program_here, datasets, tmp_path):
    done = program_here("--data", datasets["jpeg"], "--out", tmp_path / "run", *SMALL, "optim.max_steps=2")
    assert done.returncode == 0, done.stderr
    assert "14.3%" in done.stderr and "overall" in done.stderr and "same shot" in done.stderr
    assert any(line.strip() == "Accuracy, epoch 0 (8 samples of held-out videos)" for line in done.stderr.splitlines())


def test_a_run_knows_the_frame_size_of_its_dataset(program_here, tmp_path):
    """Evaluation prepares its videos with what config.yaml says."""
    for name in "abcd":
        write_video(tmp_path / "films" / f"{name}.mp4", frames=60, size=(64, 96))
    prepare([tmp_path / "films"], tmp_path / "data", device="cpu", pack="raw", frame_size=(40, 48), workers=1)
    arguments = ["--data", tmp_path / "data", *SMALL, "data.crop=32", "optim.max_steps=1", "relations=PI,PD"]
    done = program_here(*arguments, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert load_config(tmp_path / "run" / "config.yaml").data.frame_size == [40, 48]
    assert program_here("--out", tmp_path / "run", "--resume", "optim.max_steps=2").returncode == 0
    done = program_here(*arguments, "data.frame_size=[64,86]", "--out", tmp_path / "other")
    assert done.returncode == 2 and "data.frame_size = [64, 86], but the frames of" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_video_that_vanished_is_the_users_to_decide_on(program_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abcdef":
        write_video(tmp_path / "my films" / f"{name}.mp4", frames=60, size=(64, 96))
    arguments = ["--videos", tmp_path / "my films", *SMALL, "optim.max_steps=1", "relations=PI,PD",
                 "data.frame_size=[64,86]"]
    assert program_here(*arguments, "--out", "one").returncode == 0
    (folder,) = tmp_path.glob("dataset_*")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    (tmp_path / "my films" / "a.mp4").unlink()
    done = program_here(*arguments, "--out", "two")
    assert done.returncode == 2 and "holds 1 video that is not among those given now ('a.mp4'" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    # Both ways out that it names work: train on all of it, or the command that lets the video go.
    data, command = re.search(r"with --data (.+), or remove them first: python (.*)\n", done.stderr).groups()
    assert program_here("--data", *shlex.split(data), *SMALL, "optim.max_steps=1", "relations=PI,PD", "--out", "three"
                        ).returncode == 0
    monkeypatch.setattr(sys, "argv", [*shlex.split(command)[1:], "--device", "cpu"])
    prepare_program()
    kept = {path: stamp for path, stamp in before.items() if path.parent.name == "records"}
    records = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    assert len(records) == 5 and records.items() <= kept.items()  # and it decoded nothing
    assert program_here(*arguments, "--out", "two").returncode == 0


@pytest.mark.parametrize("arguments, message", [
    (["--data", "{none}"], "no DATASET here"),
    (["--videos", "{none}/absent"], "no such file or folder"),
    (["--data", "{data}", "optim.epoch=1"], "unknown configuration key 'optim.epoch'; did you mean 'optim.epochs'"),
    (["optim.lr=0.1", "--data", "{data}", "optim.epoch=1"], "unknown configuration key 'optim.epoch'"),
    (["--data", "{data}", "device=gpu"], "device 'gpu'"),
    (["--data", "{data}", "data.clip_length=4"], "c3d cannot take a clip of 4 frames"),
    (["--device", "gpu"], "device 'gpu'"),
    (["--resume"], "--resume needs --out"),
    (["--out", "{none}", "--resume"], "no run to resume here"),
    (["--config", "{none}/c.yaml"], "c.yaml: cannot be read"),
])
def test_one_clear_line_and_exit_code_2(program_here, datasets, tmp_path, monkeypatch, arguments, message):
    if {"gpu", "device=gpu"} & set(arguments) and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.chdir(tmp_path)
    done = program_here(*[argument.format(none=tmp_path, data=datasets["raw"]) for argument in arguments])
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()

@pytest.fixture
def program_here(capsys, monkeypatch):
    """The program within this process: its exit code and what it said. Starting Python and PyTorch takes seconds."""
    return partial(outcome, monkeypatch, capsys, main)


def same_run(a, b):
    """Two runs have the same weights, optimiser and metrics, but for what the clock said."""
    one, two = (torch.load(run / "last.pt", weights_only=True) for run in (a, b))
    assert one["step"] == two["step"]
    assert all(torch.equal(one["net"][name], two["net"][name]) for name in one["net"])
    for first, second in zip(*(state["optimizer"]["state"].values() for state in (one, two)), strict=True):
        assert torch.equal(first["momentum_buffer"], second["momentum_buffer"])
    assert metrics(a) == metrics(b)
    assert (a / "result.json").read_text() == (b / "result.json").read_text()


LONGER = [*SMALL, "data.pairs_per_epoch=40", "log.every_steps=3", "log.tensorboard=false", "optim.schedule=cosine"]


@pytest.fixture(scope="module")
def never_stopped(datasets, made_once, tmp_path_factory):
    made = made_once("never_stopped", lambda folder: pretrain(load_config(None, LONGER), Dataset(datasets["raw"]),
                                                              folder / "run"))
    return shutil.copytree(made / "run", tmp_path_factory.mktemp("never_stopped") / "run")


@pytest.mark.slow
@pytest.mark.parametrize("number, code, every_minutes", [
    (signal.SIGKILL, -signal.SIGKILL, 0), (signal.SIGTERM, 143, 10), (signal.SIGINT, 130, 10)])
def test_stopped_and_resumed_it_ends_as_if_it_never_had(program_here, datasets, never_stopped, tmp_path, number, code,
                                                        every_minutes):
    out = tmp_path / "run"
    run = Forked(tmp_path / "said", program, main, "--data", datasets["raw"], "--out", out, *LONGER,
                 f"checkpoint.every_minutes={every_minutes}")
    awaited = out / ("last-1.pt" if number == signal.SIGKILL else "metrics.jsonl")
    while not (awaited.exists() and awaited.stat().st_size):
        assert run.running, run.stderr
        time.sleep(0.005)
    os.kill(run.pid, number)
    assert run.ended() == code
    stopped_at = torch.load(out / "last.pt", weights_only=True)["step"]
    assert 3 <= stopped_at < 40
    if code > 0:
        assert f"{signal.Signals(number).name}: saved after step {stopped_at} of 40; continue with" in run.stderr
        assert f"--out {out} --resume" in run.stderr
    with open(out / "metrics.jsonl", "a") as file:  # as if killed after it wrote a line, before it saved
        file.write(json.dumps({"epoch": 0, "step": stopped_at + 3, "loss": 0.0}) + "\n")
    done = program_here("--out", out, "--resume")  # which videos, it finds in config.yaml
    assert done.returncode == 0 and f"resuming after {stopped_at}" in done.stderr
    same_run(never_stopped, out)


@pytest.mark.slow
def test_a_truncated_checkpoint_is_refused_and_the_one_before_it_taken(program_here, datasets, never_stopped, tmp_path,
                                                                       caplog):
    out = tmp_path / "run"
    config = [*LONGER, "checkpoint.every_minutes=0"]
    pretrain(load_config(None, config), Dataset(datasets["raw"]), out)
    last = (out / "last.pt").read_bytes()
    (out / "last.pt").write_bytes(last[: len(last) // 2])
    done = program_here("--data", datasets["raw"], "--out", out, "--resume")
    assert done.returncode == 0
    assert "last.pt: damaged checkpoint (truncated" in caplog.text and "one before it, last-1.pt" in caplog.text
    assert "resuming after 40" in done.stderr  # saved twice there: at the logging step and after the validation
    same_run(never_stopped, out)


def test_lines_that_will_come_again_are_forgotten(tmp_path):
    """Killed after step 9, saved after step 6: at a logging step, or (validated = 6) after the validation there."""
    lines = [{"step": 3, "loss": 1.0}, {"step": 6, "loss": 0.9}, {"step": 6, "val": {}}, {"step": 9, "loss": 0.8}]
    for validated, kept in ((0, lines[:2]), (6, lines[:3])):
        file = tmp_path / "metrics.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 12, "lo')
        Report(tmp_path, 40, 6, tensorboard=False, at_chance={}, cores=2).forget_after(6, validated)
        assert [json.loads(line) for line in file.read_text().splitlines()] == kept


def test_flipped_bits_are_noticed(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"net": torch.arange(10_000)})
    whole = bytearray(path.read_bytes())
    whole[40_000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(EruvError, match="last.pt: damaged checkpoint .checksum of"):
        load_newest(path)


def test_so_many_checkpoints_are_kept(tmp_path):
    path = tmp_path / "last.pt"
    for number in range(5):
        save_checkpoint(path, {"number": number}, keep=3)
    assert [load_checkpoint(name)["number"] for name in checkpoints(path)] == [4, 3, 2]
    save_checkpoint(path, {"number": 5}, keep=2)
    assert [load_checkpoint(name)["number"] for name in checkpoints(path)] == [5, 4]
    assert sorted(name.name for name in tmp_path.iterdir()) == ["last-1.pt", "last.pt"]
    path.unlink()  # killed between two renames, on a file system without hard links
    assert load_newest(path)[0]["number"] == 4


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    """The system refuses to write more than so many bytes into a file, as it does when a disk is full."""
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"number": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(EruvError, match=r"last.pt: cannot be written \(File too large\); the previous checkpoint"):
            save_checkpoint(path, {"number": 2, "net": torch.zeros(100_000)}, keep=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_newest(path)[0]["number"] == 1
    assert [name.name for name in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_in_one_line(datasets, never_stopped, tmp_path):
    """It may write files of 30 kB and no more; its checkpoint takes 1 MB."""
    out = tmp_path / "run"
    shutil.copytree(never_stopped, out)
    before = (out / "last.pt").read_bytes()
    done = Forked(tmp_path / "said", program, main, "--data", datasets["raw"], "--out", out, "--resume",
                  "optim.epochs=3", file_bytes=30_000)
    assert done.ended() == 2 and "File too large" in done.stderr and "Traceback" not in done.stderr
    assert (out / "last.pt").read_bytes() == before and not list(out.glob(".*"))


def test_a_loss_that_is_no_number_stops_the_run_and_its_batch_is_kept(datasets, tmp_path):
    out = tmp_path / "run"
    dataset = Dataset(datasets["raw"])
    config = [*SMALL, "checkpoint.every_minutes=0", "data.pairs_per_epoch=40"]
    with pytest.raises(EruvError, match="loss is nan at step .* lower the learning rate"):
        pretrain(load_config(None, [*config, "optim.lr=1e30"]), dataset, out)
    bad = json.loads((out / "bad_batch.json").read_text())
    assert bad["loss"] == "nan" and len(bad["samples"]) == 2
    with RelationLoader(dataset, batch_size=2, crop=40, device="cpu", split="train", pairs_per_epoch=40) as loader:
        wanted = list(loader)[bad["step"] - 1].info
    assert [sample["kind"] for sample in bad["samples"]] == [pair.relation for pair in wanted]
    assert [sample["clips"][1]["frames"] for sample in bad["samples"]] == [list(pair.clips[1].frames)
                                                                           for pair in wanted]
    for saved in checkpoints(out / "last.pt"):
        assert all(value.isfinite().all() for value in load_checkpoint(saved)["net"].values())


@pytest.mark.parametrize("changed, message", [
    ("optim.lr=0.5", "optim.lr = 0.5 was 0.01 when this run began"),
    ("model.backbone=c3d", "model.backbone = c3d was r3d when this run began"),
    ("data.batch_size=4", "batches of 4 on 1 process.es. are 4 samples a step, and were 2"),
    ("data.val_fraction=0.4", "data.val_fraction = 0.4 was 0.1"),
    ("pretext=rotnet3d", "pretext.name = rotnet3d was eruv when this run began"),
])
def test_another_configuration_is_not_resumed(program_here, datasets, never_stopped, changed, message):
    before = (never_stopped / "last.pt").read_bytes()
    done = program_here("--data", datasets["raw"], "--out", never_stopped, "--resume", changed)
    assert done.returncode == 2 and re.search(message, done.stderr) and "Traceback" not in done.stderr
    assert (never_stopped / "last.pt").read_bytes() == before


def test_other_videos_are_not_resumed(program_here, videos, never_stopped, tmp_path):
    other = tmp_path / "other"
    prepare([videos], other, device="cpu", pack="raw", segment_length=100)
    done = program_here("--out", never_stopped, "--resume", "--data", other)
    assert done.returncode == 2 and "digest of the segments = " in done.stderr


def test_compiled_or_not_a_step_is_the_same(monkeypatch, caplog):
    """Where the compiler fails it is said, and the trial leaves no trace in weights, statistics or dropout."""
    def broken(function, **options):
        def fail(*arguments):
            function(*arguments)
            raise RuntimeError("no compiler here\nand more")
        return fail

    nets = []
    for compiler in (None, lambda function, **options: function, broken):
        torch.manual_seed(0)
        net = RelationNet(build_backbone("r3d", width=4), 7)
        if compiler:
            monkeypatch.setattr(torch, "compile", compiler)
        optim = OptimConfig(compile="on" if compiler else "off")
        step = TrainStep(net, optim, device=torch.device("cpu"), precision=torch.float32)
        generator = torch.Generator().manual_seed(1)
        for number in range(3):
            clips = torch.rand(4, 2, 3, 8, 32, 32, generator=generator)
            step(clips, torch.randint(7, (4,), generator=generator), number)
        nets.append(net.state_dict())
    for other in nets[1:]:
        assert all(torch.equal(nets[0][name], other[name]) for name in other)
    (said,) = caplog.messages
    assert "torch.compile failed" in said and "no compiler here" in said


def test_precision_follows_the_device_unless_asked(caplog):
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) is torch.float32 and not caplog.messages
    assert choose_precision("bfloat16", cpu) is torch.bfloat16 and "float32 is safe" in caplog.text


@pytest.mark.parametrize("pack, threads, cause", [
    ("none", 2, "prepare with --pack video"), ("jpeg", 1, "raise data.threads"), ("raw", 99, "faster disk"),
    ("video", 99, "decoding the video pack takes all cores; prepare with --pack raw")])
def test_waiting_for_clips_is_said_once_with_its_cause(tmp_path, capsys, pack, threads, cause):
    loader = SimpleNamespace(videos=SimpleNamespace(pack=pack), threads=threads, device="cpu")
    figures = {"epoch": 0, "loss": 1.0, "accuracy": 0.5, "clips_per_second": 10.0, "lr": 0.01}
    report = Report(tmp_path, 100, 0, tensorboard=False, at_chance={}, cores=2)
    said = []
    for step, wait in enumerate([0.9, 0.3, 0.1, 0.3, 0.3, 0.4, 0.5, 0.6]):  # the third breaks the row
        report.steps({**figures, "step": step, "data_wait": wait}, loader)
        said.append(capsys.readouterr().err)
    assert [cause in text for text in said] == [step == 5 for step in range(8)]


def test_a_relation_at_chance_is_said_once_with_its_cause(tmp_path, capsys):
    report = Report(tmp_path, 100, 0, tensorboard=False, at_chance={}, cores=2)
    eruv = Eruv(np.array([(0, 0, 0, 0, 100)], SEGMENT), Setting(), EruvOptions(relations=["CS", "CR"]))
    for epoch in range(EPOCHS_AT_CHANCE + 3):
        val = {"accuracy": 0.5, "loss": 1.0, "samples": 60, "per_relation": {"CS": 0.55, "CR": 0.9},
               "confusion": [[16, 14], [3, 27]]}
        report.validation({"epoch": epoch, "step": epoch, "val": val},
                          lambda kind: eruv.advice(kind, HeadOptions("linear")))
        said = capsys.readouterr().err
        assert ("CS is still recognised no better than by chance (55.0%, chance 50.0%): a linear head cannot compare"
                in said) == (epoch == EPOCHS_AT_CHANCE - 1)
        assert "CR is" not in said


@pytest.mark.parametrize("relations, terms, warned", [
    (("CS",), False, True), (("CS", "CR"), False, False), (("CS",), True, False)])
def test_one_relation_alone_is_warned_of(relations, terms, warned):
    """Unless terms of the loss beside the pretext's own give the network something to learn."""
    class Terms(SimpleNamespace):
        def __bool__(self):
            return terms

    task = object.__new__(PretrainTask)
    task.pretext = SimpleNamespace(kinds=relations, kind_word="relation", warnings=list)
    task.terms, task._clips = Terms(warnings=lambda clips, dim: []), 2
    task.net = SimpleNamespace(backbone=SimpleNamespace(feature_dim=2))
    assert any("only one relation, CS" in said for said in task.warnings()) is warned


@pytest.mark.parametrize("single_shot_videos, warned", [(1, False), (3, True)])
def test_a_relation_that_few_videos_can_show_is_warned_of(single_shot_videos, warned):
    """Two segments, of the two shots of video 0, can begin a CV pair; the network must not learn to know video 0."""
    segments = [(0, 0, 0, 0, 100), (1, 0, 1, 100, 200)]
    segments += [(2 + n, 1 + n, 0, 0, 100) for n in range(single_shot_videos)]
    said = " ".join(Eruv(np.array(segments, SEGMENT), Setting(), EruvOptions()).warnings())
    assert ("only 2 of 5 segments can show CV, from 1 of 4 videos" in said
            and "(relations=CS,CD,CR,PI,PD,PS)" in said) is warned
    assert said.count("can show") == warned
    pair = Eruv(np.array(segments, SEGMENT), Setting(), EruvOptions(relations=["CS", "CV"])).warnings()
    assert not any("leave" in said for said in pair)  # CS alone could not be trained on
