"""Where the public recordings are that some benchmarks need, and the manifest of all of them."""

import csv
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from opensim_nem2e.data.manifest import FILE_COLUMNS, TRIAL_COLUMNS, Channel, CycleRecord, read_channels, read_trials

#: The folder that the environment variable OPENSIM_NEM2E_DATA names; it holds ``trials.csv`` and ``emg_channels.csv``.
DATA = Path(os.environ.get("OPENSIM_NEM2E_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

#: The folder with more subjects, of the same form; OPENSIM_NEM2E_MORE_DATA, or ``more_data`` beside ``DATA``.
MORE_DATA = Path(os.environ.get("OPENSIM_NEM2E_MORE_DATA", DATA.parent / "more_data"))


def read_recordings() -> tuple[list[CycleRecord], list[Channel]]:
    """Read the manifests of both folders, and name each trial's motion, which lies beside its EMG."""
    folders = [folder for folder in (DATA, MORE_DATA) if (folder / "trials.csv").is_file()]
    found = [_with_motion(trial) for folder in folders for trial in read_trials(folder / "trials.csv")]
    # Cycles are told apart by their lines, which the two files share.
    trials = [replace(trial, line=line) for line, trial in enumerate(found, start=2)]
    return trials, [channel for folder in folders for channel in read_channels(folder / "emg_channels.csv")]


def _with_motion(trial: CycleRecord) -> CycleRecord:
    folder = trial.measured.parent
    motions = [folder / f"{trial.trial}_ik.mot", folder / "coordinates_100Hz.mot"]
    found = next((path for path in motions if path.is_file()), None)
    return replace(trial, coordinates_file=found or trial.coordinates_file)


def write_trials(path: Path, trials: Iterable[CycleRecord]) -> Path:
    """Write a manifest with absolute paths."""
    names = {"speed_m_s": "speed", "emg_time_offset_s": "emg_time_offset", "t_start": "start", "t_end": "end"}
    names["heel_strike_t"] = "heel_strike"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(TRIAL_COLUMNS)
        for trial in trials:
            cells = {column: getattr(trial, names.get(column, column)) for column in TRIAL_COLUMNS}
            cells.update((name, cells[name] and cells[name].resolve()) for name in FILE_COLUMNS)
            writer.writerow("" if cell is None else cell for cell in cells.values())
    return path
