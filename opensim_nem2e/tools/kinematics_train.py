"""KinematicsTrainTool: train a network that estimates joint moments from kinematics, for KinematicsToActivationTool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NEM2EError
from ..log import counted, logger
from ..methods.mjca_bigru.moment_options import MJCAOptions
from ..options import DirectoryPath, FilePath, Options, group, option
from .accessors import KinematicsTrainToolAccessors
from .tool import Tool, ToolRun
from .training_options import NO_TRAINING_SETTINGS, ComputingOptions, DataOptions, SelectionOptions
from .training_run import (
    NOT_STATED,
    packages,
    select_trials,
    train_networks,
    training_directories,
    warn_of_unstated,
)

if TYPE_CHECKING:
    from ..evaluation.moment_training import MomentTraining


@dataclass(frozen=True)
class KinematicsTrainOptions(Options):
    """What the network is trained on, how, and where it is written."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    trials_file: FilePath = option(
        "",
        "Manifest of the strides (.csv), one row per stride: dataset, subject, trial, stride, motion, side, "
        "model_file, coordinates_file, t_start, t_end, and inverse_dynamics_file or external_loads_file, with which "
        "inverse dynamics is run. No EMG and no activations are needed. Paths in it are relative to it.",
        required=True,
    )
    rows: SelectionOptions = group(SelectionOptions)
    lowpass_cutoff_frequency_for_coordinates: float = option(
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates. A negative value results in no filtering. The "
        "network is to be applied to coordinates that were filtered alike.",
        bounds="[-1000, 0) or [0.01, 1000]",
        unit="Hz",
    )
    network: MJCAOptions = group(MJCAOptions, element="MJCABiGRU")
    seed: int = option(
        0,
        "Seed of the first weights, the order of the data, and what else is drawn. The same seed on the same "
        "machine gives the same bits.",
        bounds="[0, 9223372036854775807]",
    )
    validate: bool = option(
        True,
        "Train without each subject in turn, too (of one subject: without each fifth of the strides), for the figures "
        "of the bundle on subjects that were not seen?",
    )
    computing: ComputingOptions = group(ComputingOptions)
    output_bundle_file: FilePath = option(
        "",
        "Name of the bundle (.safetensors) that is written. Empty: the tool's name in results_directory.",
        written=True,
    )
    data: DataOptions = group(DataOptions)


class KinematicsTrainTool(KinematicsTrainToolAccessors, Tool[KinematicsTrainOptions]):
    """Train a network that estimates joint moments from the motion of a leg.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = KinematicsTrainTool(trials_file="data/trials.csv", motions=("walk",))
    >>> tool.setName("walking")
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "KinematicsTrainTool"
    main_inputs = ("trials_file",)
    results_name = "moments"

    def _check(self) -> list[str]:
        faults = []
        bundle, trials = self.resolve("output_bundle_file"), self.resolve("trials_file")
        if trials is not None and not trials.is_file():
            faults.append(f"<trials_file> must be an existing file, but '{trials}' was not found.")
        if bundle is not None and bundle.suffix != ".safetensors":
            faults.append(f"<output_bundle_file> must end in '.safetensors', but '{bundle.name}' was found.")
        if bundle is not None and bundle.parent != self.results_folder and not bundle.parent.is_dir():
            faults.append(f"<output_bundle_file>: the folder '{bundle.parent}' does not exist.")
        return faults

    def _extras(self) -> list[str]:
        return ["train", *(["cluster"] if self.scheduler else [])]

    def _run(self, run: ToolRun) -> None:
        from ..data.leg_kinematics import read_leg_trials
        from ..evaluation.moment_training import MomentTraining
        from ..methods.base import RunSettings
        from ..storage.tables import write_table

        records = select_trials(self)
        options = self._network_options()
        cutoff = self.lowpass_cutoff_frequency_for_coordinates
        trials = read_leg_trials(records, cutoff, bearing=options.bearing_inputs)
        settings = RunSettings(self.seed, self.threads)
        training = MomentTraining(options, trials, settings, self.validate)
        logger.info(
            "%s of %s; inputs: %s; moments: %s.",
            counted(sum(len(rows) for _, rows in trials), "stride"),
            counted(len(training.subjects), "subject"),
            ", ".join(training.channels),
            ", ".join(training.joints),
        )
        for name, jobs in (("choice", training.choice_jobs), ("network", training.jobs)):
            found = jobs()
            if found:
                epochs, weights = training.options.epochs, training.weights()
                pool = train_networks(self, found, weights, epochs, f"{run.name}_{name}")
                run.afterwards(pool.remove_folders)
            if name == "choice":
                training.choose()
        _log(training)
        if training.errors:
            rows = [asdict(row) for row in training.errors]
            cells = [[repr(cell) if isinstance(cell, float) else cell for cell in row.values()] for row in rows]
            write_table(run.files.path(f"{run.name}_validation.csv"), list(rows[0]), cells)
        run.resolved = {"output_bundle_file": self._bundle_file, "MJCABiGRU": asdict(training.options)}
        self._save(training, run)
        logger.info("Wrote the bundle '%s' (%s).", self._bundle_file, training.options.architecture)

    def _writes_to(self) -> list[Path]:
        return [*super()._writes_to(), self._bundle_file.parent, *training_directories(self)]

    @property
    def _bundle_file(self) -> Path:
        return (
            self.resolve("output_bundle_file") or self.results_folder / f"{self.name or self.results_name}.safetensors"
        )

    def _network_options(self) -> MJCAOptions:
        options: MJCAOptions = self.options().network
        return options

    def _save(self, training: MomentTraining, run: ToolRun) -> None:
        from ..methods.motion_bundle import MotionBundle

        warn_of_unstated(self)
        settings = {name: value for name, value in self.values().items() if not isinstance(value, dict)}
        subjects = training.subjects
        metadata = {
            "name": self._bundle_file.stem,
            "data": {
                "description": self.data_description or NOT_STATED,
                "licence": self.data_licence or NOT_STATED,
                "attribution": self.data_attribution or NOT_STATED,
                "subjects": subjects,
                "cycles": sum(len(rows) for _, rows in training.trials),
            },
            "training": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in {**settings, **asdict(training.options)}.items()
                if name not in NO_TRAINING_SETTINGS | {"output_bundle_file"}
            },
            "packages": packages(),
            "validation": validation_of(training),
        }
        try:
            MotionBundle(training.method.key, training.network, metadata).save(run.path(self._bundle_file))
        except OSError as error:
            raise NEM2EError(
                f"The bundle '{self._bundle_file}' cannot be written: {error.strerror or error}."
            ) from error


def validation_of(training: MomentTraining) -> dict[str, Any]:
    """Put the errors on what was left out into words and numbers for the bundle.

    Parameters
    ----------
    training : MomentTraining
        After all trainings.

    Returns
    -------
    dict of str to object
        What was left out, tables by joint and by subject, and what the choice of the architecture rests on.
    """
    from ..evaluation.moment_training import summarise_moments

    def rounded(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()} for row in rows]

    if not training.errors:
        return {"method": "none"}
    table = summarise_moments(training.errors)
    joints = dict(zip(table, rounded(list(table.values())), strict=True))
    return {
        "method": training.by,
        "error": "R2 and RMSE (Nm/kg) of joint moments over all rows of a subject; *_mean: of the mean moment by phase "
        "of the training cycles",
        "joints": joints,
        "subjects": rounded([asdict(row) for row in training.errors]),
        **({"choice": training.choice} if training.choice else {}),
    }


def _log(training: MomentTraining) -> None:
    from ..evaluation.moment_training import summarise_moments

    if training.choice:
        tried = ", ".join(f"{name} {error:.3f}" for name, error in training.choice.items())
        logger.info("Chosen: %s (mean squared errors on what was left out: %s).", training.options.architecture, tried)
    if not training.errors:
        return
    logger.info("Joint moments, medians over what was left out (%s):", training.by.replace("_", " "))
    logger.info(
        "%-16s %8s %6s %8s %12s %16s", "joint", "left out", "R2", "least R2", "RMSE (Nm/kg)", "mean moment's R2"
    )
    worse = []
    for joint, row in summarise_moments(training.errors).items():
        figures = (row["median_r2"], row["least_r2"], row["median_rmse"], row["median_r2_mean"])
        logger.info("%-16s %8d %6.2f %8.2f %12.2f %16.2f", joint, row["left_out"], *figures)
        if row["median_r2"] <= row["median_r2_mean"]:
            worse.append(joint)
    if worse:
        logger.warning(
            "For %s the network is no better than the mean moment by phase of the training cycles.", ", ".join(worse)
        )
