"""The optional packages: what they are for, and how they are installed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from .errors import MissingExtraError


@dataclass(frozen=True)
class Extra:
    """Packages that are installed together.

    Parameters
    ----------
    purpose : str
        What they are for, as the subject of a sentence.
    packages : tuple of str
        What must be importable.
    """

    purpose: str
    packages: tuple[str, ...]


#: By name: ``pip install "opensim-nem2e[NAME]"``.
EXTRAS = {
    "train": Extra("Training networks or running NMMTool", ("torch", "filelock", "psutil", "tqdm")),
    "opensim": Extra(
        "Running OpenSim (joint torques, torque-consistent activations, muscle paths, pipelines)",
        ("opensim", "daqp", "platformdirs", "psutil", "tqdm"),
    ),
    "report": Extra("Drawing figures", ("matplotlib",)),
    "c3d": Extra("Reading C3D files", ("ezc3d",)),
    "excel": Extra("Reading Excel files", ("openpyxl",)),
    "study": Extra("Drawing the feature space of a study", ("sklearn",)),
    "cluster": Extra("Handing work to a Dask scheduler", ("distributed",)),
}


@cache
def installed_version(package: str) -> str | None:
    """Look up the version of a package; that of PyTorch takes 10 ms each time.

    Parameters
    ----------
    package : str
        Its name; it is not imported.

    Returns
    -------
    str or None
        The version; None if it is not installed.
    """
    # It imports Python's whole e-mail package: a sixth of a command that only shows something.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def missing_packages(extra: str) -> list[str]:
    """Name what of an extra is not installed.

    Parameters
    ----------
    extra : str
        One of :data:`EXTRAS`.

    Returns
    -------
    list of str
        Packages; nothing is imported to find out.
    """
    return [package for package in EXTRAS[extra].packages if find_spec(package) is None]


def require_extras(extras: Iterable[str]) -> None:
    """Make sure that optional packages are installed.

    Parameters
    ----------
    extras : iterable of str
        Which of :data:`EXTRAS`.

    Raises
    ------
    opensim_nem2e.errors.MissingExtraError
        Some are not; it says what for, and how to install all of them.
    """
    absent = {extra: found for extra in dict.fromkeys(extras) if (found := missing_packages(extra))}
    if absent:
        raise _error(absent)


def explained(error: ImportError) -> MissingExtraError | None:
    """Say which extra would have brought a package that could not be imported.

    Parameters
    ----------
    error : ImportError
        What was raised.

    Returns
    -------
    MissingExtraError or None
        None for a package of no extra.
    """
    package = (error.name or "").partition(".")[0]
    extra = next((name for name, item in EXTRAS.items() if package in item.packages), None)
    return None if extra is None else _error({extra: [package]})


def _error(absent: dict[str, list[str]]) -> MissingExtraError:
    what = " ".join(
        f"{EXTRAS[extra].purpose} needs {' and '.join(repr(package) for package in packages)}, which "
        f"{'is' if len(packages) == 1 else 'are'} not installed."
        for extra, packages in absent.items()
    )
    return MissingExtraError(f'{what} To install: pip install "opensim-nem2e[{",".join(absent)}]"')
