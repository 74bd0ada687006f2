"""The header that OpenSim 4.6 overwrites: recovered, and repaired in place."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from opensim_nem2e.errors import LabelError, StorageError
from opensim_nem2e.storage import read_storage, repair_file
from opensim_nem2e.storage.header import header_text

STALE = b"UNKNOWN\nversion=1\nnRows=0\nnColumns=1\ninDegrees=no\nendheader\ntime\n"

GAIT = (
    "/jointset/ground_pelvis/pelvis_tilt/value",
    "/jointset/ground_pelvis/pelvis_tilt/speed",
    "/jointset/knee_r/knee_angle_r/value",
    "/jointset/knee_r/knee_angle_r/speed",
    "/forceset/soleus_r/activation",
    "/forceset/soleus_r/fiber_length",
)
SHORT = ("q", "q_u", "ab", "ab_u", "soleus_r.activation")
SETS = {
    "gait": GAIT,
    "shortest joint": ("/jointset/j/c/value", "/jointset/j/c/speed", "/forceset/m/activation"),
    "no coordinates": ("/forceset/soleus_r/activation", "/forceset/soleus_r/fiber_length", "/forceset/a/activation"),
    "one": ("/jointset/hinge/angle/value", "/jointset/hinge/angle/speed"),
}


def healthy(name, labels, rows=3, newline="\n", in_degrees=False):
    """Return a file as OpenSim writes it, and its rows alone."""
    body = "".join(
        "\t".join(f"{row * 0.01 + column * 7:16.8f}" for column in range(len(labels) + 1)) + newline
        for row in range(rows)
    ).encode()
    head = header_text(name, rows, len(labels) + 1, in_degrees, newline=newline)
    return (head + "\t".join(("time", *labels)) + newline).encode() + body, body


def overwrite(content):
    """Do to a file what OpenSim 4.6 does when its process ends."""
    stale = STALE.replace(b"\n", b"\r\n") if b"\r\n" in content[:200] else STALE
    return stale + content[len(stale) :]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("labels", SETS.values(), ids=SETS)
@pytest.mark.parametrize("rows", [3, 12])
def test_every_length_of_the_header(tmp_path, labels, newline, rows):
    model = tmp_path / "model" / "sibling_states.sto"
    model.parent.mkdir()
    model.write_bytes(healthy("sibling", labels, rows)[0])
    for length in range(1, 81):
        name = "n" * length
        content, body = healthy(name, labels, rows, newline)
        path = tmp_path / f"{name}_states.sto"
        path.write_bytes(overwrite(content))
        # A truncated label that its neighbours do not explain needs the sibling; all else does without.
        series = read_storage(path, sibling=model if labels[0].startswith("/forceset") else None)
        assert series.labels == labels, length
        assert series.name == name
        report = repair_file(path, sibling=model)
        assert report.repaired
        # Exactly the file that OpenSim would have left.
        assert path.read_bytes() == content
        assert path.read_bytes().endswith(body)
        assert not repair_file(path).repaired
        path.unlink()


@pytest.mark.parametrize("how", ["sibling", "beside"])
def test_labels_too_short_for_opensim4(tmp_path, how):
    # No label has a path: whether the first one is whole, only another file can tell.
    other = tmp_path / ("other.sto" if how == "beside" else "other.txt")
    other.write_bytes(healthy("other", SHORT)[0])
    for length in range(30):
        content, _ = healthy("n" * length, SHORT)
        path = tmp_path / f"{'n' * length}_states.sto"
        path.write_bytes(overwrite(content))
        series = read_storage(path, sibling=other if how == "sibling" else None)
        assert series.labels == SHORT, length
        path.unlink()


def test_a_label_that_cannot_be_recovered(tmp_path):
    for labels, message in (
        (SETS["no coordinates"], "The first label was cut: 'rceset/soleus_r/activation' is left of it"),
        (("alpha", "beta", "gamma"), "whether the first label '.*' is whole cannot be told"),
        (SHORT, "The first 2 labels were overwritten: '' is left of the last of them"),
    ):
        content, _ = healthy("x" * (4 if labels[0].startswith("/") else 2), labels)
        path = tmp_path / "x_states.sto"
        damaged = overwrite(content)
        path.write_bytes(damaged)
        with pytest.raises(LabelError, match=message) as error:
            repair_file(path)
        assert "opensim-nem2e repair --model MODEL.osim" in str(error.value)
        assert path.read_bytes() == damaged
        # A sibling of another model is of no help.
        other = tmp_path / "other.dat"
        other.write_bytes(healthy("other", SETS["one"])[0])
        with pytest.raises(LabelError, match=r"looked in '.*other\.dat'"):
            repair_file(path, sibling=other)


def test_the_real_damage(shared_fixtures, shared_data, tmp_path):
    folder = shared_fixtures / "opensim46_headers"
    references = shared_data / "opensim_pipelines" / "reference_cmc"
    expected = {
        "arm26": folder / "healthy" / "arm26_states.sto",
        "x": folder / "healthy" / "arm26_states.sto",
        "gait10dof18_walk_subject": references / "gait10dof18musc_walk_states.sto",
        "hamner_subject02": references / "hamner_subject02_running_states.sto",
        "runningModel_CMC_test": references / "runningModel_states.sto",
    }
    seen = 0
    for source in sorted((folder / "corrupted").glob("*.sto")):
        path = tmp_path / source.name
        shutil.copyfile(source, path)
        before = path.read_bytes()
        report = repair_file(path)
        assert report.repaired
        name = source.stem.removesuffix("_states")
        lines = path.read_bytes().split(b"\n")
        assert lines[:6] == [
            name.encode(),
            b"version=1",
            f"nRows={report.n_rows}".encode(),
            f"nColumns={report.n_columns}".encode(),
            b"inDegrees=no",
            b"endheader",
        ]
        body = b"\n".join(lines[7:])
        assert before.endswith(b"\n" + body)
        assert report.n_rows == body.count(b"\n")
        series = read_storage(path)
        assert series.labels[:2] == tuple(series.labels[0].replace("value", kind) for kind in ("value", "speed"))
        np.testing.assert_array_equal(series.data, read_storage(source).data)
        if name in expected:
            assert series.labels == read_storage(expected[name]).labels
        assert not repair_file(path).repaired
        seen += 1
    assert seen == 7


def test_repaired_files_open_in_opensim(shared_fixtures, tmp_path):
    opensim = pytest.importorskip("opensim")
    opensim.Logger.setLevelString("off")
    for source in sorted((shared_fixtures / "opensim46_headers" / "corrupted").glob("*.sto")):
        path = tmp_path / source.name
        shutil.copyfile(source, path)
        report = repair_file(path)
        storage = opensim.Storage(str(path))
        series = read_storage(path)
        assert storage.getSize() == series.n_rows
        assert storage.getColumnLabels().getSize() == report.n_columns
        if series.n_rows == report.n_rows:  # TimeSeriesTable refuses a repeated time.
            table = opensim.TimeSeriesTable(str(path))
            assert list(table.getColumnLabels()) == list(series.labels)


def test_the_model_tells_a_truncated_label(shared_fixtures, tmp_path):
    folder = shared_fixtures / "opensim46_headers"
    labels = read_storage(folder / "healthy" / "arm26_states.sto").labels[4:]
    content, _ = healthy("x", labels)
    path = tmp_path / "x_states.sto"
    path.write_bytes(overwrite(content))
    assert read_storage(path, model=folder / "healthy" / "arm26.osim").labels == labels
    report = repair_file(path, model=folder / "healthy" / "arm26.osim")
    assert "arm26.osim" in str(report)
    assert path.read_bytes() == content


def test_counts_are_corrected_and_nothing_else(tmp_path):
    content, body = healthy("trial", GAIT)
    path = tmp_path / "file.sto"
    for damaged, expected, changes in (
        (content.replace(b"nRows=3", b"nRows=999"), content, ("nRows was 999",)),
        (content.replace(b"nColumns=7", b"nColumns = 8 "), content.replace(b"nColumns=7", b"nColumns = 7 "), None),
        (content.replace(b"nRows=3\n", b""), None, ("nRows was missing",)),
        (content.replace(b"nRows=3\n", b"").replace(b"endheader", b"EndHeader=1"), None, ("nRows was missing",)),
        (content.replace(b"nRows=3\nnColumns=7\n", b""), None, ("nRows was missing", "nColumns was missing")),
    ):
        path.write_bytes(damaged)
        report = repair_file(path)
        assert report.repaired
        if changes:
            assert report.changes == changes
        if expected:
            assert path.read_bytes() == expected
        assert path.read_bytes().endswith(body)
        assert not repair_file(path).repaired
        assert read_storage(path).notes == ()


def test_healthy_files_are_left_alone(tmp_path):
    for content in (
        healthy("trial", GAIT)[0],
        healthy("trial", GAIT, newline="\r\n")[0],
        b"version=3\nDataType=double\nendheader\ntime\ta\n0\t1\n",
        # An empty name, and a storage that really has no column but time.
        b"UNKNOWN\nversion=1\nnRows=2\nnColumns=1\ninDegrees=no\nendheader\ntime\n0.0\n0.1\n",
    ):
        path = tmp_path / "file.sto"
        path.write_bytes(content)
        os.utime(path, (1, 1))
        report = repair_file(path)
        assert not report.repaired
        assert str(report).startswith(f"{path}: the header is healthy, left alone")
        assert path.stat().st_mtime == 1
        assert path.read_bytes() == content


def test_damaged_rows_are_not_touched(tmp_path):
    content = overwrite(healthy("trial", GAIT)[0]) + b"1.0\t2.0\n"
    path = tmp_path / "file.sto"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="The row has 2 values, but there are 7"):
        repair_file(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_mode_and_link_survive(tmp_path):
    real = tmp_path / "real.sto"
    real.write_bytes(overwrite(healthy("trial", GAIT)[0]))
    real.chmod(0o640)
    link = tmp_path / "link_states.sto"
    link.symlink_to(real)
    report = repair_file(link)
    assert report.name == "link"
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert read_storage(real).labels == GAIT


def test_a_stale_header_without_rows(tmp_path):
    path = tmp_path / "file.sto"
    path.write_bytes(STALE)
    with pytest.raises(StorageError, match="no rows of numbers"):
        read_storage(path)
    path.write_bytes(STALE + b"endheader\ntime\ta\n")
    with pytest.raises(StorageError, match="no row of numbers follows"):
        read_storage(path)
    path.write_bytes(STALE + b"endheader\nbad\ta\n0.0\t1\n")
    with pytest.raises(StorageError, match="does not begin with 'time' but with 'bad'"):
        read_storage(path)
    path.write_bytes(STALE + b"a\tb\tc\td\n0.0\t1\n")
    with pytest.raises(StorageError, match="do not fit the 2 values"):
        read_storage(path)
