"""What a simulation says of its muscles: activations that can be, its own model, muscles that are switched off."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from opensim_nem2e.data.simulation import (
    MuscleDefaults,
    activations_trial,
    controls_trial,
    read_simulation,
    states_trial,
)
from opensim_nem2e.errors import LabelError, ModelError
from opensim_nem2e.musculoskeletal.activation import activation_from_excitation, find_excitation
from opensim_nem2e.musculoskeletal.hill import HillMuscles
from opensim_nem2e.storage import TimeSeries, read_model, write_storage
from opensim_nem2e.storage.emg_files import read_envelopes

MUSCLE = '<Thelen2003Muscle name="{0}">{1}</Thelen2003Muscle>'


@pytest.fixture
def model(tmp_path):
    def make(*muscles, **inner):
        forces = "".join(MUSCLE.format(name, inner.get(name, "")) for name in muscles)
        path = tmp_path / "model.osim"
        path.write_text(
            '<OpenSimDocument Version="40600"><Model name="m"><JointSet><objects><PinJoint name="knee"><coordinates>'
            '<Coordinate name="knee_angle"/></coordinates></PinJoint></objects></JointSet><ForceSet><objects>'
            f"{forces}</objects></ForceSet></Model></OpenSimDocument>"
        )
        return read_model(path)

    return make


def states(folder, *, name="x_states.sto", coordinate="knee_angle", **activations):
    labels = [f"/jointset/knee/{coordinate}/value", *(f"/forceset/{muscle}/activation" for muscle in activations)]
    columns = [np.zeros(11), *(np.broadcast_to(values, 11) for values in activations.values())]
    write_storage(folder / name, TimeSeries(np.arange(11) / 10, tuple(labels), np.column_stack(columns)))
    return folder / name


def controls(folder, **excitations):
    columns = np.column_stack([np.broadcast_to(values, 11) for values in excitations.values()])
    write_storage(folder / "x_controls.sto", TimeSeries(np.arange(11) / 10, tuple(excitations), columns))
    return folder / "x_controls.sto"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.linspace(0, 80, 11),
            "'.*soleus_r.*' is 8 at time 0.1 s. The largest is 80, so they seem to be in percent: div",
        ),
        (np.linspace(0.5, 1.5, 11), r"'.*soleus_r.*' is 1.1 at time 0.6 s. Is it the file of another quantity"),
        (np.linspace(0.5, -0.5, 11), "is -0.1 at time 0.6 s"),
        (np.linspace(0, 4000, 11), "is 400 at time 0.1 s. Is it the file of another quantity"),
        (np.array([0, np.nan, np.inf, *[0] * 8]), "is inf at time 0.2 s"),
    ],
)
def test_activations_that_cannot_be_are_not_taken(tmp_path, model, values, message):
    with pytest.raises(LabelError, match=f"Every activation must lie between 0 and 1, but .*{message}"):
        states_trial(states(tmp_path, tib_ant_r=0.5, soleus_r=values), None, None)
    path = controls(tmp_path, tib_ant_r=0.5, soleus_r=values)
    with pytest.raises(LabelError, match="Every activation must"):
        activations_trial(path, model("soleus_r", "tib_ant_r"))
    with pytest.raises(LabelError, match=f"Every excitation must lie between 0 and 1, but .*{message}"):
        controls_trial(path, None, MuscleDefaults(0.01, 0.01, 0.04))


def test_what_solvers_leave_beyond_the_bounds_is_taken(tmp_path, model):
    trial = states_trial(states(tmp_path, soleus_r=np.linspace(-1e-4, 1 + 1e-4, 11)), None, None)
    assert trial.activations["soleus_r"][-1] == pytest.approx(1.0001)
    strong = model("soleus_r", soleus_r="<max_control>2</max_control>")
    trial = controls_trial(controls(tmp_path, soleus_r=np.linspace(0, 2, 11)), strong, MuscleDefaults(0.01, 0.01, 0.04))
    assert len(trial.time) == 11
    # What is missing is refused where it is needed, not before.
    assert np.isnan(states_trial(states(tmp_path, soleus_r=np.nan), None, None).activations["soleus_r"]).all()


def test_a_model_that_is_not_the_simulations_is_said(tmp_path, model, caplog):
    with caplog.at_level(logging.WARNING, "opensim_nem2e"):
        states_trial(states(tmp_path, soleus_r=0.5, tib_ant_r=0.1), None, model("soleus_r", "tib_ant_r"))
    assert not caplog.records
    larger = model("soleus_r", "tib_ant_r", "vasti_r")
    with caplog.at_level(logging.WARNING, "opensim_nem2e"):
        states_trial(states(tmp_path, soleus_r=0.5, coordinate="hip_angle"), None, larger)
    assert "has 3 muscles, but 2 of them have no column here: tib_ant_r, vasti_r. Is it the model" in caplog.text
    assert "not those of the model 'm': knee_angle are missing in the file" in caplog.text
    assert "not those of the model 'm': hip_angle are not the model's" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "opensim_nem2e"):
        activations_trial(controls(tmp_path, soleus_r=0.5), larger)
    assert "2 of them have no column here" in caplog.text
    assert "coordinates" not in caplog.text


def test_torque_actuators_with_an_activation_that_moco_added(tmp_path, model, caplog):
    """They are not in the model's file; muscles that are not mean another model."""
    path = states(tmp_path, soleus_r=0.5, tib_ant_r=0.1, lumbar=-3.0)
    assert list(states_trial(path, None, model("soleus_r", "tib_ant_r")).activations) == ["soleus_r", "tib_ant_r"]
    assert "no muscles of the model 'm', and left as they are: lumbar." in caplog.text
    path = states(tmp_path, soleus_r=0.5, tib_ant_r=0.1, gasmed_r=0.1)
    for other in (model("soleus_r", "tib_ant_r"), model("soleus_r", "vasti_r")):
        with pytest.raises(ModelError, match="must be muscles of the model 'm'"):
            states_trial(path, None, other)


def test_a_muscle_that_is_switched_off_is_left_alone(tmp_path, model, caplog):
    found = model("soleus_r", "tib_ant_r", soleus_r="<appliesForce>false</appliesForce>")
    with caplog.at_level(logging.WARNING, "opensim_nem2e"):
        trial = states_trial(states(tmp_path, soleus_r=0.5, tib_ant_r=0.1), None, found)
    assert list(trial.activations) == ["tib_ant_r"]
    assert "The model switches off soleus_r (appliesForce): left as they are" in caplog.text
    path = controls(tmp_path, soleus_r=0.5, tib_ant_r=0.1)
    assert list(controls_trial(path, found, MuscleDefaults(0.01, 0.01, 0.04)).activations) == ["tib_ant_r"]
    assert HillMuscles.from_model(found).names == ("tib_ant_r",)
    np.testing.assert_array_equal(
        HillMuscles.from_model(found, ["soleus_r", "tib_ant_r"]).max_isometric_force, [0, 1000]
    )
    all_off = model("soleus_r", soleus_r="<appliesForce>0</appliesForce>")
    with pytest.raises(ModelError, match="every muscle of the simulation is switched off"):
        states_trial(states(tmp_path, soleus_r=0.5), None, all_off)


def bare(folder, file, head):
    rows = "".join(f"{row / 10}\t0.2\t0.2\n" for row in range(11))
    (folder / file).write_text(f"{head}version=3\nendheader\ntime\tsoleus_r\ttib_ant_r\n{rows}")
    return folder / file


@pytest.mark.parametrize(
    ("file", "head", "simulator"),
    [
        ("walk.sto", "Static Optimization\n", "so"),
        ("walk.sto", "x\nThis file contains static optimization results.\n", "so"),
        ("walk_StaticOptimization_activation.sto", "", "so"),
        ("walk.sto", "num_controls=2\nnum_states=2\n", "moco"),
        ("walk.sto", "activations\n", ""),
    ],
)
def test_what_simulated_is_read_from_headers_and_names(tmp_path, caplog, file, head, simulator):
    caplog.set_level("INFO", logger="opensim_nem2e")
    path = bare(tmp_path, file, head)
    assert read_simulation(None, None, path, None, MuscleDefaults(0.01, 0.01, 0.04)).simulator == simulator
    told = {"so": "static optimisation (by its header or name)", "moco": "Moco (by its header or name)"}
    assert f"simulated by {told.get(simulator, 'an unknown program (muscles have bare names')}" in caplog.text
    said = read_simulation(None, None, path, None, MuscleDefaults(0.01, 0.01, 0.04), "cmc")
    assert said.simulator == "cmc"


def test_states_and_controls_are_taken_for_those_of_cmc(tmp_path):
    defaults = MuscleDefaults(0.01, 0.01, 0.04)
    path = states(tmp_path, name="y_states.sto", soleus_r=0.5)
    assert read_simulation(path, None, None, None, defaults).simulator == "cmc"
    # Static optimisation has no states.
    assert read_simulation(None, None, path, None, defaults).simulator == "moco"
    assert read_simulation(None, controls(tmp_path, soleus_r=0.5), None, None, defaults).simulator == "cmc"


def test_what_was_refined_is_neither_a_simulation_nor_emg(tmp_path, caplog):
    rows = "inDegrees=no\nendheader\ntime\t/forceset/soleus_r/activation\n0\t0.1\n0.1\t0.2\n"
    file = tmp_path / "walk1_refined_states.sto"
    for made_by, told in (("opensim_nem2e 0.1.0", False), ("opensim_nem2e 0.1.0, gait 1bb0679893ae", True)):
        file.write_text(f"walk1_states ({made_by})\n{rows}")
        for read, said in (
            (lambda: read_simulation(file, None, None, None, MuscleDefaults(0.01, 0.01, 0.04)), "refined once more"),
            (lambda: read_envelopes(file), "estimates of a refinement, not measured EMG"),
        ):
            caplog.clear()
            read()
            assert (said in caplog.text) == told


def test_a_solution_that_moco_did_not_find_is_told(tmp_path, caplog):
    rows = "endheader\ntime\t/forceset/soleus_r/activation\n0\t0.1\n1\t0.2\n"
    for success in ("true", "false"):
        head = f"inDegrees=no\nnum_controls=1\nnum_states=1\nstatus=Maximum_Iterations_Exceeded\nsuccess={success}\n"
        (tmp_path / "solution.sto").write_text(head + rows)
        read_simulation(None, None, tmp_path / "solution.sto", None, MuscleDefaults(0.01, 0.01, 0.04))
        assert ("Moco did not succeed (Maximum Iterations Exceeded)" in caplog.text) == (success == "false")


#: Writes a solution as Moco does. A process of its own: what it makes of lists of names would spoil ezc3d's.
SOLUTION = """
import sys
import opensim as osim
time, names, labels = osim.Vector(3, 0.0), osim.StdVectorString(), osim.StdVectorString()
for row in range(3):
    time[row] = 0.1 * row
labels.append("/forceset/soleus_r/activation")
names.append("/forceset/soleus_r")
values, nothing, none = osim.Matrix(3, 1, 0.2), osim.StdVectorString([]), osim.Matrix(3, 0)
osim.MocoTrajectory(time, labels, names, nothing, nothing, values, values, none, osim.RowVector(0)).write(sys.argv[1])
"""


def test_what_moco_writes_is_recognised_wherever_it_is_given(tmp_path):
    file = tmp_path / "solution.sto"
    subprocess.run([sys.executable, "-c", SOLUTION, str(file)], check=True)
    defaults = MuscleDefaults(0.01, 0.01, 0.04)
    assert read_simulation(None, None, file, None, defaults).simulator == "moco"
    assert read_simulation(file, None, None, None, defaults).simulator == "moco"


#: Makes a model with one muscle, integrates it over a square wave, and prints the activation. A process of its own:
#: OpenSim 4.6 keeps these parameters of the first such muscle of a process for all later ones.
INTEGRATE = """
import json, sys
import opensim as osim
osim.Logger.setLevelString("off")
made = osim.Model()
made.setName("one")
body = osim.Body("body", 1e4, osim.Vec3(0), osim.Inertia(1))
made.addBody(body)
joint = osim.SliderJoint("slider", made.getGround(), body)
joint.updCoordinate().setName("x")
joint.updCoordinate().setDefaultValue(0.15)
joint.updCoordinate().setDefaultLocked(True)
made.addJoint(joint)
muscle = osim.DeGrooteFregly2016Muscle()
muscle.setName("soleus_r")
muscle.set_ignore_tendon_compliance(True)
muscle.set_activation_dynamics_smoothing(float(sys.argv[1]))
muscle.set_default_activation(0.05)
muscle.set_optimal_fiber_length(0.1)
muscle.set_tendon_slack_length(0.05)
muscle.addNewPathPoint("o", made.updGround(), osim.Vec3(0))
muscle.addNewPathPoint("i", body, osim.Vec3(0))
made.addForce(muscle)
made.finalizeConnections()
made.printToXML(sys.argv[2])
function = osim.PiecewiseLinearFunction()
points = json.loads(sys.argv[3])
for point in points:
    function.addPoint(*point)
controller = osim.PrescribedController()
controller.addActuator(made.getMuscles().get(0))
controller.prescribeControlForActuator("soleus_r", function)
made.addController(controller)
state = made.initSystem()
manager = osim.Manager(made)
manager.setIntegratorAccuracy(1e-8)
manager.setIntegratorMaximumStepSize(1e-3)
manager.initialize(state)
found = [0.05]
for time, _ in points[1:]:
    state = manager.integrate(time)
    made.realizeVelocity(state)
    found.append(made.getMuscles().get(0).getActivation(state))
print("@" + json.dumps(found))
"""


@pytest.mark.parametrize("smoothing", [0.1, 10.0])
def test_smoothing_of_activation_dynamics_is_the_models(tmp_path, smoothing):
    pytest.importorskip("opensim")
    time = np.arange(0, 0.6001, 0.005)
    excitation = np.where((time > 0.1) & (time < 0.35), 0.9, 0.05)
    points = json.dumps(list(zip(time.tolist(), excitation.tolist(), strict=True)))
    command = [sys.executable, "-c", INTEGRATE, str(smoothing), str(tmp_path / "one.osim"), points]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = next(json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@"))
    write_storage(tmp_path / "x_controls.sto", TimeSeries(time, ("soleus_r",), excitation[:, None]))
    model = read_model(tmp_path / "one.osim")
    defaults = MuscleDefaults(0.01, 0.01, 0.04)
    ours = controls_trial(tmp_path / "x_controls.sto", model, defaults).activations["soleus_r"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)
    # And back: the excitation that makes an activation makes it again.
    muscle = defaults.muscle(model.muscles["soleus_r"])
    options = {"kind": muscle.kind, "smoothing": muscle.smoothing}
    taus = muscle.tau_act, muscle.tau_deact
    wanted = 0.05 + 0.3 * np.sin(np.pi * time / time[-1]) ** 2
    excitation = find_excitation(time, wanted, *taus, **options)
    again = activation_from_excitation(time, excitation, *taus, wanted[0], **options)
    np.testing.assert_allclose(again, wanted, rtol=0, atol=3e-3)
