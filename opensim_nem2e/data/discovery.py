"""Build a trials manifest from a folder of results, by patterns that name its layout.

A pattern is a path below the folder with names in braces, such as ``{subject}/{trial}/results/{trial}_states.sto``. A
name stands for any text without a slash, the same text wherever it appears in a path, and fills the manifest's column
of that name; other names only help to tell files apart. ``*`` stands for any text without a slash.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from ..errors import ManifestError, NEM2EError, StorageError, did_you_mean
from ..log import logger
from ..signals.cycles import Cycle, cycles_from_strikes
from ..signals.events import GaitEvents, events_from_external_loads
from ..storage import MuscleNames, StandardMuscle, TimeSeries, read_model, read_storage
from ..storage.atomic import ResultFiles
from ..storage.emg_files import read_envelopes
from ..storage.file_names import shown, text_fault
from ..storage.labels import find_activation_columns, find_so_activation_columns
from ..storage.tables import Row, read_rows, write_table
from .manifest import CHANNEL_COLUMNS, FILE_COLUMNS, NUMBER_COLUMNS, SOURCES, TRIAL_COLUMNS
from .simulation import told_simulator

#: Columns that name files, and so may have a pattern; the first two must have one.
FILES = FILE_COLUMNS
_REQUIRED_FILES = FILES[:2]

#: Where the gait cycles come from, the first that a trial has; each of them may be missing where the other is there.
_CYCLE_FILES = ("events_file", "external_loads_file")

#: Columns that may be set for all rows.
SETTABLE = ("dataset", "subject", "trial", "motion", "speed_m_s", "side", "activation_source", "emg_time_offset_s")

#: By how much a cycle may leave the activations (s): CMC's results start 0.03 s after its initial time.
_TOLERANCE = 0.04

_NAME = re.compile(r"\{(\w+)\}")

#: What EMG channels have around the muscle's name: "emg_soleus_r", "soleus_r_activation", "Voltage.R_SOL".
_DECORATION = re.compile(r"(?<![a-z])(emg|activation|envelope|env|voltage|raw|norm\w*|\d+)(?![a-z])")


@dataclass(frozen=True)
class FolderLayout:
    """How a folder is laid out, and what its files do not say.

    Parameters
    ----------
    patterns : mapping of str to str
        Column of :data:`FILES` to pattern.
    constants : mapping of str to str
        Column of :data:`SETTABLE` to its value in all rows.
    whole_file : bool
        Each activation file is exactly one cycle of the side in its pattern or constants.

    Raises
    ------
    ManifestError
        Everything that is wrong with it.
    """

    patterns: Mapping[str, str]
    constants: Mapping[str, str]
    whole_file: bool = False

    def __post_init__(self) -> None:
        """Check what was given."""
        faults = [
            f"a pattern must be for one of {', '.join(FILES)}; found '{name}'.{did_you_mean(name, FILES)}"
            for name in self.patterns
            if name not in FILES
        ]
        faults += [
            f"the pattern of '{name}': {fault}"
            for name, text in self.patterns.items()
            if (fault := pattern_fault(text))
        ]
        faults += [f"a pattern for '{name}' is needed." for name in _REQUIRED_FILES if name not in self.patterns]
        faults += [
            f"only {', '.join(SETTABLE)} can be set; found '{name}'.{did_you_mean(name, SETTABLE)}"
            for name in self.constants
            if name not in SETTABLE
        ]
        source = self.constants.get("activation_source", SOURCES[0])
        if source not in SOURCES:
            faults.append(f"activation_source must be one of {', '.join(SOURCES)}; found '{source}'.")
        named = {*_NAME.findall(self.patterns.get("activation_file", "")), *self.constants}
        faults += [
            f"'{name}' must be a name in the pattern of activation_file, or be set."
            for name in ("subject", "trial", "motion", *(["side"] if self.whole_file else []))
            if name not in named
        ]
        if not self.whole_file and not set(_CYCLE_FILES) & set(self.patterns):
            faults.append(
                "the gait cycles are not known: a pattern for events_file or external_loads_file is needed, unless "
                "each file is exactly one cycle (whole file)."
            )
        if faults:
            raise ManifestError("\n".join(["The layout cannot be used:", *(f"  - {fault}" for fault in faults)]))


#: So many stars and names in one pattern are more than any layout needs, and fitting them could take for ever.
_MOST_WILDCARDS = 12


def pattern_fault(pattern: str, absolute: bool = False, names: bool = True) -> str:
    """Say why a text cannot be a pattern of files or folders.

    Parameters
    ----------
    pattern : str
        The text.
    absolute : bool
        Whether it may start at the root of the file system.
    names : bool
        Whether braces hold names; otherwise they stand for themselves.

    Returns
    -------
    str
        What is allowed and what was found; empty if it can.
    """
    if not pattern.strip():
        return "a pattern must not be empty."
    fault = text_fault(pattern, "a pattern")
    if fault:
        return fault
    if "**" in pattern:
        return f"'*' stands for any text without a slash, and '**' is not known; {shown(pattern)} was found."
    if not absolute and (Path(pattern).is_absolute() or PureWindowsPath(pattern).drive):
        return f"a pattern must be relative, but {shown(pattern)} was found."
    anchor = Path(pattern).anchor
    if anchor and re.search(r"[*{?]", pattern[len(anchor) :].lstrip("/\\").split("/")[0]):
        return f"an absolute pattern must begin with the name of a folder, but {shown(pattern)} was found."
    if not Path(pattern).name:
        return f"a pattern must name a file or folder, but {shown(pattern)} was found."
    if names:
        wrong = [name for name in re.findall(r"\{([^{}]*)\}", pattern) if not name.isidentifier()]
        if wrong or re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", pattern)):
            return (
                "braces must hold a name, which begins with a letter and goes on with letters, digits and "
                f"underscores ({{subject}}), but {shown(pattern)} was found."
            )
    if len(re.findall(r"\{|\*", pattern)) > _MOST_WILDCARDS:
        return f"at most {_MOST_WILDCARDS} stars and names are allowed, but {shown(pattern)} was found."
    return ""


def find_files(
    root: Path, pattern: str, known: Mapping[str, str] | None = None, folders: bool = False
) -> list[tuple[Path, dict[str, str]]]:
    """Find the files that fit a pattern.

    Parameters
    ----------
    root : pathlib.Path
        The folder.
    pattern : str
        The pattern.
    known : mapping of str to str, optional
        Names that have their text already.
    folders : bool
        Find folders instead.

    Returns
    -------
    list of tuple
        Each file with the texts of the pattern's names, in order of the path.

    Raises
    ------
    opensim_nem2e.errors.StorageError
        A folder cannot be looked through.
    """
    seen: set[str] = set()
    expression, wildcard = "", ""
    for number, part in enumerate(re.split(r"(\{\w+\}|\*)", pattern)):
        name = part[1:-1]
        if number % 2 == 0:
            expression += re.escape(part)
            wildcard += re.sub(r"([\[\]?])", r"[\1]", part)
        elif part == "*":
            expression, wildcard = expression + "[^/]*", wildcard + "*"
        elif known is not None and name in known:
            expression += re.escape(known[name])
            wildcard += re.sub(r"([\[\]?*])", r"[\1]", known[name])
        else:
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
            wildcard += "*"
            seen.add(name)
    fits = re.compile(expression)
    found = []
    try:
        # Two stars side by side would mean any depth.
        paths = sorted(root.glob(re.sub(r"\*+", "*", wildcard)))
    except OSError as error:
        where = error.filename or root
        raise StorageError(
            f"A folder that the pattern {shown(pattern)} fits cannot be looked through: {error.strerror}.", where
        ) from error
    for path in paths:
        match = fits.fullmatch(path.relative_to(root).as_posix())
        try:
            fits_kind = path.is_dir() if folders else path.is_file()
        except OSError:
            # What may not be looked at is none of ours.
            continue
        if match is not None and fits_kind:
            found.append((path, match.groupdict()))
    return found


@dataclass
class Discovery:
    """What was found.

    Parameters
    ----------
    trials : list of dict
        Rows of ``trials.csv``, paths absolute.
    channels : list of dict
        Rows of ``emg_channels.csv``.
    unknown : dict of str to list of str
        Channels that could not be named, by dataset.
    """

    trials: list[dict[str, str]]
    channels: list[dict[str, str]]
    unknown: dict[str, list[str]]

    def write(self, folder: Path, *, append: bool = False) -> list[Path]:
        """Write both tables.

        Parameters
        ----------
        folder : pathlib.Path
            Where; their paths are relative to it.
        append : bool
            Keep the rows of tables that are there, above the new ones.

        Returns
        -------
        list of pathlib.Path
            ``trials.csv`` and ``emg_channels.csv``.

        Raises
        ------
        opensim_nem2e.errors.ManifestError
            A row is there already, or a channel of the same dataset has another muscle there.
        opensim_nem2e.errors.NEM2EError
            A table that is there cannot be read.
        """
        rows = [
            {
                column: os.path.relpath(value, folder.resolve()).replace(os.sep, "/")
                if column in FILES and value
                else value
                for column, value in row.items()
            }
            for row in self.trials
        ]
        channels = self.channels
        if append:
            rows = _joined_trials(folder / "trials.csv", rows)
            channels = _joined_channels(folder / "emg_channels.csv", channels)
        # Offsets are what 'check' will propose: their column is there to be filled.
        columns = [name for name in TRIAL_COLUMNS if name == "emg_time_offset_s" or any(row.get(name) for row in rows)]
        with ResultFiles(folder) as files, files.own_names():
            for name, header, content in (
                ("trials.csv", columns, rows),
                ("emg_channels.csv", list(CHANNEL_COLUMNS), channels),
            ):
                write_table(files.path(name), header, [[row.get(column, "") for column in header] for row in content])
            return files.finals


def _joined_trials(path: Path, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Put new rows below those of a table."""
    old = [dict(row.cells) for row in _old_rows(path, TRIAL_COLUMNS)]
    named = ("dataset", "subject", "trial", "stride", "side", "activation_source", "activation_file", "emg_file")

    def key(row: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(os.path.normpath(row.get(name, "")) for name in named)

    known = {key(row) for row in old}
    again = ["/".join(row.get(name, "") for name in named[:5]) for row in rows if key(row) in known]
    if again:
        raise ManifestError(f"{path}: {len(again)} of {len(rows)} rows are there already: {listed(again, 4)}.")
    return old + [dict(row) for row in rows]


def _joined_channels(path: Path, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Put new channels below those of a table; the same channel serves the muscles of both."""
    joined = {
        (row.cells["dataset"], row.cells["emg_column"]): dict(row.cells) for row in _old_rows(path, CHANNEL_COLUMNS)
    }
    for row in rows:
        old = joined.setdefault((row["dataset"], row["emg_column"]), dict(row))
        there = old.get("standard_name", "")
        if there != row["standard_name"]:
            raise ManifestError(
                f"{path}: the channel '{row['emg_column']}' of the dataset '{row['dataset']}' is '{there}' there, and "
                f"'{row['standard_name']}' here. Give these subjects a dataset of their own (--set dataset=NAME)."
            )
        muscles = [*old["muscles"].split(";"), *row["muscles"].split(";")]
        old["muscles"] = ";".join(dict.fromkeys(name.strip() for name in muscles))
    return list(joined.values())


def _old_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    if not path.exists():
        return []
    rows = read_rows(path, columns, columns, kind="manifest")
    if rows and rows[0].decimal_comma:
        # The joined table is separated by commas.
        cells = [{k: v.replace(",", ".") if k in NUMBER_COLUMNS else v for k, v in row.cells.items()} for row in rows]
        rows = [Row(row.line, mapping) for row, mapping in zip(rows, cells, strict=True)]
    return rows


def discover(root: str | os.PathLike[str], layout: FolderLayout, names: MuscleNames | None = None) -> Discovery:
    """Find the trials of a folder, and cut their gait cycles.

    Parameters
    ----------
    root : str or os.PathLike
        The folder.
    layout : FolderLayout
        Where things are in it.
    names : MuscleNames, optional
        The table of muscle names; the shipped one by default.

    Returns
    -------
    Discovery
        Rows for both tables. A trial that lacks a file, or has no complete cycle, is left out with a warning. Where a
        trial has events, its ground reactions may be missing, and the other way round.

    Raises
    ------
    opensim_nem2e.errors.ManifestError
        No file fits the pattern of the activations, or no trial is complete.
    """
    folder = Path(root).resolve()
    matches = find_files(folder, layout.patterns["activation_file"])
    if not matches:
        raise ManifestError(
            f"No file in '{folder}' fits the pattern '{layout.patterns['activation_file']}' of activation_file."
        )
    builder = _Builder(folder, layout, names or MuscleNames.load())
    for path, texts in matches:
        builder.add(path, texts)
    builder.finish()
    if not builder.found.trials:
        raise ManifestError(f"None of the {len(matches)} files of activations is a complete trial; see the warnings.")
    return builder.found


class _Builder:
    def __init__(self, root: Path, layout: FolderLayout, names: MuscleNames):
        self.root = root
        self.layout = layout
        self.names = names
        self.found = Discovery([], [], {})
        self.sides: dict[tuple[str, str], str] = {}
        self.emg: dict[Path, TimeSeries] = {}
        self.events: dict[Path, GaitEvents] = {}
        self.left_out: dict[str, list[Path]] = {}
        self.seen: set[tuple[str, str, str]] = set()

    def add(self, path: Path, texts: Mapping[str, str]) -> None:
        """Add the rows of one file of activations."""
        row = {"dataset": self.root.name, **self.layout.constants, **texts, "activation_file": str(path)}
        try:
            for name, pattern in self.layout.patterns.items():
                if name != "activation_file" and (found := self._one(name, pattern, texts)) is not None:
                    row[name] = str(found)
            activations = read_storage(path, model=row.get("model_file"))
            row.setdefault("activation_source", told_simulator(activations) or "cmc")
            self._channels(row, activations)
            cycles = self._cycles(row, activations)
        except NEM2EError as error:
            self.left_out.setdefault(str(error), []).append(path)
            return
        for side in ("r", "l"):
            own = [cycle for cycle in cycles if cycle.side == side]
            for number, cycle in enumerate(own, start=1):
                stride = str(number)
                if "stride" in row:
                    stride = row["stride"] if len(own) == 1 else f"{row['stride']}.{number}"
                span = {"t_start": f"{cycle.start:.4f}", "t_end": f"{cycle.end:.4f}"}
                self.found.trials.append({**row, **span, "stride": stride, "side": side})

    def finish(self) -> None:
        """Keep the channels of the trials that were kept, and say what was left out, each reason once."""
        kept = {
            (row["dataset"], label) for row in self.found.trials for label in self.emg[Path(row["emg_file"])].labels
        }
        self.found.channels = [row for row in self.found.channels if (row["dataset"], row["emg_column"]) in kept]
        for reason, paths in self.left_out.items():
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            logger.warning("%s%s: left out: %s", paths[0], more, reason)

    def _one(self, name: str, pattern: str, texts: Mapping[str, str]) -> Path | None:
        """Find the file of a column; None where there is none and none is needed."""
        found = find_files(self.root, pattern, texts)
        if not found and name in _CYCLE_FILES:
            others = {other for other in _CYCLE_FILES if other != name} & set(self.layout.patterns)
            if self.layout.whole_file or any(find_files(self.root, self.layout.patterns[o], texts) for o in others):
                return None
        if len(found) != 1:
            listed = f" ({', '.join(str(path.relative_to(self.root)) for path, _ in found[:3])}, ...)" if found else ""
            raise ManifestError(
                f"the pattern '{pattern}' of {name} must fit one file, but it fits {len(found)}{listed}."
            )
        return found[0][0]

    def _cycles(self, row: Mapping[str, str], activations: TimeSeries) -> list[Cycle]:
        start, end = float(activations.time[0]), float(activations.time[-1])
        if self.layout.whole_file:
            return [Cycle(row["side"], start, end)]
        labels = self.emg[Path(row["emg_file"])].labels
        measured = {self.sides[row["dataset"], label] for label in labels if (row["dataset"], label) in self.sides}
        if not measured:
            raise ManifestError(
                f"no channel of its EMG ({listed(labels)}) says muscle and side. Name "
                "them as the muscles of the model (channels_file of EMGEnvelopeTool)."
            )
        source = Path(next(row[name] for name in _CYCLE_FILES if name in row))
        if source not in self.events:
            read = GaitEvents.read if "events_file" in row else events_from_external_loads
            self.events[source] = read(source)
        events = self.events[source]
        cycles: list[Cycle] = []
        for side, strikes in (("r", events.right), ("l", events.left)):
            if row.get("side", side) != side or side not in measured:
                continue
            found, rejected = cycles_from_strikes(strikes, side, start - _TOLERANCE, end + _TOLERANCE)
            cycles += found
            for pair in rejected:
                # What merely lies at the ends of a file is no news.
                level = logging.DEBUG if "not complete" in pair.reason else logging.INFO
                logger.log(
                    level,
                    "%s: no cycle from %.3f to %.3f s (%s): %s.",
                    row["activation_file"],
                    pair.start,
                    pair.end,
                    pair.side,
                    pair.reason,
                )
        if not cycles:
            near = {
                word: ", ".join(f"{time:.3f}" for time in strikes if start - 1.0 < time < end + 1.0) or "none"
                for side, word, strikes in (("r", "right", events.right), ("l", "left", events.left))
                if side in measured
            }
            raise ManifestError(
                f"there is no complete gait cycle in {start:.3f} to {end:.3f} s of a leg with EMG; {source.name} has "
                f"heel strikes at (s): {'; '.join(f'{word}: {times}' for word, times in near.items())}."
            )
        return cycles

    def _channels(self, row: Mapping[str, str], activations: TimeSeries) -> None:
        """Name the EMG channels of a file, for each model that the dataset has."""
        path = Path(row["emg_file"])
        if path not in self.emg:
            self.emg[path] = read_envelopes(path)
        dataset, model = row["dataset"], row.get("model_file") or " ".join(activations.labels)
        unknown = self.found.unknown.setdefault(dataset, [])
        fresh = [label for label in self.emg[path].labels if (dataset, model, label) not in self.seen]
        if not fresh:
            return
        self.seen.update((dataset, model, label) for label in fresh)
        muscles = self._muscles(row, activations)
        rows = {channel["emg_column"]: channel for channel in self.found.channels if channel["dataset"] == dataset}
        for label in fresh:
            standard = channel_muscle(label, self.names)
            stands_for = [name for name, found in muscles.items() if found == standard] if standard else []
            if label in rows:
                # Subjects of one dataset may have different models.
                known = rows[label]["muscles"].split(";")
                rows[label]["muscles"] = ";".join([*known, *(name for name in stands_for if name not in known)])
            elif standard is None or not stands_for:
                unknown += [label] if label not in unknown else []
            else:
                self.sides[dataset, label] = standard.side
                unknown[:] = [name for name in unknown if name != label]
                cells = (dataset, label, ";".join(stands_for), standard.name)
                self.found.channels.append(dict(zip(CHANNEL_COLUMNS, cells, strict=True)))

    def _muscles(self, row: Mapping[str, str], activations: TimeSeries) -> dict[str, StandardMuscle | None]:
        if row.get("model_file"):
            return self.names.of_model(read_model(row["model_file"]).muscles)
        find = find_so_activation_columns if row["activation_source"] == "so" else find_activation_columns
        return self.names.of_model(find(activations))


def channel_muscle(label: str, names: MuscleNames) -> StandardMuscle | None:
    """Guess which muscle, of which side, an EMG channel measures.

    Parameters
    ----------
    label : str
        The channel's name, such as ``soleus_r``, ``R Soleus EMG`` or ``gasmed_l_activation``.
    names : MuscleNames
        The table of muscle names.

    Returns
    -------
    StandardMuscle or None
        None where the name or the side cannot be told.
    """
    plain = _DECORATION.sub(" ", re.sub(r"[^a-z0-9]+", " ", label.lower().replace("_", " ")))
    words = plain.split()
    for joint in ("_", ""):
        found = names.standard(joint.join(words))
        if found is not None and found.side:
            return found
    sides = [word for word in words if word in ("r", "l", "right", "left")]
    rest = [word for word in words if word not in sides]
    if len(sides) != 1:
        return None
    for joint in ("_", ""):
        found = names.standard(f"{joint.join(rest)}_{sides[0][0]}")
        if found is not None and found.side:
            return found
    return None


def listed(labels: Iterable[str], most: int = 12) -> str:
    """Return names for a message.

    Parameters
    ----------
    labels : iterable of str
        The names.
    most : int
        How many to show.

    Returns
    -------
    str
        Separated by commas.
    """
    every: Sequence[str] = list(labels)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
