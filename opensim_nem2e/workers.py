"""Independent pieces of work in other processes: of this machine, or of a Dask cluster.

A piece of work is a function, named so that any process can import it, and an argument that JSON can hold. It leaves
its results in files, each written as a whole, and can be taken up again: when its process dies it is started anew in
another, where it goes on from what it left. Nothing but the files is shared, so the workers of a cluster must see the
same file system at the same place.

The function is called with its argument, a function ``report`` for what is to be told on the way (JSON again), and a
function ``stop`` that it asks now and then whether it is to save and leave, which it does by raising
:class:`WorkStopped`.

Why processes of our own (``subprocess``) rather than ``multiprocessing``: PyTorch and OpenSim must not be forked, and
spawning imports the script of the caller a second time, which runs the tool once more in plain scripts such as those
that most users of OpenSim write.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import NEM2EError
from .extras import explained
from .log import logger

#: How often work is begun whose process dies.
ATTEMPTS = 2

_PATIENCE = 60.0
_POLL = 0.5
_TAIL = 2000
_CHUNK = 65536
# Where Linux says what a container may use.
_CGROUP = Path("/sys/fs/cgroup")
# Between two looks across the network whether to stop (s).
_LOOK = 1.0

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from opensim_nem2e.workers import serve; "
    "serve([int(part) for part in sys.argv[2].split(',') if part])"
)

Report = Callable[[Any], None]
Stop = Callable[[], bool]
Kind = Literal["report", "ended", "stopped", "failed", "broken", "died"]


class WorkStopped(NEM2EError):
    """Work was asked to stop, and has saved what it had."""


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Parameters
    ----------
    key : str
        Unique among those of a run; for messages.
    function : str
        ``package.module:name`` of a function ``(argument, report, stop)``.
    argument : object
        What JSON can hold.
    """

    key: str
    function: str
    argument: Any

    def do(self, report: Report, stop: Stop) -> tuple[Kind, Any]:
        """Do it, in this process.

        Parameters
        ----------
        report : callable
            Told what is to be told on the way.
        stop : callable
            Whether to save and leave.

        Returns
        -------
        kind : {'ended', 'stopped', 'failed', 'broken'}
            How it ended: ``failed`` is told to the user, ``broken`` is an error of the program.
        text : str
            The message, or the traceback; empty otherwise.
        """
        try:
            module, _, name = self.function.partition(":")
            getattr(importlib.import_module(module), name)(self.argument, report, stop)
        except WorkStopped:
            return "stopped", ""
        except MemoryError:
            return "failed", "There is not enough memory."
        except RuntimeError as error:
            # PyTorch has no exception of its own for this.
            lacking = any(words in str(error) for words in ("not enough memory", "can't allocate", "out of memory"))
            return ("failed", str(error)) if lacking else ("broken", traceback.format_exc())
        except (NEM2EError, OSError) as error:
            return "failed", str(error)
        except Exception:
            return "broken", traceback.format_exc()
        return "ended", ""


@dataclass(frozen=True)
class Event:
    """What has come of a piece of work.

    Parameters
    ----------
    key : str
        Which.
    kind : {'report', 'ended', 'stopped', 'failed', 'broken', 'died'}
        ``died``: the process that was at it is no more; for the others see :meth:`Work.do`.
    content : object
        The report, or words.
    """

    key: str
    kind: Kind
    content: Any = None


def run(
    works: Iterable[Work],
    workers: LocalWorkers | ClusterWorkers,
    on_event: Callable[[Event], None],
    on_idle: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Do pieces of work, and start those anew whose process died.

    Parameters
    ----------
    works : iterable of Work
        Each is asked for when there is room for it. One that had no more is asked again when a piece of work has ended.
    workers : LocalWorkers or ClusterWorkers
        Who does them. They are closed at the end, however it comes.
    on_event : callable
        Told of everything but deaths. What it raises ends the run: other work is saved and left.
    on_idle : callable
        Called a few times in a second while nothing happens.

    Returns
    -------
    dict of str to str
        Pieces of work that were given up because their process died twice, with how it did.
    """
    source, again = iter(works), deque[Work]()
    under_way: dict[str, Work] = {}
    attempts: dict[str, int] = {}
    lost: dict[str, str] = {}
    exhausted = False
    try:
        while under_way or again or not exhausted:
            while workers.has_room():
                work = again.popleft() if again else next(source, None)
                if work is None:
                    exhausted = True
                    break
                attempts[work.key] = attempts.get(work.key, 0) + 1
                under_way[work.key] = work
                workers.start(work)
            if not under_way:
                continue
            event = workers.next(_POLL)
            if event is None:
                on_idle()
                continue
            if event.kind != "report":
                ended = under_way.pop(event.key)
            if event.kind != "died":
                on_event(event)
                # What was heard may make more work possible.
                exhausted = exhausted and event.kind == "report"
            elif attempts[event.key] < ATTEMPTS:
                logger.warning(
                    "%s: its process %s It goes on from its last checkpoint in a new one.", event.key, event.content
                )
                again.append(ended)
            else:
                logger.error("%s: its process %s It is given up.", event.key, event.content)
                lost[event.key] = event.content
    finally:
        for event in workers.close():
            if event.kind == "report":
                on_event(event)
    return lost


# --- processes of this machine ----------------------------------------------------------------------------------------


def available_processors() -> list[int]:
    """List the processors that this process may use.

    Returns
    -------
    list of int
        Their numbers; fewer than the machine has where a scheduler or a container says so.
    """
    import psutil

    process = psutil.Process()
    # Not every system (macOS) has affinity.
    found = sorted(process.cpu_affinity() if hasattr(process, "cpu_affinity") else range(psutil.cpu_count() or 1))
    try:
        # A container's share of the machine's time.
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return found[: max(1, int(int(quota) / int(period)))]
    except (OSError, ValueError):
        return found


def free_memory() -> float:
    """Tell how much memory there is for new processes.

    Returns
    -------
    float
        Bytes; less than the machine has free where a container is limited.
    """
    import psutil

    free = float(psutil.virtual_memory().available)
    try:
        limit, used = (int((_CGROUP / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        # What was read from files and not used since goes when memory is needed.
        numbers = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0.0, min(free, limit - used + int(numbers.get("inactive_file", 0))))
    except (OSError, ValueError):
        # No container, or one without a limit ('max').
        return free


class _Process:
    """A process, the thread that hears its reports, and the work it has in hand."""

    def __init__(self, workers: LocalWorkers, processors: Sequence[int]):
        self.processors = processors
        self.work: Work | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        command += [",".join(map(str, processors if workers.pinned else ()))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=workers.environment
        )
        self.listener = threading.Thread(target=self._listen, args=(workers.heard,), daemon=True)
        self.listener.start()

    def _listen(self, heard: queue.Queue[tuple[_Process, list[Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                heard.put((self, json.loads(line)))
            except ValueError:
                # Cut off by the process's death.
                break
        heard.put((self, None))

    def give(self, work: Work) -> None:
        assert self.process.stdin is not None
        self.work = work
        with suppress(OSError):
            # If it has died, the listener says so, too.
            self.process.stdin.write((json.dumps([work.key, work.function, work.argument]) + "\n").encode())
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Tell the process that there is nothing more to do: it saves, and leaves."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

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


class LocalWorkers:
    """Processes of this machine, each with one piece of work at a time.

    Parameters
    ----------
    count : int
        How many at most. They are started when they are needed, and serve until the end.
    threads : int
        Threads of each.
    """

    def __init__(self, count: int, threads: int = 1):
        if not sys.executable:
            raise NEM2EError("Work needs Python processes of its own, and this program does not name a Python.")
        self.count = count
        self.heard: queue.Queue[tuple[_Process, list[Any] | None]] = queue.Queue()
        self._processes: list[_Process] = []
        free = available_processors()
        self._places = [free[k * threads : (k + 1) * threads] for k in range(len(free) // threads)]
        #: Only if all processors are in use: then being pinned costs nothing. With fewer processes the operating system
        #: can get out of the way of other programs, another run among them.
        self.pinned = count * threads == len(free) and count > 1
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            self.environment[name] = str(threads)
        # glibc would give memory back to the system and fault it in again at every training step.
        for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"):
            self.environment.setdefault(name, str(1 << 28 if name != "MALLOC_TOP_PAD_" else 1 << 24))

    @property
    def process_ids(self) -> list[int]:
        """The processes that are at work."""
        return [process.process.pid for process in self._processes]

    def has_room(self) -> bool:
        """Tell whether a process is idle or can be started.

        Returns
        -------
        bool
            Whether another piece of work would begin at once.
        """
        return len(self._processes) < self.count or any(process.work is None for process in self._processes)

    def start(self, work: Work) -> None:
        """Give work to an idle process, or to a new one.

        Parameters
        ----------
        work : Work
            What is to be done.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            No process could be started.
        """
        process = next((process for process in self._processes if process.work is None), None)
        if process is None:
            taken = [process.processors for process in self._processes]
            free = [place for place in self._places if place not in taken]
            try:
                process = _Process(self, free[0] if free else [])
            except OSError as error:
                raise NEM2EError(f"No process could be started: {error.strerror or error}.") from error
            self._processes.append(process)
        process.give(work)

    def next(self, timeout: float) -> Event | None:
        """Wait for what happens next.

        Parameters
        ----------
        timeout : float
            How long at most (s).

        Returns
        -------
        Event or None
            None: nothing did.
        """
        try:
            process, line = self.heard.get(timeout=timeout)
        except queue.Empty:
            return None
        work = process.work
        if line is None:
            self._processes.remove(process)
            how = process.death()
            process.close()
            return None if work is None else Event(work.key, "died", how)
        assert work is not None
        kind, content = line
        if kind != "report":
            process.work = None
        return Event(work.key, kind, content)

    def close(self) -> Iterator[Event]:
        """Have all processes save and leave; kill those that do not within a minute, or at a second interrupt.

        Yields
        ------
        Event
            What was still reported.
        """
        try:
            for process in self._processes:
                process.dismiss()
            deadline = time.monotonic() + _PATIENCE
            for process in self._processes:
                process.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("A process did not end in time and was killed; what it saved before is kept.")
        finally:
            for process in self._processes:
                if process.process.poll() is None:
                    process.process.kill()
                    process.process.wait()
                process.listener.join(_PATIENCE)
            rest = []
            while not self.heard.empty():
                process, line = self.heard.get()
                if line is not None and process.work is not None:
                    rest.append(Event(process.work.key, line[0], line[1]))
            for process in self._processes:
                process.close()
            self._processes.clear()
        yield from rest


def serve(processors: Sequence[int]) -> None:
    """Do work until there is none: the main function of a process of :class:`LocalWorkers`.

    It reads work as JSON texts, one per line, from its standard input, and reports in the same way on its standard
    output. When its standard input ends (the starting process is done with it, or was killed), or at SIGTERM, the work
    under way is told to stop, and the process leaves.

    Parameters
    ----------
    processors : sequence of int
        Those to keep to; empty: any.
    """
    stop = threading.Event()
    # Ctrl-C reaches all processes of a terminal; what is to be done about it, the starting process says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    if hasattr(signal, "SIGHUP"):
        # So does a closed terminal; the starting process decides, as about Ctrl-C.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What libraries print must not get among the reports.
    reports = os.dup(1)
    os.dup2(2, 1)
    if processors and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
    orders: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()

    def listen() -> None:
        # Not sys.stdin: the lock of its buffer would be held when the process ends.
        rest = b""
        while chunk := os.read(0, _CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                orders.put(json.loads(line))
        stop.set()
        orders.put(None)

    def tell(kind: str, content: Any) -> None:
        try:
            line = (json.dumps([kind, content]) + "\n").encode()
            while line:
                line = line[os.write(reports, line) :]
        except OSError:
            # Nobody listens any more.
            stop.set()

    threading.Thread(target=listen, daemon=True).start()
    while not stop.is_set():
        order = orders.get()
        if order is not None:
            tell(*Work(*order).do(lambda content: tell("report", content), stop.is_set))


# --- a Dask cluster ---------------------------------------------------------------------------------------------------


class ClusterWorkers:
    """The workers of a Dask cluster.

    A worker process that dies is replaced by another by Dask itself; work goes on there from what it saved.
    Workers with one thread each (``dask worker --nthreads 1``) serve best: training threads would share one
    interpreter.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler, such as ``tcp://10.0.0.1:8786``; or ``local``: a cluster is started on this machine
        (not on Windows), a process with one thread for each processor, and ended at the end. Whoever reaches the
        scheduler or a worker over ``tcp`` can have any program run there, so its network must be trusted. With
        ``tls://10.0.0.1:8786`` only holders of a certificate can: Dask's own configuration names the files
        (``distributed.comm.tls``: ``ca-file``, ``client.cert``, ``client.key``).
    count : int
        Processes of a ``local`` cluster; 0: as many as there are processors.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        Dask is not installed, or the scheduler cannot be reached.
    """

    def __init__(self, scheduler: str, count: int = 0):
        try:
            import distributed
        except ImportError as error:
            raise explained(error) or error from error
        self._cluster: Any = None
        try:
            if scheduler == "local":
                from distributed.deploy.subprocess import SubprocessCluster

                # Not LocalCluster, whose processes import the script of the caller (see above).
                how: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": None}
                self._cluster = SubprocessCluster(n_workers=count or len(available_processors()), **how)
            security = _security(scheduler) if scheduler.startswith("tls://") else None
            self._client = distributed.Client(self._cluster or scheduler, timeout=_PATIENCE, security=security)
        except (OSError, ValueError, RuntimeError) as error:
            raise NEM2EError(f"The Dask scheduler '{scheduler}' cannot be reached: {error}.") from error
        self._topic = f"opensim_nem2e-{os.urandom(8).hex()}"
        self._stop = distributed.Event(self._topic, client=self._client)
        self._events: queue.Queue[Event] = queue.Queue()
        self._futures: dict[str, Any] = {}
        self._client.subscribe_topic(self._topic, self._heard)

    def _heard(self, event: tuple[float, Any]) -> None:
        key, kind, content = event[1]
        self._events.put(Event(key, kind, content))

    def has_room(self) -> bool:
        """Tell whether the cluster has an idle thread.

        Returns
        -------
        bool
            Whether another piece of work would begin at once.
        """
        # With no worker yet, one piece waits for the first.
        return len(self._futures) < max(1, int(sum(self._client.nthreads().values())))

    def start(self, work: Work) -> None:
        """Submit work.

        Parameters
        ----------
        work : Work
            What is to be done.
        """
        future = self._client.submit(
            _do_on_cluster, work, self._topic, key=f"{self._topic}-{work.key}-{os.urandom(4).hex()}", pure=False
        )
        self._futures[work.key] = future
        future.add_done_callback(lambda done: self._done(work.key, done))

    def _done(self, key: str, future: Any) -> None:
        if future.status == "finished":
            self._events.put(Event(key, *future.result()))
        elif future.status == "error":
            self._events.put(Event(key, "died", f"died with its worker: {future.exception()}."))

    def next(self, timeout: float) -> Event | None:
        """Wait for what happens next.

        Parameters
        ----------
        timeout : float
            How long at most (s).

        Returns
        -------
        Event or None
            None: nothing did.
        """
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event.kind != "report":
            self._futures.pop(event.key, None)
        elif event.key not in self._futures:
            # A last word of a worker that Dask had given up.
            return None
        return event

    def close(self) -> Iterator[Event]:
        """Have all work saved and left, and leave the cluster.

        Yields
        ------
        Event
            What was still reported.
        """
        rest = []
        try:
            self._stop.set()
            deadline = time.monotonic() + _PATIENCE
            while self._futures and time.monotonic() < deadline:
                event = self.next(_POLL)
                if event is not None:
                    rest.append(event)
            if self._futures:
                logger.warning("A worker did not end its work in time; what it saved before is kept.")
        finally:
            self._client.unsubscribe_topic(self._topic)
            self._client.close()
            if self._cluster is not None:
                self._cluster.close()
        yield from rest


def _security(scheduler: str) -> Any:
    """Read the certificates that Dask's configuration names."""
    from distributed import Security

    security: Any = Security(require_encryption=True)
    needed = {
        "ca-file": security.tls_ca_file,
        "client.cert": security.tls_client_cert,
        # The key may also stand in the certificate's file.
        "client.key": security.tls_client_key or security.tls_client_cert,
    }
    for name, file in needed.items():
        variable = f"DASK_DISTRIBUTED__COMM__TLS__{name.upper().replace('.', '__').replace('-', '_')}"
        if not file:
            raise NEM2EError(
                f"The scheduler '{scheduler}' needs certificates, but Dask's configuration names none: "
                f"distributed.comm.tls.{name} must be the name of a .pem file (or the environment variable {variable})."
            )
        if "\n" not in file and not Path(file).is_file():
            raise NEM2EError(f"The file '{file}', which Dask's distributed.comm.tls.{name} names, does not exist.")
    return security


def _do_on_cluster(work: Work, topic: str) -> tuple[Kind, Any]:
    """Do work in a thread of a Dask worker."""
    import distributed

    worker = distributed.get_worker()
    told = distributed.Event(topic)
    looked, stopped = time.monotonic(), False

    def stop() -> bool:
        nonlocal looked, stopped
        if time.monotonic() - looked >= _LOOK:
            stopped, looked = told.is_set(), time.monotonic()
        return stopped

    return work.do(lambda content: worker.log_event(topic, [work.key, "report", content]), stop)
