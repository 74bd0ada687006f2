"""Setup files in OpenSim's grammar: written from declared options, and read back with every fault at once.

A setup file is ``<OpenSimDocument Version="40600"><ToolClass name="...">``, tab-indented, one comment before each
property. OpenSim silently repairs or ignores what it does not understand. This reader reports it: every fault of a
file, at once, with the line and the element.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SetupError, did_you_mean
from ..log import logger
from ..options import EMPTY, Element, Options, Property, Values, layout_of

if TYPE_CHECKING:
    from lxml.etree import _Element

#: The version written into setup files: OpenSim 4.6.
DOCUMENT_VERSION = 40600
#: Versions that are read: 2.3.2, when OpenSim's present grammar began, to any minor version of OpenSim 4.
OLDEST_VERSION, NEWEST_VERSION = 20302, 40699


# --- writing ---------------------------------------------------------------------------------------------------


def document_text(
    tool_name: str,
    rows: Sequence[Property | Element],
    values: Mapping[str, Any],
    name: str = "",
    note: str = "",
) -> str:
    """Write a setup file as OpenSim prints its own.

    Parameters
    ----------
    tool_name : str
        The tool's class name, which is the element's name.
    rows : sequence of Property or Element
        What the tool holds; its order is the file's order.
    values : mapping of str to object
        A value for every property, and for every element a mapping of its own.
    name : str
        The tool's name attribute; left out when empty, as in OpenSim's default files.
    note : str
        A comment before the tool, for files written by a run; none when empty.

    Returns
    -------
    str
        The whole file.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8" ?>', f'<OpenSimDocument Version="{DOCUMENT_VERSION}">']
    if note:
        # XML forbids two hyphens in a row in a comment.
        lines.append(f"\t<!--{re.sub('-(?=-|$)', '- ', note)}-->")
    attribute = f' name="{_escape(name, attribute=True)}"' if name else ""
    lines.append(f"\t<{tool_name}{attribute}>")
    lines += _lines(rows, values, "\t\t")
    lines += [f"\t</{tool_name}>", "</OpenSimDocument>", ""]
    return "\n".join(lines)


def _lines(rows: Sequence[Property | Element], values: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for row in rows:
        lines.append(f"{indent}<!--{row.full_comment}-->")
        if isinstance(row, Element):
            lines.append(f"{indent}<{row.name}>")
            lines += _lines(row.layout.rows, values[row.name], f"{indent}\t")
            lines.append(f"{indent}</{row.name}>")
        else:
            text = _escape(row.format(values[row.name]))
            lines.append(f"{indent}<{row.name}>{text}</{row.name}>" if text else f"{indent}<{row.name} />")
    return lines


def _escape(text: str, attribute: bool = False) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;") if attribute else text


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass
class SetupDocument:
    """A setup file that was parsed but not yet read as a certain tool.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    tool : lxml element or None
        The one tool in it; None when there is none.
    faults : list of str
        What is wrong with the document around the tool.
    """

    path: Path
    tool: _Element | None
    faults: list[str]


def read_document(path: str | os.PathLike[str]) -> SetupDocument:
    """Parse a setup file and find the tool in it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    SetupDocument
        The tool's element, and the faults of what is around it.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The file is missing or is not well-formed, harmless XML.
    opensim_nem2e.errors.SetupError
        The root element is not ``OpenSimDocument``.
    """
    from ..storage.safe_xml import parse_xml

    root = parse_xml(path, kind="setup file", ours=True).getroot()
    if root.tag != "OpenSimDocument":
        raise SetupError(
            f"line {root.sourceline}: the root element must be <OpenSimDocument>, but <{root.tag}> was found."
            + did_you_mean(str(root.tag), ["OpenSimDocument"]),
            path,
        )
    faults = _version_faults(root)
    faults += _stray_text_faults(root)
    tools = []
    for child in _elements(root):
        if child.tag == "defaults":
            logger.info(
                "The <defaults> block on line %s of '%s' is skipped: it has no meaning for these tools.",
                child.sourceline,
                os.fspath(path),
            )
        else:
            tools.append(child)
    if not tools:
        faults.append(f"line {root.sourceline}: <OpenSimDocument> must hold one tool, but none was found.")
    elif len(tools) > 1:
        found = ", ".join(f"<{tool.tag}> on line {tool.sourceline}" for tool in tools)
        faults.append(f"line {tools[1].sourceline}: a setup file must hold one tool, but {found} were found.")
    return SetupDocument(Path(path), tools[0] if tools else None, faults)


def read_values(
    element: _Element,
    values: Values,
    tool_name: str,
    note: Callable[[str], None],
    more_elements: Callable[[str], type[Options] | None] = lambda name: None,
    more_names: Callable[[], Iterable[str]] = tuple,
) -> list[str]:
    """Read the options in an element of a setup file.

    Parameters
    ----------
    element : lxml element
        The tool, or an element of options in it.
    values : Values
        Takes the values that were given (not those left empty that may be).
    tool_name : str
        The tool's class name, for messages.
    note : callable
        Told where an old name was found.
    more_elements : callable
        Given the name of an element that is not declared, returns the declaration of its options, or None.
    more_names : callable
        Returns the names that it knows.

    Returns
    -------
    list of str
        Everything that is wrong, each with its line and element.
    """
    layout = layout_of(values.declaration)
    table = layout.table
    faults = _stray_text_faults(element)
    first: dict[tuple[str, ...], tuple[str, int]] = {}
    for child in _elements(element):
        tag, line = str(child.tag), child.sourceline or 0
        where = f"line {line}: <{tag}>"
        path = layout.old_names.get(tag, (tag,))
        holder = values
        for name in path[:-1]:
            holder = holder.elements[name]
        prop = holder.property(path[-1]) if tag in layout.old_names else table.get(tag)
        if prop is None and tag not in values.elements:
            declaration = more_elements(tag)
            if declaration is None:
                inside = next((nested.name for nested in layout.elements if tag in nested.layout.table), "")
                hint = f" It stands in <{inside}>." if inside else ""
                hint = hint or did_you_mean(tag, [*table, *values.elements, *more_names()])
                hint = hint or f" 'opensim-nem2e info {tool_name}' lists the properties."
                faults.append(f"{where} is not a property of {element.tag}.{hint}")
                continue
            values.add_element(tag, declaration)
        if tag in layout.old_names:
            present = element.find("/".join(path))
            if present is not None:
                now = f"{in_brackets(path)}, which is given on line {present.sourceline}"
                faults.append(f"{where} is the old name of {now}: one of them must be left out.")
                continue
            note(tag)
        if path in first:
            name, earlier = first[path]
            other = "" if name == tag else f" as <{name}>"
            faults.append(f"{where} must appear once, but was already given on line {earlier}{other}.")
            continue
        first[path] = tag, line
        faults += attribute_faults(child, ())
        if prop is None:
            faults += read_values(child, values.elements[tag], tool_name, note)
            continue
        inner = next(iter(_elements(child)), None)
        if inner is not None:
            faults.append(f"{where} must be {prop.allowed}, but the element <{inner.tag}> was found in it.")
            continue
        try:
            value = prop.parse(_text(child))
        except ValueError as error:
            faults.append(f"{where} {error}")
            continue
        # An element left empty, as print-xml writes it (or 'Unassigned'), is not a value that somebody gave.
        if value not in EMPTY or prop.default not in EMPTY:
            holder.given[prop.name] = value
    return faults


def in_brackets(path: Sequence[str]) -> str:
    """Write where an option is.

    Parameters
    ----------
    path : sequence of str
        The elements that it stands in, and its own name.

    Returns
    -------
    str
        Such as ``<STDRNet><hidden_units>``.
    """
    return "".join(f"<{name}>" for name in path)


def _elements(parent: _Element) -> list[_Element]:
    # Comments and processing instructions have a function, not a text, as their tag.
    return [child for child in parent if isinstance(child.tag, str)]


def _text(element: _Element) -> str:
    """Return the element's own text, comments inside it left out."""
    return (element.text or "") + "".join(child.tail or "" for child in element)


def _stray_text_faults(element: _Element) -> list[str]:
    stray = _text(element).split()
    if not stray:
        return []
    return [f"line {element.sourceline}: <{element.tag}> must hold elements only, but the text '{stray[0]}' was found."]


def attribute_faults(element: _Element, allowed: Sequence[str]) -> list[str]:
    """Find attributes that an element may not have.

    Parameters
    ----------
    element : lxml element
        The element.
    allowed : sequence of str
        What it may have.

    Returns
    -------
    list of str
        The faults.
    """
    listed = f"{' and '.join(allowed)} only" if allowed else "no attribute"
    return [
        f"line {element.sourceline}: <{element.tag}> may have {listed}, but the attribute '{attribute}' was found."
        for attribute in map(str, element.attrib)
        if attribute not in allowed
    ]


def _version_faults(root: _Element) -> list[str]:
    where = f"line {root.sourceline}: <OpenSimDocument>"
    faults = attribute_faults(root, ("Version",))
    allowed = f"{OLDEST_VERSION} to {NEWEST_VERSION} are allowed"
    text = root.get("Version")
    if text is None:
        return [*faults, f'{where} must have a Version ({allowed}; Version="{DOCUMENT_VERSION}" is OpenSim 4.6).']
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return [*faults, f"{where} must have a whole number as Version ({allowed}), but '{text}' was found."]
    version = int(text)
    if version < OLDEST_VERSION:
        faults.append(f"{where} is of an older version than can be read: {allowed}, but {version} was found.")
    elif version > NEWEST_VERSION:
        faults.append(f"{where} is of a newer version than can be read: {allowed}, but {version} was found.")
    return faults
