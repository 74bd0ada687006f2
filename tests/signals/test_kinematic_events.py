"""Heel strikes from paths: a made-up walker, and marker recordings with force plates beside them."""

from __future__ import annotations

import numpy as np
import pytest

from opensim_nem2e.errors import CycleError
from opensim_nem2e.signals.events import events_from_external_loads
from opensim_nem2e.signals.kinematic_events import kinematic_events
from opensim_nem2e.storage.trc import read_trc

TIME = np.arange(0.0, 6.0, 0.01)


def walker(speed, forward=(1.0, 0.0, 0.0), up=(0.0, 1.0, 0.0)):
    """Heels that swing 0.3 m about the pelvis once a second: right foremost at 0.3 s, left at 0.8 s."""
    ahead, above = np.asarray(forward), np.asarray(up)
    pelvis = TIME[:, None] * speed * ahead + above
    heels, toes = {}, {}
    for side, phase in (("r", 0.3), ("l", 0.8)):
        swing = 0.3 * np.cos(2.0 * np.pi * (TIME - phase))
        heels[side] = pelvis - above + swing[:, None] * ahead
        toes[side] = heels[side] + 0.2 * ahead
    return heels, toes, pelvis


@pytest.mark.parametrize("speed", [0.0, 1.3])
@pytest.mark.parametrize(
    ("forward", "up"), [((1, 0, 0), (0, 1, 0)), ((-0.6, 0, 0.8), (0, 1, 0)), ((0, 1, 0), (0, 0, 1))]
)
def test_a_walker_in_any_direction_overground_and_on_a_treadmill(speed, forward, up):
    heels, toes, pelvis = walker(speed, forward, up)
    events = kinematic_events(TIME, heels, toes, pelvis, up=up)
    assert events.right == pytest.approx(np.arange(6) + 0.3, abs=1e-3)
    assert events.left == pytest.approx(np.arange(6) + 0.8, abs=1e-3)
    assert events.right_toe_offs == pytest.approx(np.arange(6) + 0.8, abs=1e-3)
    assert {event.source for event in events.table()} == {"markers"}
    assert (
        len(events.table())
        == events.right.size + events.left.size + events.right_toe_offs.size + events.left_toe_offs.size
    )


def test_gaps_are_bridged_up_to_a_tenth():
    heels, toes, pelvis = walker(1.0)
    heels["r"][100:150] = np.nan
    assert kinematic_events(TIME, heels, toes, pelvis).right.size >= 5
    heels["r"][100:170] = np.nan
    with pytest.raises(CycleError, match=r"heel \(r\) must have .* with 12%"):
        kinematic_events(TIME, heels, toes, pelvis)
    with pytest.raises(CycleError, match="same places"):
        kinematic_events(TIME, toes, toes, pelvis)


def test_rows_of_another_marker_are_no_steps():
    heels, toes, pelvis = walker(1.0)
    sound = kinematic_events(TIME, heels, toes, pelvis)
    assert sound.notes == ()
    heels["r"][[250, 400, 401], 0] += 5.0
    events = kinematic_events(TIME, heels, toes, pelvis)
    assert events.right == pytest.approx(sound.right, abs=2e-3)
    assert (
        "the path of the heel (r) jumps away and back in 3 rows (first at 2.500 s): taken for missing" in events.notes
    )
    with pytest.raises(CycleError, match=r"at most 0\.1 s apart, but are 10 s apart \(median\): is their time in"):
        kinematic_events(1000.0 * TIME, heels, toes, pelvis)


@pytest.mark.parametrize("speed", [0.0, 1.3])
@pytest.mark.parametrize(("forward", "up"), [((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (0, 0, 1))])
def test_markers_that_were_exchanged(speed, forward, up):
    """Strikes and toe-offs, or right and left, would be exchanged; nothing else would look wrong."""
    heels, toes, pelvis = walker(speed, forward, up)
    right = 0.1 * np.cross(forward, up)
    for side, phase, place in (("r", 0.3, right), ("l", 0.8, -right)):
        lift = 0.1 * np.maximum(0.0, -np.sin(2.0 * np.pi * (TIME - phase)))[:, None] * np.array(up)
        heels[side], toes[side] = heels[side] + place + lift, toes[side] + place + lift
    flipped = [{"r": paths["l"], "l": paths["r"]} for paths in (heels, toes)]

    def notes(*paths):
        return kinematic_events(*paths, up=up).notes

    assert notes(TIME, heels, toes, pelvis) == ()
    assert notes(TIME, *flipped, pelvis)[0].startswith("the right heel is 20 cm to the left of the left one (mean)")
    assert notes(TIME, toes, heels, pelvis)[0].endswith("heels and toes seem to be exchanged")
    with pytest.raises(CycleError, match=r"each heel must be nearer to its own toe .* in the order left, right"):
        notes(TIME, heels, flipped[1], pelvis)
    # Run backwards, the same walk goes backwards.
    back = [{side: path[::-1] for side, path in paths.items()} for paths in (heels, toes)]
    assert "does the subject walk backwards?" in notes(TIME, *back, pelvis[::-1])[0]


def along(heading, up=(0.0, 1.0, 0.0)):
    """A walker whose direction turns: right foremost at 0.3 s, left at 0.8 s, each second."""
    ahead = np.column_stack([np.cos(heading), np.zeros(TIME.size), np.sin(heading)])
    pelvis = np.cumsum(0.01 * 1.2 * ahead, axis=0) + np.array([0.0, 1.0, 0.0])
    heels, toes = {}, {}
    for side, phase in (("r", 0.3), ("l", 0.8)):
        swing = 0.3 * np.cos(2.0 * np.pi * (TIME - phase))
        heels[side] = pelvis - np.array([0.0, 1.0, 0.0]) + swing[:, None] * ahead
        toes[side] = heels[side] + 0.2 * ahead
    return heels, toes, pelvis


@pytest.mark.parametrize("turn", [60.0, 90.0, 120.0])
def test_a_turn_within_a_trial(turn):
    """The direction of walking is that of each moment, not of the whole trial."""
    events = kinematic_events(TIME, *along(np.radians(turn) * np.clip((TIME - 2.0) / 2.0, 0.0, 1.0)))
    assert events.right == pytest.approx(np.arange(6) + 0.3, abs=0.02)
    assert events.left == pytest.approx(np.arange(6) + 0.8, abs=0.02)
    assert f"the direction of walking turns by up to {turn:.0f} degrees, 30 at" in events.notes[0]


def test_there_and_back():
    """Who turns round is not half a cycle off on the way back."""
    events = kinematic_events(TIME, *along(np.where(TIME < 3.05, 0.0, np.pi)))
    for found, phase in ((events.right, 0.3), (events.left, 0.8)):
        expected = np.arange(6) + phase
        away = np.abs(expected - 3.05) > 0.6
        for strike in expected[away]:
            assert np.abs(found - strike).min() < 0.02
        # Nothing is found half a cycle off.
        assert all(np.abs(strike - expected).min() < 0.05 or abs(strike - 3.05) < 0.6 for strike in found)
    assert "turns by up to 180 degrees" in events.notes[0]


def test_the_pelvis_must_be_above_the_feet():
    """Positions in the laboratory's axes, with z up, are not taken for walking on the wall."""
    heels, toes, pelvis = walker(1.3, forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0))
    with pytest.raises(CycleError, match=r"but is -0\.10 m above them there, and 1\.00 m along z: turn the positions"):
        kinematic_events(TIME, heels, toes, pelvis)
    heels, toes, pelvis = walker(1.3, up=(0.0, -1.0, 0.0))
    with pytest.raises(CycleError, match=r"is -1\.00 m above them there"):
        kinematic_events(TIME, heels, toes, pelvis)


def test_a_side_without_strikes_and_long_gaps_are_told():
    heels, toes, pelvis = walker(1.0)
    heels["l"] = pelvis - np.array([0.0, 1.0, 0.0])
    heels["r"][100:120] = np.nan
    notes = kinematic_events(TIME, heels, toes, pelvis).notes
    assert "the path of the heel (r) is missing from 1.000 to 1.190 s" in notes[0]
    assert notes[1].startswith("no strike of the left heel was found")


@pytest.mark.parametrize(
    ("markers", "loads", "toe", "pelvis", "strides"),
    [
        ("walk_3d_example/markers_walk.trc", "walk_3d_example/grf_walk.xml", "Toe", "S2", 2),
        (
            "opensim_pipelines/Gait2354_Simbody/subject01_walk1.trc",
            "opensim_pipelines/Gait2354_Simbody/subject01_walk1_grf.xml",
            "Toe.Tip",
            "V.Sacral",
            3,
        ),
        (
            "opensim_pipelines/Hamner/subject02_running.trc",
            "opensim_pipelines/Hamner/External_Loads.xml",
            "Toe.Tip",
            "V.Sacral",
            28,
        ),
    ],
)
def test_against_force_plates(shared_data, markers, loads, toe, pelvis, strides):
    recorded = read_trc(shared_data / markers)
    heels = {side: recorded.position(f"{side.upper()}.Heel") for side in "rl"}
    toes = {side: recorded.position(f"{side.upper()}.{toe}") for side in "rl"}
    found = kinematic_events(recorded.time, heels, toes, recorded.position(pelvis))
    forces = events_from_external_loads(shared_data / loads)
    compared = 0
    for ours, theirs in ((found.right, forces.right), (found.left, forces.left)):
        inside = [strike for strike in theirs if ours.min() - 0.2 < strike < ours.max() + 0.2]
        for strike in inside:
            assert -0.04 < ours[np.argmin(np.abs(ours - strike))] - strike < 0.015
        compared += len(inside)
    assert compared >= strides
