"""From cycles to networks and honest errors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_samples, with_arrays

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import MuscleCycles
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.evaluation.bundle_training import BundleTraining, SubjectErrors, subject_errors, summarise
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.baselines import RidgePath, mean_profile
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.signals.compare import cycle_errors
from opensim_nem2e.training.trainer import train_task

METHOD = find_method("stdr_net")
OPTIONS = STDROptions(
    hidden_units=8, epochs=2, batch_size=4, learning_rate=1e-2, network_output="emg", correction_weight=1.0
)


def view_of(condition="One-Entire"):
    return CycleView(condition, input_muscles=("ipsi:soleus", "ipsi:tib") if condition == "All-Entire" else ())


def made(condition="One-Entire", subjects=3, cycles=4, seed=0):
    random = np.random.default_rng(seed)
    phase = np.linspace(0, 1, CycleView(condition).cycle_samples)
    who = np.repeat([f"s{k}" for k in range(subjects)], cycles)
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + random.random((len(who), 1)) * 0.2))
    y = np.clip(np.roll(own, 3, axis=1) + random.normal(0, 0.02, own.shape), 0, 1)
    return make_samples({"ipsi:soleus": own, "ipsi:tib": own[:, ::-1]}, {"soleus": y}, who)


def cycles_of(samples, condition="One-Entire"):
    return MuscleCycles.of(samples, "soleus", view_of(condition))


def plan_of(samples, options=OPTIONS, condition="One-Entire"):
    return METHOD.plan(samples, "soleus", view_of(condition), options, RunSettings())


def train_network(samples, options=OPTIONS, condition="One-Entire"):
    plan = plan_of(samples, options, condition)
    trained = train_task(plan.task)
    return plan.finish(trained), trained


def estimate(network, samples):
    return network.predict({"activation": samples.select_channels("activation", network.inputs)}).values


def beside(samples, condition="One-Entire"):
    methods = {key: find_method(key) for key in ("mean", "profiles", "ridge")}
    return {
        key: method.plan(samples, "soleus", view_of(condition), method.options(), RunSettings()).finish(None)
        for key, method in methods.items()
    }


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
@pytest.mark.parametrize("output", ["emg", "deviation"])
def test_trains_every_condition(condition, output):
    data = made(condition)
    network, trained = train_network(data, replace(OPTIONS, network_output=output), condition)
    assert network.inputs == cycles_of(data, condition).inputs
    assert len(trained.history) == 2
    assert METHOD.weight_count(len(network.inputs), view_of(condition), OPTIONS) == sum(
        value.size for value in network.weights.values()
    )
    y = estimate(network, data)
    assert y.shape == cycles_of(data, condition).y.shape
    if output == "deviation" and condition != "One-Quarter":
        # Barely trained, it already gives the mean cycle. (A quarter does not know which of the four it is.)
        mean = mean_profile(cycles_of(data, condition).y)
        assert cycle_errors(y, np.tile(mean, (len(y), 1))).mean() < 0.15


def test_left_out_means_left_out():
    """A change of one subject's EMG changes nothing in what is predicted for this subject, baselines included."""
    data = made()
    y, rows = data.targets["emg"].copy(), data.subjects == "s1"
    y[rows] = 1 - y[rows]
    changed = with_arrays(data, emg=y)
    options = replace(OPTIONS, network_output="deviation")
    one, other = (train_network(samples.leave_out(["s1"])[0], options)[0] for samples in (data, changed))
    for name, value in one.arrays().items():
        assert value.tobytes() == other.arrays()[name].tobytes()


def bundle_training(samples, options=OPTIONS, held_out=(), leave_one_out=True):
    return BundleTraining(METHOD, options, samples, view_of(), ["soleus"], RunSettings(), held_out, leave_one_out)


def test_a_bundle_training_leaves_everyone_out_once():
    data = made()
    study = bundle_training(data)
    study.check()
    assert study.most_epochs == 2
    assert [job.name for job in study.jobs] == ["soleus", "soleus_without_s0", "soleus_without_s1", "soleus_without_s2"]
    # In whatever order they end.
    for job in reversed(study.jobs):
        job.done(train_task(job.task()))
    study.finish()
    assert [item.subject for item in study.errors["leave_one_subject_out"]] == ["s0", "s1", "s2"]
    assert study.errors["held_out"] == []
    assert list(study.parts) == list(study.trained) == ["soleus"]
    rest, test = data.leave_out(["s1"])
    network, _ = train_network(rest)
    expected = subject_errors(cycles_of(test), view_of(), network, beside(rest))
    assert study.errors["leave_one_subject_out"][1:2] == expected
    assert study.weights == sum(value.size for value in network.weights.values())

    assert [job.name for job in bundle_training(made(subjects=1)).jobs] == ["soleus"]
    with pytest.raises(TrainingError, match="at least two subjects"):
        bundle_training(made(subjects=2), replace(OPTIONS, early_stopping_patience=2)).check()


def test_a_bundle_training_leaves_laboratories_out_as_well():
    """A laboratory of one subject is left out with the subject; nothing is trained for it twice."""
    data = made()
    records = tuple(replace(record, dataset="here" if record.subject == "s0" else "there") for record in data.records)
    study = bundle_training(replace(data, records=records))
    names = ["soleus", *(f"soleus_without_s{k}" for k in range(3)), "soleus_without_laboratory_there"]
    assert [job.name for job in study.jobs] == names
    for job in study.jobs:
        job.done(train_task(job.task()))
    found = study.errors["leave_one_laboratory_out"]
    assert [(item.laboratory, item.subject) for item in found] == [("here", "s0"), ("there", "s1"), ("there", "s2")]
    assert found[0] == study.errors["leave_one_subject_out"][0]
    assert found[1] != study.errors["leave_one_subject_out"][1]


def test_subjects_that_are_held_out_are_judged_only():
    data = made()
    study = bundle_training(data, held_out=["s2"], leave_one_out=False)
    study.check()
    (job,) = study.jobs
    job.done(train_task(job.task()))
    rest, test = data.leave_out(["s2"])
    network, _ = train_network(rest)
    for name, value in network.arrays().items():
        assert value.tobytes() == study.parts["soleus"].arrays()[name].tobytes()
    assert study.errors["held_out"] == subject_errors(cycles_of(test), view_of(), network, beside(rest))
    assert study.errors["leave_one_subject_out"] == []


@pytest.mark.parametrize("key", ["mean", "shift", "ridge"])
def test_a_bundle_without_networks(key):
    """Nothing is trained; what is learned is judged as any other."""
    data, method = made(), find_method(key)
    study = BundleTraining(method, method.options(), data, view_of(), ["soleus"], RunSettings(), (), True)
    study.check()
    assert study.jobs == []
    assert study.weights == study.most_epochs == 0
    study.finish()
    assert list(study.parts) == ["soleus"]
    assert study.trained == {}
    found = study.errors["leave_one_subject_out"]
    assert [item.subject for item in found] == ["s0", "s1", "s2"]
    if key != "shift":
        assert [item.refined for item in found] == [getattr(item, key) for item in found]


def test_subjects_become_file_names_that_differ():
    names = np.array(["Anna", "anna", "a/b", "a:b"])
    data = made(subjects=4)
    curves = {"ipsi:soleus": data.channel("activation", "ipsi:soleus")}
    data = make_samples(curves, {"soleus": data.channel("emg", "soleus")}, names[np.repeat(np.arange(4), 4)])
    found = [job.name for job in bundle_training(data).jobs]
    assert len({name.lower() for name in found}) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in found)


def test_errors_are_those_of_the_definition():
    rest, left_out = made(subjects=2).leave_out(["s1"])
    network, _ = train_network(rest)
    test = cycles_of(left_out)
    (item,) = subject_errors(test, view_of(), network, beside(rest))
    assert item.cycles == 4
    assert item.opensim == pytest.approx(np.mean(np.sqrt(np.mean((test.own - test.y) ** 2, axis=1))))
    refined = estimate(network, left_out)
    assert item.refined == pytest.approx(np.mean(np.sqrt(np.mean((refined - test.y) ** 2, axis=1))))
    mean = cycles_of(rest).y.mean(axis=0)
    assert item.mean == pytest.approx(np.mean(np.sqrt(np.mean((mean - test.y) ** 2, axis=1))))
    assert item.rate == pytest.approx(item.refined / item.opensim - 1)


def test_quarters_are_judged_on_whole_cycles():
    rest, left_out = made("One-Quarter", subjects=2).leave_out(["s1"])
    network, _ = train_network(rest, condition="One-Quarter")
    test = cycles_of(left_out, "One-Quarter")
    (item,) = subject_errors(test, view_of("One-Quarter"), network, beside(rest, "One-Quarter"))
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
    options = replace(OPTIONS, epochs=3, learning_rate=1e-3, early_stopping_patience=2)
    network, trained = train_network(made(), options)
    # The network itself is trained on everybody, for the number of epochs that the search found.
    epochs = len(trained.history) - trained.history.index(next(e for e in trained.history if e.validation_loss is None))
    search = [epoch for epoch in trained.history if epoch.validation_loss is not None]
    assert epochs == 1 + int(np.argmin([epoch.validation_loss for epoch in search]))
    assert [epoch.number for epoch in trained.history] == list(range(1, len(search) + epochs + 1))
    assert trained.best_epoch == len(trained.history)
    expected, _ = train_network(made(), replace(options, early_stopping_patience=0, epochs=epochs))
    for name, value in network.arrays().items():
        assert value.tobytes() == expected.arrays()[name].tobytes(), name
    # The search sees nothing of the subject that it keeps, not even its mean.
    task = plan_of(made(), replace(options, network_output="deviation")).task
    np.testing.assert_allclose(task.data["y"].mean(axis=0), 0, atol=1e-6)
    assert abs(task.held["y"].mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose(task.everything["y"].mean(axis=0), 0, atol=1e-6)
    assert len(task.data["x"]) + len(task.held["x"]) == len(task.everything["x"]) == 12
    with pytest.raises(TrainingError, match="at least two subjects for 'soleus'"):
        train_network(made(subjects=1), options)
    with pytest.raises(TrainingError, match="no cycles"):
        train_network(made().select(np.zeros(12, dtype=bool)), options)


def test_one_cycle_is_enough_for_a_deviation():
    data = made(subjects=1, cycles=1)
    network, _ = train_network(data, replace(OPTIONS, network_output="deviation"))
    np.testing.assert_allclose(estimate(network, data), data.channel("emg", "soleus"), atol=0.01)


def test_ridge_equals_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    x, y, new = random.random((30, 20)), random.random((30, 20)), random.random((7, 20))
    for penalty in (0.1, 1.0, 10.0):
        expected = linear_model.Ridge(alpha=penalty).fit(x, y).predict(new)
        np.testing.assert_allclose(RidgePath(x, y).predict(new, penalty), expected, atol=1e-10)
