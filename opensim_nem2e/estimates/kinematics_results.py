"""The files that activations found from a motion leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..log import counted, logger
from ..storage import TimeSeries, write_storage
from ..storage.tables import write_rows
from .static_optimization import MomentRow, MuscleRow, Optimum, state_columns, summarise_moments, summarise_muscles

if TYPE_CHECKING:
    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel

#: What OpenSim writes into the files of StaticOptimization: whoever reads these knows by it what they are.
_OPENSIMS_WORDS = "This file contains static optimization results."

Array = NDArray[np.float64]


def write_optimum(
    files: ResultFiles,
    name: str,
    model: OsimModel,
    optimum: Optimum,
    precision: int,
    needed: str = "inverse_dynamics",
) -> None:
    """Write activations, forces, moments, reserves, flags, states and tables, and sum them up in the log.

    Parameters
    ----------
    files : ResultFiles
        Where to.
    name : str
        What the results' names begin with.
    model : OsimModel
        The model.
    optimum : Optimum
        The solution.
    precision : int
        Decimals.
    needed : str, optional
        What the columns of the moments asked for are called.
    """
    time, coordinates = optimum.motion.time, optimum.coordinates

    def write(ending: str, columns: Mapping[str, Array], in_degrees: bool = False) -> None:
        table = np.column_stack(list(columns.values()))
        series = TimeSeries(
            time, tuple(columns), table, name=f"{name}_{ending}", in_degrees=in_degrees, description=_OPENSIMS_WORDS
        )
        write_storage(files.path(f"{name}_{ending}.sto"), series, precision=precision)

    def columns(names: Sequence[str], table: NDArray[np.generic], pattern: str = "{}") -> dict[str, Array]:
        return {pattern.format(each): table[:, k].astype(float) for k, each in enumerate(names)}

    write("states", state_columns(model, optimum))
    write("activation", columns(optimum.muscles, optimum.activations))
    write("forces", columns(optimum.muscles, optimum.forces))
    write(
        "torques",
        {
            **columns(coordinates, optimum.needed, f"{{}}_{needed}"),
            **columns(coordinates, optimum.made, "{}_muscles"),
        },
    )
    write("reserves", columns(coordinates, optimum.reserves, "reserve_{}"))
    flagged = optimum.flagged
    write(
        "flags",
        {
            "any": flagged.astype(float),
            **columns(coordinates, optimum.outside, "{}_out_of_range"),
            **columns(coordinates, optimum.weak, "{}_reserve"),
            **({} if optimum.untrained is None else columns(coordinates, optimum.untrained, "{}_untrained")),
            **({} if optimum.guessed is None else {"near_an_end": optimum.guessed.astype(float)}),
        },
    )
    moments = summarise_moments(optimum)
    write_rows(files.path(f"{name}_summary.csv"), MuscleRow, summarise_muscles(optimum))
    write_rows(files.path(f"{name}_torques.csv"), MomentRow, moments)
    for line in moment_table(moments):
        logger.debug("%s", line)
    strongest, worst = max(moments, key=lambda row: row.peak), max(moments, key=lambda row: row.largest_reserve)
    logger.info(
        "%s and moments of %s, at most %.1f Nm (%s); the muscles leave at most %.2g Nm to a reserve (%s).",
        counted(len(optimum.muscles), "muscle"),
        counted(len(moments), "coordinate"),
        strongest.peak,
        strongest.coordinate,
        worst.largest_reserve,
        worst.coordinate,
    )
    if flagged.any():
        logger.warning(
            "%d of %d rows are flagged (%s_flags.sto): %s.", int(flagged.sum()), len(flagged), name, _reasons(optimum)
        )
    asked, rest = (np.sqrt(np.mean(np.square(values), axis=0)) for values in (optimum.needed, optimum.reserves))
    lacking = optimum.weak & (rest > 0.5 * asked)
    if lacking.any():
        logger.warning(
            "Reserves make most of the moments of %s: if muscles that actuate them are not in the model (arms), name "
            "the other coordinates in <torque_coordinates>, so that their rows are not flagged for it.",
            _named(optimum.coordinates, lacking),
        )
    saturated = _named(optimum.muscles, optimum.saturated)
    if saturated != "none":
        logger.warning("Saturated in some rows: %s. Are the muscles as strong as the subject?", saturated)


def moment_table(rows: Sequence[MomentRow]) -> list[str]:
    """Lay the moments out as lines for the log.

    Parameters
    ----------
    rows : sequence of MomentRow
        One per coordinate.

    Returns
    -------
    list of str
        A header and one line per coordinate.
    """
    width = max(len(name) for name in ("coordinate", *(row.coordinate for row in rows)))
    lines = [f"{'coordinate':<{width}}  peak moment (Nm)  RMS reserve  largest reserve  rows out of range"]
    lines += [
        f"{row.coordinate:<{width}}  {row.peak:16.1f}  {row.rms_reserve:11.2f}  {row.largest_reserve:15.2f}  "
        f"{row.rows_out_of_range:17d}"
        for row in rows
    ]
    return lines


def _reasons(optimum: Optimum) -> str:
    """Say why rows are flagged."""
    marked = {
        "outside the model's own range of": optimum.outside,
        "reserves above 5 % of the peak moment in": optimum.weak,
        "outside what the network was trained on in": optimum.untrained,
    }
    said = [
        f"{why} {_named(optimum.coordinates, flags)}"
        for why, flags in marked.items()
        if flags is not None and flags.any()
    ]
    if optimum.guessed is not None and optimum.guessed.any():
        said.append(f"{int(optimum.guessed.sum())} too close to an end of the motion for the network's window")
    return "; ".join(said)


def _named(names: Sequence[str], flags: NDArray[np.bool_]) -> str:
    return ", ".join(names[column] for column in np.flatnonzero(flags.any(axis=0)).tolist()) or "none"
