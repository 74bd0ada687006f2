"""The Hill muscle against OpenSim's own DeGrooteFregly2016Muscle, and its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal import hill
from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.storage.osim import read_model

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")

#: Three unlike muscles: the defaults; a pennate, damped one with a long tendon; a wide active curve and stiff passive
#: one.
MUSCLES = HillMuscles(
    names=("plain", "pennate", "wide"),
    max_isometric_force=np.array([1000.0, 5137.0, 420.0]),
    optimal_fiber_length=np.array([0.1, 0.044, 0.083]),
    tendon_slack_length=np.array([0.2, 0.277, 0.05]),
    pennation_angle_at_optimal=np.array([0.0, 0.49, 0.21]),
    max_contraction_velocity=np.array([10.0, 15.0, 8.0]),
    fiber_damping=np.array([0.0, 0.01, 0.1]),
    tendon_strain=np.array([0.049, 0.033, 0.1]),
    passive_strain=np.array([0.6, 0.7, 0.45]),
    active_width_scale=np.array([1.0, 1.0, 1.5]),
)


def opensim_muscles():
    """Return OpenSim's three muscles, each along its own slider, so that length and velocity can be set."""
    model = opensim.Model()
    model.setGravity(opensim.Vec3(0))
    for i, name in enumerate(MUSCLES.names):
        body = opensim.Body(f"body{i}", 1.0, opensim.Vec3(0), opensim.Inertia(1, 1, 1))
        model.addBody(body)
        joint = opensim.SliderJoint(f"slider{i}", model.getGround(), body)
        joint.updCoordinate().setName(f"length{i}")
        model.addJoint(joint)
        muscle = opensim.DeGrooteFregly2016Muscle()
        muscle.setName(name)
        muscle.setMaxIsometricForce(MUSCLES.max_isometric_force[i])
        muscle.setOptimalFiberLength(MUSCLES.optimal_fiber_length[i])
        muscle.setTendonSlackLength(MUSCLES.tendon_slack_length[i])
        muscle.setPennationAngleAtOptimalFiberLength(MUSCLES.pennation_angle_at_optimal[i])
        muscle.setMaxContractionVelocity(MUSCLES.max_contraction_velocity[i])
        muscle.set_fiber_damping(MUSCLES.fiber_damping[i])
        muscle.set_tendon_strain_at_one_norm_force(MUSCLES.tendon_strain[i])
        muscle.set_passive_fiber_strain_at_one_norm_force(MUSCLES.passive_strain[i])
        muscle.set_active_force_width_scale(MUSCLES.active_width_scale[i])
        muscle.set_ignore_tendon_compliance(True)
        muscle.addNewPathPoint("origin", model.getGround(), opensim.Vec3(0))
        muscle.addNewPathPoint("insertion", body, opensim.Vec3(0))
        model.addForce(muscle)
    model.finalizeConnections()
    return model, [opensim.DeGrooteFregly2016Muscle.safeDownCast(model.getMuscles().get(i)) for i in range(3)]


def grid(rows=400, seed=0):
    """Return activations, lengths and velocities over all that the curves are meant for; (rows, muscles)."""
    rng = np.random.default_rng(seed)
    activation = rng.uniform(0.01, 1.0, (rows, 3))
    fiber = rng.uniform(0.4, 1.7, (rows, 3)) * MUSCLES.optimal_fiber_length
    along = np.sqrt(np.maximum(fiber**2 - MUSCLES.fiber_width**2, (0.2 * MUSCLES.optimal_fiber_length) ** 2))
    length = MUSCLES.tendon_slack_length + along
    velocity = rng.uniform(-1.0, 1.0, (rows, 3)) * MUSCLES.optimal_fiber_length * MUSCLES.max_contraction_velocity
    return activation, length, velocity


def set_state(model, state, muscles, activation, length, velocity):
    for i, muscle in enumerate(muscles):
        coordinate = model.getCoordinateSet().get(i)
        coordinate.setValue(state, length[i], False)
        coordinate.setSpeedValue(state, velocity[i])
        muscle.setActivation(state, activation[i])


def test_every_curve_is_opensims():
    _, muscles = opensim_muscles()
    lengths = np.linspace(0.2, 1.8, 161)
    velocities = np.linspace(-1.2, 1.2, 161)
    tendons = np.linspace(0.98, 1.1, 101)
    for i, muscle in enumerate(muscles):
        strain, width, tendon = MUSCLES.passive_strain[i], MUSCLES.active_width_scale[i], MUSCLES.tendon_strain[i]
        for ours, theirs, points in (
            (hill.active_force_length(lengths, width), muscle.calcActiveForceLengthMultiplier, lengths),
            (hill.passive_force_length(lengths, strain), muscle.calcPassiveForceMultiplier, lengths),
            (hill.force_velocity(velocities), muscle.calcForceVelocityMultiplier, velocities),
            (hill.tendon_force_length(tendons, tendon), muscle.calcTendonForceMultiplier, tendons),
        ):
            np.testing.assert_allclose(ours, [theirs(float(x)) for x in points], rtol=1e-10, atol=1e-12)


def test_rigid_force_is_opensims():
    model, muscles = opensim_muscles()
    state = model.initSystem()
    activation, length, velocity = grid()
    force = MUSCLES.rigid_force(activation, length, velocity)
    theirs = np.empty_like(force)
    for row in range(len(force)):
        set_state(model, state, muscles, activation[row], length[row], velocity[row])
        model.realizeDynamics(state)
        theirs[row] = [muscle.getActuation(state) for muscle in muscles]
    # Where damping makes the sum cross zero, a relative error means nothing: N are compared with F0 there.
    np.testing.assert_allclose(force, theirs, rtol=1e-6, atol=1e-9 * MUSCLES.max_isometric_force.min())
    assert np.ptp(theirs, axis=0).min() > 100.0


def test_torch_and_numpy_are_one_formula():
    activation, length, velocity = grid()
    tensors = [torch.as_tensor(array) for array in (activation, length, velocity)]
    muscles = MUSCLES.to_torch()
    assert muscles.max_isometric_force.dtype == torch.float64
    ours, theirs = MUSCLES.rigid_force(activation, length, velocity), muscles.rigid_force(*tensors)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-9, atol=1e-9)
    # Batches of any shape.
    batch = [tensor.reshape(8, 50, 3) for tensor in tensors]
    assert torch.equal(muscles.rigid_force(*batch).reshape(-1, 3), muscles.rigid_force(*tensors))


def test_gradients():
    activation, length, velocity = (torch.as_tensor(array[:12], dtype=torch.float64) for array in grid(seed=5))
    inputs = [tensor.clone().requires_grad_() for tensor in (activation, length, velocity)]
    muscles = MUSCLES.to_torch()
    # In F0, so that the three muscles weigh the same.
    assert torch.autograd.gradcheck(
        lambda *x: muscles.rigid_force(*x) / muscles.max_isometric_force, inputs, eps=1e-7, atol=1e-5, rtol=1e-5
    )


def test_parameters_can_be_learned():
    activation, length, velocity = (torch.as_tensor(array) for array in grid(20))
    muscles = MUSCLES.to_torch()
    muscles.optimal_fiber_length.requires_grad_()
    muscles.rigid_force(activation, length, velocity).sum().backward()
    assert torch.isfinite(muscles.optimal_fiber_length.grad).all()
    assert (muscles.optimal_fiber_length.grad != 0).all()


def assert_as_replaced(path):
    """Compare the parameters with those of OpenSim's own replacement of the model's muscles."""
    model = opensim.Model(str(path))
    model.initSystem()
    opensim.DeGrooteFregly2016Muscle.replaceMuscles(model)
    ours = HillMuscles.from_model(read_model(path))
    found = model.getMuscles()
    assert found.getSize() == len(ours.names)
    for i, name in enumerate(ours.names):
        theirs = opensim.DeGrooteFregly2016Muscle.safeDownCast(found.get(name))
        assert (
            ours.max_isometric_force[i],
            ours.optimal_fiber_length[i],
            ours.tendon_slack_length[i],
            ours.pennation_angle_at_optimal[i],
            ours.max_contraction_velocity[i],
            ours.fiber_damping[i],
            ours.tendon_strain[i],
            ours.passive_strain[i],
            ours.active_width_scale[i],
        ) == (
            theirs.getMaxIsometricForce(),
            theirs.getOptimalFiberLength(),
            theirs.getTendonSlackLength(),
            theirs.getPennationAngleAtOptimalFiberLength(),
            theirs.getMaxContractionVelocity(),
            theirs.get_fiber_damping(),
            theirs.get_tendon_strain_at_one_norm_force(),
            theirs.get_passive_fiber_strain_at_one_norm_force(),
            theirs.get_active_force_width_scale(),
        ), name


def test_parameters_of_the_example(repository):
    assert_as_replaced(repository / "examples" / "01_refine_walking" / "walker.osim")


def test_parameters_of_real_models(shared_data):
    for name in (
        "walk_3d_example/subject_walk_scaled.osim",
        "ceinms_lower_limb/gait2392_58kg_strength2.osim",
        "opensim_pipelines/Gait10dof18musc/subject01.osim",
    ):
        assert_as_replaced(shared_data / name)


def test_unknown_muscle(repository):
    model = read_model(repository / "examples" / "01_refine_walking" / "walker.osim")
    first = next(iter(model.muscles))
    with pytest.raises(ModelError, match=f"no muscle '{first}x'. Did you mean '{first}'"):
        HillMuscles.from_model(model, [f"{first}x"])


def test_foreign_muscle_class(repository, tmp_path):
    text = (repository / "examples" / "01_refine_walking" / "walker.osim").read_text()
    kind = next(
        iter(read_model(repository / "examples" / "01_refine_walking" / "walker.osim").muscles.values())
    ).class_name
    path = tmp_path / "foreign.osim"
    path.write_text(text.replace(kind, "Schutte1993Muscle_Deprecated"))
    with pytest.raises(ModelError, match="is a Schutte1993Muscle_Deprecated"):
        HillMuscles.from_model(read_model(path))
