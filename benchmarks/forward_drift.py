"""How far does the motion stay when ForwardTool integrates the controls, with elastic and with rigid tendons?

The shipped example is refined (amplitude torques, with ``tendons`` rigid and elastic); OpenSim's ForwardTool then
integrates, open loop, CMC's own controls and the refined ones, from the states of the same file, at the right heel
strike. Printed are the largest departures of the right leg's hip, knee and ankle angles from the simulated motion
(degrees) after each time (the left leg is before its cycle then and keeps CMC's activations); a run that fails says so.
First the error of the torques of the refinement, its peaks' percent, by the tendons that it knew, and the seconds it
took. NMM's controls for either kind of tendons are integrated, too, with the subject's own model: its EMG is made of
CMC's excitations of eight muscles of the right leg, smoothed at 6 Hz; of gluteus maximus, iliopsoas, medial vastus and
short biceps there is none.

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
from scipy.signal import butter, filtfilt

from opensim_nem2e import NMMTool, TimeSeries
from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.estimates.torque_metrics import overall_percent
from opensim_nem2e.log import logger
from opensim_nem2e.musculoskeletal.opensim.processes import run_opensim_tool
from opensim_nem2e.storage import read_storage, write_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
START = 0.26
STRIDE = 1.1
MEASURED = ("recfem_r", "bflh_r", "semimem_r", "vaslat_r", "gasmed_r", "gaslat_r", "soleus_r", "tibant_r")
DEEP = ("glmax1_r", "iliopsoas_r", "vasmed_r", "bfsh_r")
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


def estimate(folder: Path, tendons: str) -> None:
    """Estimate the right leg's excitations with NMM; all else is CMC's. The model keeps to these tendons."""
    controls = read_storage(folder / "cmc" / "walking_controls.sto")
    rows = np.arange(controls.time[0], controls.time[-1], 0.01)
    muscles = (*MEASURED, *DEEP)
    raw = np.column_stack([np.interp(rows, controls.time, controls.column(muscle)) for muscle in muscles])
    smooth = np.maximum(filtfilt(*butter(2, 6.0 / 50.0), raw, axis=0), 0.0)
    write_storage(folder / "emg.sto", TimeSeries(rows, MEASURED, smooth[:, : len(MEASURED)]))
    tool = NMMTool(
        name="walking",
        results_directory=str(folder / f"nmm_{tendons}"),
        model_file=str(folder / "walker.osim"),
        coordinates_files=[str(folder / "walking_coordinates.mot")],
        emg_files=[str(folder / "emg.sto")],
        external_loads_files=[str(folder / "external_loads.xml")],
        states_files=[str(folder / "cmc" / "walking_states.sto")],
        initial_time=float(controls.time[0]),
        final_time=float(controls.time[-1]),
        lowpass_cutoff_frequency_for_coordinates=-1.0,
        tendons=tendons,
        validate=False,
        write_report=False,
    )
    tool.run()
    made = folder / f"nmm_{tendons}"
    results = made / "walking_walking_coordinates"
    for word in ("states", "controls"):
        shutil.copy(f"{results}_{word}.sto", made / f"walking_{word}.sto")
    keep_tendons(made / "walking_model.osim", folder / f"nmm_{tendons}.osim", tendons)
    with (made / "walking_torques.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    for kind in ("fit", "consistent"):
        errors, peaks = ([float(row[name]) for row in table] for name in (f"rmse_{kind}", "peak"))
        print(f"NMM, {tendons} tendons: torque error {overall_percent(errors, peaks):.3f} % ({kind})")
    if tendons == "rigid":
        return
    found = read_storage(f"{results}_excitation.sto")
    for muscle, truth in zip(DEEP, smooth[:, len(MEASURED) :].T, strict=True):
        inside = (found.time >= START) & (found.time <= START + STRIDE)
        r = np.corrcoef(found.column(muscle)[inside], np.interp(found.time[inside], rows, truth))[0, 1]
        print(f"NMM: {muscle} without EMG, r {r:.2f} with CMC's excitation")


def keep_tendons(model: Path, to: Path, tendons: str) -> None:
    """Copy a model of elastic tendons, which become rigid if they are to be."""
    end, ignored = "</Millard2012EquilibriumMuscle>", "<ignore_tendon_compliance>true</ignore_tendon_compliance>"
    text = model.read_text()
    to.write_text(text.replace(end, ignored + end) if tendons == "rigid" else text)


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
        for tendons in ("rigid", "elastic"):
            estimate(folder, tendons)
            keep_tendons(folder / "walker.osim", folder / f"{tendons}.osim", tendons)
        marks = ", ".join(f"{1e3 * seconds * share:.0f}" for share in (1 / 6, 1 / 3, 2 / 3, 1.0))
        print(f"largest departure of a leg's angle (degrees) after {marks} ms")
        kinds = {"cmc": "CMC's", "rigid": "refined (rigid)", "elastic": "refined (elastic)"}
        for tendons in ("elastic", "rigid"):
            for kind, word in {**kinds, f"nmm_{tendons}": f"NMM's ({tendons})"}.items():
                own = f"{kind if kind.startswith('nmm') else tendons}.osim"
                try:
                    said = "  ".join(f"{value:6.1f}" for value in departures(folder, own, kind, seconds))
                except NEM2EError as error:
                    said = str(error).splitlines()[0]
                print(f"{tendons} tendons, {word} controls: {said}", flush=True)


if __name__ == "__main__":
    main()
