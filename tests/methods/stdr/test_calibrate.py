"""Calibration to a subject: the closed form by hand, and fine-tuning where, and only where, it helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import joined, make_samples

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import MuscleCycles
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.calibrate import FEWEST_STRIDES, FOLDS, PRIOR_STRIDES, shrink_to_subject
from opensim_nem2e.methods.stdr.calibrate import calibrate as calibrate_network
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.methods.stdr.method import network_task
from opensim_nem2e.signals.compare import cycle_errors
from opensim_nem2e.training.task import Task
from opensim_nem2e.training.trainer import train_task

OPTIONS = STDROptions(epochs=60, batch_size=16, learning_rate=0.01)


def view_of(condition):
    return CycleView(condition, input_muscles=("ipsi:soleus", "ipsi:tib") if condition == "All-Entire" else ())


def samples_of(condition="One-Entire", count=6, shift=0.0, seed=0, who="p", noise=0.01):
    """Strides whose EMG is a phase-shifted burst, and does not depend on what little varies in the activation."""
    random = np.random.default_rng(seed)
    phase = np.linspace(0, 1, CycleView(condition).cycle_samples)
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + shift)) + random.normal(0, 0.02, (count, 1))
    y = 0.4 + 0.3 * np.cos(2 * np.pi * (phase - shift)) + random.normal(0, noise, own.shape)
    return make_samples({"ipsi:soleus": own, "ipsi:tib": 1 - own}, {"soleus": y}, [who] * count)


def strides_of(condition="One-Entire", *others, **how):
    """The same as an estimator sees them; further mappings describe further strides."""
    samples = samples_of(condition, **how)
    for other in others:
        samples = joined(samples, samples_of(condition, **other))
    return MuscleCycles.of(samples, "soleus", view_of(condition))


def calibrate(network, data):
    return calibrate_network(network, data, OPTIONS, RunSettings())


def refine(network, x):
    return network.predict({"activation": x}).values


@pytest.fixture(scope="module")
def networks():
    """Networks that learned something else from two other subjects."""
    found = {}
    options = STDROptions(hidden_units=8, epochs=20, batch_size=4, learning_rate=0.01, network_output="deviation")
    for condition in ("One-Quarter", "One-Entire", "All-Entire"):
        others = joined(
            samples_of(condition, shift=0.3, who="a", seed=1), samples_of(condition, shift=0.35, who="b", seed=2)
        )
        plan = find_method("stdr_net").plan(others, "soleus", view_of(condition), options, RunSettings())
        network = plan.finish(train_task(plan.task))
        # What bundles of other makers may hold.
        found[condition] = replace(
            network, input_offset=network.input_offset + 0.1, input_scale=network.input_scale * 2
        )
    return found


@pytest.mark.parametrize("condition", ["One-Entire", "All-Entire"])
@pytest.mark.parametrize("count", [1, 4])
def test_the_closed_form_is_the_weighted_mean(networks, condition, count):
    network, data = networks[condition], strides_of(condition, count=count)
    new = strides_of(condition, count=3, shift=0.1, seed=5).x
    before = refine(network, new)
    after = refine(shrink_to_subject(network, data), new)
    expected = (count * data.y.mean(axis=0) + PRIOR_STRIDES * before) / (count + PRIOR_STRIDES)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def test_a_quarter_gets_the_mean_residual(networks):
    network, data = networks["One-Quarter"], strides_of("One-Quarter", count=4)
    calibrated = shrink_to_subject(network, data)
    residual = network.view.split(data.y - refine(network, data.x))
    gained = calibrated.output_offset - network.output_offset
    np.testing.assert_allclose(gained, 4 / (4 + PRIOR_STRIDES) * residual.mean(axis=0), atol=1e-6)
    assert calibrated.output_scale == network.output_scale


def test_one_motion_keeps_the_closed_form(networks):
    """Where nothing but noise is left, fine-tuning is not better by more than its standard error."""
    data = strides_of(count=7, noise=0.15)
    found = calibrate(networks["One-Entire"], data)
    assert (found.strides, found.epochs, found.trained) == (7, 0, None)
    closed = shrink_to_subject(networks["One-Entire"], data)
    for name, value in closed.arrays().items():
        assert found.network.arrays()[name].tobytes() == value.tobytes(), name
    assert set(found.errors) == {"opensim", "initial", "calibrated", "mean"}
    assert found.errors["calibrated"] < 0.6 * found.errors["initial"]
    # The baseline by hand: each stride against the mean of those outside its fold.
    folds = np.arange(7) % FOLDS
    by_hand = [cycle_errors(data.y[folds != k].mean(axis=0), data.y[[i]])[0] for i, k in enumerate(folds)]
    assert found.errors["mean"] == pytest.approx(np.mean(by_hand))
    assert found.errors["opensim"] == pytest.approx(cycle_errors(data.own, data.y).mean())


@pytest.mark.parametrize(
    "condition", ["One-Entire", *(pytest.param(name, marks=pytest.mark.slow) for name in ("One-Quarter", "All-Entire"))]
)
def test_two_motions_are_fine_tuned(networks, condition):
    """One mean cycle does not fit both; the activations say which it is, and new strides show that it was learned."""
    data = strides_of(condition, {"count": 3, "shift": 0.5, "seed": 3}, count=3)
    found = calibrate(networks[condition], data)
    assert found.epochs > 10
    assert len(found.trained.history) == found.epochs
    new = strides_of(condition, {"count": 2, "shift": 0.5, "seed": 9}, count=2, seed=8)
    closed = shrink_to_subject(networks[condition], data)
    errors = [cycle_errors(refine(network, new.x), new.y).mean() for network in (closed, found.network)]
    assert errors[1] < 0.6 * errors[0]
    assert found.errors["calibrated"] < found.errors["mean"]
    again = calibrate(networks[condition], data)
    assert again.epochs == found.epochs
    for name, value in found.network.arrays().items():
        assert again.network.arrays()[name].tobytes() == value.tobytes(), name


def test_few_strides_are_not_fine_tuned(networks):
    one = calibrate(networks["One-Entire"], strides_of(count=1))
    assert (one.strides, one.epochs, one.errors) == (1, 0, {})
    # Two that differ as much as they can.
    two = strides_of("One-Entire", {"count": 1, "shift": 0.5}, count=1)
    found = calibrate(networks["One-Entire"], two)
    assert (found.strides, found.epochs) == (2, 0)
    assert found.errors["mean"] == pytest.approx(cycle_errors(two.y[::-1], two.y).mean())
    five = strides_of("One-Entire", {"count": FEWEST_STRIDES - 4, "shift": 0.5}, count=3)
    assert calibrate(networks["One-Entire"], five).epochs == 0


def test_it_is_for_one_person(networks):
    people = strides_of("One-Entire", {"count": 2, "who": "b"}, count=2, who="a")
    with pytest.raises(TrainingError, match="to one subject, but the cycles of 'soleus' are of a, b"):
        calibrate(networks["One-Entire"], people)


def test_training_begins_with_given_weights(networks):
    """By both engines; and they are part of what a checkpoint is for."""
    network, data = networks["One-Entire"], strides_of()
    options = STDROptions(hidden_units=8, epochs=1, batch_size=8, learning_rate=1e-9)
    windows = {"x": data.x.astype(np.float32), "y": data.y.astype(np.float32)}
    task = network_task(network.view, options, RunSettings(), windows, initial=network.weights)
    trained = train_task(task)
    for name, value in network.weights.items():
        np.testing.assert_allclose(trained.weights[name], value, atol=1e-7)
    plain = network_task(network.view, options, RunSettings(), windows)
    assert plain.description() != task.description()
    assert Task.of(task.module, task.settings, task.arrays()).description() == task.description()
    assert Task.of(task.module, task.settings, plain.arrays()).initial is None
    # Early stopping goes back to them.
    held = {name: array[:2] for name, array in windows.items()}
    stopping = replace(task, settings=replace(task.settings, patience=1), held=held, everything=windows)
    for name, value in train_task(stopping).weights.items():
        np.testing.assert_allclose(value, network.weights[name], atol=1e-7)


def test_a_stride_simulated_twice_is_one(networks):
    """By CMC and static optimisation: it has one EMG, and is not left out while its twin is learned from."""
    once = strides_of(count=3, noise=0.1)
    source = ("so", "cmc", "so", "so")
    rows = np.array([0, 0, 1, 2])
    records = tuple(
        replace(once.records[row], stride=str(row), activation_source=how)
        for row, how in zip(rows.tolist(), source, strict=True)
    )
    twice = replace(
        once, x=once.x[rows], own=once.own[rows], y=once.y[rows], subjects=once.subjects[rows], records=records
    )
    found = calibrate(networks["One-Entire"], twice)
    assert found.strides == 3
    others = [once.y[1:], once.y[1:], once.y[[0, 0, 2]], once.y[[0, 0, 1]]]
    by_hand = [cycle_errors(y.mean(axis=0), twice.y[[k]])[0] for k, y in enumerate(others)]
    assert found.errors["mean"] == pytest.approx(np.mean(by_hand))
    weight = 3 / (3 + PRIOR_STRIDES)
    expected = weight * twice.y.mean(axis=0) + (1 - weight) * refine(networks["One-Entire"], once.x)
    np.testing.assert_allclose(refine(found.network, once.x), expected, atol=1e-6)
