"""Run CMC for strides whose EMG is known, so that networks can be trained and tested on the input that users have.

    python benchmarks/cmc_strides.py RESULTS_DIRECTORY [--strides 3] [--jobs 1] [--trials run81 walk36]

The environment variables OPENSIM_NEM2E_DATA and OPENSIM_NEM2E_MORE_DATA name the folders with the recordings. Every
stride of static optimisation whose trial has ground reactions is a candidate; strides that have CMC already are not
run again. ``NEM2EPipelineTool`` runs them, and goes on where it was stopped. ``trials_cmc.csv`` in the results
directory lists what came out, as rows of a trials manifest.

Muscles of the stride's leg only: EMG was measured there, the other foot of some recordings missed the plates, and half
the muscles take a third of the time. Torque actuators move the other leg and the trunk.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from recordings import read_recordings, write_trials

from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.nem2e_pipeline import NEM2EPipelineTool

#: CMC starts so long before the stride, and ends so long after it (s).
MARGINS = (0.06, 0.03)

#: Optimal torques (Nm) or forces (N): of the pelvis, of reserves beside muscles, of joints without muscles.
PELVIS, RESERVE, JOINT = 100.0, 5.0, 50.0

#: What is run first.
MOTIONS = ("walk", "run", "turn")


def loads_and_motion(trial: CycleRecord) -> tuple[Path, Path] | None:
    """Find the external loads and the inverse kinematics beside a trial's EMG file."""
    folder = trial.measured.parent
    loads, motion = folder / f"{trial.trial}_external_loads.xml", folder / f"{trial.trial}_ik.mot"
    return (loads, motion) if loads.is_file() and motion.is_file() else None


def candidates(strides: int, only: list[str] | None) -> list[CycleRecord]:
    """List strides as they are run: one of every trial, those without CMC first, then the second of every trial."""
    trials, _ = read_recordings()
    done = {(t.dataset, t.trial, t.stride) for t in trials if t.activation_source == "cmc"}
    begun = {key[:2] for key in done}
    groups: dict[tuple[str, str], list[CycleRecord]] = {}
    for trial in trials:
        key = (trial.dataset, trial.trial, trial.stride)
        wanted = trial.activation_source == "so" and (only is None or trial.trial in only)
        if wanted and key not in done and loads_and_motion(trial):
            groups.setdefault(key[:2], []).append(trial)
    spread = []
    for group in groups.values():
        wanted = min(strides, len(group))
        spread.append([group[(2 * number + 1) * len(group) // (2 * wanted)] for number in range(wanted)])
    rounds = itertools.zip_longest(*spread)
    return [
        trial
        for one in rounds
        for trial in sorted(
            filter(None, one), key=lambda t: ((t.dataset, t.trial) in begun, MOTIONS.index(t.motion), t.identity)
        )
    ]


def write_setup(trial: CycleRecord, folder: Path) -> Path:
    """Write the model with one leg's muscles, the actuators, the tasks and the setup of CMC."""
    import opensim

    opensim.Logger.setLevelString("error")
    model = opensim.Model(str(trial.model_file))
    state = model.initSystem()
    coordinates = [
        c
        for c in (model.getCoordinateSet().get(i) for i in range(model.getCoordinateSet().getSize()))
        if not c.isConstrained(state) and not c.getLocked(state)
    ]
    forces = model.updForceSet()
    for number in reversed(range(forces.getSize())):
        muscle = opensim.Muscle.safeDownCast(forces.get(number)) is not None
        if not (muscle and forces.get(number).getName().endswith(f"_{trial.side}")):
            forces.remove(number)
    model.finalizeConnections()
    model.printToXML(str(folder / "model.osim"))
    actuators, tasks = opensim.ForceSet(), opensim.CMC_TaskSet()
    for coordinate in coordinates:
        name = coordinate.getName()
        actuator = opensim.CoordinateActuator(name)
        actuator.setName(f"reserve_{name}")
        own = name.endswith(f"_{trial.side}")
        actuator.setOptimalForce(PELVIS if name.startswith("pelvis") else RESERVE if own else JOINT)
        actuator.setMinControl(float("-inf"))
        actuator.setMaxControl(float("inf"))
        actuators.cloneAndAppend(actuator)
        task = opensim.CMC_Joint()
        task.setName(name)
        task.setCoordinateName(name)
        task.setActive(True, False, False)
        task.setKP(100)
        task.setKV(20)
        tasks.cloneAndAppend(task)
    actuators.printToXML(str(folder / "actuators.xml"))
    tasks.printToXML(str(folder / "tasks.xml"))
    found = loads_and_motion(trial)
    assert found is not None
    loads, motion = found
    tool = opensim.CMCTool()
    tool.setName(folder.name)
    tool.setModelFilename("model.osim")
    tool.setReplaceForceSet(False)
    files = opensim.ArrayStr()
    files.append("actuators.xml")
    tool.setForceSetFiles(files)
    tool.setResultsDir("results")
    tool.setInitialTime(trial.start - MARGINS[0])
    tool.setFinalTime(trial.end + MARGINS[1])
    tool.setSolveForEquilibrium(True)
    tool.setMaximumNumberOfSteps(30000)
    tool.setMaxDT(0.01)
    tool.setErrorTolerance(1e-4)
    tool.setExternalLoadsFileName(str(loads))
    tool.setDesiredKinematicsFileName(str(motion))
    tool.setTaskSetFileName("tasks.xml")
    tool.setLowpassCutoffFrequency(10 if trial.motion == "run" else 6)
    tool.setTimeWindow(0.01)
    tool.setUseFastTarget(True)
    tool.printToXML(str(folder / "cmc_setup.xml"))
    return folder


def finished(trials: dict[Path, CycleRecord]) -> Iterator[CycleRecord]:
    """Give the strides that CMC simulated until at least 97 % of the cycle."""
    for folder, trial in trials.items():
        states = folder / "results" / f"{folder.name}_states.sto"
        try:
            end = read_storage(states).time[-1]
        except NEM2EError:
            continue
        if end > trial.start + 0.97 * (trial.end - trial.start):
            yield replace(trial, activation_file=states, activation_source="cmc", end=min(end, trial.end))


def main() -> None:
    """Run CMC and list what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--strides", type=int, default=3, help="of each trial")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--trials", nargs="+", help="only these")
    options = parser.parse_args()
    results = options.results.resolve()
    trials = {}
    for trial in candidates(options.strides, options.trials):
        folder = results / trial.dataset / f"{trial.trial}_stride{int(trial.stride):02d}"
        if not (folder / "cmc_setup.xml").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_setup(trial, folder)
        trials[folder] = trial
    tool = NEM2EPipelineTool()
    tool.setName("cmc")
    tool.setResultsDir(results)
    tool.setup_files = ["cmc_setup.xml"]
    tool.trial_folders = list(trials)
    tool.time_limit = 3600
    tool.jobs = options.jobs
    try:
        tool.run()
    except NEM2EError as error:
        print(error)
    write_trials(results / "trials_cmc.csv", finished(trials))


if __name__ == "__main__":
    main()
