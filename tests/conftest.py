"""Fixtures that find the optional real data.

The repository ships only data that it makes itself. Real recordings are looked for in the folder that the
environment variable ``OPENSIM_NEM2E_DATA`` names (default ``../shared/data`` beside the repository); tests that
need them skip, with the reason, where it is absent.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One thread each for the matrix libraries, also in the processes that tests start: on two cores that other work shares,
# two threads that wait for each other make tiny networks many times slower. Set before numpy or torch is imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

ROOT = Path(__file__).resolve().parent.parent


def real_data_folder() -> Path:
    """Return the folder of real recordings, whether it exists or not."""
    return Path(os.environ.get("OPENSIM_NEM2E_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings, or skip."""
    folder = real_data_folder()
    if not (folder / "trials.csv").is_file():
        pytest.skip(f"no real recordings in '{folder}' (set OPENSIM_NEM2E_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Return the folder of damaged OpenSim files that lies beside the real recordings, or skip."""
    folder = real_data_folder().parent / "fixtures"
    if not (folder / "opensim46_headers").is_dir():
        pytest.skip(f"no damaged OpenSim files in '{folder}' (they lie beside OPENSIM_NEM2E_DATA)")
    return folder
