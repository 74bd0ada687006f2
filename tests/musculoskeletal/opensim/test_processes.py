"""OpenSim tools in their own process: real runs, real failures."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import opensim
import pytest
from arm_maker import build_arm, write_cmc, write_inverse_dynamics

from opensim_nem2e.errors import MissingFileError, OpenSimRunError, SetupError
from opensim_nem2e.musculoskeletal.opensim.processes import run_opensim_tool
from opensim_nem2e.storage import read_storage


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, awkwardly named, with the model, its motion and its tasks."""
    folder = tmp_path_factory.mktemp("Gelenk ä & co")
    build_arm(folder)
    return folder


@pytest.mark.parametrize("name", ["arm", "a_rather_long_name_of_a_tool", "x"])
def test_cmc_leaves_a_whole_states_file(arm: Path, name: str) -> None:
    """The header survives the process's end whatever the tool's name, on whose length the damage depends."""
    here = Path.cwd()
    run = run_opensim_tool(write_cmc(arm, name))
    assert Path.cwd() == here
    assert run.returncode == 0
    assert run.tool == "CMCTool"
    states = run.results_directory / f"{name}_states.sto"
    assert states in run.outputs
    assert run.results_directory / f"{name}_controls.sto" in run.outputs
    assert states.read_text().startswith(f"{name}\nversion=1\nnRows=")
    table = opensim.TimeSeriesTable(str(states))
    assert "/forceset/flexor/activation" in table.getColumnLabels()
    series = read_storage(states)
    assert series.notes == ()
    assert series.n_rows == table.getNumRows() > 10
    assert not list(run.results_directory.glob(".*")), "the copy must be gone"
    assert not (arm / "opensim.log").exists()


def test_log_file_keeps_everything(arm: Path, tmp_path: Path) -> None:
    run = run_opensim_tool(write_inverse_dynamics(arm), log_file=tmp_path / "id.log")
    text = (tmp_path / "id.log").read_text()
    assert "InverseDynamicsTool" in text
    assert run.log_tail.splitlines()[-1] in text
    assert run.outputs == (arm / "id" / "moments.sto",)
    assert run.seconds > 0


def test_an_impossible_motion_is_an_error_with_the_reason(tmp_path: Path) -> None:
    """Muscles too weak for the motion: CMC's optimiser fails, and run() returns false or raises."""
    build_arm(tmp_path, strength=0.01)
    with pytest.raises(
        OpenSimRunError, match=r"(?s)CMCTool (gave up|stopped with an error).*Unable to find a feasible"
    ):
        run_opensim_tool(write_cmc(tmp_path, "weak"))


def test_missing_input_is_an_error_with_the_reason(arm: Path) -> None:
    with pytest.raises(OpenSimRunError, match=r"(?s)CMCTool.*absent\.mot"):
        run_opensim_tool(write_cmc(arm, "absent", motion="absent.mot"))


def test_a_crash_is_an_error(arm: Path) -> None:
    """Inverse kinematics without its model ends the process with a segmentation fault."""
    setup = arm / "setup_ik.xml"
    setup.write_text(
        """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
    <InverseKinematicsTool name="arm">
        <model_file>nowhere.osim</model_file>
        <marker_file>nowhere.trc</marker_file>
    </InverseKinematicsTool>
</OpenSimDocument>
"""
    )
    with pytest.raises(OpenSimRunError, match=r"InverseKinematicsTool (crashed|stopped with an error)"):
        run_opensim_tool(setup)


def test_time_limit(arm: Path, tmp_path: Path) -> None:
    log = tmp_path / "cmc.log"
    start = time.monotonic()
    with pytest.raises(OpenSimRunError, match=r"killed at the time limit of 1\.5 s"):
        run_opensim_tool(write_cmc(arm, "slow", end=0.95), timeout=1.5, log_file=log)
    # Killed: the log does not grow any more.
    assert time.monotonic() - start < 60
    size = log.stat().st_size
    time.sleep(0.3)
    assert log.stat().st_size == size


def test_working_directory(arm: Path, tmp_path: Path) -> None:
    """Inverse dynamics looks for its model in the working directory: the caller can choose another one."""
    setup = write_inverse_dynamics(arm)
    with pytest.raises(OpenSimRunError, match=r"arm\.osim"):
        run_opensim_tool(setup, cwd=tmp_path)
    with pytest.raises(MissingFileError, match="no such folder"):
        run_opensim_tool(setup, cwd=tmp_path / "absent")


def test_no_search_path_is_needed(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert run_opensim_tool(write_inverse_dynamics(arm)).returncode == 0


def test_setup_of_something_else(tmp_path: Path) -> None:
    setup = tmp_path / "setup.xml"
    setup.write_text('<OpenSimDocument Version="40600"><CMCTol name="x"/></OpenSimDocument>')
    with pytest.raises(SetupError, match=r"holds 'CMCTol'\. Did you mean 'CMCTool'\?"):
        run_opensim_tool(setup)
    setup.write_text('<OpenSimDocument Version="40600"/>')
    with pytest.raises(SetupError, match="holds no tool"):
        run_opensim_tool(setup)
    with pytest.raises(MissingFileError):
        run_opensim_tool(tmp_path / "absent.xml")


def test_time_limit_must_be_positive(arm: Path) -> None:
    with pytest.raises(ValueError, match="positive number of seconds; found 0"):
        run_opensim_tool(write_inverse_dynamics(arm), timeout=0)


def test_opensim_is_not_imported_by_the_parent() -> None:
    code = "import sys, opensim_nem2e.musculoskeletal.opensim.processes; sys.exit('opensim' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert (
        os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(root)})
        == 0
    )
