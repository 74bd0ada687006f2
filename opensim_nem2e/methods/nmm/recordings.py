"""One subject's trials as NMM works on them: windows of equal length with EMG, motion, muscle paths and torques."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import LabelError, ModelError, StorageError
from ...log import logger
from ...musculoskeletal.dynamics import Motion
from ...musculoskeletal.hill import HillMuscles
from ...musculoskeletal.motions import refuse_impossible_moments, warn_of_unlike_moments
from ...musculoskeletal.paths import MOMENT_ARM_THRESHOLD, coordinate_ranges, fit_paths
from ...musculoskeletal.row_programs import solve_rows
from ...signals.cycles import Cycle
from ...signals.gaps import gaps, gaps_in_words, overlaps
from ...signals.resample import interpolate
from ...storage import TimeSeries
from ...storage.muscles import MuscleNames
from ...storage.osim import read_model

if TYPE_CHECKING:
    from ...musculoskeletal.paths import MusclePaths

Array = NDArray[np.float64]

#: Rows of a window, and rows ahead of it that fill delay and activation dynamics.
ROWS, LEAD = 50, 25

#: Offsets of EMG that are tried (s): EMG leads the activation by at most a quarter of a second.
OFFSETS = np.arange(-0.25, 0.1501, 0.005)

#: By how much EMG usually leads activations (s), and what a square second beside it costs in correlation: few channels
#: say the offset only roughly. The first is about the mean of ten subjects whom no table reports, and the second was
#: chosen by leaving out their channels.
_USUAL_LEAD, _PRICE = 0.07, 12.5

#: What lies between excitation and activation of a muscle: electromechanical delay and activation dynamics (s). An
#: offset beyond this is the recording's.
PHYSIOLOGICAL = (0.02, 0.16)

#: Windows of a trial without gait cycles last at most so long (s).
LONGEST_WINDOW = 2.0

#: Muscles whose pull on the joints points the same way (cosine) are synergists.
SYNERGY = 0.7

#: Beyond the ends of a recording its last values are held, for this share of the rows at most.
_MOST_HELD = 0.1

#: One spelling for compartments and heads that share an EMG channel.
_CANONICAL = {"semit": "sem", "glmax2": "glmax1", "glmax3": "glmax1", "glmed2": "glmed1", "glmed3": "glmed1"}


def canonical_name(standard_name: str) -> str:
    """Name a muscle as its EMG does: compartments and heads that share a channel have one name.

    Parameters
    ----------
    standard_name : str
        Standard name of a muscle.

    Returns
    -------
    str
        The name in a population.
    """
    return _CANONICAL.get(standard_name, standard_name)


@dataclass(frozen=True)
class EmgChannel:
    """A channel of EMG.

    Parameters
    ----------
    column : str
        Its label in the recording.
    muscles : tuple of str
        The model's muscles that it stands for.
    """

    column: str
    muscles: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RecordedTrial:
    """A trial of the subject.

    Parameters
    ----------
    name : str
        What it is called.
    motion : Motion
        Motion and the torques that it needs (:func:`.dynamics.analyse_motion`, :func:`with_torques`).
    emg : TimeSeries
        Envelopes.
    simulated : TimeSeries or None
        Activations of static optimisation or CMC, one column per muscle under its name; None: they are computed
        by static optimisation.
    cycles : mapping of str to sequence of Cycle
        Gait cycles by side; empty for other movements.
    cyclic : bool
        Whether the trial is exactly one cycle, to be continued by itself.
    offset : float or None
        EMG(t + offset) fits activation(t) (s), one of :data:`OFFSETS`; None: estimated from the channels that are used.
    clock : float
        By how much the clock of the EMG file is ahead of that of ``emg`` (s): :func:`put_on_clock`.
    """

    name: str
    motion: Motion
    emg: TimeSeries
    simulated: TimeSeries | None = None
    cycles: Mapping[str, Sequence[Cycle]] = field(default_factory=dict)
    cyclic: bool = False
    offset: float | None = None
    clock: float = 0.0

    def sample(self, series: TimeSeries, labels: Sequence[str], time: Array) -> Array:
        """Interpolate columns.

        Parameters
        ----------
        series : TimeSeries
            The trial's EMG or simulation.
        labels : sequence of str
            The columns.
        time : numpy.ndarray, shape (rows,)
            Any times (s); a cyclic trial goes on for ever, another is held at its ends.

        Returns
        -------
        numpy.ndarray, shape (rows, labels)
            The values.
        """
        values = series.select(list(labels))
        if not self.cyclic:
            return interpolate(series.time, values, time)
        period = _period(self.motion.time)
        start = float(series.time[0])
        closed = np.concatenate([values, values[:1]])
        own = np.concatenate([series.time, [series.time[0] + period]])
        if not np.all(np.diff(own) > 0.0):
            own, closed = series.time, values
        return interpolate(own, closed, start + (np.asarray(time) - start) % period)

    def phase(self, side: str, time: Array) -> Array:
        """Tell the phase of the gait cycle.

        Parameters
        ----------
        side : {'r', 'l'}
            The limb.
        time : numpy.ndarray
            Times (s).

        Returns
        -------
        numpy.ndarray
            0..1 from heel strike to heel strike; up to half a cycle outside the cycles that are known they are taken
            to go on, beyond that it is NaN.
        """
        result = np.full(np.shape(time), np.nan)
        cycles = self.cycles.get(side, ())
        if not cycles:
            return result
        middles = np.array([0.5 * (cycle.start + cycle.end) for cycle in cycles])
        nearest = np.abs(np.asarray(time)[..., None] - middles).argmin(-1)
        for k, cycle in enumerate(cycles):
            own = nearest == k
            phase = (time - cycle.heel_strike) / cycle.duration
            near = np.abs(time - middles[k]) <= cycle.duration
            result = np.where(own & (near | self.cyclic), phase % 1.0, result)
        return result


def put_on_clock(emg: TimeSeries, offset: float) -> tuple[TimeSeries, float, float]:
    """Put EMG on a clock on which its offset is one of :data:`OFFSETS`, whatever it was.

    Parameters
    ----------
    emg : TimeSeries
        Envelopes.
    offset : float
        EMG(t + offset) fits activation(t) (s).

    Returns
    -------
    emg : TimeSeries
        The same on the new clock.
    offset : float
        The offset on the new clock (s): the nearest of :data:`OFFSETS`, or the usual lead if the old clock cannot have
        been the motion's.
    clock : float
        By how much the old clock is ahead (s).
    """
    likely = offset if OFFSETS[0] <= offset <= OFFSETS[-1] else -_USUAL_LEAD
    near = float(OFFSETS[np.abs(OFFSETS - likely).argmin()])
    return replace(emg, time=emg.time - (offset - near)), near, offset - near


def _period(time: Array) -> float:
    """The last row of a file of one cycle is one step before the next cycle's first."""
    return float(time[-1] - time[0] + np.median(np.diff(time)))


def with_torques(motion: Motion, series: TimeSeries) -> Motion:
    """Take the torques of a motion from a file of InverseDynamicsTool.

    Parameters
    ----------
    motion : Motion
        The motion.
    series : TimeSeries
        Generalised forces: columns ``<coordinate>_moment`` or ``_force``, or the coordinates' names.

    Returns
    -------
    Motion
        With the file's torques, held over one row that is missing at an end; NaN for coordinates that it does not have.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        No column belongs to a coordinate.
    opensim_nem2e.errors.StorageError
        The file does not cover the motion, or cannot be moments (:func:`.motions.refuse_impossible_moments`).
    """
    # A derivative costs some programs the last row: that of the file may be missing.
    step = max(float(np.median(np.diff(time))) for time in (motion.time, series.time))
    if series.time[0] > motion.time[0] + step or series.time[-1] < motion.time[-1] - step:
        raise StorageError(
            f"Inverse dynamics must cover the motion, {motion.time[0]:.4f} to {motion.time[-1]:.4f} s; found "
            f"{series.time[0]:.4f} to {series.time[-1]:.4f} s.",
            series.path,
        )
    refuse_impossible_moments(series, float(motion.time[0]), float(motion.time[-1]))
    torques = np.full(motion.torques.shape, np.nan)
    for k, name in enumerate(motion.coordinates):
        label = next((x for x in (f"{name}_moment", f"{name}_force", name) if x in series.labels), None)
        if label is not None:
            torques[:, k] = interpolate(series.time, series.column(label), motion.time)
    if np.isnan(torques).all():
        raise LabelError(
            "A file of inverse dynamics must have columns such as 'knee_angle_r_moment', but none is a coordinate's.",
            series.path,
        )
    joints = motion.joints()
    names = [motion.coordinates[k] for k in joints]
    warn_of_unlike_moments(torques[:, joints], motion.torques[:, joints], names, series.path)
    return replace(motion, torques=torques)


@dataclass(frozen=True, eq=False)
class Windows:
    """Where the windows lie, and what the mechanics are there; the rows ahead of a window come first in ``time``.

    Parameters
    ----------
    trial : numpy.ndarray of int, shape (windows,)
        Which trial each is of.
    time : numpy.ndarray, shape (windows, LEAD + ROWS)
        s.
    step : numpy.ndarray, shape (windows,)
        Between rows (s).
    lengths, velocities : numpy.ndarray, shape (windows, ROWS, muscles)
        Of the muscle-tendon units (m, m/s).
    moment_arms : numpy.ndarray, shape (windows, ROWS, muscles, coordinates)
        m.
    torques : numpy.ndarray, shape (windows, ROWS, coordinates)
        What the motion needs (Nm).
    features : numpy.ndarray, shape (windows, LEAD + ROWS, features)
        What a network is told of the motion: coordinates, speeds, needed torques, gait phase; mean 0, variance 1.
    """

    trial: NDArray[np.intp]
    time: Array
    step: Array
    lengths: Array
    velocities: Array
    moment_arms: Array
    torques: Array
    features: Array

    def __len__(self) -> int:
        return len(self.trial)


@dataclass(frozen=True, eq=False)
class Recordings:
    """A subject: model, trials, channels, and the windows that they are cut into.

    Parameters
    ----------
    hill : HillMuscles
        The muscles that pull on the joints looked at; generic parameters, smooth curves.
    paths : MusclePaths
        Their paths.
    coordinates : tuple of str
        The joints' coordinates.
    channels : tuple of EmgChannel
        The EMG channels.
    trials : tuple of RecordedTrial
        The trials, each with activations of a simulation.
    windows : Windows
        Their windows.
    similarity : numpy.ndarray, shape (muscles, muscles)
        Cosine between the muscles' pulls on the joints.
    standard : tuple of str
        Standard name of each muscle, empty where there is none.
    sides : tuple of str
        Its side, ``'r'``, ``'l'`` or ``''``.
    """

    hill: HillMuscles
    paths: MusclePaths
    coordinates: tuple[str, ...]
    channels: tuple[EmgChannel, ...]
    trials: tuple[RecordedTrial, ...]
    windows: Windows
    similarity: Array
    standard: tuple[str, ...]
    sides: tuple[str, ...]

    @classmethod
    def build(
        cls,
        model_file: str | Path,
        trials: Sequence[RecordedTrial],
        channels: Sequence[EmgChannel],
        *,
        coordinates: Sequence[str] = (),
        names: MuscleNames | None = None,
        cache_directory: str | Path | None = None,
        spans: Sequence[Sequence[tuple[float, float]]] | None = None,
    ) -> Recordings:
        """Find the joints that the channels' muscles actuate and all muscles that actuate them, and cut windows.

        Parameters
        ----------
        model_file : str or pathlib.Path
            The model.
        trials : sequence of RecordedTrial
            The trials.
        channels : sequence of EmgChannel
            The channels; what has no muscle in the model is left out.
        coordinates : sequence of str, optional
            The coordinates, where they are not to be found.
        names : MuscleNames, optional
            Standard names; those of the package by default.
        cache_directory : str or pathlib.Path, optional
            Where fitted paths are kept.
        spans : sequence of sequence of (float, float), optional
            By trial, the start and end of each window (s); by default gait cycles of the side of most channels, or
            pieces of equal length.

        Returns
        -------
        Recordings
            The subject.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            A channel's muscle is not the model's, no joint is actuated, or OpenSim failed.
        """
        model = read_model(model_file)
        hill = HillMuscles.from_model(model)
        names = names or MuscleNames.load()
        for channel in channels:
            for muscle in channel.muscles:
                if muscle not in hill.names:
                    raise ModelError(
                        f"The EMG channel '{channel.column}' must stand for muscles of the model '{model.name}', but "
                        f"it has none that is called '{muscle}' and acts."
                    )
        # In the model's order, as first weights go by it, and in what order a file has its columns means nothing.
        channels = sorted(channels, key=lambda channel: min(map(hill.names.index, channel.muscles)))
        main = main_side(channels, names)
        columns = [channel.column for channel in channels]
        cut = spans or [_spans(trial, main) for trial in trials]
        # What EMG lacks is said before the paths are fitted, which takes seconds.
        spans = [_recorded(trial, own, columns) for trial, own in zip(trials, cut, strict=True)]
        motions = [trial.motion for trial in trials]
        joined = replace(
            motions[0],
            q=np.concatenate([motion.q for motion in motions]),
            qdot=np.concatenate([motion.qdot for motion in motions]),
        )
        ranges = coordinate_ranges(joined.coordinates, joined.q, joined.rotational, joined.limits)
        about = (joined.coordinates, joined.q)
        paths = fit_paths(model_file, ranges, motion=about, cache_directory=cache_directory).of(hill.names)
        chosen, muscles = _chosen(joined, hill, paths, channels, coordinates)
        hill = HillMuscles.from_model(model, muscles)
        paths = paths.of(muscles)
        translated = names.of_model(muscles)
        standard = tuple("" if (s := translated[m]) is None else canonical_name(s.name) for m in muscles)
        sides = tuple("" if (s := translated[m]) is None else (s.side or "") for m in muscles)
        windows = _cut(trials, spans, paths, chosen, main)
        pull = (windows.moment_arms * np.asarray(hill.max_isometric_force)[:, None]).reshape(
            -1, len(muscles), len(chosen)
        )
        flat = pull.transpose(1, 0, 2).reshape(len(muscles), -1)
        flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        complete = tuple(
            trial if trial.simulated is not None else replace(trial, simulated=_optimised(trial, hill, paths, chosen))
            for trial in trials
        )
        return cls(hill, paths, chosen, tuple(channels), complete, windows, flat @ flat.T, standard, sides)

    @property
    def muscles(self) -> tuple[str, ...]:
        """The muscles."""
        return self.hill.names

    @cached_property
    def channel_muscles(self) -> list[list[int]]:
        """The places of each channel's muscles."""
        return [[self.muscles.index(m) for m in channel.muscles] for channel in self.channels]

    @cached_property
    def channel_similarity(self) -> Array:
        """Cosine between channels' and muscles' pulls, the mean over a channel's muscles; (channels, muscles)."""
        return np.stack([self.similarity[own].mean(0) for own in self.channel_muscles])

    def synergists(self, muscle: int, channels: Sequence[int]) -> list[int]:
        """Find the channels whose muscles pull as a muscle does.

        Parameters
        ----------
        muscle : int
            Its place.
        channels : sequence of int
            The channels that count as measured.

        Returns
        -------
        list of int
            Nearest first; empty: the muscle has no measured synergist.
        """
        near = [c for c in channels if self.channel_similarity[c, muscle] >= SYNERGY]
        return sorted(near, key=lambda c: -self.channel_similarity[c, muscle])

    def groups(self) -> list[list[int]]:
        """Put channels of synergists together.

        Returns
        -------
        list of list of int
            Every channel once.
        """
        left, found = list(range(len(self.channels))), []
        alike = [
            [float(np.mean(self.channel_similarity[a][self.channel_muscles[b]])) for b in left]
            for a in range(len(left))
        ]
        while left:
            group = [left.pop(0)]
            for c in list(left):
                if np.mean([alike[c][g] for g in group]) >= SYNERGY:
                    group.append(c)
                    left.remove(c)
            found.append(group)
        return found

    @cached_property
    def lagged(self) -> NDArray[np.float32]:
        """EMG at every offset of :data:`OFFSETS`, over a channel's maximum: (offsets, windows, rows, channels)."""
        columns = [channel.column for channel in self.channels]
        w = self.windows
        table = np.empty((OFFSETS.size, *w.time.shape, len(columns)), dtype=np.float32)
        for k, trial in enumerate(self.trials):
            own = np.flatnonzero(w.trial == k)
            for lag, offset in enumerate(OFFSETS):
                values = trial.sample(trial.emg, columns, (w.time[own] + offset).ravel())
                table[lag, own] = np.maximum(values, 0.0).reshape(own.size, -1, len(columns))
        highest = table[OFFSETS.size // 2, :, LEAD:].max(axis=(0, 1))
        scaled: NDArray[np.float32] = table / np.maximum(highest, np.finfo(np.float32).tiny)
        return scaled

    def simulated(self, ahead: Array) -> Array:
        """Sample the simulation.

        Parameters
        ----------
        ahead : numpy.ndarray, shape (trials,)
            How much later than the windows' rows (s).

        Returns
        -------
        numpy.ndarray, shape (windows, LEAD + ROWS, muscles)
            Activations.
        """
        w = self.windows
        table = np.empty((*w.time.shape, len(self.muscles)))
        for k, trial in enumerate(self.trials):
            own = np.flatnonzero(w.trial == k)
            assert trial.simulated is not None
            values = trial.sample(trial.simulated, self.muscles, (w.time[own] + ahead[k]).ravel())
            table[own] = values.reshape(own.size, -1, len(self.muscles))
        return table

    def phases(self, ahead: Array) -> dict[str, Array]:
        """Tell the gait phase of each limb.

        Parameters
        ----------
        ahead : numpy.ndarray, shape (trials,)
            How much later than the windows' rows (s).

        Returns
        -------
        dict of str to numpy.ndarray, shape (windows, LEAD + ROWS)
            0..1 by side; NaN where it is not known.
        """
        w = self.windows
        found = {side: np.full(w.time.shape, np.nan) for side in ("r", "l")}
        for k, trial in enumerate(self.trials):
            own = w.trial == k
            for side, table in found.items():
                table[own] = trial.phase(side, w.time[own] + ahead[k])
        return found

    @cached_property
    def _like_simulation(self) -> Array:
        simulated = self.simulated(np.zeros(len(self.trials)))[:, LEAD:]
        return self.correlations(np.stack([simulated[..., m].mean(-1) for m in self.channel_muscles], -1))

    def correlations(self, curves: Array) -> Array:
        """Correlate the channels at every offset with what they may look like.

        Parameters
        ----------
        curves : numpy.ndarray, shape (windows, ROWS, channels)
            At the windows' rows; NaN where not known.

        Returns
        -------
        numpy.ndarray, shape (trials, offsets, channels)
            Over all known rows; NaN where a trial has none.
        """
        w = self.windows
        found = np.full((len(self.trials), OFFSETS.size, len(self.channels)), np.nan)
        for k in range(len(self.trials)):
            rows = w.trial == k
            for c, x in enumerate(np.moveaxis(curves[rows], -1, 0)):
                known = np.isfinite(x)
                if known.any():
                    x = x[known] - x[known].mean()
                    y = self.lagged[..., c][:, rows, LEAD:][:, known]
                    y = y - y.mean(1, keepdims=True)
                    size = np.linalg.norm(x) * np.linalg.norm(y, axis=1)
                    found[k, :, c] = (y @ x) / np.maximum(size, 1e-12)
        return found

    def offsets(self, channels: Sequence[int], like_profiles: Array | None = None) -> NDArray[np.intp]:
        """Find the time offset of each trial's EMG from some channels.

        Parameters
        ----------
        channels : sequence of int
            The channels that count as measured.
        like_profiles : numpy.ndarray, shape (trials, offsets, channels), optional
            Their :meth:`correlations` with other subjects' mean profiles; NaN where there is none.

        Returns
        -------
        numpy.ndarray of int, shape (trials,)
            Places in :data:`OFFSETS`: EMG(t + offset) fits activation(t) best, by the mean correlation with simulation
            and profiles, held towards what is usual.
        """
        scores = self._like_simulation
        if like_profiles is not None:
            scores = 0.5 * (scores + np.where(np.isnan(like_profiles), scores, like_profiles))
        scores = scores[:, :, list(channels)].mean(-1) - _PRICE * (OFFSETS + _USUAL_LEAD) ** 2
        return np.array(
            [
                int(np.abs(OFFSETS - trial.offset).argmin()) if trial.offset is not None else int(score.argmax())
                for trial, score in zip(self.trials, scores, strict=True)
            ],
            dtype=np.intp,
        )


def _optimised(trial: RecordedTrial, hill: HillMuscles, paths: MusclePaths, coordinates: tuple[str, ...]) -> TimeSeries:
    """Find the least sum of squared activations that makes a trial's torques, where no simulation was given."""
    motion = trial.motion
    used, columns = motion.columns(paths.coordinates), motion.columns(coordinates)
    lengths, arms = paths.evaluate(motion.q[:, used])
    active, passive = hill.rigid_terms(lengths, paths.velocities(arms, motion.qdot[:, used]))
    # A fiber that passively pulls more than the muscle can has no place in this motion: others could not balance it.
    overstretched = (passive > hill.max_isometric_force).any(0)
    if overstretched.any():
        logger.warning(
            "%s: static optimisation leaves out the passive force of %s, which is above the muscle's strength.",
            trial.name,
            ", ".join(name for name, out in zip(hill.names, overstretched, strict=True) if out),
        )
    passive = np.where(overstretched, 0.0, passive)
    arms = arms[..., [paths.coordinates.index(name) for name in coordinates]]
    needed = motion.torques[:, columns] - np.einsum("nmc,nm->nc", arms, passive)
    gain = np.einsum("nmc,nm->ncm", arms, active)
    found = solve_rows(gain, needed, low=0.01, high=1.0, reserve=np.ones(len(coordinates)))
    logger.info("%s: no simulation was given; static optimisation of %d rows.", trial.name, len(needed))
    return TimeSeries(motion.time, hill.names, found.activations, name="static_optimisation")


def _chosen(
    motion: Motion,
    hill: HillMuscles,
    paths: MusclePaths,
    channels: Sequence[EmgChannel],
    coordinates: Sequence[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the joints that the channels' muscles actuate, and all muscles that actuate one of them."""
    _, arms = paths.evaluate(motion.q[:, motion.columns(paths.coordinates)])
    turns = (np.abs(arms) > MOMENT_ARM_THRESHOLD).any(0)
    free = {
        name
        for k, name in enumerate(motion.coordinates)
        if motion.rotational[k] and motion.movable[k] and motion.given[k] and np.isfinite(motion.torques[:, k]).all()
    }
    measured = [hill.names.index(m) for channel in channels for m in channel.muscles]
    if coordinates:
        for name in coordinates:
            if name not in paths.coordinates or name not in free:
                raise ModelError(
                    f"The coordinate '{name}' must be a rotation that muscles actuate and the motion tells."
                )
        chosen = tuple(coordinates)
    else:
        chosen = tuple(name for k, name in enumerate(paths.coordinates) if name in free and turns[measured, k].any())
    if not chosen:
        raise ModelError("No joint of the motion is actuated by a muscle with EMG.")
    columns = [paths.coordinates.index(name) for name in chosen]
    muscles = tuple(m for k, m in enumerate(hill.names) if turns[k, columns].any())
    return chosen, muscles


def main_side(channels: Sequence[EmgChannel], names: MuscleNames) -> Literal["r", "l"]:
    """Find the side of most channels.

    Parameters
    ----------
    channels : sequence of EmgChannel
        The channels.
    names : MuscleNames
        Standard names, which tell the muscles' sides.

    Returns
    -------
    {'r', 'l'}
        The right one if there are as many of both.
    """
    known = [names.standard(muscle) for channel in channels for muscle in channel.muscles]
    sides = [muscle.side for muscle in known if muscle is not None]
    return "l" if sides.count("l") > sides.count("r") else "r"


def _spans(trial: RecordedTrial, side: str) -> list[tuple[float, float]]:
    """Cut a trial into gait cycles of the side of most channels, or into pieces of equal length."""
    start, end = float(trial.motion.time[0]), float(trial.motion.time[-1])
    cycles = [cycle for cycle in trial.cycles.get(side, ()) if not cycle.roll or trial.cyclic]
    if cycles:
        return [(cycle.start, cycle.end) for cycle in cycles]
    count = int(np.ceil((end - start) / LONGEST_WINDOW))
    edges = np.linspace(start, end, count + 1)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _recorded(
    trial: RecordedTrial, spans: Sequence[tuple[float, float]], columns: Sequence[str]
) -> list[tuple[float, float]]:
    """Leave out windows in which EMG has gaps; refuse EMG that is flat or does not reach the others."""
    emg = trial.emg
    holes = gaps(emg.time)
    ahead = LEAD / ROWS
    kept = [
        (start, end)
        for start, end in spans
        if not overlaps(holes, start - ahead * (end - start) + OFFSETS[0], end + OFFSETS[-1])
    ]
    if not kept:
        raise StorageError(
            f"EMG must have a stretch without gaps that a window of the motion fits in, with {-OFFSETS[0]:g} s to "
            f"spare; rows are missing from {gaps_in_words(holes)}.",
            emg.path,
        )
    if len(kept) < len(spans):
        logger.warning(
            "%s: EMG has gaps from %s; %d of %d windows are left out, and keep the simulation.",
            *(trial.name, gaps_in_words(holes), len(spans) - len(kept), len(spans)),
        )
    first, last = float(emg.time[0]), float(emg.time[-1])
    beyond = sum(max(0.0, min(first, end) - start) + max(0.0, end - max(last, start)) for start, end in kept)
    wanted = sum(end - start for start, end in kept)
    if trial.cyclic and trial.clock:
        # It goes on for ever, so that only its length matters.
        beyond = wanted - (last - first)
    if beyond > _MOST_HELD * wanted:
        where = f" (by its own clock {first + trial.clock:.3f} to {last + trial.clock:.3f} s)" if trial.clock else ""
        raise StorageError(
            f"EMG must cover the motion, {kept[0][0]:.3f} to {kept[-1][1]:.3f} s, but for a tenth of it; found "
            f"{first:.3f} to {last:.3f} s{where}. emg_time_offset says by how much its clock is ahead.",
            emg.path,
        )
    flat = [column for column in columns if not emg.column(column).max() > max(0.0, emg.column(column).min())]
    if flat:
        raise LabelError(
            f"An EMG channel must not be silent or constant, but {', '.join(flat)} is. Name the others in <channels>.",
            emg.path,
        )
    return kept


def _cut(
    trials: Sequence[RecordedTrial],
    spans: Sequence[Sequence[tuple[float, float]]],
    paths: MusclePaths,
    coordinates: tuple[str, ...],
    side: str,
) -> Windows:
    """Sample the motions over the windows."""
    places: list[int] = []
    times, steps, lengths, velocities, arms, torques, features = [], [], [], [], [], [], []
    for number, (trial, own) in enumerate(zip(trials, spans, strict=True)):
        motion = trial.motion
        columns = motion.columns(coordinates)
        torque = motion.torques[:, columns]
        used = motion.columns(paths.coordinates)
        told = [k for k in range(len(motion.coordinates)) if motion.given[k] and motion.rotational[k]]
        for start, end in own:
            step = (end - start) / ROWS
            time: Array = start + step * np.arange(-LEAD, ROWS, dtype=float)
            at: Array = time
            if trial.cyclic:
                at = motion.time[0] + (time - motion.time[0]) % _period(motion.time)

            def rows(values: Array, at: Array = at, motion: Motion = motion) -> Array:
                return interpolate(motion.time, values, at)

            length, arm = paths.evaluate(rows(motion.q[:, used])[LEAD:])
            speed = rows(motion.qdot)
            lengths.append(length)
            velocities.append(paths.velocities(arm, speed[LEAD:, used]))
            arms.append(arm[..., [paths.coordinates.index(name) for name in coordinates]])
            needed = rows(torque)
            torques.append(needed[LEAD:])
            phase = 2.0 * np.pi * trial.phase(side, time)
            turns = [np.sin(phase), np.cos(phase), np.sin(2.0 * phase), np.cos(2.0 * phase)]
            circle = np.nan_to_num(np.stack(turns, -1))
            features.append(np.concatenate([rows(motion.q)[:, told], speed[:, told], needed, circle], axis=-1))
            times.append(time)
            steps.append(step)
            places.append(number)
    table = np.stack(features)
    spread = table.std((0, 1))
    table = (table - table.mean((0, 1))) / np.where(spread > 1e-9, spread, 1.0)
    return Windows(
        np.array(places),
        np.stack(times),
        np.array(steps),
        np.stack(lengths),
        np.stack(velocities),
        np.stack(arms),
        np.stack(torques),
        table,
    )
