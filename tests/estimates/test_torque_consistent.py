"""The redistribution of STDRRefineTool, with real OpenSim runs; OpenSim's own muscles judge what it writes."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import opensim
import pytest
from scipy.interpolate import make_interp_spline

from opensim_nem2e.data.simulation import MuscleDefaults
from opensim_nem2e.errors import CycleError, LabelError, SetupError, StorageError
from opensim_nem2e.estimates.measured_emg import MeasuredEMG, read_measured_emg
from opensim_nem2e.estimates.torque_consistent import RedistributionSettings, make_consistent
from opensim_nem2e.estimates.torques import joint_terms
from opensim_nem2e.musculoskeletal.activation import activation_from_excitation
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import TimeSeries, read_model, read_storage, write_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"

#: The example's complete cycles (s), and how far beside them its curves fade into OpenSim's.
CYCLES = {"r": (0.2482, 1.3655), "l": (0.8068, 1.9240)}
FADE = 0.05

LEG = ("hip_flexion", "knee_angle", "ankle_angle")


@pytest.fixture(scope="module")
def consistent(tmp_path_factory):
    """Refine the example and make it consistent; return the results' folder."""
    folder = tmp_path_factory.mktemp("consistent")
    # "Measured" EMG: the soleus's own activation, half a volt high and 40 ms late.
    source = read_storage(EXAMPLE / "cmc" / "walking_states.sto")
    emg = 0.5 * source.column("/forceset/soleus_r/activation")
    write_storage(folder / "emg.sto", TimeSeries(source.time + 0.04, ("soleus_r", "x"), np.column_stack([emg, emg])))
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.setName("walking")
    tool.setResultsDir(folder)
    tool.write_figures = True
    tool.amplitude = "emg"
    tool.redistribute = True
    tool.tendons = "rigid"
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    tool.emg_file = str(folder / "emg.sto")
    tool.emg_time_offset = 0.04
    assert tool.run()
    return folder


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def activations_of(series):
    return {label.split("/")[-2]: series.column(label) for label in series.labels if label.endswith("/activation")}


def test_torques_are_those_of_inverse_dynamics(consistent):
    rows = {
        row["coordinate"]: {k: float(v) for k, v in row.items() if k != "coordinate"}
        for row in rows_of(consistent / "walking_torques.csv")
    }
    assert set(rows) == {f"{name}_{side}" for name in LEG for side in "rl"}
    torques = read_storage(consistent / "walking_torques.sto")
    for name, row in rows.items():
        needed, made = torques.column(f"{name}_inverse_dynamics"), torques.column(f"{name}_consistent")
        start, end = CYCLES[name[-1]]
        own = (torques.time >= start) & (torques.time <= end)
        peak = np.abs(needed[own]).max()
        assert np.sqrt(np.mean((made - needed)[own] ** 2)) < max(2.0, 0.03 * peak)
        assert row["rmse_consistent"] == pytest.approx(np.sqrt(np.mean((made - needed)[own] ** 2)), rel=0.1, abs=5e-3)
        # No worse than OpenSim's own activations by far, where the refined ones are several times worse.
        assert row["rmse_consistent"] < 0.05 * row["rmse_opensim"] < row["rmse_estimate"]
        assert row["largest_reserve"] < 0.4
        assert row["rows_exceeded"] == 0
        assert row["rows"] == pytest.approx(own.sum(), abs=6)


def judged(states, times, coordinates):
    """Return torques of activations as OpenSim's own muscles make them (the example's, with rigid tendons), with its
    own paths and moment arms. The motion's speeds are those of a spline.
    """
    opensim.Logger.setLevelString("off")
    model = opensim.Model(str(EXAMPLE / "walker.osim"))
    model.initSystem()
    activations = activations_of(states)
    muscles = [model.getMuscles().get(name) for name in activations]
    for muscle in muscles:
        muscle.set_ignore_tendon_compliance(True)
    state = model.initSystem()
    motion = read_storage(EXAMPLE / "walking_coordinates.mot")  # in degrees
    curves = {}
    for name in motion.labels:
        turns = model.getCoordinateSet().get(name).getMotionType() == opensim.Coordinate.Rotational
        factor = np.pi / 180 if turns else 1.0
        curves[name] = make_interp_spline(motion.time, factor * motion.column(name), k=5)
    found = []
    for time, row in zip(times, interpolate(states.time, np.column_stack([*activations.values()]), times), strict=True):
        for name, curve in curves.items():
            model.getCoordinateSet().get(name).setValue(state, float(curve(time)), False)
            model.getCoordinateSet().get(name).setSpeedValue(state, float(curve.derivative()(time)))
        model.assemble(state)
        for muscle, activation in zip(muscles, row, strict=True):
            muscle.setActivation(state, float(activation))
        model.realizeDynamics(state)
        joints = [model.getCoordinateSet().get(name) for name in coordinates]
        found.append(
            [sum(m.getActuation(state) * m.computeMomentArm(state, joint) for m in muscles) for joint in joints]
        )
    return np.array(found)


def test_opensims_own_muscles_make_these_torques(consistent):
    """Between the rows at which they were solved, with OpenSim's own paths: what is left is the polynomials' error."""
    torques = read_storage(consistent / "walking_torques.sto")
    names = [f"{name}_r" for name in LEG]
    times = np.arange(0.3125, 1.31, 0.05)
    needed = interpolate(torques.time, torques.select([f"{name}_inverse_dynamics" for name in names]), times)
    errors = {}
    for kind in ("walking_consistent_states.sto", "walking_states.sto"):
        made = judged(read_storage(consistent / kind), times, names)
        errors[kind] = np.sqrt(np.mean((made - needed) ** 2, axis=0))
    peaks = np.abs(needed).max(axis=0)
    assert (errors["walking_consistent_states.sto"] < np.maximum(2.0, 0.03 * peaks)).all()
    assert (errors["walking_states.sto"] > 0.3 * peaks).all()


def test_files_open_with_opensim(consistent, open_with_opensim):
    paths = [consistent / f"walking_consistent_{kind}.sto" for kind in ("states", "activation", "controls")]
    for path, (rows, columns, storage_rows, storage_columns) in open_with_opensim(paths).items():
        assert (rows, columns) == (storage_rows, storage_columns) == read_storage(path).data.shape
    # As a user of OpenSim's API would: a tenth of the rows, since a trajectory takes long.
    opensim.Logger.setLevelString("off")
    model = opensim.Model(str(EXAMPLE / "walker.osim"))
    model.initSystem()
    storage = opensim.Storage(str(paths[0]))
    assert storage.getSize() > 1000
    storage.crop(1.0, 1.2)
    # Kept: a state is a part of its trajectory.
    trajectory = opensim.StatesTrajectory.createFromStatesStorage(model, storage, True, True)
    assert trajectory.getSize() == storage.getSize() > 100
    state = trajectory.get(trajectory.getSize() // 2)
    model.realizeVelocity(state)
    activation = opensim.Muscle.safeDownCast(model.getMuscles().get("soleus_r")).getActivation(state)
    states = read_storage(paths[0])
    expected = interpolate(states.time, states.column("/forceset/soleus_r/activation"), [state.getTime()])
    assert activation == pytest.approx(expected[0], abs=1e-6)


def test_only_the_legs_activations_change_and_only_in_their_cycles(consistent):
    source = read_storage(EXAMPLE / "cmc" / "walking_states.sto")
    states = read_storage(consistent / "walking_consistent_states.sto")
    model = read_model(EXAMPLE / "walker.osim")
    muscles = MuscleDefaults(0.01, 0.01, 0.04).muscles(model, model.muscles)
    assert states.labels == source.labels
    moved = []
    for label in source.labels:
        before, after = source.column(label), states.column(label)
        if not label.endswith("/activation"):
            np.testing.assert_array_equal(after, before)
            continue
        muscle = label.split("/")[-2]
        start, end = CYCLES[muscle[-1]]
        outside = (states.time < start - FADE) | (states.time > end + FADE)
        np.testing.assert_array_equal(after[outside], before[outside])
        inside = (states.time >= start) & (states.time <= end)
        assert after[inside].min() >= muscles[muscle].low
        assert after[inside].max() <= muscles[muscle].high
        moved.append(np.abs(after - before).max())
        # Nothing jumps where a curve fades (CMC's own curves move by up to 0.16 from row to row).
        assert np.abs(np.diff(after[~outside])).max() < 0.1
    assert len(moved) == 24
    assert min(moved) > 0.01


def test_controls_reproduce_the_activations(consistent):
    controls = read_storage(consistent / "walking_consistent_controls.sto")
    source = read_storage(EXAMPLE / "cmc" / "walking_controls.sto")
    states = read_storage(consistent / "walking_consistent_states.sto")
    assert controls.labels == source.labels
    model = read_model(EXAMPLE / "walker.osim")
    muscles = MuscleDefaults(0.01, 0.01, 0.04).muscles(model, model.muscles)
    for label in source.labels:
        if label not in model.muscles:
            np.testing.assert_array_equal(controls.column(label), source.column(label))
    names = [name for name in model.muscles if name.endswith("_r")]
    wanted = interpolate(states.time, states.select([f"/forceset/{name}/activation" for name in names]), controls.time)
    own = [muscles[name] for name in names]
    reached = activation_from_excitation(
        controls.time,
        controls.select(names),
        [muscle.tau_act for muscle in own],
        [muscle.tau_deact for muscle in own],
        wanted[0],
        [muscle.kind for muscle in own],
        min_activation=[muscle.min_activation for muscle in own],
    )
    start, end = CYCLES["r"]
    inside = (controls.time > start + 2 * FADE) & (controls.time < end - FADE)
    # Rows are solved such that muscles can follow: without that, the worst of them lags behind by 0.02.
    assert np.sqrt(np.mean((reached - wanted)[inside] ** 2, axis=0)).max() < 0.003


def test_torques_decide_on_the_amplitude_by_default(consistent, tmp_path):
    """Model, motion and loads are given: the states are the torque-consistent ones."""
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.setName("walking")
    tool.setResultsDir(tmp_path)
    tool.write_figures = tool.write_report = False
    tool.tendons = "rigid"
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    assert tool.run()
    for kind in ("states", "controls"):
        own, apart = (
            read_storage(path)
            for path in (tmp_path / f"walking_{kind}.sto", consistent / f"walking_consistent_{kind}.sto")
        )
        np.testing.assert_allclose(own.data, apart.data, atol=1e-7)
    assert not (tmp_path / "walking_consistent_states.sto").exists()
    gains = {row["muscle"]: row for row in rows_of(tmp_path / "walking_gains.csv")}
    assert len(gains) == 24
    shaped = [row for row in gains.values() if row["shape"]]
    assert len(shaped) == 20
    # The bundle takes the profile alone where it found the network no better.
    sources = {row["muscle"][:-2]: row["shape"] for row in shaped}
    assert {name for name, shape in sources.items() if shape == "profile"} == {"gasmed", "glmax1"}
    assert set(sources.values()) == {"profile", "network and profile"}
    states, emg = read_storage(tmp_path / "walking_states.sto"), read_storage(tmp_path / "walking_emg.sto")
    for row in shaped:
        assert 0.0 < float(row["gain"]) <= 1.0
        assert 0.0 < float(row["determined"]) < 1.0
        # The networks' shape, at this height, but for what from_shape says.
        start, end = CYCLES[row["muscle"][-1]]
        times = np.arange(start, end, 0.01)
        shape, activation = (
            interpolate(series.time, series.column(label), times)
            for series, label in ((emg, row["muscle"]), (states, f"/forceset/{row['muscle']}/activation"))
        )
        departure = activation - float(row["gain"]) * shape / shape.max()
        assert np.sqrt(np.mean(departure**2)) == pytest.approx(float(row["from_shape"]), abs=0.02)
    # The band is that of the estimate: activations leave it where torques ask for it, and the table says how often.
    bands = read_storage(tmp_path / "walking_activation_bands.sto")
    for row in shaped:
        start, end = CYCLES[row["muscle"][-1]]
        inside = (states.time >= start) & (states.time <= end)
        activation = states.column(f"/forceset/{row['muscle']}/activation")
        low, high = (bands.column(f"{row['muscle']}_{edge}") for edge in ("low", "high"))
        share = ((activation < low - 1e-6) | (activation > high + 1e-6))[inside].mean()
        assert float(row["outside_band"]) == pytest.approx(share, abs=0.01)
    log = (tmp_path / "walking.log").read_text()
    assert "joint torques tell its strength; torques determined" in log
    errors = [float(row["rmse_consistent_percent"]) for row in rows_of(tmp_path / "walking_torques.csv")]
    assert np.mean(errors) < 0.1


def test_report_tells_it(consistent):
    page = (consistent / "walking_report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    for kind in ("needed", "opensim", "refined", "consistent"):
        assert f'"{kind}":{{"shape":[' in page
    log = (consistent / "walking.log").read_text()
    assert re.search(
        r"refined muscles \(10, free gains\) and others \(2, weight [\d.]+\) make the torques of hip_flexion_r", log
    )
    assert "[warn] <amplitude> emg: the refined activations are EMG relative to its maximum." in log
    assert "RMSE consistent" in log
    errors = rows_of(consistent / "walking_emg_errors.csv")
    assert [row["muscle"] for row in errors] == ["soleus_r"]
    # By hand: the EMG is this activation at half its height, so divided by the largest it is only scaled.
    source = read_storage(EXAMPLE / "cmc" / "walking_states.sto")
    cut = Cycle("r", *CYCLES["r"]).window(source.time, source.column("/forceset/soleus_r/activation"))[:, 0]
    assert float(errors[0]["E_opensim"]) == pytest.approx(np.sqrt(np.mean((cut - cut / cut.max()) ** 2)), rel=0.02)
    assert float(errors[0]["r_opensim"]) == pytest.approx(1.0, abs=1e-3)
    assert f">{float(errors[0]['E_consistent']):.3f}<" in page
    curve = rows_of(consistent / "walking_tradeoff.csv")
    reserves = [float(row["reserve"]) for row in curve]
    assert reserves[0] == np.inf
    assert reserves == sorted(reserves, reverse=True)
    assert [row["reserve"] for row in curve if row["chosen"] == "True"] == ["3"]
    for column, sign in (("torque_error", -1.0), ("distance_refined", 1.0)):
        values = np.array([float(row[column]) for row in curve])
        assert (sign * np.diff(values) > -1e-6).all(), column
    assert float(curve[0]["distance_refined"]) == 0.0


@pytest.mark.slow
def test_a_real_trial(shared_data, tmp_path, open_with_opensim):
    """Gait10dof18musc: real walking, one complete right cycle; the left leg's is rolled."""
    folder = shared_data / "opensim_pipelines"
    walk = folder / "Gait10dof18musc"
    tool = STDRRefineTool()
    tool.setName("walk")
    tool.setModelFilename(walk / "subject01.osim")
    tool.setStatesFileName(folder / "reference_cmc" / "gait10dof18musc_walk_states.sto")
    tool.setExternalLoadsFileName(walk / "ExperimentalData" / "subject01_walk_grf.xml")
    tool.coordinates_file = str(walk / "OutputReference" / "RRA" / "subject_adjusted_Kinematics_q.sto")
    tool.roll_incomplete_cycles = True
    tool.redistribute = True
    tool.setResultsDir(tmp_path)
    assert tool.run()
    rows = rows_of(tmp_path / "walk_torques.csv")
    assert len(rows) == 6
    for row in rows:
        assert float(row["rmse_consistent"]) < max(2.0, 0.03 * float(row["peak"]))
        assert float(row["largest_reserve"]) < 2.0
        assert int(row["rows_exceeded"]) == 0
    paths = [tmp_path / f"walk_consistent_{kind}.sto" for kind in ("states", "controls")]
    assert all(found[0] > 1000 for found in open_with_opensim(paths).values())


def test_joints_that_are_too_weak_are_named(caplog):
    """The right ankle's muscles at a tenth of their strength: the reserve takes the rest, and the log says where."""
    tool = STDRRefineTool(EXAMPLE / "setup_refine.xml")
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    read = tool._estimate()
    estimate, writer, model = read.estimate, read.writer, read.model
    trial, refined = writer.trial, estimate.as_activations(writer.muscles)
    files = tool.resolve("coordinates_file"), tool.resolve("external_loads_file")
    terms = joint_terms(trial, model, *files, -1.0, (), "rigid")
    ankle = terms.coordinates.index("ankle_angle_r")
    weak = np.where(np.abs(terms.moment_arms[..., ankle]).max(axis=0) > 1e-3, 0.1, 1.0)
    settings = RedistributionSettings(0.1, 3.0, 2.0, 6.0, 0.05)
    with caplog.at_level("WARNING", logger="opensim_nem2e"):
        weaker = replace(terms, active=weak * terms.active)
        found = make_consistent(trial, writer.muscles, refined, weaker, settings)
    (said,) = [record.getMessage() for record in caplog.records if "No activations" in record.getMessage()]
    assert "within the bound of the reserve: ankle_angle_r in " in said
    names = found.check.terms.coordinates
    assert [name for name, bad in zip(names, found.exceeded.any(axis=0), strict=True) if bad] == ["ankle_angle_r"]
    # At push-off the muscles give all they can, and the reserve the rest.
    error = np.abs(found.check.consistent - found.check.terms.inverse_dynamics)[:, names.index("ankle_angle_r")]
    row = int(np.argmax(np.where(found.check.compared[:, names.index("ankle_angle_r")], error, 0.0)))
    soleus = interpolate(trial.time, found.new.muscles["soleus_r"].values, terms.time)
    assert error[row] > 50.0
    assert soleus[row] > 0.99


def test_emg_is_found_by_channel_and_read_with_its_offset(tmp_path):
    time = np.arange(0.0, 3.0, 0.01)
    burst = np.exp(-(((time - 1.5) / 0.1) ** 2))
    emg = TimeSeries(time, ("calf", "thigh"), np.column_stack([4.0 * burst, 0.0 * burst]))
    write_storage(tmp_path / "emg.sto", emg)
    table = tmp_path / "channels.csv"
    table.write_text(
        "dataset,emg_column,muscles,standard_name\nd,calf,gasmed_r;gaslat_r,gasmed\nd,thigh,recfem_r,\nd,other,x,bi\n"
    )
    found = read_measured_emg(tmp_path / "emg.sto", table, -0.2, ["gaslat_r", "gasmed_r", "recfem_r", "x"])
    assert dict(found.channels) == {"gaslat_r": "calf", "gasmed_r": "calf"}
    # The burst is 0.2 s later in the activations.
    activation = np.exp(-(((time - 1.7) / 0.1) ** 2))
    cycles = {"gaslat_r": [Cycle("r", 1.2, 2.15)]}
    (row,) = found.errors({"refined": (time, {"gaslat_r": activation})}, cycles, 0.0)
    assert (row.channel, row.cycles) == ("calf", 1)
    assert row.E_refined < 1e-3
    assert row.r_refined > 0.999
    assert np.isnan(row.E_opensim)
    (late,) = MeasuredEMG(emg, 0.0, found.channels).errors({"refined": (time, {"gaslat_r": activation})}, cycles, 0.0)
    assert late.E_refined > 0.2
    with pytest.raises(LabelError, match="must be listed in"):
        read_measured_emg(tmp_path / "emg.sto", table, 0.0, ["soleus_r"])
    with pytest.raises(LabelError, match="have the muscles' names"):
        read_measured_emg(tmp_path / "emg.sto", None, 0.0, ["soleus_r"])
    table.write_text("dataset,emg_column,muscles,standard_name\nd,calf,gasmed_r,gasmed\nd,thigh,gasmed_r,gasmed\n")
    with pytest.raises(LabelError, match="'gasmed_r' has 'calf' and 'thigh'"):
        read_measured_emg(tmp_path / "emg.sto", table, 0.0, ["gasmed_r"])


def test_raw_emg_is_no_measured_envelope(tmp_path, raw_emg):
    time = np.arange(0.0, 3.0, 0.001)
    raw = raw_emg(np.exp(-(((time - 1.5) / 0.1) ** 2)), 1000.0)
    write_storage(tmp_path / "emg.sto", TimeSeries(time, ("soleus_r",), raw[:, np.newaxis]))
    with pytest.raises(StorageError, match="This is raw EMG"):
        read_measured_emg(tmp_path / "emg.sto", None, 0.0, ["soleus_r"])


def test_channels_may_say_what_they_hold(tmp_path):
    time = np.arange(0.0, 2.0, 0.01)
    curves = np.column_stack([1.0 + np.sin(time + k) for k in range(3)])
    labels = ("soleus_r_activation", "gasmed_r", "gasmed_r EMG")
    write_storage(tmp_path / "emg.sto", TimeSeries(time, labels, curves))
    emg = read_measured_emg(tmp_path / "emg.sto", None, 0.0, ["soleus_r", "gasmed_r", "tibant_r"])
    assert emg.channels == {"soleus_r": "soleus_r_activation", "gasmed_r": "gasmed_r"}


def test_an_artefact_in_an_envelope_is_told_once(tmp_path, caplog):
    time = np.arange(0.0, 3.0, 0.005)
    bursts = np.column_stack([np.exp(-(((time - 1.5) / 0.1) ** 2))] * 3)
    bursts[220, 1] = 30.0
    muscles = ("soleus_r", "tibant_r", "gasmed_r")
    write_storage(tmp_path / "emg.sto", TimeSeries(time, muscles, bursts))
    emg = read_measured_emg(tmp_path / "emg.sto", None, 0.0, muscles)
    assert "at 1.100 s 'tibant_r' is 30 times as large as in 99.5 % of its rows: an artefact?" in caplog.text
    assert "soleus_r" not in caplog.text
    caplog.clear()
    flat = replace(emg, series=replace(emg.series, data=0.0 * bursts))
    assert not flat.errors({}, {"soleus_r": [Cycle("r", 1.0, 2.0)]}, 0.0, told=True)
    assert not caplog.text


def test_what_it_needs_is_said_at_once():
    tool = STDRRefineTool()
    tool.activations_file = "activations.sto"
    tool.cycle_source = "whole_file"
    tool.redistribute = True
    tool.emg_channels_file = "channels.csv"
    with pytest.raises(SetupError) as caught:
        tool.run()
    faults = "\n".join(caught.value.faults)
    assert "<redistribute> needs <model_file>" in faults
    assert "<redistribute> needs a motion" in faults
    assert re.search("<emg_channels_file> goes with <emg_file>", faults)


def test_emg_of_another_time_or_without_a_shape(tmp_path, caplog):
    time = np.arange(0.0, 3.0, 0.01)
    bump = np.exp(-(((time - 1.5) / 0.1) ** 2))
    values = np.column_stack([bump, 0.0 * bump + 0.3])
    cycles = {"soleus_r": [Cycle("r", 1.0, 2.0)], "tibant_r": [Cycle("r", 1.0, 2.0), Cycle("r", 2.5, 3.5)]}

    def errors(times, offset=0.0):
        write_storage(tmp_path / "emg.sto", TimeSeries(times, ("soleus_r", "tibant_r"), values))
        emg = read_measured_emg(tmp_path / "emg.sto", None, offset, cycles)
        return emg.errors({"opensim": (time, {"soleus_r": bump, "tibant_r": bump})}, cycles, np.inf)

    (row,) = errors(time)
    assert (row.muscle, row.cycles) == ("soleus_r", 1)
    assert "The EMG channel 'tibant_r' is 0.3 throughout: tibant_r is not compared with it." in caplog.text
    with pytest.raises(CycleError, match=r"the EMG covers 50\.0000 to 52\.9900 s, .* between 1\.0000 and 3\.5000 s"):
        errors(time + 50.0)
    assert errors(time + 50.0, offset=50.0)[0].shape_opensim == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(StorageError, match=r"10 rows a second or more, but its rows are 10 s apart .* unit than s"):
        errors(1000.0 * time)
