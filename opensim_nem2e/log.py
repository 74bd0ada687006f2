"""Logging in OpenSim's own format and with OpenSim's own level names.

The console shows ``[info] message``, the log file ``[2026-11-20 15:17:27.419] [info] message``, the two layouts
that OpenSim 4.x writes (OpenSim ``Common/Logger.cpp``). The package logs through the standard library's
``logging`` under the name ``opensim_nem2e``, so that a host program keeps full control.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from .errors import MAX_MESSAGE, NEM2EError, SetupError, brief

#: OpenSim's level names, from silent to most talkative, and the standard library's numbers for them.
LEVELS = {
    "off": logging.CRITICAL + 10,
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG - 5,
}

_NAMES = {number: name for name, number in LEVELS.items()}

#: What a terminal takes for the start and the end of a colour.
_YELLOW, _RED, _PLAIN = "\x1b[33m", "\x1b[31m", "\x1b[0m"


def plain(text: str) -> str:
    """Make a text safe to print and to write as UTF-8, whatever file its parts came from.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text with control characters (terminal escapes among them) and bytes that were no text as backslash
        escapes. Line feeds and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode("ascii") for sign in text
    )


def counted(count: int, noun: str) -> str:
    """Write a number and what it counts.

    Parameters
    ----------
    count : int
        How many.
    noun : str
        Of what, in the singular.

    Returns
    -------
    str
        ``'1 muscle'``, ``'2 muscles'``.
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


class _Plain(logging.Filter):
    """Makes every message safe before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Names and values in it come from files.
        record.msg, record.args = plain(brief(record.getMessage(), MAX_MESSAGE)), ()
        return True


#: The package's logger.
logger = logging.getLogger("opensim_nem2e")
logger.addHandler(logging.NullHandler())
logger.addFilter(_Plain())


class OpenSimFormatter(logging.Formatter):
    """Format records as OpenSim does.

    Parameters
    ----------
    with_time : bool
        Add the date and time, as in OpenSim's log file; the console leaves them out.
    with_traceback : bool
        Add an error's traceback, if the record has one.
    coloured : bool
        Show warnings in yellow and errors in red, for a terminal.
    """

    def __init__(self, with_time: bool, with_traceback: bool = True, coloured: bool = False):
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self.with_time = with_time
        self.with_traceback = with_traceback
        self.coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out as a line (or lines, when the message has several).

        Parameters
        ----------
        record : logging.LogRecord
            The record.

        Returns
        -------
        str
            The text, without a line end.
        """
        level = f"[{_NAMES.get(record.levelno, record.levelname.lower())}]"
        if self.coloured and record.levelno >= logging.WARNING:
            level = f"{_RED if record.levelno >= logging.ERROR else _YELLOW}{level}{_PLAIN}"
        text = f"{level} {record.getMessage()}"
        if self.with_time:
            stamp = self.formatTime(record, self.datefmt)
            text = f"[{stamp}.{int(record.msecs):03d}] {text}"
        if record.exc_info and self.with_traceback:
            text += "\n" + self.formatException(record.exc_info)
        return text


#: How messages name a property, or a tool's name: as a setup file does.
_ELEMENT = re.compile(r'<(\w+)(?: name="\.\.\.")?>')


@contextmanager
def properties_called(words: Mapping[str, str]) -> Iterator[None]:
    """Let messages and errors call properties what those call them who read these: ``<emg_file>`` is ``--emg``.

    Parameters
    ----------
    words : mapping of str to str
        By property, and by tool for its name: the word. Others stay as they are.
    """

    def renamed(text: str) -> str:
        return _ELEMENT.sub(lambda found: words.get(found[1], found[0]), text)

    def rename(record: logging.LogRecord) -> bool:
        record.msg, record.args = renamed(record.getMessage()), ()
        return True

    logger.addFilter(rename)
    try:
        yield
    except NEM2EError as error:
        error.args = tuple(renamed(part) if isinstance(part, str) else part for part in error.args)
        if isinstance(error, SetupError):
            error.faults = tuple(map(renamed, error.faults))
        raise
    finally:
        logger.removeFilter(rename)


class Recorder(logging.Handler):
    """Keep the lines of one run, in the log file's layout, to store them with its results.

    Parameters
    ----------
    level : str
        The least severe level that is kept: the details, which the console leaves out, are in the log file.
    """

    def __init__(self, level: str = "debug"):
        super().__init__(LEVELS[level])
        self.setFormatter(OpenSimFormatter(with_time=True))
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record.

        Parameters
        ----------
        record : logging.LogRecord
            The record.
        """
        self.lines.append(self.format(record))
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep the package's messages while the block runs."""
        _start(self)
        try:
            yield
        finally:
            stop(self)

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(f"{line}\n" for line in self.lines)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the package's messages back while something is looked at beforehand: what is found is told otherwise."""
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def audible() -> Iterator[None]:
    """Show messages on the console while the block runs, if the program has set up no logging of its own.

    OpenSim's tools talk when they are run from a script; so do these, but in a notebook they only warn.
    :func:`set_log_level` changes that. A program that has given this package's logger, or Python's root logger, a
    handler decides for itself.
    """
    handlers = [handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler | Recorder)]
    if handlers or logging.getLogger().handlers:
        yield
        return
    console = start_console(_shown or ("warn" if in_notebook() else "info"))
    try:
        yield
    finally:
        stop(console)


#: The level that :func:`set_log_level` has set.
_shown = ""


def set_log_level(level: str) -> None:
    """Say which messages tools show that are run from Python.

    Parameters
    ----------
    level : {'off', 'critical', 'error', 'warn', 'info', 'debug', 'trace'}
        The least severe level that is shown. At first it is ``'info'`` in a script and ``'warn'`` in a notebook. The
        log file beside the results always holds everything.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        There is no such level.
    """
    global _shown
    if level not in LEVELS:
        allowed = ", ".join(f"'{name}'" for name in LEVELS)
        raise SetupError(f"The log level must be one of {allowed}, but {level!r} was found.")
    _shown = level


def in_notebook() -> bool:
    """Tell whether the program is a Jupyter notebook's.

    Returns
    -------
    bool
        False in scripts, and in IPython's terminal.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that shows colours (https://no-color.org).

    Parameters
    ----------
    stream : file object
        Standard output, say.

    Returns
    -------
    bool
        False for files, pipes and notebooks.
    """
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and bool(getattr(stream, "isatty", lambda: False)())


def start_console(level: str = "info", stream: TextIO | None = None) -> logging.Handler:
    """Show the package's messages on the console.

    Parameters
    ----------
    level : {'off', 'critical', 'error', 'warn', 'info', 'debug', 'trace'}
        The least severe level that is shown.
    stream : file object, optional
        Where to write; standard output by default, as OpenSim does.

    Returns
    -------
    logging.Handler
        The handler, for :func:`stop`.
    """
    stream = stream if stream is not None else sys.stdout
    handler = logging.StreamHandler(stream)
    # A traceback is a detail.
    details = LEVELS[level] <= logging.DEBUG
    handler.setFormatter(OpenSimFormatter(with_time=False, with_traceback=details, coloured=is_terminal(stream)))
    handler.setLevel(LEVELS[level])
    return _start(handler)


def start_file(path: str | os.PathLike[str], level: str = "debug", mode: str = "a") -> logging.Handler:
    """Write the package's messages to a log file in OpenSim's layout.

    Parameters
    ----------
    path : str or os.PathLike
        The log file.
    level : str
        As in :func:`start_console`; by default the details are written, too.
    mode : {'a', 'w'}
        Append (OpenSim's habit) or start anew.

    Returns
    -------
    logging.Handler
        The handler, for :func:`stop`.
    """
    handler = logging.FileHandler(os.fspath(path), mode=mode, encoding="utf-8", delay=True, errors="backslashreplace")
    handler.setFormatter(OpenSimFormatter(with_time=True))
    handler.setLevel(LEVELS[level])
    return _start(handler)


def stop(handler: logging.Handler) -> None:
    """Detach and close a handler made by :func:`start_console` or :func:`start_file`.

    Parameters
    ----------
    handler : logging.Handler
        The handler.
    """
    logger.removeHandler(handler)
    handler.close()
    _let_through()


def _start(handler: logging.Handler) -> logging.Handler:
    logger.addHandler(handler)
    _let_through()
    return handler


#: The level that this module has given the logger; any other level is the host program's and stays.
_own_level = logging.NOTSET


def _let_through() -> None:
    """Let the logger pass what some handler wants to see; without one, it inherits the program's own level."""
    global _own_level
    if logger.level != _own_level:
        return
    wanted = [handler.level for handler in logger.handlers if not isinstance(handler, logging.NullHandler)]
    _own_level = min(wanted, default=logging.NOTSET)
    logger.setLevel(_own_level)
