"""The three input conditions of the NEM2E paper and the windows they work on.

=============  =======================================================  =========  ==================
condition      what the network sees                                    attention  samples of a cycle
=============  =======================================================  =========  ==================
One-Quarter    a quarter of the gait cycle of the target muscle         temporal   77 = 4 x 19 + 1
One-Entire     the entire cycle of the target muscle                    temporal   20
All-Entire     the entire cycle of all muscles                          spatial    20
=============  =======================================================  =========  ==================

A network's window always has 20 samples (by default), evenly spaced and including both ends. For One-Quarter
four windows cover the cycle and neighbours share their border sample, so the cycle is sampled at
``linspace(0, 1, 77)``; every fourth of these is a sample of the 20-sample grid, on which the paper's error is taken.
"""

from __future__ import annotations

from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Condition = Literal["One-Quarter", "One-Entire", "All-Entire"]
Variant = Literal["temporal", "spatial"]
Score = Literal["dot", "general"]


Float = TypeVar("Float", bound=np.floating)

CONDITIONS: tuple[Condition, ...] = get_args(Condition)
SCORES: tuple[Score, ...] = get_args(Score)

#: Number of windows that make up a cycle in the One-Quarter condition.
QUARTERS = 4


def variant_of(condition: Condition) -> Variant:
    """Tell over what a network of this condition attends.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.

    Returns
    -------
    {'temporal', 'spatial'}
        Over the samples of the target muscle, or over muscles.
    """
    return "spatial" if condition == "All-Entire" else "temporal"


def windows_per_cycle(condition: Condition) -> int:
    """Count the network windows in one gait cycle.

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
        Samples of one network window.

    Returns
    -------
    int
        The number of points of ``linspace(start, end, n)``; quarters share their border samples.
    """
    return windows_per_cycle(condition) * (samples - 1) + 1


def split_cycle(values: NDArray[Float], condition: Condition, samples: int = 20) -> NDArray[Float]:
    """Cut whole cycles into the windows that a network of this condition takes.

    Parameters
    ----------
    values : ndarray, shape (cycles, cycle_samples, ...)
        Cycles on their even grid.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    samples : int
        Samples of one network window.

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
