"""STDRTrainTool: train STDR-Net on simulated activations and measured EMG.

Reads the trials manifest (see :mod:`opensim_nem2e.dataset.manifest`), trains one network per target muscle and writes
them, with everything needed to use and to judge them, as one bundle for STDRRefineTool.

Source of the default values: NEM2E paper, section 3.2.1 (700 hidden units, 700 epochs, batch size 1, 20 samples,
squared error, Adam). What the paper leaves open says so in its comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NEM2EError, SetupError, TrainingError, did_you_mean
from ..log import logger
from .properties import Property
from .tool import Tool, write_text

if TYPE_CHECKING:
    from ..dataset.manifest import Trial
    from ..dataset.windows import Dataset, TargetData
    from ..networks.bundle import Network
    from ..training.pool import Pool
    from ..training.recipe import Recipe, SubjectErrors
    from ..training.settings import Trained
    from ..training.study import Study

_NOT_STATED = "not stated"


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
        Property(
            "activation_sources",
            "strings",
            (),
            "Sources of simulated activations to use. Empty: all.",
            choices=("cmc", "so", "moco"),
        ),
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
            "Whether EMG is shifted by the manifest's emg_time_offset_s (EMG at t + offset belongs to the motion at "
            "t).",
        ),
        Property(
            "window_samples",
            "int",
            20,
            "Samples of a network's window, evenly spaced, both ends included.",
            bounds="[4, 1000]",
        ),
        Property("hidden_units", "int", 700, "Units of the encoder and of the decoder.", bounds="[1, 10000]"),
        Property(
            "score_function",
            "string",
            "general",
            "How attention compares decoder and encoder states (Luong 2015). The paper does not say which.",
            choices=("general", "dot"),
        ),
        Property(
            "network_output",
            "string",
            "emg",
            "What the network puts out. emg: the EMG itself (the paper). deviation: the deviation from the mean EMG "
            "cycle of the training data, scaled by its standard deviation, which is easier to learn from few subjects.",
            choices=("emg", "deviation"),
        ),
        Property(
            "teacher_forcing",
            "double",
            1.0,
            "Share of the training steps in which the decoder is fed the measured EMG of the sample before; in the "
            "others it is fed its own output, as it is when refining, which takes four times as long. The paper does "
            "not say.",
            bounds="[0, 1]",
        ),
        Property("epochs", "int", 700, "Passes through the training data.", bounds="[1, 10000000]"),
        Property("batch_size", "int", 1, "Windows per training step.", bounds="[1, 1000000]"),
        Property(
            "learning_rate",
            "double",
            0.001,
            "Step size of the Adam algorithm. The paper does not say; this is the value of the paper on Adam.",
            bounds="(0, 1]",
        ),
        Property("weight_decay", "double", 0.0, "L2 penalty of the Adam algorithm. 0: none.", bounds="[0, Inf)"),
        Property(
            "gradient_clip", "double", 0.0, "Largest norm of a step's gradient. 0: not limited.", bounds="[0, Inf)"
        ),
        Property(
            "early_stopping_patience",
            "int",
            0,
            "Stop training when the error on one subject kept for this purpose (chosen by the seed) has not improved "
            "for this number of epochs, and keep the best network. 0: train for all epochs on all subjects.",
            bounds="[0, 10000000]",
        ),
        Property(
            "seed",
            "int",
            0,
            "Seed of the first weights, the order of the data, and what else is drawn. The same seed on the same "
            "machine gives the same bits.",
            bounds="[0, 9223372036854775807]",
        ),
        Property(
            "validate",
            "string",
            "none",
            "How the error on unseen people is estimated for the bundle's validation figures. "
            "leave_one_subject_out: networks are trained without each subject in turn (as many times the work as there "
            "are subjects). none: not at all.",
            choices=("none", "leave_one_subject_out"),
        ),
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
            "Directory for the checkpoints and for finished networks, which are removed once all is written. Empty: "
            "the tool's name (or 'network') with '_checkpoints' in results_directory.",
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
        Property(
            "output_bundle",
            "file",
            "",
            "Name of the network bundle (.safetensors) that is written. Empty: the tool's name (or 'network') in "
            "results_directory.",
        ),
        Property("data_description", "string", "", "What the training data are; kept in the bundle."),
        Property("data_licence", "string", "", "Licence of the training data; kept in the bundle."),
        Property("data_attribution", "string", "", "Whom to credit for the training data; kept in the bundle."),
    )

    def _check(self) -> list[str]:
        faults = []
        for name in ("trials_file", "emg_channels_file", "muscle_names_file"):
            path = self.resolve(name)
            if path is not None and not path.is_file():
                faults.append(f"<{name}> must be an existing file, but '{path}' was not found.")
        if self.input_muscles and self.condition != "All-Entire":
            faults.append(f"<input_muscles> are for the condition All-Entire, but <condition> is {self.condition}.")
        for name in ("muscles", "input_muscles"):
            values = self.get(name)
            faults += [
                f"<{name}> names '{value}' twice." for value in sorted({v for v in values if values.count(v) > 1})
            ]
        bundle = self.resolve("output_bundle")
        if bundle is not None:
            if bundle.suffix != ".safetensors":
                faults.append(f"<output_bundle> must end in '.safetensors', but '{bundle.name}' was found.")
            if bundle.is_dir():
                faults.append(f"<output_bundle> must be a file, but '{bundle}' is a directory.")
            elif bundle.parent != self._results_directory and not bundle.parent.is_dir():
                faults.append(f"<output_bundle>: the folder '{bundle.parent}' does not exist.")
        return faults

    @property
    def _results_directory(self) -> Path:
        return self.resolve("results_directory") or self.base_directory

    def _run(self) -> None:
        from ..dataset.manifest import read_channels, read_trials
        from ..storage.atomic import ResultFiles
        from ..training.study import Study

        trials_file, channels_file = self.resolve("trials_file"), self.resolve("emg_channels_file")
        assert trials_file is not None
        assert channels_file is not None
        trials = self._select(read_trials(trials_file))
        dataset = self._dataset(trials, read_channels(channels_file))
        recipe = self._recipe()
        train_sets, held_out = self._split(dataset)

        study = Study(train_sets, held_out, recipe, self.validate == "leave_one_subject_out")
        study.check()

        name = self.name or "network"
        bundle_file = self.resolve("output_bundle") or self._results_directory / f"{name}.safetensors"
        with ResultFiles(self._results_directory) as files:
            pool = self._train(study, name)
            networks = study.networks
            validation = _validation(study.errors)
            _log_validation(validation)
            _write_csv(
                files.path(f"{name}_training_history.csv"),
                [row for target, trained in study.trained.items() for row in _history_rows(target, trained)],
            )
            if any(study.errors.values()):
                _write_csv(files.path(f"{name}_validation.csv"), _error_rows(study.errors))
            resolved = {"output_bundle": bundle_file, "muscles": tuple(networks)}
            setup = self.effective_setup(self._results_directory, resolved)
            write_text(files.path(f"{name}_effective_setup.xml"), setup)
            self._save(networks, dataset, train_sets, recipe, validation, bundle_file)
        # Only now: a run that is killed before its last file is written has them for the next.
        pool.remove_folders()
        logger.info("Wrote the network bundle '%s' (%d muscles).", bundle_file, len(networks))
        logger.info("Wrote the loss histories and the setup that was run to '%s'.", self._results_directory)

    def _select(self, trials: Sequence[Trial]) -> list[Trial]:
        """Keep the trials that the filters name; a name that fits none is a fault."""
        kept = list(trials)
        faults = []
        filters = (
            ("datasets", "dataset"),
            ("subjects", "subject"),
            ("motions", "motion"),
            ("activation_sources", "activation_source"),
        )
        for name, field in (*filters, ("hold_out_subjects", "subject")):
            wanted = self.get(name)
            known = list(dict.fromkeys(getattr(trial, field) for trial in trials))
            faults += [
                f"<{name}> names '{value}', which is not in the trials file.{did_you_mean(value, known)} "
                f"Found there: {', '.join(known)}."
                for value in wanted
                if value not in known
            ]
            if wanted and name != "hold_out_subjects":
                kept = [trial for trial in kept if getattr(trial, field) in wanted]
        if not faults and not kept:
            faults.append("No trial fits datasets, subjects, motions and activation_sources together.")
        if faults:
            raise SetupError(faults, self.setup_file)
        return kept

    def _dataset(self, trials: Sequence[Trial], channels: Sequence[Any]) -> Dataset:
        from ..dataset.windows import build_dataset
        from ..networks.conditions import windows_per_cycle
        from ..storage.muscles import PAPER_MUSCLES, MuscleNames

        dataset = build_dataset(
            trials,
            channels,
            targets=self.muscles or PAPER_MUSCLES,
            inputs=(self.input_muscles or "all") if self.condition == "All-Entire" else "own",
            samples=self.window_samples,
            windows=windows_per_cycle(self.condition),
            emg_normalization=self.emg_normalization,
            use_emg_time_offset=self.use_emg_time_offset,
            shared_channels=self.share_emg_channels,
            names=MuscleNames.load(self.resolve("muscle_names_file")),
        )
        missing = [muscle for muscle in self.muscles if muscle not in dataset.targets]
        if missing:
            raise TrainingError(
                f"No cycle has both EMG and activations of {', '.join(missing)}; "
                f"muscles that have: {', '.join(dataset.targets)}."
            )
        if self.condition == "All-Entire" and not self.input_muscles:
            inputs = {name for data in dataset.targets.values() for name in data.inputs}
            if not any(name.startswith("contra:") for name in inputs):
                logger.warning(
                    "No contralateral muscle is an input: some trials have the activations of one limb only, and the "
                    "inputs are those that every trial has. Leave such trials out (<datasets>, <subjects>) to train on "
                    "both limbs."
                )
        return dataset

    def _recipe(self) -> Recipe:
        from ..training.recipe import Recipe
        from ..training.settings import TrainingSettings

        settings = TrainingSettings(
            hidden=self.hidden_units,
            score=self.score_function,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            teacher_forcing=self.teacher_forcing,
            weight_decay=self.weight_decay,
            gradient_clip=self.gradient_clip,
            patience=self.early_stopping_patience,
            seed=self.seed,
            threads=self.threads,
        )
        return Recipe(self.condition, settings, self.window_samples, self.network_output)

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

    def _train(self, study: Study, name: str) -> Pool:
        from ..training.pool import Pool, available_processors, default_jobs, free_memory, memory_of
        from ..training.watch import Watch

        settings, count = study.recipe.settings, len(study.jobs)
        memory = memory_of(study.weights)
        at_once = min(count, self.jobs or default_jobs(self.threads, memory))
        logger.info(
            "Training %d network%s (%s, %d hidden units, up to %d epochs).",
            count,
            "s" if count > 1 else "",
            study.recipe.condition,
            settings.hidden,
            settings.epochs,
        )
        logger.info("%d at once, each in a process of its own with about %.0f MB of memory.", at_once, memory / 1e6)
        cores = len(available_processors())
        if at_once * self.threads > cores:
            logger.warning(
                "<jobs> and <threads> ask for %d cores, but there are %d: this is slower than fewer jobs.",
                at_once * self.threads,
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
        store = self.resolve("checkpoint_directory") or self._results_directory / f"{name}_checkpoints"
        pool = Pool(store, at_once, self.threads, self.checkpoint_interval)
        names = [job.name for job in study.jobs]
        histories = self._results_directory / f"{name}_history"
        try:
            with Watch(
                names, settings.epochs, histories, self.progress_bar, self.resolve("tensorboard_directory")
            ) as watch:
                pool.run(study.jobs, watch)
        except (KeyboardInterrupt, SystemExit):
            logger.warning("Training was interrupted with %d of %d networks finished.", len(pool.finished), count)
            logger.warning(
                "What was done is kept in '%s': run the same setup again, and training goes on from there.", store
            )
            raise
        if pool.reused:
            logger.info("%d networks had been finished before and were not trained again.", len(pool.reused))
        return pool

    def _save(
        self,
        networks: Mapping[str, Network],
        dataset: Dataset,
        train_sets: Mapping[str, TargetData],
        recipe: Recipe,
        validation: Mapping[str, Any],
        path: Path,
    ) -> None:
        from ..networks.bundle import Bundle

        for name in ("data_licence", "data_attribution"):
            if not self.get(name):
                logger.warning("<%s> is not given: the bundle will say '%s'.", name, _NOT_STATED)
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
                "output": self.network_output,
            },
            "data": {
                "description": self.data_description or _NOT_STATED,
                "licence": self.data_licence or _NOT_STATED,
                "attribution": self.data_attribution or _NOT_STATED,
                **_provenance(train_sets),
                "notes": list(dataset.notes),
            },
            "training": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.values().items()
                if name not in _NO_TRAINING_SETTINGS
            },
            "packages": _packages(),
            "validation": validation,
        }
        bundle = Bundle(recipe.condition, networks, metadata, recipe.samples)
        try:
            bundle.save(path)
        except OSError as error:
            raise NEM2EError(f"The bundle '{path}' cannot be written: {error.strerror or error}.") from error


#: Properties that say where files are and how the run is shown, not how the networks came about.
_NO_TRAINING_SETTINGS = frozenset(
    (
        "results_directory",
        "trials_file",
        "emg_channels_file",
        "muscle_names_file",
        "output_bundle",
        "progress_bar",
        "jobs",
        "checkpoint_interval",
        "checkpoint_directory",
        "tensorboard_directory",
        "data_description",
        "data_licence",
        "data_attribution",
    )
)


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
    from ..training.recipe import summarise

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
    from ..networks.bundle import VALIDATION_METHODS

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


def _provenance(train_sets: Mapping[str, TargetData]) -> dict[str, Any]:
    trials = {trial.line: trial for data in train_sets.values() for trial in data.trials}
    used = [trials[line] for line in sorted(trials)]

    def names(field: str) -> list[str]:
        return list(dict.fromkeys(getattr(trial, field) for trial in used))

    return {
        "datasets": names("dataset"),
        "subjects": names("subject"),
        "motions": names("motion"),
        "activation_sources": names("activation_source"),
        "cycles": {target: len(data.trials) for target, data in train_sets.items()},
        "subjects_per_muscle": {target: len(set(data.subjects.tolist())) for target, data in train_sets.items()},
    }


def _packages() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    from .. import __version__

    packages = {name: version(name) for name in ("numpy", "torch", "safetensors")}
    return {"opensim_nem2e": __version__, "python": platform.python_version(), **packages}


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
