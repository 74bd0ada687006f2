"""Streams that are closed or full, terminals that are closed, and places that cannot be written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shell redirections of POSIX")


def shell(command, words: str, redirections: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with streams as the shell gives them."""
    script = f'exec "$0" -c "$1" {words} {redirections}'
    return subprocess.run(
        ["sh", "-c", script, command.with_demo[0], command.with_demo[2]],
        cwd=command.folder,
        env=command.environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(command, redirections):
    """Nothing that is shown ends up in a file of the run, and the run is done."""
    command.write("setup.xml", results_directory="out")
    done = shell(command, "run setup.xml", redirections)
    assert done.returncode == 0, done.stderr
    assert (command.folder / "out" / "demo.txt").read_text() == "done"
    assert "Traceback" not in done.stderr
    for words in ("info", "--help", "print-xml STDRRefineTool --force"):
        done = shell(command, words, redirections)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_behind_the_output(command):
    done = shell(command, "info", ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == "[error] The output cannot be written: No space left on device.\n"
    command.write("setup.xml", results_directory="out")
    done = shell(command, "run setup.xml", ">/dev/full")
    assert (command.folder / "out" / "demo.txt").read_text() == "done"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("ignored", "number"), [(False, signal.SIGHUP), (False, signal.SIGTERM), (True, signal.SIGHUP)]
)
def test_a_closed_terminal(command, ignored, number):
    """SIGHUP is like SIGTERM, what is unfinished is removed; under nohup a run goes on."""
    command.write("setup.xml", outcome="sleep", results_directory="out")
    process = subprocess.Popen(
        [*command.with_demo, "run", "setup.xml"],
        cwd=command.folder,
        env={**command.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    assert process.stdout is not None
    while "Sleeping" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    if ignored:
        time.sleep(0.5)
        assert process.poll() is None
        process.kill()
        process.communicate()
        return
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert err.startswith("[error] Terminated")
    assert not (command.folder / "out").exists()


def test_a_results_directory_that_cannot_be_written(command):
    """Found before anything is computed; the message names the directory."""
    (command.folder / "out").write_text("a file")
    command.write("setup.xml", outcome="sleep", results_directory="out")
    begun = time.monotonic()
    done = command.start("run", "setup.xml")
    assert done.returncode == 1
    assert time.monotonic() - begun < 50
    assert f"The directory '{command.folder / 'out'}' cannot be made" in done.stderr
    assert ".part" not in done.stderr
