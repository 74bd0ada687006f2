"""What NMM says of a subject's trials: estimates on the trials' time bases, tables, the subject's own model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..log import logger
from ..methods.base import Provenance, Quantity
from ..methods.nmm.fit import BOUNDS, MOST_PASSIVE, personal_muscles
from ..methods.nmm.recordings import LEAD
from ..methods.nmm.subject_estimate import SubjectEstimate
from ..musculoskeletal.row_programs import solve_rows
from ..signals.resample import interpolate
from .estimate import Estimate, MuscleEstimate

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial

Array = NDArray[np.float64]

#: Names of the methods in reports.
LABELS = {
    "structured": "NMM, mixture with mechanics",
    "paper": "NMM, Transformer (Kumar 2025)",
    "synx": "synergy extrapolation (Ao & Fregly)",
    "copy": "copy of the nearest synergist",
    "population": "weights of other subjects",
}

#: The reserve torque that costs as much as an activation moved by 1 (Nm), where the fit's rest is put right.
_RESERVE = 1.0


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
    """

    time: Array
    excitations: Estimate
    activations: Estimate
    rows_time: Array
    needed: Array
    fit: Array
    consistent: Array


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


def consistent_activations(subject: SubjectEstimate) -> tuple[Array, Array]:
    """Put right what the fit leaves of the torques, by the least change of activations, most where least is known.

    Parameters
    ----------
    subject : SubjectEstimate
        The run.

    Returns
    -------
    activations : numpy.ndarray, shape (windows, ROWS, muscles)
        For the subject's own muscles with the force curves of their classes, rigid tendons.
    torques : numpy.ndarray, shape (windows, ROWS, coordinates)
        What they make (Nm).
    """
    w = subject.recordings.windows
    own = personal_muscles(subject.recordings.own_curves, subject.parameters)
    active, passive = own.rigid_terms(w.lengths, w.velocities)
    most = MOST_PASSIVE * np.asarray(own.max_isometric_force)
    stretched = [own.names[m] for m in np.flatnonzero((passive > most).any((0, 1)))]
    if stretched:
        logger.warning(
            "The passive force of %s is above %g times the muscle's strength in this motion and was taken for that: "
            "fiber and tendon are too short for it.",
            ", ".join(stretched),
            MOST_PASSIVE,
        )
    passive = np.minimum(passive, most)
    held = np.einsum("wnmc,wnm->wnc", w.moment_arms, passive)
    gain = np.einsum("wnmc,wnm->wncm", w.moment_arms, active)
    aim = subject.activations
    shape = gain.shape[:2]
    table = gain.reshape(-1, *gain.shape[2:])
    # Measured muscles are known to a few percent, the others to what their shapes are.
    spread = np.maximum(np.where(subject.shapes.measured >= 0, 0.05, subject.shapes.spread), 0.02)
    solved = solve_rows(
        table,
        (w.torques - held).reshape(-1, table.shape[1]),
        low=0.01,
        high=1.0,
        reserve=np.full(table.shape[1], _RESERVE),
        target=aim.reshape(-1, aim.shape[-1]),
        weight=(np.median(spread) / spread) ** 2,
    )
    found = solved.activations.reshape(aim.shape)
    return found, (table @ solved.activations[..., None])[..., 0].reshape(*shape, -1) + held


def trial_results(
    subject: SubjectEstimate, simulations: Sequence[SimulatedTrial], population: str
) -> list[TrialResult]:
    """Bring a subject's estimates onto the time bases of the trials' simulations.

    Parameters
    ----------
    subject : SubjectEstimate
        The run.
    simulations : sequence of SimulatedTrial
        The trials' simulations, in order.
    population : str
        The population bundle's name, for the provenance; empty without one.

    Returns
    -------
    list of TrialResult
        One per trial.
    """
    r, w = subject.recordings, subject.recordings.windows
    activations, torques = consistent_activations(subject)
    provenance = Provenance(
        f"nmm_{subject.method}", LABELS[subject.method], bundle=population, package_version=__version__
    )
    results = []
    for k, simulation in enumerate(simulations):
        own = np.flatnonzero(w.trial == k)
        rows = w.time[own, LEAD:].ravel()
        order = np.unique(rows, return_index=True)[1]
        time = simulation.time
        inside = np.zeros(time.size, dtype=bool)
        for window in own:
            # The last row stands for the time up to the next window.
            inside |= (time >= w.time[window, LEAD] - 1e-9) & (time <= w.time[window, -1] + w.step[window] + 1e-9)

        def on_time(
            table: Array,
            own: NDArray[np.intp] = own,
            order: NDArray[np.intp] = order,
            rows: Array = rows,
            time: Array = time,
        ) -> Array:
            return interpolate(rows[order], table[own].reshape(-1, table.shape[-1])[order], time)

        def estimate(
            values: Array,
            quantity: Quantity,
            bands: bool,
            inside: NDArray[np.bool_] = inside,
            k: int = k,
            simulation: SimulatedTrial = simulation,
            time: Array = time,
        ) -> Estimate:
            low, high = subject.low, subject.high
            edges = None if low is None or high is None or not bands else (on_time(low), on_time(high))
            muscles = {}
            for m, name in enumerate(r.muscles):
                before = simulation.activations.get(name, np.zeros(time.size))
                unmeasured = subject.shapes.measured[m] < 0
                muscles[name] = MuscleEstimate(
                    name,
                    np.where(inside, values[:, m], before),
                    inside,
                    standard_name=r.standard[m],
                    side=r.sides[m],
                    cycles=tuple(r.trials[k].cycles.get(r.sides[m], ())) if r.sides[m] else (),
                    low=edges[0][:, m] if edges is not None and unmeasured else None,
                    high=edges[1][:, m] if edges is not None and unmeasured else None,
                )
            return Estimate(time, quantity, muscles, provenance, kind="estimated")

        results.append(
            TrialResult(
                time,
                estimate(on_time(subject.excitations), "excitation", True),
                estimate(on_time(activations), "activation", False),
                rows[order],
                w.torques[own].reshape(-1, w.torques.shape[-1])[order],
                subject.torques[own].reshape(-1, w.torques.shape[-1])[order],
                torques[own].reshape(-1, w.torques.shape[-1])[order],
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
    for row in rows:
        logger.info(
            "Torque %s: RMSE %.2f Nm of the fit, %.2f Nm of the activations written; largest torque %.1f Nm.",
            row.coordinate,
            row.rmse_fit,
            row.rmse_consistent,
            row.peak,
        )
    return rows
