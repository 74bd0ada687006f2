"""Joint moments of a motion as a network estimates them from the motion alone, for both legs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data.leg_kinematics import BEARING, Body, LegCoordinates, moving
from ..errors import ModelError
from ..log import logger
from ..musculoskeletal.weight_bearing import foot_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..methods.base import MomentEstimator
    from ..musculoskeletal.dynamics import Motion
    from ..storage.osim import OsimModel

Array = NDArray[np.float64]

_SIDES = {"r": "right", "l": "left"}

#: Frames of a live motion that are remembered before the oldest are forgotten, or more room is taken.
_ROOM = 256


@dataclass(frozen=True, eq=False)
class LearnedMoments:
    """Joint moments that were estimated from a motion.

    Parameters
    ----------
    coordinates : tuple of str
        The model's coordinates.
    moments : numpy.ndarray, shape (rows, coordinates)
        In the model's own signs (Nm).
    outside : numpy.ndarray of bool, shape (rows, coordinates)
        Rows in which the motion of that leg leaves the training range.
    guessed : numpy.ndarray of bool, shape (rows,)
        Rows too close to an end of the motion for the network's window.
    """

    coordinates: tuple[str, ...]
    moments: Array
    outside: NDArray[np.bool_]
    guessed: NDArray[np.bool_]

    def of(self, coordinates: tuple[str, ...]) -> LearnedMoments:
        """Take some of the coordinates.

        Parameters
        ----------
        coordinates : tuple of str
            Which.

        Returns
        -------
        LearnedMoments
            In that order.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The moment of one of them was not estimated.
        """
        unknown = [name for name in coordinates if name not in self.coordinates]
        if unknown:
            raise ModelError(
                f"The network estimates the moments of {', '.join(self.coordinates)}, not of {', '.join(unknown)}."
            )
        columns = [self.coordinates.index(name) for name in coordinates]
        return LearnedMoments(coordinates, self.moments[:, columns], self.outside[:, columns], self.guessed)


def feet_needed(network: MomentEstimator, model: OsimModel) -> tuple[str, ...]:
    """Name the bodies whose Jacobians a motion must come with for :func:`learned_moments`.

    Parameters
    ----------
    network : MomentEstimator
        What a method has learned.
    model : OsimModel
        The subject's model.

    Returns
    -------
    tuple of str
        The feet, if what a leg would bear is among the network's inputs.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The model has no foot on a side.
    """
    bearing = any(channel in BEARING for channel in network.coordinates)
    return tuple(foot_body(model, side) for side in _SIDES) if bearing else ()


def learned_moments(
    network: MomentEstimator, model: OsimModel, motion: Motion, rows: NDArray[np.bool_] | slice = slice(None)
) -> LearnedMoments:
    """Estimate the joint moments of every leg that the motion tells whole.

    Parameters
    ----------
    network : MomentEstimator
        What a method has learned.
    model : OsimModel
        The subject's model, for mass and segment lengths.
    motion : Motion
        Its motion, analysed without loads and with the Jacobians of :func:`feet_needed`.
    rows : numpy.ndarray of bool, shape (rows,), or slice, optional
        The rows whose moments are wanted; the others are only looked at.

    Returns
    -------
    LearnedMoments
        At these rows.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        Neither leg is told whole, or the network needs to know where the pelvis is and the motion does not tell it.
    opensim_nem2e.errors.NEM2EError
        The model cannot be measured.
    """
    told = {name for name, given in zip(motion.coordinates, motion.given, strict=True) if given}
    feet = dict(zip(_SIDES, feet_needed(network, model), strict=False))
    needed = moving(network.coordinates)
    names: list[str] = []
    moments, outside, missing = [], [], []
    guessed = np.zeros(len(motion.time[rows]), dtype=bool)
    for side, word in _SIDES.items():
        leg = LegCoordinates.measured(model, side)
        lacking = [channel for channel in needed if leg.names.get(channel) not in told]
        if lacking:
            missing.append(f"{', '.join(lacking)} of the {word} leg")
            continue
        body = Body.of(model, side, leg)
        q, qdot = leg.inputs(network.coordinates, motion, body, motion, feet.get(side, ""))
        found, early = network.over_motion(motion.time, q, qdot, body.values)
        beyond = network.outside(q, qdot)[rows]
        guessed |= early[rows]
        for place, channel in enumerate(network.moments):
            if channel in leg.names:
                names.append(leg.names[channel])
                unit = leg.signs[channel] * body.mass * body.lengths([channel])
                moments.append(found[rows, place] * unit)
                outside.append(beyond)
    if not names:
        raise ModelError(
            f"The network needs {', '.join(needed)} of a leg. The model and its motion do not tell "
            f"{'; '.join(missing)}. KinematicsTrainTool trains on the coordinates that a model has."
        )
    for text in missing:
        logger.warning("The motion does not tell %s: no moments of that leg are estimated.", text)
    return LearnedMoments(tuple(names), np.column_stack(moments), np.column_stack(outside), guessed)


class LiveMoments:
    """Joint moments of one leg, frame by frame, as a network estimates them from the motion so far.

    Parameters
    ----------
    network : MomentEstimator
        What a method has learned, with a look-ahead of 0.
    model : OsimModel
        The subject's model.
    moments : sequence of str
        The model's coordinates whose moments are wanted, all of one leg.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The network needs later motion or the whole body's, the model lacks a coordinate of the leg, or a moment is not
        estimated.
    opensim_nem2e.errors.NEM2EError
        The model cannot be measured.
    """

    def __init__(self, network: MomentEstimator, model: OsimModel, moments: Sequence[str]):
        if network.lookahead > 0.0:
            raise ModelError(
                f"The network needs the motion of the next {network.lookahead:g} s, so it cannot be used while it goes "
                "on: train one with <architecture> kernel, mlp or kernel_mlp and no negative <lags>, or with <frames> "
                "last."
            )
        if feet_needed(network, model):
            raise ModelError(
                "What the leg would bear is an input of the network, which is found for recorded motion only: train "
                "one with <bearing_inputs> false."
            )
        side = "l" if moments[0].endswith("_l") else "r"
        leg = LegCoordinates.measured(model, side)
        leg.require(network.coordinates, str(model.path))
        body = Body.of(model, side, leg)
        channels = {leg.names[name]: name for name in network.moments if name in leg.names}
        unknown = [name for name in moments if name not in channels]
        if unknown:
            raise ModelError(
                f"The network estimates the moments of {', '.join(channels)}, not of {', '.join(unknown)}."
            )
        #: The model's coordinates that it must be told, in this order.
        self.coordinates = tuple(leg.names[name] for name in network.coordinates)
        #: Whether the last frame left the training range.
        self.outside = False
        self._network = network
        self._signs = np.array([leg.signs[name] for name in network.coordinates])
        self._body = np.broadcast_to(body.values, (1, 1, 3))
        self._columns = [network.moments.index(channels[name]) for name in moments]
        joints = [channels[name] for name in moments]
        self._scale = np.array([leg.signs[joint] for joint in joints]) * body.mass * body.lengths(joints)
        self._ago = network.step * np.arange(1.0 - network.samples, 1.0)
        self._times, self._table = np.zeros(_ROOM), np.zeros((_ROOM, 2 * len(self.coordinates)))
        self.reset()

    def reset(self) -> None:
        """Forget the motion so far."""
        self._filled = 0

    def __call__(self, time: float, q: Array, qdot: Array) -> Array:
        """Estimate the moments of a frame.

        Parameters
        ----------
        time : float
            s.
        q, qdot : numpy.ndarray, shape (coordinates,)
            Of :attr:`coordinates` (rad, rad/s).

        Returns
        -------
        numpy.ndarray, shape (moments,)
            In the model's own signs (Nm). At the start the leg is taken to have moved as in the first frame.
        """
        if self._filled == len(self._times):
            self._make_room(time)
        filled = self._filled = self._filled + 1
        times, table, count = self._times[:filled], self._table[:filled], len(self._signs)
        times[-1] = time
        np.multiply(self._signs, q, out=table[-1, :count])
        np.multiply(self._signs, qdot, out=table[-1, count:])
        when = np.maximum(time + self._ago, times[0])
        upper = times.searchsorted(when)
        lower = np.maximum(upper - 1, 0)
        before = table[lower]
        pause = times[upper] - times[lower]
        # At the first frame there is none before it.
        share = (when - times[lower]) / np.where(pause > 0.0, pause, 1.0)
        rows = before + share[:, np.newaxis] * (table[upper] - before)
        angles, speeds = rows[np.newaxis, :, :count], rows[np.newaxis, :, count:]
        found = self._network.predict({"coordinates": angles, "speeds": speeds, "body": self._body}).values[0, -1]
        self.outside = bool(self._network.outside(rows[-1, :count], rows[-1, count:]))
        moments: Array = found[self._columns] * self._scale
        return moments

    def _make_room(self, time: float) -> None:
        """Forget the frames that no window reaches any more, and take more room where that is not enough."""
        filled = self._filled
        first = max(0, int(self._times[:filled].searchsorted(time + self._ago[0], side="right")) - 1)
        room = len(self._times) * (2 if filled - first > len(self._times) // 2 else 1)
        times, table = np.zeros(room), np.zeros((room, self._table.shape[1]))
        times[: filled - first], table[: filled - first] = self._times[first:filled], self._table[first:filled]
        self._times, self._table, self._filled = times, table, filled - first
