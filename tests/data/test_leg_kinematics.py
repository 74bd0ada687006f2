"""Legs of models of any origin under one set of names and signs."""

from __future__ import annotations

import numpy as np
import pytest
from lxml import etree

from opensim_nem2e.data.leg_kinematics import (
    Body,
    LegCoordinates,
    LegTrial,
    even_rows,
    leg_samples,
    refuse_cycles_beyond,
)
from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.data.sliding_windows import SlidingWindows
from opensim_nem2e.errors import ModelError, TrainingError
from opensim_nem2e.musculoskeletal.dynamics import JointMotion
from opensim_nem2e.storage.osim import read_model

LEG = ("hip_flexion", "knee_angle", "ankle_angle")


def model_file(folder, ranges):
    coordinates = "".join(
        f"<PinJoint name='{name}_joint'><coordinates><Coordinate name='{name}'><range>{low} {high}</range></Coordinate>"
        "</coordinates></PinJoint>"
        for name, (low, high) in ranges.items()
    )
    path = folder / "model.osim"
    path.write_text(
        f"<OpenSimDocument Version='40500'><Model name='m'><JointSet><objects>{coordinates}</objects></JointSet>"
        "</Model></OpenSimDocument>",
        encoding="utf-8",
    )
    return read_model(path)


def test_names_and_signs(tmp_path):
    model = model_file(
        tmp_path,
        {
            "pelvis_tilt": (-1, 1),
            "pelvis_list": (-1, 1),
            "hip_flex_l": (-0.5, 2),
            "knee_angle_l": (-2.1, 0.2),
            "ankle_angle_l": (-1, 1),
        },
    )
    leg = LegCoordinates.of(model, "l")
    assert leg.names["hip_flexion"] == "hip_flex_l"
    assert leg.signs == {
        "hip_flexion": 1.0,
        "knee_angle": -1.0,
        "ankle_angle": 1.0,
        "pelvis_tilt": 1.0,
        "pelvis_list": -1.0,
    }
    motion = JointMotion(np.zeros(1), ("knee_angle_l", "pelvis_list"), np.array([[-1.2, 0.3]]), np.array([[-4.0, 2.0]]))
    q, qdot = leg.table(("pelvis_list", "knee_angle"), motion)
    np.testing.assert_allclose(q, [[-0.3, 1.2]])
    np.testing.assert_allclose(qdot, [[-2.0, 4.0]])
    with pytest.raises(ModelError, match="no coordinate for hip_rotation of this leg"):
        leg.require(("hip_rotation",), "m.osim")
    assert LegCoordinates.of(model, "r").names == {"pelvis_tilt": "pelvis_tilt", "pelvis_list": "pelvis_list"}
    flexes = model_file(tmp_path, {"knee_angle_r": (0, 2.1)})
    assert LegCoordinates.of(flexes, "r").signs["knee_angle"] == 1.0


@pytest.mark.parametrize("side", ["r", "l"])
def test_signs_are_measured(repository, tmp_path, side):
    """Models share names, not directions; and ranges that a laboratory widened tell none."""
    pytest.importorskip("opensim")
    walker = repository / "examples" / "01_refine_walking" / "walker.osim"
    usual = LegCoordinates.measured(read_model(walker), side)
    assert usual.signs == LegCoordinates.of(read_model(walker), side).signs
    tree = etree.parse(walker)
    for joint in tree.iter("PinJoint"):
        if joint.get("name") in (f"hip_{side}", f"knee_{side}", f"ankle_{side}"):
            # The other way round: both frames are turned about their first axis.
            for orientation in joint.iter("orientation"):
                orientation.text = "0 0 0" if float(orientation.text.split()[0]) else f"{np.pi} 0 0"
    for widened in tree.iter("range"):
        widened.text = "-9 9"
    tree.write(tmp_path / "turned.osim")
    found = LegCoordinates.measured(read_model(tmp_path / "turned.osim"), side)
    assert found.names == usual.names
    assert found.signs == {name: sign * (-1.0 if name in LEG else 1.0) for name, sign in usual.signs.items()}


@pytest.mark.parametrize(("factor", "found"), [(1000.0, "7e[+]04"), (0.01, "0.7")])
def test_a_mass_that_is_nobodys(repository, tmp_path, factor, found):
    walker = repository / "examples" / "01_refine_walking" / "walker.osim"
    tree = etree.parse(walker)
    for mass in tree.iter("mass"):
        mass.text = str(factor * float(mass.text))
    tree.write(tmp_path / "heavy.osim")
    model = read_model(tmp_path / "heavy.osim")
    with pytest.raises(ModelError, match=rf"have the subject's mass, 2 to 400 kg, .* found {found} kg"):
        Body.of(model, "r", LegCoordinates.of(model, "r"))


def trial(rate=50.0, joints=LEG):
    time = np.arange(0.0, 2.0 + 1e-9, 1.0 / rate)
    q = np.column_stack([np.sin(3.0 * time + k) for k in range(len(joints))])
    qdot = np.column_stack([3.0 * np.cos(3.0 * time + k) for k in range(len(joints))])
    return LegTrial(time, joints, q, qdot, 100.0 * q, Body(70.0, 0.43, 0.44))


def test_hip_adduction_is_per_distance_of_the_hips():
    body = Body(70.0, 0.43, 0.44, hips=0.16)
    np.testing.assert_allclose(body.lengths(("knee_angle", "hip_adduction")), [body.height, 0.16])
    for none in (0.0, 0.9):  # a model with one leg at the middle of its pelvis; a slip of the scaling
        assert Body(70.0, 0.43, 0.44, none).hips == pytest.approx(0.1 * body.height)


def record(start, end, stride="1"):
    return CycleRecord("d", "s", "t", stride, "walk", None, "r", None, None, "", None, 0.0, start, end, None, 1)


def test_rows_between_rows():
    even = even_rows(trial(), 0.01)
    assert len(even.time) == 201
    np.testing.assert_allclose(even.q[:, 0], np.sin(3.0 * even.time), atol=1e-5)


def test_windows_estimate_frames_of_their_own_cycle():
    windows = SlidingWindows(0.2, 0.1, 21)
    samples = leg_samples([(trial(), [record(0.5, 1.0), record(1.0, 1.5, "2")])], windows, 0.2, 0.0, LEG, LEG)
    last = samples.time[:, -1]
    first = np.array([one.stride == "1" for one in samples.records])
    assert first.sum() == (~first).sum() == 6
    assert last[first].min() == pytest.approx(0.5)
    assert last[first].max() == pytest.approx(1.0)
    body = Body(70.0, 0.43, 0.44)
    np.testing.assert_allclose(
        samples.channel("moments", "knee_angle"),
        100.0 * samples.channel("coordinates", "knee_angle") / (body.mass * body.height),
        atol=1e-3,
    )
    assert body.height == pytest.approx(1.772, abs=1e-3)
    np.testing.assert_allclose(samples.context["body"][0, 0], body.values)


def test_cycles_beyond_the_motion_are_refused():
    time = np.linspace(0.0, 2.0, 201)
    refuse_cycles_beyond([record(0.0, 1.0), record(1.0, 2.01, "2")], time)
    for start, end in ((-0.1, 1.0), (1.5, 2.1)):
        with pytest.raises(TrainingError, match=r"d/s/t/7 \(line 1 .*within the motion.*motion from 0 to 2 s"):
            refuse_cycles_beyond([record(start, end, "7")], time)


def test_what_a_model_lacks():
    windows = SlidingWindows(0.2, 0.1, 21)
    one = [(trial(), [record(0.5, 1.0)])]
    samples = leg_samples(one, windows, 0.2, 0.0, LEG, (*LEG, "subtalar_angle"))
    assert np.isnan(samples.channel("moments", "subtalar_angle")).all()
    with pytest.raises(TrainingError, match="need hip_rotation"):
        leg_samples(one, windows, 0.2, 0.0, (*LEG, "hip_rotation"), LEG)
    with pytest.raises(TrainingError, match="No window"):
        leg_samples([(trial(), [record(5.0, 6.0)])], windows, 0.2, 0.0, LEG, LEG)
