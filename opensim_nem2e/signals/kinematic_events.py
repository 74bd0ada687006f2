"""Gait events from the paths of heels, toes and pelvis, for trials without ground reactions.

The coordinate-based method of Zeni et al. (2008): a foot strikes the ground when its heel is furthest in front of the
pelvis, and leaves it when its toe is furthest behind. It needs no threshold, and works overground and on treadmills.

Against ground reactions of eight public recordings (three of them marker paths), 98 % of its heel strikes lie 39 ms
before to 9 ms after those found in the forces, in walking and in running of adults; in children they come 24 to 54 ms
before (23 strikes of seven typically developing children, straight and turning; 58 ms was seen). Its toe-offs lie 10
ms before to 26 ms after in walking; in running, where the leg swings on backwards after it has left the ground, they
are 80 to 150 ms late.

References
----------
Zeni, J. A., Richards, J. G., Higginson, J. S. (2008). Two simple methods for determining gait events during treadmill
and overground walking using kinematic data. Gait & Posture 27, 710-714.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CycleError
from ..log import counted
from .events import GaitEvents
from .force_quality import WORDS
from .gaps import refuse_other_unit

Array = NDArray[np.float64]

#: How far a foot must travel, of the whole way between its foremost and its hindmost place, to have taken a step. Steps
#: of steady gait differ by a tenth; what shakes a marker is less than a twentieth.
_STEP = 0.3

#: The direction of walking is looked for in the time around each moment that a stride takes (s).
_STRIDE = 1.0

#: Turns larger than this are told (degrees).
_TURN = 30.0

#: The pelvis is above the feet by this share of its distance from them at least.
_UPRIGHT = 0.7

#: Gaps as long as this are told (s).
_LONG_GAP = 0.1

#: A foot that swings is high and fast. The correlation of height and speed was 0.43 to 0.70 in 18 recordings; it is as
#: much below zero where heels and toes were exchanged, or the subject walks backwards. The right heel was 0.07 to
#: 0.18 m to the right of the left one there.
_BACKWARDS = -0.3
_CROSSED = -0.02

#: A path may lack this share of its rows: they are bridged by straight lines.
_MOST_MISSING = 0.1

#: No foot is faster (m/s) or, for a row or two, that far off (m).
_FASTEST, _JUMP = 30.0, 0.3


def kinematic_events(
    time: ArrayLike,
    heels: Mapping[str, ArrayLike],
    toes: Mapping[str, ArrayLike],
    pelvis: ArrayLike,
    *,
    up: ArrayLike = (0.0, 1.0, 0.0),
    source: str = "markers",
) -> GaitEvents:
    """Find the heel strikes and toe-offs of both feet.

    The direction of walking is the direction from heels to toes, in the horizontal plane, of both feet over the second
    around each moment: on a treadmill the pelvis does not show it, and who walks there and back turns.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    heels, toes : mapping of str to array_like, shape (rows, 3)
        The paths of both feet, ``'r'`` and ``'l'``; NaN where they were not seen.
    pelvis : array_like, shape (rows, 3)
        The path of a point of the pelvis.
    up : array_like, shape (3,)
        The vertical axis; OpenSim's by default.
    source : str
        Where the paths come from, for the table of events.

    Returns
    -------
    GaitEvents
        The events; none at the first and last row, where a foot may still have moved on. Notes tell of gaps that were
        bridged, of turns, and of a side without strikes.

    Raises
    ------
    CycleError
        If the rows are too far apart, a path has too many gaps, the feet do not point anywhere, the pelvis is not
        above the feet, or each heel is nearer to the other foot's toe.
    """
    t = np.asarray(time, dtype=float)
    refuse_other_unit(t, "the paths")
    vertical = np.asarray(up, dtype=float)
    notes: list[str] = []
    middle = _whole(t, pelvis, "pelvis", notes)
    feet = {
        side: tuple(
            _whole(t, paths[side], f"{what} ({side})", notes) for what, paths in (("heel", heels), ("toe", toes))
        )
        for side in ("r", "l")
    }
    _check_upright(middle - np.mean([np.mean(pair, axis=0) for pair in feet.values()], axis=0), vertical)
    forward = _headings(t, np.mean([toe - heel for heel, toe in feet.values()], axis=0), vertical)
    turned = np.degrees(np.arccos(np.clip(forward @ forward[0], -1.0, 1.0)))
    if turned.max() > _TURN:
        notes.append(
            f"the direction of walking turns by up to {turned.max():.0f} degrees, {_TURN:.0f} at "
            f"{t[np.argmax(turned > _TURN)]:.2f} s: strikes during the turn itself are less certain"
        )
    notes += _exchanged(t, feet, middle, forward, vertical)
    strikes, leaves = {}, {}
    for side, (heel, toe) in feet.items():
        strikes[side] = _peaks(t, np.sum((heel - middle) * forward, axis=1))
        leaves[side] = _peaks(t, -np.sum((toe - middle) * forward, axis=1))
    for side, word in WORDS.items():
        if not strikes[side].size:
            notes.append(f"no strike of the {word} heel was found: is it the right marker, and does the foot step?")
    return GaitEvents(
        strikes["r"],
        strikes["l"],
        tuple(notes),
        right_toe_offs=leaves["r"],
        left_toe_offs=leaves["l"],
        source=source,
    )


def events_from_markers(
    path: str | os.PathLike[str],
    heel_markers: Sequence[str],
    toe_markers: Sequence[str],
    pelvis_markers: Sequence[str],
) -> GaitEvents:
    """Find the heel strikes and toe-offs of both feet in a file of marker paths.

    Parameters
    ----------
    path : str or os.PathLike
        The file (``.trc``); y is up.
    heel_markers, toe_markers : sequence of str
        The markers of the right and the left foot.
    pelvis_markers : sequence of str
        Markers on the pelvis, whose middle is used.

    Returns
    -------
    GaitEvents
        The events.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file cannot be read, a marker is missing, or there are no steps in the paths.
    """
    from ..storage.trc import read_trc

    markers = read_trc(path)
    heels, toes = (
        dict(zip(("r", "l"), map(markers.position, names), strict=True)) for names in (heel_markers, toe_markers)
    )
    pelvis = np.mean([markers.position(name) for name in pelvis_markers], axis=0)
    return kinematic_events(markers.time, heels, toes, pelvis)


def _check_upright(above: Array, vertical: Array) -> None:
    """Refuse paths in which the pelvis is not above the feet."""
    mean = above.mean(axis=0)
    height = float(mean @ vertical)
    if height > _UPRIGHT * float(np.linalg.norm(mean)):
        return
    axis = int(np.argmax(np.abs(mean)))
    raise CycleError(
        f"the pelvis must be above the feet along the vertical axis, ({', '.join(f'{x:g}' for x in vertical)}), but is "
        f"{height:.2f} m above them there, and {mean[axis]:.2f} m along {'xyz'[axis]}: turn the positions so that y is "
        "up, as in OpenSim"
    )


def _exchanged(
    time: Array, feet: Mapping[str, tuple[Array, ...]], middle: Array, forward: Array, vertical: Array
) -> list[str]:
    """Say which paths seem to be those of others."""
    (right_heel, right_toe), (left_heel, left_toe) = feet["r"], feet["l"]
    own, crossed = (
        float(np.mean([np.linalg.norm(heel - toe, axis=1).mean() for heel, toe in pairs]))
        for pairs in (
            ((right_heel, right_toe), (left_heel, left_toe)),
            ((right_heel, left_toe), (left_heel, right_toe)),
        )
    )
    if crossed < own:
        raise CycleError(
            f"each heel must be nearer to its own toe than to the other foot's, but is {own:.2f} m away from its own "
            f"and {crossed:.2f} m from the other (means): is one pair in the order left, right?"
        )
    swings = []
    for heel, toe in feet.values():
        way, height = np.sum((heel - middle) * forward, axis=1), 0.5 * (heel + toe) @ vertical
        speed = np.gradient(way, time)
        moves = np.ptp(speed) > 0.0 and np.ptp(height) > 0.0
        swings.append(float(np.corrcoef(speed, height)[0, 1]) if moves else 0.0)
    apart = float(np.mean(np.sum((right_heel - left_heel) * np.cross(forward, vertical), axis=1)))
    if np.mean(swings) < _BACKWARDS:
        return [
            "the feet swing towards their heels: heels and toes seem to be exchanged"
            if apart < _CROSSED
            else "the feet swing towards their heels: does the subject walk backwards? Strikes and toe-offs are found "
            "for walking forwards only"
        ]
    if apart < _CROSSED:
        return [
            f"the right heel is {-100.0 * apart:.0f} cm to the left of the left one (mean): are right and left "
            "exchanged? The right comes first"
        ]
    return []


def _headings(time: Array, pointing: Array, vertical: Array) -> Array:
    """Return the direction of walking at each row, from the direction of the feet there."""
    flat = pointing - np.outer(pointing @ vertical, vertical)
    if not np.linalg.norm(flat, axis=1).max() > 0.0:
        raise CycleError("the direction of walking cannot be found: heels and toes are at the same places")
    step = (time[-1] - time[0]) / max(time.size - 1, 1)
    half = max(1, round(0.5 * _STRIDE / step)) if step > 0.0 else 1
    # Means of the rows within half a stride: the difference of two sums, cut off at both ends.
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(flat, axis=0)])
    rows = np.arange(time.size)
    smooth = sums[np.minimum(rows + half + 1, time.size)] - sums[np.maximum(rows - half, 0)]
    length = np.linalg.norm(smooth, axis=1)
    if not (length > 0.0).all():
        raise CycleError("the direction of walking cannot be found: heels and toes are at the same places")
    return np.asarray(smooth / length[:, np.newaxis])


def _whole(time: Array, path: ArrayLike, what: str, notes: list[str]) -> Array:
    """Bridge the gaps of a path."""
    points = np.array(path, dtype=float)
    missing = ~np.isfinite(points).all(axis=1)
    if points.shape == (time.size, 3):
        wild = _wild(time, points, missing)
        if wild.any():
            notes.append(
                f"the path of the {what} jumps away and back in {counted(int(wild.sum()), 'row')} (first at "
                f"{time[np.argmax(wild)]:.3f} s): taken for missing"
            )
            missing |= wild
    if points.shape != (time.size, 3) or missing.mean() > _MOST_MISSING:
        raise CycleError(
            f"the path of the {what} must have three coordinates at {time.size} times with at most "
            f"{_MOST_MISSING:.0%} gaps, found shape {points.shape} with {missing.mean():.0%}"
        )
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(int), [0]])))
    for begin, end in edges.reshape(-1, 2).tolist():
        if time[end - 1] - time[begin] >= _LONG_GAP:
            notes.append(
                f"the path of the {what} is missing from {time[begin]:.3f} to {time[end - 1]:.3f} s and bridged by a "
                "straight line: events there may be missed"
            )
    for axis in range(3):
        points[missing, axis] = np.interp(time[missing], time[~missing], points[~missing, axis])
    return points


def _wild(time: Array, points: Array, missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell rows at which a path is somewhere else, for a row or two: another marker was taken for it."""
    wild = np.zeros(time.size, dtype=bool)
    rows = np.flatnonzero(~missing)
    for width in (1, 2):
        if rows.size < 2 * width + 1:
            break
        middle = np.median(np.lib.stride_tricks.sliding_window_view(points[rows], 2 * width + 1, axis=0), axis=-1)
        within = rows[width:-width]
        far = np.linalg.norm(points[within] - middle, axis=1)
        wild[within] |= far > np.maximum(_FASTEST * (time[rows[2 * width :]] - time[rows[: -2 * width]]), _JUMP)
    return wild


def _peaks(time: Array, way: Array) -> Array:
    """Return when a curve is highest, between rows by the parabola through three of them."""
    from scipy.signal import find_peaks

    rows, _ = find_peaks(way, prominence=_STEP * np.ptp(way))
    before, at, after = way[rows - 1], way[rows], way[rows + 1]
    bend = before - 2.0 * at + after
    # A plateau is its middle row.
    shift = np.where(bend < 0.0, 0.5 * (before - after) / np.where(bend < 0.0, bend, 1.0), 0.0)
    step = 0.5 * (time[rows + 1] - time[rows - 1])
    return np.asarray(time[rows] + shift * step, dtype=float)
