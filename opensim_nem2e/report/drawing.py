"""What all figures share: settings, an empty figure, plain logarithmic ticks, files with the same bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: The ground behind what was refined: in figures, notebooks and the report's page.
CHANGED = "#FBF1E7"

_SETTINGS = {
    "svg.hashsalt": "opensim_nem2e",
    # Names are no formulas.
    "text.parse_math": False,
    # A figure is laid out as it asks for.
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    # A title above its panel, where nothing is in its way; to look for it costs a third of the time of drawing.
    "axes.titley": 1.0,
}

# matplotlib's settings belong to the whole process: no two threads of ours change them at once.
_settings = threading.RLock()


@contextmanager
def figure_settings(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draw with settings of Matplotlib's that end with the block.

    Parameters
    ----------
    settings : mapping of str to object
        Beside those of every figure: names are drawn as they are written, and the same drawing gives the same SVG.
    """
    import matplotlib

    # Matplotlib's own annotation of the keys lists every one.
    chosen: dict[Any, Any] = {**_SETTINGS, **settings}
    with _settings, matplotlib.rc_context(chosen):
        yield


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Make an empty figure that no window belongs to.

    Parameters
    ----------
    width, height : float
        Size (inches).
    layout : {'constrained', None}
        None: the caller places the axes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, on a canvas of its own.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def set_margins(figure: Figure, left: float, right: float, below: float, above: float, **gaps: float) -> None:
    """Place panels by hand: a layout that Matplotlib computes takes longer than drawing.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure, of its final size.
    left, right, below, above : float
        From the figure's edges to the panels (inches).
    **gaps
        ``wspace`` and ``hspace`` of :meth:`matplotlib.figure.Figure.subplots_adjust`.
    """
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, below / height, 1.0 - right / width, 1.0 - above / height, **gaps)


def shade(axis: Axes, time: NDArray[np.float64], where: NDArray[np.bool_], label: str) -> None:
    """Give some rows of a panel over time a ground of their own.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        The panel.
    time : numpy.ndarray, shape (rows,)
        Time (s).
    where : numpy.ndarray of bool, shape (rows,)
        The rows.
    label : str
        What the legend calls them.
    """
    if where.any():
        across = axis.get_xaxis_transform()
        axis.fill_between(time, 0, 1, where=where, transform=across, color=CHANGED, linewidth=0, label=label, zorder=0)


def log_scale(axis: Axes) -> None:
    """Make a logarithmic ordinate with plain numbers: at 1, 2 and 5, or evenly spread where it spans less.

    What it shows must have been drawn before.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        The axes.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high >= 5 * low else MaxNLocator(5))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def bare_ticks(axis: Any, which: Literal["x", "y"]) -> None:
    """Draw the ticks of an axis without labels, as one line: Matplotlib makes five things of every tick.

    The limits must have been set before.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        The axes.
    which : {'x', 'y'}
        Which of its axes.
    """
    from matplotlib import rcParams
    from matplotlib.lines import Line2D
    from matplotlib.markers import TICKDOWN, TICKLEFT
    from matplotlib.ticker import NullLocator

    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    own = axis.xaxis if which == "x" else axis.yaxis
    slack = 1e-9 * (high - low)
    at = [place for place in own.get_major_locator()() if low - slack <= place <= high + slack]
    nought = [0.0] * len(at)
    if which == "x":
        line = Line2D(at, nought, transform=axis.get_xaxis_transform(), color=rcParams["xtick.color"])
        line.set(
            marker=TICKDOWN, markersize=rcParams["xtick.major.size"], markeredgewidth=rcParams["xtick.major.width"]
        )
    else:
        line = Line2D(nought, at, transform=axis.get_yaxis_transform(), color=rcParams["ytick.color"])
        line.set(
            marker=TICKLEFT, markersize=rcParams["ytick.major.size"], markeredgewidth=rcParams["ytick.major.width"]
        )
    # As ticks: without a line between them, and across the axes' edge.
    line.set(linestyle="none", zorder=2.01)
    line.set_clip_on(False)
    axis.add_artist(line)
    own.set_major_locator(NullLocator())


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure; the same drawing gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The drawing.
    path : pathlib.Path
        The file; its suffix (``.svg``, ``.png``) chooses the format.
    dpi : int
        Dots per inch of what is no vector.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        # Matplotlib would draw everything before each file to lay it out, even with "none" in place of None.
        engine.execute(figure)
        figure.set_layout_engine(None)
    if path.suffix == ".svg":
        figure.savefig(path, dpi=dpi, metadata={"Date": None})
    else:
        # Pillow's own level takes half as long again for files that are a tenth smaller.
        figure.savefig(path, dpi=dpi, pil_kwargs={"compress_level": 1})
