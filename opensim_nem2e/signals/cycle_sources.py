"""Where the gait cycles of a trial come from: ground reactions, a table of events, listed times, or the whole file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import CycleError, NEM2EError
from ..log import logger, quiet
from .cycles import (
    MAX_DEVIATION,
    MAX_DURATION,
    MIN_DURATION,
    Cycle,
    cycles_from_strikes,
    inside_cycles,
    whole_file_cycles,
)
from .events import GaitEvents, events_from_external_loads

Array = NDArray[np.float64]

#: Heel strikes are written with four decimals, and copied from there, rounded once more (s).
_WRITTEN = 1e-3

#: Strikes that are this near to each other (s) are of one step. So many, that are all off by this much, are on another
#: clock than the forces: in paths of markers they are up to 0.06 s earlier.
_NEAR, _FEWEST, _ANOTHER_CLOCK = 0.3, 2, 0.09

#: So many cycles of a limb are told one by one.
_MOST_TOLD = 8

#: The limbs, as cycles and the log call them.
SIDES = {"r": "right", "l": "left"}


@dataclass(frozen=True)
class CycleLimits:
    """Which cycles of a trial are taken.

    Parameters
    ----------
    initial_time, final_time : float
        No cycle reaches beyond these (s).
    minimum_duration, maximum_duration : float
        Bounds of a cycle's duration (s).
    maximum_deviation : float
        By how much a cycle may differ from the limb's median, as a fraction
        (:func:`opensim_nem2e.signals.cycles.cycles_from_strikes`).
    tolerance : float
        By how much a cycle may begin before the file or end after it (s).
    roll_incomplete : bool
        Whether a limb without a complete cycle takes the other limb's, rolled to its own heel strike.
    """

    initial_time: float = float("-inf")
    final_time: float = float("inf")
    minimum_duration: float = MIN_DURATION
    maximum_duration: float = MAX_DURATION
    maximum_deviation: float = MAX_DEVIATION
    tolerance: float = 0.0
    roll_incomplete: bool = False


class CycleSource(Protocol):
    """Something that gives the gait cycles of a trial."""

    def cycles(self, time: Array, start: float, end: float, limits: CycleLimits) -> dict[str, list[Cycle]]:
        """Return the complete cycles.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            Times of the file's rows (s).
        start, end : float
            The file's range within the limits (s).
        limits : CycleLimits
            Which cycles are taken.

        Returns
        -------
        dict of str to list of Cycle
            By side, ``'r'`` and ``'l'``.
        """


@dataclass(frozen=True)
class WholeFile:
    """The file, or the time range, is one cycle.

    Parameters
    ----------
    leading : {'r', 'l'}
        The limb whose heel strike begins it; the other limb's cycle is the same stretch rolled by half.
    heel_strike : float or None
        When that limb strikes the ground, if not at the beginning (s).
    """

    leading: str = "r"
    heel_strike: float | None = None

    def cycles(self, time: Array, start: float, end: float, limits: CycleLimits) -> dict[str, list[Cycle]]:
        """Take the whole stretch as one cycle of both limbs.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            Times of the file's rows (s).
        start, end : float
            The stretch (s).
        limits : CycleLimits
            Which durations are plausible.

        Returns
        -------
        dict of str to list of Cycle
            By side.
        """
        logger.info(
            "Gait cycles: all of %.4f to %.4f s is taken as one cycle that begins with the %s heel strike%s; the "
            "other limb's cycle is the same stretch rolled by half.",
            round(start, 4) + 0.0,  # no -0
            end,
            SIDES[self.leading],
            "" if self.heel_strike is None else f" at {self.heel_strike:.4f} s (rolled)",
        )
        if not limits.minimum_duration <= end - start <= limits.maximum_duration:
            logger.warning(
                "A gait cycle of %.3f s is not plausible (%g to %g s is): is this really one whole cycle?",
                end - start,
                limits.minimum_duration,
                limits.maximum_duration,
            )
        return {side: [cycle] for side, cycle in whole_file_cycles(start, end, self.leading, self.heel_strike).items()}


class _Strikes:
    """Heel strikes that bound cycles."""

    #: Strikes that the user lists are not second-guessed by the cycles' median.
    trusted = False
    #: Where they are from, in a sentence.
    told = ""
    #: What to do about strikes that are not among them, in a sentence that begins with a space.
    missed = ""

    def heel_strikes(self) -> dict[str, list[float]]:
        """Return the heel strikes (s) by side."""
        raise NotImplementedError

    def cycles(self, time: Array, start: float, end: float, limits: CycleLimits) -> dict[str, list[Cycle]]:
        """Take what lies between neighbouring heel strikes of a limb.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            Times of the file's rows (s).
        start, end : float
            The file's range within the limits (s).
        limits : CycleLimits
            Which cycles are taken.

        Returns
        -------
        dict of str to list of Cycle
            By side.

        Raises
        ------
        opensim_nem2e.errors.CycleError
            There is no complete cycle.
        """
        strikes = self.heel_strikes()
        # A cycle may reach a little beyond the file, but not beyond the times that the user sets.
        low = max(float(time[0]) - limits.tolerance, limits.initial_time - _WRITTEN)
        high = min(float(time[-1]) + limits.tolerance, limits.final_time + _WRITTEN)
        cycles: dict[str, list[Cycle]] = {}
        for side, word in SIDES.items():
            found, rejected = cycles_from_strikes(
                strikes[side],
                side,
                low,
                high,
                min_duration=limits.minimum_duration,
                max_duration=limits.maximum_duration,
                max_deviation=float("inf") if self.trusted else limits.maximum_deviation,
                data_range=(max(float(time[0]), limits.initial_time), min(float(time[-1]), limits.final_time)),
            )
            for pair in rejected:
                # At the ends of every simulation there are cycles that it holds a part of.
                tell = logger.debug if pair.incomplete else logger.warning
                tell("The %s gait cycle %.4f-%.4f s does not count: %s.", word, pair.start, pair.end, pair.reason)
            for cycle in found:
                _log_overhang(cycle, time)
            cycles[side] = found
        told = (f"Complete {word} gait cycles (s): {_spans(cycles[side])}." for side, word in SIDES.items())
        logger.info("%s %s", " ".join(told), self.told)
        if limits.roll_incomplete:
            roll_incomplete(cycles, strikes)
        if not any(cycles.values()):
            near = {side: [t for t in strikes[side] if start - 1.0 < t < end + 1.0] for side in SIDES}
            listed = "; ".join(f"{word}: {_times(near[side])}" for side, word in SIDES.items())
            every = [] if any(near.values()) else [*strikes["r"], *strikes["l"]]
            where = f" All are at {min(every):.6g} to {max(every):.6g} s: of this trial, and in s?" if every else ""
            raise CycleError(
                f"There is no complete gait cycle between {start:.4f} and {end:.4f} s. A cycle lies between two heel "
                f"strikes of one foot; heel strikes around it (s): {listed}.{where} Simulate from before one of "
                "them to beyond the next of the same foot. If this is one whole stride that begins elsewhere, give "
                "<cycle_source> whole_file, with <whole_file_leading_limb> and <whole_file_heel_strike>."
                f"{self.missed}"
            )
        return cycles


@dataclass(frozen=True)
class ListedStrikes(_Strikes):
    """Heel strikes that the user lists.

    Parameters
    ----------
    right, left : sequence of float
        Increasing times (s).
    """

    right: Sequence[float]
    left: Sequence[float]
    trusted = True
    told = "Their heel strikes were listed."

    def heel_strikes(self) -> dict[str, list[float]]:
        """Return the times as they are listed.

        Returns
        -------
        dict of str to list of float
            By side (s).
        """
        return {"r": list(self.right), "l": list(self.left)}


@dataclass(frozen=True)
class EventsTable(_Strikes):
    """A table of gait events (:mod:`opensim_nem2e.storage.events_table`).

    Parameters
    ----------
    path : pathlib.Path
        The file.
    """

    path: Path

    @property
    def told(self) -> str:  # type: ignore[override]
        """Where they are from, in a sentence."""
        return f"Their heel strikes were read from the table '{self.path}'."

    def heel_strikes(self) -> dict[str, list[float]]:
        """Read the table.

        Returns
        -------
        dict of str to list of float
            By side (s).

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The table is missing or wrong.
        """
        events = GaitEvents.read(self.path)
        return {"r": events.right.tolist(), "l": events.left.tolist()}


@dataclass(frozen=True)
class GroundReactions(_Strikes):
    """The ground reactions of a simulation's external loads.

    Parameters
    ----------
    path : pathlib.Path
        ExternalLoads (``.xml``).
    contact : mapping of str to object
        When a foot is on the ground: arguments of :func:`.events.events_from_external_loads`.
    """

    path: Path
    contact: Mapping[str, Any] = field(default_factory=dict)
    missed = (
        " Steps beside the force plates leave no ground reactions: GaitEventsTool finds them in markers or the motion, "
        "for <events_file>, or list them in <right_heel_strikes> and <left_heel_strikes>."
    )

    @property
    def told(self) -> str:  # type: ignore[override]
        """Where they are from, in a sentence."""
        return f"Their heel strikes were found in the ground reactions of '{self.path}'."

    def heel_strikes(self) -> dict[str, list[float]]:
        """Find the heel strikes.

        Returns
        -------
        dict of str to list of float
            By side (s).

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The loads cannot be used.
        """
        events = events_from_external_loads(self.path, **self.contact)
        for note in events.notes:
            logger.debug("%s", note)
        return {"r": events.right.tolist(), "l": events.left.tolist()}


def warn_of_other_strikes(
    listed: Mapping[str, Sequence[float]], loads: Path, contact: Mapping[str, Any], start: float, end: float
) -> None:
    """Compare heel strikes that were given with those in the ground reactions, and warn where the clocks differ.

    Parameters
    ----------
    listed : mapping of str to sequence of float
        Given, by side (s).
    loads : pathlib.Path
        ExternalLoads (``.xml``); where no strikes can be found in them, nothing is said.
    contact : mapping of str to object
        Arguments of :func:`.events.events_from_external_loads`.
    start, end : float
        Strikes beyond are of no interest (s).
    """
    try:
        with quiet():
            found = events_from_external_loads(loads, **contact)
    except NEM2EError:
        return
    late: list[float] = []
    for side, known in (("r", found.right), ("l", found.left)):
        for strike in listed[side]:
            if known.size and start - _NEAR < strike < end + _NEAR:
                nearest = float(known[np.argmin(np.abs(known - strike))])
                late += [strike - nearest] if abs(strike - nearest) < _NEAR else []
    typical = float(np.median(late)) if len(late) >= _FEWEST else 0.0
    if abs(typical) >= _ANOTHER_CLOCK and float(np.ptp(late)) < abs(typical):
        logger.warning(
            "The heel strikes given are %.2f s %s than those in the ground reactions of %s (median of %d): are they "
            "on the clock of the simulation?",
            *(abs(typical), "later" if typical > 0.0 else "earlier", loads, len(late)),
        )


def find_cycles(time: Array, source: CycleSource, limits: CycleLimits) -> dict[str, list[Cycle]]:
    """Find the complete gait cycles of each limb, within the file and the limits.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Times of the file's rows (s); its first and last one are what counts.
    source : CycleSource
        Where the cycles come from.
    limits : CycleLimits
        Which of them are taken.

    Returns
    -------
    dict of str to list of Cycle
        By side, ``'r'`` and ``'l'``.

    Raises
    ------
    opensim_nem2e.errors.CycleError
        There is none.
    opensim_nem2e.errors.NEM2EError
        The source's file cannot be used.
    """
    if len(time) < 2:
        raise CycleError(f"A trial needs at least two rows, but the file has one, at {time[0]:.4f} s.")
    start = max(float(time[0]), limits.initial_time)
    end = min(float(time[-1]), limits.final_time)
    if not start < end:
        raise CycleError(
            f"The file's time range {time[0]:.4f} to {time[-1]:.4f} s has nothing in common with <initial_time> "
            f"{limits.initial_time:g} to <final_time> {limits.final_time:g} s."
        )
    return source.cycles(time, start, end, limits)


def roll_incomplete(cycles: dict[str, list[Cycle]], strikes: Mapping[str, Sequence[float]]) -> None:
    """Give a limb without complete cycles those of the other limb, rolled to its own heel strikes.

    Parameters
    ----------
    cycles : dict of str to list of Cycle
        By side; completed in place.
    strikes : mapping of str to sequence of float
        Heel strikes by side (s).
    """
    for side, other in (("r", "l"), ("l", "r")):
        if cycles[side]:
            continue
        for own in cycles[other]:
            inside = [strike for strike in strikes[side] if own.start < strike < own.end]
            if len(inside) != 1:
                continue
            cycles[side].append(whole_file_cycles(own.start, own.end, side, inside[0])[side])
            logger.info(
                "The %s limb has no complete cycle: %.4f-%.4f s is taken as one, rolled to its heel strike at %.4f s.",
                SIDES[side],
                own.start,
                own.end,
                inside[0],
            )


def log_coverage(time: Array, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    """Say which rows keep OpenSim's values because they lie outside complete cycles.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Times of the file's rows (s).
    cycles : mapping of str to sequence of Cycle
        By side.
    """
    for side, word in SIDES.items():
        own = sorted(cycles.get(side, ()), key=lambda cycle: cycle.start)
        if not own:
            continue
        outside = int((~inside_cycles(time, own)).sum())
        edges = [float(time[0]), *(edge for cycle in own for edge in (cycle.start, cycle.end)), float(time[-1])]
        gaps = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1e-9]
        if outside:
            spans = ", ".join(f"{a:.4f}-{b:.4f}" for a, b in gaps)
            logger.debug(
                "The %s limb keeps OpenSim's values outside its cycles: %d of %d rows (s: %s).",
                word,
                outside,
                len(time),
                spans,
            )


def _log_overhang(cycle: Cycle, time: Array) -> None:
    for what, missing in (("begins", time[0] - cycle.start), ("ends", cycle.end - time[-1])):
        if missing > 0:
            logger.debug(
                "The cycle %.4f-%.4f s %s %.0f ms outside the file: the %s value is held there.",
                cycle.start,
                cycle.end,
                what,
                1e3 * missing,
                "first" if what == "begins" else "last",
            )


def _spans(cycles: Sequence[Cycle]) -> str:
    """Name gait cycles, of many the first ones and the last."""
    told = [f"{cycle.start:.4f}-{cycle.end:.4f}" for cycle in cycles]
    if len(told) > _MOST_TOLD:
        told = [*told[: _MOST_TOLD - 2], "...", f"{told[-1]} ({len(told)} in all)"]
    return ", ".join(told) or "none"


def _times(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values) or "none"
