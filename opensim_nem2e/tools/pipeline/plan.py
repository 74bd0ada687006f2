"""What NEM2EPipelineTool is to do: which setup files, for which trials, and which of them need which others.

That one step needs another is seen in the files: it reads what the other writes. A setup file that several trials
share, such as a subject's Scale, is one step.
"""

from __future__ import annotations

import graphlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.discovery import find_files, listed, pattern_fault
from ...data.manifest import TRIAL_COLUMNS
from ...errors import ManifestError, NEM2EError, SetupError, did_you_mean
from ...musculoskeletal.opensim.processes import TOOLS
from ...storage.file_names import name_fault, shown
from ...storage.opensim_setup import NamedFile, OpenSimSetup, read_opensim_setup
from ...storage.tables import examine_rows, refuse

#: Tools that a step may be.
STEP_TOOLS = (*TOOLS, "GaitEventsTool", "STDRRefineTool")

#: Tools whose results have the same names.
_FAMILY = {"RRATool": "CMCTool", "ForwardTool": "CMCTool"}

_NAME = re.compile(r"\{(\w+)\}")
_LISTED = 4


@dataclass(frozen=True)
class PipelineTrial:
    """A trial: a folder, and setup files in the order in which they are to be run.

    Parameters
    ----------
    name : str
        Its name.
    setups : tuple of pathlib.Path
        The setup files.
    faults : tuple of str
        Setup files that could not be found.
    """

    name: str
    setups: tuple[Path, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class PipelineStep:
    """One run of a tool.

    Parameters
    ----------
    key : str
        Its setup file, as seen from the pipeline's; unique.
    path : pathlib.Path
        The setup file.
    tool : str
        Class of the tool; empty if the setup file cannot be read.
    trial : str
        The first trial that it belongs to.
    needs : tuple of str
        Steps whose results it reads.
    faults : tuple of str
        Why it cannot be run.
    """

    key: str
    path: Path
    tool: str
    trial: str
    needs: tuple[str, ...]
    faults: tuple[str, ...]


def find_trials(
    base: Path,
    folder_patterns: Sequence[str],
    setup_patterns: Sequence[str],
    trials_file: Path | None = None,
    excluded: Collection[Path] = (),
) -> list[PipelineTrial]:
    """Find the trials and their setup files.

    Parameters
    ----------
    base : pathlib.Path
        Where relative names start.
    folder_patterns : sequence of str
        Folders of trials; they may hold ``*``, and names in braces (:mod:`opensim_nem2e.data.discovery`): of the
        folders that fit, those that hold one of the setup files are trials. None: ``base`` is the one trial.
    setup_patterns : sequence of str
        Setup files, relative to a trial's folder; ``*`` stands for what differs between trials.
    trials_file : pathlib.Path, optional
        A trials manifest: only its trials are taken, by the names in braces.
    excluded : collection of pathlib.Path
        Folders that are none of trials, whatever fits.

    Returns
    -------
    list of PipelineTrial
        In the order of the patterns, then by name.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A pattern fits no folder, or names a column that the manifest lacks.
    """
    faults = [f"<trial_folders>: {fault}" for text in folder_patterns if (fault := pattern_fault(text, absolute=True))]
    for text in setup_patterns:
        # A file that is named may lie anywhere; one that is looked for lies in each trial's folder.
        fault = pattern_fault(text, absolute=not _is_pattern(text), names=False)
        if not fault and text.endswith("/"):
            fault = f"a pattern must name a file, but {shown(text)} was found."
        if fault:
            faults.append(f"<setup_files>: {fault}")
    if faults:
        raise SetupError(faults)
    folders: dict[Path, str] = {}
    rows = [None] if trials_file is None else _named(trials_file, folder_patterns)
    for pattern in folder_patterns or ["."]:
        if not re.search(r"[*{]", pattern):
            named = _tidy(base / pattern)
            found = [named] if named.is_dir() else []
        else:
            root = Path(Path(pattern).anchor or base)
            below = pattern[len(Path(pattern).anchor) :].lstrip("/").removeprefix("./").removesuffix("/")
            found = [path for row in rows for path, _ in find_files(root, below, row, folders=True)]
            if trials_file is None:
                found = [path for path in found if path not in excluded and _holds_one_of(path, setup_patterns)]
        if not found:
            raise SetupError(f"<trial_folders>: no folder in '{base}' fits '{pattern}' and holds a setup file.")
        folders.update((path, _seen_from(base, path)) for path in found)
    return [_trial(name if name != "." else folder.name, folder, setup_patterns) for folder, name in folders.items()]


def _holds_one_of(folder: Path, patterns: Sequence[str]) -> bool:
    """Tell a trial from folders of results, which the same pattern may fit."""
    own = [pattern for pattern in patterns if not pattern.startswith("..") and not Path(pattern).is_absolute()]
    return not own or any(any(folder.glob(pattern)) for pattern in own)


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _named(trials_file: Path, folder_patterns: Sequence[str]) -> list[Mapping[str, str] | None]:
    """Return the values of the patterns' names in a manifest, each combination once."""
    # Its activation files do not exist yet, so it is not read as a finished manifest.
    rows, faults = examine_rows(trials_file, TRIAL_COLUMNS, TRIAL_COLUMNS, kind="trials manifest", others=True)
    refuse(faults, trials_file)
    table = [row.cells for row in rows]
    names = dict.fromkeys(_NAME.findall(" ".join(folder_patterns)))
    if not names:
        raise SetupError("With <trials_file>, <trial_folders> must hold names of its columns: '{subject}/{trial}'.")
    for name in names:
        if not table or name not in table[0]:
            known = list(table[0]) if table else []
            raise ManifestError(
                f"{trials_file}: <trial_folders> names the column '{name}', but the columns are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    for row in table:
        for name in names:
            fault = name_fault(row[name], f"'{name}'") if row[name] else f"'{name}' must not be empty."
            if fault:
                raise ManifestError(f"{trials_file}: {fault}")
    unique = {tuple(row[name] for name in names): {name: row[name] for name in names} for row in table}
    return list(unique.values())


def _trial(name: str, folder: Path, patterns: Sequence[str]) -> PipelineTrial:
    setups, faults = [], []
    for pattern in patterns:
        if not _is_pattern(pattern):
            setups.append(_tidy(folder / pattern))
            continue
        head, _, tail = pattern.rpartition("/")
        found = sorted(path for path in _tidy(folder / head).glob(tail) if not path.name.startswith("."))
        if len(found) == 1:
            setups.append(found[0])
        else:
            what = (
                f"{len(found)} files fit ({listed([path.name for path in found], _LISTED)})"
                if found
                else "no file fits"
            )
            faults.append(f"one setup file must fit '{pattern}' in '{folder}', but {what}.")
    return PipelineTrial(name, tuple(setups), tuple(faults))


def plan_steps(trials: Sequence[PipelineTrial], base: Path) -> list[PipelineStep]:
    """Find out what is to be run, in which order, and what cannot be.

    Parameters
    ----------
    trials : sequence of PipelineTrial
        The trials.
    base : pathlib.Path
        The steps are named as seen from there.

    Returns
    -------
    list of PipelineStep
        Trial after trial; each setup file once.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        Steps need each other, in different trials.
    """
    read: dict[Path, OpenSimSetup | str] = {}
    earlier: dict[Path, list[Path]] = {}
    later: dict[Path, list[Path]] = {}
    owner: dict[Path, str] = {}
    for trial in trials:
        for place, path in enumerate(trial.setups):
            if path not in read:
                read[path] = _read(path)
                owner[path] = trial.name
            earlier.setdefault(path, []).extend(trial.setups[:place])
            later.setdefault(path, []).extend(trial.setups[place + 1 :])
    keys = {path: _seen_from(base, path) for path in read}
    setups = {path: setup for path, setup in read.items() if isinstance(setup, OpenSimSetup)}
    collisions = _collisions(setups, keys)
    steps = []
    for path, setup in read.items():
        if isinstance(setup, str):
            steps.append(PipelineStep(keys[path], path, "", owner[path], (), (setup,)))
            continue
        before = [setups[other] for other in dict.fromkeys(earlier[path]) if other in setups]
        after = [setups[other] for other in dict.fromkeys(later[path]) if other in setups]
        needed = [other.path for other in before if any(other.writes(item.path) for item in setup.inputs)]
        faults = [*setup.traps, *_missing(setup, before, after, keys), *collisions.get(path, ())]
        steps.append(
            PipelineStep(
                keys[path], path, setup.tool, owner[path], tuple(keys[other] for other in needed), tuple(faults)
            )
        )
    try:
        graphlib.TopologicalSorter({step.key: step.needs for step in steps}).prepare()
    except graphlib.CycleError as error:
        raise SetupError(
            f"These setup files need each other's results, because trials list them in different orders: "
            f"{', '.join(error.args[1])}."
        ) from None
    return steps


def _read(path: Path) -> OpenSimSetup | str:
    try:
        return read_opensim_setup(path, STEP_TOOLS)
    except NEM2EError as error:
        return str(error)


def _missing(
    setup: OpenSimSetup, before: Collection[OpenSimSetup], after: Collection[OpenSimSetup], keys: Mapping[Path, str]
) -> Iterator[str]:
    """Name the inputs that are not there and will not be."""
    results = {item.path.name: (item.path, keys[other.path]) for other in before for item in other.outputs}
    for item in setup.inputs:
        if exists(item.path) or any(other.writes(item.path) for other in before):
            continue
        late = next((keys[other.path] for other in after if other.writes(item.path)), "")
        if late:
            hint = f" '{late}' writes it, but comes later in <setup_files>."
        elif item.path.name in results:
            hint = f" '{results[item.path.name][1]}' writes it to '{results[item.path.name][0].parent}'."
        else:
            near = _names_in(item.path.parent, item.path.suffix)
            hint = did_you_mean(item.path.name, results) or did_you_mean(item.path.name, near)
            if any(f"'{name}'" in hint for name in results):
                hint += " An earlier step writes that."
        yield f"{_place(item, setup)}the file '{item.path}' does not exist, and no step before writes it.{hint}"


def exists(path: Path) -> bool:
    """Tell whether there is a file or folder.

    Parameters
    ----------
    path : pathlib.Path
        Its path.

    Returns
    -------
    bool
        False also for what can be no path, or is out of sight.
    """
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _names_in(folder: Path, suffix: str) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.name.endswith(suffix)}
    except (OSError, ValueError):
        return set()


def _place(item: NamedFile, setup: OpenSimSetup) -> str:
    where = "" if item.source == setup.path else f"{item.source.name}, "
    return f"{where}line {item.line}: <{item.element}>: "


def _collisions(setups: Mapping[Path, OpenSimSetup], keys: Mapping[Path, str]) -> dict[Path, list[str]]:
    """Find steps that would overwrite each other's results."""
    faults: dict[Path, list[str]] = {}
    first: dict[object, Path] = {}
    for path, setup in setups.items():
        claims: list[tuple[object, str]] = [(item.path, f"'{item.path}'") for item in setup.outputs]
        if setup.tool != "ScaleTool":
            family = _FAMILY.get(setup.tool, setup.tool)
            what = f"results named '{setup.name}' in '{setup.results_directory}'"
            # An analysis is known by its own name, too, and inverse kinematics and dynamics name their files.
            if setup.name and family in ("CMCTool", "STDRRefineTool"):
                claims.append(((setup.results_directory, setup.name, family), what))
        for claim, what in claims:
            other = first.setdefault(claim, path)
            if other != path:
                faults.setdefault(path, []).append(f"it writes {what}, as '{keys[other]}' does.")
    return faults


def _seen_from(base: Path, path: Path) -> str:
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()


def _tidy(path: Path) -> Path:
    return Path(os.path.normpath(path))
