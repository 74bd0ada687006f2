"""Signals: resampling onto gait cycles and back, gait events from ground reactions, cycles and their stitching.

The public names are imported on first use. Only numpy is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cycles import (
        Cycle,
        Rejected,
        cycles_from_strikes,
        stitch,
        whole_file_cycles,
    )
    from .events import GaitEvents, events_from_external_loads, find_contacts, foot_side, gait_events, heel_strikes
    from .resample import from_window, pchip, to_window

#: Public name -> module that defines it.
_PUBLIC = {
    "Cycle": "cycles",
    "GaitEvents": "events",
    "Rejected": "cycles",
    "cycles_from_strikes": "cycles",
    "events_from_external_loads": "events",
    "find_contacts": "events",
    "foot_side": "events",
    "from_window": "resample",
    "gait_events": "events",
    "heel_strikes": "events",
    "pchip": "resample",
    "stitch": "cycles",
    "to_window": "resample",
    "whole_file_cycles": "cycles",
}

__all__ = [
    "Cycle",
    "GaitEvents",
    "Rejected",
    "cycles_from_strikes",
    "events_from_external_loads",
    "find_contacts",
    "foot_side",
    "from_window",
    "gait_events",
    "heel_strikes",
    "pchip",
    "stitch",
    "to_window",
    "whole_file_cycles",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'opensim_nem2e.signals' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value
