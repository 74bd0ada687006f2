"""Restore, in memory, the header that OpenSim 4.6 overwrites.

When a process that ran CMC or RRA ends, OpenSim 4.6 writes 65 stale bytes over the start of the finished
``_states.sto``: the header of an empty ``Storage``. The rows are intact. What is left of the true header depends on
its length::

    true header     <name> version=1 nRows=.. nColumns=.. inDegrees=no endheader | time <label> <label> ...
    stale bytes     #################################################
                                                        what remains ^^^^^^^^^^^^^

A long tool name leaves a fragment of the header and the whole row of labels; a short one loses "time" and up to the
first few characters of the first label. How much is gone follows from comparing the number of labels with the number
of values in the rows. Nothing here needs numpy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import LabelError, NEM2EError, StorageError
from .header import HeaderLayout, decode, is_number, read_layout, split_labels
from .safe_xml import read_bytes

#: The stale bytes: 65 of them, 72 with Windows' line ends.
_STALE = re.compile(
    rb"UNKNOWN(\r?\n)version=1\1nRows=0\1nColumns=1\1inDegrees=no\1endheader\1time\1",
)

#: The shortest true header (no name, one row, one column) has 53 bytes; "time" and its tab take 5 more. Of the 65 bytes
#: that are overwritten, at most this many belong to the labels.
_MOST_LABEL_BYTES = 65 - 53 - 5

#: How much of a neighbouring file is read to learn its labels.
_START_OF_FILE = 1 << 20

#: How many neighbouring files are looked at.
_MOST_NEIGHBOURS = 100

#: The true header has six lines; free text may add some.
_MOST_LEFTOVER_LINES = 50


def heal(
    content: bytes,
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    sibling: str | os.PathLike[str] | None = None,
) -> HeaderLayout | None:
    """Work out the true header of a file that OpenSim 4.6 has damaged.

    Parameters
    ----------
    content : bytes
        The file's content.
    path : str or os.PathLike
        The file's name: the tool's name, which is overwritten, is taken from ``<name>_states.sto``.
    model : str or os.PathLike, optional
        The model that the file belongs to, where a truncated label is looked up.
    sibling : str or os.PathLike, optional
        A healthy states file of the same model, for the same purpose. Without it the other files in the folder are
        looked at.

    Returns
    -------
    HeaderLayout or None
        None when the file does not carry the stale header.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        A label was overwritten and cannot be recovered.
    opensim_nem2e.errors.StorageError
        The rows do not fit the labels that are left.
    """
    match = _STALE.match(content)
    if match is None:
        return None
    lines, body_offset, row = _before_first_row(content, match.end())
    if not any(line.strip() for line in lines):
        # Nothing follows, or numbers follow at once: an empty storage, or one that really has no column but time.
        return None
    line_number = match[0].count(b"\n") + len(lines)
    if row is None:
        raise StorageError(
            "OpenSim 4.6 has overwritten the header, and no row of numbers follows it.", path, line_number
        )
    while not lines[-1].strip():
        lines.pop()
        line_number -= 1
    *fragments, label_line = lines
    n_columns = len(row.rstrip().split(b"\t")) if b"\t" in row else len(row.split())
    found, tabs = split_labels(decode(label_line).rstrip("\r"))
    if fragments:
        # Something of the header stands before the labels: then the labels themselves are untouched.
        labels, note = _untouched_labels(found, path, line_number), ""
    else:
        labels, note = _damaged_labels(found, n_columns, path, line_number, model, sibling)
    if len(labels) != n_columns - 1:
        raise StorageError(
            f"OpenSim 4.6 has overwritten the header, and {len(labels) + 1} labels are left for the {n_columns} values "
            "of the first row.",
            path,
            line_number,
        )
    in_degrees = any(part and b"inDegrees=yes".endswith(part) for part in (line.strip() for line in fragments))
    notes = ["OpenSim 4.6 had overwritten the header when its process ended; it was restored"]
    if note:
        notes.append(note)
    return HeaderLayout(
        name=_tool_name(path),
        entries={"version": "1", "inDegrees": "yes" if in_degrees else "no"},
        in_degrees=in_degrees,
        description="",
        labels=tuple(labels),
        label_line=line_number,
        body_line=match[0].count(b"\n") + len(lines) + 1,
        body_offset=body_offset,
        tabs=tabs,
        notes=tuple(notes),
        overwritten=True,
    )


def _tool_name(path: str | os.PathLike[str]) -> str:
    """Return the tool's name, which OpenSim puts on the first line, from ``<name>_states.sto``."""
    stem = Path(path).stem
    return stem.removesuffix("_states") or stem


def _before_first_row(content: bytes, offset: int) -> tuple[list[bytes], int, bytes | None]:
    """Return the lines before the first row of numbers, where that row starts, and the row itself."""
    lines: list[bytes] = []
    starts: list[int] = []
    while len(lines) < _MOST_LEFTOVER_LINES and offset < len(content):
        end = content.find(b"\n", offset)
        starts.append(offset)
        lines.append(content[offset:] if end < 0 else content[offset:end])
        offset = len(content) if end < 0 else end + 1
    # What is left of "nRows=1757" or of the name may look like a row; all of that stands before a whole "endheader".
    first = next((index + 1 for index, line in enumerate(lines) if line.strip() == b"endheader"), 0)
    for index in range(first, len(lines)):
        if _is_row(lines[index]):
            return lines[:index], starts[index], lines[index]
    return lines, offset, None


def _is_row(line: bytes) -> bool:
    """Tell a row of numbers by its first value, the time."""
    words = line.split(None, 1)
    return bool(words) and is_number(words[0])


def _untouched_labels(found: list[str], path: str | os.PathLike[str], line: int) -> list[str]:
    if found[0].lower() != "time":
        raise StorageError(
            f"OpenSim 4.6 has overwritten the header, and the row of labels does not begin with 'time' but with "
            f"{found[0]!r}.",
            path,
            line,
        )
    return found[1:]


def _damaged_labels(
    found: list[str],
    n_columns: int,
    path: str | os.PathLike[str],
    line: int,
    model: str | os.PathLike[str] | None,
    sibling: str | os.PathLike[str] | None,
) -> tuple[list[str], str]:
    """Complete a row of labels whose start was overwritten; return the labels without time, and a note."""
    missing = n_columns - len(found)
    if missing == 0 and "time".endswith(found[0].lower()):
        # "time" itself was cut ("", "e", "me", "ime") or is whole.
        return found[1:], ""
    if missing < 1:
        raise StorageError(
            f"OpenSim 4.6 has overwritten the header, and the {len(found)} labels that are left, from {found[0]!r} on, "
            f"do not fit the {n_columns} values of the first row.",
            path,
            line,
        )
    # "time" is gone. Before the first label that is left, `gone` labels are gone with it, and it may be cut itself.
    gone = missing - 1
    rest, after = found[0], found[1:]
    if gone == 0 and rest.startswith("/") and not _value_before_speed(rest, after):
        # At most 7 bytes of labels are overwritten: a path that still begins with "/" has lost nothing, because no
        # component of OpenSim's has a first name that short ("/jointset", "/forceset").
        return found, ""
    if gone == 0 and (twin := _value_before_speed(rest, after)):
        return [twin, *after], "" if twin == rest else _recovered(rest, [twin], "its speed stands beside it")
    searched: list[str] = []
    for source, labels in _known_orders(path, model, sibling, searched):
        lost = _look_up(labels, rest, after, gone)
        if lost is not None:
            return [*lost, *after], "" if lost == [rest] else _recovered(rest, lost, f"from {source}")
    what = f"The first label was cut: {rest!r} is left of it" if rest else "The first label was overwritten"
    if gone:
        what = f"The first {gone + 1} labels were overwritten: {rest!r} is left of the last of them"
    if "/" not in rest and not any("/" in label for label in after) and gone == 0:
        what = f"OpenSim 4.6 has overwritten the header, and whether the first label {rest!r} is whole cannot be told"
    looked = f" (looked in {', '.join(searched)})" if searched else ""
    raise LabelError(
        f"{what}. It could not be recovered{looked}. Supply the model that the file belongs to "
        f'(opensim-nem2e repair --model MODEL.osim "{os.fspath(path)}"), or put a healthy states file of the same '
        "model beside it.",
        path,
        line,
    )


def _recovered(rest: str, labels: Sequence[str], how: str) -> str:
    names = ", ".join(f"'{label}'" for label in labels)
    return f"the label {names} was recovered from what was left of it ({rest!r}): {how}"


def _value_before_speed(rest: str, after: Sequence[str]) -> str | None:
    """Return ``.../value`` when the next label is its ``.../speed``: OpenSim writes the two side by side."""
    if not after or not after[0].endswith("/speed"):
        return None
    twin = after[0].removesuffix("speed") + "value"
    return twin if twin.endswith(rest) and len(twin) - len(rest) <= _MOST_LABEL_BYTES else None


def _look_up(order: Sequence[str], rest: str, after: Sequence[str], gone: int) -> list[str] | None:
    """Find the labels that precede ``after`` in a known order, the last of them ending as ``rest``."""
    if after:
        ends = [index for index, label in enumerate(order) if label == after[0]]
    else:
        ends = [len(order)] if len(order) == gone + 1 else []
    for end in ends:
        start = end - 1 - gone
        if start >= 0 and order[end - 1].endswith(rest):
            return list(order[start:end])
    return None


def _known_orders(
    path: str | os.PathLike[str],
    model: str | os.PathLike[str] | None,
    sibling: str | os.PathLike[str] | None,
    searched: list[str],
) -> Iterator[tuple[str, Sequence[str]]]:
    """Give the orders of labels that are known: the sibling's, the model's, those of the files beside it."""
    if sibling is not None:
        searched.append(f"'{os.fspath(sibling)}'")
        yield searched[-1], read_layout(_start(sibling), sibling).labels
    if model is not None:
        from .osim import read_model

        searched.append(f"'{os.fspath(model)}'")
        yield searched[-1], read_model(model).state_labels()
    if sibling is None and model is None:
        for neighbour in sorted(Path(path).parent.glob("*.sto"))[:_MOST_NEIGHBOURS]:
            try:
                if neighbour.samefile(path) or _STALE.match(_start(neighbour)):
                    continue
                labels = read_layout(_start(neighbour), neighbour).labels
            except (NEM2EError, OSError):
                continue
            searched.append(f"'{neighbour.name}'")
            yield searched[-1], labels


def _start(path: str | os.PathLike[str]) -> bytes:
    """Read as much of a file as a header and its labels need."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(_START_OF_FILE)
    except (OSError, ValueError):
        return read_bytes(path, "storage file")
