"""Write the default setup file of a tool.

Every property is written with its default value, and a comment that says what it means. Without FILE the name is
default_Setup_TOOL.xml in the working directory; '-' writes to standard output. A file that exists is left as it
is unless --force is given (opensim-cmd would overwrite it).

Examples:
  opensim-nem2e print-xml STDRRefineTool
  opensim-nem2e print-xml STDRRefineTool setup_refine.xml --force
  opensim-nem2e print-xml STDRTrainTool -
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import NEM2EError
from ..log import logger
from ..tools.tool import write_text
from ..tools.tool_registry import tool_class

NAME = "print-xml"
ALIASES = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("tool", metavar="TOOL", help="the tool's class name; 'opensim-nem2e info' lists them")
    parser.add_argument("file", metavar="FILE", nargs="?", help="where to write (default: default_Setup_TOOL.xml)")
    parser.add_argument("-f", "--force", action="store_true", help="replace FILE if it exists")


def execute(options: argparse.Namespace) -> int:
    """Write the file.

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
        There is no such tool, or the file exists or cannot be written.
    """
    text = tool_class(options.tool).default_xml()
    if options.file == "-":
        sys.stdout.write(text)
        return 0
    path = options.file or f"default_Setup_{options.tool}.xml"
    if Path(path).is_file() and not options.force:
        raise NEM2EError(f"{path}: the file exists and is left as it is; --force replaces it.")
    logger.info("Printing '%s'.", path)
    write_text(path, text)
    return 0
