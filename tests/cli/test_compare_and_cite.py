"""``compare``, ``info BUNDLE`` and ``cite`` as processes."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from opensim_nem2e import Bundle, TimeSeries, write_storage

TIME = np.linspace(0.0, 1.0, 101)


def write(path, columns, time=TIME):
    path.parent.mkdir(exist_ok=True)
    write_storage(path, TimeSeries(time, tuple(columns), np.column_stack(list(columns.values()))))


@pytest.fixture
def files(command):
    wave = 0.3 + 0.2 * np.sin(2 * np.pi * TIME)
    write(
        command.folder / "a_states.sto",
        {"/forceset/soleus_r/activation": wave, "/forceset/tib_ant_r/activation": 0.5 * wave, "/x/value": wave},
    )
    write(
        command.folder / "b" / "walk_activation.sto", {"soleus_r": wave[20:] + 0.1, "rect_fem_r": wave[20:]}, TIME[20:]
    )
    return command.folder


def test_two_results(command, files):
    done = command.start("compare", "a_states.sto", "b", "--csv", "out.csv")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    mean = 0.3 + 0.2 * np.sin(2 * np.pi * TIME[20:]).mean()
    assert lines[:3] == ["A: a_states.sto", "B: b/walk_activation.sto", "0.2000 to 1.0000 s"]
    assert lines[5].split() == ["soleus_r", f"{mean:.3f}", f"{mean + 0.1:.3f}", "0.100", "+1.00"]
    assert "Only in A: tib_ant_r" in lines
    assert "Only in B: rect_fem_r" in lines
    with (files / "out.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["rms_difference"]) == pytest.approx(0.1, abs=1e-6)


def test_a_result_and_emg(command, files):
    envelope = 4.0 * (0.3 + 0.2 * np.sin(2 * np.pi * (TIME - 0.1)))
    write(files / "emg.sto", {"SOL": envelope, "other": envelope}, TIME)
    done = command("compare", "a_states.sto", "emg.sto", "--emg")
    assert "must have the muscles' names, or be given to muscles by --channels; found SOL, other" in done.stderr
    (files / "channels.csv").write_text("dataset,emg_column,muscles,standard_name\nlab,SOL,soleus_r,soleus\n")
    done = command("compare", "a_states.sto", "emg.sto", "--channels", "channels.csv", "--emg-time-offset", "0.1")
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("soleus_r"))
    # The offset makes up for the lag; the largest value is 1 where the activation has 0.5.
    assert row.split()[-1] == "+1.00"
    assert float(row.split()[2]) == pytest.approx(2 * float(row.split()[1]), abs=0.01)


def test_what_lies_in_a_gap_of_the_emg_is_not_compared(command, files):
    wave = 0.3 + 0.2 * np.sin(2 * np.pi * TIME)
    there = (TIME < 0.3) | (TIME > 0.6)
    write(files / "gap.sto", {"soleus_r": wave[there]}, TIME[there])
    write(files / "whole.sto", {"soleus_r": np.where(there, 0.5 * wave, np.nan)}, TIME)
    for name in ("gap.sto", "whole.sto"):
        done = command("compare", "a_states.sto", name, "--emg")
        assert done.returncode == 0, done.stderr
        assert f"{name}: 'soleus_r' has gaps: 0.290 to 0.610 s. What lies in them is left out." in done.stderr
        assert "soleus_r: 31 of 101 rows lie in gaps" in done.stderr
        row = next(line for line in done.stdout.splitlines() if line.startswith("soleus_r"))
        assert float(row.split()[1]) == pytest.approx(wave[there].mean(), abs=1e-3)
    write(files / "huge.sto", {"soleus_r": 1e300 * wave})
    done = command("compare", "a_states.sto", "huge.sto", "--emg")
    assert (done.returncode, done.stdout) == (1, "")
    assert "EMG must be numbers of at most 1e+12, whatever its unit" in done.stderr
    assert "RuntimeWarning" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a_states.sto", "none.sto"), "none.sto: there is no such file or directory."),
        (("a_states.sto", "."), "must hold one '<name>_activation.sto'; found none"),
        (("a_states.sto", "b", "--muscles", "tib_ant_r"), "Not in both files: tib_ant_r."),
        (("a_states.sto", "b", "--final-time", "0.1"), "There is no time to compare"),
    ],
)
def test_what_cannot_be_compared_is_said(command, files, words, message):
    done = command("compare", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_times_that_are_no_numbers(command, files):
    for flag in ("--emg-time-offset", "--initial-time"):
        done = command("compare", "a_states.sto", "b", flag, "nan")
        assert done.returncode == 2
        assert f"argument {flag}: a" in done.stderr
        assert "number is needed, but 'nan' was found" in done.stderr


def test_a_bundle_is_described(command):
    done = command("info", "gait")
    assert done.returncode == 0
    bundle = Bundle.load("gait")
    assert f"sha256: {bundle.sha256}" in done.stdout
    assert f"trained on: {bundle.trained_on}" in done.stdout.replace("\n    ", " ")
    soleus = next(line for line in done.stdout.splitlines() if line.startswith("soleus "))
    figures = bundle.metadata["validation"]["leave_one_subject_out"]["soleus"]
    assert f"{figures['E_refined']:.3f}" in soleus.split()
    done = command("info", "none.safetensors")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no such bundle" in done.stderr


def test_what_is_cited_is_what_citation_cff_says(command, repository):
    text = (repository / "CITATION.cff").read_text()
    done = command.start("cite", "gait")
    assert done.returncode == 0
    dois = {line.split()[-1] for line in text.splitlines() if line.strip().startswith("doi:")}
    assert len(dois) == 2
    for doi in dois:
        assert done.stdout.count(doi) == 2
    assert Bundle.load("gait").metadata["data"]["attribution"] in done.stdout
    done = command("cite", "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nope" in done.stderr


def test_the_table_never_replaces_what_is_compared(files, command):
    path = files / "a_states.sto"
    before = path.read_bytes()
    done = command("compare", "a_states.sto", "b", "--csv", "a_states.sto")
    assert done.returncode == 1
    assert "would replace a file that is compared" in done.stderr
    assert path.read_bytes() == before


def test_emg_without_its_flag_is_asked_about(command, files):
    (files / "b" / "walk_activation.sto").rename(files / "walk_EMG.sto")
    done = command("compare", "a_states.sto", "walk_EMG.sto")
    assert done.returncode == 0
    assert (
        done.stderr
        == "[warn] 'walk_EMG.sto' seems to hold EMG: with --emg each channel is divided by its maximum, and --channels "
        "gives it to muscles.\n"
    )
