"""Draw the figures and write the report of a cross-validation study again.

Everything is made from the files that STDRCrossValidateTool left in DIR: nothing is trained, and neither the
recordings nor OpenSim are needed. Figures and report of the same study are replaced.

Examples:
  opensim-nem2e report results
  opensim-nem2e report results --name walking
"""

from __future__ import annotations

import argparse

NAME = "report"
ALIASES = ()
WRITES_LOG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("directory", metavar="DIR", help="the study's results directory")
    parser.add_argument(
        "--name", metavar="NAME", default="", help="the study's name, where DIR holds several (<NAME>_study.json)"
    )


def execute(options: argparse.Namespace) -> int:
    """Write the report.

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
    opensim_nem2e.errors.MissingFileError
        There is no study in the directory, or files of it are missing.
    opensim_nem2e.errors.StorageError
        A file is not what it should be.
    """
    from ..evaluation.study import read_study
    from ..report.study_report import write_report

    write_report(read_study(options.directory, options.name))
    return 0
