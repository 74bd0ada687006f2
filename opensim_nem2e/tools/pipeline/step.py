"""One step of a pipeline, done by a process of :mod:`opensim_nem2e.workers`, and the record that says it is done.

The record holds the content (SHA-256) of everything that the step read and wrote. As long as all of that is as it was,
the step is not done again. Of two runs that come to the same step at once, one does it and the other waits and finds it
done: a lock beside the setup file is held for as long as its step is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ... import __version__
from ...data.check.run_checks import Peak, RunQuality, judge_run
from ...data.simulation import sibling_controls
from ...errors import MissingFileError, NEM2EError, OpenSimRunError
from ...extras import installed_version
from ...log import start_file
from ...log import stop as stop_log
from ...musculoskeletal.opensim.processes import TOOLS, RunStoppedError
from ...musculoskeletal.opensim.whole_results import run_whole
from ...storage.atomic import atomic_path, complete_switches, remove_leftovers, written_files
from ...storage.claims import locked
from ...storage.file_names import file_name
from ...storage.json_files import read_json
from ...storage.opensim_setup import OpenSimSetup, read_opensim_setup
from ...workers import Report, Stop, WorkStopped
from ..tool_registry import load_tool
from .plan import STEP_TOOLS, exists

#: The function that does a step, as :class:`opensim_nem2e.workers.Work` names it.
DO_STEP = f"{__name__}:do_step"

#: Of the records; those of another format are not read.
_FORMAT = 1

_DIGEST = re.compile("[0-9a-f]{64}")

_CHUNK = 1 << 20


@dataclass(frozen=True)
class StepOutcome:
    """What came of a step.

    Parameters
    ----------
    seconds : float
        How long it took, when it was done (s).
    quality : RunQuality
        How well it was done.
    outputs : tuple of str
        Its results, as seen from the setup file's folder.
    warnings : tuple of str
        What this package's own tools warned of.
    reused : bool
        Whether it was done before, and nothing has changed since.
    """

    seconds: float
    quality: RunQuality
    outputs: tuple[str, ...]
    warnings: tuple[str, ...]
    reused: bool

    def to_json(self) -> dict[str, Any]:
        """Turn it into what JSON can hold.

        Returns
        -------
        dict of str to object
            For :meth:`from_json`.
        """
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> StepOutcome:
        """Make it of what :meth:`to_json` returned.

        Parameters
        ----------
        content : dict
            It.

        Returns
        -------
        StepOutcome
            The same.

        Raises
        ------
        ValueError, TypeError, KeyError, AttributeError
            It is something else.
        """
        peaks = {name: None if peak is None else _peak(**peak) for name, peak in content["quality"].items()}
        outputs, warnings = tuple(content["outputs"]), tuple(content["warnings"])
        if not all(isinstance(text, str) for text in (*outputs, *warnings)):
            raise TypeError("outputs and warnings must be texts")
        return cls(float(content["seconds"]), RunQuality(**peaks), outputs, warnings, bool(content["reused"]))


def _peak(name: str, value: float, unit: str) -> Peak:
    return Peak(float(value), str(unit), str(name))


def do_step(argument: dict[str, Any], report: Report, stop: Stop) -> None:
    """Do a step, unless its record says that it is done.

    Parameters
    ----------
    argument : dict
        ``setup_file``, ``record_file``, ``log_file``, and ``time_limit`` (s; None: none).
    report : callable
        Given the :class:`StepOutcome`, as JSON.
    stop : callable
        Whether to leave; OpenSim's tools are killed then.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        It failed; what, and the end of its log.
    opensim_nem2e.workers.WorkStopped
        It was to leave.
    """
    setup = read_opensim_setup(argument["setup_file"], STEP_TOOLS)
    # Setup files of this package's tools may lie where nothing can be written.
    folder = setup.path.parent if os.access(setup.path.parent, os.W_OK) else Path(argument["record_file"]).parent
    lock = folder / f".{file_name(setup.path.stem)}.step.lock"
    try:
        with locked(lock, stop) as held:
            if not held:
                raise WorkStopped("Another run is at this step.")
            report(_do(setup, argument, stop))
    except OSError as error:
        if error.filename is None or os.fspath(error.filename) != os.fspath(lock):
            raise
        raise NEM2EError(f"The folder '{lock.parent}' cannot be written: {error.strerror or error}.") from error


def _do(setup: OpenSimSetup, argument: dict[str, Any], stop: Stop) -> dict[str, Any]:
    """Do the step, unless it is done; return the outcome, as JSON."""
    record, log = Path(argument["record_file"]), Path(argument["log_file"])
    for folder in {path.parent for path in _inputs(setup)}:
        complete_switches(folder)
    own = {setup.path.parent, setup.results_directory, record.parent, *(item.path.parent for item in setup.outputs)}
    for folder in own:
        remove_leftovers(folder)
    inputs = _digests(setup, _inputs(setup))
    program = f"opensim {installed_version('opensim')}" if setup.tool in TOOLS else f"opensim_nem2e {__version__}"
    old = _read_record(record)
    if old is not None and (old["program"], old["inputs"]) == (program, inputs):
        folder = setup.path.parent
        if old["written"] == _digests(setup, (Path(os.path.normpath(folder / name)) for name in old["written"])):
            return {**old["outcome"], "reused": True}
    absent = [item for item in setup.inputs if not exists(item.path)]
    if absent:
        names = "; ".join(f"<{item.element}> '{item.path}'" for item in absent)
        raise MissingFileError(f"{setup.path}: a step before should have written a file, but did not: {names}.")
    begun = time.monotonic()
    try:
        outputs = _run(setup, log, argument["time_limit"], stop)
    except RunStoppedError as error:
        raise WorkStopped(str(error)) from error
    seconds = round(time.monotonic() - begun, 3)
    # What a killed worker had started may have been alive before.
    for folder in own:
        remove_leftovers(folder)
    printed = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    written = _digests(setup, outputs)
    lost = sorted(name for name, digest in written.items() if not _DIGEST.fullmatch(digest))
    if lost or not written:
        what = f"its results are gone again: {', '.join(lost)}" if lost else "it wrote no results"
        raise OpenSimRunError(f"{setup.path}: {setup.tool} ended without an error, but {what}.")
    # OpenSim warns of much that concerns nobody; it is in the log.
    warnings = () if setup.tool in TOOLS else tuple(re.findall(r"\[warn\] (.*)", printed))
    outcome = StepOutcome(seconds, judge_run(setup.tool, outputs, printed), tuple(written), warnings, False).to_json()
    content = {"format": _FORMAT, "program": program, "inputs": inputs, "written": written, "outcome": outcome}
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return outcome


def _run(setup: OpenSimSetup, log: Path, time_limit: float | None, stop: Stop) -> tuple[Path, ...]:
    """Run the tool; return the files that it wrote."""
    if setup.tool in TOOLS:
        return run_whole(setup.path, log_file=log, timeout=time_limit, stop=stop).outputs
    handler = start_file(log, mode="w")
    try:
        # This package's tools run here: they write their results as a whole themselves.
        with written_files() as written:
            load_tool(setup.path).run()
    finally:
        stop_log(handler)
    return tuple(sorted(set(written)))


def _inputs(setup: OpenSimSetup) -> list[Path]:
    files = [setup.path, *(item.path for item in setup.inputs)]
    # CMC's controls, which the refinement finds by itself.
    files += [found for path in files if (found := sibling_controls(path)) is not None]
    return files


def _digests(setup: OpenSimSetup, files: Iterable[Path]) -> dict[str, str]:
    """Return the content of files in short, by their names as seen from the setup file's folder."""
    return {_seen(setup, path): _digest(path) for path in sorted(set(files))}


def _seen(setup: OpenSimSetup, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, setup.path.parent)).as_posix()
    except ValueError:
        # Another drive of Windows.
        return path.as_posix()


def _digest(path: Path) -> str:
    if exists(path) and not path.is_file():
        # A pipe would be waited for.
        return "no file"
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return "none"
    except OSError as error:
        raise NEM2EError(f"{path}: the file cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def _read_record(path: Path) -> dict[str, Any] | None:
    """Read a record; None: there is none, or none that says that something was written."""
    try:
        content = read_json(path, "record")
        whole = (
            content["format"] == _FORMAT
            and isinstance(content["inputs"], dict)
            and isinstance(content["written"], dict)
            and bool(content["written"])
            and all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in content["written"].values())
            and all("\0" not in name for name in content["written"])
        )
        # Everything in it, the program included, is of the kind that is written.
        outcome = StepOutcome.from_json(content["outcome"])
        return {**content, "program": content["program"], "outcome": outcome.to_json()} if whole else None
    except (NEM2EError, ValueError, KeyError, TypeError, AttributeError):
        return None
