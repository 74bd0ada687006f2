"""One muscle before and after a refinement, over its gait cycles or over time, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import CycleError, LabelError, did_you_mean
from ..signals.cycles import windows
from .drawing import figure_settings, new_figure, shade

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..data.simulation import SimulatedTrial
    from ..estimates.estimate import Estimate, MuscleEstimate
    from ..estimates.measured_emg import MeasuredEMG

Array = NDArray[np.float64]

_STYLES: dict[str, dict[str, Any]] = {
    "OpenSim": {"color": "#0072B2", "linewidth": 1.2},
    "refined": {"color": "#D55E00", "linewidth": 1.8},
    "measured EMG, relative to its maximum": {"color": "0.35", "linewidth": 1.2, "linestyle": (0, (4, 2))},
}
_PHASES = 101


def draw_muscle(
    muscle: str,
    trial: SimulatedTrial,
    refined: Estimate,
    measured: MeasuredEMG | None,
    cycle: Literal["%", "s"],
) -> Figure:
    """Draw a muscle's activation before and after the refinement.

    Parameters
    ----------
    muscle : str
        The model's muscle.
    trial : SimulatedTrial
        The simulation.
    refined : Estimate
        The refined activations.
    measured : MeasuredEMG or None
        Measured EMG.
    cycle : {'%', 's'}
        ``'%'``: its gait cycles over each other. ``'s'``: over time.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        The trial has no such muscle.
    opensim_nem2e.errors.CycleError
        With ``'%'``: no gait cycle of the muscle was refined.
    """
    if muscle not in trial.activations:
        hint = did_you_mean(muscle, trial.activations)
        raise LabelError(f"There is no muscle '{muscle}' in this trial.{hint} It has {', '.join(trial.activations)}.")
    item = refined.muscles.get(muscle)
    if cycle == "%" and (item is None or not item.cycles):
        raise CycleError(f"No gait cycle of '{muscle}' was refined: cycle='s' shows it over time.")
    with figure_settings({}):
        figure = new_figure(5.6, 3.2)
        axis = figure.subplots()
        if cycle == "%":
            assert item is not None
            _over_cycles(axis, item, trial, measured)
        else:
            _over_time(axis, muscle, item, trial, measured)
        axis.set(ylim=(0.0, 1.02), ylabel="activation", title=muscle)
        axis.spines[["top", "right"]].set_visible(False)
        handles: dict[str, Any] = {}
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
        axis.legend(handles.values(), handles, frameon=False, fontsize=8)
    return figure


def _over_cycles(axis: Any, item: MuscleEstimate, trial: SimulatedTrial, measured: MeasuredEMG | None) -> None:
    """Draw each cycle thinly and their mean boldly."""
    curves = {
        label: windows(item.cycles, trial.time, values, _PHASES, tolerance=np.inf)[:, :, 0]
        for label, values in (("OpenSim", trial.activations[item.muscle]), ("refined", item.values))
    }
    whole = () if measured is None else measured.whole(item.muscle, item.cycles)
    if measured is not None and whole:
        emg = measured.windows(item.muscle, whole)
        curves["measured EMG, relative to its maximum"] = emg / max(float(emg.max()), np.finfo(float).tiny)
    for label, rows in curves.items():
        percent = np.linspace(0.0, 100.0, rows.shape[1])
        if len(rows) > 1:
            axis.plot(percent, rows.T, **{**_STYLES[label], "linewidth": 0.6, "alpha": 0.35})
        axis.plot(percent, rows.mean(axis=0), label=label, **_STYLES[label])
    count = f"{len(item.cycles)} cycles" if len(item.cycles) > 1 else "1 cycle"
    axis.set(xlim=(0.0, 100.0), xlabel=f"% of the gait cycle ({count})")


def _over_time(
    axis: Any, muscle: str, item: MuscleEstimate | None, trial: SimulatedTrial, measured: MeasuredEMG | None
) -> None:
    axis.plot(trial.time, trial.activations[muscle], label="OpenSim", **_STYLES["OpenSim"])
    if item is not None:
        shade(axis, trial.time, item.covered, "refined gait cycles")
        for strike in item.heel_strikes():
            axis.axvline(strike, color="0.6", linewidth=0.7, linestyle=(0, (4, 3)), label="heel strike")
        axis.plot(trial.time, np.where(item.covered, item.values, np.nan), label="refined", **_STYLES["refined"])
    if measured is not None and muscle in measured.channels:
        time, emg = measured.rows(measured.channels[muscle])
        # A line through NaN is broken: at the middle of each gap.
        middles = measured.gaps(measured.channels[muscle]).mean(axis=1)
        places = np.searchsorted(time, middles)
        time, emg = np.insert(time, places, middles), np.insert(emg, places, np.nan)
        inside = (time >= trial.time[0]) & (time <= trial.time[-1])
        emg = np.maximum(emg[inside], 0.0)
        if np.nanmax(emg, initial=0.0) > 0.0:
            label = "measured EMG, relative to its maximum"
            axis.plot(time[inside], emg / np.nanmax(emg), label=label, **_STYLES[label])
    axis.set(xlim=(trial.time[0], trial.time[-1]), xlabel="time (s)")
