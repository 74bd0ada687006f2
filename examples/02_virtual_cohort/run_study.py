"""The study over the virtual cohort: how much of each known distortion do the networks remove?

python examples/02_virtual_cohort/run_study.py
python examples/02_virtual_cohort/run_study.py --cases delay --muscles soleus glmax1   # other muscles

Writes the cohort's files and, for every case, what STDRCrossValidateTool finds to `results/`, and prints the table of
this folder's README. A run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from virtual_emg import CASES, write_cases  # noqa: E402

from opensim_nem2e import STDRCrossValidateTool  # noqa: E402

#: The muscle of the README's table: among the plantarflexors, the one that people differ most in using.
MUSCLES = ("gaslat",)
CONDITIONS = ("One-Entire", "All-Entire")
#: Input of All-Entire: the muscles of the cycle's own leg. The other leg's, too, would double what has to be told apart
#: from few people.
INPUTS = tuple(
    f"ipsi:{name}"
    for name in (
        *("soleus", "gasmed", "gaslat", "tib", "rect", "vaslat", "vasmed", "glmax1", "bi", "sem", "bfsh"),
        "iliopsoas",
    )
)


def run_case(
    folder: Path, case: str, muscles: Sequence[str] = MUSCLES, conditions: Sequence[str] = CONDITIONS
) -> pd.DataFrame:
    """Leave each person out in turn, and measure what is left of a distortion.

    Parameters
    ----------
    folder : Path
        As written by `write_cases`; the tool's results go to ``<case>/study``.
    case : str
        One of `CASES`.
    muscles : sequence of str
        Standard names of the target muscles.
    conditions : sequence of str
        Inputs of the networks.

    Returns
    -------
    pandas.DataFrame
        A row per condition and muscle: E of ``opensim``, ``stdr_net`` and the baselines (RMSE over a cycle; mean over a
        person's cycles, then over people).
    """
    tool = STDRCrossValidateTool()
    tool.setName(case)
    tool.trials_file = str(folder / case / "trials.csv")
    tool.emg_channels_file = str(folder / case / "emg_channels.csv")
    tool.setResultsDir(str(folder / case / "study"))
    # The EMG is in the unit of the activation: to scale it would be one more distortion.
    tool.emg_normalization = "none"
    tool.muscles, tool.conditions = tuple(muscles), tuple(conditions)
    if "All-Entire" in conditions:
        tool.input_muscles = INPUTS
    tool.data_description = f"virtual cohort, case {case}"
    tool.data_licence, tool.data_attribution = "Apache-2.0", "opensim_nem2e, examples/02_virtual_cohort"
    tool.run()
    cycles = pd.read_csv(folder / case / "study" / f"{case}_cycles.csv")
    people = cycles.groupby(["condition", "muscle", "subject", "method"], sort=False)["E"].mean()
    return people.groupby(["condition", "muscle", "method"], sort=False).mean().unstack("method")


def removed(errors: pd.DataFrame) -> pd.DataFrame:
    """Say which share of OpenSim's error each method removes.

    Parameters
    ----------
    errors : pandas.DataFrame
        From :func:`run_case`.

    Returns
    -------
    pandas.DataFrame
        ``1 - E / E_opensim`` of each method, negative where it adds error.
    """
    return 1 - errors.drop(columns="opensim").div(errors["opensim"], axis=0)


def main() -> int:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=HERE / "cohort.csv.gz", help="default: the one that ships")
    parser.add_argument("--folder", type=Path, default=HERE / "results", help="where to write (default: results)")
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--muscles", nargs="+", default=MUSCLES, metavar="MUSCLE")
    parser.add_argument("--conditions", nargs="+", default=CONDITIONS, metavar="CONDITION")
    arguments = parser.parse_args()
    write_cases(pd.read_csv(arguments.cohort), arguments.folder)
    tables = {}
    for case in arguments.cases:
        errors = run_case(arguments.folder, case, arguments.muscles, arguments.conditions)
        tables[case] = removed(errors).assign(E_opensim=errors["opensim"])
    table = pd.concat(tables, names=["case"])
    table.to_csv(arguments.folder / "removed.csv", float_format="%.4f")
    print(table.round(3).to_string())
    print("\nMeans over the muscles:")
    print(table.groupby(["case", "condition"], sort=False).mean().round(3).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
