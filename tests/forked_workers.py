"""Workers that are forked from the tests' own process, where PyTorch is loaded: a second or more less for each.

They are real processes with the ends, signals and pipes of those that :mod:`opensim_nem2e.workers` starts, but what
depends on how a process starts (its environment, its memory) is to be tested with real ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import pytest

from opensim_nem2e import workers


class ForkedWorker:
    """What ``subprocess.Popen`` is to a local worker."""

    def __init__(
        self, command: Sequence[str], *, stdin: int, stdout: int, stderr: IO[bytes], env: Mapping[str, str]
    ) -> None:
        assert stdin == stdout == subprocess.PIPE
        orders, tell = os.pipe()
        hear, reports = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                for number, file in enumerate((orders, reports, stderr.fileno())):
                    os.dup2(file, number)
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                os.environ.update(env)
                sys.path[:] = workers.json.loads(command[3])
                workers.serve([int(part) for part in command[4].split(",") if part])
                status = 0
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(status)
        os.close(orders)
        os.close(reports)
        self.stdin, self.stdout = os.fdopen(tell, "wb"), os.fdopen(hear, "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked worker", timeout)
            time.sleep(0.002)
        return code

    def kill(self) -> None:
        os.kill(self.pid, workers.signal.SIGKILL)


class _Subprocess:
    """The module ``subprocess`` with another ``Popen``."""

    Popen = ForkedWorker

    def __getattr__(self, name: str) -> object:
        return getattr(subprocess, name)


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Have the workers of a module's tests forked, where processes with threads can be (on Linux)."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            patch.setattr(workers, "subprocess", _Subprocess())
        yield
