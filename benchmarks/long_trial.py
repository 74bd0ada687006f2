"""A long trial: does the time grow with its length, and does the memory stay within bounds?

The shipped example's stride is repeated for some minutes (140 rows a second, every cycle's heel strikes listed in the
setup), written as a states file, and refined with the shipped networks by the command line tool. Printed are the size
of the file, the cycles of both limbs, seconds and processor seconds from start to exit, and the most memory. Beside it
stands the least that any tool with this input needs: reading the file with pandas in a process of its own.

    python benchmarks/long_trial.py [--minutes 1 10] [--right-only] [--torques] [--until 6]

With ``--torques`` the motion and the ground reactions are repeated, too, as on a treadmill, and joint torques decide on
the amplitude, with elastic tendons. ``--until`` refines only so many seconds of the trial.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"

#: Heel strikes of the example's right limb, and one of the left limb between them (s).
RIGHT, LEFT = (0.2482, 1.3655), 0.8068

RATE = 140.0

READ = "import sys, pandas; pandas.read_csv(sys.argv[1], sep='\\t', skiprows=6)"


def write_trial(
    folder: Path, minutes: float, right_only: bool = False, until: float = np.inf
) -> tuple[Path, Path, int]:
    """Write states and a setup with the strikes of one limb or both; return the files and the number of cycles."""
    states = read_storage(EXAMPLE / "cmc" / "walking_states.sto")
    period = RIGHT[1] - RIGHT[0]
    at = np.arange(0.0, 60.0 * minutes, 1.0 / RATE)
    values = interpolate(states.time, states.data, RIGHT[0] + at % period)
    file = folder / "long_states.sto"
    write_storage(file, TimeSeries(at, states.labels, values, name="long"), precision=8)
    tool = STDRRefineTool()
    tool.setName("long")
    tool.setResultsDir(folder / "results")
    tool.setStatesFileName(file)
    tool.setModelFilename(EXAMPLE / "walker.osim")
    tool.cycle_source = "times"
    tool.final_time = until
    end = min(float(at[-1]), until)
    tool.right_heel_strikes = np.arange(0.0, end, period).tolist()
    tool.left_heel_strikes = [] if right_only else np.arange(LEFT - RIGHT[0], end, period).tolist()
    setup = folder / "setup_long.xml"
    tool.printToXML(setup)
    cycles = sum(max(0, len(strikes) - 1) for strikes in (tool.right_heel_strikes, tool.left_heel_strikes))
    return setup, file, cycles


def add_torques(folder: Path, setup: Path) -> None:
    """Repeat motion and ground reactions, without the way that the body makes, and name them in the setup."""
    period = RIGHT[1] - RIGHT[0]
    tool = STDRRefineTool(setup)
    at = read_storage(folder / "long_states.sto").time
    shutil.copy(EXAMPLE / "external_loads.xml", folder)
    way = 0.0
    for name in ("walking_coordinates.mot", "walking_grf.mot"):
        series = read_storage(EXAMPLE / name)
        within = at % period
        values = interpolate(series.time, series.data, RIGHT[0] + within)
        along = [column for column, label in enumerate(series.labels) if label.endswith(("pelvis_tx", "_px"))]
        if series.has("pelvis_tx"):
            way = float(np.diff(interpolate(series.time, series.column("pelvis_tx"), np.array(RIGHT)))[0]) / period
        values[:, along] -= way * within[:, None]
        write_storage(folder / name, replace(series, time=at, data=values), precision=8)
    tool.coordinates_file, tool.external_loads_file = folder / "walking_coordinates.mot", folder / "external_loads.xml"
    tool.printToXML(setup)


def measure(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a process; return seconds, processor seconds and MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environment, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed: {said.read().decode()}")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--right-only", action="store_true", help="refine the right limb only")
    parser.add_argument("--until", type=float, default=np.inf, help="refine only the trial's first seconds")
    parser.add_argument("--torques", action="store_true", help="let joint torques decide on the amplitude")
    options = parser.parse_args()
    titles = (("minutes", 8), ("MB of file", 12), ("cycles", 8), ("seconds", 10), ("processor s", 13), ("peak MB", 9))
    print("".join(f"{title:>{width}}" for title, width in titles) + f"{'x reading':>11}")
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory(prefix="long_trial_") as scratch:
            folder = Path(scratch)
            setup, file, cycles = write_trial(folder, minutes, options.right_only, options.until)
            if options.torques:
                add_torques(folder, setup)
            size = file.stat().st_size / 1e6
            _, reading, _ = measure([sys.executable, "-c", READ, str(file)], folder)
            seconds, processor, memory = measure([sys.executable, "-m", "opensim_nem2e", "run", str(setup)], folder)
            cells = f"{minutes:8g}{size:12.1f}{cycles:8d}{seconds:10.1f}{processor:13.1f}{memory:9.0f}"
            print(f"{cells}{processor / reading:11.1f}", flush=True)


if __name__ == "__main__":
    main()
