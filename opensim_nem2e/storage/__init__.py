"""Files in and out: ``.sto``/``.mot``, labels, header repair, models, controls and loads.

The public names are imported on first use, so that reading a setup file does not load numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .controls_xml import read_controls_xml
    from .external_loads import ExternalForce, read_external_loads
    from .labels import (
        find_activation_columns,
        find_excitation_columns,
        find_so_activation_columns,
        find_state_label,
        parse_label,
    )
    from .muscles import MuscleNames, StandardMuscle
    from .osim import MuscleInfo, OsimModel, read_model
    from .repair import RepairReport, repair_file
    from .sto import TimeSeries, read_storage, rewrite_columns, write_storage

#: Public name -> module that defines it.
_PUBLIC = {
    "ExternalForce": "external_loads",
    "find_activation_columns": "labels",
    "find_excitation_columns": "labels",
    "find_so_activation_columns": "labels",
    "find_state_label": "labels",
    "MuscleInfo": "osim",
    "MuscleNames": "muscles",
    "OsimModel": "osim",
    "parse_label": "labels",
    "read_controls_xml": "controls_xml",
    "read_external_loads": "external_loads",
    "read_model": "osim",
    "read_storage": "sto",
    "repair_file": "repair",
    "RepairReport": "repair",
    "rewrite_columns": "sto",
    "StandardMuscle": "muscles",
    "TimeSeries": "sto",
    "write_storage": "sto",
}

__all__ = [
    "ExternalForce",
    "MuscleInfo",
    "MuscleNames",
    "OsimModel",
    "RepairReport",
    "StandardMuscle",
    "TimeSeries",
    "find_activation_columns",
    "find_excitation_columns",
    "find_so_activation_columns",
    "find_state_label",
    "parse_label",
    "read_controls_xml",
    "read_external_loads",
    "read_model",
    "read_storage",
    "repair_file",
    "rewrite_columns",
    "write_storage",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'opensim_nem2e.storage' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value
