"""Do activations keep the shape of EMG and make the torques of the motion? Amplitudes from torques, on real trials.

Networks are trained on three of four adults, without the trial's own subject (``--shipped``: the shipped bundle, which
has seen them). For each trial and way to activations, one line: the shape error against measured
EMG (RMS after the best gain, each channel divided by its maximum), Pearson's r, the torques' error in percent of their
peaks (all coordinates), and by how much muscles without a network moved from the simulation (RMS).

- OpenSim: the simulation's own activations.
- network: its output taken for the activation.
- mean profile: mean EMG cycle of the other subjects, taken for the activation.
- gain 1: the nearest activations to the network's that make the torques.
- torques: free gains (``amplitude`` torques).
- all measured: the trial's own EMG as shapes (``use_emg``); its channels judge it.
- one left out: the same without the channel that judges it, one after the other.

The trials are the shipped example and Gait10dof18musc (no EMG), and CMC of walk_3d_example, ceinms_lower_limb and
walk_sub1, and static optimisation of predictsim_subject1, whose torques are those that its authors measured.

    python benchmarks/amplitude.py [--trial NAME ...] [--networks FOLDER] [--shipped] [--tendons rigid]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from recordings import DATA
from torque_trials import TRIALS, set_up

from opensim_nem2e.data.gait_cycles import read_gait_cycles
from opensim_nem2e.data.manifest import read_channels, read_trials
from opensim_nem2e.estimates.amplitude import rms
from opensim_nem2e.estimates.estimate import Estimate
from opensim_nem2e.estimates.measured_emg import MeasuredEMG, read_measured_emg, with_measured_emg
from opensim_nem2e.estimates.torque_consistent import Consistent, RedistributionSettings, make_consistent
from opensim_nem2e.estimates.torque_metrics import overall_percent
from opensim_nem2e.estimates.torques import Tendons, TorqueCheck, check_torques, joint_terms
from opensim_nem2e.estimates.write import EstimateWriter
from opensim_nem2e.log import logger
from opensim_nem2e.musculoskeletal.torque_model import TorqueTerms
from opensim_nem2e.signals.cycles import stitch
from opensim_nem2e.signals.resample import interpolate
from opensim_nem2e.storage import TimeSeries, read_storage
from opensim_nem2e.storage.muscles import PAPER_MUSCLES, MuscleNames
from opensim_nem2e.tools.mechanics_options import mechanics_settings
from opensim_nem2e.tools.stdr_refine import STDRRefineTool
from opensim_nem2e.tools.stdr_train import STDRTrainTool

SUB1, PREDICTSIM = DATA / "walk_sub1", DATA / "predictsim_subject1"

#: The adults that networks are trained on, and the muscles: the gluteus maximus has EMG in one stride only.
DATASETS = ("ceinms_lower_limb", "walk_sub1", "walk_3d_example", "predictsim_subject1")
MUSCLES = tuple(name for name in PAPER_MUSCLES if not name.startswith("glmax"))

#: The cycles of predictsim_subject1 in which all channels were recorded.
FULL_CYCLES = ("01", "05")


def sub1() -> STDRRefineTool:
    """Set a stride of walk_sub1 up, whose EMG is of the left leg."""
    return set_up(
        model_file=SUB1 / "Rajagopal_scaled_Sub1_gasAvoid.osim",
        states_file=SUB1 / "activations_cmc" / "walking_baseline1_stride10_states.sto",
        external_loads_file=SUB1 / "walking_baseline1_external_loads.xml",
        coordinates_file=SUB1 / "walking_baseline1_ik.mot",
        roll_incomplete_cycles=True,
        emg_file=SUB1 / "walking_baseline1_emg.sto",
        emg_channels_file=DATA / "emg_channels.csv",
        emg_time_offset=-0.02,
    )


def predictsim(cycle: str) -> STDRRefineTool:
    """Set a cycle of predictsim_subject1 up."""
    stem = f"gait_cycle{cycle}"
    return set_up(
        model_file=PREDICTSIM / "subject1.osim",
        activations_file=PREDICTSIM / "activations_so" / f"{stem}_stride01_StaticOptimization_activation.sto",
        coordinates_file=PREDICTSIM / f"{stem}_ik.mot",
        cycle_source="whole_file",
        emg_file=PREDICTSIM / f"{stem}_emg.sto",
        emg_channels_file=DATA / "emg_channels.csv",
        emg_time_offset=-0.085,
    )


ALL_TRIALS = {
    **TRIALS,
    "walk_sub1_stride10": sub1,
    **{f"predictsim_cycle{cycle}": lambda cycle=cycle: predictsim(cycle) for cycle in FULL_CYCLES},
}

#: The dataset and subject of each trial; others were never in the training.
ORIGINS = {
    "walk_3d_example": ("walk_3d_example", "rajagopal_walk_subject"),
    "ceinms": ("ceinms_lower_limb", "ceinms_S06"),
    "walk_sub1": ("walk_sub1", "uhlrich_sub1"),
    "predictsim": ("predictsim_subject1", "falisse_subject1"),
}


@dataclass(frozen=True)
class Case:
    """A trial, read.

    Parameters
    ----------
    estimate : Estimate
        The network's.
    writer : EstimateWriter
        The trial and its muscles.
    terms : TorqueTerms
        What its torques are made of.
    emg : MeasuredEMG or None
        Its EMG.
    settings : RedistributionSettings
        The tool's.
    profile : Estimate
        Mean EMG cycles of other subjects.
    """

    estimate: Estimate
    writer: EstimateWriter
    terms: TorqueTerms
    emg: MeasuredEMG | None
    settings: RedistributionSettings
    profile: Estimate


def origin(name: str) -> tuple[str, str]:
    """Return the dataset and the subject of a trial."""
    return next((where for start, where in ORIGINS.items() if name.startswith(start)), ("", ""))


def mean_profiles(subject: str) -> dict[str, np.ndarray]:
    """Return the mean walking cycle of each muscle's EMG over all other subjects."""
    records = [row for row in read_trials(DATA / "trials.csv") if row.dataset in DATASETS]
    records = [row for row in records if row.motion == "walk" and row.activation_source == "so"]
    samples = read_gait_cycles(records, read_channels(DATA / "emg_channels.csv"), targets=PAPER_MUSCLES).samples
    found = {}
    for muscle in samples.channels["emg"]:
        emg = samples.channel("emg", muscle)
        known = np.isfinite(emg).all(axis=1) & (samples.subjects != subject)
        means = [emg[known & (samples.subjects == one)].mean(axis=0) for one in np.unique(samples.subjects[known])]
        if means:
            found[muscle] = np.mean(means, axis=0)
    return found


def network(dataset: str, folder: Path) -> str:
    """Return a bundle that was trained without a dataset."""
    path = folder / dataset / "gait.safetensors"
    if dataset and not path.is_file():
        tool = STDRTrainTool()
        tool.setName("gait")
        tool.trials_file = str(DATA / "trials.csv")
        tool.emg_channels_file = str(DATA / "emg_channels.csv")
        tool.setResultsDir(folder / dataset)
        tool.datasets = [one for one in DATASETS if one != dataset]
        tool.motions = ["walk", "run"]
        tool.activation_sources = ["so", "cmc"]
        tool.muscles = MUSCLES
        tool.emg_normalization = "trial_max"
        tool.preset = "fast"
        tool.validate = "none"
        tool.run()
    return str(path) if dataset else "gait"


def read_case(name: str, bundle: str, profiles: Mapping[str, np.ndarray], tendons: Tendons) -> Case:
    """Read a trial and apply a network to it."""
    tool = ALL_TRIALS[name]()
    tool.bundle_file = bundle
    read = tool._estimate()
    estimate, writer, model = read.estimate, read.writer, read.model
    trial = writer.trial
    files = tool.resolve("coordinates_file"), tool.resolve("external_loads_file")
    terms = joint_terms(trial, model, *files, tool.lowpass_cutoff_frequency_for_coordinates, (), tendons)
    emg = None
    if tool.emg_file:
        path, channels = tool.resolve("emg_file"), tool.resolve("emg_channels_file")
        emg = read_measured_emg(path, channels, tool.emg_time_offset, trial.activations)
    if emg is not None and name.startswith("predictsim"):
        terms = with_measured_torques(terms, Path(tool.coordinates_file.replace("_ik.mot", "_id.sto")))
        emg = replace(emg, series=repeated(emg.series))
    settings = mechanics_settings(tool).redistribution
    assert settings is not None
    items = {}
    for item in estimate:
        if item.standard_name in profiles:
            windows = [profiles[item.standard_name][:, np.newaxis]] * len(item.cycles)
            values, _ = stitch(trial.time, trial.activations[item.muscle], item.cycles, windows)
            items[item.muscle] = replace(item, values=values, joined=None, curves=None)
    return Case(estimate, writer, terms, emg, settings, replace(estimate, muscles=items))


def with_measured_torques(terms: TorqueTerms, path: Path) -> TorqueTerms:
    """Take the authors' inverse dynamics, of the leg whose muscles there are."""
    measured = read_storage(path)
    terms = terms.of([name for name in terms.coordinates if name.endswith("_r") and measured.has(f"{name}_moment")])
    torques = np.column_stack([measured.column(f"{name}_moment") for name in terms.coordinates])
    return replace(terms, inverse_dynamics=interpolate(measured.time, torques, terms.time))


def repeated(series: TimeSeries) -> TimeSeries:
    """Let a file of exactly one cycle go on before and after it."""
    duration = series.time[-1] - series.time[0]
    time = np.concatenate([series.time[:-1] + k * duration for k in (-1, 0, 1)])
    return TimeSeries(time, series.labels, np.concatenate([series.data[:-1]] * 3))


def percent(check: TorqueCheck, torques: np.ndarray) -> float:
    """Return the torques' error in percent of their peaks."""
    needed, rows = check.terms.inverse_dynamics, check.compared
    columns = range(len(check.terms.coordinates))
    errors = [rms((torques - needed)[rows[:, k], k]) for k in columns]
    return overall_percent(errors, [np.abs(needed[rows[:, k], k]).max() for k in columns])


def judged(case: Case, activations: Estimate | None, muscles: list[str]) -> tuple[float, float]:
    """Return shape error and r of activations (None: OpenSim's) of some muscles."""
    if case.emg is None:
        return float("nan"), float("nan")
    trial = case.writer.trial
    values = trial.activations if activations is None else activations.values(trial.activations)
    cycles = {name: cycles for name, cycles in case.estimate.cycles().items() if name in muscles}
    rows = case.emg.errors({"refined": (trial.time, values)}, cycles, np.inf)
    return float(np.mean([row.shape_refined for row in rows])), float(np.mean([row.r_refined for row in rows]))


def solve(case: Case, shapes: Estimate, free: bool = True) -> Consistent:
    """Make an estimate consistent with the torques."""
    settings = case.settings if free else replace(case.settings, free_gains=False, others_weight=0.1)
    activations = shapes.as_activations(case.writer.muscles, settings.crossfade)
    return make_consistent(case.writer.trial, case.writer.muscles, activations, case.terms, settings, None, shapes)


def show(way: str, shape: float, r: float, torque: float, moved: float) -> None:
    """Print a line."""
    print(f"  {way:<14} {shape:6.3f} {r:6.3f} {torque:9.3f} % {moved:8.3f}", flush=True)


def run_trial(name: str, bundle: str, profiles: Mapping[str, np.ndarray], tendons: Tendons) -> None:
    """Print a trial's table."""
    case = read_case(name, bundle, profiles, tendons)
    trial, blend = case.writer.trial, case.settings.crossfade
    muscles = [name for name in case.estimate.muscles if case.emg is None or name in case.emg.channels]
    print(f"\n{name} ({len(muscles)} muscles)\n  {'':<14}  shape      r      torque   others")
    free, fixed = solve(case, case.estimate), solve(case, case.estimate, free=False)
    show("OpenSim", *judged(case, None, muscles), percent(free.check, free.check.opensim), 0.0)
    show("network", *judged(case, case.estimate.blended(blend), muscles), percent(free.check, free.check.refined), 0.0)
    if case.emg is not None:
        profile = case.profile.as_activations(case.writer.muscles, blend)
        check = check_torques(trial, profile, case.terms)
        known = [one for one in muscles if one in profile.muscles]
        show("mean profile", *judged(case, case.profile.blended(blend), known), percent(check, check.refined), 0.0)
    for way, found in (("gain 1", fixed), ("torques", free)):
        assert found.new.amplitude is not None
        show(
            way, *judged(case, found.new, muscles), found.new.amplitude.torque_error, found.new.amplitude.others_moved()
        )
    if case.emg is not None:
        measured_ways(case, case.emg)


def measured_ways(case: Case, emg: MeasuredEMG) -> None:
    """Print what the trial's own EMG does as shapes."""
    trial = case.writer.trial
    names = MuscleNames.load().of_model(trial.activations)
    cycles = {item.side: item.cycles for item in case.estimate}
    found = solve(case, with_measured_emg(case.estimate, emg, trial, names, cycles))
    amplitude = found.new.amplitude
    assert amplitude is not None
    muscles = [name for name in emg.channels if name in case.estimate.muscles]
    shape, r = judged(case, found.new, muscles)
    show("all measured", shape, r, amplitude.torque_error, amplitude.others_moved())
    figures = []
    for channel in dict.fromkeys(emg.channels[name] for name in muscles):
        rest = replace(emg, channels={name: one for name, one in emg.channels.items() if one != channel})
        shapes = with_measured_emg(case.estimate, rest, trial, names, cycles)
        found = solve(case, shapes)
        amplitude = found.new.amplitude
        assert amplitude is not None
        out = [name for name in muscles if emg.channels[name] == channel]
        figures.append((*judged(case, found.new, out), amplitude.torque_error, amplitude.others_moved()))
    show("one left out", *np.mean(figures, axis=0))


def main() -> None:
    """Run the trials that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trial", nargs="+", choices=tuple(ALL_TRIALS), default=tuple(ALL_TRIALS))
    parser.add_argument("--networks", type=Path, help="where the networks are kept (default: nowhere)")
    parser.add_argument("--tendons", choices=("auto", "rigid", "elastic"), default="auto")
    parser.add_argument("--shipped", action="store_true", help="use the shipped bundle for all trials")
    options = parser.parse_args()
    logging.getLogger(logger.name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="amplitude_") as scratch:
        for name in options.trial:
            model = ALL_TRIALS[name]().resolve("model_file")
            if model is None or not model.is_file():
                print(f"\n{name}: its model is not there")
                continue
            dataset, subject = origin(name)
            bundle = "gait" if options.shipped else network(dataset, options.networks or Path(scratch))
            run_trial(name, bundle, mean_profiles(subject) if dataset else {}, options.tendons)


if __name__ == "__main__":
    main()
