"""STDRTrainTool: train STDR-Net, or any other method, on simulated activations and measured EMG.

Reads the trials manifest (see :mod:`opensim_nem2e.data.manifest`), learns every target muscle and writes what was
learned, with everything needed to use and to judge it, as one bundle for STDRRefineTool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import NEM2EError, TrainingError
from ..log import counted, logger
from ..methods.registry import element_names, element_options, find_method
from ..methods.stdr.hyperparameters import STDROptions
from ..options import DirectoryPath, FilePath, Options, group, option
from .accessors import STDRTrainToolAccessors
from .results import TrainResult
from .tool import Tool, ToolRun
from .training_options import NO_TRAINING_SETTINGS, ComputingOptions, CyclesOptions, DataOptions, TrialsOptions
from .training_run import (
    NOT_STATED,
    check_data,
    check_methods,
    log_options,
    options_of,
    packages,
    read_cycles,
    select_trials,
    train_networks,
    training_directories,
    warn_of_unstated,
)

if TYPE_CHECKING:
    from ..data.gait_cycles import CycleData
    from ..evaluation.bundle_training import BundleTraining, SubjectErrors
    from ..training.task import Trained


@dataclass(frozen=True)
class TrainOptions(Options):
    """What networks are trained on, how, and where they are written."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    selection: TrialsOptions = group(TrialsOptions)
    hold_out_subjects: tuple[str, ...] = option(
        (), "Subjects that no network is trained on; their errors are written to the bundle's validation figures."
    )
    method: str = option(
        "stdr_net",
        "What is learned, by its key: stdr_net (networks with attention), mean (the mean EMG profile), shift, ridge, "
        "or a method of another package that is installed. Its options stand in an element of their own, such as "
        "<STDRNet>.",
    )
    condition: Literal["One-Quarter", "One-Entire", "All-Entire"] = option(
        "One-Entire",
        "Input of a network. One-Quarter: a quarter of the gait cycle of the target muscle. One-Entire: the entire "
        "cycle of the target muscle. All-Entire: the entire cycle of all muscles.",
    )
    cycles: CyclesOptions = group(CyclesOptions)
    initial_bundle_file: FilePath = option(
        "",
        "Network bundle (.safetensors), or the name of a bundle that ships with the package, whose networks are "
        "calibrated to one subject instead of training new ones: the strides used (<subjects>, <motions>, <trials>, "
        "<strides>) must be of one subject. Three strides or more of the motion that will be refined are advised; "
        "one is enough. Condition, window_samples, input_muscles, hidden_units, score_function and network_output "
        "are the bundle's, and the preset has no meaning. Empty: new networks are trained.",
        may_be_name=True,
        formerly=("initial_bundle",),
    )
    stdr_net: STDROptions = group(STDROptions, element="STDRNet", formerly_flat=True)
    seed: int = option(
        0,
        "Seed of the first weights, the order of the data, and what else is drawn. The same seed on the same "
        "machine gives the same bits.",
        bounds="[0, 9223372036854775807]",
    )
    validate: Literal["none", "leave_one_subject_out"] = option(
        "none",
        "How the error on unseen subjects is estimated for the bundle's validation figures. "
        "leave_one_subject_out: networks are trained without each subject in turn (as many times the work as there "
        "are subjects), and where there are several laboratories without each of them. none: not at all.",
    )
    computing: ComputingOptions = group(ComputingOptions)
    output_bundle_file: FilePath = option(
        "",
        "Name of the network bundle (.safetensors) that is written. Empty: the tool's name (or 'network') in "
        "results_directory.",
        formerly=("output_bundle",),
        written=True,
    )
    data: DataOptions = group(DataOptions)
    write_figures: bool = option(
        True, "Draw the losses of new networks and, with validate, their errors beside the baselines'?"
    )
    figure_format: Literal["png", "svg"] = option("png", "Format of the figure.")


class STDRTrainTool(STDRTrainToolAccessors, Tool[TrainOptions]):
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
    main_inputs = ("trials_file", "emg_channels_file")
    result_class = TrainResult

    if TYPE_CHECKING:

        @property
        def result(self) -> TrainResult: ...

    results_name = "network"

    @classmethod
    def group_options(cls, element_name: str) -> type[Options] | None:
        """Find the declaration of a method's options by its element."""
        return element_options(element_name)

    @classmethod
    def group_names(cls) -> Iterable[str]:
        """Name the elements of all methods' options."""
        return element_names()

    def _check(self) -> list[str]:
        # With an initial bundle, its condition counts.
        faults = check_data(self, ["All-Entire"] if self.initial_bundle_file else [self.condition])
        faults += check_methods(self, "method", [self.method])
        if self.initial_bundle_file:
            faults += [
                f"<{name}> has no meaning with <initial_bundle_file> and must be left out."
                for name, given in (
                    ("hold_out_subjects", self.hold_out_subjects),
                    ("early_stopping_patience", self.get("STDRNet.early_stopping_patience")),
                )
                if given
            ]
            if self.method != "stdr_net":
                faults.append(f"<method> must be stdr_net with <initial_bundle_file>, but '{self.method}' was found.")
            if self.validate != "none":
                faults.append(
                    "<validate> must be none with <initial_bundle_file>: strides of the subject are left out instead."
                )
        bundle = self.resolve("output_bundle_file")
        if bundle is not None:
            if bundle.suffix != ".safetensors":
                faults.append(f"<output_bundle_file> must end in '.safetensors', but '{bundle.name}' was found.")
            if bundle.is_dir():
                faults.append(f"<output_bundle_file> must be a file, but '{bundle}' is a directory.")
            elif bundle.parent != self.results_folder and not bundle.parent.is_dir():
                faults.append(f"<output_bundle_file>: the folder '{bundle.parent}' does not exist.")
        return faults

    def _extras(self) -> list[str]:
        figures = ["report"] if self.write_figures and self.is_set("write_figures") else []
        return ["train", *(["cluster"] if self.scheduler else []), *figures]

    def _run(self, run: ToolRun) -> None:
        run.details["bundle_file"] = self._bundle_file
        if self.initial_bundle_file:
            from .stdr_calibrate import calibrate_bundle

            calibrate_bundle(self, self._bundle_file, run)
            return
        from ..estimates.trust import log_bands, log_training_range
        from ..evaluation.bundle_training import BundleTraining
        from ..methods.base import RunSettings

        trials = select_trials(self, also={"hold_out_subjects": "subject"})
        data = read_cycles(self, trials, self.condition)
        method, options = find_method(self.method), options_of(self, self.method)
        training = BundleTraining(
            method,
            options,
            data.samples,
            data.view,
            self._muscles(data),
            RunSettings(self.seed, self.threads),
            self.hold_out_subjects,
            self.validate == "leave_one_subject_out",
        )
        training.check()

        bundle_file = self._bundle_file
        log_options(self, self.method)
        if training.jobs:
            count = len(training.jobs)
            networks = f"{count} network{'s' if count > 1 else ''}"
            logger.info("Training %s (%s, up to %d epochs).", networks, self.condition, training.most_epochs)
            pool = train_networks(self, training.jobs, training.weights, training.most_epochs, run.name)
            # Only when all is written: a run that is killed before has them for the next.
            run.afterwards(pool.remove_folders)
        training.finish()
        validation = _validation(training.errors)
        _log_validation(validation, method.label)
        history = [row for target, trained in training.trained.items() for row in _history_rows(target, trained)]
        if history:
            _write_csv(run.files.path(f"{run.name}_training_history.csv"), history)
        if any(training.errors.values()):
            _write_csv(run.files.path(f"{run.name}_validation.csv"), _error_rows(training.errors))
        from ..methods.bundle import VALIDATION_METHODS

        errors: Mapping[str, Any] = next((validation[way] for way in VALIDATION_METHODS if way in validation), {})
        if (history or errors) and self._draws_figures():
            from ..report.training_figure import draw_training

            by_muscle = {muscle: row for muscle, row in errors.items() if muscle != "ALL"}
            figure = run.files.path(f"{run.name}_training.{self.figure_format}")
            draw_training(history, by_muscle, figure, f"{run.name}: {method.label}, {self.condition}")
        run.resolved = {"output_bundle_file": bundle_file, "muscles": tuple(training.parts)}
        if method.element:
            run.resolved[method.element] = asdict(options)
        # EMG that was divided by its maximum cannot exceed 1.
        bands = training.bands((0.0, float("inf") if self.emg_normalization == "none" else 1.0))
        known = training.training_range()
        log_bands(bands)
        log_training_range(known)
        trust = {"bands": bands, "training_range": known}
        sections = {name: found.section() for name, found in trust.items() if found is not None}
        self._save(training, data, {"validation": validation, **sections}, run)
        logger.info(
            "Wrote the bundle '%s' (%s; %s).", bundle_file, method.label, counted(len(training.parts), "muscle")
        )

    def _writes_to(self) -> list[Path]:
        return [*super()._writes_to(), self._bundle_file.parent, *training_directories(self)]

    @property
    def _bundle_file(self) -> Path:
        return (
            self.resolve("output_bundle_file") or self.results_folder / f"{self.name or self.results_name}.safetensors"
        )

    def _muscles(self, data: CycleData) -> list[str]:
        """Name the muscles that are left with cycles to learn from once subjects are held out."""
        from ..data.gait_cycles import MuscleCycles

        train, _ = data.samples.leave_out(self.hold_out_subjects)
        cycles = {muscle: MuscleCycles.of(train, muscle, data.view) for muscle in data.muscles}
        empty = [muscle for muscle, found in cycles.items() if not found.records]
        if empty and self.muscles:
            raise TrainingError(f"Without the held-out subjects there are no data for {', '.join(empty)}.")
        for muscle in empty:
            logger.warning("Without the held-out subjects there are no data for %s: it is not learned.", muscle)
        left = [muscle for muscle in data.muscles if muscle not in empty]
        if not left:
            raise TrainingError("Without the held-out subjects there are no data to train on.")
        single = [muscle for muscle in left if len(set(cycles[muscle].subjects.tolist())) == 1]
        if single:
            logger.warning(
                "Only one subject has data for %s: what these networks learn may fit nobody else.", ", ".join(single)
            )
        return left

    def _save(self, training: BundleTraining, data: CycleData, sections: Mapping[str, Any], run: ToolRun) -> None:
        from ..data.gait_cycles import describe_cycles
        from ..methods.bundle import Bundle

        warn_of_unstated(self)
        options = asdict(training.options)
        settings = {name: value for name, value in self.values().items() if not isinstance(value, dict)}
        metadata = {
            "name": self._bundle_file.stem,
            "cycle": {
                "definition": "heel strike to the next heel strike of the same side; the muscles of that side are "
                "'ipsi', those of the other side 'contra'",
                "sampling": f"linear interpolation at linspace(start, end, {data.view.cycle_samples})",
            },
            "normalization": {
                "activation": "none",
                "emg": self.emg_normalization,
                "emg_time_offset": self.use_emg_time_offset,
                **({"output": options["network_output"]} if "network_output" in options else {}),
            },
            "data": {
                "description": self.data_description or _description(training),
                "licence": self.data_licence or NOT_STATED,
                "attribution": self.data_attribution or NOT_STATED,
                **describe_cycles({muscle: training.cycles(muscle) for muscle in training.muscles}),
                "notes": list(data.notes),
            },
            "training": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in {**settings, **options}.items()
                if name not in NO_TRAINING_SETTINGS | {"output_bundle_file", "write_figures", "figure_format"}
            },
            "packages": packages(),
            **sections,
        }
        bundle = Bundle(training.method, data.view, training.parts, metadata)
        path = self._bundle_file
        try:
            bundle.save(run.path(path))
        except OSError as error:
            raise NEM2EError(f"The bundle '{path}' cannot be written: {error.strerror or error}.") from error


def _description(training: BundleTraining) -> str:
    """Say what is known of the data where nobody has."""
    from ..data.gait_cycles import describe_cycles

    about = describe_cycles({muscle: training.cycles(muscle) for muscle in training.muscles})
    return (
        f"subjects {', '.join(about['subjects'])} of {', '.join(about['datasets'])}; motions: "
        f"{', '.join(about['motions'])}; simulated by {', '.join(about['activation_sources'])}"
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
            "laboratory": item.laboratory,
            "motion": item.motion,
            "activation_source": item.source,
            "cycles": item.cycles,
            "E_opensim": item.opensim,
            "E_refined": item.refined,
            "E_mean": item.mean,
            "E_profiles": item.profiles,
            "E_ridge": item.ridge,
            "Er_refined": item.rate,
            **{f"E_gain_{name}": item.shapes[name].E_gain for name in ("opensim", "refined", "profiles")},
            **{f"r_{name}": item.shapes[name].r for name in ("opensim", "refined", "profiles")},
        }
        for method, items in errors.items()
        for item in items
    ]


def _validation(errors: Mapping[str, list[SubjectErrors]]) -> dict[str, Any]:
    from ..evaluation.bundle_training import summarise

    done = {method: items for method, items in errors.items() if items}
    sources = list(dict.fromkeys(item.source for items in done.values() for item in items))

    def by(field: str) -> dict[str, Any]:
        """Take the means over the muscles for every motion, or every kind of simulation."""
        return {
            method: {
                name: _rounded(summarise(item for item in items if getattr(item, field) == name)["ALL"])
                for name in dict.fromkeys(getattr(item, field) for item in items)
            }
            for method, items in done.items()
        }

    return {
        "method": ", ".join(done) or "none",
        "error": "E: RMSE over the samples of a cycle, mean over a subject's cycles, then over subjects; "
        "Er = E / E_opensim - 1; E_gain: E after the subject's best gain; r: Pearson's; peak, onset and offset: of the "
        "main burst, in ms",
        **{method: {m: _rounded(row) for m, row in summarise(items).items()} for method, items in done.items()},
        "by_motion": by("motion"),
        "by_source": by("source"),
        "sources": sources,
        # The table that is written beside the bundle holds more.
        "subjects": [_rounded({name: row[name] for name in _KEPT}, 4) for row in _error_rows(done)],
    }


#: What a bundle keeps of the errors on single subjects.
_KEPT = (
    *("method", "muscle", "subject", "laboratory", "motion", "activation_source", "cycles"),
    *("E_opensim", "E_refined", "E_profiles", "E_gain_refined", "r_refined"),
)


def _rounded(row: Mapping[str, Any], digits: int = 6) -> dict[str, Any]:
    """Round to what a table needs; what is not known (a flat curve's peak) is left out."""
    return {k: round(v, digits) if isinstance(v, float) else v for k, v in row.items() if v == v}


def _log_validation(validation: Mapping[str, Any], label: str) -> None:
    from ..methods.bundle import VALIDATION_METHODS

    if not any(method in validation for method in VALIDATION_METHODS):
        return
    columns = (
        *("E_opensim", "E_refined", "E_mean", "E_profiles", "E_ridge", "Er_refined", "Er_profiles"),
        *("E_gain_refined", "E_gain_profiles", "r_refined", "r_profiles"),
    )
    logger.info(
        "Errors against EMG. E: RMS; Er: E / E_opensim - 1, negative is better; E_gain: after the subject's best gain; "
        "r: correlation. mean: mean EMG of the other subjects; profiles: the same by motion and age; ridge: ridge "
        "regression."
    )
    shown: list[tuple[Any, ...]] = []
    for method in VALIDATION_METHODS:
        if method not in validation:
            continue
        tables = (validation[method], validation["by_motion"][method], validation["by_source"][method])
        if tables in shown:
            logger.info(
                "Error on unseen subjects (%s): the same, since each laboratory has one subject.",
                method.replace("_", " "),
            )
            continue
        shown.append(tables)
        logger.info("Error on unseen subjects (%s):", method.replace("_", " "))
        logger.info("%-10s %8s " + " ".join(f"%{len(name)}s" for name in columns), "muscle", "subjects", *columns)
        rows = dict(validation[method])
        for parts in (validation["by_motion"][method], validation["by_source"][method]):
            rows |= {f"- {part}": row for part, row in parts.items() if len(parts) > 1}
        for muscle, row in rows.items():
            cells = [f"{row[name]:{len(name)}.3f}" if name in row else " " * len(name) for name in columns]
            logger.info("%-10s %8s %s", muscle, row.get("subjects", ""), " ".join(cells))
        total = validation[method]["ALL"]
        if total["E_refined"] >= min(total["E_mean"], total["E_profiles"]):
            logger.warning(
                "On unseen subjects (%s) %s is no better than the mean EMG cycle of the training data: little more "
                "than the average waveform was learned.",
                method.replace("_", " "),
                label,
            )


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from ..storage.tables import write_table

    # Every digit: these are results to go on with.
    cells = [[repr(float(value)) if isinstance(value, float) else value for value in row.values()] for row in rows]
    write_table(path, list(rows[0]), cells)
