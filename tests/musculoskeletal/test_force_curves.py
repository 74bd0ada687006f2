"""Force curves of OpenSim's own muscle classes against OpenSim, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opensim_nem2e.musculoskeletal.elastic_tendons import ElasticTendons
from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.storage.osim import read_model

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")


def thelen(name, **values):
    muscle = opensim.Thelen2003Muscle(name, 1000.0, 0.1, 0.2, 0.0)
    for key, value in values.items():
        getattr(muscle, f"set_{key}")(value)
    return muscle


def millard(name, **values):
    muscle = opensim.Millard2012EquilibriumMuscle(name, 1000.0, 0.1, 0.2, 0.0)
    for key, value in values.items():
        getattr(muscle, f"set_{key}")(value)
    return muscle


def degroote(name, **values):
    muscle = opensim.DeGrooteFregly2016Muscle()
    muscle.setName(name)
    for key, value in values.items():
        getattr(muscle, f"set_{key}")(value)
    return muscle


def odd_millard():
    """Return a muscle whose curves are all but the defaults."""
    muscle = millard("odd_millard", max_isometric_force=2345.0, pennation_angle_at_optimal=0.4, fiber_damping=0.05)
    active = muscle.upd_ActiveForceLengthCurve()
    active.set_min_norm_active_fiber_length(0.5)
    active.set_transition_norm_fiber_length(0.7)
    active.set_max_norm_active_fiber_length(1.7)
    active.set_shallow_ascending_slope(0.7)
    velocity = muscle.upd_ForceVelocityCurve()
    velocity.set_concentric_slope_near_vmax(0.15)
    velocity.set_isometric_slope(4.0)
    velocity.set_eccentric_slope_near_vmax(0.2)
    velocity.set_max_eccentric_velocity_force_multiplier(1.6)
    velocity.set_concentric_curviness(0.5)
    velocity.set_eccentric_curviness(0.7)
    passive = muscle.upd_FiberForceLengthCurve()
    passive.set_strain_at_zero_force(0.05)
    passive.set_strain_at_one_norm_force(0.6)
    passive.set_stiffness_at_low_force(0.3)
    passive.set_stiffness_at_one_norm_force(5.0)
    passive.set_curviness(0.5)
    tendon = muscle.upd_TendonForceLengthCurve()
    tendon.set_strain_at_one_norm_force(0.06)
    tendon.set_stiffness_at_one_norm_force(25.0)
    tendon.set_norm_force_at_toe_end(0.5)
    tendon.set_curviness(0.6)
    return muscle


def muscles():
    odd = {"KshapeActive": 0.5, "KshapePassive": 4.0, "FmaxMuscleStrain": 0.5, "Af": 0.3, "Flen": 1.8}
    odd["FmaxTendonStrain"] = 0.06
    return [
        thelen("thelen"),
        thelen("odd_thelen", pennation_angle_at_optimal=0.5, fv_linear_extrap_threshold=0.9, **odd),
        millard("millard"),
        millard("tense_millard", fiber_damping=0.0, pennation_angle_at_optimal=0.2),
        odd_millard(),
        degroote("degroote", pennation_angle_at_optimal=0.3, fiber_damping=0.01),
    ]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Write a model of six muscles, each along its own slider."""
    model = opensim.Model()
    model.setGravity(opensim.Vec3(0))
    for number, muscle in enumerate(muscles()):
        body = opensim.Body(f"body{number}", 1.0, opensim.Vec3(0), opensim.Inertia(1, 1, 1))
        model.addBody(body)
        joint = opensim.SliderJoint(f"slider{number}", model.getGround(), body)
        joint.updCoordinate().setName(f"length{number}")
        model.addJoint(joint)
        muscle.addNewPathPoint("origin", model.getGround(), opensim.Vec3(0))
        muscle.addNewPathPoint("insertion", body, opensim.Vec3(0))
        model.addForce(muscle)
    model.finalizeConnections()
    path = tmp_path_factory.mktemp("curves") / "curves.osim"
    model.printToXML(str(path))
    return path


@pytest.fixture(scope="module")
def hill(model_file):
    return HillMuscles.from_model(read_model(model_file), curves="own")


def grid(hill, rows=400, seed=0):
    """Return lengths from slack to far stretched, and velocities beyond the fastest; (rows, muscles)."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(hill.names))
    length = hill.tendon_slack_length + rng.uniform(-0.2, 1.8, shape) * hill.optimal_fiber_length
    velocity = rng.uniform(-1.2, 1.2, shape) * hill.optimal_fiber_length * hill.max_contraction_velocity
    return rng.uniform(0.02, 1.0, shape), length, velocity


def test_active_force_is_the_one_that_static_optimization_uses(model_file):
    hill = HillMuscles.from_model(read_model(model_file), curves="static_optimization")
    activation, length, velocity = grid(hill)
    model = opensim.Model(str(model_file))
    state = model.initSystem()
    found = [model.getMuscles().get(name) for name in hill.names]
    theirs = np.empty((2, *length.shape))
    for row in range(len(length)):
        for i in range(len(found)):
            coordinate = model.getCoordinateSet().get(i)
            coordinate.setValue(state, length[row, i], False)
            coordinate.setSpeedValue(state, velocity[row, i])
        model.realizeVelocity(state)
        for i, muscle in enumerate(found):
            for k, value in enumerate((1.0, float(activation[row, i]))):
                theirs[k, row, i] = muscle.calcInextensibleTendonActiveFiberForce(state, value)
    active, _ = hill.rigid_terms(length, velocity)
    # OpenSim finds Thelen's force-velocity multiplier by iteration, to 1e-6 of the velocity.
    np.testing.assert_allclose(active, theirs[0], atol=2e-5 * hill.max_isometric_force.min())
    passive = hill.rigid_force(0.0, length, velocity)
    force = hill.rigid_force(activation, length, velocity) - passive
    np.testing.assert_allclose(force, theirs[1], atol=2e-5 * hill.max_isometric_force.min())
    assert (np.ptp(theirs[0], axis=0) > 500.0).all()
    assert ((theirs[0] == 0.0).mean(axis=0)[:5] > 0.05).all()
    # Thelen's force is not linear in the activation, Millard's is.
    share = np.abs(force - activation * active).max(axis=0)
    assert (share[:2] > 10.0).all()
    assert share[2:].max() < 1e-9


def test_force_of_a_rigid_tendon_is_opensims(model_file, tmp_path):
    model = opensim.Model(str(model_file))
    found = [model.getMuscles().get(i) for i in range(6)]
    for muscle in found[2:]:
        muscle.set_ignore_tendon_compliance(True)
    rigid = tmp_path / "rigid.osim"
    model.printToXML(str(rigid))
    hill = HillMuscles.from_model(read_model(rigid), curves="own")
    activation, length, velocity = grid(hill, 200, seed=1)
    length = np.maximum(length, hill.tendon_slack_length + 0.6 * hill.optimal_fiber_length)
    state = model.initSystem()
    _, passive = hill.rigid_terms(length, velocity)
    force, pushes = hill.rigid_force(activation, length, velocity), 0
    for row in range(len(length)):
        for i in range(2, 6):
            coordinate = model.getCoordinateSet().get(i)
            coordinate.setValue(state, length[row, i], False)
            coordinate.setSpeedValue(state, velocity[row, i])
            kind = opensim.DeGrooteFregly2016Muscle if i == 5 else opensim.Millard2012EquilibriumMuscle
            kind.safeDownCast(found[i]).setActivation(state, activation[row, i])
        model.realizeDynamics(state)
        for i in range(2, 6):
            # OpenSim cuts the damping of Millard's muscle off where it would make the fiber push.
            ours = force[row, i] if i == 5 else max(force[row, i], 0.0)
            assert ours == pytest.approx(found[i].getFiberForceAlongTendon(state), abs=1e-4)
            pushes += force[row, i] < 0.0
        # Thelen's muscle has no rigid tendon: its passive curve is looked at where its fiber has this length.
        for i in range(2):
            muscle = opensim.Thelen2003Muscle.safeDownCast(found[i])
            fiber = np.hypot(length[row, i] - hill.tendon_slack_length[i], hill.fiber_width[i])
            muscle.setFiberLength(state, float(fiber))
        model.realizePosition(state)
        for i in range(2):
            multiplier = found[i].getPassiveForceMultiplier(state)
            cosine = found[i].getCosPennationAngle(state)
            theirs = multiplier * hill.max_isometric_force[i] * cosine
            assert passive[row, i] == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    assert passive[:, :2].max() > 500.0
    assert 0 < pushes < 300


def test_elastic_tendons_at_rest_carry_opensims_force(model_file, hill):
    """Muscles of all classes whose length does not change: the force is that of OpenSim's equilibrium."""
    model = opensim.Model(str(model_file))
    state = model.initSystem()
    found = [model.getMuscles().get(i) for i in range(6)]
    time = np.linspace(0.0, 2.0, 101)
    for stretch, activation in ((0.9, 0.05), (1.1, 0.5), (1.3, 1.0)):
        length = 1.02 * hill.tendon_slack_length + stretch * hill.optimal_fiber_length
        tendons = ElasticTendons(hill, time, np.tile(length, (time.size, 1)))
        along, speed, _ = tendons.fibers(np.full((time.size, 6), activation))
        force = hill.tendon_force(length - along[-1])
        np.testing.assert_allclose(speed[-1], 0.0, atol=1e-5)
        for i, muscle in enumerate(found):
            coordinate = model.getCoordinateSet().get(i)
            coordinate.setValue(state, length[i], False)
            coordinate.setSpeedValue(state, 0.0)
            muscle.setActivation(state, activation)
        model.equilibrateMuscles(state)
        model.realizeDynamics(state)
        theirs = [muscle.getTendonForce(state) for muscle in found]
        np.testing.assert_allclose(force, theirs, rtol=2e-3, atol=1.0)
        assert min(theirs) > 20.0


def test_torch_is_the_same_and_has_gradients(hill):
    inputs = grid(hill, 40, seed=2)
    tensors = [torch.as_tensor(array) for array in inputs]
    of_torch = hill.to_torch()
    np.testing.assert_allclose(of_torch.rigid_force(*tensors).numpy(), hill.rigid_force(*inputs), rtol=1e-12, atol=1e-9)
    inputs = [tensor[:12].clone().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(
        lambda *x: of_torch.rigid_force(*x) / of_torch.max_isometric_force, inputs, eps=1e-7, atol=1e-4, rtol=1e-4
    )


def test_defaults_are_those_of_opensim(model_file):
    """A file that states nothing of the curves has OpenSim's default ones."""
    found = read_model(model_file).muscles
    plain = found["thelen"].curve_parameters
    assert plain["Flen"] == 1.4
    assert found["odd_thelen"].curve_parameters["Flen"] == 1.8
    assert found["odd_millard"].curve_parameters["ForceVelocityCurve/isometric_slope"] == 4.0
    assert np.isnan(found["millard"].curve_parameters["FiberForceLengthCurve/curviness"])


def test_mixed_classes_stand_in_the_models_order(hill, model_file):
    order = ("millard", "thelen", "degroote", "odd_millard", "odd_thelen")
    some = HillMuscles.from_model(read_model(model_file), order, curves="own")
    columns = [hill.names.index(name) for name in order]
    inputs = grid(hill, 20, seed=3)
    np.testing.assert_array_equal(
        some.rigid_force(*(array[:, columns] for array in inputs)), hill.rigid_force(*inputs)[:, columns]
    )
