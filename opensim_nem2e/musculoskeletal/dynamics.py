"""Which joint torques a motion needs, and which ones the muscles give: OpenSim's inverse dynamics and a Hill model.

Judging activations by the torques they make has a trap. A muscle with an elastic tendon carries the force that its
tendon's stretch says; with the fiber lengths of the results file kept, another activation changes that force by exactly
nothing, and every check passes. Here all activations of a trial are judged by one method that does not use those
lengths: muscles with a rigid tendon (:mod:`opensim_nem2e.musculoskeletal.hill`), whose force is linear in the
activation. It is not the muscle that CMC simulated. So its torque for CMC's own activations differs from inverse
dynamics, too, and what a refinement changed is the difference between the refined and CMC's activations, both by this
method.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, StorageError, did_you_mean
from ..log import logger
from ..storage.labels import find_state_label
from ..storage.osim import OsimModel, read_model
from ..storage.sto import TimeSeries, write_storage
from .hill import HillMuscles
from .opensim.processes import run_model_job
from .paths import MusclePaths, coordinate_ranges, fit_paths

Array = NDArray[np.float64]

#: Rows are taken as evenly spaced if no step differs from the median by more than this fraction of it.
_EVEN = 0.05

#: Uneven rows (CMC's states) are thinned to steps of at least the first and interpolated to steps of the second (s).
_THINNED, _EVEN_STEP = 1e-3, 5e-3

#: OpenSim filters all of the motion that it is given. What is further than this from the time wanted (s) changes the
#: filter's output there by less than rounding does.
_AROUND = 2.0

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
class Motion:
    """A motion and the generalised forces that it needs.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    coordinates : tuple of str
        The model's coordinates.
    rotational, movable : tuple of bool
        Which of them are rotations, and which are neither locked nor follow others.
    given : tuple of bool
        Which of them the kinematics tell; others are at the model's default, and what they need means nothing.
    limits : numpy.ndarray, shape (coordinates, 2)
        The model's range of each coordinate (rad or m).
    q, qdot : numpy.ndarray, shape (rows, coordinates)
        Values and speeds (rad, rad/s; m, m/s), filtered as for inverse dynamics.
    torques : numpy.ndarray, shape (rows, coordinates)
        Inverse dynamics, external loads included (Nm; N for translations).
    """

    time: Array
    coordinates: tuple[str, ...]
    rotational: tuple[bool, ...]
    movable: tuple[bool, ...]
    given: tuple[bool, ...]
    limits: Array
    q: Array
    qdot: Array
    torques: Array


def analyse_motion(
    model_file: str | os.PathLike[str],
    kinematics: TimeSeries,
    external_loads_file: str | os.PathLike[str] | None = None,
    *,
    lowpass: float = 6.0,
    start: float = float("-inf"),
    end: float = float("inf"),
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
        Cut-off of the low-pass filter for the coordinates (Hz); negative: none.
    start, end : float, optional
        The time wanted (s).

    Returns
    -------
    Motion
        At the rows of the (interpolated) kinematics.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The kinematics have no column for any coordinate or no rows in the time wanted, or OpenSim failed.
    """
    series = _even(_coordinates_of(kinematics, read_model(model_file)))
    told = set(series.labels)
    start, end = max(start, float(series.time[0])), min(end, float(series.time[-1]))
    if not start < end:
        raise StorageError(
            f"The motion must cover the time wanted, but it covers {series.time[0]:.4f} to {series.time[-1]:.4f} s.",
            kinematics.path,
        )
    near = (series.time >= start - _AROUND) & (series.time <= end + _AROUND)
    series = replace(series, time=series.time[near], data=series.data[near])
    with tempfile.TemporaryDirectory(prefix="opensim_nem2e_") as scratch:
        coordinates = Path(scratch, "coordinates.sto")
        write_storage(coordinates, series, precision=_PRECISION)
        coupled, forces = Path(scratch, "coupled.sto"), Path(scratch, "inverse_dynamics.sto")
        texts = {
            "model": Path(model_file).absolute(),
            "loads": "" if external_loads_file is None else Path(external_loads_file).absolute(),
            "coordinates": coupled,
            "folder": scratch,
        }
        setup = Path(scratch, "setup_id.xml")
        filled = {key: escape(str(value)) for key, value in texts.items()}
        setup.write_text(_INVERSE_DYNAMICS.format(**filled, start=start, end=end, lowpass=lowpass), encoding="utf-8")
        request = {
            "coordinates_file": str(coordinates),
            "coupled_file": str(coupled),
            "setup_file": str(setup),
            "forces_file": str(forces),
            "lowpass": lowpass,
        }
        logger.info("Running InverseDynamicsTool in a process of its own.")
        found = run_model_job("analyse_motion", model_file, request)
    names = tuple(str(name) for name in found["names"])
    return Motion(
        time=found["time"],
        coordinates=names,
        rotational=tuple(found["rotational"].tolist()),
        movable=tuple(found["movable"].tolist()),
        given=tuple(name in told for name in names),
        limits=found["limits"],
        q=found["q"],
        qdot=found["qdot"],
        torques=found["torques"],
    )


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
    from scipy.interpolate import make_interp_spline

    kept = [0]
    for row, time in enumerate(series.time):
        if time - series.time[kept[-1]] >= _THINNED:
            kept.append(row)
    first, last = series.time[0] / _EVEN_STEP, series.time[kept[-1]] / _EVEN_STEP
    grid = np.arange(np.ceil(first), np.floor(last) + 1) * _EVEN_STEP
    spline = make_interp_spline(series.time[kept], series.data[kept], k=min(5, len(kept) - 1))
    return replace(series, time=grid, data=spline(grid))


@dataclass(frozen=True, eq=False)
class TorqueTerms:
    """What joint torques are made of when tendons are rigid: linear in the activations, row by row.

    ``torque = moment_arms^T (active * activation + passive)``. The matrix of that linear map (:attr:`gain`), the
    passive torques and ``inverse_dynamics`` are what a redistribution of activations needs.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    muscles, coordinates : tuple of str
        The muscles, and the coordinates looked at.
    active : numpy.ndarray, shape (rows, muscles)
        Force along the tendon per unit of activation (N): it holds the force-length and force-velocity curves.
    passive : numpy.ndarray, shape (rows, muscles)
        Force along the tendon without activation (N).
    moment_arms : numpy.ndarray, shape (rows, muscles, coordinates)
        m.
    inverse_dynamics : numpy.ndarray, shape (rows, coordinates)
        The torque that the motion needs (Nm).
    outside : numpy.ndarray of bool, shape (rows,)
        Rows in which a coordinate leaves the range of the fitted paths; their numbers mean nothing.
    """

    time: Array
    muscles: tuple[str, ...]
    coordinates: tuple[str, ...]
    active: Array
    passive: Array
    moment_arms: Array
    inverse_dynamics: Array
    outside: NDArray[np.bool_]

    def of(self, coordinates: Sequence[str]) -> TorqueTerms:
        """Return the terms of some coordinates.

        Parameters
        ----------
        coordinates : sequence of str
            Some of :attr:`coordinates`.

        Returns
        -------
        TorqueTerms
            In the order asked for.
        """
        columns = [self.coordinates.index(name) for name in coordinates]
        arms, needed = self.moment_arms[..., columns], self.inverse_dynamics[:, columns]
        return replace(self, coordinates=tuple(coordinates), moment_arms=arms, inverse_dynamics=needed)

    @property
    def gain(self) -> Array:
        """Torque per unit of each activation (Nm); (rows, coordinates, muscles)."""
        return np.swapaxes(self.moment_arms * self.active[..., np.newaxis], -1, -2)

    @property
    def passive_torque(self) -> Array:
        """Torque without activation (Nm); (rows, coordinates)."""
        return np.einsum("rmc,rm->rc", self.moment_arms, self.passive)

    def torques(self, activations: Array) -> Array:
        """Return the torques that activations make.

        Parameters
        ----------
        activations : numpy.ndarray, shape (rows, muscles)
            0..1, at :attr:`time`.

        Returns
        -------
        numpy.ndarray, shape (rows, coordinates)
            Nm.
        """
        return np.einsum("rmc,rm->rc", self.moment_arms, self.active * activations + self.passive)


def torque_terms(
    model_file: str | os.PathLike[str],
    motion: Motion,
    *,
    muscles: Iterable[str] | None = None,
    coordinates: Sequence[str] = (),
    cache_directory: str | os.PathLike[str] | None = None,
) -> TorqueTerms:
    """Evaluate muscles with rigid tendons over a motion.

    Parameters
    ----------
    model_file : str or os.PathLike
        The model.
    motion : Motion
        Its motion, from :func:`analyse_motion`.
    muscles : iterable of str, optional
        The muscles; all of the model by default.
    coordinates : sequence of str, optional
        The coordinates; by default all rotations that a muscle turns, that the motion tells and
        that are not locked.
    cache_directory : str or os.PathLike, optional
        Where the fitted paths are kept (:func:`opensim_nem2e.musculoskeletal.paths.fit_paths`).

    Returns
    -------
    TorqueTerms
        Force and torque terms of every row.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A muscle or coordinate is not the model's, or no muscle turns it.
    opensim_nem2e.errors.OpenSimRunError
        OpenSim could not fit the paths.
    """
    hill = HillMuscles.from_model(read_model(model_file), muscles)
    ranges = coordinate_ranges(motion.coordinates, motion.q, motion.rotational, motion.limits)
    spoken = (motion.coordinates, motion.q)
    paths = fit_paths(model_file, ranges, motion=spoken, cache_directory=cache_directory).of(hill.names)
    chosen = _choose(paths, motion, coordinates)
    columns = [motion.coordinates.index(name) for name in paths.coordinates]
    q = motion.q[:, columns]
    lengths, arms = paths.evaluate(q)
    active, passive = hill.rigid_terms(lengths, paths.velocities(arms, motion.qdot[:, columns]))
    return TorqueTerms(
        time=motion.time,
        muscles=hill.names,
        coordinates=tuple(chosen),
        active=active,
        passive=passive,
        moment_arms=arms[..., [paths.coordinates.index(name) for name in chosen]],
        inverse_dynamics=motion.torques[:, [motion.coordinates.index(name) for name in chosen]],
        outside=paths.outside(q).any(axis=-1),
    )


def _choose(paths: MusclePaths, motion: Motion, wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in paths.coordinates:
            why = "no muscle turns it" if name in motion.coordinates else "there is none of that name"
            hint = did_you_mean(name, paths.coordinates)
            raise ModelError(f"Torques of the coordinate '{name}' cannot be computed: {why}.{hint}")
    each = zip(motion.coordinates, motion.rotational, motion.movable, motion.given, strict=True)
    free = {name for name, turns, moves, told in each if turns and moves and told}
    return list(wanted) or [name for name in paths.coordinates if name in free]
