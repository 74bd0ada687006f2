"""How far an estimate can be trusted: what is known of its method's error on other subjects, in words for the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from ..log import logger
from ..methods.base import Provenance
from .estimate import Estimate

#: A method whose error on unseen subjects is not at least 2 % below that of the mean EMG profile has learned no more.
WORTH_WHILE = 0.98

_WAYS = {"leave_one_subject_out": "subjects left out of training", "held_out": "held-out subjects"}


def log_trust(estimate: Estimate) -> None:
    """Say what is known of the error of an estimate's method, for the muscles that it estimated.

    Parameters
    ----------
    estimate : Estimate
        The estimate.
    """
    provenance = estimate.provenance
    targets = list(dict.fromkeys(item.standard_name for item in estimate))
    if provenance.calibration is not None:
        _log_calibration(provenance.calibration, targets)
        return
    found = next(((words, provenance.validation[way]) for way, words in _WAYS.items() if _known(provenance, way)), None)
    if found is None:
        logger.warning(
            "The bundle carries no validation figures: nothing is known of its error on subjects it has not seen."
        )
        return
    words, figures = found
    logger.debug("How far the networks can be trusted: their RMS error against measured EMG on %s.", words)
    logger.debug("%-8s  subjects  OpenSim  refined  change   mean EMG profile of the other subjects", "network")
    no_better: list[str] = []
    judged = []
    for target in targets:
        row = figures.get(target)
        if row is None:
            logger.debug("%-8s  never validated: too few subjects with this muscle's EMG", target)
            continue
        remark = ""
        if row["E_refined"] >= row["E_opensim"]:
            remark = "  (no better than OpenSim)"
        elif row["E_refined"] >= row["E_mean"]:
            remark = "  (no better than the mean profile)"
        judged.append(row)
        if remark:
            no_better.append(target)
        logger.debug(
            "%-8s  %8d  %7.3f  %7.3f  %+4.0f %%   %7.3f%s",
            target,
            row["subjects"],
            row["E_opensim"],
            row["E_refined"],
            100.0 * row["Er_refined"],
            row["E_mean"],
            remark,
        )
    if judged:
        means = {kind: fmean(row[f"E_{kind}"] for row in judged) for kind in ("opensim", "refined", "mean")}
        logger.info(
            "RMS error against measured EMG on %s, mean of %d networks: OpenSim %.3f, refined %.3f, mean EMG profile "
            "of the other subjects %.3f%s.",
            words,
            len(judged),
            means["opensim"],
            means["refined"],
            means["mean"],
            f"; no better than one of these: {', '.join(no_better)}" if no_better else "",
        )
    total = figures.get("ALL")
    if total and total["E_refined"] > WORTH_WHILE * total["E_mean"]:
        logger.warning(
            "On subjects it has not seen the bundle is no nearer to measured EMG than the mean EMG profile of other "
            "subjects: take the refined curves as average waveforms, not as this subject's."
        )


def _known(provenance: Provenance, way: str) -> bool:
    return bool(provenance.validation.get(way))


def _log_calibration(calibration: Mapping[str, Any], targets: Iterable[str]) -> None:
    """Say for whom a calibrated bundle is, and its error on strides of this subject that were left out."""
    logger.warning(
        "The networks were calibrated to %s (%s): they are for this subject and nothing else.",
        ", ".join(calibration["subjects"]),
        ", ".join(calibration["motions"]),
    )
    columns = ("E_opensim", "E_calibrated", "E_mean")
    known = [row for row in map(calibration["muscles"].get, targets) if row and all(name in row for name in columns)]
    if known:
        logger.info(
            "RMS error on this subject's strides left out of the calibration, mean of %d networks: OpenSim %.3f, "
            "refined %.3f, mean of the other strides %.3f.",
            len(known),
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
