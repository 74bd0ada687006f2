"""EMGEnvelopeTool: from recordings of EMG to the envelopes that the other tools take.

Reads the recordings of one subject, filters and rectifies them (:mod:`opensim_nem2e.signals.emg` says which settings
are usual, and where that is written), brings them to a common rate, and divides each channel by a reference.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import MissingFileError, SetupError, StorageError
from ..log import counted, logger
from ..options import DirectoryPath, FilePath, Options, option
from .accessors import EMGEnvelopeToolAccessors
from .tool import Tool, ToolRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..signals.emg import EnvelopeFilter
    from ..storage import TimeSeries

    Array = NDArray[np.float64]

#: The filters act between 0 and half the sampling rate; above this no EMG of any rate has power (Hz).
_CORNERS = "[0.01, 2000]"

#: A channel this many times weaker than the strongest holds noise: in two walks with electrodes on one leg only, the
#: other leg's channels are at .002 to .007, the working ones at .11 and more.
_FAINT = 0.01

#: A recording that is smaller than this share of another, at these percentiles of the envelope, is in another unit:
#: where nothing moves, the first is as large as ever.
_ANOTHER_UNIT, _LEVELS = 0.01, (10.0, 100.0)


@dataclass(frozen=True)
class _Recording:
    """One file on its way: as recorded, and as an envelope before normalisation."""

    source: TimeSeries
    raw: bool
    time: Array
    envelope: Array


def _without_empty(source: TimeSeries, file: Path) -> TimeSeries:
    """Leave out channels without a single number, such as those of sensors that were not connected."""
    import numpy as np

    there = np.isfinite(source.data).any(axis=0)
    if there.all():
        return source
    if not there.any():
        raise StorageError("None of its channels holds a number.", file)
    empty = ", ".join(label for label, kept in zip(source.labels, there, strict=True) if not kept)
    logger.warning("%s: left out, as there is no number in them: %s.", file, empty[:1000])
    labels = tuple(label for label, kept in zip(source.labels, there, strict=True) if kept)
    return replace(source, labels=labels, data=source.data[:, there])


@dataclass(frozen=True)
class EnvelopeOptions(Options):
    """How recordings become envelopes."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    emg_files: tuple[FilePath, ...] = option(
        (),
        "Recordings of one subject (.sto, .mot, .c3d, and tables: .csv, .txt, .tsv, .emt, .xlsx), separated by "
        "spaces; a name that holds spaces stands in quotation marks, and names may hold '*' and '?' (which also stands "
        "for a space in a name). Channels of force plates and other sensors are left out; those of C3D files are read "
        "in mV.",
        required=True,
    )
    channels_file: FilePath = option(
        "",
        "Table (.csv) with the columns channel (its name in the recordings) and label (its name in the results, "
        "such as soleus_r). Empty: all channels, under their own names.",
    )
    sampling_rate: float | None = option(
        None,
        "Sampling rate of tables that have no time column, or whose times were rounded when written. Empty: what "
        "the table says.",
        bounds="[1, 1000000]",
        unit="Hz",
    )
    c3d_start: Literal["zero", "first_frame"] = option(
        "zero",
        "Time of the first sample of a C3D file that was cut out of a longer recording. zero: 0, as OpenSim "
        "converts such files. first_frame: the number of its first frame over the frame rate.",
    )
    input_type: Literal["auto", "raw", "envelope"] = option(
        "auto",
        "What the recordings hold. raw: EMG to be filtered. envelope: already processed, so it is only resampled "
        "and normalised. auto: raw if half of a file's channels have a fifth of their variance or more above 20 "
        "Hz.",
    )
    high_pass_frequency: float | None = option(
        20.0,
        "Lower corner before rectification, against movement artefacts (De Luca et al. 2010: 20; Lloyd and Besier "
        "2003: 30). Empty: no filter.",
        bounds=_CORNERS,
        unit="Hz",
    )
    band_end_frequency: float | None = option(
        None,
        "Upper corner before rectification, which makes a band-pass filter (Merletti 1999: 400 to 500). Empty: none.",
        bounds=_CORNERS,
        unit="Hz",
    )
    notch_frequencies: tuple[float, ...] = option(
        (),
        "Mains hum to be removed, such as 50 or '50 150'. It takes EMG with it (Clancy et al. 2002). Empty: none.",
        bounds=_CORNERS,
        unit="Hz",
    )
    notch_width: float = option(2.0, "Width of a notch.", bounds="[0.01, 20]", unit="Hz")
    rectification: Literal["full_wave", "rms"] = option(
        "full_wave",
        "How the signal is rectified. full_wave: absolute value. rms: square, and the root after the low-pass filter.",
    )
    low_pass_frequency: float | None = option(
        6.0,
        "Corner after rectification (Lloyd and Besier 2003: 6; 4 to 15 are in use: the higher, the less of a "
        "burst's edge is lost). Empty: no filter.",
        bounds=_CORNERS,
        unit="Hz",
    )
    filter_order: int = option(
        4,
        "Order of each zero-phase Butterworth filter, forward and backward run together; even. Its corner is where "
        "both together lose 3 dB (Robertson and Dowling 2003).",
        bounds="[2, 12]",
    )
    output_rate: float | None = option(
        200.0, "Sampling rate of the results. Empty: that of each recording.", bounds="[1, 100000]", unit="Hz"
    )
    normalization: Literal["max", "mvc", "percentile", "none"] = option(
        "max",
        "What each channel is divided by. max: its largest envelope in all emg_files. mvc: its largest envelope in "
        "mvc_files (maximal voluntary contractions). percentile: normalization_percentile of its envelope in all "
        "emg_files, which one artefact cannot set. none: nothing.",
    )
    normalization_percentile: float = option(99.0, "For normalization percentile.", bounds="(50, 100]")
    mvc_files: tuple[FilePath, ...] = option(
        (), "Recordings of maximal voluntary contractions, for normalization mvc; processed as emg_files are."
    )
    output_precision: int = option(8, "Decimals of the results.", bounds="[1, 20]")
    write_figures: bool = option(True, "Draw each recording with its envelopes and spectra?")
    figure_format: Literal["png", "svg"] = option("png", "Format of the figures.")


class EMGEnvelopeTool(EMGEnvelopeToolAccessors, Tool[EnvelopeOptions]):
    """Turn recordings of EMG into normalised envelopes.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = EMGEnvelopeTool()
    >>> tool.setName("subject01")
    >>> tool.emg_files = ["recordings/walk*.c3d"]
    >>> tool.channels_file = "channels.csv"
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "EMGEnvelopeTool"
    main_inputs = ("emg_files",)
    results_name = "emg"

    def _check(self) -> list[str]:
        faults = []
        if self.filter_order % 2:
            faults.append(
                f"<filter_order> must be even (a filter runs forward and backward); found {self.filter_order}."
            )
        if self.band_end_frequency is not None and self.band_end_frequency <= (self.high_pass_frequency or 0.0):
            faults.append(
                "<band_end_frequency> must be above <high_pass_frequency>; found "
                f"{self.band_end_frequency:g} and {self.high_pass_frequency or 0.0:g}."
            )
        if (self.normalization == "mvc") != bool(self.mvc_files):
            faults.append(
                "<mvc_files> goes with <normalization> mvc; found "
                f"'{' '.join(self.mvc_files)}' and '{self.normalization}'."
            )
        low_pass, rate = self.low_pass_frequency, self.output_rate
        if low_pass is not None and rate is not None and self.input_type != "envelope" and rate < 4.0 * low_pass:
            faults.append(
                f"<output_rate> must be at least four times <low_pass_frequency>, or peaks are cut; found {rate:g} and "
                f"{low_pass:g}."
            )
        return faults

    def _extras(self) -> list[str]:
        return ["report"] if self.write_figures and self.is_set("write_figures") else []

    def _run(self, run: ToolRun) -> None:
        names = self._channel_names()
        recordings = self._process(self._files("emg_files"), names)
        self._warn_of_faint(recordings)
        self._warn_of_lonely_peaks(recordings)
        mvc = self._process(self._files("mvc_files"), names)
        self._warn_of_units([*recordings, *mvc])
        divisors = self._divisors(recordings, mvc)
        self._write(recordings, divisors, run)

    def _files(self, name: str) -> list[Path]:
        """Return the files of a list, patterns expanded, each once."""
        files: dict[Path, None] = {}
        for pattern in self.get(name):
            literal = self.base_directory / pattern
            # A file that is there is meant, whatever signs its name holds.
            wanted = str(Path(glob.escape(str(self.base_directory))) / pattern)
            found = [str(literal)] if literal.is_file() else sorted(glob.glob(wanted))  # noqa: PTH207
            if not found:
                raise MissingFileError(f"<{name}>: no file fits '{pattern}' in '{self.base_directory}'.")
            files.update(dict.fromkeys(map(Path, found)))
        stems: dict[str, Path] = {}
        for file in files if name == "emg_files" else ():
            other = stems.setdefault(file.stem, file)
            if other != file:
                raise SetupError(f"<{name}>: results are named after the recordings, but two are called '{file.stem}'.")
        return list(files)

    def _channel_names(self) -> dict[str, str] | None:
        from ..storage.tables import Fault, examine_rows, refuse

        path = self.resolve("channels_file")
        if path is None:
            return None
        names: dict[str, str] = {}
        faults = []
        rows, found = examine_rows(path, ("channel", "label"), kind="table of channels")
        for row in rows:
            channel, label = row.cells["channel"], row.cells["label"]
            if not channel or not label or channel in names or label in names.values():
                text = "a row must be a channel and its label, each different from all others"
                faults.append(Fault(row.line, f"{text}; found '{channel},{label}'."))
            else:
                names[channel] = label
        refuse(sorted([*found, *faults], key=lambda fault: fault.line or 0), path)
        if not names:
            raise StorageError("There are no rows below its header.", path)
        return names

    def _process(self, files: Iterable[Path], names: Mapping[str, str] | None) -> list[_Recording]:
        from ..signals.emg import envelope, is_raw, refuse_impossible, resample, sampling_rate, why_raw
        from ..storage.emg_files import TABLE_SUFFIXES, read_emg

        settings = self._filter()
        found = []
        for file in files:
            table_rate = self.sampling_rate if file.suffix.lower() in TABLE_SUFFIXES else None
            source = read_emg(file, sampling_rate=table_rate, c3d_start=self.c3d_start, channels=names)
            if names is not None:
                source = replace(source, labels=tuple(names[label] for label in source.labels))
            source = _without_empty(source, file)
            try:
                rate = sampling_rate(source.time)
                values = source.select(source.labels)
                refuse_impossible(values, source.labels, file)
                raw = self.input_type == "raw" or (self.input_type == "auto" and is_raw(values, rate, source.labels))
                result = envelope(values, rate, settings) if raw else values
                reason = why_raw(values, rate, source.labels) if self.input_type == "envelope" else ""
                if reason:
                    logger.warning("%s: taken for envelopes, as <input_type> says, but %s.", file, reason)
            except StorageError as error:
                raise StorageError(str(error), file) if str(file) not in str(error) else error from None
            logger.info(
                "%s: %s, %.6g Hz, %.3f to %.3f s; %s.",
                file,
                counted(len(source.labels), "channel"),
                rate,
                source.time[0],
                source.time[-1],
                f"{'taken for ' if self.input_type == 'auto' else ''}{'raw EMG' if raw else 'envelopes'}",
            )
            if raw:
                self._warn_of_hum(values, rate, source)
                self._warn_of_spikes(values, source)
                self._warn_of_losses(values, source)
            self._warn_of_copies(result, source)
            time = source.time
            if self.output_rate is not None:
                time, result = resample(time, result, self.output_rate)
            found.append(_Recording(source, raw, time, result))
        return found

    def _warn_of_hum(self, values: Array, rate: float, source: TimeSeries) -> None:
        from ..signals.emg import channels_with_hum

        for mains, shares in channels_with_hum(values, rate, source.labels, self.notch_frequencies).items():
            logger.warning(
                "%s: mains hum of %g Hz, as a share of the signal above 20 Hz: %s. Set <notch_frequencies> to %g, "
                "and leave out channels that hold nothing else.",
                *(source.path, mains, ", ".join(f"{label} ({share:.0%})" for label, share in shares.items()), mains),
            )

    def _warn_of_spikes(self, values: Array, source: TimeSeries) -> None:
        from ..signals.emg import channels_with_spikes

        for label, (times, moment) in channels_with_spikes(source.time, values, source.labels).items():
            logger.warning(
                "%s: '%s' is at %.3f s %.0f times as large as in 99.5 %% of its samples: an artefact? It sets the "
                "largest envelope, by which the channel is divided. Cut it out, or leave the channel out.",
                *(source.path, label, moment, times),
            )

    def _warn_of_losses(self, values: Array, source: TimeSeries) -> None:
        """Warn of channels that stand still or are cut off."""
        from ..signals.quality import cut_off, held

        still, cut = [], []
        for label, own in zip(source.labels, values.T, strict=True):
            if not own.any():
                continue  # told as never above zero
            span = held(source.time, own)
            if span is not None:
                still.append(f"{label} ({span[0]:.3f} to {span[1]:.3f} s)")
            elif (share := cut_off(own)) > 0.0:
                cut.append(f"{label} ({share:.1%} of its rows)")
        if still:
            logger.warning(
                "%s: one and the same value for half a second or more: %s. A lost connection, a recording that was "
                "filled up, or a converter too coarse for this gain? What lies there is no EMG.",
                *(source.path, ", ".join(still)),
            )
        if cut:
            logger.warning(
                "%s: cut off at the highest and the lowest value that the amplifier or converter can give: %s. Bursts "
                "are too low there; record with less gain.",
                *(source.path, ", ".join(cut)),
            )

    def _warn_of_copies(self, envelopes: Array, source: TimeSeries) -> None:
        from ..signals.quality import copies

        for first, second in copies(envelopes):
            logger.warning(
                "%s: '%s' is a copy of '%s' (times a number): find out which one is wrong, and leave it out.",
                *(source.path, source.labels[second], source.labels[first]),
            )

    def _warn_of_lonely_peaks(self, recordings: Sequence[_Recording]) -> None:
        """Warn where one moment of all recordings sets what a channel is divided by."""
        from ..signals.quality import LONELY, lonely_peak

        if self.normalization != "max":
            return
        for label in dict.fromkeys(label for item in recordings for label in item.source.labels):
            having = [item for item in recordings if item.source.has(label)]
            peaks = [float(item.envelope[:, item.source.index(label)].max()) for item in having]
            most = peaks.index(max(peaks))
            item = having[most]
            found = lonely_peak(item.time, item.envelope[:, item.source.index(label)])
            elsewhere = max((peak for k, peak in enumerate(peaks) if k != most), default=0.0)
            if found and (times := min(found[0], peaks[most] / max(elsewhere, 1e-300))) >= LONELY:
                logger.warning(
                    "%s: the envelope of '%s' is at %.3f s %.1f times as high as anywhere else: an artefact? The "
                    "channel is divided by it. Cut it out, or set <normalization> to percentile.",
                    *(item.source.path, label, found[1], times),
                )

    def _warn_of_faint(self, recordings: Sequence[_Recording]) -> None:
        """Warn of channels that hold noise only, which looks like EMG once it is divided by its maximum."""
        highest: dict[str, float] = {}
        for item in recordings:
            if item.raw:
                for label, peak in zip(item.source.labels, item.envelope.max(axis=0).tolist(), strict=True):
                    highest[label] = max(peak, highest.get(label, 0.0))
        most = max(highest.values(), default=0.0)
        faint = [label for label, peak in highest.items() if 0.0 < peak < _FAINT * most]
        if faint:
            logger.warning(
                "%s: weaker than %.0f %% of the strongest channel, like the noise of an electrode that was off. "
                "Divided by its maximum, noise looks like EMG: list only channels that hold some in <channels_file>.",
                ", ".join(faint),
                100.0 * _FAINT,
            )

    def _warn_of_units(self, recordings: Sequence[_Recording]) -> None:
        """Warn of recordings that are far smaller than others, at rest, too: a muscle at rest has the same noise."""
        import numpy as np

        from ..signals.quality import shares_of_scale

        if self.normalization == "none":
            return
        labels = list(dict.fromkeys(label for item in recordings for label in item.source.labels))
        sizes = np.full((len(_LEVELS), len(recordings), len(labels)), np.nan)
        for row, item in enumerate(recordings):
            found = np.percentile(item.envelope, _LEVELS, axis=0)
            sizes[:, row, [labels.index(label) for label in item.source.labels]] = found
        shares = np.max([shares_of_scale(table) for table in sizes], axis=0)
        for item, share in zip(recordings, shares.tolist(), strict=True):
            if 0.0 < share < _ANOTHER_UNIT:
                logger.warning(
                    "%s: it is %.3g times smaller than the largest of the recordings, at rest, too: are all in one "
                    "unit? All are divided by the same numbers.",
                    *(item.source.path, 1.0 / share),
                )

    def _filter(self) -> EnvelopeFilter:
        from ..signals.emg import EnvelopeFilter

        return EnvelopeFilter(
            high_pass=self.high_pass_frequency,
            band_end=self.band_end_frequency,
            notches=self.notch_frequencies,
            notch_width=self.notch_width,
            rectification=self.rectification,
            low_pass=self.low_pass_frequency,
            order=self.filter_order,
        )

    def _divisors(self, recordings: Sequence[_Recording], mvc: Sequence[_Recording]) -> dict[str, float]:
        """Return what each channel is divided by."""
        from ..signals.emg import reference_amplitude

        divisors: dict[str, float] = {}
        for label in dict.fromkeys(label for item in recordings for label in item.source.labels):
            pieces = [
                item.envelope[:, item.source.index(label)]
                for item in (mvc if self.normalization == "mvc" else recordings)
                if item.source.has(label)
            ]
            if not pieces:
                raise SetupError(f"<mvc_files>: none of them holds the channel '{label}'.")
            divisor = 1.0
            if self.normalization != "none":
                percentile = self.normalization_percentile if self.normalization == "percentile" else 100.0
                divisor = reference_amplitude(pieces, percentile)
            if not divisor > 0.0:
                logger.warning("The channel '%s' is never above zero: it is not normalised.", label)
                divisor = 1.0
            divisors[label] = divisor
        return divisors

    def _write(self, recordings: Sequence[_Recording], divisors: Mapping[str, float], run: ToolRun) -> None:
        from ..report.emg_figures import ProcessedChannel, draw_envelopes
        from ..storage import TimeSeries, write_storage
        from ..storage.tables import write_table

        name, directory, files = run.name, run.directory, run.files
        draws = self._draws_figures()
        with files.own_names():
            for item in recordings:
                stem = (item.source.path.stem if item.source.path else name).removesuffix("_emg")
                scale = [divisors[label] for label in item.source.labels]
                series = TimeSeries(item.time, item.source.labels, item.envelope / scale, name=f"{stem}_emg")
                path = directory / f"{stem}_emg.sto"
                if item.source.path is not None and path.absolute() == item.source.path.absolute():
                    raise SetupError(f"<results_directory>: the result would replace the recording '{path}'.")
                write_storage(files.path(path.name), series, precision=self.output_precision)
                largest = float(series.data.max())
                logger.info("%s: %d rows; largest value %.3f.", path, series.n_rows, largest)
                if largest > 1.0 + 1e-9 and self.normalization == "mvc":
                    logger.warning("%s: more than the maximal voluntary contraction (%.3f times).", path, largest)
                if draws:
                    figure = files.path(f"{stem}_emg.{self.figure_format}")
                    recording = item.source if item.raw else None
                    draw_envelopes(
                        ProcessedChannel.all_of(recording, series, scale),
                        figure,
                        title=f"{stem}: EMG and its envelopes",
                        caption=self._caption(item.raw),
                        corners=self._filter().before_rectification() if item.raw else (),
                    )
            write_table(
                files.path(f"{name}_normalization.csv"),
                ("label", "divisor", "normalization"),
                [[label, format(value, ".9g"), self.normalization] for label, value in divisors.items()],
            )
            run.resolved = dict(self._in_use(directory))
            logger.info("Wrote %s of envelopes to '%s'.", counted(len(recordings), "file"), directory)

    def _in_use(self, directory: Path) -> dict[str, list[str]]:
        """Return the lists of files as they were found, seen from the results."""
        from .tool import path_seen_from

        return {
            name: [path_seen_from(directory, file.absolute()) for file in self._files(name)]
            for name in ("emg_files", "mvc_files")
        }

    def _caption(self, raw: bool) -> str:
        if not raw:
            return "envelopes already: resampled and normalised only"
        low = (
            "no high-pass filter" if self.high_pass_frequency is None else f"high-pass {self.high_pass_frequency:g} Hz"
        )
        steps = [low]
        if self.band_end_frequency is not None:
            steps.append(f"upper corner {self.band_end_frequency:g} Hz")
        steps += [f"notch {frequency:g} Hz" for frequency in self.notch_frequencies]
        steps.append(self.rectification.replace("_", "-"))
        if self.low_pass_frequency is not None:
            steps.append(f"low-pass {self.low_pass_frequency:g} Hz")
        return (
            f"{', '.join(steps)}; zero-phase Butterworth of order {self.filter_order}; divided by: {self.normalization}"
        )
