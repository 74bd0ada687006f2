"""Hip, knee and ankle angles of both legs and the way of the pelvis, from a motion or the states of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import CycleError
from ..signals.resample import to_window
from ..storage import TimeSeries, parse_label

Array = NDArray[np.float64]

#: The joint angles, as OpenSim's gait models name them before ``_r`` and ``_l``.
JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")

#: The pelvis of somebody on a treadmill, or standing, moves no faster than this (m/s): the speed is then not known.
STATIONARY = 0.2

#: So much of a cycle may be missing in the file (s): CMC's results begin 0.03 s late.
_MISSING = 0.04


@dataclass(frozen=True)
class JointAngles:
    """The motion of the legs.

    Parameters
    ----------
    time : ndarray, shape (rows,)
        Time (s).
    angles : mapping of str to ndarray, each (rows,)
        By coordinate (``knee_angle_r``), degrees.
    pelvis : ndarray, shape (rows, axes)
        Translations of the pelvis (m); no column where they are not known.
    heading : ndarray or None, shape (rows,)
        Rotation of the pelvis about the vertical (degrees), where it is known.
    """

    time: Array
    angles: Mapping[str, Array]
    pelvis: Array
    heading: Array | None = None

    @classmethod
    def of(cls, series: TimeSeries) -> JointAngles | None:
        """Take it from a file.

        Parameters
        ----------
        series : TimeSeries
            Coordinates or states.

        Returns
        -------
        JointAngles or None
            None where the file has no such angle.
        """
        columns: dict[str, str] = {}
        for label in series.labels:
            parsed = parse_label(label)
            if parsed.kind in ("value", "other") and series.labels.count(label) == 1:
                columns.setdefault(parsed.name, label)
        names = [f"{joint}_{side}" for joint in JOINTS for side in "rl"]
        # No leg turns round more than once: a header may say radians of degrees, which is told where torques are made.
        largest = max(
            (np.nan_to_num(np.abs(series.column(columns[name]))).max(initial=0.0) for name in names if name in columns),
            default=0.0,
        )
        unit = 1.0 if series.in_degrees or largest > 2.0 * np.pi else np.degrees(1.0)
        angles = {name: unit * series.column(columns[name]) for name in names if name in columns}
        if not angles:
            return None
        axes = [columns[name] for name in ("pelvis_tx", "pelvis_ty", "pelvis_tz") if name in columns]
        pelvis = series.select(axes) if axes else np.zeros((series.n_rows, 0))
        heading = columns.get("pelvis_rotation")
        return cls(series.time, angles, pelvis, None if heading is None else unit * series.column(heading))

    @cached_property
    def _axes(self) -> Array:
        """The pelvis' axes, each in one piece."""
        return np.ascontiguousarray(self.pelvis.T)

    def cycle(self, side: str, start: float, end: float, roll_to: float | None, samples: int) -> Array:
        """Cut out the angles of one leg over one cycle.

        Parameters
        ----------
        side : {'r', 'l'}
            The leg.
        start, end : float
            The cycle (s).
        roll_to : float, optional
            Heel strike inside the window, where it does not start with it (s).
        samples : int
            Samples of the cycle.

        Returns
        -------
        ndarray, shape (joints, samples)
            Degrees, in the order of :data:`JOINTS`; flexion of the knee is positive, which models do not agree on. NaN
            where a joint, or the cycle, is not in the file.
        """
        found = np.full((len(JOINTS), samples), np.nan)
        known, table = self._legs[side]
        if not known:
            return found
        time = self.time
        if time.size and time[0] <= start and end <= time[-1]:
            # Only the rows of the cycle are looked at: many cycles of a long file cost no more than the file.
            rows = slice(np.searchsorted(time, start, side="right") - 1, np.searchsorted(time, end) + 1)
            time, table = time[rows], table[rows]
        try:
            found[known] = to_window(time, table, start, end, samples, roll_to=roll_to).T
        except CycleError:
            return found
        knee = found[JOINTS.index("knee_angle")]
        if np.isfinite(knee).all() and knee[np.argmax(np.abs(knee))] < 0.0:
            knee *= -1.0
        return found

    @cached_property
    def _legs(self) -> dict[str, tuple[list[int], Array]]:
        """The joints of each leg that are in the file, by number, and their angles (rows, joints)."""
        legs = {}
        for side in "rl":
            known = [k for k, joint in enumerate(JOINTS) if f"{joint}_{side}" in self.angles]
            columns = [self.angles[f"{JOINTS[k]}_{side}"] for k in known]
            legs[side] = known, np.column_stack(columns) if known else np.zeros((self.time.size, 0))
        return legs

    def _holds(self, start: float, end: float) -> bool:
        """Tell whether the file holds a cycle."""
        return bool(start >= self.time[0] - _MISSING and end <= self.time[-1] + _MISSING)

    def speed(self, start: float, end: float) -> float | None:
        """Take the speed of the pelvis over one cycle.

        Parameters
        ----------
        start, end : float
            The cycle (s).

        Returns
        -------
        float or None
            Speed (m/s); None where the pelvis keeps its place, as on a treadmill, or is not in the file.
        """
        if not self.pelvis.shape[1] or not self._holds(start, end):
            return None
        first, last = (np.array([np.interp(t, self.time, axis) for axis in self._axes]) for t in (start, end))
        speed = float(np.linalg.norm(last - first)) / (end - start)
        return speed if speed > STATIONARY else None

    def turned(self, start: float, end: float) -> float | None:
        """Say by how much the pelvis faces elsewhere after one cycle.

        Parameters
        ----------
        start, end : float
            The cycle (s).

        Returns
        -------
        float or None
            Degrees; None where the file does not say. Straight on it is a few.
        """
        if self.heading is None or not self._holds(start, end):
            return None
        first, last = np.interp([start, end], self.time, self.heading)
        return abs(float(last - first))
