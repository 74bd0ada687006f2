"""Train, judge, keep and apply the method of this folder with the tools of opensim_nem2e.

pip install ./examples/05_own_method
python examples/05_own_method/use_it.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from opensim_nem2e import Bundle, STDRCrossValidateTool, STDRRefineTool, STDRTrainTool

EXAMPLES = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(EXAMPLES / "02_virtual_cohort"))

from virtual_emg import write_cases  # noqa: E402

MUSCLE = "gaslat"


def describe(tool: STDRTrainTool | STDRCrossValidateTool, cohort: Path, results: Path) -> None:
    """Say which data are learned from."""
    tool.trials_file = cohort / "trials.csv"
    tool.emg_channels_file = cohort / "emg_channels.csv"
    tool.setResultsDir(results)
    tool.muscles = [MUSCLE]
    # The EMG is in the unit of the activation: to scale it would be one more distortion.
    tool.emg_normalization = "none"
    tool.data_description = "virtual cohort, case both"
    tool.data_licence, tool.data_attribution = "Apache-2.0", "opensim_nem2e, examples/02_virtual_cohort"
    tool.set_group("KernelRidge", penalties=[0.01, 0.1, 1.0])


def main() -> int:
    """Do it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent / "results")
    folder = parser.parse_args().folder
    write_cases(pd.read_csv(EXAMPLES / "02_virtual_cohort" / "cohort.csv.gz"), folder)

    study = STDRCrossValidateTool(name="own_method")
    describe(study, folder / "both", folder)
    study.conditions = ["One-Entire"]
    study.methods = ["kernel_ridge", "stdr_net"]
    study.run()
    errors = pd.read_csv(folder / "own_method_cycles.csv").groupby(["method", "subject"])["E"].mean().groupby("method")
    removed = 1 - errors.mean() / errors.mean()["opensim"]

    training = STDRTrainTool(name="kernel_ridge")
    describe(training, folder / "both", folder)
    training.method = "kernel_ridge"
    training.run()

    bundle = Bundle.load(folder / "kernel_ridge.safetensors")
    print(f"\nThe bundle holds {bundle.method.label} for {', '.join(bundle.targets)}.")
    refine = STDRRefineTool(EXAMPLES / "01_refine_walking" / "setup_refine.xml", name="walking_kernel_ridge")
    refine.bundle_file = folder / "kernel_ridge.safetensors"
    refine.setResultsDir(folder)
    refine.run()

    print("\nShare of OpenSim's error that is removed on people who were left out:")
    print(removed.drop("opensim").sort_values(ascending=False).map("{:.0%}".format).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
