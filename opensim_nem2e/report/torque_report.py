"""Figures of torque check and redistribution, and what the report says of them."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from ..estimates.consistency import EmgError, TradeOff
from ..estimates.mechanics import WORDS, WORDS_BY_TORQUES
from ..estimates.torque_metrics import TorqueBalance, TorqueChange, overall_percent
from ..log import counted
from ..signals.cycles import inside_cycles
from ..storage.muscles import MuscleNames
from .curves import ChartSet
from .estimate_figures import ActivationCurves, anatomical_order, draw_redistribution, draw_torques, draw_tradeoff
from .page import Cell, Picture, Table, TableRow, data_url

if TYPE_CHECKING:
    from ..estimates.mechanics import Mechanics
    from ..estimates.torques import TorqueCheck
    from ..storage.atomic import ResultFiles

#: How many muscles without a network the figure shows: those that moved most.
_MOST_OTHERS = 8

_KINDS = tuple(WORDS)

#: What an estimate's torques cannot say.
MECHANICS_LIMITS = (
    "Inverse dynamics is as good as the motion and the ground reactions it was made from.",
    "EMG does not tell amplitudes: networks put out EMG relative to its maximum. Where that is more than the torque "
    "needs, the consistent activation is lower at the same timing; r tells the shape, E shape and amplitude.",
    "Many activations make the same torques. Those here are the nearest to the networks' output; that they are the "
    "subject's own is not shown by their being consistent.",
)


#: What they cannot say by the tendons that the muscles had.
TENDON_LIMITS = {
    "elastic": "A forward simulation of the controls drifts as any open-loop one does. Fiber lengths in the states "
    "file follow the activations, so that OpenSim's analyses of it find these forces.",
    "rigid": "Tendons were taken as rigid: where the model has elastic ones, its muscles do not make these torques, a "
    "forward simulation drifts the more, and fiber lengths in the states file are the simulation's.",
}


@dataclass(frozen=True)
class ReportPart:
    """A section of the report.

    Parameters
    ----------
    key, title : str
        Its name in the page, and its heading.
    texts : tuple of str
        Paragraphs.
    charts : ChartSet or None
        Curves to look at.
    figure : Picture or None
        A figure.
    tables : tuple of Table
        Tables.
    """

    key: str
    title: str
    texts: tuple[str, ...]
    charts: ChartSet | None = None
    figure: Picture | None = None
    tables: tuple[Table, ...] = ()


def draw_mechanics(
    files: ResultFiles,
    name: str,
    mechanics: Mechanics,
    check: TorqueCheck,
    figure_format: str,
    words: Mapping[str, str] = WORDS,
) -> Picture | None:
    """Draw a torque check and, where there is one, a redistribution.

    Parameters
    ----------
    files : ResultFiles
        Where to.
    name : str
        What the results' names begin with.
    mechanics : Mechanics
        What was found.
    check : TorqueCheck
        The torques, those of the controls included.
    figure_format : {'png', 'svg'}
        Format of the figures.
    words : mapping of str to str
        :attr:`.Mechanics.words`.

    Returns
    -------
    Picture or None
        The figure of what consistency costs, for the report.
    """
    called = (words["refined"], words["consistent"])
    torques = files.path(f"{name}_torques.{figure_format}")
    draw_torques(
        check,
        torques,
        title=f"{name}: joint torques",
        caption=f"Torques of activations: muscles of the model with {check.terms.tendons} tendons, one method for all.",
        words=called,
    )
    consistent = mechanics.consistent
    if consistent is None:
        return None
    draw_redistribution(
        mechanics.trial.time,
        _curves(mechanics),
        files.path(f"{name}_redistribution.{figure_format}"),
        title=f"{name}: activations",
        caption="Refined muscles, and of the others those that moved most.",
        words=called,
    )
    tradeoff = files.path(f"{name}_tradeoff.{figure_format}")
    draw_tradeoff(
        consistent.curve,
        tradeoff,
        title=f"{name}: what consistency costs",
        caption="Numbers: reserve (Nm) that costs as much as a refined activation moved by 1; circle: chosen.",
        start=_start(words),
    )
    return _picture(
        tradeoff,
        "tradeoff-figure",
        "Trade-off",
        "Error of the torques against the distance from the networks' output, over the price of reserves.",
    )


def mechanics_parts(
    mechanics: Mechanics,
    check: TorqueCheck | None,
    charts: ChartSet | None,
    tradeoff: Picture | None,
    words: Mapping[str, str],
) -> list[ReportPart]:
    """Say what was found out about torques, measured EMG and consistency.

    Parameters
    ----------
    mechanics : Mechanics
        What was found.
    check : TorqueCheck or None
        The torques, those of the controls included.
    charts : ChartSet or None
        Their curves.
    tradeoff : Picture or None
        The figure of what consistency costs.
    words : mapping of str to str
        :attr:`.Mechanics.words`.

    Returns
    -------
    list of ReportPart
        Sections of the report.
    """
    parts = []
    if mechanics.emg_errors:
        text = (
            "E is the root mean square error over the samples of a gait cycle, 'shape' the same after the gain that "
            "makes it least, since EMG does not tell amplitudes, and r Pearson's correlation; each channel is divided "
            "by its maximum over these cycles. They judge the refinement only if the method was not trained on this "
            "subject."
        )
        if own := mechanics.own_shapes:
            text += (
                f" The shape of {', '.join(own)} is this EMG itself: their figures show what the torques changed, not "
                "how good an estimate is."
            )
        table = _emg_table(mechanics.emg_errors, words)
        parts.append(ReportPart("emg", "Against measured EMG", (text,), tables=(table,)))
    if check is not None:
        text = (
            "Torques that the motion needs (inverse dynamics) and those that the muscles make with each set of "
            f"activations, all by one method: muscles with {check.terms.tendons} tendons. "
        )
        if check.consistent is not None:
            text += (
                f"What the {words['consistent']} activations leave is the reserve. Through the controls: with the "
                "activations that the written excitations lead to, since a muscle cannot follow everything."
            )
            if words is WORDS_BY_TORQUES:
                text += " Unscaled: with the method's EMG, relative to its maximum, taken for the activation."
        else:
            text += "Read the change: OpenSim's own activations do not meet inverse dynamics by this method either."
        rows = check.changes()
        balances = [row for row in rows if isinstance(row, TorqueBalance)]
        table = _torque_table(balances, words) if balances else _check_table(rows)
        parts.append(ReportPart("torques", "Joint torques", (text,), charts, tables=(table,)))
    if mechanics.consistent is not None:
        text = (
            "The cheaper the reserves (the higher the reserve torque that costs as much as a refined activation moved "
            "by 1), the nearer the activations stay to the networks' output and the worse they meet the torques. All "
            "points but the chosen one are without a bound for the reserves."
        )
        table = _tradeoff_table(mechanics.consistent.curve, _start(words))
        parts.append(ReportPart("tradeoff", "What consistency costs", (text,), figure=tradeoff, tables=(table,)))
    return parts


def mechanics_summary(mechanics: Mechanics, check: TorqueCheck | None, words: Mapping[str, str]) -> str:
    """Say in words what came out of torque check, redistribution and comparison with EMG.

    Parameters
    ----------
    mechanics : Mechanics
        What was found.
    check : TorqueCheck or None
        The torques, those of the controls included.
    words : mapping of str to str
        :attr:`.Mechanics.words`.

    Returns
    -------
    str
        A few sentences, each with a space after it.
    """
    text = ""
    consistent = mechanics.consistent is not None
    kinds = _KINDS if consistent else _KINDS[:2]
    told = {kind: "OpenSim's" if kind == "opensim" else f"the {words[kind]}" for kind in kinds}
    if check is not None:
        rows = check.changes()
        peaks = [row.peak for row in rows]
        percents = {kind: overall_percent([getattr(row, f"rmse_{kind}") for row in rows], peaks) for kind in kinds}
        listed = [f"{_plain(percents[kind])} % with {told[kind]} activations" for kind in kinds]
        text += f"The torques of {counted(len(rows), 'joint coordinate')} are off by {_and(listed)} (of their peaks). "
        balances = [row for row in rows if isinstance(row, TorqueBalance)]
        if balances:
            text += f"The largest reserve is {max(row.largest_reserve for row in balances):.2g} Nm. "
        weak = [row.coordinate for row in balances if row.rows_exceeded]
        if weak and mechanics.consistent is not None:
            text += (
                f"At {', '.join(weak)} there are rows in which no activations of the muscles keep the reserve within "
                f"{mechanics.consistent.bound:g} Nm. "
            )
    if mechanics.emg_errors:
        errors = {kind: fmean(getattr(row, f"shape_{kind}") for row in mechanics.emg_errors) for kind in kinds}
        listed = [f"{errors[kind]:.3f} with {told[kind]} activations" for kind in kinds]
        compared = counted(len(mechanics.emg_errors), "muscle")
        shaped = len(mechanics.own_shapes)
        which = "their shape is" if shaped == len(mechanics.emg_errors) else f"that of {shaped} is"
        own = f" ({which} from it)" if shaped else ""
        text += f"The error of the shape against measured EMG of {compared}{own} is {_and(listed)}. "
    if text and consistent and words is WORDS_BY_TORQUES:
        text += "Unscaled is the method's output, EMG relative to its maximum, before torques decide on its amplitude. "
    return text


def _plain(percent: float) -> str:
    if percent >= 10.0:
        return f"{percent:.0f}"
    return f"{percent:.1f}" if percent >= 0.1 else f"{percent:.2f}"


def _and(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


def _curves(mechanics: Mechanics) -> list[ActivationCurves]:
    """Choose the muscles to show."""
    trial, consistent, emg = mechanics.trial, mechanics.consistent, mechanics.emg
    assert consistent is not None
    refined, new = mechanics.activations.muscles, consistent.new.muscles

    def moved(muscle: str) -> float:
        return float(np.mean((new[muscle].values - trial.activations[muscle]) ** 2))

    others = sorted((name for name in new if name not in refined), key=moved, reverse=True)[:_MOST_OTHERS]
    compared = {row.muscle for row in mechanics.emg_errors}
    shown = [*(name for name in refined if name in new), *others]
    standard = MuscleNames.load().of_model(shown)

    def place(muscle: str) -> tuple[int, int, str, int]:
        found = standard[muscle]
        return anatomical_order(muscle, "" if found is None else found.name, new[muscle].side)

    curves = []
    for muscle in sorted(shown, key=place):
        measured = None
        if emg is not None and muscle in compared:
            time = emg.series.time - emg.offset
            values = np.maximum(emg.series.column(emg.channels[muscle]), 0.0)
            inside = inside_cycles(time, new[muscle].cycles)
            measured = (time, np.where(inside, values / values[inside].max(), np.nan))
        item, known = new[muscle], refined.get(muscle)
        curve = None if known is None else known.values
        curves.append(
            ActivationCurves(muscle, item.side, trial.activations[muscle], curve, item.values, item.covered, measured)
        )
    return curves


def _torque_table(rows: Sequence[TorqueBalance], words: Mapping[str, str]) -> Table:
    head = (
        "coordinate",
        "peak (Nm)",
        *(f"RMSE {words[kind]}" for kind in _KINDS),
        "through the controls",
        "largest reserve",
        "rows above the bound",
    )
    body = []
    for row in rows:
        cells = [Cell(row.coordinate), Cell(f"{row.peak:.1f}")]
        cells += [
            _share(row.rmse_opensim, row.rmse_opensim_percent),
            _share(row.rmse_refined, row.rmse_refined_percent),
        ]
        cells += [_share(row.rmse_consistent, row.rmse_consistent_percent, strong=True)]
        cells += [_share(row.rmse_controls, row.rmse_controls_percent)]
        cells += [_share(row.largest_reserve, row.largest_reserve_percent), Cell(f"{row.rows_exceeded} of {row.rows}")]
        body.append(TableRow(tuple(cells)))
    return Table(
        "Errors of the joint torques in Nm (percent of the peak), in the refined gait cycles.", head, tuple(body)
    )


def _check_table(rows: Sequence[TorqueChange]) -> Table:
    head = ("coordinate", "peak (Nm)", "RMSE OpenSim", "RMSE refined", "RMS change")
    body = []
    for row in rows:
        pairs = (
            (row.rmse_opensim, row.rmse_opensim_percent),
            (row.rmse_refined, row.rmse_refined_percent),
            (row.rms_change, row.rms_change_percent),
        )
        body.append(TableRow((Cell(row.coordinate), Cell(f"{row.peak:.1f}"), *(_share(*pair) for pair in pairs))))
    return Table("Errors of the joint torques in Nm (percent of the peak), in the refined rows.", head, tuple(body))


def _share(value: float, percent: float, strong: bool = False) -> Cell:
    return Cell(f"{value:.2f} ({percent:.1f} %)", strong=strong)


def _emg_table(rows: Sequence[EmgError], words: Mapping[str, str]) -> Table:
    pairs = [(measure, kind) for measure in ("shape", "E", "r") for kind in _KINDS]
    # Without consistent activations there are no such columns.
    pairs = [(measure, kind) for measure, kind in pairs if math.isfinite(getattr(rows[0], f"{measure}_{kind}"))]
    names = [f"{measure}_{kind}" for measure, kind in pairs]
    body = []
    for row in rows:
        numbers = (Cell(number_or_dash(getattr(row, name))) for name in names)
        body.append(TableRow((Cell(row.muscle), Cell(row.channel, words=True), Cell(str(row.cycles)), *numbers)))
    if len(rows) > 1:
        means = [Cell(number_or_dash(fmean(getattr(row, name) for row in rows))) for name in names]
        body.append(TableRow((Cell("mean"), Cell("", words=True), Cell(""), *means), total=True))
    head = ("muscle", "channel", "cycles", *(f"{measure} {words[kind]}" for measure, kind in pairs))
    return Table("Errors and correlations against measured EMG.", head, tuple(body))


def _start(words: Mapping[str, str]) -> str:
    """Name the activations from which consistency starts: on a page of torques, what a gain alone makes of a shape."""
    return "gain x shape" if words is WORDS_BY_TORQUES else words["refined"]


def _tradeoff_table(curve: Sequence[TradeOff], start: str) -> Table:
    head = (
        "reserve that costs as much as 1 (Nm)",
        "RMSE of torques (%)",
        "largest RMSE (Nm)",
        "refined muscles moved by",
        "others moved by",
    )
    with_emg = bool(curve) and math.isfinite(curve[0].E)
    body = []
    for point in curve:
        name = start if math.isinf(point.reserve) else f"{point.reserve:g}"
        cells = [Cell(name + (" (chosen)" if point.chosen else ""))]
        texts = [f"{point.torque_error:.2f}", f"{point.largest_rmse:.2f}"]
        texts += [f"{point.distance_refined:.3f}", f"{point.distance_others:.3f}"]
        texts += [number_or_dash(point.E)] if with_emg else []
        body.append(TableRow((*cells, *(Cell(text, strong=point.chosen) for text in texts))))
    return Table(
        "The trade-off over the price of reserves (RMS of activation, 0..1).",
        (*head, "E against EMG") if with_emg else head,
        tuple(body),
    )


def number_or_dash(value: float) -> str:
    """Write a number with three decimals.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str
        A dash if it is none.
    """
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _picture(path: Path, key: str, title: str, caption: str) -> Picture:
    """Put a figure's file into the page."""
    image = path.read_bytes()
    suffix = path.suffix.removeprefix(".")
    width, height = _size(image, suffix)
    return Picture(key, title, caption, caption, data_url(image, suffix), width, height)


def _size(image: bytes, suffix: str) -> tuple[int, int]:
    """Return an image's size in CSS pixels (figures are drawn at 150 dots per inch)."""
    if suffix == "png":
        width, height = struct.unpack(">II", image[16:24])
        return round(width * 96 / 150), round(height * 96 / 150)
    from lxml import etree

    root = etree.fromstring(image)
    return tuple(round(float(root.get(name).removesuffix("pt")) * 96 / 72) for name in ("width", "height"))  # type: ignore[return-value]
