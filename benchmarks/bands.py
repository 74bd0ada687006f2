"""Coverage of the bands, and who is told to be outside the training subjects' range, on people left out altogether.

    python benchmarks/bands.py [--methods mean ridge]

For each laboratory, then for each subject, everything is repeated without them: the method is learned, its bands are
calibrated on the other laboratories (each left out in turn), the range of the training cycles is taken. The cycles of
those left out are then compared with it. Cycles that are no gait must be told to be outside. The environment variables
OPENSIM_NEM2E_DATA and OPENSIM_NEM2E_MORE_DATA name the folders with the recordings. Methods that train networks take
hours here; what a bundle says of its own bands (``bands.coverage`` in its metadata) is the same but that its bands were
calibrated on estimates that had seen the laboratory by which they are judged.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from recordings import read_recordings

from opensim_nem2e.data.gait_cycles import CycleData, MuscleCycles, read_gait_cycles
from opensim_nem2e.data.samples import Samples
from opensim_nem2e.evaluation.band_calibration import LeftOut, calibrate_bands, coverage_row
from opensim_nem2e.evaluation.bundle_training import left_out_estimates
from opensim_nem2e.evaluation.measured_range import looks, training_range
from opensim_nem2e.methods.base import Method, RunSettings
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.training_range import Look, TrainingRange
from opensim_nem2e.storage.muscles import PAPER_MUSCLES


def cycles() -> CycleData:
    """Take all healthy subjects: walking, turns and running, of static optimisation."""
    trials, channels = read_recordings()
    chosen = [row for row in trials if row.dataset != "cp_child" and row.activation_source == "so"]
    return read_gait_cycles(chosen, channels, targets=PAPER_MUSCLES, emg_normalization="trial_max")


def groups(samples: Samples, which: str) -> dict[str, list[str]]:
    """List the subjects of each laboratory, or of each subject."""
    found: dict[str, list[str]] = {}
    for record in samples.records:
        names = found.setdefault(getattr(record, which), [])
        if record.subject not in names:
            names.append(record.subject)
    return found


def estimates(data: CycleData, method: Method, without: list[str], subjects: list[str]) -> list[LeftOut]:
    """Learn without some subjects and estimate the cycles of some of them."""
    train, _ = data.samples.leave_out(without)
    _, test = data.samples.leave_out(subjects)
    options, found = method.options(), []
    common = method.common(train, data.view, options)
    for muscle in data.muscles:
        cycles = MuscleCycles.of(test, muscle, data.view)
        if cycles.records and MuscleCycles.of(train, muscle, data.view).records:
            plan = method.plan(train, muscle, data.view, options, RunSettings(), common)
            found += left_out_estimates(cycles, plan.finish(None))
    return found


def coverage(data: CycleData, key: str, which: str) -> None:
    """Print how much of the EMG of those left out lies within bands that know nothing of them."""
    method, shares = find_method(key), []
    print(f"\n{key}: bands of 90 % for each {which} left out\n{which:24s} subjects  coverage  width  factor")
    laboratories = groups(data.samples, "dataset").values()
    for name, out in groups(data.samples, which).items():
        parts = [[subject for subject in own if subject not in out] for own in laboratories]
        known = [item for part in parts if part for item in estimates(data, method, [*out, *part], part)]
        bands = calibrate_bands(known, data.muscles, (0.0, 1.0))
        assert bands is not None
        row = coverage_row(bands, estimates(data, method, out, out), name)
        shares.append(row["coverage"])
        print(f"{name:24s} {len(out):8d}  {row['coverage']:8.3f}  {row['width']:5.2f}  {bands.factor:6.2f}", flush=True)
    print(f"{'mean':24s} {'':8s}  {np.mean(shares):8.3f}   least {min(shares):.3f}")


def flagged(data: CycleData, which: str) -> None:
    """Print how many cycles of those left out are told to be outside the range of the others."""
    print(f"\nOutside the range of the others, by {which} left out\n{which:24s} motion  cycles  outside  why")
    total: Counter[str] = Counter()
    for name, subjects in groups(data.samples, which).items():
        rest, own = data.samples.leave_out(subjects)
        known = training_range(rest, data.view)
        assert known is not None
        shown = {record.motion for record in rest.records}
        counts: dict[str, Counter[str]] = {}
        for record, look in zip(own.records, looks(own, data.view), strict=True):
            kind = "" if record.motion in shown else " (nobody else's)"
            count = counts.setdefault(record.motion + kind, Counter())
            reasons = [measure.name for measure in known.judge(look) if measure.outside]
            count.update(cycles=1, outside=bool(reasons), **Counter(reasons))
        for motion, count in counts.items():
            why = ", ".join(f"{reason} {count[reason]}" for reason in count if reason not in ("cycles", "outside"))
            print(f"{name:24s} {motion:6s}  {count['cycles']:6d}  {count['outside']:7d}  {why}")
            if "else" not in motion:
                total.update(cycles=count["cycles"], outside=count["outside"])
    share = total["outside"] / total["cycles"]
    print(f"In motions that others show: {total['outside']} of {total['cycles']} cycles ({100 * share:.1f} %)")


def strange(known: TrainingRange, walk: Look, random: np.random.Generator) -> dict[str, Look]:
    """Make cycles that are no walk of anybody."""
    shape = walk.activations.shape
    assert walk.angles is not None
    posture = np.repeat(walk.angles.mean(axis=1, keepdims=True), shape[1], axis=1)
    sway = np.cumsum(random.normal(0.0, 0.004, shape), axis=1)
    swing = np.cumsum(random.normal(0.0, 0.2, posture.shape), axis=1)
    lifting = np.stack([0.1 + 0.3 * np.sin(np.pi * np.linspace(0, 1, shape[1])) ** 2] * shape[0])
    return {
        "standing, with sway": Look(1.1, None, 0.05 + np.abs(sway), posture + swing),
        "standing, no motion given": Look(1.1, None, 0.05 + np.abs(sway)),
        "sprint (2.2 strides/s, no motion given)": Look(0.45, None, walk.activations),
        "sprint of 8 m/s": Look(0.5, 8.0, walk.activations, walk.angles),
        "random numbers": Look(1.1, None, random.random(shape)),
        "random curves": Look(1.1, None, np.abs(np.cumsum(random.normal(size=shape), axis=1)) / 10),
        "muscles of an arm under these names": Look(1.1, None, random.permutation(walk.activations)),
        "all muscles together, as in lifting": Look(1.1, None, lifting),
        "half a cycle late": Look(1.1, None, np.roll(walk.activations, shape[1] // 2, axis=1)),
    }


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="*", default=["mean", "ridge"])
    chosen = parser.parse_args().methods
    data = cycles()
    for key in chosen:
        for which in ("dataset", "subject"):
            coverage(data, key, which)
    for which in ("dataset", "subject"):
        flagged(data, which)
    known = training_range(data.samples, data.view)
    assert known is not None
    random = np.random.default_rng(0)
    walks = [
        look
        for record, look in zip(data.samples.records, looks(data.samples, data.view), strict=True)
        if record.motion == "walk" and look.angles is not None and np.isfinite(look.angles).all()
    ]
    print("\nNo gait: share told to be outside, of 200 made from real strides")
    found: dict[str, list[bool]] = {}
    for k in range(200):
        for name, look in strange(known, walks[k % len(walks)], random).items():
            found.setdefault(name, []).append(any(measure.outside for measure in known.judge(look)))
    for name, told in found.items():
        print(f"{name:40s} {np.mean(told):6.3f}")


if __name__ == "__main__":
    main()
