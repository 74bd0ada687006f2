"""Read a ControlSet: the ``_controls.xml`` that CMC writes beside its ``_controls.sto``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from lxml import etree

from ..errors import StorageError
from .header import read_number
from .safe_xml import parse_xml
from .sto import TimeSeries

#: How long a step of a control takes between two rows (s): far below any muscle's time constant, far above the digits
#: that files are written with.
STEP_WIDTH = 1e-6


def read_controls_xml(path: str | os.PathLike[str]) -> TimeSeries:
    """Read the controls of a ControlSet file at all times at which any of them has a node.

    A ``ControlLinear`` with ``use_steps`` has each node's value since the node before (OpenSim
    ``ControlLinear::getControlValue`` returns that of the first node at or after a time). A row is added just after
    each of its nodes (:data:`STEP_WIDTH`), so that straight lines between rows, the way in which a controls ``.sto`` is
    read, show the steps. Without ``use_steps``, a control is interpolated linearly. Before its first and after its
    last node a control keeps that node's value, or goes on linearly where ``extrapolate`` is true and steps are not
    used. A ``ControlConstant`` has one value.

    Parameters
    ----------
    path : str or os.PathLike
        The XML file.

    Returns
    -------
    TimeSeries
        Labels are the controls' names ("soleus_r.excitation").

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing or cannot be read.
    opensim_nem2e.errors.StorageError
        It holds no ControlSet, or a control of an unknown kind or with bad nodes.
    """
    root = parse_xml(path, error=StorageError, kind="controls file").getroot()
    control_set = root if root.tag == "ControlSet" else root.find("ControlSet")
    objects = None if control_set is None else control_set.find("objects")
    if control_set is None or objects is None:
        raise StorageError("A <ControlSet> with <objects> was expected.", path)
    reader = _Reader(path, control_set, root)
    names: list[str] = []
    columns = []
    for control in objects.iterchildren(tag=etree.Element):
        names.append(control.get("name") or "")
        columns.append(reader.control(control))
    times = [nodes for nodes, _, _, _ in columns if len(nodes)]
    if not times:
        raise StorageError("The ControlSet holds no nodes.", path)
    last = max(nodes[-1] for nodes in times)
    times += [nodes + STEP_WIDTH for nodes, _, steps, _ in columns if steps]
    time = np.unique(np.concatenate(times))
    time = time[time <= last]
    data = np.column_stack([_sample(time, *column) for column in columns])
    return TimeSeries(time=time, labels=tuple(names), data=data, name=control_set.get("name") or "", path=Path(path))


class _Reader:
    """Reads controls; values that a control leaves out come from the file's defaults."""

    def __init__(self, path: str | os.PathLike[str], control_set: etree._Element, root: etree._Element):
        self.path = path
        block = control_set.find("defaults")
        if block is None:
            block = root.find("defaults")
        self.defaults = {} if block is None else {element.tag: element for element in _elements(block)}

    def control(self, control: etree._Element) -> tuple[np.ndarray, np.ndarray, bool, bool]:
        """Return a control's node times and values, whether it holds them in steps, and whether it extrapolates."""
        name = control.get("name") or ""
        if not name:
            raise StorageError("A control has no name.", self.path, control.sourceline)
        if control.tag == "ControlConstant":
            value = self.number(control, "value")
            # No node: it adds no time of its own.
            return np.empty(0), np.array([value]), True, False
        if control.tag != "ControlLinear":
            raise StorageError(
                f"The control '{name}' is a <{control.tag}>; ControlLinear and ControlConstant can be read.",
                self.path,
                control.sourceline,
            )
        nodes = control.find("x_nodes")
        pairs = [
            (self.number(node, "t"), self.number(node, "value"), node.sourceline)
            for node in (_objects(nodes) if nodes is not None else ())
        ]
        if not pairs:
            bounds = any(control.find(key) is not None for key in ("min_nodes", "max_nodes"))
            what = " but bounds: these are constraints of CMC's or RRA's controls, not controls" if bounds else ""
            raise StorageError(f"The control '{name}' has no nodes{what}.", self.path, control.sourceline)
        for (before, _, _), (after, _, line) in pairwise(pairs):
            if after <= before:
                raise StorageError(
                    f"The times of the control '{name}' must increase, but {after!r} s follows {before!r} s.",
                    self.path,
                    line,
                )
        times = np.array([pair[0] for pair in pairs])
        values = np.array([pair[1] for pair in pairs])
        return times, values, self.flag(control, "use_steps"), self.flag(control, "extrapolate", True)

    def find(self, element: etree._Element, key: str) -> etree._Element | None:
        found = element.find(key)
        if found is None and element.tag in self.defaults:
            found = self.defaults[element.tag].find(key)
        return found

    def number(self, element: etree._Element, key: str) -> float:
        found = self.find(element, key)
        text = "" if found is None else (found.text or "").strip()
        # OpenSim leaves out what has its default: a node's value or time of 0.
        if found is None:
            return 0.0
        value = read_number(text.encode())
        if value is None or not np.isfinite(value):
            raise StorageError(f"<{key}> must be a finite number, but '{text}' was found.", self.path, found.sourceline)
        return value

    def flag(self, element: etree._Element, key: str, default: bool = False) -> bool:
        found = self.find(element, key)
        if found is None:
            return default
        text = (found.text or "").strip().lower()
        if text not in ("true", "false"):
            raise StorageError(f"<{key}> must be true or false, but '{text}' was found.", self.path, found.sourceline)
        return text == "true"


def _sample(time: np.ndarray, nodes: np.ndarray, values: np.ndarray, steps: bool, extrapolate: bool) -> np.ndarray:
    """Evaluate a control at other times than its own."""
    if len(values) == 1:
        return np.full(len(time), values[0])
    if steps:
        return values[np.minimum(np.searchsorted(nodes, time, "left"), len(values) - 1)]
    sampled: np.ndarray = np.interp(time, nodes, values)
    if extrapolate:
        for outside, first, second in ((time < nodes[0], 0, 1), (time > nodes[-1], -1, -2)):
            slope = (values[second] - values[first]) / (nodes[second] - nodes[first])
            sampled[outside] = values[first] + slope * (time[outside] - nodes[first])
    return sampled


def _elements(holder: etree._Element) -> Iterator[etree._Element]:
    """Give the child elements, comments left out."""
    children: Iterator[etree._Element] = holder.iterchildren(tag=etree.Element)
    return children


def _objects(holder: etree._Element) -> Iterator[etree._Element]:
    """Give a list's members: in ``<objects>`` for a set, else its children."""
    objects = holder.find("objects")
    return _elements(holder if objects is None else objects)
