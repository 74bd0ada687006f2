"""The base class of all tools: declared options and a run.

A tool declares its options as a dataclass (:mod:`opensim_nem2e.options`) and implements ``_run``::

    @dataclass(frozen=True)
    class WalkOptions(Options):
        results_directory: DirectoryPath = option("./", "Directory used for writing results.")
        initial_time: float = option(float("-inf"), "First time that is used.", unit="s")


    class WalkTool(Tool[WalkOptions]):
        def _run(self, run: ToolRun) -> None:
            run.files.path("walk.txt").write_text("done")

The log, the results directory and the setup that was run are the base class's affair. The module of a tool imports
NumPy and everything heavier inside functions, so that ``print-xml`` and ``info`` stay quick.
"""

from __future__ import annotations

import html
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin

from .. import __version__
from ..errors import MissingFileError, NEM2EError, SetupError, did_you_mean
from ..extras import explained, missing_packages, require_extras
from ..log import Recorder, audible, logger
from ..musculoskeletal.opensim.objects import is_opensim_object, write_object
from ..options import Element, Options, Property, Values, layout_of, option_at
from . import tool_registry as registry
from .properties import SetupDocument, attribute_faults, document_text, in_brackets, read_document, read_values
from .results import Result, html_table, installed_versions

if TYPE_CHECKING:
    from ..storage.atomic import ResultFiles

#: Names of OpenSim's own accessors that do not follow from the property's name (AbstractTool, InverseKinematicsTool).
_OPENSIM_ACCESSORS = {
    "model_file": ("ModelFilename",),
    "results_directory": ("ResultsDir",),
    "initial_time": ("StartTime",),
    "final_time": ("EndTime",),
}

#: How the name of the setup that was run ends, and how that file begins.
_EFFECTIVE_SETUP, _WRITTEN_BY_A_RUN = "_effective_setup.xml", "Written by opensim_nem2e"

#: The packages that decide the numbers.
_DECISIVE = ("numpy", "scipy", "pandas", "safetensors", "torch", "opensim")

Declared = TypeVar("Declared", bound=Options)


@dataclass
class ToolRun:
    """One run of a tool, while it lasts.

    Parameters
    ----------
    files : ResultFiles
        The results, which all appear when the run ends without an error.
    name : str
        What their names begin with: the tool's name, or the one that it has where none was given.
    tool : Tool
        The tool as it is run, whose setup is kept with the results.
    resolved : dict of str to object
        Values that the run settled on in place of the ones given (a default that means "find out"), for that setup.
    keep_failed : bool
        Whether results, setup and log are also kept of a run that fails or is interrupted from here on.
    warnings : list of str
        What the log has warned of so far.
    provenance : dict of str to str
        Versions of packages, for the heads of files, for results and errors; see :meth:`uses`.
    details : dict of str to object
        What the tool's class of results holds beside files.
    written_later : list of pathlib.Path
        Files that actions of :meth:`afterwards` have written.
    """

    files: ResultFiles
    name: str
    tool: Tool[Any]
    resolved: dict[str, Any] = field(default_factory=dict)
    keep_failed: bool = False
    warnings: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    written_later: list[Path] = field(default_factory=list)
    _afterwards: list[Callable[[], object]] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """The results directory."""
        return self.files.directory

    def uses(self, bundle: str, sha256: str) -> None:
        """Say which bundle the results rest on: the heads of files, results and errors name it.

        Parameters
        ----------
        bundle : str
            Its name.
        sha256 : str
            The hash of its file.
        """
        self.provenance.update(bundle=bundle, bundle_sha256=sha256)

    def made_by(self) -> str:
        """Say what made the results, for the heads of files.

        Returns
        -------
        str
            Package, version and bundle.
        """
        about = self.provenance
        bundle = f", {about['bundle']} {about['bundle_sha256'][:12]}" if about.get("bundle") else ""
        return f"opensim_nem2e {__version__}{bundle}"

    def path(self, final: Path) -> Path:
        """Name the file to write for a result that may have been asked for in another directory.

        Parameters
        ----------
        final : pathlib.Path
            Its final name.

        Returns
        -------
        pathlib.Path
            In the results directory a temporary name, and the file appears with all others; elsewhere ``final``.
        """
        return self.files.path(final.name) if final.parent == self.directory else final

    def afterwards(self, action: Callable[[], object]) -> None:
        """Do something once all results are there.

        Parameters
        ----------
        action : callable
            What to do; a path that it returns is a file of the run, too.
        """
        self._afterwards.append(action)


class Tool(Generic[Declared]):
    """A tool as OpenSim knows it: read from a setup file or built in code, then run.

    Every option is an attribute (``tool.states_file``), and has OpenSim's accessors (``setStatesFile``,
    ``getStatesFile``; for a file also ``setStatesFileName``) as well as ``set_states_file`` and ``get_states_file``.
    Values are checked when they are set. An option in an element of its own is ``STDRNet.hidden_units`` for
    :meth:`get` and :meth:`set`; see also :meth:`group` and :meth:`set_group`.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        A setup file to read. Relative paths in it are relative to its folder. Without it, all properties have
        their defaults, and relative paths are relative to the working directory.
    name : str
        The tool's name, in place of the setup file's.
    **values : object
        Values of options, in place of the setup file's.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        The setup file's faults, all of them, or a value that is not acceptable.
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    """

    #: The element's name in a setup file; the class's name unless a subclass says otherwise.
    tool_name: ClassVar[str] = "Tool"
    #: What results are called where the tool has no name; empty: as the tool's class.
    results_name: ClassVar[str] = ""
    #: What a run may leave behind, after its name; of what this one does not write, an earlier run's is pointed out.
    result_endings: ClassVar[tuple[str, ...]] = ()
    #: What the tool's command takes without a flag, in this order; the last may be a list.
    main_inputs: ClassVar[tuple[str, ...]] = ()
    #: What :attr:`result` is.
    result_class: ClassVar[type[Result]] = Result
    #: The declared options.
    declaration: ClassVar[type[Options]] = Options
    #: The options that stand in no element of their own.
    properties: ClassVar[tuple[Property, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "tool_name" not in cls.__dict__:
            cls.tool_name = cls.__name__
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Tool:
                (cls.declaration,) = get_args(base)
        layout = layout_of(cls.declaration)
        cls.properties = layout.properties
        for name in [row.name for row in layout.rows] + list(layout.old_names):
            if hasattr(Tool, name):
                raise TypeError(f"{cls.__name__}: a property may not be called '{name}'.")
        for prop in cls.properties:
            _add_accessors(cls, prop.name, prop, f"{prop.full_comment} Default: {prop.show(prop.default)}")
        for old, path in layout.old_names.items():
            _add_accessors(cls, old, option_at(cls.declaration, path), f"The old name of ``{'.'.join(path)}``.")

    def __init__(self, setup_file: str | os.PathLike[str] | None = None, *, name: str | None = None, **values: Any):
        self._name = ""
        self._setup_file: Path | None = None
        self._values = Values(self.declaration, self.tool_name)
        self._notes: dict[str, None] = {}
        self._from_command_line: dict[str, None] = {}
        self._objects: dict[str, Path] = {}
        self._folder: TemporaryDirectory[str] | None = None
        self._result: Result | None = None
        if setup_file is not None:
            self._read(read_document(setup_file))
        if name is not None:
            self.name = name
        for option, value in values.items():
            self.set(option, value)

    def __repr__(self) -> str:
        parts = [f"name={self._name!r}"] if self._name else []
        if self._setup_file is not None:
            parts.append(f"setup_file={os.fspath(self._setup_file)!r}")
        else:
            parts += [f"{name}={value!r}" for name, value in self._values.given.items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _repr_html_(self) -> str:
        rows = {prop.name: prop.show(self.get(prop.name)) for prop in self.properties if self.is_set(prop.name)}
        title = f"<b>{html.escape(self._name or 'without a name')}</b>, {self.tool_name}"
        rest = f"<p>All other properties have their defaults: <code>opensim-nem2e info {self.tool_name}</code>.</p>"
        return title + html_table(rows) + rest

    if not TYPE_CHECKING:
        # Hidden from type checkers, which would take them for leave to use any name.

        def __setattr__(self, name: str, value: Any) -> None:
            # A misspelt property must not become a new attribute that nobody reads.
            if not name.startswith("_") and not hasattr(type(self), name):
                raise self._no_attribute(name)
            super().__setattr__(name, value)

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

    @property
    def results_folder(self) -> Path:
        """Where results are written: ``results_directory``, or the base directory; it need not exist."""
        has = any(prop.name == "results_directory" for prop in self.properties)
        return (self.resolve("results_directory") if has else None) or self.base_directory

    @classmethod
    def group_names(cls) -> Iterable[str]:
        """Name the elements that :meth:`group_options` knows, for ``info`` and "did you mean".

        Returns
        -------
        iterable of str
            Elements that are not part of the declaration.
        """
        return ()

    @classmethod
    def group_options(cls, element_name: str) -> type[Options] | None:
        """Find the declaration of an element of options that is known at run time only.

        Parameters
        ----------
        element_name : str
            The element's name in a setup file.

        Returns
        -------
        type or None
            A dataclass of options; None if there is no such element.
        """
        return None

    def options(self) -> Declared:
        """Return the present values of all declared options.

        Returns
        -------
        Options
            An instance of the tool's dataclass.
        """
        options: Declared = self._values.options()
        return options

    def group(self, element_name: str) -> Any:
        """Return the present values of an element of options.

        Parameters
        ----------
        element_name : str
            The element.

        Returns
        -------
        Options
            An instance of its dataclass.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            The tool has no such element.
        """
        return self._element(element_name)[0].options()

    def set_group(self, element_name: str, options: Options | None = None, **values: Any) -> None:
        """Set options of an element.

        Parameters
        ----------
        element_name : str
            The element.
        options : Options, optional
            An instance of its dataclass, of which the values count that are no defaults.
        **values : object
            Single values.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            The tool has no such element, or a value is not acceptable.
        """
        element, known = self._element(element_name)
        if options is not None:
            if not isinstance(options, element.declaration):
                raise SetupError(
                    f"{element.owner} takes {element.declaration.__name__}, but {type(options).__name__} was found."
                )
            preset = getattr(options, "preset", "") if options.presets else ""
            if preset:
                element.set("preset", preset)
            unchanged = type(options).of_preset(preset)
            for prop in layout_of(element.declaration).own:
                if getattr(options, prop.name) != getattr(unchanged, prop.name):
                    element.set(prop.name, getattr(options, prop.name))
        for name, value in values.items():
            element.set(name, value)
        if not known:
            self._values.elements[element_name] = element

    def groups_given(self) -> tuple[str, ...]:
        """Name the elements of options that are known at run time only and were given.

        Returns
        -------
        tuple of str
            Their names, in the order in which they were given.
        """
        declared = {element.name for element in layout_of(self.declaration).elements}
        return tuple(name for name in self._values.elements if name not in declared)

    def get(self, name: str) -> Any:
        """Return an option's value by name.

        Parameters
        ----------
        name : str
            The option; one in an element as ``element.option``.

        Returns
        -------
        bool, int, float, str, tuple or None
            The value that was given, or the default.
        """
        values, own = self._holder(name)
        return values.get(own)

    def set(self, name: str, value: Any) -> None:
        """Set an option by name.

        Parameters
        ----------
        name : str
            The option; one in an element as ``element.option``.
        value : object
            The new value; see :meth:`opensim_nem2e.options.Property.convert`.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            The value is not acceptable.
        """
        values, own = self._holder(name)
        self._objects.pop(own, None)
        if is_opensim_object(value) and values.property(own).is_path:
            value = self._objects[own] = self._as_file(own, value)
        values.set(own, value)
        if "." in name:
            self._values.elements.setdefault(name.split(".")[0], values)

    def set_text(self, name: str, text: str | Sequence[str]) -> None:
        """Set an option from a command line: as a setup file writes it, but a path is seen from the working directory.

        Names in lists of files are left as they are: a pipeline's, say, are relative to the trials' folders.

        Parameters
        ----------
        name : str
            The option; one in an element as ``element.option``.
        text : str or sequence of str
            Its value; a sequence is a list, word by word.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            There is no such option, or the text is no value of its.
        """
        values, own = self._holder(name)
        prop = values.property(own)
        try:
            value = prop.parse(text if isinstance(text, str) else prop.format(tuple(text)))
        except ValueError as error:
            raise SetupError(f"{values.owner}: <{own}> {error}") from None
        if prop.is_path:
            value = self._seen_from_here(prop, value)
        self.set(name, value)
        self._from_command_line[name] = None

    def _seen_from_here(self, prop: Property, value: str) -> str:
        """Turn a path that is seen from the working directory into one that is seen from the setup file."""
        if (
            not value
            or self._setup_file is None
            or (prop.may_be_name and _is_bare(value) and not Path(value).is_file())
        ):
            return value
        return path_seen_from(self.base_directory, Path.cwd() / value)

    def _as_file(self, name: str, value: Any) -> Path:
        """Write one of OpenSim's objects to a file, which a run keeps beside its results."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="opensim_nem2e_")
        return write_object(value, Path(self._folder.name), name.removesuffix("_file"))

    def is_set(self, name: str) -> bool:
        """Tell whether an option was given, in the setup file or in code, rather than left at its default.

        Parameters
        ----------
        name : str
            The option; one in an element as ``element.option``.

        Returns
        -------
        bool
            False also for an element that was left empty, as ``print-xml`` writes file names.
        """
        values, own = self._holder(name)
        values.property(own)
        return own in values.given

    def values(self) -> dict[str, Any]:
        """Return all options with their present values.

        Returns
        -------
        dict of str to object
            In the declaration's order; those of an element are a dict of their own.
        """
        return self._values.as_dict()

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
        values, own = self._holder(name)
        prop = values.property(own)
        if not prop.is_path:
            raise TypeError(f"{values.owner}: <{own}> is not a path.")
        return self._resolve(prop, values.get(own))

    def _resolve(self, prop: Property, value: str) -> Path | None:
        if not value:
            return None
        path = _absolute(self.base_directory, value)
        if os.sep == "/" and "\\" in value and not path.exists():
            # Setup files made on Windows separate folders by backslashes.
            path = _absolute(self.base_directory, value.replace("\\", "/"))
        if prop.may_be_name and _is_bare(value) and not path.is_file():
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
        values = Values(cls.declaration, cls.tool_name)
        return document_text(cls.tool_name, values.rows, values.as_dict())

    def to_xml(self) -> str:
        """Write the tool as a setup file, every value as it was given.

        Returns
        -------
        str
            The file's text.
        """
        return document_text(self.tool_name, self._values.rows, self.values(), self._name)

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
        old_names = layout_of(self.declaration).old_names
        placed: dict[str, Any] = {}
        for name, value in (resolved or {}).items():
            *elements, own = old_names.get(name, (name,))
            inner = placed
            for element in elements:
                inner = inner.setdefault(element, {})
            inner[own] = value
        values = self._seen_from(Path(directory), self._values, placed)
        if not note:
            origin = self._origin()
            note = f"{_WRITTEN_BY_A_RUN} {__version__}: the setup that was run, {origin}."
        return document_text(self.tool_name, self._values.rows, values, self._name, note)

    def _origin(self) -> str:
        """Say where the setup comes from."""
        given = ", ".join(self._from_command_line)
        if self._setup_file is None:
            return "given on the command line" if given else "built in code"
        return f"read from '{self._setup_file}'" + (f", with {given} from the command line" if given else "")

    def _seen_from(self, directory: Path, values: Values, resolved: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as a setup file in another folder states them."""
        seen: dict[str, Any] = {}
        for row in values.rows:
            if isinstance(row, Element):
                seen[row.name] = self._seen_from(directory, values.elements[row.name], resolved.get(row.name, {}))
                continue
            value = values.get(row.name)
            if row.is_path and row.name not in resolved and value and not Path(value).is_absolute():
                path = self._resolve(row, value)
                value = value if path is None else path_seen_from(directory, path, row.type == "directory")
            seen[row.name] = value
        for name, value in resolved.items():
            if name in values.elements:
                continue
            try:
                seen[name] = values.property(name).convert(value)
            except ValueError as error:
                raise SetupError(f"{values.owner}: <{name}> {error}") from None
        return seen

    # --- running -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check what can only be checked once all values are known, before anything is computed.

        Raises
        ------
        opensim_nem2e.errors.SetupError
            Everything that is wrong, at once.
        """
        faults = self._values.faults() + self._check()
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
        from ..storage.atomic import ResultFiles, require_writable
        from ..storage.header import written_by

        self.check()
        self._require_inputs()
        require_extras(self._extras())
        # Hours may pass before the first result is written.
        for directory in self._writes_to():
            require_writable(directory)
        recorder = Recorder()
        run = ToolRun(
            ResultFiles(self.results_folder),
            self._name or self.results_name or self.tool_name,
            self,
            warnings=recorder.warnings,
            provenance=installed_versions(_DECISIVE),
        )
        self._result = None
        with audible(), written_by(run.made_by):
            try:
                with recorder.listening():
                    named = f" {self._name}" if self._name else ""
                    logger.info("Running %s%s (opensim_nem2e %s).", self.tool_name, named, __version__)
                    logger.debug("The setup was %s.", self._origin())
                    logger.debug("Versions: %s.", ", ".join(f"{name} {text}" for name, text in run.provenance.items()))
                    for note in self._notes:
                        logger.info("%s", note)
                    self._carry_out(run, recorder)
            except Exception as error:
                known = explained(error) if isinstance(error, ImportError) else None
                failure: Any = known or error
                with suppress(AttributeError):
                    failure.provenance, failure.run_log = run.provenance, recorder.text
                if known is None:
                    raise
                raise known from error
            report = next((path.name for path in run.files.finals if path.name.endswith("_report.html")), None)
            logger.info("Results are in '%s'.%s", run.directory, f" Open {report} first." if report else "")
        self._result = self.result_class(
            self.tool_name,
            run.name,
            run.directory,
            (*run.files.finals, *run.written_later),
            run.provenance,
            tuple(run.warnings),
            **run.details,
        )
        return True

    @property
    def result(self) -> Result:
        """What the last run came to.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The tool has not been run, or its run failed.
        """
        if self._result is None:
            raise NEM2EError(f"{self.tool_name} has no result yet: run() makes it.")
        return self._result

    def _carry_out(self, run: ToolRun, recorder: Recorder) -> None:
        """Do the work, and write its setup and its log with the results: all of them, or none."""
        failure: BaseException | None = None
        with run.files:
            try:
                self._run(run)
            except BaseException as error:
                if not run.keep_failed:
                    raise
                failure = error
            with run.files.own_names():
                _finish(run, recorder)
        if failure is not None:
            raise failure
        for action in run._afterwards:
            made = action()
            if isinstance(made, Path):
                run.written_later.append(made)

    def _require_inputs(self) -> None:
        """Name all input files that are missing; of a single one its reader knows more to say."""
        missing = []
        for prop in self.properties:
            path = self.resolve(prop.name) if prop.type == "file" and not prop.written else None
            if path is not None and not path.exists():
                missing.append(f"  - <{prop.name}>: there is no file '{path}'.")
        if len(missing) > 1:
            raise MissingFileError("\n".join([f"{len(missing)} input files are missing:", *missing]))

    def _check(self) -> list[str]:
        """Return the faults that concern several properties together. For subclasses."""
        return []

    def _repeated(self, *names: str) -> list[str]:
        """Return the faults of lists that name something twice."""
        return [
            f"<{name}> must name each only once, but '{entry}' occurs twice."
            for name in names
            for entry, count in sorted(Counter(self.get(name)).items())
            if count > 1
        ]

    def _extras(self) -> list[str]:
        """Name the optional packages that a run needs (:mod:`opensim_nem2e.extras`). For subclasses."""
        return []

    def _draws_figures(self) -> bool:
        """Tell whether ``write_figures`` can be followed: where nobody has asked for figures, a run goes on without."""
        if not self.get("write_figures"):
            return False
        if missing_packages("report") and not self.is_set("write_figures"):
            logger.warning('No figures are drawn: install Matplotlib by pip install "opensim-nem2e[report]".')
            return False
        return True

    def _spare_inputs(self, name: str, more: Iterable[Path | None] = ()) -> None:
        """Never let a result replace the file it was made from: this setup's files, or ``more`` that were found.

        The setup that an earlier run of this name left may be run again: it is written anew.
        """
        given = (self.resolve(prop.name) for prop in self.properties if prop.type == "file")
        inputs = {path.resolve() for path in (self.setup_file, *given, *more) if path is not None}
        for ending in self.result_endings:
            result = self.results_folder / f"{name}{ending}"
            if result.resolve() not in inputs:
                continue
            if ending == _EFFECTIVE_SETUP and f"<!--{_WRITTEN_BY_A_RUN}".encode() in result.read_bytes()[:500]:
                continue
            raise SetupError(
                f"The result '{result}' would replace an input file. Give the tool another name "
                f'(<{self.tool_name} name="...">) or another <results_directory>.',
                self.setup_file,
            )

    def _writes_to(self) -> list[Path]:
        """Return the directories that a run writes to. For subclasses that write elsewhere, too."""
        return [self.results_folder]

    def _run(self, run: ToolRun) -> None:
        """Do the work, and write what it comes to into the run's files. For subclasses."""
        raise NotImplementedError(f"{type(self).__name__} must implement _run.")

    def _read(self, document: SetupDocument) -> Self:
        """Take over the values of a parsed setup file."""
        faults = list(document.faults)
        values = Values(self.declaration, self.tool_name)
        notes: list[str] = []
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
            name = (element.get("name") or "").strip()
            inner = attribute_faults(element, ("name",))
            inner += read_values(element, values, self.tool_name, notes.append, self.group_options, self.group_names)
            fault = _name_fault(name)
            if fault:
                inner.insert(0, f"line {element.sourceline}: <{element.tag}> {fault}")
            faults += inner
        if faults:
            raise SetupError(faults, document.path)
        self._values = values
        for old in notes:
            self._note(old)
        self._name = name
        self._setup_file = document.path.absolute()
        return self

    def _property(self, name: str) -> Property:
        values, own = self._holder(name)
        return values.property(own)

    def _holder(self, name: str) -> tuple[Values, str]:
        """Find the values that hold an option, and the option's own name; an old name is noted."""
        path = layout_of(self.declaration).old_names.get(name)
        if path is None:
            path = tuple(name.split("."))
        else:
            self._note(name)
        values = self._values
        for depth, element in enumerate(path[:-1]):
            values = values.elements[element] if depth else self._element(element)[0]
        return values, path[-1]

    def _element(self, name: str) -> tuple[Values, bool]:
        """Find the values of an element, and tell whether they are part of the tool's already."""
        if name in self._values.elements:
            return self._values.elements[name], True
        declaration = self.group_options(name)
        if declaration is None:
            known = [*self._values.elements, *self.group_names()]
            raise SetupError(f"{self.tool_name} has no element '{name}'.{did_you_mean(name, known)}")
        return Values(declaration, f"{self.tool_name}: <{name}>"), False

    def _note(self, old: str) -> None:
        """Remember that an old name was used; the next run's log says so once."""
        path = layout_of(self.declaration).old_names[old]
        self._notes[f"<{old}> is now {in_brackets(path)}; the old name is still understood."] = None

    def _no_attribute(self, name: str) -> AttributeError:
        public = [known for known in dir(type(self)) if not known.startswith("_")]
        return AttributeError(f"{type(self).__name__} has no attribute '{name}'.{did_you_mean(name, public)}")


def _finish(run: ToolRun, recorder: Recorder) -> None:
    """Write the setup that was run, and the log, which is the last file."""
    for name, file in run.tool._objects.items():
        kept = f"{run.name}_input_{name.removesuffix('_file')}{file.suffix}"
        shutil.copyfile(file, run.files.path(kept))
        run.resolved[name] = kept
    setup = run.tool.effective_setup(run.directory, run.resolved)
    write_text(run.files.path(f"{run.name}{_EFFECTIVE_SETUP}"), setup)
    for path in run.files.finals:
        # The scripts for MATLAB and the GUI look for these lines.
        logger.debug("Writing '%s'.", path)
    log = f"{run.name}.log"
    for ending in run.tool.result_endings:
        path = run.directory / f"{run.name}{ending}"
        if path.exists() and path not in run.files.finals and path.name != log:
            logger.warning("'%s' is of an earlier run: this one did not write such a file.", path)
    write_text(run.files.path(log), recorder.text)


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


def _is_bare(value: str) -> bool:
    """Tell whether a value may be the name of something that ships with the package."""
    return not Path(value).suffix and not any(sign in value for sign in "/\\")


def _absolute(base: Path, value: str) -> Path:
    from ..storage.file_names import tidy_path

    return tidy_path(base.absolute() / value)


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


def accessor_endings(name: str, kind: str) -> list[str]:
    """Say what the accessors of an option are called, after ``get`` and ``set``.

    Parameters
    ----------
    name : str
        The option's name, or an old one.
    kind : str
        Its type; see :class:`opensim_nem2e.options.Property`.

    Returns
    -------
    list of str
        Such as ``_states_file``, ``StatesFile`` and ``StatesFileName``.
    """
    camel = "".join(part.capitalize() for part in name.split("_"))
    endings = [f"_{name}", camel]
    if kind == "file":
        endings += [f"{camel}Name", f"{camel}name"] if camel.endswith("File") else [f"{camel}FileName"]
    return list(dict.fromkeys([*endings, *_OPENSIM_ACCESSORS.get(name, ())]))


def _add_accessors(cls: type[Tool[Any]], name: str, prop: Property, doc: str) -> None:
    """Give a class the attribute and the accessors of one option."""
    text = prop.full_comment if name == prop.name else doc

    def getter(self: Tool[Any]) -> Any:
        return self.get(name)

    def setter(self: Tool[Any], value: Any) -> None:
        self.set(name, value)

    setattr(cls, name, property(getter, setter, doc=doc))
    for ending in accessor_endings(name, prop.type):
        # The accessor of an old name may be one of the new name, too (InitialBundleFileName).
        if f"get{ending}" not in cls.__dict__:
            _add_method(cls, f"get{ending}", getter, f"Return ``{name}``: {text}")
            _add_method(cls, f"set{ending}", setter, f"Set ``{name}``: {text}")


def _add_method(cls: type[Tool[Any]], name: str, function: Callable[..., Any], doc: str) -> None:
    def method(self: Tool[Any], *arguments: Any) -> Any:
        return function(self, *arguments)

    method.__name__ = name
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    method.__doc__ = doc
    setattr(cls, name, method)
