"""The --help of every program and of every script of benchmarks/ names values, defaults and devices in one way; a wrong
command line is one line."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable

import pytest
from places import ROOT, benchmark

from eruv_dali import EruvError
from eruv_dali.__main__ import COMMANDS
from eruv_dali.device import DEVICES
from eruv_dali.options import Parser, height_by_width, program
from eruv_dali.train.config import find_config, load_config

SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text())
# These run before anything is installed, and without this package: argparse as it is, the same words.
PLAIN = ("machine", "proof_table", "readme_table")
# DALI's operator and the curves are measured on the device named, and no other is chosen.
OWN_DEVICE = ("clip_transform", "shots")


class Found(Exception):
    pass


def parsers(monkeypatch, name: str, main: Callable, kind: type = Parser) -> list[argparse.ArgumentParser]:
    """The parser of a program, and those of its subcommands."""
    def found(self, *_, **__):
        raise Found(self)

    monkeypatch.setattr(kind, "parse_known_args", found)
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(Found) as caught:
        main()
    (top,) = caught.value.args
    below = [sub for action in top._actions if isinstance(action, argparse._SubParsersAction)
             for sub in action.choices.values()]
    return [top, *below]


def check_words(command: str, parser: argparse.ArgumentParser) -> None:
    shown = parser._get_formatter()
    for action in parser._actions:
        words = shown._expand_help(action) if action.help else ""
        name = (action.option_strings or [action.dest])[-1]
        assert words or isinstance(action, argparse._SubParsersAction), f"{command} {name}: no words"
        assert "default:" not in words, f"{command} {name}"
        assert words.count("default") == 1 or action.default in (None, [], argparse.SUPPRESS, False), (
            f"{command} {name}: {words}")
        value = shown._format_args(action, shown._get_default_metavar_for_optional(action))
        assert action.dest.upper() not in value.split() or len(value) == 1 or action.metavar, f"{command} {name}"
        if name == "--device" and command not in OWN_DEVICE:
            assert action.choices == DEVICES and words.startswith("auto: the GPU if there is one")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_things_in_one_way(monkeypatch, command):
    for parser in parsers(monkeypatch, command, lambda: importlib.import_module(COMMANDS[command][0]).main()):
        assert isinstance(parser, Parser)
        check_words(command, parser)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_of_benchmarks_too(monkeypatch, name):
    script = benchmark(name)
    kind = argparse.ArgumentParser if name in PLAIN else Parser
    (parser,) = parsers(monkeypatch, name, script.main, kind)
    check_words(name, parser)
    text = (ROOT / "benchmarks" / f"{name}.py").read_text()
    if name in PLAIN:
        assert "from eruv_dali" not in text and "\nimport eruv_dali" not in text
    else:  # a wrong command line is an EruvError, which this prints
        assert "run_program(main)" in text


@pytest.mark.parametrize("words, said", [
    (["--threshold", "x"], "argument --threshold: invalid float value: 'x'; python -m eruv_dali.some --help explains"),
    (["--unknown"], "unrecognized arguments: --unknown; python -m eruv_dali.some --help explains"),
    (["-dash.mp4"], "-dash.mp4 is taken for an option; write ./-dash.mp4"),
])
def test_a_wrong_command_line_is_one_line(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.mp4").touch()
    parser = program("some", "What it does.")
    parser.add_argument("videos", nargs="*")
    parser.add_argument("--threshold", type=float)
    with pytest.raises(EruvError) as caught:
        parser.parse_args(words)
    assert str(caught.value) == said


def test_an_empty_word_is_not_taken_for_the_current_folder(monkeypatch):
    """`eruv prepare "$VIDEOS"` where the variable is not set."""
    parser = program("some", "What it does.")
    parser.add_argument("videos", nargs="*")
    for words in (None, ["", "--unknown"]):
        monkeypatch.setattr(sys, "argv", ["some", ""])
        with pytest.raises(EruvError, match="^one of the arguments is empty; is a variable of the shell not set"):
            parser.parse_args(words)


@pytest.mark.parametrize("text", ["128", "128X171", "x", "-1x9", "²x²", ""])
def test_sizes_that_are_none_are_said_to_be(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not HEIGHTxWIDTH, such as 128x171"):
        height_by_width(text)


@pytest.mark.parametrize("name", ["thumos14_c3d", "thumos14_c3d.yaml", "configs/thumos14_c3d.yaml"])
def test_bundled_configurations_by_bare_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert load_config(name).optim.epochs == 300
    with pytest.raises(EruvError, match=r"^thumos14_c4d: no such file, .* the nearest are thumos14_c3d"):
        load_config("thumos14_c4d")
    os.mkdir("configs")
    (tmp_path / "configs" / "thumos14_c3d.yaml").write_text("optim: {epochs: 7}\n")  # one's own comes first
    assert load_config("configs/thumos14_c3d.yaml").optim.epochs == 7
    assert not find_config("elsewhere/thumos14_c3d.yaml").exists()
