"""What a setup file of an OpenSim tool reads and writes.

Seen from outside the tool: which tool it is, which files it names, and which results will bear its name. Nothing is
interpreted beyond that, so the file may be of any version.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from ..errors import SetupError, did_you_mean
from .header import read_number
from .safe_xml import is_file, parse_xml

#: What OpenSim and subjects write for a file that is not given.
_NO_FILE = ("", "unassigned", "n/a", "none")

_FILE = re.compile(r"(_files?|datafile|data_source_name)$", re.IGNORECASE)
_OUTPUT = re.compile(r"^output_")
#: Files that may also be the name of something that ships with the package.
_MAY_BE_NAME = ("bundle_file", "network_file", "initial_bundle_file")
#: Tools that need no model.
_MODEL_IS_OPTIONAL = ("GaitEventsTool", "STDRRefineTool")
_NAMED_RESULTS = {("GaitEventsTool", "events_file")}
_IN_RESULTS = re.compile(r"^output_(gen_force|body_forces)")
#: Files that files name: only ground reactions do, and only the data matter.
_NESTED = re.compile(r"^(datafile|data_source_name)$", re.IGNORECASE)


@dataclass(frozen=True)
class NamedFile:
    """A file that a setup file names.

    Parameters
    ----------
    element : str
        The element that names it, such as ``model_file``.
    path : pathlib.Path
        Where it is, absolute.
    line : int
        The element's line.
    source : pathlib.Path
        The file in which it is named: the setup file, or the external loads that this names.
    """

    element: str
    path: Path
    line: int
    source: Path


@dataclass(frozen=True)
class OpenSimSetup:
    """A setup file of a tool.

    Parameters
    ----------
    path : pathlib.Path
        The file, absolute.
    tool : str
        Class of the tool, such as ``CMCTool``.
    name : str
        Its name, which results begin with; may be empty.
    results_directory : pathlib.Path
        Where it writes, absolute.
    inputs : tuple of NamedFile
        Files that it reads, those that its external loads name included, whether they exist or not.
    outputs : tuple of NamedFile
        Files that it writes under names of their own, such as a scaled model.
    analyses : tuple of tuple of str
        Class and name of the analyses that it makes on the way, such as ``StaticOptimization``; both the tool's and
        the analysis's name are in the names of their results.
    traps : tuple of str
        What is in it, or lacks, with which OpenSim 4.6 is known to fail without saying why.
    initial_time, final_time : float
        The time that it covers (s); infinite where it does not say.
    """

    path: Path
    tool: str
    name: str
    results_directory: Path
    inputs: tuple[NamedFile, ...]
    outputs: tuple[NamedFile, ...]
    analyses: tuple[tuple[str, str], ...] = ()
    traps: tuple[str, ...] = ()
    initial_time: float = -math.inf
    final_time: float = math.inf

    def writes(self, path: Path) -> bool:
        """Tell whether a file is one of this tool's results.

        Parameters
        ----------
        path : pathlib.Path
            The file, absolute.

        Returns
        -------
        bool
            Whether it is named as one, or lies in the results directory under the tool's name.
        """
        if any(output.path == path for output in self.outputs):
            return True
        return bool(self.name) and path.parent == self.results_directory and path.name.startswith(f"{self.name}_")


def find_tool(root: etree._Element, known: Collection[str]) -> etree._Element | None:
    """Find the tool in a setup file.

    Parameters
    ----------
    root : lxml.etree._Element
        The document's root; OpenSim before 2.0 wrote the tool itself.
    known : collection of str
        The tools' classes.

    Returns
    -------
    lxml.etree._Element or None
        The first one.
    """
    return next((element for element in (root, *_elements(root)) if element.tag in known), None)


def read_opensim_setup(path: str | os.PathLike[str], known: Collection[str]) -> OpenSimSetup:
    """Read what a setup file says about files.

    Parameters
    ----------
    path : str or os.PathLike
        The setup file.
    known : collection of str
        The classes of tools that it may hold.

    Returns
    -------
    OpenSimSetup
        Its tool and files. Relative paths are relative to the setup file's folder.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        It is no XML, or holds no known tool.
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    """
    setup = Path(path).absolute()
    root = parse_xml(setup).getroot()
    tool = find_tool(root, known)
    if tool is None:
        found = [str(element.tag) for element in _elements(root) if element.tag != "defaults"]
        what = f"holds '{found[0]}'" if found else "holds no tool"
        hint = did_you_mean(found[0], known) if found else ""
        raise SetupError(f"A tool is needed ({', '.join(sorted(known))}), but the file {what}.{hint}", setup)
    results = _absolute(setup.parent, (tool.findtext("results_directory") or "").strip() or ".")
    outputs = [
        NamedFile(str(element.tag), final, element.sourceline or 0, setup)
        for element, final in output_elements(tool, setup.parent, results)
    ]
    inputs: list[NamedFile] = []
    for element, name, text in _file_elements(tool):
        if not _is_output(tool, name):
            for single in _paths(setup.parent, name, text):
                named = NamedFile(name, single, element.sourceline or 0, setup)
                inputs += [named, *_nested(named)]
    unique = {(item.path, item.element): item for item in inputs}
    name = (tool.get("name") or "").strip()
    analyses = tuple(
        (str(element.tag), (element.get("name") or "").strip())
        for element in tool.iterfind("AnalysisSet/objects/*")
        if _is_on(element)
    )
    return OpenSimSetup(
        setup,
        str(tool.tag),
        name,
        results,
        tuple(unique.values()),
        tuple(outputs),
        analyses,
        tuple(_traps(tool)),
        _number(tool, "initial_time", -math.inf),
        _number(tool, "final_time", math.inf),
    )


def _number(tool: etree._Element, element: str, default: float) -> float:
    value = read_number((tool.findtext(element) or "").strip().encode())
    return default if value is None or math.isnan(value) else value


def _is_on(element: etree._Element, flag: str = "on") -> bool:
    return (element.findtext(flag) or "true").strip() == "true"


def _traps(tool: etree._Element) -> Iterator[str]:
    model = next(tool.iter("model_file"), None)
    if tool.tag not in _MODEL_IS_OPTIONAL and (model is None or (model.text or "").strip().lower() in _NO_FILE):
        line = (tool if model is None else model).sourceline
        yield f"line {line}: no model is named: <model_file> must be the name of an .osim file."
    for analysis in tool.iter("MuscleAnalysis"):
        coordinates = analysis.find("moment_arm_coordinate_list")
        if (
            _is_on(analysis)
            and _is_on(analysis, "compute_moments")
            and coordinates is not None
            and not (coordinates.text or "").strip()
        ):
            yield (
                f"line {coordinates.sourceline}: the <moment_arm_coordinate_list> of its MuscleAnalysis is empty, with "
                "which OpenSim 4.6 ends with std::bad_alloc; it must be 'all' or names of coordinates (knee_angle_r), "
                "or <compute_moments> false."
            )


def output_elements(tool: etree._Element, folder: Path, results: Path) -> list[tuple[etree._Element, Path]]:
    """Find the elements that name a result.

    Parameters
    ----------
    tool : lxml.etree._Element
        The tool's element.
    folder, results : pathlib.Path
        Folder of the setup file, and results directory.

    Returns
    -------
    list of tuple
        Each element, and the absolute path that it means.
    """
    return [
        (element, _absolute(results if in_results_directory(element) else folder, text))
        for element, name, text in _file_elements(tool)
        if _is_output(tool, name)
    ]


def in_results_directory(element: etree._Element) -> bool:
    """Tell whether the result that an element names lies in the results directory.

    Parameters
    ----------
    element : lxml.etree._Element
        An element that names a result.

    Returns
    -------
    bool
        True for what inverse dynamics writes; other named results lie relative to the setup file.
    """
    return _IN_RESULTS.match(str(element.tag)) is not None


def _is_output(tool: etree._Element, name: str) -> bool:
    return _OUTPUT.match(name) is not None or (tool.tag, name) in _NAMED_RESULTS


def _elements(root: etree._Element) -> Iterator[etree._Element]:
    return (child for child in root if isinstance(child.tag, str))


def _file_elements(tool: etree._Element) -> Iterator[tuple[etree._Element, str, str]]:
    """Yield the elements that name a file; an object may also be kept in a file of its own (attribute ``file``)."""
    for element in tool.iter():
        if not isinstance(element.tag, str):
            continue
        name, text = element.tag, (element.text or "").strip()
        if element.get("file"):
            name, text = element.tag, (element.get("file") or "").strip()
        elif not _FILE.search(name) or len(element):
            continue
        is_name = name in _MAY_BE_NAME and not re.search(r"[./\\]", text)
        if text.lower() not in _NO_FILE and not is_name:
            yield element, name, text


def _paths(folder: Path, name: str, text: str) -> list[Path]:
    whole = _absolute(folder, text)
    # Lists are separated by spaces, and a single path may hold some.
    if not name.endswith("_files") or is_file(whole):
        return [whole]
    return [_absolute(folder, part) for part in text.split()]


def _nested(named: NamedFile) -> Iterator[NamedFile]:
    if named.path.suffix.lower() != ".xml" or not is_file(named.path):
        return
    try:
        root = parse_xml(named.path).getroot()
    except SetupError:
        # Whoever reads it says so.
        return
    for element, name, text in _file_elements(root):
        if not _NESTED.match(name):
            continue
        path = _absolute(named.path.parent, text)
        if not is_file(path) and is_file(named.source.parent / text):
            # OpenSim looks there, too.
            path = _absolute(named.source.parent, text)
        yield NamedFile(name, path, element.sourceline or 0, named.path)


def _absolute(folder: Path, text: str) -> Path:
    path = Path(os.path.normpath(folder / text))
    if os.sep == "/" and "\\" in text and not is_file(path):
        # Setup files made on Windows separate folders by backslashes.
        path = Path(os.path.normpath(folder / text.replace("\\", "/")))
    return path
