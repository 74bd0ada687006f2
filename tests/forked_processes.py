"""Processes that are forked from the tests' own, where PyTorch is loaded: a second or more less for each.

They are real processes with the ends, signals and pipes of those that :mod:`opensim_nem2e.workers` starts, but what
depends on how a process starts (its environment, its memory) is to be tested with real ones.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from opensim_nem2e import workers
from opensim_nem2e.cli.main import main

#: Elsewhere a process that has used threads or the system's own libraries cannot be forked safely.
FORKS = sys.platform == "linux"


class ForkedProcess:
    """What ``subprocess.Popen`` is to a program: does something in a process of its own.

    Parameters
    ----------
    action : callable
        What to do; a number that it returns is the exit status.
    files : sequence of int
        What becomes its standard input, output and error; this process's own by default.
    """

    def __init__(self, action: Callable[[], int | None], files: Sequence[int] = (0, 1, 2)):
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            # pytest's own write to a file that has just been closed: its number will be another file's.
            logging.getLogger().handlers.clear()
            status = action() or 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(0.002)
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedWorker(ForkedProcess):
    """A local worker."""

    def __init__(
        self, command: Sequence[str], *, stdin: int, stdout: int, stderr: IO[bytes], env: Mapping[str, str]
    ) -> None:
        assert stdin == stdout == subprocess.PIPE
        *_, path, processors = command

        def serve() -> None:
            os.environ.update(env)
            sys.path[:] = json.loads(path)
            workers.serve([int(part) for part in processors.split(",") if part])

        orders, tell = os.pipe()
        hear, reports = os.pipe()
        super().__init__(serve, (orders, reports, stderr.fileno()))
        os.close(orders)
        os.close(reports)
        self.stdin, self.stdout = os.fdopen(tell, "wb"), os.fdopen(hear, "rb")


class Program:
    """``opensim-nem2e`` at work. What it says goes to files, which can be looked at meanwhile."""

    out: IO[bytes]
    err: IO[bytes]

    def shown(self) -> str:
        """Return what stands in its standard error by now (not on Windows)."""
        # Not by seek: a process that was forked writes where this one reads.
        return os.pread(self.err.fileno(), 1 << 24, 0).decode("utf-8", errors="replace")

    def communicate(self, timeout: float = 600.0) -> tuple[str, str]:
        self.wait(timeout)
        said = []
        for file in (self.out, self.err):
            file.seek(0)
            said.append(file.read().decode("utf-8"))
            file.close()
        return said[0], said[1]


class ForkedProgram(Program, ForkedProcess):
    """A program in a process that is forked where all is loaded.

    Parameters
    ----------
    words : sequence of str
        Its command line.
    folder : Path
        Its working directory.
    environment : mapping of str to str, optional
        This process's own by default.
    prepare : callable, optional
        What it does first.
    new_group : bool
        Whether it leads a process group, which can be killed with all that it has started.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
        new_group: bool = False,
    ):
        def act() -> int:
            if new_group:
                os.setpgid(0, 0)
            os.chdir(folder)
            if environment is not None:
                os.environ.clear()
                os.environ.update(environment)
            sys.stdout, sys.stderr = (
                io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding="utf-8")
                for number in (1, 2)
            )
            if prepare is not None:
                prepare()
            try:
                return main(words)
            except SystemExit as end:
                return end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()

        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when read
        with Path(os.devnull).open() as nothing:
            super().__init__(act, [file.fileno() for file in (nothing, self.out, self.err)])
        if new_group:
            # Whoever of the two comes first: the group is there when this returns.
            with suppress(OSError):
                os.setpgid(self.pid, self.pid)


class FreshProgram(Program, subprocess.Popen[bytes]):
    """A program in a process of its own from the start."""

    def __init__(self, words: Sequence[str], folder: Path, new_group: bool = False):
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when read
        command = [sys.executable, "-m", "opensim_nem2e", *words]
        super().__init__(command, stdout=self.out, stderr=self.err, cwd=folder, start_new_session=new_group)


def start_program(*words: str, folder: Path, new_group: bool = False, fork: bool = FORKS) -> Program:
    """Start ``opensim-nem2e`` in a folder: forked where all is loaded, if that can be done.

    A test that has threads of its own, such as those of a Dask client, must not fork.
    """
    return (ForkedProgram if fork else FreshProgram)(words, folder, new_group=new_group)


class _Subprocess:
    """The module ``subprocess`` with another ``Popen``."""

    Popen = ForkedWorker

    def __getattr__(self, name: str) -> object:
        return getattr(subprocess, name)


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Have the workers of a module's tests forked, where that can be done."""
    import torch  # noqa: F401 - once, here

    with pytest.MonkeyPatch.context() as patch:
        if FORKS:
            patch.setattr(workers, "subprocess", _Subprocess())
        yield
