"""OpenSim's own objects as files, for what is given where a path is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import SetupError


def is_opensim_object(value: object) -> bool:
    """Tell whether a value is an object of OpenSim's Python package.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        OpenSim is not imported to find out.
    """
    return type(value).__module__.partition(".")[0] == "opensim"


def write_object(value: Any, folder: Path, stem: str) -> Path:
    """Write a model or a table to a file.

    Parameters
    ----------
    value : opensim.Model or opensim.TimeSeriesTable
        The object. A model is written as it is now, not as the file that it was read from.
    folder : pathlib.Path
        Where to.
    stem : str
        The file's name without its ending.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        The object is of another class, or OpenSim cannot write it.
    """
    import opensim

    try:
        if isinstance(value, opensim.Model):
            path = folder / f"{stem}.osim"
            value.finalizeConnections()
            written = value.printToXML(str(path))
        elif isinstance(value, opensim.TimeSeriesTable):
            path = folder / f"{stem}.sto"
            opensim.STOFileAdapter.write(value, str(path))
            written = True
        else:
            raise SetupError(
                f"Of OpenSim's objects a Model or a TimeSeriesTable can stand for a file, but {type(value).__name__} "
                "was found."
            )
    except RuntimeError as error:
        raise SetupError(f"OpenSim cannot write this {type(value).__name__} to a file: {error}") from error
    if not written:
        raise SetupError(f"OpenSim cannot write this {type(value).__name__} to a file.")
    return path
