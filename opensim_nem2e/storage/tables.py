"""Tables in text files: one strict reader for all that users and laboratories write, and one writer.

What is told apart without being told: the encoding (UTF-8 with or without a byte order mark, UTF-16, else Latin-1 as
Windows writes it), the separator (comma, semicolon, tab) and, where the separator is no comma, decimal commas. All
else is refused with file and line. A cell never holds a line break, so a quote that is not closed is found in its line.
"""

from __future__ import annotations

import codecs
import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import StorageError, did_you_mean
from .atomic import atomic_path
from .file_names import tidy_path
from .safe_xml import packed_as, read_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    RowOf = TypeVar("RowOf", bound=DataclassInstance)

#: In the order in which they are tried: the first that fits best.
SEPARATORS = (",", ";", "\t")

#: The largest table that users write by hand, and its longest cell. Tables of a thousand trials stay below 1 MB.
MAX_BYTES = 32 * 1024 * 1024
MAX_CELL = 4096

#: A number as a spreadsheet writes it: Python's float() would take '1_000' and the digits of every script, too.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

#: Characters that no table needs: they would move the cursor of a terminal, break lines, or turn text around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: Excel's own first line that names the separator.
_SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)

#: How files say their encoding.
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_WIDE = 0.25

_MOST_FAULTS_SHOWN = 50
_MOST_SHOWN = 500
_SHOWN = 60


class Fault(NamedTuple):
    """What is wrong, and in which line of the file (counted from 1).

    Parameters
    ----------
    line : int or None
        None where it is the file as a whole.
    text : str
        The sentence.
    """

    line: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


@dataclass(frozen=True)
class Row:
    """A row of a table with named columns.

    Parameters
    ----------
    line : int
        Its line in the file.
    cells : mapping of str to str
        Column to text, without blanks around it.
    decimal_comma : bool
        Whether ``1,5`` is a number in this table.
    """

    line: int
    cells: Mapping[str, str]
    decimal_comma: bool = False

    def number(self, column: str) -> float | None:
        """Return a cell as a number.

        Parameters
        ----------
        column : str
            The column.

        Returns
        -------
        float or None
            None where the cell is no finite number.
        """
        return parse_number(self.cells.get(column, ""), self.decimal_comma)


def read_text(path: str | os.PathLike[str], kind: str, max_bytes: int = MAX_BYTES) -> str:
    """Read a text file in any of the encodings that programs and spreadsheets write.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    kind : str
        What it is, for messages.
    max_bytes : int
        Refuse a larger file.

    Returns
    -------
    str
        The text, its lines separated by ``\\n``.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, not readable or too large.
    opensim_nem2e.errors.StorageError
        It is no text, or holds control characters: with the line.
    """
    content = read_bytes(path, kind, max_bytes)
    text = _decode(content)
    if text is None:
        raise StorageError(f"A {kind} must be text in UTF-8, UTF-16 or Latin-1.{packed_as(content)}", path)
    # The last is DOS's own end of a file.
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\x1a")
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise StorageError(
            f"A {kind} must be text (UTF-8, UTF-16 or Latin-1) without control characters; found {found.group()!a}."
            f"{packed_as(content)}",
            path,
            line,
        )
    return text


def _decode(content: bytes) -> str | None:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return _try(content[len(mark) :], encoding)
    # UTF-16 without its mark: text of Europe has a zero in every other byte.
    start = content[:1000]
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) >= _WIDE * len(start) and min(even, odd) == 0:
        return _try(content, "utf-16-be" if even else "utf-16-le")
    for encoding in ("utf-8", "cp1252", "latin-1"):
        text = _try(content, encoding)
        if text is not None:
            return text
    return None


def _try(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def split_lines(
    lines: Iterable[str], separator: str, path: str | os.PathLike[str], *, first: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Split lines into cells.

    Parameters
    ----------
    lines : iterable of str
        The lines, without their ends.
    separator : str
        What stands between cells.
    path : str or os.PathLike
        The file, for messages.
    first : int
        Number of the first line.

    Yields
    ------
    line : int
        Its number.
    cells : list of str
        Without blanks around them; empty for a blank line.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A quote is not closed in its line, or stands within a cell; a cell is too long.
    """
    # The reader joins lines within quotes only if their ends are there.
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=separator, skipinitialspace=separator != "\t", strict=True
    )
    number = first
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise StorageError(_quote_fault(str(error)), path, number) from None
        after = first + reader.line_num
        if after > number + 1:
            raise StorageError(
                f"A quote opens in this line and is closed in line {after - 1} only: a cell must not hold line breaks.",
                path,
                number,
            )
        yield number, [cell.strip() for cell in cells]
        number = after


def _quote_fault(message: str) -> str:
    if "field limit" in message:
        return (
            f"A cell begins in this line and has more than {csv.field_size_limit()} characters: is a quote not closed?"
        )
    if "unexpected end" in message:
        return "A quote opens in this line and is never closed."
    return "A quote must enclose a whole cell, and be doubled within it."


def parse_number(text: str, decimal_comma: bool = False) -> float | None:
    """Read a number strictly.

    Parameters
    ----------
    text : str
        Digits of ASCII, with a decimal point.
    decimal_comma : bool
        Take a comma for the decimal point.

    Returns
    -------
    float or None
        None for what is no finite number.
    """
    if decimal_comma and "." not in text:
        text = text.replace(",", ".")
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def examine_rows(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    optional: Sequence[str] = (),
    *,
    kind: str = "table",
    others: bool = False,
) -> tuple[list[Row], list[Fault]]:
    """Read a table with a header row of known names; say all that is wrong with it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    columns : sequence of str
        The columns that are allowed, in any order.
    optional : sequence of str
        Those that may be missing.
    kind : str
        What the table is, for messages.
    others : bool
        Allow columns of other names, too.

    Returns
    -------
    rows : list of Row
        Those of the header's width; none if the header is wrong. Blank rows are skipped.
    faults : list of Fault
        Everything else.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, not readable or too large.
    opensim_nem2e.errors.StorageError
        It is no text, or its quotes are not closed.
    """
    text = read_text(path, kind)
    lines = text.split("\n")
    first = 1
    named = _SEP_LINE.fullmatch(lines[0].strip())
    if named:
        lines, first = lines[1:], 2
    separator = named[1] if named and named[1] in SEPARATORS else _separator(lines, columns, path)
    decimal_comma = separator != ","
    header: list[str] = []
    faults: list[Fault] = []
    rows: list[Row] = []
    for line, cells in split_lines(lines, separator, path, first=first):
        if not any(cells):
            continue
        long = next((name for name in cells if len(name) > MAX_CELL), None)
        if long is not None:
            faults.append(Fault(line, f"a cell must have at most {MAX_CELL} characters; one has {len(long)}."))
        elif not header:
            header = _without_trailing(cells)
            known = list(dict.fromkeys([*columns, *header])) if others else columns
            faults += header_faults(header, known, [*optional, *known[len(columns) :]], line)
            if faults:
                break
        else:
            # Spreadsheets end rows with empty cells.
            while len(cells) > len(header) and not cells[-1]:
                cells.pop()
            if len(cells) != len(header):
                text = f"a row must have {len(header)} cells, as the header; found {len(cells)}."
                faults.append(Fault(line, text))
            else:
                rows.append(Row(line, dict(zip(header, cells, strict=True)), decimal_comma))
    if not header and not faults:
        faults.append(Fault(1, f"the header row is missing; allowed columns: {', '.join(columns)}."))
    return rows, faults


def read_rows(
    path: str | os.PathLike[str], columns: Sequence[str], optional: Sequence[str] = (), *, kind: str = "table"
) -> list[Row]:
    """Read a table with a header row of known names.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    columns : sequence of str
        The columns that are allowed, in any order.
    optional : sequence of str
        Those that may be missing.
    kind : str
        What the table is, for messages.

    Returns
    -------
    list of Row
        Its rows; blank ones are skipped.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, not readable or too large.
    opensim_nem2e.errors.StorageError
        Everything that is wrong with it.
    """
    rows, faults = examine_rows(path, columns, optional, kind=kind)
    refuse(faults, path)
    return rows


def refuse(faults: Sequence[Fault], path: str | os.PathLike[str]) -> None:
    """Raise what is wrong with a table, if anything is.

    Parameters
    ----------
    faults : sequence of Fault
        The faults.
    path : str or os.PathLike
        The file.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        If there are faults: all of them, in a list of at most fifty.
    """
    if len(faults) == 1:
        text = _shortened(faults[0].text)
        raise StorageError(text[:1].upper() + text[1:], path, faults[0].line)
    if faults:
        raise StorageError(f"{len(faults)} faults found:\n{listed_faults(faults)}", path)


def listed_faults(faults: Sequence[object]) -> str:
    """List faults for a message, one a line, at most fifty.

    Parameters
    ----------
    faults : sequence of object
        The faults, or their texts.

    Returns
    -------
    str
        The lines.
    """
    shown = [_shortened(str(fault)) for fault in faults[:_MOST_FAULTS_SHOWN]]
    if len(faults) > len(shown):
        shown.append(f"... and {len(faults) - len(shown)} more.")
    return "\n".join(f"  - {fault}" for fault in shown)


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."


def header_faults(
    header: Sequence[str], columns: Sequence[str], optional: Sequence[str], line: int | None
) -> list[Fault]:
    """Compare a header row with the columns that are allowed.

    Parameters
    ----------
    header : sequence of str
        What was found.
    columns, optional : sequence of str
        What is allowed, and what of it may be missing.
    line : int or None
        The header's line.

    Returns
    -------
    list of Fault
        Empty if all is well.
    """
    allowed = ", ".join(columns)
    texts = [
        f"unknown column '{name[:_SHOWN]}'.{did_you_mean(name[:_SHOWN], columns)} Allowed: {allowed}."
        for name in dict.fromkeys(header)
        if name not in columns
    ][:_MOST_FAULTS_SHOWN]
    for name in columns:
        count = header.count(name)
        if count > 1:
            texts.append(f"the column '{name}' appears {'twice' if count == 2 else f'{count} times'}.")
        elif not count and name not in optional:
            texts.append(f"the column '{name}' is missing.")
    return [Fault(line, text) for text in texts]


def _separator(lines: Sequence[str], columns: Sequence[str], path: str | os.PathLike[str]) -> str:
    """Return the separator under which the header row has the most known names."""
    header = next(((number, line) for number, line in enumerate(lines, 1) if line.strip(" ,;\t")), None)
    if header is None:
        return SEPARATORS[0]

    def known(separator: str) -> int:
        _, cells = next(split_lines([header[1]], separator, path, first=header[0]))
        return sum(name in columns for name in cells)

    return max(SEPARATORS, key=known)


def _without_trailing(cells: Sequence[str]) -> list[str]:
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return list(cells[:count])


def path_in_table(folder: Path, text: str) -> Path:
    """Return the path that a cell names, seen from the table's folder.

    Parameters
    ----------
    folder : pathlib.Path
        The table's folder.
    text : str
        The cell. Where no such file is there, backslashes separate folders, as in tables made on Windows.

    Returns
    -------
    pathlib.Path
        The path, whether or not it exists.
    """
    path = folder / text
    try:
        there = path.exists()
    except (OSError, ValueError):
        # A name that is too long for the file system: who opens it says so.
        there = False
    if os.sep == "/" and "\\" in text and not there:
        path = folder / text.replace("\\", "/")
    return tidy_path(path)


def write_table(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV that :func:`read_rows` reads again: quoted where needed, numbers with six digits.

    Parameters
    ----------
    path : str or os.PathLike
        The file; replaced if it exists.
    header : sequence of str
        The columns.
    rows : iterable of sequence
        The cells. Floats get six significant digits: pass text for more. Line breaks become blanks.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        The file cannot be written.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([_cell(name) for name in header])
            writer.writerows([[_cell(value) for value in row] for row in rows])
    except OSError as error:
        raise StorageError(f"The file cannot be written: {error.strerror or error}.", path) from error


def _cell(value: object) -> str:
    # What there is no number for is an empty cell.
    if value is None or value != value:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _CONTROL.sub(" ", text.replace("\n", " "))


def write_rows(path: Path, kind: type[RowOf], rows: Sequence[RowOf]) -> None:
    """Write rows as CSV, numbers with six significant digits.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    kind : type
        The rows' dataclass; its fields are the columns.
    rows : sequence of kind
        The rows.
    """
    names = [field.name for field in fields(kind)]
    write_table(path, names, [[getattr(row, name) for name in names] for row in rows])
