"""Muscle-tendon lengths and moment arms as polynomials of the coordinates.

OpenSim computes a path by wrapping it around surfaces, muscle by muscle and frame by frame: milliseconds per frame, no
gradient. Polynomials of the coordinates (Van den Bogert et al. 2013; Falisse et al. 2019) are evaluated for all muscles
and frames at once in numpy or, differentiably, in torch. They are fitted (:mod:`.path_fit`) to lengths and moment arms
that OpenSim measures in a process of its own, once per model, range and motion, in seconds; the result is cached.

Every fit is compared with the model itself in postures that had no part in it, random ones and the motion's own.

References
----------
van den Bogert, A. J., Geijtenbeek, T., Even-Zohar, O., Steenbrink, F., Hardin, E. C. (2013). A real-time system for
biomechanical analysis of human movement and muscle function. Med. Biol. Eng. Comput. 51, 1069-1077.
Falisse, A., Serrancoli, G., Dembia, C. L., Gillis, J., Jonkers, I., De Groote, F. (2019). Rapid predictive simulations
with complex musculoskeletal models suggest that diverse healthy and pathological human gaits can emerge from similar
control strategies. J. R. Soc. Interface 16, 20190402.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, NEM2EError, did_you_mean
from ..log import logger
from ..storage.atomic import atomic_path, no_results
from ..storage.safe_xml import read_bytes
from .arrays import AnyArray, like, namespace
from .opensim._model_process import MOMENT_ARM_THRESHOLD as MOMENT_ARM_THRESHOLD
from .opensim.processes import run_model_job
from .path_fit import PathGroup, fit_groups, members_of, pack, unpack

Array = NDArray[np.float64]

#: What a fit should reach, RMS over the range (m).
LENGTH_TOLERANCE = 1e-3
MOMENT_ARM_TOLERANCE = 2e-3

#: Ranges reach at least this far beyond the motion and end at multiples of a step, so that trials share them (rad; m).
_ROTATION_MARGIN, _ROTATION_STEP = np.radians(2.0), np.radians(10.0)
_TRANSLATION_MARGIN, _TRANSLATION_STEP = 0.005, 0.05

#: Postures of a fit and of each of its checks, and rows of the motion that it is told of at most.
_SAMPLES = {"samples": 512, "check_samples": 64}
_MOTION_ROWS = 512

#: Muscles that a warning names at most; the log file has all.
_MOST_TOLD = 5

#: Part of the cache's key: raise it when the fit or the format changes.
_FORMAT = 2


@dataclass(frozen=True, eq=False)
class MusclePaths:
    """Fitted paths of a model's muscles.

    Parameters
    ----------
    muscles : tuple of str
        The muscles.
    coordinates : tuple of str
        The coordinates that any of them spans.
    ranges : numpy.ndarray, shape (coordinates, 2)
        Lowest and highest value of the fit (rad or m).
    length_error : numpy.ndarray, shape (muscles,)
        RMS over random postures within the ranges that had no part in the fit (m).
    moment_arm_error : numpy.ndarray, shape (muscles,)
        The same for the moment arms, of the worst coordinate (m).
    motion_errors : numpy.ndarray, shape (2, muscles)
        Both over frames of the motion that the fit was made for (m); NaN if it was made without one.
    jumps : numpy.ndarray, shape (muscles,)
        Fraction of the fit's postures beyond a jump of the path in the model itself; the fit leaves them out.
    """

    muscles: tuple[str, ...]
    coordinates: tuple[str, ...]
    ranges: Array
    length_error: Array
    moment_arm_error: Array
    motion_errors: Array
    jumps: Array
    _groups: tuple[PathGroup, ...]

    @property
    def groups(self) -> tuple[PathGroup, ...]:
        """The polynomials, of muscles that span the same coordinates each."""
        return self._groups

    @property
    def spans(self) -> NDArray[np.bool_]:
        """Which muscle spans which coordinate; (muscles, coordinates)."""
        spans = np.zeros((len(self.muscles), len(self.coordinates)), dtype=bool)
        for group in self._groups:
            spans[np.ix_(group.members, group.coordinates)] = True
        return spans

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
        half = _half(self.ranges)
        z = (q - like(self.ranges.mean(axis=1), q)) / like(half, q)
        lengths, arms = [], []
        for group in self._groups:
            length, slopes = group.evaluate(z)
            lengths.append(length)
            own = list(group.coordinates)
            spread = np.zeros((len(own), len(self.coordinates)))
            spread[range(len(own)), own] = -1.0 / half[own]
            arms.append(slopes @ like(spread, q))
        order = members_of(self._groups)
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
                groups.append(PathGroup(group.coordinates, tuple(new for new, _ in kept), group.exponents, *tables))
        errors = self.length_error[old], self.moment_arm_error[old], self.motion_errors[:, old], self.jumps[old]
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


def _half(ranges: Array) -> Array:
    """Return half of each range; 1 where it is a single value."""
    half: Array = 0.5 * np.ptp(ranges, axis=1)
    return np.where(half > 0.0, half, 1.0)


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
        mm), so that trials alike get equal ranges. No further than the model's own range, unless the motion
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
    motion: tuple[Sequence[str], Array] | None = None,
    cache_directory: str | os.PathLike[str] | None = None,
) -> MusclePaths:
    """Fit the paths of a model's muscles, or take the fit from the cache.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    ranges : mapping of str to (float, float)
        Range of every coordinate that a muscle spans (rad, m); see :func:`coordinate_ranges`. Others do not matter.
    motion : (sequence of str, numpy.ndarray), optional
        Coordinates and their values ``(rows, coordinates)`` (rad, m). The fit is then made with half of its postures
        about these, where it comes nearer to the model than anywhere in the range.
    cache_directory : str or os.PathLike, optional
        Where fits are kept; the user's cache folder by default (:func:`default_cache`). A fit is found again by the
        content of the model file, the ranges, the motion and the settings of the fit.

    Returns
    -------
    MusclePaths
        The paths. What is less exact than 1 mm in length or 2 mm in a moment arm, or jumps, is named in the log.

    Raises
    ------
    opensim_nem2e.errors.OpenSimRunError
        OpenSim could not measure the paths.
    opensim_nem2e.errors.ModelError
        A range is missing, or no muscle spans a coordinate.
    opensim_nem2e.errors.MissingFileError
        There is no such model.
    """
    folder = default_cache() if cache_directory is None else Path(cache_directory)
    model = hashlib.sha256(read_bytes(model_file, "model")).hexdigest()
    # How far the body as a whole has moved shall not part fits: only coordinates that muscles span are part of the key.
    known = _read_cache(folder / f"crossed_{model}_{_FORMAT}.npz")
    samples: Mapping[str, np.ndarray] = {}
    if known is None or "crossed" not in known:
        samples = _measure(model_file, ranges, motion)
        known = {"crossed": samples["crossed"]}
        _keep(folder / f"crossed_{model}_{_FORMAT}.npz", known)
    crossed = tuple(str(name) for name in known["crossed"])
    _require(model_file, crossed, ranges, motion)

    settings = {**_SAMPLES, "ranges": {name: list(ranges[name]) for name in crossed}}
    digest = hashlib.sha256(json.dumps([model, settings, _FORMAT], sort_keys=True).encode())
    if motion is not None:
        columns = [list(motion[0]).index(name) for name in crossed]
        digest.update(np.ascontiguousarray(_some_rows(motion[1])[:, columns]).tobytes())
    file = folder / f"paths_{digest.hexdigest()}.npz"
    paths = None if samples else _load(file)
    if paths is None:
        paths = _fit(samples or _measure(model_file, ranges, motion), ranges)
        _keep(file, _arrays(paths))
    _say(paths)
    return paths


def default_cache() -> Path:
    """Return the folder in which fits are kept.

    Returns
    -------
    pathlib.Path
        The environment variable ``OPENSIM_NEM2E_CACHE``, or ``opensim_nem2e`` where the system keeps the user's caches
        (``XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS; ``LOCALAPPDATA`` on Windows).
    """
    chosen = os.environ.get("OPENSIM_NEM2E_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("opensim_nem2e", appauthor=False)


def _require(
    model_file: str | os.PathLike[str],
    crossed: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    motion: tuple[Sequence[str], Array] | None,
) -> None:
    """Refuse what no fit can be made of."""
    where = os.fspath(model_file)
    if not crossed:
        raise ModelError(f"{where}: no muscle spans a coordinate; there are no paths to fit.")
    missing = sorted(set(crossed) - set(ranges))
    if missing:
        raise ModelError(f"{where}: muscles span {', '.join(missing)}, but there is no range for them.")
    reversed_ = [name for name in crossed if not ranges[name][0] <= ranges[name][1]]
    if reversed_:
        found = ", ".join(f"{ranges[name][0]:g} to {ranges[name][1]:g} ({name})" for name in reversed_)
        raise ModelError(f"{where}: a range must not end below its beginning, found {found}.")
    lacking = [] if motion is None else sorted(set(crossed) - set(motion[0]))
    if lacking:
        raise ModelError(f"{where}: the motion must say where {', '.join(lacking)} is, but does not.")


def _some_rows(q: Array) -> Array:
    """Return evenly spread rows, all if they are few."""
    q = np.asarray(q, dtype=float)
    chosen: Array = q[np.linspace(0, len(q) - 1, min(len(q), _MOTION_ROWS)).round().astype(int)]
    return chosen


def _measure(
    model_file: str | os.PathLike[str],
    ranges: Mapping[str, tuple[float, float]],
    motion: tuple[Sequence[str], Array] | None,
) -> dict[str, np.ndarray]:
    """Have OpenSim measure the paths."""
    logger.info("Measuring the muscles' paths, to fit polynomials to them (once per model and motion).")
    request: dict[str, Any] = {**_SAMPLES, "ranges": {name: list(limits) for name, limits in ranges.items()}}
    request["motion"] = None
    if motion is not None:
        request["motion"] = {"coordinates": list(motion[0]), "q": _some_rows(motion[1]).tolist()}
    return run_model_job("sample_paths", model_file, request, progress="Muscle paths")


def _fit(samples: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[float, float]]) -> MusclePaths:
    """Fit polynomials to what OpenSim measured, and measure their errors."""
    muscles = tuple(str(name) for name in samples["muscles"])
    coordinates = tuple(str(name) for name in samples["crossed"])
    limits = np.array([ranges[name] for name in coordinates])
    half = _half(limits)
    z = (samples["q"] - limits.mean(axis=1)) / half
    groups, jumps = fit_groups(z, half, samples["lengths"], samples["moment_arms"])
    nothing = np.zeros(len(muscles))
    paths = MusclePaths(muscles, coordinates, limits, nothing, nothing, np.stack([nothing, nothing]), jumps, groups)
    length, arm = _errors(paths, samples, "box")
    motion = np.stack(_errors(paths, samples, "motion"))
    return replace(paths, length_error=length, moment_arm_error=arm, motion_errors=motion)


def _errors(paths: MusclePaths, samples: Mapping[str, np.ndarray], kind: str) -> tuple[Array, Array]:
    """Return the RMS errors of lengths and, of the worst coordinate, moment arms; each (muscles,)."""
    q = samples[f"{kind}_q"]
    if not len(q):
        unknown = np.full(len(paths.muscles), np.nan)
        return unknown, unknown
    lengths, arms = paths.evaluate(q)
    length_error = np.sqrt(np.mean((lengths - samples[f"{kind}_lengths"]) ** 2, axis=0))
    arm_error = np.sqrt(np.mean((arms - samples[f"{kind}_moment_arms"]) ** 2, axis=0)).max(axis=-1)
    return length_error, arm_error


def _say(paths: MusclePaths) -> None:
    """Say in the log how near the fit is to the model, and where it is not."""
    kinds = [("random postures within the range", paths.length_error, paths.moment_arm_error)]
    if np.isfinite(paths.motion_errors).all():
        kinds.append(("frames of the motion", *paths.motion_errors))
    for where, length, arm in kinds:
        logger.debug(
            "In %s the fitted paths differ from the model's own by at most %.2f mm (%s) in length and %.2f mm (%s) in "
            "a moment arm, RMS.",
            where,
            1e3 * length.max(),
            paths.muscles[int(length.argmax())],
            1e3 * arm.max(),
            paths.muscles[int(arm.argmax())],
        )
    wrong = sorted(paths.inaccurate(), key=lambda name: -paths.moment_arm_error[paths.muscles.index(name)])
    if wrong:
        errors = [
            f"{name} {1e3 * paths.length_error[k]:.2f} and {1e3 * paths.moment_arm_error[k]:.2f}"
            for name, k in ((name, paths.muscles.index(name)) for name in wrong)
        ]
        logger.warning(
            "Muscles whose paths are not fitted well (RMS error of the length and of a moment arm, mm): %s.",
            _first(errors),
        )
    jumping = sorted(np.flatnonzero(paths.jumps).tolist(), key=lambda k: -paths.jumps[k])
    if jumping:
        logger.warning(
            "Muscles whose paths jump in the model itself (share of the postures, which lie beyond the jump and had no "
            "part in the fit): %s.",
            _first([f"{paths.muscles[k]} {max(1.0, 100.0 * paths.jumps[k]):.0f} %" for k in jumping]),
        )


def _first(told: Sequence[str]) -> str:
    """List the worst; all are in the log file."""
    if len(told) > _MOST_TOLD:
        logger.debug("All: %s.", "; ".join(told))
        return f"{'; '.join(told[:_MOST_TOLD])}; and {len(told) - _MOST_TOLD} more"
    return "; ".join(told)


def _read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """Return what an earlier run kept; None if there is nothing, or it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("'%s' cannot be read (%s) and is made anew.", path, error)
        return None


def _load(path: Path) -> MusclePaths | None:
    """Return the fit of an earlier run, if it is there and whole."""
    arrays = _read_cache(path)
    if arrays is None:
        return None
    try:
        kept: dict[str, Any] = {field.name: arrays[field.name] for field in fields(MusclePaths)[:-1]}
        for name in ("muscles", "coordinates"):
            kept[name] = tuple(str(one) for one in kept[name])
        paths = MusclePaths(**kept, _groups=unpack(arrays))
        paths.evaluate(paths.ranges.mean(axis=1))
    except (KeyError, ValueError, IndexError) as error:
        logger.warning("'%s' cannot be read (%s) and is made anew.", path, error)
        return None
    logger.debug("'%s' holds the fit of an earlier run.", path)
    return paths


def _arrays(paths: MusclePaths) -> dict[str, np.ndarray]:
    own = {field.name: np.array(getattr(paths, field.name)) for field in fields(MusclePaths)[:-1]}
    return {**own, **pack(paths._groups)}


def _keep(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep an answer for later runs; a cache that cannot be written costs time, not the run."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with no_results(), atomic_path(path) as temporary:
            np.savez_compressed(temporary, **dict(arrays))  # type: ignore[arg-type]
    except (OSError, NEM2EError) as error:
        logger.warning("The fitted paths cannot be kept in '%s' (%s): they will be fitted again.", path.parent, error)
