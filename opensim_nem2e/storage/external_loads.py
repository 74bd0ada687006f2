"""Read an ExternalLoads file: which measured force acts on which body."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from ..errors import MissingFileError, SetupError, locate
from ..log import logger
from .file_names import tidy_path
from .safe_xml import is_file, parse_xml

#: What OpenSim writes for a name that is not set.
_UNASSIGNED = ("", "unassigned", "n/a")


@dataclass(frozen=True)
class ExternalForce:
    """One measured force.

    Parameters
    ----------
    name : str
        Its name.
    applied_to_body : str
        The body, for example "calcn_r".
    force_identifier, point_identifier, torque_identifier : str
        What the labels of its columns begin with: "ground_force_v" for "ground_force_vx", "ground_force_vy" (vertical
        in OpenSim), "ground_force_vz". Empty when not given.
    data_file : pathlib.Path
        The storage file that holds the columns; it exists.
    force_expressed_in_body, point_expressed_in_body : str
        The frames in which force and point are given, usually "ground".
    """

    name: str
    applied_to_body: str
    force_identifier: str
    point_identifier: str
    torque_identifier: str
    data_file: Path
    force_expressed_in_body: str = "ground"
    point_expressed_in_body: str = "ground"


#: How the files that ExternalLoads name end.
_DATA_SUFFIXES = (".mot", ".sto")


def require_forces(path: str | os.PathLike[str]) -> None:
    """Refuse what is no ExternalLoads file, or holds no force: OpenSim would go on without any.

    Parameters
    ----------
    path : str or os.PathLike
        The XML file. What its forces are is left to OpenSim.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing.
    opensim_nem2e.errors.SetupError
        It is something else, or empty.
    """
    loads = _loads_of(path)
    if next(loads.iter("ExternalForce", "PrescribedForce"), None) is None:
        raise SetupError("An <ExternalLoads> must hold an <ExternalForce>, but has none.", path)
    named = [_text(force, "data_source_name") for force in loads.iter("ExternalForce")]
    if any(named) and not _text(loads, "datafile"):
        files = ", ".join(f"'{name}'" for name in dict.fromkeys(filter(None, named)))
        raise SetupError(
            "OpenSim's tools read all forces from the one file that <datafile> names, but there is none; the forces "
            f"name {files[:300]} in <data_source_name>. Put all columns into one file, and name it in <datafile>.",
            path,
        )


def _loads_of(path: str | os.PathLike[str]) -> etree._Element:
    if Path(path).suffix.lower() in _DATA_SUFFIXES and is_file(Path(path)):
        raise SetupError(
            "The external loads must be the .xml file of <ExternalLoads>, which says on which body each force acts and "
            "names the file of the forces; found such a file of forces.",
            path,
        )
    root = parse_xml(path, error=SetupError, kind="external loads file").getroot()
    loads = root if root.tag == "ExternalLoads" else root.find("ExternalLoads")
    if loads is None:
        raise SetupError(f"An <ExternalLoads> was expected, but <{_first_tag(root)}> was found.", path)
    return loads


def read_external_loads(path: str | os.PathLike[str]) -> list[ExternalForce]:
    """Read an ExternalLoads file.

    Forces that are disabled are left out. The data file is looked for in the XML file's folder and then, as OpenSim
    does, in the working directory.

    Parameters
    ----------
    path : str or os.PathLike
        The XML file.

    Returns
    -------
    list of ExternalForce
        In the order of the file.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file, or the data file that it names, is missing.
    opensim_nem2e.errors.SetupError
        It is no ExternalLoads file, or a force lacks a body, a force identifier or a data file; all faults at once.
    """
    loads = _loads_of(path)
    objects = loads.find("objects")
    shared = _text(loads, "datafile")
    faults: list[str] = []
    found: list[tuple[etree._Element, dict[str, str], str]] = []
    for element in () if objects is None else objects.iterchildren("ExternalForce", "PrescribedForce"):
        name = element.get("name") or ""
        if _text(element, "appliesForce").lower() in ("false", "0") or _text(element, "isDisabled").lower() in (
            "true",
            "1",
        ):
            logger.info("%s: the force '%s' is disabled and left out.", os.fspath(path), name)
            continue
        values = {
            key: _text(element, key)
            for key in ("applied_to_body", "force_identifier", "point_identifier", "torque_identifier")
        }
        for key in ("force_expressed_in_body", "point_expressed_in_body"):
            values[key] = _text(element, key) or "ground"
        # The set's own data file overrides those of its forces.
        data_file = shared or _text(element, "data_source_name")
        for key in ("applied_to_body", "force_identifier"):
            if not values[key]:
                faults.append(_fault(path, element, f"The force '{name}' has no <{key}>."))
        if not data_file:
            faults.append(_fault(path, element, f"The force '{name}' has no data file, and there is no <datafile>."))
        found.append((element, values, data_file))
    if faults:
        raise SetupError(faults)
    if not found:
        raise SetupError("There is no enabled <ExternalForce> in it.", path)
    files = {name: _find_data_file(name, path) for name in {data_file for _, _, data_file in found}}
    return [
        ExternalForce(name=element.get("name") or "", data_file=files[data_file], **values)
        for element, values, data_file in found
    ]


def _fault(path: str | os.PathLike[str], element: etree._Element, what: str) -> str:
    return locate(what, path, element.sourceline)


def _first_tag(root: etree._Element) -> str:
    """Name what a file holds instead of what was expected."""
    if root.tag != "OpenSimDocument":
        return str(root.tag)
    return next((str(child.tag) for child in root.iterchildren(tag=etree.Element)), "OpenSimDocument")


def _text(element: etree._Element, key: str) -> str:
    text = (element.findtext(key) or "").strip()
    return "" if text.lower() in _UNASSIGNED else text


def _find_data_file(name: str, path: str | os.PathLike[str]) -> Path:
    """Find a data file beside the XML file, or in the working directory."""
    # A file made on Windows separates folders by backslashes.
    spellings = [name] if "\\" not in name else [name, name.replace("\\", "/")]
    for spelling in spellings:
        for folder in (Path(path).parent, Path()):
            candidate = folder / spelling
            if is_file(candidate):
                return tidy_path(candidate)
    raise MissingFileError(
        locate(f"The data file '{name}' is neither beside this file nor in the working directory '{Path.cwd()}'.", path)
    )
