"""The figures of NMM: channels left out of real gait and of a trunk that lifts, and an elbow whose answer is known.

    python benchmarks/nmm.py DATA MORE_DATA [--quick] [--only predictsim walk_sub1 ceinms back elbow choosing]
        [--seeds 3] [--methods paper] [--included]

DATA and MORE_DATA are folders with ``trials.csv`` and ``emg_channels.csv``; the second has ``back_lifting``. After each
subject's own tables come those of docs/deep_muscles.md. Every subject is estimated with a population without this
subject; strides are fitted or kept to be judged on (the lists below), and all figures are of the latter. Shares, trust,
the size of the deviation, the usual lead of EMG, the scatter of bands and the population's ridge were chosen on other
subjects; ``--only choosing`` prints these. What is not blind: the price of torques was chosen with predictsim and
walk_sub1 in view, learning rates and steps by the loss on walk_sub1, the cosine of synergists with all three.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from population_bundle import read_people

from opensim_nem2e import TimeSeries, read_storage
from opensim_nem2e.estimates.static_optimization import read_motion
from opensim_nem2e.methods.nmm.population import PersonCycles, Population
from opensim_nem2e.methods.nmm.recordings import LEAD, EmgChannel, RecordedTrial, Recordings, with_torques
from opensim_nem2e.methods.nmm.subject_estimate import ChannelScore, SubjectEstimate, estimate_subject
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage.labels import find_so_activation_columns
from opensim_nem2e.storage.osim import read_model
from opensim_nem2e.storage.osim_edit import write_carried_mass

Array = NDArray[np.float64]

#: By subject: who it is in the population, which windows are kept to be judged on, what is left out together.
WHO = {
    "predictsim": "predictsim_subject1/falisse_subject1",
    "walk_sub1": "walk_sub1/uhlrich_sub1",
    "ceinms": "ceinms_lower_limb/ceinms_S06",
}
JUDGED = {"predictsim": (4, 5), "walk_sub1": (2, 5, 8), "ceinms": tuple(range(1, 18, 2))}
FOLDS: dict[str, list[tuple[str, ...]]] = {
    "predictsim": [
        ("Hamstrings-lateralis", "Vastus-lateralis", "Peroneus-brevis"),
        ("Tibialis-anterior", "Gastrocnemius-lateralis", "Adductor-longus"),
        ("Soleus", "Rectus-femoris", "Hamstrings-medialis"),
        ("Gastrocnemius-medialis", "Vastus-medialis", "Tensor-fasciae-latae"),
        ("Peroneus-longus", "Gluteus-medialis"),
    ],
    "ceinms": [
        ("soleus_r", "vas_lat_r"),
        ("med_gas_r", "semimem_r"),
        ("lat_gas_r", "rect_fem_r"),
        ("tib_ant_r", "vas_med_r"),
        ("bifemlh_r",),
    ],
    "walk_sub1": [
        ("soleus_l_activation", "vaslat_l_activation"),
        ("gasmed_l_activation", "vasmed_l_activation"),
        ("gaslat_l_activation", "recfem_l_activation"),
    ],
}
GROUPS: dict[str, list[tuple[str, ...]]] = {
    "predictsim": [
        ("Soleus", "Gastrocnemius-lateralis", "Gastrocnemius-medialis"),
        ("Vastus-lateralis", "Vastus-medialis", "Rectus-femoris"),
        ("Hamstrings-lateralis", "Hamstrings-medialis"),
        ("Peroneus-longus", "Peroneus-brevis"),
        ("Tibialis-anterior", "Adductor-longus", "Gluteus-medialis", "Tensor-fasciae-latae"),
    ],
    "ceinms": [
        ("soleus_r", "med_gas_r", "lat_gas_r"),
        ("vas_lat_r", "vas_med_r", "rect_fem_r"),
        ("semimem_r", "bifemlh_r"),
        ("tib_ant_r",),
    ],
    "walk_sub1": [
        ("soleus_l_activation", "gasmed_l_activation", "gaslat_l_activation"),
        ("vaslat_l_activation", "vasmed_l_activation", "recfem_l_activation"),
    ],
}
OTHERS = ("simulation", "synx", "copy", "population")

#: Subjects on whom settings were chosen: where (DATA or MORE_DATA), data set, subject, side.
CHOOSING = (
    *((1, "biomechzoo", f"HC0{number}", "") for number in ("02D", "30A", "32A", "33A", "36A", "38A", "44A")),
    (1, "schreiber_2014001", "SM2014001", ""),
    (0, "walk_3d_example", "rajagopal_walk_subject", ""),
    (0, "cp_child", "cp_subject1", "l"),
    (0, "cp_child", "cp_subject1", "r"),
)

#: A channel of which neither synergists nor other subjects tell; means are given without it, too.
UNTOLD = "Adductor-longus"

#: The trunk's channels, with the beginnings of the names of the muscles that each stands for; lifts; the lowest joint.
TRUNK = {"rectabd": "rect_abd", "iliocost": "IL_", "longlumb": "LTpL_", "longthor": "LTpT_"}
LIFTS = ("squat5kg", "squat15kg", "stoop5kg", "stoop15kg")
LUMBAR = ("L5_S1_Flex_Ext", "L5_S1_Lat_Bending", "L5_S1_axial_rotation")

#: Of the trunk's windows so many are fitted, spread evenly; the others are judged.
FITTED_LIFTS = 12

#: Seeds and steps of ``--quick``: it shows that everything runs, its figures are not the method's.
QUICK_SEEDS, QUICK_STEPS = 1, 40


def gait_subject(name: str, data: Path) -> Recordings:
    """Read a subject's gait: at most six strides of each trial (nine of walk_sub1), spread evenly."""
    dataset = WHO[name].split("/")[0]
    folder = data / dataset
    with (data / "trials.csv").open(encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["dataset"] == dataset and r["activation_source"] == "so"]
    with (data / "emg_channels.csv").open(encoding="utf-8") as stream:
        listed = [r for r in csv.DictReader(stream) if r["dataset"] == dataset]
    listed = [r for r in listed if r["emg_column"] != "vasint_l_activation"]
    model = read_model(data / rows[0]["model_file"])
    cyclic = name == "predictsim"
    names = list(dict.fromkeys(r["trial"] for r in rows))
    if cyclic:
        # The cycles that have all channels.
        names = [f"gait_cycle{k:02d}" for k in (1, 3, 5, 7, 8, 10)]
    if name == "ceinms":
        names = ["walk36", "walk45", "run81"]
    trials, spans = [], []
    for trial in names:
        own = [r for r in rows if r["trial"] == trial]
        most = 9 if name == "walk_sub1" else 6
        if len(own) > most:
            own = [own[int(k)] for k in np.linspace(0, len(own) - 1, most)]
        start, end = min(float(r["t_start"]) for r in own), max(float(r["t_end"]) for r in own)
        loads = None if cyclic else folder / f"{trial}_external_loads.xml"
        lowpass = -1.0 if cyclic else 10.0 if trial.startswith("run") else 6.0
        motion = read_motion(
            model, folder / f"{trial}_ik.mot", loads, lowpass=lowpass, start=start - 0.6, end=end + 0.2
        )
        if cyclic:
            motion = with_torques(motion, read_storage(folder / f"{trial}_id.sto"))
        simulated = joined([data / r["activation_file"] for r in own], list(model.muscles))
        cycles = [Cycle(r["side"], float(r["t_start"]), float(r["t_end"])) for r in own]
        trials.append(
            RecordedTrial(
                trial, motion, read_storage(data / own[0]["emg_file"]), simulated, {cycles[0].side: cycles}, cyclic
            )
        )
        spans.append([(cycle.start, cycle.end) for cycle in cycles])
    channels = [
        EmgChannel(r["emg_column"], tuple(r["muscles"].split(";")))
        for r in listed
        if all(r["emg_column"] in trial.emg.labels for trial in trials)
    ]
    return Recordings.build(data / rows[0]["model_file"], trials, channels, spans=spans)


def choosing_subject(root: Path, dataset: str, subject: str, side: str) -> Recordings:
    """Read a subject's gait, one window per stride, and the channels of the strides' limb."""
    folder = root / dataset
    with (root / "trials.csv").open(encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["subject"] == subject and r["activation_source"] == "so"]
    rows = [r for r in rows if not side or r["side"] == side]
    with (root / "emg_channels.csv").open(encoding="utf-8") as stream:
        listed = [r for r in csv.DictReader(stream) if r["dataset"] == dataset and r["standard_name"]]
    model = read_model(root / rows[0]["model_file"])
    cyclic = dataset == "cp_child"
    trials, spans = [], []
    for row in rows:
        trial, start, end = row["trial"], float(row["t_start"]), float(row["t_end"])
        files = folder / f"{trial}_ik.mot", None if cyclic else folder / f"{trial}_external_loads.xml"
        if dataset == "walk_3d_example":
            files = folder / "coordinates_100Hz.mot", folder / "grf_walk.xml"
        motion = read_motion(model, *files, lowpass=-1.0 if cyclic else 6.0, start=start - 0.6, end=end + 0.2)
        if cyclic:
            motion = with_torques(motion, read_storage(folder / f"{trial}_id.sto"))
        simulated = joined([root / row["activation_file"]], list(model.muscles))
        strike = float(row["heel_strike_t"] or start)
        cycle = Cycle(row["side"], start, end, (strike - start) / (end - start))
        emg = read_storage(root / row["emg_file"])
        trials.append(RecordedTrial(trial, motion, emg, simulated, {cycle.side: [cycle]}, cyclic))
        spans.append([(start, end)])
    channels = [EmgChannel(r["emg_column"], tuple(r["muscles"].split(";"))) for r in listed]
    limb = [c for c in channels if all(m.endswith(f"_{rows[0]['side']}") for m in c.muscles)]
    return Recordings.build(model.path, trials, limb, spans=spans)


def report_choosing(roots: Sequence[Path], people: Sequence[PersonCycles], settings: Settings) -> None:
    """Print how channels of the subjects are estimated on whom settings were chosen, with and without population."""
    subjects = [
        (subject, choosing_subject(roots[place], dataset, subject, side)) for place, dataset, subject, side in CHOOSING
    ]
    for words in ("with population", "without population"):
        table: dict[str, dict[str, list[ChannelScore]]] = {}
        errors: dict[str, list[tuple[float, float]]] = {}
        for subject, recordings in subjects:
            population = None
            if words == "with population":
                population = Population.learn([p for p in people if p.subject != subject])
            run = estimate_subject(recordings, "structured", population, steps=settings.steps)
            every = np.ones(len(recordings.windows), dtype=bool)
            fit, right = (run.fitted.torque_errors(recordings, every, put_right=which) for which in (False, True))
            errors.setdefault(subject, []).append((float(fit.mean()), float(right.mean())))
            for score in run.scores:
                kind = "all synergists" if score.left_out == "group" else "one channel, a synergist measured"
                if not score.synergist_measured and score.left_out == "channel":
                    kind = "one channel, no synergist measured"
                table.setdefault(kind, {}).setdefault(subject, []).append(score)
        print_choosing(words, table, errors)


def print_choosing(
    words: str,
    table: Mapping[str, Mapping[str, Sequence[ChannelScore]]],
    errors: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    """Print means over subjects."""
    print(f"\n## subjects on whom settings were chosen, {words}")
    print(
        "| left out | subjects | channels | this method r/R2 | simulation | SynX | copy | other subjects' weights ",
        end="",
    )
    print("| activations written |\n" + "|---" * 9 + "|")
    for kind, subjects in table.items():
        cells = [
            "/".join(
                f"{np.mean([np.mean([getattr(s, what + way) for s in own]) for own in subjects.values()]):.3f}"
                for what in ("r", "R2")
            )
            for way in ("", *(f"_{other}" for other in OTHERS), "_written")
        ]
        count = sum(map(len, subjects.values()))
        print(f"| {kind} | {len(subjects)} | {count} | " + " | ".join(cells) + " |")
    coverage = [s.coverage for subjects in table.values() for own in subjects.values() for s in own]
    low = int(np.sum(np.array(coverage) < 0.75))
    print(
        f"90 % bands: {np.nanmean(coverage):.2f}, worst {np.nanmin(coverage):.2f}; {low} of {len(coverage)} below .75"
    )
    cells = [f"{subject} {fit:.1f}, {right:.2f}" for subject, own in errors.items() for fit, right in own]
    print("torque RMSE, % of peak, of the fit and put right: " + "; ".join(cells), flush=True)


def joined(files: Sequence[Path], muscles: Sequence[str]) -> TimeSeries:
    """Put the strides' static optimisations one after the other."""
    parts = []
    for file in files:
        series = read_storage(file)
        labels = find_so_activation_columns(series, list(muscles))
        parts.append((series.time, series.select(list(labels.values())), tuple(labels)))
    time, table = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    order = np.argsort(time, kind="stable")
    kept = order[np.concatenate([[True], np.diff(time[order]) > 1e-6])]
    return TimeSeries(time[kept], parts[0][2], table[kept])


@dataclass(frozen=True)
class Settings:
    """How the benchmark runs.

    Parameters
    ----------
    seeds : int
        How many runs a figure is the mean of.
    methods : tuple of str
        Methods beside the default.
    steps : int or None
        Steps of the fits; None: the package's.
    included : bool
        Whether those judged are left in the population.
    """

    seeds: int
    methods: tuple[str, ...]
    steps: int | None
    included: bool = False


@dataclass(frozen=True)
class Errors:
    """RMSE of torques (% of peak, mean over coordinates) of the fit and put right, in fitted and unseen windows."""

    fitted: float
    unseen: float
    fitted_right: float
    unseen_right: float

    def __str__(self) -> str:
        """Say all four."""
        return (
            f"{self.fitted:.1f}, {self.unseen:.1f} (fit); {self.fitted_right:.2f}, {self.unseen_right:.2f} (put right)"
        )


def report_gait(
    name: str, data: Path, people: Sequence[PersonCycles], settings: Settings
) -> tuple[list[SubjectEstimate], Errors]:
    """Print one subject's tables; return the default method's runs and its torques' errors."""
    others = [p for p in people if settings.included or f"{p.laboratory}/{p.subject}" != WHO[name]]
    population = Population.learn(others)
    recordings = gait_subject(name, data)
    columns = [channel.column for channel in recordings.channels]
    fitted = np.ones(len(recordings.windows), dtype=bool)
    fitted[list(JUDGED[name])] = False
    folds = [
        (kind, [columns.index(column) for column in held])
        for kind, table in (("channel", FOLDS), ("group", GROUPS))
        for held in table[name]
    ]
    return report_subject(name, recordings, population, fitted, folds, settings)


def report_subject(
    name: str,
    recordings: Recordings,
    population: Population | None,
    fitted: NDArray[np.bool_],
    folds: Sequence[tuple[str, Sequence[int]]],
    settings: Settings,
) -> tuple[list[SubjectEstimate], Errors]:
    """Estimate a subject by every method and print its tables; return the default method's runs and torque errors."""
    found = []
    for method in ("structured", *settings.methods):
        start = time.process_time()
        runs = [
            estimate_subject(
                recordings, method, population, fitted=fitted, folds=folds, steps=settings.steps, seed=seed
            )
            for seed in range(settings.seeds)
        ]
        seconds = (time.process_time() - start) / settings.seeds
        print(
            f"\n## {name}, {method}: {len(recordings.channels)} channels of {len(recordings.muscles)} muscles, ", end=""
        )
        print(f"judged on {int((~fitted).sum())} windows")
        print_scores(runs)
        errors = Errors(
            *(
                float(np.mean([r.fitted.torque_errors(recordings, w, put_right=right).mean() for r in runs]))
                for right in (False, True)
                for w in (fitted, ~fitted)
            )
        )
        print(f"torque RMSE, % of peak, fitted and unseen windows: {errors}")
        print(f"{seconds:.0f} s of processor time a run", flush=True)
        found.append((runs, errors))
    return found[0]


def means(runs: Sequence[SubjectEstimate], kind: str, what: str) -> Array:
    """Return the mean over seeds of a measure of every left-out channel."""
    result: Array = np.mean([[getattr(s, what) for s in run.scores if s.left_out == kind] for run in runs], axis=0)
    return result


def pairs(found: Iterable[Sequence[SubjectEstimate]], kind: str, without: str = "") -> list[str]:
    """Write r/R2 of this method and the others: means over channels, then over subjects."""
    cells = []
    for way in ("", *(f"_{other}" for other in OTHERS)):
        numbers = []
        for what in ("r", "R2"):
            means_of = []
            for runs in found:
                kept = [s.channel != without for s in runs[0].scores if s.left_out == kind]
                means_of.append(means(runs, kind, what + way)[kept].mean())
            numbers.append(f"{np.mean(means_of):.3f}")
        cells.append("–" if "nan" in numbers else "/".join(numbers))
    return cells


def print_scores(runs: Sequence[SubjectEstimate]) -> None:
    """Print means over channels and seeds, and how many channels are better than each baseline."""
    print("| left out | channels | r/R2 | " + " | ".join(f"{other} r/R2" for other in OTHERS), end="")
    print(" | better R2 than " + ", ".join(OTHERS) + " | coverage mean/worst |")
    print("|---" * (5 + len(OTHERS)) + "|")
    for kind in ("channel", "group"):
        own = means(runs, kind, "R2")
        if not own.size:
            continue
        better = [int((own > means(runs, kind, f"R2_{other}")).sum()) for other in OTHERS]
        coverage = means(runs, kind, "coverage")
        cells = " | ".join(pairs([runs], kind))
        print(f"| {kind} | {own.size} | {cells} | {', '.join(map(str, better))} ", end="")
        print(f"| {np.nanmean(coverage):.2f}/{np.nanmin(coverage):.2f} |")
    for score in runs[0].scores:
        print(
            f"    {score.channel} ({score.left_out}): r {score.r:.2f} R2 {score.R2:.2f}, written {score.r_written:.2f}/"
            f"{score.R2_written:.2f}; "
            + ", ".join(f"{o} {getattr(score, f'r_{o}'):.2f}/{getattr(score, f'R2_{o}'):.2f}" for o in OTHERS)
        )


def print_summary(found: Mapping[str, tuple[list[SubjectEstimate], Errors]]) -> None:
    """Print the table of gait in docs/deep_muscles.md and the figures below it."""
    subjects = {name: runs for name, (runs, _) in found.items()}
    print("\n## gait, all subjects")
    print("| left out | subject | this method r/R2 | simulation | SynX | copy | other subjects' weights |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("channel", "group"):
        for name, runs in subjects.items():
            print(f"| {kind} | {name} | " + " | ".join(pairs([runs], kind)) + " |")
    for kind in ("channel", "group"):
        print(f"| {kind} | mean | " + " | ".join(pairs(subjects.values(), kind)) + " |")
        print(f"| {kind} | mean without {UNTOLD} | " + " | ".join(pairs(subjects.values(), kind, UNTOLD)) + " |")
    for kind in ("channel", "group"):
        table = {
            other: np.concatenate([means(runs, kind, f"R2{other}") for runs in subjects.values()])
            for other in ("", *(f"_{other}" for other in OTHERS))
        }
        better = ", ".join(f"{other} {int((table[''] > table[f'_{other}']).sum())}" for other in OTHERS)
        print(f"{kind}: of {table[''].size} channels, better (R2) than {better}")
        coverage = {name: means(runs, kind, "coverage") for name, runs in subjects.items()}
        cells = (f"{name} {np.nanmean(v):.2f}, worst {np.nanmin(v):.2f}" for name, v in coverage.items())
        print(f"{kind}: 90 % bands hold " + "; ".join(cells))
        written = np.mean(
            [[means(runs, kind, f"{what}_written").mean() for what in ("r", "R2")] for runs in subjects.values()], 0
        )
        print(f"{kind}: r/R2 of the activations written {written[0]:.3f}/{written[1]:.3f}")
    print("torque RMSE, % of peak, fitted and unseen windows:")
    for name, (_, errors) in found.items():
        print(f"    {name}: {errors}")


def back_subject(more: Path, lifts: Sequence[str] = LIFTS) -> Recordings:
    """Read lifts of 5 and 15 kg: a lumbar model, torques from files, four pairs of channels; no simulation is given."""
    folder = more / "back_lifting"
    model = read_model(folder / "lumbarModel_scaled.osim")
    trials = []
    for name in lifts:
        torques = read_storage(folder / f"{name}_id.sto")
        # Torques end a row before the motion.
        motion = read_motion(model, folder / f"{name}_ik.sto", end=float(torques.time[-1]))
        trials.append(RecordedTrial(name, with_torques(motion, torques), read_storage(folder / f"{name}_emg.sto")))
    channels = [
        EmgChannel(f"{stem}_{side}", tuple(m for m in model.muscles if m.startswith(starts) and m.endswith(f"_{side}")))
        for stem, starts in TRUNK.items()
        for side in "rl"
    ]
    return Recordings.build(model.path, trials, channels, coordinates=LUMBAR)


def report_back(more: Path, settings: Settings) -> None:
    """Print the trunk's table: both sides of a muscle are left out together. There is no population of lifting."""
    recordings = back_subject(more)
    count = len(recordings.windows)
    fitted = np.zeros(count, dtype=bool)
    fitted[np.linspace(0, count - 1, FITTED_LIFTS).round().astype(int)] = True
    folds = [("channel", [2 * k, 2 * k + 1]) for k in range(len(TRUNK))]
    report_subject("trunk that lifts", recordings, None, fitted, folds, settings)


def report_elbow(settings: Settings) -> None:
    """Print the elbow's table: loads of 0, 2 and 4 kg are fitted, 3 kg is not."""
    file = Path(__file__).resolve().parent.parent / "examples" / "06_deep_elbow" / "make_example.py"
    spec = importlib.util.spec_from_file_location("make_deep_elbow", file)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    loads = (0.0, 2.0, 4.0, 3.0)
    found: dict[str, list[list[float]]] = {}
    for seed in range(settings.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            example.make(folder, seed=seed, loads=loads, seconds=8.0)
            trials = []
            for load in loads:
                loaded = folder / "loaded.osim"
                write_carried_mass(folder / "elbow.osim", loaded, {"forearm": load}, example.HAND)
                name = f"lift_{load:g}kg"
                motion = read_motion(read_model(loaded), folder / f"{name}.mot")
                trials.append(RecordedTrial(name, motion, read_storage(folder / f"{name}_emg.sto")))
            channels = [EmgChannel(m, (m,)) for m in example.MUSCLES if m not in example.DEEP]
            recordings = Recordings.build(folder / "elbow.osim", trials, channels)
            fitted = recordings.windows.trial != 3
            truths = np.stack(
                [
                    [
                        np.interp(rows[LEAD:], truth.time, truth.column(muscle))
                        for rows, trial in zip(recordings.windows.time, recordings.windows.trial, strict=True)
                        for truth in [read_storage(folder / f"lift_{loads[trial]:g}kg_truth.sto")]
                    ]
                    for muscle in example.DEEP
                ],
                -1,
            )
        deep = [recordings.muscles.index(m) for m in example.DEEP]
        simulated = recordings.simulated(np.zeros(len(trials)))[:, LEAD:][..., deep]
        tables: dict[str, tuple[Array, SubjectEstimate | None]] = {"simulation": (simulated, None)}
        for method in dict.fromkeys(("structured", "copy", "synx", *settings.methods)):
            own = estimate_subject(recordings, method, fitted=fitted, validate=False, steps=settings.steps, seed=seed)
            tables[method] = (own.excitations[..., deep], own)
        for method, (values, run) in tables.items():
            numbers = []
            for windows in (fitted, ~fitted):
                numbers += [
                    float(np.corrcoef(values[windows][..., k].ravel(), truths[windows][..., k].ravel())[0, 1])
                    for k in range(len(deep))
                ]
                if run is not None:
                    numbers.append(float(run.fitted.torque_errors(recordings, windows).mean()))
                else:
                    numbers.append(float("nan"))
            found.setdefault(method, []).append(numbers)
    print("\n## elbow, known answer: brachialis and medial triceps unmeasured")
    print("| method | fitted loads: r brachialis, triceps; torque % | unseen load: r brachialis, triceps; torque % |")
    print("|---|---|---|")
    for method, rows in found.items():
        m = np.mean(rows, axis=0)
        print(f"| {method} | {m[0]:.3f}, {m[1]:.3f}; {m[2]:.1f} | {m[3]:.3f}, {m[4]:.3f}; {m[5]:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("more_data", type=Path)
    every = [*WHO, "back", "elbow"]
    parser.add_argument("--only", nargs="+", choices=[*every, "choosing"], default=every)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", choices=["paper", "synx"], default=[], help="beside the default")
    parser.add_argument(
        "--included", action="store_true", help="leave those judged in the population: no estimate, but what bounds it"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does everything run?")
    given = parser.parse_args()
    seeds, steps = (QUICK_SEEDS, QUICK_STEPS) if given.quick else (given.seeds, None)
    settings = Settings(seeds, tuple(given.methods), steps, given.included)
    people = read_people([given.data, given.more_data])
    found = {}
    for name in given.only:
        if name == "elbow":
            report_elbow(settings)
        elif name == "choosing":
            report_choosing([given.data, given.more_data], people, settings)
        elif name == "back":
            report_back(given.more_data, settings)
        else:
            found[name] = report_gait(name, given.data, people, settings)
    if found:
        print_summary(found)


if __name__ == "__main__":
    main()
