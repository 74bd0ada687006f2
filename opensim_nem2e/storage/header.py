"""The part of a ``.sto``/``.mot`` file before its numbers: header lines and the row of labels.

What is accepted follows OpenSim's own two readers (``Common/Storage.cpp`` and ``Common/STOFileAdapter``), the old
SIMM style (``datacolumns 7``) included. Nothing here needs numpy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StorageError

#: How header text becomes ``str`` and back without losing a byte, whatever its encoding was.
ENCODING = "utf-8"
ENCODING_ERRORS = "surrogateescape"

#: A header longer than this is no header. OpenSim's own have fewer than 40 lines.
MAX_HEADER_LINES = 2000

#: Versions of the format that exist.
VERSIONS = (1, 2, 3)

_ENTRY = re.compile(r"([A-Za-z_][\w.\-]*)[ \t]*=[ \t]*(.*)\Z", re.DOTALL)

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
}

_CANONICAL = {key.lower(): key for key in ("version", "nRows", "nColumns", "inDegrees", "DataType", "OpenSimVersion")}


@dataclass(frozen=True)
class Layout:
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
        try:
            return int(self.entries[key])
        except (KeyError, ValueError):
            return None

    @property
    def version(self) -> int:
        """The format's version; 0 for files older than versions."""
        return int(self.entries.get("version", 0))


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


def split_labels(line: str) -> tuple[list[str], bool]:
    """Split a row of labels.

    Parameters
    ----------
    line : str
        The row, without its line end.

    Returns
    -------
    labels : list of str
        The labels, "time" included; empty ones at the end of the row are dropped.
    tabs : bool
        Whether tabs separate them. Labels may then hold blanks.
    """
    tabs = "\t" in line
    labels = [label.strip() for label in line.split("\t")] if tabs else line.split()
    while labels and not labels[-1]:
        labels.pop()
    return labels, tabs


def read_layout(
    content: bytes,
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    sibling: str | os.PathLike[str] | None = None,
) -> Layout:
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
    Layout
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


def _plain_layout(content: bytes, path: str | os.PathLike[str]) -> Layout:
    # A byte order mark, as some editors put in front of text.
    lines, offset = _header_lines(content, 3 if content.startswith(b"\xef\xbb\xbf") else 0, path)
    name, entries, entry_lines, description = _entries(lines, path)
    version = _version(entries, entry_lines, path)
    data_type = entries.get("DataType", "double")
    if data_type.lower() != "double":
        raise StorageError(
            f"Only DataType=double can be read, but the file has DataType={data_type}.", path, entry_lines["DataType"]
        )
    in_degrees, notes = _in_degrees(entries, entry_lines, description, version, path)

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
    labels, tabs = split_labels(decode(raw))
    if labels[0].lower() != "time":
        raise StorageError(
            f"The row of labels must begin with 'time', but begins with {_shorten(labels[0])!r}.", path, line_number
        )
    return Layout(
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


def _header_lines(content: bytes, offset: int, path: str | os.PathLike[str]) -> tuple[list[str], int]:
    """Return the lines before ``endheader`` and the byte after it."""
    lines: list[str] = []
    while len(lines) < MAX_HEADER_LINES:
        raw, offset = _line_at(content, offset)
        if raw is None:
            break
        line = decode(raw).strip()
        if line.lower() == "endheader":
            return lines, offset
        lines.append(line)
    if not content.strip():
        raise StorageError("The file is empty.", path)
    raise StorageError(
        f"There is no 'endheader' line among the first {len(lines)} lines: this is no OpenSim storage file.", path
    )


def _entries(lines: list[str], path: str | os.PathLike[str]) -> tuple[str, dict[str, str], dict[str, int], str]:
    """Sort the header's lines into name, entries (with their lines) and free text."""
    name = ""
    entries: dict[str, str] = {}
    entry_lines: dict[str, int] = {}
    free: list[str] = []
    first = True
    for number, line in enumerate(lines, start=1):
        match = _ENTRY.match(line)
        words = line.split(None, 1)
        key = value = None
        if match:
            key = _CANONICAL.get(match[1].lower(), match[1])
            value = match[2]
        elif words and _is_simm_entry(words[0].lower(), words[1] if len(words) == 2 else ""):
            key = _SIMM_KEYS[words[0].lower()]
            value = words[1] if len(words) == 2 else ""
        if key == "name" and not match:
            name = value or ""
        elif key is not None and value is not None:
            if key in ("nRows", "nColumns", "inDegrees", "version", "DataType") and key in entries:
                raise StorageError(f"The header has '{key}' twice; it is allowed once.", path, number)
            entries[key] = value
            entry_lines[key] = number
        elif first and line:
            name = line
        else:
            free.append(line)
        first = first and not line
    return name, entries, entry_lines, "\n".join(free).strip()


def _is_simm_entry(key: str, value: str) -> bool:
    """Tell SIMM's ``datarows 20`` from free text ("Units are S.I. units") that begins with the same word."""
    if key not in _SIMM_KEYS:
        return False
    if key in ("datacolumns", "nc", "ncolumns", "datarows", "nr", "nrows", "otherdata"):
        return value.strip().isdecimal()
    if key == "range":
        try:
            return len([float(part) for part in value.split()]) == 2
        except ValueError:
            return False
    return key == "name" or len(value.split()) == 1


def _version(entries: Mapping[str, str], lines: Mapping[str, int], path: str | os.PathLike[str]) -> int:
    if "version" not in entries:
        return 0
    text = entries["version"]
    if text.isascii() and text.isdigit() and int(text) in VERSIONS:
        return int(text)
    raise StorageError(
        f"The version must be 1, 2 or 3, but 'version={_shorten(text)}' was found.", path, lines["version"]
    )


def _in_degrees(
    entries: Mapping[str, str],
    lines: Mapping[str, int],
    description: str,
    version: int,
    path: str | os.PathLike[str],
) -> tuple[bool, list[str]]:
    """Decide whether rotations are in degrees.

    As OpenSim's ``Storage`` does, but that it takes a ``.mot`` file without a version for degrees even where the file
    says otherwise.
    """
    if "inDegrees" in entries:
        word = entries["inDegrees"].lower()
        if word in ("yes", "y"):
            return True, []
        if word in ("no", "n"):
            return False, []
        raise StorageError(
            f"inDegrees must be 'yes' or 'no', but 'inDegrees={_shorten(entries['inDegrees'])}' was found.",
            path,
            lines["inDegrees"],
        )
    if version == 0:
        if "Angles are in degrees." in description:
            return True, []
        if "Angles are in radians." in description:
            return False, []
        if Path(path).suffix.lower() == ".mot":
            return True, ["the header names no version and no unit of angles: degrees are assumed, as OpenSim does"]
    return False, []


def _shorten(text: str, limit: int = 60) -> str:
    """Cut what was found to a length that fits a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def header_text(
    name: str, n_rows: int, n_columns: int, in_degrees: bool, description: str = "", newline: str = "\n"
) -> str:
    """Make the header that OpenSim itself writes: six lines, and the free text if there is any.

    Scripts in the field expect the labels of a results file on line 7 (OpenSim ``Storage::writeHeader``).

    Parameters
    ----------
    name : str
        The first line.
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
    words = " ".join(name.split()).replace("=", "-")
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
