"""Parse OpenSim's XML files without trusting them.

Setup files and models travel by e-mail and forum posts. Nothing in them is expanded or fetched: no entities, no
DTD, no network, and size, depth and number of elements are bounded. Models, setups, external loads and controls are
read by the one function :func:`parse_xml`.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from ..errors import MissingFileError, NEM2EError, SetupError, locate
from ..log import logger
from .tiny_xml import COLON, XmlFault, well_formed

#: The largest file that is read. The largest OpenSim models in the field are a few MB.
MAX_BYTES = 64 * 1024 * 1024

#: The deepest nesting of elements that is read. OpenSim's own files stay below 20.
MAX_DEPTH = 100

#: The most tags and attributes that are read: each takes about 120 bytes of memory, however short it is. The largest
#: models in the field have some 50,000.
MAX_MARKS = 2_000_000

#: The same, with references, for XML that only OpenSim takes: it is read a hundred times slower.
MAX_LENIENT_MARKS = 500_000

#: What needs a closer look, even in well-formed XML: to OpenSim a namespace is an attribute like any other, and a
#: document type is none of ours.
_CLOSER_LOOK = re.compile(rb"xmlns|<!DOCTYPE")

#: How files that are no plain text begin.
_PACKED = {
    b"\x1f\x8b": "compressed (gzip): unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save it as text",
    b"BZh": "compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "compressed (xz): unpack it first",
    b"\x02P": "a C3D recording, of which EMGEnvelopeTool reads the EMG: export markers and forces from it",
    b"MATLAB 5": "a MATLAB file: export a table from it",
    codecs.BOM_UTF16_LE: "text in UTF-16: save it as UTF-8",
    codecs.BOM_UTF16_BE: "text in UTF-16: save it as UTF-8",
}

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
        The file is missing, a directory, a pipe or a device, not readable, or too large.
    """
    name = os.fspath(path)
    try:
        found = Path(name).stat()
        if max_bytes is not None and found.st_size > max_bytes:
            raise MissingFileError(
                f"{name}: the {kind} is too large: at most {max_bytes >> 20} MB are read, it has "
                f"{found.st_size >> 20} MB."
            )
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            # Files are read more than once, and a pipe that nobody writes to never ends.
            raise MissingFileError(f"{name}: the {kind} must be a file, but this is a pipe or a device.")
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{name}: there is no such {kind}.") from None
    except IsADirectoryError:
        raise MissingFileError(f"{name}: a {kind} was expected, but this is a directory.") from None
    except (OSError, ValueError) as error:
        # ValueError: a name with a null character.
        reason = getattr(error, "strerror", None) or error
        raise MissingFileError(f"{name}: the {kind} cannot be read: {reason}.") from None


def packed_as(content: bytes) -> str:
    """Say whether a file that cannot be read is packed, and what to do.

    Parameters
    ----------
    content : bytes
        The first bytes of a file.

    Returns
    -------
    str
        A sentence that begins with a space, or nothing.
    """
    found = next((name for mark, name in _PACKED.items() if content.startswith(mark)), "")
    return f" It is {found}." if found else ""


def is_file(path: Path) -> bool:
    """Tell whether a name that stands in a file is that of a file, whatever the name is.

    Parameters
    ----------
    path : pathlib.Path
        The name.

    Returns
    -------
    bool
        False also for names that no file can have: too long ones, or with a null character.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def parse_xml(
    path: str | os.PathLike[str],
    *,
    error: Callable[[str], NEM2EError] = SetupError,
    kind: str = "XML file",
    ours: bool = False,
) -> etree._ElementTree:
    """Parse an XML file safely, and as leniently as OpenSim does.

    What is no well-formed XML is read as OpenSim's own reader takes it (:mod:`opensim_nem2e.storage.tiny_xml`).

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    error : callable, optional
        Makes the exception from the message: an exception class of :mod:`opensim_nem2e.errors`.
    kind : str, optional
        What the file is, for messages about a missing file ("setup file", "model").
    ours : bool, optional
        Whether this package, not OpenSim, is the only one to read the file: then a bare "&", which OpenSim leaves out
        of the text, is refused.

    Returns
    -------
    lxml.etree._ElementTree
        The tree, without comments and processing instructions. Every element knows its line
        (``element.sourceline``). Names know no namespaces; a colon in one is
        :data:`~opensim_nem2e.storage.tiny_xml.COLON`.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing, a directory, not readable, or larger than 64 MB.
    opensim_nem2e.errors.NEM2EError
        Of the kind ``error``: not even OpenSim could read it, or it has a DOCTYPE, too many elements or too deep ones.
    """
    content = read_bytes(path, kind, MAX_BYTES)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    if not content.strip(b" \t\r\n\0"):
        raise error(locate(f"The {kind} is empty.", path))
    if packed := packed_as(content):
        raise error(locate(f"The {kind} must be plain text.{packed}", path))
    marks = content.count(b"<") + content.count(b"=")
    too_many = f"The {kind} has too many elements: at most %d tags and attributes are read%s."
    if marks > MAX_MARKS:
        raise error(locate(too_many % (MAX_MARKS, ""), path))
    root = _parse_strictly(content)
    if root is None:
        if marks + content.count(b"&") > MAX_LENIENT_MARKS:
            raise error(locate(too_many % (MAX_LENIENT_MARKS, " where the XML is not well-formed"), path))
        root = _parse_leniently(content, path, error, kind, ours)
    if root.xpath(_TOO_DEEP):
        raise error(locate(f"The {kind} is nested too deeply: at most {MAX_DEPTH} levels are read.", path))
    return root.getroottree()


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        # Else CDATA would hide text from "element.text".
        strip_cdata=True,
    )


def _parse_strictly(content: bytes) -> etree._Element | None:
    """Parse well-formed XML; None where a closer look is needed."""
    if _CLOSER_LOOK.search(content):
        return None
    try:
        root: etree._Element = etree.fromstring(content, _parser())
    except (etree.XMLSyntaxError, ValueError):
        return None
    return root


def _parse_leniently(
    content: bytes, path: str | os.PathLike[str], error: Callable[[str], NEM2EError], kind: str, ours: bool
) -> etree._Element:
    try:
        clean, dropped = well_formed(content, MAX_DEPTH)
    except XmlFault as fault:
        raise error(locate(f"The {kind} {fault}", path, fault.line)) from None
    if dropped and ours:
        raise error(
            locate(f"The {kind} is not well-formed XML: a '&' in text must be written '&amp;'.", path, dropped[0])
        )
    try:
        root = etree.fromstring(clean, _parser())
    except (etree.XMLSyntaxError, ValueError) as fault:
        line = getattr(fault, "lineno", None) or None
        raise error(locate(f"The {kind} is not well-formed XML: {fault}.", path, line)) from None
    if dropped:
        lines = ", ".join(map(str, dropped))
        logger.warning("%s: a '&' that is not written '&amp;' is left out, as OpenSim does (line %s).", path, lines)
    return root


def write_xml(tree: etree._ElementTree, path: str | os.PathLike[str]) -> None:
    """Write what :func:`parse_xml` read, colons in names included.

    Parameters
    ----------
    tree : lxml.etree._ElementTree
        The tree.
    path : str or os.PathLike
        The file.

    Raises
    ------
    OSError
        It cannot be written.
    """
    content: bytes = etree.tostring(tree, encoding="UTF-8", xml_declaration=True)
    Path(path).write_bytes(content.replace(COLON.encode(), b":"))
