"""Loads that cannot be those of the model and its motion, and points that are missing where nothing is held."""

from __future__ import annotations

import re
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.errors import CycleError, LabelError, ModelError, SetupError, StorageError
from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.musculoskeletal.loads import read_loads
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import TimeSeries, read_model, read_storage, write_storage

pytest.importorskip("opensim")


@pytest.fixture
def analysed(walking, tmp_path):
    """Return what inverse dynamics of the example says with edited loads."""
    for name in ("external_loads.xml", "walking_grf.mot"):
        shutil.copy(walking / name, tmp_path)
    kinematics = read_storage(walking / "walking_coordinates.mot")

    def analyse(edits=(), change=None):
        path, data = tmp_path / "external_loads.xml", tmp_path / "walking_grf.mot"
        text = path.read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        if change is not None:
            series = read_storage(data)
            values = series.data.copy()
            change(series, values)
            write_storage(data, TimeSeries(series.time, series.labels, values), precision=9)
        return analyse_motion(walking / "walker.osim", kinematics, path, lowpass=-1.0, start=0.5, end=1.3)

    return analyse


def columns(series, begin):
    return [k for k, label in enumerate(series.labels) if label.startswith(begin)]


@pytest.mark.parametrize(
    ("edits", "error", "found"),
    [
        (
            [("calcn_r", "X"), ("calcn_l", "calcn_r"), ("X", "calcn_l")],
            CycleError,
            r"'right' must act on 'calcn_l', but acts at 'calcn_r'.* wrong feet",
        ),
        (
            [("applied_to_body>calcn_r", "applied_to_body>foot_r")],
            ModelError,
            "needs the body 'foot_r', which the model 'walker.osim' lacks",
        ),
        (
            [(">ground_torque_<", ">ground_torgue_<")],
            LabelError,
            "no column 'ground_torgue_x', .* Did you mean 'ground_torque_x'",
        ),
        (
            [("<point_expressed_in_body>ground<", "<point_expressed_in_body>calcn_r<")],
            StorageError,
            r"'right' acts \d\.\d+ m away from 'calcn_r', .* in the frame 'calcn_r'",
        ),
        (
            [("datafile>", "other>"), ("<torque_id", "<data_source_name>r.mot</data_source_name><torque_id")],
            SetupError,
            "from the one file that <datafile> names, but there is none; the forces name 'r.mot' in <data_source_name>",
        ),
    ],
)
def test_loads_that_do_not_fit_the_model_are_told_in_plain_words(analysed, edits, error, found):
    with pytest.raises(error, match=found):
        analysed(edits)


def test_a_model_without_mass(walking, tmp_path):
    path = tmp_path / "walker.osim"
    path.write_text(re.sub("<mass>[^<]*<", "<mass>0<", (walking / "walker.osim").read_text()))
    with pytest.raises(ModelError, match=r"walker\.osim: inverse dynamics needs bodies with a mass"):
        analyse_motion(path, read_storage(walking / "walking_coordinates.mot"), walking / "external_loads.xml")


def test_points_in_mm_and_torques_in_nmm_are_refused(analysed):
    def millimeters(series, values):
        values[:, columns(series, "1_ground_force_p")] *= 1000.0

    with pytest.raises(StorageError, match=r"'left' acts \d+ m away from 'calcn_l', .* Is its point in m"):
        analysed(change=millimeters)

    def plate_moments(series, values):
        values[:, columns(series, "1_ground_force_p")] /= 1000.0
        values[:, columns(series, "ground_torque_y")] = 5000.0

    with pytest.raises(StorageError, match=r"'ground_torque_' of the force 'right' must be the free moment.* in Nmm"):
        analysed(change=plate_moments)


def test_a_plate_that_was_zeroed_under_load(analysed, caplog):
    def lower(series, values):
        values[:, columns(series, "1_ground_force_vy")] -= 30.0

    analysed()
    assert not caplog.records
    analysed(change=lower)
    assert "the force 'left' is -30 N while nobody is on its plate: the ground does not pull" in caplog.text


def test_missing_points_without_force_change_nothing(analysed, walking, caplog):
    """As plates write them: -nan(ind) while nobody is on them. OpenSim's splines would spread it over the file."""
    caplog.set_level("INFO", logger="opensim_nem2e")
    whole = analysed()

    def gaps(series, values):
        free = values[:, columns(series, "1_ground_force_vy")[0]] == 0.0
        assert free.sum() > 50
        values[np.ix_(free, columns(series, "1_ground_force_p"))] = np.nan

    np.testing.assert_allclose(analysed(change=gaps).torques, whole.torques, atol=0.05)
    assert "point and torque of 'left' are missing in" in caplog.text

    def hole(series, values):
        loaded = np.flatnonzero(values[:, columns(series, "ground_force_vy")[0]] > 300.0)
        values[loaded[:3], columns(series, "ground_force_px")[0]] = np.nan

    with pytest.raises(StorageError, match=r"'right' needs a number in every row .* 'ground_force_px' holds none at"):
        analysed(change=hole)


def test_loads_of_another_time(analysed, walking, tmp_path, caplog):
    kinematics = read_storage(walking / "walking_coordinates.mot")
    later = TimeSeries(kinematics.time + 50.0, kinematics.labels, kinematics.data, in_degrees=kinematics.in_degrees)
    with pytest.raises(StorageError, match=r"loads cover 0\.0000 to 2\.2600 s, but the motion is of 50\.5000 to 51\.3"):
        analyse_motion(walking / "walker.osim", later, walking / "external_loads.xml", start=50.5, end=51.3)
    series = read_storage(tmp_path / "walking_grf.mot")
    kept = series.time < 1.1
    write_storage(tmp_path / "walking_grf.mot", TimeSeries(series.time[kept], series.labels, series.data[kept]))
    analysed()
    assert "the loads cover 0.0000 to 1.0950 s of the motion's 0.5000 to 1.3000 s" in caplog.text


def test_feet_below_the_ground(walking):
    kinematics = read_storage(walking / "walking_coordinates.mot")
    low = kinematics.data - 0.9 * np.array([label == "pelvis_ty" for label in kinematics.labels])
    buried = TimeSeries(kinematics.time, kinematics.labels, low, in_degrees=kinematics.in_degrees)
    with pytest.raises(StorageError, match=r"'right' acts 0\.8\d+ m away from 'calcn_r'"):
        analyse_motion(walking / "walker.osim", buried, walking / "external_loads.xml", start=0.5, end=1.3)


def test_feet_far_above_the_ground(walking, caplog):
    kinematics = read_storage(walking / "walking_coordinates.mot")
    for height, told in ((0.0, False), (0.3, True)):
        high = kinematics.data + height * np.array([label == "pelvis_ty" for label in kinematics.labels])
        motion = TimeSeries(kinematics.time, kinematics.labels, high, in_degrees=kinematics.in_degrees)
        analyse_motion(walking / "walker.osim", motion, walking / "external_loads.xml", start=0.5, end=1.3)
        assert ("m below the origin of 'calcn_r' (median)" in caplog.text) == told


def moved(begin, by):
    def change(series, values):
        values[:, [series.index(f"{side}{begin}") for side in ("", "1_")]] += by

    return change


def test_points_that_are_out_of_line(analysed, caplog):
    analysed()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    analysed(change=moved("ground_force_px", 0.08))
    assert "as if they acted elsewhere than the motion needs them (right: 8 cm, left: 8 cm)" in caplog.text
    with pytest.raises(
        StorageError, match=r"'right' acts 0\.\d+ m above the origin of 'calcn_r' \(median\), but the gro"
    ):
        analysed(change=moved("ground_force_py", 0.3))


def test_points_of_both_feet_that_are_out_of_line_against_each_other(analysed, caplog):
    """As where their axis has the wrong sign: over both feet it cancels out."""

    def apart(series, values):
        values[:, series.index("ground_force_px")] += 0.07
        values[:, series.index("1_ground_force_px")] -= 0.07

    analysed(change=apart)
    assert "as if they acted elsewhere than the motion needs them (right: 7 cm, left: 7 cm)" in caplog.text


@pytest.fixture
def loads(walking, tmp_path):
    return read_loads(walking / "external_loads.xml", read_model(walking / "walker.osim"), tmp_path)


def left_over(loads, time, needs):
    """Return what the loads leave to the pelvis if it needs other forces: rows by three."""
    total = sum(interpolate(load.time, load.vector, time) for load in loads.loads)
    return needs(time) - total, total


@pytest.mark.parametrize(("end", "refused"), [(0.8, False), (1.6, True)])
def test_axes_are_not_judged_by_a_piece_of_a_step(loads, end, refused):
    """Over tenths of a second, forces and what a motion needs are alike, or opposite, by chance."""
    time = np.arange(0.5, end, 0.01)
    missing, total = left_over(loads, time, lambda t: 0.0)
    missing[:, 1] = 0.0
    missing[:, 0] = -2.0 * total[:, 0]
    with pytest.raises(StorageError, match="along x point the other way") if refused else nullcontext():
        loads.refuse_unlike(time, missing, np.zeros((len(time), 0)), 686.0)


@pytest.mark.parametrize("beside", [False, True])
def test_no_shift_is_read_from_loads_that_lack_a_step(loads, caplog, beside):
    """Loads that are late are told; those without a foot's first step fit best somewhere else, which tells nothing."""
    time = np.arange(0.5, 1.5, 0.01)
    known, late = loads, 0.0 if beside else 0.05
    if beside:
        right, left = loads.loads
        off = np.where(right.time[:, None] < 1.0, 0.0, right.vector)
        known = replace(loads, loads=(replace(right, vector=off), left))

    def needs(at):
        return sum(interpolate(load.time, load.vector, at + late) for load in loads.loads)

    known.refuse_unlike(time, left_over(known, time, needs)[0], np.zeros((len(time), 0)), 686.0)
    assert ("fit the motion much better 0.050 s earlier" in caplog.text) is not beside
    assert not (beside and caplog.records)


def test_forces_along_the_wrong_axis(analysed):
    def reverse(series, values):
        values[:, [series.index(f"{side}ground_force_vx") for side in ("", "1_")]] *= -1.0

    def exchange(series, values):
        for side in ("", "1_"):
            x, z = series.index(f"{side}ground_force_vx"), series.index(f"{side}ground_force_vz")
            values[:, [x, z]] = values[:, [z, x]]

    with pytest.raises(StorageError, match=r"along x point the other way than the motion needs \(correlation -"):
        analysed(change=reverse)
    analysed(change=reverse)  # and back
    with pytest.raises(
        StorageError, match="forces along z are what the motion needs along x: are these axes exchanged"
    ):
        analysed(change=exchange)


@pytest.mark.parametrize(("late", "told"), [(0.03, "0.030 s earlier"), (-0.1, "0.100 s later")])
def test_plates_on_another_clock_than_the_cameras(walking, tmp_path, caplog, late, told):
    shutil.copy(walking / "external_loads.xml", tmp_path)
    series = read_storage(walking / "walking_grf.mot")
    write_storage(tmp_path / "walking_grf.mot", TimeSeries(series.time + late, series.labels, series.data))
    kinematics = read_storage(walking / "walking_coordinates.mot")
    analyse_motion(walking / "walker.osim", kinematics, tmp_path / "external_loads.xml", start=0.3, end=1.6)
    assert f"the loads would fit the motion much better {told}: do both have the same clock" in caplog.text


def test_forces_on_other_bodies_may_act_anywhere(analysed):
    """A rope that pulls the pelvis, and an exoskeleton's torque, are no ground reactions."""
    pull = (
        '<ExternalForce name="rope"><applied_to_body>pelvis</applied_to_body>'
        "<force_identifier>1_ground_force_v</force_identifier><point_identifier>ground_torque_</point_identifier>"
        "<torque_identifier>1_ground_force_v</torque_identifier></ExternalForce>"
    )
    plain, pulled = analysed().torques, analysed([("<objects>", f"<objects>{pull}")]).torques
    assert np.abs(pulled - plain).max() > 10.0
