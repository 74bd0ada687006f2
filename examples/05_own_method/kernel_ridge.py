"""Kernel ridge regression as a method of opensim_nem2e: one file, one entry point (pyproject.toml beside it).

EMG = mean + sum over training windows of k(window, training window) * weight, with a Gaussian kernel. Its width is the
median distance of training windows; its penalty is chosen by leaving out each training subject in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from opensim_nem2e.methods.base import Method, Plan, Prediction, check_arrays, muscle_cycles
from opensim_nem2e.options import Options, option
from opensim_nem2e.signals.compare import cycle_errors


@dataclass(frozen=True)
class KernelRidgeOptions(Options):
    """How kernel ridge regression is fitted."""

    penalties: tuple[float, ...] = option(
        (0.01, 0.1, 1.0, 10.0), "Penalties to choose from.", bounds="(0, Inf)", required=True
    )
    width_factor: float = option(
        1.0, "Width of the kernel by the median distance of training windows.", bounds="(0, Inf)"
    )


@dataclass(frozen=True)
class FittedKernelRidge:
    """What was learned of one muscle."""

    inputs: tuple[str, ...]
    view: object
    width: float
    penalty: float
    windows: np.ndarray = field(repr=False)  # (training windows, features)
    weights: np.ndarray = field(repr=False)  # (training windows, samples)
    mean: np.ndarray = field(repr=False)  # (samples,)
    attention_steps: tuple[str, ...] = ()

    @property
    def chosen(self):
        return {"penalty": self.penalty, "width": self.width}

    def predict(self, inputs):
        x = features(inputs["activation"], self.view)
        return Prediction(self.view.join(self.mean + kernel(x, self.windows, self.width) @ self.weights))

    def arrays(self):
        return {"windows": self.windows, "weights": self.weights, "mean": self.mean}

    def description(self):
        return {"width": self.width, "penalty": self.penalty}


class KernelRidge(Method):
    """Registered as `kernel_ridge`; its options stand in the element <KernelRidge>."""

    key = "kernel_ridge"
    label = "kernel ridge"
    description = "Gaussian kernel ridge regression on the same input"
    colour = "#7F3C8D"
    marker = "P"
    element = "KernelRidge"
    options = KernelRidgeOptions

    def plan(self, samples, part, view, options, run, common=None):
        train = muscle_cycles(samples, part, view)
        errors = np.zeros(len(options.penalties))
        if len(set(train.subjects.tolist())) > 1:
            for _, others, left_out in train.folds():
                for place, penalty in enumerate(options.penalties):
                    fitted = fit(others, view, options, penalty)
                    values = fitted.predict({"activation": left_out.x}).values
                    errors[place] += cycle_errors(values, left_out.y).mean()
        fitted = fit(train, view, options, options.penalties[int(np.argmin(errors))])
        evidence = {"inner errors": errors, **fitted.arrays(), "width": np.array([fitted.width])}
        return Plan(lambda trained: fitted, evidence)

    def load(self, part, description, arrays, view):
        inputs = view.inputs_of(part)
        count = len(arrays.get("windows", ()))
        shapes = {"windows": (count, view.samples * len(inputs)), "weights": (count, view.samples)}
        check_arrays(part, arrays, {**shapes, "mean": (view.samples,)}, "float64")
        width, penalty = float(description["width"]), float(description["penalty"])
        return FittedKernelRidge(inputs, view, width, penalty, *(arrays[n] for n in ("windows", "weights", "mean")))


def fit(cycles, view, options, penalty):
    """Solve (K + penalty) weights = EMG - mean."""
    x, y = features(cycles.x, view), view.split(cycles.y)
    distances = np.sqrt(squared_distances(x, x))
    width = options.width_factor * float(np.median(distances[np.triu_indices(len(x), 1)])) if len(x) > 1 else 1.0
    width = max(width, 1e-6)
    mean = y.mean(axis=0)
    weights = np.linalg.solve(kernel(x, x, width) + penalty * np.eye(len(x)), y - mean)
    return FittedKernelRidge(cycles.inputs, view, width, penalty, x, weights, mean)


def features(x, view):
    """Turn cycles (cycles, cycle_samples, inputs) into rows (windows, samples * inputs)."""
    windows = view.split(x)
    return windows.reshape(len(windows), -1)


def squared_distances(a, b):
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0.0)


def kernel(a, b, width):
    return np.exp(-squared_distances(a, b) / (2 * width**2))
