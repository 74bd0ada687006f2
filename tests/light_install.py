"""Refine the shipped example with what 'pip install opensim-nem2e' brings: neither torch, nor opensim, nor Matplotlib.

Run as a script, with the Python of an environment that has the package and nothing else; pytest is not needed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
PROGRAM = [sys.executable, "-I", "-m", "opensim_nem2e"]
REFINE = [
    *("refine", str(EXAMPLE / "cmc" / "walking_states.sto"), "--model", str(EXAMPLE / "walker.osim")),
    *("--external-loads", str(EXAMPLE / "external_loads.xml"), "--name", "walk"),
]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False)


absent = [name for name in ("torch", "opensim", "matplotlib") if find_spec(name) is None]
with tempfile.TemporaryDirectory() as folder:
    done = run(*REFINE, "--out", "refined")
    print(done.stdout + done.stderr)
    assert done.returncode == 0, done.returncode
    written = {path.name for path in Path(folder, "refined").iterdir()}
    assert {"walk_states.sto", "walk_controls.sto", "walk_activation.sto", "walk_report.html"} <= written, written
    if "opensim" in absent:
        assert "OpenSim is not installed, so joint torques cannot decide on amplitudes" in done.stderr, done.stderr
        done = run(*REFINE, "--out", "torques", "--check-torques")
        assert done.returncode == 1
        assert "Running OpenSim" in done.stderr, done.stderr
        assert 'pip install "opensim-nem2e[opensim' in done.stderr, done.stderr
        assert not Path(folder, "torques").exists()
    if "torch" in absent:
        done = run("train", str(EXAMPLE / "walker.osim"), str(EXAMPLE / "walker.osim"))
        assert done.returncode == 1
        assert "Training networks or running NMMTool needs" in done.stderr, done.stderr
print(f"The light installation refines (not installed: {', '.join(absent) or 'nothing'}).")
