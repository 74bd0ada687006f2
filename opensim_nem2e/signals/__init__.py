"""Signals: resampling onto gait cycles and back, gait events from ground reactions, cycles and their stitching.

The public names are imported on first use. Only numpy is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .resample import from_window, pchip, to_window

#: Public name -> module that defines it.
_PUBLIC = {
    "from_window": "resample",
    "pchip": "resample",
    "to_window": "resample",
}

__all__ = ["from_window", "pchip", "to_window"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'opensim_nem2e.signals' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value
