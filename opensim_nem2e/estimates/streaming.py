"""Activations and forces frame by frame, for a motion that is still going on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError, did_you_mean
from ..log import logger
from ..musculoskeletal.frame_paths import FramePaths
from ..musculoskeletal.hill import HillMuscles
from ..musculoskeletal.motions import LARGEST_MOMENT, is_angle
from ..musculoskeletal.paths import MusclePaths, coordinate_ranges, fit_paths
from ..musculoskeletal.redistribution import RowProgram
from ..storage.osim import read_model
from .learned_moments import LiveMoments
from .static_optimization import ProgramSettings, read_motion

if TYPE_CHECKING:
    from ..methods.base import MomentEstimator
    from ..storage.osim import OsimModel

Array = NDArray[np.float64]

#: Gives the moments (coordinates,) that a frame needs (Nm), from its time (s), coordinates and speeds (rad, rad/s).
Moments = Callable[[float, Array, Array], Array]

#: Frames that are remembered at most for the speeds.
_REMEMBERED = 64

#: A pause is a gap if it is longer than this (s) and than so many usual ones: the speeds begin anew.
_GAP, _GAP_STEPS = 0.05, 2.5

#: No joint turns so far (rad): the values are degrees.
_ONE_TURN = 2.0 * np.pi


@dataclass(frozen=True, eq=False)
class _Leg:
    """What one frame is computed with."""

    paths: FramePaths
    hill: HillMuscles
    own: NDArray[np.intp]
    program: RowProgram
    passive: bool


class StreamingPredictor:
    """Finds the activations of one frame after another.

    Every frame costs a fraction of a millisecond for one leg. The coordinates are taken as they come: each frame's
    smoothed values and speeds are those of a parabola through the last ``window`` seconds, which lags behind nothing
    that is smooth over that time. Made by :func:`load`.

    Parameters
    ----------
    leg : object
        Muscles, their paths and bounds.
    muscles : tuple of str
        The muscles.
    coordinates : tuple of str
        The coordinates that every frame tells, in this order.
    torque_coordinates : tuple of str
        Those whose moments the muscles share.
    held : numpy.ndarray, shape (path coordinates,)
        Where coordinates are that frames do not tell (rad or m).
    rotational : numpy.ndarray of bool, shape (coordinates,)
        Which coordinates are angles.
    moments : callable or None
        Where the moments come from if frames do not bring them.
    window : float
        How far back a frame looks (s).
    """

    def __init__(
        self,
        leg: _Leg,
        muscles: tuple[str, ...],
        coordinates: tuple[str, ...],
        torque_coordinates: tuple[str, ...],
        held: Array,
        rotational: NDArray[np.bool_],
        moments: LiveMoments | Moments | None,
        window: float,
    ):
        self.muscles, self.coordinates, self.torque_coordinates = muscles, coordinates, torque_coordinates
        #: What the muscles leave to reserves in the last frame (Nm), and whether that is out of the range of paths or
        #: training.
        self.reserves = np.zeros(len(torque_coordinates))
        self.out_of_range = False
        #: Whether the last frame began a new history, because it was the first or came after a gap.
        self.restarted = True
        self._leg, self._moments, self._window, self._rotational = leg, moments, window, rotational
        count = len(coordinates)
        self._times, self._values = np.zeros(_REMEMBERED), np.zeros((_REMEMBERED, count))
        self._filled = 0
        self._now, self._speed = np.zeros((2, count))
        self._fit: Array = np.zeros((2, 0))
        self._steps: Array = np.zeros(0)
        self._usual = 0.0
        spanned = [name for name in coordinates if name in leg.paths.coordinates]
        self._spanned = np.array([coordinates.index(name) for name in spanned])
        self._told = np.array([leg.paths.coordinates.index(name) for name in spanned])
        self._q, self._qdot = held.copy(), np.zeros_like(held)
        self._slack = np.zeros(len(muscles))
        seen = moments.coordinates if isinstance(moments, LiveMoments) else coordinates
        self._seen = np.array([coordinates.index(name) for name in seen])

    def step(self, time: float, coordinates: ArrayLike, moments: ArrayLike | None = None) -> tuple[Array, Array]:
        """Take a frame.

        Parameters
        ----------
        time : float
            s; later than the last frame's.
        coordinates : array_like, shape (coordinates,)
            In the order of :attr:`coordinates` (rad or m).
        moments : array_like, shape (torque coordinates,), optional
            The moments that the frame needs, in the order of :attr:`torque_coordinates` (Nm). They may be left out
            where the predictor finds them itself.

        Returns
        -------
        activations, forces : numpy.ndarray, shape (muscles,)
            0..1, and along the tendon (N). What they leave to reserves is in :attr:`reserves`;
            :attr:`out_of_range` says whether the frame left the range in which muscle paths are known, or a network
            was trained.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The frame has other coordinates or moments, is in degrees, holds no numbers, or is not later than the last.
        """
        time, values = _number(time), _numbers(coordinates)
        if not math.isfinite(time):
            raise ModelError(f"A frame's time must be a number of seconds, but {time:g} was found.")
        if values.shape != (len(self.coordinates),) or not np.isfinite(values).all():
            raise ModelError(
                f"A frame must tell {len(self.coordinates)} numbers ({', '.join(self.coordinates)}), but "
                f"{values.tolist()} was found."
            )
        if np.abs(values[self._rotational]).max(initial=0.0) > _ONE_TURN:
            raise ModelError(
                f"Angles must be in radians, but at {time:g} s {np.abs(values[self._rotational]).max():.4g} was found, "
                "more than a whole turn."
            )
        given = None if moments is None else self._checked(moments)
        self._remember(time, values)
        self._q[self._told], self._qdot[self._told] = self._now[self._spanned], self._speed[self._spanned]
        leg = self._leg
        lengths, arms = leg.paths.evaluate(self._q)
        velocities = -(arms @ self._qdot)
        if leg.passive:
            active, passive = leg.hill.rigid_terms(lengths, velocities)
        else:
            active, passive = leg.hill.rigid_active(lengths, velocities), self._slack
        own = arms.T[leg.own]
        needed = self._moments_now(time) if given is None else given
        # One row at a time a solver in C beats the one that takes all rows together.
        activations, self.reserves = leg.program.solve(own * active, needed - own @ passive)
        learned = given is None and isinstance(self._moments, LiveMoments) and self._moments.outside
        self.out_of_range = learned or bool(leg.paths.outside(self._q).any())
        return activations, active * activations + passive

    def reset(self) -> None:
        """Forget all frames: the next one may be of another motion."""
        self._filled = 0

    def _checked(self, moments: ArrayLike) -> Array:
        needed = _numbers(moments)
        if needed.shape != (len(self.torque_coordinates),) or not np.isfinite(needed).all():
            raise ModelError(
                f"A frame's moments must be {len(self.torque_coordinates)} numbers "
                f"({', '.join(self.torque_coordinates)}), but {needed.tolist()} was found."
            )
        if np.abs(needed).max(initial=0.0) > LARGEST_MOMENT:
            raise ModelError(
                f"A frame's moments must be at most {LARGEST_MOMENT:g} Nm, but {needed.tolist()} was found."
            )
        return needed

    def _moments_now(self, time: float) -> Array:
        if self._moments is None:
            names = ", ".join(self.torque_coordinates)
            raise ModelError(f"A frame must bring the moments of {names}: no function was given that finds them.")
        if isinstance(self._moments, LiveMoments):
            if self.restarted:
                self._moments.reset()
            return self._moments(time, self._now[self._seen], self._speed[self._seen])
        return self._checked(self._moments(time, self._now, self._speed))

    def _remember(self, time: float, values: Array) -> None:
        """Add a frame to the history, and find the present values and speeds."""
        times, history, filled = self._times, self._values, self._filled
        pause = time - times[filled - 1] if filled else 0.0
        if filled and not pause > 0.0:
            raise ModelError(f"Frames must be later than the one before, but {time:g} s came after {time - pause:g} s.")
        self.restarted = not filled or pause > max(_GAP, _GAP_STEPS * self._usual)
        if self.restarted:
            if filled:
                logger.warning("There is a gap of %.3f s before %.3f s: the speeds begin anew.", pause, time)
            filled = 0
        else:
            # The usual pause, with the last ones weighing most.
            self._usual = pause if not self._usual else self._usual + 0.1 * (pause - self._usual)
        if filled == _REMEMBERED or (filled and time - times[0] > self._window):
            drop = max(1, int(np.searchsorted(times[:filled], time - self._window)))
            times[: filled - drop] = times[drop:filled]
            history[: filled - drop] = history[drop:filled]
            filled -= drop
        times[filled], history[filled] = time, values
        self._filled = filled = filled + 1
        ago = times[:filled] - time
        if filled < 3:
            self._now[:] = values
            self._speed[:] = 0.0 if filled == 1 else (values - history[0]) / pause
            return
        # The same steps have the same weights.
        if len(self._steps) != filled or np.abs(self._steps - ago).max() > 0.02 * self._usual:
            self._steps = ago.copy()
            self._fit = np.asarray(np.linalg.pinv(ago[:, np.newaxis] ** np.arange(3))[:2], dtype=float)
        self._now[:], self._speed[:] = self._fit @ history[:filled]


def _number(value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ModelError(f"A frame's time must be a number of seconds, but {value!r} was found.") from None


def _numbers(values: ArrayLike) -> Array:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ModelError(f"A frame's coordinates and moments must be numbers, but {values!r} was found.") from None


def load(
    moments: MomentEstimator | Moments | None,
    model: str | os.PathLike[str] | OsimModel,
    *,
    coordinates: Sequence[str],
    motion_file: str | os.PathLike[str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    settings: ProgramSettings | None = None,
    window: float = 0.05,
    cache_directory: str | os.PathLike[str] | None = None,
) -> StreamingPredictor:
    """Prepare for frames of a motion.

    Parameters
    ----------
    moments : MomentEstimator, callable or None
        Finds the moments of ``coordinates``: the network of a bundle (:attr:`.MotionBundle.network`), for coordinates
        of one leg; or a function that gives them (Nm) from time, coordinates and speeds. None: frames bring them.
    model : str, os.PathLike or OsimModel
        The subject's model.
    coordinates : sequence of str
        The coordinates whose moments the muscles share, such as those of one leg. The muscles are those that span one.
    motion_file : str or os.PathLike, optional
        A motion (.mot, .sto) like those to come: muscle paths are fitted to its ranges, widened, and nearest about it.
    ranges : mapping of str to (float, float), optional
        In its place: lowest and highest value of all coordinates that muscles span (rad, m). What frames do not tell
        is held in the middle.
    settings : ProgramSettings, optional
        How the muscles share the moments.
    window : float, optional
        How far back the parabola reaches that smooths the coordinates and gives the speeds (s).
    cache_directory : str or os.PathLike, optional
        Where the fitted paths are kept.

    Returns
    -------
    StreamingPredictor
        It wants the coordinates that its muscles span and that can move, and those that a network wants besides, in the
        order of its ``coordinates``.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A coordinate is not the model's, no muscle spans it, or it is named twice; not exactly one of ``motion_file``
        and ``ranges`` is given; or ``moments`` or ``window`` is of the wrong kind.
    opensim_nem2e.errors.NEM2EError
        A file cannot be used, or OpenSim failed.
    """
    if (motion_file is None) == (ranges is None):
        raise ModelError("Either motion_file or ranges must say over which ranges the muscles' paths are to be known.")
    coordinates = (coordinates,) if isinstance(coordinates, str) else tuple(coordinates)
    if not coordinates or len(set(coordinates)) < len(coordinates):
        raise ModelError(f"The coordinates must be one or more, each once; found {', '.join(coordinates) or 'none'}.")
    if not isinstance(window, Real) or not 0.0 < window < math.inf:
        raise ModelError(f"The window that speeds are found from must be longer than 0 s; found {window!r}.")
    if moments is not None and not callable(moments) and not hasattr(moments, "lookahead"):
        raise ModelError(
            "Moments must come from a network (MotionBundle.load('kinematics').network), from a function, or with the "
            f"frames (None); found {moments!r}."
        )
    osim = model if not isinstance(model, str | os.PathLike) else read_model(model)
    if motion_file is not None:
        motion = read_motion(osim, motion_file)
        limits = coordinate_ranges(motion.coordinates, motion.q, motion.rotational, motion.limits)
        paths = fit_paths(osim.path, limits, motion=(motion.coordinates, motion.q), cache_directory=cache_directory)
        columns = motion.columns(paths.coordinates)
        middle = np.median(motion.q[:, columns], axis=0)
        free = np.array([motion.movable[column] and motion.given[column] for column in columns])
    else:
        assert ranges is not None
        paths = fit_paths(osim.path, ranges, cache_directory=cache_directory)
        middle = paths.ranges.mean(axis=1)
        free = np.ptp(paths.ranges, axis=1) > 0.0
    for name in coordinates:
        if name not in paths.coordinates or not free[paths.coordinates.index(name)]:
            told = [each for each, yes in zip(paths.coordinates, free, strict=True) if yes]
            raise ModelError(
                f"Muscles must span the coordinate '{name}', and it must be free to move; such are {', '.join(told)}."
                f"{did_you_mean(name, told)}"
            )
    live = moments if moments is None or callable(moments) else LiveMoments(moments, osim, coordinates)
    return _predictor(osim, paths, tuple(coordinates), middle, free, live, settings or ProgramSettings(), window)


def _predictor(
    model: OsimModel,
    paths: MusclePaths,
    coordinates: tuple[str, ...],
    middle: Array,
    free: NDArray[np.bool_],
    moments: LiveMoments | Moments | None,
    settings: ProgramSettings,
    window: float,
) -> StreamingPredictor:
    """Take the muscles that span the coordinates, and what these span."""
    wanted = [paths.coordinates.index(name) for name in coordinates]
    acting = np.array([model.muscles[name].applies_force for name in paths.muscles])
    chosen = np.flatnonzero(paths.spans[:, wanted].any(axis=1) & acting)
    muscles = tuple(paths.muscles[row] for row in chosen)
    spanned = np.flatnonzero(paths.spans[chosen].any(axis=0))
    frame_paths = FramePaths.of(paths.of(muscles), spanned)
    told = [column for column in spanned.tolist() if free[column]]
    low, high = (
        np.array([getattr(model.muscles[name], f"{end}_control") for name in muscles]) for end in ("min", "max")
    )
    leg = _Leg(
        paths=frame_paths,
        hill=HillMuscles.from_model(model, muscles, settings.curves),
        own=np.array([frame_paths.coordinates.index(name) for name in coordinates]),
        program=RowProgram(low, high, settings.reserve),
        passive=settings.passive,
    )
    names = tuple(paths.coordinates[column] for column in told)
    if isinstance(moments, LiveMoments):
        names += tuple(name for name in moments.coordinates if name not in names)
    turns = np.array([is_angle(name) for name in names])
    return StreamingPredictor(leg, muscles, names, coordinates, middle[spanned], turns, moments, window)
