"""Gait events from ground reactions: when each foot strikes the ground and leaves it.

A foot is on the ground while the vertical force exceeds a threshold. 10 to 20 N is usual practice on force plates; any
threshold up to 50 N gives the same heel strike within a few milliseconds, because the force rises fast (Tirosh and
Sparrow 2003). Toe-off is more sensitive; gait cycles do not depend on it.

References
----------
Tirosh, O., Sparrow, W. A. (2003). Identifying heel contact and toe-off using forceplate thresholds with a range of
digital-filter cutoff frequencies. J. Appl. Biomech. 19, 178-184.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CycleError, StorageError
from ..log import logger
from .force_quality import (
    FORCE_GAP,
    OFFSET,
    WORDS,
    OffsetRemoval,
    debounce_notes,
    force_notes,
    refuse_impossible,
    without_offset,
)
from .gaps import gaps

if TYPE_CHECKING:
    from ..storage import ExternalForce
    from ..storage.events_table import GaitEvent

Array = NDArray[np.float64]

#: Vertical force above which a foot is on the ground (N).
THRESHOLD = 20.0

#: Contacts, and losses of contact, shorter than these are noise (s). The shortest stance of a sprint is about 0.1 s,
#: the shortest swing of a walk about 0.3 s.
MINIMUM_CONTACT = 0.1
MINIMUM_SWING = 0.1

#: Two feet whose contacts cover each other by this much (common time over united time) are one foot on two plates.
#: Steps of walking cover each other by 0.1 to 0.2 (double support), of running not at all.
SAME_FOOT_OVERLAP = 0.5

#: A contact that another one covers by so much of its length is held by it. Double support covers 0.2 to 0.3 of a step.
_HELD = 0.8

#: What the bodies of feet are called in OpenSim models (calcn_r, toes_l, talus_r, foot_r, r_foot, ...).
_FOOT_WORDS = ("calc", "toe", "talus", "foot", "heel", "midft", "forefo", "hindfo", "mtp", "phalan")
_SIDE = re.compile(
    r"(?:^|_)(r|l|right|left)(?:_|$)|^(right|left)|(right|left)$|"
    # "Rfoot", "toesL"
    r"^(r|l)(?=(?:calcn?|toes?|talus|foot|heel)$)|(?<=calcn|.toes|talus|.foot|.heel)(r|l)$|^(?:foot|toes|heel)(r|l)$",
    re.IGNORECASE,
)


def _none() -> Array:
    return np.empty(0)


@dataclass(frozen=True)
class GaitEvents:
    """Heel strikes and toe-offs of both feet.

    Parameters
    ----------
    right, left : numpy.ndarray, shape (strikes,)
        Times of heel strikes, increasing (s).
    notes : tuple of str
        What had to be decided on the way, for the log.
    right_toe_offs, left_toe_offs : numpy.ndarray, shape (toe-offs,)
        Times of toe-offs, increasing (s).
    source : str
        Where the events come from.
    """

    right: Array
    left: Array
    notes: tuple[str, ...] = ()
    right_toe_offs: Array = field(default_factory=_none)
    left_toe_offs: Array = field(default_factory=_none)
    source: str = "forces"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> GaitEvents:
        """Read a table of gait events.

        Parameters
        ----------
        path : str or os.PathLike
            The file; see :mod:`opensim_nem2e.storage.events_table`.

        Returns
        -------
        GaitEvents
            Its events.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The file is missing, or everything that is wrong with it.
        """
        from ..storage.events_table import read_gait_events

        rows = read_gait_events(path)

        def times(event: str, side: str) -> Array:
            return np.array([row.time for row in rows if (row.event, row.side) == (event, side)], dtype=float)

        return cls(
            times("heel_strike", "r"),
            times("heel_strike", "l"),
            right_toe_offs=times("toe_off", "r"),
            left_toe_offs=times("toe_off", "l"),
            source=os.fspath(path),
        )

    def table(self) -> list[GaitEvent]:
        """Return the events as the rows of a table.

        Returns
        -------
        list of opensim_nem2e.storage.events_table.GaitEvent
            In order of time.
        """
        from ..storage.events_table import GaitEvent

        rows = [GaitEvent(float(time), "heel_strike", "r", self.source) for time in self.right]
        rows += [GaitEvent(float(time), "heel_strike", "l", self.source) for time in self.left]
        rows += [GaitEvent(float(time), "toe_off", "r", self.source) for time in self.right_toe_offs]
        rows += [GaitEvent(float(time), "toe_off", "l", self.source) for time in self.left_toe_offs]
        return sorted(rows)


def find_contacts(
    time: ArrayLike,
    vertical_force: ArrayLike,
    threshold: float = THRESHOLD,
    *,
    release: float | None = None,
    minimum_contact: float = MINIMUM_CONTACT,
    minimum_swing: float = MINIMUM_SWING,
) -> Array:
    """Find when a foot is on the ground.

    Contact begins where the force reaches ``threshold`` and ends where it falls below ``release`` (hysteresis). Then
    whatever is too short is removed, the shortest (in relation to its minimum) first: a short contact is dropped, a
    short loss of contact is filled. Times are interpolated between rows.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, strictly increasing (s).
    vertical_force : array_like, shape (rows,)
        Vertical ground reaction, positive upwards (N).
    threshold : float
        Force at which contact begins (N).
    release : float, optional
        Force below which contact ends (N). Default: half the threshold.
    minimum_contact, minimum_swing : float
        Shortest contact, and shortest loss of contact, that counts (s).

    Returns
    -------
    numpy.ndarray, shape (contacts, 2)
        Begin and end of each contact (s); ``-inf`` for a foot that is on the ground at the first row, ``inf`` for one
        that still is at the last.

    Raises
    ------
    StorageError
        If time and force do not match, or the force has no number somewhere.
    ValueError
        If the threshold is not positive, or the release is above it or negative.
    """
    changes = _changes(time, vertical_force, threshold, release)
    _debounce(changes, minimum_contact, minimum_swing)
    return np.array(changes, dtype=float).reshape(-1, 2)


def _changes(time: ArrayLike, vertical_force: ArrayLike, threshold: float, release: float | None) -> list[float]:
    """Return begin and end of each contact in turn, however short."""
    t = np.asarray(time, dtype=float)
    force = np.asarray(vertical_force, dtype=float)
    if t.ndim != 1 or force.shape != t.shape or t.size == 0 or not np.all(np.diff(t) > 0.0):
        raise StorageError(
            f"time must increase strictly and have one entry per force, found shapes {t.shape} and {force.shape}"
        )
    if not np.all(np.isfinite(force)):
        raise StorageError(f"the vertical force has no number at {t[np.argmin(np.isfinite(force))]:.4f} s")
    low = 0.5 * threshold if release is None else release
    if not threshold > 0.0 or not 0.0 <= low <= threshold:
        raise ValueError(f"0 <= release <= threshold and threshold > 0 are needed, found {low} N and {threshold} N")

    # +1 surely on, -1 surely off; in between the foot stays what it was (off at first).
    sure = np.where(force >= threshold, 1, np.where(force < low, -1, 0))
    sure[0] = sure[0] or -1
    last_sure = np.maximum.accumulate(np.where(sure != 0, np.arange(t.size), 0))
    on = sure[last_sure] > 0

    rows = np.flatnonzero(on[1:] != on[:-1])
    levels = np.where(on[rows], low, threshold)
    part = (levels - force[rows]) / (force[rows + 1] - force[rows])
    changes: list[float] = (t[rows] + part * (t[rows + 1] - t[rows])).tolist()
    if on[0]:
        changes.insert(0, -np.inf)
    if on[-1]:
        changes.append(np.inf)
    return changes


def heel_strikes(
    time: ArrayLike,
    vertical_force: ArrayLike,
    threshold: float = THRESHOLD,
    *,
    release: float | None = None,
    minimum_contact: float = MINIMUM_CONTACT,
    minimum_swing: float = MINIMUM_SWING,
) -> Array:
    """Find when a foot strikes the ground: the begin of every contact.

    A foot that is on the ground already at the first row does not strike there.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, strictly increasing (s).
    vertical_force : array_like, shape (rows,)
        Vertical ground reaction, positive upwards (N).
    threshold, release : float
        As in :func:`find_contacts`.
    minimum_contact, minimum_swing : float
        As in :func:`find_contacts`.

    Returns
    -------
    numpy.ndarray, shape (strikes,)
        Times, increasing (s).

    Raises
    ------
    StorageError
        If time and force do not match, or the force has no number somewhere.
    """
    begins = find_contacts(
        time,
        vertical_force,
        threshold,
        release=release,
        minimum_contact=minimum_contact,
        minimum_swing=minimum_swing,
    )[:, 0]
    return begins[np.isfinite(begins)]


def gait_events(
    time: ArrayLike,
    right_force: ArrayLike,
    left_force: ArrayLike,
    threshold: float = THRESHOLD,
    *,
    release: float | None = None,
    minimum_contact: float = MINIMUM_CONTACT,
    minimum_swing: float = MINIMUM_SWING,
    same_foot_overlap: float = SAME_FOOT_OVERLAP,
) -> GaitEvents:
    """Find the heel strikes and toe-offs of both feet.

    On a split-belt treadmill a foot can land on both belts at once, and then both feet seem to strike. Feet take turns
    in any gait: where a right and a left contact mostly cover each other, the one that repeats the foot of the contact
    before is dropped (where that is not known, the one with the smaller impulse). Where a contact holds all of a
    shorter one of the other foot, two steps have merged on one belt: the other foot's step is cut out of it, and what
    is left counts as a step, but no heel strike (or toe-off) is taken from the cut.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, strictly increasing (s).
    right_force, left_force : array_like, shape (rows,)
        Vertical ground reactions (N).
    threshold, release : float
        As in :func:`find_contacts`.
    minimum_contact, minimum_swing : float
        As in :func:`find_contacts`.
    same_foot_overlap : float
        Common time over united time of two contacts from which on they are one foot; more than 1 turns this off.

    Returns
    -------
    GaitEvents
        The events, and notes on what was dropped and what is doubtful about the forces
        (:mod:`opensim_nem2e.signals.force_quality`). A strike or toe-off in a gap of the rows is left out.

    Raises
    ------
    StorageError
        If time and forces do not match, or a force has no number somewhere.
    """
    t = np.asarray(time, dtype=float)
    forces = {"r": np.asarray(right_force, dtype=float), "l": np.asarray(left_force, dtype=float)}
    steps: list[_Step] = []
    holes = gaps(t, *FORCE_GAP).tolist()
    short: list[str] = []
    low = 0.5 * threshold if release is None else release
    notes, untrue = force_notes(t, forces, low, threshold=threshold)
    for side, force in forces.items():
        changes = _changes(t, force, threshold, release)
        short += debounce_notes(changes, t, force, side, minimum_contact=minimum_contact, minimum_swing=minimum_swing)
        _debounce(changes, minimum_contact, minimum_swing)
        for begin, end in np.reshape(changes, (-1, 2)).tolist():
            strike = -np.inf if any(last < begin < first for last, first in holes) else begin
            toe_off = np.inf if any(last < end < first for last, first in holes) else end
            steps.append(_Step(max(begin, t[0]), min(end, t[-1]), strike, toe_off, side))
    if untrue:
        # Nothing follows for the other foot from a contact that does not end.
        same_foot_overlap = np.inf
    if same_foot_overlap <= 1.0:
        steps = _part_merged(steps, minimum_contact, same_foot_overlap)
    steps.sort(key=lambda step: (step.begin, step.side))
    dropped = _drop_repeated_feet(steps, t, forces, same_foot_overlap)
    notes += short
    for side, word in WORDS.items():
        times = [step.begin for step in dropped if step.side == side]
        if times:
            notes.append(
                f"{len(times)} {word} contacts between {times[0]:.3f} and {times[-1]:.3f} s were dropped: the other "
                "foot, whose turn it was, was on the ground at the same time (one foot on two plates)"
            )

    def known(what: str, side: str) -> Array:
        found = np.array([getattr(step, what) for step in steps if step.side == side], dtype=float)
        return np.asarray(found[np.isfinite(found)])

    for side, other in (("r", "l"), ("l", "r")):
        if not known("strike", side).size and known("strike", other).size and side not in untrue:
            notes.append(
                f"the {WORDS[side]} foot never strikes the ground: its largest force is {forces[side].max():.4g} N"
            )
    return GaitEvents(
        known("strike", "r"),
        known("strike", "l"),
        tuple(notes),
        right_toe_offs=known("toe_off", "r"),
        left_toe_offs=known("toe_off", "l"),
    )


def events_from_external_loads(
    path: str | os.PathLike[str],
    *,
    data_file: str | os.PathLike[str] | None = None,
    threshold: float = THRESHOLD,
    release: float | None = None,
    minimum_contact: float = MINIMUM_CONTACT,
    minimum_swing: float = MINIMUM_SWING,
    same_foot_overlap: float = SAME_FOOT_OVERLAP,
    force_offset_removal: OffsetRemoval = "none",
    foot_bodies: Mapping[str, str] | None = None,
) -> GaitEvents:
    """Find the heel strikes and toe-offs of both feet in the measured forces of a simulation.

    Which force belongs to which foot follows from the body it is applied to (``calcn_r``, ``toes_l``, ...). Forces on
    the same foot are summed, so a foot may land on any number of plates. The vertical axis is OpenSim's ``y``: the
    column is ``force_identifier`` + ``y``. Forces on other bodies are left alone.

    Parameters
    ----------
    path : str or os.PathLike
        An ExternalLoads file (``.xml``).
    data_file : str or os.PathLike, optional
        A storage file to read instead of the one that the XML names.
    threshold, release : float
        As in :func:`find_contacts`.
    minimum_contact, minimum_swing : float
        As in :func:`find_contacts`.
    same_foot_overlap : float
        As in :func:`gait_events`.
    force_offset_removal : {'none', 'constant', 'drift'}
        What is subtracted from each plate (:func:`opensim_nem2e.signals.force_quality.without_offset`).
    foot_bodies : mapping of str to {'r', 'l'}, optional
        Which foot a body is, where its name does not tell (a prosthesis).

    Returns
    -------
    GaitEvents
        The events; notes are logged as warnings, too.

    Raises
    ------
    CycleError
        If no force acts on a foot, one is not expressed in the ground frame, or the forces cannot be ground reactions
        in N (:func:`opensim_nem2e.signals.force_quality.refuse_impossible`).
    LabelError
        If a force's column is missing.
    StorageError
        If a data file cannot be used.
    """
    from ..storage import read_external_loads, read_storage

    by_foot: dict[str, list[ExternalForce]] = {"r": [], "l": []}
    forces = read_external_loads(path)
    for force in forces:
        side = foot_side(force.applied_to_body, foot_bodies)
        if side is None:
            # A foot whose side its name does not tell is a loss; a hand is none.
            unknown = is_foot(force.applied_to_body)
            logger.log(
                logging.WARNING if unknown else logging.INFO,
                "The external force '%s' acts on '%s', %s: left alone.",
                force.name,
                force.applied_to_body,
                f"whose side is not known (<foot_bodies> can say it: {_last(force.applied_to_body)}=r, or =l)"
                if unknown
                else "no foot",
            )
            continue
        if _last(force.force_expressed_in_body).lower() != "ground":
            raise CycleError(
                f"{os.fspath(path)}: heel strikes need forces expressed in ground, found '{force.name}' expressed in "
                f"'{force.force_expressed_in_body}'; give the heel strikes as times instead"
            )
        by_foot[side].append(force)
    if not any(by_foot.values()):
        bodies = ", ".join(sorted({force.applied_to_body for force in forces})) or "none"
        raise CycleError(
            f"{os.fspath(path)}: heel strikes need forces on feet (bodies such as calcn_r and calcn_l), found forces "
            f"on {bodies}; <foot_bodies> can say which limb a body is"
        )

    files = {force.data_file if data_file is None else Path(data_file) for foot in by_foot.values() for force in foot}
    tables = {file: read_storage(file) for file in sorted(files)}
    times = [table.time for table in tables.values()]
    if any(not np.array_equal(times[0], time) for time in times[1:]):
        raise StorageError("the files of the two feet's forces must have the same rows, found different times", path)

    def of(foot: Sequence[ExternalForce]) -> Array:
        total = np.zeros((times[0].size, 3))
        for force in foot:
            table = tables[force.data_file if data_file is None else Path(data_file)]
            up = table.select([f"{force.force_identifier}y"])[:, 0]
            free = without_offset(times[0], up, force_offset_removal)
            total[:, 1] += free
            if abs(taken := float(np.median(up - free))) >= OFFSET:
                logger.warning(
                    "%s: '%s' reads %.3g N while nobody is on the plate. That is subtracted to find steps, but joint "
                    "torques are computed with the forces as they are: subtract it in %s.",
                    *(os.fspath(path), force.name, taken, table.path),
                )
            for axis, name in ((0, "x"), (2, "z")):
                label = f"{force.force_identifier}{name}"
                if table.has(label):
                    # Only looked at, not needed.
                    total[:, axis] += np.nan_to_num(table.data[:, table.labels.index(label)])
        return total

    on = {side: of(foot) for side, foot in by_foot.items()}
    try:
        refuse_impossible(times[0], on)
    except CycleError as error:
        raise CycleError(f"{os.fspath(path)}: {error}") from None
    events = gait_events(
        times[0],
        on["r"][:, 1],
        on["l"][:, 1],
        threshold,
        release=release,
        minimum_contact=minimum_contact,
        minimum_swing=minimum_swing,
        same_foot_overlap=same_foot_overlap,
    )
    for note in events.notes:
        logger.warning("%s: %s.", os.fspath(path), note)
    return events


def foot_side(body: str, foot_bodies: Mapping[str, str] | None = None) -> str | None:
    """Tell which foot a body belongs to.

    Parameters
    ----------
    body : str
        A body's name or path, for example ``calcn_r`` or ``/bodyset/toes_l``.
    foot_bodies : mapping of str to {'r', 'l'}, optional
        The side of bodies whose name does not tell it.

    Returns
    -------
    str or None
        ``'r'``, ``'l'``, or None if the body is no part of a foot or has no side in its name.
    """
    name = _last(body)
    if foot_bodies is not None and name in foot_bodies:
        return foot_bodies[name]
    if not is_foot(name):
        return None
    match = _SIDE.search(name)
    return None if match is None else next(group for group in match.groups() if group)[0].lower()


def is_foot(body: str) -> bool:
    """Tell whether a body's name is that of a part of a foot.

    Parameters
    ----------
    body : str
        Its name or path.

    Returns
    -------
    bool
        Whether it is.
    """
    return any(word in _last(body).lower() for word in _FOOT_WORDS)


@dataclass(frozen=True)
class _Step:
    """One contact: clipped to the data, and when the foot struck (-inf: before them) and left (inf: after them)."""

    begin: float
    end: float
    strike: float
    toe_off: float
    side: str


def _part_merged(steps: list[_Step], minimum_contact: float, same_foot_overlap: float) -> list[_Step]:
    """Cut a foot's step out of the other foot's contacts that hold all of it and more; return all contacts."""
    parted: list[_Step] = []
    for step in steps:
        pieces = [step]
        for other in steps:
            whole = pieces[-1]
            common = min(whole.end, other.end) - max(whole.begin, other.begin)
            united = max(whole.end, other.end) - min(whole.begin, other.begin)
            held = common >= _HELD * (other.end - other.begin)
            if other.side != step.side and held and common < same_foot_overlap * united:
                before = replace(whole, end=other.begin, toe_off=np.inf)
                after = replace(whole, begin=other.end, strike=-np.inf)
                left = [piece for piece in (before, after) if piece.end - piece.begin >= minimum_contact]
                pieces[-1:] = left or [whole]
        parted += pieces
    return parted


def _drop_repeated_feet(
    steps: list[_Step], time: Array, forces: dict[str, Array], same_foot_overlap: float
) -> list[_Step]:
    """Remove from ``steps`` (in order) the contacts of a foot that stood on the other foot's plate; return them."""
    dropped: list[_Step] = []
    number = 0
    while number + 1 < len(steps):
        first, second = steps[number], steps[number + 1]
        common = min(first.end, second.end) - max(first.begin, second.begin)
        united = max(first.end, second.end) - min(first.begin, second.begin)
        if first.side == second.side or common < same_foot_overlap * united:
            number += 1
            continue
        if number > 0:
            wrong = first if first.side == steps[number - 1].side else second
        else:
            wrong = min(first, second, key=lambda step: _impulse(step, time, forces[step.side]))
        steps.remove(wrong)
        dropped.append(wrong)
        # The one that stays is compared with the next contact, which can cover it, too.
    return dropped


def _impulse(step: _Step, time: Array, force: Array) -> float:
    rows = (time >= step.begin) & (time <= step.end)
    return float(np.trapezoid(force[rows], time[rows]))


def _debounce(changes: list[float], minimum_contact: float, minimum_swing: float) -> None:
    """Remove pairs of changes (on, off, on, off, ...) that are too short, the shortest first, in place."""
    minima = (minimum_contact, minimum_swing)
    while len(changes) > 1:
        durations = np.diff(changes)
        needed = np.array([minima[number % 2] for number in range(durations.size)])
        share = np.where(durations < needed, durations / np.maximum(needed, 1e-12), np.inf)
        shortest = int(np.argmin(share))
        if not np.isfinite(share[shortest]):
            return
        del changes[shortest : shortest + 2]


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
