"""The part of a ``.sto``/``.mot`` file before its numbers: header lines and the row of labels.

What is accepted follows OpenSim's own two readers (``Common/Storage.cpp`` and ``Common/STOFileAdapter``), the old
SIMM style (``datacolumns 7``) included. Nothing here needs numpy.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StorageError
from .safe_xml import packed_as

#: How header text becomes ``str`` and back without losing a byte, whatever its encoding was.
ENCODING = "utf-8"
ENCODING_ERRORS = "surrogateescape"

#: A header longer than this is no header. OpenSim's own have fewer than 40 lines.
MAX_HEADER_LINES = 10_000

#: Versions of the format that exist. OpenSim reads any other as well.
VERSIONS = (1, 2, 3)

#: What separates words: Python's own ``str.split`` also splits at signs that OpenSim takes for text (U+2028).
BLANKS = " \t\r\x0b\x0c"
_WORD = re.compile(rf"[^{BLANKS}\n]+")

_ENTRY = re.compile(r"([A-Za-z_][\w.\-]*)[ \t]*=[ \t=]*(.*)\Z", re.DOTALL)

#: A number, and what stands for none or for infinity: the C library's words, and those of Windows.
_DIGITS = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(
    rb"([+-]?)(?:nan(?:\([a-z0-9_]*\))?|1\.#(?:ind|qnan|snan|j)0*|(1\.#inf0*|inf(?:inity)?))", re.IGNORECASE
)

#: A whole number as C's ``atoi`` finds it at the start of a text.
_COUNT = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS = 18

#: Keys that SIMM wrote with a blank instead of an equals sign, and what they are called today.
_SIMM_KEYS = {
    "name": "name",
    "datacolumns": "nColumns",
    "nc": "nColumns",
    "ncolumns": "nColumns",
    "datarows": "nRows",
    "nr": "nRows",
    "nrows": "nRows",
    "range": "range",
    "otherdata": "otherdata",
    "units": "units",
    "wrap": "wrap",
    "event": "event",
    "enforce_loops": "enforce_loops",
    "enforce_constraints": "enforce_constraints",
    "calc_derivatives": "calc_derivatives",
    "version": "version",
    "indegrees": "inDegrees",
}

#: Names of the counts.
_COUNT_KEYS = {key: value for key, value in _SIMM_KEYS.items() if value in ("nRows", "nColumns")}

_CANONICAL = {key.lower(): key for key in ("version", "nRows", "nColumns", "inDegrees", "DataType", "OpenSimVersion")}


@dataclass(frozen=True)
class HeaderLayout:
    """Where things are in a storage file, and what its header says.

    Parameters
    ----------
    name : str
        The name on the first line, or an empty string.
    entries : mapping of str to str
        The ``key=value`` lines; SIMM's keys under today's names.
    in_degrees : bool
        Whether rotations are in degrees.
    description : str
        The free text of the header, its outer blank lines removed.
    labels : tuple of str
        The labels, "time" left out.
    label_line, body_line : int
        Lines of the label row and of the first line after it, counted from 1.
    body_offset : int
        The byte at which the rows start.
    tabs : bool
        Whether the labels are separated by tabs (otherwise by blanks).
    notes : tuple of str
        What had to be corrected or assumed.
    overwritten : bool
        The header was the one that OpenSim 4.6 leaves behind, and has been restored.
    entry_lines : mapping of str to int
        Lines of the header's entries, counted from 1, for messages.
    """

    name: str
    entries: Mapping[str, str]
    in_degrees: bool
    description: str
    labels: tuple[str, ...]
    label_line: int
    body_line: int
    body_offset: int
    tabs: bool
    notes: tuple[str, ...] = ()
    overwritten: bool = False
    entry_lines: Mapping[str, int] = field(default_factory=dict)

    def count(self, key: str) -> int | None:
        """Return the number of rows or columns that the header states.

        Parameters
        ----------
        key : {'nRows', 'nColumns'}
            The entry.

        Returns
        -------
        int or None
            None when the entry is missing or is no number.
        """
        return _whole(self.entries.get(key, ""))

    @property
    def version(self) -> int:
        """The format's version; 0 for files older than versions."""
        return _whole(self.entries.get("version", "")) or 0


def _whole(text: str) -> int | None:
    """Return the whole number with which a text begins, as OpenSim does."""
    match = _COUNT.match(text)
    return int(match[0]) if match and len(match[0]) <= _MOST_DIGITS else None


def decode(raw: bytes) -> str:
    """Turn bytes of a header or label row into text that :func:`encode` turns back into the same bytes.

    Parameters
    ----------
    raw : bytes
        The bytes, in whatever encoding.

    Returns
    -------
    str
        The text.
    """
    return raw.decode(ENCODING, ENCODING_ERRORS)


def encode(text: str) -> bytes:
    """Turn text into the bytes of a header or label row.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    bytes
        The bytes.
    """
    return text.encode(ENCODING, ENCODING_ERRORS)


def split_labels(line: str, row: str | None = None) -> tuple[list[str], bool]:
    """Split a row of labels.

    Parameters
    ----------
    line : str
        The row, without its line end.
    row : str, optional
        The first row of numbers. OpenSim ends a label at any blank or tab and knows no empty ones. Here a label may
        hold blanks, or be empty, where tabs separate the labels and the numbers of the row agree.

    Returns
    -------
    labels : list of str
        The labels, "time" included; empty ones at the end of the row are dropped.
    tabs : bool
        Whether tabs separate them. Labels may then hold blanks.
    """
    words = _WORD.findall(line)
    if "\t" not in (line if row is None else line.strip(BLANKS)):
        return words, False
    labels = _cells(line)
    if row is None:
        return labels, True
    while labels and not labels[0]:
        del labels[0]
    filled = [label for label in labels if label]
    n_words, n_cells = len(_WORD.findall(row)), len(_cells(row))
    if len(labels) in (n_words, n_cells) and len(filled) != n_words:
        return labels, True
    if len(filled) in (n_words, n_cells):
        return filled, True
    return (words, False) if len(words) in (n_words, n_cells) else (labels, True)


def _cells(line: str) -> list[str]:
    """Split a row at its tabs; empty cells at the end are dropped."""
    cells = [cell.strip(BLANKS) for cell in line.split("\t")]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def read_layout(
    content: bytes,
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    sibling: str | os.PathLike[str] | None = None,
) -> HeaderLayout:
    """Read the header and the labels of a storage file.

    Parameters
    ----------
    content : bytes
        The file's content. When it is only the start of a file, it must reach past the first row.
    path : str or os.PathLike
        The file's name, for messages and for the tool's name.
    model, sibling : str or os.PathLike, optional
        Where a label that OpenSim 4.6 has overwritten can be looked up: see :mod:`opensim_nem2e.storage.repair`.

    Returns
    -------
    HeaderLayout
        The header, healed if need be.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        The file has no header or no labels, or says something that is not allowed.
    """
    from .header_recovery import heal

    healed = heal(content, path, model=model, sibling=sibling)
    if healed is not None:
        return healed
    return _plain_layout(content, path)


def _plain_layout(content: bytes, path: str | os.PathLike[str]) -> HeaderLayout:
    # A byte order mark, as some editors put in front of text.
    lines, offset = _header_lines(content, 3 if content.startswith(b"\xef\xbb\xbf") else 0, path)
    name, entries, entry_lines, description, notes = _entries(lines)
    version = _version(entries, notes)
    data_type = entries.get("DataType", "double")
    if data_type.lower() != "double":
        raise StorageError(
            f"Only DataType=double can be read, but the file has DataType={_shorten(data_type)}.",
            path,
            entry_lines["DataType"],
        )
    in_degrees = _in_degrees(entries, description, version, path, notes)

    # Blank lines may stand between endheader and the labels.
    line_number = len(lines) + 2
    while True:
        raw, after = _line_at(content, offset)
        if raw is None:
            raise StorageError("There is no row of labels after 'endheader'.", path, line_number)
        if raw.strip():
            break
        offset = after
        line_number += 1
    row, _ = _line_at(content, after)
    labels, tabs = split_labels(decode(raw), decode(row) if row and row.strip() else None)
    if labels[0].lower() != "time":
        raise StorageError(
            f"The row of labels must begin with 'time', but begins with {_shorten(labels[0])!r}.", path, line_number
        )
    return HeaderLayout(
        name=name,
        entries=entries,
        in_degrees=in_degrees,
        description=description,
        labels=tuple(labels[1:]),
        label_line=line_number,
        body_line=line_number + 1,
        body_offset=after,
        tabs=tabs,
        notes=tuple(notes),
        entry_lines=entry_lines,
    )


def _line_at(content: bytes, offset: int) -> tuple[bytes | None, int]:
    """Return the line that starts at a byte (None at the end of the file) and where the next one starts."""
    if offset >= len(content):
        return None, offset
    end = content.find(b"\n", offset)
    if end < 0:
        return content[offset:], len(content)
    return content[offset:end], end + 1


def ends_header(line: str) -> bool:
    """Tell whether a line is the header's last: OpenSim's older reader looks at its first word only.

    Parameters
    ----------
    line : str
        The line.

    Returns
    -------
    bool
        True also for ``EndHeader`` and ``endheader=``.
    """
    return re.split(r"[ \t=]", line.strip(BLANKS), maxsplit=1)[0].lower() == "endheader"


def _header_lines(content: bytes, offset: int, path: str | os.PathLike[str]) -> tuple[list[str], int]:
    """Return the lines before ``endheader`` and the byte after it."""
    lines: list[str] = []
    while len(lines) < MAX_HEADER_LINES:
        raw, offset = _line_at(content, offset)
        if raw is None:
            break
        line = decode(raw).strip(BLANKS)
        if ends_header(line):
            return lines, offset
        lines.append(line)
    if not content.strip():
        raise StorageError("The file is empty.", path)
    raise StorageError(
        f"There is no 'endheader' line among the first {len(lines)} lines: this is no OpenSim storage file."
        f"{packed_as(content[:16])}",
        path,
    )


def _entries(lines: list[str]) -> tuple[str, dict[str, str], dict[str, int], str, list[str]]:
    """Sort the header's lines into name, entries (with their lines), free text, and what is odd about them.

    Of entries that are given twice OpenSim takes the last; its own forward tool writes nColumns beside SIMM's
    datacolumns.
    """
    name = ""
    entries: dict[str, str] = {}
    entry_lines: dict[str, int] = {}
    free: list[str] = []
    notes: list[str] = []
    first = True
    for number, line in enumerate(lines, start=1):
        key, value = _entry(line)
        if key == "name":
            name = value
        elif key:
            if key == "inDegrees" and _is_yes(entries.get(key, value)) != _is_yes(value):
                notes.append(
                    f"the header says inDegrees={_shorten(entries[key])} and then {_shorten(value)}, which counts"
                )
            entries[key] = value
            entry_lines[key] = number
        elif first and line:
            name = line
        else:
            free.append(line)
        first = first and not line
    return name, entries, entry_lines, "\n".join(free).strip(), notes


def _entry(line: str) -> tuple[str, str]:
    """Return an entry's key, as it is called today, and its value; no key for free text."""
    match = _ENTRY.match(line)
    if match:
        key = _CANONICAL.get(match[1].lower()) or _COUNT_KEYS.get(match[1].lower()) or match[1]
        # "name=x" is nothing that OpenSim writes; to its readers, "name" and what follows is the name.
        return key, match[2].strip(BLANKS)
    word, *rest = _WORD.findall(line) or [""]
    value = line[len(word) :].strip(BLANKS)
    if _is_entry(word.lower(), rest):
        return _SIMM_KEYS[word.lower()], value
    return "", ""


def _is_entry(key: str, words: list[str]) -> bool:
    """Tell SIMM's ``datarows 20`` from free text ("Units are S.I. units") that begins with the same word."""
    if key not in _SIMM_KEYS:
        return False
    if key in _COUNT_KEYS or key in ("otherdata", "version"):
        return len(words) > 0 and _COUNT.match(words[0]) is not None
    if key == "range":
        return len(words) == 2 and all(re.fullmatch(r"[-+.0-9eE]+", word) for word in words)
    return key == "name" or len(words) == 1


def _version(entries: Mapping[str, str], notes: list[str]) -> int:
    if "version" not in entries:
        return 0
    version = _whole(entries["version"])
    if version not in VERSIONS:
        notes.append(
            f"the header says version={_shorten(entries['version'])}, but there are 1 to 3; it is read all the same"
        )
    return version or 0


def _is_yes(text: str) -> bool:
    return text.lower() in ("yes", "y")


def _in_degrees(
    entries: Mapping[str, str], description: str, version: int, path: str | os.PathLike[str], notes: list[str]
) -> bool:
    """Decide whether rotations are in degrees.

    As OpenSim's ``Storage`` does, but that it takes a ``.mot`` file without a version for degrees even where the file
    says otherwise.
    """
    word = entries.get("inDegrees")
    if word is not None:
        if _is_yes(word) or word.lower() in ("no", "n"):
            return _is_yes(word)
        notes.append(f"inDegrees must be 'yes' or 'no', but is '{_shorten(word)}', which OpenSim takes for 'no'")
    if version == 0:
        if "Angles are in degrees." in description:
            return True
        if "Angles are in radians." in description:
            return False
        if Path(path).suffix.lower() == ".mot":
            notes.append("the header names no version and no unit of angles: degrees are assumed, as OpenSim does")
            return True
    return False


def _shorten(text: str, limit: int = 60) -> str:
    """Cut what was found to a length that fits a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_number(word: bytes) -> float | None:
    """Read a number as OpenSim and Windows' run-time library write it.

    Parameters
    ----------
    word : bytes
        A word of a row. None is missing; ``-nan(ind)``, ``1.#QNAN`` and ``-1.#IND00`` are NaN, ``1.#INF`` is infinite.

    Returns
    -------
    float or None
        None for what is no number: text, digits of other scripts, or digits with underscores, which ``float`` takes.
    """
    word = word.strip()
    if _DIGITS.fullmatch(word):
        return float(word)
    special = _SPECIAL.fullmatch(word)
    if special is None:
        return None
    return math.nan if special[2] is None else math.copysign(math.inf, -1.0 if special[1] == b"-" else 1.0)


def is_number(word: bytes) -> bool:
    """Tell whether a word of a row is a number.

    Parameters
    ----------
    word : bytes
        The word.

    Returns
    -------
    bool
        True for NaN, too.
    """
    return read_number(word) is not None


#: Says what makes the files that are being written.
_writer: ContextVar[Callable[[], str] | None] = ContextVar("writer", default=None)


@contextmanager
def written_by(writer: Callable[[], str]) -> Iterator[None]:
    """Have the heads of all storage files that are written in the block say what made them.

    Parameters
    ----------
    writer : callable
        Says it in a few words, when a head is written.
    """
    before = _writer.set(writer)
    try:
        yield
    finally:
        _writer.reset(before)


def header_text(
    name: str, n_rows: int, n_columns: int, in_degrees: bool, description: str = "", newline: str = "\n"
) -> str:
    """Make the header that OpenSim itself writes: six lines, and the free text if there is any.

    Scripts in the field expect the labels of a results file on line 7 (OpenSim ``Storage::writeHeader``).

    Parameters
    ----------
    name : str
        The first line; what made the file (:func:`written_by`) follows in brackets, as a line of its own would be a
        seventh.
    n_rows, n_columns : int
        Number of rows, and of columns with time.
    in_degrees : bool
        Whether rotations are in degrees.
    description : str, optional
        Free text.
    newline : str, optional
        The line end.

    Returns
    -------
    str
        The header up to and including ``endheader`` and its line end.
    """
    # A name must not be taken for an entry or for the header's end when it is read again.
    writer = _writer.get()
    words = " ".join((f"{name} ({writer()})" if writer else name).split()).replace("=", "-")
    if words.lower() == "endheader" or words.partition(" ")[0].lower() in _SIMM_KEYS:
        words = f"_{words}"
    lines = [
        words,
        "version=1",
        f"nRows={n_rows}",
        f"nColumns={n_columns}",
        f"inDegrees={'yes' if in_degrees else 'no'}",
    ]
    if description:
        lines += ["", *description.splitlines(), ""]
    lines.append("endheader")
    return newline.join(lines) + newline
