"""Quadratic programs of single rows of a motion, all rows at once: which activations make the torques at least cost.

Every row is the strictly convex program::

    minimise    sum of w (a - t)^2  +  sum of (r / R)^2        r = b - G a
    subject to  low <= a <= high

with the activations a, those aimed at t, their weights w, the torque G a that they make and the torque b that is
needed; r are the reserves. With t = 0, w = 1 and R the reserve actuators' optimal force it is the program of OpenSim's
StaticOptimization (activation exponent 2), whose constraint G a + r = b is the equality of accelerations.

Its unknowns are many, but those of its dual are only as many as there are coordinates: with the multipliers l, the
reserves are R^2 l and the activations clip(t + G'l / w, low, high), so that R^2 l + G a(l) = b is to be solved. The
left side is the gradient of a convex function that is piecewise quadratic: Newton's method on its active piece, each
step as long as lowers the function most, ends at the exact solution after a few steps (a semismooth Newton method; Qi
and Sun 1993). All rows take their steps together, and what has no muscle in common (two legs) is solved apart; in a
stream of rows the multipliers of the last one are the next one's start.

References
----------
Qi, L., Sun, J. (1993). A nonsmooth version of Newton's method. Math. Program. 58, 353-367.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError

Array = NDArray[np.float64]

#: The equality R^2 l + G a = b is met up to this share of the largest torque (Nm), and up to rounding.
_TOLERANCE, _ROUNDING = 1e-10, 1e-15

#: Steps at most; a slope of this share of that at the beginning of a step is level.
_STEPS, _LEVEL = 200, 1e-6


@dataclass(frozen=True, eq=False)
class RowSolutions:
    """Solutions of the rows' programs.

    Parameters
    ----------
    activations : numpy.ndarray, shape (rows, muscles)
        0..1.
    reserves : numpy.ndarray, shape (rows, coordinates)
        The torque that is left for reserve actuators (Nm).
    multipliers : numpy.ndarray, shape (rows, coordinates)
        Of the torques (1/Nm): where a later call may start.
    steps : int
        Newton steps that the slowest row took.
    """

    activations: Array
    reserves: Array
    multipliers: Array
    steps: int


def solve_rows(
    gain: ArrayLike,
    needed: ArrayLike,
    *,
    low: ArrayLike,
    high: ArrayLike,
    reserve: ArrayLike,
    target: ArrayLike = 0.0,
    weight: ArrayLike = 1.0,
    multipliers: ArrayLike | None = None,
) -> RowSolutions:
    """Find the activations that make the torques needed at the least cost, in every row.

    Parameters
    ----------
    gain : array_like, shape (rows, coordinates, muscles)
        Torque per unit of each activation (Nm).
    needed : array_like, shape (rows, coordinates)
        The torque asked for (Nm).
    low, high : array_like, shape (muscles,) or (rows, muscles)
        Bounds of the activations.
    reserve : array_like, shape (coordinates,)
        R above (Nm): more than 0.
    target : array_like, shape (muscles,) or (rows, muscles), optional
        The activations aimed at; 0 by default.
    weight : array_like, shape (muscles,) or (rows, muscles), optional
        What a departure from them costs, more than 0; 1 by default.
    multipliers : array_like, shape (rows, coordinates), optional
        Where to start; 0 by default.

    Returns
    -------
    RowSolutions
        Exact to rounding.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A number is missing, a weight or a reserve is not positive, or bounds are in the wrong order.
    """
    table, asked = np.asarray(gain, dtype=float), np.asarray(needed, dtype=float)
    rows, coordinates, muscles = table.shape
    lowest, highest, aim, w = (
        np.broadcast_to(np.asarray(values, dtype=float), (rows, muscles)) for values in (low, high, target, weight)
    )
    spring = np.broadcast_to(np.asarray(reserve, dtype=float), (coordinates,)) ** 2
    if not (np.isfinite(table).all() and np.isfinite(asked).all() and np.isfinite(aim).all()):
        raise ModelError("Activations cannot be found: torques, moment arms or forces are missing (nan) in some rows.")
    if not ((w > 0.0).all() and (spring > 0.0).all() and (lowest <= highest).all()):
        raise ModelError("Weights and reserves must be positive, and the activations' bounds in order.")
    found = np.zeros((rows, coordinates)) if multipliers is None else np.array(multipliers, dtype=float)
    activations = np.clip(aim, lowest, highest)
    reserves, steps = asked.copy(), 0
    for joint, own in _parts((table != 0.0).any(axis=0)):
        below, above, to, price = (np.ascontiguousarray(values[:, own]) for values in (lowest, highest, aim, w))
        gains = np.ascontiguousarray(table[:, joint][:, :, own])
        part = _Program(gains, asked[:, joint], below, above, to, price, spring[joint])
        found[:, joint], taken = _minimise(part, found[:, joint])
        activations[:, own] = part.activations(found[:, joint])
        reserves[:, joint] -= (part.gain @ activations[:, own, np.newaxis])[..., 0]
        steps = max(steps, taken)
    return RowSolutions(activations, reserves, found, steps)


def connected(acts: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find what hangs together, such as the muscles and coordinates of a leg.

    Parameters
    ----------
    acts : numpy.ndarray of bool, shape (muscles, coordinates)
        Which muscle acts on which coordinate.

    Returns
    -------
    of_muscle, of_coordinate : numpy.ndarray of int, shapes (muscles,) and (coordinates,)
        The least number of the coordinates that each hangs together with; -1 for a muscle that acts on none.
    """
    of_coordinate = np.arange(acts.shape[1])
    while True:
        # Every muscle takes the least number of its coordinates, every coordinate the least of its muscles.
        of_muscle = np.where(acts, of_coordinate, acts.shape[1]).min(axis=1, initial=acts.shape[1])
        least = np.where(acts, of_muscle[:, np.newaxis], of_coordinate).min(axis=0, initial=acts.shape[1])
        if (least == of_coordinate).all():
            return np.where(acts.any(axis=1), of_muscle, -1), of_coordinate
        of_coordinate = least


def _parts(acts: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return coordinates and muscles that have nothing to do with the others; (coordinates, muscles)."""
    of_muscle, of_coordinate = connected(acts.T)
    parts = np.unique(of_coordinate)
    return [(np.flatnonzero(of_coordinate == part), np.flatnonzero(of_muscle == part)) for part in parts]


@dataclass(frozen=True, eq=False)
class _Program:
    """The duals of some rows."""

    gain: Array
    needed: Array
    low: Array
    high: Array
    target: Array
    weight: Array
    spring: Array

    def rows(self, chosen: NDArray[np.intp]) -> _Program:
        bounds = (self.low[chosen], self.high[chosen], self.target[chosen], self.weight[chosen])
        return _Program(self.gain[chosen], self.needed[chosen], *bounds, self.spring)

    def pull(self, multipliers: Array) -> Array:
        """Return by how much multipliers move activations that nothing bounds; (rows, muscles)."""
        pull: Array = (multipliers[:, np.newaxis] @ self.gain)[:, 0]
        return pull / self.weight

    def activations(self, multipliers: Array) -> Array:
        return np.clip(self.target + self.pull(multipliers), self.low, self.high)

    def slope(self, multipliers: Array, activations: Array) -> Array:
        """Return the gradient of the function whose minimum is the solution; (rows, coordinates)."""
        made: Array = (self.gain @ activations[..., np.newaxis])[..., 0]
        return self.spring * multipliers + made - self.needed

    def newton(self, moving: NDArray[np.bool_], slope: Array) -> Array:
        """Return the step to the minimum of the piece on which these activations move; (rows, coordinates)."""
        curvature = (self.gain * (moving / self.weight)[:, np.newaxis]) @ self.gain.swapaxes(1, 2)
        diagonal = np.arange(len(self.spring))
        curvature[:, diagonal, diagonal] += self.spring
        return np.asarray(np.linalg.solve(curvature, -slope[..., np.newaxis])[..., 0], dtype=float)


def _minimise(program: _Program, start: Array) -> tuple[Array, int]:
    """Return the multipliers of all rows, and the steps of the slowest one."""
    found = start.copy()
    allowed = _TOLERANCE * (1.0 + np.abs(program.needed).max(axis=1, initial=0.0))
    # What cancels in the sums of large multipliers is lost.
    lost = _ROUNDING * np.abs(program.gain).max(axis=(1, 2), initial=0.0) ** 2 / program.weight.min(axis=1, initial=1.0)
    open_rows = np.arange(len(start))
    part = program
    for step in range(_STEPS):
        present = found[open_rows]
        free = part.target + part.pull(present)
        activations = np.clip(free, part.low, part.high)
        slope = part.slope(present, activations)
        limit = allowed[open_rows] + lost[open_rows] * np.abs(present).max(axis=1, initial=0.0)
        unfinished = np.abs(slope).max(axis=1, initial=0.0) > limit
        if not unfinished.any():
            return found, step
        if not unfinished.all():
            open_rows = open_rows[unfinished]
            present, free, slope = present[unfinished], free[unfinished], slope[unfinished]
            part = program.rows(open_rows)
        direction = part.newton((free > part.low) & (free < part.high), slope)
        length = _length(part, free, slope, direction)
        found[open_rows] = present + length[:, np.newaxis] * direction
    raise ModelError(f"The activations of {len(open_rows)} rows were not found in {_STEPS} steps.")


def _length(program: _Program, free: Array, slope: Array, direction: Array) -> Array:
    """Return how far along each step the function falls, 1 being the whole step; (rows,)."""
    pull = program.pull(direction)
    force = program.weight * pull
    falls = (slope * direction).sum(1)
    stiff = (program.spring * direction**2).sum(1)
    before = np.clip(free, program.low, program.high)
    end = falls + stiff + (force * (np.clip(free + pull, program.low, program.high) - before)).sum(1)
    length = np.ones(len(falls))
    # A whole step within one piece ends where the function is level, up to rounding.
    rows = np.flatnonzero(end > _LEVEL * np.abs(falls))
    if not len(rows):
        return length
    # Along the step the slope is piecewise straight: it gets steeper where an activation begins to move, by its own
    # share of the curvature, and flatter where it ends to.
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([program.low[rows] - free[rows], program.high[rows] - free[rows]]) / pull[rows]
    ends = np.clip(np.where(pull[rows] == 0.0, 1.0, ends), 0.0, 1.0)
    share = force[rows] * pull[rows]
    places = np.concatenate([ends.min(axis=0), ends.max(axis=0), np.ones((len(rows), 1))], axis=1)
    changes = np.concatenate([share, -share, np.zeros((len(rows), 1))], axis=1)
    order = places.argsort(axis=1)
    places = np.take_along_axis(places, order, axis=1)
    after = stiff[rows, np.newaxis] + np.cumsum(np.take_along_axis(changes, order, axis=1), axis=1)
    curvature = np.concatenate([stiff[rows, np.newaxis], after[:, :-1]], axis=1)
    slopes = falls[rows, np.newaxis] + np.cumsum(curvature * np.diff(places, axis=1, prepend=0.0), axis=1)
    # The first place at which the function rises: its minimum lies on the straight piece before.
    first = (slopes > 0.0).argmax(axis=1)[:, np.newaxis]
    place, rise, steepness = (np.take_along_axis(table, first, axis=1)[:, 0] for table in (places, slopes, curvature))
    length[rows] = np.where(rise > 0.0, place - rise / np.maximum(steepness, np.finfo(float).tiny), 1.0)
    return length
