"""Ground reactions in which something cannot be true: each has its own sentence, with numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, filtfilt

from opensim_nem2e.errors import CycleError
from opensim_nem2e.signals.events import events_from_external_loads, gait_events
from opensim_nem2e.signals.force_quality import (
    _lowest_around,
    _windows,
    refuse_impossible,
    unloaded_levels,
    without_offset,
)
from opensim_nem2e.storage import TimeSeries, write_storage

TIME = np.arange(0.0, 6.0, 0.001)
RIGHT, LEFT = np.arange(0.2, 6.0, 1.1), np.arange(0.75, 6.0, 1.1)


def steps(strikes, time=TIME, stance=0.66, peak=700.0):
    """Contacts like those of walking: fast up, fast down."""
    force = np.zeros(time.size)
    for begin in strikes:
        inside = (time >= begin) & (time <= begin + stance)
        force[inside] = peak * np.clip(np.sin(np.pi * (time[inside] - begin) / stance), 0.0, 1.0) ** 0.3
    return force


@pytest.fixture
def loads(tmp_path):
    """Return a function that writes an ExternalLoads file and its data, and finds its events."""

    def find(right, left, *, time=TIME, bodies=("calcn_r", "calcn_l"), **settings):
        columns, labels = [], []
        for number, force in enumerate((right, left), start=1):
            vectors = np.zeros((time.size, 3))
            vectors[:, 1] = force if np.ndim(force) == 1 else 0.0
            if np.ndim(force) == 2:
                vectors = force
            columns.append(vectors)
            labels += [f"force_{number}_v{axis}" for axis in "xyz"]
        write_storage(tmp_path / "grf.mot", TimeSeries(time, tuple(labels), np.hstack(columns)))
        forces = "".join(
            f'<ExternalForce name="f{number}"><applied_to_body>{body}</applied_to_body>'
            "<force_expressed_in_body>ground</force_expressed_in_body>"
            f"<force_identifier>force_{number}_v</force_identifier></ExternalForce>"
            for number, body in enumerate(bodies, start=1)
        )
        (tmp_path / "grf.xml").write_text(
            f'<OpenSimDocument Version="40000"><ExternalLoads name="l"><objects>{forces}</objects>'
            "<datafile>grf.mot</datafile></ExternalLoads></OpenSimDocument>"
        )
        return events_from_external_loads(tmp_path / "grf.xml", **settings)

    return find


def test_sound_forces_have_no_notes(loads):
    events = loads(steps(RIGHT), steps(LEFT))
    assert events.notes == ()
    assert events.right == pytest.approx(RIGHT, abs=2e-3)
    assert events.left == pytest.approx(LEFT, abs=2e-3)


@settings(deadline=None, max_examples=40)
@given(offset=st.floats(-60.0, 60.0), drift=st.floats(-60.0, 60.0), noise=st.floats(0.0, 1.5), seed=st.integers(0, 99))
def test_an_offset_is_measured_where_nobody_stands_and_removed(offset, drift, noise, seed):
    """Whatever a plate reads while nobody is on it, with its drift and noise, the same steps are found."""
    rng = np.random.default_rng(seed)
    right = steps(RIGHT) + offset + drift * TIME / TIME[-1] + noise * rng.normal(size=TIME.size)
    times, levels = unloaded_levels(TIME, right)
    assert levels == pytest.approx(offset + drift * times / TIME[-1], abs=4.0 * noise + 4.0)
    found = gait_events(TIME, without_offset(TIME, right, "drift"), steps(LEFT))
    assert found.right == pytest.approx(RIGHT, abs=5e-3)
    assert found.notes == ()


def test_an_offset_is_told_with_its_remedy(loads):
    right, left = steps(RIGHT) + 12.0, steps(LEFT) + 12.0
    events = loads(right, left)
    for word, note in zip(("right", "left"), events.notes, strict=True):
        assert f"the {word} foot's plate reads 12 N while nobody is on it" in note
        assert "Set <force_offset_removal> to constant, or raise <release_threshold>" in note
        assert "joint torques need it subtracted in the file" in note
    assert not any("one foot on two plates" in note for note in events.notes)
    for settings_ in ({"force_offset_removal": "constant"}, {"force_offset_removal": "drift"}, {"release": 15.0}):
        events = loads(right, left, **settings_)
        assert events.right == pytest.approx(RIGHT, abs=3e-3)
        assert events.left == pytest.approx(LEFT, abs=3e-3)
        assert events.notes == ()


def test_an_offset_that_is_removed_stays_in_joint_torques(loads, caplog):
    loads(steps(RIGHT) + 12.0, steps(LEFT), force_offset_removal="constant")
    (told,) = [record.getMessage() for record in caplog.records]
    assert "'f1' reads 12 N while nobody is on the plate. That is subtracted to find steps, but joint torques" in told


@pytest.mark.parametrize("level", [-12.0, -60.0])
def test_a_plate_that_was_zeroed_under_load(loads, level):
    (note,) = loads(steps(RIGHT) + level, steps(LEFT)).notes
    assert f"the right foot's plate reads {level:g} N while nobody is on it: heel strikes are found late" in note
    assert loads(steps(RIGHT) + level, steps(LEFT), force_offset_removal="constant").notes == ()


def test_a_filter_that_swings_below_zero_is_no_offset(loads):
    """As forces of running come that were filtered at 6 Hz, like the markers: down to -50 N beside every contact."""
    b, a = butter(2, 6.0, fs=1000.0)
    strikes = np.arange(0.2, 6.0, 0.7)
    right, left = (filtfilt(b, a, steps(strikes + late, stance=0.25, peak=1600.0)) for late in (0.0, 0.35))
    assert right.min() < -20.0
    assert not [note for note in loads(right, left).notes if "nobody is on it" in note]


def test_a_drift_is_told_with_when_it_begins(loads):
    right = steps(RIGHT) + 10.0 * TIME
    events = loads(right, steps(LEFT))
    (note,) = events.notes
    assert "to 54.8 N while nobody is on it" in note
    assert "from 1." in note
    assert "Set <force_offset_removal> to drift" in note
    assert loads(right, steps(LEFT), force_offset_removal="drift").right == pytest.approx(RIGHT, abs=3e-3)


def test_forces_that_point_down(loads):
    with pytest.raises(
        CycleError, match=r"grf\.xml: the vertical forces point down \(mean -[\d.]+ N, lowest -[\d.]+ N\)"
    ):
        loads(-steps(RIGHT), -steps(LEFT))
    with pytest.raises(CycleError, match="the vertical forces on the left foot point down"):
        loads(steps(RIGHT), -steps(LEFT))


def test_time_in_another_unit():
    nothing = 0.0 * TIME
    forces = {"r": np.column_stack([nothing, steps(RIGHT), nothing])}
    refuse_impossible(TIME, forces)
    with pytest.raises(CycleError, match=r"at most 0\.1 s apart, but are 1 s apart \(median\): is their time"):
        refuse_impossible(1000.0 * TIME, forces)


def test_forces_in_body_weights(loads):
    with pytest.raises(CycleError, match=r"the largest vertical force is 2\.63: the forces are in body weights"):
        loads(steps(RIGHT) / 355.0, steps(LEFT) / 355.0)
    (note,) = loads(steps(RIGHT) / 7.0, steps(LEFT) / 7.0).notes
    assert "the largest vertical force is 100 N: is it in percent of body weight?" in note
    # A child of 15 kg.
    assert loads(steps(RIGHT) / 4.2, steps(LEFT) / 4.2).notes == ()


def test_forces_in_the_laboratorys_axes(loads):
    turned = [np.column_stack([0.1 * f, 0.05 * f, f]) for f in (steps(RIGHT), steps(LEFT))]
    with pytest.raises(CycleError, match=r"the component z of the forces is larger than the vertical one, y \(means"):
        loads(*turned)


def test_no_force_at_all(loads):
    with pytest.raises(CycleError, match="the forces on the feet are zero throughout"):
        loads(np.zeros(TIME.size), np.zeros(TIME.size))


def test_contacts_that_are_too_short_are_counted(loads):
    right, left = (steps(s, stance=0.09, peak=2500.0) for s in (RIGHT, LEFT))
    events = loads(right, left)
    assert events.right.size == events.left.size == 0
    assert len(events.notes) == 2
    assert "6 right contacts of 0.090 to 0.090 s, which carry up to 2500 N, do not count" in events.notes[0]
    assert "<minimum_contact_duration> is 0.1 s" in events.notes[1]
    assert loads(right, left, minimum_contact=0.05).right == pytest.approx(RIGHT, abs=2e-3)
    # What is no step is noise.
    noisy = steps(RIGHT) + steps([0.95], stance=0.02, peak=40.0)
    assert loads(noisy, steps(LEFT)).notes == ()
    # A runner whose foot is off the ground for less than the minimum.
    hasty = steps(np.arange(0.2, 6.0, 0.34), stance=0.26)
    (note, *_) = loads(hasty, steps(LEFT)).notes
    assert "losses of contact of the right foot of 0.0" in note
    assert "<minimum_swing_duration> is 0.1 s" in note


def test_a_gap_in_time_is_told_and_makes_no_event(loads):
    keep = (TIME < 2.0) | (TIME > 2.6)
    time = TIME[keep]
    events = loads(steps(RIGHT)[keep], steps(LEFT)[keep], time=time)
    assert "rows are missing between 1.999 and 2.601 s (0.602 s): events there are unknown" in events.notes[0]
    assert events.right == pytest.approx(RIGHT[RIGHT[2] != RIGHT], abs=2e-3)
    assert all(not 2.0 < t < 2.6 for t in (*events.right, *events.left, *events.right_toe_offs, *events.left_toe_offs))


def test_both_feet_on_one_plate(loads):
    both = steps(RIGHT) + steps(LEFT)
    both[both < 300.0] = 300.0
    events = loads(both, np.zeros(TIME.size))
    (note,) = events.notes
    assert (
        "the right foot's force never falls below 300 N (release: 10 N) and the other foot's never exceeds 0 N" in note
    )
    assert "both feet stand on the right foot's plate, which is never free" in note


def test_one_side_without_a_strike(loads):
    events = loads(steps(RIGHT), np.full(TIME.size, 3.0))
    assert events.notes == ("the left foot never strikes the ground: its largest force is 3 N",)
    # Somebody stands on the plate: that is not one foot on two plates.
    events = loads(np.full(TIME.size, 400.0), steps(LEFT))
    assert events.left == pytest.approx(LEFT, abs=2e-3)
    assert events.notes == ("the right foot's force never falls below 400 N (release: 10 N): its plate is never free",)


def test_a_prosthesis(loads, caplog):
    right, left = steps(RIGHT), steps(LEFT)
    events = loads(right, left, bodies=("calcn_r", "foot_pros"))
    assert "acts on 'foot_pros', whose side is not known (<foot_bodies> can say it: foot_pros=r, or =l)" in caplog.text
    assert events.left.size == 0
    assert "the left foot never strikes the ground: its largest force is 0 N" in events.notes
    for body in ("foot_pros", "socket_r", "/bodyset/pylon"):
        events = loads(right, left, bodies=("calcn_r", body), foot_bodies={body.rsplit("/", 1)[-1]: "l"})
        assert events.left == pytest.approx(LEFT, abs=2e-3)
    with pytest.raises(CycleError, match="<foot_bodies> can say which limb a body is"):
        loads(right, left, bodies=("socket_r", "socket_l"))


@pytest.mark.parametrize("size", [1, 2, 7, 50, 999])
@pytest.mark.parametrize("rows", [3, 100, 2001])
def test_filters_are_scipy_s(rows, size):
    values = np.random.default_rng(0).normal(size=rows)
    np.testing.assert_array_equal(_lowest_around(values, size), minimum_filter1d(values, size, mode="nearest"))
    mean = _windows(values, size).mean(axis=1)
    np.testing.assert_allclose(mean, uniform_filter1d(values, size, mode="nearest"), atol=1e-13)
