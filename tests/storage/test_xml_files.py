"""Safe parsing, ControlSets and ExternalLoads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import MissingFileError, ModelError, NEM2EError, SetupError, StorageError
from opensim_nem2e.storage import read_controls_xml, read_external_loads, read_model, read_storage, safe_xml
from opensim_nem2e.storage.external_loads import require_forces


def write(folder, text, name="file.xml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"<a>", r"file.xml:1: .* not well-formed"),
        (b"<a>\n<b x='1/></a>", r"file.xml:2: .* not well-formed"),
        (b"<a>\n<b x></b></a>", r"file.xml:2: .* not well-formed"),
        (b"\x00\x01", "not well-formed"),
        (b"<!DOCTYPE a><a/>", "has a DOCTYPE"),
        (b"<!-- c -->\n<!DOCTYPE a [<!ENTITY b 'x'>]><a>&b;</a>", "has a DOCTYPE"),
        (b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "has a DOCTYPE"),
        (b"<a>" * 150 + b"</a>" * 150, "nested too deeply"),
        (b"<a>" * 5000 + b"</a>" * 5000, "not well-formed|nested too deeply"),
    ],
)
def test_unsafe_or_broken_xml(tmp_path, content, message):
    path = write(tmp_path, content)
    for error in (SetupError, ModelError):
        with pytest.raises(error, match=message) as caught:
            safe_xml.parse_xml(path, error=error)
        assert str(caught.value).startswith(str(path))


def test_entities_are_never_expanded(tmp_path):
    secret = write(tmp_path, "secret", "secret.txt")
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    for content in (
        f"<!DOCTYPE a [<!ENTITY x SYSTEM '{secret.as_uri()}'>]><a>&x;</a>",
        f"<!DOCTYPE a [<!ENTITY a0 'lol'>{bomb}]><a>&a11;</a>",
        f"<!DOCTYPE a [<!ENTITY a0 'lol'>{bomb}]><a b='&a11;'/>",
    ):
        with pytest.raises(SetupError) as caught:
            safe_xml.parse_xml(write(tmp_path, content))
        assert "secret" not in str(caught.value).replace(str(tmp_path), "")


def test_accepted_xml(tmp_path, monkeypatch):
    path = write(tmp_path, "<!-- one --><a>\n<!-- <!DOCTYPE --><b/></a>")
    root = safe_xml.parse_xml(path).getroot()
    assert root.find("b").sourceline == 2
    with pytest.raises(MissingFileError, match="there is no such setup file"):
        safe_xml.parse_xml(tmp_path / "none.xml", kind="setup file")
    with pytest.raises(MissingFileError, match="this is a directory"):
        safe_xml.parse_xml(tmp_path)
    monkeypatch.setattr(safe_xml, "MAX_BYTES", 10)
    with pytest.raises(MissingFileError, match="too large"):
        safe_xml.parse_xml(path)


def test_controls_are_opensims(tmp_path):
    opensim = pytest.importorskip("opensim")
    opensim.Logger.setLevelString("off")
    controls = opensim.ControlSet()
    rng = np.random.default_rng(3)
    for index, (steps, extrapolate, nodes) in enumerate(
        (steps, extrapolate, nodes) for steps in (False, True) for extrapolate in (False, True) for nodes in (1, 2, 9)
    ):
        control = opensim.ControlLinear()
        control.setName(f"m{index}.excitation")
        control.setUseSteps(steps)
        control.setExtrapolate(extrapolate)
        for time in np.sort(rng.uniform(0, 1, nodes)):
            control.setControlValue(float(time), float(rng.uniform()))
        controls.cloneAndAppend(control)
    path = tmp_path / "controls.xml"
    controls.printToXML(str(path))
    series = read_controls_xml(path)
    assert series.labels == tuple(f"m{index}.excitation" for index in range(12))
    theirs = opensim.ControlSet(str(path))
    for index in range(12):
        expected = [theirs.get(index).getControlValue(float(time)) for time in series.time]
        np.testing.assert_allclose(series.data[:, index], expected, rtol=0, atol=1e-9)
    # Between the rows, too: straight lines show the steps, but for the microsecond that a step takes.
    between = rng.uniform(series.time[0], series.time[-1], 500)
    after = between[:, None] - series.time
    between = between[np.where(after < 0, 1.0, after).min(axis=1) > 2e-6]
    for index in range(12):
        expected = [theirs.get(index).getControlValue(float(time)) for time in between]
        found = np.interp(between, series.time, series.data[:, index])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


CONTROLS = """<OpenSimDocument Version="40600"><ControlSet name="set"><defaults><ControlLinear name="default">
<use_steps>true</use_steps></ControlLinear></defaults><objects>
<ControlConstant name="c"><value>0.5</value></ControlConstant>
<ControlLinear name="a"><x_nodes><ControlLinearNode><t>0</t><value>1</value></ControlLinearNode>
<ControlLinearNode><t>1</t><value>2</value></ControlLinearNode></x_nodes></ControlLinear>
<ControlLinear name="b"><use_steps>false</use_steps><x_nodes><objects>
<ControlLinearNode><value>1</value></ControlLinearNode>
<ControlLinearNode><t>2</t><value>2</value></ControlLinearNode></objects></x_nodes></ControlLinear>
</objects></ControlSet></OpenSimDocument>"""


def test_controls_defaults_and_constants(tmp_path):
    series = read_controls_xml(write(tmp_path, CONTROLS))
    assert series.name == "set"
    # Steps have a row just after each of their nodes, so that straight lines between rows show them.
    np.testing.assert_array_equal(series.time, [0, 1e-6, 1, 1 + 1e-6, 2])
    np.testing.assert_array_equal(series.column("c"), [0.5] * 5)
    np.testing.assert_array_equal(series.column("a"), [1, 2, 2, 2, 2])
    np.testing.assert_allclose(series.column("b"), [1, 1, 1.5, 1.5, 2], atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ControlSet", "Other", "A <ControlSet> with <objects> was expected"),
        ('<ControlConstant name="c">', "<ControlConstant>", ":3: A control has no name"),
        ("ControlConstant", "ControlMystery", ":3: The control 'c' is a <ControlMystery>"),
        ("<t>1</t>", "<t>0</t>", ":5: The times of the control 'a' must increase"),
        ("<t>1</t>", "<t>one</t>", ":5: <t> must be a finite number, but 'one'"),
        ("<value>0.5</value>", "<value>inf</value>", "<value> must be a finite number, but 'inf'"),
        ("<use_steps>true", "<use_steps>yes", "<use_steps> must be true or false, but 'yes'"),
    ],
)
def test_bad_controls(tmp_path, old, new, message):
    with pytest.raises(StorageError, match=message):
        read_controls_xml(write(tmp_path, CONTROLS.replace(old, new)))


def test_controls_without_nodes(tmp_path):
    for inner, message in (
        ("<ControlLinear name='a'/>", "'a' has no nodes"),
        ("<ControlConstant name='a'/>", "holds no nodes"),
        ("", "holds no nodes"),
    ):
        text = f"<ControlSet><objects>{inner}</objects></ControlSet>"
        with pytest.raises(StorageError, match=message):
            read_controls_xml(write(tmp_path, text))


def test_real_external_loads(shared_data):
    seen = 0
    for path in sorted(shared_data.rglob("*.xml")):
        if b"<ExternalLoads" not in path.read_bytes():
            continue
        forces = read_external_loads(path)
        seen += 1
        assert {force.applied_to_body for force in forces} == {"calcn_r", "calcn_l"}
        for force in forces:
            series = read_storage(force.data_file)
            assert series.has(force.force_identifier + "y")
            assert series.has(force.point_identifier + "x")
    assert seen >= 8


LOADS = """<OpenSimDocument Version="40600"><ExternalLoads name="l"><objects>
<ExternalForce name="right"><applied_to_body>calcn_r</applied_to_body><force_identifier>r_v</force_identifier>
<point_identifier>r_p</point_identifier><data_source_name>Unassigned</data_source_name></ExternalForce>
<ExternalForce name="off"><appliesForce>false</appliesForce></ExternalForce>
<ExternalForce name="old"><isDisabled>true</isDisabled></ExternalForce>
</objects><datafile>sub\\grf.mot</datafile></ExternalLoads></OpenSimDocument>"""


def test_data_file_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "setup"
    folder.mkdir()
    path = write(folder, LOADS)
    elsewhere = tmp_path / "work"
    (elsewhere / "sub").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(MissingFileError, match="is neither beside this file nor in the working directory"):
        read_external_loads(path)
    write(elsewhere / "sub", "x", "grf.mot")
    (force,) = read_external_loads(path)
    assert (force.name, force.applied_to_body, force.force_identifier) == ("right", "calcn_r", "r_v")
    assert (force.point_identifier, force.torque_identifier) == ("r_p", "")
    assert force.data_file.samefile(elsewhere / "sub" / "grf.mot")
    (folder / "sub").mkdir()
    write(folder / "sub", "x", "grf.mot")
    assert read_external_loads(path)[0].data_file.samefile(folder / "sub" / "grf.mot")


def test_bad_external_loads(tmp_path):
    bad = LOADS.replace("calcn_r", " ").replace("r_v", "").replace("sub\\grf.mot", "")
    with pytest.raises(SetupError) as error:
        read_external_loads(write(tmp_path, bad))
    assert len(error.value.faults) == 3
    assert "file.xml:2: The force 'right' has no <applied_to_body>" in str(error.value)
    with pytest.raises(SetupError, match="An <ExternalLoads> was expected, but <CMCTool> was found"):
        read_external_loads(write(tmp_path, "<OpenSimDocument><CMCTool/></OpenSimDocument>"))
    with pytest.raises(SetupError, match="no enabled <ExternalForce>"):
        read_external_loads(write(tmp_path, "<ExternalLoads/>"))


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_xml_raises_only_our_own_errors(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    for text, read in ((CONTROLS, read_controls_xml), (LOADS, read_external_loads), (LOADS, read_model)):
        content = bytearray(text.encode())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content) - 1))
            if data.draw(st.booleans()):
                content[at] = data.draw(st.integers(0, 255))
            else:
                del content[at : at + data.draw(st.integers(1, 40))]
            if not content:
                break
        try:
            read(write(folder, bytes(content), "damaged.xml"))
        except NEM2EError:
            pass


def test_the_file_of_the_forces_is_not_the_external_loads(tmp_path):
    """The two are taken for each other easily."""
    (tmp_path / "walk_grf.mot").write_text("forces\nendheader\ntime\tground_force_vy\n0\t1\n")
    for read in (read_external_loads, require_forces):
        with pytest.raises(
            SetupError, match=r"walk_grf.mot: The external loads must be the .xml file of <ExternalLoads>"
        ):
            read(tmp_path / "walk_grf.mot")
