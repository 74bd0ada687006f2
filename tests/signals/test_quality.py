"""Measures of a recording's faults, against hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensim_nem2e.signals.quality import (
    copies,
    cut_off,
    exchanged,
    held,
    levels,
    lonely_peak,
    period,
    plateaus,
    variance_ratio,
)


def test_variance_ratio():
    curve = np.sin(np.linspace(0.0, 6.0, 101))
    assert variance_ratio(np.stack([curve, curve, curve])) < 1e-30
    # Two strides of two samples: within 0.5, 0.5 (one degree of freedom each); in all 5/3.
    assert variance_ratio([[0.0, 2.0], [1.0, 3.0]]) == pytest.approx(0.5 / (5.0 / 3.0))
    noise = np.random.default_rng(0).normal(size=(40, 101))
    assert variance_ratio(noise) == pytest.approx(1.0, abs=0.05)
    assert variance_ratio(np.ones((3, 10))) == 0.0


@given(
    seconds=st.floats(0.6, 1.6),
    rate=st.sampled_from([50.0, 100.0, 200.0]),
    seed=st.integers(0, 100),
)
def test_the_period_of_a_walk(seconds, rate, seed):
    time = np.arange(0.0, 12.0, 1.0 / rate)
    rng = np.random.default_rng(seed)
    phase = (time[:, None] / seconds + rng.uniform(size=4)) % 1.0
    # Two bursts of different height a stride: half a stride is not the period.
    values = np.exp(-(((phase - 0.3) / 0.08) ** 2)) + 0.4 * np.exp(-(((phase - 0.8) / 0.08) ** 2))
    found, correlation = period(time, values, 0.25, 4.0)
    assert found == pytest.approx(seconds, rel=0.01)
    assert correlation > 0.9


def test_no_period():
    time = np.arange(0.0, 3.0, 0.01)
    assert np.isnan(period(time, np.zeros((300, 2)), 0.5, 1.0)[0])
    assert np.isnan(period(time, np.random.default_rng(0).normal(size=(300, 2)), 1.45, 1.46)[0])
    assert np.isnan(period(time, np.exp(-time)[:, None], 0.5, 1.4)[0])


def test_plateaus():
    time = np.arange(10) * 0.01
    assert plateaus(time, [0, 1, 2, 1, 0, 1, 2, 2, 2, 0]) == (2, pytest.approx(0.02))
    assert plateaus(time, np.arange(10.0)) == (1, 0.0)


def test_a_peak_that_towers_over_all_others():
    time = np.arange(0.0, 8.0, 0.005)
    steps = np.sin(np.pi * time) ** 4
    assert lonely_peak(time, steps) is None
    assert lonely_peak(time, np.where(np.abs(time - 2.5) < 0.2, 1.9 * steps, steps)) is None
    assert lonely_peak(time, steps + 5.0 * np.exp(-(((time - 3.0) / 0.05) ** 2))) == pytest.approx((5.0, 3.0), rel=0.01)
    # One stride is one burst.
    assert lonely_peak(time[:400], steps[:400] ** 20) is None
    assert lonely_peak(time, 0.0 * time) is None


def test_a_lost_connection_and_an_amplifier_at_its_limits():
    time = np.arange(0.0, 8.0, 0.001)
    raw = np.random.default_rng(0).normal(size=time.size)
    assert held(time, raw) is None
    assert cut_off(raw) == 0.0
    lost = np.where((time > 3.0) & (time <= 3.7), 0.1, raw)
    assert held(time, lost) == pytest.approx((3.001, 3.7))
    assert cut_off(lost) == 0.0
    # At both limits again and again; a signal that was rectified rests at zero only.
    slow = 2.0 * np.sin(2.0 * np.pi * 40.0 * time)
    assert cut_off(np.clip(slow, -1.0, 1.0)) == pytest.approx(2.0 / 3.0, abs=0.05)
    assert cut_off(np.maximum(slow, 0.0)) == 0.0


def test_exchanged_channels():
    phase = np.linspace(0.0, 1.0, 100)
    calf, shin = np.exp(-(((phase - 0.45) / 0.1) ** 2)), np.exp(-(((phase - 0.05) / 0.1) ** 2))
    assert exchanged(shin, calf, calf, shin) == (pytest.approx(1.0), pytest.approx(-0.3, abs=0.1))
    assert exchanged(calf, shin, calf, shin) is None
    # Two heads of one muscle are alike, and one channel alone cannot be exchanged.
    assert exchanged(calf, calf, calf, 0.9 * calf + 0.1 * shin) is None
    assert exchanged(shin, shin, calf, shin) is None


def test_copies():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    assert copies(np.column_stack([a, b, 2.0 * a + 1.0, np.ones(200), np.ones(200), b])) == [(0, 2), (1, 5)]
    # A mirror image, and a near copy, are none.
    assert copies(np.column_stack([a, -a, a + 0.01 * b])) == []
    assert copies(a[:, None]) == []


def test_levels_are_not_set_by_a_spike():
    values = np.tile(np.linspace(0.0, 1.0, 101), 100)
    values[0], values[1] = 50.0, -50.0
    low, high = levels(values[:, None])
    assert (low[0], high[0]) == (pytest.approx(0.01, abs=0.01), pytest.approx(0.99, abs=0.01))
