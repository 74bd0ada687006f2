"""What an estimator sees of a gait cycle: the three input conditions of the NEM2E paper and their windows.

=============  =======================================================  ==================
condition      what the estimator sees                                  samples of a cycle
=============  =======================================================  ==================
One-Quarter    a quarter of the gait cycle of the target muscle         77 = 4 x 19 + 1
One-Entire     the entire cycle of the target muscle                    20
All-Entire     the entire cycle of all muscles                          20
=============  =======================================================  ==================

A window always has 20 samples (by default), evenly spaced and including both ends. For One-Quarter four windows cover
the cycle and neighbours share their border sample, so the cycle is sampled at ``linspace(0, 1, 77)``; every fourth of
these is a sample of the 20-sample grid, on which the paper's error is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Condition = Literal["One-Quarter", "One-Entire", "All-Entire"]

Float = TypeVar("Float", bound=np.floating)

CONDITIONS: tuple[Condition, ...] = get_args(Condition)

#: Number of windows that make up a cycle in the One-Quarter condition.
QUARTERS = 4


@dataclass(frozen=True)
class CycleView:
    """How gait cycles are shown to an estimator of one muscle.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    samples : int
        Samples of one window.
    input_muscles : tuple of str
        All-Entire: side-neutral names of the input muscles, in order. Empty for the other conditions, whose input is
        the target muscle itself.
    """

    condition: Condition = "One-Entire"
    samples: int = 20
    input_muscles: tuple[str, ...] = ()

    @property
    def windows(self) -> int:
        """Windows that make up a cycle."""
        return windows_per_cycle(self.condition)

    @property
    def cycle_samples(self) -> int:
        """Evenly spaced samples, both ends included, at which a cycle is taken."""
        return cycle_samples(self.condition, self.samples)

    def inputs_of(self, muscle: str) -> tuple[str, ...]:
        """Name the muscles whose activations an estimator of a muscle is given.

        Parameters
        ----------
        muscle : str
            Standard name of the target muscle.

        Returns
        -------
        tuple of str
            Such as ``ipsi:soleus``.
        """
        return self.input_muscles or (f"ipsi:{muscle}",)

    def split(self, values: NDArray[Float]) -> NDArray[Float]:
        """Cut cycles into windows (:func:`split_cycle`).

        Parameters
        ----------
        values : ndarray, shape (cycles, cycle_samples, ...)
            Cycles on their even grid.

        Returns
        -------
        ndarray, shape (cycles * windows, samples, ...)
            The windows, those of one cycle following each other.
        """
        return split_cycle(values, self.condition, self.samples)

    def join(self, values: NDArray[Float]) -> NDArray[Float]:
        """Put windows together again (:func:`join_cycle`).

        Parameters
        ----------
        values : ndarray, shape (cycles * windows, samples, ...)
            What belongs to each window sample.

        Returns
        -------
        ndarray, shape (cycles, cycle_samples, ...)
            The cycles.
        """
        return join_cycle(values, self.condition)

    def on_grid(self, values: NDArray[Float]) -> NDArray[Float]:
        """Keep the samples on which the paper's error is taken.

        Parameters
        ----------
        values : ndarray, shape (cycles, cycle_samples)
            Cycles on their even grid.

        Returns
        -------
        ndarray, shape (cycles, samples)
            Every sample, or for One-Quarter every fourth.
        """
        return values[:, :: self.windows]


def windows_per_cycle(condition: Condition) -> int:
    """Count the windows in one gait cycle.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.

    Returns
    -------
    int
        4 for One-Quarter, else 1.
    """
    return QUARTERS if condition == "One-Quarter" else 1


def cycle_samples(condition: Condition, samples: int = 20) -> int:
    """Count the evenly spaced samples at which a whole gait cycle is taken.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    samples : int
        Samples of one window.

    Returns
    -------
    int
        The number of points of ``linspace(start, end, n)``; quarters share their border samples.
    """
    return windows_per_cycle(condition) * (samples - 1) + 1


def split_cycle(values: NDArray[Float], condition: Condition, samples: int = 20) -> NDArray[Float]:
    """Cut whole cycles into the windows that an estimator of this condition takes.

    Parameters
    ----------
    values : ndarray, shape (cycles, cycle_samples, ...)
        Cycles on their even grid.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    samples : int
        Samples of one window.

    Returns
    -------
    ndarray, shape (cycles * windows, samples, ...)
        The windows, those of one cycle following each other.
    """
    step = samples - 1
    parts = [values[:, k * step : k * step + samples] for k in range(windows_per_cycle(condition))]
    return np.stack(parts, axis=1).reshape(-1, samples, *values.shape[2:])


def join_cycle(values: NDArray[Float], condition: Condition) -> NDArray[Float]:
    """Put the windows of a cycle together again; the inverse of :func:`split_cycle`.

    Parameters
    ----------
    values : ndarray, shape (cycles * windows, samples, ...)
        What belongs to each window sample.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.

    Returns
    -------
    ndarray, shape (cycles, cycle_samples, ...)
        The cycles. Where two quarters share a sample, their mean is taken.
    """
    count = windows_per_cycle(condition)
    samples = values.shape[1]
    windows = values.reshape(-1, count, *values.shape[1:])
    step = samples - 1
    whole = np.zeros((windows.shape[0], count * step + 1, *values.shape[2:]), dtype=values.dtype)
    for k in range(count):
        whole[:, k * step : k * step + samples] += windows[:, k]
    whole[:, step:-1:step] /= 2
    return whole
