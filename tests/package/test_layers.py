"""The rooms import only those below them, and nothing imports in a circle (the contracts are in setup.cfg)."""

import pytest
from places import ROOT


def test_the_layers_hold(monkeypatch, capsys):
    cli = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    kept = cli.lint_imports(config_filename=str(ROOT / "setup.cfg"), no_cache=True) == 0
    assert kept, capsys.readouterr().out
