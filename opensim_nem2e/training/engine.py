"""Train one network: the reference engine.

The paper's recipe (section 3.2.1: squared error, Adam, batch size 1, 700 epochs, 700 hidden units) at the speed
PyTorch allows without changing the mathematics: under teacher forcing the decoder is one call (see
:mod:`opensim_nem2e.networks.stdr_net`) and Adam is fused. What the paper leaves open is a setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import TrainingError
from ..networks.conditions import Score, Variant
from ..networks.stdr_net import STDRNet

Array = NDArray[np.floating]


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
        32-bit weights by PyTorch's names, for :func:`opensim_nem2e.networks.forward.run_free`.
    history : tuple of Epoch
        Every epoch that was run.
    best_epoch : int
        The epoch the weights are from.
    """

    weights: dict[str, NDArray[np.float32]]
    history: tuple[Epoch, ...]
    best_epoch: int


def train(
    variant: Variant,
    x: Array,
    y: Array,
    settings: TrainingSettings,
    *,
    validation: tuple[Array, Array] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train one network from random weights.

    The same data, settings and machine give the same bits. Interrupting it (KeyboardInterrupt, or an exception from
    ``on_epoch``) leaves nothing behind.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        Over what the network attends.
    x : ndarray, shape (windows, samples, inputs)
        Activations, normalised.
    y : ndarray, shape (windows, samples)
        EMG, normalised.
    settings : TrainingSettings
        How.
    validation : tuple of ndarray, optional
        Like ``(x, y)``, not trained on: gives the validation loss, and the stop when ``patience`` is set.
    on_epoch : callable, optional
        Told of every epoch as it ends.

    Returns
    -------
    Trained
        Weights and loss history.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no data, shapes do not match, values are not finite, or the loss stops being finite.
    """
    _check(x, y, "training")
    if validation is not None:
        _check(*validation, "validation")
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        return _train(variant, x, y, settings, validation, on_epoch)
    finally:
        torch.set_num_threads(threads)


def _train(
    variant: Variant,
    x: Array,
    y: Array,
    settings: TrainingSettings,
    validation: tuple[Array, Array] | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> Trained:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = STDRNet(variant, x.shape[2], x.shape[1], settings.hidden, settings.score)
    # A generator of its own: nothing else in the process can change the order of the data.
    random = torch.Generator().manual_seed(settings.seed)
    inputs, targets = _tensor(x), _tensor(y)
    held = None if validation is None else (_tensor(validation[0]), _tensor(validation[1]))
    optimiser = torch.optim.Adam(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    history: list[Epoch] = []
    best, best_loss, best_epoch = _weights(net), math.inf, 0
    for number in range(1, settings.epochs + 1):
        loss = _epoch(net, optimiser, inputs, targets, settings, random)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of epoch {number} is no finite number: training diverged. Lower the learning rate "
                f"(found {settings.learning_rate:g}) or limit the gradient."
            )
        held_loss = None if held is None else _free_loss(net, *held)
        history.append(Epoch(number, loss, held_loss))
        if on_epoch is not None:
            on_epoch(history[-1])
        if held_loss is not None and settings.patience:
            if held_loss < best_loss:
                best, best_loss, best_epoch = _weights(net), held_loss, number
            elif number - best_epoch >= settings.patience:
                break
    if not best_epoch:
        best, best_epoch = _weights(net), settings.epochs
    return Trained(best, tuple(history), best_epoch)


def _epoch(
    net: STDRNet,
    optimiser: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    settings: TrainingSettings,
    random: torch.Generator,
) -> float:
    count = inputs.shape[0]
    total = 0.0
    for rows in torch.randperm(count, generator=random).split(settings.batch_size):
        forced = float(torch.rand((), generator=random)) < settings.teacher_forcing
        target = targets[rows]
        y, _ = net(inputs[rows], target if forced else None)
        loss = torch.nn.functional.mse_loss(y, target)
        optimiser.zero_grad()
        loss.backward()
        if settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_clip)
        optimiser.step()
        total += loss.item() * rows.numel()
    return total / count


def _free_loss(net: STDRNet, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return torch.nn.functional.mse_loss(net(x)[0], y).item()


def _weights(net: STDRNet) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def _tensor(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _check(x: Array, y: Array, what: str) -> None:
    if x.ndim != 3 or y.shape != x.shape[:2] or x.size == 0:
        raise TrainingError(
            f"The {what} data must be activations (windows, samples, inputs) with EMG (windows, samples), at least one "
            f"window; found {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TrainingError(f"The {what} data hold values that are not finite numbers.")
