"""NMMTool on an elbow whose owner's excitations are known, from setup file to files that OpenSim opens."""

from __future__ import annotations

import csv
import importlib.util
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest

pytest.importorskip("opensim")

import opensim

from opensim_nem2e import NMMTool
from opensim_nem2e.cli.main import main
from opensim_nem2e.errors import CycleError, LabelError, SetupError, StorageError
from opensim_nem2e.estimates.static_optimization import read_motion
from opensim_nem2e.estimates.unmeasured import log_left_out, torque_fits
from opensim_nem2e.methods.nmm.recordings import EmgChannel, main_side, with_torques
from opensim_nem2e.methods.nmm.subject_estimate import METHODS, ChannelScore
from opensim_nem2e.signals.cycle_sources import GroundReactions, ListedStrikes, WholeFile
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage
from opensim_nem2e.storage.muscles import MuscleNames
from opensim_nem2e.storage.osim import read_model
from opensim_nem2e.storage.osim_edit import write_carried_mass
from opensim_nem2e.tools.nmm_tool import NMMOptions, _gait_cycles

LOADS = (0.0, 3.0)
MEASURED = ("TRIlong", "TRIlat", "BIClong", "BICshort", "BRD")


@pytest.fixture(scope="module")
def elbow(repository, tmp_path_factory):
    """Return the folder of an elbow that lifts nothing and 3 kg."""
    file = repository / "examples" / "06_deep_elbow" / "make_example.py"
    spec = importlib.util.spec_from_file_location("make_deep_elbow", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("elbow")
    module.make(folder, seed=1, loads=LOADS, seconds=4.0)
    return folder


def tool_of(folder, **values):
    names = [f"lift_{load:g}kg" for load in LOADS]
    return NMMTool(
        name="elbow",
        **{
            "model_file": str(folder / "elbow.osim"),
            "coordinates_files": [str(folder / f"{name}.mot") for name in names],
            "emg_files": [str(folder / f"{name}_emg.sto") for name in names],
            "channels": list(MEASURED),
            "external_masses": list(LOADS),
            "external_mass_bodies": ["forearm"],
            "external_mass_point": [0.0, -0.33, 0.0],
            **values,
        },
    )


@pytest.fixture(scope="module")
def results(elbow):
    """Run the tool from a setup file and the command line."""
    tool = tool_of(elbow, results_directory="results")
    assert tool.printToXML(elbow / "setup_nmm.xml")
    assert main(["run", str(elbow / "setup_nmm.xml")]) == 0
    return elbow / "results"


def rows_of(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_an_unmeasured_flexor_is_found(elbow, results):
    """The truth is neither the neighbours' EMG nor the simulation."""
    found, truth = [], []
    for load in LOADS:
        found.append(read_storage(results / f"elbow_lift_{load:g}kg_excitation.sto").column("BRA"))
        truth.append(read_storage(elbow / f"lift_{load:g}kg_truth.sto").column("BRA"))
    found, truth = np.concatenate(found), np.concatenate(truth)
    assert np.corrcoef(found, truth)[0, 1] > 0.93
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.25 * truth.max()


def test_every_channel_was_left_out(results):
    rows = rows_of(results / "elbow_left_out.csv")
    alone = [row for row in rows if row["left_out"] == "channel"]
    assert {row["channel"] for row in alone} == set(MEASURED)
    flexors = [row for row in alone if row["channel"].startswith("B")]
    assert np.mean([float(row["r"]) for row in flexors]) > 0.9
    # What is written makes the torques, and is hardly further from the channel that was left out.
    assert np.mean([float(row["r_written"]) for row in flexors]) > 0.88
    # Flexors and extensors are the two groups.
    assert len([row for row in rows if row["left_out"] == "group"]) == len(MEASURED)
    assert all(row["synergist_measured"] == "False" for row in rows if row["left_out"] == "group")
    bands = read_storage(results / "elbow_lift_3kg_excitation_bands.sto")
    assert set(bands.labels) == {f"{muscle}_{edge}" for muscle in ("BRA", "TRImed") for edge in ("low", "high")}
    assert (bands.column("BRA_high") >= bands.column("BRA_low")).all()


def test_torques_are_met_and_opensim_opens_all(results, open_with_opensim):
    (torque,) = rows_of(results / "elbow_torques.csv")
    assert float(torque["rmse_fit"]) < 0.1 * float(torque["peak"])
    assert float(torque["rmse_consistent"]) < 0.01 * float(torque["peak"])
    paths = [results / f"elbow_lift_3kg_{kind}.sto" for kind in ("excitation", "activation", "controls", "torques")]
    for path, counts in open_with_opensim(paths).items():
        assert counts[0] == counts[2] >= 100, path
    rows = rows_of(results / "elbow_parameters.csv")
    own = opensim.Model(str(results / "elbow_model.osim"))
    given = opensim.Model(str(results.parent / "elbow.osim"))
    muscles, generic = own.getMuscles(), given.getMuscles()
    for row in rows:
        assert 0.5 <= float(row["strength"]) <= 2.5
        factor = muscles.get(row["muscle"]).get_max_isometric_force()
        factor /= generic.get(row["muscle"]).get_max_isometric_force()
        assert factor == pytest.approx(float(row["strength"]), rel=1e-4)
    page = (results / "elbow_lift_3kg_report.html").read_text(encoding="utf-8")
    assert "Left-out channels" in page
    assert "synergy extrapolation" in page
    assert "estimated muscle excitations" in page
    assert "'elbow.log'" in page
    # Words of a refinement, and of a population that is not there.
    for foreign in ("refined toward", "refined by", "gait cycle", "The bundle", "3D view", "R2 population"):
        assert foreign not in page.split("<script")[0]


def test_order_of_channels_and_validation_change_nothing(elbow, results, tmp_path):
    """Networks start from weights that are drawn one after the other: of every channel, and of all folds alike."""
    turned = list(reversed(MEASURED))
    tool = tool_of(elbow, channels=turned, validate=False, write_report=False, results_directory=str(tmp_path))
    assert tool.run()
    name = f"elbow_lift_{LOADS[-1]:g}kg_excitation.sto"
    one, other = read_storage(results / name), read_storage(tmp_path / name)
    np.testing.assert_allclose(other.select(one.labels), one.data, atol=1e-3)


@pytest.mark.parametrize("method", ["copy", "synx", pytest.param("paper", marks=pytest.mark.slow)])
def test_other_methods_share_the_physics(elbow, tmp_path, method):
    tool = tool_of(elbow, method=method, validate=False, write_report=False, results_directory=str(tmp_path))
    assert tool.run()
    (torque,) = rows_of(tmp_path / "elbow_torques.csv")
    assert float(torque["rmse_fit"]) < 0.25 * float(torque["peak"])
    assert not (tmp_path / "elbow_left_out.csv").exists()


def test_the_setup_file_offers_all_methods():
    assert get_args(get_type_hints(NMMOptions)["method"]) == tuple(METHODS)


def test_faults_are_named_together(elbow):
    tool = tool_of(elbow, external_masses=[1.0], external_mass_bodies=[])
    with pytest.raises(SetupError) as caught:
        tool.check()
    assert len(caught.value.faults) == 2
    assert "one entry for each of the 2" in caught.value.faults[0]
    with pytest.raises(SetupError, match="needs a <population_bundle> and gait cycles"):
        tool_of(elbow, method="population", results_directory=str(elbow / "none")).run()
    # Before any motion is analysed: these are none.
    emg = [str(elbow / f"lift_{load:g}kg_emg.sto") for load in LOADS]
    with pytest.raises(LabelError, match="'BRX' does not"):
        tool_of(elbow, channels=["BRX"], coordinates_files=emg, results_directory=str(elbow / "none")).run()


def test_emg_with_a_clock_of_its_own(elbow, tmp_path, caplog):
    """An offset is taken as it is given, however large; what a load in g asks for is told."""
    files = []
    for load in LOADS:
        series = read_storage(elbow / f"lift_{load:g}kg_emg.sto")
        files.append(tmp_path / f"late_{load:g}.sto")
        write_storage(files[-1], replace(series, time=series.time + 1000.0))
    tool = tool_of(elbow, emg_files=[str(file) for file in files], emg_time_offset=999.93, external_masses=[0.0, 300.0])
    tool.results_directory, tool.validate, tool.write_report = str(tmp_path / "own"), False, False
    assert tool.run()
    log = (tmp_path / "own" / "elbow.log").read_text(encoding="utf-8")
    assert "lift_3kg: EMG(t +999.930 s) fits activation(t)" in log
    assert "The muscles cannot make the torques of elbow_flexion (RMSE" in log
    tool.emg_time_offset = 5.0
    with pytest.raises(StorageError, match=r"EMG must cover .* \(by its own clock 1000\.000 to 1004\.000 s\)"):
        tool.run()


def test_what_the_simulation_does_not_cover_is_not_looked_at(elbow, tmp_path, caplog):
    """CMC of one stride beside a minute of EMG: held at its ends it would be taken for the simulation of all."""
    caplog.set_level("INFO", logger="opensim_nem2e")
    model, motion = read_model(elbow / "elbow.osim"), read_storage(elbow / "lift_0kg.mot")
    recorded = [read_storage(elbow / f"lift_{load:g}kg_emg.sto") for load in LOADS]
    tool = tool_of(elbow, activations_files=[str(tmp_path / "activation.sto")] * 2)
    for start in (1.0, 100.0):
        time = start + np.arange(0.0, 1.0, 0.01)
        write_storage(
            tmp_path / "activation.sto",
            TimeSeries(time, tuple(model.muscles), np.full((time.size, len(model.muscles)), 0.1)),
        )
        if start < motion.time[-1]:
            trials, _ = tool._trials(model, recorded, [None, None])
            assert [(trial.motion.time[0], trial.motion.time[-1]) for trial in trials] == [
                (1.0, pytest.approx(1.99))
            ] * 2
            assert "lift_0kg: the simulation covers 1.0000 to 1.9900 s; nothing else is looked at." in caplog.text
            continue
        with pytest.raises(StorageError, match="must cover the time wanted"):
            tool._trials(model, recorded, [None, None])


def test_one_trial_in_percent(elbow, tmp_path, caplog):
    files = []
    for load in LOADS:
        series = read_storage(elbow / f"lift_{load:g}kg_emg.sto")
        files.append(tmp_path / f"{load:g}.sto")
        write_storage(files[-1], replace(series, data=series.data * (100.0 if load else 1.0)))
    tool_of(elbow, emg_files=[str(file) for file in files])._emg(read_model(elbow / "elbow.osim"))
    assert "0.sto: its EMG is" in caplog.text
    assert "times smaller than in the other trials" in caplog.text


def test_forward_simulation_of_the_controls_stays_on_the_motion(elbow, results, tmp_path):
    """Open loop, half a second from two starts, with the subject's own model and 3 kg in the hand."""
    motion = read_storage(elbow / "lift_3kg.mot")
    angle = np.radians(motion.column("elbow_flexion"))
    activations, controls = (
        read_storage(results / f"elbow_lift_3kg_{kind}.sto") for kind in ("activation", "controls")
    )
    write_carried_mass(results / "elbow_model.osim", tmp_path / "loaded.osim", {"forearm": 3.0}, (0.0, -0.33, 0.0))
    for start in (0.8, 2.4):
        model = opensim.Model(str(tmp_path / "loaded.osim"))
        controller = opensim.PrescribedController()
        names = [model.getMuscles().get(k).getName() for k in range(model.getMuscles().getSize())]
        for name in names:
            function = opensim.PiecewiseLinearFunction()
            for time, value in zip(controls.time, controls.column(name), strict=True):
                function.addPoint(float(time), float(value))
            controller.addActuator(model.updMuscles().get(name))
            controller.prescribeControlForActuator(name, function)
        model.addController(controller)
        state = model.initSystem()
        state.setTime(start)
        coordinate = model.getCoordinateSet().get("elbow_flexion")
        row = int(np.abs(motion.time - start).argmin())
        coordinate.setValue(state, float(angle[row]))
        speed = (angle[row + 1] - angle[row - 1]) / (motion.time[row + 1] - motion.time[row - 1])
        coordinate.setSpeedValue(state, float(speed))
        for name in names:
            value = float(np.interp(start, activations.time, activations.column(name)))
            model.setStateVariableValue(state, f"/forceset/{name}/activation", value)
        manager = opensim.Manager(model)
        manager.setIntegratorAccuracy(1e-5)
        manager.initialize(state)
        for time in (start + 0.25, start + 0.5):
            state = manager.integrate(time)
            wanted = np.interp(time, motion.time, angle)
            assert abs(np.degrees(coordinate.getValue(state) - wanted)) < 2.0


def test_torques_may_end_one_row_before_the_motion(elbow):
    """As those of programs that differentiate; what is missing is held."""
    motion = read_motion(read_model(elbow / "elbow.osim"), elbow / "lift_0kg.mot")
    time = motion.time[::7]
    while time[-1] > motion.time[-1] - 1e-9:
        time = time[:-1]
    values = np.linspace(1.0, 5.0, time.size)[:, None]
    found = with_torques(motion, TimeSeries(time, ("elbow_flexion_moment",), values))
    place = motion.coordinates.index("elbow_flexion")
    assert found.torques[-1, place] == 5.0
    np.testing.assert_allclose(found.torques[:, place], np.interp(motion.time, time, values[:, 0]))
    with pytest.raises(StorageError, match="must cover the motion"):
        with_torques(motion, TimeSeries(time[:-2], ("elbow_flexion_moment",), values[:-2]))


def test_emg_with_gaps_is_refused_or_its_windows_are_left_out(elbow, tmp_path):
    """A jump of time is found before any path is fitted; with enough EMG left the run goes on and says so."""
    emg = read_storage(elbow / "lift_0kg_emg.sto")
    one = {"coordinates_files": [str(elbow / "lift_0kg.mot")], "external_masses": [], "external_mass_bodies": []}
    quick = {"validate": False, "method": "copy", "write_report": False, "results_directory": str(tmp_path)}
    middle = (emg.time > 1.9) & (emg.time < 2.1)
    write_storage(tmp_path / "cut.sto", replace(emg, time=emg.time[~middle], data=emg.data[~middle]))
    with pytest.raises(StorageError, match=r"rows are missing from 1\.900 to 2\.100 s"):
        tool_of(elbow, **one, **quick, emg_files=[str(tmp_path / "cut.sto")]).run()
    short = emg.time > 1.0
    write_storage(tmp_path / "short.sto", replace(emg, time=emg.time[short], data=emg.data[short]))
    with pytest.raises(StorageError, match="must cover the motion"):
        tool_of(elbow, **one, **quick, emg_files=[str(tmp_path / "short.sto")]).run()
    holes = emg.data.copy()
    holes[30:40, emg.labels.index("BRD")] = np.nan
    write_storage(tmp_path / "holes.sto", replace(emg, data=holes))
    with pytest.raises(LabelError, match="'BRD' is needed, but holds nan"):
        tool_of(elbow, **one, **quick, emg_files=[str(tmp_path / "holes.sto")]).run()
    flat = emg.data.copy()
    flat[:, emg.labels.index("BRD")] = 0.3
    write_storage(tmp_path / "flat.sto", replace(emg, data=flat))
    with pytest.raises(LabelError, match="must not be silent or constant, but BRD is"):
        tool_of(elbow, **one, **quick, emg_files=[str(tmp_path / "flat.sto")]).run()
    late = (emg.time > 3.0) & (emg.time < 3.2)
    write_storage(tmp_path / "late.sto", replace(emg, time=emg.time[~late], data=emg.data[~late]))
    assert tool_of(elbow, **one, **quick, emg_files=[str(tmp_path / "late.sto")], final_time=4.0).run()
    # The second window keeps the simulation: it has no EMG.
    found = read_storage(tmp_path / "elbow_lift_0kg_excitation.sto")
    assert found.time[-1] > 3.5


def test_a_whole_file_is_a_cycle_of_the_limb_with_most_channels_or_of_the_one_given(elbow):
    channels = [EmgChannel("a", ("soleus_l",)), EmgChannel("b", ("vasmed_l", "vasint_l")), EmgChannel("c", ("tib_r",))]
    main = main_side(channels, MuscleNames.load())
    assert main == "l"
    for limb, leading in (("auto", "l"), ("left", "l"), ("right", "r")):
        tool = tool_of(elbow, cycles="whole_file", whole_file_leading_limb=limb)
        assert tool._cycle_source(0, main) == WholeFile(leading)


def test_advice_on_gait_cycles_names_this_tools_options(tmp_path):
    time = np.arange(0.0, 1.0, 0.01)
    advice = (
        r"give <cycles> whole_file, with <whole_file_leading_limb> and a motion that begins at that limb's heel strike"
    )
    with pytest.raises(CycleError, match=advice):
        _gait_cycles(time, ListedStrikes((0.4,), (0.7,)))
    forces = TimeSeries(time, ("f_vx", "f_vy", "f_vz", "f_px", "f_py", "f_pz"), np.ones((time.size, 6)))
    write_storage(tmp_path / "grf.sto", forces)
    force = (
        '<ExternalForce name="f"><applied_to_body>stump</applied_to_body>'
        "<force_expressed_in_body>ground</force_expressed_in_body><force_identifier>f_v</force_identifier>"
        "<point_identifier>f_p</point_identifier></ExternalForce>"
    )
    (tmp_path / "loads.xml").write_text(
        f'<OpenSimDocument Version="40000"><ExternalLoads name="e"><objects>{force}</objects>'
        "<datafile>grf.sto</datafile></ExternalLoads></OpenSimDocument>",
        encoding="utf-8",
    )
    with pytest.raises(CycleError, match=r"on stump; GaitEventsTool's <foot_bodies> can say"):
        _gait_cycles(time, GroundReactions(tmp_path / "loads.xml"))


def test_channels_of_a_table_that_fit_no_muscle_are_told(elbow, caplog):
    """A table for one trial needs no dataset and no standard names; a misspelt muscle is no silent loss."""
    tool, model = tool_of(elbow, channels=[]), read_model(elbow / "elbow.osim")
    table = elbow / "channels.csv"
    emg = read_storage(elbow / "lift_0kg_emg.sto")
    named = replace(emg, labels=tuple(f"{label}_activation" for label in emg.labels))
    assert {(channel.column, channel.muscles) for channel in tool._channels(named, model)} == {
        (f"{label}_activation", (label,)) for label in emg.labels
    }
    tool.emg_channels_file = str(table)
    table.write_text("emg_column,muscles\nBIClong,BIClong;BICshort\nBRD,BRRD\n")
    assert tool._channels(emg, model) == [EmgChannel("BIClong", ("BIClong", "BICshort"))]
    assert "EMG channel 'BRD' is not used: the model has no muscle 'BRRD'. Did you mean 'BRD'" in caplog.text
    table.write_text("emg_column,muscles,standard_name\nBRD,BRD,\n")
    with pytest.raises(LabelError, match="must have a standard_name in '"):
        tool._channels(emg, model)


def test_what_left_out_channels_say_is_told(results, caplog):
    """Beside everything that is cheaper, and with a warning where the torques cost what the EMG had told."""
    text = (results / "elbow.log").read_text(encoding="utf-8")
    rows = [row for row in rows_of(results / "elbow_left_out.csv") if row["left_out"] == "channel"]
    mean = {name: np.mean([float(row[name]) for row in rows]) for name in ("r", "r_simulation", "r_copy")}
    assert (
        f"left out one at a time are estimated with r = {mean['r']:.2f} (simulation: {mean['r_simulation']:.2f};"
        in text
    )
    assert f"nearest synergist's channel: {mean['r_copy']:.2f})." in text
    assert "far from EMG" not in text
    numbers = {field: float("nan") for field in get_type_hints(ChannelScore)} | {"r": 0.8, "r_simulation": 0.5}
    score = ChannelScore(**numbers | {"channel": "a", "left_out": "channel", "r_written": 0.6})
    log_left_out([score])
    assert "have r = 0.60 in what is written, 0.80 as they were fitted" in caplog.text


def test_torques_of_many_coordinates_are_one_line(caplog):
    """A trunk has 18; the table has all."""
    caplog.set_level("INFO", logger="opensim_nem2e")
    needed = 10.0 * np.ones((4, 18))
    off = np.linspace(0.1, 0.5, 18)
    fits = torque_fits(
        [f"q{k}" for k in range(18)], [SimpleNamespace(needed=needed, fit=needed + 2 * off, consistent=needed + off)]
    )
    assert len(fits) == 18
    assert caplog.messages == [
        "Torques of 18 coordinates: RMSE at most 1.00 Nm of the fit, 0.50 Nm of the activations written."
    ]
