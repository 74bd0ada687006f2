"""The range of the training subjects: what a bundle keeps to tell whether a cycle is like those it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ..data.cycle_view import CycleView
from ..data.leg_motion import JOINTS, JointAngles
from ..data.manifest import CycleRecord
from ..data.samples import Samples
from ..methods.training_range import Look, References, TrainingRange, angle_distance, input_distance
from ..storage import read_storage

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

#: One of 20 further subjects may be outside a range.
LEVEL = 0.95

#: Ranges, and that of joint angles, reach so many times what was seen, at least: few subjects do not show how far they
#: (and markers, on which angles depend) differ.
_MARGIN, _ANGLE_MARGIN = 1.25, 1.5

#: A cycle whose muscles have exchanged their activations, or of random numbers, is no gait; no more than this share of
#: such may be in range.
_NONSENSE, _DRAWS = 0.01, 20
#: With one muscle, or muscles that are all active together, exchanging them changes little: this near is always alike.
_ALIKE = 0.25


def training_range(samples: Samples, view: CycleView) -> TrainingRange | None:
    """Describe the range of training cycles, with each training subject judged by the range of the others.

    Cycle time and speed: a quarter beyond what was seen, and the interval that holds a further subject in 19 of 20
    cases (Student's t, on the logarithms of the subjects' means). Shape of the input and joint angles: the distance
    from the nearest mean cycle of a training subject and motion. A subject who is left out has one, too, in motions
    that others show; the limit holds the largest distance of a further subject in 19 of 20 cases (likewise), but no
    more than 1 in 100 cycles of random numbers or of muscles that have exchanged their activations, and nobody who
    keeps still.

    Parameters
    ----------
    samples : Samples
        The training cycles, with activations.
    view : CycleView
        How they are shown.

    Returns
    -------
    TrainingRange or None
        None where no cycle has activations.
    """
    found = _Looks.of(samples, view)
    if not found.rows.size:
        return None
    whole = found.range(found.rows)
    if whole.subjects < 2:
        return whole
    left_out = []
    for own in found.by_subject(found.rows):
        others = np.setdiff1d(found.rows, own)
        known = found.range(others)
        judged = known.judge_all([found.look(row) for row in own.tolist()])
        outside = np.array([any(measure.outside for measure in measures) for measures in judged])
        shared = found.shared_motion(own, others)
        left_out.append(
            {
                "name": str(found.subjects[own[0]]),
                "cycles": int(shared.sum()),
                "outside": int(outside[shared].sum()),
                "other_motion_cycles": int((~shared).sum()),
                "other_motion_outside": int(outside[~shared].sum()),
            }
        )
    return replace(whole, left_out=tuple(left_out))


def looks(samples: Samples, view: CycleView) -> list[Look]:
    """Take what is looked at of cycles.

    Parameters
    ----------
    samples : Samples
        Cycles with activations.
    view : CycleView
        How they are shown.

    Returns
    -------
    list of Look
        One per sample.
    """
    found = _Looks.of(samples, view)
    return [found.look(row) for row in range(len(samples))]


class _Looks:
    """What is looked at of training cycles, as arrays with one row per sample."""

    def __init__(self, records: Sequence[CycleRecord], names: tuple[str, ...], activations: Array, angles: Array):
        self.names, self.activations, self.angles = names, activations, angles
        self.subjects = np.array([record.subject for record in records])
        self.motions = np.array([record.motion for record in records])
        self.time = np.array([record.end - record.start for record in records])
        self.speed = np.array([record.speed or np.nan for record in records])
        self.rows = np.flatnonzero(np.any(np.isfinite(activations).all(axis=2), axis=1))

    @classmethod
    def of(cls, samples: Samples, view: CycleView) -> _Looks:
        channels = [name for name in samples.channels.get("activation", ()) if name.startswith("ipsi:")]
        activations = samples.select_channels("activation", channels) if channels else np.zeros((len(samples), 2, 0))
        # 20 samples of the whole cycle tell its shape, in every condition.
        activations = activations[:, :: view.windows].transpose(0, 2, 1)
        motions: dict[Path, JointAngles | None] = {}
        angles = np.full((len(samples), len(JOINTS), activations.shape[2]), np.nan)
        for row, record in enumerate(samples.records):
            path = record.coordinates_file
            if path is None and record.activation_source in ("cmc", "moco"):
                path = record.activation_file
            if path is None:
                continue
            if path not in motions:
                motions[path] = JointAngles.of(read_storage(path))
            motion = motions[path]
            if motion is not None:
                where = (record.side, record.start, record.end, record.heel_strike)
                angles[row] = motion.cycle(*where, activations.shape[2])
        names = tuple(name.removeprefix("ipsi:") for name in channels)
        return cls(samples.records, names, activations, angles)

    def look(self, row: int) -> Look:
        speed = float(self.speed[row])
        return Look(
            float(self.time[row]), speed if np.isfinite(speed) else None, self.activations[row], self.angles[row]
        )

    def range(self, rows: Rows) -> TrainingRange:
        """Describe some of the cycles."""
        cycle_time = self._interval(self.time, rows)
        assert cycle_time is not None
        activations = self.activations[rows]
        # Seeded: the same cycles give the same range.
        random = np.random.default_rng(0)
        mixed = np.repeat(activations[None], _DRAWS, axis=0)
        for draw in mixed:
            order = random.permutation(activations.shape[1])
            draw[:, order] = activations[:, np.roll(order, 1)]
        references = self._references(self.activations, rows)
        nonsense = [
            input_distance(cycles.reshape(-1, *activations.shape[1:]), references)
            for cycles in (mixed, random.random(mixed.shape))
        ]
        ceiling = min(float(np.quantile(np.where(np.isfinite(away), away, 1.0), _NONSENSE)) for away in nonsense)
        limit = self._limit(self.activations, rows, input_distance, max(ceiling, _ALIKE), _MARGIN)
        angles = None
        known = rows[np.isfinite(self.angles[rows]).any(axis=(1, 2))]
        if known.size:
            curves = self._references(self.angles, known)
            keeping_still = float(np.sqrt(np.nanmean(np.var(curves, axis=2), axis=1)).min())
            furthest = self._limit(self.angles, known, angle_distance, keeping_still, _ANGLE_MARGIN)
            angles = References(JOINTS, curves, furthest)
        return TrainingRange(
            len(set(self.subjects[rows].tolist())),
            cycle_time,
            self._interval(self.speed, rows),
            References(self.names, references, limit),
            angles,
        )

    def _references(self, curves: Array, rows: Rows) -> Array:
        """Average the cycles of every subject and motion."""
        groups: dict[tuple[str, str], list[int]] = {}
        for row in rows.tolist():
            groups.setdefault((str(self.subjects[row]), str(self.motions[row])), []).append(row)
        return np.stack([_mean(curves[members]) for members in groups.values()])

    def _interval(self, values: Array, rows: Rows) -> tuple[float, float] | None:
        known = rows[np.isfinite(values[rows])]
        if not known.size:
            return None
        low, high = float(values[known].min()) / _MARGIN, float(values[known].max()) * _MARGIN
        logs = [float(np.log(values[own]).mean()) for own in self.by_subject(known)]
        if len(logs) > 2:
            centre, reach = _prediction(logs, (1.0 + LEVEL) / 2.0)
            low, high = min(low, float(np.exp(centre - reach))), max(high, float(np.exp(centre + reach)))
        return low, high

    def _limit(
        self, curves: Array, rows: Rows, distance: Callable[[Array, Array], Array], ceiling: float, margin: float
    ) -> float:
        """Take the distance that a further subject's cycles stay within."""
        largest = []
        for own in self.by_subject(rows):
            others = np.setdiff1d(rows, own)
            own = own[self.shared_motion(own, others)]
            if own.size:
                away = distance(curves[own], self._references(curves, others))
                if np.isfinite(away).any():
                    largest.append(float(np.nanmax(away)))
        if not largest:
            # Nobody to compare with.
            return ceiling
        limit = margin * max(largest)
        if len(largest) > 2:
            centre, reach = _prediction(np.log(np.maximum(largest, 1e-6)).tolist(), LEVEL)
            limit = max(limit, float(np.exp(centre + reach)))
        return max(min(limit, ceiling), max(largest))

    def by_subject(self, rows: Rows) -> list[Rows]:
        """Split rows by subject."""
        subjects = self.subjects[rows]
        return [rows[subjects == name] for name in dict.fromkeys(subjects.tolist())]

    def shared_motion(self, own: Rows, others: Rows) -> NDArray[np.bool_]:
        """Tell which of a subject's cycles are of a motion that others show, too."""
        return np.isin(self.motions[own], self.motions[others])


def _mean(curves: Array) -> Array:
    """Average over the first axis what is not missing."""
    known = np.isfinite(curves)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, curves, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _prediction(values: Sequence[float], level: float) -> tuple[float, float]:
    """Return centre and half width of what a further value stays within, one-sided at this level."""
    count = len(values)
    reach = float(stdtrit(count - 1, level)) * float(np.std(values, ddof=1)) * np.sqrt(1.0 + 1.0 / count)
    return float(np.mean(values)), float(reach)
