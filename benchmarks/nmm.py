"""The figures of NMM: channels left out on real gait, and an elbow whose answer is known.

    python benchmarks/nmm.py DATA MORE_DATA [--only predictsim walk_sub1 ceinms elbow] [--seeds 3] [--methods paper]

DATA and MORE_DATA are folders with ``trials.csv`` and ``emg_channels.csv``. Every subject is estimated with a
population without this subject; strides are fitted or kept to be judged on (the lists below), and all figures are of
the latter. Shares, trust and the population's ridge were chosen on the other subjects. What is not blind: the size of
the deviation and the price of torques were chosen with predictsim and walk_sub1 in view, learning rates and steps by
the loss on walk_sub1, the cosine of synergists with all three.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from population_bundle import read_people

from opensim_nem2e import TimeSeries, read_storage
from opensim_nem2e.estimates.static_optimization import read_motion
from opensim_nem2e.methods.nmm.population import PersonCycles, Population
from opensim_nem2e.methods.nmm.recordings import LEAD, EmgChannel, RecordedTrial, Recordings, with_torques
from opensim_nem2e.methods.nmm.subject_estimate import SubjectEstimate, estimate_subject
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage.labels import find_so_activation_columns
from opensim_nem2e.storage.osim import read_model
from opensim_nem2e.storage.osim_edit import write_carried_mass

#: By subject: who it is in the population, which windows are kept to be judged on, what is left out together.
WHO = {
    "predictsim": "predictsim_subject1/falisse_subject1",
    "walk_sub1": "walk_sub1/uhlrich_sub1",
    "ceinms": "ceinms_lower_limb/ceinms_S06",
}
JUDGED = {"predictsim": (4, 5), "walk_sub1": (2, 5, 8), "ceinms": tuple(range(1, 18, 2))}
FOLDS = {
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
GROUPS = {
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


def report_gait(name: str, data: Path, people: Sequence[PersonCycles], seeds: int, methods: Sequence[str]) -> None:
    """Print one subject's tables."""
    population = Population.learn([p for p in people if f"{p.laboratory}/{p.subject}" != WHO[name]])
    recordings = gait_subject(name, data)
    columns = [channel.column for channel in recordings.channels]
    fitted = np.ones(len(recordings.windows), dtype=bool)
    fitted[list(JUDGED[name])] = False
    folds = [
        (kind, [columns.index(column) for column in held])
        for kind, table in (("channel", FOLDS), ("group", GROUPS))
        for held in table[name]
    ]
    for method in ("structured", *methods):
        runs = []
        start = time.process_time()
        for seed in range(seeds):
            runs.append(estimate_subject(recordings, method, population, fitted=fitted, folds=folds, seed=seed))
        seconds = (time.process_time() - start) / seeds
        print(f"\n## {name}, {method}: {len(columns)} channels, judged on {int((~fitted).sum())} windows")
        print_scores(runs)
        errors = [np.mean([r.fitted.torque_errors(recordings, w).mean() for r in runs]) for w in (fitted, ~fitted)]
        print(f"torque RMSE, % of peak: fitted windows {errors[0]:.1f}, unseen {errors[1]:.1f}")
        print(f"{seconds:.0f} s of processor time a run")


def print_scores(runs: Sequence[SubjectEstimate]) -> None:
    """Print means over channels and seeds, and how many channels are better than each baseline."""
    print("| left out | channels | r/R2 | " + " | ".join(f"{other} r/R2" for other in OTHERS), end="")
    print(" | better R2 than " + ", ".join(OTHERS) + " | coverage mean/worst |")
    print("|---" * (6 + len(OTHERS)) + "|")
    for kind in ("channel", "group"):
        table = [[s for s in run.scores if s.left_out == kind] for run in runs]
        if not table[0]:
            continue

        def mean(what: str, table: list = table) -> np.ndarray:
            return np.mean([[getattr(s, what) for s in rows] for rows in table], axis=0)

        cells = [f"{mean('r').mean():.3f}/{mean('R2').mean():.3f}"]
        cells += [f"{mean(f'r_{o}').mean():.3f}/{mean(f'R2_{o}').mean():.3f}" for o in OTHERS]
        better = [int((mean("R2") > mean(f"R2_{other}")).sum()) for other in OTHERS]
        coverage = mean("coverage")
        print(
            f"| {kind} | {len(table[0])} | "
            + " | ".join(cells)
            + f" | {', '.join(map(str, better))} | {np.nanmean(coverage):.2f}/{np.nanmin(coverage):.2f} |"
        )
    for score in runs[0].scores:
        print(
            f"    {score.channel} ({score.left_out}): r {score.r:.2f} R2 {score.R2:.2f}; "
            + ", ".join(f"{o} {getattr(score, f'r_{o}'):.2f}/{getattr(score, f'R2_{o}'):.2f}" for o in OTHERS)
        )


def report_elbow(seeds: int, methods: Sequence[str]) -> None:
    """Print the elbow's table: loads of 0, 2 and 4 kg are fitted, 3 kg is not."""
    file = Path(__file__).resolve().parent.parent / "examples" / "06_deep_elbow" / "make_example.py"
    spec = importlib.util.spec_from_file_location("make_deep_elbow", file)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    loads = (0.0, 2.0, 4.0, 3.0)
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
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
        tables = {"simulation": (simulated, None)}
        for method in ("structured", "copy", "synx", *methods):
            run = estimate_subject(recordings, method, fitted=fitted, validate=False, seed=seed)
            tables[method] = (run.excitations[..., deep], run)
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
    parser.add_argument("--only", nargs="+", choices=[*WHO, "elbow"], default=[*WHO, "elbow"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", choices=["paper", "synx"], default=[], help="beside the default")
    given = parser.parse_args()
    people = read_people([given.data, given.more_data])
    for name in given.only:
        if name == "elbow":
            report_elbow(given.seeds, given.methods)
        else:
            report_gait(name, given.data, people, given.seeds, given.methods)


if __name__ == "__main__":
    main()
