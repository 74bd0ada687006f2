"""Activations of a motion by static optimisation: the subject's own quadratic program in every frame, all at once.

The program is that of OpenSim's StaticOptimization with activation exponent 2 (:mod:`.row_programs`): the least sum of
squared activations, and of squared reserves, that makes the joint moments of inverse dynamics, with muscles whose
tendons are rigid. What OpenSim finds frame by frame with a general optimiser is here solved for all frames together,
on fitted muscle paths (:mod:`.paths`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, StorageError, did_you_mean
from ..log import logger
from ..musculoskeletal.dynamics import Motion, analyse_motion
from ..musculoskeletal.motions import refuse_another_trials_loads, refuse_impossible_moments
from ..musculoskeletal.row_programs import solve_rows
from ..musculoskeletal.torque_model import TorqueModel
from ..signals.resample import interpolate
from ..storage import read_storage

if TYPE_CHECKING:
    import os

    from ..storage.osim import OsimModel

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Rows that are solved together: more would need memory, fewer time.
_BLOCK = 1000

#: Beyond the model's own range of a coordinate by more than this it is flagged (rad, m).
_RANGE_TOLERANCE = 1e-3

#: A reserve is flagged above this share of the coordinate's largest moment (Hicks et al. 2015) and above this (Nm).
_RESERVE_SHARE, _LEAST_RESERVE = 0.05, 1.0

#: An activation counts as saturated from this share of its upper bound on.
_SATURATED = 0.999


@dataclass(frozen=True)
class ProgramSettings:
    """How the muscles share the moments.

    Parameters
    ----------
    force : {'static_optimization', 'rigid_tendon'}
        The active force: exactly as OpenSim's StaticOptimization takes it, or that of the muscle with a rigid tendon
        (they differ for pennate muscles: :meth:`.ForceCurves.active_cosine`).
    passive : bool
        Whether the muscles also pull passively; StaticOptimization leaves that out.
    reserve : float
        Reserve moment at a coordinate that costs as much as an activation of 1 (Nm).
    """

    force: Literal["static_optimization", "rigid_tendon"] = "static_optimization"
    passive: bool = False
    reserve: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an unknown force."""
        if self.force not in ("static_optimization", "rigid_tendon"):
            raise ModelError(f"The force must be static_optimization or rigid_tendon; found {self.force!r}.")

    @property
    def curves(self) -> Literal["static_optimization", "own"]:
        """The muscles' curves (:meth:`.HillMuscles.from_model`)."""
        return "own" if self.force == "rigid_tendon" else "static_optimization"


@dataclass(frozen=True, eq=False)
class Optimum:
    """Activations that make the moments of a motion at the least cost.

    Parameters
    ----------
    motion : Motion
        The motion.
    muscles, coordinates : tuple of str
        The muscles, and the coordinates whose moments they share.
    activations : numpy.ndarray, shape (rows, muscles)
        0..1.
    forces : numpy.ndarray, shape (rows, muscles)
        Along the tendon (N).
    fiber_lengths : numpy.ndarray, shape (rows, muscles)
        With a rigid tendon (m).
    needed, made : numpy.ndarray, shape (rows, coordinates)
        The moment asked for and the muscles' (Nm).
    outside : numpy.ndarray of bool, shape (rows, coordinates)
        Where the motion leaves the model's own range of the coordinate.
    high : numpy.ndarray, shape (muscles,)
        Upper bounds of the activations.
    untrained : numpy.ndarray of bool, shape (rows, coordinates), optional
        Of moments that a network estimated: where the motion leaves what it was trained on.
    guessed : numpy.ndarray of bool, shape (rows,), optional
        Rows too close to an end of the motion for the network's window.
    """

    motion: Motion
    muscles: tuple[str, ...]
    coordinates: tuple[str, ...]
    activations: Array
    forces: Array
    fiber_lengths: Array
    needed: Array
    made: Array
    outside: Mask
    high: Array
    untrained: Mask | None = None
    guessed: Mask | None = None

    @property
    def reserves(self) -> Array:
        """What the muscles leave to reserves (Nm); (rows, coordinates)."""
        return self.needed - self.made

    @property
    def weak(self) -> Mask:
        """Where a reserve is above 5 % of the coordinate's largest moment, and above 1 Nm; (rows, coordinates)."""
        most = np.maximum(_RESERVE_SHARE * np.abs(self.needed).max(axis=0), _LEAST_RESERVE)
        weak: Mask = np.abs(self.reserves) > most
        return weak

    @property
    def flagged(self) -> Mask:
        """Rows outside a range, with a moment left to a reserve, or with a guessed moment; (rows,)."""
        flagged: Mask = np.asarray((self.outside | self.weak).any(axis=1))
        if self.untrained is not None:
            flagged |= self.untrained.any(axis=1)
        if self.guessed is not None:
            flagged |= self.guessed
        return flagged

    @property
    def saturated(self) -> Mask:
        """Where a muscle is at its upper bound; (rows, muscles)."""
        return self.activations >= _SATURATED * self.high


@dataclass(frozen=True)
class MuscleRow:
    """One muscle in the summary.

    Parameters
    ----------
    muscle : str
        The muscle.
    mean_activation, peak_activation : float
        0..1.
    peak_time : float
        When the activation is highest (s).
    peak_force : float
        N.
    saturated_rows : int
        Rows at the upper bound.
    """

    muscle: str
    mean_activation: float
    peak_activation: float
    peak_time: float
    peak_force: float
    saturated_rows: int


@dataclass(frozen=True)
class MomentRow:
    """One coordinate in the table of moments.

    Parameters
    ----------
    coordinate : str
        The coordinate.
    rows : int
        Rows of the motion.
    peak : float
        Largest magnitude of the moment needed (Nm).
    rms_reserve, largest_reserve : float
        What the muscles leave to reserves (Nm).
    rows_weak : int
        Rows in which that is above 5 % of the peak and above 1 Nm.
    rows_out_of_range : int
        Rows outside the model's own range of the coordinate.
    """

    coordinate: str
    rows: int
    peak: float
    rms_reserve: float
    largest_reserve: float
    rows_weak: int
    rows_out_of_range: int


def summarise_muscles(optimum: Optimum) -> list[MuscleRow]:
    """Sum up the muscles.

    Parameters
    ----------
    optimum : Optimum
        The solution.

    Returns
    -------
    list of MuscleRow
        One per muscle.
    """
    peaks = optimum.activations.argmax(axis=0)
    return [
        MuscleRow(
            muscle,
            float(optimum.activations[:, k].mean()),
            float(optimum.activations[peaks[k], k]),
            float(optimum.motion.time[peaks[k]]),
            float(optimum.forces[:, k].max()),
            int(optimum.saturated[:, k].sum()),
        )
        for k, muscle in enumerate(optimum.muscles)
    ]


def summarise_moments(optimum: Optimum) -> list[MomentRow]:
    """Sum up the coordinates.

    Parameters
    ----------
    optimum : Optimum
        The solution.

    Returns
    -------
    list of MomentRow
        One per coordinate.
    """
    reserves = optimum.reserves
    return [
        MomentRow(
            coordinate,
            len(reserves),
            float(np.abs(optimum.needed[:, k]).max()),
            float(np.sqrt(np.mean(reserves[:, k] ** 2))),
            float(np.abs(reserves[:, k]).max()),
            int(optimum.weak[:, k].sum()),
            int(optimum.outside[:, k].sum()),
        )
        for k, coordinate in enumerate(optimum.coordinates)
    ]


def read_motion(
    model: OsimModel,
    coordinates_file: str | os.PathLike[str],
    external_loads_file: str | os.PathLike[str] | None = None,
    *,
    lowpass: float = 6.0,
    start: float = float("-inf"),
    end: float = float("inf"),
    jacobians: Sequence[str] = (),
) -> Motion:
    """Read a motion, refuse what cannot be one, and run inverse dynamics.

    Parameters
    ----------
    model : OsimModel
        The model.
    coordinates_file : str or os.PathLike
        Coordinates (.mot, .sto) or states.
    external_loads_file : str or os.PathLike, optional
        ExternalLoads (.xml); without them nothing touches the body.
    lowpass : float, optional
        Cut-off of the filter for the coordinates (Hz); negative: none.
    start, end : float, optional
        The time wanted (s).
    jacobians : sequence of str, optional
        Bodies whose Jacobians are wanted, too.

    Returns
    -------
    Motion
        With the generalised forces that it needs.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        There is a gap in time, values are missing, or the loads are another trial's.
    opensim_nem2e.errors.NEM2EError
        Another fault of a file, or OpenSim failed.
    """
    series = read_storage(coordinates_file, model=model.path)
    motion = analyse_motion(
        model.path, series, external_loads_file, lowpass=lowpass, start=start, end=end, jacobians=jacobians
    )
    if external_loads_file is not None:
        refuse_another_trials_loads(motion.time, motion.coordinates, motion.torques, model.mass, external_loads_file)
    return motion


def moments_of_file(
    path: str | os.PathLike[str], coordinates: Sequence[str], time: Array, kind: str = "inverse dynamics"
) -> Array:
    """Read the moments of coordinates from a result of inverse dynamics.

    Parameters
    ----------
    path : str or os.PathLike
        The file; its columns are called ``<coordinate>_moment``, or as the coordinates.
    coordinates : sequence of str
        The coordinates.
    time : numpy.ndarray, shape (rows,)
        When (s).
    kind : str, optional
        What the file is, for messages.

    Returns
    -------
    numpy.ndarray, shape (rows, coordinates)
        Nm.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A coordinate is missing, the file does not cover the time, or values are missing.
    """
    series = read_storage(path)
    labels = []
    for name in coordinates:
        label = next((each for each in (f"{name}_moment", f"{name}_force", name) if series.has(each)), None)
        if label is None:
            raise StorageError(
                f"The {kind} must have a column '{name}_moment', but has none."
                f"{did_you_mean(f'{name}_moment', series.labels)}",
                path,
            )
        labels.append(label)
    margin = 0.5 * float(np.median(np.diff(series.time))) if series.n_rows > 1 else 0.0
    if series.time[0] > time[0] + margin or series.time[-1] < time[-1] - margin:
        raise StorageError(
            f"The {kind} must cover the motion's {time[0]:.3f} to {time[-1]:.3f} s, but covers {series.time[0]:.3f} to "
            f"{series.time[-1]:.3f} s.",
            path,
        )
    series = replace(series, labels=tuple(labels), data=series.select(labels))
    refuse_impossible_moments(series, float(time[0]), float(time[-1]))
    return interpolate(series.time, series.data, time)


def muscle_model(
    model: OsimModel, motion: Motion, coordinates: Sequence[str], settings: ProgramSettings
) -> TorqueModel:
    """Take muscles, their paths and the coordinates whose moments they share from a model.

    Parameters
    ----------
    model : OsimModel
        The model.
    motion : Motion
        The motion.
    coordinates : sequence of str
        The coordinates wanted; empty: all rotations that muscles span, that the motion tells and that can move.
    settings : ProgramSettings
        The muscles' force.

    Returns
    -------
    TorqueModel
        All acting muscles.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A coordinate is not told by the motion, or no coordinate is left.
    """
    torque_model = TorqueModel.of_model(model.path, motion, coordinates=coordinates, curves=settings.curves)
    told = dict(zip(motion.coordinates, motion.given, strict=True))
    untold = [name for name in coordinates if not told[name]]
    if untold or not torque_model.coordinates:
        raise ModelError(
            f"The motion must tell the coordinates that muscles span, but says nothing of "
            f"{', '.join(untold or torque_model.paths.coordinates)}. It has "
            f"{', '.join(name for name, yes in told.items() if yes)}."
        )
    movable = dict(zip(motion.coordinates, motion.movable, strict=True))
    silent = [name for name in torque_model.paths.coordinates if movable[name] and not told[name]]
    if silent:
        logger.warning(
            "The motion does not tell %s, which muscles span: the model's default is taken, and no moment there is "
            "asked of the muscles. If it moved, the whole leg is wrong.",
            ", ".join(silent),
        )
    return torque_model


def optimise(
    model: OsimModel, torque_model: TorqueModel, motion: Motion, needed: Array, settings: ProgramSettings
) -> Optimum:
    """Solve the program of every row.

    Parameters
    ----------
    model : OsimModel
        The model, which bounds the activations (``min_control`` and ``max_control``, as in StaticOptimization).
    torque_model : TorqueModel
        Its muscles (:func:`muscle_model`).
    motion : Motion
        The motion.
    needed : numpy.ndarray, shape (rows, coordinates)
        The moments asked for at the torque model's coordinates (Nm).
    settings : ProgramSettings
        The program.

    Returns
    -------
    Optimum
        At the motion's rows.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        Something is not a number.
    """
    names, hill = torque_model.muscles, torque_model.hill
    low, high = (np.array([getattr(model.muscles[name], f"{end}_control") for name in names]) for end in ("min", "max"))
    columns = motion.columns(torque_model.paths.coordinates)
    own = [torque_model.paths.coordinates.index(name) for name in torque_model.coordinates]
    parts: list[tuple[Array, ...]] = []
    for first in range(0, len(motion.time), _BLOCK):
        rows = slice(first, first + _BLOCK)
        lengths, arms = torque_model.paths.evaluate(motion.q[rows, columns])
        velocities = torque_model.paths.velocities(arms, motion.qdot[rows, columns])
        if settings.passive:
            active, pull = hill.rigid_terms(lengths, velocities)
        else:
            active, pull = hill.rigid_active(lengths, velocities), np.zeros_like(velocities)
        arms = arms[..., own]
        gain = (arms * active[..., np.newaxis]).swapaxes(-1, -2)
        asked = needed[rows] - np.einsum("rmc,rm->rc", arms, pull)
        found = solve_rows(gain, asked, low=low, high=high, reserve=settings.reserve)
        fibers = np.hypot(lengths - hill.tendon_slack_length, hill.fiber_width)
        forces = active * found.activations + pull
        parts.append((found.activations, forces, fibers, needed[rows] - found.reserves))
    activations, forces, fibers, made = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    chosen = motion.columns(torque_model.coordinates)
    q, (lowest, highest) = motion.q[:, chosen], motion.limits[chosen].T
    outside = (q < lowest - _RANGE_TOLERANCE) | (q > highest + _RANGE_TOLERANCE)
    outside &= lowest < highest
    return Optimum(
        motion, names, torque_model.coordinates, activations, forces, fibers, np.asarray(needed), made, outside, high
    )


def state_columns(model: OsimModel, optimum: Optimum) -> Mapping[str, Array]:
    """Return the states that a solution tells, for OpenSim's GUI and its tools.

    Parameters
    ----------
    model : OsimModel
        The model.
    optimum : Optimum
        The solution.

    Returns
    -------
    mapping of str to numpy.ndarray, each (rows,)
        Values and speeds of the coordinates (rad, rad/s; m, m/s), activations, and the fibers' lengths with a rigid
        tendon (m), in the model's order.
    """
    motion = optimum.motion
    known: dict[str, Array] = {}
    for coordinate in model.coordinates:
        column = motion.coordinates.index(coordinate.name)
        known[f"{coordinate.path}/value"] = motion.q[:, column]
        known[f"{coordinate.path}/speed"] = motion.qdot[:, column]
    for column, name in enumerate(optimum.muscles):
        path = model.muscles[name].path
        known[f"{path}/activation"] = optimum.activations[:, column]
        known[f"{path}/fiber_length"] = optimum.fiber_lengths[:, column]
    return {label: known[label] for label in model.state_labels() if label in known}
