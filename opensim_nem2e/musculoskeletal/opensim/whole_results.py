"""Run an OpenSim tool so that its results appear together, when it has succeeded, or not at all.

OpenSim writes its results while it runs, and what a killed run leaves looks like a result. Here the tool is given a
copy of its setup file in which every result goes to a folder of its own beside it; when the tool has ended well, the
results are renamed to where the setup file wants them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import NEM2EError, OpenSimRunError
from ...storage.atomic import atomic_path, temporary_beside
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
    _tidy(setup)
    copy = temporary_beside(setup.path)
    folder = copy.with_suffix("")
    try:
        try:
            folder.mkdir()
            targets = _divert(setup, copy, folder)
        except OSError as error:
            raise NEM2EError(
                f"The folder '{setup.path.parent}' cannot be written: {error.strerror or error}. The tool works there "
                "until its results are complete."
            ) from error
        try:
            run = run_opensim_tool(copy, log_file=log_file, timeout=timeout, stop=stop)
        except OpenSimRunError as error:
            # Users know their own file, not our copy of it.
            raise type(error)(str(error).replace(str(copy), str(setup.path))) from None
        return WholeRun(run, _settle(setup, folder, targets))
    finally:
        copy.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _tidy(setup: OpenSimSetup) -> None:
    """Remove what killed runs of this setup file left."""
    name = re.compile(rf"\.{re.escape(setup.path.stem)}\.\d+-[0-9a-f]+\.part(\.xml)?")
    for left in setup.path.parent.glob(".*.part*"):
        if not name.fullmatch(left.name):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


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
    try:
        for final in finals.values():
            final.parent.mkdir(parents=True, exist_ok=True)
        for path, final in finals.items():
            if path.stat().st_dev == final.parent.stat().st_dev:
                path.replace(final)
            else:
                with atomic_path(final) as temporary:
                    shutil.copyfile(path, temporary)
    except OSError as error:
        raise NEM2EError(
            f"The results of '{setup.path}' cannot be written: {error.strerror or error} ({error.filename})."
        ) from error
    return tuple(sorted(finals.values()))
