"""The child process of :func:`opensim_nem2e.musculoskeletal.opensim.processes.run_model_job`.

Run as a script: ``python -P _model_process.py JOB REQUEST.json RESULT.npz``. It imports nothing of this package, so
that it works wherever the parent runs. Importing it has no effect; the parent reads the exit code from it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: A muscle turns a coordinate if its moment arm there is longer than this (m), as PolynomialPathFitter has it.
MOMENT_ARM_THRESHOLD = 1e-3

#: Random postures in which it is looked up which coordinates the muscles turn.
_PROBES = 6

#: How near to the given postures the fitter puts its own (degrees).
_NEAR = 1e-9

#: Degree of the splines with which InverseDynamicsTool differentiates coordinates.
_SPLINE_DEGREE = 5


def couple_motion(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give a motion in radians, with the coordinates that follow others where these make them be.

    Files often hold something else for them (the patella of Rajagopal's model in degrees among radians), and
    InverseDynamicsTool would believe it.

    Parameters
    ----------
    request : dict
        ``model_file`` and ``coordinates_file``.

    Returns
    -------
    dict
        ``time`` ``(rows,)``, ``names`` of the coordinates and their values ``q`` ``(rows, coordinates)`` (rad, m).
    """
    import opensim

    model = opensim.Model(request["model_file"])
    model.initSystem()
    processor = opensim.TableProcessor(request["coordinates_file"])
    processor.append(opensim.TabOpConvertDegreesToRadians())
    processor.append(opensim.TabOpUseAbsoluteStateNames())
    processor.append(opensim.TabOpAppendCoupledCoordinateValues())
    table = processor.process(model)
    matrix = table.getMatrix()
    return {
        "time": np.array(table.getIndependentColumn()),
        "names": np.array([label.split("/")[-2] for label in table.getColumnLabels()]),
        "q": matrix.to_numpy().copy(),
    }


def evaluate_motion(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give coordinates and speeds exactly as InverseDynamicsTool takes them from the same file.

    Parameters
    ----------
    request : dict
        ``model_file``, ``coordinates_file``, ``lowpass`` (Hz, negative: none) and ``time`` (s).

    Returns
    -------
    dict
        ``names`` and ``rotational`` of all coordinates in the model's order, ``q`` and ``qdot`` ``(times,
        coordinates)``.
    """
    import opensim

    model = opensim.Model(request["model_file"])
    state = model.initSystem()
    storage = opensim.Storage(request["coordinates_file"])
    if request["lowpass"] >= 0.0:
        storage.pad(storage.getSize() // 2)
        storage.lowpassIIR(request["lowpass"])
    if storage.isInDegrees():
        model.getSimbodyEngine().convertDegreesToRadians(storage)
    splines = opensim.GCVSplineSet(_SPLINE_DEGREE, storage)
    coordinates = _coordinates(model)
    time = request["time"]
    q, qdot = np.empty((2, len(time), len(coordinates)))
    first = opensim.StdVectorInt([0])
    for column, coordinate in enumerate(coordinates):
        if not splines.contains(coordinate.getName()):
            q[:, column], qdot[:, column] = coordinate.getDefaultValue(), 0.0
            continue
        spline = splines.get(coordinate.getName())
        points = [opensim.Vector(1, t) for t in time]
        q[:, column] = [spline.calcValue(point) for point in points]
        qdot[:, column] = [spline.calcDerivative(first, point) for point in points]
    return {
        "names": np.array([coordinate.getName() for coordinate in coordinates]),
        "rotational": np.array([c.getMotionType() == opensim.Coordinate.Rotational for c in coordinates]),
        "movable": np.array([not (c.get_locked() or c.isDependent(state)) for c in coordinates]),
        "limits": np.array([[c.getRangeMin(), c.getRangeMax()] for c in coordinates]),
        "q": q,
        "qdot": qdot,
    }


def crossed_coordinates(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Find the coordinates that muscles turn.

    Parameters
    ----------
    request : dict
        ``model_file``.

    Returns
    -------
    dict
        ``coordinates``: their names.
    """
    poser = _Poser(request["model_file"])
    names = list(poser.free)
    limits = [(c.getRangeMin(), c.getRangeMax()) for c in poser.free.values()]
    _, arms = poser.measure_all(_random_postures(2, limits, _PROBES), names)
    largest = np.abs(arms).max(axis=(0, 1))
    return {"coordinates": np.array([n for n, arm in zip(names, largest, strict=True) if arm > MOMENT_ARM_THRESHOLD])}


def fit_paths(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Fit polynomials to the muscles' paths with OpenSim's PolynomialPathFitter, and sample the paths independently.

    Parameters
    ----------
    request : dict
        ``model_file``, ``folder`` (for working files), ``ranges`` (coordinate to its lowest and highest value, rad or
        m), ``samples``, ``check_samples``, ``maximum_order``, ``length_tolerance``, ``moment_arm_tolerance``,
        ``threads``.

    Returns
    -------
    dict
        ``muscles`` and ``coordinates`` (those that any muscle turns); per muscle ``m`` ``terms_<m>`` (coordinates'
        numbers), ``order_<m>`` and ``coefficients_<m>``; ``q`` ``(frames, coordinates)``, ``lengths``
        ``(frames, muscles)`` and ``moment_arms`` ``(frames, muscles, coordinates)`` of the model itself in random
        postures; ``fit_q`` and ``fit_lengths``, the same in the postures of the fit.
    """
    import opensim

    poser = _Poser(request["model_file"])
    used = list(request["ranges"])
    q = _random_postures(0, request["ranges"].values(), request["check_samples"])
    lengths, moment_arms = poser.measure_all(q, used)
    prepared = str(Path(request["folder"], "prepared.osim"))
    free = _prepare_model(request["model_file"], prepared, used)
    paths, fit_q, fit_lengths = _run_fitter(prepared, free, request)

    result = {"muscles": np.array(poser.muscle_names), "coordinates": np.array(used)}
    result.update(q=q, lengths=lengths, moment_arms=moment_arms)
    result["fit_q"] = np.column_stack([fit_q[name] for name in used])
    result["fit_lengths"] = np.column_stack([fit_lengths[muscle] for muscle in poser.muscle_names])
    for number, muscle in enumerate(poser.muscle_names):
        path = paths.get(muscle)
        if path is None:  # the fitter leaves out what no coordinate turns
            result[f"terms_{number}"] = np.zeros(0, dtype=int)
            result[f"order_{number}"] = np.array(0)
            result[f"coefficients_{number}"] = lengths[:, number].mean(keepdims=True)
            continue
        function = opensim.MultivariatePolynomialFunction.safeDownCast(path.getLengthFunction())
        names = [str(coordinate).rpartition("/")[2] for coordinate in path.getCoordinatePaths()]
        result[f"terms_{number}"] = np.array([used.index(name) for name in names], dtype=int)
        result[f"order_{number}"] = np.array(function.getOrder())
        result[f"coefficients_{number}"] = function.getCoefficients().to_numpy()
    return result


def evaluate_paths(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give the model's own muscle-tendon lengths and moment arms in given postures.

    Parameters
    ----------
    request : dict
        ``model_file``, ``coordinates`` (names) and ``q`` ``(frames, coordinates)`` (rad, m).

    Returns
    -------
    dict
        ``muscles``, ``lengths`` ``(frames, muscles)``, ``moment_arms`` ``(frames, muscles, coordinates)``.
    """
    poser = _Poser(request["model_file"])
    lengths, moment_arms = poser.measure_all(request["q"], request["coordinates"])
    return {"muscles": np.array(poser.muscle_names), "lengths": lengths, "moment_arms": moment_arms}


class _Poser:
    """A model that is put into postures and measured."""

    def __init__(self, model_file: str):
        import opensim

        self.model = opensim.Model(model_file)
        for coordinate in _coordinates(self.model):
            coordinate.set_locked(False)
        self.state = self.model.initSystem()
        self.free = {c.getName(): c for c in _coordinates(self.model) if not c.isDependent(self.state)}
        muscles = self.model.getMuscles()
        self.muscles = [muscles.get(i) for i in range(muscles.getSize())]
        self.muscle_names = [muscle.getName() for muscle in self.muscles]

    def measure(self, posture: dict[str, float], names: list[str]) -> tuple[list[float], list[list[float]]]:
        """Return lengths and moment arms about the named coordinates."""
        for name, value in posture.items():
            self.free[name].setValue(self.state, value, False)
        self.model.assemble(self.state)
        self.model.realizePosition(self.state)
        coordinates = [self.free[name] for name in names]
        lengths = [muscle.getGeometryPath().getLength(self.state) for muscle in self.muscles]
        arms = [[m.computeMomentArm(self.state, coordinate) for coordinate in coordinates] for m in self.muscles]
        return lengths, arms

    def measure_all(self, postures: Any, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return lengths and moment arms in many postures of the named coordinates."""
        measured = [self.measure(dict(zip(names, posture, strict=True)), names) for posture in postures]
        return np.array([lengths for lengths, _ in measured]), np.array([arms for _, arms in measured])


def _random_postures(seed: int, ranges: Any, count: int) -> np.ndarray:
    """Return random postures within ranges; (count, coordinates)."""
    low, high = np.array(list(ranges), dtype=float).reshape(-1, 2).T
    postures: np.ndarray = low + np.random.default_rng(seed).uniform(size=(count, len(low))) * (high - low)
    return postures


def _prepare_model(model_file: str, prepared: str, used: list[str]) -> list[str]:
    """Write a copy with muscles and the joints they cross only; return the paths of the coordinates left free.

    Fewer coordinates make the fitter faster: it computes the moment arm of every muscle about every coordinate. It
    would weld locked joints itself, but in OpenSim 4.6 it then fails ("root but has no subcomponents").
    """
    import opensim

    model = opensim.Model(model_file)
    state = model.initSystem()
    dependent = {c.getName() for c in _coordinates(model) if c.isDependent(state)}
    forces = model.updForceSet()
    for index in reversed(range(forces.getSize())):
        if opensim.Muscle.safeDownCast(forces.get(index)) is None:
            forces.remove(index)
    model.updControllerSet().clearAndDestroy()
    kept = set()
    for coordinate in _coordinates(model):
        coordinate.set_locked(False)
        if coordinate.getName() in dependent or coordinate.getName() in used:
            kept.add(coordinate.getJoint().getName())
    others = {c.getJoint().getName(): c.getJoint() for c in _coordinates(model) if c.getJoint().getName() not in kept}
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
    return [c.getAbsolutePathString() for c in _coordinates(model) if c.getName() not in dependent]


def _run_fitter(
    prepared: str, free: list[str], request: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run PolynomialPathFitter on random postures from the box of all ranges.

    Returns its paths by muscle, the postures by coordinate, and the model's lengths in them by muscle.

    The fitter adds random postures of its own around each that it is given, without a seed; here they are so near that
    they say nothing new, and it discards them itself, as they differ from "nominal" ones by more than five of their
    standard deviations. So the same request gives the same polynomials.
    """
    import opensim

    folder = str(Path(request["folder"], "fit"))
    ranges = {path: request["ranges"].get(path.rpartition("/")[2], [0.0, 0.0]) for path in free}
    table = opensim.TimeSeriesTable()
    table.setColumnLabels([f"{path}/value" for path in free])
    postures = _random_postures(1, ranges.values(), request["samples"])
    for time, posture in enumerate(postures):
        table.appendRow(float(time), opensim.RowVector(posture.tolist()))
    table.addTableMetaDataString("inDegrees", "no")
    fitter = opensim.PolynomialPathFitter()
    fitter.setModel(opensim.ModelProcessor(prepared))
    fitter.setCoordinateValues(opensim.TableProcessor(table))
    fitter.setOutputDirectory(folder)
    fitter.setMomentArmThreshold(MOMENT_ARM_THRESHOLD)
    fitter.setNumSamplesPerFrame(1)
    fitter.setNumParallelThreads(request["threads"])
    fitter.setMaximumPolynomialOrder(request["maximum_order"])
    fitter.setPathLengthTolerance(request["length_tolerance"])
    fitter.setMomentArmTolerance(request["moment_arm_tolerance"])
    fitter.setLatinHypercubeAlgorithm("random")
    fitter.setGlobalCoordinateSamplingBounds(opensim.Vec2(-_NEAR, _NEAR))
    fitter.run()
    (written,) = Path(folder).glob("*_FunctionBasedPathSet.xml")
    paths = opensim.SetFunctionBasedPaths(str(written))
    (lengths,) = Path(folder).glob("*_path_lengths.sto")
    measured = opensim.TimeSeriesTable(str(lengths))
    matrix = measured.getMatrix()
    names = [label.removesuffix("_length").rpartition("/")[2] for label in measured.getColumnLabels()]
    return (
        # The set owns its members: they are copied out of it.
        {paths.get(i).getName().rpartition("/")[2]: paths.get(i).clone() for i in range(paths.getSize())},
        {path.rpartition("/")[2]: postures[:, column] for column, path in enumerate(free)},
        dict(zip(names, matrix.to_numpy().T.copy(), strict=True)),
    )


def _coordinates(model: Any) -> list[Any]:
    found = model.updCoordinateSet()
    return [found.get(i) for i in range(found.getSize())]


JOBS = {job.__name__: job for job in (couple_motion, evaluate_motion, crossed_coordinates, fit_paths, evaluate_paths)}


if __name__ == "__main__":
    import opensim

    opensim.Logger.removeFileSink()
    job, request_file, result_file = sys.argv[1:4]
    answer: dict[str, Any] = JOBS[job](json.loads(Path(request_file).read_text(encoding="utf-8")))
    np.savez(result_file, **answer)
