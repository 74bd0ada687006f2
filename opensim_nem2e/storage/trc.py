"""Read marker trajectories (``.trc``, the format of Motion Analysis that OpenSim uses)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, StorageError, did_you_mean
from ..log import logger
from .header import decode
from .safe_xml import packed_as, read_bytes

#: Factors from a file's units of length to m.
_METRES = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}

#: The largest file that is read.
MAX_BYTES = 512 * 1024 * 1024

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
        Where they are (m); NaN where a marker was not seen (empty, or at 0 0 0, in the file).
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
    content = read_bytes(path, "marker file", MAX_BYTES)
    lines = decode(content).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) <= _FIRST_ROW or not lines[0].startswith("PathFileType"):
        what = "A marker file must begin with 'PathFileType', and has five lines before its rows."
        raise StorageError(what + packed_as(content), path, 1)
    # Some programs write two tabs between the values.
    entries = dict(zip(lines[_KEYS_LINE].split(), lines[_VALUES_LINE].split(), strict=False))
    unit = entries.get("Units", "").lower()
    if unit not in _METRES:
        raise StorageError(f"'Units' must be one of mm, cm, m; found '{unit}'.", path, _VALUES_LINE + 1)
    names = _names(lines[_NAMES_LINE], entries.get("NumMarkers", ""), path)
    rows, numbers = [], []
    for number, line in enumerate(lines[_FIRST_ROW:], start=_FIRST_ROW + 1):
        if line.strip():
            rows.append(_row(line, len(names), path, number))
            numbers.append(number)
    if not names or not rows:
        raise StorageError("There are no markers or no rows in it.", path)
    table = np.array(rows)
    time = table[:, 0]
    if not np.isfinite(time).all():
        raise StorageError("Every row must have a time.", path, numbers[int(np.argmin(np.isfinite(time)))])
    if not (np.diff(time) > 0.0).all():
        row = int(np.argmin(np.diff(time) > 0.0))
        raise StorageError(f"Time must increase, but {time[row + 1]} s follows {time[row]} s.", path, numbers[row + 1])
    positions = table[:, 1:].reshape(len(rows), -1, 3) * _METRES[unit]
    if np.isinf(positions).any():
        row = int(np.argmax(np.isinf(positions).any(axis=(1, 2))))
        raise StorageError("Positions must be finite numbers.", path, numbers[row])
    # No marker is ever at the very origin: some programs write so what was not seen.
    origin = (positions == 0.0).all(axis=2)
    positions[origin] = np.nan
    for name, count in zip(names, origin.sum(axis=0), strict=True):
        if count:
            logger.info("%s: the marker '%s' is at 0 0 0 in %d rows: taken for missing.", os.fspath(path), name, count)
    return Markers(time, names, positions, Path(path))


def _names(line: str, count: str, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the markers' names, which are separated by tabs, or in some files by blanks."""
    names = [name for name in _words(line) if name][2:]
    wanted = int(count) if count.isascii() and count.isdigit() and len(count) < 6 else len(names)
    if len(names) != wanted and len(line.split()) - 2 == wanted:
        names = line.split()[2:]
    if len(names) != wanted:
        raise StorageError(
            f"There must be as many names of markers as 'NumMarkers' says, {wanted}; found {len(names)}.",
            path,
            _NAMES_LINE + 1,
        )
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            raise LabelError(f"The marker '{name}' appears {names.count(name)} times.", path, _NAMES_LINE + 1)
    return tuple(names)


def _words(line: str) -> list[str]:
    return [word.strip() for word in line.split("\t")]


def _row(line: str, markers: int, path: str | os.PathLike[str], number: int) -> list[float]:
    """Return time and positions of a row; a marker that was not seen is left empty in the file."""
    width = 1 + 3 * markers
    if "\t" in line.strip():
        cells = _words(line)
        if any(cells[1 + width :]):
            raise StorageError(f"A row must have 3 numbers for each of {markers} markers; found more.", path, number)
        cells = cells[1 : 1 + width]
        cells += [""] * (width - len(cells))
    else:
        cells = line.split()[1:]
        if len(cells) != width:
            raise StorageError(
                f"A row separated by blanks must have 3 numbers for each of {markers} markers; found {len(cells) - 1}.",
                path,
                number,
            )
    if not line.isascii() or "_" in line:
        cells = [cell if cell.isascii() and "_" not in cell else "x" for cell in cells]
    try:
        return [float(cell) if cell else np.nan for cell in cells]
    except ValueError:
        raise StorageError("A row must hold numbers separated by tabs.", path, number) from None
