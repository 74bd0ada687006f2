"""The model in motion, as the report's 3D view shows it: bones, muscle paths, and the muscles' activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NEM2EError
from ..log import logger
from .curves import pack, pack_counts

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial
    from ..estimates.estimate import Estimate
    from ..musculoskeletal.opensim.geometry import Geometry, Shape
    from ..storage import TimeSeries

Array = NDArray[np.float64]

#: Postures per second, and the longest stretch that is shown (s): a stride or two.
RATE, LONGEST = 50.0, 3.0

#: All bones together have no more triangles than this; it keeps a page of one stride below 5 MB.
MOST_TRIANGLES = 40_000

# The first size of the cells in which vertices become one (m), and how much larger the next one is.
_CELL, _COARSER = 1e-3, 1.5

# Thinnest and thickest muscle (m).
_THIN, _THICK = 0.003, 0.008

# The colours' upper end is no lower than this.
_LEAST_TOP = 0.3


@dataclass(frozen=True)
class ModelFiles:
    """What the view is made from.

    Parameters
    ----------
    model : pathlib.Path or None
        The model (``.osim``).
    motion : pathlib.Path, TimeSeries or None
        Its coordinates over time: a states file, or a motion.
    shape_folders : sequence of pathlib.Path
        Where files of bones lie, beside the usual places.
    forces : mapping of str to float
        Largest isometric force of the muscles (N): stronger ones are drawn thicker.
    """

    model: Path | None = None
    motion: Path | TimeSeries | None = None
    shape_folders: Sequence[Path] = ()
    forces: Mapping[str, float] | None = None


@dataclass(frozen=True)
class ModelView:
    """The view's content.

    Parameters
    ----------
    text : str
        What is shown, or why nothing is.
    data : dict or None
        What its script reads; None: there is no view.
    kinds : mapping of str to str
        The activations that can colour the muscles, and what they are called.
    top : float
        The activation of the last colour.
    """

    text: str
    data: dict[str, Any] | None = None
    kinds: Mapping[str, str] | None = None
    top: float = 1.0


def make_model_view(
    files: ModelFiles,
    activations: Estimate,
    trial: SimulatedTrial | None,
    consistent: Estimate | None,
    kinds: Mapping[str, str],
) -> ModelView:
    """Ask OpenSim where bones and muscles are, and pack it for the page.

    Parameters
    ----------
    files : ModelFiles
        Model and motion.
    activations : Estimate
        The activations; the view shows the time of their gait cycles.
    trial : SimulatedTrial or None
        The simulation.
    consistent : Estimate or None
        The activations that are consistent with the torques.
    kinds : mapping of str to str
        What the kinds of curves are called.

    Returns
    -------
    ModelView
        Without data where something is missing or OpenSim failed: a report is written all the same.
    """
    if files.model is None or files.motion is None:
        return ModelView("There is no 3D view: it needs the model and its motion (a states file, or coordinates).")
    if find_spec("opensim") is None:
        return ModelView("There is no 3D view: it needs OpenSim's Python package, which is not installed.")
    start, end, whole = _stretch(activations)
    times = np.linspace(start, end, round((end - start) * RATE) + 1)
    from ..musculoskeletal.opensim.geometry import read_geometry

    try:
        geometry = read_geometry(files.model, files.motion, times, shape_folders=files.shape_folders)
    except NEM2EError as error:
        logger.info("The report has no 3D view: %s", error)
        return ModelView("There is no 3D view, as OpenSim could not put the model into its postures; the log says why.")
    found: dict[str, Mapping[str, Array]] = {} if trial is None else {"opensim": trial.activations}
    simulated = {} if trial is None else trial.activations
    found["refined"] = activations.values(simulated)
    if consistent is not None:
        found["consistent"] = consistent.values(simulated)
    curves = {
        kind: {
            muscle: np.interp(times, activations.time, values[muscle])
            for muscle in geometry.muscles
            if muscle in values
        }
        for kind, values in found.items()
    }
    every = np.concatenate([values for of_kind in curves.values() for values in of_kind.values()] or [np.ones(1)])
    top = max(_LEAST_TOP, np.ceil(10.0 * float(np.nanquantile(every, 0.995))) / 10.0)
    data = {"top": min(top, 1.0), **_packed(geometry, curves, files.forces or {})}
    words = _words(geometry, trial is not None, start, end, whole)
    return ModelView(words, data, {kind: kinds.get(kind, kind) for kind in curves}, data["top"])


def simplified(shapes: Sequence[Shape], most: int = MOST_TRIANGLES) -> dict[str, tuple[Array, NDArray[np.int64]]]:
    """Put the surfaces of each body together, with no more triangles than a page can hold.

    Vertices that lie in one cell of a grid become one (Rossignac and Borrel 1993), in larger cells the more triangles
    there are.

    Parameters
    ----------
    shapes : sequence of Shape
        The surfaces.
    most : int
        The largest number of triangles.

    Returns
    -------
    dict of str to tuple
        By body: vertices (vertices, 3) (m) and triangles (triangles, 3).
    """
    bodies: dict[str, tuple[Array, NDArray[np.int64]]] = {}
    for shape in shapes:
        vertices, triangles = bodies.get(shape.body, (np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)))
        bodies[shape.body] = (
            np.concatenate([vertices, shape.vertices]),
            np.concatenate([triangles, shape.triangles + len(vertices)]),
        )
    found, cell = bodies, _CELL
    while sum(len(triangles) for _, triangles in found.values()) > most:
        found = {body: _clustered(*surface, cell) for body, surface in bodies.items()}
        cell *= _COARSER
    return found


def _clustered(vertices: Array, triangles: NDArray[np.int64], cell: float) -> tuple[Array, NDArray[np.int64]]:
    cells = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    _, number, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    number = number.reshape(-1)
    means = np.column_stack([np.bincount(number, weights=column) / count for column in vertices.T])
    corners = number[triangles]
    a, b, c = corners.T
    return means, np.unique(corners[(a != b) & (b != c) & (c != a)], axis=0)


def _stretch(activations: Estimate) -> tuple[float, float, bool]:
    """Return the time to show: that of the gait cycles, and whether it is all of it."""
    time = activations.time
    cycles = [cycle for item in activations for cycle in item.cycles]
    start = max(float(time[0]), min((cycle.start for cycle in cycles), default=-np.inf))
    end = min(float(time[-1]), max((cycle.end for cycle in cycles), default=np.inf))
    return start, min(end, start + LONGEST), end <= start + LONGEST


def _packed(
    geometry: Geometry, curves: Mapping[str, Mapping[str, Array]], forces: Mapping[str, float]
) -> dict[str, Any]:
    surfaces = simplified(geometry.shapes)
    sticks = [k for k, body in enumerate(geometry.bodies) if body not in surfaces]
    strongest = max(forces.values(), default=1.0) or 1.0
    muscles = []
    for name, paths in geometry.muscles.items():
        share = forces[name] / strongest if name in forces else 0.3
        muscles.append(
            {
                "name": name,
                "radius": round(_THIN + (_THICK - _THIN) * float(np.sqrt(share)), 5),
                "counts": [len(points) for points in paths],
                "points": pack(np.concatenate(paths)),
                "activations": {kind: pack(values[name]) for kind, values in curves.items() if name in values},
            }
        )
    return {
        "frames": len(geometry.times),
        "times": pack(geometry.times, fine=True),
        "up": geometry.up.tolist(),
        # The view goes with the body.
        "centre": pack(geometry.centres.mean(axis=1), fine=True),
        "bodies": [
            {
                "name": body,
                "solid": all(shape.solid for shape in geometry.shapes if shape.body == body),
                "poses": pack(geometry.poses[body].reshape(-1, 12), fine=True),
                "vertices": pack(vertices),
                "triangles": pack_counts(triangles),
            }
            for body, (vertices, triangles) in surfaces.items()
        ],
        "sticks": pack(geometry.bones[:, sticks], fine=True),
        "muscles": muscles,
    }


def _words(geometry: Geometry, simulated: bool, start: float, end: float, whole: bool) -> str:
    text = f"The model from {start:.2f} to {end:.2f} s"
    text += ". " if whole else " (the first of the refined gait cycles). "
    if simulated:
        text += "Muscles without an estimate of their own are OpenSim's, or moved along to meet the joint torques. "
    if geometry.missing_shapes:
        names = ", ".join(geometry.missing_shapes[:3]) + (", ..." if len(geometry.missing_shapes) > 3 else "")
        text += (
            f"Bones whose files ({names}) lie neither beside the model nor in geometry_directory are drawn as sticks. "
        )
    return text + "Drag to turn, scroll or pinch to come nearer, click a muscle to see its curves."
