"""Figures of a cross-validation study, laid out as figures 3 to 7 of the NEM2E paper.

Drawn from the study's files alone, without a display: matplotlib's object-oriented half, imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.study import Attention, Skeleton, StudyResults
from ..methods.registry import REFERENCE
from .drawing import figure_settings, log_scale, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Okabe & Ito's colours, which colour-blind readers can tell apart.
_CONDITION_COLOURS = ("#56B4E9", "#E69F00", "#009E73")
_WEIGHTS = "viridis"
_BONES = {"ipsi": "0.35", "contra": "0.75", "": "0.55"}

#: Weights that differ from the even one by less than this share of it show nothing.
_EVEN = 0.1

#: How many muscles figure 7 names beside the skeleton, as in the paper.
TOP = 10

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    # Text stays text: it can be searched, and the file is small.
    "svg.fonttype": "none",
}


@dataclass(frozen=True, eq=False)
class StudyFigure:
    """A figure with what is said about it.

    Parameters
    ----------
    key : str
        What its files are called behind the study's name.
    title : str
        Its heading.
    caption : str
        What is drawn.
    alt : str
        The same for those who do not see it.
    figure : matplotlib.figure.Figure
        The drawing.
    """

    key: str
    title: str
    caption: str
    alt: str
    figure: Figure

    def save(self, path: Path) -> None:
        """Write the figure; the same study gives the same bytes.

        Parameters
        ----------
        path : pathlib.Path
            The file; its suffix (``.svg``, ``.png``) chooses the format.
        """
        with figure_settings(_STYLE):
            save_figure(self.figure, path, 150)


def study_figures(results: StudyResults) -> Iterator[StudyFigure]:
    """Draw all figures of a study.

    Parameters
    ----------
    results : StudyResults
        The study.

    Yields
    ------
    StudyFigure
        One after the other, in the paper's order; those that have no data are left out.
    """
    conditions = results.condition_names
    yield error_change_figure(results)
    for condition in conditions:
        yield error_figure(results, condition)
    for condition in conditions:
        yield curve_figure(results, condition)
    for condition in conditions:
        if len(results.losses_of(condition)):
            yield loss_figure(results, condition)
    for condition in conditions:
        muscles = [muscle for muscle in results.muscles_of(condition) if (condition, muscle) in results.attention]
        if is_spatial(condition):
            yield from (spatial_attention_figure(results, condition, muscle) for muscle in muscles)
        elif muscles:
            yield temporal_attention_figure(results, condition)


def is_spatial(condition: str) -> bool:
    """Tell whether a condition's networks attend over muscles instead of over time.

    Parameters
    ----------
    condition : str
        The condition.

    Returns
    -------
    bool
        True for All-Entire.
    """
    return condition.startswith("All")


def curve_figure(results: StudyResults, condition: str) -> StudyFigure:
    """Draw OpenSim's and the refined curve with measured EMG, as figure 3 of the paper.

    Parameters
    ----------
    results : StudyResults
        The study.
    condition : str
        The input condition.

    Returns
    -------
    StudyFigure
        A panel per muscle: means over subjects of each subject's mean cycle, and their standard deviation.
    """
    muscles = results.muscles_of(condition)
    with figure_settings(_STYLE):
        figure, axes = _panels(len(muscles), height=1.75)
        for axis, muscle in zip(axes, muscles, strict=True):
            people = _draw_curves(axis, results, condition, muscle, spread=True)
            axis.set_title(f"{muscle} (n = {people})")
            axis.set_ylim(bottom=0)
        # One row of panels is not as high as the label is long.
        _label_outer(axes, "% gait cycle", f"activation /{chr(10) if len(muscles) <= 4 else ' '}normalised EMG")
        _share_legend(figure, axes)
    return StudyFigure(
        f"curves_{condition}",
        f"Activation before and after refinement, {condition}",
        f"OpenSim, {results.label(results.judged[0])} and measured EMG over the gait cycle, on cycles that were not "
        "seen in training. Lines: mean over subjects (n) of each subject's mean cycle; bands: one standard deviation. "
        "That means agree says little, since a mean EMG profile would agree, too: the errors above are each subject's.",
        f"Line plots of {len(muscles)} muscles ({', '.join(muscles)}) over the gait cycle: OpenSim's activation, the "
        "refined activation and measured EMG, with the spread between subjects. The error table has the numbers.",
        figure,
    )


def error_change_figure(results: StudyResults) -> StudyFigure:
    """Draw box plots of Er by condition and muscle, as figure 4 of the paper.

    Parameters
    ----------
    results : StudyResults
        The study.

    Returns
    -------
    StudyFigure
        Boxes and points of subjects; stars for Er = 0 rejected, brackets where Tukey's test separates conditions.
    """
    muscles, conditions = results.muscles, results.condition_names
    # At most eight in a row, and rows of about the same length.
    across = -(-len(muscles) // -(-len(muscles) // 8))
    rows = [muscles[k : k + across] for k in range(0, len(muscles), across)]
    with figure_settings(_STYLE):
        figure = new_figure(max(3.6, 1.2 + 0.42 * (len(conditions) + 0.6) * len(rows[0])), 0.6 + 2.7 * len(rows))
        axes = figure.subplots(len(rows), 1, squeeze=False, sharey=True)[:, 0]
        for axis, members in zip(axes, rows, strict=True):
            axis.axhline(0, color="0.3", linewidth=0.8)
            for place, muscle in enumerate(members):
                _draw_boxes(axis, results, muscle, place)
            axis.set_xlim(-0.5, len(rows[0]) - 0.5)
            axis.margins(y=0.16)
            axis.set_xticks(range(len(members)), members)
            axis.tick_params(axis="x", length=0)
            axis.set_ylabel("Er (0: as OpenSim)")
        handles = [_patch(_condition_colour(conditions, name), name) for name in conditions]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return StudyFigure(
        "error_change",
        "Change of error against OpenSim, by muscle and condition",
        "Er = E / E(OpenSim) - 1 of every subject (points), with median, quartiles and whiskers to 1.5 interquartile "
        "ranges. Below 0: nearer to EMG than OpenSim. Stars below the boxes: mean Er differs from 0 (t-test; * p < "
        "0.05, ** p < 0.01, *** p < 0.001). Brackets: conditions that Tukey's test separates.",
        f"Box plots of the change of error of {len(muscles)} muscles under {', '.join(conditions)}. The table of "
        "statistics has the numbers.",
        figure,
    )


def error_figure(results: StudyResults, condition: str) -> StudyFigure:
    """Draw the error of every method, muscle by muscle.

    Parameters
    ----------
    results : StudyResults
        The study.
    condition : str
        The input condition.

    Returns
    -------
    StudyFigure
        A row per muscle, a mark per method: mean E over subjects.
    """
    from matplotlib.lines import Line2D

    muscles, methods = results.muscles_of(condition), results.methods
    table = results.subjects[results.subjects["condition"] == condition]
    means = table.groupby(["method", "muscle"])["E"].mean()
    with figure_settings(_STYLE):
        figure = new_figure(6.4, 1.1 + 0.28 * len(muscles))
        axis = figure.subplots()
        for method in sorted(methods, key=lambda name: name in results.judged):
            values = means[method].reindex(muscles)
            look = {"label": results.label(method), **_marker(results, method)}
            axis.plot(values, range(len(muscles)), linestyle="none", gid=method, **look)
        axis.hlines(range(len(muscles)), 0, 1, transform=axis.get_yaxis_transform(), color="0.9", zorder=0)
        axis.set_yticks(range(len(muscles)), muscles)
        axis.set_ylim(len(muscles) - 0.4, -0.6)
        axis.set_xlim(left=0)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("E: RMS error against normalised EMG")
        handles = [
            Line2D([], [], linestyle="none", label=results.label(name), **_marker(results, name)) for name in methods
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return StudyFigure(
        f"errors_{condition}",
        f"Error of every method, {condition}",
        "Mean over subjects of the RMS error E on cycles that were left out. All methods learned from the same "
        "training cycles.",
        f"Dot plot of the error of {', '.join(map(results.label, methods))} for {len(muscles)} muscles. The "
        "table of errors has the numbers.",
        figure,
    )


def loss_figure(results: StudyResults, condition: str) -> StudyFigure:
    """Draw training and validation loss over the epochs, as figure 5 of the paper.

    Parameters
    ----------
    results : StudyResults
        The study.
    condition : str
        The input condition.

    Returns
    -------
    StudyFigure
        A panel per muscle: median over folds and seeds, and their range.
    """
    from matplotlib.ticker import MaxNLocator

    table = results.losses_of(condition)
    muscles = [muscle for muscle in results.muscles_of(condition) if (table["muscle"] == muscle).any()]
    with figure_settings(_STYLE):
        figure, axes = _panels(len(muscles), height=1.6)
        for axis, muscle in zip(axes, muscles, strict=True):
            part = table[table["muscle"] == muscle]
            networks = part.groupby(["seed", "held_out"]).ngroups
            for column, colour, label in (
                ("loss", results.colour(REFERENCE), "training"),
                ("validation_loss", results.colour(results.judged[0]), "validation"),
            ):
                by_epoch = part.dropna(subset=column).groupby("epoch")[column]
                if not by_epoch.ngroups:
                    continue
                low, middle, high = by_epoch.min(), by_epoch.median(), by_epoch.max()
                axis.fill_between(low.index, low, high, color=colour, alpha=0.18, linewidth=0)
                axis.plot(middle.index, middle, color=colour, linewidth=1.2, label=label, gid=column)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            log_scale(axis)
            axis.set_title(f"{muscle} ({networks} networks)")
        _label_outer(axes, "epoch", "loss")
        _share_legend(figure, axes)
    note = str(results.study.get("validation_loss", ""))
    return StudyFigure(
        f"losses_{condition}",
        f"Training and validation loss, {condition}",
        "Squared error over the epochs: median over the networks of all folds and seeds, and their range. "
        + (f"Validation loss: {note}." if note else ""),
        f"Line plots of training and validation loss over the epochs for {len(muscles)} muscles.",
        figure,
    )


def temporal_attention_figure(results: StudyResults, condition: str) -> StudyFigure:
    """Draw temporal attention weights with the curves they made, as figure 6 of the paper.

    Parameters
    ----------
    results : StudyResults
        The study.
    condition : {'One-Entire', 'One-Quarter'}
        The input condition.

    Returns
    -------
    StudyFigure
        Per muscle a heat map, output over input samples, above the mean curves.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    muscles = [muscle for muscle in results.muscles_of(condition) if (condition, muscle) in results.attention]
    quarter = condition == "One-Quarter"
    columns = min(4, len(muscles))
    rows = -(-len(muscles) // columns)
    even = 1.0 / results.attention[condition, muscles[0]].weights.shape[1]
    drawn = not all(is_even(results.attention[condition, muscle].weights) for muscle in muscles)
    with figure_settings(_STYLE):
        # A sentence needs less room than a map.
        figure = new_figure(1.0 + 2.15 * columns, 0.5 + (3.6 if drawn else 2.2) * rows)
        grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.6 if drawn else 0.3, 1.0] * rows)
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            heat, curves = grid[2 * row, column], grid[2 * row + 1, column]
            if place >= len(muscles):
                heat.set_visible(False)
                curves.set_visible(False)
                continue
            muscle = muscles[place]
            weights = results.attention[condition, muscle].weights
            heat.set_title(f"{muscle} ({_range(weights)})")
            if is_even(weights):
                _say_even(heat)
            else:
                _draw_weights(heat, weights)
                heat.plot([0, 100], [0, 100], color="white", linewidth=0.6, linestyle=(0, (2, 3)))
                heat.set_xlabel("input: % of the quarter" if quarter else "input: % gait cycle", labelpad=1)
            _draw_curves(curves, results, condition, muscle, spread=False)
            curves.set_ylim(bottom=0)
            curves.set_xlabel("% gait cycle", labelpad=1)
            if column == 0:
                heat.set_ylabel("" if is_even(weights) else "output: % gait cycle")
                curves.set_ylabel("activation /\nnormalised EMG")
        if drawn:
            scale = ScalarMappable(Normalize(0, 1), _WEIGHTS)
            maps = grid[0::2, :].ravel().tolist()
            bar = figure.colorbar(scale, ax=maps, label="attention weight", shrink=0.6, pad=0.02, ticks=[0, 1])
            bar.ax.set_yticklabels(["lowest", "highest"])
        _share_legend(figure, grid[1::2, :].ravel().tolist())
    what = "in its own quarter of the cycle" if quarter else "of the cycle"
    return StudyFigure(
        f"attention_{condition}",
        f"Temporal attention, {condition}",
        f"Above: how every output sample weighs the input samples {what} (mean over all cycles that were left out). "
        "Colours run from each muscle's lowest to its highest weight, which stand beside its name; evenly spread, "
        f"every weight would be {even:.3f}. "
        + ("" if quarter else "Weights off the dotted diagonal move activity in time. ")
        + f"Below: mean curves of OpenSim, {results.label(results.judged[0])} and EMG.",
        f"Heat maps of temporal attention weights of {len(muscles)} muscles, each above the mean curves it produced.",
        figure,
    )


def spatial_attention_figure(results: StudyResults, condition: str, muscle: str) -> StudyFigure:
    """Draw spatial attention weights, muscle by gait cycle, with the skeleton, as figure 7 of the paper.

    Parameters
    ----------
    results : StudyResults
        The study.
    condition : {'All-Entire'}
        The input condition.
    muscle : str
        The target muscle.

    Returns
    -------
    StudyFigure
        The heat map; above it, where the study has a skeleton, the model at its phases with the ten muscles of highest
        weight.
    """
    attention = results.attention[condition, muscle]
    order = sorted(range(len(attention.inputs)), key=lambda k: not attention.inputs[k].startswith("ipsi:"))
    names = [_muscle_label(attention.inputs[k]) for k in order]
    lowest, largest = float(attention.weights.min()), float(attention.weights.max())
    edges = _edges(len(attention.weights))
    skeleton = results.skeleton
    small = len(names) > 40
    # Placed by hand, in inches: the skeletons' names may hang over, and the heat map is as high as it has rows.
    width, views = (9.6, 3.6) if skeleton else (6.5, 0.0)
    left, right, low = 0.15 + 0.065 * max(map(len, names)), 0.95, 0.5
    rows = max(1.4, (0.125 if small else 0.17) * len(names))
    height = low + rows + 0.15 + views

    def box(x: float, y: float, across: float, up: float) -> tuple[float, float, float, float]:
        return x / width, y / height, across / width, up / height

    with figure_settings(_STYLE):
        figure = new_figure(width, height, layout=None)
        heat = figure.add_axes(box(left, low, width - left - right, rows))
        if skeleton is not None:
            part = width / len(skeleton.phases)
            where = [box(part * k, low + rows + 0.45, part, views - 0.65) for k in range(len(skeleton.phases))]
            views_drawn = [figure.add_axes(place) for place in where]
            _draw_skeletons(views_drawn, skeleton, attention, (lowest, largest))
        image = heat.imshow(
            attention.weights.T[order],
            cmap=_WEIGHTS,
            vmin=lowest,
            vmax=largest,
            aspect="auto",
            interpolation="nearest",
            extent=(*edges, len(names) - 0.5, -0.5),
        )
        heat.set_yticks(range(len(names)), names, fontsize=6 if small else 7.5)
        heat.tick_params(axis="y", length=0)
        heat.set_xlim(*edges)
        heat.set_xlabel("% gait cycle")
        _frame(heat)
        bar = figure.add_axes(box(width - right + 0.12, low, 0.12, min(rows, 3.0)))
        figure.colorbar(image, cax=bar, label="attention weight")
        bar.axhline(1.0 / len(names), color="white", linewidth=1)
    top = top_inputs(attention, len(attention.weights) // 2)[:3]
    drawn = ""
    if is_even(attention.weights):
        drawn = f" The weights are all but even ({_range(attention.weights)}): read nothing into the pattern."
    if skeleton is not None:
        phases = ", ".join(f"{phase:g}" for phase in skeleton.phases)
        drawn += f" Above: the {TOP} muscles of highest weight on the model at {phases} % of the cycle"
        drawn += f" ({skeleton.source})." if skeleton.source else "."
    return StudyFigure(
        f"attention_{condition}_{muscle}",
        f"Spatial attention for {muscle}, {condition}",
        f"How the output for {muscle} weighs each input muscle over the gait cycle (mean over all cycles that were "
        f"left out). Evenly spread, every weight would be {1 / len(names):.3f} (white line in the scale).{drawn} "
        "'contra' muscles belong to the other limb.",
        f"Heat map of the attention weights of {len(names)} input muscles over the gait cycle for {muscle}. Highest at "
        f"mid-cycle: {', '.join(_muscle_label(name) for name in top)}.",
        figure,
    )


def is_even(weights: Array) -> bool:
    """Tell whether attention is spread so evenly that a map of it would show nothing but noise.

    Parameters
    ----------
    weights : numpy.ndarray, shape (samples, inputs)
        The weights.

    Returns
    -------
    bool
        True if none is a tenth away from the even one.
    """
    return bool(np.abs(weights * weights.shape[1] - 1.0).max() < _EVEN)


def top_inputs(attention: Attention, sample: int, count: int = TOP) -> list[str]:
    """Name the inputs of highest weight at one output sample.

    Parameters
    ----------
    attention : Attention
        The weights.
    sample : int
        The output sample, counted from 0.
    count : int
        How many.

    Returns
    -------
    list of str
        Input names, the highest weight first.
    """
    order = np.argsort(-attention.weights[sample], kind="stable")[:count]
    return [attention.inputs[k] for k in order]


# --- parts of figures -------------------------------------------------------------------------------------------------


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel per muscle, at most four in a row, all on the same scales."""
    columns = min(4, count)
    rows = -(-count // columns)
    figure = new_figure(0.6 + 2.3 * max(columns, 2), 0.6 + height * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _label_outer(axes: Sequence[Axes], x: str, y: str) -> None:
    """Label the left column and the lowest panel of every column."""
    columns = min(4, len(axes))
    for place, axis in enumerate(axes):
        if place + columns >= len(axes):
            axis.set_xlabel(x)
            axis.tick_params(labelbottom=True)
    # One label for all rows: it is longer than a panel is high.
    axes[0].figure.supylabel(y, fontsize=8.5)


def _share_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    # In inches: a line, and about so much for a letter; a figure of one panel is narrower than all entries.
    entry = 0.45 + 0.07 * max(map(len, found), default=0)
    across = min(len(found), max(1, int(figure.get_figwidth() / entry)))
    figure.legend(list(found.values()), list(found), loc="outside upper left", ncols=across)


def _draw_curves(axis: Axes, results: StudyResults, condition: str, muscle: str, spread: bool) -> int:
    """Draw the mean curves of a muscle; return how many subjects they are from."""
    people = 0
    for method, width in (("emg", 1.6), (REFERENCE, 1.3), (results.judged[0], 1.6)):
        curves = results.subject_curves(condition, muscle, method).to_numpy()
        if not len(curves):
            continue
        colour = results.colour(method)
        people, samples = curves.shape
        percent = np.linspace(0.0, 100.0, samples)
        mean = curves.mean(axis=0)
        if spread and people > 1:
            away = curves.std(axis=0, ddof=1)
            axis.fill_between(percent, mean - away, mean + away, color=colour, alpha=0.13, linewidth=0)
        axis.plot(percent, mean, color=colour, linewidth=width, label=results.label(method), gid=method)
    axis.set_xlim(0, 100)
    axis.set_xticks([0, 25, 50, 75, 100])
    return people


def _draw_boxes(axis: Axes, results: StudyResults, muscle: str, place: int) -> None:
    conditions = results.condition_names
    step = 0.8 / len(conditions)
    at = {name: place + step * (k - (len(conditions) - 1) / 2) for k, name in enumerate(conditions)}
    statistics = results.statistics
    tops, bottoms = [0.0], [0.0]
    for condition in conditions:
        own = results.subjects["method"] == results.judged[0]
        chosen = own & (results.subjects["muscle"] == muscle) & (results.subjects["condition"] == condition)
        values = results.subjects.loc[chosen, "Er"].dropna().to_numpy()
        if not len(values):
            continue
        tops.append(values.max())
        bottoms.append(values.min())
        colour = _condition_colour(conditions, condition)
        _draw_box(axis, values, at[condition], 0.78 * step, colour)
        # Side by side, so that equal values of several subjects are seen.
        beside = np.linspace(-0.18, 0.18, len(values)) * step if len(values) > 1 else np.zeros(1)
        axis.plot(
            at[condition] + beside,
            values,
            linestyle="none",
            marker="o",
            markersize=2.6,
            color="0.15",
            markeredgewidth=0,
            gid=f"{condition}/{muscle}",
        )
        row = statistics[
            (statistics["condition"] == condition)
            & (statistics["muscle"] == muscle)
            & (statistics["method"] == results.judged[0])
        ]
        stars = significance(float(row["p"].iloc[0])) if len(row) else ""
        if stars:
            axis.annotate(
                stars,
                (at[condition], values.min()),
                xytext=(0, -3),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
            )
    _draw_brackets(axis, results, muscle, at, max(tops))


def _draw_box(axis: Axes, values: Array, at: float, width: float, colour: str) -> None:
    """Draw median, quartiles and whiskers; ``Axes.boxplot`` would choose a back end for the whole process."""
    from matplotlib.cbook import boxplot_stats
    from matplotlib.patches import Rectangle

    (found,) = boxplot_stats(values)
    low, high = at - width / 2, at + width / 2
    box = Rectangle((low, found["q1"]), width, found["q3"] - found["q1"], facecolor=colour, alpha=0.55)
    box.set(edgecolor="black", linewidth=0.7)
    axis.add_patch(box)
    for end, quartile in (("whislo", "q1"), ("whishi", "q3")):
        axis.plot([at, at], [found[quartile], found[end]], color="black", linewidth=0.7)
        axis.plot([at - width / 4, at + width / 4], [found[end]] * 2, color="black", linewidth=0.7)
    axis.plot([low, high], [found["med"]] * 2, color="black", linewidth=1.2, solid_capstyle="butt")


def _draw_brackets(axis: Axes, results: StudyResults, muscle: str, at: dict[str, float], top: float) -> None:
    """Join conditions that Tukey's test separates, the wider brackets above."""
    from matplotlib.markers import TICKDOWN
    from matplotlib.transforms import offset_copy

    table = results.conditions[(results.conditions["muscle"] == muscle) & (results.conditions["tukey_p"] < 0.05)]
    pairs = [(at[str(a)], at[str(b)], p) for a, b, p in table[["condition_a", "condition_b", "tukey_p"]].to_numpy()]
    # Two brackets on one level may touch, not overlap.
    ends: list[float] = []
    for left, right, p in sorted(((min(a, b), max(a, b), p) for a, b, p in pairs), key=lambda x: (x[1] - x[0], x[0])):
        gap = 0.04
        level = next((k for k, end in enumerate(ends) if end <= left + gap), len(ends))
        ends[level : level + 1] = [right]
        above = offset_copy(axis.transData, axis.get_figure(root=True), y=6 + 10 * level, units="points")
        bar = [left + gap, right - gap]
        axis.plot(bar, [top, top], transform=above, color="0.2", linewidth=0.7, marker=TICKDOWN, markersize=3)
        axis.text(
            (left + right) / 2, top, significance(float(p)), transform=above, ha="center", va="bottom", fontsize=7
        )


def significance(p: float) -> str:
    """Mark a p value as the paper does.

    Parameters
    ----------
    p : float
        The p value; NaN where no test was made.

    Returns
    -------
    str
        ``***`` below 0.001, ``**`` below 0.01, ``*`` below 0.05, and nothing otherwise.
    """
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""


def _condition_colour(conditions: Sequence[str], name: str) -> str:
    return _CONDITION_COLOURS[list(conditions).index(name) % len(_CONDITION_COLOURS)]


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, alpha=0.55, edgecolor="black", linewidth=0.7, label=label)


def _marker(results: StudyResults, method: str) -> dict[str, Any]:
    return {
        "marker": results.marker(method),
        "color": results.colour(method),
        "markersize": 7 if method in results.judged else 5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _edges(samples: int) -> tuple[float, float]:
    """Return the outer edges of a row of samples whose centres are at 0 and 100 %."""
    half = 50.0 / (samples - 1)
    return -half, 100.0 + half


def _range(weights: Array) -> str:
    return f"{weights.min():.3f} to {weights.max():.3f}"


def _say_even(axis: Axes) -> None:
    """Write a sentence where a map would show nothing."""
    axis.text(0.5, 0.5, "evenly spread", transform=axis.transAxes, ha="center", va="center", color="0.35")
    axis.set_xticks([])
    axis.set_yticks([])
    _frame(axis)


def _draw_weights(axis: Axes, weights: Array) -> None:
    """Draw output samples (up) over encoder steps (to the right)."""
    up, across = (_edges(samples) for samples in weights.shape)
    axis.imshow(
        weights,
        cmap=_WEIGHTS,
        vmin=weights.min(),
        vmax=weights.max(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(*across, *up),
    )
    axis.set_xlim(*across)
    axis.set_ylim(*up)
    axis.set_xticks([0, 50, 100])
    axis.set_yticks([0, 50, 100])
    _frame(axis)


def _frame(axis: Axes) -> None:
    axis.spines[:].set_visible(False)


def _muscle_label(name: str) -> str:
    side, _, muscle = name.partition(":")
    return muscle if side == "ipsi" else f"contra {muscle}" if side == "contra" else name


# --- the skeleton of figure 7 -----------------------------------------------------------------------------------------

#: From where the model is seen: so far turned from the side towards the front, and from so far above (degrees).
_AZIMUTH, _ELEVATION = 28.0, 8.0


def _project(points: Array) -> Array:
    """Project ground positions (x forward, y up, z towards the viewer; m) onto the page."""
    azimuth, elevation = np.deg2rad(_AZIMUTH), np.deg2rad(_ELEVATION)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    near = x * np.sin(azimuth) + z * np.cos(azimuth)
    return np.stack(
        [x * np.cos(azimuth) - z * np.sin(azimuth), y * np.cos(elevation) - near * np.sin(elevation)], axis=-1
    )


def _draw_skeletons(
    axes: Sequence[Axes], skeleton: Skeleton, attention: Attention, limits: tuple[float, float]
) -> None:
    flat = [_flattener(skeleton, k) for k in range(len(axes))]
    corners = np.concatenate([project(skeleton.bones[k]).reshape(-1, 2) for k, project in enumerate(flat)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.04 * (high[1] - low[1])
    span = (low[1] - margin, high[1] + margin)
    # As wide as the axes are: names stand left and right of the model.
    place = axes[0].get_position()
    page = axes[0].figure.bbox
    half = 0.5 * (span[1] - span[0]) * (place.width * page.width) / (place.height * page.height)
    for k, axis in enumerate(axes):
        axis.plot([-0.5 * half, 0.5 * half], [low[1] - 0.5 * margin] * 2, color="0.85", linewidth=0.8)
        _draw_bones(axis, skeleton, k, flat[k])
        sample = round(skeleton.phases[k] / 100 * (len(attention.weights) - 1))
        _draw_muscles(axis, skeleton, k, flat[k], attention, sample, limits, half, span)
        axis.set_xlim(-half, half)
        axis.set_ylim(*span)
        axis.set_axis_off()
        axis.set_title(f"{skeleton.phases[k]:g} % of the gait cycle", loc="center")


def _flattener(skeleton: Skeleton, phase: int) -> Callable[[Array], Array]:
    """Return what projects positions at one phase, the middle of the bones moved to 0."""
    middle = skeleton.bones[phase].mean(axis=(0, 1)) * [1.0, 0.0, 1.0]
    return lambda points: _project(points - middle)


def _draw_bones(axis: Axes, skeleton: Skeleton, phase: int, flat: Callable[[Array], Array]) -> None:
    # The limb that is farther away first.
    for side in ("contra", "", "ipsi"):
        for bone, of in zip(skeleton.bones[phase], skeleton.sides, strict=True):
            if of == side:
                ends = flat(bone)
                axis.plot(*ends.T, color=_BONES[side], linewidth=3.2, solid_capstyle="round", alpha=0.8)
                axis.plot(*ends.T, color=_BONES[side], linestyle="none", marker="o", markersize=4)


def _draw_muscles(
    axis: Axes,
    skeleton: Skeleton,
    phase: int,
    flat: Callable[[Array], Array],
    attention: Attention,
    sample: int,
    limits: tuple[float, float],
    half: float,
    span: tuple[float, float],
) -> None:
    """Draw muscles in the colour of their weight, each with its name at the side and a line to it."""
    import textwrap

    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    inputs = top_inputs(attention, sample)
    weights = dict(zip(attention.inputs, attention.weights[sample].tolist(), strict=True))
    middles = {}
    for name in reversed(inputs):
        colour = colormaps[_WEIGHTS](Normalize(*limits)(weights[name]))
        for path in skeleton.muscles.get(name, ()):
            line = flat(path[phase])
            # A thin dark edge: the brightest colours are pale on white.
            axis.plot(*line.T, color="0.15", linewidth=3.0, solid_capstyle="round")
            axis.plot(*line.T, color=colour, linewidth=2.0, solid_capstyle="round", gid=name)
            middles[name] = _middle(line)
    absent = [name for name in inputs if name not in middles]
    placed = sorted(middles, key=lambda name: middles[name][0])
    left, right = placed[: len(placed) // 2], placed[len(placed) // 2 :]
    for names, sign in ((left, -1), (right, 1)):
        names.sort(key=lambda name: middles[name][1])
        for name, height in zip(names, _spread([middles[n][1] for n in names], *span), strict=True):
            # An annotation would find out where its text ends, which takes half of the figure's time.
            x = sign * 0.58 * half
            axis.text(x, height, _muscle_label(name), ha="right" if sign < 0 else "left", va="center", fontsize=6.5)
            axis.plot([0.98 * x, middles[name][0]], [height, middles[name][1]], color="0.45", linewidth=0.5)
    if absent:
        text = textwrap.fill("not in the model: " + ", ".join(map(_muscle_label, absent)), 50)
        axis.text(0.5, 0.0, text, transform=axis.transAxes, ha="center", va="top", fontsize=6, color="0.35")


def _middle(line: Array) -> Array:
    """Return the point half way along a path."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    half = 0.5 * along[-1]
    return np.array([np.interp(half, along, line[:, 0]), np.interp(half, along, line[:, 1])])


def _spread(heights: Sequence[float], low: float, high: float) -> list[float]:
    """Move sorted heights apart so that their labels do not overlap, as little as need be."""
    gap = (high - low) / 14.0
    placed = list(heights)
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    over = placed[-1] - high if placed else 0.0
    if over > 0:
        placed[-1] = high
        for k in range(len(placed) - 2, -1, -1):
            placed[k] = min(placed[k], placed[k + 1] - gap)
    return placed
