"""Bands wide enough for subjects that a method has not seen, from its residuals on subjects left out of training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ..methods.bands import Bands

if TYPE_CHECKING:
    from .cross_validate import FoldOutcome

Array = NDArray[np.float64]

#: The share of measured EMG that bands are to hold.
LEVEL = 0.9

#: From so many subjects on, bands are as wide as all of them need together; before, as wide as the one who needs the
#: widest. With n subjects a further one needs more than the widest with a chance of 1 in n + 1, so this is where the
#: worst of them stands for fewer than 1 in 20.
ENOUGH_SUBJECTS = 20

#: A muscle's residuals count as those of its subjects, and all muscles' together as those of so many more.
PRIOR_SUBJECTS = 3.0

#: Residuals are smoothed over this share of the cycle (standard deviation): about a step of the paper's 20 samples.
SMOOTHING = 0.04


@dataclass(frozen=True)
class LeftOut:
    """A subject's cycles of one muscle, estimated by a method that has not seen this subject.

    Parameters
    ----------
    target : str
        Standard name of the muscle.
    subject, laboratory : str
        Who was left out, and the dataset of the cycles.
    estimate, emg : ndarray, shape (cycles, cycle_samples)
        The estimate, and what was measured.
    """

    target: str
    subject: str
    laboratory: str
    estimate: Array = field(repr=False)
    emg: Array = field(repr=False)


def calibrate_bands(
    items: Sequence[LeftOut], targets: Collection[str], limits: tuple[float, float] = (0.0, float("inf"))
) -> Bands | None:
    """Choose bands by how far estimates were from the EMG of subjects left out.

    A band reaches as far to both sides as the root mean square of the muscle's residuals at this phase, times a factor.
    The mean square is over the subjects alike, smoothed over the phase, and shrunk towards that of all muscles, the
    more so the fewer subjects have the muscle's EMG. The factor is the least with which bands made without a subject
    hold :data:`LEVEL` of this subject's EMG (muscles alike), for the subject who needs the largest; from
    :data:`ENOUGH_SUBJECTS` on for all subjects together, each counting alike.

    Parameters
    ----------
    items : sequence of LeftOut
        One per subject and muscle.
    targets : collection of str
        The muscles that need bands; those that nobody was left out for get those of all muscles.
    limits : tuple of float
        What EMG cannot leave.

    Returns
    -------
    Bands or None
        None with fewer than two subjects.
    """
    subjects = list(dict.fromkeys(item.subject for item in items))
    if len(subjects) < 2:
        return None
    ratios, weights = [], []
    for subject in subjects:
        spread = _spread([item for item in items if item.subject != subject], targets)
        own = [item for item in items if item.subject == subject]
        ratios.append(
            np.concatenate([(np.abs(item.emg - item.estimate) / spread[item.target]).ravel() for item in own])
        )
        weights.append(np.concatenate([np.full(item.emg.size, 1.0 / item.emg.size / len(own)) for item in own]))
    if len(subjects) < ENOUGH_SUBJECTS:
        rule = "worst subject"
        factor = max(_quantile(*both) for both in zip(ratios, weights, strict=True))
    else:
        rule, factor = "all subjects", _quantile(np.concatenate(ratios), np.concatenate(weights))
    halves = {target: factor * spread for target, spread in _spread(items, targets).items()}
    return Bands(LEVEL, halves, len(subjects), factor, rule, limits)


def coverage(bands: Bands, items: Iterable[LeftOut]) -> tuple[float, float]:
    """Take the share of measured EMG that lies within bands, and how wide these are.

    Parameters
    ----------
    bands : Bands
        The bands.
    items : iterable of LeftOut
        What they are judged by.

    Returns
    -------
    share, width : float
        Means over the items, each counting alike: the share (0..1) of the samples within, and the width in EMG.
    """
    shares, widths = [], []
    for item in items:
        low, high = bands.around(item.target, item.estimate)
        shares.append(float(((low <= item.emg) & (item.emg <= high)).mean()))
        widths.append(float((high - low).mean()))
    return float(np.mean(shares)), float(np.mean(widths))


def left_out_coverage(
    items: Sequence[LeftOut], targets: Collection[str], limits: tuple[float, float] = (0.0, float("inf"))
) -> dict[str, list[dict[str, Any]]]:
    """Judge bands by subjects and laboratories that they were not calibrated on.

    Parameters
    ----------
    items : sequence of LeftOut
        Estimates for subjects left out.
    targets : collection of str
        As for :func:`calibrate_bands`.
    limits : tuple of float
        As for :func:`calibrate_bands`.

    Returns
    -------
    dict of str to list of dict
        ``subjects`` and ``laboratories`` (rows as of :func:`coverage_row`) with bands calibrated on the others, and
        ``muscles`` with bands calibrated without the subject each time. Empty where no bands can be calibrated so.
    """
    found: dict[str, list[dict[str, Any]]] = {"subjects": [], "laboratories": []}
    by_muscle: dict[str, list[tuple[float, float]]] = {}
    for way, group in (("subjects", "subject"), ("laboratories", "laboratory")):
        for name in dict.fromkeys(getattr(item, group) for item in items):
            own = [item for item in items if getattr(item, group) == name]
            who = {item.subject for item in own}
            bands = calibrate_bands([item for item in items if item.subject not in who], targets, limits)
            if bands is None:
                continue
            found[way].append(coverage_row(bands, own, name))
            for item in own if way == "subjects" else ():
                by_muscle.setdefault(item.target, []).append(coverage(bands, [item]))
    found["muscles"] = [_row(target, by_muscle[target]) for target in targets if target in by_muscle]
    return found


def coverage_row(bands: Bands, items: Sequence[LeftOut], name: str) -> dict[str, Any]:
    """Judge bands by one subject or laboratory.

    Parameters
    ----------
    bands : Bands
        Bands.
    items : sequence of LeftOut
        Estimates for the subjects.
    name : str
        Whose they are.

    Returns
    -------
    dict of str to object
        ``name, subjects, coverage, width``; means over the subjects.
    """
    who = list(dict.fromkeys(item.subject for item in items))
    each = [coverage(bands, [item for item in items if item.subject == subject]) for subject in who]
    return _row(name, each)


def _row(name: str, each: Sequence[tuple[float, float]]) -> dict[str, Any]:
    share, width = np.mean(each, axis=0).tolist()
    return {"name": name, "subjects": len(each), "coverage": round(share, 4), "width": round(width, 4)}


def study_coverage(
    outcomes: Iterable[FoldOutcome], limits: tuple[float, float] = (0.0, float("inf"))
) -> dict[str, dict[str, dict[str, list[dict[str, Any]]]]]:
    """Judge the bands that every method of a study would have, the simulation and the baselines among them.

    Parameters
    ----------
    outcomes : iterable of FoldOutcome
        Of a study that leaves out subjects or laboratories. The first seed counts.
    limits : tuple of float
        As for :func:`calibrate_bands`.

    Returns
    -------
    dict
        By condition and method, what :func:`left_out_coverage` gives for the muscles together; without what is empty.
    """
    found: dict[str, dict[str, list[LeftOut]]] = {}
    seed = None
    for outcome in outcomes:
        seed = outcome.seed if seed is None else seed
        if outcome.seed != seed:
            continue
        subjects = outcome.test.subjects
        for subject in dict.fromkeys(subjects.tolist()):
            rows = subjects == subject
            laboratory = outcome.test.records[int(np.argmax(rows))].laboratory
            for method, curves in outcome.curves.items():
                item = LeftOut(outcome.muscle, subject, laboratory, curves[rows], outcome.emg[rows])
                found.setdefault(outcome.condition, {}).setdefault(method, []).append(item)
    table: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
    for condition, methods in found.items():
        for method, items in methods.items():
            judged = left_out_coverage(items, list(dict.fromkeys(item.target for item in items)), limits)
            known = {way: rows for way, rows in judged.items() if rows and way != "muscles"}
            if known:
                table.setdefault(condition, {})[method] = known
    return table


def _spread(items: Sequence[LeftOut], targets: Collection[str]) -> dict[str, Array]:
    """Take the root mean square residual of every muscle over the phase."""
    squares: dict[str, list[Array]] = {}
    for item in items:
        squares.setdefault(item.target, []).append(((item.emg - item.estimate) ** 2).mean(axis=0))
    means: dict[str, Array] = {target: np.mean(found, axis=0) for target, found in squares.items()}
    pooled: Array = np.mean(list(means.values()), axis=0)
    spread = {}
    for target in dict.fromkeys((*targets, *squares)):
        count = len(squares.get(target, ()))
        mixed = (count * means.get(target, pooled) + PRIOR_SUBJECTS * pooled) / (count + PRIOR_SUBJECTS)
        # The end of the cycle is its beginning.
        smooth = gaussian_filter1d(mixed[:-1], sigma=SMOOTHING * (mixed.size - 1), mode="wrap")
        spread[target] = np.sqrt(np.append(smooth, smooth[0])) + np.finfo(float).tiny
    return spread


def _quantile(values: Array, weights: Array) -> float:
    """Return the least value that LEVEL of the weight does not exceed."""
    return float(np.quantile(values, LEVEL, weights=weights, method="inverted_cdf"))
