"""Samples made from arrays, for tests that need no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.data.samples import Samples

Array = NDArray[np.float64]


def make_record(subject: str = "s0", line: int = 2, **changes: Any) -> CycleRecord:
    """Make the manifest's row of a right stride of one second; every line is another stride."""
    values: dict[str, Any] = {
        "dataset": "lab",
        "trial": "walk",
        "stride": str(line),
        "motion": "walk",
        "speed": 1.0,
        "side": "r",
        "model_file": None,
        "activation_file": Path("so.sto"),
        "activation_source": "so",
        "emg_file": Path("emg.sto"),
        "emg_time_offset": 0.0,
        "start": float(line),
        "end": line + 1.0,
        "heel_strike": None,
    }
    return CycleRecord(subject=subject, line=line, **{**values, **changes})


def make_samples(
    activation: Mapping[str, Array], emg: Mapping[str, Array], who: Sequence[str] | Sequence[CycleRecord]
) -> Samples:
    """Make samples from curves, (cycles, time), by side-neutral and standard name; ``who`` tells whose they are."""
    records = tuple(
        row if isinstance(row, CycleRecord) else make_record(str(row), line) for line, row in enumerate(who, start=2)
    )
    size = next(iter(activation.values())).shape[1]
    return Samples(
        inputs={"activation": np.stack(list(activation.values()), axis=2)},
        channels={"activation": tuple(activation), "emg": tuple(emg)},
        time=np.stack([np.linspace(record.start, record.end, size) for record in records]),
        records=records,
        targets={"emg": np.stack(list(emg.values()), axis=2)},
    )


def with_arrays(samples: Samples, **arrays: Array) -> Samples:
    """Put other values in the place of some inputs and targets."""
    return replace(
        samples,
        inputs={name: arrays.get(name, array) for name, array in samples.inputs.items()},
        targets={name: arrays.get(name, array) for name, array in samples.targets.items()},
    )


def joined(one: Samples, other: Samples) -> Samples:
    """Put two sets of samples of the same channels together; the rows get new lines, and so other strides."""
    records = [
        replace(record, line=line, stride=str(line), start=float(line), end=line + 1.0)
        for line, record in enumerate((*one.records, *other.records), start=2)
    ]
    return Samples(
        {name: np.concatenate([one.inputs[name], other.inputs[name]]) for name in one.inputs},
        one.channels,
        np.concatenate([one.time, other.time]),
        tuple(records),
        {name: np.concatenate([one.targets[name], other.targets[name]]) for name in one.targets},
    )
