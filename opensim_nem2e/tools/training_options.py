"""What the tools that train networks have in common: their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..options import DirectoryPath, FilePath, Options, group, layout_of, option


@dataclass(frozen=True)
class SelectionOptions(Options):
    """Which rows of the manifest are used."""

    datasets: tuple[str, ...] = option((), "Datasets to use. Empty: all.")
    subjects: tuple[str, ...] = option((), "Subjects to use. Empty: all.")
    motions: tuple[str, ...] = option((), "Motions to use, such as walk and run. Empty: all.")
    trials: tuple[str, ...] = option((), "Trials to use. Empty: all.")
    strides: tuple[str, ...] = option((), "Strides to use of every trial, by their names in the manifest. Empty: all.")


@dataclass(frozen=True)
class TrialsOptions(Options):
    """Which gait cycles are used."""

    trials_file: FilePath = option(
        "",
        "Manifest of the gait cycles (.csv), one row per cycle: dataset, subject, trial, stride, motion, "
        "speed_m_s, side, model_file, activation_file, activation_source, emg_file, emg_time_offset_s, t_start, "
        "t_end, heel_strike_t. Paths in it are relative to it.",
        required=True,
    )
    emg_channels_file: FilePath = option(
        "",
        "Table of the EMG channels (.csv): dataset, emg_column, muscles (model muscles separated by ';'), "
        "standard_name (empty: the channel is not used). Not needed by methods that learn without EMG.",
    )
    muscle_names_file: FilePath = option(
        "",
        "Table (.csv with the columns model_muscle, standard_name) that adds to or replaces entries of the "
        "package's own table of muscle names.",
    )
    rows: SelectionOptions = group(SelectionOptions)
    data_groups: tuple[str, ...] = option(
        (),
        "Datasets that are of one laboratory, joined by '+': lab_a_2019+lab_a_2022. They are left out together when "
        "a laboratory is left out. Datasets that are not named are a laboratory each.",
    )
    activation_sources: tuple[Literal["cmc", "so", "moco"], ...] = option(
        (), "Sources of simulated activations to use. Empty: all."
    )


@dataclass(frozen=True)
class CyclesOptions(Options):
    """What is taken from them."""

    muscles: tuple[str, ...] = option(
        (),
        "Target muscles by their standard names, such as soleus; one network each. Empty: those of the paper's "
        "sixteen that have EMG.",
    )
    input_muscles: tuple[str, ...] = option(
        (),
        "Input muscles for All-Entire: standard names with the side, such as ipsi:soleus for the side whose heel "
        "strikes bound the cycle and contra:soleus for the other. Empty: all that every trial used has.",
    )
    share_emg_channels: bool = option(
        True,
        "Whether an EMG channel that lists several muscles serves each of them (the paper's practice), or its "
        "standard_name only.",
    )
    emg_normalization: Literal["subject_max", "trial_max", "none"] = option(
        "subject_max",
        "What EMG is divided by. subject_max: the maximum of the channel over the subject's cycles used. "
        "trial_max: over the cycles of each trial. none: 1. The paper does not say.",
    )
    use_emg_time_offset: bool = option(
        True,
        "Whether EMG is shifted by the manifest's emg_time_offset_s (EMG at t + offset belongs to the motion at t).",
    )
    window_samples: int = option(
        20, "Samples of a network's window, evenly spaced, both ends included.", bounds="[4, 1000]"
    )


@dataclass(frozen=True)
class ComputingOptions(Options):
    """How the computation goes on; the result depends on it in its last bits only, where ``threads`` says so."""

    threads: int = option(
        1,
        "Threads of each network's computation. More than one pays only with hundreds of hidden units and idle "
        "cores, and changes the last bits of the result.",
        bounds="[1, 1024]",
    )
    jobs: int = option(
        0,
        "Networks that are trained at once, each in a process of its own. The result does not depend on it. 0: as "
        "many as processor cores and free memory allow.",
        bounds="[0, 1024]",
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto",
        "Where networks are trained. cpu: one in each process. cuda: all together on the graphics card; the results "
        "differ from those of cpu in the last bits. auto: cuda if there is such a card, no scheduler, and more than a "
        "few networks, otherwise cpu.",
    )
    scheduler: str = option(
        "",
        "Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers train the networks, or local: Dask "
        "processes of this machine. All workers must see checkpoint_directory under the same name. Whoever reaches a "
        "tcp:// scheduler can run programs there, so its network must be trusted; tls:// needs the certificates that "
        "Dask's configuration names. Needs the extra 'cluster'. Empty: processes of this machine, without Dask.",
    )
    checkpoint_interval: float = option(
        60.0,
        "Time between checkpoints of a network, from which a run that was interrupted or killed goes on, with the "
        "same result, when the same setup is run again. Inf: only when the run is interrupted.",
        bounds="[0, Inf]",
        unit="s",
    )
    checkpoint_directory: DirectoryPath = option(
        "",
        "Directory for the checkpoints and for finished networks; in it, the folder that has the tool's name (or "
        "'network') with '_checkpoints'. All of that folder is removed once a run is complete, checkpoints of other "
        "data or settings included, unless another run is at work in it. Empty: results_directory.",
    )
    progress_bar: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether a progress bar with the losses, the rate and the remaining time is shown. auto: if the console is "
        "a terminal. Without one the log tells them twice a minute.",
    )
    tensorboard_directory: DirectoryPath = option(
        "",
        "Directory for TensorBoard's event files with the losses of every network; needs the package tensorboard. "
        "Empty: none.",
    )


@dataclass(frozen=True)
class DataOptions(Options):
    """What is known about the recordings."""

    data_description: str = option("", "What the data are; kept with the results.")
    data_licence: str = option("", "Licence of the data; kept with the results.")
    data_attribution: str = option("", "Whom to credit for the data; kept with the results.")


#: Options that say where files are and how the run is shown, not how the networks came about.
NO_TRAINING_SETTINGS = frozenset(
    {"results_directory", "trials_file", "emg_channels_file", "muscle_names_file"}
    | {prop.name for part in (ComputingOptions, DataOptions) for prop in layout_of(part).own if prop.name != "threads"}
)
