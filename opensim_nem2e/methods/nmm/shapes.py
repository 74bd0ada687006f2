"""What an unmeasured muscle's EMG may look like before mechanics are asked: copies, mixtures, synergies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .population import CONSTANT, PROFILE, SIMULATION, Population
from .recordings import LEAD, OFFSETS, PHYSIOLOGICAL, SYNERGY, Recordings

Array = NDArray[np.float64]

#: Shares of synergists' channels, simulation and constant (each of RMS 1) where no other subject's EMG tells, with and
#: without measured synergists, and what such a mixture leaves unexplained of EMG of RMS 1. They are the non-negative
#: weights that come out for the muscles of ten subjects, none of whom a table of the benchmark reports.
_NEIGHBOURS, _NEIGHBOUR_SPREAD = (0.68, 0.17, 0.13), 0.45
_ALONE, _ALONE_SPREAD = (0.0, 0.5, 0.38), 0.65

#: Factors of what mixtures consist of (channels, simulation, profile, constant; synergists without the population)
#: before a subject's own channels are heard, with and without measured synergists, and what these weigh against one
#: measured channel. Chosen by leaving out channels of the same ten subjects.
_PRIOR = np.array([0.75, 0.75, 0.75, 0.75, 0.25])
_PRIOR_ALONE = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
_TRUST = 3.0


@dataclass(frozen=True, eq=False)
class Shapes:
    """Curves for all muscles of a subject, when some channels count as measured.

    Parameters
    ----------
    held : tuple of int
        The channels that count as unmeasured.
    offsets : numpy.ndarray of int, shape (trials,)
        Where in OFFSETS the time offset lies that the other channels say.
    ahead : numpy.ndarray, shape (trials,)
        By how much the excitations run ahead of the activations (s).
    emg : numpy.ndarray, shape (windows, LEAD + ROWS, channels)
        All channels on the clock of the excitations, over their maxima; those that are held, too, to compare with.
    simulated : numpy.ndarray, shape (windows, LEAD + ROWS, muscles)
        Simulated activations, on the same clock.
    curves : numpy.ndarray, shape (windows, LEAD + ROWS, muscles)
        The curve of each muscle, maximum 1: measured EMG, or an estimate.
    spread : numpy.ndarray, shape (muscles,)
        What is expected to be wrong with an estimate (RMS); 0 for measured muscles.
    measured : numpy.ndarray of int, shape (muscles,)
        The channel of each muscle; -1 for unmeasured ones.
    guessed : numpy.ndarray of bool, shape (muscles,)
        Muscles of which nobody's EMG tells, only the simulation.
    """

    held: tuple[int, ...]
    offsets: NDArray[np.intp]
    ahead: Array
    emg: Array
    simulated: Array
    curves: Array
    spread: Array
    measured: NDArray[np.intp]
    guessed: NDArray[np.bool_]


def _rms(values: Array) -> Array:
    """RMS over windows and rows."""
    size: Array = np.sqrt(np.mean(np.square(values[:, LEAD:]), axis=(0, 1)))
    return np.maximum(size, 1e-6)


def _standard(recordings: Recordings, population: Population, phases: dict[str, Array], muscle: int) -> str:
    """Name the muscle of the population that tells of a muscle: itself, or the nearest that pulls alike."""
    r = recordings
    if not np.isfinite(phases[r.sides[muscle] or "r"]).any():
        return ""
    if r.standard[muscle] in population.muscles:
        return r.standard[muscle]
    near = [m for m, name in enumerate(r.standard) if name in population.muscles and r.sides[m] == r.sides[muscle]]
    best = max(near, key=lambda m: r.similarity[m, muscle], default=muscle)
    return r.standard[best] if r.similarity[best, muscle] >= SYNERGY and best != muscle else ""


class Mixer:
    """Makes shapes of a subject for any set of measured channels.

    Parameters
    ----------
    recordings : Recordings
        The subject.
    population : Population or None
        Other subjects; None: synergists and the simulation alone.
    fitted : numpy.ndarray of bool, shape (windows,), optional
        The windows that may be learned from; all by default.
    """

    def __init__(
        self, recordings: Recordings, population: Population | None, fitted: NDArray[np.bool_] | None = None
    ) -> None:
        self.recordings = recordings
        self.population = population
        self.fitted = np.ones(len(recordings.windows), dtype=bool) if fitted is None else fitted
        self._like_profiles = None if population is None else recordings.correlations(self._profiles(population))

    def shapes(self, held: Sequence[int], method: str) -> Shapes:
        """Estimate every muscle's curve.

        Parameters
        ----------
        held : sequence of int
            Channels that count as unmeasured.
        method : {'structured', 'population', 'neighbours', 'copy', 'simulation'}
            How: mixtures with trust; other subjects' weights alone; synergists and simulation in fixed shares, as if
            nobody else's EMG told; the nearest synergist's channel; the simulated activation.

        Returns
        -------
        Shapes
            The curves.
        """
        r = self.recordings
        kept = [c for c in range(len(r.channels)) if c not in held]
        offsets = r.offsets(kept, self._like_profiles)
        total = -OFFSETS[offsets]
        ahead = np.clip(total, *PHYSIOLOGICAL)
        emg = self._emg(ahead - total)
        simulated = r.simulated(ahead)
        base = _Sources(self, emg, simulated, r.phases(ahead))
        measured = np.full(len(r.muscles), -1, dtype=np.intp)
        for c in kept:
            measured[r.channel_muscles[c]] = c
        # A muscle without measured synergists is judged by how channels fare without theirs.
        trust = {alone: base.trust(kept, alone) for alone in (False, True)} if method == "structured" else {}
        curves = np.zeros(simulated.shape)
        spread = np.zeros(len(r.muscles))
        for m, channel in enumerate(measured):
            near = r.synergists(m, kept)
            if channel >= 0:
                curves[..., m] = emg[..., channel]
            elif method == "copy":
                curves[..., m] = emg[..., near[0]] if near else base.simulated[..., m]
                spread[m] = _NEIGHBOUR_SPREAD if near else _ALONE_SPREAD
            elif method == "simulation":
                curves[..., m], spread[m] = base.simulated[..., m], _ALONE_SPREAD
            else:
                told = None if method == "neighbours" else base.told(m, kept)
                curves[..., m], spread[m] = base.neighbours(m, kept)
                if told is not None:
                    parts, spread[m] = told
                    if trust:
                        parts = np.concatenate([parts, curves[..., m, None]], -1)
                        parts = parts * trust[not near][r.windows.trial][:, None]
                    curves[..., m] = parts.sum(-1)
        self._share(curves, measured, base)
        highest = curves[self.fitted][:, LEAD:].max((0, 1))
        size = _rms(curves) / np.maximum(highest, 1e-6)
        guessed = [base.guessed(m, kept) and measured[m] < 0 for m in range(len(r.muscles))]
        return Shapes(
            tuple(held),
            offsets,
            ahead,
            emg,
            simulated,
            curves / np.maximum(highest, 1e-6),
            np.asarray(spread * size),
            measured,
            np.array(guessed, dtype=bool),
        )

    def _profiles(self, population: Population) -> Array:
        """Return other subjects' mean profile of each channel; (windows, rows, channels), NaN where there is none."""
        r = self.recordings
        phases = r.phases(np.zeros(len(r.trials)))
        curves = np.full((len(r.windows), phases["r"].shape[1] - LEAD, len(r.channels)), np.nan)
        for c, own in enumerate(r.channel_muscles):
            names = {m: _standard(r, population, phases, m) for m in own}
            told = [population.profile(name, phases[r.sides[m] or "r"])[:, LEAD:] for m, name in names.items() if name]
            if told:
                curves[..., c] = np.mean(told, axis=0)
        return curves

    def _share(self, curves: Array, measured: NDArray[np.intp], base: _Sources) -> None:
        """Give the muscles of one channel one curve."""
        for own in self.recordings.channel_muscles:
            if measured[own[0]] < 0:
                curves[..., own] = curves[..., own].mean(-1, keepdims=True)

    def _emg(self, device: Array) -> Array:
        """Sample EMG at the offset of the recording itself."""
        r = self.recordings
        places = [int(np.abs(OFFSETS + late).argmin()) for late in device]
        table = np.empty(r.lagged.shape[1:])
        for k, place in enumerate(places):
            own = r.windows.trial == k
            table[own] = r.lagged[place, own]
        return table


class _Sources:
    """The curves that mixtures are made of, each of RMS 1 over the windows that may be learned from."""

    def __init__(self, mixer: Mixer, emg: Array, simulated: Array, phases: dict[str, Array]) -> None:
        self.recordings, self.population, self.fitted = mixer.recordings, mixer.population, mixer.fitted
        self.emg = emg / _rms(emg[self.fitted])
        self.simulated = simulated / _rms(simulated[self.fitted])
        self.phases = phases

    def _standard(self, muscle: int) -> str:
        if self.population is None:
            return ""
        return _standard(self.recordings, self.population, self.phases, muscle)

    def guessed(self, muscle: int, channels: Sequence[int]) -> bool:
        """Tell whether nothing but the simulation tells of a muscle."""
        return not self._standard(muscle) and not self.recordings.synergists(muscle, channels)

    def neighbours(self, muscle: int, channels: Sequence[int]) -> tuple[Array, float]:
        """Return a muscle's curve from synergists' channels and simulation in fixed shares, and its expected error."""
        near = self.recordings.synergists(muscle, channels)
        shares, spread = (_NEIGHBOURS, _NEIGHBOUR_SPREAD) if near else (_ALONE, _ALONE_SPREAD)
        curve = shares[1] * self.simulated[..., muscle] + shares[2]
        if near:
            curve = curve + shares[0] * self.emg[..., near].mean(-1)
        return curve, spread

    def told(self, muscle: int, channels: Sequence[int]) -> tuple[Array, float] | None:
        """Return what other subjects' weights make of channels, simulation, profile and constant, and its error.

        None where the population does not tell of the muscle.
        """
        r, population = self.recordings, self.population
        name = self._standard(muscle)
        if not name:
            return None
        assert population is not None
        side = r.sides[muscle]
        usable: dict[str, list[int]] = {}
        for c in channels:
            for m in r.channel_muscles[c]:
                if r.sides[m] == side and r.standard[m] in population.muscles and r.standard[m] != name:
                    usable.setdefault(r.standard[m], []).append(c)
        weights, spread = population.weights(name, [*usable, SIMULATION, PROFILE, CONSTANT])
        channel_part = np.zeros(self.emg.shape[:2])
        for weight, source in zip(weights, usable, strict=False):
            channel_part = channel_part + weight * self.emg[..., usable[source]].mean(-1)
        profile = np.nan_to_num(population.profile(name, self.phases[side or "r"]))
        rest = [weights[-3] * self.simulated[..., muscle], weights[-2] * profile, np.full(profile.shape, weights[-1])]
        parts = np.stack([channel_part, *rest], -1)
        # A muscle that nobody has measured is told of by its like.
        return parts, spread if name == r.standard[muscle] else max(spread, _NEIGHBOUR_SPREAD)

    def trust(self, channels: Sequence[int], alone: bool) -> Array:
        """Find, per trial, how much each part of a mixture counts, from the measured channels themselves.

        Each measured channel is estimated from the others (alone: from those that are no synergists of it); the parts'
        factors are those that fit best, held towards :data:`_PRIOR` or :data:`_PRIOR_ALONE`.
        """
        from scipy.optimize import nnls

        r = self.recordings
        prior = _PRIOR_ALONE if alone else _PRIOR
        count = len(prior)
        found = np.tile(prior, (len(r.trials), 1))
        if len(channels) < 3:
            return found
        square, product = np.zeros((len(r.trials), count, count)), np.zeros((len(r.trials), count))
        for c in channels:
            near = {k for m in r.channel_muscles[c] for k in r.synergists(m, channels)} if alone else set()
            others = [k for k in channels if k != c and k not in near]
            tables = []
            for m in r.channel_muscles[c]:
                told = self.told(m, others)
                if told is not None:
                    tables.append(np.concatenate([told[0], self.neighbours(m, others)[0][..., None]], -1))
            if not tables:
                continue
            parts = np.mean(tables, axis=0)
            for k in range(len(r.trials)):
                own = (r.windows.trial == k) & self.fitted
                if own.any():
                    x = parts[own][:, LEAD:].reshape(-1, count)
                    y = self.emg[own][:, LEAD:, c].ravel()
                    square[k] += x.T @ x / len(y)
                    product[k] += x.T @ y / len(y)
        # Trials with windows of their own are judged by these; the others by all together.
        for k in range(len(r.trials)):
            a, b = square[k], product[k]
            if not a.any():
                a, b = square.sum(0), product.sum(0)
            held = _TRUST * np.diag(np.diag(a) / len(channels) + 1e-3)
            root = np.linalg.cholesky(a + held)
            found[k] = nnls(root.T, np.linalg.solve(root, b + held @ prior))[0]
        return found
