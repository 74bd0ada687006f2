"""Repair storage files in place: the header that OpenSim 4.6 overwrites, and wrong or missing counts.

Only the header is written anew; the bytes of the rows stay what they are, and a file whose rows are damaged is not
touched. The file is replaced by a complete one or not at all.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import StorageError
from ..log import logger
from .atomic import atomic_path
from .header import HeaderLayout, decode, encode, ends_header, header_text, read_layout
from .safe_xml import read_bytes
from .sto import count_rows


@dataclass(frozen=True)
class RepairReport:
    """What was done to a file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    repaired : bool
        Whether it was changed. A healthy file is left alone.
    changes : tuple of str
        What was changed.
    name : str
        The name on its first line.
    n_rows, n_columns : int
        Rows, and columns with time.
    """

    path: Path
    repaired: bool
    changes: tuple[str, ...]
    name: str
    n_rows: int
    n_columns: int

    def __str__(self) -> str:
        """Say it in one line."""
        size = f"{self.n_rows} rows, {self.n_columns} columns"
        if not self.repaired:
            return f"{self.path}: the header is healthy, left alone ({size})."
        return f"{self.path}: repaired ({size}): {'; '.join(self.changes)}."


def repair_file(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    sibling: str | os.PathLike[str] | None = None,
) -> RepairReport:
    """Repair a ``.sto`` or ``.mot`` file in place.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    model : str or os.PathLike, optional
        The ``.osim`` file that it belongs to; needed only when OpenSim has overwritten a part of the first label and
        the other labels do not tell which.
    sibling : str or os.PathLike, optional
        A healthy states file of the same model, for the same purpose.

    Returns
    -------
    RepairReport
        What was done.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing or cannot be read.
    opensim_nem2e.errors.StorageError
        It cannot be repaired, or not be written. It is then as it was.
    """
    # Through a symbolic link, so that the link stays one.
    target = Path(path).resolve()
    content = read_bytes(path, "storage file")
    layout = read_layout(content, path, model=model, sibling=sibling)
    n_rows = count_rows(content, layout, path)
    n_columns = len(layout.labels) + 1
    if layout.overwritten:
        newline = "\r\n" if content[: content.find(b"\n")].endswith(b"\r") else "\n"
        head = header_text(layout.name, n_rows, n_columns, layout.in_degrees, layout.description, newline)
        head += "\t".join(("time", *layout.labels)) + newline
        changes = layout.notes
    else:
        head, changes = _correct_counts(content, layout, {"nRows": n_rows, "nColumns": n_columns})
    report = RepairReport(Path(path), bool(changes), changes, layout.name, n_rows, n_columns)
    if changes:
        _replace(target, encode(head), memoryview(content)[layout.body_offset :], path)
        logger.info("%s", report)
    return report


def _correct_counts(content: bytes, layout: HeaderLayout, counts: dict[str, int]) -> tuple[str, tuple[str, ...]]:
    """Set right the counts in an otherwise healthy header; every other byte of it stays."""
    head = decode(content[: layout.body_offset])
    changes = []
    missing = []
    for key, count in counts.items():
        if layout.count(key) == count:
            continue
        if key in layout.entries:
            changes.append(f"{key} was {layout.entries[key]}")
            lines = head.split("\n")
            index = layout.entry_lines[key] - 1
            start = lines[index].rfind(layout.entries[key])
            end = start + len(layout.entries[key])
            lines[index] = lines[index][:start] + str(count) + lines[index][end:]
            head = "\n".join(lines)
        elif layout.version <= 1:
            # Newer versions do without: OpenSim then reads the file with another reader, which counts by itself.
            changes.append(f"{key} was missing")
            missing.append(f"{key}={count}")
    if missing:
        # The labels and blank lines may follow it.
        lines = head.split("\n")
        index = next(index for index, line in enumerate(lines) if ends_header(line))
        line_end = "\r" if lines[index].endswith("\r") else ""
        lines[index:index] = [line + line_end for line in missing]
        head = "\n".join(lines)
    return head, tuple(changes)


def _replace(target: Path, head: bytes, body: memoryview, shown: str | os.PathLike[str]) -> None:
    if not os.access(target, os.W_OK):
        raise StorageError("The file is write-protected.", shown)
    try:
        with atomic_path(target) as temporary:
            with temporary.open("wb") as stream:
                stream.write(head)
                stream.write(body)
            shutil.copymode(target, temporary)
    except OSError as error:
        raise StorageError(f"The file cannot be written: {error.strerror or error}.", shown) from error
