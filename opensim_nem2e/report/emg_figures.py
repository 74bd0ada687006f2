"""Figures by which a subject can judge what became of raw EMG, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .drawing import bare_ticks, figure_settings, new_figure, save_figure, set_margins

if TYPE_CHECKING:
    from ..storage import TimeSeries

Array = NDArray[np.float64]

# Okabe & Ito's colours, which colour-blind readers can tell apart.
_ENVELOPE = "#D55E00"
_RAW = "0.65"
_CORNER = "#0072B2"

#: Points that a line of the figure is worth; what lies between them is shown by its smallest and largest value.
_MOST_POINTS = 1500


@dataclass(frozen=True)
class ProcessedChannel:
    """One channel before and after.

    Parameters
    ----------
    label : str
        The channel's name.
    raw_time, raw : numpy.ndarray, shape (rows,), or None
        The recording, its mean removed (s, its own unit); None for one that was an envelope already.
    time, envelope : numpy.ndarray, shape (points,)
        The result (s, normalised or in the unit of the recording).
    divisor : float
        What the envelope was divided by, in the unit of the recording.
    """

    label: str
    raw_time: Array | None
    raw: Array | None
    time: Array
    envelope: Array
    divisor: float

    @classmethod
    def all_of(
        cls, recording: TimeSeries | None, envelopes: TimeSeries, divisors: Sequence[float]
    ) -> list[ProcessedChannel]:
        """Take all channels of a recording.

        Parameters
        ----------
        recording : TimeSeries or None
            Before; None: envelopes already.
        envelopes : TimeSeries
            After; the same channels in the same order.
        divisors : sequence of float
            What each was divided by.

        Returns
        -------
        list of ProcessedChannel
            One per channel.
        """
        raw_time, raw = (None, None) if recording is None else (recording.time, recording.data)
        return [
            cls(
                label,
                raw_time,
                None if raw is None else raw[:, column] - raw[:, column].mean(),
                envelopes.time,
                envelopes.data[:, column],
                divisors[column],
            )
            for column, label in enumerate(envelopes.labels)
        ]


def draw_envelopes(
    channels: Sequence[ProcessedChannel], path: Path, *, title: str, caption: str, corners: Sequence[float] = ()
) -> None:
    """Draw each channel's recording with its envelope, and the recording's spectrum.

    The envelope is drawn at its own height in the recording (before normalisation). In the spectrum mains hum is a
    spike at 50 or 60 Hz, movement artefacts a hill below 20 Hz; the filters' corners are marked.

    Parameters
    ----------
    channels : sequence of ProcessedChannel
        One row of panels each.
    path : pathlib.Path
        The figure's file; the suffix (``.png`` or ``.svg``) chooses the format.
    title, caption : str
        Above and below the panels.
    corners : sequence of float
        Frequencies of the filters (Hz).
    """
    with figure_settings({"font.size": 8}):
        figure = new_figure(10.0, 1.0 + 1.35 * len(channels), layout=None)
        set_margins(figure, 0.7, 0.15, 0.7, 0.65, hspace=0.35, wspace=0.16)
        # One recording, so one time and one range of frequencies; told to share them, Matplotlib is slow.
        axes = figure.subplots(len(channels), 2, squeeze=False, width_ratios=(3, 1))
        for (left, right), channel in zip(axes, channels, strict=True):
            _draw_signal(left, channel)
            _draw_spectrum(right, channel, corners)
        for axis in axes[:-1].flat:
            bare_ticks(axis, "x")
        axes[-1, 0].set_xlabel("time (s)")
        axes[-1, 1].set_xlabel("frequency (Hz)")
        axes[0, 1].set_title("power density of the recording", fontsize=8, loc="left")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False)
        figure.suptitle(title, x=0.01, y=1.0 - 0.08 / figure.get_figheight(), ha="left", va="top", fontsize=11)
        figure.supxlabel(caption, fontsize=7.5, color="0.35")
        save_figure(figure, path, 130)


def _draw_signal(axis, channel: ProcessedChannel) -> None:  # type: ignore[no-untyped-def]
    if channel.raw is not None and channel.raw_time is not None:
        time, low, high = _outline(channel.raw_time, channel.raw)
        axis.fill_between(time, low, high, color=_RAW, linewidth=0.4, label="recording")
    axis.plot(channel.time, channel.envelope * channel.divisor, color=_ENVELOPE, linewidth=1.2, label="envelope")
    axis.set_title(f"{channel.label}   (1 = {channel.divisor:.4g})", fontsize=8, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.0)


def _draw_spectrum(axis, channel: ProcessedChannel, corners: Sequence[float]) -> None:  # type: ignore[no-untyped-def]
    axis.spines[["top", "right"]].set_visible(False)
    if channel.raw is None or channel.raw_time is None:
        axis.text(0.5, 0.5, "an envelope already", ha="center", va="center", transform=axis.transAxes, color="0.5")
        return
    from matplotlib.ticker import NullLocator
    from scipy.signal import welch

    rate = (channel.raw_time.size - 1) / (channel.raw_time[-1] - channel.raw_time[0])
    frequencies, power = welch(channel.raw, rate, nperseg=min(channel.raw.size, int(rate)))
    axis.semilogy(frequencies[1:], np.maximum(power[1:], 1e-12 * power.max()), color="0.35", linewidth=0.8)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_locator(NullLocator())
    for corner in corners:
        axis.axvline(corner, color=_CORNER, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_xlim(0.0, min(0.5 * rate, 600.0))
    axis.set_ylim(bottom=1e-6 * power[1:].max())


def _outline(time: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return the smallest and largest value in pieces of the recording: what a line of every sample looks like."""
    step = max(1, values.size // _MOST_POINTS)
    whole = values[: values.size // step * step].reshape(-1, step)
    return time[: whole.size : step], whole.min(axis=1), whole.max(axis=1)
