"""All methods by key: those of this package, and those that other packages register as entry points.

To add a method to the package: its class, and one line in :data:`BUILT_IN`. From outside::

    [project.entry-points."opensim_nem2e.methods"]
    kernel_ridge = "my_package:KernelRidge"

Nothing is imported before a method is asked for.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..errors import TrainingError, did_you_mean
from ..options import Options
from .base import Method

#: The entry points' group.
GROUP = "opensim_nem2e.methods"

#: Methods of this package by key, in the order in which they are shown.
BUILT_IN: dict[str, str] = {
    "opensim": "opensim_nem2e.methods.baselines:Simulation",
    "stdr_net": "opensim_nem2e.methods.stdr.method:STDRNetMethod",
    "mean": "opensim_nem2e.methods.baselines:MeanProfile",
    "shift": "opensim_nem2e.methods.baselines:TimeShift",
    "ridge": "opensim_nem2e.methods.baselines:RidgeRegression",
}

#: What is compared with: not learned from training subjects, or so cheap that a method must beat it.
BASELINES = ("mean", "shift", "ridge")

#: What every other method is compared with.
REFERENCE = "opensim"

_KEY = re.compile(r"[a-z][a-z0-9_]*")


def method_keys() -> tuple[str, ...]:
    """List the keys of all methods, those of this package first.

    Returns
    -------
    tuple of str
        Keys; nothing is imported.
    """
    return (*BUILT_IN, *sorted(set(_registered()) - set(BUILT_IN)))


def trainable_keys() -> tuple[str, ...]:
    """List the keys of the methods that can be trained and kept in a bundle.

    Returns
    -------
    tuple of str
        All but the simulation itself.
    """
    return tuple(key for key in method_keys() if key != REFERENCE)


@cache
def find_method(key: str) -> Method:
    """Import a method.

    Parameters
    ----------
    key : str
        Its key.

    Returns
    -------
    Method
        An instance.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There is no method of this key, or the package that registered it is broken.
    """
    if key in BUILT_IN:
        module, _, name = BUILT_IN[key].partition(":")
        found = getattr(importlib.import_module(module), name)
    elif key in _registered():
        entry = _registered()[key]
        try:
            found = entry.load()
        except Exception as error:
            # Somebody else's code: whatever it raises, its name must be in the message.
            raise TrainingError(
                f"The method '{key}' of the package '{_package(entry)}' cannot be imported ({entry.value}): "
                f"{type(error).__name__}: {error}"
            ) from error
    else:
        raise TrainingError(
            f"There is no method '{key}'.{did_you_mean(key, method_keys())} Known: {', '.join(method_keys())}. "
            f"Methods of other packages are known once these are installed (entry points of the group '{GROUP}')."
        )
    return _checked(key, found)


def element_names() -> tuple[str, ...]:
    """Name the elements of setup files that hold the options of methods.

    Returns
    -------
    tuple of str
        Such as ``STDRNet``.
    """
    return tuple(element for key in trainable_keys() if (element := find_method(key).element))


def element_options(element: str) -> type[Options] | None:
    """Find the declaration of a method's options by its element in setup files.

    Parameters
    ----------
    element : str
        The element's name.

    Returns
    -------
    type or None
        The declaration; None if no method has such an element.
    """
    for key in trainable_keys():
        if find_method(key).element == element:
            return find_method(key).options
    return None


def method_style(key: str) -> dict[str, str]:
    """Return how figures show a method.

    Parameters
    ----------
    key : str
        Its key.

    Returns
    -------
    dict of str to str
        ``label``, ``colour`` and ``marker``.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There is no method of this key.
    """
    method = find_method(key)
    return {"label": method.label, "colour": method.colour, "marker": method.marker}


def _checked(key: str, found: Any) -> Method:
    where = f"The method '{key}' ({found!r})"
    missing = [name for name in ("key", "label", "description", "colour", "marker") if not hasattr(found, name)]
    if missing:
        raise TrainingError(f"{where} does not state {', '.join(missing)}: see opensim_nem2e.methods.base.Method.")
    if found.key != key or not _KEY.fullmatch(key):
        raise TrainingError(f"{where} must be registered under its own key, '{found.key}', in plain lower case.")
    method: Method = found()
    return method


@cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
