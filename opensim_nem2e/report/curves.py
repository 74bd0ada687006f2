"""Curves of muscles and joints as the report's page has them: packed for its script, and drawn small for the eye."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..signals.cycles import Cycle, windows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Points of a gait cycle: one per percent.
PHASES = 101

#: A longer trial is thinned out to so many points: more than a screen has.
MOST_POINTS = 3000

#: No more single cycles than this are drawn beside their mean.
MOST_CYCLES = 12

# Stands for a value that is not there.
_MISSING = 65535

#: Times beyond this (s) are a clock's.
_CLOCK = 1e5

# Size of a small drawing (px), room for its name above, and margins.
_WIDTH, _HEIGHT, _TOP, _EDGE = 150, 84, 4, 3


@dataclass(frozen=True, eq=False)
class Panel:
    """The curves of one muscle or joint coordinate.

    Parameters
    ----------
    name : str
        What it is called.
    group : str
        The heading under which it stands.
    series : mapping of str to numpy.ndarray, each (points,)
        A curve over time by kind (``'opensim'``, ``'refined'``, ...). NaN where there is nothing to be seen.
    cycles : mapping of str to numpy.ndarray, each (cycles, PHASES)
        The same over the gait cycles of its limb.
    bands : mapping of str to tuple of numpy.ndarray
        Lower and upper edge of a band, (points,) each, by the kind that it belongs to.
    cycle_bands : mapping of str to tuple of numpy.ndarray
        The mean edges over the gait cycles, (PHASES,) each.
    changed : sequence of tuple of float
        Start and end (s) of the stretches that were refined.
    strikes : sequence of float
        Heel strikes of its limb (s).
    """

    name: str
    group: str
    series: Mapping[str, Array]
    cycles: Mapping[str, Array] = field(default_factory=dict)
    bands: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    cycle_bands: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    changed: Sequence[tuple[float, float]] = ()
    strikes: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class ChartSet:
    """Panels that share axes, one of which is shown large at a time.

    Parameters
    ----------
    key : str
        Its name in the page.
    what : str
        What a panel is: ``'muscle'``.
    unit : str
        The ordinate's label.
    time : numpy.ndarray, shape (points,)
        Time (s).
    kinds : mapping of str to str
        The legend's text for each kind of curve, in the order in which they are drawn.
    panels : sequence of Panel
        The panels, those of a group one after the other.
    limits : tuple of float, or None
        The ordinate's; None: each panel has its own.
    aside : sequence of str
        Kinds that are shown on demand only.
    """

    key: str
    what: str
    unit: str
    time: Array
    kinds: Mapping[str, str]
    panels: Sequence[Panel]
    limits: tuple[float, float] | None = None
    aside: Sequence[str] = ()

    @property
    def groups(self) -> dict[str, list[int]]:
        """The panels' numbers by group."""
        found: dict[str, list[int]] = {}
        for number, panel in enumerate(self.panels):
            found.setdefault(panel.group, []).append(number)
        return found

    def packed(self) -> dict[str, Any]:
        """Write it down for the page's script.

        Returns
        -------
        dict
            What JSON can hold; arrays as :func:`pack`.
        """
        # Seconds of a clock, as of the Unix epoch, are too many for the page's numbers.
        start = float(self.time[0]) if len(self.time) and abs(self.time[0]) > _CLOCK else 0.0
        return {
            "what": self.what,
            "unit": self.unit,
            "timeLabel": f"time after {start:.3f} s (s)" if start else "time (s)",
            "kinds": [[kind, label] for kind, label in self.kinds.items()],
            "limits": self.limits,
            "aside": list(self.aside),
            "time": pack(self.time - start, fine=True),
            "panels": [
                {
                    "name": panel.name,
                    "group": panel.group,
                    "series": {kind: pack(values) for kind, values in panel.series.items()},
                    "cycles": {kind: pack(_some(values)) for kind, values in panel.cycles.items()},
                    "means": {kind: pack(_mean(values)) for kind, values in panel.cycles.items()},
                    "counts": {kind: len(values) for kind, values in panel.cycles.items()},
                    "bands": {kind: [pack(edge) for edge in edges] for kind, edges in panel.bands.items()},
                    "cycleBands": {kind: [pack(edge) for edge in edges] for kind, edges in panel.cycle_bands.items()},
                    "changed": [[round(a - start, 5), round(b - start, 5)] for a, b in panel.changed],
                    "strikes": [round(strike - start, 5) for strike in panel.strikes],
                }
                for panel in self.panels
            ],
        }

    def drawn(self, number: int) -> str:
        """Draw a panel small: over the gait cycle, its limb's mean; over time where it has no cycles.

        Parameters
        ----------
        number : int
            The panel's.

        Returns
        -------
        str
            An SVG element; its curves have the classes ``curve`` and their kind.
        """
        curves, bands = self._small(self.panels[number])
        low, high = self._small_limits or _limits([*curves.values()])
        parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">']
        base = _y(np.array([min(max(0.0, low), high)]), low, high)[0]
        parts.append(f'<path class="axis" d="M{_EDGE} {base:.1f}H{_WIDTH - _EDGE}"/>')
        for kind, (lower, upper) in bands.items():
            outline = np.concatenate([_points(lower, low, high), _points(upper, low, high)[::-1]])
            parts.append(f'<path class="band {kind}" d="{_path(outline)}"/>')
        for kind in self.kinds:
            if kind in curves:
                parts.append(f'<path class="curve {kind}" d="{_path(_points(curves[kind], low, high))}"/>')
        return "".join([*parts, "</svg>"])

    def _small(self, panel: Panel) -> tuple[dict[str, Array], dict[str, tuple[Array, Array]]]:
        """Return the curves and bands of a small drawing."""
        over_cycle = bool(panel.cycles)
        curves = {kind: _mean(values) for kind, values in panel.cycles.items()} if over_cycle else panel.series
        bands = panel.cycle_bands if over_cycle else panel.bands
        shown = [kind for kind in curves if kind not in self.aside]
        return {kind: curves[kind] for kind in shown}, {kind: bands[kind] for kind in shown if kind in bands}

    @cached_property
    def _small_limits(self) -> tuple[float, float] | None:
        """The ordinate's limits of small drawings, which have no room to spare: up to the highest curve of all."""
        if self.limits is None:
            return None
        curves = [values for panel in self.panels for values in self._small(panel)[0].values()]
        return self.limits[0], min(self.limits[1], 1.05 * _limits(curves)[1])


def pack(values: Array, fine: bool = False) -> dict[str, Any]:
    """Write an array down in two bytes a number (four where it must be fine), as the page's script reads it.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape. NaN is kept.
    fine : bool
        Single precision instead of steps of 1/65534 of the range.

    Returns
    -------
    dict
        ``shape``, ``data`` (base64) and, for steps, ``low`` and ``step``.
    """
    table = np.asarray(values, dtype=float)
    if fine:
        return {"shape": list(table.shape), "data": _base64(table.astype("<f4"))}
    known = np.isfinite(table)
    low, high = (float(table[known].min()), float(table[known].max())) if known.any() else (0.0, 0.0)
    step = (high - low) / (_MISSING - 1) or 1.0
    counts = np.full(table.shape, _MISSING, dtype="<u2")
    counts[known] = np.round((table[known] - low) / step)
    return {"shape": list(table.shape), "low": low, "step": step, "data": _base64(counts)}


def pack_counts(values: NDArray[np.int64]) -> dict[str, Any]:
    """Write whole numbers down in four bytes each.

    Parameters
    ----------
    values : numpy.ndarray of int
        From 0 on.

    Returns
    -------
    dict
        ``shape`` and ``data`` (base64).
    """
    return {"shape": list(values.shape), "data": _base64(values.astype("<u4"))}


def thinned(time: Array, most: int = MOST_POINTS) -> Array:
    """Return the times at which a page shows a trial.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        The trial's (s).
    most : int
        The largest number.

    Returns
    -------
    numpy.ndarray, shape (points,)
        Its own, or evenly spaced ones if it has too many.
    """
    return time if time.size <= most else np.linspace(time[0], time[-1], most)


def over_cycles(time: Array, values: Array, cycles: Sequence[Cycle]) -> Array:
    """Cut a curve into gait cycles, percent by percent.

    Parameters
    ----------
    time, values : numpy.ndarray, shape (rows,)
        The curve.
    cycles : sequence of Cycle
        The cycles.

    Returns
    -------
    numpy.ndarray, shape (cycles, PHASES)
        Where a cycle leaves the curve, its first or last value is held, as the refinement does.
    """
    return windows(cycles, time, values, PHASES, tolerance=np.inf)[:, :, 0]


def stretches(time: Array, where: Mask) -> list[tuple[float, float]]:
    """Find the stretches of time in which something holds.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    where : numpy.ndarray of bool, shape (rows,)
        Whether it holds.

    Returns
    -------
    list of tuple of float
        First and last time of each stretch.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    return [(float(time[first]), float(time[last - 1])) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _some(cycles: Array) -> Array:
    """Take single cycles from all over the trial."""
    if len(cycles) <= MOST_CYCLES:
        return cycles
    some: Array = cycles[np.linspace(0, len(cycles) - 1, MOST_CYCLES).round().astype(int)]
    return some


def _mean(cycles: Array) -> Array:
    """Return the mean cycle, of the cycles that have a value."""
    known = np.isfinite(cycles)
    total = np.where(known, cycles, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _limits(curves: Sequence[Array]) -> tuple[float, float]:
    values = np.concatenate([*curves, np.zeros(1)])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _y(values: Array, low: float, high: float) -> Array:
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    y: Array = _HEIGHT - _EDGE - share * (_HEIGHT - _EDGE - _TOP)
    return y


def _points(values: Array, low: float, high: float) -> Array:
    """Place a curve in the small drawing; NaN stays."""
    most = min(values.size, PHASES)
    at = np.linspace(0, values.size - 1, most).round().astype(int)
    x = np.linspace(_EDGE, _WIDTH - _EDGE, most)
    points: Array = np.column_stack([x, _y(values[at], low, high)])
    return points


def _path(points: Array) -> str:
    """Write points as the path of an SVG, with a gap where one is missing."""
    parts, pen_down = [], False
    for x, y in points.tolist():
        if y != y:
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = True
    return "".join(parts)
