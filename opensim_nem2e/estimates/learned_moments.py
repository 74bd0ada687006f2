"""Joint moments of a motion as a network estimates them from the motion alone, for both legs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data.leg_kinematics import Body, LegCoordinates
from ..errors import ModelError
from ..log import logger

if TYPE_CHECKING:
    from ..methods.base import MomentEstimator
    from ..musculoskeletal.dynamics import Motion
    from ..storage.osim import OsimModel

Array = NDArray[np.float64]

_SIDES = {"r": "right", "l": "left"}


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
        Rows too near to an end of the motion for all that an estimate looks at.
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


def learned_moments(network: MomentEstimator, model: OsimModel, motion: Motion) -> LearnedMoments:
    """Estimate the joint moments of every leg that the motion tells whole.

    Parameters
    ----------
    network : MomentEstimator
        What a method has learned.
    model : OsimModel
        The subject's model, for mass and segment lengths.
    motion : Motion
        Its motion.

    Returns
    -------
    LearnedMoments
        At the motion's rows.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        Neither leg is told whole.
    opensim_nem2e.errors.NEM2EError
        The model cannot be measured.
    """
    told = {name for name, given in zip(motion.coordinates, motion.given, strict=True) if given}
    names: list[str] = []
    moments, outside, missing = [], [], []
    guessed = np.zeros(len(motion.time), dtype=bool)
    for side, word in _SIDES.items():
        leg = LegCoordinates.of(model, side)
        lacking = [channel for channel in network.coordinates if leg.names.get(channel) not in told]
        if lacking:
            missing.append(f"{', '.join(lacking)} of the {word} leg")
            continue
        q, qdot = leg.table(network.coordinates, motion)
        body = Body.of(model, side, leg)
        found, early = network.over_motion(motion.time, q, qdot, body.values)
        beyond = network.outside(q, qdot)
        guessed |= early
        for place, channel in enumerate(network.moments):
            if channel in leg.names:
                names.append(leg.names[channel])
                moments.append(found[:, place] * leg.signs[channel] * body.mass * body.height)
                outside.append(beyond)
        if beyond.any():
            logger.warning(
                "The motion of the %s leg leaves what the network was trained on in %d of %d rows (flagged).",
                word,
                int(beyond.sum()),
                len(beyond),
            )
    if not names:
        raise ModelError(
            f"The network needs {', '.join(network.coordinates)} of a leg. The model and its motion do not tell "
            f"{'; '.join(missing)}."
        )
    for text in missing:
        logger.warning("No moments are estimated there: the motion does not tell %s.", text)
    return LearnedMoments(tuple(names), np.column_stack(moments), np.column_stack(outside), guessed)
