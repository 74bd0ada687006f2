"""What a network has to beat: the mean EMG of the training cycles, a pure time shift, and ridge regression.

A network that does not beat the mean profile has only learned the average waveform; one that does not beat the shift
has only learned a delay. Whatever a baseline chooses, it chooses on its training subjects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..data.gait_cycles import TargetData
from ..signals.compare import LAGS, cycle_errors, shift_cycles
from .stdr.conditions import Condition, join_cycle, split_cycle

Array = NDArray[np.float64]

#: Penalties that ridge regression chooses from.
PENALTIES: tuple[float, ...] = tuple(10.0 ** (k / 2) for k in range(-4, 9))
#: The penalty where there are not two training subjects to choose it by.
DEFAULT_PENALTY = 1.0


def mean_profile(y: Array) -> Array:
    """Average the EMG of the training cycles: a guess that is blind to the input.

    Parameters
    ----------
    y : ndarray, shape (cycles, samples)
        EMG of the training cycles.

    Returns
    -------
    ndarray, shape (samples,)
        The mean cycle.
    """
    return y.mean(axis=0)


def ridge(x: Array, y: Array, x_new: Array, penalty: float = DEFAULT_PENALTY) -> Array:
    """Predict EMG by ridge regression from all samples of the activation to all samples of the EMG.

    Minimises ``|y - b - x W|^2 + penalty |W|^2``; the intercept b is not penalised.

    Parameters
    ----------
    x : ndarray, shape (cycles, features)
        Activations of the training cycles.
    y : ndarray, shape (cycles, samples)
        EMG of the training cycles.
    x_new : ndarray, shape (new cycles, features)
        Activations to predict from.
    penalty : float
        The penalty; positive.

    Returns
    -------
    ndarray, shape (new cycles, samples)
        Predicted EMG.
    """
    return _RidgePath(x, y).predict(x_new, penalty)


class _RidgePath:
    """Ridge regression for any number of penalties, by one eigendecomposition of the cycles' products.

    All-Entire has far more features (samples of all muscles) than cycles, so the system is solved among the cycles:
    ``W = x' (x x' + penalty)^-1 y`` is the same minimum.
    """

    def __init__(self, x: Array, y: Array):
        self.centre, self.mean = x.mean(axis=0), y.mean(axis=0)
        self.away = x - self.centre
        values, self.vectors = np.linalg.eigh(self.away @ self.away.T)
        self.values = np.maximum(values, 0.0)
        self.projected = self.vectors.T @ (y - self.mean)

    def predict(self, x_new: Array, penalty: float) -> Array:
        dual = self.vectors @ (self.projected / (self.values + penalty)[:, None])
        return self.mean + (x_new - self.centre) @ (self.away.T @ dual)


class Baseline(ABC):
    """Something cheap, fitted to the training cycles of one target muscle."""

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, float]:
        """What was chosen on the training cycles, by name."""

    @property
    @abstractmethod
    def evidence(self) -> Array:
        """Every number that the choice rests on, so that a leak shows even where the choice stays the same."""

    @abstractmethod
    def estimate(self, data: TargetData) -> Array:
        """Estimate the EMG of other cycles.

        Parameters
        ----------
        data : TargetData
            The cycles; their EMG is not looked at.

        Returns
        -------
        ndarray, shape (cycles, cycle_samples)
            The estimate.
        """


@dataclass(frozen=True)
class MeanProfile(Baseline):
    """The mean EMG cycle of the training cycles.

    Parameters
    ----------
    profile : ndarray, shape (cycle_samples,)
        The mean cycle.
    """

    profile: Array = field(repr=False)

    @classmethod
    def fit(cls, train: TargetData) -> MeanProfile:
        """Average the training cycles.

        Parameters
        ----------
        train : TargetData
            The training cycles.

        Returns
        -------
        MeanProfile
            The profile.
        """
        return cls(mean_profile(train.y))

    @property
    def parameters(self) -> Mapping[str, float]:
        """Nothing was chosen."""
        return {}

    @property
    def evidence(self) -> Array:
        """The profile."""
        return self.profile

    def estimate(self, data: TargetData) -> Array:
        """Give every cycle the same profile.

        Parameters
        ----------
        data : TargetData
            The cycles.

        Returns
        -------
        ndarray, shape (cycles, cycle_samples)
            The profile, repeated.
        """
        return np.tile(self.profile, (len(data.y), 1))


@dataclass(frozen=True)
class Shift(Baseline):
    """OpenSim's own activation, later by a fixed fraction of the cycle.

    Parameters
    ----------
    lag : float
        Fraction of the cycle (-0.5..0.5); positive: later.
    errors : ndarray, shape (lags,)
        The training error at each of :data:`opensim_nem2e.signals.compare.LAGS`.
    """

    lag: float
    errors: Array = field(repr=False)

    @classmethod
    def fit(cls, train: TargetData) -> Shift:
        """Take the lag with the least training error E: mean over each subject's cycles, then over subjects.

        Parameters
        ----------
        train : TargetData
            The training cycles.

        Returns
        -------
        Shift
            The shift.
        """
        errors = [_mean_error(shift_cycles(train.own, lag), train) for lag in LAGS.tolist()]
        return cls(float(LAGS[int(np.argmin(errors))]), np.array(errors))

    @property
    def parameters(self) -> Mapping[str, float]:
        """The lag, as a fraction of the cycle."""
        return {"lag": self.lag}

    @property
    def evidence(self) -> Array:
        """The training errors of all lags."""
        return self.errors

    def estimate(self, data: TargetData) -> Array:
        """Move OpenSim's activations.

        Parameters
        ----------
        data : TargetData
            The cycles.

        Returns
        -------
        ndarray, shape (cycles, cycle_samples)
            The moved activations.
        """
        return shift_cycles(data.own, self.lag)


@dataclass(frozen=True)
class Ridge(Baseline):
    """Ridge regression on the very input of the network: its windows of activations, for All-Entire of all muscles.

    Parameters
    ----------
    penalty : float
        The penalty.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        What the input is.
    samples : int
        Samples of one window.
    errors : ndarray, shape (penalties,)
        The error on left-out training subjects for each of :data:`PENALTIES`; zeros where there was no choice.
    path : object
        The solved system.
    """

    penalty: float
    condition: Condition
    samples: int
    errors: Array = field(repr=False)
    path: _RidgePath = field(repr=False)

    @classmethod
    def fit(cls, train: TargetData, condition: Condition, samples: int) -> Ridge:
        """Choose the penalty by leaving out each training subject in turn, then fit to all of them.

        Parameters
        ----------
        train : TargetData
            The training cycles. With one subject only, the penalty is 1.
        condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
            What the input is.
        samples : int
            Samples of one window.

        Returns
        -------
        Ridge
            The regression.
        """
        errors = np.zeros(len(PENALTIES))
        if len(set(train.subjects.tolist())) < 2:
            return cls(DEFAULT_PENALTY, condition, samples, errors, cls._solve(train, condition, samples))
        for _, others, one in train.folds():
            inner = cls(DEFAULT_PENALTY, condition, samples, errors, cls._solve(others, condition, samples))
            errors += [_mean_error(inner._estimate(one, penalty), one) for penalty in PENALTIES]
        penalty = PENALTIES[int(np.argmin(errors))]
        return cls(penalty, condition, samples, errors, cls._solve(train, condition, samples))

    @staticmethod
    def _solve(train: TargetData, condition: Condition, samples: int) -> _RidgePath:
        x, y = (split_cycle(values, condition, samples) for values in (train.x, train.y))
        return _RidgePath(x.reshape(len(x), -1), y)

    def _estimate(self, data: TargetData, penalty: float) -> Array:
        x = split_cycle(data.x, self.condition, self.samples)
        return join_cycle(self.path.predict(x.reshape(len(x), -1), penalty), self.condition)

    @property
    def parameters(self) -> Mapping[str, float]:
        """The penalty."""
        return {"penalty": self.penalty}

    @property
    def evidence(self) -> Array:
        """The inner errors of all penalties, and the solved system."""
        path = self.path
        parts = (self.errors, path.centre, path.mean, path.values, path.projected)
        return np.concatenate([part.ravel() for part in parts])

    def estimate(self, data: TargetData) -> Array:
        """Predict EMG.

        Parameters
        ----------
        data : TargetData
            The cycles.

        Returns
        -------
        ndarray, shape (cycles, cycle_samples)
            The prediction.
        """
        return self._estimate(data, self.penalty)


#: How each baseline is fitted: training cycles, condition, samples of a window.
BASELINES: dict[str, Callable[[TargetData, Condition, int], Baseline]] = {
    "mean": lambda train, condition, samples: MeanProfile.fit(train),
    "shift": lambda train, condition, samples: Shift.fit(train),
    "ridge": Ridge.fit,
}


def _mean_error(estimate: Array, data: TargetData) -> float:
    """E on the cycles' own grid: mean over each subject's cycles, then over subjects."""
    errors = cycle_errors(estimate, data.y)
    means = [errors[data.subjects == subject].mean() for subject in dict.fromkeys(data.subjects.tolist())]
    return float(np.mean(means))
