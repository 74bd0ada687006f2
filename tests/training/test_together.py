"""Networks computed together beside the same ones trained alone: equal within rounding, whatever is mixed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from training_tasks import stdr_task, toy_task

from opensim_nem2e.errors import TrainingError
from opensim_nem2e.methods.stdr.net import STDRNet
from opensim_nem2e.training import together
from opensim_nem2e.training.checkpoint import NetworkFolder
from opensim_nem2e.training.task import ModuleSpec, Task
from opensim_nem2e.training.together import Stack, measure, shape_of, train_folders
from opensim_nem2e.training.trainer import TrainingStopped, train_folder, train_task


def net_task(k=0, variant="temporal", held=True, **changes):
    """Networks with different numbers of rows, held ones too."""
    random = np.random.default_rng(k)
    x = random.random((6 + k, 8, 1 if variant == "temporal" else 4), dtype=np.float32)
    y = random.random((6 + k, 8), dtype=np.float32)
    values = {"hidden": 6, "epochs": 3, "batch_size": 4, "learning_rate": 3e-3, "weight_decay": 0.01, "seed": k}
    values |= {"gradient_clip": 0.5, **changes}
    return stdr_task(variant, x, y, (x[: 2 + k % 2], y[: 2 + k % 2]) if held else None, **values)


def steady_toy(k=0, **changes):
    """The toy as many of it can be computed at once: without dropout, and without a buffer that it changes."""
    return toy_task(k, rows=7 + k, batched=True, dropout=0.0, **changes)


def assert_close(one, other, tolerance=2e-6):
    assert one.best_epoch == other.best_epoch
    assert set(one.weights) == set(other.weights)
    for name, value in one.weights.items():
        np.testing.assert_allclose(value, other.weights[name], rtol=0, atol=tolerance, err_msg=name)
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert mine.number == theirs.number
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-4)
        assert mine.validation_loss == (
            None if theirs.validation_loss is None else pytest.approx(theirs.validation_loss, rel=1e-4)
        )
        assert dict(mine.terms) == pytest.approx(dict(theirs.terms), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("variant", ["temporal", "spatial"])
def test_stepped_cells_are_the_same_mathematics(variant):
    torch.manual_seed(0)
    net = STDRNet(variant, 3, 20, 7, teacher_forcing=0.5)
    x, y = torch.rand(5, 20, 3), torch.rand(5, 20)
    expected = [net(x, y), net(x)]
    net.stacked = True
    for (estimate, weights), found in zip(expected, [net(x, y), net(x)], strict=True):
        torch.testing.assert_close(found[0], estimate, rtol=0, atol=1e-6)
        torch.testing.assert_close(found[1], weights, rtol=0, atol=1e-6)
    for draw in (0.2, 0.8):
        batch = {"x": x, "y": y}
        drawn = net.loss_terms(batch, torch.tensor(draw, dtype=torch.float64))
        torch.testing.assert_close(drawn["emg"], net.loss_terms(batch, draw)["emg"], rtol=0, atol=1e-6)


def train_together(tasks, places):
    """Train all tasks in so many places."""
    stack, waiting, found = Stack(tasks[0], places), list(enumerate(tasks)), {}
    while len(found) < len(tasks):
        while waiting and stack.has_room:
            stack.add(*waiting.pop(0))
        found |= stack.advance()
    return [found[k] for k in range(len(tasks))]


@pytest.mark.parametrize("places", [3, 2], ids=["all at once", "fewer places"])
@pytest.mark.parametrize(
    "make",
    [
        lambda k: net_task(k),
        lambda k: net_task(k, "spatial", teacher_forcing=0.5),
        lambda k: net_task(k, teacher_forcing=0.0, held=False),
        lambda k: net_task(k, epochs=8, patience=1 + k),
        steady_toy,
        lambda k: steady_toy(k, decoupled_weight_decay=True, gradient_clip=0.1, held=False),
    ],
    ids=["forced", "forced in half of the steps", "free", "early stop", "toy", "toy, AdamW"],
)
def test_equal_to_those_trained_alone(make, places):
    tasks = [make(k) for k in range(3)]
    for one, task in zip(train_together(tasks, places=places), tasks, strict=True):
        assert_close(one, train_task(task))


def test_what_cannot_be_computed_together_is_refused_or_apart():
    tasks = [steady_toy(0), toy_task(0), steady_toy(1, hidden=7), steady_toy(1, learning_rate=1.0)]
    assert len({shape_of(task) for task in tasks}) == 4
    assert shape_of(steady_toy(0)) == shape_of(steady_toy(2, epochs=99))
    other = {"mix": tasks[0].constants["mix"] + 1}
    assert shape_of(replace(tasks[0], constants=other)) != shape_of(tasks[0])
    with pytest.raises(TrainingError, match="cannot be computed together: they must say batched = True"):
        Stack(toy_task(0), 2)
    with pytest.raises(TrainingError, match="must have the same module, constants and settings"):
        train_together([steady_toy(0), steady_toy(1, hidden=7)], 2)


def test_divergence_is_of_one_network():
    good, bad = net_task(0), net_task(1)
    bad = replace(bad, data={**bad.data, "y": bad.data["y"] * np.float32(1e30)}, held=bad.held)
    stack = Stack(good, 2)
    stack.add("good", good)
    stack.add("bad", bad)
    found = {}
    while stack.keys:
        found |= stack.advance()
    assert isinstance(found["bad"], TrainingError)
    assert_close(found["good"], train_task(good))


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []

    def started(self, name, history):
        self.calls.append(("started", name, len(history)))

    def epoch(self, name, epoch):
        self.calls.append(("epoch", name, epoch.number))

    def finished(self, name):
        self.calls.append(("finished", name))

    def note(self, name, text):
        self.calls.append(("note", name, text))

    def choice(self, name, text):
        self.calls.append(("choice", name, text))

    def of(self, kind):
        return [call for call in self.calls if call[0] == kind]


def prepared(path, tasks):
    folders = {}
    for k, task in enumerate(tasks):
        folders[f"n{k}"] = NetworkFolder.of(path, f"n{k}", task)
        folders[f"n{k}"].prepare(task)
    return folders


def never():
    return False


@pytest.mark.parametrize("kind", ["STDR-Net", "toy"])
def test_left_and_taken_up_by_either_way(tmp_path, kind):
    """Left in the middle of epochs and between the parts of early stopping, taken up together, then each alone."""
    if kind == "toy":
        tasks = [steady_toy(k, everything=True, patience=1, epochs=6) for k in range(3)]
    else:
        tasks = [net_task(k, epochs=5) for k in range(3)]
    folders = prepared(tmp_path, tasks)
    for steps in (2, 3):
        asked = iter([False] * steps)
        with pytest.raises(TrainingStopped):
            train_folders(folders, "cpu", np.inf, stop=partial(next, asked, True), listener=Listener(), together=True)
    assert all(folder.load() is not None for folder in folders.values())
    alone = train_folder(folders["n0"], np.inf)
    listener = Listener()
    train_folders(folders, "cpu", 0.0, stop=never, listener=listener, together=True)
    assert [call[1] for call in listener.of("finished")].count("n0") == 1
    assert not [call for call in listener.of("epoch") if call[1] == "n0"]
    for folder, task in zip(folders.values(), tasks, strict=True):
        assert_close(folder.trained(), train_task(task))
    assert_close(alone, folders["n0"].trained(), 0)


def test_stopped_alone_and_finished_together(tmp_path):
    """A network that was left after its last step of an epoch only has to end it."""
    task = net_task(2, batch_size=4)
    folders = prepared(tmp_path, [task, net_task(3)])
    with pytest.raises(TrainingStopped):
        train_folder(folders["n0"], 0.0, stop=partial(next, iter([False]), True))
    assert folders["n0"].load().numbers["position"] == len(task.data["x"])
    train_folders(folders, "cpu", np.inf, stop=never, listener=Listener(), together=True)
    assert_close(folders["n0"].trained(), train_task(task))


@pytest.mark.parametrize("faster", [True, False])
def test_what_was_measured_decides(tmp_path, monkeypatch, faster):
    """What is slower is not used; both ways give the same networks, and the choice is told with its numbers."""
    real = measure([net_task(0), net_task(1)], "cpu")
    assert real.alone > 0
    assert real.together > 0
    assert real.places == 2
    speed = together.Speed(0.002, 0.001 if faster else 0.003, 2)
    monkeypatch.setattr(together, "measure", lambda tasks, device: speed)
    tasks = [net_task(k) for k in range(3)]
    folders, listener = prepared(tmp_path, tasks), Listener()
    train_folders(folders, "cpu", np.inf, stop=never, listener=listener)
    ((_, _, text),) = listener.of("choice")
    assert text == (
        f"3 networks are computed {'together, 2 at once' if faster else 'one by one'}: a step of one takes 2 ms alone "
        f"and {1 if faster else 3} ms together."
    )
    for folder, task in zip(folders.values(), tasks, strict=True):
        assert_close(folder.trained(), train_task(task), 2e-6 if faster else 0)


def test_a_module_that_is_wrong_about_itself_is_trained_alone(tmp_path):
    tasks = [
        Task(ModuleSpec("toy_module:Broken"), task.settings, {"x": task.data["x"]})
        for task in (toy_task(0), toy_task(1))
    ]
    folders, listener = prepared(tmp_path, tasks), Listener()
    train_folders(folders, "cpu", np.inf, stop=never, listener=listener)
    ((_, _, text),) = listener.of("choice")
    assert text.startswith("2 networks cannot be computed together: ")
    for folder, task in zip(folders.values(), tasks, strict=True):
        assert_close(folder.trained(), train_task(task), 0)


def test_modules_that_do_not_say_batched_are_trained_alone(tmp_path):
    tasks = [toy_task(0), toy_task(1)]
    folders, listener = prepared(tmp_path, tasks), Listener()
    train_folders(folders, "cpu", np.inf, stop=never, listener=listener)
    assert not listener.of("choice")
    assert len(listener.of("finished")) == 2
    for folder, task in zip(folders.values(), tasks, strict=True):
        assert_close(folder.trained(), train_task(task), 0)
