"""Names of files made from names of muscles, subjects and trials, and which names are refused as such."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path

#: The longest name of a subject, trial or muscle; a file's name, which begins with it, may have 255 bytes.
LONGEST_NAME = 100

_LONGEST = 60
_LONGEST_TEXT = 4096
_HASH = 6
#: Control characters, invisible ones (among them those that turn the direction of writing), halves of characters.
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
#: Windows has devices of these names, whatever follows a dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def tidy_path(path: Path) -> Path:
    """Take the detours (``x/../``) out of a path, so that messages can be read.

    Parameters
    ----------
    path : pathlib.Path
        A path; a relative one stays relative.

    Returns
    -------
    pathlib.Path
        The same file. Unchanged where a link on the way makes ``..`` lead elsewhere.
    """
    if ".." not in path.parts:
        return path
    tidy = Path(os.path.normpath(path))
    try:
        return tidy if tidy.resolve() == path.resolve() else path
    except (OSError, ValueError):
        return path


def file_name(text: str) -> str:
    """Make a text fit for a file's or folder's name, and keep texts that differ apart.

    Parameters
    ----------
    text : str
        Such as a subject's name, or the path of a setup file.

    Returns
    -------
    str
        Letters of ASCII, digits, points, hyphens and underscores; at most 67 of them, and no point at the start or
        end. Texts that are such a name in small letters stay as they are; others are given a part of their hash.
    """
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", text)[-_LONGEST:].strip(".")
    # Some file systems take 'Ann' and 'ann' for the same.
    if plain and plain == text == text.lower() and not _DEVICES.fullmatch(text):
        return plain
    return f"{plain}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH]}"


def name_fault(name: str, what: str = "the name") -> str:
    """Say why a text cannot be the name of a subject, trial, muscle or tool.

    Parameters
    ----------
    name : str
        The text.
    what : str
        What it names, for the message.

    Returns
    -------
    str
        Empty if it can. Path separators, a leading point, control characters (terminal escapes and line ends among
        them), invisible characters and more than 100 characters are refused: names become parts of files' names, and
        are shown in logs.
    """
    found = shown(name)
    if len(name) > LONGEST_NAME:
        return f"{what} must have at most {LONGEST_NAME} characters, but {len(name)} were found ({found})."
    if any(sign in "/\\" or unicodedata.category(sign) in _INVISIBLE for sign in name):
        return f"{what} must not hold '/', '\\' or control characters, but {found} was found."
    if name.strip().startswith("."):
        return f"{what} must not begin with a dot (files named after it would be hidden), but {found} was found."
    return ""


def text_fault(text: str, what: str) -> str:
    """Say why a text that a file holds cannot be used: a path, a pattern, a column's label.

    Parameters
    ----------
    text : str
        The text.
    what : str
        What it is, for the message.

    Returns
    -------
    str
        Empty if it can. Control characters and more than 4096 characters are refused.
    """
    if len(text) > _LONGEST_TEXT:
        return f"{what} must have at most {_LONGEST_TEXT} characters, but {len(text)} were found ({shown(text)})."
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in text):
        return f"{what} must not hold control characters, but {shown(text)} was found."
    return ""


def shown(text: str, longest: int = 60) -> str:
    """Quote a text that a file holds so that a terminal and a log can show it.

    Parameters
    ----------
    text : str
        Any text.
    longest : int
        Characters that are shown of a longer one.

    Returns
    -------
    str
        In quotes, with escapes for what is not printable.
    """
    return repr(text if len(text) <= longest else f"{text[:longest]}...")
