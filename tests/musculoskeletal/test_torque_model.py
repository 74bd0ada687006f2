"""Torques of muscles against OpenSim's own, spatial and planar, in numpy and torch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.dynamics import GroundReaction, JointMotion
from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.musculoskeletal.planar_leg import PlanarLeg
from opensim_nem2e.musculoskeletal.torque_model import TorqueModel
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import read_storage
from opensim_nem2e.storage.labels import find_activation_columns

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")


@pytest.fixture(scope="module")
def model(walking, walking_motion, paths_cache):
    return TorqueModel.of_model(walking / "walker.osim", walking_motion, cache_directory=paths_cache)


@pytest.fixture(scope="module")
def terms(walking, walking_motion, model):
    return model.terms(walking_motion, walking / "external_loads.xml")


def test_torques_are_those_of_opensims_muscles(walking, walking_motion, terms):
    """OpenSim's own replacement of the muscles, with rigid tendons, pulled through the model's own paths."""
    model = opensim.Model(str(walking / "walker.osim"))
    model.initSystem()
    opensim.DeGrooteFregly2016Muscle.replaceMuscles(model)
    muscles = [opensim.DeGrooteFregly2016Muscle.safeDownCast(model.getMuscles().get(name)) for name in terms.muscles]
    for muscle in muscles:
        muscle.set_ignore_tendon_compliance(True)
    state = model.initSystem()
    activations = np.random.default_rng(5).uniform(0.02, 0.9, (len(terms.time), len(terms.muscles)))
    ours = terms.torques(activations)
    assert not terms.outside.any()
    largest = np.abs(ours).max(axis=0)
    for row in range(0, len(terms.time), 20):
        for name, value, speed in zip(
            walking_motion.coordinates, walking_motion.q[row], walking_motion.qdot[row], strict=True
        ):
            model.getCoordinateSet().get(name).setValue(state, value, False)
            model.getCoordinateSet().get(name).setSpeedValue(state, speed)
        for muscle, activation in zip(muscles, activations[row], strict=True):
            muscle.setActivation(state, activation)
        model.realizeDynamics(state)
        forces = np.array([muscle.getActuation(state) for muscle in muscles])
        for column, name in enumerate(terms.coordinates):
            coordinate = model.getCoordinateSet().get(name)
            arms = [muscle.computeMomentArm(state, coordinate) for muscle in muscles]
            # What differs is the fit of the paths.
            assert ours[row, column] == pytest.approx(np.dot(arms, forces), abs=0.03 * largest[column])


def test_terms_are_one_linear_map(terms):
    activations = np.random.default_rng(2).uniform(size=(len(terms.time), len(terms.muscles)))
    expected = np.einsum("rcm,rm->rc", terms.gain, activations) + terms.passive_torque
    np.testing.assert_allclose(terms.torques(activations), expected, rtol=1e-12, atol=1e-9)


def test_cmcs_activations_reproduce_inverse_dynamics_roughly(walking, terms):
    """Another tendon than CMC's, so not exactly; but a sign or unit that is wrong would show."""
    states = read_storage(walking / "cmc" / "walking_states.sto")
    labels = find_activation_columns(states)
    activations = interpolate(states.time, states.select([labels[name] for name in terms.muscles]), terms.time)
    torques = terms.torques(activations)
    for column, name in enumerate(terms.coordinates):
        r = np.corrcoef(torques[:, column], terms.inverse_dynamics[:, column])[0, 1]
        assert r > 0.85, name


def test_chosen_coordinates_and_muscles(walking, walking_motion, terms, paths_cache):
    some = TorqueModel.of_model(
        walking / "walker.osim",
        walking_motion,
        muscles=["soleus_r", "tibant_r"],
        coordinates=["ankle_angle_r"],
        cache_directory=paths_cache,
    ).evaluate(walking_motion)
    assert some.moment_arms.shape == (len(walking_motion.time), 2, 1)
    column = terms.muscles.index("soleus_r")
    np.testing.assert_allclose(some.active[:, 0], terms.active[:, column])
    of_model = partial(TorqueModel.of_model, walking / "walker.osim", walking_motion, cache_directory=paths_cache)
    with pytest.raises(ModelError, match="no muscle turns it"):
        of_model(coordinates=["pelvis_tx"])
    with pytest.raises(ModelError, match=r"none of that name. Did you mean 'ankle_angle_r'"):
        of_model(coordinates=["ankle_angl_r"])


# --- a planar leg -------------------------------------------------------------------------------------------------

#: The right leg of a man of 75 kg.
LEG = PlanarLeg(
    masses=[9.3, 3.7, 1.25],
    inertias=[0.134, 0.0504, 0.0041],
    lengths=[0.41, 0.43, 0.0],
    centers=[[0.01, -0.17], [-0.006, -0.187], [0.06, -0.03]],
)
JOINTS = ("hip_flexion_r", "knee_angle_r", "ankle_angle_r")


@pytest.fixture(scope="module")
def swing(walking_motion):
    """Return the right leg's joints of the walk, with accelerations, in another order than the leg's."""
    columns = [walking_motion.coordinates.index(name) for name in reversed(JOINTS)]
    qdot = walking_motion.qdot[:, columns]
    qddot = np.gradient(qdot, walking_motion.time, axis=0)
    return JointMotion(walking_motion.time, JOINTS[::-1], walking_motion.q[:, columns], qdot, qddot)


class HeldPaths:
    """Paths fitted to the spatial model, with the coordinates that a planar leg does not have held at 0."""

    def __init__(self, paths):
        self._paths, self.muscles, self.coordinates = paths, paths.muscles, JOINTS
        self._columns = [paths.coordinates.index(name) for name in JOINTS]

    def _whole(self, q):
        spread = np.zeros((len(JOINTS), len(self._paths.coordinates)))
        spread[range(len(JOINTS)), self._columns] = 1.0
        return q @ (torch.as_tensor(spread, dtype=q.dtype) if isinstance(q, torch.Tensor) else spread)

    def evaluate(self, q):
        lengths, arms = self._paths.evaluate(self._whole(q))
        return lengths, arms[..., self._columns]

    def velocities(self, moment_arms, qdot):
        return self._paths.velocities(moment_arms, qdot)

    def outside(self, q):
        return self._paths.outside(self._whole(q))[..., self._columns]


@pytest.fixture(scope="module")
def planar(model):
    names = [name for name in model.muscles if name.endswith("_r")]
    hill = replace(model.hill, names=tuple(names))
    chosen = [model.muscles.index(name) for name in names]
    arrays = {key: getattr(hill, key)[chosen] for key in HillMuscles.PARAMETERS}
    return TorqueModel.of_planar_leg(LEG, replace(hill, **arrays), HeldPaths(model.paths.of(names)), JOINTS)


def test_a_planar_leg_needs_what_its_equations_say(planar, swing):
    rng = np.random.default_rng(4)
    loads = GroundReaction(rng.normal(size=(len(swing.time), 2)), rng.normal(size=(len(swing.time), 2)))
    q, qdot, qddot = (values[:, ::-1] for values in (swing.q, swing.qdot, swing.qddot))
    external = LEG.external_torque(q, loads.force, loads.point)
    np.testing.assert_allclose(planar.required(swing, loads), LEG.inverse_dynamics(q, qdot, qddot, external))
    np.testing.assert_allclose(planar.required(swing), LEG.inverse_dynamics(q, qdot, qddot))
    assert np.abs(planar.required(swing)).max() > 10.0


def test_a_knee_that_rises_with_flexion(planar, swing):
    """The same motion in a coordinate of the other sign needs the torque of the other sign there."""
    turned = replace(swing, **{key: getattr(swing, key) * [1.0, -1.0, 1.0] for key in ("q", "qdot", "qddot")})
    other = TorqueModel.of_planar_leg(LEG, planar.hill, planar.paths, JOINTS, directions=(1.0, -1.0, 1.0))
    np.testing.assert_allclose(other.required(turned), planar.required(swing) * [1.0, -1.0, 1.0])


def test_planar_muscles_make_the_spatial_torques(planar, model, swing, walking_motion):
    """Of muscles that span the three joints alone, at the postures of the walk."""
    activations = np.random.default_rng(8).uniform(0.02, 0.9, (len(swing.time), len(planar.muscles)))
    ours = planar.torques(activations, swing)
    spatial = np.zeros((len(swing.time), len(model.muscles)))
    spatial[:, [model.muscles.index(name) for name in planar.muscles]] = activations
    made = model.evaluate(walking_motion)
    right = [name.endswith("_r") for name in model.muscles]
    arms = made.moment_arms[:, right][..., [model.coordinates.index(name) for name in JOINTS]]
    forces = made.active[:, right] * activations + made.passive[:, right]
    np.testing.assert_allclose(ours, np.einsum("rmc,rm->rc", arms, forces), rtol=1e-9, atol=1e-6)
    gain, passive = planar.gains(swing)
    np.testing.assert_allclose(np.einsum("rcm,rm->rc", gain, activations) + passive, ours, atol=1e-9)
    assert planar.max_isometric_forces.shape == (len(planar.muscles),)


def test_what_does_not_fit_is_said(planar, model, swing):
    with pytest.raises(ModelError, match="accelerations"):
        planar.required(replace(swing, qddot=None))
    with pytest.raises(ModelError, match="3 segments needs as many joints"):
        TorqueModel.of_planar_leg(LEG, planar.hill, planar.paths, JOINTS[:2])
    with pytest.raises(ModelError, match="must be those of the muscles"):
        TorqueModel.of_planar_leg(LEG, model.hill, planar.paths, JOINTS)
    with pytest.raises(ModelError, match="'elbow' cannot be computed"):
        TorqueModel.of_planar_leg(LEG, planar.hill, planar.paths, ("hip_flexion_r", "knee_angle_r", "elbow"))
    with pytest.raises(ModelError, match="must tell the coordinate 'hip_flexion_r'"):
        planar.evaluate(replace(swing, coordinates=("a", "b", "c")))


# --- torch --------------------------------------------------------------------------------------------------------


def few_rows(motion, rows):
    arrays = {key: getattr(motion, key)[rows] for key in ("time", "q", "qdot")}
    return JointMotion(arrays["time"], motion.coordinates, arrays["q"], arrays["qdot"])


@pytest.mark.parametrize("kind", ["spatial", "planar"])
def test_torch_agrees_and_its_gradients_are_right(kind, model, planar, walking_motion, swing):
    """Gradients by automatic differentiation against finite differences: activations and the muscles' parameters."""
    chosen, motion = (model, walking_motion) if kind == "spatial" else (planar, swing)
    motion = few_rows(motion, [10, 120])
    activations = np.random.default_rng(6).uniform(0.05, 0.9, (2, len(chosen.muscles)))
    expected = chosen.torques(activations, motion)
    names = ("max_isometric_force", "optimal_fiber_length", "tendon_slack_length", "pennation_angle_at_optimal")

    def torques(a, *scales):
        values = {
            name: torch.as_tensor(getattr(chosen.hill, name)) * scale for name, scale in zip(names, scales, strict=True)
        }
        return replace(chosen, hill=replace(chosen.hill, **values)).torques(a, motion)

    a = torch.tensor(activations, requires_grad=True)
    scales = [torch.ones(len(chosen.muscles), dtype=torch.float64, requires_grad=True) for _ in names]
    found = torques(a, *scales)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-10, atol=1e-9)
    assert torch.autograd.gradcheck(torques, (a, *scales), atol=1e-3, rtol=1e-4)
    # Activations alone: the muscles and the motion stay numpy.
    (gradient,) = torch.autograd.grad(chosen.torques(a, motion).sum(), a)
    np.testing.assert_allclose(gradient.numpy(), chosen.gains(motion)[0].sum(axis=1), rtol=1e-10)


def test_torch_takes_motions_in_batches_and_in_single_precision(planar, swing):
    rows = np.arange(12)
    one = few_rows(swing, rows)
    both = {key: torch.tensor(getattr(one, key).reshape(3, 4, 3), dtype=torch.float32) for key in ("q", "qdot")}
    activations = np.random.default_rng(7).uniform(size=(12, len(planar.muscles)))
    a = torch.tensor(activations.reshape(3, 4, -1), dtype=torch.float32)
    found = planar.torques(a, JointMotion(one.time, one.coordinates, **both))
    assert found.dtype == torch.float32
    expected = planar.torques(activations, one)
    np.testing.assert_allclose(found.numpy().reshape(12, 3), expected, atol=1e-3 * np.abs(expected).max())


def test_a_planar_legs_needs_are_differentiable(planar, swing):
    q = torch.tensor(swing.q[:2], requires_grad=True)
    rest = {key: torch.tensor(getattr(swing, key)[:2]) for key in ("qdot", "qddot")}

    def needed(q):
        return planar.required(JointMotion(swing.time[:2], swing.coordinates, q, **rest))

    assert torch.autograd.gradcheck(needed, q)
