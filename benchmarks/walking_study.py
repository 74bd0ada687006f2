"""Repeat the study that the README shows: leave-one-subject-out over walking, in the paper's three conditions.

    python benchmarks/walking_study.py RESULTS_DIRECTORY [--seeds 0 1 2] [--preset paper]

The recordings are public but not part of this repository; the environment variable OPENSIM_NEM2E_DATA names the folder
that holds them (their ``trials.csv`` and ``emg_channels.csv``). Five people, one of them a child with cerebral palsy;
activations of OpenSim's static optimisation; every EMG channel serves the one muscle it is named after.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recordings import DATA

from opensim_nem2e import STDRCrossValidateTool


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    tool = STDRCrossValidateTool()
    tool.setName("walking")
    tool.setResultsDir(options.results)
    tool.trials_file = DATA / "trials.csv"
    tool.emg_channels_file = DATA / "emg_channels.csv"
    tool.motions = "walk"
    tool.activation_sources = "so"
    tool.share_emg_channels = False
    tool.preset = options.preset
    tool.seeds = options.seeds
    # Figure 7: the stride of a person whose recording has both, from right heel strike to right heel strike.
    tool.skeleton_model_file = DATA / "ceinms_lower_limb" / "gait2392_58kg_strength2.osim"
    tool.skeleton_motion_file = DATA / "ceinms_lower_limb" / "walk45_ik.mot"
    tool.skeleton_time_range = [7.1849, 8.224]
    tool.run()


if __name__ == "__main__":
    main()
