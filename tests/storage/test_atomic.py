"""Results appear whole or not at all, also when the process is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.storage.atomic import ResultFiles, atomic_path


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(files, error: type[Exception]) -> None:
    files.path("a.sto").write_text("half")
    raise error


def test_atomic_path_replaces_only_on_success(tmp_path):
    final = tmp_path / "a.sto"
    final.write_text("old")
    with pytest.raises(TypeError), atomic_path(final) as temporary:
        temporary.write_text(temporary.write_text("half"))  # a number is no text
    assert final.read_text() == "old"
    assert names(tmp_path) == ["a.sto"]
    with atomic_path(final) as temporary:
        temporary.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"
    assert names(tmp_path) == ["a.sto"]


def test_results_appear_together(tmp_path):
    folder = tmp_path / "deep" / "results"
    with ResultFiles(folder) as files:
        files.path("a.sto").write_text("a")
        files.path("b.sto").write_text("b")
        assert not (folder / "a.sto").exists()
        assert files.path("a.sto") == files.path("a.sto")
    assert names(folder) == ["a.sto", "b.sto"]
    assert files.finals == [folder / "a.sto", folder / "b.sto"]


def test_a_failed_run_leaves_nothing(tmp_path):
    folder = tmp_path / "deep" / "results"
    with pytest.raises(ValueError), ResultFiles(folder) as files:
        write_and_fail(files, ValueError)
    assert names(tmp_path) == []


def test_a_failed_run_leaves_older_results(tmp_path):
    (tmp_path / "a.sto").write_text("old")
    with pytest.raises(ValueError), ResultFiles(tmp_path) as files:
        write_and_fail(files, ValueError)
    assert names(tmp_path) == ["a.sto"]
    assert (tmp_path / "a.sto").read_text() == "old"


def test_a_result_that_was_never_written_stops_the_rest(tmp_path):
    files = ResultFiles(tmp_path)
    files.__enter__()
    files.path("a.sto").write_text("a")
    files.path("missing.sto")
    with pytest.raises(FileNotFoundError):
        files.__exit__(None, None, None)
    assert names(tmp_path) == []


def test_results_directory_that_is_a_file(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(NEM2EError, match="cannot be made"), ResultFiles(tmp_path / "results"):
        pass


def test_killed_while_writing(tmp_path):
    (tmp_path / "a.sto").write_text("old")
    script = textwrap.dedent(
        f"""
        import time
        from opensim_nem2e.storage.atomic import ResultFiles
        with ResultFiles({str(tmp_path)!r}) as files:
            files.path("a.sto").write_text("half")
            print("writing", flush=True)
            time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / "a.sto").read_text() == "old"
    # What is left behind is hidden and marked as a part; a new run is not disturbed by it.
    left = [name for name in names(tmp_path) if name != "a.sto"]
    assert all(name.startswith(".a.") and ".part" in name for name in left)
    with ResultFiles(tmp_path) as files:
        files.path("a.sto").write_text("new")
    assert (tmp_path / "a.sto").read_text() == "new"
