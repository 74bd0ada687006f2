"""The child process of :func:`opensim_nem2e.musculoskeletal.opensim.geometry.read_geometry`.

The process that is kept for such jobs calls :func:`main`. It imports nothing of this package, so that it works wherever
the parent runs. Importing it has no effect.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

#: A joint angle beyond this is taken for degrees, whatever the file says (rad): no joint turns more than once.
_ONE_TURN = 2.0 * math.pi

#: How finely Simbody divides round surfaces.
_FINE = 2

#: ``opensim.Coordinate.MotionType``
_ROTATIONAL = 1


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Put the model into each posture and read the positions of its joints and muscles.

    Parameters
    ----------
    request : dict
        ``model`` (file), ``coordinates`` (names), ``values`` (one row per posture, one number per name), ``largest``
        (the largest magnitude of each coordinate in the whole motion), ``in_degrees``, whether ``muscles`` are wanted,
        and ``shape_folders``: where else the files of bones may lie, or None if shapes are not wanted.

    Returns
    -------
    dict
        ``joints`` (names), ``centres`` (postures x joints x 3, m), ``bones`` (``[body, start, end]``: what lies between
        the joint that carries the body, by index, and another joint or -1 for the body's own mass centre), ``ends``
        (postures x bones x 3, m: where each bone ends), ``muscles`` (per name: postures x points x 3, m), ``up``
        (unit vector against gravity), ``defaults`` (coordinates that the request does not name), ``no_path`` (muscles
        without path points) and ``taken_for_degrees`` (the coordinate that shows it, or none). ``shapes`` (``[body,
        vertices, triangles, is it one of OpenSim's own solids?]``, m, in the body's frame), ``no_file`` (files of
        shapes that are nowhere) and ``poses`` (per body with shapes: postures x 12, rotation and position of its
        frame, row by row).
    """
    import opensim

    opensim.Logger.setLevelString("error")
    model = opensim.Model(request["model"])
    coordinates = model.getCoordinateSet()
    for i in range(coordinates.getSize()):
        # The motion says where a joint is. Unlocked before there is a state: the assembly would lock it again.
        coordinates.get(i).setDefaultLocked(False)
        coordinates.get(i).setDefaultIsPrescribed(False)
    state = model.initSystem()
    known = [coordinates.get(i).getName() for i in range(coordinates.getSize())]
    columns = [i for i, name in enumerate(request["coordinates"]) if name in known]
    given = [(coordinates.get(request["coordinates"][i]), i) for i in columns]
    turning = [(c, i) for c, i in given if c.getMotionType() == _ROTATIONAL]
    wide = next((c for c, i in turning if request["largest"][i] > _ONE_TURN), None)
    factor = math.pi / 180.0 if request["in_degrees"] or wide is not None else 1.0

    joints, bones = _tree(model, state)
    bodies = model.getBodySet()
    muscles, no_path = _paths(model, opensim) if request["muscles"] else ({}, [])
    answer: dict[str, Any] = {
        "joints": [joint.getName() for joint in joints],
        "bones": [[body.getName(), start, end] for body, start, end in bones],
        "centres": [],
        "ends": [],
        "muscles": {name: [] for name in muscles},
        "up": _up(model),
        "defaults": sorted(set(known) - set(request["coordinates"])),
        "no_path": no_path,
        "taken_for_degrees": wide.getName() if wide is not None and not request["in_degrees"] else None,
    }
    folders = request["shape_folders"]
    answer["shapes"], answer["no_file"] = ([], []) if folders is None else _shapes(model, opensim, folders)
    shown = {name: bodies.get(name) for name in dict.fromkeys(shape[0] for shape in answer["shapes"])}
    answer["poses"] = {name: [] for name in shown}
    for row in request["values"]:
        for coordinate, i in given:
            scale = factor if coordinate.getMotionType() == _ROTATIONAL else 1.0
            coordinate.setValue(state, row[i] * scale, False)
        if model.getConstraintSet().getSize():
            # Coordinates that follow others, such as a patella's, are seldom in a motion.
            model.assemble(state)
        model.realizePosition(state)
        centres = [_numbers(joint.getChildFrame().getPositionInGround(state)) for joint in joints]
        answer["centres"].append(centres)
        answer["ends"].append(
            [
                centres[end] if end >= 0 else _numbers(body.findStationLocationInGround(state, body.getMassCenter()))
                for body, start, end in bones
            ]
        )
        for name, path in muscles.items():
            points = path.getCurrentPath(state)
            found = [_numbers(points.get(k).getLocationInGround(state)) for k in range(points.getSize())]
            answer["muscles"][name].append(found)
        for name, body in shown.items():
            answer["poses"][name].append(_matrix(body.getTransformInGround(state)))
    return answer


def _numbers(vector: Any) -> list[float]:
    return [float(vector.get(i)) for i in range(3)]


def _matrix(transform: Any) -> list[float]:
    """Return rotation and position, three rows of four."""
    rotation, position = transform.R(), transform.p()
    return [float(number) for i in range(3) for number in (*(rotation.get(i, j) for j in range(3)), position.get(i))]


def _up(model: Any) -> list[float]:
    gravity = _numbers(model.getGravity())
    size = math.hypot(*gravity)
    # OpenSim's convention where a model has no gravity.
    return [-g / size for g in gravity] if size else [0.0, 1.0, 0.0]


def _tree(model: Any, state: Any) -> tuple[list[Any], list[tuple[Any, int, int]]]:
    """Return the joints, and for each body the joint that carries it with each joint that it carries itself."""
    found = model.getJointSet()
    joints = [found.get(i) for i in range(found.getSize())]
    parents = [joint.getParentFrame().findBaseFrame().getName() for joint in joints]
    children = [joint.getChildFrame().findBaseFrame().getName() for joint in joints]
    bodies = model.getBodySet()
    bones = []
    for start, body in enumerate(children):
        ends = [k for k, parent in enumerate(parents) if parent == body and not _is_appendix(joints[k], parents, state)]
        # The last body of a chain (a foot, the trunk) reaches at least to its mass centre.
        bones += [(bodies.get(body), start, end) for end in ends or [-1]]
    drawn = [bone for bone in bones if not _is_appendix(joints[bone[1]], parents, state)]
    return joints, drawn


def _is_appendix(joint: Any, parents: list[str], state: Any) -> bool:
    """Tell whether a joint carries a last body that only follows other coordinates, such as a patella."""
    if joint.getChildFrame().findBaseFrame().getName() in parents or not joint.numCoordinates():
        return False
    return all(joint.get_coordinates(i).isDependent(state) for i in range(joint.numCoordinates()))


def _paths(model: Any, opensim: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the muscles' paths, and the names of those whose path has no points (a function instead)."""
    muscles = model.getMuscles()
    paths, without = {}, []
    for i in range(muscles.getSize()):
        muscle = muscles.get(i)
        path = opensim.GeometryPath.safeDownCast(muscle.getPath())
        if path is None:
            without.append(muscle.getName())
        else:
            paths[muscle.getName()] = path
    return paths, without


def _shapes(model: Any, opensim: Any, folders: list[str]) -> tuple[list[Any], list[str]]:
    """Return the visible shapes of the bodies as triangles in the bodies' frames, and the files that are nowhere."""
    home = Path(model.getInputFileName()).parent
    places = [home, home / "Geometry", *map(Path, folders)]
    shapes, missing = [], []
    # All of them: a generator of OpenSim's that is not used up complains.
    for component in list(model.getComponentsList()):
        geometry = opensim.Geometry.safeDownCast(component)
        if geometry is None or not geometry.get_Appearance().get_visible():
            continue
        frame = geometry.getFrame()
        body = opensim.Body.safeDownCast(frame.findBaseFrame())
        if body is None:
            # What stands on the ground is not the person.
            continue
        stretch = _numbers(geometry.get_scale_factors())
        mesh = opensim.Mesh.safeDownCast(component)
        if mesh is not None:
            name = mesh.get_mesh_file()
            path = next((place / name for place in places if (place / name).is_file()), None)
            if path is None:
                missing.append(name)
                continue
            solid = opensim.PolygonalMesh()
            solid.loadFile(str(path))
        else:
            found = _solid(component, opensim)
            if found is None:
                continue
            solid, own = found
            stretch = [a * b for a, b in zip(stretch, own, strict=True)]
        offset = _matrix(frame.findTransformInBaseFrame())
        vertices = []
        for i in range(solid.getNumVertices()):
            point = [a * b for a, b in zip(stretch, _numbers(solid.getVertexPosition(i)), strict=True)]
            rows = (offset[0:4], offset[4:8], offset[8:12])
            vertices.append([sum(a * b for a, b in zip(row, (*point, 1.0), strict=True)) for row in rows])
        triangles = []
        for i in range(solid.getNumFaces()):
            corners = [solid.getFaceVertex(i, k) for k in range(solid.getNumVerticesForFace(i))]
            triangles += [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
        shapes.append([body.getName(), vertices, triangles, mesh is None])
    return shapes, missing


def _solid(component: Any, opensim: Any) -> tuple[Any, list[float]] | None:
    """Return one of OpenSim's own solids as a mesh and by how much it is stretched; None for what is no solid."""
    brick = opensim.Brick.safeDownCast(component)
    if brick is not None:
        return opensim.PolygonalMesh.createBrickMesh(brick.get_half_lengths()), [1.0] * 3
    cylinder = opensim.Cylinder.safeDownCast(component)
    if cylinder is not None:
        # Simbody's stands along z, OpenSim's along y.
        solid = opensim.PolygonalMesh.createCylinderMesh(
            opensim.UnitVec3(0.0, 1.0, 0.0), cylinder.get_radius(), cylinder.get_half_height(), _FINE
        )
        return solid, [1.0] * 3
    sphere, ellipsoid = opensim.Sphere.safeDownCast(component), opensim.Ellipsoid.safeDownCast(component)
    if sphere is not None:
        return opensim.PolygonalMesh.createSphereMesh(sphere.get_radius(), _FINE), [1.0] * 3
    if ellipsoid is not None:
        return opensim.PolygonalMesh.createSphereMesh(1.0, _FINE), _numbers(ellipsoid.get_radii())
    return None


def main(arguments: list[str]) -> None:
    """Answer a request.

    Parameters
    ----------
    arguments : list of str
        The file of the request, and the file for the answer.
    """
    request_file, answer_file = map(Path, arguments)
    answer_file.write_text(json.dumps(measure(json.loads(request_file.read_text(encoding="utf-8")))), encoding="utf-8")
