"""Train the bundles that ship with the package, and print their errors on people they were not trained on.

The recordings are public but not part of this repository; the environment variables OPENSIM_NEM2E_DATA and
OPENSIM_NEM2E_MORE_DATA name the folders that hold them. Their sources and licences are in the bundles' metadata (and
below).

    python benchmarks/shipped_bundle.py                     the tables of a fresh training, subjects and laboratories
                                                            left out
    python benchmarks/shipped_bundle.py --write             and put the bundles into the package
    python benchmarks/shipped_bundle.py --bundles profiles  one of them
    python benchmarks/shipped_bundle.py --cmc FOLDER        with the strides of cmc_strides.py among the training data
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from recordings import everyone, write_channels, write_trials

from opensim_nem2e.methods.bundle import SHIPPED, Bundle
from opensim_nem2e.tools.stdr_train import STDRTrainTool

#: The paper's sixteen.
MUSCLES = "soleus gasmed gaslat tib rect vaslat vasmed bi sem semit glmax1 glmax2 glmax3 glmed1 glmed2 glmed3"

#: The child with cerebral palsy (cp_child) is left out: the bundles are for healthy gait.
LEFT_OUT = ("cp_child",)

DESCRIPTION = (
    "5 healthy adults and 7 typically developing children of 6 laboratories, treadmill and overground walking at 0.4 "
    "to 1.5 m/s, turns (children) and running at 2.25 m/s (one adult); OpenSim static optimisation and CMC against "
    "surface EMG envelopes, each channel divided by its maximum in the trial. The EMG was aligned with the simulation "
    "by one constant lag per trial (-0.15 to -0.02 s), which was estimated from the same data: the networks therefore "
    "do not correct a lag that all muscles of a trial share. Mean EMG cycles of 15 more adults without simulations, as "
    "shapes."
)
LICENCE = (
    "Apache-2.0 (ceinms_lower_limb, walk_sub1, walk_3d_example); MIT (predictsim_subject1, biomechzoo, emg_profiles); "
    "CC BY 4.0 (schreiber_2014001)"
)
ATTRIBUTION = (
    "ceinms_lower_limb: CEINMS-RT/LowerLimbModel, Durandau, Farina, Sartori 2017, IEEE Trans Biomed Eng "
    "65(3):556-564, doi:10.5281/zenodo.6457662. walk_sub1: stanfordnmbl/MatlabStaticOptimization, Uhlrich, "
    "Jackson, Seth, Kolesar, Delp 2022, Sci Rep 12:9842. walk_3d_example: opensim-org/opensim-core "
    "example3DWalking, Rajagopal et al. 2016, IEEE Trans Biomed Eng 63(10):2068-2079. predictsim_subject1: "
    "antoinefalisse/3dpredictsim, Falisse et al. 2019, J R Soc Interface 16:20190402. biomechzoo: "
    "mcgillmotionlab/biomechzoo, Dixon et al. schreiber_2014001: Schreiber, Moissenet 2019, Sci Data 6:111, "
    "doi:10.6084/m9.figshare.7734767. emg_profiles: musclesyneRgies, Santuz 2022, J Open Source Softw 7(74):4439, "
    "data of doi:10.1016/j.isci.2019.100796."
)


def training_tool(name: str, recordings: Path, results: Path, cmc: Path | None) -> STDRTrainTool:
    """Describe the training of a shipped bundle, ``gait`` or ``profiles``."""
    recordings.mkdir(parents=True, exist_ok=True)
    trials, channels = everyone(recordings, cmc)
    trials = [trial for trial in trials if trial.dataset not in LEFT_OUT]
    tool = STDRTrainTool()
    tool.setName(name)
    tool.trials_file = write_trials(recordings / "trials.csv", trials)
    tool.emg_channels_file = write_channels(recordings / "emg_channels.csv", channels)
    tool.setResultsDir(results)
    tool.method = "stdr_net" if name == "gait" else "profiles"
    tool.muscles = MUSCLES
    tool.condition = "One-Entire"
    tool.emg_normalization = "trial_max"
    tool.validate = "leave_one_subject_out"
    tool.jobs = 1
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
    """Train, and put the bundles in their place if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="replace the bundles in the package")
    parser.add_argument("--bundles", nargs="+", default=["gait", "profiles"], choices=("gait", "profiles"))
    parser.add_argument("--cmc", type=Path, help="results directory of cmc_strides.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for name in options.bundles:
            training_tool(name, folder / "recordings", folder, options.cmc).run()
            path = folder / f"{name}.safetensors"
            if name == "gait":
                found = sensitivity(Bundle.load(path))
                print("Standard deviation of the output among five very different inputs (0: the input is ignored):")
                print(", ".join(f"{target} {value:.3f}" for target, value in found.items()))
            if options.write:
                (SHIPPED / path.name).write_bytes(path.read_bytes())
                print(f"Wrote '{SHIPPED / path.name}'.")


if __name__ == "__main__":
    main()
