"""The model that figure 7 of a study draws: OpenSim's geometry in the terms of the networks' inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..log import logger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..musculoskeletal.opensim.geometry import Geometry
    from ..storage.muscles import MuscleNames
    from .study import Skeleton

#: Phases at which figure 7 shows the model (percent of the gait cycle).
PHASES = (0.0, 50.0, 100.0)

_SIDE = re.compile(r"(?:^|_)(r|l|right|left)(?:_|$)", re.IGNORECASE)
_LIMB = {"r": "ipsi", "l": "contra"}


def read_skeleton(
    model_file: Path, motion_file: Path, time_range: Sequence[float], names: MuscleNames | None = None
) -> Skeleton:
    """Read where a model's bones and muscles are over one gait cycle.

    Parameters
    ----------
    model_file : pathlib.Path
        The model.
    motion_file : pathlib.Path
        Its coordinates over time.
    time_range : sequence of float
        Start and end of one gait cycle of the right limb (s), whose muscles are then ``ipsi``. Empty: the first whole
        one that the feet show; the file is one such cycle if they show none.
    names : MuscleNames, optional
        The table of muscle names; the shipped one by default.

    Returns
    -------
    Skeleton
        The model at 0, 50 and 100 % of the cycle, facing along x.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        As :func:`opensim_nem2e.musculoskeletal.opensim.geometry.read_geometry`.
    """
    import numpy as np

    from ..musculoskeletal.opensim.geometry import read_geometry
    from ..storage import MuscleNames
    from .study import Skeleton

    start, end = time_range or _first_cycle(model_file, motion_file)
    at = np.interp(PHASES, (0.0, 100.0), (start, end))
    geometry = read_geometry(model_file, motion_file, at)
    turn = _facing(geometry)
    muscles: dict[str, list[tuple[NDArray[np.float64], ...]]] = {}
    for muscle, standard in (names or MuscleNames.load()).of_model(geometry.muscles).items():
        if standard is not None:
            name = f"{_LIMB.get(standard.side, 'ipsi')}:{standard.name}"
            muscles.setdefault(name, []).append(tuple(points @ turn.T for points in geometry.muscles[muscle]))
    return Skeleton(
        PHASES,
        geometry.bones @ turn.T,
        tuple(_limb(body) for body in geometry.bodies),
        {name: tuple(paths) for name, paths in muscles.items()},
        f"model '{model_file.stem}', motion '{motion_file.stem}', {start:g} to {end:g} s",
    )


def _first_cycle(model_file: Path, motion_file: Path) -> tuple[float, float]:
    """Find a whole gait cycle of the right limb in a motion."""
    from ..errors import CycleError, ModelError
    from ..musculoskeletal.opensim.feet import read_foot_paths
    from ..signals.kinematic_events import kinematic_events
    from ..storage import read_storage

    try:
        feet = read_foot_paths(model_file, motion_file)
        events = kinematic_events(feet.time, feet.heels, feet.toes, feet.pelvis, up=feet.up, source="model")
        strikes = events.right
        if len(strikes) > 1:
            logger.info(
                "<skeleton_motion_file>: the figures show the first whole gait cycle of the right limb, %.3f to %.3f s "
                "(from the paths of the feet).",
                strikes[0],
                strikes[1],
            )
            return float(strikes[0]), float(strikes[1])
    except (CycleError, ModelError) as error:
        logger.info("<skeleton_motion_file>: no gait cycle was found in it, so it is taken for one. %s", error)
    time = read_storage(motion_file, model=model_file).time
    return float(time[0]), float(time[-1])


def _limb(body: str) -> str:
    found = _SIDE.search(body)
    return _LIMB[found[1][0].lower()] if found else ""


def _facing(geometry: Geometry) -> NDArray[np.float64]:
    """Return the rotation to axes forward, up and right: not every laboratory walks along x.

    Right is from the left limb to the right one; a model of one limb keeps its axes.
    """
    import numpy as np

    limbs = np.array([_limb(body) for body in geometry.bodies])
    if not {"ipsi", "contra"} <= set(limbs.tolist()):
        return np.eye(3)
    starts = geometry.bones[:, :, 0].mean(axis=0)
    # Hips (or shoulders), not whole limbs: a foot is ahead of the other more often than not.
    ends = [starts[limbs == side] for side in ("ipsi", "contra")]
    right, left = (points[np.argmax(points @ geometry.up)] for points in ends)
    across = right - left
    across -= (across @ geometry.up) * geometry.up
    across /= np.linalg.norm(across)
    return np.stack([np.cross(geometry.up, across), geometry.up, across])
