"""Cycles cut from files that this test writes, where the right answer is known by formula, and from real recordings."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.data.gait_cycles import MuscleCycles, read_gait_cycles, usable_rows
from opensim_nem2e.data.manifest import Channel, CycleRecord, read_channels, read_trials
from opensim_nem2e.errors import ManifestError, StorageError
from opensim_nem2e.methods.baselines import DEFAULT_PENALTY, RidgePath, mean_profile
from opensim_nem2e.signals.compare import cycle_errors

PERIOD = 1.0


def write_sto(path, time, columns):
    header = f"{path.stem}\nversion=1\nnRows={len(time)}\nnColumns={len(columns) + 1}\ninDegrees=no\nendheader\n"
    lines = ["\t".join(["time", *columns])]
    lines += ["\t".join(f"{value:.10f}" for value in row) for row in np.column_stack([time, *columns.values()])]
    path.write_text(header + "\n".join(lines) + "\n")
    return path


def wave(t, phase=0.0):
    """A smooth periodic activation between 0.1 and 0.9."""
    return 0.5 + 0.4 * np.sin(2 * np.pi * (t / PERIOD + phase))


@pytest.fixture
def lab(tmp_path):
    """Activations and EMG of a made-up lab; EMG runs 0.1 s ahead and is twice as large."""
    t = np.linspace(0, 4, 2001)
    so = {
        "soleus_r": wave(t),
        "soleus_l": wave(t, 0.5),
        "gasmed_r": wave(t, 0.1),
        "gaslat_r": wave(t, 0.2),
        "gasmed_l": wave(t, 0.6),
        "reserve_knee_r": t,
    }
    states = {
        "/jointset/knee_r/knee_angle_r/value": t,
        "/forceset/soleus_r/activation": wave(t),
        "/forceset/soleus_l/activation": wave(t, 0.5),
    }
    emg = {"SOL": 2 * wave(t + 0.1), "GAS": wave(t + 0.1, 0.1) - 0.2, "SOL_L": wave(t + 0.1, 0.5)}
    return {
        "so": write_sto(tmp_path / "so.sto", t, so),
        "cmc": write_sto(tmp_path / "cmc.sto", t, states),
        "emg": write_sto(tmp_path / "emg.sto", t, emg),
    }


CHANNELS = [
    Channel("lab", "SOL", ("soleus_r",), "soleus", 2),
    Channel("lab", "GAS", ("gasmed_r", "gaslat_r"), "gasmed", 3),
    Channel("lab", "SOL_L", ("soleus_l",), "soleus", 4),
]


def trial(lab, line=2, **changes):
    values = {
        "dataset": "lab",
        "subject": "s1",
        "trial": "walk",
        "stride": str(line),
        "motion": "walk",
        "speed": 1.0,
        "side": "r",
        "model_file": None,
        "activation_file": lab["so"],
        "activation_source": "so",
        "emg_file": lab["emg"],
        "emg_time_offset": -0.1,
        "start": 1.0,
        "end": 2.0,
        "heel_strike": None,
        "line": line,
    }
    return CycleRecord(**{**values, **changes})


PHASE = np.linspace(0, 1, 20)


def test_cut_with_offset_and_scale(lab):
    data = read_gait_cycles([trial(lab)], CHANNELS, targets=["soleus"]).cycles("soleus")
    assert data.inputs == ("ipsi:soleus",)
    np.testing.assert_allclose(data.x[0, :, 0], wave(PHASE), atol=1e-4)
    np.testing.assert_array_equal(data.own, data.x[:, :, 0])
    np.testing.assert_allclose(data.y[0], wave(PHASE) / wave(PHASE).max(), atol=1e-4)
    raw = read_gait_cycles(
        [trial(lab)], CHANNELS, targets=["soleus"], emg_normalization="none", use_emg_time_offset=False
    )
    np.testing.assert_allclose(raw.cycles("soleus").y[0], 2 * wave(PHASE + 0.1), atol=1e-4)


def test_left_and_right_strides_train_the_same_network(lab):
    trials = [trial(lab), trial(lab, 3, side="l", start=1.5, end=2.5)]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"], inputs=["ipsi:soleus", "contra:soleus"]).cycles(
        "soleus"
    )
    np.testing.assert_allclose(data.x[0], data.x[1], atol=1e-4)
    np.testing.assert_allclose(data.x[0, :, 1], wave(PHASE, 0.5), atol=1e-4)
    np.testing.assert_allclose(data.y[0], data.y[1], atol=1e-4)


def test_cmc_states_give_the_same_windows(lab):
    trials = [trial(lab), trial(lab, 3, activation_file=lab["cmc"], activation_source="cmc")]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"]).cycles("soleus")
    np.testing.assert_allclose(data.x[0], data.x[1], atol=1e-8)


def test_a_cycle_outside_of_its_file_is_told_with_its_row(lab):
    late = replace(trial(lab), start=100.0, end=101.0)
    with pytest.raises(ManifestError, match=rf"line {late.line} of the manifest .* must lie inside the data.*\.sto'"):
        read_gait_cycles([late], CHANNELS, targets=["soleus"])


def test_a_moco_solution_may_call_its_activations_by_bare_names(lab):
    trials = [trial(lab), trial(lab, 3, activation_source="moco"), trial(lab, 4, activation_source="moco")]
    trials[2] = replace(trials[2], activation_file=lab["cmc"])
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"])
    np.testing.assert_allclose(data.cycles("soleus").x, np.stack([data.cycles("soleus").x[0]] * 3), atol=1e-8)
    with pytest.raises(ManifestError, match=r"No cycle has both .* no activation of 'soleus': 1 cycle left"):
        read_gait_cycles([replace(trials[0], activation_source="cmc")], CHANNELS, targets=["soleus"])


def test_emg_without_a_simulation_is_kept_but_trains_no_network(lab):
    """It is in the samples, for methods that learn what a muscle does from EMG alone, and takes no input away."""
    trials = [trial(lab), trial(lab, 3, activation_file=None, activation_source="", subject="s2")]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"], inputs="all")
    np.testing.assert_allclose(
        data.samples.channel("emg", "soleus"), np.tile(wave(PHASE) / wave(PHASE).max(), (2, 1)), atol=1e-3
    )
    assert [record.subject for record in data.cycles("soleus").records] == ["s1"]
    assert len(data.view.input_muscles) == 5


def test_all_inputs_are_those_every_trial_has(lab):
    trials = [trial(lab), trial(lab, 3, activation_file=lab["cmc"], activation_source="cmc")]
    data = read_gait_cycles(trials[:1], CHANNELS, targets=["soleus"], inputs="all").cycles("soleus")
    assert data.inputs == ("ipsi:soleus", "contra:soleus", "ipsi:gasmed", "ipsi:gaslat", "contra:gasmed")
    assert data.x.shape == (1, 20, 5)
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"], inputs="all").cycles("soleus")
    assert data.inputs == ("ipsi:soleus", "contra:soleus")
    with pytest.raises(ManifestError, match=r"'ipsi:solaeus' is in none of the trials\. Did you mean 'ipsi:soleus'"):
        read_gait_cycles(trials, CHANNELS, targets=["soleus"], inputs=["ipsi:solaeus"])
    # A muscle that some trials lack costs those trials.
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"], inputs=["ipsi:gasmed"]).cycles("soleus")
    assert [item.line for item in data.records] == [2]


def test_shared_channels(lab):
    shared = read_gait_cycles([trial(lab)], CHANNELS, targets=["gasmed", "gaslat"])
    assert set(shared.muscles) == {"gasmed", "gaslat"}
    np.testing.assert_array_equal(shared.cycles("gasmed").y, shared.cycles("gaslat").y)
    np.testing.assert_allclose(shared.cycles("gaslat").x[0, :, 0], wave(PHASE, 0.2), atol=1e-4)
    single = read_gait_cycles([trial(lab)], CHANNELS, targets=["gasmed", "gaslat"], shared_channels=False)
    assert set(single.muscles) == {"gasmed"}
    # A channel of its own comes before a shared one.
    own = [*CHANNELS, Channel("lab", "SOL", ("gaslat_r",), "gaslat", 5)]
    data = read_gait_cycles([trial(lab)], own, targets=["gaslat"]).cycles("gaslat")
    np.testing.assert_allclose(data.y[0], wave(PHASE) / wave(PHASE).max(), atol=1e-4)


def test_negative_emg_is_clipped_and_counted(lab, caplog):
    caplog.set_level(logging.INFO)
    dataset = read_gait_cycles([trial(lab)], CHANNELS, targets=["gasmed"])
    y = dataset.cycles("gasmed").y[0]
    assert y.min() == 0
    assert y.max() == 1
    count = int((wave(np.linspace(0, 4, 2001) + 0.1, 0.1) - 0.2 < 0).sum())
    assert f"lab: {count} negative EMG values were set to zero." in dataset.notes
    assert f"{count} negative EMG values" in caplog.text


def test_heel_strike_inside_the_window_comes_first(lab):
    data = read_gait_cycles([trial(lab, start=1.3, end=2.3, heel_strike=2.0)], CHANNELS, targets=["soleus"])
    # The last sample is where the window ends in time, just before its first.
    np.testing.assert_allclose(data.cycles("soleus").x[0, :, 0], wave(PHASE), atol=1e-3)
    np.testing.assert_allclose(data.cycles("soleus").y[0], wave(PHASE) / wave(PHASE).max(), atol=1e-3)


@pytest.mark.parametrize("heel_strike", [None, 0.4])
def test_an_emg_file_of_one_cycle_is_rolled(tmp_path, lab, heel_strike):
    t = np.linspace(0, 1, 101)
    emg = write_sto(tmp_path / "one.sto", t, {"SOL": wave(t + 0.1)})
    so = write_sto(tmp_path / "so1.sto", t, {"soleus_r": wave(t)})
    item = trial(lab, activation_file=so, emg_file=emg, start=0.0, end=1.0, heel_strike=heel_strike)
    dataset = read_gait_cycles([item], CHANNELS, targets=["soleus"])
    phase = PHASE + (0 if heel_strike is None else heel_strike)
    np.testing.assert_allclose(dataset.cycles("soleus").y[0], wave(phase) / wave(phase).max(), atol=2e-3)
    assert any("holds exactly one cycle" in note for note in dataset.notes)


def test_a_cycle_outside_the_emg_is_left_out(lab):
    trials = [trial(lab), trial(lab, 3, start=0.05, end=1.05, stride="9")]
    dataset = read_gait_cycles(trials, CHANNELS, targets=["soleus"])
    assert [item.line for item in dataset.cycles("soleus").records] == [2]
    assert any("lab/s1/walk/9 (so): the EMG file covers 0.000..4.000 s" in note for note in dataset.notes)


@pytest.mark.parametrize(("kind", "expected"), [("subject_max", [0.5, 1.0]), ("trial_max", [1.0, 1.0])])
def test_normalisation_groups(tmp_path, lab, kind, expected):
    t = np.linspace(0, 4, 401)
    twice = write_sto(tmp_path / "twice.sto", t, {"SOL": 4 * wave(t + 0.1)})
    trials = [trial(lab), trial(lab, 3, trial="fast", emg_file=twice)]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"], emg_normalization=kind).cycles("soleus")
    np.testing.assert_allclose(data.y.max(axis=1), expected, atol=1e-3)


def test_trials_in_different_units(tmp_path, lab, caplog):
    """A trial in V beside one in mV would be taken for silence by all that shares one scale."""
    t = np.linspace(0, 4, 2001)
    volts = write_sto(tmp_path / "volts.sto", t, {"SOL": 2e-3 * wave(t), "GAS": 1e-3 * wave(t)})
    trials = [trial(lab), trial(lab, 3, trial="fast", emg_file=volts)]
    read_gait_cycles(trials, CHANNELS, emg_normalization="trial_max")
    assert "share" not in caplog.text
    read_gait_cycles(trials, CHANNELS)
    assert "the EMG of 'fast' is" in caplog.text
    assert "times smaller than that of the subject's other trials, with which it shares one scale" in caplog.text


def test_a_cycle_over_missing_rows_of_the_emg_is_left_out(lab, tmp_path):
    t = np.linspace(0, 4, 2001)
    there = (t < 1.299) | (t > 1.401)
    lab["emg"] = write_sto(tmp_path / "emg.sto", t[there], {"SOL": 2 * wave(t + 0.1)[there]})
    records = [trial(lab, line, start=start, end=start + PERIOD) for line, start in ((2, 1.0), (3, 2.0))]
    found = read_gait_cycles(records, CHANNELS, targets=["soleus"])
    assert [record.line for record in found.cycles("soleus").records] == [3]
    assert any("has no rows 1.298 to 1.402 s, within the cycle" in note for note in found.notes)


def test_quarters_share_the_normalisation_of_whole_cycles(lab):
    whole = read_gait_cycles([trial(lab)], CHANNELS, targets=["soleus"]).cycles("soleus")
    quarters = read_gait_cycles([trial(lab)], CHANNELS, targets=["soleus"], condition="One-Quarter")
    assert quarters.view.cycle_samples == quarters.samples.time.shape[1] == 77
    np.testing.assert_allclose(quarters.cycles("soleus").y[:, ::4], whole.y, atol=1e-12)


def test_missing_pairs_and_dead_channels(tmp_path, lab, caplog):
    t = np.linspace(0, 4, 401)
    dead = write_sto(tmp_path / "dead.sto", t, {"GAS": 0 * t, "OTHER": t})
    dataset = read_gait_cycles([trial(lab), trial(lab, 3, subject="s2", emg_file=dead)], CHANNELS)
    assert set(dataset.muscles) == {"soleus", "gasmed", "gaslat"}
    assert [set(dataset.cycles(muscle).subjects) for muscle in dataset.muscles] == [{"s1"}] * 3
    assert "the EMG channel 'GAS' of s2 is never above zero" in caplog.text
    unused = [replace(channel, standard_name="") for channel in CHANNELS]
    with pytest.raises(ManifestError, match="No cycle has both measured EMG and activations"):
        read_gait_cycles([trial(lab)], unused)


def test_faults_of_the_channels(lab):
    with pytest.raises(ManifestError) as caught:
        read_gait_cycles(
            [trial(lab), trial(lab, 3, dataset="labb")],
            [*CHANNELS, Channel("lab", "X", ("tibant_r",), "tibb", 9)],
            targets=["soleuss"],
        )
    for part in (
        "line 9",
        "'tibb'",
        "'labb' has no EMG channels. Did you mean 'lab'?",
        "'soleuss'. Did you mean 'soleus'?",
    ):
        assert part in str(caught.value)


def test_subjects_stay_together(lab):
    who = ["b", "a", "b", "c", "a"]
    trials = [trial(lab, line, subject=name) for line, name in enumerate(who, start=2)]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"]).cycles("soleus")
    assert data.subjects.tolist() == ["b", "b", "a", "a", "c"]
    assert [item.line for item in data.records] == [2, 4, 3, 6, 5]
    for subject, train, test in data.folds():
        assert set(test.subjects) == {subject}
        assert subject not in train.subjects
        assert len(train.records) + len(test.records) == 5
        assert len(train.x) == len(train.records)


#: Published errors of the recordings (source so, walking, leave one subject out): subjects, strides, E_opensim,
#: E_ridge, E_mean. Only the muscles whose channels name one muscle in every dataset.
PUBLISHED = {
    "bi": (4, 38, 0.314, 0.217, 0.224),
    "gaslat": (3, 50, 0.188, 0.163, 0.179),
    "rect": (5, 58, 0.353, 0.237, 0.237),
    "soleus": (5, 63, 0.227, 0.166, 0.188),
    "tib": (4, 38, 0.302, 0.203, 0.219),
    "vaslat": (5, 59, 0.281, 0.161, 0.174),
    "vasmed": (4, 51, 0.299, 0.156, 0.161),
}


def test_published_errors(shared_data):
    """How the published figures rolled the cycle of one subject is not stated: hence the width of 0.02."""
    trials = [
        item
        for item in read_trials(shared_data / "trials.csv")
        if item.activation_source == "so" and item.motion == "walk"
    ]
    dataset = read_gait_cycles(
        trials, read_channels(shared_data / "emg_channels.csv"), targets=list(PUBLISHED), shared_channels=False
    )
    found = {}
    for target in dataset.muscles:
        data, rows = dataset.cycles(target), []
        for _, train, test in data.folds():
            guesses = (
                test.own,
                RidgePath(train.own, train.y).predict(test.own, DEFAULT_PENALTY),
                mean_profile(train.y),
            )
            rows.append([cycle_errors(guess, test.y).mean() for guess in guesses])
        found[target] = (len(rows), len(data.records), *np.mean(rows, axis=0))
    for target, published in PUBLISHED.items():
        assert found[target][:2] == published[:2]
        np.testing.assert_allclose(found[target][2:], published[2:], atol=0.02, err_msg=target)
    difference = np.array([np.subtract(found[target][2:], PUBLISHED[target][2:]) for target in PUBLISHED])
    assert np.abs(difference.mean(axis=0)).max() < 0.012


@pytest.mark.parametrize("backwards", [False, True])
def test_two_columns_for_one_muscle(lab, tmp_path, caplog, backwards):
    """The same one is used in whatever order they stand."""
    t = np.linspace(0, 4, 2001)
    columns = {"vas_lat_r": wave(t), "vaslat_r": wave(t, 0.3), "soleus_r": wave(t)}
    columns = dict(reversed(columns.items())) if backwards else columns
    path = write_sto(tmp_path / "twice.sto", t, columns)
    data = read_gait_cycles([trial(lab, activation_file=path)], CHANNELS, targets=["soleus"], inputs=["ipsi:vaslat"])
    expected = wave(1 + np.linspace(0, 1, 20))
    np.testing.assert_allclose(data.cycles("soleus").x[0, :, 0], expected, atol=1e-4)
    assert "'vas_lat_r' and 'vaslat_r' both stand for 'ipsi:vaslat'; 'vas_lat_r' is used." in caplog.text


def test_an_order_that_does_not_depend_on_the_manifest(lab):
    trials = [trial(lab, line, subject=subject) for subject, line in (("s2", 10), ("s2", 2), ("s10", 11))]
    forth, back = (
        read_gait_cycles(rows, CHANNELS, targets=["gasmed"], inputs=inputs)
        for rows, inputs in (
            (trials, ["ipsi:soleus", "contra:soleus", "ipsi:gasmed"]),
            (trials[::-1], ["ipsi:gasmed", "ipsi:soleus", "contra:soleus"]),
        )
    )
    one, two = forth.samples.ordered(), back.samples.ordered()
    assert one.channels == two.channels
    assert one.channels["activation"] == ("contra:soleus", "ipsi:gasmed", "ipsi:soleus")
    assert [r.stride for r in one.records] == [r.stride for r in two.records] == ["11", "2", "10"]
    assert one.subjects.tolist() == ["s10", "s2", "s2"]
    for name, array in one.arrays.items():
        assert np.array_equal(array, two.arrays[name])
    cycles = forth.cycles("gasmed")
    np.testing.assert_array_equal(one.channel("activation", "ipsi:soleus"), cycles.x[[2, 1, 0], :, 0])
    np.testing.assert_array_equal(one.channel("emg", "gasmed"), cycles.y[[2, 1, 0]])
    # What an estimator of one muscle sees keeps that order.
    ordered = MuscleCycles.of(one, "gasmed", forth.view)
    assert ordered.inputs == forth.view.input_muscles
    np.testing.assert_array_equal(ordered.x, cycles.x[[2, 1, 0]])


def test_people_of_one_dataset_with_channels_of_their_own(lab, tmp_path):
    t = np.linspace(0, 4, 2001)
    other = write_sto(tmp_path / "other.sto", t, {"left_over": wave(t), "EMG 3": wave(t + 0.1)})
    channels = [*CHANNELS, Channel("lab", "EMG 3", ("soleus_r",), "soleus", 5)]
    trials = [trial(lab), trial(lab, line=3, subject="s2", emg_file=other)]
    for order in (channels, channels[::-1]):
        data = read_gait_cycles(trials, order, targets=["soleus"]).cycles("soleus")
        assert list(data.subjects) == ["s1", "s2"]
        np.testing.assert_allclose(data.y[0], data.y[1], atol=1e-8)


def test_envelopes_in_a_table(lab, tmp_path):
    from opensim_nem2e.storage import read_storage

    series = read_storage(trial(lab).emg_file)
    rows = zip(series.time, series.data, strict=True)
    table = tmp_path / "emg.csv"
    lines = [",".join(["time (ms)", *series.labels])]
    lines += [",".join(f"{number:.9g}" for number in (1000.0 * time, *values)) for time, values in rows]
    table.write_text("\n".join(lines) + "\n")
    one, two = (read_gait_cycles([row], CHANNELS) for row in (trial(lab), trial(lab, emg_file=table)))
    for muscle in ("soleus", "gasmed"):
        np.testing.assert_allclose(two.cycles(muscle).y, one.cycles(muscle).y, atol=1e-6)


# --- cycles that lack something ---------------------------------------------------------------------------------------


def test_cycles_without_emg_are_samples_too(lab, caplog):
    caplog.set_level(logging.INFO)
    trials = [trial(lab), trial(lab, 3, emg_file=None), trial(lab, 4, activation_file=None, activation_source="")]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"])
    assert data.muscles == ("soleus",)
    assert len(data.samples) == 3
    np.testing.assert_array_equal(usable_rows(data.samples, "soleus", data.view), [True, False, False])
    assert [record.line for record in data.cycles("soleus").records] == [2]
    # What there is, is there; what is missing is NaN.
    activation, emg = data.samples.channel("activation", "ipsi:soleus"), data.samples.channel("emg", "soleus")
    np.testing.assert_array_equal(activation[0], activation[1])
    assert np.isnan(activation[2]).all()
    assert np.isfinite(emg[0]).all()
    assert np.isnan(emg[1]).all()
    for note in ("1 of 3 cycles have no activations", "1 of 3 cycles have no EMG"):
        assert any(text.startswith(note) for text in data.notes)
        assert note in caplog.text


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_no_emg_at_all_is_not_an_error(lab, condition):
    """Methods that learn from mechanics alone need none; nor are EMG channels asked for."""
    trials = [trial(lab, line, emg_file=None) for line in (2, 3)]
    data = read_gait_cycles(trials, [], targets=["soleus", "gasmed"], condition=condition)
    assert data.muscles == ()
    assert len(data.samples) == 2
    assert not data.cycles("soleus").records
    assert data.cycles("soleus").y.shape == (0, data.view.cycle_samples)
    expected = {"ipsi:soleus", "contra:soleus", "ipsi:gasmed", "ipsi:gaslat", "contra:gasmed"}
    if condition != "All-Entire":
        expected = {"ipsi:soleus", "ipsi:gasmed"}
    assert set(data.samples.channels["activation"]) == expected
    assert np.isfinite(data.samples.inputs["activation"]).all()
    assert any(note.startswith("2 of 2 cycles have no EMG") for note in data.notes)


def test_emg_without_any_simulation(lab):
    """It can be read; but there is nothing to refine, which is said as before."""
    trials = [trial(lab, line, activation_file=None, activation_source="") for line in (2, 3)]
    with pytest.raises(ManifestError, match="No cycle has both measured EMG and activations"):
        read_gait_cycles(trials, CHANNELS, targets=["soleus"])


def test_an_unsimulated_cycle_costs_all_entire_nothing(lab):
    """A trial without activations is not asked for inputs that all trials must share."""
    trials = [trial(lab), trial(lab, 3, activation_file=None, activation_source="")]
    data = read_gait_cycles(trials, CHANNELS, targets=["soleus"], condition="All-Entire")
    alone = read_gait_cycles(trials[:1], CHANNELS, targets=["soleus"], condition="All-Entire")
    assert data.view == alone.view
    np.testing.assert_array_equal(data.cycles("soleus").x, alone.cycles("soleus").x)
    # Nor where nobody has EMG.
    trials = [replace(record, emg_file=None) for record in trials]
    trials[1] = replace(trials[1], coordinates_file=lab["so"])
    assert read_gait_cycles(trials, [], targets=["soleus"], condition="All-Entire").view == alone.view


def test_raw_emg_is_refused(lab, raw_emg):
    """Training on raw EMG in mV at 2 kHz would otherwise pass: its upper half looks like bursts."""
    time = np.arange(0.0, 4.0, 0.0005)
    raw = {name: raw_emg(wave(time + 0.1), 2000.0, seed) for seed, name in enumerate(("SOL", "GAS", "SOL_L"))}
    write_sto(lab["emg"], time, raw)
    with pytest.raises(StorageError, match="This is raw EMG, but envelopes are needed"):
        read_gait_cycles([trial(lab)], CHANNELS, targets=["soleus"])
    # A channel that nobody uses may be anything.
    unused = Channel("lab", "RAW", ("tib_r",), "", 9)
    write_sto(lab["emg"], time, {"SOL": wave(time), "RAW": raw["GAS"]})
    assert read_gait_cycles([trial(lab)], [CHANNELS[0], unused], targets=["soleus"]).cycles("soleus").y.size
