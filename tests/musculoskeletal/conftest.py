"""What the tests of the mechanics share: the example's model, its motion, and one fit of its muscles' paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.storage import read_storage


@pytest.fixture(scope="session")
def walking(repository) -> Path:
    """Return the folder of the shipped example."""
    return repository / "examples" / "01_refine_walking"


@pytest.fixture(scope="session")
def walking_motion(walking):
    """Return the example's motion with its inverse dynamics."""
    kinematics = read_storage(walking / "walking_coordinates.mot")
    return analyse_motion(
        walking / "walker.osim", kinematics, walking / "external_loads.xml", lowpass=-1.0, start=0.08, end=2.05
    )
