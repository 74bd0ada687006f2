"""Do an estimate's activations still make the joint torques that the motion needs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.discovery import listed
from ..errors import ModelError
from ..log import logger
from ..musculoskeletal.dynamics import analyse_motion
from ..musculoskeletal.elastic_tendons import ElasticTerms, with_elastic_tendons
from ..musculoskeletal.motions import refuse_another_motion, refuse_another_trials_loads, with_true_unit
from ..musculoskeletal.torque_model import TorqueModel, TorqueTerms
from ..signals.resample import interpolate
from ..storage import TimeSeries, read_storage, write_storage
from ..storage.tables import write_table
from .torque_metrics import TorqueBalance, TorqueChange, overall_percent, torque_balances, torque_changes, torque_table

if TYPE_CHECKING:
    from pathlib import Path

    from ..data.simulation import SimulatedTrial
    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel
    from .estimate import Estimate

Array = NDArray[np.float64]

#: Which tendons muscles have; auto: those that they had in the simulation.
Tendons = Literal["auto", "rigid", "elastic"]

#: Changes of a fiber's states below this (of the simulation's) are none.
_NO_CHANGE = 1e-5


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
        Rows that count.
    consistent : numpy.ndarray, shape (rows, coordinates), optional
        Torques of the activations that a redistribution made consistent (Nm).
    exceeded : numpy.ndarray of bool, shape (rows, coordinates), optional
        Where it could not keep a reserve within its bound.
    controls : numpy.ndarray, shape (rows, coordinates), optional
        Torques of the activations that the consistent controls lead to (Nm).
    """

    terms: TorqueTerms
    opensim: Array
    refined: Array
    compared: NDArray[np.bool_]
    consistent: Array | None = None
    exceeded: NDArray[np.bool_] | None = None
    controls: Array | None = None

    def changes(self) -> Sequence[TorqueChange]:
        """Measure the torques' errors and changes.

        Returns
        -------
        sequence of TorqueChange
            One per coordinate; TorqueBalance where there are consistent activations.
        """
        terms = self.terms
        needed = terms.inverse_dynamics
        changes = torque_changes(terms.coordinates, needed, self.opensim, self.refined, self.compared)
        if self.consistent is None or self.exceeded is None or self.controls is None:
            return changes
        return torque_balances(changes, needed, self.consistent, self.controls, self.compared, self.exceeded)

    def write(self, files: ResultFiles, name: str, precision: int) -> None:
        """Write the torques and their summary, and say it in the log.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        name : str
            What the results' names begin with.
        precision : int
            Decimals.
        """
        terms = self.terms
        # Where torques make something consistent, the refined activations are but an estimate that it starts from.
        own = "refined" if self.consistent is None else "estimate"
        kinds = {
            "inverse_dynamics": terms.inverse_dynamics,
            "opensim": self.opensim,
            own: self.refined,
            "consistent": self.consistent,
        }
        columns = {
            f"{coordinate}_{kind}": torques[:, k]
            for k, coordinate in enumerate(terms.coordinates)
            for kind, torques in kinds.items()
            if torques is not None
        }
        table = np.column_stack(list(columns.values()))
        series = TimeSeries(terms.time, tuple(columns), table, name=f"{name}_torques")
        write_storage(files.path(f"{name}_torques.sto"), series, precision=precision)
        rows = self.changes()
        kind = TorqueChange if self.consistent is None else TorqueBalance
        names = [field.name.replace("refined", own) for field in fields(kind)]
        write_table(files.path(f"{name}_torques.csv"), names, [list(astuple(row)) for row in rows])
        logger.debug(
            "Joint torques, of muscles with %s tendons, against inverse dynamics (refined cycles only):", terms.tendons
        )
        for line in torque_table(rows):
            logger.debug("%s", line)
        figures = {"OpenSim's activations": "opensim", "the refined": "refined"}
        if self.consistent is not None:
            figures = {
                "OpenSim's activations": "opensim",
                "the estimate of EMG taken for an activation": "refined",
                "the torque-consistent activations": "consistent",
            }
        errors = {
            label: overall_percent([getattr(row, f"rmse_{kind}") for row in rows], [row.peak for row in rows])
            for label, kind in figures.items()
            if hasattr(rows[0], f"rmse_{kind}")
        }
        # What is made torque-consistent has a line of its own already.
        tell = logger.info if self.consistent is None else logger.debug
        tell(
            "Joint torques of %d coordinates, RMS error against inverse dynamics in percent of the peak torques: %s.",
            len(rows),
            ", ".join(f"{label} {value:.1f} %" for label, value in errors.items()),
        )
        logger.debug(
            "Read the change, not the RMSE alone: the simulation had reserve actuators, and perhaps other tendons, so "
            "OpenSim's own activations do not meet inverse dynamics either."
        )


@dataclass(frozen=True)
class ActivationRows:
    """A trial's activations at the rows of its motion.

    Parameters
    ----------
    opensim, refined : numpy.ndarray, shape (rows, muscles)
        OpenSim's activations, and with the refined ones in their place.
    within : numpy.ndarray of bool, shape (rows, muscles)
        Rows in which a muscle was refined.
    known : numpy.ndarray of bool, shape (rows,)
        Rows within the trial: a motion may begin before it and end after it.
    """

    opensim: Array
    refined: Array
    within: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, trial: SimulatedTrial, activations: Estimate, terms: TorqueTerms) -> ActivationRows:
        """Interpolate a trial's activations.

        Parameters
        ----------
        trial : SimulatedTrial
            The simulation.
        activations : Estimate
            The refined activations.
        terms : TorqueTerms
            The motion's rows, and the muscles wanted.

        Returns
        -------
        ActivationRows
            The activations.
        """
        muscles = terms.muscles
        trial.require_finite(muscles)
        new = activations.values(trial.activations)
        nowhere = np.zeros(len(trial.time), dtype=bool)
        covered = {item.muscle: item.covered for item in activations}
        before = np.column_stack([trial.activations[name] for name in muscles])
        after = np.column_stack([new[name] for name in muscles])
        inside = np.column_stack([covered.get(name, nowhere) for name in muscles])
        within = interpolate(trial.time, inside.astype(float), terms.time) >= 1.0
        known = (terms.time >= trial.time[0]) & (terms.time <= trial.time[-1])
        return cls(
            interpolate(trial.time, before, terms.time),
            interpolate(trial.time, after, terms.time),
            within & known[:, np.newaxis],
            known,
        )


def joint_terms(
    trial: SimulatedTrial,
    model: OsimModel,
    coordinates_file: Path | None,
    external_loads_file: Path | None,
    lowpass: float,
    coordinates: Sequence[str],
    tendons: Tendons = "auto",
    span: tuple[float, float] = (float("-inf"), float("inf")),
) -> TorqueTerms:
    """Compute the torques that a trial's motion needs and what those of its muscles are made of.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
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
    tendons : {'auto', 'rigid', 'elastic'}
        Elastic: where the model says so. auto: elastic if the simulation had fibers of their own (CMC), else rigid
        (static optimisation).
    span : tuple of float
        The part of the trial that is wanted (s).

    Returns
    -------
    TorqueTerms
        At the motion's rows within the trial and the span.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The motion or the model cannot be used, or OpenSim failed.
    """
    motion_series = trial.source if coordinates_file is None else read_storage(coordinates_file, model=model.path)
    motion_series = with_true_unit(motion_series, model)
    if coordinates_file is not None:
        refuse_another_motion(trial.source, motion_series, model)
    if external_loads_file is None:
        logger.warning("No <external_loads_file> was given: the torque check takes it that nothing touches the body.")
    motion = analyse_motion(
        model.path,
        motion_series,
        external_loads_file,
        lowpass=lowpass,
        start=max(span[0], float(trial.time[0])),
        end=min(span[1], float(trial.time[-1])),
    )
    if external_loads_file is not None:
        refuse_another_trials_loads(motion.time, motion.coordinates, motion.torques, model.mass, external_loads_file)
    muscles = [name for name in model.muscles if name in trial.activations]
    silent = [name for name in model.muscles if name not in trial.activations]
    if silent:
        logger.warning("The torque check leaves out muscles without activations: %s.", listed(silent))
    torque_model = TorqueModel.of_model(model.path, motion, muscles=muscles, coordinates=coordinates, curves="own")
    terms = torque_model.terms(motion, external_loads_file)
    if tendons == "elastic" or (tendons == "auto" and trial.has_fibers):
        terms = with_elastic_tendons(terms, torque_model, motion, model)
    if terms.outside.any():
        logger.warning(
            "In %d of %d rows the motion leaves the range of the fitted muscle paths: they are not compared.",
            int(terms.outside.sum()),
            len(terms.outside),
        )
    return terms


def with_fibers(
    trial: SimulatedTrial, activations: Estimate, terms: TorqueTerms, before: TorqueTerms | None = None
) -> Estimate:
    """Add the states of the fibers that follow new activations, where tendons are elastic.

    What changes is added to the simulation's own states, and vanishes with the fibers' memory outside the cycles.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    activations : Estimate
        The activations.
    terms : TorqueTerms
        What torques are made of; ElasticTerms, or the estimate is returned as it is.
    before : TorqueTerms, optional
        The same of the simulation's muscles, where these are others.

    Returns
    -------
    Estimate
        With :attr:`.Estimate.fibers`, by the labels that they have in the trial's file.
    """
    if not isinstance(terms, ElasticTerms):
        return activations
    rows = ActivationRows.of(trial, activations, terms)
    simulated = before if isinstance(before, ElasticTerms) else terms
    old, new = simulated.fiber_states(rows.opensim), terms.fiber_states(rows.refined)
    found: dict[str, Array] = {}
    # Beyond the torques' rows interpolation holds the last change: right in what is refined; elsewhere it has faded.
    beyond = (trial.time < terms.time[0]) | (trial.time > terms.time[-1])
    forgotten = beyond & ~activations.covered
    for column, name in enumerate(terms.elastic.hill.names):
        for state, values in new.items():
            label = trial.labels.get(name, "").removesuffix("activation") + state
            if trial.source.has(label):
                change = interpolate(terms.time, values[:, column] - old[state][:, column], trial.time)
                change[forgotten] = 0.0
                given = trial.source.column(label)
                found[label] = np.ma.array(given + change, mask=np.abs(change) < _NO_CHANGE * np.abs(given))
    return replace(activations, fibers=found)


def check_torques(trial: SimulatedTrial, activations: Estimate, terms: TorqueTerms) -> TorqueCheck:
    """Compare the torques that the motion needs with those that activations make, before and after refinement.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    activations : Estimate
        The refined activations.
    terms : TorqueTerms
        What the torques are made of.

    Returns
    -------
    TorqueCheck
        The torques of coordinates that a refined muscle spans; rows count in which it is within a refined cycle.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        No row of the motion lies within a refined cycle.
    """
    given = ActivationRows.of(trial, activations, terms)
    compared = (given.within.astype(int) @ terms.actuates.astype(int) > 0) & ~terms.outside[:, np.newaxis]
    touched = compared.any(axis=0)
    if not touched.any():
        raise ModelError("The motion has no row within a refined gait cycle: torques cannot be compared.")
    untouched = [name for name, yes in zip(terms.coordinates, touched, strict=True) if not yes]
    if untouched:
        logger.debug("No refined muscle spans %s: not in the torque check.", ", ".join(untouched))
        terms = terms.of([name for name in terms.coordinates if name not in untouched])
    return TorqueCheck(
        terms=terms,
        opensim=terms.torques(given.opensim),
        refined=terms.torques(given.refined),
        compared=compared[:, touched],
    )
