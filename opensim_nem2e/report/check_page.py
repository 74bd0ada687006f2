"""The findings as one HTML page that needs nothing else, with a figure of every recording."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..data.check.findings import SEVERITIES
from ..data.check.quality_check import Examination
from ..data.check.timing_checks import LAGS, Alignment
from ..storage.atomic import ResultFiles
from .drawing import figure_settings, new_figure, set_margins
from .page import Picture, data_url, render_page

Array = NDArray[np.float64]

#: The page's name in the folder that is asked for.
PAGE = "check.html"

# Okabe & Ito's colours, which colour-blind readers can tell apart.
_ACTIVATION = "#0072B2"
_EMG = "#D55E00"

_COLUMNS = 4


def write_page(examination: Examination, folder: Path) -> Path:
    """Write the page.

    Parameters
    ----------
    examination : Examination
        What was found.
    folder : pathlib.Path
        Where; made if need be.

    Returns
    -------
    pathlib.Path
        The page.
    """
    counts = {
        severity: sum(finding.severity == severity for finding in examination.findings) for severity in SEVERITIES
    }
    recordings = len(examination.recordings)
    cycles = sum(len(recording.trials) for recording in examination.recordings)
    found = "Nothing was found to be wrong."
    if examination.findings:
        found = (
            ", ".join(_counted(count, severity) for severity, count in counts.items()) + ". Errors: what cannot be "
            "used. Warnings: what makes results worse or wrong. Notes: what you should know."
        )
    content = {
        "version": __version__,
        "title": f"Check of {examination.trials_file.name}",
        "by": f"{examination.trials_file}: {_counted(cycles, 'cycle')} in {_counted(recordings, 'recording')}",
        "summary": found,
        "findings": examination.findings,
        "figures": [_draw(alignment) for alignment in examination.alignments if alignment.emg],
    }
    text = render_page("check.html", content)
    with ResultFiles(folder) as results, results.own_names():
        results.path(PAGE).write_text(text, encoding="utf-8")
    return folder / PAGE


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _draw(alignment: Alignment) -> Picture:
    """Draw one recording: each channel's strides with the activation, and the correlation against lag."""
    panels = len(alignment.emg) + bool(alignment.correlation)
    rows = -(-panels // _COLUMNS)
    with figure_settings({"font.size": 8}):
        figure = new_figure(10.0, 0.5 + 1.75 * rows, layout=None)
        set_margins(figure, 0.4, 0.15, 0.4, 0.5, hspace=0.55, wspace=0.2)
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axis, column in zip(axes, alignment.emg, strict=False):
            _draw_channel(axis, alignment, column)
        if alignment.correlation:
            _draw_lags(axes[len(alignment.emg)], alignment)
        for axis in axes[panels:]:
            axis.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, dpi=120, format="png", metadata={"Software": None})
        width, height = (round(size * 120) for size in figure.get_size_inches())
    title = alignment.recording.name
    words = f"EMG and activation of each channel of {title}."
    return Picture(_key(title), title, words, words, data_url(stream.getvalue(), "png"), width, height)


def _key(name: str) -> str:
    """Make a name fit for an address within the page."""
    return "recording-" + re.sub(r"\W+", "-", name)


def _draw_channel(axis, alignment: Alignment, column: str) -> None:  # type: ignore[no-untyped-def]
    emg = alignment.emg[column]
    high = float(emg.max())
    percent = 100.0 * alignment.recording.phases
    for number, stride in enumerate(emg / high if high > 0.0 else emg):
        label = "EMG, each stride (highest = 1)" if number == 0 else None
        axis.plot(percent, stride, color=_EMG, linewidth=0.5, alpha=0.45, label=label)
    if column in alignment.activation:
        mean = alignment.activation[column].mean(axis=0)
        axis.plot(percent, mean, color=_ACTIVATION, linewidth=1.6, label="OpenSim, mean activation")
    axis.set_title(column, fontsize=8, loc="left")
    axis.set_xlabel("% of cycle", fontsize=7)
    axis.set_ylim(-0.05, 1.05)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_lags(axis, alignment: Alignment) -> None:  # type: ignore[no-untyped-def]
    for r in alignment.correlation.values():
        axis.plot(LAGS, r, color="0.7", linewidth=0.7)
    mean = alignment.mean_correlation
    axis.plot(LAGS, mean, color="black", linewidth=1.6)
    axis.axvline(0.0, color="0.5", linewidth=0.7, linestyle=(0, (4, 3)))
    axis.plot(LAGS[int(np.argmax(mean))], mean.max(), "o", color="black", markersize=4)
    axis.set_title(f"r against further lag, best {LAGS[int(np.argmax(mean))]:+.3f} s", fontsize=8, loc="left")
    axis.set_xlabel("lag (s); black: mean of channels", fontsize=7)
    axis.spines[["top", "right"]].set_visible(False)
