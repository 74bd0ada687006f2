"""What the training cycles were like, and whether another is like them: cycle time, speed, input, joint angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: With fewer muscles in common, a cycle's input is not compared with that of the training subjects: one muscle alone
#: may well differ.
FEWEST_MUSCLES = 3

#: What is counted of a subject who is left out.
_COUNTS = ("cycles", "outside", "other_motion_cycles", "other_motion_outside")

#: A curve that varies less than this (standard deviation) is flat: it has no shape.
_FLAT = 1e-6


@dataclass(frozen=True)
class Measure:
    """One thing that was looked at in a cycle.

    Parameters
    ----------
    name : {'cycle_time', 'speed', 'input', 'angles'}
        What.
    value : float
        What was found: s, m/s; the distance of the input's shape (0: the same, 1: unrelated) and of the joint angles
        (degrees) from the nearest training subject.
    low, high : float
        What is within the training subjects' range.
    """

    name: Literal["cycle_time", "speed", "input", "angles"]
    value: float
    low: float
    high: float

    @property
    def outside(self) -> bool:
        """The value is out of range."""
        return not self.low <= self.value <= self.high

    @property
    def reason(self) -> str:
        """The value and its range in words."""
        if self.name == "cycle_time":
            low, high = _rounded(1.0 / self.high, 1.0 / self.low)
            return f"cadence {1.0 / self.value:.2g} strides/s: outside {low} to {high}"
        if self.name == "speed":
            low, high = _rounded(self.low, self.high)
            return f"speed {self.value:.2g} m/s: outside {low} to {high}"
        if self.name == "input":
            return (
                f"shape of the simulated activations {self.value:.2f} from the nearest training subject's "
                f"(0: the same, 1: unrelated): more than {self.high:.2f}"
            )
        return f"joint angles {self.value:.0f} degrees from the nearest training subject's: more than {self.high:.0f}"


def _rounded(low: float, high: float) -> tuple[str, str]:
    return f"{low:.2g}", f"{high:.2g}"


@dataclass(frozen=True)
class Look:
    """What is looked at of one cycle.

    Parameters
    ----------
    cycle_time : float
        Heel strike to heel strike (s).
    speed : float or None
        Speed (m/s), if it is known.
    activations : ndarray, shape (muscles, samples)
        Simulated activations of the cycle's own limb, from heel strike to heel strike; NaN where a muscle is missing.
    angles : ndarray, shape (joints, samples), or None
        Joint angles (degrees), likewise.
    """

    cycle_time: float
    speed: float | None
    activations: Array
    angles: Array | None = None


@dataclass(frozen=True)
class References:
    """Mean cycles of the training subjects, one for every motion of theirs, and how far a cycle may be from them.

    Parameters
    ----------
    names : tuple of str
        Muscles (standard names) or joints.
    curves : ndarray, shape (references, names, samples)
        The mean cycles; NaN where something is missing.
    limit : float
        The largest distance from the nearest that is within range.
    """

    names: tuple[str, ...]
    curves: Array = field(repr=False)
    limit: float


def input_distance(cycles: Array, references: Array) -> Array:
    """Take how far the shape of activations is from that of the nearest reference.

    Scaling a muscle changes nothing: strengths of models and conventions of laboratories are not compared.

    Parameters
    ----------
    cycles : ndarray, shape (cycles, muscles, samples)
        Activations; NaN where a muscle is missing.
    references : ndarray, shape (references, muscles, samples)
        Likewise.

    Returns
    -------
    ndarray, shape (cycles,)
        1 less the mean over muscles of Pearson's r (0 for a muscle that does not vary), for the reference where that is
        least; NaN where fewer than :data:`FEWEST_MUSCLES` muscles (or all, if they are fewer) can be compared.
    """
    one, other = _standardised(cycles), _standardised(references)
    r = np.einsum("cmt,rmt->crm", np.nan_to_num(one), np.nan_to_num(other))
    both = np.isfinite(one[:, None, :, 0]) & np.isfinite(other[None, :, :, 0])
    count = both.sum(axis=2)
    enough = count >= min(FEWEST_MUSCLES, cycles.shape[1])
    distance = np.where(enough, 1.0 - (r * both).sum(axis=2) / np.maximum(count, 1), np.inf)
    nearest = distance.min(axis=1)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _standardised(curves: Array) -> Array:
    """Bring every curve to mean 0 and length 1; a flat one to 0."""
    away = curves - curves.mean(axis=-1, keepdims=True)
    length = np.sqrt((away**2).sum(axis=-1, keepdims=True))
    flat = length < _FLAT * np.sqrt(curves.shape[-1])
    return np.where(flat, 0.0 * curves, away / np.where(flat, 1.0, length))


def angle_distance(cycles: Array, references: Array) -> Array:
    """Take how far joint angles are from those of the nearest reference.

    Parameters
    ----------
    cycles : ndarray, shape (cycles, joints, samples)
        Angles (degrees); NaN where a joint is missing.
    references : ndarray, shape (references, joints, samples)
        Likewise.

    Returns
    -------
    ndarray, shape (cycles,)
        Root mean square (degrees) over samples and joints, for the reference where that is least; NaN where no joint
        can be compared.
    """
    squares = ((cycles[:, None] - references[None]) ** 2).mean(axis=-1)
    known = np.isfinite(squares)
    count = known.sum(axis=2)
    mean = np.where(known, squares, 0.0).sum(axis=2) / np.maximum(count, 1)
    nearest = np.sqrt(np.where(count > 0, mean, np.inf).min(axis=1))
    return np.where(np.isfinite(nearest), nearest, np.nan)


@dataclass(frozen=True)
class TrainingRange:
    """What the cycles of the training subjects were like.

    Parameters
    ----------
    subjects : int
        How many there were.
    cycle_time : tuple of float
        Range of heel strike to heel strike (s).
    speed : tuple of float or None
        Range of speeds (m/s); None where none was known.
    activations : References
        Simulated activations of the cycle's own limb.
    angles : References or None
        Joint angles (degrees); None where no motion was at hand.
    left_out : sequence of mapping
        For every training subject: ``name``, ``cycles``, and how many of them were ``outside`` the range of the others;
        apart from these ``other_motion_cycles`` and ``other_motion_outside``, in a motion that nobody else shows.
    """

    subjects: int
    cycle_time: tuple[float, float]
    speed: tuple[float, float] | None
    activations: References
    angles: References | None = None
    left_out: Sequence[Any] = ()

    def judge(self, look: Look) -> list[Measure]:
        """Compare a cycle with them.

        Parameters
        ----------
        look : Look
            The cycle, with the muscles and joints of :attr:`activations` and :attr:`angles`.

        Returns
        -------
        list of Measure
            What could be compared.
        """
        return self.judge_all([look])[0]

    def judge_all(self, looks: Sequence[Look]) -> list[list[Measure]]:
        """Compare cycles with them.

        Parameters
        ----------
        looks : sequence of Look
            The cycles, with the muscles and joints of :attr:`activations` and :attr:`angles`.

        Returns
        -------
        list of list of Measure
            What could be compared, for each cycle.
        """
        found = [[Measure("cycle_time", look.cycle_time, *self.cycle_time)] for look in looks]
        if self.speed is not None:
            for measures, look in zip(found, looks, strict=True):
                if look.speed is not None:
                    measures.append(Measure("speed", look.speed, *self.speed))
        if looks:
            away = input_distance(np.stack([look.activations for look in looks]), self.activations.curves)
            for measures, distance in zip(found, away.tolist(), strict=True):
                measures.append(Measure("input", distance, 0.0, self.activations.limit))
        known = [(number, look.angles) for number, look in enumerate(looks) if look.angles is not None]
        if self.angles is not None and known:
            away = angle_distance(np.stack([angles for _, angles in known]), self.angles.curves)
            for (number, _), distance in zip(known, away.tolist(), strict=True):
                found[number].append(Measure("angles", distance, 0.0, self.angles.limit))
        return [[measure for measure in measures if np.isfinite(measure.value)] for measures in found]

    def section(self) -> dict[str, Any]:
        """Describe them for a bundle's metadata.

        Returns
        -------
        dict of str to object
            JSON can hold it.
        """
        return {
            "subjects": self.subjects,
            "cycle_time_s": _numbers(np.array(self.cycle_time)),
            "speed_m_s": None if self.speed is None else _numbers(np.array(self.speed)),
            "activations": _references_section(self.activations),
            "angles": None if self.angles is None else _references_section(self.angles),
            "left_out": list(self.left_out),
        }

    @classmethod
    def of_section(cls, section: Any) -> TrainingRange:
        """Read what :meth:`section` gave.

        Parameters
        ----------
        section : object
            As read from JSON: not to be trusted.

        Returns
        -------
        TrainingRange
            The same.

        Raises
        ------
        ValueError
            It is something else; says what.
        """
        try:
            angles, speed = section["angles"], section["speed_m_s"]
            return cls(
                int(section["subjects"]),
                _range_of(section["cycle_time_s"]),
                None if speed is None else _range_of(speed),
                _references_of(section["activations"]),
                None if angles is None else _references_of(angles),
                [
                    {"name": str(row["name"]), **{count: int(row[count]) for count in _COUNTS}}
                    for row in section["left_out"]
                ],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"a number or a list is missing or of another kind ({error!r})") from error


def _numbers(array: Array) -> list[Any]:
    """Turn an array into lists; JSON knows no NaN."""
    rounded = np.round(array, 4).astype(object)
    rounded[~np.isfinite(array)] = None
    found: list[Any] = rounded.tolist()
    return found


def _references_section(references: References) -> dict[str, Any]:
    return {"names": list(references.names), "limit": references.limit, "curves": _numbers(references.curves)}


def _range_of(found: Any) -> tuple[float, float]:
    low, high = (float(value) for value in found)
    if not 0.0 < low <= high < float("inf"):
        raise ValueError(f"a range of positive numbers must not be {low:g} to {high:g}")
    return low, high


def _references_of(section: Any) -> References:
    names = tuple(str(name) for name in section["names"])
    curves = np.array(section["curves"], dtype=np.float64)
    limit = float(section["limit"])
    if curves.ndim != 3 or curves.shape[1] != len(names) or not curves.shape[0] or curves.shape[2] < 2:
        raise ValueError(f"the curves must be of the shape (references, {len(names)}, samples); found {curves.shape}")
    if np.isinf(curves).any() or not 0.0 <= limit < float("inf"):
        raise ValueError("the curves and their limit must be finite")
    return References(names, curves, limit)
