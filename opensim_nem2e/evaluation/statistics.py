"""The statistics of a study: how far estimates are from EMG, muscle by muscle, and what of it is more than chance.

The unit is the subject: E is averaged over a subject's cycles (and over the seeds of the networks) before anything is
compared, because cycles of one subject are no independent samples (NEM2E paper, section 3.2.2: equations 1 to 4). Where
a test cannot be made, the column ``note`` says why and the numbers are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

#: What every method is compared with.
OPENSIM = "opensim"

#: Below this, a difference counts as significant.
ALPHA = 0.05

WHY_PAIRED = (
    "Tukey's HSD, which the paper uses, takes the three conditions for independent groups; here every subject has a "
    "value in each of them, so paired t-tests, with Holm's correction for their number, compare like with like and see "
    "smaller differences."
)

#: What a cycle is measured by; averaged over a subject's cycles.
_TIMING = ("peak_error_percent", "peak_error_ms", "onset_error_ms", "offset_error_ms")
_FIGURES = ("E", "E_gain", "r", "r_squared", "determination", *_TIMING, "best_lag_r", "best_lag_percent")


@dataclass(frozen=True)
class OneSample:
    """A sample's mean against zero.

    Parameters
    ----------
    n : int
        Values.
    mean : float
        Their mean; NaN without values.
    low, high : float
        The 95 % confidence interval of the mean (paper, equation 4); NaN where there is none.
    p : float
        Of Student's t-test, two-sided; NaN where there is none.
    d : float
        Cohen's d, mean by standard deviation (paper, equation 3); NaN where there is none.
    note : str
        Why something is missing; empty if nothing is.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    d: float
    note: str = ""


def one_sample(values: ArrayLike, unit: str = "subject") -> OneSample:
    """Test whether values differ from zero.

    Parameters
    ----------
    values : array_like, shape (n,)
        One per subject; those that are not finite numbers are left out.
    unit : str
        What a value stands for, for the note.

    Returns
    -------
    OneSample
        Mean, interval, p and effect size.
    """
    from scipy import stats

    given = np.asarray(values, dtype=float)
    x = given[np.isfinite(given)]
    n, nan = len(x), math.nan
    if n == 0:
        return OneSample(0, nan, nan, nan, nan, nan, f"no {unit}: nothing can be said")
    mean = float(x.mean())
    if n == 1:
        return OneSample(1, mean, nan, nan, nan, nan, f"one {unit}: no p, interval or d")
    spread = float(x.std(ddof=1))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return OneSample(n, mean, mean, mean, nan, nan, f"the same value in all {n} {unit}s: no p or d")
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * spread / math.sqrt(n)
    p = float(stats.ttest_1samp(x, 0.0).pvalue)
    return OneSample(n, mean, mean - half, mean + half, p, mean / spread)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Correct p values for their number (Holm 1979).

    Parameters
    ----------
    p : array_like, shape (tests,)
        Uncorrected p values; NaN where no test was made, which then does not count.

    Returns
    -------
    ndarray, shape (tests,)
        Corrected p values, at most 1.
    """
    values = np.asarray(p, dtype=float)
    corrected = np.full(values.shape, np.nan)
    order = [k for k in np.argsort(values, kind="stable") if np.isfinite(values[k])]
    largest = 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[k]))
        corrected[k] = largest
    return corrected


def subject_means(cycles: pd.DataFrame) -> pd.DataFrame:
    """Average over each subject's cycles, then over seeds, and relate E to OpenSim's.

    Parameters
    ----------
    cycles : pandas.DataFrame
        One row per seed, condition, muscle, cycle and method: ``seed, condition, muscle, subject, method, E, E_gain, r,
        r_squared, determination, peak_error_percent, peak_error_ms, onset_error_ms, offset_error_ms, best_lag_r,
        best_lag_percent``.

    Returns
    -------
    pandas.DataFrame
        One row per condition, muscle, subject and method: ``seeds``, ``cycles`` (of one seed), ``E``, ``E_opensim``,
        ``Er`` (their ratio less 1; NaN where OpenSim makes no error), ``E_gain`` (E after the subject's best gain: the
        error of the shape), ``r``, ``r_squared``, ``determination``, ``peak_error_percent``, ``peak_error_ms``,
        ``onset_error_ms`` and ``offset_error_ms`` (means of absolute values), ``best_lag_r``, ``best_lag_percent``.
    """
    keys = ["condition", "muscle", "subject", "method"]
    absolute = cycles.assign(**{name: cycles[name].abs() for name in _TIMING})
    by_seed = absolute.groupby([*keys, "seed"], sort=False)
    means = by_seed[list(_FIGURES)].mean().assign(cycles=by_seed.size()).reset_index()
    groups = means.groupby(keys, sort=False)
    table = groups[["cycles", *_FIGURES]].mean().assign(seeds=groups.size()).reset_index()
    table["cycles"] = table["cycles"].astype(int)
    opensim = table[table["method"] == OPENSIM].set_index(keys[:3])["E"].rename("E_opensim")
    table = table.join(opensim, on=keys[:3])
    table["Er"] = _rate(table["E"], table["E_opensim"])
    return table[[*keys, "seeds", "cycles", "E", "E_opensim", "Er", *_FIGURES[1:]]]


def _rate(error: pd.Series, opensim: pd.Series) -> pd.Series:
    return (error / opensim.where(opensim > 0)) - 1


def muscle_statistics(subjects: pd.DataFrame, cycles: pd.DataFrame, judged: Sequence[str]) -> pd.DataFrame:
    """Judge every method, muscle by muscle: against OpenSim, and those that are judged against the best baseline.

    Parameters
    ----------
    subjects : pandas.DataFrame
        From :func:`subject_means`.
    cycles : pandas.DataFrame
        What that was made from, for the differences between seeds.
    judged : sequence of str
        Keys of the methods that are judged; all others are baselines.

    Returns
    -------
    pandas.DataFrame
        One row per condition, muscle and method other than ``opensim``: ``subjects, cycles, seeds, E_opensim, E, Er,
        Er_low, Er_high, p, d`` (t-test of Er = 0), ``Er_seed_sd`` (standard deviation of Er over seeds), ``p_E``
        (paired t-test of E against OpenSim's), ``E_gain, r, r_squared, determination, peak_ms, peak_percent, onset_ms,
        offset_ms, best_lag_r`` and the same with ``_opensim``; in rows of judged methods also ``best_baseline`` (the
        one with the lowest Er, OpenSim itself among them), ``Er_best_baseline, versus_best`` (Er less that of the best
        one), ``versus_best_low, versus_best_high, versus_best_p, versus_best_d`` (paired over subjects); and ``note``.
    """
    import pandas as pd

    everyone = list(dict.fromkeys(subjects["subject"]))
    seed_sd = _seed_deviation(cycles)
    rows = []
    for (condition, muscle), part in subjects.groupby(["condition", "muscle"], sort=False):
        by_method = {str(method): table.set_index("subject") for method, table in part.groupby("method", sort=False)}
        opensim = by_method.pop(OPENSIM)
        for method, table in by_method.items():
            test = one_sample(table["Er"])
            notes = [test.note] if test.note else []
            if test.n < len(table):
                without = table.index[table["Er"].isna()]
                notes.append(f"OpenSim makes no error in {', '.join(without)}: no Er")
            missing = [subject for subject in everyone if subject not in table.index]
            if table["peak_error_ms"].isna().any():
                notes.append("a flat curve has no peak: its timing is left out")
            if missing:
                notes.append(f"no data of {', '.join(missing)}")
            row = {
                "condition": condition,
                "muscle": muscle,
                "method": method,
                "subjects": len(table),
                "cycles": int(table["cycles"].sum()),
                "seeds": int(table["seeds"].max()),
                "E_opensim": opensim["E"].mean(),
                "E": table["E"].mean(),
                "Er": test.mean,
                "Er_low": test.low,
                "Er_high": test.high,
                "p": test.p,
                "d": test.d,
                "Er_seed_sd": seed_sd.get((condition, muscle, method), math.nan),
                "p_E": one_sample(table["E"] - opensim["E"]).p,
            }
            for name, figure in _BESIDE.items():
                row[f"{name}_opensim"], row[name] = opensim[figure].mean(), table[figure].mean()
            if method in judged:
                row |= _against_best(table, {name: other for name, other in by_method.items() if name not in judged})
            row["note"] = "; ".join(notes)
            rows.append(row)
    return pd.DataFrame(rows)


_BESIDE = {
    "E_gain": "E_gain",
    "r": "r",
    "r_squared": "r_squared",
    "determination": "determination",
    "peak_ms": "peak_error_ms",
    "peak_percent": "peak_error_percent",
    "onset_ms": "onset_error_ms",
    "offset_ms": "offset_error_ms",
    "best_lag_r": "best_lag_r",
}


def _against_best(network: pd.DataFrame, baselines: dict[str, pd.DataFrame]) -> dict[str, object]:
    rates = {OPENSIM: 0.0} | {name: float(table["Er"].mean()) for name, table in baselines.items()}
    best = min((name for name in rates if not math.isnan(rates[name])), key=rates.__getitem__)
    other = 0.0 if best == OPENSIM else baselines[best]["Er"]
    test = one_sample(network["Er"] - other)
    return {
        "best_baseline": best,
        "Er_best_baseline": rates[best],
        "versus_best": test.mean,
        "versus_best_low": test.low,
        "versus_best_high": test.high,
        "versus_best_p": test.p,
        "versus_best_d": test.d,
    }


def _seed_deviation(cycles: pd.DataFrame) -> dict[tuple[object, ...], float]:
    """How much Er varies over seeds: its standard deviation, where there are at least two."""
    if cycles["seed"].nunique() < 2:
        return {}
    keys = ["condition", "muscle", "method"]
    rates = []
    for seed, part in cycles.groupby("seed", sort=False):
        means = subject_means(part).groupby(keys)["Er"].mean()
        rates.append(means.rename(str(seed)))
    import pandas as pd

    return {tuple(key): float(value) for key, value in pd.concat(rates, axis=1).std(axis=1, ddof=1).items()}


def compare_conditions(subjects: pd.DataFrame, method: str) -> pd.DataFrame:
    """Compare a method's Er among the input conditions, muscle by muscle, in the paper's way and paired.

    Parameters
    ----------
    subjects : pandas.DataFrame
        From :func:`subject_means`.
    method : str
        Key of the method.

    Returns
    -------
    pandas.DataFrame
        One row per muscle and pair of conditions: ``muscle, condition_a, condition_b, subjects`` (with both),
        ``Er_a, Er_b, difference`` (a less b, of all subjects of each), ``tukey_low, tukey_high, tukey_p`` (Tukey's
        HSD), ``paired_difference, paired_low, paired_high, paired_p, holm_p, paired_d`` (t-tests of subjects with both,
        Holm's correction over the muscle's pairs), ``note``. No rows with fewer than two conditions.
    """
    import pandas as pd

    columns = [
        *("muscle", "condition_a", "condition_b", "subjects", "Er_a", "Er_b", "difference"),
        *("tukey_low", "tukey_high", "tukey_p"),
        *("paired_difference", "paired_low", "paired_high", "paired_p", "holm_p", "paired_d", "note"),
    ]
    rows = []
    own = subjects[subjects["method"] == method]
    for muscle, part in own.groupby("muscle", sort=False):
        rates = {
            str(condition): table.set_index("subject")["Er"].dropna()
            for condition, table in part.groupby("condition", sort=False)
        }
        tukey, note = _tukey(rates)
        pairs = list(combinations(rates, 2))
        tests = [one_sample(rates[a] - rates[b]) for a, b in pairs]
        for (a, b), test, corrected in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
            mean_a, mean_b = float(rates[a].mean()), float(rates[b].mean())
            notes = [text for text in (note, test.note and f"paired: {test.note}") if text]
            values = [muscle, a, b, test.n, mean_a, mean_b, mean_a - mean_b, *tukey.get((a, b), (math.nan,) * 3)]
            values += [test.mean, test.low, test.high, test.p, corrected, test.d, "; ".join(notes)]
            rows.append(values)
    return pd.DataFrame(rows, columns=columns)


def _tukey(groups: dict[str, pd.Series]) -> tuple[dict[tuple[str, str], tuple[float, float, float]], str]:
    """Tukey's HSD of all groups with at least two values: interval and p by pair, and why there may be none."""
    from scipy import stats

    usable = {name: values.to_numpy() for name, values in groups.items() if len(values) > 1}
    if len(usable) < 2:
        return {}, "Tukey: fewer than two conditions with at least two subjects"
    if all(np.ptp(values) == 0 for values in usable.values()):
        return {}, "Tukey: no variance within the conditions"
    result = stats.tukey_hsd(*usable.values())
    interval = result.confidence_interval(1 - ALPHA)
    names = list(usable)
    found = {
        (names[i], names[j]): (float(interval.low[i, j]), float(interval.high[i, j]), float(result.pvalue[i, j]))
        for i, j in combinations(range(len(names)), 2)
    }
    left_out = [name for name in groups if name not in usable]
    return found, f"Tukey: without {', '.join(left_out)} (one subject)" if left_out else ""


def shortcut_statistics(checks: pd.DataFrame) -> pd.DataFrame:
    """Tell whether methods get worse when frequency and phase of their input are changed (paper, section 4.2).

    Parameters
    ----------
    checks : pandas.DataFrame
        One row per seed, condition, method, muscle and cycle: ``condition, method, muscle, subject, E, E_changed,
        E_opensim``.

    Returns
    -------
    pandas.DataFrame
        One row per condition, method and muscle: ``subjects``, ``Er`` and ``Er_changed`` (both relative to OpenSim's E
        of the unchanged cycle), ``change`` (E_changed / E - 1: positive is worse), ``low, high, p, d`` (of change = 0,
        over subjects), ``worse`` (on average), ``note``.
    """
    import pandas as pd

    rows = []
    for (condition, method, muscle), part in checks.groupby(["condition", "method", "muscle"], sort=False):
        means = part.groupby("subject", sort=False)[["E", "E_changed", "E_opensim"]].mean()
        test = one_sample(_rate(means["E_changed"], means["E"]))
        rows.append(
            {
                "condition": condition,
                "method": method,
                "muscle": muscle,
                "subjects": len(means),
                "Er": float(_rate(means["E"], means["E_opensim"]).mean()),
                "Er_changed": float(_rate(means["E_changed"], means["E_opensim"]).mean()),
                "change": test.mean,
                "low": test.low,
                "high": test.high,
                "p": test.p,
                "d": test.d,
                "worse": bool(test.mean > 0),
                "note": test.note,
            }
        )
    return pd.DataFrame(rows)


def shortcut_verdicts(shortcut: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """Say in words, condition by condition, whether methods need their input.

    Parameters
    ----------
    shortcut : pandas.DataFrame
        From :func:`shortcut_statistics`.
    labels : mapping of str to str
        Names of the methods by key.

    Returns
    -------
    list of str
        One sentence or two per condition and method.
    """
    texts = []
    for (condition, method), part in shortcut.groupby(["condition", "method"], sort=False):
        worse = (part["change"] > 0) & (part["p"] < ALPHA)
        text = (
            f"{condition}: with inputs of randomly changed frequency and phase, the error of {labels[method]} "
            f"changes by {100 * part['change'].mean():+.0f} % on average; it grows significantly on "
            f"{int(worse.sum())} of {len(part)} muscle{'s' if len(part) > 1 else ''}."
        )
        if not worse.all():
            text += (
                " Where it does not, little more than the average waveform was learned, or there are too few subjects."
            )
        texts.append(text)
    return texts


def verdicts(statistics: pd.DataFrame, where: str, labels: Mapping[str, str]) -> list[str]:
    """Say in words, condition by condition, what the judged methods are worth.

    Parameters
    ----------
    statistics : pandas.DataFrame
        From :func:`muscle_statistics`.
    where : str
        What they were judged by, such as ``on subjects they have not seen``.
    labels : mapping of str to str
        Names of the judged methods by key.

    Returns
    -------
    list of str
        One sentence or two per condition and method.
    """
    texts = []
    judged = statistics[statistics["method"].isin(list(labels))]
    for (condition, method), part in judged.groupby(["condition", "method"], sort=False):
        opensim = _wins(part["Er"], part["p"])
        best = _wins(part["versus_best"], part["versus_best_p"])
        baselines = ", ".join(dict.fromkeys(part["best_baseline"]))
        texts.append(
            f"{condition}: {where}, {labels[method]} beats OpenSim on {opensim}, and the best baseline "
            f"({baselines}) on {best}. Mean Er {part['Er'].mean():+.3f}, best baseline "
            f"{part['Er_best_baseline'].mean():+.3f}."
        )
    return texts


def _wins(differences: pd.Series, p: pd.Series) -> str:
    better, significant = differences < 0, p < ALPHA
    count = len(differences)
    text = f"{int(better.sum())} of {count} muscle{'s' if count > 1 else ''} ({int((better & significant).sum())} "
    text += "significantly)"
    worse = int(((differences > 0) & significant).sum())
    return f"{text} and is significantly worse on {worse}" if worse else text


def _p_value(p: float) -> str:
    return "" if math.isnan(p) else "<.001" if p < 0.001 else f"{p:.3f}"


def listed(statistics: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Lay a table out for the log.

    Parameters
    ----------
    statistics : pandas.DataFrame
        The table.
    columns : sequence of str
        Which columns.

    Returns
    -------
    list of str
        A header and one line per row.
    """
    text = statistics[list(columns)].to_string(
        index=False,
        na_rep="",
        float_format=lambda value: f"{value:.3f}",
        formatters={name: _p_value for name in columns if name == "p" or name.endswith("_p")},
    )
    lines: list[str] = text.splitlines()
    return lines
