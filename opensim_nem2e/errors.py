"""The one exception tree of the package.

Every error that a user can cause derives from :class:`NEM2EError`; the command line prints its message and
exits with status 1. All messages follow one template: what is wrong, where (file, line, element), what is
allowed, what was found.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence

#: The longest message of an error, and how many faults of a setup file are named: a page of a terminal.
MAX_MESSAGE = 4000
MAX_FAULTS = 40


class NEM2EError(Exception):
    """Root of all errors raised on purpose by ``opensim_nem2e``.

    Parameters
    ----------
    message : str
        The message; what of it is too long for a terminal is cut out of its middle.
    """

    #: Of an error that ended a tool's run: versions of packages and, where a bundle was loaded, its name and SHA-256.
    provenance: Mapping[str, str] = {}
    #: The log of that run, with all details.
    run_log: str = ""

    def __init__(self, message: str = ""):
        super().__init__(brief(message, MAX_MESSAGE))


class MissingFileError(NEM2EError):
    """A file that was named does not exist, is a directory, or cannot be read."""


class MissingExtraError(NEM2EError):
    """Optional packages are needed that are not installed."""


class StorageError(NEM2EError):
    """A ``.sto``/``.mot`` file (or one of its columns) cannot be used.

    Parameters
    ----------
    what : str
        What is wrong, what is allowed and what was found.
    path : str or os.PathLike, optional
        The file.
    line : int, optional
        The line in the file, counted from 1.
    """

    def __init__(self, what: str, path: str | os.PathLike[str] | None = None, line: int | None = None):
        self.path = None if path is None else os.fspath(path)
        self.line = line
        super().__init__(locate(what, path, line))


class LabelError(StorageError):
    """A column is missing, appears twice, or its label cannot be recovered.

    Parameters
    ----------
    what : str
        What is wrong, what is allowed and what was found.
    path : str or os.PathLike, optional
        The file.
    line : int, optional
        The line in the file, counted from 1.
    """


class SetupError(NEM2EError):
    """A setup file, or the values given to a tool, are not acceptable.

    Parameters
    ----------
    faults : str or sequence of str
        Every fault that was found; all of them are reported at once.
    path : str or os.PathLike, optional
        The setup file.
    """

    def __init__(self, faults: str | Sequence[str], path: str | os.PathLike[str] | None = None):
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        self.path = None if path is None else os.fspath(path)
        if len(self.faults) == 1:
            text = locate(self.faults[0], path)
        else:
            head = f"{len(self.faults)} faults were found"
            shown = self.faults[:MAX_FAULTS]
            # Each fault gets its share of the message.
            share = max(MAX_MESSAGE // len(shown), 80)
            text = locate(head, path) + ":\n" + "\n".join(f"  - {brief(fault, share)}" for fault in shown)
            if len(self.faults) > len(shown):
                text += f"\n  and {len(self.faults) - len(shown)} more"
        super().__init__(text)


class ManifestError(NEM2EError):
    """``trials.csv`` or ``emg_channels.csv`` cannot be used."""


class CycleError(NEM2EError):
    """No complete gait cycle could be found, or the cycles that were given are not usable."""


class BundleError(NEM2EError):
    """A network bundle is missing, damaged, of another format, or does not fit the data."""


class ModelError(NEM2EError):
    """An OpenSim model file (``.osim``) does not hold what is needed, or does not fit the results file."""


class TrainingError(NEM2EError):
    """Training cannot start or cannot go on with the data and settings that were given."""


class OpenSimRunError(NEM2EError):
    """An OpenSim tool that was run in a process of its own failed."""


def locate(what: str, path: str | os.PathLike[str] | None = None, line: int | None = None) -> str:
    """Prefix a message with the place it speaks of.

    Parameters
    ----------
    what : str
        The message.
    path : str or os.PathLike, optional
        The file the message speaks of.
    line : int, optional
        The line in that file, counted from 1.

    Returns
    -------
    str
        ``path:line: what``, ``path: what`` or ``what``.
    """
    if path is None:
        return what
    if line is None:
        return f"{os.fspath(path)}: {what}"
    return f"{os.fspath(path)}:{line}: {what}"


def brief(text: str, limit: int) -> str:
    """Cut the middle out of a text that is too long for a message.

    Parameters
    ----------
    text : str
        What was found.
    limit : int
        How many characters fit.

    Returns
    -------
    str
        The text, or its beginning and its end.
    """
    if len(text) <= limit:
        return text
    kept = limit - len(" ... ")
    return f"{text[: kept - kept // 3]} ... {text[len(text) - kept // 3 :]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the closest known name.

    Parameters
    ----------
    word : str
        What was found.
    known : iterable of str
        What is allowed.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` (with a leading space), or an empty string when nothing is close.
    """
    if len(word) > 255:
        # No name is that long, and comparing it takes minutes.
        return ""
    names = sorted(set(known))
    lowered = {name.lower(): name for name in reversed(names)}
    match = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return f" Did you mean '{lowered[match[0]]}'?" if match else ""
