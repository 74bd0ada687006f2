"""Do the refined activations still make the joint torques that the motion needs?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..evaluation.tables import write_rows
from ..evaluation.torques import TorqueChange, torque_changes, torque_table
from ..log import logger
from ..musculoskeletal.dynamics import TorqueTerms, analyse_motion, torque_terms
from ..musculoskeletal.paths import MOMENT_ARM_THRESHOLD
from ..signals.resample import interpolate
from ..storage import TimeSeries, read_storage, write_storage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel
    from .refined_files import Refinement

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TorqueCheck:
    """Joint torques of a refined trial.

    Parameters
    ----------
    terms : TorqueTerms
        Inverse dynamics, and what the muscles' torques are made of.
    opensim, refined : numpy.ndarray, shape (rows, coordinates)
        Torques of OpenSim's and of the refined activations, by the same method (Nm).
    compared : numpy.ndarray of bool, shape (rows, coordinates)
        Rows in which a refined muscle of the coordinate is within a refined cycle.
    """

    terms: TorqueTerms
    opensim: Array
    refined: Array
    compared: NDArray[np.bool_]

    def changes(self) -> list[TorqueChange]:
        """Measure the torques' errors and changes.

        Returns
        -------
        list of TorqueChange
            One per coordinate.
        """
        terms = self.terms
        return torque_changes(terms.coordinates, terms.inverse_dynamics, self.opensim, self.refined, self.compared)

    def write(self, files: ResultFiles, title: str, figure_format: str, precision: int) -> None:
        """Write the torques, their summary and a figure, and say it in the log.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        title : str
            What the results' names begin with.
        figure_format : {'png', 'svg'}
            Format of the figure.
        precision : int
            Decimals.
        """
        from ..evaluation.figures import TorqueCurves, draw_torques

        terms = self.terms
        curves = [
            TorqueCurves(
                name, terms.inverse_dynamics[:, k], self.opensim[:, k], self.refined[:, k], self.compared[:, k]
            )
            for k, name in enumerate(terms.coordinates)
        ]
        columns = {
            f"{curve.coordinate}_{kind}": values
            for curve in curves
            for kind, values in (
                ("inverse_dynamics", curve.needed),
                ("opensim", curve.opensim),
                ("refined", curve.refined),
            )
        }
        table = np.column_stack(list(columns.values()))
        series = TimeSeries(terms.time, tuple(columns), table, name=f"{title}_torques")
        write_storage(files.path(f"{title}_torques.sto"), series, precision=precision)
        rows = self.changes()
        write_rows(files.path(f"{title}_torques.csv"), TorqueChange, rows)
        logger.info("Joint torques, of muscles with rigid tendons, against inverse dynamics (refined cycles only):")
        for line in torque_table(rows):
            logger.info("%s", line)
        logger.info(
            "Read the change, not the RMSE alone: the simulation had elastic tendons and reserve actuators, which this "
            "method leaves out, so OpenSim's own activations do not meet inverse dynamics either."
        )
        draw_torques(
            terms.time,
            curves,
            files.path(f"{title}_torques.{figure_format}"),
            title=f"{title}: joint torques",
            caption="Torques of activations: all muscles of the model with rigid tendons, the same method for both.",
        )


def check_torques(
    refinement: Refinement,
    model: OsimModel,
    coordinates_file: Path | None,
    external_loads_file: Path | None,
    lowpass: float,
    coordinates: Sequence[str],
) -> TorqueCheck:
    """Compute the torques that the motion needs and those that activations make, before and after refinement.

    Parameters
    ----------
    refinement : Refinement
        The refined trial.
    model : OsimModel
        Its model.
    coordinates_file : pathlib.Path or None
        The motion; None: the coordinates in the trial's own file.
    external_loads_file : pathlib.Path or None
        ExternalLoads.
    lowpass : float
        Cut-off of the filter for the coordinates (Hz); negative: none.
    coordinates : sequence of str
        The coordinates looked at; empty: all rotations that muscles turn.

    Returns
    -------
    TorqueCheck
        The torques, at the motion's rows within the trial.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The motion or the model cannot be used, or OpenSim failed.
    """
    trial = refinement.trial
    motion_series = trial.source if coordinates_file is None else read_storage(coordinates_file, model=model.path)
    if external_loads_file is None:
        logger.warning("No <external_loads_file> was given: the torque check takes it that nothing touches the body.")
    motion = analyse_motion(
        model.path,
        motion_series,
        external_loads_file,
        lowpass=lowpass,
        start=float(trial.time[0]),
        end=float(trial.time[-1]),
    )
    muscles = [name for name in model.muscles if name in trial.activations]
    silent = [name for name in model.muscles if name not in trial.activations]
    if silent:
        logger.warning("The torque check leaves out muscles without activations: %s.", ", ".join(silent))
    terms = torque_terms(model.path, motion, muscles=muscles, coordinates=coordinates)
    if terms.outside.any():
        logger.warning(
            "In %d of %d rows the motion leaves the range of the fitted muscle paths: they are not compared.",
            int(terms.outside.sum()),
            len(terms.outside),
        )
    trial.require_finite(muscles)
    rows_refined = {item.target.muscle: item.refined for item in refinement.refined}
    inside = np.column_stack([rows_refined.get(name, np.zeros(len(trial.time), dtype=bool)) for name in muscles])
    turns = np.abs(terms.moment_arms).max(axis=0) > MOMENT_ARM_THRESHOLD
    within = interpolate(trial.time, inside.astype(float), terms.time) >= 1.0
    compared = (within.astype(int) @ turns.astype(int) > 0) & ~terms.outside[:, np.newaxis]
    touched = compared.any(axis=0)
    if not touched.any():
        raise ModelError("The motion has no row within a refined gait cycle: torques cannot be compared.")
    untouched = [name for name, yes in zip(terms.coordinates, touched, strict=True) if not yes]
    if untouched:
        logger.info("No refined muscle turns %s: not in the torque check.", ", ".join(untouched))
        terms = terms.of([name for name in terms.coordinates if name not in untouched])
    refined = {item.target.muscle: refinement.bounded(item).data for item in refinement.refined}
    before = np.column_stack([trial.activations[name] for name in muscles])
    after = np.column_stack([refined.get(name, trial.activations[name]) for name in muscles])
    return TorqueCheck(
        terms=terms,
        opensim=terms.torques(interpolate(trial.time, before, terms.time)),
        refined=terms.torques(interpolate(trial.time, after, terms.time)),
        compared=compared[:, touched],
    )
