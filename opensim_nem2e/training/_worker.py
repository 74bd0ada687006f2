"""The process that trains networks for :mod:`opensim_nem2e.training.pool`, one after the other.

It reads the folders of networks as JSON texts, one per line, from its standard input, and reports in the same way on
its standard output. When its standard input ends (the starting process is done with it, or was killed), or at SIGTERM,
it saves a checkpoint after the step under way and leaves.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .settings import Epoch

#: Reports of epochs are gathered for so long (s): small networks end hundreds in a second.
_REPORT_EVERY = 0.1

_CHUNK = 65536


def main(arguments: Sequence[str]) -> None:
    """Train until there is nothing more to do.

    Parameters
    ----------
    arguments : sequence of str
        The time between checkpoints (s), and the processors to keep to, separated by commas (empty: any).
    """
    interval, processors = float(arguments[0]), [int(part) for part in arguments[1].split(",") if part]
    stop = threading.Event()
    # Ctrl-C reaches all processes of a terminal; what is to be done about it, the starting process says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    # What libraries print must not get among the reports.
    reports = os.dup(1)
    os.dup2(2, 1)
    if processors and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders, stop), daemon=True).start()

    def report(**values: Any) -> None:
        try:
            content = (json.dumps(values) + "\n").encode()
            while content:
                content = content[os.write(reports, content) :]
        except OSError:
            # Nobody listens any more.
            stop.set()

    while not stop.is_set():
        order = orders.get()
        if order is not None:
            _train(order["folder"], interval, stop.is_set, report)


def _listen(orders: queue.SimpleQueue[dict[str, Any] | None], stop: threading.Event) -> None:
    # Not sys.stdin: the lock of its buffer would be held when the process ends.
    rest = b""
    while chunk := os.read(0, _CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            orders.put(json.loads(line))
    stop.set()
    orders.put(None)


class _Epochs:
    """Gathers the epochs of one network and reports them a few times in a second."""

    def __init__(self, report: Callable[..., None]):
        self.report = report
        self.rows: list[tuple[int, float, float | None, float]] = []
        self.started = self.sent = time.monotonic()

    def add(self, epoch: Epoch) -> None:
        now = time.monotonic()
        self.rows.append((epoch.number, epoch.loss, epoch.validation_loss, round(now - self.started, 3)))
        if now - self.sent >= _REPORT_EVERY:
            self.flush()
            self.sent = now

    def flush(self) -> None:
        if self.rows:
            self.report(kind="epochs", rows=self.rows)
            self.rows = []


def _train(folder: str, interval: float, stop: Callable[[], bool], report: Callable[..., None]) -> None:
    from ..errors import NEM2EError
    from .checkpoint import NetworkFolder
    from .resumable import TrainingStopped, train_folder

    epochs = _Epochs(report)

    def begin(history: list[Epoch]) -> None:
        rows = [(epoch.number, epoch.loss, epoch.validation_loss, None) for epoch in history]
        report(kind="started", rows=rows)
        epochs.started = time.monotonic()

    def note(text: str) -> None:
        report(kind="note", text=text)

    try:
        train_folder(NetworkFolder(folder), interval, stop=stop, on_start=begin, on_epoch=epochs.add, note=note)
    except TrainingStopped:
        epochs.flush()
        report(kind="stopped")
    except MemoryError:
        report(kind="failed", text="There is not enough memory.")
    except RuntimeError as error:
        # PyTorch has no exception of its own for this.
        lacking = "not enough memory" in str(error) or "can't allocate" in str(error)
        report(kind="failed" if lacking else "broken", text=str(error) if lacking else traceback.format_exc())
    except (NEM2EError, OSError) as error:
        report(kind="failed", text=str(error))
    except Exception:
        report(kind="broken", text=traceback.format_exc())
    else:
        epochs.flush()
        report(kind="finished")


if __name__ == "__main__":
    main(sys.argv[1:])
