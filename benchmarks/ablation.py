"""What makes the estimate better on laboratories that were not seen: inputs, regressions, profiles and networks.

    python benchmarks/ablation.py [--leave subject] [--sources so cmc] [--test-source so] [--seeds 1]

The environment variables OPENSIM_NEM2E_DATA and OPENSIM_NEM2E_MORE_DATA name the folders with the recordings. Every row
leaves out one laboratory (or subject) at a time; every motion has a table of its own. The figures are means over
subjects, then over muscles: Er = E / E_opensim - 1, E, E after the best gain of each subject and muscle, and r. The
child with cerebral palsy is left out. ``--seeds 0`` leaves out the networks, which take most of the time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from recordings import everyone

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import CycleData, MuscleCycles, read_gait_cycles
from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.data.samples import Samples
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.profiles import fit_profiles
from opensim_nem2e.methods.registry import BASELINES, find_method
from opensim_nem2e.methods.stdr.fit_linear import fit_linear
from opensim_nem2e.methods.stdr.guide import fit_guides, mix
from opensim_nem2e.methods.stdr.hyperparameters import STDROptions
from opensim_nem2e.methods.stdr.linear_part import shape_of
from opensim_nem2e.musculoskeletal.dynamics import analyse_motion
from opensim_nem2e.musculoskeletal.motions import with_true_unit
from opensim_nem2e.signals.compare import correlations, cycle_errors, gain_errors
from opensim_nem2e.signals.resample import to_window
from opensim_nem2e.storage import TimeSeries, read_model, read_storage
from opensim_nem2e.training.trainer import train_task

Array = NDArray[np.float64]
Cycles = Mapping[str, MuscleCycles]
#: From training samples, their cycles and the cycles left out, by muscle, to estimates by muscle.
Estimator = Callable[[Samples, Cycles, Cycles], Mapping[str, Array]]

MUSCLES = ["soleus", "gasmed", "gaslat", "tib", "rect", "vaslat", "vasmed", "bi", "sem", "glmed1", "glmax1"]

VIEW = CycleView()

#: A network without a linear part or profiles, as it was before there were any.
PLAIN = STDROptions(hidden_units=64, epochs=30, network_output="deviation")

#: Variances of the hierarchical regression: of laboratories, of subjects within them, and of cycles within these.
HIERARCHY = (0.3, 0.5, 1.0)


class Study:
    """Recordings that are split by laboratory or subject."""

    def __init__(self, data: CycleData, leave: str, sources: list[str], test_source: str):
        self.data, self.samples = data, data.samples
        self.labels = self.samples.laboratories if leave == "laboratory" else self.samples.subjects
        simulated = np.array([record.activation_source for record in self.samples.records])
        self.learned, self.judged = np.isin(simulated, [*sources, ""]), simulated == test_source

    def folds(self) -> Iterator[tuple[Samples, dict[str, MuscleCycles], dict[str, MuscleCycles]]]:
        """Leave out one laboratory or subject at a time."""
        for name in dict.fromkeys(self.labels[self.judged].tolist()):
            rest = self.samples.select((self.labels != name) & self.learned)
            out = self.samples.select((self.labels == name) & self.judged)
            train = {muscle: MuscleCycles.of(rest, muscle, self.data.view) for muscle in self.data.muscles}
            train = {muscle: cycles for muscle, cycles in train.items() if cycles.records}
            test = {muscle: MuscleCycles.of(out, muscle, self.data.view) for muscle in train}
            yield rest, train, {muscle: cycles for muscle, cycles in test.items() if cycles.records}

    def show(self, name: str, estimator: Estimator) -> None:
        """Print a row of every motion's table."""
        found: dict[str, dict[str, list[list[float]]]] = {}
        for rest, train, test in self.folds():
            for muscle, values in estimator(rest, train, test).items():
                cycles = test[muscle]
                keys = list(zip(cycles.subjects.tolist(), cycles.about["motion"].tolist(), strict=True))
                for subject, motion in dict.fromkeys(keys):
                    rows = np.array([key == (subject, motion) for key in keys])
                    curves, emg = np.asarray(values)[rows], cycles.y[rows]
                    error = cycle_errors(curves, emg).mean()
                    rate = error / cycle_errors(cycles.own[rows], emg).mean() - 1
                    shape = gain_errors(curves, emg, cycles.subjects[rows]).mean()
                    figures = [rate, error, shape, correlations(curves, emg).mean()]
                    found.setdefault(motion, {}).setdefault(muscle, []).append(figures)
        for motion, muscles in sorted(found.items()):
            rate, error, shape, r = np.mean([np.mean(rows, axis=0) for rows in muscles.values()], axis=0)
            print(f"{motion:5} {name:58} Er {rate:+.3f}  E {error:.4f}  E_gain {shape:.4f}  r {r:.3f}", flush=True)


def method(key: str) -> Estimator:
    """Use a method without networks."""
    one = find_method(key)

    def estimate(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
        found, common = {}, one.common(rest, VIEW, one.options())
        for muscle, cycles in test.items():
            fitted = one.plan(rest, muscle, VIEW, one.options(), RunSettings(), common).finish(None)
            found[muscle] = fitted.predict({"activation": cycles.own[:, :, None], **cycles.about}).values
        return found

    return estimate


def profiles_of_simulated(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
    """Leave the EMG without simulations out of the profiles."""
    simulated = np.array([record.activation_file is not None for record in rest.records])
    found = fit_profiles(rest.select(simulated), train).sets
    return {m: found[m].profiles[found[m].rows({"activation": c.x, **c.about})] for m, c in test.items()}


def linear_part(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
    """Predict by the linear part alone."""
    fits = fit_linear(train, VIEW)
    return {m: np.maximum(fits[m].constant + fits[m].part.predict(c.x), 0) for m, c in test.items()}


def floor_removed(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
    """Take the lowest tenth of each subject's mean cycle off the EMG, and give the mean of that back."""
    floors: dict[str, float] = {}
    lifted = {}
    for muscle, cycles in train.items():
        y, own = cycles.y.copy(), []
        for subject in dict.fromkeys(cycles.subjects.tolist()):
            rows = cycles.subjects == subject
            own.append(float(np.quantile(y[rows].mean(axis=0), 0.1)))
            y[rows] = (y[rows] - own[-1]) / (1 - own[-1])
        floors[muscle] = float(np.mean(own))
        lifted[muscle] = replace(cycles, y=y)
    found = linear_part(rest, lifted, test)
    return {muscle: floors[muscle] + (1 - floors[muscle]) * values for muscle, values in found.items()}


def guided(how: str) -> Estimator:
    """Put profiles beside the linear part: as an offset, half of each, or as chosen on training laboratories."""

    def estimate(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
        fits, found = fit_linear(train, VIEW), {}
        guides = fit_guides(rest, train, fits, VIEW)
        for muscle, cycles in test.items():
            inputs = {"activation": cycles.x, **cycles.about}
            values = np.maximum(fits[muscle].constant + fits[muscle].part.predict(cycles.x), 0)
            guide = guides[muscle].guide
            profile = guide.profiles.profiles[guide.profiles.rows(inputs)]
            if how == "chosen":
                found[muscle] = guide.apply(values, inputs)[0]
            else:
                share = np.full(len(values), 1.0 if how == "offset" else 0.5)
                found[muscle] = mix(values + guide.offset(inputs), profile, share)
        return found

    return estimate


def features(data: MuscleCycles, every: Array, names: list[str]) -> Array:
    """Describe cycles by the muscle's own activation, its shape, the shapes of all muscles, or what else is known."""
    whole = every / np.maximum(every.max(axis=1, keepdims=True), 0.05)
    columns = {
        "activation": data.own,
        "shape": shape_of(data.own),
        "cycle time": 3.0 * np.array([[record.end - record.start] for record in data.records]),
        "speed": filled(1.5 * np.array([[record.speed or np.nan] for record in data.records])),
        "mass": filled(0.03 * np.array([[_mass(record.model_file)] for record in data.records])),
        "moments": filled(np.array([joint_moments(record) for record in data.records]) / np.sqrt(10.0)),
        "all muscles": whole.reshape(len(whole), -1) / np.sqrt(10.0),
    }
    return np.hstack([columns[name] for name in names])


def filled(values: Array) -> Array:
    """Put the mean in the place of what is not known."""
    known = np.isfinite(values).all(axis=1)
    return np.where(known[:, None], values, values[known].mean(axis=0) if known.any() else 0.0)


@cache
def _mass(model: Path) -> float:
    return read_model(model).mass


@cache
def _moments_of_trial(motion: Path, model: Path, lowpass: float) -> TimeSeries | None:
    """Read, or compute by inverse dynamics, a trial's joint moments; None where there are no ground reactions."""
    stem = motion.name.removesuffix("_ik.mot")
    known, loads = motion.with_name(f"{stem}_id.sto"), motion.with_name(f"{stem}_external_loads.xml")
    if known.is_file():
        return read_storage(known)
    if not loads.is_file():
        return None
    found = analyse_motion(model, with_true_unit(read_storage(motion), read_model(model)), loads, lowpass=lowpass)
    return TimeSeries(found.time, tuple(f"{name}_moment" for name in found.coordinates), found.torques)


@cache
def joint_moments(record: CycleRecord) -> tuple[float, ...]:
    """Give the moments of hip, knee and ankle over a cycle (Nm per kg, flexion positive); NaN where not known."""
    nothing = (np.nan,) * 60
    if record.coordinates_file is None or record.model_file is None:
        return nothing
    angles = read_storage(record.coordinates_file)
    moments = _moments_of_trial(record.coordinates_file, record.model_file, 10.0 if record.motion == "run" else 6.0)
    joints = [f"{name}_{record.side}" for name in ("hip_flexion", "knee_angle", "ankle_angle")]
    if moments is None or not all(moments.has(f"{name}_moment") and angles.has(name) for name in joints):
        return nothing

    def cut(series: TimeSeries, name: str) -> Array:
        window = (record.start, record.end, 20, record.heel_strike)
        return to_window(series.time, series.column(name), *window, tolerance=np.inf)[:, 0]

    curves = []
    for name in joints:
        curve = cut(moments, f"{name}_moment")
        bent = cut(angles, name).mean() < 0.0
        # Models differ in the sign of the knee's flexion.
        curves.append(-curve if name.startswith("knee") and bent else curve)
    return tuple((np.concatenate(curves) / _mass(record.model_file)).tolist())


def one_filter(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
    """Low-pass all training EMG at 6 Hz, cycle by cycle, before the linear part learns from it."""
    alike = {}
    for muscle, cycles in train.items():
        spectrum = np.fft.rfft(cycles.y[:, :-1], axis=1)
        durations = np.array([record.end - record.start for record in cycles.records])
        spectrum[np.arange(spectrum.shape[1]) / durations[:, None] > 6.0] = 0.0
        smooth = np.fft.irfft(spectrum, cycles.y.shape[1] - 1, axis=1)
        alike[muscle] = replace(cycles, y=np.hstack([smooth, smooth[:, :1]]))
    return linear_part(rest, alike, test)


def shrunken_profiles(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
    """Take mean cycles of subjects within laboratories as a random effect.

    A laboratory of n subjects weighs n / (n + k), where k is chosen on training laboratories left out, one for all
    muscles; of cycles with another motion or age group the mean over all is shrunk towards the group's.
    """

    def means(cycles: MuscleCycles) -> list[tuple[str, str, str, Array]]:
        keys = [(r.laboratory, r.subject, r.motion) for r in cycles.records]
        return [(*key, cycles.y[[other == key for other in keys]].mean(axis=0)) for key in dict.fromkeys(keys)]

    def profile(curves: list[tuple[str, str, str, Array]], k: float, motion: str) -> Array:
        def mean(chosen: list[tuple[str, str, str, Array]]) -> Array:
            laboratories: dict[str, list[Array]] = {}
            for laboratory, _, _, curve in chosen:
                laboratories.setdefault(laboratory, []).append(curve)
            weights = [len(own) / (len(own) + k) for own in laboratories.values()]
            return np.average([np.mean(own, axis=0) for own in laboratories.values()], axis=0, weights=weights)

        own = [curve for curve in curves if curve[2] == motion]
        share = len(own) / (len(own) + 3.0)
        return share * mean(own) + (1.0 - share) * mean(curves) if own else mean(curves)

    tried = (0.0, 0.3, 1.0, 3.0, 10.0)
    errors = np.zeros(len(tried))
    for cycles in train.values():
        curves = means(cycles)
        for name in {curve[0] for curve in curves} if len({curve[0] for curve in curves}) > 1 else ():
            others = [curve for curve in curves if curve[0] != name]
            for place, k in enumerate(tried):
                own = [curve for curve in curves if curve[0] == name]
                errors[place] += np.mean([np.mean((c[3] - profile(others, k, c[2])) ** 2) ** 0.5 for c in own])
    best = tried[int(np.argmin(errors))]
    return {
        muscle: np.array([profile(means(train[muscle]), best, record.motion) for record in cycles.records])
        for muscle, cycles in test.items()
    }


def everyone_included(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
    """Take the mean cycle of all subjects, those judged among them: more than an estimate without their EMG knows."""
    found = {}
    for muscle, cycles in test.items():
        means: dict[str, dict[str, Array]] = {}
        for part in (train[muscle], cycles):
            keys = [(record.motion, record.subject) for record in part.records]
            for motion, subject in dict.fromkeys(keys):
                rows = [key == (motion, subject) for key in keys]
                means.setdefault(motion, {})[subject] = part.y[rows].mean(axis=0)
        found[muscle] = np.array([np.mean(list(means[r.motion].values()), axis=0) for r in cycles.records])
    return found


def repeatability(data: CycleData) -> None:
    """Print how alike the mean walking cycles of EMG are in any two laboratories, which bounds r."""
    each = {}
    for muscle in data.muscles:
        cycles = MuscleCycles.of(data.samples, muscle, data.view)
        walk = np.array([r.motion == "walk" and r.activation_source == "so" for r in cycles.records])
        laboratories = np.array([record.laboratory for record in cycles.records])
        names = list(dict.fromkeys(laboratories[walk].tolist()))
        means = []
        for name in names:
            rows = walk & (laboratories == name)
            people = dict.fromkeys(cycles.subjects[rows].tolist())
            means.append(np.mean([cycles.y[rows & (cycles.subjects == s)].mean(axis=0) for s in people], axis=0))
        pairs = np.corrcoef(means)[np.triu_indices(len(names), 1)] if len(names) > 1 else np.array([])
        if pairs.size:
            each[muscle] = float(pairs.mean())
    listed = ", ".join(f"{muscle} {r:.2f}" for muscle, r in each.items())
    print(f"walk  r of the mean cycles of two laboratories: {np.mean(list(each.values())):.3f} ({listed})", flush=True)


def kernel_regression(study: Study, names: list[str], width: float | None = None) -> Estimator:
    """Regress cycles within subjects within laboratories: ridge, or a mixture weighted by similarity of the input."""
    everything = study.data.samples.channels["activation"]
    inputs = study.data.samples.select_channels("activation", everything)
    known = np.isfinite(inputs[study.learned | study.judged]).reshape(-1, len(everything)).mean(axis=0) > 0.8
    place = {record.line: row for row, record in enumerate(study.samples.records)}

    def every(cycles: MuscleCycles) -> Array:
        rows = [place[record.line] for record in cycles.records]
        return np.nan_to_num(inputs[rows][:, :, known])

    def estimate(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
        found = {}
        for muscle, out in test.items():
            one = train[muscle]
            a, b = features(one, every(one), names), features(out, every(out), names)
            distance = ((b[:, None] - a[None]) ** 2).sum(axis=2)
            if width is not None:
                weights = np.exp(-distance / width**2) + 1e-9
                found[muscle] = weights / weights.sum(axis=1, keepdims=True) @ one.y
                continue
            laboratories = np.array([record.laboratory for record in one.records])
            noise = HIERARCHY[0] * (laboratories[:, None] == laboratories)
            noise += HIERARCHY[1] * (one.subjects[:, None] == one.subjects) + HIERARCHY[2] * np.eye(len(a))
            centre = a.mean(axis=0)
            precision = np.linalg.inv((a - centre) @ (a - centre).T + noise)
            mean = precision.sum(axis=0) @ one.y / precision.sum()
            found[muscle] = np.maximum(mean + (b - centre) @ (a - centre).T @ precision @ (one.y - mean), 0)
        return found

    return estimate


def networks(options: STDROptions, seed: int) -> Estimator:
    """Train the networks of all muscles."""
    one = find_method("stdr_net")

    def estimate(rest: Samples, train: Cycles, test: Cycles) -> dict[str, Array]:
        found, common = {}, one.common(rest, VIEW, options)
        for muscle, cycles in test.items():
            plan = one.plan(rest, muscle, VIEW, options, RunSettings(seed), common)
            assert plan.task is not None
            network = plan.finish(train_task(plan.task))
            found[muscle] = network.predict({"activation": cycles.x, **cycles.about}).values
        return found

    return estimate


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


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--leave", default="laboratory", choices=("laboratory", "subject"))
    parser.add_argument("--sources", nargs="+", default=["so", "cmc"], help="simulations that are learned from")
    parser.add_argument("--test-source", default="so")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cmc", type=Path, help="results directory of cmc_strides.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials, channels = everyone(Path(folder), options.cmc)
        data = read_gait_cycles(
            [trial for trial in trials if trial.dataset != "cp_child"],
            channels,
            targets=MUSCLES,
            inputs="own",
            emg_normalization="trial_max",
            shared_channels=False,
        )
    study = Study(data, options.leave, options.sources, options.test_source)
    study.show("OpenSim", lambda rest, train, test: {muscle: cycles.own for muscle, cycles in test.items()})
    for key in (*BASELINES, "profiles"):
        study.show(f"baseline {key}", method(key))
    study.show("profiles without the 15 adults whom nobody simulated", profiles_of_simulated)
    repeatability(study.data)
    study.show("mean of all subjects, those judged among them", everyone_included)
    study.show("profiles, laboratories a random effect (without the 15)", shrunken_profiles)
    for more in ([], ["activation"], ["cycle time"], ["speed"], ["mass"], ["moments"], ["all muscles"]):
        names = ["shape", *more]
        study.show(f"hierarchical ridge on {', '.join(names)}", kernel_regression(study, names))
    for names in (["shape"], ["all muscles"]):
        study.show(f"mixture weighted by similarity of {names[0]}", kernel_regression(study, names, 1.0))
    for part in ("sharing", "shape"):
        with without(part):
            study.show(f"linear part without {part}", linear_part)
    study.show("linear part", linear_part)
    study.show("linear part, EMG's floor removed and given back", floor_removed)
    study.show("linear part, all EMG low-passed at 6 Hz", one_filter)
    study.show("linear part + profiles as offset", guided("offset"))
    study.show("half of that, half profiles", guided("half"))
    study.show("chosen by muscle and motion on training laboratories", guided("chosen"))
    for seed in range(options.seeds):
        study.show(f"network alone (64 units, 30 epochs), seed {seed}", networks(PLAIN, seed))
        study.show(f"gait: linear part, network and profiles, seed {seed}", networks(STDROptions(), seed))


if __name__ == "__main__":
    main()
