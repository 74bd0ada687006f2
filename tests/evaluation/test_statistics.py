"""The statistics against SciPy, statsmodels and the paper's own tables; and what is said where nothing can be said."""

from __future__ import annotations

from itertools import combinations
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from opensim_nem2e.evaluation.statistics import (
    compare_conditions,
    holm,
    listed,
    muscle_statistics,
    one_sample,
    shortcut_statistics,
    shortcut_verdicts,
    subject_means,
    verdicts,
)

JUDGED = ["stdr_net"]
LABELS = {"stdr_net": "STDR-Net"}
ONE = {"condition": "One-Entire", "method": "stdr_net"}


def sample(mean, deviation, n):
    """Values with exactly this mean and standard deviation."""
    x = np.random.default_rng(0).normal(size=n)
    return mean + deviation * (x - x.mean()) / x.std(ddof=1)


@pytest.mark.parametrize(
    ("mean", "d", "low", "high", "p"),
    [
        # NEM2E paper, table 2 (walking, eight subjects): Er, Cohen's d, 95 % CI, p, rounded as printed there.
        (-0.19, -0.92, -0.37, -0.02, 0.036),
        (-0.33, -1.84, -0.48, -0.18, 0.0012),
        (-0.31, -0.92, -0.60, -0.029, 0.035),
        (0.15, 0.78, -0.0010, 0.30, 0.062),
        (-0.15, -0.93, -0.28, -0.015, 0.033),
    ],
)
def test_the_papers_arithmetic(mean, d, low, high, p):
    found = one_sample(sample(mean, mean / d, 8))
    assert found.mean == pytest.approx(mean)
    assert found.d == pytest.approx(d)
    # Er and d are printed with two digits, which leaves so much to the limits.
    assert found.low == pytest.approx(low, abs=0.015)
    assert found.high == pytest.approx(high, abs=0.015)
    assert found.p == pytest.approx(p, rel=0.12)
    assert found.note == ""


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=12).filter(lambda x: np.std(x) > 1e-6))
def test_one_sample_is_scipys(values):
    found = one_sample(values)
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_statsmodels(p):
    from statsmodels.stats.multitest import multipletests

    # It collects garbage at every call, which takes most of the time.
    with mock.patch("gc.collect"):
        expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected)


def test_holm_without_a_test():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([], "no subject: nothing can be said"),
        ([-0.2], "one subject: no p, interval or d"),
        ([-0.2, -0.2, -0.2], "the same value in all 3 subjects: no p or d"),
        ([np.nan, -0.1], "one subject: no p, interval or d"),
    ],
)
def test_degenerate_samples_say_so(values, note):
    found = one_sample(values)
    assert found.note == note
    assert np.isnan(found.p)
    assert np.isnan(found.d)
    if "same value" in note:
        assert found.low == found.mean == found.high == pytest.approx(-0.2)


def cycles(errors, seeds=(0,)):
    """Make the table of cycles from E by (condition, muscle, subject, method); each cycle's E differs a little."""
    rows = []
    for seed in seeds:
        for (condition, muscle, subject, method), error in errors.items():
            for k, away in enumerate((-0.01, 0.0, 0.01)):
                rows.append(
                    {
                        "seed": seed,
                        "condition": condition,
                        "muscle": muscle,
                        "subject": subject,
                        "method": method,
                        "stride": k,
                        "E": error + away + (0.002 * seed if method == "stdr_net" else 0.0),
                        "E_gain": error / 2,
                        "r": 0.7,
                        "r_squared": 0.5,
                        "determination": 0.4,
                        "peak_error_percent": (-1) ** k * 2.0,
                        "peak_error_ms": (-1) ** k * 20.0,
                        "onset_error_ms": -30.0,
                        "offset_error_ms": 15.0,
                        "best_lag_r": 0.9,
                        "best_lag_percent": 3.0,
                    }
                )
    return pd.DataFrame(rows)


PEOPLE = "abcde"
RATES = {
    "One-Quarter": (1.1, 0.9, 1.05, 0.95, 1.0),
    "One-Entire": (0.8, 0.7, 0.85, 0.6, 0.9),
    "All-Entire": (0.6, 0.5, 0.75, 0.45, 0.7),
}


def study(people=PEOPLE, conditions=tuple(RATES), muscles=("soleus",)):
    errors = {}
    for condition in conditions:
        for muscle in muscles:
            for k, subject in enumerate(people):
                opensim = 0.2 + 0.02 * k
                errors[condition, muscle, subject, "opensim"] = opensim
                errors[condition, muscle, subject, "stdr_net"] = opensim * RATES[condition][k]
                errors[condition, muscle, subject, "mean"] = opensim * (0.9 - 0.01 * k)
                errors[condition, muscle, subject, "ridge"] = opensim * (0.75 + 0.01 * k)
    return errors


def test_subjects_first_then_muscles():
    table = cycles(study())
    subjects = subject_means(table)
    row = subjects.set_index(["condition", "subject", "method"]).loc[("All-Entire", "b", "stdr_net")]
    assert row["E"] == pytest.approx(0.22 * 0.5)
    assert row["Er"] == pytest.approx(-0.5)
    assert (row["cycles"], row["seeds"]) == (3, 1)
    # Peak errors of either sign do not cancel.
    assert (row["peak_error_percent"], row["peak_error_ms"]) == (2.0, 20.0)
    found = (
        muscle_statistics(subjects, table, JUDGED).set_index(["condition", "method"]).loc[("All-Entire", "stdr_net")]
    )
    rates = np.array(RATES["All-Entire"]) - 1
    assert found["Er"] == pytest.approx(rates.mean())
    assert found["p"] == pytest.approx(stats.ttest_1samp(rates, 0).pvalue)
    assert found["best_baseline"] == "ridge"
    ridge = 0.75 + 0.01 * np.arange(5) - 1
    assert found["versus_best"] == pytest.approx((rates - ridge).mean())
    assert found["versus_best_p"] == pytest.approx(stats.ttest_rel(rates, ridge).pvalue)
    e = 0.2 + 0.02 * np.arange(5)
    assert found["p_E"] == pytest.approx(stats.ttest_rel(e * (1 + rates), e).pvalue)
    assert found["note"] == ""


def test_opensim_itself_may_be_the_best_baseline():
    errors = {key: value * (1.5 if key[3] in ("mean", "ridge") else 1) for key, value in study().items()}
    table = cycles(errors)
    found = muscle_statistics(subject_means(table), table, JUDGED)
    network = found[found["method"] == "stdr_net"]
    assert (network["best_baseline"] == "opensim").all()
    assert (network["Er_best_baseline"] == 0).all()
    np.testing.assert_allclose(network["versus_best_p"], network["p"])


def test_seeds_are_averaged_and_their_spread_is_told():
    table = cycles(study(), seeds=(0, 1, 2))
    found = muscle_statistics(subject_means(table), table, JUDGED)
    row = found[(found["condition"] == "One-Entire") & (found["method"] == "stdr_net")].iloc[0]
    e = 0.2 + 0.02 * np.arange(5)
    rates = [((e * RATES["One-Entire"] + 0.002 * seed) / e - 1).mean() for seed in (0, 1, 2)]
    assert row["Er"] == pytest.approx(np.mean(rates))
    assert row["Er_seed_sd"] == pytest.approx(np.std(rates, ddof=1))
    assert row["subjects"] == 5
    assert (found[found["method"] == "mean"]["Er_seed_sd"] < 1e-12).all()


def test_tukey_is_statsmodels_and_paired_is_scipys():
    from statsmodels.stats.multicomp import pairwise_tukeyhsd

    found = compare_conditions(subject_means(cycles(study())), "stdr_net").set_index(["condition_a", "condition_b"])
    values = np.concatenate([RATES[name] for name in RATES])
    expected = pairwise_tukeyhsd(values, np.repeat(list(RATES), 5))
    names = list(expected.groupsunique)
    for pair, p, difference in zip(combinations(names, 2), expected.pvalues, expected.meandiffs, strict=True):
        row = found.loc[pair if pair in found.index else pair[::-1]]
        assert row["tukey_p"] == pytest.approx(p, abs=1e-4)
        assert abs(row["difference"]) == pytest.approx(abs(difference))
    raw = [stats.ttest_rel(RATES[a], RATES[b]).pvalue for a, b in found.index]
    np.testing.assert_allclose(found["paired_p"], raw)
    np.testing.assert_allclose(found["holm_p"], holm(raw))
    assert (found["note"] == "").all()


def test_a_muscle_that_one_subject_lacks():
    errors = {key: value for key, value in study(muscles=("soleus", "tib")).items() if key[1:3] != ("tib", "c")}
    del_one = {key: value for key, value in errors.items() if key[:3] != ("One-Quarter", "soleus", "a")}
    table = cycles(del_one)
    subjects = subject_means(table)
    found = muscle_statistics(subjects, table, JUDGED).set_index(["condition", "muscle", "method"])
    row = found.loc[("All-Entire", "tib", "stdr_net")]
    assert (row["subjects"], row["note"]) == (4, "no data of c")
    assert np.isfinite(row["p"])
    pairs = compare_conditions(subjects, "stdr_net").set_index(["muscle", "condition_a", "condition_b"])
    # Paired: only who is in both.
    assert pairs.loc[("soleus", "One-Quarter", "One-Entire"), "subjects"] == 4
    assert pairs.loc[("soleus", "One-Entire", "All-Entire"), "subjects"] == 5
    assert np.isfinite(pairs["tukey_p"]).all()


def test_one_subject():
    table = cycles(study(people="a"))
    subjects = subject_means(table)
    found = muscle_statistics(subjects, table, JUDGED)
    assert found["Er"].notna().all()
    assert found["p"].isna().all()
    assert (found["note"] == "one subject: no p, interval or d").all()
    pairs = compare_conditions(subjects, "stdr_net")
    assert pairs["tukey_p"].isna().all()
    assert pairs["note"].str.contains("Tukey: fewer than two conditions with at least two subjects").all()
    assert pairs["note"].str.contains("paired: one subject").all()


def test_no_variance():
    errors = {key: (0.2 if key[3] == "opensim" else 0.1) for key in study()}
    table = cycles(errors)
    subjects = subject_means(table)
    found = muscle_statistics(subjects, table, JUDGED)
    assert (found["note"].str.contains("the same value in all 5 subjects")).all()
    np.testing.assert_allclose(found["Er"], -0.5)
    pairs = compare_conditions(subjects, "stdr_net")
    assert pairs["note"].str.contains("Tukey: no variance within the conditions").all()
    assert pairs["note"].str.contains("paired: the same value").all()


def test_opensim_without_an_error():
    table = cycles(study())
    table.loc[(table["subject"] == "b") & (table["method"] == "opensim"), "E"] = 0.0
    found = muscle_statistics(subject_means(table), table, JUDGED)
    assert (found["note"] == "OpenSim makes no error in b: no Er").all()
    assert np.isfinite(found["p"]).all()


def test_flat_estimates():
    table = cycles(study())
    table.loc[(table["subject"] == "b") & (table["method"] == "mean"), ["peak_error_ms", "peak_error_percent"]] = np.nan
    found = muscle_statistics(subject_means(table), table, JUDGED).set_index(["condition", "method"])
    assert found.loc[("All-Entire", "mean"), "note"] == "a flat curve has no peak: its timing is left out"
    assert found.loc[("All-Entire", "mean"), "peak_ms"] == 20.0


def test_one_condition_has_nothing_to_compare():
    assert compare_conditions(subject_means(cycles(study(conditions=("One-Entire",)))), "stdr_net").empty


def test_verdicts_count():
    table = cycles(study(muscles=("soleus", "tib")))
    said = verdicts(muscle_statistics(subject_means(table), table, JUDGED), "on subjects they have not seen", LABELS)
    assert len(said) == 3
    assert said[0].startswith(
        "One-Quarter: on subjects they have not seen, STDR-Net beats OpenSim on 0 of 2 muscles (0 significantly), and "
        "the best baseline (ridge) on 0 of 2 muscles (0 significantly) and is significantly worse on 2."
    )
    assert said[2].startswith(
        "All-Entire: on subjects they have not seen, STDR-Net beats OpenSim on 2 of 2 muscles (2 significantly), and "
        "the best baseline (ridge) on 2 of 2 muscles (2 significantly)."
    )


def test_small_p_in_the_log_are_no_zeros():
    table = pd.DataFrame({"muscle": ["soleus"] * 3, "p": [0.0001, 0.05, np.nan], "Er": [-0.1234, 0.0, 0.2]})
    assert [line.split()[1] for line in listed(table, ["muscle", "p", "Er"])] == ["p", "<.001", "0.050", "0.200"]


def test_shortcut():
    rows = [
        {**ONE, "muscle": muscle, "subject": s, "E": e, "E_changed": e * grown, "E_opensim": 0.2}
        for muscle, grown in (("soleus", 1.5), ("tib", 1.0))
        for s, e in zip("abc", (0.1, 0.12, 0.15), strict=True)
    ]
    found = shortcut_statistics(pd.DataFrame(rows)).set_index("muscle")
    assert found.loc["soleus", "change"] == pytest.approx(0.5)
    assert found.loc["soleus", "Er_changed"] == pytest.approx(np.mean([0.15, 0.18, 0.225]) / 0.2 - 1)
    assert bool(found.loc["soleus", "worse"]) is True
    assert bool(found.loc["tib", "worse"]) is False
    assert "same value" in found.loc["tib", "note"]


def test_shortcut_in_words():
    def rows(condition, grown):
        return [
            {
                **ONE,
                "condition": condition,
                "muscle": muscle,
                "subject": s,
                "E": 0.1,
                "E_changed": 0.1 * g,
                "E_opensim": 0.2,
            }
            for muscle in ("soleus", "tib")
            for s, g in zip("abcd", grown, strict=True)
        ]

    checks = pd.DataFrame([*rows("One-Entire", (1.4, 1.5, 1.6, 1.5)), *rows("All-Entire", (0.9, 1.1, 0.9, 1.1))])
    said = shortcut_verdicts(shortcut_statistics(checks), LABELS)
    assert said[0] == (
        "One-Entire: with inputs of randomly changed frequency and phase, the error of STDR-Net changes by +50 % on "
        "average; it grows significantly on 2 of 2 muscles."
    )
    assert "significantly on 0 of 2 muscles. Where it does not, little more than the average waveform" in said[1]


def test_two_judged_methods():
    """Each is compared with the best baseline; neither is a baseline of the other."""
    table = cycles(study(muscles=("soleus", "tib")))
    found = muscle_statistics(subject_means(table), table, ["stdr_net", "ridge"])
    judged = found[found["method"].isin(["stdr_net", "ridge"])]
    assert len(judged) == 12
    assert (judged["best_baseline"] == "mean").all()
    assert found.loc[found["method"] == "mean", "best_baseline"].isna().all()
    ridge = judged[(judged["method"] == "ridge") & (judged["condition"] == "All-Entire")].iloc[0]
    away = (0.75 + 0.01 * np.arange(5)) - (0.9 - 0.01 * np.arange(5))
    assert ridge["versus_best"] == pytest.approx(away.mean())
    said = verdicts(found, "on subjects they have not seen", {**LABELS, "ridge": "ridge regression"})
    assert len(said) == 6
    assert said[1].startswith(
        "One-Quarter: on subjects they have not seen, ridge regression beats OpenSim on 2 of 2 muscles (2 "
    )
    # The input conditions are compared for any of them.
    pairs = compare_conditions(subject_means(table), "ridge")
    np.testing.assert_allclose(pairs["difference"], 0, atol=1e-12)


def test_shortcut_of_two_methods():
    rows = [
        {**ONE, "method": method, "muscle": "soleus", "subject": s, "E": 0.1, "E_changed": 0.1 * g, "E_opensim": 0.2}
        for method, grown in (("stdr_net", (1.4, 1.5, 1.6)), ("mean", (1.0, 1.0, 1.0)))
        for s, g in zip("abc", grown, strict=True)
    ]
    found = shortcut_statistics(pd.DataFrame(rows))
    assert found["method"].tolist() == ["stdr_net", "mean"]
    assert found["worse"].tolist() == [True, False]
    said = shortcut_verdicts(found, {**LABELS, "mean": "mean EMG profile"})
    assert "the error of STDR-Net changes by +50 %" in said[0]
    assert "the error of mean EMG profile changes by +0 %" in said[1]
