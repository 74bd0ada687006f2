"""Simulate the virtual cohort with OpenSim: every stride an own motion, its muscle activations by static optimisation.

python examples/02_virtual_cohort/make_cohort.py --out cohort.csv.gz            # some minutes on two cores
python examples/02_virtual_cohort/make_cohort.py --subjects 2 --strides 1 --out small.csv.gz

Every stride is computed in processes of its own. The result is one table: a row per per cent of the gait cycle.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "01_refine_walking"))

from virtual_subjects import Stride, Subject, draw_subject  # noqa: E402
from walking_files import write_actuators, write_ground_reactions, write_motion, write_static_optimization_setup  # noqa: E402
from walking_motion import ground_reactions, walking_motion  # noqa: E402

from opensim_nem2e.musculoskeletal.opensim.processes import run_opensim_tool  # noqa: E402
from opensim_nem2e.storage import read_storage  # noqa: E402

SEED, SUBJECTS, STRIDES = 1, 16, 1
#: Where the stride starts in the files, s, and their step, s. The margins keep the ends of OpenSim's splines out.
START, STEP = 0.2, 0.005
#: Samples of a gait cycle in the table: every per cent, both ends.
PERCENT = np.arange(101)


def simulate_stride(subject: Subject, stride: Stride) -> pd.DataFrame:
    """Compute the muscle activations of one stride by OpenSim's static optimisation.

    Parameters
    ----------
    subject : Subject
        Who walks.
    stride : Stride
        How.

    Returns
    -------
    pandas.DataFrame
        101 rows: subject, speed name, stride, speed (m/s), period (s), per cent of the right gait cycle, and the
        activation of each muscle (0..1); ``reserve_Nm`` is the largest moment of the actuators that help the muscles.
    """
    from walking_model import build_model  # the only import of opensim

    with tempfile.TemporaryDirectory(prefix="virtual_cohort_") as scratch:
        folder = Path(scratch)
        model = build_model(subject.body)
        for name, factor in subject.strength.items():
            muscle = model.updMuscles().get(name)
            muscle.setMaxIsometricForce(factor * muscle.getMaxIsometricForce())
        model.printToXML(str(folder / "walker.osim"))
        walk = walking_motion(subject.body, stride.speed, stride.variation)
        time = np.arange(0.0, 2 * START + walk.period + STEP / 2, STEP)
        write_motion(folder / "walking_coordinates.mot", walk, time, START)
        write_ground_reactions(folder, "walking_grf", ground_reactions(walk, time, START))
        write_actuators(folder / "actuators.xml", subject.body)
        # One step more at either end: the cycle's ends lie between rows.
        write_static_optimization_setup(
            folder / "setup_so.xml", "walking", START - 2 * STEP, START + walk.period + 2 * STEP, "so"
        )
        run = run_opensim_tool(folder / "setup_so.xml", timeout=600)
        found = read_storage(run.results_directory / "walking_StaticOptimization_activation.sto")
    at = START + walk.period * PERCENT / 100
    table = pd.DataFrame(
        {
            "subject": subject.name,
            "pace": stride.speed_name,
            "stride": stride.number,
            "speed_m_s": stride.speed,
            "period_s": walk.period,
            "percent": PERCENT,
        }
    )
    values = {label: np.interp(at, found.time, found.column(label)) for label in found.labels}
    table["reserve_Nm"] = np.max([np.abs(v) for k, v in values.items() if k.startswith("reserve_")], axis=0)
    return table.assign(**{name: values[name] for name in subject.strength})


def simulate_cohort(subjects: Sequence[Subject], jobs: int) -> pd.DataFrame:
    """Simulate all strides of all people.

    Parameters
    ----------
    subjects : sequence of Subject
        The people.
    jobs : int
        Strides at once, each in a process of its own.

    Returns
    -------
    pandas.DataFrame
        The tables of :func:`simulate_stride` below each other.
    """
    work = [(subject, stride) for subject in subjects for stride in subject.strides]
    context = multiprocessing.get_context("spawn")
    tables = []
    # OpenSim leaks memory and may crash: no process does two strides.
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        for (subject, stride), table in zip(work, pool.map(simulate_stride, *zip(*work, strict=True)), strict=True):
            print(
                f"{subject.name} {stride.speed_name:12s}{stride.number}  {stride.speed:.2f} m/s  "
                f"largest reserve {table['reserve_Nm'].max():.2f} Nm",
                flush=True,
            )
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def main() -> int:
    """Simulate the cohort and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=SUBJECTS, help=f"number of people (default: {SUBJECTS})")
    parser.add_argument("--strides", type=int, default=STRIDES, help=f"strides at each speed (default: {STRIDES})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="strides at once (default: all cores)")
    parser.add_argument("--out", type=Path, default=HERE / "cohort.csv.gz", help="the table")
    arguments = parser.parse_args()
    people = [draw_subject(arguments.seed, number + 1, arguments.strides) for number in range(arguments.subjects)]
    table = simulate_cohort(people, arguments.jobs)
    # No time stamp: the same numbers give the same file.
    compression = {"method": "gzip", "mtime": 0}
    table.to_csv(arguments.out, index=False, float_format="%.4f", compression=compression, lineterminator="\n")
    print(f"wrote '{arguments.out}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
