"""The mechanics of an estimate: torque check, redistribution, and comparison with measured EMG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING

from ..log import logger

if TYPE_CHECKING:
    from pathlib import Path

    from ..data.simulation import Muscle, SimulatedTrial
    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel
    from .consistency import EmgError
    from .estimate import Estimate
    from .measured_emg import MeasuredEMG
    from .torque_consistent import Consistent, RedistributionSettings
    from .torques import TorqueCheck
    from .write import EstimateWriter


#: The activations that are compared with EMG, as the log calls them.
_KINDS = {"opensim": "OpenSim", "refined": "refined", "consistent": "consistent"}


@dataclass(frozen=True)
class MechanicsSettings:
    """What is to be found out about an estimate.

    Parameters
    ----------
    check_torques : bool
        Whether the joint torques are checked.
    redistribution : RedistributionSettings or None
        How activations are made consistent with the torques (the check is part of it); None: they are not.
    coordinates_file : pathlib.Path or None
        The motion; None: the coordinates in the trial's own file.
    external_loads_file : pathlib.Path or None
        ExternalLoads; None: nothing touches the body.
    lowpass : float
        Cut-off of the filter for the coordinates (Hz); negative: none.
    coordinates : tuple of str
        The coordinates looked at; empty: all rotations that muscles actuate.
    emg_file, emg_channels_file : pathlib.Path or None
        Measured EMG envelopes and the table of their channels (:func:`.measured_emg.read_measured_emg`).
    emg_time_offset : float
        EMG(t + offset) fits activation(t) (s).
    """

    check_torques: bool = False
    redistribution: RedistributionSettings | None = None
    coordinates_file: Path | None = None
    external_loads_file: Path | None = None
    lowpass: float = 6.0
    coordinates: tuple[str, ...] = ()
    emg_file: Path | None = None
    emg_channels_file: Path | None = None
    emg_time_offset: float = 0.0


@dataclass(frozen=True)
class Mechanics:
    """What was found out about an estimate.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    activations : Estimate
        The refined activations.
    check : TorqueCheck or None
        Torques, if asked for.
    consistent : Consistent or None
        Activations consistent with them, if asked for.
    emg : MeasuredEMG or None
        Measured EMG, if given.
    emg_errors : sequence of EmgError
        How far activations are from it.
    """

    trial: SimulatedTrial
    activations: Estimate
    check: TorqueCheck | None
    consistent: Consistent | None
    emg: MeasuredEMG | None
    emg_errors: Sequence[EmgError]

    def write(self, files: ResultFiles, writer: EstimateWriter) -> TorqueCheck | None:
        """Write all of it but figures, and say it in the log.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        writer : EstimateWriter
            Writes activations.

        Returns
        -------
        TorqueCheck or None
            The torque check, with the torques of the activations that the written controls lead to.
        """
        from ..storage.tables import write_rows
        from .consistency import EmgError, TradeOff, emg_table

        name, check = writer.name, self.check
        if self.consistent is not None:
            reached = writer.write_activations(files, self.consistent.new, "consistent_")
            check = self.consistent.led(self.trial, reached)
            write_rows(files.path(f"{name}_tradeoff.csv"), TradeOff, self.consistent.curve)
        if check is not None:
            check.write(files, name, writer.precision)
        if self.emg_errors:
            write_rows(files.path(f"{name}_emg_errors.csv"), EmgError, self.emg_errors)
            logger.debug("Errors against measured EMG (each channel divided by its maximum over the cycles):")
            for line in emg_table(self.emg_errors):
                logger.debug("%s", line)
            means = {kind: fmean(getattr(row, f"E_{kind}") for row in self.emg_errors) for kind in _KINDS}
            logger.info(
                "RMS error against measured EMG, each channel divided by its maximum, mean of %d muscles: %s.",
                len(self.emg_errors),
                ", ".join(f"{words} {means[kind]:.3f}" for kind, words in _KINDS.items() if isfinite(means[kind])),
            )
        return check


def examine_mechanics(
    trial: SimulatedTrial,
    muscles: Mapping[str, Muscle],
    activations: Estimate,
    model: OsimModel | None,
    settings: MechanicsSettings,
) -> Mechanics:
    """Check an estimate's torques, redistribute its activations and compare them with EMG, as asked.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    muscles : mapping of str to Muscle
        Bounds and dynamics of its muscles.
    activations : Estimate
        The refined activations.
    model : OsimModel or None
        The simulation's model; needed for torques.
    settings : MechanicsSettings
        What is asked for.

    Returns
    -------
    Mechanics
        What was found.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A file cannot be used, or OpenSim failed.
    """
    emg = None
    if settings.emg_file is not None:
        from .measured_emg import read_measured_emg

        emg = read_measured_emg(
            settings.emg_file, settings.emg_channels_file, settings.emg_time_offset, trial.activations
        )
    check: TorqueCheck | None = None
    consistent: Consistent | None = None
    if settings.check_torques or settings.redistribution is not None:
        from .torques import check_torques, joint_terms

        assert model is not None
        terms = joint_terms(
            trial,
            model,
            settings.coordinates_file,
            settings.external_loads_file,
            settings.lowpass,
            settings.coordinates,
        )
        if settings.redistribution is not None:
            from .torque_consistent import make_consistent

            if settings.coordinates:
                logger.warning(
                    "<torque_coordinates>: only the torques of these are made consistent. Their muscles may turn other "
                    "joints, whose torques then change, too."
                )
            consistent = make_consistent(trial, muscles, activations, terms, settings.redistribution, emg)
            check = consistent.check
        else:
            check = check_torques(trial, activations, terms)
    errors = [] if emg is None else compare_with_emg(emg, trial, activations, consistent)
    return Mechanics(trial, activations, check, consistent, emg, errors)


def compare_with_emg(
    emg: MeasuredEMG, trial: SimulatedTrial, activations: Estimate, consistent: Consistent | None = None
) -> list[EmgError]:
    """Compare all activations with measured EMG, in the cycles in which something was changed.

    Parameters
    ----------
    emg : MeasuredEMG
        The EMG.
    trial : SimulatedTrial
        The simulation.
    activations : Estimate
        The refined activations.
    consistent : Consistent, optional
        The activations consistent with the torques.

    Returns
    -------
    list of EmgError
        One per muscle that has a channel and cycles.
    """
    cycles = activations.cycles()
    # What a result does not change it holds as OpenSim gave it.
    curves = {"opensim": trial.activations, "refined": activations.values(trial.activations)}
    if consistent is not None:
        cycles = {**consistent.new.cycles(), **cycles}
        curves["consistent"] = consistent.new.values(trial.activations)
    left = [name for name in emg.channels if not cycles.get(name)]
    if left:
        logger.info("Not compared with EMG, as no gait cycle of theirs was refined: %s.", ", ".join(left))
    return emg.errors({kind: (trial.time, values) for kind, values in curves.items()}, cycles, float("inf"))
