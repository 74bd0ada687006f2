"""The report of one trial: what was estimated and how far it can be trusted, as one page that needs nothing else."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..data.simulation import SIMULATORS
from ..estimates.amplitude import Convention
from ..estimates.mechanics import WORDS
from ..estimates.summary import MuscleChange
from ..estimates.trust import band_lines, errors_on_others, profile_error
from ..log import counted
from ..signals.cycles import Cycle, inside_cycles
from ..storage.muscles import MuscleNames
from .curves import ChartSet, Panel, over_cycles, stretches, thinned
from .estimate_figures import anatomical_order, group_of
from .model_view import ModelFiles, ModelView, make_model_view
from .page import REFERENCES, Cell, Picture, Table, TableRow, as_data, packaged, render_page
from .torque_report import (
    MECHANICS_LIMITS,
    TENDON_LIMITS,
    ReportPart,
    mechanics_parts,
    mechanics_summary,
    number_or_dash,
)
from .trust_part import trust_parts

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial
    from ..estimates.estimate import Estimate, MuscleEstimate
    from ..estimates.measured_emg import MeasuredEMG
    from ..estimates.mechanics import Mechanics
    from ..estimates.torques import TorqueCheck
    from ..estimates.trust import CycleTrust
    from ..storage.atomic import ResultFiles

Array = NDArray[np.float64]

# What a method put out where torques decided on the amplitude: many times what is written, and shown on demand.
_ASIDE = ("unscaled",)

# Below this share of the torques' say in a gain, its prior is all but alone.
_HARDLY_DETERMINED = 0.2

_SIDES = {"r": "right", "l": "left"}

_AMPLITUDES: Mapping[Convention, str] = {
    "torques": "Joint torques decided on the amplitude: each muscle's shape was multiplied by a gain, and activations "
    "were chosen that make the torques of inverse dynamics.",
    "simulation": "Each muscle's shape was given the strength that the simulation had for the muscle; joint torques "
    "had no say in the amplitude.",
    "emg": "EMG relative to its maximum was taken for the activation: compare timing and shape, not height.",
    "method": "The amplitude is that of the method, which puts out activations itself.",
}

_LIMITS = (
    "EMG tells when a muscle is active, not how much force that makes: compare timing and shape first, height with "
    "care.",
    "What a method learned of the EMG of other people is applied to this one. That it is this person's own pattern can "
    "only be shown by measuring this person's EMG.",
)


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run beside its results.

    Parameters
    ----------
    inputs : sequence of tuple
        What each file is (``'states_file'``), and its path.
    settings : sequence of tuple of str
        Names and values of settings.
    warnings : sequence of str
        What the log warned of.
    """

    inputs: Sequence[tuple[str, Path]] = ()
    settings: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Wording:
    """What the page of a method that is no refinement says in words of its own.

    Parameters
    ----------
    summary, by, curves, methods : str
        The first paragraph; the line below the title; how to read the curves; the paragraph for a paper.
    simulation : str
        What the simulation's curves are called.
    limits, references : sequence of str
        What the curves cannot say, and what is to be cited.
    log : str
        The log's file name.
    """

    summary: str
    by: str
    curves: str
    methods: str
    simulation: str
    limits: Sequence[str]
    references: Sequence[str]
    log: str


def write_report(
    files: ResultFiles,
    name: str,
    activations: Estimate,
    *,
    trial: SimulatedTrial | None = None,
    changes: Sequence[MuscleChange] = (),
    cycles: Sequence[CycleTrust] = (),
    mechanics: Mechanics | None = None,
    check: TorqueCheck | None = None,
    tradeoff: Picture | None = None,
    run: RunRecord | None = None,
    model: ModelFiles | None = None,
    more: Sequence[ReportPart] = (),
    wording: Wording | None = None,
) -> None:
    """Write the report of an estimate: ``<name>_report.html``.

    Parameters
    ----------
    files : ResultFiles
        Where to.
    name : str
        What the results' names begin with.
    activations : Estimate
        The activations, as they are written.
    trial : SimulatedTrial, optional
        The simulation that they refine; None: they were estimated without one.
    changes : sequence of MuscleChange
        What the estimate changed, muscle by muscle.
    cycles : sequence of CycleTrust
        Whether its cycles are like those that the method was trained on.
    mechanics : Mechanics, optional
        What was found out about torques and measured EMG.
    check : TorqueCheck, optional
        The torques; with those of the controls where activations were made consistent.
    tradeoff : Picture, optional
        The figure of what consistency costs.
    run : RunRecord, optional
        What is known of the run.
    model : ModelFiles, optional
        Model and motion for the 3D view; None: none is wanted.
    more : sequence of ReportPart, optional
        Sections of the method's own.
    wording : Wording, optional
        In place of a refinement's words.
    """
    record = run or RunRecord()
    # Where torques decided on the amplitude, what is written is not what the method put out.
    by_torques = mechanics is not None and mechanics.by_torques
    words = WORDS if mechanics is None else mechanics.words
    muscles = muscle_charts(activations, trial, mechanics, wording.simulation if wording is not None else "OpenSim")
    parts = gains_parts(activations)
    parts += trust_parts(activations.provenance, cycles)
    parts += [_changes_part(changes)] if changes else []
    torques = None
    if mechanics is not None:
        torques = None if check is None else torque_charts(check, activations, words)
        parts += mechanics_parts(mechanics, check, torques, tradeoff, words)
    parts += more
    sets = [muscles] if torques is None else [muscles, torques]
    sets += [part.charts for part in more if part.charts is not None]
    trust = _trust_table(activations)
    consistent = None if by_torques or mechanics is None or mechanics.consistent is None else mechanics.consistent.new
    view = ModelView("The 3D view was switched off.") if wording is None else None
    if model is not None:
        view = make_model_view(model, activations, trial, consistent, muscles.kinds)
    data: dict[str, Any] = {"sets": {chosen.key: chosen.packed() for chosen in sets}}
    if view is not None and view.data is not None:
        data["view"] = view.data
    quantity = "excitation" if activations.quantity == "excitation" else "activation"
    own = wording or Wording(
        _summary(activations, changes, mechanics, check, words),
        _by_line(activations, trial),
        _curves_text(muscles, trial),
        _methods(activations, trial, mechanics, check),
        "OpenSim",
        [*_LIMITS, *([] if check is None else [TENDON_LIMITS[check.terms.tendons], *MECHANICS_LIMITS])],
        REFERENCES,
        f"{name}.log",
    )
    page = render_page(
        "estimate.html",
        {
            "title": f"{name}: {activations.kind} muscle {quantity}s",
            "by": own.by,
            "name": name,
            "log": own.log,
            "version": __version__,
            "summary": own.summary,
            "muscles": muscles,
            "curves_title": f"{quantity.capitalize()}s",
            "curves_text": own.curves,
            "worries": _worries(activations, changes, record, refined=wording is None),
            "trust": trust,
            "parts": parts,
            "limits": own.limits,
            "methods": own.methods,
            "references": own.references,
            "provenance": _provenance(activations, record),
            "settings": record.settings,
            "view": view,
            "data": as_data(data),
            "chart_style": packaged("vendor", "uPlot.min.css"),
            "uplot": packaged("vendor", "uPlot.iife.min.js"),
            "script": packaged("templates", "charts.js"),
            "three": packaged("vendor", "three.min.js"),
            "view_script": packaged("templates", "model_view.js"),
        },
    )
    files.path(f"{name}_report.html").write_text(page, encoding="utf-8")


# --- curves -----------------------------------------------------------------------------------------------------------


def muscle_charts(
    activations: Estimate, trial: SimulatedTrial | None, mechanics: Mechanics | None, simulation: str = "OpenSim"
) -> ChartSet:
    """Put the curves of all muscles together.

    Parameters
    ----------
    activations : Estimate
        The activations.
    trial : SimulatedTrial or None
        The simulation.
    mechanics : Mechanics or None
        Consistent activations and measured EMG, if there are any.
    simulation : str
        What the simulation's curves are called.

    Returns
    -------
    ChartSet
        By functional group, a right muscle before its left twin.
    """
    by_torques = mechanics is not None and mechanics.by_torques
    unscaled = mechanics.activations if mechanics is not None and by_torques else None
    consistent = None if by_torques or mechanics is None or mechanics.consistent is None else mechanics.consistent.new
    emg = None if mechanics is None else mechanics.emg
    items: dict[str, MuscleEstimate] = {**({} if consistent is None else consistent.muscles), **activations.muscles}
    known = MuscleNames.load().of_model(items)
    standard = {
        muscle: (
            item.standard_name or (found.name if found is not None else ""),
            item.side or (found.side if found is not None else "") or _side(muscle),
        )
        for (muscle, found), item in zip(known.items(), items.values(), strict=True)
    }
    time = thinned(activations.time)
    panels = []
    for muscle in sorted(items, key=lambda name: anatomical_order(name, *standard[name])):
        item = items[muscle]
        new = {"unscaled": None if unscaled is None else unscaled.muscles.get(muscle)}
        new["refined"] = activations.muscles.get(muscle)
        new["consistent"] = None if consistent is None else consistent.muscles.get(muscle)
        curves = {} if trial is None else {"opensim": trial.activations[muscle]}
        series = {kind: np.interp(time, activations.time, values) for kind, values in curves.items()}
        bands: dict[str, tuple[Array, Array]] = {}
        cycle_bands: dict[str, tuple[Array, Array]] = {}
        for kind, found in new.items():
            if found is None:
                continue
            curves[kind] = found.values
            series[kind] = _within(found, activations.time, time, found.values)
            if found.low is not None and found.high is not None:
                low, high = (_within(found, activations.time, time, edge) for edge in (found.low, found.high))
                bands[kind] = low, high
                if found.cycles:
                    cut = (over_cycles(activations.time, edge, found.cycles) for edge in (found.low, found.high))
                    low, high = (rows.mean(axis=0) for rows in cut)
                    cycle_bands[kind] = low, high
        cycles = {kind: over_cycles(activations.time, values, item.cycles) for kind, values in curves.items()}
        if emg is not None and muscle in emg.channels and item.cycles:
            series, cycles = _with_emg(emg, muscle, item.cycles, time, series, cycles)
        panels.append(
            Panel(
                muscle,
                group_of(standard[muscle][0]),
                series,
                cycles if item.cycles else {},
                bands,
                cycle_bands,
                stretches(activations.time, item.covered),
                item.heel_strikes(),
            )
        )
    shown = {kind for panel in panels for kind in panel.series}
    labels = {
        "emg": "measured EMG",
        "opensim": simulation,
        "unscaled": "unscaled (EMG / maximum)",
        "refined": activations.kind if trial is not None else "estimated",
        "consistent": "torque-consistent",
    }
    kinds = {kind: label for kind, label in labels.items() if kind in shown}
    unit = "excitation" if activations.quantity == "excitation" else "activation"
    if activations.amplitude is not None:
        unit = activations.amplitude.label
    return ChartSet("muscles", "muscle", f"{unit} (0..1)", time, kinds, panels, (0.0, 1.02), _ASIDE)


def torque_charts(check: TorqueCheck, activations: Estimate, words: Mapping[str, str]) -> ChartSet:
    """Put the torques' curves together.

    Parameters
    ----------
    check : TorqueCheck
        The torques.
    activations : Estimate
        Whose gait cycles the torques are shown over.
    words : mapping of str to str
        What the kinds of activations are called (:attr:`.Mechanics.words`).

    Returns
    -------
    ChartSet
        A panel per coordinate.
    """
    terms = check.terms
    time = thinned(terms.time)
    # Each curve in the colour of its activations.
    keys = {kind: "opensim" if kind == "opensim" else word for kind, word in words.items()}
    by_side: dict[str, Sequence[Cycle]] = {item.side: item.cycles for item in activations}
    panels = []
    for k, coordinate in enumerate(terms.coordinates):
        side = coordinate.rpartition("_")[2]
        compared = check.compared[:, k]
        curves = {
            "needed": terms.inverse_dynamics[:, k],
            "opensim": check.opensim[:, k],
            keys["refined"]: np.where(compared, check.refined[:, k], np.nan),
        }
        if check.consistent is not None:
            curves[keys["consistent"]] = np.where(compared, check.consistent[:, k], np.nan)
        cycles = [c for c in by_side.get(side, ()) if terms.time[0] <= c.start + 0.1 and c.end - 0.1 <= terms.time[-1]]
        complete = {keys["refined"]: check.refined, "opensim": check.opensim, "needed": terms.inverse_dynamics}
        if check.consistent is not None:
            complete[keys["consistent"]] = check.consistent
        panels.append(
            Panel(
                coordinate,
                "joint coordinates",
                {kind: np.interp(time, terms.time, values) for kind, values in curves.items()},
                {kind: over_cycles(terms.time, values[:, k], cycles) for kind, values in complete.items()}
                if cycles
                else {},
                changed=stretches(terms.time, compared),
            )
        )
    kinds = {"needed": "inverse dynamics", "opensim": "OpenSim's activations"}
    kinds[keys["refined"]] = f"{words['refined']} activations"
    if check.consistent is not None:
        kinds[keys["consistent"]] = f"{words['consistent']} activations"
    return ChartSet("torques", "coordinate", "torque (Nm)", time, kinds, panels, aside=_ASIDE)


def _side(muscle: str) -> str:
    ending = muscle.rpartition("_")[2]
    return ending if ending in _SIDES else ""


def _within(item: MuscleEstimate, time: Array, at: Array, values: Array) -> Array:
    """Interpolate to the page's times, with gaps where nothing was estimated."""
    covered = np.interp(at, time, item.covered.astype(float)) >= 0.5
    inside: Array = np.where(covered, np.interp(at, time, values), np.nan)
    return inside


def _with_emg(
    emg: MeasuredEMG,
    muscle: str,
    cycles: Sequence[Cycle],
    time: Array,
    curves: Mapping[str, Array],
    cut: Mapping[str, Array],
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Put EMG before the other curves, its maximum in the cycles 1: over time, and over the cycles without a gap."""
    channel = emg.channels[muscle]
    values = np.maximum(emg.at(channel, time), 0.0)
    values[(time < emg.series.time[0] - emg.offset) | (time > emg.series.time[-1] - emg.offset)] = np.nan
    own_time, own = emg.rows(channel)
    own = np.maximum(own, 0.0)
    largest = float(own[inside_cycles(own_time, cycles)].max(initial=0.0)) or 1.0
    whole = emg.whole(muscle, cycles)
    over = {"emg": over_cycles(own_time, own / largest, whole)} if whole else {}
    return {"emg": values / largest, **curves}, {**over, **cut}


# --- words and tables -------------------------------------------------------------------------------------------------


def _by_line(activations: Estimate, trial: SimulatedTrial | None) -> str:
    source = activations.provenance.source
    return f"Estimated by {source}" if trial is None else f"{trial.source_name or trial.stem}, refined by {source}"


def _cycle_words(activations: Estimate) -> str:
    """Name the gait cycles: '2 right and 1 left gait cycles (0.25 to 2.36 s)'."""
    cycles = {(cycle.side, cycle.start, cycle.end): cycle for item in activations for cycle in item.cycles}
    if not cycles:
        return "the whole trial" if len(activations.time) else "no time"
    counts = {side: sum(cycle.side == side for cycle in cycles.values()) for side in ("r", "l")}
    words = " and ".join(f"{count} {_SIDES[side]}" for side, count in counts.items() if count)
    start, end = min(c.start for c in cycles.values()), max(c.end for c in cycles.values())
    return f"{words} gait cycle{'s' if len(cycles) > 1 else ''} ({start:.2f} to {end:.2f} s)"


def _summary(
    activations: Estimate,
    changes: Sequence[MuscleChange],
    mechanics: Mechanics | None,
    check: TorqueCheck | None,
    words: Mapping[str, str],
) -> str:
    count = len(_with_shape(activations))
    verb = "were refined" if changes else "were estimated"
    if count == 1:
        verb = verb.replace("were", "was")
    text = f"{counted(count, 'muscle')} {verb} over {_cycle_words(activations)}. "
    if changes:
        most = max(changes, key=lambda row: row.rms_change)
        text += (
            f"Activations changed by {fmean(row.rms_change for row in changes):.2f} on average (RMS, of 0 to 1), most "
            f"in {most.muscle} ({most.rms_change:.2f}). "
        )
        shifts = [row.peak_shift_ms for row in changes if math.isfinite(row.peak_shift_ms)]
        if shifts:
            text += (
                f"Peaks moved by {_ms(min(shifts))} to {_ms(max(shifts))} ms (median {_ms(median(shifts))}; later is "
                "positive). "
            )
    if mechanics is not None:
        text += mechanics_summary(mechanics, check, words)
    errors = _mean_errors(activations)
    if errors is not None:
        where, refined, opensim, profile = errors
        text += (
            f"On {where} the method's error against measured EMG, mean of {_judged(activations)}, was {refined:.3f}, "
            f"OpenSim's {opensim:.3f} and that of mean EMG profiles of other subjects {profile:.3f}."
        )
    return text.strip()


def _with_shape(activations: Estimate) -> list[MuscleEstimate]:
    """Return the muscles that have a shape of their own; others only keep the torques."""
    return [item for item in activations if item.shape_source]


def gains_parts(activations: Estimate) -> list[ReportPart]:
    """Say how the amplitude was found, and each muscle's gain.

    Parameters
    ----------
    activations : Estimate
        The activations.

    Returns
    -------
    list of ReportPart
        One; none where the estimate does not say it.
    """
    amplitude = activations.amplitude
    if amplitude is None:
        return []
    texts = [_AMPLITUDES[amplitude.convention]]
    remarks = {item.muscle: item.remark for item in activations}
    rows = [row for row in amplitude.gains.values() if row.shape]
    tables: tuple[Table, ...] = ()
    if rows:
        texts.append(
            "The gain is the activation that the largest value of a muscle's shape stands for. Determined: the share "
            "of it that the torques decided; the rest is the prior's. Beside the shape: how far the activation departs "
            "from gain times shape (root mean square)."
        )
        if amplitude.others_moved():
            texts.append(f"Muscles without a shape moved by {amplitude.others_moved():.3f} on average.")
        body = tuple(
            TableRow(
                (
                    Cell(row.muscle),
                    Cell(remarks.get(row.muscle) or row.shape, words=True),
                    Cell(number_or_dash(row.gain)),
                    Cell(number_or_dash(row.prior)),
                    Cell("–" if math.isnan(row.determined) else f"{100.0 * row.determined:.0f}"),
                    Cell(number_or_dash(row.from_shape)),
                    Cell(number_or_dash(row.moved)),
                    Cell("–" if math.isnan(row.outside_band) else f"{100.0 * row.outside_band:.0f}"),
                )
            )
            for row in rows
        )
        head = (
            *("muscle", "shape from", "gain", "prior", "determined (%)"),
            *("beside the shape", "moved from OpenSim", "outside its band (% of rows)"),
        )
        tables = (Table("Gains of the muscles with a shape.", head, body),)
    return [ReportPart("gains", "Amplitude and gains", tuple(texts), tables=tables)]


def _ms(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:+.0f}" if round(value) else "0"


def _is_far(row: MuscleChange) -> bool:
    """Tell whether another burst has become the largest, so that nothing has been shifted."""
    return math.isfinite(row.peak_after_percent) and math.isnan(row.peak_shift_ms)


def _curves_text(muscles: ChartSet, trial: SimulatedTrial | None) -> str:
    text = "Choose a muscle, or click a small picture of its mean gait cycle, which begins at its own heel strike. "
    text += "Coloured ground: what was refined; dashed: heel strikes. " if trial is not None else ""
    if any(panel.bands for panel in muscles.panels):
        text += "Bands are those of the method. "
    if "emg" in muscles.kinds:
        text += "Each EMG channel is divided by its maximum in these cycles. "
    return text + "Hover for values, drag to zoom, double-click to see all again."


def _worries(activations: Estimate, changes: Sequence[MuscleChange], record: RunRecord, *, refined: bool) -> list[str]:
    """Say what a reader should know before using the result."""
    found = list(dict.fromkeys(record.warnings))
    far = [row.muscle for row in changes if _is_far(row)]
    if far:
        found.append(
            f"The highest point moved by more than a quarter of the gait cycle in {', '.join(far)}: there another "
            "burst has become the largest, which is no shift in time."
        )
    found += _rolled_cycles(activations)
    by_torques = activations.amplitude is not None and activations.amplitude.convention == "torques"
    gains = activations.amplitude.gains if activations.amplitude is not None and by_torques else {}
    left_open = [row.muscle for row in gains.values() if row.shape and row.determined < _HARDLY_DETERMINED]
    if left_open:
        found.append(
            f"Torques determined less than {100 * _HARDLY_DETERMINED:.0f} % of the gain of {', '.join(left_open)}: how "
            "strong these muscles are is mostly the prior's guess."
        )
    if activations.provenance.bands is None and refined:
        found += band_lines(None)
    clipped = [row for row in changes if row.clipped_samples and row.largest_excess >= 0.005]
    if clipped:
        found.append(
            f"The method's output left the bounds of {', '.join(row.muscle for row in clipped)} in some rows (by "
            f"{max(row.largest_excess for row in clipped):.2f} at most) and was clipped."
        )
    unknown = (
        errors_on_others(activations.provenance, activations.motion) is None
        and activations.provenance.calibration is None
    )
    if unknown and refined and not record.warnings:
        found.append("Nothing is known of the method's error on people it has not seen.")
    return found or ["Nothing was warned of. Read the limits below all the same."]


def _rolled_cycles(activations: Estimate) -> list[str]:
    """Name the cycles that begin in mid-window."""
    cycles = dict.fromkeys(cycle for item in activations for cycle in item.cycles if cycle.roll)
    return [
        f"The {_SIDES[cycle.side]} limb's cycle from {cycle.start:.2f} to {cycle.end:.2f} s does not begin with a heel "
        f"strike of this limb. It was rolled to the one at {cycle.heel_strike:.2f} s, which takes gait for periodic: "
        "what comes before the strike stands for the end of the cycle."
        for cycle in cycles
    ]


def _judged(activations: Estimate) -> str:
    """Say which muscles the method's errors are of."""
    measured = any(item.shape_source == "EMG" for item in activations)
    return "the muscles without EMG of their own" if measured else "these muscles"


def _mean_errors(activations: Estimate) -> tuple[str, float, float, float] | None:
    """Average the refined muscles' errors on unseen subjects: the method's, OpenSim's, and the best mean profile's."""
    figures = errors_on_others(activations.provenance, activations.motion)
    if figures is None:
        return None
    words, rows = figures
    names = dict.fromkeys(item.standard_name for item in activations if item.is_methods)
    known = [rows[name] for name in names if name in rows]
    if not known:
        return None
    refined, opensim = (fmean(row[key] for row in known) for key in ("E_refined", "E_opensim"))
    return words, refined, opensim, fmean(profile_error(row) for row in known)


def _trust_table(activations: Estimate) -> Table | None:
    """List the method's errors on subjects that it has not seen."""
    figures = errors_on_others(activations.provenance, activations.motion)
    if figures is None:
        return None
    words, rows = figures
    body = []
    muscles: dict[str, list[str]] = {}
    for item in activations:
        if item.is_methods:
            muscles.setdefault(item.standard_name, []).append(item.muscle)
    for target, named in muscles.items():
        row = rows.get(target)
        names = (Cell(", ".join(named), words=True), Cell(target, words=True))
        if row is None:
            body.append(TableRow((*names, *(Cell("–") for _ in range(4)), Cell("never validated", words=True))))
            continue
        verdict = "nearer to EMG than both"
        if row["E_refined"] >= row["E_opensim"]:
            verdict = "no better than OpenSim"
        elif row["E_refined"] >= profile_error(row):
            verdict = "no better than the mean profile: take it as an average waveform"
        errors = (row["E_opensim"], row["E_refined"], profile_error(row))
        numbers = (Cell(number_or_dash(error)) for error in errors)
        body.append(TableRow((*names, Cell(str(row["subjects"])), *numbers, Cell(verdict, words=True))))
    if not body:
        return None
    return Table(
        f"How far the method can be trusted: its RMS error E against normalised measured EMG on {words}, beside "
        "OpenSim's and that of mean EMG profiles of other subjects.",
        ("muscles", "network", "subjects", "E OpenSim", "E refined", "E mean profile", "verdict"),
        tuple(body),
    )


def _changes_part(changes: Sequence[MuscleChange]) -> ReportPart:
    """List what changed, muscle by muscle."""
    head = ("muscle", "cycles", "RMS change", "mean before", "mean after", "peak before (%)", "peak after (%)")
    body = []
    for row in changes:
        moved = "another burst" if _is_far(row) else _ms(row.peak_shift_ms)
        cells = [Cell(row.muscle), Cell(str(row.cycles) if row.cycles else "–"), Cell(f"{row.rms_change:.3f}")]
        cells += [Cell(f"{row.mean_before:.3f}"), Cell(f"{row.mean_after:.3f}")]
        peaks = (row.peak_before_percent, row.peak_after_percent)
        cells += [Cell(f"{peak:.0f}" if math.isfinite(peak) else "–") for peak in peaks]
        body.append(TableRow((*cells, Cell(moved))))
    return ReportPart(
        "changes",
        "What changed, in numbers",
        (
            "Activation is from 0 to 1. The peak is that of the mean gait cycle, in percent of it after the limb's own "
            "heel strike; its shift is in ms, later being positive.",
        ),
        tables=(Table("Change of each muscle's activation.", (*head, "peak shift (ms)"), tuple(body)),),
    )


def _methods(
    activations: Estimate, trial: SimulatedTrial | None, mechanics: Mechanics | None, check: TorqueCheck | None
) -> str:
    """Write the paragraph for a paper."""
    origin = activations.provenance
    bundle = f" (bundle {origin.bundle}{f', SHA-256 {origin.sha256[:12]}…' if origin.sha256 else ''})"
    by = f"{origin.label}{bundle if origin.bundle else ''}"
    if trial is None:
        text = f"Muscle activations were estimated with opensim_nem2e {__version__} by {by}"
    else:
        by_what = f" by {SIMULATORS[trial.simulator]}" if trial.simulator else ""
        text = (
            f"Muscle activations simulated in OpenSim{by_what} were refined toward measured EMG with opensim_nem2e "
            f"{__version__} by {by}"
        )
    shaped = _with_shape(activations)
    muscles = list(dict.fromkeys(item.standard_name or item.muscle for item in shaped))
    text += f", for {counted(len(shaped), 'muscle')} ({', '.join(muscles)}), over {_cycle_words(activations)}"
    if any(item.cycles for item in activations):
        text += ", each from heel strike to heel strike of the muscle's own limb"
    text += ". "
    if trial is not None:
        text += "Outside the cycles the simulated activations were kept. "
    if any(item.low is not None for item in activations):
        text += "Bands are those of the method. "
    if activations.amplitude is not None:
        text += _AMPLITUDES[activations.amplitude.convention] + " "
    if check is not None:
        text += (
            f"Joint torques of the activations, by Hill-type muscles with {check.terms.tendons} tendons, were compared "
            "with inverse dynamics. "
        )
    if mechanics is not None and mechanics.consistent is not None:
        text += (
            "The activations nearest to the refined ones that make the torques of inverse dynamics (reserves of at "
            f"most {mechanics.consistent.bound:g} Nm where the muscles allow it) were found by quadratic programming. "
        )
    sources: dict[str, list[str]] = {}
    for item in activations:
        source = "the trial's own measured EMG" if item.shape_source == "EMG" else item.remark
        if source:
            sources.setdefault(source, []).append(item.muscle)
    if sources:
        shapes = "; ".join(f"{source} for {', '.join(muscles)}" for source, muscles in sources.items())
        text += f"Shapes: {shapes}. "
    if any("profile" in item.remark for item in activations):
        text += "Between network and mean profile it was chosen on training subjects left out. "
    figures, errors = errors_on_others(activations.provenance, activations.motion), _mean_errors(activations)
    if figures is not None and errors is not None:
        words, refined, opensim, profile = errors
        subjects = max(row.get("subjects", 0) for row in figures[1].values())
        text += (
            f"On {words} (n = {subjects}), the RMS error against normalised EMG, mean of {_judged(activations)}, was "
            f"{refined:.3f} (simulation: {opensim:.3f}; mean EMG profiles of other subjects: {profile:.3f})."
        )
    return text.strip()


def _provenance(activations: Estimate, record: RunRecord) -> list[tuple[str, str]]:
    origin = activations.provenance
    found = [("method", origin.label)]
    if origin.bundle:
        found.append(("bundle", origin.bundle + (f", SHA-256 {origin.sha256}" if origin.sha256 else "")))
    for what, path in record.inputs:
        found.append((what, f"{path.name}, SHA-256 {_hash(path)}"))
    versions = f"opensim_nem2e {__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    return [*found, ("versions", f"{versions}, {platform.system()} {platform.machine()}")]


def _hash(path: Path) -> str:
    """Return the beginning of a file's hash: enough to tell that it is the same file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
