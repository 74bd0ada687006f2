"""The report's section on trust: bands, their coverage of people left out, and cycles unlike those trained on."""

from __future__ import annotations

from collections.abc import Sequence

from ..estimates.trust import CycleTrust, band_lines
from ..methods.base import Provenance
from .page import Cell, Table, TableRow
from .torque_report import ReportPart

#: More cycles make no clearer table; those outside come first.
_MOST_CYCLES = 20

#: What the text above it sums up is unfolded on demand.
_LONG_TABLE = 4

_SIDES = {"r": "right", "l": "left"}
_LEFT_OUT = {"subjects": "subject", "laboratories": "laboratory", "held_out": "subject, held out"}


def trust_parts(provenance: Provenance, cycles: Sequence[CycleTrust] = ()) -> list[ReportPart]:
    """Tell how far bands held for others, and whether the trial's cycles are like those that were trained on.

    Parameters
    ----------
    provenance : Provenance
        Of the estimate.
    cycles : sequence of CycleTrust
        The trial's cycles.

    Returns
    -------
    list of ReportPart
        One; none where neither is known.
    """
    texts: list[str] = []
    tables = []
    if provenance.bands is not None:
        texts.append(" ".join(band_lines(provenance.bands)))
        tables.append(_coverage(provenance))
    if cycles:
        outside = [row for row in cycles if row.outside]
        if outside:
            texts.append(
                f"{len(outside)} of {len(cycles)} cycles are unlike those of the subjects that the method was trained "
                "on: there neither the estimate nor its band can be relied on."
            )
        else:
            texts.append(f"All cycles ({len(cycles)}) are within the range of the subjects it was trained on.")
        tables.append(_cycles(cycles))
    if not texts:
        return []
    return [
        ReportPart("bands", "Bands, and whether this is like what was trained on", tuple(texts), tables=tuple(tables))
    ]


def _coverage(provenance: Provenance) -> Table:
    assert provenance.bands is not None
    body = [
        TableRow(
            (
                Cell(row["name"]),
                Cell(words, words=True),
                Cell(f"{100 * row['coverage']:.0f}"),
                Cell(f"{row['width']:.2f}"),
            )
        )
        for way, words in _LEFT_OUT.items()
        for row in provenance.bands.coverage.get(way, ())
    ]
    return Table(
        "Measured EMG within bands that were calibrated without the subject or laboratory.",
        ("left out", "what", "EMG within (%)", "mean width (of the EMG's maximum)"),
        tuple(body),
        folded=len(body) > _LONG_TABLE,
    )


def _cycles(cycles: Sequence[CycleTrust]) -> Table:
    shown = sorted(cycles, key=lambda row: -row.outside)[:_MOST_CYCLES]
    body = [
        TableRow(
            (
                Cell(f"{_SIDES[row.side]}, {row.heel_strike:.2f} s"),
                Cell(f"{1.0 / row.cycle_time:.2f}"),
                Cell(_number(row.speed, 2)),
                Cell(_number(row.input_distance, 2)),
                Cell(_number(row.angle_distance, 0)),
                Cell(row.reasons or "within", strong=bool(row.outside), words=True),
            )
        )
        for row in shown
    ]
    first = cycles[0]
    limits = (
        f"Range: cadence {1 / first.cycle_time_high:.2g} to {1 / first.cycle_time_low:.2g} strides/s"
        f"{'' if first.speed_low is None else f', speed {first.speed_low:.2g} to {first.speed_high:.2g} m/s'}"
        f"{'' if first.input_limit is None else f', distance of the input at most {first.input_limit:.2f}'}"
        f"{'' if first.angle_limit is None else f', of the joint angles {first.angle_limit:.0f} degrees'}."
    )
    more = f" The first {len(shown)} of {len(cycles)}." if len(shown) < len(cycles) else ""
    return Table(
        f"The trial's cycles against the training subjects: cadence, speed, and the distance of the simulated "
        f"activations' shape (0: the same, 1: unrelated) and of hip, knee and ankle angles from the nearest. "
        f"{limits}{more}",
        ("cycle", "cadence (1/s)", "speed (m/s)", "input", "angles (degrees)", "verdict"),
        tuple(body),
    )


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"
