"""Checks of arguments: a wrong value is reported in one line, and nothing is rounded silently."""

import math
import operator
import reprlib
from collections.abc import Iterable
from typing import Any

from eruv_dali.errors import EruvError

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 2, 80, 80, 80


def shown(value: Any) -> str:
    """`value` as an error's message shows it: its repr on one line, shortened if it is long, also where the value is
    small in a file and vast written out, such as lists of aliases in YAML."""
    try:
        return _short.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__


def whole_number(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """`value` as an int, from least to most.

    Raises:
        EruvError: it is not a whole number (2.5, "8", True), or out of range.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise EruvError(f"{name} {shown(value)} must be a whole number") from None
    if number < least:
        raise EruvError(f"{name} {shown(number)} must be at least {least}")
    if most is not None and number > most:
        raise EruvError(f"{name} {shown(number)} must be at most {most}")
    return number


def share(name: str, value: Any) -> float:
    """`value` as a share of a whole, from 0 to 1.

    Raises:
        EruvError: it is not a number in that range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise EruvError(f"{name} {shown(value)} must lie between 0 and 1")
    return float(value)


def switch(name: str, value: Any) -> bool:
    """`value`, which turns something on or off.

    Raises:
        EruvError: it is not True or False.
    """
    if not isinstance(value, bool):
        raise EruvError(f"{name} {shown(value)} must be true or false")
    return value


def three_numbers(name: str, values: Any) -> tuple[float, float, float]:
    """`values` as three finite floats, one for each of red, green and blue.

    Raises:
        EruvError: they are not three finite numbers.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise EruvError(f"{name} {shown(values)} must be three numbers, for red, green and blue")
    return numbers


def height_and_width(name: str, values: Any) -> tuple[int, int]:
    """`values` as a (height, width) of at least 8 pixels each.

    Raises:
        EruvError: they are not two whole numbers, or too small.
    """
    pair = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if len(pair) != 2:
        raise EruvError(f"{name} {shown(values)} must be (height, width)")
    return whole_number(f"height of {name}", pair[0], least=8), whole_number(f"width of {name}", pair[1], least=8)
