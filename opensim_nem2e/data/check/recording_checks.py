"""The manifest's rows sorted into recordings, and their files read once, with whatever is wrong with them noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import NEM2EError, StorageError
from ...signals.resample import interpolate
from ...storage import OsimModel, TimeSeries, read_model, read_storage
from ...storage.emg_files import TABLE_SUFFIXES, read_envelopes
from ...storage.labels import find_activation_columns, find_so_activation_columns
from ..gait_cycles import holds_one_cycle
from ..manifest import Channel, CycleRecord
from .findings import Findings

Array = NDArray[np.float64]

#: Samples of a stride: 1 %.
SAMPLES = 101

#: By how much a stride may leave the EMG: half a sample of a network's window (s).
_OVERHANG = 0.03


@dataclass
class Files:
    """Reads files, each once; what is wrong with one becomes a finding.

    Parameters
    ----------
    findings : Findings
        Takes what is wrong.
    """

    findings: Findings
    _series: dict[Path, TimeSeries | None] = field(default_factory=dict)
    _models: dict[Path, OsimModel | None] = field(default_factory=dict)
    _columns: dict[tuple[Path, bool], dict[str, str]] = field(default_factory=dict)

    def series(self, path: Path, model: Path | None = None) -> TimeSeries | None:
        """Read a storage file, or a table of EMG.

        Parameters
        ----------
        path : pathlib.Path
            The file.
        model : pathlib.Path, optional
            Its model, for a header that OpenSim damaged.

        Returns
        -------
        TimeSeries or None
            None where it cannot be read.
        """
        if path not in self._series:
            self._series[path] = self._read(path, model)
        return self._series[path]

    def activation_columns(self, trial: CycleRecord) -> dict[str, str]:
        """Find the muscles' activations in a simulation's file.

        Parameters
        ----------
        trial : CycleRecord
            Whose it is. The file can be read (:meth:`series`).

        Returns
        -------
        dict of str to str
            Muscle to label.
        """
        optimised = trial.activation_source == "so"
        key = trial.simulated, optimised
        if key not in self._columns:
            series = self.series(trial.simulated, trial.model_file)
            assert series is not None
            find = find_so_activation_columns if optimised else find_activation_columns
            self._columns[key] = find(series)
        return self._columns[key]

    def _read(self, path: Path, model: Path | None) -> TimeSeries | None:
        try:
            table = path.suffix.lower() in TABLE_SUFFIXES
            series = read_envelopes(path) if table else read_storage(path, model=model)
        except StorageError as error:
            code = "time" if "Time must increase" in str(error) else "file"
            remedy = "put the rows in order of time" if code == "time" else "write the file again from its source"
            self.findings.add("error", code, str(path), str(error).removeprefix(f"{path}:"), f"{remedy}.")
            return None
        except NEM2EError as error:
            self.findings.add("error", "file", str(path), str(error), "correct the name, or bring the file back.")
            return None
        for note in series.notes:
            severity, code, remedy = "warning", "header", f"opensim-nem2e repair {path.name}"
            if "same time" in note:
                code, remedy = "time", "write the file again without repeated times."
            elif "unit of angles" in note:
                severity, remedy = "note", "add the line inDegrees=yes or inDegrees=no; forces do not need it."
            self.findings.add(severity, code, str(path), f"{note}.", remedy)
        return series

    def model(self, path: Path | None) -> OsimModel | None:
        """Read a model.

        Parameters
        ----------
        path : pathlib.Path or None
            The file.

        Returns
        -------
        OsimModel or None
            None where there is none, or it cannot be read.
        """
        if path is None:
            return None
        if path not in self._models:
            try:
                self._models[path] = read_model(path)
            except NEM2EError as error:
                self.findings.add(
                    "error", "file", str(path), str(error), "open the model in OpenSim and save it again."
                )
                self._models[path] = None
        return self._models[path]


@dataclass(frozen=True, eq=False)
class Recording:
    """Rows of the manifest that share their recording: strides of one trial from one source.

    Rows whose EMG files hold one cycle each (time-normalised data) are taken together by subject.

    Parameters
    ----------
    trials : tuple of CycleRecord
        The rows.
    channels : tuple of Channel
        The EMG channels of the dataset.
    one_cycle : bool
        Whether every EMG file holds exactly one cycle: then it is periodic.
    """

    trials: tuple[CycleRecord, ...]
    channels: tuple[Channel, ...]
    one_cycle: bool

    @property
    def name(self) -> str:
        """Dataset, subject, trial and source, for messages."""
        first = self.trials[0]
        trial = first.trial if len({t.trial for t in self.trials}) == 1 else f"{len(self.trials)} cycles"
        return f"{first.dataset}/{first.subject}/{trial} ({first.activation_source})"

    @property
    def emg_files(self) -> tuple[Path, ...]:
        """The EMG files, each once."""
        return tuple(dict.fromkeys(trial.measured for trial in self.trials))

    @property
    def offset(self) -> float:
        """The EMG's time offset (s)."""
        return self.trials[0].emg_time_offset

    @property
    def duration(self) -> float:
        """The median cycle (s)."""
        return median(trial.end - trial.start for trial in self.trials)

    @property
    def phases(self) -> Array:
        """The samples of a stride, 0..1."""
        return np.linspace(0.0, 1.0, SAMPLES)

    def activation(self, files: Files, trial: CycleRecord, channel: Channel) -> Array | None:
        """Return OpenSim's activation over a stride, the mean of the channel's muscles.

        Parameters
        ----------
        files : Files
            Reads.
        trial : CycleRecord
            The stride.
        channel : Channel
            The channel.

        Returns
        -------
        numpy.ndarray or None, shape (samples,)
            None where there is none. Beyond the file its last value is held.
        """
        series = files.series(trial.simulated, trial.model_file)
        if series is None:
            return None
        columns = files.activation_columns(trial)
        labels = [columns[muscle] for muscle in channel.muscles if muscle in columns]
        if not labels:
            return None
        time = trial.start + self.phases * (trial.end - trial.start)
        rows = _rows_about(series.time, time)
        values = np.nanmean(series.data[rows][:, [series.labels.index(label) for label in labels]], axis=1)
        return interpolate(series.time[rows], values, time)

    def emg(self, files: Files, trial: CycleRecord, channel: Channel, lag: ArrayLike = 0.0) -> Array | None:
        """Return the EMG over a stride, its time offset applied.

        Parameters
        ----------
        files : Files
            Reads.
        trial : CycleRecord
            The stride.
        channel : Channel
            The channel.
        lag : array_like, shape () or (lags,)
            Shifts it further: EMG(t + offset + lag) (s).

        Returns
        -------
        numpy.ndarray or None, shape (samples,) or (lags, samples)
            None where there is none, or the stride lies outside the recording. Where only the further lag leads
            outside, the recording's end is held.
        """
        series = files.series(trial.measured)
        if series is None or not series.has(channel.column):
            return None
        shift = np.asarray(lag, dtype=float)[..., np.newaxis]
        time = trial.start + self.phases * (trial.end - trial.start) + trial.emg_time_offset + shift
        if self.one_cycle:
            time = trial.start + (time - trial.start) % (trial.end - trial.start)
        elif np.any(time - shift < series.time[0] - _OVERHANG) or np.any(time - shift > series.time[-1] + _OVERHANG):
            return None
        values = series.data[:, series.labels.index(channel.column)]
        if not np.isfinite(values).all():
            return None
        rows = _rows_about(series.time, time)
        return interpolate(series.time[rows], values[rows], time.ravel()).reshape(time.shape)


def _rows_about(time: Array, at: Array) -> slice:
    """Return the rows between which others are interpolated: many strides of a long file cost no more than the file."""
    return slice(max(0, int(np.searchsorted(time, at.min(), "right")) - 1), int(np.searchsorted(time, at.max())) + 1)


def recordings_of(trials: Sequence[CycleRecord], channels: Sequence[Channel], files: Files) -> list[Recording]:
    """Sort the manifest's rows.

    Parameters
    ----------
    trials : sequence of CycleRecord
        The rows.
    channels : sequence of Channel
        All channels.
    files : Files
        Reads.

    Returns
    -------
    list of Recording
        In the manifest's order.
    """
    groups: dict[tuple[object, ...], list[CycleRecord]] = {}
    periodic: dict[tuple[object, ...], bool] = {}
    for trial in trials:
        series = files.series(trial.measured)
        one = series is not None and series.n_rows > 1 and holds_one_cycle(series.time, trial.start, trial.end)
        own = (trial.motion, trial.emg_time_offset) if one else (trial.trial, trial.measured)
        key = (trial.dataset, trial.subject, trial.activation_source, *own)
        groups.setdefault(key, []).append(trial)
        periodic[key] = one
    return [
        Recording(tuple(rows), tuple(c for c in channels if c.dataset == rows[0].dataset), periodic[key])
        for key, rows in groups.items()
    ]
