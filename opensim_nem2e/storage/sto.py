"""Read and write ``.sto`` and ``.mot`` files.

OpenSim has two readers that disagree about what a file may look like. This one takes every file that either of them
takes, says what it had to correct, and refuses what would silently give wrong numbers. Tables as OpenSim writes them,
whose cells are all as wide, are read as characters; others of tens of megabytes are parsed by pandas, and below that,
where importing pandas would cost more than it saves, by numpy. All round correctly, as OpenSim does: they give the same
bits.
"""

from __future__ import annotations

import csv
import html
import math
import mmap
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO, StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import LabelError, StorageError, did_you_mean
from ..log import logger
from .atomic import atomic_path
from .header import BLANKS, HeaderLayout, encode, header_text, read_layout, read_number
from .number_text import number_cells, numbers_at
from .safe_xml import read_bytes

if TYPE_CHECKING:
    import pandas

#: Importing pandas takes as long as numpy needs for this many bytes more than pandas does (0.25 s; measured by
#: benchmarks/storage_read.py). Smaller files are parsed by numpy unless pandas is already there.
PANDAS_FROM_BYTES = 32 << 20

#: A carriage return that ends no line.
_LONE_RETURN = re.compile(rb"\r(?!\n)")

#: A zero byte, and what Python and numpy, but not OpenSim, take for blanks.
_NO_BLANKS = (b"\0", b"\x1c", b"\x1d", b"\x1e", b"\x1f")

#: How much of a large file is read for its header and labels.
_START_OF_FILE = 1 << 20

#: Digits after the decimal point that can be asked for; more than 20 are noise.
PRECISIONS = range(1, 31)

#: So many numbers are formatted at a time, in so many rows at most.
_TEXT_NUMBERS, _TEXT_ROWS = 1 << 15, 4096

_TAB, _NEWLINE = b"\t"[0], b"\n"[0]


@dataclass(frozen=True, eq=False, repr=False)
class TimeSeries:
    """Columns of numbers over time, as a ``.sto`` or ``.mot`` file holds them.

    Parameters
    ----------
    time : numpy.ndarray
        ``(rows,)``, seconds, strictly increasing when read from a file.
    labels : sequence of str
        The columns' labels, without "time".
    data : numpy.ndarray
        ``(rows, columns)``.
    name : str, optional
        The name on the file's first line.
    in_degrees : bool, optional
        Whether rotations are in degrees.
    header : mapping of str to str, optional
        The ``key=value`` lines as they were found.
    description : str, optional
        The header's free text.
    path : pathlib.Path, optional
        The file it was read from.
    notes : tuple of str, optional
        What the reader had to correct or warns of.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        The shapes do not fit.
    """

    time: np.ndarray
    labels: tuple[str, ...]
    data: np.ndarray
    name: str = ""
    in_degrees: bool = False
    header: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    path: Path | None = None
    notes: tuple[str, ...] = ()
    #: Where the rows start in the file, for :func:`rewrite_columns`.
    _layout: HeaderLayout | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        time = np.asarray(self.time, dtype=np.float64)
        data = np.asarray(self.data, dtype=np.float64)
        labels = tuple(self.labels)
        if time.ndim != 1 or data.shape != (len(time), len(labels)):
            raise StorageError(
                f"A time series with {len(labels)} labels needs time (rows,) and data (rows, {len(labels)}), but time "
                f"has the shape {time.shape} and data {data.shape}.",
                self.path,
            )
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "labels", labels)
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.time)

    @cached_property
    def _columns(self) -> dict[str, list[int]]:
        columns: dict[str, list[int]] = {}
        for index, label in enumerate(self.labels):
            columns.setdefault(label, []).append(index)
        return columns

    def has(self, label: str) -> bool:
        """Tell whether there is a column of that label.

        Parameters
        ----------
        label : str
            The label.

        Returns
        -------
        bool
            True also when it appears twice.
        """
        return label in self._columns

    def index(self, label: str) -> int:
        """Find a column.

        Parameters
        ----------
        label : str
            The label.

        Returns
        -------
        int
            The column of :attr:`data`.

        Raises
        ------
        opensim_nem2e.errors.LabelError
            There is no such column, or more than one.
        """
        found = self._columns.get(label, [])
        if len(found) == 1:
            return found[0]
        if found:
            columns = ", ".join(str(index + 2) for index in found)
            raise LabelError(
                f"The column '{label}' is needed, but it appears {len(found)} times (columns {columns}).", self.path
            )
        raise LabelError(f"There is no column '{label}'.{did_you_mean(label, self.labels)}", self.path)

    def column(self, label: str) -> np.ndarray:
        """Return one column.

        Parameters
        ----------
        label : str
            The label.

        Returns
        -------
        numpy.ndarray
            ``(rows,)``.

        Raises
        ------
        opensim_nem2e.errors.LabelError
            There is no such column, more than one, or a value in it is missing (NaN).
        """
        return self.select([label])[:, 0]

    def select(self, labels: Sequence[str]) -> np.ndarray:
        """Return some columns, in the order asked for.

        Parameters
        ----------
        labels : sequence of str
            The labels.

        Returns
        -------
        numpy.ndarray
            ``(rows, len(labels))``, a copy.

        Raises
        ------
        opensim_nem2e.errors.LabelError
            A column is missing or appears twice, or a value in it is missing (NaN) or infinite.
        """
        values = self.data[:, [self.index(label) for label in labels]]
        finite = np.isfinite(values)
        if not finite.all():
            column = int(np.flatnonzero(~finite.all(axis=0))[0])
            rows = np.flatnonzero(~finite[:, column])
            more = f" and at {len(rows) - 1} later times" if len(rows) > 1 else ""
            raise LabelError(
                f"The column '{labels[column]}' is needed, but holds {values[rows[0], column]} at time "
                f"{self.time[rows[0]]:.8g} s{more}; every value must be a finite number.",
                self.path,
            )
        return values

    def window(self, start: float, end: float) -> TimeSeries:
        """Cut out a range of time.

        Parameters
        ----------
        start, end : float
            The range in s, both ends included.

        Returns
        -------
        TimeSeries
            The rows with ``start <= time <= end`` (views of the data).
        """
        first, last = np.searchsorted(self.time, start, "left"), np.searchsorted(self.time, end, "right")
        return replace(self, time=self.time[first:last], data=self.data[first:last])

    def to_frame(self) -> pandas.DataFrame:
        """Make a pandas data frame.

        Returns
        -------
        pandas.DataFrame
            Indexed by time, one column per label.
        """
        import pandas as pd

        return pd.DataFrame(self.data, index=pd.Index(self.time, name="time"), columns=list(self.labels))

    @classmethod
    def from_frame(cls, frame: pandas.DataFrame, name: str = "", in_degrees: bool = False) -> TimeSeries:
        """Make a time series of a pandas data frame.

        Parameters
        ----------
        frame : pandas.DataFrame
            Columns of numbers, indexed by time (s, or as a ``TimedeltaIndex``) or with a column ``time``.
        name : str, optional
            The name on the file's first line.
        in_degrees : bool, optional
            Whether rotations are in degrees.

        Returns
        -------
        TimeSeries
            The same numbers.

        Raises
        ------
        opensim_nem2e.errors.StorageError
            A column, or the time, holds something else than numbers; or time does not increase.
        """
        if "time" in frame.columns:
            frame = frame.set_index("time")
        labels = tuple(map(str, frame.columns))
        kind = frame.index.dtype.kind
        try:
            if kind not in "biufOm" or any(item.kind not in "biufO" for item in frame.dtypes):
                raise TypeError(f"found {frame.index.dtype} and {', '.join(sorted({str(t) for t in frame.dtypes}))}")
            index = frame.index.total_seconds() if kind == "m" else frame.index
            time, data = index.to_numpy(float), frame.to_numpy(float)
        except (TypeError, ValueError) as error:
            raise StorageError(f"A data frame needs numbers in its index (time) and in all columns: {error}") from error
        if not (np.isfinite(time).all() and (np.diff(time) > 0.0).all()):
            raise StorageError("The time of a data frame, its index or column 'time', must increase from row to row.")
        return cls(time, labels, data, name=name, in_degrees=in_degrees)

    def __repr__(self) -> str:
        span = f", {self.time[0]:.6g} to {self.time[-1]:.6g} s" if len(self.time) else ""
        shown = ", ".join(self.labels[:4]) + (", ..." if len(self.labels) > 4 else "")
        return f"<TimeSeries {self.name!r}: {len(self.time)} rows{span}; {len(self.labels)} columns: {shown}>"

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        shown: str = frame.to_html(max_rows=8, max_cols=8)
        return f"<p>{html.escape(repr(self))}</p>{shown}"


#: How the first line of a refinement's results ends: package, version, bundle and the hash of its file.
_REFINED = re.compile(r"\(opensim_nem2e \S+, .+ [0-9a-f]{12}\)$")


def is_refinement(series: TimeSeries) -> bool:
    """Tell whether a file is the result of a refinement, by its first line.

    Parameters
    ----------
    series : TimeSeries
        The file.

    Returns
    -------
    bool
        Neither a simulation nor measured EMG if so.
    """
    return _REFINED.search(series.name.strip()) is not None


def read_storage(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    sibling: str | os.PathLike[str] | None = None,
) -> TimeSeries:
    """Read a ``.sto`` or ``.mot`` file.

    A header that OpenSim 4.6 has overwritten is restored in memory, a wrong number of rows is ignored, and of rows
    with the same time the first is kept; each is noted and logged as a warning.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    model : str or os.PathLike, optional
        The ``.osim`` file that it belongs to; needed only when an overwritten header took a part of a label with it.
    sibling : str or os.PathLike, optional
        A healthy states file of the same model, for the same purpose.

    Returns
    -------
    TimeSeries
        Time, labels and data. Missing values are NaN.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing or cannot be read.
    opensim_nem2e.errors.StorageError
        The file is not what it should be: with the line.
    """
    content: bytes | None = None
    lines = None
    flawless = _read_large(path)
    if flawless is not None:
        layout, matrix = flawless
    else:
        content = read_bytes(path, "storage file")
        layout = read_layout(content, path, model=model, sibling=sibling)
        matrix, lines = _read_rows(content, layout, path)
    notes = [*layout.notes, *_count_notes(layout, len(matrix))]
    time = matrix[:, 0]
    keep = _check_time(matrix, content, layout, lines, path)
    if keep is not None:
        dropped = len(time) - int(keep.sum())
        rows = "row has" if dropped == 1 else "rows have"
        where = "the row before" if (np.diff(time) >= 0.0).all() else "an earlier row"
        notes.append(f"{dropped} {rows} the same time as {where}; the first of them is kept")
        matrix = matrix[keep]
    for note in notes:
        logger.warning("%s: %s.", os.fspath(path), note)
    return TimeSeries(
        time=np.ascontiguousarray(matrix[:, 0]),
        labels=layout.labels,
        data=matrix[:, 1:],
        name=layout.name,
        in_degrees=layout.in_degrees,
        header=dict(layout.entries),
        description=layout.description,
        path=Path(path),
        notes=tuple(notes),
        _layout=layout,
    )


def count_rows(content: bytes, layout: HeaderLayout, path: str | os.PathLike[str]) -> int:
    """Check the rows of a file as :func:`read_storage` does, and count them.

    Parameters
    ----------
    content : bytes
        The file's content.
    layout : HeaderLayout
        Its header.
    path : str or os.PathLike
        Its name, for messages.

    Returns
    -------
    int
        The number of rows, those with a repeated time included.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A row is damaged: with its line.
    """
    matrix, lines = _read_rows(content, layout, path)
    _check_time(matrix, content, layout, lines, path)
    return len(matrix)


def _count_notes(layout: HeaderLayout, n_rows: int) -> list[str]:
    """Compare the header's counts with what is there."""
    notes = []
    for key, found, what in (("nRows", n_rows, "rows"), ("nColumns", len(layout.labels) + 1, "columns")):
        if key in layout.entries and layout.count(key) != found:
            notes.append(f"the header says {key}={layout.entries[key]}, but there are {found} {what}; all were read")
    return notes


def _read_rows(
    content: bytes, layout: HeaderLayout, path: str | os.PathLike[str]
) -> tuple[np.ndarray, list[int] | None]:
    """Return the rows, ``(rows, columns)`` with time first, and their lines where they are known."""
    # Parsers take a lone carriage return for a line end, stop at a zero byte, and take some controls for blanks: such
    # files go the careful way.
    even = _parse_even(content, layout)
    if even is not None:
        return even, None
    if not any(sign in content for sign in _NO_BLANKS) and not (b"\r" in content and _LONE_RETURN.search(content)):
        size = len(content) - layout.body_offset
        parse = _parse_with_pandas if size >= PANDAS_FROM_BYTES or "pandas" in sys.modules else _parse_with_numpy
        matrix = parse(BytesIO(memoryview(content)[layout.body_offset :]), layout)
        if matrix is not None:
            return matrix, None
    return _parse_carefully(content, layout, path)


def _read_large(path: str | os.PathLike[str]) -> tuple[HeaderLayout, np.ndarray] | None:
    """Read a large and flawless file without holding its text; None when it needs a closer look.

    Given a file's name, pandas parses it in several threads and does not copy it.
    """
    name = Path(path).absolute()
    try:
        if name.stat().st_size < PANDAS_FROM_BYTES:
            return None
        with name.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content[:_START_OF_FILE]
            layout = read_layout(start, path)
            if layout.overwritten or layout.body_offset >= len(start):
                return None
            even = _parse_even(content, layout)
            if even is not None:
                return layout, even
            if content.find(b"\0") >= 0 or (content.find(b"\r") >= 0 and _LONE_RETURN.search(content)):
                return None
    except (OSError, ValueError, StorageError):
        return None
    matrix = _parse_with_pandas(str(name), layout, skip_lines=layout.body_line - 1)
    return None if matrix is None else (layout, matrix)


def _flawless(matrix: np.ndarray, layout: HeaderLayout) -> np.ndarray | None:
    """Return the rows if none lacks a value; which kind of gap a NaN is, only the careful way can tell."""
    whole = len(matrix) and matrix.shape[1] == len(layout.labels) + 1 and np.isfinite(matrix).all()
    return matrix if whole else None


def _parse_even(content: bytes | mmap.mmap, layout: HeaderLayout) -> np.ndarray | None:
    """Read rows whose cells are all as wide as those above them, as OpenSim writes them; None where they are not."""
    begin, columns = layout.body_offset, len(layout.labels) + 1
    length = content.find(b"\n", begin) + 1 - begin
    if not layout.tabs or begin < 8 or length < 1 or (len(content) - begin) % length:
        return None
    pattern = np.frombuffer(content[begin : begin + length], np.uint8)
    ends = np.flatnonzero((pattern == _TAB) | (pattern == _NEWLINE))
    points = np.flatnonzero(pattern == ord("."))
    if len(ends) != columns or len(points) != columns:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    # Neighbours of one format, of which time may have another.
    edges = [0, *(np.flatnonzero(np.diff(points - starts) | np.diff(ends - points)) + 1).tolist(), columns]
    rows = (len(content) - begin) // length
    matrix = np.empty((rows, columns))
    step = max(1, _TEXT_NUMBERS // columns)
    for row in range(0, rows, step):
        some, at = slice(row, min(row + step, rows)), begin + row * length
        table = np.ndarray((some.stop - row, length), np.uint8, content, at)
        even = (table[:, ends] == pattern[ends]).all()
        del table  # a file in memory cannot be closed while something looks at it
        if not even:
            return None
        for left, right in pairwise(edges):
            cell = int(ends[left] + 1 - starts[left])
            values = numbers_at(content, at + int(starts[left]), (some.stop - row, right - left), (length, cell))
            if values is None:
                return None
            matrix[some, left:right] = values
    return matrix


def _parse_with_pandas(source: BytesIO | str, layout: HeaderLayout, skip_lines: int = 0) -> np.ndarray | None:
    import pandas as pd

    options: dict[str, Any] = {}
    if tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1):
        # Since 3.1 the default parser rounds correctly; before, it had to be asked.
        options["float_precision"] = "round_trip"
    try:
        with warnings.catch_warnings():
            # A column of numbers and text is refused below.
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            frame = pd.read_csv(
                source,
                sep="\t" if layout.tabs else r"\s+",
                header=None,
                skiprows=skip_lines,
                quoting=csv.QUOTE_NONE,
                # A name that ends in ".gz" is no promise.
                compression=None,
                **options,
            )
    except (ValueError, OverflowError):
        return None
    # Asking for float64 instead would cost a fifth more, and make numbers of "True" and "False".
    if any(dtype.kind not in "fiu" for dtype in frame.dtypes):
        return None
    return _flawless(frame.to_numpy(dtype=np.float64), layout)


def _parse_with_numpy(source: BytesIO, layout: HeaderLayout) -> np.ndarray | None:
    try:
        text = str(source.getbuffer(), "ascii")
        if not text or text.isspace():
            return None
        matrix = np.loadtxt(StringIO(text), comments=None, delimiter="\t" if layout.tabs else None, ndmin=2)
    except (ValueError, OverflowError):
        return None
    return _flawless(matrix, layout)


def _lines(content: bytes, layout: HeaderLayout) -> list[tuple[int, bytes]]:
    """Return the rows that are not blank with their lines, counted from 1."""
    lines = content[layout.body_offset :].split(b"\n")
    return [(number, line) for number, line in enumerate(lines, start=layout.body_line) if line.strip()]


def split_row(line: bytes, n_columns: int, tabs: bool) -> list[bytes]:
    """Split a row into its values.

    Parameters
    ----------
    line : bytes
        The row, without its line end.
    n_columns : int
        How many values there should be.
    tabs : bool
        Whether the labels are separated by tabs: then a value can be missing between two of them.

    Returns
    -------
    list of bytes
        The values' text; as many as there are, which need not be ``n_columns``.
    """
    words = line.split()
    if not tabs:
        return words
    parts = line.rstrip(b"\r").split(b"\t")
    while len(parts) > n_columns and not parts[-1].strip():
        parts.pop()
    # Cells keep their text; but OpenSim counts words, and as many words as labels leave no cell empty.
    if len(words) == n_columns and list(map(bytes.strip, parts)) != words:
        return words
    return parts


def _parse_carefully(
    content: bytes, layout: HeaderLayout, path: str | os.PathLike[str]
) -> tuple[np.ndarray, list[int]]:
    """Parse row by row: slower, but it knows the line of every fault."""
    n_columns = len(layout.labels) + 1
    rows = _lines(content, layout)
    if not rows:
        raise StorageError("There are no rows of numbers after the labels.", path, layout.label_line)
    matrix = np.empty((len(rows), n_columns))
    for index, (line_number, line) in enumerate(rows):
        parts = split_row(line, n_columns, layout.tabs)
        if len(parts) != n_columns:
            last = index == len(rows) - 1 and len(parts) < n_columns
            cut = " It is the last row: the file was cut off." if last else ""
            raise StorageError(
                f"The row has {len(parts)} values, but there are {n_columns} labels with time.{cut}", path, line_number
            )
        values = [_value(part) for part in parts]
        if None in values:
            column = values.index(None)
            label = ("time", *layout.labels)[column]
            raise StorageError(
                f"The column '{label}' must hold numbers, but {_show(parts[column])} was found."
                f"{' Numbers must have a decimal point.' if b',' in parts[column] else ''}",
                path,
                line_number,
            )
        matrix[index] = values
        if not np.isfinite(matrix[index, 0]):
            raise StorageError(f"The time must be a finite number, but {_show(parts[0])} was found.", path, line_number)
    return matrix, [line_number for line_number, _ in rows]


def _value(part: bytes) -> float | None:
    """Read a cell: NaN where it is empty, None where it holds no number."""
    return read_number(part) if part.strip() else math.nan


def _show(part: bytes) -> str:
    text = part.decode("utf-8", "replace").strip()
    return repr(text if len(text) <= 40 else text[:37] + "...") if text else "nothing"


def _check_time(
    matrix: np.ndarray,
    content: bytes | None,
    layout: HeaderLayout,
    lines: list[int] | None,
    path: str | os.PathLike[str],
) -> np.ndarray | None:
    """Refuse time that runs backwards; mark the rows to keep when times repeat, else return None.

    A file to which the same rows were appended again, from the first on, holds them twice: those are repeated, too.
    """
    time = matrix[:, 0]
    steps = np.diff(time)
    if (steps > 0).all():
        return None
    backwards = np.flatnonzero(steps < 0)
    keep = np.concatenate([[True], steps > 0])
    if len(backwards):
        latest = np.maximum.accumulate(time)
        keep = np.concatenate([[True], time[1:] > latest[:-1]])
        kept, late = np.flatnonzero(keep), np.flatnonzero(time < latest)
        first = kept[np.minimum(np.searchsorted(time[kept], time[late]), kept.size - 1)]
        differ = late[
            ~((matrix[late] == matrix[first]) | (np.isnan(matrix[late]) & np.isnan(matrix[first]))).all(axis=1)
        ]
        again = time[backwards + 1] == time[0]
        if not differ.size and again.all():
            return keep
        row = int(backwards[backwards < differ[0]][-1] if again.all() else backwards[~again][0]) + 1
        if lines is None:
            lines = [number for number, _ in _lines(content or read_bytes(path, "storage file"), layout)]
        raise StorageError(
            f"Time must increase from row to row, but {float(time[row])!r} s follows {float(time[row - 1])!r} s.",
            path,
            lines[row],
        )
    return keep


def write_storage(path: str | os.PathLike[str], series: TimeSeries, *, precision: int = 8) -> None:
    """Write a ``.sto`` or ``.mot`` file as OpenSim writes it.

    The header has OpenSim's six lines (and the free text, if any), numbers the format ``%{p+8}.{p}f``. Time gets more
    digits where two rows would otherwise show the same one. The file appears complete or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Its folder must exist.
    series : TimeSeries
        What to write.
    precision : int, optional
        Digits after the decimal point, OpenSim's ``output_precision``.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A label or the precision is not allowed, or the file cannot be written.
    """
    _check_labels(series.labels, path)
    number = _number_format(precision, path)
    times = _time_texts(series.time, precision)
    row_format = ("\t" + number) * len(series.labels) + "\n"
    header = header_text(series.name, series.n_rows, len(series.labels) + 1, series.in_degrees, series.description)
    with _writing(path) as temporary, temporary.open("wb") as stream:
        stream.write(encode(header + "\t".join(("time", *series.labels)) + "\n"))
        step = max(1, _TEXT_NUMBERS // max(1, len(series.labels)))
        for first in range(0, series.n_rows, step):
            texts = times[first : first + step]
            values = _without_negative_zeros(series.data[first : first + step], precision)
            block = _block(texts, values, precision)
            if block is None:
                rows = (row_format % tuple(row) for row in values.tolist())
                block = b"".join(text + row.encode("ascii") for text, row in zip(texts.tolist(), rows, strict=True))
            stream.write(block)


def rewrite_columns(
    source: TimeSeries,
    replacements: Mapping[str, np.ndarray],
    path: str | os.PathLike[str],
    *,
    name: str,
    precision: int = 8,
    columns: Mapping[str, str] | None = None,
    description: str | None = None,
) -> None:
    """Write a copy of a file with some columns replaced and every other number kept as text.

    What is not replaced reads back bit-identical, whatever the precision. Rows that ``source`` does not hold (repeated
    times, or rows outside a :meth:`TimeSeries.window`) are left out. The header is a healthy one.

    Parameters
    ----------
    source : TimeSeries
        What :func:`read_storage` returned; its file is read again.
    replacements : mapping of str to numpy.ndarray
        Label to new values, ``(rows,)``. In a masked array the masked rows keep their text.
    path : str or os.PathLike
        The file to write; it may be the source itself.
    name : str
        The name for the first line.
    precision : int, optional
        Digits after the decimal point of the new numbers.
    columns : mapping of str to str, optional
        The labels to write, in this order, and the labels they get in the new file. By default all, as they are.
    description : str, optional
        The header's free text. By default that of the source.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        A column to replace or to write is missing or appears twice.
    opensim_nem2e.errors.StorageError
        The source has changed since it was read, an array has the wrong length, or the file cannot be written.
    """
    if source.path is None:
        raise StorageError("Only a time series that was read from a file can be rewritten.")
    kept = range(1, len(source.labels) + 1) if columns is None else [source.index(label) + 1 for label in columns]
    labels = source.labels if columns is None else tuple(columns.values())
    _check_labels(labels, path)
    number = _number_format(precision, path)
    for label, values in replacements.items():
        if np.shape(values) != (source.n_rows,):
            raise StorageError(
                f"The column '{label}' needs {source.n_rows} values, but has the shape {np.shape(values)}.", source.path
            )
    replaced = [source.index(label) + 1 for label in replacements]
    none = np.zeros((source.n_rows, 0))
    new = _without_negative_zeros(np.column_stack([none, *map(np.ma.getdata, replacements.values())]), precision)
    old = np.column_stack([none.astype(bool), *map(np.ma.getmaskarray, replacements.values())])

    changed = StorageError("The file has changed since it was read.", source.path)
    layout = source._layout or read_layout(read_bytes(source.path, "storage file"), source.path)
    if len(layout.labels) != len(source.labels):
        raise changed
    n_columns = len(source.labels) + 1
    # An empty cell is a missing number; OpenSim's readers count words and would shift the row.
    gaps = bool(np.isnan(source.data).any())
    row, times = 0, source.time.tolist()
    texts: list[list[bytes]] = []
    masks: list[list[bool]] = []
    free_text = source.description if description is None else description
    header = header_text(name, len(times), len(labels) + 1, source.in_degrees, free_text)
    # Some rows at a time: of a long trial no second copy is held.
    with _writing(path) as temporary, temporary.open("wb") as stream, _opened(source.path) as lines:
        lines.seek(layout.body_offset)
        stream.write(encode(header + "\t".join(("time", *labels)) + "\n"))
        if layout.tabs and not gaps:
            layout_of_rows = source.time, n_columns, [0, *kept]
            row = _rewrite_even_rows(lines, stream, *layout_of_rows, replaced, new, old, precision)
        for line in lines:
            if not line.strip():
                continue
            parts = split_row(line.rstrip(b"\n"), n_columns, layout.tabs)
            if row == len(times):
                break
            if len(parts) != n_columns or read_number(parts[0]) is None:
                raise changed
            if read_number(parts[0]) != times[row]:
                continue
            if not texts or row % _TEXT_ROWS == 0:
                begin = row - row % _TEXT_ROWS
                texts = [_texts(values, number) for values in new[begin : begin + _TEXT_ROWS].T]
                masks = old[begin : begin + _TEXT_ROWS].T.tolist()
            place = row % _TEXT_ROWS
            for column, text, mask in zip(replaced, texts, masks, strict=True):
                if not mask[place]:
                    parts[column] = text[place]
            chosen = parts if columns is None else [parts[0], *(parts[column] for column in kept)]
            if gaps:
                chosen = [b"nan" if math.isnan(_value(part) or 0.0) else part for part in chosen]
            stream.write(b"\t".join(chosen) + b"\n")
            row += 1
        if row != len(times):
            raise changed


def _rewrite_even_rows(
    source: BinaryIO,
    target: BinaryIO,
    times: np.ndarray,
    n_columns: int,
    order: Sequence[int],
    replaced: Sequence[int],
    new: np.ndarray,
    old: np.ndarray,
    precision: int,
) -> int:
    """Copy rows from where the source stands, as long as they all have cells of the same widths.

    OpenSim writes such rows, and they can be copied and changed as a table of characters.

    Parameters
    ----------
    source, target : file
        Read from and written to; the source is left at the first row that is not copied.
    times : numpy.ndarray, shape (rows,)
        The rows' times.
    n_columns : int
        Cells of a row.
    order : sequence of int
        The columns to write.
    replaced : sequence of int
        The columns with new values.
    new, old : numpy.ndarray, shape (rows, replaced)
        The new values, and whether they keep their text instead.
    precision : int
        Digits of the new values.

    Returns
    -------
    int
        The number of rows copied.
    """
    begin = source.tell()
    pattern = np.frombuffer(source.readline(), np.uint8)
    ends = np.flatnonzero((pattern == _TAB) | (pattern == _NEWLINE))
    starts = np.concatenate([[0], ends[:-1] + 1])
    step, row = max(1, _TEXT_NUMBERS // n_columns), 0
    changed = [column for column in order if column in replaced]
    columns = [replaced.index(column) for column in changed]
    while True:
        source.seek(begin)
        content = source.read(step * len(pattern))
        rows = len(content) // len(pattern) if len(pattern) else 0
        if not rows or len(ends) != n_columns or rows * len(pattern) != len(content) or b"\r" in content:
            break
        if (ends == starts).any():
            break
        table = np.frombuffer(content, np.uint8).reshape(rows, -1)
        separators = pattern[ends]
        if not (table[:, ends] == separators).all() or content.count(b"\t") + content.count(b"\n") != rows * n_columns:
            break
        try:
            found = np.ascontiguousarray(table[:, : ends[0]]).view(f"S{ends[0]}")[:, 0].astype(float)
        except ValueError:
            break
        if not np.array_equal(found, times[row : row + rows]):
            break
        cells = {column: _whole(table[:, starts[column] : ends[column]]) for column in order}
        if changed:
            text = number_cells(new[row : row + rows, columns], precision)
            masks = old[row : row + rows, columns]
            some = [bool(masks[:, number].any()) for number in range(len(changed))]
            if text is None or any(
                keeps and cells[column].itemsize != text.shape[2] for column, keeps in zip(changed, some, strict=True)
            ):
                break
            for number, (column, keeps) in enumerate(zip(changed, some, strict=True)):
                mine = _whole(text[:, number])
                cells[column] = np.where(masks[:, number], cells[column], mine) if keeps else mine
        written = np.full((rows, sum(cells[column].itemsize + 1 for column in order)), _TAB, np.uint8)
        place = 0
        for column in order:
            width = cells[column].itemsize
            _whole(written[:, place : place + width])[:] = cells[column]
            place += width + 1
        written[:, -1] = _NEWLINE
        target.write(written.tobytes())
        begin, row = begin + len(content), row + rows
    source.seek(begin)
    return row


def _whole(cells: np.ndarray) -> np.ndarray:
    """Take each cell, a row of characters, for one thing: that is copied several times faster."""
    return cells.view(f"V{cells.shape[1]}")[:, 0]


def _block(times: np.ndarray, values: np.ndarray, precision: int) -> bytes | None:
    """Write rows as a table of characters; None if their cells are not all of the same width."""
    cells = number_cells(values, precision)
    width = times.dtype.itemsize
    first = np.ascontiguousarray(times).view(np.uint8).reshape(-1, width)
    if cells is None or not first[:, -1].all():
        return None
    written = np.empty((len(times), width + cells.shape[1] * (cells.shape[2] + 1) + 1), np.uint8)
    written[:, :width] = first
    inner = np.full((*cells.shape[:2], cells.shape[2] + 1), _TAB, np.uint8)
    inner[..., 1:] = cells
    written[:, width:-1] = inner.reshape(len(times), written.shape[1] - width - 1)
    written[:, -1] = _NEWLINE
    return written.tobytes()


def _opened(path: Path) -> BinaryIO:
    """Open a file to be read; a failure becomes the package's own error."""
    try:
        return path.open("rb")
    except OSError:
        read_bytes(path, "storage file")  # says what is wrong
        raise


def _number_format(precision: int, path: str | os.PathLike[str]) -> str:
    """Return OpenSim's number format, for example ``%16.8f``."""
    if precision not in PRECISIONS:
        raise StorageError(
            f"The precision must be a whole number from {PRECISIONS[0]} to {PRECISIONS[-1]}, but {precision!r} was "
            "found.",
            path,
        )
    return f"%{precision + 8}.{precision}f"


def _without_negative_zeros(values: np.ndarray, precision: int) -> np.ndarray:
    """Make zeros of negative numbers that would be written as -0.000."""
    return np.where((values < 0.0) & (values > -0.5 * 10.0**-precision), 0.0, values) + 0.0


def _texts(values: np.ndarray, number: str) -> list[bytes]:
    """Format a column; one large formatting operation is several times faster than one per number."""
    numbers = np.asarray(values, dtype=np.float64).tolist()
    return ("\n".join([number] * len(numbers)) % tuple(numbers)).encode("ascii").split(b"\n")


def _time_texts(time: np.ndarray, precision: int) -> np.ndarray:
    """Format time with as many digits as it takes to tell each row from the one before; bytes, (rows,)."""
    if not np.isfinite(time).all() or not (np.diff(time) > 0).all():
        raise StorageError("Only finite, strictly increasing times can be written.")
    for digits in range(precision, PRECISIONS[-1] + 1):
        written = _without_negative_zeros(time, digits)
        cells = number_cells(written[:, np.newaxis], digits)
        if cells is None:
            texts = np.array(_texts(written, f"%{digits + 8}.{digits}f"))
        else:
            texts = cells.view(f"S{digits + 8}").ravel()
        # Times increase, and rounding keeps their order: texts that are not the same increase, too.
        if (texts[1:] != texts[:-1]).all():
            return texts
    raise StorageError(f"Times that differ by less than 1e-{PRECISIONS[-1]} s cannot be written.")


def _check_labels(labels: Sequence[str], path: str | os.PathLike[str]) -> None:
    for label in labels:
        if not label or label != label.strip(BLANKS) or any(sign in label for sign in "\t\r\n"):
            raise LabelError(
                f"A label must be text without tabs, line ends or outer blanks, but {label!r} was found.", path
            )


@contextmanager
def _writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name that becomes ``path``; a failure of the file system becomes the package's own error."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise StorageError(f"The file cannot be written: {error.strerror or error}.", path) from error
