"""Folds, their guards against leaks (each with a leak that was planted), and what comes of a study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_record, make_samples, with_arrays

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import CycleData, MuscleCycles
from opensim_nem2e.data.samples import Samples
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.evaluation.cross_validate import CrossValidation, changed_inputs, judge, watch_left_out
from opensim_nem2e.evaluation.splits import LeakError, check_blind, split_folds
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr import method as stdr
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.methods.stdr.method import LinearParts
from opensim_nem2e.signals.compare import cycle_errors
from opensim_nem2e.training.trainer import train_task

OPTIONS = STDROptions(hidden_units=5, epochs=2, batch_size=4, learning_rate=1e-2, network_output="deviation")
STDR_NET = find_method("stdr_net")


def view_of(condition="One-Entire"):
    return CycleView(condition, input_muscles=("ipsi:tib", "ipsi:soleus") if condition == "All-Entire" else ())


def made(condition="One-Entire", subjects="cab", speeds=(1.0, 1.44), strides=2, seed=0, laboratories=None):
    random = np.random.default_rng(seed)
    records = []
    for subject in subjects:
        for k, speed in enumerate(speeds):
            for stride in range(strides):
                where = (laboratories or {}).get(subject, "lab")
                about = {"dataset": where, "trial": f"t{k}", "stride": str(stride + 9), "speed": speed}
                records.append(make_record(subject, len(records) + 2, **about))
    phase = np.linspace(0, 1, CycleView(condition).cycle_samples)
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + random.random((len(records), 1)) * 0.2))
    y = np.clip(np.roll(own, 3, axis=1) + random.normal(0, 0.05, own.shape), 0, 1)
    return make_samples({"ipsi:tib": own[:, ::-1], "ipsi:soleus": own}, {"soleus": y}, records)


def data_of(samples, condition="One-Entire"):
    return CycleData(samples, view_of(condition), ("soleus",))


def cycles_of(samples, condition="One-Entire"):
    return MuscleCycles.of(samples, "soleus", view_of(condition))


def folds_of(samples, splitting="leave_one_subject_out", condition="One-Entire"):
    return list(split_folds(samples, "soleus", view_of(condition), splitting))


# --- folds ------------------------------------------------------------------------------------------------------------


def test_one_subject_at_a_time():
    data = made()
    folds = folds_of(data)
    assert [fold.held_out for fold in folds] == ["c", "a", "b"]
    for fold in folds:
        assert set(fold.test.subjects) == {fold.held_out}
        assert fold.held_out not in fold.train.subjects
        assert len(fold.train) + len(fold.test) == len(data)


def test_one_speed_at_a_time():
    """Somebody who walked at that speed only is in neither part: this is no unseen subject's fold."""
    data = made(speeds=(1.0, 1.02, 1.44))
    keep = np.array([t.subject != "b" or t.speed == 1.44 for t in data.records])
    folds = {fold.held_out: fold for fold in folds_of(data.select(keep), "leave_one_speed_out")}
    assert set(folds) == {"1.0 m/s", "1.4 m/s"}
    assert {t.speed for t in folds["1.0 m/s"].test.records} == {1.0, 1.02}
    assert {t.speed for t in folds["1.0 m/s"].train.records} == {1.44}
    assert set(folds["1.4 m/s"].test.subjects) == {"a", "c"}
    assert set(folds["1.4 m/s"].train.subjects) == {"a", "c"}


def test_unknown_speeds_are_not_used():
    data = made(speeds=(1.0, 1.44, None))
    for fold in folds_of(data, "leave_one_speed_out"):
        assert all(t.speed is not None for part in (fold.train, fold.test) for t in part.records)


def test_one_trial_at_a_time():
    folds = {fold.held_out: fold for fold in folds_of(made(), "leave_one_trial_out")}
    assert set(folds) == {f"lab/{subject}/t{k}" for subject in "abc" for k in (0, 1)}
    fold = folds["lab/a/t1"]
    assert {(t.subject, t.trial) for t in fold.test.records} == {("a", "t1")}
    assert ("a", "t0") in {(t.subject, t.trial) for t in fold.train.records}


def test_one_laboratory_at_a_time():
    """All that was measured in one place; who was measured in two is left out with each."""
    data = made(laboratories={"a": "here", "b": "there", "c": "there"})
    extra = made(subjects="a", laboratories={"a": "there"}, seed=3)
    both = make_samples(
        {name: np.concatenate([one.channel("activation", name) for one in (data, extra)]) for name in ("ipsi:soleus",)},
        {"soleus": np.concatenate([one.channel("emg", "soleus") for one in (data, extra)])},
        [*data.records, *extra.records],
    )
    folds = {fold.held_out: fold for fold in folds_of(both, "leave_one_laboratory_out")}
    assert set(folds) == {"here", "there"}
    for name, fold in folds.items():
        assert set(fold.test.laboratories) == {name}
        assert name not in fold.train.laboratories
    assert set(folds["there"].test.subjects) == {"a", "b", "c"}
    assert set(folds["here"].train.subjects) == {"a", "b", "c"}
    here = folds["here"]
    overlapping = replace(here, train_rows=here.train_rows | here.test_rows)
    with pytest.raises(LeakError, match="the laboratory here is among the training cycles"):
        overlapping.check_apart("leave_one_laboratory_out")


def test_datasets_of_one_laboratory_are_left_out_together():
    data = made(laboratories={"a": "here", "b": "there_2019", "c": "there_2022"})
    grouped = replace(data, records=tuple(replace(r, group="there" * (r.subject != "a")) for r in data.records))
    folds = {fold.held_out: fold for fold in folds_of(grouped, "leave_one_laboratory_out")}
    assert set(folds) == {"here", "there"}
    assert set(folds["there"].test.subjects) == {"b", "c"}
    assert set(folds["there"].train.subjects) == {"a"}


@pytest.mark.parametrize(
    "splitting",
    ["leave_one_subject_out", "leave_one_laboratory_out", "leave_one_speed_out", "leave_one_trial_out"],
)
def test_nothing_to_leave_out(splitting):
    data = made(subjects="a", speeds=(1.0,))
    assert folds_of(data, splitting) == []
    with pytest.raises(TrainingError, match=f"{splitting} leaves nothing"):
        CrossValidation({"One-Entire": data_of(data)}, {"stdr_net": OPTIONS}, [0], splitting)


def test_cycles_that_cannot_be_used_are_in_no_fold():
    data = made()
    emg = data.targets["emg"].copy()
    emg[0] = np.nan
    for fold in folds_of(with_arrays(data, emg=emg)):
        assert len(fold.samples) == len(data) - 1
        assert np.isfinite(fold.test_cycles.y).all()


# --- leaks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(monkeypatch):
    """For plants: give back all the samples that a part was selected from, the left-out ones among them."""
    seen = {}
    select = Samples.select

    def remembering(self, rows):
        part = select(self, rows)
        seen[id(part)] = (part, self)
        return part

    monkeypatch.setattr(Samples, "select", remembering)
    return lambda part: seen[id(part)][1]


def study(options=OPTIONS, data=None, seeds=(0,), output="deviation"):
    data = made() if data is None else data
    methods = {"stdr_net": replace(options, network_output=output)}
    return CrossValidation({"One-Entire": data_of(data)}, methods, list(seeds))


def plant(monkeypatch, leaky, key="stdr_net"):
    """Have a method plan in another way; ``leaky`` is given the honest way."""
    kind = type(find_method(key))
    honest = kind.plan

    def plan(self, samples, part, view, options, run, common=None):
        return leaky(lambda given, how=options: honest(self, given, part, view, how, run, common), samples)

    monkeypatch.setattr(kind, "plan", plan)


def test_an_honest_study_passes():
    study().check()
    study(replace(OPTIONS, early_stopping_patience=2), seeds=(0, 1, 2)).check()
    for condition in ("One-Quarter", "All-Entire"):
        CrossValidation({condition: data_of(made(condition), condition)}, {"stdr_net": OPTIONS}, [0]).check()
    study(output="correction").check()
    data = made(laboratories={"c": "here", "a": "there", "b": "there"})
    CrossValidation({"One-Entire": data_of(data)}, {"ridge": None}, [0], "leave_one_laboratory_out").check()


def test_a_leak_into_the_scaler_is_caught(whole, monkeypatch):
    def leaky(honest, samples):
        plan, everyone = honest(samples), cycles_of(whole(samples))
        return replace(plan, evidence={**plan.evidence, "output scaler": everyone.y.mean(axis=0)})

    plant(monkeypatch, leaky)
    with pytest.raises(LeakError, match="soleus without a: the output scaler changed"):
        study().check()


def test_a_leak_into_the_training_data_is_caught(whole, monkeypatch):
    plant(monkeypatch, lambda honest, samples: honest(whole(samples)))
    with pytest.raises(LeakError):
        study().check()


@pytest.mark.parametrize("name", ["shift", "ridge", "mean"])
def test_a_leak_into_a_baseline_is_caught(whole, monkeypatch, name):
    """The lag, the regression and the profile of all cycles."""
    plant(monkeypatch, lambda honest, samples: honest(whole(samples)), name)
    with pytest.raises(LeakError, match=f"the baseline '{name}' changed"):
        study().check()


def test_a_leak_into_a_judged_method_without_a_network_is_caught(whole, monkeypatch):
    plant(monkeypatch, lambda honest, samples: honest(whole(samples)), "ridge")
    with pytest.raises(LeakError, match="soleus without a: the inner errors changed"):
        CrossValidation({"One-Entire": data_of(made())}, {"ridge": None}, [0], baselines=["mean"]).check()


def test_a_leak_into_a_choice_is_caught_even_if_the_choice_stays(whole, monkeypatch):
    """A penalty chosen with the help of the left-out subject, which here comes out the same."""
    made_of = {"same": 0}

    def leaky(honest, samples):
        own, peeked = honest(samples), honest(whole(samples))
        made_of["same"] += own.finish(None).penalty == peeked.finish(None).penalty
        return replace(own, evidence={**own.evidence, "inner errors": peeked.evidence["inner errors"]})

    plant(monkeypatch, leaky, "ridge")
    with pytest.raises(LeakError, match="the baseline 'ridge' changed"):
        study(data=made(seed=1)).check()
    assert made_of["same"]


def test_a_leak_into_early_stopping_is_caught(whole, monkeypatch):
    """The cycles that decide when to stop are those of the subject who is left out."""

    def leaky(honest, samples):
        plan = honest(samples)
        everyone = whole(samples)
        out = cycles_of(everyone.select(~np.isin(everyone.subjects, samples.subjects)))
        task = replace(plan.task, held={"x": out.x, "y": out.y})
        words = {
            "activations that decide when to stop": task.held["x"],
            "EMG that decides when to stop": task.held["y"],
        }
        return replace(plan, task=task, evidence={**plan.evidence, **words})

    plant(monkeypatch, leaky)
    with pytest.raises(LeakError, match="that decide when to stop changed"):
        study(replace(OPTIONS, early_stopping_patience=2)).check()


def test_a_leak_into_a_setting_is_caught(whole, monkeypatch):
    """A learning rate chosen by looking at the left-out EMG."""

    def leaky(honest, samples):
        rate = float(cycles_of(whole(samples)).y.mean()) / 100
        return honest(samples, replace(OPTIONS, learning_rate=rate))

    plant(monkeypatch, leaky)
    with pytest.raises(LeakError, match="the training settings changed"):
        study().check()


def test_a_leak_into_the_linear_part_is_caught(whole, monkeypatch):
    """Muscles share a part of it: the left-out subject's other muscles must not be seen either."""
    honest = stdr.STDRNetMethod.common

    def leaky(self, samples, view, options):
        own, peeked = honest(self, samples, view, options), honest(self, whole(samples), view, options)
        return LinearParts({name: replace(fit, part=peeked.fits[name].part) for name, fit in own.fits.items()})

    monkeypatch.setattr(stdr.STDRNetMethod, "common", leaky)
    with pytest.raises(LeakError, match="soleus without a: the linear part changed"):
        study(output="correction").check()


@pytest.mark.parametrize("key", ["stdr_net", "ridge", "shift"])
def test_a_method_that_says_nothing_of_what_it_learned_is_caught(whole, monkeypatch, key):
    """The arrays of a training, or what was learned without one, are compared in any case."""
    plant(monkeypatch, lambda honest, samples: replace(honest(whole(samples)), evidence={}), key)
    methods = {key: OPTIONS if key == "stdr_net" else find_method(key).options()}
    with pytest.raises(LeakError, match="soleus without a"):
        CrossValidation({"One-Entire": data_of(made())}, methods, [0], baselines=[]).check()


def test_a_fold_that_overlaps_is_refused():
    fold = folds_of(made())[0]
    shared = fold.train_rows | fold.test_rows
    with pytest.raises(LeakError, match="the subject c is among the training cycles"):
        replace(fold, train_rows=shared).check_apart("leave_one_subject_out")


def test_one_recording_under_two_names_is_refused():
    data = made()
    y = data.targets["emg"].copy()
    first, other = (np.flatnonzero(data.subjects == subject)[0] for subject in "ab")
    y[other] = y[first]
    with pytest.raises(LeakError, match="one recording stands under two names"):
        study(data=with_arrays(data, emg=y)).check()


def test_the_guard_sees_what_it_is_told():
    """By itself: what depends on training cycles passes, what depends on any other does not."""
    fold = folds_of(made())[0]
    check_blind(lambda part: {"mean": part.train.targets["emg"].mean(axis=0)}, fold)
    for name in ("activation", "emg"):
        with pytest.raises(LeakError, match="the maximum changed"):
            check_blind(
                lambda part, name=name: {"maximum": np.asarray(part.samples.arrays[name][-1].max())},
                folds_of(made())[2],
            )


# --- recorded losses --------------------------------------------------------------------------------------------------


def plan_of(fold, options=OPTIONS):
    return STDR_NET.plan(fold.train, fold.muscle, fold.view, options, RunSettings())


def test_the_recorded_loss_does_not_touch_the_training():
    """Weights are the same to the last bit with, without and with other left-out cycles; the losses are recorded."""
    fold = folds_of(made())[0]
    plan = plan_of(fold)
    watched = train_task(watch_left_out(plan, fold.test))
    plain = train_task(plan.task)
    other = train_task(watch_left_out(plan, with_arrays(fold.test, emg=1 - fold.test.targets["emg"])))
    for name, values in plain.weights.items():
        assert values.tobytes() == watched.weights[name].tobytes() == other.weights[name].tobytes()
    assert [e.loss for e in plain.history] == [e.loss for e in watched.history] == [e.loss for e in other.history]
    assert all(epoch.validation_loss is None for epoch in plain.history)
    assert watched.history[-1].validation_loss != other.history[-1].validation_loss
    # The last one by hand: the mean squared error of the finished network, in units of its output.
    network, test = plan.finish(watched), fold.test_cycles
    y = network.predict({"activation": test.x}).values
    expected = np.mean((y - test.y) ** 2) / float(network.output_scale[0]) ** 2
    assert watched.history[-1].validation_loss == pytest.approx(expected, rel=1e-4)


def test_with_early_stopping_the_left_out_cycles_are_not_in_the_task():
    fold = folds_of(made())[0]
    plan = plan_of(fold, replace(OPTIONS, early_stopping_patience=2))
    assert watch_left_out(plan, fold.test) is plan.task


# --- outcomes ---------------------------------------------------------------------------------------------------------


def run(study):
    study.check()
    for job in study.jobs:
        job.done(train_task(job.task()))
    return study.outcomes


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_outcomes(condition):
    samples = made(condition)
    data = cycles_of(samples, condition)
    outcomes = run(CrossValidation({condition: data_of(samples, condition)}, {"stdr_net": OPTIONS}, [0, 1]))
    assert [(o.seed, o.held_out) for o in outcomes] == [(seed, who) for seed in (0, 1) for who in "abc"]
    for outcome in outcomes:
        assert list(outcome.curves) == ["opensim", "stdr_net", "mean", "shift", "ridge"]
        assert all(curve.shape == (4, 20) for curve in outcome.curves.values())
        assert [t.stride for t in outcome.test.records] == ["9", "10", "9", "10"]
        step = 4 if condition == "One-Quarter" else 1
        rows = data.subjects == outcome.held_out
        np.testing.assert_array_equal(outcome.emg, data.y[rows][:, ::step])
        np.testing.assert_array_equal(outcome.curves["opensim"], data.own[rows][:, ::step])
        others = data.y[~rows][:, ::step].mean(axis=0)
        np.testing.assert_allclose(outcome.curves["mean"], np.tile(others, (4, 1)))
        attention = outcome.attention["stdr_net"]
        assert attention.shape == (20, 2 if condition == "All-Entire" else 20)
        np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-6)
        assert (outcome.changed_errors["stdr_net"] > 0).all()
        assert set(outcome.parameters) == {"stdr_net", "mean", "shift", "ridge"}
    # Another seed is another network, and the same baselines.
    assert not np.array_equal(outcomes[0].curves["stdr_net"], outcomes[3].curves["stdr_net"])
    assert np.array_equal(outcomes[0].curves["ridge"], outcomes[3].curves["ridge"])


def test_two_judged_methods():
    """They are learned in the same folds; one that is judged is no baseline, and checked for shortcuts as any other."""
    data, methods = data_of(made()), {"stdr_net": OPTIONS, "ridge": find_method("ridge").options()}
    both = CrossValidation({"One-Entire": data}, methods, [0, 1], baselines=["mean", "shift"])
    assert len(both.jobs) == 6  # networks only
    both.check()
    assert both.outcomes == []  # nothing is told of a fold whose network is not there
    first, *rest = both.jobs
    first.done(train_task(first.task()))
    assert len(both.outcomes) == 1
    for job in rest:
        job.done(train_task(job.task()))
    alone = run(CrossValidation({"One-Entire": data}, {"stdr_net": OPTIONS}, [0, 1]))
    assert len(both.outcomes) == len(alone) == 6
    for one, other in zip(both.outcomes, alone, strict=True):
        assert list(one.curves) == ["opensim", "stdr_net", "ridge", "mean", "shift"]
        assert set(one.changed_errors) == {"stdr_net", "ridge"}
        assert set(one.attention) == set(one.trained) == {"stdr_net"}
        for name, curve in one.curves.items():
            assert curve.tobytes() == other.curves[name].tobytes()
        assert one.parameters == other.parameters


@pytest.mark.parametrize("key", ["ridge", "shift", "mean"])
def test_a_method_that_trains_no_network(key):
    data = data_of(made())
    study = CrossValidation({"One-Entire": data}, {key: find_method(key).options()}, [0], baselines=["mean"])
    study.check()
    assert study.jobs == []
    assert study.weights == study.most_epochs == 0
    outcomes = study.outcomes
    assert [outcome.held_out for outcome in outcomes] == ["a", "b", "c"]
    for outcome in outcomes:
        assert list(outcome.curves) == list(dict.fromkeys(["opensim", key, "mean"]))
        assert outcome.trained == outcome.attention == {}
        errors = outcome.changed_errors[key]
        if key == "mean":
            # What is blind to the input does not notice that it was changed.
            np.testing.assert_allclose(errors, cycle_errors(outcome.curves[key], outcome.emg))
        else:
            assert (errors > cycle_errors(outcome.curves[key], outcome.emg)).mean() > 0.5


@pytest.mark.parametrize("splitting", ["leave_one_laboratory_out", "leave_one_speed_out", "leave_one_trial_out"])
def test_other_splittings_give_outcomes(splitting):
    data = made(laboratories={"a": "here", "b": "there", "c": "there"})
    outcomes = CrossValidation({"One-Entire": data_of(data)}, {"ridge": None}, [0], splitting).outcomes
    expected = {
        "leave_one_laboratory_out": {"here", "there"},
        "leave_one_speed_out": {"1.0 m/s", "1.4 m/s"},
        "leave_one_trial_out": {f"{lab}/{who}/t{k}" for lab, who in zip(("here", "there", "there"), "abc", strict=True)
                                for k in (0, 1)},
    }  # fmt: skip
    assert {outcome.held_out for outcome in outcomes} == expected[splitting]
    assert sum(len(outcome.emg) for outcome in outcomes) == len(data)


def test_the_order_of_cycles_and_inputs_changes_nothing():
    samples = made("All-Entire")
    order = np.random.default_rng(4).permutation(len(samples))
    mixed = samples.select(order)
    names = samples.channels["activation"][::-1]
    mixed = replace(
        mixed,
        inputs={"activation": mixed.inputs["activation"][:, :, ::-1]},
        channels={**mixed.channels, "activation": names},
    )
    studies = []
    for data, inputs in ((samples, ("ipsi:tib", "ipsi:soleus")), (mixed, ("ipsi:soleus", "ipsi:tib"))):
        view = CycleView("All-Entire", input_muscles=inputs)
        cycles = {"All-Entire": CycleData(data, view, ("soleus",))}
        studies.append(run(CrossValidation(cycles, {"stdr_net": OPTIONS}, [0])))
    for a, b in zip(*studies, strict=True):
        assert [t.line for t in a.test.records] == [t.line for t in b.test.records]
        for name, curve in a.curves.items():
            assert curve.tobytes() == b.curves[name].tobytes()
        assert a.changed_errors["stdr_net"].tobytes() == b.changed_errors["stdr_net"].tobytes()
        assert a.trained["stdr_net"].history == b.trained["stdr_net"].history


def test_inputs_are_changed_alike_wherever_a_cycle_stands():
    data = cycles_of(made("All-Entire"), "All-Entire")
    changed = changed_inputs(data.x, data.records, 0, 0)
    assert not np.allclose(changed, data.x, atol=0.05)
    part = changed_inputs(data.x[3:5], data.records[3:5], 0, 0)
    assert np.array_equal(part, changed[3:5])
    assert not np.array_equal(changed_inputs(data.x, data.records, 1, 0), changed)
    assert not np.array_equal(changed_inputs(data.x, data.records, 0, 1), changed)


def test_a_network_that_ignores_its_input_does_not_notice():
    """The check for shortcut learning tells the average waveform from a refinement."""
    data = made(strides=4)
    fold = folds_of(data)[0]
    plan = plan_of(fold)
    trained = train_task(plan.task)
    blind = {name: np.zeros_like(w) if name.startswith(("output",)) else w for name, w in trained.weights.items()}
    learned = {"stdr_net": (plan.finish(replace(trained, weights=blind)), trained)}
    outcome = judge(fold, "One-Entire", 0, learned, {})
    errors = cycle_errors(outcome.curves["stdr_net"], outcome.emg)
    np.testing.assert_allclose(outcome.changed_errors["stdr_net"], errors)
    # A network that copies a good input gets worse: OpenSim's own curve is nearly the EMG here.
    own = data.channel("activation", "ipsi:soleus")
    good = replace(fold, samples=with_arrays(data, emg=own[:, :, None] + 0.01))
    plan = plan_of(good, replace(OPTIONS, hidden_units=24, epochs=150, learning_rate=0.01))
    trained = train_task(plan.task)
    outcome = judge(good, "One-Entire", 0, {"stdr_net": (plan.finish(trained), trained)}, {})
    errors = cycle_errors(outcome.curves["stdr_net"], outcome.emg)
    assert (outcome.changed_errors["stdr_net"] > 2 * errors).mean() > 0.7


def test_a_method_must_count_the_weights_that_it_trains(monkeypatch):
    monkeypatch.setattr(type(STDR_NET), "weight_count", lambda self, inputs, view, options: 0)
    with pytest.raises(TrainingError, match="'stdr_net' counts 0 weights, but a network is trained"):
        study().check()


def test_a_network_is_no_baseline():
    ridge = {"ridge": find_method("ridge").options()}
    with pytest.raises(TrainingError, match="'stdr_net' trains a network, so it cannot be a baseline"):
        CrossValidation({"One-Entire": data_of(made())}, ridge, [0], baselines=["stdr_net"]).check()
