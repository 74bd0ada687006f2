"""The mechanics of an estimate: its amplitude, torque check, redistribution, and comparison with measured EMG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import CycleError, MissingFileError, NEM2EError
from ..log import counted, logger
from .amplitude import Amplitude, Convention, MuscleGain, by_prior, log_amplitude, scaled

if TYPE_CHECKING:
    from pathlib import Path

    from ..data.simulation import Muscle, SimulatedTrial
    from ..musculoskeletal.torque_model import TorqueTerms
    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel
    from .consistency import EmgError
    from .estimate import Estimate
    from .measured_emg import MeasuredEMG
    from .torque_consistent import Consistent, RedistributionSettings
    from .torques import Tendons, TorqueCheck
    from .write import EstimateWriter


# Torques are computed from so long before to so long after what was refined (s): beyond, neither tendons nor filters
# remember anything of it.
_BESIDE = 0.5

#: What log, tables and curves call the kinds of activations; by torques: where these decided on the amplitude of the
#: refined activations, which are then the consistent ones, and what the method put out is shown unscaled.
WORDS = {"opensim": "OpenSim", "refined": "refined", "consistent": "consistent"}
WORDS_BY_TORQUES = {"opensim": "OpenSim", "refined": "unscaled", "consistent": "refined"}


@dataclass(frozen=True)
class MechanicsSettings:
    """What is to be found out about an estimate.

    Parameters
    ----------
    check_torques : bool
        Whether the joint torques are checked.
    redistribution : RedistributionSettings or None
        How activations are made consistent with the torques (the check is part of it); needed for the amplitude
        ``'torques'``.
    redistribute : bool
        Whether that is done, and written apart, whatever the amplitude.
    amplitude : {'auto', 'torques', 'simulation', 'emg'}
        What the refined activations are relative to. auto: torques where ``torques_known``, else simulation.
    torques_known : bool
        Whether model, motion and loads are given, and OpenSim is there.
    lacking : tuple of str
        Which of these files are not given, in words.
    crossfade : float
        Time over which activations fade into the simulation's, outside the cycles (s).
    coordinates_file : pathlib.Path or None
        The motion; None: the coordinates in the trial's own file.
    external_loads_file : pathlib.Path or None
        ExternalLoads; None: nothing touches the body.
    lowpass : float
        Cut-off of the filter for the coordinates (Hz); negative: none.
    coordinates : tuple of str
        The coordinates looked at; empty: all rotations that muscles actuate.
    tendons : {'auto', 'rigid', 'elastic'}
        The tendons of the muscles that make the torques (:func:`.torques.joint_terms`).
    """

    check_torques: bool = False
    redistribution: RedistributionSettings | None = None
    redistribute: bool = False
    amplitude: Literal["auto", "torques", "simulation", "emg"] = "emg"
    torques_known: bool = False
    lacking: tuple[str, ...] = ()
    crossfade: float = 0.0
    coordinates_file: Path | None = None
    external_loads_file: Path | None = None
    lowpass: float = 6.0
    coordinates: tuple[str, ...] = ()
    tendons: Tendons = "auto"


@dataclass(frozen=True)
class Mechanics:
    """What was found out about an estimate.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    activations : Estimate
        The refined activations, before torques had a say.
    result : Estimate
        The activations that are the result, with :attr:`.Estimate.amplitude`: those consistent with the torques where
        these decide on the amplitude, else ``activations``.
    check : TorqueCheck or None
        Torques, if asked for.
    consistent : Consistent or None
        Activations consistent with them, if asked for.
    emg : MeasuredEMG or None
        Measured EMG, if given.
    emg_errors : sequence of EmgError
        How far activations are from it.
    apart : bool
        Whether the consistent activations have files of their own (``<name>_consistent_states.sto``).
    """

    trial: SimulatedTrial
    activations: Estimate
    result: Estimate
    check: TorqueCheck | None
    consistent: Consistent | None
    emg: MeasuredEMG | None
    emg_errors: Sequence[EmgError]
    apart: bool = False

    @property
    def by_torques(self) -> bool:
        """Whether torques decided on the amplitude of the result."""
        return self.result.amplitude is not None and self.result.amplitude.convention == "torques"

    @property
    def words(self) -> Mapping[str, str]:
        """What the kinds of activations are called: :data:`WORDS` or :data:`WORDS_BY_TORQUES`."""
        return WORDS_BY_TORQUES if self.by_torques else WORDS

    @property
    def own_shapes(self) -> list[str]:
        """Muscles that are compared with the EMG that gave them their shape."""
        compared = {row.muscle for row in self.emg_errors}
        return [item.muscle for item in self.activations if item.shape_source == "EMG" and item.muscle in compared]

    def write(self, files: ResultFiles, writer: EstimateWriter) -> TorqueCheck | None:
        """Write all of it but figures, the result's activations among it, and say it in the log.

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
        reached = writer.write_activations(files, self.result)
        amplitude = self.result.amplitude
        assert amplitude is not None
        log_amplitude(amplitude)
        gains = amplitude.gains if self.consistent is None else self.consistent.gains
        if gains:
            write_rows(files.path(f"{name}_gains.csv"), MuscleGain, list(gains.values()))
        if self.consistent is not None:
            if self.apart:
                reached = writer.write_activations(files, self.consistent.new, "consistent_")
            check = self.consistent.led(self.trial, reached)
            write_rows(files.path(f"{name}_tradeoff.csv"), TradeOff, self.consistent.curve)
        if check is not None:
            check.write(files, name, writer.precision)
        if self.emg_errors:
            write_rows(files.path(f"{name}_emg_errors.csv"), EmgError, self.emg_errors)
            logger.debug("Shape against measured EMG (each channel divided by its maximum over the cycles):")
            for line in emg_table(self.emg_errors):
                logger.debug("%s", line)
            means = {kind: fmean(getattr(row, f"shape_{kind}") for row in self.emg_errors) for kind in WORDS}
            logger.info(
                "Shape error against measured EMG (RMS after the best gain, each channel divided by its maximum), mean "
                "of %s: %s%s.%s",
                counted(len(self.emg_errors), "muscle"),
                ", ".join(f"{word} {means[kind]:.3f}" for kind, word in self.words.items() if isfinite(means[kind])),
                " (unscaled: the method's output, before joint torques decide on its amplitude)"
                if self.words is WORDS_BY_TORQUES
                else "",
                f" Of these, {counted(len(self.own_shapes), 'shape')} came from this EMG." if self.own_shapes else "",
            )
        return check


def examine_mechanics(
    trial: SimulatedTrial,
    muscles: Mapping[str, Muscle],
    estimate: Estimate,
    model: OsimModel | None,
    settings: MechanicsSettings,
    emg: MeasuredEMG | None = None,
) -> Mechanics:
    """Find an estimate's amplitude, check its torques, redistribute it and compare it with EMG, as asked.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    muscles : mapping of str to Muscle
        Bounds and dynamics of its muscles.
    estimate : Estimate
        What a method put out.
    model : OsimModel or None
        The simulation's model; needed for torques.
    settings : MechanicsSettings
        What is asked for.
    emg : MeasuredEMG, optional
        The trial's measured EMG.

    Returns
    -------
    Mechanics
        What was found.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A file cannot be used, or OpenSim failed.
    """
    convention, terms = _convention(trial, estimate, model, settings)
    if convention == "simulation":
        activations = by_prior(estimate, trial.activations).as_activations(muscles, settings.crossfade)
    else:
        known = {item.muscle: item.gain for item in estimate if item.gain is not None and convention == "emg"}
        activations = scaled(estimate, known).as_activations(muscles, settings.crossfade)
        unit: Convention = "emg" if estimate.quantity == "emg" else "method"
        activations = replace(activations, amplitude=Amplitude(unit))
    result = activations
    check: TorqueCheck | None = None
    consistent: Consistent | None = None
    if settings.redistribute or convention == "torques":
        from .torque_consistent import make_consistent

        assert terms is not None
        assert settings.redistribution is not None
        if settings.coordinates:
            logger.warning(
                "<torque_coordinates>: only the torques of these are made consistent. Their muscles may span other "
                "joints, whose torques then change, too."
            )
        shapes = estimate if estimate.quantity == "emg" else activations
        consistent = make_consistent(trial, muscles, activations, terms, settings.redistribution, emg, shapes)
        check = consistent.check
        if convention == "torques":
            # Refined muscles that span no such coordinate are as strong as their prior.
            alone = by_prior(shapes, trial.activations).as_activations(muscles, settings.crossfade)
            result = _joined(consistent.new, alone)
    elif settings.check_torques:
        from .torques import check_torques

        assert terms is not None
        check = check_torques(trial, activations, terms)
    if check is not None:
        from .torques import with_fibers

        result = with_fibers(trial, result, check.terms)
        if consistent is not None and settings.redistribute:
            consistent = replace(consistent, new=with_fibers(trial, consistent.new, check.terms))
    in_its_unit = estimate.blended(settings.crossfade)
    errors = [] if emg is None else compare_with_emg(emg, trial, in_its_unit, consistent)
    return Mechanics(trial, activations, result, check, consistent, emg, errors, settings.redistribute)


def _joined(consistent: Estimate, alone: Estimate) -> Estimate:
    """Add the muscles whose amplitude torques do not tell."""
    known, more = consistent.amplitude, alone.amplitude
    assert known is not None
    assert more is not None
    gains = {**known.gains, **{name: row for name, row in more.gains.items() if name not in known.gains}}
    muscles = {**alone.muscles, **consistent.muscles}
    return replace(consistent, muscles=muscles, kind="refined", amplitude=replace(known, gains=gains))


def _convention(
    trial: SimulatedTrial, estimate: Estimate, model: OsimModel | None, settings: MechanicsSettings
) -> tuple[Convention, TorqueTerms | None]:
    """Settle what the amplitude is relative to, and compute what torques are made of where they are needed."""
    asked = settings.amplitude
    must = settings.check_torques or settings.redistribute or asked == "torques"
    if estimate.quantity != "emg" and asked in ("auto", "emg"):
        # The method puts out activations or excitations, which have an amplitude.
        return "method", _terms(trial, estimate, model, settings) if must else None
    if must or (asked == "auto" and settings.torques_known):
        try:
            terms = _terms(trial, estimate, model, settings)
        except (MissingFileError, CycleError):
            # Nor can the gait cycles be trusted.
            raise
        except NEM2EError as error:
            if must:
                raise
            logger.warning(
                "<amplitude> auto: joint torques cannot be had, so the amplitude is that of the simulation. %s", error
            )
            return "simulation", None
        if asked == "auto":
            return "torques" if settings.torques_known else "simulation", terms
        return asked, terms
    if asked == "auto" and settings.lacking:
        logger.info(
            "Joint torques could decide on the amplitude if %s were given, too.", " and ".join(settings.lacking)
        )
    return "simulation" if asked == "auto" else asked, None


def _terms(
    trial: SimulatedTrial, estimate: Estimate, model: OsimModel | None, settings: MechanicsSettings
) -> TorqueTerms:
    from .torques import joint_terms

    assert model is not None
    refined = trial.time[estimate.covered]
    beside = settings.crossfade + _BESIDE
    span = (float(refined[0]) - beside, float(refined[-1]) + beside) if refined.size else (-np.inf, np.inf)
    return joint_terms(
        trial,
        model,
        settings.coordinates_file,
        settings.external_loads_file,
        settings.lowpass,
        settings.coordinates,
        settings.tendons,
        span,
    )


def compare_with_emg(
    emg: MeasuredEMG, trial: SimulatedTrial, refined: Estimate, consistent: Consistent | None = None
) -> list[EmgError]:
    """Compare all activations with measured EMG, in the cycles in which something was changed.

    Parameters
    ----------
    emg : MeasuredEMG
        The EMG.
    trial : SimulatedTrial
        The simulation.
    refined : Estimate
        What was estimated, in its own unit.
    consistent : Consistent, optional
        The activations consistent with the torques.

    Returns
    -------
    list of EmgError
        One per muscle that has a channel and cycles.
    """
    cycles = refined.cycles()
    # What a result does not change it holds as OpenSim gave it.
    curves = {"opensim": trial.activations, "refined": refined.values(trial.activations)}
    if consistent is not None:
        cycles = {**consistent.new.cycles(), **cycles}
        curves["consistent"] = consistent.new.values(trial.activations)
    left = [name for name in emg.channels if not cycles.get(name)]
    if left:
        logger.info("Not compared with EMG, as no gait cycle of theirs was refined: %s.", ", ".join(left))
    return emg.errors({kind: (trial.time, values) for kind, values in curves.items()}, cycles, float("inf"))
