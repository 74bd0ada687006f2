"""Subjects for a population: gait cycles of a trials manifest, and tables of mean profiles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.manifest import Channel, CycleRecord, read_channels, read_trials
from ...signals.resample import interpolate
from ...storage import TimeSeries, read_storage
from ...storage.labels import find_activation_columns, find_so_activation_columns
from ...storage.muscles import MuscleNames
from .population import SAMPLES, PersonCycles
from .recordings import canonical_name

Array = NDArray[np.float64]


def people_of_manifest(
    trials_file: str | os.PathLike[str],
    channels_file: str | os.PathLike[str],
    *,
    unused: Iterable[tuple[str, str]] = (),
    sources: Iterable[str] = ("so", "moco"),
) -> list[PersonCycles]:
    """Read the gait cycles of all subjects of a manifest.

    Parameters
    ----------
    trials_file, channels_file : str or os.PathLike
        The manifest (:mod:`opensim_nem2e.data.manifest`). Channels without a standard name serve, too, if their muscle
        has one: the manifest leaves names out that networks cannot use.
    unused : iterable of (str, str), optional
        Datasets and columns of channels that are dead or copies.
    sources : iterable of str, optional
        The simulations that count.

    Returns
    -------
    list of PersonCycles
        In the manifest's order.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A file cannot be read.
    """
    dead, wanted = set(unused), set(sources)
    channels = [c for c in read_channels(channels_file) if (c.dataset, c.column) not in dead]
    records = [r for r in read_trials(trials_file) if r.emg_file is not None and r.activation_source in wanted]
    names = MuscleNames.load()
    cache: dict[Path, TimeSeries] = {}

    def read(path: Path) -> TimeSeries:
        return cache.setdefault(path, read_storage(path)) if path not in cache else cache[path]

    found: dict[tuple[str, str], list[tuple[dict[str, Array], dict[str, Array]]]] = {}
    for record in records:
        own = [c for c in channels if c.dataset == record.dataset]
        found.setdefault((record.dataset, record.subject), []).append(_cycle(record, own, names, read))
    return [_person(dataset, subject, cycles) for (dataset, subject), cycles in found.items()]


def people_of_profiles(
    table_file: str | os.PathLike[str], laboratory: str, muscles: Mapping[str, str]
) -> list[PersonCycles]:
    """Read mean profiles of subjects without simulations.

    Parameters
    ----------
    table_file : str or os.PathLike
        Table (``.csv``) with the columns subject, muscle, and p0, p1, ... at evenly spaced phases, both ends included.
    laboratory : str
        Whose they are.
    muscles : mapping of str to str
        Standard name of each muscle of the table that is used.

    Returns
    -------
    list of PersonCycles
        One cycle each; :meth:`.Population.learn` brings them onto the clock of the activations.
    """
    import pandas as pd

    table = pd.read_csv(table_file)
    phases = [name for name in table.columns if name[:1] == "p" and name[1:].isdigit()]
    at = np.linspace(0.0, 1.0, len(phases))
    grid = np.arange(SAMPLES) / SAMPLES
    people = []
    for subject, rows in table.groupby("subject", sort=True):
        emg = {
            muscles[str(row["muscle"])]: np.interp(grid, at, row[phases].to_numpy(dtype=float))[np.newaxis]
            for _, row in rows.iterrows()
            if str(row["muscle"]) in muscles
        }
        people.append(PersonCycles(str(subject), laboratory, emg, {}))
    return people


def _cycle(
    record: CycleRecord, channels: list[Channel], names: MuscleNames, read: Callable[[Path], TimeSeries]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Sample one cycle's EMG and simulation by standard name, phase 0 at heel strike."""
    simulation, emg = read(record.simulated), read(record.measured)
    columns = find_so_activation_columns(simulation) or find_activation_columns(simulation)
    duration = record.end - record.start
    strike = record.start if record.heel_strike is None else record.heel_strike
    phase = np.arange(SAMPLES) / SAMPLES
    time = record.start + ((strike - record.start) + phase * duration) % duration

    def standard(muscle: str) -> str:
        known = names.standard(muscle)
        return "" if known is None or known.side not in ("", None, record.side) else canonical_name(known.name)

    activations: dict[str, list[Array]] = {}
    for muscle, label in columns.items():
        if standard(muscle):
            activations.setdefault(standard(muscle), []).append(
                interpolate(simulation.time, simulation.column(label), time)
            )
    # A file of one cycle alone is continued by itself.
    alone = emg.time[-1] - emg.time[0] < 1.1 * duration
    at = time + record.emg_time_offset
    if alone:
        at = emg.time[0] + (at - emg.time[0]) % duration
    measured: dict[str, Array] = {}
    for channel in channels:
        if channel.column not in emg.labels:
            continue
        values = np.maximum(interpolate(emg.time, emg.column(channel.column), at), 0.0)
        for name in dict.fromkeys(standard(muscle) for muscle in channel.muscles):
            if name:
                measured.setdefault(name, values)
    return measured, {name: np.mean(activations[name], axis=0) for name in measured if name in activations}


def _person(dataset: str, subject: str, cycles: list[tuple[dict[str, Array], dict[str, Array]]]) -> PersonCycles:
    nothing = np.full(SAMPLES, np.nan)
    tables = []
    for place in (0, 1):
        names = sorted({name for cycle in cycles for name in cycle[place]})
        tables.append({name: np.array([cycle[place].get(name, nothing) for cycle in cycles]) for name in names})
    return PersonCycles(subject, dataset, *tables)
