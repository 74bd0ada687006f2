"""Read marker trajectories (``.trc``, the format of Motion Analysis that OpenSim uses)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, StorageError, did_you_mean
from .header import decode
from .safe_xml import read_bytes

#: Factors from a file's units of length to m.
_METRES = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}

#: Lines before the first row: file type, keys, values, marker names, axes; then perhaps a blank one.
_KEYS_LINE, _VALUES_LINE, _NAMES_LINE, _FIRST_ROW = 1, 2, 3, 5


@dataclass(frozen=True, eq=False)
class Markers:
    """Marker trajectories.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    names : tuple of str
        The markers.
    positions : numpy.ndarray, shape (rows, markers, 3)
        Where they are (m); NaN where a marker was not seen.
    path : pathlib.Path
        The file.
    """

    time: NDArray[np.float64]
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    path: Path

    def position(self, name: str) -> NDArray[np.float64]:
        """Return the path of one marker.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        numpy.ndarray, shape (rows, 3)
            Positions (m).

        Raises
        ------
        opensim_nem2e.errors.LabelError
            There is no such marker.
        """
        if name not in self.names:
            raise LabelError(f"There is no marker '{name}'.{did_you_mean(name, self.names)}", self.path)
        return self.positions[:, self.names.index(name)]


def read_trc(path: str | os.PathLike[str]) -> Markers:
    """Read a ``.trc`` file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Markers
        Positions in m, whatever the file's unit.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing.
    opensim_nem2e.errors.StorageError
        It is no such file, its unit is not known, or a row is damaged.
    """
    lines = decode(read_bytes(path, "marker file")).splitlines()
    if len(lines) <= _FIRST_ROW or not lines[0].startswith("PathFileType"):
        raise StorageError("A marker file must begin with 'PathFileType', and has five lines before its rows.", path, 1)
    # Some programs write two tabs between the values.
    entries = dict(zip(lines[_KEYS_LINE].split(), lines[_VALUES_LINE].split(), strict=False))
    unit = entries.get("Units", "").lower()
    if unit not in _METRES:
        raise StorageError(f"'Units' must be one of mm, cm, m; found '{unit}'.", path, _VALUES_LINE + 1)
    names = tuple(name for name in _words(lines[_NAMES_LINE]) if name)[2:]
    rows = []
    for number, line in enumerate(lines[_FIRST_ROW:], start=_FIRST_ROW + 1):
        if line.strip():
            rows.append(_row(line, len(names), path, number))
    if not names or not rows:
        raise StorageError("There are no markers or no rows in it.", path)
    table = np.array(rows)
    time = table[:, 0]
    if not (np.diff(time) > 0.0).all():
        row = int(np.argmin(np.diff(time) > 0.0))
        raise StorageError(f"Time must increase, but {time[row + 1]} s follows {time[row]} s.", path)
    return Markers(time, names, table[:, 1:].reshape(len(rows), -1, 3) * _METRES[unit], Path(path))


def _words(line: str) -> list[str]:
    return [word.strip() for word in line.split("\t")]


def _row(line: str, markers: int, path: str | os.PathLike[str], number: int) -> list[float]:
    """Return time and positions of a row; a marker that was not seen is left empty in the file."""
    cells = _words(line)[1 : 2 + 3 * markers]
    cells += [""] * (1 + 3 * markers - len(cells))
    try:
        return [float(cell) if cell else np.nan for cell in cells]
    except ValueError:
        raise StorageError("A row must hold numbers separated by tabs.", path, number) from None
