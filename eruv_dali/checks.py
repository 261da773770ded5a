"""Checks of arguments: a wrong value is reported in one line, and nothing is rounded silently."""

import math
import operator
from collections.abc import Iterable
from typing import Any

from eruv_dali.errors import EruvError


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
        raise EruvError(f"{name} {value!r} must be a whole number") from None
    if number < least:
        raise EruvError(f"{name} {number} must be at least {least}")
    if most is not None and number > most:
        raise EruvError(f"{name} {number} must be at most {most}")
    return number


def three_numbers(name: str, values: Any) -> tuple[float, float, float]:
    """`values` as three finite floats, one for each of red, green and blue.

    Raises:
        EruvError: they are not three finite numbers.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise EruvError(f"{name} {values!r} must be three numbers, for red, green and blue")
    return numbers


def height_and_width(name: str, values: Any) -> tuple[int, int]:
    """`values` as a (height, width) of at least 8 pixels each.

    Raises:
        EruvError: they are not two whole numbers, or too small.
    """
    pair = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if len(pair) != 2:
        raise EruvError(f"{name} {values!r} must be (height, width)")
    return whole_number(f"height of {name}", pair[0], least=8), whole_number(f"width of {name}", pair[1], least=8)
