"""The torque check of STDRRefineTool on the shipped example, with real OpenSim runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from opensim_nem2e.errors import SetupError
from opensim_nem2e.estimates.torque_metrics import torque_changes, torque_table
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Refine soleus and tibialis of the example and check the torques; return the results' folder."""
    folder = tmp_path_factory.mktemp("checked")
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.setName("walking")
    tool.setResultsDir(folder)
    tool.write_figures = True
    tool.amplitude = "emg"
    tool.muscles = ["soleus", "tibant_r"]
    tool.check_torques = True
    tool.tendons = "rigid"
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    assert tool.run()
    return folder


def test_files_and_their_numbers_agree(checked, open_with_opensim):
    path = checked / "walking_torques.sto"
    rows, columns, *_ = open_with_opensim([path])[str(path)]
    torques = read_storage(path)
    assert (rows, columns) == torques.data.shape
    assert (checked / "walking_torques.png").stat().st_size > 10_000
    with (checked / "walking_torques.csv").open(newline="") as stream:
        table = {row["coordinate"]: row for row in csv.DictReader(stream)}
    # Only the ankles: no other coordinate has a refined muscle.
    assert list(table) == ["ankle_angle_r", "ankle_angle_l"]
    assert torques.labels == tuple(
        f"{name}_{kind}" for name in table for kind in ("inverse_dynamics", "opensim", "refined")
    )
    for name, row in table.items():
        needed, opensim, refined = (
            torques.column(f"{name}_{kind}") for kind in ("inverse_dynamics", "opensim", "refined")
        )
        changed = np.abs(refined - opensim) > 1e-6
        assert changed.any()
        # What the right ankle needs in its own cycle, by hand.
        start, end = {"r": (0.2482, 1.3655), "l": (0.8068, 1.9240)}[name[-1]]
        own = (torques.time > start) & (torques.time < end)
        assert int(row["rows"]) == pytest.approx(own.sum(), abs=2)
        assert float(row["peak"]) == pytest.approx(np.abs(needed[own]).max(), rel=0.01)
        for key, error in (
            ("rmse_opensim", opensim - needed),
            ("rmse_refined", refined - needed),
            ("rms_change", refined - opensim),
        ):
            assert float(row[key]) == pytest.approx(np.sqrt(np.mean(error[own] ** 2)), rel=0.05)
            assert float(row[f"{key}_percent"]) == pytest.approx(100 * float(row[key]) / float(row["peak"]), rel=1e-3)
        # The trap: a check that keeps the fiber lengths of an elastic tendon finds no change at all.
        assert float(row["rms_change"]) > 1.0
        assert not changed[(torques.time < start - 0.05) | (torques.time > end + 0.05)].any()


def test_the_log_says_it(checked):
    log = (checked / "walking.log").read_text()
    assert "RMSE OpenSim" in log
    assert "ankle_angle_r" in log
    assert "No refined muscle spans hip_flexion_r" in log
    assert "Read the change, not the RMSE alone" in log
    setup = (checked / "walking_effective_setup.xml").read_text()
    assert "<check_torques>true</check_torques>" in setup


def test_changes_by_hand():
    needed = np.array([[3.0, 1.0], [-4.0, 1.0], [99.0, 1.0]])
    opensim = needed + np.array([1.0, 0.0])
    refined = needed + np.array([[1.0, 2.0], [-1.0, 2.0], [50.0, 2.0]])
    compared = np.array([[True, True], [True, True], [False, True]])
    knee, hip = torque_changes(["knee", "hip"], needed, opensim, refined, compared)
    assert (knee.rows, knee.peak, knee.rmse_opensim, knee.rmse_refined) == (2, 4.0, 1.0, 1.0)
    assert knee.rms_change == pytest.approx(np.sqrt(2.0))
    assert knee.rms_change_percent == pytest.approx(100 * np.sqrt(2.0) / 4.0)
    assert (hip.rows, hip.rmse_opensim, hip.rms_change, hip.rms_change_percent) == (3, 0.0, 2.0, 200.0)
    assert len(torque_table([knee, hip])) == 3


def test_what_it_needs_is_said_at_once():
    tool = STDRRefineTool()
    tool.activations_file = "activations.sto"
    tool.cycle_source = "whole_file"
    tool.check_torques = True
    with pytest.raises(SetupError) as caught:
        tool.run()
    faults = "\n".join(caught.value.faults)
    assert "<check_torques> needs <model_file>" in faults
    assert "<check_torques> needs a motion" in faults


def test_a_moco_solution_tells_the_motion(tmp_path):
    """It holds coordinates beside the activations; those of MocoInverse do not."""
    tool = STDRRefineTool()
    tool.cycle_source, tool.check_torques = "whole_file", True
    for label, told in (("/jointset/knee_r/knee_angle_r/value", True), ("/forceset/reserve_knee", False)):
        file = tmp_path / "solution.sto"
        file.write_text(f"inDegrees=no\nendheader\ntime\t/forceset/soleus_r/activation\t{label}\n0\t0.1\t0.2\n")
        tool.activations_file = str(file)
        with pytest.raises(SetupError) as caught:
            tool.run()
        assert ("needs a motion" not in "".join(caught.value.faults)) == told
