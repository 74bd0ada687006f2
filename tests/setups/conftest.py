"""What the GUI's and MATLAB's scripts are run with."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def program() -> Path:
    """Return the program of this environment."""
    found = shutil.which("opensim-nem2e", path=Path(sys.executable).parent)
    if found is None:
        pytest.skip(f"no program opensim-nem2e beside '{sys.executable}': the package is not installed")
    return Path(found)


@pytest.fixture
def trial(repository, tmp_path) -> Path:
    """Return a copy of example 01 in a folder whose name is as awkward as users' names are."""
    folder = tmp_path / "Müller's walk & run"
    shutil.copytree(
        repository / "examples" / "01_refine_walking", folder, ignore=shutil.ignore_patterns("results", "*.py", "*.log")
    )
    setup = folder / "setup_refine.xml"
    # What no test looks at takes longest: figures, and amplitudes that meet the joint torques.
    quick = "<amplitude>simulation</amplitude><write_figures>false<"
    setup.write_text(setup.read_text().replace("<write_figures>true<", quick))
    return folder


@pytest.fixture
def talkative_program(tmp_path) -> Path:
    """Return a stand-in for the program that says much, on both streams, and then fails."""
    path = tmp_path / "talkative" / "opensim-nem2e"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        "print('LD_LIBRARY_PATH is', os.environ.get('LD_LIBRARY_PATH'))\n"
        "for number in range(4000):\n"
        "    print(f'[info] line {number} ' + 'x' * 60)\n"
        "    print(f'[warn] line {number} ' + 'x' * 60, file=sys.stderr)\n"
        "time.sleep(float(os.environ.get('NEM2E_TEST_SLEEP', 0)))\n"
        "sys.exit('[error] It went wrong.\\n  - and that is why')\n"
    )
    path.chmod(0o755)
    return path
