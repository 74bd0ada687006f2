"""The benchmarks still fit the package: each can be started. What they measure is not judged here."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in NAMES:
            del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_started(name, monkeypatch, capsys):
    if not hasattr(importlib.import_module(name), "main"):
        return  # What several of them share.
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0
    assert f"{name}.py" in capsys.readouterr().out


def test_the_card_s_benchmark_runs_on_a_processor(monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", ["card.py", "--small", "--device", "cpu"])
    runpy.run_path(str(FOLDER / "card.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.count("teacher-forced") == printed.count("free-running") == 2
    assert "the last frame" in printed
    assert "Forces of 24 muscles" in printed
