"""One name for each muscle, whatever a model calls it.

The shipped table ``muscle_names.csv`` maps the names of the gait models in common use to the sixteen names of the
NEM2E paper and, for the other muscles of leg and trunk, to those of the Rajagopal 2016 model. A file with the same
columns extends or overrides it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import as_file, files
from typing import NamedTuple

from ..errors import did_you_mean
from ..log import logger
from .file_names import name_fault
from .tables import Fault, examine_rows, refuse

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

#: Standard muscle names by functional group.
MUSCLE_GROUPS = {
    "plantarflexors": ("soleus", "gasmed", "gaslat"),
    "dorsiflexors": ("tib",),
    "quadriceps": ("rect", "vaslat", "vasmed"),
    "hamstrings": ("bi", "sem", "semit"),
    "gluteals": ("glmax1", "glmax2", "glmax3", "glmed1", "glmed2", "glmed3"),
}

_COLUMNS = ("model_muscle", "standard_name", "side", "models", "note")
_OPTIONAL = _COLUMNS[2:]

#: What a standard name may be: networks and the files of results are named after it.
_STANDARD_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")

#: How models mark the side, most common first.
_SIDES = (
    ("_r", "_l"),
    ("_right", "_left"),
    (".r", ".l"),
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
    sides : mapping of str to {'r', 'l'}
        The side of muscles whose name does not tell it: then the name is the whole name.
    """

    table: Mapping[str, str]
    sides: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, extra: str | os.PathLike[str] | None = None) -> MuscleNames:
        """Read the shipped table and, on top of it, the user's own.

        Parameters
        ----------
        extra : str or os.PathLike, optional
            A csv file with the columns ``model_muscle`` and ``standard_name``. A column ``side`` (r, l or empty) tells
            the side of muscles whose own name does not; ``models`` and ``note`` are allowed. Its rows come before the
            shipped ones. A standard name that the shipped table lacks is a new one; it is warned of where it resembles
            a shipped one.

        Returns
        -------
        MuscleNames
            The table.

        Raises
        ------
        opensim_nem2e.errors.MissingFileError
            The user's file is missing.
        opensim_nem2e.errors.StorageError
            Everything that is wrong with it, with the lines.
        """
        shipped = _shipped()
        if extra is None:
            return shipped
        table, sides = _read_table(extra)
        known = shipped.standard_names
        for name in sorted({name for name in table.values() if name and name not in known}):
            hint = did_you_mean(name, known)
            if hint:
                logger.warning("%s: '%s' is a standard name of your own.%s", os.fspath(extra), name, hint)
        return cls({**shipped.table, **table}, sides)

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
        if name in self.sides:
            return StandardMuscle(self.table[name], self.sides[name]) if self.table[name] else None
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
    with as_file(files(__package__).joinpath("muscle_names.csv")) as path:
        return MuscleNames(_read_table(path)[0])


def standard_name_fault(name: str) -> str:
    """Tell what is wrong with a standard name.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    str
        What it must be and what was found; empty if it can be one.
    """
    if _STANDARD_NAME.fullmatch(name):
        return ""
    return f"must be 1 to 64 letters (a-z), digits and '_'; found {name[:80]!a}."


def _read_table(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return standard names, and sides where they are given, by the model's name in lower case."""
    rows, faults = examine_rows(path, _COLUMNS, _OPTIONAL, kind="table of muscle names")
    table: dict[str, str] = {}
    sides: dict[str, str] = {}
    for row in rows:
        name, standard, side = (row.cells.get(column, "") for column in _COLUMNS[:3])
        fault = f"'standard_name' {wrong}" if standard and (wrong := standard_name_fault(standard)) else ""
        if not name:
            faults.append(Fault(row.line, "the column 'model_muscle' is empty."))
        elif wrong := name_fault(name, "'model_muscle'"):
            faults.append(Fault(row.line, wrong))
        elif name.lower() in table:
            faults.append(Fault(row.line, f"the muscle '{name}' appears twice."))
        elif fault:
            faults.append(Fault(row.line, fault))
        elif side not in ("", "r", "l"):
            faults.append(Fault(row.line, f"'side' must be r, l or empty; found '{side}'."))
        else:
            table[name.lower()] = standard
            if side:
                sides[name.lower()] = side
    refuse(sorted(faults, key=lambda fault: fault.line or 0), path)
    return table, sides
