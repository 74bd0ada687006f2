"""How far an estimated curve over a gait cycle is from the measured one: error, shape, timing of burst and peak, lag.

Curves lie on ``linspace(0, 1, samples)`` of the cycle, both ends included. Where a curve is moved or a position is
compared, the cycle is taken as periodic: its end is the next heel strike, phase 0 again.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .resample import interpolate, to_window

Array = NDArray[np.float64]

#: Lags that :func:`best_lags` tries, as fractions of the cycle: nearest first, so that of equal ones the nearest wins.
LAGS: Array = np.array(sorted((k / 100 for k in range(-50, 51)), key=abs))

#: A curve that varies less than this (standard deviation) is flat: it has neither a shape nor a peak.
_FLAT = 1e-9


def cycle_errors(estimate: Array, emg: Array) -> Array:
    """Take E, the root mean square error, of every cycle.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.

    Returns
    -------
    ndarray, shape (cycles,)
        E (NEM2E paper, equation 1).
    """
    errors: Array = np.sqrt(np.mean((estimate - emg) ** 2, axis=1))
    return errors


def correlations(estimate: Array, emg: Array) -> Array:
    """Correlate every cycle's estimate with its EMG.

    Parameters
    ----------
    estimate, emg : ndarray, shape (..., cycles, samples)
        What is compared.

    Returns
    -------
    ndarray, shape (..., cycles)
        Pearson's r; 0 where one of the two curves is flat, because nothing of its shape is then shared.
    """
    a = estimate - estimate.mean(axis=-1, keepdims=True)
    b = emg - emg.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.mean(a**2, axis=-1) * np.mean(b**2, axis=-1))
    flat = (np.std(a, axis=-1) < _FLAT) | (np.std(b, axis=-1) < _FLAT)
    return np.where(flat, 0.0, np.mean(a * b, axis=-1) / np.where(flat, 1.0, spread))


def determinations(estimate: Array, emg: Array) -> Array:
    """Take the coefficient of determination of every cycle.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.

    Returns
    -------
    ndarray, shape (cycles,)
        1 less the squared error over the squared deviation of the EMG from its mean: 1 at best, negative where the
        EMG's own mean is nearer; NaN where the EMG is flat.
    """
    spread = np.mean((emg - emg.mean(axis=1, keepdims=True)) ** 2, axis=1)
    flat = np.sqrt(spread) < _FLAT
    return np.where(flat, np.nan, 1 - np.mean((estimate - emg) ** 2, axis=1) / np.where(flat, 1.0, spread))


def gain_errors(estimate: Array, emg: Array, groups: NDArray[np.str_]) -> Array:
    """Take E after the best gain of each group of cycles, usually a subject's: what is wrong with the shape alone.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.
    groups : ndarray of str, shape (cycles,)
        Cycles that share a gain.

    Returns
    -------
    ndarray, shape (cycles,)
        E of the estimate times the gain, at least 0, with the least squared error over the group.
    """
    scaled = np.zeros_like(estimate)
    for group in dict.fromkeys(groups.tolist()):
        rows = groups == group
        power = float(np.sum(estimate[rows] ** 2))
        if power > 0:
            scaled[rows] = max(0.0, float(np.sum(estimate[rows] * emg[rows])) / power) * estimate[rows]
    return cycle_errors(scaled, emg)


def burst_phases(curves: Array) -> tuple[Array, Array]:
    """Find when the burst that holds a curve's maximum begins and ends: where it crosses the middle of its range.

    Parameters
    ----------
    curves : ndarray, shape (cycles, samples)
        The curves.

    Returns
    -------
    onset, offset : ndarray, shape (cycles,)
        Fractions of the cycle, interpolated between samples (0..1, an offset of the next cycle being more than 1);
        NaN for a flat curve.
    """
    # The last sample is the next heel strike: phase 0 again.
    last = curves.shape[1] - 1
    onsets, offsets = np.full(len(curves), np.nan), np.full(len(curves), np.nan)
    for row, curve in enumerate(curves):
        if curve.std() < _FLAT:
            continue
        around = curve[:-1]
        level = 0.5 * (float(around.min()) + float(around.max()))
        peak = int(np.argmax(around))
        rolled = np.roll(around, -peak) - level
        below = np.flatnonzero(rolled <= 0)
        if not below.size:
            continue
        after, before = below[0], below[-1]
        into = rolled[(before + 1) % last]
        offsets[row] = (peak + after - 1 + rolled[after - 1] / (rolled[after - 1] - rolled[after])) / last
        onsets[row] = (peak + before - last + rolled[before] / (rolled[before] - into)) / last
    turns = np.floor(onsets)
    return onsets - turns, offsets - turns


def burst_errors(estimate: Array, emg: Array) -> tuple[Array, Array]:
    """Tell by how much the estimate's main burst begins and ends too late, the shorter way round the cycle.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.

    Returns
    -------
    onset, offset : ndarray, shape (cycles,)
        Fractions of the cycle (-0.5..0.5), negative if the estimate is early; NaN where one of the curves is flat.
    """
    found = []
    for ours, theirs in zip(burst_phases(estimate), burst_phases(emg), strict=True):
        away = ours - theirs
        found.append(away - np.round(away))
    return found[0], found[1]


def peak_phases(curves: Array) -> Array:
    """Find where curves have their maximum, between the samples by a parabola through the three highest neighbours.

    Parameters
    ----------
    curves : ndarray, shape (cycles, samples)
        The curves.

    Returns
    -------
    ndarray, shape (cycles,)
        Fractions of the cycle (0..1); NaN for a flat curve.
    """
    last = curves.shape[1] - 1
    peak = np.argmax(curves, axis=1)
    inner = np.clip(peak, 1, last - 1)
    before, at, after = (np.take_along_axis(curves, (inner + k)[:, None], axis=1)[:, 0] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    # At the ends of the cycle there is no neighbour on one side: the sample itself counts.
    curved = (peak == inner) & (bend < 0)
    offset = np.where(curved, 0.5 * (before - after) / np.where(curved, bend, 1.0), 0.0)
    return np.where(curves.std(axis=1) < _FLAT, np.nan, (peak + offset) / last)


def peak_errors(estimate: Array, emg: Array) -> Array:
    """Tell by how much the estimate peaks too late, the shorter way round the cycle.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.

    Returns
    -------
    ndarray, shape (cycles,)
        Fractions of the cycle (-0.5..0.5), negative if the estimate is early; NaN where one of the curves is flat.
    """
    away = peak_phases(estimate) - peak_phases(emg)
    return away - np.round(away)


def shift_cycles(curves: Array, lag: float) -> Array:
    """Move curves along the cycle; what leaves it at one end comes in at the other.

    Parameters
    ----------
    curves : ndarray, shape (cycles, samples)
        The curves.
    lag : float
        Fraction of the cycle; positive: later.

    Returns
    -------
    ndarray, shape (cycles, samples)
        The moved curves; unchanged for a lag of 0.
    """
    return curves @ _shift_matrix(curves.shape[1], lag).T


@lru_cache(maxsize=4096)
def _shift_matrix(samples: int, lag: float) -> Array:
    """Moving is linear in the samples: the unit curves, moved."""
    grid = np.linspace(0.0, 1.0, samples)
    return to_window(grid, np.eye(samples), 0.0, 1.0, samples, roll_to=-lag % 1.0)


def best_lags(estimate: Array, emg: Array) -> tuple[Array, Array]:
    """Find the lag at which every cycle's estimate correlates best with its EMG.

    Parameters
    ----------
    estimate, emg : ndarray, shape (cycles, samples)
        What is compared.

    Returns
    -------
    r : ndarray, shape (cycles,)
        Pearson's r at that lag; 0 where one of the curves is flat.
    lag : ndarray, shape (cycles,)
        By how much the estimate has to be moved for it (fraction of the cycle, -0.5..0.5; positive: later), in steps
        of 0.01.
    """
    moved = np.stack([shift_cycles(estimate, lag) for lag in LAGS.tolist()])
    r = correlations(moved, emg)
    best = np.argmax(r, axis=0)
    return r[best, np.arange(len(emg))], LAGS[best]


def warp_cycle(curves: Array, frequency: float, phase: float) -> Array:
    """Play one cycle faster or slower, from another phase on.

    Parameters
    ----------
    curves : ndarray, shape (samples, columns)
        The signals of one cycle.
    frequency : float
        How many cycles the new window holds.
    phase : float
        Where it begins (fraction of the cycle).

    Returns
    -------
    ndarray, shape (samples, columns)
        The signals at phases ``phase + frequency * linspace(0, 1, samples)``, periodic.
    """
    grid = np.linspace(0.0, 1.0, len(curves))
    return interpolate(grid, curves, (phase + frequency * grid) % 1.0)
