"""How the commands tell the user that something went wrong."""

from __future__ import annotations

from ..errors import NEM2EError
from ..extras import explained
from ..log import logger


def report(error: Exception) -> None:
    """Log an error in one message; its traceback is shown at level debug, and in a log file if there is one.

    Parameters
    ----------
    error : Exception
        What was caught. Errors that a user can cause are shown as they are; anything else is named as a fault of
        the package.
    """
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
    logger.error("%s", message, exc_info=error)
