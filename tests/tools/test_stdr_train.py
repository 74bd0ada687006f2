"""STDRTrainTool from setup files, on made-up recordings and on real ones."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from forked_processes import start_program

from opensim_nem2e.errors import BundleError, ManifestError, SetupError, TrainingError
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.stdr.calibrate import FINE_TUNING
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.methods.stdr.method import training_settings
from opensim_nem2e.options import layout_of
from opensim_nem2e.tools import training_run
from opensim_nem2e.tools.stdr_train import STDRTrainTool
from opensim_nem2e.tools.training_run import options_of, select_trials, warn_of_unstated
from opensim_nem2e.training.task import TrainingSettings

pytestmark = pytest.mark.usefixtures("forked_workers")

SUBJECTS = ("anna", "ben", "carl")


def wave(t, phase=0.0):
    return 0.5 + 0.4 * np.sin(2 * np.pi * (t + phase))


def write_sto(path, time_, columns):
    lines = [path.stem, "version=1", f"nRows={len(time_)}", f"nColumns={len(columns) + 1}", "inDegrees=no", "endheader"]
    lines.append("\t".join(["time", *columns]))
    lines += ["\t".join(f"{value:.8f}" for value in row) for row in np.column_stack([time_, *columns.values()])]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Three subjects, two strides each, three muscles and two EMG channels; EMG is late by a tenth of a cycle."""
    folder = tmp_path_factory.mktemp("lab")
    t = np.linspace(0, 3, 601)
    rows = []
    for k, subject in enumerate(SUBJECTS):
        a = {
            "soleus_r": wave(t, 0.05 * k),
            "gasmed_r": wave(t, 0.05 * k + 0.1),
            "gaslat_r": wave(t, 0.05 * k + 0.2),
            "soleus_l": wave(t, 0.05 * k + 0.5),
        }
        write_sto(folder / f"{subject}_so.sto", t, a)
        write_sto(folder / f"{subject}_emg.sto", t, {"SOL": 0.1 * wave(t, 0.05 * k - 0.1), "GAS": wave(t, 0.05 * k)})
        for stride in (0, 1):
            rows.append(
                f"lab,{subject},walk,{stride},{'walk' if stride else 'run'},1.2,r,,{subject}_so.sto,so,"
                f"{subject}_emg.sto,0,{stride + 0.5},{stride + 1.5},"
            )
    header = (
        "dataset,subject,trial,stride,motion,speed_m_s,side,model_file,activation_file,activation_source,emg_file,"
        "emg_time_offset_s,t_start,t_end,heel_strike_t"
    )
    (folder / "trials.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "channels.csv").write_text(
        "dataset,emg_column,muscles,standard_name\nlab,SOL,soleus_r,soleus\nlab,GAS,gasmed_r;gaslat_r,gasmed\n"
    )
    return folder


def write_setup(folder, lab, name="net", **values):
    defaults = {
        "results_directory": "results",
        "trials_file": lab / "trials.csv",
        "emg_channels_file": lab / "channels.csv",
        "hidden_units": 6,
        "epochs": 3,
        "batch_size": 2,
        "learning_rate": 0.01,
        # Most of a second process's time goes into loading PyTorch.
        "jobs": 1,
    }
    elements = "".join(f"<{key}>{value}</{key}>" for key, value in {**defaults, **values}.items())
    path = folder / "setup.xml"
    path.write_text(
        f'<OpenSimDocument Version="40600"><STDRTrainTool name="{name}">{elements}</STDRTrainTool></OpenSimDocument>'
    )
    return path


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_from_setup_to_bundle(tmp_path, lab, condition):
    setup = write_setup(
        tmp_path,
        lab,
        condition=condition,
        validate="leave_one_subject_out",
        network_output="deviation",
        data_licence="CC0",
        data_attribution="a test",
    )
    assert STDRTrainTool(setup).run() is True
    results = tmp_path / "results"
    assert {path.name for path in results.iterdir()} == {
        "net.safetensors",
        "net_history",
        "net.log",
        "net_effective_setup.xml",
        "net_training_history.csv",
        "net_training.png",
        "net_validation.csv",
    }
    bundle = Bundle.load(results / "net.safetensors")
    assert bundle.condition == condition
    assert bundle.targets == ("soleus", "gasmed", "gaslat")
    if condition == "All-Entire":
        assert bundle.inputs("gasmed") == ("ipsi:soleus", "ipsi:gasmed", "ipsi:gaslat", "contra:soleus")
    else:
        assert bundle.inputs("gasmed") == ("ipsi:gasmed",)
    y, _ = bundle.refine("soleus", np.full((2, bundle.cycle_samples, len(bundle.inputs("soleus"))), 0.3))
    assert np.isfinite(y).all()

    about = bundle.metadata
    assert about["data"]["licence"] == "CC0"
    assert about["data"]["subjects"] == list(SUBJECTS)
    assert about["data"]["cycles"] == {"soleus": 6, "gasmed": 6, "gaslat": 6}
    assert about["data"]["subjects_per_muscle"]["soleus"] == 3
    assert about["training"]["hidden_units"] == 6
    assert about["normalization"]["emg"] == "subject_max"
    assert set(about["packages"]) >= {"opensim_nem2e", "numpy", "torch", "python"}
    table = about["validation"]["leave_one_subject_out"]
    assert table["soleus"]["subjects"] == 3
    assert set(table["ALL"]) > {"E_opensim", "E_refined", "E_mean", "E_ridge", "Er_refined", "Er_mean", "Er_ridge"}
    # By subject, muscle and motion.
    assert len(about["validation"]["subjects"]) == 18
    assert set(table["ALL"]) > {"E_profiles", "E_gain_refined", "r_refined", "peak_ms_refined", "onset_ms_refined"}
    assert about["validation"]["sources"] == list(about["validation"]["by_source"]["leave_one_subject_out"]) == ["so"]
    assert set(about["validation"]["by_motion"]["leave_one_subject_out"]) == {"walk", "run"}
    # All are of one laboratory.
    assert "leave_one_laboratory_out" not in about["validation"]
    # Bands and the range of the training cycles, from the same leaving out.
    assert (bundle.bands.subjects, bundle.bands.rule, bundle.bands.limits) == (3, "worst subject", (0.0, 1.0))
    assert [row["name"] for row in bundle.bands.coverage["subjects"]] == list(SUBJECTS)
    assert [row["name"] for row in bundle.bands.coverage["muscles"]] == ["soleus", "gasmed", "gaslat"]
    found = bundle.predict("soleus", np.full((1, bundle.cycle_samples, len(bundle.inputs("soleus"))), 0.3))
    assert (found.low <= found.values).all()
    assert (found.low < found.high).all()
    assert bundle.training_range.subjects == 3
    assert bundle.training_range.activations.names == ("soleus", "gasmed", "gaslat")
    assert bundle.provenance.training_range is bundle.training_range

    history = rows_of(results / "net_training_history.csv")
    assert len(history) == 9
    assert [row["epoch"] for row in history[:3]] == ["1", "2", "3"]
    assert len(rows_of(results / "net_validation.csv")) == 18
    again = STDRTrainTool(results / "net_effective_setup.xml")
    assert again.muscles == bundle.targets
    assert again.resolve("trials_file") == lab / "trials.csv"


@pytest.mark.slow
def test_same_seed_same_file(tmp_path, lab):
    """In processes of their own, and with all results: the same bits."""
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        setup = write_setup(folder, lab, muscles="soleus", seed=7)
        done = subprocess.run(
            [sys.executable, "-m", "opensim_nem2e", "run", os.fspath(setup)], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Training 1 network (One-Entire, up to 3 epochs)." in done.stdout
        contents.append((folder / "results" / "net.safetensors").read_bytes())
    assert contents[0] == contents[1]


def test_built_in_code(tmp_path, lab, caplog):
    tool = STDRTrainTool()
    tool.setName("mine")
    tool.setResultsDir(tmp_path)
    tool.setTrialsFile(lab / "trials.csv")
    tool.setEmgChannelsFile(lab / "channels.csv")
    tool.setHiddenUnits(4)
    tool.setEpochs(1)
    tool.motions = ["walk"]
    tool.hold_out_subjects = ["ben", "carl"]
    tool.output_bundle_file = tmp_path / "other.safetensors"
    caplog.set_level("INFO")
    assert tool.run()
    bundle = Bundle.load(tmp_path / "other.safetensors")
    assert bundle.metadata["data"]["subjects"] == ["anna"]
    assert bundle.metadata["data"]["motions"] == ["walk"]
    validation = bundle.metadata["validation"]
    assert validation["method"] == "held_out"
    assert validation["held_out"]["soleus"]["subjects"] == 2
    assert {row["subject"] for row in validation["subjects"]} == {"ben", "carl"}
    assert "<data_licence> and <data_attribution> are not given" in caplog.text
    assert "Only one subject has data for soleus, gasmed, gaslat" in caplog.text


def test_the_preset_decides_what_is_not_given(tmp_path, lab, caplog):
    """Log, effective setup and bundle state the numbers that were used."""
    caplog.set_level("INFO")
    given = {"epochs": 2, "hidden_units": 5, "batch_size": "", "learning_rate": ""}
    setup = write_setup(tmp_path, lab, muscles="soleus", **given, preset="fast", weight_decay=0)
    assert STDRTrainTool(setup).run()
    fast = asdict(STDROptions())
    assert "Settings of the preset 'fast': hidden_units 5 (given)," in caplog.text
    assert f"batch_size {fast['batch_size']:g}, " in caplog.text
    assert "weight_decay 0 (given)" in caplog.text
    expected = {**fast, "epochs": 2, "hidden_units": 5, "weight_decay": 0.0}
    assert expected.pop("preset") == "fast"
    again = STDRTrainTool(tmp_path / "results" / "net_effective_setup.xml")
    training = Bundle.load(tmp_path / "results" / "net.safetensors").metadata["training"]
    for name, value in expected.items():
        assert again.get(f"STDRNet.{name}") == value
        assert training[name] == value
    assert training["preset"] == again.preset == "fast"
    # What the effective setup states is given, so that a later version's preset does not change it.
    (tmp_path / "results" / "net.safetensors").rename(tmp_path / "first.safetensors")
    assert again.run()
    first, second = (
        Bundle.load(path) for path in (tmp_path / "first.safetensors", again.resolve("output_bundle_file"))
    )
    for name, value in first.part("soleus").arrays().items():
        assert value.tobytes() == second.part("soleus").arrays()[name].tobytes()


def test_the_preset_of_the_paper():
    tool = STDRTrainTool()
    tool.preset = "paper"
    options = options_of(tool, "stdr_net")
    settings = training_settings(options, RunSettings())
    assert (options.hidden_units, settings.epochs, settings.batch_size, tool.window_samples) == (700, 700, 1, 20)
    assert (settings.learning_rate, settings.weight_decay, settings.gradient_clip, settings.patience) == (1e-3, 0, 0, 0)
    assert (options.teacher_forcing, options.network_output) == (1.0, "emg")
    assert settings == TrainingSettings(epochs=700, batch_size=1)
    tool.weight_decay, tool.early_stopping_patience = 0.5, 3
    changed = training_settings(options_of(tool, "stdr_net"), RunSettings())
    assert changed == replace(settings, weight_decay=0.5, patience=3)
    tool.weight_decay = None
    assert options_of(tool, "stdr_net").weight_decay == 0


@pytest.mark.parametrize("preset", STDROptions.presets)
def test_every_preset_is_complete(preset):
    """Each setting has a property that may be empty, whose comment states the preset's value, and its value fits it."""
    table = {prop.name: prop for prop in layout_of(STDROptions).own}
    settings = asdict(STDROptions.of_preset(preset))
    assert settings.pop("preset") == preset
    assert set(settings) == {name for name, prop in table.items() if prop.is_optional}
    for name, value in settings.items():
        assert table[name].convert(value) == value
        assert f"{preset} {value if isinstance(value, str) else f'{value:g}'}" in table[name].comment
    tool = STDRTrainTool()
    tool.preset = preset
    assert options_of(tool, "stdr_net") == STDROptions.of_preset(preset)


def test_the_old_flat_names_are_understood(tmp_path, lab, caplog):
    """A setup of version 0.1 has the same effect, and says once what is where now."""
    caplog.set_level("INFO")
    old = STDRTrainTool(write_setup(tmp_path, lab, hidden_units=9))
    assert old.options().stdr_net.hidden_units == old.hidden_units == 9
    new = STDRTrainTool()
    new.set_group("STDRNet", hidden_units=9)
    assert new.hidden_units == 9
    assert "<STDRNet>" in old.to_xml()
    assert "<hidden_units>9</hidden_units>" in old.to_xml()


@pytest.mark.parametrize("method", ["mean", "profiles", "shift", "ridge"])
def test_a_method_without_a_network_is_learned_and_kept(tmp_path, lab, method):
    setup = write_setup(tmp_path, lab, method=method, validate="leave_one_subject_out", hidden_units="", epochs="")
    tool = STDRTrainTool(setup)
    assert tool.run()
    bundle = Bundle.load(tmp_path / "results" / "net.safetensors")
    assert bundle.method.key == method
    assert bundle.targets == ("soleus", "gasmed", "gaslat")
    y, attention = bundle.refine("soleus", np.full((2, bundle.cycle_samples, 1), 0.3))
    assert y.shape == (2, 20)
    assert attention is None
    table = bundle.metadata["validation"]["leave_one_subject_out"]
    assert table["soleus"]["subjects"] == 3
    if method in ("mean", "profiles", "ridge"):
        assert table["soleus"]["E_refined"] == pytest.approx(table["soleus"][f"E_{method}"])
    assert not (tmp_path / "results" / "net_training_history.csv").exists()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("stdr_nett", r"<method> must name methods out of .*, but 'stdr_nett' was found\. Did you mean 'stdr_net'"),
        ("opensim", "<method> must name methods out of"),
    ],
)
def test_an_unknown_method_is_refused(tmp_path, lab, method, message):
    with pytest.raises(SetupError, match=message):
        STDRTrainTool(write_setup(tmp_path, lab, method=method)).run()


def test_datasets_of_one_laboratory(tmp_path, lab, caplog):
    """Datasets may be put together; a name that is none, or stands twice, is refused with all other faults."""
    text = (lab / "trials.csv").read_text().replace("lab,anna", "lab_2019,anna").replace("lab,ben", "lab_2022,ben")
    (tmp_path / "trials.csv").write_text(text.replace("anna_", f"{lab}/anna_").replace("ben_", f"{lab}/ben_"))
    text = (tmp_path / "trials.csv").read_text().replace("carl_", f"{lab}/carl_")
    (tmp_path / "trials.csv").write_text(text)
    values = {"trials_file": tmp_path / "trials.csv", "data_groups": "lab_2019+lab_2022"}
    trials = select_trials(STDRTrainTool(write_setup(tmp_path, lab, **values)))
    found = {trial.subject: trial.laboratory for trial in trials}
    assert found == {"anna": "lab_2019+lab_2022", "ben": "lab_2019+lab_2022", "carl": "lab"}
    values["data_groups"] = "lab_2019+lab_2020 lab_2022+lab_2022"
    with pytest.raises(SetupError) as error:
        select_trials(STDRTrainTool(write_setup(tmp_path, lab, **values)))
    assert "'lab_2020', which is no dataset of the trials file. Did you mean" in str(error.value)
    assert "names the dataset 'lab_2022' twice" in str(error.value)


def test_trials_and_strides_are_filtered(tmp_path, lab, caplog):
    tool = STDRTrainTool(write_setup(tmp_path, lab, subjects="anna ben", strides="1"))
    assert [(trial.subject, trial.stride) for trial in select_trials(tool)] == [("anna", "1"), ("ben", "1")]
    tool.trials, tool.strides, tool.motions = ["walk"], ["0", "1"], ["run"]
    assert [trial.stride for trial in select_trials(tool)] == ["0", "0"]
    assert "<strides>: no trial that fits the other filters is of 1." in caplog.text


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"trials_file": "none.csv"}, SetupError, "<trials_file> must be an existing file"),
        ({"subjects": "anne"}, SetupError, r"<subjects> names 'anne'.*Did you mean 'anna'\?.*anna, ben, carl"),
        ({"subjects": "anna", "motions": "swim"}, SetupError, "<motions> names 'swim'"),
        ({"strides": "0 7"}, SetupError, "<strides> names '7', which is not in the trials file.*Found there: 0, 1"),
        ({"strides": "0", "motions": "walk"}, SetupError, "No trial fits <motions> and <strides> together"),
        ({"muscles": "soleuss"}, ManifestError, r"'soleuss'\. Did you mean 'soleus'\?"),
        (
            {"muscles": "soleus tib"},
            TrainingError,
            "No cycle has both EMG and activations of tib; muscles that have: soleus",
        ),
        ({"muscles": "soleus soleus"}, SetupError, "names 'soleus' twice"),
        ({"input_muscles": "ipsi:soleus"}, SetupError, "<input_muscles> are for the condition All-Entire"),
        ({"hold_out_subjects": "anna ben carl"}, TrainingError, "no data to train on"),
        ({"output_bundle_file": "net.pt"}, SetupError, "must end in '.safetensors'"),
        ({"output_bundle_file": "nowhere/net.safetensors"}, SetupError, "does not exist"),
        ({"subjects": "anna", "early_stopping_patience": 2}, TrainingError, "at least two subjects"),
        ({"learning_rate": 1.0, "epochs": 400, "subjects": "anna", "hidden_units": 0}, SetupError, "hidden_units"),
    ],
)
def test_faults_leave_nothing(tmp_path, lab, changes, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        STDRTrainTool(write_setup(tmp_path, lab, **changes)).run()
    assert [path.name for path in tmp_path.iterdir()] == ["setup.xml"]


@pytest.fixture(scope="module")
def bundle_of_two(tmp_path_factory, lab):
    """Networks of all three conditions, trained without Carl."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    for condition in ("One-Quarter", "One-Entire", "All-Entire"):
        own = {"condition": condition, "score_function": "dot", "network_output": "correction"}
        setup = write_setup(folder, lab, name=condition, subjects="anna ben", **own)
        assert STDRTrainTool(setup).run()
        found[condition] = folder / "results" / f"{condition}.safetensors"
    return found


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
def test_calibration_to_a_person(tmp_path, lab, bundle_of_two, condition, caplog):
    caplog.set_level("INFO")
    initial = Bundle.load(bundle_of_two[condition])
    own = {"hidden_units": "", "epochs": 20, "initial_bundle_file": bundle_of_two[condition], "data_licence": "CC-BY"}
    setup = write_setup(tmp_path, lab, name="carl", subjects="carl", muscles="soleus gasmed", **own)
    assert STDRTrainTool(setup).run()
    results = tmp_path / "results"
    assert {path.name for path in results.iterdir()} == {
        "carl.log",
        "carl.safetensors",
        "carl_effective_setup.xml",
    }
    bundle = Bundle.load(results / "carl.safetensors")
    assert (bundle.condition, bundle.targets) == (condition, ("soleus", "gasmed"))
    assert bundle.inputs("gasmed") == initial.inputs("gasmed")

    about = bundle.metadata
    assert about["training"] == initial.metadata["training"]
    assert about["data"]["licence"] == "not stated Calibration: CC-BY"
    assert about["data"]["subjects"] == ["anna", "ben"]
    calibration = about["calibration"]
    digest = hashlib.sha256(bundle_of_two[condition].read_bytes()).hexdigest()
    assert calibration["initial_bundle"]["sha256"] == digest
    assert calibration["initial_bundle"]["name"] == condition
    assert (calibration["subjects"], calibration["motions"]) == (["carl"], ["run", "walk"])
    assert calibration["strides"] == ["walk/0", "walk/1"]
    row = calibration["muscles"]["soleus"]
    assert (row["strides"], row["epochs"]) == (2, 0)
    assert (bundle.bands, bundle.training_range.subjects) == (None, 1)
    # Carl's two strides are alike, so one tells all about the other.
    assert row["E_calibrated"] < row["E_initial"] or condition == "One-Quarter"
    assert f"E on strides left out: OpenSim {row['E_opensim']:.3f}" in caplog.text
    assert "Calibrating to carl: strides of run and walk." in caplog.text
    assert ("A One-Quarter network" in caplog.text) == (condition == "One-Quarter")

    # Has the bundle seen this person, and did calibration make anything worse?
    assert "The initial bundle names no subject 'carl' among those it was trained on." in caplog.text
    rows = calibration["muscles"].items()
    worse = [name for name, row in rows if row["E_calibrated"] > row["E_initial"]]
    assert ("farther from EMG than before" in caplog.text) == bool(worse)

    again = STDRTrainTool(results / "carl_effective_setup.xml")
    assert (again.condition, again.hidden_units, again.score_function) == (condition, 6, "dot")
    assert (again.epochs, again.learning_rate, again.teacher_forcing) == (20, 0.01, 1.0)
    content = (results / "carl.safetensors").read_bytes()
    assert again.run()
    assert (results / "carl.safetensors").read_bytes() == content
    # A calibrated bundle can be calibrated again, and knows it.
    second = STDRTrainTool(write_setup(tmp_path, lab, name="twice", subjects="carl", strides="1", **own))
    second.initial_bundle_file = results / "carl.safetensors"
    assert second.run()
    about = Bundle.load(results / "twice.safetensors").metadata["calibration"]
    assert about["initial_bundle"]["calibration"] == calibration
    assert "There is a single stride for soleus, gasmed" in caplog.text


def test_calibration_of_the_shipped_bundle(tmp_path, lab):
    """By its name; the strides' EMG decides which of its muscles are in the new one."""
    own = dict.fromkeys(("hidden_units", "epochs", "batch_size", "learning_rate"), "")
    setup = write_setup(tmp_path, lab, subjects="carl", strides="1", initial_bundle_file="gait", **own)
    tool = STDRTrainTool(setup)
    assert tool.run()
    bundle = Bundle.load(tmp_path / "results" / "net.safetensors")
    assert bundle.targets == ("soleus", "gasmed", "gaslat")
    again = STDRTrainTool(tmp_path / "results" / "net_effective_setup.xml")
    assert again.initial_bundle_file == "gait"
    assert again.epochs == FINE_TUNING.epochs


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"subjects": "anna carl"}, SetupError, r"calibrated to one subject, but .* are of anna, carl\. Choose one"),
        ({"condition": "All-Entire"}, SetupError, r"<condition> must be the initial bundle's \(One-Entire\)"),
        ({"window_samples": 30}, SetupError, r"<window_samples> must be the initial bundle's \(20\)"),
        ({"hidden_units": 7}, SetupError, r"<hidden_units> must be the initial bundle's \(6\) .*, but 7 was found"),
        ({"score_function": "general"}, SetupError, r"<score_function> must be the initial bundle's \(dot\)"),
        ({"network_output": "emg"}, SetupError, r"<network_output> must be the initial bundle's \(correction\)"),
        ({"input_muscles": "ipsi:tib"}, SetupError, "<input_muscles> are for the condition All-Entire"),
        ({"muscles": "soleus tib"}, SetupError, "<muscles> names 'tib', for which the initial bundle has no network"),
        ({"validate": "leave_one_subject_out"}, SetupError, "<validate> must be none with <initial_bundle_file>"),
        ({"hold_out_subjects": "anna"}, SetupError, "<hold_out_subjects> has no meaning with <initial_bundle_file>"),
        (
            {"early_stopping_patience": 3},
            SetupError,
            "<early_stopping_patience> has no meaning with <initial_bundle_file>",
        ),
        ({"initial_bundle_file": "gate"}, BundleError, "There is no bundle 'gate'.*Did you mean 'gait'"),
        ({"initial_bundle_file": "none.safetensors"}, BundleError, "there is no such bundle"),
    ],
)
def test_faults_of_a_calibration(tmp_path, lab, bundle_of_two, changes, error, message):
    own = {"subjects": "carl", "initial_bundle_file": bundle_of_two["One-Entire"], "hidden_units": "", **changes}
    with pytest.raises(error, match=f"(?s){message}"):
        STDRTrainTool(write_setup(tmp_path, lab, **own)).run()
    assert [path.name for path in tmp_path.iterdir()] == ["setup.xml"]


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("to_all", "number", "status"),
    [
        pytest.param(False, signal.SIGINT, 130, id="SIGINT to one process"),
        pytest.param(False, signal.SIGTERM, 143, id="SIGTERM to one process"),
        pytest.param(True, signal.SIGINT, 130, id="SIGINT to all processes"),
        pytest.param(True, signal.SIGTERM, 143, id="SIGTERM to all processes"),
    ],
)
def test_interrupt_stops_cleanly(tmp_path, lab, number, status, to_all):
    """Ctrl-C (which reaches all processes) or the end of a cluster's time: one message, no result, all work kept."""
    setup = write_setup(tmp_path, lab, epochs=1000000, progress_bar="always", checkpoint_interval="Inf")
    process = start_program("run", os.fspath(setup), folder=tmp_path, new_group=True)
    deadline = time.monotonic() + 120
    while "loss" not in process.shown():
        assert time.monotonic() < deadline, process.shown()
        time.sleep(0.05)
    (os.killpg if to_all else os.kill)(process.pid, number)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status, out + err
    assert "Training was interrupted with 0 of 3 networks finished." in out + err
    assert "run the same setup again" in out + err
    assert "Traceback" not in out + err
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"net_checkpoints", "net_history"}
    assert list((tmp_path / "results" / "net_checkpoints").glob("*/*/step_*.safetensors"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, lab):
    """Run a training in one go, one network at a time."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert STDRTrainTool(write_setup(folder, lab, **LONG, jobs=1)).run()
    return folder / "results"


#: Long enough to be killed on the way; all that is random is in use.
LONG = {
    "epochs": 20,
    "validate": "leave_one_subject_out",
    "muscles": "soleus",
    "early_stopping_patience": 0,
    "teacher_forcing": 0.5,
    "window_samples": 10,
    "seed": 5,
}
RESULTS = ("net.safetensors", "net_training_history.csv", "net_validation.csv")


def assert_same_results(results, undisturbed):
    for name in RESULTS:
        assert (results / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not (results / "net_checkpoints").exists()
    for path in (undisturbed / "net_history").iterdir():
        expected = [json.loads(line) for line in path.read_text().splitlines()]
        found = [json.loads(line) for line in (results / "net_history" / path.name).read_text().splitlines()]
        assert len(expected) == LONG["epochs"]
        for key in ("epoch", "loss", "validation_loss"):
            assert [row[key] for row in found] == [row[key] for row in expected]


def test_any_number_of_jobs_gives_the_same_bits(tmp_path, lab, undisturbed):
    assert STDRTrainTool(write_setup(tmp_path, lab, **LONG, jobs=3)).run()
    assert_same_results(tmp_path / "results", undisturbed)


def test_too_many_jobs_are_told(tmp_path, lab, caplog, monkeypatch):
    monkeypatch.setattr("opensim_nem2e.workers.free_memory", lambda: 3e8)
    monkeypatch.setattr("opensim_nem2e.workers.available_processors", lambda: [0])
    assert STDRTrainTool(write_setup(tmp_path, lab, muscles="soleus gasmed", jobs=2, epochs=1)).run()
    assert "<jobs> and <threads> ask for 2 cores, but there are 1" in caplog.text
    assert "2 jobs need about 0.5 GB of memory, but 0.3 GB are free: fewer <jobs> are safer." in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("all_at_once", [True, False], ids=["power cut", "only the tool"])
def test_killed_and_run_again(tmp_path, lab, undisturbed, all_at_once, chance):
    """SIGKILL at moments nobody chose, at first before anything was saved; the last run ends as if undisturbed."""
    setup = write_setup(tmp_path, lab, **LONG, jobs=2, checkpoint_interval=0)
    checkpoints = tmp_path / "results" / "net_checkpoints"
    kills = 0
    for finished in (0, 0, 2):
        process = start_program("run", os.fspath(setup), folder=tmp_path, new_group=True)
        deadline = time.monotonic() + 120
        while not checkpoints.exists() or len(list(checkpoints.glob("*/*/trained.*"))) < finished:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.random())
        kills += process.poll() is None
        if all_at_once:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate()
    assert kills >= 2
    process = start_program("run", os.fspath(setup), folder=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "had been finished before and were not trained again" in out
    assert_same_results(tmp_path / "results", undisturbed)


def test_an_older_bundle_survives_a_failed_run(tmp_path, lab):
    STDRTrainTool(write_setup(tmp_path, lab, muscles="soleus")).run()
    path = tmp_path / "results" / "net.safetensors"
    before = path.read_bytes()
    with pytest.raises(TrainingError):
        STDRTrainTool(write_setup(tmp_path, lab, muscles="soleus tib")).run()
    assert path.read_bytes() == before


@pytest.mark.parametrize("condition", ["One-Entire", pytest.param("All-Entire", marks=pytest.mark.slow)])
def test_real_recordings(tmp_path, shared_data, condition, caplog):
    """The bundle refines a subject who was held out; a few epochs are enough to see that all parts fit."""
    tool = STDRTrainTool()
    tool.setResultsDir(tmp_path)
    tool.trials_file = shared_data / "trials.csv"
    tool.emg_channels_file = shared_data / "emg_channels.csv"
    tool.condition = condition
    tool.muscles = ["soleus", "vaslat"]
    tool.motions = ["walk"]
    tool.hold_out_subjects = ["falisse_subject1"]
    tool.hidden_units = 16
    tool.epochs = 5
    tool.batch_size = 16
    tool.learning_rate = 0.003
    tool.network_output = "deviation"
    assert tool.run()
    bundle = Bundle.load(tmp_path / "network.safetensors")
    assert bundle.targets == ("soleus", "vaslat")
    assert len(bundle.inputs("soleus")) == (39 if condition == "All-Entire" else 1)
    # One of the data sets simulated the right leg only.
    assert ("No contralateral muscle is an input" in caplog.text) == (condition == "All-Entire")
    table = bundle.metadata["validation"]["held_out"]
    assert table["soleus"]["cycles"] == 11
    assert table["vaslat"]["Er_refined"] < 0


@pytest.mark.slow
def test_calibration_on_real_recordings(tmp_path, shared_data, caplog):
    """Three strides of a subject tell more of the others than what was learned from other subjects."""
    caplog.set_level("INFO")

    def tool_of(name, **values):
        tool = STDRTrainTool()
        tool.setName(name)
        tool.setResultsDir(tmp_path)
        tool.trials_file, tool.emg_channels_file = shared_data / "trials.csv", shared_data / "emg_channels.csv"
        tool.muscles, tool.motions, tool.activation_sources = ["soleus", "vaslat"], ["walk"], ["so"]
        for key, value in values.items():
            tool.set(key, value)
        return tool

    others = ["ceinms_S06", "falisse_subject1"]
    assert tool_of("others", subjects=others, hidden_units=16, epochs=5).run()
    own = {"initial_bundle_file": tmp_path / "others.safetensors", "subjects": ["uhlrich_sub1"], "epochs": 10}
    assert tool_of("own", **own, strides=["1", "2", "3"]).run()
    rows = Bundle.load(tmp_path / "own.safetensors").metadata["calibration"]["muscles"]
    for row in rows.values():
        assert row["strides"] == 3
        assert row["E_calibrated"] < row["E_initial"]
        assert row["E_calibrated"] < row["E_opensim"]


@pytest.mark.slow
def test_trained_by_a_dask_cluster(tmp_path, lab, undisturbed, dask_scheduler):
    setup = write_setup(tmp_path, lab, **LONG)
    process = start_program("run", os.fspath(setup), "--scheduler", dask_scheduler, folder=tmp_path, fork=False)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert f"On the workers of the Dask scheduler '{dask_scheduler}'" in out
    assert_same_results(tmp_path / "results", undisturbed)


def test_a_graphics_card_is_looked_for_without_pytorch_where_there_can_be_none(tmp_path, monkeypatch):
    """What PyTorch says is asked for only where its build and the machine allow a card."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    version = tmp_path / "torch" / "version.py"
    version.parent.mkdir()
    monkeypatch.setattr(training_run, "find_spec", lambda name: SimpleNamespace(origin=str(version.with_name("x.py"))))
    for text, driver, asked in (
        ("cuda = None\nhip = None\n", True, False),
        ("cuda = '12.6'\nhip = None\n", False, False),
        ("cuda = '12.6'\nhip = None\n", True, True),
        ("cuda = None\nhip = '6.2'\n", False, True),
        ("", True, True),
    ):
        version.write_text(text)
        monkeypatch.setattr(training_run, "_nvidia_driver", lambda there=driver: there)
        assert training_run._graphics_card() is asked


def test_where_networks_cannot_be_trained(tmp_path, lab, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    tool = STDRTrainTool(write_setup(tmp_path, lab, device="cuda"))
    with pytest.raises(TrainingError, match="<device> is cuda, but PyTorch finds no graphics card"):
        tool.run()
    tool.scheduler = "tcp://127.0.0.1:9"
    with pytest.raises(TrainingError, match="<device> is cuda, and <scheduler> is given"):
        tool.run()


def test_what_a_bundle_will_not_say_is_one_warning(caplog):
    warn_of_unstated(STDRTrainTool())
    warn_of_unstated(STDRTrainTool(data_licence="CC-BY"))
    assert caplog.messages == [
        "<data_licence> and <data_attribution> are not given: the bundle will say 'not stated'.",
        "<data_attribution> is not given: the bundle will say 'not stated'.",
    ]
