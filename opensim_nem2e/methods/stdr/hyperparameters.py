"""The options of STDR-Net and their presets: the one place where its hyper-parameters are stated.

The preset ``paper`` has the settings of the NEM2E paper (section 3.2.1: 700 hidden units, 700 epochs, batch size 1);
where the paper is silent (learning rate, score function, decoder input) it has the usual choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from ...options import Options, option


@dataclass(frozen=True)
class STDROptions(Options):
    """How STDR-Net is built and trained."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "paper": {
                "hidden_units": 700,
                "network_output": "emg",
                "correction_weight": 1.0,
                "epochs": 700,
                "batch_size": 1,
                "learning_rate": 0.001,
            },
            "fast": {},
        }
    )

    preset: str = option(
        "fast",
        "Where the settings below that are left empty come from. paper: as in the NEM2E paper; a network takes hours. "
        "fast: small networks for few subjects; a network takes seconds.",
        choices=("paper", "fast"),
    )
    hidden_units: int = option(16, "Units of the encoder and of the decoder.", bounds="[1, 10000]")
    score_function: Literal["general", "dot"] = option(
        "general", "How attention compares decoder and encoder states (Luong 2015). The paper does not say which."
    )
    network_output: Literal["emg", "deviation", "correction"] = option(
        "correction",
        "What the network puts out. emg: the EMG itself (the paper). deviation: the deviation from the mean EMG "
        "cycle of the training data, scaled by its standard deviation. correction: the residual of a linear "
        "prediction from the same input, which is fitted first, with every subject left out in turn; the least error "
        "on subjects who were not seen, where there are few to learn from.",
    )
    correction_weight: float = option(
        0.25,
        "For <network_output> correction: the share of the network's residual that is added to the linear "
        "prediction. What is learned from few subjects holds for others only in part.",
        bounds="(0, 1]",
    )
    profiles: Literal["beside", "none"] = option(
        "beside",
        "For <network_output> correction: whether EMG profiles by motion and age group stand beside the network. "
        "beside: it starts from them and is mixed with them; where the mixture is no nearer to the EMG of training "
        "laboratories that were left out (subjects, where there is one laboratory), the profile alone is used for "
        "that muscle and motion. none: the network alone.",
    )
    teacher_forcing: float = option(
        1.0,
        "Share of the training steps in which the decoder is fed the measured EMG of the sample before; in the "
        "others it is fed its own output, as it is when refining, which takes two to four times as long. The paper "
        "does not say.",
        bounds="[0, 1]",
    )
    epochs: int = option(20, "Passes through the training data.", bounds="[1, 10000000]")
    batch_size: int = option(16, "Windows per training step.", bounds="[1, 1000000]")
    learning_rate: float = option(
        0.003,
        "Step size of the Adam algorithm. The paper does not say; this is the value of the paper on Adam.",
        bounds="(0, 1]",
    )
    weight_decay: float = option(0.0, "L2 penalty of the Adam algorithm. 0: none.", bounds="[0, 1000]")
    gradient_clip: float = option(0.0, "Largest norm of a step's gradient. 0: not limited.", bounds="[0, 1000000]")
    early_stopping_patience: int = option(
        0,
        "Early stopping: networks are first trained without one subject (chosen by the seed) until the error on this "
        "subject has not improved for this number of epochs, and then anew on all subjects for the number of epochs "
        "that was best. 0: train on all subjects for all epochs.",
        bounds="[0, 10000000]",
    )
