"""What the tools that train networks have in common: their properties, and what becomes of them.

STDRTrainTool and STDRCrossValidateTool put the same rows into their tables, and turn them by the functions below into
trials, cycles, a recipe and a pool of processes. A function takes the tool whose properties it reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SetupError, TrainingError, did_you_mean
from ..log import logger
from ..methods.stdr.presets import DEFAULT_PRESET, PRESETS, Setting, in_words
from .properties import Property, PropertyType
from .tool import Tool

if TYPE_CHECKING:
    from ..data.gait_cycles import Dataset, TargetData
    from ..data.manifest import Trial
    from ..methods.stdr.conditions import Condition
    from ..methods.stdr.method import Recipe
    from ..training.jobs import Job, Pool


def _decided_by_preset(name: str, kind: PropertyType, comment: str, **limits: Any) -> Property:
    """Describe a property that is taken from the preset when it is left empty."""
    return Property(name, kind, None, f"{comment} Empty: from the preset ({in_words(name)}).", **limits)


#: Which gait cycles are used.
TRIALS_PROPERTIES: tuple[Property, ...] = (
    Property(
        "trials_file",
        "file",
        "",
        "Manifest of the gait cycles (.csv), one row per cycle: dataset, subject, trial, stride, motion, "
        "speed_m_s, side, model_file, activation_file, activation_source, emg_file, emg_time_offset_s, t_start, "
        "t_end, heel_strike_t. Paths in it are relative to it.",
        required=True,
    ),
    Property(
        "emg_channels_file",
        "file",
        "",
        "Table of the EMG channels (.csv): dataset, emg_column, muscles (model muscles separated by ';'), "
        "standard_name (empty: the channel is not used).",
        required=True,
    ),
    Property(
        "muscle_names_file",
        "file",
        "",
        "Table (.csv with the columns model_muscle, standard_name) that adds to or replaces entries of the "
        "package's own table of muscle names.",
    ),
    Property("datasets", "strings", (), "Datasets to use. Empty: all."),
    Property("subjects", "strings", (), "Subjects to use. Empty: all."),
    Property("motions", "strings", (), "Motions to use, such as walk and run. Empty: all."),
    Property("trials", "strings", (), "Trials to use. Empty: all."),
    Property("strides", "strings", (), "Strides to use of every trial, by their names in the manifest. Empty: all."),
    Property(
        "activation_sources",
        "strings",
        (),
        "Sources of simulated activations to use. Empty: all.",
        choices=("cmc", "so", "moco"),
    ),
)

#: What is taken from them.
CYCLES_PROPERTIES: tuple[Property, ...] = (
    Property(
        "muscles",
        "strings",
        (),
        "Target muscles by their standard names, such as soleus; one network each. Empty: those of the paper's "
        "sixteen that have EMG.",
    ),
    Property(
        "input_muscles",
        "strings",
        (),
        "Input muscles for All-Entire: standard names with the side, such as ipsi:soleus for the side whose heel "
        "strikes bound the cycle and contra:soleus for the other. Empty: all that every trial used has.",
    ),
    Property(
        "share_emg_channels",
        "bool",
        True,
        "Whether an EMG channel that lists several muscles serves each of them (the paper's practice), or its "
        "standard_name only.",
    ),
    Property(
        "emg_normalization",
        "string",
        "subject_max",
        "What EMG is divided by. subject_max: the maximum of the channel over the subject's cycles used. "
        "trial_max: over the cycles of each trial. none: 1. The paper does not say.",
        choices=("subject_max", "trial_max", "none"),
    ),
    Property(
        "use_emg_time_offset",
        "bool",
        True,
        "Whether EMG is shifted by the manifest's emg_time_offset_s (EMG at t + offset belongs to the motion at t).",
    ),
    Property(
        "window_samples",
        "int",
        20,
        "Samples of a network's window, evenly spaced, both ends included.",
        bounds="[4, 1000]",
    ),
)

#: How a network is trained.
TRAINING_PROPERTIES: tuple[Property, ...] = (
    Property(
        "preset",
        "string",
        DEFAULT_PRESET,
        "Where the settings below that are left empty come from. "
        + " ".join(f"{name}: {preset.meaning}." for name, preset in PRESETS.items()),
        choices=tuple(PRESETS),
    ),
    _decided_by_preset("hidden_units", "int", "Units of the encoder and of the decoder.", bounds="[1, 10000]"),
    _decided_by_preset(
        "score_function",
        "string",
        "How attention compares decoder and encoder states (Luong 2015). The paper does not say which.",
        choices=("general", "dot"),
    ),
    _decided_by_preset(
        "network_output",
        "string",
        "What the network puts out. emg: the EMG itself (the paper). deviation: the deviation from the mean EMG "
        "cycle of the training data, scaled by its standard deviation. correction: the correction of a linear "
        "prediction from the same input, which is fitted first, with every subject left out in turn; the least error "
        "on people who were not seen, where there are few to learn from.",
        choices=("emg", "deviation", "correction"),
    ),
    _decided_by_preset(
        "correction_weight",
        "double",
        "For <network_output> correction: the share of the network's correction that is added to the linear "
        "prediction. What is learned from few people holds for others only in part.",
        bounds="(0, 1]",
    ),
    _decided_by_preset(
        "teacher_forcing",
        "double",
        "Share of the training steps in which the decoder is fed the measured EMG of the sample before; in the "
        "others it is fed its own output, as it is when refining, which takes about one and a half times as "
        "long. The paper does not say.",
        bounds="[0, 1]",
    ),
    _decided_by_preset("epochs", "int", "Passes through the training data.", bounds="[1, 10000000]"),
    _decided_by_preset("batch_size", "int", "Windows per training step.", bounds="[1, 1000000]"),
    _decided_by_preset(
        "learning_rate",
        "double",
        "Step size of the Adam algorithm. The paper does not say; this is the value of the paper on Adam.",
        bounds="(0, 1]",
    ),
    _decided_by_preset("weight_decay", "double", "L2 penalty of the Adam algorithm. 0: none.", bounds="[0, Inf)"),
    _decided_by_preset(
        "gradient_clip", "double", "Largest norm of a step's gradient. 0: not limited.", bounds="[0, Inf)"
    ),
    _decided_by_preset(
        "early_stopping_patience",
        "int",
        "Early stopping: networks are first trained without one subject (chosen by the seed) until the error on this "
        "subject has not improved for this number of epochs, and then anew on all subjects for the number of epochs "
        "that was best. 0: train on all subjects for all epochs.",
        bounds="[0, 10000000]",
    ),
)

#: Where chance comes from.
SEED_PROPERTY = Property(
    "seed",
    "int",
    0,
    "Seed of the first weights, the order of the data, and what else is drawn. The same seed on the same "
    "machine gives the same bits.",
    bounds="[0, 9223372036854775807]",
)

#: How the computation goes on, without an influence on its result (but for the last bits, where ``threads`` says so).
COMPUTING_PROPERTIES: tuple[Property, ...] = (
    Property(
        "threads",
        "int",
        1,
        "Threads of each network's computation. More than one pays only with hundreds of hidden units and idle "
        "cores, and changes the last bits of the result.",
        bounds="[1, 1024]",
    ),
    Property(
        "jobs",
        "int",
        0,
        "Networks that are trained at once, each in a process of its own. The result does not depend on it. 0: as "
        "many as processor cores and free memory allow.",
        bounds="[0, 1024]",
    ),
    Property(
        "device",
        "string",
        "auto",
        "Where networks are trained. cpu: one in each process. cuda: all together on the graphics card; the results "
        "differ from those of cpu in the last bits. auto: cuda if there is such a card, no scheduler, and more than a "
        "few networks, otherwise cpu.",
        choices=("auto", "cpu", "cuda"),
    ),
    Property(
        "scheduler",
        "string",
        "",
        "Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers train the networks, or local: Dask "
        "processes of this machine. All workers must see checkpoint_directory under the same name. Whoever "
        "reaches a tcp:// scheduler can run programs there, so its network must be trusted; tls:// needs the "
        "certificates that Dask's configuration names. Needs the extra 'cluster'. Empty: processes of this machine, "
        "without Dask.",
    ),
    Property(
        "checkpoint_interval",
        "double",
        60.0,
        "Time between checkpoints of a network, from which a run that was interrupted or killed goes on, with the "
        "same result, when the same setup is run again. Inf: only when the run is interrupted.",
        bounds="[0, Inf]",
        unit="s",
    ),
    Property(
        "checkpoint_directory",
        "directory",
        "",
        "Directory for the checkpoints and for finished networks; in it, the folder that has the tool's name (or "
        "'network') with '_checkpoints'. All of that folder is removed once a run is complete, checkpoints of other "
        "data or settings included, unless another run is at work in it. Empty: results_directory.",
    ),
    Property(
        "progress_bar",
        "string",
        "auto",
        "Whether a progress bar with the losses, the rate and the remaining time is shown. auto: if the console is "
        "a terminal. Without one the log tells them twice a minute.",
        choices=("auto", "always", "never"),
    ),
    Property(
        "tensorboard_directory",
        "directory",
        "",
        "Directory for TensorBoard's event files with the losses of every network; needs the package tensorboard. "
        "Empty: none.",
    ),
)

#: What is known about the recordings.
DATA_PROPERTIES: tuple[Property, ...] = (
    Property("data_description", "string", "", "What the data are; kept with the results."),
    Property("data_licence", "string", "", "Licence of the data; kept with the results."),
    Property("data_attribution", "string", "", "Whom to credit for the data; kept with the results."),
)

#: What results say where these are empty.
NOT_STATED = "not stated"

#: Properties that say where files are and how the run is shown, not how the networks came about.
NO_TRAINING_SETTINGS = frozenset(
    {"results_directory", "trials_file", "emg_channels_file", "muscle_names_file"}
    | {prop.name for prop in (*COMPUTING_PROPERTIES, *DATA_PROPERTIES) if prop.name != "threads"}
)

#: Filters and the columns of the manifest that they look at.
_FILTERS = {
    "datasets": "dataset",
    "subjects": "subject",
    "motions": "motion",
    "trials": "trial",
    "strides": "stride",
    "activation_sources": "activation_source",
}


def check_data(tool: Tool, conditions: Sequence[str]) -> list[str]:
    """Find what is wrong with the properties that choose the data, for a tool's ``_check``.

    Parameters
    ----------
    tool : Tool
        Has ``TRIALS_PROPERTIES`` and ``CYCLES_PROPERTIES``.
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


def results_directory(tool: Tool) -> Path:
    """Find the folder for the results.

    Parameters
    ----------
    tool : Tool
        Has ``results_directory``.

    Returns
    -------
    pathlib.Path
        The folder, which need not exist.
    """
    return tool.resolve("results_directory") or tool.base_directory


def select_trials(tool: Tool, also: Mapping[str, str] | None = None) -> list[Trial]:
    """Read the manifest and keep the trials that all filters name; a name that fits none is a fault.

    Parameters
    ----------
    tool : Tool
        Has ``TRIALS_PROPERTIES``.
    also : mapping of str to str, optional
        Other properties of the tool whose names must be in the manifest, with the field of a trial where they are
        looked for. They do not select.

    Returns
    -------
    list of Trial
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
    kept = trials
    faults = []
    for name, field in {**_FILTERS, **(also or {})}.items():
        wanted = tool.get(name)
        known = list(dict.fromkeys(getattr(trial, field) for trial in trials))
        faults += [
            f"<{name}> names '{value}', which is not in the trials file.{did_you_mean(value, known)} "
            f"Found there: {', '.join(known)}."
            for value in wanted
            if value not in known
        ]
        if wanted and name in _FILTERS:
            kept = [trial for trial in kept if getattr(trial, field) in wanted]
    if not faults and not kept:
        given = [name for name in _FILTERS if tool.get(name)]
        faults.append(f"No trial fits {' and '.join(f'<{name}>' for name in given)} together.")
    if faults:
        raise SetupError(faults, tool.setup_file)
    for name, field in _FILTERS.items():
        idle = [value for value in tool.get(name) if value not in {getattr(trial, field) for trial in kept}]
        if idle:
            logger.warning("<%s>: no trial that fits the other filters is of %s.", name, ", ".join(idle))
    return kept


def read_cycles(tool: Tool, trials: Sequence[Trial], condition: Condition, logged: Collection[str] = ()) -> Dataset:
    """Cut the trials into cycles.

    Parameters
    ----------
    tool : Tool
        Has ``TRIALS_PROPERTIES`` and ``CYCLES_PROPERTIES``.
    trials : sequence of Trial
        From :func:`select_trials`.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    logged : collection of str, optional
        Notes on the data that the log has already, from another condition.

    Returns
    -------
    Dataset
        Arrays per target muscle.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        A muscle that was asked for has no data.
    opensim_nem2e.errors.ManifestError
        See :func:`opensim_nem2e.data.gait_cycles.build_dataset`.
    """
    from ..data.gait_cycles import build_dataset
    from ..data.manifest import read_channels
    from ..methods.stdr.conditions import windows_per_cycle
    from ..storage.muscles import PAPER_MUSCLES, MuscleNames

    channels_file = tool.resolve("emg_channels_file")
    assert channels_file is not None
    dataset = build_dataset(
        trials,
        read_channels(channels_file),
        targets=tool.muscles or PAPER_MUSCLES,
        inputs=(tool.input_muscles or "all") if condition == "All-Entire" else "own",
        samples=tool.window_samples,
        windows=windows_per_cycle(condition),
        emg_normalization=tool.emg_normalization,
        use_emg_time_offset=tool.use_emg_time_offset,
        shared_channels=tool.share_emg_channels,
        names=MuscleNames.load(tool.resolve("muscle_names_file")),
        logged=logged,
    )
    missing = [muscle for muscle in tool.muscles if muscle not in dataset.targets]
    if missing:
        raise TrainingError(
            f"No cycle has both EMG and activations of {', '.join(missing)}; "
            f"muscles that have: {', '.join(dataset.targets)}."
        )
    if condition == "All-Entire" and not tool.input_muscles:
        inputs = {name for data in dataset.targets.values() for name in data.inputs}
        if not any(name.startswith("contra:") for name in inputs):
            logger.warning(
                "No contralateral muscle is an input: some trials have the activations of one limb only, and the "
                "inputs are those that every trial has. Leave such trials out (<datasets>, <subjects>) to train on "
                "both limbs."
            )
    return dataset


def settings_in_use(tool: Tool) -> dict[str, Setting]:
    """Take the settings that were given, and the others from the preset.

    Parameters
    ----------
    tool : Tool
        Has ``TRAINING_PROPERTIES``.

    Returns
    -------
    dict of str to int, float or str
        By property name; none is None.
    """
    preset = PRESETS[tool.preset].settings
    return {name: value if tool.get(name) is None else tool.get(name) for name, value in preset.items()}


def log_settings(tool: Tool) -> None:
    """Say in the log how networks are trained, and which of that was given.

    Parameters
    ----------
    tool : Tool
        Has ``TRAINING_PROPERTIES``.
    """
    texts = [
        f"{name} {value if isinstance(value, str) else f'{value:g}'}{'' if tool.get(name) is None else ' (given)'}"
        for name, value in settings_in_use(tool).items()
    ]
    logger.info("Settings of the preset '%s': %s.", tool.preset, ", ".join(texts))


#: Settings whose field of TrainingSettings has another name; ``network_output`` and ``correction_weight`` belong to the
#: recipe.
_FIELDS = {"hidden_units": "hidden", "score_function": "score", "early_stopping_patience": "patience"}


def recipe_of(tool: Tool, condition: Condition, seed: int) -> Recipe:
    """Gather all that decides how cycles become a network.

    Parameters
    ----------
    tool : Tool
        Has ``CYCLES_PROPERTIES``, ``TRAINING_PROPERTIES`` and ``COMPUTING_PROPERTIES``.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    seed : int
        Where chance comes from.

    Returns
    -------
    Recipe
        The recipe.
    """
    from ..methods.stdr.method import Recipe
    from ..training.task import TrainingSettings

    values: dict[str, Any] = settings_in_use(tool)
    output, weight = values.pop("network_output"), values.pop("correction_weight")
    fields = {_FIELDS.get(name, name): value for name, value in values.items()}
    settings = TrainingSettings(**fields, seed=seed, threads=tool.threads)
    return Recipe(condition, settings, tool.window_samples, output, weight)


def train_networks(tool: Tool, jobs: Sequence[Job], weights: int, epochs: int, name: str) -> Pool:
    """Train networks side by side, and show how far they are.

    Parameters
    ----------
    tool : Tool
        Has ``results_directory`` and ``COMPUTING_PROPERTIES``.
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
    folder = results_directory(tool)
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
        logger.info("%d networks had been finished before and were not trained again.", len(pool.reused))
    return pool


#: So many networks are trained sooner by the processor than the graphics card is set up.
_FEW = 4


def _device(tool: Tool, count: int) -> str:
    """Choose where networks are trained."""
    if tool.device == "cuda" and tool.scheduler:
        raise TrainingError(
            "<device> is cuda, and <scheduler> is given: Dask's workers train on their processors only."
        )
    if tool.device == "cpu" or (tool.device == "auto" and (tool.scheduler or count <= _FEW)):
        return "cpu"
    # Here, not above: where it is not needed, PyTorch is not imported in this process.
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if tool.device == "cuda":
        raise TrainingError("<device> is cuda, but PyTorch finds no graphics card that it can use. Allowed: auto, cpu.")
    return "cpu"


def _jobs(tool: Tool, count: int, weights: int) -> int:
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


def provenance(sets: Mapping[str, TargetData]) -> dict[str, Any]:
    """Say where cycles come from, and how many there are.

    Parameters
    ----------
    sets : mapping of str to TargetData
        The cycles by target muscle.

    Returns
    -------
    dict of str to object
        ``datasets, subjects, motions, activation_sources`` in the manifest's order, ``cycles`` and
        ``subjects_per_muscle`` by muscle.
    """
    trials = {trial.line: trial for data in sets.values() for trial in data.trials}
    used = [trials[line] for line in sorted(trials)]

    def names(field: str) -> list[str]:
        return list(dict.fromkeys(getattr(trial, field) for trial in used))

    return {
        "datasets": names("dataset"),
        "subjects": names("subject"),
        "motions": names("motion"),
        "activation_sources": names("activation_source"),
        "cycles": {target: len(data.trials) for target, data in sets.items()},
        "subjects_per_muscle": {target: len(set(data.subjects.tolist())) for target, data in sets.items()},
    }


def packages() -> dict[str, str]:
    """List the versions that decide a result.

    Returns
    -------
    dict of str to str
        By package name; Python is one of them.
    """
    import platform
    from importlib.metadata import version

    from .. import __version__

    versions = {name: version(name) for name in ("numpy", "torch", "safetensors")}
    return {"opensim_nem2e": __version__, "python": platform.python_version(), **versions}
