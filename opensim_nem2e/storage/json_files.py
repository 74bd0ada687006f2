"""Read JSON files of our own, which may have been edited, cut or made to harm."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from ..errors import MissingFileError, StorageError
from .file_names import shown
from .safe_xml import MAX_BYTES, read_bytes


def read_json(path: str | os.PathLike[str], kind: str = "JSON file", *, nan_is_none: bool = False) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    kind : str
        What it is, for messages.
    nan_is_none : bool
        Take NaN for null, which other programs write for a number that is not known; otherwise it is refused.

    Returns
    -------
    dict of str to object
        Its content; all numbers are finite.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, not readable, no file, or larger than 64 MB.
    opensim_nem2e.errors.StorageError
        It is no JSON, holds infinite numbers, is no object, or is nested deeper than Python's own reader goes (some
        hundred levels; ours have ten).
    """

    def constant(text: str) -> None:
        if not nan_is_none or text != "NaN":
            raise ValueError(f"numbers must be finite, but {text} was found")

    if Path(path).is_fifo():
        # A pipe would be waited for.
        raise MissingFileError(f"{os.fspath(path)}: a {kind} was expected, but this is no file.")
    content = read_bytes(path, kind, MAX_BYTES)
    try:
        found = json.loads(content.decode("utf-8-sig"), parse_constant=constant, parse_float=_finite)
    except RecursionError:
        raise StorageError(f"The {kind} is nested too deeply.", path) from None
    except json.JSONDecodeError as error:
        raise StorageError(f"The {kind} is no JSON: {error.msg}.", path, error.lineno) from None
    except ValueError as error:
        # No UTF-8, a number that is not finite, or one with more digits than Python converts.
        raise StorageError(f"The {kind} is no JSON: {error}"[:500], path) from None
    if not isinstance(found, dict):
        raise StorageError(f"A JSON object was expected, but {_kind(found)} was found.", path)
    return found


def _kind(content: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return kinds.get(type(content), "null")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"numbers must be finite, but {shown(text)} was found")
    return number
