"""Read JSON files of our own, which may have been edited, cut or made to harm."""

from __future__ import annotations

import json
import os
from typing import Any

from ..errors import StorageError
from .safe_xml import MAX_BYTES, read_bytes


def read_json(path: str | os.PathLike[str], kind: str = "JSON file") -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    kind : str
        What it is, for messages.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, not readable, or larger than 64 MB.
    opensim_nem2e.errors.StorageError
        It is no JSON, or nested deeper than Python's own reader goes (some hundred levels; ours have ten).
    """
    content = read_bytes(path, kind, MAX_BYTES)
    try:
        return json.loads(content)
    except RecursionError:
        raise StorageError(f"The {kind} is nested too deeply.", path) from None
    except json.JSONDecodeError as error:
        raise StorageError(f"The {kind} is no JSON: {error.msg}.", path, error.lineno) from None
    except ValueError as error:
        # No UTF-8, or a number with more digits than Python converts.
        raise StorageError(f"The {kind} is no JSON: {error}"[:500], path) from None
