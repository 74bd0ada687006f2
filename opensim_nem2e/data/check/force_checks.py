"""What can be wrong with ground reactions, and with the model that they push."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import NEM2EError
from ...musculoskeletal.planar_leg import GRAVITY
from ...signals.events import GaitEvents, events_from_external_loads, foot_side
from ...storage import ExternalForce, read_external_loads
from ..manifest import CycleRecord
from .findings import Findings
from .recording_checks import Files

Array = NDArray[np.float64]

#: By how much a model's mass may differ from the mean vertical force over whole strides. Scaled models of the public
#: recordings: 0.01 at most; clothes and markers weigh 0.02; an unscaled one: 0.30.
MASS = 0.1

#: A centre of pressure further than this from its usual place during contact is division by nearly nothing (m): plates
#: and belts are shorter.
RUNAWAY = 5.0

#: By how much a cycle may begin before or after a heel strike (s): strikes differ by so much between thresholds.
STRIKE = 0.03


@dataclass(frozen=True, eq=False)
class _Loads:
    """The forces on the feet of one trial."""

    path: Path
    time: Array
    vertical: dict[str, Array]
    centres: dict[str, tuple[Array, Array]]


def check_forces(trials: Sequence[CycleRecord], files: Files, findings: Findings) -> None:
    """Examine the ground reactions and events tables that the manifest names.

    Parameters
    ----------
    trials : sequence of CycleRecord
        The rows.
    files : Files
        Reads.
    findings : Findings
        Takes what is found.
    """
    by_loads: dict[Path, list[CycleRecord]] = {}
    by_table: dict[Path, list[CycleRecord]] = {}
    for trial in trials:
        if trial.external_loads_file is not None:
            by_loads.setdefault(trial.external_loads_file, []).append(trial)
        if trial.events_file is not None:
            by_table.setdefault(trial.events_file, []).append(trial)
    for path, rows in by_loads.items():
        try:
            loads = _read(path, files)
            events = events_from_external_loads(path) if loads is not None else None
        except NEM2EError as error:
            findings.add("error", "forces", str(path), str(error), "correct the ExternalLoads file.")
            continue
        if loads is None or events is None:
            continue
        for note in events.notes:
            remedy = (
                "check that the cycles are true strides (GaitEventsTool with method model finds them in the motion)."
            )
            findings.add("warning", "contacts", str(path), f"{note}.", remedy)
        _centres(loads, findings)
        _mass(loads, events, rows, files, findings)
        _strikes(events, [row for row in rows if row.events_file is None], path, findings)
    for path, rows in by_table.items():
        try:
            events = GaitEvents.read(path)
        except NEM2EError as error:
            findings.add("error", "events", str(path), str(error), "correct the table.")
            continue
        _strikes(events, rows, path, findings)


def _read(path: Path, files: Files) -> _Loads | None:
    feet: dict[str, list[ExternalForce]] = {"r": [], "l": []}
    for force in read_external_loads(path):
        side = foot_side(force.applied_to_body)
        if side is not None:
            feet[side].append(force)
    every = [force for forces in feet.values() for force in forces]
    tables = {force.data_file: files.series(force.data_file) for force in every}
    time: Array | None = None
    vertical: dict[str, Array] = {}
    centres: dict[str, tuple[Array, Array]] = {}
    for side, forces in feet.items():
        for force in forces:
            table = tables[force.data_file]
            if table is None:
                return None
            time = table.time
            up = table.column(f"{force.force_identifier}y")
            vertical[side] = vertical.get(side, np.zeros(time.size)) + up
            places = [f"{force.point_identifier}{axis}" for axis in "xz"]
            if force.point_identifier and all(table.has(label) for label in places):
                centres[force.name] = (table.select(places), up)
    return None if time is None else _Loads(path, time, vertical, centres)


def _centres(loads: _Loads, findings: Findings) -> None:
    for name, (place, up) in loads.centres.items():
        loaded = up > 0.2 * max(float(up.max()), 1.0)
        # Where the force is zero its place does not matter, but OpenSim interpolates from there to the next row.
        acting = np.convolve(up != 0.0, np.ones(3), "same") > 0.0
        if not loaded.any():
            continue
        distance = np.linalg.norm(place - np.median(place[loaded], axis=0), axis=1)
        worst = int(np.argmax(np.where(acting, distance, 0.0)))
        far = int(np.argmax(distance))
        if acting[worst] and distance[worst] > RUNAWAY:
            what = (
                f"the centre of pressure of '{name}' runs {distance[worst]:.0f} m away where its force begins or ends "
                f"({up[worst]:.2g} N at {loads.time[worst]:.3f} s)."
            )
            remedy = "set force and point to zero where the vertical force is below the contact threshold."
            findings.add("warning", "pressure", str(loads.path), what, remedy)
        elif distance[far] > RUNAWAY:
            what = f"the centre of pressure of '{name}' runs {distance[far]:.0f} m away while its force is zero."
            remedy = "none needed, unless the force is filtered again: set the point to zero there."
            findings.add("note", "pressure", str(loads.path), what, remedy)


def body_weight(events: GaitEvents, time: Array, vertical: dict[str, Array]) -> float | None:
    """Find the mean vertical force over whole strides: a body that is neither higher nor faster after a stride.

    Only strides in which both feet's contacts are known count: those between heel strikes of one foot, with a strike of
    the other within and one before.

    Parameters
    ----------
    events : GaitEvents
        Heel strikes.
    time : numpy.ndarray, shape (rows,)
        Time (s).
    vertical : dict of str to numpy.ndarray, each (rows,)
        Vertical force on each foot (N).

    Returns
    -------
    float or None
        The median stride's mean (N); None without such a stride.
    """
    total = sum(vertical.values(), np.zeros(time.size))
    means = []
    for own, other in ((events.right, events.left), (events.left, events.right)):
        for start, end in itertools.pairwise(own.tolist()):
            within, before = (other > start) & (other < end), (other < start) & (other > start - (end - start))
            if within.sum() == 1 and before.any() and end - start < 2.5:
                rows = (time >= start) & (time <= end)
                means.append(np.trapezoid(total[rows], time[rows]) / (time[rows][-1] - time[rows][0]))
    return float(np.median(means)) if means else None


def _mass(loads: _Loads, events: GaitEvents, rows: Sequence[CycleRecord], files: Files, findings: Findings) -> None:
    weight = body_weight(events, loads.time, loads.vertical) if len(loads.vertical) == 2 else None
    if weight is None:
        return
    for path in dict.fromkeys(row.model_file for row in rows):
        model = files.model(path)
        if model is None or not model.mass > 0.0:
            continue
        mass = weight / GRAVITY
        if abs(mass / model.mass - 1.0) > MASS:
            what = (
                f"the model weighs {model.mass:.1f} kg, the ground carries {mass:.1f} kg on average over whole strides "
                f"({loads.path.name})."
            )
            remedy = "use the model scaled to this subject, with its mass."
            if abs(weight / 100.0 - 1.0) < MASS or abs(weight - 1.0) < MASS:
                remedy = "the forces seem to be in (percent of) body weight: multiply by the subject's weight in N."
            findings.add("warning", "mass", str(path), what, remedy)
    for path in dict.fromkeys(row.model_file for row in rows):
        model = files.model(path)
        if model is not None and model.contacts:
            listed = ", ".join(model.contacts[:3]) + (", ..." if len(model.contacts) > 3 else "")
            what = f"the model has contacts with the ground of its own ({listed}), and measured forces act, too."
            findings.add("warning", "double", str(path), what, "remove or switch off the contacts: forces act twice.")


def _strikes(events: GaitEvents, rows: Sequence[CycleRecord], path: Path, findings: Findings) -> None:
    for row in rows:
        strikes = events.right if row.side == "r" else events.left
        if not strikes.size:
            continue
        expected = [row.start, row.end] if row.heel_strike is None else [row.heel_strike]
        off = [float(strikes[np.argmin(np.abs(strikes - time))] - time) for time in expected]
        if max(map(abs, off)) > STRIKE:
            listed = " and ".join(f"{time:.3f}" for time in expected)
            nearest = " and ".join(f"{time + shift:.3f}" for time, shift in zip(expected, off, strict=True))
            side = "right" if row.side == "r" else "left"
            what = f"the {side} heel strikes should be at {listed} s, the nearest in '{path.name}' are at {nearest} s."
            remedy = "correct t_start, t_end and side, or give heel_strike_t."
            findings.add("warning", "strike", row.name, what, remedy)
