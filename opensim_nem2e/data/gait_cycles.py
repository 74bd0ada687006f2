"""From the trials manifest to gait cycles at evenly spaced samples, and what the estimator of one muscle sees of them.

Names are side-neutral. The muscles of the side whose heel strikes bound a cycle are ``ipsi:soleus``, ..., the others
``contra:soleus``, ..., so a left stride serves the same network as a right one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import CycleError, ManifestError, did_you_mean
from ..log import logger
from ..signals.emg import refuse_raw
from ..signals.gaps import gaps, gaps_in_words, overlaps
from ..signals.quality import ONE_SCALE, shares_of_scale
from ..signals.resample import to_window
from ..storage import TimeSeries, read_storage
from ..storage.emg_files import read_envelopes
from ..storage.labels import find_activation_columns, find_so_activation_columns, require_activations
from ..storage.muscles import PAPER_MUSCLES, MuscleNames
from .by_subject import SplitBySubject
from .cycle_view import Condition, CycleView
from .discovery import listed
from .manifest import Channel, CycleRecord
from .samples import Samples

Array = NDArray[np.float64]
EmgNormalization = Literal["subject_max", "trial_max", "none"]


#: So many reasons are given why no cycle could be used.
_MOST_REASONS = 3


@dataclass(frozen=True)
class MuscleCycles(SplitBySubject):
    """The cycles of one muscle, as an estimator of this muscle alone sees them.

    Cycles of one subject follow each other.

    Parameters
    ----------
    target : str
        Standard name of the muscle.
    inputs : tuple of str
        Side-neutral names of the input muscles, in order.
    x : ndarray, shape (cycles, cycle_samples, inputs)
        OpenSim's activations, as they are (0..1).
    own : ndarray, shape (cycles, cycle_samples)
        OpenSim's activation of the muscle itself: what refining is compared with.
    y : ndarray, shape (cycles, cycle_samples)
        Measured EMG, normalised.
    subjects : ndarray of str, shape (cycles,)
        Whose cycles these are.
    records : tuple of CycleRecord, length cycles
        The manifest's rows.
    """

    target: str
    inputs: tuple[str, ...]
    x: Array
    own: Array
    y: Array
    subjects: NDArray[np.str_]
    records: tuple[CycleRecord, ...]

    @classmethod
    def of(cls, samples: Samples, muscle: str, view: CycleView) -> MuscleCycles:
        """Take the cycles in which a muscle has EMG and all its input muscles have activations.

        Parameters
        ----------
        samples : Samples
            Cycles on the view's grid.
        muscle : str
            Standard name of the muscle.
        view : CycleView
            What the estimator sees.

        Returns
        -------
        MuscleCycles
            The cycles, subject by subject; none where the samples have neither.
        """
        inputs = view.inputs_of(muscle)
        rows = np.flatnonzero(usable_rows(samples, muscle, view))
        if not rows.size:
            none = np.zeros((0, samples.time.shape[1]))
            return cls(muscle, inputs, np.zeros((*none.shape, len(inputs))), none, none, samples.subjects[:0], ())
        x = samples.select_channels("activation", inputs)
        simulated, measured = samples.channel("activation", f"ipsi:{muscle}"), samples.channel("emg", muscle)
        subjects = samples.subjects
        order = {subject: k for k, subject in enumerate(dict.fromkeys(subjects[rows].tolist()))}
        rows = rows[np.argsort([order[subject] for subject in subjects[rows].tolist()], kind="stable")]
        return cls(
            muscle,
            inputs,
            x[rows],
            simulated[rows],
            measured[rows],
            subjects[rows],
            tuple(samples.records[k] for k in rows),
        )

    @property
    def about(self) -> dict[str, NDArray[np.str_]]:
        """What is known of the cycles besides their activations: ``motion`` and ``age_group``, shape (cycles,)."""
        return {
            name: np.array([getattr(record, name) for record in self.records], dtype=np.str_)
            for name in ("motion", "age_group")
        }

    def select(self, rows: NDArray[np.bool_]) -> MuscleCycles:
        """Keep some of the cycles.

        Parameters
        ----------
        rows : ndarray of bool, shape (cycles,)
            Which.

        Returns
        -------
        MuscleCycles
            The same data with those cycles only.
        """
        records = tuple(record for record, keep in zip(self.records, rows, strict=True) if keep)
        arrays = {name: getattr(self, name)[rows] for name in ("x", "own", "y", "subjects")}
        return replace(self, records=records, **arrays)


@dataclass(frozen=True)
class CycleData:
    """All cycles of a manifest, and how one muscle's estimator sees them.

    Parameters
    ----------
    samples : Samples
        One sample per row of the manifest that can be used; the input ``activation`` by side-neutral name, the target
        ``emg`` by standard name.
    view : CycleView
        The input condition, with the input muscles that were settled on.
    muscles : tuple of str
        Target muscles that have both EMG and inputs in some cycle.
    notes : tuple of str
        What was assumed, left out or corrected, as logged.
    """

    samples: Samples
    view: CycleView
    muscles: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def cycles(self, muscle: str) -> MuscleCycles:
        """Take the cycles of one muscle.

        Parameters
        ----------
        muscle : str
            Standard name.

        Returns
        -------
        MuscleCycles
            What an estimator of this muscle sees.
        """
        return MuscleCycles.of(self.samples, muscle, self.view)


def describe_cycles(cycles: Mapping[str, MuscleCycles]) -> dict[str, Any]:
    """Say where cycles come from, and how many there are.

    Parameters
    ----------
    cycles : mapping of str to MuscleCycles
        By target muscle.

    Returns
    -------
    dict of str to object
        ``datasets, subjects, motions, activation_sources`` in the manifest's order, ``cycles`` and
        ``subjects_per_muscle`` by muscle.
    """
    records = {record.line: record for data in cycles.values() for record in data.records}
    used = [records[line] for line in sorted(records)]

    def names(field: str) -> list[str]:
        return list(dict.fromkeys(getattr(record, field) for record in used))

    return {
        "datasets": names("dataset"),
        "subjects": names("subject"),
        "motions": names("motion"),
        "activation_sources": names("activation_source"),
        "cycles": {target: len(data.records) for target, data in cycles.items()},
        "subjects_per_muscle": {target: len(set(data.subjects.tolist())) for target, data in cycles.items()},
    }


def usable_rows(samples: Samples, muscle: str, view: CycleView) -> NDArray[np.bool_]:
    """Tell which samples an estimator of a muscle can learn from and be judged by.

    Parameters
    ----------
    samples : Samples
        Cycles on the view's grid.
    muscle : str
        Standard name of the muscle.
    view : CycleView
        What the estimator sees.

    Returns
    -------
    ndarray of bool, shape (samples,)
        Where there are EMG of the muscle, its own activation, and those of all its input muscles.
    """
    needed = tuple(dict.fromkeys((*view.inputs_of(muscle), f"ipsi:{muscle}")))
    known = samples.channels.get("activation", ())
    if not set(needed) <= set(known) or muscle not in samples.channels.get("emg", ()):
        return np.zeros(len(samples), dtype=bool)
    x, y = samples.select_channels("activation", needed), samples.channel("emg", muscle)
    return np.asarray(np.isfinite(x).all(axis=(1, 2)) & np.isfinite(y).all(axis=1))


def read_gait_cycles(
    records: Sequence[CycleRecord],
    channels: Sequence[Channel],
    *,
    condition: Condition = "One-Entire",
    targets: Sequence[str] = PAPER_MUSCLES,
    inputs: Literal["own", "all"] | Sequence[str] | None = None,
    samples: int = 20,
    emg_normalization: EmgNormalization = "subject_max",
    use_emg_time_offset: bool = True,
    shared_channels: bool = True,
    names: MuscleNames | None = None,
    logged: Collection[str] = (),
) -> CycleData:
    """Read the files of the manifest and cut them into gait cycles.

    EMG is clipped at zero, taken at t + offset for a motion time t, and divided by its maximum. An EMG file that holds
    exactly one cycle is taken as periodic, so that the offset rolls it. What is missing for one muscle of one trial
    costs that pair only.

    Parameters
    ----------
    records : sequence of CycleRecord
        The cycles to use.
    channels : sequence of Channel
        The EMG channels of their datasets.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    targets : sequence of str
        Standard names of the target muscles.
    inputs : {'own', 'all'} or sequence of str, optional
        ``own``: the target muscle itself. ``all``: every muscle whose activation every cycle with EMG has. Or
        side-neutral names. By default ``all`` for All-Entire, else ``own``.
    samples : int
        Samples of one window, evenly spaced, both ends included.
    emg_normalization : {'subject_max', 'trial_max', 'none'}
        Divide EMG by its maximum over the cycles used, per channel and subject or per channel and trial. The maximum is
        taken on the grid of ``samples`` points per cycle in every condition, so that all conditions share it.
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
    CycleData
        The samples; cycles without EMG or without activations are among them.

    Raises
    ------
    opensim_nem2e.errors.ManifestError
        A dataset with EMG has no channels, a standard name is unknown, or there is nothing to read.
    """
    if inputs is None:
        inputs = "all" if condition == "All-Entire" else "own"
    return _Builder(
        tuple(channels),
        tuple(targets),
        CycleView(condition, samples),
        emg_normalization,
        use_emg_time_offset,
        shared_channels,
        names or MuscleNames.load(),
        logged,
    ).build(records, inputs)


@dataclass(frozen=True)
class _Pair:
    """EMG of one channel over one cycle, before normalisation."""

    record: CycleRecord
    channel: Channel
    emg: Array


@dataclass
class _Builder:
    channels: tuple[Channel, ...]
    targets: tuple[str, ...]
    view: CycleView
    emg_normalization: EmgNormalization
    use_emg_time_offset: bool
    shared_channels: bool
    names: MuscleNames
    logged: Collection[str]
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    emg_files: dict[Path, TimeSeries] = field(default_factory=dict)

    def build(self, records: Sequence[CycleRecord], inputs: Literal["own", "all"] | Sequence[str]) -> CycleData:
        self._check_channels(records)
        activations = {record.line: self._activations(record) for record in records}
        pairs = {target: self._pairs(target, records, activations) for target in self.targets}
        self._report_negative(records)
        scale = self._scales(pair for found in pairs.values() for pair in found)
        with_emg = [pair.record for found in pairs.values() for pair in found if activations[pair.record.line]]
        simulated = [record for record in records if activations[record.line]]
        common = self._inputs(inputs, with_emg or simulated, activations)
        view = replace(self.view, input_muscles=common)
        samples = self._samples(records, common, activations, pairs, scale)
        muscles = tuple(target for target in self.targets if MuscleCycles.of(samples, target, view).records)
        if any(pairs.values()) or any(record.emg_file for record in records):
            without = [target for target in self.targets if target not in muscles]
            if not muscles:
                raise ManifestError(
                    "No cycle has both measured EMG and activations of any of the muscles asked for "
                    f"({', '.join(self.targets)}) in the {len(records)} cycles given. "
                    + " ".join(self.left_out[:_MOST_REASONS])
                )
            if without:
                self._note(f"No data for {', '.join(without)}: no EMG channel of the cycles given measures them.")
        self._note_missing(records)
        return CycleData(samples, view, muscles, tuple(self.notes))

    def _samples(
        self,
        records: Sequence[CycleRecord],
        common: tuple[str, ...],
        activations: Mapping[int, Mapping[str, Array]],
        pairs: Mapping[str, Sequence[_Pair]],
        scale: Mapping[tuple[str, ...], float],
    ) -> Samples:
        """Put everything on one grid; what is missing is NaN."""
        own = tuple(f"ipsi:{target}" for target in self.targets)
        found = {name for line in activations for name in activations[line]}
        names = tuple(dict.fromkeys(name for name in (*common, *own) if name in found))
        size = self.view.cycle_samples
        inputs = np.full((len(records), size, len(names)), np.nan)
        emg = np.full((len(records), size, len(self.targets)), np.nan)
        place = {record.line: row for row, record in enumerate(records)}
        for record in records:
            for column, name in enumerate(names):
                if name in activations[record.line]:
                    inputs[place[record.line], :, column] = activations[record.line][name]
        for column, target in enumerate(self.targets):
            for pair in pairs[target]:
                if scale[self._group(pair)] > 0:
                    emg[place[pair.record.line], :, column] = pair.emg / scale[self._group(pair)]
        return Samples(
            inputs={"activation": inputs},
            channels={"activation": names, "emg": self.targets},
            time=np.stack([np.linspace(record.start, record.end, size) for record in records]),
            records=tuple(records),
            targets={"emg": emg},
        )

    def _note_missing(self, records: Sequence[CycleRecord]) -> None:
        """Count the cycles that have no simulation or no EMG at all."""
        for what, absent in (
            ("no activations", sum(record.activation_file is None for record in records)),
            ("no EMG", sum(record.emg_file is None for record in records)),
        ):
            if absent:
                self._note(f"{absent} of {len(records)} cycles have {what}: methods that need them leave them out.")

    def _note(self, text: str, warning: bool = False) -> None:
        if text not in self.notes:
            self.notes.append(text)
            if text not in self.logged:
                (logger.warning if warning else logger.info)(text)

    def _check_channels(self, records: Sequence[CycleRecord]) -> None:
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
            for name in dict.fromkeys(record.dataset for record in records if record.emg_file is not None)
            if name not in described
        ]
        faults += [
            f"unknown target muscle '{name}'.{did_you_mean(name, known)}" for name in self.targets if name not in known
        ]
        if faults:
            raise ManifestError("\n".join(["The manifest cannot be used:", *(f"  - {fault}" for fault in faults)]))

    def _activations(self, record: CycleRecord) -> dict[str, Array]:
        """Cut all muscles' activations of one cycle; keys are side-neutral names."""
        if record.activation_file is None:
            return {}
        series = read_storage(record.activation_file)
        # A Moco solution that was resampled or exported may call its activations by the muscles' bare names.
        columns = {} if record.activation_source == "so" else find_activation_columns(series)
        if not columns and record.activation_source != "cmc":
            columns = find_so_activation_columns(series, names=self.names)
        found: dict[str, str] = {}
        for muscle, label in columns.items():
            standard = self.names.standard(muscle)
            if standard is None:
                continue
            prefix = "ipsi" if standard.side in (record.side, "") else "contra"
            name = f"{prefix}:{standard.name}"
            if name in found:
                # By name: the order of a file's columns must not matter.
                first, second = sorted((found[name], label))
                self._note(
                    f"{record.dataset}: '{first}' and '{second}' both stand for '{name}'; '{first}' is used.",
                    warning=True,
                )
                label = first
            found[name] = label
        labels = list(found.values())
        if not labels:
            self._note(f"{record.activation_file}: no activation of a known muscle was found.", warning=True)
            return {}
        require_activations(series, dict(zip(labels, labels, strict=True)))
        values = series.select(labels)
        try:
            values = to_window(
                series.time,
                values,
                record.start,
                record.end,
                self.view.cycle_samples,
                roll_to=record.heel_strike,
            )
        except CycleError as error:
            raise ManifestError(
                f"line {record.line} of the manifest ({record.name}): {error}: '{record.activation_file}'"
            ) from None
        return {name: values[:, column] for column, name in enumerate(found)}

    def _pairs(
        self, target: str, records: Sequence[CycleRecord], activations: Mapping[int, Mapping[str, Array]]
    ) -> list[_Pair]:
        pairs = []
        skipped: Counter[str] = Counter()
        for record in records:
            channel = self._channel(target, record)
            if channel is None or record.emg_file is None:
                continue
            # EMG of whom nobody simulated still says what the muscle does.
            if f"ipsi:{target}" not in activations[record.line] and record.activation_file is not None:
                skipped[f"{record.dataset}: no activation of '{target}'"] += 1
                continue
            emg = self._emg(record, channel)
            if emg is None:
                skipped[f"{record.dataset}: no usable EMG in '{channel.column}' for '{target}'"] += 1
                continue
            pairs.append(_Pair(record, channel, emg))
        for text, count in skipped.items():
            self.left_out.append(f"{text}: {count} cycle{'s' if count > 1 else ''} left out for this muscle.")
            self._note(self.left_out[-1])
        return pairs

    def _channel(self, target: str, record: CycleRecord) -> Channel | None:
        """Find the channel that measures the target on the trial's side; its own channel before a shared one.

        Subjects of one dataset may have different channels: one that the trial's EMG file has comes before one that it
        has not.
        """
        own: list[Channel] = []
        shared: list[Channel] = []
        for channel in self.channels:
            if channel.dataset != record.dataset or not channel.standard_name:
                continue
            served = {
                standard.name
                for standard in map(self.names.standard, channel.muscles)
                if standard is not None and standard.side in (record.side, "")
            }
            if served and channel.standard_name == target:
                own.append(channel)
            elif target in served and self.shared_channels:
                shared.append(channel)
        found = [*own, *shared]
        if record.emg_file is None:
            return None
        series = self._emg_series(record.emg_file)
        return next((channel for channel in found if series.has(channel.column)), found[0] if found else None)

    def _emg(self, record: CycleRecord, channel: Channel) -> Array | None:
        """Cut one channel over one cycle, on the EMG's own clock; None where it was not recorded."""
        assert record.emg_file is not None
        series = self._emg_series(record.emg_file)
        if not series.has(channel.column):
            return None
        values = series.data[:, series.labels.index(channel.column)]
        shift = record.emg_time_offset if self.use_emg_time_offset else 0.0
        start, end, roll = record.start + shift, record.end + shift, record.heel_strike
        if shift and holds_one_cycle(series.time, record.start, record.end):
            # The file is the cycle: what is shifted out at one end comes in at the other.
            start, end = record.start, record.end
            first = start if roll is None else roll
            roll = start + (first + shift - start) % (end - start)
            self._note(
                f"{record.dataset}: an EMG file holds exactly one cycle; its time offset is applied by rolling it."
            )
        elif roll is not None:
            roll += shift
        if not series.time[0] <= start or not end <= series.time[-1]:
            step = 0.5 * (end - start) / (self.view.cycle_samples - 1)
            if series.time[0] - start > step or end - series.time[-1] > step:
                self._note(
                    f"{record.name}: the EMG file covers {series.time[0]:.3f}..{series.time[-1]:.3f} s, "
                    f"the cycle with its offset needs {start:.3f}..{end:.3f} s: left out.",
                    warning=True,
                )
                return None
        holes = gaps(series.time)
        if overlaps(holes, start, end):
            self._note(
                f"{record.name}: the EMG file has no rows {gaps_in_words(holes)}, within the cycle "
                f"{start:.3f}..{end:.3f} s: left out.",
                warning=True,
            )
            return None
        samples = self.view.cycle_samples
        window = to_window(series.time, np.maximum(values, 0.0), start, end, samples, roll_to=roll)[:, 0]
        return window if np.isfinite(window).all() else None

    def _emg_series(self, path: Path) -> TimeSeries:
        if path not in self.emg_files:
            series = read_envelopes(path)
            used = {channel.column for channel in self.channels if channel.standard_name}
            labels = [label for label in dict.fromkeys(series.labels) if label in used]
            columns = [series.labels.index(label) for label in labels]
            refuse_raw(series.time, series.data[:, columns], labels, path)
            self.emg_files[path] = series
        return self.emg_files[path]

    def _report_negative(self, records: Sequence[CycleRecord]) -> None:
        used = {(channel.dataset, channel.column) for channel in self.channels if channel.standard_name}
        counts: Counter[str] = Counter()
        for path, dataset in {record.emg_file: record.dataset for record in records}.items():
            series = None if path is None else self.emg_files.get(path)
            if series is None:
                continue
            for column, label in enumerate(series.labels):
                if (dataset, label) in used:
                    counts[dataset] += int((series.data[:, column] < 0).sum())
        for dataset, count in counts.items():
            if count:
                self._note(f"{dataset}: {count} negative EMG values were set to zero.")

    def _group(self, pair: _Pair) -> tuple[str, ...]:
        record, column = pair.record, pair.channel.column
        if self.emg_normalization == "trial_max":
            return (record.dataset, record.subject, column, record.trial)
        return (record.dataset, record.subject, column)

    def _scales(self, pairs: Iterable[_Pair]) -> dict[tuple[str, ...], float]:
        scales: dict[tuple[str, ...], float] = {}
        found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
        for pair in pairs:
            group, record, largest = self._group(pair), pair.record, float(pair.emg[:: self.view.windows].max())
            scales[group] = max(scales.get(group, 0.0), largest)
            own = found.setdefault((record.dataset, record.subject), {}).setdefault(record.trial, {})
            own[pair.channel.column] = max(own.get(pair.channel.column, 0.0), largest)
        for group, value in scales.items():
            if value <= 0:
                self._note(
                    f"{group[0]}: the EMG channel '{group[2]}' of {group[1]} is never above zero: left out.", True
                )
        if self.emg_normalization != "trial_max":
            self._note_units(found)
        return scales if self.emg_normalization != "none" else {group: float(v > 0) for group, v in scales.items()}

    def _note_units(self, largest: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]]) -> None:
        """Warn of trials that are far smaller than others of the subject, by subject, trial and channel."""
        for (dataset, subject), trials in largest.items():
            columns = list(dict.fromkeys(column for own in trials.values() for column in own))
            sizes = [[own.get(column, np.nan) for column in columns] for own in trials.values()]
            for trial, share in zip(trials, shares_of_scale(sizes).tolist(), strict=True):
                if 0.0 < share < ONE_SCALE:
                    self._note(
                        f"{dataset}/{subject}: the EMG of '{trial}' is {1.0 / share:.3g} times smaller than that of "
                        "the subject's other trials, with which it shares one scale: are all in the same unit? If "
                        "not, give them one, or set <emg_normalization> to trial_max.",
                        warning=True,
                    )

    def _inputs(
        self,
        inputs: Literal["own", "all"] | Sequence[str],
        used: Sequence[CycleRecord],
        activations: Mapping[int, Mapping[str, Array]],
    ) -> tuple[str, ...]:
        """Name the inputs that all targets share; empty when each target is its own input."""
        if inputs == "own":
            return ()
        lines = list(dict.fromkeys(record.line for record in used))
        if not lines:
            return ()
        everything = dict.fromkeys(name for line in lines for name in activations[line])
        counts = Counter(name for line in lines for name in activations[line])
        if inputs == "all":
            common = tuple(name for name in everything if counts[name] == len(lines))
            rest = sorted(set(everything) - set(common))
            self._note(f"{len(common)} input muscles are in all {len(lines)} trials used: {listed(common)}.")
            if rest:
                self._note(f"{len(rest)} muscles are not in every trial, so they are no inputs: {listed(rest)}.")
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
    return bool(abs(time[0] - start) <= allowed and abs(time[-1] - end) <= allowed)
