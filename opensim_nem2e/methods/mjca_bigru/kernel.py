"""Kernel ridge regression of joint moments on the motion at a few lags, in closed form.

Of a dozen subjects it learns what carries over to others as well as a network or better, in seconds. What it has seen
nothing like it leaves near the mean moment, but for a linear part, where one serves what is left out: other speeds.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .forward import KERNEL, likeness

Array = NDArray[np.float64]
Single = NDArray[np.float32]

#: Frames that are kept as centres of the Gaussian functions at most, and at most for the choice of width and penalty.
MOST_CENTERS, _MOST_FOR_CHOICE = 1500, 750

#: What is chosen among: linear parts, squared widths in units of the number of inputs, and penalties per frame; the
#: usual ones.
LINEAR, WIDTHS, PENALTIES = (0.0, 0.1, 1.0), (0.5, 1.0, 2.0, 4.0), (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
_USUAL = (1.0, 0.0, 1e-4)

#: In how many parts groups are left out in turn at most.
_FOLDS = 5


def fit_kernel(x: Single, y: Single, known: Single, groups: NDArray[np.intp]) -> dict[str, Single]:
    """Fit kernel ridge regression, with the linear part, width and penalties that serve groups best that are left out.

    Parameters
    ----------
    x : ndarray, shape (frames, inputs)
        Normalised.
    y : ndarray, shape (frames, outputs)
        Normalised; 0 where nothing is known.
    known : ndarray, shape (frames, outputs)
        0 there, else 1.
    groups : ndarray of int, shape (frames,)
        Subjects, trials or cycles, from 0 on.

    Returns
    -------
    dict of str to ndarray
        The weights of :class:`.forward.Architecture` ``kernel``.
    """
    thin = _evenly(len(x), _MOST_FOR_CHOICE)
    width, linear, penalties = _choose(x[thin], y[thin], known[thin] > 0.0, groups[thin])
    kept = _evenly(len(x), MOST_CENTERS)
    centers, targets = x[kept].astype(float), y[kept].astype(float)
    squares = (centers**2).sum(axis=1)
    kernel, mean = likeness(centers, centers, squares, width, linear), targets.mean(axis=0)
    weights = np.empty_like(targets)
    for penalty in np.unique(penalties):
        weights[:, penalties == penalty] = _solve(kernel, (targets - mean)[:, penalties == penalty], penalty)
    found = dict(zip(KERNEL, (centers, squares, np.array([width]), np.array([linear])), strict=True))
    found |= {"head.0.weight": weights.T, "head.0.bias": mean}
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in found.items()}


def _choose(x: Single, y: Single, known: NDArray[np.bool_], groups: NDArray[np.intp]) -> tuple[float, float, Array]:
    """Choose one width and linear part, and a penalty for each output, by leaving groups out.

    The mean of the errors' logarithms counts, so that no odd group and no output decides for the others.
    """
    parts = groups % _FOLDS
    folds = np.unique(parts)
    if len(folds) < 2:
        return *_USUAL[:2], np.full(y.shape[1], _USUAL[2])
    values, targets = x.astype(float), y.astype(float)
    shapes = list(product(WIDTHS, LINEAR))
    errors = np.zeros((len(shapes), len(PENALTIES), y.shape[1]))
    for first, shape in enumerate(shapes):
        kernel = likeness(values, values, (values**2).sum(axis=1), *shape)
        for second, penalty in enumerate(PENALTIES):
            for fold in folds:
                rest, left = parts != fold, parts == fold
                mean = targets[rest].mean(axis=0)
                weights = _solve(kernel[np.ix_(rest, rest)], targets[rest] - mean, penalty)
                wrong = (kernel[np.ix_(left, rest)] @ weights + mean - targets[left]) ** 2 * known[left]
                for group in np.unique(groups[left]):
                    own = groups[left] == group
                    count = known[left][own].sum(axis=0)
                    total = wrong[own].sum(axis=0) / np.maximum(count, 1)
                    errors[first, second] += np.where(count, np.log(np.maximum(total, 1e-12)), 0.0)
    best = int(errors.min(axis=1).sum(axis=-1).argmin())
    return *shapes[best], np.array(PENALTIES)[errors[best].argmin(axis=0)]


def _solve(kernel: Any, targets: Any, penalty: float) -> Any:
    from scipy.linalg import cho_factor, cho_solve

    count = len(kernel)
    return cho_solve(cho_factor(kernel + penalty * count * np.eye(count), lower=True), targets)


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    """Take at most so many rows, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
