"""The walkthrough in docs/from_recordings.md, file by file and command by command, as a newcomer would do it.

The subjects are those of the virtual cohort: their simulated activations, and raw EMG made of these by a known law, in
the folders and with the faults of a laboratory. Ground reactions and CMC results are the shipped example's.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from opensim_nem2e import TimeSeries, read_storage, write_storage
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.signals.events import events_from_external_loads

PEOPLE, TRIALS = ("v01", "v05", "v09", "v13"), ("slow", "fast")
MUSCLES = ("soleus_r", "gasmed_r", "tibant_r", "vaslat_r", "semimem_r")

#: The EMG is so far ahead of OpenSim (s); the subject and channel that are dead.
AHEAD, DEAD = 0.075, ("v13", 4)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory, repository, raw_emg) -> Path:
    """Fill the folders that the walkthrough starts from."""
    root = tmp_path_factory.mktemp("laboratory")
    example = repository / "examples" / "01_refine_walking"
    cohort = pd.read_csv(repository / "examples" / "02_virtual_cohort" / "cohort.csv.gz")
    forces = read_storage(example / "walking_grf.mot")
    loads = (example / "external_loads.xml").read_text().replace("walking_grf.mot", "grf.mot")
    start, end = events_from_external_loads(example / "external_loads.xml").right[:2]
    for number, person in enumerate(PEOPLE, start=1):
        folder = root / "study" / f"subject{number:02d}"
        for trial, pace in enumerate(TRIALS, start=1):
            cycle = cohort[(cohort["subject"] == person) & (cohort["pace"] == pace) & (cohort["stride"] == 1)]
            # The forces of the example, at this subject's cadence: the heel strikes are known.
            slower = float(cycle["period_s"].iloc[0]) / (end - start)
            place = folder / f"walk{trial}"
            (place / "results").mkdir(parents=True)
            (place / "grf.xml").write_text(loads)
            write_storage(place / "grf.mot", TimeSeries(forces.time * slower, forces.labels, forces.data))
            _simulation(place / "results", f"walk{trial}", cycle, start * slower)
            _emg(place / f"walk{trial}.csv", cycle, start * slower, person, raw_emg, seed=10 * number + trial)
        shutil.copy(example / "walker.osim", folder / "model.osim")
    shutil.copytree(example / "cmc", root / "new" / "cmc")
    for name, new in (("walker.osim", "model.osim"), ("external_loads.xml", None), ("walking_grf.mot", None)):
        shutil.copy(example / name, root / "new" / (new or name))
    return root


def _at(cycle: pd.DataFrame, column: str, time: np.ndarray, strike: float) -> np.ndarray:
    """Return a column of a cycle that begins at a heel strike and repeats itself."""
    percent = 100.0 * (time - strike) / cycle["period_s"].iloc[0]
    return np.interp(percent, cycle["percent"], cycle[column], period=100.0)


def _simulation(folder: Path, trial: str, cycle: pd.DataFrame, strike: float) -> None:
    time = np.arange(0.0, strike + cycle["period_s"].iloc[0] + 0.3, 0.01)
    labels = [name for name in cycle.columns if name.endswith(("_r", "_l"))]
    data = np.column_stack([_at(cycle, label, time, strike) for label in labels])
    write_storage(folder / f"{trial}_StaticOptimization_activation.sto", TimeSeries(time, tuple(labels), data))


def _emg(path: Path, cycle: pd.DataFrame, strike: float, person: str, raw_emg, seed: int) -> None:
    """Write raw EMG in mV, ahead of the simulation, with hum and electrode offset, over ten gait cycles."""
    rate = 1000.0
    time = np.arange(0.0, 10.0 * cycle["period_s"].iloc[0], 1.0 / rate)
    rng = np.random.default_rng(seed)
    columns = {"time": time}
    for number, muscle in enumerate(MUSCLES, start=1):
        envelope = _at(cycle, muscle, time + AHEAD, strike)
        signal = rng.uniform(0.2, 0.3) * raw_emg(envelope, rate, seed=100 * seed + number)
        if (person, number) == DEAD:
            signal = 0.0 * time
        noise = 0.001 * rng.standard_normal(time.size) + 0.02 * np.sin(2.0 * np.pi * 50.0 * time)
        columns[f"EMG {number}"] = signal + noise + rng.uniform(-0.05, 0.05)
    pd.DataFrame(columns).to_csv(path, index=False, float_format="%.5f")


@pytest.fixture(scope="module")
def walkthrough(laboratory, repository):
    """Return functions that do a step of the text (write its files, run its command), and run another command."""
    text = (repository / "docs" / "from_recordings.md").read_text()
    steps = re.split(r"^## \d+\. .*$", text, flags=re.MULTILINE)
    bin_folder = laboratory / "bin"
    bin_folder.mkdir()
    (bin_folder / "opensim-nem2e").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m opensim_nem2e "$@"\n')
    (bin_folder / "opensim-nem2e").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(repository), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": "1",
    }

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=laboratory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def do(step: int) -> str:
        files = re.findall(r"<!-- file (\S+) -->\n```\w+\n(.*?)```", steps[step], re.DOTALL)
        for pattern, content in files:
            name = Path(pattern).name
            folders = laboratory.glob(str(Path(pattern).parent)) if "*" in pattern else [laboratory]
            for folder in folders:
                (folder / name).write_text(content)
        ((number, command),) = re.findall(r"<!-- command (\d) -->\n```bash\n(.*?)```", steps[step], re.DOTALL)
        assert int(number) == step
        return run(command)

    return do, run


@pytest.mark.slow
def test_from_raw_emg_to_refined_activations(walkthrough, laboratory):
    step, run = walkthrough
    # Envelopes.
    said = step(1)
    assert said.count("taken for raw EMG") == len(PEOPLE) * len(TRIALS)
    assert "mains hum" not in said
    step(2)
    said = step(3)
    assert "8 gait cycles of 4 subjects, 5 EMG channels." in said
    study = laboratory / "study"
    with (study / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["side"] for row in rows} == {"r"}

    # The lag of every trial is proposed, the dead channel found, and nothing is called an error.
    said = step(4)
    assert "8 cycles examined: 0 errors" in said
    proposed = re.findall(r"set emg_time_offset_s to ([+-][\d.]+)", said)
    assert len(proposed) == len(rows)
    assert np.array(proposed, dtype=float) == pytest.approx(-AHEAD, abs=0.021)
    others = [line for line in said.splitlines() if line.startswith("[warn]") and "] lag: " not in line]
    assert len(others) == len(TRIALS)
    assert all(re.match(r"\[warn\] flat: .*subject04/emg/walk\d_emg\.sto: vaslat_r: ", line) for line in others)
    assert (laboratory / "check" / "check.html").stat().st_size > 100_000

    # That subject goes without it; the others keep theirs.
    channels = study / "subject04" / "channels.csv"
    channels.write_text(channels.read_text().replace("EMG 4,vaslat_r\n", ""))
    said = run("opensim-nem2e run study/subject04/setup_emg.xml && opensim-nem2e check study/trials.csv")
    assert "flat" not in said
    assert "missing in 1 of 1 EMG files: vaslat_r. (And 1 more like this.) Remedy: these cycles go without it." in said

    # Training learns the lag: a good part of OpenSim's error is gone on subjects who were left out.
    step(5)
    bundle = Bundle.load(laboratory / "training" / "mylab.safetensors")
    validation = bundle.metadata["validation"]["leave_one_subject_out"]
    assert {muscle: row["subjects"] for muscle, row in validation.items() if muscle != "ALL"} == {
        **dict.fromkeys(("soleus", "gasmed", "tib", "sem"), 4),
        "vaslat": 3,
    }
    assert validation["ALL"]["E_refined"] < 0.6 * validation["ALL"]["E_opensim"]

    # And the refined files are whole: same rows, other activations.
    said = step(6)
    assert "Results are in" in said
    before = read_storage(laboratory / "new" / "cmc" / "walking_states.sto")
    after = read_storage(laboratory / "refined" / "walk1_refined_states.sto")
    assert after.labels == before.labels
    assert np.array_equal(after.time, before.time)
    changed = [
        label for k, label in enumerate(before.labels) if not np.array_equal(before.data[:, k], after.data[:, k])
    ]
    assert {"/forceset/soleus_r/activation", "/forceset/vaslat_l/activation"} <= set(changed)
    # The fibers follow the activations.
    assert all(label.endswith(("/activation", "/fiber_length")) for label in changed)
