"""opensim-nem2e: refine OpenSim muscle activations with networks trained on measured EMG.

Every tool has a command of its own; the other verbs, the messages and the setup files are those of opensim-cmd.
Messages go to the console, warnings and errors to standard error. With all details they are kept beside the results, in
a file named after the run (walk1_refined.log), and of a run that failed in opensim_nem2e_failed.log in the working
directory.
The exit status is 0 on success, 1 when something failed, and 2 when the command line was not understood.

Examples:
  opensim-nem2e refine walk1_states.sto --model subject01.osim --external-loads walk1_grf.xml --out refined
  opensim-nem2e print-xml STDRRefineTool            writes default_Setup_STDRRefineTool.xml, to be filled in
  opensim-nem2e run setup_refine.xml                runs the tool that the setup file describes
  opensim-nem2e compare cmc/walk1_states.sto refined    says how two results differ, muscle by muscle
  opensim-nem2e info STDRRefineTool                 lists the properties of a tool
  opensim-nem2e info gait                           says what a bundle was trained on, and how good it is
  opensim-nem2e manifest --help                     shows how a folder of results becomes a table of trials
  opensim-nem2e check trials.csv --report check     says what is wrong with recordings and simulations
  opensim-nem2e repair subject01_walk1_states.sto   mends the header that OpenSim 4.6 damages
  opensim-nem2e report results                      writes a study's figures and report again
  opensim-nem2e --log debug run setup_refine.xml    shows details, and the traceback of an error
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType
from typing import Any, NoReturn, TextIO

from .. import __version__
from ..errors import did_you_mean
from ..log import LEVELS, logger, start_console, start_file, stop
from ..tools.tool_registry import tools
from . import check_command as check
from . import cite_command as cite
from . import compare_command as compare
from . import info_command as info
from . import manifest_command as manifest
from . import print_xml_command as print_xml
from . import repair_command as repair
from . import report_command as report_study
from . import run_command as run
from .assignment import unknown_words
from .completion import complete, completed_words
from .reporting import report
from .tool_command import ToolCommand

#: The commands that are no tool's; each module's docstring is its help text.
COMMANDS: tuple[ModuleType, ...] = (run, compare, print_xml, info, manifest, check, repair, report_study, cite)

#: What most people come for is listed first.
_FIRST = ("refine",)

_INTERRUPTED = 130
#: How a run is told to stop: a cluster's time limit, a terminal or connection that is closed.
_ENDS = ("SIGTERM", "SIGHUP")


class _Parser(argparse.ArgumentParser):
    """A parser that suggests the right word when one is misspelt."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            allowed = [choice.strip(" '") for choice in wrong[2].split(",")]
            message = f"{message}.{did_you_mean(wrong[1], allowed)}"
        super().error(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status: 0 on success, 1 on failure, 130 when interrupted, 128 and the signal's number when a signal
        has ended it.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version`` (status 0) and after a usage error (status 2).
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A console that lacks a character of a file's name must not stop a run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _main(arguments)
    except BrokenPipeError:
        # The reader ('| head') has seen enough.
        status = 0
    except BaseException:
        _flush()
        raise
    return _flush() or status


def _open_streams() -> None:
    """Open what the caller has closed (``>&-``): the first file of a run would take its place and be written over."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _main(arguments: Sequence[str] | None) -> int:
    words = completed_words() or (sys.argv[1:] if arguments is None else list(arguments))
    parser = make_parser(words)
    complete(parser)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        verb = options.parser if "parser" in options else parser
        verb.error(unknown_words(words, unknown, verb))
    if "command" not in options:
        # As opensim-cmd does without arguments.
        parser.print_help()
        return 0
    with _logging(options.log, options.log_file), _termination():
        try:
            status: int = options.command.execute(options)
            return status
        except KeyboardInterrupt:
            logger.error("Interrupted.")
            return _INTERRUPTED
        except BrokenPipeError:
            raise
        except Exception as error:
            report(error)
            return 1


def make_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    Parameters
    ----------
    words : sequence of str
        The command line. Only tools that it names are imported, for their flags.

    Returns
    -------
    argparse.ArgumentParser
        The parser; ``command`` of its result is the command's module.
    """
    parser = _Parser(prog="opensim-nem2e", **_help(__doc__))
    parser.add_argument("-V", "--version", action="version", version=f"opensim-nem2e {__version__}")
    _add_log_option(parser, default="info")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    own = sorted((ToolCommand(entry) for entry in tools()), key=lambda command: command.NAME not in _FIRST)
    commands: list[ModuleType | ToolCommand] = [*own, *COMMANDS]
    for command in commands:
        summary = _help(command.__doc__)["description"].splitlines()[0]
        verb = verbs.add_parser(command.NAME, aliases=command.ALIASES, help=summary, **_help(command.__doc__))
        if not isinstance(command, ToolCommand) or command.NAME in words:
            command.add_arguments(verb)
        # Without a default here, the level given before the verb is kept.
        _add_log_option(verb, default=argparse.SUPPRESS)
        verb.set_defaults(command=command, parser=verb)
    return parser


def _help(docstring: str | None) -> dict[str, Any]:
    """Split a module's docstring into what argparse shows before and after the options."""
    description, _, examples = (docstring or "").partition("\nExamples:\n")
    return {
        "description": description.strip(),
        "epilog": f"examples:\n{examples.rstrip()}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _add_log_option(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "-o",
        "--log",
        metavar="LEVEL",
        type=str.lower,
        choices=tuple(LEVELS),
        default=default,
        help=f"the least severe messages to show: {', '.join(LEVELS)} (default: info)",
    )
    parser.add_argument(
        "--log-file",
        metavar="FILE",
        default=argparse.SUPPRESS if default == argparse.SUPPRESS else None,
        help="also append all messages, the details included, to this file",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_const", const="warn", dest="log", default=default, help="the same as --log warn"
    )


@contextmanager
def _logging(level: str, log_file: str | None) -> Iterator[None]:
    """Send messages to the console, and to a log file if there is to be one."""
    handlers = [_console(sys.stdout, level, errors=False), _console(sys.stderr, level, errors=True)]
    # A closed pipe or a full disk must not make the logging itself print tracebacks into the user's console.
    raise_exceptions, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        if log_file is not None:
            try:
                # Opened here once, so that a folder without write permission is noticed.
                with open(log_file, "a", encoding="utf-8"):  # noqa: PTH123
                    pass
                handlers.append(start_file(log_file))
            except OSError as error:
                logger.warning("There will be no %s: %s.", log_file, error.strerror or error)
        yield
    finally:
        for handler in handlers:
            stop(handler)
        logging.raiseExceptions = raise_exceptions


def _console(stream: TextIO, level: str, errors: bool) -> logging.Handler:
    handler = start_console(level, stream)
    handler.addFilter(lambda record: (record.levelno >= logging.WARNING) == errors)
    return handler


@contextmanager
def _termination() -> Iterator[None]:
    """Let a run that is told to stop (a cluster's time limit, a closed terminal) remove its unfinished files first."""

    def leave(number: int, frame: FrameType | None) -> None:
        logger.error("Terminated." if number == signal.SIGTERM else "Terminated: the terminal was closed.")
        raise SystemExit(128 + number)

    before = {}
    try:
        for name in _ENDS:
            number = getattr(signal, name, None)
            # What is ignored stays so: nohup.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, leave)
    except ValueError:
        # Not the main thread of a host program: its own handling stays.
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _flush() -> int:
    """Write what is still held back; return the exit status that it makes, 0 if all was written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 0
    except OSError as error:
        with suppress(OSError):
            print(f"[error] What was to be shown cannot be written: {error.strerror or error}.", file=sys.stderr)
        status = 1
    else:
        return 0
    # Python would complain at exit when it flushes once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
