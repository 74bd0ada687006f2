"""Ground reactions and other loads, looked at before OpenSim takes them: are they of this model and this motion?"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CycleError, LabelError, ModelError, StorageError, did_you_mean
from ..log import logger
from ..signals.events import foot_side, is_foot
from ..signals.force_quality import OFFSET, WORDS, free_level
from ..signals.resample import interpolate
from ..storage.external_loads import ExternalForce, read_external_loads, require_forces
from ..storage.osim import OsimModel
from ..storage.sto import TimeSeries, read_storage, write_storage

Array = NDArray[np.float64]

#: Below this share of its largest value a force is too small for its point to mean anything; and in N.
_LOADED_SHARE, _LOADED = 0.2, 20.0

#: What a plate may hold, as a share of its largest force, where point and torque are missing.
_NOTHING = 0.05

#: A ground reaction acts at most so far from the origin of its body (m): an adult's foot has 0.3 m from heel to toes.
#: Motions and plates are out of line by centimeters; a point that is given on the body itself is not.
_REACH, _OWN_REACH = 0.6, 0.4

#: The point is under the other foot if it is this much nearer to it, and at least so far from its own (m).
_NEARER, _APART = 0.5, 0.2

#: The ground is not so far above a foot's origin (m).
_ABOVE = 0.15

#: Nor so far below it: the heel's origin is 0.02 to 0.1 m above the ground while a foot carries (m).
_BELOW = 0.2

#: By so much a motion may leave its loads (s).
_BEYOND = 0.05

#: Forces are compared with the motion where they carry the first share of the weight, in at least so many rows and for
#: so long (s), and only if they leave less than the second share of it to the pelvis there. In shorter pieces of the 22
#: recordings chance looked like exchanged axes, in up to 7 % of them.
_CARRIES, _FEWEST_ROWS, _CARRIED_FOR, _CARRIED_WITHIN = 0.5, 10, 0.5, 0.3

#: Horizontal forces that are larger than this share of the weight tell their direction. Their correlation with what the
#: motion needs was 0.45 to 1 in 22 recordings of walking, turning and running; below the first number they point the
#: other way, and from the second on, if their own is below the third, they are another axis's.
_HORIZONTAL = 0.01
_REVERSED, _ANOTHERS, _NOT_OWN = -0.5, 0.7, 0.3

#: Loads are shifted against the motion by up to so much, in such steps (s). A shift is reported from the third number
#: on, if it brings what they leave over below the fourth, a share. In the 22 recordings it fell to 0.8 at best.
_SHIFTS, _SHIFT_STEP, _LEAST_SHIFT, _SHIFTED_SHARE = 0.15, 0.005, 0.02, 0.6

#: Only loads are shifted that carry the body but for this share of its weight on an average; others find the best fit
#: where a step is missing.
_COMPLETE = 0.07

#: Points where a foot's forces act are out of line if the moments that they leave to the pelvis are the forces times
#: more than this (m). In the 22 recordings it was 0.034 at most.
_OUT_OF_LINE = 0.05

#: A free moment is a few hundredths of the force (m); above this the unit is Nmm, or it is the plate's own moment.
_LEVER = 1.0


@dataclass(frozen=True, eq=False)
class Load:
    """One force, with what it was at the rows of its file.

    Parameters
    ----------
    force : ExternalForce
        What the file of external loads says of it.
    time : numpy.ndarray, shape (rows,)
        s.
    vector, point, torque : numpy.ndarray, shape (rows, 3)
        N, m and Nm; zeros where there is no such column.
    """

    force: ExternalForce
    time: Array
    vector: Array
    point: Array
    torque: Array

    @property
    def body(self) -> str:
        """The body's name, without its path."""
        return self.force.applied_to_body.rsplit("/", 1)[-1]

    @property
    def point_frame(self) -> str:
        """The name of the frame that the point is expressed in."""
        return self.force.point_expressed_in_body.rsplit("/", 1)[-1]


@dataclass(frozen=True, eq=False)
class Loads:
    """The loads of a motion.

    Parameters
    ----------
    path : pathlib.Path
        The file that the user gave.
    opensim_path : pathlib.Path
        What OpenSim is to read: the same, or a copy in which values that mean nothing were filled in.
    loads : tuple of Load
        The forces that are on.
    """

    path: Path
    opensim_path: Path
    loads: tuple[Load, ...]

    @property
    def bodies(self) -> tuple[str, ...]:
        """The bodies that they act on, each once."""
        return tuple(dict.fromkeys(load.body for load in self.loads))

    @property
    def span(self) -> tuple[float, float]:
        """First and last time at which all of them are known (s)."""
        return max(load.time[0] for load in self.loads), min(load.time[-1] for load in self.loads)

    def refuse_another_time(self, start: float, end: float) -> None:
        """Refuse loads that were not recorded during the motion: OpenSim would make some up.

        Parameters
        ----------
        start, end : float
            The motion (s).

        Raises
        ------
        opensim_nem2e.errors.StorageError
            They have no time in common. If some of the motion is not covered, it is warned of.
        """
        first, last = self.span
        covers = f"The loads cover {first:.4f} to {last:.4f} s"
        if not (first < end and start < last):
            raise StorageError(
                f"{covers}, but the motion is of {start:.4f} to {end:.4f} s: are both of one trial?", self.path
            )
        if start < first - _BEYOND or end > last + _BEYOND:
            logger.warning(
                "%s: %s of the motion's %.4f to %.4f s: joint torques of the rest mean nothing.",
                *(self.path, covers[0].lower() + covers[1:], start, end),
            )

    def refuse_unlike(self, time: Array, left_over: Array, moments: Array, weight: float) -> None:
        """Compare the forces with what the motion needs, by Newton's and Euler's laws.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            The motion (s).
        left_over : numpy.ndarray, shape (rows, 3)
            What the forces leave to the translations of the pelvis (N), the second upwards; NaN where the model's
            pelvis does not move.
        moments : numpy.ndarray, shape (rows, axes)
            What they leave to horizontal rotations of the pelvis (Nm).
        weight : float
            The body's weight (N).

        Raises
        ------
        opensim_nem2e.errors.StorageError
            Along a horizontal axis they point the other way, or the axes are exchanged. A shift in time, and points out
            of line, are warned of.
        """
        if any(load.force.force_expressed_in_body.rsplit("/", 1)[-1] != "ground" for load in self.loads):
            return
        first, last = self.span
        covered = (time >= first) & (time <= last)
        time, left_over, moments = time[covered], left_over[covered], moments[covered]
        total = sum((interpolate(load.time, load.vector, time) for load in self.loads), np.zeros((len(time), 3)))
        needed = left_over + total
        carrying = total[:, 1] > _CARRIES * weight
        long = carrying.sum() >= _FEWEST_ROWS and carrying.mean() * np.ptp(time) >= _CARRIED_FOR
        if not long or not abs(left_over[carrying, 1].mean()) < _CARRIED_WITHIN * weight:
            return
        for axis, other in ((0, 2), (2, 0)):
            wanted, given, others = needed[carrying, axis], total[carrying, axis], total[carrying, other]
            # NaN compares as False.
            if not wanted.std() > _HORIZONTAL * weight:
                continue
            own = float(np.corrcoef(wanted, given)[0, 1]) if given.std() > _HORIZONTAL * weight else 0.0
            if own < _REVERSED:
                raise StorageError(
                    f"The forces along {'xyz'[axis]} point the other way than the motion needs (correlation {own:.2f} "
                    f"while they carry half of the weight; in recordings it is above 0.4). Is that axis reversed, or "
                    "does the subject walk the other way?",
                    self.path,
                )
            tells = others.std() > _HORIZONTAL * weight
            if own < _NOT_OWN and tells and abs(np.corrcoef(wanted, others)[0, 1]) > _ANOTHERS:
                raise StorageError(
                    f"The forces along {'xyz'[other]} are what the motion needs along {'xyz'[axis]}: are these axes "
                    "exchanged, or the forces in another frame?",
                    self.path,
                )
        if moments.shape[1]:
            self._warn_of_places(time[carrying], moments[carrying])
        self._warn_of_shift(time, needed, total)

    def _warn_of_places(self, time: Array, moments: Array) -> None:
        """Warn of feet whose forces leave moments to the pelvis, as those do that act elsewhere; one foot at a time."""
        feet: dict[str, Array] = {}
        for load in self.loads:
            foot = foot_side(load.force.applied_to_body) or load.body
            feet[foot] = feet.get(foot, 0.0) + interpolate(load.time, load.vector[:, 1], time)
        loaded = {
            foot: force
            for foot, force in feet.items()
            if np.count_nonzero(force > _LOADED_SHARE * force.max()) >= _FEWEST_ROWS
        }
        if not loaded:
            return
        levers = np.abs(np.linalg.lstsq(np.column_stack(list(loaded.values())), moments, rcond=None)[0]).max(axis=1)
        if levers.max() > _OUT_OF_LINE:
            logger.warning(
                "%s: the forces leave moments to the pelvis as if they acted elsewhere than the motion needs them "
                "(%s): are plates and motion in the same frame, all axes with the right sign, and does nothing else "
                "act on the body?",
                self.path,
                ", ".join(
                    f"{WORDS.get(foot, foot)}: {100.0 * lever:.0f} cm"
                    for foot, lever in zip(loaded, levers.tolist(), strict=True)
                ),
            )

    def _warn_of_shift(self, time: Array, needed: Array, total: Array) -> None:
        """Warn of loads that would fit the motion much better if they were shifted in time."""
        known = np.isfinite(needed).all(axis=0)
        if not abs(np.mean(needed[:, 1] - total[:, 1])) < _COMPLETE * np.mean(needed[:, 1]):
            return  # a foot was beside the plates
        inner = (time > time[0] + _SHIFTS) & (time < time[-1] - _SHIFTS)
        if inner.sum() < _FEWEST_ROWS or np.ptp(time[inner]) < 2.0 * _SHIFTS:
            return
        count = round(_SHIFTS / _SHIFT_STEP)
        shifts = _SHIFT_STEP * np.arange(-count, count + 1)
        missed = [
            float(np.square(needed[inner] - interpolate(time, total, time[inner] - shift))[:, known].sum())
            for shift in shifts
        ]
        best = int(np.argmin(missed))
        if abs(shifts[best]) >= _LEAST_SHIFT and missed[best] < _SHIFTED_SHARE**2 * missed[count]:
            logger.warning(
                "%s: the loads would fit the motion much better %.3f s %s: do both have the same clock? If not, "
                "torques are wrong.",
                *(self.path, abs(shifts[best]), "later" if shifts[best] > 0.0 else "earlier"),
            )

    def refuse_misplaced(self, time: Array, origins: Array, up: Array) -> None:
        """Refuse ground reactions that do not act on their feet.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            Some times of the motion (s).
        origins : numpy.ndarray, shape (rows, bodies, 3)
            Where the origins of :attr:`bodies` are then (m); NaN for those that the model has under another name.
        up : numpy.ndarray, shape (3,)
            Unit vector against gravity.

        Raises
        ------
        opensim_nem2e.errors.CycleError
            A force acts under another one's body: steps found in it are not those of its foot.
        opensim_nem2e.errors.StorageError
            A force acts farther from its body than a foot is long, or above it, or its torque is none of a foot.
        """
        for load in self.loads:
            size = np.linalg.norm(load.vector, axis=1)
            loaded = size > max(_LOADED_SHARE * size.max(), _LOADED)
            # A harness or an exoskeleton may pull where it likes.
            if not (loaded.any() and is_foot(load.force.applied_to_body)):
                continue
            grounded = load.force.force_expressed_in_body.rsplit("/", 1)[-1] == "ground"
            if grounded and (level := free_level(load.time, load.vector @ up)) <= -OFFSET:
                logger.warning(
                    "%s: the force '%s' is %.3g N while nobody is on its plate: the ground does not pull. Subtract it "
                    "in the file: joint torques are computed with it.",
                    *(self.path, load.force.name, level),
                )
            self._refuse_torque(load, float(np.median(np.linalg.norm(load.torque[loaded], axis=1) / size[loaded])))
            if not load.force.point_identifier:
                logger.warning(
                    "%s: the force '%s' has no <point_identifier>, so that it acts at the origin of '%s'.",
                    *(self.path, load.force.name, load.body),
                )
                continue
            known = (time >= load.time[0]) & (time <= load.time[-1])
            known[known] = interpolate(load.time, loaded.astype(float), time[known]) >= 1.0
            if load.point_frame == load.body:
                away = {load.body: float(np.quantile(np.linalg.norm(load.point[loaded], axis=1), 0.9))}
                self._refuse_distance(load, away, _OWN_REACH)
            elif load.point_frame == "ground" and known.any():
                points = interpolate(load.time, load.point, time[known])
                apart = np.linalg.norm(points[:, None] - origins[known], axis=-1)
                self._refuse_distance(
                    load, dict(zip(self.bodies, np.median(apart, axis=0).tolist(), strict=True)), _REACH
                )
                from_foot = points - origins[known, self.bodies.index(load.body)]
                self._refuse_height(load, float(np.median(from_foot @ up)))

    def _refuse_torque(self, load: Load, lever: float) -> None:
        """Refuse a torque that is so far (m) times its force: no foot's."""
        if lever > _LEVER:
            raise StorageError(
                f"The torque '{load.force.torque_identifier}' of the force '{load.force.name}' must be the free moment "
                f"at its point, in Nm, but is {lever:.3g} m times the force. Is it in Nmm, or the plate's own moment?",
                self.path,
            )

    def _refuse_distance(self, load: Load, away: dict[str, float], reach: float) -> None:
        """Refuse a point that is farther from its foot than it can be, or at another foot; distances (m) by body."""
        own = away.pop(load.body)
        if own > reach:
            raise StorageError(
                f"The force '{load.force.name}' acts {own:.3g} m away from '{load.body}', but a foot has its "
                f"ground reaction within {reach:g} m. Is its point in m, in the frame '{load.point_frame}' and of "
                "this motion, and does each plate's force act on the foot that was on it?",
                self.path,
            )
        nearest = min(filter(is_foot, away), key=lambda name: away[name], default="")
        if nearest and own > _APART and away[nearest] < _NEARER * own:
            raise CycleError(
                f"{self.path}: the force '{load.force.name}' must act on '{load.body}', but acts at '{nearest}': its "
                f"point is {away[nearest]:.2f} m from that and {own:.2f} m from '{load.body}' (medians). Are the "
                "plates assigned to the wrong feet?"
            )

    def _refuse_height(self, load: Load, above: float) -> None:
        """Refuse a point so far above the foot (m), and warn of one too far below: the ground is under the feet."""
        if above > _ABOVE:
            raise StorageError(
                f"The force '{load.force.name}' acts {above:.2g} m above the origin of '{load.body}' (median), but the "
                "ground is below a foot. Are plates and motion in the same frame?",
                self.path,
            )
        if above < -_BELOW:
            logger.warning(
                "%s: the force '%s' acts %.2g m below the origin of '%s' (median), but a foot stands on the ground: "
                "are plates and motion in the same frame? If not, horizontal forces make wrong torques.",
                *(self.path, load.force.name, -above, load.body),
            )


def read_loads(path: str | os.PathLike[str], model: OsimModel, folder: Path) -> Loads:
    """Read external loads as OpenSim will, and say in plain words what it would stumble over.

    Where a plate holds nothing, laboratories leave point and torque empty (``-nan(ind)``); OpenSim's splines would
    spread that over the whole file. Such values are filled in, in a copy.

    Parameters
    ----------
    path : str or os.PathLike
        The ExternalLoads (``.xml``).
    model : OsimModel
        The model that they act on.
    folder : pathlib.Path
        Where a copy is put.

    Returns
    -------
    Loads
        The loads.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file cannot be used; the model lacks a body, the data a column; or a force is missing where it counts.
    """
    require_forces(path)
    tables: dict[Path, TimeSeries] = {}
    filled: dict[Path, Array] = {}
    loads = []
    for force in read_external_loads(path):
        file = force.data_file
        if file not in tables:
            tables[file] = read_storage(file)
        for name in (force.applied_to_body, force.force_expressed_in_body, force.point_expressed_in_body):
            short = name.rsplit("/", 1)[-1]
            if short not in ("ground", *model.frames):
                raise ModelError(
                    f"{os.fspath(path)}: the force '{force.name}' needs the body '{name}', which the model "
                    f"'{model.path.name}' lacks.{did_you_mean(short, model.frames)}"
                )
        series = tables[file]
        data = filled.get(file, series.data)
        vector, point, torque = (
            _columns(series, identifier)
            for identifier in (force.force_identifier, force.point_identifier, force.torque_identifier)
        )
        mended = _filled(data, vector, [*point, *torque], force, path, series)
        if mended is not data:
            filled[file] = mended
        nothing = np.zeros((series.n_rows, 3))
        values = (mended[:, columns] if columns else nothing for columns in (vector, point, torque))
        loads.append(Load(force, series.time, *values))
    used = Path(path).absolute()
    if filled:
        used = _with_copies(used, tables, filled, folder)
    return Loads(Path(path), used, tuple(loads))


def _columns(series: TimeSeries, identifier: str) -> list[int]:
    """Find the three columns of an identifier; OpenSim takes those that begin with it."""
    if not identifier:
        return []
    labels = [f"{identifier}{axis}" for axis in "xyz"]
    begun = [label for label in series.labels if label.startswith(identifier)]
    if not all(series.has(label) for label in labels) and len(begun) == 3:
        labels = begun
    for label in labels:
        if not series.has(label):
            raise LabelError(
                f"There is no column '{label}', which the external loads ask for.{did_you_mean(label, series.labels)}",
                series.path,
            )
    return [series.index(label) for label in labels]


def _filled(
    data: Array,
    vector: Sequence[int],
    others: Sequence[int],
    force: ExternalForce,
    path: str | os.PathLike[str],
    series: TimeSeries,
) -> Array:
    """Fill in points and torques that are missing where the plate holds nothing."""
    columns = [*vector, *others]
    missing = ~np.isfinite(data[:, columns])
    if not missing.any():
        return data
    size = np.linalg.norm(data[:, vector], axis=1)
    bare = size <= _NOTHING * np.nanmax(size, initial=0.0)
    wrong = missing & ~bare[:, None]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise StorageError(
            f"The force '{force.name}' needs a number in every row in which it acts, but '"
            f"{series.labels[columns[column]]}' holds none at {series.time[row]:.4f} s and in {int(wrong.sum()) - 1} "
            "more places.",
            series.path,
        )
    result = np.array(data, dtype=float)
    for column in others:
        there = np.isfinite(result[:, column])
        result[:, column] = np.interp(series.time, series.time[there], result[there, column]) if there.any() else 0.0
    logger.info(
        "%s: point and torque of '%s' are missing in %d rows without force: filled in for OpenSim.",
        os.fspath(path),
        force.name,
        int(missing.any(axis=1).sum()),
    )
    return result


def _with_copies(path: Path, tables: dict[Path, TimeSeries], filled: dict[Path, Array], folder: Path) -> Path:
    """Write filled tables, and loads that name them."""
    from lxml import etree

    from ..errors import SetupError
    from ..storage.safe_xml import parse_xml

    tree = parse_xml(path, error=SetupError, kind="external loads file")
    if len(tables) > 1:
        raise StorageError("Loads of which values are missing must have one data file.", path)
    ((file, series),) = tables.items()
    copy = folder / "loads.sto"
    write_storage(copy, replace(series, data=filled[file]), precision=12)
    for element in tree.getroot().iter("datafile"):
        element.text = str(copy)
    if next(tree.getroot().iter("datafile"), None) is None:
        for element in tree.getroot().iter("data_source_name"):
            element.text = str(copy)
    found = folder / re.sub(r"[^\w.]", "_", path.name)
    found.write_bytes(etree.tostring(tree))
    return found
