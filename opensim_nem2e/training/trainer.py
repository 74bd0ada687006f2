"""Train one network: the reference engine.

The paper's recipe (section 3.2.1: squared error, Adam, batch size 1, 700 epochs, 700 hidden units) at the speed
PyTorch allows without changing the mathematics: under teacher forcing the decoder is one call (see
:mod:`opensim_nem2e.methods.stdr.net`), and Adam is fused. What the paper leaves open is a setting.

A training can be left after any step and taken up again with the same bits (:class:`State`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.adam import adam

from ..errors import TrainingError
from ..methods.stdr.conditions import Variant
from ..methods.stdr.net import STDRNet
from .schedule import Progress, Search, Step
from .task import Epoch, State, Task, Trained, TrainingSettings

Array = NDArray[np.floating]


def train(
    variant: Variant,
    x: Array,
    y: Array,
    settings: TrainingSettings,
    *,
    validation: tuple[Array, Array] | None = None,
    initial: Mapping[str, NDArray[np.float32]] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: State | None = None,
    after_step: Callable[[Callable[[], State]], None] | None = None,
) -> Trained:
    """Train one network from random or given weights, or go on from where a training was left.

    The same data, settings and machine give the same bits, in one go or in several. Interrupting it (KeyboardInterrupt,
    or an exception from ``on_epoch`` or ``after_step``) leaves nothing behind.

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
    initial : mapping of str to ndarray, optional
        The first weights; random ones by default.
    on_epoch : callable, optional
        Told of every epoch as it ends.
    resume : State, optional
        Where a training with the same data and settings was left.
    after_step : callable, optional
        Called after every step with a function that gives the state; it may raise to leave.

    Returns
    -------
    Trained
        Weights and loss history, that of the epochs before ``resume`` included.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no data, shapes do not match, values are not finite, or the loss stops being finite.
    """
    check_data(Task(variant, settings, x, y, validation))
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        training = _Training(variant, x, y, settings, validation, initial)
        if resume is not None:
            training.restore(resume)
        return training.run(on_epoch, after_step)
    finally:
        torch.set_num_threads(threads)


def train_task(
    task: Task,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: State | None = None,
    after_step: Callable[[Callable[[], State]], None] | None = None,
) -> Trained:
    """Train the network of a task; with early stopping, find the number of epochs first.

    Early stopping keeps some of the windows, those of one subject, out of the training, to see when the error on
    people that the network does not know stops falling. A network for use should not miss this subject: it is trained
    anew on all windows for the number of epochs that was best (Goodfellow et al. 2016, Deep Learning, algorithm 7.2).

    Parameters
    ----------
    task : Task
        What and how.
    on_epoch : callable, optional
        As in :func:`train`.
    resume : State, optional
        As in :func:`train`.
    after_step : callable, optional
        As in :func:`train`.

    Returns
    -------
    Trained
        Weights and loss history. Where the number of epochs was found first, the history begins with the epochs that
        found it, which have a validation loss; those of the network follow, and the last is the best.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        As in :func:`train`.
    """
    if task.everything is None:
        return train(
            task.variant,
            task.x,
            task.y,
            task.settings,
            validation=task.held,
            initial=task.initial,
            on_epoch=on_epoch,
            resume=resume,
            after_step=after_step,
        )
    search, resume = Search.split(resume)
    if search is None:
        found = train_task(replace(task, everything=None), on_epoch=on_epoch, resume=resume, after_step=after_step)
        search, resume = Search.of(task, found), None
    known = search
    trained = train_task(
        known.task(task),
        on_epoch=None if on_epoch is None else lambda epoch: on_epoch(known.later(epoch)),
        resume=resume,
        after_step=None if after_step is None else lambda state: after_step(lambda: known.before(state())),
    )
    return known.join(trained)


class _Training:
    """A network under way. Its state is whole after every step."""

    def __init__(
        self,
        variant: Variant,
        x: Array,
        y: Array,
        settings: TrainingSettings,
        validation: tuple[Array, Array] | None,
        initial: Mapping[str, NDArray[np.float32]] | None,
    ):
        self.settings = settings
        self.progress = Progress(settings, x.shape[0])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.net = STDRNet(variant, x.shape[2], x.shape[1], settings.hidden, settings.score)
        self.inputs, self.targets = _tensor(x), _tensor(y)
        self.names = [name for name, _ in self.net.named_parameters()]
        if initial is not None:
            with torch.no_grad():
                for name, weight in self.net.named_parameters():
                    weight.copy_(torch.from_numpy(np.array(initial[name])))
        self.weights: list[torch.Tensor] = list(self.net.parameters())
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.adam_steps = [torch.zeros(()) for _ in self.weights]
        self.held = None if validation is None else (_tensor(validation[0]), _tensor(validation[1]))
        self.total = 0.0
        self.best: dict[str, NDArray[np.float32]] = {}

    def run(
        self,
        on_epoch: Callable[[Epoch], None] | None,
        after_step: Callable[[Callable[[], State]], None] | None,
    ) -> Trained:
        progress = self.progress
        while not progress.is_over:
            while not progress.epoch_is_complete:
                self._step(progress.step())
                if after_step is not None:
                    after_step(self.state)
            self._end_epoch()
            if on_epoch is not None:
                on_epoch(progress.history[-1])
        if not progress.best_epoch:
            return Trained(_weights(self.net), tuple(progress.history), len(progress.history))
        return Trained(self.best, tuple(progress.history), progress.best_epoch)

    def _step(self, step: Step) -> None:
        target = self.targets[step.rows]
        estimate, _ = self.net(self.inputs[step.rows], target if step.forced else None)
        error = torch.nn.functional.mse_loss(estimate, target)
        self.net.zero_grad()
        error.backward()
        loss = error.item()
        if self.settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.gradient_clip)
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        adam_step(self.weights, gradients, self.means, self.squares, self.adam_steps, self.settings)
        self.total += loss * step.rows.numel()

    def _end_epoch(self) -> None:
        held_loss = None
        if self.held is not None:
            with torch.no_grad():
                held_loss = torch.nn.functional.mse_loss(self.net(self.held[0])[0], self.held[1]).item()
        if self.progress.end_epoch(self.total, held_loss):
            self.best = _weights(self.net)
        self.total = 0.0

    def state(self) -> State:
        """Copy what the rest of the training depends on."""
        arrays = {
            f"{part}.{name}": tensor.detach().numpy().copy()
            for part, tensors in self._tensors()
            for name, tensor in zip(self.names, tensors, strict=True)
        }
        return self.progress.state(
            {**arrays, **{f"best.{name}": value for name, value in self.best.items()}}, self.total
        )

    def _tensors(self) -> Iterator[tuple[str, list[torch.Tensor]]]:
        """Name the weights and what Adam keeps of each."""
        yield "weights", self.weights
        yield "mean", self.means
        yield "square", self.squares
        yield "adam_steps", self.adam_steps

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go back to a state. Values are copied into memory that PyTorch allocated: its alignment decides last bits."""
        self.progress.restore(state)
        for part, tensors in self._tensors():
            for name, tensor in zip(self.names, tensors, strict=True):
                tensor.copy_(torch.from_numpy(state.arrays[f"{part}.{name}"]))
        self.best = {name[5:]: value for name, value in state.arrays.items() if name.startswith("best.")}
        self.total = float(state.numbers["total"])


@torch.no_grad()
def adam_step(
    weights: list[torch.Tensor],
    gradients: list[torch.Tensor],
    means: list[torch.Tensor],
    squares: list[torch.Tensor],
    steps: list[torch.Tensor],
    settings: TrainingSettings,
) -> None:
    """Do one step of Adam (Kingma and Ba 2015), all weights in one kernel.

    torch.optim.Adam(fused=True) gives the same bits, but imports PyTorch's compiler first, which takes seconds in every
    process.

    Parameters
    ----------
    weights, gradients : list of Tensor
        What is changed, and by what.
    means, squares : list of Tensor
        Adam's running means of the gradients and of their squares.
    steps : list of Tensor
        How often this was done, one number each.
    settings : TrainingSettings
        Step size and L2 penalty.
    """
    adam(
        weights,
        gradients,
        means,
        squares,
        [],
        steps,
        fused=True,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        eps=1e-8,
        maximize=False,
    )


def _weights(net: STDRNet) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def _tensor(values: Array) -> torch.Tensor:
    # A clone: memory that PyTorch allocated is always aligned alike, and alignment decides last bits.
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).clone()


def check_data(task: Task) -> None:
    """Make sure that a network can be trained on its data.

    Parameters
    ----------
    task : Task
        The training.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no data, shapes do not match, or values are not finite.
    """
    _check(task.x, task.y, "training")
    if task.held is not None:
        _check(*task.held, "validation")


def _check(x: Array, y: Array, what: str) -> None:
    if x.ndim != 3 or y.shape != x.shape[:2] or x.size == 0:
        raise TrainingError(
            f"The {what} data must be activations (windows, samples, inputs) with EMG (windows, samples), at least one "
            f"window; found {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TrainingError(f"The {what} data hold values that are not finite numbers.")
