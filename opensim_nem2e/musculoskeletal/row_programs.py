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
and Sun 1993). All rows take their steps together; in a stream of rows the multipliers of the last one are the next
one's start.

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

#: The equality R^2 l + G a = b is met up to this share of the largest torque (Nm); steps, and halvings of a step.
_TOLERANCE, _STEPS, _HALVINGS = 1e-10, 200, 50


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
    start = np.zeros((rows, coordinates)) if multipliers is None else np.asarray(multipliers, dtype=float)
    program = _Program(table, asked, lowest, highest, aim, w, spring)
    found, steps = _minimise(program, start)
    activations = program.activations(found)
    reserves = asked - (table @ activations[..., np.newaxis])[..., 0]
    return RowSolutions(activations, reserves, found, steps)


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

    def free(self, multipliers: Array) -> Array:
        """Return the activations that nothing bounds; (rows, muscles)."""
        pull: Array = (multipliers[:, np.newaxis] @ self.gain)[:, 0]
        return self.target + pull / self.weight

    def activations(self, multipliers: Array) -> Array:
        return np.clip(self.free(multipliers), self.low, self.high)

    def slope(self, multipliers: Array) -> Array:
        """Return the gradient of the function whose minimum is the solution; (rows, coordinates)."""
        made: Array = (self.gain @ self.activations(multipliers)[..., np.newaxis])[..., 0]
        return self.spring * multipliers + made - self.needed

    def slope_and_step(self, multipliers: Array) -> tuple[Array, Array]:
        """Return the gradient and Newton's step; (rows, coordinates)."""
        free = self.free(multipliers)
        moves = ((free > self.low) & (free < self.high)) / self.weight
        bounded = np.clip(free, self.low, self.high)
        slope = self.spring * multipliers + (self.gain @ bounded[..., np.newaxis])[..., 0] - self.needed
        curvature = (self.gain * moves[:, np.newaxis]) @ self.gain.swapaxes(1, 2)
        diagonal = np.arange(len(self.spring))
        curvature[:, diagonal, diagonal] += self.spring
        step = np.linalg.solve(curvature, -slope[..., np.newaxis])[..., 0]
        return slope, np.asarray(step, dtype=float)


def _minimise(program: _Program, start: Array) -> tuple[Array, int]:
    """Return the multipliers of all rows, and the steps of the slowest one."""
    found = start.copy()
    scale = _TOLERANCE * (1.0 + np.abs(program.needed).max(axis=1, initial=0.0))
    open_rows = np.arange(len(start))
    part = program
    for step in range(_STEPS):
        slope, direction = part.slope_and_step(found[open_rows])
        unfinished = np.abs(slope).max(axis=1, initial=0.0) > scale[open_rows]
        if not unfinished.any():
            return found, step
        if not unfinished.all():
            open_rows = open_rows[unfinished]
            direction = direction[unfinished]
            part = program.rows(open_rows)
        found[open_rows] = _line_search(part, found[open_rows], direction)
    raise ModelError(f"The activations of {len(open_rows)} rows were not found in {_STEPS} steps.")


def _line_search(program: _Program, start: Array, direction: Array) -> Array:
    """Go along the steps, each only as far as the function falls."""
    chosen = start + direction
    too_far = (program.slope(chosen) * direction).sum(1) > 0.0
    if not too_far.any():
        return chosen
    rows = np.flatnonzero(too_far)
    part, begin, along = program.rows(rows), start[rows], direction[rows]
    low, high = np.zeros((len(rows), 1)), np.ones((len(rows), 1))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        rises = (part.slope(begin + middle * along) * along).sum(1, keepdims=True) > 0.0
        low, high = np.where(rises, low, middle), np.where(rises, middle, high)
    # Beyond the bracket's lower end the function still falls, if the step was not far shorter than that.
    chosen[rows] = begin + np.where(low > 0.0, low, high) * along
    return chosen
