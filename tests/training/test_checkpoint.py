"""Checkpoints: a training that is killed, wherever, ends in the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forked_processes import FORKS, ForkedProcess
from training_tasks import stdr_task, toy_task

from opensim_nem2e.training import checkpoint
from opensim_nem2e.training.checkpoint import DamagedFileError, NetworkFolder, read_checked, write_checked
from opensim_nem2e.training.task import Task
from opensim_nem2e.training.trainer import TrainingStopped, train_folder, train_task


def task_of(variant="temporal", held=True, everything=False, **settings):
    random = np.random.default_rng(0)
    inputs = 1 if variant == "temporal" else 5
    x = random.random((10, 8, inputs), dtype=np.float32)
    y = random.random((10, 8), dtype=np.float32)
    # Batches of 4 out of 10: the last step of an epoch is a small one. All random draws are in use.
    values = {"hidden": 8, "epochs": 6, "batch_size": 4, "teacher_forcing": 0.5, "seed": 3, "gradient_clip": 1.0}
    more = (np.concatenate([x, x[:3]]), np.concatenate([y, y[:3]])) if everything else None
    parts = (x[:3] * 0.9, y[:3]) if held else None, more
    return stdr_task(variant, x, y, *parts, **{**values, "weight_decay": 0.01, **settings})


def undisturbed(task):
    return train_task(task)


def folder_of(path, task):
    folder = NetworkFolder.of(path, "soleus", task)
    folder.prepare(task)
    return folder


def assert_same(one, other):
    assert one.history == other.history
    assert one.best_epoch == other.best_epoch
    assert set(one.weights) == set(other.weights)
    for name, value in one.weights.items():
        assert value.tobytes() == other.weights[name].tobytes(), name


class StopAfter:
    """Asks to stop when it has been asked so many times."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize(
    "task",
    [
        task_of(),
        task_of(held=False),
        task_of(patience=2, epochs=12),
        task_of(patience=2, epochs=4, everything=True),
        task_of("spatial", teacher_forcing=1.0, batch_size=1, score="dot"),
        toy_task(epochs=6, decoupled_weight_decay=True),
        toy_task(patience=1, everything=True, epochs=6),
    ],
    ids=["validation", "plain", "early stop", "early stop, then all", "spatial", "toy", "toy, early stop, then all"],
)
@pytest.mark.parametrize("pause", [1, 4])
def test_left_and_taken_up_again(tmp_path, task, pause):
    """Left after every 1, 2, ... steps, each time with a new optimiser: within epochs, at their ends, at the end."""
    folder = folder_of(tmp_path, task)
    times = 0
    starts = []
    while True:
        try:
            trained = train_folder(folder, np.inf, stop=StopAfter(pause), on_start=lambda h: starts.append(len(h)))
            break
        except TrainingStopped:
            times += 1
    assert times >= 18 // pause
    assert starts == sorted(starts)
    assert_same(trained, undisturbed(task))
    assert_same(folder.trained(), trained)
    assert {path.name for path in folder.path.iterdir()} == {
        "setup.json", "data.safetensors", "trained.safetensors", "lock"
    }  # fmt: skip
    # A finished network is not trained again.
    assert_same(train_folder(folder, 0.0, stop=lambda: pytest.fail("a step was done")), trained)


TRAIN = """
import os, signal, sys
from pathlib import Path
from opensim_nem2e.training.checkpoint import NetworkFolder
from opensim_nem2e.training.trainer import train_folder
sys.path.insert(0, {tests!r})
{extra}
train_folder(NetworkFolder(Path({folder!r})), 0.0)
"""


#: Where the module of the toy lies.
TESTS = os.fspath(Path(__file__).resolve().parent.parent)


def start(folder, extra=""):
    code = TRAIN.format(extra=extra, tests=TESTS, folder=os.fspath(folder.path))
    if FORKS:
        return ForkedProcess(lambda: exec(code, {"__name__": "train"}))
    return subprocess.Popen([sys.executable, "-c", code])


#: The process kills itself at the n-th checkpoint: half of the file written; all of it, but not yet under its name;
#: under its name, but the older ones not yet removed; and while the finished network is written.
KILLS = {
    "half written": """
from pathlib import Path
write = Path.write_bytes
def killing(path, content):
    global count
    if "{file}" in path.name:
        count += 1
        if count == {n}:
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    return write(path, content)
count = 0
Path.write_bytes = killing
""",
    "not renamed": """
from pathlib import Path
replace = Path.replace
def killing(path, target):
    global count
    if "{file}" in path.name:
        count += 1
        if count == {n}:
            os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
count = 0
Path.replace = killing
""",
    "not tidied": """
from pathlib import Path
unlink = Path.unlink
def killing(path, missing_ok=False):
    global count
    if path.name.startswith("step_"):
        count += 1
        if count == {n}:
            os.kill(os.getpid(), signal.SIGKILL)
    return unlink(path, missing_ok)
count = 0
Path.unlink = killing
""",
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("kind", "file", "n"),
    [
        ("half written", "step_", 8),
        ("half written", "trained", 1),
        ("not renamed", "step_", 2),
        pytest.param("not tidied", "step_", 3, marks=pytest.mark.slow),
        # The finished network is there, one of its two checkpoints is gone.
        ("not tidied", "step_", 18),
    ],
)
def test_killed_while_writing(tmp_path, kind, file, n):
    task = task_of()
    folder = folder_of(tmp_path, task)
    killed = start(folder, KILLS[kind].format(file=file, n=n))
    assert killed.wait(60) == -signal.SIGKILL
    assert folder.trained() is None or n == 18
    assert start(folder).wait(60) == 0
    assert_same(folder.trained(), undisturbed(task))
    assert not list(folder.path.glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("task", [task_of(epochs=30), toy_task(epochs=60)], ids=["STDR-Net", "toy"])
def test_killed_at_any_moment(tmp_path, task, chance):
    """Killed again and again at moments nobody chose, mostly in the middle of a checkpoint."""
    folder = folder_of(tmp_path, task)
    kills = 0
    before = ""
    for _ in range(3):
        process = start(folder)
        # Further than at the last kill, so that there is progress however slow the machine is.
        while process.poll() is None and max([p.name for p in folder.path.glob("step_*")], default="") <= before:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        process.kill()
        kills += process.wait(60) == -signal.SIGKILL
        before = max([p.name for p in folder.path.glob("step_*")], default="")
    assert kills >= 1
    assert start(folder).wait(120) == 0
    assert_same(folder.trained(), undisturbed(task))


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(tmp_path):
    task = task_of()
    folder = folder_of(tmp_path, task)
    with pytest.raises(TrainingStopped):
        train_folder(folder, 0.0, stop=StopAfter(8))
    older, newer = sorted(folder.path.glob("step_*"))
    content = newer.read_bytes()
    for damaged in (b"", content[:4], content[: len(content) // 2], content[:-1], b"\0" * len(content)):
        newer.write_bytes(damaged)
        notes = []
        state = folder.load(notes.append)
        assert state.numbers["steps"] == 7
        assert len(notes) == 1
        assert "step_000000000008" in notes[0]
        assert not newer.exists()
    newer.write_bytes(content[:-8])
    older.write_bytes(b"nothing")
    notes = []
    assert folder.load(notes.append) is None
    assert len(notes) == 2
    assert_same(train_folder(folder, 0.0), undisturbed(task))


def test_any_changed_bit_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], dtype=np.int64)}
    arrays["none"] = np.zeros(0)
    numbers = {"steps": 12, "total": 0.1, "best_loss": np.inf}
    write_checked(path, arrays, numbers)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    noticed = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        try:
            found, found_numbers = read_checked(path)
        except DamagedFileError:
            noticed += 1
            continue
        # White space of the header may change; what was stored may not.
        assert found_numbers == numbers
        assert {name: (v.dtype, v.shape, v.tobytes()) for name, v in found.items()} == {
            name: (v.dtype, v.shape, v.tobytes()) for name, v in arrays.items()
        }
    assert noticed > 0.9 * len(content)


def test_a_folder_belongs_to_its_data_and_settings(tmp_path):
    task = task_of()
    folder = folder_of(tmp_path, task)
    assert NetworkFolder.of(tmp_path, "soleus", task_of()).path == folder.path
    assert folder.differences() == []
    other = folder_of(tmp_path, task_of(epochs=7, seed=4))
    assert other.path != folder.path
    assert other.differences() == ["epochs 6, now 7; seed 3, now 4"]
    y = task.data["y"].copy()
    y[0, 0] = np.nextafter(y[0, 0], 1)
    changed = Task(task.module, task.settings, {**task.data, "y": y}, task.held)
    assert NetworkFolder.of(tmp_path, "soleus", changed).path not in (
        folder.path,
        other.path,
    )
    assert NetworkFolder.of(tmp_path, "soleus", task_of(held=False)).path != folder.path
    with pytest.raises(TrainingStopped):
        train_folder(folder, 0.0, stop=StopAfter(2))
    assert other.load() is None
    assert folder.load() is not None
    folder.remove()
    assert not folder.path.exists()
    other.remove()
    assert not list(tmp_path.iterdir())


def test_a_finished_network_that_was_damaged_is_trained_again(tmp_path):
    task = task_of()
    folder = folder_of(tmp_path, task)
    expected = train_folder(folder, np.inf)
    (folder.path / "trained.safetensors").write_bytes(b"x" * 200)
    notes = []
    assert_same(train_folder(folder, np.inf, note=notes.append), expected)
    assert len(notes) == 1
    assert "trained.safetensors" in notes[0]


def test_prepare_mends(tmp_path):
    task = task_of()
    folder = folder_of(tmp_path, task)
    stamp = (folder.path / "data.safetensors").stat().st_mtime_ns
    folder.prepare(task)
    assert (folder.path / "data.safetensors").stat().st_mtime_ns == stamp
    for name in ("data.safetensors", "setup.json"):
        (folder.path / name).write_text("{}")
        with pytest.raises(DamagedFileError, match=name):
            folder.task()
        folder.prepare(task)
        assert folder.task().description() == task.description()
    assert json.loads((folder.path / "setup.json").read_text())["arguments"]["hidden"] == 8


def test_a_task_is_read_as_it_was(tmp_path):
    """Types, constants and first weights; float64 becomes float32 before anything hangs on it."""
    first = {name: value for name, value in train_task(toy_task(epochs=1)).weights.items() if name != "seen"}
    made = toy_task(everything=True)
    task = Task(made.module, made.settings, made.data, made.held, made.everything, first, made.constants)
    read = folder_of(tmp_path, task).task()
    assert (read.module, read.settings) == (task.module, task.settings)
    assert {name: array.dtype.name for name, array in read.data.items()} == {"x": "float32", "weight": "int64"}
    assert set(read.arrays()) == set(task.arrays())
    assert {name.split(".")[0] for name in read.arrays()} == {"data", "held", "everything", "initial", "constants"}
    for name, array in task.arrays().items():
        assert (array.dtype, array.tobytes()) == (read.arrays()[name].dtype, read.arrays()[name].tobytes())


def test_changed_arguments_of_the_module_are_named(tmp_path):
    folder_of(tmp_path, toy_task(hidden=6, dropout=0.3))
    assert folder_of(tmp_path, toy_task(hidden=7, dropout=0.3)).differences() == ["hidden 6, now 7"]


def test_a_full_disk_does_not_stop_training(tmp_path, monkeypatch):
    task = task_of()
    folder = folder_of(tmp_path, task)
    notes = []

    def full(self, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NetworkFolder, "save", full)
    assert_same(train_folder(folder, 0.0, note=notes.append), undisturbed(task))
    assert len(notes) == 1
    assert "No space left on device" in notes[0]


def test_without_locks_training_goes_on(tmp_path, monkeypatch):
    """On a file system without locks nobody can say who is at work; nothing is removed, and nothing waits."""

    def no_locks(descriptor, *, blocking):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(checkpoint, "lock_descriptor", no_locks)
    task = task_of(epochs=1)
    folder = folder_of(tmp_path / "store", task)
    assert_same(train_folder(folder, 0.0), undisturbed(task))
    mine, other = (checkpoint.CheckpointStore(tmp_path / "store") for _ in range(2))
    mine.enter()
    other.enter()
    assert mine.tidy([folder]) == ([], False)
    assert folder.path.exists()
    other.leave()


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_two_processes_do_not_train_the_same_network(tmp_path):
    """The second waits for the first, and takes what it made."""
    task = task_of(epochs=40)
    folder = folder_of(tmp_path, task)
    first = start(folder)
    while not list(folder.path.glob("step_*")):
        assert first.poll() is None
        time.sleep(0.01)
    with pytest.raises(TrainingStopped, match="another process"):
        train_folder(folder, 0.0, stop=lambda: True)
    first.send_signal(signal.SIGSTOP)
    steps, notes = [], []

    def note(text):
        notes.append(text)
        first.send_signal(signal.SIGCONT)

    trained = train_folder(folder, 0.0, on_epoch=steps.append, note=note)
    assert first.wait(60) == 0
    assert notes == ["Another process is training this network; its result is waited for."]
    assert not steps
    assert_same(trained, undisturbed(task))
