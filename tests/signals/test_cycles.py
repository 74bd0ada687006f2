"""Cycles, their windows, and stitching them back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import CycleError, StorageError
from opensim_nem2e.signals.cycles import (
    Cycle,
    cycles_from_strikes,
    fade_outside,
    stitch,
    whole_file_cycles,
    windows,
)
from opensim_nem2e.signals.resample import from_window


def uneven_time(start: float, end: float, seed: int, step: float = 2e-4) -> np.ndarray:
    """Return an uneven time base with both ends in it and no step longer than ``step``."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.0, 1.0, int((end - start) / step * 2)) + 1e-5
    time = np.concatenate([[0.0], np.cumsum(steps)])
    return start + (end - start) * time / time[-1]


def steepest(window: np.ndarray, duration: float) -> float:
    """Return the steepest slope that a monotone cubic through the window can have (three times a secant)."""
    return 3.0 * np.abs(np.diff(window, axis=0)).max() * (window.shape[0] - 1) / duration


# --- building -----------------------------------------------------------------------------------------------------


def test_cycles_between_strikes_and_why_the_others_are_not():
    strikes = [0.2, 1.3, 1.5, 2.6, 5.6, 6.7, 7.8]
    cycles, rejected = cycles_from_strikes(strikes, "r", 0.25, 7.0)
    assert cycles == [Cycle("r", 1.5, 2.6), Cycle("r", 5.6, 6.7)]
    reasons = {(r.start, r.end): r.reason for r in rejected}
    assert "not complete" in reasons[0.2, 1.3]
    assert "less than 0.4 s" in reasons[1.3, 1.5]
    assert "more than 2.5 s" in reasons[2.6, 5.6]
    assert "within 0.2500 to 7.0000 s" in reasons[6.7, 7.8]
    assert all(r.side == "r" for r in rejected)
    # What a simulation holds a part of is no fault, and the reason names the data's own range.
    assert {(r.start, r.end) for r in rejected if r.incomplete} == {(0.2, 1.3), (6.7, 7.8)}
    _, (last,) = cycles_from_strikes(strikes[-2:], "r", 0.21, 7.04, data_range=(0.25, 7.0))
    assert "within 0.2500 to 7.0000 s" in last.reason


def test_a_cycle_unlike_the_others_began_with_a_wrong_contact():
    # One strike 0.3 s early, one missing: both neighbours of the first, and the double stride, are left out.
    strikes = [0.0, 1.1, 1.9, 3.3, 4.4, 5.5, 6.6, 8.8, 9.9]
    cycles, rejected = cycles_from_strikes(strikes, "r", 0.0, 10.0)
    assert [(c.start, c.end) for c in cycles] == [(0.0, 1.1), (3.3, 4.4), (4.4, 5.5), (5.5, 6.6), (8.8, 9.9)]
    assert all("usually 1.100 s" in r.reason for r in rejected)
    # The median is that of the whole recording, even if the simulation covers one stride of it.
    assert cycles_from_strikes(strikes, "r", 1.0, 2.0)[0] == []
    # Too few to say what is usual; or told not to look.
    assert len(cycles_from_strikes(strikes[:4], "r", 0.0, 10.0)[0]) == 3
    assert len(cycles_from_strikes(strikes, "r", 0.0, 10.0, max_deviation=np.inf)[0]) == 8


def test_a_tolerance_forgives_the_start_that_cmc_leaves_out():
    assert cycles_from_strikes([0.6, 1.7], "l", 0.63, 1.695)[0] == []
    assert cycles_from_strikes([0.6, 1.7], "l", 0.63, 1.695, tolerance=0.031)[0] == [Cycle("l", 0.6, 1.7)]


def test_pairs_that_do_not_touch_the_data_are_not_mentioned():
    assert cycles_from_strikes([1.0, 2.0, 3.0, 4.0], "r", 2.0, 3.0) == ([Cycle("r", 2.0, 3.0)], [])
    assert cycles_from_strikes([], "r", 0.0, 1.0) == ([], [])


def test_whole_file_rolls_the_other_limb_by_half():
    both = whole_file_cycles(0.5, 1.7)
    assert both["r"] == Cycle("r", 0.5, 1.7, 0.0)
    assert both["l"] == Cycle("l", 0.5, 1.7, 0.5)
    assert both["l"].heel_strike == pytest.approx(1.1)
    assert both["r"].roll_to is None
    assert whole_file_cycles(0.5, 1.7, "l")["l"].roll == 0.0
    late = whole_file_cycles(0.0, 1.0, "l", heel_strike=0.7)
    assert late["l"].roll == pytest.approx(0.7)
    assert late["r"].roll == pytest.approx(0.2)
    # A heel strike at the very end is the one at the start, a period later.
    assert whole_file_cycles(0.0, 1.0, "r", heel_strike=1.0)["r"].roll == 0.0


def test_what_is_wrong_is_named():
    with pytest.raises(CycleError, match="'r' or 'l', found 'right'"):
        Cycle("right", 0.0, 1.0)
    with pytest.raises(CycleError, match="end after it starts"):
        Cycle("r", 1.0, 1.0)
    with pytest.raises(CycleError, match=r"less than 1, found 1\.0"):
        Cycle("r", 0.0, 1.0, 1.0)
    with pytest.raises(CycleError, match="must increase"):
        cycles_from_strikes([1.0, 1.0], "r", 0.0, 2.0)
    with pytest.raises(CycleError, match="heel strike must lie inside"):
        whole_file_cycles(0.0, 1.0, heel_strike=1.5)

    time, zeros = np.linspace(0, 3, 301), np.zeros((301, 1))
    two = [Cycle("r", 0.0, 1.0), Cycle("r", 0.9, 2.0)]
    with pytest.raises(CycleError, match=r"must not overlap.*0\.9000\.\.2\.0000"):
        stitch(time, zeros, two, [zeros[:20]] * 2)
    with pytest.raises(CycleError, match="of one limb"):
        stitch(time, zeros, [Cycle("r", 0.0, 1.0), Cycle("l", 1.0, 2.0)], [zeros[:20]] * 2)
    with pytest.raises(CycleError, match="2 cycles and 1 windows"):
        stitch(time, zeros, [Cycle("r", 0.0, 1.0), Cycle("r", 1.0, 2.0)], [zeros[:20]])
    with pytest.raises(CycleError, match="must have 1 columns"):
        stitch(time, zeros, two[:1], [np.zeros((20, 2))])
    with pytest.raises(CycleError, match="must not be negative"):
        stitch(time, zeros, two[:1], [zeros[:20]], crossfade=-0.1)
    with pytest.raises(StorageError, match="one entry per row"):
        stitch(time[:5], zeros, two[:1], [zeros[:20]])


# --- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roll", [0.0, 0.5, 0.123])
def test_sample_k_is_phase_k(roll):
    # A signal that tells the time it was taken at (as a point on the unit circle, periodic over the cycle).
    cycle = Cycle("r", 0.4, 1.6, roll)
    time = np.linspace(0.4, 1.6, 24001)
    angle = 2 * np.pi * (time - 0.4) / 1.2
    window = cycle.window(time, np.stack([np.cos(angle), np.sin(angle)], axis=1))
    phase = np.unwrap(np.arctan2(window[:, 1], window[:, 0])) / (2 * np.pi)
    expected = roll + np.arange(20) / 19.0
    np.testing.assert_allclose(phase - phase[0], expected - expected[0], atol=1e-6)
    assert (phase[0] - roll + 0.5) % 1.0 - 0.5 == pytest.approx(0.0, abs=1e-6)


def test_many_cycles_at_once_are_what_each_is_alone():
    time = np.linspace(0.0, 10.0, 1001)
    values = np.random.default_rng(4).normal(size=(time.size, 3))
    cycles = [Cycle("r", 1.003, 2.0), Cycle("l", 1.5, 2.517, 0.4), Cycle("r", 2.0, 3.1), Cycle("r", 9.2, 10.02)]
    together = windows(cycles, time, values, 33, tolerance=0.05)
    for cycle, window in zip(cycles, together, strict=True):
        np.testing.assert_array_equal(window, cycle.window(time, values, 33, tolerance=0.05))
    assert windows([], time, values).shape == (0, 20, 3)
    # What follows a cycle is not asked for.
    values[time > 2.0] = np.nan
    np.testing.assert_array_equal(windows(cycles[:1], time, values, 33)[0], together[0])
    with pytest.raises(CycleError, match=r"9\.2000\.\.10\.0200 s must lie inside the data"):
        windows(cycles, time, values, 33, tolerance=0.0)


def test_refined_windows_may_differ_in_their_samples():
    time = np.linspace(0.0, 3.0, 301)
    cycles = [Cycle("r", 0.5, 1.5), Cycle("r", 1.5, 2.5)]
    curves = [np.linspace(0.0, 1.0, 20), np.linspace(1.0, 0.0, 33)]
    values, refined = stitch(time, np.zeros(time.size), cycles, curves, method="linear")
    np.testing.assert_allclose(values[refined], np.interp(time[refined], [0.5, 1.5, 2.5], [0.0, 1.0, 0.0]), atol=1e-12)


def test_half_a_cycle_is_not_a_whole_number_of_samples():
    # 20 samples have 19 steps: rolling the array by 10 would be wrong by half a step, which is why times are rolled.
    time = np.linspace(0.0, 1.0, 10001)
    values = np.sin(2 * np.pi * time)
    own, other = (whole_file_cycles(0.0, 1.0)[side].window(time, values) for side in "rl")
    np.testing.assert_allclose(other, -own, atol=1e-6)
    assert np.abs(np.roll(own, 10) - other).max() > 0.1


# --- stitching ----------------------------------------------------------------------------------------------------


@st.composite
def scenes(draw):
    """Draw a file, cycles of one limb (with or without gaps, or one rolled cycle) and refined windows."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    columns = draw(st.integers(1, 3))
    before, after = draw(st.sampled_from([0.0, 0.2])), draw(st.sampled_from([0.0, 0.3]))
    cycles, at = [], before
    rolled = draw(st.booleans())
    for _ in range(1 if rolled else draw(st.integers(1, 4))):
        duration = rng.uniform(0.4, 1.4)
        cycles.append(Cycle("r", at, at + duration, float(rng.uniform(0.0, 0.999)) if rolled else 0.0))
        at = cycles[-1].end + (0.15 if draw(st.booleans()) else 0.0)
    time = uneven_time(0.0, cycles[-1].end + after, seed)
    # Pin the cycles' ends into the time base now and then: rows on a boundary are the delicate ones.
    if draw(st.booleans()):
        time = np.unique(np.concatenate([time, [c.start for c in cycles], [c.end for c in cycles]]))
    frequency = rng.uniform(0.5, 3.0, columns)
    original = 0.5 + 0.45 * np.sin(2 * np.pi * (np.outer(time, frequency) + rng.random(columns)))
    samples = draw(st.sampled_from([2, 20, 77]))
    windows = [np.cumsum(rng.normal(0, 0.02, (samples, columns)), axis=0) + rng.random(columns) for _ in cycles]
    crossfade = draw(st.sampled_from([0.01, 0.05, 0.4]))
    return time, original, cycles, windows, crossfade


@given(scene=scenes())
@settings(deadline=None, max_examples=120)
def test_stitching_keeps_its_promises(scene):
    time, original, cycles, windows, crossfade = scene
    values, refined = stitch(time, original, cycles, windows, crossfade)
    assert values.shape == original.shape

    # 1. Rows outside keep the original, bit for bit.
    inside = np.zeros(time.size, dtype=bool)
    for cycle in cycles:
        inside |= (time >= cycle.start) & (time <= cycle.end)
    assert np.array_equal(refined, inside)
    assert np.array_equal(values[~inside], original[~inside])

    # 2. Away from blends the result is exactly the refined curve.
    for cycle, window in zip(cycles, windows, strict=True):
        # Every neighbour's blend is at most this long, because no blend is longer than a quarter of its shorter cycle.
        reach = 0.5 * min(crossfade, cycle.duration / 4.0) * (1.0 + 1e-9)
        rows = (time > cycle.start + reach) & (time < cycle.end - reach)
        if cycle.roll:
            rows &= np.abs(time - cycle.heel_strike) > reach
        curve = from_window(window, cycle.start, cycle.end, time[rows], roll_to=cycle.roll_to)
        assert np.array_equal(values[rows], curve)

    # 3. Beside the cycles the refined curve fades into the original; nothing else changes.
    ends = [fade_outside(time, values[:, k], original[:, k], refined, crossfade) for k in range(values.shape[1])]
    faded = np.stack([rows for _, rows in ends], axis=1)
    near = np.min([np.maximum(c.start - time, time - c.end) for c in cycles], axis=0) < crossfade + 1e-3
    assert np.array_equal(values[refined], np.stack([curve for curve, _ in ends], axis=1)[refined])
    values = np.stack([curve for curve, _ in ends], axis=1)
    assert not faded[refined | ~near].any()
    assert np.array_equal(values[~near], original[~near])

    # 4. Nothing leaves the range of what is blended.
    low = np.minimum(original.min(axis=0), np.min([w.min(axis=0) for w in windows], axis=0))
    high = np.maximum(original.max(axis=0), np.max([w.max(axis=0) for w in windows], axis=0))
    assert np.all(values >= low - 1e-12)
    assert np.all(values <= high + 1e-12)

    # 5. No jump anywhere: between rows at most 0.4 ms apart the curve cannot move faster than its steepest parts
    # (refined curves, original, and blends: 1.5 / length times what they bridge; their sum where they meet).
    shortest = min(min(crossfade, cycle.duration / 4.0, 0.5 * 0.15) for cycle in cycles)
    slope = max(steepest(w, c.duration) for c, w in zip(cycles, windows, strict=True))
    slope += 3.0 * 2 * np.pi * 0.45 + 3 * 1.5 * (high - low).max() / shortest
    assert np.all(np.abs(np.diff(values, axis=0)) <= slope * np.diff(time)[:, np.newaxis] + 1e-9)


def test_curves_that_agree_are_not_touched_at_their_boundary():
    time = uneven_time(0.0, 2.0, seed=1)
    phase = np.linspace(0.0, 1.0, 20)
    window = (0.5 + 0.3 * np.sin(2 * np.pi * phase))[:, np.newaxis]
    cycles = [Cycle("r", 0.0, 0.9), Cycle("r", 0.9, 2.0)]
    values, refined = stitch(time, np.zeros((time.size, 1)), cycles, [window, window])
    assert refined.all()
    for cycle in cycles:
        rows = (time > cycle.start) & (time < cycle.end)
        np.testing.assert_allclose(values[rows], from_window(window, cycle.start, cycle.end, time[rows]), atol=1e-12)


def test_no_fade_where_nothing_outside_is_kept():
    time = uneven_time(0.3, 1.5, seed=2)
    window = np.random.default_rng(0).random((20, 2))
    original = np.full((time.size, 2), 9.0)
    values, refined = stitch(time, original, [Cycle("l", 0.3, 1.5)], [window])
    assert refined.all()
    assert np.array_equal(values, from_window(window, 0.3, 1.5, time))


def test_the_fade_lies_outside_the_cycle():
    time = np.linspace(0.0, 1.0, 1001)
    inside = (time >= 0.2) & (time <= 0.5) | (time >= 0.56) & (time <= 0.9)
    values, faded = fade_outside(time, np.where(inside, 0.7, 0.1), np.full(1001, 0.1), inside, 0.05)
    assert np.array_equal(values[inside], np.full(inside.sum(), 0.7))
    # Held and faded by a cubic: half of the way after half of the time; in the gap of 0.06 s over 0.03 s each.
    for at, share in ((0.2 - 0.025, 0.5), (0.9 + 0.025, 0.5), (0.5 + 0.015, 0.5), (0.53, 0.0), (0.149, 0.0)):
        assert values[np.searchsorted(time, at - 1e-9)] == pytest.approx(0.1 + 0.6 * share, abs=1e-12)
    assert np.array_equal(faded, (values != 0.1) & ~inside)
    # At the file's ends and without a fade nothing happens.
    for rows, length in ((np.ones(1001, dtype=bool), 0.05), (inside, 0.0), (~inside & False, 0.05)):
        same, none = fade_outside(time, values, np.zeros(1001), rows, length)
        assert np.array_equal(same, values)
        assert not none.any()


def test_a_disagreement_of_neighbours_is_split_in_the_middle():
    time = np.linspace(0.0, 2.0, 4001)
    cycles = [Cycle("r", 0.0, 1.0), Cycle("r", 1.0, 2.0)]
    values, _ = stitch(time, np.zeros(4001), cycles, [np.full((20, 1), 0.2), np.full((20, 1), 0.4)])
    assert values.shape == (4001,)
    assert values[2000] == pytest.approx(0.3)
    assert values[time < 0.975 - 1e-9] == pytest.approx(0.2, abs=0)
    assert values[time > 1.025 + 1e-9] == pytest.approx(0.4, abs=0)
    assert np.all(np.diff(values) >= 0.0)


def test_the_seam_inside_a_rolled_cycle_is_blended():
    time = np.linspace(0.0, 1.0, 5001)
    cycle = whole_file_cycles(0.0, 1.0)["l"]
    window = np.linspace(0.2, 0.6, 20)[:, np.newaxis]
    bare, _ = stitch(time, np.zeros((5001, 1)), [cycle], [window], crossfade=0.0)
    values, _ = stitch(time, np.zeros((5001, 1)), [cycle], [window])
    assert np.abs(np.diff(bare, axis=0)).max() == pytest.approx(0.4, abs=1e-3)
    assert np.abs(np.diff(values, axis=0)).max() < 3e-3
    assert np.array_equal(values[[0, -1]], bare[[0, -1]])


def test_times_typed_with_three_decimals_share_a_strike():
    time = np.linspace(0.0, 2.0, 20001)
    windows = [np.full((20, 1), 0.2), np.full((20, 1), 0.4)]
    for end, start in ((1.0, 1.0008), (1.0008, 1.0)):
        cycles = [Cycle("r", 0.0, end), Cycle("r", start, 2.0)]
        values, refined = stitch(time, np.ones((20001, 1)), cycles, windows)
        assert refined.all()
        assert np.abs(np.diff(values, axis=0)).max() < 1.1 * 1.5 / 0.05 * 0.2 * 1e-4


def test_no_cycle_changes_nothing():
    time = np.linspace(0.0, 1.0, 11)
    original = np.random.default_rng(0).random((11, 2))
    values, refined = stitch(time, original, [], [])
    assert np.array_equal(values, original)
    assert not refined.any()
    assert values is not original


def test_round_trip_through_the_network_window_changes_a_smooth_activation_little():
    # Without any refinement: what 20 samples lose of an envelope up to 4 Hz (measured rms 5e-3, at extrema 2e-2).
    time = uneven_time(0.0, 2.3, seed=3)
    original = (0.4 + 0.2 * np.sin(2 * np.pi * 1.0 * time) + 0.1 * np.cos(2 * np.pi * 4.0 * time))[:, np.newaxis]
    cycles = [Cycle("r", 0.1, 1.15), Cycle("r", 1.15, 2.2)]
    values, refined = stitch(time, original, cycles, [cycle.window(time, original) for cycle in cycles])
    assert np.sqrt(np.mean((values - original)[refined] ** 2)) < 1e-2
    assert np.array_equal(values[~refined], original[~refined])
