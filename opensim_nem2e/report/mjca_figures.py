"""The figures of the PI-MJCA-BiGRU paper: curves of a cycle, scores by muscle, and the space of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .drawing import figure_settings, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..evaluation.mjca_study import FeatureSpace, Score

Array = NDArray[np.float64]

# Okabe & Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442")
#: What stands beside the networks has the same colour in all figures.
_BESIDE = {"exact minimiser": "#0072B2", "mean by phase": "0.4"}
_ARROW: Any = {"markersize": 6, "markeredgecolor": "black", "markeredgewidth": 0.4, "zorder": 4}
_DPI = 150
_SETTINGS = {"font.size": 8, "axes.titlesize": 9}

#: R2 below this is drawn at it, with an arrow.
_LOWEST = -1.0


def draw_cycle(
    path: Path, muscles: Sequence[str], phase: Array, curves: Mapping[str, Array], title: str
) -> tuple[int, int]:
    """Draw the activations of one cycle that was left out (figure 4 of the paper).

    Parameters
    ----------
    path : pathlib.Path
        The file; its ending says the format.
    muscles : sequence of str
        Names.
    phase : numpy.ndarray, shape (frames,)
        0..1.
    curves : mapping of str to numpy.ndarray, each (frames, muscles)
        By method; the first is the reference.
    title : str
        Above the figure.

    Returns
    -------
    tuple of int
        Width and height (CSS pixels).
    """
    with figure_settings(_SETTINGS):
        figure = new_figure(10.0, 4.6)
        axes = figure.subplots(2, -(-len(muscles) // 2), sharex=True, sharey=True).ravel()
        for place, (axis, muscle) in enumerate(zip(axes, muscles, strict=False)):
            for number, (name, values) in enumerate(curves.items()):
                reference = number == 0
                colour = "black" if reference else _BESIDE.get(name, _COLOURS[(number - 1) % len(_COLOURS)])
                style = "-" if reference else ("--", ":", "-.")[(number - 1) % 3]
                axis.plot(
                    100.0 * phase, values[:, place], style, color=colour, lw=1.8 if reference else 1.3, label=name
                )
            axis.set_title(muscle)
            # Some estimates leave 0..1; what is far beyond would hide the rest.
            axis.set_ylim(-0.25, 1.05)
        for axis in axes[-(-len(muscles) // 2) :]:
            axis.set_xlabel("cycle (%)")
        for axis in axes[:: -(-len(muscles) // 2)]:
            axis.set_ylabel("activation")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.suptitle(title)
        save_figure(figure, path, _DPI)
    return _size(figure)


def draw_scores(
    path: Path, scores: Sequence[Score], methods: Sequence[str], muscles: Sequence[str], title: str
) -> tuple[int, int]:
    """Draw R2 and NRMSE of activations and forces by muscle (figures 5 to 7 of the paper).

    Parameters
    ----------
    path : pathlib.Path
        The file.
    scores : sequence of Score
        Of one split.
    methods, muscles : sequence of str
        Which, in order.
    title : str
        Above the figure.

    Returns
    -------
    tuple of int
        Width and height (CSS pixels).
    """
    with figure_settings(_SETTINGS):
        figure = new_figure(10.0, 5.4)
        axes = figure.subplots(2, 2, sharex=True)
        width = 0.8 / len(methods)
        for column, quantity in enumerate(("activation", "force")):
            for row, measure in enumerate(("r2", "nrmse")):
                axis = axes[row, column]
                for number, method in enumerate(methods):
                    found = [
                        [
                            getattr(s, measure)
                            for s in scores
                            if (s.method, s.muscle, s.quantity) == (method, m, quantity)
                        ]
                        for m in muscles
                    ]
                    means = np.array([np.mean(values) if values else np.nan for values in found])
                    at = np.arange(len(muscles)) + (number - (len(methods) - 1) / 2) * width
                    shown = np.maximum(means, _LOWEST) if measure == "r2" else np.minimum(means, 1.0)
                    colour = _BESIDE.get(method, _COLOURS[number % len(_COLOURS)])
                    axis.bar(at, shown, width, color=colour, label=method)
                    beyond = means != shown
                    mark = "v" if measure == "r2" else "^"
                    # Beyond the axis on purpose: the layout must not make room for it.
                    (arrows,) = axis.plot(at[beyond], shown[beyond], mark, color=colour, clip_on=False, **_ARROW)
                    arrows.set_in_layout(False)
                axis.set_title(f"{quantity}: {'R2' if measure == 'r2' else 'NRMSE'}")
                axis.axhline(0.0, color="black", lw=0.6)
                axis.set_ylim((_LOWEST, 1.0) if measure == "r2" else (0.0, 1.0))
                axis.set_xticks(range(len(muscles)), muscles)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
        figure.suptitle(f"{title}; means over subjects and conditions; arrows: beyond the axis")
        save_figure(figure, path, _DPI)
    return _size(figure)


def draw_features(path: Path, space: FeatureSpace, muscles: Sequence[str], title: str) -> tuple[int, int]:
    """Draw the features of two networks in two dimensions, coloured by activation (figure 8 of the paper).

    Parameters
    ----------
    path : pathlib.Path
        The file.
    space : FeatureSpace
        The features.
    muscles : sequence of str
        Names.
    title : str
        Above the figure.

    Returns
    -------
    tuple of int
        Width and height (CSS pixels).
    """
    with figure_settings(_SETTINGS):
        figure = new_figure(1.35 * len(muscles) + 1.0, 3.6)
        axes = figure.subplots(len(space.places), len(muscles), squeeze=False)
        for row, (name, places) in enumerate(space.places.items()):
            for column, muscle in enumerate(muscles):
                axis = axes[row, column]
                values = space.activation[:, column]
                drawn = axis.scatter(*places.T, c=values, s=4, cmap="viridis", vmin=0.0, vmax=max(values.max(), 0.05))
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0:
                    axis.set_title(muscle)
                if column == 0:
                    axis.set_ylabel(name)
                if row == len(space.places) - 1:
                    bar = figure.colorbar(drawn, ax=axis, location="bottom", ticks=list(drawn.get_clim()))
                    # Within the bar's ends, so that neighbours do not push each other aside.
                    lowest, highest = bar.ax.get_xticklabels()
                    lowest.set_horizontalalignment("left")
                    highest.set_horizontalalignment("right")
                    bar.ax.xaxis.set_major_formatter("{x:.2f}")
        figure.suptitle(f"{title}; t-SNE, coloured by activation; Procrustes similarity {space.similarity:.3f}")
        save_figure(figure, path, _DPI)
    return _size(figure)


def _size(figure: Figure) -> tuple[int, int]:
    width, height = figure.get_size_inches()
    return round(96 * width), round(96 * height)
