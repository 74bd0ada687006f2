"""What a method says of the muscles of one trial, on the trial's own time base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..methods.base import Provenance, Quantity
from ..musculoskeletal.activation import activation_from_excitation
from ..signals.cycles import Cycle, fade_outside, inside_cycles
from ..signals.resample import interpolate

if TYPE_CHECKING:
    from ..data.simulation import Muscle
    from .amplitude import Amplitude

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Masked = np.ma.MaskedArray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class CycleCurves:
    """A muscle's curves, cycle by cycle, for figures and the summary.

    Parameters
    ----------
    before, after : numpy.ndarray, shape (cycles, samples)
        The simulation's activation and the method's output at evenly spaced samples of each cycle, both ends included.
    attention : numpy.ndarray, shape (cycles, samples, steps), or None
        Weights of the inputs' steps at each sample, where the method has them.
    steps : tuple of str
        What the steps are: model muscles, or ``sample_01``, ...
    """

    before: Array
    after: Array
    attention: Array | None = None
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MuscleEstimate:
    """The estimate of one muscle.

    Parameters
    ----------
    muscle : str
        The model's name.
    values : numpy.ndarray, shape (rows,)
        The estimate; the simulation's activation in rows that the method does not cover.
    covered : numpy.ndarray of bool, shape (rows,)
        Rows that the method covers.
    standard_name : str
        The standard name of what the method estimated; empty if it is no muscle of the method's.
    side : {'r', 'l', ''}
        The limb.
    cycles : tuple of Cycle
        The gait cycles that the rows belong to; empty for a method that knows none.
    low, high : numpy.ndarray, shape (rows,), or None
        Band of the estimate, in the rows that are covered.
    curves : CycleCurves or None
        The same cycle by cycle.
    joined : numpy.ndarray, shape (rows,), or None
        The estimate with neighbouring cycles led into each other at their heel strike, which is what activations are
        made of; None: ``values`` need no such thing.
    faded : numpy.ndarray of bool, shape (rows,), or None
        Rows beside those that are covered in which activations fade to the simulation's; None: none.
    shape_source : str
        Where the shape is from: ``'network'``, ``'network and profile'``, ``'profile'`` (mean EMG of other subjects),
        ``'regression'``, ``'simulation'``, ``'EMG'`` (measured) or ``'prior'``; empty: it has none of its own.
    remark : str
        What is not the method's usual estimate about it (half of it a mean profile); empty: nothing.
    gain : float or None
        The activation that the largest value stands for, where it is known; None: it is not.
    certainty : float
        A factor of what departing from the shape costs where torques ask for it.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        The arrays do not have the same rows, or one side of the band is missing.
    """

    muscle: str
    values: Array
    covered: Mask
    standard_name: str = ""
    side: str = ""
    cycles: tuple[Cycle, ...] = ()
    low: Array | None = None
    high: Array | None = None
    curves: CycleCurves | None = None
    joined: Array | None = None
    faded: Mask | None = None
    shape_source: str = "network"
    remark: str = ""
    gain: float | None = None
    certainty: float = 1.0

    @property
    def is_methods(self) -> bool:
        """Whether the method's errors on other subjects tell of this shape: it is neither measured nor none at all."""
        return self.shape_source not in ("", "EMG")

    def __post_init__(self) -> None:
        """Check what was given."""
        arrays = (self.values, self.covered, self.low, self.high, self.joined, self.faded)
        shapes = {np.shape(array) for array in arrays if array is not None}
        if shapes != {(len(self.values),)} or (self.low is None) != (self.high is None):
            raise ModelError(
                f"The estimate of '{self.muscle}' must have values, covered rows and both or neither of its bands, all "
                f"of the shape (rows,); found {', '.join(map(str, sorted(shapes)))}."
            )

    @property
    def masked(self) -> Masked:
        """The values; rows that keep the simulation's value are masked, with that value below the mask."""
        return np.ma.array(self.values, mask=~self.replaced)

    @property
    def replaced(self) -> Mask:
        """Rows that are covered or fade: those that do not keep the simulation's value."""
        return self.covered if self.faded is None else self.covered | self.faded

    def covers(self, time: Array, own_time: Array) -> Mask:
        """Tell which times the method covers.

        Parameters
        ----------
        time : numpy.ndarray, shape (times,)
            Any times (s).
        own_time : numpy.ndarray, shape (rows,)
            The estimate's (s).

        Returns
        -------
        numpy.ndarray of bool, shape (times,)
            True within the cycles; without cycles, between rows that are covered.
        """
        if self.cycles:
            return inside_cycles(time, self.cycles)
        return interpolate(own_time, self.covered.astype(float), time) >= 1.0

    def replaces(self, time: Array, own_time: Array) -> Mask:
        """Tell at which times the simulation's value is replaced.

        Parameters
        ----------
        time : numpy.ndarray, shape (times,)
            Any times (s).
        own_time : numpy.ndarray, shape (rows,)
            The estimate's (s).

        Returns
        -------
        numpy.ndarray of bool, shape (times,)
            True where the method covers, and in the fades beside.
        """
        return self.covers(time, own_time) | (interpolate(own_time, self.replaced.astype(float), time) >= 1.0)

    def heel_strikes(self) -> tuple[float, ...]:
        """Return the heel strikes of the cycles.

        Returns
        -------
        tuple of float
            Increasing (s).
        """
        times: set[float] = set()
        for cycle in self.cycles:
            times |= {cycle.heel_strike} if cycle.roll else {cycle.start, cycle.end}
        return tuple(sorted(times))

    def changed(self, change: Callable[[Array], Array]) -> MuscleEstimate:
        """Change values and band in the rows that are covered.

        Parameters
        ----------
        change : callable
            Gives new values, shape (rows,), from old ones.

        Returns
        -------
        MuscleEstimate
            With the new values; rows that are not covered keep theirs.
        """

        def inside(array: Array | None) -> Array | None:
            return None if array is None else np.where(self.covered, change(array), array)

        values = inside(self.values)
        assert values is not None
        return replace(self, values=values, low=inside(self.low), high=inside(self.high), joined=inside(self.joined))

    def blended(self, time: Array, crossfade: float) -> MuscleEstimate:
        """Lead cycles into each other, and into the simulation's values outside.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            The estimate's times (s).
        crossfade : float
            Length of a fade outside the rows that are covered (s).

        Returns
        -------
        MuscleEstimate
            Without jumps.
        """
        values = self.values if self.joined is None else self.joined
        values, faded = fade_outside(time, values, self.values, self.covered, crossfade)
        low, high = self.low, self.high
        if low is not None and high is not None:
            # What leads cycles into each other, and into the rows outside, must not leave the band.
            low, high = np.minimum(low, values), np.maximum(high, values)
        return replace(self, values=values, low=low, high=high, joined=None, faded=faded)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The estimate of a trial's muscles.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        The trial's time base (s).
    quantity : {'emg', 'activation', 'excitation'}
        What the values are: EMG relative to its maximum, activation or excitation; dimensionless.
    muscles : mapping of str to MuscleEstimate
        By the model's names. What is left out keeps the simulation's activation.
    provenance : Provenance
        The method that made it.
    kind : str
        What results and log call it: ``'refined'``, ``'consistent'``.
    amplitude : Amplitude or None
        How its amplitude was found; None: the values are as the method put them out.
    fibers : mapping of str to numpy.ma.MaskedArray, each (rows,)
        States of fibers that these activations lead to, by their label in the states file; masked where they are the
        simulation's.
    motion : str
        What the trial was taken for, such as ``walk``; empty: not known.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        A muscle has other rows than the time.
    """

    time: Array
    quantity: Quantity
    muscles: Mapping[str, MuscleEstimate]
    provenance: Provenance
    kind: str = "refined"
    amplitude: Amplitude | None = None
    fibers: Mapping[str, Array] = field(default_factory=dict)
    motion: str = ""

    def __post_init__(self) -> None:
        """Check what was given."""
        for name, item in self.muscles.items():
            if item.muscle != name or item.values.shape != self.time.shape:
                raise ModelError(
                    f"The estimate of '{name}' must be of this muscle and have the trial's {self.time.size} rows; "
                    f"found '{item.muscle}' with {item.values.size} rows."
                )

    def __iter__(self) -> Iterator[MuscleEstimate]:
        return iter(self.muscles.values())

    def values(self, simulated: Mapping[str, Array]) -> dict[str, Array]:
        """Return the activations of all muscles.

        Parameters
        ----------
        simulated : mapping of str to numpy.ndarray, each (rows,)
            The simulation's.

        Returns
        -------
        dict of str to numpy.ndarray
            The simulation's, with the estimate's in their place.
        """
        return {**simulated, **{item.muscle: item.values for item in self}}

    @property
    def covered(self) -> Mask:
        """Rows in which any muscle was estimated; (rows,)."""
        covered: Mask = np.zeros(self.time.shape, dtype=bool)
        for item in self:
            covered |= item.covered
        return covered

    def cycles(self) -> dict[str, Sequence[Cycle]]:
        """Return the gait cycles in which each muscle was estimated.

        Returns
        -------
        dict of str to sequence of Cycle
            By muscle.
        """
        return {item.muscle: item.cycles for item in self}

    def blended(self, crossfade: float) -> Estimate:
        """Lead cycles into each other, and into the simulation's values outside.

        Parameters
        ----------
        crossfade : float
            Length of a fade outside the rows that are covered (s).

        Returns
        -------
        Estimate
            In its own unit, without jumps.
        """
        return replace(self, muscles={item.muscle: item.blended(self.time, crossfade) for item in self})

    def as_activations(self, muscles: Mapping[str, Muscle], crossfade: float = 0.0) -> Estimate:
        """Return the activations that the muscles can hold.

        EMG relative to its maximum is taken for the activation. Excitations go through the activation dynamics, each
        stretch of covered rows from the simulation's activation before it (from the first excitation where there is
        none). Values and bands are then clipped to the muscle's bounds, and led into the simulation's activations in
        the rows outside.

        Parameters
        ----------
        muscles : mapping of str to Muscle
            Bounds and dynamics.
        crossfade : float
            Length of the fade into the simulation's activations, outside the rows that are covered (s).

        Returns
        -------
        Estimate
            Of the quantity ``'activation'``. Rows that are neither covered nor fade keep their value, even where it
            is out of bounds.
        """
        found = {}
        for item in self:
            muscle = muscles[item.muscle]
            if self.quantity == "excitation":
                item = self._integrated(item, muscle)
            item = item.changed(partial(np.clip, a_min=muscle.low, a_max=muscle.high))
            found[item.muscle] = item.blended(self.time, crossfade)
        return replace(self, quantity="activation", muscles=found)

    def _integrated(self, item: MuscleEstimate, muscle: Muscle) -> MuscleEstimate:
        """Turn excitations into activations, in each stretch of covered rows."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], item.covered, [False]]).astype(int)))

        def activation(values: Array) -> Array:
            result = values.copy()
            for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                # The row before a stretch holds the simulation's activation.
                begin = max(first - 1, 0)
                excitation = values[begin:last].copy()
                excitation[0] = values[first]
                reached = activation_from_excitation(
                    self.time[begin:last],
                    excitation[:, np.newaxis],
                    [muscle.tau_act],
                    [muscle.tau_deact],
                    [item.values[begin] if begin < first else values[first]],
                    [muscle.kind],
                    min_activation=[muscle.min_activation],
                )
                result[first:last] = reached[first - begin :, 0]
            return result

        return item.changed(activation)
