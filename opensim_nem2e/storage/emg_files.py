"""Read recordings of EMG: storage files, tables of every laboratory's software, and analog channels of C3D files."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import MissingFileError, StorageError
from ..log import logger
from .c3d import C3dStart, read_c3d
from .emg_tables import PLAUSIBLE_RATES, check_channels, read_emg_table
from .sto import TimeSeries, is_refinement, read_storage

#: Tables, which may need a sampling rate.
TABLE_SUFFIXES = (".csv", ".txt", ".tsv", ".emt", ".xlsx")

#: Files that :func:`read_emg` can read.
SUFFIXES = (".sto", ".mot", *TABLE_SUFFIXES, ".c3d")


def read_emg(
    path: str | os.PathLike[str],
    *,
    sampling_rate: float | None = None,
    c3d_start: C3dStart = "zero",
    channels: Collection[str] | None = None,
) -> TimeSeries:
    """Read the channels of a recording, whatever it is stored in.

    Parameters
    ----------
    path : str or os.PathLike
        A storage file, a table (:mod:`opensim_nem2e.storage.emg_tables`) or a ``.c3d`` file.
    sampling_rate : float, optional
        For a table without a time column: its rate (Hz), the first row is time 0; for one whose times were rounded
        when written: the rate that they were rounded from. Elsewhere it must not be given.
    c3d_start : {'zero', 'first_frame'}
        The time of the first sample of a C3D file, or an export with numbers of frames, that was cut out of a longer
        recording: 0, as OpenSim's own C3DFileAdapter has it, or the number of its first frame over the frame rate, as
        most laboratory software.
    channels : collection of str, optional
        Read these channels only, whatever their names and units say.

    Returns
    -------
    TimeSeries
        Voltages of a C3D file, and of a table with a row of units, are in mV; elsewhere the unit is whatever was
        written. Channels that belong to force plates or other sensors, or have a unit other than volts, are left out,
        which the log says.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing.
    opensim_nem2e.errors.StorageError
        The file cannot be read, or holds no channel of EMG.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise StorageError(f"A recording of EMG must be one of {', '.join(SUFFIXES)}, found '{file.suffix}'.", path)
    if not file.is_file():
        raise MissingFileError(f"The recording '{file}' does not exist.")
    if sampling_rate is not None and suffix not in TABLE_SUFFIXES:
        raise StorageError("A sampling rate can only be given for tables (.csv): this file has its own.", path)
    if suffix == ".c3d":
        return read_c3d(file, c3d_start, channels)
    if suffix in TABLE_SUFFIXES:
        return read_emg_table(file, sampling_rate=sampling_rate, channels=channels, start=c3d_start)
    series = read_storage(file)
    if channels is None:
        return series
    check_channels(channels, series.labels, file)
    left_out = [label for label in series.labels if label not in channels]
    if left_out:
        logger.info("%s: left out (not among the channels asked for): %s.", file, ", ".join(left_out)[:1000])
    wanted = [channel for channel in channels if series.has(channel)]
    return replace(series, labels=tuple(wanted), data=series.select(wanted))


def read_envelopes(path: str | os.PathLike[str]) -> TimeSeries:
    """Read EMG envelopes: a storage file, or a table with a column of time.

    Parameters
    ----------
    path : str or os.PathLike
        The file; what is no table (:data:`TABLE_SUFFIXES`) is read as a storage file.

    Returns
    -------
    TimeSeries
        All channels.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing.
    opensim_nem2e.errors.StorageError
        The file cannot be read, or its times cannot be those of EMG.
    """
    if Path(path).suffix.lower() in TABLE_SUFFIXES:
        return read_emg(path)
    series = read_storage(path)
    if is_refinement(series):
        logger.warning("%s: these are estimates of a refinement, not measured EMG, as its first line says.", path)
    step = float(np.median(np.diff(series.time))) if series.n_rows > 1 else 0.0
    if step > 1.0 / PLAUSIBLE_RATES[0]:
        raise StorageError(
            f"EMG must have {PLAUSIBLE_RATES[0]:g} rows a second or more, but its rows are {step:g} s apart (median): "
            "is its time in another unit than s?",
            path,
        )
    return series
