"""Reading storage files: every header that OpenSim's readers take, and every fault with its line."""

from __future__ import annotations

import bz2
import gzip
import logging
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import LabelError, MissingFileError, ModelError, NEM2EError, StorageError
from opensim_nem2e.storage import TimeSeries, read_model, read_storage, sto
from opensim_nem2e.storage.header import HeaderLayout

HEADER = "trial\nversion=1\nnRows=2\nnColumns=3\ninDegrees=no\nendheader\n"
LABELS = "time\ta\tb\n"
ROWS = "0.0\t1.0\t2.0\n0.1\t3.0\t4.0\n"


@pytest.fixture(params=["small", "large"])
def route(request, monkeypatch):
    """Read as a small file, or as if it were a large one."""
    if request.param == "large":
        monkeypatch.setattr(sto, "PANDAS_FROM_BYTES", 0)


def write(folder, content, name="file.sto"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def check_plain(series):
    assert series.labels == ("a", "b")
    np.testing.assert_array_equal(series.time, [0.0, 0.1])
    np.testing.assert_array_equal(series.data, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "content",
    [
        HEADER + LABELS + ROWS,
        (HEADER + LABELS + ROWS).replace("\n", "\r\n"),
        (HEADER + LABELS + ROWS).rstrip("\n"),
        "\ufeff" + HEADER + LABELS + ROWS,
        HEADER + "Time\ta\tb\n" + ROWS,
        HEADER + "TIME\ta\tb\n" + ROWS,
        HEADER + "time\ta\tb\t\n" + ROWS,
        HEADER + "\n\n" + LABELS + "\n" + ROWS + "\n   \n",
        HEADER.replace("endheader", "EndHeader") + LABELS + ROWS,
        HEADER.replace("endheader", "endheader\t\t\t") + LABELS + ROWS,
        HEADER + LABELS + ROWS.replace("\n", "\t\n"),
        HEADER + "time a b\n" + ROWS.replace("\t", "  "),
        HEADER + "time   a b  \n" + "   0.0 1.0\t2.0\n .1 3 4.\n",
        HEADER + LABELS + "  0.0   1.0  2.0\n 0.1 3.0 4.0\n",
        HEADER + LABELS + "0.0\t1.0\t2.0\n0.1\t3.0e0\t+4.0E+00\n",
        "version=1\nnRows=2\nnColumns=3\nendheader\n" + LABELS + ROWS,
        "trial\nversion=1\nendheader\n" + LABELS + ROWS,
        "trial\nversion=2\nDataType=double\nOpenSimVersion=4.0\nendheader\n" + LABELS + ROWS,
        "DataType=double\nversion=3\nOpenSimVersion=4.6\nendheader\n" + LABELS + ROWS,
        "trial\nnRows = 2\nnColumns = 3\nendheader\n" + LABELS + ROWS,
        "\n\ntrial\nnr 2\nnc 3\nendheader\n" + LABELS + ROWS,
        "name trial\ndatacolumns 3\ndatarows 2\nrange 0.0 0.1\nendheader\n" + LABELS + ROWS,
        "endheader\n" + LABELS + ROWS,
    ],
)
def test_accepted_layouts(route, tmp_path, content):
    series = read_storage(write(tmp_path, content))
    check_plain(series)
    assert series.notes == ()


@pytest.mark.parametrize("name", ["a.sto", "a.mot"])
@pytest.mark.parametrize(
    ("header", "sto_degrees", "mot_degrees"),
    [
        ("x\nversion=1\nendheader\n", False, False),
        ("x\nversion=1\ninDegrees=yes\nendheader\n", True, True),
        ("x\nversion=1\ninDegrees=Y\nendheader\n", True, True),
        ("x\nversion=1\ninDegrees=NO\nendheader\n", False, False),
        ("x\nAngles are in degrees.\nendheader\n", True, True),
        ("x\nAngles are in radians.\nendheader\n", False, False),
        ("x\nendheader\n", False, True),
    ],
)
def test_degrees_as_opensim_decides(tmp_path, name, header, sto_degrees, mot_degrees):
    path = write(tmp_path, header + LABELS + ROWS, name)
    expected = mot_degrees if name.endswith("mot") else sto_degrees
    assert read_storage(path).in_degrees is expected


def test_opensim_decides_degrees_alike(tmp_path):
    opensim = pytest.importorskip("opensim")
    for name in ("a.sto", "a.mot"):
        for lines in ("version=1\n", "inDegrees=yes\n", "Angles are in degrees.\n", "Angles are in radians.\n", ""):
            text = f"x\n{lines}nRows=2\nnColumns=3\nendheader\n" + LABELS + ROWS
            path = write(tmp_path, text, name)
            if name == "a.mot" and "radians" in lines:
                continue  # OpenSim takes degrees even so; we believe the file.
            assert opensim.Storage(str(path)).isInDegrees() == read_storage(path).in_degrees, (name, lines)


def test_header_is_kept(tmp_path):
    text = (
        "My trial\nversion=1\nnRows=2\nnColumns=3\ninDegrees=yes\nSubject=S 06 = six\n\n"
        "Units are S.I. units (second, meters, Newtons, ...)\nAngles are in degrees.\n\nendheader\n"
    )
    series = read_storage(write(tmp_path, text + LABELS + ROWS))
    assert series.name == "My trial"
    assert series.header["Subject"] == "S 06 = six"
    assert series.description.splitlines() == [
        "Units are S.I. units (second, meters, Newtons, ...)",
        "Angles are in degrees.",
    ]


def test_labels_with_blanks_stay_whole_between_tabs(tmp_path):
    series = read_storage(write(tmp_path, HEADER + "time\tleft force\tright force\n" + ROWS))
    assert series.labels == ("left force", "right force")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", None, "The file is empty"),
        (b"\x00\x01\x02" * 50, None, "no OpenSim storage file"),
        (b"trial\nversion=1\n", None, "no 'endheader' line"),
        (HEADER, 7, "no row of labels"),
        (HEADER + LABELS, 7, "no rows of numbers"),
        (HEADER + "a\tb\n" + ROWS, 7, "must begin with 'time', but begins with 'a'"),
        ("x\nversion=3\nDataType=Vec3\nendheader\n" + LABELS + ROWS, 3, "Only DataType=double"),
        (HEADER + LABELS + "0.0\t1.0\t2.0\n0.1\t3.0\n", 9, "The row has 2 values, but there are 3 .* was cut off"),
        (HEADER + LABELS + "0.0\t1.0\n0.1\t3.0\t4.0\n", 8, "The row has 2 values, but there are 3"),
        (HEADER + LABELS + "0.0\t1.0\t2.0\t3.0\n0.1\t3.0\t4.0\n", 8, "The row has 4 values, but there are 3"),
        (HEADER + LABELS + "0.0\t1.0\t2.0\n\n0.1\t3.0\tx\n", 10, "column 'b' must hold numbers, but 'x' was found"),
        (HEADER + LABELS + "0.0\t1_0\t2.0\n", 8, "column 'a' must hold numbers, but '1_0'"),
        (HEADER + LABELS + "0.0\t1,5\t2.0\n", 8, "column 'a' must hold numbers, but '1,5'"),
        (HEADER + LABELS + "0.0\t0x1\t2.0\n", 8, "column 'a' must hold numbers, but '0x1'"),
        (HEADER + LABELS + "0.0\tNA\t2.0\n", 8, "column 'a' must hold numbers, but 'NA'"),
        (HEADER + LABELS + "0.0\t1.0\t2.0\nnan\t3.0\t4.0\n", 9, "time must be a finite number, but 'nan'"),
        (HEADER + LABELS + "0.0\t1.0\t2.0\n\t3.0\t4.0\n", 9, "time must be a finite number, but nothing"),
        (
            HEADER + LABELS + "0.0\t1.0\t2.0\n0.2\t1\t2\n\n0.1\t3.0\t4.0\n",
            11,
            "Time must increase .* 0.1 s follows 0.2 s",
        ),
    ],
)
def test_faults_name_file_and_line(route, tmp_path, content, line, message):
    path = write(tmp_path, content)
    with pytest.raises(StorageError, match=message) as error:
        read_storage(path)
    assert error.value.line == line
    assert str(error.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_rows_that_were_appended_again(route, tmp_path):
    rows = ["0.0\t1.0\t-nan(ind)\n", "0.1\t3.0\t4.0\n", "0.2\t5.0\t6.0\n"]
    path = write(tmp_path, HEADER + LABELS + "".join([*rows, *rows[:2], "0.3\t7.0\t8.0\n"]))
    series = read_storage(path)
    assert series.time.tolist() == [0.0, 0.1, 0.2, 0.3]
    np.testing.assert_array_equal(series.data, [[1.0, np.nan], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    assert any("2 rows have the same time as an earlier row" in note for note in series.notes)
    path = write(tmp_path, HEADER + LABELS + "".join([*rows, rows[0], "0.1\t3.0\t4.5\n"]))
    with pytest.raises(StorageError, match=r"0\.0 s follows 0\.2 s") as error:
        read_storage(path)
    assert error.value.line == 11


def test_missing_files(route, tmp_path):
    with pytest.raises(MissingFileError, match="no such storage file"):
        read_storage(tmp_path / "none.sto")
    with pytest.raises(MissingFileError, match="is a directory"):
        read_storage(tmp_path)
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_storage("a\0b.sto")


def test_warnings(route, tmp_path, caplog):
    content = HEADER + LABELS + "0.0\t1\t2\n0.1\t3\t4\n0.1\t5\t6\n0.1\t7\t8\n0.2\t9\t10\n"
    path = write(tmp_path, content)
    with caplog.at_level(logging.WARNING, "opensim_nem2e"):
        series = read_storage(path)
    np.testing.assert_array_equal(series.time, [0, 0.1, 0.2])
    np.testing.assert_array_equal(series.column("a"), [1, 3, 9])
    assert series.notes == (
        "the header says nRows=2, but there are 5 rows; all were read",
        "2 rows have the same time as the row before; the first of them is kept",
    )
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {note}." for note in series.notes]


@pytest.mark.parametrize("gap", ["nan", "NaN", "-nan", "", "   "])
def test_missing_values_matter_only_when_needed(route, tmp_path, gap):
    series = read_storage(write(tmp_path, HEADER + LABELS + f"0.0\t1\t2\n0.125\t{gap}\t4\n0.25\tnan\t5\n"))
    np.testing.assert_array_equal(series.column("b"), [2, 4, 5])
    with pytest.raises(LabelError, match=r"'a' is needed, but holds nan at time 0.125 s and at 1 later times"):
        series.select(["b", "a"])


def test_labels_that_cannot_be_used(tmp_path):
    series = read_storage(write(tmp_path, HEADER + "time\tsoleus_r\tdup\tdup\n0\t1\t2\t3\n"))
    np.testing.assert_array_equal(series.column("soleus_r"), [1])
    assert series.has("dup")
    assert not series.has("soleus_l")
    with pytest.raises(
        LabelError, match=r"file.sto: The column 'dup' is needed, but it appears 2 times \(columns 3, 4\)"
    ):
        series.column("dup")
    with pytest.raises(LabelError, match=r"no column 'soleus_l'\. Did you mean 'soleus_r'\?"):
        series.column("soleus_l")


def test_real_malformed_files(route, shared_fixtures):
    folder = shared_fixtures / "malformed_sto"
    reference = read_storage(folder / "ok_40_header.sto")
    assert reference.notes == ()
    for path in sorted(folder.glob("ok_*.sto")):
        series = read_storage(path)
        assert series.labels == reference.labels
        np.testing.assert_array_equal(series.data, reference.data)
    for name, rows, note in (
        ("nrows_too_large", 30, "nRows=9999"),
        ("nrows_too_small", 30, "nRows=5"),
        ("duplicate_time", 20, "1 row has the same time"),
    ):
        series = read_storage(folder / f"{name}.sto")
        assert series.n_rows == rows
        assert note in series.notes[0]
    for name, line, message in (
        ("truncated_last_row", 18, "The row has 7 values, but there are 155"),
        ("unordered_time", 19, "Time must increase"),
    ):
        with pytest.raises(StorageError, match=message) as error:
            read_storage(folder / f"{name}.sto")
        assert error.value.line == line
    column = "/jointset/ground_pelvis/pelvis_list/value"
    for name in ("nan_text", "empty_cell"):
        series = read_storage(folder / f"{name}.sto")
        assert series.n_rows == 20
        with pytest.raises(LabelError, match=f"'{column}' is needed, but holds nan at time 0.83138094 s"):
            series.column(column)
        series.select([label for label in series.labels if label != column])
    series = read_storage(folder / "duplicate_label.sto")
    with pytest.raises(LabelError, match="'/forceset/soleus_r/activation' is needed, but it appears 2 times"):
        series.column("/forceset/soleus_r/activation")


def test_every_real_file_reads_as_opensim_reads_it(shared_data):
    opensim = pytest.importorskip("opensim")
    opensim.Logger.setLevelString("off")
    files = sorted(path for path in shared_data.rglob("*") if path.suffix in (".sto", ".mot"))
    assert len(files) > 150
    for path in files:
        ours = read_storage(path)
        if ours.n_rows > 1000:
            continue  # The reference reader is slow; the benchmark compares a large file.
        table = opensim.TimeSeriesTable(str(path))
        assert list(ours.labels) == list(table.getColumnLabels())
        np.testing.assert_array_equal(ours.time, np.array(table.getIndependentColumn()))
        np.testing.assert_array_equal(ours.data, table.getMatrix().to_numpy())


def test_a_file_that_is_parsed_in_threads(tmp_path, monkeypatch):
    # Pandas begins threads at 5 MB.
    monkeypatch.setattr(sto, "PANDAS_FROM_BYTES", 1 << 20)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(30_000, 10))
    rows = [f"{row / 1000}" + "".join(f"\t{value!r}" for value in values) for row, values in enumerate(data.tolist())]
    head = "big\nversion=1\nnRows=30000\nnColumns=11\nendheader\ntime\t" + "\t".join("abcdefghij") + "\n"
    for newline in ("\n", "\r\n"):
        series = read_storage(write(tmp_path, (head + "\n".join(rows) + "\n").replace("\n", newline)))
        assert series.notes == ()
        np.testing.assert_array_equal(series.data, data)
        np.testing.assert_array_equal(series.time, np.arange(30_000) / 1000)
    for damage, message in (
        (rows[27_000].replace(".", ",", 2), "must hold numbers"),
        (rows[27_000].rpartition("\t")[0], "The row has 10 values, but there are 11"),
        (rows[27_000] + "\t1", "The row has 12 values, but there are 11"),
        (rows[27_000].rpartition("\t")[0] + "\tTrue", "column 'j' must hold numbers, but 'True'"),
        (rows[26_998], "Time must increase"),
    ):
        damaged = [*rows[:27_000], damage, *rows[27_001:]]
        with pytest.raises(StorageError, match=message) as error:
            read_storage(write(tmp_path, head + "\n".join(damaged)))
        assert error.value.line == 7 + 27_000


def test_time_series():
    series = TimeSeries([0, 1, 2, 3], ["a", "b"], np.arange(8).reshape(4, 2))
    assert series.n_rows == 4
    assert series.data.dtype == np.float64
    np.testing.assert_array_equal(series.window(0.5, 2).time, [1, 2])
    np.testing.assert_array_equal(series.select(["b", "a"]), [[1, 0], [3, 2], [5, 4], [7, 6]])
    frame = series.to_frame()
    assert list(frame.columns) == ["a", "b"]
    assert frame.index.name == "time"
    for time, labels, data in (([0, 1], ["a"], [[1]]), ([[0]], ["a"], [[1]]), ([0], ["a", "b"], [[1]])):
        with pytest.raises(StorageError, match="A time series with"):
            TimeSeries(time, labels, data)


def test_small_files_do_not_import_pandas(tmp_path):
    path = write(tmp_path, HEADER + LABELS + ROWS)
    code = (
        "import sys; from opensim_nem2e.storage import read_storage, rewrite_columns\n"
        f"series = read_storage({str(path)!r})\n"
        f"rewrite_columns(series, {{'a': series.time}}, {str(tmp_path / 'out.sto')!r}, name='out')\n"
        "heavy = {'pandas', 'scipy', 'torch', 'opensim', 'matplotlib', 'lxml.objectify'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def layout_of(columns, tabs=True):
    return HeaderLayout("", {}, False, "", tuple(f"c{i}" for i in range(columns - 1)), 1, 2, 0, tabs)


NUMBER = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:16.8f}"),
    st.floats(-10, 10).map(lambda value: f"{value:28.20f}"),
    st.from_regex(r"\A[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?\Z"),
)
ODD = st.one_of(
    NUMBER,
    st.sampled_from(
        (
            *("", " ", "nan", "inf", "-Infinity", "NA", "null", "None", "1e", ".", "-", "1_0", "0x10", "1 2", '"1"'),
            *("True", "1e999", "1e-999", "1d5", "1,5", "\u0661", "1\r", "\r", "\0", "1\x0b", "1\x0c2", "(1,2)", "1j"),
        )
    ),
    st.text(max_size=4).filter(lambda text: "\n" not in text),
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(ODD, min_size=3, max_size=3), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
@example([["0.0", "1e23", "2.2250738585072011e-308"]], "\n")
@example([["0.0", "0.1", "9007199254740993"]], "\n")
@example([["0.0", "0.0", "True"]], "\n")
@example([["0.0", "FALSE", "1"]], "\n")
def test_fast_parsers_never_differ_from_the_careful_one(rows, newline):
    content = "".join("\t".join(row) + newline for row in rows).encode()
    for tabs in (True, False):
        layout = layout_of(3, tabs)
        try:
            careful = sto._parse_carefully(content, layout, "x")[0]
        except NEM2EError:
            careful = None
        for parse in (sto._parse_with_numpy, sto._parse_with_pandas):
            original, other = parse, None
            # What the reader would return if only this parser existed.
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(sto, "_parse_with_pandas", original)
                    patch.setattr(sto, "_parse_with_numpy", original)
                    other = sto._read_rows(content, layout, "x")[0]
            except NEM2EError:
                other = None
            assert (careful is None) == (other is None)
            if careful is not None:
                np.testing.assert_array_equal(careful, other)


@pytest.mark.parametrize("precision", [1, 5, 8, 9, 11, 14])
def test_even_tables_are_read_bit_for_bit(precision):
    rng = np.random.default_rng(precision)
    largest = 10.0 ** (15 - precision)
    values = rng.normal(size=(300, 7)) * rng.choice([1e-6, 0.1, 1.0, 900.0], size=(300, 7))
    values = np.where(np.abs(values) < min(largest, 9000.0), values, 0.25)
    values[0, :3] = -1e-30, 0.0, 9.0
    times = [f"{row / 100:.2f}".rjust(9) for row in range(300)]
    rows = [
        "\t".join([time, *(f"%{precision + 8}.{precision}f" % value for value in row)])
        for time, row in zip(times, values.tolist(), strict=True)
    ]
    content = ("version=1\n" + "\n".join(rows) + "\n").encode()
    layout = replace(layout_of(8, True), body_offset=10)
    found = sto._parse_even(content, layout)
    careful = np.array([[float(text) for text in row.split()] for row in rows])
    np.testing.assert_array_equal(found, careful)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(careful))
    # A line end that Windows writes, a row too few and a cell that is wider are for the others.
    assert sto._parse_even(content.replace(b"\n", b"\r\n"), layout) is None
    assert sto._parse_even(content[:-1], layout) is None
    assert sto._parse_even(content.replace(b"     0.00", b"    0.000", 1), layout) is None


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(" -0123459.+e/:!\0\u00b1", min_size=6, max_size=6), min_size=3, max_size=3))
@example(["   1.5", "  -1.5", "- 1.50"])
@example(["   1.5", "  -1.5", "1-1.50"])
@example(["   1.5", "  -1.5", "  --.5"])
@example(["   1.5", "  !1.5", "  =1.5"])
def test_what_is_no_plain_number_is_left_to_others(cells):
    content = ("version=1\n" + "\t".join(cells) + "\n").encode("latin-1")
    found = sto._parse_even(content, replace(layout_of(3, True), body_offset=10))
    if found is not None:
        assert [float(cell) for cell in cells] == found[0].tolist()


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_raise_only_our_own_errors(tmp_path, data):
    text = bytearray(
        data.draw(
            st.sampled_from(
                [
                    (HEADER + LABELS + ROWS).encode(),
                    (HEADER + LABELS + ROWS).replace("\n", "\r\n").encode(),
                    b"UNKNOWN\nversion=1\nnRows=0\nnColumns=1\ninDegrees=no\nendheader\ntime\n"
                    b"t/j/a/value\t/j/a/speed\n0.0\t1.0\t2.0\n0.1\t3.0\t4.0\n",
                    b"name x\ndatacolumns 3\ndatarows 2\nrange 0 1\nendheader\ntime a b\n0 1 2\n1 2 3\n",
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "delete"]))
        at = data.draw(st.integers(0, max(len(text) - 1, 0)))
        if kind == "flip" and text:
            text[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del text[at:]
        elif kind == "insert":
            text[at:at] = data.draw(st.binary(max_size=12))
        else:
            del text[at : at + data.draw(st.integers(1, 20))]
    path = write(tmp_path, bytes(text))
    try:
        series = read_storage(path)
    except NEM2EError:
        return
    assert series.data.shape == (series.n_rows, len(series.labels))
    assert (np.diff(series.time) > 0).all()


@pytest.mark.parametrize("text", ["-1.#IND00", "1.#QNAN", "-1.#IND", "1.#QNAN0"])
def test_windows_spellings_of_nan(tmp_path, text):
    """OpenSim 3 on Windows wrote what its C library made of NaN."""
    path = tmp_path / "old.sto"
    path.write_text(f"endheader\ntime\ta\tb\n0\t1\t2\n1\t{text}\t3\n")
    series = read_storage(path)
    assert np.isnan(series.data[1, 0])
    np.testing.assert_array_equal(series.column("b"), [2, 3])
    with pytest.raises(LabelError, match="'a'"):
        series.column("a")


@pytest.mark.parametrize(
    ("header", "degrees"),
    [
        # OpenSim's own forward tool writes SIMM's counts beside its own.
        ("x\nversion=1\nnRows=2\nnColumns=3\n\n# SIMM Motion File Header:\nname x\ndatacolumns 3\ndatarows 2\n", False),
        ("x\nversion=1\nnRows=9\nnRows=2\nnColumns=3\ninDegrees=yes\n", True),
        ("x\nversion 1\nnRows 2\nnColumns\t3\ninDegrees yes\n", True),
        ("x\nversion==1\nnRows== 2 rows\nnc 3\ninDegrees = Y\n", True),
        ("x\nversion=3\nnRows=2\nnColumns=3\nUnits are S.I. units\nrange of motion\nname of it\n", False),
    ],
)
@pytest.mark.parametrize("end", ["endheader", " endheader\t", "endheader of it", "endheader=1"])
def test_headers_of_opensims_relatives(route, tmp_path, header, degrees, end):
    series = read_storage(write(tmp_path, f"{header}{end}\n{LABELS}{ROWS}"))
    check_plain(series)
    assert series.in_degrees is degrees
    assert series.notes == ()


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("version=1", "version=4", "version=4, but there are 1 to 3"),
        ("version=1", "version=x", "version=x, but there are 1 to 3"),
        ("version=1", "version=" + "1" * 5000, "version=111"),
        (
            "inDegrees=no",
            "inDegrees=true",
            "inDegrees must be 'yes' or 'no', but is 'true', which OpenSim takes for 'no'",
        ),
        ("inDegrees=no", "inDegrees=yes\ninDegrees=no", "inDegrees=yes and then no, which counts"),
        ("nRows=2", "nRows=" + "9" * 5000, "nRows=999"),
        ("nRows=2", "nRows=\u0662", "nRows=\u0662"),
    ],
)
def test_odd_headers_are_read_and_said(route, tmp_path, old, new, note):
    series = read_storage(write(tmp_path, HEADER.replace(old, new) + LABELS + ROWS))
    check_plain(series)
    assert not series.in_degrees
    assert any(note in found for found in series.notes)
    assert len(series.notes) == 1


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ("time\t\ta\t\t\tb\t\t\n", ROWS),
        ("\ttime\ta\tb\n", ROWS),
        (" \ttime\ta\tb\n", "\t0.0\t1.0\t2.0\n0.1\t3.0\t4.0\t\n"),
        ("time\t\ta\t\tb\n", "0.0\t\t1.0\t\t2.0\n0.1\t\t3.0\t\t4.0\n"),
        ("time a\tb\n", ROWS),
        ("time\ta\tb\n", "0.0 1.0 2.0\n0.1\t\t3.0   4.0\n"),
    ],
)
def test_separators_of_labels_and_rows_may_differ(route, tmp_path, labels, rows):
    check_plain(read_storage(write(tmp_path, HEADER + labels + rows)))


@pytest.mark.parametrize("word", ["-nan(ind)", "nan(snan)", "-1.#IND", "1.#QNAN", "NaN", "-nan", "1.#INF", "-inf"])
def test_what_is_no_number_matters_only_where_it_is_needed(route, tmp_path, word):
    path = write(tmp_path, HEADER + LABELS + ROWS.replace("3.0", word))
    series = read_storage(path)
    np.testing.assert_array_equal(series.column("b"), [2, 4])
    assert not np.isfinite(series.data[1, 0])
    with pytest.raises(LabelError, match="'a' is needed, but holds"):
        series.column("a")


def test_digits_are_ascii_and_blanks_are_opensims(route, tmp_path):
    for number in ("\u0663", "1_0", "1\x1c", "\u00a01", "\uff11"):
        with pytest.raises(StorageError, match="column 'a' must hold numbers"):
            read_storage(write(tmp_path, HEADER + LABELS + f"0\t{number}\t1\n"))
    with pytest.raises(StorageError, match="The row has 2 values, but there are 3"):
        read_storage(write(tmp_path, HEADER + "time a b\n0 1\x1c1\n"))
    with pytest.raises(StorageError, match="must begin with 'time'"):
        read_storage(write(tmp_path, HEADER + "\u2028\n0\t1\t2\n"))
    series = read_storage(write(tmp_path, HEADER + "time\ta\u2028\t\u2028b\n" + ROWS))
    assert series.labels == ("a\u2028", "\u2028b")
    sto.write_storage(tmp_path / "again.sto", series)
    assert read_storage(tmp_path / "again.sto").labels == series.labels


def test_unix_seconds_with_microseconds(route, tmp_path):
    times = 1_700_000_000.123456 + 1e-3 * np.arange(50)
    rows = "".join(f"{time:.6f}\t{index}\t0\n" for index, time in enumerate(times))
    series = read_storage(write(tmp_path, HEADER.replace("nRows=2", "nRows=50") + LABELS + rows))
    np.testing.assert_array_equal(series.time, [float(f"{time:.6f}") for time in times])
    sto.rewrite_columns(series, {"b": series.data[:, 0]}, tmp_path / "new.sto", name="new")
    again = read_storage(tmp_path / "new.sto")
    np.testing.assert_array_equal(again.time, series.time)
    np.testing.assert_array_equal(again.column("b"), np.arange(50))


@pytest.mark.parametrize(
    ("pack", "told"),
    [
        (gzip.compress, r"compressed \(gzip\): unpack it first"),
        (bz2.compress, r"compressed \(bzip2\): unpack it first"),
        (lambda content: content.decode().encode("utf-16"), "text in UTF-16: save it as UTF-8"),
        (lambda content: b"\x02P\x1e\x01\xf0\x00", "a C3D recording, .*: export markers and forces from it"),
        (lambda content: b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file: export a table from it"),
    ],
)
def test_packed_files_are_told(tmp_path, pack, told):
    header = b"walk\nversion=1\nnRows=1\nnColumns=2\ninDegrees=no\nendheader\ntime\ta\n0\t1\n"
    (tmp_path / "ik.mot").write_bytes(pack(header))
    with pytest.raises(StorageError, match=told):
        read_storage(tmp_path / "ik.mot")


def test_packed_models_and_decimal_commas_are_told(tmp_path):
    (tmp_path / "m.osim").write_bytes(gzip.compress(b"<OpenSimDocument Version='40600'/>"))
    with pytest.raises(ModelError, match=r"must be plain text\. It is compressed \(gzip\)"):
        read_model(tmp_path / "m.osim")
    (tmp_path / "ik.mot").write_text("nRows=1\nnColumns=2\nendheader\ntime\ta\n0,5\t1,0\n")
    with pytest.raises(
        StorageError, match=r"must hold numbers, but '0,5' was found\. Numbers must have a decimal point"
    ):
        read_storage(tmp_path / "ik.mot")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_no_files(tmp_path):
    """Nobody writes to the pipe: reading it would never end."""
    os.mkfifo(tmp_path / "ik.mot")
    for name in (tmp_path / "ik.mot", "/dev/zero"):
        with pytest.raises(MissingFileError, match="must be a file, but this is a pipe or a device"):
            read_storage(name)
