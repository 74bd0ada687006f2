"""The files of a cross-validation study, read back: what figures and report are made from.

``opensim-nem2e report`` needs nothing but these files, so a study can be drawn again years later, without the
recordings and without training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingFileError, StorageError, did_you_mean
from ..methods.registry import REFERENCE, find_method, method_keys, method_style
from ..storage.atomic import atomic_path
from ..storage.json_files import read_json

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]

#: What figures know of a method.
_STYLE = {"label", "colour", "marker"}

_CYCLE = ("seed", "condition", "muscle", "held_out", "subject", "dataset", "trial", "stride")

#: What each table must have for figures and report; others may stand beside it.
TABLES: Mapping[str, tuple[str, ...]] = {
    "cycles": (*_CYCLE, "motion", "method", "E"),
    "curves": (*_CYCLE, "method", "y00", "y01"),
    "losses": ("seed", "condition", "muscle", "held_out", "epoch", "loss", "validation_loss"),
    "statistics": (
        *("condition", "muscle", "method", "subjects", "cycles", "seeds", "E_opensim", "E", "Er", "Er_low", "Er_high"),
        *("p", "d", "r_squared_opensim", "r_squared", "peak_ms_opensim", "peak_ms", "peak_percent_opensim"),
        "peak_percent",
        *("best_lag_r_opensim", "best_lag_r", "best_baseline", "Er_best_baseline", "versus_best", "versus_best_p"),
        "note",
    ),
    "conditions": (
        *("muscle", "condition_a", "condition_b", "subjects", "Er_a", "Er_b", "difference", "tukey_p"),
        *("paired_difference", "paired_p", "holm_p", "note"),
    ),
    "subjects": ("condition", "muscle", "subject", "method", "E", "Er"),
}


@dataclass(frozen=True)
class Skeleton:
    """A model at some phases of the gait cycle: what figure 7 draws beside the attention weights.

    Parameters
    ----------
    phases : tuple of float
        Percent of the gait cycle.
    bones : numpy.ndarray, shape (phases, bones, 2, 3)
        Start and end of each bone, in OpenSim's ground frame (x forward, y up, z to the right; m).
    sides : tuple of {'ipsi', 'contra', ''}, length bones
        The limb each bone belongs to.
    muscles : mapping of str to tuple of tuple of numpy.ndarray
        By input name (``ipsi:soleus``): the paths of every model muscle of that name, each a tuple over the phases of
        path points ``(points, 3)`` (m).
    source : str
        The model and the motion, in words.
    """

    phases: tuple[float, ...]
    bones: Array
    sides: tuple[str, ...]
    muscles: Mapping[str, tuple[tuple[Array, ...], ...]]
    source: str = ""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the skeleton as JSON, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        """
        content = {
            "source": self.source,
            "phases": list(self.phases),
            "sides": list(self.sides),
            "bones": np.round(self.bones, 5).tolist(),
            "muscles": {
                name: [[np.round(points, 5).tolist() for points in path] for path in paths]
                for name, paths in self.muscles.items()
            },
        }
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Skeleton:
        """Read what :meth:`write` has written.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Returns
        -------
        Skeleton
            The same, rounded to 10 micrometres.

        Raises
        ------
        opensim_nem2e.errors.StorageError
            The file holds something else.
        """
        try:
            content = read_json(path, "skeleton")
            return cls(
                tuple(content["phases"]),
                np.array(content["bones"], dtype=float),
                tuple(content["sides"]),
                {
                    name: tuple(tuple(np.array(points, dtype=float) for points in path) for path in paths)
                    for name, paths in content["muscles"].items()
                },
                content["source"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise StorageError(f"A skeleton was expected, but it cannot be read ({error}).", path) from error


@dataclass(frozen=True)
class Attention:
    """Mean attention weights of one network over all cycles it was judged by.

    Parameters
    ----------
    weights : numpy.ndarray, shape (samples, steps)
        For each output sample how it weighs the encoder's steps: input samples (temporal) or input muscles (spatial).
        Rows sum to 1.
    inputs : tuple of str
        Names of the input muscles, such as ``ipsi:soleus``.
    """

    weights: Array
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StudyResults:
    """Everything that a cross-validation study has left in its results directory.

    Parameters
    ----------
    name : str
        The tool's name: what its files start with.
    folder : pathlib.Path
        The results directory.
    study : dict
        ``<name>_study.json``: settings, data, packages, seconds.
    cycles, curves, losses, statistics, conditions, subjects : pandas.DataFrame
        The tables of the same name, with at least the columns of :data:`TABLES`.
    attention : dict of (str, str) to Attention
        By condition and muscle.
    skeleton : Skeleton or None
        The model of figure 7, if one was given.
    """

    name: str
    folder: Path
    study: Mapping[str, Any]
    cycles: pandas.DataFrame = field(repr=False)
    curves: pandas.DataFrame = field(repr=False)
    losses: pandas.DataFrame = field(repr=False)
    statistics: pandas.DataFrame = field(repr=False)
    conditions: pandas.DataFrame = field(repr=False)
    subjects: pandas.DataFrame = field(repr=False)
    attention: Mapping[tuple[str, str], Attention] = field(repr=False)
    skeleton: Skeleton | None = field(default=None, repr=False)

    @property
    def sample_columns(self) -> list[str]:
        """The columns of the curves: samples of the gait cycle, evenly spaced, both ends included."""
        return [column for column in self.curves.columns if column[0] == "y" and column[1:].isdigit()]

    @property
    def muscles(self) -> list[str]:
        """The muscles, in the order of the study."""
        return _ordered(self.study.get("muscles", ()), self.statistics["muscle"])

    @property
    def condition_names(self) -> list[str]:
        """The conditions, in the order of the study."""
        return _ordered(self.study.get("conditions", ()), self.statistics["condition"])

    @property
    def judged(self) -> list[str]:
        """The methods that the study judges; the figures show the first of them."""
        found = self.statistics.loc[self.statistics["best_baseline"].notna(), "method"]
        return _ordered(self.study.get("judged", ()), found)

    @property
    def methods(self) -> list[str]:
        """All methods: the simulation, those that are judged, the baselines."""
        return _ordered((REFERENCE, *self.judged, *self.study.get("methods", ())), self.cycles["method"])

    def label(self, method: str) -> str:
        """Name a method.

        Parameters
        ----------
        method : str
            Its key; ``emg`` is a method here.

        Returns
        -------
        str
            The name.
        """
        return str(self._style(method)["label"])

    def colour(self, method: str) -> str:
        """Return a method's colour.

        Parameters
        ----------
        method : str
            Its key; ``emg`` is a method here.

        Returns
        -------
        str
            As Matplotlib takes it.
        """
        return str(self._style(method)["colour"])

    def marker(self, method: str) -> str:
        """Return a method's marker.

        Parameters
        ----------
        method : str
            Its key.

        Returns
        -------
        str
            As Matplotlib takes it.
        """
        return str(self._style(method)["marker"])

    def citation(self, method: str) -> str:
        """Name a judged method as a methods paragraph does.

        Parameters
        ----------
        method : str
            Its key.

        Returns
        -------
        str
            The name with its paper; without one the label.
        """
        told = self.study.get("citations")
        if isinstance(told, Mapping) and method in told:
            return str(told[method])
        # Studies of version 0.1 did not say.
        known = find_method(method).citation if method in method_keys() else ""
        return known or self.label(method)

    def _style(self, method: str) -> Mapping[str, str]:
        """Take what the study says of a method: it may be of a package that is not installed here."""
        if method == "emg":
            return {"label": "measured EMG", "colour": "#000000", "marker": "."}
        told = self.study.get("styles")
        if isinstance(told, Mapping) and isinstance(told.get(method), Mapping) and set(told[method]) >= _STYLE:
            return {name: str(told[method][name]) for name in _STYLE}
        if method in method_keys():
            return method_style(method)
        return {"label": method, "colour": "#999999", "marker": "x"}

    def losses_of(self, condition: str) -> pandas.DataFrame:
        """Return the losses of the first judged method under a condition.

        Parameters
        ----------
        condition : str
            The condition.

        Returns
        -------
        pandas.DataFrame
            Rows of ``losses``; none where that method trains no network.
        """
        table = self.losses
        rows = table["condition"] == condition
        # Studies of version 0.1 had one method.
        return table[rows & (table["method"] == self.judged[0])] if "method" in table.columns else table[rows]

    def muscles_of(self, condition: str) -> list[str]:
        """Return the muscles that were studied under a condition.

        Parameters
        ----------
        condition : str
            The condition.

        Returns
        -------
        list of str
            In the order of the study.
        """
        found = set(self.statistics.loc[self.statistics["condition"] == condition, "muscle"])
        return [muscle for muscle in self.muscles if muscle in found]

    def subject_curves(self, condition: str, muscle: str, method: str) -> pandas.DataFrame:
        """Average curves over each person's cycles and over the seeds.

        Parameters
        ----------
        condition, muscle, method : str
            Which curves; ``emg`` is a method here.

        Returns
        -------
        pandas.DataFrame, shape (subjects, samples)
            Rows by subject; empty where there are none.
        """
        table = self.curves
        chosen = (table["condition"] == condition) & (table["muscle"] == muscle) & (table["method"] == method)
        return table[chosen].groupby("subject", sort=True)[self.sample_columns].mean()


def find_study(folder: str | os.PathLike[str], name: str = "") -> str:
    """Find which study a results directory holds.

    Parameters
    ----------
    folder : str or os.PathLike
        The results directory.
    name : str
        The tool's name, needed only where the directory holds several studies.

    Returns
    -------
    str
        The name.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such directory, no study in it, none of that name, or more than one.
    """
    directory = Path(folder)
    if not directory.is_dir():
        raise MissingFileError(f"{directory}: there is no such directory.")
    found = sorted(path.name.removesuffix("_study.json") for path in directory.glob("*_study.json"))
    if name and name in found:
        return name
    if name:
        have = f" Found: {', '.join(found)}." if found else " There is none."
        raise MissingFileError(f"{directory}: there is no study '{name}' in it.{did_you_mean(name, found)}{have}")
    if not found:
        raise MissingFileError(
            f"{directory}: a results directory of STDRCrossValidateTool was expected, but no '*_study.json' was found."
        )
    if len(found) > 1:
        raise MissingFileError(f"{directory}: several studies were found ({', '.join(found)}); name the one to report.")
    return found[0]


def read_study(folder: str | os.PathLike[str], name: str = "") -> StudyResults:
    """Read a study from its results directory.

    Parameters
    ----------
    folder : str or os.PathLike
        The results directory.
    name : str
        The tool's name, needed only where the directory holds several studies.

    Returns
    -------
    StudyResults
        The study.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no study, or files of it are missing (all of them are named).
    opensim_nem2e.errors.StorageError
        A file is not what it should be.
    """
    directory = Path(folder)
    name = find_study(directory, name)
    paths = {table: directory / f"{name}_{table}.csv" for table in TABLES}
    paths["attention"] = directory / f"{name}_attention.npz"
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise MissingFileError(
            f"{directory}: the study '{name}' is not complete, {len(missing)} of its files are missing: "
            f"{', '.join(missing)}. Run its setup file again; what is done is not done twice."
        )
    study_file = directory / f"{name}_study.json"
    study = read_json(study_file, "study")
    if not isinstance(study, dict):
        raise StorageError(f"A JSON object was expected, but a {type(study).__name__} was found.", study_file)
    skeleton = directory / f"{name}_skeleton.json"
    return StudyResults(
        name=name,
        folder=directory,
        study=study,
        **{table: _read_table(paths[table], columns) for table, columns in TABLES.items()},
        attention=_read_attention(paths["attention"]),
        skeleton=Skeleton.read(skeleton) if skeleton.is_file() else None,
    )


def _ordered(wanted: Any, found: pandas.Series) -> list[str]:
    """Return what was found, in the order that was wanted; the rest behind it."""
    there = list(dict.fromkeys(found))
    first = [name for name in dict.fromkeys(wanted) if name in there]
    return first + [name for name in there if name not in first]


def _read_table(path: Path, columns: tuple[str, ...]) -> pandas.DataFrame:
    import pandas

    names = dict.fromkeys(("subject", "held_out", "trial", "stride", "dataset", "note", "best_baseline"), str)
    try:
        # Only an empty cell is missing: a person may be called NA.
        table = pandas.read_csv(path, dtype=names, na_values=[""], keep_default_na=False)
    except ValueError as error:
        raise StorageError(f"A table was expected, but it cannot be read ({error}).", path) from error
    # Version 0.1 called the squared correlation R2, which means something else elsewhere.
    table = table.rename(columns={"R2": "r_squared", "R2_opensim": "r_squared_opensim"})
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StorageError(
            f"The columns {', '.join(missing)} are missing; found {', '.join(map(str, table.columns))}.", path
        )
    return table


def _read_attention(path: Path) -> dict[tuple[str, str], Attention]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError) as error:
        raise StorageError(
            f"Arrays of attention weights were expected, but they cannot be read ({error}).", path
        ) from error
    found = {}
    for key, weights in content.items():
        condition, muscle, *rest = key.split("/")
        if rest:
            continue
        inputs = content.get(f"{key}/inputs")
        if weights.ndim != 2 or inputs is None:
            raise StorageError(
                f"'{key}' must be a table of samples by steps with its names in '{key}/inputs', but its shape is "
                f"{weights.shape} and the file has {', '.join(content)}.",
                path,
            )
        found[condition, muscle] = Attention(weights.astype(float), tuple(map(str, inputs)))
    return found
