"""Joint torques against OpenSim's own: inverse dynamics, and the moments of rigid-tendon muscles."""

from __future__ import annotations

import numpy as np
import pytest

from opensim_nem2e.errors import ModelError, StorageError
from opensim_nem2e.musculoskeletal.dynamics import analyse_motion, torque_terms
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import TimeSeries, read_storage
from opensim_nem2e.storage.labels import find_activation_columns

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")


@pytest.fixture(scope="module")
def terms(walking, walking_motion, paths_cache):
    return torque_terms(walking / "walker.osim", walking_motion, cache_directory=paths_cache)


def test_motion_is_that_of_the_file(walking, walking_motion):
    """The example's file is even and unfiltered here, so its rows come back, in radians."""
    file = read_storage(walking / "walking_coordinates.mot")
    rows = np.searchsorted(file.time, walking_motion.time - 1e-6)
    np.testing.assert_allclose(file.time[rows], walking_motion.time, atol=1e-6)
    for column, (name, turns) in enumerate(zip(walking_motion.coordinates, walking_motion.rotational, strict=True)):
        factor = np.pi / 180.0 if turns and file.in_degrees else 1.0
        np.testing.assert_allclose(walking_motion.q[:, column], factor * file.column(name)[rows], atol=1e-6)
    slopes = np.gradient(walking_motion.q, walking_motion.time, axis=0)
    np.testing.assert_allclose(walking_motion.qdot[1:-1], slopes[1:-1], atol=0.02)


def test_external_loads_are_included(walking, walking_motion):
    kinematics = read_storage(walking / "walking_coordinates.mot")
    without = analyse_motion(walking / "walker.osim", kinematics, lowpass=-1.0, start=0.5, end=0.8)
    rows = np.searchsorted(walking_motion.time, without.time - 1e-6)
    height = walking_motion.coordinates.index("pelvis_ty")
    weight = 9.8 * sum(b.getMass() for b in bodies(walking / "walker.osim"))
    # With the ground reaction the pelvis needs next to no force of its own; without it, the body's weight.
    assert np.abs(walking_motion.torques[rows, height]).max() < 0.05 * weight
    assert np.mean(without.torques[:, height]) == pytest.approx(weight, rel=0.3)


def bodies(path):
    model = opensim.Model(str(path))
    found = model.getBodySet()
    return [found.get(i).clone() for i in range(found.getSize())]


def test_states_of_cmc_can_be_the_motion(walking, walking_motion):
    states = read_storage(walking / "cmc" / "walking_states.sto")
    motion = analyse_motion(
        walking / "walker.osim", states, walking / "external_loads.xml", lowpass=6.0, start=0.3, end=1.8
    )
    assert np.diff(motion.time) == pytest.approx(0.005, abs=1e-9)
    # CMC tracked the motion within its tolerance, and so it needs nearly the same torques.
    for name in ("hip_flexion_r", "knee_angle_r", "ankle_angle_r"):
        column = motion.coordinates.index(name)
        expected = interpolate(walking_motion.time, walking_motion.torques[:, column], motion.time)
        assert np.sqrt(np.mean((motion.torques[:, column] - expected) ** 2)) < 0.1 * np.ptp(expected)


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
    some = torque_terms(
        walking / "walker.osim",
        walking_motion,
        muscles=["soleus_r", "tibant_r"],
        coordinates=["ankle_angle_r"],
        cache_directory=paths_cache,
    )
    assert some.moment_arms.shape == (len(walking_motion.time), 2, 1)
    column = terms.muscles.index("soleus_r")
    np.testing.assert_allclose(some.active[:, 0], terms.active[:, column])
    with pytest.raises(ModelError, match="no muscle turns it"):
        torque_terms(walking / "walker.osim", walking_motion, coordinates=["pelvis_tx"], cache_directory=paths_cache)
    with pytest.raises(ModelError, match=r"none of that name. Did you mean 'ankle_angle_r'"):
        torque_terms(walking / "walker.osim", walking_motion, coordinates=["ankle_angl_r"], cache_directory=paths_cache)


def test_motion_must_fit(walking):
    nothing = TimeSeries(np.array([0.0, 1.0]), ("elbow",), np.zeros((2, 1)))
    with pytest.raises(StorageError, match="must have columns for coordinates"):
        analyse_motion(walking / "walker.osim", nothing)
    kinematics = read_storage(walking / "walking_coordinates.mot")
    with pytest.raises(StorageError, match="must cover the time wanted"):
        analyse_motion(walking / "walker.osim", kinematics, start=50.0, end=60.0)
