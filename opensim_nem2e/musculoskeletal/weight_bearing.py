"""What the joints of a leg would bear if it alone stood on the ground, from the motion alone.

Newton's and Euler's laws tell all that the ground does to a body from how the body moves: what inverse dynamics without
loads leaves to the six coordinates of the pelvis must come from outside. While one foot is on the ground, its leg bears
it. Which leg bears how much while both are, no law tells; and what a model lacks (arms, a trunk that was not recorded)
and what markers get wrong ends up in it: a few centimeters of the point where the force acts are a whole moment of the
ankle. So these moments are something for an estimator to start from, not results.

With the moments T0 that the motion needs without loads and the Jacobian J of the foot's body, whose origin is the heel
in OpenSim's gait models, the force and torque W of the ground at that origin and the moments T are::

    J'W = T0     at the coordinates of the pelvis
    T = T0 - J'W at those of the leg

In a planar model, W is the least that fulfils the first line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..signals.events import foot_side
from ..storage.osim import OsimModel
from .dynamics import Motion
from .opensim.feet import HEEL_BODIES

Array = NDArray[np.float64]

#: So many coordinates at least move the whole body: those of a planar model's pelvis.
_LEAST = 3

#: Where a Jacobian is below this, a coordinate does not move a body.
_STILL = 1e-9


@dataclass(frozen=True, eq=False)
class WeightBearing:
    """What a leg would bear.

    Parameters
    ----------
    unloaded : numpy.ndarray, shape (rows, coordinates)
        The moments that the motion needs if nothing touches the foot, as in swing (Nm).
    standing : numpy.ndarray, shape (rows, coordinates)
        Those that it needs if the ground touches this foot alone (Nm).
    heel : numpy.ndarray, shape (rows, coordinates)
        Likewise, if the ground's force acted at the heel (Nm).
    forward, upward : numpy.ndarray, shape (rows,)
        The ground's force on the body (N), forward being where the pelvis faces if the hip's coordinate is positive in
        flexion, backward otherwise.
    """

    unloaded: Array
    standing: Array
    heel: Array
    forward: Array
    upward: Array


def foot_body(model: OsimModel, side: str) -> str:
    """Find the body of a foot whose origin is at the heel.

    Parameters
    ----------
    model : OsimModel
        The model.
    side : str
        ``r`` or ``l``.

    Returns
    -------
    str
        For example ``calcn_r``.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        No body has such a name.
    """
    for word in HEEL_BODIES:
        names = [name for name in model.frames if word in name.lower() and foot_side(name) == side]
        if names:
            # Frames on a body have longer names.
            return min(names, key=len)
    raise ModelError(f"{model.path}: a foot is needed (a body such as calcn_{side}), found {', '.join(model.frames)}.")


def weight_bearing(motion: Motion, foot: str, coordinates: Sequence[str]) -> WeightBearing:
    """Find what a leg would bear.

    Parameters
    ----------
    motion : Motion
        Analysed without loads, with the Jacobians of both feet.
    foot : str
        The foot's body.
    coordinates : sequence of str
        Those of the leg, flexion of the hip first: its axis tells where the pelvis faces.

    Returns
    -------
    WeightBearing
        At the motion's rows.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The motion does not tell where the pelvis is, or it cannot move freely.
    """
    # What moves both feet moves the whole body: models call the coordinates of their pelvis differently.
    moved = np.logical_and.reduce([(np.abs(table) > _STILL).any(axis=(0, 1)) for table in motion.jacobians.values()])
    root = np.flatnonzero(moved & np.array(motion.movable))
    unknown = [motion.coordinates[column] for column in root if not motion.given[column]]
    if unknown:
        raise ModelError(
            "The ground's force is found from how the whole body moves, so the motion must tell where the pelvis is; "
            f"it lacks {', '.join(unknown)}."
        )
    if len(root) < _LEAST:
        raise ModelError(
            "The ground's force is found from how the whole body moves, so the model's pelvis must be free to move; "
            f"found {', '.join(motion.coordinates[column] for column in root) or 'nothing that moves both feet'}."
        )
    own, jacobian, needed = motion.columns(coordinates), motion.jacobians[foot], motion.torques
    wrench = np.einsum("tkp,tp->tk", np.linalg.pinv(jacobian[:, :, root].swapaxes(1, 2)), needed[:, root])
    unloaded, force = needed[:, own], wrench[:, 3:]
    # The hip flexes about an axis to the right; what is ahead lies on the ground at a right angle to it.
    ahead = np.cross(motion.up, jacobian[:, :3, own[0]])
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), _STILL)
    forward: Array = (force * ahead).sum(axis=1)
    return WeightBearing(
        unloaded,
        unloaded - np.einsum("tkj,tk->tj", jacobian[:, :, own], wrench),
        unloaded - np.einsum("tkj,tk->tj", jacobian[:, 3:, own], force),
        forward,
        force @ motion.up,
    )
