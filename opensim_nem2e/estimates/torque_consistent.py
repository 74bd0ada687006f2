"""Refined activations made consistent with the joint torques: the step after the torque check.

On the rows of the motion (those at which the torques are known) gains of the refined muscles' shapes are sought that
suit the torques of inverse dynamics (:mod:`opensim_nem2e.musculoskeletal.shape_gains`), then activations that are
nearest to these shapes, make the torques, and that muscles can follow
(:mod:`opensim_nem2e.musculoskeletal.redistribution`). The rows of the trial, which are denser and uneven, get the
monotone curve through them. With the gain 1 the second step alone is done, with the refined activations as they are.
With elastic tendons activations move the fibers, which decide what torque they make: both are found by turns.

Muscles and coordinates that share a torque belong together: a gastrocnemius that turns the ankle turns the knee, too,
and the knee's torque needs the hamstrings. Such a part (a leg) is solved as a whole, in the gait cycles of its refined
muscles and in the fades beside them; all other rows and muscles keep the simulation's values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..log import counted, logger
from ..musculoskeletal.activation import CONTROL_STEP, held_excitation, reachable
from ..musculoskeletal.elastic_tendons import ElasticTerms
from ..musculoskeletal.redistribution import cost_of_moving, redistribute_each
from ..musculoskeletal.row_programs import connected
from ..musculoskeletal.shape_gains import find_gains
from ..signals.cycles import fade_outside
from ..signals.emg import butterworth
from ..signals.resample import interpolate, pchip
from .amplitude import Amplitude, MuscleGain, outside_band, prior_gains, rms, scaled, shape_of
from .consistency import TradeOff
from .estimate import Estimate, MuscleEstimate
from .torque_metrics import overall_percent
from .torques import ActivationRows, TorqueCheck

if TYPE_CHECKING:
    from ..data.simulation import Muscle, SimulatedTrial
    from ..musculoskeletal.torque_model import TorqueTerms
    from ..storage import TimeSeries
    from .measured_emg import MeasuredEMG

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Reserves of the trade-off curve (Nm), beside the one that was chosen.
RESERVES = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0)

#: With elastic tendons: the most rounds, the change of activations (RMS) below which they end (the torques' error is
#: then below 0.1 % of their peaks), and how many earlier rounds the next one takes into account.
_MOST_ROUNDS, _SETTLED, _MEMORY = 15, 2e-4, 6

# Long trials take about as long as the motion itself: progress is logged this often (s).
_SILENCE = 10.0


@dataclass(frozen=True)
class RedistributionSettings:
    """What a redistribution is to weigh.

    Parameters
    ----------
    others_weight : float
        What moving a muscle that was not refined costs; a refined one costs 1.
    reserve : float
        The reserve torque that costs as much as a refined activation that moves by 1 (Nm).
    bound : float
        Largest reserve (Nm).
    lowpass : float
        Cut-off of the filter for the activations that were not refined (Hz); negative: none.
    crossfade : float
        Time over which consistent activations fade into the simulation's, outside the cycles (s).
    free_gains : bool
        Whether the amplitudes of the refined muscles are sought; if not, their activations are taken as they are.
    in_proportion : bool
        Whether moving a refined muscle costs the less, the more it is active (:func:`.redistribution.cost_of_moving`).
    """

    others_weight: float
    reserve: float
    bound: float
    lowpass: float
    crossfade: float
    free_gains: bool = True
    in_proportion: bool = False


@dataclass(frozen=True)
class _Part:
    """Muscles and coordinates that share torques, and where they are made consistent.

    Parameters
    ----------
    muscles, coordinates : numpy.ndarray of int
        Columns.
    rows : numpy.ndarray of bool, shape (rows,)
        The motion's rows within the cycles of the part's refined muscles.
    solved : numpy.ndarray of bool, shape (rows,)
        These, and those of the fades beside the cycles.
    refined : numpy.ndarray of bool, shape (muscles,)
        Which of its muscles were refined.
    """

    muscles: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    rows: Mask
    solved: Mask
    refined: Mask

    def others_weight(self, settings: RedistributionSettings) -> float:
        """Return what moving one of its muscles that were not refined costs."""
        if not settings.free_gains:
            return settings.others_weight
        # All together, they cost the same in a model of few muscles and in one of many.
        return settings.others_weight * float(self.refined.sum()) / max(float((~self.refined).sum()), 1.0)


@dataclass(frozen=True)
class Consistent:
    """Activations consistent with the torques.

    Parameters
    ----------
    check : TorqueCheck
        The torques of all three.
    new : Estimate
        The activations on the trial's rows.
    exceeded : numpy.ndarray of bool, shape (rows, coordinates)
        Where a reserve could not be kept within its bound; coordinates as in ``check``.
    curve : sequence of TradeOff
        From the refined activations to the dearest reserves; the chosen one among them.
    bound : float
        Largest reserve allowed (Nm).
    """

    check: TorqueCheck
    new: Estimate
    exceeded: Mask
    curve: Sequence[TradeOff]
    bound: float

    @property
    def gains(self) -> Mapping[str, MuscleGain]:
        """How the amplitude of each muscle was found."""
        return {} if self.new.amplitude is None else self.new.amplitude.gains

    def led(self, trial: SimulatedTrial, reached: TimeSeries) -> TorqueCheck:
        """Add the torques of the activations that the written controls lead to.

        Parameters
        ----------
        trial : SimulatedTrial
            The simulation.
        reached : TimeSeries
            These activations, of the muscles that were made consistent.

        Returns
        -------
        TorqueCheck
            With :attr:`TorqueCheck.controls`.
        """
        terms = self.check.terms
        activations = np.column_stack(
            [
                interpolate(reached.time, reached.column(name), terms.time)
                if reached.has(name)
                else interpolate(trial.time, trial.activations[name], terms.time)
                for name in terms.muscles
            ]
        )
        return replace(self.check, controls=terms.torques(activations))


def make_consistent(
    trial: SimulatedTrial,
    muscles: Mapping[str, Muscle],
    refined: Estimate,
    terms: TorqueTerms,
    settings: RedistributionSettings,
    emg: MeasuredEMG | None = None,
    shapes: Estimate | None = None,
    reserves: Sequence[float] = RESERVES,
) -> Consistent:
    """Find activations that keep the shapes of a trial's refined ones and make the torques that the motion needs.

    Parameters
    ----------
    trial : SimulatedTrial
        The simulation.
    muscles : mapping of str to Muscle
        Bounds and dynamics of its muscles.
    refined : Estimate
        The refined activations.
    terms : TorqueTerms
        What the torques are made of.
    settings : RedistributionSettings
        What is weighed.
    emg : MeasuredEMG, optional
        Measured EMG, for the trade-off curve.
    shapes : Estimate, optional
        What the shapes are taken from where gains are sought: the estimate before bounds clipped it. The refined
        activations, if left out.
    reserves : sequence of float, optional
        Reserves of the trade-off curve (Nm), beside the one that was chosen.

    Returns
    -------
    Consistent
        The activations and their torques.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        No row of the motion lies within a refined cycle.
    """
    given = ActivationRows.of(trial, refined, terms)
    parts = _parts(given, terms, settings.crossfade)
    if not parts:
        raise ModelError("The motion has no row within a refined gait cycle: nothing can be redistributed.")
    own_shapes = refined if shapes is None else shapes
    others = _without_chatter(given, terms, settings.lowpass)

    def aim(terms: TorqueTerms, before: _Solver | None = None) -> _Solver:
        start = {} if before is None else before.goals.gains
        goals = _goals(trial, muscles, own_shapes, refined, terms, given, others, parts, settings, start)
        return _Solver(muscles, terms, given, parts, goals, settings)

    def write(solver: _Solver, activations: Array) -> tuple[Estimate, Array]:
        new = _on_the_trial(trial, solver.goals.aimed, terms, activations, parts, settings.crossfade)
        values = new.values(trial.activations)
        written = np.column_stack([values[name] for name in terms.muscles])
        return new, interpolate(trial.time, written, terms.time)

    if isinstance(terms, ElasticTerms):
        terms, solver = _settled(terms, given.opensim, aim, write, (settings.reserve, settings.bound))
    else:
        solver = aim(terms)
    goals = solver.goals
    reserves = sorted({*reserves, settings.reserve}, reverse=True)
    chosen = reserves.index(settings.reserve)
    tries = solver.solve([(reserve, settings.bound if k == chosen else np.inf) for k, reserve in enumerate(reserves)])
    activations, exceeded = tries[chosen]
    new, written = write(solver, activations)

    columns = np.sort(np.concatenate([part.coordinates for part in parts]))
    compared = np.zeros((len(terms.time), len(terms.coordinates)), dtype=bool)
    for part in parts:
        compared[np.ix_(part.rows, part.coordinates)] = True
    check = TorqueCheck(
        terms=terms.of([terms.coordinates[k] for k in columns]),
        opensim=terms.torques(given.opensim)[:, columns],
        refined=terms.torques(given.refined)[:, columns],
        compared=compared[:, columns],
        consistent=terms.torques(written)[:, columns],
        exceeded=exceeded[:, columns],
    )
    amplitude = Amplitude("torques", solver.amplitudes(activations, new), *_percents(check), terms.tendons)
    new = replace(new, amplitude=amplitude)
    solver.log(exceeded, settings)
    points = [(np.inf, goals.nearest), *((reserve, one[0]) for reserve, one in zip(reserves, tries, strict=True))]
    curve = [solver.point(reserve, made, reserve == settings.reserve, new, emg) for reserve, made in points]
    return Consistent(check, new, exceeded[:, columns], curve, settings.bound)


def _settled(
    terms: ElasticTerms,
    activations: Array,
    aim: Callable[[TorqueTerms, _Solver | None], _Solver],
    write: Callable[[_Solver, Array], tuple[Estimate, Array]],
    price: tuple[float, float],
) -> tuple[ElasticTerms, _Solver]:
    """Find fibers that those activations lead to which are written once these fibers made them consistent.

    This fixed point is sought by Anderson's method (https://doi.org/10.1137/10078356X): plain rounds mend little of a
    soleus with its long tendon. (SciPy's own is not worth its import, which takes as long as two rounds.)
    """
    tried: list[Array] = []
    came: list[Array] = []
    solver, told = None, time.monotonic()
    for rounds in range(1, _MOST_ROUNDS + 1):
        if time.monotonic() - told > _SILENCE:
            told = time.monotonic()
            logger.info("Making activations and elastic tendons agree: round %d of at most %d.", rounds, _MOST_ROUNDS)
        terms = terms.at(activations)
        solver = aim(terms, solver)
        ((found, _),) = solver.solve([price])
        # What is written also fades beside the cycles, and fibers remember that for a while.
        _, written = write(solver, found)
        change = rms(written - activations)
        if change < _SETTLED or rounds == _MOST_ROUNDS:
            break
        tried, came = [*tried[-_MEMORY:], activations], [*came[-_MEMORY:], written]
        moves = np.array([(after - before).ravel() for before, after in zip(tried, came, strict=True)])
        differences = moves[-1] - moves[:-1]
        shares = np.linalg.lstsq(differences.T, moves[-1], rcond=1e-6)[0]
        activations = written - np.tensordot(shares, written - np.array(came[:-1]).reshape(-1, *written.shape), 1)
    logger.debug("Elastic tendons: activations moved by %.5f (RMS) in the last of %d rounds.", change, rounds)
    terms = terms.at(written)
    return terms, aim(terms, solver)


@dataclass(frozen=True)
class _Goals:
    """What is aimed at, on the motion's rows.

    Parameters
    ----------
    aimed : Estimate
        The refined muscles with the amplitudes found, on the trial's rows.
    nearest : numpy.ndarray, shape (rows, muscles)
        These, and the simulation's activations of other muscles.
    aims : numpy.ndarray, shape (rows, muscles)
        The same with other muscles' activations low-passed: what the programs aim at.
    weight : numpy.ndarray, shape (rows, muscles)
        What a departure costs.
    gains, priors, determined : mapping of str to float
        Of the refined muscles.
    """

    aimed: Estimate
    nearest: Array
    aims: Array
    weight: Array
    gains: Mapping[str, float]
    priors: Mapping[str, float]
    determined: Mapping[str, float]


@dataclass(frozen=True)
class _Solver:
    """Solves all parts of a trial on the motion's rows."""

    muscles: Mapping[str, Muscle]
    terms: TorqueTerms
    given: ActivationRows
    parts: Sequence[_Part]
    goals: _Goals
    settings: RedistributionSettings

    def solve(self, prices: Sequence[tuple[float, float]]) -> list[tuple[Array, Mask]]:
        """Solve for several reserves and their bounds.

        Returns the activations (rows, muscles) of each, those aimed at outside the parts, and where its bound was
        exceeded.
        """
        terms, muscles = self.terms, self.muscles
        gain, needed = terms.gain, terms.inverse_dynamics - terms.passive_torque
        results = [(self.goals.nearest.copy(), np.zeros(needed.shape, dtype=bool)) for _ in prices]
        for part in self.parts:
            own = tuple(muscles[terms.muscles[k]] for k in part.muscles)
            for run in _runs(part.solved):
                where = np.ix_(run, part.muscles)
                found = redistribute_each(
                    gain[np.ix_(run, part.coordinates, part.muscles)],
                    needed[np.ix_(run, part.coordinates)],
                    self.goals.aims[where],
                    self.goals.weight[where],
                    [muscle.low for muscle in own],
                    [muscle.high for muscle in own],
                    prices=prices,
                    reach=reach_of(own, float(terms.time[run[1]] - terms.time[run[0]])),
                )
                for (activations, exceeded), one in zip(results, found, strict=True):
                    activations[where] = one.activations
                    exceeded[np.ix_(run, part.coordinates)] = one.exceeded
        return results

    def point(
        self, reserve: float, activations: Array, chosen: bool, new: Estimate, emg: MeasuredEMG | None
    ) -> TradeOff:
        """Weigh the torques' error of activations against the distance from what was aimed at."""
        terms = self.terms
        error = terms.torques(activations) - terms.inverse_dynamics
        moved = activations - self.goals.nearest
        rmse, peaks = [], []
        refined, others = [], []
        for part in self.parts:
            for k in part.coordinates:
                rmse.append(rms(error[part.rows, k]))
                peaks.append(float(np.abs(terms.inverse_dynamics[part.rows, k]).max()))
            refined.append(moved[np.ix_(part.rows, part.muscles[part.refined])].ravel())
            others.append(moved[np.ix_(part.rows, part.muscles[~part.refined])].ravel())
        e = float("nan")
        if emg is not None:
            columns = {name: activations[:, k] for k, name in enumerate(terms.muscles)}
            rows = emg.errors({"consistent": (terms.time, columns)}, new.cycles(), np.inf, told=True)
            e = float(np.mean([row.E_consistent for row in rows])) if rows else e
        return TradeOff(
            reserve,
            chosen,
            overall_percent(rmse, peaks),
            max(rmse),
            rms(np.concatenate(refined)),
            rms(np.concatenate(others)),
            e,
        )

    def amplitudes(self, activations: Array, new: Estimate) -> dict[str, MuscleGain]:
        """Say of each muscle how its amplitude was found, and how far it moved; those with a shape first."""
        goals, found = self.goals, {}
        nothing = float("nan")
        for part in self.parts:
            for k in part.muscles:
                name = self.terms.muscles[k]
                moved = rms((activations - self.given.opensim)[part.rows, k])
                item = goals.aimed.muscles.get(name)
                if item is None:
                    found[name] = MuscleGain(name, "", nothing, nothing, nothing, nothing, moved)
                    continue
                inside = self.given.within[:, k] & part.rows
                departure = rms((activations - goals.nearest)[inside, k])
                gain, prior, share = (one.get(name, nothing) for one in (goals.gains, goals.priors, goals.determined))
                outside = outside_band(new.muscles[name])
                found[name] = MuscleGain(name, item.shape_source, gain, prior, share, departure, moved, outside)
        return dict(sorted(found.items(), key=lambda pair: not pair[1].shape))

    def log(self, exceeded: Mask, settings: RedistributionSettings) -> None:
        """Say what was done, and what could not be."""
        terms = self.terms
        for part in self.parts:
            names = [terms.muscles[k] for k in part.muscles]
            count = int(part.refined.sum())
            logger.debug(
                "Redistribution: refined muscles (%d, %s) and others (%d, weight %g) make the torques of %s, in %d "
                "rows of the motion; a reserve of %g Nm costs as much as a refined activation moved by 1, and %g Nm is "
                "the most.",
                count,
                "free gains" if settings.free_gains else "gain 1, weight 1",
                len(names) - count,
                settings.others_weight,
                ", ".join(terms.coordinates[k] for k in part.coordinates),
                int(part.rows.sum()),
                settings.reserve,
                settings.bound,
            )
        logger.debug(
            "Rows outside the refined cycles keep OpenSim's values, into which consistent activations fade over %g s.",
            settings.crossfade,
        )
        beyond = [
            f"{terms.coordinates[k]} in {counted(int(rows.sum()), 'row')} ({terms.time[rows][0]:.4f} to "
            f"{terms.time[rows][-1]:.4f} s)"
            for k in np.flatnonzero(exceeded.any(axis=0))
            for rows in (exceeded[:, k],)
        ]
        if beyond:
            logger.warning(
                "No activations of the muscles make the torque within the bound of the reserve: %s. Are motion, loads "
                "and model of one trial, and the muscles strong enough?",
                ", ".join(beyond),
            )
        alone = [
            name for k, name in enumerate(terms.coordinates) if not any(k in part.coordinates for part in self.parts)
        ]
        if alone:
            logger.debug("No refined muscle shares a torque with %s: left as it was.", ", ".join(alone))


def _goals(
    trial: SimulatedTrial,
    muscles: Mapping[str, Muscle],
    shapes: Estimate,
    refined: Estimate,
    terms: TorqueTerms,
    given: ActivationRows,
    others: Array,
    parts: Sequence[_Part],
    settings: RedistributionSettings,
    start: Mapping[str, float],
) -> _Goals:
    """Decide what each muscle is to keep near, and what departing from it costs."""
    weight = np.full(given.opensim.shape, settings.others_weight)
    for part in parts:
        weight[:, part.muscles] = part.others_weight(settings)
    gains: dict[str, float] = {}
    priors: dict[str, float] = {}
    determined: dict[str, float] = {}
    weights: dict[str, float] = {}
    if settings.free_gains:
        expected = prior_gains(shapes, trial.activations)
        needed = terms.inverse_dynamics - terms.passive_torque
        for part in parts:
            columns = np.flatnonzero(part.refined)
            names = [terms.muscles[k] for k in part.muscles[columns]]
            items = [shapes.muscles[name] for name in names]
            curves = np.column_stack([shape_of(item)[0] for item in items])
            own = [muscles[terms.muscles[k]] for k in part.muscles]
            prior = [expected[name] for name in names]
            result = find_gains(
                terms.gain[np.ix_(part.rows, part.coordinates, part.muscles)],
                needed[np.ix_(part.rows, part.coordinates)],
                others[np.ix_(part.rows, part.muscles)],
                interpolate(trial.time, curves, terms.time[part.rows]),
                columns,
                [muscle.low for muscle in own],
                [muscle.high for muscle in own],
                prior,
                covered=given.within[np.ix_(part.rows, part.muscles[columns])],
                fixed=np.array([item.gain is not None for item in items]),
                certainty=[item.certainty for item in items],
                others_weight=part.others_weight(settings),
                reserve=settings.reserve,
                start=[start[name] for name in names] if start else None,
            )
            for known_, values in (
                (gains, result.gains),
                (determined, result.determined),
                (weights, result.weight),
                (priors, prior),
            ):
                known_.update(zip(names, map(float, values), strict=True))
        aimed = scaled(shapes, gains).as_activations(muscles, settings.crossfade)
        aimed_rows = ActivationRows.of(trial, aimed, terms).refined
    else:
        aimed, aimed_rows = refined, given.refined
    touched = np.column_stack(
        [
            aimed.muscles[name].replaced if name in aimed.muscles else np.zeros(len(trial.time), dtype=bool)
            for name in terms.muscles
        ]
    )
    shaped = interpolate(trial.time, touched.astype(float), terms.time) > 0.0
    costs = np.array([weights.get(name, 1.0) for name in terms.muscles])
    if settings.in_proportion:
        costs = cost_of_moving(aimed_rows)
    return _Goals(
        aimed,
        np.where(shaped, aimed_rows, given.opensim),
        np.where(shaped, aimed_rows, others),
        np.where(shaped, costs, weight),
        gains,
        priors,
        determined,
    )


def _percents(check: TorqueCheck) -> tuple[dict[str, float], float]:
    """Return the torque error that consistent activations leave, in percent of the peak: each coordinate's, and all."""
    assert check.consistent is not None
    needed = check.terms.inverse_dynamics
    columns = range(len(check.terms.coordinates))
    peaks = [float(np.abs(needed[check.compared[:, k], k]).max()) for k in columns]
    errors = [rms((check.consistent - needed)[check.compared[:, k], k]) for k in columns]
    each = [overall_percent([error], [peak]) for error, peak in zip(errors, peaks, strict=True)]
    return dict(zip(check.terms.coordinates, each, strict=True)), overall_percent(errors, peaks)


def _without_chatter(given: ActivationRows, terms: TorqueTerms, lowpass: float) -> Array:
    """Return OpenSim's activations without their chatter.

    CMC finds new excitations in every window of 10 ms, and its activations tremble from window to window. The motion,
    low-passed, needs no such thing; aimed at as they are, they would make the refined muscles tremble against them.
    """
    rate = (len(terms.time) - 1) / (terms.time[-1] - terms.time[0])
    if 0.0 < lowpass < 0.5 * rate:
        return butterworth(given.opensim, rate, lowpass, "lowpass", padding="even")
    return given.opensim


@lru_cache(maxsize=16)
def reach_of(muscles: tuple[Muscle, ...], step: float) -> Callable[[Array], tuple[Array, Array]]:
    """Tell how far activations can fall and rise within a step: with the least and the greatest excitation.

    Parameters
    ----------
    muscles : tuple of Muscle
        Bounds and dynamics of the muscles.
    step : float
        The step (s).

    Returns
    -------
    callable
        Gives the lowest and the highest activations (..., muscles) from those at the start of the step, as
        :func:`opensim_nem2e.musculoskeletal.redistribution.redistribute` and its like ask for them.
    """
    after = held_excitation(
        step,
        [muscle.tau_act for muscle in muscles],
        [muscle.tau_deact for muscle in muscles],
        [muscle.kind for muscle in muscles],
        min_activation=[muscle.min_activation for muscle in muscles],
        smoothing=[muscle.smoothing for muscle in muscles],
        max_step=CONTROL_STEP,
    )
    return reachable(
        after,
        [muscle.min_control for muscle in muscles],
        [muscle.max_control for muscle in muscles],
        np.array([muscle.low for muscle in muscles]),
        np.array([muscle.high for muscle in muscles]),
    )


def _parts(given: ActivationRows, terms: TorqueTerms, crossfade: float) -> list[_Part]:
    """Find what belongs together, and where it is to be made consistent."""
    known = given.known & ~terms.outside
    spans = terms.actuates
    of_muscle, of_coordinate = connected(spans)
    found = []
    for number in np.unique(of_coordinate):
        muscles, coordinates = np.flatnonzero(of_muscle == number), np.flatnonzero(of_coordinate == number)
        within = given.within[:, muscles]
        rows = within.any(axis=1) & ~terms.outside
        if rows.any():
            refined: Mask = np.any(within, axis=0)
            _, beside = fade_outside(terms.time, rows, 0.0 * terms.time, rows, crossfade)
            found.append(_Part(muscles, coordinates, rows, rows | (beside & known), refined))
    return found


def _on_the_trial(
    trial: SimulatedTrial,
    aimed: Estimate,
    terms: TorqueTerms,
    activations: Array,
    parts: Sequence[_Part],
    crossfade: float,
) -> Estimate:
    """Bring activations on the motion's rows to the trial's rows, and let them fade into the simulation's."""
    cycles_of = aimed.cycles()
    step = 1.5 * float(np.median(np.diff(terms.time)))
    known = (trial.time >= terms.time[0] - step) & (trial.time <= terms.time[-1] + step)
    known &= interpolate(terms.time, terms.outside.astype(float), trial.time) <= 0.0
    found = {}
    for part in parts:
        names = [terms.muscles[k] for k in part.muscles]
        inside = known & np.any([item.covered for name in names if (item := aimed.muscles.get(name))], axis=0)
        time = terms.time[part.solved]
        at = np.clip(trial.time, time[0], time[-1])
        curves = pchip(time, activations[np.ix_(part.solved, part.muscles)], at)
        weight, faded = fade_outside(trial.time, inside, 0.0 * trial.time, inside, crossfade)
        own = tuple(dict.fromkeys(cycle for name in names for cycle in cycles_of.get(name, ())))
        for column, name in enumerate(names):
            before = trial.activations[name]
            blended = np.where(weight > 0.0, before + weight * (curves[:, column] - before), before)
            item = aimed.muscles.get(name)
            if item is None:
                found[name] = MuscleEstimate(name, blended, inside, cycles=own, faded=faded, shape_source="")
                continue
            # The band stays that of the estimate at its amplitude: torques may ask for more than it holds.
            found[name] = replace(item, values=blended, covered=inside, cycles=own, faded=faded, curves=None)
    return Estimate(trial.time, "activation", found, aimed.provenance, "consistent", motion=aimed.motion)


def _runs(rows: Mask) -> list[NDArray[np.int64]]:
    """Return the indices of each stretch of rows that follow one another."""
    numbers = np.flatnonzero(rows)
    return [run for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if run.size > 1]
