"""What a run of a tool came to, as Python objects: tables of pandas, files, versions, figures."""

from __future__ import annotations

import html
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import __version__
from ..errors import MissingFileError, NEM2EError, did_you_mean
from ..extras import installed_version, require_extras

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..data.simulation import SimulatedTrial
    from ..estimates.estimate import Estimate
    from ..estimates.measured_emg import MeasuredEMG
    from ..methods.bundle import Bundle


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """List the versions that decide a result.

    Parameters
    ----------
    packages : iterable of str
        Packages; those that are not installed are left out.

    Returns
    -------
    dict of str to str
        By package; this one and Python are among them.
    """
    found = {"opensim_nem2e": __version__, "python": platform.python_version()}
    for package in packages:
        known = installed_version(package)
        if known is not None:
            found[package] = known
    return found


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a run left behind.

    Parameters
    ----------
    tool : str
        The tool's class name.
    name : str
        What the files' names begin with.
    directory : pathlib.Path
        The results directory.
    paths : sequence of pathlib.Path
        The files that were written.
    provenance : mapping of str to str
        Versions of the packages and, where a bundle was used, its name and the SHA-256 of its file.
    warnings : sequence of str
        What the log warned of.
    """

    tool: str
    name: str
    directory: Path
    paths: tuple[Path, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """The files that were written, by what follows the name: ``result.files["states.sto"]``."""
        return {path.name.removeprefix(f"{self.name}_").removeprefix(f"{self.name}."): path for path in self.paths}

    def file(self, ending: str) -> Path:
        """Find a file of the run.

        Parameters
        ----------
        ending : str
            What follows the name, such as ``"states.sto"``.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        opensim_nem2e.errors.MissingFileError
            The run wrote no such file.
        """
        if ending not in self.files:
            raise MissingFileError(
                f"This run of {self.tool} wrote no '{self.name}_{ending}'.{did_you_mean(ending, self.files)} It wrote "
                f"{', '.join(path.name for path in self.paths)}."
            )
        return self.files[ending]

    def table(self, ending: str) -> pd.DataFrame:
        """Read a table or a storage file of the run.

        Parameters
        ----------
        ending : str
            What follows the name, such as ``"summary.csv"`` or ``"controls.sto"``.

        Returns
        -------
        pandas.DataFrame
            A storage file's is indexed by time (s).

        Raises
        ------
        opensim_nem2e.errors.MissingFileError
            The run wrote no such file.
        """
        path = self.file(ending)
        if path.suffix == ".csv":
            import pandas as pd

            return pd.read_csv(path)
        from ..storage import read_storage

        return read_storage(path).to_frame()

    def report(self, show: bool = False) -> Path:
        """Find the report.

        Parameters
        ----------
        show : bool
            Whether it is opened in the web browser.

        Returns
        -------
        pathlib.Path
            The page, which needs no other file.

        Raises
        ------
        opensim_nem2e.errors.MissingFileError
            The run wrote no report.
        """
        path = self.file("report.html")
        if show:
            import webbrowser

            webbrowser.open(path.absolute().as_uri())
        return path

    def _facts(self) -> dict[str, str]:
        """Say in a few words what matters, for the representations. For subclasses."""
        return {}

    def _all_facts(self) -> dict[str, str]:
        facts = self._facts()
        if "bundle" in self.provenance:
            facts["bundle"] = f"{self.provenance['bundle']} (sha256 {self.provenance['bundle_sha256'][:12]})"
        if self.warnings:
            facts["warnings"] = str(len(self.warnings))
        return {**facts, "files": f"{len(self.paths)} in '{self.directory}'"}

    def __repr__(self) -> str:
        facts = "\n".join(f"  {name}: {text}" for name, text in self._all_facts().items())
        return f"<{type(self).__name__} {self.name} of {self.tool}, opensim_nem2e {__version__}\n{facts}>"

    def _repr_html_(self) -> str:
        facts = self._all_facts()
        warnings = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        links = "".join(f"<li><code>{html.escape(os.fspath(path))}</code></li>" for path in self.paths)
        return (
            f"<b>{html.escape(self.name)}</b> of {self.tool}, opensim_nem2e {__version__}"
            + html_table(facts)
            + (f"<details open><summary>warnings</summary><ul>{warnings}</ul></details>" if warnings else "")
            + f"<details><summary>files</summary><ul>{links}</ul></details>"
        )


def html_table(rows: Mapping[str, str]) -> str:
    """Lay names and texts out as a table for a notebook.

    Parameters
    ----------
    rows : mapping of str to str
        What is shown.

    Returns
    -------
    str
        HTML.
    """
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items())
    return f"<table>{''.join(cells)}</table>"


@dataclass(frozen=True, eq=False, repr=False)
class RefineResult(Result):
    """What a refinement came to. Tables are indexed by time (s), with one column per muscle or coordinate.

    Parameters
    ----------
    tool, name, directory, paths, provenance, warnings : object
        As in :class:`Result`.
    trial : SimulatedTrial or None
        The simulation.
    estimate : Estimate or None
        What the method put out.
    refined : Estimate or None
        The activations, as they were written.
    measured : MeasuredEMG or None
        Measured EMG of the trial, if it was given.
    """

    trial: SimulatedTrial | None = None
    estimate: Estimate | None = None
    refined: Estimate | None = None
    measured: MeasuredEMG | None = None

    @cached_property
    def activations(self) -> pd.DataFrame:
        """Activations of all muscles (0..1); outside the cycles, they are OpenSim's.

        Muscles without a network are OpenSim's, too, unless joint torques decided on amplitudes: then they move along.
        """
        trial, refined = self._given()
        return _frame(trial.time, refined.values(trial.activations))

    @cached_property
    def opensim(self) -> pd.DataFrame:
        """OpenSim's activations of all muscles (0..1)."""
        trial, _ = self._given()
        return _frame(trial.time, trial.activations)

    @cached_property
    def emg(self) -> pd.DataFrame:
        """The EMG that the method expects of each muscle, relative to its maximum; NaN outside the cycles."""
        if self.estimate is None or self.estimate.quantity != "emg":
            raise NEM2EError("The method of this run estimates no EMG.")
        return _frame(self.estimate.time, {item.muscle: item.masked.filled(float("nan")) for item in self.estimate})

    @cached_property
    def cycles(self) -> pd.DataFrame:
        """The gait cycles in which muscles were refined: side, start, end, heel_strike (s), and the muscles."""
        import pandas as pd

        _, refined = self._given()
        muscles: dict[Any, list[str]] = {}
        for item in self.estimate or refined:
            for cycle in item.cycles:
                muscles.setdefault(cycle, []).append(item.muscle)
        rows = [
            (cycle.side, cycle.start, cycle.end, cycle.heel_strike, " ".join(names)) for cycle, names in muscles.items()
        ]
        table = pd.DataFrame(rows, columns=["side", "start", "end", "heel_strike", "muscles"])
        return table.sort_values(["start", "side"], ignore_index=True)

    @cached_property
    def torques(self) -> pd.DataFrame:
        """Joint torques (Nm) of inverse dynamics, OpenSim's and the refined activations; needs ``check_torques``."""
        if "torques.sto" not in self.files:
            raise NEM2EError("This run looked at no torques: ask for them by check_torques=True or redistribute=True.")
        return self.table("torques.sto")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """What changed, muscle by muscle: one row per refined muscle, see ``<name>_summary.csv``."""
        return self.table("summary.csv").set_index("muscle")

    def plot(self, muscle: str, cycle: Literal["%", "s"] = "%") -> Figure:
        """Draw a muscle's activation before and after the refinement, with measured EMG if it was given.

        Parameters
        ----------
        muscle : str
            The model's muscle.
        cycle : {'%', 's'}
            ``'%'``: all gait cycles over each other, from heel strike to heel strike. ``'s'``: over time.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, which notebooks show.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The trial has no such muscle, with ``'%'`` no gait cycle of it was refined, or Matplotlib is not installed.
        """
        require_extras(["report"])
        from ..report.muscle_figure import draw_muscle

        trial, refined = self._given()
        return draw_muscle(muscle, trial, refined, self.measured, cycle)

    def _given(self) -> tuple[SimulatedTrial, Estimate]:
        assert self.trial is not None
        assert self.refined is not None
        return self.trial, self.refined

    def _facts(self) -> dict[str, str]:
        trial, refined = self._given()
        cycles = self.cycles["side"].map({"r": "right", "l": "left"}).value_counts()
        given = refined.muscles if self.estimate is None else self.estimate.muscles
        along = len(refined.muscles) - len(given)
        return {
            "muscles": f"{len(given)} of {len(trial.activations)} refined"
            + (f"; {along} others moved to meet the joint torques" if along else ""),
            "cycles": ", ".join(f"{count} {side}" for side, count in cycles.items()) or "none",
            "time": f"{trial.time[0]:.3f} to {trial.time[-1]:.3f} s, {len(trial.time)} rows",
        }


@dataclass(frozen=True, eq=False, repr=False)
class TrainResult(Result):
    """What a training came to.

    Parameters
    ----------
    tool, name, directory, paths, provenance, warnings : object
        As in :class:`Result`.
    bundle_file : pathlib.Path or None
        The bundle.
    """

    bundle_file: Path | None = None

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle that was written."""
        from ..methods.bundle import Bundle

        assert self.bundle_file is not None
        return Bundle.load(self.bundle_file)

    @cached_property
    def validation(self) -> pd.DataFrame:
        """Errors on subjects left out of training, subject by subject; needs ``validate`` or ``hold_out_subjects``."""
        return self.table("validation.csv")

    @cached_property
    def history(self) -> pd.DataFrame:
        """Loss of every network after every epoch."""
        return self.table("training_history.csv")

    def _facts(self) -> dict[str, str]:
        return {"muscles": ", ".join(self.bundle.targets), "trained on": self.bundle.trained_on}


@dataclass(frozen=True, eq=False, repr=False)
class StudyResult(Result):
    """What a cross-validation came to.

    Parameters
    ----------
    tool, name, directory, paths, provenance, warnings : object
        As in :class:`Result`.
    verdicts : sequence of str
        The results in words.
    """

    verdicts: tuple[str, ...] = ()

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """Errors, effects and tests per condition, method and muscle."""
        return self.table("statistics.csv")

    @cached_property
    def subjects(self) -> pd.DataFrame:
        """Errors of each subject."""
        return self.table("subjects.csv")

    def _facts(self) -> dict[str, str]:
        return {"in words": " ".join(self.verdicts)}


def _frame(time: NDArray[np.float64], columns: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(columns), index=pd.Index(time, name="time"))
