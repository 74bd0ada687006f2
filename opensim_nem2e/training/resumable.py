"""Train the network of a folder, so that a killed process costs no more than what followed its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..workers import WorkStopped
from .checkpoint import DamagedFileError, NetworkFolder
from .task import Epoch, State, Trained, epochs_of
from .trainer import train_task


class TrainingStopped(WorkStopped):
    """Training was asked to stop, and has left a checkpoint."""


class _Checkpoints:
    """Writes a checkpoint whenever it is time, and when it is asked to stop."""

    def __init__(
        self, folder: NetworkFolder, interval: float, stop: Callable[[], bool], note: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.interval = interval
        self.stop = stop
        self.note = note
        self.last = time.monotonic()
        self.failed = False

    def after_step(self, state: Callable[[], State]) -> None:
        stop = self.stop()
        if stop or time.monotonic() - self.last >= self.interval:
            try:
                self.folder.save(state())
            except OSError as error:
                # The last checkpoint stands, and the disk may have room again next time.
                if not self.failed:
                    self.note(f"No checkpoint could be written to '{self.folder.path}': {error.strerror or error}.")
                self.failed = True
            # After the writing, which must not take up all the time.
            self.last = time.monotonic()
        if stop:
            raise TrainingStopped("Training was asked to stop.")


def train_folder(
    folder: NetworkFolder,
    interval: float,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[list[Epoch]], None] = lambda history: None,
    on_epoch: Callable[[Epoch], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Trained:
    """Train the network that a folder describes, from its last checkpoint on if there is one.

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
    with folder.locked(stop, note) as held:
        if not held:
            raise TrainingStopped("Training was asked to stop while another process trained the same network.")
        try:
            trained = folder.trained()
        except DamagedFileError as error:
            note(str(error))
            trained = None
        if trained is not None:
            # By the process that had the lock before.
            on_start(list(trained.history))
            return trained
        task = folder.task()
        state = folder.load(note)
        on_start([] if state is None else epochs_of(state.arrays))
        checkpoints = _Checkpoints(folder, interval, stop, note)
        trained = train_task(task, on_epoch=on_epoch, resume=state, after_step=checkpoints.after_step)
        folder.finish(trained)
        return trained
