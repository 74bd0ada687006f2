"""What STDRCrossValidateTool writes: the outcomes of a study as tables, and what is said about them."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..methods.registry import REFERENCE, find_method, method_style
from .splits import WITHIN_SUBJECT

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from ..data.manifest import CycleRecord
    from ..storage.atomic import ResultFiles
    from .cross_validate import FoldOutcome

#: Splittings: what they are, where networks are judged, and whether that is easier than on new subjects.
SPLITTING_MEANINGS = {
    "leave_one_subject_out": (
        "All cycles of one subject are left out at a time.",
        "on subjects they have not seen",
    ),
    "leave_one_laboratory_out": (
        "All cycles of one laboratory (dataset) are left out at a time. Harder than leaving subjects out: nobody "
        "measured with the same equipment and filters is seen in training.",
        "on laboratories they have not seen",
    ),
    "leave_one_speed_out": (
        "All cycles at one speed (rounded to 0.1 m/s) are left out at a time and judged for subjects who are also in "
        "the training cycles. Easier than leaving subjects out: the subject is seen in training.",
        "on speeds they have not seen, of subjects they have (easier than new subjects)",
    ),
    "leave_one_trial_out": (
        "All cycles of one trial are left out at a time and judged for subjects who are also in the training cycles. "
        "Easier than leaving subjects out: the subject is seen in training.",
        "on trials they have not seen, of subjects they have (easier than new subjects)",
    ),
}

_EMG_SCALES = {
    "subject_max": "EMG is divided by the maximum of its channel over the subject's own cycles. The EMG of a subject "
    "who is left out is thus scaled by itself: for judging only, and by a number that nobody has who has no EMG of "
    "this subject. It changes no cycle of anyone else.",
    "trial_max": "EMG is divided by the maximum of its channel over the cycles of the same trial: that of cycles that "
    "are left out by a number that nobody has who has no EMG of them. It changes no other trial.",
    "none": "EMG is taken as it is.",
}
_SHARED_SCALE = (
    " With this splitting the cycles that are left out share their maximum with the training cycles of the same "
    "subject: one number per channel and subject is known across the split."
)


@dataclass
class StudyTables:
    """The tables of a study.

    Parameters
    ----------
    outcomes : sequence of FoldOutcome
        What came of every fold.
    judged : sequence of str
        Keys of the methods that the study judges; input conditions are compared for the first.
    """

    outcomes: Sequence[FoldOutcome] = field(repr=False)
    judged: Sequence[str]
    cycles: pd.DataFrame = field(init=False, repr=False)
    subjects: pd.DataFrame = field(init=False, repr=False)
    statistics: pd.DataFrame = field(init=False, repr=False)
    conditions: pd.DataFrame = field(init=False, repr=False)
    checks: pd.DataFrame = field(init=False, repr=False)
    shortcut: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from .statistics import (
            compare_conditions,
            muscle_statistics,
            shortcut_statistics,
            subject_means,
        )

        self.cycles = _stack(_cycle_rows(outcome) for outcome in self.outcomes)
        self.subjects = subject_means(self.cycles)
        self.statistics = muscle_statistics(self.subjects, self.cycles, self.judged)
        self.conditions = compare_conditions(self.subjects, self.judged[0])
        self.checks = _stack(_check_rows(outcome) for outcome in self.outcomes)
        self.shortcut = shortcut_statistics(self.checks)

    def write(self, files: ResultFiles, name: str) -> None:
        """Write all tables.

        Parameters
        ----------
        files : ResultFiles
            The run's results.
        name : str
            What the files' names begin with.
        """
        import numpy as np

        tables = {
            "cycles": self.cycles,
            "curves": _stack(_curve_rows(outcome) for outcome in self.outcomes),
            "losses": _stack(_loss_rows(outcome) for outcome in self.outcomes),
            "statistics": self.statistics,
            "conditions": self.conditions,
            "subjects": self.subjects,
        }
        for what, table in tables.items():
            table.to_csv(files.path(f"{name}_{what}.csv"), index=False, float_format="%.9g", lineterminator="\n")
        # The stream keeps NumPy from changing the temporary file's name.
        with files.path(f"{name}_attention.npz").open("wb") as stream:
            np.savez(stream, allow_pickle=False, **_attention(self.outcomes, self.judged[0]))

    def baseline_choices(self) -> list[dict[str, Any]]:
        """List what the baselines chose on the training cycles of every fold.

        Returns
        -------
        list of dict
            ``condition, muscle, held_out`` and for each baseline what it chose.
        """
        found = {(outcome.condition, outcome.muscle, outcome.held_out): outcome.parameters for outcome in self.outcomes}
        names = ("condition", "muscle", "held_out")
        return [{**dict(zip(names, key, strict=True)), **chosen} for key, chosen in found.items()]

    @property
    def labels(self) -> dict[str, str]:
        """Names of the judged methods by key."""
        return {key: find_method(key).label for key in self.judged}

    def styles(self) -> dict[str, dict[str, str]]:
        """Say how figures show the methods, for who draws the study without them.

        Returns
        -------
        dict of str to dict
            By key, as :func:`opensim_nem2e.methods.registry.method_style` gives it.
        """
        return {key: method_style(key) for key in dict.fromkeys(self.cycles["method"])}

    def descriptions(self) -> dict[str, str]:
        """Say in words what the methods are.

        Returns
        -------
        dict of str to str
            By key.
        """
        return {key: find_method(key).description for key in dict.fromkeys(self.cycles["method"])}

    def citations(self) -> dict[str, str]:
        """Name the judged methods as a methods paragraph does.

        Returns
        -------
        dict of str to str
            By key.
        """
        return {key: find_method(key).citation or find_method(key).label for key in self.judged}

    def shortcut_check(self) -> dict[str, Any]:
        """Report the check for shortcut learning, muscle by muscle and fold by fold.

        Returns
        -------
        dict of str to object
            For the study's JSON file.
        """
        from .cross_validate import DRAWS, FREQUENCIES
        from .statistics import shortcut_verdicts

        keys = ["seed", "condition", "method", "muscle", "held_out", "subject"]
        folds = self.checks.groupby(keys, sort=False)[["E_opensim", "E", "E_changed"]].mean().reset_index()
        return {
            "meaning": "The trained networks are given inputs of randomly changed frequency and phase. Networks that "
            "refine their input get worse (change = E_changed / E - 1 > 0); those that have learned the average "
            "waveform do not notice. Er_changed is relative to OpenSim's error of the unchanged cycle.",
            "verdicts": shortcut_verdicts(self.shortcut, self.labels),
            "draws_per_cycle": DRAWS,
            "frequency_factors": list(FREQUENCIES),
            "phases": [0.0, 1.0],
            "muscles": self.shortcut.to_dict("records"),
            "folds": folds.to_dict("records"),
        }


def splitting_words(splitting: str, emg_normalization: str) -> dict[str, Any]:
    """Say what a splitting and the scale of EMG mean for what is found.

    Parameters
    ----------
    splitting : {'leave_one_subject_out', 'leave_one_laboratory_out', 'leave_one_speed_out', 'leave_one_trial_out'}
        What is left out.
    emg_normalization : {'subject_max', 'trial_max', 'none'}
        What EMG is divided by.

    Returns
    -------
    dict of str to object
        ``name, meaning, judged, easier, emg_scale``.
    """
    meaning, judged = SPLITTING_MEANINGS[splitting]
    scale = _EMG_SCALES[emg_normalization]
    easier = splitting in WITHIN_SUBJECT
    if easier and emg_normalization == "subject_max":
        scale += _SHARED_SCALE
    return {"name": splitting, "meaning": meaning, "judged": judged, "easier": easier, "emg_scale": scale}


def reproducibility(threads: int) -> dict[str, Any]:
    """State how far the results can be reproduced, and on what they were made.

    Parameters
    ----------
    threads : int
        Threads of each network's computation.

    Returns
    -------
    dict of str to object
        ``tier, meaning, system, machine, processor, threads``.
    """
    return {
        "tier": "same bits on the same machine",
        "meaning": "The same data, settings, package versions, processor and number of threads give the same tables to "
        "the last digit, whatever the number of jobs and the order of trials and columns. On other processors or "
        "versions rounding differs and trainings drift apart: compare statistics, not curves.",
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": threads,
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; what is not a finite number becomes null.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    content : mapping of str to object
        What is written.
    """
    path.write_text(json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


# --- rows -------------------------------------------------------------------------------------------------------------

#: Columns of rows that belong together; one value stands for all of them.
_Columns = dict[str, Any]


def _stack(outcomes: Iterable[Iterable[_Columns]]) -> pd.DataFrame:
    """Make one table of all rows: a table for each method of each fold, joined, would take most of the time."""
    import numpy as np
    import pandas as pd

    table: dict[str, list[Any]] = {}
    for columns in chain.from_iterable(outcomes):
        rows = next(len(values) for values in columns.values() if isinstance(values, list | np.ndarray))
        for name, values in columns.items():
            values = values.tolist() if isinstance(values, np.ndarray) else values
            table.setdefault(name, []).extend(values if isinstance(values, list) else [values] * rows)
    return pd.DataFrame(table)


def _network_columns(outcome: FoldOutcome) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "condition": outcome.condition,
        "muscle": outcome.muscle,
        "held_out": outcome.held_out,
    }


def _record_columns(records: Sequence[CycleRecord]) -> dict[str, list[Any]]:
    return {name: [getattr(record, name) for record in records] for name in ("subject", "dataset", "trial", "stride")}


def _cycle_rows(outcome: FoldOutcome) -> Iterator[_Columns]:
    import numpy as np

    from ..signals.compare import (
        best_lags,
        burst_errors,
        correlations,
        cycle_errors,
        determinations,
        gain_errors,
        peak_errors,
    )

    records, emg = outcome.test.records, outcome.emg
    durations = np.array([record.end - record.start for record in records])
    for method, curves in outcome.curves.items():
        peaks = peak_errors(curves, emg)
        onsets, offsets = burst_errors(curves, emg)
        r, lags = best_lags(curves, emg)
        correlated = correlations(curves, emg)
        yield {
            **_network_columns(outcome),
            **_record_columns(records),
            "motion": [record.motion for record in records],
            "speed_m_s": [math.nan if record.speed is None else record.speed for record in records],
            "side": [record.side for record in records],
            "activation_source": [record.activation_source for record in records],
            "duration_s": durations,
            "method": method,
            "E": cycle_errors(curves, emg),
            "E_gain": gain_errors(curves, emg, outcome.test.subjects),
            "r": correlated,
            "r_squared": correlated**2,
            "determination": determinations(curves, emg),
            "peak_error_percent": 100 * peaks,
            "peak_error_ms": 1e3 * peaks * durations,
            "onset_error_ms": 1e3 * onsets * durations,
            "offset_error_ms": 1e3 * offsets * durations,
            "best_lag_r": r,
            "best_lag_percent": 100 * lags,
        }


def _curve_rows(outcome: FoldOutcome) -> Iterator[_Columns]:
    records = outcome.test.records
    for method, curves in {"emg": outcome.emg, **outcome.curves}.items():
        yield {
            **_network_columns(outcome),
            **_record_columns(records),
            "side": [record.side for record in records],
            "activation_source": [record.activation_source for record in records],
            "method": method,
            **{f"y{k:02d}": curves[:, k] for k in range(curves.shape[1])},
        }


def _loss_rows(outcome: FoldOutcome) -> Iterator[_Columns]:
    columns: _Columns = {name: [] for name in ("method", "epoch", "loss", "validation_loss")}
    for method, trained in outcome.trained.items():
        for epoch in trained.history:
            held = math.nan if epoch.validation_loss is None else epoch.validation_loss
            for name, value in zip(columns, (method, epoch.number, epoch.loss, held), strict=True):
                columns[name].append(value)
    yield {**_network_columns(outcome), **columns}


def _check_rows(outcome: FoldOutcome) -> Iterator[_Columns]:
    from ..signals.compare import cycle_errors

    for method, changed in outcome.changed_errors.items():
        yield {
            **_network_columns(outcome),
            "method": method,
            "subject": outcome.test.subjects,
            "E_opensim": cycle_errors(outcome.curves[REFERENCE], outcome.emg),
            "E": cycle_errors(outcome.curves[method], outcome.emg),
            "E_changed": changed,
        }


def _attention(outcomes: Sequence[FoldOutcome], method: str) -> dict[str, NDArray[np.generic]]:
    """Average a method's attention over all cycles that were left out; name the inputs beside it."""
    import numpy as np

    groups: dict[str, list[FoldOutcome]] = {}
    for outcome in outcomes:
        if method in outcome.attention:
            groups.setdefault(f"{outcome.condition}/{outcome.muscle}", []).append(outcome)
    arrays: dict[str, NDArray[np.generic]] = {}
    for key, members in groups.items():
        counts = [len(outcome.emg) for outcome in members]
        arrays[key] = np.average([outcome.attention[method] for outcome in members], axis=0, weights=counts)
        arrays[f"{key}/inputs"] = np.array(members[0].test.inputs)
    return arrays
