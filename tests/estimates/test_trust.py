"""What the log and the trust table say of bands and of cycles that are unlike those of the training subjects."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.data.leg_motion import JOINTS, JointAngles
from opensim_nem2e.estimates.estimate import CycleCurves, Estimate, MuscleEstimate
from opensim_nem2e.estimates.trust import (
    CycleTrust,
    errors_on_others,
    judge_cycles,
    log_bands,
    log_cycles,
    log_training_range,
    log_trust,
    validation_table,
)
from opensim_nem2e.methods.bands import Bands
from opensim_nem2e.methods.base import Provenance
from opensim_nem2e.methods.training_range import References, TrainingRange
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage import TimeSeries
from opensim_nem2e.storage.tables import write_rows

PHASE = np.linspace(0.0, 1.0, 20)
#: Two muscles and three joints of one training subject.
ACTIVE = np.stack(
    [0.1 + 0.5 * np.exp(-(((PHASE - 0.4) / 0.1) ** 2)), 0.1 + 0.4 * np.exp(-(((PHASE - 0.8) / 0.1) ** 2))]
)
ANGLES = np.stack([20 * np.cos(2 * np.pi * PHASE), 30 - 30 * np.cos(2 * np.pi * PHASE), 10 * np.sin(2 * np.pi * PHASE)])
KNOWN = TrainingRange(
    4,
    (0.8, 1.4),
    (0.9, 1.6),
    References(("soleus", "tib"), ACTIVE[None], 0.5),
    References(JOINTS, ANGLES[None], 9.0),
    [{"name": "anna", "cycles": 9, "outside": 1, "other_motion_cycles": 3, "other_motion_outside": 2}],
)
TIME = np.linspace(0.0, 4.0, 401)
WALK, DASH = Cycle("r", 0.5, 1.6), Cycle("r", 1.6, 2.1)


def estimated(known=KNOWN, curves=(ACTIVE, ACTIVE)):
    muscles = {}
    for k, name in enumerate(("soleus", "tib")):
        both = np.stack([curve[k] for curve in curves])
        muscles[f"{name}_r"] = MuscleEstimate(
            f"{name}_r",
            np.zeros(TIME.size),
            np.ones(TIME.size, bool),
            standard_name=name,
            side="r",
            cycles=(WALK, DASH),
            curves=CycleCurves(both, both),
        )
    return Estimate(TIME, "emg", muscles, Provenance("mean", "mean EMG profile", training_range=known))


def motion(speed=1.2, knee=-1.0, degrees=True):
    """Make a motion of cycles of 1.1 s that begin at 0.5 s, like the training subject's, in a model of either knee."""
    phase = (TIME - WALK.start) / WALK.duration % 1.0
    unit = 1.0 if degrees else np.pi / 180
    columns = {f"{name}_r": unit * np.interp(phase, PHASE, row) for name, row in zip(JOINTS, ANGLES, strict=True)}
    columns["knee_angle_r"] *= knee
    columns |= {"pelvis_tx": speed * TIME, "pelvis_ty": 0.9 + 0 * TIME, "pelvis_tz": 0 * TIME}
    return JointAngles.of(TimeSeries(TIME, tuple(columns), np.column_stack(list(columns.values())), in_degrees=degrees))


@pytest.mark.parametrize(("knee", "degrees"), [(-1.0, True), (1.0, True), (-1.0, False)])
def test_a_cycle_like_the_training_subjects(knee, degrees):
    row = judge_cycles(estimated(), motion(knee=knee, degrees=degrees))[0]
    assert (row.side, row.start, row.outside, row.reasons) == ("r", 0.5, 0, "")
    assert row.speed == pytest.approx(1.2)
    assert row.input_distance == pytest.approx(0.0, abs=1e-9)
    assert row.angle_distance < 0.5


def test_reasons_and_numbers_of_a_cycle_that_is_not(caplog, tmp_path):
    rows = judge_cycles(estimated(curves=(ACTIVE, ACTIVE[::-1])), motion(speed=8.0))
    walk, dash = rows
    assert walk.reasons == "speed 8 m/s: outside 0.9 to 1.6"
    assert dash.outside == 1
    assert dash.input_distance > 0.9
    assert dash.reasons.startswith(
        "cadence 2 strides/s: outside 0.71 to 1.2; speed 8 m/s: outside 0.9 to 1.6; shape of"
    )
    log_cycles(rows)
    assert "2 of 2 cycles are unlike those of the training subjects" in caplog.text
    assert "Right cycle at 1.600 s: cadence 2 strides/s: outside 0.71 to 1.2" in caplog.text
    write_rows(tmp_path / "walk_trust.csv", CycleTrust, rows)
    with (tmp_path / "walk_trust.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [float(row["cycle_time"]) for row in read] == pytest.approx([1.1, 0.5])
    assert [row["outside"] for row in read] == ["1", "1"]


def test_what_is_not_known_is_not_judged():
    still = motion(speed=0.0)
    assert still.speed(0.5, 1.6) is None
    assert judge_cycles(estimated(), still)[0].speed is None
    without = judge_cycles(estimated())[0]
    assert (without.angle_distance, without.speed, without.outside) == (None, None, 0)
    assert judge_cycles(estimated(known=None)) == []
    # Degrees under a header that says radians.
    degrees = TimeSeries(TIME, ("knee_angle_r",), np.full((TIME.size, 1), 60.0))
    assert JointAngles.of(degrees).angles["knee_angle_r"][0] == 60.0
    arm = TimeSeries(TIME, ("elbow_flexion",), np.zeros((TIME.size, 1)))
    assert JointAngles.of(arm) is None


def test_bands_in_words(caplog):
    caplog.set_level("INFO", logger="opensim_nem2e")
    rows = [{"name": "ann", "coverage": 0.95, "width": 0.4}, {"name": "ben", "coverage": 0.85, "width": 0.6}]
    log_bands(Bands(0.9, {}, 2, 2.0, "worst subject", coverage={"subjects": rows}))
    assert "Bands of 90 %, calibrated on the residuals of 2 subjects left out of training" in caplog.text
    assert "that they were calibrated without (least: ben, 85 %); their mean width was 0.50" in caplog.text
    log_bands(None)
    assert "The bundle carries no bands" in caplog.text


def test_the_training_range_in_words(caplog):
    caplog.set_level("INFO", logger="opensim_nem2e")
    log_training_range(KNOWN)
    assert "cadence 0.71 to 1.2 strides/s, speed 0.9 to 1.6 m/s" in caplog.text
    assert "Of 9 cycles of training subjects left out, 1 left the range of the others." in caplog.text
    assert "Of 3 cycles in a motion that no other subject shows, 2 left that range." in caplog.text


def test_errors_are_those_of_the_trials_own_motion(caplog):
    """What is good in walking need not be in running: both stand in the bundle, and a trial is one of them."""

    def row(muscle, subject, how, refined, cycles=1):
        errors = {"E_opensim": 0.2, "E_refined": refined, "E_profiles": 0.25}
        return {
            "method": "leave_one_subject_out",
            "muscle": muscle,
            "subject": subject,
            "motion": how,
            "cycles": cycles,
            **errors,
        }

    rows = [row("soleus", name, "walk", 0.1) for name in ("anna", "ben", "carl")]
    rows += [row("soleus", "anna", "run", 0.3, 3), row("soleus", "anna", "run", 0.1), row("tib", "anna", "run", 0.16)]
    whole = {"subjects": 3, "E_opensim": 0.2, "E_refined": 0.12, "E_mean": 0.2, "E_profiles": 0.2}
    validation = {"leave_one_subject_out": {"soleus": whole, "tib": whole, "ALL": whole}, "subjects": rows}
    provenance = Provenance("mean", "mean EMG profile", validation=validation)
    words, errors = errors_on_others(provenance, "run")
    assert words == "subjects left out of training (motion: run)"
    assert errors["soleus"] == {"subjects": 1, "E_opensim": 0.2, "E_refined": pytest.approx(0.25), "E_profiles": 0.25}
    assert (
        errors_on_others(provenance)[1]
        is errors_on_others(provenance, "turn")[1]
        is validation["leave_one_subject_out"]
    )
    caplog.set_level("INFO", logger="opensim_nem2e")
    log_trust(replace(estimated(), provenance=provenance, motion="run"))
    assert "(motion: run), mean of 2 networks: OpenSim 0.200, refined 0.205, mean EMG profile" in caplog.text
    assert "no better than one of these: soleus." in caplog.text
    assert "How good the method is in this motion (run) is known of 1 subject only." in caplog.text
    caplog.clear()
    log_trust(replace(estimated(), provenance=provenance, motion="walk"))
    assert "refined 0.100" in caplog.text
    assert "only" not in caplog.text
    caplog.clear()
    average = [{**row, "E_profiles": row["E_refined"]} for row in rows]
    validation |= {
        "leave_one_laboratory_out": {"ALL": whole},
        "subjects": average + [{**row, "method": "leave_one_laboratory_out"} for row in average],
    }
    found = replace(estimated(), provenance=replace(provenance, validation=validation), motion="walk")
    own = replace(found.muscles["tib_r"], shape_source="EMG")
    log_trust(replace(found, muscles={**found.muscles, "tib_r": own}))
    assert "no nearer to measured EMG than the mean EMG profile" in caplog.text
    assert caplog.text.count("not as this subject's, but for those from the trial's own EMG.") == 1
    table = validation_table(Provenance("mean", "", validation={**validation, "subjects": rows}), ["soleus"])
    assert table[-2:] == [
        "walk             3    0.200    0.100   -50 %     0.250",
        "run              1    0.200    0.205    +2 %     0.250  (no better than OpenSim)",
    ]


def test_how_far_a_cycle_turns():
    straight = motion()
    assert straight.turned(WALK.start, WALK.end) is None
    degrees = np.interp(TIME, [1.0, 2.0], [170.0, 230.0])
    assert replace(straight, heading=degrees).turned(0.5, 1.6) == pytest.approx(36.0)
    assert replace(straight, heading=degrees).turned(3.5, 4.6) is None
    series = TimeSeries(
        TIME, ("hip_flexion_r", "pelvis_rotation"), np.radians([0 * TIME, -degrees]).T, in_degrees=False
    )
    assert JointAngles.of(series).turned(0.5, 1.6) == pytest.approx(36.0)
