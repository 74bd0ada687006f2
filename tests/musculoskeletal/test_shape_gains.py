"""Gains of shapes: against an independent solver, and against gains that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.shape_gains import find_gains

LOW, HIGH = 0.02, 1.0


def scene(seed: int, rows: int = 30, coordinates: int = 2, muscles: int = 7, shapes: int = 4):
    """Make a limb with known activations: shapes times gains, and others."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(0.0, 60.0, (rows, coordinates, muscles))
    phase = np.linspace(0.0, 1.0, rows)[:, None]
    shape = np.exp(-(((phase - rng.random(shapes)) / 0.2) ** 2)) + 0.05
    shape /= shape.max(axis=0)
    gains = rng.uniform(0.1, 0.9, shapes)
    x = np.clip(rng.uniform(0.0, 0.4, (rows, muscles)), LOW, HIGH)
    truth = x.copy()
    truth[:, :shapes] = np.clip(gains * shape, LOW, HIGH)
    return gain, np.einsum("rcm,rm->rc", gain, truth), x, shape, gains


def as_least_squares(gain, needed, x, shape, prior, weight, others, reserve, kappa, fixed=None):
    """Solve the program with all activations and gains as unknowns, by SciPy's bounded least squares."""
    rows, coordinates, muscles = gain.shape
    shapes = shape.shape[1]
    unknowns = rows * muscles + shapes
    lines, sides = [], []
    for row in range(rows):
        for m in range(muscles):
            line = np.zeros(unknowns)
            root = np.sqrt(weight[m] if m < shapes else others)
            line[row * muscles + m] = root
            if m < shapes:
                line[rows * muscles + m] = -root * shape[row, m]
            lines.append(line)
            sides.append(0.0 if m < shapes else root * x[row, m])
        for c in range(coordinates):
            line = np.zeros(unknowns)
            line[row * muscles : (row + 1) * muscles] = gain[row, c] / reserve
            lines.append(line)
            sides.append(needed[row, c] / reserve)
    for p in range(shapes):
        line = np.zeros(unknowns)
        line[rows * muscles + p] = np.sqrt(kappa * weight[p] * (shape[:, p] ** 2).sum())
        lines.append(line)
        sides.append(line[rows * muscles + p] * prior[p])
    low = np.concatenate([np.full(rows * muscles, LOW), np.zeros(shapes)])
    high = np.concatenate([np.full(rows * muscles, HIGH), np.ones(shapes)])
    if fixed is not None:
        low[rows * muscles :][fixed] = prior[fixed] - 1e-12
        high[rows * muscles :][fixed] = prior[fixed] + 1e-12
    found = lsq_linear(np.array(lines), np.array(sides), (low, high), method="bvls", tol=1e-15)
    return found.x[rows * muscles :], found.x[: rows * muscles].reshape(rows, muscles), 2.0 * found.cost


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kappa", [0.1, 0.003])
def test_the_program_is_solved_exactly(seed, kappa):
    gain, needed, x, shape, _ = scene(seed)
    # One prior is far off, so that its gain runs into a bound when the prior is weak; one gain is fixed.
    prior, fixed = np.array([0.3, 0.4, 0.05, 0.6]), np.array([False, False, False, True])
    needed = needed - 30.0
    found = find_gains(
        gain, needed, x, shape, range(4), LOW, HIGH, prior, fixed=fixed, prior_weight=kappa, others_weight=0.3
    )
    args = (gain, needed, x, shape, prior, found.weight, 0.3, 3.0, kappa, fixed)
    gains, activations, objective = as_least_squares(*args)
    np.testing.assert_allclose(found.gains, gains, atol=2e-8)
    np.testing.assert_allclose(found.activations, activations, atol=2e-7)
    assert found.objective == pytest.approx(objective, rel=1e-9)
    assert found.gains[3] == 0.6
    assert ((found.activations == LOW) | (found.activations == HIGH)).any()


def test_known_gains_come_back():
    gain, needed, x, shape, gains = scene(7, rows=60, coordinates=3, muscles=5, shapes=4)
    found = find_gains(gain, needed, x, shape, range(4), LOW, HIGH, np.full(4, 0.3), prior_weight=1e-6)
    np.testing.assert_allclose(found.gains, gains, atol=0.02)
    assert (found.determined > 0.999).all()
    # Each gain's weight is relative to its own height.
    np.testing.assert_allclose(found.weight * found.gains**2, found.weight[0] * found.gains[0] ** 2, rtol=0.01)


def test_what_the_torques_do_not_tell_keeps_its_prior():
    gain, needed, x, shape, _ = scene(3, coordinates=1)
    gain[:, :, 1] = 0.0  # spans nothing
    # With a lower bound of 0 the shape never meets a bound, which would tell something of its gain.
    found = find_gains(gain, needed, x, shape, range(4), 0.0, HIGH, [0.3, 0.35, 0.4, 0.3])
    assert found.gains[1] == pytest.approx(0.35, abs=1e-6)
    assert found.determined[1] < 1e-6 < 0.02 < found.determined[0]


def test_rows_in_which_a_shape_is_not_known():
    """There its muscle is as the others: the shape's values do not matter."""
    gain, needed, x, shape, _ = scene(5)
    covered = np.ones(shape.shape, dtype=bool)
    covered[:10, 2] = False
    one = find_gains(gain, needed, x, shape, range(4), LOW, HIGH, np.full(4, 0.3), covered=covered)
    shape[:10, 2] = 7.0
    other = find_gains(gain, needed, x, shape, range(4), LOW, HIGH, np.full(4, 0.3), covered=covered)
    np.testing.assert_array_equal(one.gains, other.gains)
    # Shapes that are certain cost more to depart from.
    sure = find_gains(gain, needed, x, shape, range(4), LOW, HIGH, np.full(4, 0.3), covered=covered, certainty=9.0)
    assert sure.weight.mean() > 4.0 * one.weight.mean()


def test_what_does_not_fit_is_refused():
    gain, needed, x, shape, _ = scene(0)
    with pytest.raises(ModelError, match="missing"):
        find_gains(gain, np.nan * needed, x, shape, range(4), LOW, HIGH, np.full(4, 0.3))
    with pytest.raises(ModelError, match="must be positive"):
        find_gains(gain, needed, x, shape, range(4), LOW, HIGH, np.zeros(4))
    with pytest.raises(ModelError, match="in order"):
        find_gains(gain, needed, x, shape, range(4), HIGH, LOW, np.full(4, 0.3))
