"""The one reader of tables: whatever encoding, separator and decimal sign they were saved with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import MissingFileError, StorageError
from opensim_nem2e.storage.tables import (
    MAX_CELL,
    examine_rows,
    parse_number,
    path_in_table,
    read_rows,
    write_rows,
    write_table,
)

COLUMNS = ("name", "value", "note")

#: Any text that a cell may hold: no control characters, no surrogates, no blanks at its ends, which are stripped.
CELL = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Cf")), max_size=12).map(str.strip)
FILLED = CELL.filter(bool)


def saved(path, header, rows, *, separator=",", encoding="utf-8", newline="\n", mark=b""):
    """Save a table as a spreadsheet would."""

    def quoted(cell):
        return '"' + cell.replace('"', '""') + '"' if re.search(f'["\n{re.escape(separator)}]', cell) else cell

    text = newline.join(separator.join(map(quoted, row)) for row in [header, *rows]) + newline
    path.write_bytes(mark + text.encode(encoding))
    return path


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(FILLED, CELL, CELL), max_size=5))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    write_table(path, COLUMNS, rows)
    assert [tuple(row.cells.values()) for row in read_rows(path, COLUMNS)] == rows


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(
        st.tuples(st.text("abcµéÄ ._-\\/", min_size=1, max_size=8), st.floats(-1e6, 1e6)), min_size=1, max_size=6
    ),
    separator=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    decimal_comma=st.booleans(),
    order=st.permutations(COLUMNS),
    trailing=st.integers(0, 2),
)
def test_every_spreadsheets_way_of_saving(
    tmp_path_factory, rows, separator, encoding, newline, decimal_comma, order, trailing
):
    """The same table in every encoding, separator, line end and decimal sign is read as the same."""
    decimal_comma = decimal_comma and separator != ","
    cells = [
        {"name": name, "value": repr(value).replace(".", "," if decimal_comma else "."), "note": "ß"}
        for name, value in rows
    ]
    path = saved(
        tmp_path_factory.mktemp("tables") / "a.csv",
        order,
        [[row[column] for column in order] + [""] * trailing for row in cells],
        separator=separator,
        encoding=encoding,
        newline=newline,
    )
    found = read_rows(path, COLUMNS)
    assert [row.number("value") for row in found] == [value for _, value in rows]
    assert [row.cells["name"] for row in found] == [name.strip() for name, _ in rows]
    assert [row.line for row in found] == list(range(2, len(rows) + 2))


def test_excels_own_first_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sep=;\nname;value;note\na;1,5;\n\nb;2;x\n")
    assert [(row.line, row.cells["name"], row.number("value")) for row in read_rows(path, COLUMNS)] == [
        (3, "a", 1.5),
        (5, "b", 2.0),
    ]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'name,value,note\na,1,"oops\nb,2,\nc,3,\n', 2, "quote opens in this line and is never closed"),
        (b'name,value,note\na,1,"oops\nb,2,"x"\n', 2, "quote"),
        (b'name,value,note\na,1,"oops\nb,2,\nc,3"\n', 2, "closed in line 4 only"),
        (b'name,value,note\na,1,"x"y\n', 2, "must enclose a whole cell"),
        (b'name,value,note\na,1,"' + b"x" * 140000 + b"\n", 2, "more than 131072 characters: is a quote not closed"),
        (b"name,value,note\na,1," + b"x" * (MAX_CELL + 1) + b"\n", 2, f"at most {MAX_CELL} characters"),
        (b"name,value,note\na,1\n", 2, "must have 3 cells, as the header; found 2"),
        (b"name,value,note\na,1,,x\n", 2, "must have 3 cells, as the header; found 4"),
        (b"name,value\n", 1, "the column 'note' is missing"),
        (b"name,value,note,value,value\n", 1, "the column 'value' appears 3 times"),
        (b"name,valeu,note,value\n", 1, "unknown column 'valeu'. Did you mean 'value'"),
        (b"", 1, "header row is missing"),
        (b"\n ,, \n", 1, "header row is missing"),
        (b"name,value,note\na\x00b,1,\n", 2, r"without control characters; found '\x00'"),
        ("name,value,note\na,1,\na\u2028b,2,\n".encode(), 3, r"found '\u2028'"),
        (b"name,value,note\na\x1b[31m,1,\n", 2, r"found '\x1b'"),
        (b"\xff\xfea", None, "must be text in UTF-8, UTF-16 or Latin-1"),
        (bytes(range(256)) * 8, 1, "control characters"),
        (b"PK\x03\x04\x14\x00", 1, "It is a zip archive or a spreadsheet: unpack it, or save it as text"),
    ],
)
def test_every_fault_has_its_line(tmp_path, content, line, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_rows(path, COLUMNS)
    assert message.lower() in str(caught.value).lower()
    assert caught.value.line == line
    assert len(str(caught.value)) < 1000


def test_all_faults_at_once_and_not_too_many(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,value,note\n" + "a\n" * 200 + "b," + "x" * 3000 + ",\n")
    with pytest.raises(StorageError, match="200 faults found") as caught:
        read_rows(path, COLUMNS)
    assert "line 51:" in str(caught.value)
    assert "and 150 more" in str(caught.value)
    rows, faults = examine_rows(path, COLUMNS)
    assert (len(rows), len(faults)) == (1, 200)
    with pytest.raises(MissingFileError, match="there is no such table"):
        read_rows(tmp_path / "none.csv", COLUMNS)
    with pytest.raises(MissingFileError, match="directory"):
        read_rows(tmp_path, COLUMNS)


@pytest.mark.parametrize("text", ["1_000", "\u0661\u0662", "nan", "inf", "1e999", "0x10", "", "1,5", "--1", "1 2", "½"])
def test_what_is_no_number(text):
    assert parse_number(text) is None
    assert parse_number("1.234,5", decimal_comma=True) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number(value):
    assert parse_number(repr(value)) == value
    assert parse_number(repr(value).replace(".", ","), decimal_comma=True) == value


def test_paths_of_windows(tmp_path):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "a.sto").touch()
    (tmp_path / "b\\c.sto").touch()
    assert path_in_table(tmp_path, "walk\\a.sto") == tmp_path / "walk" / "a.sto"
    # What is there under its own name is taken first.
    assert path_in_table(tmp_path, "b\\c.sto") == tmp_path / "b\\c.sto"
    assert path_in_table(tmp_path, "x" * 300) == tmp_path / ("x" * 300)


def test_rows_of_figures(tmp_path):
    @dataclass(frozen=True)
    class Figure:
        name: str
        value: float | None

    write_rows(tmp_path / "a.csv", Figure, [Figure("a,b", 1.0 / 3.0), Figure("line\nbreak", None), Figure("c", nan)])
    assert (tmp_path / "a.csv").read_text() == 'name,value\n"a,b",0.333333\nline break,\nc,\n'
