"""Draw the figures and write the report of a cross-validation study again.

Everything is made from the files that STDRCrossValidateTool left in DIR: nothing is trained, and neither the
recordings nor OpenSim are needed. Figures and report of the same study are replaced.

Examples:
  opensim-nem2e report results
  opensim-nem2e report results --name walking
"""

from __future__ import annotations

import argparse

from ..errors import StorageError

NAME = "report"
ALIASES = ()


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

    results = read_study(options.directory, options.name)
    try:
        write_report(results)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Each file is what it should be, but what they say together cannot be drawn.
        raise StorageError(
            f"The files of the study '{results.name}' do not fit together, so that no report can be made of them "
            f"({type(error).__name__}: {str(error)[:200]}). If they are as STDRCrossValidateTool wrote them, this is a "
            "fault of opensim_nem2e.",
            options.directory,
        ) from error
    return 0
