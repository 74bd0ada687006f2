"""Activation dynamics against OpenSim itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import ModelError, StorageError
from opensim_nem2e.musculoskeletal import activation
from opensim_nem2e.musculoskeletal.activation import (
    CONTROL_STEP,
    activation_from_excitation,
    find_excitation,
)
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import read_storage

#: A Thelen, a Millard and a De Groote-Fregly muscle; the last with OpenSim's defaults (kept in static variables there).
TAU_ACT = np.array([0.012, 0.010, 0.015])
TAU_DEACT = np.array([0.055, 0.040, 0.060])
KINDS = ["first_order", "first_order", "degroote_fregly"]
LOW = np.array([0.01, 0.01, -np.inf])


def excitation_from_activation(time, activation, tau_act, tau_deact, low=0.0, high=1.0, kind="first_order", **more):
    """Return the excitation found for an activation, and the activation it really leads to."""
    excitation = find_excitation(time, activation, tau_act, tau_deact, low, high, kind, **more)
    initial = np.asarray(activation, dtype=float)[0]
    achieved = activation_from_excitation(
        time, excitation, tau_act, tau_deact, initial, kind, max_step=CONTROL_STEP, **more
    )
    return excitation, achieved


def cmc_time(duration: float, start: float = 0.63, seed: int = 0) -> np.ndarray:
    """Return a time base like the one that OpenSim's CMC writes: steps from 6e-8 to 2.7e-3 s."""
    rng = np.random.default_rng(seed)
    steps = 10 ** rng.uniform(np.log10(6e-8), np.log10(2.7e-3), size=int(duration * 6000))
    time = start + np.concatenate([[0.0], np.cumsum(steps)])
    return time[time <= start + duration]


def three_muscles():
    """Return OpenSim's model of the three muscles across one locked coordinate, and the module."""
    osim = pytest.importorskip("opensim")
    osim.Logger.setLevelString("off")
    model = osim.Model()
    model.setGravity(osim.Vec3(0))
    body = osim.Body("body", 1.0, osim.Vec3(0), osim.Inertia(1, 1, 1))
    model.addBody(body)
    joint = osim.SliderJoint("slider", model.getGround(), body)
    coordinate = joint.updCoordinate()
    coordinate.setName("length")
    coordinate.setDefaultValue(0.3)
    coordinate.setDefaultLocked(True)
    model.addJoint(joint)
    kinds = (osim.Thelen2003Muscle, osim.Millard2012EquilibriumMuscle, osim.DeGrooteFregly2016Muscle)
    for number, (kind, rise, fall) in enumerate(zip(kinds, TAU_ACT, TAU_DEACT, strict=True)):
        muscle = kind()
        muscle.setName(f"m{number}")
        muscle.setMaxIsometricForce(100.0)
        muscle.setOptimalFiberLength(0.1)
        muscle.setTendonSlackLength(0.2)
        muscle.set_activation_time_constant(float(rise))
        muscle.set_deactivation_time_constant(float(fall))
        # The tendon plays no part in activation; a rigid one is much faster (Thelen2003Muscle has none).
        if number:
            muscle.set_ignore_tendon_compliance(True)
        muscle.addNewPathPoint("origin", model.getGround(), osim.Vec3(0))
        muscle.addNewPathPoint("insertion", body, osim.Vec3(0))
        model.addForce(muscle)
    model.finalizeConnections()
    return osim, model


def opensim_activation(time: np.ndarray, excitation: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """Integrate the three muscles with OpenSim's own Manager, excitations piecewise linear between rows."""
    osim, model = three_muscles()
    controller = osim.PrescribedController()
    for number in range(3):
        controller.addActuator(model.getMuscles().get(number))
        function = osim.PiecewiseLinearFunction()
        for t, e in zip(time, excitation[:, number], strict=True):
            function.addPoint(float(t), float(e))
        controller.prescribeControlForActuator(f"m{number}", function)
    model.addController(controller)
    state = model.initSystem()
    state.setTime(float(time[0]))
    for number in range(3):
        model.setStateVariableValue(state, f"/forceset/m{number}/activation", float(initial[number]))
    model.equilibrateMuscles(state)
    manager = osim.Manager(model)
    manager.setIntegratorAccuracy(1e-7)
    manager.setIntegratorMaximumStepSize(5e-4)
    manager.initialize(state)
    manager.integrate(float(time[-1]))
    table = manager.getStatesTable()
    at = np.array(table.getIndependentColumn())
    columns = [table.getDependentColumn(f"/forceset/m{number}/activation").to_numpy() for number in range(3)]
    keep = np.concatenate([[True], np.diff(at) > 0.0])
    return interpolate(at[keep], np.stack(columns, axis=1)[keep], time)


def rms(difference: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(difference), axis=0))


def envelopes(time: np.ndarray, seed: int, fastest: float = 6.0) -> np.ndarray:
    """Return three EMG-like envelopes: no faster than ``fastest`` Hz, 0.02 to 0.9, resting between bursts."""
    rng = np.random.default_rng(seed)
    curve = np.zeros((time.size, 3))
    for frequency in np.arange(1.0, fastest + 0.5):
        phase = rng.uniform(0.0, 2 * np.pi, 3)
        curve += rng.normal(size=3) * np.sin(2 * np.pi * frequency * time[:, np.newaxis] + phase) / frequency
    curve -= np.quantile(curve, 0.3, axis=0)
    return 0.02 + 0.88 * np.maximum(curve, 0.0) / curve.max(axis=0)


def test_the_right_hand_side_is_opensims():
    """A short enough forward step gives the derivative, outside the clamp included."""
    _, model = three_muscles()
    state = model.initSystem()
    controls = model.updControls(state)
    step = 1e-7
    for a in (0.02, 0.05, 0.3, 0.5, 0.8, 1.0):
        for e in (-0.2, 0.0, 0.005, 0.02, 0.3, 0.8, 1.2):
            for number in range(3):
                model.setStateVariableValue(state, f"/forceset/m{number}/activation", a)
            model.realizeVelocity(state)
            controls.setTo(e)
            model.setControls(state, controls)
            model.realizeAcceleration(state)
            expected = [
                model.getMuscles().get(number).getStateVariableDerivativeValue(state, "activation")
                for number in range(3)
            ]
            ours = activation_from_excitation([0.0, step], np.full((2, 3), e), TAU_ACT, TAU_DEACT, a, KINDS)
            slope = (ours[1] - ours[0]) / step
            # At a = 1 OpenSim's state goes on rising with e > 1, but its muscle sees 1, and so do we.
            same = slice(2, 3) if a == 1.0 and e > 1.0 else slice(0, 3)
            np.testing.assert_allclose(slope[same], expected[same], rtol=1e-4)


def test_below_the_minimum_the_state_drifts_but_the_muscle_sees_the_minimum():
    # OpenSim 4.6 clamps the activation, not the excitation: 0.1 s at e = 0 takes the state from 0.01 to about zero,
    # and the way back takes e > 0.01 (measured in OpenSim: da/dt = -0.103 1/s for tau_deact 0.05 s at a <= 0.01).
    time = np.array([0.0, 0.1, 0.1001, 0.3])
    excitation = np.array([0.0, 0.0, 0.02, 0.02])
    fine = np.linspace(0.0, 0.3, 301)
    seen = activation_from_excitation(fine, np.interp(fine, time, excitation), 0.015, 0.05, 0.01)
    assert np.all(seen >= 0.01)
    before = seen[(fine > 0.0) & (fine < 0.104)]
    assert np.array_equal(before, np.full(before.size, 0.01))
    assert seen[-1] > 0.019


@pytest.mark.parametrize("kind", ["cmc", "200 Hz"])
def test_forward_is_opensims_integration(kind):
    # Excitations as CMC writes them: held for 10 ms, then a jump to anywhere, half of them on the lower bound.
    time = cmc_time(0.5) if kind == "cmc" else np.linspace(0.0, 0.5, 101)
    rng = np.random.default_rng(3)
    held = rng.random((60, 3))
    held[rng.random((60, 3)) < 0.5] = 0.02
    excitation = held[((time - time[0]) / 0.01).astype(int)]
    initial = np.array([0.1, 0.2, 0.3])
    ours = activation_from_excitation(time, excitation, TAU_ACT, TAU_DEACT, initial, KINDS)
    reference = np.maximum(opensim_activation(time, excitation, initial), LOW)
    # Measured 3e-4 at most (jumps of 1 inside a step of 0.5 ms), 1e-4 on 200 Hz rows.
    assert np.all(rms(ours - reference) < 1e-3)


def test_forward_converges_with_the_second_power_of_the_step():
    time = np.linspace(0.0, 1.0, 201)
    excitation = 0.5 + 0.45 * np.sin(2 * np.pi * np.outer(time, [3.0, 5.0, 7.0]))
    runs = [
        activation_from_excitation(time, excitation, TAU_ACT, TAU_DEACT, 0.5, KINDS, max_step=step)
        for step in (4e-3, 2e-3, 1e-3, 1.25e-4)
    ]
    errors = [np.abs(run - runs[-1]).max() for run in runs[:3]]
    assert errors[0] / errors[1] > 3.0
    assert errors[1] / errors[2] > 3.0
    assert errors[2] < 5e-4


@pytest.mark.parametrize(("kind", "bound"), [("cmc", 2e-3), ("200 Hz", 2e-3), ("50 Hz", 2.5e-2)])
def test_opensim_follows_the_refined_activation(kind, bound):
    # The whole point: give OpenSim the excitation, get the activation back. Envelopes up to 6 Hz with sudden onsets.
    # Measured 6e-4, 1.6e-3 and 1.4e-2: on rows 20 ms apart, twice the time constant, straight lines cannot do better.
    rows = {"cmc": cmc_time(0.6), "200 Hz": np.linspace(0.63, 1.23, 121), "50 Hz": np.linspace(0.63, 1.23, 31)}
    time = rows[kind]
    target = envelopes(time, seed=5)
    excitation, achieved = excitation_from_activation(time, target, TAU_ACT, TAU_DEACT, 0.01, 1.0, KINDS)
    reference = np.maximum(opensim_activation(time, excitation, target[0]), LOW)
    assert np.all(rms(achieved - reference) < 5e-4)
    free = (excitation > 0.01) & (excitation < 1.0)
    for number in range(3):
        assert free[:, number].mean() > 0.4
        assert rms((reference - target)[free[:, number], number]) < bound


def test_where_the_bound_holds_the_muscle_back_it_lags_and_then_catches_up():
    time = np.linspace(0.0, 0.6, 601)
    target = np.where(time < 0.2, 0.8, 0.1)[:, np.newaxis]
    excitation, achieved = excitation_from_activation(time, target, 0.01, 0.04, 0.01, 1.0)
    assert excitation.min() == 0.01
    assert excitation.max() <= 1.0
    late = achieved[(time > 0.2) & (time < 0.22), 0]
    assert np.all(late > 0.3)  # nobody deactivates from 0.8 to 0.1 within 20 ms
    # With e = 0.01 the logistic decay (0.515/0.04 1/s at the end) takes 0.135 s from 0.8 to 0.1; then it sits there.
    assert np.abs(achieved[time > 0.36, 0] - 0.1).max() < 1e-3
    # An excitation of 0.1 right away would still be at 0.13 by then.
    slow = activation_from_excitation(time, np.where(time < 0.2, 0.8, 0.1), 0.01, 0.04, 0.8)
    assert slow[time > 0.36][0] > 0.1 + 5e-3


@given(seed=st.integers(0, 2**32 - 1), muscles=st.integers(1, 6))
@settings(deadline=None, max_examples=25)
def test_bounds_and_finiteness_on_any_time_base(seed, muscles):
    rng = np.random.default_rng(seed)
    time = cmc_time(0.2, seed=seed)
    # Eight decimals, as OpenSim prints them: rows 6e-8 s apart differ by rounding noise.
    target = np.round(np.clip(np.cumsum(rng.normal(0, 0.02, (time.size, muscles)), axis=0) % 1.0, 0.01, 1.0), 8)
    low = rng.uniform(0.0, 0.02, muscles)
    excitation, achieved = excitation_from_activation(time, target, 0.01, 0.04, low, 1.0)
    assert np.all(excitation >= low)
    assert np.all(excitation <= 1.0)
    assert np.all(achieved >= 0.01)
    assert np.all(achieved <= 1.0)


def test_rounding_noise_in_rows_that_touch_is_not_amplified():
    time = np.round(cmc_time(0.5), 8)
    time = time[np.concatenate([[True], np.diff(time) > 0.0])]
    assert np.diff(time).min() < 1e-7
    smooth = envelopes(time, seed=1)[:, :2]
    noisy = smooth + np.random.default_rng(0).uniform(-5e-9, 5e-9, smooth.shape)
    clean, _ = excitation_from_activation(time, smooth, 0.01, 0.04, 0.01, 1.0)
    disturbed, _ = excitation_from_activation(time, noisy, 0.01, 0.04, 0.01, 1.0)
    assert np.abs(disturbed - clean).max() < 1e-5


def test_each_muscle_is_independent_and_shapes_are_kept():
    time = np.linspace(0.0, 0.4, 201)
    target = envelopes(time, seed=2)
    together, _ = excitation_from_activation(time, target, TAU_ACT, TAU_DEACT, 0.01, 1.0, KINDS)
    for number in range(3):
        alone, achieved = excitation_from_activation(
            time, target[:, number], TAU_ACT[number], TAU_DEACT[number], 0.01, 1.0, KINDS[number]
        )
        assert alone.shape == achieved.shape == (201,)
        np.testing.assert_allclose(alone, together[:, number], atol=1e-5)
    assert excitation_from_activation([1.0], [[0.3, 0.4]], 0.01, 0.04)[0].shape == (1, 2)
    assert activation_from_excitation([1.0], [[0.3, 0.4]], 0.01, 0.04, 0.2).tolist() == [[0.2, 0.2]]


@pytest.mark.parametrize(
    ("name", "bound"),
    [("gait10dof18musc_walk", 5e-4), ("runningModel", 5e-4)],
)
def test_cmcs_own_controls_give_cmcs_own_activations(shared_data, name, bound):
    # Real CMC output at its native time steps, Millard (gait10dof18musc) and Thelen (runningModel) muscles, all with
    # 0.01/0.04 s. Measured: 1.4e-4 and 5e-5; CMC itself was integrated with an error tolerance of 1e-5.
    folder = shared_data / "opensim_pipelines" / "reference_cmc"
    states = read_storage(folder / f"{name}_states.sto")
    controls = read_storage(folder / f"{name}_controls.sto")
    labels = [label for label in states.labels if label.endswith("/activation")]
    activation = states.select(labels)
    excitation = controls.select([label.split("/")[-2] for label in labels])
    assert np.array_equal(states.time, controls.time)
    ours = activation_from_excitation(states.time, excitation, 0.01, 0.04, activation[0])
    assert rms((ours - activation).ravel()) < bound

    # And back: the excitation found from the activations makes the muscles follow them (measured 4e-3 and 9e-4; CMC's
    # own excitations jump every 10 ms, and ours must not lie before a row what belongs after it).
    found, achieved = excitation_from_activation(states.time, activation, 0.01, 0.04, 0.01, 1.0)
    assert rms((achieved - activation).ravel()) < 6e-3
    assert np.all((found >= 0.01) & (found <= 1.0))


def test_bad_parameters_are_named():
    time, values = [0.0, 1.0], np.zeros((2, 2))
    with pytest.raises(ModelError, match="first_order, degroote_fregly, found 'thelen'"):
        activation_from_excitation(time, values, 0.01, 0.04, 0.1, "thelen")
    with pytest.raises(ModelError, match=r"one per muscle \(2\), found 1"):
        activation_from_excitation(time, values, 0.01, 0.04, 0.1, ["first_order"])
    with pytest.raises(ModelError, match="must be positive"):
        excitation_from_activation(time, values, 0.0, 0.04)
    with pytest.raises(ModelError, match=r"found shape \(3,\)"):
        excitation_from_activation(time, values, [0.01] * 3, 0.04)
    with pytest.raises(ModelError, match="min_control must be smaller"):
        excitation_from_activation(time, values, 0.01, 0.04, 1.0, 0.0)
    with pytest.raises(StorageError, match="increase strictly"):
        excitation_from_activation([0.0, 0.0], values, 0.01, 0.04)


def test_nothing_heavy_is_imported():
    code = (
        "import sys, opensim_nem2e.musculoskeletal.activation as a; "
        "print(sorted({'opensim', 'torch', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["first_order", "degroote_fregly"])
def test_long_signals_in_blocks_are_what_they_are_in_one_piece(monkeypatch, kind):
    rng = np.random.default_rng(8)
    time = np.concatenate([[0.0], np.sort(rng.uniform(0.0, 6.0, 750)), [6.0]])
    # Bursts, and stretches in which the muscles are off and decay freely.
    phase = 2.0 * np.pi * time[:, np.newaxis] / np.array([1.1, 0.7, 3.0])
    excitation = np.clip(1.4 * np.sin(phase), 0.01, 1.0)
    tau_act, tau_deact = [0.01, 0.015, 0.01], [0.04, 0.06, 0.05]
    # Little at a time: several parts of several blocks each.
    monkeypatch.setattr(activation, "_HELD", 2_000)
    monkeypatch.setattr(activation, "_WIDEST", 6)

    def both():
        reached = activation_from_excitation(time, excitation, tau_act, tau_deact, [0.3, 0.1, 0.9], kind)
        return reached, find_excitation(time, reached, tau_act, tau_deact, 0.01, 1.0, kind)

    blocks = both()
    assert len(list(activation._cut(6_000, 3, 900.0))) > 1
    monkeypatch.setattr(activation, "_INTEGRATION_LEAD", 1e6)
    monkeypatch.setattr(activation, "_SEARCH_LEAD", 1e6)
    whole = both()
    np.testing.assert_allclose(blocks[0], whole[0], atol=1e-8)
    np.testing.assert_allclose(blocks[1], whole[1], atol=1e-6)


@pytest.mark.parametrize("kind", ["first_order", "degroote_fregly"])
def test_a_held_excitation_leads_where_an_integration_does(kind):
    rng = np.random.default_rng(0)
    start, excitation = rng.uniform(0.0, 1.0, (2, 5, 3))
    excitation[0], start[1] = 0.0, 1.0
    taus = [0.01, 0.02, 0.015], [0.04, 0.06, 0.05]
    found = activation.held_excitation(0.005, *taus, kind, min_activation=0.02, max_step=1e-3)(start, excitation)
    for row in range(5):
        table = [excitation[row], excitation[row]]
        expected = activation_from_excitation(
            [0.0, 0.005], table, *taus, start[row], kind, min_activation=0.02, max_step=1e-3
        )[1]
        np.testing.assert_allclose(found[row], expected, atol=1e-14)


@pytest.mark.parametrize("least", [0.0, 0.03])
@pytest.mark.parametrize("kind", ["first_order", "degroote_fregly"])
def test_what_can_be_reached_is_where_the_least_and_the_greatest_excitation_lead(kind, least):
    """Below the minimum activation (0.0) the dynamics have a kink, which no table has."""
    after = activation.held_excitation(0.005, [0.01, 0.02], [0.04, 0.06], kind, min_activation=0.02, max_step=1e-3)
    low, high = np.array([0.02, 0.05]), np.array([1.0, 0.9])
    reach = activation.reachable(after, [least, least], [1.0, 0.9], low, high)
    start = low + np.random.default_rng(0).uniform(0.0, 1.0, (500, 2)) * (high - low)
    start[:2] = low, high
    for found, excitation in zip(reach(start), ([least, least], [1.0, 0.9]), strict=True):
        np.testing.assert_allclose(found, after(start, np.tile(excitation, (500, 1))), rtol=0, atol=1e-10)
    for row, alone in zip(np.stack(reach(start), 1)[:5], map(reach, start), strict=False):
        np.testing.assert_array_equal(row, np.stack(alone))
