"""Files that once broke a reader: each gives one clear error, soon and in little memory, or is read rightly."""

from __future__ import annotations

import gzip
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
from fuzz.readers import READERS, study_file

from opensim_nem2e.cli.main import main
from opensim_nem2e.errors import NEM2EError

_SECONDS, _MEGABYTES = 5.0, 500
_BY_NAME = {reader.name: reader.prepare for reader in READERS} | {"study_curves": study_file("curves.csv")}

#: File, reader, and what the error says; None: it is read.
CASES: dict[str, tuple[str, str | None]] = {
    "attention_bomb.npz.gz": ("study_npz", "claims 2 arrays of 3200000260 bytes"),
    "attention_cut.npz": ("study_npz", "cannot be read"),
    "bundle_bitflip.safetensors": ("bundle", r"must hold numbers below 1e\+12, but 3\.06221e\+37 was found"),
    "bundle_escape.safetensors": ("bundle", None),
    "bundle_nanvalidation.safetensors": ("bundle", "lacks numbers for 'soleus': E_refined"),
    "bundle_overflow.safetensors": ("bundle", r"must hold numbers below 1e\+12, but 3e\+38 was found"),
    "bundle_surrogate.safetensors": ("bundle", None),
    "channels_openquote.csv": ("channels", ":2: A quote opens in this line and is never closed"),
    "chown.csv": ("channels", None),
    "chown2.csv": ("channels", None),
    "chq.csv": ("channels", ":42: A quote opens in this line and is never closed"),
    "comma_label.csv": ("emg", None),
    "emg_infdata.csv": ("emg", "'a' must hold finite numbers; found infinity"),
    "emg_inftime.csv": ("emg", "'time' must hold finite numbers; found infinity"),
    "emg_nantime.csv": ("emg", "must hold a number in every row"),
    "emg_short_rows.csv": ("emg", ":3: A row must have 3 values, as there are labels; found 2"),
    "empty.csv": ("emg", "The table is empty"),
    "events_bigfield.csv": ("events", "more than 131072 characters"),
    "events_openquote.csv": ("events", ":2: A quote opens in this line and is never closed"),
    "extra.csv": ("emg", "2 are here, but the rows below it have 3 values"),
    "hang.c3d": ("c3d", "It cannot be read as a C3D file"),
    "loads_long.xml": ("external_loads", "is neither beside this file nor in the working directory"),
    "mnown.csv": ("muscle_names", "'standard_name' must be .* found 'my-soleus'"),
    "mnown2.csv": ("muscle_names", r"'standard_name' must be .* found '\.\./\.\./\.\./evil'"),
    "model_activation_time_constant_-0.01.osim": ("osim", "must be a positive number, but '-0.01' was found"),
    "model_minimum_activation_nan.osim": ("osim", "must be a number from 0 to below 1, but 'nan' was found"),
    "model_underscore.osim": ("osim", "must be a number, but '1_000' was found"),
    "muscles_bigfield.csv": ("muscle_names", "more than 131072 characters"),
    "onecol.csv": ("emg", "must be called 'time', or the sampling rate must be given; found 'EMG1'"),
    "osetup_long.xml": ("opensim_setup", None),
    "record_nokeys.json": ("record", None),
    "report_1_cv_study.json": ("study_json", "'muscles' must be a list, but '5' was found"),
    "report_3_cv_curves.csv": ("study_curves", "'y00' must hold numbers, but 'abc' was found"),
    "report_5_cv_statistics.csv": ("study_statistics", "'E' must hold numbers, but 'abc' was found"),
    "segfault.c3d": ("c3d", "It cannot be read as a C3D file: ezc3d ended with status"),
    "skeleton_deep.json": ("skeleton", "nested too deeply"),
    "small.csv": ("trials", None),
    "sto_fs.sto": ("storage", "The row has 2 values, but there are 3 labels with time"),
    "sto_labels_ls.sto": ("storage", r"must begin with 'time', but begins with '\\u2028'"),
    "sto_unicode_digits.sto": ("storage", "'a' must hold numbers, but"),
    "sto_version.sto": ("storage", None),
    "trc_dup.trc": ("trc", "The marker 'A' appears 2 times"),
    "trc_nantime.trc": ("trc", "The marker 'A' appears 2 times"),
    "trials_negspeed.csv": ("trials", None),
    "trials_nul.csv": ("trials", r"without control characters; found '\\x00'"),
}


@pytest.fixture(scope="module")
def hostile(shared_data) -> Path:
    folder = shared_data.parent / "cases" / "hostile"
    if not folder.is_dir():
        pytest.skip(f"no hostile files in '{folder}' (they lie beside OPENSIM_NEM2E_DATA)")
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Runs that fail early leave their log in the working directory."""
    monkeypatch.chdir(tmp_path)


def test_every_file_is_tried(hostile):
    others = {"README.md", "README_traversal.txt", "concurrent_pipelines.py", "own.xml", "own2.xml"}
    assert {path.name for path in hostile.iterdir()} == set(CASES) | others


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file(hostile, tmp_path, name):
    reader, message = CASES[name]
    content = (hostile / name).read_bytes()
    read = _BY_NAME[reader](tmp_path)
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    tracemalloc.start()
    begun = time.process_time()
    try:
        if message is None:
            read(content)
        else:
            with pytest.raises(NEM2EError, match=message) as caught:
                read(content)
            assert len(str(caught.value)) < 4000
            assert "\x1b" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < _MEGABYTES << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < _SECONDS


def run(capsys, *words: object) -> tuple[int, str]:
    status = main([str(word) for word in words])
    return status, capsys.readouterr().err


@pytest.mark.parametrize("name", ["own.xml", "own2.xml"])
def test_names_that_are_no_names_are_refused_before_any_work(hostile, shared_data, tmp_path, capsys, name):
    """The setups' trials lie beside the real manifest."""
    for path in shared_data.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for own in ("own.xml", "own2.xml", "chown.csv", "chown2.csv", "mnown.csv", "mnown2.csv", "small.csv"):
        shutil.copyfile(hostile / own, tmp_path / own)
    before = {path.name for path in tmp_path.iterdir()}
    status, said = run(capsys, "run", tmp_path / name)
    assert status == 1
    assert "must be 1 to 64 letters (a-z), digits and '_'" in said
    assert "Traceback" not in said
    made = {path.name for path in tmp_path.iterdir()} - before
    assert not [path for other in made for path in (tmp_path / other).rglob("*.safetensors")]
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("name", ["empty.csv", "extra.csv", "hang.c3d", "segfault.c3d", "emg_infdata.csv"])
def test_a_hostile_recording_ends_its_tool_with_one_error(hostile, tmp_path, capsys, name):
    status, said = run(capsys, "emg-envelope", hostile / name, "--results-directory", tmp_path / "results")
    assert status == 1
    assert said.count("[error]") == 1
    assert name in said
    assert "Traceback" not in said
    assert not list((tmp_path / "results").glob("*.sto"))


@pytest.mark.parametrize("name", ["bundle_escape.safetensors", "bundle_surrogate.safetensors"])
def test_a_bundle_cannot_move_the_cursor_or_forge_the_log(hostile, capsys, name):
    assert main(["info", str(hostile / name)]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert not [line for line in said.out.splitlines() if line.startswith("[")]
