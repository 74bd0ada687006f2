"""Run an OpenSim tool, or a job on an OpenSim model, in a process of its own.

OpenSim's tools hold the interpreter's lock while they run, change the working directory, leak memory over long
batches and, for some bad inputs, end the process with a segmentation fault. In a process of its own none of this
reaches the caller: every way of failing becomes one exception with the end of OpenSim's log.

It also leaves the states files of CMC and RRA whole. OpenSim 4.6 flushes stale bytes over their header when its
process exits; the child process puts a copy in the file's place before that happens.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingFileError, OpenSimRunError
from ...log import is_terminal, logger
from ...storage.opensim_setup import read_opensim_setup
from . import _model_process, _tool_process
from .kept import run_kept

if TYPE_CHECKING:
    import numpy as np

#: OpenSim's tools that this module runs.
TOOLS = (
    "AnalyzeTool",
    "CMCTool",
    "ForwardTool",
    "InverseDynamicsTool",
    "InverseKinematicsTool",
    "RRATool",
    "ScaleTool",
)

_TAIL_LINES = 30
_TAIL_BYTES = 64 * 1024

#: What OpenSim's Python package puts before the message of an error.
_WRAPPING = re.compile(r"(?<=\[error\] )std::exception in '[^']*': ")
#: Lines that say nothing of what went wrong: bones that are not drawn, the model's counts.
_NOTHING = re.compile(r"(\[info\])?|\[warning\] Couldn't find file '.*'\.|[a-z ]+: +\d+")
# Between two questions whether to stop (s).
_LOOK = 0.2
# Between two words on the progress (s).
_TELL = 2.0

#: The system waits no longer at a time (s).
_LONG = 86400.0


class RunStoppedError(OpenSimRunError):
    """A run was stopped because its caller asked for it."""


@dataclass(frozen=True)
class OpenSimRun:
    """What a successful run left behind.

    Parameters
    ----------
    tool : str
        Class of the tool, such as ``CMCTool``.
    setup_file : pathlib.Path
        The setup file, absolute.
    returncode : int
        Exit status of the process; 0, since anything else is raised.
    seconds : float
        Wall time of the whole process, s.
    log_tail : str
        The last lines that OpenSim wrote.
    results_directory : pathlib.Path
        Where the tool was told to write.
    outputs : tuple of pathlib.Path
        Files in the results directory, or beside the setup file, that the run made or changed, sorted.
    """

    tool: str
    setup_file: Path
    returncode: int
    seconds: float
    log_tail: str
    results_directory: Path
    outputs: tuple[Path, ...]


def run_opensim_tool(
    setup_file: str | os.PathLike[str],
    *,
    log_file: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stop: Callable[[], bool] | None = None,
) -> OpenSimRun:
    """Run an OpenSim tool from its setup file, in a process of its own.

    Parameters
    ----------
    setup_file : str or os.PathLike
        Setup file of one of `TOOLS`.
    log_file : str or os.PathLike, optional
        Where everything that OpenSim prints is kept. By default only the tail is.
    timeout : float, optional
        Kill the run after so many seconds. By default it may take any time.
    cwd : str or os.PathLike, optional
        Working directory. The setup file's folder by default: inverse kinematics and inverse dynamics look for the
        model from there, all other tools from the setup file's folder anyway.
    stop : callable, optional
        Asked a few times in a second whether to kill the run.

    Returns
    -------
    OpenSimRun
        Times, log and files.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        The setup file is not one of a known tool.
    opensim_nem2e.errors.OpenSimRunError
        The tool raised an error, returned false, crashed or was killed at the time limit; with the tail of its log.
        A :class:`RunStoppedError` if ``stop`` said so.
    opensim_nem2e.errors.MissingFileError
        The setup file or the working directory does not exist.
    """
    setup = Path(setup_file).absolute()
    wanted = read_opensim_setup(setup, TOOLS)
    tool, results = wanted.tool, wanted.results_directory
    folder = setup.parent if cwd is None else Path(cwd).absolute()
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder to run {tool} in.")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds; found {timeout!r}")
    watched = {results, setup.parent}
    before = snapshot(watched)
    logger.info("Running %s from '%s' in a process of its own.", tool, setup)
    seconds, tail = run_script(_tool_process.__file__, (tool, setup, folder), tool, setup, log_file, timeout, stop)
    logger.info("%s took %.1f s.", tool, seconds)
    return OpenSimRun(tool, setup, 0, seconds, tail, results, changed(before, snapshot(watched)))


def run_script(
    script: str,
    arguments: Iterable[str | os.PathLike[str]],
    what: str,
    subject: Path,
    log_file: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    stop: Callable[[], bool] | None = None,
    *,
    kept: bool = False,
) -> tuple[float, str]:
    """Run a Python script that uses OpenSim, in another process.

    Parameters
    ----------
    script : str
        The script's file. It imports nothing of this package.
    arguments : iterable of str or os.PathLike
        Its arguments; paths are absolute, since the process starts in a folder of its own.
    what : str
        What runs, for messages: ``CMCTool``.
    subject : pathlib.Path
        The file it is about, for messages.
    log_file : str or os.PathLike, optional
        Where everything that it prints is kept. By default only the tail is.
    timeout : float, optional
        Kill it after so many seconds. By default it may take any time.
    stop : callable, optional
        Asked a few times in a second whether to kill it.
    kept : bool, optional
        Whether its function ``main`` may run in the process that is kept for such jobs (:mod:`.kept`), if that is not
        at work for another thread: it must leave nothing behind. By default the process is its own.

    Returns
    -------
    seconds : float
        Wall time of the whole process, s.
    tail : str
        The last lines it wrote.

    Raises
    ------
    opensim_nem2e.errors.OpenSimRunError
        It did not end with status 0, with the tail of what it wrote; a :class:`RunStoppedError` if ``stop`` said so.
    """
    if not sys.executable:
        raise OpenSimRunError(f"{what} needs a Python interpreter of its own, and this program does not name one.")
    # -P: the folder of the child's script must not hide other modules.
    given = [str(argument) for argument in arguments]
    command = [sys.executable, "-P", script, *given]
    with tempfile.TemporaryDirectory(prefix="opensim_nem2e_") as scratch:
        log = Path(scratch, "log.txt") if log_file is None else Path(log_file)
        start = time.monotonic()
        with log.open("wb") as stream:
            if kept:
                returncode = run_kept(script, given, log.absolute(), _LOOK, timeout, lambda: _ask(stop))
            else:
                # The child starts in the scratch folder, where importing opensim drops its opensim.log.
                returncode = _wait(command, stream, scratch, timeout, stop)
        seconds = time.monotonic() - start
        tail = _tail(log)
    if returncode != 0:
        raise OpenSimRunError(_explain(what, subject, returncode, seconds, timeout, tail))
    return seconds, tail


def run_model_job(
    job: str,
    model_file: str | os.PathLike[str],
    request: Mapping[str, Any],
    *,
    timeout: float | None = None,
    progress: str = "",
) -> dict[str, np.ndarray]:
    """Ask an OpenSim model something, in the process that is kept for such jobs.

    Parameters
    ----------
    job : str
        One of the child's jobs: ``analyse_motion``, ``sample_paths``, ``evaluate_paths``, ``measure_leg`` or
        ``measure_axes``.
    model_file : str or os.PathLike
        The model.
    request : mapping
        What else the job needs; numbers, strings, lists and mappings.
    timeout : float, optional
        Kill the job after so many seconds. By default it may take any time.
    progress : str, optional
        What the log calls the job when it says every few seconds how far it is; empty: it does not.

    Returns
    -------
    dict of str to numpy.ndarray
        The answer.

    Raises
    ------
    opensim_nem2e.errors.OpenSimRunError
        OpenSim raised an error, crashed or was killed at the time limit; with the tail of its log.
    opensim_nem2e.errors.MissingFileError
        The model does not exist.
    """
    import numpy as np

    model = Path(model_file).absolute()
    if not model.is_file():
        raise MissingFileError(f"{model}: there is no such model.")
    with tempfile.TemporaryDirectory(prefix="opensim_nem2e_") as scratch:
        asked, answered = Path(scratch, "request.json"), Path(scratch, "result.npz")
        asked.write_text(json.dumps({**request, "model_file": str(model), "folder": scratch}), encoding="utf-8")
        look = _progress_logger(progress, Path(scratch, _model_process.PROGRESS_FILE)) if progress else None
        run_script(_model_process.__file__, (job, asked, answered), job, model, timeout=timeout, stop=look, kept=True)
        with np.load(answered, allow_pickle=False) as arrays:
            return dict(arrays)


def _progress_logger(what: str, file: Path) -> Callable[[], bool]:
    """Return what, asked whether to stop, says now and then how far the job is, and never stops it."""
    said = time.monotonic()
    # In a file such lines would hide what matters.
    tell = logger.info if is_terminal(sys.stdout) else logger.debug

    def look() -> bool:
        nonlocal said
        if time.monotonic() - said >= _TELL:
            try:
                share = float(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):  # not begun, or being written
                return False
            said = time.monotonic()
            tell("%s: %.0f %%", what, 100.0 * share)
        return False

    return look


def _ask(stop: Callable[[], bool] | None) -> None:
    if stop is not None and stop():
        raise RunStoppedError("The run was stopped.") from None


def _wait(
    command: list[str], stream: object, scratch: str, timeout: float | None, stop: Callable[[], bool] | None
) -> int | None:
    """Run the command; None if it had to be killed at the time limit."""
    deadline = None if timeout is None else time.monotonic() + timeout
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stream,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        cwd=scratch,
    )
    try:
        while True:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            look = _LONG if rest is None else min(rest, _LONG)
            look = look if stop is None else min(_LOOK, look)
            try:
                status: int | None = process.wait(look)
                return status
            except subprocess.TimeoutExpired:
                _ask(stop)
                if deadline is not None and time.monotonic() >= deadline:
                    return None
    finally:
        # Also when the wait was interrupted from the keyboard: no run is left behind.
        if process.poll() is None:
            process.kill()
            process.wait()


def snapshot(folders: Iterable[Path]) -> dict[Path, tuple[int, int, int]]:
    """Note which files are in folders, and as of when.

    Parameters
    ----------
    folders : iterable of pathlib.Path
        Those that do not exist hold no files.

    Returns
    -------
    dict of pathlib.Path to tuple of int
        Time of the last change (ns), size (bytes) and number of each file.
    """
    stamps = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        for entry in os.scandir(folder):
            if entry.is_file():
                stat = entry.stat()
                stamps[Path(entry.path)] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return stamps


def changed(
    before: Mapping[Path, tuple[int, int, int]], after: Mapping[Path, tuple[int, int, int]]
) -> tuple[Path, ...]:
    """Name the files that are new or not what they were.

    Parameters
    ----------
    before, after : mapping
        Of :func:`snapshot`.

    Returns
    -------
    tuple of pathlib.Path
        In order.
    """
    return tuple(sorted(path for path, stamp in after.items() if before.get(path) != stamp))


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    text = _WRAPPING.sub("", text)
    lines = [line.rstrip() for line in text.splitlines() if not _NOTHING.fullmatch(line.strip())]
    return "\n".join(lines[-_TAIL_LINES:])


def _explain(tool: str, setup: Path, returncode: int | None, seconds: float, timeout: float | None, tail: str) -> str:
    if returncode is None:
        how = f"was killed at the time limit of {timeout:g} s"
    elif returncode == _tool_process.RETURNED_FALSE:
        how = f"gave up after {seconds:.1f} s (its run() returned false)"
    elif returncode == _tool_process.RAISED:
        how = f"stopped with an error after {seconds:.1f} s"
    elif returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        how = f"crashed ({name}) after {seconds:.1f} s"
    else:
        how = f"crashed (exit status {returncode}) after {seconds:.1f} s"
    last = tail or "(nothing)"
    return f"{setup}: {tool} {how}. The last lines it wrote:\n{last}"
