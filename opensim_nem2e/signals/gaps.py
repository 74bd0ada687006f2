"""Where a recording has gaps: no rows, or no values. What is interpolated over one was not measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CycleError

Array = NDArray[np.float64]

#: Rows further apart than this (s), and than so many usual steps, are a gap.
LONGEST_STEP, USUAL_STEPS = 0.05, 2.5


#: Motions and forces are recorded at 20 Hz or more; rows further apart than this (s) have times in another unit.
SLOWEST_STEP = 0.1


def refuse_other_unit(time: Array, what: str) -> None:
    """Refuse rows so far apart that their time cannot be in s.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time, increasing.
    what : str
        Whose they are, for the message: ``'the forces'``.

    Raises
    ------
    CycleError
        The median step is longer than 0.1.
    """
    step = float(np.median(np.diff(time))) if time.size > 1 else 0.0
    if step > SLOWEST_STEP:
        raise CycleError(
            f"the rows of {what} must be at most {SLOWEST_STEP:g} s apart, but are {step:g} s apart (median): is their "
            "time in another unit than s"
        )


def gaps(time: ArrayLike, longest: float = LONGEST_STEP, usual: float = USUAL_STEPS) -> Array:
    """Find where rows are missing.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    longest : float
        A shorter step is no gap (s).
    usual : float
        Nor is one of fewer median steps.

    Returns
    -------
    numpy.ndarray, shape (gaps, 2)
        The last row before and the first behind each (s).
    """
    t = np.asarray(time, dtype=float)
    steps = np.diff(t)
    if not steps.size:
        return np.empty((0, 2))
    rows = np.flatnonzero(steps > max(longest, usual * float(np.median(steps))))
    return np.column_stack([t[rows], t[rows + 1]])


def channel_gaps(time: ArrayLike, values: ArrayLike) -> Array:
    """Find where a channel was not measured: rows are missing (see :func:`gaps`), or values, even a single one.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    values : array_like, shape (rows,)
        The channel; what is missing is NaN.

    Returns
    -------
    numpy.ndarray, shape (gaps, 2)
        The last value before and the first behind each (s); where there is none, minus or plus infinity.
    """
    t = np.asarray(time, dtype=float)
    missing = np.isnan(np.asarray(values, dtype=float))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    around = np.concatenate([[-np.inf], t, [np.inf]])
    holes = [(around[first], around[behind + 1]) for first, behind in edges.reshape(-1, 2)]
    found = np.concatenate([gaps(t), np.reshape(holes, (-1, 2))])
    return np.asarray(found[np.argsort(found[:, 0], kind="stable")])


def overlaps(spans: Array, start: float, end: float) -> bool:
    """Tell whether a stretch of time touches a gap.

    Parameters
    ----------
    spans : numpy.ndarray, shape (gaps, 2)
        The gaps (s).
    start, end : float
        The stretch (s).

    Returns
    -------
    bool
        True if a part of it, however short, lies in one.
    """
    return bool(np.any((spans[:, 0] < end) & (spans[:, 1] > start)))


def inside_gaps(spans: Array, time: ArrayLike) -> NDArray[np.bool_]:
    """Tell which times lie in a gap.

    Parameters
    ----------
    spans : numpy.ndarray, shape (gaps, 2)
        The gaps (s).
    time : array_like, shape (times,)
        The times (s).

    Returns
    -------
    numpy.ndarray of bool, shape (times,)
        False at a gap's ends, which were measured.
    """
    t = np.asarray(time, dtype=float)[:, np.newaxis]
    return np.asarray(((t > spans[:, 0]) & (t < spans[:, 1])).any(axis=1))


def gaps_in_words(spans: Array, most: int = 3) -> str:
    """Name gaps: ``0.250 to 0.400 s and 2 more``.

    Parameters
    ----------
    spans : numpy.ndarray, shape (gaps, 2)
        The gaps (s).
    most : int
        How many are named.

    Returns
    -------
    str
        Them, within the recording.
    """
    words = []
    for start, end in spans[:most].tolist():
        if np.isinf(start) and np.isinf(end):
            words.append("throughout")
        elif np.isinf(start):
            words.append(f"before {end:.3f} s")
        elif np.isinf(end):
            words.append(f"after {start:.3f} s")
        else:
            words.append(f"{start:.3f} to {end:.3f} s")
    return ", ".join(words) + (f" and {len(spans) - most} more" if len(spans) > most else "")
