"""From the trials manifest to arrays: one set of gait cycles per target muscle, blocked by subject.

Names are side-neutral. The muscles of the side whose heel strikes bound a cycle are ``ipsi:soleus``, ..., the others
``contra:soleus``, ..., so a left stride trains the same network as a right one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ManifestError, did_you_mean
from ..log import logger
from ..signals.resample import to_window
from ..storage import TimeSeries, read_storage
from ..storage.labels import find_activation_columns, find_so_activation_columns, require_activations
from ..storage.muscles import PAPER_MUSCLES, MuscleNames
from .manifest import Channel, Trial

Array = NDArray[np.float64]
EmgNormalization = Literal["subject_max", "trial_max", "none"]


@dataclass(frozen=True)
class TargetData:
    """All cycles in which one target muscle has EMG and all its input muscles have activations.

    Rows of one subject follow each other.

    Parameters
    ----------
    target : str
        Standard name of the target muscle.
    inputs : tuple of str
        Side-neutral names of the input muscles, in order.
    x : ndarray, shape (cycles, samples, inputs)
        OpenSim's activations, as they are (0..1).
    own : ndarray, shape (cycles, samples)
        OpenSim's activation of the target muscle itself: what refining is compared with.
    y : ndarray, shape (cycles, samples)
        Measured EMG, normalised.
    subjects : ndarray of str, shape (cycles,)
        Who walked.
    trials : tuple of Trial, length cycles
        The manifest rows.
    """

    target: str
    inputs: tuple[str, ...]
    x: Array
    own: Array
    y: Array
    subjects: NDArray[np.str_]
    trials: tuple[Trial, ...]

    def select(self, rows: NDArray[np.bool_]) -> TargetData:
        """Keep some of the cycles.

        Parameters
        ----------
        rows : ndarray of bool, shape (cycles,)
            Which.

        Returns
        -------
        TargetData
            The same data with those cycles only.
        """
        trials = tuple(trial for trial, keep in zip(self.trials, rows, strict=True) if keep)
        arrays = {name: getattr(self, name)[rows] for name in ("x", "own", "y", "subjects")}
        return replace(self, trials=trials, **arrays)

    def ordered(self) -> TargetData:
        """Bring cycles and inputs into an order that does not depend on that of the files' rows and columns.

        Returns
        -------
        TargetData
            The same data: cycles by subject, dataset, trial, stride, side and files; inputs by name.
        """
        rows = sorted(range(len(self.trials)), key=lambda row: _identity(self.trials[row]))
        inputs = sorted(range(len(self.inputs)), key=self.inputs.__getitem__)
        return replace(
            self,
            inputs=tuple(self.inputs[k] for k in inputs),
            x=self.x[rows][:, :, inputs],
            own=self.own[rows],
            y=self.y[rows],
            subjects=self.subjects[rows],
            trials=tuple(self.trials[row] for row in rows),
        )

    def leave_out(self, subjects: Iterable[str]) -> tuple[TargetData, TargetData]:
        """Split by subject.

        Parameters
        ----------
        subjects : iterable of str
            Who is left out.

        Returns
        -------
        rest : TargetData
            The cycles of everyone else.
        left_out : TargetData
            The cycles of these subjects.
        """
        out = np.isin(self.subjects, list(subjects))
        return self.select(~out), self.select(out)

    def folds(self) -> Iterator[tuple[str, TargetData, TargetData]]:
        """Leave one subject out at a time.

        Yields
        ------
        subject : str
            Who is left out.
        train : TargetData
            Everyone else.
        test : TargetData
            This subject.
        """
        for subject in dict.fromkeys(self.subjects.tolist()):
            yield subject, *self.leave_out([subject])


@dataclass(frozen=True)
class Dataset:
    """The cycles of every target muscle.

    Parameters
    ----------
    targets : dict of str to TargetData
        By standard name; only muscles that have data.
    samples : int
        Samples of a cycle.
    notes : tuple of str
        What was assumed, left out or corrected, as logged.
    """

    targets: dict[str, TargetData]
    samples: int
    notes: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everyone with data for at least one target, in the manifest's order."""
        trials = {trial.line: trial.subject for data in self.targets.values() for trial in data.trials}
        return tuple(dict.fromkeys(trials[line] for line in sorted(trials)))


def build_dataset(
    trials: Sequence[Trial],
    channels: Sequence[Channel],
    *,
    targets: Sequence[str] = PAPER_MUSCLES,
    inputs: Literal["own", "all"] | Sequence[str] = "own",
    samples: int = 20,
    windows: int = 1,
    emg_normalization: EmgNormalization = "subject_max",
    use_emg_time_offset: bool = True,
    shared_channels: bool = True,
    names: MuscleNames | None = None,
    logged: Collection[str] = (),
) -> Dataset:
    """Read the files of the manifest and cut them into cycles.

    EMG is clipped at zero, taken at t + offset for a motion time t, and divided by its maximum. An EMG file that holds
    exactly one cycle is taken as periodic, so that the offset rolls it. What is missing for one muscle of one trial
    costs that pair only.

    Parameters
    ----------
    trials : sequence of Trial
        The cycles to use.
    channels : sequence of Channel
        The EMG channels of their datasets.
    targets : sequence of str
        Standard names of the target muscles.
    inputs : {'own', 'all'} or sequence of str
        ``own``: the target muscle itself. ``all``: every muscle whose activation every trial has. Or side-neutral
        names.
    samples : int
        Samples of one network window, evenly spaced, both ends included.
    windows : int
        Windows that make up a cycle (4 for quarters); neighbours share their border sample.
    emg_normalization : {'subject_max', 'trial_max', 'none'}
        Divide EMG by its maximum over the cycles used, per channel and subject or per channel and trial. The maximum is
        taken on the grid of ``samples`` points per cycle whatever ``windows`` is, so that all conditions share it.
    use_emg_time_offset : bool
        Shift EMG by the manifest's ``emg_time_offset_s``.
    shared_channels : bool
        A channel that lists several muscles serves each of them under its own standard name (the paper's practice),
        unless that muscle has a channel of its own. Otherwise it serves its ``standard_name`` only.
    names : MuscleNames, optional
        The table of muscle names; the shipped one by default.
    logged : collection of str, optional
        Notes that the log has already, from other datasets of the same trials: not logged again.

    Returns
    -------
    Dataset
        Arrays per target muscle.

    Raises
    ------
    opensim_nem2e.errors.ManifestError
        A dataset has no channels, a standard name is unknown, or no muscle has any data.
    """
    return _Builder(
        tuple(channels),
        tuple(targets),
        samples,
        windows,
        emg_normalization,
        use_emg_time_offset,
        shared_channels,
        names or MuscleNames.load(),
        logged,
    ).build(trials, inputs)


@dataclass(frozen=True)
class _Pair:
    """EMG of one channel over one cycle, before normalisation."""

    trial: Trial
    channel: Channel
    emg: Array


@dataclass
class _Builder:
    channels: tuple[Channel, ...]
    targets: tuple[str, ...]
    window_samples: int
    windows: int
    emg_normalization: EmgNormalization
    use_emg_time_offset: bool
    shared_channels: bool
    names: MuscleNames
    logged: Collection[str]
    notes: list[str] = field(default_factory=list)
    emg_files: dict[Path, TimeSeries] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return self.windows * (self.window_samples - 1) + 1

    def build(self, trials: Sequence[Trial], inputs: Literal["own", "all"] | Sequence[str]) -> Dataset:
        self._check_channels(trials)
        activations = {trial.line: self._activations(trial) for trial in trials}
        pairs = {target: self._pairs(target, trials, activations) for target in self.targets}
        self._report_negative(trials)
        scale = self._scales(pair for found in pairs.values() for pair in found)
        common = self._inputs(inputs, [pair.trial for found in pairs.values() for pair in found], activations)
        data = {}
        for target, found in pairs.items():
            columns = common or (f"ipsi:{target}",)
            usable = [pair for pair in found if scale[self._group(pair)] > 0]
            usable = [pair for pair in usable if all(name in activations[pair.trial.line] for name in columns)]
            if usable:
                data[target] = self._arrays(target, columns, usable, scale, activations)
        without = [target for target in self.targets if target not in data]
        if not data:
            raise ManifestError(
                "No cycle has both measured EMG and activations of any of the muscles asked for "
                f"({', '.join(self.targets)}) in the {len(trials)} trials given."
            )
        if without:
            self._note(f"No data for {', '.join(without)}: no EMG channel of the trials given measures them.")
        return Dataset(data, self.samples, tuple(self.notes))

    def _note(self, text: str, warning: bool = False) -> None:
        if text not in self.notes:
            self.notes.append(text)
            if text not in self.logged:
                (logger.warning if warning else logger.info)(text)

    def _check_channels(self, trials: Sequence[Trial]) -> None:
        known = set(self.names.standard_names)
        faults = [
            f"line {channel.line} of the EMG channels: unknown standard_name '{channel.standard_name}'."
            f"{did_you_mean(channel.standard_name, known)}"
            for channel in self.channels
            if channel.standard_name and channel.standard_name not in known
        ]
        described = {channel.dataset for channel in self.channels}
        faults += [
            f"the dataset '{name}' has no EMG channels.{did_you_mean(name, described)}"
            for name in dict.fromkeys(trial.dataset for trial in trials)
            if name not in described
        ]
        faults += [
            f"unknown target muscle '{name}'.{did_you_mean(name, known)}" for name in self.targets if name not in known
        ]
        if faults:
            raise ManifestError("\n".join(["The manifest cannot be used:", *(f"  - {fault}" for fault in faults)]))

    def _activations(self, trial: Trial) -> dict[str, Array]:
        """Cut all muscles' activations of one cycle; keys are side-neutral names."""
        series = read_storage(trial.activation_file)
        if trial.activation_source == "so":
            columns = find_so_activation_columns(series, names=self.names)
        else:
            columns = find_activation_columns(series)
        found: dict[str, str] = {}
        for muscle, label in columns.items():
            standard = self.names.standard(muscle)
            if standard is None:
                continue
            prefix = "ipsi" if standard.side in (trial.side, "") else "contra"
            name = f"{prefix}:{standard.name}"
            if name in found:
                # By name: the order of a file's columns must not matter.
                first, second = sorted((found[name], label))
                self._note(
                    f"{trial.dataset}: '{first}' and '{second}' both stand for '{name}'; '{first}' is used.",
                    warning=True,
                )
                label = first
            found[name] = label
        labels = list(found.values())
        if not labels:
            self._note(f"{trial.activation_file}: no activation of a known muscle was found.", warning=True)
            return {}
        require_activations(series, dict(zip(labels, labels, strict=True)))
        values = to_window(
            series.time, series.select(labels), trial.start, trial.end, self.samples, roll_to=trial.heel_strike
        )
        return {name: values[:, column] for column, name in enumerate(found)}

    def _pairs(
        self, target: str, trials: Sequence[Trial], activations: Mapping[int, Mapping[str, Array]]
    ) -> list[_Pair]:
        pairs = []
        skipped: Counter[str] = Counter()
        for trial in trials:
            channel = self._channel(target, trial)
            if channel is None:
                continue
            if f"ipsi:{target}" not in activations[trial.line]:
                skipped[f"{trial.dataset}: no activation of '{target}'"] += 1
                continue
            emg = self._emg(trial, channel)
            if emg is None:
                skipped[f"{trial.dataset}: no usable EMG in '{channel.column}' for '{target}'"] += 1
                continue
            pairs.append(_Pair(trial, channel, emg))
        for text, count in skipped.items():
            self._note(f"{text}: {count} cycle{'s' if count > 1 else ''} left out for this muscle.")
        return pairs

    def _channel(self, target: str, trial: Trial) -> Channel | None:
        """Find the channel that measures the target on the trial's side; its own channel before a shared one.

        People of one dataset may have different channels: one that the trial's EMG file has comes before one that it
        has not.
        """
        own: list[Channel] = []
        shared: list[Channel] = []
        for channel in self.channels:
            if channel.dataset != trial.dataset or not channel.standard_name:
                continue
            served = {
                standard.name
                for standard in map(self.names.standard, channel.muscles)
                if standard is not None and standard.side in (trial.side, "")
            }
            if served and channel.standard_name == target:
                own.append(channel)
            elif target in served and self.shared_channels:
                shared.append(channel)
        series = self._emg_series(trial.emg_file)
        found = [*own, *shared]
        return next((channel for channel in found if series.has(channel.column)), found[0] if found else None)

    def _emg(self, trial: Trial, channel: Channel) -> Array | None:
        """Cut one channel over one cycle, on the EMG's own clock; None where it was not recorded."""
        series = self._emg_series(trial.emg_file)
        if not series.has(channel.column):
            return None
        values = series.data[:, series.labels.index(channel.column)]
        shift = trial.emg_time_offset if self.use_emg_time_offset else 0.0
        start, end, roll = trial.start + shift, trial.end + shift, trial.heel_strike
        if shift and holds_one_cycle(series.time, trial.start, trial.end):
            # The file is the cycle: what is shifted out at one end comes in at the other.
            start, end = trial.start, trial.end
            first = start if roll is None else roll
            roll = start + (first + shift - start) % (end - start)
            self._note(
                f"{trial.dataset}: an EMG file holds exactly one cycle; its time offset is applied by rolling it."
            )
        elif roll is not None:
            roll += shift
        if not series.time[0] <= start or not end <= series.time[-1]:
            step = 0.5 * (end - start) / (self.samples - 1)
            if series.time[0] - start > step or end - series.time[-1] > step:
                self._note(
                    f"{trial.name}: the EMG file covers {series.time[0]:.3f}..{series.time[-1]:.3f} s, "
                    f"the cycle with its offset needs {start:.3f}..{end:.3f} s: left out.",
                    warning=True,
                )
                return None
        window = to_window(series.time, np.maximum(values, 0.0), start, end, self.samples, roll_to=roll)[:, 0]
        return window if np.isfinite(window).all() else None

    def _emg_series(self, path: Path) -> TimeSeries:
        if path not in self.emg_files:
            self.emg_files[path] = read_storage(path)
        return self.emg_files[path]

    def _report_negative(self, trials: Sequence[Trial]) -> None:
        used = {(channel.dataset, channel.column) for channel in self.channels if channel.standard_name}
        counts: Counter[str] = Counter()
        for path, dataset in {trial.emg_file: trial.dataset for trial in trials}.items():
            series = self.emg_files.get(path)
            if series is None:
                continue
            for column, label in enumerate(series.labels):
                if (dataset, label) in used:
                    counts[dataset] += int((series.data[:, column] < 0).sum())
        for dataset, count in counts.items():
            if count:
                self._note(f"{dataset}: {count} negative EMG values were set to zero.")

    def _group(self, pair: _Pair) -> tuple[str, ...]:
        trial, column = pair.trial, pair.channel.column
        if self.emg_normalization == "trial_max":
            return (trial.dataset, trial.subject, column, trial.trial)
        return (trial.dataset, trial.subject, column)

    def _scales(self, pairs: Iterable[_Pair]) -> dict[tuple[str, ...], float]:
        scales: dict[tuple[str, ...], float] = {}
        for pair in pairs:
            group = self._group(pair)
            scales[group] = max(scales.get(group, 0.0), float(pair.emg[:: self.windows].max()))
        for group, value in scales.items():
            if value <= 0:
                self._note(
                    f"{group[0]}: the EMG channel '{group[2]}' of {group[1]} is never above zero: left out.", True
                )
        return scales if self.emg_normalization != "none" else {group: float(v > 0) for group, v in scales.items()}

    def _inputs(
        self,
        inputs: Literal["own", "all"] | Sequence[str],
        used: Sequence[Trial],
        activations: Mapping[int, Mapping[str, Array]],
    ) -> tuple[str, ...]:
        """Name the inputs that all targets share; empty when each target is its own input."""
        if inputs == "own":
            return ()
        lines = list(dict.fromkeys(trial.line for trial in used))
        if not lines:
            return ()
        everything = dict.fromkeys(name for line in lines for name in activations[line])
        counts = Counter(name for line in lines for name in activations[line])
        if inputs == "all":
            common = tuple(name for name in everything if counts[name] == len(lines))
            rest = sorted(set(everything) - set(common))
            self._note(f"{len(common)} input muscles are in all {len(lines)} trials used: {', '.join(common)}.")
            if rest:
                self._note(f"{len(rest)} muscles are not in every trial, so they are no inputs: {', '.join(rest)}.")
            if not common:
                raise ManifestError("The trials have no muscle in common that could be an input.")
            return common
        for name in inputs:
            if name not in everything:
                raise ManifestError(
                    f"The input muscle '{name}' is in none of the trials.{did_you_mean(name, everything)} "
                    f"Allowed: {', '.join(everything)}."
                )
            if counts[name] < len(lines):
                self._note(
                    f"The input muscle '{name}' is missing in {len(lines) - counts[name]} trials: left out.", True
                )
        return tuple(inputs)

    def _arrays(
        self,
        target: str,
        columns: tuple[str, ...],
        pairs: Sequence[_Pair],
        scale: Mapping[tuple[str, ...], float],
        activations: Mapping[int, Mapping[str, Array]],
    ) -> TargetData:
        order = {subject: k for k, subject in enumerate(dict.fromkeys(pair.trial.subject for pair in pairs))}
        pairs = sorted(pairs, key=lambda pair: order[pair.trial.subject])
        return TargetData(
            target=target,
            inputs=columns,
            x=np.stack([np.stack([activations[p.trial.line][name] for name in columns], axis=1) for p in pairs]),
            own=np.stack([activations[p.trial.line][f"ipsi:{target}"] for p in pairs]),
            y=np.stack([p.emg / scale[self._group(p)] for p in pairs]),
            subjects=np.array([p.trial.subject for p in pairs]),
            trials=tuple(p.trial for p in pairs),
        )


def _identity(trial: Trial) -> tuple[str | int | float, ...]:
    """What a cycle is, wherever it stands in the manifest; stride 2 comes before stride 10."""
    files = (trial.activation_source, str(trial.activation_file), str(trial.emg_file))
    stride = (len(trial.stride), trial.stride)
    return (trial.subject, trial.dataset, trial.trial, *stride, trial.side, *files, trial.start)


def holds_one_cycle(time: Array, start: float, end: float) -> bool:
    """Tell whether a file spans the cycle and nothing more, within 2 % of its length or one row at each end.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time of the file's rows (s).
    start, end : float
        The cycle (s).

    Returns
    -------
    bool
        True where the file can be taken as periodic.
    """
    row = float(np.median(np.diff(time))) if time.size > 1 else 0.0
    allowed = max(0.02 * (end - start), 1.5 * row)
    return abs(time[0] - start) <= allowed and abs(time[-1] - end) <= allowed
