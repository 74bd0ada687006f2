"""Copies of models with other numbers, as OpenSim reads them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opensim")

import opensim
from arm_maker import build_arm

from opensim_nem2e.errors import ModelError
from opensim_nem2e.storage.osim_edit import write_carried_mass, write_muscle_parameters


def test_muscles_have_their_new_numbers(tmp_path):
    build_arm(tmp_path)
    copy = tmp_path / "own.osim"
    write_muscle_parameters(tmp_path / "arm.osim", copy, {"flexor": {"max_isometric_force": 321.5}})
    model = opensim.Model(str(copy))
    muscles = model.getMuscles()
    assert muscles.get("flexor").get_max_isometric_force() == 321.5
    assert muscles.get("extensor").get_max_isometric_force() == 600.0
    with pytest.raises(ModelError, match="'flexer'"):
        write_muscle_parameters(tmp_path / "arm.osim", copy, {"flexer": {"max_isometric_force": 1.0}})


def test_a_body_carries_a_point_mass(tmp_path):
    build_arm(tmp_path)
    copy = tmp_path / "loaded.osim"
    write_carried_mass(tmp_path / "arm.osim", copy, {"forearm": 3.0}, (0.0, -0.3, 0.0))
    model = opensim.Model(str(copy))
    body = model.getBodySet().get("forearm")
    assert body.getMass() == pytest.approx(4.5)
    centre = [body.getMassCenter().get(k) for k in range(3)]
    np.testing.assert_allclose(centre, [0.0, -(1.5 * 0.15 + 3.0 * 0.3) / 4.5, 0.0], atol=1e-9)
    # About the elbow: the arm's own, and that of the mass.
    inertia = body.get_inertia()
    about = inertia.get(2) + 4.5 * centre[1] ** 2
    assert about == pytest.approx(0.01 + 1.5 * 0.15**2 + 3.0 * 0.3**2)
