"""Measured EMG of the trial that is refined: to compare activations with, or to take their shapes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import CycleError, LabelError, StorageError, did_you_mean
from ..log import logger
from ..signals.compare import correlations, cycle_errors
from ..signals.cycles import inside_cycles, windows
from ..signals.emg import channels_with_spikes, refuse_raw
from ..signals.gaps import channel_gaps, gaps_in_words, inside_gaps, overlaps
from ..signals.quality import exchanged, lonely_peak
from ..signals.resample import interpolate
from ..storage import TimeSeries
from ..storage.emg_files import read_envelopes
from ..storage.muscles import MUSCLE_GROUPS
from ..storage.tables import read_rows
from .amplitude import shape_of
from .consistency import EmgError
from .estimate import Estimate, MuscleEstimate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..data.simulation import SimulatedTrial
    from ..signals.cycles import Cycle
    from ..storage.muscles import StandardMuscle

Array = NDArray[np.float64]

#: How much more than a network's the trial's own EMG is to be kept, and the shapes of muscles beside it that were not
#: measured: torques do not reveal them. With 1 and 3 what is written follows measured EMG less, with r lower by .01 to
#: .04, and channels that are left out are met as well (r higher by .01 at the most).
_MEASURED_CERTAINTY, _UNMEASURED_CERTAINTY = 4.0, 12.0

#: Samples of a cycle, as the networks have them (NEM2E paper, section 3.2.3).
_SAMPLES = 20

#: A recording this many times its maximal contraction is in another unit (percent, mV and V).
_ANOTHER_UNIT = 10.0

#: In gait, hardly any muscle stays below this share of its maximal contraction.
_FAINT = 0.01

#: An envelope that rises to this many times what 99.5 % of its rows stay below holds an artefact.
_SPIKE = 5.0

#: Lags that are tried (s). A common one is warned of from where it is no electromechanical delay and no lateness of CMC
#: (75 ms; Hamner and Delp 2013), if it raises the mean correlation by so much. In 19 strides of three subjects with the
#: right offset: at most 0.05 s and 0.08.
_LAG_STEP = 0.01
_LAGS = np.arange(-30, 31) * _LAG_STEP
_LAG, _LAG_GAIN = 0.1, 0.1

#: So many channels whose mean correlation is below this at any lag are not this trial's. In 23 recordings of thirteen
#: people it was 0.34 (CMC) to 0.84 at best, a stride at a time.
_FEWEST_CHANNELS, _UNLIKE = 3, 0.15


@dataclass(frozen=True)
class MeasuredEMG:
    """EMG envelopes of a trial.

    Parameters
    ----------
    series : TimeSeries
        The channels.
    offset : float
        EMG(t + offset) fits activation(t) (s).
    channels : mapping of str to str
        The channel of each muscle that has one.
    """

    series: TimeSeries
    offset: float
    channels: Mapping[str, str]

    def rows(self, channel: str) -> tuple[Array, Array]:
        """Return the rows of a channel that hold a value.

        Parameters
        ----------
        channel : str
            The channel.

        Returns
        -------
        time, values : numpy.ndarray, shape (rows,)
            On the clock of the activations (s), and the envelope as it was recorded.
        """
        values = self.series.data[:, self.series.index(channel)]
        there = ~np.isnan(values)
        return self.series.time[there] - self.offset, values[there]

    def gaps(self, channel: str) -> Array:
        """Find where a channel was not measured.

        Parameters
        ----------
        channel : str
            The channel.

        Returns
        -------
        numpy.ndarray, shape (gaps, 2)
            On the clock of the activations (s); see :func:`.gaps.channel_gaps`.
        """
        return channel_gaps(self.series.time - self.offset, self.series.data[:, self.series.index(channel)])

    def whole(self, muscle: str, cycles: Sequence[Cycle]) -> tuple[Cycle, ...]:
        """Leave out the cycles in which a muscle's channel has a gap.

        Parameters
        ----------
        muscle : str
            The muscle.
        cycles : sequence of Cycle
            The cycles, on the clock of the activations.

        Returns
        -------
        tuple of Cycle
            The others; none if the muscle has no channel.
        """
        if muscle not in self.channels:
            return ()
        holes = self.gaps(self.channels[muscle])
        return tuple(cycle for cycle in cycles if not overlaps(holes, cycle.start, cycle.end))

    def for_ever(self, cycle: Cycle) -> MeasuredEMG:
        """Go on before and behind a file that holds one cycle and nothing more, so that an offset does not leave it.

        Parameters
        ----------
        cycle : Cycle
            The cycle.

        Returns
        -------
        MeasuredEMG
            Three cycles alike; itself without an offset, or if it holds more than the cycle.
        """
        from ..data.gait_cycles import holds_one_cycle

        time, data = self.series.time, self.series.data
        if not self.offset or not holds_one_cycle(time, cycle.start, cycle.end):
            return self
        logger.info(
            "The EMG holds exactly one cycle: what <emg_time_offset> shifts out at one end comes in at the other."
        )
        own = time < time[0] + cycle.duration - 0.5 * np.median(np.diff(time))
        times = [time[own] + turn * cycle.duration for turn in (-1.0, 0.0, 1.0)]
        series = replace(self.series, time=np.concatenate(times), data=np.concatenate([data[own]] * 3))
        return replace(self, series=series)

    def recorded(self, cycles: Sequence[Cycle]) -> tuple[Cycle, ...]:
        """Choose the cycles that the recording covers.

        Parameters
        ----------
        cycles : sequence of Cycle
            Gait cycles, on the clock of the activations.

        Returns
        -------
        tuple of Cycle
            Those that begin and end within it.
        """
        first, last = self.series.time[0] - self.offset, self.series.time[-1] - self.offset
        step = float(np.median(np.diff(self.series.time))) if self.series.n_rows > 1 else 0.0
        return tuple(cycle for cycle in cycles if first - step <= cycle.start and cycle.end <= last + step)

    def _refuse_another_time(self, cycles: Sequence[Cycle]) -> None:
        if cycles and not self.recorded(cycles):
            raise CycleError(
                f"{self.series.path}: the EMG covers {self.series.time[0]:.4f} to {self.series.time[-1]:.4f} s, which "
                f"holds no gait cycle: with <emg_time_offset> {self.offset:g} they lie between "
                f"{min(cycle.start for cycle in cycles) + self.offset:.4f} and "
                f"{max(cycle.end for cycle in cycles) + self.offset:.4f} s of its clock. Is it this trial's?"
            )

    def windows(self, muscle: str, cycles: Sequence[Cycle]) -> Array:
        """Cut a muscle's EMG to cycles.

        Parameters
        ----------
        muscle : str
            A muscle that has a channel.
        cycles : sequence of Cycle
            Cycles without a gap, on the clock of the activations.

        Returns
        -------
        numpy.ndarray, shape (cycles, samples)
            The envelope, as it was recorded; negative values are 0.

        Raises
        ------
        opensim_nem2e.errors.CycleError
            The recording does not cover a cycle.
        """
        time, values = self.rows(self.channels[muscle])
        return windows(cycles, time, np.maximum(values, 0.0), _SAMPLES)[:, :, 0]

    def at(self, channel: str, time: Array) -> Array:
        """Return a channel at times of the activations.

        Parameters
        ----------
        channel : str
            The channel.
        time : numpy.ndarray, shape (times,)
            On the clock of the activations (s).

        Returns
        -------
        numpy.ndarray, shape (times,)
            The envelope, as it was recorded; the nearest row is held outside of the recording. In a gap it is NaN.
        """
        own, values = self.rows(channel)
        found = interpolate(own, values, time) if own.size else np.full(np.shape(time), np.nan)
        found[inside_gaps(self.gaps(channel), time)] = np.nan
        return found

    def errors(
        self,
        curves: Mapping[str, tuple[Array, Mapping[str, Array]]],
        cycles: Mapping[str, Sequence[Cycle]],
        tolerance: float,
        *,
        told: bool = False,
    ) -> list[EmgError]:
        """Compare activations with the EMG.

        Parameters
        ----------
        curves : mapping of {'opensim', 'refined', 'consistent'} to tuple
            Time (s) and the activations of the muscles, (rows,) each. What is left out gives NaN.
        cycles : mapping of str to sequence of Cycle
            Each muscle's gait cycles. Muscles without are left out.
        tolerance : float
            By how much a cycle may leave the activations (s).
        told : bool, optional
            Whether channels that cannot be compared have been warned of.

        Returns
        -------
        list of EmgError
            One per muscle that has a channel and recorded cycles without a gap.

        Raises
        ------
        opensim_nem2e.errors.CycleError
            No cycle was recorded.
        """
        rows = []
        self._refuse_another_time([cycle for muscle in self.channels for cycle in cycles.get(muscle, ())])
        for muscle, channel in self.channels.items():
            own = self.whole(muscle, self.recorded(cycles.get(muscle, ())))
            if not own:
                if cycles.get(muscle) and not told:
                    logger.warning(
                        "The EMG channel '%s' has gaps in all cycles: %s is not compared with it.", channel, muscle
                    )
                continue
            emg = self.windows(muscle, own)
            if fault := _without_shape(emg):
                if not told:
                    logger.warning("The EMG channel '%s' is %s: %s is not compared with it.", channel, fault, muscle)
                continue
            emg /= emg.max()
            figures: dict[str, float] = {}
            for kind in ("opensim", "refined", "consistent"):
                time, activations = curves.get(kind, (None, {}))
                figures |= dict.fromkeys((f"E_{kind}", f"shape_{kind}", f"r_{kind}"), float("nan"))
                if time is not None and muscle in activations:
                    values = activations[muscle]
                    cut = windows(own, time, values, _SAMPLES, tolerance=tolerance)[:, :, 0]
                    figures[f"E_{kind}"] = float(cycle_errors(cut, emg).mean())
                    power = float((cut**2).sum())
                    gain = float((cut * emg).sum()) / power if power > 0.0 else 0.0
                    figures[f"shape_{kind}"] = float(cycle_errors(gain * cut, emg).mean())
                    figures[f"r_{kind}"] = float(correlations(cut, emg).mean())
            rows.append(EmgError(muscle, channel, len(own), **figures))
        return rows


def _without_shape(values: Array) -> str:
    """Say of values that tell no shape what they are."""
    top = float(values.max())
    return "" if top > float(values.min()) else "silent" if top == 0.0 else f"{top:.3g} throughout"


def log_channels(emg: MeasuredEMG) -> None:
    """Say which channel is taken for which muscle.

    Parameters
    ----------
    emg : MeasuredEMG
        The EMG.
    """
    name = emg.series.path.name if emg.series.path else ""
    logger.info("Measured EMG: %s, %s.", name, _with_channels(emg, emg.channels))


def warn_of_misfit(emg: MeasuredEMG, trial: SimulatedTrial, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    """Warn where EMG and simulation seem to be on different clocks, or channels to be exchanged.

    Parameters
    ----------
    emg : MeasuredEMG
        The EMG.
    trial : SimulatedTrial
        The simulation.
    cycles : mapping of str to sequence of Cycle
        The gait cycles of each muscle.
    """
    found, now = [], _LAGS.size // 2
    for muscle, channel in emg.channels.items():
        inside = inside_cycles(trial.time, emg.whole(muscle, cycles.get(muscle, ())))
        time, values = emg.rows(channel)
        if not inside.any() or np.ptp(values) == 0.0 or np.ptp(trial.activations[muscle][inside]) == 0.0:
            continue
        times = trial.time[inside] + _LAGS[:, None]
        shifted = np.interp(times, time, values) - values.mean()
        shifted -= shifted.mean(axis=1, keepdims=True)
        activation = trial.activations[muscle][inside]
        activation = activation - activation.mean()
        size = np.sqrt((activation @ activation) * (shifted**2).sum(axis=1))
        recorded = (times[:, 0] >= time[0] - _LAG_STEP) & (times[:, -1] <= time[-1] + _LAG_STEP) & (size > 0.0)
        if recorded[now]:
            found.append(np.where(recorded, shifted @ activation / np.where(size > 0.0, size, 1.0), -1.0))
    if not found:
        return
    mean = np.mean(found, axis=0)
    best = int(np.argmax(mean))
    if len(found) >= _FEWEST_CHANNELS and mean[best] < _UNLIKE:
        logger.warning(
            "Measured EMG fits OpenSim's activations at no lag of up to %.1f s (mean r of %d muscles %.2f at best): is "
            "it this trial's, on this clock, and are its channels those of these muscles?",
            *(_LAGS[-1], len(found), mean[best]),
        )
        return
    if abs(_LAGS[best]) >= _LAG and mean[best] - mean[now] >= _LAG_GAIN:
        logger.warning(
            "Measured EMG fits OpenSim's activations best %.2f s %s (mean r %.2f instead of %.2f), which is more than "
            "EMG and simulations are apart. If the clocks differ, give <emg_time_offset> %+.2f. If not: is it this "
            "trial's?",
            abs(_LAGS[best]),
            "earlier" if _LAGS[best] < 0.0 else "later",
            mean[best],
            mean[now],
            emg.offset + _LAGS[best],
        )
        return
    _warn_of_exchange(emg, trial, cycles)


def _warn_of_exchange(emg: MeasuredEMG, trial: SimulatedTrial, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    told: set[frozenset[str]] = set()
    for one, other in combinations(emg.channels, 2):
        pair = frozenset((emg.channels[one], emg.channels[other]))
        inside = inside_cycles(trial.time, emg.whole(one, cycles.get(one, ())))
        if len(pair) < 2 or pair in told or not inside.any():
            continue
        if not np.array_equal(inside, inside_cycles(trial.time, emg.whole(other, cycles.get(other, ())))):
            continue
        curves = [
            *(np.interp(trial.time[inside], *emg.rows(emg.channels[muscle])) for muscle in (one, other)),
            *(trial.activations[muscle][inside] for muscle in (one, other)),
        ]
        if min(map(np.ptp, curves)) > 0.0 and (fits := exchanged(*curves)) is not None:
            told.add(pair)
            logger.warning(
                "The EMG channels '%s' and '%s' look exchanged: each fits OpenSim's activation of the other's muscle "
                "(mean r %.2f; its own %.2f).",
                *(emg.channels[one], emg.channels[other], *fits),
            )


def _with_channels(emg: MeasuredEMG, muscles: Iterable[str]) -> str:
    channels = ((muscle, emg.channels[muscle]) for muscle in muscles)
    return ", ".join(muscle if muscle == channel else f"{muscle} ({channel})" for muscle, channel in channels)


def read_measured_emg(path: Path, channels_file: Path | None, offset: float, muscles: Iterable[str]) -> MeasuredEMG:
    """Read the EMG of a trial and find each muscle's channel.

    Parameters
    ----------
    path : pathlib.Path
        Envelopes, as :func:`opensim_nem2e.storage.emg_files.read_envelopes` reads them.
    channels_file : pathlib.Path or None
        The table of EMG channels (``emg_channels.csv``); rows whose channel is not in the recording are of no
        interest. None: the channels have the muscles' names.
    offset : float
        EMG(t + offset) fits activation(t) (s).
    muscles : iterable of str
        The trial's muscles.

    Returns
    -------
    MeasuredEMG
        The EMG.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        No muscle has a channel, or one has two.
    opensim_nem2e.errors.StorageError
        A value is infinite, or the recording is no envelopes.
    opensim_nem2e.errors.NEM2EError
        A file cannot be read.
    """
    from ..data.manifest import channel_of_each, channels_called_after, read_trial_channels

    series = read_envelopes(path)
    known = set(muscles)
    found: dict[str, str] = {}
    if channels_file is None:
        found = channels_called_after(known, series.labels)
    else:
        rows = [row for row in read_trial_channels(channels_file, series.labels) if row.standard_name]
        found = channel_of_each(((row.column, known.intersection(row.muscles)) for row in rows), channels_file)
    if not found:
        where = f"be listed in '{channels_file}'"
        if channels_file is None:
            where = "have the muscles' names, or be given to muscles by <emg_channels_file>"
        raise LabelError(
            f"No EMG channel is for a muscle of this trial. Channels must {where}; found "
            f"{', '.join(series.labels)}.{did_you_mean(series.labels[0], known) if series.labels else ''}",
            path,
        )
    labels = list(dict.fromkeys(found.values()))
    values = series.data[:, [series.index(label) for label in labels]]
    refuse_raw(series.time, values, labels, path)
    # In the order of the recording, and of the model's muscles within a channel.
    order = sorted(found, key=lambda muscle: (series.labels.index(found[muscle]), muscle))
    emg = MeasuredEMG(series, offset, {muscle: found[muscle] for muscle in order})
    _warn_of_gaps(emg, labels, path)
    _warn_of_artefacts(emg, labels, path)
    return emg


def _warn_of_gaps(emg: MeasuredEMG, labels: Sequence[str], path: Path) -> None:
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(gaps_in_words(emg.gaps(label) + emg.offset), []).append(f"'{label}'")
    for words, names in alike.items():
        if words:
            verb = "has" if len(names) == 1 else "have"
            logger.warning(
                "%s: %s %s gaps: %s. What lies in them is left out.", path.name, ", ".join(names), verb, words
            )


def _warn_of_artefacts(emg: MeasuredEMG, labels: Sequence[str], path: Path) -> None:
    for label in labels:
        time, own = emg.rows(label)
        if own.size:
            spike = channels_with_spikes(time, own[:, np.newaxis], [label], _SPIKE).get(label)
            found, than = (spike, "in 99.5 % of its rows") if spike else (lonely_peak(time, own), "anywhere else")
            if found:
                logger.warning(
                    "%s: at %.3f s '%s' is %.0f times as large as %s: an artefact? The channel is divided by its "
                    "maximum.",
                    *(path.name, found[1] + emg.offset, label, found[0], than),
                )


def read_maxima(path: Path, emg: MeasuredEMG) -> dict[str, float]:
    """Read the largest voluntary contractions of the channels.

    Parameters
    ----------
    path : pathlib.Path
        Table with the columns label (the channel) and maximum (its envelope in a maximal voluntary contraction, in the
        unit of the recording).
    emg : MeasuredEMG
        The recording.

    Returns
    -------
    dict of str to float
        By channel; channels that are not in the recording are left out.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        A maximum is no positive number, a channel is listed twice, or none is in the recording.
    opensim_nem2e.errors.NEM2EError
        The file cannot be read.
    """
    found: dict[str, float] = {}
    for row in read_rows(path, ("label", "maximum"), kind="table of EMG maxima"):
        label, value = row.cells["label"], row.number("maximum")
        if value is None or not value > 0.0:
            raise LabelError(
                f"The maximum of '{label}' must be a number above 0; found '{row.cells['maximum']}'.", path
            )
        if label in found:
            raise LabelError(f"The channel '{label}' is listed twice.", path)
        found[label] = value
    used = set(emg.channels.values())
    if not used & set(found):
        raise LabelError(
            f"No channel of the recording is listed. It has {', '.join(sorted(used))}; found {', '.join(found)}.", path
        )
    return {label: value for label, value in found.items() if label in used}


def with_measured_emg(
    estimate: Estimate,
    emg: MeasuredEMG,
    trial: SimulatedTrial,
    names: Mapping[str, StandardMuscle | None],
    cycles: Mapping[str, Sequence[Cycle]],
    maxima: Mapping[str, float] | None = None,
) -> Estimate:
    """Take the shapes of muscles from the trial's own EMG where it was measured.

    A muscle that was not measured, but has a neighbour of its functional group and limb that was, gets half its own
    shape (the estimate's, or else the simulation's) and half that of its neighbours.

    Parameters
    ----------
    estimate : Estimate
        EMG relative to its maximum, as a method put it out.
    emg : MeasuredEMG
        The measured EMG.
    trial : SimulatedTrial
        The simulation.
    names : mapping of str to StandardMuscle or None
        What the trial's muscles are.
    cycles : mapping of {'r', 'l'} to sequence of Cycle
        The gait cycles of each limb.
    maxima : mapping of str to float, optional
        Largest voluntary contractions of channels, in the recording's unit: they tell the gain.

    Returns
    -------
    Estimate
        With the measured shapes, relative to their maximum in the cycles.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        No channel covers a gait cycle of its muscle's limb.
    opensim_nem2e.errors.StorageError
        A channel is far above its maximal contraction.
    """
    measured: dict[str, MuscleEstimate] = {}
    unused: dict[str, str] = {}
    emg._refuse_another_time([cycle for own in cycles.values() for cycle in own])
    for muscle, channel in emg.channels.items():
        standard = names.get(muscle)
        item = None if standard is None else _measured(muscle, standard, emg, trial, cycles.get(standard.side, ()))
        if isinstance(item, str) or item is None:
            unused[muscle] = item or "it is not known what muscle this is"
            logger.warning("The EMG channel '%s' is not used for %s: %s.", channel, muscle, unused[muscle])
            continue
        if maxima is not None and channel in maxima:
            top = float(np.maximum(emg.at(channel, trial.time), 0.0)[item.covered].max())
            if top > _ANOTHER_UNIT * maxima[channel]:
                raise StorageError(
                    f"The recording and its maximal contractions must be in the same unit, but '{channel}' reaches "
                    f"{top:.3g} and its maximum is {maxima[channel]:.3g}. Is one of them in percent?",
                    emg.series.path,
                )
            if top > maxima[channel]:
                logger.warning(
                    "'%s' is %.2f times its maximal contraction: 1 is taken.", channel, top / maxima[channel]
                )
            if top < _FAINT * maxima[channel]:
                logger.warning(
                    "'%s' reaches only %.2g of its maximal contraction: are both in the same unit?",
                    *(channel, top / maxima[channel]),
                )
            item = replace(item, gain=min(top / maxima[channel], 1.0))
        measured[muscle] = item
    if not measured:
        raise LabelError(
            "No EMG channel covers a gait cycle of its muscle's limb with a signal, so none can be used for the "
            f"refinement: {'; '.join(f'{muscle}: {why}' for muscle, why in unused.items())}.",
            emg.series.path,
        )
    beside = {
        muscle: item
        for muscle, standard in names.items()
        if standard is not None
        and muscle not in measured
        and (item := _from_neighbours(muscle, standard, measured, estimate, trial)) is not None
    }
    partly = f"; half from that of neighbours: {', '.join(beside)}" if beside else ""
    logger.info("Shapes from measured EMG: %s%s.", _with_channels(emg, measured), partly)
    return replace(estimate, muscles={**estimate.muscles, **measured, **beside})


def _measured(
    muscle: str, standard: StandardMuscle, emg: MeasuredEMG, trial: SimulatedTrial, cycles: Sequence[Cycle]
) -> MuscleEstimate | str:
    """Return a muscle's measured EMG in the cycles that it covers, or why there is none."""
    recorded = emg.recorded(cycles)
    own = emg.whole(muscle, recorded)
    covered = inside_cycles(trial.time, own)
    if not covered.any():
        return "it has gaps in all its gait cycles" if recorded else "it covers no gait cycle"
    values = np.maximum(emg.at(emg.channels[muscle], trial.time), 0.0)
    if fault := _without_shape(values[covered]):
        return f"it is {fault} in its gait cycles"
    values = np.where(covered, values / values[covered].max(), trial.activations[muscle])
    return MuscleEstimate(
        *(muscle, values, covered, standard.name, standard.side, own),
        shape_source="EMG",
        certainty=_MEASURED_CERTAINTY,
    )


def _from_neighbours(
    muscle: str,
    standard: StandardMuscle,
    measured: Mapping[str, MuscleEstimate],
    estimate: Estimate,
    trial: SimulatedTrial,
) -> MuscleEstimate | None:
    """Return the shape of a muscle that was not measured, but whose neighbours were."""
    group = next((members for members in MUSCLE_GROUPS.values() if standard.name in members), ())
    near = [item for item in measured.values() if item.side == standard.side and item.standard_name in group]
    if not near:
        return None
    covered = near[0].covered
    own = estimate.muscles.get(muscle)
    base = MuscleEstimate(muscle, trial.activations[muscle], covered) if own is None else own
    shape = 0.5 * (shape_of(base)[0] + np.mean([shape_of(item)[0] for item in near], axis=0))
    return MuscleEstimate(
        muscle,
        np.where(covered, shape, trial.activations[muscle]),
        covered,
        standard.name,
        standard.side,
        near[0].cycles,
        shape_source="prior" if own is None else "network",
        remark=f"half the measured EMG of {', '.join(item.muscle for item in near)}",
        certainty=_UNMEASURED_CERTAINTY,
    )
