"""Whether EMG, simulation and gait cycles belong together in time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import StorageError
from ...signals.emg import sampling_rate, why_raw
from ...signals.quality import exchanged, period, variance_ratio
from ..manifest import CycleRecord
from .findings import Findings
from .recording_checks import Files, Recording

Array = NDArray[np.float64]

#: Lags that are tried (s).
LAGS = np.arange(-60, 61) * 0.005

#: A lag that all channels share is told from one sample of a network's window on (1 s / 20), if it raises the mean
#: correlation by so much. Recordings with the right offset: at most 0.045 s and 0.047.
LAG, LAG_GAIN = 0.05, 0.05

#: A lag that is larger is no delay of EMG (electromechanical delay and filters make less): it is asked about and not
#: proposed. Nor is one of more than a quarter of the cycle, where the neighbouring burst fits as well.
FARTHEST_LAG = 0.2

#: A channel that fits the activation no better than this at any lag measures another muscle, or the simulation misses
#: what it does. Correct channels: 0.39 and more in healthy walking with several strides.
UNLIKE = 0.3

#: A channel that fits (r, over :data:`REPEATED_STRIDES` or more) at its own lag only (gain in r) is delayed: so far (s)
#: from the lag of all channels. Healthy: up to 0.09 s, with a gain of up to 0.20, but for tibialis anterior in running,
#: which static optimisation activates 0.155 s late. It is surely delayed if in the subject's other recordings of the
#: motion it is elsewhere by :data:`LAG`; healthy: 0.02 s at most.
DELAY, DELAY_GAIN, DELAY_FIT = 0.1, 0.3, 0.5

#: By how much the period of the EMG may differ from that of the gait. Recordings at the right rate: 0.011 at most, but
#: the one stride of a turn is not as long as those around it: 0.055. The second number is for a single stride.
PERIOD, PERIOD_OF_ONE = 0.03, 0.12

#: Strides that the EMG must span, and the autocorrelation it must have, for its period to be known.
PERIOD_STRIDES, PERIOD_CORRELATION = 4.0, 0.4

#: Variance ratio from which on a channel does not repeat itself. Healthy: 0.01 to 0.40; a child with cerebral palsy: up
#: to 0.46; unrelated strides: 1.
NOT_REPEATED, REPEATED_STRIDES = 0.6, 4

#: Correlation with the mean of the others below which one stride, over all channels, is not like them; looked at where
#: the others are alike themselves. Lowest of the healthy strides: 0.78.
ODD_STRIDE, ALIKE = 0.5, 0.8

#: By how much a cycle may differ from the recording's median, as for cycles found in ground reactions.
ODD_DURATION, DURATION_STRIDES = 0.2, 5


@dataclass(frozen=True, eq=False)
class Alignment:
    """How one recording's EMG and activations fit, for findings and figures.

    Parameters
    ----------
    recording : Recording
        Which.
    activation, emg : mapping of str to numpy.ndarray, each (strides, samples)
        By channel; the EMG with its offset.
    sides : mapping of str to numpy.ndarray, each (strides,)
        Whose strides those of ``emg`` are, ``'r'`` or ``'l'``.
    correlation : mapping of str to numpy.ndarray, each (lags,)
        Pearson's r of activation and EMG at each of :data:`LAGS`.
    """

    recording: Recording
    activation: Mapping[str, Array]
    emg: Mapping[str, Array]
    sides: Mapping[str, Array]
    correlation: Mapping[str, Array]

    @property
    def mean_correlation(self) -> Array:
        """The mean over channels, (lags,); empty without channels."""
        return np.mean(list(self.correlation.values()), axis=0) if self.correlation else np.empty(0)


def align(recording: Recording, files: Files) -> Alignment:
    """Sample a recording's strides and correlate EMG with activations.

    Parameters
    ----------
    recording : Recording
        The recording.
    files : Files
        Reads.

    Returns
    -------
    Alignment
        Channels that are not used, are missing, or have no muscle in the simulation are left out.
    """
    activation: dict[str, Array] = {}
    emg: dict[str, Array] = {}
    sides: dict[str, Array] = {}
    correlation: dict[str, Array] = {}
    for channel in recording.channels:
        if not channel.standard_name:
            continue
        simulated, measured, shifted, limbs = [], [], [], []
        for trial in recording.trials:
            own = recording.emg(files, trial, channel)
            if own is None:
                continue
            measured.append(own)
            limbs.append(trial.side)
            muscle = recording.activation(files, trial, channel)
            lagged = recording.emg(files, trial, channel, LAGS)
            if muscle is not None and lagged is not None:
                simulated.append(muscle)
                shifted.append(lagged)
        if measured:
            emg[channel.column] = np.array(measured)
            sides[channel.column] = np.array(limbs)
        if simulated:
            activation[channel.column] = np.array(simulated)
            pieces = np.array(shifted, dtype=float).transpose(1, 0, 2).reshape(LAGS.size, -1)
            r = _correlations(np.concatenate(simulated), pieces)
            if np.isfinite(r).all():
                correlation[channel.column] = r
    return Alignment(recording, activation, emg, sides, correlation)


def _correlations(one: Array, many: Array) -> Array:
    a, b = one - one.mean(), many - many.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((b @ a) / np.sqrt((a @ a) * (b * b).sum(axis=1)))


def check_timing(recordings: Sequence[Recording], files: Files, findings: Findings) -> list[Alignment]:
    """Examine the timing of every recording.

    Parameters
    ----------
    recordings : sequence of Recording
        The recordings.
    files : Files
        Reads.
    findings : Findings
        Takes what is found.

    Returns
    -------
    list of Alignment
        For the figures.
    """
    alignments = []
    for recording in recordings:
        _coverage(recording, files, findings)
        _durations(recording, findings)
        if any(_is_raw(recording, files)):
            continue
        found = align(recording, files)
        alignments.append(found)
        wrong_rate = _rate(recording, files, findings)
        if not wrong_rate:
            _lag(found, findings)
        _repeatability(found, findings)
    _delays(alignments, findings)
    return alignments


def _is_raw(recording: Recording, files: Files) -> list[bool]:
    flags = []
    for series in map(files.series, recording.emg_files):
        if series is not None and series.n_rows > 1:
            try:
                flags.append(bool(why_raw(series.data, sampling_rate(series.time), series.labels)))
            except StorageError:
                flags.append(False)
    return flags


def _lag(found: Alignment, findings: Findings) -> None:
    where, offset = found.recording.name, found.recording.offset
    mean = found.mean_correlation
    if not mean.size:
        return
    best, zero = int(np.argmax(mean)), int(np.argmin(np.abs(LAGS)))
    gain = float(mean[best] - mean[zero])
    if abs(LAGS[best]) >= LAG - 1e-9 and gain >= LAG_GAIN:
        what = (
            f"EMG and activations fit best with a further lag of {LAGS[best]:+.3f} s (mean r {mean[zero]:.2f} -> "
            f"{mean[best]:.2f}; channels {_spread(found)})."
        )
        if _is_far(LAGS[best], found):
            remedy = "so large a lag is no delay of EMG: do EMG and simulation belong to the same trial and clock?"
        else:
            remedy = (
                f"set emg_time_offset_s to {offset + LAGS[best]:+.3f}, if the shift is the same in all trials (--apply "
                "writes it into a new table)."
            )
            findings.offsets.update({trial.line: float(offset + LAGS[best]) for trial in found.recording.trials})
        findings.add("warning", "lag", where, what, remedy)
        # How channels fit can be judged once the lag is right.
        return
    _exchanged(found, findings)
    for column, r in found.correlation.items():
        if r.max() < UNLIKE:
            what = f"the activation does not follow its EMG at any lag (r at most {r.max():.2f})."
            remedy = "check the channel's muscles in emg_channels.csv, the electrode, and the simulation."
            findings.add("note", "unlike", f"{where}: {column}", what, remedy)


def _exchanged(found: Alignment, findings: Findings) -> None:
    """Look for pairs of channels that fit each other's muscle."""
    columns = [column for column in found.correlation if len(found.activation[column]) == len(found.emg[column])]
    for one, other in itertools.combinations(columns, 2):
        if found.emg[one].shape != found.emg[other].shape:
            continue
        curves = (found.emg[one], found.emg[other], found.activation[one], found.activation[other])
        fits = exchanged(*(curve.ravel() for curve in curves))
        if fits is not None:
            what = f"they look exchanged: each fits the other's muscle (mean r {fits[0]:.2f}; its own {fits[1]:.2f})."
            remedy = "compare with how the electrodes were connected, and correct the muscles in emg_channels.csv."
            findings.add("warning", "exchanged", f"{found.recording.name}: {one}, {other}", what, remedy)


def _is_far(lag: float, found: Alignment) -> bool:
    """Tell whether a lag (s) is more than EMG can be delayed by."""
    return abs(lag) > min(FARTHEST_LAG, 0.25 * found.recording.duration)


def _delays(alignments: Sequence[Alignment], findings: Findings) -> None:
    """Look for channels whose lag is not that of the others, in one recording or beside the subject's other ones."""
    lags = [_own_lags(found) for found in alignments]
    for found, own in zip(alignments, lags, strict=True):
        first = found.recording.trials[0]
        for column, (lag, gain) in own.items():
            elsewhere = [
                other[column][0]
                for beside, other in zip(alignments, lags, strict=True)
                if beside is not found and column in other and _same_motion(beside.recording.trials[0], first)
            ]
            usual = float(np.median(elsewhere)) if elsewhere else None
            moved = usual is not None and abs(lag - usual) >= LAG - 1e-9 and abs(lag) > abs(usual)
            if not moved and (abs(lag) < DELAY - 1e-9 or gain < DELAY_GAIN):
                continue
            compared = f"; in the subject's other recordings {usual:+.3f} s" if usual is not None else ""
            what = f"its best lag is {lag:+.3f} s from that of all channels together (r +{gain:.2f}{compared})."
            remedy = "shift this channel if it has a device or a filter of its own; else the simulation mistimes it."
            where, kind = f"{found.recording.name}: {column}", "delay"
            if _is_far(lag, found):
                kind = "unlike"
                what = f"its EMG and activation have their bursts in different parts of the cycle ({lag:+.3f} s apart)."
                remedy = (
                    "that is no delay: check the channel's muscles in emg_channels.csv, the electrode, the simulation."
                )
            findings.add("warning" if moved else "note", kind, where, what, remedy)


def _own_lags(found: Alignment) -> dict[str, tuple[float, float]]:
    """Return how far each channel's lag is from that of all channels (s), and what it gains in r there."""
    mean = found.mean_correlation
    if not mean.size or len(found.recording.trials) < REPEATED_STRIDES:
        return {}
    common, own = int(np.argmax(mean)), {}
    for column, r in found.correlation.items():
        best = int(np.argmax(r))
        if r[best] >= DELAY_FIT and 0 < best < LAGS.size - 1:
            own[column] = (float(LAGS[best] - LAGS[common]), float(r[best] - r[common]))
    return own


def _same_motion(one: CycleRecord, other: CycleRecord) -> bool:
    def key(trial: CycleRecord) -> tuple[str, ...]:
        return (trial.dataset, trial.subject, trial.motion, trial.activation_source)

    return key(one) == key(other)


def _spread(found: Alignment) -> str:
    """Return the best lags of the channels that fit, from quarter to quarter."""
    best = [float(LAGS[int(np.argmax(r))]) for r in found.correlation.values() if r.max() >= UNLIKE]
    if not best:
        return "none fits"
    low, high = np.percentile(best, [25.0, 75.0])
    return f"{low:+.3f} to {high:+.3f} s"


def _rate(recording: Recording, files: Files, findings: Findings) -> bool:
    """Compare the period of the EMG with the cycles'; return whether it is wrong."""
    path = recording.emg_files[0]
    series = files.series(path)
    columns = [c.column for c in recording.channels if c.standard_name and series is not None and series.has(c.column)]
    if series is None or recording.one_cycle or not columns:
        return False
    expected = recording.duration
    if series.time[-1] - series.time[0] < PERIOD_STRIDES * expected:
        return False
    values = np.nan_to_num(series.data[:, [series.labels.index(column) for column in columns]])
    found, correlation = period(series.time, values, 0.25 * expected, 4.0 * expected)
    allowed = PERIOD if len(recording.trials) > 1 else PERIOD_OF_ONE
    if not correlation >= PERIOD_CORRELATION or abs(found / expected - 1.0) <= allowed:
        return False
    what = f"its strides last {found:.3f} s, the gait cycles {expected:.3f} s: a ratio of {found / expected:.3f}."
    remedy = f"its sampling rate was taken wrongly: multiply its times by {expected / found:.4f}."
    findings.add("error", "rate", str(path), what, remedy)
    return True


def _repeatability(found: Alignment, findings: Findings) -> None:
    where = found.recording.name
    for column, every in found.emg.items():
        # A channel's curve over right strides is not the one over left strides.
        ratios = [
            variance_ratio(strides)
            for side in ("r", "l")
            if len(strides := every[found.sides[column] == side]) >= REPEATED_STRIDES
        ]
        if ratios and max(ratios) > NOT_REPEATED:
            what = f"its {len(every)} strides have little in common (variance ratio {max(ratios):.2f})."
            remedy = "look at the figure; leave the channel out if it is noise."
            findings.add("warning", "repeatability", f"{where}: {column}", what, remedy)
    for side in ("r", "l"):
        _odd_strides(found, side, findings)


def _odd_strides(found: Alignment, side: str, findings: Findings) -> None:
    """Tell of strides whose EMG, over all channels together, is unlike that of the others."""
    trials = [trial for trial in found.recording.trials if trial.side == side]
    whole = []
    for column, every in found.emg.items():
        strides = every[found.sides[column] == side]
        if len(every) == len(found.recording.trials) and len(strides) and (scale := strides.max()) > 0.0:
            whole.append(strides / scale)
    if not whole or len(trials) < REPEATED_STRIDES:
        return
    side_by_side = np.concatenate(whole, axis=1)
    likeness = [_likeness(side_by_side, number) for number in range(len(trials))]
    if np.median(likeness) < ALIKE:
        return
    for trial, r in zip(trials, likeness, strict=True):
        if r < ODD_STRIDE:
            what = f"the EMG of this stride is not like that of the others (r {r:.2f})."
            findings.add("warning", "stride", trial.name, what, "check its t_start and t_end, or leave it out.")


def _likeness(strides: Array, number: int) -> float:
    others = np.delete(strides, number, axis=0).mean(axis=0)
    return float(np.corrcoef(strides[number], others)[0, 1])


def _coverage(recording: Recording, files: Files, findings: Findings) -> None:
    """Compare the cycles with the time that the files cover."""
    for trial in recording.trials:
        allowed = 0.5 * (trial.end - trial.start) / 19.0
        activation = files.series(trial.simulated, trial.model_file)
        emg = files.series(trial.measured)
        shift = 0.0 if recording.one_cycle else trial.emg_time_offset
        for kind, series, offset in (("activations", activation, 0.0), ("EMG", emg, shift)):
            if series is None or not series.n_rows:
                continue
            start, end = trial.start + offset, trial.end + offset
            missing = max(series.time[0] - start, 0.0) + max(end - series.time[-1], 0.0)
            covers = f"{series.time[0]:.3f} to {series.time[-1]:.3f} s"
            if series.time[0] - start > allowed or end - series.time[-1] > allowed:
                everything = start > series.time[-1] or end < series.time[0]
                what = (
                    f"the cycle {start:.3f} to {end:.3f} s lies {'outside' if everything else 'partly outside'} the "
                    f"{kind} ({covers}): {min(missing / (end - start), 1.0):.0%} is missing."
                )
                severity = "error" if everything else "warning"
                clock = (
                    ", or emg_time_offset_s if the EMG is on another clock (of a C3D file that was cut out of a "
                    "recording: c3d_start of EMGEnvelopeTool)"
                )
                remedy = f"correct t_start and t_end{clock if kind == 'EMG' else ''}, or leave the row out."
                findings.add(severity, "coverage", trial.name, what, remedy)


def _durations(recording: Recording, findings: Findings) -> None:
    trials = recording.trials
    if len(trials) < DURATION_STRIDES:
        return
    usual = recording.duration
    for trial in trials:
        duration = trial.end - trial.start
        if abs(duration - usual) > ODD_DURATION * usual:
            what = f"the cycle lasts {duration:.3f} s, this recording's usually {usual:.3f} s."
            remedy = "a heel strike is missing or wrong: see the ground reactions."
            findings.add("warning", "cycle", trial.name, what, remedy)
