"""The planar leg against OpenSim's own inverse dynamics on the same leg, and against the Lagrangian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.planar_leg import PlanarLeg

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")

#: Thigh, shank and foot of a man of 75 kg; the centres of mass are not on the segments' axes.
LEG = PlanarLeg(
    masses=[9.3, 3.7, 1.25],
    inertias=[0.134, 0.0504, 0.0041],
    lengths=[0.41, 0.43, 0.0],
    centers=[[0.01, -0.17], [-0.006, -0.187], [0.06, -0.03]],
)


def opensim_leg(gravity=(0.0, -LEG.gravity)):
    """Build the same leg in OpenSim: three pins about z."""
    model = opensim.Model()
    model.setGravity(opensim.Vec3(*gravity, 0))
    parent, where = model.getGround(), opensim.Vec3(0)
    for i, name in enumerate(("hip", "knee", "ankle")):
        x, y = LEG.centers[i]
        inertia = opensim.Inertia(0.01, 0.01, LEG.inertias[i])
        body = opensim.Body(f"segment{i}", LEG.masses[i], opensim.Vec3(x, y, 0), inertia)
        model.addBody(body)
        zero = opensim.Vec3(0)
        joint = opensim.PinJoint(name, parent, where, zero, body, zero, zero)
        joint.updCoordinate().setName(name)
        model.addJoint(joint)
        parent, where = body, opensim.Vec3(0, -LEG.lengths[i], 0)
    model.finalizeConnections()
    return model


def motions(rows=50, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-2, 2, (rows, 3)), rng.uniform(-8, 8, (rows, 3)), rng.uniform(-90, 90, (rows, 3))


# A hip that is accelerated, seen from the hip: gravity pulls the other way by as much.
@pytest.mark.parametrize("acceleration", [None, (2.5, -4.0)])
def test_inverse_dynamics_is_opensims(acceleration):
    x, y = acceleration or (0.0, 0.0)
    model = opensim_leg((-x, -LEG.gravity - y))
    state = model.initSystem()
    solver = opensim.InverseDynamicsSolver(model)
    q, qdot, qddot = motions()
    moving = None if acceleration is None else np.tile(acceleration, (len(q), 1))
    ours = LEG.inverse_dynamics(q, qdot, qddot, hip_acceleration=moving)
    for row in range(len(q)):
        for i in range(3):
            coordinate = model.getCoordinateSet().get(i)
            coordinate.setValue(state, q[row, i], False)
            coordinate.setSpeedValue(state, qdot[row, i])
        theirs = solver.solve(state, opensim.Vector(qddot[row].tolist())).to_numpy()
        np.testing.assert_allclose(ours[row], theirs, rtol=1e-9, atol=1e-9)
    assert np.abs(ours).max() > 100.0


def test_ground_reaction_is_opensims():
    model = opensim_leg()
    state = model.initSystem()
    rng = np.random.default_rng(2)
    q = rng.uniform(-1, 1, (20, 3))
    force = rng.uniform(-900, 900, (20, 2))
    inside = np.array([0.11, -0.06, 0.0])  # in the foot
    smss = model.getMatterSubsystem()
    body = model.getBodySet().get("segment2")
    for row in range(len(q)):
        for i in range(3):
            model.getCoordinateSet().get(i).setValue(state, q[row, i], False)
        model.realizePosition(state)
        point = body.findStationLocationInGround(state, opensim.Vec3(*inside)).to_numpy()
        found = opensim.Vector()
        smss.multiplyByStationJacobianTranspose(
            state,
            body.getMobilizedBodyIndex(),
            opensim.Vec3(*inside),
            opensim.Vec3(force[row, 0], force[row, 1], 0),
            found,
        )
        ours = LEG.external_torque(q[row], force[row], point[:2])
        np.testing.assert_allclose(ours, found.to_numpy(), rtol=1e-9, atol=1e-9)
        ankle = model.getJointSet().get("ankle").getParentFrame().getPositionInGround(state).to_numpy()
        np.testing.assert_allclose(LEG.joint_positions(q[row])[2], ankle[:2], atol=1e-12)


def kinetic_energy(q, qdot):
    """Write the kinetic energy down as in equation 26, from the positions of the centres of mass."""
    theta, omega = torch.cumsum(q, -1), torch.cumsum(qdot, -1)
    total = 0.0
    joint = torch.zeros(2, dtype=q.dtype)
    for k in range(3):
        x, y = LEG.centers[k]
        c, s = torch.cos(theta[k]), torch.sin(theta[k])
        turned = torch.stack([c * x - s * y, s * x + c * y])
        velocity = joint + omega[k] * torch.stack([-turned[1], turned[0]])
        total = total + 0.5 * LEG.masses[k] * (velocity**2).sum() + 0.5 * LEG.inertias[k] * omega[k] ** 2
        joint = joint + omega[k] * LEG.lengths[k] * torch.stack([c, s])
    return total


angles = st.lists(st.floats(-3, 3), min_size=3, max_size=3)


@given(angles, angles)
@settings(max_examples=25, deadline=None)
def test_matrices_are_those_of_the_lagrangian(q, qdot):
    q, qdot = torch.tensor(q, dtype=torch.float64), torch.tensor(qdot, dtype=torch.float64)
    expected = torch.autograd.functional.hessian(lambda speed: kinetic_energy(q, speed), qdot)
    mass = LEG.mass_matrix(q)
    torch.testing.assert_close(mass, expected)
    torch.testing.assert_close(mass, mass.T)
    assert torch.linalg.eigvalsh(mass).min() > 0
    # Equation 29: the Christoffel symbols of M, by automatic differentiation.
    slope = torch.autograd.functional.jacobian(LEG.mass_matrix, q)
    symbols = 0.5 * (slope + slope.transpose(1, 2) - slope.permute(2, 0, 1))
    torch.testing.assert_close(LEG.coriolis_matrix(q, qdot), symbols @ qdot)


def test_gradients_and_batches():
    q, qdot, qddot = (torch.as_tensor(array[:6]) for array in motions(seed=4))
    inputs = [tensor.clone().requires_grad_() for tensor in (q, qdot, qddot)]
    assert torch.autograd.gradcheck(LEG.inverse_dynamics, inputs)
    moving = torch.as_tensor([[2.0, -3.0]], dtype=torch.float64).expand(6, 2).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda angles, a: LEG.gravity_torque(angles, a), [inputs[0], moving])
    batched = LEG.inverse_dynamics(*(tensor.reshape(2, 3, 3) for tensor in (q, qdot, qddot)))
    torch.testing.assert_close(batched.reshape(6, 3), LEG.inverse_dynamics(q, qdot, qddot))
    np.testing.assert_allclose(batched.reshape(6, 3), LEG.inverse_dynamics(q.numpy(), qdot.numpy(), qddot.numpy()))


def test_shapes_must_fit():
    with pytest.raises(ModelError, match=r"centers \(segments, 2\)"):
        PlanarLeg([1.0], [1.0], [1.0], [1.0])
