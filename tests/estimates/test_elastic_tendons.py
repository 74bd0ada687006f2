"""Torques of muscles with elastic tendons: CMC, which simulated such, judges fibers, torques and what they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import opensim
import pytest

from opensim_nem2e import NMMTool, TimeSeries
from opensim_nem2e.estimates import mechanics
from opensim_nem2e.estimates.torque_consistent import make_consistent
from opensim_nem2e.estimates.torque_metrics import overall_percent
from opensim_nem2e.estimates.torques import joint_terms
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import read_storage, write_storage
from opensim_nem2e.tools.mechanics_options import mechanics_settings
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"


@pytest.fixture(scope="module")
def tool():
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    # Its states have fiber lengths, so that elastic tendons are what it takes unless told otherwise.
    assert tool.tendons == "auto"
    return tool


@pytest.fixture(scope="module")
def read(tool):
    read = tool._estimate()
    return read.estimate, read.writer, read.model


@pytest.fixture(scope="module")
def terms(tool, read, paths_cache):
    _, writer, model = read
    files = tool.resolve("coordinates_file"), tool.resolve("external_loads_file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSIM_NEM2E_CACHE", str(paths_cache))
        return joint_terms(writer.trial, model, *files, -1.0, (), mechanics_settings(tool).tendons)


def percent(made, needed):
    """Return the error of torques in percent of the peaks."""
    errors = np.sqrt(np.mean((made - needed) ** 2, axis=0))
    return overall_percent(errors.tolist(), np.abs(needed).max(axis=0).tolist())


def test_cmcs_activations_lead_to_cmcs_fibers_and_torques(read, terms):
    trial = read[1].trial
    states = read_storage(EXAMPLE / "cmc" / "walking_states.sto")
    activations = np.column_stack(
        [interpolate(trial.time, trial.activations[name], terms.time) for name in terms.muscles]
    )
    # CMC starts in an equilibrium of its own.
    later = terms.time > terms.time[0] + 0.05
    hill = terms.elastic.hill
    along, _, _ = terms.elastic.fibers(activations)
    theirs = interpolate(
        states.time, states.select([f"/forceset/{name}/fiber_length" for name in hill.names]), terms.time
    )
    away = (np.hypot(along, hill.fiber_width) - theirs)[later] / hill.optimal_fiber_length
    assert np.sqrt(np.mean(away**2, axis=0)).max() < 0.01
    needed = terms.inverse_dynamics[later]
    rigid = super(type(terms), terms).torques(activations)[later]
    assert percent(terms.torques(activations)[later], needed) < 3.0 < 10.0 < percent(rigid, needed)


def test_consistent_activations_make_the_torques_with_their_own_fibers(tool, read, terms):
    estimate, writer, _ = read
    settings = mechanics_settings(tool).redistribution
    refined = estimate.as_activations(writer.muscles, settings.crossfade)
    found = make_consistent(writer.trial, writer.muscles, refined, terms, settings, None, estimate)
    assert found.new.amplitude.tendons == "elastic"
    assert found.new.amplitude.torque_error < 0.1
    values = found.new.values(writer.trial.activations)
    activations = np.column_stack([interpolate(writer.trial.time, values[name], terms.time) for name in terms.muscles])
    inside = found.check.compared.all(axis=1)
    columns = [terms.coordinates.index(name) for name in found.check.terms.coordinates]
    # As the muscles make them from their first row on, not as the terms say at which the rounds ended.
    made = terms.torques(activations)[:, columns]
    assert percent(made[inside], found.check.terms.inverse_dynamics[inside]) < 0.2
    np.testing.assert_allclose(made, found.check.consistent, atol=0.5)


def judged(model_file, states_file, times, coordinates):
    """Return rows of time and torques, as OpenSim's muscles make them with the fibers of a states file."""
    opensim.Logger.setLevelString("off")
    model = opensim.Model(str(model_file))
    model.initSystem()
    # The rows asked for alone: a trajectory of all of them takes long.
    whole, few, rows = opensim.Storage(str(states_file)), opensim.Storage(), opensim.ArrayDouble()
    whole.getTimeColumn(rows)
    there = np.array([rows.get(k) for k in range(rows.getSize())])
    few.setColumnLabels(whole.getColumnLabels())
    few.setInDegrees(whole.isInDegrees())
    for time in times:
        few.append(whole.getStateVector(int(np.abs(there - time).argmin())))
    states = opensim.StatesTrajectory.createFromStatesStorage(model, few, True, True)
    muscles = [model.getMuscles().get(k) for k in range(model.getMuscles().getSize())]
    found = []
    for number in range(states.getSize()):
        state = states.get(number)
        model.realizeDynamics(state)
        joints = [model.getCoordinateSet().get(name) for name in coordinates]
        made = [sum(m.getTendonForce(state) * m.computeMomentArm(state, joint) for m in muscles) for joint in joints]
        found.append([state.getTime(), *made])
    return np.array(found)


def test_the_states_file_holds_the_fibers_so_that_opensims_analyses_find_these_torques(tool, tmp_path):
    """With the simulation's fibers an analysis of the states would find the simulation's forces again."""
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.setResultsDir(tmp_path)
    tool.write_report = tool.write_figures = False
    assert tool.run()
    before, after = read_storage(EXAMPLE / "cmc" / "walking_states.sto"), read_storage(tmp_path / "walking_states.sto")
    assert after.labels == before.labels
    lengths = [label for label in before.labels if label.endswith("/fiber_length")]
    moved = np.abs(after.select(lengths) / before.select(lengths) - 1.0)
    assert moved.max(axis=0).min() > 0.0005
    # The first cycle begins at 0.25 s.
    assert moved[before.time < 0.19].max() == 0.0
    jumps = [np.abs(np.diff(states.select(lengths), axis=0)).max() for states in (before, after)]
    assert jumps[1] < 1.5 * jumps[0]

    torques = read_storage(tmp_path / "walking_torques.sto")
    for side, times in (("r", np.arange(0.4, 1.35, 0.05)), ("l", np.arange(0.95, 1.9, 0.05))):
        names = [f"{name}_{side}" for name in ("hip_flexion", "knee_angle", "ankle_angle")]
        made = judged(EXAMPLE / "walker.osim", tmp_path / "walking_states.sto", times, names)
        needed = torques.select([f"{name}_inverse_dynamics" for name in names])
        assert percent(made[:, 1:], interpolate(torques.time, needed, made[:, 0])) < 2.0


def test_only_what_is_refined_is_looked_at_and_the_rest_changes_nothing(tmp_path, monkeypatch):
    """A stride of a long trial costs what a stride costs."""
    found, reached = {}, {}
    for beside in (mechanics._BESIDE, 10.0):
        monkeypatch.setattr(mechanics, "_BESIDE", beside)
        tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
        tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
        # The right cycle ends at 1.37 s, the file at 2.05 s.
        tool.final_time = 1.4
        tool.setResultsDir(tmp_path)
        tool.write_report = tool.write_figures = False
        assert tool.run()
        found[beside] = read_storage(tmp_path / "walking_states.sto")
        reached[beside] = float(read_storage(tmp_path / "walking_torques.sto").time[-1])
    near, whole = found.values()
    assert list(reached.values()) == pytest.approx([1.92, 2.05], abs=0.02)
    activations = [label for label in near.labels if label.endswith("_r/activation")]
    lengths = [label for label in near.labels if label.endswith("/fiber_length")]
    assert near.select(activations) == pytest.approx(whole.select(activations), abs=0.005)
    assert near.select(lengths) == pytest.approx(whole.select(lengths), abs=1e-4)
    simulated = read_storage(EXAMPLE / "cmc" / "walking_states.sto")
    later = near.time > 1.93
    assert (near.select(lengths)[later] == simulated.select(lengths)[later]).all()


def test_nmms_states_hold_the_fibers_of_the_subjects_own_muscles(tmp_path):
    """So OpenSim finds the torques of inverse dynamics in them, with the model that NMM writes."""
    controls = read_storage(EXAMPLE / "cmc" / "walking_controls.sto")
    measured = ("recfem_r", "bflh_r", "semimem_r", "vaslat_r", "gasmed_r", "soleus_r", "tibant_r")
    time = np.arange(controls.time[0], controls.time[-1], 0.02)
    emg = np.column_stack([interpolate(controls.time, controls.column(muscle), time) for muscle in measured])
    write_storage(tmp_path / "emg.sto", TimeSeries(time, measured, emg))
    tool = NMMTool(
        name="walking",
        method="copy",
        results_directory=str(tmp_path),
        model_file=str(EXAMPLE / "walker.osim"),
        coordinates_files=[str(EXAMPLE / "walking_coordinates.mot")],
        emg_files=[str(tmp_path / "emg.sto")],
        external_loads_files=[str(EXAMPLE / "external_loads.xml")],
        states_files=[str(EXAMPLE / "cmc" / "walking_states.sto")],
        initial_time=float(controls.time[0]),
        final_time=1.4,
        lowpass_cutoff_frequency_for_coordinates=-1.0,
        validate=False,
        write_report=False,
    )
    assert tool.run()
    torques = read_storage(tmp_path / "walking_walking_coordinates_torques.sto")
    names = ["hip_flexion_r", "knee_angle_r", "ankle_angle_r"]
    needed, made = (torques.select([f"{name}_{kind}" for name in names]) for kind in ("inverse_dynamics", "consistent"))
    assert percent(made, needed) < 0.2
    times = np.arange(0.4, 1.3, 0.05)
    states = tmp_path / "walking_walking_coordinates_states.sto"
    found = {
        model: judged(model, states, times, names)
        for model in (tmp_path / "walking_model.osim", EXAMPLE / "walker.osim")
    }
    errors = [percent(table[:, 1:], interpolate(torques.time, needed, table[:, 0])) for table in found.values()]
    assert errors[0] < 2.0 < errors[1]
