"""The cheap baselines, against scikit-learn and by construction; what they choose, they choose on training subjects."""

from __future__ import annotations

import numpy as np
import pytest
from cycle_maker import make_samples, with_arrays
from sklearn.linear_model import Ridge as SklearnRidge

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.methods.base import RunSettings, muscle_cycles
from opensim_nem2e.methods.baselines import DEFAULT_PENALTY, PENALTIES, RidgePath
from opensim_nem2e.methods.registry import BASELINES, find_method
from opensim_nem2e.signals.compare import LAGS, cycle_errors, shift_cycles


def view_of(condition):
    inputs = ("ipsi:soleus", "ipsi:tib") if condition == "All-Entire" else ()
    return CycleView(condition, input_muscles=inputs)


def made(condition="One-Entire", subjects=4, cycles=3, seed=0, noise=0.02, lag=0.15):
    random = np.random.default_rng(seed)
    phase = np.linspace(0, 1, CycleView(condition).cycle_samples)
    who = np.repeat([f"s{k}" for k in range(subjects)], cycles)
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + random.random((len(who), 1)) * 0.2)) ** 3
    y = shift_cycles(own, lag) + random.normal(0, noise, own.shape)
    return make_samples({"ipsi:soleus": own, "ipsi:tib": own[:, ::-1]}, {"soleus": y}, who)


def plan(key, samples, condition="One-Entire"):
    method = find_method(key)
    return method.plan(samples, "soleus", view_of(condition), method.options(), RunSettings())


def estimate(fitted, samples, condition="One-Entire"):
    """What a method makes of cycles: of the input muscles that it asks for."""
    return fitted.predict({"activation": samples.select_channels("activation", fitted.inputs)}).values


@pytest.mark.parametrize("penalty", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("features", [5, 90])
def test_ridge_is_scikit_learns(penalty, features):
    """Also with more features than cycles."""
    random = np.random.default_rng(0)
    x, y, new = random.random((30, features)), random.random((30, 20)), random.random((4, features))
    expected = SklearnRidge(alpha=penalty).fit(x, y).predict(new)
    np.testing.assert_allclose(RidgePath(x, y).predict(new, penalty), expected, atol=1e-8)


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_ridge_sees_what_the_network_sees(condition):
    """Windows of the condition's own input; the penalty is that of the lowest error on left-out training subjects."""
    samples, view = made(condition), view_of(condition)
    learning = plan("ridge", samples, condition)
    fitted, data = learning.finish(None), muscle_cycles(samples, "soleus", view)
    assert fitted.inputs == data.inputs == (view.input_muscles or ("ipsi:soleus",))

    def windows(part):
        x = view.split(part.x)
        return x.reshape(len(x), -1), view.split(part.y)

    assert windows(data)[0].shape[1] == 20 * len(data.inputs)
    errors = []
    for penalty in PENALTIES:
        means = []
        for _, others, one in data.folds():
            predicted = SklearnRidge(alpha=penalty).fit(*windows(others)).predict(windows(one)[0])
            means.append(cycle_errors(view.join(predicted), one.y).mean())
        errors.append(np.mean(means) * 4)
    np.testing.assert_allclose(learning.evidence["inner errors"], errors, rtol=1e-6)
    assert fitted.chosen == {"penalty": PENALTIES[int(np.argmin(errors))]}
    expected = SklearnRidge(alpha=fitted.penalty).fit(*windows(data)).predict(windows(data)[0])
    np.testing.assert_allclose(estimate(fitted, samples, condition), view.join(expected), atol=1e-7)


def test_one_subject_has_no_penalty_to_choose():
    learning = plan("ridge", made(subjects=1))
    assert learning.finish(None).penalty == DEFAULT_PENALTY
    assert not learning.evidence["inner errors"].any()


@pytest.mark.parametrize("lag", [-0.3, -0.02, 0.0, 0.11, 0.5])
@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire"])
def test_a_shift_is_learned(lag, condition):
    learning = plan("shift", made(condition, noise=0.0, lag=lag), condition)
    fitted = learning.finish(None)
    assert abs(fitted.lag) == pytest.approx(abs(lag)) if abs(lag) == 0.5 else fitted.lag == pytest.approx(lag)
    assert fitted.chosen == {"lag": fitted.lag}
    other = made(condition, noise=0.0, lag=lag, seed=5)
    np.testing.assert_allclose(estimate(fitted, other), other.channel("emg", "soleus"), atol=1e-12)
    assert learning.evidence["errors of all lags"].shape == LAGS.shape


def test_every_subject_counts_alike_for_the_shift():
    """One subject with many cycles does not outvote two with few."""
    few, many = made(subjects=2, cycles=1, lag=0.1, noise=0), made(subjects=1, cycles=40, lag=-0.1, noise=0, seed=3)
    curves = [np.concatenate(pair) for pair in zip(both(few), both(many), strict=True)]
    data = make_samples({"ipsi:soleus": curves[0]}, {"soleus": curves[1]}, ["a", "b", *["c"] * 40])
    assert plan("shift", data).finish(None).lag > 0


def both(samples):
    return samples.channel("activation", "ipsi:soleus"), samples.channel("emg", "soleus")


def test_the_mean_profile_is_blind():
    data, other = made(), made(seed=9)
    fitted = plan("mean", data).finish(None)
    y = data.channel("emg", "soleus")
    np.testing.assert_array_equal(estimate(fitted, other), np.tile(y.mean(axis=0), (len(other), 1)))


def test_the_simulation_says_what_it_says():
    data = made()
    learning = plan("opensim", data)
    assert learning.task is None
    np.testing.assert_array_equal(estimate(learning.finish(None), data), both(data)[0])


@pytest.mark.parametrize("name", BASELINES)
def test_only_its_training_samples_count(name):
    """Other subjects' cycles, and cycles that cannot be used, change nothing."""
    data = made("All-Entire")
    holes = both(data)[1].copy()
    holes[:3] = np.nan
    with_holes = with_arrays(data, emg=holes[:, :, None])
    expected = plan(name, data.leave_out(["s0"])[0], "All-Entire").evidence
    for key, values in plan(name, with_holes, "All-Entire").evidence.items():
        assert values.tobytes() == expected[key].tobytes()
