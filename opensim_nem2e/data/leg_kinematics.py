"""How one leg moves and which joint moments that takes, the same for both sides and for models of any origin.

Channels have the names of OpenSim's gait models without the side. Flexion of hip and knee is positive whatever the
model's sign, which is measured; the pelvis's list and rotation are mirrored for the left leg. A height is the sum of
thigh and shank over 0.491 (Drillis and Contini 1966), since no model states it.

Moments of different bodies are compared per body mass and height, that of hip adduction per body mass and distance of
the hips: on one leg the weight hangs beside the hip by half of it, and pelves differ by far more than heights do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, StorageError, TrainingError, did_you_mean
from ..log import counted, logger
from ..musculoskeletal.dynamics import JointMotion, Motion, analyse_motion
from ..musculoskeletal.model_leg import segment_lengths
from ..musculoskeletal.motions import refuse_impossible_moments, warn_of_unlike_moments
from ..musculoskeletal.opensim.processes import run_model_job
from ..musculoskeletal.planar_leg import GRAVITY
from ..musculoskeletal.weight_bearing import foot_body, weight_bearing
from ..signals.resample import interpolate
from ..storage import TimeSeries, read_storage
from ..storage.osim import OsimModel, read_model
from .manifest import CycleRecord, one_of_each_stride
from .samples import Samples
from .sliding_windows import Signal, SlidingWindows, cut_windows, join_samples

Array = NDArray[np.float64]

#: The coordinates of a leg, and those of the pelvis that may be added to the inputs.
LEG = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle", "subtalar_angle")
PELVIS = ("pelvis_tilt", "pelvis_list", "pelvis_rotation")

#: What the leg would bear (:mod:`opensim_nem2e.musculoskeletal.weight_bearing`), which may be added, too: moments of
#: these joints per body mass and length as in :meth:`Body.lengths`, and forces per body weight.
_BORNE_BY = LEG[:5]
_BEARING = ("unloaded", "standing", "heel")
_PUSH = ("push_forward", "push_upward")
BEARING = (*(f"{how}_{joint}" for how in _BEARING for joint in _BORNE_BY), *_PUSH)

#: Other names that models give them.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "hip_flexion": ("hip_flex",),
    "hip_adduction": ("hip_add",),
    "hip_rotation": ("hip_rot",),
    "knee_angle": ("knee_flex", "knee_flexion"),
    "ankle_angle": ("ankle_flex", "ankle_flexion"),
    "subtalar_angle": ("subt_angle",),
}

#: About which axis of the pelvis (forward, up, to the right) a channel turns the right leg or the pelvis, and in which
#: direction. A left leg is the mirror image.
_TURNS: Mapping[str, tuple[int, float]] = {
    "hip_flexion": (2, 1.0),
    "hip_adduction": (0, 1.0),
    "hip_rotation": (1, 1.0),
    "knee_angle": (2, -1.0),
    "ankle_angle": (2, 1.0),
    "subtalar_angle": (0, 1.0),
    "pelvis_tilt": (2, 1.0),
    "pelvis_list": (0, 1.0),
    "pelvis_rotation": (1, 1.0),
}

#: A coordinate turns about one of these axes if its own has at least this share along it.
_ALONG = 0.5

#: No subject weighs more, and no model, not even of a child's legs alone, less (kg).
_LEAST_MASS, _MOST_MASS = 2.0, 400.0

#: What is known of the body: mass (kg), lengths of thigh and shank (m).
BODY = ("mass", "thigh", "shank")

#: Thigh and shank together, as a share of the height.
_LEG_SHARE = 0.491

#: The distance of the hips as a share of the height: what is taken where a model's is not between the last two.
_HIPS_SHARE, _LEAST_HIPS_SHARE, _MOST_HIPS_SHARE = 0.1, 0.05, 0.2

#: Beyond a cycle's ends the motion is analysed for so long (s), for what a method looks back on, and for the filter.
_AROUND = 1.0


@dataclass(frozen=True)
class LegCoordinates:
    """Which coordinates of a model are those of a leg.

    Parameters
    ----------
    names : mapping of str to str
        The model's coordinate by channel; channels that the model lacks are missing.
    signs : mapping of str to float
        1 or -1 by channel: by which the model's coordinate, and its moment, is multiplied.
    """

    names: Mapping[str, str]
    signs: Mapping[str, float]

    @classmethod
    def of(cls, model: OsimModel, side: str) -> LegCoordinates:
        """Find them by their names, with the signs that models with these names usually have.

        Parameters
        ----------
        model : OsimModel
            The model.
        side : str
            ``r`` or ``l``.

        Returns
        -------
        LegCoordinates
            Those that the model has.
        """
        known = {coordinate.name: coordinate.limits for coordinate in model.coordinates}
        names, signs = {}, {}
        for channel in LEG:
            candidates = (f"{name}_{side}" for name in (channel, *_ALIASES[channel]))
            found = next((name for name in candidates if name in known), None)
            if found is None:
                continue
            names[channel], signs[channel] = found, 1.0
            limits = known[found]
            if channel == "knee_angle" and limits is not None and -limits[0] > limits[1]:
                signs[channel] = -1.0
        for channel in PELVIS:
            if channel in known:
                names[channel] = channel
                signs[channel] = -1.0 if side == "l" and channel != "pelvis_tilt" else 1.0
        return cls(names, signs)

    @classmethod
    def measured(cls, model: OsimModel, side: str) -> LegCoordinates:
        """Find them, with signs measured on the model: models share names, not directions.

        Parameters
        ----------
        model : OsimModel
            The model. Its pelvis looks along its first axis, the second points up, the third to the right.
        side : str
            ``r`` or ``l``.

        Returns
        -------
        LegCoordinates
            As :meth:`of`; a coordinate that turns about none of the pelvis's axes has its usual sign, with a warning.

        Raises
        ------
        opensim_nem2e.errors.OpenSimRunError
            OpenSim failed.
        """
        found = cls.of(model, side)
        if "hip_flexion" not in found.names:
            return found
        request = {"coordinates": list(found.names.values()), "hip": found.names["hip_flexion"]}
        axes = run_model_job("measure_axes", model.path, request)["axes"]
        signs, turned, unclear = dict(found.signs), [], []
        for channel, axis in zip(found.names, axes, strict=True):
            place, direction = _TURNS[channel]
            if side == "l" and place != _TURNS["hip_flexion"][0]:
                direction = -direction
            length = float(np.linalg.norm(axis))
            if not length > 0.0 or abs(axis[place]) < _ALONG * length:
                unclear.append(found.names[channel])
                continue
            signs[channel] = direction * float(np.sign(axis[place]))
            if signs[channel] != found.signs[channel]:
                turned.append(found.names[channel])
        if turned:
            logger.info(
                "%s: %s: positive in the opposite direction to the usual one, which is taken into account.",
                model.path,
                ", ".join(turned),
            )
        if unclear:
            logger.warning(
                "%s: %s: does not turn about an axis of the pelvis (forward, up, to the right) while all coordinates "
                "are 0; the usual direction is taken.",
                *(model.path, ", ".join(unclear)),
            )
        return cls(found.names, signs)

    def require(self, channels: Iterable[str], where: str) -> None:
        """See that the model has some channels.

        Parameters
        ----------
        channels : iterable of str
            The channels.
        where : str
            The model, for the message.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            It lacks one.
        """
        missing = [channel for channel in channels if channel not in self.names]
        if missing:
            raise ModelError(
                f"{where}: the model has no coordinate for {', '.join(missing)} of this leg."
                f"{did_you_mean(missing[0], self.names.values())} It was found to have "
                f"{', '.join(self.names.values()) or 'none'}."
            )

    def table(self, channels: Sequence[str], motion: JointMotion) -> tuple[Array, Array]:
        """Take the channels' values and speeds from a motion.

        Parameters
        ----------
        channels : sequence of str
            The channels.
        motion : JointMotion
            A motion of the model.

        Returns
        -------
        q, qdot : numpy.ndarray, shape (rows, channels)
            rad and rad/s.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The motion lacks one.
        """
        columns = motion.columns([self.names[channel] for channel in channels])
        signs = np.array([self.signs[channel] for channel in channels])
        return np.asarray(motion.q)[:, columns] * signs, np.asarray(motion.qdot)[:, columns] * signs

    def inputs(
        self, channels: Sequence[str], motion: JointMotion, body: Body, unloaded: Motion | None = None, foot: str = ""
    ) -> tuple[Array, Array]:
        """Take an estimator's inputs from a motion: how the leg moves, and what it would bear.

        Parameters
        ----------
        channels : sequence of str
            Of :data:`LEG`, :data:`PELVIS` and :data:`BEARING`.
        motion : JointMotion
            A motion of the model.
        body : Body
            Whose leg.
        unloaded : Motion, optional
            The same motion without loads and with the feet's Jacobians: needed for channels of :data:`BEARING`.
        foot : str, optional
            The foot's body, likewise.

        Returns
        -------
        q, qdot : numpy.ndarray, shape (rows, channels)
            rad and rad/s; what the leg would bear has no speed.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The motion lacks a channel, or does not tell where the pelvis is.
        """
        own = [channel for channel in channels if channel not in BEARING]
        found = dict(zip(own, zip(*(table.T for table in self.table(own, motion)), strict=True), strict=True))
        if len(own) < len(channels):
            assert unloaded is not None
            still = np.zeros(len(unloaded.time))
            found |= {name: (values, still) for name, values in self._borne(unloaded, foot, body).items()}
        q, qdot = zip(*(found[channel] for channel in channels), strict=True)
        return np.column_stack(q), np.column_stack(qdot)

    def bearing(self) -> tuple[str, ...]:
        """List the channels of :data:`BEARING` that the leg has.

        Returns
        -------
        tuple of str
            Their names.
        """
        joints = [joint for joint in _BORNE_BY if joint in self.names]
        return (*(f"{how}_{joint}" for how in _BEARING for joint in joints), *_PUSH)

    def _borne(self, motion: Motion, foot: str, body: Body) -> dict[str, Array]:
        """Say what the leg would bear, by channel."""
        joints = [joint for joint in _BORNE_BY if joint in self.names]
        borne = weight_bearing(motion, foot, [self.names[joint] for joint in joints])
        scale = np.array([self.signs[joint] for joint in joints]) / (body.mass * body.lengths(joints))
        weight = body.mass * GRAVITY
        moments = np.hstack([borne.unloaded * scale, borne.standing * scale, borne.heel * scale])
        # Forward was found from the axis that the hip flexes about.
        columns = (*moments.T, self.signs["hip_flexion"] * borne.forward / weight, borne.upward / weight)
        return dict(zip(self.bearing(), columns, strict=True))


def moving(channels: Iterable[str]) -> tuple[str, ...]:
    """Name the coordinates of a leg that channels are found from.

    Parameters
    ----------
    channels : iterable of str
        Of :data:`LEG`, :data:`PELVIS` and :data:`BEARING`.

    Returns
    -------
    tuple of str
        Those of the first two, and the joints of the last.
    """
    found = (name.partition("_")[2] if name in BEARING else name for name in channels if name not in _PUSH)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Body:
    """What is known of a subject's body.

    Parameters
    ----------
    mass : float
        kg.
    thigh, shank : float
        From joint to joint (m).
    hips : float, optional
        From hip to hip (m); a tenth of the height where it is not known or cannot be.
    """

    mass: float
    thigh: float
    shank: float
    hips: float = 0.0

    def __post_init__(self) -> None:
        """Put the usual distance of the hips in place of none."""
        if not _LEAST_HIPS_SHARE <= self.hips / self.height <= _MOST_HIPS_SHARE:
            object.__setattr__(self, "hips", _HIPS_SHARE * self.height)

    @classmethod
    def of(cls, model: OsimModel, side: str, leg: LegCoordinates) -> Body:
        """Measure a model.

        Parameters
        ----------
        model : OsimModel
            The model.
        side : str
            ``r`` or ``l``.
        leg : LegCoordinates
            Its coordinates.

        Returns
        -------
        Body
            Its mass and lengths.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The model has no mass or an impossible one, or OpenSim failed.
        """
        if not model.mass > 0.0:
            raise ModelError(f"{model.path}: the model's bodies must have a mass; found {model.mass:g} kg.")
        if not _LEAST_MASS <= model.mass <= _MOST_MASS:
            raise ModelError(
                f"{model.path}: the model must have the subject's mass, {_LEAST_MASS:g} to {_MOST_MASS:g} kg, by "
                f"which joint moments are scaled; found {model.mass:.4g} kg. Are its masses in kg?"
            )
        leg.require(("hip_flexion", "knee_angle", "ankle_angle"), str(model.path))
        joints = [leg.names[name] for name in ("hip_flexion", "knee_angle", "ankle_angle")]
        return cls(model.mass, *segment_lengths(model.path, joints))

    @property
    def height(self) -> float:
        """Estimated from the leg (m)."""
        return (self.thigh + self.shank) / _LEG_SHARE

    @property
    def values(self) -> Array:
        """The numbers of :data:`BODY`."""
        return np.array([self.mass, self.thigh, self.shank])

    def lengths(self, joints: Sequence[str]) -> Array:
        """Say by which length, beside the mass, joint moments are divided to compare bodies.

        Parameters
        ----------
        joints : sequence of str
            Channels of :data:`LEG`.

        Returns
        -------
        numpy.ndarray, shape (joints,)
            The height, or for hip adduction the distance of the hips (m).
        """
        return np.array([self.hips if joint == "hip_adduction" else self.height for joint in joints])


@dataclass(frozen=True, eq=False)
class LegTrial:
    """How a leg moved, and which moments that took.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    channels : tuple of str
        Those of :data:`LEG` and :data:`PELVIS` that the model has, and of :data:`BEARING` where they were asked for.
    q, qdot : numpy.ndarray, shape (rows, channels)
        rad and rad/s; what the leg would bear, which has no speed.
    moments : numpy.ndarray, shape (rows, joints)
        Joint moments (Nm) of the channels of :data:`LEG` among ``channels``, in that order.
    body : Body
        Whose leg.
    """

    time: Array
    channels: tuple[str, ...]
    q: Array
    qdot: Array
    moments: Array
    body: Body

    @property
    def joints(self) -> tuple[str, ...]:
        """The channels with moments."""
        return tuple(channel for channel in self.channels if channel in LEG)


def measured_leg(model: OsimModel, side: str) -> tuple[LegCoordinates, Body]:
    """Find a leg's coordinates and measure whose it is.

    Parameters
    ----------
    model : OsimModel
        The model.
    side : str
        ``r`` or ``l``.

    Returns
    -------
    tuple of LegCoordinates and Body
        The leg and the body.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The model's leg lacks hip, knee or ankle, the model has no mass, or OpenSim failed.
    """
    leg = LegCoordinates.measured(model, side)
    return leg, Body.of(model, side, leg)


def leg_trial_of(
    motion: Motion,
    model: OsimModel,
    side: str,
    known: tuple[LegCoordinates, Body] | None = None,
    unloaded: Motion | None = None,
) -> LegTrial:
    """Take a leg from an analysed motion.

    Parameters
    ----------
    motion : Motion
        With the torques of inverse dynamics.
    model : OsimModel
        The model.
    side : str
        ``r`` or ``l``.
    known : tuple of LegCoordinates and Body, optional
        The leg and the body, if they were measured before.
    unloaded : Motion, optional
        The motion without loads and with the feet's Jacobians, if the channels of :data:`BEARING` are wanted.

    Returns
    -------
    LegTrial
        At the motion's rows.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The model's leg lacks hip, knee or ankle, or the motion does not tell where the pelvis is.
    """
    leg, body = known or measured_leg(model, side)
    channels, foot = tuple(leg.names), ""
    if unloaded is not None:
        channels, foot = (*channels, *leg.bearing()), foot_body(model, side)
    q, qdot = leg.inputs(channels, motion, body, unloaded, foot)
    joints = [channel for channel in channels if channel in LEG]
    columns = motion.columns([leg.names[joint] for joint in joints])
    signs = np.array([leg.signs[joint] for joint in joints])
    return LegTrial(motion.time, channels, q, qdot, motion.torques[:, columns] * signs, body)


def read_leg_trials(
    records: Sequence[CycleRecord], lowpass: Mapping[str, float] | float = 6.0, *, bearing: bool = False
) -> list[tuple[LegTrial, list[CycleRecord]]]:
    """Read the legs of a manifest: motion and joint moments.

    Parameters
    ----------
    records : sequence of CycleRecord
        With ``model_file``, ``coordinates_file``, and ``inverse_dynamics_file`` or ``external_loads_file``; others are
        left out and counted.
    lowpass : float or mapping of str to float
        Cut-off of the filter of the motion, as InverseDynamicsTool has it (Hz; negative: none); by the manifest's
        ``motion`` if a mapping.
    bearing : bool, optional
        Are the channels of :data:`BEARING` wanted, too?

    Returns
    -------
    list of (LegTrial, list of CycleRecord)
        Each file is read once, for all its cycles.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        No row can be used, or a cycle is not within its motion.
    opensim_nem2e.errors.NEM2EError
        A file cannot be read, or OpenSim failed.
    """
    groups: dict[tuple[Path | str | None, ...], list[CycleRecord]] = {}
    unusable = 0
    records = one_of_each_stride(records)
    for record in records:
        files = (record.model_file, record.coordinates_file, record.inverse_dynamics_file or record.external_loads_file)
        if None in files:
            unusable += 1
        else:
            groups.setdefault((*files, record.inverse_dynamics_file, record.side, record.motion), []).append(record)
    if not groups:
        raise TrainingError(
            "No row of the manifest can be used: each needs model_file, coordinates_file, and inverse_dynamics_file or "
            "external_loads_file."
        )
    if unusable:
        logger.warning(
            "%d of %d rows are left out: without model_file, coordinates_file, and inverse_dynamics_file or "
            "external_loads_file.",
            unusable,
            len(records),
        )
    found, legs = [], {}
    for rows in groups.values():
        first = rows[0]
        assert first.model_file is not None
        assert first.coordinates_file is not None
        logger.info("%s, %s: %s.", first.subject, first.trial, counted(len(rows), "stride"))
        model, place = read_model(first.model_file), (first.model_file, first.side)
        if place not in legs:
            legs[place] = measured_leg(model, first.side)
        cutoff = lowpass if isinstance(lowpass, float) else lowpass.get(first.motion, 6.0)
        analyse = partial(
            analyse_motion,
            first.model_file,
            read_storage(first.coordinates_file),
            lowpass=cutoff,
            start=min(row.start for row in rows) - _AROUND,
            end=max(row.end for row in rows) + _AROUND,
        )
        unloaded = analyse(jacobians=[foot_body(model, side) for side in "rl"]) if bearing else None
        if first.inverse_dynamics_file is not None:
            motion = unloaded or analyse()
            motion = replace(motion, torques=_moments_of(read_storage(first.inverse_dynamics_file), motion))
        else:
            motion = analyse(first.external_loads_file)
        refuse_cycles_beyond(rows, motion.time)
        found.append((leg_trial_of(motion, model, first.side, legs[place], unloaded), rows))
    return found


def refuse_cycles_beyond(records: Iterable[CycleRecord], time: Array) -> None:
    """Refuse cycles that are not within their motion.

    Parameters
    ----------
    records : iterable of CycleRecord
        The cycles of one motion.
    time : numpy.ndarray, shape (rows,)
        The motion's time (s).

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        One begins before the motion or ends after it, by more than from row to row.
    """
    slack = 1.5 * float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    for record in records:
        if record.start < time[0] - slack or record.end > time[-1] + slack:
            raise TrainingError(
                f"{record.name} (line {record.line} of the manifest): t_start and t_end must lie within the motion "
                f"'{record.coordinates_file}', but the cycle is from {record.start:g} to {record.end:g} s and the "
                f"motion from {time[0]:g} to {time[-1]:g} s."
            )


def _moments_of(series: TimeSeries, motion: Motion) -> Array:
    """Take the moments of a motion's coordinates from what InverseDynamicsTool wrote; NaN where there is none."""
    labels = {
        name: next((f"{name}{end}" for end in ("_moment", "_force") if f"{name}{end}" in series.labels), None)
        for name in motion.coordinates
    }
    told = {name: label for name, label in labels.items() if label is not None}
    if not told:
        raise StorageError(
            f"Inverse dynamics must have columns such as '{motion.coordinates[0]}_moment', but has none.",
            series.path,
        )
    refuse_impossible_moments(series, float(motion.time[0]), float(motion.time[-1]))
    moments = np.full((len(motion.time), len(motion.coordinates)), np.nan)
    columns = [motion.coordinates.index(name) for name in told]
    moments[:, columns] = interpolate(series.time, series.select(list(told.values())), motion.time)
    outside = (motion.time < series.time[0] - 1e-6) | (motion.time > series.time[-1] + 1e-6)
    moments[outside] = np.nan
    joints = motion.joints()
    names = [motion.coordinates[k] for k in joints]
    warn_of_unlike_moments(moments[:, joints], motion.torques[:, joints], names, series.path)
    return moments


def even_rows(trial: LegTrial, step: float) -> LegTrial:
    """Bring a trial onto an even grid.

    Parameters
    ----------
    trial : LegTrial
        The trial.
    step : float
        From row to row (s).

    Returns
    -------
    LegTrial
        The same motion (cubic splines; the moments linearly).
    """
    from scipy.interpolate import CubicSpline

    time = trial.time[0] + step * np.arange(int((trial.time[-1] - trial.time[0]) / step + 1e-6) + 1)
    q, qdot = (CubicSpline(trial.time, values)(time) for values in (trial.q, trial.qdot))
    return replace(trial, time=time, q=q, qdot=qdot, moments=interpolate(trial.time, trial.moments, time))


def leg_samples(
    trials: Sequence[tuple[LegTrial, Sequence[CycleRecord]]],
    windows: SlidingWindows,
    before: float,
    after: float = 0.0,
    channels: Sequence[str] = LEG,
    joints: Sequence[str] = LEG,
) -> Samples:
    """Cut windows of motion whose estimated frames lie in the manifest's cycles.

    Parameters
    ----------
    trials : sequence of (LegTrial, sequence of CycleRecord)
        From :func:`read_leg_trials`.
    windows : SlidingWindows
        How windows are cut.
    before, after : float
        How much of a window's start and end may lie outside the cycle (s): no moment is estimated there.
    channels : sequence of str
        The inputs.
    joints : sequence of str
        Whose moments are wanted.

    Returns
    -------
    Samples
        Inputs ``coordinates`` (rad) and ``speeds`` (rad/s), the targets ``moments`` (Nm per kg of body mass and m of
        :meth:`Body.lengths`; NaN where they are not known), and as context ``body``, the numbers of :data:`BODY`.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        No window fits into a cycle.
    """
    step = windows.width / (windows.samples - 1)
    parts = []
    for trial, records in trials:
        even = even_rows(trial, step)
        inputs = {
            "coordinates": _columns(even, even.q, channels),
            "speeds": _columns(even, even.qdot, channels),
        }
        scaled = even.moments / (even.body.mass * even.body.lengths(even.joints))
        places = [even.joints.index(joint) if joint in even.joints else -1 for joint in joints]
        padded = np.column_stack([scaled, np.full(len(scaled), np.nan)])
        targets = {"moments": Signal(even.time, padded[:, places], tuple(joints))}
        body = np.tile(even.body.values, (len(even.time), 1))
        context = {"body": Signal(even.time, body, BODY)}
        for record in records:
            wider = replace(record, start=record.start - before, end=record.end + after)
            cut = cut_windows(wider, windows, inputs, targets, context)
            parts.append(replace(cut, records=(record,) * len(cut)))
    parts = [part for part in parts if len(part)]
    if not parts:
        raise TrainingError(f"No window of {windows.width:g} s fits into a cycle of the manifest.")
    return join_samples(parts)


def _columns(trial: LegTrial, values: Array, channels: Sequence[str]) -> Signal:
    missing = [channel for channel in channels if channel not in trial.channels]
    if missing:
        raise TrainingError(
            f"The inputs need {', '.join(missing)}, which a model of the manifest lacks; it has "
            f"{', '.join(trial.channels)}."
        )
    return Signal(trial.time, values[:, [trial.channels.index(channel) for channel in channels]], tuple(channels))
