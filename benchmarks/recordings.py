"""Where the public recordings are that some benchmarks need, and the manifest of all of them."""

import csv
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from opensim_nem2e import TimeSeries, write_storage
from opensim_nem2e.data.manifest import (
    CHANNEL_COLUMNS,
    FILE_COLUMNS,
    TRIAL_COLUMNS,
    Channel,
    CycleRecord,
    read_channels,
    read_trials,
)

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


#: Model muscles and standard names of the columns of the EMG profiles; the others serve no muscle of the paper.
PROFILE_CHANNELS = {
    "soleus": ("soleus_r", "soleus"),
    "gastrocnemius medialis": ("med_gas_r", "gasmed"),
    "gastrocnemius lateralis": ("lat_gas_r", "gaslat"),
    "tibialis anterior": ("tib_ant_r", "tib"),
    "rectus femoris": ("rect_fem_r", "rect"),
    "vastus lateralis": ("vas_lat_r", "vaslat"),
    "vastus medialis": ("vas_med_r", "vasmed"),
    "biceps femoris": ("bifemlh_r", "bi"),
    "semitendinosus": ("semiten_r;semimem_r", "sem"),
    "gluteus medius": ("glut_med1_r;glut_med2_r;glut_med3_r", "glmed1"),
    "gluteus maximus": ("glut_max1_r;glut_max2_r;glut_max3_r", "glmax1"),
}


def profile_recordings(folder: Path) -> tuple[list[CycleRecord], list[Channel]]:
    """Write the mean EMG cycles of 15 adults, whom nobody simulated, as files of one cycle each, and list them."""
    source = MORE_DATA / "emg_profiles" / "walking_15_adults.csv"
    if not source.is_file():
        return [], []
    curves: dict[str, dict[str, np.ndarray]] = {}
    with source.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["muscle"] in PROFILE_CHANNELS:
                own = curves.setdefault(row["subject"], {})
                own[row["muscle"]] = np.array([float(row[f"p{k}"]) for k in range(101)])
    records = []
    for subject, columns in curves.items():
        path = folder / f"{subject}_emg.sto"
        write_storage(path, TimeSeries(np.linspace(0, 1, 101), tuple(columns), np.column_stack(list(columns.values()))))
        about = {"dataset": "emg_profiles", "subject": subject, "trial": "mean", "stride": "1", "motion": "walk"}
        nothing = {"speed": None, "model_file": None, "activation_file": None, "heel_strike": None}
        records.append(
            CycleRecord(
                **about,
                **nothing,
                side="r",
                activation_source="",
                emg_file=path,
                emg_time_offset=0.0,
                start=0.0,
                end=1.0,
                line=0,
                age_group="adult",
            )
        )
    channels = [Channel("emg_profiles", c, tuple(m.split(";")), name, 0) for c, (m, name) in PROFILE_CHANNELS.items()]
    return records, channels


#: Datasets of children.
CHILDREN = ("biomechzoo", "cp_child")


def everyone(folder: Path, cmc: Path | None = None) -> tuple[list[CycleRecord], list[Channel]]:
    """List all recordings, with age groups and the EMG profiles, whose files go to a folder.

    ``cmc`` is the results directory of ``cmc_strides.py``, whose strides are then among them.
    """
    trials, channels = read_recordings()
    if cmc is not None:
        trials += read_trials(cmc / "trials_cmc.csv")
    trials = [replace(trial, age_group="child" if trial.dataset in CHILDREN else "adult") for trial in trials]
    more_trials, more_channels = profile_recordings(folder)
    # A line of its own for each row: the manifests are two.
    numbered = [replace(trial, line=number) for number, trial in enumerate([*trials, *more_trials], start=2)]
    return numbered, [*channels, *more_channels]


def write_channels(path: Path, channels: Iterable[Channel]) -> Path:
    """Write a table of EMG channels."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CHANNEL_COLUMNS)
        writer.writerows([c.dataset, c.column, ";".join(c.muscles), c.standard_name] for c in channels)
    return path
