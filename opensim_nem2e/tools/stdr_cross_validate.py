"""STDRCrossValidateTool: does it help on my population? The NEM2E paper's study on anyone's data.

Learns without each subject in turn, for the input conditions of the paper, and judges STDR-Net or any other method on
the cycles that were left out, beside OpenSim itself and beside baselines that cost nothing (NEM2E paper, sections 3.2.2
and 4). Nothing
that is learned sees the cycles that are left out; this is checked in every fold, by replacing them
(:func:`opensim_nem2e.evaluation.splits.check_blind`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import OpenSimRunError
from ..log import counted, logger
from ..methods.registry import ALL_BASELINES, BASELINES, element_names, element_options, find_method
from ..methods.stdr.hyperparameters import STDROptions
from ..options import DirectoryPath, FilePath, Options, group, option
from .accessors import STDRCrossValidateToolAccessors
from .results import StudyResult
from .tool import Tool, ToolRun
from .training_options import ComputingOptions, CyclesOptions, DataOptions, TrialsOptions
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
)

if TYPE_CHECKING:
    from pathlib import Path

    from ..data.cycle_view import Condition
    from ..data.gait_cycles import CycleData
    from ..evaluation.cross_validate import CrossValidation
    from ..evaluation.study import Skeleton
    from ..evaluation.study_tables import StudyTables


@dataclass(frozen=True)
class CrossValidateOptions(Options):
    """What is compared, on which cycles, and how it is shown."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    selection: TrialsOptions = group(TrialsOptions)
    conditions: tuple[Literal["One-Quarter", "One-Entire", "All-Entire"], ...] = option(
        ("One-Quarter", "One-Entire", "All-Entire"),
        "Inputs of the networks to compare. One-Quarter: a quarter of the gait cycle of the target muscle. "
        "One-Entire: the entire cycle of the target muscle. All-Entire: the entire cycle of all muscles.",
        required=True,
    )
    cycles: CyclesOptions = group(CyclesOptions)
    splitting: Literal[
        "leave_one_subject_out", "leave_one_laboratory_out", "leave_one_speed_out", "leave_one_trial_out"
    ] = option(
        "leave_one_subject_out",
        "What is left out of training and judged. leave_one_subject_out: all cycles of one subject at a time, as "
        "in the paper. leave_one_laboratory_out: all cycles of one dataset of the manifest at a time, which is harder. "
        "leave_one_speed_out, leave_one_trial_out: all cycles at one speed (rounded to 0.1 m/s), or "
        "of one trial, which is easier, because the subject is seen in training.",
    )
    methods: tuple[str, ...] = option(
        ("stdr_net",),
        "What is judged, by keys: stdr_net, or methods of other packages that are installed. Figures show the first. "
        "The options of each stand in an element of their own, such as <STDRNet>.",
        required=True,
    )
    baselines: tuple[str, ...] = option(
        BASELINES,
        "What the networks have to beat besides OpenSim, in the same folds. mean: the mean EMG cycle of the "
        "training cycles. shift: OpenSim's activation, moved by the lag that fits the training cycles best. ridge: "
        "ridge regression on the network's own input, its penalty chosen by leaving out one training subject at a "
        "time. profiles: the mean EMG cycle by motion and age group, of subjects without simulations, too.",
        choices=ALL_BASELINES,
    )
    stdr_net: STDROptions = group(STDROptions, element="STDRNet", formerly_flat=True)
    seeds: tuple[int, ...] = option(
        (0,),
        "Seeds of the networks. Every network is trained once with each; results are means over "
        "them, and their spread shows how much of a result is chance of the training. The same seeds on the same "
        "machine give the same bits.",
        bounds="[0, 9223372036854775807]",
        required=True,
    )
    computing: ComputingOptions = group(ComputingOptions)
    data: DataOptions = group(DataOptions)
    write_report: bool = option(
        True, "Whether figures (SVG and PNG) and a report (HTML) are written. 'opensim-nem2e report' makes them again."
    )
    skeleton_model_file: FilePath = option(
        "",
        "Model (.osim) that the figures of spatial attention show with the muscles of highest weight. None: only "
        "the weights are shown.",
    )
    skeleton_motion_file: FilePath = option("", "Motion (.mot, .sto) or states of that model.")
    skeleton_time_range: tuple[float, ...] = option(
        (),
        "Start and end of one gait cycle of the right limb in that motion. Empty: the first whole one that its feet "
        "show, or the whole file if they show none.",
        bounds="[-1e+10, 1e+10]",
        unit="s",
    )


class STDRCrossValidateTool(STDRCrossValidateToolAccessors, Tool[CrossValidateOptions]):
    """Find out by cross-validation whether networks refine the activations of subjects they have not seen.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = STDRCrossValidateTool()
    >>> tool.setName("walking")
    >>> tool.trials_file = "data/trials.csv"
    >>> tool.emg_channels_file = "data/emg_channels.csv"
    >>> tool.conditions = ["One-Entire", "All-Entire"]
    >>> tool.seeds = [0, 1, 2]
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "STDRCrossValidateTool"
    main_inputs = ("trials_file", "emg_channels_file")
    result_class = StudyResult

    if TYPE_CHECKING:

        @property
        def result(self) -> StudyResult: ...

    results_name = "study"

    @classmethod
    def group_options(cls, element_name: str) -> type[Options] | None:
        """Find the declaration of a method's options by its element."""
        return element_options(element_name)

    @classmethod
    def group_names(cls) -> Iterable[str]:
        """Name the elements of all methods' options."""
        return element_names()

    def _check(self) -> list[str]:
        faults = check_data(self, self.conditions)
        faults += check_methods(self, "methods", self.methods)
        for name in ("conditions", "methods", "baselines", "seeds"):
            shown = self._property(name).format(self.get(name)).split()
            faults += [f"<{name}> names '{value}' twice." for value in dict.fromkeys(shown) if shown.count(value) > 1]
        if bool(self.skeleton_model_file) != bool(self.skeleton_motion_file):
            faults.append("<skeleton_model_file> and <skeleton_motion_file> must be given together, or neither.")
        cycle = self.skeleton_time_range
        if cycle and not (len(cycle) == 2 and cycle[0] < cycle[1]):
            found = " ".join(f"{value:g}" for value in cycle)
            faults.append(f"<skeleton_time_range> must be a start and a later end, but '{found}' was found.")
        return faults

    def _writes_to(self) -> list[Path]:
        return [*super()._writes_to(), *training_directories(self)]

    def _extras(self) -> list[str]:
        # A study's description is made of its figures' styles.
        figures = ["report"] if self.write_report else []
        skeleton = ["opensim"] if self.skeleton_model_file else []
        return ["train", *(["cluster"] if self.scheduler else []), *figures, *skeleton]

    def _run(self, run: ToolRun) -> None:
        from ..evaluation.cross_validate import CrossValidation
        from ..evaluation.study_tables import StudyTables, write_json

        begun = time.monotonic()
        skeleton = self._skeleton()
        trials = select_trials(self)
        datasets: dict[Condition, CycleData] = {}
        for condition in self.conditions:
            # Every condition reads the same files: what is to be said of them is logged once.
            logged = {note for dataset in datasets.values() for note in dataset.notes}
            datasets[condition] = read_cycles(self, trials, condition, logged)
        seeds = list(self.seeds)
        study = CrossValidation(
            datasets,
            {key: options_of(self, key) for key in self.methods},
            seeds,
            self.splitting,
            [key for key in self.baselines if key not in self.methods],
            self.threads,
        )
        for condition, unsplit in study.unsplit.items():
            logger.warning(
                "%s: %s cannot be judged with <splitting> %s: there is only one to leave out, or nobody is left to "
                "learn from.",
                condition,
                ", ".join(unsplit),
                self.splitting,
            )
        study.check()
        logger.info(
            "In none of the folds does anything that is learned (training data, scalers, lags, penalties, who decides "
            "when to stop) change when the cycles that are left out are replaced by random numbers."
        )

        name, folder, files = run.name, run.directory, run.files
        with files.own_names():
            for key in self.methods:
                log_options(self, key)
            pool = None
            if study.jobs:
                logger.info(
                    "Training %s (%s; %s; %s).",
                    counted(len(study.jobs), "network"),
                    ", ".join(self.conditions),
                    counted(len(seeds), "seed"),
                    self.splitting.replace("_", " "),
                )
                pool = train_networks(self, study.jobs, study.weights, study.most_epochs, name)
            tables = StudyTables(study.outcomes, self.methods)
            tables.write(files, name)
            muscles = tuple(dict.fromkeys(outcome.muscle for outcome in study.outcomes))
            run.resolved = {"muscles": muscles}
            for key in self.methods:
                if find_method(key).element:
                    run.resolved[find_method(key).element] = asdict(options_of(self, key))
            described = self._description(study, datasets, tables, self._say(tables, name))
            run.details["verdicts"] = tuple(described["verdicts"])
            described["seconds"] = round(time.monotonic() - begun, 3)
            write_json(files.path(f"{name}_study.json"), described)
            if skeleton is not None:
                skeleton.write(files.path(f"{name}_skeleton.json"))
        if skeleton is None:
            # That of another run does not belong to these results.
            run.afterwards(lambda: (folder / f"{name}_skeleton.json").unlink(missing_ok=True))
        # Only when all is written: a run that is killed before has them for the next.
        if pool is not None:
            run.afterwards(pool.remove_folders)
        if self.write_report:
            from ..evaluation.study import read_study
            from ..report.study_report import write_report

            run.afterwards(lambda: write_report(read_study(folder, name)))

    def _skeleton(self) -> Skeleton | None:
        """Read the model of the figures, before training: what is wrong with it is known now, not hours later."""
        model, motion = self.resolve("skeleton_model_file"), self.resolve("skeleton_motion_file")
        if model is None or motion is None:
            return None
        from ..evaluation.skeleton import read_skeleton
        from ..storage.muscles import MuscleNames

        names = MuscleNames.load(self.resolve("muscle_names_file"))
        try:
            return read_skeleton(model, motion, self.skeleton_time_range, names)
        except OpenSimRunError as error:
            # A figure is not worth a study.
            logger.warning("The figures will show no skeleton. %s", error)
            return None

    def _say(self, tables: StudyTables, name: str) -> list[str]:
        """Tell the log what came out; the last lines say in words what it is worth."""
        from ..evaluation.statistics import listed, shortcut_verdicts, verdicts
        from ..evaluation.study_tables import SPLITTING_MEANINGS

        where = SPLITTING_MEANINGS[self.splitting][1]
        columns = ("muscle", "subjects", "E_opensim", "E", "Er", "Er_low", "Er_high", "p", "d", "r_squared")
        judged = tables.statistics[tables.statistics["method"].isin(self.methods)]
        noted: set[str] = set()
        for (condition, method), part in judged.groupby(["condition", "method"], sort=False):
            logger.info("%s, %s %s (Er = E / E_opensim - 1):", condition, tables.labels[method], where)
            for line in listed(part, [*columns, "best_baseline", "Er_best_baseline", "versus_best_p"]):
                logger.info("%s", line)
            notes = dict.fromkeys(f"{row.muscle}: {row.note}" for row in part.itertuples() if row.note)
            for note in notes:
                if note not in noted:
                    logger.info("%s", note)
            noted |= set(notes)
        for text in shortcut_verdicts(tables.shortcut, tables.labels):
            logger.info("%s", text)
        said = verdicts(tables.statistics, where, tables.labels)
        for text in said:
            logger.info("%s", text)
        return said

    def _description(
        self, study: CrossValidation, datasets: dict[Condition, CycleData], tables: StudyTables, said: list[str]
    ) -> dict[str, Any]:
        """Say all that the tables do not: settings, data, and what is to be read with the numbers."""
        from ..data.gait_cycles import describe_cycles
        from ..evaluation.band_calibration import study_coverage
        from ..evaluation.splits import WITHIN_SUBJECT
        from ..evaluation.statistics import WHY_PAIRED
        from ..evaluation.study_tables import reproducibility, splitting_words

        options = {key: asdict(options_of(self, key)) for key in self.methods}
        settings = {name: value for name, value in self.values().items() if not isinstance(value, dict)}
        stopping = any(found.get("early_stopping_patience") for found in options.values())
        subjects = tables.subjects
        # EMG that was divided by its maximum cannot exceed 1.
        limits = (0.0, float("inf") if self.emg_normalization == "none" else 1.0)
        return {
            "tool": self.tool_name,
            "name": self.name or self.results_name,
            "verdicts": said,
            "settings": {**settings, **options[self.methods[0]], "seeds": list(study.seeds)},
            "conditions": list(dict.fromkeys(subjects["condition"])),
            "muscles": list(dict.fromkeys(subjects["muscle"])),
            "subjects": list(dict.fromkeys(subjects["subject"])),
            "seeds": list(study.seeds),
            "splitting": splitting_words(self.splitting, self.emg_normalization),
            "judged": list(self.methods),
            "methods": tables.descriptions(),
            "options": options,
            "styles": tables.styles(),
            "citations": tables.citations(),
            "networks": len(study.jobs),
            "data": {
                **{name: self.get(f"data_{name}") or NOT_STATED for name in ("description", "licence", "attribution")},
                "conditions": {
                    condition: {
                        **describe_cycles({muscle: data.cycles(muscle) for muscle in data.muscles}),
                        "notes": list(data.notes),
                    }
                    for condition, data in datasets.items()
                },
            },
            "baselines": tables.baseline_choices(),
            "shortcut_check": tables.shortcut_check(),
            "band_coverage": {} if self.splitting in WITHIN_SUBJECT else study_coverage(study.outcomes, limits),
            "leak_check": "Before training, everything that is learned in a fold was computed twice, once with the "
            "cycles that are left out as they are and once with random numbers in their place, and was the same to the "
            "last bit.",
            "validation_loss": "of the training subject that decides when to stop"
            if stopping
            else "of the cycles that are left out; recorded only, nothing hangs on it",
            "comparison_of_conditions": WHY_PAIRED,
            "best_baseline": "The baseline with the lowest Er, OpenSim itself (Er = 0) among them, chosen on the very "
            "cycles that are judged, which favours the baseline.",
            "significance": "p < 0.05, two-sided, over subjects; not corrected for the number of muscles.",
            "packages": packages(),
            "reproducibility": reproducibility(self.threads),
        }
