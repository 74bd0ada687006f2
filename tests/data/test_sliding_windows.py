"""Sliding windows are cut in seconds, from signals on time bases of their own."""

from __future__ import annotations

import numpy as np
import pytest
from cycle_maker import make_record

from opensim_nem2e.data.sliding_windows import Signal, SlidingWindows, cut_windows, join_samples
from opensim_nem2e.errors import TrainingError


def line(rate, start=0.0, end=2.0, names=("a", "b")):
    """Signals that linear interpolation gives exactly: straight lines in time."""
    time = start + np.arange(round((end - start) * rate) + 1) / rate
    return Signal(time, np.stack([k + (k + 1) * time for k in range(len(names))], axis=1), names)


def record(start=0.0, end=2.0, **how):
    return make_record("s", 2, start=start, end=end, **how)


def test_windows_are_seconds_not_rows():
    """Two sampling rates give the same windows."""
    how = SlidingWindows(width=0.4, stride=0.1, samples=9)
    slow, fast = (cut_windows(record(), how, {"angles": line(rate)}) for rate in (100, 1000))
    assert len(slow) == len(fast) == 17
    np.testing.assert_allclose(slow.time, fast.time, atol=1e-12)
    np.testing.assert_allclose(slow.inputs["angles"], fast.inputs["angles"], atol=1e-12)
    np.testing.assert_allclose(slow.time[3], 0.3 + np.linspace(0, 0.4, 9), atol=1e-12)
    np.testing.assert_allclose(slow.channel("angles", "b"), 1 + 2 * slow.time, atol=1e-12)


@pytest.mark.parametrize(
    ("end", "count"),
    [(0.39, 0), (0.4, 1), (0.49, 1), (0.5, 2), (0.7, 4), (1.0, 7)],
)
def test_ends(end, count):
    """A window lies wholly inside; one that fits exactly is not lost to rounding."""
    how = SlidingWindows(width=0.4, stride=0.1)
    starts = how.starts(0.0, end)
    np.testing.assert_allclose(starts, 0.1 * np.arange(count), atol=1e-12)
    # The same anywhere on the clock.
    assert len(how.starts(1234.5, 1234.5 + end)) == count


def test_only_where_everything_was_recorded():
    how = SlidingWindows(width=0.2, stride=0.1, samples=5)
    found = cut_windows(
        record(0.1, 1.9),
        how,
        {"angles": line(200, 0.0, 1.5)},
        {"emg": line(1000, 0.25, 2.0, ("soleus",))},
        {"arms": line(50, 0.0, 2.0, ("knee",))},
    )
    assert found.time.min() == pytest.approx(0.25)
    assert 1.4 < found.time.max() <= 1.5
    assert len(found) == 11
    assert found.channels == {"angles": ("a", "b"), "emg": ("soleus",), "arms": ("knee",)}
    np.testing.assert_allclose(found.channel("emg", "soleus"), found.time, atol=1e-12)
    np.testing.assert_allclose(found.channel("arms", "knee"), found.time, atol=1e-12)
    assert set(found.records) == {record(0.1, 1.9)}


def test_too_short_gives_none():
    found = cut_windows(record(0.0, 0.3), SlidingWindows(0.4, 0.1, 6), {"angles": line(100)})
    assert len(found) == 0
    assert found.inputs["angles"].shape == (0, 6, 2)
    # Signals that do not overlap at all.
    apart = {"one": line(100, 0.0, 0.5), "two": line(100, 1.0, 1.5)}
    assert len(cut_windows(record(), SlidingWindows(0.1, 0.1, 6), apart)) == 0


def test_nothing_to_cut():
    with pytest.raises(TrainingError, match=r"lab/s/walk/2 .*no signal"):
        cut_windows(record(), SlidingWindows(0.4, 0.1), {})


@pytest.mark.parametrize(
    "wrong", [(0.0, 0.1, 20), (0.4, -0.1, 20), (0.4, 0.1, 1), (np.inf, 0.1, 20), (0.4, np.nan, 20)]
)
def test_lengths_are_checked(wrong):
    with pytest.raises(ValueError, match="positive width and stride"):
        SlidingWindows(*wrong)


def test_trials_are_joined_and_missing_channels_are_nan():
    how = SlidingWindows(0.4, 0.4, 5)
    one = cut_windows(record(), how, {"angles": line(100)}, {"emg": line(100, names=("soleus", "tib"))})
    two = cut_windows(record(trial="run"), how, {"angles": line(200)}, {"emg": line(200, names=("bi", "soleus"))})
    both = join_samples([one, two])
    assert len(both) == len(one) + len(two) == 10
    assert both.channels == {"angles": ("a", "b"), "emg": ("soleus", "tib", "bi")}
    assert list(dict.fromkeys(both.trials)) == ["lab/s/walk", "lab/s/run"]
    np.testing.assert_array_equal(both.channel("emg", "soleus")[:5], one.channel("emg", "soleus"))
    np.testing.assert_array_equal(both.channel("emg", "soleus")[5:], two.channel("emg", "soleus"))
    assert np.isnan(both.channel("emg", "bi")[:5]).all()
    assert np.isnan(both.channel("emg", "tib")[5:]).all()
    np.testing.assert_array_equal(both.inputs["angles"], np.concatenate([one.inputs["angles"], two.inputs["angles"]]))


def test_what_does_not_fit_is_not_joined():
    how = SlidingWindows(0.4, 0.4, 5)
    one = cut_windows(record(), how, {"angles": line(100)})
    other = cut_windows(record(trial="run"), how, {"angles": line(100)}, {"emg": line(100)})
    with pytest.raises(TrainingError, match=r"of lab/s/run/2 .*do not fit the others: they have angles, emg of 5 rows"):
        join_samples([one, other])
    longer = cut_windows(record(), SlidingWindows(0.4, 0.4, 6), {"angles": line(100)})
    with pytest.raises(TrainingError, match="of 6 rows, the others angles of 5"):
        join_samples([one, longer])
    with pytest.raises(TrainingError, match="no samples to put together"):
        join_samples([])
