"""Compare the presets ``fast`` and ``paper``: error on people left out, in the same folds, and the time they take.

    python benchmarks/presets.py [--muscles soleus rect bi vaslat] [--results presets.jsonl] [--time-only]

The environment variable OPENSIM_NEM2E_DATA names the folder with the recordings (their ``trials.csv`` and
``emg_channels.csv``). A network of the paper's size takes minutes, so the comparison is made on 17 strides of five
people (condition One-Entire), one network per muscle and person left out. Results are kept, line by line, in a file
from which an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from recordings import DATA
from scipy import stats

from opensim_nem2e.data.gait_cycles import CycleData, MuscleCycles, read_gait_cycles
from opensim_nem2e.data.manifest import CycleRecord, read_channels, read_trials
from opensim_nem2e.evaluation.bundle_training import COMPARED, subject_errors
from opensim_nem2e.methods.base import Common, Plan, RunSettings
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.training.task import Task
from opensim_nem2e.training.trainer import train_task

METHOD = find_method("stdr_net")

#: Strides by trial: at most four of a person, spread over the recording.
STRIDES = {
    "walk45": "3 9",
    "walk36": "3 9",
    "walking_baseline1": "3 8 13 18",
    "walk": "1",
    **{f"gait_cycle{k:02d}": "1" for k in (1, 3, 5, 7)},
    **{f"gait_{side}_cycle{k:02d}": "1" for side in "rl" for k in (1, 2)},
}

#: Steps of ``paper`` that are timed.
STEPS = 40


def subset() -> list[CycleRecord]:
    """Choose the strides."""
    return [
        trial
        for trial in read_trials(DATA / "trials.csv")
        if trial.activation_source == "so" and trial.stride in STRIDES.get(trial.trial, "").split()
    ]


class Folds:
    """People left out in turn, and what is fitted without them."""

    def __init__(self, data: CycleData, preset: str):
        self.data, self.options = data, STDROptions.of_preset(preset)
        self._common: dict[str, Common | None] = {}

    def plan(self, muscle: str, subject: str) -> Plan:
        """Prepare a training without a subject."""
        train, _ = self.data.samples.leave_out([subject])
        if subject not in self._common:
            self._common[subject] = METHOD.common(train, self.data.view, self.options)
        return METHOD.plan(train, muscle, self.data.view, self.options, RunSettings(), self._common[subject])

    def task(self, muscle: str, subject: str) -> Task:
        """Take the training itself."""
        task = self.plan(muscle, subject).task
        assert task is not None
        return task


def compare(data: CycleData, muscles: list[str], results: Path) -> Iterator[dict]:
    """Train every network of both presets that the file does not have yet."""
    done = {}
    if results.exists():
        done = {(row["preset"], row["target"], row["subject"]): row for row in map(json.loads, results.open())}
    folds = {preset: Folds(data, preset) for preset in ("fast", "paper")}
    for target in muscles:
        for subject in dict.fromkeys(data.cycles(target).subjects.tolist()):
            for preset, made in folds.items():
                key = (preset, target, subject)
                if key not in done:
                    start = time.process_time()
                    plan = made.plan(target, subject)
                    assert plan.task is not None
                    network = plan.finish(train_task(plan.task))
                    seconds = time.process_time() - start
                    train, test = data.samples.leave_out([subject])
                    methods = {name: find_method(name) for name in COMPARED}
                    beside = {
                        name: method.plan(train, target, data.view, method.options(), RunSettings()).finish(None)
                        for name, method in methods.items()
                    }
                    cycles = MuscleCycles.of(test, target, data.view)
                    (errors,) = subject_errors(cycles, data.view, network, beside)
                    done[key] = {"preset": preset, **asdict(errors), "seconds": seconds}
                    with results.open("a") as stream:
                        stream.write(json.dumps(done[key]) + "\n")
            pair = {preset: done[preset, target, subject] for preset in folds}
            yield {"muscle": target, "person": subject, **pair["fast"], "paper": pair["paper"]["refined"]}


def report(rows: list[dict]) -> None:
    """Print the paired comparison."""
    print(f"{'muscle':8} {'person':24} {'E_opensim':>9} {'mean':>7} {'ridge':>7} {'paper':>7} {'fast':>7}")
    for row in rows:
        figures = "  ".join(f"{row[name]:.3f}" for name in ("mean", "ridge", "paper", "refined"))
        print(f"{row['muscle']:8} {row['person']:24} {row['opensim']:9.3f}   {figures}")
    difference = np.array([(row["refined"] - row["paper"]) / row["opensim"] for row in rows])
    people = sorted({row["person"] for row in rows})
    means = [difference[[row["person"] == person for row in rows]].mean() for person in people]
    for what, values in ((f"{len(rows)} networks", difference), (f"{len(people)} people", np.array(means))):
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        print(f"Er(fast) - Er(paper), mean over {what}: {values.mean():+.3f}, 95 % CI {low:+.3f} to {high:+.3f}")


def timed(work: Callable[[], object]) -> float:
    """Measure processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def times(data: CycleData) -> None:
    """Print what a network of each preset takes, on one thread; ``paper`` from its first steps."""
    target, subject = "soleus", data.cycles("soleus").subjects[0]
    fast, paper = (Folds(data, preset) for preset in ("fast", "paper"))
    task = paper.task(target, subject)
    few = replace(task, data={name: array[:1] for name, array in task.data.items()})
    some = [replace(few, settings=replace(few.settings, epochs=count)) for count in (5, 5 + STEPS)]
    train_task(fast.task(target, subject))  # PyTorch warms up.
    short, long = (timed(lambda task=task: train_task(task)) for task in some)
    step = (long - short) / STEPS
    strides = len(task.data["y"])
    steps = task.settings.epochs * strides
    seconds = timed(lambda: train_task(fast.task(target, subject)))
    print(
        f"One network on {strides} strides: fast {seconds:.2f} s; paper {steps} steps of {1e3 * step:.0f} ms, "
        f"{steps * step:.0f} s: {steps * step / seconds:.0f} x."
    )
    rest, _ = data.samples.leave_out([subject])
    shared = timed(lambda: METHOD.common(rest, data.view, fast.options))
    print(f"fast also fits the linear part, once for all {len(data.muscles)} muscles of a fold: {shared:.2f} s.")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--muscles", nargs="+", default=["soleus", "rect", "bi", "vaslat"])
    parser.add_argument("--results", type=Path, default=Path("presets.jsonl"))
    parser.add_argument("--time-only", action="store_true", help="do not train networks of the paper's size")
    options = parser.parse_args()
    data = read_gait_cycles(subset(), read_channels(DATA / "emg_channels.csv"), shared_channels=False)
    times(data)
    if not options.time_only:
        report(list(compare(data, options.muscles, options.results)))


if __name__ == "__main__":
    main()
