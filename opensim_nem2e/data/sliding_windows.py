"""Samples of a fixed length that slide along a trial, for methods that take any stretch of motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError
from ..signals.resample import interpolate
from .manifest import CycleRecord
from .samples import Samples

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SlidingWindows:
    """How windows are cut.

    Lengths are in seconds, not in rows: a network that was trained at one sampling rate then sees the same stretch of
    motion at any other.

    Parameters
    ----------
    width : float
        Length of a window (s).
    stride : float
        From the start of one window to the start of the next (s).
    samples : int
        Evenly spaced samples of a window, both ends included.

    Raises
    ------
    ValueError
        A length is not positive, or a window has fewer than two samples.
    """

    width: float
    stride: float
    samples: int = 20

    def __post_init__(self) -> None:
        if not (0 < self.width < np.inf and 0 < self.stride < np.inf and self.samples >= 2):
            raise ValueError(
                "A window needs a positive width and stride (s) and at least two samples; found "
                f"{self.width:g}, {self.stride:g} and {self.samples}."
            )

    def starts(self, start: float, end: float) -> Array:
        """Find where windows start that lie wholly between two times.

        Parameters
        ----------
        start, end : float
            The stretch (s).

        Returns
        -------
        ndarray, shape (windows,)
            Times (s); empty where the stretch is shorter than a window.
        """
        # A billionth of a window more: lengths that fit exactly must not be lost to rounding.
        count = int(np.floor((end - start - self.width) / self.stride + 1e-9)) + 1
        return np.asarray(start + self.stride * np.arange(max(count, 0)), dtype=np.float64)


@dataclass(frozen=True)
class Signal:
    """A signal of a trial.

    Parameters
    ----------
    time : ndarray, shape (rows,)
        Time (s), strictly increasing.
    values : ndarray, shape (rows, channels)
        Its channels.
    names : tuple of str
        The channels' names.
    """

    time: Array
    values: Array
    names: tuple[str, ...]


def cut_windows(
    record: CycleRecord,
    windows: SlidingWindows,
    inputs: Mapping[str, Signal],
    targets: Mapping[str, Signal] | None = None,
    context: Mapping[str, Signal] | None = None,
) -> Samples:
    """Cut the signals of one trial into windows, where all of them were recorded.

    Parameters
    ----------
    record : CycleRecord
        Where the trial comes from; its ``start`` and ``end`` bound the stretch that is used.
    windows : SlidingWindows
        How.
    inputs, targets, context : mapping of str to Signal
        The trial's signals by name, each on a time base of its own.

    Returns
    -------
    Samples
        The windows, one after the other; none where the signals' common stretch is shorter than a window. Between rows
        the signals are interpolated linearly.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        Nothing was given to cut.
    """
    groups = (dict(inputs), dict(targets or {}), dict(context or {}))
    signals = {name: signal for group in groups for name, signal in group.items()}
    if not signals:
        raise TrainingError(f"{record.name}: there is no signal to cut windows from.")
    start = max(record.start, *(signal.time[0] for signal in signals.values()))
    end = min(record.end, *(signal.time[-1] for signal in signals.values()))
    starts = windows.starts(start, end)
    time = starts[:, None] + np.linspace(0.0, windows.width, windows.samples)

    def cut(group: Mapping[str, Signal]) -> dict[str, Array]:
        found = {}
        for name, signal in group.items():
            shape = (*time.shape, len(signal.names))
            found[name] = interpolate(signal.time, signal.values, time.ravel()).reshape(shape)
        return found

    parts = [cut(group) for group in groups]
    channels = {name: signal.names for name, signal in signals.items()}
    return Samples(parts[0], channels, time, (record,) * len(starts), parts[1], parts[2])


def join_samples(parts: Sequence[Samples]) -> Samples:
    """Put the samples of several trials together.

    Parameters
    ----------
    parts : sequence of Samples
        With the same arrays; channels that some lack are NaN there.

    Returns
    -------
    Samples
        All of them, in order.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are none, or they have different arrays or lengths.
    """
    if not parts:
        raise TrainingError("There are no samples to put together.")
    first = parts[0]
    for part in parts[1:]:
        kinds = [tuple(map(sorted, (one.inputs, one.targets, one.context))) for one in (first, part)]
        if kinds[0] != kinds[1] or part.time.shape[1] != first.time.shape[1]:
            raise TrainingError(
                f"Samples of {part.records[0].name if part.records else 'a trial'} do not fit the others: they have "
                f"{', '.join(part.arrays)} of {part.time.shape[1]} rows, the others {', '.join(first.arrays)} of "
                f"{first.time.shape[1]}."
            )
    channels = {
        name: tuple(dict.fromkeys(channel for part in parts for channel in part.channels[name]))
        for name in first.channels
    }

    def join(group: str) -> dict[str, Array]:
        found = {}
        for name in getattr(first, group):
            blocks = []
            for part in parts:
                block = np.full((*part.time.shape, len(channels[name])), np.nan)
                places = [channels[name].index(channel) for channel in part.channels[name]]
                block[:, :, places] = getattr(part, group)[name]
                blocks.append(block)
            found[name] = np.concatenate(blocks)
        return found

    return Samples(
        join("inputs"),
        channels,
        np.concatenate([part.time for part in parts]),
        tuple(record for part in parts for record in part.records),
        join("targets"),
        join("context"),
    )
