"""The report of muscles that nobody measured: curves with bands, and what the measured channels say of their worth."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from ..estimates.unmeasured import parameter_rows
from ..log import counted
from .curves import ChartSet, Panel, thinned
from .estimate_report import write_report
from .page import Cell, Table, TableRow
from .torque_report import ReportPart, number_or_dash

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial
    from ..estimates.unmeasured import TorqueFit, TrialResult
    from ..methods.nmm.subject_estimate import ChannelScore, SubjectEstimate
    from ..storage.atomic import ResultFiles
    from .estimate_report import RunRecord

_OTHERS = ("simulation", "synx", "copy", "population")
_HEADS = {"simulation": "simulation", "synx": "SynX", "copy": "copy", "population": "population"}


def write_unmeasured_report(
    files: ResultFiles,
    name: str,
    subject: SubjectEstimate,
    result: TrialResult,
    simulation: SimulatedTrial,
    fits: Sequence[TorqueFit],
    run: RunRecord,
) -> None:
    """Write the report of a trial.

    Parameters
    ----------
    files : ResultFiles
        Where to.
    name : str
        What the results' names begin with.
    subject : SubjectEstimate
        The subject's run.
    result : TrialResult
        The trial.
    simulation : SimulatedTrial
        Its simulation.
    fits : sequence of TorqueFit
        How well torques are met.
    run : RunRecord
        What is known of the run.
    """
    more = [_support_part(subject), _left_out_part(subject.scores), _torque_part(subject, result, fits)]
    write_report(
        files,
        name,
        result.excitations,
        trial=simulation,
        run=run,
        more=[*more, _parameter_part(subject)],
        summary=unmeasured_summary(subject, fits),
    )


def unmeasured_summary(subject: SubjectEstimate, fits: Sequence[TorqueFit]) -> str:
    """Say in words what came out.

    Parameters
    ----------
    subject : SubjectEstimate
        The run.
    fits : sequence of TorqueFit
        How well torques are met.

    Returns
    -------
    str
        A few sentences.
    """
    r = subject.recordings
    measured = int(np.sum(subject.shapes.measured >= 0))
    error = fmean(100.0 * row.rmse_fit / row.peak for row in fits)
    text = (
        f"{counted(len(r.muscles), 'muscle')} act on {counted(len(r.coordinates), 'joint coordinate')}; "
        f"{counted(len(r.channels), 'EMG channel')} stand for {measured} of them. The fit's torques are off by "
        f"{error:.1f} % of their peaks (RMS). "
    )
    for kind, words in (("channel", "left out one at a time"), ("group", "left out with all their synergists")):
        rows = [row for row in subject.scores if row.left_out == kind]
        if rows:
            text += (
                f"Measured channels {words} are estimated with r = {fmean(row.r for row in rows):.2f} (simulation: "
                f"{fmean(row.r_simulation for row in rows):.2f}; synergy extrapolation: "
                f"{fmean(row.r_synx for row in rows):.2f}). "
            )
    if not subject.scores:
        text += "Nothing was left out: the run says nothing of its own errors. "
    return text.strip()


def _support_part(subject: SubjectEstimate) -> ReportPart:
    alone = subject.unsupported()
    text = (
        f"No synergist of {', '.join(alone)} is measured. What is said of them rests on the simulation, the torques "
        "and, in gait, on other subjects; read the row 'with its synergists' for what that is worth."
        if alone
        else "Every muscle has a channel of its own or of a synergist."
    )
    return ReportPart("support", "Muscles without a measured synergist", (text,))


def _left_out_part(scores: Sequence[ChannelScore]) -> ReportPart:
    if not scores:
        return ReportPart("left-out", "Left-out channels", ("No channel was left out.",))
    head = ("channel", "left out", "r", "R2", "E", "within the band", *(f"r {_HEADS[name]}" for name in _OTHERS))
    head += tuple(f"R2 {_HEADS[name]}" for name in _OTHERS)
    body = []
    for kind, words in (("channel", "alone"), ("group", "with its synergists")):
        rows = [row for row in scores if row.left_out == kind]
        names = ("r", "R2", "E", "coverage", *(f"{w}_{name}" for w in ("r", "R2") for name in _OTHERS))
        for row in rows:
            cells = (Cell(number_or_dash(getattr(row, each)), strong=each == "r") for each in names)
            body.append(TableRow((Cell(row.channel), Cell(words, words=True), *cells)))
        if len(rows) > 1:
            means = (Cell(number_or_dash(float(np.mean([getattr(row, each) for row in rows])))) for each in names)
            body.append(TableRow((Cell("mean"), Cell(words, words=True), *means), total=True))
    texts = (
        "Each channel was taken for unmeasured in turn, its time offset found without it, and compared with what was "
        "measured: r over all rows; R2 and E (of EMG over its maximum) after one gain, since the maximum of an "
        "unmeasured muscle's EMG cannot be known. The band is the one that the other channels' errors give, 90 %.",
        "A deep muscle is not one of these channels. Where none of its synergists is measured, the lower block is the "
        "nearer guess; where its task is another than that of all muscles measured, neither is.",
    )
    return ReportPart("left-out", "Left-out channels", texts, tables=(Table("Left-out channels.", head, tuple(body)),))


def _torque_part(subject: SubjectEstimate, result: TrialResult, fits: Sequence[TorqueFit]) -> ReportPart:
    time = thinned(result.rows_time)
    panels = [
        Panel(
            coordinate,
            "joint coordinates",
            {
                kind: np.interp(time, result.rows_time, table[:, k])
                for kind, table in (
                    ("needed", result.needed),
                    ("refined", result.fit),
                    ("consistent", result.consistent),
                )
            },
        )
        for k, coordinate in enumerate(subject.recordings.coordinates)
    ]
    kinds = {"needed": "inverse dynamics", "refined": "fit", "consistent": "activations written"}
    head = ("coordinate", "peak (Nm)", "RMSE of the fit", "RMSE of the activations written")
    body = tuple(
        TableRow(
            (
                Cell(row.coordinate),
                Cell(f"{row.peak:.1f}"),
                Cell(f"{row.rmse_fit:.2f} ({100.0 * row.rmse_fit / row.peak:.1f} %)"),
                Cell(f"{row.rmse_consistent:.2f} ({100.0 * row.rmse_consistent / row.peak:.1f} %)"),
            )
        )
        for row in fits
    )
    text = (
        "The fit's torques are those of personal muscles with rigid tendons. What it leaves is put right by the least "
        "change of activations before they and their controls are written. That torques are met proves nothing about "
        "a single deep muscle: several can make the same torque."
    )
    charts = ChartSet("torques", "coordinate", "torque (Nm)", time, kinds, panels)
    return ReportPart("torques", "Joint torques", (text,), charts=charts, tables=(Table("Torques (Nm).", head, body),))


def _parameter_part(subject: SubjectEstimate) -> ReportPart:
    head = ("muscle", "channel", "strength", "fiber length", "tendon slack length", "EMG gain", "non-linearity")
    body = tuple(
        TableRow(
            (
                Cell(row.muscle),
                Cell(row.channel or "–", words=True),
                Cell(f"{row.strength:.2f}"),
                Cell(f"{row.optimal_fiber_length:.2f}"),
                Cell(f"{row.tendon_slack_length:.2f}"),
                Cell(f"{row.emg_gain:.2f}"),
                Cell(f"{row.nonlinearity:.2f}"),
            )
        )
        for row in parameter_rows(subject)
    )
    delay, rise = (float(subject.parameters[name][0]) for name in ("delay", "activation_time"))
    text = (
        f"Electromechanical delay {1e3 * delay:.0f} ms, time constant of activation {1e3 * rise:.0f} ms (deactivation "
        "4 times that). Factors are of the model's values. They are what fits best within bounds, not measurements."
    )
    return ReportPart("parameters", "Personal parameters", (text,), tables=(Table("Parameters.", head, body),))
