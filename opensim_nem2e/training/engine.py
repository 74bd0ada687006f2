"""Train one network: the reference engine.

The paper's recipe (section 3.2.1: squared error, Adam, batch size 1, 700 epochs, 700 hidden units) at the speed
PyTorch allows without changing the mathematics: under teacher forcing the decoder is one call (see
:mod:`opensim_nem2e.networks.stdr_net`), free-running steps have their gradient by hand
(:mod:`opensim_nem2e.networks.stacked_net`), and Adam is fused. What the paper leaves open is a setting.

A training can be left after any step and taken up again with the same bits (:class:`State`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.adam import adam

from ..errors import TrainingError
from ..networks.conditions import Variant
from ..networks.stacked_net import Pass, StackedNet
from ..networks.stdr_net import STDRNet
from .settings import Epoch, State, Task, Trained, TrainingSettings, epochs_of, losses_of

Array = NDArray[np.floating]


def train(
    variant: Variant,
    x: Array,
    y: Array,
    settings: TrainingSettings,
    *,
    validation: tuple[Array, Array] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: State | None = None,
    after_step: Callable[[Callable[[], State]], None] | None = None,
) -> Trained:
    """Train one network from random weights, or go on from where a training was left.

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
    _check(x, y, "training")
    if validation is not None:
        _check(*validation, "validation")
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        training = _Training(variant, x, y, settings, validation)
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
    on_epoch, resume, after_step
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
            on_epoch=on_epoch,
            resume=resume,
            after_step=after_step,
        )
    if resume is None or "searched" not in resume.numbers:
        steps_per_epoch = math.ceil(len(task.x) / task.settings.batch_size)
        search = train_task(replace(task, everything=None), on_epoch=on_epoch, resume=resume, after_step=after_step)
        searched, epochs = list(search.history), search.best_epoch
        search_steps, resume = steps_per_epoch * len(searched), None
    else:
        history = epochs_of(resume.arrays)
        count, search_steps = int(resume.numbers["searched"]), int(resume.numbers["search_steps"])
        searched, rest = history[:count], history[count:]
        epochs = int(resume.numbers["epochs"])
        numbers = {**resume.numbers, "steps": resume.numbers["steps"] - search_steps}
        resume = State({**resume.arrays, **losses_of(rest)}, numbers)

    def whole(state: State) -> State:
        """Put the search before the state of the training that follows it."""
        numbers = {**state.numbers, "steps": state.numbers["steps"] + search_steps}
        numbers |= {"searched": len(searched), "search_steps": search_steps, "epochs": epochs}
        return State({**state.arrays, **losses_of(searched + epochs_of(state.arrays))}, numbers)

    def later(epoch: Epoch) -> Epoch:
        return replace(epoch, number=epoch.number + len(searched))

    trained = train(
        task.variant,
        *task.everything,
        replace(task.settings, epochs=epochs, patience=0),
        on_epoch=None if on_epoch is None else lambda epoch: on_epoch(later(epoch)),
        resume=resume,
        after_step=None if after_step is None else lambda state: after_step(lambda: whole(state())),
    )
    return Trained(trained.weights, (*searched, *map(later, trained.history)), len(searched) + epochs)


class _Training:
    """A network under way. Its state is whole after every step."""

    def __init__(
        self,
        variant: Variant,
        x: Array,
        y: Array,
        settings: TrainingSettings,
        validation: tuple[Array, Array] | None,
    ):
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.net = STDRNet(variant, x.shape[2], x.shape[1], settings.hidden, settings.score)
        # A generator of its own: nothing else in the process can change the order of the data.
        self.random = torch.Generator().manual_seed(settings.seed)
        self.inputs, self.targets = _tensor(x), _tensor(y)
        self.stack = StackedNet(variant, x.shape[2], x.shape[1], settings.hidden, settings.score)
        for name, weight in self.net.named_parameters():
            shared = self.stack.weights[name][0]
            shared.copy_(weight.detach())
            weight.data = shared
        self.free: Pass | None = None
        self.held: Pass | None = None
        if validation is not None:
            self.held = Pass(self.stack, validation[0].shape[0], learns=False, free=True)
            self.held.fill(0, *map(_tensor, validation))
        self.adam = _Adam(self.net, settings)
        self.history: list[Epoch] = []
        self.order: torch.Tensor | None = None
        self.position, self.total, self.steps = 0, 0.0, 0
        self.best: dict[str, NDArray[np.float32]] = {}
        self.best_epoch, self.best_loss = 0, math.inf

    def run(
        self,
        on_epoch: Callable[[Epoch], None] | None,
        after_step: Callable[[Callable[[], State]], None] | None,
    ) -> Trained:
        while len(self.history) < self.settings.epochs and not self._has_stopped_early():
            if self.order is None:
                self.order = torch.randperm(self.inputs.shape[0], generator=self.random)
                self.position, self.total = 0, 0.0
            while self.position < self.order.numel():
                self._step(self.order[self.position : self.position + self.settings.batch_size])
                if after_step is not None:
                    after_step(self.state)
            self._end_epoch()
            if on_epoch is not None:
                on_epoch(self.history[-1])
        if not self.best_epoch:
            return Trained(_weights(self.net), tuple(self.history), len(self.history))
        return Trained(self.best, tuple(self.history), self.best_epoch)

    def _has_stopped_early(self) -> bool:
        return bool(self.best_epoch) and len(self.history) - self.best_epoch >= self.settings.patience

    def _step(self, rows: torch.Tensor) -> None:
        forced = float(torch.rand((), generator=self.random)) < self.settings.teacher_forcing
        loss = self._forced_step(rows) if forced else self._free_step(rows)
        if self.settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.gradient_clip)
        self.adam.step()
        self.total += loss * rows.numel()
        self.position += rows.numel()
        self.steps += 1

    def _forced_step(self, rows: torch.Tensor) -> float:
        target = self.targets[rows]
        loss = torch.nn.functional.mse_loss(self.net(self.inputs[rows], target)[0], target)
        self.net.zero_grad()
        loss.backward()
        return loss.item()

    def _free_step(self, rows: torch.Tensor) -> float:
        if self.free is None:
            self.free = Pass(self.stack, min(self.settings.batch_size, self.inputs.shape[0]), free=True)
        self.free.fill(0, self.inputs[rows], self.targets[rows])
        self.free.forward()
        self.free.backward()
        for name, weight in self.net.named_parameters():
            weight.grad = self.stack.gradients[name][0]
        return self.free.loss.item()

    def _end_epoch(self) -> None:
        number = len(self.history) + 1
        loss = self.total / self.inputs.shape[0]
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of epoch {number} is no finite number: training diverged. Lower the learning rate "
                f"(found {self.settings.learning_rate:g}) or limit the gradient."
            )
        held_loss = None
        if self.held is not None:
            self.held.forward()
            held_loss = self.held.loss.item()
        self.history.append(Epoch(number, loss, held_loss))
        self.order = None
        if held_loss is not None and self.settings.patience and held_loss < self.best_loss:
            self.best, self.best_loss, self.best_epoch = _weights(self.net), held_loss, number

    def state(self) -> State:
        """Copy what the rest of the training depends on; called after a step."""
        assert self.order is not None
        arrays: dict[str, NDArray] = {"generator": self.random.get_state().numpy(), "order": self.order.numpy().copy()}
        for part, tensors in self._tensors():
            arrays |= {f"{part}.{name}": tensor.numpy().copy() for name, tensor in tensors}
        arrays |= {f"best.{name}": value for name, value in self.best.items()}
        arrays |= losses_of(self.history)
        numbers = {name: getattr(self, name) for name in ("position", "total", "steps", "best_epoch", "best_loss")}
        return State(arrays, numbers)

    def _tensors(self) -> Iterator[tuple[str, list[tuple[str, torch.Tensor]]]]:
        """Name the weights and what Adam keeps of each."""
        names = [name for name, _ in self.net.named_parameters()]
        parts = {
            "weights": [weight.detach() for weight in self.adam.weights],
            "mean": self.adam.means,
            "square": self.adam.squares,
            "adam_steps": self.adam.steps,
        }
        for part, tensors in parts.items():
            yield part, list(zip(names, tensors, strict=True))

    def restore(self, state: State) -> None:
        """Go back to a state. Values are copied into memory that PyTorch allocated: its alignment decides last bits."""
        arrays = state.arrays
        self.random.set_state(torch.from_numpy(arrays["generator"].copy()))
        self.order = torch.from_numpy(arrays["order"].copy())
        for part, tensors in self._tensors():
            for name, tensor in tensors:
                tensor.copy_(torch.from_numpy(arrays[f"{part}.{name}"]))
        self.best = {name[5:]: value for name, value in arrays.items() if name.startswith("best.")}
        self.history = epochs_of(arrays)
        self.position, self.steps = int(state.numbers["position"]), int(state.numbers["steps"])
        self.total = float(state.numbers["total"])
        self.best_epoch, self.best_loss = int(state.numbers["best_epoch"]), float(state.numbers["best_loss"])


class _Adam:
    """Adam (Kingma and Ba 2015), all weights in one kernel.

    torch.optim.Adam(fused=True) gives the same bits, but imports PyTorch's compiler first, which takes seconds in every
    process.
    """

    def __init__(self, net: STDRNet, settings: TrainingSettings):
        self.settings = settings
        self.weights: list[torch.Tensor] = list(net.parameters())
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.steps = [torch.zeros(()) for _ in self.weights]

    @torch.no_grad()
    def step(self) -> None:
        adam(
            self.weights,
            [weight.grad for weight in self.weights if weight.grad is not None],
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def _weights(net: STDRNet) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def _tensor(values: Array) -> torch.Tensor:
    # A clone: memory that PyTorch allocated is always aligned alike, and alignment decides last bits.
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).clone()


def _check(x: Array, y: Array, what: str) -> None:
    if x.ndim != 3 or y.shape != x.shape[:2] or x.size == 0:
        raise TrainingError(
            f"The {what} data must be activations (windows, samples, inputs) with EMG (windows, samples), at least one "
            f"window; found {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TrainingError(f"The {what} data hold values that are not finite numbers.")
