"""Processes that train networks: any number of them gives the same bits, and one that dies costs little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from training_tasks import stdr_task

from opensim_nem2e.errors import TrainingError
from opensim_nem2e.training.jobs import Job, Pool, default_jobs, memory_of
from opensim_nem2e.training.task import Task
from opensim_nem2e.workers import available_processors

pytestmark = pytest.mark.usefixtures("forked_workers")


class Watcher:
    """Keeps what it is told."""

    def __init__(self, act=None):
        self.calls = []
        self.act = act

    def started(self, name, history):
        self.calls.append(("started", name, len(history)))

    def epochs(self, name, rows):
        self.calls.append(("epochs", name, [row[0] for row in rows]))
        if self.act is not None:
            self.act(name, rows)

    def finished(self, name, trained):
        self.calls.append(("finished", name))

    def reused(self, name, trained):
        self.calls.append(("reused", name))

    def tick(self):
        pass


def make_task(k=0, **settings):
    random = np.random.default_rng(k)
    values = {"hidden": 8, "epochs": 4, "batch_size": 3, "teacher_forcing": 0.5, "seed": k, **settings}
    x, y = random.random((6, 8, 1), dtype=np.float32), random.random((6, 8), dtype=np.float32)
    return stdr_task("temporal", x, y, (x[:2], y[:2]), **values)


def jobs_of(tasks):
    found = {}
    return [
        Job(f"n{k}", lambda t=t: t, lambda trained, k=k: found.update({k: trained})) for k, t in enumerate(tasks)
    ], (found)


def bits(trained):
    return {name: value.tobytes() for name, value in trained.weights.items()}, trained.history, trained.best_epoch


def train_here(task):
    # Programs that these tests start import this module, and need no PyTorch.
    from opensim_nem2e.training.trainer import train_task

    return train_task(task)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


needs_sigkill = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.mark.parametrize("processes", [1, 3])
def test_same_bits_for_any_number_of_processes(tmp_path, processes):
    tasks = [make_task(k) for k in range(5)]
    jobs, found = jobs_of(tasks)
    pool = Pool(tmp_path / "store", processes, 1, 60.0)
    watcher = Watcher()
    pool.run(jobs, watcher)
    assert sorted(found) == [0, 1, 2, 3, 4]
    for k, task in enumerate(tasks):
        assert bits(found[k]) == bits(train_here(task))
        told = [row for call in watcher.calls if call[:2] == ("epochs", f"n{k}") for row in call[2]]
        assert told == [1, 2, 3, 4]
    assert pool.workers.process_ids == []
    # Again: nothing is trained, no process is started.
    again, reread = jobs_of(tasks)
    # A run is at work until its results are written.
    del pool
    second = Pool(tmp_path / "store", processes, 1, 60.0)
    watcher = Watcher()
    second.run(again, watcher)
    assert {call[0] for call in watcher.calls} == {"reused"}
    assert len(second.reused) == 5
    assert all(bits(reread[k]) == bits(found[k]) for k in found)
    second.remove_folders()
    assert not (tmp_path / "store").exists()


@needs_sigkill
def test_a_killed_process_is_replaced(tmp_path, caplog):
    """Its network goes on from its last checkpoint, to the same bits."""
    tasks = [make_task(k, epochs=40) for k in range(2)]
    jobs, found = jobs_of(tasks)
    killed = []

    def kill(name, rows):
        if not killed and name == "n0" and rows[-1][0] > 5:
            killed.extend(pool.workers.process_ids)
            os.kill(killed[0], signal.SIGKILL)

    watcher = Watcher(kill)
    pool = Pool(tmp_path, 1, 1, 0.0)
    pool.run(jobs, watcher)
    assert len(killed) == 1
    assert "n0: its process was killed by SIGKILL" in caplog.text
    assert "goes on from its last checkpoint" in caplog.text
    starts = [call[2] for call in watcher.calls if call[:2] == ("started", "n0")]
    assert len(starts) == 2
    assert starts[1] >= 5
    for k, task in enumerate(tasks):
        assert bits(found[k]) == bits(train_here(task))


@needs_sigkill
def test_a_process_that_dies_twice_is_an_error_and_the_others_are_trained(tmp_path):
    tasks = [make_task(0, epochs=100000), make_task(1), make_task(2)]
    jobs, found = jobs_of(tasks)

    killed = []

    def kill(name, rows):
        if name == "n0":
            killed.extend(pool.workers.process_ids)
            os.kill(killed[-1], signal.SIGKILL)

    pool = Pool(tmp_path, 1, 1, np.inf)
    with pytest.raises(
        TrainingError, match=r"(?s)1 of 3 networks.*died 2 times.*n0: its process was killed by SIGKILL"
    ):
        pool.run(jobs, Watcher(kill))
    assert sorted(found) == [1, 2]
    assert not any(map(is_alive, killed))


def test_divergence_ends_the_run_and_keeps_the_others(tmp_path):
    bad = make_task(1)
    bad = Task(bad.module, bad.settings, {**bad.data, "y": bad.data["y"] * np.float32(1e30)})
    jobs, found = jobs_of([make_task(0), bad])
    with pytest.raises(TrainingError, match=r"The network of n1 could not be trained: .*Lower the learning rate"):
        Pool(tmp_path, 1, 1, 60.0).run(jobs, Watcher())
    assert sorted(found) == [0]
    assert (jobs[0].folder.path / "trained.safetensors").exists()


def test_other_settings_start_anew_and_say_so(tmp_path, caplog):
    jobs, _ = jobs_of([make_task(0)])
    Pool(tmp_path, 1, 1, 60.0).run(jobs, Watcher())
    jobs, found = jobs_of([make_task(0, epochs=3)])
    pool = Pool(tmp_path, 1, 1, 60.0)
    pool.run(jobs, Watcher())
    assert "n0: there are checkpoints of other data or settings (epochs 4, now 3)" in caplog.text
    assert bits(found[0]) == bits(train_here(make_task(0, epochs=3)))
    assert len(list(tmp_path.glob("n0/*/trained.safetensors"))) == 2
    caplog.set_level("INFO")
    pool.remove_folders()
    assert (
        f"Removed checkpoints of other data or settings, which did not fit this setup, from '{tmp_path}': n0."
        in caplog.text
    )
    assert not tmp_path.exists()


def test_a_network_that_is_no_longer_asked_for_is_removed_too_and_nothing_of_others(tmp_path, caplog):
    caplog.set_level("INFO")
    store = tmp_path / "store"
    Pool(store, 1, 1, 60.0).run(jobs_of([make_task(0), make_task(1)])[0], Watcher())
    mine = store / "n1" / "0123456789abcdef"
    mine.mkdir()
    (mine / "notes.txt").write_text("not of this package")
    pool = Pool(store, 1, 1, 60.0)
    pool.run(jobs_of([make_task(0)])[0], Watcher())
    pool.remove_folders()
    assert "which did not fit this setup" in caplog.text
    assert caplog.text.count(": n1.") == 1
    assert [path.relative_to(store).as_posix() for path in sorted(store.rglob("*"))] == [
        "n1", "n1/0123456789abcdef", "n1/0123456789abcdef/notes.txt"
    ]  # fmt: skip


@needs_sigkill
def test_what_another_run_needs_is_not_removed(tmp_path, caplog):
    """Neither what it trains nor what it has finished or left for later; the run that ends last tidies."""
    caplog.set_level("INFO")
    store = tmp_path / "store"
    code = f"""
import sys
sys.path[:0] = {[os.fspath(Path(__file__).parent), os.fspath(Path(__file__).parents[1])]!r}
from pathlib import Path
from test_jobs import Pool, Watcher, jobs_of, make_task
tasks = [make_task(0), make_task(1, epochs=10**6)]
def show(name, rows):
    if name == "n1":
        print("going", flush=True)
Pool(Path({os.fspath(store)!r}), 1, 1, float("inf")).run(jobs_of(tasks)[0], Watcher(show))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "going"
    # The other run's first network is finished, and its settings are not this run's.
    pool = Pool(store, 1, 1, 60.0)
    pool.run(jobs_of([make_task(0, epochs=2)])[0], Watcher())
    pool.remove_folders()
    assert "Another run is at work in the checkpoint directory" in caplog.text
    assert len(list(store.glob("n0/*/trained.safetensors"))) == 2
    assert len(list(store.glob("n1/*/setup.json"))) == 1
    process.kill()
    process.wait()
    process.stdout.close()
    # What the killed run left belongs to nobody.
    pool = Pool(store, 1, 1, 60.0)
    pool.run(jobs_of([make_task(0, epochs=2)])[0], Watcher())
    assert pool.reused == ["n0"]
    deadline = time.monotonic() + 60
    while not list(store.glob("n1/*/step_*")):
        # Its training process saves, and leaves.
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pool.remove_folders()
    assert not store.exists()


def test_runs_enter_and_leave_at_once(tmp_path):
    """Whatever the order, no run finds its directory gone, and nothing is left in the end."""
    code = f"""
import sys
from pathlib import Path
from opensim_nem2e.training.checkpoint import CheckpointStore
store = CheckpointStore(Path({os.fspath(tmp_path / "store")!r}))
for _ in range(60):
    store.enter()
    assert list(store.path.glob("run_*.lock"))
    store.tidy([])
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert not (tmp_path / "store").exists()


def test_damage_is_told(tmp_path, caplog):
    jobs, _ = jobs_of([make_task(0)])
    Pool(tmp_path, 1, 1, 60.0).run(jobs, Watcher())
    (jobs[0].folder.path / "trained.safetensors").write_bytes(b"nonsense")
    jobs, found = jobs_of([make_task(0)])
    Pool(tmp_path, 1, 1, 60.0).run(jobs, Watcher())
    assert "trained.safetensors' cannot be read" in caplog.text
    assert bits(found[0]) == bits(train_here(make_task(0)))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_processes_have_one_thread_and_a_core_each(tmp_path):
    cores = available_processors()
    jobs, _ = jobs_of([make_task(k, epochs=8) for k in range(len(cores))])
    seen = {}

    def look(name, rows):
        seen.update((pid, os.sched_getaffinity(pid)) for pid in pool.workers.process_ids)

    pool = Pool(tmp_path, len(cores), 1, 60.0)
    pool.run(jobs, Watcher(look))
    assert pool.workers.environment["OMP_NUM_THREADS"] == "1"
    assert pool.workers.pinned == (len(cores) > 1)
    if pool.workers.pinned:
        assert all(len(places) == 1 for places in seen.values())
        assert len(set(map(frozenset, seen.values()))) == len(seen)


def test_defaults():
    cores = len(available_processors())
    assert default_jobs(1, 1.0) == cores
    assert default_jobs(cores, 1.0) == 1
    assert default_jobs(2 * cores, 1.0) == 1
    assert default_jobs(1, 1e14) <= cores
    assert memory_of(5_000_000) > memory_of(1000) > 1e8


def test_a_starting_process_that_is_killed_leaves_no_orphans(tmp_path):
    """The training processes notice, save, and leave by themselves."""
    script = tmp_path / "go.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[os.fspath(Path(__file__).parent), os.fspath(Path(__file__).parents[1])]!r}
        from test_jobs import Pool, Watcher, jobs_of, make_task
        # No guard against being imported again: OpenSim's users write plain scripts.
        def show(name, rows):
            print(name, flush=True)
        from pathlib import Path
        Pool(Path({os.fspath(tmp_path / "store")!r}), 1, 1, float("inf")).run(
            jobs_of([make_task(0, epochs=10**6)])[0], Watcher(show)
        )
        """)
    )
    process = subprocess.Popen([sys.executable, os.fspath(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "n0"
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while not list((tmp_path / "store").glob("*/*/step_*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_together_as_on_a_graphics_card(tmp_path, monkeypatch):
    """The path of device cuda, computed on the CPU: killed, taken up, and close to separate training."""
    works = Pool._works

    def on_the_cpu(self, jobs, watcher):
        for work in works(self, jobs, watcher):
            work.argument.update(device="cpu", together=True)
            yield work

    monkeypatch.setattr(Pool, "_works", on_the_cpu)
    tasks = [make_task(k, epochs=8, hidden=6 + k % 2) for k in range(4)]
    killed = []

    def kill(name, rows):
        if not killed and rows[-1][0] > 2:
            killed.extend(pool.workers.process_ids)
            os.kill(killed[0], signal.SIGKILL)

    jobs, found = jobs_of(tasks)
    watcher = Watcher(kill if os.name != "nt" else None)
    pool = Pool(tmp_path, 1, 1, 0.0, device="cuda")
    pool.run(jobs, watcher)
    assert sorted(found) == [0, 1, 2, 3]
    if killed:
        starts = [call[2] for call in watcher.calls if call[0] == "started"]
        assert max(starts) >= 2
    undisturbed, ends = jobs_of(tasks)
    Pool(tmp_path / "other", 1, 1, np.inf, device="cuda").run(undisturbed, Watcher())
    for k, task in enumerate(tasks):
        # The same bits however often it was left, as long as the same networks are beside it from the start.
        alone = train_here(task)
        assert [epoch.number for epoch in found[k].history] == list(range(1, 9))
        for name, value in alone.weights.items():
            np.testing.assert_allclose(found[k].weights[name], value, rtol=0, atol=1e-3)
            np.testing.assert_allclose(ends[k].weights[name], value, rtol=0, atol=1e-3)


@pytest.mark.slow
@needs_sigkill
def test_a_dask_worker_killed_in_the_middle_of_a_training(tmp_path, dask_scheduler):
    """Two real workers; the network goes on from its last checkpoint on the other, to the same bits."""
    distributed = pytest.importorskip("distributed")
    tasks = [make_task(k, epochs=30) for k in range(3)]
    jobs, found = jobs_of(tasks)
    with distributed.Client(dask_scheduler) as client:
        pids = client.run(os.getpid)
        killed = []

        def kill(name, rows):
            if not killed and name == "n1" and rows[-1][0] > 5:
                (where,) = [who for who, keys in client.processing().items() if any("-n1-" in key for key in keys)]
                killed.append(where)
                os.kill(pids[where], signal.SIGKILL)

        watcher = Watcher(kill)
        Pool(tmp_path / "store", 1, 1, 0.0, scheduler=dask_scheduler).run(jobs, watcher)
    assert len(killed) == 1
    starts = [call[2] for call in watcher.calls if call[:2] == ("started", "n1")]
    assert len(starts) == 2
    assert starts[1] >= 5
    for k, task in enumerate(tasks):
        assert bits(found[k]) == bits(train_here(task))
