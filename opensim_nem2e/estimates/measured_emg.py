"""Measured EMG of the trial that is refined, to compare activations with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError
from ..log import logger
from ..signals.compare import correlations, cycle_errors
from ..signals.emg import refuse_raw
from ..signals.resample import to_window
from ..storage import TimeSeries
from ..storage.emg_files import read_envelopes
from .consistency import EmgError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..signals.cycles import Cycle

Array = NDArray[np.float64]

#: Samples of a cycle, as the networks have them (NEM2E paper, section 3.2.3).
_SAMPLES = 20


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

    def window(self, muscle: str, cycle: Cycle) -> Array:
        """Cut a muscle's EMG to a cycle.

        Parameters
        ----------
        muscle : str
            A muscle that has a channel.
        cycle : Cycle
            The cycle, on the clock of the activations.

        Returns
        -------
        numpy.ndarray, shape (samples,)
            The envelope, as it was recorded; negative values are 0.

        Raises
        ------
        opensim_nem2e.errors.CycleError
            The recording does not cover the cycle.
        """
        values = np.maximum(self.series.column(self.channels[muscle]), 0.0)
        roll = None if cycle.roll_to is None else cycle.roll_to + self.offset
        start, end = cycle.start + self.offset, cycle.end + self.offset
        return to_window(self.series.time, values, start, end, _SAMPLES, roll)[:, 0]

    def errors(
        self,
        curves: Mapping[str, tuple[Array, Mapping[str, Array]]],
        cycles: Mapping[str, Sequence[Cycle]],
        tolerance: float,
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

        Returns
        -------
        list of EmgError
            One per muscle that has a channel and cycles.
        """
        rows = []
        for muscle, channel in self.channels.items():
            own = cycles.get(muscle, ())
            if not own:
                continue
            emg = np.stack([self.window(muscle, cycle) for cycle in own])
            if not emg.max() > 0.0:
                logger.warning("The EMG channel '%s' is silent: %s is not compared with it.", channel, muscle)
                continue
            emg /= emg.max()
            figures = {}
            for kind in ("opensim", "refined", "consistent"):
                time, activations = curves.get(kind, (None, {}))
                figures[f"E_{kind}"] = figures[f"r_{kind}"] = float("nan")
                if time is not None and muscle in activations:
                    values = activations[muscle]
                    cut = np.stack([c.window(time, values, _SAMPLES, tolerance=tolerance)[:, 0] for c in own])
                    figures[f"E_{kind}"] = float(cycle_errors(cut, emg).mean())
                    figures[f"r_{kind}"] = float(correlations(cut, emg).mean())
            rows.append(EmgError(muscle, channel, len(own), **figures))
        return rows


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
    opensim_nem2e.errors.NEM2EError
        A file cannot be read.
    """
    from ..data.manifest import read_channels

    series = read_envelopes(path)
    known = set(muscles)
    found: dict[str, str] = {}
    if channels_file is None:
        found = {name: name for name in series.labels if name in known}
    else:
        for channel in read_channels(channels_file):
            if channel.column not in series.labels or not channel.standard_name:
                continue
            for muscle in known.intersection(channel.muscles):
                if found.setdefault(muscle, channel.column) != channel.column:
                    raise LabelError(
                        f"A muscle must have one EMG channel, but '{muscle}' has '{found[muscle]}' and "
                        f"'{channel.column}'.",
                        channels_file,
                    )
    if not found:
        where = "have the muscles' names" if channels_file is None else f"be listed in '{channels_file}'"
        raise LabelError(
            f"No EMG channel is for a muscle of this trial. Channels must {where}; found {', '.join(series.labels)}.",
            path,
        )
    labels = list(dict.fromkeys(found.values()))
    refuse_raw(series.time, series.data[:, [series.labels.index(label) for label in labels]], labels, path)
    # In the order of the recording, and of the model's muscles within a channel.
    order = sorted(found, key=lambda muscle: (series.labels.index(found[muscle]), muscle))
    logger.info("Measured EMG: %s, %s.", path.name, ", ".join(f"{name} ({found[name]})" for name in order))
    return MeasuredEMG(series, offset, {muscle: found[muscle] for muscle in order})
