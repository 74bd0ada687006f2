"""Many numbers as text at once, each in a cell of the same width, as ``printf`` writes them, and back."""

from __future__ import annotations

from functools import cache
from mmap import mmap
from typing import Any

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


def numbers_at(
    content: bytes | mmap, first: int, shape: tuple[int, int], strides: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Read a table of numbers that ``%{w}.{p}f`` wrote, all as wide: the way back from :func:`number_cells`.

    Eight characters are looked at as one whole number. The digits of a cell make another, and the point is a power of
    ten; both are exact, so that their quotient is rounded once, as the C library's ``strtod`` does it.

    Parameters
    ----------
    content : bytes-like
        The text.
    first : int
        Where the first cell begins; at least 8.
    shape : tuple of int
        Rows and columns.
    strides : tuple of int
        Bytes from one row to the next, and from one cell to the next: a cell is one byte shorter.

    Returns
    -------
    numpy.ndarray, shape (rows, columns), or None
        The numbers; None if a cell is not blanks, perhaps a minus, up to eight digits, a point and up to 15 digits, if
        the points are not below each other, or the digits too many.
    """

    def bytes_at(at: int, kind: str) -> NDArray[Any]:
        return np.array(np.ndarray(shape, kind, content, at, strides))

    end = first + strides[1] - 1
    point = bytes(content[first:end]).find(b".")
    precision = end - first - point - 1
    if not (1 <= point <= 8 and 1 <= precision <= 15) or (bytes_at(first + point, "u1") != ord(".")).any():
        return None
    # Before the point: the first character is the lowest byte. What lies before the cell is made blank.
    text = _filled(bytes_at(first + point - 8, "<u8"), 8 - point, " ")
    odd = text ^ _each("-")
    minus = ~(((odd & _each(0x7F)) + _each(0x7F)) | odd | _each(0x7F)) >> np.uint64(7)  # 1 in the bytes that are one
    text ^= minus * np.uint64(ord("-") ^ ord(" "))
    blank = ~(text >> np.uint64(4)) & _each(1)
    wrong = (text & _each(0xF0)) ^ _each(0x30) ^ (blank * np.uint64(0x10))  # neither digit nor blank
    wrong |= text & (blank * np.uint64(0x0F))
    wrong |= blank & ~((blank << np.uint64(8)) | np.uint64(1))  # a blank, or a minus, after a digit
    wrong |= (minus << np.uint64(8)) & blank
    wrong |= blank >> np.uint64(56)
    total, more = _eight_digits(text | _each(0x10))
    wrong |= more
    for at in range(end - 8 * (-(-precision // 8)), end, 8):
        before = max(0, end - precision - at)
        digits, more = _eight_digits(_filled(bytes_at(at, "<u8"), before, "0"))
        wrong |= more
        total = total * np.uint64(10 ** (8 - before)) + digits
    if wrong.any() or int(total.max()) >= _LIMIT:
        return None
    values = total / 10.0**precision
    return np.where(minus != 0, -values, values)


def _each(byte: int | str) -> np.uint64:
    """Return the number whose eight bytes are all this one."""
    return np.uint64((ord(byte) if isinstance(byte, str) else byte) * 0x0101010101010101)


def _filled(text: NDArray[np.uint64], count: int, character: str) -> NDArray[np.uint64]:
    """Return characters, eight together, the first so many of which are others."""
    first = np.uint64((1 << 8 * count) - 1)
    return (text & ~first) | (_each(character) & first)


def _eight_digits(text: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the number that eight characters write, and what is not 0 where one of them is no digit."""
    digits = text - _each("0")
    wrong = ((digits + _each(6)) | digits) & _each(0xF0)
    # Neighbours are put together, then pairs, then fours.
    digits = digits * np.uint64(10) + (digits >> np.uint64(8))
    digits = (digits & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(0x00640001) >> np.uint64(16)
    digits = (digits & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(0x0000271000000001) >> np.uint64(32)
    return digits, wrong


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
