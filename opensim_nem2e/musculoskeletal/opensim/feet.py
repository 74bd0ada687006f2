"""Heels, toes and pelvis of a model in motion, for gait events without ground reactions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...signals.events import foot_side
from ...storage import read_storage
from .geometry import Geometry, read_geometry

Array = NDArray[np.float64]

#: Bodies that begin at the heel, the most telling name first; and what may stand for them where only their ends count.
HEEL_BODIES = ("calc", "heel", "hindfo", "foot")
_FOOT_BODIES = (*HEEL_BODIES, "talus")


@dataclass(frozen=True)
class FootPaths:
    """Where feet and pelvis are.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    heels, toes : dict of str to numpy.ndarray, each (rows, 3)
        Both feet, ``'r'`` and ``'l'`` (m).
    pelvis : numpy.ndarray, shape (rows, 3)
        The pelvis (m).
    up : numpy.ndarray, shape (3,)
        Unit vector against gravity.
    bodies : tuple of str
        Whose ends these are.
    """

    time: Array
    heels: dict[str, Array]
    toes: dict[str, Array]
    pelvis: Array
    up: Array
    bodies: tuple[str, ...]


def read_foot_paths(
    model_file: str | os.PathLike[str],
    motion_file: str | os.PathLike[str],
    *,
    foot_bodies: Mapping[str, str] | None = None,
) -> FootPaths:
    """Find the paths of heels, toes and pelvis in a model's motion.

    In OpenSim's gait models the origin of the calcaneus lies at the heel; where it carries the toes is taken for their
    place.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model (``.osim``).
    motion_file : str or os.PathLike
        Its coordinates (IK, or a states file).
    foot_bodies : mapping of str to {'r', 'l'}, optional
        Feet whose name does not tell that they are, or their side.

    Returns
    -------
    FootPaths
        At the motion's own times.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The model has no foot on one side, or no pelvis.
    opensim_nem2e.errors.NEM2EError
        As :func:`opensim_nem2e.musculoskeletal.opensim.geometry.read_geometry`.
    """
    time = read_storage(motion_file, model=model_file).time
    geometry = read_geometry(model_file, motion_file, time, muscles=False)
    heels, toes, bodies = {}, {}, []
    for side in ("r", "l"):
        bone = _foot(geometry, side, foot_bodies or {})
        if bone is None:
            raise ModelError(
                f"{os.fspath(model_file)}: a foot on each side is needed (bodies such as calcn_r and calcn_l), found "
                f"{', '.join(dict.fromkeys(geometry.bodies))}. <foot_bodies> can say which limb a body is."
            )
        heels[side], toes[side] = geometry.bones[:, bone, 0], geometry.bones[:, bone, 1]
        bodies.append(geometry.bodies[bone])
    pelvis = next((bone for bone, body in enumerate(geometry.bodies) if "pelvis" in body.lower()), None)
    if pelvis is None:
        raise ModelError(f"{os.fspath(model_file)}: a body called pelvis is needed, found none.")
    return FootPaths(time, heels, toes, geometry.bones[:, pelvis, 0], geometry.up, (*bodies, geometry.bodies[pelvis]))


def _foot(geometry: Geometry, side: str, foot_bodies: Mapping[str, str]) -> int | None:
    """Return the longest bone of the body that was said to be the foot, else of the best named."""
    lengths = np.linalg.norm(geometry.bones[0, :, 1] - geometry.bones[0, :, 0], axis=1)
    said = [k for k, body in enumerate(geometry.bodies) if foot_bodies.get(body.rsplit("/", 1)[-1]) == side]
    if said:
        return max(said, key=lambda bone: float(lengths[bone]))
    for word in _FOOT_BODIES:
        bones = [k for k, body in enumerate(geometry.bodies) if word in body.lower() and foot_side(body) == side]
        if bones:
            return max(bones, key=lambda bone: float(lengths[bone]))
    return None
