"""What training takes and gives, without PyTorch: the process that plans and watches a training does not need it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..methods.stdr.conditions import Score, Variant

#: Raised whenever the same data and settings come to give other bits: older checkpoints then no longer fit.
ENGINE_VERSION = 2


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; the paper's values where the paper gives them.

    Parameters
    ----------
    hidden : int
        Units of the encoder and of the decoder.
    score : {'dot', 'general'}
        Luong's score function.
    epochs : int
        Passes through the data.
    batch_size : int
        Windows per step.
    learning_rate : float
        Adam's step size.
    teacher_forcing : float
        Share of the steps in which the decoder is fed the measured EMG (0: always its own output, 1: never).
    weight_decay : float
        Adam's L2 penalty.
    gradient_clip : float
        Largest norm of a step's gradient; 0: not limited.
    patience : int
        Stop when the validation loss has not improved for that many epochs, and keep the best weights; 0: never.
    seed : int
        Of the first weights, the order of the data and the choice of teacher-forced steps.
    threads : int
        Threads PyTorch may use; more than one pays only for large networks, and changes the last bits of the result.
    """

    hidden: int = 700
    score: Score = "general"
    epochs: int = 700
    batch_size: int = 1
    learning_rate: float = 1e-3
    teacher_forcing: float = 1.0
    weight_decay: float = 0.0
    gradient_clip: float = 0.0
    patience: int = 0
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Epoch:
    """What one pass through the data came to.

    Parameters
    ----------
    number : int
        Counted from 1.
    loss : float
        Mean squared error over the pass, as it was trained.
    validation_loss : float or None
        Free-running mean squared error on the validation windows.
    """

    number: int
    loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Parameters
    ----------
    weights : dict of str to ndarray
        32-bit weights by PyTorch's names, for :func:`opensim_nem2e.methods.stdr.forward.run_free`.
    history : tuple of Epoch
        Every epoch that was run.
    best_epoch : int
        The epoch the weights are from.
    """

    weights: dict[str, NDArray[np.float32]]
    history: tuple[Epoch, ...]
    best_epoch: int


@dataclass(frozen=True)
class State:
    """All of a training that is under way: what goes on from it gives the bits that it would have given undisturbed.

    Parameters
    ----------
    arrays : dict of str to ndarray
        ``weights.*``, Adam's ``mean.*``, ``square.*`` and ``adam_steps.*``, the state of the random ``generator``, the
        ``order`` of the windows in the present epoch, ``losses`` and ``held_losses`` of the epochs that are done
        (NaN: no validation data), and ``best.*`` weights when early stopping has some.
    numbers : dict of str to int or float
        ``position``: windows of the present epoch that are done; ``total``: their summed loss; ``steps``: all steps
        so far; ``best_epoch`` (0: none yet) and ``best_loss``. Where the number of epochs was found before
        (:attr:`Task.everything`): ``searched`` epochs of the history did that, in ``search_steps`` steps, and
        found ``epochs``.
    """

    arrays: dict[str, NDArray] = field(repr=False)
    numbers: dict[str, int | float]


def losses_of(history: Sequence[Epoch]) -> dict[str, NDArray]:
    """Put a loss history into arrays.

    Parameters
    ----------
    history : sequence of Epoch
        All epochs from the first on.

    Returns
    -------
    dict of str to ndarray
        ``losses`` and ``held_losses`` (NaN: no validation data), one value per epoch.
    """
    held = [np.nan if epoch.validation_loss is None else epoch.validation_loss for epoch in history]
    return {
        "losses": np.array([epoch.loss for epoch in history], dtype=np.float64),
        "held_losses": np.array(held, dtype=np.float64),
    }


def epochs_of(arrays: Mapping[str, NDArray]) -> list[Epoch]:
    """Undo :func:`losses_of`.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Holds ``losses`` and ``held_losses``.

    Returns
    -------
    list of Epoch
        The history.
    """
    pairs = zip(arrays["losses"].tolist(), arrays["held_losses"].tolist(), strict=True)
    return [Epoch(number, loss, None if np.isnan(held) else held) for number, (loss, held) in enumerate(pairs, start=1)]


@dataclass(frozen=True)
class Task:
    """One training, whole: what it needs and nothing else.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        Over what the network attends.
    settings : TrainingSettings
        How.
    x : ndarray, shape (windows, samples, inputs)
        Activations, normalised.
    y : ndarray, shape (windows, samples)
        EMG, normalised.
    held : tuple of ndarray, optional
        Like ``(x, y)``: the windows whose loss is recorded, and which decide when to stop.
    everything : tuple of ndarray, optional
        Like ``(x, y)``: all windows, normalised by themselves. Where they are given, the training with ``held`` only
        finds the number of epochs; then the network is trained anew, on these windows, for this number.
    initial : mapping of str to ndarray, optional
        The first weights; random ones by default.
    """

    variant: Variant
    settings: TrainingSettings
    x: NDArray[np.float32] = field(repr=False)
    y: NDArray[np.float32] = field(repr=False)
    held: tuple[NDArray[np.float32], NDArray[np.float32]] | None = field(default=None, repr=False)
    everything: tuple[NDArray[np.float32], NDArray[np.float32]] | None = field(default=None, repr=False)
    initial: Mapping[str, NDArray[np.float32]] | None = field(default=None, repr=False)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the data by name.

        Returns
        -------
        dict of str to ndarray
            ``x``, ``y`` and, where they are given, ``held_x``, ``held_y``, ``everything_x``, ``everything_y`` and
            the weights ``initial.*``.
        """
        arrays = {"x": self.x, "y": self.y}
        for name in ("held", "everything"):
            if getattr(self, name) is not None:
                arrays[f"{name}_x"], arrays[f"{name}_y"] = getattr(self, name)
        return arrays | {f"initial.{name}": weight for name, weight in (self.initial or {}).items()}

    @classmethod
    def of(cls, variant: Variant, settings: TrainingSettings, arrays: Mapping[str, NDArray[np.float32]]) -> Task:
        """Put a training together again; the inverse of :meth:`arrays`.

        Parameters
        ----------
        variant : {'temporal', 'spatial'}
            Over what the network attends.
        settings : TrainingSettings
            How.
        arrays : mapping of str to ndarray
            From :meth:`arrays`.

        Returns
        -------
        Task
            The same training.
        """
        pairs = {
            name: (arrays[f"{name}_x"], arrays[f"{name}_y"]) for name in ("held", "everything") if f"{name}_x" in arrays
        }
        initial = {name[8:]: weight for name, weight in arrays.items() if name.startswith("initial.")}
        return cls(variant, settings, arrays["x"], arrays["y"], **pairs, initial=initial or None)

    @property
    def most_epochs(self) -> int:
        """The largest number of epochs that it takes, those that find their number included."""
        return self.settings.epochs * (1 if self.everything is None else 2)

    def description(self) -> dict[str, Any]:
        """Say all that decides the result, for a checkpoint and for its key.

        Returns
        -------
        dict of str to object
            Settings, versions, and a digest of the data; JSON can hold it.
        """
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(array.tobytes())
        return {
            **asdict(self.settings),
            "variant": self.variant,
            "data": digest.hexdigest(),
            "torch": version("torch"),
            "engine": ENGINE_VERSION,
        }
