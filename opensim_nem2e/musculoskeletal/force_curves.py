"""Force curves of ``Millard2012EquilibriumMuscle`` and ``Thelen2003Muscle``, as OpenSim 4.6 evaluates them.

With the normalised fiber length l and the normalised fiber velocity v (1 is the maximum contraction velocity)::

    Thelen   active   exp(-(l - 1)^2 / KshapeActive)
             passive  (exp(KshapePassive (l - 1) / FmaxMuscleStrain) - 1) / (exp(KshapePassive) - 1), 0 up to l = 1
             velocity with u = v / (0.25 + 0.75 activation) and k = (2 + 2 / Af) / (Flen - 1)
                      shortening  (1 + u) / (1 - u / Af)
                      lengthening (1 + k Flen u) / (1 + k u)
                      0 below u = -1, and a straight line above fv_linear_extrap_threshold Flen
             tendon   with its strain e and e0 = FmaxTendonStrain, toe = 99 e0 exp(3) / (166 exp(3) - 67)
                      0.33 (exp(3 e / toe) - 1) / (exp(3) - 1) up to e = toe, 0 below 0,
                      0.33 + 0.67 (e - toe) / (e0 - toe) above

Millard's curves are C-shaped corners put together, each a quintic Bezier curve with straight ends (Millard et al. 2013;
OpenSim's ``SmoothSegmentedFunctionFactory``), and straight lines beyond their ends. Finding the curve's parameter of a
length takes iterations, so each curve is laid down once as cubic polynomials over 1,024 equal cells, which differ from
the Bezier curves by less than 1e-6. Values are numpy arrays or torch tensors (differentiable).

References
----------
Millard, M., Uchida, T., Seth, A., Delp, S. L. (2013). Flexing computational muscle: modeling and simulation of
musculotendon dynamics. J. Biomech. Eng. 135, 021005.
Thelen, D. G. (2003). Adjustment of muscle mechanics model parameters to simulate dynamic contractions in older adults.
J. Biomech. Eng. 125, 70-77.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..storage.osim import MuscleInfo
from .arrays import AnyArray, like, namespace

Array = NDArray[np.float64]

#: Cells of a tabulated curve.
_CELLS = 1024

#: Halvings of a Bezier curve's parameter: its interval is then 1e-16 wide.
_HALVINGS = 54

#: Millard's passive curve where the file states no shape (``FiberForceLengthCurve``'s fitted properties).
_STIFFNESS_AT_LOW_FORCE, _PASSIVE_CURVINESS = 0.2, 0.75

#: Without damping and with a compliant tendon OpenSim keeps Millard's active curve above this.
_LEAST_ACTIVE, _LEAST_DAMPING = 0.1, 1e-3


#: Shape of the toe of Thelen's tendon, and the force at its end.
_TOE_SHAPE, _TOE_FORCE = 3.0, 0.33

#: Millard's tendon where the file states no shape: stiffness times strain, force at the toe's end, curviness.
_TENDON_STIFFNESS, _TENDON_TOE, _TENDON_CURVINESS = 1.375, 2.0 / 3.0, 0.5


class _ClassCurves(Protocol):
    """The curves of muscles of one class."""

    def active_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the active force-length curve; (..., muscles)."""

    def force_velocity(self, norm_velocity: AnyArray, activation: AnyArray) -> AnyArray:
        """Evaluate the force-velocity curve; (..., muscles)."""

    def passive_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the passive force-length curve; (..., muscles)."""

    def tendon_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the tendon's force-length curve; (..., muscles)."""


@dataclass(frozen=True, eq=False)
class _Thelen:
    """Curves of ``Thelen2003Muscle``; every array is ``(muscles,)``.

    Parameters
    ----------
    active_shape, passive_shape : numpy.ndarray
        ``KshapeActive`` and ``KshapePassive``.
    passive_strain : numpy.ndarray
        ``FmaxMuscleStrain``.
    velocity_shape : numpy.ndarray
        ``Af``.
    lengthening_force : numpy.ndarray
        ``Flen``.
    extrapolated_from : numpy.ndarray
        ``fv_linear_extrap_threshold``.
    tendon_strain : numpy.ndarray
        ``FmaxTendonStrain``.
    """

    active_shape: Array
    passive_shape: Array
    passive_strain: Array
    velocity_shape: Array
    lengthening_force: Array
    extrapolated_from: Array
    tendon_strain: Array

    @classmethod
    def of(cls, muscles: Sequence[MuscleInfo]) -> Self:
        """Take the parameters of muscles of a model."""

        def column(name: str) -> Array:
            return np.array([muscle.curve_parameters[name] for muscle in muscles])

        names = ("KshapeActive", "KshapePassive", "FmaxMuscleStrain", "Af", "Flen", "fv_linear_extrap_threshold")
        strain = np.array([muscle.tendon_strain_at_one_norm_force for muscle in muscles])
        return cls(*[*map(column, names), strain])

    def active_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the active force-length curve; (..., muscles)."""
        return namespace(norm_length).exp(-((norm_length - 1.0) ** 2) / like(self.active_shape, norm_length))

    def passive_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the passive force-length curve; (..., muscles)."""
        xp = namespace(norm_length)
        shape, strain = like(self.passive_shape, norm_length), like(self.passive_strain, norm_length)
        # Clipped before the exponential: a branch that is not taken would else overflow and spoil the gradient.
        stretch = xp.where(norm_length > 1.0, norm_length - 1.0, 0.0 * norm_length)
        return (xp.exp(shape * stretch / strain) - 1.0) / (xp.exp(shape) - 1.0)

    def force_velocity(self, norm_velocity: AnyArray, activation: AnyArray) -> AnyArray:
        """Evaluate the force-velocity curve; (..., muscles)."""
        xp = namespace(norm_velocity, activation)
        af, most, part = (
            like(values, norm_velocity)
            for values in (self.velocity_shape, self.lengthening_force, self.extrapolated_from)
        )
        u = norm_velocity / (0.25 + 0.75 * activation)
        k = (2.0 + 2.0 / af) / (most - 1.0)
        # Each formula is evaluated within its own range only, where its denominator is not 0.
        shortening = xp.clip(u, -1.0, 0.0)
        slow = (1.0 + shortening) / (1.0 - shortening / af)
        last = part * most
        last_u = (last - 1.0) / (k * (most - last))
        lengthening = xp.minimum(xp.clip(u, 0.0, None), last_u + 0.0 * u)
        fast = (1.0 + k * most * lengthening) / (1.0 + k * lengthening)
        slope = k * (most - last) ** 2 / (most - 1.0)
        inside = xp.where(u <= 0.0, slow, fast)
        return inside + slope * xp.clip(u - last_u, 0.0, None)

    def tendon_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the tendon's force-length curve; (..., muscles)."""
        xp = namespace(norm_length)
        strain = like(self.tendon_strain, norm_length)
        toe = strain * 99.0 * np.exp(_TOE_SHAPE) / (166.0 * np.exp(_TOE_SHAPE) - 67.0)
        stretch = norm_length - 1.0
        in_toe = xp.minimum(xp.clip(stretch, 0.0, None), toe + 0.0 * stretch)
        curved = _TOE_FORCE * (xp.exp(_TOE_SHAPE * in_toe / toe) - 1.0) / (np.exp(_TOE_SHAPE) - 1.0)
        return curved + (1.0 - _TOE_FORCE) / (strain - toe) * xp.clip(stretch - toe, 0.0, None)


@dataclass(frozen=True, eq=False)
class _Tables:
    """One tabulated curve per muscle: cubic polynomials over equal cells, straight lines beyond the ends.

    Parameters
    ----------
    start, step : numpy.ndarray, shape (muscles,)
        Where the first cell begins and how wide each is.
    base : numpy.ndarray of int, shape (muscles,)
        Where the muscle's curve begins in ``coefficients``; equal curves are kept once.
    coefficients : numpy.ndarray, shape (4, curves * (cells + 2))
        Of the powers of the position in the cell, the highest first; each curve's first and last cell are the lines.
    """

    start: Array
    step: Array
    base: NDArray[np.intp]
    coefficients: Array

    @classmethod
    def of(cls, curves: Sequence[tuple[float, ...]], corners: Callable[..., Array]) -> Self:
        """Tabulate curves, given their parameters and what makes Bezier corners (corners, 6, 2) of them."""
        distinct = list(dict.fromkeys(curves))
        made = [_tabulated(corners, parameters) for parameters in distinct]
        number = np.array([distinct.index(parameters) for parameters in curves])
        starts, steps = np.array([start for start, _, _ in made]), np.array([step for _, step, _ in made])
        coefficients = np.concatenate([table for _, _, table in made]).T.copy()
        return cls(starts[number], steps[number], number * (_CELLS + 2), coefficients)

    def evaluate(self, x: AnyArray) -> AnyArray:
        """Return the curves' values; (..., muscles)."""
        if isinstance(x, np.ndarray):
            # In place: new arrays for every step would take five times as long.
            place = x - self.start
            place /= self.step
            cell = np.floor(place)
            np.minimum(np.maximum(cell, -1.0, out=cell), _CELLS, out=cell)
            where = cell.astype(np.intp)
            where += self.base + 1
            place -= cell
            value = self.coefficients[0].take(where)
            for column in self.coefficients[1:]:
                value *= place
                value += column.take(where)
            return value
        xp = namespace(x)
        position = (x - like(self.start, x)) / like(self.step, x)
        cells = xp.clip(xp.floor(position), -1, _CELLS).detach()
        index = (cells + 1.0).long() + xp.as_tensor(self.base, device=x.device)
        third, second, first, constant = (like(column, x)[index] for column in self.coefficients)
        along = position - cells
        return ((third * along + second) * along + first) * along + constant


@dataclass(frozen=True, eq=False)
class _Millard:
    """Curves of ``Millard2012EquilibriumMuscle``."""

    _active: _Tables
    _velocity: _Tables
    _passive: _Tables
    _tendon: _Tables

    @classmethod
    def of(cls, muscles: Sequence[MuscleInfo]) -> Self:
        """Take the parameters of muscles of a model."""
        parameters = [_as_opensim_uses(muscle) for muscle in muscles]

        def table(curve: str, names: Sequence[str], corners: Callable[..., Array]) -> _Tables:
            return _Tables.of([tuple(each[f"{curve}/{name}"] for name in names) for each in parameters], corners)

        return cls(
            table("ActiveForceLengthCurve", _ACTIVE, _active_corners),
            table("ForceVelocityCurve", _VELOCITY, _velocity_corners),
            table("FiberForceLengthCurve", _PASSIVE, _passive_corners),
            table("TendonForceLengthCurve", _TENDON, _tendon_corners),
        )

    def active_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the active force-length curve; (..., muscles)."""
        return self._active.evaluate(norm_length)

    def force_velocity(self, norm_velocity: AnyArray, activation: AnyArray) -> AnyArray:
        """Evaluate the force-velocity curve, which does not depend on the activation; (..., muscles)."""
        return self._velocity.evaluate(norm_velocity)

    def passive_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the passive force-length curve; (..., muscles)."""
        return self._passive.evaluate(norm_length)

    def tendon_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the tendon's force-length curve; (..., muscles)."""
        return self._tendon.evaluate(norm_length)


@dataclass(frozen=True, eq=False)
class ForceCurves:
    """The curves of a model's muscles, each of its own class.

    Parameters
    ----------
    parts : tuple of (numpy.ndarray of int, _ClassCurves)
        Columns of the muscles of a class, and their curves.
    shortest : numpy.ndarray, shape (muscles,)
        Normalised fiber length up to which a muscle makes no active force; negative for a class that has no such.
    slips : numpy.ndarray, shape (muscles,), optional
        How active force is pennated in OpenSim's StaticOptimization (:meth:`active_cosine`): negative for a muscle with
        its true pennation, otherwise the factor of the sine that is taken.
    """

    parts: tuple[tuple[NDArray[np.intp], _ClassCurves], ...]
    shortest: Array
    slips: Array | None = None

    def active_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the active force-length curves.

        Parameters
        ----------
        norm_length : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Fiber length / optimal fiber length.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            The multipliers.
        """
        xp = namespace(norm_length)
        value = self._each(lambda curves, length: curves.active_force_length(length), norm_length)
        return xp.where(norm_length > like(self.shortest, norm_length), value, 0.0 * value)

    def force_velocity(self, norm_velocity: AnyArray, activation: AnyArray) -> AnyArray:
        """Evaluate the force-velocity curves.

        Parameters
        ----------
        norm_velocity : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Fiber velocity / maximum contraction velocity.
        activation : numpy.ndarray or torch.Tensor, shape (..., muscles), or float
            0..1; Thelen's curve depends on it.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            The multipliers.
        """
        return self._each(
            lambda curves, velocity, active: curves.force_velocity(velocity, active),
            norm_velocity,
            activation + 0.0 * norm_velocity,
        )

    def passive_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the passive force-length curves.

        Parameters
        ----------
        norm_length : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Fiber length / optimal fiber length.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            The multipliers.
        """
        return self._each(lambda curves, length: curves.passive_force_length(length), norm_length)

    def tendon_force_length(self, norm_length: AnyArray) -> AnyArray:
        """Evaluate the tendons' force-length curves.

        Parameters
        ----------
        norm_length : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Tendon length / tendon slack length.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            Force in maximum isometric forces.
        """
        return self._each(lambda curves, length: curves.tendon_force_length(length), norm_length)

    def active_cosine(self, norm_length: AnyArray, cosine: AnyArray, fiber_width: AnyArray) -> AnyArray:
        """Return the cosine of the pennation with which active force reaches the tendon.

        OpenSim's StaticOptimization asks ``calcInextensibleTendonActiveFiberForce`` for the force of a muscle. In
        OpenSim 4.6, that of Millard2012EquilibriumMuscle gives the pennation model the *normalised* fiber length where
        it expects meters, so that fibers are pennated by a tenth or twentieth of their angle, and that of
        DeGrooteFregly2016Muscle leaves the pennation out; in simulations both are right.

        Parameters
        ----------
        norm_length : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Fiber length / optimal fiber length.
        cosine : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Of the pennation.
        fiber_width : numpy.ndarray or torch.Tensor, shape (muscles,)
            m.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            The true cosine, or where :attr:`slips` says so StaticOptimization's.
        """
        if self.slips is None:
            return cosine
        xp = namespace(cosine)
        slips = like(self.slips, norm_length)
        sine = slips * like(fiber_width, norm_length) / norm_length
        return xp.where(slips >= 0.0, xp.sqrt(xp.abs(1.0 - sine**2)), cosine)

    def _each(self, evaluate: Callable[..., AnyArray], *arrays: AnyArray) -> AnyArray:
        """Evaluate every class's curves on its own columns."""
        if len(self.parts) == 1:
            return evaluate(self.parts[0][1], *arrays)
        xp = namespace(*arrays)
        values = [evaluate(curves, *(array[..., columns] for array in arrays)) for columns, curves in self.parts]
        order = np.argsort(np.concatenate([columns for columns, _ in self.parts]))
        return xp.concatenate(values, -1)[..., order]


def shortest_lengths(muscles: Sequence[MuscleInfo]) -> Array:
    """Return the normalised fiber lengths up to which muscles make no active force.

    Parameters
    ----------
    muscles : sequence of MuscleInfo
        Of any class.

    Returns
    -------
    numpy.ndarray, shape (muscles,)
        Where the pennation of Thelen2003Muscle and Millard2012EquilibriumMuscle is at its maximum; for Millard's also
        where the active curve begins. -1 for other classes, which know none.
    """
    found = []
    for muscle in muscles:
        parameters = muscle.curve_parameters
        least = -1.0
        if "maximum_pennation_angle" in parameters:
            least = np.sin(muscle.pennation_angle_at_optimal) / np.sin(parameters["maximum_pennation_angle"])
        found.append(max(least, parameters.get("ActiveForceLengthCurve/min_norm_active_fiber_length", -1.0)))
    return np.array(found)


# --- Millard's curves --------------------------------------------------------------------------------------------

_ACTIVE = (
    *("min_norm_active_fiber_length", "transition_norm_fiber_length", "max_norm_active_fiber_length"),
    *("shallow_ascending_slope", "minimum_value"),
)
_WAYS = ("concentric", "eccentric")
_VELOCITY = (
    *("concentric_slope_at_vmax", "concentric_slope_near_vmax", "isometric_slope"),
    *("eccentric_slope_at_vmax", "eccentric_slope_near_vmax", "max_eccentric_velocity_force_multiplier"),
    *("concentric_curviness", "eccentric_curviness"),
)
_PASSIVE = (
    *("strain_at_zero_force", "strain_at_one_norm_force"),
    *("stiffness_at_low_force", "stiffness_at_one_norm_force", "curviness"),
)
_TENDON = ("strain_at_one_norm_force", "stiffness_at_one_norm_force", "norm_force_at_toe_end", "curviness")


def _as_opensim_uses(muscle: MuscleInfo) -> dict[str, float]:
    """Return the parameters after the changes that OpenSim makes to them as it builds the muscle."""
    used = dict(muscle.curve_parameters)
    active, velocity, passive = "ActiveForceLengthCurve", "ForceVelocityCurve", "FiberForceLengthCurve"
    tendon = "TendonForceLengthCurve"
    ends = [(f"{velocity}/{way}_slope_at_vmax", f"{velocity}/{way}_slope_near_vmax") for way in _WAYS]
    if "fiber_length" in muscle.states and (muscle.fiber_damping or 0.0) < _LEAST_DAMPING:
        used[f"{active}/minimum_value"] = max(used[f"{active}/minimum_value"], _LEAST_ACTIVE)
        for end, near in ends:
            used[end] = max(used[end], 0.5 * used[near])
    else:
        used[f"{active}/minimum_value"] = 0.0
        for end, _ in ends:
            used[end] = 0.0
    if np.isnan(used[f"{passive}/curviness"]):
        strain = used[f"{passive}/strain_at_one_norm_force"] - used[f"{passive}/strain_at_zero_force"]
        used[f"{passive}/stiffness_at_low_force"] = _STIFFNESS_AT_LOW_FORCE
        used[f"{passive}/stiffness_at_one_norm_force"] = 2.0 / strain
        used[f"{passive}/curviness"] = _PASSIVE_CURVINESS
    used[f"{tendon}/strain_at_one_norm_force"] = muscle.tendon_strain_at_one_norm_force or np.nan
    if np.isnan(used[f"{tendon}/curviness"]):
        used[f"{tendon}/stiffness_at_one_norm_force"] = _TENDON_STIFFNESS / used[f"{tendon}/strain_at_one_norm_force"]
        used[f"{tendon}/norm_force_at_toe_end"] = _TENDON_TOE
        used[f"{tendon}/curviness"] = _TENDON_CURVINESS
    return used


def _corner(x0: float, y0: float, slope0: float, x1: float, y1: float, slope1: float, curviness: float) -> Array:
    """Return the control points (6, 2) of a corner between two points with given slopes and no curvature."""
    x = 0.5 * (x0 + x1) if abs(slope0 - slope1) < 1e-8 else (y1 - y0 - x1 * slope1 + x0 * slope0) / (slope0 - slope1)
    meeting = np.array([x, (x - x1) * slope1 + y1])
    first, last = np.array([x0, y0]), np.array([x1, y1])
    near_first, near_last = first + curviness * (meeting - first), last + curviness * (meeting - last)
    return np.array([first, near_first, near_first, near_last, near_last, last])


def _scaled(curviness: float) -> float:
    return 0.1 + 0.8 * curviness


def _active_corners(start: float, transition: float, end: float, slope: float, least: float) -> Array:
    c, shoulder = _scaled(1.0), 0.05
    y_transition = 1.0 - slope * (1.0 - shoulder - transition)
    steep = 1.25 * y_transition / (transition - start)
    rising = (start + 0.5 * (transition - start), 0.5 * y_transition)
    plateau = (0.5 * (transition + 1.0 - shoulder), 0.5 * (y_transition + 1.0))
    falling = (0.5 * (1.0 + shoulder + end), 0.5)
    descent = -1.0 / (end - 1.0 - 2.0 * shoulder)
    return np.array(
        [
            _corner(start, least, 0.0, *rising, steep, c),
            _corner(*rising, steep, *plateau, slope, c),
            _corner(*plateau, slope, 1.0, 1.0, 0.0, c),
            _corner(1.0, 1.0, 0.0, *falling, descent, c),
            _corner(*falling, descent, end, least, 0.0, c),
        ]
    )


def _velocity_corners(
    shortest: float,
    near_shortest: float,
    isometric: float,
    longest: float,
    near_longest: float,
    most: float,
    concentric: float,
    eccentric: float,
) -> Array:
    first, last = _scaled(concentric), _scaled(eccentric)
    slow = (-0.9, 0.05 * (near_shortest + shortest))
    fast = (0.9, most - 0.05 * (near_longest + longest))
    return np.array(
        [
            _corner(-1.0, 0.0, shortest, *slow, near_shortest, first),
            _corner(*slow, near_shortest, 0.0, 1.0, isometric, first),
            _corner(0.0, 1.0, isometric, *fast, near_longest, last),
            _corner(*fast, near_longest, 1.0, most, longest, last),
        ]
    )


def _passive_corners(zero: float, one: float, low: float, stiffness: float, curviness: float) -> Array:
    c = _scaled(curviness)
    start, end = 1.0 + zero, 1.0 + one
    width = min(0.1 / stiffness, 0.1 * (end - start))
    foot = (start + width, 0.5 * low * width)
    return np.array([_corner(start, 0.0, 0.0, *foot, low, c), _corner(*foot, low, end, 1.0, stiffness, c)])


def _tendon_corners(strain: float, stiffness: float, toe: float, curviness: float) -> Array:
    c, one = _scaled(curviness), 1.0 + strain
    x_toe = (toe - 1.0) / stiffness + one
    foot = 1.0 + (x_toe - 1.0) / 10.0
    x_middle = (0.5 * toe - 1.0) / stiffness + one
    slope = 0.5 * toe / (x_middle - foot)
    x_control = foot + 0.5 * (x_middle - foot)
    control = (x_control, slope * (x_control - foot))
    return np.array([_corner(1.0, 0.0, 0.0, *control, slope, c), _corner(*control, slope, x_toe, toe, stiffness, c)])


# The same curves are needed several times in a run, and again in every trial of a subject.
@lru_cache(maxsize=256)
def _tabulated(make: Callable[..., Array], parameters: tuple[float, ...]) -> tuple[float, float, Array]:
    """Return where a curve begins, the width of its cells, and their coefficients (cells + 2, 4)."""
    corners = make(*parameters)
    start, end = float(corners[0, 0, 0]), float(corners[-1, -1, 0])
    step = (end - start) / _CELLS
    x = start + step * np.arange(_CELLS + 1)
    corner = np.clip(np.searchsorted(corners[:, 0, 0], x, side="right") - 1, 0, len(corners) - 1)
    points = corners[corner]
    low, high = np.zeros_like(x), np.ones_like(x)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = _bezier(points[..., 0], middle) < x
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    u = 0.5 * (low + high)
    y = _bezier(points[..., 1], u)
    slope = _bezier(np.diff(points[..., 1]), u) / _bezier(np.diff(points[..., 0]), u) * step
    first, last, left, right = y[:-1], y[1:], slope[:-1], slope[1:]
    cells = np.stack([2 * (first - last) + left + right, 3 * (last - first) - 2 * left - right, left, first], axis=-1)
    # The line before the curve, at the position 1 of whose cell it begins, and the line beyond its end.
    before, beyond = [0.0, 0.0, slope[0], y[0] - slope[0]], [0.0, 0.0, slope[-1], y[-1]]
    return start, step, np.concatenate([[before], cells, [beyond]])


def _bezier(points: Array, u: Array) -> Array:
    """Evaluate Bezier curves with control points (..., degree + 1) at parameters (...)."""
    degree = points.shape[-1] - 1
    weights = np.stack([comb(degree, k) * u**k * (1.0 - u) ** (degree - k) for k in range(degree + 1)], axis=-1)
    value: Array = (points * weights).sum(-1)
    return value


#: How StaticOptimization pennates the active force of a class's muscles (:attr:`ForceCurves.slips`).
SLIPS_OF_CLASS: Mapping[str, float] = {"Millard2012EquilibriumMuscle": 1.0, "DeGrooteFregly2016Muscle": 0.0}

#: What makes the curves of a class's muscles.
CURVES_OF_CLASS: Mapping[str, Callable[[Sequence[MuscleInfo]], Any]] = {
    "Thelen2003Muscle": _Thelen.of,
    "Millard2012EquilibriumMuscle": _Millard.of,
}
