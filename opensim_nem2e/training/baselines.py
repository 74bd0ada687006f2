"""What a network has to beat: the mean EMG of the training cycles, and ridge regression.

A network that does not beat the mean profile has only learned the average waveform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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


def ridge(x: Array, y: Array, x_new: Array, penalty: float = 1.0) -> Array:
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
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    away = x - centre
    weights = np.linalg.solve(away.T @ away + penalty * np.eye(x.shape[1]), away.T @ (y - mean))
    return mean + (x_new - centre) @ weights
