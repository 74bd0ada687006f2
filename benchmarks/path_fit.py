"""Fitting the muscles' paths: ours beside OpenSim's own PolynomialPathFitter, in one run.

Both get the model and the ranges of a motion, and fit lengths and moment arms in a process of their own, with one
thread. Printed are the processor seconds of each, from process start to exit, and how far each is from the model's own
paths on frames of the motion that had no part in the fit (and were not among those that OpenSim measured for it): RMS
of the worst muscle and of the median one. The model's own paths are computed the slow way, by assembly and
``computeMomentArm``.

PolynomialPathFitter is asked for what it needs to reach tolerances of 0.2 mm and 0.5 mm: 300 random postures in the
ranges, which it evaluates twice each (it samples about every posture given), up to order 6. An expert would weld the
joints that no muscle spans, and so does this benchmark: it makes the fitter several times faster.

The trials are those of torque_trials.py: the shipped example and, in the folder named by OPENSIM_NEM2E_DATA, real
ones.

    python benchmarks/path_fit.py [--trial example walk_3d_example ...] [--frames 40] [--no-fitter]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

#: What PolynomialPathFitter is asked for.
FITTER = {"samples": 300, "maximum_order": 6, "length_tolerance": 2e-4, "moment_arm_tolerance": 5e-4, "threshold": 1e-3}


def ours(model: Path, motion: dict, folder: Path) -> None:
    """Fit in this process, and write lengths and moment arms of the frames."""
    from opensim_nem2e.musculoskeletal.paths import fit_paths

    fitted = (motion["coordinates"], np.array(motion["fitted"]))
    paths = fit_paths(model, motion["ranges"], motion=fitted, cache_directory=folder / "cache")
    columns = [motion["coordinates"].index(name) for name in paths.coordinates]
    lengths, arms = paths.evaluate(np.array(motion["frames"])[:, columns])
    spread = np.zeros((*arms.shape[:2], len(motion["coordinates"])))
    spread[..., columns] = arms
    jumps = [name for name, share in zip(paths.muscles, paths.jumps, strict=True) if share]
    np.savez(folder / "ours.npz", lengths=lengths, arms=spread, muscles=paths.muscles, jumps=np.array(jumps, dtype=str))


def fitters(model_file: Path, motion: dict, folder: Path) -> None:
    """Fit with PolynomialPathFitter in this process, and write lengths and moment arms of the frames."""
    import opensim

    names, crossed = motion["coordinates"], motion["crossed"]
    prepared = str(folder / "prepared.osim")
    free = prepare(opensim, str(model_file), prepared, crossed)
    ranges = np.array(
        [motion["ranges"][n] if (n := path.rpartition("/")[2]) in crossed else (0.0, 0.0) for path in free]
    )
    postures = ranges[:, 0] + np.random.default_rng(1).uniform(size=(FITTER["samples"], len(free))) * np.ptp(
        ranges, axis=1
    )
    table = opensim.TimeSeriesTable()
    table.setColumnLabels([f"{path}/value" for path in free])
    for time, posture in enumerate(postures):
        table.appendRow(float(time), opensim.RowVector(posture.tolist()))
    table.addTableMetaDataString("inDegrees", "no")
    fitter = opensim.PolynomialPathFitter()
    fitter.setModel(opensim.ModelProcessor(prepared))
    fitter.setCoordinateValues(opensim.TableProcessor(table))
    fitter.setOutputDirectory(str(folder / "fit"))
    fitter.setMomentArmThreshold(FITTER["threshold"])
    fitter.setNumSamplesPerFrame(1)
    fitter.setNumParallelThreads(1)
    fitter.setMaximumPolynomialOrder(FITTER["maximum_order"])
    fitter.setPathLengthTolerance(FITTER["length_tolerance"])
    fitter.setMomentArmTolerance(FITTER["moment_arm_tolerance"])
    fitter.setGlobalCoordinateSamplingBounds(opensim.Vec2(-1e-9, 1e-9))
    fitter.run()
    (written,) = (folder / "fit").glob("*_FunctionBasedPathSet.xml")
    paths = opensim.SetFunctionBasedPaths(str(written))
    frames = np.array(motion["frames"])
    found, lengths, arms = [], [], []
    for number in range(paths.getSize()):
        path = paths.get(number)
        function = path.getLengthFunction()
        columns = [names.index(str(one).rpartition("/")[2]) for one in path.getCoordinatePaths()]
        arm = np.zeros((len(frames), len(names)))
        points = [opensim.Vector.createFromMat(frame) for frame in np.ascontiguousarray(frames[:, columns])]
        for place, column in enumerate(columns):
            which = opensim.StdVectorInt([place])
            arm[:, column] = [-function.calcDerivative(which, point) for point in points]
        found.append(path.getName().rpartition("/")[2])
        lengths.append([function.calcValue(point) for point in points])
        arms.append(arm)
    kept = {"lengths": np.transpose(lengths), "arms": np.stack(arms, axis=1), "muscles": np.array(found)}
    np.savez(folder / "fitter.npz", **kept)


def prepare(opensim, model_file: str, prepared: str, used: list[str]) -> list[str]:  # type: ignore[no-untyped-def]
    """Write a copy with muscles and the joints they cross only; return the paths of the coordinates left free."""
    model = opensim.Model(model_file)
    state = model.initSystem()
    found = model.updCoordinateSet()
    every = [found.get(i) for i in range(found.getSize())]
    dependent = {c.getName() for c in every if c.isDependent(state)}
    forces = model.updForceSet()
    for index in reversed(range(forces.getSize())):
        if opensim.Muscle.safeDownCast(forces.get(index)) is None:
            forces.remove(index)
    model.updControllerSet().clearAndDestroy()
    kept = set()
    for coordinate in every:
        coordinate.set_locked(False)
        if coordinate.getName() in dependent or coordinate.getName() in used:
            kept.add(coordinate.getJoint().getName())
    others = {c.getJoint().getName(): c.getJoint() for c in every if c.getJoint().getName() not in kept}
    welded = opensim.StdVectorString()
    for name, joint in others.items():
        # OpenSim 4.6 crashes when it welds a joint that is fixed to a body itself.
        frames = (joint.getParentFrame(), joint.getChildFrame())
        if all(opensim.PhysicalOffsetFrame.safeDownCast(frame) is not None for frame in frames):
            welded.append(name)
    model.finalizeFromProperties()
    model.finalizeConnections()
    model.printToXML(prepared)
    processor = opensim.ModelProcessor(prepared)
    processor.append(opensim.ModOpReplaceJointsWithWelds(welded))
    model = processor.process()
    model.initSystem()
    model.printToXML(prepared)
    found = model.updCoordinateSet()
    left = [found.get(i) for i in range(found.getSize())]
    return [c.getAbsolutePathString() for c in left if c.getName() not in dependent]


def compare(name: str, frames: int, with_fitter: bool) -> None:
    """Fit a trial's paths both ways and print times and errors."""
    from torque_trials import TRIALS, motion_of

    from opensim_nem2e.musculoskeletal.opensim.processes import run_model_job
    from opensim_nem2e.musculoskeletal.paths import coordinate_ranges
    from opensim_nem2e.storage import read_storage

    tool = TRIALS[name]()
    model = tool.resolve("model_file")
    if not model.is_file():
        print(f"{name}: '{model}' is not there")
        return
    states = read_storage(tool.resolve("states_file"))
    moved = motion_of(tool, float(states.time[0]), float(states.time[-1]))
    ranges = coordinate_ranges(moved.coordinates, moved.q, moved.rotational, moved.limits)
    unseen = moved.q[1::2]
    unseen = unseen[np.linspace(0, len(unseen) - 1, frames).round().astype(int)]
    with tempfile.TemporaryDirectory(prefix="path_fit_") as scratch:
        folder = Path(scratch)
        probe = {"ranges": {}, "samples": 2, "check_samples": 1, "motion": None}
        crossed = run_model_job("sample_paths", model, probe)["crossed"].tolist()
        motion = {"coordinates": list(moved.coordinates), "ranges": ranges, "crossed": crossed}
        motion.update(fitted=moved.q[::2].tolist(), frames=unseen.tolist())
        (folder / "motion.json").write_text(json.dumps(motion), encoding="utf-8")
        columns = [moved.coordinates.index(one) for one in crossed]
        truth = run_model_job("evaluate_paths", model, {"coordinates": crossed, "q": unseen[:, columns].tolist()})
        seconds = {}
        for kind in ("ours", "fitter") if with_fitter else ("ours",):
            before = processor_seconds()
            command = [sys.executable, __file__, "--child", kind, str(model), str(folder)]
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(command, check=True, env=one_thread, **quiet)
            seconds[kind] = processor_seconds() - before
            found = np.load(folder / f"{kind}.npz")
            order = [truth["muscles"].tolist().index(muscle) for muscle in found["muscles"]]
            length = 1e3 * rms(found["lengths"] - truth["lengths"][:, order])
            arm = 1e3 * rms(found["arms"][..., columns] - truth["moment_arms"][:, order]).max(axis=-1)
            said = "".join(
                f"   {what} {error.max():5.2f} mm ({found['muscles'][error.argmax()]}; median {np.median(error):.3f})"
                for what, error in (("length", length), ("moment arm", arm))
            )
            print(f"{name:<24}{kind:<8}{len(order):4d} muscles{seconds[kind]:9.1f} s{said}", flush=True)
        if with_fitter:
            print(f"{name:<24}the fitter needs {seconds['fitter'] / seconds['ours']:.0f} times the processor time")


def processor_seconds() -> float:
    """Return the processor time of all processes that this one has started and seen end (s)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rms(values: np.ndarray) -> np.ndarray:
    """Return the root mean square over frames."""
    return np.asarray(np.sqrt(np.mean(values**2, axis=0)))


def main() -> None:
    """Run what is asked for."""
    if sys.argv[1:2] == ["--child"]:
        kind, model, folder = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
        motion = json.loads((folder / "motion.json").read_text(encoding="utf-8"))
        (ours if kind == "ours" else fitters)(model, motion, folder)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trial", nargs="+", default=["example", "walk_3d_example", "ceinms_walk45_stride02"])
    parser.add_argument("--frames", type=int, default=40, help="frames of the motion that are compared")
    parser.add_argument("--no-fitter", action="store_true", help="ours only: minutes less for large models")
    options = parser.parse_args()
    logging.getLogger("opensim_nem2e").setLevel(logging.ERROR)
    for name in options.trial:
        compare(name, options.frames, not options.no_fitter)


if __name__ == "__main__":
    main()
