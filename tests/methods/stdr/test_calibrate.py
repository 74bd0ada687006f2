"""Calibration to a person: the closed form by hand, and fine-tuning where, and only where, it helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.data.gait_cycles import TargetData
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.methods.bundle import refine_cycles
from opensim_nem2e.methods.stdr.calibrate import FEWEST_STRIDES, FOLDS, PRIOR_STRIDES, calibrate, shrink_to_person
from opensim_nem2e.methods.stdr.conditions import cycle_samples, split_cycle
from opensim_nem2e.methods.stdr.method import Recipe, cycle_errors, module_of, train_target
from opensim_nem2e.training.task import Task, TrainingSettings
from opensim_nem2e.training.trainer import train_task

SETTINGS = TrainingSettings(epochs=60, batch_size=16, learning_rate=0.01)


def strides_of(condition="One-Entire", count=6, shift=0.0, seed=0, who="p", noise=0.01):
    """Strides whose EMG is a phase-shifted burst, and does not depend on what little varies in the activation."""
    random = np.random.default_rng(seed)
    phase = np.linspace(0, 1, cycle_samples(condition))
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + shift)) + random.normal(0, 0.02, (count, 1))
    inputs = ("ipsi:soleus", "ipsi:tib") if condition == "All-Entire" else ("ipsi:soleus",)
    x = np.stack([own, 1 - own], axis=2)[:, :, : len(inputs)]
    y = 0.4 + 0.3 * np.cos(2 * np.pi * (phase - shift)) + random.normal(0, noise, own.shape)
    return TargetData("soleus", inputs, x, own, y, np.array([who] * count), tuple(range(count)))


def joined(one, other):
    arrays = {
        name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("x", "own", "y", "subjects")
    }
    return replace(one, trials=one.trials + other.trials, **arrays)


@pytest.fixture(scope="module")
def networks():
    """Networks that learned something else from two other people."""
    found = {}
    for condition in ("One-Quarter", "One-Entire", "All-Entire"):
        others = joined(
            strides_of(condition, shift=0.3, who="a", seed=1), strides_of(condition, shift=0.35, who="b", seed=2)
        )
        recipe = Recipe(
            condition, TrainingSettings(epochs=20, batch_size=4, learning_rate=0.01), 20, "deviation", hidden=8
        )
        network, _ = train_target(others, recipe)
        # What bundles of other makers may hold.
        found[condition] = replace(
            network, input_offset=network.input_offset + 0.1, input_scale=network.input_scale * 2
        )
    return found


@pytest.mark.parametrize("condition", ["One-Entire", "All-Entire"])
@pytest.mark.parametrize("count", [1, 4])
def test_the_closed_form_is_the_weighted_mean(networks, condition, count):
    network, data = networks[condition], strides_of(condition, count)
    new = strides_of(condition, 3, shift=0.1, seed=5).x
    before, _ = refine_cycles(network, new, condition, 20)
    after, _ = refine_cycles(shrink_to_person(network, data, condition, 20), new, condition, 20)
    expected = (count * data.y.mean(axis=0) + PRIOR_STRIDES * before) / (count + PRIOR_STRIDES)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def test_a_quarter_gets_the_mean_residual(networks):
    network, data = networks["One-Quarter"], strides_of("One-Quarter", 4)
    calibrated = shrink_to_person(network, data, "One-Quarter", 20)
    residual = split_cycle(data.y - refine_cycles(network, data.x, "One-Quarter", 20)[0], "One-Quarter")
    gained = calibrated.output_offset - network.output_offset
    np.testing.assert_allclose(gained, 4 / (4 + PRIOR_STRIDES) * residual.mean(axis=0), atol=1e-6)
    assert calibrated.output_scale == network.output_scale


def test_one_motion_keeps_the_closed_form(networks):
    """Where nothing but noise is left, fine-tuning is not better by more than its standard error."""
    data = strides_of(count=7, noise=0.15)
    found = calibrate(networks["One-Entire"], data, "One-Entire", 20, SETTINGS)
    assert (found.strides, found.epochs, found.trained) == (7, 0, None)
    closed = shrink_to_person(networks["One-Entire"], data, "One-Entire", 20)
    for name, value in closed.tensors().items():
        assert found.network.tensors()[name].tobytes() == value.tobytes(), name
    assert set(found.errors) == {"opensim", "initial", "calibrated", "mean"}
    assert found.errors["calibrated"] < 0.6 * found.errors["initial"]
    # The baseline by hand: each stride against the mean of those outside its fold.
    folds = np.arange(7) % FOLDS
    by_hand = [cycle_errors(data.y[folds != k].mean(axis=0), data.y[[i]])[0] for i, k in enumerate(folds)]
    assert found.errors["mean"] == pytest.approx(np.mean(by_hand))
    assert found.errors["opensim"] == pytest.approx(cycle_errors(data.own, data.y).mean())


@pytest.mark.parametrize("condition", ["One-Entire", "One-Quarter", "All-Entire"])
def test_two_motions_are_fine_tuned(networks, condition):
    """One mean cycle does not fit both; the activations say which it is, and new strides show that it was learned."""
    data = joined(strides_of(condition, 3), strides_of(condition, 3, shift=0.5, seed=3))
    found = calibrate(networks[condition], data, condition, 20, SETTINGS)
    assert found.epochs > 10
    assert len(found.trained.history) == found.epochs
    new = joined(strides_of(condition, 2, seed=8), strides_of(condition, 2, shift=0.5, seed=9))
    closed = shrink_to_person(networks[condition], data, condition, 20)
    errors = [
        cycle_errors(refine_cycles(network, new.x, condition, 20)[0], new.y).mean()
        for network in (closed, found.network)
    ]
    assert errors[1] < 0.6 * errors[0]
    assert found.errors["calibrated"] < found.errors["mean"]
    again = calibrate(networks[condition], data, condition, 20, SETTINGS)
    assert again.epochs == found.epochs
    for name, value in found.network.tensors().items():
        assert again.network.tensors()[name].tobytes() == value.tobytes(), name


def test_few_strides_are_not_fine_tuned(networks):
    one = calibrate(networks["One-Entire"], strides_of(count=1), "One-Entire", 20, SETTINGS)
    assert (one.strides, one.epochs, one.errors) == (1, 0, {})
    # Two that differ as much as they can.
    two = joined(strides_of(count=1), strides_of(count=1, shift=0.5))
    found = calibrate(networks["One-Entire"], two, "One-Entire", 20, SETTINGS)
    assert (found.strides, found.epochs) == (2, 0)
    assert found.errors["mean"] == pytest.approx(cycle_errors(two.y[::-1], two.y).mean())
    five = joined(strides_of(count=3), strides_of(count=FEWEST_STRIDES - 4, shift=0.5))
    assert calibrate(networks["One-Entire"], five, "One-Entire", 20, SETTINGS).epochs == 0


def test_it_is_for_one_person(networks):
    people = joined(strides_of(count=2, who="a"), strides_of(count=2, who="b"))
    with pytest.raises(TrainingError, match="to one person, but the cycles of 'soleus' are of a, b"):
        calibrate(networks["One-Entire"], people, "One-Entire", 20, SETTINGS)


def test_training_begins_with_given_weights(networks):
    """And they are part of what a checkpoint is for."""
    network, data = networks["One-Entire"], strides_of()
    settings = TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-9)
    windows = {"x": data.x, "y": data.y}
    module = module_of("temporal", 1, 20, 8, "general", 1.0)
    task = Task(module, settings, windows, initial=network.weights)
    trained = train_task(task)
    for name, value in network.weights.items():
        np.testing.assert_allclose(trained.weights[name], value, atol=1e-7)
    plain = Task(module, settings, windows)
    assert plain.description() != task.description()
    assert Task.of(module, settings, task.arrays()).description() == task.description()
    assert Task.of(module, settings, plain.arrays()).initial is None
    # Early stopping goes back to them.
    held = {name: values[:2] for name, values in windows.items()}
    stopping = replace(task, settings=replace(settings, patience=1), held=held, everything=windows)
    for name, value in train_task(stopping).weights.items():
        np.testing.assert_allclose(value, network.weights[name], atol=1e-7)
