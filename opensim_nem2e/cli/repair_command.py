"""Mend states files whose header OpenSim 4.6 damaged.

OpenSim 4.6 writes stale bytes over the start of every _states.sto of CMC and RRA when its process exits. The
header is put back in place, atomically; the rows of numbers are left byte for byte as they are. Wrong or missing
counts of rows and columns are set right too. A healthy file is not touched. Where the first column's label was
lost, the model tells what it was.

Examples:
  opensim-nem2e repair subject01_walk1_states.sto
  opensim-nem2e repair Results*/*_states.sto
  opensim-nem2e repair x_states.sto --model subject01.osim
"""

from __future__ import annotations

import argparse

from ..log import logger
from .reporting import report

NAME = "repair"
ALIASES = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("files", metavar="FILE", nargs="+", help="a storage file (.sto, .mot)")
    parser.add_argument("--model", metavar="MODEL", help="the model (.osim) that the files were made with")


def execute(options: argparse.Namespace) -> int:
    """Repair every file.

    Parameters
    ----------
    options : argparse.Namespace
        The parsed command line.

    Returns
    -------
    int
        0, or 1 if any of them could not be repaired.
    """
    from ..storage import repair_file

    failed = []
    for path in options.files:
        try:
            done = repair_file(path, model=options.model)
        except Exception as error:
            report(error)
            failed.append(path)
            continue
        if not done.repaired:
            # What was changed is logged by the repair itself.
            logger.info("%s", done)
    if failed and len(options.files) > 1:
        logger.error("%d of %d files could not be repaired: %s.", len(failed), len(options.files), ", ".join(failed))
    return 1 if failed else 0
