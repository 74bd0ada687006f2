"""Many numbers as text at once, each in a cell of the same width, as ``printf`` writes them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

#: Powers of ten up to this one are exact, and scaled numbers below the limit are whole.
_EXACT_POWER, _LIMIT = 22, 2.0**52

#: What is written here has fewer than five digits before the point.
_WHOLE = 10_000


def number_cells(values: NDArray[np.float64], precision: int) -> NDArray[np.uint8] | None:
    """Write numbers as ``%{p+8}.{p}f`` does, several times faster.

    All numbers are scaled to whole ones, whose digits are looked up four at a time. Python itself writes what is too
    large for that, and what lies so near to the middle of two last digits that scaling may have rounded it across.

    Parameters
    ----------
    values : numpy.ndarray, shape (rows, columns)
        The numbers.
    precision : int
        Digits after the decimal point.

    Returns
    -------
    numpy.ndarray of uint8, shape (rows, columns, precision + 8), or None
        The ASCII characters; None if a number needs more room.
    """
    with np.errstate(over="ignore"):  # too large, as is seen below
        scaled = np.abs(values) * 10.0 ** min(precision, _EXACT_POWER)
    rounded = np.rint(scaled)
    limit = min(_LIMIT, (_WHOLE - 1.0) * 10.0**precision) if precision <= _EXACT_POWER else 0.0
    with np.errstate(invalid="ignore"):
        plain = (scaled < limit) & (np.abs(scaled - rounded) < 0.5 - 2.0 * np.spacing(scaled))
    everything = plain.all()
    rest = (rounded if everything else np.where(plain, rounded, 0.0)).astype(np.int64)
    groups = [4] * (precision // 4) + [size for size in (2, 1) if precision % 4 & size]
    kinds = ["u8", *(f"u{size}" for size in groups)]
    cells = np.empty(values.shape, np.dtype(",".join(kinds)))
    for field, size in zip(reversed(cells.dtype.names or ()), reversed(groups), strict=False):
        before = rest // 10**size
        cells[field] = _digits(size)[rest - before * 10**size]
        rest = before
    cells["f0"] = _wholes()[np.where(np.signbit(values), rest + _WHOLE, rest)]
    text: NDArray[np.uint8] = cells.view(np.uint8).reshape(*values.shape, precision + 8)
    if not everything:
        for row, column in np.argwhere(~plain).tolist():
            one = f"%{precision + 8}.{precision}f" % float(values[row, column])
            if len(one) != precision + 8:
                return None
            text[row, column] = np.frombuffer(one.encode("ascii"), np.uint8)
    return text


@cache
def _digits(size: int) -> NDArray[np.unsignedinteger]:
    """Return the text of 0 to 10**size - 1, with leading zeros, each as one whole number."""
    numbers = np.arange(10**size)[:, np.newaxis] // 10 ** np.arange(size - 1, -1, -1)
    return (numbers % 10 + ord("0")).astype(np.uint8).view(f"u{size}")[:, 0]


@cache
def _wholes() -> NDArray[np.unsignedinteger]:
    """Return the text of ``%7d.`` for 0 to 9999, and then for their negatives, each as one whole number."""
    text = np.full((2 * _WHOLE, 8), ord(" "), np.uint8)
    text[:, 3:7] = np.tile(_digits(4)[:, np.newaxis].view(np.uint8), (2, 1))
    text[:, 7] = ord(".")
    for half, sign in ((text[:_WHOLE], " "), (text[_WHOLE:], "-")):
        for length in range(1, 5):
            rows = half[10 ** (length - 1) if length > 1 else 0 : 10**length]
            rows[:, 3 : 7 - length] = ord(" ")
            rows[:, 6 - length] = ord(sign)
    return text.view(np.uint64)[:, 0]
