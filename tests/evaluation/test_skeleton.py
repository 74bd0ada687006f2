"""The skeleton of figure 7: OpenSim's geometry in the networks' terms."""

from __future__ import annotations

import re

import numpy as np
import opensim
import pytest

from opensim_nem2e.errors import CycleError
from opensim_nem2e.evaluation.skeleton import read_skeleton
from opensim_nem2e.musculoskeletal.opensim.geometry import read_geometry
from opensim_nem2e.storage import TimeSeries, write_storage


def test_the_example(repository):
    folder = repository / "examples" / "01_refine_walking"
    model, motion = folder / "walker.osim", folder / "walking_coordinates.mot"
    skeleton = read_skeleton(model, motion, (0.5, 1.5))
    assert skeleton.phases == (0.0, 50.0, 100.0)
    assert skeleton.source == "model 'walker', motion 'walking_coordinates', 0.5 to 1.5 s"
    geometry = read_geometry(model, motion, [0.5, 1.0, 1.5])
    # The walker faces along x already.
    np.testing.assert_allclose(skeleton.bones, geometry.bones, atol=1e-9)
    assert [skeleton.sides[geometry.bodies.index(name)] for name in ("tibia_r", "tibia_l", "torso")] == [
        "ipsi",
        "contra",
        "",
    ]
    for name, muscle in (("ipsi:soleus", "soleus_r"), ("contra:bi", "bflh_l")):
        (paths,) = skeleton.muscles[name]
        for here, there in zip(paths, geometry.muscles[muscle], strict=True):
            np.testing.assert_allclose(here, there, atol=1e-9)


def test_without_a_time_range_it_is_the_first_whole_cycle(repository):
    folder = repository / "examples" / "01_refine_walking"
    skeleton = read_skeleton(folder / "walker.osim", folder / "walking_coordinates.mot", ())
    start, end = map(float, re.search(r"([\d.]+) to ([\d.]+) s$", skeleton.source).groups())
    # From the ground reactions: 0.2482 to 1.3655 s. The feet's paths tell it within a few hundredths.
    assert start == pytest.approx(0.2482, abs=0.06)
    assert end == pytest.approx(1.3655, abs=0.06)
    with pytest.raises(CycleError, match="must lie inside"):
        read_skeleton(folder / "walker.osim", folder / "walking_coordinates.mot", (0.5, 9.0))


def test_a_laboratory_that_walks_along_z(tmp_path):
    """Two thighs, one swung forward, walk along -z: in the figure they walk along x, the right one nearer."""
    model = opensim.Model()
    model.setName("thighs")
    nothing = opensim.Vec3(0)
    pelvis = opensim.Body("pelvis", 1.0, opensim.Vec3(0), opensim.Inertia(0.1, 0.1, 0.1))
    model.addBody(pelvis)
    ground = opensim.PinJoint(
        "turn",
        model.getGround(),
        nothing,
        opensim.Vec3(-np.pi / 2, 0, 0),
        pelvis,
        nothing,
        opensim.Vec3(-np.pi / 2, 0, 0),
    )  # turns about y
    ground.updCoordinate().setName("pelvis_rotation")
    model.addJoint(ground)
    for side, z in (("r", 0.1), ("l", -0.1)):
        thigh = opensim.Body(f"femur_{side}", 1.0, opensim.Vec3(0, -0.4, 0), opensim.Inertia(0.1, 0.1, 0.1))
        hip = opensim.PinJoint(f"hip_{side}", pelvis, opensim.Vec3(0, 0, z), nothing, thigh, nothing, nothing)
        hip.updCoordinate().setName(f"hip_{side}")
        model.addBody(thigh)
        model.addJoint(hip)
    model.finalizeConnections()
    model.printToXML(str(tmp_path / "thighs.osim"))
    rows = np.tile([90.0, 60.0, 0.0], (2, 1))
    labels = ("pelvis_rotation", "hip_r", "hip_l")
    write_storage(tmp_path / "q.mot", TimeSeries(np.array([0.0, 1.0]), labels, rows, in_degrees=True))
    raw = read_geometry(tmp_path / "thighs.osim", tmp_path / "q.mot", [0.0])
    knee = raw.bones[0, raw.bodies.index("femur_r"), 1]
    assert abs(knee[2]) > 0.3, "walks along z"
    skeleton = read_skeleton(tmp_path / "thighs.osim", tmp_path / "q.mot", ())
    (right,) = [bone for bone, side in zip(skeleton.bones[0], skeleton.sides, strict=True) if side == "ipsi"]
    np.testing.assert_allclose(right[0], [0, 0, 0.1], atol=1e-6)
    forward, down = 0.4 * np.sin(np.pi / 3), -0.4 * np.cos(np.pi / 3)
    np.testing.assert_allclose(right[1], [forward, down, 0.1], atol=1e-6)
