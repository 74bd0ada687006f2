"""Marker files, against OpenSim's own reader."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from opensim_nem2e.errors import LabelError, StorageError
from opensim_nem2e.storage.trc import read_trc

OPENSIM = """
import json, sys, opensim
opensim.Logger.setLevelString("off")
table = opensim.TimeSeriesTableVec3(sys.argv[1])
labels = list(table.getColumnLabels())
rows = [0, 7, table.getNumRows() - 1]
found = [[[table.getRowAtIndex(r)[c].get(k) for k in range(3)] for c in range(len(labels))] for r in rows]
units = table.getTableMetaDataString("Units")
print(json.dumps([labels, [table.getIndependentColumn()[r] for r in rows], found, units]))
"""


@pytest.mark.parametrize(
    "file",
    [
        "walk_3d_example/markers_walk.trc",
        "opensim_pipelines/Hamner/subject02_running.trc",
        "opensim_pipelines/Gait2354_Simbody/subject01_walk1.trc",
    ],
)
def test_as_opensim_reads_it(shared_data, file):
    path = shared_data / file
    done = subprocess.run([sys.executable, "-c", OPENSIM, str(path)], capture_output=True, text=True, check=True)
    labels, times, positions, unit = json.loads(done.stdout.splitlines()[-1])
    markers = read_trc(path)
    assert unit == "mm"
    assert list(markers.names) == labels
    rows = [0, 7, markers.time.size - 1]
    assert markers.time[rows] == pytest.approx(times)
    # A marker at the very origin was not seen.
    seen = np.array(positions)
    seen[(seen == 0.0).all(axis=2)] = np.nan
    assert np.allclose(1e3 * markers.positions[rows], seen, equal_nan=True)


HEAD = "PathFileType\t4\t(X/Y/Z)\ta.trc\nDataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n100\t100\t2\t2\t{unit}\n"
NAMES = "Frame#\tTime\tR.Heel\t\t\tL.Heel\t\t\n\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n\n"


def test_gaps_and_units(tmp_path):
    path = tmp_path / "a.trc"
    path.write_text(HEAD.format(unit="m") + NAMES + "1\t0.0\t1\t2\t3\t4\t5\t6\n2\t0.01\t\t\t\t4\t5\t6\n")
    markers = read_trc(path)
    assert markers.position("L.Heel").tolist() == [[4.0, 5.0, 6.0]] * 2
    assert markers.position("R.Heel")[0].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(markers.position("R.Heel")[1]).all()
    with pytest.raises(LabelError, match=r"no marker 'R\.Heal'\. Did you mean 'R\.Heel'\?"):
        markers.position("R.Heal")
    path.write_text(HEAD.format(unit="inch") + NAMES + "1\t0.0\t1\t2\t3\t4\t5\t6\n")
    with pytest.raises(StorageError, match="must be one of mm, cm, m; found 'inch'"):
        read_trc(path)
    path.write_text(HEAD.format(unit="mm") + NAMES + "1\t0.0\t1\tx\t3\t4\t5\t6\n")
    with pytest.raises(StorageError, match=r"a\.trc:7: A row must hold numbers"):
        read_trc(path)
    path.write_text(HEAD.format(unit="mm") + NAMES + "1\t0.1\t1\t1\t3\t4\t5\t6\n2\t0.1\t1\t1\t3\t4\t5\t6\n")
    with pytest.raises(StorageError, match="Time must increase"):
        read_trc(path)
    path.write_text("nothing")
    with pytest.raises(StorageError, match="must begin with 'PathFileType'"):
        read_trc(path)


def test_markers_at_the_origin_were_not_seen(tmp_path, caplog):
    path = tmp_path / "a.trc"
    path.write_text(HEAD.format(unit="mm") + NAMES + "1\t0.0\t0\t0\t0\t0\t5\t0\n2\t0.01\t1\t2\t3\t4\t5\t6\n")
    with caplog.at_level("INFO", logger="opensim_nem2e"):
        markers = read_trc(path)
    assert np.isnan(markers.position("R.Heel")[0]).all()
    assert markers.position("L.Heel")[0].tolist() == [0.0, 0.005, 0.0]
    assert "the marker 'R.Heel' is at 0 0 0 in 1 rows: taken for missing" in caplog.text


@pytest.mark.parametrize("separated", ["head", "rows", "all"])
def test_blanks_for_tabs(tmp_path, separated):
    path = tmp_path / "a.trc"
    head, rows = HEAD.format(unit="m") + NAMES, "1\t0.0\t1\t2\t3\t4\t5\t6\n2\t0.01\t1\t2\t3\t4\t5\t6\n"
    head = head if separated == "rows" else head.replace("\t", " ")
    path.write_text(head + (rows if separated == "head" else rows.replace("\t", " ")))
    markers = read_trc(path)
    assert markers.names == ("R.Heel", "L.Heel")
    assert markers.positions[1].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        ("Frame#\tTime\tA\t\t\tA\t\t\n\n\n", "1\t0.0\t1\t2\t3\t4\t5\t6\n", r"a\.trc:4: The marker 'A' appears 2 times"),
        ("Frame#\tTime\tA\t\t\n\n\n", "1\t0.0\t1\t2\t3\n", "as many names of markers as 'NumMarkers' says, 2; found 1"),
        (NAMES, "1\t\t1\t2\t3\t4\t5\t6\n", r"a\.trc:7: Every row must have a time"),
        (NAMES, "1\tnan\t1\t2\t3\t4\t5\t6\n", "Every row must have a time"),
        (NAMES, "1\t0.0\t1\t2\t3\t4\t5\t6\t7\n", "3 numbers for each of 2 markers; found more"),
        (NAMES, "1 0.0 1 2 3 4 5\n", "separated by blanks must have 3 numbers for each of 2 markers; found 5"),
        (NAMES, "1\t0.0\t1_0\t2\t3\t4\t5\t6\n", "must hold numbers"),
        (NAMES, "1\t0.0\t\u0661\t2\t3\t4\t5\t6\n", "must hold numbers"),
        (NAMES, "1\t0.0\tinf\t2\t3\t4\t5\t6\n", "Positions must be finite"),
    ],
)
def test_damaged_marker_files(tmp_path, names, rows, message):
    path = tmp_path / "a.trc"
    path.write_text(HEAD.format(unit="mm") + names + rows)
    with pytest.raises(StorageError, match=message):
        read_trc(path)


def test_a_recording_is_no_marker_file(tmp_path):
    (tmp_path / "walk.trc").write_bytes(b"\x02P\x1e\x01\xf0\x00")
    with pytest.raises(StorageError, match=r"five lines before its rows\. It is a C3D"):
        read_trc(tmp_path / "walk.trc")
