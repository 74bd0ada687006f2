"""Reads a motion as if it were live: activations and forces frame by frame, and how long each frame takes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from opensim_nem2e.estimates.static_optimization import ProgramSettings, muscle_model, optimise, read_motion
from opensim_nem2e.estimates.streaming import load
from opensim_nem2e.storage.osim import read_model

WALK = Path(__file__).resolve().parent.parent / "01_refine_walking"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=WALK / "walker.osim")
    parser.add_argument("--motion", type=Path, default=WALK / "walking_coordinates.mot")
    parser.add_argument("--loads", type=Path, default=WALK / "external_loads.xml")
    parser.add_argument("--coordinates", nargs="+", default=["hip_flexion_r", "knee_angle_r", "ankle_angle_r"])
    options = parser.parse_args()

    # What a laboratory would measure: angles, and moments by inverse dynamics.
    model = read_model(options.model)
    motion = read_motion(model, options.motion, options.loads)
    predictor = load(None, model, coordinates=options.coordinates, motion_file=options.motion)
    angles = motion.q[:, motion.columns(predictor.coordinates)]
    moments = motion.torques[:, motion.columns(predictor.torque_coordinates)]

    found, took, out_of_range = [], [], 0
    for moment in range(len(motion.time)):
        start = time.perf_counter()
        activations, _ = predictor.step(motion.time[moment], angles[moment], moments[moment])
        took.append(1e3 * (time.perf_counter() - start))
        found.append(activations)
        out_of_range += predictor.out_of_range

    print(f"{len(took)} frames, {len(predictor.muscles)} muscles, {len(options.coordinates)} joint coordinates")
    for share in (50, 90, 99, 100):
        print(f"{share:3d} % of the frames took at most {np.percentile(took, share):.3f} ms")
    print(f"{out_of_range} frames were outside the range of the muscle paths")
    settings = ProgramSettings()
    whole = muscle_model(model, motion, (), settings)
    optimum = optimise(model, whole, motion, whole.required(motion, options.loads), settings)
    columns = [optimum.muscles.index(muscle) for muscle in predictor.muscles]
    # The first frames know no speeds yet.
    difference = (np.array(found) - optimum.activations[:, columns])[10:]
    print(f"difference from the activations of the whole motion: {np.sqrt(np.mean(difference**2)):.4f} (RMS)")


if __name__ == "__main__":
    main()
