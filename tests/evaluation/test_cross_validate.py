"""Folds, their guards against leaks (each with a leak that was planted), and what comes of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opensim_nem2e.methods.stdr.conditions import cycle_samples

from opensim_nem2e.data.gait_cycles import TargetData
from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.evaluation import cross_validate as cross_validation
from opensim_nem2e.evaluation.cross_validate import CrossValidation, changed_inputs, judge, learn
from opensim_nem2e.evaluation.splits import LeakError, check_blind, split_folds
from opensim_nem2e.methods import baselines
from opensim_nem2e.methods.stdr import method as recipe
from opensim_nem2e.methods.stdr.method import Recipe, plan_target, watch_left_out
from opensim_nem2e.training.task import TrainingSettings
from opensim_nem2e.training.trainer import train_task

SETTINGS = TrainingSettings(hidden=5, epochs=2, batch_size=4, learning_rate=1e-2)
RECIPE = Recipe("One-Entire", SETTINGS, output="deviation")


def trial(subject, name, stride, speed, line):
    return CycleRecord(
        *("lab", subject, name, stride, "walk", speed, "r", None, Path("a.sto"), "so", Path("e.sto")),
        *(0.0, float(line), line + 1.0, None, line),
    )


def made(condition="One-Entire", subjects="cab", speeds=(1.0, 1.44), strides=2, seed=0):
    random = np.random.default_rng(seed)
    trials, line = [], 2
    for subject in subjects:
        for k, speed in enumerate(speeds):
            for stride in range(strides):
                trials.append(trial(subject, f"t{k}", str(stride + 9), speed, line))
                line += 1
    phase = np.linspace(0, 1, cycle_samples(condition))
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + random.random((len(trials), 1)) * 0.2))
    inputs = ("ipsi:tib", "ipsi:soleus") if condition == "All-Entire" else ("ipsi:soleus",)
    x = np.stack([own, own[:, ::-1]], axis=2)[:, :, : len(inputs)]
    y = np.clip(np.roll(own, 3, axis=1) + random.normal(0, 0.05, own.shape), 0, 1)
    return TargetData("soleus", inputs, x, own, y, np.array([t.subject for t in trials]), tuple(trials))


# --- folds ------------------------------------------------------------------------------------------------------------


def test_one_subject_at_a_time():
    data = made()
    folds = list(split_folds(data, "leave_one_subject_out"))
    assert [fold.held_out for fold in folds] == ["c", "a", "b"]
    for fold in folds:
        assert set(fold.test.subjects) == {fold.held_out}
        assert fold.held_out not in fold.train.subjects
        assert len(fold.train.trials) + len(fold.test.trials) == len(data.trials)


def test_one_speed_at_a_time():
    """Somebody who walked at that speed only is in neither part: this is no unseen person's fold."""
    data = made(speeds=(1.0, 1.02, 1.44))
    keep = np.array([t.subject != "b" or t.speed == 1.44 for t in data.trials])
    folds = {fold.held_out: fold for fold in split_folds(data.select(keep), "leave_one_speed_out")}
    assert set(folds) == {"1.0 m/s", "1.4 m/s"}
    assert {t.speed for t in folds["1.0 m/s"].test.trials} == {1.0, 1.02}
    assert {t.speed for t in folds["1.0 m/s"].train.trials} == {1.44}
    assert set(folds["1.4 m/s"].test.subjects) == {"a", "c"}
    assert set(folds["1.4 m/s"].train.subjects) == {"a", "c"}


def test_unknown_speeds_are_not_used():
    data = made(speeds=(1.0, 1.44, None))
    for fold in split_folds(data, "leave_one_speed_out"):
        assert all(t.speed is not None for part in (fold.train, fold.test) for t in part.trials)


def test_one_trial_at_a_time():
    folds = {fold.held_out: fold for fold in split_folds(made(), "leave_one_trial_out")}
    assert set(folds) == {f"lab/{subject}/t{k}" for subject in "abc" for k in (0, 1)}
    fold = folds["lab/a/t1"]
    assert {(t.subject, t.trial) for t in fold.test.trials} == {("a", "t1")}
    assert ("a", "t0") in {(t.subject, t.trial) for t in fold.train.trials}


@pytest.mark.parametrize("splitting", ["leave_one_subject_out", "leave_one_speed_out", "leave_one_trial_out"])
def test_nothing_to_leave_out(splitting):
    data = made(subjects="a", speeds=(1.0,))
    assert list(split_folds(data, splitting)) == []
    with pytest.raises(TrainingError, match=f"{splitting} leaves nothing"):
        CrossValidation({"One-Entire": {"soleus": data}}, {"One-Entire": RECIPE}, [0], splitting)


# --- leaks ------------------------------------------------------------------------------------------------------------


def folds_of(data, splitting="leave_one_subject_out"):
    return list(split_folds(data, splitting))


@pytest.fixture
def whole(monkeypatch):
    """For plants: give back all the cycles that a part was selected from, the left-out ones among them."""
    seen = {}
    select = TargetData.select

    def remembering(self, rows):
        part = select(self, rows)
        seen[id(part)] = (part, self)
        return part

    monkeypatch.setattr(TargetData, "select", remembering)
    return lambda part: seen[id(part)][1]


def study(settings=SETTINGS, data=None, seeds=(0,), output="deviation"):
    data = {"soleus": made() if data is None else data}
    how = Recipe("One-Entire", settings, output=output)
    return CrossValidation({"One-Entire": data}, {"One-Entire": how}, list(seeds))


def test_an_honest_study_passes():
    study().check()
    study(replace(SETTINGS, patience=2), seeds=(0, 1, 2)).check()
    for condition in ("One-Quarter", "All-Entire"):
        how = {condition: replace(RECIPE, condition=condition)}
        CrossValidation({condition: {"soleus": made(condition)}}, how, [0]).check()
    study(output="correction").check()


def test_a_leak_into_the_scaler_is_caught(whole, monkeypatch):
    honest = recipe.plan_target

    def leaky(data, how, linear):
        everyone = whole(data)
        plan = honest(data, how)
        return replace(plan, output_offset=everyone.y.mean(axis=0).astype(np.float32))

    monkeypatch.setattr(cross_validation, "plan_target", leaky)
    with pytest.raises(LeakError, match="soleus without a: the output scaler changed"):
        study().check()


def test_a_leak_into_the_training_data_is_caught(whole, monkeypatch):
    honest = recipe.plan_target
    monkeypatch.setattr(cross_validation, "plan_target", lambda data, how, linear: honest(whole(data), how))
    with pytest.raises(LeakError):
        study().check()


@pytest.mark.parametrize("name", ["shift", "ridge", "mean"])
def test_a_leak_into_a_baseline_is_caught(whole, monkeypatch, name):
    """The lag, the regression and the profile of all cycles."""
    honest = baselines.BASELINES[name]
    monkeypatch.setitem(baselines.BASELINES, name, lambda train, *how: honest(whole(train), *how))
    with pytest.raises(LeakError, match=f"the baseline '{name}' changed"):
        study().check()


def test_a_leak_into_a_choice_is_caught_even_if_the_choice_stays(whole, monkeypatch):
    """A penalty chosen with the help of the left-out subject, which here comes out the same."""
    honest = baselines.Ridge.fit
    made_of = {"same": 0}

    def leaky(train, condition, samples):
        own, peeked = honest(train, condition, samples), honest(whole(train), condition, samples)
        made_of["same"] += own.penalty == peeked.penalty
        return replace(own, penalty=peeked.penalty, errors=peeked.errors)

    monkeypatch.setitem(baselines.BASELINES, "ridge", leaky)
    with pytest.raises(LeakError, match="the baseline 'ridge' changed"):
        study().check()
    assert made_of["same"]


def test_a_leak_into_early_stopping_is_caught(whole, monkeypatch):
    """The cycles that decide when to stop are those of the person who is left out."""
    honest = recipe.plan_target

    def leaky(data, how, linear):
        everyone, plan = whole(data), honest(data, how)
        out = everyone.select(~np.isin(everyone.subjects, data.subjects))
        windows = (out.x.astype(np.float32), out.y.astype(np.float32))
        return replace(plan, task=replace(plan.task, held=windows))

    monkeypatch.setattr(cross_validation, "plan_target", leaky)
    with pytest.raises(LeakError, match="that decide when to stop changed"):
        study(replace(SETTINGS, patience=2)).check()


def test_a_leak_into_a_setting_is_caught(whole, monkeypatch):
    """A learning rate chosen by looking at the left-out EMG."""
    honest = recipe.plan_target

    def leaky(data, how, linear):
        rate = float(whole(data).y.mean()) / 100
        return honest(data, replace(how, settings=replace(how.settings, learning_rate=rate)))

    monkeypatch.setattr(cross_validation, "plan_target", leaky)
    with pytest.raises(LeakError, match="the training settings changed"):
        study().check()


def test_a_leak_into_the_linear_part_is_caught(whole, monkeypatch):
    """Muscles share a part of it: the left-out person's other muscles must not be seen either."""
    honest = recipe.fit_linear_parts

    def leaky(sets, how):
        own, peeked = honest(sets, how), honest({target: whole(data) for target, data in sets.items()}, how)
        return {target: replace(fit, part=peeked[target].part) for target, fit in own.items()}

    monkeypatch.setattr(cross_validation, "fit_linear_parts", leaky)
    with pytest.raises(LeakError, match="soleus without a: the linear part changed"):
        study(output="correction").check()


def test_a_fold_that_overlaps_is_refused():
    fold = folds_of(made())[0]
    shared = fold.train_rows | fold.test_rows
    with pytest.raises(LeakError, match="the subject c is among the training cycles"):
        replace(fold, train_rows=shared).check_apart("leave_one_subject_out")


def test_one_recording_under_two_names_is_refused():
    data = made()
    y = data.y.copy()
    first, other = (np.flatnonzero(data.subjects == subject)[0] for subject in "ab")
    y[other] = y[first]
    with pytest.raises(LeakError, match="one recording stands under two names"):
        study(data=replace(data, y=y)).check()


def test_the_guard_sees_what_it_is_told():
    """By itself: what depends on training cycles passes, what depends on any other does not."""
    fold = folds_of(made())[0]
    check_blind(lambda part: {"mean": part.train.y.mean(axis=0)}, fold)
    for name in ("x", "own", "y"):
        with pytest.raises(LeakError, match="the maximum changed"):
            check_blind(
                lambda part, name=name: {"maximum": np.asarray(getattr(part.data, name)[-1].max())}, folds_of(made())[2]
            )


# --- recorded losses --------------------------------------------------------------------------------------------------


def test_the_recorded_loss_does_not_touch_the_training():
    """Weights are the same to the last bit with, without and with other left-out cycles; the losses are recorded."""
    fold = folds_of(made())[0]
    plan = plan_target(fold.train, RECIPE)
    watched = train_task(watch_left_out(plan, fold.test, RECIPE))
    plain = train_task(plan.task)
    other = train_task(watch_left_out(plan, replace(fold.test, y=1 - fold.test.y), RECIPE))
    for name, values in plain.weights.items():
        assert values.tobytes() == watched.weights[name].tobytes() == other.weights[name].tobytes()
    assert [e.loss for e in plain.history] == [e.loss for e in watched.history] == [e.loss for e in other.history]
    assert all(epoch.validation_loss is None for epoch in plain.history)
    assert watched.history[-1].validation_loss != other.history[-1].validation_loss
    # The last one by hand: the mean squared error of the finished network, in units of its output.
    network = plan.network(watched)
    y = recipe.estimate(network, fold.test, RECIPE)
    expected = np.mean((y - fold.test.y) ** 2) / float(plan.output_scale[0]) ** 2
    assert watched.history[-1].validation_loss == pytest.approx(expected, rel=1e-4)


def test_with_early_stopping_the_left_out_cycles_are_not_in_the_task():
    fold = folds_of(made())[0]
    how = replace(RECIPE, settings=replace(SETTINGS, patience=2))
    plan = plan_target(fold.train, how)
    assert watch_left_out(plan, fold.test, how) is plan.task


# --- outcomes ---------------------------------------------------------------------------------------------------------


def run(study):
    study.check()
    for job in study.jobs:
        job.done(train_task(job.task()))
    return study.outcomes


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_outcomes(condition):
    data, how = made(condition), replace(RECIPE, condition=condition)
    outcomes = run(CrossValidation({condition: {"soleus": data}}, {condition: how}, [0, 1]))
    assert [(o.seed, o.held_out) for o in outcomes] == [(seed, who) for seed in (0, 1) for who in "abc"]
    for outcome in outcomes:
        assert list(outcome.curves) == ["opensim", "stdr_net", "mean", "shift", "ridge"]
        assert all(curve.shape == (4, 20) for curve in outcome.curves.values())
        assert [t.stride for t in outcome.test.trials] == ["9", "10", "9", "10"]
        step = 4 if condition == "One-Quarter" else 1
        rows = data.subjects == outcome.held_out
        np.testing.assert_array_equal(outcome.emg, data.y[rows][:, ::step])
        np.testing.assert_array_equal(outcome.curves["opensim"], data.own[rows][:, ::step])
        others = data.y[~rows][:, ::step].mean(axis=0)
        np.testing.assert_allclose(outcome.curves["mean"], np.tile(others, (4, 1)))
        assert outcome.attention.shape == (20, 2 if condition == "All-Entire" else 20)
        np.testing.assert_allclose(outcome.attention.sum(axis=1), 1, atol=1e-6)
        assert (outcome.changed_errors > 0).all()
    # Another seed is another network, and the same baselines.
    assert not np.array_equal(outcomes[0].curves["stdr_net"], outcomes[3].curves["stdr_net"])
    assert np.array_equal(outcomes[0].curves["ridge"], outcomes[3].curves["ridge"])


def test_the_order_of_cycles_and_inputs_changes_nothing():
    data, how = made("All-Entire"), replace(RECIPE, condition="All-Entire")
    order = np.random.default_rng(4).permutation(len(data.trials))
    # Subjects still follow each other, as they do in every data set.
    order = order[np.argsort([["b", "c", "a"].index(data.subjects[k]) for k in order], kind="stable")]
    mixed = replace(
        data,
        inputs=data.inputs[::-1],
        x=data.x[order][:, :, ::-1],
        own=data.own[order],
        y=data.y[order],
        subjects=data.subjects[order],
        trials=tuple(data.trials[k] for k in order),
    )
    one, two = (run(CrossValidation({"All-Entire": {"soleus": d}}, {"All-Entire": how}, [0])) for d in (data, mixed))
    for a, b in zip(one, two, strict=True):
        assert [t.line for t in a.test.trials] == [t.line for t in b.test.trials]
        for name, curve in a.curves.items():
            assert curve.tobytes() == b.curves[name].tobytes()
        assert a.changed_errors.tobytes() == b.changed_errors.tobytes()
        assert a.trained.history == b.trained.history


def test_inputs_are_changed_alike_wherever_a_cycle_stands():
    data = made("All-Entire")
    changed = changed_inputs(data.x, data.trials, 0, 0)
    assert not np.allclose(changed, data.x, atol=0.05)
    part = changed_inputs(data.x[3:5], data.trials[3:5], 0, 0)
    assert np.array_equal(part, changed[3:5])
    assert not np.array_equal(changed_inputs(data.x, data.trials, 1, 0), changed)
    assert not np.array_equal(changed_inputs(data.x, data.trials, 0, 1), changed)


def test_a_network_that_ignores_its_input_does_not_notice():
    """The check for shortcut learning tells the average waveform from a refinement."""
    data = made(strides=4)
    fold = folds_of(data)[0]
    learned = learn(fold, RECIPE)
    trained = train_task(learned.plan.task)
    blind = {name: np.zeros_like(w) if name.startswith(("output",)) else w for name, w in trained.weights.items()}
    outcome = judge(fold, learned.plan.network(replace(trained, weights=blind)), trained, learned.baselines, RECIPE)
    from opensim_nem2e.signals.compare import cycle_errors

    np.testing.assert_allclose(outcome.changed_errors, cycle_errors(outcome.curves["stdr_net"], outcome.emg))
    # A network that copies a good input gets worse: OpenSim's own curve is nearly the EMG here.
    good = replace(fold, data=replace(data, y=data.own + 0.01))
    how = Recipe("One-Entire", replace(SETTINGS, hidden=24, epochs=150, learning_rate=0.01), output="deviation")
    learned = learn(good, how, ())
    outcome = judge(good, learned.plan.network(t := train_task(learned.plan.task)), t, {}, how)
    assert (outcome.changed_errors > 2 * cycle_errors(outcome.curves["stdr_net"], outcome.emg)).mean() > 0.7
