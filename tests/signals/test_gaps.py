"""Where a recording has gaps."""

from __future__ import annotations

import numpy as np

from opensim_nem2e.signals.gaps import channel_gaps, gaps, gaps_in_words, inside_gaps, overlaps

TIME = np.arange(100) / 100.0


def test_missing_rows_and_values():
    values = np.ones(100)
    assert not len(channel_gaps(TIME, values))
    values[[0, 20, 21, 99]] = np.nan
    found = channel_gaps(np.delete(TIME, slice(50, 60)), np.delete(values, slice(50, 60)))
    assert found.tolist() == [[-np.inf, 0.01], [0.19, 0.22], [0.49, 0.6], [0.98, np.inf]]
    assert gaps_in_words(found) == "before 0.010 s, 0.190 to 0.220 s, 0.490 to 0.600 s and 1 more"
    assert inside_gaps(found, [0.0, 0.01, 0.2, 0.22, 0.5, 0.6, 0.99]).tolist() == [True, False] * 3 + [True]
    assert overlaps(found, 0.0, 0.1)
    assert not overlaps(found, 0.22, 0.49)
    assert overlaps(found, 0.3, 0.5)
    assert gaps_in_words(channel_gaps(TIME, np.full(100, np.nan))) == "throughout"


def test_a_few_steps_or_a_slow_rate_are_no_gap():
    # 0.04 s at 100 Hz; and 5 Hz throughout.
    assert not len(gaps(np.delete(TIME, [10, 11, 12])))
    assert not len(gaps(np.arange(10) / 5.0))
    assert not len(gaps([0.0]))
