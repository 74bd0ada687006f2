"""Frames of a motion that is still going on: the same activations as of the whole motion, in time."""

from __future__ import annotations

import logging
import math
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("opensim")

from opensim_nem2e.errors import ModelError
from opensim_nem2e.estimates.learned_moments import LiveMoments
from opensim_nem2e.estimates.static_optimization import ProgramSettings, muscle_model, optimise, read_motion
from opensim_nem2e.estimates.streaming import load
from opensim_nem2e.methods.base import Prediction
from opensim_nem2e.musculoskeletal.frame_paths import FramePaths
from opensim_nem2e.storage.osim import read_model

LEG = ("hip_flexion_r", "knee_angle_r", "ankle_angle_r")


@pytest.fixture(scope="module")
def walk(repository):
    """Return the example's motion, its muscles, and a function that loads a predictor for its right leg."""
    folder = repository / "examples" / "01_refine_walking"
    motion_file, model_file = folder / "walking_coordinates.mot", folder / "walker.osim"
    model = read_model(model_file)
    motion = read_motion(model, motion_file, folder / "external_loads.xml", lowpass=-1.0)
    muscles = muscle_model(model, motion, (), ProgramSettings())

    def make(moments=None, **values):
        return load(moments, model_file, coordinates=LEG, motion_file=motion_file, **values)

    return motion, muscles, model, make


def test_one_posture_is_what_many_are(walk):
    _, muscles, _, _ = walk
    paths = muscles.paths
    one = FramePaths.of(paths, range(len(paths.coordinates)))
    rng = np.random.default_rng(0)
    q = rng.uniform(paths.ranges[:, 0], paths.ranges[:, 1], (30, len(paths.coordinates)))
    lengths, arms = paths.evaluate(q)
    for row in range(len(q)):
        length, arm = one.evaluate(q[row])
        np.testing.assert_allclose(length, lengths[row], atol=1e-12)
        np.testing.assert_allclose(arm, arms[row], atol=1e-12)
    assert one.outside(q[0]).sum() == 0
    assert one.outside(q[0] + 10.0).all()


def test_frames_are_as_the_whole_motion(walk):
    motion, muscles, model, make = walk
    predictor = make()
    whole = optimise(model, muscles, motion, muscles.required(motion, motion.external_loads_file), ProgramSettings())
    columns = motion.columns(predictor.coordinates)
    torques = motion.columns(predictor.torque_coordinates)
    assert set(predictor.muscles) == {name for name in muscles.muscles if name.endswith("_r")}
    order = [whole.muscles.index(name) for name in predictor.muscles]
    frames = []
    for row, time in enumerate(motion.time):
        activations, forces = predictor.step(time, motion.q[row, columns], motion.torques[row, torques])
        frames.append((activations, forces))
        assert not predictor.out_of_range
    activations, forces = (np.array(values) for values in zip(*frames, strict=True))
    # The first frames know no speed.
    error = np.abs(activations - whole.activations[:, order])[10:]
    assert np.sqrt(np.mean(error**2)) < 0.01
    assert np.ptp(activations, axis=0).max() > 0.3
    assert np.abs(forces - whole.forces[:, order])[10:].max() < 0.1 * whole.forces.max()


def test_moments_may_be_found_by_a_function(walk):
    motion, _, _, make = walk
    seen = []

    def moments(time, q, qdot):
        seen.append((time, q.copy(), qdot.copy()))
        return np.full(3, 3.0)

    predictor = make(moments)
    columns = motion.columns(predictor.coordinates)
    for row in range(20):
        predictor.step(motion.time[row], motion.q[row, columns])
    time, q, qdot = seen[-1]
    assert time == motion.time[19]
    np.testing.assert_allclose(q, motion.q[19, columns], atol=2e-3)
    np.testing.assert_allclose(qdot, motion.qdot[19, columns], atol=0.3)
    with pytest.raises(ModelError, match="must bring the moments"):
        make().step(0.0, motion.q[0, columns])


def test_moments_that_a_function_gets_wrong_are_told(walk):
    motion, _, _, make = walk
    angles = motion.q[0, motion.columns(make().coordinates)]
    for wrong in (np.zeros(2), np.full(3, np.nan)):
        with pytest.raises(ModelError, match="moments must be 3 numbers"):
            make(lambda *_, wrong=wrong: wrong).step(0.0, angles)


class LookingBack:
    """Takes the hip's angle of .3 s ago for all moments."""

    coordinates = moments = ("hip_flexion", "knee_angle", "ankle_angle")
    step, samples, lookahead = 0.001, 301, 0.0

    def predict(self, inputs):
        return Prediction(np.repeat(inputs["coordinates"][:, :1, :1], 3, axis=-1))

    def outside(self, q, qdot):
        return np.False_


def test_a_long_look_back_at_fast_frames(walk):
    """Far more frames than there is room for at first: the oldest are forgotten, those that are seen are not."""
    _, _, model, _ = walk
    live = LiveMoments(LookingBack(), model, LEG)
    found = [live(0.001 * row, np.full(3, float(row)), np.zeros(3))[0] for row in range(2000)]
    unit = found[-1] / 1699.0
    np.testing.assert_allclose(found, unit * np.maximum(np.arange(2000.0) - 300.0, 0.0), rtol=1e-9, atol=1e-6)


def test_nothing_piles_up(walk):
    motion, _, _, make = walk
    predictor = make()
    columns, torques = motion.columns(predictor.coordinates), motion.columns(predictor.torque_coordinates)

    def run():
        predictor.reset()
        for row in range(100):
            predictor.step(motion.time[row], motion.q[row, columns], motion.torques[row, torques])

    run()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert peak - before < 2_000_000


def test_wrong_frames_are_told(walk, caplog):
    motion, _, _, make = walk
    predictor = make()
    columns, torques = motion.columns(predictor.coordinates), motion.columns(predictor.torque_coordinates)

    def step(time, q=None, moments=None):
        q = motion.q[0, columns] if q is None else q
        return predictor.step(time, q, motion.torques[0, torques] if moments is None else moments)

    step(0.0)
    assert predictor.restarted
    step(0.01)
    assert not predictor.restarted
    with pytest.raises(ModelError, match="must be later"):
        step(0.01)
    with pytest.raises(ModelError, match=r"must tell .* numbers .*hip_flexion_r"):
        step(0.02, motion.q[0, columns][1:])
    with pytest.raises(ModelError, match="must be in radians"):
        step(0.02, motion.q[0, columns] + 40.0)
    with pytest.raises(ModelError, match="moments must be"):
        step(0.02, moments=[1.0])
    with pytest.raises(ModelError, match=r"must be at most 1e\+06 Nm"):
        step(0.02, moments=[2e6, 0.0, 0.0])
    for time in (math.nan, math.inf, "soon", None):
        with pytest.raises(ModelError, match=r"time must be a number of seconds, but .* was found"):
            step(time)
    with pytest.raises(ModelError, match="must be numbers, but 'bent' was found"):
        step(0.02, "bent")
    with caplog.at_level(logging.WARNING, logger="opensim_nem2e"):
        step(0.5)
    assert "There is a gap of 0.490 s before 0.500 s" in caplog.text
    assert predictor.restarted
    step(0.51, motion.q[0, columns] + 1.5)
    assert predictor.out_of_range
    with pytest.raises(ModelError, match=r"'knee_angel_r'.*Did you mean"):
        load(
            None,
            motion.external_loads_file.parent / "walker.osim",
            coordinates=["knee_angel_r"],
            motion_file=motion.external_loads_file.parent / "walking_coordinates.mot",
        )
    with pytest.raises(ModelError, match="Either motion_file or ranges"):
        load(None, motion.external_loads_file.parent / "walker.osim", coordinates=LEG)
    files = {name: motion.external_loads_file.parent / name for name in ("walker.osim", "walking_coordinates.mot")}
    usual = {"coordinates": LEG, "motion_file": files["walking_coordinates.mot"]}
    for wrong in ({"window": 0.0}, {"window": math.nan}, {"coordinates": (*LEG, LEG[0])}, {"coordinates": ()}):
        with pytest.raises(ModelError, match=r"must be longer than 0 s; found|one or more, each once; found"):
            load(None, files["walker.osim"], **{**usual, **wrong})
    with pytest.raises(ModelError, match=r"from a network .* found 'kinematics'"):
        load("kinematics", files["walker.osim"], **usual)
    with pytest.raises(ModelError, match="static_optimization or rigid_tendon; found 'Hill'"):
        ProgramSettings("Hill")
