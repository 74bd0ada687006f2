"""Train the networks of folders together, so that a killed process costs no more than what followed their checkpoints.

The folders are those of :mod:`opensim_nem2e.training.checkpoint`; what was begun here can be finished by
:func:`opensim_nem2e.training.resumable.train_folder`, and the other way round.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from ..errors import TrainingError
from .checkpoint import DamagedFileError, NetworkFolder
from .progress import Search
from .resumable import TrainingStopped
from .settings import Epoch, Task, Trained, epochs_of
from .stacked import Stack, places_on, shape_of

# Of the time, so much at most is spent on checkpoints: those of a hundred large networks are gigabytes.
_WRITING_SHARE = 0.1


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
        return replace(self.task, everything=None) if self.search is None else self.search.task(self.task)


class _Listener(Protocol):
    """Told of what goes on."""

    def started(self, name: str, history: list[Epoch]) -> None:
        """A network's training begins, or goes on after some epochs."""

    def epoch(self, name: str, epoch: Epoch) -> None:
        """An epoch ended."""

    def finished(self, name: str) -> None:
        """A network is finished, and in its folder."""

    def note(self, name: str, text: str) -> None:
        """Something went wrong without stopping the training."""


def train_folders(
    folders: Mapping[str, NetworkFolder],
    device: str,
    interval: float,
    *,
    stop: Callable[[], bool],
    listener: _Listener,
) -> None:
    """Train the networks that folders describe, those of the same shape together, from their last checkpoints on.

    Parameters
    ----------
    folders : mapping of str to NetworkFolder
        The folders, prepared, by the networks' names.
    device : str
        ``cpu`` or ``cuda``.
    interval : float
        Time between checkpoints (s); more where writing them would take more than a tenth of the time.
    stop : callable
        Asked after every step; true saves checkpoints of all networks and leaves.
    listener : _Listener
        Told of what goes on.

    Raises
    ------
    opensim_nem2e.training.resumable.TrainingStopped
        ``stop`` said so.
    opensim_nem2e.errors.TrainingError
        A folder's data are damaged, or a training diverged; the others have left checkpoints.
    """
    groups: dict[Hashable, list[_Network]] = {}
    for name, folder in folders.items():
        network = _Network(name, folder, folder.task())
        groups.setdefault(shape_of(network.task), []).append(network)
    for group in groups.values():
        _Group(group, device, interval, stop, listener).run()


class _Group:
    """Networks of one shape."""

    def __init__(
        self,
        networks: list[_Network],
        device: str,
        interval: float,
        stop: Callable[[], bool],
        listener: _Listener,
    ):
        self.waiting = deque(networks)
        self.interval, self.stop, self.listener = interval, stop, listener
        largest = max((network.task for network in networks), key=lambda task: len(task.x))
        self.stack = Stack(largest, places_on(device, largest, len(networks)), device, on_epoch=self._ended)
        self.saved, self.writing = time.monotonic(), 0.0
        self.failed: set[str] = set()

    def run(self) -> None:
        with ExitStack() as locks:
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
                pause = self.interval and max(self.interval, self.writing * (1 / _WRITING_SHARE - 1))
                if stopping or faults or time.monotonic() - self.saved >= pause:
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
        try:
            trained = network.folder.trained()
        except DamagedFileError as error:
            note(str(error))
            trained = None
        if trained is not None:
            self.listener.started(network.name, list(trained.history))
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
        begun = time.monotonic()
        for network in self.stack.keys:
            state = self.stack.state(network)
            try:
                network.folder.save(state if network.search is None else network.search.before(state))
            except OSError as error:
                # The last checkpoint stands, and the disk may have room again next time.
                if network.name not in self.failed:
                    self.listener.note(
                        network.name,
                        f"No checkpoint could be written to '{network.folder.path}': {error.strerror or error}.",
                    )
                self.failed.add(network.name)
        self.saved = time.monotonic()
        self.writing = self.saved - begun
