"""How far the training of one network is, and what it does next, whether it is computed alone or beside others.

The order of the data, the draw of each step, the loss history and early stopping are decided here, from a random
generator of the network's own. So a network trained alone and one that is trained beside others get the same rows in
the same order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import TrainingError
from .task import Epoch, State, Task, Trained, TrainingSettings, epochs_of, losses_of, with_history


@dataclass(frozen=True)
class TrainingStep:
    """What a network does next.

    Parameters
    ----------
    rows : Tensor, shape (rows,)
        Which rows of its data it is trained on.
    draw : float
        For the module: drawn evenly from 0 (included) to 1 (excluded).
    """

    rows: torch.Tensor
    draw: float


class Progress:
    """How far a training is.

    Parameters
    ----------
    settings : TrainingSettings
        How the network is trained.
    rows : int
        How many rows of data it is trained on.

    Attributes
    ----------
    history : list of Epoch
        The epochs that are done.
    steps : int
        All steps so far.
    best_epoch : int
        The epoch with the lowest validation loss, if there is early stopping; 0: none yet.
    """

    def __init__(self, settings: TrainingSettings, rows: int):
        self.settings = settings
        self.rows = rows
        # A generator of its own: nothing else in the process can change the order of the data.
        self.random = torch.Generator().manual_seed(settings.seed)
        self.history: list[Epoch] = []
        self.order: torch.Tensor | None = None
        self.position = self.steps = 0
        self.best_epoch, self.best_loss = 0, math.inf

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do: all epochs are done, or the validation loss has stopped falling."""
        done = len(self.history)
        return done >= self.settings.epochs or (
            bool(self.best_epoch) and done - self.best_epoch >= self.settings.patience
        )

    @property
    def epoch_is_complete(self) -> bool:
        """Whether all rows have been seen, and the epoch is to be ended."""
        return self.order is not None and self.position >= self.rows

    @property
    def rate(self) -> float:
        """The step size of this epoch as a share of the first epoch's."""
        last = self.settings.final_learning_rate
        if last is None:
            return 1.0
        share = last / self.settings.learning_rate
        return share + 0.5 * (1.0 - share) * (1.0 + math.cos(math.pi * len(self.history) / self.settings.epochs))

    def step(self) -> TrainingStep:
        """Say what comes next, and count it as done.

        Returns
        -------
        TrainingStep
            What to do.
        """
        if self.order is None:
            self.order = torch.randperm(self.rows, generator=self.random)
            self.position = 0
        rows = self.order[self.position : self.position + self.settings.batch_size]
        draw = float(torch.rand((), generator=self.random))
        self.position += rows.numel()
        self.steps += 1
        return TrainingStep(rows, draw)

    def end_epoch(self, totals: Mapping[str, float], held_loss: float | None) -> bool:
        """Put an epoch into the history.

        Parameters
        ----------
        totals : mapping of str to float
            Sums over its rows: of the loss (``total``) and of the loss terms (``total.*``).
        held_loss : float or None
            The validation loss, if there are validation data.

        Returns
        -------
        bool
            Whether this is the best network so far, and is to be kept.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            The loss is not finite.
        """
        number = len(self.history) + 1
        loss = totals["total"] / self.rows
        terms = {name[6:]: total / self.rows for name, total in totals.items() if name.startswith("total.")}
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of epoch {number} is no finite number: training diverged. Lower the learning rate "
                f"(found {self.settings.learning_rate:g}) or limit the gradient."
            )
        self.history.append(Epoch(number, loss, held_loss, terms))
        self.order = None
        improved = held_loss is not None and bool(self.settings.patience) and held_loss < self.best_loss
        if improved:
            assert held_loss is not None
            self.best_loss, self.best_epoch = held_loss, number
        return improved

    def state(self, tensors: dict[str, NDArray[Any]], totals: Mapping[str, float]) -> State:
        """Add to the arrays of a network what the rest of the training depends on besides them.

        Parameters
        ----------
        tensors : dict of str to ndarray
            Weights, what Adam keeps of them, and the best weights so far.
        totals : mapping of str to float
            As in :meth:`end_epoch`, of the rows of this epoch that are done.

        Returns
        -------
        State
            The whole state.
        """
        # Between two epochs there is no order: an empty one.
        order = np.zeros(0, np.int64) if self.order is None else self.order.numpy().copy()
        own = {"generator": self.random.get_state().numpy(), "order": order}
        numbers = {name: getattr(self, name) for name in ("position", "steps", "best_epoch", "best_loss")}
        return State({**own, **tensors, **losses_of(self.history)}, {**numbers, **totals})

    def restore(self, state: State) -> None:
        """Go back to a state.

        Parameters
        ----------
        state : State
            From :meth:`state`.
        """
        self.random.set_state(torch.from_numpy(np.array(state.arrays["generator"])))
        self.order = torch.from_numpy(np.array(state.arrays["order"])) if state.arrays["order"].size else None
        self.history = epochs_of(state.arrays)
        self.position, self.steps = int(state.numbers["position"]), int(state.numbers["steps"])
        self.best_epoch, self.best_loss = int(state.numbers["best_epoch"]), float(state.numbers["best_loss"])

    @staticmethod
    def totals_of(state: State) -> dict[str, float]:
        """Take the sums out of a state again.

        Parameters
        ----------
        state : State
            From :meth:`state`.

        Returns
        -------
        dict of str to float
            ``total`` and ``total.*``.
        """
        return {name: float(value) for name, value in state.numbers.items() if name.split(".")[0] == "total"}


@dataclass(frozen=True)
class Search:
    """The first part of a training with early stopping: it has found for how many epochs to train on all rows.

    Parameters
    ----------
    history : tuple of Epoch
        Its epochs.
    epochs : int
        Which of them was the best.
    steps : int
        Steps it took.
    """

    history: tuple[Epoch, ...]
    epochs: int
    steps: int

    @classmethod
    def of(cls, task: Task, found: Trained) -> Self:
        """Take the result of the first part.

        Parameters
        ----------
        task : Task
            The whole training.
        found : Trained
            What came of its first part.

        Returns
        -------
        Search
            What the second part needs of it.
        """
        per_epoch = math.ceil(task.rows / task.settings.batch_size)
        return cls(found.history, found.best_epoch, per_epoch * len(found.history))

    @classmethod
    def split(cls, state: State | None) -> tuple[Self | None, State | None]:
        """Undo :meth:`before`.

        Parameters
        ----------
        state : State or None
            Where a training was left.

        Returns
        -------
        search : Search or None
            Its first part, if that is over.
        state : State or None
            Where the part under way was left.
        """
        if state is None or "searched" not in state.numbers:
            return None, state
        history, count = epochs_of(state.arrays), int(state.numbers["searched"])
        search = cls(tuple(history[:count]), int(state.numbers["epochs"]), int(state.numbers["search_steps"]))
        numbers = {**state.numbers, "steps": state.numbers["steps"] - search.steps}
        return search, State(with_history(state.arrays, history[count:]), numbers)

    def task(self, task: Task) -> Task:
        """Describe the second part.

        Parameters
        ----------
        task : Task
            The whole training.

        Returns
        -------
        Task
            On all rows, without early stopping.
        """
        assert task.everything is not None
        settings = replace(task.settings, epochs=self.epochs, patience=0)
        return replace(task, settings=settings, data=task.everything, held=None, everything=None)

    def before(self, state: State) -> State:
        """Put the search before the state of the training that follows it.

        Parameters
        ----------
        state : State
            Of the second part.

        Returns
        -------
        State
            Of the whole.
        """
        numbers = {**state.numbers, "steps": state.numbers["steps"] + self.steps}
        numbers |= {"searched": len(self.history), "search_steps": self.steps, "epochs": self.epochs}
        return State(with_history(state.arrays, [*self.history, *epochs_of(state.arrays)]), numbers)

    def later(self, epoch: Epoch) -> Epoch:
        """Count an epoch of the second part on from those of the search.

        Parameters
        ----------
        epoch : Epoch
            As the second part counts it.

        Returns
        -------
        Epoch
            As the whole does.
        """
        return replace(epoch, number=epoch.number + len(self.history))

    def join(self, trained: Trained) -> Trained:
        """Put the history of the search before that of the network.

        Parameters
        ----------
        trained : Trained
            What came of the second part.

        Returns
        -------
        Trained
            The whole; the last epoch is the best.
        """
        history = (*self.history, *map(self.later, trained.history))
        return Trained(trained.weights, history, len(history))
