"""Many networks at once: processes with one network each, restarted when they die.

Why processes of our own (``subprocess``) rather than ``multiprocessing``: PyTorch must not be forked, and spawning
imports the script of the caller a second time, which runs the tool once more in plain scripts such as those that most
users of OpenSim write. The processes share nothing with this one but a folder per network
(:mod:`opensim_nem2e.training.checkpoint`).
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import NEM2EError, TrainingError
from ..log import logger
from .checkpoint import CheckpointStore, DamagedFileError, NetworkFolder
from .settings import Task, Trained

#: What a process needs besides its network: Python, NumPy and PyTorch (bytes; measured: 251 MB).
BASE_MEMORY = 260e6
#: Arrays of the size of a network that a process holds at most: weights, gradients, Adam's two, the best so far, and,
#: while a checkpoint is written, copies of these and the file's content (measured at 700 hidden units: 597 MB).
NETWORK_COPIES = 16

_ATTEMPTS = 2
_PATIENCE = 60.0
_POLL = 0.5
_TAIL = 2000

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from opensim_nem2e.training._worker import main; "
    "main(sys.argv[2:])"
)

Row = tuple[int, float, float | None, float | None]


class _Watcher(Protocol):
    """Told of everything that goes on."""

    def started(self, name: str, history: Sequence[Row]) -> None:
        """A network's training begins, or goes on after the epochs in ``history``."""

    def epochs(self, name: str, rows: Sequence[Row]) -> None:
        """Epochs ended: number, loss, validation loss, and seconds since the training began or went on."""

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
    attempts : int
        How often its training was begun or taken up in this run.
    folder : NetworkFolder, optional
        Where it is trained; known once it was its turn.
    """

    name: str
    task: Callable[[], Task]
    done: Callable[[Trained], None]
    attempts: int = 0
    folder: NetworkFolder | None = field(default=None, repr=False)


def available_processors() -> list[int]:
    """List the processors that this process may use.

    Returns
    -------
    list of int
        Their numbers; fewer than the machine has where a scheduler or a container says so.
    """
    affinity = getattr(os, "sched_getaffinity", lambda process: range(os.cpu_count() or 1))
    found = sorted(affinity(0))
    try:
        # A container's share of the machine's time.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return found[: max(1, int(int(quota) / int(period)))]
    except (OSError, ValueError):
        return found


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


def free_memory() -> float:
    """Tell how much memory there is for new processes.

    Returns
    -------
    float
        Bytes; where the system does not say (other than Linux), more than any machine has.
    """
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 1e15


class _Worker:
    """A process, the thread that hears its reports, and the job it has in hand."""

    def __init__(self, pool: Pool, processors: Sequence[int]):
        self.processors = processors
        self.job: Job | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        command += [repr(pool.interval), ",".join(map(str, processors if pool.pinned else ()))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=pool.environment
        )
        self.listener = threading.Thread(target=self._listen, args=(pool.events,), daemon=True)
        self.listener.start()

    def _listen(self, events: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                events.put((self, json.loads(line)))
            except ValueError:
                # Cut off by the process's death.
                break
        events.put((self, None))

    def give(self, job: Job) -> None:
        assert self.process.stdin is not None
        assert job.folder is not None
        self.job = job
        try:
            self.process.stdin.write((json.dumps({"folder": os.fspath(job.folder.path.absolute())}) + "\n").encode())
            self.process.stdin.flush()
        except OSError:
            # It has died; the listener says so, too.
            pass

    def dismiss(self) -> None:
        """Tell the process that there is nothing more to do: it saves, and leaves."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except OSError:
            pass

    def death(self) -> str:
        """Say in words how the process ended."""
        code = self.process.wait()
        if code >= 0:
            how = f"ended with status {code}"
        else:
            try:
                how = f"was killed by {signal.Signals(-code).name}"
            except ValueError:
                how = f"was killed by signal {-code}"
            if -code == getattr(signal, "SIGKILL", 0):
                how += " (the system does so when memory runs out; fewer <jobs> need less)"
        self.errors.seek(0)
        said = self.errors.read()[-_TAIL:].decode("utf-8", errors="replace").strip()
        return f"{how}. It said: {said}" if said else f"{how}."

    def close(self) -> None:
        for stream in (self.process.stdout, self.errors):
            if stream is not None:
                stream.close()


class Pool:
    """Trains networks in processes of their own.

    Results do not depend on the number of processes. A process that dies is replaced, and its network goes on from its
    last checkpoint, once; if that process dies, too, the other networks are trained and then an error says so.

    Parameters
    ----------
    store : pathlib.Path
        The checkpoint directory.
    processes : int
        How many networks are trained at once.
    threads : int
        Threads of each process.
    interval : float
        Time between checkpoints (s).
    """

    def __init__(self, store: Path, processes: int, threads: int, interval: float):
        if not sys.executable:
            raise TrainingError("Training needs Python processes of its own, and this program does not name a Python.")
        self.store = store
        self._checkpoints = CheckpointStore(store)
        self.processes = processes
        self.interval = interval
        self.events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self.finished: list[str] = []
        #: Jobs that were finished before this run.
        self.reused: list[str] = []
        self.folders: list[NetworkFolder] = []
        self._threads = threads
        self._workers: list[_Worker] = []
        self._lost: dict[str, str] = {}
        self._different: set[str] = set()
        free = available_processors()
        self._places = [free[k * threads : (k + 1) * threads] for k in range(len(free) // threads)]
        # Only if all processors are in use: then being pinned costs nothing. With fewer processes the operating system
        # can get out of the way of other programs, another training among them.
        self.pinned = processes * threads == len(free) and processes > 1
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            self.environment[name] = str(threads)
        # glibc would give memory back to the system and fault it in again at every step.
        for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"):
            self.environment.setdefault(name, str(1 << 28 if name != "MALLOC_TOP_PAD_" else 1 << 24))

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
        """
        waiting = deque(jobs)
        try:
            self._checkpoints.enter()
        except OSError as error:
            raise NEM2EError(
                f"The checkpoint directory '{self.store}' cannot be written: {error.strerror or error}."
            ) from error
        try:
            while waiting or any(worker.job is not None for worker in self._workers):
                while waiting and self._has_room():
                    job = waiting.popleft()
                    if not self._is_finished(job, watcher):
                        self._start(job)
                try:
                    worker, event = self.events.get(timeout=_POLL)
                except queue.Empty:
                    watcher.tick()
                    continue
                if event is None:
                    self._died(worker, waiting)
                else:
                    self._heard(worker, event, watcher)
        except BaseException:
            self._end(watcher)
            self._checkpoints.leave()
            raise
        self._end(watcher)
        if self._lost:
            self._checkpoints.leave()
            texts = [f"{name}: its process {how}" for name, how in self._lost.items()]
            raise TrainingError(
                f"{len(texts)} of {len(jobs)} networks could not be trained, because their processes died "
                f"{_ATTEMPTS} times:\n" + "\n".join(f"  - {text}" for text in texts) + "\nThe others are finished and "
                f"kept in '{self.store}': when the same setup is run again, only these are trained."
            )

    @property
    def process_ids(self) -> list[int]:
        """The processes that are at work."""
        return [worker.process.pid for worker in self._workers]

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

    def _has_room(self) -> bool:
        return len(self._workers) < self.processes or any(worker.job is None for worker in self._workers)

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

    def _start(self, job: Job) -> None:
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            taken = [worker.processors for worker in self._workers]
            free = [place for place in self._places if place not in taken]
            try:
                worker = _Worker(self, free[0] if free else [])
            except OSError as error:
                raise TrainingError(f"No process could be started: {error.strerror or error}.") from error
            self._workers.append(worker)
        job.attempts += 1
        worker.give(job)

    def _heard(self, worker: _Worker, event: dict[str, Any], watcher: _Watcher) -> None:
        job = worker.job
        assert job is not None
        kind = event["kind"]
        if kind == "started":
            watcher.started(job.name, event["rows"])
        elif kind == "epochs":
            watcher.epochs(job.name, event["rows"])
        elif kind == "note":
            logger.warning("%s: %s", job.name, event["text"])
        elif kind == "failed":
            worker.job = None
            raise TrainingError(f"The network of {job.name} could not be trained: {event['text']}")
        elif kind == "broken":
            worker.job = None
            raise RuntimeError(f"the process that trained {job.name} broke down:\n{event['text']}")
        elif kind == "finished":
            worker.job = None
            assert job.folder is not None
            trained = job.folder.trained()
            if trained is None:
                raise TrainingError(f"The network of {job.name} has vanished from '{job.folder.path}'.")
            self.finished.append(job.name)
            watcher.finished(job.name, trained)
            job.done(trained)
        # "stopped" is followed by the end of the process.

    def _died(self, worker: _Worker, waiting: deque[Job]) -> None:
        self._workers.remove(worker)
        how = worker.death()
        worker.close()
        job = worker.job
        if job is None:
            return
        if job.attempts < _ATTEMPTS:
            logger.warning("%s: its process %s It goes on from its last checkpoint in a new one.", job.name, how)
            waiting.appendleft(job)
        else:
            logger.error("%s: its process %s It is given up.", job.name, how)
            self._lost[job.name] = how

    def _end(self, watcher: _Watcher) -> None:
        """Have all processes save and leave; kill those that do not within a minute, or at a second interrupt."""
        try:
            for worker in self._workers:
                worker.dismiss()
            deadline = time.monotonic() + _PATIENCE
            for worker in self._workers:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("A process did not end in time and was killed; its last checkpoint is kept.")
        finally:
            for worker in self._workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait()
                worker.listener.join(_PATIENCE)
            while not self.events.empty():
                worker, event = self.events.get()
                # The last epochs before the end are part of the history.
                if event is not None and event["kind"] == "epochs" and worker.job is not None:
                    watcher.epochs(worker.job.name, event["rows"])
            for worker in self._workers:
                worker.close()
            self._workers.clear()
