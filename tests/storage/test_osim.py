"""The model reader against OpenSim itself."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

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


OLD = """<OpenSimDocument Version="{version}"><Model name="m"><BodySet><objects>
<Body name="ground"><mass>0</mass></Body>
<Body name="b"><mass>1</mass><Joint><SliderJoint name="j"><parent_body>ground</parent_body><CoordinateSet><objects>
<Coordinate name="x"/></objects></CoordinateSet></SliderJoint></Joint></Body></objects></BodySet><ForceSet><objects>
<{kind} name="mus"><GeometryPath><PathPointSet><objects><PathPoint name="p"><body>ground</body></PathPoint>
<PathPoint name="q"><body>b</body><location>0.1 0 0</location></PathPoint></objects></PathPointSet></GeometryPath>
{inner}</{kind}></objects></ForceSet></Model></OpenSimDocument>"""

#: Loads models with OpenSim and prints whether the one muscle acts, and its pennation angle.
LOAD_OLD = """
import json, sys
import opensim
opensim.Logger.setLevelString("off")
for path in sys.argv[1:]:
    model = opensim.Model(path)
    muscle = model.getMuscles().get(0)
    print("@" + json.dumps([muscle.get_appliesForce(), muscle.getPennationAngleAtOptimalFiberLength()]))
"""


def test_words_of_old_versions_mean_what_they_mean_to_opensim(tmp_path):
    words = ["<pennation_angle>0.25</pennation_angle>", "<pennation_angle_at_optimal>0.25</pennation_angle_at_optimal>"]
    words += [f"<isDisabled>{word}</isDisabled>" for word in ("true", "1", "TRUE", "false", "yes")]
    words += ["<appliesForce>false</appliesForce>"]
    paths = []
    for version in (10901, 20300, 20301, 20302, 30508, 30509, 40600):
        for kind in ("Thelen2003Muscle", "Schutte1993Muscle") if version == 20300 else ("Thelen2003Muscle",):
            for inner in words:
                paths.append(tmp_path / f"{len(paths)}.osim")
                paths[-1].write_text(OLD.format(version=version, kind=kind, inner=inner))
    done = subprocess.run([sys.executable, "-c", LOAD_OLD, *paths], capture_output=True, text=True, check=True)
    theirs = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    assert len(theirs) == len(paths)
    for path, found in zip(paths, theirs, strict=True):
        muscle = read_model(path).muscles["mus"]
        assert [muscle.applies_force, muscle.pennation_angle_at_optimal] == found, path.read_text()


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        *(("min_control", value, "not negative") for value in ("-0.01", "inf", "nan")),
        *(("max_control", value, "a positive number") for value in ("0", "-1", "Inf", "1e999")),
        *(("minimum_activation", value, "from 0 to below 1") for value in ("1", "-0.1", "nan")),
        *(
            (key, value, "a positive number")
            for key in ("activation_time_constant", "deactivation_time_constant", "optimal_fiber_length")
            for value in ("0", "-0.01", "inf", "nan")
        ),
        *(("max_isometric_force", value, "not negative") for value in ("-5", "inf")),
        ("tendon_slack_length", "-0.1", "not negative"),
        ("pennation_angle_at_optimal", "1.6", "an angle"),
        ("max_contraction_velocity", "0", "a positive number"),
        ("FmaxTendonStrain", "-0.04", "a positive number"),
        *(("max_isometric_force", value, "a number") for value in ("1_000", "\u0663", "1,5", "1 2", "0x10", "1.#QNAN")),
    ],
)
def test_impossible_numbers_are_refused_with_the_muscle(tmp_path, key, value, allowed):
    path = tmp_path / "bad.osim"
    path.write_text(OLD.format(version=40600, kind="Thelen2003Muscle", inner=f"\n<{key}>{value}</{key}>"))
    with pytest.raises(ModelError, match=rf"bad.osim:8: <{key}> of 'mus' must be .*{allowed}.*, but '.*' was found"):
        read_model(path)


def test_a_model_is_read_again_when_it_has_changed_or_is_warned_of(tmp_path, caplog):
    path = tmp_path / "model.osim"

    def strength(text):
        path.write_text(OLD.format(version=40600, kind="Thelen2003Muscle", inner=text))
        return read_model(path).muscles["mus"].max_isometric_force

    assert [strength(f"<max_isometric_force>{value}</max_isometric_force>") for value in (800, 801, 800)] == [
        *(800.0, 801.0, 800.0)
    ]
    assert read_model(path) is read_model(path)
    for _ in range(2):
        caplog.clear()
        strength("<max_control>1.#INF</max_control>")
        assert "1 numbers are written '1.#INF'" in caplog.text


def test_all_impossible_numbers_are_named_at_once(tmp_path):
    path = tmp_path / "bad.osim"
    curve = "<TendonForceLengthCurve><strain_at_one_norm_force>0</strain_at_one_norm_force></TendonForceLengthCurve>"
    inner = f"<min_control>0.9</min_control><max_control>0.5</max_control>{curve}"
    text = OLD.format(version=40600, kind="Millard2012EquilibriumMuscle", inner=inner)
    path.write_text(text.replace("<mass>1<", "<mass>nan<"))
    with pytest.raises(ModelError) as error:
        read_model(path)
    for message in (
        "<max_control> of 'mus' must be above min_control (0.9), but '0.5'",
        "<strain_at_one_norm_force> of 'mus' must be a positive number",
        "<mass> of 'b' must be a finite number",
    ):
        assert message in str(error.value)


@pytest.mark.parametrize("name", ["a b", "a/b", "a\\b", "../evil", "a*", "a\u0085b", "\x1b[1m"])
@pytest.mark.parametrize(("what", "own"), [("muscle", "mus"), ("coordinate", "x")])
def test_names_that_opensim_refuses(tmp_path, what, own, name):
    path = tmp_path / "bad.osim"
    path.write_text(OLD.format(version=40600, kind="Thelen2003Muscle", inner="").replace(f'"{own}"', f'"{name}"'))
    with pytest.raises(ModelError, match=f"The name of a {what} must hold no blanks"):
        read_model(path)


def test_a_version_is_a_whole_number(tmp_path):
    path = tmp_path / "model.osim"
    for version in ("4_0", "\u0664\u0660\u0660\u0660\u0660", "1" * 5000, "40600.5", "-3"):
        path.write_text(OLD.format(version=version, kind="Thelen2003Muscle", inner=""))
        with pytest.raises(ModelError, match="Version must be a whole number") as error:
            read_model(path)
        assert len(str(error.value)) < 4100
    path.write_text(OLD.format(version=" 40600 ", kind="Thelen2003Muscle", inner=""))
    assert read_model(path).version == 40600


def test_missing_model(tmp_path):
    with pytest.raises(MissingFileError, match="there is no such model"):
        read_model(tmp_path / "none.osim")
