"""OpenSim's property grammar: one declarative table per tool, and everything that follows from it.

A tool is described by a tuple of :class:`Property`. From that table come the XML reader and its validation, the
text that ``print-xml`` writes, what ``info`` says, the Python accessors and their docstrings. The grammar is the
one of OpenSim's setup files: ``<OpenSimDocument Version="40600"><ToolClass name="...">``, tab-indented, one
comment before each property, ``true``/``false``, ``Inf``/``-Inf``, lists separated by spaces.

OpenSim silently repairs or ignores what it does not understand. This reader reports it: every fault of a file,
at once, with the line and the element.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SetupError, did_you_mean
from ..log import logger

if TYPE_CHECKING:
    from lxml.etree import _Element

#: The version written into setup files: OpenSim 4.6.
DOCUMENT_VERSION = 40600
#: Versions that are read: 2.3.2, when OpenSim's present grammar began, to any minor version of OpenSim 4.
OLDEST_VERSION, NEWEST_VERSION = 20302, 40699
#: What OpenSim writes for a file name that was not given.
UNASSIGNED = "Unassigned"

PropertyType = Literal["bool", "int", "double", "string", "file", "directory", "doubles", "strings"]

_TYPES = ("bool", "int", "double", "string", "file", "directory", "doubles", "strings")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITY = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INTEGER_RANGE = (-(2**63), 2**63 - 1)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
# What XML 1.0 cannot carry, and the line breaks and tabs that no name or path holds on purpose.
_FORBIDDEN = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_QUOTE = 60
# Values that an empty element stands for.
_EMPTY: tuple[object, ...] = ("", (), None)


@dataclass(frozen=True)
class Interval:
    """A range of allowed numbers.

    Parameters
    ----------
    low, high : float
        The ends.
    low_closed, high_closed : bool
        Whether an end is itself allowed.
    """

    low: float = float("-inf")
    high: float = float("inf")
    low_closed: bool = True
    high_closed: bool = True

    @classmethod
    def of(cls, bounds: Interval | str | tuple[float | None, float | None]) -> Interval:
        """Make an interval from the ways in which a table may state it.

        Parameters
        ----------
        bounds : Interval, str or tuple
            ``"[0, 1]"``, ``"(0, Inf)"``, or ``(low, high)`` with both ends allowed and None for no end.

        Returns
        -------
        Interval
            The same range.
        """
        if isinstance(bounds, Interval):
            return bounds
        if isinstance(bounds, str):
            match = re.fullmatch(r"\s*([\[(])([^,]+),([^,]+)([\])])\s*", bounds)
            if match is None:
                raise ValueError(f"Bounds look like '[0, 1]' or '(0, Inf)', but '{bounds}' was found.")
            return cls(float(match[2]), float(match[3]), match[1] == "[", match[4] == "]")
        low, high = bounds
        return cls(float("-inf") if low is None else float(low), float("inf") if high is None else float(high))

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.low_closed else value > self.low
        below = value <= self.high if self.high_closed else value < self.high
        return above and below

    def __str__(self) -> str:
        left = "[" if self.low_closed else "("
        right = "]" if self.high_closed else ")"
        return f"{left}{short_number(self.low)}, {short_number(self.high)}{right}"


@dataclass(frozen=True)
class Property:
    """One property of a tool: a row of the tool's table.

    Parameters
    ----------
    name : str
        The element's name, lower case with underscores, as in OpenSim.
    type : {'bool', 'int', 'double', 'string', 'file', 'directory', 'doubles', 'strings'}
        The kind of value. ``file`` and ``directory`` are paths relative to the setup file; ``doubles`` and
        ``strings`` are lists separated by spaces, held as tuples.
    default : bool, int, float, str, sequence or None
        The value when nothing is given. It must itself be acceptable. None: the property may be left empty, which
        the tool takes as None and finds a value for by itself; the comment says how.
    comment : str
        What the property means, for ``print-xml``, ``info`` and the docstrings. Unit, bounds, choices and list
        size are added by :attr:`full_comment` and are not repeated here.
    bounds : Interval, str or tuple, optional
        Allowed numbers (of each element, for ``doubles``); see :meth:`Interval.of`.
    choices : sequence of str, optional
        Allowed texts of a ``string``, or of each element of ``strings``.
    list_size : int or tuple of (int, int or None), optional
        Allowed number of list elements: exact, or smallest and largest. An empty list is always "not given" and
        is allowed unless ``required``.
    unit : str, optional
        The unit of a number, such as ``s`` or ``N``.
    required : bool
        Whether a run needs a value that is not empty.
    may_be_name : bool
        For ``file``: the value may also be a bare name that the tool looks up itself (a network that ships
        with the package). See :meth:`opensim_nem2e.tools.tool.Tool.resolve`.
    """

    name: str
    type: PropertyType
    default: Any
    comment: str
    bounds: Interval | str | tuple[float | None, float | None] | None = None
    choices: Sequence[str] | None = None
    list_size: int | tuple[int, int | None] | None = None
    unit: str | None = None
    required: bool = False
    may_be_name: bool = False
    interval: Interval | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        where = f"Property '{self.name}'"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"{where}: a name is lower case letters, digits and underscores.")
        if self.type not in _TYPES:
            raise ValueError(f"{where}: the type must be one of {', '.join(_TYPES)}, but '{self.type}' was found.")
        if not self.comment or "--" in self.full_comment or self.full_comment.endswith("-"):
            raise ValueError(f"{where}: a comment is needed, and XML forbids '--' in it.")
        if self.bounds is not None and self.type not in ("int", "double", "doubles"):
            raise ValueError(f"{where}: only numbers have bounds.")
        if self.choices is not None and self.type not in ("string", "strings"):
            raise ValueError(f"{where}: only texts have choices.")
        if self.list_size is not None and not self.is_list:
            raise ValueError(f"{where}: only lists have a size.")
        if self.may_be_name and self.type != "file":
            raise ValueError(f"{where}: only a file may be a name.")
        if self.is_optional and (self.is_list or self.is_path or self.required):
            raise ValueError(f"{where}: None is no default for a list or a path, nor where a value is required.")
        object.__setattr__(self, "interval", None if self.bounds is None else Interval.of(self.bounds))
        if self.choices is not None:
            object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "default", self.convert(self.default))

    @property
    def is_list(self) -> bool:
        """Whether the value is a tuple."""
        return self.type in ("doubles", "strings")

    @property
    def is_path(self) -> bool:
        """Whether the value is a path, relative to the setup file."""
        return self.type in ("file", "directory")

    @property
    def is_optional(self) -> bool:
        """Whether the value may be None, written as an empty element."""
        return self.default is None

    @property
    def allowed(self) -> str:
        """What may be given, in words that follow "must be"."""
        return self._allowed_value() + (", or empty" if self.is_optional else "")

    def _allowed_value(self) -> str:
        within = "" if self.bounds is None else f" in {Interval.of(self.bounds)}"
        if self.type == "bool":
            return "true or false"
        if self.type == "int":
            return f"an integer{within}"
        if self.type == "double":
            return f"a number{within}"
        if self.type == "doubles":
            return f"{self._size_in_words()}numbers{within} separated by spaces"
        if self.choices is not None:
            listed = ", ".join(f"'{choice}'" for choice in self.choices if choice)
            listed += ", or empty" if "" in self.choices else ""
            if self.type == "strings":
                return f"{self._size_in_words()}names out of {listed}, separated by spaces"
            return f"one of {listed}"
        if self.type == "strings":
            return f"{self._size_in_words()}names separated by spaces"
        return {"string": "a text on one line", "file": "a file name", "directory": "a directory name"}[self.type]

    @property
    def full_comment(self) -> str:
        """The comment, with what the table knows beside it: unit, choices, bounds and list size."""
        parts = [self.comment]
        if self.unit is not None:
            parts.append(f"Unit: {self.unit}.")
        if self.bounds is not None or self.choices is not None or self.list_size is not None:
            parts.append(f"Allowed: {self.allowed}.")
        return " ".join(parts)

    def parse(self, text: str) -> Any:
        """Read the text of an element.

        Parameters
        ----------
        text : str
            The element's text; white space around it does not count.

        Returns
        -------
        bool, int, float, str, tuple or None
            The value.

        Raises
        ------
        ValueError
            The text is not an acceptable value; the message follows ``<name>``.
        """
        text = text.strip()
        if self.is_optional and not text:
            return None
        if self.is_list:
            return self._checked_list([self._parse_element(token, text) for token in text.split()], text)
        return self._checked(self._parse_element(text, text), text)

    def convert(self, value: Any) -> Any:
        """Check a Python value and bring it into the form in which the tool holds it.

        Parameters
        ----------
        value : object
            bool, int, float (NumPy scalars too), str, path, or for lists any iterable of them. A text given to a
            list is read as in a setup file.

        Returns
        -------
        bool, int, float, str, tuple or None
            The value, as :meth:`parse` would have returned it.

        Raises
        ------
        ValueError
            The value is not acceptable; the message follows ``<name>``.
        """
        if self.is_optional and (value is None or (isinstance(value, str) and not value.strip())):
            return None
        if self.is_list:
            if isinstance(value, str):
                return self.parse(value)
            if value is None or isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
                raise self._refusal(value)
            return self._checked_list([self._convert_element(element, value) for element in value], value)
        return self._checked(self._convert_element(value, value), value)

    def format(self, value: Any) -> str:
        """Write a value as OpenSim does, before XML escaping.

        Parameters
        ----------
        value : object
            A value as :meth:`parse` or :meth:`convert` returned it.

        Returns
        -------
        str
            The element's text; empty for None and for an empty text or list.
        """
        if value is None:
            return ""
        if self.is_list:
            return " ".join(_format_scalar(element) for element in value)
        return _format_scalar(value)

    def show(self, value: Any) -> str:
        """Write a value for people: numbers in their shortest exact form.

        Parameters
        ----------
        value : object
            A value as :meth:`parse` or :meth:`convert` returned it.

        Returns
        -------
        str
            The text; ``(empty)`` for None and for an empty text or list.
        """
        if value is None:
            return "(empty)"
        elements = value if self.is_list else (value,)
        numeric = self.type in ("double", "doubles")
        return " ".join(short_number(e) if numeric else _format_scalar(e) for e in elements) or "(empty)"

    def _size_in_words(self) -> str:
        if self.list_size is None:
            return ""
        if isinstance(self.list_size, int):
            return f"{self.list_size} "
        low, high = self.list_size
        return f"at least {low} " if high is None else f"{low} to {high} "

    def _refusal(self, found: object, hint: str = "") -> ValueError:
        return ValueError(f"must be {self.allowed}, but {_quote(found)} was found.{hint}")

    def _parse_element(self, token: str, whole: str) -> Any:
        if self.type == "bool":
            if token.lower() not in ("true", "false"):
                raise self._refusal(whole)
            return token.lower() == "true"
        if self.type == "int":
            if not _INTEGER.fullmatch(token):
                raise self._refusal(whole, _decimal_hint(whole))
            return int(token)
        if self.type in ("double", "doubles"):
            infinite = _INFINITY.fullmatch(token)
            if infinite:
                return float(f"{infinite[1]}inf")
            if not _NUMBER.fullmatch(token):
                raise self._refusal(whole, _decimal_hint(token))
            number = float(token)
            if abs(number) == float("inf"):
                raise self._refusal(whole, " It is too large for a double; 'Inf' stands for infinity.")
            return number
        return token

    def _convert_element(self, value: Any, whole: Any) -> Any:
        # NumPy's scalars and zero-dimensional arrays know their Python value; NumPy itself is not imported here.
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if self.type == "bool":
            if not isinstance(value, bool):
                raise self._refusal(whole)
            return value
        if self.type == "int":
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._refusal(whole)
            return value
        if self.type in ("double", "doubles"):
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise self._refusal(whole)
            return float(value)
        if self.is_path and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            raise self._refusal(whole)
        if self.type == "strings":
            if value.split() != [value]:
                raise self._refusal(whole, " A name in a list must not hold spaces.")
            return value
        return value.strip()

    def _checked(self, value: Any, found: object) -> Any:
        if self.type == "int" and not _INTEGER_RANGE[0] <= value <= _INTEGER_RANGE[1]:
            raise self._refusal(found)
        if isinstance(value, float) and value != value:
            raise self._refusal(found)
        if self.interval is not None and value not in self.interval:
            raise self._refusal(found)
        if isinstance(value, str):
            if self.is_path and value == UNASSIGNED:
                return ""
            if _FORBIDDEN.search(value):
                raise self._refusal(found, " It holds a line break or another control character.")
            if self.choices is not None and value not in self.choices:
                raise self._refusal(found, did_you_mean(value, self.choices))
        return value

    def _checked_list(self, values: list[Any], found: object) -> tuple[Any, ...]:
        values = [self._checked(value, found) for value in values]
        if values and self.list_size is not None:
            low, high = (self.list_size, self.list_size) if isinstance(self.list_size, int) else self.list_size
            if len(values) < low or (high is not None and len(values) > high):
                raise self._refusal(found)
        return tuple(values)


def short_number(value: float) -> str:
    """Write a number in its shortest exact form, with OpenSim's spelling of infinity.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str
        Such as ``0.1``, ``20`` or ``-Inf``.
    """
    if abs(value) == float("inf"):
        return "Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    return text.removesuffix(".0")


def _format_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # OpenSim writes 17 significant digits: 0.1 becomes 0.10000000000000001.
        return short_number(value) if abs(value) == float("inf") else f"{value:.17g}"
    return str(value)


def _quote(found: object) -> str:
    text = found if isinstance(found, str) else repr(found)
    if not text:
        return "nothing"
    if len(text) > _LONGEST_QUOTE:
        text = text[:_LONGEST_QUOTE] + "..."
    text = _FORBIDDEN.sub(lambda match: repr(match[0])[1:-1], text)
    return f"'{text}'" if isinstance(found, str) else text


def _decimal_hint(text: str) -> str:
    return " The decimal sign is a point." if _DECIMAL_COMMA.fullmatch(text) else ""


# --- writing ---------------------------------------------------------------------------------------------------


def document_text(
    tool_name: str, properties: Sequence[Property], values: Mapping[str, Any], name: str = "", note: str = ""
) -> str:
    """Write a setup file as OpenSim prints its own.

    Parameters
    ----------
    tool_name : str
        The tool's class name, which is the element's name.
    properties : sequence of Property
        The tool's table; its order is the file's order.
    values : mapping of str to object
        A value for every property.
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
    for prop in properties:
        text = _escape(prop.format(values[prop.name]))
        lines.append(f"\t\t<!--{prop.full_comment}-->")
        lines.append(f"\t\t<{prop.name}>{text}</{prop.name}>" if text else f"\t\t<{prop.name} />")
    lines += [f"\t</{tool_name}>", "</OpenSimDocument>", ""]
    return "\n".join(lines)


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
    element: _Element, tool_name: str, properties: Sequence[Property]
) -> tuple[dict[str, Any], str, list[str]]:
    """Read a tool's element by its table.

    Parameters
    ----------
    element : lxml element
        The tool.
    tool_name : str
        The tool's class name, for messages.
    properties : sequence of Property
        The tool's table.

    Returns
    -------
    values : dict of str to object
        The properties that were given (not those left empty that have an empty default).
    name : str
        The tool's name attribute, empty if it has none.
    faults : list of str
        Everything that is wrong, each with its line and element.
    """
    table = {prop.name: prop for prop in properties}
    faults = _attribute_faults(element, ("name",)) + _stray_text_faults(element)
    name = (element.get("name") or "").strip()
    values: dict[str, Any] = {}
    first_line: dict[str, int] = {}
    for child in _elements(element):
        tag, line = str(child.tag), child.sourceline or 0
        where = f"line {line}: <{tag}>"
        prop = table.get(tag)
        if prop is None:
            hint = did_you_mean(tag, table) or f" 'opensim-nem2e info {tool_name}' lists the properties."
            faults.append(f"{where} is not a property of {tool_name}.{hint}")
            continue
        if tag in first_line:
            faults.append(f"{where} must appear once, but was already given on line {first_line[tag]}.")
            continue
        first_line[tag] = line
        faults += _attribute_faults(child, ())
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
        if value not in _EMPTY or prop.default not in _EMPTY:
            values[tag] = value
    return values, name, faults


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


def _attribute_faults(element: _Element, allowed: Sequence[str]) -> list[str]:
    listed = f"{' and '.join(allowed)} only" if allowed else "no attribute"
    return [
        f"line {element.sourceline}: <{element.tag}> may have {listed}, but the attribute '{attribute}' was found."
        for attribute in map(str, element.attrib)
        if attribute not in allowed
    ]


def _version_faults(root: _Element) -> list[str]:
    where = f"line {root.sourceline}: <OpenSimDocument>"
    faults = _attribute_faults(root, ("Version",))
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
