"""Resampling onto cycles and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator, make_interp_spline

from opensim_nem2e.errors import CycleError, StorageError
from opensim_nem2e.signals.resample import from_window, interpolate, pchip, spline, to_window


def cmc_time(duration: float = 1.3, start: float = 0.63, seed: int = 0) -> np.ndarray:
    """Return a time base like the one that OpenSim's CMC writes: steps from 6e-8 to 2.7e-3 s."""
    rng = np.random.default_rng(seed)
    steps = 10 ** rng.uniform(np.log10(6e-8), np.log10(2.7e-3), size=20000)
    time = start + np.concatenate([[0.0], np.cumsum(steps)])
    return time[time <= start + duration]


def test_cmc_like_time_is_what_it_says():
    steps = np.diff(cmc_time())
    assert steps.min() < 1e-7
    assert 2.5e-3 < steps.max() <= 2.7e-3


@pytest.mark.parametrize("roll", [None, 0.95])
def test_linear_signal_is_exact(roll):
    time = cmc_time()
    values = np.stack([2.0 * time - 1.0, np.full_like(time, 0.3), -5.0 * time], axis=1)
    window = to_window(time, values, 0.7, 1.7, samples=20, roll_to=roll)
    points = np.linspace(0.7, 1.7, 20) if roll is None else 0.7 + (0.25 + np.linspace(0, 1, 20)) % 1.0
    expected = np.stack([2.0 * points - 1.0, np.full(20, 0.3), -5.0 * points], axis=1)
    np.testing.assert_allclose(window, expected, rtol=0, atol=1e-11)
    if roll is None:
        back = from_window(window, 0.7, 1.7, time[(time >= 0.7) & (time <= 1.7)])
        inside = values[(time >= 0.7) & (time <= 1.7)]
        np.testing.assert_allclose(back, inside, rtol=0, atol=1e-11)


def test_samples_are_phases_with_both_ends():
    time = np.linspace(0.0, 2.0, 4001)
    window = to_window(time, time, 0.5, 1.5, samples=20)
    assert window.shape == (20, 1)
    assert window[0, 0] == 0.5
    assert window[-1, 0] == 1.5
    np.testing.assert_allclose(np.diff(window[:, 0]), 1.0 / 19.0, atol=1e-12)


def test_rolled_window_starts_and_ends_at_the_heel_strike():
    time = np.linspace(0.0, 1.0, 1001)
    values = np.sin(2 * np.pi * time)
    window = to_window(time, values, 0.0, 1.0, samples=20, roll_to=0.3)
    phase = np.linspace(0, 1, 20)
    np.testing.assert_allclose(window[:, 0], np.sin(2 * np.pi * (phase + 0.3)), atol=2e-5)
    assert window[0, 0] == pytest.approx(window[-1, 0], abs=1e-12)


@pytest.mark.parametrize("where", [0.0, 1.0])
def test_roll_to_an_end_changes_nothing_but_the_seam(where):
    rng = np.random.default_rng(1)
    time = np.linspace(0.0, 1.0, 201)
    values = rng.random((201, 3))
    plain = to_window(time, values, 0.0, 1.0, 20)
    rolled = to_window(time, values, 0.0, 1.0, 20, roll_to=where)
    seam = slice(0, 19) if where == 0.0 else slice(1, 20)
    np.testing.assert_allclose(rolled[seam], plain[seam], atol=1e-10)


@pytest.mark.parametrize("samples", [20, 21])
def test_from_window_rolled_is_the_inverse_of_to_window_rolled(samples):
    # The rolled samples fall between those of the plain window; the curve through them must come back to the right
    # times. A monotone curve cannot rise above its samples, so an extremum midway between two of them is cut by up
    # to h^2/8 max|f''| = (2 pi/19)^2/8 = 1.37e-2 (measured 1.25e-2); half a sample of misplacement would cost 0.16.
    time = np.linspace(0.2, 1.4, 2401)
    values = np.stack([np.sin(2 * np.pi * (time - 0.2) / 1.2), np.cos(2 * np.pi * (time - 0.2) / 1.2)], axis=1)
    window = to_window(time, values, 0.2, 1.4, samples, roll_to=0.55)
    back = from_window(window, 0.2, 1.4, time, roll_to=0.55)
    assert np.abs(back - values).max() < 1.4e-2


@pytest.mark.parametrize(("method", "rms_bound"), [("pchip", 5e-3), ("linear", 9e-3)])
def test_round_trip_error_of_a_smooth_activation(method, rms_bound):
    # 20 samples of a curve of amplitude 0.25 with two waves per window. Both methods cut an extremum midway between
    # samples by at most h^2/8 max|f''| = 0.25 (4 pi/19)^2/8 = 1.37e-2; elsewhere the cubic is far better (measured
    # root mean square 3.5e-3 against 6.9e-3).
    time = cmc_time()
    values = 0.5 + 0.25 * np.sin(4 * np.pi * (time - 0.65))
    inside = (time >= 0.65) & (time <= 1.65)
    window = to_window(time, values, 0.65, 1.65)
    back = from_window(window, 0.65, 1.65, time[inside], method=method)
    error = back[:, 0] - values[inside]
    assert np.abs(error).max() < 1.4e-2
    assert np.sqrt(np.mean(error**2)) < rms_bound


def test_samples_come_back_exactly():
    rng = np.random.default_rng(2)
    window = rng.random((20, 4))
    for method in ("pchip", "linear"):
        back = from_window(window, 3.0, 4.0, np.linspace(3.0, 4.0, 20), method=method)
        np.testing.assert_allclose(back, window, atol=1e-12)
        assert np.array_equal(back[[0, -1]], window[[0, -1]])


def test_interpolate_at_a_row_is_that_row_bit_for_bit():
    time = cmc_time()
    values = np.random.default_rng(3).random((time.size, 5))
    assert np.array_equal(interpolate(time, values, time), values)
    constant = interpolate(time, np.full((time.size, 1), 0.6), np.linspace(0.5, 2.0, 999))
    assert np.all(constant == 0.6)
    for column in range(5):
        points = np.linspace(time[0] - 0.1, time[-1] + 0.1, 777)
        np.testing.assert_allclose(
            interpolate(time, values, points)[:, column], np.interp(points, time, values[:, column]), atol=1e-9
        )


@given(
    data=st.data(),
    n=st.integers(2, 30),
    columns=st.integers(1, 4),
)
@settings(deadline=None, max_examples=150)
def test_pchip_equals_scipy(data, n, columns):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.05, 3.0, n))
    # Rounded values give plateaus and ties, where the shape limiters decide.
    y = np.round(rng.uniform(-1.0, 1.0, (n, columns)), data.draw(st.integers(0, 3)))
    at = np.concatenate([x, rng.uniform(x[0], x[-1], 50)])
    mine = pchip(x, y, at)
    np.testing.assert_allclose(mine, PchipInterpolator(x, y, axis=0)(at), rtol=0, atol=1e-12)
    assert mine.min() >= y.min()
    assert mine.max() <= y.max()


@pytest.mark.parametrize("samples", [2, 4, 6, 7, 96, 97, 193, 1000])
def test_spline_equals_scipy(samples):
    rng = np.random.default_rng(samples)
    x = np.cumsum(rng.uniform(1e-3, 1e-2, samples))
    y = np.sin(x[:, np.newaxis] * [3.0, 50.0]) + rng.normal(scale=0.01, size=(samples, 2))
    at = np.linspace(x[0], x[-1], 3 * samples)
    expected = make_interp_spline(x, y, k=min(5, samples - 1))(at)
    np.testing.assert_allclose(spline(x, y, at), expected, atol=1e-13)


def test_a_vector_in_gives_a_vector_out_of_pchip():
    assert pchip([0.0, 1.0, 2.0], [0.0, 1.0, 0.0], [0.5, 1.0]).shape == (2,)
    assert from_window([0.0, 1.0, 0.0], 0.0, 1.0, [0.5]).shape == (1, 1)


def test_leaving_the_data():
    time = np.linspace(0.03, 1.0, 98)
    # Half a window step of a 1 s cycle with 20 samples is 0.0263 s.
    to_window(time, time, 0.01, 1.01)
    with pytest.raises(CycleError, match=r"0\.0300 to 1\.0000"):
        to_window(time, time, 0.0, 1.0)
    with pytest.raises(CycleError, match="must lie inside the data"):
        to_window(time, time, 0.1, 1.1)
    held = to_window(time, time, 0.0, 1.0, tolerance=0.05)
    assert held[0, 0] == 0.03


def test_bad_input_is_named():
    time = np.linspace(0.0, 1.0, 11)
    with pytest.raises(CycleError, match="end after it starts"):
        to_window(time, time, 0.5, 0.5)
    with pytest.raises(CycleError, match="end after it starts"):
        to_window(time, time, float("nan"), 0.5)
    with pytest.raises(CycleError, match="at least 2 samples"):
        to_window(time, time, 0.0, 0.5, samples=1)
    with pytest.raises(CycleError, match="heel strike must lie inside"):
        to_window(time, time, 0.0, 0.5, roll_to=0.6)
    with pytest.raises(CycleError, match="inside the cycle"):
        from_window(np.zeros((20, 1)), 0.0, 1.0, [1.1])
    with pytest.raises(CycleError, match="heel strike must lie inside"):
        from_window(np.zeros((20, 1)), 0.0, 1.0, [0.1], roll_to=2.0)
    with pytest.raises(ValueError, match="'pchip' or 'linear'"):
        from_window(np.zeros((20, 1)), 0.0, 1.0, [0.1], method="cubic")
    with pytest.raises(StorageError, match=r"increase strictly.*row 3"):
        to_window([0.0, 1.0, 1.0, 2.0], np.zeros(4), 0.0, 2.0)
    with pytest.raises(StorageError, match="one entry per row"):
        to_window([0.0, 1.0, 2.0], np.zeros((4, 2)), 0.0, 2.0)
