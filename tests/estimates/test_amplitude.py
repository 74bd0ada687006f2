"""Amplitudes of shapes without torques, and shapes from the trial's own EMG; numbers by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from opensim_nem2e.data.simulation import Muscle, SimulatedTrial
from opensim_nem2e.errors import CycleError, LabelError, MissingFileError, StorageError
from opensim_nem2e.estimates.amplitude import by_prior, log_amplitude, prior_gain, shape_of
from opensim_nem2e.estimates.estimate import Estimate, MuscleEstimate
from opensim_nem2e.estimates.measured_emg import MeasuredEMG, read_maxima, warn_of_misfit, with_measured_emg
from opensim_nem2e.estimates.mechanics import MechanicsSettings, examine_mechanics
from opensim_nem2e.methods.base import Provenance
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage import TimeSeries
from opensim_nem2e.storage.muscles import MuscleNames

TIME = np.linspace(0.0, 1.5, 301)
CYCLE = Cycle("r", 0.2, 1.3)
COVERED = (TIME >= 0.2) & (TIME <= 1.3)
NAMES = ("semimem_r", "bflh_r", "soleus_r", "psoas_r")
PROVENANCE = Provenance("by_hand", "a method made by hand")


def bump(centre: float) -> np.ndarray:
    return 0.02 + 0.3 * np.exp(-(((TIME - centre) / 0.1) ** 2))


@pytest.fixture
def trial() -> SimulatedTrial:
    activations = {name: bump(0.5 + 0.2 * k) for k, name in enumerate(NAMES)}
    source = TimeSeries(TIME, tuple(activations), np.column_stack(list(activations.values())))
    return SimulatedTrial(TIME, activations, source, {}, False, None, {}, "walk")


@pytest.fixture
def estimate(trial) -> Estimate:
    """Twice the simulated activation, 0.1 s later."""
    items = {
        name: MuscleEstimate(
            name, np.where(COVERED, 2.0 * bump(0.6 + 0.2 * k), trial.activations[name]), COVERED, std, "r", (CYCLE,)
        )
        for k, (name, std) in enumerate(zip(NAMES[:3], ("sem", "bi", "soleus"), strict=True))
    }
    return Estimate(TIME, "emg", items, PROVENANCE)


@pytest.fixture
def emg() -> MeasuredEMG:
    """Millivolts, 0.04 s after the motion; the file ends before the motion does."""
    values = np.column_stack([1e-3 * bump(0.45), 2e-3 * bump(0.8)])
    return MeasuredEMG(TimeSeries(TIME + 0.04, ("ham", "calf"), values), 0.04, {"semimem_r": "ham", "soleus_r": "calf"})


def test_the_prior_is_between_the_simulation_and_what_is_typical(trial, estimate):
    shape, maximum = shape_of(estimate.muscles["bflh_r"])
    assert maximum == pytest.approx(0.64, rel=1e-3)
    assert shape[COVERED].max() == 1.0
    # The estimate is the simulation's bump, moved, at the height 0.32: this is its strength.
    assert prior_gain(TIME, trial.activations["bflh_r"], shape, COVERED) == pytest.approx(np.sqrt(0.4 * 0.32), rel=0.01)
    # Strengths count within bounds; a shape's scale does not matter.
    assert prior_gain(TIME, 0.0 * TIME, shape, COVERED) == pytest.approx(np.sqrt(0.4 * 0.03))
    doubled = replace(estimate.muscles["bflh_r"], values=5.0 * estimate.muscles["bflh_r"].values)
    np.testing.assert_allclose(shape_of(doubled)[0][COVERED], shape[COVERED])
    silent = replace(doubled, values=0.0 * doubled.values)
    assert (shape_of(silent)[0] == 1.0).all()


def test_without_torques_shapes_are_as_strong_as_their_prior(trial, estimate, caplog):
    found = by_prior(estimate, trial.activations)
    row = found.amplitude.gains["bflh_r"]
    assert (row.shape, row.gain, row.determined) == ("network", row.prior, 0.0)
    assert found.muscles["bflh_r"].values[COVERED].max() == pytest.approx(row.gain)
    np.testing.assert_array_equal(found.muscles["bflh_r"].values[~COVERED], trial.activations["bflh_r"][~COVERED])
    muscles = {name: Muscle(0.02, 1.0, 0.02, 1.0, 0.01, 0.01, 0.04, "first_order") for name in NAMES}
    for amplitude, height, label in (("auto", row.gain, "activation"), ("emg", 0.64, "EMG / maximum")):
        mechanics = examine_mechanics(trial, muscles, estimate, None, MechanicsSettings(amplitude=amplitude))
        result = mechanics.result
        assert result.muscles["bflh_r"].values[COVERED].max() == pytest.approx(height, rel=1e-3)
        assert result.amplitude.label == label
    # Maximal contractions tell the strength of a muscle whose EMG was measured.
    known = replace(estimate, muscles={"bflh_r": replace(estimate.muscles["bflh_r"], gain=0.3)})
    caplog.set_level("INFO", logger="opensim_nem2e")
    for amplitude in ("auto", "emg"):
        result = examine_mechanics(trial, muscles, known, None, MechanicsSettings(amplitude=amplitude)).result
        assert result.muscles["bflh_r"].values[COVERED].max() == pytest.approx(0.3, rel=1e-3)
    assert np.isnan(by_prior(known, trial.activations).amplitude.gains["bflh_r"].determined)
    log_amplitude(by_prior(known, trial.activations).amplitude)
    assert "that of 1 muscle is known from maximal contractions. The joint torques" in caplog.text


def test_a_file_that_is_missing_is_an_error_under_auto_too(trial, estimate, tmp_path):
    """What cannot be computed falls back to the simulation's amplitude with a warning; a wrong path never does."""
    settings = MechanicsSettings(amplitude="auto", torques_known=True, coordinates_file=tmp_path / "none.mot")
    model = SimpleNamespace(path=tmp_path / "none.osim")
    with pytest.raises(MissingFileError, match=r"none\.mot"):
        examine_mechanics(trial, {}, estimate, model, settings)


def test_measured_emg_is_the_shape(trial, estimate, emg):
    names = MuscleNames.load().of_model(trial.activations)
    found = with_measured_emg(estimate, emg, trial, names, {"r": [CYCLE]}, {"calf": 1.28e-3})
    own = found.muscles["semimem_r"]
    assert (own.shape_source, own.gain, own.cycles) == ("EMG", None, (CYCLE,))
    np.testing.assert_allclose(own.values[COVERED], (bump(0.45) / bump(0.45)[COVERED].max())[COVERED], atol=1e-9)
    # 0.64 mV of 1.28 mV in a maximal contraction.
    assert found.muscles["soleus_r"].gain == pytest.approx(0.5, rel=1e-3)
    # The other hamstring was not measured: half the network's shape, half its neighbour's EMG. Psoas has none.
    beside = found.muscles["bflh_r"]
    half = 0.5 * (shape_of(estimate.muscles["bflh_r"])[0] + shape_of(own)[0])
    np.testing.assert_allclose(beside.values[COVERED], half[COVERED])
    # Torques do not reveal it: it weighs more than what was measured, which weighs more than a network's.
    assert (beside.shape_source, own.certainty, beside.certainty) == ("network", 4.0, 12.0)
    assert beside.remark == "half the measured EMG of semimem_r"
    assert "psoas_r" not in found.muscles


def test_emg_on_another_clock_is_warned_of(trial, emg, caplog):
    """With the offset that fits; what EMG and CMC are apart by nature is not."""
    cycles = dict.fromkeys(emg.channels, (Cycle("r", 0.4, 1.1),))
    curves = np.column_stack([trial.activations[muscle] for muscle in emg.channels])
    for late, warned in ((0.0, False), (0.06, False), (0.2, True), (-0.2, True)):
        caplog.clear()
        series = TimeSeries(TIME + 0.05 + late, tuple(emg.channels.values()), curves)
        warn_of_misfit(MeasuredEMG(series, 0.05, emg.channels), trial, cycles)
        assert bool(caplog.messages) == warned
        if warned:
            assert f"give <emg_time_offset> {0.05 + late:+.2f}" in caplog.text


def test_emg_that_fits_nothing_is_warned_of(trial, emg, caplog):
    """Another trial's, or other muscles': no offset is proposed, as none fits."""
    muscles = ("soleus_r", "semimem_r", "bflh_r")
    cycles = dict.fromkeys(muscles, (Cycle("r", 0.3, 1.0),))
    noise = np.abs(np.sin(2.0 * np.pi * 6.0 * TIME[:, None] + np.arange(3)))
    warn_of_misfit(MeasuredEMG(TimeSeries(TIME, muscles, noise), 0.0, {name: name for name in muscles}), trial, cycles)
    (message,) = caplog.messages
    assert "fits OpenSim's activations at no lag of up to 0.3 s (mean r of 3 muscles" in message


def test_emg_of_one_cycle_goes_on_for_ever():
    """A time-normalised recording with an offset: rolled, as in training."""
    time = np.linspace(0.0, 1.0, 101)
    wave = np.sin(2.0 * np.pi * time)[:, None]
    emg = MeasuredEMG(TimeSeries(time, ("calf",), wave), -0.1, {"soleus_r": "calf"}).for_ever(Cycle("r", 0.0, 1.0))
    found = np.interp(time, *emg.rows("calf"))
    np.testing.assert_allclose(found, np.sin(2.0 * np.pi * (time - 0.1)), atol=2e-3)
    assert emg.recorded([Cycle("r", 0.0, 1.0)])
    # More than the cycle, or no offset: as it is.
    for offset, end in ((-0.1, 0.8), (0.0, 1.0)):
        same = MeasuredEMG(TimeSeries(time, ("calf",), wave), offset, {"soleus_r": "calf"})
        assert same.for_ever(Cycle("r", 0.0, end)) is same


def test_exchanged_channels_are_warned_of(caplog):
    cycles = dict.fromkeys(NAMES, (Cycle("r", 0.0, 1.0),))
    apart = {"soleus_r": bump(0.45), "semimem_r": bump(0.85), "bflh_r": bump(0.2), "psoas_r": bump(0.6)}
    simulated = SimpleNamespace(time=TIME, activations=apart)
    curves = np.column_stack(list(apart.values()))
    for labels, warned in ((("calf", "thigh", "ham", "hip"), False), (("thigh", "calf", "ham", "hip"), True)):
        channels = {"soleus_r": "calf", "semimem_r": "thigh", "bflh_r": "ham", "psoas_r": "hip"}
        warn_of_misfit(MeasuredEMG(TimeSeries(TIME, labels, curves), 0.0, channels), simulated, cycles)
        assert ("'calf' and 'thigh' look exchanged" in caplog.text) == warned


def test_channels_that_cover_no_cycle(trial, estimate, emg, caplog):
    names = MuscleNames.load().of_model(trial.activations)
    with pytest.raises(LabelError, match="No EMG channel covers a gait cycle"):
        with_measured_emg(estimate, emg, trial, names, {"l": [Cycle("l", 0.1, 0.9)]})
    caplog.clear()
    # A recording that covers none of them is told once, with where they lie.
    with pytest.raises(CycleError, match=r"holds no gait cycle: with <emg_time_offset> 0\.04 they lie between 0\.9400"):
        with_measured_emg(estimate, emg, trial, names, {"r": [Cycle("r", 0.9, 1.6)]})
    assert not caplog.records


@pytest.mark.parametrize("fault", ["values", "rows"])
def test_no_emg_is_made_up_in_a_gap(trial, estimate, emg, fault, caplog):
    """Two cycles, the first over a gap: only the second has a shape from EMG, and is compared."""
    hole = (emg.series.time > 0.5) & (emg.series.time < 0.6)
    data = np.where(hole[:, np.newaxis] & np.array([True, False]), np.nan, emg.series.data)
    series = replace(emg.series, data=data)
    if fault == "rows":
        series = replace(series, time=series.time[~hole], data=series.data[~hole])
    emg = MeasuredEMG(series, emg.offset, emg.channels)
    names = MuscleNames.load().of_model(trial.activations)
    cycles = [Cycle("r", 0.2, 0.7), Cycle("r", 0.7, 1.3)]
    own = with_measured_emg(estimate, emg, trial, names, {"r": cycles}).muscles["semimem_r"]
    assert own.cycles == (cycles[1],)
    assert np.isfinite(own.values).all()
    np.testing.assert_array_equal(own.values[TIME < 0.69], trial.activations["semimem_r"][TIME < 0.69])
    curves = {"refined": (TIME, trial.activations)}
    counts = {row.muscle: row.cycles for row in emg.errors(curves, dict.fromkeys(emg.channels, cycles), 0.0)}
    assert counts == {"semimem_r": 1, "soleus_r": 1 if fault == "rows" else 2}
    assert not emg.errors(curves, {"semimem_r": cycles[:1]}, 0.0)
    assert "'ham' has gaps in all cycles: semimem_r is not compared" in caplog.text


def test_channels_without_a_signal_and_in_another_unit(trial, estimate, emg, caplog):
    names = MuscleNames.load().of_model(trial.activations)
    flat = replace(emg, series=replace(emg.series, data=emg.series.data * [0.0, 0.0] + [0.3, 0.0]))
    with pytest.raises(LabelError, match=r"semimem_r: it is 0\.3 throughout .*; soleus_r: it is silent in its"):
        with_measured_emg(estimate, flat, trial, names, {"r": [CYCLE]})
    with pytest.raises(StorageError, match=r"same unit, but 'calf' reaches 0\.0006.* maximum is 6\.4e-06.* percent"):
        with_measured_emg(estimate, emg, trial, names, {"r": [CYCLE]}, {"calf": 6.4e-6})
    with_measured_emg(estimate, emg, trial, names, {"r": [CYCLE]}, {"calf": 0.6})
    assert "'calf' reaches only 0.0011 of its maximal contraction: are both in the same unit?" in caplog.text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("label,maximum\ncalf,0\n", "must be a number above 0; found '0'"),
        ("label,maximum\ncalf,1\ncalf,2\n", "listed twice"),
        ("label,maximum\nbrow,1\n", "No channel of the recording is listed"),
    ],
)
def test_maxima_that_do_not_fit(emg, tmp_path, text, fault):
    path = tmp_path / "maxima.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=fault):
        read_maxima(path, emg)
    path.write_text("label,maximum\ncalf,1.5e-3\nbrow,1\n")
    assert read_maxima(path, emg) == {"calf": 1.5e-3}
