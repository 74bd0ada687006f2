"""Gait events as a diagram: when each foot is on the ground, and how long its strides last."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from .drawing import figure_settings, new_figure, save_figure

if TYPE_CHECKING:
    from ..signals.events import GaitEvents

_COLOURS = {"right": "#0072B2", "left": "#D55E00"}


def draw_events(events: GaitEvents, path: Path, title: str) -> None:
    """Draw the contacts of both feet over time, and the durations of their strides.

    A strike that was missed is a gap between the bars of a foot, and a point far above the others.

    Parameters
    ----------
    events : GaitEvents
        The events.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    title : str
        Above the panels.
    """
    feet = {
        "right": (events.right.tolist(), events.right_toe_offs.tolist()),
        "left": (events.left.tolist(), events.left_toe_offs.tolist()),
    }
    with figure_settings({"font.size": 8}):
        figure = new_figure(9.0, 3.4)
        contacts, durations = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
        for row, (side, (strikes, leaves)) in enumerate(feet.items()):
            colour = _COLOURS[side]
            for strike in strikes:
                leave = next((time for time in leaves if time > strike), None)
                if leave is not None:
                    contacts.barh(row, leave - strike, left=strike, height=0.5, color=colour, alpha=0.35)
            contacts.plot(strikes, [row] * len(strikes), "|", color=colour, markersize=16, markeredgewidth=1.6)
            gaps = [later - earlier for earlier, later in pairwise(strikes)]
            durations.plot(strikes[1:], gaps, "o-", color=colour, markersize=4, linewidth=0.8, label=side)
        contacts.set(yticks=range(len(feet)), yticklabels=list(feet), ylim=(-0.6, 1.6))
        contacts.set_title("contacts: heel strike to toe-off", loc="left", fontsize=8)
        durations.set(xlabel="time (s)", ylabel="stride (s)")
        longest = max(
            (later - earlier for times, _ in feet.values() for earlier, later in pairwise(times)), default=1.0
        )
        durations.set_ylim(0.0, 1.2 * longest)
        durations.legend(loc="lower right", frameon=False, ncols=2)
        for axis in (contacts, durations):
            axis.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        save_figure(figure, path, 130)
