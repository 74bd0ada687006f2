"""Motions, and which joint torques they need: by OpenSim's inverse dynamics, or by those of a planar leg."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, StorageError, did_you_mean
from ..log import logger
from ..signals.resample import interpolate, spline
from ..storage.atomic import no_results
from ..storage.labels import find_state_label
from ..storage.osim import OsimModel, read_model
from ..storage.sto import TimeSeries, write_storage
from .arrays import AnyArray, alike
from .loads import Loads, read_loads
from .motions import checked_motion
from .opensim.processes import run_model_job
from .planar_leg import GRAVITY, PlanarLeg

Array = NDArray[np.float64]

#: Rows are taken as evenly spaced if no step differs from the median by more than this fraction of it.
_EVEN = 0.05

#: Uneven rows (CMC's states) are thinned to steps of at least the first and interpolated to steps of the second (s).
_THINNED, _EVEN_STEP = 1e-3, 5e-3

#: OpenSim filters all of the motion that it is given. What is further than this from the time wanted (s) changes the
#: filter's output there by less than rounding does.
_AROUND = 2.0

#: Quintic smoothing splines, and OpenSim's filter, need so many rows.
_LEAST_ROWS = 10

#: Gravity is between these everywhere on earth (m/s^2).
_LEAST_GRAVITY, _MOST_GRAVITY = 9.7, 9.9

#: Decimals of the coordinates that OpenSim is given.
_PRECISION = 12

_INVERSE_DYNAMICS = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
	<InverseDynamicsTool name="inverse_dynamics">
		<results_directory>{folder}</results_directory>
		<model_file>{model}</model_file>
		<time_range>{start:.17g} {end:.17g}</time_range>
		<forces_to_exclude>Muscles</forces_to_exclude>
		<external_loads_file>{loads}</external_loads_file>
		<coordinates_file>{coordinates}</coordinates_file>
		<lowpass_cutoff_frequency_for_coordinates>{lowpass:.17g}</lowpass_cutoff_frequency_for_coordinates>
		<output_gen_force_file>inverse_dynamics.sto</output_gen_force_file>
	</InverseDynamicsTool>
</OpenSimDocument>
"""


@dataclass(frozen=True, eq=False)
class JointMotion:
    """How coordinates move.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    coordinates : tuple of str
        The coordinates.
    q, qdot : numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
        Values and speeds (rad, rad/s; m, m/s).
    qddot : numpy.ndarray or torch.Tensor, shape (..., rows, coordinates), optional
        Accelerations (rad/s^2; m/s^2), for a planar leg's inverse dynamics.
    """

    time: Array
    coordinates: tuple[str, ...]
    q: AnyArray
    qdot: AnyArray
    qddot: AnyArray | None = None

    def columns(self, names: Sequence[str]) -> list[int]:
        """Find coordinates.

        Parameters
        ----------
        names : sequence of str
            The coordinates wanted.

        Returns
        -------
        list of int
            Their columns in ``q``.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The motion does not have one of them.
        """
        for name in names:
            if name not in self.coordinates:
                raise ModelError(
                    f"The motion must tell the coordinate '{name}', but has {', '.join(self.coordinates)}."
                    f"{did_you_mean(name, self.coordinates)}"
                )
        return [self.coordinates.index(name) for name in names]


@dataclass(frozen=True, eq=False, kw_only=True)
class LegMotion(JointMotion):
    """How a planar leg moves below a pelvis that moves as well.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    coordinates : tuple of str
        The leg's joints, and the pelvis's tilt.
    q, qdot, qddot : numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
        Angles, velocities and accelerations (rad, rad/s, rad/s^2).
    hip_acceleration : numpy.ndarray or torch.Tensor, shape (..., rows, 2)
        Forward and upward (m/s^2).
    """

    hip_acceleration: AnyArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Motion(JointMotion):
    """A motion of an OpenSim model and the generalised forces that it needs.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    coordinates : tuple of str
        The model's coordinates.
    q, qdot : numpy.ndarray, shape (rows, coordinates)
        Values and speeds (rad, rad/s; m, m/s), filtered as for inverse dynamics.
    qddot : None
        Not computed.
    rotational, movable : tuple of bool
        Which of them are rotations, and which are neither locked nor follow others.
    given : tuple of bool
        Which of them the kinematics tell; others are at the model's default, and what they need means nothing.
    limits : numpy.ndarray, shape (coordinates, 2)
        The model's range of each coordinate (rad or m).
    torques : numpy.ndarray, shape (rows, coordinates)
        Inverse dynamics with ``external_loads_file`` (Nm; N for translations).
    external_loads_file : pathlib.Path or None
        The ExternalLoads; None: nothing touches the body.
    kinematics : TimeSeries
        The coordinates before the filter.
    lowpass : float
        Cut-off of the filter (Hz); negative: none.
    jacobians : mapping of str to numpy.ndarray, each (rows, 6, coordinates)
        By body: how it turns, and how its origin moves, per unit of each coordinate's speed (in the ground's frame).
    up : numpy.ndarray, shape (3,), optional
        Unit vector against gravity, in the ground's frame.
    """

    rotational: tuple[bool, ...]
    movable: tuple[bool, ...]
    given: tuple[bool, ...]
    limits: Array
    torques: Array
    external_loads_file: Path | None
    kinematics: TimeSeries
    lowpass: float
    jacobians: Mapping[str, Array] = field(default_factory=dict)
    up: Array = field(default_factory=lambda: np.array([0.0, 1.0, 0.0]))

    def joints(self) -> list[int]:
        """Find the columns of the joints' rotations that the kinematics tell: all but the pelvis's.

        Returns
        -------
        list of int
            Columns in ``q``.
        """
        return [
            column
            for column, name in enumerate(self.coordinates)
            if self.rotational[column] and self.movable[column] and self.given[column] and "pelvis" not in name
        ]

    def at(self, rows: NDArray[np.bool_]) -> Motion:
        """Take some of the rows.

        Parameters
        ----------
        rows : numpy.ndarray of bool, shape (rows,)
            Which.

        Returns
        -------
        Motion
            The same motion there.
        """
        return replace(
            self,
            time=self.time[rows],
            q=self.q[rows],
            qdot=self.qdot[rows],
            torques=self.torques[rows],
            jacobians={name: table[rows] for name, table in self.jacobians.items()},
        )


def analyse_motion(
    model_file: str | os.PathLike[str],
    kinematics: TimeSeries,
    external_loads_file: str | os.PathLike[str] | None = None,
    *,
    lowpass: float = 6.0,
    start: float = float("-inf"),
    end: float = float("inf"),
    jacobians: Sequence[str] = (),
) -> Motion:
    """Compute the generalised forces of a motion with OpenSim's InverseDynamicsTool.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    kinematics : TimeSeries
        The coordinates' values, under their names or their paths (results of inverse kinematics or RRA, or states).
        Rows that are not evenly spaced, as those of CMC's states, are first interpolated to steps of 5 ms (quintic
        spline): OpenSim's filter would resample them to the smallest step.
    external_loads_file : str or os.PathLike, optional
        ExternalLoads (``.xml``).
    lowpass : float, optional
        Cut-off of the low-pass filter for the coordinates (Hz); negative: none. At most 0.49 of the rows' rate, as
        in OpenSim.
    start, end : float, optional
        The time wanted (s).
    jacobians : sequence of str, optional
        Bodies whose Jacobians are wanted, too.

    Returns
    -------
    Motion
        At the rows of the (interpolated) kinematics.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        The kinematics cannot be a motion (:func:`.motions.checked_motion`), or have too few rows.
    opensim_nem2e.errors.NEM2EError
        The kinematics have no column for any coordinate or no rows in the time wanted, the loads cannot be those of
        this model and motion (:mod:`.loads`), or OpenSim failed.
    """
    model = read_model(model_file)
    if not model.mass > 0.0:
        raise ModelError(f"{os.fspath(model_file)}: inverse dynamics needs bodies with a mass; the model has none.")
    series = _even(_coordinates_of(checked_motion(kinematics, model, start, end), model))
    told = set(series.labels)
    start, end = max(start, float(series.time[0])), min(end, float(series.time[-1]))
    series = _rows_around(series, start, end, kinematics.path)
    lowpass = _possible(lowpass, series, kinematics.path)
    with no_results(), tempfile.TemporaryDirectory(prefix="opensim_nem2e_") as scratch:
        loads = None if external_loads_file is None else read_loads(external_loads_file, model, Path(scratch))
        if loads is not None:
            loads.refuse_another_time(start, end)
        coordinates = Path(scratch, "coordinates.sto")
        write_storage(coordinates, series, precision=_PRECISION)
        coupled, forces = Path(scratch, "coupled.sto"), Path(scratch, "inverse_dynamics.sto")
        texts = {
            "model": Path(model_file).absolute(),
            "loads": "" if loads is None else loads.opensim_path,
            "coordinates": coupled,
            "folder": scratch,
        }
        setup = Path(scratch, "setup_id.xml")
        filled = {key: escape(str(value), quote=False) for key, value in texts.items()}
        setup.write_text(_INVERSE_DYNAMICS.format(**filled, start=start, end=end, lowpass=lowpass), encoding="utf-8")
        request = {
            "coordinates_file": str(coordinates),
            "coupled_file": str(coupled),
            "setup_file": str(setup),
            "forces_file": str(forces),
            "lowpass": lowpass,
            "bodies": [] if loads is None else list(loads.bodies),
            "jacobians": list(jacobians),
        }
        logger.debug("Running InverseDynamicsTool in a process of its own.")
        found = run_model_job("analyse_motion", model_file, request)
    names = tuple(str(name) for name in found["names"])
    if not np.isfinite(found["torques"]).all():
        raise StorageError(
            "Inverse dynamics gave moments that are no numbers. Are values missing in the loads, or masses in the "
            "model?",
            model_file if external_loads_file is None else external_loads_file,
        )
    untold = [
        name
        for name, free in zip(names, found["movable"].tolist(), strict=True)
        if free and name.startswith("pelvis_") and name not in told
    ]
    if external_loads_file is not None and untold:
        raise StorageError(
            "Ground reactions act in the ground's frame, so the motion must tell where the pelvis is; it lacks "
            f"{', '.join(untold)}.",
            series.path,
        )
    up = _up(found["gravity"], model)
    if loads is not None:
        _refuse_wrong_loads(loads, found, names, model.mass * GRAVITY, up)
    return Motion(
        time=found["time"],
        coordinates=names,
        q=found["q"],
        qdot=found["qdot"],
        rotational=tuple(found["rotational"].tolist()),
        movable=tuple(found["movable"].tolist()),
        given=tuple(name in told for name in names),
        limits=found["limits"],
        torques=found["torques"],
        external_loads_file=None if external_loads_file is None else Path(external_loads_file).absolute(),
        kinematics=series,
        lowpass=lowpass,
        jacobians={name: found["jacobians"][:, number] for number, name in enumerate(jacobians)},
        up=up,
    )


def _rows_around(series: TimeSeries, start: float, end: float, path: Path | None) -> TimeSeries:
    """Take the rows of the time wanted, and those beside them that filter and splines need."""
    if not start < end:
        raise StorageError(
            f"The motion must cover the time wanted, but it covers {series.time[0]:.4f} to {series.time[-1]:.4f} s.",
            path,
        )
    near = (series.time >= start - _AROUND) & (series.time <= end + _AROUND)
    if near.sum() < _LEAST_ROWS:
        raise StorageError(
            f"The motion must have {_LEAST_ROWS} rows or more for splines of its coordinates; found {near.sum()}.",
            path,
        )
    return replace(series, time=series.time[near], data=series.data[near])


def _possible(lowpass: float, series: TimeSeries, path: Path | None) -> float:
    """Return the low-pass filter's cut-off, or the highest that the rows' rate allows."""
    rate = (series.n_rows - 1) / float(series.time[-1] - series.time[0])
    if lowpass < 0.5 * rate:
        return lowpass
    logger.warning(
        "%s: its %.3g Hz tell nothing above %.3g Hz: the low-pass filter of %.3g Hz is put there.",
        *(path, rate, 0.49 * rate, lowpass),
    )
    return 0.49 * rate


def _refuse_wrong_loads(
    loads: Loads, found: Mapping[str, np.ndarray], names: Sequence[str], weight: float, up: Array
) -> None:
    """Refuse loads that act elsewhere than on their feet, or are not what the analysed motion needs."""
    loads.refuse_misplaced(found["time"][found["places"]], found["origins"], up)
    free = {name: found["torques"][:, column] for column, name in enumerate(names) if found["movable"][column]}
    unknown = np.full(len(found["time"]), np.nan)
    left_over = np.column_stack([free.get(f"pelvis_t{axis}", unknown) for axis in "xyz"])
    turning = [free[name] for name in ("pelvis_tilt", "pelvis_list") if name in free]
    moments = np.column_stack(turning) if turning else np.zeros((len(unknown), 0))
    loads.refuse_unlike(found["time"], left_over, moments, weight)


class Dynamics(Protocol):
    """What tells which torques a motion needs."""

    def required(self, motion: Any, loads: Any, coordinates: Sequence[str]) -> AnyArray:
        """Return the torques that a motion needs.

        Parameters
        ----------
        motion : JointMotion
            The motion.
        loads : object
            What touches the body; None: nothing.
        coordinates : sequence of str
            The coordinates wanted.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
            Nm (N for translations).
        """


@dataclass(frozen=True)
class OpenSimDynamics:
    """Inverse dynamics of an OpenSim model.

    Parameters
    ----------
    model_file : pathlib.Path
        The model.
    """

    model_file: Path

    def required(self, motion: Motion, loads: str | os.PathLike[str] | None, coordinates: Sequence[str]) -> Array:
        """Return the torques that a motion needs.

        Parameters
        ----------
        motion : Motion
            From :func:`analyse_motion`.
        loads : str, os.PathLike or None
            ExternalLoads (``.xml``); None: nothing touches the body. OpenSim runs only if they are not those that the
            motion was analysed with.
        coordinates : sequence of str
            The coordinates wanted.

        Returns
        -------
        numpy.ndarray, shape (rows, coordinates)
            Nm (N for translations).

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            OpenSim failed, or the motion lacks a coordinate.
        """
        columns = motion.columns(coordinates)
        if (None if loads is None else Path(loads).absolute()) == motion.external_loads_file:
            return motion.torques[:, columns]
        # The same coordinates and filter give the same rows; their times were rounded when written.
        margin = 0.5 * float(np.median(np.diff(motion.time)))
        start, end = float(motion.time[0]) - margin, float(motion.time[-1]) + margin
        other = analyse_motion(self.model_file, motion.kinematics, loads, lowpass=motion.lowpass, start=start, end=end)
        return interpolate(other.time, other.torques[:, other.columns(coordinates)], motion.time)


@dataclass(frozen=True, eq=False)
class GroundReaction:
    """The ground's force on the foot of a planar leg.

    Parameters
    ----------
    force : numpy.ndarray or torch.Tensor, shape (..., rows, 2)
        Forward and upward (N).
    point : numpy.ndarray or torch.Tensor, shape (..., rows, 2)
        Where it acts, from the hip (m).
    """

    force: AnyArray
    point: AnyArray


@dataclass(frozen=True, eq=False)
class JointLoads:
    """What external forces do at the joints of a planar leg, where it is known better than from its lengths.

    Parameters
    ----------
    torque : numpy.ndarray or torch.Tensor, shape (..., rows, joints)
        As inverse dynamics would subtract it, in the coordinates' own directions (Nm).
    """

    torque: AnyArray


@dataclass(frozen=True, eq=False)
class PlanarDynamics:
    """Inverse dynamics of a planar leg.

    Parameters
    ----------
    leg : PlanarLeg
        The leg.
    coordinates : tuple of str
        What its joints are called, from the hip on.
    directions : tuple of float
        1 where the coordinate rises counter-clockwise, seen with the leg's front to the right, -1 where clockwise: a
        knee angle that rises with flexion.
    tilt : str
        The motion's coordinate that tells how the pelvis tilts (counter-clockwise); empty: it stays upright.
    """

    leg: PlanarLeg
    coordinates: tuple[str, ...]
    directions: tuple[float, ...]
    tilt: str = ""

    def required(
        self, motion: JointMotion, loads: GroundReaction | JointLoads | None, coordinates: Sequence[str]
    ) -> AnyArray:
        """Return the torques that a motion needs.

        Parameters
        ----------
        motion : JointMotion
            With accelerations; a :class:`LegMotion` tells how the hip moves.
        loads : GroundReaction, JointLoads or None
            The ground's force, or what it does at the joints; None: the foot swings.
        coordinates : sequence of str
            The coordinates wanted.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
            Nm.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The motion lacks accelerations or a coordinate, or one that is wanted is not the leg's.
        """
        if motion.qddot is None:
            raise ModelError("The inverse dynamics of a planar leg need the motion's accelerations, but it has none.")
        columns, tilt = motion.columns(self.coordinates), motion.columns([self.tilt] if self.tilt else [])
        given = [motion.q, motion.qdot, motion.qddot]
        if isinstance(motion, LegMotion):
            given.append(motion.hip_acceleration)
        if isinstance(loads, GroundReaction):
            given += [loads.force, loads.point]
        elif loads is not None:
            given.append(loads.torque)
        q, qdot, qddot, *others = alike(*given)
        hip_acceleration = others.pop(0) if isinstance(motion, LegMotion) else None
        # The pelvis turns the thigh as the hip does; all that lies beyond turns with it.
        signs, first, _ = alike(np.array(self.directions), np.eye(len(self.coordinates))[:1], q)
        q, qdot, qddot = (
            signs * values[..., columns] + (values[..., tilt] * first if tilt else 0.0) for values in (q, qdot, qddot)
        )
        external: Any = 0.0
        if isinstance(loads, GroundReaction):
            external = self.leg.external_torque(q, *others)
        elif loads is not None:
            external = signs * others[0]
        wanted = [_place(name, self.coordinates) for name in coordinates]
        return (signs * self.leg.inverse_dynamics(q, qdot, qddot, external, hip_acceleration))[..., wanted]


def _place(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ModelError(
            f"The planar leg has the coordinates {', '.join(names)}; found '{name}'.{did_you_mean(name, names)}"
        )
    return list(names).index(name)


def _up(gravity: Array, model: OsimModel) -> Array:
    """Return the direction against a model's gravity, and warn of one that is not the earth's."""
    size = float(np.linalg.norm(gravity))
    if not _LEAST_GRAVITY < size < _MOST_GRAVITY:
        logger.warning(
            "%s: the model's gravity is %.4g m/s^2 (on earth: 9.81), so the joint moments are not those on earth.",
            *(model.path, size),
        )
    return -gravity / size if size > 0.0 else np.array([0.0, 1.0, 0.0])


def _coordinates_of(series: TimeSeries, model: OsimModel) -> TimeSeries:
    """Return the coordinates' values under their bare names, which is how InverseDynamicsTool knows them."""
    labels = {c.name: find_state_label(series.labels, f"{c.path}/value") for c in model.coordinates}
    found = {name: label for name, label in labels.items() if label is not None}
    if not found:
        raise StorageError(
            f"The motion must have columns for coordinates of the model '{model.name}' (such as "
            f"'{model.coordinates[0].name}'), but has none.",
            series.path,
        )
    missing = [name for name in labels if name not in found]
    if missing:
        logger.info("The motion does not say where %s is: the model's default is taken.", ", ".join(missing))
    return replace(
        series, labels=tuple(found), data=series.select(list(found.values())), name="coordinates", description=""
    )


def _even(series: TimeSeries) -> TimeSeries:
    """Bring rows of any spacing onto an even grid."""
    steps = np.diff(series.time)
    if len(steps) < 2 or np.abs(steps - np.median(steps)).max() <= _EVEN * np.median(steps):
        return series
    kept = [0]
    for row, time in enumerate(series.time):
        if time - series.time[kept[-1]] >= _THINNED:
            kept.append(row)
    first, last = series.time[0] / _EVEN_STEP, series.time[kept[-1]] / _EVEN_STEP
    grid = np.arange(np.ceil(first), np.floor(last) + 1) * _EVEN_STEP
    return replace(series, time=grid, data=spline(series.time[kept], series.data[kept], grid))
