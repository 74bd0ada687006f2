"""What a leg would bear, against inverse dynamics with the ground reactions of the example."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.musculoskeletal.weight_bearing import foot_body, weight_bearing
from opensim_nem2e.storage import read_model, read_storage

pytest.importorskip("opensim")

LEG = ("hip_flexion_r", "knee_angle_r", "ankle_angle_r")


@pytest.fixture(scope="module")
def unloaded(walking):
    kinematics = read_storage(walking / "walking_coordinates.mot")
    return analyse_motion(
        walking / "walker.osim", kinematics, lowpass=-1.0, start=0.3, end=1.9, jacobians=["calcn_r", "calcn_l"]
    )


def test_one_foot_on_the_ground_bears_what_the_plates_measured(walking, unloaded):
    kinematics, forces = (read_storage(walking / name) for name in ("walking_coordinates.mot", "walking_grf.mot"))
    loaded = analyse_motion(
        walking / "walker.osim", kinematics, walking / "external_loads.xml", lowpass=-1.0, start=0.3, end=1.9
    )
    needed = loaded.torques[:, loaded.columns(LEG)]
    right, left, push = (
        np.interp(loaded.time, forces.time, forces.column(name))
        for name in ("ground_force_vy", "1_ground_force_vy", "ground_force_vx")
    )
    found = weight_bearing(unloaded, "calcn_r", LEG)
    stance, swing = left < 1.0, right < 1.0
    assert stance.sum() > 50
    assert swing.sum() > 50
    peaks = np.abs(needed).max(axis=0)
    assert (np.abs(found.standing - needed)[stance].max(axis=0) < 0.01 * peaks).all()
    assert (np.abs(found.unloaded - needed)[swing].max(axis=0) < 0.01 * peaks).all()
    np.testing.assert_allclose(found.upward, right + left, atol=0.002 * (right + left).max())
    np.testing.assert_allclose(found.forward[stance], push[stance], atol=2.0)
    # At the heel the force has no lever in front of the ankle, which is what the ankle bears in late stance.
    assert np.abs(found.heel[stance, 2]).max() < 0.6 * np.abs(needed[stance, 2]).max()


def test_another_axis_may_point_up(walking, tmp_path, caplog):
    text = (walking / "walker.osim").read_text(encoding="utf-8")
    (tmp_path / "moon.osim").write_text(re.sub("<gravity>[^<]*<", "<gravity>0 0 -1.62<", text), encoding="utf-8")
    found = analyse_motion(tmp_path / "moon.osim", read_storage(walking / "walking_coordinates.mot"), end=0.2)
    np.testing.assert_allclose(found.up, [0.0, 0.0, 1.0])
    assert "gravity is 1.62 m/s^2 (on earth: 9.81)" in caplog.text


def test_forward_and_upward_are_those_of_gravity(unloaded):
    """The same motion in a room whose third axis points up."""
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    jacobians = {
        foot: np.concatenate([np.einsum("ab,tbc->tac", turn, part) for part in (table[:, :3], table[:, 3:])], axis=1)
        for foot, table in unloaded.jacobians.items()
    }
    usual = weight_bearing(unloaded, "calcn_r", LEG)
    found = weight_bearing(replace(unloaded, jacobians=jacobians, up=turn @ unloaded.up), "calcn_r", LEG)
    for name in ("unloaded", "standing", "heel", "forward", "upward"):
        np.testing.assert_allclose(getattr(found, name), getattr(usual, name), atol=1e-6)


def test_a_pelvis_that_is_not_told(unloaded):
    given = tuple(name != "pelvis_tx" and told for name, told in zip(unloaded.coordinates, unloaded.given, strict=True))
    with pytest.raises(ModelError, match="must tell where the pelvis is; it lacks pelvis_tx"):
        weight_bearing(replace(unloaded, given=given), "calcn_r", LEG)
    held = tuple(not name.startswith("pelvis_t") for name in unloaded.coordinates)
    with pytest.raises(ModelError, match="must be free to move; found nothing that moves both feet"):
        weight_bearing(replace(unloaded, movable=held), "calcn_r", LEG)


def test_the_foot_is_found(walking, tmp_path):
    model = read_model(walking / "walker.osim")
    assert [foot_body(model, side) for side in "rl"] == ["calcn_r", "calcn_l"]
    file = tmp_path / "arm.osim"
    file.write_text(
        "<OpenSimDocument Version='40500'><Model name='m'><BodySet><objects><Body name='hand_r'/></objects></BodySet>"
        "</Model></OpenSimDocument>",
        encoding="utf-8",
    )
    with pytest.raises(ModelError, match=r"a foot is needed .*, found hand_r"):
        foot_body(read_model(file), "r")
