"""Fit the linear part of the networks, from few subjects.

What turns activation into EMG is partly the same for all muscles (delay and smoothing: electromechanical delay, the
filter of the envelope), partly a muscle's own. So three regressions follow each other, each on what the ones before
left over:

1. a lag filter that all muscles share: the EMG at a sample from the muscle's activation a few samples before and after;
2. the muscle's own weights from all samples to all samples (ridge regression);
3. for inputs of many muscles, weights from all samples of all muscles (ridge regression).

They are fitted twice, to the activation as it is and to its shape (divided by its largest value in the cycle, which
takes the strength of the model out), and the two are averaged. All regressions are about the mean cycle, and every
subject weighs as the square root of the number of their cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.cycle_view import CycleView
from ...data.gait_cycles import MuscleCycles
from ...signals.compare import cycle_errors
from .linear_part import LinearPart, shape_of

Array = NDArray[np.float64]

#: How far the shared lag filter reaches to either side, as a share of the window.
LAG_REACH = 0.2

#: Penalties of the three regressions per unit of window weight. Their common factor is chosen from FACTORS.
LAG_PENALTY, OWN_PENALTY, ALL_PENALTY = 2.0, 0.1, 0.5
FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class LinearFit:
    """The linear part of one target's network.

    Parameters
    ----------
    part : LinearPart
        The weights.
    constant : ndarray, shape (samples,)
        What is added.
    out_of_fold : ndarray, shape (windows, samples)
        What is predicted of each training window, constant included, by a fit without its subject. With one subject:
        by the fit itself.
    factor : float
        By what the penalties were multiplied.
    """

    part: LinearPart
    constant: Array
    out_of_fold: Array
    factor: float

    def evidence(self) -> dict[str, NDArray[Any]]:
        """Give every number of the fit.

        Returns
        -------
        dict of str to ndarray
            By what it is.
        """
        return {
            "linear part": np.concatenate([self.part.activation.ravel(), self.part.shape.ravel()]),
            "constant of the linear part": self.constant,
            "out-of-fold linear predictions": self.out_of_fold,
            "penalty of the linear part": np.array([self.factor]),
        }


def fit_linear(sets: Mapping[str, MuscleCycles], view: CycleView) -> dict[str, LinearFit]:
    """Fit the linear part of every target, the penalties by leaving out each of these subjects in turn.

    Parameters
    ----------
    sets : mapping of str to MuscleCycles
        The training cycles by target muscle.
    view : CycleView
        The input condition. A quarter of a cycle is not periodic, and has no shape of its own.

    Returns
    -------
    dict of str to LinearFit
        By target.
    """
    muscles = {target: _Windows.of(data, view) for target, data in sets.items() if data.records}
    whole = view.condition != "One-Quarter"
    subjects = sorted({subject for data in muscles.values() for subject in data.subjects.tolist()})
    factor, out_of_fold = 1.0, {}
    if len(subjects) > 1:
        tried = {factor: _fit_out_of_fold(muscles, subjects, factor, whole) for factor in FACTORS}
        factor = min(tried, key=lambda factor: _mean_error(muscles, tried[factor]))
        out_of_fold = tried[factor]
    fits = {}
    for target, (part, constant) in _fit(muscles, factor, whole).items():
        data = muscles[target]
        own = constant + part.predict(data.x)
        # A subject that alone has this muscle: there is no fit without it.
        left_out = out_of_fold.get(target, own)
        fits[target] = LinearFit(part, constant, np.where(np.isnan(left_out), own, left_out), factor)
    return fits


@dataclass(frozen=True)
class _Windows:
    x: Array
    own: Array
    y: Array
    subjects: NDArray[np.str_]
    own_input: int | None

    @classmethod
    def of(cls, data: MuscleCycles, view: CycleView) -> _Windows:
        x, own, y = (view.split(values) for values in (data.x, data.own, data.y))
        name = f"ipsi:{data.target}"
        index = data.inputs.index(name) if name in data.inputs else None
        return cls(x, own, y, np.repeat(data.subjects, len(y) // len(data.y)), index)

    def select(self, rows: NDArray[np.bool_]) -> _Windows:
        return _Windows(self.x[rows], self.own[rows], self.y[rows], self.subjects[rows], self.own_input)

    @property
    def weights(self) -> Array:
        """Weights of the windows; they sum to one."""
        _, person, counts = np.unique(self.subjects, return_inverse=True, return_counts=True)
        weights = counts[person] ** -0.5
        shares: Array = weights / weights.sum()
        return shares


def _fit_out_of_fold(
    muscles: Mapping[str, _Windows], subjects: list[str], factor: float, whole: bool
) -> dict[str, Array]:
    found = {target: np.full_like(data.y, np.nan) for target, data in muscles.items()}
    for subject in subjects:
        rest = {target: data.select(data.subjects != subject) for target, data in muscles.items()}
        fits = _fit({target: data for target, data in rest.items() if data.y.size}, factor, whole)
        for target, (part, constant) in fits.items():
            rows = muscles[target].subjects == subject
            found[target][rows] = constant + part.predict(muscles[target].x[rows])
    return found


def _mean_error(muscles: Mapping[str, _Windows], predicted: Mapping[str, Array]) -> float:
    """RMS error, averaged over the windows of a subject, then over subjects and muscles."""
    errors = []
    for target, data in muscles.items():
        error = cycle_errors(np.maximum(predicted[target], 0), data.y)
        errors += [error[data.subjects == subject].mean() for subject in np.unique(data.subjects)]
    return float(np.nanmean(errors))


def _fit(muscles: Mapping[str, _Windows], factor: float, whole: bool) -> dict[str, tuple[LinearPart, Array]]:
    """Fit all targets with given penalties."""
    samples = next(iter(muscles.values())).y.shape[1]
    reach = max(1, round(LAG_REACH * samples))
    lags = _lag_matrices(samples, reach, periodic=whole)
    with_shape = whole and all(data.own_input is not None for data in muscles.values())
    views = [False, True] if with_shape else [False]
    parts: dict[str, LinearPart] = {}
    for target, data in muscles.items():
        inputs = data.x.shape[2]
        parts[target] = LinearPart(
            np.zeros((inputs, samples, samples), np.float32), np.zeros((samples, samples), np.float32), data.own_input
        )
    for as_shape in views:
        features = {target: shape_of(data.own) if as_shape else data.own for target, data in muscles.items()}
        shared = np.tensordot(_shared_filter(muscles, features, lags, factor), lags, axes=1)
        for target, data in muscles.items():
            weights = data.weights
            z, y = (values - weights @ values for values in (features[target], data.y))
            gram = (z.T * weights) @ z + factor * OWN_PENALTY * np.eye(samples)
            own = shared + np.linalg.solve(gram, (z.T * weights) @ (y - z @ shared))
            part, share = parts[target], 1 / len(views)
            if as_shape:
                part.shape[:] += share * own
            elif data.own_input is not None:
                part.activation[data.own_input] += share * own
            if data.x.shape[2] > 1:
                rest = _ridge(data.x, y - z @ own, weights, factor * ALL_PENALTY)
                part.activation[:] += share * rest
    found = {}
    for target, data in muscles.items():
        mean = data.weights @ data.y
        found[target] = (parts[target], mean - data.weights @ parts[target].predict(data.x))
    return found


def _lag_matrices(samples: int, reach: int, periodic: bool) -> Array:
    """One matrix (from sample, to sample) per lag; the last sample of a whole cycle is the first of the next."""
    lags = np.zeros((2 * reach + 1, samples, samples))
    to = np.arange(samples)
    for k, lag in enumerate(range(-reach, reach + 1)):
        source = (to - lag) % (samples - 1) if periodic else np.clip(to - lag, 0, samples - 1)
        lags[k, source, to] = 1
    return lags


def _shared_filter(muscles: Mapping[str, _Windows], features: Mapping[str, Array], lags: Array, factor: float) -> Array:
    """Fit the weights of the lags that all muscles share; a muscle counts as often as it has subjects."""
    gram = factor * LAG_PENALTY * np.eye(len(lags))
    right = np.zeros(len(lags))
    for target, data in muscles.items():
        people = len(np.unique(data.subjects))
        if people < 2:
            # Of one subject only the noise about their mean cycle is known.
            continue
        weights = data.weights
        z, y = (values - weights @ values for values in (features[target], data.y))
        # Rows are lags, columns all samples of all windows.
        lagged = (z @ lags).reshape(len(lags), -1)
        weighted = lagged * np.repeat(weights, y.shape[1])
        gram += people * weighted @ lagged.T
        right += people * weighted @ y.ravel()
    return np.asarray(np.linalg.solve(gram, right), dtype=np.float64)


def _ridge(x: Array, y: Array, weights: Array, penalty: float) -> Array:
    """Regress on all samples of all inputs, solved in the windows, which are fewer; (inputs, samples, samples)."""
    windows, samples, inputs = x.shape
    z = (x - np.tensordot(weights, x, axes=1)).reshape(windows, -1)
    dual = np.linalg.solve((z @ z.T) * weights + penalty * np.eye(windows), y)
    found = (z.T * weights) @ dual
    return found.reshape(samples, inputs, samples).transpose(1, 0, 2)
