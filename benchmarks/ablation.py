"""What makes the networks better on people they have not seen: the parts of the preset ``fast``, one by one.

    python benchmarks/ablation.py [--seeds 3] [--motions walk] [--emg-normalization subject_max]

The environment variable OPENSIM_NEM2E_DATA names the folder with the recordings (their ``trials.csv`` and
``emg_channels.csv``; static optimisation is used). Every row leaves out one person at a time; the figures are the mean
over people of the mean over muscles of Er = E / E_opensim - 1, and the mean E.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
from recordings import DATA

from opensim_nem2e.data.gait_cycles import TargetData, build_dataset
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.methods.baselines import BASELINES
from opensim_nem2e.methods.stdr.conditions import Condition
from opensim_nem2e.methods.stdr.fit_linear import fit_linear
from opensim_nem2e.methods.stdr.method import Recipe, estimate, fit_linear_parts, plan_target
from opensim_nem2e.signals.compare import cycle_errors
from opensim_nem2e.tools.stdr_train import STDRTrainTool
from opensim_nem2e.tools.training_properties import recipe_of
from opensim_nem2e.training.trainer import train_task

Sets = Mapping[str, TargetData]
#: Estimates by muscle and person.
Estimates = dict[tuple[str, str], np.ndarray]

#: Networks without a linear part, as they were before there was one.
PLAIN = {"hidden_units": 64, "epochs": 30}


def recipe(condition: Condition, seed: int = 0, **settings: object) -> Recipe:
    """Take the settings of ``fast``, some of them changed."""
    tool = STDRTrainTool()
    for name, value in settings.items():
        setattr(tool, name, value)
    return recipe_of(tool, condition, seed)


def folds(sets: Sets) -> Iterator[tuple[str, dict[str, TargetData], dict[str, TargetData]]]:
    """Leave one person out of all muscles."""
    for person in dict.fromkeys(subject for data in sets.values() for subject in data.subjects.tolist()):
        parts = {target: data.leave_out([person]) for target, data in sets.items()}
        train = {target: rest for target, (rest, _) in parts.items() if rest.trials}
        yield person, train, {target: out for target, (_, out) in parts.items() if out.trials and target in train}


def baseline(sets: Sets, condition: Condition, name: str) -> Estimates:
    """Fit a baseline."""
    return {
        (target, person): BASELINES[name](train[target], condition, 20).estimate(data)
        for person, train, test in folds(sets)
        for target, data in test.items()
    }


def linear_part(sets: Sets, condition: Condition) -> Estimates:
    """Predict by the linear part alone."""
    found = {}
    for person, train, test in folds(sets):
        fits = fit_linear(train, condition, 20)
        for target, data in test.items():
            found[target, person] = np.maximum(fits[target].constant + fits[target].part.predict(data.x), 0)
    return found


def networks(sets: Sets, how: Recipe, seeds: int) -> list[Estimates]:
    """Train the networks of all muscles and people, once with each seed."""
    plans = []
    for person, train, test in folds(sets):
        linear = fit_linear_parts(train, how)
        for target, data in test.items():
            plans.append(((target, person), data, plan_target(train[target], how, linear.get(target))))
    found = []
    for seed in range(seeds):
        tasks = [replace(plan.task, settings=replace(plan.task.settings, seed=seed)) for _, _, plan in plans]
        trained = [train_task(task) for task in tasks]
        pairs = zip(plans, trained, strict=True)
        found.append({key: estimate(plan.network(one), data, how) for (key, data, plan), one in pairs})
    return found


@contextmanager
def without(part: str) -> Iterator[None]:
    """Leave something out of the linear part."""
    where = "opensim_nem2e.methods.stdr.fit_linear"
    if part == "sharing":
        with mock.patch(f"{where}.LAG_PENALTY", 1e12):
            yield
    else:
        # The shape is then the activation itself.
        with (
            mock.patch(f"{where}.shape_of", np.asarray),
            mock.patch("opensim_nem2e.methods.stdr.linear_part.shape_of", np.asarray),
        ):
            yield


def show(name: str, sets: Sets, *found: Estimates) -> None:
    """Print a row; the spread is over seeds."""
    rates, errors = [], []
    for estimates in found:
        rows: dict[str, list[float]] = {}
        every = []
        for (target, person), y in estimates.items():
            test = sets[target].leave_out([person])[1]
            error = cycle_errors(y, test.y).mean()
            rows.setdefault(person, []).append(error / cycle_errors(test.own, test.y).mean() - 1)
            every.append(error)
        rates.append(np.mean([np.mean(values) for values in rows.values()]))
        errors.append(np.mean(every))
    spread = f" +- {np.std(rates):.3f}" if len(rates) > 1 else ""
    print(f"{name:58} Er {np.mean(rates):+.3f}{spread:9} E {np.mean(errors):.4f}", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--motions", nargs="+", default=["walk"])
    parser.add_argument("--emg-normalization", default="subject_max", choices=("subject_max", "trial_max"))
    options = parser.parse_args()
    trials = [
        trial
        for trial in read_trials(DATA / "trials.csv")
        if trial.activation_source == "so" and trial.motion in options.motions
    ]
    for condition, inputs in (("One-Entire", "own"), ("All-Entire", "all")):
        sets = build_dataset(
            trials,
            read_channels(DATA / "emg_channels.csv"),
            inputs=inputs,
            emg_normalization=options.emg_normalization,
            shared_channels=False,
        ).targets
        print(condition)
        for name in BASELINES:
            show(f"  baseline {name}", sets, baseline(sets, condition, name))
        for output in ("emg", "deviation"):
            how = recipe(condition, network_output=output, **PLAIN)
            show(f"  network, output {output} (64 units, 30 epochs)", sets, *networks(sets, how, options.seeds))
        for part in ("sharing", "shape"):
            with without(part):
                show(f"  linear part without {part}", sets, linear_part(sets, condition))
        show("  linear part", sets, linear_part(sets, condition))
        for weight in (0.25, 0.5, 1.0):
            how = recipe(condition, correction_weight=weight)
            name = f"  linear part and network, weight {weight:g}"
            show(name, sets, *networks(sets, how, options.seeds))


if __name__ == "__main__":
    main()
