"""One leg of an OpenSim model in motion, made planar: segments, moving pelvis, joints, and the ground's force."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, did_you_mean
from ..signals.resample import interpolate
from ..storage.external_loads import read_external_loads
from ..storage.sto import read_storage
from .dynamics import GroundReaction, JointLoads, LegMotion, Motion, PlanarDynamics
from .opensim.processes import run_model_job
from .planar_leg import PlanarLeg

Array = NDArray[np.float64]

#: Coordinates of a leg's hip, knee and ankle in OpenSim's gait models, without the side.
JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")

#: What the pelvis's tilt is called in a :class:`.dynamics.LegMotion`: it is measured, whatever the model's coordinates.
TILT = "tilt of the pelvis"

#: Below so much vertical force of all plates together (N) a foot counts as unloaded where it was on several.
_LOADED = 20.0


@dataclass(frozen=True, eq=False)
class ModelLeg:
    """A leg of an OpenSim model in motion.

    Parameters
    ----------
    dynamics : PlanarDynamics
        The planar leg, with the model's names and signs.
    motion : LegMotion
        How it moves.
    origins : numpy.ndarray, shape (rows, joints, 3)
        Where the frames that the joints carry are in the ground frame (m).
    spins, slides : numpy.ndarray, shape (rows, joints, 3)
        How fast they turn (rad/s) and move (m/s) while their coordinate alone moves at 1 rad/s: a knee rolls and
        glides, and no axis looks quite sideways.
    heading : float
        Angle of the walking direction about the vertical, from the ground frame's first axis (rad).
    bodies : tuple of str
        The model's bodies beyond the ankle.
    """

    dynamics: PlanarDynamics
    motion: LegMotion
    origins: Array
    spins: Array
    slides: Array
    heading: float
    bodies: tuple[str, ...]

    @classmethod
    def of_model(
        cls, model_file: str | os.PathLike[str], motion: Motion, side: str = "r", joints: Sequence[str] = ()
    ) -> ModelLeg:
        """Measure a leg on an OpenSim model.

        The plane is the vertical one through the mean direction in which the pelvis faces. Bodies beyond the ankle are
        one foot; lengths, inertias and mass centres are means over the motion.

        Parameters
        ----------
        model_file : str or os.PathLike
            The model.
        motion : Motion
            Its motion, evenly sampled.
        side : str
            ``r`` or ``l``.
        joints : sequence of str, optional
            The coordinates of hip, knee and ankle; by default :data:`JOINTS` of that side.

        Returns
        -------
        ModelLeg
            At the motion's rows.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The model has no such coordinate, or they do not carry a thigh, shank and foot.
        opensim_nem2e.errors.OpenSimRunError
            OpenSim failed.
        """
        names = tuple(joints) or tuple(f"{joint}_{side}" for joint in JOINTS)
        if len(names) != len(JOINTS):
            raise ModelError(f"A planar leg has a hip, a knee and an ankle; found {', '.join(names)}.")
        for name in names:
            if name not in motion.coordinates:
                raise ModelError(
                    f"The model's coordinate for a joint of the planar leg is missing: '{name}'."
                    f"{did_you_mean(name, motion.coordinates)} It has {', '.join(motion.coordinates)}."
                )
        columns = motion.columns(names)
        request = {"joints": list(names), "coordinates": list(motion.coordinates), "q": motion.q.tolist()}
        found = run_model_job("measure_leg", model_file, request)
        segments, masses = found["segments"], found["body_masses"]
        for segment, part in enumerate(("thigh", "shank", "foot")):
            if not masses[segments == segment].sum() > 0.0:
                raise ModelError(f"{os.fspath(model_file)}: '{names[segment]}' must carry a {part} with mass.")

        heading = float(np.arctan2(found["forward"][:, 2].mean(), found["forward"][:, 0].mean()))
        origins, bodies = (_in_plane(found[key], heading) for key in ("origins", "body_centers"))
        pelvis = _in_plane(found["forward"], heading)
        # About the axis that points to the right of the walking direction.
        spins = found["spins"] @ [-np.sin(heading), 0.0, np.cos(heading)]
        directions = np.sign(spins.mean(axis=0))
        tilt = np.arctan2(pelvis[:, 1], pelvis[:, 0])
        q = np.column_stack([motion.q[:, columns], tilt])
        # The filtered speeds of inverse dynamics where they are known.
        qdot = np.column_stack([motion.qdot[:, columns], _slope(motion.time, tilt)])
        qddot = np.column_stack([_slope(motion.time, motion.qdot[:, columns]), _slope(motion.time, tilt, 2)])
        theta = np.cumsum(q[:, :3] * directions + tilt[:, None] * [1.0, 0.0, 0.0], axis=1)

        local = np.empty((3, 2))
        inertias = np.empty(3)
        for segment in range(3):
            of = segments == segment
            share = masses[of] / masses[of].sum()
            center = np.einsum("b,rba->ra", share, bodies[:, of])
            local[segment] = _turned(center - origins[:, segment], -theta[:, segment]).mean(axis=0)
            apart = ((bodies[:, of] - center[:, None]) ** 2).sum(axis=-1).mean(axis=0)
            inertias[segment] = (found["body_inertias"][of] + masses[of] * apart).sum()
        spans = np.linalg.norm(np.diff(origins, axis=1), axis=-1).mean(axis=0)
        leg = PlanarLeg(
            masses=np.bincount(segments, weights=masses, minlength=3),
            inertias=inertias,
            # The foot's own length plays no part.
            lengths=np.append(spans, 0.0),
            centers=local,
        )
        moves = LegMotion(
            motion.time,
            (*names, TILT),
            q,
            qdot,
            qddot,
            hip_acceleration=_slope(motion.time, origins[:, 0], 2),
        )
        dynamics = PlanarDynamics(leg, names, tuple(directions.tolist()), TILT)
        foot = tuple(str(body) for body in found["bodies"][segments == 2])
        return cls(dynamics, moves, found["origins"], found["spins"], found["slides"], heading, foot)

    def ground_torque(self, external_loads_file: str | os.PathLike[str]) -> JointLoads:
        """Take what the ground's force does at the joints, about their true centres and axes: J^T F.

        Parameters
        ----------
        external_loads_file : str or os.PathLike
            ExternalLoads (``.xml``); forces on bodies beyond the ankle count.

        Returns
        -------
        JointLoads
            At the motion's rows.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            No force acts on the foot, or one is not given in the ground frame.
        opensim_nem2e.errors.NEM2EError
            A file is missing or cannot be read.
        """
        torque = np.zeros(self.origins.shape[:2])
        for force, point in self._forces(external_loads_file):
            moment = np.cross(point[:, None] - self.origins, force[:, None])
            torque += (self.spins * moment).sum(axis=-1) + (self.slides * force[:, None]).sum(axis=-1)
        return JointLoads(torque)

    def ground_reaction(self, external_loads_file: str | os.PathLike[str]) -> GroundReaction:
        """Take the ground's force on the foot in the leg's plane, as the paper does.

        Parameters
        ----------
        external_loads_file : str or os.PathLike
            As for :meth:`ground_torque`.

        Returns
        -------
        GroundReaction
            At the motion's rows, from the hip.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            As for :meth:`ground_torque`.
        """
        found = self._forces(external_loads_file)
        force = np.array([_in_plane(values, self.heading) for values, _ in found])
        point = np.array([_in_plane(values - self.origins[:, 0], self.heading) for _, values in found])
        if len(found) == 1:
            return GroundReaction(force[0], point[0])
        total = force.sum(axis=0)
        loaded = total[:, 1] > _LOADED
        weight = np.where(loaded, total[:, 1], 1.0)
        # The point at the mean height at which the total has the same moment.
        height = (point[..., 1] * force[..., 1]).sum(axis=0) / weight
        moment = (point[..., 0] * force[..., 1] - point[..., 1] * force[..., 0]).sum(axis=0)
        place = np.column_stack([(moment + height * total[:, 0]) / weight, height])
        return GroundReaction(np.where(loaded[:, None], total, 0.0), np.where(loaded[:, None], place, 0.0))

    def _forces(self, external_loads_file: str | os.PathLike[str]) -> list[tuple[Array, Array]]:
        """Return force and point of every plate under the foot, each (rows, 3)."""
        found = []
        for load in read_external_loads(external_loads_file):
            if load.applied_to_body not in self.bodies:
                continue
            if load.force_expressed_in_body.rsplit("/", 1)[-1] != "ground":
                raise ModelError(
                    f"{os.fspath(external_loads_file)}: the force '{load.name}' on a planar leg must be expressed in "
                    f"the ground frame; found '{load.force_expressed_in_body}'."
                )
            series = read_storage(load.data_file)
            labels = [f"{name}{axis}" for name in (load.force_identifier, load.point_identifier) for axis in "xyz"]
            values = interpolate(series.time, series.select(labels), self.motion.time)
            found.append((values[:, :3], values[:, 3:]))
        if not found:
            raise ModelError(
                f"{os.fspath(external_loads_file)}: a force on the foot ({', '.join(self.bodies)}) is needed; there is "
                "none."
            )
        return found


def _in_plane(vectors: Array, heading: float) -> Array:
    """Project onto forward and up."""
    forward = np.array([np.cos(heading), 0.0, np.sin(heading)])
    return np.stack([vectors @ forward, vectors[..., 1]], axis=-1)


def _turned(vectors: Array, angle: Array) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * vectors[:, 0] - sin * vectors[:, 1], sin * vectors[:, 0] + cos * vectors[:, 1]], axis=-1)


def _slope(time: Array, values: Array, order: int = 1) -> Array:
    """Differentiate by a quintic spline, as OpenSim does."""
    from scipy.interpolate import make_interp_spline

    slope: Array = make_interp_spline(time, values, k=5)(time, order)
    return slope


def segment_lengths(model_file: str | os.PathLike[str], joints: Sequence[str]) -> tuple[float, float, float]:
    """Measure thigh, shank and pelvis of a model in its default posture.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    joints : sequence of str
        The coordinates of hip, knee and ankle.

    Returns
    -------
    thigh, shank : float
        From joint to joint (m).
    hips : float
        From hip to hip: twice as far as this hip lies beside the middle of the pelvis (m).

    Raises
    ------
    opensim_nem2e.errors.OpenSimRunError
        OpenSim failed.
    """
    found = run_model_job("measure_leg", model_file, {"joints": list(joints), "coordinates": [], "q": [[]]})
    thigh, shank = np.linalg.norm(np.diff(found["origins"][0], axis=0), axis=1)
    return float(thigh), float(shank), 2.0 * abs(float(found["hip"][2]))
