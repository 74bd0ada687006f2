"""An estimate made by hand, without a bundle, goes all the way: bounds, files, torques, redistribution, figures."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.data.simulation import Muscle, MuscleDefaults, SimulatedTrial, read_simulation
from opensim_nem2e.errors import BundleError, CycleError, ModelError
from opensim_nem2e.estimates.apply import attention_over_time, estimate_trial, plan_targets
from opensim_nem2e.estimates.estimate import CycleCurves, Estimate, MuscleEstimate
from opensim_nem2e.estimates.measured_emg import MeasuredEMG
from opensim_nem2e.estimates.mechanics import Mechanics, compare_with_emg
from opensim_nem2e.estimates.summary import summarise, summary_table
from opensim_nem2e.estimates.torque_consistent import RedistributionSettings, make_consistent
from opensim_nem2e.estimates.torques import check_torques
from opensim_nem2e.estimates.trust import log_trust, warn_of_source
from opensim_nem2e.estimates.write import EstimateWriter
from opensim_nem2e.methods.base import Prediction, Provenance
from opensim_nem2e.musculoskeletal.activation import activation_from_excitation
from opensim_nem2e.musculoskeletal.torque_model import TorqueTerms
from opensim_nem2e.report.estimate_figures import draw_estimate
from opensim_nem2e.report.estimate_report import write_report
from opensim_nem2e.report.torque_report import draw_mechanics, mechanics_parts, mechanics_summary
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage import TimeSeries, read_storage
from opensim_nem2e.storage.atomic import ResultFiles
from opensim_nem2e.storage.muscles import MuscleNames

MUSCLE = Muscle(0.02, 1.0, 0.02, 1.0, 0.01, 0.01, 0.04, "first_order")
PROVENANCE = Provenance("by_hand", "a method made by hand")
CYCLE = Cycle("r", 0.2, 1.3)
TIME = np.arange(0.0, 1.5, 0.005)


def bump(centre):
    return 0.05 + 0.5 * np.exp(-(((TIME - centre) / 0.1) ** 2))


@pytest.fixture
def trial():
    """Two muscles of one leg, in memory."""
    activations = {"soleus_r": bump(0.6), "tib_ant_r": bump(1.0)}
    source = TimeSeries(TIME, tuple(activations), np.column_stack(list(activations.values())))
    return SimulatedTrial(TIME, activations, source, {}, False, None, {}, "walk")


@pytest.fixture
def estimate(trial):
    """The soleus, 0.05 s later and with a band that leaves the muscle's bounds."""
    covered = (CYCLE.start <= TIME) & (CYCLE.end >= TIME)
    values = np.where(covered, bump(0.65), trial.activations["soleus_r"])
    band = np.where(covered, 0.2, 0.0)
    item = MuscleEstimate(
        "soleus_r", values, covered, "soleus", "r", (CYCLE,), low=values - band, high=values + 3.0 * band
    )
    return Estimate(TIME, "emg", {"soleus_r": item}, PROVENANCE)


@pytest.fixture
def writer(trial):
    return EstimateWriter("walk", trial, dict.fromkeys(trial.activations, MUSCLE), 8)


class Shifted:
    """A predictor of its own: a quarter of the cycle later, with bands and an attention on both inputs."""

    targets = ("soleus", "tib")
    cycle_samples = 21
    quantity = "emg"
    provenance = PROVENANCE

    def inputs(self, target):
        return ("ipsi:soleus", "ipsi:tib")

    def predict(self, target, x):
        values = np.roll(x[..., self.targets.index(target)], 5, axis=1)
        attention = np.broadcast_to([0.25, 0.75], (*values.shape, 2))
        return Prediction(values, attention, values - 0.1, values + 0.2)

    def attention_steps(self, target):
        return self.inputs(target)


def test_any_predictor_can_be_applied(trial):
    predictor = Shifted()
    plan = plan_targets(predictor, MuscleNames.load(None).of_model(trial.activations))
    estimate = estimate_trial(predictor, trial, plan, {"r": [CYCLE]}, crossfade=0.05)
    assert list(estimate.muscles) == ["soleus_r", "tib_ant_r"]
    assert estimate.provenance is PROVENANCE
    soleus = estimate.muscles["soleus_r"]
    np.testing.assert_array_equal(soleus.covered, (CYCLE.start <= TIME) & (CYCLE.end >= TIME))
    before = CYCLE.window(TIME, trial.activations["soleus_r"], 21)[:, 0]
    np.testing.assert_array_equal(soleus.curves.before, [before])
    np.testing.assert_array_equal(soleus.curves.after, [np.roll(before, 5)])
    # In the middle of the cycle the rows are the method's, with its band; outside, the simulation's, without.
    middle = (TIME > 0.3) & (TIME < 1.2)
    np.testing.assert_allclose((soleus.values - soleus.low)[middle], 0.1, atol=1e-12)
    np.testing.assert_allclose((soleus.high - soleus.values)[middle], 0.2, atol=1e-12)
    for curve in (soleus.values, soleus.low, soleus.high):
        np.testing.assert_array_equal(curve[~soleus.covered], trial.activations["soleus_r"][~soleus.covered])
    assert (soleus.low <= soleus.values).all()
    assert (soleus.values <= soleus.high).all()
    time, labels, weights = attention_over_time(estimate)
    assert labels == ["soleus_r/soleus_r", "soleus_r/tib_ant_r", "tib_ant_r/soleus_r", "tib_ant_r/tib_ant_r"]
    np.testing.assert_allclose(time, np.linspace(0.2, 1.3, 21))
    np.testing.assert_allclose(weights, np.tile([0.25, 0.75], (21, 2)))


def test_a_predictor_hears_of_the_motion_and_tells_what_it_used(trial, caplog):
    class Told(Shifted):
        def predict(self, target, x, *, motion="", age_group=""):
            assert (motion, age_group) == ("run", "child")
            remark = f"mean EMG profile ({motion})" if target == "tib" else ""
            return replace(super().predict(target, x), remarks=(remark,) * len(x))

    plan = plan_targets(Told(), MuscleNames.load(None).of_model(trial.activations))
    caplog.set_level("INFO", logger="opensim_nem2e")
    estimate_trial(Told(), trial, plan, {"r": [CYCLE]}, crossfade=0.05, motion="run", age_group="child")
    assert "Chosen on training subjects left out, mean EMG profile (run): tib." in caplog.text


def test_cycles_of_few_rows_or_with_rows_missing(trial, caplog):
    def thinned(kept):
        source = TimeSeries(TIME[kept], trial.source.labels, trial.source.data[kept])
        activations = {name: values[kept] for name, values in trial.activations.items()}
        return replace(trial, time=TIME[kept], source=source, activations=activations)

    plan = plan_targets(Shifted(), MuscleNames.load(None).of_model(trial.activations))
    few = thinned(np.arange(TIME.size) % (TIME.size // 6) == 0)
    with pytest.raises(CycleError, match=r"must have 10 rows or more .* the right one of 0\.2000 to 1\.3000 s has"):
        estimate_trial(Shifted(), few, plan, {"r": [CYCLE]}, crossfade=0.05)
    cut = thinned((TIME < 0.4) | (TIME > 0.7))
    with pytest.raises(CycleError, match="Rows are missing in every gait cycle"):
        estimate_trial(Shifted(), cut, plan, {"r": [CYCLE]}, crossfade=0.05)
    assert "The right gait cycle 0.2000-1.3000 s keeps OpenSim's values: rows are missing between" in caplog.text


def test_a_predictor_that_cannot_be_applied(trial):
    names = MuscleNames.load(None).of_model(trial.activations)
    with pytest.raises(BundleError, match="psoas_r: the bundle has no network"):
        plan_targets(Shifted(), {**names, **MuscleNames.load(None).of_model(["psoas_r"])}, ["psoas_r"])
    plan = plan_targets(Shifted(), names)
    with pytest.raises(CycleError, match="There is no complete right gait cycle; not refined: soleus_r, tib_ant_r"):
        estimate_trial(Shifted(), trial, plan, {"l": [Cycle("l", 0.2, 1.3)]}, crossfade=0.05, requested=["soleus_r"])


def test_bounds_clip_values_and_bands(estimate):
    item = estimate.as_activations({"soleus_r": MUSCLE}).muscles["soleus_r"]
    raw = estimate.muscles["soleus_r"]
    assert raw.low[raw.covered].min() < 0.0
    assert raw.high[raw.covered].max() > 1.0
    assert item.low[item.covered].min() == MUSCLE.low
    assert item.high[item.covered].max() == MUSCLE.high
    np.testing.assert_array_equal(item.values[~item.covered], raw.values[~item.covered])
    np.testing.assert_array_equal(np.ma.getmaskarray(item.masked), ~item.covered)


def test_excitations_become_activations_through_the_dynamics(trial):
    covered = (TIME >= 0.2) & (TIME <= 1.3)
    excitation = np.where(covered, np.where(TIME < 0.7, 0.8, 0.05), trial.activations["soleus_r"])
    item = MuscleEstimate("soleus_r", excitation, covered, low=0.5 * excitation, high=excitation)
    found = Estimate(TIME, "excitation", {"soleus_r": item}, PROVENANCE).as_activations({"soleus_r": MUSCLE})
    assert found.quantity == "activation"
    own = found.muscles["soleus_r"]
    first = int(np.argmax(covered))
    start = trial.activations["soleus_r"][first - 1]
    held = np.where(TIME < 0.7, 0.8, 0.05)[covered]
    expected = activation_from_excitation(
        np.append(TIME[first - 1], TIME[covered]), np.append(0.8, held)[:, None], [0.01], [0.04], [start]
    )
    np.testing.assert_allclose(own.values[covered], np.clip(expected[1:, 0], 0.02, 1.0), atol=1e-9)
    # Slower than the excitation: it has not fallen to a half 5 ms after that has jumped down.
    assert own.values[np.searchsorted(TIME, 0.705)] > 0.4
    np.testing.assert_array_equal(own.values, own.high)
    assert (own.low <= own.values).all()
    np.testing.assert_array_equal(own.values[~covered], trial.activations["soleus_r"][~covered])


def test_files_hold_values_and_bands(estimate, writer, tmp_path, caplog):
    activations = estimate.as_activations(writer.muscles)
    with ResultFiles(tmp_path / "results") as files:
        writer.write_activations(files, activations)
        writer.write_estimate(files, estimate)
        writer.write_attention(files, estimate)
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert written == {
        *("walk_activation.sto", "walk_activation_bands.sto", "walk_controls.sto"),
        *("walk_emg.sto", "walk_emg_bands.sto"),
    }
    assert "No attention is written: a method made by hand has none." in caplog.text
    item = estimate.muscles["soleus_r"]
    bands = read_storage(tmp_path / "results" / "walk_emg_bands.sto")
    assert bands.labels == ("soleus_r_low", "soleus_r_high")
    np.testing.assert_allclose(bands.data, np.column_stack([item.low, item.high]), atol=1e-8)
    emg = read_storage(tmp_path / "results" / "walk_emg.sto")
    np.testing.assert_allclose(emg.column("soleus_r"), item.values, atol=1e-8)
    new = read_storage(tmp_path / "results" / "walk_activation.sto")
    np.testing.assert_allclose(new.column("soleus_r"), activations.muscles["soleus_r"].values, atol=1e-8)
    np.testing.assert_allclose(new.column("tib_ant_r"), bump(1.0), atol=1e-8)


def test_activations_without_bands_leave_no_file_of_their_own(estimate, writer, tmp_path):
    item = replace(estimate.muscles["soleus_r"], low=None, high=None)
    plain = Estimate(TIME, "activation", {"soleus_r": item}, PROVENANCE)
    with ResultFiles(tmp_path / "results") as files:
        writer.write_estimate(files, plain)
    assert list((tmp_path / "results").iterdir()) == []


def test_a_states_file_of_cmc(simulation, tmp_path):
    """By hand onto a simulation on disk: columns that the estimate does not have are kept as they are."""
    defaults = MuscleDefaults(0.01, 0.01, 0.04)
    trial = read_simulation(simulation.states, None, None, None, defaults)
    covered = (trial.time > 0.5) & (trial.time < 1.5)
    values = np.where(covered, 0.3, trial.activations["soleus_r"])
    # No cycles: the controls change where the rows do.
    estimate = Estimate(trial.time, "activation", {"soleus_r": MuscleEstimate("soleus_r", values, covered)}, PROVENANCE)
    writer = EstimateWriter("walk", trial, defaults.muscles(None, trial.activations), 8)
    with ResultFiles(tmp_path / "results") as files:
        writer.write_activations(files, estimate)
    before, after = read_storage(simulation.states), read_storage(tmp_path / "results" / "walk_states.sto")
    own = before.index("/forceset/soleus_r/activation")
    np.testing.assert_allclose(after.data[covered, own], 0.3)
    np.testing.assert_array_equal(np.delete(after.data, own, 1), np.delete(before.data, own, 1))
    np.testing.assert_array_equal(after.data[~covered, own], before.data[~covered, own])
    old, new = read_storage(simulation.controls), read_storage(tmp_path / "results" / "walk_controls.sto")
    changed = new.column("soleus_r") != old.column("soleus_r")
    assert new.time[changed].min() > 0.5
    assert new.time[changed].max() < 1.5
    assert np.median(new.column("soleus_r")[changed]) == pytest.approx(0.3, abs=1e-6)


def test_summary_by_hand(estimate, trial):
    activations = estimate.as_activations({"soleus_r": MUSCLE})
    (row,) = summarise(estimate, activations, trial.activations, {"soleus_r": MUSCLE})
    assert (row.muscle, row.network, row.side, row.cycles) == ("soleus_r", "soleus", "r", 1)
    cut = [CYCLE.window(TIME, curve)[:, 0] for curve in (bump(0.6), activations.muscles["soleus_r"].values)]
    assert row.rms_change == pytest.approx(np.sqrt(np.mean((cut[1] - cut[0]) ** 2)))
    # The bump is 50 ms later; a cycle of 1.1 s is looked at in 200 steps.
    assert row.peak_shift_ms == pytest.approx(50.0, abs=1e3 * 1.1 / 200)
    whole = Estimate(TIME, "emg", {"soleus_r": replace(estimate.muscles["soleus_r"], cycles=())}, PROVENANCE)
    (row,) = summarise(whole, whole.as_activations({"soleus_r": MUSCLE}), trial.activations, {"soleus_r": MUSCLE})
    inside = estimate.muscles["soleus_r"].covered
    assert row.cycles == 0
    assert row.rms_change == pytest.approx(np.sqrt(np.mean((bump(0.65) - bump(0.6))[inside] ** 2)))
    assert np.isnan(row.peak_shift_ms)
    assert len(summary_table([row])) == 2


@pytest.fixture
def terms():
    """An ankle with 100 Nm of each muscle, one forward and one backward, and what the refined soleus would make."""
    time = np.arange(0.01, 1.48, 0.01)
    arms = np.tile([[[-0.05], [0.04]]], (time.size, 1, 1))
    active = np.tile([2000.0, 2500.0], (time.size, 1))
    needed = -100.0 * (0.05 + 0.5 * np.exp(-(((time - 0.6) / 0.1) ** 2)))[:, None] + 10.0
    nothing = np.zeros(time.size, dtype=bool)
    return TorqueTerms(time, ("soleus_r", "tib_ant_r"), ("ankle_angle_r",), active, 0.0 * active, arms, nothing, needed)


def test_torques_are_checked_and_drawn(estimate, trial, terms, tmp_path):
    activations = estimate.as_activations({"soleus_r": MUSCLE})
    check = check_torques(trial, activations, terms)
    (row,) = check.changes()
    inside = (terms.time >= CYCLE.start) & (terms.time <= CYCLE.end)
    assert row.rows == pytest.approx(inside.sum(), abs=2)
    at = np.interp(terms.time[inside], TIME, bump(0.65) - bump(0.6))
    assert row.rms_change == pytest.approx(np.sqrt(np.mean((100.0 * at) ** 2)), rel=0.01)
    mechanics = Mechanics(trial, activations, activations, check, None, None, ())
    with ResultFiles(tmp_path / "results") as files:
        check.write(files, "walk", 8)
        draw_mechanics(files, "walk", mechanics, check, "svg")
        draw_estimate(files, "walk", trial, activations, "svg")
    torques = read_storage(tmp_path / "results" / "walk_torques.sto")
    np.testing.assert_allclose(torques.column("ankle_angle_r_refined"), check.refined[:, 0], atol=1e-7)
    assert (tmp_path / "results" / "walk_torques.svg").stat().st_size > 5_000
    drawn = (tmp_path / "results" / "walk_plantarflexors.svg").read_text()
    assert drawn.count('id="FillBetweenPolyCollection') + drawn.count('id="PolyCollection') >= 2


def test_no_row_within_a_cycle(estimate, trial, terms):
    nowhere = replace(estimate.muscles["soleus_r"], covered=np.zeros(TIME.size, dtype=bool))
    with pytest.raises(ModelError, match="no row within a refined gait cycle"):
        check_torques(trial, replace(estimate, muscles={"soleus_r": nowhere}), terms)


def test_redistribution_and_emg_without_a_bundle(estimate, trial, terms, writer, tmp_path):
    activations = estimate.as_activations(writer.muscles)
    settings = RedistributionSettings(0.1, 0.1, 2.0, -1.0, 0.05)
    emg = MeasuredEMG(TimeSeries(TIME, ("calf",), bump(0.6)[:, None]), 0.0, {"soleus_r": "calf"})
    found = make_consistent(trial, writer.muscles, activations, terms, settings, emg)
    assert set(found.new.muscles) == {"soleus_r", "tib_ant_r"}
    assert (found.new.kind, found.new.provenance) == ("consistent", PROVENANCE)
    inside = (terms.time > CYCLE.start + 0.06) & (terms.time < CYCLE.end - 0.06)
    np.testing.assert_allclose(found.check.consistent[inside], terms.inverse_dynamics[inside], atol=0.5)
    assert np.abs(found.check.refined[inside] - terms.inverse_dynamics[inside]).max() > 10.0
    (row,) = compare_with_emg(emg, trial, activations, found)
    # The EMG is the soleus's as OpenSim had it; the refined one comes 0.05 s late.
    assert row.r_opensim > 0.999 > 0.95 > row.r_refined
    mechanics = Mechanics(trial, activations, found.new, found.check, found, emg, [row], apart=True)
    with ResultFiles(tmp_path / "results") as files:
        check = mechanics.write(files, writer)
        tradeoff = draw_mechanics(files, "walk", mechanics, check, "png")
        write_report(files, "walk", activations, trial=trial, mechanics=mechanics, check=check, tradeoff=tradeoff)
    page = (tmp_path / "results" / "walk_report.html").read_text()
    assert "refined by a method made by hand" in page
    assert "were found by quadratic programming" in page
    with (tmp_path / "results" / "walk_tradeoff.csv").open(newline="") as stream:
        assert sum(row["chosen"] == "True" for row in csv.DictReader(stream)) == 1
    assert mechanics.own_shapes == []
    # A channel that gave its shape is compared with itself.
    own = replace(activations.muscles["soleus_r"], shape_source="EMG")
    used = replace(mechanics, activations=replace(activations, muscles={**activations.muscles, "soleus_r": own}))
    assert "of 1 muscle (their shape is from it) is" in mechanics_summary(used, check, used.words)
    (part, *_) = mechanics_parts(used, check, None, None, used.words)
    assert "The shape of soleus_r is this EMG itself" in part.texts[0]


def test_trust_is_told_from_the_provenance(estimate, caplog):
    caplog.set_level("INFO", logger="opensim_nem2e")
    log_trust(estimate)
    assert "carries no validation figures" in caplog.text
    row = {"subjects": 4, "E_opensim": 0.3, "E_refined": 0.2, "E_mean": 0.2, "Er_refined": -0.33}
    validated = replace(PROVENANCE, validation={"method": "x", "held_out": {"soleus": row, "ALL": row}})
    caplog.clear()
    log_trust(replace(estimate, provenance=validated))
    assert "on held-out subjects" in caplog.text
    assert "take the refined curves as average waveforms" in caplog.text


def test_errors_on_laboratories_count_where_they_are_known(estimate, caplog):
    """They are what a user meets, and the best mean profile is what is to be beaten."""
    row = {"subjects": 4, "E_opensim": 0.3, "E_refined": 0.2, "E_mean": 0.25, "E_profiles": 0.2, "Er_refined": -0.33}
    better = {**row, "E_refined": 0.15}
    known = {"held_out": {"soleus": better, "ALL": better}, "leave_one_laboratory_out": {"ALL": row}}
    caplog.set_level("INFO", logger="opensim_nem2e")
    log_trust(replace(estimate, provenance=replace(PROVENANCE, validation=known)))
    assert "refined 0.150, mean EMG profile of the other subjects 0.200." in caplog.text
    assert "On laboratories left out of training: OpenSim 0.300, refined 0.200 (-33 %)" in caplog.text
    assert "take the refined curves as average waveforms" in caplog.text


def test_simulations_that_were_not_validated_are_warned_of(caplog):
    provenance = replace(PROVENANCE, validation={"sources": ["so", "cmc"]})
    warn_of_source(provenance, "cmc")
    warn_of_source(PROVENANCE, "moco")
    assert caplog.text == ""
    warn_of_source(provenance, "moco")
    assert "of Moco, but the bundle was validated with static optimisation and CMC only" in caplog.text
    caplog.clear()
    warn_of_source(PROVENANCE, "")
    assert caplog.text == ""
    warn_of_source(provenance, "")
    assert "Nothing in the file says what computed its activations" in caplog.text


def test_what_does_not_fit_is_refused(estimate):
    item = estimate.muscles["soleus_r"]
    with pytest.raises(ModelError, match="both or neither of its bands"):
        replace(item, high=None)
    with pytest.raises(ModelError, match=r"of the shape \(rows,\)"):
        replace(item, covered=item.covered[:-1])
    with pytest.raises(ModelError, match="must be of this muscle"):
        Estimate(TIME, "emg", {"tib_ant_r": item}, PROVENANCE)
    with pytest.raises(ModelError, match="the trial's 299 rows"):
        Estimate(TIME[:-1], "emg", {"soleus_r": item}, PROVENANCE)


def test_rolled_cycles_strike_inside(estimate):
    item = replace(estimate.muscles["soleus_r"], cycles=(Cycle("r", 0.2, 0.7), Cycle("r", 0.7, 1.2, 0.5)))
    assert item.heel_strikes() == pytest.approx((0.2, 0.7, 0.95))
    assert CycleCurves(np.zeros((1, 3)), np.zeros((1, 3))).attention is None


def test_no_bundle_no_torch_no_tool_is_imported():
    script = (
        "import sys; from opensim_nem2e.estimates import apply, estimate, mechanics, summary, torques, trust, write;"
        "from opensim_nem2e.estimates import torque_consistent; from opensim_nem2e.report import estimate_report;"
        "print([m for m in sys.modules if m in ('torch', 'opensim', 'matplotlib', 'opensim_nem2e.methods.bundle')"
        " or m.startswith(('opensim_nem2e.tools', 'opensim_nem2e.methods.stdr'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
