"""The batch scripts of example 03, run as they are on copies of example 01."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opensim_nem2e.storage import read_storage

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = EXAMPLES / "03_batch_scripts"


@pytest.fixture
def study(tmp_path) -> list[Path]:
    """Two trials: one without ground reactions, and one that is fine."""
    trials = [tmp_path / "my study" / name for name in ("no forces", "walk")]
    for trial in trials:
        shutil.copytree(EXAMPLES / "01_refine_walking", trial, ignore=shutil.ignore_patterns("results", "*.py"))
        setup = trial / "setup_refine.xml"
        # What no test looks at takes longest: figures, and amplitudes that meet the joint torques.
        quick = "<amplitude>simulation</amplitude><write_figures>false<"
        setup.write_text(setup.read_text().replace("<write_figures>true<", quick))
    (trials[0] / "walking_grf.mot").unlink()
    return trials


def run(*command: object, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script with this environment's programs."""
    folders = [str(path) if path else "", str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(filter(None, folders))}
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, cwd=folder, timeout=600
    )


@pytest.fixture
def program() -> None:
    """Skip where the package is not installed."""
    if shutil.which("opensim-nem2e", path=Path(sys.executable).parent) is None:
        pytest.skip(f"no program opensim-nem2e beside '{sys.executable}': the package is not installed")


@pytest.mark.slow
def test_python(study):
    done = run(sys.executable, SCRIPTS / "batch_cmc.py", *study, folder=study[0].parent)
    assert [(trial / "results" / "walking_refined_states.sto").is_file() for trial in study] == [False, True]
    assert "Mean over the refined trials (1):" in done.stdout
    assert re.search(r"^soleus_r +0\.0[1-9]\d* +-?\d+\.\d+$", done.stdout, re.MULTILINE)
    assert done.returncode == 1
    assert f"Failed:\n{study[0]}: " in done.stderr
    assert "walking_grf.mot" in done.stderr.partition("Failed:")[2]


@pytest.mark.slow
def test_shell(study, program, tmp_path):
    """CMC is run only where it is missing: a stand-in for opensim-cmd brings results, and notes what it was told."""
    kept = study[1] / "cmc"
    kept.rename(tmp_path / "cmc")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    stand_in = bin_folder / "opensim-cmd"
    stand_in.write_text(f"#!/bin/sh\necho \"$@\" >> '{tmp_path}/told'\nmv '{tmp_path}/cmc' '{kept}'\n")
    stand_in.chmod(0o755)
    done = run("sh", SCRIPTS / "batch_cmc.sh", *study, folder=study[0].parent, path=bin_folder)
    assert (tmp_path / "told").read_text() == f"run-tool {study[1] / 'setup_cmc.xml'}\n"
    assert [(trial / "results" / "walking_states.sto").is_file() for trial in study] == [False, True]
    assert done.returncode == 1
    assert "walking_grf.mot" in done.stderr
    assert done.stderr.endswith("1 of 2 trials failed.\n")


def test_matlab(study, program):
    """By GNU Octave; MATLAB's own syntax is tested in tests/setups."""
    octave = shutil.which("octave-cli")
    if octave is None:
        pytest.skip("no octave-cli on the PATH (Debian: apt-get install octave)")
    trials = ", ".join(f"'{trial}'" for trial in study)
    code = f"addpath('{SCRIPTS}'); batch_cmc({trials});"
    done = run(octave, "--quiet", "--no-init-file", "--eval", code, folder=study[0].parent)
    assert [(trial / "results" / "walking_states.sto").is_file() for trial in study] == [False, True]
    results = study[1] / "results"
    activation = read_storage(results / "walking_activation.sto")
    peak = activation.time[activation.column("soleus_r").argmax()]
    said = f"{study[1]}: soleus_r is most active at {peak:.2f} s, see {results / 'walking_summary.csv'}\n"
    assert said in done.stdout
    assert f"{study[0]}: failed: opensim-nem2e failed (exit status 1).\n[error] " in done.stdout
    assert done.returncode == 1
    assert "1 of 2 trials failed." in done.stderr
