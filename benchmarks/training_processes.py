"""What training in several processes gains, and what checkpoints cost, in one run.

    python benchmarks/training_processes.py [--hidden 64 700] [--networks 2] [--seconds 10] [--jobs 2]

Made-up data of the paper's shape (One-Entire, batch size 1). Speeds are steps per second of all networks
together once the processes are up; starting a process costs a few seconds, once per process and run. "system's memory":
with the C library's own thresholds, which give memory back at every step, instead of those that the pool sets.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from opensim_nem2e.methods.stdr.method import module_of
from opensim_nem2e.training.checkpoint import NetworkFolder
from opensim_nem2e.training.jobs import Job, Pool
from opensim_nem2e.training.task import State, Task, TrainingSettings
from opensim_nem2e.training.trainer import train_task

# Few, so that the speed is known to a part of a second; a step costs the same.
CYCLES = 4
THRESHOLDS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


class Clock:
    """Stops a pool, as Ctrl-C would, when all networks have been under way for some time."""

    def __init__(self, networks: int, at_once: int, seconds: float):
        self.at_once = min(networks, at_once)
        self.seconds = seconds
        self.begun = 0.0
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}

    def started(self, name: str, history: object) -> None:
        """Nothing to do."""

    def epochs(self, name: str, rows: list) -> None:
        """Note how far a network is."""
        if len(self.first) < self.at_once:
            self.first[name] = rows[-1][0]
            self.begun = time.monotonic()
        if len(self.first) == self.at_once:
            self.last[name] = rows[-1][0]
        self.tick()

    def tick(self) -> None:
        """Stop when it is time."""
        if len(self.first) == self.at_once and time.monotonic() - self.begun > self.seconds:
            raise KeyboardInterrupt

    @property
    def rate(self) -> float:
        """Steps per second."""
        steps = sum(self.last[name] - first for name, first in self.first.items()) * CYCLES
        return steps / (time.monotonic() - self.begun)


def made_up(hidden: int, seed: int) -> Task:
    """Make a training that would take for ever."""
    random = np.random.default_rng(seed)
    data = {
        "x": random.random((CYCLES, 20, 1), dtype=np.float32),
        "y": random.random((CYCLES, 20), dtype=np.float32),
    }
    module = module_of("temporal", 1, 20, hidden, "general", 1.0)
    return Task(module, TrainingSettings(epochs=10**6, batch_size=1), data)


def speed(hidden: int, networks: int, at_once: int, seconds: float) -> float:
    """Train for some time and count."""
    clock = Clock(networks, at_once, seconds)
    jobs = [Job(f"n{k}", partial(made_up, hidden, k), lambda trained: None) for k in range(networks)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            Pool(Path(folder), at_once, 1, float("inf")).run(jobs, clock)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            return clock.rate
    return float("nan")


@contextmanager
def systems_memory() -> Iterator[None]:
    """Keep the pool from setting the C library's thresholds."""
    for name in THRESHOLDS:
        os.environ[name] = "131072"
    try:
        yield
    finally:
        for name in THRESHOLDS:
            del os.environ[name]


class _Enough(Exception):
    pass


def checkpoint_seconds(hidden: int) -> tuple[float, float]:
    """Time one checkpoint, and tell its size in MB."""
    found: list[State] = []

    def take(state) -> None:  # type: ignore[no-untyped-def]
        found.append(state())
        raise _Enough

    task = made_up(hidden, 0)
    try:
        train_task(task, after_step=take)
    except _Enough:
        pass
    with tempfile.TemporaryDirectory() as scratch:
        folder = NetworkFolder.of(Path(scratch), "n", task)
        folder.prepare(task)
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            folder.save(found[0])
            times.append(time.perf_counter() - begun)
        (file,) = folder.path.glob("step_*")
        return float(np.median(times)), file.stat().st_size / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 700])
    parser.add_argument("--networks", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    print(f"{'hidden':>6}{'1 job':>12}{f'{given.jobs} jobs':>12}{'gain':>7}{'system memory':>15}{'checkpoint':>24}")
    for hidden in given.hidden:
        one = speed(hidden, given.networks, 1, given.seconds)
        many = speed(hidden, given.networks, given.jobs, given.seconds)
        with systems_memory():
            plain = speed(hidden, given.networks, given.jobs, given.seconds)
        seconds, size = checkpoint_seconds(hidden)
        print(
            f"{hidden:>6}{one:>10.1f}/s{many:>10.1f}/s{many / one:>6.2f}x{plain:>13.1f}/s"
            f"{f'{1000 * seconds:.0f} ms, {size:.1f} MB':>24}"
        )


if __name__ == "__main__":
    main()
