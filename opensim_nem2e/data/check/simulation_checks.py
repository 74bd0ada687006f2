"""What can be wrong with a simulation, its model and its motion.

References
----------
Hicks, J. L., Uchida, T. K., Seth, A., Rajagopal, A., Delp, S. L. (2015). Is my model good enough? Best practices for
verification and validation of musculoskeletal models and simulations of movement. J. Biomech. Eng. 137, 020905.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import NEM2EError, StorageError, did_you_mean
from ...musculoskeletal.motions import refuse_another_motion, unit_of_angles
from ...musculoskeletal.planar_leg import GRAVITY
from ...storage import TimeSeries, parse_label
from ...storage.safe_xml import parse_xml
from ..discovery import listed
from ..manifest import CycleRecord
from .findings import Findings
from .recording_checks import Files, Recording
from .run_checks import RESERVE_NAME, RESIDUAL_FORCE_NAME, RESIDUAL_MOMENT_NAME, judge_run

Array = NDArray[np.float64]

#: A muscle at 0.99 or more for one sample of a network's window (of 20) or longer has reached its limit.
SATURATED, SATURATED_SHARE = 0.99, 0.05

#: Reserves above 5 % of the net joint moments, residual forces above 5 % of the external force and residual moments
#: above 1 % of it times the height of the mass centre do the muscles' or the ground's work (Hicks et al. 2015). Net
#: moments of gait peak at about 1.5 Nm/kg, forces at 1.2 times body weight, the mass centre is 1 m high.
RESERVE = 0.05 * 1.5
RESIDUAL_FORCE = 0.05 * 1.2 * GRAVITY
RESIDUAL_MOMENT = 0.01 * 1.0 * 1.2 * GRAVITY

#: OpenSim's guide ("Simulation with OpenSim - Best Practices") calls largest tracking errors up to 2 degrees good, and
#: above 5 degrees bad.
TRACKING = 5.0

#: How many names a finding lists.
_LISTED = 6


def check_simulation(recordings: Sequence[Recording], files: Files, findings: Findings) -> None:
    """Examine models, activations, reserves and motions.

    Parameters
    ----------
    recordings : sequence of Recording
        The recordings.
    files : Files
        Reads.
    findings : Findings
        Takes what is found.
    """
    known: dict[str, set[str]] = {}
    for recording in recordings:
        models = filter(None, (files.model(trial.model_file) for trial in recording.trials))
        known.setdefault(recording.trials[0].dataset, set()).update(*(model.muscles for model in models))
    for recording in recordings:
        _muscles(recording, known[recording.trials[0].dataset], files, findings)
        _saturation(recording, files, findings)
        for trial in recording.trials:
            _reserves(trial, recording.name, files, findings)
            _tracking(trial, recording.name, findings)
            if trial.coordinates_file is not None:
                _angles(trial.coordinates_file, trial, files, findings)
                _another_motion(trial.coordinates_file, trial, files, findings)
            _angles(trial.simulated, trial, files, findings)


def _muscles(recording: Recording, others: set[str], files: Files, findings: Findings) -> None:
    """Look for the channels' muscles in the recording's models; ``others`` are those of the dataset's other models."""
    measured = {label for series in map(files.series, recording.emg_files) if series for label in series.labels}
    for trial in {trial.model_file: trial for trial in recording.trials}.values():
        model = files.model(trial.model_file)
        if model is None:
            continue
        for channel in recording.channels:
            # What this subject was not measured with may be another's channel.
            if channel.column not in measured and set(channel.muscles) & others:
                continue
            absent = [name for name in channel.muscles if name not in model.muscles]
            none_left = len(absent) == len(channel.muscles)
            if not absent or (not none_left and others.issuperset(absent)):
                continue
            hint = did_you_mean(absent[0], model.muscles)
            what = f"the model '{model.path.name}' has no muscle {listed(absent, _LISTED)}.{hint}"
            severity = "error" if none_left and channel.standard_name else "note"
            where = f"{recording.trials[0].dataset}: {channel.column}"
            findings.add(severity, "muscle", where, what, "correct the names in emg_channels.csv.")


def _saturation(recording: Recording, files: Files, findings: Findings) -> None:
    reached: dict[str, int] = {}
    for trial in recording.trials:
        series = files.series(trial.simulated, trial.model_file)
        if series is None:
            continue
        rows = (series.time >= trial.start) & (series.time <= trial.end)
        if rows.sum() < 2:
            continue
        # Rows of CMC are uneven: what counts is time.
        weight = np.gradient(series.time[rows])
        for muscle, label in files.activation_columns(trial).items():
            at_limit = series.data[rows, series.labels.index(label)] >= SATURATED
            if weight[at_limit].sum() >= SATURATED_SHARE * weight.sum():
                reached[muscle] = reached.get(muscle, 0) + 1
    if reached:
        names = sorted(reached, key=lambda name: (-reached[name], name))
        many = f"{len(names)} muscles" if len(names) > 1 else "1 muscle"
        counts = listed([f"{name} ({reached[name]} of {len(recording.trials)})" for name in names], _LISTED)
        what = f"{many} at the limit for {SATURATED_SHARE:.0%} of a cycle or more: {counts}."
        remedy = "the model may be too weak for this motion (max_isometric_force), or a coordinate or load is wrong."
        findings.add("note", "saturated", recording.name, what, remedy)


def _reserves(trial: CycleRecord, recording: str, files: Files, findings: Findings) -> None:
    model = files.model(trial.model_file)
    if model is None or not model.mass > 0.0:
        return
    forces = _actuator_forces(trial, files)
    if forces is None:
        if trial.activation_source == "cmc" and trial.simulated.stem.endswith("_states"):
            what = "CMC's controls are not beside its states: CMC was aborted, or they were moved."
            remedy = "check that CMC reached its final time; reserves cannot be judged without them."
            findings.add("note", "controls", trial.name, what, remedy)
        return
    series, factors = forces
    rows = (series.time >= trial.start) & (series.time <= trial.end)
    if not rows.any():
        return
    over: dict[str, list[str]] = {}
    for column, label in enumerate(series.labels):
        kind, limit = _limit(label, model.mass)
        if limit and label in factors:
            peak = float(np.nanmax(np.abs(series.data[rows, column]))) * factors[label]
            if peak > limit:
                over.setdefault(f"{kind} above {limit:.3g}", []).append(f"{label} {peak:.3g}")
    for kind, names in over.items():
        what = f"{kind}, the most that Hicks et al. 2015 accept at this mass: {listed(names, _LISTED)}."
        remedy = "run RRA, check the loads and the model's mass, or let CMC pay more for them (lower optimal_force)."
        findings.add("warning", "reserves", trial.name, what, remedy, same=f"{recording}: {kind}")


def _tracking(trial: CycleRecord, recording: str, findings: Findings) -> None:
    """Look at how far CMC was from the motion, if its own file of that is beside its states."""
    path = trial.simulated
    errors = path.with_name(f"{path.stem.removesuffix('_states')}_pErr.sto")
    worst = judge_run("CMCTool", [errors]).tracking if errors.is_file() else None
    if worst is not None and worst.unit == "deg" and worst.value > TRACKING:
        what = f"CMC was up to {worst.value:.1f} degrees from the motion it tracked ({worst.name})."
        remedy = "look for a muscle or reserve at its limit there, weigh the task more, or run RRA first."
        findings.add("warning", "tracking", trial.name, what, remedy, same=recording)


def _limit(label: str, mass: float) -> tuple[str, float]:
    """Return what an actuator is, and its limit (N, Nm): 0 for a muscle, or a motor that stands for muscles."""
    name = parse_label(label).name
    if RESIDUAL_FORCE_NAME.search(name):
        return "residual forces (N)", RESIDUAL_FORCE * mass
    if RESIDUAL_MOMENT_NAME.search(name):
        return "residual moments (Nm)", RESIDUAL_MOMENT * mass
    if RESERVE_NAME.search(name):
        return "reserves (Nm)", RESERVE * mass
    return "", 0.0


def _actuator_forces(trial: CycleRecord, files: Files) -> tuple[TimeSeries, dict[str, float]] | None:
    """Find the actuators' forces: in CMC's own file of them, else in controls with optimal forces from beside them."""
    path = trial.simulated
    stem = re.sub(r"_(states|StaticOptimization_activation)$", "", path.stem)
    for name in (f"{stem}_Actuation_force.sto", f"{stem}_StaticOptimization_force.sto"):
        if path.with_name(name).is_file():
            series = files.series(path.with_name(name), trial.model_file)
            return None if series is None else (series, dict.fromkeys(series.labels, 1.0))
    controls = path.with_name(f"{stem}_controls.sto")
    if trial.activation_source == "cmc" and not controls.is_file():
        return None
    wanted = controls if trial.activation_source == "cmc" else path
    series = files.series(wanted, trial.model_file)
    if series is None:
        return None
    optimal = _optimal_forces(path.parent)
    factors = {label: optimal[name] for label in series.labels if (name := parse_label(label).name) in optimal}
    return (series, factors) if factors else None


def _optimal_forces(folder: Path) -> dict[str, float]:
    """Return the optimal forces of the actuators in force set files of a results folder and the one above it."""
    found: dict[str, float] = {}
    for path in sorted([*folder.glob("*.xml"), *folder.parent.glob("*.xml")], reverse=True):
        try:
            root = parse_xml(path, error=NEM2EError, kind="XML file").getroot()
        except NEM2EError:
            continue
        for element in root.iter("CoordinateActuator", "PointActuator", "TorqueActuator"):
            try:
                found[element.get("name") or ""] = float(element.findtext("optimal_force") or "nan")
            except ValueError:
                continue
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _another_motion(path: Path, trial: CycleRecord, files: Files, findings: Findings) -> None:
    """Compare the motion with the coordinates in the simulation."""
    motion, states = files.series(path, trial.model_file), files.series(trial.simulated, trial.model_file)
    model = files.model(trial.model_file)
    # A wrong unit is told of its own.
    if motion is None or states is None or model is None or unit_of_angles(motion, model)[0] != "said":
        return
    try:
        refuse_another_motion(states, motion, model)
    except StorageError as error:
        what = str(error).removeprefix(f"{path}:")
        findings.add("error", "motion", str(path), what, "name the motion that this simulation tracked.")


def _angles(path: Path, trial: CycleRecord, files: Files, findings: Findings) -> None:
    """Compare angles with the unit that their file states."""
    series = files.series(path, trial.model_file)
    model = files.model(trial.model_file)
    if series is None or model is None:
        return
    unit, labels, largest = unit_of_angles(series, model)
    peak = f"{largest:.3g}"
    if unit == "columns":
        said, other = ("degrees", "radians") if series.in_degrees else ("radians", "degrees")
        what = f"it is in {said}, but {listed(labels, _LISTED)} reach {peak}: these columns are in {other}."
        remedy = "convert these columns; if they follow other coordinates (patella), OpenSim ignores them."
        findings.add("warning", "degrees", str(path), what, remedy)
    elif unit == "degrees":
        what = f"it says inDegrees=no, but '{labels[0]}' and {len(labels) - 1} others reach {peak}: these are degrees."
        findings.add("error", "degrees", str(path), what, "write inDegrees=yes into its header.")
    elif unit == "radians":
        what = f"it says inDegrees=yes, but no angle is larger than {peak}: these are radians."
        findings.add("error", "degrees", str(path), what, "write inDegrees=no into its header.")
