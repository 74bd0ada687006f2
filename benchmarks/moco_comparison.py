"""The redistribution beside OpenSim Moco's EMG tracking, on one real stride, in one run.

MocoInverse with a MocoControlTrackingGoal finds excitations that move the body as measured, cost little effort and
follow measured EMG. The redistribution is given the same problem: the same model (DeGrooteFregly2016 muscles, rigid
tendons), motion, ground reactions, EMG, activation dynamics and, row by row, the same objective::

    sum over all muscles of a^2  +  weight * sum over muscles with EMG of (a - EMG)^2  +  sum of (reserve / 1 Nm)^2

Moco weighs excitations, the redistribution activations. Both results are judged alike: their torques by OpenSim's own
muscles, paths and moment arms against OpenSim's inverse dynamics, their activations against the EMG. Each method runs
in a process of its own; seconds are from its start to its end, processor seconds beside them. The paths' polynomials
are fitted once per model and motion, which is measured apart.

Moco is not at its best here: it evaluates the model's own geometry paths. An expert would fit function-based paths
first (PolynomialPathFitter, minutes for 80 muscles; benchmarks/path_fit.py) and replace the geometry by them
(ModOpReplacePathsWithFunctionBasedPaths), which Moco solves faster; that was not measured. And Moco solves a harder
problem: activation dynamics are constraints of its optimal control, where the redistribution goes through the rows one
by one with what the dynamics can reach.

The data are walk_3d_example in the folder named by OPENSIM_NEM2E_DATA. Moco takes about 20 minutes.

    python benchmarks/moco_comparison.py [--weight 10] [--mesh 0.02] [--start 0.51] [--end 1.61] [--no-moco]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from muscle_forces import opensim_moments
from recordings import DATA

from opensim_nem2e.data.manifest import read_channels
from opensim_nem2e.data.simulation import Muscle
from opensim_nem2e.estimates.torque_consistent import reach_of
from opensim_nem2e.musculoskeletal.dynamics import Motion, analyse_motion
from opensim_nem2e.musculoskeletal.redistribution import redistribute
from opensim_nem2e.musculoskeletal.torque_model import TorqueModel, TorqueTerms
from opensim_nem2e.signals.compare import correlations, cycle_errors
from opensim_nem2e.signals.resample import interpolate, pchip, to_window
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage

FOLDER = DATA / "walk_3d_example"
MODEL, MOTION, LOADS = (FOLDER / name for name in ("subject_walk_scaled.osim", "coordinates.sto", "grf_walk.xml"))
EMG_OFFSET = -0.035
LOWPASS = 6.0

#: Joints that the motion does not tell; Moco needs them fixed.
WELDED = ("mtp_r", "mtp_l")

#: Bounds and activation dynamics of the muscles that Moco makes of the model's (DeGrooteFregly2016Muscle's own).
MUSCLE = Muscle(0.01, 1.0, 0.01, 1.0, 0.01, 0.015, 0.060, "degroote_fregly")


def write_emg(path: Path, start: float, end: float) -> None:
    """Write each muscle's EMG on the clock of the motion, its maximum over the stride 1."""
    emg = read_storage(FOLDER / "electromyography.sto")
    times = np.arange(start - 0.05, end + 0.05, 0.005)
    columns = {}
    for channel in read_channels(DATA / "emg_channels.csv"):
        if channel.dataset == "walk_3d_example" and channel.standard_name:
            values = np.maximum(interpolate(emg.time, emg.column(channel.column), times + EMG_OFFSET), 0.0)
            values /= values[(times >= start) & (times <= end)].max()
            columns.update(dict.fromkeys(channel.muscles, np.minimum(values, 1.0)))
    write_storage(path, TimeSeries(times, tuple(columns), np.column_stack(list(columns.values())), name="emg"))


def terms_of(options: argparse.Namespace) -> tuple[Motion, TorqueTerms]:
    """Analyse the motion."""
    motion = analyse_motion(MODEL, read_storage(MOTION), LOADS, lowpass=LOWPASS, start=options.start, end=options.end)
    return motion, TorqueModel.of_model(MODEL, motion).terms(motion, LOADS)


def run_ours(options: argparse.Namespace, folder: Path) -> None:
    """Redistribute: inverse dynamics, muscles, one quadratic program per row."""
    _, terms = terms_of(options)
    analysed = time.perf_counter()
    emg = read_storage(folder / "emg.sto")
    target, weight = np.zeros((len(terms.time), len(terms.muscles))), np.ones(len(terms.muscles))
    for label in emg.labels:
        k = terms.muscles.index(label)
        # a^2 + w (a - e)^2 = (1 + w) (a - w e / (1 + w))^2 + what does not depend on a
        weight[k] = 1.0 + options.weight
        target[:, k] = options.weight / weight[k] * interpolate(emg.time, emg.column(label), terms.time)
    found = redistribute(
        terms.gain,
        terms.inverse_dynamics - terms.passive_torque,
        target,
        weight,
        np.full(len(terms.muscles), MUSCLE.low),
        np.full(len(terms.muscles), MUSCLE.high),
        reserve=1.0,
        reach=reach_of((MUSCLE,) * len(terms.muscles), float(terms.time[1] - terms.time[0])),
    )
    solved = time.perf_counter() - analysed
    series = TimeSeries(terms.time, terms.muscles, found.activations, name="redistribution")
    write_storage(folder / "ours.sto", series, precision=12)
    note = {"programs": solved, "reserve": float(np.sqrt(np.mean(found.reserves**2))), "success": True}
    (folder / "ours.json").write_text(json.dumps(note))


def run_moco(options: argparse.Namespace, folder: Path) -> None:
    """Track the EMG with Moco."""
    import opensim

    processor = opensim.ModelProcessor(str(MODEL))
    processor.append(opensim.ModOpAddExternalLoads(str(LOADS)))
    joints = opensim.StdVectorString()
    for joint in WELDED:
        joints.append(joint)
    processor.append(opensim.ModOpReplaceJointsWithWelds(joints))
    processor.append(opensim.ModOpIgnoreTendonCompliance())
    processor.append(opensim.ModOpReplaceMusclesWithDeGrooteFregly2016())
    processor.append(opensim.ModOpAddReserves(1.0))
    kinematics = opensim.TableProcessor(str(MOTION))
    kinematics.append(opensim.TabOpLowPassFilter(LOWPASS))
    kinematics.append(opensim.TabOpUseAbsoluteStateNames())
    inverse = opensim.MocoInverse()
    inverse.setModel(processor)
    inverse.setKinematics(kinematics)
    inverse.set_kinematics_allow_extra_columns(True)
    inverse.set_initial_time(options.start)
    inverse.set_final_time(options.end)
    inverse.set_mesh_interval(options.mesh)
    study = inverse.initialize()
    table = opensim.TimeSeriesTable(str(folder / "emg.sto"))
    goal = opensim.MocoControlTrackingGoal("emg_tracking")
    goal.setWeight(options.weight)
    goal.setReference(opensim.TableProcessor(table))
    for label in table.getColumnLabels():
        goal.setReferenceLabel(f"/forceset/{label}", label)
    study.updProblem().addGoal(goal)
    solution = study.solve()
    success = bool(solution.success())
    if not success:
        solution.unseal()
    solution.write(str(folder / "moco_solution.sto"))
    series = read_storage(folder / "moco_solution.sto")
    labels = [label for label in series.labels if label.endswith("/activation")]
    names = tuple(label.split("/")[-2] for label in labels)
    own = TimeSeries(series.time, names, series.select(labels), name="moco")
    write_storage(folder / "moco.sto", own, precision=12)
    legs = [
        label for label in series.labels if "reserve" in label and any(c in label for c in ("hip", "knee", "ankle"))
    ]
    emg = read_storage(folder / "emg.sto")
    span = float(series.time[0]), float(series.time[-1])
    excitation = to_window(series.time, series.select([f"/forceset/{label}" for label in emg.labels]), *span).T
    note = {
        "reserve": float(np.sqrt(np.mean(series.select(legs) ** 2))),
        "success": success,
        "E_excitation": float(cycle_errors(excitation, to_window(emg.time, emg.data, *span).T).mean()),
    }
    (folder / "moco.json").write_text(json.dumps(note))


def timed(kind: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run a method in a process of its own."""
    command = [sys.executable, __file__, "--run", kind, "--folder", str(folder)]
    for name in ("weight", "mesh", "start", "end"):
        command += [f"--{name}", str(getattr(options, name))]
    before, began = os.times(), time.perf_counter()
    with (folder / f"{kind}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    seconds, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "processor": used, **json.loads((folder / f"{kind}.json").read_text())}


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


def judge(series: TimeSeries, motion: Motion, terms: TorqueTerms, emg: TimeSeries, every: int = 4) -> SimpleNamespace:
    """Take a result's torque error by OpenSim's own muscles, and its error against the EMG."""
    rows = slice(None, None, every)
    activations = pchip(series.time, series.select(list(terms.muscles)), terms.time[rows])
    error = opensim_torques(MODEL, motion, terms, activations, np.arange(len(terms.time))[rows])
    error -= terms.inverse_dynamics[rows]
    rmse = np.sqrt(np.mean(error**2, axis=0))
    start, end = float(terms.time[0]), float(terms.time[-1])
    cut = to_window(series.time, series.select(list(emg.labels)), start, end).T
    measured = to_window(emg.time, emg.data, start, end).T
    return SimpleNamespace(
        rmse=rmse,
        percent=100.0 * rmse / np.abs(terms.inverse_dynamics).max(axis=0),
        E=float(cycle_errors(cut, measured).mean()),
        r=float(correlations(cut, measured).mean()),
    )


def report(options: argparse.Namespace, folder: Path) -> None:
    """Run both methods and print how they compare."""
    write_emg(folder / "emg.sto", options.start, options.end)
    began = time.perf_counter()
    motion, terms = terms_of(options)
    first = time.perf_counter() - began
    methods = {"ours": "redistribution"} if options.no_moco else {"ours": "redistribution", "moco": "Moco"}
    runs = {kind: timed(kind, options, folder) for kind in methods}
    emg = read_storage(folder / "emg.sto")
    found = {kind: judge(read_storage(folder / f"{kind}.sto"), motion, terms, emg) for kind in methods}
    span = f"{options.start:g} to {options.end:g} s"
    print(
        f"walk_3d_example, {span}, {len(terms.muscles)} muscles, {len(emg.labels)} with EMG, weight {options.weight:g}"
    )
    for name, run in runs.items():
        print(f"{methods[name]}: success {run['success']}, own reserves of the legs {run['reserve']:.3f} Nm RMS")
    print("RMSE of the torques by OpenSim's own muscles against inverse dynamics (Nm, % of peak):")
    for k, name in enumerate(terms.coordinates):
        cells = [f"{methods[kind]} {one.rmse[k]:6.2f} ({one.percent[k]:4.1f} %)" for kind, one in found.items()]
        print(f"  {name:<18}" + "   ".join(cells))
    for kind, one in found.items():
        run, error = runs[kind], one.percent.mean()
        print(f"{methods[kind]:<15} torque error {error:.2f} % of peak (mean), E {one.E:.3f}, r {one.r:.3f}", end=", ")
        print(f"{run['seconds']:.1f} s ({run['processor']:.1f} s of processor)")
    print(f"The quadratic programs took {runs['ours']['programs']:.2f} s; the analysis before the runs {first:.1f} s:")
    print("minutes where the model's paths had not been fitted before, seconds where they had.")
    if "moco" in runs:
        print(f"Moco tracks excitations: theirs against the EMG: E {runs['moco']['E_excitation']:.3f}.")
        print(
            f"Moco took {runs['moco']['seconds'] / runs['ours']['seconds']:.0f} times as long "
            f"({runs['moco']['processor'] / runs['ours']['processor']:.0f} times in processor time)."
        )


def main() -> None:
    """Measure, or be one of the methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weight", type=float, default=10.0, help="of the EMG in the objective")
    parser.add_argument("--mesh", type=float, default=0.02, help="Moco's mesh interval (s)")
    parser.add_argument("--start", type=float, default=0.51)
    parser.add_argument("--end", type=float, default=1.61)
    parser.add_argument("--no-moco", action="store_true", help="only the redistribution")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=("ours", "moco"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        {"ours": run_ours, "moco": run_moco}[options.run](options, options.folder)
    elif options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        report(options, options.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="moco_comparison_") as folder:
            report(options, Path(folder))


if __name__ == "__main__":
    main()
