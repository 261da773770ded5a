"""Faults by chance; each test prints the seed that repeats it.

    python -m pytest -m faults tests/faults                                       2 of each kind
    ERUV_FAULTS=50 ERUV_FAULTS_SEED=7 python -m pytest -m faults tests/faults     50 of each, other ones
"""

import os
import random
from pathlib import Path

import pytest

ROUNDS = int(os.environ.get("ERUV_FAULTS", 2))
SEED = int(os.environ.get("ERUV_FAULTS_SEED", 0))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "draw" in metafunc.fixturenames:
        metafunc.parametrize("draw", range(SEED, SEED + ROUNDS), indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def draw(request) -> random.Random:
    """Random numbers of this test and round."""
    seed = f"{request.node.originalname} {request.param}"
    print(f"seed {request.param}: ERUV_FAULTS=1 ERUV_FAULTS_SEED={request.param}")
    return random.Random(seed)
