"""The child process of :func:`opensim_nem2e.musculoskeletal.opensim.processes.run_model_job`.

The process that is kept for such jobs calls :func:`main`. It imports nothing of this package, so that it works wherever
the parent runs. Importing it has no effect.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

#: A muscle spans a coordinate if its moment arm there is longer than this (m), as PolynomialPathFitter has it.
MOMENT_ARM_THRESHOLD = 1e-3

#: Random postures in which it is looked up which coordinates the muscles span.
_PROBES = 6

#: In so many postures of a fit it is looked up which coordinates a muscle spans.
_FIRST = 32

#: In so many postures both ways to a moment arm are compared; they are the same up to this difference (m).
_COMPARED, _SAME_ARM = 8, 1e-4

#: How far about the motion half of the postures are spread (standard deviation, in half ranges).
_ABOUT = 0.15

#: Where a coordinate without a useful range is put to try couplings (rad, m).
_ASIDE = 1.0

#: Up to this difference (rad, m) two postures are the same: the assembly's own accuracy.
_SAME_POSTURE = 1e-6

#: The progress is written to this file in the job's folder, every so many postures.
PROGRESS_FILE, _REPORT_EVERY = "progress", 16

#: Degree of the splines with which InverseDynamicsTool differentiates coordinates.
_SPLINE_DEGREE = 5

#: At so many rows of a motion the places of bodies are told.
_PLACES = 60


def analyse_motion(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Run inverse dynamics, and give coordinates and speeds exactly as it takes them from its file.

    Coordinates that follow others are first put where these make them be. Files often hold something else for them (the
    patella of Rajagopal's model in degrees among radians), and InverseDynamicsTool would believe it.

    Parameters
    ----------
    request : dict
        ``model_file``, ``coordinates_file`` (with states' or coordinates' names), ``setup_file`` of an
        InverseDynamicsTool that reads ``coupled_file`` and writes ``forces_file``, ``lowpass`` (Hz, negative: none),
        ``bodies`` whose places are wanted, and ``jacobians``, bodies whose Jacobians are.

    Returns
    -------
    dict
        ``time`` (s), ``names``, ``rotational``, ``movable`` and ``limits`` of all coordinates in the model's order,
        ``q``, ``qdot`` and ``torques`` ``(rows, coordinates)``; ``origins`` of the bodies at some rows, ``places``,
        ``(places, bodies, 3)`` (m), NaN where the model's set of bodies has none of that name; ``jacobians`` ``(rows,
        bodies, 6, coordinates)``, of rotation and then of the body's origin, in the ground's frame; ``gravity``
        ``(3,)`` (m/s^2).
    """
    import opensim

    model = opensim.Model(request["model_file"])
    state = model.initSystem()
    processor = opensim.TableProcessor(request["coordinates_file"])
    processor.append(opensim.TabOpConvertDegreesToRadians())
    processor.append(opensim.TabOpUseAbsoluteStateNames())
    processor.append(opensim.TabOpAppendCoupledCoordinateValues())
    table = processor.process(model)
    # The bare names are those by which InverseDynamicsTool knows coordinates.
    table.setColumnLabels([label.split("/")[-2] for label in table.getColumnLabels()])
    opensim.STOFileAdapter.write(table, request["coupled_file"])
    if not opensim.InverseDynamicsTool(request["setup_file"]).run():
        raise RuntimeError("InverseDynamicsTool returned false.")
    # The table must outlive what is read from it.
    forces = opensim.TimeSeriesTable(request["forces_file"])
    matrix = forces.getMatrix()
    time = np.array(forces.getIndependentColumn())
    labels = [label.removesuffix("_moment").removesuffix("_force") for label in forces.getColumnLabels()]
    coordinates = _coordinates(model)
    names = [coordinate.getName() for coordinate in coordinates]

    storage = opensim.Storage(request["coupled_file"])
    if request["lowpass"] >= 0.0:
        storage.pad(storage.getSize() // 2)
        storage.lowpassIIR(request["lowpass"])
    splines = opensim.GCVSplineSet(_SPLINE_DEGREE, storage)
    q, qdot = np.empty((2, len(time), len(coordinates)))
    first = opensim.StdVectorInt([0])
    points = [opensim.Vector(1, t) for t in time.tolist()]
    for column, coordinate in enumerate(coordinates):
        if not splines.contains(coordinate.getName()):
            q[:, column], qdot[:, column] = coordinate.getDefaultValue(), 0.0
            continue
        spline = splines.get(coordinate.getName())
        q[:, column] = [spline.calcValue(point) for point in points]
        qdot[:, column] = [spline.calcDerivative(first, point) for point in points]
    places = np.unique(np.linspace(0, len(time) - 1, _PLACES).round().astype(int))
    bodies = [model.getBodySet().get(name) if model.getBodySet().contains(name) else None for name in request["bodies"]]
    origins = np.full((len(places), len(bodies), 3), np.nan)
    for k, row in enumerate(places.tolist() if bodies else ()):
        _pose(model, state, coordinates, q[row].tolist())
        for b, body in enumerate(bodies):
            if body is not None:
                origins[k, b] = body.getPositionInGround(state).to_numpy()
    return {
        "time": time,
        "places": places,
        "origins": origins,
        "names": np.array(names),
        "rotational": np.array([c.getMotionType() == opensim.Coordinate.Rotational for c in coordinates]),
        "movable": np.array([not c.isConstrained(state) for c in coordinates]),
        "limits": np.array([[c.getRangeMin(), c.getRangeMax()] for c in coordinates]),
        "q": q,
        "qdot": qdot,
        "torques": matrix.to_numpy()[:, [labels.index(name) for name in names]],
        "gravity": np.array(_vector(model.getGravity())),
        "jacobians": _jacobians(model, state, coordinates, q, request["jacobians"]),
    }


def _pose(model: Any, state: Any, coordinates: list[Any], values: list[float]) -> None:
    """Take a posture, but for coordinates that are locked."""
    for coordinate, value in zip(coordinates, values, strict=True):
        if not coordinate.get_locked():
            coordinate.setValue(state, value, False)
    model.realizePosition(state)


def _jacobians(model: Any, state: Any, coordinates: list[Any], q: np.ndarray, bodies: list[str]) -> np.ndarray:
    """Say how bodies turn and move per unit of each coordinate's speed: (rows, bodies, 6, coordinates)."""
    import opensim

    found = np.zeros((len(q) if bodies else 0, len(bodies), 6, len(coordinates)))
    if not bodies:
        return found
    # The order of speeds in the state is not that of the coordinates.
    places, columns = [], []
    for column, coordinate in enumerate(coordinates):
        state.setU(opensim.Vector(state.getNU(), 0.0))
        coordinate.setSpeedValue(state, 1.0)
        place = np.flatnonzero(state.getU().to_numpy())
        if place.size:
            places.append(int(place[0]))
            columns.append(column)
    matter, matrix = model.getMatterSubsystem(), opensim.Matrix()
    indices = [model.getBodySet().get(name).getMobilizedBodyIndex() for name in bodies]
    for row, values in enumerate(q.tolist()):
        _pose(model, state, coordinates, values)
        for number, index in enumerate(indices):
            matter.calcFrameJacobian(state, index, opensim.Vec3(0), matrix)
            found[row, number][:, columns] = matrix.to_numpy()[:, places]
    return found


def sample_paths(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Measure the muscles' lengths and moment arms in many postures.

    The postures are a Sobol sequence within the ranges; where a motion is given, half of them lie about its own.

    Parameters
    ----------
    request : dict
        ``model_file``, ``folder`` (where the progress is written), ``ranges`` (coordinate to its lowest and highest
        value, rad or m), ``samples`` (a power of two), ``check_samples``, and ``motion``: None, or ``coordinates``
        (names) and ``q`` ``(rows, coordinates)`` (rad, m).

    Returns
    -------
    dict
        ``crossed``: the coordinates that any muscle spans. Unless one of them lacks a range, also ``muscles``, ``q``
        ``(postures, crossed)``, ``lengths`` ``(postures, muscles)`` and ``moment_arms`` ``(postures, muscles,
        crossed)``, zero where a muscle does not span a coordinate; and the same as ``box_q`` ... in random postures
        and ``motion_q`` ... in postures of the motion itself, both for checking.
    """
    poser = _Poser(request["model_file"])
    every = list(poser.free)
    limits = [(c.getRangeMin(), c.getRangeMax()) for c in poser.free.values()]
    probes = _random_postures(2, limits, _PROBES)
    for poser.compare in (True, False):
        _, _, arms = poser.measure_all(probes, every)
    largest = np.abs(arms).max(axis=(0, 1))
    names = [name for name, arm in zip(every, largest, strict=True) if arm > MOMENT_ARM_THRESHOLD]
    answer = {"crossed": np.array(names, dtype=str)}
    if not names or any(name not in request["ranges"] for name in names):
        return answer

    ranges = np.array([request["ranges"][name] for name in names], dtype=float)
    rows, frames = None, np.zeros((0, len(names)))
    if request["motion"] is not None:
        columns = [request["motion"]["coordinates"].index(name) for name in names]
        rows = np.array(request["motion"]["q"], dtype=float)[:, columns]
        frames = rows[:: max(1, len(rows) // request["check_samples"])]
    parts = {
        "": _postures(ranges, rows, request["samples"]),
        "box_": _random_postures(0, ranges, request["check_samples"]),
        "motion_": frames,
    }
    poser.report_to(Path(request["folder"], PROGRESS_FILE), _FIRST + sum(map(len, parts.values())))
    # What a muscle does not span in the first postures is not measured in the others.
    spans = np.zeros((len(poser.muscles), len(names)), dtype=bool)
    for row in range(_FIRST):
        poser.compare = row < _COMPARED
        _, _, arms = poser.measure_all(parts[""][row : row + 1], names)
        spans |= np.abs(arms[0]) > MOMENT_ARM_THRESHOLD
    for prefix, postures in parts.items():
        for key, values in zip(("q", "lengths", "moment_arms"), poser.measure_all(postures, names, spans), strict=True):
            answer[prefix + key] = values
    answer["muscles"] = np.array(poser.muscle_names)
    return answer


def evaluate_paths(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give the model's own muscle-tendon lengths and moment arms, by assembly and ``computeMomentArm``.

    This is the slow way, which does not depend on what :func:`sample_paths` takes for granted.

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
    poser.couplers = None
    _, lengths, moment_arms = poser.measure_all(np.array(request["q"]), request["coordinates"])
    return {"muscles": np.array(poser.muscle_names), "lengths": lengths, "moment_arms": moment_arms}


def measure_leg(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Measure where the joints and mass centres of one leg are in the postures of a motion.

    Parameters
    ----------
    request : dict
        ``model_file``, ``joints`` (the coordinates of hip, knee and ankle), ``coordinates`` (names) and ``q`` ``(rows,
        coordinates)`` (rad, m).

    Returns
    -------
    dict
        ``origins`` of the frames that the joints carry ``(rows, 3, 3)`` (m, in the ground frame), how fast these turn
        and move while their coordinate alone moves at unit speed (``spins``, ``slides``), ``forward`` ``(rows, 3)``
        (the first axis of the frame that carries the thigh), and of the ``bodies`` beyond the hip the
        ``segments`` that they belong to (0 to 2), ``body_masses`` (kg), ``body_inertias`` (about the third axis, kg
        m^2) and ``body_centers`` (of mass; ``(rows, bodies, 3)``, m); ``hip``, where the hip is in its pelvis
        ``(3,)`` (m).
    """
    import opensim

    model = _movable_model(request["model_file"])
    state = model.initSystem()
    coordinates = {c.getName(): c for c in _coordinates(model)}
    joints = [coordinates[name].getJoint() for name in request["joints"]]
    bodies = _segments(model, [joint.getName() for joint in joints])
    parts = [model.getBodySet().get(name) for name in bodies]
    frames = [joint.getChildFrame() for joint in joints]
    carrier, first = joints[0].getParentFrame(), opensim.Vec3(1, 0, 0)

    q = np.array(request["q"], dtype=float)
    order = [coordinates[name] for name in request["coordinates"]]
    origins, spins, slides = np.empty((3, len(q), len(frames), 3))
    body_centers, forward = np.empty((len(q), len(parts), 3)), np.empty((len(q), 3))
    for row, values in enumerate(q.tolist()):
        for coordinate, value in zip(order, values, strict=True):
            coordinate.setValue(state, value, False)
        model.realizePosition(state)
        origins[row] = [_vector(frame.getPositionInGround(state)) for frame in frames]
        body_centers[row] = [_vector(part.findStationLocationInGround(state, part.getMassCenter())) for part in parts]
        forward[row] = _vector(carrier.expressVectorInGround(state, first))
        for place, (name, frame) in enumerate(zip(request["joints"], frames, strict=True)):
            coordinates[name].setSpeedValue(state, 1.0)
            model.realizeVelocity(state)
            velocity = frame.getVelocityInGround(state)
            spins[row, place], slides[row, place] = _vector(velocity.get(0)), _vector(velocity.get(1))
            coordinates[name].setSpeedValue(state, 0.0)
    return {
        "origins": origins,
        "spins": spins,
        "slides": slides,
        "forward": forward,
        "bodies": np.array(list(bodies)),
        "segments": np.array(list(bodies.values())),
        "body_masses": np.array([part.getMass() for part in parts]),
        "body_inertias": np.array([part.getInertia().getMoments().get(2) for part in parts]),
        "body_centers": body_centers,
        "hip": np.array(_vector(carrier.findTransformInBaseFrame().p())),
    }


def measure_axes(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Measure about which axes coordinates turn while all of them are zero.

    Parameters
    ----------
    request : dict
        ``model_file``, ``coordinates`` (names) and ``hip`` (the name of one whose joint is on the pelvis).

    Returns
    -------
    dict
        ``axes`` ``(coordinates, 3)``: the angular velocity, in the pelvis's frame, of the body that the coordinate's
        joint carries while that coordinate alone moves at 1 rad/s.
    """
    import opensim

    model = _movable_model(request["model_file"])
    state = model.initSystem()
    coordinates = {c.getName(): c for c in _coordinates(model)}
    for coordinate in coordinates.values():
        coordinate.setValue(state, 0.0, False)
    pelvis = coordinates[request["hip"]].getJoint().getParentFrame().findBaseFrame()
    axes = np.empty((len(request["coordinates"]), 3))
    for row, name in enumerate(request["coordinates"]):
        state.setU(opensim.Vector(state.getNU(), 0.0))
        coordinates[name].setSpeedValue(state, 1.0)
        model.realizeVelocity(state)
        spin = coordinates[name].getJoint().getChildFrame().getAngularVelocityInGround(state)
        axes[row] = _vector(model.getGround().expressVectorInAnotherFrame(state, spin, pelvis))
    return {"axes": axes}


def _segments(model: Any, joints: list[str]) -> dict[str, int]:
    """Return the bodies that some joints carry, with the last of these joints on the way to each of them."""
    found = model.getJointSet()
    carried = {}
    for i in range(found.getSize()):
        joint = found.get(i)
        child, parent = (f.findBaseFrame().getName() for f in (joint.getChildFrame(), joint.getParentFrame()))
        carried[child] = (parent, joint.getName())
    segments = {}
    for body in carried:
        at = body
        while at in carried:
            parent, joint = carried[at]
            if joint in joints:
                segments[body] = joints.index(joint)
                break
            at = parent
    return segments


def _vector(values: Any) -> list[float]:
    return [values.get(i) for i in range(3)]


class _Poser:
    """A model that is put into postures and measured.

    Coordinates that follow others by a function are set to its value, and a moment arm is minus the speed at which the
    muscle lengthens while its coordinate moves at unit speed (and what follows it, accordingly): the same numbers as by
    assembly and ``computeMomentArm``, at a small part of their cost. A model with other constraints is assembled.

    For a few muscles OpenSim's two ways to a moment arm differ (one that wraps around two cylinders at once); while
    ``compare`` is set they are looked for, and they are left to ``computeMomentArm``, which is what OpenSim's torques
    are made of.
    """

    def __init__(self, model_file: str):
        self.model = _movable_model(model_file)
        self.state = self.model.initSystem()
        self.coordinates = {c.getName(): c for c in _coordinates(self.model)}
        self.free = {name: c for name, c in self.coordinates.items() if not c.isDependent(self.state)}
        muscles = self.model.getMuscles()
        self.muscles = [muscles.get(i) for i in range(muscles.getSize())]
        self.muscle_names = [muscle.getName() for muscle in self.muscles]
        self.paths = [muscle.getPath() for muscle in self.muscles]
        self.couplers = self._find_couplers()
        self.compare = False
        self.odd: set[int] = set()
        self._compared = 0
        self._measured, self._total = 0, 0
        self._progress: Path | None = None

    def report_to(self, file: Path, total: int) -> None:
        """Write from time to time to a file which share of so many postures has been measured."""
        self._measured, self._total, self._progress = 0, total, file

    def measure_all(
        self, postures: np.ndarray, names: list[str], spans: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measure the muscles in many postures.

        Returns the postures as they came to be (postures, names), the lengths (postures, muscles), and the moment arms
        (postures, muscles, names), only those of ``spans`` (muscles, names) if given.
        """
        count = len(self.muscles)
        wanted = np.ones((count, len(names)), dtype=bool) if spans is None else spans
        by_coordinate = [np.flatnonzero(column).tolist() for column in wanted.T]
        coordinates = [self.free[name] for name in names]
        q = np.array(postures, dtype=float).reshape(-1, len(names))
        lengths, arms = np.empty((len(q), count)), np.zeros((len(q), count, len(names)))
        measure = self._assembled if self.couplers is None else self._coupled
        for row in range(len(q)):
            measure(coordinates, q[row], by_coordinate, lengths[row], arms[row])
            self._measured += 1
            if self._progress is not None and self._measured % _REPORT_EVERY == 0:
                self._progress.write_text(str(self._measured / self._total), encoding="utf-8")
        return q, lengths, arms

    def _assembled(self, coordinates: list[Any], q: Any, by_coordinate: Any, lengths: Any, arms: Any) -> None:
        for coordinate, value in zip(coordinates, q, strict=True):
            coordinate.setValue(self.state, value, False)
        self.model.assemble(self.state)
        self.model.realizePosition(self.state)
        q[:] = [coordinate.getValue(self.state) for coordinate in coordinates]
        lengths[:] = [path.getLength(self.state) for path in self.paths]
        for column, (coordinate, members) in enumerate(zip(coordinates, by_coordinate, strict=True)):
            arms[members, column] = self._moment_arms(coordinate, members)

    def _coupled(self, coordinates: list[Any], q: Any, by_coordinate: Any, lengths: Any, arms: Any) -> None:
        state = self.state
        for coordinate, value in zip(coordinates, q, strict=True):
            coordinate.setValue(state, value, False)
        self._follow()
        self.model.realizePosition(state)
        lengths[:] = [path.getLength(state) for path in self.paths]
        for column, (coordinate, members) in enumerate(zip(coordinates, by_coordinate, strict=True)):
            if not members:
                continue
            self._move(coordinate, 1.0)
            self.model.realizeVelocity(state)
            arms[members, column] = [-self.paths[m].getLengtheningSpeed(state) for m in members]
            self._move(coordinate, 0.0)
        if self.compare:
            # One coordinate of every muscle, another one in every posture.
            self._compared += 1
            for m, row in enumerate(arms):
                spanned = np.flatnonzero(np.abs(row) > MOMENT_ARM_THRESHOLD).tolist()
                for column in spanned[self._compared % len(spanned) :][:1] if spanned else ():
                    (arm,) = self._moment_arms(coordinates[column], [m])
                    if abs(arm - row[column]) > _SAME_ARM:
                        self.odd.add(m)
        for column, (coordinate, members) in enumerate(zip(coordinates, by_coordinate, strict=True)):
            odd = [m for m in members if m in self.odd]
            arms[odd, column] = self._moment_arms(coordinate, odd)

    def _moment_arms(self, coordinate: Any, muscles: Any) -> list[float]:
        return [self.muscles[m].computeMomentArm(self.state, coordinate) for m in muscles]

    def _follow(self) -> None:
        """Bring the coordinates that follow others to where these make them be."""
        for follower, leaders, function, scale in self.couplers or ():
            follower.setValue(self.state, scale * function.calcValue(self._values(leaders)), False)

    def _move(self, coordinate: Any, speed: float) -> None:
        """Give a coordinate a speed, while all others rest, and its followers theirs."""
        import opensim

        coordinate.setSpeedValue(self.state, speed)
        for follower, leaders, function, scale in self.couplers or ():
            if coordinate in leaders:
                slope = function.calcDerivative(
                    opensim.StdVectorInt([leaders.index(coordinate)]), self._values(leaders)
                )
                follower.setSpeedValue(self.state, scale * slope * speed)

    def _values(self, coordinates: list[Any]) -> Any:
        import opensim

        values = opensim.Vector(len(coordinates), 0.0)
        for number, coordinate in enumerate(coordinates):
            values.set(number, coordinate.getValue(self.state))
        return values

    def _find_couplers(self) -> list[tuple[Any, list[Any], Any, float]] | None:
        """Return follower, leaders, function and factor of every coupling; None if there are other constraints."""
        import opensim

        found = []
        for constraint in self.model.getComponentsList():
            if opensim.Constraint.safeDownCast(constraint) is None:
                continue
            coupler = opensim.CoordinateCouplerConstraint.safeDownCast(constraint)
            if not opensim.Constraint.safeDownCast(constraint).get_isEnforced():
                continue
            if coupler is None:
                return None
            names = coupler.getIndependentCoordinateNames()
            leaders = [self.coordinates[names.get(i)] for i in range(names.getSize())]
            scale = opensim.PropertyHelper.getValueDouble(coupler.getPropertyByName("scale_factor"))
            found.append(
                (self.coordinates[coupler.getDependentCoordinateName()], leaders, coupler.getFunction(), scale)
            )
        self.couplers = found
        return found if self._agrees_with_assembly() else None

    def _agrees_with_assembly(self) -> bool:
        """Tell whether setting the followers leaves the assembly nothing to do (a chain of couplings may)."""
        for name, c in self.free.items():
            low, high = max(c.getRangeMin(), -_ASIDE), min(c.getRangeMax(), _ASIDE)
            self.free[name].setValue(self.state, 0.3 * low + 0.7 * high if low < high else low, False)
        self._follow()
        every = list(self.coordinates.values())
        before = np.array([c.getValue(self.state) for c in every])
        self.model.assemble(self.state)
        after = np.array([c.getValue(self.state) for c in every])
        for c in every:
            c.setValue(self.state, c.getDefaultValue(), False)
        return bool(np.abs(after - before).max(initial=0.0) < _SAME_POSTURE)


def _postures(ranges: np.ndarray, motion: np.ndarray | None, count: int) -> np.ndarray:
    """Return a Sobol sequence within the ranges, every other posture of it replaced by one about the motion's."""
    from scipy.stats.qmc import Sobol

    low, high = ranges.T
    q: np.ndarray = low + Sobol(len(low), rng=1).random(count) * (high - low)
    if motion is not None:
        rng = np.random.default_rng(3)
        rows = np.linspace(0, len(motion) - 1, count // 2).round().astype(int)
        about = motion[rows] + rng.normal(scale=_ABOUT, size=(count // 2, len(low))) * 0.5 * (high - low)
        q[1::2] = np.clip(about, low, high)
    return q


def _random_postures(seed: int, ranges: Any, count: int) -> np.ndarray:
    """Return random postures within ranges; (count, coordinates)."""
    low, high = np.array(list(ranges), dtype=float).reshape(-1, 2).T
    postures: np.ndarray = low + np.random.default_rng(seed).uniform(size=(count, len(low))) * (high - low)
    return postures


def _movable_model(model_file: str) -> Any:
    """Return a model that goes where a motion says: of locked and prescribed coordinates, too."""
    import opensim

    model = opensim.Model(model_file)
    for coordinate in _coordinates(model):
        coordinate.set_locked(False)
        coordinate.set_prescribed(False)
    return model


def _coordinates(model: Any) -> list[Any]:
    found = model.updCoordinateSet()
    return [found.get(i) for i in range(found.getSize())]


JOBS = {job.__name__: job for job in (analyse_motion, sample_paths, evaluate_paths, measure_leg, measure_axes)}


def main(arguments: list[str]) -> None:
    """Do a job.

    Parameters
    ----------
    arguments : list of str
        The job, the file that asks for it, and the file for the answer.
    """
    job, request_file, result_file = arguments
    answer: dict[str, Any] = JOBS[job](json.loads(Path(request_file).read_text(encoding="utf-8")))
    np.savez(result_file, **answer)
