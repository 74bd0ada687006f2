"""Train one module on its loss terms, in a folder of checkpoints or without.

Gradients by autograd, Adam in one fused kernel. A training can be left after any step and taken up again with the same
bits (:class:`State`), and a killed process costs no more than what followed its last checkpoint
(:func:`train_folder`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from ..workers import WorkStopped
from .checkpoint import DamagedFileError, NetworkFolder
from .schedule import Progress, Search, TrainingStep
from .task import Epoch, State, Task, Trained, epochs_of
from .trainable import Group, Trainable, build, groups_of, held_terms_of, total_of

OnEpoch = Callable[[Epoch], None]
AfterStep = Callable[[Callable[[], State]], None]


class TrainingStopped(WorkStopped):
    """Training was asked to stop, and has left a checkpoint."""


def train_task(
    task: Task,
    *,
    on_epoch: OnEpoch | None = None,
    resume: State | None = None,
    after_step: AfterStep | None = None,
    device: torch.device | str = "cpu",
) -> Trained:
    """Train the module of a task; with early stopping, find the number of epochs first.

    Early stopping keeps some of the rows, those of one subject, out of the training, to see when the error on subjects
    that the module does not know stops falling. A module for use should not miss this subject: it is trained anew on
    all rows for the number of epochs that was best (Goodfellow et al. 2016, Deep Learning, algorithm 7.2).

    The same task on the same machine gives the same bits, in one go or in several. Interrupting it (KeyboardInterrupt,
    or an exception from ``on_epoch`` or ``after_step``) leaves nothing behind.

    Parameters
    ----------
    task : Task
        What and how.
    on_epoch : callable, optional
        Told of every epoch as it ends.
    resume : State, optional
        Where a training of the same task was left.
    after_step : callable, optional
        Called after every step with a function that gives the state; it may raise to leave.
    device : torch.device or str
        Where it is computed.

    Returns
    -------
    Trained
        Weights and loss history, that of the epochs before ``resume`` included. Where the number of epochs was found
        first, the history begins with the epochs that found it, which have a validation loss; those of the module
        follow, and the last is the best.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are no data, arrays do not fit each other, values are not finite, the module cannot be built, or the loss
        stops being finite.
    """
    task.check()
    search, resume = Search.split(resume)
    if search is None:
        trained = _train_part(replace(task, everything=None), on_epoch, resume, after_step, device)
        if task.everything is None:
            return trained
        search, resume = Search.of(task, trained), None
    known = search
    trained = _train_part(
        known.task(task),
        None if on_epoch is None else lambda epoch: on_epoch(known.later(epoch)),
        resume,
        None if after_step is None else lambda state: after_step(lambda: known.before(state())),
        device,
    )
    return known.join(trained)


def _train_part(
    task: Task,
    on_epoch: OnEpoch | None,
    resume: State | None,
    after_step: AfterStep | None,
    device: torch.device | str,
) -> Trained:
    with limited_threads(task.settings.threads):
        training = Training(task, device)
        if resume is not None:
            training.restore(resume)
        progress = training.progress
        with own_randomness(training.device):
            while not progress.is_over:
                while not progress.epoch_is_complete:
                    training.step(progress.step())
                    if after_step is not None:
                        after_step(training.state)
                training.end_epoch()
                if on_epoch is not None:
                    on_epoch(progress.history[-1])
        return training.trained()


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Have PyTorch use so many threads.

    Parameters
    ----------
    count : int
        Threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Leave PyTorch's random generators as they were.

    Parameters
    ----------
    device : torch.device
        Whose generator is used beside the processor's.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


class Training:
    """A module under way. Its state is whole after every step.

    Parameters
    ----------
    task : Task
        What and how; ``everything`` does not count.
    device : torch.device or str
        Where it is computed.

    Attributes
    ----------
    progress : Progress
        How far it is.
    """

    def __init__(self, task: Task, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.settings = task.settings
        self.progress = Progress(task.settings, task.rows)
        self.net = build(task).to(self.device).train()
        self.groups = groups_of(self.net, task.settings)
        learned = dict(self.net.named_parameters())
        self.names = [name for group in self.groups for name in group.names]
        self.weights: list[torch.Tensor] = [learned[name] for name in self.names]
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.adam_steps = [torch.zeros((), device=self.device) for _ in self.weights]
        self.data = _tensors(task.data, self.device)
        self.held = None if task.held is None else _tensors(task.held, self.device)
        self.totals = {"total": 0.0}
        self.best: dict[str, NDArray[np.float32]] = {}

    def step(self, step: TrainingStep) -> None:
        """Train on some rows.

        Parameters
        ----------
        step : TrainingStep
            From :attr:`progress`.
        """
        # All that the module draws hangs on the step's number alone: so it need not be in the state.
        _seed(self.device, self.settings.seed, self.progress.steps)
        rows = step.rows.to(self.device)
        batch = {name: values[rows] for name, values in self.data.items()}
        terms = cast(Trainable, self.net).loss_terms(batch, step.draw)
        loss = total_of(terms)
        self.net.zero_grad()
        loss.backward()
        for name, value in {"total": loss, **{f"total.{name}": term for name, term in terms.items()}}.items():
            self.totals[name] = self.totals.get(name, 0.0) + value.item() * step.rows.numel()
        if self.settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.weights, self.settings.gradient_clip)
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self.weights]
        first, rate = 0, self.progress.rate
        for group in self.groups:
            part = slice(first, first := first + len(group.names))
            adam_step(
                self.weights[part],
                gradients[part],
                self.means[part],
                self.squares[part],
                self.adam_steps[part],
                replace(group, learning_rate=rate * group.learning_rate),
                self.settings.decoupled_weight_decay,
            )

    def end_epoch(self) -> None:
        """Take the validation loss, and put the epoch into the history."""
        held_loss = None
        if self.held is not None:
            self.net.eval()
            with torch.no_grad():
                held_loss = total_of(held_terms_of(self.net)(self.held)).item()
            self.net.train()
        if self.progress.end_epoch(self.totals, held_loss):
            self.best = self._weights()
        self.totals = {"total": 0.0}

    def trained(self) -> Trained:
        """Give the module of the best epoch, or of the last.

        Returns
        -------
        Trained
            The result.
        """
        history, best = tuple(self.progress.history), self.progress.best_epoch
        return Trained(self.best if best else self._weights(), history, best or len(history))

    def state(self) -> State:
        """Copy what the rest of the training depends on.

        Returns
        -------
        State
            The state.
        """
        arrays = {f"{part}.{name}": _array(tensor) for part, name, tensor in self._parts()}
        arrays |= {f"best.{name}": value for name, value in self.best.items()}
        return self.progress.state(arrays, self.totals)

    def _parts(self) -> Iterator[tuple[str, str, torch.Tensor]]:
        """Name weights, buffers, and what Adam keeps."""
        for name, tensor in self.net.state_dict().items():
            yield "weights", name, tensor
        for part, tensors in (("mean", self.means), ("square", self.squares), ("adam_steps", self.adam_steps)):
            for name, tensor in zip(self.names, tensors, strict=True):
                yield part, name, tensor

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go back to a state.

        Parameters
        ----------
        state : State
            Of the same task.
        """
        self.progress.restore(state)
        self.totals = Progress.totals_of(state)
        for part, name, tensor in self._parts():
            # Into memory that PyTorch allocated: its alignment decides last bits.
            tensor.copy_(torch.from_numpy(np.array(state.arrays[f"{part}.{name}"])))
        self.best = {name[5:]: value for name, value in state.arrays.items() if name.startswith("best.")}

    def _weights(self) -> dict[str, NDArray[np.float32]]:
        return {name: _array(value) for name, value in self.net.state_dict().items()}


@torch.no_grad()
def adam_step(
    weights: list[torch.Tensor],
    gradients: list[torch.Tensor],
    means: list[torch.Tensor],
    squares: list[torch.Tensor],
    steps: list[torch.Tensor],
    group: Group,
    decoupled: bool = False,
) -> None:
    """Do one step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019), all weights in one kernel.

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
    group : Group
        TrainingStep size and penalty.
    decoupled : bool
        AdamW.
    """
    optimiser = adamw if decoupled else adam
    optimiser(
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
        lr=group.learning_rate,
        weight_decay=group.weight_decay,
        eps=1e-8,
        maximize=False,
    )


def _seed(device: torch.device, seed: int, step: int) -> None:
    # Not torch.manual_seed, which remembers every call until a graphics card is used.
    number = (seed * 1_000_003 + step) % (1 << 63)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy().copy()


def _tensors(arrays: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, torch.Tensor]:
    # Clones: memory that PyTorch allocated is always aligned alike, and alignment decides last bits.
    return {name: torch.from_numpy(np.ascontiguousarray(array)).clone().to(device) for name, array in arrays.items()}


# --- in a folder ------------------------------------------------------------------------------------------------------


class Saving:
    """Writes checkpoints, and goes on where the disk is full.

    Parameters
    ----------
    note : callable
        Told, in words for the user, that a folder takes no checkpoint; once for each.
    """

    def __init__(self, note: Callable[[str], None]):
        self.note = note
        self.last = time.monotonic()
        self.seconds = 0.0
        self._failed: set[NetworkFolder] = set()

    def save(self, states: Iterable[tuple[NetworkFolder, State]]) -> None:
        """Write checkpoints now.

        Parameters
        ----------
        states : iterable of tuple
            Folders, and what is to be saved there.
        """
        begun = time.monotonic()
        for folder, state in states:
            try:
                folder.save(state)
            except OSError as error:
                # The last checkpoint stands, and the disk may have room again next time.
                if folder not in self._failed:
                    self.note(f"No checkpoint could be written to '{folder.path}': {error.strerror or error}.")
                self._failed.add(folder)
        # After the writing, which must not take up all the time.
        self.last = time.monotonic()
        self.seconds = self.last - begun


def train_folder(
    folder: NetworkFolder,
    interval: float,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[list[Epoch]], None] = lambda history: None,
    on_epoch: OnEpoch | None = None,
    note: Callable[[str], None] = lambda text: None,
    device: torch.device | str = "cpu",
) -> Trained:
    """Train the module that a folder describes, from its last checkpoint on if there is one.

    Parameters
    ----------
    folder : NetworkFolder
        The folder, prepared.
    interval : float
        Time between checkpoints (s). 0: after every step. Infinite: only when asked to stop.
    stop : callable
        Asked after every step; true saves a checkpoint and leaves.
    on_start : callable
        Told, before the first step, of the epochs that were done before.
    on_epoch : callable, optional
        Told of every epoch as it ends.
    note : callable
        Told of what went wrong without stopping the training.
    device : torch.device or str
        Where it is computed.

    Returns
    -------
    Trained
        The finished network, also written to the folder.

    Raises
    ------
    TrainingStopped
        ``stop`` said so.
    opensim_nem2e.errors.TrainingError
        The folder's data are damaged, or training diverged.
    """
    saving = Saving(note)

    def after_step(state: Callable[[], State]) -> None:
        asked = stop()
        if asked or time.monotonic() - saving.last >= interval:
            saving.save([(folder, state())])
        if asked:
            raise TrainingStopped("Training was asked to stop.")

    with folder.locked(stop, note) as held:
        if not held:
            raise TrainingStopped("Training was asked to stop while another process trained the same network.")
        found = finished_before(folder, note)
        if found is not None:
            on_start(list(found.history))
            return found
        task, state = folder.task(), folder.load(note)
        on_start([] if state is None else epochs_of(state.arrays))
        trained = train_task(task, on_epoch=on_epoch, resume=state, after_step=after_step, device=device)
        folder.finish(trained)
        return trained


def finished_before(folder: NetworkFolder, note: Callable[[str], None]) -> Trained | None:
    """Read what the process that had the lock before has finished.

    Parameters
    ----------
    folder : NetworkFolder
        The folder.
    note : callable
        Told that it is damaged, and to be trained again.

    Returns
    -------
    Trained or None
        The finished network.
    """
    try:
        return folder.trained()
    except DamagedFileError as error:
        note(str(error))
        return None
