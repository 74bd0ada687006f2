"""Say what tools there are, and what their properties mean.

Without TOOL the tools are listed, with TOOL its properties, with PROPERTY that property alone.

Examples:
  opensim-nem2e info
  opensim-nem2e info STDRRefineTool
  opensim-nem2e info STDRRefineTool bundle_file
"""

from __future__ import annotations

import argparse
import re
import textwrap

from .. import __version__
from ..errors import SetupError, did_you_mean
from ..tools.properties import Property
from ..tools.registry import tool_class, tools

NAME = "info"
ALIASES = ()
WRITES_LOG = False

_WIDTH = 100
_INTERVAL = re.compile(r"([\[(][-+.\w]+,) ([-+.\w]+[\])])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("tool", metavar="TOOL", nargs="?", help="the tool's class name")
    parser.add_argument("property", metavar="PROPERTY", nargs="?", help="one of its properties")


def execute(options: argparse.Namespace) -> int:
    """Print the information.

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
    opensim_nem2e.errors.SetupError
        There is no such tool or property.
    """
    if options.tool is None:
        print(_list_tools())
        return 0
    tool = tool_class(options.tool)
    table = {prop.name: prop for prop in tool.properties}
    if options.property is None:
        summary = next(entry.summary for entry in tools() if entry.name == options.tool)
        print(textwrap.fill(f"{options.tool}: {summary}", _WIDTH))
        print(f"\nPROPERTIES FOR {options.tool} ({len(table)})")
        for prop in tool.properties:
            print(f"\n{describe(prop)}")
        return 0
    if options.property not in table:
        hint = did_you_mean(options.property, table) or f" 'opensim-nem2e info {options.tool}' lists the properties."
        raise SetupError(f"'{options.property}' is not a property of {options.tool}.{hint}")
    print(f"{options.tool}.{describe(table[options.property])}")
    return 0


def describe(prop: Property) -> str:
    """Describe one property in a few lines.

    Parameters
    ----------
    prop : Property
        The property.

    Returns
    -------
    str
        Name and type, the comment, and the default.
    """
    kind = f"{prop.type}, required" if prop.required else prop.type
    # An interval is not broken over two lines.
    whole = _INTERVAL.sub("\\1\0\\2", prop.full_comment)
    comment = textwrap.fill(whole, _WIDTH, initial_indent="    ", subsequent_indent="    ").replace("\0", " ")
    return f"{prop.name} [{kind}]\n{comment}\n    Default: {prop.show(prop.default)}"


def _list_tools() -> str:
    width = max(len(entry.name) for entry in tools())
    lines = [f"TOOLS OF opensim_nem2e {__version__}", ""]
    for entry in tools():
        first = f"  {entry.name:<{width}}  "
        lines.append(textwrap.fill(entry.summary, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first)))
    lines += ["", "'opensim-nem2e info TOOL' lists the properties of a tool."]
    return "\n".join(lines)
