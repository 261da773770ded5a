"""Damage of all kinds, by chance: a DATASET says so or delivers the right pixels.

    ERUV_MUTATIONS=3000 python -m pytest tests/dataset -k mutated        thousands of damages instead of dozens
"""

import csv
import io
import os
import re

import numpy as np
import pytest
from editing import PACKS, delivered, reseal

from eruv_dali import EruvError

MUTATIONS = int(os.environ.get("ERUV_MUTATIONS", 40))
FILES = ("dataset.json", "videos.json", "videos.csv", "segments.csv", "segments.npy", "frames.npy", "seal.json",
         "pack/frames-00000.bin")


def mutate(path, random):
    """Damage a file in one of many ways; returns in which."""
    data = bytearray(path.read_bytes())
    kind = random.choice(["flip", "flip", "bit", "truncate", "empty", "delete", "folder", "append", "swap", "number",
                          "number", "cells", "lines"])
    if kind == "flip":
        for place in random.integers(len(data), size=random.integers(1, 4)):
            data[place] = random.integers(256)
    elif kind == "bit":
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    elif kind == "truncate":
        del data[random.integers(len(data)) :]
    elif kind == "empty":
        data.clear()
    elif kind == "append":
        data += random.bytes(20)
    elif kind == "swap":
        a, b = sorted(random.integers(len(data), size=2))
        n = int(random.integers(1, 40))
        data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]
    elif kind == "number" and len(data) < 10**5 and (found := list(re.finditer(rb"-?[0-9]+", data))):
        one, other = (found[place] for place in random.integers(len(found), size=2))
        put = random.choice([b"0", b"-1", b"99999999999999999999", b"3.5", other.group(), other.group(), b'"7"',
                             b"null", str(int(one.group()) + 1).encode(), str(int(one.group()) - 1).encode()])
        data[one.start() : one.end()] = put
    elif kind in ("cells", "lines") and path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        one, other = random.integers(len(rows), size=2)
        if kind == "cells":
            column = random.integers(len(rows[0]))
            rows[one][column], rows[other][column] = rows[other][column], rows[one][column]
        else:
            rows = [rows[place] for place in random.integers(len(rows), size=len(rows))]
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        data = bytearray(text.getvalue().encode())
    if kind in ("delete", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    else:
        path.write_bytes(data)
    return kind


@pytest.mark.parametrize("pack", PACKS)
def test_mutated_it_says_so_or_delivers_the_right_pixels(copy_of, pack):
    """Some with size and time of change as they were, some with a seal that agrees (then only for crashes)."""
    folder = copy_of(pack)
    names = [name for name in FILES if (folder / name).exists()]
    kept = {name: ((folder / name).read_bytes(), (folder / name).stat()) for name in [*names, "seal.json"]}
    refused = whole = 0
    for case in range(MUTATIONS):
        random = np.random.default_rng([case, PACKS.index(pack)])
        name, how = random.choice(names), random.choice(["plain", "plain", "same time", "agreeing seal"])
        path = folder / name
        kind = mutate(path, random)
        # Whose size and time are as they were, these two are taken for whole, unread.
        unread = (name, pack) in (("pack/frames-00000.bin", "raw"), ("frames.npy", "none"))
        if how == "same time" and path.is_file() and not unread:
            os.utime(path, ns=(0, kept[name][1].st_mtime_ns))
        # A frame size is found out by the pack alone, and a file that is gone seals nothing.
        liar = how == "agreeing seal" and path.is_file() and (name, pack) != ("dataset.json", "none")
        if liar and name != "seal.json":
            reseal(folder)
        try:
            delivered(folder, look=not liar)
            whole += 1
        except EruvError as error:
            refused += 1
            assert "\n" not in str(error)
        except BaseException as error:
            raise AssertionError(f"case {case}: {kind} in {name}, {how}") from error
        for restored in {name, "seal.json"}:
            if (folder / restored).is_dir():
                (folder / restored).rmdir()
            content, status = kept[restored]
            (folder / restored).write_bytes(content)
            os.utime(folder / restored, ns=(0, status.st_mtime_ns))
    print(f"{pack}: {MUTATIONS} mutations, {refused} refused, {whole} delivered")
    assert refused and whole
