"""Completion of commands, flags and values in the shell, with argcomplete."""

from __future__ import annotations

import argparse
import os
import sys


def completed_words() -> list[str]:
    """Return the words of the command line that a shell asks to complete.

    Returns
    -------
    list of str
        Empty when the program is run and not asked.
    """
    return os.environ.get("COMP_LINE", "").split()[1:] if "_ARGCOMPLETE" in os.environ else []


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end the program; do nothing where none asks.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The parser of the whole command line.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        # A shell waits for an answer, and no message belongs between the user's words.
        sys.exit(1)
    argcomplete.autocomplete(parser)
