"""What is shown of a training, and the histories it leaves."""

from __future__ import annotations

import json
import sys
import types

import pytest

from opensim_nem2e.training import progress_display as module
from opensim_nem2e.training.progress_display import Watch
from opensim_nem2e.training.task import Epoch, Trained


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def trained(epochs, best=None):
    return Trained({}, tuple(Epoch(k, 1 / k, None, {"emg": 1 / k}) for k in range(1, epochs + 1)), best or epochs)


def test_history_grows_as_epochs_end(tmp_path):
    with Watch(["a", "b"], 4, tmp_path / "history", "never") as watch:
        watch.started("a", [])
        assert rows_of(tmp_path / "history" / "a.jsonl") == []
        watch.epochs("a", [[1, 0.5, None, 0.1, {"emg": 0.5}], [2, 0.4, 0.6, 0.2, {"emg": 0.3, "drift": 0.1}]])
        assert rows_of(tmp_path / "history" / "a.jsonl") == [
            {"epoch": 1, "loss": 0.5, "validation_loss": None, "seconds": 0.1, "terms": {"emg": 0.5}},
            {
                "epoch": 2,
                "loss": 0.4,
                "validation_loss": 0.6,
                "seconds": 0.2,
                "terms": {"emg": 0.3, "drift": 0.1},
            },
        ]
    assert {path.name for path in (tmp_path / "history").iterdir()} == {"a.jsonl"}


def test_history_follows_the_checkpoint(tmp_path):
    """A killed run leaves a history that is ahead of its checkpoint, or ends in half a line."""
    path = tmp_path / "a.jsonl"
    with Watch(["a"], 9, tmp_path, "never") as watch:
        watch.started("a", [])
        watch.epochs("a", [[k, 1 / k, None, k / 10, {}] for k in range(1, 6)])
    with path.open("a") as stream:
        stream.write('{"epoch": 6, "lo')
    with Watch(["a"], 9, tmp_path, "never") as watch:
        watch.started("a", [[k, 1 / k, None, None, {}] for k in range(1, 4)])
        watch.epochs("a", [[4, 0.25, None, 0.01, {}]])
    assert [(row["epoch"], row["seconds"]) for row in rows_of(path)] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.01)]
    with Watch(["a"], 9, tmp_path, "never") as watch:
        watch.reused("a", trained(6))
    assert [(row["epoch"], row["seconds"]) for row in rows_of(path)] == [
        (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.01), (5, None), (6, None)
    ]  # fmt: skip
    # Training that starts anew.
    with Watch(["a"], 9, tmp_path, "never") as watch:
        watch.started("a", [])
    assert rows_of(path) == []


def test_lines_in_the_log(tmp_path, caplog, monkeypatch):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    caplog.set_level("INFO")
    with Watch(["a", "b", "c"], 100, tmp_path, "never") as watch:
        watch.reused("c", trained(100))
        watch.started("a", [[k, 1.0, None, None, {}] for k in range(1, 41)])
        watch.started("b", [])
        watch.epochs("a", [[k, 0.2, 0.3, 1.0, {}] for k in range(41, 51)])
        watch.epochs("b", [[k, 0.4, 0.5, 1.0, {}] for k in range(1, 21)])
        assert caplog.text == ""
        now += 60
        watch.tick()
        # 30 epochs in a minute; 130 are left. What had been done before does not count for the rate.
        assert "1 of 3 networks, 57 % of the epochs: loss 0.30000, validation loss 0.40000, 0.5 epochs/s" in caplog.text
        assert "about 4 min left" in caplog.text
        caplog.clear()
        watch.tick()
        assert caplog.text == ""
        watch.finished("a", trained(60, best=50))
        assert "a (2 of 3 networks): loss 0.02000 after 50 epochs." in caplog.text


def test_bar(tmp_path, capsys):
    with Watch(["a", "b"], 10, tmp_path, "always") as watch:
        watch.started("a", [[k, 1.0, None, None, {}] for k in range(1, 5)])
        watch.epochs("a", [[5, 0.25, 0.5, 1.0, {}]])
        watch._bar.refresh()
        watch.finished("a", trained(6))
        assert watch._bar.n == 10
        # The rate is that of the one epoch trained here.
        assert watch._bar.initial == 9
        watch.started("b", [])
        watch.epochs("b", [[k, 0.125, None, 1.0, {}] for k in range(1, 11)])
        watch._bar.refresh()
    shown = capsys.readouterr().err
    assert "loss 0.25000, validation loss 0.50000" in shown
    assert "1/2 networks" in shown
    assert "20/20" in shown


def test_without_tensorboard(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with Watch(["a"], 2, tmp_path / "h", "never", tmp_path / "board") as watch:
        watch.started("a", [])
        watch.epochs("a", [[1, 0.5, None, 0.1, {}]])
    assert "'pip install tensorboard' installs it" in caplog.text
    assert not (tmp_path / "board").exists()
    assert len(rows_of(tmp_path / "h" / "a.jsonl")) == 1


def test_tensorboard_gets_every_epoch(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            calls.append((folder, purge_step))

        def add_scalar(self, *values):
            calls.append(values)

        def close(self):
            calls.append("closed")

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    with Watch(["a"], 3, tmp_path / "h", "never", tmp_path / "board") as watch:
        watch.started("a", [[1, 0.5, None, None, {}]])
        watch.epochs("a", [[2, 0.4, None, 0.1, {"emg": 0.4}], [3, 0.3, 0.6, 0.1, {"emg": 0.2, "drift": 0.1}]])
        watch.finished("a", trained(3))
    assert calls == [
        (str(tmp_path / "board" / "a"), 2),
        ("loss", 0.4, 2),
        ("loss", 0.3, 3),
        ("validation_loss", 0.6, 3),
        ("terms/emg", 0.2, 3),
        ("terms/drift", 0.1, 3),
        "closed",
    ]


def test_tensorboard_itself(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for history in ([], [[1, 0.5, 0.7, None, {}]]):
        with Watch(["a"], 9, tmp_path / "h", "never", tmp_path / "board") as watch:
            watch.started("a", history)
            watch.epochs("a", [[k, 1 / k, 1 / k, 0.1, {}] for k in range(len(history) + 1, 4)])
    found = EventAccumulator(str(tmp_path / "board" / "a")).Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3]
    assert [event.step for event in found.Scalars("validation_loss")] == [1, 2, 3]
