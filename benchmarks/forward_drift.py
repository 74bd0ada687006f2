"""How far does the motion stay when ForwardTool integrates the controls, with elastic and with rigid tendons?

The shipped example is refined (amplitude torques, with ``tendons`` rigid and elastic); OpenSim's ForwardTool then
integrates, open loop, CMC's own controls and the refined ones, from the states of the same file, at the right heel
strike. Printed are the largest departures of the right leg's hip, knee and ankle angles from the simulated motion
(degrees) after each time (the left leg is before its cycle then and keeps CMC's activations); a run that fails says so.
First the error of the torques of the refinement, its peaks' percent, by the tendons that it knew, and the seconds it
took.

    python benchmarks/forward_drift.py [--seconds 0.3]
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.estimates.torque_metrics import overall_percent
from opensim_nem2e.log import logger
from opensim_nem2e.musculoskeletal.opensim.processes import run_opensim_tool
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
START = 0.26
ANGLES = ("hip_flexion", "knee_angle", "ankle_angle")

SETUP = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600"><ForwardTool name="forward">
<model_file>{model}</model_file><replace_force_set>false</replace_force_set>
<force_set_files>actuators.xml</force_set_files><results_directory>{results}</results_directory>
<initial_time>{start}</initial_time><final_time>{end}</final_time>
<external_loads_file>external_loads.xml</external_loads_file><states_file>{states}</states_file>
<ControllerSet name="Controllers"><objects><ControlSetController><controls_file>{controls}</controls_file>
</ControlSetController></objects></ControllerSet></ForwardTool></OpenSimDocument>
"""


def refine(folder: Path, tendons: str) -> None:
    """Refine the example with amplitudes from torques."""
    tool = STDRRefineTool(folder / "setup_refine.xml")
    tool.setResultsDir(folder / tendons)
    tool.tendons = tendons
    tool.coordinates_file = str(folder / "walking_coordinates.mot")
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    tool.write_figures = tool.write_report = False
    began = time.process_time()
    tool.run()
    seconds = time.process_time() - began
    with (folder / tendons / "walking_torques.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for kind in ("opensim", "consistent"):
        errors, peaks = ([float(row[name]) for row in rows] for name in (f"rmse_{kind}", "peak"))
        print(f"{tendons} tendons in the refinement: torque error {overall_percent(errors, peaks):.3f} % ({kind})")
    print(f"{tendons} tendons in the refinement: {seconds:.1f} s of this process")


def departures(folder: Path, model: str, kind: str, seconds: float) -> list[float]:
    """Integrate and return the largest departure (degrees) after each tenth of the time."""
    states, controls = (f"{kind}/walking_{word}.sto" for word in ("states", "controls"))
    results = f"forward_{model.removesuffix('.osim')}_{kind}"
    setup = folder / f"{results}.xml"
    values = {"model": model, "results": results, "start": START, "end": START + seconds}
    setup.write_text(SETUP.format(**values, states=states, controls=controls))
    run_opensim_tool(setup, timeout=1800)
    found, wanted = read_storage(folder / results / "forward_states.sto"), read_storage(folder / states)
    largest = np.zeros(found.time.size)
    for label in found.labels:
        if label.endswith("_r/value") and any(name in label for name in ANGLES):
            there = np.interp(found.time, wanted.time, wanted.column(label))
            largest = np.maximum(largest, np.degrees(np.abs(found.column(label) - there)))
    marks = START + seconds * np.array([1 / 6, 1 / 3, 2 / 3, 1.0])
    return [float(largest[found.time <= mark + 1e-9].max()) for mark in marks]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3)
    seconds = parser.parse_args().seconds
    logging.getLogger(logger.name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="forward_drift_") as scratch:
        folder = Path(scratch) / "example"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("results", "__pycache__"))
        for tendons in ("rigid", "elastic"):
            refine(folder, tendons)
        text = (folder / "walker.osim").read_text()
        end = "</Millard2012EquilibriumMuscle>"
        (folder / "rigid.osim").write_text(
            text.replace(end, f"<ignore_tendon_compliance>true</ignore_tendon_compliance>{end}")
        )
        marks = ", ".join(f"{1e3 * seconds * share:.0f}" for share in (1 / 6, 1 / 3, 2 / 3, 1.0))
        print(f"largest departure of a leg's angle (degrees) after {marks} ms")
        for model, tendons in (("walker.osim", "elastic"), ("rigid.osim", "rigid")):
            for kind, word in (("cmc", "CMC's"), ("rigid", "refined (rigid)"), ("elastic", "refined (elastic)")):
                try:
                    said = "  ".join(f"{value:6.1f}" for value in departures(folder, model, kind, seconds))
                except NEM2EError as error:
                    said = str(error).splitlines()[0]
                print(f"{tendons} tendons, {word} controls: {said}", flush=True)


if __name__ == "__main__":
    main()
