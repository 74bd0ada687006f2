"""Many networks at once: in processes with one network each, together on a graphics card, or on a Dask cluster.

The processes (:mod:`opensim_nem2e.workers`) share nothing with this one but a folder per network
(:mod:`opensim_nem2e.training.checkpoint`). What they report is a mapping with ``network``, ``kind`` (started, epochs,
note, choice, finished) and what belongs to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import NEM2EError, TrainingError
from ..log import logger
from ..workers import (
    ATTEMPTS,
    ClusterWorkers,
    Event,
    LocalWorkers,
    Report,
    Stop,
    Work,
    available_processors,
    free_memory,
    run,
)
from .checkpoint import CheckpointStore, DamagedFileError, NetworkFolder
from .task import Epoch, Task, Trained

#: What a process needs besides its network: Python, NumPy and PyTorch (bytes; measured: 265 MB).
BASE_MEMORY = 270e6
#: Arrays of the size of a network that a process holds at most: weights, gradients, Adam's two, the best so far, and,
#: while a checkpoint is written, copies of these and the file's content (measured at 700 hidden units: 655 MB).
NETWORK_COPIES = 18

#: Reports of epochs are gathered for so long (s): small networks end hundreds in a second.
_REPORT_EVERY = 0.1

#: An epoch: number, loss, validation loss, seconds since the training began or went on, loss terms by name.
Row = tuple[int, float, float | None, float | None, Mapping[str, float]]


class _Watcher(Protocol):
    """Told of everything that goes on."""

    def started(self, name: str, history: Sequence[Row]) -> None:
        """A network's training begins, or goes on after the epochs in ``history``."""

    def epochs(self, name: str, rows: Sequence[Row]) -> None:
        """Epochs ended."""

    def finished(self, name: str, trained: Trained) -> None:
        """A network is finished."""

    def reused(self, name: str, trained: Trained) -> None:
        """A network was finished before this run."""

    def tick(self) -> None:
        """Nothing happened for a moment."""


@dataclass
class Job:
    """One network to train.

    Parameters
    ----------
    name : str
        Unique, and fit for a folder's name.
    task : callable
        Prepares the training; called when it is the job's turn, so that no more data are held than needed.
    done : callable
        Given the finished network.
    folder : NetworkFolder, optional
        Where it is trained; known once it was its turn.
    """

    name: str
    task: Callable[[], Task]
    done: Callable[[Trained], None]
    folder: NetworkFolder | None = field(default=None, repr=False)


def memory_of(weights: int) -> float:
    """Estimate the largest memory of a training process.

    Parameters
    ----------
    weights : int
        Weights of a network.

    Returns
    -------
    float
        Bytes.
    """
    return BASE_MEMORY + NETWORK_COPIES * 4 * weights


def default_jobs(threads: int, memory: float) -> int:
    """Choose how many networks are trained at once: as many as processors and memory allow.

    Parameters
    ----------
    threads : int
        Threads of a process.
    memory : float
        Memory of a process (bytes).

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(len(available_processors()) // threads, int(0.8 * free_memory() / memory), 1 << 16))


class Pool:
    """Trains networks in processes of their own.

    Results do not depend on the number of processes, nor on where they run, as far as the machines are alike; those of
    a graphics card differ in the last bits. A process that dies is replaced, and its network goes on from its last
    checkpoint, once; if that process dies, too, the other networks are trained and then an error says so.

    Parameters
    ----------
    store : pathlib.Path
        The checkpoint directory.
    processes : int
        How many networks are trained at once, on this machine; of no meaning with ``device`` cuda or a scheduler's
        address.
    threads : int
        Threads of each process.
    interval : float
        Time between checkpoints (s).
    device : {'cpu', 'cuda'}
        ``cuda``: all networks are trained together on the graphics card, by one process.
    scheduler : str
        Of a Dask cluster (:class:`opensim_nem2e.workers.ClusterWorkers`) whose workers see the checkpoint directory
        under the same name; empty: processes of this machine.
    """

    def __init__(
        self,
        store: Path,
        processes: int,
        threads: int,
        interval: float,
        device: str = "cpu",
        scheduler: str = "",
    ):
        self.store = store
        self._checkpoints = CheckpointStore(store)
        self.processes = processes
        self.interval = interval
        self.device = device
        self.scheduler = scheduler
        self.finished: list[str] = []
        #: Jobs that were finished before this run.
        self.reused: list[str] = []
        self.folders: list[NetworkFolder] = []
        self._threads = threads
        self._different: set[str] = set()
        self.workers: LocalWorkers | ClusterWorkers | None = None

    def run(self, jobs: Sequence[Job], watcher: _Watcher) -> None:
        """Train networks; those that were finished before are only read.

        Parameters
        ----------
        jobs : sequence of Job
            The networks.
        watcher : _Watcher
            Told of what goes on.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            A network's training diverged, or its process died twice. What was done until then is kept.
        opensim_nem2e.errors.NEM2EError
            The checkpoint directory cannot be written, no process can be started, or the scheduler is not there.
        """
        by_name = {job.name: job for job in jobs}
        try:
            self._checkpoints.enter()
        except OSError as error:
            raise NEM2EError(
                f"The checkpoint directory '{self.store}' cannot be written: {error.strerror or error}."
            ) from error
        try:
            self.workers = self._find_workers()
            lost = run(
                self._works(jobs, watcher),
                self.workers,
                lambda event: self._heard(event, by_name, watcher),
                watcher.tick,
            )
            if lost:
                names = [job.name for job in jobs if job.name not in self.finished]
                texts = "".join(f"\n  - {key}: its process {how}" for key, how in lost.items())
                raise TrainingError(
                    f"{len(names)} of {len(jobs)} networks could not be trained, because their processes died "
                    f"{ATTEMPTS} times:{texts}\nThe others are finished and kept in '{self.store}': when the same "
                    "setup is run again, only these are trained."
                )
        except BaseException:
            self._checkpoints.leave()
            raise

    def _find_workers(self) -> LocalWorkers | ClusterWorkers:
        if self.scheduler:
            return ClusterWorkers(self.scheduler, self.processes)
        return LocalWorkers(1 if self.device == "cuda" else self.processes, self._threads)

    def _works(self, jobs: Sequence[Job], watcher: _Watcher) -> Iterator[Work]:
        """Prepare networks that are not finished, when it is their turn."""
        unfinished = (job for job in jobs if not self._is_finished(job, watcher))
        if self.device == "cuda":
            folders = {job.name: self._path(job) for job in unfinished}
            if folders:
                argument = {"folders": folders, "device": self.device, "interval": self.interval}
                yield Work("the networks on the graphics card", f"{__name__}:_train_many", argument)
            return
        for job in unfinished:
            argument = {"network": job.name, "folder": self._path(job), "interval": self.interval}
            yield Work(job.name, f"{__name__}:_train_one", argument)

    @staticmethod
    def _path(job: Job) -> str:
        assert job.folder is not None
        return os.fspath(job.folder.path.absolute())

    def remove_folders(self) -> None:
        """Remove the checkpoint directory with all folders of networks in it, unless another run is at work there."""
        others, tidied = self._checkpoints.tidy(self.folders)
        if others:
            names = ", ".join(dict.fromkeys(folder.path.parent.name for folder in others))
            logger.info(
                "Removed checkpoints of other data or settings, which did not fit this setup, from '%s': %s.",
                self.store,
                names,
            )
        if not tidied:
            logger.info(
                "Another run is at work in the checkpoint directory '%s'; what is in it is removed when that ends.",
                self.store,
            )

    def _is_finished(self, job: Job, watcher: _Watcher) -> bool:
        """Take a network that was finished before; else prepare its folder."""
        if job.folder is None:
            task = job.task()
            job.folder = NetworkFolder.of(self.store, job.name, task)
            try:
                job.folder.prepare(task)
            except OSError as error:
                raise NEM2EError(
                    f"The checkpoint directory '{self.store}' cannot be written: {error.strerror or error}."
                ) from error
            self.folders.append(job.folder)
            for text in job.folder.differences():
                self._tell_difference(job, text)
        try:
            trained = job.folder.trained()
        except DamagedFileError as error:
            logger.warning("%s The network is trained again.", error)
            return False
        if trained is None:
            return False
        self.reused.append(job.name)
        self.finished.append(job.name)
        watcher.reused(job.name, trained)
        job.done(trained)
        return True

    def _tell_difference(self, job: Job, text: str) -> None:
        if text not in self._different:
            self._different.add(text)
            logger.warning(
                "%s: there are checkpoints of other data or settings (%s) in '%s'. Training starts anew; they are kept "
                "until this run is complete. To go on from them instead, stop it and restore those settings.",
                job.name,
                text,
                self.store / job.name,
            )

    def _heard(self, event: Event, jobs: dict[str, Job], watcher: _Watcher) -> None:
        if event.kind == "failed":
            what = "The networks" if self.device == "cuda" else f"The network of {event.key}"
            raise TrainingError(f"{what} could not be trained: {event.content}")
        if event.kind == "broken":
            raise RuntimeError(f"the process that trained {event.key} broke down:\n{event.content}")
        if event.kind != "report":
            return
        told = event.content
        job = jobs[told["network"]]
        if told["kind"] == "started":
            watcher.started(job.name, told["rows"])
        elif told["kind"] == "epochs":
            watcher.epochs(job.name, told["rows"])
        elif told["kind"] == "note":
            logger.warning("%s: %s", job.name, told["text"])
        elif told["kind"] == "choice":
            logger.info("%s", told["text"])
        elif told["kind"] == "finished" and job.name not in self.finished:
            assert job.folder is not None
            trained = job.folder.trained()
            if trained is None:
                raise TrainingError(f"The network of {job.name} has vanished from '{job.folder.path}'.")
            self.finished.append(job.name)
            watcher.finished(job.name, trained)
            job.done(trained)


# --- in the processes -------------------------------------------------------------------------------------------------


def row_of(epoch: Epoch, seconds: float | None = None) -> Row:
    """Put an epoch as it is reported.

    Parameters
    ----------
    epoch : Epoch
        The epoch.
    seconds : float, optional
        Since the training began or went on.

    Returns
    -------
    tuple
        The row.
    """
    return epoch.number, epoch.loss, epoch.validation_loss, seconds, dict(epoch.terms)


class _Reporter:
    """Reports what networks do; gathers epochs and reports them a few times in a second."""

    def __init__(self, report: Report):
        self._report = report
        self._rows: dict[str, list[Row]] = {}
        self._begun: dict[str, float] = {}
        self._sent = time.monotonic()

    def started(self, name: str, history: Sequence[Epoch]) -> None:
        self._report({"network": name, "kind": "started", "rows": [row_of(epoch) for epoch in history]})
        self._begun[name] = time.monotonic()

    def epoch(self, name: str, epoch: Epoch) -> None:
        now = time.monotonic()
        self._rows.setdefault(name, []).append(row_of(epoch, round(now - self._begun[name], 3)))
        if now - self._sent >= _REPORT_EVERY:
            self.flush()
            self._sent = now

    def flush(self) -> None:
        for name, rows in self._rows.items():
            self._report({"network": name, "kind": "epochs", "rows": rows})
        self._rows.clear()

    def note(self, name: str, text: str) -> None:
        self._report({"network": name, "kind": "note", "text": text})

    def choice(self, name: str, text: str) -> None:
        self._report({"network": name, "kind": "choice", "text": text})

    def finished(self, name: str) -> None:
        self.flush()
        self._report({"network": name, "kind": "finished"})


def _train_one(argument: Mapping[str, Any], report: Report, stop: Stop) -> None:
    """Train a network: ``network``, ``folder``, and ``interval`` (s) between checkpoints."""
    # Here, not above: the process that plans and watches does not need PyTorch.
    from .trainer import train_folder

    name, reporter = argument["network"], _Reporter(report)
    try:
        train_folder(
            NetworkFolder(argument["folder"]),
            argument["interval"],
            stop=stop,
            on_start=lambda history: reporter.started(name, history),
            on_epoch=lambda epoch: reporter.epoch(name, epoch),
            note=lambda text: reporter.note(name, text),
        )
    finally:
        reporter.flush()
    reporter.finished(name)


def _train_many(argument: Mapping[str, Any], report: Report, stop: Stop) -> None:
    """Train networks on a device: ``folders`` by name, ``device``, ``interval`` (s) between checkpoints.

    With ``together`` (true or false) nothing is measured to choose whether they are computed together.
    """
    from .together import train_folders

    reporter = _Reporter(report)
    folders = {name: NetworkFolder(folder) for name, folder in argument["folders"].items()}
    try:
        train_folders(
            folders,
            argument["device"],
            argument["interval"],
            stop=stop,
            listener=reporter,
            together=argument.get("together"),
        )
    finally:
        reporter.flush()
