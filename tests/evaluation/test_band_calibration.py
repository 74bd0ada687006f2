"""Bands: how wide they must be, whom they are judged by, and what a bundle keeps of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.evaluation.band_calibration import LeftOut, calibrate_bands, coverage, left_out_coverage
from opensim_nem2e.methods.bands import Bands
from opensim_nem2e.methods.base import Prediction

PHASE = np.linspace(0.0, 1.0, 20)
#: How far EMG is from the estimate (standard deviation): twice as far in stance, and twice as far for tib.
SPREAD = {"soleus": 0.05 + 0.05 * (PHASE < 0.6), "tib": 0.1 + 0.1 * (PHASE < 0.6)}


def made(subjects, *, seed=0, cycles=6, larger=None, laboratories=2):
    """Make estimates of 0.5 with normal residuals; ``larger`` is by what a subject's are multiplied."""
    random = np.random.default_rng(seed)
    items = []
    for k in range(subjects):
        for target, spread in SPREAD.items():
            noise = random.normal(size=(cycles, 20)) * spread * (larger or {}).get(k, 1.0)
            items.append(LeftOut(target, f"s{k}", f"lab{k % laboratories}", np.full((cycles, 20), 0.5), 0.5 + noise))
    return items


def test_bands_of_many_subjects_hold_their_share_of_others():
    bands = calibrate_bands(made(40), SPREAD)
    assert (bands.rule, bands.subjects) == ("all subjects", 40)
    share, width = coverage(bands, made(200, seed=1))
    assert share == pytest.approx(0.9, abs=0.01)
    # Normal residuals: 90 % lie within 1.645 standard deviations.
    assert width == pytest.approx(2 * 1.645 * np.mean(list(SPREAD.values())), rel=0.08)


def test_bands_are_wider_where_and_for_whom_residuals_are_larger():
    bands = calibrate_bands(made(40), SPREAD)
    soleus, tib = (bands.half_widths[name] for name in SPREAD)
    assert soleus[5] == pytest.approx(2 * soleus[16], rel=0.15)
    assert (tib > 1.5 * soleus).all()
    assert soleus[0] == soleus[-1]


def test_with_few_subjects_the_worst_of_them_counts():
    few = made(8, larger={3: 3.0})
    bands = calibrate_bands(few, SPREAD)
    assert bands.rule == "worst subject"
    shares = {k: coverage(bands, [item for item in few if item.subject == f"s{k}"])[0] for k in range(8)}
    assert min(shares, key=shares.get) == 3
    assert shares[3] == pytest.approx(0.9, abs=0.03)
    # With everybody alike, the same rule costs little.
    assert calibrate_bands(made(8), SPREAD).factor < 0.75 * bands.factor


def test_a_muscle_of_few_subjects_leans_on_all_muscles():
    items = [item for item in made(12) if item.target == "soleus" or item.subject == "s0"]
    alone = calibrate_bands(items, ["soleus", "tib", "vaslat"])
    soleus, tib, unknown = (alone.half_widths[name].mean() for name in ("soleus", "tib", "vaslat"))
    assert soleus < unknown < 2.2 * soleus
    assert tib < 1.9 * soleus


def test_one_subject_gives_no_bands():
    assert calibrate_bands(made(1), SPREAD) is None
    assert calibrate_bands([], SPREAD) is None


def test_who_is_judged_has_no_share_in_the_bands():
    items = made(6, laboratories=3)
    before = left_out_coverage(items, SPREAD)
    # Other EMG for the subjects of one laboratory: the bands that they are judged by, and their width, stay.
    changed = [replace(item, emg=item.emg + 5.0) if item.laboratory == "lab1" else item for item in items]
    after = left_out_coverage(changed, SPREAD)
    assert [row["name"] for row in before["laboratories"]] == ["lab0", "lab1", "lab2"]
    assert [row["subjects"] for row in before["laboratories"]] == [2, 2, 2]
    assert after["laboratories"][1]["width"] == before["laboratories"][1]["width"]
    assert after["laboratories"][1]["coverage"] == 0.0
    assert before["laboratories"][1]["coverage"] > 0.85
    # Of two subjects of one laboratory, one calibrates the bands of the other.
    assert after["subjects"][1]["width"] > before["subjects"][1]["width"]


def test_a_band_keeps_to_what_emg_can_be_and_to_the_estimate():
    bands = Bands(0.9, {"soleus": np.full(20, 0.3)}, 5, 2.0, "worst subject", (0.0, 1.0))
    values = np.tile([-0.1, 0.1, 0.5, 0.9, 1.2], 4)[None]
    low, high = bands.around("soleus", values)
    np.testing.assert_allclose(low[0, :5], [-0.1, 0.0, 0.2, 0.6, 0.9])
    np.testing.assert_allclose(high[0, :5], [0.2, 0.4, 0.8, 1.0, 1.2])
    own = Prediction(values, low=values - 0.01, high=values + 0.01)
    assert bands.add_to("soleus", own) is own
    assert bands.add_to("tib", Prediction(values)).low is None
    np.testing.assert_array_equal(bands.add_to("soleus", Prediction(values)).high, high)


def test_a_bundle_keeps_them_whole():
    items = made(5)
    bands = replace(calibrate_bands(items, SPREAD), coverage=left_out_coverage(items, SPREAD))
    read = Bands.of_section(json.loads(json.dumps(bands.section())), 20)
    for name, half in bands.half_widths.items():
        np.testing.assert_allclose(read.half_widths[name], half, atol=1e-6)
    assert read.coverage == bands.coverage
    assert (read.limits, read.rule, read.subjects) == (bands.limits, bands.rule, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"half_widths": {"soleus": [0.1] * 19}}, "must be 20 numbers"),
        ({"half_widths": {"soleus": [-0.1] * 20}}, "not negative"),
        ({"half_widths": None}, "missing or of another kind"),
        ({"level": 1.5}, "level 1.5"),
        ({"rule": "by feeling"}, "by feeling"),
        ({"coverage": {"subjects": [{"name": "s0", "coverage": 2.0, "width": 0.1}]}}, "shares from 0 to 1"),
    ],
)
def test_what_is_no_band_is_refused(changes, message):
    section = calibrate_bands(made(3), SPREAD).section()
    with pytest.raises(ValueError, match=message):
        Bands.of_section({**section, **changes}, 20)
