"""Whether a motion is what it is said to be: its unit of angles, and whose trial it and the forces belong to."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from ..log import logger
from ..signals.gaps import LONGEST_STEP, gaps
from ..signals.resample import interpolate
from ..storage import OsimModel, TimeSeries, parse_label
from .planar_leg import GRAVITY

Array = NDArray[np.float64]

#: No joint turns further than once (rad): a file in radians with more is in degrees. In gait, the knee alone bends by
#: 60 degrees: a file in degrees whose angles all stay below this is in radians.
ONE_TURN = 2.0 * math.pi
LEAST_DEGREES = math.pi

#: Nobody turns round so often (rad): a larger angle is no angle.
_MOST_TURNS = 100.0

#: Nobody moves through the room faster than this (m/s; sprinters reach 12) in half of all rows.
_FASTEST = 30.0

#: Motions are recorded at 25 Hz or more. Rows further apart than this (s) are in another unit.
_SLOWEST_STEP = 0.2

#: No joint of any body bears more (Nm, N).
LARGEST_MOMENT = 1e6

#: Angles of these joints reach tens of degrees whenever the legs move; where they stay below pi beside one that does,
#: they are in radians. In radians an angle is 57 times smaller than its partner's of the other side in degrees.
_WIDE = re.compile("(hip_flexion|knee_angle|knee_flexion)(_[rl])?$")
_WIDE_ANGLE, _PARTNERS = 20.0, (25.0, 130.0)

#: What moves by less than this, in either unit, is locked, or belongs to somebody who stands.
_STILL = 0.1

#: Angles that move by less say nothing (rad).
_MOVES = math.radians(10.0)

#: The largest moment of a motion is 1.7 to 4 times that of the same motion if nothing touched the body, in seven
#: recordings; a load in the hands may be several times as heavy as what carries it.
_LEAST_RATIO, _LARGEST_RATIO = 0.2, 100.0

#: Where the moments without contact are above this share of a coordinate's largest one, 32 to 76 % of the recordings'
#: values are the same up to another share of it, and at most 3 % are opposite.
_TELLS, _ALIKE, _OPPOSITE = 0.15, 0.1, 0.2

#: Of a single coordinate so many values are needed; there at most 12 % are opposite, and fewer than are the same.
_FEWEST_TELLING = 20

#: CMC follows a motion within a few degrees: 0.2 of an angle's own deviation. Another stride differs by 1 to 1.4.
_UNLIKE = 0.5

#: A residual force at the pelvis of this share of the body's weight is more than errors of measurement leave, and this
#: share of rows with it more than chance. Median residuals of recordings: 0.02 to 0.10; with the loads of another walk
#: of the same subject 0.20, of a walk for a run 0.92.
RESIDUAL, RESIDUAL_ROWS = 0.2, 0.15

#: Whatever plates there are, once a step they hold more of the body's weight than this.
_CARRIED = 0.5

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
    return _columns_of(series, {c.name for c in model.coordinates if is_angle(c.name)})


def _columns_of(series: TimeSeries, known: Collection[str]) -> list[int]:
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
        What it says; or what it is though it says the other; 'columns': what it says, but for a few columns.
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
    if series.in_degrees and largest > _WIDE_ANGLE:
        still = np.ptp(series.data[:, columns], axis=0) < _STILL
        small = _radians_among_degrees(
            dict(zip(labels, sizes.tolist(), strict=True)),
            {label for label, rests in zip(labels, still.tolist(), strict=True) if rests},
        )
        if small:
            return "columns", small, max(float(sizes[labels.index(label)]) for label in small)
    moves = np.nanmax(np.ptp(series.data[:, columns], axis=0)) > _STILL
    if series.in_degrees and largest < LEAST_DEGREES and moves:
        return "radians", labels, largest
    return "said", [], largest


def _radians_among_degrees(sizes: Mapping[str, float], still: Collection[str]) -> list[str]:
    """Find columns in radians in a file in degrees, by their largest values; columns that are still tell nothing."""
    by_name = {parse_label(label).name: size for label, size in sizes.items()}
    found = []
    for label, size in sizes.items():
        name = parse_label(label).name
        partner = by_name.get(f"{name[:-1]}{'l' if name.endswith('r') else 'r'}" if name[-2:] in ("_r", "_l") else "")
        if label in still or not math.radians(_WIDE_ANGLE) < size < LEAST_DEGREES:
            continue
        unlike = partner is not None and partner > _WIDE_ANGLE and _PARTNERS[0] < partner / size < _PARTNERS[1]
        if unlike or _WIDE.match(name):
            found.append(label)
    return found


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


def checked_motion(series: TimeSeries, model: OsimModel, start: float, end: float) -> TimeSeries:
    """Refuse what cannot be a motion, correct its unit, and warn of what does not look like its unit.

    Parameters
    ----------
    series : TimeSeries
        Coordinates, or states.
    model : OsimModel
        The model.
    start, end : float
        The time wanted (s).

    Returns
    -------
    TimeSeries
        The same, in its true unit; as it is if it tells no coordinate.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        Rows or values are missing (:func:`refuse_gaps`), an angle is more than 100 turns or jumps by half of one, or a
        translation is faster than any body.
    """
    columns = angles_of(series, model)
    told = _columns_of(series, {c.name for c in model.coordinates})
    if not told:
        return series
    labels = tuple(series.labels[column] for column in told)
    refuse_gaps(replace(series, labels=labels, data=series.data[:, told]), start, end)
    turn = 360.0 if series.in_degrees else ONE_TURN
    beyond = np.abs(series.data[:, columns]) > _MOST_TURNS * turn
    series = with_true_unit(series, model)
    if beyond.any():
        row, place = (int(found[0]) for found in np.nonzero(beyond))
        raise StorageError(
            f"No joint turns round more than {_MOST_TURNS:g} times, but '{series.labels[columns[place]]}' is "
            f"{series.data[row, columns[place]]:.4g} {'degrees' if series.in_degrees else 'rad'} at "
            f"{series.time[row]:.3f} s.",
            series.path,
        )
    _refuse_millimeters(series, told, start, end)
    unit, odd, largest = unit_of_angles(series, model)
    # Columns of another unit get their warning below: OpenSim's own files have patellae in degrees among radians.
    columns = [column for column in columns if unit != "columns" or series.labels[column] not in odd]
    inside = (series.time >= start) & (series.time <= end)
    time, angles = series.time[inside], series.data[inside][:, columns]
    half = 180.0 if series.in_degrees else np.pi
    jumps = np.abs(np.diff(angles, axis=0)) > half
    if jumps.any():
        row, place = (int(found[0]) for found in np.nonzero(jumps))
        raise StorageError(
            f"No joint turns by half a turn from row to row, but '{series.labels[columns[place]]}' does, from "
            f"{angles[row, place]:.4g} to {angles[row + 1, place]:.4g} {'degrees' if series.in_degrees else 'rad'} at "
            f"{time[row + 1]:.3f} s: write it without the jump.",
            series.path,
        )
    if unit != "said":
        said, other = ("degrees", "radians") if series.in_degrees else ("radians", "degrees")
        logger.warning(
            "%s: its header says %s, but the values of %s (largest: %.3g) look like %s: is 'inDegrees' right%s?",
            *(series.path, said, ", ".join(odd[:4]) + (", ..." if len(odd) > 4 else ""), largest, other),
            ", and are all columns in one unit" if unit == "columns" else "",
        )
    return series


def _refuse_millimeters(series: TimeSeries, told: list[int], start: float, end: float) -> None:
    """Refuse translations that most of the time are faster than any body."""
    columns = [column for column in told if not is_angle(parse_label(series.labels[column]).name)]
    inside = (series.time >= start) & (series.time <= end)
    if not columns or np.count_nonzero(inside) < 2:
        return
    steps = np.abs(np.diff(series.data[inside][:, columns], axis=0)) / np.diff(series.time[inside])[:, np.newaxis]
    usual = np.median(steps, axis=0)
    if usual.max() > _FASTEST:
        label = series.labels[columns[int(usual.argmax())]]
        raise StorageError(
            f"No body moves faster than {_FASTEST:g} m/s, but '{label}' moves at {usual.max():.4g} m/s (median). "
            "Translations must be in m, and time in s: is it in mm?",
            series.path,
        )


def refuse_gaps(series: TimeSeries, start: float, end: float, what: str = "motion") -> None:
    """Refuse a motion with missing rows or values: filters and splines would make something up there.

    Parameters
    ----------
    series : TimeSeries
        The motion.
    start, end : float
        The time wanted (s).
    what : str, optional
        What messages call it.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A step is longer than 0.05 s and than 2.5 usual ones, or a value is no number; or all steps are so long that
        the time cannot be in seconds.
    """
    step = float(np.median(np.diff(series.time))) if series.n_rows > 1 else 0.0
    if step > _SLOWEST_STEP:
        raise StorageError(
            f"The rows of the {what} must be at most {_SLOWEST_STEP:g} s apart, but are {step:g} s apart "
            f"({series.time[0]:g} to {series.time[-1]:g} s). Is its time in milliseconds, or in frames?",
            series.path,
        )
    inside = (series.time >= start) & (series.time <= end)
    time, data = series.time[inside], series.data[inside]
    if len(time) < 2:
        return
    holes = gaps(time)
    if len(holes):
        before, behind = holes[np.argmax(holes[:, 1] - holes[:, 0])]
        raise StorageError(
            f"The {what} must have no gap longer than {LONGEST_STEP:g} s, but between {before:.3f} and {behind:.3f} "
            "s there is no row. Fill the gap, or choose a part with initial_time and final_time.",
            series.path,
        )
    missing = ~np.isfinite(data)
    if missing.any():
        row, column = (int(place[0]) for place in np.nonzero(missing))
        raise StorageError(
            f"The {what}'s values must be numbers, but that of '{series.labels[column]}' at {time[row]:.3f} s is "
            f"missing ({int(missing.sum())} values in all).",
            series.path,
        )


def refuse_impossible_moments(series: TimeSeries, start: float, end: float) -> None:
    """Refuse moments with missing rows or values, or that are larger than any body's.

    Parameters
    ----------
    series : TimeSeries
        Generalised forces, as InverseDynamicsTool writes them.
    start, end : float
        The time wanted (s).

    Raises
    ------
    opensim_nem2e.errors.StorageError
        As :func:`refuse_gaps`, or a value is larger than 1e6 N or Nm.
    """
    refuse_gaps(series, start, end, "inverse dynamics")
    beyond = np.abs(series.data) > LARGEST_MOMENT
    if beyond.any():
        row, column = (int(place[0]) for place in np.nonzero(beyond))
        raise StorageError(
            f"Moments must be at most {LARGEST_MOMENT:g} Nm, but '{series.labels[column]}' is "
            f"{series.data[row, column]:.4g} at {series.time[row]:.3f} s.",
            series.path,
        )


def warn_of_unlike_moments(given: Array, unloaded: Array, coordinates: Sequence[str], path: object) -> None:
    """Compare moments that are given with those of the same motion if nothing touched the body.

    They are alike while a foot swings, or a hand is empty, whoever computed them.

    Parameters
    ----------
    given, unloaded : numpy.ndarray, shape (rows, coordinates)
        Nm; NaN where nothing is given.
    coordinates : sequence of str
        Their names.
    path : object
        The file that gives them, for the message.
    """
    known = np.isfinite(given).any(axis=0)
    rows = np.isfinite(given[:, known]).all(axis=1)
    given, unloaded = given[rows][:, known], unloaded[rows][:, known]
    names = [coordinates[k] for k in np.flatnonzero(known).tolist()]
    if not given.size:
        return
    most = np.abs(given).max(axis=0)
    ratio = float(most.max() / max(float(np.abs(unloaded).max()), np.finfo(float).tiny))
    if not _LEAST_RATIO < ratio < _LARGEST_RATIO:
        logger.warning(
            "%s: the largest moment is %.3g Nm, %.2g times that of the same motion if nothing touched the body (%.3g "
            "Nm): are the moments in Nm, and does the model have this subject's mass?",
            *(path, most.max(), ratio, np.abs(unloaded).max()),
        )
        return
    tells = np.abs(unloaded) > _TELLS * most
    same, opposite = (tells & (np.abs(given - sign * unloaded) < _ALIKE * most) for sign in (1.0, -1.0))
    count = max(int(tells.sum()), 1)
    if opposite.sum() > max(_OPPOSITE * count, 3.0 * same.sum()):
        logger.warning(
            "%s: its moments are opposite to those that the motion needs while nothing touches the limbs (in %.0f %% "
            "of the values; alike in %.0f %%): are they external moments, or of a model with other signs?",
            *(path, 100.0 * opposite.sum() / count, 100.0 * same.sum() / count),
        )
        return
    turned = [
        name
        for name, told, like, unlike in zip(
            names, *(table.sum(axis=0) for table in (tells, same, opposite)), strict=True
        )
        if told >= _FEWEST_TELLING and unlike > max(_OPPOSITE * told, 5.0 * like)
    ]
    if turned:
        logger.warning(
            "%s: its moments of %s are opposite to those that the motion needs while nothing touches the limb: has "
            "another model, or program, other signs there?",
            *(path, ", ".join(turned)),
        )


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
    reversed_ = []
    for name in ours.keys() & theirs.keys():
        one = interpolate(states.time, states.data[:, ours[name]], time) * _radians(states)
        other = interpolate(motion.time, motion.data[:, theirs[name]], time) * _radians(motion)
        if np.isfinite(one).all() and np.isfinite(other).all() and max(np.ptp(one), np.ptp(other)) > _MOVES:
            difference = float(np.sqrt(np.mean((one - other) ** 2)))
            deviation = max(float(one.std()), float(other.std()))
            shares[name] = (difference / deviation, math.degrees(difference))
            if difference > deviation and np.sqrt(np.mean((one + other) ** 2)) < _UNLIKE * deviation:
                reversed_.append(name)
    if reversed_:
        raise StorageError(
            f"The sign of {', '.join(reversed_)} is the opposite of that in the simulation '{states.path}': is it "
            "the motion of a model whose joints turn the other way?",
            motion.path,
        )
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
        They never carry half of the body's weight, or pull with more than a fifth of it in 15 % of the rows or more. A
        missing push is only warned of: a foot may have been beside the plates.
    """
    if not mass > 0.0 or "pelvis_ty" not in coordinates:
        return
    weight = mass * GRAVITY
    residual = torques[:, coordinates.index("pelvis_ty")] / weight
    carried = 1.0 - float(residual.min())
    if carried < _CARRIED:
        raise StorageError(
            f"These loads do not belong to this motion: they carry at most {100.0 * carried:.2g} % of the body's "
            f"weight ({weight:.0f} N, by the model's mass of {mass:.4g} kg). Was a foot on a plate, are the loads in "
            "N, and is the model of this subject's mass, in kg?",
            str(path),
        )
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
