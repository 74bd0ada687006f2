"""Motions and loads that are not what they are said to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opensim_nem2e.errors import StorageError
from opensim_nem2e.musculoskeletal.motions import (
    GRAVITY,
    checked_motion,
    refuse_another_motion,
    refuse_another_trials_loads,
    refuse_impossible_moments,
    unit_of_angles,
    with_true_unit,
)
from opensim_nem2e.storage import OsimModel, TimeSeries
from opensim_nem2e.storage.osim import Coordinate

TIME = np.arange(0.0, 2.0, 0.01)
NAMES = ("pelvis_tx", "hip_flexion_r", "knee_angle_r", "knee_angle_r_beta", *(f"angle_{k}" for k in range(4)))
MODEL = OsimModel(
    "m", Path("m.osim"), 40000, 70.0, tuple(Coordinate(name, "j", f"/jointset/j/{name}") for name in NAMES), {}, ()
)


def motion(phase=0.0, *, degrees=False, labels=NAMES, size=1.0, path="ik.mot"):
    """Angles of up to 0.6 rad, and a pelvis that walks 10 m, far more than a turn's radians."""
    angles = [size * 0.6 * np.sin(2.0 * np.pi * (TIME - phase) + k) for k in range(len(labels) - 1)]
    data = np.column_stack([5.0 * TIME, *(np.degrees(a) if degrees else a for a in angles)])
    return TimeSeries(TIME, labels, data, in_degrees=degrees, path=Path(path))


STATES = tuple(f"/jointset/j/{name}/value" for name in NAMES)


def test_degrees_that_are_said_to_be_radians(caplog):
    wrong = replace(motion(degrees=True), in_degrees=False)
    assert unit_of_angles(wrong, MODEL)[0] == "degrees"
    right = with_true_unit(wrong, MODEL)
    assert right.in_degrees
    assert "'hip_flexion_r' reaches 34.4, more than a whole turn: the angles are taken for degrees" in caplog.text
    for series in (motion(), motion(degrees=True), motion(labels=STATES)):
        assert unit_of_angles(series, MODEL)[0] == "said"
        assert with_true_unit(series, MODEL) is series
    # A single column, such as that of a patella, does not make the file one of degrees.
    data = motion().data.copy()
    data[:, 3] = np.degrees(data[:, 3])
    assert unit_of_angles(replace(motion(), data=data), MODEL)[:2] == ("columns", ["knee_angle_r_beta"])
    assert unit_of_angles(replace(motion(), in_degrees=True), MODEL)[0] == "radians"


def test_somebody_who_stands_is_in_degrees(caplog):
    """Hips of 2.8 degrees beside a knee of 25: nothing there moves as radians would."""
    rest = np.radians([0.0, 2.8, 25.0, 3.0, 1.0, 1.0, 1.0, 1.0]) * np.ones((len(TIME), 1))
    series = replace(motion(degrees=True), data=np.degrees(rest) + 0.01 * np.sin(TIME)[:, np.newaxis])
    checked_motion(series, MODEL, -np.inf, np.inf)
    assert "look like radians" not in caplog.text


def test_columns_in_radians_among_degrees_are_named(caplog):
    labels = ("pelvis_tx", "hip_flexion_r", "hip_flexion_l", "arm_r", "arm_l", "trunk")
    model = replace(MODEL, coordinates=tuple(Coordinate(name, "j", f"/jointset/j/{name}") for name in labels))
    good = motion(degrees=True, labels=labels)
    assert unit_of_angles(good, model)[0] == "said"
    # The trunk hardly moves, which tells nothing.
    data = good.data * [1.0, np.pi / 180.0, 1.0, np.pi / 180.0, 1.0, np.pi / 180.0]
    assert unit_of_angles(replace(good, data=data), model)[:2] == ("columns", ["hip_flexion_r", "arm_r"])
    checked_motion(replace(good, data=data), model, -np.inf, np.inf)
    assert "says degrees, but the values of hip_flexion_r, arm_r (largest: 0.6) look like radians" in caplog.text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: replace(s, time=1000.0 * s.time), r"10 s apart \(0 to 1990 s\)\. Is its time in milliseconds"),
        (lambda s: replace(s, data=s.data * [1e3, *[1.0] * 7]), r"'pelvis_tx' moves at 5000 m/s .*is it in mm\?"),
        (lambda s: replace(s, data=1e30 * s.data), r"more than 100 times, but 'knee_angle_r' is .* degrees at"),
        (lambda s: replace(s, time=s.time + (s.time > 1.0)), r"between 1\.000 and 2\.010 s there is no row"),
    ],
)
def test_what_cannot_be_a_motion_is_refused(change, fault):
    with pytest.raises(StorageError, match=fault):
        checked_motion(change(motion(degrees=True)), MODEL, -np.inf, np.inf)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: replace(s, data=1e300 * s.data), r"at most 1e\+06 Nm, but 'knee_angle_r' is .* at"),
        (lambda s: replace(s, time=s.time + (s.time > 1.0)), r"between 1\.000 and 2\.010 s there is no row"),
    ],
)
def test_what_cannot_be_moments_is_refused(change, fault):
    refuse_impossible_moments(motion(), 0.0, 2.0)
    with pytest.raises(StorageError, match=fault):
        refuse_impossible_moments(change(motion()), 0.0, 4.0)


def test_another_trials_motion_is_refused_with_numbers():
    states = motion(labels=STATES, path="cmc_states.sto")
    refuse_another_motion(states, motion(degrees=True), MODEL)
    # CMC follows within a few degrees.
    refuse_another_motion(states, motion(0.02, degrees=True), MODEL)
    message = r"ik\.mot: This is not the motion of the simulation 'cmc_states\.sto': between .* degrees"
    for other in (motion(0.3), motion(0.3, degrees=True), motion(size=0.3)):
        with pytest.raises(StorageError, match=message):
            refuse_another_motion(states, other, MODEL)
    # A model whose knee turns the other way; the other angles are alike.
    knee = motion(degrees=True)
    mirrored = replace(knee, data=knee.data * np.where(np.array(NAMES) == "knee_angle_r", -1.0, 1.0))
    with pytest.raises(
        StorageError, match=r"ik\.mot: The sign of knee_angle_r is the opposite of that in the simulation"
    ):
        refuse_another_motion(states, mirrored, MODEL)
    # Nothing to compare: activations without coordinates.
    refuse_another_motion(TimeSeries(TIME, ("soleus_r",), np.zeros((TIME.size, 1))), motion(0.3), MODEL)


def test_another_trials_loads_are_refused_with_numbers(caplog):
    names = ("pelvis_ty", "knee_angle_r")
    weight = 70.0 * GRAVITY
    wave = np.sin(2.0 * np.pi * TIME)

    def judge(share):
        torques = np.column_stack([share * weight, 0.0 * TIME])
        refuse_another_trials_loads(TIME, names, torques, 70.0, "grf.xml")

    judge(0.1 * wave)
    assert caplog.text == ""
    with pytest.raises(StorageError, match=r"grf\.xml: .* in 4\d% of its rows the ground pushes up by .* too"):
        judge(0.7 * wave)
    # A foot beside the plates leaves a push missing, and never pulls.
    judge(np.maximum(wave, 0.0))
    assert "in 43% of the motion's rows the ground pushes up by more than 20% of the body's weight" in caplog.text
    # Nor does it leave all of the weight missing all the time: a model in g, say.
    with pytest.raises(StorageError, match=r"they carry at most 30 % of the body's weight \(686 N, .* 70 kg\)"):
        judge(0.7 + 0.0 * wave)
    refuse_another_trials_loads(TIME, ("knee_angle_r",), np.zeros((TIME.size, 1)), 70.0, "grf.xml")


def test_a_motion_that_hardly_moves_is_compared_too():
    """Degrees read as radians, or a pose held: the simulation moves, the motion does not."""
    states = motion(degrees=True)
    still = TimeSeries(states.time, states.labels, 0.001 * states.data, in_degrees=True)
    with pytest.raises(StorageError, match="This is not the motion of the simulation"):
        refuse_another_motion(states, still, MODEL)


def test_an_angle_that_jumps_by_a_turn():
    whole = motion(degrees=True)
    data = whole.data.copy()
    data[100:, 1] += 360.0
    with pytest.raises(StorageError, match=r"'hip_flexion_r' does, from .* degrees at 1\.000 s: write it without"):
        checked_motion(replace(whole, data=data), MODEL, -np.inf, np.inf)
    # Outside of the time wanted nobody minds.
    checked_motion(replace(whole, data=data), MODEL, 1.0, np.inf)


def test_columns_in_another_unit_are_warned_of_and_do_not_jump(caplog):
    """OpenSim's Moco walking example has patellae in degrees in a file in radians: 3 degrees a row are no jump."""
    names = (*NAMES, "lumbar_bending")
    model = replace(MODEL, coordinates=tuple(Coordinate(name, "j", f"/jointset/j/{name}") for name in names))
    walk = motion(labels=names)
    data = walk.data.copy()
    data[:, 3] = 35.0 + 35.0 * np.sin(2.0 * np.pi * 2.0 * TIME)
    assert np.abs(np.diff(data[:, 3])).max() > np.pi
    checked_motion(replace(walk, data=data), model, -np.inf, np.inf)
    assert "the values of knee_angle_r_beta (largest: 69.9) look like degrees" in caplog.text
