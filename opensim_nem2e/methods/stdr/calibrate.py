"""Calibrate a network to one subject on a few of this subject's strides.

What is unknown about a subject is mostly a curve: how this subject's mean EMG cycle differs from what the network,
trained on others, says. It is estimated in closed form (:func:`shrink_to_subject`). Fine-tuning the weights is tried
beside it, and is kept only where strides that it has not seen say that it is better (:func:`calibrate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...data.gait_cycles import MuscleCycles
from ...errors import TrainingError
from ...signals.compare import cycle_errors
from ...training.task import Task, Trained
from ..base import RunSettings
from .hyperparameters import STDROptions
from .method import network_task
from .network import Network

Array = NDArray[np.float64]

#: Strides that a network trained on other subjects counts for: the variance among one subject's strides divided by
#: the variance, among subjects, of the subject's mean cycle about the network. Estimates with one subject left out were
#: 0.24 to 0.37 (``benchmarks/calibration.py`` prints them); between 0.1 and 0.3 the error on new strides changed by
#: under 1 %.
PRIOR_STRIDES = 0.25

#: Inner folds at most, and the smallest number of strides with which fine-tuning is tried: with fewer, a fold is a
#: single stride, which may be the only one of its motion, and says little about the choice.
FOLDS = 5
FEWEST_STRIDES = 6

#: How weights are fine-tuned; ``epochs`` is the largest number. What belongs to the network is the network's.
FINE_TUNING = STDROptions(epochs=120, batch_size=16, learning_rate=0.003)


@dataclass(frozen=True)
class Calibrated:
    """A network that was calibrated, and what strides that it has not seen say of it.

    Parameters
    ----------
    network : Network
        The network.
    strides : int
        Strides it was calibrated on.
    epochs : int
        Epochs for which the weights were fine-tuned; 0: closed form.
    trained : Trained or None
        The fine-tuning.
    errors : mapping of str to float
        E on strides left out of the calibration (inner folds), mean over strides: ``opensim``, ``initial``,
        ``calibrated`` and ``mean`` (the mean cycle of the other strides). Empty with a single stride. Where the number
        of epochs was chosen on the same folds, ``calibrated`` is a little too good.
    """

    network: Network
    strides: int
    epochs: int
    trained: Trained | None
    errors: Mapping[str, float]


def shrink_to_subject(network: Network, data: MuscleCycles) -> Network:
    """Calibrate in closed form: the mean of the subject's EMG and the network's output, weighted by what each is worth.

    The subject's mean cycle is taken as normally distributed about the network's output, and the strides about it
    (Morris 1983, J Am Stat Assoc 78:47-55). With n strides the estimate is ``(n * mean + k * network) / (n + k)``, k
    being :data:`PRIOR_STRIDES`. A One-Quarter network does not know which quarter it sees and has no place for a mean
    cycle; there the mean of the residuals is added, with the same weight.

    Parameters
    ----------
    network : Network
        The network.
    data : MuscleCycles
        The subject's strides.

    Returns
    -------
    Network
        The same weights with another offset and scale of the output, and of the linear part if there is one.
    """
    if network.view.windows > 1:
        return _add_residual(network, data)
    weight = _weight(data)
    offset = weight * data.y.mean(axis=0) + (1 - weight) * network.output_offset
    scale = (1 - weight) * network.output_scale
    linear = None if network.linear is None else network.linear.scaled(1 - weight)
    return replace(
        network, output_offset=offset.astype(np.float32), output_scale=scale.astype(np.float32), linear=linear
    )


def _add_residual(network: Network, data: MuscleCycles) -> Network:
    residual = data.y - network.predict({"activation": data.x}).values
    mean = network.view.split(residual).mean(axis=0)
    return replace(network, output_offset=(network.output_offset + _weight(data) * mean).astype(np.float32))


def _weight(data: MuscleCycles) -> float:
    """Return what the mean of the strides is worth, beside the network (0..1)."""
    strides = len(set(stride_numbers(data)))
    return strides / (strides + PRIOR_STRIDES)


def stride_numbers(data: MuscleCycles) -> list[int]:
    """Number the strides of cycles: one that was simulated twice, such as by CMC and static optimisation, is one.

    Parameters
    ----------
    data : MuscleCycles
        The cycles.

    Returns
    -------
    list of int
        Each cycle's stride, in order of appearance from 0. Cycles of one number share their EMG.
    """
    numbers: dict[tuple[str, ...], int] = {}
    return [numbers.setdefault(record.stride_key, len(numbers)) for record in data.records]


def calibrate(network: Network, data: MuscleCycles, options: STDROptions, run: RunSettings) -> Calibrated:
    """Calibrate a network to a subject.

    The closed form is computed. With six strides or more the weights are fine-tuned, too, from the network with the
    subject's mean residual added: without each of up to five groups of strides in turn, to see on the strides left out
    which number of epochs is best, and whether it is better than the closed form by more than the standard error of the
    difference (the one-standard-error rule, Hastie, Tibshirani and Friedman 2009, section 7.10). If so, it is
    fine-tuned on all strides for this number of epochs.

    Parameters
    ----------
    network : Network
        The network to start from.
    data : MuscleCycles
        The subject's strides on the network's grid, with the network's inputs.
    options : STDROptions
        How weights are fine-tuned; ``epochs`` is the largest number. ``hidden_units`` and ``score_function`` are the
        network's.
    run : RunSettings
        Seed and threads.

    Returns
    -------
    Calibrated
        The calibrated network.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no strides, they are of several subjects, or fine-tuning diverged.
    """
    people = sorted(set(data.subjects.tolist()))
    if len(people) != 1:
        raise TrainingError(
            f"A network is calibrated to one subject, but the cycles of '{data.target}' are of "
            f"{', '.join(people) or 'nobody'}."
        )
    numbers = np.array(stride_numbers(data))
    strides = len(set(numbers.tolist()))
    if strides == 1:
        return Calibrated(shrink_to_subject(network, data), 1, 0, None, {})
    count = min(FOLDS, strides)
    folds = [(data.select(held), data.select(~held)) for held in (numbers % count == k for k in range(count))]
    view = network.view

    def left_out(found: Callable[[MuscleCycles, MuscleCycles], Array]) -> float:
        """Average E over the strides left out."""
        pairs = ((found(held, rest)[..., :: view.windows], view.on_grid(held.y)) for held, rest in folds)
        return float(np.mean(np.concatenate([cycle_errors(estimate, y) for estimate, y in pairs])))

    def refined(used: Network, held: MuscleCycles) -> Array:
        return used.predict({"activation": held.x}).values

    closed = [shrink_to_subject(network, rest) for _, rest in folds]
    squares = [float(np.mean((refined(one, held) - held.y) ** 2)) for one, (held, _) in zip(closed, folds, strict=True)]
    tuning = _FineTuning(network, options, run)
    epochs = tuning.best_epochs(folds, squares) if strides >= FEWEST_STRIDES else 0
    if epochs:
        tuned = tuning.train([*(rest for _, rest in folds), data], epochs)
        seen, (final, trained) = [one for one, _ in tuned[:-1]], tuned[-1]
    else:
        seen, final, trained = closed, shrink_to_subject(network, data), None
    networks = iter(seen)
    errors = {
        "opensim": left_out(lambda held, rest: held.own),
        "initial": left_out(lambda held, rest: refined(network, held)),
        "calibrated": left_out(lambda held, rest: refined(next(networks), held)),
        "mean": left_out(lambda held, rest: rest.y.mean(axis=0)),
    }
    return Calibrated(final, strides, epochs, trained, errors)


@dataclass(frozen=True)
class _FineTuning:
    """Trains all weights of a network on, from the network with a subject's mean residual added."""

    network: Network
    options: STDROptions
    run: RunSettings

    def best_epochs(self, folds: Sequence[tuple[MuscleCycles, MuscleCycles]], closed: Sequence[float]) -> int:
        """Choose the number of epochs; 0 where fine-tuning is not clearly better than the closed form.

        ``closed`` are the mean squared errors of the closed form on the strides that each fold leaves out.
        """
        starts = [self._start(rest) for _, rest in folds]
        tasks = [self._task(start, rest, held) for start, (held, rest) in zip(starts, folds, strict=True)]
        losses = [[epoch.validation_loss for epoch in trained.history] for trained in self._train(tasks)]
        tuned = np.array(losses, dtype=np.float64) * float(self.network.output_scale[0]) ** 2
        best = int(np.argmin(tuned.mean(axis=0)))
        gain = np.array(closed) - tuned[:, best]
        return best + 1 if gain.mean() > gain.std(ddof=1) / math.sqrt(len(folds)) else 0

    def train(self, sets: Sequence[MuscleCycles], epochs: int) -> list[tuple[Network, Trained]]:
        """Train one network on each set of strides."""
        starts = [self._start(data) for data in sets]
        tasks = [self._task(start, data, None, epochs) for start, data in zip(starts, sets, strict=True)]
        found = zip(starts, self._train(tasks), strict=True)
        return [(replace(start, weights=trained.weights), trained) for start, trained in found]

    def _start(self, data: MuscleCycles) -> Network:
        return _add_residual(self.network, data)

    def _task(self, start: Network, data: MuscleCycles, held: MuscleCycles | None, epochs: int | None = None) -> Task:
        view = start.view

        def windows(cycles: MuscleCycles) -> dict[str, NDArray[np.float32]]:
            x = view.split((cycles.x - start.input_offset) / start.input_scale)
            y = view.split(cycles.y) - start.output_offset
            if start.linear is not None:
                y = y - start.linear.predict(view.split(cycles.x))
            return {"x": x.astype(np.float32), "y": (y / start.output_scale).astype(np.float32)}

        options = replace(
            self.options,
            hidden_units=start.hidden,
            score_function=start.score,
            epochs=epochs or self.options.epochs,
            early_stopping_patience=0,
        )
        left_out = None if held is None else windows(held)
        return network_task(view, options, self.run, windows(data), held=left_out, initial=start.weights)

    def _train(self, tasks: Sequence[Task]) -> list[Trained]:
        # Here, not above: what plans and judges trainings does not need PyTorch.
        from ...training.trainer import train_task

        return [train_task(task) for task in tasks]
