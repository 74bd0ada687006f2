"""Write the time offsets that the check proposes into a new table of trials."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import ManifestError
from ...storage.tables import examine_rows, path_in_table, write_table
from ..manifest import FILE_COLUMNS, NUMBER_COLUMNS, TRIAL_COLUMNS
from .quality_check import Examination


def apply_offsets(examination: Examination, path: str | os.PathLike[str]) -> int:
    """Write the examined table again with the proposed ``emg_time_offset_s``.

    Parameters
    ----------
    examination : Examination
        What was found.
    path : str or os.PathLike
        The new table; paths in it are relative to its own folder.

    Returns
    -------
    int
        How many rows have another offset; all others are as they were.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        There is such a file, the table cannot be read as a table, or no new one be written.
    """
    target = Path(path)
    if target.exists():
        raise ManifestError(f"{target}: the file exists and is left as it is; give the new table another name.")
    rows, faults = examine_rows(examination.trials_file, TRIAL_COLUMNS, TRIAL_COLUMNS, kind="manifest")
    if faults:
        raise ManifestError(f"{examination.trials_file}: nothing is applied to a damaged table: {faults[0]}")
    columns = list(rows[0].cells) if rows else list(TRIAL_COLUMNS)
    if "emg_time_offset_s" not in columns:
        columns.append("emg_time_offset_s")
    old, new = examination.trials_file.parent, target.absolute().parent
    table = []
    for row in rows:
        cells = dict(row.cells)
        for column in FILE_COLUMNS:
            if cells.get(column) and not Path(cells[column]).is_absolute():
                there = path_in_table(old, cells[column]).absolute()
                cells[column] = os.path.relpath(there, new).replace(os.sep, "/")
        if row.line in examination.offsets:
            cells["emg_time_offset_s"] = f"{examination.offsets[row.line]:.4g}"
        table.append([_point(cells.get(column, ""), column, row.decimal_comma) for column in columns])
    write_table(target, columns, table)
    return sum(row.line in examination.offsets for row in rows)


def _point(text: str, column: str, decimal_comma: bool) -> str:
    """Write numbers with a decimal point: the new table is separated by commas."""
    return text.replace(",", ".") if decimal_comma and column in NUMBER_COLUMNS else text
