"""Training as a piece of work for :mod:`opensim_nem2e.workers`.

What is reported is a mapping with ``network``, ``kind`` (started, epochs, note, finished) and what belongs to it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..workers import Report, Stop
from .checkpoint import NetworkFolder
from .resumable import train_folder
from .task import Epoch

#: Reports of epochs are gathered for so long (s): small networks end hundreds in a second.
_REPORT_EVERY = 0.1


class _Reporter:
    """Reports what networks do; gathers epochs and reports them a few times in a second."""

    def __init__(self, report: Report):
        self._report = report
        self._rows: dict[str, list[tuple[int, float, float | None, float]]] = {}
        self._begun: dict[str, float] = {}
        self._sent = time.monotonic()

    def started(self, name: str, history: list[Epoch]) -> None:
        rows = [(epoch.number, epoch.loss, epoch.validation_loss, None) for epoch in history]
        self._report({"network": name, "kind": "started", "rows": rows})
        self._begun[name] = time.monotonic()

    def epoch(self, name: str, epoch: Epoch) -> None:
        now = time.monotonic()
        row = (epoch.number, epoch.loss, epoch.validation_loss, round(now - self._begun[name], 3))
        self._rows.setdefault(name, []).append(row)
        if now - self._sent >= _REPORT_EVERY:
            self.flush()
            self._sent = now

    def flush(self) -> None:
        for name, rows in self._rows.items():
            self._report({"network": name, "kind": "epochs", "rows": rows})
        self._rows.clear()

    def note(self, name: str, text: str) -> None:
        self._report({"network": name, "kind": "note", "text": text})

    def finished(self, name: str) -> None:
        self.flush()
        self._report({"network": name, "kind": "finished"})


def train_one(argument: Mapping[str, Any], report: Report, stop: Stop) -> None:
    """Train a network: ``network``, ``folder``, and ``interval`` (s) between checkpoints."""
    name, reporter = argument["network"], _Reporter(report)
    try:
        train_folder(
            NetworkFolder(argument["folder"]),
            argument["interval"],
            stop=stop,
            on_start=lambda history: reporter.started(name, history),
            on_epoch=lambda epoch: reporter.epoch(name, epoch),
            note=lambda text: reporter.note(name, text),
        )
    finally:
        reporter.flush()
    reporter.finished(name)
