"""What an unmeasured muscle's EMG may look like before mechanics are asked: copies, mixtures, synergies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .population import PROFILE, SIMULATION, Population
from .recordings import LEAD, OFFSETS, PHYSIOLOGICAL, SYNERGY, Recordings

Array = NDArray[np.float64]

#: Shares of synergists' channels and simulation where no other subject's EMG tells (METHODS: weights 0.35 of EMG whose
#: maximum is 1, 0.3 of the simulation), and what such a mixture leaves unexplained of EMG of RMS 1.
_NEIGHBOURS, _NEIGHBOUR_SPREAD, _ALONE_SPREAD = 0.55, 0.45, 0.65

#: What the trust in channels, simulation and profile, which is 1 for other subjects, weighs against the measured
#: channels of a trial, in channels. Chosen by leaving out subjects of the sets that no table reports.
_TRUST = 1.0


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

    def shapes(self, held: Sequence[int], method: str) -> Shapes:
        """Estimate every muscle's curve.

        Parameters
        ----------
        held : sequence of int
            Channels that count as unmeasured.
        method : {'structured', 'population', 'copy', 'simulation'}
            How: mixtures with trust, without, the nearest synergist's channel, the simulated activation.

        Returns
        -------
        Shapes
            The curves.
        """
        r = self.recordings
        kept = [c for c in range(len(r.channels)) if c not in held]
        offsets = r.offsets(kept)
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
            if channel >= 0:
                curves[..., m] = emg[..., channel]
                continue
            if method == "copy":
                near = r.synergists(m, kept)
                curves[..., m] = emg[..., near[0]] if near else base.simulated[..., m]
                spread[m] = _NEIGHBOUR_SPREAD if near else _ALONE_SPREAD
            elif method == "simulation":
                curves[..., m], spread[m] = base.simulated[..., m], _ALONE_SPREAD
            else:
                parts, spread[m] = base.parts(m, kept)
                if trust:
                    parts = parts * trust[not r.synergists(m, kept)][r.windows.trial][:, None]
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
        """Name the muscle of the population that tells of a muscle: itself, or the nearest that pulls alike."""
        r, population = self.recordings, self.population
        if population is None or not np.isfinite(self.phases[r.sides[muscle] or "r"]).any():
            return ""
        if r.standard[muscle] in population.muscles:
            return r.standard[muscle]
        near = [m for m, name in enumerate(r.standard) if name in population.muscles and r.sides[m] == r.sides[muscle]]
        best = max(near, key=lambda m: r.similarity[m, muscle], default=muscle)
        return r.standard[best] if r.similarity[best, muscle] >= SYNERGY and best != muscle else ""

    def guessed(self, muscle: int, channels: Sequence[int]) -> bool:
        """Tell whether nothing but the simulation tells of a muscle."""
        return not self._standard(muscle) and not self.recordings.synergists(muscle, channels)

    def parts(self, muscle: int, channels: Sequence[int]) -> tuple[Array, float]:
        """Return a muscle's curve in three parts, from channels, simulation and profile, and its expected error."""
        r, population = self.recordings, self.population
        near = r.synergists(muscle, channels)
        name = self._standard(muscle)
        zero = np.zeros(self.emg.shape[:2])
        if near:
            copied = self.emg[..., near].mean(-1)
            parts = [_NEIGHBOURS * copied, (1.0 - _NEIGHBOURS) * self.simulated[..., muscle], zero]
            neighbours, spread = np.stack(parts, -1), _NEIGHBOUR_SPREAD
        else:
            neighbours, spread = np.stack([zero, self.simulated[..., muscle], zero], -1), _ALONE_SPREAD
        if not name:
            return neighbours, spread
        assert population is not None
        side = r.sides[muscle]
        usable: dict[str, list[int]] = {}
        for c in channels:
            for m in r.channel_muscles[c]:
                if r.sides[m] == side and r.standard[m] in population.muscles and r.standard[m] != name:
                    usable.setdefault(r.standard[m], []).append(c)
        sources = [*usable, SIMULATION, PROFILE]
        weights, spread = population.weights(name, sources)
        channel_part = zero
        for weight, source in zip(weights, usable, strict=False):
            channel_part = channel_part + weight * self.emg[..., usable[source]].mean(-1)
        profile = np.nan_to_num(population.profile(name, self.phases[side or "r"]))
        parts = [channel_part, weights[-2] * self.simulated[..., muscle], weights[-1] * profile]
        mixture = np.stack(parts, -1)
        if name != r.standard[muscle]:
            # A muscle that nobody has measured: what tells of its like, and its own neighbours if it has any.
            return (0.5 * (mixture + neighbours) if near else mixture), max(spread, _NEIGHBOUR_SPREAD)
        return mixture, spread

    def trust(self, channels: Sequence[int], alone: bool) -> Array:
        """Find, per trial, how much channels, simulation and profile count, from the measured channels themselves.

        Each measured channel is estimated from the others (alone: from those that are no synergists of it); the three
        parts' factors are those that fit best, held towards 1.
        """
        from scipy.optimize import nnls

        r = self.recordings
        found = np.ones((len(r.trials), 3))
        if len(channels) < 3:
            return found
        square = np.zeros((len(r.trials), 3, 3))
        product = np.zeros((len(r.trials), 3))
        for c in channels:
            near = {k for m in r.channel_muscles[c] for k in r.synergists(m, channels)} if alone else set()
            others = [k for k in channels if k != c and k not in near]
            parts = np.mean([self.parts(m, others)[0] for m in r.channel_muscles[c]], axis=0)
            for k in range(len(r.trials)):
                own = (r.windows.trial == k) & self.fitted
                if own.any():
                    x = parts[own][:, LEAD:].reshape(-1, 3)
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
            found[k] = nnls(root.T, np.linalg.solve(root, b + held @ np.ones(3)))[0]
        return found
