"""How the commands tell the user that something went wrong."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from ..errors import NEM2EError
from ..extras import explained
from ..log import Recorder, logger

#: Runs that failed leave no results, and their logs here, in the working directory as OpenSim's opensim.log.
FAILED_LOG = "opensim_nem2e_failed.log"


def report(error: Exception) -> None:
    """Log an error in one message; its traceback is shown at level debug, and in a log file if there is one.

    Of a tool's run, log and traceback are appended to :data:`FAILED_LOG`, unless there is another log file.

    Parameters
    ----------
    error : Exception
        What was caught. Errors that a user can cause are shown as they are; anything else is named as a fault of
        the package.
    """
    run_log = getattr(error, "run_log", "")
    if isinstance(error, ImportError):
        error = explained(error) or error
    if isinstance(error, OSError) and error.filename is None:
        message = f"The output cannot be written: {error.strerror or error}."
    elif isinstance(error, NEM2EError | OSError):
        message = str(error)
    elif isinstance(error, MemoryError):
        message = f"There is not enough memory. {error}".rstrip()
    else:
        message = (
            f"Unexpected {type(error).__name__}: {error}\n"
            "This is a fault of opensim_nem2e; '--log debug' shows where it happened."
        )
    recorder = Recorder()
    with recorder.listening():
        logger.error("%s", message, exc_info=error)
    if run_log and not any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        # The working directory may be gone, full or not the user's; the run itself has failed for another reason.
        with suppress(OSError):
            path = Path.cwd() / FAILED_LOG
            with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(run_log + recorder.text)
            logger.info("The log of the failed run is in '%s'.", path)
