"""Train the bundles ``kinematics`` and ``whole_body`` that ship with the package, and judge them on others.

The recordings are public but not part of this repository; the environment variable OPENSIM_NEM2E_DATA names the folder
that holds them, ``more_data`` lies beside it. At most four walking strides of every healthy subject are used.
``kinematics`` takes the angles of a leg, ``whole_body`` also what the leg would bear if it alone stood on the ground.

    python benchmarks/kinematics_bundle.py             print the tables of subjects and laboratories left out
    python benchmarks/kinematics_bundle.py --write     and put the bundles into the package (--bundles names them)
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import asdict, replace
from pathlib import Path

from recordings import DATA

from opensim_nem2e.data.leg_kinematics import LegTrial, read_leg_trials
from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.evaluation.moment_training import MomentErrors, MomentTraining, moment_errors, summarise_moments
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.bundle import SHIPPED
from opensim_nem2e.methods.mjca_bigru.moment_options import MJCAOptions
from opensim_nem2e.methods.motion_bundle import MotionBundle
from opensim_nem2e.tools.kinematics_train import validation_of
from opensim_nem2e.tools.training_run import packages
from opensim_nem2e.training.jobs import Job
from opensim_nem2e.training.trainer import train_task

#: The child with cerebral palsy (cp_child) is left out: the bundle is for healthy gait. So are turns.
DATASETS = (
    *("ceinms_lower_limb", "walk_sub1", "walk_3d_example", "predictsim_subject1"),
    *("biomechzoo", "schreiber_2014001"),
)
MOST = 4

DESCRIPTION = (
    "12 healthy subjects of 6 laboratories, 5 adults and 7 children, walking at 0.4 to 1.4 m/s, at most 4 strides of "
    "each; joint moments of OpenSim's inverse dynamics."
)
LICENCE = (
    "Apache-2.0 (ceinms_lower_limb, walk_sub1, walk_3d_example); MIT (predictsim_subject1, biomechzoo); CC BY 4.0 "
    "(schreiber_2014001)"
)
ATTRIBUTION = (
    "ceinms_lower_limb: CEINMS-RT/LowerLimbModel, Durandau, Farina, Sartori 2017, IEEE Trans Biomed Eng 65(3):556-564, "
    "doi:10.5281/zenodo.6457662. walk_sub1: stanfordnmbl/MatlabStaticOptimization, Uhlrich, Jackson, Seth, Kolesar, "
    "Delp 2022, Sci Rep 12:9842. walk_3d_example: opensim-org/opensim-core example3DWalking, Rajagopal et al. 2016, "
    "IEEE Trans Biomed Eng 63(10):2068-2079. predictsim_subject1: antoinefalisse/3dpredictsim, Falisse et al. 2019, "
    "J R Soc Interface 16:20190402. biomechzoo: mcgillmotionlab/biomechzoo (P. Dixon). schreiber_2014001: Schreiber "
    "and Moissenet 2019, Sci Data 6:111."
)

_ANGLES = MJCAOptions(
    architecture="kernel_mlp",
    # A network that suits a dozen subjects.
    hidden_units=(64, 64),
    epochs=15,
    batch_size=256,
    learning_rate=0.006,
    dropout=0.2,
    # Recorded motion is known on both sides of a sample.
    lags=(-0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15),
    # The subtalar joint was locked in the inverse kinematics of seven: its moments do not carry over.
    moment_joints=("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle"),
)
OPTIONS = {"kinematics": _ANGLES, "whole_body": replace(_ANGLES, bearing_inputs=True)}


def strides() -> list[CycleRecord]:
    """List the strides with their files."""
    found: list[CycleRecord] = []
    for folder in (DATA, DATA.parent / "more_data"):
        for row in csv.DictReader((folder / "trials.csv").open()):
            chosen = row["dataset"] in DATASETS and row["motion"] == "walk" and row["activation_source"] == "so"
            if not chosen or sum(record.subject == row["subject"] for record in found) >= MOST:
                continue
            files, trial = folder / row["dataset"], row["trial"]
            motion, loads = files / f"{trial}_ik.mot", files / f"{trial}_external_loads.xml"
            if row["dataset"] == "walk_3d_example":
                motion, loads = files / "coordinates.sto", files / "grf_walk.xml"
            found.append(
                CycleRecord(
                    *(row[name] for name in ("dataset", "subject", "trial", "stride", "motion")),
                    speed=None,
                    side=row["side"],
                    model_file=folder / row["model_file"],
                    activation_file=None,
                    activation_source="",
                    emg_file=None,
                    emg_time_offset=0.0,
                    start=float(row["t_start"]),
                    end=float(row["t_end"]),
                    heel_strike=None,
                    line=0,
                    external_loads_file=loads if loads.is_file() else None,
                    coordinates_file=motion,
                    inverse_dynamics_file=None if loads.is_file() else files / f"{trial}_id.sto",
                )
            )
    return found


def read() -> list[tuple[LegTrial, list[CycleRecord]]]:
    """Read them; cycles without ground reactions were filtered before, and come with their moments."""
    records = strides()
    raw = [record for record in records if record.external_loads_file is not None]
    filtered = [record for record in records if record.external_loads_file is None]
    return read_leg_trials(raw, 6.0, bearing=True) + read_leg_trials(filtered, -1.0, bearing=True)


def run(jobs: list[Job]) -> None:
    """Train."""
    for job in jobs:
        job.done(train_task(job.task()))


def without_laboratories(options: MJCAOptions, trials: list[tuple[LegTrial, list[CycleRecord]]]) -> list[MomentErrors]:
    """Judge every subject by a training without anyone of the same laboratory."""
    errors = []
    for name in DATASETS:
        rest, left = (
            [(trial, own) for trial, rows in trials if (own := [r for r in rows if (r.dataset == name) == out])]
            for out in (False, True)
        )
        training = MomentTraining(options, rest, RunSettings(), validate=False)
        run(training.jobs())
        errors += moment_errors(training.network, rest, left)
    return errors


def show(title: str, errors: list[MomentErrors]) -> None:
    """Print a table."""
    print(f"{title:28s} {'R2':>6s} {'least':>6s} {'RMSE':>6s} {'mean moment: R2':>16s}")
    for joint, row in summarise_moments(errors).items():
        figures = (row["median_r2"], row["least_r2"], row["median_rmse"], row["median_r2_mean"])
        print(f"{joint:28s} {figures[0]:6.2f} {figures[1]:6.2f} {figures[2]:6.2f} {figures[3]:16.2f}")


def main() -> None:
    """Train, print and, if asked, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundles", nargs="+", choices=list(OPTIONS), default=list(OPTIONS))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    trials = read()
    for name in given.bundles:
        training = MomentTraining(OPTIONS[name], trials, RunSettings())
        run(training.jobs())
        show(f"{name}: subject out", training.errors)
        elsewhere = without_laboratories(OPTIONS[name], trials)
        show(f"{name}: laboratory out", elsewhere)
        if given.write:
            put_into_the_package(name, training, elsewhere)


def put_into_the_package(name: str, training: MomentTraining, elsewhere: list[MomentErrors]) -> None:
    """Write a bundle."""
    medians = ", ".join(f"{j} {row['median_r2']:.2f}" for j, row in summarise_moments(elsewhere).items())
    metadata = {
        "name": name,
        "data": {
            **{"description": DESCRIPTION, "licence": LICENCE, "attribution": ATTRIBUTION},
            **{"subjects": training.subjects, "cycles": sum(len(rows) for _, rows in training.trials)},
        },
        "training": {
            "seed": 0,
            "lowpass_cutoff_frequency_for_coordinates": 6.0,
            **{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(training.options).items()},
        },
        "packages": packages(),
        "validation": {
            **validation_of(training),
            "note": "Inputs, lags, joints and the scaling of hip adduction were chosen by these figures, which may be "
            "a little lower on others. Seven of the twelve are of one laboratory. Without anyone of the same "
            f"laboratory, medians of R2: {medians}.",
        },
    }
    path = Path(SHIPPED, f"{name}.safetensors")
    MotionBundle(training.method.key, training.network, metadata).save(path)
    print(f"Wrote {path} ({path.stat().st_size / 1000:.0f} kB).")


if __name__ == "__main__":
    main()
