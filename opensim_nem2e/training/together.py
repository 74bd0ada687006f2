"""Train many networks on one device: computed together where that is faster there, or else one after the other.

What is computed for a network is what :mod:`opensim_nem2e.training.trainer` computes: the same first weights, the same
rows in the same order, the same gradients and Adam, up to rounding. Only that ``torch.func.vmap`` runs every operation
over all networks at once. Networks may differ in their data, in the number of their rows, in their seeds and in when
they stop: each has its own epochs, and when it is finished its place goes to the next.

The folders are those of :mod:`opensim_nem2e.training.checkpoint`; what was begun here can be finished by
:func:`opensim_nem2e.training.trainer.train_folder`, and the other way round.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from ..errors import TrainingError
from .checkpoint import NetworkFolder
from .schedule import Progress, Search, TrainingStep
from .task import Epoch, State, Task, Trained, epochs_of
from .trainable import Trainable, build, groups_of, held_terms_of, total_of
from .trainer import (
    Saving,
    Training,
    TrainingStopped,
    adam_step,
    finished_before,
    limited_threads,
    own_randomness,
    train_folder,
)

# Of the time, so much at most is spent on checkpoints: those of a hundred large networks are gigabytes.
_WRITING_SHARE = 0.1
# Of a graphics card's free memory, so much is used.
_MEMORY_SHARE = 0.8
# Steps that warm up, and steps that are timed, to choose how networks are computed.
_WARM_UPS, _TIMED = 2, 3


class _Listener(Protocol):
    """Told of what goes on."""

    def started(self, name: str, history: Sequence[Epoch]) -> None:
        """A network's training begins, or goes on after some epochs."""

    def epoch(self, name: str, epoch: Epoch) -> None:
        """An epoch ended."""

    def finished(self, name: str) -> None:
        """A network is finished, and in its folder."""

    def note(self, name: str, text: str) -> None:
        """Something went wrong without stopping the training."""

    def choice(self, name: str, text: str) -> None:
        """How a network and those like it are computed."""


def shape_of(task: Task) -> Hashable:
    """Say what networks must have in common to be computed together.

    Parameters
    ----------
    task : Task
        A training.

    Returns
    -------
    hashable
        Equal for trainings that differ only in their data, seeds, first weights, and when they stop.
    """
    settings = dataclasses.replace(task.settings, seed=0, epochs=0, patience=0, threads=1)
    digest = hashlib.sha256()
    for name, array in sorted((task.constants or {}).items()):
        digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
        digest.update(array.tobytes())
    arguments = json.dumps(task.module.arguments, sort_keys=True)
    return task.module.builder, arguments, digest.hexdigest(), settings, _row_shapes(task.data)


def _row_shapes(arrays: Mapping[str, NDArray[Any]]) -> Hashable:
    return tuple(sorted((name, array.shape[1:], array.dtype.str) for name, array in arrays.items()))


class _Terms(nn.Module):
    """Calls the loss terms of a module where ``torch.func.functional_call`` calls ``forward``."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Tensor], draw: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        if draw is None:
            terms = held_terms_of(self.net)(batch)
        else:
            terms = cast(Trainable, self.net).loss_terms(batch, cast(float, draw))
        return total_of(terms), terms


@dataclass(eq=False)
class _Member:
    """A network in its place."""

    key: Any
    task: Task
    progress: Progress
    held: dict[str, Tensor] | None
    best: dict[str, NDArray[Any]]


class Stack:
    """Places for networks of one shape.

    Parameters
    ----------
    like : Task
        A training of the shape (:func:`shape_of`).
    places : int
        For how many networks.
    device : torch.device or str
        Where they are computed.
    on_epoch : callable, optional
        Told the key and the epoch of every network as it ends one.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        Modules of this kind cannot be computed together.
    """

    def __init__(
        self,
        like: Task,
        places: int,
        device: torch.device | str = "cpu",
        on_epoch: Callable[[Any, Epoch], None] | None = None,
    ):
        self.shape = shape_of(like)
        self.settings = like.settings
        self.device = torch.device(device)
        self.on_epoch = on_epoch
        self._net = build(like).to(self.device).train()
        if not can_stack(self._net):
            raise TrainingError(
                f"Modules of '{like.module.builder}' cannot be computed together: they must say batched = True and "
                "have parameters of float32 only, all of them learned and none of them shared."
            )
        cast(Any, self._net).stacked = True
        self._terms = _Terms(self._net)
        self.groups = groups_of(self._net, like.settings)
        own = dict(self._net.named_parameters())
        # All numbers of a network in one row, groups in one piece: Adam takes a row of each group and place.
        self._names = [name for group in self.groups for name in group.names]
        self._shapes = {name: own[name].shape for name in self._names}
        self._sizes = [own[name].numel() for name in self._names]
        self._group_sizes = [sum(own[name].numel() for name in group.names) for group in self.groups]
        self._weights, self._means, self._squares = (
            torch.zeros(places, sum(self._sizes), device=self.device) for _ in range(3)
        )
        self._adam_steps = torch.zeros(places, len(self.groups), device=self.device)
        self._buffers = {name: torch.stack([value] * places) for name, value in self._net.named_buffers()}
        self._totals: dict[str, Tensor] = {}
        self._members: list[_Member | None] = [None] * places
        self._data = {
            name: torch.stack([torch.from_numpy(np.array(array[:0]))] * places).to(self.device)
            for name, array in like.data.items()
        }
        self._gradient = vmap(grad_and_value(self._call, has_aux=True))
        self._judge = vmap(lambda weights, buffers, batch: self._call(weights, buffers, batch, None)[0])

    def _call(
        self, weights: Tensor, buffers: dict[str, Tensor], batch: dict[str, Tensor], draw: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a network from its row."""
        tensors = {f"net.{name}": value for name, value in {**self._split(weights), **buffers}.items()}
        loss_and_terms: tuple[Tensor, dict[str, Tensor]] = functional_call(self._terms, tensors, (batch, draw))
        return loss_and_terms

    def _split(self, row: Tensor) -> dict[str, Tensor]:
        """Take a row, or rows, apart into what it holds by name."""
        parts = row.split(self._sizes, dim=-1)
        return {
            name: part.reshape((*row.shape[:-1], *self._shapes[name]))
            for name, part in zip(self._names, parts, strict=True)
        }

    @property
    def keys(self) -> list[Any]:
        """The networks under way."""
        return [member.key for member in self._members if member is not None]

    @property
    def has_room(self) -> bool:
        """Whether there is a free place."""
        return None in self._members

    @torch.no_grad()
    def add(self, key: Any, task: Task, state: State | None = None) -> None:
        """Give a network a place.

        Parameters
        ----------
        key : hashable
            What it is called.
        task : Task
            Its training, of the shape of this stack; ``everything`` does not count.
        state : State, optional
            Where its training was left, here or alone.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            The task has another shape, there are no data, or they do not fit each other.
        """
        task.check()
        if shape_of(task) != self.shape:
            raise TrainingError(
                "Networks that are computed together must have the same module, constants and settings, and data of "
                "the same names and shapes."
            )
        # It starts as it would alone; only from then on it is computed here.
        alone = Training(task, self.device)
        if state is not None:
            alone.restore(state)
        place = self._members.index(None)
        own = (alone.weights, alone.means, alone.squares)
        for table, tensors in zip((self._weights, self._means, self._squares), own, strict=True):
            table[place] = torch.cat([tensor.reshape(-1) for tensor in tensors])
        firsts = np.cumsum([0, *(len(group.names) for group in self.groups[:-1])])
        self._adam_steps[place] = torch.stack([alone.adam_steps[first] for first in firsts])
        for name, value in alone.net.named_buffers():
            self._buffers[name][place] = value
        for name, values in alone.data.items():
            missing = len(values) - self._data[name].shape[1]
            if missing > 0:
                old = self._data[name]
                self._data[name] = torch.cat([old, old.new_zeros(len(old), missing, *old.shape[2:])], dim=1)
            self._data[name][place, : len(values)] = values
        for name in {**self._totals, **alone.totals}:
            self._total(name)[place] = alone.totals.get(name, 0.0)
        self._members[place] = _Member(key, task, alone.progress, alone.held, alone.best)

    def _total(self, name: str) -> Tensor:
        if name not in self._totals:
            self._totals[name] = torch.zeros(len(self._members), dtype=torch.float64, device=self.device)
        return self._totals[name]

    def _totals_of(self, place: int) -> dict[str, float]:
        return {name: values[place].item() for name, values in self._totals.items()}

    def advance(self) -> dict[Any, Trained | TrainingError]:
        """Do a step of every network, and end the epochs that are complete.

        Returns
        -------
        dict of object to Trained or TrainingError
            The networks that are finished, or diverged, by key; their places are free.
        """
        together: dict[int, list[tuple[int, TrainingStep]]] = {}
        for place, member in enumerate(self._members):
            # One that was left between its last step and the end of its epoch has nothing to do but end it.
            if member is not None and not member.progress.epoch_is_complete:
                step = member.progress.step()
                together.setdefault(step.rows.numel(), []).append((place, step))
        # At the end of an epoch a network may have fewer rows left than others: these steps are another call.
        for steps in together.values():
            self._step([place for place, _ in steps], [step for _, step in steps])
        return self._end_epochs()

    def _step(self, places: list[int], steps: list[TrainingStep]) -> None:
        # Where it is all of them, nothing is copied.
        where = slice(None) if len(places) == len(self._members) else torch.tensor(places, device=self.device)
        each = torch.tensor(places, device=self.device)[:, None]
        rows = torch.stack([step.rows for step in steps]).to(self.device)
        batch = {name: values[each, rows] for name, values in self._data.items()}
        draws = torch.tensor([step.draw for step in steps], dtype=torch.float64, device=self.device)
        gradients, (losses, terms) = self._gradient(self._weights[where], self._of(where), batch, draws)
        for name, values in {"total": losses, **{f"total.{name}": term for name, term in terms.items()}}.items():
            self._total(name)[where] += values.detach().double() * rows.shape[1]
        if self.settings.gradient_clip:
            norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
            gradients = gradients * (self.settings.gradient_clip / (norms + 1e-6)).clamp(max=1)
        for k, group in enumerate(self.groups):

            def rows_of(table: Tensor, k: int = k) -> list[Tensor]:
                return [table[place].split(self._group_sizes)[k] for place in places]

            adam_step(
                rows_of(self._weights),
                [row.split(self._group_sizes)[k] for row in gradients],
                rows_of(self._means),
                rows_of(self._squares),
                [self._adam_steps[place, k] for place in places],
                group,
                self.settings.decoupled_weight_decay,
            )

    def _of(self, where: Tensor | slice) -> dict[str, Tensor]:
        return {name: values[where] for name, values in self._buffers.items()}

    def _member(self, place: int) -> _Member:
        member = self._members[place]
        assert member is not None
        return member

    def _end_epochs(self) -> dict[Any, Trained | TrainingError]:
        ended = [
            place
            for place, member in enumerate(self._members)
            if member is not None and member.progress.epoch_is_complete
        ]
        held = self._held_losses(ended)
        finished: dict[Any, Trained | TrainingError] = {}
        for place in ended:
            member = self._member(place)
            totals = self._totals_of(place)
            for values in self._totals.values():
                values[place] = 0
            try:
                is_best = member.progress.end_epoch(totals, held.get(place))
            except TrainingError as error:
                finished[member.key] = error
                self._members[place] = None
                continue
            if is_best:
                member.best = self._arrays(place)
            if self.on_epoch is not None:
                self.on_epoch(member.key, member.progress.history[-1])
            if member.progress.is_over:
                history, best = tuple(member.progress.history), member.progress.best_epoch
                weights = member.best if best else self._arrays(place)
                finished[member.key] = Trained(weights, history, best or len(history))
                self._members[place] = None
        return finished

    @torch.no_grad()
    def _held_losses(self, places: Iterable[int]) -> dict[int, float]:
        together: dict[Hashable, list[int]] = {}
        for place in places:
            held = self._member(place).held
            if held is not None:
                shapes = tuple(sorted((name, tuple(values.shape)) for name, values in held.items()))
                together.setdefault(shapes, []).append(place)
        losses: dict[int, float] = {}
        self._net.eval()
        for same in together.values():
            parts = [cast(dict[str, Tensor], self._member(place).held) for place in same]
            batch = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
            where = torch.tensor(same, device=self.device)
            found = self._judge(self._weights[where], self._of(where), batch).tolist()
            losses.update(zip(same, found, strict=True))
        self._net.train()
        return losses

    def _arrays(self, place: int) -> dict[str, NDArray[Any]]:
        """Copy the weights of a network, and its persistent buffers."""
        tensors = {
            **self._split(self._weights[place]),
            **{name: values[place] for name, values in self._buffers.items()},
        }
        return {name: tensors[name].detach().cpu().numpy().copy() for name in self._net.state_dict()}

    def state(self, key: Any) -> State:
        """Copy what the rest of a network's training depends on.

        Parameters
        ----------
        key : hashable
            The network.

        Returns
        -------
        State
            As if it had been trained alone.
        """
        place = next(k for k, member in enumerate(self._members) if member is not None and member.key == key)
        member = self._member(place)
        arrays = {f"weights.{name}": value for name, value in self._arrays(place).items()}
        for part, rows in (("mean", self._means), ("square", self._squares)):
            values = self._split(rows[place])
            arrays |= {f"{part}.{name}": value.cpu().numpy().copy() for name, value in values.items()}
        for k, group in enumerate(self.groups):
            steps = self._adam_steps[place, k].cpu().numpy()
            arrays |= {f"adam_steps.{name}": steps.copy() for name in group.names}
        arrays |= {f"best.{name}": value for name, value in member.best.items()}
        return member.progress.state(arrays, self._totals_of(place))


def can_stack(module: nn.Module) -> bool:
    """Tell whether modules like this one can be computed together.

    Parameters
    ----------
    module : Module
        The module.

    Returns
    -------
    bool
        It says so, and all its parameters are learned, float32, and not shared.
    """
    weights, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    return (
        bool(getattr(module, "batched", False))
        # No tensor has two names.
        and set(module.state_dict()) <= {*weights, *buffers}
        and all(weight.requires_grad and weight.dtype == torch.float32 for weight in weights.values())
    )


# --- the choice -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speed:
    """What a step of a network takes on a device.

    Parameters
    ----------
    alone, together : float
        Time of a step of one network (s), computed alone or with others.
    places : int
        With how many others; on a graphics card as many as its memory holds.
    """

    alone: float
    together: float
    places: int


def measure(tasks: Sequence[Task], device: torch.device | str) -> Speed:
    """Time a few steps of networks of one shape, computed alone and together.

    Parameters
    ----------
    tasks : sequence of Task
        The trainings. They are not changed.
    device : torch.device or str
        Where.

    Returns
    -------
    Speed
        What was measured.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        The networks cannot be computed together, or a training diverged.
    """
    device = torch.device(device)
    endless = [
        dataclasses.replace(
            task, held=None, everything=None, settings=dataclasses.replace(task.settings, epochs=10**9, patience=0)
        )
        for task in tasks
    ]
    with limited_threads(tasks[0].settings.threads), own_randomness(device):
        one = _time(_stepper(endless[0], device), device)
        count = _places(endless, device)
        many = _time(_filled(endless[:count], device).advance, device)
    return Speed(one, many / count, count)


def _stepper(task: Task, device: torch.device) -> Callable[[], object]:
    training = Training(task, device)

    def step() -> None:
        training.step(training.progress.step())
        if training.progress.epoch_is_complete:
            training.end_epoch()

    return step


def _filled(tasks: Sequence[Task], device: torch.device) -> Stack:
    stack = Stack(tasks[0], len(tasks), device)
    for key, task in enumerate(tasks):
        stack.add(key, task)
    return stack


def _places(tasks: Sequence[Task], device: torch.device) -> int:
    """Tell how many networks a device's memory holds together."""
    if device.type != "cuda":
        return len(tasks)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    few = tasks[:2]
    _filled(few, device).advance()
    needed = (torch.cuda.max_memory_allocated(device) - before) / len(few)
    torch.cuda.empty_cache()
    return max(1, min(len(tasks), int(_MEMORY_SHARE * free / max(needed, 1))))


def _time(step: Callable[[], object], device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(_WARM_UPS):
        step()
    wait()
    begun = time.perf_counter()
    for _ in range(_TIMED):
        step()
    wait()
    return (time.perf_counter() - begun) / _TIMED


# --- in folders -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Network:
    """A network under way, and, where it has two parts, what came of the first."""

    name: str
    folder: NetworkFolder
    task: Task
    search: Search | None = None
    lock: ExitStack | None = None

    @property
    def part(self) -> Task:
        """What is trained now."""
        return dataclasses.replace(self.task, everything=None) if self.search is None else self.search.task(self.task)


def train_folders(
    folders: Mapping[str, NetworkFolder],
    device: torch.device | str,
    interval: float,
    *,
    stop: Callable[[], bool],
    listener: _Listener,
    together: bool | None = None,
) -> None:
    """Train the networks that folders describe on one device, from their last checkpoints on.

    Parameters
    ----------
    folders : mapping of str to NetworkFolder
        The folders, prepared, by the networks' names.
    device : torch.device or str
        Where.
    interval : float
        Time between checkpoints (s); more where writing them would take more than a tenth of the time.
    stop : callable
        Asked after every step; true saves checkpoints and leaves.
    listener : _Listener
        Told of what goes on.
    together : bool, optional
        Whether networks of the same shape are computed together. By default what is faster: a few steps of both are
        timed. So a run that is taken up may choose otherwise, which changes last bits.

    Raises
    ------
    opensim_nem2e.training.trainer.TrainingStopped
        ``stop`` said so.
    opensim_nem2e.errors.TrainingError
        A folder's data are damaged, or a training diverged; the others have left checkpoints.
    """
    groups: dict[Hashable, list[_Network]] = {}
    for name, folder in folders.items():
        network = _Network(name, folder, folder.task())
        groups.setdefault(shape_of(network.task), []).append(network)
    for group in groups.values():
        places = _choose(group, device, listener, together)
        if places:
            _Group(group, places, device, interval, stop, listener).run()
            continue
        for network in group:
            _train_alone(network, device, interval, stop, listener)


def _choose(networks: list[_Network], device: torch.device | str, listener: _Listener, together: bool | None) -> int:
    """Say how many networks of one shape are computed together; 0: each alone."""
    first = networks[0]
    if together is False or not can_stack(build(first.task)) or (len(networks) == 1 and not together):
        return 0
    if first.task.settings.final_learning_rate is not None:
        # Networks side by side are not all in the same epoch, but share one step size.
        return 0
    tasks = [network.task for network in networks]
    if together:
        return _places(tasks, torch.device(device))
    try:
        speed = measure(tasks, device)
    except (TrainingError, RuntimeError) as error:
        # PyTorch's errors, lack of memory among them, are RuntimeErrors.
        listener.choice(first.name, f"{len(networks)} networks cannot be computed together: {error} Each is alone.")
        return 0
    chosen = speed.together < speed.alone
    listener.choice(
        first.name,
        f"{len(networks)} networks are computed {f'together, {speed.places} at once' if chosen else 'one by one'}: a "
        f"step of one takes {1e3 * speed.alone:.3g} ms alone and {1e3 * speed.together:.3g} ms together.",
    )
    return speed.places if chosen else 0


def _train_alone(
    network: _Network, device: torch.device | str, interval: float, stop: Callable[[], bool], listener: _Listener
) -> None:
    train_folder(
        network.folder,
        interval,
        stop=stop,
        on_start=lambda history: listener.started(network.name, history),
        on_epoch=lambda epoch: listener.epoch(network.name, epoch),
        note=lambda text: listener.note(network.name, text),
        device=device,
    )
    listener.finished(network.name)


class _Group:
    """Networks of one shape, computed together."""

    def __init__(
        self,
        networks: list[_Network],
        places: int,
        device: torch.device | str,
        interval: float,
        stop: Callable[[], bool],
        listener: _Listener,
    ):
        self.waiting = deque(networks)
        self.interval, self.stop, self.listener = interval, stop, listener
        self.stack = Stack(networks[0].part, places, device, on_epoch=self._ended)
        self.saving = Saving(lambda text: listener.note(networks[0].name, text))

    def run(self) -> None:
        with ExitStack() as locks, limited_threads(self.stack.settings.threads):
            while self.waiting or self.stack.keys:
                while self.waiting and self.stack.has_room:
                    self._begin(self.waiting.popleft(), locks)
                results = self.stack.advance()
                faults = {network: result for network, result in results.items() if isinstance(result, TrainingError)}
                for network, result in results.items():
                    if isinstance(result, Trained):
                        self._take(network, result)
                stopping = self.stop()
                # 0 is asked for by who wants one after every step, whatever it costs.
                pause = self.interval and max(self.interval, self.saving.seconds * (1 / _WRITING_SHARE - 1))
                if stopping or faults or time.monotonic() - self.saving.last >= pause:
                    self._save()
                for network, fault in faults.items():
                    raise TrainingError(f"{network.name}: {fault}")
                if stopping and (self.waiting or self.stack.keys):
                    raise TrainingStopped("Training was asked to stop.")

    def _begin(self, network: _Network, locks: ExitStack) -> None:
        def note(text: str) -> None:
            self.listener.note(network.name, text)

        network.lock = locks.enter_context(ExitStack())
        if not network.lock.enter_context(network.folder.locked(self.stop, note)):
            self._save()
            raise TrainingStopped("Training was asked to stop while another process trained the same network.")
        found = finished_before(network.folder, note)
        if found is not None:
            self.listener.started(network.name, list(found.history))
            self.listener.finished(network.name)
            return
        state = network.folder.load(note)
        self.listener.started(network.name, [] if state is None else epochs_of(state.arrays))
        network.search, state = Search.split(state)
        self.stack.add(network, network.part, state)

    def _ended(self, network: _Network, epoch: Epoch) -> None:
        self.listener.epoch(network.name, epoch if network.search is None else network.search.later(epoch))

    def _take(self, network: _Network, trained: Trained) -> None:
        if network.task.everything is not None and network.search is None:
            network.search = Search.of(network.task, trained)
            self.stack.add(network, network.part)
            return
        network.folder.finish(trained if network.search is None else network.search.join(trained))
        assert network.lock is not None
        network.lock.close()
        self.listener.finished(network.name)

    def _save(self) -> None:
        self.saving.save(
            (network.folder, state if network.search is None else network.search.before(state))
            for network, state in ((network, self.stack.state(network)) for network in self.stack.keys)
        )
