"""Errors, shapes, peaks and lags of curves whose answer is known by formula, or by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from opensim_nem2e.signals.compare import (
    best_lags,
    burst_errors,
    burst_phases,
    correlations,
    cycle_errors,
    determinations,
    gain_errors,
    peak_errors,
    peak_phases,
    shift_cycles,
    warp_cycle,
)

GRID = np.linspace(0, 1, 20)


def bump(centre, width=0.1, samples=20):
    distance = (np.linspace(0, 1, samples) - np.atleast_1d(centre)[:, None] + 0.5) % 1 - 0.5
    return np.exp(-((distance / width) ** 2))


def test_error_is_equation_1():
    y, e = np.random.default_rng(0).random((2, 5, 20))
    by_hand = [np.sqrt(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) / 20) for u, v in zip(y, e, strict=True)]
    np.testing.assert_allclose(cycle_errors(y, e), by_hand)


def test_correlations_are_pearsons():
    a, b = np.random.default_rng(1).random((2, 30, 20))
    np.testing.assert_allclose(correlations(a, b), [stats.pearsonr(x, y).statistic for x, y in zip(a, b, strict=True)])


def test_the_error_of_the_shape_knows_no_amplitude():
    """The gain of a subject is that of least squares over all of the subject's cycles, and it is never negative."""
    emg, estimate = np.random.default_rng(5).random((2, 6, 20))
    who = np.array(["a", "a", "b", "b", "b", "b"])
    expected = np.empty(6)
    for rows in (slice(0, 2), slice(2, 6)):
        gain = np.linalg.lstsq(estimate[rows].reshape(-1, 1), emg[rows].ravel(), rcond=None)[0][0]
        expected[rows] = cycle_errors(gain * estimate[rows], emg[rows])
    np.testing.assert_allclose(gain_errors(estimate, emg, who), expected)
    scaled = estimate * np.where(who == "a", 0.1, 7.0)[:, None]
    np.testing.assert_allclose(gain_errors(scaled, emg, who), expected)
    np.testing.assert_allclose(gain_errors(-estimate, emg, who), cycle_errors(0 * emg, emg))


def test_a_burst_begins_and_ends_half_way_up():
    """A Gaussian burst on a floor is half way up at sqrt(2 ln 2) standard deviations, also across heel strike."""
    centres, half = np.array([0.02, 0.3, 0.62, 0.97]), 0.08 * np.sqrt(np.log(2))
    curves = 0.2 + 0.6 * bump(centres, 0.08, 201)
    onset, offset = burst_phases(curves)
    np.testing.assert_allclose(onset, (centres - half) % 1.0, atol=1e-3)
    np.testing.assert_allclose(offset - onset, 2 * half, atol=1e-3)
    late, long = burst_errors(0.1 + 2 * bump(centres + 0.05, 0.08, 201), curves)
    np.testing.assert_allclose([late, long], 0.05, atol=2e-3)
    flat = np.full((1, 20), 0.3)
    assert np.isnan(burst_errors(flat, bump(0.4))).all()


def test_a_flat_curve_has_no_shape():
    flat, other = np.full((1, 20), 0.3), bump(0.4)
    assert correlations(flat, other) == 0
    assert best_lags(flat, other)[0] == 0
    assert np.isnan(peak_phases(flat)).all()
    assert np.isnan(peak_errors(other, flat)).all()


def test_peaks_lie_between_samples():
    centres = np.random.default_rng(2).uniform(0.08, 0.92, 200)
    # A parabola through samples 5 % apart finds the top of a bump to a tenth of that.
    np.testing.assert_allclose(peak_phases(bump(centres)), centres, atol=0.005)
    # At the ends of the cycle it is the sample.
    assert peak_phases(bump(0.0)).tolist() == [0.0]
    assert peak_phases(bump(0.99)[:, ::-1]).tolist() == [0.0]


def test_peaks_the_shorter_way_round():
    early, late = bump(0.95), bump(0.1)
    assert peak_errors(early, late)[0] == pytest.approx(-0.15, abs=0.01)
    assert peak_errors(late, early)[0] == pytest.approx(0.15, abs=0.01)


@given(st.integers(-9, 9), st.integers(0, 2**32 - 1))
def test_shifting_by_whole_samples_is_rolling(samples, seed):
    curves = np.random.default_rng(seed).random((3, 20))
    curves[:, -1] = curves[:, 0]
    rolled = np.roll(curves[:, :-1], samples, axis=1)
    expected = np.concatenate([rolled, rolled[:, :1]], axis=1)
    np.testing.assert_allclose(shift_cycles(curves, samples / 19), expected, atol=1e-9)


def test_no_shift_changes_nothing():
    curves = np.random.default_rng(3).random((4, 20))
    assert np.array_equal(shift_cycles(curves, 0.0), curves)


@pytest.mark.parametrize("lag", [-0.31, -0.05, 0.0, 0.12, 0.4])
def test_a_lag_is_found(lag):
    emg = bump(0.45, 0.15, 77)
    r, found = best_lags(bump(0.45 - lag, 0.15, 77), emg)
    assert found[0] == pytest.approx(lag, abs=0.0101)
    assert r[0] > 0.999


def test_of_equal_lags_the_nearest():
    assert best_lags(np.full((1, 20), 1.0), bump(0.5))[1] == 0
    assert best_lags(bump(0.5), bump(0.5))[1] == 0


def test_warping():
    signal = np.column_stack([np.sin(2 * np.pi * GRID), GRID])
    fast = warp_cycle(signal, 2.0, 0.25)
    at = (0.25 + 2 * GRID) % 1
    np.testing.assert_allclose(fast, np.column_stack([np.interp(at, GRID, column) for column in signal.T]), atol=1e-12)


def test_determinations_are_scikit_learns():
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(4)
    estimate, emg = rng.random((5, 20)), rng.random((5, 20))
    expected = [r2_score(y, x) for x, y in zip(estimate, emg, strict=True)]
    np.testing.assert_allclose(determinations(estimate, emg), expected)
    assert np.isnan(determinations(estimate[:1], np.full((1, 20), 0.3))).all()
