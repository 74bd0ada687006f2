"""STDRTrainTool: train STDR-Net on simulated activations and measured EMG.

Reads the trials manifest (see :mod:`opensim_nem2e.data.manifest`), trains one network per target muscle and writes
them, with everything needed to use and to judge them, as one bundle for STDRRefineTool.

The settings of the NEM2E paper (section 3.2.1: 700 hidden units, 700 epochs, batch size 1) are the preset ``paper``;
the default is ``fast`` (:mod:`opensim_nem2e.methods.stdr.presets`). What the paper leaves open says so in its comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NEM2EError, TrainingError
from ..log import logger
from .properties import Property
from .tool import Tool, write_text
from .training_properties import (
    COMPUTING_PROPERTIES,
    CYCLES_PROPERTIES,
    DATA_PROPERTIES,
    NO_TRAINING_SETTINGS,
    NOT_STATED,
    SEED_PROPERTY,
    TRAINING_PROPERTIES,
    TRIALS_PROPERTIES,
    check_data,
    log_settings,
    packages,
    provenance,
    read_cycles,
    recipe_of,
    results_directory,
    select_trials,
    settings_in_use,
    train_networks,
)

if TYPE_CHECKING:
    from ..data.gait_cycles import Dataset, TargetData
    from ..methods.bundle import Network
    from ..methods.stdr.method import Recipe, SubjectErrors
    from ..training.task import Trained


class STDRTrainTool(Tool):
    """Train networks that refine OpenSim's muscle activations toward measured EMG.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = STDRTrainTool()
    >>> tool.setName("gait")
    >>> tool.trials_file = "data/trials.csv"
    >>> tool.emg_channels_file = "data/emg_channels.csv"
    >>> tool.hidden_units = 64
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "STDRTrainTool"
    properties = (
        Property("results_directory", "directory", "./", "Directory used for writing results."),
        *TRIALS_PROPERTIES,
        Property(
            "hold_out_subjects",
            "strings",
            (),
            "Subjects that no network is trained on; their errors are written to the bundle's validation figures.",
        ),
        Property(
            "condition",
            "string",
            "One-Entire",
            "Input of a network. One-Quarter: a quarter of the gait cycle of the target muscle. One-Entire: the entire "
            "cycle of the target muscle. All-Entire: the entire cycle of all muscles.",
            choices=("One-Quarter", "One-Entire", "All-Entire"),
        ),
        *CYCLES_PROPERTIES,
        Property(
            "initial_bundle",
            "file",
            "",
            "Network bundle (.safetensors), or the name of a bundle that ships with the package, whose networks are "
            "calibrated to one person instead of training new ones: the strides used (<subjects>, <motions>, <trials>, "
            "<strides>) must be of one person. Three strides or more of the motion that will be refined are advised; "
            "one is enough. Condition, window_samples, input_muscles, hidden_units, score_function and network_output "
            "are the bundle's, and the preset has no meaning. Empty: new networks are trained.",
            may_be_name=True,
        ),
        *TRAINING_PROPERTIES,
        SEED_PROPERTY,
        Property(
            "validate",
            "string",
            "none",
            "How the error on unseen people is estimated for the bundle's validation figures. "
            "leave_one_subject_out: networks are trained without each subject in turn (as many times the work as there "
            "are subjects). none: not at all.",
            choices=("none", "leave_one_subject_out"),
        ),
        *COMPUTING_PROPERTIES,
        Property(
            "output_bundle",
            "file",
            "",
            "Name of the network bundle (.safetensors) that is written. Empty: the tool's name (or 'network') in "
            "results_directory.",
        ),
        *DATA_PROPERTIES,
    )

    def _check(self) -> list[str]:
        # With an initial bundle, its condition counts.
        faults = check_data(self, ["All-Entire"] if self.initial_bundle else [self.condition])
        if self.initial_bundle:
            faults += [
                f"<{name}> has no meaning with <initial_bundle> and must be left out."
                for name in ("hold_out_subjects", "early_stopping_patience")
                if self.get(name)
            ]
            if self.validate != "none":
                faults.append(
                    "<validate> must be none with <initial_bundle>: strides of the person are left out instead."
                )
        bundle = self.resolve("output_bundle")
        if bundle is not None:
            if bundle.suffix != ".safetensors":
                faults.append(f"<output_bundle> must end in '.safetensors', but '{bundle.name}' was found.")
            if bundle.is_dir():
                faults.append(f"<output_bundle> must be a file, but '{bundle}' is a directory.")
            elif bundle.parent != results_directory(self) and not bundle.parent.is_dir():
                faults.append(f"<output_bundle>: the folder '{bundle.parent}' does not exist.")
        return faults

    def _run(self) -> None:
        if self.initial_bundle:
            from .stdr_calibrate import calibrate_bundle

            calibrate_bundle(self, self._bundle_file)
            return
        from ..evaluation.bundle_training import Study
        from ..storage.atomic import ResultFiles

        trials = select_trials(self, also={"hold_out_subjects": "subject"})
        dataset = read_cycles(self, trials, self.condition)
        recipe = recipe_of(self, self.condition, self.seed)
        train_sets, held_out = self._split(dataset)

        study = Study(train_sets, held_out, recipe, self.validate == "leave_one_subject_out")
        study.check()

        name = self.name or "network"
        bundle_file = self._bundle_file
        with ResultFiles(results_directory(self)) as files:
            log_settings(self)
            logger.info(
                "Training %d network%s (%s, %d hidden units, up to %d epochs).",
                len(study.jobs),
                "s" if len(study.jobs) > 1 else "",
                recipe.condition,
                recipe.settings.hidden,
                study.most_epochs,
            )
            pool = train_networks(self, study.jobs, study.weights, study.most_epochs, name)
            networks = study.networks
            validation = _validation(study.errors)
            _log_validation(validation)
            _write_csv(
                files.path(f"{name}_training_history.csv"),
                [row for target, trained in study.trained.items() for row in _history_rows(target, trained)],
            )
            if any(study.errors.values()):
                _write_csv(files.path(f"{name}_validation.csv"), _error_rows(study.errors))
            resolved = {"output_bundle": bundle_file, "muscles": tuple(networks), **settings_in_use(self)}
            setup = self.effective_setup(results_directory(self), resolved)
            write_text(files.path(f"{name}_effective_setup.xml"), setup)
            self._save(networks, dataset, train_sets, recipe, validation, bundle_file)
        # Only now: a run that is killed before its last file is written has them for the next.
        pool.remove_folders()
        logger.info("Wrote the network bundle '%s' (%d muscles).", bundle_file, len(networks))
        logger.info("Wrote the loss histories and the setup that was run to '%s'.", results_directory(self))

    def _writes_to(self) -> list[Path]:
        return [*super()._writes_to(), self._bundle_file.parent]

    @property
    def _bundle_file(self) -> Path:
        return self.resolve("output_bundle") or results_directory(self) / f"{self.name or 'network'}.safetensors"

    def _split(self, dataset: Dataset) -> tuple[dict[str, TargetData], dict[str, TargetData]]:
        train_sets, held_out = {}, {}
        for target, data in dataset.targets.items():
            train_sets[target], held_out[target] = data.leave_out(self.hold_out_subjects)
        empty = [target for target, data in train_sets.items() if not data.trials]
        if empty and self.muscles:
            raise TrainingError(f"Without the held-out subjects there are no data for {', '.join(empty)}.")
        for target in empty:
            logger.warning("Without the held-out subjects there are no data for %s: no network is trained.", target)
            del train_sets[target], held_out[target]
        if not train_sets:
            raise TrainingError("Without the held-out subjects there are no data to train on.")
        single = [target for target, data in train_sets.items() if len(set(data.subjects.tolist())) == 1]
        if single:
            logger.warning(
                "Only one subject has data for %s: what these networks learn may fit nobody else.", ", ".join(single)
            )
        return train_sets, held_out

    def _save(
        self,
        networks: Mapping[str, Network],
        dataset: Dataset,
        train_sets: Mapping[str, TargetData],
        recipe: Recipe,
        validation: Mapping[str, Any],
        path: Path,
    ) -> None:
        from ..methods.bundle import Bundle

        for name in ("data_licence", "data_attribution"):
            if not self.get(name):
                logger.warning("<%s> is not given: the bundle will say '%s'.", name, NOT_STATED)
        metadata = {
            "name": path.stem,
            "cycle": {
                "definition": "heel strike to the next heel strike of the same side; the muscles of that side are "
                "'ipsi', those of the other side 'contra'",
                "sampling": f"linear interpolation at linspace(start, end, {dataset.samples})",
            },
            "normalization": {
                "activation": "none",
                "emg": self.emg_normalization,
                "emg_time_offset": self.use_emg_time_offset,
                "output": recipe.output,
            },
            "data": {
                "description": self.data_description or NOT_STATED,
                "licence": self.data_licence or NOT_STATED,
                "attribution": self.data_attribution or NOT_STATED,
                **provenance(train_sets),
                "notes": list(dataset.notes),
            },
            "training": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in {**self.values(), **settings_in_use(self)}.items()
                if name not in NO_TRAINING_SETTINGS | {"output_bundle"}
            },
            "packages": packages(),
            "validation": validation,
        }
        bundle = Bundle(recipe.condition, networks, metadata, recipe.samples)
        try:
            bundle.save(path)
        except OSError as error:
            raise NEM2EError(f"The bundle '{path}' cannot be written: {error.strerror or error}.") from error


def _history_rows(target: str, trained: Trained) -> list[dict[str, Any]]:
    return [
        {
            "muscle": target,
            "epoch": epoch.number,
            "loss": epoch.loss,
            "validation_loss": "" if epoch.validation_loss is None else epoch.validation_loss,
        }
        for epoch in trained.history
    ]


def _error_rows(errors: Mapping[str, Iterable[SubjectErrors]]) -> list[dict[str, Any]]:
    return [
        {
            "method": method,
            "muscle": item.target,
            "subject": item.subject,
            "cycles": item.cycles,
            "E_opensim": item.opensim,
            "E_refined": item.refined,
            "E_mean": item.mean,
            "E_ridge": item.ridge,
            "Er_refined": item.rate,
        }
        for method, items in errors.items()
        for item in items
    ]


def _validation(errors: Mapping[str, list[SubjectErrors]]) -> dict[str, Any]:
    from ..methods.stdr.method import summarise

    done = {method: items for method, items in errors.items() if items}
    rows = [{k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()} for row in _error_rows(done)]
    return {
        "method": ", ".join(done) or "none",
        "error": "E: RMSE over the samples of a cycle, mean over a subject's cycles, then over subjects; "
        "Er = E / E_opensim - 1",
        **{method: summarise(items) for method, items in done.items()},
        "subjects": rows,
    }


def _log_validation(validation: Mapping[str, Any]) -> None:
    from ..methods.bundle import VALIDATION_METHODS

    for method in VALIDATION_METHODS:
        if method not in validation:
            continue
        logger.info("Error on unseen subjects (%s):", method.replace("_", " "))
        logger.info(
            "%-10s %8s %9s %9s %9s %9s %7s", "muscle", "subjects", "E_opensim", "E_refined", "E_mean", "E_ridge", "Er"
        )
        for muscle, row in validation[method].items():
            logger.info(
                "%-10s %8s %9.3f %9.3f %9.3f %9.3f %+7.3f",
                muscle,
                row.get("subjects", ""),
                *(row[f"E_{name}"] for name in ("opensim", "refined", "mean", "ridge")),
                row["Er_refined"],
            )
        total = validation[method]["ALL"]
        if total["E_refined"] >= total["E_mean"]:
            logger.warning(
                "On unseen subjects the networks are no better than the mean EMG cycle of the training data: "
                "they have learned little more than the average waveform."
            )


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
