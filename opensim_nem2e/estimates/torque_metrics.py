"""Do the activations still make the torques that the motion needs? Numbers per coordinate."""

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


@dataclass(frozen=True)
class TorqueBalance(TorqueChange):
    """One row of the torque check with consistent activations.

    Parameters
    ----------
    coordinate : str
        The coordinate.
    rows : int
        Rows that were compared.
    peak, rmse_opensim, rmse_refined, rms_change : float
        As in :class:`TorqueChange` (Nm).
    rmse_opensim_percent, rmse_refined_percent, rms_change_percent : float
        The same in percent of the peak. The file calls what is named ``refined`` here ``estimate``: the torques then
        had no say.
    rmse_consistent : float
        Root mean square of (muscles' torque - inverse dynamics) with the consistent activations as they are written:
        what is left for reserve actuators (Nm).
    largest_reserve : float
        Its largest magnitude (Nm).
    rmse_controls : float
        The same as ``rmse_consistent`` with the activations that the written controls lead to through the activation
        dynamics (Nm).
    rmse_consistent_percent, largest_reserve_percent, rmse_controls_percent : float
        The same in percent of the peak.
    rows_exceeded : int
        Rows in which no activations of the muscles could keep the reserve within its bound.
    """

    rmse_consistent: float
    largest_reserve: float
    rmse_controls: float
    rmse_consistent_percent: float
    largest_reserve_percent: float
    rmse_controls_percent: float
    rows_exceeded: int


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
        errors = [_rms(error) for error in (before - goal, after - goal, after - before)]
        percents = [100.0 * error / peak if peak else float("nan") for error in errors]
        rows.append(TorqueChange(name, int(chosen.sum()), peak, *errors, *percents))
    return rows


def torque_balances(
    changes: Sequence[TorqueChange],
    needed: Array,
    consistent: Array,
    controls: Array,
    compared: NDArray[np.bool_],
    exceeded: NDArray[np.bool_],
) -> list[TorqueBalance]:
    """Add the torques of consistent activations.

    Parameters
    ----------
    changes : sequence of TorqueChange
        One per coordinate.
    needed, consistent, controls : numpy.ndarray, shape (rows, coordinates)
        Inverse dynamics, and torques of the consistent activations and of those that their controls lead to (Nm).
    compared, exceeded : numpy.ndarray of bool, shape (rows, coordinates)
        Rows that count; where a reserve could not be kept within its bound.

    Returns
    -------
    list of TorqueBalance
        One per coordinate.
    """
    rows = []
    for k, change in enumerate(changes):
        chosen = compared[:, k]
        error, led = (consistent - needed)[chosen, k], (controls - needed)[chosen, k]
        rmse, largest, by_controls = _rms(error), float(np.abs(error).max()), _rms(led)
        percent = 100.0 / change.peak if change.peak else float("nan")
        rows.append(
            TorqueBalance(
                **vars(change),
                rmse_consistent=rmse,
                largest_reserve=largest,
                rmse_controls=by_controls,
                rmse_consistent_percent=percent * rmse,
                largest_reserve_percent=percent * largest,
                rmse_controls_percent=percent * by_controls,
                rows_exceeded=int((exceeded[:, k] & chosen).sum()),
            )
        )
    return rows


def overall_percent(errors: Sequence[float], peaks: Sequence[float]) -> float:
    """Put the errors of several coordinates into one number.

    Parameters
    ----------
    errors, peaks : sequence of float
        Each coordinate's error and peak torque (Nm).

    Returns
    -------
    float
        Their sums' ratio in percent: the mean of the percentages, weighted by the peaks. A toe joint that needs 0.1 Nm
        has no more weight than it should.
    """
    return 100.0 * sum(errors) / sum(peaks) if sum(peaks) else float("nan")


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


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
    balanced = isinstance(rows[0], TorqueBalance)
    columns = {
        "RMSE OpenSim": ("rmse_opensim", "rmse_opensim_percent"),
        "RMSE estimate" if balanced else "RMSE refined": ("rmse_refined", "rmse_refined_percent"),
    }
    if balanced:
        columns["RMSE consistent"] = ("rmse_consistent", "rmse_consistent_percent")
        columns["by controls"] = ("rmse_controls", "rmse_controls_percent")
        columns["largest reserve (Nm, % of peak)"] = ("largest_reserve", "largest_reserve_percent")
    else:
        columns["RMS change (Nm, % of peak)"] = ("rms_change", "rms_change_percent")
    lines = [f"{'coordinate':<{width}}  peak (Nm)  " + "  ".join(f"{head:<15}" for head in columns).rstrip()]
    for row in rows:
        pairs = [(getattr(row, value), getattr(row, percent)) for value, percent in columns.values()]
        # Of what a redistribution leaves the first decimal is usually 0.
        digits = [
            2 if value in ("rmse_consistent", "rmse_controls", "largest_reserve") else 1
            for value, _ in columns.values()
        ]
        cells = "  ".join(
            f"{value:6.{count}f} ({percent:4.{count - 1}f} %)"
            for (value, percent), count in zip(pairs, digits, strict=True)
        )
        lines.append(f"{row.coordinate:<{width}}  {row.peak:9.1f}  {cells}")
    return lines
