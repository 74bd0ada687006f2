"""Files in and out: ``.sto``/``.mot``, labels, header repair, models, controls and loads.

The public names are imported on first use, so that reading a setup file does not load numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sto import TimeSeries, read_storage, rewrite_columns, write_storage

#: Public name -> module that defines it.
_PUBLIC = {
    "TimeSeries": "sto",
    "read_storage": "sto",
    "rewrite_columns": "sto",
    "write_storage": "sto",
}

__all__ = ["TimeSeries", "read_storage", "rewrite_columns", "write_storage"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'opensim_nem2e.storage' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value
