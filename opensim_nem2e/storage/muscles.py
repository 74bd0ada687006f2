"""One name for each muscle, whatever a model calls it.

The shipped table ``muscle_names.csv`` maps the names of the gait models in common use to the sixteen names of the
NEM2E paper and, for the other muscles of leg and trunk, to those of the Rajagopal 2016 model. A file with the same
columns extends or overrides it.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ..errors import StorageError, did_you_mean
from .file_names import LONGEST_NAME, name_fault, shown
from .safe_xml import read_bytes

#: The muscles of the NEM2E paper.
PAPER_MUSCLES = (
    "soleus",
    "bi",
    "sem",
    "semit",
    "tib",
    "rect",
    "glmax1",
    "glmax2",
    "glmax3",
    "glmed1",
    "glmed2",
    "glmed3",
    "gasmed",
    "gaslat",
    "vaslat",
    "vasmed",
)

_COLUMNS = ("model_muscle", "standard_name", "models", "note")
_NEEDED = _COLUMNS[:2]
_STANDARD_NAME = re.compile(r"[A-Za-z0-9_]+")

#: How models mark the side, most common first.
_SIDES = (
    ("_r", "_l"),
    ("_right", "_left"),
)


#: Standard name -> what it stands for in a model that has none of the muscles named behind.
LUMPED = {"vasint": ("vaslat", ("vaslat", "vasmed"))}


class StandardMuscle(NamedTuple):
    """A muscle by its standard name.

    Parameters
    ----------
    name : str
        The standard name, for example "soleus".
    side : {'r', 'l', ''}
        The side; empty when the model's name does not tell.
    """

    name: str
    side: str


@dataclass(frozen=True)
class MuscleNames:
    """The table of muscle names.

    Parameters
    ----------
    table : mapping of str to str
        Model's name, in lower case and without its side, to standard name. An empty standard name marks what a model
        calls a muscle although it is none.
    """

    table: Mapping[str, str]

    @classmethod
    def load(cls, extra: str | os.PathLike[str] | None = None) -> MuscleNames:
        """Read the shipped table and, on top of it, the user's own.

        Parameters
        ----------
        extra : str or os.PathLike, optional
            A csv file with the columns ``model_muscle`` and ``standard_name`` (``models`` and ``note`` are allowed).
            Its rows come before the shipped ones.

        Returns
        -------
        MuscleNames
            The table.

        Raises
        ------
        opensim_nem2e.errors.MissingFileError
            The user's file is missing.
        opensim_nem2e.errors.StorageError
            A row of it cannot be used: with the line.
        """
        shipped = _shipped()
        if extra is None:
            return shipped
        own = _read_table(read_bytes(extra, "table of muscle names"), os.fspath(extra))
        return cls({**shipped.table, **own})

    def standard(self, model_muscle: str) -> StandardMuscle | None:
        """Translate a model's name.

        Parameters
        ----------
        model_muscle : str
            The name with its side, for example "glut_max1_r". Case does not matter.

        Returns
        -------
        StandardMuscle or None
            None when the table does not know the name, or says that it is no muscle.
        """
        name = model_muscle.lower()
        for side, bare in ((side, bare) for side, bare in _split_side(name) if bare in self.table):
            standard = self.table[bare]
            return StandardMuscle(standard, side) if standard else None
        return None

    def of_model(self, model_muscles: Iterable[str]) -> dict[str, StandardMuscle | None]:
        """Translate all muscles of a model, knowing what it lumps together.

        A name can mean more in a small model: gait2354 has no vastus lateralis or medialis, and its ``vas_int`` has the
        strength of all vasti. There it stands for ``vaslat`` (:data:`LUMPED`).

        Parameters
        ----------
        model_muscles : iterable of str
            The model's names.

        Returns
        -------
        dict of str to StandardMuscle or None
            In the order given; None as in :meth:`standard`.
        """
        found = {name: self.standard(name) for name in model_muscles}
        present = {standard for standard in found.values() if standard is not None}
        for name, standard in found.items():
            if standard is None or standard.name not in LUMPED:
                continue
            stands_for, absent = LUMPED[standard.name]
            if not any(StandardMuscle(other, standard.side) in present for other in absent):
                found[name] = StandardMuscle(stands_for, standard.side)
        return found

    def translate(self, model_muscles: Iterable[str]) -> dict[StandardMuscle, list[str]]:
        """Sort a model's muscles by standard name.

        Parameters
        ----------
        model_muscles : iterable of str
            The model's names.

        Returns
        -------
        dict of StandardMuscle to list of str
            Only the muscles that the table knows. A list has more than one name where the model has several muscles
            under one standard name.
        """
        found: dict[StandardMuscle, list[str]] = {}
        for name in model_muscles:
            standard = self.standard(name)
            if standard is not None:
                found.setdefault(standard, []).append(name)
        return found

    @property
    def standard_names(self) -> tuple[str, ...]:
        """All standard names, sorted."""
        return tuple(sorted({name for name in self.table.values() if name}))


def standard_name_fault(name: str) -> str:
    """Say why a text cannot be a muscle's standard name.

    Parameters
    ----------
    name : str
        The text.

    Returns
    -------
    str
        Empty if it can: letters of ASCII, digits and underscores, as network bundles name their inputs and targets.
    """
    if _STANDARD_NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return ""
    return (
        "'standard_name' must have only letters from a to z, digits and underscores, as the names in network bundles, "
        f"and at most {LONGEST_NAME} of them, but {shown(name)} was found."
    )


def _split_side(name: str) -> Iterable[tuple[str, str]]:
    """Give the ways in which a name can be read: side and name without it."""
    yield "", name
    for right, left in _SIDES:
        for side, mark in (("r", right), ("l", left)):
            if name.endswith(mark):
                yield side, name[: -len(mark)]
            # The same mark in front: "r_soleus".
            front = mark[1:] + "_"
            if name.startswith(front):
                yield side, name[len(front) :]


@cache
def _shipped() -> MuscleNames:
    content = files(__package__).joinpath("muscle_names.csv").read_bytes()
    return MuscleNames(_read_table(content, "muscle_names.csv"))


def _read_table(content: bytes, path: str) -> dict[str, str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StorageError("The table of muscle names must be UTF-8 text.", path) from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    table: dict[str, str] = {}
    header: list[str] = []
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not header:
                header = _check_header(cells, path, rows.line_num)
                continue
            if len(cells) != len(header):
                raise StorageError(
                    f"The row has {len(cells)} cells, but there are {len(header)} columns.", path, rows.line_num
                )
            entry = dict(zip(header, cells, strict=True))
            name = entry["model_muscle"].lower()
            if not name:
                raise StorageError("The column 'model_muscle' is empty.", path, rows.line_num)
            for fault in (
                name_fault(name, "'model_muscle'"),
                entry["standard_name"] and standard_name_fault(entry["standard_name"]),
            ):
                if fault:
                    raise StorageError(fault, path, rows.line_num)
            if name in table:
                raise StorageError(f"The muscle '{entry['model_muscle']}' appears twice.", path, rows.line_num)
            table[name] = entry["standard_name"]
    except csv.Error as error:
        raise StorageError(f"The table of muscle names is no csv file: {error}.", path, rows.line_num) from error
    if not header:
        raise StorageError(f"The table of muscle names is empty; it needs the columns {', '.join(_NEEDED)}.", path)
    return table


def _check_header(cells: list[str], path: str, line: int) -> list[str]:
    for name in cells:
        if name not in _COLUMNS:
            raise StorageError(
                f"Unknown column '{name}'; allowed are {', '.join(_COLUMNS)}.{did_you_mean(name, _COLUMNS)}", path, line
            )
    for name in _NEEDED:
        if cells.count(name) != 1:
            raise StorageError(
                f"The column '{name}' must appear once, but appears {cells.count(name)} times.", path, line
            )
    return cells
