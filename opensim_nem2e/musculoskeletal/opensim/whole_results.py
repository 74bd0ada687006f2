"""Run an OpenSim tool so that its results appear together, when it has succeeded, or not at all.

OpenSim writes its results while it runs, and what a killed run leaves looks like a result. Here the tool is given a
copy of its setup file in which every result goes to a folder of its own beside it; when the tool has ended well, the
results are renamed to where the setup file wants them.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import NEM2EError, OpenSimRunError
from ...storage.atomic import ResultFiles, complete_switch, release, switch
from ...storage.claims import Claim, remove_abandoned
from ...storage.file_names import file_name
from ...storage.opensim_setup import OpenSimSetup, find_tool, in_results_directory, output_elements, read_opensim_setup
from ...storage.safe_xml import parse_xml, write_xml
from .processes import TOOLS, OpenSimRun, run_opensim_tool

#: Tools without a results directory: every result has a name of its own.
_WITHOUT_DIRECTORY = ("ScaleTool",)


@dataclass(frozen=True)
class WholeRun:
    """A successful run.

    Parameters
    ----------
    run : OpenSimRun
        Times and log.
    outputs : tuple of pathlib.Path
        Its results, in order; all of them, and nothing else.
    """

    run: OpenSimRun
    outputs: tuple[Path, ...]


def run_whole(
    setup_file: str | os.PathLike[str],
    *,
    log_file: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> WholeRun:
    """Run an OpenSim tool; its results replace older ones only when all of them are there.

    Parameters
    ----------
    setup_file : str or os.PathLike
        Setup file of one of :data:`opensim_nem2e.musculoskeletal.opensim.processes.TOOLS`. Its folder must be writable.
    log_file, timeout, stop : optional
        As in :func:`opensim_nem2e.musculoskeletal.opensim.processes.run_opensim_tool`.

    Returns
    -------
    WholeRun
        What came of it.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        As `run_opensim_tool`; or the folder cannot be written.
    """
    setup = read_opensim_setup(setup_file, TOOLS)
    purpose = f"{file_name(setup.path.stem)}.run"
    finals = {setup.results_directory, *(item.path.parent for item in setup.outputs)}
    # What killed runs of this setup file left; a living one's is its own.
    remove_abandoned(setup.path.parent, purpose, lambda left: complete_switch(left, finals))
    try:
        claim = Claim(setup.path.parent, purpose)
    except OSError as error:
        raise _unwritable(setup, error) from error
    copy, folder = claim.path(".xml"), claim.path()
    try:
        try:
            folder.mkdir()
            targets = _divert(setup, copy, folder)
        except OSError as error:
            raise _unwritable(setup, error) from error
        try:
            run = run_opensim_tool(copy, log_file=log_file, timeout=timeout, stop=stop)
        except OpenSimRunError as error:
            # Users know their own file, not our copy of it.
            text = str(error).replace(str(copy), str(setup.path)).replace(folder.name, setup.results_directory.name)
            raise type(error)(text) from None
        return WholeRun(run, _settle(setup, folder, targets))
    finally:
        release(claim)


def _unwritable(setup: OpenSimSetup, error: OSError) -> NEM2EError:
    return NEM2EError(
        f"The folder '{setup.path.parent}' cannot be written: {error.strerror or error}. The tool works there until "
        "its results are complete."
    )


def _divert(setup: OpenSimSetup, copy: Path, folder: Path) -> dict[Path, Path]:
    """Write the copy of the setup file; return the final place of each result that has a name of its own."""
    tree = parse_xml(setup.path)
    tool = find_tool(tree.getroot(), TOOLS)
    assert tool is not None
    # OpenSim puts the setup file's folder before these names, also before absolute ones.
    targets: dict[Path, Path] = {}
    for number, (element, final) in enumerate(output_elements(tool, setup.path.parent, setup.results_directory)):
        if in_results_directory(element):
            targets[folder / final.name] = final
            element.text = final.name
        else:
            (folder / str(number)).mkdir()
            targets[folder / str(number) / final.name] = final
            element.text = f"{folder.name}/{number}/{final.name}"
    if setup.tool not in _WITHOUT_DIRECTORY:
        results = tool.find("results_directory")
        if results is None:
            results = tool.makeelement("results_directory", {}, None)
            tool.insert(0, results)
        results.text = f"{folder.name}/"
    write_xml(tree, copy)
    return targets


def _settle(setup: OpenSimSetup, folder: Path, targets: dict[Path, Path]) -> tuple[Path, ...]:
    """Give the results their names."""
    finals = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            finals[path] = targets.get(path, setup.results_directory / path.relative_to(folder))
    if not finals:
        raise OpenSimRunError(f"{setup.path}: {setup.tool} ended without an error, but wrote no results.")
    try:
        for final in finals.values():
            final.parent.mkdir(parents=True, exist_ok=True)
        device = folder.stat().st_dev
        far: dict[Path, dict[Path, Path]] = defaultdict(dict)
        for path, final in finals.items():
            if final.parent.stat().st_dev != device:
                far[final.parent][path] = final
        for directory, moves in far.items():
            # Another file system: a set of its own.
            with ResultFiles(directory) as files:
                for path, final in moves.items():
                    shutil.copyfile(path, files.path(final.name))
        switch(folder, {path: final for path, final in finals.items() if final.parent not in far})
    except OSError as error:
        raise NEM2EError(
            f"The results of '{setup.path}' cannot be written: {error.strerror or error} ({error.filename})."
        ) from error
    return tuple(sorted(finals.values()))
