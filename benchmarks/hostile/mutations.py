"""Damage to bytes and text by chance: what disks, transfers, editors and ill will leave."""

import re
from collections.abc import Sequence

import numpy as np

ODD = (0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
NUMBERS = (b"0", b"-1", b"1", b"3.5", b"1e9", b"-1e400", b"nan", b"2147483648", b"99999999999999999999", b"null",
           b"true", b'"7"', b"[]", b"{}", b"0x" + b"f" * 40)
WORDS = (b"*a", b"&a ", b"<<: *a", b"!!python/name:os.system ", b"!!timestamp x", b"!!binary x", b"[", b"]", b"{", b"}",
         b'"', b"'",
         b"\n", b"\r", b"\t", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b": ", b"- ", b",", b"#", b"|", b">", b"?",
         b"~", b"../", b"file:", b"http:/x/", b"\xe2\x80\xa8", b"\x1b[2J", b"9" * 5000, b"[" * 300)


def damage(data: bytes, random: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """`data` with one to four mutations; `others` are whole files to splice pieces from."""
    for _ in range(int(random.integers(1, 5))):
        data = _bytes(data, random, others)
    return data


def damage_text(data: bytes, random: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """The same for text: numbers, lines and words are exchanged; one time in four, bytes are damaged too."""
    for _ in range(int(random.integers(1, 5))):
        data = _text(data, random, others)
    return _bytes(data, random, others) if random.random() < 0.25 else data


def _place(data: bytes, random: np.random.Generator) -> int:
    """A position; half of the time in the first or last kilobytes, where containers keep what they say of the rest."""
    if random.random() < 0.5 or len(data) < 4096:
        return int(random.integers(len(data) + 1))
    near = int(random.integers(2048))
    return near if random.random() < 0.5 else len(data) - near


def _bytes(data: bytes, random: np.random.Generator, others: Sequence[bytes]) -> bytes:
    if not data:
        return random.bytes(int(random.integers(0, 64)))
    at, length = _place(data, random), int(2 ** random.uniform(0, 11))
    kind = random.choice(["flip", "bit", "integer", "truncate", "zero", "noise", "insert", "delete", "repeat", "swap",
                          "splice"], p=[0.2, 0.15, 0.2, 0.05, 0.07, 0.07, 0.05, 0.05, 0.05, 0.05, 0.06])
    changed = bytearray(data)
    if kind == "flip":
        for _ in range(int(random.integers(1, 9))):
            changed[_place(data, random) % len(data)] = random.integers(256)
    elif kind == "bit":
        changed[at % len(data)] ^= 1 << int(random.integers(8))
    elif kind == "integer":
        size = int(random.choice([1, 2, 4, 8]))
        value = ODD[random.integers(len(ODD))] % 256**size
        changed[at : at + size] = value.to_bytes(size, random.choice(["big", "little"]))
    elif kind == "truncate":
        del changed[at:]
    elif kind == "zero":
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    elif kind == "noise":
        changed[at : at + length] = random.bytes(len(changed[at : at + length]))
    elif kind == "insert":
        changed[at:at] = random.bytes(min(length, 64))
    elif kind == "delete":
        del changed[at : at + length]
    elif kind == "repeat":
        changed[at:at] = changed[at : at + length]
    elif kind == "swap":
        other = _place(data, random)
        changed[at : at + length], changed[other : other + length] = (
            changed[other : other + length], changed[at : at + length])
    elif others:
        other = others[random.integers(len(others))]
        begin = int(random.integers(len(other) + 1))
        changed[at : at + length] = other[begin : begin + length]
    return bytes(changed)


def _text(data: bytes, random: np.random.Generator, others: Sequence[bytes]) -> bytes:
    kind = random.choice(["number", "word", "line", "lines", "token", "other"], p=[0.35, 0.2, 0.1, 0.1, 0.15, 0.1])
    if kind == "number" and (found := list(re.finditer(rb"-?[0-9]+", data))):
        one, other = (found[place] for place in random.integers(len(found), size=2))
        put = NUMBERS[random.integers(len(NUMBERS))] if random.random() < 0.7 else other.group()
        return data[: one.start()] + put + data[one.end() :]
    if kind in ("word", "number"):
        at = int(random.integers(len(data) + 1))
        return data[:at] + WORDS[random.integers(len(WORDS))] + data[at:]
    lines = data.split(b"\n")
    if kind == "line":
        one, other = random.integers(len(lines), size=2)
        lines[one] = lines[other]
    elif kind == "lines":
        lines = [lines[place] for place in random.integers(len(lines), size=random.integers(1, len(lines) + 2))]
    elif kind == "other" and others:
        lines[random.integers(len(lines))] = others[random.integers(len(others))][: int(random.integers(200))]
    elif tokens := list(re.finditer(rb"[\w.]+", data)):
        one, other = (tokens[place] for place in random.integers(len(tokens), size=2))
        return data[: one.start()] + other.group() + data[one.end() :]
    return b"\n".join(lines)
