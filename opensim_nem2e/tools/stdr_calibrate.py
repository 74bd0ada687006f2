"""STDRTrainTool with an initial bundle: calibrate its networks to one subject, and write them as a bundle of their own.

The method is in :mod:`opensim_nem2e.methods.stdr.calibrate`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NEM2EError, SetupError, TrainingError, did_you_mean
from ..log import counted, logger
from .training_run import packages, read_cycles, select_trials

if TYPE_CHECKING:
    from ..data.gait_cycles import CycleData, MuscleCycles
    from ..methods.bundle import Bundle
    from ..methods.stdr.calibrate import Calibrated
    from ..methods.stdr.hyperparameters import STDROptions
    from ..methods.stdr.network import Network
    from .stdr_train import STDRTrainTool
    from .tool import ToolRun


def calibrate_bundle(tool: STDRTrainTool, bundle_file: Path, run: ToolRun) -> None:
    """Calibrate the networks of the tool's initial bundle to the subject whose strides the tool selects.

    Parameters
    ----------
    tool : STDRTrainTool
        The tool.
    bundle_file : pathlib.Path
        What is written.
    run : ToolRun
        The tool's run.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        The setup does not fit the bundle, or selects strides of several subjects.
    opensim_nem2e.errors.TrainingError
        None of the bundle's muscles has data.
    opensim_nem2e.errors.BundleError
        The initial bundle cannot be read.
    """
    from ..evaluation.measured_range import training_range
    from ..methods.base import RunSettings
    from ..methods.bundle import Bundle
    from ..methods.stdr.calibrate import FEWEST_STRIDES, calibrate

    initial = Bundle.load(tool.resolve("initial_bundle_file") or tool.initial_bundle_file)
    assert initial.path is not None
    if initial.method.key != "stdr_net":
        raise SetupError(
            f"<initial_bundle_file> must be a bundle of STDR-Net to be calibrated, but that of '{initial.path}' is of "
            f"{initial.method.label}.",
            tool.setup_file,
        )
    logger.info("Initial bundle: %s (%s; %s).", initial.path, initial.condition, ", ".join(initial.targets))
    tool = _with_values_of(tool, initial)
    trials = select_trials(tool)
    people = list(dict.fromkeys(trial.subject for trial in trials))
    if len(people) > 1:
        raise SetupError(
            f"<initial_bundle_file> is calibrated to one subject, but the strides used are of {', '.join(people)}. "
            "Choose one by <subjects>.",
            tool.setup_file,
        )
    motions = list(dict.fromkeys(trial.motion for trial in trials))
    if people[0] in initial.metadata["data"].get("subjects", ()):
        logger.warning(
            "The initial bundle was trained on %s already: what calibration gains cannot be seen on this subject.",
            people[0],
        )
    else:
        logger.info("The initial bundle names no subject '%s' among those it was trained on.", people[0])
    data = read_cycles(tool, trials, initial.condition)
    sets = _sets(tool, initial, data)
    options = fine_tuning_options(tool)
    numbers = {name: getattr(options, name) for name in _FIELDS}
    how = RunSettings(tool.seed, tool.threads)

    logger.info("Calibrating to %s: strides of %s.", people[0], " and ".join(motions))
    found: dict[str, Calibrated] = {}
    for target, cycles in sets.items():
        found[target] = calibrate(_network(initial, target), cycles, options, how)
        _log(target, found[target])
    if initial.condition == "One-Quarter" and min(item.strides for item in found.values()) < FEWEST_STRIDES:
        logger.warning(
            "A One-Quarter network cannot hold a mean cycle: with fewer than %d strides little can be calibrated.",
            FEWEST_STRIDES,
        )
    worse = [
        f"{target} ({item.errors['initial']:.3f} -> {item.errors['calibrated']:.3f})"
        for target, item in found.items()
        if item.errors and item.errors["calibrated"] > item.errors["initial"]
    ]
    if worse:
        logger.warning(
            "On strides left out the calibrated networks are farther from EMG than before (E): %s. Leave these muscles "
            "out by <muscles>, or calibrate to more strides.",
            ", ".join(worse),
        )
    single = [target for target, item in found.items() if item.strides == 1]
    if single:
        logger.warning(
            "There is a single stride for %s: how good the calibration is cannot be said.", ", ".join(single)
        )

    run.tool = tool
    run.resolved = {"output_bundle_file": bundle_file, "muscles": tuple(found), "STDRNet": numbers}
    metadata = _metadata(tool, initial, sets, found, {**numbers, "seed": tool.seed}, bundle_file)
    # For this subject: the initial bundle's subjects, and the bands of its networks, say nothing of that.
    known = training_range(data.samples, initial.view)
    metadata |= {} if known is None else {"training_range": known.section()}
    try:
        Bundle(initial.method, initial.view, {t: item.network for t, item in found.items()}, metadata).save(
            run.path(bundle_file)
        )
    except OSError as error:
        raise NEM2EError(f"The bundle '{bundle_file}' cannot be written: {error.strerror or error}.") from error
    muscles = counted(len(found), "muscle")
    logger.info("Wrote the calibrated bundle '%s' (%s). It is for %s.", bundle_file, muscles, people[0])


def _with_values_of(tool: STDRTrainTool, bundle: Bundle) -> STDRTrainTool:
    """Copy the tool with the values that are the bundle's; a value that was given and is another is a fault."""
    networks = [_network(bundle, target) for target in bundle.targets]
    inputs = tuple(dict.fromkeys(name for network in networks for name in network.inputs))
    own: dict[str, list[Any]] = {
        "condition": [bundle.condition],
        "window_samples": [bundle.samples],
        "STDRNet.hidden_units": list(dict.fromkeys(network.hidden for network in networks)),
        "STDRNet.score_function": list(dict.fromkeys(network.score for network in networks)),
    }
    output = bundle.metadata["normalization"].get("output")
    if output is not None:
        own["STDRNet.network_output"] = [output]
    if bundle.condition == "All-Entire":
        own["input_muscles"] = [inputs]
    faults = []
    for name, values in own.items():
        given = tool.get(name)
        if tool.is_set(name) and given not in (None, ()) and values != [given]:
            listed = " and ".join(tool._property(name).show(value) for value in values)
            faults.append(
                f"<{name.removeprefix('STDRNet.')}> must be the initial bundle's ({listed}) or be left out, "
                f"but {tool._property(name).show(given)} was found."
            )
    if tool.input_muscles and bundle.condition != "All-Entire":
        faults.append(
            f"<input_muscles> are for the condition All-Entire, but the initial bundle is {bundle.condition}."
        )
    faults += [
        f"<muscles> names '{muscle}', for which the initial bundle has no network."
        f"{did_you_mean(muscle, bundle.targets)} It has {', '.join(bundle.targets)}."
        for muscle in tool.muscles
        if muscle not in bundle.targets
    ]
    if faults:
        raise SetupError(faults, tool.setup_file)
    tool = copy.deepcopy(tool)
    for name, values in own.items():
        if len(values) == 1:
            tool.set(name, values[0])
    return tool


def _network(bundle: Bundle, target: str) -> Network:
    from ..methods.stdr.network import Network

    found = bundle.part(target)
    assert isinstance(found, Network)
    # Profiles are other people's.
    return found.alone()


def _sets(tool: STDRTrainTool, bundle: Bundle, data: CycleData) -> dict[str, MuscleCycles]:
    """Keep the muscles that the bundle has networks for, with each network's own inputs."""
    from ..data.gait_cycles import MuscleCycles

    found = {
        target: MuscleCycles.of(data.samples, target, _network(bundle, target).view)
        for target in bundle.targets
        if target in data.muscles
    }
    sets = {target: cycles for target, cycles in found.items() if cycles.records}
    missing = [target for target in (tool.muscles or bundle.targets) if target not in sets]
    if not sets:
        raise TrainingError(
            "None of the strides has EMG of a muscle that the initial bundle has a network for "
            f"({', '.join(bundle.targets)})."
        )
    if missing:
        logger.warning("No EMG of %s: their networks are left out of the calibrated bundle.", ", ".join(missing))
    return sets


#: Options of the fine-tuning; the others are the network's.
_FIELDS = ("teacher_forcing", "epochs", "batch_size", "learning_rate", "weight_decay", "gradient_clip")


def fine_tuning_options(tool: STDRTrainTool) -> STDROptions:
    """Take the options of the fine-tuning that were given, and the others from its own table.

    Parameters
    ----------
    tool : STDRTrainTool
        The tool.

    Returns
    -------
    STDROptions
        The options.
    """
    from ..methods.stdr.calibrate import FINE_TUNING

    given = {name: tool.get(f"STDRNet.{name}") for name in _FIELDS}
    return replace(FINE_TUNING, **{name: value for name, value in given.items() if value is not None})


def _log(target: str, item: Calibrated) -> None:
    method = f"fine-tuned for {item.epochs} epochs" if item.epochs else "closed form"
    strides = f"{item.strides} stride{'s' if item.strides > 1 else ''}"
    if not item.errors:
        logger.info("%-8s %s, %s.", target, strides, method)
        return
    logger.info(
        "%-8s %s, %s. E on strides left out: OpenSim %.3f, before %.3f, calibrated %.3f (mean of the others %.3f).",
        target,
        strides,
        method,
        *(item.errors[name] for name in ("opensim", "initial", "calibrated", "mean")),
    )


def _metadata(
    tool: STDRTrainTool,
    initial: Bundle,
    sets: Mapping[str, MuscleCycles],
    found: Mapping[str, Calibrated],
    settings: Mapping[str, Any],
    bundle_file: Path,
) -> dict[str, Any]:
    from ..data.gait_cycles import describe_cycles
    from ..methods.stdr.calibrate import PRIOR_STRIDES

    assert initial.path is not None
    about = initial.metadata
    person = {name: tool.get(f"data_{name}") or "not stated" for name in ("description", "licence", "attribution")}
    strides = list(dict.fromkeys(f"{trial.trial}/{trial.stride}" for trial in next(iter(sets.values())).records))
    return {
        "name": bundle_file.stem,
        "cycle": about["cycle"],
        "normalization": {
            **about["normalization"],
            "emg": tool.emg_normalization,
            "emg_time_offset": tool.use_emg_time_offset,
        },
        "data": {
            **about["data"],
            **{name: f"{about['data'][name]} Calibration: {text}" for name, text in person.items()},
        },
        "training": about["training"],
        "packages": packages(),
        # The initial bundle's figures are those of networks that these no longer are.
        "validation": {"method": "none"},
        "calibration": {
            "initial_bundle": {
                "name": about.get("name", initial.path.stem),
                "sha256": hashlib.sha256(initial.path.read_bytes()).hexdigest(),
                "validation": about["validation"],
                **({"calibration": about["calibration"]} if "calibration" in about else {}),
            },
            **describe_cycles(sets),
            "strides": strides,
            "prior_strides": PRIOR_STRIDES,
            "settings": dict(settings),
            "muscles": {
                target: {
                    "strides": item.strides,
                    "epochs": item.epochs,
                    **{f"E_{name}": round(value, 6) for name, value in item.errors.items()},
                }
                for target, item in found.items()
            },
        },
    }
