"""The quadratic program of the redistribution, against independent solvers and answers known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, lsq_linear, minimize

from opensim_nem2e.errors import ModelError
from opensim_nem2e.musculoskeletal.redistribution import RowProgram, cost_of_moving, redistribute, redistribute_each

LOW, HIGH = 0.02, 1.0


def problem(seed, rows=4, coordinates=3, muscles=8):
    """Make rows whose torques some activations within the bounds can make."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(scale=60.0, size=(rows, coordinates, muscles)) * (rng.random((1, coordinates, muscles)) < 0.6)
    needed = np.einsum("rcm,rm->rc", gain, rng.uniform(LOW, HIGH, (rows, muscles)))
    return gain, needed, rng.uniform(-0.1, 1.1, (rows, muscles)), rng.choice([1.0, 0.1], muscles)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reserve", [100.0, 3.0])
def test_the_optimum_without_a_bound_is_that_of_least_squares(seed, reserve):
    gain, needed, target, weight = problem(seed)
    found = redistribute(gain, needed, target, weight, LOW, HIGH, reserve=reserve)
    for row in range(len(gain)):
        matrix = np.vstack([np.diag(np.sqrt(weight)), gain[row] / reserve])
        right = np.concatenate([np.sqrt(weight) * target[row], needed[row] / reserve])
        best = lsq_linear(matrix, right, (LOW, HIGH), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(found.activations[row], best, atol=1e-8)
        np.testing.assert_allclose(found.reserves[row], needed[row] - gain[row] @ best, atol=1e-5)
    assert not found.exceeded.any()


@pytest.mark.parametrize("reserve", [100.0, 1.0])
def test_rows_that_come_one_by_one_are_as_all_at_once(reserve):
    gain, needed, target, _ = problem(7, rows=20)
    low, high = np.full(8, LOW), np.full(8, HIGH)
    found = redistribute(gain, needed, 0.0 * target, 1.0, low, high, reserve=reserve)
    program = RowProgram(low, high, reserve)
    for row in range(len(gain)):
        activations, reserves = program.solve(gain[row], needed[row])
        np.testing.assert_allclose(activations, found.activations[row], atol=1e-9)
        np.testing.assert_allclose(reserves, found.reserves[row], atol=1e-7)
    with pytest.raises(ModelError, match="missing"):
        program.solve(gain[0], np.full(3, np.nan))
    for wrong in ((high, low, reserve), (low, high, 0.0)):
        with pytest.raises(ModelError, match="must be positive and the activations' bounds in order"):
            RowProgram(*wrong)


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_with_a_bound_is_that_of_sequential_least_squares(seed):
    gain, needed, target, weight = problem(seed)
    reserve, bound = 50.0, 4.0
    free = redistribute(gain, needed, target, weight, LOW, HIGH, reserve=reserve)
    found = redistribute(gain, needed, target, weight, LOW, HIGH, reserve=reserve, bound=bound)
    bitten = np.abs(free.reserves).max(axis=1) > bound
    assert bitten.any()
    assert not found.exceeded.any()
    assert np.abs(found.reserves).max() <= bound + 1e-4
    for row in range(len(gain)):

        def cost(a, row=row):
            left = needed[row] - gain[row] @ a
            return np.sum(weight * (a - target[row]) ** 2) + np.sum((left / reserve) ** 2)

        def slope(a, row=row):
            left = needed[row] - gain[row] @ a
            return 2.0 * (weight * (a - target[row]) - gain[row].T @ left / reserve**2)

        def room(a, row=row):
            left = needed[row] - gain[row] @ a
            return np.concatenate([bound - left, bound + left])

        best = minimize(
            cost,
            np.clip(target[row], LOW, HIGH),
            jac=slope,
            method="SLSQP",
            bounds=[(LOW, HIGH)] * len(weight),
            constraints={"type": "ineq", "fun": room},
            options={"maxiter": 500, "ftol": 1e-14},
        )
        assert best.success
        np.testing.assert_allclose(found.activations[row], best.x, atol=2e-5)


def test_activations_that_already_make_the_torques_stay():
    gain, _, target, weight = problem(7, rows=20)
    target = np.clip(target, LOW, HIGH)
    needed = np.einsum("rcm,rm->rc", gain, target)
    found = redistribute(gain, needed, target, weight, LOW, HIGH, reserve=3.0, bound=2.0)
    np.testing.assert_allclose(found.activations, target, atol=1e-9)
    np.testing.assert_allclose(found.reserves, 0.0, atol=1e-6)


def test_what_muscles_cannot_make_is_left_to_the_reserve_and_reported():
    # One flexor of 40 Nm and one extensor of 30 Nm at full activation; 50 Nm are asked for, 1 Nm of reserve allowed.
    gain = np.array([[[40.0, -30.0], [0.0, 0.0]]])
    found = redistribute(gain, [[50.0, 0.5]], [[0.3, 0.3]], [1.0, 1.0], LOW, HIGH, reserve=3.0, bound=1.0)
    np.testing.assert_allclose(found.activations, [[HIGH, LOW]], atol=1e-5)
    np.testing.assert_allclose(found.reserves, [[50.0 - (40.0 - 0.6), 0.5]], atol=1e-3)
    assert found.exceeded.tolist() == [[True, False]]


@pytest.mark.parametrize("seed", range(4))
def test_a_bound_is_exceeded_by_the_least_there_can_be(seed):
    gain, needed, target, weight = problem(seed)
    needed, bound = 4.0 * needed, 2.0
    found = redistribute(gain, needed, target, weight, LOW, HIGH, reserve=3.0, bound=bound)
    count, muscles = gain.shape[1:]
    one = np.eye(count)
    for row in range(len(gain)):
        least = linprog(
            np.r_[np.zeros(muscles), np.ones(count)],
            A_ub=np.block([[gain[row], -one], [-gain[row], -one]]),
            b_ub=np.r_[needed[row] + bound, bound - needed[row]],
            bounds=[(LOW, HIGH)] * muscles + [(0.0, None)] * count,
        )
        excess = np.maximum(np.abs(found.reserves[row]) - bound, 0.0)
        assert excess.sum() == pytest.approx(least.fun, abs=1e-3)
        assert found.exceeded[row].any() == (least.fun > 1e-3)


def test_a_row_keeps_to_what_its_predecessor_lets_it():
    gain = np.broadcast_to([[50.0, -20.0]], (4, 1, 2))
    needed = np.array([[40.0], [40.0], [-5.0], [-5.0]])
    target = np.full((4, 2), 0.1)
    seen = []

    def reach(activation):
        seen.append(activation.copy())
        return activation - 0.3, activation + 0.4

    found = redistribute(gain, needed, target, [1.0, 1.0], 0.0, 1.0, reserve=0.1, reach=reach)
    np.testing.assert_array_equal(seen, found.activations[:-1])
    steps = np.diff(found.activations, axis=0)
    assert steps.min() >= -0.3 - 1e-9
    assert steps.max() <= 0.4 + 1e-9
    # The flexor cannot be off in one step: the extensor helps as far as it can, and the rest is owed.
    assert found.activations[2, 0] == pytest.approx(found.activations[1, 0] - 0.3)
    assert found.reserves[2, 0] < -1.0
    assert abs(found.reserves[3, 0]) < 0.1


def test_what_cannot_be_solved_is_refused():
    gain, needed, target, weight = problem(0)
    with pytest.raises(ModelError, match="missing"):
        redistribute(gain, np.where(needed == needed.max(), np.nan, needed), target, weight, LOW, HIGH, reserve=3.0)
    with pytest.raises(ModelError, match="positive"):
        redistribute(gain, needed, target, 0.0 * weight, LOW, HIGH, reserve=3.0)
    with pytest.raises(ModelError, match="in order"):
        redistribute(gain, needed, target, weight, HIGH, LOW, reserve=3.0)


def test_prices_side_by_side_are_each_what_it_is_alone():
    gain, needed, target, weight = problem(3, rows=12)
    needed[5:8] *= 3.0

    def reach(activation):
        return activation - 0.2, activation + 0.35

    prices = [(100.0, np.inf), (10.0, np.inf), (3.0, 2.0)]
    together = redistribute_each(gain, needed, target, weight, LOW, HIGH, prices=prices, reach=reach)
    for (reserve, bound), one in zip(prices, together, strict=True):
        alone = redistribute(gain, needed, target, weight, LOW, HIGH, reserve=reserve, bound=bound, reach=reach)
        np.testing.assert_array_equal(one.activations, alone.activations)
        np.testing.assert_array_equal(one.reserves, alone.reserves)
        np.testing.assert_array_equal(one.exceeded, alone.exceeded)
    assert together[2].exceeded.any()
    assert not np.array_equal(together[0].activations, together[1].activations)


def test_what_is_active_moves_and_what_is_silent_stays():
    """Two muscles make one torque in two rows, each active in one: the missing torque is the active one's."""
    aim = np.array([[0.4, 0.0], [0.0, 0.4]])
    gain = np.full((2, 1, 2), 10.0)
    equal, cost = (
        redistribute(gain, np.full((2, 1), 5.0), aim, weight, [0.0, 0.0], [1.0, 1.0], reserve=0.1).activations - aim
        for weight in (np.ones(2), cost_of_moving(aim))
    )
    np.testing.assert_allclose(equal, 0.05, atol=1e-4)
    np.testing.assert_allclose(cost, [[0.0854, 0.0146], [0.0146, 0.0854]], atol=2e-3)
    np.testing.assert_allclose(cost_of_moving(3.0 * aim), cost_of_moving(aim))
