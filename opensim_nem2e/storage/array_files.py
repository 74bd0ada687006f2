"""Arrays that may be damaged, edited or not ours: their checksum; and .npz files, measured before they are read."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from .file_names import shown

#: Bytes of all arrays together, and how many there may be.
MOST_BYTES, MOST_ARRAYS = 200_000_000, 20_000

_LONGEST_HEADER = 2_000
#: Truth values, whole numbers, floating-point numbers and texts.
_KINDS = "biufU"


def checksum_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Sum up arrays.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Arrays by name.

    Returns
    -------
    str
        SHA-256 of names, shapes, types and values.
    """
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_arrays(
    path: str | os.PathLike[str], what: str, most_bytes: int = MOST_BYTES
) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of an ``.npz`` file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    what : str
        What it should hold, for messages: ``arrays of attention weights``.
    most_bytes : int
        What all arrays together may need.

    Returns
    -------
    dict of str to numpy.ndarray
        The arrays by name: numbers, all finite, truth values, or texts.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        It is no such file, is damaged, needs more memory, or holds objects or numbers that are not finite.
    """
    file = Path(path)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > most_bytes or len(members) > MOST_ARRAYS:
                raise ValueError(
                    f"it claims {len(members)} arrays of {size} bytes; at most {MOST_ARRAYS} of {most_bytes} may be"
                )
            return {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}
    except (
        *(OSError, ValueError, RuntimeError, EOFError, KeyError, IndexError, TypeError, SyntaxError, MemoryError),
        *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, OverflowError),
    ) as error:
        reason = str(getattr(error, "strerror", None) or error)[:200]
        what = what[:1].upper() + what[1:]
        raise StorageError(f"{what} were expected, but they cannot be read ({reason}).", file) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.generic]:
    with archive.open(member) as stream:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(np.lib.format.read_magic(stream))
        if read_header is None:
            raise ValueError(f"{shown(member.filename)} is of an unknown version")
        shape, by_column, kind = read_header(stream, max_header_size=_LONGEST_HEADER)
        if kind.hasobject or kind.kind not in _KINDS:
            raise ValueError(f"{shown(member.filename)} must hold numbers or texts, but its type is {kind.str}")
        needed = math.prod(shape) * kind.itemsize
        # NumPy takes the memory that the header claims, whatever is there.
        if any(length < 0 for length in shape) or stream.tell() + needed != member.file_size:
            raise ValueError(f"{shown(member.filename)} is not as long as its shape {shape} needs")
        content = stream.read(needed + 1)
    if len(content) != needed:
        raise ValueError(f"{shown(member.filename)} is cut off")
    array = np.frombuffer(content, kind, math.prod(shape)) if needed else np.empty(math.prod(shape), kind)
    array = array.reshape(shape, order="F" if by_column else "C")
    if kind.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{shown(member.filename)} holds numbers that are not finite")
    return array
