"""Options of a program in a YAML file, named as on the command line: `min-shot: 12`, `export: [edl, html]`."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eruv_dali.errors import EruvError
from eruv_dali.yaml_file import read_yaml


def parse_with_file(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line that may name a file of options by --config; what the command line says takes precedence,
    also over options of the file that exclude what it says.

    Raises:
        EruvError: the file cannot be read, or has an unknown option, a value that the option does not take, or two
            options that exclude each other.
    """
    words = sys.argv[1:] if words is None else words
    parser.add_argument("--config", metavar="FILE", help="a YAML file of these options, such as `min-shot: 12`; those "
                        "on the command line take precedence")
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    file = first.parse_known_args(words)[0].config
    if file is not None:
        chosen = _read(Path(file), parser)
        _exclude(Path(file), parser, chosen, words)
        parser.set_defaults(**chosen)
    return parser.parse_args(words)


def _exclude(path: Path, parser: argparse.ArgumentParser, chosen: dict[str, Any], words: Sequence[str]) -> None:
    """Take out of what the file has chosen what the command line excludes: argparse looks at the line alone."""
    options = words[: words.index("--")] if "--" in words else words
    said = {word.partition("=")[0] for word in options}
    for group in parser._mutually_exclusive_groups:
        members = [action for action in group._group_actions if chosen.get(action.dest) not in (None, False)]
        if len(members) > 1:
            one, other = (action.option_strings[-1][2:] for action in members[:2])
            raise EruvError(f"{path}: {one} and {other} exclude each other; leave one out")
        if any(said.intersection(action.option_strings) for action in group._group_actions):
            for action in group._group_actions:
                chosen.pop(action.dest, None)


def _read(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise EruvError(f"{path}: holds no options; write one a line, such as `min-shot: 12`")
    options = {flag[2:]: action for action in parser._actions for flag in action.option_strings
               if flag.startswith("--") and flag not in ("--help", "--config")}
    chosen = {}
    for key, value in content.items():
        if key not in options:
            near = difflib.get_close_matches(str(key), options, 1)
            raise EruvError(f"{path}: {key!r} is no option{f'; did you mean {near[0]!r}?' if near else ''}")
        chosen[options[key].dest] = _value(path, key, value, options[key])
        options[key].required = False
    return chosen


def _value(path: Path, key: str, value: Any, action: argparse.Action) -> Any:
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise EruvError(f"{path}: {key}: {value!r} is not true or false")
        return value
    if action.nargs == "+":
        return [_one(path, key, item, action) for item in (value if isinstance(value, list) else [value])]
    return _one(path, key, value, action)


def _one(path: Path, key: str, value: Any, action: argparse.Action) -> Any:
    try:
        if isinstance(value, bool | list | dict) or value is None:
            raise ValueError
        found = action.type(str(value)) if callable(action.type) else str(value)
    except (ValueError, argparse.ArgumentTypeError):
        raise EruvError(f"{path}: {key}: {value!r} is not a value that --{key} takes") from None
    if action.choices is not None and found not in action.choices:
        raise EruvError(f"{path}: {key}: {value!r} is not one of {', '.join(map(str, action.choices))}")
    return found
