"""Muscles with elastic tendons along a known motion: the fiber lengths that activations lead to, and their torques.

A muscle of length L(t) with the length x along the tendon of its fiber carries the force of its tendon::

    tendon(L - x) = activation active(x, dx/dt) + passive(x, dx/dt)

This differential equation of x is solved by implicit Euler on a grid of at most 5 ms, for all muscles and times
together: Newton's method, whose linear system is one recursion in time per muscle, each muscle with its own step
length. The first row is in equilibrium at rest. On CMC's own activations the fibers are those of CMC's states within
0.3 % of their optimal length.

Given the fibers, the torque is linear in the activations, as it is with rigid tendons. What is made consistent with the
torques moves the fibers in turn, so both are found by turns (:mod:`opensim_nem2e.estimates.torque_consistent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..signals.resample import interpolate, pchip
from ..storage.osim import OsimModel
from .dynamics import JointMotion
from .hill import HillMuscles
from .torque_model import TorqueModel, TorqueTerms

Array = NDArray[np.float64]

#: The longest step (s).
_STEP = 0.005

#: The most Newton steps, and the change (optimal fiber lengths) below which they end: the next one would be its square.
_MOST_STEPS, _STAYS = 60, 1e-4

#: The most halvings (nearly) of a step, and by what a step is shortened.
_MOST_CUTS, _CUT = 8, 0.4

#: Fiber lengths along the tendon and tendon lengths are at least this (optimal fiber lengths, slack lengths).
_SHORTEST_FIBER, _SHORTEST_TENDON = 0.05, 0.97

#: Differences by which slopes are taken: optimal fiber lengths, and optimal fiber lengths per second.
_DIFFERENCES = (1e-6, 1e-3)


@dataclass(frozen=True, eq=False)
class ElasticTendons:
    """Some muscles of a model, with elastic tendons, along a motion.

    Parameters
    ----------
    hill : HillMuscles
        The muscles, with the curves of their own classes.
    time : numpy.ndarray, shape (rows,)
        s.
    lengths : numpy.ndarray, shape (rows, muscles)
        Of the muscle-tendon units (m).
    """

    hill: HillMuscles
    time: Array
    lengths: Array
    _parts: int = field(init=False)
    _grid: Array = field(init=False, repr=False)
    _fine: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refine the grid."""
        steps = np.diff(self.time)
        parts = max(1, int(np.ceil(float(steps.max(initial=0.0)) / _STEP - 1e-6)))
        within = np.arange(parts) / parts
        grid = np.append((self.time[:-1, None] + steps[:, None] * within).ravel(), self.time[-1])
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "_grid", grid)
        object.__setattr__(self, "_fine", self.lengths if parts == 1 else pchip(self.time, self.lengths, grid))

    def fibers(self, activations: Array, start: Array | None = None) -> tuple[Array, Array, Array]:
        """Find the fibers that activations lead to.

        Parameters
        ----------
        activations : numpy.ndarray, shape (rows, muscles)
            0..1.
        start : numpy.ndarray, shape (grid, muscles), optional
            Where the search starts: the third result of another call.

        Returns
        -------
        along, speed : numpy.ndarray, shape (rows, muscles)
            Length along the tendon (m) and its rate of change (m/s).
        fine : numpy.ndarray, shape (grid, muscles)
            The lengths on the finer grid.
        """
        excited = interpolate(self.time, activations, self._grid)
        x = self._at_rest(excited, self._fine) if start is None else start.copy()
        x[:1] = self._at_rest(excited[:1], self._fine[:1], x[:1])
        x = self._along_time(x, excited)
        speed = np.gradient(x, self._grid, axis=0)
        return x[:: self._parts], speed[:: self._parts], x

    def _residual(self, x: Array, speed: Array, activations: Array, lengths: Array) -> Array:
        """Return tendon force less fiber force, in maximal forces."""
        active, passive = self.hill.fiber_terms(x, speed, activations)
        force = self.hill.tendon_force(lengths - x) - activations * active - passive
        return np.asarray(force / self.hill.max_isometric_force)

    def _bounds(self, lengths: Array) -> tuple[Array, Array]:
        optimal = self.hill.optimal_fiber_length
        longest = np.maximum(lengths - _SHORTEST_TENDON * self.hill.tendon_slack_length, 0.3 * optimal)
        return np.broadcast_to(_SHORTEST_FIBER * optimal, lengths.shape), longest

    def _at_rest(self, activations: Array, lengths: Array, start: Array | None = None) -> Array:
        """Return the equilibrium of fibers that do not move: bracketed Newton steps."""
        low, high = self._bounds(lengths)
        still = np.zeros_like(lengths)
        x = np.clip(lengths - 1.01 * self.hill.tendon_slack_length if start is None else start, low, high)
        small = _DIFFERENCES[0] * self.hill.optimal_fiber_length
        for _ in range(25):
            value = self._residual(x, still, activations, lengths)
            slope = (self._residual(x + small, still, activations, lengths) - value) / small
            low, high = np.where(value > 0.0, x, low), np.where(value > 0.0, high, x)
            falls = slope < 0.0
            new = x - value / np.where(falls, slope, -1.0)
            new = np.where(falls & (new > low) & (new < high), new, 0.5 * (low + high))
            new = np.where(np.abs(value) < 1e-10, x, new)
            moved = np.abs(new - x).max()
            x = new
            if moved < 1e-8:
                break
        return x

    def _along_time(self, x: Array, activations: Array) -> Array:
        """Solve implicit Euler for all times and muscles by Newton's method; the first row stays."""
        step = np.diff(self._grid)[:, None]
        lengths, excited = self._fine[1:], activations[1:]
        optimal = self.hill.optimal_fiber_length
        low, high = self._bounds(lengths)
        far, fast = (difference * optimal for difference in _DIFFERENCES)

        def residual(x: Array) -> tuple[Array, Array]:
            speed = np.diff(x, axis=0) / step
            return self._residual(x[1:], speed, excited, lengths), speed

        value, speed = residual(x)
        for _ in range(_MOST_STEPS):
            by_length = (self._residual(x[1:] + far, speed, excited, lengths) - value) / far
            by_speed = (self._residual(x[1:], speed + fast, excited, lengths) - value) / fast
            slope = np.minimum(by_length + by_speed / step, -1e-3 / optimal)
            own, handed_on = -value / slope, by_speed / step / slope
            move = np.empty_like(value)
            before = np.zeros(value.shape[1])
            for row in range(len(move)):
                before = own[row] + handed_on[row] * before
                move[row] = before
            # Muscles do not act on each other: each takes the step that makes its own residual smaller.
            error, share = (value**2).sum(axis=0), np.ones(value.shape[1])
            for _ in range(_MOST_CUTS):
                new = np.vstack([x[:1], np.clip(x[1:] + share * move, low, high)])
                new_value, new_speed = residual(new)
                better = (new_value**2).sum(axis=0) <= (1.0 - 1e-4 * share) * error + 1e-14
                if better.all():
                    break
                share = np.where(better, share, _CUT * share)
            moved = float((np.abs(new - x) / optimal).max())
            x, value, speed = new, new_value, new_speed
            if moved < _STAYS:
                break
        return x


@dataclass(frozen=True, eq=False)
class ElasticTerms(TorqueTerms):
    """What torques are made of where tendons are elastic: linear in the activations at the fibers of some of them.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    muscles, coordinates : tuple of str
        The muscles, and the coordinates looked at.
    active, passive : numpy.ndarray, shape (rows, muscles)
        Force per unit of activation and without, at the fibers (N).
    moment_arms, outside : numpy.ndarray
        As in :class:`.torque_model.MuscleTorques`.
    inverse_dynamics : numpy.ndarray, shape (rows, coordinates)
        The torque that the motion needs (Nm).
    elastic : ElasticTendons
        The muscles whose tendons are elastic.
    columns : numpy.ndarray of int, shape (elastic muscles,)
        Their places among ``muscles``; the others' tendons are rigid.
    fibers : numpy.ndarray, shape (grid, elastic muscles), optional
        The fibers' lengths on the finer grid; None: those of rigid tendons.
    """

    elastic: ElasticTendons
    columns: NDArray[np.int64]
    fibers: Array | None = None
    tendons: ClassVar[str] = "elastic"

    def at(self, activations: Any) -> Self:
        """Return the terms at the fibers that activations lead to.

        Parameters
        ----------
        activations : numpy.ndarray, shape (rows, muscles)
            0..1, at :attr:`time`.

        Returns
        -------
        ElasticTerms
            Whose ``active`` and ``passive`` give the tendons' forces at these activations.
        """
        own, along, speed, fibers = self._follow(activations)
        active, passive = np.array(self.active), np.array(self.passive)
        active[:, self.columns], passive[:, self.columns] = self.elastic.hill.fiber_terms(along, speed, own)
        return replace(self, active=active, passive=passive, fibers=fibers)

    def _follow(self, activations: Any) -> tuple[Array, Array, Array, Array]:
        """Return the elastic muscles' activations, and what :meth:`ElasticTendons.fibers` finds for them."""
        own = np.clip(np.asarray(activations)[:, self.columns], 0.0, 1.0)
        return own, *self.elastic.fibers(own, self.fibers)

    def fiber_states(self, activations: Array) -> dict[str, Array]:
        """Return the states of the fibers that activations lead to.

        Parameters
        ----------
        activations : numpy.ndarray, shape (rows, muscles)
            0..1, at :attr:`time`.

        Returns
        -------
        dict of str to numpy.ndarray, each (rows, elastic muscles)
            By OpenSim's names: ``fiber_length`` (m) and ``normalized_tendon_force`` (maximal forces).
        """
        hill = self.elastic.hill
        _, along, _, _ = self._follow(activations)
        force = hill.tendon_force(self.elastic.lengths - along) / hill.max_isometric_force
        return {"fiber_length": np.hypot(along, hill.fiber_width), "normalized_tendon_force": np.asarray(force)}

    def torques(self, activations: Any) -> Any:
        """Return the torques that activations make, each with the fibers that they lead to.

        Parameters
        ----------
        activations : numpy.ndarray, shape (rows, muscles)
            0..1, at :attr:`time`.

        Returns
        -------
        numpy.ndarray, shape (rows, coordinates)
            Nm.
        """
        return super(ElasticTerms, self.at(activations)).torques(activations)


def with_elastic_tendons(
    terms: TorqueTerms, torque_model: TorqueModel, motion: JointMotion, model: OsimModel
) -> TorqueTerms:
    """Give the muscles elastic tendons that have such in their model.

    Parameters
    ----------
    terms : TorqueTerms
        What torques are made of with rigid tendons.
    torque_model : TorqueModel
        What they are from, with the curves of the muscles' own classes.
    motion : JointMotion
        The motion.
    model : OsimModel
        The model.

    Returns
    -------
    TorqueTerms
        ElasticTerms; ``terms`` themselves where the model's tendons are all rigid.
    """
    columns = np.flatnonzero([len(model.muscles[name].states) > 1 for name in terms.muscles])
    if not columns.size:
        return terms
    names: Sequence[str] = [terms.muscles[column] for column in columns]
    lengths, _ = torque_model.paths.evaluate(motion.q[..., motion.columns(torque_model.paths.coordinates)])
    tendons = ElasticTendons(HillMuscles.from_model(model, names, "own"), terms.time, np.asarray(lengths)[:, columns])
    return ElasticTerms(**vars(terms), elastic=tendons, columns=columns)
