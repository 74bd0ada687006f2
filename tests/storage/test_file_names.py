"""Names of subjects and muscles as parts of files' names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensim_nem2e.data.manifest import examine_channels, examine_trials
from opensim_nem2e.errors import ManifestError, MissingFileError, StorageError
from opensim_nem2e.log import logger, start_console, stop
from opensim_nem2e.storage import MuscleNames
from opensim_nem2e.storage.array_files import read_arrays
from opensim_nem2e.storage.file_names import file_name, name_fault, shown
from opensim_nem2e.storage.json_files import read_json

ODD = ["../../../evil", "a/b", "a\\b", "..", ".hidden", "\x1b[31m", "a\nb", "a\u2028b", "\u202egnp", "a\0b", "n" * 101]


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_gives_a_plain_name_of_its_own(one, other):
    name = file_name(one)
    assert name == name.strip(".")
    assert 0 < len(name) <= 67
    assert all(sign.isascii() and (sign.isalnum() or sign in "._-") for sign in name)
    if one != other:
        # Some file systems take 'Ann' and 'ann' for the same.
        assert name.lower() != file_name(other).lower()


def test_plain_names_stay():
    assert file_name("subject_1") == "subject_1"
    assert file_name("walk-1.2") == "walk-1.2"
    assert file_name("con") != "con"
    assert file_name("s1/t1/setup").startswith("s1_t1_setup_")


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_refused(name, tmp_path):
    fault = name_fault(name, "'subject'")
    assert fault.startswith("'subject' must")
    assert fault.isprintable()
    assert len(fault) < 400


@pytest.mark.parametrize(
    "name", ["S01", "Anna-Lena", "walk 1.2 m/s".replace("/", " per "), "läufer", "被験者1", "x" * 100]
)
def test_what_laboratories_use(name):
    assert name_fault(name) == ""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def faults_of(examine, path, of_cells):
    """Say why a table is refused; what no table may hold is refused by its reader, before any cell."""
    try:
        found, faults = examine(path)
    except ManifestError as error:
        found, faults, of_cells = [], [str(error)], "must"
    assert not found
    assert of_cells in faults[0]
    assert all(fault.isprintable() for fault in faults)
    return faults


@pytest.mark.parametrize("name", ODD)
def test_names_are_refused_where_they_are_read(name, tmp_path):
    channels = tmp_path / "emg_channels.csv"
    channels.write_text(f"dataset,emg_column,muscles,standard_name\nd,SOL,soleus_r,{quoted(name)}\n", newline="")
    assert faults_of(examine_channels, channels, "standard_name")
    channels.write_text(f"dataset,emg_column,muscles,standard_name\nd,SOL,{quoted(name)},soleus\n", newline="")
    assert faults_of(examine_channels, channels, "'muscles' must")
    trials = tmp_path / "trials.csv"
    header = "dataset,subject,trial,stride,motion,side,activation_file,activation_source,emg_file,t_start,t_end\n"
    trials.write_text(f"{header}d,{quoted(name)},t,1,walk,r,trials.csv,so,trials.csv,0,1\n", newline="")
    assert faults_of(examine_trials, trials, "'subject' must")


@pytest.mark.parametrize("name", ["my-soleus", "../../../evil", "so leus", "soleus\x1b", "s" * 101])
def test_standard_names_are_those_of_bundles(name, tmp_path):
    """Not hours later, when the bundle is written."""
    table = tmp_path / "names.csv"
    table.write_text(f"model_muscle,standard_name\nsoleus,{quoted(name)}\n")
    with pytest.raises(
        StorageError, match=r"names.csv:2: ('standard_name' must be 1 to 64 letters|.*without control)"
    ) as caught:
        MuscleNames.load(table)
    assert str(caught.value).isprintable()


def test_long_texts_are_shown_in_part():
    assert shown("x" * 1000) == f"'{'x' * 60}...'"


def test_the_log_shows_no_escapes():
    """A name in a message cannot move the cursor, nor end the line for a program that knows other line ends."""
    import io

    text = "a\x1b[2Jb\u2028c\x85d\u202ee\udcff" + "f" * 100_000 + "\nnext line"
    stream = io.StringIO()
    console = start_console(stream=stream)
    logger.error("%s", text)
    stop(console)
    line = stream.getvalue().removesuffix("\n")
    assert line.startswith("[error] a\\x1b[2Jb\\u2028c\\x85d\\u202ee\\udcff")
    assert len(line) < 9000
    assert line.endswith("f\nnext line")
    assert len(line.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": 1e999}', "must be finite"),
        ('{"a": Infinity}', "must be finite"),
        ('{"a": NaN}', "must be finite"),
        ('{"a": ' + "9" * 5000 + "}", "The record is no JSON"),
        ("null", "null was found"),
        ("[1]", "a list was found"),
        ("\ufffe", "The record is no JSON"),
    ],
)
def test_json_that_is_refused(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=message) as caught:
        read_json(path, "record")
    assert len(str(caught.value)) < 1000


def test_json_that_is_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('\ufeff{"a": NaN}')
    assert read_json(path, "study", nan_is_none=True) == {"a": None}
    with pytest.raises(MissingFileError, match="there is no such study"):
        read_json(tmp_path / "absent.json", "study")
    with pytest.raises(MissingFileError, match="this is a directory"):
        read_json(tmp_path, "study")


def test_arrays_come_back(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "names": np.array(["x", "ipsi:y"]), "empty": np.zeros((0, 3))}
    arrays["by column"] = np.asfortranarray(arrays["a/b"])
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_arrays(tmp_path / "x.npz", "arrays")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_an_array_that_takes_all_memory_is_refused_before(tmp_path):
    """Zeros pack 1000 to 1: what a file claims is looked at first."""
    import tracemalloc

    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(4_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(StorageError, match="32000128 bytes; at most"):
        read_arrays(tmp_path / "bomb.npz", "arrays", most_bytes=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "array", [np.array([{"a": 1}], dtype=object), np.array([np.nan]), np.array([np.inf, 1.0]), np.zeros(2, "c16")]
)
def test_arrays_that_are_refused(tmp_path, array):
    np.savez(tmp_path / "x.npz", a=array)
    with pytest.raises(StorageError, match="cannot be read"):
        read_arrays(tmp_path / "x.npz", "arrays")


def test_cut_archives_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(10.0))
    content = (tmp_path / "x.npz").read_bytes()
    for length in range(0, len(content) - 1, 7):
        (tmp_path / "x.npz").write_bytes(content[:length])
        with pytest.raises(StorageError):
            read_arrays(tmp_path / "x.npz", "arrays")
