"""Make trials.csv and emg_channels.csv from a folder of results.

Patterns say where things are: paths below ROOT with names in braces. A name stands for any text without a slash and
fills the manifest's column of that name (subject, trial, stride, side, motion, speed_m_s, dataset); names that no
column has, such as {session}, only tell files apart; '*' stands for any text without a slash. Patterns for
activation_file and emg_file are needed, those for model_file, external_loads_file, coordinates_file and events_file
are welcome. What no name says is set for all rows.

The gait cycles are cut at the heel strikes of the events table or the ground reactions, for each leg that has EMG;
with --whole-file each file of activations is one cycle. EMG channels whose names are those of muscles are matched with
the model's muscles; the others are listed, for you to add. Existing tables are left as they are unless --force is
given, or --append, which adds the rows to them: subjects whose folders are laid out differently are joined so, one
layout at a time. 'opensim-nem2e check' then says what is wrong with the result.

Examples:
  opensim-nem2e manifest . --pattern activation_file={subject}/{trial}/results/{trial}_states.sto --pattern emg_file={subject}/{trial}/{trial}_emg.sto --pattern model_file={subject}/scaled.osim --pattern external_loads_file={subject}/{trial}/grf.xml --set motion=walk
  opensim-nem2e manifest cycles --pattern activation_file={subject}/{trial}_{side}.sto --pattern emg_file={subject}/{trial}_emg.sto --set motion=run --set activation_source=so --whole-file
"""  # noqa: E501  (a command line is one line)

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import NEM2EError
from ..log import logger

NAME = "manifest"
ALIASES = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("root", metavar="ROOT", help="the folder of results")
    parser.add_argument(
        "--pattern",
        metavar="COLUMN=PATTERN",
        action="append",
        default=[],
        help="where the files of a column are, such as emg_file={subject}/{trial}_emg.sto; repeat it for each column",
    )
    parser.add_argument(
        "--set",
        metavar="COLUMN=VALUE",
        action="append",
        default=[],
        help="the value of a column in all rows, such as motion=walk; repeat it for each column",
    )
    parser.add_argument("--whole-file", action="store_true", help="each file of activations is exactly one gait cycle")
    parser.add_argument("--output", metavar="DIR", help="where to write the two tables (default: ROOT)")
    parser.add_argument("-f", "--force", action="store_true", help="replace tables that exist")
    parser.add_argument("--append", action="store_true", help="add the rows to tables that exist")


def execute(options: argparse.Namespace) -> int:
    """Make the tables.

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
        The patterns are not usable, no trial was found, or the tables exist.
    """
    from ..data.discovery import FolderLayout, discover, listed

    folder = Path(options.output or options.root)
    if folder.suffix.lower() == ".csv" or folder.is_file():
        raise NEM2EError(f"--output must be a folder, for trials.csv and emg_channels.csv; found '{folder}'.")
    if options.force and options.append:
        raise NEM2EError("--force replaces tables and --append adds to them: only one of them can be given.")
    for name in ("trials.csv", "emg_channels.csv"):
        if (folder / name).exists() and not (options.force or options.append):
            raise NEM2EError(
                f"{folder / name}: the file exists and is left as it is; --force replaces it, --append adds to it."
            )
    if not Path(options.root).is_dir():
        raise NEM2EError(f"{options.root}: a folder was expected, but there is none.")
    layout = FolderLayout(_pairs(options.pattern, "--pattern"), _pairs(options.set, "--set"), options.whole_file)
    found = discover(options.root, layout)
    people = {row["subject"] for row in found.trials}
    for dataset, labels in found.unknown.items():
        if labels:
            logger.warning(
                "%s: EMG channels that are not in emg_channels.csv, as their muscle or side is not known: %s. Add a "
                "row for each that is to be used.",
                dataset,
                listed(labels),
            )
    for path in found.write(folder, append=options.append):
        logger.info("Wrote '%s'.", path)
    who = "1 subject" if len(people) == 1 else f"{len(people)} subjects"
    logger.info("%d gait cycles of %s, %d EMG channels.", len(found.trials), who, len(found.channels))
    return 0


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise NEM2EError(f"{option} must be COLUMN=VALUE; found '{text}'.")
        if name in pairs:
            raise NEM2EError(f"{option} is given twice for '{name}'.")
        pairs[name.strip()] = value.strip()
    return pairs
