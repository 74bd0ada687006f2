"""Mode ``exact`` of KinematicsToActivationTool beside OpenSim's StaticOptimization: agreement, and time in one run.

Agreement: R2 over the frames of all strides, muscle by muscle, of the activations found from each trial's motion and
loads against those that OpenSim 4.6's StaticOptimization found (``activation_source`` so of the recordings named by
OPENSIM_NEM2E_DATA): the ten muscles of the PI-MJCA-BiGRU paper on the recorded side, and all muscles of the model that
are active (more than .1 in any frame). Three forces are compared: ``static_optimization``, ``rigid_tendon`` (OpenSim's
curves with the true pennation), and the curves of DeGrooteFregly2016Muscle for every muscle. The trials of
predictsim_subject1 have joint moments but no loads: their moments are read from the file.

Time: StaticOptimization runs in a process of its own on two stretches of the same trial, whose difference is the time
of a frame without start-up and reading. Ours is the whole trial: the share of the moments (muscle paths, forces,
programs), and all in (reading, filtering, OpenSim's inverse dynamics in a process of its own, the fit of the paths).
Processor time. Streaming: the same trial frame by frame, one leg, moments given; wall time of each frame in
percentiles, processor time on average.

    python benchmarks/static_optimization.py [--trials walk36 ...] [--strides 4] [--frames 10 40]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recordings import DATA

from opensim_nem2e.data.manifest import CycleRecord, read_trials
from opensim_nem2e.estimates.static_optimization import (
    Optimum,
    ProgramSettings,
    moments_of_file,
    optimise,
    read_motion,
)
from opensim_nem2e.estimates.streaming import load
from opensim_nem2e.musculoskeletal.dynamics import Motion
from opensim_nem2e.musculoskeletal.torque_model import TorqueModel
from opensim_nem2e.storage import read_storage, write_storage
from opensim_nem2e.storage.osim import OsimModel, read_model

#: The paper's muscles by the names of gait2392 and of Rajagopal's model.
TEN = (
    ("psoas",),
    ("rect_fem", "recfem"),
    ("bifemlh", "bflh"),
    ("semimem",),
    ("iliacus",),
    ("vas_int", "vasint"),
    ("vas_lat", "vaslat"),
    ("vas_med", "vasmed"),
    ("lat_gas", "gaslat"),
    ("med_gas", "gasmed"),
)

#: Name, dataset, name of the trial in the manifest, low-pass cut-off of the coordinates (Hz; as the reference had it).
TRIALS = (
    ("walk36", "ceinms_lower_limb", "walk36", 6.0),
    ("walk45", "ceinms_lower_limb", "walk45", 6.0),
    ("run81", "ceinms_lower_limb", "run81", 10.0),
    ("walk_sub1", "walk_sub1", "walking_baseline1", 6.0),
)

FORCES = ("static_optimization", "rigid_tendon", "degroote_fregly")

SETUP = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
    <AnalyzeTool name="so">
        <model_file>{model}</model_file>
        <replace_force_set>false</replace_force_set>
        <force_set_files>{reserves}</force_set_files>
        <results_directory>{folder}</results_directory>
        <initial_time>{start}</initial_time>
        <final_time>{end}</final_time>
        <AnalysisSet><objects><StaticOptimization name="StaticOptimization">
            <start_time>{start}</start_time>
            <end_time>{end}</end_time>
            <step_interval>1</step_interval>
        </StaticOptimization></objects></AnalysisSet>
        <external_loads_file>{loads}</external_loads_file>
        <coordinates_file>{coordinates}</coordinates_file>
        <lowpass_cutoff_frequency_for_coordinates>{lowpass}</lowpass_cutoff_frequency_for_coordinates>
    </AnalyzeTool>
</OpenSimDocument>
"""

RUN = """
import json, sys, time
import opensim
opensim.Logger.setLevelString("off")
start = time.process_time()
assert opensim.AnalyzeTool(sys.argv[1]).run()
print(json.dumps(time.process_time() - start))
"""


def determination(reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return R2 of every column."""
    error = ((reference - found) ** 2).sum(axis=0)
    result: np.ndarray = 1.0 - error / ((reference - reference.mean(axis=0)) ** 2).sum(axis=0)
    return result


def ten_of(muscles: Sequence[str], side: str) -> list[str]:
    """Return the paper's ten muscles of a side."""
    return [f"{name}_{side}" for names in TEN for name in names if f"{name}_{side}" in muscles]


def solve(model: OsimModel, motion: Motion, needed: Callable[[TorqueModel], np.ndarray], force: str) -> Optimum:
    """Return the activations with one of the forces."""
    settings = ProgramSettings("rigid_tendon" if force == "rigid_tendon" else "static_optimization")
    curves: Any = {"rigid_tendon": "own"}.get(force, force)
    muscles = TorqueModel.of_model(model.path, motion, curves=curves)
    return optimise(model, muscles, motion, needed(muscles), settings)


def at_strides(optimum: Optimum, strides: Sequence[CycleRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Return OpenSim's activations in all strides, and ours at the same times; (rows, muscles of the model)."""
    theirs, ours = [], []
    for stride in strides:
        reference = read_storage(stride.activation_file)
        inside = (reference.time >= stride.start - 1e-9) & (reference.time <= stride.end + 1e-9)
        names = [name for name in optimum.muscles if reference.has(name)]
        theirs.append(reference.select(names)[inside])
        columns = [optimum.muscles.index(name) for name in names]
        ours.append(
            np.column_stack(
                [
                    np.interp(reference.time[inside], optimum.motion.time, optimum.activations[:, column])
                    for column in columns
                ]
            )
        )
    return np.concatenate(theirs), np.concatenate(ours)


def show(name: str, force: str, muscles: Sequence[str], side: str, theirs: np.ndarray, ours: np.ndarray) -> None:
    """Print one line."""
    score = determination(theirs, ours)
    ten = score[[list(muscles).index(muscle) for muscle in ten_of(muscles, side)]]
    active = score[theirs.max(axis=0) > 0.1]
    print(
        f"{name:<12}{force:<22}{ten.mean():8.3f} /{np.median(ten):6.3f}{active.mean():10.3f} /{np.median(active):6.3f}"
        f"{len(active):6d}{np.sqrt(np.mean((theirs - ours) ** 2)):10.4f}",
        flush=True,
    )


def agreement(names: Sequence[str], records: Sequence[CycleRecord], most: int) -> None:
    """Compare the activations in the first strides of each trial."""
    print("R2 against OpenSim's StaticOptimization, mean / median")
    print(f"{'trial':<12}{'force':<22}{'ten muscles':>16}{'active':>18}{'count':>6}{'RMS':>10}")
    for name, dataset, trial, lowpass in TRIALS:
        if name not in names:
            continue
        strides = [r for r in records if (r.dataset, r.trial, r.activation_source) == (dataset, trial, "so")]
        model = read_model(strides[0].model_file)
        folder = DATA / dataset
        motion = read_motion(model, folder / f"{trial}_ik.mot", folder / f"{trial}_external_loads.xml", lowpass=lowpass)
        for force in FORCES:
            optimum = solve(
                model, motion, lambda m, motion=motion: motion.torques[:, motion.columns(m.coordinates)], force
            )
            known = [m for m in optimum.muscles if read_storage(strides[0].activation_file).has(m)]
            show(name, force, known, strides[0].side, *at_strides(optimum, strides))
    if "predictsim" in names:
        cycles = [r for r in records if (r.dataset, r.activation_source) == ("predictsim_subject1", "so")][:most]
        for force in FORCES:
            tables = []
            for cycle in cycles:
                model = read_model(cycle.model_file)
                known = [m for m in model.muscles if read_storage(cycle.activation_file).has(m)]
                motion = read_motion(model, DATA / cycle.dataset / f"{cycle.trial}_ik.mot", lowpass=-1.0)
                found = solve_leg(model, motion, DATA / cycle.dataset / f"{cycle.trial}_id.sto", known, force)
                tables.append(at_strides(found, [cycle]))
            theirs, ours = (np.concatenate(parts) for parts in zip(*tables, strict=True))
            show("predictsim", force, known, "r", theirs, ours)


def solve_leg(model: OsimModel, motion: Motion, moments: Path, muscles: Sequence[str], force: str) -> Optimum:
    """Return the activations of the muscles of the right leg, from the moments in a file."""
    names = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle", "subtalar_angle")
    curves: Any = {"rigid_tendon": "own"}.get(force, force)
    leg = TorqueModel.of_model(
        model.path, motion, muscles=muscles, coordinates=[f"{name}_r" for name in names], curves=curves
    )
    needed = moments_of_file(moments, leg.coordinates, motion.time)
    settings = ProgramSettings("rigid_tendon" if force == "rigid_tendon" else "static_optimization")
    return optimise(model, leg, motion, needed, settings)


def opensim_frame(
    folder: Path, model: OsimModel, files: tuple[Path, Path], lowpass: float, counts: Sequence[int]
) -> float:
    """Return the processor time that StaticOptimization takes for a frame (s)."""
    motion_file, loads = files
    series = read_storage(motion_file, model=model.path)
    step = float(np.median(np.diff(series.time)))
    start = float(series.time[len(series.time) // 3])
    reserves = folder / "reserves.xml"
    actuators = "".join(
        f'<CoordinateActuator name="reserve_{c.name}"><coordinate>{c.name}</coordinate><optimal_force>'
        f"{100 if c.name.startswith('pelvis') else 1}</optimal_force></CoordinateActuator>"
        for c in model.coordinates
        if not c.name.endswith("_beta")
    )
    reserves.write_text(
        f'<?xml version="1.0"?><OpenSimDocument Version="40600"><ForceSet name="reserves"><objects>{actuators}'
        "</objects></ForceSet></OpenSimDocument>"
    )
    # AnalyzeTool reads and filters all of its motion first: that is not the frames' time.
    near = folder / "motion.mot"
    write_storage(near, series.window(start - 0.7, start + 0.7 + max(counts) * step), precision=10)
    seconds = []
    for count in counts:
        setup = folder / "setup.xml"
        values = {"model": model.path, "reserves": reserves, "folder": folder, "loads": loads, "coordinates": near}
        end = start + (count - 0.5) * step
        setup.write_text(SETUP.format(**values, start=start, end=end, lowpass=lowpass))
        done = subprocess.run(
            [sys.executable, "-c", RUN, setup], capture_output=True, text=True, cwd=folder, check=True
        )
        seconds.append(float(json.loads(done.stdout.splitlines()[-1])))
    return (seconds[-1] - seconds[0]) / (counts[-1] - counts[0])


def processor_time() -> float:
    """Return the processor time of this process and of those that it has waited for (s)."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def speed(names: Sequence[str], records: Sequence[CycleRecord], counts: Sequence[int]) -> None:
    """Compare the times."""
    print("\nProcessor time of a frame (ms)")
    print(f"{'trial':<12}{'frames':>8}{'OpenSim':>10}{'ours':>10}{'ratio':>8}{'all in':>10}{'ratio':>8}")
    for name, dataset, trial, lowpass in TRIALS:
        if name not in names:
            continue
        model = read_model(
            next(
                r.model_file
                for r in records
                if (r.dataset, r.trial) == (dataset, trial) and r.activation_source == "so"
            )
        )
        files = (DATA / dataset / f"{trial}_ik.mot", DATA / dataset / f"{trial}_external_loads.xml")
        with tempfile.TemporaryDirectory(prefix="static_optimization_") as scratch:
            theirs = 1e3 * opensim_frame(Path(scratch), model, files, lowpass, counts)
            begin = processor_time()
            motion = read_motion(model, *files, lowpass=lowpass)
            muscles = TorqueModel.of_model(
                model.path, motion, curves="static_optimization", cache_directory=Path(scratch, "cache")
            )
            needed = muscles.required(motion, files[1])
            middle = processor_time()
            optimise(model, muscles, motion, needed, ProgramSettings())
            end = processor_time()
        ours, whole = (1e3 * seconds / len(motion.time) for seconds in (end - middle, end - begin))
        print(
            f"{name:<12}{len(motion.time):8d}{theirs:10.1f}{ours:10.3f}{theirs / ours:8.0f}{whole:10.3f}"
            f"{theirs / whole:8.0f}",
            flush=True,
        )


def streaming(names: Sequence[str], records: Sequence[CycleRecord], frames: int) -> None:
    """Show how long single frames take."""
    print("\nStreaming, one leg, time of a frame (ms); R2 of active muscles against the whole motion, median")
    print(f"{'trial':<12}{'muscles':>8}{'median':>8}{'p90':>8}{'p99':>8}{'longest':>9}{'processor':>11}{'R2':>7}")
    for name, dataset, trial, lowpass in TRIALS:
        if name not in names:
            continue
        record = next(r for r in records if (r.dataset, r.trial, r.activation_source) == (dataset, trial, "so"))
        model, folder = read_model(record.model_file), DATA / dataset
        file = folder / f"{trial}_ik.mot"
        motion = read_motion(model, file, folder / f"{trial}_external_loads.xml", lowpass=lowpass)
        parts = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle", "subtalar_angle")
        leg = [f"{part}_{record.side}" for part in parts]
        predictor = load(None, model, coordinates=leg, motion_file=file)
        columns, moments = motion.columns(predictor.coordinates), motion.torques[:, motion.columns(leg)]
        rows = range(min(frames, len(motion.time)))
        times, found = [], []
        begin = time.process_time()
        for row in rows:
            start = time.perf_counter()
            activations, _ = predictor.step(motion.time[row], motion.q[row, columns], moments[row])
            times.append(1e3 * (time.perf_counter() - start))
            found.append(activations)
        processor = 1e3 * (time.process_time() - begin) / len(rows)
        muscles = TorqueModel.of_model(
            model.path, motion, muscles=predictor.muscles, coordinates=leg, curves="static_optimization"
        )
        whole = optimise(model, muscles, motion, moments, ProgramSettings()).activations[20 : len(rows)]
        score = determination(whole, np.array(found)[20:])[whole.max(axis=0) > 0.1]
        quantiles = "".join(f"{value:8.3f}" for value in np.percentile(times, [50, 90, 99]))
        print(
            f"{name:<12}{len(predictor.muscles):8d}{quantiles}{max(times):9.3f}{processor:11.3f}{np.median(score):7.3f}",
            flush=True,
        )


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", nargs="+", default=[*(name for name, *_ in TRIALS), "predictsim"])
    parser.add_argument("--frames", nargs=2, type=int, default=(10, 40))
    parser.add_argument("--strides", type=int, default=100, help="at most so many of each trial are compared")
    parser.add_argument("--only", choices=("agreement", "speed", "streaming"), help="one of the three tables")
    options = parser.parse_args()
    records = list(read_trials(DATA / "trials.csv"))
    if options.only in (None, "agreement"):
        agreement(options.trials, records, options.strides)
    if options.only in (None, "speed"):
        speed(options.trials, records, options.frames)
    if options.only in (None, "streaming"):
        streaming(options.trials, records, 3000)


if __name__ == "__main__":
    main()
