"""Figures and page of activations that were found from a motion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..estimates.static_optimization import MomentRow, Optimum, summarise_moments, summarise_muscles
from ..log import counted
from .drawing import figure_settings, new_figure, save_figure, set_margins
from .page import Cell, Table, TableRow, picture_of, render_page

if TYPE_CHECKING:
    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel

Array = NDArray[np.float64]

# Okabe & Ito's colours, which colour-blind readers can tell apart.
_MUSCLES, _RESERVE, _FLAGGED, _NEEDED = "#0072B2", "#D55E00", "#E8E8E8", "0.55"

_LIMITS = (
    "Static optimisation knows no co-contraction beyond what saves effort, and no activation dynamics: every frame is "
    "solved for itself.",
    "Tendons are rigid, as in OpenSim's StaticOptimization.",
)
_ESTIMATED = (
    "Moments are a network's estimates. That the muscles can make them does not show that they are right: for a "
    "subject or laboratory unlike those in its training they may be far off."
)
_MEASURED = "Moments are as good as the motion and the ground reactions that they were made from."


def write_kinematics_report(
    files: ResultFiles,
    name: str,
    model: OsimModel,
    optimum: Optimum,
    figure_format: str,
    source: str = "",
    worries: Sequence[str] = (),
) -> None:
    """Draw activations and moments, and write the page.

    Parameters
    ----------
    files : ResultFiles
        Where to.
    name : str
        What the results' names begin with.
    model : OsimModel
        The model.
    optimum : Optimum
        The solution.
    figure_format : {'png', 'svg'}
        Format of the figures.
    source : str, optional
        Where the moments come from and how good they are, if not from inverse dynamics.
    worries : sequence of str, optional
        The run's warnings.
    """
    activations = files.path(f"{name}_activations.{figure_format}")
    flagged = optimum.flagged
    activations_size = _draw(
        optimum.motion.time,
        [
            (muscle, [(values, _MUSCLES, "activation")])
            for muscle, values in _columns(optimum.muscles, optimum.activations)
        ],
        flagged,
        activations,
        title=f"{name}: activations",
        ylabel="activation",
        limits=(0.0, 1.02),
    )
    moments = files.path(f"{name}_torques.{figure_format}")
    moments_size = _draw(
        optimum.motion.time,
        [
            (
                coordinate,
                [
                    (optimum.needed[:, k], _NEEDED, "needed"),
                    (optimum.made[:, k], _MUSCLES, "muscles"),
                    (optimum.reserves[:, k], _RESERVE, "reserve"),
                ],
            )
            for k, coordinate in enumerate(optimum.coordinates)
        ],
        flagged,
        moments,
        title=f"{name}: joint moments",
        ylabel="moment (Nm)",
    )
    rows = summarise_moments(optimum)
    content = {
        "title": f"{name}: activations of a motion",
        "by": f"{model.name}: {counted(len(optimum.muscles), 'muscle')}, "
        f"{counted(len(optimum.coordinates), 'joint coordinate')}, {counted(len(optimum.motion.time), 'frame')}",
        "name": name,
        "version": __version__,
        "summary": [_summary(optimum, rows), *([source] if source else [])],
        "worries": worries,
        "moments": _moment_table(rows),
        "muscles": _muscle_table(optimum),
        "limits": (*_LIMITS, _ESTIMATED if source else _MEASURED),
        "moments_figure": picture_of(
            moments,
            moments_size,
            "moments-figure",
            "Moments",
            "Moments needed, made by the muscles, and left to reserves, over time.",
        ),
        "activations_figure": picture_of(
            activations,
            activations_size,
            "activations-figure",
            "Activations",
            "Activations of all muscles over time; grey: flagged frames.",
        ),
    }
    files.path(f"{name}_report.html").write_text(render_page("kinematics_report.html", content), encoding="utf-8")


def _columns(names: Sequence[str], table: Array) -> list[tuple[str, Array]]:
    return [(name, table[:, k]) for k, name in enumerate(names)]


def _summary(optimum: Optimum, rows: Sequence[MomentRow]) -> str:
    worst = max(rows, key=lambda row: row.largest_reserve)
    saturated = [row.muscle for row in summarise_muscles(optimum) if row.saturated_rows]
    text = (
        f"In every frame the muscles share the joint moments at the least sum of squared activations. The largest "
        f"reserve is {worst.largest_reserve:.2g} Nm ({worst.coordinate}, peak moment {worst.peak:.0f} Nm). "
    )
    text += f"{int(optimum.flagged.sum())} of {len(optimum.flagged)} frames are flagged. "
    text += f"At their upper bound in some frame: {', '.join(saturated)}." if saturated else "No muscle is saturated."
    return text


def _moment_table(rows: Sequence[MomentRow]) -> Table:
    head = ("coordinate", "peak (Nm)", "RMS reserve (Nm)", "largest reserve (Nm)", "rows above 5 %", "out of range")
    body = [
        TableRow(
            (
                Cell(row.coordinate),
                Cell(f"{row.peak:.1f}"),
                Cell(f"{row.rms_reserve:.2f}"),
                Cell(f"{row.largest_reserve:.2f}"),
                Cell(f"{row.rows_weak} of {row.rows}"),
                Cell(f"{row.rows_out_of_range} of {row.rows}"),
            )
        )
        for row in rows
    ]
    return Table("Joint moments, and what the muscles leave to reserves.", head, tuple(body))


def _muscle_table(optimum: Optimum) -> Table:
    head = ("muscle", "mean activation", "peak activation", "at (s)", "peak force (N)", "saturated rows")
    body = [
        TableRow(
            (
                Cell(row.muscle),
                Cell(f"{row.mean_activation:.3f}"),
                Cell(f"{row.peak_activation:.3f}"),
                Cell(f"{row.peak_time:.3f}"),
                Cell(f"{row.peak_force:.0f}"),
                Cell(str(row.saturated_rows)),
            )
        )
        for row in summarise_muscles(optimum)
    ]
    return Table("Muscles.", head, tuple(body))


def _draw(
    time: Array,
    panels: Sequence[tuple[str, Sequence[tuple[Array, str, str]]]],
    flagged: NDArray[np.bool_],
    path: Path,
    *,
    title: str,
    ylabel: str,
    limits: tuple[float, float] | None = None,
) -> tuple[int, int]:
    """Draw curves over time, four panels in a row, and return the figure's size (CSS pixels)."""
    # More would be too small to read on a telephone.
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    with figure_settings({"font.size": 8}):
        width, height = max(6.4, 2.4 * columns), 1.1 + 1.3 * rows
        figure = new_figure(width, height, layout=None)
        set_margins(figure, 0.6, 0.1, 0.5, 0.65, hspace=0.4, wspace=0.25)
        # Axes that Matplotlib keeps alike cost the square of their number: they are set alike here.
        axes = figure.subplots(rows, columns, squeeze=False)
        for number, axis in enumerate(axes.flat):
            if number >= len(panels):
                axis.set_visible(False)
                continue
            name, curves = panels[number]
            _draw_panel(axis, time, curves, flagged)
            axis.set_title(name, fontsize=8, loc="left", pad=2)
            first, last = number % columns == 0, number + columns >= len(panels)
            if limits is not None:
                axis.set_ylim(*limits)
            axis.tick_params(labelbottom=last, labelleft=first or limits is None)
            if first:
                axis.set_ylabel(ylabel)
            if last:
                axis.set_xlabel("time (s)")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False)
        figure.suptitle(title, x=0.01, y=1 - 0.1 / height, va="top", ha="left", fontsize=10)
        save_figure(figure, path, 150)
    return round(96 * width), round(96 * height)


def _draw_panel(axis: Any, time: Array, curves: Sequence[tuple[Array, str, str]], flagged: NDArray[np.bool_]) -> None:
    if flagged.any():
        transform = axis.get_xaxis_transform()
        axis.fill_between(time, 0, 1, where=flagged, transform=transform, color=_FLAGGED, linewidth=0, label="flagged")
    for values, colour, label in curves:
        # What is needed lies below what the muscles make of it.
        axis.plot(time, values, color=colour, linewidth=2.4 if colour == _NEEDED else 1.0, label=label)
    axis.set_xlim(time[0], time[-1])
    axis.spines[["top", "right"]].set_visible(False)
