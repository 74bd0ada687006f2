"""Compare two results, or a result with measured EMG, muscle by muscle.

A and B are storage files with activations (states, activations, StaticOptimization, Moco), or the results directories
of a refinement. They are compared over the time that both cover: mean values, root mean square difference, and
correlation, which does not depend on amplitude. With --emg, B holds EMG envelopes, and each is divided by its maximum.

Examples:
  opensim-nem2e compare cmc/walk1_states.sto refined
  opensim-nem2e compare refined_a refined_b --csv differences.csv
  opensim-nem2e compare refined emg/walk1_emg.sto --emg --channels emg_channels.csv --initial-time 0.6 --final-time 1.8
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from statistics import fmean

from ..errors import NEM2EError
from ..log import logger, plain, properties_called

NAME = "compare"
ALIASES = ()

#: What files of EMG are mostly called.
_EMG = re.compile(r"(?<![a-z])emg(?![a-z])|electromyogra", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("a", metavar="A", help="a storage file, or a results directory")
    parser.add_argument("b", metavar="B", help="another one, or EMG envelopes")
    parser.add_argument("--emg", action="store_true", help="B holds EMG envelopes; implied by --channels")
    parser.add_argument(
        "--channels", metavar="FILE", help="the table of EMG channels (default: they have the muscles' names)"
    )
    parser.add_argument(
        "--emg-time-offset", metavar="S", type=_finite, default=0.0, help="EMG(t + S) fits activation(t), in s"
    )
    parser.add_argument("--muscles", metavar="NAME", nargs="+", default=[], help="muscles to compare (default: all)")
    parser.add_argument("--initial-time", metavar="S", type=_seconds, default=float("-inf"), help="first time, in s")
    parser.add_argument("--final-time", metavar="S", type=_seconds, default=float("inf"), help="last time, in s")
    parser.add_argument("--csv", metavar="FILE", help="also write the table to this file")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"a number is needed, but '{text}' was found")
    return value


def _finite(text: str) -> float:
    value = _seconds(text)
    if math.isinf(value):
        raise argparse.ArgumentTypeError(f"a finite number is needed, but '{text}' was found")
    return value


def execute(options: argparse.Namespace) -> int:
    """Compare and print.

    Parameters
    ----------
    options : argparse.Namespace
        The parsed command line.

    Returns
    -------
    int
        0.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A file cannot be read, or there is nothing to compare.
    """
    from ..data.discovery import listed
    from ..estimates.comparison import MuscleDifference, compare_files
    from ..storage.tables import write_rows

    if options.csv is not None:
        read = [path for path in (options.a, options.b, options.channels) if path is not None]
        if Path(options.csv).resolve() in {Path(path).resolve() for path in read}:
            raise NEM2EError(f"The table '{options.csv}' would replace a file that is compared: give it another name.")
    emg = options.emg or options.channels is not None
    seems = [bool(_EMG.search(Path(path).stem)) for path in (options.a, options.b)]
    if not emg and seems == [False, True]:
        logger.warning(
            "'%s' seems to hold EMG: with --emg each channel is divided by its maximum, and --channels gives it to "
            "muscles.",
            options.b,
        )
    with properties_called({"emg_channels_file": "--channels", "emg_time_offset": "--emg-time-offset"}):
        found = compare_files(
            Path(options.a),
            Path(options.b),
            emg=emg,
            channels_file=None if options.channels is None else Path(options.channels),
            emg_time_offset=options.emg_time_offset,
            start=options.initial_time,
            end=options.final_time,
            muscles=options.muscles,
        )
    print(plain(f"A: {found.a}\nB: {found.b}\n{found.start:.4f} to {found.end:.4f} s\n"))
    width = max(len("muscle"), *(len(row.muscle) for row in found.rows))
    print(f"{'muscle':<{width}}  mean A  mean B  RMS difference      r")
    for row in found.rows:
        figures = f"{row.mean_a:6.3f}  {row.mean_b:6.3f}  {row.rms_difference:14.3f}  {row.r:+5.2f}"
        print(f"{plain(row.muscle):<{width}}  {figures}")
    if len(found.rows) > 1:
        columns = ("mean_a", "mean_b", "rms_difference", "r")
        means = [fmean(getattr(row, name) for row in found.rows) for name in columns]
        print(f"{'mean':<{width}}  {means[0]:6.3f}  {means[1]:6.3f}  {means[2]:14.3f}  {means[3]:+5.2f}")
    for letter, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            print(plain(f"Only in {letter}: {listed(names)}"))
    if options.csv:
        write_rows(Path(options.csv), MuscleDifference, found.rows)
        logger.info("Wrote '%s'.", options.csv)
    return 0
