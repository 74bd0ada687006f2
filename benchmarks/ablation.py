"""What makes the networks better on people they have not seen: the parts of the preset ``fast``, one by one.

    python benchmarks/ablation.py [--seeds 3] [--motions walk] [--emg-normalization subject_max]

The environment variable OPENSIM_NEM2E_DATA names the folder with the recordings (their ``trials.csv`` and
``emg_channels.csv``; static optimisation is used). Every row leaves out one person at a time; the figures are the mean
over people of the mean over muscles of Er = E / E_opensim - 1, and the mean E.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
from recordings import DATA

from opensim_nem2e.data.cycle_view import CONDITIONS
from opensim_nem2e.data.gait_cycles import CycleData, MuscleCycles, read_gait_cycles
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.data.samples import Samples
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.registry import BASELINES, find_method
from opensim_nem2e.methods.stdr.fit_linear import fit_linear
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.signals.compare import cycle_errors
from opensim_nem2e.training.trainer import train_task

#: Estimates by muscle and person.
Estimates = dict[tuple[str, str], np.ndarray]

#: Networks without a linear part, as they were before there was one.
PLAIN = {"hidden_units": 64, "epochs": 30}


def folds(data: CycleData) -> Iterator[tuple[str, Samples, dict[str, MuscleCycles]]]:
    """Leave one person out of all muscles."""
    for person, train, test in data.samples.folds():
        cycles = {muscle: MuscleCycles.of(test, muscle, data.view) for muscle in data.muscles}
        known = {muscle for muscle in data.muscles if MuscleCycles.of(train, muscle, data.view).records}
        yield person, train, {muscle: one for muscle, one in cycles.items() if one.records and muscle in known}


def baseline(data: CycleData, key: str) -> Estimates:
    """Fit a baseline."""
    found, method = {}, find_method(key)
    for person, train, test in folds(data):
        for muscle, cycles in test.items():
            fitted = method.plan(train, muscle, data.view, method.options(), RunSettings()).finish(None)
            x = cycles.x if fitted.inputs == cycles.inputs else cycles.own[:, :, None]
            found[muscle, person] = fitted.predict({"activation": x}).values
    return found


def linear_part(data: CycleData) -> Estimates:
    """Predict by the linear part alone."""
    found = {}
    for person, train, test in folds(data):
        fits = fit_linear({muscle: MuscleCycles.of(train, muscle, data.view) for muscle in data.muscles}, data.view)
        for muscle, cycles in test.items():
            found[muscle, person] = np.maximum(fits[muscle].constant + fits[muscle].part.predict(cycles.x), 0)
    return found


def networks(data: CycleData, options: STDROptions, seeds: int) -> list[Estimates]:
    """Train the networks of all muscles and people, once with each seed."""
    method = find_method("stdr_net")
    found: list[Estimates] = [{} for _ in range(seeds)]
    for person, train, test in folds(data):
        common = method.common(train, data.view, options)
        for muscle, cycles in test.items():
            for seed in range(seeds):
                plan = method.plan(train, muscle, data.view, options, RunSettings(seed), common)
                assert plan.task is not None
                network = plan.finish(train_task(plan.task))
                found[seed][muscle, person] = network.predict({"activation": cycles.x}).values
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


def show(name: str, data: CycleData, *found: Estimates) -> None:
    """Print a row; the spread is over seeds."""
    rates, errors = [], []
    for estimates in found:
        rows: dict[str, list[float]] = {}
        every = []
        for (target, person), y in estimates.items():
            test = data.cycles(target).leave_out([person])[1]
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
    parser.add_argument("--conditions", nargs="+", default=["One-Entire", "All-Entire"], choices=CONDITIONS[1:])
    options = parser.parse_args()
    trials = [
        trial
        for trial in read_trials(DATA / "trials.csv")
        if trial.activation_source == "so" and trial.motion in options.motions
    ]
    for condition in options.conditions:
        data = read_gait_cycles(
            trials,
            read_channels(DATA / "emg_channels.csv"),
            condition=condition,
            emg_normalization=options.emg_normalization,
            shared_channels=False,
        )
        print(condition)
        for key in BASELINES:
            show(f"  baseline {key}", data, baseline(data, key))
        for output in ("emg", "deviation"):
            how = STDROptions(network_output=output, **PLAIN)
            show(f"  network, output {output} (64 units, 30 epochs)", data, *networks(data, how, options.seeds))
        for part in ("sharing", "shape"):
            with without(part):
                show(f"  linear part without {part}", data, linear_part(data))
        show("  linear part", data, linear_part(data))
        for weight in (0.25, 0.5, 1.0):
            how = STDROptions(correction_weight=weight)
            name = f"  linear part and network, weight {weight:g}"
            show(name, data, *networks(data, how, options.seeds))


if __name__ == "__main__":
    main()
