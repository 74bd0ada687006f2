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
from ..log import logger
from ..options import Options
from .base import Method

#: The entry points' group.
GROUP = "opensim_nem2e.methods"

#: Methods of this package by key, in the order in which they are shown.
BUILT_IN: dict[str, str] = {
    "opensim": "opensim_nem2e.methods.baselines:Simulation",
    "stdr_net": "opensim_nem2e.methods.stdr.method:STDRNetMethod",
    "mean": "opensim_nem2e.methods.baselines:MeanProfile",
    "profiles": "opensim_nem2e.methods.profiles:EMGProfiles",
    "shift": "opensim_nem2e.methods.baselines:TimeShift",
    "ridge": "opensim_nem2e.methods.baselines:RidgeRegression",
}

#: Methods of this package that take windows of motion instead of gait cycles.
OF_MOTION: dict[str, str] = {"mjca_bigru": "opensim_nem2e.methods.mjca_bigru.method:MJCABiGRUMethod"}

#: What is compared with: not learned from training subjects, or so cheap that a method must beat it.
BASELINES = ("mean", "shift", "ridge")

#: All baselines; profiles need EMG of several motions, ages or laboratories to differ from the mean.
ALL_BASELINES = (*BASELINES, "profiles")

#: What every other method is compared with.
REFERENCE = "opensim"

#: What a method states itself, and what it may inherit.
_MEMBERS = (
    *("key", "label", "description", "colour", "marker"),
    *("citation", "element", "requires", "options", "parts", "common", "plan", "load", "weight_count"),
)

_KEY = re.compile(r"[a-z][a-z0-9_]*")


def method_keys() -> tuple[str, ...]:
    """List the keys of all methods that take gait cycles, those of this package first.

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
    if own := BUILT_IN.get(key) or OF_MOTION.get(key):
        module, _, name = own.partition(":")
        built_in: Method = getattr(importlib.import_module(module), name)()
        return built_in
    if key not in _registered():
        raise TrainingError(
            f"There is no method '{key}'.{did_you_mean(key, method_keys())} Known: {', '.join(method_keys())}. "
            f"Methods of other packages are known once these are installed (entry points of the group '{GROUP}')."
        )
    entry, *others = _registered()[key]
    where = f"The method '{key}' of the package '{_package(entry)}'"
    if others:
        packages = ", ".join(f"'{_package(one)}'" for one in (entry, *others))
        raise TrainingError(f"Several packages register a method '{key}': {packages}. Uninstall all but one.")
    try:
        found = entry.load()
        _check(key, found, where)
        method: Method = found()
    except TrainingError:
        raise
    except Exception as error:
        # Somebody else's code: whatever it raises, its name must be in the message.
        raise TrainingError(f"{where} cannot be imported ({entry.value}): {type(error).__name__}: {error}") from error
    return method


def element_names() -> tuple[str, ...]:
    """Name the elements of setup files that hold the options of other packages' methods.

    Those of this package's methods are declared by the tools themselves.

    Returns
    -------
    tuple of str
        Elements.
    """
    return tuple(method.element for method in _usable() if method.element)


def element_options(element: str) -> type[Options] | None:
    """Find the declaration of the options of another package's method by its element in setup files.

    Parameters
    ----------
    element : str
        The element's name.

    Returns
    -------
    type or None
        The declaration; None if no method has such an element.
    """
    return next((method.options for method in _usable() if method.element == element), None)


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


@cache
def _usable() -> tuple[Method, ...]:
    """Import all methods that can be trained; a broken package must not stop who does not use it."""
    found = []
    for key in [key for key in trainable_keys() if key not in BUILT_IN]:
        try:
            found.append(find_method(key))
        except TrainingError as error:
            logger.warning("%s", error)
    return tuple(found)


def _check(key: str, found: Any, where: str) -> None:
    if not isinstance(found, type):
        raise TrainingError(f"{where} must be a class after opensim_nem2e.methods.base.Method; found {found!r}.")
    missing = [name for name in _MEMBERS if not hasattr(found, name)]
    if missing:
        raise TrainingError(
            f"{where} ({found!r}) does not state {', '.join(missing)}: see opensim_nem2e.methods.base.Method."
        )
    own = found.key  # type: ignore[attr-defined]
    if own != key or not _KEY.fullmatch(key):
        raise TrainingError(
            f"{where} must be registered under its own key, '{own}', in lower case letters, digits and underscores."
        )


@cache
def _registered() -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=GROUP):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
