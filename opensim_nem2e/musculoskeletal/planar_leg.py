"""A planar leg with hip, knee and ankle: ``M(q) q'' + C(q, q') q' + G(q) = tau`` (PI-MJCA-BiGRU, section II-D).

The hip is the origin of the world frame (x forward, y upward); the three coordinates are the joint angles,
counter-clockwise positive. With all of them 0 each segment hangs along -y. A segment's centre of mass is given in the
frame of its proximal joint; the next joint lies ``length`` below the proximal one, on the segment's -y axis.

The paper holds the hip still and takes the hip's flexion for the thigh's angle. Neither is so when somebody walks: the
pelvis tilts, which is added to the first angle (:class:`.dynamics.PlanarDynamics` does so), and the hip is accelerated,
which acts on the segments as if gravity had changed (``hip_acceleration``). Nor do joints lie where the lengths put
them, with axes that look sideways: what the ground's force does at each of them can be taken from their true centres
and axes in the spatial model (:class:`.model_leg.ModelLeg`).

All matrices follow from the Lagrangian (equations 25 to 30 of the paper): M from the kinetic energy, C from the
Christoffel symbols of M, G from the potential energy. For a chain of planar segments, with the absolute angle
``theta_k`` of segment k (the sum of the joint angles up to it), the position of each centre of mass is a sum of vectors
that turn with ``theta``; in these angles the kinetic energy is ``1/2 theta'^T A(theta) theta'`` with ``A_kl = a_kl .
R(theta_l - theta_k)``, a constant vector rotated by the difference of two angles, which makes all derivatives short
closed formulas.

Batched and differentiable; numpy arrays or torch tensors.

References
----------
Ma, S., Huang, Z., Cao, Y., et al. Multi-joint physics-informed deep learning framework for time-efficient inverse
dynamics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError
from .arrays import AnyArray, like, namespace

#: m/s^2, as in OpenSim's models.
GRAVITY = 9.80665


@dataclass(frozen=True, eq=False)
class PlanarLeg:
    """A chain of rigid segments with one hinge each; three for a leg (thigh, shank, foot).

    Parameters
    ----------
    masses : array_like, shape (segments,)
        kg.
    inertias : array_like, shape (segments,)
        Moments of inertia about the centres of mass, kg m^2.
    lengths : array_like, shape (segments,)
        Distance from the proximal to the distal joint, m. That of the last segment plays no part in the dynamics.
    centers : array_like, shape (segments, 2)
        Centres of mass (x, y) in the frame of the proximal joint, m.
    gravity : float
        m/s^2.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The shapes do not fit.
    """

    masses: Any
    inertias: Any
    lengths: Any
    centers: Any
    gravity: float = GRAVITY

    def __post_init__(self) -> None:
        count = len(self.masses)
        shapes = [np.shape(value) for value in (self.masses, self.inertias, self.lengths, self.centers)]
        if shapes != [(count,), (count,), (count,), (count, 2)]:
            raise ModelError(
                "masses, inertias and lengths must be (segments,) and centers (segments, 2); found "
                + ", ".join(str(shape) for shape in shapes)
            )

    def mass_matrix(self, q: AnyArray) -> AnyArray:
        """Return M.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., joints)
            Joint angles, rad.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., joints, joints)
            kg m^2.
        """
        inertia, _ = self._in_absolute_angles(q)
        return _to_joints(inertia)

    def coriolis_matrix(self, q: AnyArray, qdot: AnyArray) -> AnyArray:
        """Return C from the Christoffel symbols of M (so that M' - 2 C is skew-symmetric).

        Parameters
        ----------
        q, qdot : numpy.ndarray or torch.Tensor, shape (..., joints)
            Joint angles and velocities, rad and rad/s.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., joints, joints)
            kg m^2/s; ``C @ qdot`` is the torque.
        """
        _, turned = self._in_absolute_angles(q)
        # In absolute angles A_kl depends on theta_l - theta_k alone; the Christoffel symbols then leave C_kl =
        # dA_kl/dtheta_l times theta_l'. The symbols are a tensor up to the second derivatives of the (here linear)
        # change of coordinates.
        omega = namespace(qdot).cumsum(qdot, -1)
        return _to_joints(turned * omega[..., None, :])

    def gravity_torque(self, q: AnyArray, hip_acceleration: AnyArray | None = None) -> AnyArray:
        """Return G, the gradient of the potential energy.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., joints)
            Joint angles, rad.
        hip_acceleration : numpy.ndarray or torch.Tensor, shape (..., 2), optional
            That of the world frame's origin, m/s^2: the segments are as heavy as if gravity pulled the other way by as
            much. None: the hip moves evenly.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., joints)
            Nm.
        """
        xp = namespace(q)
        theta = xp.cumsum(q, -1)
        moments = like(np.einsum("s,ska->ka", np.asarray(self.masses, dtype=float), self._arms()), q)
        cos, sin = xp.cos(theta), xp.sin(theta)
        # R(theta) (x, y) is (x cos - y sin, x sin + y cos); its slopes along theta are those of place and height.
        raised = moments[:, 0] * cos - moments[:, 1] * sin
        if hip_acceleration is None:
            return _sum_of_distal(self.gravity * raised)
        moved = -moments[:, 0] * sin - moments[:, 1] * cos
        return _sum_of_distal(
            (self.gravity + hip_acceleration[..., None, 1]) * raised + hip_acceleration[..., None, 0] * moved
        )

    def inverse_dynamics(
        self,
        q: AnyArray,
        qdot: AnyArray,
        qddot: AnyArray,
        external: AnyArray | float = 0.0,
        hip_acceleration: AnyArray | None = None,
    ) -> AnyArray:
        """Return the joint torques that muscles must produce (equations 23 and 24).

        Parameters
        ----------
        q, qdot, qddot : numpy.ndarray or torch.Tensor, shape (..., joints)
            Angles, velocities and accelerations, rad, rad/s, rad/s^2.
        external : array, shape (..., joints), optional
            Torques of external forces (:meth:`external_torque`), Nm.
        hip_acceleration : numpy.ndarray or torch.Tensor, shape (..., 2), optional
            As for :meth:`gravity_torque`.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., joints)
            Nm.
        """
        inertial = (self.mass_matrix(q) @ qddot[..., None])[..., 0]
        centrifugal = (self.coriolis_matrix(q, qdot) @ qdot[..., None])[..., 0]
        return inertial + centrifugal + self.gravity_torque(q, hip_acceleration) - external

    def external_torque(self, q: AnyArray, force: AnyArray, point: AnyArray) -> AnyArray:
        """Return the joint torques of a force on the last segment, such as the ground reaction (equation 32).

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., joints)
            Joint angles, rad.
        force : numpy.ndarray or torch.Tensor, shape (..., 2)
            Fx, Fy in the world frame, N.
        point : numpy.ndarray or torch.Tensor, shape (..., 2)
            Where it acts (centre of pressure), in the world frame whose origin is the hip, m.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., joints)
            J^T F, Nm.
        """
        lever = point[..., None, :] - self.joint_positions(q)
        return lever[..., 0] * force[..., None, 1] - lever[..., 1] * force[..., None, 0]

    def joint_positions(self, q: AnyArray) -> AnyArray:
        """Return where the joints are.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., joints)
            Joint angles, rad.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., joints, 2)
            In the world frame, m; the first is the origin.
        """
        xp = namespace(q)
        theta = xp.cumsum(q, -1)
        lengths = like(self.lengths, q)
        steps = xp.stack([lengths * xp.sin(theta), -lengths * xp.cos(theta)], -1)
        ends = xp.cumsum(steps, -2)
        return ends - steps

    def _arms(self) -> np.ndarray:
        """Return the vectors that turn with each angle and add up to a centre of mass; (segment, angle, 2)."""
        count = len(self.masses)
        arms = np.zeros((count, count, 2))
        for segment in range(count):
            arms[segment, :segment, 1] = -np.asarray(self.lengths, dtype=float)[:segment]
            arms[segment, segment] = np.asarray(self.centers, dtype=float)[segment]
        return arms

    def _in_absolute_angles(self, q: Any) -> tuple[Any, Any]:
        """Return the inertia matrix A in absolute angles, and dA_kl/dtheta_l; (..., angles, angles)."""
        xp = namespace(q)
        theta = xp.cumsum(q, -1)
        arms = self._arms()
        masses = np.asarray(self.masses, dtype=float)
        # a . R(d) b = (a . b) cos d + (a x b)' sin d with a, b turned by theta_k, theta_l and d = theta_l - theta_k.
        along = like(np.einsum("s,ska,sla->kl", masses, arms, arms) + np.diag(np.asarray(self.inertias, float)), q)
        cross = arms[:, :, None, 1] * arms[:, None, :, 0] - arms[:, :, None, 0] * arms[:, None, :, 1]
        across = like(np.einsum("s,skl->kl", masses, cross), q)
        difference = theta[..., None, :] - theta[..., :, None]
        cos, sin = xp.cos(difference), xp.sin(difference)
        return along * cos + across * sin, across * cos - along * sin


def _to_joints(matrix: Any) -> Any:
    """Go from absolute angles to joint angles: each joint turns all segments beyond it."""
    rows = _sum_of_distal(matrix.swapaxes(-1, -2))
    return _sum_of_distal(rows.swapaxes(-1, -2))


def _sum_of_distal(values: Any) -> Any:
    """Sum over the last axis from each entry to the end."""
    xp = namespace(values)
    flipped = xp.flip(values, (-1,))
    return xp.flip(xp.cumsum(flipped, -1), (-1,))
