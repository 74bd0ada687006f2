"""Say what tools there are, and what their properties mean.

Without TOOL the tools are listed, with TOOL its properties, with PROPERTY that property alone; one in an element
of its own is ELEMENT.PROPERTY. In place of TOOL, a network bundle (.safetensors) or the name of one that ships with the
package: what it was trained on, and how good it is on subjects that it has not seen.

Examples:
  opensim-nem2e info
  opensim-nem2e info gait
  opensim-nem2e info my_gait.safetensors
  opensim-nem2e info STDRRefineTool
  opensim-nem2e info STDRRefineTool bundle_file
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import SetupError, did_you_mean
from ..log import plain
from ..options import Element, Property, layout_of
from ..tools.tool import Tool
from ..tools.tool_registry import tool_class, tools

NAME = "info"
ALIASES = ()

_WIDTH = 100
_INTERVAL = re.compile(r"([\[(][-+.\w]+,) ([-+.\w]+[\])])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("tool", metavar="TOOL", nargs="?", help="the tool's class name, or a bundle")
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
    if options.property is None and _is_bundle(options.tool):
        print(plain(describe_bundle(options.tool)))
        return 0
    if options.property is None and options.tool not in {entry.name for entry in tools()}:
        from ..methods.bundle import shipped_bundles

        meant = did_you_mean(options.tool, shipped_bundles())
        if meant:
            raise SetupError(f"There is no bundle '{options.tool}'.{meant}")
    tool = tool_class(options.tool)
    table = properties_of(tool)
    if options.property is None:
        summary = next(entry.summary for entry in tools() if entry.name == options.tool)
        print(textwrap.fill(f"{options.tool}: {summary}", _WIDTH))
        print(f"\nPROPERTIES FOR {options.tool} ({sum(isinstance(row, Property) for row in table.values())})")
        for name, row in table.items():
            print(f"\n{describe(row, name)}")
        return 0
    old = layout_of(tool.declaration).old_names.get(options.property)
    wanted = options.property if old is None else ".".join(old)
    if wanted not in table:
        hint = did_you_mean(wanted, table) or f" 'opensim-nem2e info {options.tool}' lists the properties."
        raise SetupError(f"'{options.property}' is not a property of {options.tool}.{hint}")
    if old is not None:
        print(f"{options.property} is the old name of {wanted}.")
    inside = [name for name in table if name == wanted or name.startswith(f"{wanted}.")]
    print("\n\n".join(f"{options.tool}.{describe(table[name], name)}" for name in inside))
    return 0


def properties_of(tool: type[Tool[Any]]) -> dict[str, Property | Element]:
    """List all properties of a tool.

    Parameters
    ----------
    tool : type
        The tool's class.

    Returns
    -------
    dict of str to Property or Element
        By their names, those in elements with the element's name before them.
    """
    found: dict[str, Property | Element] = {}

    def add(row: Property | Element, before: str) -> None:
        found[before + row.name] = row
        if isinstance(row, Element):
            for inner in row.layout.rows:
                add(inner, f"{before}{row.name}.")

    more = ((name, tool.group_options(name)) for name in tool.group_names())
    elements = [Element(name, declaration) for name, declaration in more if declaration is not None]
    for row in (*layout_of(tool.declaration).rows, *elements):
        add(row, "")
    return found


def describe(prop: Property | Element, name: str) -> str:
    """Describe one property, or an element of properties, in a few lines.

    Parameters
    ----------
    prop : Property or Element
        What is described.
    name : str
        Its name, with those of the elements that it stands in.

    Returns
    -------
    str
        Name and type, the comment, and the default.
    """
    if isinstance(prop, Element):
        return f"{name} [element]\n    {textwrap.fill(prop.full_comment, _WIDTH - 4)}"
    kind = f"{prop.type}, required" if prop.required else prop.type
    # An interval is not broken over two lines.
    whole = _INTERVAL.sub("\\1\0\\2", prop.full_comment)
    comment = textwrap.fill(whole, _WIDTH, initial_indent="    ", subsequent_indent="    ").replace("\0", " ")
    return f"{name} [{kind}]\n{comment}\n    Default: {prop.show(prop.default)}"


def _is_bundle(word: str) -> bool:
    """Tell a bundle from a tool, without reading it."""
    if word.endswith(".safetensors") or Path(word).is_file():
        return True
    if word in {entry.name for entry in tools()}:
        return False
    from ..methods.bundle import shipped_bundles

    # What is a place, but not a bundle, is told to be none.
    return word in shipped_bundles() or Path(word).exists() or len(Path(word).parts) > 1


def describe_bundle(path_or_name: str) -> str:
    """Say what a bundle is, what it was trained on, and how good it is.

    Parameters
    ----------
    path_or_name : str
        A file, or a shipped bundle's name.

    Returns
    -------
    str
        Some lines.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        It cannot be read.
    """
    from ..estimates.trust import calibration_table, validation_table
    from ..methods.bundle import Bundle, find_bundle
    from ..methods.motion_bundle import MotionBundle, is_motion_bundle
    from ..methods.nmm.population import Population, is_population

    wrapper = textwrap.TextWrapper(_WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    if is_motion_bundle(path_or_name):
        return "\n".join(map(wrapper.fill, MotionBundle.load(path_or_name).described()))
    file = find_bundle(path_or_name)
    if is_population(file):
        return "\n".join(map(wrapper.fill, [f"file: {file}", *Population.load(file).described()]))
    bundle = Bundle.load(path_or_name)
    data = bundle.metadata["data"]
    facts = {
        "file": str(bundle.path),
        "sha256": bundle.sha256,
        "method": bundle.provenance.label,
        "muscles": ", ".join(bundle.targets),
        "trained on": bundle.trained_on,
        "data": data["description"],
        "EMG normalised by": bundle.metadata["normalization"]["emg"],
        "licence of the data": data["licence"],
        "attribution": data["attribution"],
    }
    lines = [wrapper.fill(f"{name}: {text}") for name, text in facts.items()]
    calibration = bundle.provenance.calibration
    known = (
        validation_table(bundle.provenance, bundle.targets) if calibration is None else calibration_table(calibration)
    )
    return "\n".join([*lines, "", *known])


def _list_tools() -> str:
    width = max(len(entry.name) for entry in tools())
    lines = [f"TOOLS OF opensim_nem2e {__version__}", ""]
    for entry in tools():
        first = f"  {entry.name:<{width}}  "
        lines.append(textwrap.fill(entry.summary, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first)))
    lines += [
        "",
        "BUNDLES THAT SHIP WITH IT",
        "",
        "  gait, profiles         for STDRRefineTool: networks beside EMG profiles (the default), and profiles alone",
        "  muscles                for NMMTool: other subjects' EMG (the default)",
        "  kinematics, whole_body for KinematicsToActivationTool, mode kinematics: joint moments without forces",
        "",
        "'opensim-nem2e info BUNDLE' says what a bundle was trained on and how good it is.",
        "'opensim-nem2e info TOOL' lists the properties of a tool.",
    ]
    return "\n".join(lines)
