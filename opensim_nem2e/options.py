"""One declaration per option of a tool or a method, and everything that follows from it.

Options are the fields of a frozen dataclass. A field's annotation says the type, :func:`option` the rest::

    @dataclass(frozen=True)
    class FilterOptions(Options):
        order: int = option(4, "Order of the filter.", bounds="[1, 12]")
        cutoff_frequency: float | None = option(6.0, "Corner. Empty: no filter.", bounds="(0, Inf)", unit="Hz")
        window: Literal["hann", "none"] = option("hann", "Window.")
        labels: tuple[str, ...] = option((), "Columns to filter. Empty: all.")

Annotations are ``bool``, ``int``, ``float``, ``str``, ``Literal`` texts, :data:`FilePath` and :data:`DirectoryPath`;
tuples of them are lists; ``| None`` says that the value may be left empty. They are evaluated, so what they name must
be imported where the class is defined. The first line of the class's docstring is the comment of its element, if any.

Dataclasses are put together by :func:`group`: the options of a flat group stand among the others, those of an *element*
stand in an XML element of their own. From the dataclass come setup files and their validation, what ``print-xml`` and
``info`` say, the tools' attributes and accessors, and the stub with their types. The grammar of the values is the one
of OpenSim's setup files: ``true``/``false``, ``Inf``/``-Inf``, lists separated by spaces. In lists of files, a name
that holds spaces stands in quotation marks, and a quotation mark inside them is doubled: ``"walk 1.c3d" run.c3d``.
"""

from __future__ import annotations

import inspect
import os
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, NewType, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import SetupError, did_you_mean

#: What OpenSim writes for a file name that was not given.
UNASSIGNED = "Unassigned"
#: Values that an empty element stands for.
EMPTY: tuple[object, ...] = ("", (), None)

#: The name of a file, and of a directory: relative to the setup file.
FilePath = NewType("FilePath", str)
DirectoryPath = NewType("DirectoryPath", str)

PropertyType = Literal[
    "bool", "int", "double", "string", "file", "directory", "doubles", "ints", "strings", "files", "directories"
]

_TYPES = get_args(PropertyType)
_SCALARS: dict[Any, PropertyType] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    FilePath: "file",
    DirectoryPath: "directory",
}
_LISTS: dict[Any, PropertyType] = {
    float: "doubles",
    int: "ints",
    str: "strings",
    FilePath: "files",
    DirectoryPath: "directories",
}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITY = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INTEGER_RANGE = (-(2**63), 2**63 - 1)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
# A name in a list of files: in quotation marks (doubled inside), or a text without spaces that does not begin with one.
_LISTED_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"(?=\s|$)|([^"\s]\S*))')
# What XML 1.0 cannot carry, and the line breaks and tabs that no name or path holds on purpose.
_FORBIDDEN = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_QUOTE = 60


@dataclass(frozen=True)
class Interval:
    """A range of allowed numbers.

    Parameters
    ----------
    low, high : float
        The ends.
    low_closed, high_closed : bool
        Whether an end is itself allowed.
    other : Interval, optional
        A second range that is allowed, too.
    """

    low: float = float("-inf")
    high: float = float("inf")
    low_closed: bool = True
    high_closed: bool = True
    other: Interval | None = None

    @classmethod
    def of(cls, bounds: Interval | str | tuple[float | None, float | None]) -> Interval:
        """Make an interval from the ways in which a table may state it.

        Parameters
        ----------
        bounds : Interval, str or tuple
            ``"[0, 1]"``, ``"(0, Inf)"``, ``"[-1, 0) or (0, 1]"``, or ``(low, high)`` with both ends allowed and None
            for no end.

        Returns
        -------
        Interval
            The same range.
        """
        if isinstance(bounds, Interval):
            return bounds
        if isinstance(bounds, str) and " or " in bounds:
            first, second = bounds.split(" or ")
            return replace(cls.of(first), other=cls.of(second))
        if isinstance(bounds, str):
            match = re.fullmatch(r"\s*([\[(])([^,]+),([^,]+)([\])])\s*", bounds)
            if match is None:
                raise ValueError(f"Bounds look like '[0, 1]' or '(0, Inf)', but '{bounds}' was found.")
            return cls(_bound(match[2]), _bound(match[3]), match[1] == "[", match[4] == "]")
        low, high = bounds
        return cls(float("-inf") if low is None else float(low), float("inf") if high is None else float(high))

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.low_closed else value > self.low
        below = value <= self.high if self.high_closed else value < self.high
        return (above and below) or (self.other is not None and value in self.other)

    def __str__(self) -> str:
        left = "[" if self.low_closed else "("
        right = "]" if self.high_closed else ")"
        own = f"{left}{short_number(self.low)}, {short_number(self.high)}{right}"
        return own if self.other is None else f"{own} or {self.other}"


@dataclass(frozen=True)
class Property:
    """One option as it is read, checked, written and described: an element of a setup file.

    Parameters
    ----------
    name : str
        The element's name, lower case with underscores, as in OpenSim.
    type : {'bool', 'int', 'double', 'string', 'file', 'directory', 'doubles', 'ints', 'strings', ...}
        The kind of value. ``file`` and ``directory`` are paths relative to the setup file; the plurals are lists
        separated by spaces, held as tuples.
    default : bool, int, float, str, sequence or None
        The value when nothing is given. It must itself be acceptable. None: the property may be left empty, which
        the tool takes as None and finds a value for by itself; the comment says how.
    comment : str
        What the property means, for ``print-xml``, ``info`` and the docstrings. Unit, bounds, choices and list
        size are added by :attr:`full_comment` and are not repeated here.
    bounds : Interval, str or tuple, optional
        Allowed numbers (of each element, for a list); see :meth:`Interval.of`.
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
    optional : bool
        Whether the value may be left empty, which is None; so it is, too, where the default is None.
    formerly : sequence of str, optional
        Names that this option had, which are still understood.
    written : bool
        Whether a file is written by the tool; others are read, and must be there.
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
    optional: bool = False
    formerly: Sequence[str] = ()
    written: bool = False
    interval: Interval | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        where = f"Property '{self.name}'"
        for name in (self.name, *self.formerly):
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"{where}: a name is lower case letters, digits and underscores.")
        if self.type not in _TYPES:
            raise ValueError(f"{where}: the type must be one of {', '.join(_TYPES)}, but '{self.type}' was found.")
        if not self.comment or "--" in self.full_comment or self.full_comment.endswith("-"):
            raise ValueError(f"{where}: a comment is needed, and XML forbids '--' in it.")
        if self.bounds is not None and self.type not in ("int", "double", "ints", "doubles"):
            raise ValueError(f"{where}: only numbers have bounds.")
        if self.choices is not None and self.type not in ("string", "strings"):
            raise ValueError(f"{where}: only texts have choices.")
        if self.list_size is not None and not self.is_list:
            raise ValueError(f"{where}: only lists have a size.")
        if self.may_be_name and self.type != "file":
            raise ValueError(f"{where}: only a file may be a name.")
        if self.is_optional and (self.is_list or self.is_path or self.required):
            raise ValueError(f"{where}: None is no default for a list or a path, nor where a value is required.")
        object.__setattr__(self, "formerly", tuple(self.formerly))
        object.__setattr__(self, "interval", None if self.bounds is None else Interval.of(self.bounds))
        if self.choices is not None:
            object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "default", self.convert(self.default))

    @property
    def is_list(self) -> bool:
        """Whether the value is a tuple."""
        return self.type in _LISTS.values()

    @property
    def is_path(self) -> bool:
        """Whether the value is a path, relative to the setup file."""
        return self.type in ("file", "directory")

    @property
    def is_path_list(self) -> bool:
        """Whether the value is a tuple of paths."""
        return self.type in ("files", "directories")

    @property
    def is_optional(self) -> bool:
        """Whether the value may be None, written as an empty element."""
        return self.optional or self.default is None

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
        if self.type in ("ints", "doubles"):
            what = "numbers" if self.type == "doubles" else "integers"
            return f"{self._size_in_words()}{what}{within} separated by spaces"
        if self.choices is not None:
            listed = ", ".join(f"'{choice}'" for choice in self.choices if choice)
            listed += ", or empty" if "" in self.choices else ""
            if self.type == "strings":
                return f"{self._size_in_words()}names out of {listed}, separated by spaces"
            return f"one of {listed}"
        if self.type == "strings":
            return f"{self._size_in_words()}names separated by spaces"
        if self.is_path_list:
            what = "file names" if self.type == "files" else "directory names"
            return f"{self._size_in_words()}{what} separated by spaces, in quotation marks where they hold spaces"
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
            tokens = self._listed_names(text) if self.is_path_list else text.split()
            return self._checked_list([self._parse_element(token, text) for token in tokens], text)
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
            if self.is_path_list and isinstance(value, os.PathLike):
                value = (value,)
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
        if self.is_path_list:
            return " ".join(map(_quoted_name, value))
        if self.is_list:
            return " ".join(_format_scalar(element) for element in value)
        return _format_scalar(value)

    def show(self, value: Any) -> str:
        """Write a value for subjects: numbers in their shortest exact form.

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
        if self.is_path_list:
            return self.format(value) or "(empty)"
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

    def _listed_names(self, text: str) -> Iterator[str]:
        """Split a list of files at its spaces, but not inside quotation marks."""
        position = 0
        while position < len(text):
            match = _LISTED_NAME.match(text, position)
            if match is None:
                raise self._refusal(text, " A quotation mark is not closed, or text follows it without a space.")
            yield match[2] if match[1] is None else match[1].replace('""', '"')
            position = match.end()

    def _parse_element(self, token: str, whole: str) -> Any:
        if self.type == "bool":
            if token.lower() not in ("true", "false"):
                raise self._refusal(whole)
            return token.lower() == "true"
        if self.type in ("int", "ints"):
            if not _INTEGER.fullmatch(token):
                raise self._refusal(whole, _decimal_hint(token))
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
        return token.strip()

    def _convert_element(self, value: Any, whole: Any) -> Any:
        # NumPy's scalars and zero-dimensional arrays know their Python value; NumPy itself is not imported here.
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if self.type == "bool":
            if not isinstance(value, bool):
                raise self._refusal(whole)
            return value
        if self.type in ("int", "ints"):
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._refusal(whole)
            return value
        if self.type in ("double", "doubles"):
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise self._refusal(whole)
            try:
                return float(value)
            except OverflowError:
                raise self._refusal(whole) from None
        if (self.is_path or self.is_path_list) and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            raise self._refusal(whole)
        if self.type == "strings":
            if value.split() != [value]:
                raise self._refusal(whole, " A name in a list must not hold spaces.")
            return value
        return value.strip()

    def _checked(self, value: Any, found: object) -> Any:
        if self.type in ("int", "ints") and not _INTEGER_RANGE[0] <= value <= _INTEGER_RANGE[1]:
            raise self._refusal(found)
        if isinstance(value, float) and value != value:
            raise self._refusal(found)
        if self.interval is not None and value not in self.interval:
            raise self._refusal(found)
        if isinstance(value, str):
            if self.is_path_list and not value:
                raise self._refusal(found, " A name in a list must not be empty.")
            if (self.is_path or self.is_path_list) and value == UNASSIGNED:
                return ""
            if _FORBIDDEN.search(value):
                raise self._refusal(found, " It holds a line break or another control character.")
            if self.choices is not None and value not in self.choices:
                raise self._refusal(found, did_you_mean(value, self.choices))
        return value

    def _checked_list(self, values: list[Any], found: object) -> tuple[Any, ...]:
        values = [self._checked(value, found) for value in values]
        if self.is_path_list:
            # OpenSim's 'Unassigned' is no file.
            values = [value for value in values if value]
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
    if isinstance(value, int):
        return str(value)
    exact = repr(float(value)).removesuffix(".0")
    short = f"{value:g}"
    return short if len(short) < len(exact) and float(short) == value else exact


def _bound(text: str) -> float:
    # An integer stays one: the largest of 64 bits is no float.
    return int(text) if _INTEGER.fullmatch(text.strip()) else float(text)


def _format_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # OpenSim writes 17 significant digits: 0.1 becomes 0.10000000000000001.
        return short_number(value) if abs(value) == float("inf") else f"{value:.17g}"
    return str(value)


def _quoted_name(name: str) -> str:
    if not name.startswith('"') and name.split() == [name]:
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _quote(found: object) -> str:
    try:
        text = found if isinstance(found, str) else repr(found)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a value of type {type(found).__name__}"
    if not text:
        return "nothing"
    if len(text) > _LONGEST_QUOTE:
        text = text[:_LONGEST_QUOTE] + "..."
    text = _FORBIDDEN.sub(lambda match: repr(match[0])[1:-1], text)
    return f"'{text}'" if isinstance(found, str) else text


def _decimal_hint(text: str) -> str:
    return " The decimal sign is a point." if _DECIMAL_COMMA.fullmatch(text) else ""


# --- declarations ----------------------------------------------------------------------------------------------------


def option(
    default: Any,
    comment: str,
    *,
    bounds: Interval | str | tuple[float | None, float | None] | None = None,
    choices: Sequence[str] | None = None,
    list_size: int | tuple[int, int | None] | None = None,
    unit: str | None = None,
    required: bool = False,
    may_be_name: bool = False,
    formerly: Sequence[str] = (),
    written: bool = False,
) -> Any:
    """Declare a field of an :class:`Options` dataclass; its annotation says the type.

    Parameters
    ----------
    default : bool, int, float, str, tuple or None
        The value when nothing is given.
    comment : str
        As in :class:`Property`, and so are the others.
    bounds : Interval, str or tuple, optional
        Allowed numbers.
    choices : sequence of str, optional
        For choices that are computed; others are an annotation ``Literal[...]``.
    list_size : int or tuple, optional
        Allowed number of list elements.
    unit : str, optional
        Of a number.
    required : bool
        Whether a run needs a value.
    may_be_name : bool
        Whether a file may be a bare name.
    formerly : sequence of str
        Names that it had.
    written : bool
        Whether a file is written by the tool.

    Returns
    -------
    dataclasses.Field
        What the dataclass makes the field of.
    """
    about = {
        "comment": comment,
        "bounds": bounds,
        "choices": choices,
        "list_size": list_size,
        "unit": unit,
        "required": required,
        "may_be_name": may_be_name,
        "formerly": formerly,
        "written": written,
    }
    return field(default=default, metadata={"option": about})


Declared = TypeVar("Declared", bound="Options")


def group(declaration: type[Declared], element: str = "", *, formerly_flat: bool = False) -> Declared:
    """Declare a field of an :class:`Options` dataclass that holds the options of another.

    Parameters
    ----------
    declaration : type
        The other dataclass.
    element : str
        The XML element that its options stand in, such as ``STDRNet``. Empty: they stand among the others.
    formerly_flat : bool
        Whether the options of the element once stood among the others: their names, and the names that those had
        formerly, are still understood there.

    Returns
    -------
    dataclasses.Field
        What the dataclass makes the field of.
    """
    about = {"declaration": declaration, "element": element, "formerly_flat": formerly_flat}
    made: Declared = field(default_factory=declaration, metadata={"group": about})
    return made


@dataclass(frozen=True)
class Options:
    """The base of all declarations of options: values that are checked when an instance is made.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        Values that are not acceptable, all of them.
    """

    #: Presets by name: what an option that is left empty is, where that is not its default. A declaration with presets
    #: has an option ``preset``, whose default is the preset of the defaults.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        faults = []
        for prop in layout_of(type(self)).own:
            try:
                object.__setattr__(self, prop.name, prop.convert(getattr(self, prop.name)))
            except ValueError as error:
                faults.append(f"{type(self).__name__}: <{prop.name}> {error}")
        if faults:
            raise SetupError(faults)

    def faults(self) -> list[str]:
        """Say what is wrong with options together, beyond what each declaration says. For subclasses.

        Returns
        -------
        list of str
            The faults.
        """
        return []

    @classmethod
    def of_preset(cls, preset: str = "", **given: Any) -> Self:
        """Take the values of a preset, but for those that are given.

        Parameters
        ----------
        preset : str
            One of :attr:`presets`; empty: the defaults.
        **given : object
            Values of single options.

        Returns
        -------
        Options
            An instance.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            There is no such preset, or a value is not acceptable.
        """
        if not preset:
            return cls(**given)
        if preset not in cls.presets:
            raise SetupError(
                f"{cls.__name__}: there is no preset '{preset}'.{did_you_mean(preset, cls.presets)} "
                f"There are {', '.join(cls.presets) or 'none'}."
            )
        return cls(**{**cls.presets[preset], "preset": preset, **given})


@dataclass(frozen=True)
class Element:
    """An element of a setup file that holds options of its own.

    Parameters
    ----------
    name : str
        The element's name, such as ``STDRNet``.
    declaration : type
        The dataclass of its options.
    """

    name: str
    declaration: type[Options]

    @property
    def full_comment(self) -> str:
        """What the element means: the first line of the dataclass's docstring."""
        return (inspect.getdoc(self.declaration) or self.name).splitlines()[0]

    @property
    def layout(self) -> OptionLayout:
        """What is in it."""
        return layout_of(self.declaration)


@dataclass(frozen=True)
class OptionLayout:
    """A declaration as a setup file shows it.

    Parameters
    ----------
    own : tuple of Property
        The options of the dataclass itself.
    rows : tuple of Property or Element
        These and those of its flat groups, in order, and its elements.
    old_names : dict of str to tuple of str
        By a name that is no longer in use: where the option is now, the elements' names before its own.
    """

    own: tuple[Property, ...]
    rows: tuple[Property | Element, ...]
    old_names: Mapping[str, tuple[str, ...]]

    @cached_property
    def table(self) -> Mapping[str, Property]:
        """The options that stand in no element of their own, by name."""
        return {row.name: row for row in self.rows if isinstance(row, Property)}

    @property
    def properties(self) -> tuple[Property, ...]:
        """The options that stand in no element of their own."""
        return tuple(self.table.values())

    @property
    def elements(self) -> tuple[Element, ...]:
        """The elements."""
        return tuple(row for row in self.rows if isinstance(row, Element))


def layout_of(declaration: type[Options]) -> OptionLayout:
    """Lay out a declaration.

    Parameters
    ----------
    declaration : type
        A dataclass of :func:`option` and :func:`group` fields.

    Returns
    -------
    OptionLayout
        It.

    Raises
    ------
    TypeError
        It declares what cannot be: a name twice, an annotation of no known type.
    ValueError
        See :class:`Property`.
    """
    key: Any = declaration
    return _lay_out(key)


@cache
def _lay_out(declaration: Any) -> OptionLayout:
    groups = {item.name: item.metadata["group"] for item in fields(declaration) if "group" in item.metadata}
    # A group's class may be local to a function, where its name in an annotation is not found.
    local = {about["declaration"].__name__: about["declaration"] for about in groups.values()}
    hints = get_type_hints(declaration, localns=local)
    own: list[Property] = []
    rows: list[Property | Element] = []
    old: dict[str, tuple[str, ...]] = {}
    for item in fields(declaration):
        if item.name in groups:
            about = groups[item.name]
            inner = layout_of(about["declaration"])
            if not about["element"]:
                rows += inner.rows
                old |= inner.old_names
                continue
            rows.append(Element(about["element"], about["declaration"]))
            if about["formerly_flat"]:
                old |= {prop.name: (about["element"], prop.name) for prop in inner.properties}
                old |= {name: (about["element"], *path) for name, path in inner.old_names.items()}
        elif "option" in item.metadata:
            prop = _property_of(item, hints[item.name], declaration)
            own.append(prop)
            rows.append(prop)
            old |= dict.fromkeys(prop.formerly, (prop.name,))
        else:
            raise TypeError(f"{declaration.__name__}: '{item.name}' must be declared by option() or group().")
    names = [row.name for row in rows] + list(old)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TypeError(f"{declaration.__name__}: two properties have the same name: {', '.join(twice)}.")
    return OptionLayout(tuple(own), tuple(rows), types.MappingProxyType(old))


def option_at(declaration: type[Options], path: Sequence[str]) -> Property:
    """Find an option by where it is.

    Parameters
    ----------
    declaration : type
        The dataclass.
    path : sequence of str
        The names of the elements that it stands in, and its own.

    Returns
    -------
    Property
        It.
    """
    for name in path[:-1]:
        declaration = next(row.declaration for row in layout_of(declaration).elements if row.name == name)
    return layout_of(declaration).table[path[-1]]


def _property_of(item: Field[Any], hint: Any, declaration: type[Options]) -> Property:
    kind, choices, optional = _kind_of(hint, f"{declaration.__name__}.{item.name}")
    about = dict(item.metadata["option"])
    about["choices"] = about["choices"] if choices is None else choices
    if declaration.presets and item.name != "preset" and kind in ("bool", "int", "double", "string"):
        plain = Property(item.name, kind, item.default, optional=optional, **about)
        values = {name: preset.get(item.name, item.default) for name, preset in declaration.presets.items()}
        listed = ", ".join(f"{name} {plain.show(plain.convert(value))}" for name, value in values.items())
        about["comment"] += f" Empty: from the preset ({listed})."
        return Property(item.name, kind, None, optional=True, **about)
    return Property(item.name, kind, item.default, optional=optional, **about)


def _kind_of(hint: Any, where: str) -> tuple[PropertyType, tuple[str, ...] | None, bool]:
    """Tell from an annotation the type, the choices, and whether the value may be empty."""
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        left = [part for part in get_args(hint) if part is not type(None)]
        optional = len(left) < len(get_args(hint))
        hint = left[0] if len(left) == 1 else hint
    known = _SCALARS
    if get_origin(hint) is tuple and len(get_args(hint)) == 2 and get_args(hint)[1] is Ellipsis:
        known, hint = _LISTS, get_args(hint)[0]
    choices = None
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    if hint not in known:
        raise TypeError(f"{where}: an option cannot have the type {hint!r}.")
    return known[hint], choices, optional


# --- values ----------------------------------------------------------------------------------------------------------


class Values:
    """What was given for a declaration's options, in a setup file or in code; the others have their defaults.

    Parameters
    ----------
    declaration : type
        The dataclass of the options.
    owner : str
        Whose they are, for messages.
    """

    def __init__(self, declaration: type[Options], owner: str):
        self.declaration = declaration
        self.owner = owner
        self.given: dict[str, Any] = {}
        self.elements: dict[str, Values] = {}
        for element in layout_of(declaration).elements:
            self.add_element(element.name, element.declaration)

    def add_element(self, name: str, declaration: type[Options]) -> Values:
        """Take in an element with options of its own.

        Parameters
        ----------
        name : str
            The element's name.
        declaration : type
            The dataclass of its options.

        Returns
        -------
        Values
            Its values.
        """
        self.elements[name] = Values(declaration, f"{self.owner}: <{name}>")
        return self.elements[name]

    @property
    def rows(self) -> tuple[Property | Element, ...]:
        """Everything that has a value here, in the order of the setup file."""
        layout = layout_of(self.declaration)
        declared = {element.name for element in layout.elements}
        more = [Element(name, item.declaration) for name, item in self.elements.items() if name not in declared]
        return (*layout.rows, *more)

    def property(self, name: str) -> Property:
        """Find an option.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        Property
            It.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            There is none of that name.
        """
        known = layout_of(self.declaration).table
        if name not in known:
            raise SetupError(f"{self.owner} has no property '{name}'.{did_you_mean(name, known)}")
        return known[name]

    def get(self, name: str) -> Any:
        """Return an option's value.

        Parameters
        ----------
        name : str
            The option.

        Returns
        -------
        bool, int, float, str, tuple or None
            The value that was given, or the default.
        """
        prop = self.property(name)
        return self.given.get(name, prop.default)

    def set(self, name: str, value: Any) -> None:
        """Give an option a value.

        Parameters
        ----------
        name : str
            The option.
        value : object
            Its value; see :meth:`Property.convert`.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            The value is not acceptable.
        """
        prop = self.property(name)
        try:
            self.given[name] = prop.convert(value)
        except ValueError as error:
            raise SetupError(f"{self.owner}: <{name}> {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """Return all values.

        Returns
        -------
        dict of str to object
            In the order of the setup file; an element's are a dict of their own.
        """
        return {
            row.name: self.get(row.name) if isinstance(row, Property) else self.elements[row.name].as_dict()
            for row in self.rows
        }

    def options(self) -> Any:
        """Return the declared options.

        Returns
        -------
        Options
            An instance of the dataclass.
        """
        return self._build(self.declaration)

    def _build(self, declaration: type[Options]) -> Options:
        made: dict[str, Any] = {}
        preset = declaration.presets.get(self.get("preset"), {}) if declaration.presets else {}
        for item in fields(declaration):
            about = item.metadata.get("group")
            if about is None:
                value = self.get(item.name)
                # Left empty: what the preset says, or the default.
                empty = value is None and bool(declaration.presets)
                made[item.name] = preset.get(item.name, item.default) if empty else value
            elif about["element"]:
                made[item.name] = self.elements[about["element"]].options()
            else:
                made[item.name] = self._build(about["declaration"])
        return declaration(**made)

    def faults(self) -> list[str]:
        """Check what can be checked only when all values are known.

        Returns
        -------
        list of str
            What is wrong.
        """
        found = [
            f"<{prop.name}> must be given ({prop.allowed}), but nothing was found."
            for prop in layout_of(self.declaration).properties
            if prop.required and self.get(prop.name) in ("", ())
        ]
        found += _faults_of(self.options())
        for name, element in self.elements.items():
            found += [f"<{name}>: {fault}" for fault in element.faults()]
        return found


def _faults_of(options: Options) -> list[str]:
    """Collect the faults of a dataclass and of its flat groups."""
    found = options.faults()
    for item in fields(options):
        about = item.metadata.get("group")
        if about is not None and not about["element"]:
            found += _faults_of(getattr(options, item.name))
    return found
