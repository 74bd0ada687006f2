"""What activations from kinematics are worth, beside everything cheaper: within a trial, at other speeds, for others.

    python benchmarks/kinematics.py [within speeds subjects laboratories emg seeds] [--cache DIR] ...

The environment variable OPENSIM_NEM2E_DATA names the folder with the recordings; ``more_data`` beside it is read where
it exists. Activations are judged against OpenSim's StaticOptimization of the same strides: medians of R2 over the
active muscles (more than .1 anywhere) and over the paper's ten. Columns:

* exact: the moments of inverse dynamics and the subject's own program, which no estimate of moments can beat;
* phase: the mean of static optimisation by phase of the training strides, which knows nothing of the motion;
* supervised: a small network, trained on activations instead of moments;
* mlp: the same network's moments, then the program; no label of a muscle is used;
* kernel: the same with kernel ridge regression, what the tool does unless told otherwise. Its width, penalty and linear
  part are chosen on training laboratories, subjects, trials or strides left out;
* bearing: kernel, with what the leg would bear if it alone stood on the ground as further inputs (``bearing_inputs``);
  kernel for a subject whose motion does not tell where the pelvis is;
* both: for others, the mean of kernel and mlp (``kernel_mlp``) with the same inputs, as in the bundle ``whole_body``.

``emg`` has the mean over channels of Pearson's r with measured EMG, beside that of StaticOptimization.

Motion, moments and muscles of every trial are kept in ``--cache``, since OpenSim and the fits of the muscles' paths
take minutes; trainings are not.
"""

from __future__ import annotations

import argparse
import csv
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from recordings import DATA

from opensim_nem2e.data.leg_kinematics import BEARING, LEG, LegCoordinates, LegTrial, leg_samples, leg_trial_of
from opensim_nem2e.data.manifest import CycleRecord, read_channels, read_trials
from opensim_nem2e.data.samples import Samples
from opensim_nem2e.errors import ModelError
from opensim_nem2e.evaluation.mjca_study import MUSCLES
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.mjca_bigru.method import PART, MJCABiGRUMethod, MomentNetwork, Windowing
from opensim_nem2e.methods.mjca_bigru.moment_options import MJCAOptions
from opensim_nem2e.musculoskeletal.dynamics import Motion, analyse_motion
from opensim_nem2e.musculoskeletal.row_programs import solve_rows
from opensim_nem2e.musculoskeletal.torque_model import TorqueModel
from opensim_nem2e.musculoskeletal.weight_bearing import foot_body
from opensim_nem2e.storage import MuscleNames, read_model, read_storage
from opensim_nem2e.training.trainer import train_task

INPUTS = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle")
MARGIN = 0.6

#: For others: recorded motion is known on both sides of a frame (s).
LAGS = (-0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15)

#: A network that suits a dozen subjects.
NETWORK = {"hidden_units": (64, 64), "epochs": 15, "batch_size": 256, "learning_rate": 0.006, "dropout": 0.2}


@dataclass
class Stride:
    """A stride: its leg, and OpenSim's static optimisation at some of its rows."""

    record: CycleRecord
    trial: LegTrial
    rows: np.ndarray
    signs: np.ndarray
    gain: np.ndarray
    activations: np.ndarray
    muscles: tuple[str, ...]

    @property
    def moments(self) -> np.ndarray:
        """Nm, in the leg's signs."""
        return self.trial.moments[self.rows]

    @property
    def phase(self) -> np.ndarray:
        """0..1."""
        return (self.trial.time[self.rows] - self.record.start) / (self.record.end - self.record.start)


def read_strides(cache: Path) -> list[Stride]:
    """Read all strides that have static optimisation, trial by trial."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for folder in (DATA, DATA.parent / "more_data"):
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        if not (folder / "trials.csv").is_file():
            continue
        for row in csv.DictReader((folder / "trials.csv").open()):
            if row["activation_source"] == "so":
                groups.setdefault((row["dataset"], row["subject"], row["trial"], row["side"]), []).append(row)
        for key, rows in groups.items():
            file = cache / ("__".join(key) + ".strides")
            if not file.exists():
                file.write_bytes(pickle.dumps(_read_trial(folder, rows, cache)))
            found += pickle.loads(file.read_bytes())  # our own file, of this benchmark
            print(f"{' '.join(key)}: {len(rows)} strides", flush=True)
    return found


def _read_trial(folder: Path, rows: list[dict[str, str]], cache: Path) -> list[Stride]:
    first = rows[0]
    files, model_file = folder / first["dataset"], folder / first["model_file"]
    model, side, trial = read_model(model_file), first["side"], first["trial"]
    motion_file, loads = files / f"{trial}_ik.mot", files / f"{trial}_external_loads.xml"
    if first["dataset"] == "walk_3d_example":
        motion_file, loads = files / "coordinates.sto", files / "grf_walk.xml"
    start = min(float(row["t_start"]) for row in rows) - MARGIN
    end = max(float(row["t_end"]) for row in rows) + MARGIN
    analyse = partial(analyse_motion, model_file, read_storage(motion_file))
    if loads.is_file():
        lowpass = 10.0 if first["motion"] == "run" else 6.0
        analyse = partial(analyse, lowpass=lowpass, start=start, end=end)
        motion = analyse(loads)
    else:
        # Cycles without ground reactions: their moments are known, and they were filtered before.
        analyse = partial(analyse, lowpass=-1.0)
        motion = _with_moments(analyse(), files / f"{trial}_id.sto")
    leg = LegCoordinates.measured(model, side)
    joints = [joint for joint in LEG if joint in leg.names]
    names = [leg.names[joint] for joint in joints]
    signs = np.array([leg.signs[joint] for joint in joints])
    try:
        own = leg_trial_of(motion, model, side, unloaded=analyse(jacobians=[foot_body(model, each) for each in "rl"]))
    except ModelError:
        own = leg_trial_of(motion, model, side)
    muscles = [name for name in model.muscles if name.endswith(f"_{side}")]
    torque_model = TorqueModel.of_model(
        model_file, motion, muscles=muscles, coordinates=names, cache_directory=cache, curves="static_optimization"
    )
    terms = torque_model.evaluate(motion)
    strides = []
    for row in rows:
        series = read_storage(folder / row["activation_file"])
        times = series.time[(series.time >= float(row["t_start"])) & (series.time <= float(row["t_end"]))]
        at = np.array([np.abs(motion.time - moment).argmin() for moment in times])
        known = [name for name in torque_model.muscles if name in series.labels]
        columns = [torque_model.muscles.index(name) for name in known]
        ends = (float(row["t_start"]), float(row["t_end"]))
        record = CycleRecord(
            *(row[name] for name in ("dataset", "subject", "trial", "stride", "motion")),
            *(None, side, None, None, "so", None, 0.0, *ends, None, 0),
        )
        values = np.array([np.interp(times, series.time, series.column(name)) for name in known]).T
        strides.append(Stride(record, own, at, signs, terms.gain[at][:, :, columns], values, tuple(known)))
    return strides


def _with_moments(motion: Motion, file: Path) -> Motion:
    series = read_storage(file)
    torques = np.full_like(motion.torques, np.nan)
    for column, name in enumerate(motion.coordinates):
        if f"{name}_moment" in series.labels:
            torques[:, column] = np.interp(motion.time, series.time, series.column(f"{name}_moment"))
    return replace(motion, torques=torques)


# --- estimates --------------------------------------------------------------------------------------------------------

Estimator = Callable[[Stride], np.ndarray]


def program(stride: Stride, moments: np.ndarray) -> np.ndarray:
    """Share moments (in the leg's signs) among the muscles."""
    needed = moments * stride.signs
    return solve_rows(stride.gain, needed, low=0.01, high=1.0, reserve=np.ones(len(stride.signs))).activations


def bears(stride: Stride) -> bool:
    """Say whether it is known what the leg would bear."""
    return set(BEARING) <= set(stride.trial.channels)


def options_of(name: str, options: MJCAOptions, stride: Stride) -> MJCAOptions:
    """Return the options of a column, for a stride that is left out."""
    bearing = name in ("bearing", "both") and bears(stride)
    architecture = {"mlp": "mlp", "both": "kernel_mlp"}.get(name, "kernel")
    return replace(options, architecture=architecture, bearing_inputs=bearing)


def trials_of(strides: Sequence[Stride]) -> list[tuple[LegTrial, list[CycleRecord]]]:
    """Put strides of one trial together."""
    groups: dict[int, tuple[LegTrial, list[CycleRecord]]] = {}
    for stride in strides:
        groups.setdefault(id(stride.trial), (stride.trial, []))[1].append(stride.record)
    return list(groups.values())


def cut(strides: Sequence[Stride], options: MJCAOptions, joints: Sequence[str] = LEG) -> Samples:
    """Cut the training windows."""
    windows = Windowing.of(options.architecture, options)
    share = 0.5 if windows.samples - windows.before - windows.after > 1 else 1.0
    around = (windows.before * windows.step, windows.after * windows.step)
    channels = (*INPUTS, *(BEARING if options.bearing_inputs else ()))
    return leg_samples(trials_of(strides), windows.cut(share), *around, channels, joints)


def train(samples: Samples, options: MJCAOptions, seed: int = 0) -> tuple[MomentNetwork, float]:
    """Train a network; returns it and the milliseconds of processor time per labelled frame (0 in closed form)."""
    plan = MJCABiGRUMethod().plan(samples, PART, None, options, RunSettings(seed))
    if plan.task is None:
        return plan.finish(None), 0.0
    begun = time.process_time()
    trained = train_task(plan.task)
    frames = plan.task.data["y"].shape[0] * plan.task.data["y"].shape[1] * options.epochs
    return plan.finish(trained), 1e3 * (time.process_time() - begun) / frames


def estimate(network: MomentNetwork, stride: Stride) -> np.ndarray:
    """Estimate what a network puts out, at a stride's rows, in its own units."""
    trial, rows = stride.trial, stride.rows
    step = float(np.median(np.diff(trial.time)))
    around = int(MARGIN / step)
    part = slice(max(0, rows[0] - around), rows[-1] + around + 1)
    columns = [trial.channels.index(name) for name in network.coordinates]
    found, _ = network.over_motion(
        trial.time[part], trial.q[part][:, columns], trial.qdot[part][:, columns], trial.body.values
    )
    return found[rows - part.start]


def moments_by(network: MomentNetwork) -> Estimator:
    """Turn a network into an estimator of moments (Nm)."""

    def moments(stride: Stride) -> np.ndarray:
        joints, body = stride.trial.joints, stride.trial.body
        places = [network.moments.index(joint) for joint in joints]
        return estimate(network, stride)[:, places] * body.mass * body.lengths(joints)

    return moments


def phase_mean(strides: Sequence[Stride]) -> Estimator:
    """Average static optimisation by phase."""
    grid = np.linspace(0.0, 1.0, 51)
    curves = [[np.interp(grid, s.phase, values) for values in s.activations.T] for s in strides]
    mean = np.mean(curves, axis=0)
    return lambda stride: np.column_stack([np.interp(stride.phase, grid, curve) for curve in mean])


def supervised(strides: Sequence[Stride], options: MJCAOptions, seed: int) -> Estimator:
    """Train the same network on the activations: they take the moments' place in the samples."""
    names = strides[0].muscles
    parts = []
    for stride in strides:
        trial = stride.trial
        at = np.clip(trial.time, trial.time[stride.rows[0]], trial.time[stride.rows[-1]])
        table = np.column_stack([np.interp(at, trial.time[stride.rows], a) for a in stride.activations.T])
        one = replace(trial, moments=table)
        samples = cut([replace(stride, trial=replace(trial, moments=np.zeros((len(at), len(trial.joints)))))], options)
        windows = [np.interp(samples.time, one.time, column) for column in table.T]
        parts.append(
            replace(
                samples, targets={"moments": np.stack(windows, -1)}, channels={**samples.channels, "moments": names}
            )
        )
    first = parts[0]
    joined = Samples(
        {key: np.concatenate([part.inputs[key] for part in parts]) for key in first.inputs},
        first.channels,
        np.concatenate([part.time for part in parts]),
        tuple(record for part in parts for record in part.records),
        {"moments": np.concatenate([part.targets["moments"] for part in parts])},
        {"body": np.concatenate([part.context["body"] for part in parts])},
    )
    network, _ = train(joined, options, seed)
    return lambda stride: np.clip(estimate(network, stride), 0.01, 1.0)


# --- scores -----------------------------------------------------------------------------------------------------------


def determination(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Take R2 of each column."""
    return 1.0 - ((true - found) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)


def scores(strides: Sequence[Stride], found: Sequence[np.ndarray]) -> tuple[float, float]:
    """Take the medians of R2 over active muscles, and over the paper's ten; of one subject."""
    true, ours = np.concatenate([s.activations for s in strides]), np.concatenate(found)
    r2 = determination(true, ours)
    table = MuscleNames.load()
    standard = [table.standard(name) for name in strides[0].muscles]
    ten = [k for k, one in enumerate(standard) if one is not None and one.name in MUSCLES]
    return float(np.median(r2[true.max(0) > 0.1])), float(np.median(r2[ten]))


def row(title: str, strides: Sequence[Stride], columns: dict[str, Sequence[np.ndarray]]) -> None:
    """Print a row of the table."""
    cells = [
        f"{name} {'/'.join(f'{value:.3f}' for value in scores(strides, found))}" for name, found in columns.items()
    ]
    print(f"{title:34s} {'   '.join(cells)}", flush=True)


def compare(
    title: str, train_on: Sequence[Sequence[Stride]], test_on: Sequence[Sequence[Stride]], options: MJCAOptions
) -> None:
    """Train on each part, estimate what belongs to it, and print a row over all."""
    names = ("exact", "phase", "supervised", "mlp", "kernel", "bearing")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    every: list[Stride] = []
    true: list[np.ndarray] = []
    estimates: dict[str, list[np.ndarray]] = {name: [] for name in names[3:]}
    cost = []
    for rest, left in zip(train_on, test_on, strict=True):
        made: dict[str, Estimator] = {}
        for name in estimates:
            chosen = options_of(name, options, left[0])
            network, spent = train(cut(rest, chosen), chosen)
            made[name] = moments_by(network)
            cost += [spent] if name == "mlp" else []
        others = {"phase": phase_mean(rest), "supervised": supervised(rest, replace(options, architecture="mlp"), 0)}
        for stride in left:
            every.append(stride)
            true.append(stride.moments)
            columns["exact"].append(program(stride, stride.moments))
            for name, estimator in made.items():
                estimates[name].append(estimator(stride))
                columns[name].append(program(stride, estimates[name][-1]))
            for name, estimator in others.items():
                columns[name].append(estimator(stride))
    row(title, every, columns)
    for name, found in estimates.items():
        r2 = determination(np.concatenate(true), np.concatenate(found))
        joints = ", ".join(f"{joint} {value:.3f}" for joint, value in zip(every[0].trial.joints, r2, strict=True))
        print(f"{'':34s} moments by {name}, R2: {joints}", flush=True)
    print(f"{'':34s} training of mlp: {np.mean(cost):.3f} ms per labelled frame", flush=True)


def within(strides: Sequence[Stride], options: MJCAOptions) -> None:
    """Leave fifths of a trial's strides out."""
    for trial in ("walk36", "walk45", "run81", "walking_baseline1"):
        own = [s for s in strides if s.record.trial == trial]
        folds = [[k for k in range(len(own)) if k % 5 == fold] for fold in range(5)]
        parts = [[own[k] for k in range(len(own)) if k not in fold] for fold in folds]
        compare(f"within {trial}, 5-fold", parts, [[own[k] for k in fold] for fold in folds], options)


def speeds(strides: Sequence[Stride], options: MJCAOptions) -> None:
    """Leave one speed of a subject out, with lags back alone and on both sides."""
    names = ("walk36", "walk45", "run81")
    for lags in (options.lags, LAGS):
        for left in names:
            rest = [s for s in strides if s.record.trial in names and s.record.trial != left]
            title = f"left out: {left}, lags {min(lags):g} to {max(lags):g}"
            compare(title, [rest], [[s for s in strides if s.record.trial == left]], replace(options, lags=tuple(lags)))


def laboratories(strides: Sequence[Stride], options: MJCAOptions) -> None:
    """As ``subjects``, but trained on nobody of the same laboratory."""
    subjects(strides, options, laboratory=True)


def subjects(strides: Sequence[Stride], options: MJCAOptions, most: int = 4, laboratory: bool = False) -> None:
    """Leave one subject out; of each other at most so many walking strides are trained on."""
    walking = [s for s in strides if s.record.motion == "walk"]
    people = sorted({s.record.subject for s in walking})
    some = [s for p in people for s in [one for one in walking if one.record.subject == p][:most]]
    moments: dict[str, list[np.ndarray]] = {name: [] for name in ("mlp", "kernel", "bearing", "both")}
    table: dict[str, list[list[float]]] = {name: [] for name in (*moments, "exact")}
    for person in people:
        left = [s for s in walking if s.record.subject == person]
        named = "dataset" if laboratory else "subject"
        rest = [s for s in some if getattr(s.record, named) != getattr(left[0].record, named)]
        for name in moments:
            chosen = replace(options_of(name, options, left[0]), lags=LAGS, **NETWORK)
            network, _ = train(cut([s for s in rest if bears(s) or not chosen.bearing_inputs], chosen), chosen)
            found = [moments_by(network)(s) for s in left]
            r2 = determination(np.concatenate([s.moments for s in left]), np.concatenate(found))
            places = [left[0].trial.joints.index(joint) for joint in ("hip_flexion", "knee_angle", "ankle_angle")]
            moments[name].append(r2[places])
            table[name].append(list(scores(left, [program(s, one) for s, one in zip(left, found, strict=True)])))
        table["exact"].append(list(scores(left, [program(s, s.moments) for s in left])))
        cells = [f"{n} moments {np.round(moments[n][-1], 2)} activations {np.round(table[n][-1], 2)}" for n in moments]
        print(f"left out: {person:24s} {'; '.join(cells)}; exact {np.round(table['exact'][-1], 2)}", flush=True)
    for name, rows in table.items():
        of = f"moments {np.round(np.median(moments[name], axis=0), 3)}, " if name in moments else ""
        print(f"medians over {len(people)} subjects, {name}: {of}activations {np.round(np.median(rows, axis=0), 3)}")


def emg(strides: Sequence[Stride], options: MJCAOptions) -> None:
    """Correlate with measured EMG: StaticOptimization, exact, and kernel with fifths of the strides left out."""
    records = {
        (r.dataset, r.trial, r.stride): r for r in read_trials(DATA / "trials.csv") if r.activation_source == "so"
    }
    channels = [channel for channel in read_channels(DATA / "emg_channels.csv") if channel.standard_name]
    for dataset, motion in (("ceinms_lower_limb", "walk"), ("ceinms_lower_limb", "run"), ("walk_sub1", "walk")):
        own = [s for s in strides if s.record.dataset == dataset and s.record.motion == motion]
        found: dict[tuple[str, str], list[np.ndarray]] = {}
        for fold in range(5):
            left = own[fold::5]
            network, _ = train(cut([s for k, s in enumerate(own) if k % 5 != fold], options), options)
            estimator = moments_by(network)
            for stride in left:
                record = records[dataset, stride.record.trial, stride.record.stride]
                series = read_storage(record.emg_file)
                at = stride.trial.time[stride.rows] + record.emg_time_offset
                curves = {
                    "StaticOptimization": stride.activations,
                    "exact": program(stride, stride.moments),
                    "kernel": program(stride, estimator(stride)),
                }
                for channel in channels:
                    places = [stride.muscles.index(m) for m in channel.muscles if m in stride.muscles]
                    if channel.dataset != dataset or not places:
                        continue
                    # A trial's envelopes have a scale of their own.
                    key = f"{stride.record.trial} {channel.column}"
                    measured = np.interp(at, series.time, series.column(channel.column))
                    found.setdefault((key, "EMG"), []).append(measured)
                    for name, activations in curves.items():
                        found.setdefault((key, name), []).append(activations[:, places].mean(axis=1))
        keys = sorted({key for key, _ in found})
        means = {
            name: np.mean(
                [np.corrcoef(np.concatenate(found[key, "EMG"]), np.concatenate(found[key, name]))[0, 1] for key in keys]
            )
            for name in curves
        }
        cells = "   ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        print(f"{dataset} {motion}: r with EMG, mean of {len(keys)} channels of trials: {cells}", flush=True)


def seeds(strides: Sequence[Stride], options: MJCAOptions, count: int) -> None:
    """Compare MJCA-BiGRU with the MLP over seeds: moments of the last fifth of a trial's strides."""
    for trial in ("walk45", "run81"):
        own = [s for s in strides if s.record.trial == trial]
        rest, left = own[: len(own) * 4 // 5], own[len(own) * 4 // 5 :]
        for name in ("mlp", "mjca_bigru"):
            chosen = replace(options, architecture=name, batch_size=options.batch_size if name == "mlp" else 8)
            samples, found, cost = cut(rest, chosen), [], []
            for seed in range(count):
                network, spent = train(samples, chosen, seed)
                estimator = moments_by(network)
                r2 = determination(
                    np.concatenate([s.moments for s in left]), np.concatenate([estimator(s) for s in left])
                )
                active, _ = scores(left, [program(s, estimator(s)) for s in left])
                found.append([*r2[[0, 3, 4]], active])
                cost.append(spent)
            mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
            figures = ", ".join(f"{m:.3f} +- {s:.3f}" for m, s in zip(mean, spread, strict=True))
            print(
                f"{trial} {name:11s} hip, knee, ankle, active muscles: {figures}; {np.mean(cost):.3f} ms per frame",
                flush=True,
            )


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", default=["within", "speeds", "subjects", "laboratories", "emg", "seeds"])
    parser.add_argument("--cache", type=Path, default=Path("kinematics_cache"))
    parser.add_argument("--epochs", type=int, default=MJCAOptions().epochs)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    options = MJCAOptions(epochs=given.epochs)
    strides = read_strides(given.cache)
    for table in given.tables:
        print(f"== {table}", flush=True)
        if table == "seeds":
            seeds(strides, options, given.seeds)
        else:
            {f.__name__: f for f in (within, speeds, subjects, laboratories, emg)}[table](strides, options)


if __name__ == "__main__":
    main()
