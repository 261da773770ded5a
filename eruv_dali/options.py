"""Command lines of all programs: one way of naming values, defaults and devices in --help, and errors of one line."""

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from eruv_dali.console import console
from eruv_dali.device import DEVICES
from eruv_dali.errors import EruvError

VALUES: dict[Any, str] = {int: "N", float: "X", Path: "PATH"}  # what stands for a value that has no name of its own


class Help(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they were written; every option with its default, said in one way."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return VALUES.get(action.type) or super()._get_default_metavar_for_optional(action)

    def _get_help_string(self, action: argparse.Action) -> str:
        words = (action.help or "").removesuffix(" (default: %(default)s)")  # Python 3.10 adds it to --x and --no-x
        default = action.default
        if not action.option_strings or default in (None, [], argparse.SUPPRESS) or isinstance(default, bool):
            return words
        if "default" in words:
            return words
        said = " ".join(map(str, default)) if isinstance(default, list | tuple) else f"{default}"
        return f"{words} (default {said})".strip().replace("%", "%%")


class Parser(argparse.ArgumentParser):
    """The parser of a program. What is wrong with a command line is an EruvError: one line, without the usage."""

    def __init__(self, **options: Any) -> None:
        # An abbreviation would be missed where a program looks for an option on the line itself.
        super().__init__(**{"formatter_class": Help, "allow_abbrev": False, **options})

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else args
        if "" in words:  # taken for a path, it would be the current folder
            raise EruvError("one of the arguments is empty; is a variable of the shell not set?")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        _, unrecognized, words = message.partition("unrecognized arguments: ")
        files = [word for word in words.split() if word.startswith("-") and Path(word).exists()]
        if unrecognized and files:
            raise EruvError(f"{files[0]} is taken for an option; write ./{files[0]}")
        raise EruvError(f"{message}; {self.prog} --help explains")


def program(name: str, description: str | None, **options: Any) -> Parser:
    """The parser of `python -m eruv_dali.NAME`, with the program's docstring as its description."""
    return Parser(prog=f"python -m eruv_dali.{name}", description=description, **options)


def add_device(parser: Any, *, of_configuration: bool = False) -> None:
    """--device, the same in all programs; without a default where a configuration's key `device` holds unless said."""
    parser.add_argument("--device", default=None if of_configuration else "auto", choices=DEVICES,
                        help="auto: the GPU if there is one" + "; the same as device=…" * of_configuration)


class _Quiet(argparse.Action):
    """Silences the console as soon as the option is read."""

    def __call__(self, *_: Any) -> None:
        console.quiet = True


def add_quiet(parser: Any) -> None:
    """--quiet, the same in all programs: what `warn` says is still said, and what a program prints as its result."""
    parser.add_argument("--quiet", action=_Quiet, nargs=0, help="say only what is wrong: no progress, no summary")


def height_by_width(text: str) -> tuple[int, int]:
    """(128, 171) of "128x171", for argparse."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 128x171")
    return int(height), int(width)
