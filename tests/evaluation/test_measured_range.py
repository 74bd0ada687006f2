"""The range of the training subjects: who is told to be outside, and who must not be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_record, make_samples

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import read_gait_cycles
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.evaluation.measured_range import training_range
from opensim_nem2e.methods.training_range import Look, TrainingRange, angle_distance, input_distance

VIEW = CycleView()
PHASE = np.linspace(0.0, 1.0, 20)
MUSCLES = ("soleus", "tib", "vaslat", "rect", "bi")


def bursts(random, shift=0.03):
    """Make one cycle of all muscles, each with a burst of its own at about the same phase for everybody."""
    found = []
    for k in range(len(MUSCLES)):
        distance = (PHASE - 0.1 - 0.18 * k - random.normal(0.0, shift) + 0.5) % 1.0 - 0.5
        found.append(0.02 + random.uniform(0.2, 0.8) * np.exp(-((distance / 0.12) ** 2)))
    return np.stack(found)


def walkers(count=8, strides=4, seed=0, motions=()):
    random = np.random.default_rng(seed)
    records, cycles = [], []
    for k in range(count):
        duration, speed = 1.1 * np.exp(random.normal(0.0, 0.06)), 1.3 * np.exp(random.normal(0.0, 0.1))
        for _ in range(strides):
            line = len(records) + 2
            about = {"speed": float(speed), "start": 3.0 * line, "end": 3.0 * line + float(duration)}
            records.append(make_record(f"s{k}", line, motion=dict(motions).get(k, "walk"), **about))
            cycles.append(bursts(random))
    values = np.stack(cycles)
    activation = {f"ipsi:{name}": values[:, k] for k, name in enumerate(MUSCLES)}
    return make_samples(activation, {"soleus": values[:, 0]}, records)


def names(known, look):
    return [measure.name for measure in known.judge(look) if measure.outside]


@pytest.fixture(scope="module")
def known():
    return training_range(walkers(), VIEW)


def test_further_subjects_are_within(known):
    others = walkers(60, strides=2, seed=5)
    values = others.inputs["activation"].transpose(0, 2, 1)
    outside = [
        bool(names(known, Look(record.end - record.start, record.speed, cycle)))
        for record, cycle in zip(others.records, values, strict=True)
    ]
    assert np.mean(outside) <= 0.05


def test_what_is_no_gait_is_outside(known):
    random = np.random.default_rng(1)
    gait = bursts(random)
    assert names(known, Look(1.1, 1.3, gait)) == []
    assert names(known, Look(0.45, 8.0, gait)) == ["cycle_time", "speed"]
    standing = [Look(1.1, None, np.full(gait.shape, 0.05)), Look(1.1, None, 0.05 + random.normal(0, 0.002, gait.shape))]
    noise = [Look(1.1, 1.3, random.random(gait.shape)) for _ in range(200)]
    backwards = Look(1.1, 1.3, gait[::-1])
    for look in (*standing, *noise, backwards):
        assert names(known, look) == ["input"]


def test_reasons_are_in_the_words_of_the_field(known):
    reasons = {measure.name: measure.reason for measure in known.judge(Look(0.45, 8.0, np.full((5, 20), 0.05)))}
    low, high = (f"{1 / edge:.2g}" for edge in known.cycle_time[::-1])
    assert reasons["cycle_time"] == f"cadence 2.2 strides/s: outside {low} to {high}"
    assert reasons["speed"].startswith("speed 8 m/s: outside ")
    assert "1.00 from the nearest training subject's" in reasons["input"]


def test_each_subject_is_judged_by_the_others(known):
    rows = known.left_out
    assert [row["name"] for row in rows] == [f"s{k}" for k in range(8)]
    assert sum(row["cycles"] for row in rows) == 32
    assert sum(row["outside"] for row in rows) <= 2
    # What nobody else does is counted apart.
    alone = training_range(walkers(motions={3: "run"}.items()), VIEW).left_out[3]
    assert (alone["cycles"], alone["other_motion_cycles"]) == (0, 4)


def test_strength_does_not_count_and_flat_muscles_have_no_shape():
    gait = bursts(np.random.default_rng(2))[None]
    assert input_distance(gait * np.array([0.1, 3.0, 1.0, 7.0, 0.5])[:, None], gait)[0] == pytest.approx(0.0, abs=1e-12)
    assert input_distance(np.full_like(gait, 0.3), gait)[0] == 1.0
    missing = gait.copy()
    missing[0, :3] = np.nan
    assert np.isnan(input_distance(missing, gait)[0])
    missing[0, 2] = gait[0, 2]
    assert input_distance(missing, gait)[0] == pytest.approx(0.0, abs=1e-12)


def test_angles_are_compared_in_degrees():
    reference = np.stack([[20 * np.sin(2 * np.pi * PHASE), 30 + 30 * np.sin(2 * np.pi * PHASE), 5 + 0 * PHASE]])
    assert angle_distance(reference + 6.0, reference)[0] == pytest.approx(6.0)
    partly = reference + 6.0
    partly[0, 2] = np.nan
    assert angle_distance(partly, reference)[0] == pytest.approx(6.0)
    assert np.isnan(angle_distance(np.full_like(reference, np.nan), reference)[0])


def test_one_subject_has_a_range_too():
    known = training_range(walkers(1), VIEW)
    assert (known.subjects, known.left_out) == (1, ())
    random = np.random.default_rng(3)
    assert names(known, Look(0.45, 8.0, random.random((5, 20)))) == ["cycle_time", "speed", "input"]


def test_subjects_that_are_all_alike_are_no_reason_for_an_empty_range():
    samples = walkers(3)
    same = replace(samples, inputs={"activation": np.repeat(samples.inputs["activation"][:1], len(samples), axis=0)})
    known = training_range(same, VIEW)
    assert names(known, Look(1.1, 1.3, same.inputs["activation"][0].T)) == []
    TrainingRange.of_section(json.loads(json.dumps(known.section())))


def test_a_bundle_keeps_it_whole(known):
    read = TrainingRange.of_section(json.loads(json.dumps(known.section())))
    assert read.cycle_time == pytest.approx(known.cycle_time, abs=1e-4)
    assert read.activations.names == MUSCLES
    np.testing.assert_allclose(read.activations.curves, known.activations.curves, atol=1e-4)
    assert list(read.left_out) == list(known.left_out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cycle_time_s": [2.0, 1.0]}, "must not be 2 to 1"),
        ({"activations": {"names": ["soleus"], "curves": [[[0.1, 0.2], [0.1, 0.2]]], "limit": 0.5}}, "of the shape"),
        ({"activations": {"names": ["soleus"], "curves": [[[0.1, 0.2]]], "limit": -1.0}}, "must be finite"),
        ({"left_out": [{"name": "s0"}]}, "missing or of another kind"),
    ],
)
def test_what_is_no_range_is_refused(known, changes, message):
    with pytest.raises(ValueError, match=message):
        TrainingRange.of_section({**known.section(), **changes})


def with_motion(record):
    """Name the motion that lies beside the trial's EMG."""
    folder = record.emg_file.parent
    found = [path for path in (folder / f"{record.trial}_ik.mot", folder / "coordinates_100Hz.mot") if path.is_file()]
    return replace(record, coordinates_file=found[0]) if found else record


def test_real_recordings(shared_data):
    """Of the strides of adults left out none is told to be outside; standing, noise and a sprint are."""
    records = [with_motion(row) for row in read_trials(shared_data / "trials.csv") if row.dataset != "cp_child"]
    chosen = [row for row in records if row.activation_source == "so" and row.stride in ("1", "2", "3")]
    data = read_gait_cycles(chosen, read_channels(shared_data / "emg_channels.csv"))
    known = training_range(data.samples, data.view)
    assert known.subjects == 4
    assert sum(row["outside"] for row in known.left_out) == 0
    # The one subject who runs: nobody else's cycles are like that.
    assert [row["other_motion_cycles"] for row in known.left_out if row["name"] == "ceinms_S06"] == [3]
    channels = [f"ipsi:{name}" for name in known.activations.names]
    stride = data.samples.select_channels("activation", channels)[0].T
    angles = known.angles.curves[0]
    standing = np.tile(angles.mean(axis=1)[:, None], 20)
    random = np.random.default_rng(0)
    assert names(known, Look(1.1, 1.25, stride, angles)) == []
    assert names(known, Look(1.1, None, stride, standing)) == ["angles"]
    assert "input" in names(known, Look(1.1, None, np.full(stride.shape, 0.03)))
    assert all("input" in names(known, Look(1.1, 1.25, random.random(stride.shape))) for _ in range(100))
    assert names(known, Look(0.45, 8.5, stride)) == ["cycle_time", "speed"]
