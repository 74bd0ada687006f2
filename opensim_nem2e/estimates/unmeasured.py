"""What NMM says of a subject's trials: estimates on the trials' time bases, tables, the subject's own model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..log import logger
from ..methods.base import Provenance, Quantity
from ..methods.nmm.fit import BOUNDS, MOST_PASSIVE, RESERVE, personal_muscles
from ..methods.nmm.recordings import LEAD
from ..methods.nmm.subject_estimate import METHODS, ChannelScore, SubjectEstimate
from ..musculoskeletal.dynamics import OpenSimDynamics
from ..musculoskeletal.elastic_tendons import with_elastic_tendons
from ..musculoskeletal.hill import HillMuscles
from ..musculoskeletal.torque_model import TorqueModel, TorqueTerms
from ..signals.resample import interpolate
from .estimate import Estimate, MuscleEstimate
from .torque_consistent import RedistributionSettings, make_consistent
from .torques import with_fibers

if TYPE_CHECKING:
    from ..data.simulation import Muscle, SimulatedTrial
    from ..methods.nmm.recordings import RecordedTrial, Recordings
    from ..storage.osim import OsimModel
    from .torques import Tendons

Array = NDArray[np.float64]

#: Over this time activations lead over to the simulation's, outside the windows (s).
_CROSSFADE = 0.05

#: The activations written may miss a torque by this share of its peak, or by so much (Nm).
_LEFT_SHARE, _LEAST_LEFT = 0.1, 1.0

#: Of more coordinates the log shows the largest errors only; the log file and a table have all.
_MOST_TOLD = 8

#: Losing more of the correlation with EMG to the torques is warned of; in gait nothing is lost.
_FAR = 0.1

#: How the fit's rest is put right.
_SETTINGS = RedistributionSettings(1.0, RESERVE, float("inf"), -1.0, _CROSSFADE, free_gains=False, in_proportion=True)


@dataclass(frozen=True)
class ParameterRow:
    """A muscle's personal parameters.

    Parameters
    ----------
    muscle : str
        The muscle.
    channel : str
        Its EMG channel; empty if it is unmeasured.
    synergist_measured : bool
        Whether a channel is of a synergist, or of the muscle itself.
    strength, optimal_fiber_length, tendon_slack_length : float
        Factors of the model's values.
    nonlinearity : float
        Of EMG to activation, 0: none.
    emg_gain : float
        Excitation per EMG of its maximum.
    delay, activation_time : float
        Electromechanical delay and time constant of activation (s).
    """

    muscle: str
    channel: str
    synergist_measured: bool
    strength: float
    optimal_fiber_length: float
    tendon_slack_length: float
    nonlinearity: float
    emg_gain: float
    delay: float
    activation_time: float


@dataclass(frozen=True)
class TorqueFit:
    """How well a coordinate's torque is met.

    Parameters
    ----------
    coordinate : str
        The coordinate.
    peak : float
        Largest torque needed (Nm).
    rmse_fit, rmse_consistent : float
        RMSE of the fit, and after its rest was put right (Nm).
    """

    coordinate: str
    peak: float
    rmse_fit: float
    rmse_consistent: float


@dataclass(frozen=True, eq=False)
class TrialResult:
    """One trial of a subject.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        The trial's own time base (s).
    excitations, activations : Estimate
        Of all muscles; rows outside the windows keep the simulation's activation.
    rows_time : numpy.ndarray, shape (window rows,)
        Times of the windows' rows (s).
    needed, fit, consistent : numpy.ndarray, shape (window rows, coordinates)
        Torques: of inverse dynamics, of the fit's activations, and of those written (Nm).
    elastic : bool
        Whether those written make them with elastic tendons.
    """

    time: Array
    excitations: Estimate
    activations: Estimate
    rows_time: Array
    needed: Array
    fit: Array
    consistent: Array
    elastic: bool


def parameter_rows(subject: SubjectEstimate) -> list[ParameterRow]:
    """Lay the personal parameters out.

    Parameters
    ----------
    subject : SubjectEstimate
        The run.

    Returns
    -------
    list of ParameterRow
        One per muscle.
    """
    r = subject.recordings
    alone = set(subject.unsupported())
    rows = []
    for m, muscle in enumerate(r.muscles):
        channel = subject.shapes.measured[m]
        numbers = {name: float(subject.parameters[name][m]) for name in BOUNDS}
        rows.append(
            ParameterRow(muscle, r.channels[channel].column if channel >= 0 else "", muscle not in alone, **numbers)
        )
    return rows


def personal_values(subject: SubjectEstimate) -> dict[str, dict[str, float]]:
    """Return the muscles' numbers for the subject's own model.

    Parameters
    ----------
    subject : SubjectEstimate
        The run.

    Returns
    -------
    dict of str to dict of str to float
        By muscle: ``max_isometric_force`` (N), ``optimal_fiber_length``, ``tendon_slack_length`` (m).
    """
    own = personal_muscles(subject.recordings.hill, subject.parameters)
    names = ("max_isometric_force", "optimal_fiber_length", "tendon_slack_length")
    return {
        muscle: {name: float(getattr(own, name)[m]) for name in names}
        for m, muscle in enumerate(subject.recordings.muscles)
    }


def personal_model(model: OsimModel, subject: SubjectEstimate) -> OsimModel:
    """Give a model the subject's own muscles.

    Parameters
    ----------
    model : OsimModel
        The model.
    subject : SubjectEstimate
        The run.

    Returns
    -------
    OsimModel
        Whose muscles have the subject's strengths, fiber and tendon lengths.
    """
    values: dict[str, dict[str, Any]] = {**personal_values(subject)}
    own = {name: replace(model.muscles[name], **numbers) for name, numbers in values.items()}
    return replace(model, muscles={**model.muscles, **own})


def _terms(
    recordings: Recordings, trial: RecordedTrial, model: OsimModel, elastic: bool, *, warns: bool = True
) -> TorqueTerms:
    """Say what the torques of a trial are made of, with the force curves of the muscles' own classes."""
    hill = HillMuscles.from_model(model, recordings.muscles, curves="own")
    torque_model = TorqueModel(hill, recordings.paths, recordings.coordinates, OpenSimDynamics(model.path))
    motion = trial.motion
    made = torque_model.evaluate(motion)
    most = MOST_PASSIVE * np.asarray(hill.max_isometric_force)
    needed = motion.torques[:, motion.columns(recordings.coordinates)]
    terms = TorqueTerms(**vars(replace(made, passive=np.minimum(made.passive, most))), inverse_dynamics=needed)
    stretched = [name for name, yes in zip(hill.names, (made.passive > most).any(0), strict=True) if yes]
    if stretched and warns:
        logger.warning(
            "%s: the passive force of %s is above %g times the muscle's strength%s: fiber and tendon are "
            "too short for it.",
            trial.name,
            ", ".join(stretched),
            MOST_PASSIVE,
            "" if elastic else " and was taken for that",
        )
    return with_elastic_tendons(terms, torque_model, motion, model) if elastic else terms


def trial_results(
    subject: SubjectEstimate,
    simulations: Sequence[SimulatedTrial],
    population: str,
    model: OsimModel,
    muscles: Mapping[str, Muscle],
    tendons: Tendons = "auto",
) -> list[TrialResult]:
    """Bring a subject's estimates onto the time bases of the trials' simulations, and put right the torques.

    What the fit leaves of the torques is put right by the least change of activations, in proportion to their size
    (:func:`.torque_consistent.make_consistent`).

    Parameters
    ----------
    subject : SubjectEstimate
        The run.
    simulations : sequence of SimulatedTrial
        The trials' simulations, in order.
    population : str
        The population bundle's name, for the provenance; empty without one.
    model : OsimModel
        The model.
    muscles : mapping of str to Muscle
        Bounds and dynamics of its muscles.
    tendons : {'auto', 'rigid', 'elastic'}, optional
        The tendons of the muscles that make the torques of the activations (:func:`.torques.joint_terms`).

    Returns
    -------
    list of TrialResult
        One per trial.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A muscle is of a class whose forces are not known.
    """
    r, w = subject.recordings, subject.recordings.windows
    own_model = personal_model(model, subject)
    provenance = Provenance(
        f"nmm_{subject.method}", METHODS[subject.method].label, bundle=population, package_version=__version__
    )
    results = []
    for k, simulation in enumerate(simulations):
        own = np.flatnonzero(w.trial == k)
        rows, order = np.unique(w.time[own, LEAD:], return_index=True)
        time = simulation.time
        inside = np.zeros(time.size, dtype=bool)
        for window in own:
            # The last row stands for the time up to the next window.
            inside |= (time >= w.time[window, LEAD] - 1e-9) & (time <= w.time[window, -1] + w.step[window] + 1e-9)

        def in_order(table: Array, own: NDArray[np.intp] = own, order: NDArray[np.intp] = order) -> Array:
            return table[own].reshape(-1, table.shape[-1])[order]

        def estimate(
            table: Array,
            quantity: Quantity,
            bands: tuple[Array, Array] | None = None,
            k: int = k,
            simulation: SimulatedTrial = simulation,
            inside: NDArray[np.bool_] = inside,
            in_order: Callable[[Array], Array] = in_order,
            rows: Array = rows,
        ) -> Estimate:
            values, *edges = (interpolate(rows, in_order(each), simulation.time) for each in (table, *(bands or ())))
            found = {}
            for m, name in enumerate(r.muscles):
                before = simulation.activations.get(name, np.zeros(len(inside)))
                low, high = (edge[:, m] for edge in edges) if edges and subject.shapes.measured[m] < 0 else (None, None)
                found[name] = MuscleEstimate(
                    name,
                    np.where(inside, values[:, m], before),
                    inside,
                    standard_name=r.standard[m],
                    side=r.sides[m],
                    cycles=tuple(r.trials[k].cycles.get(r.sides[m], ())) if r.sides[m] else (),
                    low=low,
                    high=high,
                )
            return Estimate(simulation.time, quantity, found, provenance, kind="estimated")

        bands = None if subject.low is None or subject.high is None else (subject.low, subject.high)
        aim = estimate(subject.activations, "activation").as_activations(muscles, _CROSSFADE)
        elastic = tendons == "elastic" or (tendons == "auto" and simulation.has_fibers)
        terms = _terms(r, r.trials[k], own_model, elastic)
        made = make_consistent(simulation, muscles, aim, terms, _SETTINGS, reserves=())
        activations = replace(made.new, kind="estimated")
        if elastic:
            activations = with_fibers(
                simulation, activations, terms, _terms(r, r.trials[k], model, elastic, warns=False)
            )
        assert made.check.consistent is not None
        results.append(
            TrialResult(
                time,
                estimate(subject.excitations, "excitation", bands),
                activations,
                rows,
                in_order(w.torques),
                in_order(subject.torques),
                interpolate(terms.time, made.check.consistent, rows),
                elastic,
            )
        )
    return results


def torque_fits(coordinates: Sequence[str], results: Sequence[TrialResult]) -> list[TorqueFit]:
    """Measure the torques' errors over all trials.

    Parameters
    ----------
    coordinates : sequence of str
        The coordinates.
    results : sequence of TrialResult
        The trials.

    Returns
    -------
    list of TorqueFit
        One per coordinate.
    """
    needed, fit, consistent = (
        np.concatenate([getattr(result, name) for result in results]) for name in ("needed", "fit", "consistent")
    )

    def rmse(made: Array, k: int) -> float:
        return float(np.sqrt(np.mean((made - needed)[:, k] ** 2)))

    rows = [
        TorqueFit(name, float(np.abs(needed[:, k]).max()), rmse(fit, k), rmse(consistent, k))
        for k, name in enumerate(coordinates)
    ]
    many = len(rows) > _MOST_TOLD
    for row in rows:
        (logger.debug if many else logger.info)(
            "Torque %s: RMSE %.2f Nm of the fit, %.2f Nm of the activations written; largest torque %.1f Nm.",
            row.coordinate,
            row.rmse_fit,
            row.rmse_consistent,
            row.peak,
        )
    if many:
        logger.info(
            "Torques of %d coordinates: RMSE at most %.2f Nm of the fit, %.2f Nm of the activations written.",
            len(rows),
            max(row.rmse_fit for row in rows),
            max(row.rmse_consistent for row in rows),
        )
    weak = [row for row in rows if row.rmse_consistent > max(_LEFT_SHARE * row.peak, _LEAST_LEFT)]
    if weak:
        logger.warning(
            "The muscles cannot make the torques of %s: do model, motion, loads and carried masses belong to the same "
            "subject and trial, and are they in kg, m and N?",
            ", ".join(f"{row.coordinate} (RMSE {row.rmse_consistent:.3g} of {row.peak:.3g} Nm)" for row in weak),
        )
    return rows


#: What stands beside the estimates of left-out channels.
OTHERS = {
    "simulation": "simulation",
    "synx": "synergy extrapolation",
    "copy": "nearest synergist's channel",
    "population": "other subjects' weights",
}


def left_out_in_words(scores: Sequence[ChannelScore]) -> list[str]:
    """Say how well measured channels are estimated without themselves, beside what is cheaper.

    Parameters
    ----------
    scores : sequence of ChannelScore
        Of one method.

    Returns
    -------
    list of str
        A sentence for channels left out alone, and one for those left out with their synergists.
    """
    told = []
    for kind, words in (("channel", "left out one at a time"), ("group", "left out with all their synergists")):
        rows = [row for row in scores if row.left_out == kind]
        if rows:
            means = {name: fmean(getattr(row, f"r_{name}") for row in rows) for name in OTHERS}
            beside = "; ".join(f"{OTHERS[name]}: {mean:.2f}" for name, mean in means.items() if not np.isnan(mean))
            mean = fmean(row.r for row in rows)
            told.append(f"Measured channels {words} are estimated with r = {mean:.2f} ({beside}).")
    return told


def log_left_out(scores: Sequence[ChannelScore]) -> None:
    """Log the same, and warn where the torques take what is written far from EMG.

    Parameters
    ----------
    scores : sequence of ChannelScore
        Of one method.
    """
    for text in left_out_in_words(scores):
        logger.info("%s", text)
    rows = [row for row in scores if row.left_out == "channel" and not np.isnan(row.r_written)]
    if rows:
        fitted, written = fmean(row.r for row in rows), fmean(row.r_written for row in rows)
        if fitted - written > _FAR:
            logger.warning(
                "Putting the torques right takes the activations far from EMG: channels left out have r = %.2f in what "
                "is written, %.2f as they were fitted. Read timing in the excitations.",
                written,
                fitted,
            )
