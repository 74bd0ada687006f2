"""Whether a motion is what it is said to be: its unit of angles, and whose trial it and the forces belong to."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from ..log import logger
from ..signals.resample import interpolate
from ..storage import OsimModel, TimeSeries, parse_label

Array = NDArray[np.float64]

GRAVITY = 9.80665

#: No joint turns further than once (rad): a file in radians with more is in degrees. In gait, the knee alone bends by
#: 60 degrees: a file in degrees whose angles all stay below this is in radians.
ONE_TURN = 2.0 * math.pi
LEAST_DEGREES = math.pi

#: Angles that move by less say nothing (rad).
_MOVES = math.radians(10.0)

#: CMC follows a motion within a few degrees: 0.2 of an angle's own deviation. Another stride differs by 1 to 1.4.
_UNLIKE = 0.5

#: A residual force at the pelvis of this share of the body's weight is more than errors of measurement leave, and this
#: share of rows with it more than chance. Median residuals of recordings: 0.02 to 0.10; with the loads of another walk
#: of the same subject 0.20, of a walk for a run 0.92.
RESIDUAL, RESIDUAL_ROWS = 0.2, 0.15

Unit = Literal["degrees", "radians", "columns", "said"]


def is_angle(coordinate: str) -> bool:
    """Tell from a coordinate's name whether it is an angle.

    Parameters
    ----------
    coordinate : str
        Its name.

    Returns
    -------
    bool
        False for translations such as ``pelvis_tx``.
    """
    return re.search(r"_t[xyz]$", coordinate) is None


def angles_of(series: TimeSeries, model: OsimModel) -> list[int]:
    """Find the columns of angles of a motion.

    Parameters
    ----------
    series : TimeSeries
        Coordinates, or states.
    model : OsimModel
        The model.

    Returns
    -------
    list of int
        Columns of the values of coordinates that are no translations (by their names, ``pelvis_tx`` and so on).
    """
    known = {c.name for c in model.coordinates if is_angle(c.name)}
    return [
        k
        for k, label in enumerate(series.labels)
        if (p := parse_label(label)).name in known and p.kind in ("value", "other")
    ]


def unit_of_angles(series: TimeSeries, model: OsimModel) -> tuple[Unit, list[str], float]:
    """Compare a motion's angles with the unit that it states.

    Parameters
    ----------
    series : TimeSeries
        Coordinates, or states.
    model : OsimModel
        The model.

    Returns
    -------
    unit : {'said', 'degrees', 'radians', 'columns'}
        What it says; or what it is though it says the other; 'columns': radians, but for a few columns in degrees.
    labels : list of str
        The columns that show it.
    largest : float
        The largest angle, in the file's unit.
    """
    columns = angles_of(series, model)
    if not columns or not series.n_rows:
        return "said", [], 0.0
    sizes = np.nanmax(np.abs(series.data[:, columns]), axis=0)
    labels = [series.labels[column] for column in columns]
    far = [label for label, size in zip(labels, sizes, strict=True) if size > ONE_TURN]
    largest = float(sizes.max())
    if not series.in_degrees and far:
        # Where the others never come near a degree's size, it is these columns alone that are wrong.
        others = [size for size in sizes if size <= ONE_TURN]
        few = others and len(far) < 0.2 * len(labels) and max(others) < LEAST_DEGREES
        return ("columns" if few else "degrees"), far, largest
    moves = np.nanmax(np.ptp(series.data[:, columns], axis=0)) > 0.1
    if series.in_degrees and largest < LEAST_DEGREES and moves:
        return "radians", labels, largest
    return "said", [], largest


def with_true_unit(series: TimeSeries, model: OsimModel) -> TimeSeries:
    """Correct the stated unit of a motion whose angles cannot be in it.

    Parameters
    ----------
    series : TimeSeries
        Coordinates, or states.
    model : OsimModel
        The model.

    Returns
    -------
    TimeSeries
        The same, said to be in degrees if it is; a warning says so.
    """
    unit, labels, largest = unit_of_angles(series, model)
    if unit != "degrees":
        return series
    logger.warning(
        "%s: its header says radians, but '%s' reaches %.3g, more than a whole turn: the angles are taken for degrees.",
        series.path,
        labels[0],
        largest,
    )
    return replace(series, in_degrees=True)


def refuse_another_motion(states: TimeSeries, motion: TimeSeries, model: OsimModel) -> None:
    """Refuse a motion that is not the one of a simulation.

    Parameters
    ----------
    states : TimeSeries
        The simulation's states. Without coordinates nothing is compared.
    motion : TimeSeries
        The motion that is said to belong to it.
    model : OsimModel
        The model.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        Half of the angles that both have, and that move, differ by more than half of their own deviation.
    """
    ours, theirs = (
        {parse_label(series.labels[k]).name: k for k in angles_of(series, model)} for series in (states, motion)
    )
    start, end = max(states.time[0], motion.time[0]), min(states.time[-1], motion.time[-1])
    time = motion.time[(motion.time >= start) & (motion.time <= end)]
    if time.size < 5:
        return
    shares: dict[str, tuple[float, float]] = {}
    for name in ours.keys() & theirs.keys():
        one = interpolate(states.time, states.data[:, ours[name]], time) * _radians(states)
        other = interpolate(motion.time, motion.data[:, theirs[name]], time) * _radians(motion)
        if np.isfinite(one).all() and np.isfinite(other).all() and max(np.ptp(one), np.ptp(other)) > _MOVES:
            difference = float(np.sqrt(np.mean((one - other) ** 2)))
            shares[name] = (difference / max(float(one.std()), float(other.std())), math.degrees(difference))
    if len(shares) < 2 or np.median([share for share, _ in shares.values()]) <= _UNLIKE:
        return
    worst = sorted(shares, key=lambda name: -shares[name][0])[:4]
    listed = ", ".join(f"{name} by {shares[name][1]:.0f} degrees" for name in worst)
    raise StorageError(
        f"This is not the motion of the simulation '{states.path}': between {start:.3f} and {end:.3f} s they differ "
        f"(RMS) in {listed}. Give the motion that it tracked.",
        motion.path,
    )


def _radians(series: TimeSeries) -> float:
    return math.pi / 180.0 if series.in_degrees else 1.0


def refuse_another_trials_loads(
    time: Array, coordinates: tuple[str, ...], torques: Array, mass: float, path: object
) -> None:
    """Refuse ground reactions that do not carry the body through its motion.

    What they leave over is at the pelvis, which nothing holds: the vertical force of inverse dynamics there. Where it
    pulls down the ground pushes more than the motion allows, which no missing force plate explains.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    coordinates : tuple of str
        The coordinates; without ``pelvis_ty`` nothing is looked at.
    torques : numpy.ndarray, shape (rows, coordinates)
        Generalised forces of inverse dynamics (N, Nm).
    mass : float
        The model's mass (kg).
    path : object
        The file of the external loads, for the message.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A pull of more than a fifth of the body's weight in 15 % of the rows or more. A missing push is only warned of:
        a foot may have been beside the plates.
    """
    if not mass > 0.0 or "pelvis_ty" not in coordinates:
        return
    weight = mass * GRAVITY
    residual = torques[:, coordinates.index("pelvis_ty")] / weight
    pulled, missing = float(np.mean(residual < -RESIDUAL)), float(np.mean(residual > RESIDUAL))
    if pulled >= RESIDUAL_ROWS:
        row = int(np.argmin(residual))
        raise StorageError(
            f"These loads do not belong to this motion: in {pulled:.0%} of its rows the ground pushes up by more than "
            f"{RESIDUAL:.0%} of the body's weight ({weight:.0f} N, by the model's mass) too much; by "
            f"{-residual[row] * weight:.0f} N at {time[row]:.3f} s. Are they of the same trial, in N, and is the model "
            "of this subject's mass?",
            str(path),
        )
    if missing >= RESIDUAL_ROWS:
        logger.warning(
            "%s: in %.0f%% of the motion's rows the ground pushes up by more than %.0f%% of the body's weight (%.0f N) "
            "too little: was a foot beside the plates, or are the loads of another trial?",
            path,
            100.0 * missing,
            100.0 * RESIDUAL,
            weight,
        )
