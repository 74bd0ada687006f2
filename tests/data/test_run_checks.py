"""How well a tool did its work, as its own files say."""

from __future__ import annotations

import numpy as np
import pytest

from opensim_nem2e.data.check.run_checks import Peak, RunQuality, judge_run
from opensim_nem2e.storage import TimeSeries, write_storage


def write(path, time, columns):
    write_storage(path, TimeSeries(np.asarray(time), tuple(columns), np.column_stack(list(columns.values()))))
    return path


@pytest.mark.parametrize(("last", "reserve"), [(1.0, 4.0), (0.25, 50.0)])
def test_cmc_after_its_start(tmp_path, last, reserve):
    """The reserves of the start do not count, unless the run is hardly longer than that."""
    time = np.linspace(0.0, last, 101)
    ones = np.ones_like(time)
    start = np.where(time < 0.05, 50.0, -4.0)
    forces = {"soleus_r": 900 * ones, "knee_angle_r_reserve": start, "FY": -7 * ones, "MZ": 80 * ones}
    files = [
        write(tmp_path / "a_Actuation_force.sto", time, forces),
        write(tmp_path / "a_pErr.sto", time, {"pelvis_tx": 0.5 * ones, "knee_angle_r": -0.01 * time}),
    ]
    found = judge_run("CMCTool", files)
    assert (found.reserve.value, found.reserve.unit, found.reserve.name) == (reserve, "Nm", "knee_angle_r_reserve")
    assert (found.residual.value, found.residual.name) == (7.0, "FY")
    assert found.tracking.name == "knee_angle_r"
    assert found.tracking.value == pytest.approx(np.degrees(0.01 * last))
    assert str(found.tracking).endswith("deg (knee_angle_r)")
    # In RRA the reserves are the joints' motors.
    rra = judge_run("RRATool", files)
    assert rra.reserve is None
    assert rra.residual == found.residual


def test_static_optimisation_and_inverse_dynamics(tmp_path):
    time = np.arange(4.0)
    so = write(tmp_path / "a_StaticOptimization_force.sto", time, {"reserve_hip": [1.0, -3.0, np.nan, 2.0], "x": time})
    assert judge_run("AnalyzeTool", [so]).reserve.value == 3.0
    torques = {"pelvis_ty_force": -time, "pelvis_tilt_moment": 9 * time, "knee_angle_r_moment": 9 * time}
    dynamics = judge_run("InverseDynamicsTool", [write(tmp_path / "id.sto", time, torques)])
    assert (dynamics.residual.value, dynamics.residual.name) == (3.0, "pelvis_ty_force")
    assert dynamics.tracking is None


def test_markers_in_the_log():
    line = "Frame {} (t = 0):\t total squared error = 0.1, marker error: RMS = 0.03, max = {} ({})\n"
    log = line.format(0, 0.04, "R.ASIS") + line.format(1, 0.09, "Top.Head") + line.format(2, 0.02, "R.Heel")
    worst = judge_run("InverseKinematicsTool", [], log).tracking
    assert (worst.value, worst.unit, worst.name) == (0.09, "m", "Top.Head")
    # Scale prints the pose that it ends with last.
    assert judge_run("ScaleTool", [], log).tracking.name == "R.Heel"
    assert judge_run("ScaleTool", [], "").tracking is None


def test_nothing_to_see(tmp_path):
    (tmp_path / "a_pErr.sto").write_text("no storage")
    found = judge_run("CMCTool", [tmp_path / "a_pErr.sto"])
    assert found.tracking is found.reserve is found.residual is None
    assert judge_run("STDRRefineTool", []) == found


def test_markers_far_off_are_doubtful():
    line = "Frame {} (t = 0):\t total squared error = 0.1, marker error: RMS = 0.03, max = {} ({})\n"
    (told,) = judge_run("InverseKinematicsTool", [], line.format(1, 0.114, "R.Acromium")).doubts
    assert told.startswith("marker R.Acromium is up to 0.114 m from where it was recorded; 0.04 m is the most")
    assert judge_run("InverseKinematicsTool", [], line.format(1, 0.039, "R.Heel")).doubts == []
    assert RunQuality(Peak(0.3, "m", "pelvis_tx")).doubts == RunQuality(Peak(8.0, "deg", "hip_flexion_r")).doubts == []
    assert RunQuality().doubts == []
