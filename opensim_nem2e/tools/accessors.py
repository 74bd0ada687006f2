"""Base classes that give the tools' attributes and accessors their types; at run time they are empty.

The types are in ``accessors.pyi``, which ``python -m opensim_nem2e.tools.accessors_stub`` writes from the options.
"""

from __future__ import annotations


def __getattr__(name: str) -> type:
    if not name.endswith("ToolAccessors"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return type(name, (), {})
