"""KinematicsToActivationTool against OpenSim's StaticOptimization, and what it says of input that cannot be right."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("opensim")

from arm_maker import build_arm, write_inverse_dynamics
from opensim_so import static_optimization

from opensim_nem2e import KinematicsToActivationTool
from opensim_nem2e.cli.main import main
from opensim_nem2e.data.simulation import MuscleDefaults, read_simulation, told_simulator
from opensim_nem2e.errors import ModelError, SetupError, StorageError
from opensim_nem2e.estimates.static_optimization import read_motion
from opensim_nem2e.storage import TimeSeries, read_model, read_storage, write_storage

RESULTS = ("states", "activation", "forces", "torques", "reserves", "flags")


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    """Return the folder of an arm that is slowly lifted far to both sides."""
    folder = tmp_path_factory.mktemp("arm")
    build_arm(folder, strength=150.0)
    time = np.linspace(0.0, 2.0, 201)
    swing = 70.0 * np.sin(np.pi * time)[:, np.newaxis]
    write_storage(folder / "motion.mot", TimeSeries(time, ("elbow",), swing, name="motion", in_degrees=True))
    return folder


def run(folder, name="arm", model="arm.osim", motion="motion.mot", **values):
    tool = KinematicsToActivationTool(
        name=name, model_file=str(folder / model), coordinates_file=str(folder / motion), **values
    )
    tool.results_directory = str(folder / "results")
    assert tool.run()
    return {kind: read_storage(folder / "results" / f"{name}_{kind}.sto") for kind in RESULTS}


@pytest.mark.parametrize("kind", ["Millard2012EquilibriumMuscle", "Thelen2003Muscle", "DeGrooteFregly2016Muscle"])
def test_activations_are_those_of_static_optimization(arm, kind):
    text = (arm / "arm.osim").read_text().replace("Millard2012EquilibriumMuscle", kind)
    text = text.replace("<pennation_angle_at_optimal>0<", "<pennation_angle_at_optimal>0.4<")
    model = arm / f"{kind}.osim"
    model.write_text(text)
    theirs = static_optimization(arm / kind, model, arm / "motion.mot", ["elbow"], start=0.1, end=1.9, step=3)
    found = run(arm, kind, f"{kind}.osim", initial_time=0.1, final_time=1.9, write_report=False)
    ours = found["activation"]
    assert ours.labels == ("flexor", "extensor")
    rows = np.array([np.abs(ours.time - time).argmin() for time in theirs.time])
    difference = np.abs(ours.data[rows] - theirs.select(ours.labels))
    assert difference.max() < 5e-3
    assert ours.data.max() > 0.15
    reserve = found["reserves"].data[rows, 0]
    np.testing.assert_allclose(reserve, theirs.column("reserve_elbow"), atol=0.01 * np.abs(found["torques"].data).max())


def test_walking_is_shared_as_by_static_optimization(repository, tmp_path):
    """A whole body: two legs with 24 muscles, in a setup file and from the command line."""
    example = repository / "examples" / "01_refine_walking"
    model, motion, loads = (example / name for name in ("walker.osim", "walking_coordinates.mot", "external_loads.xml"))
    setup = tmp_path / "setup.xml"
    tool = KinematicsToActivationTool(
        name="walk",
        model_file=str(model),
        coordinates_file=str(motion),
        external_loads_file=str(loads),
        results_directory="results",
        initial_time=0.9,
        final_time=1.1,
    )
    assert tool.printToXML(setup)
    assert main(["run", str(setup)]) == 0
    results = tmp_path / "results"
    ours = read_storage(results / "walk_activation.sto")
    names = read_storage(motion).labels
    theirs = static_optimization(
        tmp_path / "so",
        model,
        motion,
        names,
        loads=loads,
        strong=[name for name in names if name.startswith("pelvis")],
        start=0.9,
        end=1.1,
        step=4,
    )
    rows = np.array([np.abs(ours.time - time).argmin() for time in theirs.time])
    assert np.abs(ours.time[rows] - theirs.time).max() < 1e-6
    difference = ours.data[rows] - theirs.select(ours.labels)
    assert np.sqrt(np.mean(difference**2)) < 5e-3
    assert np.ptp(ours.data, axis=0).max() > 0.3
    page = (results / "walk_report.html").read_text(encoding="utf-8")
    assert "frames are flagged" in page
    assert page.count("<img") == 2
    torques = read_storage(results / "walk_torques.sto")
    reserves = read_storage(results / "walk_reserves.sto")
    for label in reserves.labels:
        name = label.removeprefix("reserve_")
        owed = torques.column(f"{name}_inverse_dynamics") - torques.column(f"{name}_muscles")
        np.testing.assert_allclose(reserves.column(label), owed, atol=1e-6)


def test_states_open_in_opensim(arm, open_with_opensim):
    found = run(arm, "opened", write_report=False)
    paths = [arm / "results" / f"opened_{kind}.sto" for kind in RESULTS]
    for path, counts in open_with_opensim(paths).items():
        assert counts[0] == counts[2] == found["states"].n_rows, path
    assert found["states"].labels == (
        "/jointset/elbow_joint/elbow/value",
        "/jointset/elbow_joint/elbow/speed",
        "/forceset/flexor/activation",
        "/forceset/flexor/fiber_length",
        "/forceset/extensor/activation",
        "/forceset/extensor/fiber_length",
    )
    swing = found["states"].column("/jointset/elbow_joint/elbow/value")
    assert np.degrees(np.ptp(swing)) == pytest.approx(140.0, abs=3.0)
    # A refinement knows what computed them, and that fibers in these states are those of rigid tendons.
    assert {told_simulator(found[kind]) for kind in ("states", "activation")} == {"so"}
    model = read_model(arm / "arm.osim")
    states = arm / "results" / "opened_states.sto"
    assert not read_simulation(states, None, None, model, MuscleDefaults(0.01, 0.01, 0.04)).has_fibers


def test_without_a_name_results_are_called_after_the_motion(arm, tmp_path):
    flags = ["--model", str(arm / "arm.osim"), "--out", str(tmp_path), "--no-write-report"]
    assert main(["kinematics-to-activation", str(arm / "motion.mot"), *flags]) == 0
    assert (tmp_path / "kinematics_motion_activation.sto").is_file()


def test_moments_may_come_from_a_file(arm):
    setup = write_inverse_dynamics(arm)
    setup.write_text(setup.read_text().replace("<time_range>0 1<", "<time_range>0 2<"))
    script = "import sys, opensim; opensim.InverseDynamicsTool(sys.argv[1]).run()"
    subprocess.run([sys.executable, "-c", script, str(setup)], cwd=arm, check=True, capture_output=True)
    own = run(arm, "own", lowpass_cutoff_frequency_for_coordinates=-1.0, write_report=False)
    given = run(
        arm,
        "given",
        lowpass_cutoff_frequency_for_coordinates=-1.0,
        inverse_dynamics_file=str(arm / "id" / "moments.sto"),
        write_report=False,
    )
    np.testing.assert_allclose(given["activation"].data, own["activation"].data, atol=1e-3)
    with pytest.raises(StorageError, match="must have a column 'elbow_moment'"):
        run(arm, inverse_dynamics_file=str(arm / "results" / "own_forces.sto"), write_report=False)


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (0.014, "are the moments in Nm, and does the model have this subject's mass"),
        (1000.0, "are the moments in Nm, and does the model have this subject's mass"),
        (-1.0, "are they external moments, or of a model with other signs"),
        ("knee", "id.sto: its moments of knee_angle_r, knee_angle_l are opposite to those that the motion needs"),
        (1.0, ""),
    ],
)
def test_moments_of_another_unit_or_sign(repository, tmp_path, factor, told):
    """Nm/kg, Nmm, external moments, knees that bend the other way: what a foot's swing needs tells."""
    example = repository / "examples" / "01_refine_walking"
    motion = read_motion(
        read_model(example / "walker.osim"),
        example / "walking_coordinates.mot",
        example / "external_loads.xml",
        start=0.2,
        end=1.9,
    )
    labels = tuple(f"{name}_moment" for name in motion.coordinates)
    if factor == "knee":
        factor = np.where([label.startswith("knee") for label in labels], -1.0, 1.0)
    write_storage(tmp_path / "id.sto", TimeSeries(motion.time, labels, factor * motion.torques))
    tool = KinematicsToActivationTool(
        name="walk",
        model_file=str(example / "walker.osim"),
        coordinates_file=str(example / "walking_coordinates.mot"),
        inverse_dynamics_file=str(tmp_path / "id.sto"),
        results_directory=str(tmp_path),
        initial_time=0.3,
        final_time=1.8,
        write_report=False,
    )
    assert tool.run()
    log = (tmp_path / "walk.log").read_text(encoding="utf-8")
    assert told in log
    assert bool(told) == ("id.sto: " in log)


def test_passive_force_is_an_option(arm):
    without = run(arm, "active", write_report=False, muscle_force="rigid_tendon")
    passive = run(arm, "passive", write_report=False, muscle_force="rigid_tendon", use_passive_force=True)
    for found in (without, passive):
        reserve = found["reserves"].column("reserve_elbow")
        needed = found["torques"].column("elbow_inverse_dynamics")
        assert np.abs(reserve).max() < 0.1 * np.abs(needed).max()
    assert np.abs(passive["activation"].data - without["activation"].data).max() > 0.01


def test_what_cannot_be_right_is_told(arm, caplog):
    motion = read_storage(arm / "motion.mot")
    keep = (motion.time < 0.4) | (motion.time > 0.5)
    write_storage(arm / "gap.mot", replace(motion, time=motion.time[keep], data=motion.data[keep]))
    with pytest.raises(StorageError, match=r"no gap longer than 0\.05 s, but between 0\.390 and 0\.510 s"):
        run(arm, motion="gap.mot")
    # A part without the gap is fine.
    run(arm, motion="gap.mot", initial_time=0.6, write_report=False)
    data = motion.data.copy()
    data[30] = np.nan
    write_storage(arm / "missing.mot", replace(motion, data=data))
    with pytest.raises(StorageError, match=r"that of 'elbow' at 0\.300 s is missing"):
        run(arm, motion="missing.mot")
    write_storage(arm / "radians.mot", replace(motion, data=np.radians(motion.data)))
    with caplog.at_level(logging.WARNING, logger="opensim_nem2e"):
        run(arm, motion="radians.mot", write_report=False)
    assert "look like radians" in caplog.text
    with pytest.raises(ModelError, match="'elbow'"):
        run(arm, torque_coordinates=["elbo"])
    write_storage(arm / "other.mot", replace(motion, labels=("knee",)))
    with pytest.raises(StorageError, match="must have columns for coordinates of the model 'arm'"):
        run(arm, motion="other.mot")


def test_setup_faults_are_told_at_once(arm):
    tool = KinematicsToActivationTool(initial_time=2.0, final_time=1.0)
    tool.external_loads_file = "loads.xml"
    tool.inverse_dynamics_file = "moments.sto"
    with pytest.raises(SetupError) as error:
        tool.run()
    for text in ("<initial_time> must be less", "must not both be given", "<model_file>", "<coordinates_file>"):
        assert text in str(error.value)
    run(arm, "taken", write_report=False)
    with pytest.raises(SetupError, match="would replace an input file"):
        run(arm, "taken", motion="results/taken_states.sto")


def test_frames_out_of_range_and_weak_muscles_are_flagged(arm, caplog):
    text = (arm / "arm.osim").read_text()
    weak = text.replace("<max_isometric_force>150<", "<max_isometric_force>5<")
    assert weak != text
    narrow = weak.replace('<Coordinate name="elbow">', '<Coordinate name="elbow"><range>-0.5 0.5</range>')
    (arm / "weak.osim").write_text(narrow)
    found = run(arm, "weak", "weak.osim", write_report=False, reserve_optimal_force=0.01)
    flags, angle = found["flags"], found["states"].column("/jointset/elbow_joint/elbow/value")
    np.testing.assert_array_equal(flags.column("elbow_out_of_range") > 0.5, np.abs(angle) > 0.501)
    assert (flags.column("elbow_reserve") > 0.5).any()
    either = (flags.column("elbow_out_of_range") > 0.5) | (flags.column("elbow_reserve") > 0.5)
    np.testing.assert_array_equal(flags.column("any") > 0.5, either)
    assert found["activation"].data.max() == 1.0
    assert (
        "Reserves make most of the moments of elbow: if muscles that actuate them are not in the model" in caplog.text
    )
    caplog.clear()
    run(arm, "strong", write_report=False)
    assert "Reserves make most" not in caplog.text
