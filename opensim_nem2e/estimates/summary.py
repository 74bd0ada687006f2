"""What a refinement changed, muscle by muscle, in numbers a researcher can check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MuscleChange:
    """One row of the summary.

    Parameters
    ----------
    muscle, network, side : str
        The model's muscle, the standard name of the network that refined it, ``r`` or ``l``.
    cycles : int
        Gait cycles that were refined.
    rms_change : float
        Root mean square of (refined - OpenSim) over all cycle samples, in activation (0..1).
    mean_before, mean_after : float
        Mean activation over the cycles.
    peak_before_percent, peak_after_percent : float
        Where the mean cycle peaks, in percent of the gait cycle (0 is the limb's own heel strike).
    peak_shift_ms : float
        How far the peak moved, later being positive, as the shorter way round the cycle, in milliseconds of the
        mean cycle.
    clipped_samples : int
        Rows at which the estimate left the muscle's bounds and was clipped.
    largest_excess : float
        How far it left them at most, in activation.
    """

    muscle: str
    network: str
    side: str
    cycles: int
    rms_change: float
    mean_before: float
    mean_after: float
    peak_before_percent: float
    peak_after_percent: float
    peak_shift_ms: float
    clipped_samples: int
    largest_excess: float


def muscle_change(
    muscle: str,
    network: str,
    side: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    durations: Sequence[float],
    clipped_samples: int,
    largest_excess: float,
) -> MuscleChange:
    """Measure what changed in one muscle.

    Parameters
    ----------
    muscle, network, side : str
        As in :class:`MuscleChange`.
    before, after : numpy.ndarray, shape (cycles, samples)
        Activation at equally spaced samples of each cycle, both ends included.
    durations : sequence of float
        Duration of each cycle (s).
    clipped_samples : int
        As in :class:`MuscleChange`.
    largest_excess : float
        As in :class:`MuscleChange`.

    Returns
    -------
    MuscleChange
        The numbers.
    """
    # The last sample is the next heel strike: phase 100 % is phase 0 % again.
    last = before.shape[1] - 1
    peak_before = int(np.argmax(before.mean(axis=0)))
    peak_after = int(np.argmax(after.mean(axis=0)))
    shift = (peak_after - peak_before) / last
    shift -= round(shift)
    return MuscleChange(
        muscle=muscle,
        network=network,
        side=side,
        cycles=before.shape[0],
        rms_change=float(np.sqrt(np.mean((after - before) ** 2))),
        mean_before=float(before.mean()),
        mean_after=float(after.mean()),
        peak_before_percent=100.0 * peak_before / last,
        peak_after_percent=100.0 * peak_after / last,
        peak_shift_ms=1e3 * shift * float(np.mean(durations)),
        clipped_samples=clipped_samples,
        largest_excess=largest_excess,
    )


def summary_table(rows: Sequence[MuscleChange]) -> list[str]:
    """Lay the summary out as lines for the log.

    Parameters
    ----------
    rows : sequence of MuscleChange
        One per refined muscle.

    Returns
    -------
    list of str
        A header and one line per muscle.
    """
    width = max([len("muscle"), *(len(row.muscle) for row in rows)])
    lines = [f"{'muscle':<{width}}  network  cycles  RMS change  peak (% cycle)     shift (ms)  clipped"]
    for row in rows:
        lines.append(
            f"{row.muscle:<{width}}  {row.network:<7}  {row.cycles:>6d}  {row.rms_change:>10.3f}  "
            f"{row.peak_before_percent:>5.0f} -> {row.peak_after_percent:>4.0f}      {row.peak_shift_ms:>+9.0f}  "
            f"{row.clipped_samples:>7d}"
        )
    return lines
