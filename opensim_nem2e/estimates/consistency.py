"""What making activations consistent with the torques costs: errors against EMG, and the trade-off, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EmgError:
    """One muscle's errors against its measured EMG.

    Parameters
    ----------
    muscle, channel : str
        The muscle and the EMG channel it is compared with.
    cycles : int
        Gait cycles compared.
    E_opensim, E_refined, E_consistent : float
        Root mean square error over the samples of a cycle, mean of the cycles; the channel is divided by its maximum
        over these cycles. NaN where there is no such curve.
    shape_opensim, shape_refined, shape_consistent : float
        The same after the gain that makes it least over all cycles: the error of the shape, since EMG does not tell
        amplitudes.
    r_opensim, r_refined, r_consistent : float
        Pearson's r, mean of the cycles: it does not depend on the amplitude either.
    """

    muscle: str
    channel: str
    cycles: int
    E_opensim: float
    E_refined: float
    E_consistent: float
    shape_opensim: float
    shape_refined: float
    shape_consistent: float
    r_opensim: float
    r_refined: float
    r_consistent: float


@dataclass(frozen=True)
class TradeOff:
    """One point of the trade-off between torques and what activations were aimed at.

    Parameters
    ----------
    reserve : float
        The reserve torque that costs as much as a refined activation that moves by 1 (Nm); infinite: the refined
        activations themselves.
    chosen : bool
        Whether the results were computed with it.
    torque_error : float
        RMSE of the torques in percent of their peaks, over all coordinates
        (:func:`opensim_nem2e.estimates.torque_metrics.overall_percent`).
    largest_rmse : float
        The largest RMSE of a coordinate (Nm).
    distance_refined, distance_others : float
        Root mean square by which refined and other muscles moved (activation, 0..1).
    E : float
        Mean error against measured EMG; NaN without EMG.
    """

    reserve: float
    chosen: bool
    torque_error: float
    largest_rmse: float
    distance_refined: float
    distance_others: float
    E: float


def emg_table(rows: Sequence[EmgError]) -> list[str]:
    """Lay the errors against EMG out as lines for the log.

    Parameters
    ----------
    rows : sequence of EmgError
        One per muscle.

    Returns
    -------
    list of str
        A header, one line per muscle, and their mean.
    """
    width = max(len(name) for name in ("muscle", *(row.muscle for row in rows)))
    lines = [f"{'muscle':<{width}}  shape error OpenSim  refined  consistent    r OpenSim  refined  consistent"]
    names = ("shape_opensim", "shape_refined", "shape_consistent", "r_opensim", "r_refined", "r_consistent")
    values = [[getattr(row, name) for name in names] for row in rows]
    titles = [row.muscle for row in rows]
    if len(rows) > 1:
        titles, values = [*titles, "mean"], [*values, np.mean(values, axis=0).tolist()]
    for title, numbers in zip(titles, values, strict=True):
        cells = [f"{number:.3f}" if np.isfinite(number) else "-" for number in numbers]
        errors, shapes = (f"{a:>{first}}  {b:>7}  {c:>10}" for first, (a, b, c) in ((19, cells[:3]), (9, cells[3:])))
        lines.append(f"{title:<{width}}  {errors}    {shapes}")
    return lines
