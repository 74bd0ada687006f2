"""From cycles to networks and honest errors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.data.gait_cycles import TargetData
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.evaluation.bundle_training import Study
from opensim_nem2e.methods.baselines import mean_profile, ridge
from opensim_nem2e.methods.stdr.conditions import cycle_samples
from opensim_nem2e.methods.stdr.method import (
    Recipe,
    SubjectErrors,
    estimate,
    plan_target,
    subject_errors,
    summarise,
    train_target,
)
from opensim_nem2e.signals.compare import cycle_errors
from opensim_nem2e.training.task import TrainingSettings
from opensim_nem2e.training.trainer import train_task

SETTINGS = TrainingSettings(epochs=2, batch_size=4, learning_rate=1e-2)


def made(condition="One-Entire", subjects=3, cycles=4, seed=0):
    random = np.random.default_rng(seed)
    n = cycle_samples(condition)
    phase = np.linspace(0, 1, n)
    who = np.repeat([f"s{k}" for k in range(subjects)], cycles)
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + random.random((len(who), 1)) * 0.2))
    inputs = ("ipsi:soleus", "ipsi:tib") if condition == "All-Entire" else ("ipsi:soleus",)
    x = np.stack([own, own[:, ::-1]], axis=2)[:, :, : len(inputs)]
    y = np.clip(np.roll(own, 3, axis=1) + random.normal(0, 0.02, own.shape), 0, 1)
    return TargetData("soleus", inputs, x, own, y, who, tuple(range(len(who))))


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
@pytest.mark.parametrize("output", ["emg", "deviation"])
def test_trains_every_condition(condition, output):
    data = made(condition)
    recipe = Recipe(condition, SETTINGS, output=output, hidden=8)
    network, trained = train_target(data, recipe)
    assert network.inputs == data.inputs
    assert len(trained.history) == 2
    y = estimate(network, data, recipe)
    assert y.shape == data.y.shape
    if output == "deviation" and condition != "One-Quarter":
        # Barely trained, it already gives the mean cycle. (A quarter does not know which of the four it is.)
        mean = mean_profile(data.y)
        assert cycle_errors(y, np.tile(mean, (len(y), 1))).mean() < 0.15


def test_left_out_means_left_out():
    """A change of one subject's EMG changes nothing in what is predicted for this subject, baselines included."""
    data = made()
    recipe = Recipe("One-Entire", SETTINGS, output="deviation", hidden=8)
    changed = made()
    rows = changed.subjects == "s1"
    changed.y[rows] = 1 - changed.y[rows]
    for one, other in zip(
        (train_target(rest, recipe)[0] for name, rest, _ in data.folds() if name == "s1"),
        (train_target(rest, recipe)[0] for name, rest, _ in changed.folds() if name == "s1"),
        strict=True,
    ):
        for name, value in one.tensors().items():
            assert value.tobytes() == other.tensors()[name].tobytes()


def test_a_study_leaves_everyone_out_once():
    data = made()
    recipe = Recipe("One-Entire", SETTINGS, hidden=8)
    nobody = data.select(np.zeros(len(data.trials), dtype=bool))
    study = Study({"soleus": data}, {"soleus": nobody}, recipe, leave_one_out=True)
    study.check()
    assert [job.name for job in study.jobs] == ["soleus", "soleus_without_s0", "soleus_without_s1", "soleus_without_s2"]
    # In whatever order they end.
    for job in reversed(study.jobs):
        task = job.task()
        job.done(train_task(replace(task, held=None)))
    assert [item.subject for item in study.errors["leave_one_subject_out"]] == ["s0", "s1", "s2"]
    assert study.errors["held_out"] == []
    assert list(study.networks) == list(study.trained) == ["soleus"]
    network, _ = train_target(data.leave_out(["s1"])[0], recipe)
    expected = subject_errors(data.leave_out(["s1"])[0], data.leave_out(["s1"])[1], network, recipe)
    assert study.errors["leave_one_subject_out"][1:2] == expected
    assert study.weights == sum(value.size for value in network.weights.values())

    alone = made(subjects=1)
    assert [job.name for job in Study({"soleus": alone}, {"soleus": nobody}, recipe, True).jobs] == ["soleus"]
    patient = Recipe("One-Entire", TrainingSettings(patience=2), hidden=8)
    two = made(subjects=2)
    with pytest.raises(TrainingError, match="at least two subjects"):
        Study({"soleus": two}, {"soleus": nobody}, patient, leave_one_out=True).check()


def test_subjects_become_file_names_that_differ():
    data = made(subjects=4)
    names = np.array(["Anna", "anna", "a/b", "a:b"])
    data = replace(data, subjects=names[np.repeat(np.arange(4), 4)])
    study = Study({"soleus": data}, {"soleus": data}, Recipe("One-Entire", SETTINGS, hidden=8), leave_one_out=True)
    found = [job.name for job in study.jobs]
    assert len({name.lower() for name in found}) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in found)


def test_errors_are_those_of_the_definition():
    data = made(subjects=2)
    recipe = Recipe("One-Entire", SETTINGS, hidden=8)
    rest, test = data.leave_out(["s1"])
    network, _ = train_target(rest, recipe)
    (item,) = subject_errors(rest, test, network, recipe)
    assert item.cycles == 4
    assert item.opensim == pytest.approx(np.mean(np.sqrt(np.mean((test.own - test.y) ** 2, axis=1))))
    refined = estimate(network, test, recipe)
    assert item.refined == pytest.approx(np.mean(np.sqrt(np.mean((refined - test.y) ** 2, axis=1))))
    assert item.mean == pytest.approx(np.mean(np.sqrt(np.mean((rest.y.mean(axis=0) - test.y) ** 2, axis=1))))
    assert item.rate == pytest.approx(item.refined / item.opensim - 1)


def test_quarters_are_judged_on_whole_cycles():
    data = made("One-Quarter", subjects=2)
    recipe = Recipe("One-Quarter", SETTINGS, hidden=8)
    rest, test = data.leave_out(["s1"])
    network, _ = train_target(rest, recipe)
    (item,) = subject_errors(rest, test, network, recipe)
    grid = test.own[:, ::4] - test.y[:, ::4]
    assert grid.shape == (4, 20)
    assert item.opensim == pytest.approx(np.mean(np.sqrt(np.mean(grid**2, axis=1))))


def test_summary():
    table = summarise(
        [
            SubjectErrors("soleus", "a", 3, 0.2, 0.1, 0.15, 0.12),
            SubjectErrors("soleus", "b", 5, 0.4, 0.3, 0.2, 0.4),
            SubjectErrors("tib", "a", 2, 0.1, 0.1, 0.1, 0.1),
        ]
    )
    assert table["soleus"]["subjects"] == 2
    assert table["soleus"]["cycles"] == 8
    assert table["soleus"]["E_refined"] == pytest.approx(0.2)
    # The mean of the subjects' rates, not the rate of their means.
    assert table["soleus"]["Er_refined"] == pytest.approx((-0.5 - 0.25) / 2)
    assert table["ALL"]["Er_refined"] == pytest.approx((-0.375 + 0) / 2)
    assert summarise([]) == {}


def test_early_stopping_finds_the_number_of_epochs_on_one_subject_and_trains_on_all():
    recipe = Recipe("One-Entire", TrainingSettings(epochs=3, batch_size=4, patience=2), hidden=8)
    network, trained = train_target(made(), recipe)
    # The network itself is trained on everybody, for the number of epochs that the search found.
    epochs = len(trained.history) - trained.history.index(next(e for e in trained.history if e.validation_loss is None))
    search = [epoch for epoch in trained.history if epoch.validation_loss is not None]
    assert epochs == 1 + int(np.argmin([epoch.validation_loss for epoch in search]))
    assert [epoch.number for epoch in trained.history] == list(range(1, len(search) + epochs + 1))
    assert trained.best_epoch == len(trained.history)
    plain = replace(recipe, settings=replace(recipe.settings, patience=0, epochs=epochs))
    expected, _ = train_target(made(), plain)
    for name, value in network.tensors().items():
        assert value.tobytes() == expected.tensors()[name].tobytes(), name
    # The search sees nothing of the subject that it keeps, not even its mean.
    task = plan_target(made(), replace(recipe, output="deviation")).task
    np.testing.assert_allclose(task.data["y"].mean(axis=0), 0, atol=1e-6)
    assert abs(task.held["y"].mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose(task.everything["y"].mean(axis=0), 0, atol=1e-6)
    assert task.rows + len(task.held["x"]) == len(task.everything["x"]) == 12
    with pytest.raises(TrainingError, match="at least two subjects for 'soleus'"):
        train_target(made(subjects=1), recipe)
    with pytest.raises(TrainingError, match="no cycles"):
        train_target(made().select(np.zeros(12, dtype=bool)), recipe)


def test_one_cycle_is_enough_for_a_deviation():
    data = made(subjects=1, cycles=1)
    recipe = Recipe("One-Entire", SETTINGS, output="deviation", hidden=8)
    network, _ = train_target(data, recipe)
    np.testing.assert_allclose(estimate(network, data, recipe), data.y, atol=0.01)


def test_ridge_equals_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    x, y, new = random.random((30, 20)), random.random((30, 20)), random.random((7, 20))
    for penalty in (0.1, 1.0, 10.0):
        expected = linear_model.Ridge(alpha=penalty).fit(x, y).predict(new)
        np.testing.assert_allclose(ridge(x, y, new, penalty), expected, atol=1e-10)
