"""What can be wrong with the EMG itself.

Every threshold was set between the worst healthy channel and the mildest defect of seven public recordings (62
channels; the figures stand with each). They are judgements on walking and running, not laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import StorageError, did_you_mean
from ...signals.emg import refuse_impossible, sampling_rate, why_raw
from ...signals.quality import ONE_SCALE, PLATEAU_ROWS, copies, levels, plateaus, shares_of_scale
from ...storage import MuscleNames, TimeSeries
from ..manifest import Channel
from .findings import Findings
from .recording_checks import Files, Recording

Array = NDArray[np.float64]

#: A channel whose range is less than this share of the median channel's is dead. Dead: 0.004; weakest alive: 0.25.
FLAT = 0.03

#: A low level (1st percentile) of this share of the high level (99th) is no offset of EMG, but no EMG: the envelope of
#: noise, which normalising makes as large as any. Noise of 480 Hz of bandwidth through 6 Hz: 0.6.
NOISE = 0.45

#: A low level (1st percentile) of this share of the high level (99th) is an offset. Known offset: 0.31; gluteus
#: maximus, the most tonic of the healthy channels: 0.28.
BASELINE = 0.3

#: A smaller offset is one, too, if the same channel's low level is this much lower in the subject's other recordings
#: (known offset: 15 times).
BASELINE_WITH_OTHERS = 0.15
TIMES_OTHERS = 5.0

#: Values below zero of this share of the channel's high level are told; from the second on, as a defect.
NEGATIVE, VERY_NEGATIVE = 0.01, 0.1

#: A maximum that is held for so long (s) and rows, or reached again and again, is a limit. No healthy channel does.
PLATEAU, VISITS = 0.01, 3

#: What to do with a channel that is not EMG. A row of emg_channels.csv is for all subjects of the dataset.
_LEAVE_OUT = (
    "leave it out of this subject's EMG (channels_file of EMGEnvelopeTool), or of the whole dataset (empty "
    "standard_name in emg_channels.csv)."
)

#: A rate below this leaves fewer than ten samples in a period of 6 Hz, the usual end of an envelope's spectrum (Hz).
COARSE = 60.0


def check_emg(recordings: Sequence[Recording], files: Files, findings: Findings) -> None:
    """Examine every EMG file.

    Parameters
    ----------
    recordings : sequence of Recording
        The recordings.
    files : Files
        Reads.
    findings : Findings
        Takes what is found.
    """
    seen: dict[Path, Recording] = {}
    for recording in recordings:
        for path in recording.emg_files:
            seen.setdefault(path, recording)
    lows = _low_levels(seen, files)
    for path, recording in seen.items():
        series = files.series(path)
        if series is not None and series.n_rows > 1 and recording.channels:
            _Examined(path, series, recording, findings).all(lows)
    _other_units(seen, files, findings)
    _missing_channels(recordings, files, findings)


def check_standard_names(channels: Sequence[Channel], findings: Findings) -> None:
    """Look for standard names that are none, but resemble one.

    Parameters
    ----------
    channels : sequence of Channel
        All channels.
    findings : Findings
        Takes what is found.
    """
    known = MuscleNames.load().standard_names
    for name in dict.fromkeys(channel.standard_name for channel in channels):
        hint = did_you_mean(name, known) if name and name not in known else ""
        if hint:
            where = ", ".join(f"{c.dataset}: {c.column}" for c in channels if c.standard_name == name)
            what = f"'{name}' is no standard name of the shipped table.{hint}"
            remedy = "correct standard_name in emg_channels.csv, or give the name in a muscle_names_file."
            findings.add("warning", "muscle", where, what, remedy)


def _low_levels(seen: dict[Path, Recording], files: Files) -> dict[tuple[str, str], dict[Path, float]]:
    """Return the low level over the high level of each subject's channels, by file."""
    found: dict[tuple[str, str], dict[Path, float]] = {}
    for path, recording in seen.items():
        series = files.series(path)
        if series is None or recording.one_cycle:
            continue
        for channel in recording.channels:
            if series.has(channel.column):
                low, high = levels(series.data[:, [series.labels.index(channel.column)]])
                if high[0] > 0.0:
                    key = (f"{recording.trials[0].dataset}/{recording.trials[0].subject}", channel.column)
                    found.setdefault(key, {})[path] = float(low[0] / high[0])
    return found


def _other_units(seen: dict[Path, Recording], files: Files, findings: Findings) -> None:
    """Find files that are far smaller in all channels than the subject's others, with which they share one scale."""
    subjects: dict[tuple[str, str], list[Path]] = {}
    for path, recording in seen.items():
        if files.series(path) is not None and recording.channels:
            subjects.setdefault((recording.trials[0].dataset, recording.trials[0].subject), []).append(path)
    for paths in subjects.values():
        columns = [channel.column for channel in seen[paths[0]].channels if channel.standard_name]
        sizes = np.full((len(paths), len(columns)), np.nan)
        for row, path in enumerate(paths):
            series = files.series(path)
            for k, column in enumerate(columns):
                if series is not None and series.has(column):
                    sizes[row, k] = levels(series.data[:, [series.labels.index(column)]])[1][0]
        for path, share in zip(paths, shares_of_scale(sizes).tolist(), strict=True):
            if 0.0 < share < ONE_SCALE:
                what = f"its EMG is {1.0 / share:.3g} times smaller than in the subject's other recordings."
                remedy = "bring all of a subject's recordings to one unit, or train with emg_normalization trial_max."
                findings.add("error", "scale", str(path), what, remedy)


class _Examined:
    """One EMG file."""

    def __init__(self, path: Path, series: TimeSeries, recording: Recording, findings: Findings):
        self.path = path
        self.series = series
        # Files of one cycle each are one recording: what is wrong with one channel in all of them is told once.
        self.group = recording.name if recording.one_cycle else ""
        self.channels = [channel for channel in recording.channels if series.has(channel.column)]
        self.findings = findings
        self.values = series.data[:, [series.labels.index(channel.column) for channel in self.channels]]

    def add(self, severity: str, code: str, channel: Channel | None, what: str, remedy: str) -> None:
        """Add a finding; of a channel that is not used, it is only a note."""
        where = str(self.path) if channel is None else f"{self.path}: {channel.column}"
        if channel is not None and not channel.standard_name:
            severity, remedy = "note", "none needed: the channel is not used (it has no standard_name)."
        same = f"{self.group}: {'' if channel is None else channel.column}" if self.group else ""
        self.findings.add(severity, code, where, what, remedy, same=same)

    def all(self, lows: dict[tuple[str, str], dict[Path, float]]) -> None:
        """Look at everything."""
        if not self.channels:
            return
        try:
            refuse_impossible(self.values, [channel.column for channel in self.channels], None)
        except StorageError as error:
            self.add("error", "value", None, str(error), "look at its unit, and for damaged rows.")
            return
        try:
            rate = sampling_rate(self.series.time)
        except StorageError as error:
            self.add("warning", "rate", None, f"{error}.", "export it again without gaps, at one rate.")
            return
        missing = ~np.isfinite(self.values)
        for column in np.flatnonzero(missing.any(axis=0)):
            count = int(missing[:, column].sum())
            self.add("warning", "gap", self.channels[column], f"{count} values are missing.", "fill or cut the gap.")
        if missing.any():
            self.values = np.where(missing, np.nanmedian(self.values, axis=0), self.values)
        reason = why_raw(self.values, rate, [channel.column for channel in self.channels])
        if reason:
            self.add("error", "raw", None, f"it holds raw EMG: {reason}.", "make envelopes of it with EMGEnvelopeTool.")
            return
        if rate < COARSE:
            what = f"{rate:.3g} Hz is coarse for bursts of EMG (less than {COARSE:g} Hz)."
            self.add("note", "coarse", None, what, "export it at 100 Hz or more, if the raw EMG is at hand.")
        low, high = levels(self.values)
        flat = (high - low) <= FLAT * np.median(high - low)
        for number, channel in enumerate(self.channels):
            if flat[number]:
                own, usual = high[number] - low[number], float(np.median(high - low))
                what = f"it is flat: its range is {own:.2g}, the median channel's {usual:.2g}."
                self.add("warning", "flat", channel, what, _LEAVE_OUT)
                continue
            self._offset(channel, float(low[number]), float(high[number]), lows)
            self._negative(channel, self.values[:, number], float(high[number]))
            self._clipping(channel, self.values[:, number])
        alive = np.flatnonzero(~flat)
        for first, second in copies(self.values[:, alive]):
            one, two = self.channels[alive[first]], self.channels[alive[second]]
            what = f"it is a copy of '{one.column}'."
            self.add("warning", "copy", two, what, f"find out which one is wrong, and {_LEAVE_OUT}")

    def _offset(
        self, channel: Channel, low: float, high: float, lows: dict[tuple[str, str], dict[Path, float]]
    ) -> None:
        share = low / high if high > 0.0 else 0.0
        if share >= NOISE:
            what = f"it hardly varies: its lowest level is {share:.0%} of its highest, as in noise or hum."
            self.add("warning", "flat", channel, what, f"filter again with a notch if it is hum, or {_LEAVE_OUT}")
            return
        others = [
            ratio
            for (_, column), ratios in lows.items()
            if column == channel.column and self.path in ratios
            for path, ratio in ratios.items()
            if path != self.path
        ]
        usual = float(np.median(others)) if others else None
        alone = share >= BASELINE and (usual is None or share >= 2.0 * usual)
        beside = usual is not None and share >= BASELINE_WITH_OTHERS and share >= TIMES_OTHERS * max(usual, 0.0)
        if alone or beside:
            compared = "" if usual is None else f" (in the subject's other recordings {usual:.0%})"
            what = f"it sits on an offset: its lowest level is {low:.2g}, {share:.0%} of its highest{compared}."
            self.add("warning", "offset", channel, what, "subtract the level at rest, or filter the raw EMG again.")

    def _negative(self, channel: Channel, values: Array, high: float) -> None:
        least = float(values.min())
        if high <= 0.0 or least > -NEGATIVE * high:
            return
        share = float(np.mean(values < 0.0))
        what = f"{share:.1%} of it is below zero, down to {least:.2g} ({-least / high:.0%} of its high level)."
        severity = "warning" if least <= -VERY_NEGATIVE * high else "note"
        remedy = "an envelope cannot be negative: filter again without overshoot (it is set to zero where it is used)."
        self.add(severity, "negative", channel, what, remedy)

    def _clipping(self, channel: Channel, values: Array) -> None:
        visits, longest = plateaus(self.series.time, values)
        rows = round(longest / float(np.median(np.diff(self.series.time)))) + 1
        if (longest >= PLATEAU and rows >= PLATEAU_ROWS) or visits >= VISITS:
            what = f"it is cut off at {values.max():.4g}: reached {visits} times, for {longest:.3f} s at most."
            self.add("warning", "clipping", channel, what, "record with less gain, or leave the channel out.")


def _missing_channels(recordings: Sequence[Recording], files: Files, findings: Findings) -> None:
    """Tell of channels that files lack: loudly if all of the dataset do, not if the file has the muscle elsewhere."""
    read = [[series for series in map(files.series, item.emg_files) if series is not None] for item in recordings]
    names = MuscleNames.load()
    somewhere: dict[str, set[str]] = {}
    for recording, series in zip(recordings, read, strict=True):
        somewhere.setdefault(recording.trials[0].dataset, set()).update(*(item.labels for item in series))
    for recording, every in zip(recordings, read, strict=True):
        if not recording.channels and every:
            where, remedy = recording.name, "add its rows to emg_channels.csv."
            findings.add("error", "channel", where, "its dataset has no EMG channels.", remedy)
        first, limbs = recording.trials[0], {trial.side for trial in recording.trials}
        lacking: dict[tuple[bool, int], list[str]] = {}
        there = [c for c in recording.channels if c.standard_name and any(series.has(c.column) for series in every)]
        sides = {name.side for c in there for muscle in c.muscles if (name := names.standard(muscle)) is not None}
        if sides and not sides & {"", *limbs}:
            own, other = ", ".join(sorted(limbs)), ", ".join(sorted(sides))
            what = f"its cycles are of side {own}, but its EMG is of side {other}: cycles go with their own limb's EMG."
            remedy = "correct side in trials.csv, or muscles in emg_channels.csv."
            findings.add("error", "side", recording.name, what, remedy)
        for channel in recording.channels:
            served = {name for muscle in channel.muscles if (name := names.standard(muscle)) is not None}
            nowhere = channel.column not in somewhere[first.dataset]
            other_limb = bool(served) and not {name.side for name in served} & {"", *limbs}
            if not channel.standard_name or (other_limb and not nowhere):
                continue
            alike = [
                other
                for other in recording.channels
                if other is channel or not served.isdisjoint(map(names.standard, other.muscles))
            ]
            wanted = [channel] if nowhere else alike
            count = sum(not any(series.has(other.column) for other in wanted) for series in every)
            if count:
                lacking.setdefault((nowhere, count), []).append(channel.column)
        for (nowhere, count), columns in lacking.items():
            what = f"missing in {count} of {len(every)} EMG files: {', '.join(columns)}."
            remedy = "correct the name in emg_channels.csv." if nowhere else "these cycles go without it."
            same = f"{first.dataset}/{'' if nowhere else first.subject}: {', '.join(columns)}"
            findings.add("warning" if nowhere else "note", "channel", recording.name, what, remedy, same=same)
