"""How a training went, and what it is worth: losses over epochs, and errors on subjects left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .drawing import figure_settings, log_scale, new_figure, save_figure

#: Of whom errors are shown, as the validation figures call them, with labels and colours.
_JUDGED = {
    "opensim": ("OpenSim", "#0072B2"),
    "mean": ("mean EMG profile", "0.6"),
    "ridge": ("ridge regression", "0.8"),
    "refined": ("refined", "#D55E00"),
}


def draw_training(
    history: Sequence[Mapping[str, Any]], errors: Mapping[str, Mapping[str, Any]], path: Path, title: str
) -> None:
    """Draw the losses of all networks and, where they were validated, their errors beside the baselines'.

    Parameters
    ----------
    history : sequence of mapping
        ``muscle``, ``epoch``, ``loss``, ``validation_loss`` (empty: none) of every epoch.
    errors : mapping of str to mapping
        By muscle: ``E_opensim``, ``E_refined``, ``E_mean``, ``E_ridge``; empty: it was not validated.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    title : str
        Above the panels.
    """
    panels = bool(history) + bool(errors)
    with figure_settings({"font.size": 8}):
        figure = new_figure(4.6 * panels, 3.4)
        axes = list(figure.subplots(1, panels, squeeze=False)[0])
        if history:
            _draw_losses(axes.pop(0), history)
        if errors:
            _draw_errors(axes.pop(0), errors)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        save_figure(figure, path, 130)


def _draw_losses(axis: Any, history: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, muscle in enumerate(dict.fromkeys(row["muscle"] for row in history)):
        rows = [row for row in history if row["muscle"] == muscle]
        colour = f"C{number % 10}"
        axis.plot([row["epoch"] for row in rows], [row["loss"] for row in rows], color=colour, label=muscle)
        held = [row for row in rows if row["validation_loss"] != ""]
        axis.plot([row["epoch"] for row in held], [row["validation_loss"] for row in held], color=colour, linestyle=":")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    log_scale(axis)
    axis.set(xlabel="epoch", ylabel="loss (dotted: held-out subjects)")
    axis.spines[["top", "right"]].set_visible(False)
    _legend_above(axis, 4)


def _draw_errors(axis: Any, errors: Mapping[str, Mapping[str, Any]]) -> None:
    width = 0.8 / len(_JUDGED)
    for number, (who, (label, colour)) in enumerate(_JUDGED.items()):
        places = [row + (number - 1.5) * width for row in range(len(errors))]
        axis.bar(places, [row[f"E_{who}"] for row in errors.values()], width, color=colour, label=label)
    axis.set_xticks(range(len(errors)), list(errors), rotation=60, ha="right")
    axis.set_ylabel("E on subjects left out")
    axis.spines[["top", "right"]].set_visible(False)
    _legend_above(axis, 2)


def _legend_above(axis: Any, columns: int) -> None:
    """Keep the legend off the curves, however many there are."""
    axis.legend(frameon=False, fontsize=7, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
