"""Gains of muscles whose shape is known (from EMG) and whose amplitude is not, found from joint torques.

EMG tells when a muscle works and how its activity rises and falls, relative to a maximum that is not known. Joint
torques know amplitudes. With rigid tendons torques are linear in the activations, and a convex quadratic program joins
both. In the rows t of one or more gait cycles, with the activations a, shapes s of some muscles, one unknown gain g for
each of them, the activations x of all others, torque per activation G and the torque b that is asked of the muscles::

    minimise    sum over t of [ sum of w (a - g s)^2  +  sum over others of v (a - x)^2  +  |b - G a|^2 / R^2 ]
                +  kappa  sum of w (sum over t of s^2) (g - g0)^2
    subject to  0 <= g <= 1,   low <= a <= high

Torques determine few gains well: many muscles share a joint. The prior g0 holds the rest, and
:attr:`ShapeGains.determined` tells how much of each gain the torques had a say in. With kappa = 0.1 single muscles of
CMC strides lost nine tenths of their strength, since other muscles were kept near CMC's chatter, and with it their
shape; with 0.3 none did, and the mean shape error of other trials was the same within 0.002.

The weight of a shape is relative: ``w = (mean g0 / g)^2``, so that moving a weak muscle's curve by a tenth of its own
height costs as much as a strong one's. g is not known beforehand, so the program is solved again with the gains found
until they stay.

Given the gains, rows do not depend on each other (:mod:`~.row_programs`). What is left is a smooth convex function of
the gains, whose gradient and curvature are known, and is minimised by Newton steps within the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError
from .row_programs import RowSolutions, solve_rows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Gains below this do not weigh more than it does.
_LEAST_GAIN = 0.05

#: Rounds of weights: at least (from a start, which is near, and from the prior), at most, and the change of all gains
#: at which they stay.
_ROUNDS = (1, 3, 10)
_STAYS = 1e-3

#: Newton steps, and halvings of a step (on real trials 7 and 1 were the most).
_MOST_STEPS = 60
_MOST_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class ShapeGains:
    """Gains of shapes.

    Parameters
    ----------
    gains : numpy.ndarray, shape (shapes,)
        0..1.
    determined : numpy.ndarray, shape (shapes,)
        The share of each gain that the data determined, the rest being its prior's: 0..1; NaN where it was fixed.
    weight : numpy.ndarray, shape (shapes,)
        What departing from each shape cost, w above.
    activations : numpy.ndarray, shape (rows, muscles)
        Those of the program, without what activation dynamics can reach.
    objective : float
        The least value of the program, with these weights.
    """

    gains: Array
    determined: Array
    weight: Array
    activations: Array
    objective: float


def find_gains(
    gain: ArrayLike,
    needed: ArrayLike,
    target: ArrayLike,
    shape: ArrayLike,
    muscles: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    prior: ArrayLike,
    *,
    covered: NDArray[np.bool_] | None = None,
    fixed: NDArray[np.bool_] | None = None,
    certainty: ArrayLike = 1.0,
    others_weight: float = 0.03,
    reserve: float = 3.0,
    prior_weight: float = 0.3,
    start: ArrayLike | None = None,
) -> ShapeGains:
    """Find the gains with which shapes make the torques needed.

    Parameters
    ----------
    gain : array_like, shape (rows, coordinates, muscles)
        Torque per unit of each activation (Nm), :attr:`.TorqueTerms.gain`.
    needed : array_like, shape (rows, coordinates)
        The torque asked of the activations: inverse dynamics less the passive torques (Nm).
    target : array_like, shape (rows, muscles)
        What muscles without a shape are to keep near, x above; other columns are of no interest where they are covered.
    shape : array_like, shape (rows, shapes)
        The shapes, at least 0; their largest value should be 1.
    muscles : array_like of int, shape (shapes,)
        The column of the muscle that each shape is of; no column twice.
    low, high : array_like, shape (muscles,)
        Bounds of the activations.
    prior : array_like, shape (shapes,)
        g0 above, more than 0.
    covered : numpy.ndarray of bool, shape (rows, shapes), optional
        Rows in which a shape is known; elsewhere its muscle is like the others. All, if left out.
    fixed : numpy.ndarray of bool, shape (shapes,), optional
        Gains that are known: the prior. None, if left out.
    certainty : array_like, shape (shapes,)
        A factor of each shape's weight.
    others_weight : float
        v above.
    reserve : float
        R above (Nm).
    prior_weight : float
        kappa above.
    start : array_like, shape (shapes,), optional
        Where the search starts; at the prior, if left out.

    Returns
    -------
    ShapeGains
        The gains.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A number is missing, or a weight, a prior or the reserve is not positive.
    """
    s, g0 = np.asarray(shape, dtype=float), np.asarray(prior, dtype=float)
    where = np.asarray(muscles, dtype=np.int64)
    x = np.asarray(target, dtype=float)
    held = np.zeros(g0.shape, dtype=bool) if fixed is None else fixed
    known = np.ones(s.shape, dtype=bool) if covered is None else covered
    s = np.where(known, s, 0.0)
    if not all(np.isfinite(np.asarray(values, dtype=float)).all() for values in (gain, needed, x, s, g0)):
        raise ModelError("Gains cannot be found: torques, activations or shapes are missing (nan) in some rows.")
    if not (others_weight > 0.0 and reserve > 0.0 and prior_weight > 0.0 and (g0 > 0.0).all()):
        raise ModelError("Weights, the reserve and the gains' priors must be positive.")
    lows, highs = (np.broadcast_to(np.asarray(values, dtype=float), x.shape[1:]) for values in (low, high))
    program = _Rows(np.asarray(gain, dtype=float), np.asarray(needed, dtype=float), lows, highs, reserve)
    lowest, highest = np.where(held, g0, 0.0), np.where(held, g0, np.maximum(1.0, g0))
    typical = np.exp(np.mean(np.log(np.maximum(g0, _LEAST_GAIN))))
    gains = g0 if start is None else np.where(held, g0, np.asarray(start, dtype=float))
    least = _ROUNDS[0] if start is not None else _ROUNDS[1]
    for number in range(1, _ROUNDS[2] + 1):
        w = np.asarray(certainty) * (typical / np.maximum(gains, _LEAST_GAIN)) ** 2
        table = np.full(x.shape, others_weight)
        table[:, where] = np.where(known, w, others_weight)
        pull = prior_weight * w * (s**2).sum(axis=0)
        # A shape of zeros has no gain to be found: its prior alone decides.
        pull = np.maximum(pull, 1e-12)
        found = _newton(program, table, x, s, known, where, gains, g0, pull, (lowest, highest))
        change = np.abs(found.gains - gains).max(initial=0.0)
        gains = found.gains
        if number >= least and change < _STAYS:
            break
    return ShapeGains(gains, np.where(held, np.nan, found.determined), w, found.activations, found.objective)


@dataclass(frozen=True, eq=False)
class _Found:
    gains: Array
    determined: Array
    activations: Array
    objective: float


def _newton(
    program: _Rows,
    weight: Array,
    target: Array,
    shape: Array,
    known: Mask,
    muscles: NDArray[np.int64],
    start: Array,
    prior: Array,
    pull: Array,
    bounds: tuple[Array, Array],
) -> _Found:
    """Minimise over the gains, for given weights (rows, muscles)."""
    import daqp

    count = len(prior)
    none = np.zeros((0, count))
    sense = np.zeros(count, dtype=np.int32)

    def value(gains: Array) -> tuple[float, Array, Array]:
        aims = target.copy()
        aims[:, muscles] = np.where(known, gains * shape, target[:, muscles])
        found = program.solve(aims, weight)
        moved = found.activations - aims
        total = (weight * moved**2).sum() + (found.reserves**2).sum() / program.reserve**2
        return float(total + (pull * (gains - prior) ** 2).sum()), weight * moved, found.activations

    gains = np.clip(start, *bounds)
    objective, departure, activations = value(gains)
    for _ in range(_MOST_STEPS):
        slope = -2.0 * (shape * departure[:, muscles]).sum(axis=0) + 2.0 * pull * (gains - prior)
        by_data = program.curvature(activations, weight, shape, muscles)
        curvature = by_data + np.diag(2.0 * pull)
        step, _, flag, _ = daqp.solve(curvature, slope, none, bounds[1] - gains, bounds[0] - gains, sense)
        if flag != 1:
            raise ModelError(f"The gains could not be found (DAQP's exit flag {flag}).")
        gain = float(slope @ step)
        if np.abs(step).max() < 1e-10 or -gain <= 1e-14 * abs(objective):
            break
        length = 1.0
        for _ in range(_MOST_HALVINGS):
            tried = np.clip(gains + length * step, *bounds)
            new = value(tried)
            if new[0] <= objective + 1e-4 * length * gain:
                break
            length *= 0.5
        else:
            break  # rounding: no step is better
        gains, (objective, departure, activations) = tried, new
    determined = np.clip(np.diag(np.linalg.solve(curvature, by_data)), 0.0, 1.0)
    return _Found(gains, determined, activations, objective)


class _Rows:
    """The programs of all rows, for varying aims and weights; each solution is where the next one starts."""

    def __init__(self, gain: Array, needed: Array, low: Array, high: Array, reserve: float) -> None:
        self.gain, self.needed, self.low, self.high, self.reserve = gain, needed, low, high, reserve
        self._multipliers: Array | None = None

    def solve(self, aims: Array, weight: Array) -> RowSolutions:
        """Find the activations that are best for the aims, each weighted (rows, muscles)."""
        found = solve_rows(
            self.gain,
            self.needed,
            low=self.low,
            high=self.high,
            reserve=np.full(self.needed.shape[1], self.reserve),
            target=aims,
            weight=weight,
            multipliers=self._multipliers,
        )
        self._multipliers = found.multipliers
        return found

    def curvature(self, activations: Array, weight: Array, shape: Array, muscles: NDArray[np.int64]) -> Array:
        """Return the second derivatives of the programs' sum by the gains of the shapes, without their prior."""
        free = (activations > self.low) & (activations < self.high)
        part = self.gain * np.where(free, 1.0 / weight, 0.0)[:, np.newaxis, :]
        system = part @ np.swapaxes(self.gain, 1, 2) + self.reserve**2 * np.eye(self.needed.shape[1])
        own = free[:, muscles]
        moved = self.gain[:, :, muscles] * (shape * own)[:, np.newaxis, :]
        held = np.where(own, 0.0, weight[:, muscles] * shape**2).sum(axis=0)
        shared = np.einsum("rcp,rcq->pq", moved, np.linalg.solve(system, moved), optimize=True)
        return np.asarray(2.0 * (shared + np.diag(held)))
