"""The amplitude of an estimate: EMG tells how a muscle's activity rises and falls, relative to a maximum unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..log import counted, logger

if TYPE_CHECKING:
    from .estimate import Estimate, MuscleEstimate

Array = NDArray[np.float64]

#: What activations are relative to. torques: joint torques decide. simulation: each muscle is as strong as its prior.
#: emg: EMG relative to its maximum is taken for the activation. method: the method itself puts out activations.
Convention = Literal["torques", "simulation", "emg", "method"]

#: A muscle's largest activation in gait, roughly, where nothing is known.
TYPICAL_GAIN = 0.4

#: The simulation's strength of a muscle counts within these bounds.
_STRENGTHS = (0.03, 1.5)

#: Shapes are at least this: no muscle is ever silent in EMG.
_FLOOR = 0.005


@dataclass(frozen=True)
class MuscleGain:
    """The amplitude of one muscle: a row of ``<name>_gains.csv``.

    Parameters
    ----------
    muscle : str
        The muscle.
    shape : str
        Where its shape is from (:attr:`.MuscleEstimate.shape_source`); empty for a muscle that has none.
    gain : float
        Largest value of the shape times gain, as an activation (0..1). NaN without a shape, as all but ``moved``.
    prior : float
        The gain before torques had a say.
    determined : float
        The share of the gain that the torques determined, the rest being the prior's (0..1). NaN where the gain was
        known.
    from_shape : float
        Root mean square by which the activation departs from gain times shape.
    moved : float
        Root mean square by which it departs from the simulation's activation.
    outside_band : float
        The share of the cycles' rows (0..1) in which it leaves the band of the estimate, which has the same gain; NaN
        without a band. Torques may ask for more than the EMG of other subjects lets expect.
    """

    muscle: str
    shape: str
    gain: float
    prior: float
    determined: float
    from_shape: float
    moved: float
    outside_band: float = float("nan")


@dataclass(frozen=True)
class Amplitude:
    """How an estimate's amplitude was found.

    Parameters
    ----------
    convention : {'torques', 'simulation', 'emg', 'method'}
        What it is relative to.
    gains : mapping of str to MuscleGain
        By muscle; those with a shape first.
    torque_errors : mapping of str to float
        By coordinate, the root mean square of (the muscles' torque - inverse dynamics) in percent of the peak.
    torque_error : float
        The same of all coordinates (:func:`.torque_metrics.overall_percent`); NaN where it is not known.
    tendons : str
        Which tendons the muscles had: ``'rigid'`` or ``'elastic'``.
    """

    convention: Convention
    gains: Mapping[str, MuscleGain] = field(default_factory=dict)
    torque_errors: Mapping[str, float] = field(default_factory=dict)
    torque_error: float = float("nan")
    tendons: str = "rigid"

    @property
    def label(self) -> str:
        """What an axis with these values is called."""
        return "EMG / maximum" if self.convention == "emg" else "activation"

    def others_moved(self) -> float:
        """Return how far muscles without a shape departed from the simulation.

        Returns
        -------
        float
            The mean of their root mean squares (activation); 0 where there are none.
        """
        moved = [row.moved for row in self.gains.values() if not row.shape]
        return float(np.mean(moved)) if moved else 0.0


def shape_of(item: MuscleEstimate) -> tuple[Array, float]:
    """Return the shape of an estimate.

    Parameters
    ----------
    item : MuscleEstimate
        The estimate, in any unit.

    Returns
    -------
    shape : numpy.ndarray, shape (rows,)
        Relative to its maximum in the rows that are covered: 0.005 to 1.
    maximum : float
        This maximum; 1 for an estimate that is nowhere above 0, whose shape is flat.
    """
    values = item.values if item.joined is None else item.joined
    maximum = float(values[item.covered].max(initial=0.0))
    if not maximum > 0.0:
        return np.ones(values.shape), 1.0
    return np.clip(values / maximum, _FLOOR, 1.0), maximum


def prior_gain(time: Array, simulated: Array, shape: Array, covered: NDArray[np.bool_]) -> float:
    """Return the gain that is expected of a shape.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        Times (s), evenly spaced or not.
    simulated : numpy.ndarray, shape (rows,)
        The simulation's activation.
    shape : numpy.ndarray, shape (rows,)
        The shape, at most 1.
    covered : numpy.ndarray of bool, shape (rows,)
        The rows that count.

    Returns
    -------
    float
        The geometric mean of what is typical and of the simulation's strength: the gain with which the shape has the
        root mean square of the simulated activation. A simulation that spares a muscle does not silence it.
    """
    step = np.gradient(time)[covered] if time.size > 1 else np.ones(int(covered.sum()))
    squares = [float((step * values[covered] ** 2).sum()) for values in (simulated, shape)]
    strength = np.sqrt(squares[0] / squares[1]) if squares[1] > 0.0 else TYPICAL_GAIN
    return float(np.sqrt(TYPICAL_GAIN * np.clip(strength, *_STRENGTHS)))


def prior_gains(estimate: Estimate, simulated: Mapping[str, Array]) -> dict[str, float]:
    """Return the gain expected of each of an estimate's shapes.

    Parameters
    ----------
    estimate : Estimate
        The estimate.
    simulated : mapping of str to numpy.ndarray, each (rows,)
        The simulation's activations.

    Returns
    -------
    dict of str to float
        By muscle: the gain that is known, or :func:`prior_gain`.
    """
    return {
        item.muscle: prior_gain(estimate.time, simulated[item.muscle], shape_of(item)[0], item.covered)
        if item.gain is None
        else item.gain
        for item in estimate
    }


def scaled(estimate: Estimate, gains: Mapping[str, float]) -> Estimate:
    """Give an estimate's shapes an amplitude.

    Parameters
    ----------
    estimate : Estimate
        The estimate, in any unit.
    gains : mapping of str to float
        The largest value of each muscle; what is left out keeps its own.

    Returns
    -------
    Estimate
        With the shapes times their gains, and bands in proportion.
    """
    found = {}
    for item in estimate:
        if item.muscle in gains:
            shape, maximum = shape_of(item)
            gain = gains[item.muscle]
            bands = item.changed(lambda values, factor=gain / maximum: np.maximum(factor * values, 0.0))  # type: ignore[misc]
            item = replace(bands, values=np.where(item.covered, gain * shape, item.values), joined=None)
        found[item.muscle] = item
    return replace(estimate, muscles=found)


def by_prior(estimate: Estimate, simulated: Mapping[str, Array]) -> Estimate:
    """Give an estimate the amplitudes that are expected without torques.

    Parameters
    ----------
    estimate : Estimate
        EMG relative to its maximum.
    simulated : mapping of str to numpy.ndarray, each (rows,)
        The simulation's activations.

    Returns
    -------
    Estimate
        Each muscle's shape times its prior gain, with :attr:`.Estimate.amplitude`.
    """
    gains = prior_gains(estimate, simulated)
    new = scaled(estimate, gains)
    rows = {}
    for item in new:
        moved = item.values[item.covered] - simulated[item.muscle][item.covered]
        gain = gains[item.muscle]
        rows[item.muscle] = MuscleGain(
            *(item.muscle, item.shape_source, gain, gain, 0.0 if item.gain is None else np.nan),
            *(0.0, rms(moved), outside_band(item)),
        )
    return replace(new, amplitude=Amplitude("simulation", rows))


def outside_band(item: MuscleEstimate) -> float:
    """Tell how often an estimate leaves its band.

    Parameters
    ----------
    item : MuscleEstimate
        The estimate.

    Returns
    -------
    float
        The share of the rows that are covered (0..1); NaN without a band.
    """
    if item.low is None or item.high is None or not item.covered.any():
        return float("nan")
    # Bands and values are interpolated one by one: they may touch.
    outside = (item.values < item.low - 1e-6) | (item.values > item.high + 1e-6)
    return float(outside[item.covered].mean())


def rms(values: Array) -> float:
    """Return the root mean square; 0 of nothing.

    Parameters
    ----------
    values : numpy.ndarray
        Any numbers.

    Returns
    -------
    float
        Their root mean square.
    """
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def log_amplitude(amplitude: Amplitude) -> None:
    """Say in the log how the amplitudes were found.

    Parameters
    ----------
    amplitude : Amplitude
        How.
    """
    if amplitude.convention == "emg":
        logger.warning(
            "<amplitude> emg: the refined activations are EMG relative to its maximum. In states and controls this "
            "amplitude stands for an activation, and their joint torques are not those of the motion."
        )
        return
    if amplitude.convention == "method":
        return
    for line in gain_table(list(amplitude.gains.values())):
        logger.debug("%s", line)
    shaped = [row for row in amplitude.gains.values() if row.shape]
    shares = [row.determined for row in shaped if np.isfinite(row.determined)]
    known = len(shaped) - len(shares)
    by_maximum = f"; that of {counted(known, 'muscle')} is known from maximal contractions" if known else ""
    if amplitude.convention == "simulation":
        logger.info(
            "Amplitude: each muscle has the estimate's shape, and the strength that the simulation gives it%s. The "
            "joint torques of the refined activations are not those of the motion.",
            by_maximum,
        )
        return
    said = f"; torques determined {100 * np.mean(shares):.0f} % of the gains, the prior the rest" if shares else ""
    logger.info(
        "Amplitude: each muscle has the estimate's shape, and joint torques tell its strength%s. Torques are met "
        "within %.2g %% of their peaks (RMS, %s tendons); muscles without a shape moved by %.3f RMS.",
        by_maximum + said,
        amplitude.torque_error,
        amplitude.tendons,
        amplitude.others_moved(),
    )


def gain_table(rows: Sequence[MuscleGain]) -> list[str]:
    """Lay the amplitudes out as lines for the log.

    Parameters
    ----------
    rows : sequence of MuscleGain
        One per muscle.

    Returns
    -------
    list of str
        A header and a line per muscle with a shape.
    """
    shaped = [row for row in rows if row.shape]
    width = max(len(name) for name in ("muscle", *(row.muscle for row in shaped)))
    wide = max(len(text) for text in ("shape", *(row.shape for row in shaped)))
    lines = [f"{'muscle':<{width}}  {'shape':<{wide}}  gain  prior  determined by torques  moved from OpenSim (RMS)"]
    for row in shaped:
        lines.append(
            f"{row.muscle:<{width}}  {row.shape:<{wide}}  {row.gain:4.2f}  {row.prior:5.2f}  "
            f"{100 * row.determined:19.0f} %  {row.moved:24.3f}"
        )
    return lines
