"""Muscle-tendon lengths and moment arms as polynomials of the coordinates.

OpenSim computes a path by wrapping it around surfaces, muscle by muscle and frame by frame: milliseconds per frame, no
gradient. Its own ``PolynomialPathFitter`` fits a polynomial to the lengths and moment arms of each path (Van den Bogert
et al. 2013; Falisse et al. 2019). Here it is run once per model and range of motion, in a process of its own; the
result is cached, and evaluated for all muscles and frames at once in numpy or, differentiably, in torch. The moment arm
is the negative derivative of the length, as in OpenSim's ``FunctionBasedPath`` (see ``_group`` for what has none).

Every fit is compared with the model itself in random postures that had no part in it; the errors are kept per muscle.

References
----------
van den Bogert, A. J., Geijtenbeek, T., Even-Zohar, O., Steenbrink, F., Hardin, E. C. (2013). A real-time system for
biomechanical analysis of human movement and muscle function. Med. Biol. Eng. Comput. 51, 1069-1077.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, did_you_mean
from ..log import logger
from ..storage.atomic import atomic_path
from ..storage.safe_xml import read_bytes
from .arrays import AnyArray, like, namespace
from .opensim._model_process import MOMENT_ARM_THRESHOLD as MOMENT_ARM_THRESHOLD
from .opensim.processes import run_model_job

Array = NDArray[np.float64]

#: What a fit should reach, RMS over the range (m).
LENGTH_TOLERANCE = 1e-3
MOMENT_ARM_TOLERANCE = 2e-3

#: Ranges reach at least this far beyond the motion and end at multiples of a step, so that trials share them (rad; m).
_ROTATION_MARGIN, _ROTATION_STEP = np.radians(2.0), np.radians(10.0)
_TRANSLATION_MARGIN, _TRANSLATION_STEP = 0.005, 0.05

#: What the fitter is asked for. Its tolerances are tighter than the promise: it raises the order until they are met.
_FIT = {
    "samples": 300,
    "check_samples": 100,
    "maximum_order": 6,
    "length_tolerance": 2e-4,
    "moment_arm_tolerance": 5e-4,
}

#: Part of the cache's key: raise it when the fit or the format changes.
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class _Group:
    """Muscles that depend on the same coordinates share their monomials."""

    coordinates: tuple[int, ...]
    members: tuple[int, ...]
    exponents: NDArray[np.int64]  # (terms, coordinates)
    lengths: Array  # coefficients of the lengths, (terms, members)
    slopes: Array  # coefficients whose negative derivative is the moment arm; nearly always the same


@dataclass(frozen=True, eq=False)
class MusclePaths:
    """Fitted paths of a model's muscles.

    Parameters
    ----------
    muscles : tuple of str
        The muscles.
    coordinates : tuple of str
        The coordinates that turn any of them.
    ranges : numpy.ndarray, shape (coordinates, 2)
        Lowest and highest value of the fit (rad or m).
    length_error : numpy.ndarray, shape (muscles,)
        RMS over random postures within the ranges that had no part in the fit (m).
    moment_arm_error : numpy.ndarray, shape (muscles,)
        The same for the moment arms, of the worst coordinate (m).
    """

    muscles: tuple[str, ...]
    coordinates: tuple[str, ...]
    ranges: Array
    length_error: Array
    moment_arm_error: Array
    _groups: tuple[_Group, ...]

    def evaluate(self, q: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Return lengths and moment arms.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            The coordinates, in the order of ``coordinates`` (rad or m).

        Returns
        -------
        lengths : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Muscle-tendon lengths (m).
        moment_arms : numpy.ndarray or torch.Tensor, shape (..., muscles, coordinates)
            m (dimensionless for a translation); positive where the muscle's pull raises the coordinate.
        """
        xp = namespace(q)
        lengths, arms = [], []
        for group in self._groups:
            length, slopes = _polynomial(q, group)
            lengths.append(length)
            spread = np.zeros((len(group.coordinates), len(self.coordinates)))
            spread[range(len(group.coordinates)), group.coordinates] = -1.0
            arms.append(slopes @ like(spread, q))
        order = np.argsort([member for group in self._groups for member in group.members]).tolist()
        return xp.concatenate(lengths, -1)[..., order], xp.concatenate(arms, -2)[..., order, :]

    def velocities(self, moment_arms: AnyArray, qdot: AnyArray) -> AnyArray:
        """Return the muscle-tendon velocities.

        Parameters
        ----------
        moment_arms : numpy.ndarray or torch.Tensor, shape (..., muscles, coordinates)
            From :meth:`evaluate`.
        qdot : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            The coordinates' speeds (rad/s or m/s).

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            m/s, positive when lengthening.
        """
        return -(moment_arms @ qdot[..., None])[..., 0]

    def outside(self, q: AnyArray) -> AnyArray:
        """Tell where coordinates leave the fitted range; there the polynomials mean nothing.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            The coordinates (rad or m).

        Returns
        -------
        numpy.ndarray or torch.Tensor of bool, shape (..., coordinates)
            True where the value is below or above the range.
        """
        ranges = like(self.ranges, q)
        return (q < ranges[:, 0]) | (q > ranges[:, 1])

    def of(self, muscles: Iterable[str]) -> MusclePaths:
        """Return the paths of some muscles.

        Parameters
        ----------
        muscles : iterable of str
            The muscles wanted, in the order wanted.

        Returns
        -------
        MusclePaths
            With the same coordinates.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            There is no such muscle.
        """
        wanted = tuple(muscles)
        for muscle in wanted:
            if muscle not in self.muscles:
                raise ModelError(f"There is no path of a muscle '{muscle}'.{did_you_mean(muscle, self.muscles)}")
        old = [self.muscles.index(muscle) for muscle in wanted]
        groups = []
        for group in self._groups:
            kept = [(new, group.members.index(number)) for new, number in enumerate(old) if number in group.members]
            if kept:
                columns = [column for _, column in kept]
                tables = group.lengths[:, columns], group.slopes[:, columns]
                groups.append(_Group(group.coordinates, tuple(new for new, _ in kept), group.exponents, *tables))
        errors = self.length_error[old], self.moment_arm_error[old]
        return MusclePaths(wanted, self.coordinates, self.ranges, *errors, tuple(groups))

    def inaccurate(self) -> tuple[str, ...]:
        """Return the muscles whose fit is worse than 1 mm in length or 2 mm in a moment arm (RMS).

        Returns
        -------
        tuple of str
            Usually those whose path jumps within the range in the model itself, where it slips off a wrapping surface.
        """
        worse = (self.length_error >= LENGTH_TOLERANCE) | (self.moment_arm_error >= MOMENT_ARM_TOLERANCE)
        return tuple(muscle for muscle, bad in zip(self.muscles, worse, strict=True) if bad)


def _polynomial(q: Any, group: _Group) -> tuple[Any, Any]:
    """Return lengths (..., members) and their derivatives (..., members, coordinates of the group)."""
    xp = namespace(q)
    if not group.coordinates:
        lengths = q[..., :1] * 0.0 + like(group.lengths, q)[0]
        return lengths, xp.zeros_like(lengths)[..., None][..., :0]
    highest = int(group.exponents.max(initial=0))
    values, rates = [], []
    for place, coordinate in enumerate(group.coordinates):
        x = q[..., coordinate]
        powers = [xp.ones_like(x)]
        for _ in range(highest):
            powers.append(powers[-1] * x)
        derivatives = [xp.zeros_like(x), *(exponent * power for exponent, power in enumerate(powers[:-1], start=1))]
        exponents = group.exponents[:, place]
        values.append(xp.stack(powers, -1)[..., exponents])
        rates.append(xp.stack(derivatives, -1)[..., exponents])
    count = len(values)
    slopes = [
        math.prod([rates[j] if i == j else values[j] for j in range(count)]) @ like(group.slopes, q)
        for i in range(count)
    ]
    return math.prod(values) @ like(group.lengths, q), xp.stack(slopes, -1)


def coordinate_ranges(
    names: Sequence[str], q: Array, rotational: Sequence[bool] | NDArray[np.bool_], limits: Array
) -> dict[str, tuple[float, float]]:
    """Return the ranges over which paths should be fitted for a motion.

    Parameters
    ----------
    names : sequence of str
        The coordinates.
    q : numpy.ndarray, shape (rows, coordinates)
        The motion (rad, m).
    rotational : sequence of bool
        Which coordinates are rotations.
    limits : numpy.ndarray, shape (coordinates, 2)
        The model's own range of each coordinate (rad, m): beyond it, as in a knee bent forward, paths slip off their
        wrapping surfaces.

    Returns
    -------
    dict of str to (float, float)
        From the motion's lowest to its highest value, at least 2 degrees (5 mm) more, widened to full 10 degrees (50
        mm): trials alike get equal ranges and share their fit. No further than the model's own range, unless the motion
        itself leaves it.
    """
    ranges = {}
    for name, values, turns, (lowest, highest) in zip(names, q.T, rotational, limits, strict=True):
        margin, step = (_ROTATION_MARGIN, _ROTATION_STEP) if turns else (_TRANSLATION_MARGIN, _TRANSLATION_STEP)
        low, high = np.floor((values.min() - margin) / step) * step, np.ceil((values.max() + margin) / step) * step
        low, high = max(low, min(lowest, values.min())), min(high, max(highest, values.max()))
        ranges[name] = (float(low), float(high))
    return ranges


def fit_paths(
    model_file: str | os.PathLike[str],
    ranges: Mapping[str, tuple[float, float]],
    *,
    cache_directory: str | os.PathLike[str] | None = None,
) -> MusclePaths:
    """Fit the paths of a model's muscles, or take the fit from the cache.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    ranges : mapping of str to (float, float)
        Range of every coordinate that a muscle turns (rad, m); see :func:`coordinate_ranges`. Others do not matter.
    cache_directory : str or os.PathLike, optional
        Where fits are kept; the user's cache folder by default (:func:`default_cache`). A fit is found again by the
        content of the model file, the ranges and the settings of the fit.

    Returns
    -------
    MusclePaths
        The paths. What is less exact than 1 mm in length or 2 mm in a moment arm is named in the log.

    Raises
    ------
    opensim_nem2e.errors.OpenSimRunError
        OpenSim could not fit the paths (for example, a muscle that crosses more than six coordinates).
    opensim_nem2e.errors.ModelError
        A range is missing.
    opensim_nem2e.errors.MissingFileError
        There is no such model.
    """
    folder = default_cache() if cache_directory is None else Path(cache_directory)
    model = hashlib.sha256(read_bytes(model_file, "model")).hexdigest()
    # First which coordinates matter: how far the body as a whole has moved shall not part trials of the same gait.
    crossed = _cached(folder / f"crossed_{model}_{_FORMAT}.npz", "crossed_coordinates", model_file, {})["coordinates"]
    missing = sorted(set(crossed.tolist()) - set(ranges))
    if missing:
        raise ModelError(f"{os.fspath(model_file)}: muscles turn {', '.join(missing)}, but there is no range for them.")
    settings = {**_FIT, "ranges": {name: list(ranges[name]) for name in crossed.tolist()}}
    digest = hashlib.sha256(json.dumps([model, settings, _FORMAT], sort_keys=True).encode()).hexdigest()
    answer = _cached(folder / f"paths_{digest}.npz", "fit_paths", model_file, settings)
    paths = _assemble(answer, ranges)
    logger.info(
        "They differ from the model's own paths, in %d postures outside the fit, by at most %.2f mm (%s) in length "
        "and %.2f mm (%s) in a moment arm, RMS.",
        len(answer["q"]),
        1e3 * paths.length_error.max(),
        paths.muscles[int(paths.length_error.argmax())],
        1e3 * paths.moment_arm_error.max(),
        paths.muscles[int(paths.moment_arm_error.argmax())],
    )
    for muscle in paths.inaccurate():
        number = paths.muscles.index(muscle)
        logger.warning(
            "The path of %s is not fitted well: %.2f mm in length, %.2f mm in a moment arm (RMS). It may jump in "
            "the model itself.",
            muscle,
            1e3 * paths.length_error[number],
            1e3 * paths.moment_arm_error[number],
        )
    return paths


def default_cache() -> Path:
    """Return the folder in which fits are kept.

    Returns
    -------
    pathlib.Path
        The environment variable ``OPENSIM_NEM2E_CACHE``, or ``opensim_nem2e`` in the user's cache folder as the system
        has it (``XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS; ``LOCALAPPDATA`` on Windows).
    """
    chosen = os.environ.get("OPENSIM_NEM2E_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "opensim_nem2e"


def _cached(
    path: Path, job: str, model_file: str | os.PathLike[str], request: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Take a job's answer from a file, or do the job and keep the answer."""
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                answer = dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("'%s' cannot be read (%s) and is made anew.", path, error)
        else:
            logger.debug("'%s' holds the answer of an earlier run.", path)
            return answer
    if job == "fit_paths":
        logger.info(
            "Fitting polynomials to the muscles' paths of '%s' (once per model and range of motion; minutes for large "
            "models).",
            model_file,
        )
    answer = run_model_job(job, model_file, {**request, "threads": _processors()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **answer)  # type: ignore[arg-type]
    return answer


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _assemble(answer: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[float, float]]) -> MusclePaths:
    """Group muscles by their coordinates, and measure the errors."""
    muscles = tuple(str(name) for name in answer["muscles"])
    coordinates = tuple(str(name) for name in answer["coordinates"])
    limits = np.array([ranges[name] for name in coordinates])
    by_coordinates: dict[tuple[int, ...], list[int]] = {}
    for number in range(len(muscles)):
        by_coordinates.setdefault(tuple(answer[f"terms_{number}"].tolist()), []).append(number)
    groups = tuple(_group(columns, members, answer) for columns, members in by_coordinates.items())
    nothing = np.zeros(len(muscles))
    paths = MusclePaths(muscles, coordinates, limits, nothing, nothing, groups)
    lengths, arms = paths.evaluate(answer["q"])
    length_error = np.sqrt(np.mean((lengths - answer["lengths"]) ** 2, axis=0))
    arm_error = np.sqrt(np.mean((arms - answer["moment_arms"]) ** 2, axis=0)).max(axis=-1)
    return replace(paths, length_error=length_error, moment_arm_error=arm_error)


def _group(columns: tuple[int, ...], members: Sequence[int], answer: Mapping[str, np.ndarray]) -> _Group:
    """Put muscles that depend on the same coordinates together.

    In a few muscles of real models OpenSim's moment arm is not the derivative of its length (the lateral gastrocnemius
    of Rajagopal's model: 9 mm apart): no single polynomial can be both. Where the common fit misses the length for that
    reason, a second polynomial, fitted to the lengths alone, gives the length.
    """
    orders = [int(answer[f"order_{number}"]) for number in members]
    exponents = _exponents(len(columns), max(orders))
    place = {tuple(row): index for index, row in enumerate(exponents.tolist())}
    slopes = np.zeros((len(exponents), len(members)))
    for column, (number, order) in enumerate(zip(members, orders, strict=True)):
        rows = [place[tuple(row)] for row in _exponents(len(columns), order).tolist()]
        slopes[rows, column] = answer[f"coefficients_{number}"]
    terms = np.prod(answer["fit_q"][:, np.newaxis, list(columns)] ** exponents, axis=-1)
    measured = answer["fit_lengths"][:, list(members)]
    missed = np.sqrt(np.mean((terms @ slopes - measured) ** 2, axis=0)) > 0.5 * LENGTH_TOLERANCE
    alone = np.linalg.lstsq(terms, measured, rcond=None)[0]
    return _Group(columns, tuple(members), exponents, np.where(missed, alone, slopes), slopes)


def _exponents(dimension: int, order: int) -> NDArray[np.int64]:
    """Return the exponents of OpenSim's MultivariatePolynomialFunction in its order; (terms, dimension)."""
    rows = [row for row in product(range(order + 1), repeat=dimension) if sum(row) <= order]
    return np.array(rows, dtype=np.int64).reshape(len(rows), dimension)
