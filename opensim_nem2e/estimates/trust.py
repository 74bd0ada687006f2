"""How far an estimate can be trusted: its method's error and bands on other subjects, and whether its cycles are like
those that the method was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.leg_motion import JOINTS
from ..data.simulation import SIMULATORS
from ..log import counted, logger
from ..methods.base import Provenance
from ..methods.training_range import Look, Measure
from ..signals.cycle_sources import SIDES
from ..signals.cycles import Cycle
from ..signals.resample import interpolate
from .estimate import Estimate

if TYPE_CHECKING:
    from ..data.leg_motion import JointAngles
    from ..methods.bands import Bands
    from ..methods.training_range import TrainingRange

#: A method whose error on unseen subjects is not at least 2 % below that of the mean EMG profile has learned no more.
WORTH_WHILE = 0.98

#: Errors of fewer subjects in a motion are no more than a hint.
_FEW = 3

_WAYS = {"leave_one_subject_out": "subjects left out of training", "held_out": "held-out subjects"}


def log_trust(estimate: Estimate) -> None:
    """Say what is known of the error of an estimate's method, for the muscles that it estimated.

    Parameters
    ----------
    estimate : Estimate
        The estimate.
    """
    provenance = estimate.provenance
    for line in band_lines(provenance.bands):
        (logger.info if provenance.bands is None else logger.debug)("%s", line)
    targets = list(dict.fromkeys(item.standard_name for item in estimate if item.is_methods))
    if provenance.calibration is not None:
        _log_calibration(provenance.calibration, targets)
        return
    found = errors_on_others(provenance, estimate.motion)
    if found is None:
        logger.warning(
            "The bundle carries no validation figures: nothing is known of its error on subjects it has not seen."
        )
        return
    words, figures = found
    for line in validation_table(provenance, targets, estimate.motion):
        logger.debug("%s", line)
    judged = {target: figures[target] for target in targets if target in figures}
    told: list[str] = []
    if judged:
        means = [fmean(row[f"E_{kind}"] for row in judged.values()) for kind in ("opensim", "refined")]
        means.append(fmean(profile_error(row) for row in judged.values()))
        no_better = [target for target, row in judged.items() if _remark(row)]
        told.append(
            f"RMS error against measured EMG on {words}, mean of {counted(len(judged), 'network')}: OpenSim "
            f"{means[0]:.3f}, refined {means[1]:.3f}, mean EMG profile of the other subjects {means[2]:.3f}"
            + (f"; no better than one of these: {', '.join(no_better)}." if no_better else ".")
        )
    elsewhere = _on_laboratories(provenance, targets, estimate.motion)
    if elsewhere:
        told.append(
            f"On laboratories left out of training: OpenSim {elsewhere['E_opensim']:.3f}, refined "
            f"{elsewhere['E_refined']:.3f} ({_change(elsewhere)}), mean EMG profile {profile_error(elsewhere):.3f}."
        )
    if told:
        logger.info("%s", " ".join(told))
    people = max((row["subjects"] for row in judged.values()), default=0)
    if people and people < _FEW and estimate.motion in _motions(provenance):
        logger.warning(
            "How good the method is in this motion (%s) is known of %s only.",
            estimate.motion,
            counted(people, "subject"),
        )
    total = elsewhere or figures.get("ALL")
    if total and total["E_refined"] > WORTH_WHILE * profile_error(total):
        logger.warning(
            "On subjects it has not seen the bundle is %s nearer to measured EMG than the mean EMG profile of other "
            "subjects: take the refined curves as average waveforms, not as this subject's%s.",
            "hardly" if total["E_refined"] < profile_error(total) else "no",
            ", but for those from the trial's own EMG" if any(item.shape_source == "EMG" for item in estimate) else "",
        )


def validation_table(provenance: Provenance, targets: Iterable[str], motion: str = "") -> list[str]:
    """Lay out what is known of a method's error on subjects that it was not trained on.

    Parameters
    ----------
    provenance : Provenance
        The method's.
    targets : iterable of str
        Standard names of the muscles.
    motion : str
        As for :func:`errors_on_others`.

    Returns
    -------
    list of str
        A title, a header and a line per muscle; without a motion one per motion, too, where there are several.
    """
    found = errors_on_others(provenance, motion)
    if found is None:
        return ["Nothing is known of its error on subjects that it has not seen."]
    words, figures = found
    lines = [
        f"How far the networks can be trusted: their RMS error against measured EMG on {words}.",
        f"{'network':<8}  subjects  OpenSim  refined  change   mean EMG profile of the other subjects",
    ]

    def line(name: str, row: Mapping[str, Any]) -> str:
        return (
            f"{name:<8}  {row['subjects']:8d}  {row['E_opensim']:7.3f}  {row['E_refined']:7.3f}  "
            f"{_change(row):>6}   {profile_error(row):7.3f}{_remark(row)}"
        )

    for target in targets:
        row = figures.get(target)
        if row is None:
            lines.append(f"{target:<8}  never validated: too few subjects with this muscle's EMG")
        else:
            lines.append(line(target, row))
    motions = {} if motion else {name: errors_on_others(provenance, name) for name in _motions(provenance)}
    if motions:
        lines.append("By motion, means over the networks:")
        for name, judged in motions.items():
            assert judged is not None
            rows = list(judged[1].values())
            means = {key: fmean(row[key] for row in rows) for key in _ERRORS}
            lines.append(line(name, {**means, "subjects": max(row["subjects"] for row in rows)}))
    return lines


def errors_on_others(provenance: Provenance, motion: str = "") -> tuple[str, Mapping[str, Any]] | None:
    """Find the errors of a method on subjects that it was not trained on.

    Parameters
    ----------
    provenance : Provenance
        The method's.
    motion : str
        Such as ``run``: the errors in this motion alone, where it was validated in several; what is good in walking
        need not be in running. Empty: in all.

    Returns
    -------
    words : str
        Who these are: ``'subjects left out of training (motion: run)'``.
    errors : mapping of str to mapping
        By muscle: ``subjects``, ``E_opensim``, ``E_refined``, and ``E_profiles`` or ``E_mean``.
        None where nothing is known.
    """
    known = provenance.validation
    way = next((way for way in _WAYS if known.get(way)), None)
    if way is None:
        return None
    motions = _motions(provenance)
    if motion in motions:
        return f"{_WAYS[way]} (motion: {motion})", _of_motion(known["subjects"], way, motion)
    return _WAYS[way] + (f" (motions: {', '.join(motions)})" if motion and motions else ""), known[way]


#: What is kept of the errors of every subject and motion.
_ERRORS = ("E_opensim", "E_refined", "E_profiles")


def _motions(provenance: Provenance) -> list[str]:
    """Name the motions whose errors are known apart from each other; none where there is one."""
    way = next((way for way in _WAYS if provenance.validation.get(way)), None)
    rows = [row for row in provenance.validation.get("subjects", ()) if row.get("method") == way]
    # The first bundles said less of every subject.
    if not all(name in row for row in rows for name in ("muscle", "subject", "motion", "cycles", *_ERRORS)):
        return []
    found = list(dict.fromkeys(row["motion"] for row in rows))
    return found if len(found) > 1 else []


def _of_motion(rows: Iterable[Mapping[str, Any]], way: str, motion: str) -> dict[str, dict[str, Any]]:
    """Average the errors in one motion, muscle by muscle."""
    muscles: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row["method"] == way and row["motion"] == motion:
            muscles.setdefault(row["muscle"], {}).setdefault(row["subject"], []).append(row)
    return {muscle: _mean_subject(people) for muscle, people in muscles.items()}


def _on_laboratories(provenance: Provenance, targets: Sequence[str], motion: str) -> Mapping[str, float] | None:
    """Average the errors on laboratories left out: of these muscles in this motion, where they are known apart."""
    known = provenance.validation
    total: Mapping[str, float] | None = known.get("leave_one_laboratory_out", {}).get("ALL")
    if total and motion in _motions(provenance):
        errors = _of_motion(known["subjects"], "leave_one_laboratory_out", motion)
        rows = [errors[target] for target in targets if target in errors]
        return {name: fmean(row[name] for row in rows) for name in _ERRORS} if rows else None
    return total


def _mean_subject(people: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Average errors over each subject's cycles, and then over subjects."""
    means = {
        name: fmean(fmean([row[name] for row in rows], [row["cycles"] for row in rows]) for rows in people.values())
        for name in _ERRORS
    }
    return {"subjects": len(people), **means}


def _change(row: Mapping[str, float]) -> str:
    return f"{100.0 * (row['E_refined'] / row['E_opensim'] - 1.0):+.0f} %"


def _remark(row: Mapping[str, float]) -> str:
    if row["E_refined"] >= row["E_opensim"]:
        return "  (no better than OpenSim)"
    return "  (no better than the mean profile)" if row["E_refined"] >= profile_error(row) else ""


def profile_error(row: Mapping[str, float]) -> float:
    """Take the error of the best mean profile that is known.

    Parameters
    ----------
    row : mapping of str to float
        A muscle's figures of a bundle's validation.

    Returns
    -------
    float
        That of profiles by motion and age, where the bundle has it, otherwise of the training subjects' mean cycle.
    """
    return row["E_profiles"] if "E_profiles" in row else row["E_mean"]


def warn_of_source(provenance: Provenance, source: str) -> None:
    """Warn where a method was never validated with the kind of simulation that it is given.

    Parameters
    ----------
    provenance : Provenance
        Of the estimates.
    source : {'cmc', 'so', 'moco', ''}
        What computed the trial's activations; empty: it is not known.
    """
    known = provenance.validation.get("sources")
    if known and not source:
        logger.warning(
            "Nothing in the file says what computed its activations; the bundle was validated with %s only. Give "
            "<activation_source>.",
            " and ".join(SIMULATORS.get(name, name) for name in known),
        )
    elif known and source not in known:
        logger.warning(
            "The activations are of %s, but the bundle was validated with %s only: its error on other simulations is "
            "not known.",
            SIMULATORS[source],
            " and ".join(SIMULATORS.get(name, name) for name in known),
        )


def _log_calibration(calibration: Mapping[str, Any], targets: Iterable[str]) -> None:
    """Say for whom a calibrated bundle is, and its error on strides of this subject that were left out."""
    logger.warning(
        "The networks were calibrated to %s (%s): they are for this subject and motion, and nothing else.",
        ", ".join(calibration["subjects"]),
        ", ".join(calibration["motions"]),
    )
    columns = _CALIBRATED
    known = [row for row in map(calibration["muscles"].get, targets) if row and all(name in row for name in columns)]
    if known:
        logger.info(
            "RMS error on this subject's strides left out of the calibration, mean of %s: OpenSim %.3f, refined "
            "%.3f, mean of the other strides %.3f.",
            counted(len(known), "network"),
            *(fmean(row[name] for row in known) for name in columns),
        )
    single = []
    for target in targets:
        row = calibration["muscles"].get(target, {})
        if all(name in row for name in columns):
            logger.debug(
                "%-8s  RMS error on this subject's strides left out of the calibration: OpenSim %.3f, refined %.3f, "
                "mean of the other strides %.3f.",
                target,
                *(row[name] for name in columns),
            )
        else:
            single.append(target)
    if single:
        logger.info("Calibrated on a single stride, so that their error is not known: %s.", ", ".join(single))


_CALIBRATED = ("E_opensim", "E_calibrated", "E_mean")


def calibration_table(calibration: Mapping[str, Any]) -> list[str]:
    """Lay out how good a calibration is on strides of the same subject that had no part in it.

    Parameters
    ----------
    calibration : mapping
        The section of a bundle.

    Returns
    -------
    list of str
        A title, a header and a line per muscle.
    """
    lines = [
        "RMS error against measured EMG on strides of this subject that were left out of the calibration.",
        f"{'network':<8}  strides  OpenSim  before  calibrated  mean EMG of the other strides",
    ]
    for target, row in calibration["muscles"].items():
        if all(name in row for name in _CALIBRATED):
            lines.append(
                f"{target:<8}  {row['strides']:7d}  {row['E_opensim']:7.3f}  {row['E_initial']:6.3f}  "
                f"{row['E_calibrated']:10.3f}  {row['E_mean']:7.3f}"
            )
        else:
            lines.append(f"{target:<8}  {row['strides']:7d}  not known: a single stride")
    return lines


@dataclass(frozen=True)
class CycleTrust:
    """Whether one cycle is like those of the training subjects; a row of ``<name>_trust.csv``.

    Parameters
    ----------
    side : {'r', 'l'}
        The limb.
    start, end, heel_strike : float
        The cycle (s).
    cycle_time, cycle_time_low, cycle_time_high : float
        Heel strike to heel strike, and the range of the training subjects (s).
    speed, speed_low, speed_high : float or None
        Likewise (m/s).
    input_distance, input_limit : float or None
        Distance of the shape of the simulated activations from the nearest training subject's (0: the same, 1:
        unrelated), and the largest within range.
    angle_distance, angle_limit : float or None
        Distance of the angles of hip, knee and ankle, likewise (degrees).
    outside : int
        1 if any of these is out of range.
    reasons : str
        Which, in words.
    """

    side: str
    start: float
    end: float
    heel_strike: float
    cycle_time: float
    cycle_time_low: float
    cycle_time_high: float
    speed: float | None = None
    speed_low: float | None = None
    speed_high: float | None = None
    input_distance: float | None = None
    input_limit: float | None = None
    angle_distance: float | None = None
    angle_limit: float | None = None
    outside: int = 0
    reasons: str = ""


def judge_cycles(estimate: Estimate, motion: JointAngles | None = None) -> list[CycleTrust]:
    """Compare the cycles of an estimate with those that its method was trained on.

    Parameters
    ----------
    estimate : Estimate
        The estimate. Of its muscles, the simulated activations are looked at.
    motion : JointAngles, optional
        The trial's motion, for joint angles and, where the pelvis moves through the laboratory, speed.

    Returns
    -------
    list of CycleTrust
        In the order of time, right before left; empty where the method does not know what it was trained on.
    """
    known = estimate.provenance.training_range
    if known is None:
        return []
    cycles = {cycle for item in estimate if item.curves is not None for cycle in item.cycles}
    in_order = sorted(cycles, key=lambda cycle: (cycle.side != "r", cycle.start))
    number = {cycle: row for row, cycle in enumerate(in_order)}
    names, samples = known.activations.names, known.activations.curves.shape[2]
    activations = np.full((len(in_order), len(names), samples), np.nan)
    for item in estimate:
        if item.curves is not None and item.standard_name in names:
            before = item.curves.before
            own, grid = (np.linspace(0.0, 1.0, count) for count in (before.shape[1], samples))
            rows = [number[cycle] for cycle in item.cycles]
            activations[rows, names.index(item.standard_name)] = interpolate(own, before.T, grid).T
    looks = []
    for cycle, row in zip(in_order, activations, strict=True):
        angles = speed = None
        if motion is not None:
            speed = motion.speed(cycle.start, cycle.end)
            if known.angles is None or known.angles.names == JOINTS:
                angles = motion.cycle(cycle.side, cycle.start, cycle.end, cycle.roll_to, samples)
        looks.append(Look(cycle.duration, speed, row, angles))
    return [_trust(cycle, found) for cycle, found in zip(in_order, known.judge_all(looks), strict=True)]


def _trust(cycle: Cycle, found: Sequence[Measure]) -> CycleTrust:
    measures = {item.name: item for item in found}
    outside = [item for item in measures.values() if item.outside]
    numbers: dict[str, float] = {}
    for name, item in measures.items():
        if name in ("input", "angles"):
            word = "input" if name == "input" else "angle"
            numbers |= {f"{word}_distance": item.value, f"{word}_limit": item.high}
        else:
            numbers |= {name: item.value, f"{name}_low": item.low, f"{name}_high": item.high}
    return CycleTrust(
        side=cycle.side,
        start=cycle.start,
        end=cycle.end,
        heel_strike=cycle.heel_strike,
        outside=int(bool(outside)),
        reasons="; ".join(item.reason for item in outside),
        **numbers,
    )


def log_cycles(rows: Sequence[CycleTrust]) -> None:
    """Warn of cycles that are unlike those of the training subjects, with the reasons.

    Parameters
    ----------
    rows : sequence of CycleTrust
        From :func:`judge_cycles`.
    """
    if not rows:
        return
    outside = [row for row in rows if row.outside]
    if not outside:
        logger.debug("All cycles (%d) are within the range of the training subjects.", len(rows))
        return
    logger.warning(
        "%d of %s %s unlike those of the training subjects: there neither the estimates nor bands can be relied on.",
        len(outside),
        counted(len(rows), "cycle"),
        "is" if len(outside) == 1 else "are",
    )
    for k, row in enumerate(outside):
        show = logger.warning if k < _MOST_CYCLES else logger.debug
        show("%s cycle at %.3f s: %s.", SIDES[row.side].capitalize(), row.heel_strike, row.reasons)
    if len(outside) > _MOST_CYCLES:
        logger.warning("The other %d are in <name>_trust.csv.", len(outside) - _MOST_CYCLES)


#: Warnings of so many cycles are shown.
_MOST_CYCLES = 3


def log_bands(bands: Bands | None) -> None:
    """Say how wide a method's bands are, and what they hold of the EMG of subjects and laboratories left out.

    Parameters
    ----------
    bands : Bands or None
        The bands, if there are any.
    """
    for line in band_lines(bands):
        logger.info("%s", line)


def band_lines(bands: Bands | None) -> list[str]:
    """Say it in sentences.

    Parameters
    ----------
    bands : Bands or None
        The bands, if there are any.

    Returns
    -------
    list of str
        Sentences.
    """
    if bands is None:
        return ["The bundle carries no bands: how far single estimates may be from EMG is not known."]
    lines = [
        f"Bands of {100 * bands.level:.0f} %, calibrated on the residuals of {bands.subjects} subjects left out of "
        f"training ({_RULES[bands.rule]})."
    ]
    for way, words in _COVERED.items():
        rows = bands.coverage.get(way, ())
        if rows:
            mean, width = (float(np.mean([row[name] for row in rows])) for name in ("coverage", "width"))
            worst = min(rows, key=lambda row: float(row["coverage"]))
            lines.append(
                f"Such bands held {100 * mean:.0f} % of the EMG of {len(rows)} {words} (least: {worst['name']}, "
                f"{100 * worst['coverage']:.0f} %); their mean width was {width:.2f} of the EMG's maximum."
            )
    return lines


_RULES = {
    "worst subject": "wide enough for each of them, until there are 20",
    "all subjects": "wide enough for all of them together",
}
_COVERED = {
    "subjects": "subjects that they were calibrated without",
    "laboratories": "laboratories that they were calibrated without",
    "held_out": "subjects held out",
}


def log_training_range(known: TrainingRange | None) -> None:
    """Say what the training cycles were like, and how often those of a subject left out were told to be unlike them.

    Parameters
    ----------
    known : TrainingRange or None
        The range, if there is one.
    """
    if known is None:
        return
    low, high = known.cycle_time
    text = f"Range of the training subjects: cadence {1 / high:.2g} to {1 / low:.2g} strides/s"
    if known.speed is not None:
        text += f", speed {known.speed[0]:.2g} to {known.speed[1]:.2g} m/s"
    text += f", shape of the simulated activations within {known.activations.limit:.2f} of a training subject's"
    if known.angles is not None:
        text += f", joint angles within {known.angles.limit:.0f} degrees"
    logger.info("%s.", text)
    cycles, outside = (sum(row[name] for row in known.left_out) for name in ("cycles", "outside"))
    if cycles:
        logger.info("Of %d cycles of training subjects left out, %d left the range of the others.", cycles, outside)
    cycles, outside = (sum(row[f"other_motion_{name}"] for row in known.left_out) for name in ("cycles", "outside"))
    if cycles:
        logger.info("Of %d cycles in a motion that no other subject shows, %d left that range.", cycles, outside)
