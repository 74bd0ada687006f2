"""The table of gait events: a small CSV file that tools write and people edit.

One row per event: ``time`` (s), ``event`` (``heel_strike`` or ``toe_off``), ``side`` (``r`` or ``l``), and, if wanted,
``source`` (where it comes from: ``forces``, ``markers``, ``model``, ``manual``, ...) and ``note``. Rows may be in any
order. In a spreadsheet, keep commas as separators and points as decimal marks.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import MissingFileError, StorageError, did_you_mean
from .atomic import atomic_path

EVENTS = ("heel_strike", "toe_off")
_COLUMNS = ("time", "event", "side", "source", "note")
_REQUIRED = _COLUMNS[:3]

#: Digits of time that are written: 0.1 ms is far finer than any method.
_DIGITS = 4


@dataclass(frozen=True, order=True)
class GaitEvent:
    """One event.

    Parameters
    ----------
    time : float
        When (s).
    event : {'heel_strike', 'toe_off'}
        What.
    side : {'r', 'l'}
        Which foot.
    source : str
        Where it comes from.
    note : str
        Anything.
    """

    time: float
    event: Literal["heel_strike", "toe_off"]
    side: Literal["r", "l"]
    source: str = "manual"
    note: str = ""


def write_gait_events(path: str | os.PathLike[str], events: Iterable[GaitEvent]) -> None:
    """Write a table of gait events, in order of time.

    Parameters
    ----------
    path : str or os.PathLike
        The file (``.csv``); replaced if it exists.
    events : iterable of GaitEvent
        The events.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        The file cannot be written.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for event in sorted(events):
                writer.writerow([f"{event.time:.{_DIGITS}f}", event.event, event.side, event.source, event.note])
    except OSError as error:
        raise StorageError(f"The file cannot be written: {error.strerror or error}.", path) from error


def read_gait_events(path: str | os.PathLike[str]) -> list[GaitEvent]:
    """Read a table of gait events.

    Parameters
    ----------
    path : str or os.PathLike
        The file (``.csv``).

    Returns
    -------
    list of GaitEvent
        In order of time.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    opensim_nem2e.errors.StorageError
        Everything that is wrong with it.
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingFileError(f"The table of gait events '{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise StorageError(f"A table of gait events must be UTF-8 text ({error}).", path) from error
    reader = csv.reader(io.StringIO(content, newline=""))
    lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)]
    header = lines[0][1] if lines else []
    faults = [f"unknown column '{name}'.{did_you_mean(name, _COLUMNS)}" for name in header if name not in _COLUMNS]
    faults += [f"the column '{name}' must be there once." for name in _REQUIRED if header.count(name) != 1]
    if faults:
        raise StorageError(f"{' '.join(faults)} Allowed: {', '.join(_COLUMNS)}.", path, 1)
    events: dict[tuple[float, str, str], GaitEvent] = {}
    for line, row in lines[1:]:
        try:
            event = _event(dict(zip(header, row, strict=True)))
        except ValueError as error:
            faults.append(f"line {line}: {error}")
            continue
        if events.setdefault((event.time, event.event, event.side), event) is not event:
            faults.append(f"line {line}: the event is listed twice.")
    if faults:
        raise StorageError("\n  - ".join(["It cannot be used:", *faults]), path)
    return sorted(events.values())


def _event(cells: dict[str, str]) -> GaitEvent:
    """Check one row; what is wrong with it is a ValueError."""
    try:
        time = float(cells["time"])
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise ValueError(f"'time' must be a number of seconds; found '{cells['time']}'.")
    for column, allowed in (("event", EVENTS), ("side", ("r", "l"))):
        if cells[column] not in allowed:
            hint = did_you_mean(cells[column], allowed)
            raise ValueError(f"'{column}' must be one of {', '.join(allowed)}; found '{cells[column]}'.{hint}")
    return GaitEvent(
        time,
        cells["event"],  # type: ignore[arg-type]
        cells["side"],  # type: ignore[arg-type]
        cells.get("source") or "manual",
        cells.get("note", ""),
    )
