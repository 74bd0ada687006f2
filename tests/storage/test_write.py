"""Writing storage files: OpenSim's own header and numbers, and columns passed through as text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import LabelError, MissingFileError, StorageError
from opensim_nem2e.storage import TimeSeries, read_storage, rewrite_columns, write_storage

LABEL = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
VALUE = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def series_strategy(draw):
    labels = draw(st.lists(LABEL, max_size=4, unique=True))
    rows = draw(st.integers(1, 5))
    steps = draw(st.lists(st.floats(1e-9, 1.0), min_size=rows, max_size=rows))
    data = draw(st.lists(st.lists(VALUE, min_size=len(labels), max_size=len(labels)), min_size=rows, max_size=rows))
    return TimeSeries(
        time=np.cumsum(steps) + draw(st.floats(-10, 10)),
        labels=labels,
        data=np.array(data).reshape(rows, len(labels)),
        name=draw(st.text(max_size=20)),
        in_degrees=draw(st.booleans()),
        description=draw(st.sampled_from(["", "One line", "Two lines\n\nof text"])),
    )


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(series=series_strategy(), precision=st.integers(1, 20))
def test_what_is_written_reads_back(tmp_path, series, precision):
    path = tmp_path / "series.sto"
    try:
        write_storage(path, series, precision=precision)
    except StorageError:
        # Times whose difference no number of digits shows.
        assert not (np.diff(series.time) > 0).all()
        return
    back = read_storage(path)
    assert back.notes == ()
    assert back.labels == series.labels
    assert back.in_degrees == series.in_degrees
    assert back.description == series.description
    assert back.header["nRows"] == str(series.n_rows)
    np.testing.assert_allclose(back.data, series.data, rtol=1e-15, atol=0.51 * 10.0**-precision)
    np.testing.assert_allclose(back.time, series.time, rtol=1e-15, atol=0.51 * 10.0**-precision)
    # What was read is written again to the same bits.
    again = tmp_path / "again.sto"
    write_storage(again, back, precision=precision)
    np.testing.assert_array_equal(read_storage(again).data, back.data)


def test_no_zero_is_negative(tmp_path):
    values = np.array([[-0.0, -1e-9], [-4e-5, -6e-5]])
    series = TimeSeries(np.array([0.0, 1.0]), ("a", "b"), values)
    write_storage(tmp_path / "a.sto", series, precision=4)
    assert "-0.0000" not in (tmp_path / "a.sto").read_text()
    assert read_storage(tmp_path / "a.sto").data.tolist() == [[0.0, 0.0], [0.0, -0.0001]]
    read = read_storage(tmp_path / "a.sto")
    rewrite_columns(read, {"b": np.array([-1e-9, 0.5])}, tmp_path / "b.sto", name="b", precision=4)
    assert "-0.0000" not in (tmp_path / "b.sto").read_text()


def test_layout_is_opensims(tmp_path):
    path = tmp_path / "walk.sto"
    series = TimeSeries([0.43, 0.5], ["/forceset/soleus_r/activation", "a"], [[0.02, -1.5], [123456.75, np.pi]], "walk")
    write_storage(path, series)
    assert path.read_bytes() == (
        b"walk\nversion=1\nnRows=2\nnColumns=3\ninDegrees=no\nendheader\n"
        b"time\t/forceset/soleus_r/activation\ta\n"
        b"      0.43000000\t      0.02000000\t     -1.50000000\n"
        b"      0.50000000\t 123456.75000000\t      3.14159265\n"
    )
    write_storage(path, series, precision=20)
    assert path.read_text().splitlines()[7].startswith("      0.42999999999999999334\t      0.0200000000")


def test_opensim_reads_what_is_written(tmp_path):
    opensim = pytest.importorskip("opensim")
    opensim.Logger.setLevelString("off")
    rng = np.random.default_rng(1)
    series = TimeSeries(
        # Steps that eight digits cannot tell apart.
        np.cumsum(rng.uniform(1e-9, 2e-3, 50)),
        [f"/forceset/m{i}/activation" for i in range(4)],
        rng.normal(size=(50, 4)),
        "trial",
        in_degrees=True,
        description="Angles are in degrees.",
    )
    path = tmp_path / "out.sto"
    write_storage(path, series)
    table = opensim.TimeSeriesTable(str(path))
    assert list(table.getColumnLabels()) == list(series.labels)
    np.testing.assert_array_equal(table.getMatrix().to_numpy(), read_storage(path).data)
    storage = opensim.Storage(str(path))
    assert storage.getSize() == 50
    assert storage.isInDegrees()
    columns = dict(zip(series.labels[:3], "xyz", strict=True))
    rewrite_columns(read_storage(path), {series.labels[1]: np.zeros(50)}, path, name="again", columns=columns)
    assert opensim.Storage(str(path)).getSize() == 50
    assert opensim.TimeSeriesTable(str(path)).getColumnLabels() == ("x", "y", "z")


@pytest.mark.parametrize("name", ["", "a = b", "endheader", "nr 5", "name", "version=3", "two\nlines", "é"])
def test_no_name_breaks_the_header(tmp_path, name):
    opensim = pytest.importorskip("opensim")
    opensim.Logger.setLevelString("off")
    path = tmp_path / "out.sto"
    write_storage(path, TimeSeries([0, 1], ["a"], [[1], [2]], name))
    series = read_storage(path)
    assert (series.notes, series.n_rows, series.header["version"]) == ((), 2, "1")
    assert opensim.TimeSeriesTable(str(path)).getNumRows() == 2
    assert opensim.Storage(str(path)).getSize() == 2


def test_times_stay_apart(tmp_path):
    series = TimeSeries([0.1, 0.1 + 3e-10, 0.2], ["a"], [[1], [2], [3]])
    path = tmp_path / "close.sto"
    write_storage(path, series, precision=8)
    assert (np.diff(read_storage(path).time) > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a\tb"]}, "A label must be text without tabs"),
        ({"labels": [""]}, "A label must be text without tabs"),
        ({"labels": [" a"]}, "A label must be text without tabs"),
        ({"time": [0, 0]}, "strictly increasing times"),
        ({"time": [1, 0]}, "strictly increasing times"),
        ({"time": [0, np.nan]}, "strictly increasing times"),
        ({"precision": 0}, "precision must be a whole number from 1 to 30"),
        ({"precision": 8.5}, "precision must be a whole number from 1 to 30"),
    ],
)
def test_what_cannot_be_written(tmp_path, change, message):
    values = {"time": [0, 1], "labels": ["a"], "precision": 8} | change
    series = TimeSeries(values["time"], values["labels"], [[1], [2]])
    with pytest.raises(StorageError, match=message):
        write_storage(tmp_path / "a.sto", series, precision=values["precision"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    series = TimeSeries([0], ["a"], [[1]])
    with pytest.raises(StorageError, match="cannot be written"):
        write_storage(tmp_path / "none" / "a.sto", series)


SOURCE = (
    "CMC\nversion=1\nnRows=4\nnColumns=4\ninDegrees=no\n\nNotes.\n\nendheader\n"
    "time\ta\tb\tc\n"
    " 0.0\t1.00000000000000000001\t  -2e-300\tnan\n"
    " 0.1\t3\t+4\t5\n"
    " 0.1\t9\t9\t9\n"
    "\n"
    " 0.3\t.25\t\t7.\n"
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_other_columns_keep_their_text(tmp_path, newline):
    source = tmp_path / "in.sto"
    source.write_bytes(SOURCE.replace("\n", newline).encode())
    series = read_storage(source)
    out = tmp_path / "out.sto"
    new = np.array([0.5, 1 / 3, -2])
    rewrite_columns(series, {"b": new}, out, name="refined")
    assert out.read_bytes() == (
        b"refined\nversion=1\nnRows=3\nnColumns=4\ninDegrees=no\n\nNotes.\n\nendheader\n"
        b"time\ta\tb\tc\n"
        b" 0.0\t1.00000000000000000001\t      0.50000000\tnan\n"
        b" 0.1\t3\t      0.33333333\t5\n"
        b" 0.3\t.25\t     -2.00000000\t7.\n"
    )
    # Masked rows keep their text; some columns only, under other labels, without the free text.
    masked = np.ma.array(new, mask=[True, False, True])
    rewrite_columns(series, {"b": masked}, out, name="some", columns={"c": "z", "b": "y"}, description="")
    assert out.read_bytes() == (
        b"some\nversion=1\nnRows=3\nnColumns=3\ninDegrees=no\nendheader\n"
        b"time\tz\ty\n"
        b" 0.0\tnan\t  -2e-300\n"
        b" 0.1\t5\t      0.33333333\n"
        b" 0.3\t7.\tnan\n"
    )
    # A part of the rows.
    part = series.window(0.1, 0.2)
    rewrite_columns(part, {"b": [7.0]}, out, name="part", precision=2)
    assert out.read_bytes().splitlines()[-1] == b" 0.1\t3\t      7.00\t5"
    # In place.
    rewrite_columns(series, {"a": np.zeros(3)}, source, name="same")
    np.testing.assert_array_equal(read_storage(source).column("a"), [0, 0, 0])


def test_blanks_between_values(tmp_path):
    source = tmp_path / "in.sto"
    source.write_text("endheader\ntime a b\n0 1 2\n   1\t3 4  \n")
    rewrite_columns(read_storage(source), {"a": [5.0, 6.0]}, tmp_path / "out.sto", name="x", precision=1)
    assert (tmp_path / "out.sto").read_text().splitlines()[-2:] == ["0\t      5.0\t2", "1\t      6.0\t4"]


@pytest.mark.parametrize("ragged", [None, 0, 2500, 4999])
def test_rows_of_even_cells_are_rewritten_as_others(tmp_path, ragged):
    # OpenSim's own rows go another way than those whose cells differ in width: the text is the same.
    rng = np.random.default_rng(0)
    rows = [[f"{0.001 * row:16.8f}", *(f"{value:16.8f}" for value in rng.normal(size=3))] for row in range(5000)]
    if ragged is not None:
        rows[ragged][2] = "0.5"
    source = tmp_path / "in.sto"
    source.write_text("x\nendheader\ntime\ta\tb\tc\n" + "".join("\t".join(row) + "\n" for row in rows))
    new, mask = rng.normal(size=5000), rng.random(5000) < 0.5
    changes = {"a": np.ma.array(new, mask=mask), "c": -new}
    for columns in (None, {"c": "z", "a": "y"}):
        out = tmp_path / "out.sto"
        rewrite_columns(read_storage(source), changes, out, name="y", precision=8, columns=columns)
        expected = []
        for row, value, kept in zip(rows, new, mask, strict=True):
            a, c = row[1] if kept else f"{value:16.8f}", f"{-value:16.8f}"
            expected.append("\t".join([row[0], a, row[2], c] if columns is None else [row[0], c, a]))
        assert out.read_text().splitlines()[-5000:] == expected


def test_a_healed_file_is_rewritten_healthy(shared_fixtures, tmp_path):
    folder = shared_fixtures / "opensim46_headers"
    for source in sorted((folder / "corrupted").glob("*.sto")):
        series = read_storage(source)
        label = series.labels[-1]
        path = tmp_path / source.name
        rewrite_columns(series, {label: np.full(series.n_rows, 0.25)}, path, name="refined")
        back = read_storage(path)
        assert back.notes == ()
        assert back.labels == series.labels
        np.testing.assert_array_equal(back.data[:, :-1], series.data[:, :-1])
        np.testing.assert_array_equal(back.column(label), np.full(series.n_rows, 0.25))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rewriting_is_bit_identical_elsewhere(tmp_path, data):
    columns = data.draw(st.integers(2, 5))
    text = st.one_of(VALUE.map(repr), VALUE.map(lambda value: f"{value:28.20f}"), st.just(" 1e-320"))
    rows = data.draw(st.lists(st.lists(text, min_size=columns, max_size=columns), min_size=1, max_size=4))
    labels = [f"c{index}" for index in range(columns)]
    source = tmp_path / "source.sto"
    body = "".join("\t".join([str(row), *cells]) + "\n" for row, cells in enumerate(rows))
    source.write_text("x\nversion=1\nendheader\n" + "\t".join(["time", *labels]) + "\n" + body)
    series = read_storage(source)
    chosen = data.draw(st.sets(st.sampled_from(labels)))
    out = tmp_path / "out.sto"
    rewrite_columns(series, {label: np.zeros(series.n_rows) for label in chosen}, out, name="y", precision=3)
    back = read_storage(out)
    for label in labels:
        expected = np.zeros(series.n_rows) if label in chosen else series.column(label)
        np.testing.assert_array_equal(back.column(label), expected)


def test_rewriting_refuses(tmp_path):
    source = tmp_path / "in.sto"
    source.write_text(SOURCE)
    series = read_storage(source)
    out = tmp_path / "out.sto"
    with pytest.raises(LabelError, match=r"There is no column 'bb'\. Did you mean 'b'"):
        rewrite_columns(series, {"bb": np.zeros(3)}, out, name="x")
    with pytest.raises(StorageError, match=r"column 'b' needs 3 values, but has the shape \(4,\)"):
        rewrite_columns(series, {"b": np.zeros(4)}, out, name="x")
    with pytest.raises(LabelError, match="There is no column 'd'"):
        rewrite_columns(series, {}, out, name="x", columns={"d": "e"})
    with pytest.raises(StorageError, match="read from a file"):
        rewrite_columns(TimeSeries([0], ["a"], [[1]]), {}, out, name="x")
    for changed in (SOURCE.replace(" 0.3\t", " 0.4\t"), SOURCE[: SOURCE.rindex(" 0.3")], SOURCE.replace("\t5\n", "\n")):
        source.write_text(changed)
        with pytest.raises(StorageError, match="has changed since it was read"):
            rewrite_columns(series, {}, out, name="x")
    source.unlink()
    with pytest.raises(MissingFileError):
        rewrite_columns(series, {}, out, name="x")
    assert not out.exists()


def test_no_time_is_a_negative_zero(tmp_path):
    write_storage(tmp_path / "a.sto", TimeSeries(np.array([-0.0, 0.005]), ("a",), np.zeros((2, 1))))
    write_storage(tmp_path / "b.sto", TimeSeries(np.array([-1e-12, 0.005]), ("a",), np.zeros((2, 1))))
    for name in ("a.sto", "b.sto"):
        assert "-0.0" not in (tmp_path / name).read_text()
