"""Results appear whole or not at all, also when the process is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from kill_points import hidden, kill_before, needs_kills, run_interrupted, run_killed

from opensim_nem2e.errors import NEM2EError, StorageError
from opensim_nem2e.storage.atomic import (
    ResultFiles,
    atomic_path,
    complete_switches,
    require_writable,
    switch,
    written_files,
)
from opensim_nem2e.storage.claims import Claim, locked, try_lock


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
    assert left
    assert all(name.startswith(".") and ".part" in name for name in left)
    with ResultFiles(tmp_path) as files:
        files.path("a.sto").write_text("new")
    assert (tmp_path / "a.sto").read_text() == "new"
    assert names(tmp_path) == ["a.sto"]
    assert names(tmp_path) == ["a.sto"]


SET = ("a.sto", "b.sto", "c.csv")


def write_set(folder: Path, content: str) -> None:
    with ResultFiles(folder) as files:
        for name in SET:
            files.path(name).write_text(content)


def read_set(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in SET]


@needs_kills
def test_a_set_is_all_new_or_all_old_at_every_point(tmp_path):
    """Killed before each thing that the writer does, and then again while the interrupted switch is completed."""
    outcomes = []
    for number in range(1, 500):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_set(folder, "old")
        if not run_killed(lambda folder=folder: write_set(folder, "new"), folder, number):
            break
        again = random.Random(number).randint(1, 12)
        run_killed(lambda folder=folder: complete_switches(folder), folder, again)
        complete_switches(folder)
        content = read_set(folder)
        assert len(set(content)) == 1, f"point {number}, then {again}: {content}"
        outcomes.append(content[0])
        # The next run removes what is left, whatever it does itself.
        write_set(folder, "next")
        assert read_set(folder) == ["next"] * 3
        assert names(folder) == sorted(SET), f"point {number}, then {again}"
    else:
        pytest.fail("the run never came to its end")
    assert number > 20
    # Old up to one point, and new from there on.
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {"old", "new"}
    assert read_set(folder) == ["new"] * 3
    assert not hidden(folder)


@needs_kills
def test_a_set_is_all_new_or_all_old_when_interrupted(tmp_path):
    """Ctrl-C or SIGTERM between two renames: Python goes on and tidies up, which must not remove what was decided."""
    outcomes = set()
    for number in range(1, 500):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_set(folder, "old")
        if not run_interrupted(lambda folder=folder: write_set(folder, "new"), folder, number):
            break
        complete_switches(folder)
        content = set(read_set(folder))
        assert len(content) == 1, f"point {number}: {content}"
        outcomes |= content
        write_set(folder, "next")
        assert names(folder) == sorted(SET), f"point {number}"
    assert number > 20
    assert outcomes == {"old", "new"}


@needs_kills
@pytest.mark.parametrize("seed", range(6))
def test_writers_that_are_killed_side_by_side(tmp_path, seed):
    """Several processes write the same set, and are killed anywhere: what is there is always one writer's."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    write_set(tmp_path, "first")
    for round_ in range(4):
        children = []
        for writer in range(3):
            number = chance.randint(1, 60)
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    kill_before(number, tmp_path)
                    write_set(tmp_path, f"{round_}-{writer}")
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        assert {os.waitpid(child, 0)[1] for child in children} <= {0, signal.SIGKILL}
        complete_switches(tmp_path)
        content = read_set(tmp_path)
        assert len(set(content)) == 1, content
    write_set(tmp_path, "last")
    assert names(tmp_path) == sorted(SET)


@needs_kills
def test_a_file_is_new_or_old_at_every_point(tmp_path):
    final = tmp_path / ("long" * 60 + ".json")

    def write(text: str) -> None:
        with atomic_path(final) as temporary:
            temporary.write_text(text)

    write("old")
    for number in range(1, 100):
        if not run_killed(lambda: write("new"), tmp_path, number):
            break
        assert final.read_text() in ("old", "new")
        write("old")
        assert names(tmp_path) == [final.name], f"point {number}"
    assert number > 5
    assert final.read_text() == "new"


def test_a_set_in_two_directories(tmp_path):
    """What OpenSim's tools write goes beside the setup file and to the results directory."""
    one, two = tmp_path / "one", tmp_path / "two"
    claim = Claim(tmp_path, "setup")
    for folder in (one, two, claim.path()):
        folder.mkdir()
    moves = {claim.path() / name: folder / name for name, folder in (("a", one), ("b", two), ("c", tmp_path))}
    for source in moves:
        source.write_text("new")
    with written_files() as written:
        switch(claim.path(), moves)
    claim.release()
    assert sorted(written) == sorted(moves.values())
    assert [path.read_text() for path in moves.values()] == ["new"] * 3
    assert not hidden(tmp_path)


@needs_kills
def test_a_set_in_two_directories_is_whole_in_each(tmp_path):
    seen = set()
    for number in range(1, 500):
        root = tmp_path / str(number)
        folders = [root / "one", root / "two"]
        for folder in folders:
            folder.mkdir(parents=True)
            for name in ("a", "b"):
                (folder / name).write_text("old")

        def write(root=root, folders=folders):
            claim = Claim(root, "setup")
            claim.path().mkdir()
            moves = {}
            for place, folder in enumerate(folders):
                for name in ("a", "b"):
                    (claim.path() / f"{name}{place}").write_text("new")
                    moves[claim.path() / f"{name}{place}"] = folder / name
            switch(claim.path(), moves)
            claim.release()

        if not run_killed(write, root, number):
            break
        found = []
        for folder in folders:
            complete_switches(folder)
            content = {(folder / name).read_text() for name in ("a", "b")}
            assert len(content) == 1, f"point {number}"
            found += content
        seen.add(tuple(found))
        assert not hidden(folders[0]) + hidden(folders[1])
    assert {("old", "old"), ("new", "new")} <= seen


def test_a_note_that_somebody_made_moves_nothing_from_elsewhere(tmp_path):
    """A study from elsewhere is no program: nothing leaves its folder, and nothing comes in."""
    study, home = tmp_path / "study", tmp_path / "home"
    for folder in (study, home):
        folder.mkdir()
    (home / "letter").write_text("mine")
    stem = study / ".results.0123456789abcdef.part"
    stem.mkdir()
    (stem / "evil").write_text("evil")
    (stem / "link").symlink_to(home)
    note = [
        ["../../home/letter", "taken"],
        ["link/letter", "taken too"],
        ["evil", "../home/evil"],
        [str(home / "letter"), "x"],
    ]
    (stem / "switch.json").write_text(json.dumps(note))
    complete_switches(study)
    assert sorted(path.name for path in home.iterdir()) == ["letter"]
    assert not {"taken", "taken too", "x"} & {path.name for path in study.iterdir()}
    for text in ("[" * 100000, "{}", "[1]", '[["evil"]]', "\x00"):
        (stem / "switch.json").write_text(text)
        complete_switches(study)
        write_set(study, "x")
        assert read_set(study) == ["x"] * 3
        stem.mkdir(exist_ok=True)


def test_names_that_lead_out_of_the_results_directory(tmp_path):
    with ResultFiles(tmp_path / "results") as files:
        files.path("a.sto").write_text("a")
        for name in ("../a", "/etc/passwd", "..", "", "x/y", "x\\y", "n" * 300):
            with pytest.raises(NEM2EError, match=r"plain file name|too long"):
                files.path(name)


def test_errors_name_the_directory(tmp_path):
    with pytest.raises(NEM2EError, match="cannot be read") as caught, ResultFiles(tmp_path) as files, files.own_names():
        raise NEM2EError(f"{files.path('a.sto')}: cannot be read.")
    assert str(caught.value) == f"{tmp_path / 'a.sto'}: cannot be read."
    with pytest.raises(StorageError, match="no sto") as typed, ResultFiles(tmp_path) as files:
        raise StorageError("no sto", files.path("a.sto"))
    assert str(typed.value) == f"{tmp_path / 'a.sto'}: no sto"
    with pytest.raises(IsADirectoryError) as system, ResultFiles(tmp_path) as files:  # noqa: PT012 - both are needed
        files.path("a.sto").mkdir()
        files.path("a.sto").write_text("a")
    assert system.value.filename == str(tmp_path / "a.sto")
    with pytest.raises(OSError, match=r"No such file") as missing, atomic_path(tmp_path / "none" / "a.sto"):
        pass
    assert missing.value.filename == str(tmp_path / "none" / "a.sto")
    with pytest.raises(OSError, match="too long"), atomic_path(tmp_path / ("x" * 300)):
        pass


def test_a_directory_that_cannot_be_written_is_found_first(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(NEM2EError, match="The directory") as caught:
            require_writable(folder)
        assert str(folder) in str(caught.value)
        assert ".part" not in str(caught.value)
    require_writable(tmp_path / "new" / "deep")
    assert names(tmp_path) == ["file"]


def test_locks(tmp_path):
    path = tmp_path / "lock"
    lock = try_lock(path)
    assert lock is not None
    assert try_lock(path) is None
    waits: list[str] = []
    with locked(path, give_up=lambda: bool(waits), waiting=lambda: waits.append("once")) as held:
        assert not held
    assert waits == ["once"]
    threading.Timer(0.1, lock.release).start()
    with locked(path) as held:
        assert held
    assert names(tmp_path) == []
