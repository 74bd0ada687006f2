"""Measures of what can be wrong with a recording of EMG envelopes.

References
----------
Hershler, C., Milner, M. (1978). An optimality criterion for processing electromyographic (EMG) signals relating to
human locomotion. IEEE Trans. Biomed. Eng. 25, 413-420.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: So many rows at a limit, and so many times, are no chance.
PLATEAU_ROWS = 3

#: An envelope that is this many times as high as all others so far away (s), in a recording so long (s).
LONELY, _AROUND, _LONG_ENOUGH = 3.0, 0.3, 5.0

#: Channels that are exchanged are as much alike the other one's muscle, and their correlations so much larger in sum.
_LIKE, _MORE_LIKE = 0.4, 0.8

#: Raw EMG that does not change for so long (s) is none.
_HELD = 0.5

#: No gait trial's EMG is smaller in its channels than this share of the subject's other trials'.
ONE_SCALE = 1.0 / 30.0


def levels(values: ArrayLike) -> tuple[Array, Array]:
    """Return the low and the high level of each channel: its 1st and 99th percentile, which no single spike sets.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        Envelopes; NaN is left out.

    Returns
    -------
    low, high : numpy.ndarray, shape (channels,)
        In the unit of the channel.
    """
    low, high = np.nanpercentile(np.asarray(values, dtype=float), [1.0, 99.0], axis=0)
    return low, high


def shares_of_scale(sizes: ArrayLike) -> Array:
    """Compare how large recordings of one subject are, which are to share one scale: mV and V are 1000 times apart.

    Parameters
    ----------
    sizes : array_like, shape (recordings, channels)
        How large each channel is in each recording, above zero; NaN where a recording lacks it.

    Returns
    -------
    numpy.ndarray, shape (recordings,)
        Of what is largest, how much a recording's channels reach (median): 0..1. NaN for one without channels.
    """
    table = np.asarray(sizes, dtype=float)
    largest = np.nanmax(table, axis=0, initial=0.0)
    shares = table / np.where(largest > 0.0, largest, np.nan)
    known = np.isfinite(shares)
    return np.array(
        [np.median(row[there]) if there.any() else np.nan for row, there in zip(shares, known, strict=True)]
    )


def plateaus(time: ArrayLike, values: ArrayLike) -> tuple[int, float]:
    """Count how often a channel reaches its very maximum, and how long it stays there at most.

    A muscle's envelope has one highest sample. An amplifier or a converter at its limit gives the same highest value
    again and again.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time (s).
    values : array_like, shape (rows,)
        One channel.

    Returns
    -------
    visits : int
        Separate stretches of rows at the maximum.
    longest : float
        Duration of the longest, from its first to its last row (s).
    """
    t, x = np.asarray(time, dtype=float), np.asarray(values, dtype=float)
    at = np.flatnonzero(x == np.nanmax(x))
    stretches = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    return len(stretches), max(float(t[rows[-1]] - t[rows[0]]) for rows in stretches)


def lonely_peak(time: ArrayLike, values: ArrayLike) -> tuple[float, float] | None:
    """Find a highest moment that towers over all others: an artefact, which would be what the channel is divided by.

    Bursts of gait repeat. In public recordings of 4 s and more the highest envelope is at most 1.9 times as high as
    any that is 0.3 s away from it, with one exception (2.8).

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time (s).
    values : array_like, shape (rows,)
        One channel's envelope.

    Returns
    -------
    tuple of float or None
        How many times as high as all others it is, 3 or more, and its time (s). None if there is none, or the recording
        is too short to tell.
    """
    t, x = np.asarray(time, dtype=float), np.asarray(values, dtype=float)
    if not t.size or t[-1] - t[0] < _LONG_ENOUGH:
        return None
    top = int(np.argmax(x))
    others = float(x[np.abs(t - t[top]) > _AROUND].max(initial=0.0))
    return (float(x[top]) / others, float(t[top])) if x[top] > LONELY * others > 0.0 else None


def held(time: ArrayLike, values: ArrayLike) -> tuple[float, float] | None:
    """Find where raw EMG stands still: a lost connection, which repeats its last value or writes zeros.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time (s).
    values : array_like, shape (rows,)
        One channel, raw.

    Returns
    -------
    tuple of float or None
        First and last time of the longest stretch of one and the same value (s), if it has half a second or more.
    """
    t, x = np.asarray(time, dtype=float), np.asarray(values, dtype=float)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(x)) + 1, [x.size]])
    longest = int(np.argmax(np.diff(edges)))
    begin, end = float(t[edges[longest]]), float(t[edges[longest + 1] - 1])
    return (begin, end) if end - begin >= _HELD else None


def cut_off(values: ArrayLike) -> float:
    """Return which share of raw EMG lies at the limits of an amplifier or converter.

    Parameters
    ----------
    values : array_like, shape (rows,)
        One channel, raw.

    Returns
    -------
    float
        Share of the rows; 0 unless both limits are held for three rows or more, three times or more.
    """
    x = np.asarray(values, dtype=float)
    share = 0.0
    for limit in (x.min(), x.max()):
        at = (x == limit).astype(int)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], at, [0]])))
        if np.count_nonzero(edges[1::2] - edges[::2] >= PLATEAU_ROWS) < PLATEAU_ROWS:
            return 0.0
        share += float(at.mean())
    return share


def exchanged(one: ArrayLike, other: ArrayLike, own: ArrayLike, others: ArrayLike) -> tuple[float, float] | None:
    """Tell whether two channels were exchanged: each is much more like the other one's muscle than like its own.

    Parameters
    ----------
    one, other : array_like, shape (samples,)
        Two channels of EMG.
    own, others : array_like, shape (samples,)
        The simulated activations of the muscles that they are said to be of, at the same times.

    Returns
    -------
    tuple of float or None
        Mean correlation with the other one's muscle, and with their own; None unless they look exchanged. In 386 pairs
        of channels of thirteen people the sum of both correlations was larger by 0.42 at most when exchanged.
    """
    r = np.corrcoef([np.asarray(values, dtype=float) for values in (one, other, own, others)])
    crossed, straight = (r[0, 3], r[1, 2]), (r[0, 2], r[1, 3])
    if min(crossed) > _LIKE and sum(crossed) - sum(straight) > _MORE_LIKE:
        return float(np.mean(crossed)), float(np.mean(straight))
    return None


def copies(values: ArrayLike, tolerance: float = 1e-6) -> list[tuple[int, int]]:
    """Find channels that are the same up to a gain and an offset.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The recording.
    tolerance : float
        By how much the correlation may fall short of 1. Neighbouring muscles of real recordings reach 0.98; the digits
        of a text file cost less than 1e-8.

    Returns
    -------
    list of tuple of (int, int)
        Pairs of channels, each with the first that it equals.
    """
    table = np.asarray(values, dtype=float)
    moving = np.flatnonzero(np.ptp(table, axis=0) > 0.0)
    if moving.size < 2:
        return []
    r = np.atleast_2d(np.corrcoef(table[:, moving], rowvar=False))
    pairs = []
    for later in range(1, moving.size):
        same = np.flatnonzero(r[:later, later] > 1.0 - tolerance)
        if same.size:
            pairs.append((int(moving[same[0]]), int(moving[later])))
    return pairs


def variance_ratio(cycles: ArrayLike) -> float:
    """Measure how far cycles differ from their mean (Hershler & Milner 1978).

    Parameters
    ----------
    cycles : array_like, shape (cycles, samples)
        One channel over several gait cycles, two or more.

    Returns
    -------
    float
        0 if all are the same, 1 if they have no more in common than chance.
    """
    table = np.asarray(cycles, dtype=float)
    count, samples = table.shape
    within = np.sum((table - table.mean(axis=0)) ** 2) / (samples * (count - 1))
    total = np.sum((table - table.mean()) ** 2) / (samples * count - 1)
    return float(within / total) if total > 0.0 else 0.0


def period(time: ArrayLike, values: ArrayLike, shortest: float, longest: float) -> tuple[float, float]:
    """Find the period of a recording from the autocorrelation of its channels.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, evenly spaced (s).
    values : array_like, shape (rows, channels)
        The channels; each counts the same.
    shortest, longest : float
        Where to look (s).

    Returns
    -------
    period : float
        The first period whose correlation is nearly the highest: what repeats after one stride repeats after two (s).
        NaN if there is none.
    correlation : float
        The mean autocorrelation there, -1..1.
    """
    t = np.asarray(time, dtype=float)
    table = np.asarray(values, dtype=float)
    step = (t[-1] - t[0]) / (t.size - 1)
    centred = table - table.mean(axis=0)
    centred = centred[:, np.std(centred, axis=0) > 0.0]
    lags = np.arange(max(1, int(shortest / step)), min(t.size // 2, int(np.ceil(longest / step)) + 1))
    if lags.size < 3 or not centred.shape[1]:
        return float("nan"), 0.0
    spectrum = np.fft.rfft(centred, 2 * t.size, axis=0)
    products = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: t.size]
    # Fewer rows overlap the larger the lag.
    overlap = t.size / (t.size - lags)
    r = (products[lags] * overlap[:, np.newaxis] / products[0]).mean(axis=1)
    peaks = np.flatnonzero((r[1:-1] >= r[:-2]) & (r[1:-1] > r[2:])) + 1
    if not peaks.size:
        return float("nan"), 0.0
    first = int(peaks[np.flatnonzero(r[peaks] >= _NEARLY * r[peaks].max())[0]])
    before, at, after = r[first - 1 : first + 2]
    shift = 0.5 * (before - after) / (before - 2.0 * at + after)
    return float((lags[first] + shift) * step), float(at)


#: A peak of the autocorrelation that reaches this share of the highest one counts as equally high.
_NEARLY = 0.85
