"""The fitted muscle paths of :mod:`.paths`, put together so that a single posture costs a tenth of a millisecond.

:class:`.paths.MusclePaths` evaluates one group of muscles after the other, which suits many postures at once. Here the
terms of all groups (products of Chebyshev polynomials, one per coordinate) are evaluated together, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from .paths import MusclePaths

Array = NDArray[np.float64]


class FramePaths:
    """Muscle paths for one posture at a time.

    Parameters
    ----------
    muscles, coordinates : tuple of str
        The muscles, and the coordinates that they span.
    ranges : numpy.ndarray, shape (coordinates, 2)
        Lowest and highest value of the fit (rad or m).
    exponents : numpy.ndarray of int, shape (terms, coordinates)
        Orders of the terms' factors.
    lengths, slopes : numpy.ndarray, shape (terms, muscles)
        Coefficients of the lengths, and of what the moment arms are the derivatives of (m).
    """

    def __init__(
        self,
        muscles: tuple[str, ...],
        coordinates: tuple[str, ...],
        ranges: Array,
        exponents: NDArray[np.intp],
        lengths: Array,
        slopes: Array,
    ):
        self.muscles, self.coordinates, self.ranges = muscles, coordinates, ranges
        half = 0.5 * np.ptp(ranges, axis=1)
        self._middle, self._half = ranges.mean(axis=1), np.where(half > 0.0, half, 1.0)
        self._highest = max(1, int(exponents.max(initial=1)))
        # Where each factor stands in the table (coordinates, orders); (coordinates, terms).
        self._places = exponents.T + np.arange(len(coordinates))[:, np.newaxis] * (self._highest + 1)
        self._lengths, self._slopes = lengths, slopes
        # Coefficients of the powers of z in the Chebyshev polynomials and in their derivatives; (powers, orders).
        polynomials = [Chebyshev.basis(order).convert(kind=Polynomial) for order in range(self._highest + 1)]
        self._chebyshev, self._derivatives = np.zeros((2, self._highest + 1, self._highest + 1))
        for order, polynomial in enumerate(polynomials):
            self._chebyshev[: order + 1, order] = polynomial.coef
            self._derivatives[: max(order, 1), order] = polynomial.deriv().coef

    @classmethod
    def of(cls, paths: MusclePaths, columns: Sequence[int] | NDArray[np.intp]) -> Self:
        """Put fitted paths together.

        Parameters
        ----------
        paths : MusclePaths
            The paths.
        columns : sequence of int
            The coordinates that the muscles span, of all those of the paths.

        Returns
        -------
        FramePaths
            With these coordinates alone.
        """
        kept = [int(column) for column in columns]
        places: dict[tuple[int, ...], int] = {}
        entries: list[tuple[int, int, float, float]] = []
        for group in paths.groups:
            own = [kept.index(column) for column in group.coordinates]
            for row, orders in enumerate(group.exponents.tolist()):
                exponents = [0] * len(kept)
                for column, order in zip(own, orders, strict=True):
                    exponents[column] = order
                place = places.setdefault(tuple(exponents), len(places))
                coefficients = zip(group.members, group.lengths[row], group.slopes[row], strict=True)
                entries += [(place, member, float(length), float(slope)) for member, length, slope in coefficients]
        lengths, slopes = np.zeros((2, len(places), len(paths.muscles)))
        for place, member, length, slope in entries:
            lengths[place, member], slopes[place, member] = length, slope
        return cls(
            paths.muscles,
            tuple(paths.coordinates[column] for column in kept),
            paths.ranges[kept],
            np.array(list(places), dtype=np.intp).reshape(len(places), len(kept)),
            lengths,
            slopes,
        )

    def evaluate(self, q: Array) -> tuple[Array, Array]:
        """Return lengths and moment arms in one posture.

        Parameters
        ----------
        q : numpy.ndarray, shape (coordinates,)
            rad or m.

        Returns
        -------
        lengths : numpy.ndarray, shape (muscles,)
            m.
        moment_arms : numpy.ndarray, shape (muscles, coordinates)
            m, as :meth:`.MusclePaths.evaluate`.
        """
        z = (q - self._middle) / self._half
        powers = np.ones((len(z), self._highest + 1))
        np.multiply.accumulate(np.broadcast_to(z[:, np.newaxis], (len(z), self._highest)), axis=1, out=powers[:, 1:])
        factors = (powers @ self._chebyshev).take(self._places)
        slopes = (powers @ self._derivatives).take(self._places)
        # The product of all factors but one, from the products before it and after it.
        before = np.empty_like(factors)
        before[0] = 1.0
        np.cumprod(factors[:-1], axis=0, out=before[1:])
        after = np.ones_like(factors[0])
        for column in range(len(z) - 1, -1, -1):
            slopes[column] *= before[column] * after
            after = after * factors[column]
        return after @ self._lengths, -(slopes @ self._slopes / self._half[:, np.newaxis]).T

    def outside(self, q: Array) -> NDArray[np.bool_]:
        """Tell which coordinates leave the fitted range.

        Parameters
        ----------
        q : numpy.ndarray, shape (coordinates,)
            rad or m.

        Returns
        -------
        numpy.ndarray of bool, shape (coordinates,)
            True outside.
        """
        beyond: NDArray[np.bool_] = (q < self.ranges[:, 0]) | (q > self.ranges[:, 1])
        return beyond
