"""Makes the population bundle that ships with the package (other subjects' EMG for NMMTool).

    python benchmarks/population_bundle.py DATA [MORE_DATA] --output opensim_nem2e/bundles/muscles.safetensors

DATA and MORE_DATA are folders with ``trials.csv`` and ``emg_channels.csv``; ``emg_profiles/walking_15_adults.csv`` in
the second adds mean profiles of subjects without simulations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from opensim_nem2e.methods.nmm.people import people_of_manifest, people_of_profiles
from opensim_nem2e.methods.nmm.population import PersonCycles, Population

#: Dead channels and copies, as the data sets' descriptions say.
UNUSED = (("cp_child", "RVAL"), ("walk_sub1", "vasint_l_activation"))

PROFILES = {
    "gluteus medius": "glmed1",
    "gluteus maximus": "glmax1",
    "tensor fasciae latae": "tfl",
    "rectus femoris": "rect",
    "vastus medialis": "vasmed",
    "vastus lateralis": "vaslat",
    "semitendinosus": "sem",
    "biceps femoris": "bi",
    "tibialis anterior": "tib",
    "peroneus longus": "perlong",
    "gastrocnemius medialis": "gasmed",
    "gastrocnemius lateralis": "gaslat",
    "soleus": "soleus",
}


def read_people(folders: list[Path]) -> list[PersonCycles]:
    """Read all subjects of some folders."""
    people = []
    for folder in folders:
        people += people_of_manifest(folder / "trials.csv", folder / "emg_channels.csv", unused=UNUSED)
        profiles = folder / "emg_profiles" / "walking_15_adults.csv"
        if profiles.is_file():
            people += people_of_profiles(profiles, "musclesyneRgies", PROFILES)
    return people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    people = read_people(given.folders)
    population = Population.learn(people)
    population.save(
        given.output,
        "Gait of 13 subjects with simulations (CEINMS-RT LowerLimbModel, Apache-2.0; MatlabStaticOptimization, "
        "Apache-2.0; OpenSim Moco example3DWalking, Apache-2.0; 3dpredictsim, MIT; predictcpgait, MIT; biomechZoo, "
        "MIT; Schreiber & Moissenet 2019, CC BY 4.0) and mean profiles of 15 adults (musclesyneRgies, MIT).",
    )
    print(f"{given.output}: {len(population.subjects)} subjects, {len(population.muscles)} muscles")
    print(", ".join(population.muscles))


if __name__ == "__main__":
    main()
