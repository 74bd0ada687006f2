"""Reading a study back: whole, or an error that says what is wrong and where."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from opensim_nem2e.errors import MissingFileError, StorageError
from opensim_nem2e.evaluation.study import Skeleton, read_study


@pytest.fixture
def copy(study_folder, tmp_path):
    """A study that a test may damage."""
    return shutil.copytree(study_folder, tmp_path / "results")


def test_reads_everything(study_folder):
    results = read_study(study_folder)
    assert results.name == "walking"
    assert results.muscles == ["soleus", "tib", "rect"]
    assert results.condition_names == ["One-Quarter", "One-Entire", "All-Entire"]
    assert results.methods == ["opensim", "stdr_net", "mean", "shift", "ridge"]
    assert results.skeleton is None
    assert len(results.sample_columns) == 20
    with np.load(study_folder / "walking_attention.npz") as arrays:
        assert len(results.attention) == 9
        for (condition, muscle), attention in results.attention.items():
            np.testing.assert_array_equal(attention.weights, arrays[f"{condition}/{muscle}"])
            assert list(attention.inputs) == list(arrays[f"{condition}/{muscle}/inputs"])
    raw = pd.read_csv(study_folder / "walking_curves.csv")
    chosen = raw.query("condition == 'One-Entire' and muscle == 'tib' and method == 'emg' and subject == 'subject 2'")
    assert len(chosen) == 12  # 2 seeds, 2 speeds, 3 strides
    np.testing.assert_allclose(
        results.subject_curves("One-Entire", "tib", "emg").loc["subject 2"],
        chosen[[f"y{k:02d}" for k in range(20)]].mean(),
        rtol=1e-12,
    )


def rewrite(path, change):
    study = json.loads(path.read_text())
    change(study)
    path.write_text(json.dumps(study))


def test_methods_are_shown_as_the_study_says(copy):
    """Also those of packages that are not installed here."""
    results = read_study(copy)
    assert results.judged == ["stdr_net"]
    assert (results.label("stdr_net"), results.label("emg")) == ("STDR-Net", "measured EMG")
    style = {"label": "KRR", "colour": "#123456", "marker": "P"}
    rewrite(copy / "walking_study.json", lambda study: study["styles"].update(kernel_ridge=style))
    results = read_study(copy)
    assert (results.label("kernel_ridge"), results.colour("kernel_ridge"), results.marker("kernel_ridge")) == (
        *("KRR", "#123456", "P"),
    )
    # Nothing known, nothing broken.
    assert results.label("who_knows") == "who_knows"
    assert results.colour("who_knows").startswith("#")


def test_a_study_of_version_0_1(copy):
    """It had one method, and said nothing of styles, judged methods and whose losses these are."""

    def older(study):
        for name in ("judged", "styles", "citations"):
            del study[name]

    new = read_study(copy)
    rewrite(copy / "walking_study.json", older)
    losses = pd.read_csv(copy / "walking_losses.csv")
    losses.drop(columns="method").to_csv(copy / "walking_losses.csv", index=False)
    old = read_study(copy)
    assert (old.judged, old.methods) == (new.judged, new.methods)
    for method in ("emg", *new.methods):
        assert (old.label(method), old.colour(method), old.marker(method)) == (
            *(new.label(method), new.colour(method), new.marker(method)),
        )
    assert len(old.losses_of("One-Entire")) == len(new.losses_of("One-Entire")) > 0
    assert old.citation("stdr_net") == new.citation("stdr_net")
    assert "(Teramae et al. 2025)" in old.citation("stdr_net")


def test_a_person_may_be_called_na(copy):
    for table in ("cycles", "curves", "subjects"):
        path = copy / f"walking_{table}.csv"
        path.write_text(path.read_text().replace("subject 1", "NA"))
    results = read_study(copy)
    assert "NA" in set(results.subjects["subject"])
    assert "NA" in results.subject_curves("One-Entire", "tib", "emg").index


def test_missing_files_are_all_named(copy):
    (copy / "walking_losses.csv").unlink()
    (copy / "walking_attention.npz").unlink()
    with pytest.raises(
        MissingFileError, match=r"2 of its files are missing: walking_losses.csv, walking_attention.npz"
    ):
        read_study(copy)


def test_no_study(tmp_path):
    with pytest.raises(MissingFileError, match="there is no such directory"):
        read_study(tmp_path / "absent")
    with pytest.raises(MissingFileError, match=r"no '\*_study.json' was found"):
        read_study(tmp_path)


def test_several_studies(copy):
    (copy / "running_study.json").write_text("{}")
    with pytest.raises(MissingFileError, match=r"several studies were found \(running, walking\)"):
        read_study(copy)
    with pytest.raises(MissingFileError, match=r"no study 'wolking' in it\. Did you mean 'walking'"):
        read_study(copy, "wolking")
    assert read_study(copy, "walking").name == "walking"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("study.json", "{", "The study is no JSON"),
        ("study.json", "[]", "A JSON object was expected, but a list was found"),
        ("subjects.csv", "", "A table was expected"),
        ("subjects.csv", "condition,muscle,method,E\n", "columns subject, Er are missing; found condition, muscle"),
        ("attention.npz", "text", "Arrays of attention weights were expected"),
        ("skeleton.json", "{}", "A skeleton was expected"),
    ],
)
def test_a_file_that_is_something_else(copy, file, content, message):
    (copy / f"walking_{file}").write_text(content)
    with pytest.raises(StorageError, match=message) as caught:
        read_study(copy)
    assert f"walking_{file}" in str(caught.value)


def test_pickles_are_not_read(copy):
    np.savez(copy / "walking_attention.npz", **{"All-Entire/soleus": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(StorageError, match="cannot be read"):
        read_study(copy)


def test_attention_without_its_names(copy):
    np.savez(copy / "walking_attention.npz", **{"All-Entire/soleus": np.ones((20, 3))})
    with pytest.raises(StorageError, match="with its names in 'All-Entire/soleus/inputs'"):
        read_study(copy)


def test_skeleton_comes_back(tmp_path):
    random = np.random.default_rng(0)
    paths = tuple(random.random((k, 3)) for k in (2, 3))
    skeleton = Skeleton(
        (0.0, 50.0), random.random((2, 4, 2, 3)), ("ipsi", "contra", "", ""), {"ipsi:soleus": (paths,)}, "x"
    )
    skeleton.write(tmp_path / "skeleton.json")
    back = Skeleton.read(tmp_path / "skeleton.json")
    np.testing.assert_allclose(back.bones, skeleton.bones, atol=5e-6)
    assert (back.phases, back.sides, back.source) == (skeleton.phases, skeleton.sides, "x")
    for there, here in zip(back.muscles["ipsi:soleus"][0], paths, strict=True):
        np.testing.assert_allclose(there, here, atol=5e-6)
    assert json.loads((tmp_path / "skeleton.json").read_text())["source"] == "x"


def edit_json(key, value):
    def edit(folder):
        path = folder / "walking_study.json"
        study = json.loads(path.read_text())
        place = study
        *way, last = key.split(".")
        for part in way:
            place = place[part]
        place[last] = value
        path.write_text(json.dumps(study))

    return edit


def edit_table(table, column, value, row=0):
    def edit(folder):
        path = folder / f"walking_{table}.csv"
        content = pd.read_csv(path, dtype=str, keep_default_na=False)
        content.loc[slice(None) if row is None else row, column] = value
        content.to_csv(path, index=False)

    return edit


def keep_rows(table, count):
    def edit(folder):
        path = folder / f"walking_{table}.csv"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[: count + 1]))

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_json("settings", []), "study.json: 'settings' must be an object"),
        (
            edit_json("settings.learning_rate", "fast"),
            "'settings.learning_rate' must be a number, but 'fast' was found",
        ),
        (edit_json("settings.emg_normalization", ["x"]), "'settings.emg_normalization' must be a text"),
        (edit_json("packages", "none"), "'packages' must be an object"),
        (edit_json("data", None), "'data' must be an object"),
        (edit_json("data.conditions", ["One-Entire"]), "'data.conditions' must be an object"),
        (edit_json("seconds", "long"), "'seconds' must be a number"),
        (edit_json("seconds", True), "'seconds' must be a number"),
        (edit_json("seeds", 3), "'seeds' must be a list"),
        (edit_json("muscles", [["soleus"]]), r"'muscles\[0\]' must be a text"),
        (edit_json("splitting.name", 3), "'splitting.name' must be a text"),
        (edit_json("shortcut_check.muscles", [{}]), r"'shortcut_check.muscles\[0\]' lacks 'muscle'"),
        (edit_json("shortcut_check", "passed"), "'shortcut_check' must be an object"),
        (edit_json("judged", ["../.."]), "has no row of the method '../..'"),
        (edit_json("styles", {"mean": {"label": 1}}), "'styles.mean.label' must be a text"),
        (edit_json("styles", {"mean": {"colour": "wavy"}}), "must have a colour that Matplotlib knows, but 'wavy'"),
        (edit_json("styles", {"mean": {"marker": "$a$"}}), "must have a marker that Matplotlib knows"),
        (edit_json("methods", {"mean": 3}), "'methods.mean' must be a text"),
        (edit_table("curves", "y03", "abc"), r"curves.csv: 'y03' must hold numbers, but 'abc' was found"),
        (edit_table("curves", "y03", "inf"), "'y03' must hold finite numbers"),
        (edit_table("curves", "y03", ""), "'y03' is empty in row 2"),
        (edit_table("cycles", "E", "nan"), "'E' must hold numbers, but 'nan' was found"),
        (edit_table("subjects", "E", "1e999"), "'E' must hold finite numbers"),
        (edit_table("statistics", "muscle", "../../evil"), "statistics.csv: 'muscle' must not hold '/'"),
        (edit_table("statistics", "condition", "", row=None), "'condition' is empty in row 2"),
        (edit_table("statistics", "subjects", "many"), "'subjects' must hold numbers, but 'many' was found"),
        (edit_table("statistics", "method", "mean", row=None), "has no row of the method 'stdr_net'"),
        (edit_table("subjects", "method", "opensim", row=None), "subjects.csv: 'One-Quarter' has no rows of"),
        (edit_table("losses", "epoch", "first"), "'epoch' must hold numbers"),
        (keep_rows("statistics", 0), "statistics.csv: The table has no rows"),
        (keep_rows("cycles", 0), "cycles.csv: The table has no rows"),
    ],
)
def test_an_edited_study_is_refused(copy, edit, message):
    edit(copy)
    with pytest.raises(StorageError, match=message) as caught:
        read_study(copy)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"soleus": np.ones((20, 1)), "soleus/inputs": np.array(["ipsi:soleus"])}, "must be a condition and a muscle"),
        ({"a/b": np.ones((20, 3)), "a/b/inputs": np.array(["x", "y"])}, "has 3 columns, but 'a/b/inputs' has 2 names"),
        ({"a/b": -np.ones((20, 1)), "a/b/inputs": np.array(["x"])}, "weights that are not negative"),
        ({"a/b": np.zeros((20, 0)), "a/b/inputs": np.array(["x"])}, "weights that are not negative"),
        ({"a/b": np.ones((20, 1)), "a/b/inputs": np.array([1])}, "with its names in"),
        ({"a/..": np.ones((20, 1)), "a/../inputs": np.array(["x"])}, "a muscle must not begin with a dot"),
        ({"a/b": np.full((20, 1), np.nan), "a/b/inputs": np.array(["x"])}, "not finite"),
    ],
)
def test_weights_that_cannot_be_drawn(copy, arrays, message):
    np.savez(copy / "walking_attention.npz", **arrays)
    with pytest.raises(StorageError, match=message):
        read_study(copy)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("phases", ["start"], "its phases are no numbers"),
        ("bones", [[[[0, 0, 0]]]], "which does not fit its phases and sides"),
        ("sides", ["left"], "its sides must be"),
        ("muscles", {"ipsi:soleus": [[[[0, 0, 0], [0, 1, 0]]] * 3]}, "has not a path for every phase"),
        ("muscles", {"ipsi:soleus": [[[[0, 0], [0, 1]]]]}, "is no list of points"),
        ("muscles", [], "it cannot be read"),
        ("source", None, "its source is no text"),
    ],
)
def test_a_skeleton_that_cannot_be_drawn(tmp_path, name, value, message):
    good = {"source": "x", "phases": [0], "sides": ["ipsi"], "bones": [[[[0, 0, 0], [0, 1, 0]]]], "muscles": {}}
    path = tmp_path / "skeleton.json"
    path.write_text(json.dumps(good))
    assert Skeleton.read(path).source == "x"
    path.write_text(json.dumps({**good, name: value}))
    with pytest.raises(StorageError, match=message):
        Skeleton.read(path)
