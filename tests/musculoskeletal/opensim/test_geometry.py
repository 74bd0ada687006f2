"""Positions of joints and muscle paths: against OpenSim's own lengths and bodies, and against hand arithmetic."""

from __future__ import annotations

import logging

import numpy as np
import opensim
import pytest
from lxml import etree

from opensim_nem2e.errors import CycleError, LabelError, MissingFileError, ModelError, OpenSimRunError
from opensim_nem2e.musculoskeletal.opensim.geometry import read_geometry
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage

TIMES = (0.5, 0.91, 1.5)


@pytest.fixture(scope="module")
def example(repository):
    return repository / "examples" / "01_refine_walking"


@pytest.fixture(scope="module")
def walker(example):
    """Return the example's geometry and what OpenSim says in this process, with its own reader of the motion."""
    opensim.Logger.setLevelString("error")
    model = opensim.Model(str(example / "walker.osim"))
    state = model.initSystem()
    storage = opensim.Storage(str(example / "walking_coordinates.mot"))
    model.getSimbodyEngine().convertDegreesToRadians(storage)
    names = [storage.getColumnLabels().get(i) for i in range(1, storage.getColumnLabels().getSize())]
    told = []
    for time in TIMES:
        row = opensim.ArrayDouble(0.0, len(names))
        storage.getDataAtTime(time, len(names), row)
        for index, name in enumerate(names):
            model.getCoordinateSet().get(name).setValue(state, row.get(index), False)
        model.realizePosition(state)
        bodies = {
            body.getName(): (body.getPositionInGround(state).to_numpy(), body.getMassCenter().to_numpy())
            for body in model.getBodySet()
        }
        centres = {
            body.getName(): body.findStationLocationInGround(state, body.getMassCenter()).to_numpy()
            for body in model.getBodySet()
        }
        told.append((bodies, centres, {muscle.getName(): muscle.getLength(state) for muscle in model.getMuscles()}))
    return read_geometry(example / "walker.osim", example / "walking_coordinates.mot", TIMES), told


def test_joints_are_where_opensim_puts_the_bodies(walker):
    geometry, told = walker
    carried = {"ground_pelvis": "pelvis", "back": "torso"}
    carried |= {
        f"{joint}_{s}": f"{body}_{s}"
        for s in "rl"
        for joint, body in (("hip", "femur"), ("knee", "tibia"), ("ankle", "calcn"))
    }
    assert set(geometry.joints) == set(carried)
    for row, (bodies, _, _) in enumerate(told):
        for column, joint in enumerate(geometry.joints):
            np.testing.assert_allclose(geometry.centres[row, column], bodies[carried[joint]][0], atol=1e-7)


def test_bones_join_the_joints(walker):
    geometry, told = walker
    assert sorted(geometry.bodies) == sorted(
        ["pelvis"] * 3 + ["torso"] + [f"{body}_{side}" for side in "rl" for body in ("femur", "tibia", "calcn")]
    )
    position = {joint: geometry.centres[:, column] for column, joint in enumerate(geometry.joints)}
    bone = {body: geometry.bones[:, index] for index, body in enumerate(geometry.bodies)}
    np.testing.assert_array_equal(bone["femur_r"][:, 0], position["hip_r"])
    np.testing.assert_array_equal(bone["femur_r"][:, 1], position["knee_r"])
    np.testing.assert_array_equal(bone["tibia_l"][:, 1], position["ankle_l"])
    for row, (_, mass_centres, _) in enumerate(told):
        np.testing.assert_allclose(bone["torso"][row, 1], mass_centres["torso"], atol=1e-7)
    # A bone is rigid.
    lengths = np.linalg.norm(geometry.bones[:, :, 1] - geometry.bones[:, :, 0], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=1e-9)


def test_paths_are_as_long_as_opensim_says(walker):
    geometry, told = walker
    for row, (_, _, lengths) in enumerate(told):
        assert set(geometry.muscles) == set(lengths)
        for name, paths in geometry.muscles.items():
            length = np.linalg.norm(np.diff(paths[row], axis=0), axis=1).sum()
            assert length == pytest.approx(lengths[name], abs=1e-7), name
    np.testing.assert_allclose(geometry.up, [0, 1, 0])


def test_states_give_the_same_as_coordinates(example):
    states = read_storage(example / "cmc" / "walking_states.sto")
    at = states.time[[100, 900]]
    from_states = read_geometry(example / "walker.osim", example / "cmc" / "walking_states.sto", at)
    from_motion = read_geometry(example / "walker.osim", example / "cmc" / "walking_Kinematics_q.sto", at)
    np.testing.assert_allclose(from_states.centres, from_motion.centres, atol=1e-4)


def test_degrees_that_call_themselves_radians(example, tmp_path, walker, caplog):
    text = (example / "walking_coordinates.mot").read_text().replace("inDegrees=yes", "inDegrees=no")
    (tmp_path / "wrong.mot").write_text(text)
    with caplog.at_level(logging.WARNING, logger="opensim_nem2e"):
        geometry = read_geometry(example / "walker.osim", tmp_path / "wrong.mot", TIMES)
    assert "taken for degrees" in caplog.text
    np.testing.assert_allclose(geometry.centres, walker[0].centres, atol=1e-12)


def write_leg(folder):
    """Write a hanging leg: thigh 0.4 m, shank 0.5 m, a patella that turns half as far as the knee, and a locked toe."""
    model = opensim.Model()
    model.setName("leg")

    def body(name, parent, at, centre):
        part = opensim.Body(name, 1.0, opensim.Vec3(*centre), opensim.Inertia(0.1, 0.1, 0.1))
        joint = opensim.PinJoint(
            f"{name}_joint", parent, opensim.Vec3(*at), opensim.Vec3(0), part, opensim.Vec3(0), opensim.Vec3(0)
        )
        joint.updCoordinate().setName(f"{name}_angle")
        model.addBody(part)
        model.addJoint(joint)
        return part, joint

    thigh, _ = body("thigh", model.getGround(), (0, 1, 0), (0, -0.2, 0))
    shank, _ = body("shank", thigh, (0, -0.4, 0), (0, -0.25, 0))
    patella, _ = body("patella", thigh, (0, -0.4, 0), (0.01, 0, 0))
    _, toe = body("toe", shank, (0, -0.5, 0), (0.1, 0, 0))
    toe.updCoordinate().set_locked(True)
    coupler = opensim.CoordinateCouplerConstraint()
    independent = opensim.ArrayStr()
    independent.append("shank_angle")
    coupler.setIndependentCoordinateNames(independent)
    coupler.setDependentCoordinateName("patella_angle")
    coupler.setFunction(opensim.LinearFunction(0.5, 0.0))
    model.addConstraint(coupler)
    muscle = opensim.Thelen2003Muscle("vas_r", 1000.0, 0.1, 0.2, 0.0)
    muscle.addNewPathPoint("origin", thigh, opensim.Vec3(0.02, -0.1, 0))
    muscle.addNewPathPoint("insertion", patella, opensim.Vec3(0.05, 0, 0))
    model.addForce(muscle)
    model.finalizeConnections()
    model.printToXML(str(folder / "leg.osim"))


def test_what_a_motion_does_not_hold(tmp_path):
    """A patella follows its knee, is no bone of the skeleton, and a locked joint goes where the motion says."""
    write_leg(tmp_path)
    labels = ("shank_angle", "toe_angle", "unknown")
    rows = np.array([[0.0, 0.0, 9.0], [90.0, 30.0, 9.0]])
    write_storage(tmp_path / "q.mot", TimeSeries(np.array([0.0, 1.0]), labels, rows, in_degrees=True))
    geometry = read_geometry(tmp_path / "leg.osim", tmp_path / "q.mot", [0.0, 1.0])
    assert geometry.bodies == ("thigh", "shank", "toe")
    np.testing.assert_allclose(geometry.bones[1, 0], [[0, 1, 0], [0, 0.6, 0]], atol=1e-6)
    np.testing.assert_allclose(geometry.bones[1, 1], [[0, 0.6, 0], [0.5, 0.6, 0]], atol=1e-6)
    toe = [0.5 + 0.1 * np.cos(np.deg2rad(120)), 0.6 + 0.1 * np.sin(np.deg2rad(120)), 0]
    np.testing.assert_allclose(geometry.bones[1, 2, 1], toe, atol=1e-6)
    kneecap = [0.05 * np.cos(np.deg2rad(45)), 0.6 + 0.05 * np.sin(np.deg2rad(45)), 0]
    np.testing.assert_allclose(geometry.muscles["vas_r"][1], [[0.02, 0.9, 0], kneecap], atol=1e-4)


def test_real_model(shared_data):
    """Wrapped paths, moving points, a coupled patella."""
    folder = shared_data / "walk_sub1"
    model_file, motion = folder / "Rajagopal_scaled_Sub1_gasAvoid.osim", folder / "walking_baseline1_ik.mot"
    geometry = read_geometry(model_file, motion, [5.0, 5.55])
    assert not any(body.startswith("patella") for body in geometry.bodies)
    assert len(geometry.muscles) == 80
    counts = {len(points) for paths in geometry.muscles.values() for points in paths}
    assert max(counts) > 3
    # The feet are near the ground and the trunk is above the pelvis.
    height = geometry.centres @ geometry.up
    joint = geometry.joints.index
    assert (height[:, joint("back")] > height[:, joint("ground_pelvis")] - 0.1).all()
    assert (height[:, [joint("ankle_r"), joint("ankle_l")]].min(axis=1) < 0.2).all()


def test_errors(example, tmp_path):
    model, motion = example / "walker.osim", example / "walking_coordinates.mot"
    with pytest.raises(CycleError, match=r"times 0.5 to 99 s must lie inside it, found 0 to"):
        read_geometry(model, motion, [0.5, 99.0])
    with pytest.raises(LabelError, match="No column is a coordinate of the model"):
        read_geometry(model, example / "walking_grf.mot", [0.5])
    with pytest.raises(ModelError, match="OpenSim model was expected"):
        read_geometry(example / "setup_cmc.xml", motion, [0.5])
    with pytest.raises(MissingFileError):
        read_geometry(tmp_path / "absent.osim", motion, [0.5])
    broken = (model.read_text()).replace("<socket_parent_frame>pelvis_offset", "<socket_parent_frame>nowhere", 1)
    (tmp_path / "broken.osim").write_text(broken)
    assert broken != model.read_text()
    with pytest.raises(OpenSimRunError, match="Reading the geometry"):
        read_geometry(tmp_path / "broken.osim", motion, [0.5])
    with pytest.raises(OpenSimRunError, match="time limit"):
        read_geometry(model, motion, [0.5], timeout=0.01)


#: A tetrahedron in each of the formats.
CORNERS = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.3]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def obj() -> str:
    lines = ["v {} {} {}".format(*corner) for corner in CORNERS.tolist()]
    return "\n".join([*lines, *("f {} {} {}".format(*(face + 1).tolist()) for face in FACES), ""])


def stl() -> str:
    facets = []
    for face in FACES:
        corners = "\n".join("vertex {} {} {}".format(*CORNERS[k].tolist()) for k in face)
        facets.append(f"facet normal 0 0 0\nouter loop\n{corners}\nendloop\nendfacet")
    return "\n".join(["solid t", *facets, "endsolid t", ""])


def vtp() -> str:
    def array(values, kind, **attributes):
        more = "".join(f' {name}="{value}"' for name, value in attributes.items())
        text = " ".join(map(str, np.asarray(values).reshape(-1).tolist()))
        return f'<DataArray type="{kind}" format="ascii"{more}>{text}</DataArray>'

    polys = array(FACES, "Int32", Name="connectivity") + array([3, 6, 9, 12], "Int32", Name="offsets")
    points = array(CORNERS, "Float32", NumberOfComponents="3")
    return (
        '<?xml version="1.0"?><VTKFile type="PolyData" version="0.1" byte_order="LittleEndian"><PolyData>'
        f'<Piece NumberOfPoints="4" NumberOfPolys="4"><Points>{points}</Points><Polys>{polys}</Polys></Piece>'
        "</PolyData></VTKFile>"
    )


def test_bones_come_from_their_files(example, tmp_path):
    """A mesh beside the model, one in its folder Geometry, one in a folder that is named, and one that is nowhere."""
    tree = etree.parse(example / "walker.osim")
    for body, name in (("calcn_r", "a.obj"), ("calcn_l", "b.stl"), ("tibia_r", "c.vtp"), ("tibia_l", "gone.vtp")):
        (old,) = tree.xpath(f"//*[@name='{body}_drawing_geom_1']")
        new = etree.SubElement(old.getparent(), "Mesh", name="bone")
        etree.SubElement(new, "socket_frame").text = ".."
        etree.SubElement(new, "scale_factors").text = "1 2 3"
        etree.SubElement(new, "mesh_file").text = name
        old.getparent().remove(old)
    tree.write(tmp_path / "model.osim")
    (tmp_path / "Geometry").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.obj").write_text(obj())
    (tmp_path / "Geometry" / "b.stl").write_text(stl())
    (tmp_path / "elsewhere" / "c.vtp").write_text(vtp())
    motion = example / "walking_coordinates.mot"
    geometry = read_geometry(tmp_path / "model.osim", motion, TIMES, shape_folders=[tmp_path / "elsewhere"])
    assert geometry.missing_shapes == ("gone.vtp",)
    shapes = {shape.body: shape for shape in geometry.shapes}
    assert sorted(shapes) == ["calcn_l", "calcn_r", "femur_l", "femur_r", "pelvis", "tibia_r", "torso"]
    assert {body for body, shape in shapes.items() if not shape.solid} == {"calcn_l", "calcn_r", "tibia_r"}
    (offset,) = tree.xpath("//*[@name='calcn_r_drawing']/translation")
    offset = np.array([float(number) for number in offset.text.split()])
    for body in ("calcn_r", "calcn_l"):
        corners = shapes[body].vertices[shapes[body].triangles]
        np.testing.assert_allclose(corners, (CORNERS * [1, 2, 3] + offset)[FACES], atol=1e-7)
    # The poses are those of the bodies: the foot's origin is where the ankle puts it.
    ankle = geometry.joints.index("ankle_r")
    np.testing.assert_allclose(geometry.poses["calcn_r"][:, :, 3], geometry.centres[:, ankle], atol=1e-9)
    rotations = geometry.poses["calcn_r"][:, :, :3]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (3, 1, 1)), atol=1e-9)


def test_shapes_only_when_asked_for(walker):
    geometry, _ = walker
    assert (geometry.shapes, geometry.poses, geometry.missing_shapes) == ((), {}, ())
