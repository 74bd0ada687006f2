"""Cycles cut from files that this test writes, where the right answer is known by formula, and from real recordings."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from opensim_nem2e.data.gait_cycles import build_dataset
from opensim_nem2e.data.manifest import Channel, Trial, read_channels, read_trials
from opensim_nem2e.errors import ManifestError, StorageError
from opensim_nem2e.methods.baselines import mean_profile, ridge
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
    return Trial(**{**values, **changes})


PHASE = np.linspace(0, 1, 20)


def test_cut_with_offset_and_scale(lab):
    data = build_dataset([trial(lab)], CHANNELS, targets=["soleus"]).targets["soleus"]
    assert data.inputs == ("ipsi:soleus",)
    np.testing.assert_allclose(data.x[0, :, 0], wave(PHASE), atol=1e-4)
    np.testing.assert_array_equal(data.own, data.x[:, :, 0])
    np.testing.assert_allclose(data.y[0], wave(PHASE) / wave(PHASE).max(), atol=1e-4)
    raw = build_dataset([trial(lab)], CHANNELS, targets=["soleus"], emg_normalization="none", use_emg_time_offset=False)
    np.testing.assert_allclose(raw.targets["soleus"].y[0], 2 * wave(PHASE + 0.1), atol=1e-4)


def test_left_and_right_strides_train_the_same_network(lab):
    trials = [trial(lab), trial(lab, 3, side="l", start=1.5, end=2.5)]
    data = build_dataset(trials, CHANNELS, targets=["soleus"], inputs=["ipsi:soleus", "contra:soleus"]).targets[
        "soleus"
    ]
    np.testing.assert_allclose(data.x[0], data.x[1], atol=1e-4)
    np.testing.assert_allclose(data.x[0, :, 1], wave(PHASE, 0.5), atol=1e-4)
    np.testing.assert_allclose(data.y[0], data.y[1], atol=1e-4)


def test_cmc_states_give_the_same_windows(lab):
    trials = [trial(lab), trial(lab, 3, activation_file=lab["cmc"], activation_source="cmc")]
    data = build_dataset(trials, CHANNELS, targets=["soleus"]).targets["soleus"]
    np.testing.assert_allclose(data.x[0], data.x[1], atol=1e-8)


def test_all_inputs_are_those_every_trial_has(lab):
    trials = [trial(lab), trial(lab, 3, activation_file=lab["cmc"], activation_source="cmc")]
    data = build_dataset(trials[:1], CHANNELS, targets=["soleus"], inputs="all").targets["soleus"]
    assert data.inputs == ("ipsi:soleus", "contra:soleus", "ipsi:gasmed", "ipsi:gaslat", "contra:gasmed")
    assert data.x.shape == (1, 20, 5)
    data = build_dataset(trials, CHANNELS, targets=["soleus"], inputs="all").targets["soleus"]
    assert data.inputs == ("ipsi:soleus", "contra:soleus")
    with pytest.raises(ManifestError, match=r"'ipsi:solaeus' is in none of the trials\. Did you mean 'ipsi:soleus'"):
        build_dataset(trials, CHANNELS, targets=["soleus"], inputs=["ipsi:solaeus"])
    # A muscle that some trials lack costs those trials.
    data = build_dataset(trials, CHANNELS, targets=["soleus"], inputs=["ipsi:gasmed"]).targets["soleus"]
    assert [item.line for item in data.trials] == [2]


def test_shared_channels(lab):
    shared = build_dataset([trial(lab)], CHANNELS, targets=["gasmed", "gaslat"])
    assert set(shared.targets) == {"gasmed", "gaslat"}
    np.testing.assert_array_equal(shared.targets["gasmed"].y, shared.targets["gaslat"].y)
    np.testing.assert_allclose(shared.targets["gaslat"].x[0, :, 0], wave(PHASE, 0.2), atol=1e-4)
    single = build_dataset([trial(lab)], CHANNELS, targets=["gasmed", "gaslat"], shared_channels=False)
    assert set(single.targets) == {"gasmed"}
    # A channel of its own comes before a shared one.
    own = [*CHANNELS, Channel("lab", "SOL", ("gaslat_r",), "gaslat", 5)]
    data = build_dataset([trial(lab)], own, targets=["gaslat"]).targets["gaslat"]
    np.testing.assert_allclose(data.y[0], wave(PHASE) / wave(PHASE).max(), atol=1e-4)


def test_negative_emg_is_clipped_and_counted(lab, caplog):
    caplog.set_level(logging.INFO)
    dataset = build_dataset([trial(lab)], CHANNELS, targets=["gasmed"])
    y = dataset.targets["gasmed"].y[0]
    assert y.min() == 0
    assert y.max() == 1
    count = int((wave(np.linspace(0, 4, 2001) + 0.1, 0.1) - 0.2 < 0).sum())
    assert f"lab: {count} negative EMG values were set to zero." in dataset.notes
    assert f"{count} negative EMG values" in caplog.text


def test_heel_strike_inside_the_window_comes_first(lab):
    data = build_dataset([trial(lab, start=1.3, end=2.3, heel_strike=2.0)], CHANNELS, targets=["soleus"])
    # The last sample is where the window ends in time, just before its first.
    np.testing.assert_allclose(data.targets["soleus"].x[0, :, 0], wave(PHASE), atol=1e-3)
    np.testing.assert_allclose(data.targets["soleus"].y[0], wave(PHASE) / wave(PHASE).max(), atol=1e-3)


@pytest.mark.parametrize("heel_strike", [None, 0.4])
def test_an_emg_file_of_one_cycle_is_rolled(tmp_path, lab, heel_strike):
    t = np.linspace(0, 1, 101)
    emg = write_sto(tmp_path / "one.sto", t, {"SOL": wave(t + 0.1)})
    so = write_sto(tmp_path / "so1.sto", t, {"soleus_r": wave(t)})
    item = trial(lab, activation_file=so, emg_file=emg, start=0.0, end=1.0, heel_strike=heel_strike)
    dataset = build_dataset([item], CHANNELS, targets=["soleus"])
    phase = PHASE + (0 if heel_strike is None else heel_strike)
    np.testing.assert_allclose(dataset.targets["soleus"].y[0], wave(phase) / wave(phase).max(), atol=2e-3)
    assert any("holds exactly one cycle" in note for note in dataset.notes)


def test_a_cycle_outside_the_emg_is_left_out(lab):
    trials = [trial(lab), trial(lab, 3, start=0.05, end=1.05, stride="9")]
    dataset = build_dataset(trials, CHANNELS, targets=["soleus"])
    assert [item.line for item in dataset.targets["soleus"].trials] == [2]
    assert any("lab/s1/walk/9 (so): the EMG file covers 0.000..4.000 s" in note for note in dataset.notes)


@pytest.mark.parametrize(("kind", "expected"), [("subject_max", [0.5, 1.0]), ("trial_max", [1.0, 1.0])])
def test_normalisation_groups(tmp_path, lab, kind, expected):
    t = np.linspace(0, 4, 401)
    twice = write_sto(tmp_path / "twice.sto", t, {"SOL": 4 * wave(t + 0.1)})
    trials = [trial(lab), trial(lab, 3, trial="fast", emg_file=twice)]
    data = build_dataset(trials, CHANNELS, targets=["soleus"], emg_normalization=kind).targets["soleus"]
    np.testing.assert_allclose(data.y.max(axis=1), expected, atol=1e-3)


def test_quarters_share_the_normalisation_of_whole_cycles(lab):
    whole = build_dataset([trial(lab)], CHANNELS, targets=["soleus"]).targets["soleus"]
    quarters = build_dataset([trial(lab)], CHANNELS, targets=["soleus"], windows=4)
    assert quarters.samples == 77
    np.testing.assert_allclose(quarters.targets["soleus"].y[:, ::4], whole.y, atol=1e-12)


def test_missing_pairs_and_dead_channels(tmp_path, lab, caplog):
    t = np.linspace(0, 4, 401)
    dead = write_sto(tmp_path / "dead.sto", t, {"GAS": 0 * t, "OTHER": t})
    dataset = build_dataset([trial(lab), trial(lab, 3, subject="s2", emg_file=dead)], CHANNELS)
    assert set(dataset.targets) == {"soleus", "gasmed", "gaslat"}
    assert dataset.subjects == ("s1",)
    assert "the EMG channel 'GAS' of s2 is never above zero" in caplog.text
    unused = [dataclasses.replace(channel, standard_name="") for channel in CHANNELS]
    with pytest.raises(ManifestError, match="No cycle has both measured EMG and activations"):
        build_dataset([trial(lab)], unused)


def test_faults_of_the_channels(lab):
    with pytest.raises(ManifestError) as caught:
        build_dataset(
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
    data = build_dataset(trials, CHANNELS, targets=["soleus"]).targets["soleus"]
    assert data.subjects.tolist() == ["b", "b", "a", "a", "c"]
    assert [item.line for item in data.trials] == [2, 4, 3, 6, 5]
    for subject, train, test in data.folds():
        assert set(test.subjects) == {subject}
        assert subject not in train.subjects
        assert len(train.trials) + len(test.trials) == 5
        assert len(train.x) == len(train.trials)


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
    dataset = build_dataset(
        trials, read_channels(shared_data / "emg_channels.csv"), targets=list(PUBLISHED), shared_channels=False
    )
    found = {}
    for target, data in dataset.targets.items():
        rows = []
        for _, train, test in data.folds():
            guesses = (test.own, ridge(train.own, train.y, test.own), mean_profile(train.y))
            rows.append([cycle_errors(guess, test.y).mean() for guess in guesses])
        found[target] = (len(rows), len(data.trials), *np.mean(rows, axis=0))
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
    data = build_dataset([trial(lab, activation_file=path)], CHANNELS, targets=["soleus"], inputs=["ipsi:vaslat"])
    expected = wave(1 + np.linspace(0, 1, 20))
    np.testing.assert_allclose(data.targets["soleus"].x[0, :, 0], expected, atol=1e-4)
    assert "'vas_lat_r' and 'vaslat_r' both stand for 'ipsi:vaslat'; 'vas_lat_r' is used." in caplog.text


def test_an_order_that_does_not_depend_on_the_manifest(lab):
    trials = [trial(lab, line, subject=subject) for subject, line in (("s2", 10), ("s2", 2), ("s10", 11))]
    forth, back = (
        build_dataset(rows, CHANNELS, targets=["gasmed"], inputs=inputs).targets["gasmed"]
        for rows, inputs in (
            (trials, ["ipsi:soleus", "contra:soleus", "ipsi:gasmed"]),
            (trials[::-1], ["ipsi:gasmed", "ipsi:soleus", "contra:soleus"]),
        )
    )
    one, two = forth.ordered(), back.ordered()
    assert one.inputs == two.inputs == ("contra:soleus", "ipsi:gasmed", "ipsi:soleus")
    assert [t.stride for t in one.trials] == [t.stride for t in two.trials] == ["11", "2", "10"]
    assert one.subjects.tolist() == ["s10", "s2", "s2"]
    for name in ("x", "own", "y"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.x[:, :, 2], forth.x[[2, 1, 0], :, 0])


def test_people_of_one_dataset_with_channels_of_their_own(lab, tmp_path):
    t = np.linspace(0, 4, 2001)
    other = write_sto(tmp_path / "other.sto", t, {"left_over": wave(t), "EMG 3": wave(t + 0.1)})
    channels = [*CHANNELS, Channel("lab", "EMG 3", ("soleus_r",), "soleus", 5)]
    trials = [trial(lab), trial(lab, line=3, subject="s2", emg_file=other)]
    for order in (channels, channels[::-1]):
        data = build_dataset(trials, order, targets=["soleus"]).targets["soleus"]
        assert list(data.subjects) == ["s1", "s2"]
        np.testing.assert_allclose(data.y[0], data.y[1], atol=1e-8)


def test_raw_emg_is_refused(lab, raw_emg):
    """Training on raw EMG in mV at 2 kHz would otherwise pass: its upper half looks like bursts."""
    time = np.arange(0.0, 4.0, 0.0005)
    raw = {name: raw_emg(wave(time + 0.1), 2000.0, seed) for seed, name in enumerate(("SOL", "GAS", "SOL_L"))}
    write_sto(lab["emg"], time, raw)
    with pytest.raises(StorageError, match="This is raw EMG, but envelopes are needed"):
        build_dataset([trial(lab)], CHANNELS, targets=["soleus"])
    # A channel that nobody uses may be anything.
    unused = Channel("lab", "RAW", ("tib_r",), "", 9)
    write_sto(lab["emg"], time, {"SOL": wave(time), "RAW": raw["GAS"]})
    assert build_dataset([trial(lab)], [CHANNELS[0], unused], targets=["soleus"]).targets["soleus"].y.size
