"""Many small panels of curves over time in one figure, without Matplotlib's axes.

Axes are made for panels that are zoomed and changed: every tick is five things, and a figure of 30 panels takes two
seconds, most of it for what is empty. Here a panel is its curves, one line for frame and ticks, and its texts.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .drawing import CHANGED, figure_settings, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Many figures are written: compressing them well would take most of the time.
LIGHTLY = {"compress_level": 1}

#: So many letters of a caption go into an inch; so wide is a legend's entry, without and for each letter (inches).
_LETTERS, _HANDLE, _LETTER = 17, 0.65, 0.075

#: Room in inches: a panel's height with its gap, left and right of all panels, above them and below without texts.
_HEIGHT, _LEFT, _RIGHT, _ABOVE, _BELOW = 2.1, 0.65, 0.2, 0.55, 0.55

#: Gaps between panels, in their own widths and heights.
_GAPS = (0.16, 0.25)

#: Steps between ticks, at most; their length, the gap to their labels, the size of text and its width per letter (pt).
_TICKS, _TICK, _PAD, _TEXT, _WIDE = 5, 3.5, 3.5, 9.0, 5.7

_HEEL_STRIKE: dict[str, Any] = {"color": "0.55", "linewidth": 0.7, "linestyle": (0, (4, 3))}


@dataclass(frozen=True)
class TimePanel:
    """What is drawn in one panel.

    Parameters
    ----------
    title : str
        Above it.
    time : numpy.ndarray, shape (rows,)
        s; the panel ends where it does.
    curves : mapping of str to (numpy.ndarray, numpy.ndarray)
        Time and values of each, nan where it has a gap, by what the legend calls it.
    ground : numpy.ndarray of bool, shape (rows,)
        Rows that have a ground of their own.
    limits : (float, float) or None
        Of the values; None: what the curves need.
    band : (numpy.ndarray, numpy.ndarray) or None
        Limits of a band (rows,), which is drawn on the ground.
    strikes : sequence of float
        Heel strikes (s).
    """

    title: str
    time: Array
    curves: Mapping[str, tuple[Array, Array]]
    ground: Mask
    limits: tuple[float, float] | None = (0.0, 1.02)
    band: tuple[Array, Array] | None = None
    strikes: Sequence[float] = field(default=())

    def heights(self) -> tuple[float, float]:
        """Return the limits of the values.

        Returns
        -------
        low, high : float
            :attr:`limits`, or what the curves need with a margin.
        """
        if self.limits is not None:
            return self.limits
        values = np.concatenate([values[np.isfinite(values)] for _, values in self.curves.values()])
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        margin = 0.05 * (high - low) or 0.05 * abs(low) or 0.05
        return low - margin, high + margin


def draw_panels(
    rows: Sequence[Sequence[TimePanel]],
    path: Path,
    *,
    styles: Mapping[str, Mapping[str, Any]],
    ground: str,
    title: str,
    caption: str,
    ylabel: str,
    sharey: bool,
    band: str = "",
) -> None:
    """Draw panels row by row, and write the figure.

    Parameters
    ----------
    rows : sequence of sequence of TimePanel
        The panels; a row may be shorter than others.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    styles : mapping of str to mapping
        Matplotlib's properties of each curve's line; the last is drawn on top.
    ground : str
        What the legend calls the ground.
    title, caption : str
        Above and under the panels.
    ylabel : str
        Left of each row.
    sharey : bool
        Whether only the first panel of a row has numbers on its ordinate.
    band : str, optional
        The curve that bands belong to, whose colour they have.
    """
    columns = max(len(row) for row in rows)
    # Wide enough for a line of text above the panels, whatever their number.
    width = max(6.4, 4.6 * columns)
    lines = textwrap.wrap(caption, round(_LETTERS * width)) if caption else []
    panels = [panel for row in rows for panel in row]
    with figure_settings({"font.size": _TEXT}):
        handles = _handles(panels, styles, ground, band)
        entry = _HANDLE + _LETTER * max(map(len, handles))
        ncols = max(1, min(len(handles), int(width // entry)))
        below = _BELOW + 0.14 * len(lines)
        above = _ABOVE + 0.2 * -(-len(handles) // ncols)
        height = below + _HEIGHT * len(rows) + above
        wide = (width - _LEFT - _RIGHT) / (columns + _GAPS[0] * (columns - 1))
        high = _HEIGHT * len(rows) / (len(rows) + _GAPS[1] * (len(rows) - 1))
        figure = new_figure(width, height, layout=None)
        for r, row in enumerate(rows):
            for c, panel in enumerate(row):
                left = _LEFT + c * wide * (1.0 + _GAPS[0])
                bottom = height - above - high - r * high * (1.0 + _GAPS[1])
                drawing = _Drawing(figure, panel, (left, bottom, left + wide, bottom + high))
                drawing.draw(styles, band)
                lowest = r == len(rows) - 1 or c >= len(rows[r + 1])
                drawing.frame("time (s)" if lowest else "", ylabel if c == 0 else "", numbered=c == 0 or not sharey)
        figure.suptitle(title, x=0.1 / width, y=1.0 - 0.08 / height, ha="left", va="top", fontsize=11)
        place = (0.1 / width, 1.0 - 0.28 / height)
        figure.legend(
            [*handles.values()],
            [*handles],
            loc="upper left",
            bbox_to_anchor=place,
            ncols=ncols,
            frameon=False,
            borderpad=0,
        )
        figure.text(0.1 / width, 0.06 / height, "\n".join(lines), fontsize=7.5, color="0.35", va="bottom")
        save_figure(figure, path, 150, pil_kwargs=LIGHTLY)


def _handles(
    panels: Iterable[TimePanel], styles: Mapping[str, Mapping[str, Any]], ground: str, band: str
) -> dict[str, Any]:
    """Return what stands for each label in the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    panels = list(panels)
    found: dict[str, Any] = {}
    if any(panel.ground.any() for panel in panels):
        found[ground] = Patch(facecolor=CHANGED, linewidth=0)
    if any(panel.strikes for panel in panels):
        found["heel strike"] = Line2D([], [], **_HEEL_STRIKE)
    if any(panel.band is not None for panel in panels):
        found["band"] = Patch(facecolor=styles[band]["color"], alpha=0.2, linewidth=0)
    for label, style in styles.items():
        if any(label in panel.curves for panel in panels):
            found[label] = Line2D([], [], **style)
    return found


class _Drawing:
    """A panel at its place in a figure: left, bottom, right and top in inches."""

    def __init__(self, figure: Figure, panel: TimePanel, box: tuple[float, float, float, float]):
        from matplotlib.transforms import Affine2D, Bbox, TransformedBbox

        self.figure, self.panel, self.box = figure, panel, box
        (left, bottom, right, top) = box
        self.limits = (float(panel.time[0]), float(panel.time[-1])), panel.heights()
        scale = [
            (end - start) / (high - low)
            for (start, end), (low, high) in zip(((left, right), (bottom, top)), self.limits, strict=True)
        ]
        offset = left - scale[0] * self.limits[0][0], bottom - scale[1] * self.limits[1][0]
        self.inches: Transform = figure.dpi_scale_trans
        self.own: Transform = Affine2D().scale(*scale).translate(*offset) + self.inches
        self.clip = TransformedBbox(Bbox.from_extents(*box), self.inches)

    def _add(self, artist: Any, transform: Transform) -> None:
        artist.set_transform(transform)
        self.figure.add_artist(artist)
        artist.set_clip_path(None)
        artist.set_clip_box(self.clip)

    def draw(self, styles: Mapping[str, Mapping[str, Any]], band: str) -> None:
        """Draw ground, heel strikes, band and curves."""
        from matplotlib.collections import PolyCollection
        from matplotlib.lines import Line2D

        panel, (low, high) = self.panel, self.limits[1]
        runs = _runs(panel.ground)
        if runs:
            ends = [panel.time[[run.start, run.stop - 1]] for run in runs]
            corners = [[(a, low), (a, high), (b, high), (b, low)] for a, b in ends]
            self._add(PolyCollection(corners, facecolors=CHANGED, linewidths=0), self.own)
        for strike in panel.strikes:
            self._add(Line2D([strike, strike], [low, high], **_HEEL_STRIKE), self.own)
        if panel.band is not None:
            sides = [[np.column_stack([panel.time, side])[run] for side in panel.band] for run in runs]
            outlines = [np.vstack([lower, upper[::-1]]) for lower, upper in sides]
            self._add(PolyCollection(outlines, facecolors=styles[band]["color"], alpha=0.2, linewidths=0), self.own)
        for label, style in styles.items():
            if label in panel.curves:
                self._add(Line2D(*panel.curves[label], **style), self.own)

    def frame(self, xlabel: str, ylabel: str, numbered: bool) -> None:
        """Draw the left and the lower edge, with ticks, and the texts; numbers on the abscissa where it has a label."""
        from matplotlib.lines import Line2D

        left, bottom, right, top = self.box
        point = 1.0 / 72.0
        along, up = (_ticks(*limits) for limits in self.limits)
        (start, end), (low, high) = self.limits
        across = left + (along - start) / (end - start) * (right - left)
        over = bottom + (up - low) / (high - low) * (top - bottom)
        strokes = [[(left, top), (left, bottom), (right, bottom)]]
        strokes += [[(x, bottom), (x, bottom - _TICK * point)] for x in across]
        strokes += [[(left, y), (left - _TICK * point, y)] for y in over]
        path = np.array([corner for stroke in strokes for corner in (*stroke, (np.nan, np.nan))])
        line = Line2D(*path.T, color="black", linewidth=0.8, solid_capstyle="projecting", solid_joinstyle="miter")
        line.set_transform(self.inches)
        self.figure.add_artist(line)
        self._text(left, top + 6.0 * point, self.panel.title, va="baseline", ha="left")
        away = (_TICK + _PAD) * point
        if xlabel:
            for x, text in zip(across, _numbers(along), strict=True):
                self._text(x, bottom - away, text, va="top", ha="center")
            self._text(0.5 * (left + right), bottom - away - 1.35 * _TEXT * point, xlabel, va="top", ha="center")
        texts = _numbers(up)
        if numbered:
            for y, text in zip(over, texts, strict=True):
                self._text(left - away, y, text, va="center_baseline", ha="right")
        if ylabel:
            beside = left - away - (_WIDE * max(map(len, texts), default=0) + 3.0) * point
            self._text(beside, 0.5 * (bottom + top), ylabel, va="center", ha="right", rotation="vertical")

    def _text(self, x: float, y: float, text: str, **more: Any) -> None:
        self.figure.text(x, y, text, transform=self.inches, **more)


def _ticks(low: float, high: float) -> Array:
    from matplotlib.ticker import MaxNLocator

    places = np.asarray(MaxNLocator(_TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    slack = 1e-9 * (high - low)
    return places[(places >= low - slack) & (places <= high + slack)]


def _numbers(ticks: Array) -> list[str]:
    """Write numbers with as many decimals as tell them all apart exactly."""
    step = np.diff(ticks).min() if len(ticks) > 1 else 1.0
    decimals = next((d for d in range(12) if np.abs(np.round(ticks, d) - ticks).max(initial=0.0) < 1e-6 * step), 12)
    return [f"{tick + 0.0:.{decimals}f}".replace("-", "−") for tick in np.round(ticks, decimals)]


def _runs(mask: Mask) -> list[slice]:
    """Return each stretch of rows that follow one another."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [slice(first, last) for first, last in edges.reshape(-1, 2) if last - first > 1]
