"""What calibrating a network to a person gains, against honest baselines, on real recordings.

    python benchmarks/calibration.py [--condition One-Entire] [--draws 10] [--tuned-draws 1] [--jobs 2] [--case run81]

The environment variable OPENSIM_NEM2E_DATA names the folder with the recordings (their ``trials.csv`` and
``emg_channels.csv``). For every person, networks (preset ``fast``) are trained on the healthy other people. They are
calibrated on 1, 3 and 10 strides of one trial, drawn at random, and judged on the trial's other strides; nothing of
these is used before. As in real life the person's EMG maximum is taken from the calibration strides only. Errors are E
(RMSE over the cycle) in units of the maximum over all strides, so that they can be compared.

"closed form" is the method without trying to fine-tune, "calibrated" all of it (seconds per muscle and draw, hence the
smaller number of draws).

The last block calibrates on strides of walking and running together, and shows what calibrating to one motion does to
another. ``PRIOR_STRIDES`` is estimated with each person left out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import pandas as pd
from recordings import DATA

from opensim_nem2e.data.cycle_view import CONDITIONS, Condition
from opensim_nem2e.data.gait_cycles import CycleData, MuscleCycles, read_gait_cycles
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.stdr.calibrate import FINE_TUNING, PRIOR_STRIDES, calibrate, shrink_to_subject
from opensim_nem2e.methods.stdr.fit_linear import fit_linear
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.methods.stdr.method import plan_network
from opensim_nem2e.methods.stdr.network import Network
from opensim_nem2e.training.trainer import train_task

#: The child with cerebral palsy is no training subject, as in the shipped bundle.
NOT_TRAINED_ON = ("cp_subject1",)


class Case(NamedTuple):
    """A person's strides that are drawn from: one trial, or where each trial is one cycle, one side."""

    subject: str
    trials: tuple[str, ...]
    side: str

    def __str__(self) -> str:
        return f"{self.subject} {'+'.join(self.trials)}".strip()


CASES = (
    Case("uhlrich_sub1", ("walking_baseline1",), "l"),
    Case("ceinms_S06", ("walk36",), "r"),
    Case("ceinms_S06", ("walk45",), "r"),
    Case("ceinms_S06", ("run81",), "r"),
    Case("falisse_subject1", (), "r"),
    Case("cp_subject1", (), "r"),
)
MIXED = Case("ceinms_S06", ("walk36", "walk45", "run81"), "r")


def cycles_of(condition: Condition) -> CycleData:
    """Read all strides with static optimisation, EMG as measured."""
    trials = [trial for trial in read_trials(DATA / "trials.csv") if trial.activation_source == "so"]
    return read_gait_cycles(
        trials,
        read_channels(DATA / "emg_channels.csv"),
        condition=condition,
        emg_normalization="none",
        shared_channels=False,
    )


def refine(network: Network, x: np.ndarray) -> np.ndarray:
    """Estimate EMG."""
    return network.predict({"activation": x}).values


def in_units_of_the_maximum(data: MuscleCycles, step: int) -> MuscleCycles:
    """Divide EMG by its maximum over each person's cycles of one motion and side."""
    y = data.y.copy()
    groups = np.array([f"{trial.subject}/{trial.motion}/{trial.side}" for trial in data.records])
    for group in set(groups.tolist()):
        y[groups == group] /= y[groups == group][:, ::step].max()
    return replace(data, y=y)


def networks_without(subject: str, cycles: CycleData) -> dict[str, Network]:
    """Train a network for every muscle on the healthy other people."""
    view, sets, options = cycles.view, {}, STDROptions()
    for target in cycles.muscles:
        data = cycles.cycles(target)
        rest, _ = in_units_of_the_maximum(data, view.windows).leave_out([subject, *NOT_TRAINED_ON])
        if subject in data.subjects and len(set(rest.subjects.tolist())) > 1:
            sets[target] = rest
    found = {}
    for target, fit in fit_linear(sets, view).items():
        plan = plan_network(sets[target], view, options, RunSettings(), fit)
        assert plan.task is not None
        found[target] = plan.finish(train_task(plan.task))
    return found


def strides_of(case: Case, data: MuscleCycles) -> MuscleCycles:
    """Select a case's strides."""
    chosen = [
        trial.subject == case.subject and trial.side == case.side and (not case.trials or trial.trial in case.trials)
        for trial in data.records
    ]
    return data.select(np.array(chosen))


def drawn(data: MuscleCycles, count: int, per_trial: bool, random: np.random.Generator) -> np.ndarray:
    """Draw strides; of each trial the same number where there are several."""
    trials = np.array([trial.trial if per_trial else "" for trial in data.records])
    picked = [random.permutation(np.flatnonzero(trials == name))[:count] for name in sorted(set(trials.tolist()))]
    rows = np.zeros(len(trials), dtype=bool)
    rows[np.concatenate(picked)] = True
    return rows


def judge(network: Network, data: MuscleCycles, rows: np.ndarray, judged: np.ndarray, tune: bool) -> dict:
    """Calibrate on some strides, and take the errors on others; nothing where the EMG is never above zero."""
    step = network.view.windows
    scale, unit = data.y[rows][:, ::step].max(), data.y[:, ::step].max()
    if scale <= 0:
        return {}
    known, test = data.select(rows), data.select(judged)
    known = replace(known, y=known.y / scale)
    closed = shrink_to_subject(network, known)
    estimates = {
        "OpenSim": test.own,
        "uncalibrated": refine(network, test.x),
        "mean of strides": known.y.mean(axis=0) * scale / unit,
        "closed form": refine(closed, test.x) * scale / unit,
    }
    about: dict = {}
    if tune:
        found = calibrate(network, known, FINE_TUNING, RunSettings())
        estimates["calibrated"] = refine(found.network, test.x) * scale / unit
        about["fine-tuned"] = float(found.epochs > 0)
    y = test.y[:, ::step] / unit
    errors = {
        name: float(np.sqrt(((np.broadcast_to(values, test.y.shape)[:, ::step] - y) ** 2).mean(axis=1)).mean())
        for name, values in estimates.items()
    }
    return {**about, **errors}


def run_person(subject: str, options: argparse.Namespace) -> list[dict]:
    """Do everything for one person."""
    logging.disable(logging.CRITICAL)
    cycles = cycles_of(options.condition)
    networks = networks_without(subject, cycles)
    cases = [case for case in (*CASES, MIXED) if case.subject == subject and options.case in str(case)]
    rows: list[dict] = []
    for target, network in networks.items():
        for case in cases:
            data = strides_of(case, cycles.cycles(target))
            for count in (1, 3) if case == MIXED else (1, 3, 10):
                total = count * (len(case.trials) if case == MIXED else 1)
                # Nothing is left to be judged on, or this muscle was not recorded.
                if total >= len(data.records):
                    continue
                # The same strides for all muscles.
                random = np.random.default_rng([options.seed, count])
                for draw in range(options.draws):
                    known = drawn(data, count, case == MIXED, random)
                    found = judge(network, data, known, ~known, draw < options.tuned_draws)
                    about = {"judged on": str(case), "calibrated on": str(case), "strides": total, "draw": draw}
                    rows.append({**about, "muscle": target, **found})
        if MIXED in cases:
            data = strides_of(MIXED, cycles.cycles(target))
            rows += [{"muscle": target, **row} for row in transfers(network, data, options)]
    return [row for row in rows if "closed form" in row]


def transfers(network: Network, data: MuscleCycles, options: argparse.Namespace) -> Iterable[dict]:
    """Calibrate to one trial, judge another."""
    trials = np.array([trial.trial for trial in data.records])
    for one, other in (("walk45", "walk36"), ("walk45", "run81"), ("run81", "walk45")):
        random = np.random.default_rng([options.seed, 3])
        for draw in range(options.draws):
            known = np.zeros(len(trials), dtype=bool)
            known[random.permutation(np.flatnonzero(trials == one))[:3]] = True
            found = judge(network, data, known, trials == other, tune=False)
            names = {"judged on": f"{MIXED.subject} {other}", "calibrated on": f"{MIXED.subject} {one}"}
            yield {**names, "strides": 3, "draw": draw, **found}


def prior_strides(condition: Condition) -> dict[str, float]:
    """Estimate the ratio of variances behind PRIOR_STRIDES with each person left out."""
    cycles = cycles_of(condition)
    within: dict[str, list[float]] = {}
    between: dict[str, list[float]] = {}
    for subject in dict.fromkeys(case.subject for case in CASES):
        networks = networks_without(subject, cycles)
        for target, network in networks.items():
            data = in_units_of_the_maximum(cycles.cycles(target), cycles.view.windows)
            for motion in ("walk", "run"):
                own = data.select(
                    np.array([trial.subject == subject and trial.motion == motion for trial in data.records])
                )
                if len(own.y) < 3:
                    continue
                estimate = refine(network, own.x)
                within.setdefault(subject, []).append(float(own.y.var(axis=0, ddof=1).mean()))
                between.setdefault(subject, []).append(
                    float(((own.y.mean(axis=0) - estimate.mean(axis=0)) ** 2).mean())
                )

    def ratio(people: Sequence[str]) -> float:
        sums = [np.mean([value for subject in people for value in found[subject]]) for found in (within, between)]
        return float(sums[0] / sums[1])

    return {subject: ratio([other for other in within if other != subject]) for subject in within}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--condition", default="One-Entire", choices=CONDITIONS)
    parser.add_argument("--draws", type=int, default=10, help="random draws of strides")
    parser.add_argument("--tuned-draws", type=int, default=1, help="draws in which fine-tuning is tried, too")
    parser.add_argument("--jobs", type=int, default=2, help="people at once")
    parser.add_argument("--case", default="", help="only cases whose name holds this text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if not options.case:
        estimates = ", ".join(f"{name} {value:.2f}" for name, value in prior_strides(options.condition).items())
        print(f"PRIOR_STRIDES is {PRIOR_STRIDES}; estimated with each person left out: {estimates}.\n", flush=True)
    people = dict.fromkeys(case.subject for case in (*CASES, MIXED) if options.case in str(case))
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as executor:
        futures = [executor.submit(run_person, subject, options) for subject in people]
        table = pd.DataFrame([row for future in futures for row in future.result()])
    errors = ["OpenSim", "uncalibrated", "mean of strides", "closed form", "calibrated"]
    errors = [name for name in errors if name in table]
    groups = ["judged on", "calibrated on", "strides"]
    # Mean over muscles for every draw; the spread is that of the draws.
    by_draw = table.groupby([*groups, "draw"], sort=False)[errors].mean().groupby(groups, sort=False)
    mean, spread = by_draw.mean(), by_draw.std()
    shown = mean.map("{:.3f}".format) + spread.map(lambda value: "" if np.isnan(value) else f" ± {value:.3f}")
    if "fine-tuned" in table:
        shown["fine-tuned"] = table.groupby(groups, sort=False)["fine-tuned"].mean().map("{:.0%}".format)
    print(f"E ({options.condition}): mean over muscles, then mean ± standard deviation over the draws.\n")
    print(shown.to_string())


if __name__ == "__main__":
    main()
