"""Torques of muscles with elastic tendons: CMC, which simulated such, judges fibers, torques and what they become."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from opensim_nem2e.estimates.torque_consistent import make_consistent
from opensim_nem2e.estimates.torque_metrics import overall_percent
from opensim_nem2e.estimates.torques import joint_terms
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import read_storage
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
    return tool._estimate()


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


#: Torques of a states file's muscles by OpenSim: its muscles as the model has them, with the file's fibers.
_JUDGE = """
import json, sys
import opensim
request = json.load(open(sys.argv[3]))
opensim.Logger.setLevelString("off")
model = opensim.Model(sys.argv[1])
model.initSystem()
states = opensim.StatesTrajectory.createFromStatesStorage(model, opensim.Storage(sys.argv[2]), True, True)
times = [states.get(k).getTime() for k in range(states.getSize())]
found = []
for time in request["times"]:
    state = states.get(min(range(len(times)), key=lambda k: abs(times[k] - time)))
    model.realizeDynamics(state)
    row = []
    for name in request["coordinates"]:
        coordinate = model.getCoordinateSet().get(name)
        muscles = [model.getMuscles().get(k) for k in range(model.getMuscles().getSize())]
        row.append(sum(m.getTendonForce(state) * m.computeMomentArm(state, coordinate) for m in muscles))
    found.append([state.getTime(), *row])
json.dump(found, open(sys.argv[4], "w"))
"""


def test_the_states_file_holds_the_fibers_so_that_opensims_analyses_find_these_torques(tool, tmp_path):
    """With the simulation's fibers an analysis of the states would find the simulation's forces again."""
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.setResultsDir(tmp_path)
    tool.write_report = False
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
    files = {"given": EXAMPLE / "cmc" / "walking_states.sto", "new": tmp_path / "walking_states.sto"}
    errors = {}
    for side, times in (("r", np.arange(0.4, 1.35, 0.05)), ("l", np.arange(0.95, 1.9, 0.05))):
        names = [f"{name}_{side}" for name in ("hip_flexion", "knee_angle", "ankle_angle")]
        (tmp_path / "request.json").write_text(json.dumps({"times": times.tolist(), "coordinates": names}))
        made = {}
        for kind, states in files.items():
            command = [sys.executable, "-c", _JUDGE, EXAMPLE / "walker.osim", states]
            subprocess.run([*map(str, command), tmp_path / "request.json", tmp_path / "answer.json"], check=True)
            made[kind] = np.array(json.loads((tmp_path / "answer.json").read_text()))
        needed = interpolate(
            torques.time, torques.select([f"{name}_inverse_dynamics" for name in names]), made["new"][:, 0]
        )
        for kind, values in made.items():
            errors[kind, side] = percent(values[:, 1:], needed)
    assert max(errors["new", side] for side in "rl") < 2.0
