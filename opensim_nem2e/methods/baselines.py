"""What any method has to beat: the simulation itself, the mean EMG profile, a pure time shift, and ridge regression.

A method that does not beat the mean profile has only learned the average waveform; one that does not beat the shift has
only learned a delay. Whatever a baseline chooses, it chooses on its training subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.cycle_view import CycleView
from ..errors import BundleError
from .base import (
    Common,
    Fitted,
    Method,
    NoOptions,
    Plan,
    Prediction,
    Requirements,
    RunSettings,
    check_arrays,
    muscle_cycles,
)

if TYPE_CHECKING:
    from ..data.gait_cycles import MuscleCycles
    from ..data.samples import Samples

Array = NDArray[np.float64]

#: Penalties that ridge regression chooses from.
PENALTIES: tuple[float, ...] = tuple(10.0 ** (k / 2) for k in range(-4, 9))
#: The penalty where there are not two training subjects to choose it by.
DEFAULT_PENALTY = 1.0


class Simulation(Method):
    """The simulation as it is: the estimate is the activation itself."""

    key = "opensim"
    label = "OpenSim"
    description = "the simulation's own activation"
    colour = "#0072B2"
    marker = "s"
    requires = Requirements(targets=())

    def plan(
        self,
        samples: Samples,
        part: str,
        view: CycleView,
        options: NoOptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Learn nothing."""
        fitted = FittedShift((f"ipsi:{part}",), 0.0)
        return Plan(lambda trained: fitted, {})

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Fitted:
        """See that there are no arrays."""
        check_arrays(part, arrays, {})
        return FittedShift((f"ipsi:{part}",), 0.0)


class MeanProfile(Method):
    """The mean EMG cycle of the training cycles: a guess that is blind to the input."""

    key = "mean"
    label = "mean EMG profile"
    description = "mean training EMG profile"
    colour = "#009E73"
    marker = "^"

    def plan(
        self,
        samples: Samples,
        part: str,
        view: CycleView,
        options: NoOptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Average the training cycles."""
        fitted = FittedProfile((f"ipsi:{part}",), mean_profile(muscle_cycles(samples, part, view).y))
        return Plan(lambda trained: fitted, {"profile": fitted.profile})

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Fitted:
        """Check the profile's length."""
        check_arrays(part, arrays, {"profile": (view.cycle_samples,)}, "float64")
        return FittedProfile((f"ipsi:{part}",), arrays["profile"])


@dataclass(frozen=True)
class FittedProfile:
    """A mean EMG cycle.

    Parameters
    ----------
    inputs : tuple of str
        The muscle itself; its activation is not looked at.
    profile : ndarray, shape (cycle_samples,)
        The mean cycle.
    """

    inputs: tuple[str, ...]
    profile: Array = field(repr=False)
    chosen: Mapping[str, float] = field(default_factory=dict, init=False)
    attention_steps: tuple[str, ...] = field(default=(), init=False)

    def predict(self, inputs: Mapping[str, Array]) -> Prediction:
        """Give every cycle the same profile."""
        count = len(inputs["activation"])
        return Prediction(np.tile(self.profile, (count, 1)), origins=("profile",) * count)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the profile."""
        return {"profile": self.profile}

    def description(self) -> dict[str, Any]:
        """Return nothing: the profile says all."""
        return {}


class TimeShift(Method):
    """OpenSim's own activation, later by the fraction of the cycle that fits the training cycles best."""

    key = "shift"
    label = "time shift"
    description = "time shift learned on the training cycles"
    colour = "#CC79A7"
    marker = "v"

    def plan(
        self,
        samples: Samples,
        part: str,
        view: CycleView,
        options: NoOptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Take the lag with the least training error E: mean over each subject's cycles, then over subjects."""
        from ..signals.compare import LAGS, shift_cycles

        train = muscle_cycles(samples, part, view)
        errors = np.array([mean_error(shift_cycles(train.own, lag), train) for lag in LAGS.tolist()])
        fitted = FittedShift((f"ipsi:{part}",), float(LAGS[int(np.argmin(errors))]))
        return Plan(lambda trained: fitted, {"errors of all lags": errors})

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Fitted:
        """Check the lag."""
        check_arrays(part, arrays, {})
        return FittedShift((f"ipsi:{part}",), _number(part, description, "lag", -0.5, 0.5))


@dataclass(frozen=True)
class FittedShift:
    """A time shift.

    Parameters
    ----------
    inputs : tuple of str
        The muscle itself.
    lag : float
        Fraction of the cycle (-0.5..0.5); positive: later.
    """

    inputs: tuple[str, ...]
    lag: float
    attention_steps: tuple[str, ...] = field(default=(), init=False)

    @property
    def chosen(self) -> Mapping[str, float]:
        """The lag, as a fraction of the cycle."""
        return {"lag": self.lag}

    def predict(self, inputs: Mapping[str, Array]) -> Prediction:
        """Move the activations."""
        from ..signals.compare import shift_cycles

        own = inputs["activation"][:, :, 0]
        return Prediction(shift_cycles(own, self.lag) if self.lag else own, origins=("simulation",) * len(own))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return nothing: the lag says all."""
        return {}

    def description(self) -> dict[str, Any]:
        """Return the lag."""
        return {"lag": self.lag}


class RidgeRegression(Method):
    """Ridge regression from all samples of the input to all samples of the EMG; it chooses its penalty itself.

    The input is that of the network beside it: windows of activations, for All-Entire of all muscles.
    """

    key = "ridge"
    label = "ridge regression"
    description = "ridge regression on the same input"
    colour = "#E69F00"
    marker = "D"

    def plan(
        self,
        samples: Samples,
        part: str,
        view: CycleView,
        options: NoOptions,
        run: RunSettings,
        common: Common | None = None,
    ) -> Plan:
        """Choose the penalty by leaving out each training subject in turn, then fit to all of them."""
        train = muscle_cycles(samples, part, view)
        errors = np.zeros(len(PENALTIES))
        penalty = DEFAULT_PENALTY
        if len(set(train.subjects.tolist())) > 1:
            for _, others, one in train.folds():
                path = _path(others, view)
                x = _features(one.x, view)
                errors += [mean_error(view.join(path.predict(x, tried)), one) for tried in PENALTIES]
            penalty = PENALTIES[int(np.argmin(errors))]
        path = _path(train, view)
        fitted = FittedRidge(train.inputs, view, penalty, path.centre, path.mean, path.weights(penalty))
        evidence = {"inner errors": errors, "weights": np.concatenate([path.centre, path.mean, fitted.weights.ravel()])}
        return Plan(lambda trained: fitted, evidence)

    def load(
        self, part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
    ) -> Fitted:
        """Check the penalty, and the arrays against the view."""
        inputs = view.inputs_of(part)
        features = len(inputs) * view.samples
        expected = {"centre": (features,), "mean": (view.samples,), "weights": (features, view.samples)}
        check_arrays(part, arrays, expected, "float64")
        penalty = _number(part, description, "penalty", 0.0, np.inf)
        return FittedRidge(inputs, view, penalty, arrays["centre"], arrays["mean"], arrays["weights"])


@dataclass(frozen=True)
class FittedRidge:
    """Weights of a ridge regression.

    Parameters
    ----------
    inputs : tuple of str
        The input muscles.
    view : CycleView
        How cycles are cut into windows.
    penalty : float
        What was chosen.
    centre : ndarray, shape (features,)
        Mean of the training windows; a window's samples follow each other, each with all inputs.
    mean : ndarray, shape (samples,)
        Mean EMG of the training windows.
    weights : ndarray, shape (features, samples)
        From features to EMG.
    """

    inputs: tuple[str, ...]
    view: CycleView
    penalty: float
    centre: Array = field(repr=False)
    mean: Array = field(repr=False)
    weights: Array = field(repr=False)
    attention_steps: tuple[str, ...] = field(default=(), init=False)

    @property
    def chosen(self) -> Mapping[str, float]:
        """The penalty."""
        return {"penalty": self.penalty}

    def predict(self, inputs: Mapping[str, Array]) -> Prediction:
        """Predict EMG."""
        x = _features(inputs["activation"], self.view)
        values = self.view.join(self.mean + (x - self.centre) @ self.weights)
        return Prediction(values, origins=("regression",) * len(values))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return centre, mean and weights."""
        return {"centre": self.centre, "mean": self.mean, "weights": self.weights}

    def description(self) -> dict[str, Any]:
        """Return the penalty."""
        return {"penalty": self.penalty}


class RidgePath:
    """Ridge regression for any number of penalties, by one eigendecomposition of the cycles' products.

    Minimises ``|y - b - x W|^2 + penalty |W|^2``; the intercept b is not penalised. All-Entire has far more features
    (samples of all muscles) than cycles, so the system is solved among the cycles:
    ``W = x' (x x' + penalty)^-1 y`` is the same minimum.

    Parameters
    ----------
    x : ndarray, shape (cycles, features)
        Activations of the training cycles.
    y : ndarray, shape (cycles, samples)
        EMG of the training cycles.
    """

    def __init__(self, x: Array, y: Array):
        self.centre, self.mean = x.mean(axis=0), y.mean(axis=0)
        self._away = x - self.centre
        values, self._vectors = np.linalg.eigh(self._away @ self._away.T)
        self._values = np.maximum(values, 0.0)
        self._projected = self._vectors.T @ (y - self.mean)

    def weights(self, penalty: float) -> Array:
        """Solve for one penalty.

        Parameters
        ----------
        penalty : float
            The penalty; positive.

        Returns
        -------
        ndarray, shape (features, samples)
            W.
        """
        dual = self._vectors @ (self._projected / (self._values + penalty)[:, None])
        return np.asarray(self._away.T @ dual)

    def predict(self, x: Array, penalty: float) -> Array:
        """Predict with one penalty.

        Parameters
        ----------
        x : ndarray, shape (cycles, features)
            Activations to predict from.
        penalty : float
            The penalty; positive.

        Returns
        -------
        ndarray, shape (cycles, samples)
            Predicted EMG.
        """
        return np.asarray(self.mean + (x - self.centre) @ self.weights(penalty))


def mean_profile(y: Array) -> Array:
    """Average the EMG of the training cycles.

    Parameters
    ----------
    y : ndarray, shape (cycles, samples)
        EMG of the training cycles.

    Returns
    -------
    ndarray, shape (samples,)
        The mean cycle.
    """
    return np.asarray(y.mean(axis=0))


def mean_error(estimate: Array, cycles: MuscleCycles) -> float:
    """Take E on the cycles' own grid: mean over each subject's cycles, then over subjects.

    Parameters
    ----------
    estimate : ndarray, shape (cycles, cycle_samples)
        What is judged.
    cycles : MuscleCycles
        With the measured EMG.

    Returns
    -------
    float
        The error.
    """
    from ..signals.compare import cycle_errors

    errors = cycle_errors(estimate, cycles.y)
    means = [errors[cycles.subjects == subject].mean() for subject in dict.fromkeys(cycles.subjects.tolist())]
    return float(np.mean(means))


def _features(x: Array, view: CycleView) -> Array:
    windows = view.split(x)
    return windows.reshape(len(windows), -1)


def _path(train: MuscleCycles, view: CycleView) -> RidgePath:
    return RidgePath(_features(train.x, view), view.split(train.y))


def _number(part: str, description: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = description.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BundleError(f"'{name}' of '{part}' must be a number from {low:g} to {high:g}; found {value!r}")
    return float(value)
