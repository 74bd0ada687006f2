"""Activations that make the torques a motion needs and are nearest to given ones, row by row.

With rigid tendons torques are linear in the activations (:class:`~.torque_model.TorqueTerms`), so that every row is a
convex quadratic program. With the activations a, those aimed at t, their weights w, the torque G a of the activations
and the torque b that is asked of them::

    minimise    sum of w (a - t)^2  +  sum of (r / R)^2        r = b - G a
    subject to  low <= a <= high,   |r| <= bound

r are the reserves: what the muscles are left owing. A reserve of R costs as much as an activation of weight 1 that is
moved by 1. Where no activations keep the bound, r exceeds it by the least sum over the coordinates that there can be.

Rows are solved one after the other with DAQP (Arnström, Bemporad & Axehill 2022), a dual active-set method: exact to
rounding, and what ends at a bound is at the bound. On trials of 100 to 330 rows with 18 to 86 muscles it needed 0.01 to
0.12 s. Beside it Clarabel (all rows as one block-diagonal problem) came to the same activations within 3e-10 in 0.2 to
1.2 s, OSQP within 6e-4 in 0.8 to 7 s, ProxQP was wrong by up to 0.8 on one trial, and SciPy's ``lsq_linear`` knows no
bound for the reserves.

Each program is strictly convex, so its solution changes continuously with what is aimed at and what is needed: it is as
smooth as these are. But muscles cannot follow any smooth curve: they deactivate slowly, and at push-off a torque can
fall faster. With ``reach`` a row's bounds are what the activation dynamics can reach from the row before, so the
antagonists take over what a muscle cannot let go of. On a real stride that brought the torques that the excitations
make, through the activation dynamics, from 6.7 Nm RMS of inverse dynamics to 0.14 Nm. Several prices of the reserves go
through the rows side by side (:func:`redistribute_each`): the dynamics of all their muscles are one step per row.

References
----------
Arnström, D., Bemporad, A., Axehill, D. (2022). A dual active-set solver for embedded quadratic programming using
recursive LDL^T updates. IEEE Trans. Autom. Control 67, 4362-4369.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError

Array = NDArray[np.float64]

#: By how much the widened bounds of a row are slack, relative to the torque: the solvers' own tolerance.
_SLACK = 1e-7

#: Activations are taken to be uncertain by at least this share of a maximal one, in what moving them costs.
_LEAST_SIZE = 0.005

#: A bound counts as exceeded from here on (Nm).
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Redistributed:
    """Activations that make given torques.

    Parameters
    ----------
    activations : numpy.ndarray, shape (rows, muscles)
        0..1.
    reserves : numpy.ndarray, shape (rows, coordinates)
        The torque that is left for reserve actuators (Nm).
    exceeded : numpy.ndarray of bool, shape (rows, coordinates)
        Where a reserve is above its bound, because no activations could make the torque.
    """

    activations: Array
    reserves: Array
    exceeded: NDArray[np.bool_]


def redistribute(
    gain: ArrayLike,
    needed: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    reserve: float,
    bound: float = float("inf"),
    reach: Callable[[Array], tuple[Array, Array]] | None = None,
) -> Redistributed:
    """Find the activations nearest to given ones that make the torques needed.

    Parameters
    ----------
    gain : array_like, shape (rows, coordinates, muscles)
        Torque per unit of each activation (Nm), :attr:`.TorqueTerms.gain`.
    needed : array_like, shape (rows, coordinates)
        The torque asked of the activations: inverse dynamics less the passive torques (Nm).
    target : array_like, shape (rows, muscles)
        The activations aimed at; they need not be within the bounds.
    weight : array_like, shape (muscles,) or (rows, muscles)
        What a departure from the target costs, more than 0.
    low, high : array_like, shape (muscles,)
        Bounds of the activations.
    reserve : float
        R above (Nm).
    bound : float, optional
        Largest reserve (Nm), at least 0.
    reach : callable, optional
        Gives, from the activations (muscles,) of a row, the lowest and highest that the muscles can reach until the
        next one; every row then keeps to what its predecessor lets it. Without it rows do not depend on each other.

    Returns
    -------
    Redistributed
        The activations and what they leave owing.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A number is missing, a weight or the reserve is not positive, the bounds are in the wrong order, or the solver
        failed.
    """

    def each(activations: Array) -> tuple[Array, Array]:
        assert reach is not None
        low, high = reach(activations[0])
        return low[np.newaxis], high[np.newaxis]

    together = None if reach is None else each
    return redistribute_each(gain, needed, target, weight, low, high, prices=[(reserve, bound)], reach=together)[0]


def redistribute_each(
    gain: ArrayLike,
    needed: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    prices: Sequence[tuple[float, float]],
    reach: Callable[[Array], tuple[Array, Array]] | None = None,
) -> list[Redistributed]:
    """Find the activations of :func:`redistribute` for several prices of the reserves.

    Parameters
    ----------
    gain, needed, target, weight, low, high : array_like
        As for :func:`redistribute`.
    prices : sequence of (float, float)
        R and the largest reserve (Nm) of each.
    reach : callable, optional
        As for :func:`redistribute`, of all prices at once: from and to (prices, muscles).

    Returns
    -------
    list of Redistributed
        One per price, each what :func:`redistribute` gives for it, bit for bit.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        As for :func:`redistribute`.
    """
    import daqp

    table, asked, wanted = (np.asarray(values, dtype=float) for values in (gain, needed, target))
    rows, _, muscles = table.shape
    w = np.broadcast_to(np.asarray(weight, dtype=float), (rows, muscles))
    # The solver wants arrays of its own, which it may write to.
    lowest, highest = (np.array(np.broadcast_to(values, (muscles,)), dtype=float) for values in (low, high))
    if not all(np.isfinite(values).all() for values in (table, asked, wanted)):
        raise ModelError("Activations cannot be redistributed: torques or activations are missing (nan) in some rows.")
    priced = all(reserve > 0.0 and bound >= 0.0 for reserve, bound in prices)
    if not (np.all(w > 0.0) and priced and np.all(lowest <= highest)):
        raise ModelError(
            "Weights and the reserve must be positive, its bound not negative, and the activations' bounds in order."
        )
    activations = np.empty((rows, len(prices), muscles))
    lows, highs = (np.tile(limit, (len(prices), 1)) for limit in (lowest, highest))
    free = np.zeros((0, muscles))
    sense = np.zeros(muscles, dtype=np.int32)
    programs = [_programs(table / reserve, asked / reserve, wanted, w) for reserve, _ in prices]
    # np.clip would take as long as a row's program.
    for row in range(rows):
        if reach is not None and row:
            lows, highs = (np.minimum(np.maximum(limit, lowest), highest) for limit in reach(activations[row - 1]))
        for number, (reserve, bound) in enumerate(prices):
            part, owed, cost, slope = programs[number]
            low_, high_, most = lows[number], highs[number], bound / reserve
            found, _, flag, _ = daqp.solve(cost[row], slope[row], free, high_, low_, sense)
            if flag == 1 and most < np.inf and np.abs(owed[row] - part[row] @ found).max(initial=0.0) > most:
                found, flag = _bounded(cost[row], slope[row], part[row], owed[row], most, low_, high_)
            if flag != 1:
                raise ModelError(f"DAQP could not solve row {row} of {rows} (exit flag {flag}).")
            np.minimum(np.maximum(found, low_), high_, out=activations[row, number])
    results = []
    for number, (_, bound) in enumerate(prices):
        own = np.ascontiguousarray(activations[:, number])
        reserves = asked - np.einsum("rcm,rm->rc", table, own)
        results.append(Redistributed(own, reserves, np.abs(reserves) > bound + _TOLERANCE))
    return results


def cost_of_moving(activations: ArrayLike) -> Array:
    """Say what it costs to move activations that are estimates: errors are the larger, the larger an activation is.

    Parameters
    ----------
    activations : array_like, shape (rows, muscles)
        The activations aimed at.

    Returns
    -------
    numpy.ndarray, shape (rows, muscles)
        The inverse square of half a muscle's RMS and half its value, over the median of all: so bursts change rather
        than silence, and small muscles as little, in proportion, as large ones.
    """
    values = np.asarray(activations, dtype=float)
    size = 0.5 * np.sqrt(np.mean(values**2, axis=0)) + 0.5 * values
    size = np.maximum(size, _LEAST_SIZE)
    return np.asarray((np.median(size) / size) ** 2)


def _programs(part: Array, owed: Array, wanted: Array, weight: Array) -> tuple[Array, Array, Array, Array]:
    """Return gains and torques in units of the reserve, and what every row's program minimises."""
    cost = np.swapaxes(part, 1, 2) @ part
    places = np.arange(part.shape[2])
    cost[:, places, places] += weight
    slope = -(weight * wanted + np.einsum("rcm,rc->rm", part, owed))
    return part, owed, cost, slope


class RowProgram:
    """The program of one row, for rows that come one by one: nothing is aimed at, and what they share is kept.

    Parameters
    ----------
    low, high : array_like, shape (muscles,)
        Bounds of the activations.
    reserve : float
        R above (Nm).

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The reserve is not positive, or the bounds are in the wrong order.
    """

    def __init__(self, low: ArrayLike, high: ArrayLike, reserve: float):
        # The solver wants arrays of its own, which it may write to.
        self._low, self._high = np.array(low, dtype=float), np.array(high, dtype=float)
        if not (reserve > 0.0 and np.all(self._low <= self._high)):
            raise ModelError("The reserve must be positive and the activations' bounds in order.")
        count = len(self._low)
        self._reserve, self._one = reserve, np.eye(count)
        self._free, self._sense = np.zeros((0, count)), np.zeros(count, dtype=np.int32)

    def solve(self, gain: Array, needed: Array) -> tuple[Array, Array]:
        """Find the activations of a row.

        Parameters
        ----------
        gain : numpy.ndarray, shape (coordinates, muscles)
            Torque per unit of each activation (Nm).
        needed : numpy.ndarray, shape (coordinates,)
            The torque asked of the activations (Nm).

        Returns
        -------
        activations : numpy.ndarray, shape (muscles,)
            0..1.
        reserves : numpy.ndarray, shape (coordinates,)
            What they leave owing (Nm).

        Raises
        ------
        opensim_nem2e.errors.ModelError
            A number is missing, or the solver failed.
        """
        import daqp

        part, owed = gain / self._reserve, needed / self._reserve
        cost, slope = part.T @ part, -(owed @ part)
        if not np.isfinite(slope).all():
            raise ModelError("Activations cannot be found: a torque, moment arm or force is missing (nan).")
        cost += self._one
        found, _, flag, _ = daqp.solve(cost, slope, self._free, self._high, self._low, self._sense)
        if flag != 1:
            raise ModelError(f"DAQP could not solve the row (exit flag {flag}).")
        activations = np.minimum(np.maximum(found, self._low), self._high)
        return activations, needed - gain @ activations


def _bounded(
    cost: Array, slope: Array, part: Array, owed: Array, bound: float, low: Array, high: Array
) -> tuple[Array, int]:
    """Solve a row whose reserves would exceed the bound, which is first widened as far as no activations can help."""
    import daqp
    from scipy.optimize import linprog

    count, muscles = part.shape
    one = np.eye(count)
    # The least sum of all excess: part a - excess <= owed + bound, part a + excess >= owed - bound.
    least = linprog(
        np.concatenate([np.zeros(muscles), np.ones(count)]),
        A_ub=np.block([[part, -one], [-part, -one]]),
        b_ub=np.concatenate([owed + bound, bound - owed]),
        bounds=[*zip(low, high, strict=True), *[(0.0, None)] * count],
    )
    if least.status != 0:
        return np.zeros(muscles), -least.status
    within = bound + np.maximum(least.x[muscles:], 0.0) + _SLACK * (1.0 + np.abs(owed))
    found, _, flag, _ = daqp.solve(
        cost,
        slope,
        part,
        np.concatenate([high, owed + within]),
        np.concatenate([low, owed - within]),
        np.zeros(muscles + count, dtype=np.int32),
    )
    return found, flag
