"""Real processes that are killed (SIGKILL) before the n-th thing that they do to files: every point can be repeated.

Python tells its audit hooks of whatever is done to files before it is done; a killed process runs nothing more, no
``finally`` and no exit handler.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

#: What changes files, or decides by them.
EVENTS = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copyfile", "fcntl.flock"}
)

needs_kills = pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(signal, "SIGKILL"), reason="needs POSIX")


def kill_before(number: int, folder: str | os.PathLike[str], interrupt: bool = False) -> None:
    """Kill this process before the n-th event (counted from 1) that concerns files in a folder, or interrupt it."""
    root, seen = os.fspath(folder), 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in EVENTS:
            return
        where = arguments[0] if arguments else None
        if isinstance(where, str | os.PathLike) and not os.fspath(where).startswith(root):
            return
        if event == "open" and isinstance(where, int):
            return
        seen += 1
        if seen == number and interrupt:
            raise KeyboardInterrupt
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run_killed(action: Callable[[], object], folder: Path, number: int) -> bool:
    """Do something in a process of its own that is killed at a point; tell whether it was."""
    child = os.fork()
    if child == 0:
        try:
            kill_before(number, folder)
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return True
    assert os.WEXITSTATUS(status) == 0, f"the process failed at point {number}"
    return False


def run_interrupted(action: Callable[[], object], folder: Path, number: int) -> bool:
    """Do something in a process of its own that Ctrl-C reaches at a point; tell whether it did."""
    child = os.fork()
    if child == 0:
        status = 0
        try:
            kill_before(number, folder, interrupt=True)
            action()
        except KeyboardInterrupt:
            status = 3
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 3)
    return status == 3


def hidden(folder: Path) -> list[Path]:
    """Name what a user does not see."""
    return sorted(path for path in folder.rglob(".*"))
