"""The examination as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ...log import quiet
from ..manifest import Channel, CycleRecord, examine_channels, examine_trials
from .emg_checks import check_emg, check_standard_names
from .findings import Finding, Findings
from .force_checks import check_forces
from .recording_checks import Files, Recording, recordings_of
from .simulation_checks import check_simulation
from .timing_checks import Alignment, check_timing

Row = TypeVar("Row", CycleRecord, Channel)


@dataclass(frozen=True, eq=False)
class Examination:
    """What was examined and found.

    Parameters
    ----------
    trials_file : pathlib.Path
        The manifest.
    findings : tuple of Finding
        The most severe first.
    recordings : tuple of Recording
        The recordings.
    alignments : tuple of Alignment
        How EMG and activations fit, for the figures.
    offsets : mapping of int to float
        Proposed time offsets of EMG, by the row's line in the manifest (s).
    """

    trials_file: Path
    findings: tuple[Finding, ...]
    recordings: tuple[Recording, ...]
    alignments: tuple[Alignment, ...]
    offsets: Mapping[int, float] = field(default_factory=dict)


def examine(trials_file: str | os.PathLike[str], channels_file: str | os.PathLike[str] | None = None) -> Examination:
    """Examine everything that a manifest names.

    Parameters
    ----------
    trials_file : str or os.PathLike
        ``trials.csv``.
    channels_file : str or os.PathLike, optional
        ``emg_channels.csv``; by default the one beside it.

    Returns
    -------
    Examination
        The findings.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A manifest file is missing or no text.
    """
    trials_path = Path(trials_file)
    channels_path = Path(channels_file) if channels_file is not None else trials_path.with_name("emg_channels.csv")
    findings = Findings()
    files = Files(findings)
    with quiet():
        trials = _rows(trials_path, examine_trials, findings)
        channels = _rows(channels_path, examine_channels, findings)
        whole = [trial for trial in trials if trial.emg_file is not None and trial.activation_file is not None]
        if len(whole) < len(trials):
            what = f"{len(trials) - len(whole)} of {len(trials)} rows have no EMG or no activations."
            remedy = "nothing, if that is meant: only their gait cycles and ground reactions are looked at."
            findings.add("note", "partial", str(trials_path), what, remedy)
        recordings = recordings_of(whole, channels, files)
        check_standard_names(channels, findings)
        check_emg(recordings, files, findings)
        alignments = check_timing(recordings, files, findings)
        check_forces(trials, files, findings)
        check_simulation(recordings, files, findings)
    return Examination(trials_path, tuple(findings), tuple(recordings), tuple(alignments), findings.offsets)


def _rows(path: Path, read: Callable[[Path], tuple[list[Row], list[str]]], findings: Findings) -> Sequence[Row]:
    rows, faults = read(path)
    for fault in faults:
        code = "missing" if "does not exist" in fault else "manifest"
        findings.add("error", code, str(path), fault, "correct the row, or bring the file back.")
    if not rows and not faults:
        findings.add("error", "manifest", str(path), "it has no rows.", "opensim-nem2e manifest makes one.")
    return rows
