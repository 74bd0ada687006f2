"""Refine OpenSim muscle activations with networks trained on measured EMG.

The public names are imported on first use, so that ``import opensim_nem2e`` costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Public name -> module that defines it.
_PUBLIC = {
    "Bundle": "methods.bundle",
    "EMGEnvelopeTool": "tools.emg_envelope",
    "GaitEventsTool": "tools.gait_events",
    "KinematicsToActivationTool": "tools.kinematics_to_activation",
    "KinematicsTrainTool": "tools.kinematics_train",
    "MJCAStudyTool": "tools.mjca_study_tool",
    "NEM2EError": "errors",
    "NEM2EPipelineTool": "tools.nem2e_pipeline",
    "NMMTool": "tools.nmm_tool",
    "STDRCrossValidateTool": "tools.stdr_cross_validate",
    "STDRRefineTool": "tools.stdr_refine",
    "STDRTrainTool": "tools.stdr_train",
    "TimeSeries": "storage",
    "cross_validate": "tools.functions",
    "read_storage": "storage",
    "refine": "tools.functions",
    "repair_file": "storage",
    "set_log_level": "log",
    "train": "tools.functions",
    "write_storage": "storage",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'opensim_nem2e' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported yet or not."""
    return sorted(set(globals()) | set(_PUBLIC))
