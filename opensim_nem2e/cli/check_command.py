"""Examine the recordings and simulations of a manifest.

Every file that trials.csv and emg_channels.csv name is read: time offsets between EMG and simulation, wrong sampling
rates, strides that do not repeat, dead, copied, clipped or shifted channels, raw EMG, models of the wrong mass,
degrees taken for radians, damaged files, cycles outside the data, reserves that are too large, and more. Each finding
is one line: its severity, what was found where, and a remedy. With --report, the same is written as a web page with
a figure of every recording. The exit status is 1 if there is an error: something that cannot be used. Warnings and
notes are for you to judge.

Ground reactions, motions and events tables are examined where trials.csv names them (external_loads_file,
coordinates_file, events_file).

With --apply, the time offsets that are proposed are written into a new table of trials, beside what the old one holds;
look at the figures of --report first.

Examples:
  opensim-nem2e check trials.csv
  opensim-nem2e check trials.csv --report check
  opensim-nem2e check trials.csv --apply trials_aligned.csv
  opensim-nem2e check trials.csv --channels other_channels.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..log import counted, logger, plain

NAME = "check"
ALIASES = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("trials", metavar="TRIALS", help="the manifest (trials.csv)")
    parser.add_argument("--channels", metavar="FILE", help="the EMG channels (default: emg_channels.csv beside TRIALS)")
    parser.add_argument("--report", metavar="DIR", help="write the findings as a web page into this folder")
    parser.add_argument(
        "--apply", metavar="FILE", help="write a new table of trials with the proposed EMG time offsets"
    )


def execute(options: argparse.Namespace) -> int:
    """Examine and tell.

    Parameters
    ----------
    options : argparse.Namespace
        The parsed command line.

    Returns
    -------
    int
        0, or 1 if there is an error among the findings.
    """
    from ..data.check.quality_check import examine
    from ..storage.atomic import require_writable

    # All files are read before anything is written.
    if options.report:
        require_writable(options.report)
    if options.apply:
        require_writable(Path(options.apply).parent)
    examination = examine(options.trials, options.channels)
    for finding in examination.findings:
        print(plain(finding.line))
    cycles = sum(len(recording.trials) for recording in examination.recordings)
    errors = sum(finding.severity == "error" for finding in examination.findings)
    warnings = sum(finding.severity == "warning" for finding in examination.findings)
    notes = len(examination.findings) - errors - warnings
    print(f"{cycles} cycles examined: {errors} errors, {warnings} warnings, {notes} notes.")
    if options.report:
        from ..report.check_page import write_page

        logger.info("Wrote '%s'.", write_page(examination, Path(options.report)))
    if options.apply:
        from ..data.check.apply_offsets import apply_offsets

        count = apply_offsets(examination, options.apply)
        logger.info("Wrote '%s': %s with another emg_time_offset_s.", options.apply, counted(count, "row"))
    return 1 if errors else 0
