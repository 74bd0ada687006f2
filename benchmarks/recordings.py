"""Where the public recordings are that some benchmarks need."""

import os
from pathlib import Path

#: The folder that the environment variable OPENSIM_NEM2E_DATA names; it holds ``trials.csv`` and ``emg_channels.csv``.
DATA = Path(os.environ.get("OPENSIM_NEM2E_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
