"""Configuration files and overrides: what is accepted, what is refused, and in what words."""

import re
from dataclasses import asdict

import pytest
import yaml

from eruv_dali.errors import EruvError
from eruv_dali.native import data_dir
from eruv_dali.pretext.eruv import RELATIONS
from eruv_dali.train.config import dump_config, load_config, load_rows


def test_defaults_are_the_papers():
    config = load_config()
    assert config.pretext.relations == list(RELATIONS)
    assert (config.data.clip_length, config.data.crop, config.data.frame_size) == (16, 112, [128, 171])
    assert (config.optim.lr, config.optim.momentum, config.optim.epochs) == (0.01, 0.9, 300)


def test_overrides_and_files(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("model: {backbone: r3d}\noptim:\n  lr: 1e-3\nrelations: [CS, PI]\n")
    config = load_config(file, ["optim.epochs=3", "relations=CS,CV", "data.val_pairs=null"])
    assert (config.model.backbone, config.optim.lr, config.optim.epochs) == ("r3d", 0.001, 3)
    assert config.pretext.relations == ["CS", "CV"]
    assert load_config(None, ["relations=[PI]"]).pretext.relations == ["PI"]


def test_a_dumped_configuration_loads_as_itself(tmp_path):
    config = load_config(None, ["optim.lr=0.5", "data.videos=a b.mp4", "data.mean=[0.1,0.2,0.3]"])
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize("word, message", [
    ("optim.epoch=3", "unknown configuration key 'optim.epoch'; did you mean 'optim.epochs'"),
    ("epochs=3", "did you mean 'optim.epochs'"),
    ("model.bakbone=r3d", "did you mean 'model.backbone'"),
    ("batch=3", "did you mean 'data.batch_size'"),
    ("data.clips_per_epoch=3", "did you mean 'data.pairs_per_epoch'"),
    ("optim.lr=fast", "optim.lr = 'fast' is of the wrong type; expected float"),
    ("optim.epochs=2.5", "optim.epochs = 2.5 is of the wrong type; expected int"),
    ("data.trimmed=1", "data.trimmed = 1 is of the wrong type; expected bool"),
    ("model.backbone=vgg", "'vgg' is not one of c3d, r3d, r2plus1d"),
    ("data.batch_size=0", "data.batch_size = 0 must be greater than 0"),
    ("data.frame_size=[128]", "a list of 2 numbers"),
    ("loose", "'loose' is not of the form key=value"),
    ("pretext=vcpo", "pretext 'vcpo' is not one of eruv, vcop"),
    ("pretext.gap=3", "unknown configuration key 'pretext.gap' with pretext eruv"),
    ("relations=CS,CX", "relation 'CX' is not one of CS, CV"),
    ("relations=CS,CS", "name one twice"),
    ("data.crop=200", "crop 200 does not fit into frames of 128x171"),
    ("data.clip_length=2", "clip_length 2 is too short"),
    ("data.clip_length=4", "c3d cannot take a clip of 4 frames of 112x112: it needs at least 8"),
    ("pretext=[vcop]", "pretext ['vcop'] is not one of eruv, vcop"),
    ("seed=-5", "seed = -5 must lie between 0 and"),
    ("seed=99999999999999999999", "seed = 99999999999999999999 must lie between 0 and"),
    ("seed=0x" + "f" * 5000, "seed = a number of 20000 bits must lie between"),
    ("seed=" + "9" * 5000, "is of the wrong type; expected int"),
    ("model.width=1000000", "model.width = 1000000 must lie between 1 and 1024"),
    ("data.batch_size=10000000000", "data.batch_size = 10000000000 must be at most 2147483647"),
    ("optim.lr=.inf", "optim.lr = inf must be a finite number"),
    ("optim.momentum=-3", "optim.momentum = -3.0 must lie between 0 and 1"),
    ("optim.weight_decay=-1", "optim.weight_decay = -1.0 must be at least 0"),
    ("optim.factor=1.5", "optim.factor = 1.5 must be at least 0 and less than 1"),
    ("optim.factor=-1", "optim.factor = -1.0 must be at least 0 and less than 1"),
    ("data.std=[0,1,1]", "data.std = [0.0, 1.0, 1.0] must be greater than 0"),
    ("data.mean=[.nan,0,0]", "data.mean [nan, 0.0, 0.0] must be three numbers"),
    ("data.val_fraction=2", "data.val_fraction = 2.0 must lie between 0 and 1"),
    ("device=" + "x" * 10**5, "xxx' is not one of auto, gpu, cpu"),
    ("relations=CS,'", "relation \"'\" is not one of"),
])
def test_mistakes_are_named(word, message):
    with pytest.raises(EruvError, match="^.*" + re.escape(message)):
        load_config(None, [word])


@pytest.mark.parametrize("words, message", [
    (["pretext=vcop", "relations=CS"], "unknown configuration key 'relations' with pretext vcop"),
    (["relations=CS", "pretext=vcop"], "unknown configuration key 'relations' with pretext vcop"),
    (["pretext=vcop", "pretext.clips=1"], "pretext.clips 1 must be at least 2"),
    (["pretext=vcop", "model.head=linear"], "'linear' is not supported by pretext vcop; choose one of mlp"),
    (["pretext=pace", "data.clip_length=1", "model.backbone=r3d"], "clip_length 1 is too short to have a speed"),
    (["pretext=pace", "pretext.jitter=[0,0,0,1]"], "pretext.jitter: hue 1.0 must be a number from 0 to 0.5"),
    (["data.pairs_per_epoch=4", "data.batch_size=8"], "data.batch_size = 8 can never be filled"),
    (["data.trimmed=true", "relations=CV"], "leave nothing to learn"),
])
def test_what_does_not_go_together_is_named(words, message):
    with pytest.raises(EruvError, match="^.*" + re.escape(message)):
        load_config(None, words)


def test_a_pretext_is_chosen_by_its_name_with_options_of_its_own(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("pretext: vcop\n")
    config = load_config(file, ["pretext.gap=4"])
    assert (config.pretext.name, config.pretext.clips, config.pretext.gap) == ("vcop", 3, 4)
    file.write_text(dump_config(config))
    assert load_config(file) == config
    assert load_config(None, ["pretext={name: vcop, gap: 4}"]) == config
    assert load_config(None, ["pretext.gap=4", "pretext=vcop"]) == config  # no option is lost for its place
    assert load_config(None, ["pretext=mas", "pretext.gap=4", "pretext.name=vcp", "pretext=vcop"]) == config


def test_another_pretext_drops_the_options_of_the_one_before(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("pretext: {name: vcp, gap: 4, distance: 9}\nmodel: {width: 8}\n")
    assert load_config(file, ["pretext.gap=5", "pretext=vcp"]).pretext.gap == 5
    config = load_config(file, ["pretext=vcop", "pretext.clips=2"])
    assert (config.pretext.clips, config.pretext.gap, config.model.width) == (2, 8, 8)
    assert load_config(file, pretext="eruv").pretext.relations == list(RELATIONS)
    file.write_text("relations: [CS]\n")
    assert load_config(file, ["pretext=vcop"]).pretext.gap == 8


def test_bad_files(tmp_path):
    with pytest.raises(EruvError, match="absent.yaml: cannot be read"):
        load_config(tmp_path / "absent.yaml")
    file = tmp_path / "bad.yaml"
    file.write_text("a: [1\n")
    with pytest.raises(EruvError, match="bad.yaml: not valid YAML"):
        load_config(file)


@pytest.mark.parametrize("content, message", [
    (b"\xff\xfe\xfa", "not valid YAML .'utf-8' codec"), (b"seed: " + b"9" * 5000, "not valid YAML .Exceeds the limit"),
    (b"seed: 2020-99-99", "not valid YAML .month"), (b"seed: !!timestamp x", "not valid YAML"),
    (b"seed: !!bool x", "not valid YAML"), (b"[" * 1000, "not valid YAML .maximum recursion"),
    (b"seed: &a [*a]", r"seed = \[\[.*is of the wrong type"), (b"data: &a {videos: *a}", "data.videos = .* wrong type"),
    (b"data: &a {data: *a}", "unknown configuration key 'data.data'"),
    (b"[a, b]", r"mapping of keys to values, not \['a'"),
])
def test_hostile_files(tmp_path, content, message):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(EruvError, match=message) as caught:
        load_config(file)
    assert len(str(caught.value)) < 1500 and "\n" not in str(caught.value)


def test_a_list_of_lists_of_lists_is_shown_in_short():
    """370 bytes of YAML, a list of aliases of lists of aliases, once made a message of 580 MB."""
    grown: list = []
    for _ in range(9):
        grown = [grown] * 9
    with pytest.raises(EruvError, match="seed = .* wrong type") as caught:
        load_config(None, seed=grown)
    assert len(str(caught.value)) < 500


def test_lists_on_the_command_line():
    config = load_config(None, ["relations=CS,CV", "data.frame_size=64,86", "data.crop=56",
                                "data.mean=[0.5,0.5,0.5]"])
    assert config.pretext.relations == ["CS", "CV"]
    assert config.data.frame_size == [64, 86] and config.data.mean == [0.5] * 3


def test_every_configuration_in_the_folder_is_valid():
    files = sorted(data_dir("configs").rglob("*.yaml"))
    names = {file.relative_to(data_dir("configs")).as_posix() for file in files}
    assert {"demo.yaml", "demo_gpu.yaml", "thumos14_c3d.yaml", "thumos14_r3d.yaml", "thumos14_r2plus1d.yaml",
            "ucf101.yaml"} <= names
    with pytest.raises(EruvError, match="table2.yaml: holds several configurations, its rows"):
        load_config(data_dir("configs") / "table2.yaml")
    for file in files:
        told = yaml.safe_load(file.read_text())
        rows = told.pop("rows", {})
        for name, config in load_rows(file).items():
            row = rows.get(name, {})  # what it changes does not count
            for section, values in told.items():
                if isinstance(values, dict):
                    kept = {key: value for key, value in values.items()
                            if f"{section}.{key}" not in row and key not in row.get(section, {})}
                    assert asdict(config)[section].items() >= kept.items()
