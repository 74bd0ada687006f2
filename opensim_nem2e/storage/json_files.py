"""JSON files that may be damaged, edited or not ours."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from ..errors import MissingFileError, StorageError
from .file_names import shown

#: Bytes that a file may have; the largest that this package writes (a skeleton) has 2 MB.
_MOST_BYTES = 200_000_000


def read_json(path: str | os.PathLike[str], what: str, *, nan_is_none: bool = False) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    what : str
        What it should be, for messages: ``a skeleton``.
    nan_is_none : bool
        Take NaN for null, which other programs write for a number that is not known; otherwise it is refused.

    Returns
    -------
    dict of str to object
        Its content; all numbers are finite.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such file, or it cannot be read.
    opensim_nem2e.errors.StorageError
        It is no JSON, holds infinite numbers, is nested too deeply, or is no object.
    """
    file = Path(path)

    def constant(text: str) -> None:
        if not nan_is_none or text != "NaN":
            raise ValueError(f"numbers must be finite, but {text} was found")

    try:
        if file.exists() and not file.is_file():
            raise MissingFileError(f"{file}: {what} was expected, but this is no file.")
        if file.stat().st_size > _MOST_BYTES:
            raise StorageError(f"{_capital(what)} was expected, but the file is larger than any.", file)
        content = json.loads(file.read_bytes().decode("utf-8-sig"), parse_constant=constant, parse_float=_finite)
    except OSError as error:
        raise MissingFileError(f"{file}: {what} cannot be read: {error.strerror or error}.") from error
    except RecursionError as error:
        raise StorageError(f"{_capital(what)} was expected, but the JSON is nested too deeply.", file) from error
    except ValueError as error:
        text = str(error)
        raise StorageError(f"JSON was expected, but it cannot be read ({text[:200]}).", file) from error
    if not isinstance(content, dict):
        raise StorageError(f"A JSON object was expected, but {_kind(content)} was found.", file)
    return content


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _kind(content: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return kinds.get(type(content), "null")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"numbers must be finite, but {shown(text)} was found")
    return number
