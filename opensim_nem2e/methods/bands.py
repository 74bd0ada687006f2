"""The bands around a method's estimates: how far the EMG of subjects it had not seen was away, by muscle and phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Prediction

Array = NDArray[np.float64]

#: The rules by which bands are made wide enough (:func:`opensim_nem2e.evaluation.band_calibration.calibrate_bands`).
RULES = ("worst subject", "all subjects")


@dataclass(frozen=True)
class Bands:
    """Bands of a level, by target.

    Parameters
    ----------
    level : float
        The share of measured EMG that is to lie within (0..1).
    half_widths : mapping of str to ndarray, shape (cycle_samples,)
        By target: how far the band reaches to each side of the estimate.
    subjects : int
        How many subjects they were calibrated on.
    factor : float
        By what the residuals' root mean square was multiplied.
    rule : {'worst subject', 'all subjects'}
        Whose EMG the factor was chosen for.
    limits : tuple of float, optional
        What EMG cannot leave, and bands therefore do not: 0 and, where it is relative to its maximum, 1.
    coverage : mapping
        Shares of measured EMG within such bands, of subjects and laboratories that they were calibrated without.
    """

    level: float
    half_widths: Mapping[str, Array] = field(repr=False)
    subjects: int
    factor: float
    rule: str
    limits: tuple[float, float] = (0.0, float("inf"))
    coverage: Mapping[str, Any] = field(default_factory=dict)

    def around(self, target: str, values: Array) -> tuple[Array, Array]:
        """Put the band around an estimate.

        Parameters
        ----------
        target : str
            A key of :attr:`half_widths`.
        values : ndarray, shape (cycles, cycle_samples)
            The estimate.

        Returns
        -------
        low, high : ndarray, shape (cycles, cycle_samples)
            The band; the estimate is within, even where it leaves :attr:`limits`.
        """
        half = self.half_widths[target]
        low, high = np.clip(values - half, *self.limits), np.clip(values + half, *self.limits)
        return np.minimum(low, values), np.maximum(high, values)

    def add_to(self, target: str, prediction: Prediction) -> Prediction:
        """Give a prediction its band, if its method has none of its own.

        Parameters
        ----------
        target : str
            Whose prediction it is.
        prediction : Prediction
            The prediction.

        Returns
        -------
        Prediction
            With ``low`` and ``high``.
        """
        if prediction.low is not None or target not in self.half_widths:
            return prediction
        low, high = self.around(target, prediction.values)
        return replace(prediction, low=low, high=high)

    def section(self) -> dict[str, Any]:
        """Describe them for a bundle's metadata.

        Returns
        -------
        dict of str to object
            JSON can hold it.
        """
        return {
            "level": self.level,
            "subjects": self.subjects,
            "factor": round(self.factor, 6),
            "rule": self.rule,
            "limits": [None if np.isinf(edge) else edge for edge in self.limits],
            "half_widths": {target: np.round(half, 6).tolist() for target, half in self.half_widths.items()},
            "coverage": dict(self.coverage),
        }

    @classmethod
    def of_section(cls, section: Any, cycle_samples: int) -> Bands:
        """Read what :meth:`section` gave.

        Parameters
        ----------
        section : object
            As read from JSON: not to be trusted.
        cycle_samples : int
            Samples of a cycle.

        Returns
        -------
        Bands
            The same.

        Raises
        ------
        ValueError
            It is something else; says what.
        """
        try:
            low, high = section["limits"]
            halves = {str(name): np.array(half, dtype=np.float64) for name, half in section["half_widths"].items()}
            found = cls(
                float(section["level"]),
                halves,
                int(section["subjects"]),
                float(section["factor"]),
                str(section["rule"]),
                (float(low), float("inf") if high is None else float(high)),
                dict(section["coverage"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"a number or a list is missing or of another kind ({error!r})") from error
        if not 0.0 < found.level < 1.0 or found.rule not in RULES:
            raise ValueError(f"level {found.level:g} and rule '{found.rule}' are not what this package writes")
        for name, half in halves.items():
            if half.shape != (cycle_samples,) or not (np.isfinite(half) & (half >= 0.0)).all():
                raise ValueError(f"the half widths of '{name}' must be {cycle_samples} numbers that are not negative")
        for way, rows in found.coverage.items():
            if not isinstance(rows, list) or not all(_is_coverage(row) for row in rows):
                raise ValueError(f"'{way}' must list rows with names and shares from 0 to 1")
        return found


def _is_coverage(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return False
    share, width = row.get("coverage"), row.get("width")
    return isinstance(share, int | float) and 0.0 <= share <= 1.0 and isinstance(width, int | float) and width >= 0.0
