"""The linear part of a network: what a weighted sum of the activations says about the EMG.

A network may be the correction of a linear prediction instead of the whole estimate. The linear part then carries what
few subjects can teach (delay, smoothing, shares of other muscles), in parallel with the recurrent network, as in LSTNet
(Lai et al. 2018, SIGIR, pp. 95-104). This module applies it; :mod:`opensim_nem2e.methods.stdr.fit_linear` fits it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A muscle whose activation stays below this within a window is not blown up further to get its shape.
SHAPE_FLOOR = 0.05


@dataclass(frozen=True)
class LinearPart:
    """Weights from the samples of the activations to the samples of the EMG.

    Parameters
    ----------
    activation : ndarray, shape (inputs, samples, samples)
        Weight of each sample (second axis) of each input muscle for each sample (third axis) of the EMG.
    shape : ndarray, shape (samples, samples)
        The same for the shape of the target muscle's own activation (:func:`shape_of`).
    own : int or None
        Which input is the target muscle itself; None: none, and ``shape`` is not used.
    """

    activation: NDArray[np.float32]
    shape: NDArray[np.float32]
    own: int | None

    def predict(self, windows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Sum the weighted activations.

        Parameters
        ----------
        windows : ndarray, shape (windows, samples, inputs)
            Activations as they are.

        Returns
        -------
        ndarray, shape (windows, samples)
            The linear part of the EMG, without its constant.
        """
        inputs, samples, _ = self.activation.shape
        by_input = np.asarray(windows, dtype=np.float64).transpose(0, 2, 1).reshape(-1, inputs * samples)
        found = by_input @ self.activation.reshape(inputs * samples, samples).astype(np.float64)
        if self.own is not None:
            found += shape_of(windows[:, :, self.own]) @ self.shape.astype(np.float64)
        return found

    def scaled(self, factor: float) -> LinearPart:
        """Multiply the prediction.

        Parameters
        ----------
        factor : float
            By what.

        Returns
        -------
        LinearPart
            A copy.
        """
        scale = np.float32(factor)
        return LinearPart(scale * self.activation, scale * self.shape, self.own)


def shape_of(own: NDArray[np.floating]) -> NDArray[np.float64]:
    """Divide each window by its largest activation: what is left does not depend on the model's strength.

    Parameters
    ----------
    own : ndarray, shape (windows, samples)
        Activations of one muscle.

    Returns
    -------
    ndarray, shape (windows, samples)
        At most 1; a window that stays below :data:`SHAPE_FLOOR` is divided by that.
    """
    values = np.asarray(own, dtype=np.float64)
    shapes: np.ndarray = values / np.maximum(values.max(axis=1, keepdims=True), SHAPE_FLOOR)
    return shapes
