"""Do consistent activations make the torques that real motions need? ``opensim-nem2e run`` with ``redistribute``.

For each trial the command line tool refines the simulation and redistributes it; printed per coordinate are the errors
of the torques against inverse dynamics with OpenSim's, the refined and the consistent activations (rigid tendons,
fitted paths), and, for the consistent ones, two more: with the activations that the written controls lead to through
the activation dynamics, and by OpenSim's own muscles, paths and moment arms. Then the errors against measured EMG where
there is any (the shipped networks were trained on these people: read it as a comparison of the three only).

With ``--settings`` the trials' networks run once, and weights and filter are varied: how far refined and other muscles
move, how fast they change, and how well controls can follow.

The trials are the shipped example and, in the folder named by OPENSIM_NEM2E_DATA, walk_3d_example, ceinms_lower_limb
and Gait10dof18musc. Paths are fitted at the first run (seconds) and found in the cache afterwards.

    python benchmarks/redistribution.py [--trial NAME ...] [--folder RESULTS] [--settings] [--no-opensim]
"""

from __future__ import annotations

import argparse
import csv
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from muscle_forces import opensim_moments
from recordings import DATA

from opensim_nem2e.estimates.estimate import Estimate
from opensim_nem2e.estimates.torque_consistent import RedistributionSettings, make_consistent
from opensim_nem2e.estimates.torque_metrics import overall_percent
from opensim_nem2e.estimates.torques import joint_terms
from opensim_nem2e.estimates.write import EstimateWriter
from opensim_nem2e.log import logger
from opensim_nem2e.musculoskeletal.dynamics import Motion, analyse_motion
from opensim_nem2e.musculoskeletal.torque_model import TorqueTerms
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import find_activation_columns, read_storage
from opensim_nem2e.tools.mechanics_options import mechanics_settings
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
PIPELINES, CEINMS, WALK3D = (DATA / name for name in ("opensim_pipelines", "ceinms_lower_limb", "walk_3d_example"))


def example() -> STDRRefineTool:
    """Set the shipped example up."""
    tool = STDRRefineTool()
    tool.setModelFilename(EXAMPLE / "walker.osim")
    tool.setStatesFileName(EXAMPLE / "cmc" / "walking_states.sto")
    tool.setExternalLoadsFileName(EXAMPLE / "external_loads.xml")
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    return tool


def walk_3d() -> STDRRefineTool:
    """Set walk_3d_example up: one cycle from right mid-stance to right mid-stance."""
    tool = STDRRefineTool()
    tool.setModelFilename(WALK3D / "subject_walk_scaled.osim")
    tool.setStatesFileName(WALK3D / "activations_cmc" / "walk_stride01_states.sto")
    tool.setExternalLoadsFileName(WALK3D / "grf_walk.xml")
    tool.coordinates_file = str(WALK3D / "coordinates.sto")
    tool.cycle_source = "whole_file"
    tool.whole_file_heel_strike = 1.4112
    tool.emg_file = str(WALK3D / "electromyography.sto")
    tool.emg_channels_file = str(DATA / "emg_channels.csv")
    tool.emg_time_offset = -0.035
    return tool


def ceinms(stride: str) -> Callable[[], STDRRefineTool]:
    """Return what sets a stride of ceinms_lower_limb, walking at 1.25 m/s, up."""

    def make() -> STDRRefineTool:
        tool = STDRRefineTool()
        tool.setModelFilename(CEINMS / "gait2392_58kg_strength2.osim")
        tool.setStatesFileName(CEINMS / "activations_cmc" / f"walk45_{stride}_states.sto")
        tool.setExternalLoadsFileName(CEINMS / "walk45_external_loads.xml")
        tool.coordinates_file = str(CEINMS / "walk45_ik.mot")
        tool.roll_incomplete_cycles = True
        tool.emg_file = str(CEINMS / "walk45_emg.sto")
        tool.emg_channels_file = str(DATA / "emg_channels.csv")
        tool.emg_time_offset = -0.13
        return tool

    return make


def gait10() -> STDRRefineTool:
    """Set Gait10dof18musc up."""
    walk = PIPELINES / "Gait10dof18musc"
    tool = STDRRefineTool()
    tool.setModelFilename(walk / "subject01.osim")
    tool.setStatesFileName(PIPELINES / "reference_cmc" / "gait10dof18musc_walk_states.sto")
    tool.setExternalLoadsFileName(walk / "ExperimentalData" / "subject01_walk_grf.xml")
    tool.coordinates_file = str(walk / "OutputReference" / "RRA" / "subject_adjusted_Kinematics_q.sto")
    tool.roll_incomplete_cycles = True
    return tool


TRIALS = {
    "example": example,
    "gait10dof18musc": gait10,
    "walk_3d_example": walk_3d,
    "ceinms_walk45_stride02": ceinms("stride02"),
    "ceinms_walk45_stride08": ceinms("stride08"),
}


def motion_of(tool: STDRRefineTool, start: float, end: float) -> Motion:
    """Analyse a trial's motion."""
    model, kinematics = tool.resolve("model_file"), tool.resolve("coordinates_file")
    return analyse_motion(
        model,
        read_storage(kinematics, model=model),
        tool.resolve("external_loads_file"),
        lowpass=tool.lowpass_cutoff_frequency_for_coordinates,
        start=start,
        end=end,
    )


def opensim_torques(
    model_file: Path, motion: Motion, terms: TorqueTerms, activations: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the torques of activations (rows, muscles) by OpenSim's own muscles, paths and moment arms (Nm)."""
    # What follows the terms' coordinates, such as a patella, must be where the motion has it, too.
    moving = np.ptp(motion.q, axis=0) > 0.0
    posed = [k for k, name in enumerate(motion.coordinates) if name in terms.coordinates or moving[k]]
    names = [motion.coordinates[k] for k in posed]
    columns = [names.index(name) for name in terms.coordinates]
    arms = np.zeros((*terms.moment_arms.shape[:2], len(names)))
    arms[..., columns] = terms.moment_arms
    paths = SimpleNamespace(muscles=terms.muscles, coordinates=names, evaluate=lambda q: (None, arms))
    made, _ = opensim_moments(
        model_file, paths, motion.q[rows][:, posed], motion.qdot[rows][:, posed], activations, own_class=True
    )
    return made[:, columns]


def run_trial(name: str, folder: Path, with_opensim: bool) -> None:
    """Run the command line tool on a trial and print its table."""
    tool = TRIALS[name]()
    tool.setName(name)
    tool.setResultsDir(folder / name)
    tool.redistribute = True
    setup = folder / f"{name}.xml"
    tool.printToXML(setup)
    command = [
        sys.executable,
        "-c",
        "import sys; from opensim_nem2e.cli.main import main; sys.exit(main())",
        "run",
        str(setup),
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    results = folder / name
    table = read_table(results / f"{name}_torques.csv")
    by_opensim = judge(tool, results / f"{name}_consistent_states.sto") if with_opensim else {}

    print(f"\n{name}: {seconds:.1f} s from start to exit; RMSE of the torques against inverse dynamics (Nm, % of peak)")
    head = ("OpenSim", "estimate", "consistent", "through controls", "by OpenSim", "largest reserve")
    print(f"{'coordinate':<18}{'peak':>8}" + "".join(f"{word:>19}" for word in head))
    for row in table:
        coordinate, peak = row["coordinate"], float(row["peak"])
        numbers = [float(row[f"rmse_{kind}"]) for kind in ("opensim", "estimate", "consistent", "controls")]
        numbers += [by_opensim.get(coordinate, float("nan")), float(row["largest_reserve"])]
        cells = "".join(f"{number:9.2f} ({100 * number / peak:5.1f} %)" for number in numbers)
        print(f"{coordinate:<18}{peak:8.1f}{cells}")
    peaks = [float(row["peak"]) for row in table]
    overall = [
        [float(row[f"rmse_{kind}"]) for row in table] for kind in ("opensim", "estimate", "consistent", "controls")
    ]
    overall += [[by_opensim.get(row["coordinate"], float("nan")) for row in table]]
    said = "".join(f"{max(one):9.2f} ({overall_percent(one, peaks):5.1f} %)" for one in overall)
    print(f"{'largest, overall':<18}{max(peaks):8.1f}{said}")
    errors = results / f"{name}_emg_errors.csv"
    if errors.is_file():
        rows = read_table(errors)
        means = {
            kind: np.mean([float(row[f"E_{kind}"]) for row in rows]) for kind in ("opensim", "refined", "consistent")
        }
        said = ", ".join(f"{kind} {value:.3f}" for kind, value in means.items())
        print(f"E against measured EMG, mean of {len(rows)} muscles: {said}")


def judge(tool: STDRRefineTool, states_file: Path) -> dict[str, float]:
    """Return each coordinate's torque error (RMSE, Nm) by OpenSim's own muscles."""
    writer, activations, terms = refined(tool)
    check = make_consistent(writer.trial, writer.muscles, activations, terms, settings_of(tool)).check
    motion = motion_of(tool, float(terms.time[0]), float(terms.time[-1]))
    states = read_storage(states_file)
    columns = find_activation_columns(states)
    activations = interpolate(states.time, states.select([columns[name] for name in terms.muscles]), terms.time)
    rows = np.flatnonzero(check.compared.any(axis=1))[::4]
    made = opensim_torques(tool.resolve("model_file"), motion, check.terms, activations[rows], rows)
    error = made - check.terms.inverse_dynamics[rows]
    compared = check.compared[rows]
    return {name: rms(error[compared[:, k], k]) for k, name in enumerate(check.terms.coordinates)}


def vary(name: str) -> None:
    """Print what weights and the filter do on a trial."""
    tool = TRIALS[name]()
    writer, activations, terms = refined(tool)
    trial = writer.trial
    was_refined = np.array([muscle in activations.muscles for muscle in terms.muscles])
    default = settings_of(tool)
    print(f"\n{name}: RMS by which refined | other muscles move, RMS of their second derivative (1/s^2), torques (%)")
    tries = [replace(default, others_weight=weight) for weight in (1.0, 0.3, 0.1, 0.03, 0.01)]
    tries += [replace(default, reserve=reserve) for reserve in (100.0, 30.0, 10.0, 1.0)]
    tries += [replace(default, lowpass=lowpass) for lowpass in (-1.0, 20.0, 10.0)]
    for settings in tries:
        found = make_consistent(trial, writer.muscles, activations, terms, settings)
        point = next(point for point in found.curve if point.chosen)
        written = found.new.values(trial.activations)
        grid = interpolate(trial.time, np.column_stack([written[name] for name in terms.muscles]), terms.time)
        bend = np.diff(grid, 2, axis=0) / np.diff(terms.time)[1:, np.newaxis] ** 2
        moved = np.array([muscle in found.new.muscles for muscle in terms.muscles])
        bends = f"{rms(bend[:, was_refined]):5.0f} | {rms(bend[:, moved & ~was_refined]):5.0f}"
        print(
            f"weight {settings.others_weight:5g}, reserve {settings.reserve:4g} Nm, filter {settings.lowpass:3g} Hz:"
            f"  {point.distance_refined:.3f} | {point.distance_others:.3f}   {bends}   {point.torque_error:.3f}"
        )


def refined(tool: STDRRefineTool) -> tuple[EstimateWriter, Estimate, TorqueTerms]:
    """Refine a trial and compute what its torques are made of, as the tool does."""
    read = tool._estimate()
    estimate, writer, model = read.estimate, read.writer, read.model
    files = tool.resolve("coordinates_file"), tool.resolve("external_loads_file")
    terms = joint_terms(writer.trial, model, *files, tool.lowpass_cutoff_frequency_for_coordinates, (), "rigid")
    return writer, estimate.as_activations(writer.muscles), terms


def settings_of(tool: STDRRefineTool) -> RedistributionSettings:
    """Return the settings of a tool."""
    tool.redistribute = True
    settings = mechanics_settings(tool).redistribution
    assert settings is not None
    return settings


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def rms(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    """Run the trials that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trial", nargs="+", choices=tuple(TRIALS), default=tuple(TRIALS))
    parser.add_argument("--folder", type=Path, help="where results are kept (default: nowhere)")
    parser.add_argument("--settings", action="store_true", help="vary weights and filter")
    parser.add_argument("--no-opensim", action="store_true", help="without OpenSim's own evaluation")
    options = parser.parse_args()
    logging.getLogger(logger.name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="redistribution_") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.trial:
            model = TRIALS[name]().resolve("model_file")
            if not model.is_file():
                print(f"\n{name}: '{model}' is not there")
            elif options.settings:
                vary(name)
            else:
                run_trial(name, folder, not options.no_opensim)


if __name__ == "__main__":
    main()
