"""The example that takes a motion frame by frame runs, and comes near the whole motion."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_frames(repository):
    script = repository / "examples" / "07_frame_by_frame" / "frames.py"
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "0 frames were outside the range" in done.stdout
    difference = re.search(r"whole motion: ([0-9.]+) \(RMS\)", done.stdout)
    assert difference is not None
    assert float(difference[1]) < 0.01
    assert len(re.findall(r"% of the frames took at most [0-9.]+ ms", done.stdout)) == 4
