"""Least-squares fits of muscle paths: Chebyshev polynomials through sampled lengths and moment arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import like, namespace

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Errors on postures held out at which no higher order is tried (RMS, m).
LENGTH_GOAL, ARM_GOAL = 5e-5, 2e-4

#: Highest order for muscles that span one and two coordinates, and for others: with more of them high orders miss in
#: the corners of the ranges (3 mm at order 7 and four coordinates).
MAXIMUM_ORDERS = (9, 8, 6)

#: What an error of a moment arm (m) weighs, where one of the length weighs 1.
_ARM_WEIGHT = 0.3

#: One polynomial is not enough for length and moment arms if a second one brings the error below this fraction.
_SEPARATE = 0.6

#: The path jumps where it is further from a fit to the others than so many median deviations, and than these (m).
_OUTLYING, _JUMP_LENGTH, _JUMP_ARM = 9.0, 1e-3, 5e-3

#: No more postures than this fraction of them are left out as jumps.
_MOST_JUMPS = 0.2


#: More terms than these, as of order 3 with 23 coordinates, take minutes.
_MOST_TERMS = 1500

#: The two tables of coefficients of a fit.
_TABLES = ("lengths", "slopes")


@dataclass(frozen=True, eq=False)
class PathGroup:
    """Muscles that span the same coordinates, with polynomials of the same order.

    Parameters
    ----------
    coordinates : tuple of int
        The coordinates, by number.
    members : tuple of int
        The muscles, by number.
    exponents : numpy.ndarray of int, shape (terms, coordinates)
        Order of each coordinate's Chebyshev polynomial in each term.
    lengths : numpy.ndarray, shape (terms, members)
        Coefficients of the lengths (m).
    slopes : numpy.ndarray, shape (terms, members)
        Coefficients whose negative derivative is the moment arm (m); nearly always the same.
    """

    coordinates: tuple[int, ...]
    members: tuple[int, ...]
    exponents: NDArray[np.int64]
    lengths: Array
    slopes: Array

    def evaluate(self, z: Any) -> tuple[Any, Any]:
        """Return lengths and their derivatives.

        Parameters
        ----------
        z : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            All coordinates of the model's fit, scaled to -1..1 within their ranges.

        Returns
        -------
        lengths : numpy.ndarray or torch.Tensor, shape (..., members)
            m.
        derivatives : numpy.ndarray or torch.Tensor, shape (..., members, coordinates of the group)
            With respect to the scaled coordinates (m).
        """
        xp = namespace(z)
        if not self.coordinates:
            lengths = z[..., :1] * 0.0 + like(self.lengths, z)[0]
            return lengths, xp.zeros_like(lengths)[..., None][..., :0]
        table = _chebyshev_table(z[..., list(self.coordinates)], self.exponents)
        whole, parts = self._factors
        slopes = like(self.slopes, z)
        derivatives = [_products(table, factors) @ slopes[own] for own, factors in parts]
        return _products(table, whole) @ like(self.lengths, z), xp.stack(derivatives, -1)

    @cached_property
    def _factors(self) -> _Factors:
        return _term_factors(self.exponents)


#: Where in a table of Chebyshev polynomials and their slopes the factors of each term are, (terms, factors), and those
#: of its derivative with respect to each coordinate, with the terms that have one.
_Factors = tuple[NDArray[np.int64], list[tuple[NDArray[np.int64], NDArray[np.int64]]]]


def _term_factors(exponents: NDArray[np.int64]) -> _Factors:
    """Find the factors of terms; with many coordinates nearly all exponents are 0, and these cost nothing."""
    orders = int(exponents.max(initial=1)) + 1
    most = int(np.count_nonzero(exponents, axis=1).max(initial=1))
    # Factors that are not 1 come first, in the order of the coordinates; the table's first column is 1.
    coordinates = np.argsort(exponents == 0, axis=1, kind="stable")[:, :most]
    powers = np.take_along_axis(exponents, coordinates, axis=1)
    whole = np.where(powers > 0, coordinates * orders + powers, 0)
    parts = []
    for place in range(exponents.shape[1]):
        own = np.flatnonzero(exponents[:, place])
        slope = exponents.shape[1] * orders * (coordinates[own] == place)
        parts.append((own, whole[own] + slope))
    return whole, parts


def _chebyshev_table(z: Any, exponents: NDArray[np.int64]) -> Any:
    """Return every coordinate's polynomials, then their slopes; (..., 2 * coordinates * orders)."""
    xp = namespace(z)
    t, slope = [xp.ones_like(z), z], [xp.zeros_like(z), xp.ones_like(z)]
    for _ in range(int(exponents.max(initial=1)) - 1):
        slope.append(2.0 * (t[-1] + z * slope[-1]) - slope[-2])
        t.append(2.0 * z * t[-1] - t[-2])
    return xp.concatenate([xp.stack(each, -1).reshape(*z.shape[:-1], -1) for each in (t, slope)], -1)


def _products(table: Any, factors: NDArray[np.int64]) -> Any:
    return math.prod(table[..., own] for own in factors.T)


def chebyshev_terms(z: Array, exponents: NDArray[np.int64]) -> tuple[Array, list[Array]]:
    """Evaluate products of Chebyshev polynomials of the first kind, and their derivatives.

    Parameters
    ----------
    z : numpy.ndarray, shape (..., coordinates)
        Where, -1..1.
    exponents : numpy.ndarray of int, shape (terms, coordinates)
        The orders of the factors.

    Returns
    -------
    values : numpy.ndarray, shape (..., terms)
        The products.
    rates : list of numpy.ndarray, each (..., terms)
        Their derivative with respect to each coordinate.
    """
    table = _chebyshev_table(z, exponents)
    whole, parts = _term_factors(exponents)
    values = _products(table, whole)
    rates = []
    for own, factors in parts:
        rate = np.zeros(values.shape)
        rate[..., own] = _products(table, factors)
        rates.append(rate)
    return values, rates


def term_exponents(dimension: int, order: int) -> NDArray[np.int64]:
    """Return the exponents of all terms up to a total order.

    Parameters
    ----------
    dimension : int
        Number of coordinates.
    order : int
        Highest sum of a term's exponents.

    Returns
    -------
    numpy.ndarray of int, shape (terms, dimension)
        The exponents.
    """
    rows: list[tuple[int, ...]] = [()]
    for _ in range(dimension):
        rows = [(*row, k) for row in rows for k in range(order + 1 - sum(row))]
    return np.array(rows, dtype=np.int64).reshape(len(rows), dimension)


@dataclass(frozen=True, eq=False)
class _Fit:
    """The best fit to a muscle so far."""

    order: int
    error: float  # on postures held out, in units of the goal
    lengths: Array  # (terms,)
    slopes: Array


def fit_groups(z: Array, half_ranges: Array, lengths: Array, moment_arms: Array) -> tuple[tuple[PathGroup, ...], Array]:
    """Fit all muscles of a model.

    The order of each muscle's polynomial is the lowest that reaches the goal on every fourth posture, held out, or else
    the best there; then all postures are used. A muscle whose moment arm is not the derivative of its length (one that
    wraps around two cylinders at once) gets a second polynomial for its moment arms. Where a path jumps, the postures
    beyond the jump are left out.

    Parameters
    ----------
    z : numpy.ndarray, shape (postures, coordinates)
        The coordinates, scaled to -1..1 within their ranges.
    half_ranges : numpy.ndarray, shape (coordinates,)
        What a scaled coordinate of 1 is (rad or m).
    lengths : numpy.ndarray, shape (postures, muscles)
        m.
    moment_arms : numpy.ndarray, shape (postures, muscles, coordinates)
        m; all zero where a muscle does not span a coordinate.

    Returns
    -------
    groups : tuple of PathGroup
        The polynomials.
    jumps : numpy.ndarray, shape (muscles,)
        Fraction of the postures that are beyond a jump of the path.
    """
    spans = np.abs(moment_arms).max(axis=0) > 0.0
    by_coordinates: dict[tuple[int, ...], list[int]] = {}
    for muscle, row in enumerate(spans):
        by_coordinates.setdefault(tuple(np.flatnonzero(row).tolist()), []).append(muscle)
    jumps = np.zeros(lengths.shape[1])
    groups = []
    for columns, muscles in by_coordinates.items():
        if not columns:
            mean = lengths[:, muscles].mean(axis=0, keepdims=True)
            groups.append(PathGroup((), tuple(muscles), term_exponents(0, 0), mean, mean))
            continue
        own = list(columns)
        # The derivative with respect to the scaled coordinate.
        slopes = -moment_arms[:, muscles][..., own] * half_ranges[own]
        problem = _Problem(z[:, own], half_ranges[own], lengths[:, muscles], slopes)
        fits = problem.solve()
        for place in problem.jumping(fits):
            fits[place], jumps[muscles[place]] = problem.without_jumps(place, fits[place])
        for order in sorted({fit.order for fit in fits}):
            members = [place for place, fit in enumerate(fits) if fit.order == order]
            tables = (np.column_stack([getattr(fits[k], name) for k in members]) for name in _TABLES)
            numbers = tuple(muscles[place] for place in members)
            groups.append(PathGroup(columns, numbers, term_exponents(len(own), order), *tables))
    return tuple(groups), jumps


@dataclass(frozen=True, eq=False)
class _Problem:
    """Muscles that span the same coordinates, and what was measured."""

    z: Array  # (postures, coordinates)
    scale: Array  # (coordinates,)
    lengths: Array  # (postures, muscles)
    slopes: Array  # (postures, muscles, coordinates), with respect to z

    def solve(self) -> list[_Fit]:
        """Fit every muscle with the order that suits it."""
        held = np.arange(len(self.z)) % 4 == 3
        best: dict[int, _Fit] = {}
        open_ = list(range(self.lengths.shape[1]))
        for order in self._orders():
            terms = self._terms(order)
            found = self._try(terms, order, open_, ~held, held)
            tried = dict(zip(open_, found, strict=True))
            better = [place for place in open_ if place not in best or tried[place][0] < best[place].error]
            # With 18 coordinates, as the spine has, a solution of the equations takes seconds: one for all muscles.
            for separate in (False, True):
                places = [place for place in better if tried[place][1] == separate]
                if places:
                    lengths, slopes = self._coefficients(terms, places, separate)
                    for k, place in enumerate(places):
                        best[place] = _Fit(order, tried[place][0], lengths[:, k], slopes[:, k])
            open_ = [place for place in open_ if best[place].error > 1.0]
            if not open_:
                break
        return [best[place] for place in range(len(best))]

    def jumping(self, fits: Sequence[_Fit]) -> list[int]:
        """Find the muscles that are so far from their fit somewhere that the path may jump there."""
        found = []
        for order in sorted({fit.order for fit in fits}):
            places = [place for place, fit in enumerate(fits) if fit.order == order and fit.error > 1.0]
            if places:
                table = np.stack([np.column_stack([getattr(fits[k], name) for k in places]) for name in _TABLES])
                length, arms = self._residuals(self._terms(order), places, table)
                far = (length.max(axis=0) > _JUMP_LENGTH) | (arms.max(axis=0) > _JUMP_ARM)
                found += [place for place, jumps in zip(places, far, strict=True) if jumps]
        return sorted(found)

    def without_jumps(self, place: int, before: _Fit) -> tuple[_Fit, float]:
        """Leave out postures beyond a jump, if there is one, and fit a muscle again; with the fraction left out."""
        one = _Problem(self.z, self.scale, self.lengths[:, [place]], self.slopes[:, [place]])
        terms = one._terms(min(5, max(one._orders())))
        kept = np.ones(len(self.z), dtype=bool)
        for _ in range(4):
            table = one._coefficients(terms, [0], False, kept)
            length, arms = one._residuals(terms, [0], table)
            beyond = np.zeros(len(self.z), dtype=bool)
            for residual, least in ((length[:, 0], _JUMP_LENGTH), (arms[:, 0], _JUMP_ARM)):
                beyond |= residual > max(_OUTLYING * float(np.median(residual[kept])), least)
            if beyond.mean() > _MOST_JUMPS or (beyond == ~kept).all():
                break
            kept = ~beyond
        if kept.all():
            return before, 0.0
        cut = _Problem(self.z[kept], self.scale, one.lengths[kept], one.slopes[kept])
        return cut.solve()[0], 1.0 - float(kept.mean())

    def _orders(self) -> list[int]:
        """Return the orders that the measurements are enough for."""
        rows = len(self.z) * (1 + self.z.shape[1])
        most = MAXIMUM_ORDERS[min(self.z.shape[1], len(MAXIMUM_ORDERS)) - 1]
        enough = [k for k in range(1, most + 1) if math.comb(k + self.z.shape[1], k) <= min(rows / 3, _MOST_TERMS)]
        return enough or [1]

    def _terms(self, order: int) -> list[Array]:
        values, rates = chebyshev_terms(self.z, term_exponents(self.z.shape[1], order))
        return [values, *rates]

    def _try(
        self, terms: list[Array], order: int, muscles: list[int], rows: Mask, held: Mask
    ) -> list[tuple[float, bool]]:
        """Return each muscle's error on the postures held out, and whether it needs two polynomials."""
        found = []
        errors = []
        for separate in (False, True):
            table = self._coefficients(terms, muscles, separate, rows)
            length, arm = self._residuals(terms, muscles, table, held)
            errors.append(np.maximum(_rms(length) / LENGTH_GOAL, _rms(arm) / ARM_GOAL))
            if (errors[0] <= 1.0).all():
                errors.append(errors[0])
                break
        for one, two in zip(*errors[:2], strict=True):
            separate = bool(one > 1.0 and two < _SEPARATE * one)
            found.append((float(two if separate else one), separate))
        return found

    def _coefficients(
        self, terms: list[Array], muscles: list[int], separate: bool, rows: Mask | slice = slice(None)
    ) -> Array:
        """Return the coefficients of lengths and slopes; (2, terms, muscles)."""
        weights = _ARM_WEIGHT / self.scale
        values, rates = terms[0][rows], np.concatenate([w * t[rows] for w, t in zip(weights, terms[1:], strict=True)])
        lengths = self.lengths[rows][:, muscles]
        slopes = np.concatenate([w * self.slopes[rows][:, muscles, k] for k, w in enumerate(weights)])
        if separate:
            # The constant of the slopes' polynomial does not matter: the length holds it.
            return np.stack([_least_squares(values, lengths), _least_squares(rates, slopes)])
        both = _least_squares(np.concatenate([values, rates]), np.concatenate([lengths, slopes]))
        return np.stack([both, both])

    def _residuals(
        self, terms: list[Array], muscles: list[int], table: Array, rows: Mask | slice = slice(None)
    ) -> tuple[Array, Array]:
        """Return the errors of lengths and of the worst moment arm; each (postures, muscles), m."""
        length = np.abs(terms[0][rows] @ table[0] - self.lengths[rows][:, muscles])
        arms = [
            np.abs(rate[rows] @ table[1] - self.slopes[rows][:, muscles, k]) / self.scale[k]
            for k, rate in enumerate(terms[1:])
        ]
        return np.asarray(length), np.asarray(np.max(arms, axis=0))


def _least_squares(a: Array, b: Array) -> Array:
    """Solve by the normal equations, which Chebyshev polynomials keep well conditioned."""
    gram = a.T @ a
    gram[np.diag_indices_from(gram)] += 1e-10 * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram, a.T @ b), dtype=float)


def _rms(values: Array) -> Array:
    return np.asarray(np.sqrt(np.mean(values**2, axis=0)), dtype=float)


def members_of(groups: Sequence[PathGroup]) -> list[int]:
    """Return the position, in the groups one after the other, of every muscle.

    Parameters
    ----------
    groups : sequence of PathGroup
        The groups.

    Returns
    -------
    list of int
        Sorts what the groups give into the muscles' order.
    """
    order: list[int] = np.argsort([member for group in groups for member in group.members]).tolist()
    return order


def pack(groups: Sequence[PathGroup]) -> dict[str, np.ndarray]:
    """Return groups as arrays for a file.

    Parameters
    ----------
    groups : sequence of PathGroup
        The groups.

    Returns
    -------
    dict of str to numpy.ndarray
        What :func:`unpack` takes.
    """
    return {
        f"{name}_{number}": np.array(getattr(group, name))
        for number, group in enumerate(groups)
        for name in PathGroup.__dataclass_fields__
    }


def unpack(arrays: Mapping[str, np.ndarray]) -> tuple[PathGroup, ...]:
    """Return the groups of a file.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        The arrays of :func:`pack`, and any others.

    Returns
    -------
    tuple of PathGroup
        The groups.

    Raises
    ------
    KeyError
        An array is missing.
    """
    count = sum(name.startswith("members_") for name in arrays)
    groups = []
    for number in range(count):
        columns, members, exponents, lengths, slopes = (
            arrays[f"{name}_{number}"] for name in PathGroup.__dataclass_fields__
        )
        kept = tuple(columns.astype(int).tolist()), tuple(members.astype(int).tolist())
        groups.append(PathGroup(*kept, exponents, lengths, slopes))
    return tuple(groups)
