"""Samples: shapes that fit, and the ways to take a part of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_maker import make_record

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import MuscleCycles
from opensim_nem2e.data.samples import Samples
from opensim_nem2e.errors import TrainingError

WHO = ("b", "a", "b", "c")


def made(who=WHO):
    """Four samples of five rows: all numbers differ."""
    records = tuple(make_record(name, line, dataset=f"lab_{name}") for line, name in enumerate(who, start=2))
    count = len(records)
    values = iter(range(10))

    def array(channels):
        return 1000.0 * next(values) + np.arange(count * 5 * channels).reshape(count, 5, channels)

    return Samples(
        inputs={"activation": array(3), "speeds": array(1)},
        channels={
            "activation": ("ipsi:tib", "contra:soleus", "ipsi:soleus"),
            "speeds": ("knee_r",),
            "emg": ("tib", "soleus"),
            "arms": ("knee_r/soleus",),
        },
        time=np.arange(count)[:, None] + np.linspace(0, 1, 5),
        records=records,
        targets={"emg": array(2)},
        context={"arms": array(1)},
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"inputs": {"activation": np.zeros((4, 5, 2))}},
            r"'activation' must have the shape \(4, 5, 3\); found \(4, 5, 2",
        ),
        ({"targets": {"emg": np.zeros((4, 6, 2))}}, r"'emg' must have the shape \(4, 5, 2\); found \(4, 6, 2\)"),
        ({"context": {"arms": np.zeros((3, 5, 1))}}, r"'arms' must have the shape \(4, 5, 1\); found \(3, 5, 1\)"),
        ({"context": {"new": np.zeros((4, 5, 1))}}, r"'new' must have the shape \(4, 5, 0\)"),
        ({"records": ()}, r"'time' must have the shape \(0, 5\); found \(4, 5\)"),
        ({"time": np.zeros((3, 5))}, r"'time' must have the shape \(4, 5\); found \(3, 5\)"),
        ({"targets": {"activation": np.zeros((4, 5, 3))}}, "'activation' stands in more than one of inputs, targets"),
    ],
)
def test_shapes_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        replace(made(), **change)


def test_groups():
    samples = made()
    assert len(samples) == 4
    assert samples.subjects.tolist() == list(WHO)
    assert samples.laboratories.tolist() == ["lab_b", "lab_a", "lab_b", "lab_c"]
    assert samples.trials.tolist() == ["lab_b/b/walk", "lab_a/a/walk", "lab_b/b/walk", "lab_c/c/walk"]
    assert list(samples.arrays) == ["activation", "speeds", "emg", "arms"]


def test_channels_by_name():
    samples = made()
    np.testing.assert_array_equal(samples.channel("emg", "soleus"), samples.targets["emg"][:, :, 1])
    names = ["ipsi:soleus", "ipsi:tib"]
    found = samples.select_channels("activation", names)
    np.testing.assert_array_equal(found, samples.inputs["activation"][:, :, [2, 0]])
    np.testing.assert_array_equal(samples.channel("arms", "knee_r/soleus"), samples.context["arms"][:, :, 0])


def test_what_is_missing_is_named():
    samples = made()
    with pytest.raises(
        TrainingError, match=r"no 'emgs'\. Did you mean 'emg'\? They have activation, speeds, emg, arms"
    ):
        samples.channel("emgs", "soleus")
    with pytest.raises(TrainingError, match=r"no 'emg' of solaeus, bi\. Did you mean 'soleus'"):
        samples.select_channels("emg", ["solaeus", "tib", "bi"])


@pytest.mark.parametrize("rows", [np.array([True, False, True, True]), np.array([0, 2, 3])])
def test_select(rows):
    samples, part = made(), made().select(rows)
    assert [record.line for record in part.records] == [2, 4, 5]
    assert part.channels == samples.channels
    np.testing.assert_array_equal(part.time, samples.time[[0, 2, 3]])
    for name, array in part.arrays.items():
        np.testing.assert_array_equal(array, samples.arrays[name][[0, 2, 3]])
    none = samples.select(np.zeros(4, dtype=bool))
    assert len(none) == 0
    assert none.inputs["activation"].shape == (0, 5, 3)


def test_an_order_of_their_own():
    """However rows and columns stood, the same samples come out."""
    samples = made()
    one = samples.ordered()
    assert one.subjects.tolist() == ["a", "b", "b", "c"]
    assert [record.line for record in one.records] == [3, 2, 4, 5]
    assert one.channels["activation"] == ("contra:soleus", "ipsi:soleus", "ipsi:tib")
    assert one.channels["emg"] == ("soleus", "tib")
    np.testing.assert_array_equal(
        one.channel("activation", "ipsi:tib"), samples.channel("activation", "ipsi:tib")[[1, 0, 2, 3]]
    )
    np.testing.assert_array_equal(one.channel("emg", "tib"), samples.channel("emg", "tib")[[1, 0, 2, 3]])
    mixed = samples.select(np.array([3, 0, 2, 1]))
    mixed = replace(
        mixed,
        targets={"emg": mixed.targets["emg"][:, :, ::-1]},
        channels={**mixed.channels, "emg": ("soleus", "tib")},
    )
    other = mixed.ordered()
    assert other.channels == one.channels
    np.testing.assert_array_equal(other.time, one.time)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])


def test_leaving_subjects_out():
    samples = made()
    rest, out = samples.leave_out(["b", "nobody"])
    assert rest.subjects.tolist() == ["a", "c"]
    assert out.subjects.tolist() == ["b", "b"]
    folds = list(samples.folds())
    assert [name for name, _, _ in folds] == ["b", "a", "c"]
    for name, rest, out in folds:
        assert set(out.subjects) == {name}
        assert name not in rest.subjects
        assert len(rest) + len(out) == 4


def test_a_muscle_needs_its_emg_and_its_inputs():
    samples = made()
    emg, activation = samples.targets["emg"].copy(), samples.inputs["activation"].copy()
    emg[0, 2, 1] = np.nan  # soleus of the first
    activation[1, 0, 2] = np.nan  # ipsi:soleus of the second
    activation[2, 4, 0] = np.nan  # ipsi:tib of the third
    samples = replace(samples, targets={"emg": emg}, inputs={**samples.inputs, "activation": activation})
    own = MuscleCycles.of(samples, "soleus", CycleView(samples=5))
    assert [record.line for record in own.records] == [4, 5]
    every = MuscleCycles.of(samples, "soleus", CycleView("All-Entire", 5, ("ipsi:tib", "ipsi:soleus")))
    assert [record.line for record in every.records] == [5]
    assert every.inputs == ("ipsi:tib", "ipsi:soleus")
    assert every.x.shape == (1, 5, 2)
    # Neither EMG nor activations of that name: no cycles, no error.
    for muscle in ("bi", "knee_r"):
        none = MuscleCycles.of(samples, muscle, CycleView(samples=5))
        assert none.records == ()
        assert none.x.shape == (0, 5, 1)
