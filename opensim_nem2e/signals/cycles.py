"""Gait cycles: found between heel strikes, cut into windows, and stitched back into the file.

Phase runs from 0 at the heel strike of the cycle's own limb to 1 at its next heel strike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CycleError, StorageError
from .resample import from_windows, to_window, to_windows

Array = NDArray[np.float64]

#: Heel strike to heel strike (s): from a fast run (0.5 s) to a slow pathological gait (2 s), with room on both sides.
MIN_DURATION = 0.4
MAX_DURATION = 2.5

#: By how much of their median the cycles of one limb may differ. Strides of steady gait vary by 2 to 5 %; a cycle that
#: differs by 20 % began or ended with the wrong contact (measured on split-belt treadmills, where a foot on the wrong
#: belt merges or shifts contacts: 22 to 100 %, all true strides below 10 %).
MAX_DEVIATION = 0.2

#: From so many cycles on, their median means something.
_ENOUGH_FOR_A_MEDIAN = 5

#: Default length of the blend at a cycle's boundary (s). One step of the 20-sample window of a 1 s cycle (53 ms), so no
#: more is blended than the network resolves with a single sample; and about a muscle's deactivation time constant
#: (40-60 ms), so the blend is not faster than a muscle.
CROSSFADE = 0.05

#: So many cycles are brought back into the file at a time, which bounds the memory.
_TOGETHER = 64

#: Cycles whose ends are nearer than this share one heel strike (s): times typed with three decimals.
JOIN_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Cycle:
    """One gait cycle of one limb.

    Parameters
    ----------
    side : {'r', 'l'}
        The limb.
    start, end : float
        What the cycle covers of the file (s).
    roll : float
        Where in ``start..end`` the heel strike of ``side`` lies, as a fraction of the duration, 0 <= roll < 1. With a
        roll the motion is taken as periodic: what lies before the heel strike follows after the end. A roll of 0.5 is
        the cycle of the other limb in a symmetric gait.

    Raises
    ------
    CycleError
        If the side is unknown, the cycle is empty, or the roll lies outside 0..1.
    """

    side: str
    start: float
    end: float
    roll: float = 0.0

    def __post_init__(self) -> None:
        """Check what was given."""
        if self.side not in ("r", "l"):
            raise CycleError(f"the side of a cycle must be 'r' or 'l', found '{self.side}'")
        if not self.end > self.start:
            raise CycleError(f"a cycle must end after it starts, found start {self.start} s and end {self.end} s")
        if not 0.0 <= self.roll < 1.0:
            raise CycleError(f"the roll of a cycle must be at least 0 and less than 1, found {self.roll}")

    @property
    def duration(self) -> float:
        """Duration (s)."""
        return self.end - self.start

    @property
    def heel_strike(self) -> float:
        """Time of phase 0 (s)."""
        return self.start + self.roll * self.duration

    @property
    def roll_to(self) -> float | None:
        """Time of phase 0 if the cycle is rolled, otherwise None: the argument of the resampling functions."""
        return self.heel_strike if self.roll else None

    @property
    def span(self) -> tuple[float, float, float | None]:
        """Start, end and :attr:`roll_to` (s)."""
        return self.start, self.end, self.roll_to

    def window(self, time: ArrayLike, values: ArrayLike, samples: int = 20, *, tolerance: float | None = None) -> Array:
        """Resample signals to this cycle; to many, :func:`windows` does it in one go.

        Parameters
        ----------
        time : array_like, shape (rows,)
            Time of the rows (s).
        values : array_like, shape (rows,) or (rows, columns)
            The signals.
        samples : int
            Number of samples; sample ``k`` is phase ``k / (samples - 1)``.
        tolerance : float, optional
            By how much the cycle may leave the data (s); see :func:`~opensim_nem2e.signals.resample.to_window`.

        Returns
        -------
        numpy.ndarray, shape (samples, columns)
            The window.
        """
        return to_window(time, values, self.start, self.end, samples, self.roll_to, tolerance=tolerance)


def windows(
    cycles: Sequence[Cycle], time: ArrayLike, values: ArrayLike, samples: int = 20, *, tolerance: float | None = None
) -> Array:
    """Resample signals to many cycles at once.

    Parameters
    ----------
    cycles : sequence of Cycle
        The cycles, in any order.
    time : array_like, shape (rows,)
        Time of the rows (s).
    values : array_like, shape (rows,) or (rows, columns)
        The signals.
    samples : int
        Number of samples of each cycle.
    tolerance : float, optional
        By how much a cycle may leave the data (s); see :func:`~opensim_nem2e.signals.resample.to_window`.

    Returns
    -------
    numpy.ndarray, shape (cycles, samples, columns)
        What :meth:`Cycle.window` gives for each.
    """
    return to_windows(time, values, [cycle.span for cycle in cycles], samples, tolerance=tolerance)


@dataclass(frozen=True)
class Rejected:
    """A pair of neighbouring heel strikes that is not used as a cycle.

    Parameters
    ----------
    side : {'r', 'l'}
        The limb.
    start, end : float
        The two heel strikes (s).
    reason : str
        Why, for the log.
    incomplete : bool
        Whether it only is not within the data: nothing is wrong with it.
    """

    side: str
    start: float
    end: float
    reason: str
    incomplete: bool = False


def cycles_from_strikes(
    strikes: Iterable[float],
    side: str,
    initial_time: float,
    final_time: float,
    *,
    min_duration: float = MIN_DURATION,
    max_duration: float = MAX_DURATION,
    max_deviation: float = MAX_DEVIATION,
    tolerance: float = 0.0,
    data_range: tuple[float, float] | None = None,
) -> tuple[list[Cycle], list[Rejected]]:
    """Build the complete cycles between neighbouring heel strikes of one limb.

    Parameters
    ----------
    strikes : iterable of float
        Heel strikes of the limb (s), increasing.
    side : {'r', 'l'}
        The limb.
    initial_time, final_time : float
        The data's range (s); cycles must lie inside it.
    min_duration, max_duration : float
        Bounds of a cycle's duration (s).
    max_deviation : float
        By how much a cycle's duration may differ from the median of all that are within the bounds, inside the range
        or not, as a fraction; not looked at with fewer than five.
    tolerance : float
        By how much a cycle may leave the range (s). CMC's results start 0.03 s after its initial time, so a
        simulation from heel strike to heel strike is not complete without some.
    data_range : tuple of float, optional
        The data's own range (s), for the reasons, where the other holds a tolerance already.

    Returns
    -------
    cycles : list of Cycle
        In order of time.
    rejected : list of Rejected
        Every other pair of neighbouring strikes that touches the range, with the reason.

    Raises
    ------
    CycleError
        If the strikes do not increase.
    """
    times = [float(strike) for strike in strikes]
    durations = [end - start for start, end in itertools.pairwise(times)]
    usual = [duration for duration in durations if min_duration <= duration <= max_duration]
    median = float(np.median(usual)) if len(usual) >= _ENOUGH_FOR_A_MEDIAN else None
    first, last = data_range or (initial_time, final_time)
    cycles: list[Cycle] = []
    rejected: list[Rejected] = []
    for start, end in itertools.pairwise(times):
        if not end > start:
            raise CycleError(f"heel strikes must increase, found {start} s and then {end} s")
        if end <= initial_time or start >= final_time:
            continue
        duration, incomplete = end - start, False
        if duration < min_duration:
            reason = f"it lasts {duration:.3f} s, less than {min_duration:g} s (a spurious contact?)"
        elif duration > max_duration:
            reason = f"it lasts {duration:.3f} s, more than {max_duration:g} s (a missed contact?)"
        elif median is not None and abs(duration - median) > max_deviation * median:
            reason = f"it lasts {duration:.3f} s, but this limb's cycles usually {median:.3f} s (a wrong contact?)"
        elif start < initial_time - tolerance or end > final_time + tolerance:
            reason, incomplete = f"it is not complete within {first:.4f} to {last:.4f} s", True
        else:
            cycles.append(Cycle(side, start, end))
            continue
        rejected.append(Rejected(side, start, end, reason, incomplete))
    return cycles, rejected


def whole_file_cycles(
    initial_time: float, final_time: float, leading: str = "r", heel_strike: float | None = None
) -> dict[str, Cycle]:
    """Take a whole file as one cycle of both limbs.

    The other limb's cycle is the same window rolled by half a cycle: it assumes a symmetric, periodic gait.

    Parameters
    ----------
    initial_time, final_time : float
        The file's range (s).
    leading : {'r', 'l'}
        The limb whose heel strike starts the file.
    heel_strike : float, optional
        When that limb strikes, if not at the start of the file (s).

    Returns
    -------
    dict
        ``{'r': Cycle, 'l': Cycle}``.

    Raises
    ------
    CycleError
        If the side is unknown, the range is empty, or the heel strike lies outside it.
    """
    own = Cycle(leading, initial_time, final_time)
    if heel_strike is not None:
        if not initial_time <= heel_strike <= final_time:
            raise CycleError(
                f"the heel strike must lie inside {initial_time:.4f}..{final_time:.4f} s, found {heel_strike:.4f} s"
            )
        own = Cycle(leading, initial_time, final_time, ((heel_strike - initial_time) / own.duration) % 1.0)
    other = "l" if leading == "r" else "r"
    return {leading: own, other: Cycle(other, initial_time, final_time, (own.roll + 0.5) % 1.0)}


def inside_cycles(time: ArrayLike, cycles: Iterable[Cycle]) -> NDArray[np.bool_]:
    """Tell which rows lie inside cycles, both ends included.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows (s).
    cycles : iterable of Cycle
        The cycles.

    Returns
    -------
    numpy.ndarray of bool, shape (rows,)
        True inside.
    """
    t = np.asarray(time, dtype=float)
    inside = np.zeros(t.shape, dtype=bool)
    for cycle in cycles:
        inside[np.searchsorted(t, cycle.start) : np.searchsorted(t, cycle.end, side="right")] = True
    return inside


def stitch(
    time: ArrayLike,
    original: ArrayLike,
    cycles: Sequence[Cycle],
    windows: Sequence[ArrayLike],
    crossfade: float = CROSSFADE,
    method: str = "pchip",
) -> tuple[Array, NDArray[np.bool_]]:
    """Bring refined windows back into the file, without a jump between the cycles.

    - Rows outside all cycles keep the original, bit for bit (:func:`fade_outside` leads over to them).
    - Where two cycles share a heel strike the curves usually disagree by a little. The difference is spread over the
      blend around the heel strike: each curve is shifted by a share that grows smoothly to one half at the heel strike
      (a cross-fade in which each curve goes on in parallel to its neighbour). Curves that agree are not changed.
      The same happens at the heel strike inside a rolled cycle, where the window's end meets its start.
    - Everywhere else the result is exactly the refined curve: hamstrings and vasti burst at heel strike, and a blend
      with the original there would take the burst away. No blend leaves the range of what it blends.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows, strictly increasing, evenly spaced or not (s).
    original : array_like, shape (rows,) or (rows, columns)
        The signals to refine.
    cycles : sequence of Cycle
        Cycles of one limb, in order of time, not overlapping.
    windows : sequence of array_like, shape (samples, columns)
        One refined window per cycle, any number of samples; sample ``k`` is phase ``k / (samples - 1)``.
    crossfade : float
        Length of a blend (s); 0 turns blending off. At most a quarter of the shorter cycle is used.
    method : {'pchip', 'linear'}
        How to interpolate between samples.

    Returns
    -------
    values : numpy.ndarray, shape as ``original``
        The refined signals.
    refined : numpy.ndarray of bool, shape (rows,)
        Which rows lie inside a cycle.

    Raises
    ------
    CycleError
        If cycles overlap, are out of order or of different limbs, the number of windows or columns is wrong, or the
        blend is negative.
    StorageError
        If time and values do not match.
    """
    t = np.asarray(time, dtype=float)
    table = np.asarray(original, dtype=float)
    if t.ndim != 1 or table.ndim not in (1, 2) or table.shape[0] != t.size:
        raise StorageError(f"time must have one entry per row of the values, found {t.shape} and {table.shape}")
    source = table.reshape(t.size, -1)
    curves = [np.asarray(window, dtype=float) for window in windows]
    curves = [curve.reshape(curve.shape[0], -1) for curve in curves]
    _check_cycles(cycles, curves, source.shape[1], crossfade)
    values = source.copy()
    if not cycles:
        return values.reshape(table.shape), np.zeros(t.size, dtype=bool)

    joined = [b.start - a.end <= JOIN_TOLERANCE for a, b in itertools.pairwise(cycles)]
    cycle_of = np.full(t.size, -1, dtype=np.intp)
    at = t.copy()
    for number, cycle in enumerate(cycles):
        # A shared heel strike's row belongs to the later cycle; a gap of less than the tolerance to the earlier one.
        last = number == len(cycles) - 1 or not joined[number]
        stop = np.searchsorted(t, cycle.end, side="right") if last else np.searchsorted(t, cycles[number + 1].start)
        rows = slice(int(np.searchsorted(t, cycle.start)), int(stop))
        at[rows] = np.clip(t[rows], cycle.start, cycle.end)
        cycle_of[rows] = number
    refined = cycle_of >= 0
    values[refined] = _evaluate(cycles, curves, at[refined], cycle_of[refined], method)

    low = np.min([curve.min(axis=0) for curve in curves], axis=0)
    high = np.max([curve.max(axis=0) for curve in curves], axis=0)
    for where, jump, length in _seams(cycles, curves, joined, crossfade, method):
        _spread(t, values, refined, where, jump, length, low, high)
    return values.reshape(table.shape), refined


def fade_outside(
    time: ArrayLike, values: ArrayLike, original: ArrayLike, inside: NDArray[np.bool_], length: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Lead refined rows over to those that keep the original, in the rows outside.

    The last refined value before a gap and the first one after it are held and fade into the original. Where there are
    no rows outside (at the file's ends) nothing fades.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time of the rows, increasing (s).
    values, original : array_like, shape (rows,)
        The signal with its refined rows, and without.
    inside : numpy.ndarray of bool, shape (rows,)
        The refined rows: they are not changed.
    length : float
        Length of a fade (s); in a gap between two cycles at most half of the gap. 0: none.

    Returns
    -------
    values : numpy.ndarray, shape (rows,)
        The signal with its fades.
    faded : numpy.ndarray of bool, shape (rows,)
        The rows in which it fades.
    """
    t, new, old = (np.asarray(array, dtype=float) for array in (time, values, original))
    if not (length > 0.0 and inside.any()):
        return new.copy(), np.zeros(inside.shape, dtype=bool)
    numbers = np.arange(t.size)
    before = np.maximum.accumulate(np.where(inside, numbers, -1))
    after = np.minimum.accumulate(np.where(inside, numbers, t.size)[::-1])[::-1]
    gap = np.where((before >= 0) & (after < t.size), t[np.minimum(after, t.size - 1)] - t[before], np.inf)
    reach = np.minimum(length, 0.5 * gap)
    change = np.zeros(t.size)
    faded = np.zeros(t.size, dtype=bool)
    for edge, there in ((before, before >= 0), (after, after < t.size)):
        rows = np.flatnonzero(there & ~inside)
        at = edge[rows]
        share = _smooth_step(np.maximum(1.0 - np.abs(t[rows] - t[at]) / reach[rows], 0.0))
        change[rows] += share * (new[at] - old[rows])
        faded[rows] |= share > 0.0
    return np.where(inside, new, old + change), faded


def _seams(
    cycles: Sequence[Cycle], curves: Sequence[Array], joined: Sequence[bool], crossfade: float, method: str
) -> list[tuple[float, Array, float]]:
    """Return time, jump (columns,) and blend length of every place where refined curves meet."""
    meeting = [number for number, meets in enumerate(joined) if meets]
    own, follower = np.array(meeting, dtype=np.intp), np.array(meeting, dtype=np.intp) + 1
    starts = np.array([cycles[number + 1].start for number in meeting])
    ends = np.array([min(cycles[number].end, cycles[number + 1].start) for number in meeting])
    steps = _evaluate(cycles, curves, starts, follower, method) - _evaluate(cycles, curves, ends, own, method)
    jumps = dict(zip(meeting, steps, strict=True))
    seams = []
    for number, (cycle, curve) in enumerate(zip(cycles, curves, strict=True)):
        if cycle.roll:
            seams.append((cycle.heel_strike, curve[0] - curve[-1], min(crossfade, cycle.duration / 4.0)))
        if number in jumps:
            after = cycles[number + 1]
            length = min(crossfade, cycle.duration / 4.0, after.duration / 4.0)
            seams.append((after.start, jumps[number], length))
    return seams


def _evaluate(
    cycles: Sequence[Cycle], curves: Sequence[Array], at: Array, cycle_of: NDArray[np.intp], method: str
) -> Array:
    """Return the curves (points, columns) at times within their cycles, whose numbers increase."""
    found = np.empty((at.size, curves[0].shape[1]))
    edges = np.searchsorted(cycle_of, np.arange(len(cycles) + 1))
    for _, members in itertools.groupby(range(len(cycles)), key=lambda k: (len(curves[k]), k // _TOGETHER)):
        some = list(members)
        rows = slice(edges[some[0]], edges[some[-1] + 1])
        table = np.stack([curves[k] for k in some])
        spans = [cycles[k].span for k in some]
        found[rows] = from_windows(table, spans, at[rows], cycle_of[rows] - some[0], method)
    return found


def _spread(
    time: Array,
    values: Array,
    refined: NDArray[np.bool_],
    where: float,
    jump: Array,
    length: float,
    low: Array,
    high: Array,
) -> None:
    """Spread a jump over a blend around it; rows before ``where`` are shifted up to half of it, rows after, back."""
    if length <= 0.0:
        return
    first, last = np.searchsorted(time, where - 0.5 * length, side="right"), np.searchsorted(time, where + 0.5 * length)
    rows = first + np.flatnonzero(refined[first:last])
    share = _smooth_step((time[rows] - where) / length + 0.5)
    share = np.where(time[rows] < where, share, share - 1.0)
    # Clipping to the range of all refined samples keeps continuity: at the blend's ends the shift is zero.
    values[rows] = np.clip(values[rows] + share[:, np.newaxis] * jump, low, high)


def _smooth_step(x: Array) -> Array:
    """Return the cubic from (0, 0) to (1, 1) with flat ends."""
    return x * x * (3.0 - 2.0 * x)


def _check_cycles(cycles: Sequence[Cycle], curves: Sequence[Array], columns: int, crossfade: float) -> None:
    if len(cycles) != len(curves):
        raise CycleError(f"every cycle needs one refined window, found {len(cycles)} cycles and {len(curves)} windows")
    if not crossfade >= 0.0:
        raise CycleError(f"the cross-fade must not be negative, found {crossfade} s")
    for curve in curves:
        if curve.shape[1] != columns:
            raise CycleError(f"a refined window must have {columns} columns, as the signals, found {curve.shape[1]}")
    for first, second in itertools.pairwise(cycles):
        if first.side != second.side:
            raise CycleError("cycles that are stitched together must be of one limb, found both")
        if second.start < first.end - JOIN_TOLERANCE:
            raise CycleError(
                "cycles must be in order and must not overlap, found "
                f"{first.start:.4f}..{first.end:.4f} s and then {second.start:.4f}..{second.end:.4f} s"
            )
