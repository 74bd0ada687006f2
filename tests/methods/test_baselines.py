"""The cheap baselines, against scikit-learn and by construction; what they choose, they choose on training subjects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from opensim_nem2e.methods.stdr.conditions import cycle_samples, join_cycle, split_cycle
from sklearn.linear_model import Ridge as SklearnRidge

from opensim_nem2e.data.gait_cycles import TargetData
from opensim_nem2e.methods.baselines import (
    BASELINES,
    DEFAULT_PENALTY,
    PENALTIES,
    MeanProfile,
    Ridge,
    Shift,
    ridge,
)
from opensim_nem2e.signals.compare import LAGS, cycle_errors, shift_cycles


def made(condition="One-Entire", subjects=4, cycles=3, seed=0, noise=0.02, lag=0.15):
    random = np.random.default_rng(seed)
    phase = np.linspace(0, 1, cycle_samples(condition))
    who = np.repeat([f"s{k}" for k in range(subjects)], cycles)
    own = 0.5 + 0.4 * np.sin(2 * np.pi * (phase + random.random((len(who), 1)) * 0.2)) ** 3
    inputs = ("ipsi:soleus", "ipsi:tib") if condition == "All-Entire" else ("ipsi:soleus",)
    x = np.stack([own, own[:, ::-1]], axis=2)[:, :, : len(inputs)]
    y = shift_cycles(own, lag) + random.normal(0, noise, own.shape)
    return TargetData("soleus", inputs, x, own, y, who, tuple(range(len(who))))


@pytest.mark.parametrize("penalty", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("features", [5, 90])
def test_ridge_is_scikit_learns(penalty, features):
    """Also with more features than cycles."""
    random = np.random.default_rng(0)
    x, y, new = random.random((30, features)), random.random((30, 20)), random.random((4, features))
    expected = SklearnRidge(alpha=penalty).fit(x, y).predict(new)
    np.testing.assert_allclose(ridge(x, y, new, penalty), expected, atol=1e-8)


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_ridge_sees_what_the_network_sees(condition):
    """Windows of the condition's own input; the penalty is that of the lowest error on left-out training subjects."""
    data = made(condition)
    fitted = Ridge.fit(data, condition, 20)

    def windows(part):
        x = split_cycle(part.x, condition, 20)
        return x.reshape(len(x), -1), split_cycle(part.y, condition, 20)

    assert windows(data)[0].shape[1] == 20 * len(data.inputs)
    errors = []
    for penalty in PENALTIES:
        means = []
        for _, others, one in data.folds():
            predicted = SklearnRidge(alpha=penalty).fit(*windows(others)).predict(windows(one)[0])
            means.append(cycle_errors(join_cycle(predicted, condition), one.y).mean())
        errors.append(np.mean(means) * 4)
    np.testing.assert_allclose(fitted.errors, errors, rtol=1e-6)
    assert fitted.parameters == {"penalty": PENALTIES[int(np.argmin(errors))]}
    expected = SklearnRidge(alpha=fitted.penalty).fit(*windows(data)).predict(windows(data)[0])
    np.testing.assert_allclose(fitted.estimate(data), join_cycle(expected, condition), atol=1e-7)


def test_one_subject_has_no_penalty_to_choose():
    fitted = Ridge.fit(made(subjects=1), "One-Entire", 20)
    assert fitted.penalty == DEFAULT_PENALTY
    assert not fitted.errors.any()


@pytest.mark.parametrize("lag", [-0.3, -0.02, 0.0, 0.11, 0.5])
@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire"])
def test_a_shift_is_learned(lag, condition):
    fitted = Shift.fit(made(condition, noise=0.0, lag=lag))
    assert abs(fitted.lag) == pytest.approx(abs(lag)) if abs(lag) == 0.5 else fitted.lag == pytest.approx(lag)
    other = made(condition, noise=0.0, lag=lag, seed=5)
    np.testing.assert_allclose(fitted.estimate(other), other.y, atol=1e-12)
    assert fitted.errors.shape == LAGS.shape


def test_every_subject_counts_alike_for_the_shift():
    """One person with many cycles does not outvote two with few."""
    few, many = made(subjects=2, cycles=1, lag=0.1, noise=0), made(subjects=1, cycles=40, lag=-0.1, noise=0, seed=3)
    parts = {name: np.concatenate([getattr(few, name), getattr(many, name)]) for name in ("x", "own", "y")}
    who = np.array(["a", "b", *["c"] * 40])
    data = replace(few, subjects=who, trials=tuple(range(42)), **parts)
    assert Shift.fit(data).lag > 0


def test_the_mean_profile_is_blind():
    data = made()
    fitted = MeanProfile.fit(data)
    other = made(seed=9)
    np.testing.assert_array_equal(fitted.estimate(other), np.tile(data.y.mean(axis=0), (len(other.y), 1)))


@pytest.mark.parametrize("name", BASELINES)
def test_estimates_do_not_look_at_emg(name):
    data, other = made("All-Entire"), made("All-Entire", seed=2)
    fitted = BASELINES[name](data, "All-Entire", 20)
    blind = replace(other, y=np.full_like(other.y, np.nan))
    assert np.array_equal(fitted.estimate(other), fitted.estimate(blind))
