"""The table of gait events: a small CSV file that tools write and subjects edit.

One row per event: ``time`` (s), ``event`` (``heel_strike`` or ``toe_off``), ``side`` (``r`` or ``l``), and, if wanted,
``source`` (where it comes from: ``forces``, ``markers``, ``model``, ``manual``, ...) and ``note``. Rows may be in any
order; spreadsheets of any country may save it (:mod:`opensim_nem2e.storage.tables`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import did_you_mean
from .tables import Fault, Row, examine_rows, refuse, write_table

EVENTS = ("heel_strike", "toe_off")
_COLUMNS = ("time", "event", "side", "source", "note")
_OPTIONAL = _COLUMNS[3:]

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
    write_table(
        path,
        _COLUMNS,
        ([f"{event.time:.{_DIGITS}f}", event.event, event.side, event.source, event.note] for event in sorted(events)),
    )


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
    rows, faults = examine_rows(path, _COLUMNS, _OPTIONAL, kind="table of gait events")
    events: dict[tuple[float, str, str], GaitEvent] = {}
    for row in rows:
        try:
            event = _event(row)
        except ValueError as error:
            faults.append(Fault(row.line, str(error)))
            continue
        if events.setdefault((event.time, event.event, event.side), event) is not event:
            faults.append(Fault(row.line, "the event is listed twice."))
    refuse(sorted(faults, key=lambda fault: fault.line or 0), path)
    return sorted(events.values())


def _event(row: Row) -> GaitEvent:
    """Check one row; what is wrong with it is a ValueError."""
    cells = row.cells
    time = row.number("time")
    if time is None:
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
