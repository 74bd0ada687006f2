"""A network that is trained on inverse dynamics alone, and the activations that it leads to."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("opensim")

from opensim_nem2e import KinematicsToActivationTool, KinematicsTrainTool
from opensim_nem2e.cli.main import main
from opensim_nem2e.errors import BundleError, ModelError, SetupError, StorageError, TrainingError
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.mjca_bigru.method import NAMES
from opensim_nem2e.methods.motion_bundle import MotionBundle
from opensim_nem2e.storage import TimeSeries, read_storage, write_storage

pytestmark = pytest.mark.usefixtures("forked_workers")

COLUMNS = (
    *("dataset", "subject", "trial", "stride", "motion", "side", "model_file", "coordinates_file"),
    *("external_loads_file", "inverse_dynamics_file", "t_start", "t_end"),
)


def manifest(folder, example, loads="external_loads.xml", moments=""):
    """Name both legs of the example's walk, without EMG and without activations."""
    files = [str(example / name) for name in ("walker.osim", "walking_coordinates.mot")]
    files += [str(example / loads) if loads else "", moments]
    path = folder / "trials.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for side in "rl":
            for stride, start in enumerate((0.3, 0.85, 1.4)):
                writer.writerow(
                    ["example", "walker", "walk", stride + 1, "walk", side, *files, start, round(start + 0.55, 2)]
                )
    return path


def trained(folder, trials, name="moments", validate=False, **network):
    tool = KinematicsTrainTool(name=name, trials_file=str(trials), results_directory=str(folder), validate=validate)
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    tool.jobs, tool.progress_bar = 1, "never"
    tool.set_group("MJCABiGRU", **network)
    assert tool.run()
    return folder / f"{name}.safetensors"


@pytest.fixture(scope="module")
def example(repository):
    return repository / "examples" / "01_refine_walking"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, example):
    folder = tmp_path_factory.mktemp("moments")
    return trained(folder, manifest(folder, example), architecture="mlp", epochs=40, dropout=0.0)


def activations(folder, example, name, **values):
    tool = KinematicsToActivationTool(
        name=name,
        model_file=str(example / "walker.osim"),
        results_directory=str(folder),
        lowpass_cutoff_frequency_for_coordinates=-1.0,
        **{
            "coordinates_file": str(example / "walking_coordinates.mot"),
            "write_report": False,
            "initial_time": 0.3,
            "final_time": 1.95,
            **values,
        },
    )
    assert tool.run()
    return {kind: read_storage(folder / f"{name}_{kind}.sto") for kind in ("activation", "torques", "flags")}


def test_the_motion_alone_gives_nearly_the_exact_activations(bundle, example, tmp_path, caplog):
    exact = activations(tmp_path, example, "exact", external_loads_file=str(example / "external_loads.xml"))
    found = activations(tmp_path, example, "learned", mode="kinematics", bundle_file=str(bundle))
    assert found["torques"].labels[0].endswith("_network")
    rows = exact["activation"].time > 0.55  # the network looks back
    labels = exact["activation"].labels
    true, ours = exact["activation"].data[rows], found["activation"].select(labels)[rows]
    r2 = 1.0 - ((true - ours) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)
    active = true.max(0) > 0.1
    assert np.median(r2[active]) > 0.9
    # The recording goes on before the time wanted, and the network looks at it.
    assert not found["flags"].column("near_an_end").any()
    caplog.set_level("INFO", logger="opensim_nem2e")
    begun = activations(
        tmp_path, example, "begun", mode="kinematics", bundle_file=str(bundle), initial_time=0.0, write_report=True
    )
    np.testing.assert_array_equal(begun["flags"].column("near_an_end") > 0.5, begun["flags"].time < 0.1975)
    assert begun["flags"].column("any")[begun["flags"].time < 0.19].all()
    shared = begun["activation"].time > 0.3 - 1e-9
    later = begun["activation"].time[shared] <= 1.95 + 1e-9
    np.testing.assert_allclose(
        begun["activation"].data[shared][later], found["activation"].data[: int(later.sum())], atol=0.02
    )
    page = (tmp_path / "begun_report.html").read_text()
    assert "do not come from inverse dynamics: a network estimated them" in page
    for text in (page, caplog.text):
        assert text.count("too close to an end of the motion") == 1
    with pytest.raises(StorageError, match="no row between <initial_time> and <final_time>"):
        activations(
            tmp_path, example, "none", mode="kinematics", bundle_file=str(bundle), initial_time=2.27, final_time=2.3
        )


def test_a_network_does_not_look_across_a_gap(bundle, example, tmp_path):
    """What is beside the time wanted may be missing."""
    motion = read_storage(example / "walking_coordinates.mot")
    rows = (motion.time < 0.1) | (motion.time > 0.25)
    write_storage(tmp_path / "gap.mot", replace(motion, time=motion.time[rows], data=motion.data[rows]))
    found = activations(
        tmp_path,
        example,
        "gap",
        mode="kinematics",
        bundle_file=str(bundle),
        coordinates_file=str(tmp_path / "gap.mot"),
        final_time=1.0,
    )
    flags = found["flags"]
    np.testing.assert_array_equal(
        flags.column("near_an_end") > 0.5, flags.time < motion.time[motion.time > 0.25][0] + 0.1975
    )


def test_frames_are_as_the_whole_motion(bundle, example):
    """The same moments, and activations from them, of a motion that is still going on."""
    from opensim_nem2e.estimates.learned_moments import LiveMoments, learned_moments
    from opensim_nem2e.estimates.static_optimization import read_motion
    from opensim_nem2e.estimates.streaming import load
    from opensim_nem2e.storage.osim import read_model

    leg = ("hip_flexion_l", "knee_angle_l", "ankle_angle_l")
    model, network = read_model(example / "walker.osim"), MotionBundle.load(bundle).network
    motion = read_motion(model, example / "walking_coordinates.mot", lowpass=-1.0)
    whole = learned_moments(network, model, motion).of(leg)
    live = LiveMoments(network, model, leg)
    predictor = load(network, model, coordinates=leg, motion_file=example / "walking_coordinates.mot")
    columns, told = motion.columns(live.coordinates), motion.columns(predictor.coordinates)
    found, flagged = [], []
    for row in range(150):
        found.append(live(motion.time[row], motion.q[row, columns], motion.qdot[row, columns]))
        flagged.append(live.outside)
        activations, _ = predictor.step(motion.time[row], motion.q[row, told])
    settled = ~whole.guessed[:150]
    difference = (np.array(found) - whole.moments[:150])[settled]
    assert np.abs(difference).max() < 0.02 * np.abs(whole.moments).max()
    assert flagged == whole.outside[:150, 0].tolist()
    assert activations.max() > 0.05
    with pytest.raises(ModelError, match=r"estimates the moments of hip_flexion_l.*, not of lumbar_extension"):
        LiveMoments(network, model, ("hip_flexion_l", "lumbar_extension"))


def test_no_emg_and_no_activations_are_needed(bundle):
    found = MotionBundle.load(bundle)
    assert found.metadata["data"]["cycles"] == 6
    assert found.network.coordinates == found.network.moments == ("hip_flexion", "knee_angle", "ankle_angle")
    assert found.network.lookahead == 0.0
    assert found.metadata["validation"] == {"method": "none"}


def test_what_was_not_trained_on_is_flagged(bundle):
    network = MotionBundle.load(bundle).network
    middle = 0.5 * (network.lowest + network.highest)
    beyond = middle.copy()
    beyond[1, 0] += 0.62 * (network.highest - network.lowest)[1, 0]
    assert not network.outside(middle[:, 0], middle[:, 1])
    assert network.outside(beyond[:, 0], beyond[:, 1])
    q, qdot = np.stack([middle, beyond])[..., 0], np.stack([middle, beyond])[..., 1]
    assert network.outside(q, qdot).tolist() == [False, True]


def test_chosen_and_judged_from_results_of_inverse_dynamics(example, tmp_path):
    """Moments from a file, kernel ridge regression, and figures on strides that were left out."""
    from opensim_nem2e.estimates.learned_moments import LiveMoments
    from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
    from opensim_nem2e.storage.osim import read_model

    kinematics = read_storage(example / "walking_coordinates.mot")
    motion = analyse_motion(example / "walker.osim", kinematics, example / "external_loads.xml", lowpass=-1.0)
    labels = tuple(f"{name}_moment" for name in motion.coordinates)
    write_storage(tmp_path / "id.sto", TimeSeries(motion.time, labels, motion.torques))
    trials = manifest(tmp_path, example, loads="", moments=str(tmp_path / "id.sto"))
    setup = tmp_path / "setup.xml"
    tool = KinematicsTrainTool(name="chosen", trials_file=str(trials), results_directory=str(tmp_path))
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    tool.jobs, tool.progress_bar = 1, "never"
    tool.set_group("MJCABiGRU", lags=(0.0, 0.05, 0.1))
    assert tool.printToXML(setup)
    assert main(["run", str(setup)]) == 0
    validation = MotionBundle.load(tmp_path / "chosen.safetensors").metadata["validation"]
    assert validation["method"] == "five_folds_of_cycles"
    assert validation["joints"]["ankle_angle"]["left_out"] == 5
    with (tmp_path / "chosen_validation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 15
    assert all(0.5 < float(row["r2"]) < 1.0 for row in rows)
    live = LiveMoments(
        MotionBundle.load(tmp_path / "chosen.safetensors").network,
        read_model(example / "walker.osim"),
        ("ankle_angle_r", "hip_flexion_r"),
    )
    columns = motion.columns(live.coordinates)
    found = [live(*row) for row in zip(motion.time, motion.q[:, columns], motion.qdot[:, columns], strict=True)]
    true = motion.torques[20:, motion.columns(("ankle_angle_r", "hip_flexion_r"))]
    assert (1.0 - ((np.array(found[20:]) - true) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0) > 0.9).all()


def test_what_the_legs_would_bear(example, tmp_path):
    """Inputs from the whole body: trained, judged, used for both legs, refused where they cannot be had."""
    from opensim_nem2e.estimates.learned_moments import LiveMoments
    from opensim_nem2e.storage.osim import read_model

    found = {
        bearing: trained(
            tmp_path, manifest(tmp_path, example), f"bearing_{bearing}", True, bearing_inputs=bearing, lags=(0.0, 0.1)
        )
        for bearing in (False, True)
    }
    errors = {
        bearing: {
            joint: row["median_rmse"] for joint, row in MotionBundle.load(file).metadata["validation"]["joints"].items()
        }
        for bearing, file in found.items()
    }
    assert all(errors[True][joint] < errors[False][joint] for joint in errors[True])
    network = MotionBundle.load(found[True]).network
    assert network.coordinates[3:6] == ("unloaded_hip_flexion", "unloaded_knee_angle", "unloaded_ankle_angle")
    assert network.coordinates[-2:] == ("push_forward", "push_upward")
    assert len(network.coordinates) == 14
    exact = activations(tmp_path, example, "exact", external_loads_file=str(example / "external_loads.xml"))
    borne = activations(tmp_path, example, "borne", mode="kinematics", bundle_file=str(found[True]))
    rows = exact["activation"].time > 0.55
    labels = exact["activation"].labels
    true, ours = exact["activation"].data[rows], borne["activation"].select(labels)[rows]
    r2 = 1.0 - ((true - ours) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)
    assert np.median(r2[true.max(0) > 0.1]) > 0.9
    with pytest.raises(ModelError, match="for recorded motion only"):
        LiveMoments(network, read_model(example / "walker.osim"), ("hip_flexion_l",))
    series = read_storage(example / "walking_coordinates.mot")
    kept = [name for name in series.labels if name != "pelvis_ty"]
    write_storage(
        tmp_path / "sensors.mot",
        TimeSeries(series.time, tuple(kept), series.select(kept), in_degrees=series.in_degrees),
    )
    tool = KinematicsToActivationTool(
        model_file=str(example / "walker.osim"),
        coordinates_file=str(tmp_path / "sensors.mot"),
        mode="kinematics",
        bundle_file=str(found[True]),
        results_directory=str(tmp_path),
    )
    with pytest.raises(ModelError, match="must tell where the pelvis is; it lacks pelvis_ty"):
        tool.run()


def test_kernel_and_mlp_together(bundle, example, tmp_path):
    """The mean of what both learn, each as it does alone."""
    network = {"epochs": 40, "dropout": 0.0}
    alone = {"mlp": bundle, "kernel": trained(tmp_path, manifest(tmp_path, example), "one", architecture="kernel")}
    both = trained(tmp_path, manifest(tmp_path, example), "both", architecture="kernel_mlp", **network)
    files = {**alone, "both": both}
    found = {
        name: activations(tmp_path, example, name, mode="kinematics", bundle_file=str(file))["torques"]
        for name, file in files.items()
    }
    labels = [label for label in found["both"].labels if label.endswith("_network")]
    values = {name: series.select(labels) for name, series in found.items()}
    np.testing.assert_allclose(values["both"], 0.5 * (values["mlp"] + values["kernel"]), atol=2e-3)


@pytest.mark.slow
def test_the_best_architecture_is_chosen(example, tmp_path):
    found = MotionBundle.load(
        trained(tmp_path, manifest(tmp_path, example), architecture="auto", epochs=8, batch_size=16, context=0.05)
    )
    assert found.metadata["training"]["architecture"] in NAMES


def test_damage_and_other_bundles_are_told(bundle, tmp_path):
    content = bytearray(bundle.read_bytes())
    content[-3] ^= 8
    (tmp_path / "damaged.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="arrays do not fit their checksum"):
        MotionBundle.load(tmp_path / "damaged.safetensors")
    with pytest.raises(BundleError, match="for KinematicsToActivationTool"):
        Bundle.load(bundle)
    with pytest.raises(BundleError, match="no bundle that estimates joint moments"):
        MotionBundle.load("gait")
    text = json.dumps(MotionBundle.load(bundle).network.description())
    assert '"mlp"' in text


@pytest.mark.parametrize("name", ["kinematics", "whole_body"])
def test_the_shipped_bundles(name, capsys):
    """They ship with their figures on subjects that were left out, and need no PyTorch."""
    found = MotionBundle.load(name)
    assert found.network.moments == ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle")
    assert found.network.lookahead == pytest.approx(0.15)
    rows = found.metadata["validation"]["joints"]
    assert rows["ankle_angle"]["left_out"] == 12
    assert rows["ankle_angle"]["median_r2"] > rows["ankle_angle"]["median_r2_mean"]
    assert main(["info", name]) == 0
    shown = capsys.readouterr().out
    assert "looks ahead: 0.15 s" in shown
    assert "ankle_angle: R2" in shown


def test_bad_setups_are_told(bundle, example, tmp_path):
    model, motion = str(example / "walker.osim"), str(example / "walking_coordinates.mot")
    tool = KinematicsToActivationTool(model_file=model, coordinates_file=motion, mode="kinematics")
    with pytest.raises(SetupError, match="needs <bundle_file>"):
        tool.run()
    tool.bundle_file, tool.external_loads_file = str(bundle), str(example / "external_loads.xml")
    with pytest.raises(SetupError, match="no part in <mode> kinematics"):
        tool.run()
    trials = manifest(tmp_path, example, loads="")
    with pytest.raises(TrainingError, match="external_loads_file"):
        trained(tmp_path, trials)
