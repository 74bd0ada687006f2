"""What a command line gives to a tool: the flags that every property has, and --set name=value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any

from ..errors import SetupError, did_you_mean
from ..log import properties_called
from ..options import Options, Property, layout_of
from ..tools.tool import Tool

#: What the flags' destinations begin with, so that no property is taken for another argument.
_PREFIX = "property "
#: What they end with where a command's main input is given by its flag.
_BY_FLAG = " by flag"
#: A sentence's end; "et al." is none.
_SENTENCE = re.compile(r"(?<!et al)[.?] ")


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--set``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="give any property a value, one in an element as ELEMENT.PROPERTY; a path is seen from the working "
        "directory; may be repeated",
    )


def add_flags(parser: argparse.ArgumentParser, tool: type[Tool[Any]]) -> None:
    """Declare a flag for every property of a tool that stands in no element of its own.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    tool : type
        The tool's class.
    """
    table = layout_of(tool.declaration).table
    parser.set_defaults(tool=tool)
    for name in tool.main_inputs:
        prop = table[name]
        dest = _PREFIX + name
        count = "*" if prop.is_list else "?"
        parser.add_argument(dest, metavar=input_word(name), nargs=count, default=None, help=_help(prop))
        several = "+" if prop.is_list else None
        parser.add_argument(*_flags(prop, table), dest=dest + _BY_FLAG, nargs=several, help=argparse.SUPPRESS)
    parser.add_argument("--name", metavar="NAME", help="what the results' names begin with")
    flags = {prop.name: _flags(prop, table) for prop in table.values() if prop.name not in tool.main_inputs}
    for title, declaration in _groups(tool.declaration):
        group = parser.add_argument_group(title)
        for prop in layout_of(declaration).own:
            if prop.name in flags:
                _add_flag(group, flags[prop.name], prop)


def input_word(name: str) -> str:
    """Name what a command takes without a flag.

    Parameters
    ----------
    name : str
        The property: ``'states_file'``.

    Returns
    -------
    str
        As the command's help has it: ``'STATES'``.
    """
    return name.removesuffix("_file").removesuffix("_files").upper()


def flags_in_messages(tool: type[Tool[Any]]) -> AbstractContextManager[None]:
    """Let messages call a tool's properties what the command line calls them: ``<emg_file>`` is ``--emg``.

    Parameters
    ----------
    tool : type
        The tool's class.

    Returns
    -------
    context manager
        It does while the block runs.
    """
    table = layout_of(tool.declaration).table
    words = {name: input_word(name) if name in tool.main_inputs else _flags(table[name], table)[0] for name in table}
    return properties_called({**words, tool.tool_name: "--name"})


def unknown_words(words: Sequence[str], unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Say what is wrong with words of a command line that its parser does not know.

    Parameters
    ----------
    words : sequence of str
        The command line.
    unknown : sequence of str
        The words.
    parser : argparse.ArgumentParser
        The command's own parser.

    Returns
    -------
    str
        With a suggestion where there is one.
    """
    message = f"unrecognized arguments: {' '.join(unknown)}."
    first = unknown[0]
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    before = words[words.index(first) - 1] if first in words[1:] else ""
    if isinstance(flags.get(before), argparse.BooleanOptionalAction):
        return f"{message} {before} takes no value; --no-{before.removeprefix('--')} is its opposite."
    tool = parser.get_default("tool")
    for element in layout_of(tool.declaration).elements if tool is not None else ():
        name = first.partition("=")[0].removeprefix("--").replace("-", "_")
        if name in element.layout.table:
            return f"{message} Write --set {element.name}.{name}=VALUE."
    return message + did_you_mean(first, flags)


def assign(tool: Tool[Any], options: argparse.Namespace) -> None:
    """Give a tool what the command line says.

    Parameters
    ----------
    tool : Tool
        The tool.
    options : argparse.Namespace
        The parsed command line, with ``--set`` and perhaps flags.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        Everything that is wrong, at once.
    """
    faults: list[str] = []
    values = {dest: value for dest, value in vars(options).items() if value is not None and value != []}
    given: list[tuple[str, Any]] = []
    for dest, value in values.items():
        if dest.startswith(_PREFIX):
            name = dest.removeprefix(_PREFIX).removesuffix(_BY_FLAG)
            given.append((name, value))
            if dest.endswith(_BY_FLAG) and _PREFIX + name in values:
                faults.append(f"{input_word(name)} must be given once, but was found with and without its flag.")
    for text in options.set:
        name, equals, value = text.partition("=")
        if equals:
            given.append((name.strip(), value))
        else:
            faults.append(f"--set must be NAME=VALUE, but '{text}' was found.")
    for name, value in given:
        try:
            tool.set_text(name, str(value).lower() if isinstance(value, bool) else value)
        except SetupError as error:
            faults += error.faults
    if getattr(options, "name", None) is not None:
        try:
            tool.name = options.name
        except SetupError as error:
            faults += error.faults
    if faults:
        raise SetupError(faults)


def _groups(declaration: type[Options]) -> Iterable[tuple[str, type[Options]]]:
    """Return a declaration and its flat groups, each with a title: the first line of its docstring."""
    yield str(declaration.__doc__).splitlines()[0].rstrip(".").replace("``", ""), declaration
    for item in fields(declaration):
        about = item.metadata.get("group")
        if about is not None and not about["element"]:
            yield from _groups(about["declaration"])


def _flags(prop: Property, table: Iterable[str]) -> list[str]:
    """Name a property's flags: ``--model-file`` is also ``--model``, the results' directory is also ``--out``."""
    names = [prop.name]
    if prop.name == "results_directory":
        names.insert(0, "out")
    short = prop.name.removesuffix("_file")
    if short not in table and short != prop.name:
        names.insert(0, short)
    return [f"--{name.replace('_', '-')}" for name in names]


def _add_flag(group: argparse._ArgumentGroup, flags: list[str], prop: Property) -> None:
    common: dict[str, Any] = {"dest": _PREFIX + prop.name, "default": None, "help": _help(prop)}
    if prop.type == "bool":
        group.add_argument(*flags, action=argparse.BooleanOptionalAction, **common)
        return
    kind = {"file": "FILE", "directory": "DIR", "string": "TEXT", "int": "N", "double": "X"}
    kind |= {"files": "FILE", "directories": "DIR", "strings": "NAME", "ints": "N", "doubles": "X"}
    # A wrong choice is refused by the property itself, with all other faults.
    choices = [choice for choice in prop.choices or () if choice]
    metavar = f"{{{','.join(choices)}}}" if choices else kind[prop.type]
    action = group.add_argument(*flags, metavar=metavar, nargs="+" if prop.is_list else None, **common)
    if choices:
        action.completer = lambda **_: choices  # type: ignore[attr-defined]


def _help(prop: Property) -> str:
    """Say in a line what a property means; 'info' says the rest."""
    first = _SENTENCE.split(prop.comment, maxsplit=1)[0].rstrip(".?")
    default = "" if prop.default in ("", (), None, False) else f" (default: {prop.show(prop.default)})"
    unit = f", in {prop.unit}" if prop.unit else ""
    return f"{first}{unit}{default}".replace("%", "%%")
