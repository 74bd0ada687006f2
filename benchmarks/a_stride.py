"""What a user waits for: one stride of the shipped example, from the start of the process to its end, and many strides.

The stride is refined with the amplitude that its joint torques need (`redistribute`), with the paths of its muscles
fitted before: once without report, once with report and 3D view, once with all figures as well. The first and the last
are repeated with rigid tendons: elastic ones, which CMC's results have, are found by turns with the activations. Then
as many setups as are asked for go to one `opensim-nem2e run`, without report: what each further one costs is the
difference to the first, shared out. Every line has wall and processor seconds (user and system, OpenSim's process
included), beside what importing PyTorch and OpenSim costs in the same minute on the same machine: compare the ratios.

    python benchmarks/a_stride.py [--repeat 3] [--trials 10]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from long_trial import measure

from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"


def write_setup(
    folder: Path, name: str, *, torques: bool, report: bool = False, figures: bool = False, tendons: str = "auto"
) -> str:
    """Write a setup file; return its path."""
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    for file in ("model_file", "states_file", "controls_file", "external_loads_file"):
        tool.set(file, str(tool.resolve(file)))
    tool.setName(name)
    tool.setResultsDir(folder / name)
    tool.amplitude = "torques" if torques else "simulation"
    tool.redistribute = torques
    tool.tendons = tendons
    tool.write_report = tool.write_model_view = report
    tool.write_figures = figures
    setup = folder / f"{name}.xml"
    tool.printToXML(setup)
    return str(setup)


def median_of(command: list[str], folder: Path, repeat: int) -> tuple[float, float, float]:
    """Return the medians of wall seconds, processor seconds and MB, after a first run that fills the caches."""
    runs = [measure(command, folder) for _ in range(repeat + 1)][1:]
    wall, processor, memory = (statistics.median(values) for values in zip(*runs, strict=True))
    return wall, processor, memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="a_stride_") as scratch:
        folder = Path(scratch)
        # As after an installation: compiled once.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        run = [sys.executable, "-m", "opensim_nem2e", "-q", "run"]
        kinds: dict[str, dict[str, Any]] = {
            "one stride, no report": {},
            "with report and 3D view": {"report": True},
            "with figures as well": {"report": True, "figures": True},
            "rigid tendons, no report (< 2 s)": {"tendons": "rigid"},
            "rigid tendons, report and figures (< 3 s)": {"report": True, "figures": True, "tendons": "rigid"},
        }
        lines = {
            "import torch": [sys.executable, "-c", "import torch"],
            "import opensim": [sys.executable, "-c", "import opensim"],
        }
        for number, (what, more) in enumerate(kinds.items()):
            lines[what] = [*run, write_setup(folder, f"stride{number}", torques=True, **more)]
        found = {}
        print(f"{'':<44}{'wall s':>8}{'processor s':>13}{'peak MB':>9}{'x import torch':>16}")
        for what, command in lines.items():
            found[what] = median_of(command, folder, options.repeat)
            wall, processor, memory = found[what]
            share = processor / found["import torch"][1]
            print(f"{what:<44}{wall:8.2f}{processor:13.2f}{memory:9.0f}{share:16.2f}", flush=True)
        for torques, what in ((False, "simulation's amplitude (< .15 s)"), (True, "amplitude by torques")):
            names = [f"trial{torques:d}_{number}" for number in range(options.trials)]
            setups = [write_setup(folder, name, torques=torques) for name in names]
            first = median_of([*run, setups[0]], folder, options.repeat)
            every = median_of([*run, *setups], folder, options.repeat)
            wall, processor = ((every[k] - first[k]) / (options.trials - 1) for k in (0, 1))
            share = processor / found["import torch"][1]
            label = f"each further trial, {what}"
            print(f"{label:<44}{wall:8.2f}{processor:13.2f}{every[2]:9.0f}{share:16.2f}", flush=True)


if __name__ == "__main__":
    main()
