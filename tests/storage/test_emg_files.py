"""Recordings of EMG in every kind of file."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from c3d_maker import write_c3d

from opensim_nem2e.errors import MissingFileError, StorageError
from opensim_nem2e.storage import TimeSeries, write_storage
from opensim_nem2e.storage.emg_files import read_emg

pytest.importorskip("ezc3d")


TIME = np.arange(500) / 1000.0
WAVE = np.sin(2.0 * np.pi * 60.0 * TIME)


def test_c3d_units_names_and_sub_frames(tmp_path):
    path = write_c3d(
        tmp_path / "walk.c3d",
        {
            "Voltage.Soleus": ("V", 1e-3 * WAVE),
            "Voltage.TibAnt": ("mV", 0.5 * WAVE),
            "Voltage.RectFem": ("uV", 200.0 * WAVE),
            "Force.Fz1": ("N", 700.0 * WAVE),
            "Plate1": ("V", 5.0 * WAVE),
        },
        plate=["Plate1"],
    )
    series = read_emg(path)
    assert series.labels == ("Voltage.Soleus", "Voltage.TibAnt", "Voltage.RectFem")
    # Ten analog samples per video frame, one after the other.
    assert series.time == pytest.approx(TIME)
    # All in mV; C3D stores 4-byte floats.
    for label, size in zip(series.labels, (1.0, 0.5, 0.2), strict=True):
        assert series.column(label) == pytest.approx(size * WAVE, abs=1e-6)


def test_c3d_that_was_cut_out_of_a_longer_recording(tmp_path, caplog):
    path = write_c3d(tmp_path / "cut.c3d", {"EMG1": ("V", WAVE)}, first_frame=250)
    with caplog.at_level(logging.INFO, logger="opensim_nem2e"):
        assert read_emg(path).time[0] == 0.0
    assert "first frame is number 251 (2.5000 s into the recording); its time starts at 0.0000 s" in caplog.text
    assert read_emg(path, c3d_start="first_frame").time[:2] == pytest.approx([2.5, 2.501])


def test_c3d_without_emg(tmp_path):
    path = write_c3d(tmp_path / "force.c3d", {"Fz": ("N", WAVE)})
    with pytest.raises(StorageError, match=r"found Fz \(N\)"):
        read_emg(path)
    (tmp_path / "text.c3d").write_text("no c3d")
    with pytest.raises(StorageError, match="cannot be read as a C3D file"):
        read_emg(tmp_path / "text.c3d")


def test_tables(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Time (ms), R SOL, R TA\n0, 1, 2\n1, 3, 4\n")
    series = read_emg(path)
    assert series.labels == ("R SOL", "R TA")
    assert series.time.tolist() == [0.0, 0.001]
    assert series.data.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert read_emg(path, sampling_rate=1000.0).time.tolist() == [0.0, 0.001]
    with pytest.raises(
        StorageError, match=r"100 Hz was given, but the table has a time column, 'Time \(ms\)', of 1000 Hz"
    ):
        read_emg(path, sampling_rate=100.0)
    # As spreadsheets of some countries write them.
    path.write_text("time;sol\n0;1.5\n0.01;2.5\n")
    assert read_emg(path).column("sol").tolist() == [1.5, 2.5]
    path.write_text("sol,ta\n1,2\n3,4\n5,6\n")
    with pytest.raises(StorageError, match="sampling rate must be given; found 'sol'"):
        read_emg(path)
    assert read_emg(path, sampling_rate=500.0).time.tolist() == [0.0, 0.002, 0.004]
    path.write_text("time,sol\n0,1\n1,off\n")
    with pytest.raises(StorageError, match="'sol' must hold numbers"):
        read_emg(path)


def test_storage_files_and_others(tmp_path):
    path = tmp_path / "a.sto"
    write_storage(path, TimeSeries(TIME, ("sol",), WAVE[:, None]))
    assert read_emg(path).column("sol") == pytest.approx(WAVE, abs=1e-8)
    with pytest.raises(StorageError, match="only be given for tables"):
        read_emg(path, sampling_rate=1000.0)
    with pytest.raises(StorageError, match=r"found '\.xls'"):
        read_emg(tmp_path / "a.xls")
    with pytest.raises(MissingFileError, match="does not exist"):
        read_emg(tmp_path / "b.c3d")
