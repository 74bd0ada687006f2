"""How near a planar leg comes to OpenSim's inverse dynamics, and what each step away from the paper's leg gains.

    python benchmarks/planar_leg.py

The environment variable OPENSIM_NEM2E_DATA names the folder with the recordings. R2 against InverseDynamicsTool over
the whole trial, without half a second at the ends.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from recordings import DATA

from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.musculoskeletal.model_leg import ModelLeg
from opensim_nem2e.storage import read_storage

#: Folder, model, trial, side and cut-off (Hz).
TRIALS = (
    ("ceinms_lower_limb", "gait2392_58kg_strength2.osim", "walk36", "r", 6.0),
    ("ceinms_lower_limb", "gait2392_58kg_strength2.osim", "walk45", "r", 6.0),
    ("ceinms_lower_limb", "gait2392_58kg_strength2.osim", "run81", "r", 10.0),
    ("walk_sub1", "Rajagopal_scaled_Sub1_gasAvoid.osim", "walking_baseline1", "l", 6.0),
)


def main() -> None:
    """Print one row per trial and kind of leg."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'trial':20s} {'leg':44s}   hip  knee ankle")
    for folder, model, trial, side, lowpass in TRIALS:
        files = DATA / folder
        loads = files / f"{trial}_external_loads.xml"
        motion = analyse_motion(files / model, read_storage(files / f"{trial}_ik.mot"), loads, lowpass=lowpass)
        leg = ModelLeg.of_model(files / model, motion, side)
        names = leg.dynamics.coordinates
        true = motion.torques[:, motion.columns(names)]
        inner = (motion.time > motion.time[0] + 0.5) & (motion.time < motion.time[-1] - 0.5)
        still = replace(leg.motion, hip_acceleration=np.zeros_like(leg.motion.hip_acceleration))
        upright = replace(leg.dynamics, tilt="")
        force, torque = leg.ground_reaction(loads), leg.ground_torque(loads)
        rows = {
            "paper: hip at rest, flexion taken as absolute": upright.required(still, force, names),
            "+ pelvis tilt": leg.dynamics.required(still, force, names),
            "+ hip acceleration": leg.dynamics.required(leg.motion, force, names),
            "+ true joint centres and axes": leg.dynamics.required(leg.motion, torque, names),
            "the same without hip acceleration": leg.dynamics.required(still, torque, names),
        }
        for name, found in rows.items():
            error = ((found - true)[inner] ** 2).sum(axis=0)
            r2 = 1.0 - error / ((true[inner] - true[inner].mean(axis=0)) ** 2).sum(axis=0)
            print(f"{trial:20s} {name:46s} " + " ".join(f"{value:5.3f}" for value in r2), flush=True)


if __name__ == "__main__":
    main()
