"""Figures of torque check and redistribution, and the report of the latter: one HTML file that needs nothing else."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..estimates.consistency import EmgError, TradeOff
from ..estimates.torque_metrics import TorqueBalance, overall_percent
from ..signals.cycles import inside_cycles
from .estimate_figures import ActivationCurves, draw_redistribution, draw_torques, draw_tradeoff
from .page import Cell, Picture, Table, TableRow, data_url, render_page

if TYPE_CHECKING:
    from ..estimates.mechanics import Mechanics
    from ..estimates.torques import TorqueCheck
    from ..storage.atomic import ResultFiles

#: How many muscles without a network the figure shows: those that moved most.
_MOST_OTHERS = 8

_KINDS = ("opensim", "refined", "consistent")

_LIMITS = (
    "The torques are those of muscles with rigid tendons (DeGroote-Fregly curves). The simulation had elastic tendons, "
    "so OpenSim's own activations do not meet inverse dynamics by this method either; the table has their error. A "
    "forward simulation of the consistent controls with elastic tendons will still drift, and the fiber lengths in the "
    "states file are the simulation's.",
    "Inverse dynamics is as good as the motion and the ground reactions it was made from.",
    "EMG does not tell amplitudes: networks put out EMG relative to its maximum. Where that is more than the torque "
    "needs, the consistent activation is lower at the same timing; r tells the shape, E shape and amplitude.",
    "Many activations make the same torques. Those here are the nearest to the networks' output; that they are the "
    "subject's own is not shown by their being consistent.",
)


def write_torque_report(
    files: ResultFiles, name: str, mechanics: Mechanics, check: TorqueCheck, figure_format: str
) -> None:
    """Draw a torque check and, where there is one, a redistribution with its report.

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
    """
    torques = files.path(f"{name}_torques.{figure_format}")
    draw_torques(
        check,
        torques,
        title=f"{name}: joint torques",
        caption="Torques of activations: all muscles of the model with rigid tendons, the same method for all.",
    )
    consistent = mechanics.consistent
    if consistent is None:
        return
    trial, source = mechanics.trial, mechanics.activations.provenance.source
    activations = files.path(f"{name}_redistribution.{figure_format}")
    draw_redistribution(
        trial.time,
        _curves(mechanics),
        activations,
        title=f"{name}: activations",
        caption="Refined muscles, and of the others those that moved most.",
    )
    tradeoff = files.path(f"{name}_tradeoff.{figure_format}")
    draw_tradeoff(
        consistent.curve,
        tradeoff,
        title=f"{name}: what consistency costs",
        caption="Numbers: reserve (Nm) that costs as much as a refined activation moved by 1; circle: chosen.",
    )
    balances = [row for row in check.changes() if isinstance(row, TorqueBalance)]
    page = consistency_html(
        ConsistencyResults(
            name=name,
            by=f"{trial.source_name}, refined by {source}, made consistent with inverse dynamics",
            torques=balances,
            emg=mechanics.emg_errors,
            curve=consistent.curve,
            bound=consistent.bound,
            torques_figure=_picture(
                torques,
                "torques-figure",
                "Joint torques over time",
                "Torques that the motion needs and those of the three activations; grey: not compared.",
            ),
            activations_figure=_picture(
                activations,
                "activations-figure",
                "Activations over time",
                "Activations as OpenSim gave them, refined, and consistent with the torques. Refined muscles, and "
                f"of the others the {_MOST_OTHERS} that moved most.",
            ),
            tradeoff_figure=_picture(
                tradeoff,
                "tradeoff-figure",
                "Trade-off",
                "Error of the torques against the distance from the networks' output, over the price of reserves.",
            ),
        )
    )
    files.path(f"{name}_report.html").write_text(page, encoding="utf-8")


def _curves(mechanics: Mechanics) -> list[ActivationCurves]:
    """Choose the muscles to show."""
    trial, consistent, emg = mechanics.trial, mechanics.consistent, mechanics.emg
    assert consistent is not None
    refined, new = mechanics.activations.muscles, consistent.new.muscles

    def moved(muscle: str) -> float:
        return float(np.mean((new[muscle].values - trial.activations[muscle]) ** 2))

    others = sorted((name for name in new if name not in refined), key=moved, reverse=True)[:_MOST_OTHERS]
    compared = {row.muscle for row in mechanics.emg_errors}
    curves = []
    for muscle in [*(name for name in refined if name in new), *others]:
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


@dataclass(frozen=True)
class ConsistencyResults:
    """What the report tells.

    Parameters
    ----------
    name : str
        What the results' names begin with.
    by : str
        One line: which simulation, which networks.
    torques : sequence of TorqueBalance
        One per coordinate.
    emg : sequence of EmgError
        One per muscle with measured EMG; empty without.
    curve : sequence of TradeOff
        The trade-off.
    bound : float
        Largest reserve allowed (Nm).
    torques_figure, activations_figure, tradeoff_figure : Picture
        The figures.
    """

    name: str
    by: str
    torques: Sequence[TorqueBalance]
    emg: Sequence[EmgError]
    curve: Sequence[TradeOff]
    bound: float
    torques_figure: Picture
    activations_figure: Picture
    tradeoff_figure: Picture


def consistency_html(results: ConsistencyResults) -> str:
    """Write the report's HTML.

    Parameters
    ----------
    results : ConsistencyResults
        What it tells.

    Returns
    -------
    str
        A whole page.
    """
    content = {
        "title": f"{results.name}: do the refined activations move the body?",
        "by": results.by,
        "name": results.name,
        "version": __version__,
        "summary": consistency_summary(results),
        "torques": _torque_table(results.torques),
        "torques_text": "Torques that the motion needs (inverse dynamics) and those that the muscles make with "
        "OpenSim's activations, the refined ones, and the consistent ones, all by one method: muscles with rigid "
        "tendons. What the consistent activations leave is the reserve. Through the controls: with the activations "
        "that the written excitations lead to, since a muscle cannot follow everything.",
        "emg": _emg_table(results.emg) if results.emg else None,
        "emg_text": "E is the root mean square error over the samples of a gait cycle, r Pearson's correlation; each "
        "channel is divided by its maximum over these cycles. They judge the refinement only if the networks were not "
        "trained on this subject.",
        "tradeoff": _tradeoff_table(results.curve),
        "tradeoff_text": "The cheaper the reserves (the higher the reserve torque that costs as much as a refined "
        "activation moved by 1), the nearer the activations stay to the networks' output and the worse they meet the "
        "torques. All points but the chosen one are without a bound for the reserves.",
        "limits": _LIMITS,
        "torques_figure": results.torques_figure,
        "activations_figure": results.activations_figure,
        "tradeoff_figure": results.tradeoff_figure,
    }
    return render_page("torque_report.html", content)


def consistency_summary(results: ConsistencyResults) -> str:
    """Say in words what came out.

    Parameters
    ----------
    results : ConsistencyResults
        The results.

    Returns
    -------
    str
        A few sentences.
    """
    rows = results.torques
    peaks = [row.peak for row in rows]
    percents = [overall_percent([getattr(row, f"rmse_{kind}") for row in rows], peaks) for kind in _KINDS]
    text = (
        f"Over {len(rows)} joint coordinates, the torques' error is {percents[0]:.0f} % of their peaks with OpenSim's "
        f"activations, {percents[1]:.0f} % with the refined ones and {percents[2]:.1f} % with the consistent ones; the "
        f"largest reserve is {max(row.largest_reserve for row in rows):.1f} Nm. "
    )
    weak = [row.coordinate for row in rows if row.rows_exceeded]
    if weak:
        text += (
            f"At {', '.join(weak)} there are rows in which no activations of the muscles keep the reserve within "
            f"{results.bound:g} Nm. "
        )
    if results.emg:
        errors = [fmean(getattr(row, f"E_{kind}") for row in results.emg) for kind in _KINDS]
        text += (
            f"Against measured EMG of {len(results.emg)} muscles E is {errors[0]:.3f} (OpenSim), {errors[1]:.3f} "
            f"(refined) and {errors[2]:.3f} (consistent)."
        )
    return text.strip()


def _torque_table(rows: Sequence[TorqueBalance]) -> Table:
    head = (
        "coordinate",
        "peak (Nm)",
        "RMSE OpenSim",
        "RMSE refined",
        "RMSE consistent",
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


def _share(value: float, percent: float, strong: bool = False) -> Cell:
    return Cell(f"{value:.2f} ({percent:.1f} %)", strong=strong)


def _emg_table(rows: Sequence[EmgError]) -> Table:
    names = ("E_opensim", "E_refined", "E_consistent", "r_opensim", "r_refined", "r_consistent")
    body = []
    for row in rows:
        numbers = (Cell(_number(getattr(row, name))) for name in names)
        body.append(TableRow((Cell(row.muscle), Cell(row.channel), Cell(str(row.cycles)), *numbers)))
    if len(rows) > 1:
        means = [Cell(_number(fmean(getattr(row, name) for row in rows))) for name in names]
        body.append(TableRow((Cell("mean"), Cell(""), Cell(""), *means), total=True))
    head = (
        "muscle",
        "channel",
        "cycles",
        "E OpenSim",
        "E refined",
        "E consistent",
        "r OpenSim",
        "r refined",
        "r consistent",
    )
    return Table("Errors and correlations against measured EMG.", head, tuple(body))


def _tradeoff_table(curve: Sequence[TradeOff]) -> Table:
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
        name = "refined" if math.isinf(point.reserve) else f"{point.reserve:g}"
        cells = [Cell(name + (" (chosen)" if point.chosen else ""))]
        texts = [f"{point.torque_error:.2f}", f"{point.largest_rmse:.2f}"]
        texts += [f"{point.distance_refined:.3f}", f"{point.distance_others:.3f}"]
        texts += [_number(point.E)] if with_emg else []
        body.append(TableRow((*cells, *(Cell(text, strong=point.chosen) for text in texts))))
    return Table(
        "The trade-off over the price of reserves (RMS of activation, 0..1).",
        (*head, "E against EMG") if with_emg else head,
        tuple(body),
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _picture(path: Path, key: str, title: str, caption: str) -> Picture:
    """Put a figure's file into the page."""
    image = path.read_bytes()
    suffix = path.suffix.removeprefix(".")
    width, height = _size(image, suffix)
    return Picture(key, title, caption, caption, data_url(image, suffix), width, height, width < 700)


def _size(image: bytes, suffix: str) -> tuple[int, int]:
    """Return an image's size in CSS pixels (figures are drawn at 150 dots per inch)."""
    if suffix == "png":
        width, height = struct.unpack(">II", image[16:24])
        return round(width * 96 / 150), round(height * 96 / 150)
    from lxml import etree

    root = etree.fromstring(image)
    return tuple(round(float(root.get(name).removesuffix("pt")) * 96 / 72) for name in ("width", "height"))  # type: ignore[return-value]
