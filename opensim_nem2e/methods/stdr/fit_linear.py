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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

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

#: The penalties' factor is chosen by leaving out each laboratory or subject in turn; of more than this, as many groups,
#: so that the cost of a study does not grow with the square of the number of its subjects.
MOST_FOLDS = 10


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
        What is predicted of each training window, constant included, by a fit without its laboratory, or where all
        are of one laboratory without its subject. With one subject: by the fit itself.
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
    """Fit the linear part of every target, the penalties by leaving out each of these laboratories (or groups) in turn.

    Where all cycles are of one laboratory, subjects are left out.

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
    labels, _ = groups_of(sets)
    muscles = {target: _Windows.of(data, view, labels[target]) for target, data in sets.items() if data.records}
    whole = view.condition != "One-Quarter"
    groups = _groups({target: data.groups for target, data in muscles.items()})
    factor, out_of_fold = 1.0, {}
    if len(groups) > 1:
        tried = _fit_out_of_fold(muscles, groups, whole)
        factor = min(tried, key=lambda factor: _mean_error(muscles, tried[factor]))
        out_of_fold = tried[factor]
    fits = {}
    every = {target: data.moments(np.ones(len(data.y), dtype=bool)) for target, data in muscles.items()}
    for target, (part, constant) in _fit(every, [factor], whole)[factor].items():
        data = muscles[target]
        own = constant + part.predict(data.x)
        # A laboratory (or subject) that alone has this muscle: there is no fit without it.
        left_out = out_of_fold.get(target, own)
        fits[target] = LinearFit(part, constant, np.where(np.isnan(left_out), own, left_out), factor)
    return fits


def groups_of(sets: Mapping[str, MuscleCycles]) -> tuple[dict[str, NDArray[np.str_]], str]:
    """Name what is left out together: laboratories, or subjects where all cycles are of one laboratory.

    Parameters
    ----------
    sets : mapping of str to MuscleCycles
        The training cycles by target muscle.

    Returns
    -------
    groups : dict of str to ndarray of str, each (cycles,)
        By target.
    by : {'laboratory', 'subject'}
        What they are.
    """
    laboratories = {record.laboratory for data in sets.values() for record in data.records}
    by = "laboratory" if len(laboratories) > 1 else "subject"
    found = {
        target: np.array([getattr(record, by) for record in data.records], dtype=np.str_)
        for target, data in sets.items()
    }
    return found, by


def _groups(labels: Mapping[str, NDArray[np.str_]]) -> list[set[str]]:
    """Deal laboratories or subjects out to the folds, those with most windows first: one each while there are few."""
    names, counts = np.unique(np.concatenate([*labels.values(), np.array([], dtype=str)]), return_counts=True)
    by_size = names[np.argsort(-counts, kind="stable")].tolist()
    return [set(by_size[k::MOST_FOLDS]) for k in range(min(MOST_FOLDS, len(by_size)))]


@dataclass(frozen=True)
class _Moments:
    """What a fit needs of some windows of a target: weighted means, and products about them.

    Small features are the target muscle's own activation, its shape, and the EMG, ``samples`` columns each; large ones
    are all samples of all inputs.
    """

    subjects: int
    inputs: int
    own_input: int | None
    mean_small: Array
    mean_large: Array
    small: Array
    cross: Array
    solve_large: Callable[[Array, float], Array]

    @property
    def samples(self) -> int:
        return len(self.mean_small) // 3

    def own(self, as_shape: bool) -> slice:
        """The columns of the own activation, or its shape."""
        return slice(self.samples * as_shape, self.samples * (1 + as_shape))

    @property
    def emg(self) -> slice:
        return slice(2 * self.samples, 3 * self.samples)


@dataclass(frozen=True)
class _Windows:
    x: Array
    y: Array
    subjects: NDArray[np.str_]
    groups: NDArray[np.str_]
    own_input: int | None
    small: Array

    @classmethod
    def of(cls, data: MuscleCycles, view: CycleView, groups: NDArray[np.str_] | None = None) -> _Windows:
        x, own, y = (view.split(values) for values in (data.x, data.own, data.y))
        name = f"ipsi:{data.target}"
        index = data.inputs.index(name) if name in data.inputs else None
        small = np.concatenate([own, shape_of(own), y], axis=1)
        windows = len(y) // len(data.y)
        labels = data.subjects if groups is None else groups
        return cls(x, y, np.repeat(data.subjects, windows), np.repeat(labels, windows), index, small)

    @cached_property
    def large(self) -> Array:
        """All samples of all inputs: (windows, samples * inputs)."""
        return np.asarray(self.x, dtype=np.float64).reshape(len(self.x), -1)

    @cached_property
    def raw_weights(self) -> Array:
        """Of each window, such that a subject weighs as the square root of the number of their windows."""
        _, subject, counts = np.unique(self.subjects, return_inverse=True, return_counts=True)
        weights: Array = np.asarray(counts[subject] ** -0.5, dtype=np.float64)
        return weights

    @cached_property
    def _gram(self) -> Array:
        """Weighted products of the large features over all windows; those of a fold's are taken off."""
        return (self.large.T * self.raw_weights) @ self.large

    @cached_property
    def _kernel(self) -> Array:
        return self.large @ self.large.T

    def moments(self, rows: NDArray[np.bool_]) -> _Moments:
        """Collect what a fit to these rows, all windows of their subjects, needs."""
        weights = self.raw_weights[rows] / self.raw_weights[rows].sum()
        large, small = self.large[rows], self.small[rows]
        mean_small, mean_large = weights @ small, weights @ large
        centred = small - mean_small
        weighted = centred.T * weights
        solve = self._primal(rows, mean_large) if len(large) > large.shape[1] else self._dual(rows, weights, mean_large)
        return _Moments(
            len(np.unique(self.subjects[rows])),
            self.x.shape[2],
            self.own_input,
            mean_small,
            mean_large,
            weighted @ centred,
            (weighted @ (large - mean_large)).T,
            solve,
        )

    def _primal(self, rows: NDArray[np.bool_], mean: Array) -> Callable[[Array, float], Array]:
        """Solve in the features, which are fewer than the windows."""
        rest = self.large[~rows]
        total = self.raw_weights[rows].sum()
        gram = (self._gram - (rest.T * self.raw_weights[~rows]) @ rest) / total - np.outer(mean, mean)

        def solve(right: Array, penalty: float) -> Array:
            penalised = gram + penalty * np.eye(len(gram))
            return np.asarray(linalg.solve(penalised, right, assume_a="pos"), dtype=np.float64)

        return solve

    def _dual(self, rows: NDArray[np.bool_], weights: Array, mean: Array) -> Callable[[Array, float], Array]:
        """Solve in the windows, which are fewer than the features (the matrix inversion lemma)."""
        root = np.sqrt(weights)
        kernel = self._kernel[np.ix_(rows, rows)]
        row_means = kernel @ weights
        kernel = root[:, None] * (kernel - row_means[:, None] - row_means + weights @ row_means) * root
        centred = root[:, None] * (self.large[rows] - mean)

        def solve(right: Array, penalty: float) -> Array:
            inner = linalg.solve(kernel + penalty * np.eye(len(kernel)), centred @ right, assume_a="pos")
            return np.asarray((right - centred.T @ inner) / penalty, dtype=np.float64)

        return solve


def _fit_out_of_fold(
    muscles: Mapping[str, _Windows], groups: Sequence[set[str]], whole: bool
) -> dict[float, dict[str, Array]]:
    """Predict each group's windows by fits without it; by penalty factor and target."""
    found = {factor: {target: np.full_like(data.y, np.nan) for target, data in muscles.items()} for factor in FACTORS}
    for group in groups:
        left_out = {target: np.isin(data.groups, sorted(group)) for target, data in muscles.items()}
        rest = {
            target: data.moments(~left_out[target]) for target, data in muscles.items() if not left_out[target].all()
        }
        if not rest:
            continue
        for factor, fits in _fit(rest, FACTORS, whole).items():
            for target, (part, constant) in fits.items():
                rows = left_out[target]
                found[factor][target][rows] = constant + part.predict(muscles[target].x[rows])
    return found


def _mean_error(muscles: Mapping[str, _Windows], predicted: Mapping[str, Array]) -> float:
    """RMS error, averaged over the windows of a subject, then over subjects and muscles."""
    errors = []
    for target, data in muscles.items():
        error = cycle_errors(np.maximum(predicted[target], 0), data.y)
        errors += [error[data.subjects == subject].mean() for subject in np.unique(data.subjects)]
    return float(np.nanmean(errors))


def _fit(
    moments: Mapping[str, _Moments], factors: Sequence[float], whole: bool
) -> dict[float, dict[str, tuple[LinearPart, Array]]]:
    """Fit all targets with given penalties: the weights and the constant, by factor and target."""
    samples = next(iter(moments.values())).samples
    reach = max(1, round(LAG_REACH * samples))
    lags = _lag_matrices(samples, reach, periodic=whole)
    with_shape = whole and all(data.own_input is not None for data in moments.values())
    views = [False, True] if with_shape else [False]
    found: dict[float, dict[str, tuple[LinearPart, Array]]] = {}
    for factor in factors:
        shared = [np.tensordot(_shared_filter(moments, as_shape, lags, factor), lags, axes=1) for as_shape in views]
        found[factor] = {target: _fit_target(data, views, shared, factor) for target, data in moments.items()}
    return found


def _fit_target(
    data: _Moments, views: Sequence[bool], shared: Sequence[Array], factor: float
) -> tuple[LinearPart, Array]:
    samples = data.samples
    activation = np.zeros((data.inputs, samples, samples), np.float32)
    part = LinearPart(activation, np.zeros((samples, samples), np.float32), data.own_input)
    share = 1 / len(views)
    left_over = []
    for as_shape, lag_filter in zip(views, shared, strict=True):
        own_columns = data.own(as_shape)
        gram, right = data.small[own_columns, own_columns], data.small[own_columns, data.emg]
        penalty = factor * OWN_PENALTY * np.eye(samples)
        own = lag_filter + np.linalg.solve(gram + penalty, right - gram @ lag_filter)
        if as_shape:
            part.shape[:] += share * own
        elif data.own_input is not None:
            part.activation[data.own_input] += share * own
        left_over.append(data.cross[:, data.emg] - data.cross[:, own_columns] @ own)
    if data.inputs > 1:
        # Both views are solved with the same matrix.
        rest = share * data.solve_large(sum(left_over[1:], left_over[0]), factor * ALL_PENALTY)
        part.activation[:] += rest.reshape(samples, data.inputs, samples).transpose(1, 0, 2)
    mean_x = data.mean_large.reshape(samples, data.inputs)
    constant = data.mean_small[data.emg] - np.einsum("si,ist->t", mean_x, part.activation.astype(np.float64))
    if data.own_input is not None:
        constant -= data.mean_small[data.own(True)] @ part.shape.astype(np.float64)
    return part, constant


def _lag_matrices(samples: int, reach: int, periodic: bool) -> Array:
    """One matrix (from sample, to sample) per lag; the last sample of a whole cycle is the first of the next."""
    lags = np.zeros((2 * reach + 1, samples, samples))
    to = np.arange(samples)
    for k, lag in enumerate(range(-reach, reach + 1)):
        source = (to - lag) % (samples - 1) if periodic else np.clip(to - lag, 0, samples - 1)
        lags[k, source, to] = 1
    return lags


def _shared_filter(moments: Mapping[str, _Moments], as_shape: bool, lags: Array, factor: float) -> Array:
    """Fit the weights of the lags that all muscles share; a muscle counts as often as it has subjects."""
    gram = factor * LAG_PENALTY * np.eye(len(lags))
    right = np.zeros(len(lags))
    flat = lags.reshape(len(lags), -1)
    for data in moments.values():
        if data.subjects < 2:
            # Of one subject only the noise about their mean cycle is known.
            continue
        own = data.own(as_shape)
        gram += data.subjects * flat @ (data.small[own, own] @ lags).reshape(len(lags), -1).T
        right += data.subjects * flat @ data.small[own, data.emg].ravel()
    return np.asarray(np.linalg.solve(gram, right), dtype=np.float64)
