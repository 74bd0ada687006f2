"""Do the refined activations still make the torques that the motion needs? Numbers per coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TorqueChange:
    """One row of the torque check.

    Parameters
    ----------
    coordinate : str
        The coordinate.
    rows : int
        Rows that were compared.
    peak : float
        Largest magnitude of the inverse dynamics torque in them (Nm); what the percentages refer to.
    rmse_opensim, rmse_refined : float
        Root mean square of (muscles' torque - inverse dynamics), with OpenSim's and with the refined activations (Nm).
    rms_change : float
        Root mean square of (torque with refined - torque with OpenSim's activations) (Nm).
    rmse_opensim_percent, rmse_refined_percent, rms_change_percent : float
        The same in percent of the peak.
    """

    coordinate: str
    rows: int
    peak: float
    rmse_opensim: float
    rmse_refined: float
    rms_change: float
    rmse_opensim_percent: float
    rmse_refined_percent: float
    rms_change_percent: float


def torque_changes(
    coordinates: Sequence[str], needed: Array, opensim: Array, refined: Array, compared: NDArray[np.bool_]
) -> list[TorqueChange]:
    """Compare torques, coordinate by coordinate.

    Parameters
    ----------
    coordinates : sequence of str
        The coordinates.
    needed : numpy.ndarray, shape (rows, coordinates)
        Inverse dynamics (Nm).
    opensim, refined : numpy.ndarray, shape (rows, coordinates)
        Torques of OpenSim's and of the refined activations, by the same method (Nm).
    compared : numpy.ndarray of bool, shape (rows, coordinates)
        Rows that count for each coordinate; at least one.

    Returns
    -------
    list of TorqueChange
        One per coordinate.
    """

    rows = []
    for k, name in enumerate(coordinates):
        chosen = compared[:, k]
        goal, before, after = needed[chosen, k], opensim[chosen, k], refined[chosen, k]
        peak = float(np.abs(goal).max())
        errors = [float(np.sqrt(np.mean(error**2))) for error in (before - goal, after - goal, after - before)]
        percents = [100.0 * error / peak if peak else float("nan") for error in errors]
        rows.append(TorqueChange(name, int(chosen.sum()), peak, *errors, *percents))
    return rows


def torque_table(rows: Sequence[TorqueChange]) -> list[str]:
    """Lay the torque check out as lines for the log.

    Parameters
    ----------
    rows : sequence of TorqueChange
        One per coordinate.

    Returns
    -------
    list of str
        A header and one line per coordinate.
    """
    width = max(len(name) for name in ("coordinate", *(row.coordinate for row in rows)))
    head = f"{'coordinate':<{width}}  peak (Nm)  RMSE OpenSim     RMSE refined     RMS change (Nm, % of peak)"
    lines = [head]
    for row in rows:
        pairs = (
            (row.rmse_opensim, row.rmse_opensim_percent),
            (row.rmse_refined, row.rmse_refined_percent),
            (row.rms_change, row.rms_change_percent),
        )
        cells = "  ".join(f"{value:6.1f} ({percent:4.0f} %)" for value, percent in pairs)
        lines.append(f"{row.coordinate:<{width}}  {row.peak:9.1f}  {cells}")
    return lines
