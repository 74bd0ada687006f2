"""The options of STDR-Net and their presets: the one place where its hyper-parameters are stated.

The preset ``paper`` has the settings of the NEM2E paper (section 3.2.1: 700 hidden units, 700 epochs, batch size 1);
where the paper is silent (learning rate, score function, decoder input) it has the usual choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..base import Preset
from .forward import Score

Output = Literal["emg", "deviation", "correction"]


@dataclass(frozen=True)
class STDROptions:
    """How STDR-Net is built and trained.

    Parameters
    ----------
    hidden_units : int
        Units of the encoder and of the decoder.
    score_function : {'general', 'dot'}
        How attention compares decoder and encoder states (Luong 2015).
    network_output : {'emg', 'deviation', 'correction'}
        What the network's output means: the EMG itself (the paper); its deviation from the mean EMG window of the
        training data in units of that deviation's standard deviation (the mean window is the mean cycle, or for
        One-Quarter the mean of all quarters); or the residual of a linear prediction
        (:mod:`opensim_nem2e.methods.stdr.fit_linear`), in units of the standard deviation of the error which that
        prediction makes for subjects it was not fitted to.
    correction_weight : float
        The share of the network's residual that is added to the linear prediction. Less than 1 because what a network
        learns from few subjects holds for others only in part.
    teacher_forcing : float
        Share of the training steps in which the decoder is fed the measured EMG of the sample before.
    epochs, batch_size, learning_rate, weight_decay, gradient_clip, early_stopping_patience
        As in :class:`opensim_nem2e.training.task.TrainingSettings`.
    """

    hidden_units: int = 16
    score_function: Score = "general"
    network_output: Output = "correction"
    correction_weight: float = 0.25
    teacher_forcing: float = 1.0
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 0.003
    weight_decay: float = 0.0
    gradient_clip: float = 0.0
    early_stopping_patience: int = 0


PRESETS = MappingProxyType(
    {
        "fast": Preset("small networks for few subjects; a network takes seconds", STDROptions()),
        "paper": Preset(
            "as in the NEM2E paper; a network takes hours",
            STDROptions(
                hidden_units=700,
                network_output="emg",
                correction_weight=1.0,
                epochs=700,
                batch_size=1,
                learning_rate=0.001,
            ),
        ),
    }
)
