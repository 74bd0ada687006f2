"""The linear part of the networks: what it must find, and what it must not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_samples
from sklearn.linear_model import Ridge

from opensim_nem2e.data.cycle_view import CONDITIONS, CycleView
from opensim_nem2e.data.gait_cycles import MuscleCycles
from opensim_nem2e.evaluation.bundle_training import BundleTraining
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr import fit_linear as linear
from opensim_nem2e.methods.stdr.fit_linear import fit_linear
from opensim_nem2e.methods.stdr.linear_part import SHAPE_FLOOR, LinearPart, shape_of
from opensim_nem2e.methods.stdr.method import STDROptions, plan_network
from opensim_nem2e.training.trainer import train_task

OPTIONS = STDROptions(hidden_units=4, epochs=1, batch_size=8, learning_rate=0.001, network_output="correction")
NAMES = ("soleus", "tib", "bi", "rect", "vaslat", "gasmed")


def view_of(condition="One-Entire"):
    inputs = tuple(f"ipsi:{name}" for name in NAMES) if condition == "All-Entire" else ()
    return CycleView(condition, input_muscles=inputs)


def bursts(n, random, cycles):
    """Smooth periodic activations with one burst at a time of its own."""
    phase, centre = np.linspace(0, 1, n), random.random((cycles, 1))
    return random.uniform(0.3, 0.9, (cycles, 1)) * np.exp(4 * (np.cos(2 * np.pi * (phase - centre)) - 1))


def made(condition="One-Entire", subjects=5, cycles=6, lag=2, seed=0):
    """EMG that is every muscle's activation two samples later; in All-Entire a third of it is the next muscle's."""
    random = np.random.default_rng(seed)
    n = CycleView(condition).cycle_samples
    who = np.repeat([f"s{k}" for k in range(subjects)], cycles)
    activations = {name: bursts(n, random, len(who)) for name in NAMES}
    emg = {}
    for k, name in enumerate(NAMES):
        own = activations[name]
        source = own
        if condition == "All-Entire":
            source = 0.7 * own + 0.3 * activations[NAMES[(k + 1) % len(NAMES)]]
        # The last sample of a cycle is the first of the next.
        y = np.roll(source[:, :-1], lag, axis=1)
        y = np.concatenate([y, y[:, :1]], axis=1) + random.normal(0, 0.01, own.shape)
        emg[name] = y
    return make_samples({f"ipsi:{name}": curves for name, curves in activations.items()}, emg, who)


def people(condition="One-Entire", **how):
    """The same, muscle by muscle."""
    samples = made(condition, **how)
    return {name: MuscleCycles.of(samples, name, view_of(condition)) for name in NAMES}


def error(fit, data, condition="One-Entire"):
    x, y = view_of(condition).split(data.x), view_of(condition).split(data.y)
    return float(np.sqrt(np.mean((fit.constant + fit.part.predict(x) - y) ** 2)))


def test_finds_a_delay_for_people_it_has_not_seen():
    train, new = people(), people(seed=1)
    fits = fit_linear(train, view_of("One-Entire"))
    for name, data in new.items():
        mean = np.sqrt(np.mean((train[name].y.mean(axis=0) - data.y) ** 2))
        assert error(fits[name], data) < 0.3 * mean


def test_muscles_share_the_delay():
    """With a muscle's own few cycles alone the delay is found less well than with those of the other muscles."""
    train, new = people(subjects=3, cycles=2), people(seed=1)
    together = fit_linear(train, view_of("One-Entire"))
    alone = {name: fit_linear({name: data}, view_of("One-Entire"))[name] for name, data in train.items()}
    ratio = [error(together[name], new[name]) / error(alone[name], new[name]) for name in NAMES]
    assert np.mean(ratio) < 0.9
    assert max(ratio) < 1


def test_other_muscles_count_where_they_are_inputs():
    sets = people("All-Entire", subjects=8, cycles=10)
    new = people("All-Entire", seed=1)
    own = {name: replace(data, inputs=(f"ipsi:{name}",), x=data.own[:, :, None]) for name, data in sets.items()}
    fits, without = fit_linear(sets, view_of("All-Entire")), fit_linear(own, view_of("One-Entire"))
    for name, data in new.items():
        alone = replace(data, inputs=(f"ipsi:{name}",), x=data.own[:, :, None])
        assert error(fits[name], data) < 0.8 * error(without[name], alone)


@pytest.mark.parametrize("cycles", [2, 70], ids=["fewer windows than features", "more"])
def test_ridge_is_scikit_learns(cycles):
    data = people("All-Entire", subjects=3, cycles=cycles)["tib"]
    windows = linear._Windows.of(data, view_of("All-Entire"))
    rows = windows.subjects != "s1"
    assert (rows.sum() > windows.large.shape[1]) == (cycles == 70)
    moments = windows.moments(rows)
    found = moments.solve_large(moments.cross[:, moments.emg], 0.3)
    weights = windows.raw_weights[rows] / windows.raw_weights[rows].sum()
    z, y = (values[rows] - weights @ values[rows] for values in (windows.large, windows.y))
    oracle = Ridge(alpha=0.3, fit_intercept=False).fit(z, y, sample_weight=weights)
    np.testing.assert_allclose(found, oracle.coef_.T, atol=1e-9)


def test_many_subjects_are_left_out_in_groups():
    names = np.array([f"s{k:02d}" for k in range(23)])
    groups = linear._groups({"tib": np.repeat(names, 3), "soleus": names[:5]})
    assert len(groups) == linear.MOST_FOLDS
    assert set().union(*groups) == set(names)
    assert sum(map(len, groups)) == 23
    # Those with most windows are dealt out first.
    assert all(len(group & set(names[:5])) <= 1 for group in groups)
    assert linear._groups({"tib": names[:4]}) == [{name} for name in names[:4]]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_out_of_fold_predictions_do_not_see_their_subject(condition, monkeypatch):
    monkeypatch.setattr(linear, "FACTORS", (1.0,))
    sets = people(condition, subjects=3, cycles=3)
    rows = sets["tib"].subjects == "s1"
    changed = {name: replace(data, y=np.where(rows[:, None], 0.9, data.y)) for name, data in sets.items()}
    before, after = (fit_linear(given, view_of(condition)) for given in (sets, changed))
    windows = np.repeat(rows, len(before["tib"].out_of_fold) // len(rows))
    for name in NAMES:
        np.testing.assert_array_equal(before[name].out_of_fold[windows], after[name].out_of_fold[windows])
        assert np.abs(before[name].out_of_fold[~windows] - after[name].out_of_fold[~windows]).max() > 0.01


def test_penalty_grows_with_noise():
    sets = people(subjects=4, cycles=2)
    random = np.random.default_rng(1)
    noisy = {name: replace(data, y=random.random(data.y.shape)) for name, data in sets.items()}
    clean, rough = (fit_linear(given, view_of("One-Entire"))["tib"].factor for given in (sets, noisy))
    assert clean < rough == max(linear.FACTORS)


def test_one_subject_and_a_muscle_of_one_subject():
    sets = people(subjects=1)
    fit = fit_linear(sets, view_of("One-Entire"))["tib"]
    assert fit.factor == 1
    np.testing.assert_allclose(fit.out_of_fold, fit.constant + fit.part.predict(sets["tib"].x), atol=1e-12)
    sets = people(subjects=3)
    sets["tib"] = sets["tib"].leave_out(["s1", "s2"])[0]
    fits = fit_linear(sets, view_of("One-Entire"))
    assert np.isfinite(fits["tib"].out_of_fold).all()


def test_a_quarter_has_no_shape():
    fit = fit_linear(people("One-Quarter", subjects=3), view_of("One-Quarter"))["tib"]
    assert fit.part.activation.any()
    assert not fit.part.shape.any()


def test_shape_does_not_depend_on_strength():
    own = bursts(20, np.random.default_rng(0), 4)
    np.testing.assert_allclose(shape_of(own), shape_of(0.5 * own))
    quiet = np.full((1, 20), 0.01)
    np.testing.assert_allclose(shape_of(quiet), 0.01 / SHAPE_FLOOR)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_network_is_linear_part_and_weighted_correction(condition, tmp_path):
    samples, view = made(condition, subjects=3, cycles=3), view_of(condition)
    method = find_method("stdr_net")
    cycles = MuscleCycles.of(samples, "tib", view)
    fit = fit_linear({name: MuscleCycles.of(samples, name, view) for name in NAMES}, view)["tib"]
    plan = method.plan(samples, "tib", view, OPTIONS, RunSettings())
    y = view.split(cycles.y)
    scale = (y - fit.out_of_fold).std()
    np.testing.assert_allclose(plan.task.data["y"], (y - fit.out_of_fold) / scale, atol=1e-5)
    # Without its correction the network is the linear part, through a file and back.
    network = plan.finish(train_task(plan.task))
    assert network.output_scale[0] == pytest.approx(0.25 * scale)
    silent = replace(network, weights={**network.weights, "output.weight": 0 * network.weights["output.weight"]})
    file = tmp_path / "one.safetensors"
    sections = {
        "cycle": {"definition": "", "sampling": ""},
        "normalization": {"activation": "none", "emg": "subject_max"},
        "data": {"description": "", "licence": "", "attribution": ""},
        "training": {"seed": 0},
        "packages": {},
        "validation": {"method": "none"},
    }
    Bundle(method, view, {"tib": silent}, sections).save(file)
    bundle = Bundle.load(file)
    found = bundle.refine("tib", cycles.x)[0]
    np.testing.assert_array_equal(found, silent.predict({"activation": cycles.x}).values)
    windows = view.split(cycles.x)
    expected = np.maximum(silent.output_offset + silent.linear.predict(windows), 0)
    np.testing.assert_allclose(view.split(found)[0, 1:-1], expected[0, 1:-1], atol=1e-6)
    assert (found >= 0).all()


def test_no_own_input_leaves_shape_out():
    """The target muscle need not be among the inputs."""
    sets = {
        name: replace(data, inputs=("ipsi:med",), x=data.x[:, :, :1]) for name, data in people("All-Entire").items()
    }
    fit = fit_linear(sets, view_of("All-Entire"))["soleus"]
    assert fit.part.own is None
    assert not fit.part.shape.any()


def test_a_bundle_training_fits_it_once_for_all_muscles(monkeypatch):
    samples, view, method = made(subjects=3, cycles=3), view_of(), find_method("stdr_net")
    sets = people(subjects=3, cycles=3)
    whole = fit_linear(sets, view)
    without = fit_linear({name: data.leave_out(["s1"])[0] for name, data in sets.items()}, view)
    fits = []
    monkeypatch.setattr(linear, "fit_linear", lambda given, how: fits.append(given) or fit_linear(given, how))
    study = BundleTraining(method, OPTIONS, samples, view, NAMES, RunSettings(), leave_one_out=True)
    study.check()
    assert len(fits) == 4  # of everyone, and without each of three
    for left_out, expected in ((("", ""), whole), (("subject", "s1"), without)):
        part = study._plan("bi", left_out).evidence
        base = view.split(sets["bi"].leave_out([left_out[1]])[0].y) - expected["bi"].out_of_fold
        np.testing.assert_allclose(part["EMG to train on"], base / base.std(), atol=1e-5)
    for job in study.jobs:
        if job.name in ("bi", "bi_without_s1"):
            job.done(train_task(job.task()))
    np.testing.assert_allclose(study.parts["bi"].linear.activation, whole["bi"].part.activation, atol=1e-6)


def test_a_plan_without_the_shared_fit_makes_its_own():
    samples, view, method = made(subjects=3, cycles=3), view_of(), find_method("stdr_net")
    alone = method.plan(samples, "bi", view, OPTIONS, RunSettings())
    shared = method.plan(samples, "bi", view, OPTIONS, RunSettings(), method.common(samples, view, OPTIONS))
    for name, values in alone.evidence.items():
        assert values.tobytes() == shared.evidence[name].tobytes()
    # Nothing to correct, nothing fitted.
    assert method.common(samples, view, replace(OPTIONS, network_output="deviation")) is None
    fit = fit_linear(people(subjects=3, cycles=3), view)["bi"]
    again = plan_network(MuscleCycles.of(samples, "bi", view), view, OPTIONS, RunSettings(), fit)
    np.testing.assert_allclose(again.task.data["y"], alone.task.data["y"], atol=1e-5)
    # Of one muscle alone there is one, too.
    cycles = MuscleCycles.of(samples, "bi", view)
    expected = view.split(cycles.y) - fit_linear({"bi": cycles}, view)["bi"].out_of_fold
    given = plan_network(cycles, view, OPTIONS, RunSettings()).task.data["y"]
    np.testing.assert_allclose(given, expected / expected.std(), atol=1e-5)


def test_scaled_part_predicts_in_proportion():
    part = LinearPart(np.ones((1, 20, 20), np.float32), np.ones((20, 20), np.float32), 0)
    x = bursts(20, np.random.default_rng(0), 3)[:, :, None]
    np.testing.assert_allclose(part.scaled(0.5).predict(x), 0.5 * part.predict(x), rtol=1e-6)
