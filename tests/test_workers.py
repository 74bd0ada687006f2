"""Work in processes of this machine and of a real Dask cluster on the loopback, with processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.workers import ClusterWorkers, LocalWorkers, Work, WorkStopped, run

HERE = f"{Path(__file__).stem}"


def count_up(argument, report, stop):
    """Count in a file, go on where it was left, and report every number."""
    path = Path(argument["path"])
    done = int(path.read_text()) if path.exists() else 0
    while done < argument["to"]:
        if stop():
            raise WorkStopped("stopped")
        done += 1
        whole = path.with_suffix(".part")
        whole.write_text(str(done))
        whole.replace(path)
        report([done, os.getpid()])
        time.sleep(argument.get("pause", 0.0))


def fail(argument, report, stop):
    raise {"file": OSError, "ours": NEM2EError, "bug": KeyError}[argument]("this one")


@contextmanager
def dask_cluster(folder, workers=2):
    """A scheduler and workers, as a user would start them."""
    pytest.importorskip("distributed")
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(Path(__file__).parent), *sys.path])}
    processes = []
    try:
        command = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        with (folder / "dask.log").open("w") as log:
            how = {"stdout": log, "stderr": log, "env": environment, "cwd": folder}
            processes.append(subprocess.Popen([*command, "--scheduler-file", os.fspath(file)], **how))
            for _ in range(workers):
                command = [*dask, "worker", "--scheduler-file", os.fspath(file), "--no-nanny", "--no-dashboard"]
                processes.append(subprocess.Popen([*command, "--nthreads", "1", "--host", "127.0.0.1"], **how))
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, (folder / "dask.log").read_text()
            time.sleep(0.05)
        import distributed

        with distributed.Client(scheduler_file=os.fspath(file)) as client:
            client.wait_for_workers(workers, timeout=60)
            yield client.scheduler.address
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def workers_of(kind, folder, monkeypatch):
    if kind == "local":
        monkeypatch.setattr(sys, "path", [os.fspath(Path(__file__).parent), *sys.path])
        yield LocalWorkers(2)
    else:
        with dask_cluster(folder) as address:
            yield ClusterWorkers(address)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kind", ["local", "cluster"])
def test_killed_work_goes_on(tmp_path, monkeypatch, kind):
    works = [
        Work(f"w{k}", f"{HERE}:count_up", {"path": os.fspath(tmp_path / f"{k}"), "to": 20, "pause": 0.02})
        for k in range(4)
    ]
    seen = {work.key: [] for work in works}
    killed = []

    def look(event):
        if event.kind == "report":
            number, pid = event.content
            seen[event.key].append(number)
            if not killed and event.key == "w1" and number > 3:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
        else:
            assert event.kind == "ended"
            ended.append(event.key)

    ended = []
    with workers_of(kind, tmp_path, monkeypatch) as workers:
        assert run(iter(works), workers, look) == {}
    assert len(killed) == 1
    assert sorted(ended) == ["w0", "w1", "w2", "w3"]
    assert all((tmp_path / f"{k}").read_text() == "20" for k in range(4))
    for numbers in seen.values():
        # Nothing is done twice, whoever does it; a report may be lost with the process that sent it.
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 20


@pytest.mark.parametrize("kind", ["local", "cluster"])
def test_how_work_ends(tmp_path, monkeypatch, kind):
    events = []
    long = {"path": os.fspath(tmp_path / "long"), "to": 10**6, "pause": 0.01}
    with workers_of(kind, tmp_path, monkeypatch) as workers:
        works = [Work(name, f"{HERE}:fail", name) for name in ("file", "ours", "bug")]

        def look(event):
            events.append(event)
            if event.key == "long":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run([*works, Work("long", f"{HERE}:count_up", long)], workers, look)
    kinds = {event.key: event.kind for event in events if event.key != "long"}
    assert kinds == {"file": "failed", "ours": "failed", "bug": "broken"}
    assert "KeyError" in next(event.content for event in events if event.key == "bug")
    # It was told to stop, and does.
    done = (tmp_path / "long").read_text()
    time.sleep(0.3)
    assert (tmp_path / "long").read_text() == done


def test_a_scheduler_that_is_not_there(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("opensim_nem2e.workers._PATIENCE", 0.5)
    with pytest.raises(NEM2EError, match=r"The Dask scheduler 'tcp://127.0.0.1:9' cannot be reached"):
        ClusterWorkers("tcp://127.0.0.1:9")


def test_dask_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NEM2EError, match=r"opensim-nem2e\[cluster\]"):
        ClusterWorkers("tcp://127.0.0.1:9")
