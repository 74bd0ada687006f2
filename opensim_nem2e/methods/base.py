"""What the package asks of everything that estimates muscle activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: What a method's output is: EMG relative to its maximum, activation or excitation, each 0..1.
Quantity = Literal["emg", "activation", "excitation"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a method says of one muscle in some gait cycles.

    Parameters
    ----------
    values : numpy.ndarray, shape (cycles, cycle_samples)
        The estimate at evenly spaced samples of each cycle, both ends included. It may leave 0..1.
    attention : numpy.ndarray, shape (cycles, cycle_samples, steps), or None
        Weights of the inputs' steps at each sample, each row summing to 1; None where the method has none.
    low, high : numpy.ndarray, shape (cycles, cycle_samples), or None
        Band of the estimate; None where the method has none.
    """

    values: Array
    attention: Array | None = None
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True)
class Provenance:
    """Where an estimate comes from.

    Parameters
    ----------
    method : str
        The method's key.
    label : str
        What it is called in figures and logs.
    bundle : str
        The bundle's name; empty without one.
    path : pathlib.Path or None
        The bundle's file.
    sha256 : str
        Its hash, if known.
    package_version : str
        The version of this package that made the estimate.
    validation : mapping
        Errors on subjects that the method was not trained on, by way of estimating them and by muscle.
    calibration : mapping or None
        For whom it was calibrated, and the errors on strides left out of that.
    """

    method: str
    label: str
    bundle: str = ""
    path: Path | None = None
    sha256: str = ""
    package_version: str = ""
    validation: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None

    @property
    def source(self) -> str:
        """The method and its bundle in a few words."""
        return f"{self.label} ({self.bundle})" if self.bundle else self.label


class Predictor(Protocol):
    """A trained method, ready to be applied."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Standard names of the muscles that it estimates."""

    @property
    def cycle_samples(self) -> int:
        """Evenly spaced samples, both ends included, at which it takes and gives a gait cycle."""

    @property
    def quantity(self) -> Quantity:
        """What its estimates are."""

    @property
    def provenance(self) -> Provenance:
        """Where its estimates come from."""

    def inputs(self, target: str) -> tuple[str, ...]:
        """Name what a target's estimate is made from: ``ipsi:soleus``, ``contra:soleus``, ..."""

    def predict(self, target: str, x: Array) -> Prediction:
        """Estimate a target from activations, shape (cycles, cycle_samples, inputs)."""

    def attention_steps(self, target: str) -> tuple[str, ...]:
        """Name the steps of the attention: inputs, or ``sample_01``, ...; empty where there is none."""
