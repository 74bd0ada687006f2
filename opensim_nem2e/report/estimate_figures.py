"""Figures of refined activations, drawn without a display.

matplotlib is imported inside the functions, and only its object-oriented half: nothing ever pops up on a
screen, and a host program's own figures and back end are left alone.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..storage.muscles import MUSCLE_GROUPS
from .drawing import bare_ticks, figure_settings, log_scale, new_figure, save_figure, set_margins, shade

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial
    from ..estimates.consistency import TradeOff
    from ..estimates.estimate import Estimate, MuscleEstimate
    from ..estimates.torques import TorqueCheck
    from ..storage.atomic import ResultFiles

# Okabe & Ito's colours, which colour-blind readers can tell apart.
_BEFORE = "#0072B2"
_AFTER = "#D55E00"
_CONSISTENT = "#007A5A"
# By what activations are called; as in the report's page.
_COLOURS = {"refined": _AFTER, "consistent": _CONSISTENT, "unscaled": "#8A5FB0"}

# What they are called unless torques decided on the amplitude of the refined ones.
_CALLED = ("refined", "consistent")
_NEEDED = "0.6"

# So many letters of a caption go into an inch; so wide is a legend's entry, without and for each letter (inches).
_LETTERS, _HANDLE, _LETTER = 17, 0.65, 0.075

#: Steps between ticks, at most.
_TICKS = 5

T = TypeVar("T")


def group_of(standard_name: str) -> str:
    """Return the functional group of a standard muscle name (``'other'`` when it has none).

    Parameters
    ----------
    standard_name : str
        Such as ``'soleus'``.

    Returns
    -------
    str
        A key of :data:`.muscles.MUSCLE_GROUPS`, or ``'other'``.
    """
    for group, members in MUSCLE_GROUPS.items():
        if standard_name in members:
            return group
    return "other"


def anatomical_order(muscle: str, standard_name: str, side: str) -> tuple[int, int, str, int]:
    """Return what sorts muscles: by functional group, within it as the group names them, right before left.

    Parameters
    ----------
    muscle, standard_name, side : str
        The model's name, the standard one (may be empty), and ``'r'``, ``'l'`` or ``''``.

    Returns
    -------
    tuple
        A sorting key.
    """
    order = [name for members in MUSCLE_GROUPS.values() for name in members]
    groups = [*MUSCLE_GROUPS, "other"]
    place = order.index(standard_name) if standard_name in order else len(order)
    stem = muscle.removesuffix(f"_{side}") if side else muscle
    return groups.index(group_of(standard_name)), place, stem, {"r": 0, "l": 1}.get(side, 2)


def grouped(items: Iterable[MuscleEstimate]) -> dict[str, list[MuscleEstimate]]:
    """Sort muscles into groups, right limb before left limb, in anatomical order.

    Parameters
    ----------
    items : iterable of MuscleEstimate
        All estimated muscles of a trial.

    Returns
    -------
    dict of str to list of MuscleEstimate
        Only groups that have members.
    """
    result: dict[str, list[MuscleEstimate]] = {}
    for item in sorted(items, key=lambda item: anatomical_order(item.muscle, item.standard_name, item.side)):
        result.setdefault(group_of(item.standard_name), []).append(item)
    return result


def draw_estimate(
    files: ResultFiles, name: str, trial: SimulatedTrial, activations: Estimate, figure_format: str
) -> None:
    """Draw each muscle group's activations before and after refinement, with the estimate's bands.

    The layout follows figure 3 of the NEM2E paper (simulated and refined curve in one panel), over time
    instead of over one cycle, so that every cycle of the trial and every sample that was left alone is seen.

    Parameters
    ----------
    files : ResultFiles
        Where to: ``<name>_<group>.<format>``.
    name : str
        What the results' names begin with.
    trial : SimulatedTrial
        The simulation.
    activations : Estimate
        The refined activations. A right muscle and its left twin share a row.
    figure_format : {'png', 'svg'}
        The format.
    """
    caption = f"Refined: {activations.provenance.source}."
    if trial.source_name:
        caption = f"OpenSim: {trial.source_name}. {caption}"
    for group, members in grouped(item for item in activations if item.shape_source).items():
        stems = [item.muscle.removesuffix(f"_{item.side}") for item in members]
        _draw_panels(
            _rows_of(stems, members),
            lambda axis, item: _draw_panel(axis, trial.time, trial.activations[item.muscle], item),
            files.path(f"{name}_{group}.{figure_format}"),
            title=f"{name}: {group}",
            caption=caption,
            ylabel="activation" if activations.amplitude is None else activations.amplitude.label,
            sharey=True,
        )


def draw_torques(
    check: TorqueCheck, path: Path, *, title: str, caption: str = "", words: Sequence[str] = _CALLED
) -> None:
    """Draw each coordinate's torque: inverse dynamics, OpenSim's activations, refined activations.

    Parameters
    ----------
    check : TorqueCheck
        The torques. A right coordinate and its left twin share a row.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    title : str
        Shown above the panels.
    caption : str
        Under the panels.
    words : sequence of str
        What the method's own activations and the consistent ones are called.
    """
    terms = check.terms

    def draw(axis: Any, k: int) -> None:
        compared = check.compared[:, k]
        shade(axis, terms.time, compared, "compared")
        axis.plot(terms.time, terms.inverse_dynamics[:, k], color=_NEEDED, linewidth=2.4, label="inverse dynamics")
        axis.plot(terms.time, check.opensim[:, k], color=_BEFORE, linewidth=1.1, label="OpenSim's activations")
        shown = np.where(compared, check.refined[:, k], np.nan)
        axis.plot(terms.time, shown, color=_COLOURS[words[0]], linewidth=1.6, label=f"{words[0]} activations")
        if check.consistent is not None:
            shown = np.where(compared, check.consistent[:, k], np.nan)
            axis.plot(terms.time, shown, color=_COLOURS[words[1]], linewidth=1.3, label=f"{words[1]} activations")
        axis.set_title(terms.coordinates[k], fontsize=9, loc="left")
        axis.set_xlim(terms.time[0], terms.time[-1])

    stems = [re.sub("_[rl]$", "", name) for name in terms.coordinates]
    rows = _rows_of(stems, range(len(stems)))
    _draw_panels(rows, draw, path, title=title, caption=caption, ylabel="torque (Nm)", sharey=False)


@dataclass(frozen=True)
class ActivationCurves:
    """One muscle's curves for the figure of a redistribution.

    Parameters
    ----------
    muscle : str
        The panel's title.
    side : str
        ``'r'``, ``'l'`` or ``''``.
    opensim : numpy.ndarray, shape (rows,)
        OpenSim's activation.
    refined : numpy.ndarray, shape (rows,), or None
        The refined activation; None for a muscle without a network.
    consistent : numpy.ndarray, shape (rows,)
        The activation that is consistent with the torques.
    changed : numpy.ndarray of bool, shape (rows,)
        Rows in which it differs from OpenSim's.
    emg : tuple of numpy.ndarray, or None
        Time (s) and measured EMG, its maximum 1.
    """

    muscle: str
    side: str
    opensim: NDArray[np.float64]
    refined: NDArray[np.float64] | None
    consistent: NDArray[np.float64]
    changed: NDArray[np.bool_]
    emg: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def draw_redistribution(
    time: NDArray[np.float64],
    curves: Sequence[ActivationCurves],
    path: Path,
    *,
    title: str,
    caption: str = "",
    words: Sequence[str] = _CALLED,
) -> None:
    """Draw muscles' activations: OpenSim's, refined, consistent with the torques, and measured EMG.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    curves : sequence of ActivationCurves
        One panel each, four in a row; a right muscle and its left twin are neighbours.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    title : str
        Shown above the panels.
    caption : str
        Under the panels.
    words : sequence of str
        What the method's own activations and the consistent ones are called.
    """

    def draw(axis: Any, curve: ActivationCurves) -> None:
        shade(
            axis, time, curve.changed, "refined or made consistent" if "consistent" in words else "refined gait cycles"
        )
        if curve.emg is not None:
            axis.plot(*curve.emg, color=_NEEDED, linewidth=2.4, label="measured EMG")
        axis.plot(time, curve.opensim, color=_BEFORE, linewidth=0.9, label="OpenSim")
        if curve.refined is not None:
            axis.plot(
                time,
                np.where(curve.changed, curve.refined, np.nan),
                color=_COLOURS[words[0]],
                linewidth=1.4,
                label=words[0],
            )
        shown = np.where(curve.changed, curve.consistent, np.nan)
        axis.plot(time, shown, color=_COLOURS[words[1]], linewidth=1.6, label=words[1])
        axis.set_title(curve.muscle, fontsize=9, loc="left")
        axis.set_xlim(time[0], time[-1])
        axis.set_ylim(0.0, 1.02)

    stems = [curve.muscle[: -len(curve.side) - 1] if curve.side else curve.muscle for curve in curves]
    panels = [curve for row in _rows_of(stems, curves) for curve in row]
    rows = [panels[first : first + 4] for first in range(0, len(panels), 4)]
    _draw_panels(rows, draw, path, title=title, caption=caption, ylabel="activation", sharey=True)


def draw_tradeoff(
    curve: Sequence[TradeOff], path: Path, *, title: str, caption: str = "", start: str = "refined"
) -> None:
    """Draw the torques' error against the distance from where consistency starts, and against the error to EMG.

    Parameters
    ----------
    curve : sequence of TradeOff
        From activations that no torque has moved to the cheapest reserves.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    title : str
        Shown above the panels.
    caption : str
        A line or two under the panels.
    start : str
        What the first point is called.
    """
    panels = [("distance_refined", "distance of refined muscles from the networks' output (RMS)")]
    if np.isfinite(curve[0].E):
        panels.append(("E", "E against measured EMG, mean"))
    with figure_settings({"font.size": 9}):
        width, height = 4.8 * len(panels), 3.8
        figure = new_figure(width, height, layout=None)
        set_margins(figure, 0.75, 0.35, 0.95, 0.45, wspace=0.1)
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axis, (name, label) in zip(axes, panels, strict=True):
            x, y = [getattr(point, name) for point in curve], [point.torque_error for point in curve]
            axis.plot(x, y, "o-", color=_CONSISTENT, markersize=4, linewidth=1.2)
            axis.set_xlabel(label)
            log_scale(axis)
            axis.margins(x=0.12)
            axis.spines[["top", "right"]].set_visible(False)
            # Points that fall together get one label, that of the chosen one.
            labelled: list[tuple[float, float]] = []
            for place, point in sorted(enumerate(curve), key=lambda item: not item[1].chosen):
                if point.chosen:
                    axis.plot(x[place], y[place], "o", color=_AFTER, markersize=9, fillstyle="none")
                spot = axis.transData.transform((x[place], y[place])) * 72.0 / figure.dpi
                if any(abs(spot[0] - left) < 20.0 and abs(spot[1] - low) < 9.0 for left, low in labelled):
                    continue
                labelled.append((float(spot[0]), float(spot[1])))
                text = start if np.isinf(point.reserve) else f"{point.reserve:g}"
                axis.annotate(text, (x[place], y[place]), (4, 4), textcoords="offset points", fontsize=7.5)
        axes[0].set_ylabel("RMSE of torques (% of peaks)")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        if caption:
            # One panel is narrower than the caption is long.
            figure.supxlabel(textwrap.fill(caption, 70 * len(panels)), fontsize=7.5, color="0.35")
        save_figure(figure, path, 150)


def _draw_panels(
    rows: Sequence[Sequence[T]],
    draw: Callable[[Any, T], None],
    path: Path,
    *,
    title: str,
    caption: str,
    ylabel: str,
    sharey: bool,
) -> None:
    """Draw panels over time, row by row, and write the figure."""
    columns = max(len(row) for row in rows)
    # Wide enough for a line of text above the panels, whatever their number.
    width = max(6.4, 4.6 * columns)
    lines = textwrap.wrap(caption, round(_LETTERS * width)) if caption else []
    below, plots = 0.55 + 0.14 * len(lines), 2.1 * len(rows)
    with figure_settings({"font.size": 9}):
        # The legend's rows are known once the curves are drawn; nothing moves then but the upper edge.
        figure = new_figure(width, below + plots + 0.6, layout=None)
        # Axes that share their limits, as all of these do, are slow to draw if Matplotlib is told so; and so are ticks.
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for r, row in enumerate(rows):
            for c in range(columns):
                axis = axes[r, c]
                if c >= len(row):
                    axis.set_visible(False)
                    continue
                draw(axis, row[c])
                axis.locator_params(axis="x", nbins=_TICKS)
                axis.locator_params(axis="y", nbins=_TICKS)
                axis.spines[["top", "right"]].set_visible(False)
                if c == 0:
                    axis.set_ylabel(ylabel)
                lowest = r == len(rows) - 1 or c >= len(rows[r + 1])
                if lowest:
                    axis.set_xlabel("time (s)")
                if not lowest:
                    bare_ticks(axis, "x")
                if c > 0 and sharey:
                    bare_ticks(axis, "y")
        handles, labels = _legend(axes.flat)
        entry = _HANDLE + _LETTER * max(map(len, labels))
        ncols = max(1, min(len(labels), int(width // entry)))
        above = 0.55 + 0.2 * -(-len(labels) // ncols)
        height = below + plots + above
        figure.set_size_inches(width, height)
        set_margins(figure, 0.65, 0.2, below, above, hspace=0.25, wspace=0.16)
        figure.suptitle(title, x=0.1 / width, y=1.0 - 0.08 / height, ha="left", va="top", fontsize=11)
        place = (0.1 / width, 1.0 - 0.28 / height)
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=place, ncols=ncols, frameon=False, borderpad=0)
        figure.text(0.1 / width, 0.06 / height, "\n".join(lines), fontsize=7.5, color="0.35", va="bottom")
        save_figure(figure, path, 150)


def _rows_of(stems: Sequence[str], panels: Sequence[T]) -> list[list[T]]:
    """Put panels of the same stem (a right one and its left twin) side by side."""
    rows: dict[str, list[T]] = {}
    for stem, panel in zip(stems, panels, strict=True):
        rows.setdefault(stem, []).append(panel)
    return list(rows.values())


def _draw_panel(axis: Any, time: NDArray[np.float64], before: NDArray[np.float64], item: MuscleEstimate) -> None:
    shade(axis, time, item.covered, "refined gait cycles")
    for boundary in item.heel_strikes():
        axis.axvline(boundary, color="0.55", linewidth=0.7, linestyle=(0, (4, 3)), label="heel strike")
    if item.low is not None and item.high is not None:
        axis.fill_between(
            time, item.low, item.high, where=item.covered, color=_AFTER, alpha=0.2, linewidth=0, label="band"
        )
    axis.plot(time, before, color=_BEFORE, linewidth=1.1, label="OpenSim")
    axis.plot(time, np.where(item.covered, item.values, np.nan), color=_AFTER, linewidth=1.6, label="refined")
    axis.set_title(item.muscle, fontsize=9, loc="left")
    axis.set_xlim(time[0], time[-1])
    axis.set_ylim(0.0, 1.02)


def _legend(axes: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """Return each label of any panel once, in the order of the first panel that has it."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
