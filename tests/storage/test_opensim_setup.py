"""What setup files of OpenSim's tools read and write."""

from __future__ import annotations

import pytest

from opensim_nem2e.errors import MissingFileError, SetupError
from opensim_nem2e.musculoskeletal.opensim.processes import TOOLS
from opensim_nem2e.storage.opensim_setup import read_opensim_setup

CMC = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="30000">
  <defaults><CMCTool name="not this one"><model_file>wrong.osim</model_file></CMCTool></defaults>
  <CMCTool name=" walk ">
    <model_file> ../my model.osim </model_file>
    <force_set_files> a.xml  b.xml </force_set_files>
    <results_directory>Results/CMC</results_directory>
    <external_loads_file>loads.xml</external_loads_file>
    <desired_points_file />
    <desired_kinematics_file>{kinematics}</desired_kinematics_file>
    <constraints_file>Unassigned</constraints_file>
    <AnalysisSet name="Analyses"><objects>
      <MuscleAnalysis name="m"><on>{on}</on>
        <moment_arm_coordinate_list>{arms}</moment_arm_coordinate_list>
        <compute_moments>true</compute_moments></MuscleAnalysis>
      <Kinematics name="k"><on>false</on></Kinematics>
    </objects></AnalysisSet>
  </CMCTool>
</OpenSimDocument>
"""


def write(folder, text, name="setup.xml"):
    path = folder / name
    path.write_text(text)
    return path


def cmc(folder, kinematics="RRA\\q.sto", on="true", arms="knee_angle_r"):
    return write(folder, CMC.format(kinematics=kinematics, on=on, arms=arms))


def test_names_of_files(tmp_path):
    write(
        tmp_path,
        "<OpenSimDocument><ExternalLoads><datafile>grf data.mot</datafile></ExternalLoads></OpenSimDocument>",
        "loads.xml",
    )
    setup = read_opensim_setup(cmc(tmp_path), TOOLS)
    assert (setup.tool, setup.name) == ("CMCTool", "walk")
    assert setup.results_directory == tmp_path / "Results" / "CMC"
    assert {item.element: item.path for item in setup.inputs if item.element != "force_set_files"} == {
        "model_file": tmp_path.parent / "my model.osim",
        "external_loads_file": tmp_path / "loads.xml",
        "datafile": tmp_path / "grf data.mot",
        "desired_kinematics_file": tmp_path / "RRA" / "q.sto",
    }
    assert [item.path.name for item in setup.inputs if item.element == "force_set_files"] == ["a.xml", "b.xml"]
    data = next(item for item in setup.inputs if item.element == "datafile")
    assert data.source == tmp_path / "loads.xml"
    assert next(item.line for item in setup.inputs if item.element == "model_file") == 5
    assert setup.analyses == (("MuscleAnalysis", "m"),)
    assert setup.outputs == setup.traps == ()
    assert setup.writes(tmp_path / "Results" / "CMC" / "walk_states.sto")
    assert not setup.writes(tmp_path / "Results" / "CMC" / "walker.osim")
    assert not setup.writes(tmp_path / "walk_states.sto")


@pytest.mark.parametrize(("on", "arms", "count"), [("true", " ", 1), ("true", "all", 0), ("false", "", 0)])
def test_the_empty_list_that_ends_opensim(tmp_path, on, arms, count):
    traps = read_opensim_setup(cmc(tmp_path, on=on, arms=arms), TOOLS).traps
    assert len(traps) == count
    assert all("line 14" in trap and "std::bad_alloc" in trap for trap in traps)


def test_a_scale_setup_without_a_model(tmp_path):
    text = """<ScaleTool name="subject">
      <GenericModelMaker><model_file> Unassigned </model_file></GenericModelMaker>
      <ModelScaler><output_model_file>scaled.osim</output_model_file></ModelScaler>
      <MarkerPlacer><IKTaskSet file="tasks.xml"/><output_model_file>models/s.osim</output_model_file>
        <output_marker_file>Unassigned</output_marker_file></MarkerPlacer>
    </ScaleTool>"""
    setup = read_opensim_setup(write(tmp_path, text), TOOLS)
    assert setup.traps == ("line 2: no model is named: <model_file> must be the name of an .osim file.",)
    assert [item.path for item in setup.outputs] == [tmp_path / "scaled.osim", tmp_path / "models" / "s.osim"]
    assert [item.path for item in setup.inputs] == [tmp_path / "tasks.xml"]


def test_results_of_inverse_dynamics_lie_in_its_results_directory(tmp_path):
    text = """<OpenSimDocument Version="40600"><InverseDynamicsTool name="id"><model_file>m.osim</model_file>
      <results_directory>ID</results_directory><output_gen_force_file>moments.sto</output_gen_force_file>
    </InverseDynamicsTool></OpenSimDocument>"""
    assert read_opensim_setup(write(tmp_path, text), TOOLS).writes(tmp_path / "ID" / "moments.sto")


@pytest.mark.parametrize("element", ["bundle_file", "network_file"])
def test_a_name_of_a_bundle_is_no_file(tmp_path, element):
    text = f"<OpenSimDocument><STDRRefineTool><{element}>{{}}</{element}></STDRRefineTool></OpenSimDocument>"
    for value, files in (("gait", []), ("nets/mine", ["mine"]), ("mine.safetensors", ["mine.safetensors"])):
        setup = read_opensim_setup(write(tmp_path, text.format(value)), ["STDRRefineTool"])
        assert [item.path.name for item in setup.inputs] == files


def test_a_table_of_events_is_a_result_of_one_tool_and_read_by_another(tmp_path):
    text = "<OpenSimDocument><{0}><events_file>e.csv</events_file></{0}></OpenSimDocument>"
    tools = ("GaitEventsTool", "STDRRefineTool")
    written, read = (read_opensim_setup(write(tmp_path, text.format(tool)), tools) for tool in tools)
    assert written.writes(tmp_path / "e.csv")
    assert not written.inputs
    assert [item.path for item in read.inputs] == [tmp_path / "e.csv"]


def test_what_is_no_setup_file(tmp_path):
    with pytest.raises(SetupError, match=r"holds 'CMCTol'\. Did you mean 'CMCTool'\?"):
        read_opensim_setup(
            write(tmp_path, '<OpenSimDocument Version="40600"><CMCTol name="x"/></OpenSimDocument>'), TOOLS
        )
    with pytest.raises(MissingFileError):
        read_opensim_setup(tmp_path / "absent.xml", TOOLS)
