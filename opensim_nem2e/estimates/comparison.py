"""Two results, or a result and measured EMG, muscle by muscle."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.discovery import listed
from ..errors import LabelError, MissingFileError, StorageError
from ..log import logger
from ..signals.compare import correlations
from ..signals.gaps import gaps, inside_gaps
from ..signals.resample import interpolate
from ..storage import read_storage
from ..storage.labels import find_activation_columns, find_so_activation_columns
from .measured_emg import log_channels, read_measured_emg

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MuscleDifference:
    """How two curves of one muscle differ over the time that both cover.

    Parameters
    ----------
    muscle : str
        The model's muscle.
    mean_a, mean_b : float
        Mean values.
    rms_difference : float
        Root mean square of (B - A).
    r : float
        Pearson's correlation, which does not depend on the amplitudes; 0 where a curve is flat.
    """

    muscle: str
    mean_a: float
    mean_b: float
    rms_difference: float
    r: float


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to.

    Parameters
    ----------
    a, b : pathlib.Path
        The files that were compared.
    start, end : float
        The time that was compared (s).
    rows : sequence of MuscleDifference
        One per muscle that both have.
    only_a, only_b : sequence of str
        Muscles that one of them has alone.
    """

    a: Path
    b: Path
    start: float
    end: float
    rows: Sequence[MuscleDifference]
    only_a: Sequence[str]
    only_b: Sequence[str]


def activation_file(path: Path) -> Path:
    """Find the activations in what was named.

    Parameters
    ----------
    path : pathlib.Path
        A storage file, or a results directory that holds those of one run.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        There is no such file, or the directory holds none, or several.
    """
    if not path.is_dir():
        if not path.exists():
            raise MissingFileError(f"{path}: there is no such file or directory.")
        return path
    found = [file for file in sorted(path.glob("*_activation.sto")) if not file.stem.endswith("_consistent_activation")]
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or "none"
        raise MissingFileError(
            f"{path}: a results directory must hold one '<name>_activation.sto'; found {listed}. Name the file itself."
        )
    return found[0]


def compare_files(
    a: Path,
    b: Path,
    *,
    emg: bool = False,
    channels_file: Path | None = None,
    emg_time_offset: float = 0.0,
    start: float = -np.inf,
    end: float = np.inf,
    muscles: Collection[str] = (),
) -> Comparison:
    """Compare the activations of two files, or those of one with measured EMG.

    Parameters
    ----------
    a, b : pathlib.Path
        Storage files with activations (states, activations, Moco, StaticOptimization), or results directories.
    emg : bool
        Whether B holds EMG envelopes: each is divided by its maximum in the time that is compared.
    channels_file : pathlib.Path or None
        The table of EMG channels; None: the channels have the muscles' names.
    emg_time_offset : float
        EMG(t + offset) fits activation(t) (s).
    start, end : float
        The time to compare (s), within what both cover.
    muscles : collection of str
        Muscles to compare; empty: all that both have.

    Returns
    -------
    Comparison
        One row per muscle, on A's rows of time.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        No muscle is in both, or one that was asked for is not.
    opensim_nem2e.errors.StorageError
        They have no time in common.
    """
    a, b = activation_file(a), activation_file(b)
    time_a, curves_a = _activations(a)
    curves_b: dict[str, tuple[Array, Array, Array]]
    if emg:
        measured = read_measured_emg(b, channels_file, emg_time_offset, list(curves_a))
        log_channels(measured)
        time_b = measured.series.time - measured.offset
        curves_b = {name: (*measured.rows(label), measured.gaps(label)) for name, label in measured.channels.items()}
    else:
        time_b, found = _activations(b)
        curves_b = {name: (time_b, values, gaps(time_b)) for name, values in found.items()}
    both = [name for name in curves_a if name in curves_b]
    absent = [name for name in muscles if name not in both]
    if absent or not both:
        what = f"Not in both files: {', '.join(absent)}." if absent else "The files have no muscle in common."
        raise LabelError(f"{what} '{a}' has {listed(curves_a)}; '{b}' has {listed(curves_b)}.")
    low, high = max(start, time_a[0], time_b[0]), min(end, time_a[-1], time_b[-1])
    inside = (time_a >= low) & (time_a <= high)
    if inside.sum() < 2:
        raise StorageError(
            f"There is no time to compare: '{a}' covers {time_a[0]:.4f} to {time_a[-1]:.4f} s, '{b}' {time_b[0]:.4f} "
            f"to {time_b[-1]:.4f} s."
        )
    time = time_a[inside]
    rows = []
    for name in muscles or both:
        own_time, values, holes = curves_b[name]
        there = ~inside_gaps(holes, time)
        if there.sum() < 2:
            raise StorageError(f"There is nothing to compare '{name}' with: its values are missing.", b)
        if not there.all():
            text = "%s: %d of %d rows lie in gaps of '%s' and are left out."
            logger.warning(text, name, (~there).sum(), len(time), b)
        other = interpolate(own_time, np.maximum(values, 0.0) if emg else values, time[there])
        one = curves_a[name][inside][there]
        if emg and other.max() > 0.0:
            other = other / other.max()
        difference = float(np.sqrt(np.mean((other - one) ** 2)))
        r = float(correlations(one[np.newaxis], other[np.newaxis])[0])
        rows.append(MuscleDifference(name, float(one.mean()), float(other.mean()), difference, r))
    only_a, only_b = ([name for name in curves if name not in both] for curves in (list(curves_a), list(curves_b)))
    return Comparison(a, b, float(time[0]), float(time[-1]), rows, only_a, only_b)


def _activations(path: Path) -> tuple[Array, dict[str, Array]]:
    """Read the activations of a file by the muscles' bare names."""
    series = read_storage(path)
    labels = find_activation_columns(series) or find_so_activation_columns(series)
    if not labels:
        raise LabelError("There are no activations in this file.", path)
    return series.time, {name: series.column(label) for name, label in labels.items()}
