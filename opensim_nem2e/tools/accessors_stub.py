"""Write ``accessors.pyi``, the types of all tools' attributes and accessors, from the declared options.

Run ``python -m opensim_nem2e.tools.accessors_stub`` after a change to a declaration; a test says when it was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from ..options import Options, Property, layout_of, option_at
from . import tool_registry as registry
from .functions import FUNCTION_ARGUMENTS
from .tool import accessor_endings

#: The file that is written.
STUB = Path(__file__).with_name("accessors.pyi")

_HEAD = '''"""The types of all tools' attributes and accessors; written by opensim_nem2e.tools.accessors_stub."""

from collections.abc import Iterable
from os import PathLike
from typing import Any, Generic, Literal, TypedDict, TypeVar

_Got = TypeVar("_Got")
_Given = TypeVar("_Given")
_Path = str | PathLike[str]

class _Option(Generic[_Got, _Given]):
    def __get__(self, tool: object, owner: Any) -> _Got: ...
    def __set__(self, tool: object, value: _Given) -> None: ...
'''


# By type: what an attribute is, and what may be given to it.
_TYPES = {
    "bool": ("bool", "bool"),
    "int": ("int", "int"),
    "double": ("float", "float"),
    "string": ("str", "str"),
    "file": ("str", "_Path"),
    "directory": ("str", "_Path"),
    "doubles": ("tuple[float, ...]", "str | Iterable[float]"),
    "ints": ("tuple[int, ...]", "str | Iterable[int]"),
    "strings": ("tuple[str, ...]", "str | Iterable[str]"),
    "files": ("tuple[str, ...]", "_Path | Iterable[_Path]"),
    "directories": ("tuple[str, ...]", "_Path | Iterable[_Path]"),
}


def stub_text() -> str:
    """Write the stub.

    Returns
    -------
    str
        Its text.
    """
    declarations = {entry.name: registry.tool_class(entry.name).declaration for entry in registry.tools()}
    groups = dict.fromkeys(part for declaration in declarations.values() for part in _flat_groups(declaration))
    mixins = [_class(f"_{part.__name__}", [], _own_lines(part)) for part in groups]
    return "\n".join([_HEAD, *mixins, *(_tool(name, declaration) for name, declaration in declarations.items())])


def _flat_groups(declaration: type[Options]) -> list[type[Options]]:
    found = []
    for item in fields(declaration):
        about = item.metadata.get("group")
        if about is not None and not about["element"]:
            found += [about["declaration"], *_flat_groups(about["declaration"])]
    return found


def _class(name: str, bases: list[str], lines: list[str]) -> str:
    head = f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"
    return "\n".join([head, *(f"    {line}" for line in lines), ""])


def _tool(name: str, declaration: type[Options]) -> str:
    layout = layout_of(declaration)
    lines = _own_lines(declaration)
    for old, path in layout.old_names.items():
        if len(path) > 1:
            # An option that once stood among the others.
            lines += _option_lines(old, option_at(declaration, path))
    keywords = [f"    {prop.name}: {_types(prop)[1]} = ...," for prop in layout.properties]
    start = ["    self,", "    setup_file: _Path | None = None,", "    *,", "    name: str | None = None,"]
    lines += ["def __init__(", *start, *keywords, ") -> None: ..."]
    accessors = _class(f"{name}Accessors", [f"_{part.__name__}" for part in _flat_groups(declaration)], lines)
    return f"{accessors}\n{_keywords(name, layout.properties)}"


def _keywords(name: str, properties: Iterable[Property]) -> str:
    """Give the keywords of the function that runs a tool their types."""
    own = FUNCTION_ARGUMENTS.get(name, ())
    lines = [f"{prop.name}: {_types(prop)[1]}" for prop in properties if prop.name not in own]
    return f"class {name}Keywords(TypedDict, total=False):\n" + "\n".join(f"    {line}" for line in lines) + "\n"


def _own_lines(declaration: type[Options]) -> list[str]:
    own = layout_of(declaration).own
    lines = [line for prop in own for line in _option_lines(prop.name, prop)]
    for name, now in ((name, prop) for prop in own for name in prop.formerly):
        # The accessor of an old name may be one of the new name, too.
        lines += [line for line in _option_lines(name, now) if line not in lines]
    return lines


def _option_lines(name: str, prop: Property) -> list[str]:
    got, given = _types(prop)
    lines = [f"{name}: _Option[{got}, {given}]"]
    for ending in accessor_endings(name, prop.type):
        lines.append(f"def get{ending}(self) -> {got}: ...")
        lines.append(f"def set{ending}(self, value: {given}) -> None: ...")
    return lines


def _types(prop: Property) -> tuple[str, str]:
    got, given = _TYPES[prop.type]
    if prop.choices is not None:
        listed = ", ".join(f'"{choice}"' for choice in prop.choices)
        got = got.replace("str", f"Literal[{listed}]")
    none = " | None" if prop.is_optional else ""
    return got + none, given + none


def main() -> None:
    """Write the file."""
    STUB.write_text(stub_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
