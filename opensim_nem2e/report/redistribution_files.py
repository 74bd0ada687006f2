"""Figures and report of a redistribution."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..estimates.torque_metrics import TorqueBalance
from .estimate_figures import ActivationCurves, draw_redistribution, draw_tradeoff
from .page import Picture, data_url
from .torque_report import ConsistencyResults, consistency_html

if TYPE_CHECKING:
    from ..estimates.mechanics import Mechanics
    from ..estimates.torques import TorqueCheck
    from ..storage.atomic import ResultFiles

#: How many muscles without a network the figure shows: those that moved most.
_MOST_OTHERS = 8


def write_consistency_report(files: ResultFiles, mechanics: Mechanics, check: TorqueCheck, figure_format: str) -> None:
    """Draw a redistribution and write its report.

    Parameters
    ----------
    files : ResultFiles
        Where to; the torque check's figure is there already.
    mechanics : Mechanics
        What was found; with consistent activations.
    check : TorqueCheck
        The torques, those of the controls included.
    figure_format : {'png', 'svg'}
        Format of the figures.
    """
    refinement, consistent = mechanics.refinement, mechanics.consistent
    assert consistent is not None
    name, trial = refinement.name, refinement.trial
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
    networks = refinement.bundle.path.name if refinement.bundle.path else "a bundle"
    page = consistency_html(
        ConsistencyResults(
            name=name,
            by=f"{trial.source_name}, refined by {networks}, made consistent with inverse dynamics",
            torques=balances,
            emg=mechanics.emg_errors,
            curve=consistent.curve,
            bound=consistent.bound,
            torques_figure=_picture(
                files.path(f"{name}_torques.{figure_format}"),
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
    refinement, consistent, emg = mechanics.refinement, mechanics.consistent, mechanics.emg
    assert consistent is not None
    trial = refinement.trial
    refined = {item.target.muscle: (item.target.side, refinement.bounded(item).data) for item in refinement.refined}
    new = consistent.new.values

    def moved(muscle: str) -> float:
        return float(np.mean((new[muscle].data - trial.activations[muscle]) ** 2))

    others = sorted((name for name in new if name not in refined), key=moved, reverse=True)[:_MOST_OTHERS]
    compared = {row.muscle for row in mechanics.emg_errors}
    curves = []
    for muscle in [*(name for name in refined if name in new), *others]:
        measured = None
        if emg is not None and muscle in compared:
            cycles = consistent.new.cycles[muscle]
            time = emg.series.time - emg.offset
            values = np.maximum(emg.series.column(emg.channels[muscle]), 0.0)
            inside = np.any([(time >= cycle.start) & (time <= cycle.end) for cycle in cycles], axis=0)
            measured = (time, np.where(inside, values / values[inside].max(), np.nan))
        side, curve = refined.get(muscle, ("", None))
        changed = ~np.ma.getmaskarray(new[muscle])
        curves.append(
            ActivationCurves(muscle, side, trial.activations[muscle], curve, new[muscle].data, changed, measured)
        )
    return curves


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
