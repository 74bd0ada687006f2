"""The trials manifest: which activations belong to which EMG, and which EMG channel measures which muscle.

Two CSV files with a header row; paths in them are relative to the CSV file.

``trials.csv``, one row per gait cycle and activation source: ``dataset, subject, trial, stride, motion, speed_m_s,
side, model_file, activation_file, activation_source, emg_file, emg_time_offset_s, t_start, t_end, heel_strike_t``.
``activation_file`` (with ``activation_source``) and ``emg_file`` may be empty: what a method cannot use, it names and
counts. ``emg_time_offset_s`` = l says that EMG(t + l) fits activation(t). ``heel_strike_t`` is only given where the
window does not start at heel strike: the cycle is rolled so that it comes first. A subject named the same in two
datasets is one subject.
``external_loads_file`` (ground reactions), ``coordinates_file`` (the motion) and ``events_file`` (a table of gait
events) may be added: ``opensim-nem2e check`` looks at them, too. ``inverse_dynamics_file`` holds the motion's joint
moments, for methods that learn these, where they are not to be computed from motion and ground reactions.
``age_group`` (``child``, ``adult``, ...) may be added for EMG profiles by age. A dataset is a laboratory, unless the
tools' ``data_groups`` says otherwise.

``emg_channels.csv``: ``dataset, emg_column, muscles, standard_name``. ``muscles`` are model muscle names separated by
``;``. An empty ``standard_name`` says that the channel must not be used (dead, copied, or without a counterpart).

Both readers are strict, and report every fault of a file at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ..errors import LabelError, ManifestError, MissingFileError, StorageError, did_you_mean
from ..log import logger
from ..storage.file_names import name_fault, shown, text_fault
from ..storage.muscles import standard_name_fault
from ..storage.tables import Row, examine_rows, listed_faults, path_in_table

TRIAL_COLUMNS = (
    "dataset",
    "subject",
    "trial",
    "stride",
    "motion",
    "speed_m_s",
    "side",
    "model_file",
    "activation_file",
    "activation_source",
    "emg_file",
    "emg_time_offset_s",
    "t_start",
    "t_end",
    "heel_strike_t",
    "external_loads_file",
    "coordinates_file",
    "events_file",
    "inverse_dynamics_file",
    "age_group",
)
#: Columns of ``trials.csv`` that name files.
FILE_COLUMNS = (
    "activation_file",
    "emg_file",
    "model_file",
    "external_loads_file",
    "coordinates_file",
    "events_file",
    "inverse_dynamics_file",
)

#: Columns of ``trials.csv`` that hold numbers.
NUMBER_COLUMNS = ("speed_m_s", "emg_time_offset_s", "t_start", "t_end", "heel_strike_t")

CHANNEL_COLUMNS = ("dataset", "emg_column", "muscles", "standard_name")

#: Columns of ``trials.csv`` that may be left out, or empty in a row.
OPTIONAL_TRIAL_COLUMNS = (
    "speed_m_s",
    "model_file",
    "activation_file",
    "activation_source",
    "emg_file",
    "emg_time_offset_s",
    "heel_strike_t",
    "external_loads_file",
    "coordinates_file",
    "events_file",
    "inverse_dynamics_file",
    "age_group",
)

SOURCES = ("cmc", "so", "moco")

#: The longest cycle (s): a window that is longer was mistyped.
LONGEST_CYCLE = 1000.0

#: What a channel's name says besides its muscle's: "soleus_l_activation", "soleus_r EMG".
_KIND = re.compile(r"[_ .](activation|excitation|emg|envelope)$", re.IGNORECASE)

#: How short and how long gait cycles are (s), and which motions are gait.
_GAIT_CYCLES = (0.3, 3.0)
_GAITS = ("walk", "run")

#: The fastest motion (m/s): nobody runs faster.
_FASTEST = 15.0

Item = TypeVar("Item", "CycleRecord", "Channel")


@dataclass(frozen=True)
class CycleRecord:
    """One row of ``trials.csv``: a gait cycle with its activations and its EMG.

    Parameters
    ----------
    dataset, subject, trial, stride : str
        Where the cycle comes from.
    motion : str
        Such as ``walk`` or ``run``.
    speed : float or None
        Speed (m/s).
    side : {'r', 'l'}
        The side whose heel strikes bound the cycle; its muscles are the ipsilateral ones.
    model_file : pathlib.Path or None
        The OpenSim model.
    activation_file : pathlib.Path or None
        States (cmc, moco) or StaticOptimization activations; None where nothing was simulated.
    activation_source : {'cmc', 'so', 'moco', ''}
        What computed them.
    emg_file : pathlib.Path or None
        Measured EMG envelopes; None where nothing was measured.
    emg_time_offset : float
        EMG(t + offset) fits activation(t) (s).
    start, end : float
        The cycle on the clock of the activations (s).
    heel_strike : float or None
        Heel strike inside the window, where the window does not start with it (s).
    line : int
        The row's line in the file.
    external_loads_file, coordinates_file, events_file, inverse_dynamics_file : pathlib.Path or None
        The trial's ground reactions (``.xml``), its motion (``.mot``, ``.sto``), its gait events (``.csv``) and what
        InverseDynamicsTool wrote (``.sto``).
    age_group : str
        Such as ``child`` or ``adult``; empty where it is not stated.
    group : str
        The laboratory, where several datasets are of one; empty: the dataset is the laboratory.
    """

    dataset: str
    subject: str
    trial: str
    stride: str
    motion: str
    speed: float | None
    side: Literal["r", "l"]
    model_file: Path | None
    activation_file: Path | None
    activation_source: Literal["cmc", "so", "moco", ""]
    emg_file: Path | None
    emg_time_offset: float
    start: float
    end: float
    heel_strike: float | None
    line: int
    external_loads_file: Path | None = None
    coordinates_file: Path | None = None
    events_file: Path | None = None
    inverse_dynamics_file: Path | None = None
    age_group: str = ""
    group: str = ""

    @property
    def stride_key(self) -> tuple[str, ...]:
        """Which stride of whom it is: rows of one key were simulated several times, and share motion and EMG."""
        return self.dataset, self.subject, self.trial, self.stride, self.side

    @property
    def laboratory(self) -> str:
        """Where the cycle was recorded: nobody of a laboratory that is left out is seen in training."""
        return self.group or self.dataset

    @property
    def name(self) -> str:
        """Dataset, subject, trial, stride and, where there is one, source; for messages."""
        source = f" ({self.activation_source})" if self.activation_source else ""
        return f"{self.dataset}/{self.subject}/{self.trial}/{self.stride}{source}"

    @property
    def simulated(self) -> Path:
        """The activations of a cycle that has some."""
        assert self.activation_file is not None
        return self.activation_file

    @property
    def measured(self) -> Path:
        """The EMG of a cycle that has some."""
        assert self.emg_file is not None
        return self.emg_file

    @property
    def identity(self) -> tuple[str | int | float, ...]:
        """What the cycle is, wherever it stands in the manifest; stride 2 comes before stride 10."""
        files = (self.activation_source, str(self.activation_file), str(self.emg_file))
        stride = (len(self.stride), self.stride)
        return (self.subject, self.dataset, self.trial, *stride, self.side, *files, self.start)


def one_of_each_stride(records: Sequence[CycleRecord]) -> list[CycleRecord]:
    """Keep one row of strides that were simulated several times: their motion and their EMG are the same.

    Left in, a stride would be learned from by one of its rows while it is left out by the other.

    Parameters
    ----------
    records : sequence of CycleRecord
        Rows.

    Returns
    -------
    list of CycleRecord
        In order; of each stride the row of static optimisation, or else the first.
    """
    found: dict[tuple[str, ...], CycleRecord] = {}
    for row in sorted(records, key=lambda row: row.activation_source != "so"):
        found.setdefault(row.stride_key, row)
    kept = {id(row) for row in found.values()}
    return [row for row in records if id(row) in kept]


@dataclass(frozen=True)
class Channel:
    """One row of ``emg_channels.csv``.

    Parameters
    ----------
    dataset : str
        The dataset the channel belongs to.
    column : str
        The channel's label in the EMG files.
    muscles : tuple of str
        Model muscles, with their side, that the channel stands for.
    standard_name : str
        The channel's own standard muscle name; empty for a channel that must not be used.
    line : int
        The row's line in the file.
    """

    dataset: str
    column: str
    muscles: tuple[str, ...]
    standard_name: str
    line: int


def read_trials(path: str | os.PathLike[str]) -> list[CycleRecord]:
    """Read ``trials.csv``.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    list of CycleRecord
        Its rows, in order.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    opensim_nem2e.errors.ManifestError
        Everything that is wrong with it, files that do not exist included.
    """
    trials, faults = examine_trials(path)
    if faults:
        raise ManifestError(_all_faults(path, faults))
    shortest, longest = _GAIT_CYCLES
    odd = [t for t in trials if t.motion in _GAITS and not shortest <= t.end - t.start <= longest]
    if odd:
        logger.warning(
            "%s: %d of %d cycles are shorter than %g s or longer than %g s (%s; the first is of %.3f s): are they "
            "whole gait cycles, and in s?",
            *(path, len(odd), len(trials), shortest, longest, _lines(odd), odd[0].end - odd[0].start),
        )
    return trials


def examine_trials(path: str | os.PathLike[str]) -> tuple[list[CycleRecord], list[str]]:
    """Read the rows of ``trials.csv`` that can be used, and say what is wrong with the others.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    trials : list of CycleRecord
        The rows without a fault.
    faults : list of str
        What :func:`read_trials` would have refused, each with its line.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file is missing or no text.
    """
    trials, faults = _examine(path, TRIAL_COLUMNS, OPTIONAL_TRIAL_COLUMNS, _trial, _trial_key)
    return trials, [*faults, *_spelled_differently(trials)]


def examine_channels(path: str | os.PathLike[str]) -> tuple[list[Channel], list[str]]:
    """Read the rows of ``emg_channels.csv`` that can be used, and say what is wrong with the others.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    channels : list of Channel
        The rows without a fault.
    faults : list of str
        What :func:`read_channels` would have refused, each with its line.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file is missing or no text.
    """
    return _examine(path, CHANNEL_COLUMNS, ("standard_name",), _channel, lambda row: (row.dataset, row.column))


def read_channels(path: str | os.PathLike[str]) -> list[Channel]:
    """Read ``emg_channels.csv``.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    list of Channel
        Its rows, in order; those without a standard name included.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    opensim_nem2e.errors.ManifestError
        Everything that is wrong with it.
    """
    return _read(path, CHANNEL_COLUMNS, ("standard_name",), _channel, lambda row: (row.dataset, row.column))


def read_trial_channels(path: str | os.PathLike[str], labels: Iterable[str]) -> list[Channel]:
    """Read the rows of ``emg_channels.csv`` that are of one recording.

    What a single trial does not need may be missing: the column ``dataset``, and ``standard_name``, without which all
    channels are used.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    labels : iterable of str
        Columns of the recording.

    Returns
    -------
    list of Channel
        Its rows, in order; those that must not be used have no standard name.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    opensim_nem2e.errors.ManifestError
        Everything that is wrong with it.
    """
    known = set(labels)
    rows = _read(
        path, CHANNEL_COLUMNS, ("dataset", "standard_name"), _trial_channel, lambda row: (row.dataset, row.column)
    )
    return [row for row in rows if row.column in known]


def channel_of_each(
    channels: Iterable[tuple[str, Iterable[str]]], path: str | os.PathLike[str] | None
) -> dict[str, str]:
    """Find each muscle's channel.

    Parameters
    ----------
    channels : iterable of (str, iterable of str)
        Channels, and the muscles that they stand for.
    path : str or os.PathLike, optional
        The file that says so, for errors.

    Returns
    -------
    dict of str to str
        The channel of each muscle.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        A muscle has two.
    """
    found: dict[str, str] = {}
    for column, muscles in channels:
        for muscle in muscles:
            if found.setdefault(muscle, column) != column:
                raise LabelError(
                    f"A muscle must have one EMG channel, but '{muscle}' has '{found[muscle]}' and '{column}'.", path
                )
    return found


def channels_called_after(muscles: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Find the channels that have muscles' names, or these and what they hold.

    Parameters
    ----------
    muscles : iterable of str
        Such as ``soleus_l``.
    labels : iterable of str
        The channels, such as ``soleus_l`` and ``soleus_l_activation``, of which the first counts.

    Returns
    -------
    dict of str to str
        The channel of each muscle that has one.
    """
    every = list(labels)
    found = {_KIND.sub("", label): label for label in reversed(every)} | {label: label for label in every}
    return {muscle: found[muscle] for muscle in muscles if muscle in found}


class _Row:
    """The cells of one line, and what is wrong with them."""

    def __init__(self, row: Row, folder: Path):
        self.row = row
        self.cells = row.cells
        self.line = row.line
        self.folder = folder
        self.faults: list[str] = []

    def fault(self, text: str) -> None:
        self.faults.append(f"line {self.line}: {text}")

    def text(self, column: str) -> str:
        value = self.cells.get(column, "")
        if not value:
            self.fault(f"'{column}' must not be empty.")
        elif fault := name_fault(value, f"'{column}'"):
            self.fault(fault)
        return value

    def label(self, column: str) -> str:
        """Return what a file's column is called, which is no part of a file's name."""
        value = self.cells.get(column, "")
        if not value:
            self.fault(f"'{column}' must not be empty.")
        elif fault := text_fault(value, f"'{column}'"):
            self.fault(fault)
        return value

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        value = self.cells.get(column, "")
        if value not in allowed:
            self.fault(
                f"'{column}' must be one of {', '.join(allowed)}; found '{value}'.{did_you_mean(value, allowed)}"
            )
        return value

    def number(self, column: str, default: float | None = None, required: bool = True) -> float | None:
        value = self.cells.get(column, "")
        if not value:
            if required:
                self.fault(f"'{column}' must be a number; found nothing.")
            return default
        number = self.row.number(column)
        if number is None:
            self.fault(f"'{column}' must be a finite number with a decimal point; found '{value}'.")
            return default
        return number

    def file(self, column: str, required: bool = True) -> Path | None:
        value = self.cells.get(column, "")
        if not value:
            if required:
                self.fault(f"'{column}' must name a file; found nothing.")
            return None
        path = path_in_table(self.folder, value)
        try:
            if path.is_file():
                return path
            self.fault(f"'{column}': the file '{path}' does not exist.")
        except (OSError, ValueError):
            # Such as a name that is too long, or holds a zero byte.
            self.fault(f"'{column}' must name a file, but {shown(value)} can be none's name.")
        return None


def _trial(row: _Row) -> CycleRecord | None:
    start, end = row.number("t_start"), row.number("t_end")
    heel_strike = row.number("heel_strike_t", required=False)
    if start is not None and end is not None:
        if end <= start:
            row.fault(f"'t_end' must be later than 't_start'; found {end:g} and {start:g}.")
        elif end - start > LONGEST_CYCLE:
            row.fault(f"a cycle must last at most {LONGEST_CYCLE:g} s; found {end - start:g} s.")
        elif heel_strike is not None and not start <= heel_strike <= end:
            row.fault(f"'heel_strike_t' must lie in the window {start:g}..{end:g} s; found {heel_strike:g}.")
    offset = row.number("emg_time_offset_s", default=0.0, required=False)
    speed = row.number("speed_m_s", required=False)
    if speed is not None and not 0.0 <= speed <= _FASTEST:
        row.fault(f"'speed_m_s' must be 0 to {_FASTEST:g} m/s; found {speed:g}.")
    side = row.choice("side", ("r", "l"))
    model = row.file("model_file", required=False)
    loads, motion, events, moments = (row.file(name, required=False) for name in FILE_COLUMNS[-4:])
    activations, emg = row.file("activation_file", required=False), row.file("emg_file", required=False)
    source = row.choice("activation_source", SOURCES) if row.cells.get("activation_file") else ""
    if not any(row.cells.get(name) for name in ("activation_file", "emg_file", "coordinates_file")):
        row.fault("one of 'activation_file', 'emg_file' and 'coordinates_file' must name a file; found none.")
    words = {name: row.text(name) for name in ("dataset", "subject", "trial", "stride", "motion")}
    if row.cells.get("age_group"):
        words["age_group"] = row.text("age_group")
    if row.faults:
        return None
    # A missing one is a fault; this is for the type checker.
    assert start is not None
    assert end is not None
    assert offset is not None
    return CycleRecord(
        **words,
        speed=speed,
        side=side,  # type: ignore[arg-type]
        model_file=model,
        activation_file=activations,
        activation_source=source,  # type: ignore[arg-type]
        emg_file=emg,
        emg_time_offset=offset,
        start=start,
        end=end,
        heel_strike=heel_strike,
        line=row.line,
        external_loads_file=loads,
        coordinates_file=motion,
        events_file=events,
        inverse_dynamics_file=moments,
    )


def _trial_key(trial: CycleRecord) -> tuple[str, ...]:
    # The files are part of the key: one stride may be simulated several times, with different settings.
    files = (str(trial.activation_file), str(trial.emg_file))
    return (*trial.stride_key, trial.activation_source, *files)


def _trial_channel(row: _Row) -> Channel | None:
    row.cells = {"dataset": "trial", "standard_name": "any", **row.cells}
    return _channel(row)


def _channel(row: _Row) -> Channel | None:
    dataset, column, listed = row.text("dataset"), row.label("emg_column"), row.label("muscles")
    standard = row.cells.get("standard_name", "")
    muscles = tuple(name.strip() for name in listed.split(";"))
    if listed and not all(muscles):
        row.fault(f"'muscles' must be model muscle names separated by ';'; found '{listed}'.")
    for name in sorted({name for name in muscles if name and muscles.count(name) > 1}):
        row.fault(f"'muscles' names '{name}' twice.")
    for fault in (name_fault(name, "'muscles'") for name in muscles if name):
        if fault:
            row.fault(fault)
    fault = standard_name_fault(standard) if standard else ""
    if fault:
        row.fault(f"'standard_name' {fault}")
    if row.faults:
        return None
    return Channel(dataset, column, muscles, standard, row.line)


def _read(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    optional: Sequence[str],
    make: Callable[[_Row], Item | None],
    key: Callable[[Item], tuple[str, ...]],
) -> list[Item]:
    items, faults = _examine(path, columns, optional, make, key)
    if faults:
        raise ManifestError(_all_faults(path, faults))
    return items


def _all_faults(path: str | os.PathLike[str], faults: Sequence[str]) -> str:
    return f"{Path(path)}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found:\n{listed_faults(faults)}"


def _spelled_differently(trials: Sequence[CycleRecord]) -> list[str]:
    """Find names that differ in case or separators only: under two names a subject would be trained on and judged."""
    faults = []
    for what, names in (
        ("dataset", [(trial.dataset,) for trial in trials]),
        ("motion", [(trial.motion,) for trial in trials]),
        ("subject", [(trial.dataset, trial.subject) for trial in trials]),
    ):
        first: dict[tuple[str, ...], tuple[str, int]] = {}
        told = set()
        for own, trial in zip(names, trials, strict=True):
            plain = (*own[:-1], re.sub(r"[\s_.-]+", "_", own[-1]).casefold())
            spelling, line = first.setdefault(plain, (own[-1], trial.line))
            if own[-1] != spelling and own not in told:
                told.add(own)
                faults.append(
                    f"line {trial.line}: the {what} '{own[-1]}' must be spelled as in line {line}, '{spelling}', if it "
                    "is the same; else give it another name."
                )
    return faults


def _lines(trials: Sequence[CycleRecord]) -> str:
    named = ", ".join(str(trial.line) for trial in trials[:5])
    return f"lines {named}{', ...' if len(trials) > 5 else ''}" if len(trials) > 1 else f"line {named}"


def _examine(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    optional: Sequence[str],
    make: Callable[[_Row], Item | None],
    key: Callable[[Item], tuple[str, ...]],
) -> tuple[list[Item], list[str]]:
    file = Path(path)
    try:
        rows, found = examine_rows(file, columns, optional, kind="table of trials or EMG channels")
    except MissingFileError as error:
        raise MissingFileError(f"The manifest '{file}' cannot be read: {error}") from None
    except StorageError as error:
        raise ManifestError(str(error)) from None
    faults = [str(fault) for fault in found]
    items: list[Item] = []
    seen: dict[tuple[str, ...], int] = {}
    for row in (_Row(row, file.parent) for row in rows):
        item = make(row)
        if item is not None:
            first = seen.setdefault(key(item), row.line)
            if first != row.line:
                row.fault(f"this row repeats line {first}.")
            items.append(item)
        faults += row.faults
    if not faults and not items:
        faults.append("the file has no rows below its header.")
    return items, faults
