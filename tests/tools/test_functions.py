"""The tools as functions, and what they return."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import opensim_nem2e
from opensim_nem2e import TimeSeries, read_storage
from opensim_nem2e.errors import BundleError, LabelError, MissingFileError, NEM2EError, SetupError
from opensim_nem2e.methods.bundle import Bundle


@pytest.fixture(scope="module")
def example(repository):
    return repository / "examples" / "01_refine_walking"


@pytest.fixture(scope="module")
def result(example, tmp_path_factory):
    return opensim_nem2e.refine(
        example / "cmc" / "walking_states.sto",
        model=example / "walker.osim",
        external_loads=example / "external_loads.xml",
        muscles=["soleus", "tib"],
        out=tmp_path_factory.mktemp("refined"),
        name="walk",
    )


def test_tables_are_those_of_the_files(result):
    written = result.table("activation.sto")
    assert list(result.activations.columns) == list(written.columns)
    np.testing.assert_allclose(result.activations.to_numpy(), written.to_numpy(), atol=1e-8)
    # Joint torques decide on amplitudes, so all muscles that span the joints move.
    changed = (result.activations != result.opensim).any()
    assert set(changed[changed].index) > {"soleus_r", "soleus_l", "tibant_r", "tibant_l"}
    assert list(result.emg.columns) == ["soleus_r", "tibant_r", "soleus_l", "tibant_l"]
    assert list(result.summary.index) == list(result.emg.columns)
    # EMG is known within a limb's cycle, and nowhere else.
    cycle = result.cycles.set_index("side").loc["r"]
    known = result.emg["soleus_r"].dropna()
    assert known.index[0] >= cycle["start"]
    assert known.index[-1] <= cycle["end"]
    assert cycle["muscles"] == "soleus_r tibant_r"


def test_torques_are_there_where_they_are_known(result, example, tmp_path):
    assert "ankle_angle_r_consistent" in result.torques
    without = opensim_nem2e.refine(
        example / "cmc" / "walking_states.sto",
        model=example / "walker.osim",
        external_loads=example / "external_loads.xml",
        muscles=["soleus"],
        out=tmp_path,
        amplitude="simulation",
    )
    changed = (without.activations != without.opensim).any()
    assert set(changed[changed].index) == {"soleus_r", "soleus_l"}
    with pytest.raises(NEM2EError, match="check_torques=True"):
        _ = without.torques


def test_what_was_not_asked_for_is_said(result):
    with pytest.raises(MissingFileError, match=r"wrote no 'walk_summary\.sto'\. Did you mean 'summary\.csv'\?"):
        result.file("summary.sto")
    with pytest.raises(LabelError, match="Did you mean 'soleus_r'"):
        result.plot("soleus_rr")


def test_provenance_is_in_results_and_heads_of_files(result):
    bundle = Bundle.load("gait")
    assert result.provenance["bundle_sha256"] == bundle.sha256
    assert result.provenance["numpy"] == np.__version__
    made_by = f"opensim_nem2e {opensim_nem2e.__version__}, gait {bundle.sha256[:12]}"
    for ending in ("states.sto", "activation.sto", "controls.sto", "emg.sto"):
        head = result.file(ending).read_text().split("endheader")[0].splitlines()
        assert head[0] == f"walk_{ending.removesuffix('.sto')} ({made_by})"
        # Scripts expect the labels on line 7.
        assert len(head) == 5


def test_representations_say_something(result):
    assert "muscles: 4 of 24 refined; 20 others moved to meet the joint torques" in repr(result)
    assert "<th>bundle</th><td>gait (sha256" in result._repr_html_()
    assert "gait, sha256" in repr(Bundle.load("gait"))
    tool = opensim_nem2e.STDRRefineTool(states_file="a.sto", muscles=["soleus_r"])
    assert repr(tool) == "STDRRefineTool(states_file='a.sto', muscles=('soleus_r',))"
    assert "soleus_r" in tool._repr_html_()


@pytest.mark.parametrize("cycle", ["%", "s"])
def test_a_muscle_is_drawn(result, cycle):
    (axis,) = result.plot("soleus_r", cycle=cycle).axes
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert {"OpenSim", "refined"} <= set(lines)
    right = result.cycles.set_index("side").loc["r"]
    highest = result.activations["soleus_r"].loc[right["start"] : right["end"]].max()
    assert np.nanmax(lines["refined"].get_ydata()) == pytest.approx(highest, abs=0.02)
    assert ("%" in axis.get_xlabel()) == (cycle == "%")


def test_all_faults_of_arguments_at_once():
    with pytest.raises(SetupError) as caught:
        opensim_nem2e.refine("a.sto", cycle_source="whole", output_precision="many")
    assert len(caught.value.faults) == 2


def test_an_error_of_a_run_carries_versions(example, tmp_path):
    with pytest.raises(BundleError) as caught:
        opensim_nem2e.refine(
            example / "cmc/walking_states.sto", bundle="gat", cycle_source="whole_file", out=tmp_path / "none"
        )
    assert caught.value.provenance["opensim_nem2e"] == opensim_nem2e.__version__


def test_objects_of_opensim_stand_for_files(result, example, tmp_path):
    opensim = pytest.importorskip("opensim")
    opensim_nem2e.refine(
        opensim.TimeSeriesTable(str(example / "cmc/walking_states.sto")),
        model=opensim.Model(str(example / "walker.osim")),
        external_loads=example / "external_loads.xml",
        muscles=["soleus", "tib"],
        out=tmp_path,
        name="walk",
        write_report=False,
    )
    with pytest.raises(NEM2EError, match="a Model or a TimeSeriesTable can stand for a file, but Vec3 was found"):
        opensim_nem2e.refine(opensim.Vec3())
    refined = read_storage(tmp_path / "walk_activation.sto").to_frame()
    np.testing.assert_allclose(refined.to_numpy(), result.activations.to_numpy(), atol=1e-6)
    # What was in memory only is kept, so that the setup can be run again.
    setup = (tmp_path / "walk_effective_setup.xml").read_text()
    assert "<states_file>walk_input_states.sto</states_file>" in setup
    assert (tmp_path / "walk_input_model.osim").is_file()


def test_frames_become_time_series_and_back(tmp_path):
    frame = pd.DataFrame({"time": [0.0, 0.1], "a": [1, 2], "b": [0.5, 0.25]})
    series = TimeSeries.from_frame(frame, name="made")
    opensim_nem2e.write_storage(tmp_path / "made.sto", series)
    pd.testing.assert_frame_equal(read_storage(tmp_path / "made.sto").to_frame(), frame.set_index("time").astype(float))
    assert repr(series) == "<TimeSeries 'made': 2 rows, 0 to 0.1 s; 2 columns: a, b>"
    assert "<table" in series._repr_html_()
    with pytest.raises(NEM2EError, match="needs numbers"):
        TimeSeries.from_frame(pd.DataFrame({"time": [0.0], "a": ["x"]}))
    spans = pd.to_timedelta([0.0, 0.1], unit="s")
    assert TimeSeries.from_frame(pd.DataFrame({"a": [1, 2]}, index=spans)).time.tolist() == [0.0, 0.1]
    for wrong in (pd.to_datetime(["2020", "2021"]), [0.1, 0.0], [0.0, float("nan")]):
        with pytest.raises(NEM2EError, match=r"numbers in its index|must increase from row to row"):
            TimeSeries.from_frame(pd.DataFrame({"a": [1.0, 2.0]}, index=wrong))
    with pytest.raises(NEM2EError, match=r"numbers in its index .* complex128"):
        TimeSeries.from_frame(pd.DataFrame({"a": [1j, 2.0]}))


def test_set_log_level(example, tmp_path):
    code = (
        "import opensim_nem2e as n; n.set_log_level('warn'); "
        f"n.refine({str(example / 'cmc/walking_states.sto')!r}, model={str(example / 'walker.osim')!r}, "
        f"external_loads={str(example / 'external_loads.xml')!r}, out={str(tmp_path)!r}, write_report=False, "
        "muscles=['soleus'], amplitude='simulation')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    with pytest.raises(SetupError, match=r"must be one of 'off', .* but 'loud' was found"):
        opensim_nem2e.set_log_level("loud")


def test_messages_call_properties_what_the_function_calls_them(example, tmp_path, caplog):
    files = {"model": example / "walker.osim", "external_loads": example / "external_loads.xml", "out": tmp_path}
    states = example / "cmc" / "walking_states.sto"
    with pytest.raises(NEM2EError, match=r"give cycle_source whole_file, with whole_file_leading_limb and"):
        opensim_nem2e.refine(states, **files, initial_time=0.3, final_time=0.9)
    with pytest.raises(SetupError, match="use_emg goes with emg, but that is empty") as caught:
        opensim_nem2e.refine(states, **files, use_emg=True)
    assert "<" not in " ".join(caught.value.faults)
