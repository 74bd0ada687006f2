"""Read recordings of EMG: storage files, tables, and the analog channels of C3D files.

C3D files are read by ezc3d (Michaud & Begon 2021, J. Open Source Softw. 6, 2911), which applies the file's scales and
offsets and puts the sub-frames of each video frame in line. Tables (``.csv``) need a header row, and a time column
unless the sampling rate is given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingFileError, StorageError
from ..log import logger
from .sto import TimeSeries, read_storage

C3dStart = Literal["zero", "first_frame"]

#: Files that :func:`read_emg` can read.
SUFFIXES = (".sto", ".mot", ".csv", ".c3d")

#: Factors from the units of voltages in C3D files to mV.
_MILLIVOLTS = {"V": 1e3, "MV": 1.0, "UV": 1e-3, "NV": 1e-6}

#: What a table's time column is called: "time", "Time (s)", "t [s]", "X[s]" (Delsys), ...
_TIME_COLUMN = re.compile(r"(time|t|x|x ?axis)\s*([\[(]\s*(?P<unit>\w+)\s*[\])])?", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "": 1.0}


def read_emg(
    path: str | os.PathLike[str], *, sampling_rate: float | None = None, c3d_start: C3dStart = "zero"
) -> TimeSeries:
    """Read the channels of a recording, whatever it is stored in.

    Parameters
    ----------
    path : str or os.PathLike
        A ``.sto``, ``.mot``, ``.csv`` or ``.c3d`` file.
    sampling_rate : float, optional
        For a table without a time column: its rate (Hz); the first row is time 0. Elsewhere it must not be given.
    c3d_start : {'zero', 'first_frame'}
        The time of the first sample of a C3D file that was cut out of a longer recording: 0, as OpenSim's own
        C3DFileAdapter has it, or the number of its first frame over the frame rate, as most laboratory software.

    Returns
    -------
    TimeSeries
        Voltages of a C3D file are in mV; of other files the unit is whatever was written. Analog channels of a C3D
        file that belong to force plates, or have a unit other than volts, are left out.

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
    if sampling_rate is not None and suffix != ".csv":
        raise StorageError("A sampling rate can only be given for tables (.csv): this file has its own.", path)
    if suffix == ".c3d":
        return _read_c3d(file, c3d_start)
    return _read_table(file, sampling_rate) if suffix == ".csv" else read_storage(file)


def _read_table(path: Path, sampling_rate: float | None) -> TimeSeries:
    import pandas as pd

    try:
        frame = pd.read_csv(path, sep=None, engine="python", skipinitialspace=True, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise StorageError(f"The table cannot be read: {error}.", path) from error
    labels = [str(label).strip() for label in frame.columns]
    for label, dtype in zip(labels, frame.dtypes, strict=True):
        if dtype.kind not in "fiu":
            raise StorageError(f"The column '{label}' must hold numbers with a decimal point, but it does not.", path)
    values = frame.to_numpy(dtype=float)
    match = _TIME_COLUMN.fullmatch(labels[0])
    if match is None:
        if sampling_rate is None:
            raise StorageError(
                f"The first column must be called 'time', or the sampling rate must be given; found '{labels[0]}'.",
                path,
            )
        return TimeSeries(np.arange(len(values)) / sampling_rate, tuple(labels), values, path=path)
    if sampling_rate is not None:
        raise StorageError(f"A sampling rate was given, but the table has a time column, '{labels[0]}'.", path)
    unit = (match["unit"] or "").lower()
    if unit not in _SECONDS:
        raise StorageError(f"The unit of time must be one of s, ms; found '{match['unit']}'.", path, 1)
    return TimeSeries(values[:, 0] * _SECONDS[unit], tuple(labels[1:]), values[:, 1:], path=path)


def _read_c3d(path: Path, start: C3dStart) -> TimeSeries:
    try:
        import ezc3d
    except ImportError as error:
        raise StorageError("C3D files are read by ezc3d, which is not installed: pip install ezc3d.", path) from error
    try:
        file = ezc3d.c3d(os.fspath(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise StorageError(f"It cannot be read as a C3D file: {error}.", path) from error
    analog = file["parameters"].get("ANALOG", {})
    labels = _texts(analog, "LABELS")
    data: NDArray[np.float64] = np.asarray(file["data"]["analogs"], dtype=float)[0]
    if not labels or not data.size:
        raise StorageError("The C3D file has no analog channels.", path)
    units = _texts(analog, "UNITS")
    plates = file["parameters"].get("FORCE_PLATFORM", {})
    used = {int(number) - 1 for number in np.ravel(_value(plates, "CHANNEL"))}
    factors = {}
    for index, label in enumerate(labels[: len(data)]):
        unit = units[index] if index < len(units) else ""
        factor = _MILLIVOLTS.get(unit.upper().replace("µ", "U").replace("Μ", "U"))
        if index not in used and factor is not None:
            factors[index] = factor
        else:
            logger.debug("%s: the analog channel '%s' (unit '%s') is no EMG: left out.", path, label, unit)
    if not factors:
        found = ", ".join(f"{label} ({unit or 'no unit'})" for label, unit in zip(labels, units, strict=False))
        raise StorageError(f"An analog channel in V, mV or uV that is no force plate's is needed; found {found}.", path)
    rate = float(np.ravel(_value(analog, "RATE"))[0])
    first = int(file["header"]["points"]["first_frame"])
    frame_rate = float(file["header"]["points"]["frame_rate"])
    cut_from = first / frame_rate if frame_rate > 0.0 else 0.0
    if first:
        logger.info(
            "%s: its first frame is number %d (%.4f s into the recording); its time starts at %.4f s.",
            path,
            first + 1,
            cut_from,
            cut_from if start == "first_frame" else 0.0,
        )
    return TimeSeries(
        time=np.arange(data.shape[1]) / rate + (cut_from if start == "first_frame" else 0.0),
        labels=tuple(labels[index] for index in factors),
        data=np.column_stack([data[index] * factor for index, factor in factors.items()]),
        path=path,
    )


def _texts(group: Mapping[str, Any], name: str) -> list[str]:
    """Return a parameter of texts; C3D keeps more than 255 of them in a second one, called LABELS2."""
    listed = [str(text).strip() for text in _value(group, name)]
    return listed + [str(text).strip() for text in _value(group, f"{name}2")]


def _value(group: Mapping[str, Any], name: str) -> Any:
    return group[name]["value"] if name in group else []
