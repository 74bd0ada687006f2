"""Train the bundle ``gait`` that ships with the package, and print its error on people it was not trained on.

The recordings are public but not part of this repository; the environment variable OPENSIM_NEM2E_DATA names the folder
that holds them (their ``trials.csv`` and ``emg_channels.csv``). Their sources and licences are in the bundle's metadata
(and below).

    python benchmarks/shipped_bundle.py              print the leave-one-subject-out table of a fresh training
    python benchmarks/shipped_bundle.py --write      and put the bundle into the package
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from recordings import DATA

from opensim_nem2e.methods.bundle import SHIPPED, Bundle
from opensim_nem2e.tools.stdr_train import STDRTrainTool

#: The gluteus maximus is left out: one stride of one person has its EMG.
MUSCLES = "soleus gasmed gaslat tib rect vaslat vasmed bi sem semit glmed1 glmed2 glmed3"

#: The child with cerebral palsy (cp_child) is left out: the bundle is for healthy gait.
DATASETS = "ceinms_lower_limb walk_sub1 walk_3d_example predictsim_subject1"

DESCRIPTION = (
    "4 healthy adults, treadmill and overground walking at 1.0 to 1.4 m/s and running at 2.25 m/s (one "
    "person); OpenSim static optimisation and CMC against surface EMG envelopes, each channel divided by its "
    "maximum in the trial. The EMG was aligned with the simulation by one constant lag per trial (-0.15 to "
    "-0.02 s), which was estimated from the same data: the networks therefore do not correct a lag that all "
    "muscles of a trial share."
)
LICENCE = "Apache-2.0 (ceinms_lower_limb, walk_sub1, walk_3d_example); MIT (predictsim_subject1)"
ATTRIBUTION = (
    "ceinms_lower_limb: CEINMS-RT/LowerLimbModel, Durandau, Farina, Sartori 2017, IEEE Trans Biomed Eng "
    "65(3):556-564, doi:10.5281/zenodo.6457662. walk_sub1: stanfordnmbl/MatlabStaticOptimization, Uhlrich, "
    "Jackson, Seth, Kolesar, Delp 2022, Sci Rep 12:9842. walk_3d_example: opensim-org/opensim-core "
    "example3DWalking, Rajagopal et al. 2016, IEEE Trans Biomed Eng 63(10):2068-2079. predictsim_subject1: "
    "antoinefalisse/3dpredictsim, Falisse et al. 2019, J R Soc Interface 16:20190402."
)


def gait_tool(data: Path, results: Path) -> STDRTrainTool:
    """Describe the training of the shipped bundle."""
    tool = STDRTrainTool()
    tool.setName("gait")
    tool.trials_file = data / "trials.csv"
    tool.emg_channels_file = data / "emg_channels.csv"
    tool.setResultsDir(results)
    tool.datasets = DATASETS
    tool.motions = "walk run"
    tool.activation_sources = "so cmc"
    tool.muscles = MUSCLES
    tool.condition = "One-Entire"
    tool.emg_normalization = "trial_max"
    tool.preset = "fast"
    tool.validate = "leave_one_subject_out"
    tool.data_description = DESCRIPTION
    tool.data_licence = LICENCE
    tool.data_attribution = ATTRIBUTION
    return tool


def sensitivity(bundle: Bundle) -> dict[str, float]:
    """Tell how much each network's output depends on its input.

    The network is fed five very different cycles (one burst of activity each, at 10, 30, 50, 70 and 90 % of the cycle).
    A network that only knows the average waveform answers all with the same curve.

    Returns
    -------
    dict of str to float
        Standard deviation of the output among the five, averaged over the cycle, in normalised EMG (0..1).
    """
    phase = np.linspace(0.0, 1.0, 20)
    bursts = [0.05 + 0.6 * np.exp(-(((phase - centre) / 0.12) ** 2)) for centre in (0.1, 0.3, 0.5, 0.7, 0.9)]
    x = np.stack(bursts)[:, :, None]
    return {target: float(np.std(bundle.refine(target, x)[0], axis=0).mean()) for target in bundle.targets}


def main() -> None:
    """Train, and put the bundle in its place if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="replace the bundle in the package")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as folder:
        tool = gait_tool(DATA, Path(folder))
        tool.run()
        found = sensitivity(Bundle.load(Path(folder) / "gait.safetensors"))
        print("Standard deviation of the output among five very different inputs (0: the input does not matter):")
        print(", ".join(f"{target} {value:.3f}" for target, value in found.items()))
        if write:
            target = SHIPPED / "gait.safetensors"
            target.write_bytes((Path(folder) / "gait.safetensors").read_bytes())
            print(f"Wrote '{target}'.")


if __name__ == "__main__":
    main()
