"""The process in which OpenSim is at hand: one for many jobs, a new one after a crash, none left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from opensim_nem2e.errors import OpenSimRunError
from opensim_nem2e.musculoskeletal.opensim import kept
from opensim_nem2e.musculoskeletal.opensim.processes import run_script

JOB = """
import os, sys, time
from pathlib import Path


def main(arguments):
    what, answer = arguments
    print("doing", what)
    if what == "crash":
        os.kill(os.getpid(), 11)
    if what == "fail":
        raise ValueError("no such thing")
    if what == "sleep":
        time.sleep(60)
    Path(answer).write_text(str(os.getpid()))
"""


@pytest.fixture
def ask(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(JOB)

    def run(what, **more):
        answer = tmp_path / f"{what}.txt"
        _, tail = run_script(str(script), (what, answer), "A job", script, kept=True, **more)
        return int(answer.read_text()), tail

    return run


def test_one_process_does_many_jobs_until_it_is_of_no_use(ask, monkeypatch):
    first, tail = ask("one")
    assert tail == "doing one"
    assert ask("two") == (first, "doing two")
    with pytest.raises(OpenSimRunError, match=r"(?s)A job stopped with an error.*doing fail\n\[error\] no such thing"):
        ask("fail")
    assert ask("three")[0] == first
    with pytest.raises(OpenSimRunError, match=r"(?s)A job crashed \(SIGSEGV\).*doing crash"):
        ask("crash")
    second, _ = ask("four")
    assert second != first
    with pytest.raises(OpenSimRunError, match=r"killed at the time limit of 0\.3 s"):
        ask("sleep", timeout=0.3)
    third, _ = ask("five")
    assert third != second
    # It has ended meanwhile, as after a minute without a job.
    os.kill(third, 9)
    kept._kept.process.wait()
    fourth, _ = ask("six")
    assert fourth != third
    # What it has from this process is no longer so.
    monkeypatch.setenv("OPENSIM_HOME", "elsewhere")
    assert ask("seven")[0] != fourth


def test_threads_take_turns(ask):
    found = {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: ask(f"job{k}")})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {k: tail for k, (_, tail) in found.items()} == {k: f"doing job{k}" for k in range(4)}


def test_it_ends_with_its_parent(tmp_path):
    code = "from opensim_nem2e.musculoskeletal.opensim import kept; kept.start_ahead(); print(kept._kept.process.pid)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(run.stdout), 0)
