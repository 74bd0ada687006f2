"""Heel strikes from ground reactions: made up to be difficult, and every real recording at hand."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys

import numpy as np
import pytest

from opensim_nem2e.errors import CycleError, LabelError, StorageError
from opensim_nem2e.signals.cycles import cycles_from_strikes
from opensim_nem2e.signals.events import (
    events_from_external_loads,
    find_contacts,
    foot_side,
    gait_events,
    heel_strikes,
)


def force_of(time: np.ndarray, *contacts: tuple[float, float, float]) -> np.ndarray:
    """Return a force with ramps of 1 ms at the ends of (begin, end, newton) contacts."""
    force = np.zeros_like(time)
    for begin, end, newton in contacts:
        force += newton * np.interp(time, [begin, begin + 1e-3, end - 1e-3, end], [0.0, 1.0, 1.0, 0.0])
    return force


TIME = np.linspace(0.0, 5.0, 5001)


def test_crossing_is_found_between_rows():
    time = np.arange(0.0, 1.0, 0.01)
    force = 1000.0 * np.clip(time - 0.2037, 0.0, 0.4)
    # Rises from 0 at 0.2037 s with 1000 N/s: 20 N at 0.2237 s, exactly, whatever the rows.
    assert heel_strikes(time, force) == pytest.approx([0.2237], abs=1e-9)
    assert heel_strikes(time, force, threshold=50.0) == pytest.approx([0.2537], abs=1e-9)


def test_a_contact_that_is_on_at_the_start_is_no_strike():
    force = force_of(TIME, (-1.0, 0.5, 700), (1.2, 1.9, 700), (4.6, 9.0, 700))
    contacts = find_contacts(TIME, force)
    assert contacts[0, 0] == -np.inf
    assert contacts[-1, 1] == np.inf
    assert heel_strikes(TIME, force) == pytest.approx([1.2, 4.6], abs=1e-3)


def test_never_on_always_on_and_one_row():
    assert heel_strikes(TIME, np.zeros(5001)).size == 0
    assert find_contacts(TIME, np.zeros(5001)).shape == (0, 2)
    assert heel_strikes(TIME, np.full(5001, 700.0)).size == 0
    assert find_contacts([0.0], [700.0]).tolist() == [[-np.inf, np.inf]]


def test_hysteresis_and_debounce():
    rng = np.random.default_rng(0)
    # Noise of 15 N during swing does not reach the threshold; during the slow unloading it does not restart contact.
    force = force_of(TIME, (1.0, 1.7, 700), (2.1, 2.8, 700)) + rng.uniform(-15.0, 15.0, TIME.size)
    assert heel_strikes(TIME, force) == pytest.approx([1.0, 2.1], abs=2e-3)
    # A bounce at the strike belongs to it: its first touch counts.
    bounce = force_of(TIME, (1.0, 1.02, 300), (1.03, 1.7, 700))
    assert heel_strikes(TIME, bounce) == pytest.approx([1.0], abs=1e-3)
    # A brush in mid-swing, short and far from a contact, does not count; nor a dropout in stance.
    brush = force_of(TIME, (1.0, 1.3, 700), (1.31, 1.7, 700), (1.85, 1.9, 90), (2.1, 2.8, 700))
    assert heel_strikes(TIME, brush) == pytest.approx([1.0, 2.1], abs=1e-3)
    every = heel_strikes(TIME, brush, minimum_contact=0.0, minimum_swing=0.0)
    assert every == pytest.approx([1.0, 1.31, 1.85, 2.1], abs=1e-3)


def test_one_foot_on_two_belts_is_one_foot():
    # Running: right, left, right, left; at the second left step the foot touches the right belt, too, and harder.
    right = force_of(TIME, (0.5, 0.8, 1400), (1.3, 1.6, 1400), (1.71, 1.98, 900), (2.1, 2.4, 1400))
    left = force_of(TIME, (0.9, 1.2, 1400), (1.7, 2.0, 500), (2.5, 2.8, 1400))
    events = gait_events(TIME, right, left)
    assert events.right == pytest.approx([0.5, 1.3, 2.1], abs=1e-3)
    assert events.left == pytest.approx([0.9, 1.7, 2.5], abs=1e-3)
    assert "1 right contacts" in events.notes[0]
    assert gait_events(TIME, right, left, same_foot_overlap=2.0).right.size == 4
    # Nothing before it says whose turn it is: the impulse does.
    alone = (TIME > 1.65) & (TIME < 2.05)
    first = gait_events(TIME[alone], right[alone], left[alone])
    assert first.right == pytest.approx([1.71], abs=1e-3)
    assert first.left.size == 0


def test_two_steps_that_merge_on_one_belt():
    # Running: the left foot lands on both belts at 0.9 s, and stays on the right one until the right foot lands there.
    right = force_of(TIME, (0.5, 0.8, 1400), (0.901, 1.6, 900), (1.71, 1.98, 900), (2.1, 2.4, 1400))
    left = force_of(TIME, (0.9, 1.2, 1400), (1.7, 2.0, 1400), (2.5, 2.8, 1400))
    events = gait_events(TIME, right, left)
    # When the right foot landed is not known; that the contact at 1.71 s is the left foot's is.
    assert events.right == pytest.approx([0.5, 2.1], abs=2e-3)
    assert events.left == pytest.approx([0.9, 1.7, 2.5], abs=2e-3)
    assert events.right_toe_offs == pytest.approx([0.8, 1.6, 2.4], abs=2e-3)
    # The other way round: the right foot's contact goes on under the left foot.
    right = force_of(TIME, (0.5, 1.199, 900), (1.3, 1.6, 1400))
    events = gait_events(TIME, right, force_of(TIME, (0.9, 1.2, 1400)))
    assert events.right == pytest.approx([0.5, 1.3], abs=2e-3)
    assert events.right_toe_offs == pytest.approx([1.6], abs=2e-3)


def test_double_support_of_walking_is_not_one_foot_on_two_plates():
    right = force_of(TIME, *[(k, k + 0.65, 600) for k in (0.2, 1.2, 2.2, 3.2)])
    left = force_of(TIME, *[(k, k + 0.65, 600) for k in (0.7, 1.7, 2.7, 3.7)])
    events = gait_events(TIME, right, left)
    assert (events.right.size, events.left.size, events.notes) == (4, 4, ())


def test_bad_forces_are_named():
    with pytest.raises(StorageError, match="one entry per force"):
        heel_strikes([0.0, 1.0], [0.0])
    with pytest.raises(StorageError, match="increase strictly"):
        heel_strikes([0.0, 0.0], [0.0, 1.0])
    with pytest.raises(StorageError, match=r"no number at 1\.0000 s"):
        heel_strikes([0.0, 1.0], [0.0, np.nan])
    with pytest.raises(ValueError, match="release <= threshold"):
        heel_strikes([0.0, 1.0], [0.0, 0.0], release=30.0)


@pytest.mark.parametrize(
    ("body", "side"),
    [
        *[(name, "r") for name in ("calcn_r", "toes_r", "talus_r", "foot_r", "r_foot", "/bodyset/calcn_r", "CALCN_R")],
        *[(name, "l") for name in ("calcn_l", "toes_l", "l_foot", "foot_left", "LeftFoot", "calcaneus_left", "toes_L")],
        *[(name, "r") for name in ("Rfoot", "rtoes", "calcnR", "forefootR")],
        *[(name, "l") for name in ("Lfoot", "lheel", "toesL", "talusL")],
        *[(name, None) for name in ("rearfoot", "calcn", "heel", "midfoot", "toes")],
        *[(name, None) for name in ("pelvis", "hand_r", "foot", "torso", "tibia_r", "ground")],
    ],
)
def test_which_foot(body, side):
    assert foot_side(body) == side


# --- files --------------------------------------------------------------------------------------------------------


def write_loads(folder, forces, data_file="grf.mot"):
    """Write an ExternalLoads file; forces are (body, identifier, frame)."""
    items = "".join(
        f"""<ExternalForce name="force{k}"><applied_to_body>{body}</applied_to_body>
        <force_expressed_in_body>{frame}</force_expressed_in_body><point_expressed_in_body>ground</point_expressed_in_body>
        <force_identifier>{identifier}</force_identifier></ExternalForce>"""
        for k, (body, identifier, frame) in enumerate(forces)
    )
    path = folder / "loads.xml"
    path.write_text(
        f"""<?xml version="1.0"?><OpenSimDocument Version="40600"><ExternalLoads name="loads"><objects>{items}</objects>
        <datafile>{data_file}</datafile></ExternalLoads></OpenSimDocument>"""
    )
    return path


def write_forces(folder, columns, name="grf.mot"):
    """Write forces of TIME under their labels."""
    rows = np.column_stack([TIME, *columns.values()])
    head = f"grf\nversion=1\nnRows={TIME.size}\nnColumns={rows.shape[1]}\ninDegrees=no\nendheader\n"
    body = "\n".join("\t".join(f"{value:.6f}" for value in row) for row in rows)
    (folder / name).write_text(head + "\t".join(["time", *columns]) + "\n" + body + "\n")


def test_forces_of_one_foot_are_summed_and_others_left_alone(tmp_path, caplog):
    # The right foot rolls from plate 1 to plate 3; heel and toes are separate bodies. A hand holds a rail.
    write_forces(
        tmp_path,
        {
            "p1_vy": force_of(TIME, (1.0, 1.4, 600)),
            "p2_vy": force_of(TIME, (1.5, 2.2, 600)),
            "p3_vy": force_of(TIME, (1.35, 1.7, 600), (2.1, 2.8, 600)),
            "rail_vy": force_of(TIME, (0.2, 4.0, 100)),
        },
    )
    path = write_loads(
        tmp_path,
        [
            ("calcn_r", "p1_v", "ground"),
            ("/bodyset/calcn_l", "p2_v", "/ground"),
            ("toes_r", "p3_v", "ground"),
            ("hand_r", "rail_v", "hand_r"),
        ],
    )
    with caplog.at_level(logging.INFO, logger="opensim_nem2e"):
        events = events_from_external_loads(path)
    assert events.right == pytest.approx([1.0, 2.1], abs=1e-3)
    assert events.left == pytest.approx([1.5], abs=1e-3)
    assert "acts on 'hand_r', no foot" in caplog.text


def test_a_data_file_can_be_given_instead(tmp_path):
    write_forces(tmp_path, {"p1_vy": force_of(TIME, (1.0, 1.4, 600))})
    write_forces(tmp_path, {"p1_vy": force_of(TIME, (2.0, 2.4, 600))}, "other.mot")
    path = write_loads(tmp_path, [("calcn_r", "p1_v", "ground")])
    assert events_from_external_loads(path).right == pytest.approx([1.0], abs=1e-3)
    assert events_from_external_loads(path, data_file=tmp_path / "other.mot").right == pytest.approx([2.0], abs=1e-3)
    assert events_from_external_loads(path).left.size == 0


def test_what_is_wrong_with_the_loads_is_named(tmp_path):
    write_forces(tmp_path, {"p1_vy": force_of(TIME, (1.0, 1.4, 600))})
    with pytest.raises(CycleError, match=r"expressed in ground, found 'force0' expressed in 'calcn_r'"):
        events_from_external_loads(write_loads(tmp_path, [("calcn_r", "p1_v", "calcn_r")]))
    with pytest.raises(CycleError, match=r"calcn_r and calcn_l\), found forces on pelvis"):
        events_from_external_loads(write_loads(tmp_path, [("pelvis", "p1_v", "ground")]))
    with pytest.raises(LabelError, match=r"p2_vy"):
        events_from_external_loads(write_loads(tmp_path, [("calcn_r", "p2_v", "ground")]))


# --- real recordings ----------------------------------------------------------------------------------------------

LOADS = {
    "walk36": "ceinms_lower_limb/walk36_external_loads.xml",
    "walk45": "ceinms_lower_limb/walk45_external_loads.xml",
    "run81": "ceinms_lower_limb/run81_external_loads.xml",
    "walking_baseline1": "walk_sub1/walking_baseline1_external_loads.xml",
    "walk": "walk_3d_example/grf_walk.xml",
    "runningModel": "opensim_pipelines/runningModel/runningModel_GRF.xml",
    "gait2354": "opensim_pipelines/Gait2354_Simbody/subject01_walk1_grf.xml",
    "hamner": "opensim_pipelines/Hamner/External_Loads.xml",
    "gait10dof18musc": "opensim_pipelines/Gait10dof18musc/ExperimentalData/subject01_walk_grf.xml",
}


@pytest.mark.parametrize("trial", ["walk36", "walk45", "run81", "walking_baseline1", "walk"])
def test_listed_strides_are_found(shared_data, trial):
    path = shared_data / LOADS[trial]
    events = events_from_external_loads(path)
    with (path.parent / "strides.csv").open() as file:
        strides = [row for row in csv.DictReader(file) if row["trial"] == trial]
    assert strides
    for row in strides:
        found = events.right if row["side"] == "r" else events.left
        cuts = [row["heel_strike_t"]] if row.get("heel_strike_t") else [row["t0"], row["t1"]]
        for cut in cuts:
            # The list was made with a 20 N threshold and has four decimals; measured difference at most 0.1 ms, while a
            # step that is missed or taken for another is off by more than 300 ms.
            assert np.abs(found - float(cut)).min() < 2e-3


@pytest.mark.parametrize(
    ("trial", "right", "left", "shortest", "longest"),
    [
        # Complete cycles of each foot and the range of their durations (s), from the recordings. The treadmill trials
        # have about 52, 56, 76 and 54 strides: what is missing was merged with the other foot's step on the same belt.
        ("walk36", (44, 48), (52, 54), 1.10, 1.20),
        ("walk45", (50, 55), (54, 56), 0.98, 1.15),
        ("run81", (66, 76), (68, 76), 0.70, 0.85),
        ("walking_baseline1", (54, 54), (53, 53), 1.07, 1.15),
        ("walk", (1, 1), (0, 0), 1.14, 1.15),
        ("runningModel", (0, 0), (0, 0), 0.0, 0.0),
        ("gait2354", (1, 1), (1, 1), 1.2, 1.25),
        ("gait10dof18musc", (1, 1), (1, 1), 1.2, 1.25),
        ("hamner", (13, 13), (14, 14), 0.66, 0.72),
    ],
)
def test_cycles_of_every_recording(shared_data, trial, right, left, shortest, longest):
    events = events_from_external_loads(shared_data / LOADS[trial])
    for strikes, side, (fewest, most) in ((events.right, "r", right), (events.left, "l", left)):
        cycles, _ = cycles_from_strikes(strikes, side, -np.inf, np.inf)
        assert fewest <= len(cycles) <= most
        assert all(shortest < cycle.duration < longest for cycle in cycles)


def test_the_left_foot_on_the_right_belt(shared_data, caplog):
    # run81: the right belt feels 120 contacts in 76 strides, most of the others while the left belt does, too.
    path = shared_data / LOADS["run81"]
    raw = events_from_external_loads(path, same_foot_overlap=2.0, minimum_contact=0.0, minimum_swing=0.0)
    assert raw.right.size == 120
    with caplog.at_level(logging.WARNING, logger="opensim_nem2e"):
        events = events_from_external_loads(path)
    assert 70 <= events.right.size <= 80
    assert "one foot on two plates" in caplog.text
    # What remains takes turns: one left strike between two right ones, with few exceptions where steps have merged.
    between = np.searchsorted(events.left, events.right)
    assert np.mean(np.diff(between) == 1) > 0.9


def test_nothing_heavy_is_imported():
    code = (
        "import sys, opensim_nem2e.signals.events, opensim_nem2e.signals.cycles, opensim_nem2e.signals.resample; "
        "print(sorted({'opensim', 'torch', 'scipy', 'pandas', 'matplotlib', 'lxml'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_public_names_are_found():
    import opensim_nem2e.signals as signals

    for name in signals.__all__:
        assert getattr(signals, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'filter_emg'"):
        _ = signals.filter_emg
