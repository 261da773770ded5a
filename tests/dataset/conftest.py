"""The films and DATASETs that the tests of this folder edit and damage."""

import shutil
from pathlib import Path

import pytest
from editing import PACKS, draw_films, prepare_films


@pytest.fixture(scope="session")
def films(made_once) -> Path:
    """Three videos of one length."""
    return made_once("films_to_edit", draw_films)


@pytest.fixture(scope="session")
def made(films, made_once) -> dict[str, Path]:
    """A DATASET of them with each kind of pack."""
    folder = made_once("datasets_to_edit", lambda folder: prepare_films(films, folder))
    return {pack: folder / pack for pack in PACKS}


@pytest.fixture
def copy_of(made, tmp_path):
    """A DATASET of our own, of any pack, as prepare left it."""

    def copy(pack="raw"):
        return shutil.copytree(made[pack], tmp_path / "dataset")

    return copy
