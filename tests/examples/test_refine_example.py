"""The shipped example, refined by the shipped bundle from the command line, and its results given to OpenSim itself."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from opensim_nem2e.estimates.trust import errors_on_others
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.musculoskeletal.opensim.processes import run_opensim_tool
from opensim_nem2e.storage import read_storage

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"

TOOL_XML = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
	<{tool} name="{name}">
		<model_file>walker.osim</model_file>
		<replace_force_set>false</replace_force_set>
		<force_set_files>actuators.xml</force_set_files>
		<results_directory>opensim_results</results_directory>
		<initial_time>{initial}</initial_time>
		<final_time>{final}</final_time>
		<external_loads_file>external_loads.xml</external_loads_file>
		<states_file>results/walking_states.sto</states_file>
{more}
	</{tool}>
</OpenSimDocument>
"""

CONTROLLER = """		<ControllerSet name="Controllers">
			<objects>
				<ControlSetController>
					<controls_file>results/walking_controls.sto</controls_file>
				</ControlSetController>
			</objects>
		</ControllerSet>"""

ANALYSES = """		<AnalysisSet name="Analyses">
			<objects>
				<Kinematics name="Kinematics"><on>true</on><step_interval>20</step_interval></Kinematics>
				<Actuation name="Actuation"><on>true</on><step_interval>20</step_interval></Actuation>
			</objects>
		</AnalysisSet>"""


@pytest.fixture(scope="module")
def refined(refined_walking, tmp_path_factory) -> Path:
    """A copy of the example, refined by the README's own command."""
    return shutil.copytree(refined_walking, tmp_path_factory.mktemp("example") / "01_refine_walking")


def test_opensim_opens_every_result(refined, open_with_opensim):
    paths = sorted((refined / "results").glob("*.sto"))
    assert len(paths) == 7
    for path, (rows, columns, storage_rows, storage_columns) in open_with_opensim(paths).items():
        own = read_storage(path)
        assert (rows, columns) == own.data.shape
        assert (storage_rows, storage_columns) == (own.n_rows, len(own.labels))


def test_the_legs_muscles_change_and_nothing_else(refined):
    """Those without a network, too: all together make the torques of the motion. Fibers follow the activations."""
    before = read_storage(refined / "cmc" / "walking_states.sto")
    after = read_storage(refined / "results" / "walking_states.sto")
    with (refined / "results" / "walking_summary.csv").open() as stream:
        muscles = {row["muscle"] for row in csv.DictReader(stream)}
    targets = ("soleus", "gasmed", "gaslat", "tibant", "recfem", "vaslat", "vasmed", "bflh", "semimem", "glmax1")
    assert muscles == {f"{name}_{side}" for name in targets for side in "rl"}
    for label in before.labels:
        changed = not np.array_equal(before.column(label), after.column(label))
        muscle, state = label.split("/")[-2:]
        assert changed == (muscle.endswith(("_r", "_l")) and state in ("activation", "fiber_length")), label
    with (refined / "results" / "walking_gains.csv").open() as stream:
        shapes = {row["muscle"]: row["shape"] for row in csv.DictReader(stream)}
    assert {muscle for muscle, shape in shapes.items() if shape} == muscles
    assert set(shapes.values()) == {"network and profile", "profile", ""}
    with (refined / "results" / "walking_torques.csv").open() as stream:
        errors = [float(row["rmse_consistent_percent"]) for row in csv.DictReader(stream)]
    assert len(errors) == 6
    assert np.mean(errors) < 0.1


def test_soleus_of_the_walk_looks_like_emg(refined):
    """The soleus is active in stance (0 to 60 % of the cycle) and nearly silent in swing."""
    emg = read_storage(refined / "results" / "walking_emg.sto")
    log = (refined / "results" / "walking.log").read_text()
    start, end = 0.2482, 1.3655
    assert f"Complete right gait cycles (s): {start:.4f}-{end:.4f}." in log
    phase = (emg.time - start) / (end - start)
    soleus = emg.column("soleus_r")
    stance, swing = soleus[(phase > 0.1) & (phase < 0.6)], soleus[(phase > 0.7) & (phase < 0.95)]
    assert stance.mean() > 2.0 * swing.mean()


def test_bundle_says_how_far_it_can_be_trusted(refined):
    """In walking, which the trial is."""
    _, errors = errors_on_others(Bundle.load("gait").provenance, "walk")
    log = (refined / "results" / "walking.log").read_text()
    row = errors["soleus"]
    assert f"{row['E_opensim']:.3f}  {row['E_refined']:>7.3f}" in log


def test_analyze_tool_takes_the_states(refined):
    setup = refined / "setup_analyze.xml"
    setup.write_text(TOOL_XML.format(tool="AnalyzeTool", name="analyze", initial=0.5, final=0.7, more=ANALYSES))
    run_opensim_tool(setup, timeout=300)
    forces = read_storage(refined / "opensim_results" / "analyze_Actuation_force.sto")
    kinematics = read_storage(refined / "opensim_results" / "analyze_Kinematics_q.sto")
    assert forces.has("soleus_r")
    assert np.isfinite(forces.data).all()
    source = read_storage(refined / "results" / "walking_states.sto")
    label = next(label for label in source.labels if label.endswith("knee_angle_r/value"))
    expected = np.degrees(np.interp(kinematics.time, source.time, source.column(label)))
    np.testing.assert_allclose(kinematics.column("knee_angle_r"), expected, atol=0.01)


def test_forward_tool_reproduces_the_refined_activations(refined):
    """OpenSim integrates the refined controls and must arrive at the refined activations."""
    setup = refined / "setup_forward.xml"
    initial, final = 0.60, 0.70
    setup.write_text(TOOL_XML.format(tool="ForwardTool", name="forward", initial=initial, final=final, more=CONTROLLER))
    run_opensim_tool(setup, timeout=300)
    states = read_storage(refined / "opensim_results" / "forward_states.sto")
    wanted = read_storage(refined / "results" / "walking_activation.sto")
    controls = read_storage(refined / "results" / "walking_controls.sto")
    assert states.time[-1] == pytest.approx(final, abs=1e-3)
    free = 0
    for muscle in wanted.labels:
        reached = states.column(f"/forceset/{muscle}/activation")
        expected = np.interp(states.time, wanted.time, wanted.column(muscle))
        u = np.interp(states.time, controls.time, controls.column(muscle))
        if muscle.endswith("_r") and u.min() > 0.011:
            free += 1
            assert np.sqrt(np.mean((reached - expected) ** 2)) < 0.01, muscle
    assert free >= 4
