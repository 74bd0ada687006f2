"""One run of NMM on a subject: the fit, and what the subject's own measured channels say of its worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import TrainingError
from ...log import logger
from .fit import Fit, Head, fit
from .population import Population
from .recordings import LEAD, OFFSETS, Recordings
from .shapes import Mixer, Shapes

Array = NDArray[np.float64]

_KUMAR = "Kumar et al. (2025). arXiv:2503.05201"
_AO = (
    "Ao D, Shourijeh MS, Patten C, Fregly BJ (2020). Evaluation of synergy extrapolation for predicting unmeasured "
    "muscle excitations. Frontiers in Computational Neuroscience 14:588943"
)


@dataclass(frozen=True)
class SubjectMethod:
    """A way to estimate one subject's unmeasured excitations; all pass through the same muscles.

    Parameters
    ----------
    label : str
        What it is called in reports.
    head : {'mixture', 'synergies', 'transformer'}
        Where the fit takes unmeasured excitations from (:func:`.fit.fit`).
    shaping : str
        The curves that the fit starts from (:meth:`.Mixer.shapes`).
    deviates : bool
        Whether the excitations may deviate from these.
    references : tuple of str
        Its papers.
    """

    label: str
    head: Head
    shaping: str
    deviates: bool = False
    references: tuple[str, ...] = ()


#: All methods, by the name that a setup file gives.
METHODS: dict[str, SubjectMethod] = {
    "structured": SubjectMethod("NMM, mixture with mechanics", "mixture", "structured", True, (_KUMAR,)),
    "paper": SubjectMethod("NMM, Transformer (Kumar 2025)", "transformer", "copy", references=(_KUMAR,)),
    "synx": SubjectMethod("synergy extrapolation (Ao & Fregly)", "synergies", "copy", references=(_AO,)),
    "copy": SubjectMethod("copy of the nearest synergist", "mixture", "copy"),
    "population": SubjectMethod("weights of other subjects", "mixture", "population"),
}

#: Steps of the fits.
_STEPS: dict[Head, int] = {"mixture": 200, "synergies": 120, "transformer": 300}

#: Bands hold this share of the rows.
BAND = 0.9

#: How much the widths that channels of one subject need differ (standard deviation of the logarithm), and how many
#: channels this counts for beside the subject's own. Of ten subjects, none of whom a table of the benchmark reports.
_SCATTER, _SCATTER_CHANNELS = 0.35, 10

#: More windows than this, spread evenly, are not fitted: the others are estimated, and judge the left-out channels.
MOST_FITTED = 12


@dataclass(frozen=True)
class ChannelScore:
    """How well a channel is estimated when it is left out.

    Parameters
    ----------
    channel : str
        The EMG column.
    left_out : {'channel', 'group'}
        Whether it was left out alone or with all its synergists.
    synergist_measured : bool
        Whether a synergist was left.
    r, R2, E : float
        Correlation, coefficient of determination after one gain, and RMSE after one gain, over all rows, of EMG over
        its maximum.
    coverage : float
        Share of rows within the band that the other channels give; NaN where there are too few of them.
    r_written, R2_written : float
        The same for the activation once the torques were put right, against the one that the channel's EMG leads to;
        NaN for methods without a fit of their own to each channel left out.
    r_simulation, R2_simulation, r_synx, R2_synx, r_copy, R2_copy, r_population, R2_population : float
        The same for the simulation, synergy extrapolation, the nearest synergist's channel, and other subjects'
        weights. Without a synergist the copy is the simulation.
    """

    channel: str
    left_out: str
    synergist_measured: bool
    r: float
    R2: float
    E: float
    coverage: float
    r_written: float
    R2_written: float
    r_simulation: float
    R2_simulation: float
    r_synx: float
    R2_synx: float
    r_copy: float
    R2_copy: float
    r_population: float
    R2_population: float


@dataclass(frozen=True, eq=False)
class SubjectEstimate:
    """What a run came to.

    Parameters
    ----------
    recordings : Recordings
        The subject.
    method : str
        The method.
    shapes : Shapes
        Curves of all muscles, nothing left out.
    fitted : Fit
        The fit; its first fold leaves nothing out.
    scores : tuple of ChannelScore
        Measured channels left out; empty where that was not asked for.
    low, high : numpy.ndarray, shape (windows, ROWS, muscles), or None
        Bands of the excitations.
    """

    recordings: Recordings
    method: str
    shapes: Shapes
    fitted: Fit
    scores: tuple[ChannelScore, ...]
    low: Array | None
    high: Array | None

    @property
    def excitations(self) -> Array:
        """Excitations; (windows, ROWS, muscles)."""
        values: Array = self.fitted.excitations[0]
        return values

    @property
    def activations(self) -> Array:
        """Activations; (windows, ROWS, muscles)."""
        values: Array = self.fitted.activations[0]
        return values

    @property
    def torques(self) -> Array:
        """Torques of the activations (Nm); (windows, ROWS, coordinates)."""
        values: Array = self.fitted.torques[0]
        return values

    @property
    def parameters(self) -> dict[str, Array]:
        """Personal parameters by name; (muscles,)."""
        return {name: values[0] for name, values in self.fitted.parameters.items()}

    def unsupported(self) -> list[str]:
        """Name the unmeasured muscles without a measured synergist.

        Returns
        -------
        list of str
            Their estimates rest on the simulation, the torques and, where there is one, the population.
        """
        r = self.recordings
        every = range(len(r.channels))
        return [
            name for m, name in enumerate(r.muscles) if self.shapes.measured[m] < 0 and not r.synergists(m, list(every))
        ]


def estimate_subject(
    recordings: Recordings,
    method: str = "structured",
    population: Population | None = None,
    *,
    validate: bool = True,
    fitted: NDArray[np.bool_] | None = None,
    folds: Sequence[tuple[str, Sequence[int]]] | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> SubjectEstimate:
    """Estimate the excitations of all muscles of a subject.

    Parameters
    ----------
    recordings : Recordings
        The subject.
    method : {'structured', 'paper', 'synx', 'copy', 'population'}
        How unmeasured excitations come about.
    population : Population, optional
        Other subjects; used in gait.
    validate : bool
        Whether measured channels are left out to find errors and bands.
    fitted : numpy.ndarray of bool, shape (windows,), optional
        The windows that are fitted; the scores are then of the others. By default all, or :data:`MOST_FITTED` of them.
    folds : sequence of (str, sequence of int), optional
        What is left out: ``'channel'`` or ``'group'``, and the channels. Every channel alone, and every group of
        synergists, by default.
    steps : int, optional
        Steps of the fits.
    seed : int
        Of the networks' first weights.

    Returns
    -------
    SubjectEstimate
        The estimates.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        The method is not known, or needs a population.
    """
    if method not in METHODS:
        raise TrainingError(f"The method must be one of {', '.join(METHODS)}; found '{method}'.")
    way = METHODS[method]
    if way.shaping == "population" and population is None:
        raise TrainingError(f"The method '{method}' needs a population of other subjects, but there is none.")
    head, deviates = way.head, way.deviates
    count = len(recordings.windows)
    chosen = np.zeros(count, dtype=bool)
    chosen[np.linspace(0, count - 1, min(count, MOST_FITTED)).round().astype(int)] = True
    if fitted is not None:
        chosen = np.asarray(fitted, dtype=bool)
    judged = np.ones(count, dtype=bool) if chosen.all() else ~chosen
    mixer = Mixer(recordings, population, chosen)
    left = list(folds) if folds is not None else _folds(recordings) if validate else []
    shapes = [mixer.shapes(held, way.shaping) for held in ([], *(held for _, held in left))]
    for trial, place in zip(recordings.trials, shapes[0].offsets, strict=True):
        logger.info("%s: EMG(t %+.3f s) fits activation(t).", trial.name, OFFSETS[place] + trial.clock)

    def solved(head: Head, shapes: Sequence[Shapes], deviates: bool) -> Fit:
        number = steps or _STEPS[head]
        return fit(recordings, shapes, chosen, head=head, deviates=deviates, steps=number, seed=seed)

    # What neither deviates nor asks the torques has the same shape whatever the fit says.
    closed = head == "mixture" and not deviates
    result = solved(head, shapes[:1] if closed else shapes, deviates)
    if not left:
        return SubjectEstimate(recordings, method, shapes[0], result, (), None, None)
    curves = [_channels(recordings, fold.curves[:, LEAD:]) for fold in shapes[1:]]
    if not closed:
        curves = [_channels(recordings, values) for values in result.excitations[1:]]
    others: dict[str, list[Array]] = {}
    for name in ("simulation", "copy", "population"):
        if population is None and name == "population":
            continue
        others[name] = [_channels(recordings, mixer.shapes(held, name).curves[:, LEAD:]) for _, held in left]
    synergies = result if head == "synergies" else solved("synergies", shapes, False)
    first = 1
    others["synx"] = [_channels(recordings, values) for values in synergies.excitations[first:]]
    truth = [fold.emg[:, LEAD:] for fold in shapes[1:]]
    # As if nobody else's EMG told, for the bands of muscles of which that is true.
    bare = [_channels(recordings, mixer.shapes(held, "neighbours").curves[:, LEAD:]) for _, held in left]
    items = [(k, kind, c) for k, (kind, held) in enumerate(left) for c in held]
    scores, errors, kinds = [], [], []
    for k, kind, c in items:
        kept = [x for x in range(len(recordings.channels)) if x not in left[k][1]]
        kinds.append(_certainty(recordings, shapes[k + 1], recordings.channel_muscles[c][0], kept))
        seen = truth[k][..., c][judged]
        errors.append(_Error(c, kinds[-1] == "near", *(_residual(x[k][..., c][judged], seen) for x in (curves, bare))))
        own = _measures(curves[k][..., c][judged], seen)
        rest = {
            f"{what}_{name}": _measures(others[name][k][..., c][judged], seen)[what] if name in others else float("nan")
            for name in ("simulation", "synx", "copy", "population")
            for what in ("r", "R2")
        }
        rest |= {"r_written": float("nan"), "R2_written": float("nan")}
        if not closed:
            own_fold = (result.put_right[k + 1], result.led[k + 1])
            written = _measures(*(_channels(recordings, values)[..., c][judged] for values in own_fold))
            rest |= {f"{what}_written": written[what] for what in ("r", "R2")}
        near = any(recordings.synergists(m, kept) for m in recordings.channel_muscles[c])
        scores.append(ChannelScore(recordings.channels[c].column, kind, near, **own, coverage=float("nan"), **rest))
    for place, (error, certainty) in enumerate(zip(errors, kinds, strict=True)):
        factor = _factor(errors, certainty, error.channel)
        if factor is not None:
            scores[place] = replace(scores[place], coverage=float(np.mean(error.own <= factor)))
    low, high = _bands(recordings, shapes[0], result.excitations[0], errors)
    return SubjectEstimate(recordings, method, shapes[0], result, tuple(scores), low, high)


def _folds(recordings: Recordings) -> list[tuple[str, list[int]]]:
    """Leave out each channel, and each group of two or more synergists, as long as others are left."""
    channels = len(recordings.channels)
    if channels < 2:
        logger.warning("With one EMG channel nothing can be left out: the run says nothing of its own errors.")
        return []
    groups = [group for group in recordings.groups() if 1 < len(group) < channels]
    return [("channel", [c]) for c in range(channels)] + [("group", group) for group in groups]


def _channels(recordings: Recordings, values: Array) -> Array:
    """Return the mean over each channel's muscles; (windows, rows, channels)."""
    return np.stack([values[..., own].mean(-1) for own in recordings.channel_muscles], -1)


def _gain(estimate: Array, truth: Array) -> float:
    return max(0.0, float(np.sum(estimate * truth) / max(float(np.sum(estimate**2)), 1e-12)))


def _measures(estimate: Array, truth: Array) -> dict[str, Any]:
    """Return r, and R2 and E after one gain."""
    x, y = estimate.ravel(), truth.ravel()
    flat = x.std() < 1e-9 or y.std() < 1e-9
    error = y - _gain(x, y) * x
    return {
        "r": 0.0 if flat else float(np.corrcoef(x, y)[0, 1]),
        "R2": float(1.0 - np.sum(error**2) / max(float(np.sum((y - y.mean()) ** 2)), 1e-12)),
        "E": float(np.sqrt(np.mean(error**2))),
    }


def _scale(estimate: Array, axes: tuple[int, ...] = (0, 1)) -> Array:
    """Return how large errors are about, from the estimate: half its RMS, and more where it is large."""
    size: Array = np.sqrt(np.mean(estimate**2, axis=axes, keepdims=True))
    return 0.5 * size + 0.5 * estimate


def _residual(estimate: Array, truth: Array) -> Array:
    """Return the errors after one gain, in units of the expected size."""
    scaled = _gain(estimate, truth) * estimate
    size = np.maximum(_scale(scaled), 1e-3 * max(float(truth.max()), 1e-9))
    result: Array = np.abs(truth - scaled) / size
    return result


@dataclass(frozen=True, eq=False)
class _Error:
    """What was wrong with a channel that was left out, in units of the expected size; its estimates are two."""

    channel: int
    near: bool
    own: Array
    bare: Array


def _certainty(recordings: Recordings, shapes: Shapes, muscle: int, channels: Sequence[int]) -> str:
    """Tell what an estimate rests on: a measured synergist, other subjects and simulation, or the latter alone."""
    if recordings.synergists(muscle, channels):
        return "near"
    return "guessed" if shapes.guessed[muscle] else "far"


def _factor(errors: Sequence[_Error], certainty: str, without: int = -1) -> float | None:
    """Return the width of a band for a channel more: the end of a prediction interval from the widths that others need.

    Channels count that were left out as a muscle is that is to have the band, or all where these are too few. Of a
    muscle of which nobody's EMG tells nothing says which of them it is like: it gets the widest that any of them needs,
    if that is more.
    """
    from scipy.special import stdtrit

    others = [error for error in errors if error.channel != without]
    alike = [error for error in others if error.near == (certainty == "near")]
    used = alike if len(alike) > 1 else others
    if len(used) < 2:
        return None
    residuals = [error.bare if certainty == "guessed" else error.own for error in used]
    needed = np.log(np.maximum([np.quantile(residual, BAND) for residual in residuals], 1e-3))
    # With few channels the scatter among them says little: other subjects' stands beside it.
    known = len(needed) - 1 + _SCATTER_CHANNELS
    variance = (needed.var() * len(needed) + _SCATTER_CHANNELS * _SCATTER**2) / known
    width = needed.mean() + stdtrit(known, BAND) * np.sqrt(variance * (1.0 + 1.0 / len(needed)))
    return float(np.exp(max(width, needed.max()) if certainty == "guessed" else width))


def _bands(
    recordings: Recordings, shapes: Shapes, excitations: Array, errors: Sequence[_Error]
) -> tuple[Array | None, Array | None]:
    """Give unmeasured muscles the band of channels that were left out as they are."""
    low, high = excitations.copy(), excitations.copy()
    every = list(range(len(recordings.channels)))
    for m in range(len(recordings.muscles)):
        if shapes.measured[m] >= 0:
            continue
        factor = _factor(errors, _certainty(recordings, shapes, m, every))
        if factor is None:
            return None, None
        width = factor * _scale(excitations[..., m])
        low[..., m] = np.clip(excitations[..., m] - width, 0.0, 1.0)
        high[..., m] = np.clip(excitations[..., m] + width, 0.0, 1.0)
    return low, high
