"""What becomes of the options that the tools that train networks have in common.

STDRTrainTool and STDRCrossValidateTool turn them (:mod:`opensim_nem2e.tools.training_options`) by the functions below
into cycles, options of methods, and a pool of processes. A function takes the tool whose options it reads.
"""

from __future__ import annotations

import ctypes
import runpy
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import SetupError, TrainingError, did_you_mean
from ..log import counted, logger
from ..methods.registry import find_method, trainable_keys
from .results import installed_versions

if TYPE_CHECKING:
    from ..data.cycle_view import Condition
    from ..data.gait_cycles import CycleData
    from ..data.manifest import CycleRecord
    from ..options import Options
    from ..training.jobs import Job, Pool
    from .kinematics_train import KinematicsTrainTool
    from .mjca_study_tool import MJCAStudyTool
    from .stdr_cross_validate import STDRCrossValidateTool
    from .stdr_train import STDRTrainTool

    TrainingTool: TypeAlias = STDRTrainTool | STDRCrossValidateTool
    AnyTrainingTool: TypeAlias = TrainingTool | KinematicsTrainTool | MJCAStudyTool


#: What results say where these are empty.
NOT_STATED = "not stated"

#: Filters and the columns of the manifest that they look at.
_FILTERS = {
    "datasets": "dataset",
    "subjects": "subject",
    "motions": "motion",
    "trials": "trial",
    "strides": "stride",
    "activation_sources": "activation_source",
}


def warn_of_unstated(tool: STDRTrainTool | KinematicsTrainTool) -> None:
    """Warn that who gets a bundle will not know what may be done with it.

    Parameters
    ----------
    tool : STDRTrainTool or KinematicsTrainTool
        Writes the bundle.
    """
    missing = [f"<{name}>" for name in ("data_licence", "data_attribution") if not tool.get(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        logger.warning("%s %s not given: the bundle will say '%s'.", " and ".join(missing), verb, NOT_STATED)


def check_data(tool: TrainingTool, conditions: Sequence[str]) -> list[str]:
    """Find what is wrong with the properties that choose the data, for a tool's ``_check``.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        Has :class:`TrialsOptions` and :class:`CyclesOptions`.
    conditions : sequence of str
        The input conditions that networks are trained for.

    Returns
    -------
    list of str
        The faults.
    """
    faults = []
    for name in ("trials_file", "emg_channels_file", "muscle_names_file"):
        path = tool.resolve(name)
        if path is not None and not path.is_file():
            faults.append(f"<{name}> must be an existing file, but '{path}' was not found.")
    if tool.input_muscles and "All-Entire" not in conditions:
        faults.append(
            f"<input_muscles> are for the condition All-Entire, but the networks are {', '.join(conditions)}."
        )
    for name in ("muscles", "input_muscles"):
        values = tool.get(name)
        faults += [f"<{name}> names '{value}' twice." for value in sorted({v for v in values if values.count(v) > 1})]
    return faults


def training_directories(tool: AnyTrainingTool) -> list[Path]:
    """Find the directories, beside that of the results, that a training writes to.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        Has ``checkpoint_directory`` and ``tensorboard_directory``.

    Returns
    -------
    list of pathlib.Path
        Those that are named; they need not exist.
    """
    named = (tool.resolve("checkpoint_directory"), tool.resolve("tensorboard_directory"))
    return [directory for directory in named if directory is not None]


def select_trials(tool: AnyTrainingTool, also: Mapping[str, str] | None = None) -> list[CycleRecord]:
    """Read the manifest and keep the trials that all filters name; a name that fits none is a fault.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        Has :class:`TrialsOptions`.
    also : mapping of str to str, optional
        Other properties of the tool whose names must be in the manifest, with the field of a trial where they are
        looked for. They do not select.

    Returns
    -------
    list of CycleRecord
        In the manifest's order.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        A filter's name is not in the manifest, or nothing is left.
    opensim_nem2e.errors.ManifestError
        See :func:`opensim_nem2e.data.manifest.read_trials`.
    """
    from ..data.manifest import read_trials

    trials_file = tool.resolve("trials_file")
    assert trials_file is not None
    trials = read_trials(trials_file)
    own = {prop.name for prop in tool.properties}
    groups = tool.get("data_groups") if "data_groups" in own else ()
    laboratories, faults = _laboratories(groups, {trial.dataset for trial in trials})
    trials = [replace(trial, group=laboratories.get(trial.dataset, "")) for trial in trials]
    kept = trials
    filters = {name: field for name, field in _FILTERS.items() if name in own}
    for name, field in {**filters, **(also or {})}.items():
        wanted = tool.get(name)
        known = list(dict.fromkeys(getattr(trial, field) for trial in trials))
        faults += [
            f"<{name}> names '{value}', which is not in the trials file.{did_you_mean(value, known)} "
            f"Found there: {', '.join(known)}."
            for value in wanted
            if value not in known
        ]
        if wanted and name in filters:
            kept = [trial for trial in kept if getattr(trial, field) in wanted]
    if not faults and not kept:
        given = [name for name in filters if tool.get(name)]
        faults.append(f"No trial fits {' and '.join(f'<{name}>' for name in given)} together.")
    if faults:
        raise SetupError(faults, tool.setup_file)
    for name, field in filters.items():
        idle = [value for value in tool.get(name) if value not in {getattr(trial, field) for trial in kept}]
        if idle:
            logger.warning("<%s>: no trial that fits the other filters is of %s.", name, ", ".join(idle))
    return kept


def _laboratories(groups: Sequence[str], known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the laboratory of each dataset that shares one, and what is wrong with the groups."""
    found: dict[str, str] = {}
    faults = []
    for group in groups:
        for name in group.split("+"):
            if name not in known:
                faults.append(
                    f"<data_groups>: '{group}' names '{name}', which is no dataset of the trials file."
                    f"{did_you_mean(name, known)} Found there: {', '.join(sorted(known))}."
                )
            elif name in found:
                faults.append(f"<data_groups> names the dataset '{name}' twice.")
            found[name] = group
    return found, faults


def read_cycles(
    tool: TrainingTool, trials: Sequence[CycleRecord], condition: Condition, logged: Collection[str] = ()
) -> CycleData:
    """Cut the trials into cycles.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        Has :class:`TrialsOptions` and :class:`CyclesOptions`.
    trials : sequence of CycleRecord
        From :func:`select_trials`.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    logged : collection of str, optional
        Notes on the data that the log has already, from another condition.

    Returns
    -------
    CycleData
        The cycles.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        A muscle that was asked for has no data, or there are none at all.
    opensim_nem2e.errors.ManifestError
        See :func:`opensim_nem2e.data.gait_cycles.read_gait_cycles`.
    """
    from ..data.gait_cycles import read_gait_cycles
    from ..data.manifest import read_channels
    from ..storage.muscles import PAPER_MUSCLES, MuscleNames

    channels_file = tool.resolve("emg_channels_file")
    data = read_gait_cycles(
        trials,
        [] if channels_file is None else read_channels(channels_file),
        condition=condition,
        targets=tool.muscles or PAPER_MUSCLES,
        inputs=(tool.input_muscles or "all") if condition == "All-Entire" else "own",
        samples=tool.window_samples,
        emg_normalization=tool.emg_normalization,
        use_emg_time_offset=tool.use_emg_time_offset,
        shared_channels=tool.share_emg_channels,
        names=MuscleNames.load(tool.resolve("muscle_names_file")),
        logged=logged,
    )
    missing = [muscle for muscle in tool.muscles if muscle not in data.muscles]
    if missing or not data.muscles:
        raise TrainingError(
            f"No cycle has both EMG and activations of {', '.join(missing or PAPER_MUSCLES)}; "
            f"muscles that have: {', '.join(data.muscles) or 'none'}."
        )
    found = not tool.input_muscles and condition == "All-Entire"
    if found and not any(name.startswith("contra:") for name in data.view.input_muscles):
        logger.warning(
            "No contralateral muscle is an input: some trials have the activations of one limb only, and the "
            "inputs are those that every trial has. Leave such trials out (<datasets>, <subjects>) to train on "
            "both limbs."
        )
    return data


def check_methods(tool: TrainingTool, name: str, keys: Sequence[str]) -> list[str]:
    """Find what is wrong with the methods that a tool is given, and with the elements of their options.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        The tool.
    name : str
        The option that names the methods.
    keys : sequence of str
        What it names.

    Returns
    -------
    list of str
        The faults.
    """
    faults = []
    elements = []
    for key in keys:
        if key not in trainable_keys():
            faults.append(
                f"<{name}> must name methods out of {', '.join(trainable_keys())}, but '{key}' was found."
                f"{did_you_mean(key, trainable_keys())}"
            )
            continue
        method = find_method(key)
        elements.append(method.element)
        if method.requires.sampler != "gait_cycles":
            faults.append(f"<{name}>: {method.label} does not learn from gait cycles, which is all that this tool has.")
        if "emg" in method.requires.targets and not tool.emg_channels_file:
            faults.append(f"<emg_channels_file> must be given: {method.label} learns from EMG.")
    faults += [
        f"<{element}> has no meaning: <{name}> does not name its method."
        for element in tool.groups_given()
        if element not in elements
    ]
    return faults


def options_of(tool: TrainingTool, key: str) -> Options:
    """Take the options of a method, those that were given and its own for the rest.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        The tool.
    key : str
        The method's key.

    Returns
    -------
    Options
        An instance of the method's declaration.
    """
    method = find_method(key)
    options: Options = tool.group(method.element) if method.element else method.options()
    return options


def log_options(tool: TrainingTool, key: str) -> None:
    """Say in the log how a method learns, and which of that was given.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        The tool.
    key : str
        The method's key.
    """
    method, values = find_method(key), asdict(options_of(tool, key))
    preset = values.pop("preset", "")
    texts = [
        f"{name} {f'{value:g}' if isinstance(value, float) else value}"
        f"{' (given)' if tool.is_set(f'{method.element}.{name}') else ''}"
        for name, value in values.items()
    ]
    if preset:
        logger.info("Settings of the preset '%s': %s.", preset, ", ".join(texts))
    elif texts:
        logger.info("Settings of %s: %s.", method.label, ", ".join(texts))


def train_networks(tool: AnyTrainingTool, jobs: Sequence[Job], weights: int, epochs: int, name: str) -> Pool:
    """Train networks side by side, and show how far they are.

    Parameters
    ----------
    tool : STDRTrainTool or STDRCrossValidateTool
        Has ``results_directory`` and :class:`ComputingOptions`.
    jobs : sequence of Job
        The networks.
    weights : int
        Weights of the largest of them.
    epochs : int
        The largest number of epochs of one.
    name : str
        What the names of the checkpoint directory and of the histories' folder begin with.

    Returns
    -------
    Pool
        The pool that trained them. Its folders are to be removed once all results are written.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        See :meth:`opensim_nem2e.training.jobs.Pool.run`.
    """
    from ..training.jobs import Pool
    from ..training.progress_display import Watch

    count = len(jobs)
    device = _device(tool, count)
    if tool.scheduler or device == "cuda":
        at_once = tool.jobs
        logger.info(
            "All at once on the graphics card, as far as its memory goes."
            if device == "cuda"
            else f"On the workers of the Dask scheduler '{tool.scheduler}'."
        )
    else:
        at_once = _jobs(tool, count, weights)
    folder = tool.results_folder
    store = (tool.resolve("checkpoint_directory") or folder) / f"{name}_checkpoints"
    pool = Pool(store, at_once, tool.threads, tool.checkpoint_interval, device, tool.scheduler)
    names = [job.name for job in jobs]
    histories = folder / f"{name}_history"
    try:
        with Watch(names, epochs, histories, tool.progress_bar, tool.resolve("tensorboard_directory")) as watch:
            pool.run(jobs, watch)
    except (KeyboardInterrupt, SystemExit):
        logger.warning("Training was interrupted with %d of %d networks finished.", len(pool.finished), count)
        logger.warning(
            "What was done is kept in '%s': run the same setup again, and training goes on from there.", store
        )
        raise
    if pool.reused:
        again = "was not trained again" if len(pool.reused) == 1 else "were not trained again"
        logger.info("%s had been finished before and %s.", counted(len(pool.reused), "network"), again)
    return pool


#: So many networks are trained sooner by the processor than the graphics card is set up.
_FEW = 4


def _device(tool: AnyTrainingTool, count: int) -> str:
    """Choose where networks are trained."""
    if tool.device == "cuda" and tool.scheduler:
        raise TrainingError(
            "<device> is cuda, and <scheduler> is given: Dask's workers train on their processors only."
        )
    if tool.device == "cpu" or (tool.device == "auto" and (tool.scheduler or count <= _FEW)):
        return "cpu"
    if _graphics_card():
        return "cuda"
    if tool.device == "cuda":
        raise TrainingError("<device> is cuda, but PyTorch finds no graphics card that it can use. Allowed: auto, cpu.")
    return "cpu"


def _graphics_card() -> bool:
    """Ask PyTorch whether it can use a graphics card, but do not import it (seconds) where there can be none."""
    found = find_spec("torch")
    if found is not None and found.origin is not None:
        build = runpy.run_path(str(Path(found.origin).with_name("version.py")))
        if not build.get("hip") and not (build.get("cuda", "unknown") and _nvidia_driver()):
            return False
    import torch

    return torch.cuda.is_available()


def _nvidia_driver() -> bool:
    """Look for the library through which every program reaches an NVIDIA card."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _jobs(tool: AnyTrainingTool, count: int, weights: int) -> int:
    """Choose how many processes train networks, and say what they need."""
    from ..training.jobs import default_jobs, memory_of
    from ..workers import available_processors, free_memory

    memory = memory_of(weights)
    at_once = min(count, tool.jobs or default_jobs(tool.threads, memory))
    logger.info("%d at once, each in a process of its own with about %.0f MB of memory.", at_once, memory / 1e6)
    cores = len(available_processors())
    if at_once * tool.threads > cores:
        logger.warning(
            "<jobs> and <threads> ask for %d cores, but there are %d: this is slower than fewer jobs.",
            at_once * tool.threads,
            cores,
        )
    free = free_memory()
    if at_once * memory > free:
        logger.warning(
            "%d jobs need about %.1f GB of memory, but %.1f GB are free: fewer <jobs> are safer.",
            at_once,
            at_once * memory / 1e9,
            free / 1e9,
        )
    return at_once


def packages() -> dict[str, str]:
    """List the versions that decide a result.

    Returns
    -------
    dict of str to str
        By package name; Python is one of them.
    """
    return installed_versions(("numpy", "torch", "safetensors"))
