"""Work in processes of this machine and of a real Dask cluster on the loopback, with processes that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opensim_nem2e import workers as module
from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.workers import ClusterWorkers, Event, LocalWorkers, Work, WorkStopped, run

HERE = Path(__file__).stem


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


@pytest.fixture(params=["local", "cluster"])
def workers(request, monkeypatch):
    if request.param == "local":
        monkeypatch.setattr(sys, "path", [os.fspath(Path(__file__).parent), *sys.path])
        return LocalWorkers(2)
    return ClusterWorkers(request.getfixturevalue("dask_scheduler"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_work_goes_on(tmp_path, workers):
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
    assert run(iter(works), workers, look) == {}
    assert len(killed) == 1
    assert sorted(ended) == ["w0", "w1", "w2", "w3"]
    assert all((tmp_path / f"{k}").read_text() == "20" for k in range(4))
    for numbers in seen.values():
        # Nothing is done twice, whoever does it; a report may be lost with the process that sent it.
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 20


def test_how_work_ends(tmp_path, workers):
    events = []
    long = {"path": os.fspath(tmp_path / "long"), "to": 10**6, "pause": 0.01}
    works = [Work(name, f"{HERE}:fail", name) for name in ("file", "ours", "bug")]

    def look(event):
        events.append(event)
        if event.key == "long" and len([other for other in events if other.kind != "report"]) == 3:
            events.append(Event("", "ended"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([*works, Work("long", f"{HERE}:count_up", long)], workers, look)
    kinds = {event.key: event.kind for event in events if event.kind in ("failed", "broken")}
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


@pytest.mark.skipif(os.name == "nt", reason="Dask's local processes do not support Windows")
def test_a_cluster_of_this_machine(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.fspath(Path(__file__).parent), *sys.path]))
    works = [Work(f"w{k}", f"{HERE}:count_up", {"path": os.fspath(tmp_path / f"{k}"), "to": 3}) for k in range(3)]
    assert run(works, ClusterWorkers("local", 2), lambda event: None) == {}
    assert all((tmp_path / f"{k}").read_text() == "3" for k in range(3))


def test_processors_and_memory_of_a_container(tmp_path, monkeypatch):
    """What the container may use counts where it is less than what the machine has."""
    monkeypatch.setattr(module, "_CGROUP", tmp_path)
    whole, free = module.available_processors(), module.free_memory()
    assert len(whole) >= 1
    if hasattr(os, "sched_getaffinity"):
        assert whole == sorted(os.sched_getaffinity(0))
    assert 1e6 < free < 1e14
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert module.available_processors() == whole[:1]
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert module.available_processors() == whole
    for name, text in (("max", "50000000"), ("current", "30000000"), ("stat", "anon 7\ninactive_file 1000000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert module.free_memory() == 21e6
    (tmp_path / "memory.max").write_text("max\n")
    assert module.free_memory() > 21e6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_processors_that_a_scheduler_gave():
    before = os.sched_getaffinity(0)
    one = min(before)
    os.sched_setaffinity(0, {one})
    try:
        assert module.available_processors() == [one]
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's /proc")
def test_a_process_has_the_threads_and_processors_that_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [os.fspath(Path(__file__).parent), *sys.path])
    cores = module.available_processors()
    seen = {}

    def look(event):
        for pid in workers.process_ids:
            assert b"OMP_NUM_THREADS=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
            seen[pid] = os.sched_getaffinity(pid)

    workers = LocalWorkers(len(cores))
    given = [{"path": os.fspath(tmp_path / f"{k}"), "to": 10, "pause": 0.05} for k in range(len(cores))]
    assert run([Work(each["path"], f"{HERE}:count_up", each) for each in given], workers, look) == {}
    assert len(seen) == len(cores)
    if len(cores) > 1:
        assert set().union(*seen.values()) == set(cores)
        assert all(len(places) == 1 for places in seen.values())


def make_certificate(folder):
    """Make a certificate that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = {"cert": folder / "cert.pem", "key": folder / "key.pem"}
    subprocess.run([*command, "-keyout", files["key"], "-out", files["cert"]], check=True, stderr=subprocess.DEVNULL)
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    found = {f"{tls}CA_FILE": files["cert"]}
    for who in ("CLIENT", "SCHEDULER", "WORKER"):
        found |= {f"{tls}{who}__{what.upper()}": path for what, path in files.items()}
    return {name: os.fspath(path) for name, path in found.items()}


def test_a_scheduler_with_certificates(tmp_path, monkeypatch):
    """A real scheduler and a worker that speak TLS, with the certificates that Dask's own configuration names."""
    pytest.importorskip("distributed")
    import dask

    certificates = make_certificate(tmp_path)
    for name, value in {**certificates, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "scheduler.json"
    processes = []
    with (tmp_path / "dask.log").open("w") as log:
        for words in (["scheduler", "--port", "0"], ["worker", "--no-nanny", "--nthreads", "1"]):
            command = [sys.executable, "-m", "dask", *words, "--host", "127.0.0.1", "--no-dashboard"]
            command += ["--protocol", "tls", "--scheduler-file", str(file)]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path))
        try:
            deadline = time.monotonic() + 60
            while not file.exists() or not file.read_text():
                assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
                time.sleep(0.05)
            address = json.loads(file.read_text())["address"]
            assert address.startswith("tls://")
            with dask.config.set(dask.config.collect()):
                dask.config.refresh()
                work = Work("w", f"{HERE}:count_up", {"path": os.fspath(tmp_path / "n"), "to": 3})
                assert run([work], ClusterWorkers(address), lambda event: None) == {}
            assert (tmp_path / "n").read_text() == "3"
        finally:
            for process in processes:
                process.kill()
                process.wait()
            for name in certificates:
                monkeypatch.delenv(name)
            dask.config.refresh()


def test_certificates_that_are_not_there():
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with pytest.raises(NEM2EError, match=r"needs certificates.*distributed.comm.tls.ca-file.*TLS__CA_FILE"):
        ClusterWorkers("tls://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.tls.ca-file": "/nowhere/ca.pem"}),
        pytest.raises(NEM2EError, match=r"'/nowhere/ca.pem'.*does not exist"),
    ):
        ClusterWorkers("tls://127.0.0.1:9")
