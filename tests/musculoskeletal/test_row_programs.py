"""The batched programs against a general solver, row by row, and from any start."""

from __future__ import annotations

import numpy as np
import pytest

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.redistribution import redistribute
from opensim_nem2e.musculoskeletal.row_programs import solve_rows


def programs(rows=60, coordinates=5, muscles=20, seed=0):
    """Return gains and torques, of which some are more than the muscles can make."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(scale=40.0, size=(rows, coordinates, muscles)) * (rng.random((1, coordinates, muscles)) < 0.5)
    needed = rng.normal(scale=60.0, size=(rows, coordinates))
    needed[::10] *= 20.0
    return gain, needed


@pytest.mark.parametrize("reserve", [1.0, 30.0])
def test_solutions_are_those_of_daqp(reserve):
    gain, needed = programs()
    muscles = gain.shape[2]
    rng = np.random.default_rng(1)
    target, weight = rng.random((len(gain), muscles)), rng.uniform(0.1, 2.0, muscles)
    theirs = redistribute(gain, needed, target, weight, 0.01, 1.0, reserve=reserve)
    ours = solve_rows(gain, needed, low=0.01, high=1.0, reserve=reserve, target=target, weight=weight)
    np.testing.assert_allclose(ours.activations, theirs.activations, atol=1e-8)
    np.testing.assert_allclose(ours.reserves, theirs.reserves, atol=1e-5)
    assert (ours.activations == 1.0).any()
    assert (ours.activations == 0.01).any()
    assert ours.steps < 40


def test_any_start_leads_to_the_same_solution():
    gain, needed = programs(seed=2)
    cold = solve_rows(gain, needed, low=0.0, high=1.0, reserve=[1.0, 2.0, 3.0, 4.0, 100.0])
    np.testing.assert_allclose(cold.reserves, cold.multipliers * np.square([1.0, 2.0, 3.0, 4.0, 100.0]), atol=1e-6)
    start = np.random.default_rng(3).normal(size=needed.shape)
    for multipliers in (start, cold.multipliers):
        again = solve_rows(
            gain, needed, low=0.0, high=1.0, reserve=[1.0, 2.0, 3.0, 4.0, 100.0], multipliers=multipliers
        )
        np.testing.assert_allclose(again.activations, cold.activations, atol=1e-9)
    assert again.steps == 0


def test_what_cannot_be_solved_is_refused():
    gain, needed = programs(rows=3)
    with pytest.raises(ModelError, match="missing"):
        solve_rows(gain * np.nan, needed, low=0.0, high=1.0, reserve=1.0)
    with pytest.raises(ModelError, match="positive"):
        solve_rows(gain, needed, low=0.0, high=1.0, reserve=0.0)
    with pytest.raises(ModelError, match="in order"):
        solve_rows(gain, needed, low=1.0, high=0.5, reserve=1.0)
