"""The base class of all tools: a table of properties and a run.

A subclass states its table and implements ``_run``::

    class STDRRefineTool(Tool):
        \"\"\"Refine ...\"\"\"

        properties = (
            Property("results_directory", "directory", "./", "Directory used for writing results."),
            Property("initial_time", "double", "-Inf", "First time that is refined.", unit="s"),
        )

        def _run(self) -> None: ...

The module of a tool imports NumPy and everything heavier inside functions, so that ``print-xml`` and ``info``
stay quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .. import __version__
from ..errors import MissingFileError, NEM2EError, SetupError, did_you_mean
from ..log import audible, logger
from . import registry
from .properties import Property, SetupDocument, document_text, read_document, read_values

#: Names of OpenSim's own accessors that do not follow from the property's name (AbstractTool, InverseKinematicsTool).
_OPENSIM_ACCESSORS = {
    "model_file": ("ModelFilename",),
    "results_directory": ("ResultsDir",),
    "initial_time": ("StartTime",),
    "final_time": ("EndTime",),
}


class Tool:
    """A tool as OpenSim knows it: read from a setup file or built in code, then run.

    Every property of the table is an attribute (``tool.states_file``), and has OpenSim's accessors
    (``setStatesFile``, ``getStatesFile``; for a file also ``setStatesFileName``) as well as
    ``set_states_file`` and ``get_states_file``. Values are checked when they are set.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        A setup file to read. Relative paths in it are relative to its folder. Without it, all properties have
        their defaults, and relative paths are relative to the working directory.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        The setup file's faults, all of them.
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    """

    #: The element's name in a setup file; the class's name unless a subclass says otherwise.
    tool_name: ClassVar[str] = "Tool"
    #: The table.
    properties: ClassVar[tuple[Property, ...]] = ()

    _table: ClassVar[dict[str, Property]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "tool_name" not in cls.__dict__:
            cls.tool_name = cls.__name__
        table = {prop.name: prop for prop in cls.properties}
        if len(table) < len(cls.properties):
            raise TypeError(f"{cls.__name__}: two properties have the same name.")
        for name in table:
            if hasattr(Tool, name):
                raise TypeError(f"{cls.__name__}: a property may not be called '{name}'.")
        cls._table = table
        for prop in cls.properties:
            _add_accessors(cls, prop)

    def __init__(self, setup_file: str | os.PathLike[str] | None = None):
        self._name = ""
        self._setup_file: Path | None = None
        self._given: dict[str, Any] = {}
        if setup_file is not None:
            self._read(read_document(setup_file))

    def __repr__(self) -> str:
        parts = [f"name={self._name!r}"] if self._name else []
        if self._setup_file is not None:
            parts.append(f"setup_file={os.fspath(self._setup_file)!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __setattr__(self, name: str, value: Any) -> None:
        # A misspelt property must not become a new attribute that nobody reads.
        if not name.startswith("_") and not hasattr(type(self), name):
            raise self._no_attribute(name)
        super().__setattr__(name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name: str) -> Any:
            """Answer a misspelt name with the closest one."""
            raise self._no_attribute(name)

    # --- values ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The tool's name, which results files start with; empty if none was given."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        fault = _name_fault(value)
        if fault:
            raise SetupError(f"{self.tool_name}: {fault}")
        self._name = value.strip()

    def setName(self, value: str) -> None:
        """Set the tool's name, as in OpenSim.

        Parameters
        ----------
        value : str
            The name; it becomes part of file names.
        """
        self.name = value

    def getName(self) -> str:
        """Return the tool's name, as in OpenSim.

        Returns
        -------
        str
            The name.
        """
        return self._name

    @property
    def setup_file(self) -> Path | None:
        """The setup file that was read; None for a tool built in code."""
        return self._setup_file

    @property
    def base_directory(self) -> Path:
        """The folder that relative paths are relative to: the setup file's, or the working directory."""
        return Path.cwd() if self._setup_file is None else self._setup_file.parent

    def get(self, name: str) -> Any:
        """Return a property's value by name.

        Parameters
        ----------
        name : str
            The property.

        Returns
        -------
        bool, int, float, str or tuple
            The value that was given, or the default.
        """
        prop = self._property(name)
        return self._given.get(name, prop.default)

    def set(self, name: str, value: Any) -> None:
        """Set a property by name.

        Parameters
        ----------
        name : str
            The property.
        value : object
            The new value; see :meth:`opensim_nem2e.tools.properties.Property.convert`.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            The value is not acceptable.
        """
        prop = self._property(name)
        try:
            self._given[name] = prop.convert(value)
        except ValueError as error:
            raise SetupError(f"{self.tool_name}: <{name}> {error}") from None

    def is_set(self, name: str) -> bool:
        """Tell whether a property was given, in the setup file or in code, rather than left at its default.

        Parameters
        ----------
        name : str
            The property.

        Returns
        -------
        bool
            False also for an element that was left empty, as ``print-xml`` writes file names.
        """
        self._property(name)
        return name in self._given

    def values(self) -> dict[str, Any]:
        """Return all properties with their present values.

        Returns
        -------
        dict of str to object
            In the table's order.
        """
        return {name: self.get(name) for name in self._table}

    def resolve(self, name: str) -> Path | None:
        """Turn a file or directory property into a path that is valid from the working directory.

        Parameters
        ----------
        name : str
            The property.

        Returns
        -------
        pathlib.Path or None
            The absolute path; None if nothing was given, or if the property may be a bare name (no folder, no
            suffix) and no file of that name lies beside the setup file.
        """
        prop = self._property(name)
        if not prop.is_path:
            raise TypeError(f"{self.tool_name}: <{name}> is not a path.")
        value: str = self.get(name)
        if not value:
            return None
        path = _absolute(self.base_directory, value)
        if os.sep == "/" and "\\" in value and not path.exists():
            # Setup files made on Windows separate folders by backslashes.
            path = _absolute(self.base_directory, value.replace("\\", "/"))
        bare = not Path(value).suffix and not any(sign in value for sign in "/\\")
        if prop.may_be_name and bare and not path.is_file():
            return None
        return path

    # --- setup files -------------------------------------------------------------------------------------------

    @classmethod
    def default_xml(cls) -> str:
        """Write the default setup file, as ``print-xml`` does.

        Returns
        -------
        str
            The file's text.
        """
        return document_text(cls.tool_name, cls.properties, {prop.name: prop.default for prop in cls.properties})

    def to_xml(self) -> str:
        """Write the tool as a setup file, every value as it was given.

        Returns
        -------
        str
            The file's text.
        """
        return document_text(self.tool_name, self.properties, self.values(), self._name)

    def printToXML(self, path: str | os.PathLike[str]) -> bool:
        """Write the tool to a setup file, as in OpenSim: values are written as they were given.

        Relative paths therefore mean the new file's folder when it is read again.

        Parameters
        ----------
        path : str or os.PathLike
            The file; replaced if it exists.

        Returns
        -------
        bool
            True, as in OpenSim.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The file cannot be written.
        """
        write_text(path, self.to_xml())
        return True

    def effective_setup(
        self, directory: str | os.PathLike[str], resolved: Mapping[str, Any] | None = None, note: str = ""
    ) -> str:
        """Write the setup that a run really used, to be kept beside its results.

        Parameters
        ----------
        directory : str or os.PathLike
            The folder where the copy will lie. Paths are rewritten so that they are valid from there: relative
            ones stay relative if both folders share a parent other than the file system's root, and become
            absolute otherwise.
        resolved : mapping of str to object, optional
            Values that the run settled on in place of the ones given (a default that means "find out").
        note : str
            A comment at the head of the file; by default which version wrote it, and from which setup file.

        Returns
        -------
        str
            The file's text.
        """
        values = self.values()
        for name, prop in self._table.items():
            if not prop.is_path or not values[name] or (resolved is not None and name in resolved):
                continue
            path = self.resolve(name)
            if path is not None and not Path(values[name]).is_absolute():
                values[name] = path_seen_from(Path(directory), path, prop.type == "directory")
        for name, value in (resolved or {}).items():
            try:
                values[name] = self._property(name).convert(value)
            except ValueError as error:
                raise SetupError(f"{self.tool_name}: <{name}> {error}") from None
        if not note:
            origin = "built in code" if self._setup_file is None else f"read from '{self._setup_file}'"
            note = f"Written by opensim_nem2e {__version__}: the setup that was run, {origin}."
        return document_text(self.tool_name, self.properties, values, self._name, note)

    # --- running -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check what can only be checked once all values are known, before anything is computed.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            Everything that is wrong, at once.
        """
        faults = [
            f"<{prop.name}> must be given ({prop.allowed}), but nothing was found."
            for prop in self.properties
            if prop.required and self.get(prop.name) in ("", ())
        ]
        faults += self._check()
        if faults:
            if self._setup_file is None:
                faults = [f"{self.tool_name}: {fault}" for fault in faults]
            raise SetupError(faults, self._setup_file)

    def run(self) -> bool:
        """Run the tool. The working directory is never changed.

        Returns
        -------
        bool
            True; a failure is an exception.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            What went wrong, in words for the user.
        """
        from ..storage.atomic import require_writable

        self.check()
        # Hours may pass before the first result is written.
        for directory in self._writes_to():
            require_writable(directory)
        with audible():
            logger.info("Running tool %s.", self._name or self.tool_name)
            self._run()
        return True

    def _announce(self) -> None:
        """Say in the log which version of which tool this is."""
        logger.info("opensim_nem2e %s, %s %s.", __version__, self.tool_name, self._name or "without a name")

    def _check(self) -> list[str]:
        """Return the faults that concern several properties together. For subclasses."""
        return []

    def _writes_to(self) -> list[Path]:
        """Return the directories that a run writes to. For subclasses that write elsewhere, too."""
        if "results_directory" not in self._table:
            return []
        return [self.resolve("results_directory") or self.base_directory]

    def _run(self) -> None:
        """Do the work. For subclasses."""
        raise NotImplementedError(f"{type(self).__name__} must implement _run.")

    def _read(self, document: SetupDocument) -> Self:
        """Take over the values of a parsed setup file."""
        faults = list(document.faults)
        values: dict[str, Any] = {}
        name = ""
        element = document.tool
        if element is not None and element.tag != self.tool_name:
            line = f"line {element.sourceline}: "
            known = {entry.name for entry in registry.tools()}
            if element.tag in known:
                faults.append(f"{line}the tool must be {self.tool_name}, but {element.tag} was found.")
            else:
                faults.append(line + registry.unknown_tool(str(element.tag)))
        elif element is not None:
            values, name, inner = read_values(element, self.tool_name, self.properties)
            fault = _name_fault(name)
            if fault:
                inner.insert(0, f"line {element.sourceline}: <{element.tag}> {fault}")
            faults += inner
        if faults:
            raise SetupError(faults, document.path)
        self._given = values
        self._name = name
        self._setup_file = document.path.absolute()
        return self

    def _property(self, name: str) -> Property:
        if name not in self._table:
            raise SetupError(f"{self.tool_name} has no property '{name}'.{did_you_mean(name, self._table)}")
        return self._table[name]

    def _no_attribute(self, name: str) -> AttributeError:
        public = [known for known in dir(type(self)) if not known.startswith("_")]
        return AttributeError(f"{type(self).__name__} has no attribute '{name}'.{did_you_mean(name, public)}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        The file; replaced if it exists.
    text : str
        Its content, written as UTF-8 with plain line feeds.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The folder does not exist, is not writable, or ``path`` is a directory.
    """
    from ..storage.atomic import atomic_path

    final = Path(path)
    if final.is_dir():
        raise MissingFileError(f"{final}: a file name was expected, but this is a directory.")
    if not final.parent.is_dir():
        raise MissingFileError(f"{final}: the folder '{final.parent}' does not exist.")
    try:
        with atomic_path(final) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise NEM2EError(f"{final}: the file cannot be written: {error.strerror or error}.") from error


def _name_fault(name: object) -> str:
    from ..storage.file_names import name_fault

    if not isinstance(name, str):
        return f"name must be a text, but {name!r} was found."
    # The name becomes the start of file names: it must not lead out of the results directory.
    return name_fault(name, "name")


def _absolute(base: Path, value: str) -> Path:
    path = base.absolute() / value
    tidy = Path(os.path.normpath(path))
    # Where '..' follows a link, dropping the two together would lead elsewhere.
    return tidy if tidy.resolve() == path.resolve() else path


def path_seen_from(directory: Path, target: Path, is_directory: bool = False) -> str:
    """Write a path so that it is valid in a setup file that lies elsewhere.

    Parameters
    ----------
    directory : pathlib.Path
        Where the setup file lies.
    target : pathlib.Path
        What is named, as an absolute path.
    is_directory : bool
        Whether the target is a directory; then the result ends with a slash, as OpenSim writes it.

    Returns
    -------
    str
        Relative to ``directory`` if both share a parent other than the file system's root, else absolute.
    """
    folder = Path(os.path.normpath(directory.absolute()))
    try:
        common = Path(os.path.commonpath([folder, target]))
    except ValueError:
        # Two drives of Windows have nothing in common.
        return os.fspath(target)
    relative = os.path.relpath(target, folder)
    # A link on the way may make '..' lead elsewhere.
    same = (folder.resolve() / relative).resolve() == target.resolve()
    if common == Path(common.anchor) or not same:
        return os.fspath(target)
    relative = relative.replace(os.sep, "/")
    if is_directory:
        return "./" if relative == "." else f"{relative}/"
    return relative


def _add_accessors(cls: type[Tool], prop: Property) -> None:
    """Give a class the attribute and the accessors of one property."""
    text = prop.full_comment
    given = prop.name

    def getter(self: Tool) -> Any:
        return self.get(given)

    def setter(self: Tool, value: Any) -> None:
        self.set(given, value)

    setattr(cls, given, property(getter, setter, doc=f"{text} Default: {prop.show(prop.default)}"))
    camel = "".join(part.capitalize() for part in given.split("_"))
    endings = [f"_{given}", camel]
    if prop.type == "file":
        endings += [f"{camel}Name", f"{camel}name"] if camel.endswith("File") else [f"{camel}FileName"]
    endings += _OPENSIM_ACCESSORS.get(given, ())
    for ending in endings:
        _add_method(cls, f"get{ending}", getter, f"Return ``{given}``: {text}")
        _add_method(cls, f"set{ending}", setter, f"Set ``{given}``: {text}")


def _add_method(cls: type[Tool], name: str, function: Callable[..., Any], doc: str) -> None:
    def method(self: Tool, *arguments: Any) -> Any:
        return function(self, *arguments)

    method.__name__ = name
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    method.__doc__ = doc
    setattr(cls, name, method)
