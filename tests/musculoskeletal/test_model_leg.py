"""The planar leg taken from a model against OpenSim's inverse dynamics: a planar walker, and people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.musculoskeletal.model_leg import ModelLeg
from opensim_nem2e.storage import read_storage
from opensim_nem2e.storage.sto import write_storage


def determination(true, found):
    """R2 of each column, without the ends, where derivatives are uncertain."""
    true, found = true[20:-20], found[20:-20]
    return 1.0 - ((true - found) ** 2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)


@pytest.fixture(scope="module")
def walkers_leg(walking, walking_motion):
    return ModelLeg.of_model(walking / "walker.osim", walking_motion, "r")


def test_the_leg_of_a_planar_walker_is_exact(walking, walking_motion, walkers_leg):
    """Where the model is planar itself, both ways to the ground's torques are its inverse dynamics."""
    dynamics = walkers_leg.dynamics
    true = walking_motion.torques[:, walking_motion.columns(dynamics.coordinates)]
    loads = walking / "external_loads.xml"
    for ground in (walkers_leg.ground_torque(loads), walkers_leg.ground_reaction(loads)):
        found = dynamics.required(walkers_leg.motion, ground, dynamics.coordinates)
        assert determination(true, found).min() > 0.999


def test_the_pelvis_matters(walking, walking_motion, walkers_leg):
    """Without its tilt, or without its acceleration, the torques come out worse by far."""
    dynamics, motion = walkers_leg.dynamics, walkers_leg.motion
    names, loads = dynamics.coordinates, walkers_leg.ground_reaction(walking / "external_loads.xml")
    true = walking_motion.torques[:, walking_motion.columns(names)]
    best = 1.0 - determination(true, dynamics.required(motion, loads, names))
    upright = replace(dynamics, tilt="").required(motion, loads, names)
    still = dynamics.required(replace(motion, hip_acceleration=0.0 * motion.hip_acceleration), loads, names)
    for found in (upright, still):
        assert ((1.0 - determination(true, found))[:2] > 5.0 * best[:2]).all()


def test_several_plates_act_as_one(walking, walkers_leg, tmp_path):
    """Half of the force on each of two plates, either side of the whole's point, is the whole."""
    force = [f"ground_force_v{axis}" for axis in "xyz"]
    point = [f"ground_force_p{axis}" for axis in "xyz"]
    series = read_storage(walking / "walking_grf.mot")
    apart = np.array([0.05, 0.0, 0.0])
    parts = [0.5 * series.select(force), series.select(point) + apart, series.select(point) - apart]
    data = np.column_stack([parts[0], parts[1], parts[0], parts[2]])
    labels = tuple(f"{plate}_{name}" for plate in "ab" for name in force + point)
    write_storage(tmp_path / "plates.mot", replace(series, labels=labels, data=data))
    plates = "".join(
        f"<ExternalForce name='{plate}'><applied_to_body>calcn_r</applied_to_body>"
        f"<force_identifier>{plate}_ground_force_v</force_identifier>"
        f"<point_identifier>{plate}_ground_force_p</point_identifier></ExternalForce>"
        for plate in "ab"
    )
    both = tmp_path / "plates.xml"
    both.write_text(
        f"<OpenSimDocument><ExternalLoads><objects>{plates}</objects><datafile>plates.mot</datafile></ExternalLoads>"
        "</OpenSimDocument>",
        encoding="utf-8",
    )
    one = walking / "external_loads.xml"
    whole = walkers_leg.ground_torque(one).torque
    np.testing.assert_allclose(walkers_leg.ground_torque(both).torque, whole, atol=1e-3)
    needed = [
        walkers_leg.dynamics.required(walkers_leg.motion, walkers_leg.ground_reaction(file), ["ankle_angle_r"])
        for file in (one, both)
    ]
    # Below the threshold a foot on several plates is taken for unloaded.
    assert np.abs(needed[0] - needed[1]).max() < 6.0
    loaded = np.abs(whole).max(axis=1) > 20.0
    assert loaded.sum() > 50
    np.testing.assert_allclose(needed[0][loaded], needed[1][loaded], atol=1e-3)


#: Model, motion and loads of people who walk, and the leg whose foot was on the plates.
PEOPLE = (
    ("walk_sub1", "Rajagopal_scaled_Sub1_gasAvoid.osim", "walking_baseline1", "l"),
    pytest.param(*("ceinms_lower_limb", "gait2392_58kg_strength2.osim", "walk45", "r"), marks=pytest.mark.slow),
)


@pytest.mark.parametrize(("folder", "model", "trial", "side"), PEOPLE)
def test_people_who_walk_in_three_dimensions(shared_data, folder, model, trial, side):
    files = shared_data / folder
    loads = files / f"{trial}_external_loads.xml"
    motion = analyse_motion(files / model, read_storage(files / f"{trial}_ik.mot"), loads, start=5.0, end=7.5)
    leg = ModelLeg.of_model(files / model, motion, side)
    names = leg.dynamics.coordinates
    found = leg.dynamics.required(leg.motion, leg.ground_torque(loads), names)
    assert determination(motion.torques[:, motion.columns(names)], found).min() > 0.98


def test_bad_input_is_told(walking, walking_motion, walkers_leg, tmp_path):
    with pytest.raises(ModelError, match=r"'knee_angl_r'.*Did you mean 'knee_angle_r'"):
        ModelLeg.of_model(
            walking / "walker.osim", walking_motion, joints=("hip_flexion_r", "knee_angl_r", "ankle_angle_r")
        )
    with pytest.raises(ModelError, match="a hip, a knee and an ankle; found hip_flexion_r"):
        ModelLeg.of_model(walking / "walker.osim", walking_motion, joints=("hip_flexion_r",))
    with pytest.raises(ModelError, match="'ankle_angle_r' must carry a shank with mass"):
        ModelLeg.of_model(walking / "walker.osim", walking_motion, joints=("ankle_angle_r",) * 3)
