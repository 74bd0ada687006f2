"""Samples: what any estimator learns from and is judged on, arrays by name with subject and laboratory of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError, did_you_mean
from .by_subject import SplitBySubject
from .manifest import CycleRecord

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples(SplitBySubject):
    """Stretches of recordings (gait cycles, sliding windows), all of the same number of rows.

    What is missing is NaN: EMG of a muscle that was not measured, the activation of a muscle that a model lacks. A
    method says what it cannot use.

    Parameters
    ----------
    inputs : mapping of str to ndarray, shape (samples, time, channels)
        By signal: ``activation`` (0..1), ``coordinates`` (rad, m), ``speeds`` (rad/s, m/s), ...
    channels : mapping of str to tuple of str
        Names of the channels of every array in ``inputs``, ``targets`` and ``context``.
    time : ndarray, shape (samples, time)
        Time of every row (s), on the clock of the motion.
    records : tuple of CycleRecord, length samples
        The manifest's row that each sample comes from.
    targets : mapping of str to ndarray, shape (samples, time, channels)
        What is to be estimated: ``emg`` (normalised, 0..1), ``moments`` (Nm), ...; empty where nothing is labelled.
    context : mapping of str to ndarray, shape (samples, time, channels)
        What is known beside the inputs and enters losses: moment arms (m), needed torques (Nm), ...

    Raises
    ------
    ValueError
        Arrays do not fit each other or their channels, or one name stands for two of them.
    """

    inputs: Mapping[str, Array] = field(repr=False)
    channels: Mapping[str, tuple[str, ...]]
    time: Array = field(repr=False)
    records: tuple[CycleRecord, ...] = field(repr=False)
    targets: Mapping[str, Array] = field(default_factory=dict, repr=False)
    context: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.time.ndim != 2 or len(self.time) != len(self.records):
            expected = (len(self.records), *self.time.shape[1:2])
            raise ValueError(f"The array 'time' must have the shape {expected}; found {self.time.shape}.")
        names = [*self.inputs, *self.targets, *self.context]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"'{twice[0]}' stands in more than one of inputs, targets and context.")
        for name, array in self.arrays.items():
            expected = (len(self.records), self.time.shape[1], len(self.channels.get(name, ())))
            if array.shape != expected:
                raise ValueError(f"The array '{name}' must have the shape {expected}; found {array.shape}.")

    def __len__(self) -> int:
        return len(self.records)

    @property
    def arrays(self) -> dict[str, Array]:
        """Inputs, targets and context by name."""
        return {**self.inputs, **self.targets, **self.context}

    @property
    def subjects(self) -> NDArray[np.str_]:
        """The subject of each sample."""
        return np.array([record.subject for record in self.records], dtype=np.str_)

    @property
    def laboratories(self) -> NDArray[np.str_]:
        """The laboratory of each sample."""
        return np.array([record.laboratory for record in self.records], dtype=np.str_)

    @property
    def trials(self) -> NDArray[np.str_]:
        """The trial of each sample, told apart between laboratories and subjects."""
        return np.array([f"{r.dataset}/{r.subject}/{r.trial}" for r in self.records], dtype=np.str_)

    def channel(self, array: str, name: str) -> Array:
        """Take one channel of an array.

        Parameters
        ----------
        array : str
            Name of an input, target or context.
        name : str
            Name of the channel.

        Returns
        -------
        ndarray, shape (samples, time)
            Its values; NaN where it is missing.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            There is no such array or channel.
        """
        return self.select_channels(array, [name])[:, :, 0]

    def select_channels(self, array: str, names: Sequence[str]) -> Array:
        """Take some channels of an array.

        Parameters
        ----------
        array : str
            Name of an input, target or context.
        names : sequence of str
            Names of channels.

        Returns
        -------
        ndarray, shape (samples, time, len(names))
            Their values, in this order.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            There is no such array or channel.
        """
        arrays = self.arrays
        if array not in arrays:
            raise TrainingError(
                f"The samples have no '{array}'.{did_you_mean(array, arrays)} They have {', '.join(arrays)}."
            )
        known = self.channels[array]
        missing = [name for name in names if name not in known]
        if missing:
            raise TrainingError(
                f"The samples have no '{array}' of {', '.join(missing)}.{did_you_mean(missing[0], known)}"
            )
        return arrays[array][:, :, [known.index(name) for name in names]]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Samples:
        """Keep some of the samples.

        Parameters
        ----------
        rows : ndarray of bool, shape (samples,), or of int
            Which, or in which order.

        Returns
        -------
        Samples
            The same data with those samples only.
        """
        places = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Samples(
            {name: array[places] for name, array in self.inputs.items()},
            self.channels,
            self.time[places],
            tuple(self.records[k] for k in places),
            {name: array[places] for name, array in self.targets.items()},
            {name: array[places] for name, array in self.context.items()},
        )

    def ordered(self) -> Samples:
        """Bring samples and channels into an order that does not depend on that of the files' rows and columns.

        Returns
        -------
        Samples
            The same data: samples by subject, laboratory, trial, stride, side and files; channels by name.
        """
        rows = np.array(sorted(range(len(self)), key=lambda row: self.records[row].identity), dtype=np.intp)
        found = self.select(rows)
        orders = {name: sorted(range(len(names)), key=names.__getitem__) for name, names in self.channels.items()}

        def sort(arrays: Mapping[str, Array]) -> dict[str, Array]:
            return {name: array[:, :, orders[name]] for name, array in arrays.items()}

        channels = {name: tuple(self.channels[name][k] for k in order) for name, order in orders.items()}
        return Samples(
            sort(found.inputs), channels, found.time, found.records, sort(found.targets), sort(found.context)
        )
