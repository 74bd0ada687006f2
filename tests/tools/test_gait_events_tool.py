"""GaitEventsTool: from every kind of recording to a table, and from the table to refined cycles."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from opensim_nem2e import GaitEventsTool, STDRRefineTool
from opensim_nem2e.errors import MissingFileError, SetupError, StorageError
from opensim_nem2e.signals.cycles import cycles_from_strikes
from opensim_nem2e.signals.events import GaitEvents, events_from_external_loads
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage
from opensim_nem2e.storage.events_table import read_gait_events

LOADS = (
    "ceinms_lower_limb/walk36_external_loads.xml",
    "ceinms_lower_limb/walk45_external_loads.xml",
    "ceinms_lower_limb/run81_external_loads.xml",
    "walk_sub1/walking_baseline1_external_loads.xml",
    "walk_3d_example/grf_walk.xml",
    "opensim_pipelines/runningModel/runningModel_GRF.xml",
    "opensim_pipelines/Gait2354_Simbody/subject01_walk1_grf.xml",
    "opensim_pipelines/Hamner/External_Loads.xml",
    "opensim_pipelines/Gait10dof18musc/ExperimentalData/subject01_walk_grf.xml",
)


def leave_empty(events, path, title):
    path.write_bytes(b"")


def run(folder, draw=False, **values) -> GaitEvents:
    """Run the tool; a figure takes longer than all the rest, and is only drawn when asked for."""
    tool = GaitEventsTool()
    tool.name = "trial"
    tool.results_directory = str(folder / "results")
    for name, value in values.items():
        tool.set(name, value if isinstance(value, list | int) else str(value))
    with nullcontext() if draw else mock.patch("opensim_nem2e.report.events_figure.draw_events", leave_empty):
        assert tool.run()
    assert {path.name for path in (folder / "results").iterdir()} >= {
        "trial.log",
        "trial_effective_setup.xml",
        "trial_events.csv",
        "trial_events.png",
    }
    return GaitEvents.read(folder / "results" / "trial_events.csv")


@pytest.mark.parametrize("loads", LOADS)
def test_every_recording_of_ground_reactions(shared_data, tmp_path, loads):
    table = run(tmp_path, draw=loads == LOADS[0], external_loads_file=shared_data / loads)
    events = events_from_external_loads(shared_data / loads)
    for name in ("right", "left", "right_toe_offs", "left_toe_offs"):
        assert getattr(table, name) == pytest.approx(getattr(events, name), abs=5.1e-5)
    # A foot leaves the ground between two of its strikes, once.
    for strikes, leaves in ((table.right, table.right_toe_offs), (table.left, table.left_toe_offs)):
        between = np.searchsorted(leaves, strikes)
        # Where steps have merged on a belt, one end of a contact is not known.
        assert np.sum(np.diff(between) != 1) <= (6 if "run81" in loads else 0)


@pytest.mark.parametrize(("trial", "fewest", "low", "high"), [("run81", 66, 0.7, 0.85), ("walk36", 44, 1.1, 1.2)])
def test_no_spurious_contact_becomes_a_stride(shared_data, tmp_path, trial, fewest, low, high):
    """The right belt of run81 feels 120 contacts in 76 strides, in walk36 steps merge: what is cut are true strides."""
    folder = shared_data / "ceinms_lower_limb"
    forces = run(tmp_path, external_loads_file=folder / f"{trial}_external_loads.xml")
    motion = run(
        tmp_path,
        model_file=folder / "gait2392_58kg_strength2.osim",
        coordinates_file=folder / f"{trial}_ik.mot",
    )
    for side, strikes, seen in (("r", forces.right, motion.right), ("l", forces.left, motion.left)):
        # The motion has no spurious contacts: every stride is there.
        assert np.diff(seen).min() > low
        assert np.diff(seen).max() < high
        cycles, _ = cycles_from_strikes(strikes, side, seen[0] - 0.1, seen[-1] + 0.1)
        assert len(cycles) >= fewest
        for cycle in cycles:
            # Both ends are heel strikes of this foot (the method's own error is 0.04 s), with none between them.
            for strike in (cycle.start, cycle.end):
                assert -0.05 < seen[np.argmin(np.abs(seen - strike))] - strike < 0.03
            assert np.sum((seen > cycle.start + 0.1) & (seen < cycle.end - 0.1)) == 0


def test_from_markers(shared_data, tmp_path):
    table = run(
        tmp_path,
        markers_file=shared_data / "opensim_pipelines/Gait2354_Simbody/subject01_walk1.trc",
        heel_markers=["R.Heel", "L.Heel"],
        toe_markers=["R.Toe.Tip", "L.Toe.Tip"],
        pelvis_markers=["R.ASIS", "L.ASIS", "V.Sacral"],
    )
    # The force plates say 0.618, 1.852 and 1.245 s.
    assert table.right == pytest.approx([0.60, 1.83], abs=0.03)
    assert table.left == pytest.approx([1.22], abs=0.03)
    assert {e.source for e in read_gait_events(tmp_path / "results" / "trial_events.csv")} == {"markers"}


def test_an_edited_table_is_kept(repository, tmp_path, caplog):
    loads = {"external_loads_file": repository / "examples" / "01_refine_walking" / "external_loads.xml"}
    run(tmp_path, **loads)
    table, before = (tmp_path / "results" / f"trial_events{ending}.csv" for ending in ("", "_before"))
    found = table.read_text()
    run(tmp_path, **loads)
    assert not before.exists()
    edited = "".join(found.splitlines(keepends=True)[:-1]) + "2.0000,heel_strike,r,manual,seen on video\n"
    table.write_text(edited)
    run(tmp_path, **loads)
    assert (table.read_text(), before.read_text()) == (found, edited)
    assert "held other events, edited by hand or of another trial" in caplog.text
    table.write_text(edited.replace("seen on video", "felt"))
    run(tmp_path, **loads)
    assert before.read_text() == edited
    assert "felt" in before.with_name("trial_events_before_2.csv").read_text()


def test_the_table_gives_the_refinement_the_same_cycles(shared_data, tmp_path, make_bundle):
    """Found in the forces, or read from the table that holds what was found: the same files."""
    folder = shared_data / "opensim_pipelines"
    run(tmp_path, external_loads_file=folder / "Gait10dof18musc/ExperimentalData/subject01_walk_grf.xml")
    bundle = make_bundle()
    results = {}
    for name in ("external_loads_file", "events_file"):
        tool = STDRRefineTool()
        tool.name = "refined"
        tool.setStatesFileName(str(folder / "reference_cmc/gait10dof18musc_walk_states.sto"))
        tool.setModelFilename(str(folder / "Gait10dof18musc/subject01.osim"))
        tool.bundle_file = bundle
        tool.external_loads_file = str(folder / "Gait10dof18musc/ExperimentalData/subject01_walk_grf.xml")
        # What comes of the cycles later does not count here.
        tool.amplitude, tool.write_report = "simulation", False
        if name == "events_file":
            # It comes before the loads, which are given, too.
            tool.events_file = str(tmp_path / "results" / "trial_events.csv")
        tool.setResultsDir(str(tmp_path / name))
        tool.run()
        results[name] = np.loadtxt(tmp_path / name / "refined_activation.sto", skiprows=7)
        log = (tmp_path / name / "refined.log").read_text()
        assert ("were read from the table" in log) == (name == "events_file")
    # The table has four decimals.
    assert results["events_file"] == pytest.approx(results["external_loads_file"], abs=2e-3)


def test_an_edited_table_is_what_counts(shared_data, tmp_path, make_bundle):
    folder = shared_data / "opensim_pipelines"
    table = tmp_path / "mine.csv"
    table.write_text("time,event,side\n0.7,heel_strike,r\n1.8,heel_strike,r\n")
    tool = STDRRefineTool()
    tool.name = "refined"
    tool.setStatesFileName(str(folder / "reference_cmc/gait10dof18musc_walk_states.sto"))
    tool.bundle_file = make_bundle()
    tool.events_file = str(table)
    tool.setResultsDir(str(tmp_path / "results"))
    tool.run()
    assert "Complete right gait cycles (s): 0.7000-1.8000." in (tmp_path / "results/refined.log").read_text()
    table.write_text("time,event,side\n0.7,heelstrike,r\n")
    with pytest.raises(StorageError, match=r"(?s)mine\.csv.*'event' must be one of"):
        tool.run()
    tool.events_file = ""
    tool.cycle_source = "events"
    with pytest.raises(SetupError, match="<cycle_source> events needs <events_file>"):
        tool.run()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "There is nothing to find events in"),
        ({"markers_file": "a.trc"}, "<heel_markers> must be given for <method> markers"),
        ({"model_file": "a.osim"}, "<coordinates_file> must be given for <method> model"),
        ({"method": "external_loads"}, "<external_loads_file> must be given"),
        ({"external_loads_file": "a.xml", "events_file": "events.txt"}, "<events_file> must end in '.csv'"),
    ],
)
def test_what_is_missing_is_named(tmp_path, values, message):
    with pytest.raises(SetupError, match=message):
        run(tmp_path, **values)


def write_walk(folder, offset):
    """Write ground reactions of 6 s of walking whose plates read ``offset`` while nobody is on them."""
    time = np.arange(0.0, 6.0, 0.002)
    columns = {}
    for number, first in enumerate((0.2, 0.75), start=1):
        phase = (time - first) % 1.1
        columns[f"force_{number}_vy"] = offset + np.where((phase < 0.66) & (time > first), 700.0, 0.0)
    series = TimeSeries(time, tuple(columns), np.column_stack(list(columns.values())))
    write_storage(folder / "grf.mot", series)
    forces = "".join(
        f'<ExternalForce name="{body}"><applied_to_body>{body}</applied_to_body><force_expressed_in_body>ground'
        f"</force_expressed_in_body><force_identifier>force_{number}_v</force_identifier></ExternalForce>"
        for number, body in ((1, "calcn_r"), (2, "foot_pros"))
    )
    (folder / "grf.xml").write_text(
        f'<OpenSimDocument Version="40000"><ExternalLoads name="l"><objects>{forces}</objects>'
        "<datafile>grf.mot</datafile></ExternalLoads></OpenSimDocument>"
    )
    return folder / "grf.xml"


def test_a_missed_strike_is_warned_of(tmp_path, caplog):
    loads = write_walk(tmp_path, 0.0)
    run(tmp_path, external_loads_file=loads)
    assert "was a strike missed" not in caplog.text
    # The right foot misses the plate once.
    series = read_storage(tmp_path / "grf.mot")
    gone = (series.time > 2.3) & (series.time < 3.2)
    write_storage(tmp_path / "grf.mot", replace(series, data=np.where(gone[:, None] * [True, False], 0.0, series.data)))
    run(tmp_path, external_loads_file=loads)
    (said,) = [message for message in caplog.messages if "was a strike missed" in message]
    assert re.match(
        r"The right heel strikes at 1\.\d+ and 3\.5\d+ s are 2\.20\d s apart, but strides usually last 1\.10", said
    )
    # It steps beside it and slides on.
    late = (series.time > 2.3) & (series.time < 2.7)
    write_storage(tmp_path / "grf.mot", replace(series, data=np.where(late[:, None] * [True, False], 0.0, series.data)))
    caplog.clear()
    run(tmp_path, external_loads_file=loads)
    wrong = [message for message in caplog.messages if "is one of them wrong" in message]
    spans = [re.search(r"at (\d\.\d)\d+ and (\d\.\d)\d+ s", message).groups() for message in wrong]
    assert spans == [("1.2", "2.6"), ("2.6", "3.5")]


def test_offset_release_and_prosthesis_are_properties(tmp_path, caplog):
    loads = write_walk(tmp_path, 12.0)
    run(tmp_path, external_loads_file=loads)
    assert "the right foot's plate reads 12 N while nobody is on it" in caplog.text
    assert "acts on 'foot_pros', whose side is not known" in caplog.text
    for settings in ({"force_offset_removal": "constant"}, {"release_threshold": 15}):
        events = run(tmp_path, external_loads_file=loads, foot_bodies=["foot_pros=l"], **settings)
        assert events.right == pytest.approx(np.arange(0.2, 6.0, 1.1), abs=3e-3)
        assert events.left == pytest.approx(np.arange(0.75, 6.0, 1.1), abs=3e-3)
    with pytest.raises(SetupError, match="<release_threshold> must be at most <contact_threshold>; found 30 and 20"):
        run(tmp_path, external_loads_file=loads, release_threshold=30)
    with pytest.raises(SetupError, match=r"<foot_bodies> must be bodies with their sides, .* found 'foot_pros'"):
        run(tmp_path, external_loads_file=loads, foot_bodies=["foot_pros"])


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError):
        run(tmp_path, external_loads_file=tmp_path / "none.xml")


def test_a_recording_without_a_cycle_is_warned_of(shared_data, tmp_path, caplog):
    folder = shared_data / "predictsim_subject1"
    run(tmp_path, model_file=folder / "subject1.osim", coordinates_file=folder / "gait_cycle01_ik.mot")
    assert "There is no gait cycle" in caplog.text
    caplog.clear()
    run(tmp_path, external_loads_file=shared_data / "walk_sub1" / "walking_baseline1_external_loads.xml")
    assert "There is no gait cycle" not in caplog.text
