"""The manifest readers: what is right is read, and every fault of a file is reported at once."""

from __future__ import annotations

import pytest

from opensim_nem2e.data.manifest import (
    CHANNEL_COLUMNS,
    TRIAL_COLUMNS,
    one_of_each_stride,
    read_channels,
    read_trial_channels,
    read_trials,
)
from opensim_nem2e.errors import ManifestError, MissingFileError

GOOD = {
    "dataset": "lab",
    "subject": "s1",
    "trial": "walk1",
    "stride": "1",
    "motion": "walk",
    "speed_m_s": "1.2",
    "side": "r",
    "model_file": "",
    "activation_file": "a/so.sto",
    "activation_source": "so",
    "emg_file": "emg.sto",
    "emg_time_offset_s": "-0.05",
    "t_start": "0.5",
    "t_end": "1.6",
    "heel_strike_t": "",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "so.sto").write_text("x")
    (tmp_path / "emg.sto").write_text("x")
    return tmp_path


def write(folder, *changes, header=None):
    columns = header or list(GOOD)
    rows = [",".join(columns)]
    rows += [",".join({**GOOD, **change}.get(name, "") for name in columns) for change in changes]
    path = folder / "trials.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_reads_a_row(folder):
    (trial,) = read_trials(write(folder, {"heel_strike_t": "0.9"}))
    assert trial.activation_file == folder / "a" / "so.sto"
    assert trial.model_file is None
    assert (trial.start, trial.end, trial.heel_strike, trial.emg_time_offset) == (0.5, 1.6, 0.9, -0.05)
    assert trial.line == 2
    assert trial.name == "lab/s1/walk1/1 (so)"


def test_one_name_has_one_spelling(folder):
    """Else a subject would be both trained on and judged."""
    read_trials(write(folder, {"subject": "s1-1"}, {"subject": "s11"}, {"subject": "s1", "stride": "3"}))
    path = write(folder, {}, {"stride": "2", "subject": "S1", "motion": "Walk"}, {"stride": "3", "subject": "S1"})
    with pytest.raises(ManifestError) as caught:
        read_trials(path)
    assert "2 faults found" in str(caught.value)
    assert "line 3: the subject 'S1' must be spelled as in line 2, 's1', if it is the same" in str(caught.value)
    assert "line 3: the motion 'Walk' must be spelled as in line 2, 'walk'" in str(caught.value)
    with pytest.raises(ManifestError, match="the subject 'a_1' must be spelled as in line 2, 'a 1'"):
        read_trials(write(folder, {"subject": "a 1"}, {"stride": "2", "subject": "a_1"}))


def test_windows_that_are_no_gait_cycles(folder, caplog):
    read_trials(write(folder, {}, {"stride": "2", "t_end": "5.4"}, {"stride": "3", "t_end": "9", "motion": "lift"}))
    assert "1 of 3 cycles are shorter than 0.3 s or longer than 3 s (line 3; the first is of 4.900 s)" in caplog.text


def test_optional_columns_bom_and_blank_lines(folder):
    needed = [name for name in TRIAL_COLUMNS if name not in ("speed_m_s", "model_file", "heel_strike_t")]
    path = write(folder, {}, {"stride": "2"}, header=needed)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    trials = read_trials(path)
    assert [trial.stride for trial in trials] == ["1", "2"]
    assert trials[0].speed is None
    assert trials[1].line == 5


def test_all_faults_at_once(folder):
    path = write(
        folder,
        {"side": "right", "t_end": "0,9"},
        {"t_end": "0.4", "activation_source": "cms"},
        {"emg_file": "missing.sto", "subject": "", "stride": "3"},
        {"stride": "4", "heel_strike_t": "7", "emg_time_offset_s": "nan"},
        {"stride": "5"},
        {"stride": "5"},
    )
    path.write_text(path.read_text().replace("0,9", '"0,9"'))
    with pytest.raises(ManifestError) as caught:
        read_trials(path)
    text = str(caught.value)
    assert "trials.csv: 9 faults found" in text
    for part in (
        "line 2: 't_end' must be a finite number with a decimal point; found '0,9'",
        "line 2: 'side' must be one of r, l; found 'right'",
        "line 3: 't_end' must be later than 't_start'; found 0.4 and 0.5",
        "line 3: 'activation_source' must be one of cmc, so, moco; found 'cms'. Did you mean 'cmc'?",
        "line 4: 'emg_file': the file",
        "line 4: 'subject' must not be empty",
        "line 5: 'emg_time_offset_s' must be a finite number",
        "line 5: 'heel_strike_t' must lie in the window 0.5..1.6 s; found 7",
        "line 7: this row repeats line 6",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the header row is missing"),
        (",".join(TRIAL_COLUMNS) + "\n", "no rows below its header"),
        (";".join(TRIAL_COLUMNS) + "\n", "no rows below its header"),
        ("|".join(TRIAL_COLUMNS) + "\n", "unknown column 'dataset|"),
        (",".join(TRIAL_COLUMNS).replace("t_end", "t_ende") + "\n", "unknown column 't_ende'. Did you mean 't_end'?"),
        (",".join(TRIAL_COLUMNS).replace("t_end", "t_ende") + "\n", "line 1: the column 't_end' is missing"),
        (",".join((*TRIAL_COLUMNS, "side")) + "\n", "'side' appears twice"),
        (",".join(TRIAL_COLUMNS) + "\nlab,s1\n", f"must have {len(TRIAL_COLUMNS)} cells, as the header; found 2"),
    ],
)
def test_faults_of_the_file(tmp_path, content, message):
    path = tmp_path / "trials.csv"
    path.write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_trials(path)
    assert message in str(caught.value)


def test_other_files(tmp_path):
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_trials(tmp_path / "none.csv")
    path = tmp_path / "trials.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_trials(path)


def test_channels(tmp_path):
    path = tmp_path / "channels.csv"
    path.write_text(",".join(CHANNEL_COLUMNS) + "\nlab,GAS,gasmed_r;gaslat_r,gasmed\nlab,DEAD,vaslat_r,\n")
    gas, dead = read_channels(path)
    assert gas.muscles == ("gasmed_r", "gaslat_r")
    assert dead.standard_name == ""
    path.write_text(
        ",".join(CHANNEL_COLUMNS)
        + "\nlab,GAS,a_r;;b_r,gasmed\nlab,X,a_r;a_r,bi\nlab,Y,,bi\nlab,Z,c_r,bi\nlab,Z,c_r,bi\n"
    )
    with pytest.raises(ManifestError) as caught:
        read_channels(path)
    for part in (
        "line 2: 'muscles' must be model muscle names separated by ';'",
        "line 3: 'muscles' names 'a_r' twice",
        "line 4: 'muscles' must not be empty",
        "line 6: this row repeats line 5",
    ):
        assert part in str(caught.value)


def test_what_was_not_measured_or_simulated_may_be_empty(folder):
    (folder / "ik.mot").write_text("x")
    path = write(
        folder,
        {"activation_file": "", "activation_source": ""},
        {"emg_file": "", "stride": "2"},
        {"activation_file": "", "activation_source": "", "emg_file": "", "coordinates_file": "ik.mot", "stride": "3"},
        header=[*GOOD, "coordinates_file"],
    )
    measured, simulated, moved = read_trials(path)
    assert (measured.activation_file, measured.activation_source) == (None, "")
    assert measured.measured == folder / "emg.sto"
    assert simulated.emg_file is None
    assert simulated.simulated == folder / "a" / "so.sto"
    assert (moved.activation_file, moved.emg_file, moved.coordinates_file) == (None, None, folder / "ik.mot")
    assert measured.name == "lab/s1/walk1/1"
    # The columns may be left out altogether.
    needed = [name for name in GOOD if name not in ("activation_file", "activation_source")]
    assert read_trials(write(folder, {}, header=needed))[0].activation_file is None


def test_a_row_that_names_nothing_is_a_fault(folder):
    path = write(folder, {"activation_file": "", "emg_file": ""}, {"activation_source": "", "stride": "2"})
    with pytest.raises(ManifestError) as caught:
        read_trials(path)
    text = str(caught.value)
    assert "line 2: one of 'activation_file', 'emg_file' and 'coordinates_file' must name a file; found none." in text
    assert "line 3: 'activation_source' must be one of cmc, so, moco; found ''." in text


def test_real_manifest(shared_data):
    trials = read_trials(shared_data / "trials.csv")
    assert len(trials) == 80
    assert sum(trial.activation_source == "so" for trial in trials) == 75
    assert len(read_channels(shared_data / "emg_channels.csv")) > 40


def test_channels_of_a_single_trial(tmp_path):
    """Neither the dataset nor standard names are needed; where they are, an empty one says what it always does."""
    path = tmp_path / "channels.csv"
    path.write_text("emg_column,muscles\nGAS,gasmed_r;gaslat_r\nSOL,soleus_r\nOTHER,tib_r\n")
    rows = read_trial_channels(path, ["GAS", "SOL"])
    assert [(row.column, row.muscles) for row in rows] == [("GAS", ("gasmed_r", "gaslat_r")), ("SOL", ("soleus_r",))]
    assert all(row.standard_name for row in rows)
    with pytest.raises(ManifestError, match="the column 'dataset' is missing"):
        read_channels(path)
    path.write_text(",".join(CHANNEL_COLUMNS) + "\nlab,GAS,gasmed_r,gasmed\nlab,DEAD,vaslat_r,\n")
    assert [bool(row.standard_name) for row in read_trial_channels(path, ["GAS", "DEAD"])] == [True, False]


def test_a_stride_simulated_twice_has_one_motion(shared_data):
    """Some windows of CMC end earlier than those of static optimisation: it is the same stride all the same."""
    rows = read_trials(shared_data / "trials.csv")
    kept = one_of_each_stride(rows)
    twice = {(row.trial, row.stride) for row in rows if row.activation_source == "cmc"}
    assert len(twice) == 5
    assert len(kept) == len(rows) - len(twice)
    assert {row.activation_source for row in kept} == {"so"}
    assert kept == [row for row in rows if row.activation_source == "so"]
    assert one_of_each_stride(rows[-1:]) == rows[-1:]
