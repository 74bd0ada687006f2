"""Copies of models with other numbers: muscles' parameters, and a mass that a body carries. All else stays as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ModelError
from .safe_xml import parse_xml, write_xml

if TYPE_CHECKING:
    from lxml import etree


def write_muscle_parameters(
    model_file: str | os.PathLike[str], path: str | os.PathLike[str], values: Mapping[str, Mapping[str, float]]
) -> None:
    """Write a copy of a model with other muscle parameters.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    path : str or os.PathLike
        The copy.
    values : mapping of str to mapping of str to float
        By muscle: elements such as ``max_isometric_force`` (N) and their new values.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The model has no such muscle.
    """
    tree = parse_xml(model_file, error=ModelError, kind="model")
    for muscle, numbers in values.items():
        element = _named(tree, muscle, "max_isometric_force", model_file)
        for name, value in numbers.items():
            _set(element, name, f"{value:.10g}")
    write_xml(tree, path)


def write_carried_mass(
    model_file: str | os.PathLike[str],
    path: str | os.PathLike[str],
    masses: Mapping[str, float],
    point: ArrayLike | None = None,
) -> None:
    """Write a copy of a model whose bodies carry point masses.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    path : str or os.PathLike
        The copy.
    masses : mapping of str to float
        By body (kg).
    point : array_like, shape (3,), optional
        Where, in the body's frame (m); by default its mass centre.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The model has no such body.
    """
    tree = parse_xml(model_file, error=ModelError, kind="model")
    for body, carried in masses.items():
        element = _named(tree, body, "mass_center", model_file)
        if element.find("inertia_xx") is not None:
            raise ModelError(
                f"{os.fspath(model_file)}: the body '{body}' must have one <inertia>, as since OpenSim 4.0; found "
                "<inertia_xx>. Open the model in OpenSim and save it."
            )
        own = float((element.findtext("mass") or "0").strip())
        centre = np.array((element.findtext("mass_center") or "0 0 0").split(), dtype=float)
        inertia = np.array((element.findtext("inertia") or "0 0 0 0 0 0").split(), dtype=float)
        at = centre if point is None else np.asarray(point, dtype=float)
        total = own + carried
        middle = (own * centre + carried * at) / total
        moved = _moved(own, centre - middle) + _moved(carried, at - middle)
        _set(element, "mass", f"{total:.10g}")
        _set(element, "mass_center", " ".join(f"{x:.10g}" for x in middle))
        _set(element, "inertia", " ".join(f"{x:.10g}" for x in inertia + moved))
    write_xml(tree, path)


def _moved(mass: float, offset: np.ndarray) -> np.ndarray:
    """Return what moving a mass off adds to an inertia: xx, yy, zz, xy, xz, yz."""
    x, y, z = offset
    return mass * np.array([y * y + z * z, x * x + z * z, x * x + y * y, -x * y, -x * z, -y * z])


def _named(tree: etree._ElementTree, name: str, holding: str, model_file: str | os.PathLike[str]) -> etree._Element:
    """Find the element of a name that holds another: a muscle and not its path, a body and not its frame."""
    for element in tree.iter():
        if isinstance(element.tag, str) and element.get("name") == name and element.find(holding) is not None:
            return element
    raise ModelError(f"{os.fspath(model_file)}: there is nothing called '{name}' that has a <{holding}>.")


def _set(element: etree._Element, name: str, text: str) -> None:
    from lxml import etree

    child = element.find(name)
    if child is None:
        child = etree.SubElement(element, name)
    child.text = text
