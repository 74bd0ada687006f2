"""What cannot be true of ground reactions: offsets, wrong axes and units, gaps, both feet on one plate."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CycleError
from .gaps import gaps, refuse_other_unit

Array = NDArray[np.float64]
OffsetRemoval = Literal["none", "constant", "drift"]

WORDS = {"r": "right", "l": "left"}

#: Every foot is off the ground once in so long (s): two strides of slow walking.
_STRIDES = 2.5

#: A plate is unloaded where it reads its lowest within so much (N, and share of its largest force) for so long (s).
_NOISE, _NOISE_SHARE, _UNLOADED = 4.0, 0.03, 0.05

#: Over so long the force is averaged, lest noise count (s).
_SMOOTH = 0.02

#: What a plate reads below this share of its largest force can be an offset; above, somebody stands on it.
_OFFSET_SHARE = 0.25

#: An offset of a plate that is no noise (N).
OFFSET = 10.0

#: In body weights, nothing is larger than this; and percents of it, in walking, than the force of a child of 13 kg (N).
_BODY_WEIGHTS, _PERCENTS = 6.0, 150.0

#: One foot's force that points down by this share of the largest is no offset.
_DOWN_SHARE = 0.3

#: The mean of another component this many times the vertical one's: the axes are not OpenSim's.
_OTHER_AXIS = 2.0

#: Of forces, rows further apart than this (s), and than so many usual steps, are a gap.
FORCE_GAP = (0.03, 3.0)

#: A contact, of whatever length, that carries this share of the largest force is a step.
_STEP_SHARE = 0.3

#: A loss of contact this long is no noise (s).
_LOSS = 0.05


def unloaded_levels(time: ArrayLike, force: ArrayLike) -> tuple[Array, Array]:
    """Find what a plate reads while nobody is on it.

    Unloaded are stretches of 0.05 s or more within 4 N, or 3 % of the largest force, of the lowest value of the 2.5 s
    around them. Where somebody stands on the plate all the time (a quarter of the largest force or more) there is none.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    force : array_like, shape (rows,)
        Vertical force (N).

    Returns
    -------
    times, levels : numpy.ndarray, shape (stretches,)
        The middle of each stretch (s), and its median (N).
    """
    t, f = np.asarray(time, dtype=float), np.asarray(force, dtype=float)
    largest = float(np.abs(f).max())
    if t.size < 3 or not largest > 0.0:
        return np.array([t.mean()]), np.zeros(1)
    step = float(np.median(np.diff(t)))
    smooth = _windows(f, max(1, round(_SMOOTH / step))).mean(axis=1)
    lowest = _lowest_around(smooth, max(3, round(_STRIDES / step)))
    slack = max(_NOISE, _NOISE_SHARE * largest)
    unloaded = (smooth <= lowest + slack) & (np.abs(lowest) < _OFFSET_SHARE * largest)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], unloaded.astype(int), [0]])))
    times, levels = [], []
    for begin, end in edges.reshape(-1, 2).tolist():
        if t[end - 1] - t[begin] >= _UNLOADED:
            times.append(0.5 * (t[begin] + t[end - 1]))
            levels.append(float(np.median(f[begin:end])))
    return np.array(times), np.array(levels)


def free_level(time: ArrayLike, force: ArrayLike) -> float:
    """Tell what a plate reads while nobody is on it, over a recording.

    Filters swing below zero beside each contact: what the plate reads must be so in most of the time without a contact.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    force : array_like, shape (rows,)
        Vertical force (N).

    Returns
    -------
    float
        The smaller in size of the median of :func:`unloaded_levels` and that of all rows below a quarter of the largest
        force (N); 0 where somebody stands on it all the time.
    """
    f = np.asarray(force, dtype=float)
    levels, low = unloaded_levels(time, f)[1], f[f < _OFFSET_SHARE * f.max(initial=0.0)]
    return min(float(np.median(levels)), float(np.median(low)), key=abs) if levels.size and low.size else 0.0


def _windows(values: Array, size: int) -> Array:
    """Return the values around each row, (rows, size); beyond the ends the first and last value are held."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, (size // 2, size - size // 2 - 1), "edge"), size)


def _lowest_around(values: Array, size: int) -> Array:
    """Return the least of the values around each row.

    The least of a window is that of two pieces: up to a multiple of its size, and from there on (van Herk 1992). The
    same as SciPy's ``minimum_filter1d``, without what its import costs.
    """
    padded = np.pad(values, (size // 2, size - size // 2 - 1), "edge")
    blocks = np.pad(padded, (0, -len(padded) % size), "edge").reshape(-1, size)
    from_start = np.minimum.accumulate(blocks, axis=1).ravel()
    to_end = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.asarray(np.minimum(to_end[: len(values)], from_start[size - 1 : size - 1 + len(values)]))


def without_offset(time: ArrayLike, force: ArrayLike, removal: OffsetRemoval) -> Array:
    """Subtract from a plate's force what it reads while nobody is on it.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    force : array_like, shape (rows,)
        Vertical force of one plate (N).
    removal : {'none', 'constant', 'drift'}
        Nothing; the median of all unloaded stretches; or the line from each to the next.

    Returns
    -------
    numpy.ndarray, shape (rows,)
        The force (N).
    """
    f = np.asarray(force, dtype=float)
    if removal == "none":
        return f
    times, levels = unloaded_levels(time, f)
    if not times.size:
        return f
    level = np.median(levels) if removal == "constant" else np.interp(np.asarray(time, dtype=float), times, levels)
    return np.asarray(f - level)


def refuse_impossible(time: Array, forces: Mapping[str, Array]) -> None:
    """Refuse forces that are not in N on feet with y up, or whose time is not in s.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time, increasing (s).
    forces : mapping of str to numpy.ndarray, each (rows, 3)
        The forces on each foot (N).

    Raises
    ------
    CycleError
        They point down, another component is larger than the vertical one, they are in body weights, or zero; or
        their rows are too far apart.
    """
    refuse_other_unit(time, "the forces")
    total = sum(forces.values(), np.zeros(3))
    mean = np.abs(total).mean(axis=0)
    vertical = total[:, 1]
    largest = float(np.abs(total).max())
    if not largest > 0.0:
        raise CycleError("the forces on the feet are zero throughout")
    other = max((0, 2), key=lambda axis: mean[axis])
    if mean[other] > _OTHER_AXIS * mean[1]:
        raise CycleError(
            f"the component {'xyz'[other]} of the forces is larger than the vertical one, y (means {mean[other]:.4g} "
            f"and {mean[1]:.4g} N): they are in the laboratory's axes. Turn them so that y is up, as in OpenSim"
        )
    for side, force in (("", vertical), *((side, of[:, 1]) for side, of in forces.items())):
        if force.mean() < 0.0 and -force.min() > max(2.0 * force.max(), _DOWN_SHARE * largest):
            foot = f" on the {WORDS[side]} foot" if side else ""
            raise CycleError(
                f"the vertical forces{foot} point down (mean {force.mean():.4g} N, lowest {force.min():.4g} N): "
                "reactions on the feet point up. Change their sign"
            )
    if vertical.max() < _BODY_WEIGHTS:
        raise CycleError(
            f"the largest vertical force is {vertical.max():.3g}: the forces are in body weights, not N. Multiply "
            "them by the subject's weight in N"
        )


def force_notes(
    time: ArrayLike, forces: Mapping[str, Array], release: float, *, threshold: float
) -> tuple[list[str], set[str]]:
    """Say what is doubtful about forces.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, increasing (s).
    forces : mapping of str to numpy.ndarray, each (rows,)
        Vertical force on each foot, ``'r'`` and ``'l'`` (N).
    release, threshold : float
        Forces at which contact ends and begins (N).

    Returns
    -------
    notes : list of str
        Sentences with numbers, without a full stop; empty for sound forces.
    untrue : set of str
        The sides whose contacts do not tell when the foot is on the ground.
    """
    t = np.asarray(time, dtype=float)
    untrue: set[str] = set()
    notes = [
        f"rows are missing between {begin:.3f} and {end:.3f} s ({end - begin:.3f} s): events there are unknown"
        for begin, end in gaps(t, *FORCE_GAP).tolist()
    ]
    largest = max(float(force.max()) for force in forces.values())
    if largest < _PERCENTS:
        notes.append(
            f"the largest vertical force is {largest:.3g} N: is it in percent of body weight? Then multiply it by a "
            "hundredth of the subject's weight in N"
        )
    for side, force in forces.items():
        others = max((float(other.max()) for name, other in forces.items() if name != side), default=0.0)
        lowest, word = float(force.min()), WORDS[side]
        if lowest >= release and others < threshold and lowest >= _OFFSET_SHARE * float(np.ptp(force)):
            notes.append(
                f"the {word} foot's force never falls below {lowest:.4g} N (release: {release:g} N) and the other "
                f"foot's never exceeds {others:.3g} N: both feet stand on the {word} foot's plate, which is never free"
            )
            untrue.add(side)
            continue
        times, levels = unloaded_levels(t, force)
        if not times.size:
            if lowest >= release:
                untrue.add(side)
                notes.append(
                    f"the {word} foot's force never falls below {lowest:.4g} N (release: {release:g} N): its plate is "
                    "never free"
                )
            continue
        high = levels >= release
        if not high.any():
            if (level := free_level(t, force)) <= -release:
                notes.append(
                    f"the {word} foot's plate reads {level:.3g} N while nobody is on it: heel strikes are found late, "
                    "and toe-offs early. Set <force_offset_removal> to constant or drift"
                )
            continue
        untrue.add(side)
        begin = f"from {times[high][0]:.3f} s on, " if not high.all() else ""
        kind = "drift" if np.ptp(levels) > max(_NOISE, 0.5 * release) else "constant"
        span = f"{levels.min():.3g} to {levels.max():.3g}" if kind == "drift" else f"{np.median(levels):.3g}"
        notes.append(
            f"the {word} foot's plate reads {span} N while nobody is on it, {begin}which is not below the release of "
            f"{release:g} N: steps are missed. Set <force_offset_removal> to {kind}, or raise <release_threshold>; "
            "joint torques need it subtracted in the file"
        )
    return notes, untrue


def debounce_notes(
    changes: list[float],
    time: ArrayLike,
    force: ArrayLike,
    side: str,
    *,
    minimum_contact: float,
    minimum_swing: float,
) -> list[str]:
    """Say which steps are too short to count.

    Parameters
    ----------
    changes : list of float
        Begin and end of each contact in turn, before anything was left out (s).
    time, force : array_like, shape (rows,)
        Time (s) and vertical force (N).
    side : {'r', 'l'}
        The foot.
    minimum_contact, minimum_swing : float
        Shortest contact, and shortest loss of contact, that counts (s).

    Returns
    -------
    list of str
        A sentence for contacts as heavy as steps, and one for losses of contact of 0.05 s or more.
    """
    t, f = np.asarray(time, dtype=float), np.asarray(force, dtype=float)
    needed = _STEP_SHARE * float(f.max())
    short = []
    for begin, end in zip(changes[::2], changes[1::2], strict=True):
        if end - begin < minimum_contact:
            rows = (t >= begin) & (t <= end)
            if rows.any() and f[rows].max() >= needed:
                short.append((end - begin, float(f[rows].max())))
    notes = []
    if short:
        durations, peaks = zip(*short, strict=True)
        notes.append(
            f"{len(short)} {WORDS[side]} contacts of {min(durations):.3f} to {max(durations):.3f} s, which carry up to "
            f"{max(peaks):.4g} N, do not count: <minimum_contact_duration> is {minimum_contact:g} s"
        )
    contacts = [(begin, end) for begin, end in zip(changes[::2], changes[1::2], strict=True)]
    steps = [end - begin >= minimum_contact for begin, end in contacts]
    losses = [
        later[0] - earlier[1]
        for (earlier, one), (later, other) in pairwise(zip(contacts, steps, strict=True))
        if one and other and _LOSS <= later[0] - earlier[1] < minimum_swing
    ]
    if losses:
        notes.append(
            f"{len(losses)} losses of contact of the {WORDS[side]} foot of {min(losses):.3f} to {max(losses):.3f} s do "
            f"not count: <minimum_swing_duration> is {minimum_swing:g} s"
        )
    return notes
