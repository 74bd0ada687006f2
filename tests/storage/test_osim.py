"""The model reader against OpenSim itself."""

from __future__ import annotations

import copy

import pytest
from lxml import etree

from opensim_nem2e.errors import MissingFileError, ModelError
from opensim_nem2e.storage.osim import read_model

opensim = pytest.importorskip("opensim")
opensim.Logger.setLevelString("off")


def compare_with_opensim(path):
    """Compare everything that both readers know."""
    model = opensim.Model(str(path))
    model.initSystem()
    ours = read_model(path)
    names = model.getStateVariableNames()
    assert list(ours.state_labels()) == [names.get(i) for i in range(names.getSize())]
    coordinates = model.getCoordinateSet()
    assert [c.path for c in ours.coordinates] == [
        coordinates.get(i).getAbsolutePathString() for i in range(coordinates.getSize())
    ]
    assert [c.name for c in ours.coordinates] == [coordinates.get(i).getName() for i in range(coordinates.getSize())]
    bodies = model.getBodySet()
    assert ours.mass == pytest.approx(sum(bodies.get(i).getMass() for i in range(bodies.getSize())), rel=1e-12)
    assert ours.name == model.getName()
    actuators = model.getActuators()
    in_forceset = [a for a in ours.actuators if a.path.startswith("/forceset/")]
    assert [a.path for a in in_forceset] == [
        actuators.get(i).getAbsolutePathString() for i in range(actuators.getSize())
    ]
    for i, actuator in enumerate(in_forceset):
        scalar = opensim.ScalarActuator.safeDownCast(actuators.get(i))
        if scalar is not None:
            assert (actuator.min_control, actuator.max_control) == (scalar.getMinControl(), scalar.getMaxControl())
    muscles = model.getMuscles()
    known = [m for m in ours.muscles.values() if m.path.startswith("/forceset/")]
    assert [m.name for m in known] == [muscles.get(i).getName() for i in range(muscles.getSize())]
    for i, muscle in enumerate(known):
        theirs = muscles.get(i)
        assert muscle.class_name == theirs.getConcreteClassName()
        assert muscle.path == theirs.getAbsolutePathString()
        assert muscle.min_control == theirs.getMinControl()
        assert muscle.max_control == theirs.getMaxControl()
        assert muscle.max_isometric_force == theirs.getMaxIsometricForce()
        assert muscle.optimal_fiber_length == theirs.getOptimalFiberLength()
        assert muscle.tendon_slack_length == theirs.getTendonSlackLength()
        assert muscle.pennation_angle_at_optimal == theirs.getPennationAngleAtOptimalFiberLength()
        assert muscle.max_contraction_velocity == theirs.getMaxContractionVelocity()
        for ours_name, theirs_name in (
            ("min_activation", "minimum_activation"),
            ("activation_time_constant", "activation_time_constant"),
            ("deactivation_time_constant", "deactivation_time_constant"),
        ):
            if theirs.hasProperty(theirs_name):
                value = opensim.PropertyHelper.getValueDouble(theirs.getPropertyByName(theirs_name))
                assert getattr(muscle, ours_name) == value
    return ours


def test_every_real_model_agrees_with_opensim(shared_data, shared_fixtures):
    files = sorted(shared_data.rglob("*.osim")) + sorted(shared_fixtures.rglob("*.osim"))
    assert len(files) >= 17
    for path in files:
        compare_with_opensim(path)


def set_value(element, key, value):
    child = element.find(key)
    if child is None:
        child = etree.SubElement(element, key)
    child.text = value


@pytest.fixture
def gait10(shared_data):
    return etree.parse(str(shared_data / "opensim_pipelines" / "Gait10dof18musc" / "gait10dof18musc.osim"))


def test_classes_flags_and_free_components_agree_with_opensim(gait10, tmp_path):
    muscles = gait10.findall(".//ForceSet/objects/*")
    classes = {
        3: "DeGrooteFregly2016Muscle",
        4: "DeGrooteFregly2016Muscle",
        5: "RigidTendonMuscle",
        6: "Millard2012AccelerationMuscle",
        7: "Thelen2003Muscle_Deprecated",
        8: "Schutte1993Muscle",
        9: "Delp1990Muscle",
        10: "DeGrooteFregly2016Muscle",
    }
    keep = {
        "GeometryPath",
        "max_isometric_force",
        "optimal_fiber_length",
        "tendon_slack_length",
        "pennation_angle_at_optimal",
    }
    for index, name in classes.items():
        muscles[index].tag = name
        for child in list(muscles[index]):
            if child.tag not in keep:
                muscles[index].remove(child)
    set_value(muscles[0], "min_control", " 0.02 ")
    set_value(muscles[1], "ignore_tendon_compliance", "true")
    set_value(muscles[2], "ignore_activation_dynamics", "true")
    set_value(muscles[4], "ignore_tendon_compliance", "true")
    set_value(muscles[10], "ignore_activation_dynamics", "true")
    for index in (11, 12):
        muscles[index].tag = "Thelen2003Muscle"
    set_value(muscles[11], "activation_time_constant", "0.021")
    set_value(muscles[12], "minimum_activation", "0.03")
    set_value(muscles[12], "min_control", "0.04")
    objects = gait10.find(".//ForceSet/objects")
    for name in ("ActivationCoordinateActuator", "CoordinateActuator"):
        actuator = etree.SubElement(objects, name, name=f"extra_{name}")
        set_value(actuator, "coordinate", "knee_angle_r")
    set_value(objects[-1], "max_control", "5")
    components = etree.SubElement(gait10.find("Model"), "components")
    free = copy.deepcopy(muscles[13])
    free.set("name", "free_muscle")
    components.append(free)
    path = tmp_path / "classes.osim"
    gait10.write(str(path))
    ours = compare_with_opensim(path)
    assert ours.muscles["free_muscle"].path == "/free_muscle"
    assert ours.state_labels()[0] == "/free_muscle/activation"


def test_unnamed_coordinates_agree_with_opensim(tmp_path):
    model = opensim.Model()
    model.setName("pin")
    body = opensim.Body("bar", 2.0, opensim.Vec3(0), opensim.Inertia(1))
    model.addBody(body)
    model.addJoint(opensim.PlanarJoint("hinge", model.getGround(), body))
    model.finalizeConnections()
    path = tmp_path / "pin.osim"
    model.printToXML(str(path))
    tree = etree.parse(str(path))
    joint = tree.find(".//PlanarJoint")
    joint.remove(joint.find("coordinates"))
    tree.write(str(path))
    assert len(compare_with_opensim(path).coordinates) == 3


def test_defaults_block_is_used(tmp_path):
    # No comparison in this process: OpenSim keeps a file's defaults for every model it reads afterwards.
    path = tmp_path / "defaults.osim"
    path.write_text(
        '<OpenSimDocument Version="40000"><Model name="m"><defaults><Thelen2003Muscle name="default">'
        "<deactivation_time_constant>0.077</deactivation_time_constant><min_control>0.03</min_control>"
        "</Thelen2003Muscle></defaults><ForceSet><objects>"
        '<Thelen2003Muscle name="a"/><Thelen2003Muscle name="b"><min_control>0.5</min_control></Thelen2003Muscle>'
        "</objects></ForceSet></Model></OpenSimDocument>"
    )
    muscles = read_model(path).muscles
    assert (muscles["a"].deactivation_time_constant, muscles["a"].activation_time_constant) == (0.077, 0.015)
    assert (muscles["a"].min_control, muscles["b"].min_control) == (0.03, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<OpenSimDocument Version='40000'/>", "An OpenSim model was expected"),
        ("<OpenSimDocument Version='four'><Model/></OpenSimDocument>", "Version must be a whole number"),
        (
            "<OpenSimDocument><Model><ForceSet><objects>\n<Thelen2003Muscle name='a'><max_control>one</max_control>"
            "</Thelen2003Muscle></objects></ForceSet></Model></OpenSimDocument>",
            r":2: <max_control> of 'a' must be a number, but 'one' was found",
        ),
        (
            "<OpenSimDocument><Model><ForceSet><objects><Thelen2003Muscle name='a'/><Thelen2003Muscle name='a'/>"
            "</objects></ForceSet></Model></OpenSimDocument>",
            "The muscle 'a' appears twice",
        ),
        ("<Model>", "not well-formed"),
    ],
)
def test_bad_models(tmp_path, text, message):
    path = tmp_path / "bad.osim"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        read_model(path)


def test_missing_model(tmp_path):
    with pytest.raises(MissingFileError, match="there is no such model"):
        read_model(tmp_path / "none.osim")
