"""What is prepared, delivered and learnt is what it was when the golden files were made (`make.py` says how)."""

import json
import subprocess
import sys

import pytest
from make import HERE, PACKS, batches_of, tables_of


def golden(name: str) -> dict:
    return json.loads((HERE / f"{name}.json").read_text())


def compare(what: str, found: dict, wanted: dict, tolerance: float | None = None) -> None:
    """Fails with the lines that differ, the first ten of them."""
    differ = []
    for key in [*wanted, *(key for key in found if key not in wanted)]:
        got, want = found.get(key, "nothing"), wanted.get(key, "nothing")
        exact = tolerance is None or "nothing" in (got, want)
        if got != (want if exact else pytest.approx(want, abs=tolerance)):
            differ.append(f"{what}, {key}: {got}, was {want}")
    assert not differ, "\n".join(["", *differ[:10], *(["…"] if len(differ) > 10 else [])])


@pytest.mark.parametrize("pack", PACKS)
def test_tables(datasets, pack):
    found, wanted = tables_of(datasets[pack]), golden("prepare")
    for name, rows in wanted.items():
        scores = {key: float(value) for key, value in rows.items() if key.endswith("score")}
        compare(name, {key: float(found[name].pop(key, "nan")) for key in scores}, scores, tolerance=0.01)
        compare(name, found[name], {key: value for key, value in rows.items() if key not in scores})


@pytest.mark.parametrize("pack", PACKS)
def test_first_batches(datasets, pack):
    found = batches_of(datasets[pack])
    for name, wanted in golden("batches").items():
        for part in ("infos", "labels"):
            compare(f"{name}, {part}", found[name][part], wanted[part])
        compare(f"{name}, mean red, green and blue from {pack}", found[name]["levels"], wanted[pack], tolerance=1.5)


def test_training(datasets):
    # In a process of its own, since PyTorch reads which instructions it may use when it is imported.
    ran = subprocess.run([sys.executable, HERE / "make.py", datasets["raw"]], capture_output=True, text=True,
                         check=True)
    found, wanted = json.loads(ran.stdout.splitlines()[-1]), golden("training")
    compare("losses", found["losses"], wanted["losses"], tolerance=0.02)
    compare("mean and mean size of the weights", found["weights"], wanted["weights"], tolerance=0.002)
    if found["machine"] == wanted["machine"]:
        assert found["sha256"] == wanted["sha256"], "the weights differ in their last bits, or by more"
