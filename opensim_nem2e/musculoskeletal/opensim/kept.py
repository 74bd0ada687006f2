"""A process in which OpenSim is at hand: starting it costs more than most of what it is asked.

It is started by the first job, or ahead of it (:func:`start_ahead`), does one job after the other, and ends with this
process, when it has had nothing to do for a minute, when a job crashes it or is stopped, and after many jobs, lest
OpenSim's leaks add up.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from . import _kept_process

#: So many jobs are done by one process.
_MOST_JOBS = 100

#: How long a process may take to end once its input has (s).
_PATIENCE = 5.0

_lock = threading.Lock()
_kept: _Kept | None = None


class _Kept:
    """A process that does jobs."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="opensim_nem2e_", ignore_cleanup_errors=True)
        self.surroundings = _surroundings()
        self.jobs = 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", _kept_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Importing opensim drops its opensim.log where the process starts.
            cwd=self.folder.name,
            text=True,
            encoding="utf-8",
        )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line.strip())
        self.answers.put("")

    def fit(self) -> bool:
        """Tell whether it may be given a job."""
        return self.process.poll() is None and self.jobs < _MOST_JOBS and self.surroundings == _surroundings()

    def begin(self, script: str, arguments: Sequence[str], log: Path) -> bool:
        """Give it a job; False if it has ended without having begun it."""
        self.jobs += 1
        assert self.process.stdin is not None
        try:
            print(json.dumps({"script": script, "arguments": arguments, "log": str(log)}), file=self.process.stdin)
            self.process.stdin.flush()
        except OSError:
            return False
        return True

    def end(self, *, kill: bool) -> None:
        """Let it go."""
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            if not kill:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(_PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.folder.cleanup()


def start_ahead() -> None:
    """Start the process, if there is none, so that OpenSim is imported while this one does something else."""
    if sys.executable and _lock.acquire(blocking=False):
        try:
            _ready()
        finally:
            _lock.release()


def run_kept(
    script: str,
    arguments: Sequence[str],
    log: Path,
    look: float,
    timeout: float | None,
    stop: Callable[[], None],
) -> int | None:
    """Run a script's ``main`` in the process in which OpenSim is at hand.

    Parameters
    ----------
    script : str
        The script's file.
    arguments : sequence of str
        Its arguments.
    log : pathlib.Path
        Where what it prints goes.
    look : float
        Time between two questions whether to stop (s).
    timeout : float or None
        Kill the process after so many seconds.
    stop : callable
        Called now and then; what it raises ends the process.

    Returns
    -------
    int or None
        The exit code of the job, or of the process that it crashed; None if it was killed at the time limit.
    """
    with _lock:
        kept, deadline = _ready(), None if timeout is None else time.monotonic() + timeout
        begun, whole = kept.begin(script, arguments, log), False
        try:
            while True:
                rest = look if deadline is None else min(look, deadline - time.monotonic())
                try:
                    answer = kept.answers.get(timeout=max(rest, 0.0)) if begun else ""
                except queue.Empty:
                    stop()
                    if deadline is not None and time.monotonic() >= deadline:
                        return None
                    continue
                if answer == "begun":
                    whole = True
                elif answer:
                    status = int(answer)
                    begun = False
                    return status
                elif whole or kept.jobs == 1:
                    return kept.process.wait()
                else:
                    # It had ended before the job came.
                    _drop(kill=True)
                    kept = _ready()
                    begun = kept.begin(script, arguments, log)
        finally:
            # Whatever else has happened, there is nothing to be had from it any more.
            if begun or kept.process.poll() is not None:
                _drop(kill=True)


def _surroundings() -> tuple[int, str, dict[str, str]]:
    """Return what a process has from its parent: one from a fork, or from before a setting changed, is not used."""
    return os.getpid(), sys.executable, dict(os.environ)


def _ready() -> _Kept:
    """Return a process that may be given a job."""
    global _kept
    if _kept is not None and not _kept.fit():
        _drop(kill=False)
    if _kept is None:
        _kept = _Kept()
    return _kept


def _drop(*, kill: bool) -> None:
    global _kept
    before, _kept = _kept, None
    # After a fork it is the parent's.
    if before is not None and before.surroundings[0] == os.getpid():
        before.end(kill=kill)


def _at_exit() -> None:
    """Let the process go. All is done, so Ctrl-C shows no traceback."""
    with suppress(KeyboardInterrupt):
        _drop(kill=False)


atexit.register(_at_exit)
