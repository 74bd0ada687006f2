"""From raw EMG to linear envelopes.

The chain is the field's usual one: a high-pass or band-pass filter against movement artefacts, rectification, and a
low-pass filter, all without phase shift. Which corner frequencies are usual:

- 20 Hz against movement artefacts (De Luca et al. 2010; with 10 to 500 Hz of bandwidth by Merletti 1999);
- 30 Hz before, and 6 Hz after rectification in EMG-driven modelling (Lloyd & Besier 2003).

A notch filter against mains hum removes EMG, too, and is off unless it is asked for (Clancy et al. 2002).

References
----------
Clancy, E. A., Morin, E. L., Merletti, R. (2002). Sampling, noise-reduction and amplitude estimation issues in surface
electromyography. J. Electromyogr. Kinesiol. 12, 1-16.
De Luca, C. J., Gilmore, L. D., Kuznetsov, M., Roy, S. H. (2010). Filtering the surface EMG signal: movement artifact
and baseline noise contamination. J. Biomech. 43, 1573-1579.
Lloyd, D. G., Besier, T. F. (2003). An EMG-driven musculoskeletal model to estimate muscle forces and knee joint moments
in vivo. J. Biomech. 36, 765-776.
Merletti, R. (1999). Standards for reporting EMG data. J. Electromyogr. Kinesiol. 9, III-IV.
Robertson, D. G. E., Dowling, J. J. (2003). Design and responses of Butterworth and critically damped digital filters.
J. Electromyogr. Kinesiol. 13, 569-573.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import StorageError
from .quality import levels
from .resample import interpolate

Array = NDArray[np.float64]
Rectification = Literal["full_wave", "rms"]

#: Surface EMG has nearly all its power above this frequency, an envelope none (Hz).
RAW_ABOVE = 20.0

#: Share of the variance above :data:`RAW_ABOVE` from which on a channel is raw EMG. Envelopes in public data sets (4 to
#: 15 Hz low-pass) have at most 0.01 there, RMS over 20 ms 0.06, raw EMG with strong movement artefacts half and more.
RAW_SHARE = 0.2

#: How long the pieces are in which that is looked at (s), and the degree of the slow part that is taken out of each.
_PIECE, _TREND = 1.0, 3

#: A low level (1st percentile) this far below zero, as a share of the high level (99th), is no envelope's: filters
#: swing below zero by a tenth at most.
SIGNED = 0.5

_MOST_SHOWN = 300

#: No unit makes EMG larger than this: a tenth of a volt is 1e8 nV.
LARGEST = 1e12

#: A largest sample of so many times what 99.5 % of them stay below is an artefact. Modulated noise, a model of EMG, has
#: 1.6 to 2.6 where bursts are a stride apart, and 17 with one burst of 0.15 s in a minute.
SPIKE = 30.0

#: Mains frequencies (Hz), and the share of the variance above :data:`RAW_ABOVE` within 1 Hz of one from which on it is
#: hum. EMG alone has about 0.02 there.
MAINS, HUM_SHARE = (50.0, 60.0), 0.2

#: By how much a sample may lie off the even grid of its recording, as a fraction of a step: more is a gap or a rate
#: that changes, which a filter must not pass over.
_GRID_TOLERANCE = 0.5


#: Up to so many rows a filter is run here row by row: importing ``scipy.signal`` takes longer.
_FEW_ROWS = 5_000


@dataclass(frozen=True)
class EnvelopeFilter:
    """How raw EMG becomes an envelope.

    Parameters
    ----------
    high_pass : float or None
        Lower corner before rectification (Hz); None for no high-pass filter.
    band_end : float or None
        Upper corner before rectification (Hz); None for no upper corner.
    notches : tuple of float
        Mains frequency and those of its harmonics that are to be removed (Hz).
    notch_width : float
        Width of each notch at half power (Hz).
    rectification : {'full_wave', 'rms'}
        Absolute value; or the square, of which the root is taken after the low-pass filter.
    low_pass : float or None
        Corner after rectification (Hz); None for none.
    order : int
        Order of each Butterworth filter as it acts; even, as each is run forward and backward.
    """

    high_pass: float | None = 20.0
    band_end: float | None = None
    notches: tuple[float, ...] = ()
    notch_width: float = 2.0
    rectification: Rectification = "full_wave"
    low_pass: float | None = 6.0
    order: int = 4

    def before_rectification(self) -> tuple[float, ...]:
        """Return the frequencies of the filters before rectification.

        Returns
        -------
        tuple of float
            In Hz.
        """
        return tuple(f for f in (self.high_pass, self.band_end, *self.notches) if f is not None)


def sampling_rate(time: ArrayLike) -> float:
    """Find the rate of an evenly sampled recording.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s). Times that were rounded when written are accepted.

    Returns
    -------
    float
        The rate (Hz).

    Raises
    ------
    StorageError
        If there are fewer than two rows, or they are not even.
    """
    t = np.asarray(time, dtype=float)
    if t.ndim != 1 or t.size < 2 or not t[-1] > t[0]:
        raise StorageError(f"a recording needs two rows or more at increasing times, found {t.size}")
    step = (t[-1] - t[0]) / (t.size - 1)
    off = np.abs(t - (t[0] + step * np.arange(t.size)))
    worst = int(np.argmax(off))
    if off[worst] > _GRID_TOLERANCE * step:
        raise StorageError(
            f"a recording must be evenly sampled to be filtered, but at {t[worst]:.4f} s it is {off[worst] / step:.1f} "
            f"samples off its mean rate of {1.0 / step:.6g} Hz (samples missing, or pieces of different rates?)"
        )
    return float(1.0 / step)


def share_above(values: ArrayLike, rate: float, frequency: float = RAW_ABOVE, end: float = np.inf) -> Array:
    """Return which share of each channel's variance lies above a frequency, and up to another.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The signals.
    rate : float
        Sampling rate (Hz).
    frequency, end : float
        The frequencies (Hz).

    Returns
    -------
    numpy.ndarray, shape (channels,)
        Shares, 0..1; 0 for a constant channel.
    """
    table = np.asarray(values, dtype=float)
    # A taper keeps the jump from the last row to the first from spreading over all frequencies.
    tapered = (table - table.mean(axis=0)) * np.hanning(table.shape[0])[:, np.newaxis]
    power = np.abs(np.fft.rfft(tapered, axis=0)) ** 2
    frequencies = np.fft.rfftfreq(table.shape[0], 1.0 / rate)
    total = power[1:].sum(axis=0)
    above = power[1:][(frequencies[1:] > frequency) & (frequencies[1:] <= end)].sum(axis=0)
    return np.where(total > 0.0, above / np.where(total > 0.0, total, 1.0), 0.0)


def _fast_share(table: Array, rate: float) -> Array:
    """Return which share of each channel's variance lies above 20 Hz, whatever its baseline does.

    A drift, a step or an amplifier that settles can hold a thousand times the power of EMG. Seconds are therefore
    looked at one by one, without their slow part; of those with most above 20 Hz, half of all, the median counts.
    """
    rows = round(_PIECE * rate)
    count = len(table) // max(rows, 1)
    if count < 2 or rows <= 2 * _TREND:
        return share_above(table, rate)
    pieces = table[: count * rows].reshape(count, rows, -1)
    slow = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, rows), _TREND))[0]
    pieces = pieces - slow @ (slow.T @ pieces)
    power = np.abs(np.fft.rfft(pieces * np.hanning(rows)[:, np.newaxis], axis=1)) ** 2
    total = power.sum(axis=1)
    above = power[:, np.fft.rfftfreq(rows, 1.0 / rate) > RAW_ABOVE].sum(axis=1)
    share = np.where(total > 0.0, above / np.where(total > 0.0, total, 1.0), 0.0)
    most = np.argsort(-above, axis=0)[: (count + 1) // 2]
    return np.asarray(np.median(np.take_along_axis(share, most, axis=0), axis=0))


def looks_raw(values: ArrayLike, rate: float) -> bool:
    """Tell raw EMG from envelopes by its spectrum: half of the channels or more have their power above 20 Hz.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The recording, without missing values.
    rate : float
        Sampling rate (Hz).

    Returns
    -------
    bool
        True for raw EMG.
    """
    if rate <= 2.0 * RAW_ABOVE:
        return False
    return bool(np.median(_fast_share(np.asarray(values, dtype=float), rate)) >= RAW_SHARE)


def why_raw(values: ArrayLike, rate: float, labels: Sequence[str]) -> str:
    """Tell why a recording cannot be envelopes: the one test of all who take envelopes.

    Envelopes have nearly nothing above 20 Hz, and hardly anything below zero. A single channel is raw if it fails in
    both; a recording is if half of its channels or more fail in one. Below a rate of 40 Hz there is no spectrum to
    look at.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The recording; missing values are left out.
    rate : float
        Sampling rate (Hz).
    labels : sequence of str
        The channels' names.

    Returns
    -------
    str
        A sentence with numbers; empty for envelopes.
    """
    table = np.asarray(values, dtype=float)
    there = np.isfinite(table)
    kept = there.any(axis=0)
    if table.shape[0] < 2 or not kept.any():
        return ""
    names = [label for label, keep in zip(labels, kept, strict=True) if keep]
    table = np.where(there, table, np.nanmedian(table[:, kept], axis=0) if kept.all() else 0.0)[:, kept]
    low, high = levels(table)
    depth = np.where(high > 0.0, -low / np.where(high > 0.0, high, 1.0), np.where(low < 0.0, np.inf, 0.0))
    share = _fast_share(table, rate) if rate > 2.0 * RAW_ABOVE else np.zeros(len(names))
    fast, signed = share >= RAW_SHARE, depth > SIGNED
    if np.median(share) >= RAW_SHARE:
        return (
            f"half of its channels or more have their power above {RAW_ABOVE:g} Hz ({np.median(share):.0%} of it; "
            f"envelopes have 1%), at {rate:.6g} Hz"
        )
    if 2 * signed.sum() >= len(names):
        listed = ", ".join(name for name, yes in zip(names, signed, strict=True) if yes)
        return f"half of its channels or more go far below zero: {listed[:_MOST_SHOWN]}"
    both = ", ".join(f"'{name}'" for name, yes in zip(names, fast & signed, strict=True) if yes)
    if both:
        return f"{both[:_MOST_SHOWN]} have power above {RAW_ABOVE:g} Hz and go far below zero"
    return ""


def refuse_raw(time: ArrayLike, values: ArrayLike, labels: Sequence[str], path: str | os.PathLike[str] | None) -> None:
    """Refuse raw EMG where envelopes are needed.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the recording (s).
    values : array_like, shape (rows, channels)
        The channels that are used.
    labels : sequence of str
        Their names.
    path : str or os.PathLike or None
        The file, for the message.

    Raises
    ------
    StorageError
        If it is raw EMG: why, and what to do. If a value is infinite, or larger than any unit makes EMG.
    """
    refuse_impossible(values, labels, path)
    t = np.asarray(time, dtype=float)
    if not len(labels) or t.size < 2 or not t[-1] > t[0]:
        return
    # Where samples are missing the mean rate will do: this is about orders of magnitude.
    reason = why_raw(values, (t.size - 1) / (t[-1] - t[0]), labels)
    if reason:
        raise StorageError(
            f"This is raw EMG, but envelopes are needed: {reason}. Make envelopes of it with EMGEnvelopeTool, or leave "
            "these channels out.",
            path,
        )


def refuse_impossible(values: ArrayLike, labels: Sequence[str], path: str | os.PathLike[str] | None) -> None:
    """Refuse values that are no EMG in any unit.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The channels that are used; missing values are left out.
    labels : sequence of str
        Their names.
    path : str or os.PathLike or None
        The file, for the message.

    Raises
    ------
    StorageError
        A value is infinite, or larger than :data:`LARGEST`.
    """
    table = np.asarray(values, dtype=float)
    beyond = np.abs(table) > LARGEST
    if beyond.any():
        row, column = (int(place[0]) for place in np.nonzero(beyond))
        raise StorageError(
            f"EMG must be numbers of at most {LARGEST:g}, whatever its unit; found {table[row, column]:g} in "
            f"'{labels[column]}', row {row + 1}.",
            path,
        )


def mains_hum(values: ArrayLike, rate: float) -> dict[float, Array]:
    """Return how much of raw EMG is mains hum.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        Raw EMG, without missing values.
    rate : float
        Sampling rate (Hz).

    Returns
    -------
    dict of float to numpy.ndarray, shape (channels,)
        For each of :data:`MAINS`: the share within 1 Hz of it of each channel's variance above :data:`RAW_ABOVE`, 0..1.
    """
    above = share_above(values, rate)
    shares = {mains: share_above(values, rate, mains - 1.0, mains + 1.0) for mains in MAINS}
    return {mains: share / np.where(above > 0.0, above, 1.0) for mains, share in shares.items()}


def is_raw(values: ArrayLike, rate: float, labels: Sequence[str]) -> bool:
    """Tell raw EMG from envelopes, and refuse what is neither.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The recording.
    rate : float
        Sampling rate (Hz).
    labels : sequence of str
        The channels.

    Returns
    -------
    bool
        As :func:`looks_raw`.

    Raises
    ------
    StorageError
        If it has the slow spectrum of an envelope but is as much below zero as above.
    """
    if looks_raw(values, rate):
        return True
    table = np.asarray(values, dtype=float)
    low, high = table.min(axis=0), table.max(axis=0)
    signed = [label for label, below, above in zip(labels, low, high, strict=True) if below < -0.5 * above]
    if signed:
        raise StorageError(
            "It cannot be told whether this is raw EMG: the power lies below 20 Hz as in envelopes, but values go far "
            f"below zero ({', '.join(signed)}). Set <input_type> to raw or envelope."
        )
    return False


def channels_with_hum(
    values: ArrayLike, rate: float, labels: Sequence[str], notches: Sequence[float] = ()
) -> dict[float, dict[str, float]]:
    """Find channels with mains hum that no notch removes.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        Raw EMG.
    rate : float
        Sampling rate (Hz).
    labels : sequence of str
        The channels.
    notches : sequence of float
        Frequencies that are removed (Hz).

    Returns
    -------
    dict of float to dict of str to float
        By mains frequency (Hz) and channel, the share of the variance above :data:`RAW_ABOVE` that is hum.
    """
    found = {}
    for mains, shares in mains_hum(values, rate).items():
        hum = {label: float(share) for label, share in zip(labels, shares, strict=True) if share >= HUM_SHARE}
        if hum and not any(abs(mains - notch) <= 1.0 for notch in notches):
            found[mains] = hum
    return found


def channels_with_spikes(
    time: ArrayLike, values: ArrayLike, labels: Sequence[str], least: float = SPIKE
) -> dict[str, tuple[float, float]]:
    """Find channels in which a few samples stand far out: cable artefacts, which would set the largest envelope.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time (s).
    values : array_like, shape (rows, channels)
        Raw EMG, or envelopes.
    labels : sequence of str
        The channels.
    least : float, optional
        The least ratio that counts as a spike.

    Returns
    -------
    dict of str to tuple of float
        By channel: the ratio of the largest sample to what 99.5 % of them stay below, and its time (s).
    """
    table = np.asarray(values, dtype=float)
    size = np.abs(table - np.median(table, axis=0))
    usual, rows = np.quantile(size, 0.995, axis=0), size.argmax(axis=0)
    found = {}
    for k, label in enumerate(labels):
        if size[rows[k], k] > least * usual[k] > 0.0:
            found[label] = float(size[rows[k], k] / usual[k]), float(np.asarray(time)[rows[k]])
    return found


def reference_amplitude(envelopes: Sequence[Array], percentile: float = 100.0) -> float:
    """Find what a channel's envelopes are to be divided by.

    Parameters
    ----------
    envelopes : sequence of numpy.ndarray, each (rows,)
        The channel in all recordings.
    percentile : float
        Of all their rows together; 100 is the largest.

    Returns
    -------
    float
        In the unit of the envelopes.
    """
    values = np.concatenate(envelopes)
    return float(values.max() if percentile == 100.0 else np.percentile(values, percentile))


def envelope(values: ArrayLike, rate: float, settings: EnvelopeFilter | None = None) -> Array:
    """Compute linear envelopes.

    Butterworth filters are run forward and backward (no phase shift), with their corners corrected so that the -3 dB
    point of both runs together lies where it was asked for (Robertson & Dowling 2003). What the low-pass filter swings
    below zero is set to zero.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        Raw EMG.
    rate : float
        Sampling rate (Hz).
    settings : EnvelopeFilter, optional
        The filters; the defaults of :class:`EnvelopeFilter`.

    Returns
    -------
    numpy.ndarray, shape (rows, channels)
        The envelopes, in the unit of the input.

    Raises
    ------
    StorageError
        If a value is missing, a corner is not below half the sampling rate, or the recording is too short to filter.
    """
    chosen = settings or EnvelopeFilter()
    table = np.asarray(values, dtype=float)
    if not np.isfinite(table).all():
        row, channel = np.argwhere(~np.isfinite(table))[0]
        raise StorageError(
            f"EMG must be numbers throughout to be filtered, found a gap in channel {channel}, row {row}"
        )
    low_pass = () if chosen.low_pass is None else (chosen.low_pass,)
    for corner in (*chosen.before_rectification(), *low_pass):
        if not corner < 0.5 * rate:
            raise StorageError(
                f"a filter's frequency must lie below half the sampling rate ({0.5 * rate:g} Hz), found {corner:g} Hz"
            )
    table = table - table.mean(axis=0)
    # First: at the ends of a recording, the other filters would smear the hum over all frequencies.
    for frequency in chosen.notches:
        table = _notch(table, rate, frequency, chosen.notch_width)
    if chosen.high_pass is not None:
        table = butterworth(table, rate, chosen.high_pass, "highpass", chosen.order)
    if chosen.band_end is not None:
        table = butterworth(table, rate, chosen.band_end, "lowpass", chosen.order)
    table = np.abs(table) if chosen.rectification == "full_wave" else table**2
    if chosen.low_pass is not None:
        # Mirrored, not rotated, at the ends: what was rectified stays positive there.
        table = butterworth(table, rate, chosen.low_pass, "lowpass", chosen.order, padding="even")
        table = np.maximum(table, 0.0)
    return np.sqrt(table) if chosen.rectification == "rms" else table


def butterworth(
    values: ArrayLike,
    rate: float,
    corner: float,
    kind: Literal["lowpass", "highpass"],
    order: int = 4,
    *,
    padding: Literal["odd", "even"] = "odd",
) -> Array:
    """Filter forward and backward with a Butterworth filter, without phase shift.

    Parameters
    ----------
    values : array_like, shape (rows, channels)
        The signals.
    rate : float
        Sampling rate (Hz).
    corner : float
        The -3 dB frequency of both runs together (Hz).
    kind : {'lowpass', 'highpass'}
        What passes.
    order : int
        Order of both runs together; even.
    padding : {'odd', 'even'}
        How the signal goes on beyond its ends: rotated about its end (raw EMG), or mirrored (rectified EMG).

    Returns
    -------
    numpy.ndarray, shape (rows, channels)
        The filtered signals.

    Raises
    ------
    StorageError
        If the recording is shorter than the filter's swing.
    """
    # Two runs of order n/2: each may lose only 1.5 dB at the corner (Robertson & Dowling 2003). The correction belongs
    # to the analog filter, so it is applied to the prewarped frequency.
    half = order // 2
    factor = (np.sqrt(2.0) - 1.0) ** (1.0 / (2.0 * half))
    warped = np.tan(np.pi * corner / rate) * (1.0 / factor if kind == "lowpass" else factor)
    table = np.asarray(values, dtype=float)
    # One period of the corner is enough for the swing to die away.
    rows = max(int(np.ceil(rate / corner)), 3 * (2 * -(-half // 2) + 1))
    if table.shape[0] <= rows:
        raise StorageError(
            f"a filter at {corner:g} Hz needs a recording longer than {rows / rate:.3f} s, found "
            f"{table.shape[0] / rate:.3f} s"
        )
    if half == 2 and table.shape[0] <= _FEW_ROWS:
        return _both_ways(*_second_order(float(warped), kind), table, rows, padding)
    from scipy.signal import butter, sosfiltfilt

    sos = butter(half, 2.0 / np.pi * np.arctan(warped), kind, output="sos")
    filtered: Array = sosfiltfilt(sos, table, axis=0, padtype=padding, padlen=rows)
    return filtered


def _second_order(warped: float, kind: str) -> tuple[tuple[float, float, float], tuple[float, float]]:
    """Return numerator and denominator (without its leading 1) of Butterworth's filter of second order."""
    scale = 1.0 / (1.0 + np.sqrt(2.0) * warped + warped**2)
    zero = warped**2 * scale if kind == "lowpass" else scale
    middle = 2.0 * zero if kind == "lowpass" else -2.0 * zero
    return (zero, middle, zero), (2.0 * (warped**2 - 1.0) * scale, (1.0 - np.sqrt(2.0) * warped + warped**2) * scale)


def _both_ways(
    b: tuple[float, float, float], a: tuple[float, float], table: Array, rows: int, padding: Literal["odd", "even"]
) -> Array:
    """Run a filter of second order forward and backward, as ``scipy.signal.sosfiltfilt`` does."""
    before, after = table[rows:0:-1], table[-2 : -rows - 2 : -1]
    if padding == "odd":
        before, after = 2.0 * table[0] - before, 2.0 * table[-1] - after
    run = np.concatenate([before, table, after])
    gain = sum(b) / (1.0 + sum(a))
    for _ in range(2):
        # As if the first value had been there for ever.
        late = (b[2] - a[1] * gain) * run[0]
        soon = (b[1] - a[0] * gain) * run[0] + late
        filtered = np.empty_like(run)
        for row, x in enumerate(run):
            y = b[0] * x + soon
            soon = b[1] * x - a[0] * y + late
            late = b[2] * x - a[1] * y
            filtered[row] = y
        run = filtered[::-1]
    return np.ascontiguousarray(run[rows : len(run) - rows])


def _notch(values: Array, rate: float, frequency: float, width: float) -> Array:
    from scipy.signal import filtfilt, iirnotch

    b, a = iirnotch(frequency, frequency / width, fs=rate)
    # Beyond its ends the hum goes on as it is there, or the filter's swing leaves it standing at both ends; the rest is
    # rotated about the ends.
    rows = min(values.shape[0] - 1, int(np.ceil(2.0 * rate / width)))
    before, after = (
        _continued(values[rows::-1], rate, frequency)[::-1],
        _continued(values[-rows - 1 :], rate, frequency),
    )
    filtered: Array = filtfilt(b, a, np.concatenate([before, values, after]), axis=0, padlen=0)
    return filtered[rows:-rows]


def _continued(values: Array, rate: float, frequency: float) -> Array:
    """Continue a piece of a recording by its own length less one row: its hum as a sine, what remains rotated."""
    angle = 2.0 * np.pi * frequency / rate * np.arange(2 * len(values) - 1)[:, np.newaxis]
    waves = np.hstack([np.cos(angle), np.sin(angle), np.ones_like(angle)])
    near = slice(len(values) // 2, len(values))
    weights = np.linalg.lstsq(waves[near], values[near], rcond=None)[0]
    hum = waves[:, :2] @ weights[:2]
    rest = values - hum[: len(values)]
    return np.asarray(2.0 * rest[-1] - rest[-2::-1] + hum[len(values) :])


def even_grid(time: ArrayLike, rate: float) -> Array:
    """Return the multiples of ``1 / rate`` inside a recording.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the recording (s).
    rate : float
        The new rate (Hz).

    Returns
    -------
    numpy.ndarray, shape (points,)
        Times that other recordings resampled to the same rate share (s).
    """
    t = np.asarray(time, dtype=float)
    slack = 1e-9
    return np.arange(np.ceil(t[0] * rate - slack), np.floor(t[-1] * rate + slack) + 1.0) / rate


def resample(time: ArrayLike, values: ArrayLike, rate: float) -> tuple[Array, Array]:
    """Resample envelopes onto an even grid, linearly.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time (s).
    values : array_like, shape (rows, channels)
        Envelopes: there must be nothing in them above half the new rate.
    rate : float
        The new rate (Hz).

    Returns
    -------
    time : numpy.ndarray, shape (points,)
        See :func:`even_grid` (s).
    values : numpy.ndarray, shape (points, channels)
        The envelopes there.
    """
    grid = even_grid(time, rate)
    return grid, interpolate(time, values, grid)
