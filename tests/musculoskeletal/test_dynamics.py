"""Motions and what they need, against OpenSim's own inverse dynamics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.errors import ModelError, SetupError, StorageError
from opensim_nem2e.musculoskeletal.dynamics import OpenSimDynamics, analyse_motion
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import TimeSeries, read_storage

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")


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


def test_motion_must_fit(walking):
    nothing = TimeSeries(np.array([0.0, 1.0]), ("elbow",), np.zeros((2, 1)))
    with pytest.raises(StorageError, match="must have columns for coordinates"):
        analyse_motion(walking / "walker.osim", nothing)
    kinematics = read_storage(walking / "walking_coordinates.mot")
    with pytest.raises(StorageError, match="must cover the time wanted"):
        analyse_motion(walking / "walker.osim", kinematics, start=50.0, end=60.0)


def test_loads_without_a_force_and_motions_of_a_few_rows_are_refused(walking, tmp_path):
    """OpenSim would take the first for no loads at all, and name functions of its own for the second."""
    kinematics = read_storage(walking / "walking_coordinates.mot")
    with pytest.raises(SetupError, match=r"walker\.osim:.* An <ExternalLoads> was expected, but <Model> was found"):
        analyse_motion(walking / "walker.osim", kinematics, walking / "walker.osim")
    empty = tmp_path / "loads.xml"
    empty.write_text("<OpenSimDocument><ExternalLoads><objects/></ExternalLoads></OpenSimDocument>")
    with pytest.raises(SetupError, match=r"loads\.xml:.* must hold an <ExternalForce>, but has none"):
        analyse_motion(walking / "walker.osim", kinematics, empty)
    short = replace(kinematics, time=kinematics.time[:3], data=kinematics.data[:3])
    with pytest.raises(StorageError, match="must have 10 rows or more for splines of its coordinates; found 3"):
        analyse_motion(walking / "walker.osim", short)


def test_other_loads_need_other_torques(walking, walking_motion):
    """With the loads it was analysed with a motion needs what it says; with others OpenSim is asked anew."""
    dynamics = OpenSimDynamics(walking / "walker.osim")
    kinematics = read_storage(walking / "walking_coordinates.mot")
    short = analyse_motion(walking / "walker.osim", kinematics, lowpass=6.0, start=0.5, end=0.6)
    names = ("pelvis_ty", "knee_angle_r")
    columns = [short.coordinates.index(name) for name in names]
    np.testing.assert_array_equal(dynamics.required(short, None, names), short.torques[:, columns])
    loads = walking / "external_loads.xml"
    loaded = analyse_motion(walking / "walker.osim", kinematics, loads, lowpass=6.0, start=0.5, end=0.6)
    np.testing.assert_allclose(dynamics.required(short, loads, names), loaded.torques[:, columns], atol=1e-4)
    assert np.abs(loaded.torques[:, columns] - short.torques[:, columns]).max() > 100.0
    with pytest.raises(ModelError, match=r"'knee_angl_r'.*Did you mean 'knee_angle_r'"):
        dynamics.required(short, None, ["knee_angl_r"])
