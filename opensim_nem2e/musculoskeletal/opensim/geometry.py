"""Where a model's joints, bones and muscles are at some times of a motion: sticks or their own shapes.

OpenSim computes the positions, in another process (`_geometry_process.py`), so that a model that crashes it costs
a figure and not the program.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import CycleError, LabelError, ModelError
from ...log import logger
from ...signals.resample import interpolate
from ...storage import TimeSeries, parse_label, read_model, read_storage
from . import _geometry_process
from .processes import run_script

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """The surface of a body, or a part of it.

    Parameters
    ----------
    body : str
        The body.
    vertices : numpy.ndarray, shape (vertices, 3)
        In the body's frame (m).
    triangles : numpy.ndarray of int, shape (triangles, 3)
        Numbers of vertices.
    solid : bool
        Whether it is a ball, cylinder or brick that stands for the body, not a bone from a file.
    """

    body: str
    vertices: Array
    triangles: NDArray[np.int64]
    solid: bool = False


@dataclass(frozen=True)
class Geometry:
    """A model's joints, bones and muscle paths at some times, in the ground frame.

    Parameters
    ----------
    times : numpy.ndarray, shape (times,)
        When (s).
    joints : tuple of str
        The joints' names.
    centres : numpy.ndarray, shape (times, joints, 3)
        Where each joint is: the origin of its frame on the body it carries (m).
    bodies : tuple of str, length bones
        The body that each bone belongs to; a body that carries several joints has a bone to each of them.
    bones : numpy.ndarray, shape (times, bones, 2, 3)
        Start and end of each bone (m): from the joint that carries the body to a joint that the body carries, or to the
        body's mass centre if it is the last of its chain.
    muscles : mapping of str to tuple of numpy.ndarray, each (points, 3)
        For each muscle its path points at each time, from origin to insertion (m). Their number changes where a
        muscle comes to lie on a wrapping surface.
    up : numpy.ndarray, shape (3,)
        Unit vector against gravity.
    shapes : tuple of Shape
        The visible surfaces of bodies; empty if they were not asked for.
    poses : mapping of str to numpy.ndarray, each (times, 3, 4)
        Rotation and position (m) of each body that has shapes.
    missing_shapes : tuple of str
        Files of surfaces that the model names and that were not found.
    """

    times: Array
    joints: tuple[str, ...]
    centres: Array
    bodies: tuple[str, ...]
    bones: Array
    muscles: Mapping[str, tuple[Array, ...]]
    up: Array
    shapes: tuple[Shape, ...] = ()
    poses: Mapping[str, Array] = field(default_factory=dict)
    missing_shapes: tuple[str, ...] = ()


def read_geometry(
    model_file: str | os.PathLike[str],
    motion: str | os.PathLike[str] | TimeSeries,
    times: ArrayLike,
    *,
    muscles: bool = True,
    shape_folders: Sequence[str | os.PathLike[str]] | None = None,
    timeout: float | None = 300.0,
) -> Geometry:
    """Find the positions of a model's joints and of its muscles' paths at some times of a motion.

    Coordinates that the motion does not hold keep the model's default value, unless they follow others: then OpenSim's
    assembly finds them. Locked coordinates are unlocked, since the motion says where they are.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model (``.osim``).
    motion : str, os.PathLike or TimeSeries
        Its coordinates over time: a motion (``.mot``, ``.sto``; degrees or radians, as its header says) or a states
        file, or what was read from one. A header that OpenSim damaged is healed. A file that says radians and holds a
        joint angle beyond a whole turn is taken for degrees, with a warning: stock examples of OpenSim have such files.
    times : array_like, shape (times,)
        When (s). Rows are interpolated linearly.
    muscles : bool
        Whether muscle paths are wanted: without them it is several times faster.
    shape_folders : sequence of str or os.PathLike, optional
        Where files of bones (``.vtp``, ``.stl``, ``.obj``) are looked for that lie neither beside the model nor in the
        folder ``Geometry`` there nor in that of ``OPENSIM_HOME``. None: surfaces are not wanted.
    timeout : float, optional
        Give up after so many seconds.

    Returns
    -------
    Geometry
        The positions.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        A file is missing.
    opensim_nem2e.errors.StorageError
        The motion cannot be read.
    opensim_nem2e.errors.LabelError
        The motion has no coordinate of the model.
    opensim_nem2e.errors.CycleError
        A time lies outside the motion.
    opensim_nem2e.errors.ModelError
        The file is no model, or its coordinates are no finite numbers at these times.
    opensim_nem2e.errors.OpenSimRunError
        OpenSim failed or crashed.
    """
    model = Path(model_file).absolute()
    known = {coordinate.name for coordinate in read_model(model).coordinates}
    motion = motion if isinstance(motion, TimeSeries) else read_storage(motion, model=model)
    motion_file = motion.path or motion.name
    at = np.atleast_1d(np.asarray(times, dtype=float))
    if not (motion.n_rows and motion.time[0] <= at.min() and at.max() <= motion.time[-1]):
        found = f"{motion.time[0]:g} to {motion.time[-1]:g} s" if motion.n_rows else "no rows"
        raise CycleError(f"{motion_file}: the times {at.min():g} to {at.max():g} s must lie inside it, found {found}.")
    columns = _coordinate_columns(motion, known)
    if not columns:
        raise LabelError(f"No column is a coordinate of the model '{model.name}'.", motion_file)
    data = motion.data[:, list(columns.values())]
    values = interpolate(motion.time, data, at)
    if not np.isfinite(values).all():
        raise ModelError(f"{motion_file}: coordinates must be numbers at {at.min():g} to {at.max():g} s, found 'nan'.")
    answer = _ask(
        model,
        {
            "model": str(model),
            "coordinates": list(columns),
            "values": values.tolist(),
            "largest": np.nanmax(np.abs(data), axis=0).tolist(),
            "in_degrees": motion.in_degrees,
            "muscles": muscles,
            "shape_folders": None if shape_folders is None else _folders(shape_folders),
        },
        timeout,
    )
    if answer["taken_for_degrees"]:
        logger.warning(
            "%s: its header says radians, but '%s' goes beyond a whole turn: the angles are taken for degrees.",
            motion_file,
            answer["taken_for_degrees"],
        )
    if answer["defaults"]:
        logger.info(
            "%s: not in the motion, so at their defaults unless others move them: %s.",
            model.name,
            ", ".join(answer["defaults"]),
        )
    if answer["no_path"]:
        logger.warning("%s: no path points, so not drawn: %s.", model.name, ", ".join(answer["no_path"]))
    centres = np.array(answer["centres"])
    starts = [start for _, start, _ in answer["bones"]]
    return Geometry(
        times=at,
        joints=tuple(answer["joints"]),
        centres=centres,
        bodies=tuple(body for body, _, _ in answer["bones"]),
        bones=np.stack([centres[:, starts], np.array(answer["ends"])], axis=2),
        muscles={name: tuple(np.array(points) for points in paths) for name, paths in answer["muscles"].items()},
        up=np.array(answer["up"]),
        shapes=tuple(
            Shape(body, np.array(vertices).reshape(-1, 3), np.array(triangles, dtype=np.int64).reshape(-1, 3), solid)
            for body, vertices, triangles, solid in answer["shapes"]
        ),
        poses={name: np.array(rows).reshape(-1, 3, 4) for name, rows in answer["poses"].items()},
        missing_shapes=tuple(dict.fromkeys(answer["no_file"])),
    )


def _folders(given: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return where files of bones may lie: what was given, and where OpenSim itself is installed."""
    home = os.environ.get("OPENSIM_HOME")
    return [str(Path(folder).absolute()) for folder in (*given, *([Path(home, "Geometry")] if home else ()))]


def _coordinate_columns(motion: TimeSeries, known: set[str]) -> dict[str, int]:
    """Return the column of each coordinate, states before bare names of the same coordinate."""
    found: dict[str, int] = {}
    for column, label in enumerate(motion.labels):
        kind, name, _ = parse_label(label)
        # A coordinate whose own name ends as a speed's label does.
        if kind == "speed" and label in known:
            kind, name = "other", label
        if name in known and (kind == "value" or (kind == "other" and name not in found)):
            found[name] = column
    return found


def _ask(model: Path, request: Mapping[str, object], timeout: float | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="opensim_nem2e_") as folder:
        question, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        question.write_text(json.dumps(request), encoding="utf-8")
        run_script(
            _geometry_process.__file__, (question, answer), "Reading the geometry", model, timeout=timeout, kept=True
        )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found
