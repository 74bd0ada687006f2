"""What a refinement changed, muscle by muscle, in numbers a researcher can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..log import counted
from ..signals.cycles import windows
from .estimate import Estimate, MuscleEstimate

if TYPE_CHECKING:
    from ..data.simulation import Muscle

Array = NDArray[np.float64]

#: A peak that is farther away, as a fraction of the cycle, is another burst and not the same one moved.
_FARTHEST_SHIFT = 0.25

#: Samples of a cycle where a method does not say them, as the networks have them (NEM2E paper, section 3.2.3).
_SAMPLES = 20

#: Peaks are looked for among so many samples of a cycle.
_PEAK_SAMPLES = 201


@dataclass(frozen=True)
class MuscleChange:
    """One row of the summary.

    Parameters
    ----------
    muscle, network, side : str
        The model's muscle, the standard name of the method's target that it is, ``r`` or ``l``.
    cycles : int
        Gait cycles that were refined; 0 for a method that knows none: then all rows that it covers are taken together.
    rms_change : float
        Root mean square of (refined - OpenSim) over all cycle samples, in activation (0..1).
    mean_before, mean_after : float
        Mean activation over the cycles.
    peak_before_percent, peak_after_percent : float
        Where the mean cycle peaks, in percent of the gait cycle (0 is the limb's own heel strike).
    peak_shift_ms : float
        How far the peak moved, later being positive, as the shorter way round the cycle, in milliseconds of the
        mean cycle. NaN where that is more than a quarter of the cycle, because another burst has then become the
        largest and nothing moved; NaN, as the peaks, without cycles.
    clipped_samples : int
        Rows at which the estimate, as the method put it out, left the muscle's bounds.
    largest_excess : float
        How far it left them at most.
    band_width : float or None
        Mean width of the band of the method's output within the cycles; None without one.
    band_coverage : float or None
        The share of measured EMG of this muscle that such bands held, of subjects left out.
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
    band_width: float | None = None
    band_coverage: float | None = None


def summarise(
    estimate: Estimate, activations: Estimate, simulated: Mapping[str, Array], muscles: Mapping[str, Muscle]
) -> list[MuscleChange]:
    """Measure what changed, muscle by muscle.

    Parameters
    ----------
    estimate : Estimate
        What the method put out.
    activations : Estimate
        The activations that are written.
    simulated : mapping of str to numpy.ndarray, each (rows,)
        The simulation's activations.
    muscles : mapping of str to Muscle
        Bounds of the muscles.

    Returns
    -------
    list of MuscleChange
        One per muscle of the estimate.
    """
    rows = []
    bands = estimate.provenance.bands
    coverage = {row["name"]: row["coverage"] for row in bands.coverage.get("muscles", ())} if bands else {}
    for item in estimate:
        written = activations.muscles[item.muscle]
        # Excitations are clipped where the activations that they lead to are: what is clipped cannot be seen here.
        excess = np.zeros(1)
        if estimate.quantity != "excitation":
            muscle, values = muscles[item.muscle], item.values[item.covered]
            excess = np.abs(values - np.clip(values, muscle.low, muscle.high))
        rows.append(
            MuscleChange(
                muscle=item.muscle,
                network=item.standard_name,
                side=item.side,
                cycles=len(item.cycles),
                **_changes(item, estimate.time, simulated[item.muscle], written.values),
                clipped_samples=int(np.count_nonzero(excess)),
                largest_excess=float(excess.max()),
                band_width=_width(item),
                band_coverage=coverage.get(item.standard_name),
            )
        )
    return rows


def _width(item: MuscleEstimate) -> float | None:
    if item.low is None or item.high is None or not item.covered.any():
        return None
    return float((item.high - item.low)[item.covered].mean())


def _changes(item: MuscleEstimate, time: Array, simulated: Array, written: Array) -> dict[str, float]:
    """Measure the change over the cycles, or over all rows that are covered where there are none."""
    if not item.cycles:
        before, after = simulated[item.covered], written[item.covered]
        nothing = dict.fromkeys(("peak_before_percent", "peak_after_percent", "peak_shift_ms"), float("nan"))
        return {**_levels(before, after), **nothing}
    samples = _SAMPLES if item.curves is None else item.curves.after.shape[1]

    def cut(values: Array) -> Array:
        # The curve as it was written, blends at the cycles' ends included. The tolerance is the run's own affair.
        return windows(item.cycles, time, values, samples, tolerance=np.inf)[:, :, 0]

    before, after = cut(simulated) if item.curves is None else item.curves.before, cut(written)
    # The method's own samples are twentieths of a cycle, too coarse for peaks. The last sample is the next heel strike:
    # phase 100 % is phase 0 % again.
    last = _PEAK_SAMPLES - 1
    both = np.column_stack([simulated, written])
    fine = windows(item.cycles, time, both, _PEAK_SAMPLES, tolerance=np.inf).mean(axis=0)
    peak_before, peak_after = np.argmax(fine, axis=0).tolist()
    shift = (peak_after - peak_before) / last
    shift -= round(shift)
    if abs(shift) > _FARTHEST_SHIFT:
        shift = float("nan")
    return {
        **_levels(before, after),
        "peak_before_percent": 100.0 * peak_before / last,
        "peak_after_percent": 100.0 * peak_after / last,
        "peak_shift_ms": 1e3 * shift * float(np.mean([cycle.duration for cycle in item.cycles])),
    }


def _levels(before: Array, after: Array) -> dict[str, float]:
    return {
        "rms_change": float(np.sqrt(np.mean((after - before) ** 2))),
        "mean_before": float(before.mean()),
        "mean_after": float(after.mean()),
    }


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
            f"{row.peak_before_percent:>5.0f} -> {row.peak_after_percent:>4.0f}      {_shift(row):>9}  "
            f"{row.clipped_samples:>7d}"
        )
    return lines


def _shift(row: MuscleChange) -> str:
    if np.isnan(row.peak_before_percent):
        return ""
    return "other" if np.isnan(row.peak_shift_ms) else f"{row.peak_shift_ms:+.0f}"


def summary_in_words(rows: Sequence[MuscleChange]) -> str:
    """Sum the summary up.

    Parameters
    ----------
    rows : sequence of MuscleChange
        One per refined muscle.

    Returns
    -------
    str
        What changed and, where there are any, how many samples were clipped; empty where nothing was refined.
    """
    if not rows:
        return ""
    least, most = (pick(rows, key=lambda row: row.rms_change) for pick in (min, max))
    text = (
        f"RMS change of the activations: {least.rms_change:.3f} ({least.muscle}) to {most.rms_change:.3f} "
        f"({most.muscle}); mean activation {np.mean([row.mean_before for row in rows]):.3f} before, "
        f"{np.mean([row.mean_after for row in rows]):.3f} after."
    )
    moved = [row for row in rows if np.isfinite(row.peak_shift_ms) and round(row.peak_shift_ms)]
    if moved:
        farthest = max(moved, key=lambda row: abs(row.peak_shift_ms))
        shift = f"{farthest.peak_shift_ms:+.0f} ms ({farthest.muscle})"
        text += f" Peaks moved in {counted(len(moved), 'muscle')}, farthest by {shift}"
    other = [row.muscle for row in rows if np.isfinite(row.peak_before_percent) and np.isnan(row.peak_shift_ms)]
    if other:
        text += f"{';' if moved else ''} another burst became the largest in {', '.join(other)}"
    text += "." if moved or other else ""
    clipped = [row for row in rows if row.clipped_samples]
    if clipped:
        worst = max(clipped, key=lambda row: row.largest_excess)
        text += (
            f" Clipped to the muscles' bounds: {counted(sum(row.clipped_samples for row in clipped), 'sample')} of "
            f"{counted(len(clipped), 'muscle')}, by at most {worst.largest_excess:.3f} ({worst.muscle})."
        )
    return text
