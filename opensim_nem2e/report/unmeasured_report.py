"""The report of muscles that nobody measured: curves with bands, and what the measured channels say of their worth."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..data.simulation import SIMULATORS
from ..estimates.unmeasured import OTHERS, left_out_in_words, parameter_rows
from ..log import counted
from ..methods.nmm.subject_estimate import METHODS
from .curves import ChartSet, Panel, thinned
from .estimate_report import Wording, write_report
from .page import REFERENCES, Cell, Table, TableRow
from .torque_report import ReportPart, number_or_dash

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial
    from ..estimates.unmeasured import TorqueFit, TrialResult
    from ..methods.nmm.subject_estimate import ChannelScore, SubjectEstimate
    from ..storage.atomic import ResultFiles
    from .estimate_report import RunRecord

#: Muscles without EMG are named in the paragraph for a paper up to so many.
_MOST_NAMED = 12

_HEADS = {"simulation": "simulation", "synx": "SynX", "copy": "copy", "population": "population"}


def write_unmeasured_report(
    files: ResultFiles,
    name: str,
    subject: SubjectEstimate,
    result: TrialResult,
    simulation: SimulatedTrial,
    fits: Sequence[TorqueFit],
    run: RunRecord,
    log: str,
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
    log : str
        The log's file name.
    """
    more = [_support_part(subject), _left_out_part(subject.scores), _torque_part(subject, result, fits)]
    write_report(
        files,
        name,
        result.excitations,
        trial=simulation,
        run=run,
        more=[*more, _parameter_part(subject)],
        wording=_wording(subject, result, simulation, fits, log),
    )


def _wording(
    subject: SubjectEstimate, result: TrialResult, simulation: SimulatedTrial, fits: Sequence[TorqueFit], log: str
) -> Wording:
    """Put the page's sentences together."""
    gait = any(item.cycles for item in result.excitations)
    origin = result.excitations.provenance
    curves = "Choose a muscle, or click a small picture"
    curves += " of its mean gait cycle, which begins at its own heel strike. " if gait else ". "
    curves += (
        "Muscles with a channel: its EMG times a gain. Others: estimated"
        + (", with a 90 % band" if subject.low is not None else "")
        + ". Beside them stand the simulation's activations, which excitations run ahead of. Coloured ground: what was "
        f"estimated{'; dashed: heel strikes' if gait else ''}. Hover for values, drag to zoom, double-click to see all "
        "again."
    )
    limits = [
        "That torques are met proves nothing about a single deep muscle: several can make the same torque.",
        "How high an unmeasured muscle's EMG is, relative to its maximum, cannot be known: compare timing and shape "
        "first, height with care.",
        "A channel that follows its neighbour's may be crosstalk; what is estimated from it is then crosstalk, too.",
    ]
    if origin.bundle:
        limits.append(
            "What other subjects' EMG tells is applied to this one: of a patient it says what healthy subjects do."
        )
    by = f"{simulation.stem}, estimated by {origin.source}"
    name = SIMULATORS[simulation.simulator] if simulation.simulator else "simulation"
    references = [*METHODS[subject.method].references, *REFERENCES[1:]]
    summary = unmeasured_summary(subject, fits)
    return Wording(summary, by, curves, _methods(subject, result), f"{name} (activation)", limits, references, log)


def _methods(subject: SubjectEstimate, result: TrialResult) -> str:
    """Write the paragraph for a paper."""
    r, origin = subject.recordings, result.excitations.provenance
    deep = [muscle for m, muscle in enumerate(r.muscles) if subject.shapes.measured[m] < 0]
    named = f" ({', '.join(deep)})" if 0 < len(deep) <= _MOST_NAMED else ""
    text = (
        f"Excitations of {counted(len(r.muscles), 'muscle')} that actuate {', '.join(r.coordinates)} were estimated "
        f"with opensim_nem2e {__version__} by {origin.label} from {counted(len(r.channels), 'EMG channel')} "
        f"({', '.join(channel.column for channel in r.channels)}), {counted(len(r.trials), 'trial')} and the moments "
        f"of inverse dynamics; {counted(len(deep), 'muscle')}{named} had no EMG. "
    )
    if origin.bundle:
        text += f"Non-negative weights of channels were learned from other subjects' EMG (bundle {origin.bundle}). "
    text += (
        "Strength, optimal fiber and tendon slack length, EMG gain, delay, activation time constant and non-linearity "
        "of Hill-type muscles with rigid tendons were fitted within bounds of the literature (CEINMS, NMSM Pipeline). "
        "What the fit left of the moments was made up by the least change of activations, in proportion to their size"
        f"{', with elastic tendons' if result.elastic else ''}. "
    )
    scores = [row for row in subject.scores if row.left_out == "channel"]
    if scores:
        text += (
            "Measured channels left out one at a time were estimated with "
            f"r = {fmean(row.r for row in scores):.2f} and, after one gain, R2 = "
            f"{fmean(row.R2 for row in scores):.2f}. "
        )
    if subject.low is not None:
        text += "Bands are 90 % prediction intervals from the errors of left-out channels. "
    return text.strip()


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
    error, left = (
        fmean(100.0 * getattr(row, f"rmse_{kind}") / row.peak for row in fits) for kind in ("fit", "consistent")
    )
    text = (
        f"{counted(len(r.muscles), 'muscle')} act on {counted(len(r.coordinates), 'joint coordinate')}; "
        f"{counted(len(r.channels), 'EMG channel')} stand for {measured} of them. The fit's torques are off by "
        f"{error:.1f} % of their peaks (RMS), those of the activations written by {left:.1f} %. "
    )
    text += " ".join(left_out_in_words(subject.scores))
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
    others = [name for name in OTHERS if not all(np.isnan(getattr(row, f"r_{name}")) for row in scores)]
    written = () if all(np.isnan(row.r_written) for row in scores) else ("r", "R2")
    own = ("r", "R2", "E", "coverage", *(f"{what}_written" for what in written))
    head = ("channel", "left out", "r", "R2", "E", "within the band", *(f"{what} written" for what in written))
    head += tuple(f"{what} {_HEADS[name]}" for name in others for what in ("r", "R2"))
    body = []
    for kind, words in (("channel", "alone"), ("group", "with its synergists")):
        rows = [row for row in scores if row.left_out == kind]
        names = (*own, *(f"{what}_{name}" for name in others for what in ("r", "R2")))
        for row in rows:
            cells = (Cell(number_or_dash(getattr(row, each)), strong=each == "r") for each in names)
            body.append(TableRow((Cell(row.channel), Cell(words, words=True), *cells)))
        if len(rows) > 1:
            means = (Cell(number_or_dash(float(np.mean([getattr(row, each) for row in rows])))) for each in names)
            body.append(TableRow((Cell("mean"), Cell(words, words=True), *means), total=True))
    texts = (
        "Each channel was taken for unmeasured in turn, its time offset found without it, and compared with what was "
        "measured: r over all rows; R2 and E (of EMG over its maximum) after one gain, since the maximum of an "
        "unmeasured muscle's EMG cannot be known. The band is the one that the other channels' errors give, 90 %; the "
        "table has the share of rows that it holds. Written: the activation once the torques were put right, against "
        "the one that the channel's EMG leads to. Beside stand the simulation, synergy extrapolation (SynX), "
        + ("other subjects' weights (population) " if "population" in others else "")
        + "and the nearest synergist's channel (copy).",
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
        "change of activations, in proportion to their size, before they and their controls are written: with "
        f"{'elastic' if result.elastic else 'rigid'} tendons. That torques are met proves nothing about a single deep "
        "muscle: several can make the same torque."
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
