"""Networks trained together against the same networks trained alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from opensim_nem2e.errors import TrainingError
from opensim_nem2e.networks.stdr_net import STDRNet
from opensim_nem2e.training.engine import train_task
from opensim_nem2e.training.settings import Task, TrainingSettings
from opensim_nem2e.training.stacked import Stack, shape_of, train_stacked

BASE = {"hidden": 12, "epochs": 5, "batch_size": 4, "learning_rate": 1e-3}


def tasks_of(variant="temporal", held=False, counts=(10, 7, 12), **settings):
    """Networks with different data, numbers of windows and seeds."""
    tasks = []
    inputs = 1 if variant == "temporal" else 5
    for seed, count in enumerate(counts):
        random = np.random.default_rng(seed)
        x = random.random((count, 20, inputs), dtype=np.float32)
        y = random.random((count, 20), dtype=np.float32)
        held_too = (x[: 2 + seed] * np.float32(0.9), y[: 2 + seed]) if held else None
        tasks.append(Task(variant, TrainingSettings(**{**BASE, **settings}, seed=seed), x, y, held_too))
    return tasks


def alone(task, **how):
    return train_task(task, **how)


def assert_close(one, other, tolerance=2e-5):
    assert one.best_epoch == other.best_epoch
    assert len(one.history) == len(other.history)
    for mine, its in zip(one.history, other.history, strict=True):
        assert mine.number == its.number
        assert mine.loss == pytest.approx(its.loss, abs=tolerance)
        assert (mine.validation_loss is None) == (its.validation_loss is None)
        if mine.validation_loss is not None:
            assert mine.validation_loss == pytest.approx(its.validation_loss, abs=tolerance)
    assert set(one.weights) == set(other.weights)
    for name, value in one.weights.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, other.weights[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 1},
        {"variant": "spatial", "batch_size": 1},
        {"teacher_forcing": 0.5, "held": True},
        {"teacher_forcing": 0.0, "score": "dot", "weight_decay": 0.1, "variant": "spatial"},
        {"gradient_clip": 0.05, "held": True, "patience": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("places", [2, 3])
def test_equal_to_separate_training(settings, places):
    """About 50 steps at batch size 1. With two places the third network begins when one of the others is finished."""
    tasks = tasks_of(**settings)
    # Of which one is finished before the others.
    tasks[1] = dataclasses.replace(tasks[1], settings=dataclasses.replace(tasks[1].settings, epochs=3))
    told = []
    together = train_stacked(tasks, places=places, on_epoch=lambda k, epoch: told.append((k, epoch.number)))
    for k, (task, trained) in enumerate(zip(tasks, together, strict=True)):
        assert_close(trained, alone(task))
        assert [number for who, number in told if who == k] == [epoch.number for epoch in trained.history]


def test_fifty_steps_in_double_precision():
    """Against autograd and PyTorch's own Adam."""
    tasks = tasks_of(batch_size=1, epochs=20)
    stack = Stack(tasks[0], len(tasks), dtype=torch.float64)
    for k, task in enumerate(tasks):
        stack.add(k, task)
    for _ in range(50):
        assert stack.advance() == {}
    for k, task in enumerate(tasks):
        torch.manual_seed(task.settings.seed)
        net = STDRNet(task.variant, 1, 20, BASE["hidden"]).double()
        optimiser = torch.optim.Adam(net.parameters(), lr=BASE["learning_rate"])
        random = torch.Generator().manual_seed(task.settings.seed)
        x, y = torch.from_numpy(task.x).double(), torch.from_numpy(task.y).double()
        rows = []
        while len(rows) < 50:
            for row in torch.randperm(len(x), generator=random).tolist():
                torch.rand((), generator=random)  # the engine draws here whether to force
                rows.append(row)
        for row in rows[:50]:
            loss = torch.nn.functional.mse_loss(net(x[[row]], y[[row]])[0], y[[row]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        state = stack.state(k)
        assert state.numbers["steps"] == 50
        for name, value in net.state_dict().items():
            np.testing.assert_allclose(state.arrays[f"weights.{name}"], value.numpy(), rtol=0, atol=1e-12, err_msg=name)


def test_from_given_weights():
    tasks = tasks_of()
    first = alone(tasks[0]).weights
    tasks[2] = dataclasses.replace(tasks[2], initial=first)
    for task, trained in zip(tasks, train_stacked(tasks), strict=True):
        assert_close(trained, alone(task))


class Left(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_the_engines_take_up_each_others_trainings(steps):
    """Within an epoch (1, 8) and at its end (3)."""
    (task,) = tasks_of(counts=(10,), held=True, patience=3, teacher_forcing=0.5, gradient_clip=0.1, epochs=6)
    undisturbed = alone(task)
    # From the engine to the stack.
    states = []

    def leave(state):
        states.append(state())
        if len(states) == steps:
            raise Left

    with pytest.raises(Left):
        alone(task, after_step=leave)
    stack = Stack(task, 2)
    stack.add("it", task, states[-1])
    found = {}
    while not found:
        found = stack.advance()
    assert_close(found["it"], undisturbed)
    # From the stack to the engine, and to another stack: there with the same bits.
    one = Stack(task, 2)
    one.add("it", task)
    for _ in range(steps):
        one.advance()
    state = one.state("it")
    assert set(state.arrays) == set(states[-1].arrays) | {n for n in state.arrays if n.startswith("best.")}
    assert_close(alone(task, resume=state), undisturbed)
    other = Stack(task, 2)
    other.add("it", task, state)
    ends = []
    for stack in (one, other):
        found = {}
        while not found:
            found = stack.advance()
        ends.append(found["it"])
    assert ends[0].history == ends[1].history
    for name, value in ends[0].weights.items():
        assert value.tobytes() == ends[1].weights[name].tobytes()


def test_one_diverges_and_the_others_go_on():
    good, bad = tasks_of(counts=(6, 6))
    bad = dataclasses.replace(bad, y=bad.y * np.float32(1e30))
    stack = Stack(good, 2)
    stack.add("good", good)
    stack.add("bad", bad)
    found = {}
    while stack.keys:
        found |= stack.advance()
    assert isinstance(found["bad"], TrainingError)
    assert "Lower the learning rate" in str(found["bad"])
    assert_close(found["good"], alone(good))
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        train_stacked([good, bad])


def test_what_can_be_trained_together():
    tasks = tasks_of(held=True, patience=2)
    assert len({shape_of(task) for task in tasks}) == 1
    others = (tasks_of("spatial")[0], tasks_of(hidden=13)[0], tasks_of(learning_rate=0.1)[0])
    for other in others:
        assert shape_of(other) != shape_of(tasks[0])
        with pytest.raises(TrainingError, match="same shape and settings"):
            train_stacked([tasks[0], other])
    with pytest.raises(TrainingError, match="at least one window"):
        train_stacked([dataclasses.replace(tasks[0], x=tasks[0].x[:0], y=tasks[0].y[:0])])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no graphics card for CUDA")
@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"teacher_forcing": 0.5, "held": True}], ids=str)
def test_equal_on_a_graphics_card(settings):
    tasks = tasks_of(**settings)
    for task, trained in zip(tasks, train_stacked(tasks, "cuda", places=2), strict=True):
        assert_close(trained, alone(task), 1e-4)
