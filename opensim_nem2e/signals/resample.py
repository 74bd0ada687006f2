"""From a file's uneven time base onto the equally spaced samples of a gait cycle, and back.

Only numpy: ``scipy.interpolate`` costs 0.6 s to import, half of what refining a whole trial may take, so the monotone
cubic and the spline are written out here (and tested against SciPy's).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CycleError, StorageError

Array = NDArray[np.float64]

#: A spline's coefficients are sought in blocks of so many; what is further away from a block than the margin changes
#: its coefficients by less than rounding does (a fifth degree forgets 0.43 from one sample to the next).
_BLOCK, _MARGIN = 96, 48

#: Cycles are resampled so many numbers at a time, which bounds the memory.
_HELD = 250_000


def interpolate(time: ArrayLike, values: ArrayLike, at: ArrayLike) -> Array:
    """Interpolate linearly between rows, all columns at once.

    At a row's own time the result is that row, bit for bit. Before the first and after the last row the nearest row
    is held.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows, strictly increasing, evenly spaced or not (s).
    values : array_like, shape (rows,) or (rows, columns)
        The signals.
    at : array_like, shape (points,)
        Where to evaluate (s).

    Returns
    -------
    numpy.ndarray, shape (points,) or (points, columns)
        The signals at ``at``.

    Raises
    ------
    StorageError
        If time is not strictly increasing or does not match the values.
    """
    x, y = checked_rows(time, values)
    points = np.asarray(at, dtype=float)
    if x.size == 1:
        return np.repeat(y, points.size, axis=0)
    points = np.clip(points, x[0], x[-1])
    return _between(x, y, points, np.clip(np.searchsorted(x, points, side="right") - 1, 0, x.size - 2))


def _between(x: Array, y: Array, points: Array, left: NDArray[np.intp]) -> Array:
    """Interpolate between the rows ``left`` and those after them."""
    weight = (points - x[left]) / (x[left + 1] - x[left])
    if y.ndim == 2:
        weight = weight[:, np.newaxis]
    start, end = y[left], y[left + 1]
    rise = end - start
    # From the nearer row: exact at both ends, and a constant stays what it is.
    between: Array = np.where(weight < 0.5, start + weight * rise, end - (1.0 - weight) * rise)
    return between


def to_window(
    time: ArrayLike,
    values: ArrayLike,
    t0: float,
    t1: float,
    samples: int = 20,
    roll_to: float | None = None,
    *,
    tolerance: float | None = None,
) -> Array:
    """Resample one gait cycle to equally spaced samples.

    Linear interpolation at ``linspace(0, 1, samples)`` of the cycle: sample ``k`` is phase ``k / (samples - 1)``, the
    first one lies at the cycle's start and the last at its end (NEM2E paper, section 3.2.3).

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows, strictly increasing, evenly spaced or not (s).
    values : array_like, shape (rows,) or (rows, columns)
        The signals.
    t0, t1 : float
        Start and end of the cycle (s).
    samples : int
        Number of samples.
    roll_to : float, optional
        The time inside the cycle that is phase 0 (a heel strike inside the window, s). The cycle is then taken as
        periodic: what lies before ``roll_to`` follows after ``t1``.
    tolerance : float, optional
        By how much the cycle may leave the data (s); the nearest row is held there. Default: half a step of the
        window, so that no more than one sample at each end is held rather than measured.

    Returns
    -------
    numpy.ndarray, shape (samples, columns)
        The window; one column if ``values`` is a vector.

    Raises
    ------
    CycleError
        If the cycle is empty, leaves the data, or ``roll_to`` lies outside it.
    StorageError
        If time is not strictly increasing or does not match the values.
    """
    window: Array = to_windows(time, values, [(t0, t1, roll_to)], samples, tolerance=tolerance)[0]
    return window


def to_windows(
    time: ArrayLike,
    values: ArrayLike,
    spans: Sequence[tuple[float, float, float | None]],
    samples: int = 20,
    *,
    tolerance: float | None = None,
) -> Array:
    """Resample many gait cycles, each as :func:`to_window` does.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows, strictly increasing, evenly spaced or not (s).
    values : array_like, shape (rows,) or (rows, columns)
        The signals.
    spans : sequence of tuple
        ``t0``, ``t1`` and ``roll_to`` of each cycle.
    samples : int
        Number of samples.
    tolerance : float, optional
        By how much a cycle may leave the data (s).

    Returns
    -------
    numpy.ndarray, shape (cycles, samples, columns)
        The windows; one column if ``values`` is a vector.

    Raises
    ------
    CycleError
        If a cycle is empty, leaves the data, or its ``roll_to`` lies outside it.
    StorageError
        If time is not strictly increasing or does not match the values.
    """
    x, y = checked_rows(time, values)
    for t0, t1, roll_to in spans:
        duration = _duration(t0, t1, samples)
        allowed = 0.5 * duration / (samples - 1) if tolerance is None else tolerance
        if x[0] - t0 > allowed or t1 - x[-1] > allowed:
            raise CycleError(
                f"the cycle {t0:.4f}..{t1:.4f} s must lie inside the data (it may leave them by {allowed:.4f} s), "
                f"found data from {x[0]:.4f} to {x[-1]:.4f} s"
            )
        if roll_to is not None:
            _check_roll(roll_to, t0, t1)
    table = y.reshape(x.size, -1)
    windows = np.empty((len(spans), samples, table.shape[1]))
    if x.size == 1 or not spans:
        windows[:] = table[:1]
        return windows
    starts, ends = (np.array([span[k] for span in spans], dtype=float) for k in (0, 1))
    origins = np.array([t0 if roll_to is None else roll_to for t0, _, roll_to in spans], dtype=float)
    rolled = np.array([[roll_to is not None] for _, _, roll_to in spans])
    durations = ends - starts
    points = np.linspace(origins, np.where(rolled[:, 0], origins + durations, ends), samples, axis=1)
    # What lies beyond the end is found one period earlier. The end itself stays the end.
    beyond = rolled & (points > ends[:, np.newaxis])
    points = np.clip(np.where(beyond, points - durations[:, np.newaxis], points), x[0], x[-1])
    # Not the row after a cycle's last, which is not asked for and may be missing.
    last = np.clip(np.searchsorted(x, ends) - 1, 0, x.size - 2)
    step = max(1, _HELD // (samples * max(1, table.shape[1])))
    for first in range(0, len(spans), step):
        some = slice(first, first + step)
        at = points[some].ravel()
        left = np.clip(np.searchsorted(x, at, side="right") - 1, 0, np.repeat(last[some], samples))
        windows[some] = _between(x, table, at, left).reshape(windows[some].shape)
    return windows


def from_window(
    window: ArrayLike,
    t0: float,
    t1: float,
    time: ArrayLike,
    method: str = "pchip",
    roll_to: float | None = None,
) -> Array:
    """Bring the samples of a cycle back onto a time base: the way back from :func:`to_window`.

    Parameters
    ----------
    window : array_like, shape (samples, columns) or (samples,)
        Equally spaced samples; the first is phase 0, the last phase 1.
    t0, t1 : float
        Start and end of the cycle (s).
    time : array_like, shape (rows,)
        Where to evaluate (s); inside ``t0..t1``.
    method : {'pchip', 'linear'}
        ``pchip`` is smooth and never overshoots the samples (see :func:`pchip`).
    roll_to : float, optional
        The time inside the cycle that is phase 0, as in :func:`to_window`. The result then jumps there by the
        difference between the window's last and first sample; that row itself gets the first.

    Returns
    -------
    numpy.ndarray, shape (rows, columns)
        The signals on ``time``; one column if ``window`` is a vector.

    Raises
    ------
    CycleError
        If the cycle is empty, a time lies outside it, or ``roll_to`` does.
    ValueError
        If the method is unknown.
    """
    y = np.asarray(window, dtype=float)
    at = np.asarray(time, dtype=float)
    return from_windows(
        y.reshape(1, y.shape[0], -1), [(t0, t1, roll_to)], at, np.zeros(at.shape, dtype=np.intp), method
    )


def from_windows(
    windows: Array,
    spans: Sequence[tuple[float, float, float | None]],
    time: Array,
    cycle_of: NDArray[np.intp],
    method: str = "pchip",
) -> Array:
    """Bring the samples of many cycles back onto a time base, each as :func:`from_window` does.

    Parameters
    ----------
    windows : numpy.ndarray, shape (cycles, samples, columns)
        Equally spaced samples of each cycle.
    spans : sequence of tuple
        ``t0``, ``t1`` and ``roll_to`` of each cycle.
    time : numpy.ndarray, shape (rows,)
        Where to evaluate (s); inside its cycle.
    cycle_of : numpy.ndarray of int, shape (rows,)
        The cycle of each row.
    method : {'pchip', 'linear'}
        How to interpolate.

    Returns
    -------
    numpy.ndarray, shape (rows, columns)
        The signals on ``time``.

    Raises
    ------
    CycleError
        If a cycle is empty, a time lies outside its cycle, or ``roll_to`` does.
    ValueError
        If the method is unknown.
    """
    if method not in ("pchip", "linear"):
        raise ValueError(f"method must be 'pchip' or 'linear', found '{method}'")
    samples = windows.shape[1]
    for t0, t1, roll_to in spans:
        _duration(t0, t1, samples)
        if roll_to is not None:
            _check_roll(roll_to, t0, t1)
    start, end, origin = (
        np.array(times, dtype=float)[cycle_of]
        for times in zip(*((t0, t1, t0 if roll_to is None else roll_to) for t0, t1, roll_to in spans), strict=True)
    )
    slack = 1e-9 * np.maximum(1.0, np.maximum(np.abs(start), np.abs(end)))  # rounding of times, not a tolerance
    outside = np.flatnonzero((time < start - slack) | (time > end + slack))
    if outside.size:
        t0, t1, _ = spans[cycle_of[outside[0]]]
        own = time[cycle_of == cycle_of[outside[0]]]
        found = f"{own.min():.4f}..{own.max():.4f} s"
        raise CycleError(f"times to evaluate must lie inside the cycle {t0:.4f}..{t1:.4f} s, found {found}")
    phase = (time - origin) / (end - start)
    rolled = np.array([roll_to is not None for _, _, roll_to in spans])[cycle_of]
    phase = np.clip(np.where(rolled & (phase < 0.0), phase + 1.0, phase), 0.0, 1.0)
    # Counted in samples, so that a sample's own time gives that sample.
    position = phase * (samples - 1)
    before = np.clip(position.astype(np.intp), 0, samples - 2)
    # One table of all cycles, the samples of each below those of the one before.
    table = windows.reshape(-1, windows.shape[2])
    left = cycle_of * samples + before
    if method == "linear" or samples < 3:
        grid = np.tile(np.arange(samples, dtype=float), len(spans))
        return _between(grid, table, position, left)
    slopes = _pchip_slopes(np.arange(samples, dtype=float), np.moveaxis(windows, 1, 0).reshape(samples, -1))
    slopes = np.moveaxis(slopes.reshape(samples, len(spans), -1), 0, 1).reshape(table.shape)
    return _cubic(table, slopes, left, (position - before)[:, np.newaxis], np.ones((1, 1)))


def pchip(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> Array:
    """Interpolate with the monotone piecewise cubic Hermite polynomial (PCHIP).

    The curve passes through every sample, has a continuous first derivative, and between two samples stays between
    their values: no overshoot, so an activation within its bounds stays within them. Slopes inside are the weighted
    harmonic mean of the neighbouring secants (zero at an extremum), slopes at the ends a one-sided three-point
    formula limited to keep the shape. Same algorithm as ``scipy.interpolate.PchipInterpolator``.

    Parameters
    ----------
    x : array_like, shape (samples,)
        Where the samples lie, strictly increasing.
    y : array_like, shape (samples,) or (samples, columns)
        The samples.
    at : array_like, shape (points,)
        Where to evaluate; held constant before the first and after the last sample.

    Returns
    -------
    numpy.ndarray, shape (points,) or (points, columns)
        The curve at ``at``.

    Raises
    ------
    StorageError
        If ``x`` is not strictly increasing or does not match ``y``.

    References
    ----------
    Fritsch, F. N., Carlson, R. E. (1980). Monotone piecewise cubic interpolation. SIAM J. Numer. Anal. 17, 238-246.
    Fritsch, F. N., Butland, J. (1984). A method for constructing local monotone piecewise cubic interpolants. SIAM J.
    Sci. Stat. Comput. 5, 300-304. End slopes: Moler, C. (2004). Numerical Computing with MATLAB, section 3.6.
    """
    knots, values = checked_rows(x, y)
    points = np.asarray(at, dtype=float)
    if knots.size < 3:
        return interpolate(knots, values, points)
    columns = values.reshape(knots.size, -1)
    slopes = _pchip_slopes(knots, columns)
    points = np.clip(points, knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, points, side="right") - 1, 0, knots.size - 2)
    step = (knots[left + 1] - knots[left])[:, np.newaxis]
    s = (points - knots[left])[:, np.newaxis] / step
    return _cubic(columns, slopes, left, s, step).reshape((points.size, *values.shape[1:]))


def _cubic(columns: Array, slopes: Array, left: NDArray[np.intp], s: Array, step: Array) -> Array:
    """Evaluate between the rows ``left`` and those after them, at the shares ``s`` of the steps."""
    r = 1.0 - s
    start, end = columns[left], columns[left + 1]
    # Cubic Hermite basis on the unit interval, written so that both ends are exact.
    curve = (
        r * r * (1.0 + 2.0 * s) * start
        + s * s * (1.0 + 2.0 * r) * end
        + s * r * step * (r * slopes[left] - s * slopes[left + 1])
    )
    # Monotone in exact arithmetic; rounding may leave the interval by one unit in the last place.
    clipped: Array = np.clip(curve, np.minimum(start, end), np.maximum(start, end))
    return clipped


def spline(x: ArrayLike, y: ArrayLike, at: ArrayLike, degree: int = 5) -> Array:
    """Interpolate with the spline whose derivatives but the last have no jumps, with not-a-knot ends.

    The same curve as ``scipy.interpolate.make_interp_spline``. Its coefficients solve a banded, totally positive system
    (elimination needs no pivots), which is cut into overlapping blocks that are solved side by side.

    Parameters
    ----------
    x : array_like, shape (samples,)
        Where the samples lie, strictly increasing.
    y : array_like, shape (samples, columns)
        The samples.
    at : array_like, shape (points,)
        Where to evaluate, within the samples.
    degree : int
        Odd; with no more samples than it, the curve is the polynomial through all.

    Returns
    -------
    numpy.ndarray, shape (points, columns)
        The curve at ``at``.

    Raises
    ------
    StorageError
        If ``x`` is not strictly increasing or does not match ``y``.

    References
    ----------
    de Boor, C. (2001). A Practical Guide to Splines. Springer. Chapters 10 and 13.
    """
    samples, values = checked_rows(x, y)
    count = samples.size
    ends = min(degree, count - 1) + 1
    inner = samples[(degree + 1) // 2 : -(degree + 1) // 2]
    knots = np.concatenate([np.repeat(samples[0], ends), inner, np.repeat(samples[-1], ends)])
    first, basis = _basis(knots, ends, samples)
    # One row of the band per sample, its own coefficient in the middle.
    band = np.zeros((count, 2 * ends - 1))
    rows, places = np.arange(count)[:, np.newaxis], first[:, np.newaxis] + np.arange(ends)
    band[rows, np.clip(places - rows + ends - 1, 0, 2 * ends - 2)] = basis
    starts = np.arange(0, count, _BLOCK)
    length = min(count, _BLOCK + 2 * _MARGIN)
    begins = np.clip(starts - _MARGIN, 0, count - length)
    table = begins + np.arange(length)[:, np.newaxis]
    solved = _solve_band(band[table], values[table])
    coefficients = np.empty_like(values)
    for block, (start, begin) in enumerate(zip(starts.tolist(), begins.tolist(), strict=True)):
        coefficients[start : start + _BLOCK] = solved[start - begin : start - begin + _BLOCK, block]
    first, basis = _basis(knots, ends, np.asarray(at, dtype=float))
    return np.asarray(sum(basis[:, [k]] * coefficients[first + k] for k in range(ends)))


def _basis(knots: Array, order: int, at: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the first spline that is not zero at each point, and the values of the next ``order``; (points, order)."""
    left = np.clip(np.searchsorted(knots, at, side="right") - 1, order - 1, len(knots) - order - 1)
    values = np.zeros((len(at), order))
    values[:, 0] = 1.0
    for degree in range(1, order):
        saved = np.zeros(len(at))
        for k in range(degree):
            after, before = knots[left + k + 1], knots[left + k + 1 - degree]
            share = values[:, k] / (after - before)
            values[:, k] = saved + (after - at) * share
            saved = (at - before) * share
        values[:, degree] = saved
    return left - (order - 1), values


def _solve_band(band: Array, values: Array) -> Array:
    """Solve banded systems side by side; band (rows, systems, 2 reach + 1) and values (rows, systems, columns)."""
    reach = band.shape[2] // 2
    rows = len(band)
    found = values.copy()
    for row in range(rows):
        for below in range(1, min(reach, rows - 1 - row) + 1):
            factor = (band[row + below, :, reach - below] / band[row, :, reach])[:, np.newaxis]
            band[row + below, :, reach - below : 2 * reach + 1 - below] -= factor * band[row, :, reach:]
            found[row + below] -= factor * found[row]
    for row in range(rows - 1, -1, -1):
        for above in range(1, min(reach, rows - 1 - row) + 1):
            found[row] -= band[row, :, reach + above, np.newaxis] * found[row + above]
        found[row] /= band[row, :, reach, np.newaxis]
    return found


def _pchip_slopes(x: Array, y: Array) -> Array:
    """Return the slopes (samples, columns) at the samples."""
    h = np.diff(x)[:, np.newaxis]
    secant = np.diff(y, axis=0) / h
    slopes = np.empty_like(y)
    before, after = secant[:-1], secant[1:]
    w1 = 2.0 * h[1:] + h[:-1]
    w2 = h[1:] + 2.0 * h[:-1]
    same_sign = np.sign(before) * np.sign(after) > 0.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = (w1 + w2) / (w1 / before + w2 / after)
    slopes[1:-1] = np.where(same_sign, mean, 0.0)
    slopes[0] = _end_slope(h[0], h[1], secant[0], secant[1])
    slopes[-1] = _end_slope(h[-1], h[-2], secant[-1], secant[-2])
    return slopes


def _end_slope(h0: Array, h1: Array, s0: Array, s1: Array) -> Array:
    """Return the three-point slope at an end, limited so that the curve keeps the samples' shape."""
    slope = ((2.0 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    slope = np.where(np.sign(slope) != np.sign(s0), 0.0, slope)
    too_steep = (np.sign(s0) != np.sign(s1)) & (np.abs(slope) > 3.0 * np.abs(s0))
    return np.where(too_steep, 3.0 * s0, slope)


def checked_rows(time: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    """Check that time and signals belong together.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows (s).
    values : array_like, shape (rows,) or (rows, columns)
        The signals.

    Returns
    -------
    time, values : numpy.ndarray
        As arrays of numbers, not copied where they are.

    Raises
    ------
    StorageError
        If time is not strictly increasing or does not match the values.
    """
    x = np.asarray(time, dtype=float)
    y = np.asarray(values, dtype=float)
    if x.ndim != 1 or y.ndim not in (1, 2) or y.shape[0] != x.size or x.size == 0:
        raise StorageError(
            f"time must be a vector with one entry per row of the values, found shapes {x.shape} and {y.shape}"
        )
    steps = np.diff(x)
    # Written this way round so that a NaN is caught, too.
    if not np.all(steps > 0.0):
        row = int(np.argmin(steps > 0.0))
        raise StorageError(f"time must increase strictly, found {x[row]!r} and then {x[row + 1]!r} (row {row + 2})")
    return x, y


def _duration(t0: float, t1: float, samples: int) -> float:
    if samples < 2:
        raise CycleError(f"a window needs at least 2 samples, found {samples}")
    if not t1 > t0:
        raise CycleError(f"a cycle must end after it starts, found start {t0} s and end {t1} s")
    return t1 - t0


def _check_roll(roll_to: float, t0: float, t1: float) -> None:
    if not t0 <= roll_to <= t1:
        raise CycleError(f"the heel strike must lie inside the cycle {t0:.4f}..{t1:.4f} s, found {roll_to:.4f} s")
