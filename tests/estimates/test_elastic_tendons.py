"""Torques of muscles with elastic tendons: CMC, which simulated such, judges fibers, torques and what they become."""

from __future__ import annotations

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
    tool.tendons = "elastic"
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
    assert found.new.amplitude.torque_error < 1.0
    values = found.new.values(writer.trial.activations)
    activations = np.column_stack([interpolate(writer.trial.time, values[name], terms.time) for name in terms.muscles])
    inside = found.check.compared.all(axis=1)
    columns = [terms.coordinates.index(name) for name in found.check.terms.coordinates]
    # As the muscles make them from their first row on, not as the terms say at which the rounds ended.
    made = terms.torques(activations)[:, columns]
    assert percent(made[inside], found.check.terms.inverse_dynamics[inside]) < 1.0
    np.testing.assert_allclose(made, found.check.consistent, atol=0.5)
