"""Read EMG from the tables that laboratories' software exports: text and, where openpyxl is installed, Excel.

A table is a block of rows of numbers under a row of labels. What stands above it is recognised by what it says, not by
who wrote it: Delsys EMGworks has a time column per sensor, Vicon Nexus a block ``Devices`` with its rate, frames and
sub-frames, Noraxon and BTS a preamble, Qualisys the labels in its preamble, and others a row of units, or comments.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, StorageError, did_you_mean
from ..log import logger
from .sto import TimeSeries
from .tables import SEPARATORS, parse_number, read_text, split_lines

Array = NDArray[np.float64]

#: The largest table that is read: ten minutes of sixteen channels at 2 kHz have 200 MB.
MAX_BYTES = 256 * 1024 * 1024

#: Recordings of EMG, raw or envelopes, have such rates (Hz). A rate outside comes from a wrong unit of time.
PLAUSIBLE_RATES = (10.0, 100_000.0)

#: A sensor this much slower than the fastest one records something else than EMG.
_SLOW = 0.4

#: Times that were rounded lie half of their last digit from even ones; a row that is there twice lies further off.
_ROUNDED = 0.6

#: A column that rises evenly, but for rounding, over so many rows is no EMG.
_ENOUGH = 50
_EVEN = 0.01

#: So many lines show how a table is laid out, and so many of its times how they were rounded.
_HEAD = 400

#: What a column of time is called: "time", "Time (s)", "Time,s", "t [s]", "X[s]", "EMG 1 Time Series (s)" (Delsys), ...
_TIME = re.compile(
    r"(?P<name>((abs(olute)?|elapsed|relative|frame) ?)?time|.{0,80}\btime series|timestamps?|time ?stamps?|zeit|temps|"
    r"tiempo|tempo|tijd|tid|czas|aika|время|时间|時間|seconds|t|x|x ?axis)"
    r"(\s*[\[(,_ ]\s*(?P<unit>[^\W\d_]+)\s*[\])]?)?",
    re.IGNORECASE,
)
_SECONDS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "mins", "minutes"), 60.0),
}

#: Columns that count rows.
_COUNTERS = re.compile(
    r"(|index|idx|frames?|frame ?[#n]\w*|sub ?frames?|samples?|sample ?[#n]\w*|no\.?|nr\.?|#|n|row|item|count|"
    r"unnamed: ?0)",
    re.IGNORECASE,
)

_FRAMES = re.compile(r"(sub ?)?frames?", re.IGNORECASE)

#: Columns of words.
_WORDS = re.compile(r"(activit(y|ies)|markers?|events?|comments?|annotations?|notes?|labels?|periods?)", re.IGNORECASE)

#: What the sensors of EMG measure besides. The adductor magnus (add_mag1_r) is no magnetometer.
_OTHER_SENSOR = re.compile(
    r"(?<![a-z])(acc|accel\w*|gyro\w*|(?<!add[ _.-])(?<!adductor[ _.-])mag(n(?!us)\w*)?|imu|quat\w*|pitch|roll|yaw|"
    r"orientation|foot ?switch|force|moment|heart ?rate|battery|rssi|sync\w*|trigger|[fm][xyz]\d*|"
    r"cop([ _.-]?[xyz]\w*)?)(?![a-z])",
    re.IGNORECASE,
)

#: Units of voltage, or of EMG that was normalised; and others that a row of units may hold.
_MILLIVOLTS = {"v": 1e3, "volt": 1e3, "volts": 1e3, "mv": 1.0, "uv": 1e-3, "nv": 1e-6}
_EMG_UNITS = {*_MILLIVOLTS, "µv", "μv", "", "%", "%mvc", "mvc", "a.u.", "au", "n.u.", "-", "1"}
_OTHER_UNITS = {
    *("g", "m/s^2", "m/s2", "m/s²", "mg", "deg", "°", "deg/s", "°/s", "dps", "rad", "rad/s", "ut", "µt", "μt", "gauss"),
    *("n", "n.mm", "nmm", "n.m", "nm", "kg", "mm", "cm", "m", "bpm", "hz", "pa", "bit", "bits", "on/off"),
}
_UNIT_IN_LABEL = re.compile(r"[\[(,]\s*(?P<unit>[^\[\](),]+?)\s*[\])]?$")

#: A preamble's line that states the rate: "Frequency,1000", "Sampling rate: 2 kHz", "fs=1000".
_RATE_KEY = re.compile(
    r"(?:(?:analog |emg )?(?:(?:sampling|sample|analog)[ _]?)?(?:frequency|frequenz|rate|freq\.?)|fs)"
    r"\s*(?:[\[(]\s*hz\s*[\])])?\s*[:=]?\s*(?P<value>[\d.,]*\s*(?:k?hz)?)",
    re.IGNORECASE,
)
_RATE = re.compile(r"(?P<value>[\d.,]+)\s*(?P<unit>k?hz)?", re.IGNORECASE)
_NAMES_KEY = re.compile(r"channel[ _]?(names|titles?)\s*[:=]?", re.IGNORECASE)

#: Rows between labels and numbers that say something else of each column (LabChart, Vicon Workstation).
_OF_COLUMNS = re.compile(r"(range|units?|unit ?names?|(top|bottom) ?values?)\s*[:=]", re.IGNORECASE)

#: Its opposite: "Interval= 0.001 s" (LabChart).
_INTERVAL_KEY = re.compile(r"interval\s*[:=]", re.IGNORECASE)
_INTERVAL = re.compile(r"(?P<value>[\d.,]+(e[+-]?\d+)?)\s*(?P<unit>[^\W\d]+)?", re.IGNORECASE)

_MISSING = {"nan", "na", "n/a", "#n/a", "null", "-", "-nan", "-nan(ind)", "nan(ind)", "1.#qnan", "-1.#ind"}
_INFINITE = re.compile(r"[+-]?(inf(inity)?|1\.#inf)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)

#: Blocks of Vicon Nexus.
_BLOCKS = ("devices", "joints", "model outputs", "segments", "trajectories", "events", "global segments")


class _Line(NamedTuple):
    """A line's cells; its number counts from 1."""

    number: int
    cells: list[str]


@dataclass
class _Layout:
    """Where things are in a table."""

    separator: str
    decimal_comma: bool
    first: int  # index of the first row of numbers
    last: int  # index behind the last
    labels: list[str]
    labels_line: int
    units: list[str] = field(default_factory=list)
    devices: list[list[str]] = field(default_factory=list)  # rows that may name the devices of columns
    words: frozenset[int] = frozenset()
    rate: float | None = None


def read_emg_table(
    path: Path,
    *,
    sampling_rate: float | None = None,
    channels: Collection[str] | None = None,
    start: Literal["zero", "first_frame"] = "zero",
) -> TimeSeries:
    """Read the channels of a table.

    Parameters
    ----------
    path : pathlib.Path
        A ``.csv``, ``.txt``, ``.tsv``, ``.emt`` or ``.xlsx`` file.
    sampling_rate : float, optional
        The rate (Hz): where there is no column of time, or where its times were rounded when written.
    channels : collection of str, optional
        Columns that are EMG whatever their names and units say; all others are left out.
    start : {'zero', 'first_frame'}
        For a table with numbers of frames instead of time: the time of its first row.

    Returns
    -------
    TimeSeries
        In mV where a row of units names volts, else in the units of the file. What was left out, and what was
        corrected, is in the log.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        What is wrong, with the line.
    """
    lines = _excel_lines(path) if path.suffix.lower() == ".xlsx" else read_text(path, "table", MAX_BYTES).split("\n")
    layout = _find_layout(lines, path)
    values, numbers = _numbers(lines, layout, path)
    return _Columns(path, lines, layout, values, numbers, channels).series(sampling_rate, start)


def start_of_cut(path: Path, frame: int, seconds: float, start: Literal["zero", "first_frame"]) -> float:
    """Return the time of the first sample of what was cut out of a longer recording, and tell it.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    frame : int
        The number of its first frame.
    seconds : float
        How far into the recording that is (s).
    start : {'zero', 'first_frame'}
        What is wanted.

    Returns
    -------
    float
        In s.
    """
    at, hint = (seconds, "") if start == "first_frame" else (0.0, " If the motion's times do not, set <c3d_start>.")
    text = "%s: its first frame is number %d (%.4f s into the recording); its time starts at %.4f s.%s"
    logger.info(text, path, frame, seconds, at, hint)
    return at


def millivolts(unit: str) -> float | None:
    """Tell how many mV a unit of voltage is.

    Parameters
    ----------
    unit : str
        As files name it.

    Returns
    -------
    float or None
        None for other units.
    """
    return _MILLIVOLTS.get(unit.strip().lower().replace("µ", "u").replace("μ", "u"))


def check_channels(channels: Collection[str] | None, labels: Collection[str], path: Path) -> None:
    """Compare the channels that are asked for with those that a recording has.

    Parameters
    ----------
    channels : collection of str or None
        Asked for; None for all.
    labels : collection of str
        There.
    path : pathlib.Path
        The recording.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        None of them is there. If some are, the others are warned of.
    """
    if channels is None:
        return
    absent = [channel for channel in channels if channel not in labels]
    if len(absent) == len(channels):
        raise StorageError(
            f"None of the channels of <channels_file> is in the recording, which has {', '.join(labels)[:1000]}.", path
        )
    for channel in absent:
        logger.warning("%s: there is no channel '%s'.%s", path, channel, did_you_mean(channel, labels))


def _excel_lines(path: Path) -> list[str]:
    """Return the first sheet as lines of cells separated by tabs."""
    import zipfile

    import pandas as pd

    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise StorageError(
            'Excel files are read by openpyxl, which is not installed: pip install "opensim-nem2e[excel]", or save it '
            "as CSV.",
            path,
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        if unpacked > MAX_BYTES:
            raise StorageError(f"At most {MAX_BYTES >> 20} MB are read; unpacked it has {unpacked >> 20} MB.", path)
        sheet = pd.read_excel(path, header=None, dtype=object, engine="openpyxl", na_filter=False)
    except StorageError:
        raise
    except Exception as error:  # openpyxl lets whatever a damaged file makes go wrong pass
        raise StorageError(f"It cannot be read as an Excel file: {type(error).__name__}: {error}"[:300], path) from None
    return [
        "\t".join('"' + re.sub(r"\s+", " ", str(cell)).replace('"', '""') + '"' for cell in row)
        for row in sheet.itertuples(index=False)
    ]


def _cells(line: str, separator: str) -> list[str]:
    """Split a line of which it is not known yet what it is."""
    try:
        found = next(csv.reader([line], delimiter=separator, skipinitialspace=separator != "\t"), [])
    except csv.Error:
        return [line[:100]]
    return [cell.strip() for cell in found]


def _is_comment(line: str) -> bool:
    return line.lstrip(' "').startswith(("#", "%", "//"))


def _is_number(cell: str, decimal_comma: bool) -> bool:
    if "," in cell and not decimal_comma:
        return False
    return bool(_NUMBER.fullmatch(cell) or cell.lower() in _MISSING or _INFINITE.fullmatch(cell))


def _trimmed(cells: Sequence[str]) -> list[str]:
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return list(cells[:count])


def _find_layout(lines: Sequence[str], path: Path) -> _Layout:
    block = _vicon_block(lines, path)
    first, last = block or (0, len(lines))
    head = [index for index in range(first, last) if lines[index].strip(" ,;\t") and not _is_comment(lines[index])]
    if not head:
        raise StorageError("The table is empty: a row of labels and rows of numbers are needed.", path, 1)
    tries = [
        found
        for decimal_comma in (False, True)
        for separator in (*SEPARATORS, " ")
        for found in _Try.all(lines, head[:_HEAD], separator, decimal_comma)
    ]
    best = max(tries, key=lambda found: found.score)
    if not best.rows:
        raise StorageError(
            "No rows of numbers were found: a row of labels and rows of numbers are needed, separated by commas, "
            f"semicolons or tabs. The first line is '{lines[head[0]][:60]}'{_no_number(lines, head)}.",
            path,
            head[0] + 1,
        )
    return best.layout(lines, (first, last), path, vicon=block is not None)


def _no_number(lines: Sequence[str], head: Sequence[int]) -> str:
    """Name a cell that should be a number, in the second line of a table without rows of numbers."""
    if len(head) < 2:
        return ""
    line = lines[head[1]]
    cells = max((_cells(line, separator) for separator in SEPARATORS), key=len)
    found = next((cell for cell in cells if cell and not _is_number(cell, ";" in line or "\t" in line)), "")
    return f"; '{found[:60]}' in line {head[1] + 1} is no number" if found else ""


def _vicon_block(lines: Sequence[str], path: Path) -> tuple[int, int] | None:
    """Return where the lines of the block ``Devices`` begin and end; None if the file has no such blocks."""
    starts = [
        index
        for index, (line, below) in enumerate(pairwise(lines))
        if line.strip(' ,;\t"').lower() in _BLOCKS and below.strip(" ,;\t").isdigit()
    ]
    if not starts:
        return None
    devices = [index for index in starts if lines[index].strip(' ,;\t"').lower() == "devices"]
    if len(devices) != 1:
        names = ", ".join(lines[index].strip(' ,;\t"') for index in starts)
        raise StorageError(f"An export of Vicon Nexus must have one block 'Devices'; found {names[:200]}.", path)
    end = devices[0]
    while end < len(lines) and lines[end].strip(" ,;\t"):
        end += 1
    return devices[0], end


@dataclass
class _Try:
    """A table as one separator and one decimal sign show it."""

    separator: str
    decimal_comma: bool
    rows: list[_Line]
    labels: _Line | None
    units: list[str]
    above: list[_Line]
    words: frozenset[int]
    score: tuple[bool, int, bool, int]

    @classmethod
    def all(cls, lines: Sequence[str], head: Sequence[int], separator: str, decimal_comma: bool) -> list[_Try]:
        """Look for the most common number of columns, and for that of the last row: above it may be more numbers."""
        every = [_Line(index, _cells(lines[index], separator)) for index in head]
        # A row of labels may name columns of words.
        words = next(
            (
                frozenset(k for k, cell in enumerate(line.cells) if _WORDS.fullmatch(cell))
                for line in every
                if len(line.cells) > 2 and any(_TIME.fullmatch(cell) for cell in line.cells)
            ),
            frozenset(),
        )

        def numeric(line: _Line) -> bool:
            cells = [cell for k, cell in enumerate(line.cells) if cell and k not in words]
            return bool(cells) and all(_is_number(cell, decimal_comma) for cell in cells)

        widths = Counter(len(line.cells) for line in every if numeric(line))
        if not widths:
            return [cls(separator, decimal_comma, [], None, [], every, words, (False, 0, False, 0))]
        last = next(line for line in reversed(every) if numeric(line))
        chosen = dict.fromkeys((max(widths, key=lambda n: (widths[n], n)), len(last.cells)))
        return [cls._of(every, width, numeric, separator, decimal_comma, words) for width in chosen]

    @classmethod
    def _of(
        cls,
        every: list[_Line],
        width: int,
        numeric: Callable[[_Line], bool],
        separator: str,
        decimal_comma: bool,
        words: frozenset[int],
    ) -> _Try:
        flags = [numeric(line) and len(line.cells) == width for line in every]
        used = max(len(_trimmed(line.cells)) for line, flag in zip(every, flags, strict=True) if flag)
        # Numbers may stand in a preamble, and words where a number should be: labels hold no numbers and mostly name
        # time, and what follows the first row are more rows.
        begins = [k for k, flag in enumerate(flags) if flag and (k == 0 or not numeric(every[k - 1]))] or [
            flags.index(True)
        ]
        found = {k: _labels_above(every[:k], used, width) for k in begins}

        def likely(k: int) -> tuple[bool, bool, bool]:
            labels = found[k][0]
            cells = labels.cells if labels is not None else []
            clean = bool(cells) and not any(cell and _is_number(cell, decimal_comma) for cell in cells)
            timed = clean and any(_TIME.fullmatch(cell) for cell in cells)
            return clean, timed, k + 1 == len(every) or numeric(every[k + 1])

        begin = max(begins, key=likely)
        labels, units = found[begin]
        if labels is not None and not every[begin].cells[0] and labels.cells[0] and begin + 1 < len(every):
            begin += 1  # BIOPAC writes each channel's number of samples into a row without time
        rows = [line for line, flag in zip(every[begin:], flags[begin:], strict=True) if flag]
        above = every[:begin]
        return cls(
            separator,
            decimal_comma,
            rows,
            labels,
            units,
            above,
            words,
            # A table reaches to the end of what was looked at; what stands above one may have more rows.
            (
                labels is not None and flags[-1],
                sum(flags),
                labels is not None,
                width if labels is not None else -width,
            ),
        )

    def layout(self, lines: Sequence[str], span: tuple[int, int], path: Path, *, vicon: bool) -> _Layout:
        first = self.rows[0].number
        labels = self.labels or self._labels_elsewhere(lines, first)
        width = len(self.rows[0].cells)
        if labels is None:
            many = f"{width} columns" if width > 1 else "1 column"
            example = ",".join(["time", *(f"channel{k}" for k in range(1, max(width, 2)))][:6])
            if not self.above:
                raise StorageError(
                    f"The table has no row of labels: its first row holds numbers. Add one above its {many}, such as "
                    f"'{example}{',...' if width > 6 else ''}'.",
                    path,
                    first + 1,
                )
            nearest = self.above[-1]
            raise StorageError(
                f"The row of labels must have one for each column: {len(_trimmed(nearest.cells))} are here, but the "
                f"rows below it have {width} values.",
                path,
                nearest.number + 1,
            )
        if _is_number(labels.cells[0], self.decimal_comma) and labels.number + 1 == first:
            words = next((cell for cell in labels.cells if cell and not _is_number(cell, self.decimal_comma)), "")
            if words and self.above[0].number < labels.number:
                raise StorageError(f"'{words[:60]}' stands among numbers.", path, labels.number + 1)
        if self.labels is not None:
            # Seen with lenience so far.
            list(split_lines([lines[labels.number]], self.separator, path, first=labels.number + 1))
        if self.decimal_comma and not self._surely_decimal(labels):
            raise StorageError(
                f"'{lines[first][:40]}' may be two values, or one with a decimal comma: write decimal points.",
                path,
                first + 1,
            )
        found = _Layout(
            self.separator,
            self.decimal_comma,
            first,
            span[1],
            labels.cells,
            labels.number + 1,
            [*self.units, *[""] * (len(labels.cells) - len(self.units))],
            words=self.words,
        )
        for line in self.above:
            found.rate = _stated_rate(line.cells) or found.rate
        if vicon:
            found.rate = parse_number(lines[span[0] + 1].strip(" ,;\t"))
        found.devices = [
            line.cells
            for line in self.above
            if span[0] + (1 if vicon else -1) < line.number < labels.number and len(line.cells) > 1
        ]
        return found

    def _surely_decimal(self, labels: _Line) -> bool:
        """Tell whether commas are decimal where nothing else separates cells."""
        if len(labels.cells) > 1:
            return True
        return any(re.fullmatch(r"[+-]?\d*,(0\d+|\d+[eE].*)", line.cells[0]) for line in self.rows)

    def _labels_elsewhere(self, lines: Sequence[str], first: int) -> _Line | None:
        """Find labels in the last comment above the numbers, or under a key of the preamble."""
        width = len(self.rows[0].cells)
        for line in self.above:
            cells = _trimmed(line.cells)
            if len(cells) == width + 1 and _NAMES_KEY.fullmatch(cells[0]):
                return _Line(line.number, cells[1:])
        comments = [index for index in range(first) if _is_comment(lines[index])]
        if comments and all(not line.strip() for line in lines[comments[-1] + 1 : first]):
            cells = _trimmed(_cells(lines[comments[-1]].lstrip(' "#%/'), self.separator))
            if len(cells) == width:
                return _Line(comments[-1], cells)
        return None


def _labels_above(above: Sequence[_Line], used: int, width: int) -> tuple[_Line | None, list[str]]:
    """Return the row of labels next above the numbers, if it fits them, and the row of units between."""
    units: list[str] = []
    for line in reversed(above):
        cells = _trimmed(line.cells)
        if len(above) > 1 and cells and all(cell.lower().endswith("hz") and _RATE.fullmatch(cell) for cell in cells):
            # Delsys Trigno Discover: each column's rate.
            continue
        if not units and len(above) > 1 and _is_units(cells):
            units = cells
            continue
        if len(cells) > 1 and _OF_COLUMNS.fullmatch(cells[0]):
            units = ["", *cells[1:]] if _is_units(cells[1:]) else units
            continue
        if len(cells) > 1 and _NAMES_KEY.fullmatch(cells[0]):
            cells = [] if len(cells) > width else ["time", *cells[1:]]
        return (_Line(line.number, cells) if used <= len(cells) <= width else None), units
    return None, units


def _is_units(cells: Sequence[str]) -> bool:
    """Tell whether a row holds units, of which one at least is of time or voltage."""
    units = [cell.strip("[]() ").lower() for cell in cells]
    known = _EMG_UNITS | _OTHER_UNITS | set(_SECONDS)
    return all(unit in known for unit in units) and any(units)


def _stated_rate(cells: Sequence[str]) -> float | None:
    if len(cells) > 1 and _INTERVAL_KEY.fullmatch(cells[0]):
        given = _INTERVAL.fullmatch(cells[1])
        step = parse_number(given["value"], decimal_comma=True) if given else None
        unit = _SECONDS.get((given["unit"] or "").lower()) if given else None
        return 1.0 / (step * unit) if step and unit and step > 0.0 else None
    if len(cells) > 1 and cells[1].lower() == "hz" and _NUMBER.fullmatch(cells[0]):
        cells = ["rate", cells[0]]  # Vicon Workstation: "1000,Hz"
    match = _RATE_KEY.fullmatch(cells[0]) if cells else None
    if match is None:
        return None
    stated = _RATE.fullmatch(match["value"].strip() or next((cell for cell in cells[1:] if cell), ""))
    value = None if stated is None else parse_number(stated["value"], decimal_comma=True)
    if stated is None or value is None or not value > 0.0:
        return None
    return value * 1000.0 if (stated["unit"] or "").lower() == "khz" else value


def _numbers(lines: Sequence[str], layout: _Layout, path: Path) -> tuple[Array, NDArray[np.int64]]:
    """Return the rows of numbers, ``(rows, columns)``, and each row's line."""
    body = ["" if _is_comment(line) else line for line in lines[layout.first : layout.last]]
    width, found, numbers = len(layout.labels), array("d"), array("q")
    strict = any(not line.isascii() or "_" in line for line in body)
    if layout.decimal_comma and any("." in line for line in body):
        row = next(k for k, line in enumerate(body) if "." in line)
        raise StorageError(
            "The numbers must have all decimal commas or all decimal points.", path, layout.first + row + 1
        )
    headings = {lines[k].split(layout.separator)[0].strip() for k in range(layout.first)} - {""}
    for line, cells in split_lines(body, layout.separator, path, first=layout.first + 1):
        if not any(cells):
            continue
        if cells[0] in headings and not _is_number(cells[0], layout.decimal_comma):
            raise StorageError(
                f"'{cells[0][:60]}' stands here a second time, as at the start of another recording: export each "
                "recording to a file of its own.",
                path,
                line,
            )
        # LabChart writes a comment ("#* heel strike") behind the last column.
        while len(cells) > width and (not cells[-1] or cells[-1].startswith("#")):
            cells.pop()
        if len(cells) != width:
            raise StorageError(f"A row must have {width} values, as there are labels; found {len(cells)}.", path, line)
        if layout.decimal_comma:
            cells = [cell.replace(",", ".") for cell in cells]
        for k in layout.words:
            cells[k] = ""
        try:
            quick = None if strict else [float(cell) if cell else np.nan for cell in cells]
        except ValueError:
            quick = None
        found.extend(_strict_row(cells, layout, path, line) if quick is None else quick)
        numbers.append(line)
    values = np.array(found).reshape(-1, width)
    infinite = np.isinf(values)
    if infinite.any():
        row_index, column = np.argwhere(infinite)[0]
        raise StorageError(
            f"The column '{layout.labels[column]}' must hold finite numbers; found infinity.", path, numbers[row_index]
        )
    return values, np.array(numbers)


def _strict_row(cells: Sequence[str], layout: _Layout, path: Path, line: int) -> list[float]:
    row = []
    for label, cell in zip(layout.labels, cells, strict=True):
        value = np.nan if not cell or cell.lower() in _MISSING else parse_number(cell)
        if value is None:
            raise StorageError(
                f"The column '{label}' must hold numbers with a decimal point, or a comma in tables whose separator is "
                f"another; found '{cell[:60]}'.",
                path,
                line,
            )
        row.append(value)
    return row


class _Columns:
    """What the columns of a table are."""

    def __init__(
        self,
        path: Path,
        lines: Sequence[str],
        layout: _Layout,
        values: Array,
        numbers: NDArray[np.int64],
        channels: Collection[str] | None,
    ):
        self.path = path
        self.lines = lines
        self.layout = layout
        self.values = values
        self.numbers = numbers
        self.labels = list(layout.labels)
        self.left_out: dict[str, list[str]] = {}
        self.times, self.emg = self._sort(channels)

    def _sort(self, channels: Collection[str] | None) -> tuple[list[int], list[int]]:
        """Return the columns of time and of EMG; remember the others."""
        check_channels(channels, self.labels, self.path)
        times = [k for k, label in enumerate(self.labels) if self._is_time(k, label)]
        emg = []
        for k, label in enumerate(self.labels):
            if k in times:
                continue
            unit = self._unit(k)
            if channels is not None and label in channels:
                emg.append(k)
            elif k in self.layout.words:
                self._leave_out("words", label)
            elif _FRAMES.fullmatch(label) or (_COUNTERS.fullmatch(label) and self._counts(k)):
                self._leave_out("numbers of rows", label or f"column {k + 1}")
            elif channels is not None:
                self._leave_out("not among the channels asked for", label)
            elif unit not in _EMG_UNITS:
                self._leave_out(f"in {unit}", label)
            elif _OTHER_SENSOR.search(label):
                self._leave_out("another sensor", label)
            elif self._only_rises(k):
                self._leave_out("it only goes up, evenly", label or f"column {k + 1}")
            else:
                emg.append(k)
        self._name(emg)
        if not emg:
            listed = ", ".join(repr(label) for label in self.labels)
            raise StorageError(
                f"None of the columns holds EMG; found {listed[:500]}.", self.path, self.layout.labels_line
            )
        return times, emg

    def _is_time(self, column: int, label: str) -> bool:
        match = _TIME.fullmatch(label)
        if match is None:
            return column == 0 and bool(label) and label.lower() in _SECONDS
        unit = (match["unit"] or self.layout.units[column].strip("[]() ")).lower()
        if len(match["name"]) == 1 and not (match["unit"] and unit in _SECONDS) and column > 0:
            # A letter alone is time only where nothing stands before it: accelerometers have axes x, y, z.
            return False
        if unit not in _SECONDS:
            if match["unit"] and not re.search(r"[\[(,]", label):
                return False
            raise StorageError(
                f"The unit of time must be one of s, ms, us, min; found '{unit[:20]}'.",
                self.path,
                self.layout.labels_line,
            )
        return True

    def _factor(self, column: int) -> float:
        match = _TIME.fullmatch(self.labels[column])
        unit = self.labels[column] if match is None else match["unit"] or self.layout.units[column].strip("[]() ")
        return _SECONDS[unit.lower()]

    def _unit(self, column: int) -> str:
        """Return a column's unit in lower case: from the row of units, else the end of its label, if it is one."""
        if self.layout.units[column]:
            return self.layout.units[column].strip("[]() ").lower()
        match = _UNIT_IN_LABEL.search(self.labels[column])
        unit = match["unit"].lower() if match else ""
        # A muscle's name may end in "(M)".
        return unit if unit in _OTHER_UNITS - {"m"} else ""

    def _counts(self, column: int) -> bool:
        """Tell whether a column holds whole numbers that go up by one, or begin again."""
        x = self.values[:, column]
        steps = np.diff(x)
        return bool(np.isfinite(x).all() and (x == np.rint(x)).all() and ((steps == 1.0) | (steps <= 0.0)).all())

    def _only_rises(self, column: int) -> bool:
        """Tell whether a column is time or a count, whatever it is called."""
        steps = np.diff(self.values[:, column])
        return len(steps) >= _ENOUGH and bool((steps > 0.0).all() and np.ptp(steps) <= _EVEN * steps.mean())

    def _leave_out(self, reason: str, label: str) -> None:
        self.left_out.setdefault(reason, []).append(label)

    def _name(self, emg: Sequence[int]) -> None:
        """Refuse columns of EMG without a label, or with the same; a row of devices helps to tell them apart."""
        counts = Counter(self.labels[k] for k in emg)
        for devices in self.layout.devices if max(counts.values(), default=0) > 1 else ():
            device, labels = "", list(self.labels)
            for k in range(len(labels)):
                device = (devices[k] if k < len(devices) else "") or device
                if k in emg and counts[labels[k]] > 1 and device:
                    labels[k] = f"{device}: {labels[k]}"
            if len({labels[k] for k in emg}) == len(emg):
                self.labels = labels
                break
        counts = Counter(self.labels[k] for k in emg)
        for k in emg:
            label = self.labels[k]
            if not label:
                raise LabelError(f"Column {k + 1} has no label.", self.path, self.layout.labels_line)
            if not label.replace("\xa0", " ").isprintable():
                raise LabelError(
                    f"A label must hold printable characters only; found {ascii(label)[:100]}.",
                    self.path,
                    self.layout.labels_line,
                )
            if counts[label] > 1:
                columns = ", ".join(str(c + 1) for c in emg if self.labels[c] == label)
                raise LabelError(
                    f"The label '{label}' appears {counts[label]} times (columns {columns}): each needs its own.",
                    self.path,
                    self.layout.labels_line,
                )

    def series(self, sampling_rate: float | None, start: Literal["zero", "first_frame"]) -> TimeSeries:
        """Put the channels onto one time base."""
        bases: dict[int | None, Array] = {}
        owner: dict[int, int | None] = {}
        for k in self.emg:
            before = [column for column in self.times if column < k]
            owner[k] = before[-1] if before else self.times[0] if self.times else None
        for column in dict.fromkeys(owner.values()):
            bases[column] = self._rows(sampling_rate, start) if column is None else self._time(column, sampling_rate)
        rates = {column: (time.size - 1) / (time[-1] - time[0]) for column, time in bases.items()}
        fastest = max(rates, key=lambda column: rates[column])
        time = bases[fastest]
        slow = [k for k in self.emg if rates[owner[k]] < _SLOW * rates[fastest]]
        for k in slow:
            self._leave_out(f"at {rates[owner[k]]:.4g} Hz", self.labels[k])
        emg = [k for k in self.emg if k not in slow]
        used = [bases[owner[k]] for k in emg]
        inside = (time >= max(t[0] for t in used) - 1e-9) & (time <= min(t[-1] for t in used) + 1e-9)
        if inside.sum() < 2:
            raise StorageError("The sensors' times have nothing in common.", self.path)
        moved: list[str] = []
        columns = []
        for k in emg:
            own, values = bases[owner[k]], self.values[:, k]
            values = values[: own.size]
            if own.size != time.size or np.abs(own - time).max() > 1e-6:
                values = self._moved(own, values, time)
                moved.append(self.labels[k])
            columns.append(values[inside] * (millivolts(self._unit(k)) or 1.0))
        for reason, names in self.left_out.items():
            logger.info("%s: left out (%s): %s.", self.path, reason, ", ".join(names)[:1000])
        if moved:
            logger.info(
                "%s: the sensors have times of their own; brought to those of '%s' (%.6g Hz) by a cubic spline: %s.",
                self.path,
                self.labels[fastest] if fastest is not None else "",
                rates[fastest],
                ", ".join(moved)[:1000],
            )
        labels = tuple(self.labels[k] for k in emg)
        return TimeSeries(time[inside], labels, np.column_stack(columns), path=self.path)

    def _moved(self, own: Array, values: Array, time: Array) -> Array:
        from scipy.interpolate import CubicSpline

        if not np.isfinite(values).all():
            line = int(self.numbers[np.argmin(np.isfinite(values))])
            raise StorageError("A sensor with times of its own must have a value at each.", self.path, line)
        return np.asarray(CubicSpline(own, values)(time))

    def _rows(self, sampling_rate: float | None, start: Literal["zero", "first_frame"]) -> Array:
        """Return times where there is no column of them."""
        rate = sampling_rate or self.layout.rate
        if rate is None:
            raise StorageError(
                "The first column must be called 'time', or the sampling rate must be given; found "
                f"'{self.labels[0][:60]}'.",
                self.path,
                self.layout.labels_line,
            )
        if sampling_rate is None:
            logger.info("%s: no column of time; its own statement of %.6g Hz is used.", self.path, rate)
        elif self.layout.rate is not None and abs(self.layout.rate / sampling_rate - 1.0) > 1e-3:
            logger.warning(
                "%s: the file states %.6g Hz; the sampling rate that was given is used, %.6g Hz.",
                self.path,
                self.layout.rate,
                sampling_rate,
            )
        count = len(self.values)
        if count < 2:
            raise StorageError("A recording needs two rows or more.", self.path)
        return self._first_frame(rate, start) + np.arange(count) / rate

    def _refuse_lost_rows(self) -> None:
        """Refuse numbers of rows that leave some out: times made from a rate would be wrong behind them."""
        for k, label in enumerate(self.labels):
            x = self.values[:, k]
            if label and _COUNTERS.fullmatch(label) and np.isfinite(x).all():
                steps = np.diff(x)
                up = steps[steps > 0.0]
                jumps = steps > 1.5 * np.median(up) if up.size else np.zeros(steps.size, dtype=bool)
                if jumps.any():
                    row = int(np.argmax(jumps))
                    raise StorageError(
                        f"Rows are missing, and no column tells the time: '{label}' {x[row + 1]:g} follows {x[row]:g}.",
                        self.path,
                        int(self.numbers[row + 1]),
                    )

    def _first_frame(self, rate: float, start: Literal["zero", "first_frame"]) -> float:
        """Return when the first row was recorded, by its number of frame."""
        by_name = {label.lower().replace(" ", ""): k for k, label in enumerate(self.labels)}
        frame, sub = by_name.get("frame"), by_name.get("subframe")
        if frame is None or sub is None or not np.isfinite(self.values[:, [frame, sub]]).all():
            self._refuse_lost_rows()
            return 0.0
        per_frame = int(self.values[:, sub].max()) + 1
        ticks = self.values[:, frame] * per_frame + self.values[:, sub]
        if (np.diff(ticks) != 1.0).any():
            line = int(self.numbers[np.argmax(np.diff(ticks) != 1.0) + 1])
            raise StorageError("Frames are missing: Frame and Sub Frame must go on by one.", self.path, line)
        first = float(ticks[0]) - per_frame
        return start_of_cut(self.path, int(self.values[0, frame]), first / rate, start) if first else 0.0

    def _time(self, column: int, sampling_rate: float | None) -> Array:
        """Return the times of a column: as they are, or evened out where they were rounded."""
        label = self.labels[column]
        time = self.values[:, column] * self._factor(column)
        there = np.isfinite(time)
        count = int(there.sum())
        if count < 2:
            raise StorageError(f"The column of time '{label}' needs two rows or more.", self.path)
        if not there[:count].all():
            line = int(self.numbers[np.argmin(there)])
            raise StorageError(f"The column of time '{label}' must hold a number in every row.", self.path, line)
        time = time[:count]
        steps = np.diff(time)
        rounding = self._rounding(column) * self._factor(column)
        ordinal = np.arange(count)
        if sampling_rate is not None:
            even = ordinal / sampling_rate
            even += time[0] if count < 3 else float(np.median(time - even))
            off = float(np.abs(time - even).max())
            if off > rounding + 0.5 / sampling_rate:
                own = (count - 1) / (time[-1] - time[0]) if time[-1] > time[0] else np.inf
                raise StorageError(
                    f"A sampling rate of {sampling_rate:.6g} Hz was given, but the table has a time column, '{label}', "
                    f"of {own:.6g} Hz: times differ by up to {off:.4g} s.",
                    self.path,
                )
            return np.asarray(even)
        if not (steps > 0.0).all():
            even = np.asarray(np.polyval(np.polyfit(ordinal, time, 1), ordinal), dtype=float)
            row = int(np.argmin(steps > 0.0))
            if steps.min() < 0.0 or np.abs(time - even).max() > _ROUNDED * rounding or not even[-1] > even[0]:
                raise StorageError(
                    f"Time must increase, but {time[row + 1]:.9g} s follows {time[row]:.9g} s.",
                    self.path,
                    int(self.numbers[row + 1]),
                )
            logger.warning(
                "%s: times were rounded to %.3g s and repeat; taken as even, at %.6g Hz. Give the sampling "
                "rate if it is known.",
                self.path,
                rounding,
                (count - 1) / (even[-1] - even[0]),
            )
            time = even
        rate = (count - 1) / (time[-1] - time[0])
        low, high = PLAUSIBLE_RATES
        if not low <= rate <= high:
            raise StorageError(
                f"The column of time '{label}' gives a rate of {rate:.4g} Hz, but recordings of EMG have {low:g} to "
                f"{high:g} Hz. Name its unit, such as 'time (ms)', or give the sampling rate if it is right.",
                self.path,
                self.layout.labels_line,
            )
        return np.asarray(time)

    def _rounding(self, column: int) -> float:
        """Return the last digit that times were written with, in the column's unit."""
        decimals = 0
        for number in self.numbers[:_HEAD]:
            cell = _cells(self.lines[number - 1], self.layout.separator)[column].replace(",", ".")
            if "e" in cell.lower():
                return 0.0
            decimals = max(decimals, len(cell.partition(".")[2]))
        return float(10.0**-decimals)
