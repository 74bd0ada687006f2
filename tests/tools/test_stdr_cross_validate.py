"""STDRCrossValidateTool from setup files, on made-up recordings and on real ones."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from forked_processes import start_program
from scipy import stats
from sklearn.metrics import r2_score

from opensim_nem2e.errors import CycleError, SetupError, TrainingError
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.tools.stdr_cross_validate import STDRCrossValidateTool

pytestmark = pytest.mark.usefixtures("forked_workers")

SUBJECTS = ("anna", "ben", "carl", "dora")
FILES = (
    *("walk.log", "walk_attention.npz", "walk_conditions.csv", "walk_curves.csv", "walk_cycles.csv"),
    *("walk_effective_setup.xml", "walk_history", "walk_losses.csv", "walk_statistics.csv", "walk_study.json"),
    "walk_subjects.csv",
)
TABLES = ("curves", "cycles", "losses", "statistics", "conditions", "subjects")
METHODS = ["opensim", "stdr_net", "mean", "shift", "ridge"]

TRIAL_HEADER = (
    "dataset,subject,trial,stride,motion,speed_m_s,side,model_file,activation_file,activation_source,emg_file,"
    "emg_time_offset_s,t_start,t_end,heel_strike_t"
)


def wave(t, phase=0.0, power=1.0):
    return 0.05 + 0.9 * (0.5 + 0.5 * np.sin(2 * np.pi * (t + phase))) ** power


def write_sto(path, time, columns):
    lines = [path.stem, "version=1", f"nRows={len(time)}", f"nColumns={len(columns) + 1}", "inDegrees=no", "endheader"]
    lines.append("\t".join(["time", *columns]))
    lines += ["\t".join(f"{value:.8f}" for value in row) for row in np.column_stack([time, *columns.values()])]
    path.write_text("\n".join(lines) + "\n")


def make_lab(folder, backwards=False):
    """Four subjects, two trials (slow, fast) of two strides each. EMG is late by 10 % of the cycle, and noisy.

    ``backwards``: rows of the manifest and columns of all files in the opposite order.
    """
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(3)
    t = np.linspace(0, 5, 1001)
    rows = []
    for k, subject in enumerate(SUBJECTS):
        for trial, speed in (("slow", "0.9"), ("fast", "1.6")):
            own = 0.02 * k + 0.05 * (trial == "fast") + 0.01 * np.sin(3.1 * t)
            a = {
                "soleus_r": wave(t, own, 2.0),
                "gasmed_r": wave(t, own + 0.1, 1.0),
                "tib_ant_r": wave(t, own + 0.5, 3.0),
                "soleus_l": wave(t, own + 0.5, 2.0),
            }
            emg = {
                "SOL": (1 + k) * (wave(t, own - 0.1, 2.0) + 0.02 * random.random(t.size)),
                "TIB": wave(t, own + 0.4, 3.0) + 0.02 * random.random(t.size),
            }
            if subject == "dora":
                del emg["TIB"]
            if backwards:
                a, emg = dict(reversed(a.items())), dict(reversed(emg.items()))
            write_sto(folder / f"{subject}_{trial}_so.sto", t, a)
            write_sto(folder / f"{subject}_{trial}_emg.sto", t, emg)
            for stride in (1, 2):
                rows.append(
                    f"lab,{subject},{trial},{stride},walk,{speed},r,,{subject}_{trial}_so.sto,so,"
                    f"{subject}_{trial}_emg.sto,0,{stride},{stride + 1 + 0.1 * (trial == 'slow')},"
                )
    rows = rows[::-1] if backwards else rows
    (folder / "trials.csv").write_text("\n".join([TRIAL_HEADER, *rows]) + "\n")
    (folder / "channels.csv").write_text(
        "dataset,emg_column,muscles,standard_name\nlab,SOL,soleus_r,soleus\nlab,TIB,tib_ant_r,tib\n"
    )
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"))


def make_tool(lab, results, **values):
    tool = STDRCrossValidateTool()
    tool.setName("walk")
    tool.setResultsDir(results)
    tool.trials_file = lab / "trials.csv"
    tool.emg_channels_file = lab / "channels.csv"
    # Figures take longer than these networks.
    tool.write_report = False
    for name, value in {"hidden_units": 5, "epochs": 3, "batch_size": 4, "learning_rate": 0.01, **values}.items():
        tool.set(name, value)
    return tool


@pytest.fixture(scope="module")
def study(lab, tmp_path_factory):
    """A whole study: three conditions, two seeds, all baselines."""
    results = tmp_path_factory.mktemp("study") / "results"
    assert make_tool(lab, results, seeds=[0, 7], jobs=1).run()
    return results


def table(results, what):
    return pd.read_csv(results / f"walk_{what}.csv")


def test_layout(study):
    assert {path.name for path in study.iterdir()} == set(FILES)
    cycles = table(study, "cycles")
    # Two seeds, three conditions, five methods; soleus of four subjects and tib of three, four cycles each.
    assert len(cycles) == 2 * 3 * 5 * (16 + 12)
    key = ["seed", "condition", "muscle", "held_out", "subject", "dataset", "trial", "stride"]
    assert not cycles.duplicated([*key, "method"]).any()
    assert list(dict.fromkeys(cycles["method"])) == METHODS
    assert (cycles["held_out"] == cycles["subject"]).all()
    assert cycles["duration_s"].round(6).unique().tolist() == [1.0, 1.1]
    curves = table(study, "curves")
    assert len(curves) == 2 * 3 * 6 * (16 + 12)
    losses = table(study, "losses")
    assert len(losses) == 2 * 3 * (4 + 3) * 3
    assert losses["validation_loss"].notna().all()


def test_measures_are_those_of_the_curves(study):
    """E, r squared and the coefficient of determination once more from the curves that were written, by other means."""
    key = ["seed", "condition", "muscle", "trial", "stride", "subject"]
    rows = table(study, "curves").set_index([*key, "method"])[[f"y{k:02d}" for k in range(20)]]
    assert rows.index.is_unique
    curves = dict(zip(rows.index, rows.to_numpy(float), strict=True))
    for row in table(study, "cycles").itertuples():
        where = tuple(getattr(row, name) for name in key)
        y, emg = (curves[(*where, method)] for method in (row.method, "emg"))
        assert pytest.approx(np.sqrt(np.mean((y - emg) ** 2)), rel=1e-6) == row.E
        expected = stats.pearsonr(y, emg).statistic ** 2 if np.ptp(y) else 0.0
        assert pytest.approx(expected, rel=1e-5, abs=1e-9) == row.r_squared
        assert pytest.approx(r2_score(emg, y), rel=1e-4, abs=1e-6) == row.determination
        assert abs(row.peak_error_ms - 10 * row.peak_error_percent * row.duration_s) < 1e-5


def test_statistics_by_hand(study):
    cycles, found = table(study, "cycles"), table(study, "statistics")
    assert set(found["method"]) == set(METHODS[1:])
    for row in found.itertuples():
        part = cycles[(cycles["condition"] == row.condition) & (cycles["muscle"] == row.muscle)]
        e = part.pivot_table(index="subject", columns="method", values="E", aggfunc="mean")
        rates = e[row.method] / e["opensim"] - 1
        assert row.subjects == len(rates) == (4 if row.muscle == "soleus" else 3)
        assert row.Er == pytest.approx(rates.mean())
        assert row.p == pytest.approx(stats.ttest_1samp(rates, 0).pvalue)
        if row.method == "stdr_net":
            means = {name: (e[name] / e["opensim"] - 1).mean() for name in ("opensim", "mean", "shift", "ridge")}
            assert row.best_baseline == min(means, key=means.get)
            best = e[row.best_baseline] / e["opensim"]
            assert row.versus_best_p == pytest.approx(stats.ttest_rel(e["stdr_net"] / e["opensim"], best).pvalue)
            assert row.Er_seed_sd > 0
    assert (found[found["muscle"] == "tib"]["note"] == "no data of dora").all()


def test_the_shift_that_was_put_in_is_found(study):
    """EMG was made from the activations, a tenth of a second late."""
    for entry in json.loads((study / "walk_study.json").read_text())["baselines"]:
        assert 0.08 <= entry["shift"]["lag"] <= 0.11
    cycles = table(study, "cycles")
    lags = cycles[cycles["method"] == "opensim"]["best_lag_percent"]
    assert lags.between(8, 11).all()
    # OpenSim peaks that much too early.
    early = cycles[(cycles["method"] == "opensim") & (cycles["muscle"] == "soleus")]["peak_error_percent"]
    assert -16 < early.mean() < -5
    means = table(study, "statistics").set_index(["condition", "muscle", "method"])["Er"]
    assert (means[:, :, "shift"] < -0.5).all()


def test_attention(study):
    with np.load(study / "walk_attention.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {
            f"{condition}/{muscle}{end}"
            for condition in ("One-Quarter", "One-Entire", "All-Entire")
            for muscle in ("soleus", "tib")
            for end in ("", "/inputs")
        }
        inputs = ["contra:soleus", "ipsi:gasmed", "ipsi:soleus", "ipsi:tib"]
        assert arrays["All-Entire/soleus/inputs"].tolist() == inputs
        for name in arrays:
            if not name.endswith("/inputs"):
                assert arrays[name].shape == (20, 4 if name.startswith("All") else 20)
                np.testing.assert_allclose(arrays[name].sum(axis=1), 1.0, atol=1e-6)


def test_description(study, lab):
    about = json.loads((study / "walk_study.json").read_text())
    assert about["settings"]["hidden_units"] == 5
    assert about["settings"]["network_output"] == STDROptions().network_output
    assert about["seeds"] == [0, 7]
    assert about["splitting"]["easier"] is False
    assert about["data"]["conditions"]["All-Entire"]["cycles"] == {"soleus": 16, "tib": 12}
    assert about["networks"] == 2 * 3 * 7
    assert "recorded only" in about["validation_loss"]
    assert about["packages"]["numpy"] == np.__version__
    check = about["shortcut_check"]
    assert len(check["muscles"]) == 6
    assert len(check["folds"]) == 2 * 3 * 7
    for row in check["muscles"]:
        folds = pd.DataFrame([f for f in check["folds"] if all(f[k] == row[k] for k in ("condition", "muscle"))])
        means = folds.groupby("subject")[["E", "E_changed"]].mean()
        assert row["change"] == pytest.approx((means["E_changed"] / means["E"] - 1).mean())
    # Bands of every method, the simulation and the baselines among them; one laboratory cannot be left out.
    bands = about["band_coverage"]["One-Entire"]
    assert {"opensim", "stdr_net", "mean", "ridge"} <= set(bands)
    for ways in bands.values():
        assert set(ways) == {"subjects"}
        assert sorted(row["name"] for row in ways["subjects"]) == sorted(about["subjects"])
        assert all(0.0 <= row["coverage"] <= 1.0 and row["width"] > 0.0 for row in ways["subjects"])
    again = STDRCrossValidateTool(study / "walk_effective_setup.xml")
    assert again.seeds == (0, 7)
    assert again.muscles == ("soleus", "tib")
    assert again.resolve("trials_file") == lab / "trials.csv"


def test_the_log_ends_with_what_it_is_worth(study):
    lines = (study / "walk.log").read_text().splitlines()
    said = json.loads((study / "walk_study.json").read_text())["verdicts"]
    assert [line.split("[info] ")[1] for line in lines if "[info] " in line][-3:] == said
    found = table(study, "statistics")
    network = found[found["method"] == "stdr_net"]
    for condition, text in zip(("One-Quarter", "One-Entire", "All-Entire"), said, strict=True):
        part = network[network["condition"] == condition]
        wins, sure = (part["Er"] < 0).sum(), ((part["Er"] < 0) & (part["p"] < 0.05)).sum()
        assert f"{condition}: on subjects they have not seen" in text
        assert f"beats OpenSim on {wins} of 2 muscles ({sure} significantly" in text


def test_a_note_on_the_data_is_logged_once(study):
    """All conditions read the same files, and each has the notes on its own."""
    conditions = json.loads((study / "walk_study.json").read_text())["data"]["conditions"]
    assert len(conditions) == 3
    said = [line.split("[info] ")[-1] for line in (study / "walk.log").read_text().splitlines()]
    common = set.intersection(*(set(about["notes"]) for about in conditions.values()))
    assert any("left out for this muscle" in note for note in common)
    for about in conditions.values():
        assert [said.count(note) for note in about["notes"]] == [1] * len(about["notes"])


def contents(results):
    return {what: (results / f"walk_{what}.csv").read_bytes() for what in TABLES}


def attention(results):
    with np.load(results / "walk_attention.npz") as arrays:
        return {name: arrays[name].tobytes() for name in arrays}


@pytest.mark.slow
def test_jobs_and_the_order_of_everything_change_nothing(study, tmp_path):
    """Another number of processes; rows of the manifest and columns of all files backwards: the same bytes."""
    backwards = make_lab(tmp_path / "lab", backwards=True)
    results = tmp_path / "results"
    conditions = ["All-Entire", "One-Quarter", "One-Entire"]
    assert make_tool(backwards, results, seeds=[0, 7], jobs=2, conditions=conditions).run()
    expected, found = contents(study), contents(results)
    for what in TABLES:
        # The conditions were asked for in another order, which is that of the rows.
        assert sorted(found[what].splitlines()) == sorted(expected[what].splitlines()) or what == "conditions"
    assert attention(results) == attention(study)


@pytest.mark.slow
def test_another_persons_files_change_nothing_that_is_learned(study, lab, tmp_path):
    """All of ben's EMG and activations are others: what was learned without him stays, file normalisation included."""
    other = tmp_path / "lab"
    shutil.copytree(lab, other)
    t = np.linspace(0, 5, 1001)
    for trial in ("slow", "fast"):
        write_sto(
            other / f"ben_{trial}_so.sto",
            t,
            {name: wave(t, 0.3) for name in ("soleus_r", "gasmed_r", "tib_ant_r", "soleus_l")},
        )
        write_sto(other / f"ben_{trial}_emg.sto", t, {"SOL": 9 * wave(t, 0.7), "TIB": 0.1 * wave(t, 0.2)})
    results = tmp_path / "results"
    assert make_tool(other, results, seeds=[0, 7]).run()
    key = ["seed", "condition", "muscle", "held_out", "epoch"]
    before, after = (table(folder, "losses").set_index(key)["loss"] for folder in (study, results))
    without = before.index.get_level_values("held_out") == "ben"
    assert (before[without] == after[without]).all()
    assert (before[~without] != after[~without]).all()
    one, two = (json.loads((folder / "walk_study.json").read_text())["baselines"] for folder in (study, results))
    assert [entry for entry in one if entry["held_out"] == "ben"] == [e for e in two if e["held_out"] == "ben"]
    key = ["seed", "condition", "muscle", "held_out", "trial", "stride", "method"]
    samples = [f"y{k:02d}" for k in range(20)]
    before, after = (table(folder, "curves").set_index(key)[samples] for folder in (study, results))
    of_ben = (before.index.get_level_values("held_out") == "ben") & (before.index.get_level_values("method") == "mean")
    assert before[of_ben].equals(after[of_ben])


@pytest.mark.slow
def test_an_interrupted_study_goes_on(study, lab, tmp_path):
    """Killed with some networks finished; the second run trains the others and ends as if undisturbed."""
    results = tmp_path / "results"
    tool = make_tool(lab, results, seeds=[0, 7], jobs=1)
    (tmp_path / "setup.xml").write_text(tool.to_xml())
    process = start_program("run", "setup.xml", folder=tmp_path)
    deadline = time.monotonic() + 300
    while len(list(results.glob("walk_checkpoints/*/*/trained.safetensors"))) < 10:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not list(results.glob("*.csv"))
    process = start_program("run", "setup.xml", folder=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert "networks had been finished before and were not trained again" in out
    assert contents(results) == contents(study)
    assert not (results / "walk_checkpoints").exists()


@pytest.mark.parametrize("splitting", ["leave_one_speed_out", "leave_one_trial_out"])
def test_easier_splittings_say_so(lab, tmp_path, splitting):
    tool = make_tool(
        lab, tmp_path, splitting=splitting, conditions=["One-Entire"], muscles=["soleus"], baselines="mean"
    )
    assert tool.run()
    about = json.loads((tmp_path / "walk_study.json").read_text())
    assert about["splitting"]["easier"] is True
    assert "Easier" in about["splitting"]["meaning"]
    assert "share their maximum" in about["splitting"]["emg_scale"]
    assert "easier than new subjects" in about["verdicts"][0]
    cycles = table(tmp_path, "cycles")
    speeds = {"0.9 m/s", "1.6 m/s"}
    trials = {f"lab/{subject}/{trial}" for subject in SUBJECTS for trial in ("slow", "fast")}
    assert set(cycles["held_out"]) == (speeds if splitting == "leave_one_speed_out" else trials)
    # Every cycle is judged once, by each method.
    assert (cycles.groupby(["trial", "subject", "stride", "method"]).size() == 1).all()
    assert set(cycles["method"]) == {"opensim", "stdr_net", "mean"}
    assert table(tmp_path, "conditions").empty


def test_early_stopping_keeps_to_training_subjects(lab, tmp_path):
    tool = make_tool(lab, tmp_path, conditions=["One-Entire"], muscles=["soleus"], early_stopping_patience=2, epochs=6)
    assert tool.run()
    about = json.loads((tmp_path / "walk_study.json").read_text())
    assert about["validation_loss"] == "of the training subject that decides when to stop"
    assert about["settings"]["early_stopping_patience"] == 2


def test_two_people_and_one(lab, tmp_path, caplog):
    """With two subjects a baseline has one training subject; tib, which only one of them has, is left out and named."""
    tool = make_tool(lab, tmp_path, conditions=["One-Entire"], subjects=["anna", "dora"])
    assert tool.run()
    assert "One-Entire: tib cannot be judged" in caplog.text
    found = table(tmp_path, "statistics")
    assert set(found["muscle"]) == {"soleus"}
    assert found["p"].notna().all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"subjects": ["anna"]}, TrainingError, "leave_one_subject_out leaves nothing .* at least two subjects"),
        ({"conditions": []}, SetupError, "<conditions> must be given"),
        ({"conditions": ["One-Entire"] * 2}, SetupError, "<conditions> names 'One-Entire' twice"),
        ({"seeds": [1, 2, 1]}, SetupError, "<seeds> names '1' twice"),
        (
            {"seeds": [1.5]},
            SetupError,
            r"<seeds> must be integers in \[0, 9223372036854775807\] separated by spaces, but \[1\.5\]",
        ),
        ({"subjects": ["anne"]}, SetupError, "Did you mean 'anna'"),
        (
            {"conditions": ["One-Entire"], "input_muscles": ["ipsi:soleus"]},
            SetupError,
            "are for the condition All-Entire",
        ),
    ],
)
def test_faults_leave_nothing(lab, tmp_path, changes, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        make_tool(lab, tmp_path / "results", **changes).run()
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_real_recordings(tmp_path, shared_data):
    """All subjects that share channels; the cheap baselines are those of reference calculations on the same strides."""
    tool = STDRCrossValidateTool()
    tool.setName("walk")
    tool.setResultsDir(tmp_path)
    tool.trials_file = shared_data / "trials.csv"
    tool.emg_channels_file = shared_data / "emg_channels.csv"
    tool.motions = ["walk"]
    tool.activation_sources = ["so"]
    tool.muscles = ["soleus", "vaslat", "glmax1"]
    tool.hidden_units = 8
    tool.epochs = 4
    tool.write_report = False
    assert tool.run()
    found = table(tmp_path, "statistics").set_index(["condition", "muscle", "method"])
    assert set(found.index.get_level_values("muscle")) == {"soleus", "vaslat"}
    # One subject has gluteus maximus.
    assert "One-Entire: glmax1 cannot be judged" in (tmp_path / "walk.log").read_text()
    for condition in ("One-Quarter", "One-Entire", "All-Entire"):
        part = found.sort_index().loc[condition, "soleus"]
        assert part["subjects"].tolist() == [5] * 4
        assert part["cycles"].tolist() == [63] * 4
        assert part["E_opensim"].iloc[0] == pytest.approx(0.227, abs=0.005)
        assert part.loc["mean", "E"] == pytest.approx(0.188, abs=0.02)
    about = json.loads((tmp_path / "walk_study.json").read_text())
    assert about["subjects"] == sorted(about["subjects"])
    assert len(about["data"]["conditions"]["All-Entire"]["datasets"]) == 5
    pairs = table(tmp_path, "conditions")
    assert len(pairs) == 2 * 3
    assert pairs["tukey_p"].notna().all()


@pytest.mark.slow
def test_report_with_a_skeleton(lab, tmp_path, repository):
    """Figures and report are drawn from the files of a real run, and the model of figure 7 is OpenSim's."""
    example = repository / "examples" / "01_refine_walking"
    values = {"conditions": ["One-Entire", "All-Entire"], "muscles": ["soleus"], "write_report": True}
    values |= {"skeleton_model_file": example / "walker.osim", "skeleton_time_range": (0.5, 1.5)}
    results = tmp_path / "results"
    tool = make_tool(lab, results, skeleton_motion_file=example / "walking_coordinates.mot", **values)
    assert tool.run()
    text = (results / "walk_report.html").read_text(encoding="utf-8")
    said = json.loads((results / "walk_study.json").read_text())["verdicts"]
    assert len(said) == 2
    assert all(sentence.split(" (ridge)")[0] in text for sentence in said)
    assert text.count("<img ") == len(list(results.glob("walk_*.svg"))) == 9
    drawn = (results / "walk_attention_All-Entire_soleus.svg").read_text()
    assert "50 % of the gait cycle" in drawn
    assert "walker" in text
    skeleton = json.loads((results / "walk_skeleton.json").read_text())
    assert "ipsi:soleus" in skeleton["muscles"]

    # Without the model, the next run's figures do not show that of the last.
    assert make_tool(lab, results, **{**values, "skeleton_model_file": "", "write_report": False}).run()
    assert not (results / "walk_skeleton.json").exists()


def test_a_skeleton_that_crashes_opensim_costs_a_figure(lab, tmp_path, repository, caplog):
    example = repository / "examples" / "01_refine_walking"
    text = (example / "walker.osim").read_text()
    (tmp_path / "broken.osim").write_text(
        text.replace("<socket_parent_frame>pelvis_offset", "<socket_parent_frame>no", 1)
    )
    values = {"conditions": ["One-Entire"], "muscles": ["soleus"], "skeleton_model_file": tmp_path / "broken.osim"}
    motion = example / "walking_coordinates.mot"
    assert make_tool(lab, tmp_path / "results", skeleton_motion_file=motion, **values).run()
    assert "The figures will show no skeleton." in caplog.text
    assert (tmp_path / "results" / "walk_study.json").is_file()


def test_a_wrong_skeleton_is_found_before_training(lab, tmp_path, repository):
    example = repository / "examples" / "01_refine_walking"
    model, motion = example / "walker.osim", example / "walking_coordinates.mot"
    with pytest.raises(SetupError, match="must be given together"):
        make_tool(lab, tmp_path, skeleton_model_file=model).run()
    values = {"skeleton_model_file": model, "skeleton_motion_file": motion}
    with pytest.raises(SetupError, match=r"a start and a later end, but '2 1' was found"):
        make_tool(lab, tmp_path, **values, skeleton_time_range=(2.0, 1.0)).run()
    with pytest.raises(CycleError, match="must lie inside"):
        make_tool(lab, tmp_path / "results", **values, skeleton_time_range=(1.0, 20.0)).run()
    assert not (tmp_path / "results").exists()
