"""Gait events from the paths of heels, toes and pelvis, for trials without ground reactions.

The coordinate-based method of Zeni et al. (2008): a foot strikes the ground when its heel is furthest in front of the
pelvis, and leaves it when its toe is furthest behind. It needs no threshold, and works overground and on treadmills.

Against ground reactions of eight public recordings (three of them marker paths), 98 % of its heel strikes lie 39 ms
before to 9 ms after those found in the forces, in walking and in running. Its toe-offs lie 10 ms before to 26 ms after
in walking; in running, where the leg swings on backwards after it has left the ground, they are 80 to 150 ms late.

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
from .events import GaitEvents

Array = NDArray[np.float64]

#: How far a foot must travel, of the whole way between its foremost and its hindmost place, to have taken a step. Steps
#: of steady gait differ by a tenth; what shakes a marker is less than a twentieth.
_STEP = 0.3

#: A path may lack this share of its rows: they are bridged by straight lines.
_MOST_MISSING = 0.1


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

    The direction of walking is the mean direction from heels to toes, in the horizontal plane: on a treadmill the
    pelvis does not show it.

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
        The events; none at the first and last row, where a foot may still have moved on.

    Raises
    ------
    CycleError
        If a path has too many gaps, or the feet do not point anywhere.
    """
    t = np.asarray(time, dtype=float)
    vertical = np.asarray(up, dtype=float)
    middle = _whole(t, pelvis, "pelvis")
    feet = {
        side: (_whole(t, heels[side], f"heel ({side})"), _whole(t, toes[side], f"toe ({side})")) for side in ("r", "l")
    }
    forward = np.mean([np.mean(toe - heel, axis=0) for heel, toe in feet.values()], axis=0)
    forward -= vertical * (forward @ vertical)
    if not np.linalg.norm(forward) > 0.0:
        raise CycleError("the direction of walking cannot be found: heels and toes are at the same places")
    forward /= np.linalg.norm(forward)
    strikes, leaves = {}, {}
    for side, (heel, toe) in feet.items():
        strikes[side] = _peaks(t, (heel - middle) @ forward)
        leaves[side] = _peaks(t, -(toe - middle) @ forward)
    return GaitEvents(strikes["r"], strikes["l"], right_toe_offs=leaves["r"], left_toe_offs=leaves["l"], source=source)


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


def _whole(time: Array, path: ArrayLike, what: str) -> Array:
    """Bridge the gaps of a path."""
    points = np.array(path, dtype=float)
    missing = ~np.isfinite(points).all(axis=1)
    if points.shape != (time.size, 3) or missing.mean() > _MOST_MISSING:
        raise CycleError(
            f"the path of the {what} must have three coordinates at {time.size} times with at most "
            f"{_MOST_MISSING:.0%} gaps, found shape {points.shape} with {missing.mean():.0%}"
        )
    for axis in range(3):
        points[missing, axis] = np.interp(time[missing], time[~missing], points[~missing, axis])
    return points


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
