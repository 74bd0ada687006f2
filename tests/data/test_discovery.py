"""From a folder layout to the manifest."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e.data.discovery import FolderLayout, channel_muscle, discover, find_files
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.errors import ManifestError
from opensim_nem2e.storage import MuscleNames, TimeSeries, write_storage
from opensim_nem2e.storage.events_table import GaitEvent, write_gait_events

TIME = np.arange(0.0, 5.0, 0.01)
LABELS = ("soleus_r", "tib_ant_r", "soleus_l", "reserve_knee_angle_r")


@pytest.fixture
def lab(tmp_path):
    """Two subjects, two trials each; the right leg has EMG."""
    for subject in ("anna", "ben 2"):
        for trial in ("walk1", "walk2"):
            folder = tmp_path / subject / trial
            (folder / "results").mkdir(parents=True)
            states = [f"/forceset/{label}/activation" for label in LABELS]
            values = np.full((TIME.size, len(states)), 0.1)
            write_storage(folder / "results" / f"{trial}_states.sto", TimeSeries(TIME, tuple(states), values))
            emg = TimeSeries(TIME, ("R Soleus EMG", "tib_ant_r", "trigger"), values[:, :3])
            write_storage(folder / f"{trial}_emg.sto", emg)
            strikes = [GaitEvent(time, "heel_strike", "r") for time in (0.5, 1.5, 2.6, 3.6, 5.6)]
            strikes += [GaitEvent(time, "heel_strike", "l") for time in (1.0, 2.0)]
            write_gait_events(folder / "events.csv", strikes)
    return tmp_path


PATTERNS = {
    "activation_file": "{subject}/{trial}/results/{trial}_states.sto",
    "emg_file": "{subject}/{trial}/{trial}_emg.sto",
    "events_file": "{subject}/{trial}/events.csv",
}
CONSTANTS = {"motion": "walk", "dataset": "lab"}


def test_a_whole_laboratory(lab):
    found = discover(lab, FolderLayout(PATTERNS, CONSTANTS))
    found.write(lab)
    trials = read_trials(lab / "trials.csv")
    assert [(t.subject, t.trial, t.stride) for t in trials[:4]] == [
        ("anna", "walk1", "1"),
        ("anna", "walk1", "2"),
        ("anna", "walk1", "3"),
        ("anna", "walk2", "1"),
    ]
    assert len(trials) == 12
    # Only the leg with EMG, only complete cycles.
    assert [(t.side, t.start, t.end) for t in trials[:3]] == [("r", 0.5, 1.5), ("r", 1.5, 2.6), ("r", 2.6, 3.6)]
    assert {(t.activation_source, t.motion, t.dataset) for t in trials} == {("cmc", "walk", "lab")}
    assert trials[-1].activation_file.resolve() == lab / "ben 2" / "walk2" / "results" / "walk2_states.sto"
    channels = read_channels(lab / "emg_channels.csv")
    assert [(c.column, c.muscles, c.standard_name) for c in channels] == [
        ("R Soleus EMG", ("soleus_r",), "soleus"),
        ("tib_ant_r", ("tib_ant_r",), "tib"),
    ]
    assert found.unknown == {"lab": ["trigger"]}
    # The folder can be moved: paths are relative.
    shutil.move(lab / "anna", lab.parent / "moved")
    with (lab / "trials.csv").open() as stream:
        assert next(csv.DictReader(stream))["emg_file"] == "anna/walk1/walk1_emg.sto"


def test_a_trial_that_lacks_a_file_is_left_out(lab, caplog):
    (lab / "anna" / "walk1" / "walk1_emg.sto").unlink()
    (lab / "anna" / "walk2" / "events.csv").write_text("time,event,side\n1.0,heel_strike,r\n")
    found = discover(lab, FolderLayout(PATTERNS, CONSTANTS))
    assert {row["subject"] for row in found.trials} == {"ben 2"}
    assert "of emg_file must fit one file, but it fits 0" in caplog.text
    assert "there is no complete gait cycle in 0.000 to 4.990 s of a leg with EMG" in caplog.text
    assert "events.csv has heel strikes at (s): right: 1.000." in caplog.text


def test_one_reason_is_told_once(lab, caplog):
    for trial in ("walk1", "walk2"):
        (lab / "anna" / trial / f"{trial}_emg.sto").unlink()
        emg = TimeSeries(TIME, ("EMG1", "EMG2"), np.full((TIME.size, 2), 0.1))
        write_storage(lab / "ben 2" / trial / f"{trial}_emg.sto", emg)
    with pytest.raises(ManifestError, match="None of the 4 files"):
        discover(lab, FolderLayout(PATTERNS, CONSTANTS))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "walk1_states.sto and 1 more: left out: the pattern" in warnings[0]
    # The cycles are there; it is the channels that have no muscle.
    assert "no channel of its EMG (EMG1, EMG2) says muscle and side" in warnings[1]


def test_events_or_ground_reactions_are_enough(lab, repository):
    example = repository / "examples" / "01_refine_walking"
    for name in ("external_loads.xml", "walking_grf.mot"):
        shutil.copy(example / name, lab / "anna" / "walk1")
    (lab / "anna" / "walk1" / "events.csv").unlink()
    patterns = {**PATTERNS, "external_loads_file": "{subject}/{trial}/external_loads.xml"}
    found = discover(lab, FolderLayout(patterns, CONSTANTS))
    trials = {(row["subject"], row["trial"]) for row in found.trials}
    assert trials == {("anna", "walk1"), ("anna", "walk2"), ("ben 2", "walk1"), ("ben 2", "walk2")}
    found.write(lab)
    forces, events = read_trials(lab / "trials.csv")[0], read_trials(lab / "trials.csv")[-1]
    assert (forces.events_file, events.external_loads_file) == (None, None)
    assert forces.external_loads_file.name == "external_loads.xml"
    # The column for what the check proposes is there to be filled.
    assert "emg_time_offset_s" in (lab / "trials.csv").read_text().splitlines()[0]


def test_people_with_different_models_and_legs(lab):
    """Rows and channels are each subject's own, and one channel may stand for a muscle of two names."""
    for trial in ("walk1", "walk2"):
        folder = lab / "ben 2" / trial
        names = [f"/forceset/{label}/activation" for label in ("soleus_r", "tibant_r", "soleus_l")]
        values = np.full((TIME.size, 3), 0.1)
        write_storage(folder / "results" / f"{trial}_states.sto", TimeSeries(TIME, tuple(names), values))
        write_storage(folder / f"{trial}_emg.sto", TimeSeries(TIME, ("tib_ant_r", "soleus_l"), values[:, :2]))
    found = discover(lab, FolderLayout(PATTERNS, CONSTANTS))
    sides = {(row["subject"], row["side"]) for row in found.trials}
    # Anna's left leg has no EMG.
    assert sides == {("anna", "r"), ("ben 2", "r"), ("ben 2", "l")}
    muscles = {row["emg_column"]: row["muscles"] for row in found.channels}
    assert muscles == {"R Soleus EMG": "soleus_r", "tib_ant_r": "tib_ant_r;tibant_r", "soleus_l": "soleus_l"}
    # A subject none of whose trials is usable brings no channels.
    for trial in ("walk1", "walk2"):
        (lab / "ben 2" / trial / "events.csv").write_text("time,event,side\n1.0,heel_strike,r\n")
    found = discover(lab, FolderLayout(PATTERNS, CONSTANTS))
    assert [row["emg_column"] for row in found.channels] == ["R Soleus EMG", "tib_ant_r"]


def test_whole_files(lab):
    patterns = {name: PATTERNS[name] for name in ("activation_file", "emg_file")}
    found = discover(
        lab, FolderLayout(patterns, {**CONSTANTS, "side": "r", "activation_source": "moco"}, whole_file=True)
    )
    assert [(row["t_start"], row["t_end"], row["side"]) for row in found.trials] == [("0.0000", "4.9900", "r")] * 4


def test_what_simulated_is_read_from_the_files(lab):
    """Moco's header counts states and controls; CMC's says nothing."""
    path = lab / "anna" / "walk1" / "results" / "walk1_states.sto"
    path.write_text(path.read_text().replace("endheader", "num_controls=3\nnum_states=3\nendheader", 1))
    found = discover(lab, FolderLayout(PATTERNS, CONSTANTS))
    sources = {(row["subject"], row["trial"]): row["activation_source"] for row in found.trials}
    assert sources.pop(("anna", "walk1")) == "moco"
    assert set(sources.values()) == {"cmc"}


def test_patterns(tmp_path):
    for name in ("s1/a_x.sto", "s1/b_x.sto", "s1/a_a.sto", "s[1]/q?_x.sto", "s1/deep/a_x.sto"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def texts(pattern, known=None):
        return [found for _, found in find_files(tmp_path, pattern, known)]

    assert texts("{s}/{t}_x.sto") == [
        {"s": "s1", "t": "a"},
        {"s": "s1", "t": "b"},
        {"s": "s[1]", "t": "q?"},
    ]
    # The same name is the same text.
    assert texts("{s}/{t}_{t}.sto") == [{"s": "s1", "t": "a"}]
    assert texts("{s}/{t}_x.sto", {"s": "s[1]"}) == [{"t": "q?"}]
    assert texts("{s}/{t}_x.sto", {"s": "s1", "t": "b"}) == [{}]
    assert len(texts("s1/*_x.sto")) == 2
    assert texts("{s}/*/{t}_x.sto") == [{"s": "s1", "t": "a"}]


@pytest.mark.parametrize(
    ("patterns", "constants", "message"),
    [
        ({"emg_fil": "x"}, {}, r"found 'emg_fil'\. Did you mean 'emg_file'\?"),
        ({}, {}, "a pattern for 'activation_file' is needed"),
        (PATTERNS, {"speed": "1"}, r"only .* can be set; found 'speed'\. Did you mean"),
        (PATTERNS, {}, "'motion' must be a name in the pattern of activation_file, or be set"),
        (PATTERNS, {"motion": "walk", "activation_source": "CMC"}, "must be one of cmc, so, moco; found 'CMC'"),
        ({k: v for k, v in PATTERNS.items() if k != "events_file"}, CONSTANTS, "the gait cycles are not known"),
    ],
)
def test_a_layout_that_cannot_be_used(patterns, constants, message):
    with pytest.raises(ManifestError, match=message):
        FolderLayout(patterns, constants)


def test_nothing_fits(tmp_path):
    with pytest.raises(ManifestError, match=r"No file in .* fits the pattern"):
        discover(tmp_path, FolderLayout(PATTERNS, CONSTANTS))


@pytest.mark.parametrize(
    ("label", "muscle"),
    [
        ("soleus_r", ("soleus", "r")),
        ("Soleus_l_activation", ("soleus", "l")),
        ("R Soleus EMG", ("soleus", "r")),
        ("EMG.soleus.R", ("soleus", "r")),
        ("left soleus", ("soleus", "l")),
        ("med_gas_r", ("gasmed", "r")),
        ("gasmed_l_activation", ("gasmed", "l")),
        ("r_tib_ant", ("tib", "r")),
        ("soleus", None),
        ("trigger", None),
        ("", None),
    ],
)
def test_names_of_channels(label, muscle):
    found = channel_muscle(label, MuscleNames.load())
    assert (None if found is None else (found.name, found.side)) == muscle


def test_a_public_recording(shared_data, tmp_path):
    """The strides are those of the recording's own list."""
    layout = FolderLayout(
        {
            "activation_file": "activations_so/{trial}_stride{stride}_StaticOptimization_activation.sto",
            "emg_file": "{trial}_emg.sto",
            "model_file": "gait2392_58kg_strength2.osim",
            "external_loads_file": "{trial}_external_loads.xml",
            "coordinates_file": "{trial}_ik.mot",
        },
        {"subject": "ceinms_S06", "motion": "treadmill"},
    )
    discover(shared_data / "ceinms_lower_limb", layout).write(tmp_path)
    listed = {
        (trial.trial, int(trial.stride)): trial
        for trial in read_trials(shared_data / "trials.csv")
        if trial.dataset == "ceinms_lower_limb" and trial.activation_source == "so"
    }
    ours = {(trial.trial, int(trial.stride)): trial for trial in read_trials(tmp_path / "trials.csv")}
    assert set(ours) == set(listed)
    for key, trial in ours.items():
        assert trial.side == listed[key].side == "r"
        assert (trial.start, trial.end) == pytest.approx((listed[key].start, listed[key].end), abs=2e-3)
        assert trial.activation_source == "so"
        assert trial.model_file.resolve() == listed[key].model_file.resolve()
    known = {c.column: (c.muscles, c.standard_name) for c in read_channels(shared_data / "emg_channels.csv")}
    for channel in read_channels(tmp_path / "emg_channels.csv"):
        assert known[channel.column] == (channel.muscles, channel.standard_name)


def test_people_whose_folders_differ_are_joined(lab):
    """A second layout is added to the table of the first, which a European spreadsheet has saved in between."""
    shutil.move(lab / "ben 2", lab / "other")
    for trial in ("walk1", "walk2"):
        shutil.move(lab / "other" / trial / f"{trial}_emg.sto", lab / "other" / f"emg_{trial}.sto")
    discover(lab, FolderLayout(PATTERNS, CONSTANTS)).write(lab)
    before = read_trials(lab / "trials.csv")
    text = (lab / "trials.csv").read_text().replace(",", ";").replace(".5000", ",5000")
    (lab / "trials.csv").write_text(text)
    others = {
        "activation_file": "other/{trial}/results/{trial}_states.sto",
        "emg_file": "other/emg_{trial}.sto",
        "events_file": "other/{trial}/events.csv",
    }
    found = discover(lab, FolderLayout(others, {**CONSTANTS, "subject": "ben"}))
    found.write(lab, append=True)
    joined = read_trials(lab / "trials.csv")
    assert [replace(trial, line=0) for trial in joined[:6]] == [replace(trial, line=0) for trial in before]
    assert {trial.subject for trial in joined[6:]} == {"ben"}
    assert len(joined) == 12
    assert [channel.column for channel in read_channels(lab / "emg_channels.csv")] == ["R Soleus EMG", "tib_ant_r"]
    with pytest.raises(ManifestError, match="6 of 6 rows are there already: lab/ben/walk1/1/r"):
        found.write(lab, append=True)
    # The same name for another muscle would be a guess.
    table = lab / "emg_channels.csv"
    table.write_text(table.read_text().replace("tib_ant_r,tib_ant_r,tib", "tib_ant_r,tib_post_r,tibpost"))
    (lab / "trials.csv").unlink()
    with pytest.raises(ManifestError, match="'tib_ant_r' of the dataset 'lab' is 'tibpost' there, and 'tib' here"):
        found.write(lab, append=True)
