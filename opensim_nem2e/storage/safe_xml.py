"""Parse OpenSim's XML files without trusting them.

Setup files and models travel by e-mail and forum posts. Nothing in them is expanded or fetched: no entities, no
DTD, no network, and both size and depth are bounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from ..errors import MissingFileError, NEM2EError, SetupError, locate

#: The largest file that is read. The largest OpenSim models in the field are a few MB.
MAX_BYTES = 64 * 1024 * 1024

#: The deepest nesting of elements that is read. OpenSim's own files stay below 20.
MAX_DEPTH = 100

_TOO_DEEP = "boolean(" + "/*" * (MAX_DEPTH + 1) + ")"


def read_bytes(path: str | os.PathLike[str], kind: str = "file", max_bytes: int | None = None) -> bytes:
    """Read a whole file, with the package's own error when that is not possible.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    kind : str
        What the file is, for the message ("setup file", "model").
    max_bytes : int, optional
        Refuse a larger file.

    Returns
    -------
    bytes
        The file's content.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, a directory, not readable, or too large.
    """
    name = os.fspath(path)
    try:
        if max_bytes is not None:
            size = Path(name).stat().st_size
            if size > max_bytes:
                raise MissingFileError(
                    f"{name}: the {kind} is too large: at most {max_bytes >> 20} MB are read, it has {size >> 20} MB."
                )
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{name}: there is no such {kind}.") from None
    except IsADirectoryError:
        raise MissingFileError(f"{name}: a {kind} was expected, but this is a directory.") from None
    except (OSError, ValueError) as error:
        # ValueError: a name with a null character.
        reason = getattr(error, "strerror", None) or error
        raise MissingFileError(f"{name}: the {kind} cannot be read: {reason}.") from None


def parse_xml(
    path: str | os.PathLike[str],
    *,
    error: Callable[[str], NEM2EError] = SetupError,
    kind: str = "XML file",
) -> etree._ElementTree:
    """Parse an XML file safely.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    error : callable, optional
        Makes the exception from the message: an exception class of :mod:`opensim_nem2e.errors`.
    kind : str, optional
        What the file is, for messages about a missing file ("setup file", "model").

    Returns
    -------
    lxml.etree._ElementTree
        The tree. Comments are kept; every element knows its line (``element.sourceline``).

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, a directory, not readable, or larger than 64 MB.
    opensim_nem2e.errors.NEM2EError
        Of the kind ``error``: the file is no well-formed XML, has a DOCTYPE, or is nested too deeply.
    """
    content = read_bytes(path, kind, MAX_BYTES)
    if not content.strip():
        raise error(locate(f"The {kind} is empty.", path))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as fault:
        line = fault.lineno if fault.lineno else None
        raise error(locate(f"The {kind} is not well-formed XML: {fault.msg}.", path, line)) from None
    except ValueError as fault:
        raise error(locate(f"The {kind} is not well-formed XML: {fault}.", path)) from None
    tree = root.getroottree()
    if tree.docinfo.internalDTD is not None or tree.docinfo.doctype:
        raise error(
            locate(f"The {kind} has a DOCTYPE, which OpenSim's files never have. Remove the '<!DOCTYPE ...>'.", path)
        )
    if root.xpath(_TOO_DEEP):
        raise error(locate(f"The {kind} is nested too deeply: at most {MAX_DEPTH} levels are read.", path))
    return tree
