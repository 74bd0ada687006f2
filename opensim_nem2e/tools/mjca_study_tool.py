"""MJCAStudyTool: the study of the PI-MJCA-BiGRU paper on anyone's data, from one setup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SetupError
from ..log import logger
from ..options import DirectoryPath, FilePath, Options, group, option
from .accessors import MJCAStudyToolAccessors
from .tool import Tool, ToolRun
from .training_options import ComputingOptions, SelectionOptions
from .training_run import select_trials, train_networks, training_directories

if TYPE_CHECKING:
    from ..evaluation.mjca_study import FeatureSpace, MJCAStudy, StudySettings


@dataclass(frozen=True)
class MJCAStudyOptions(Options):
    """Whose motion, and how the networks are trained; the defaults are the paper's."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    trials_file: FilePath = option(
        "",
        "Manifest of the strides (.csv), one row per stride: dataset, subject, trial (a condition, such as a speed), "
        "stride, motion, side, model_file, coordinates_file, external_loads_file, t_start, t_end. With activation_file "
        "and activation_source so, OpenSim's static optimisation is the reference, elsewhere the same program solved "
        "here. Paths in it are relative to it.",
        required=True,
    )
    rows: SelectionOptions = group(SelectionOptions)
    variants: tuple[Literal["pi", "supervised", "no_dynamics", "no_effort", "no_bounds", "bigru", "cnn_bigru"], ...] = (
        option(
            (),
            "Networks to train. pi: the paper's. supervised: its twin, trained on static optimisation. no_dynamics, "
            "no_effort, no_bounds: without a term of the loss. bigru, cnn_bigru: without attention; with convolutions "
            "in its place. Empty: all.",
        )
    )
    loss_weights: tuple[float, ...] = option(
        (3.0, 1000.0, 500.0),
        "Weights of the equation of motion (per (Nm)^2), of effort and of bounds in the loss.",
        bounds="[0, 1000000]",
        list_size=3,
    )
    epochs: int = option(500, "Passes through the training data.", bounds="[1, 1000000]")
    learning_rate: float = option(
        0.0005, "Step size of the Adam algorithm, which falls to a tenth (cosine).", bounds="(0, 1]"
    )
    weight_decay: float = option(0.01, "L2 penalty of the Adam algorithm.", bounds="[0, 1000]")
    window_frames: int = option(20, "Frames of a window.", bounds="[2, 1000]")
    window_stride: int = option(2, "Frames from the start of one window to the next.", bounds="[1, 1000]")
    planar_leg: Literal["paper", "moving"] = option(
        "paper",
        "The leg's dynamics. paper: the hip at rest, its flexion taken for the angle of the thigh. moving: with the "
        "tilt of the pelvis, the acceleration of the hip, and the true joint axes of the model.",
    )
    use_passive_force: bool = option(
        True, "Do the muscles pull passively (equation 18)? Static optimisation knows no passive force."
    )
    lowpass_cutoff_frequency_for_coordinates: float = option(
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates. A negative value results in no filtering.",
        bounds="[-1000, 0) or [0.01, 1000]",
        unit="Hz",
    )
    seed: int = option(0, "Seed of all that is drawn.", bounds="[0, 9223372036854775807]")
    computing: ComputingOptions = group(ComputingOptions)
    figure_format: Literal["png", "svg"] = option("png", "Format of the figures.")


class MJCAStudyTool(MJCAStudyToolAccessors, Tool[MJCAStudyOptions]):
    """Repeat the study of the PI-MJCA-BiGRU paper.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = MJCAStudyTool(trials_file="data/trials.csv", subjects=("S06",))
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "MJCAStudyTool"
    main_inputs = ("trials_file",)
    results_name = "mjca_study"

    def _check(self) -> list[str]:
        trials = self.resolve("trials_file")
        if trials is not None and not trials.is_file():
            return [f"<trials_file> must be an existing file, but '{trials}' was not found."]
        if self.variants and "pi" not in self.variants:
            return [f"<variants> must have 'pi', which the others are compared with; found {' '.join(self.variants)}."]
        return []

    def _writes_to(self) -> list[Path]:
        return [*super()._writes_to(), *training_directories(self)]

    def _extras(self) -> list[str]:
        return ["train", "report", *(["cluster"] if self.scheduler else [])]

    def _run(self, run: ToolRun) -> None:
        from ..evaluation.mjca_study import VARIANTS, MJCAStudy, feature_space, read_frames, summarise_scores
        from ..report.mjca_report import write_mjca_report
        from ..storage.tables import write_table

        conditions = read_frames(select_trials(self), self._settings())
        if not conditions:
            raise SetupError("There are no strides to study.", self.setup_file)
        variants = [variant for variant in VARIANTS if not self.variants or variant.key in self.variants]
        study = MJCAStudy(conditions, self._settings(), variants)
        jobs = study.jobs()
        logger.info("Training %d networks, %d epochs each.", len(jobs), self.epochs)
        pool = train_networks(self, jobs, _weights(study), self.epochs, run.name)
        run.afterwards(pool.remove_folders)

        def table(ending: str, rows: Sequence[Any]) -> None:
            cells = [[repr(v) if isinstance(v, float) else v for v in asdict(row).values()] for row in rows]
            write_table(run.files.path(f"{run.name}_{ending}.csv"), list(asdict(rows[0])), cells)

        table("scores", study.in_order())
        summary = summarise_scores(study.in_order())
        table("summary", summary)
        width = max(len(row.method) for row in summary)
        for row in summary:
            logger.info(
                "%-8s %-10s %-*s R2 %7.2f +- %6.2f (median %5.2f)  NRMSE %6.3f +- %6.3f",
                *(
                    row.split,
                    row.quantity,
                    width,
                    row.method,
                    row.r2,
                    row.r2_sd,
                    row.r2_median,
                    row.nrmse,
                    row.nrmse_sd,
                ),
            )
        split = next(split for split in study.splits if split.kind == "within")
        space = None
        if any(variant.key == "supervised" for variant in variants):
            both = {variant.label: study.networks[split.name, variant.key] for variant in variants[:2]}
            space = feature_space(both, split.test, self.seed)
        if space is not None:
            self._write_features(run, space)
        write_mjca_report(run.files, run.name, study, split, space, self.figure_format, tuple(run.warnings))

    def _settings(self) -> StudySettings:
        from ..evaluation.mjca_study import StudySettings

        first, second, third = self.loss_weights
        return StudySettings(
            epochs=self.epochs,
            weights=(first, second, third),
            window=self.window_frames,
            stride=self.window_stride,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            leg=self.planar_leg,
            passive=self.use_passive_force,
            lowpass=self.lowpass_cutoff_frequency_for_coordinates,
            seed=self.seed,
            threads=self.threads,
        )

    def _write_features(self, run: ToolRun, space: FeatureSpace) -> None:
        from ..evaluation.mjca_study import MUSCLES
        from ..storage.tables import write_table

        names = list(space.places)
        header = ["muscle", *(f"{measure} {name}" for measure in ("Sm", "Sp") for name in names)]
        rows = [
            [label, *(repr(float(part[name][k])) for part in (space.smoothness, space.separation) for name in names)]
            for k, label in enumerate(MUSCLES.values())
        ]
        write_table(run.files.path(f"{run.name}_features.csv"), header, rows)
        means = {
            measure: ", ".join(f"{name} {part[name].mean():.2f}" for name in names)
            for measure, part in (("smoothness", space.smoothness), ("separation", space.separation))
        }
        logger.info(
            "Features: Procrustes similarity %.3f; mean smoothness: %s; mean separation: %s.",
            space.similarity,
            means["smoothness"],
            means["separation"],
        )


def _weights(study: MJCAStudy) -> int:
    from ..evaluation.mjca_study import JOINTS, MUSCLES
    from ..methods.mjca_bigru.forward import Architecture

    window = study.settings.window
    counts = []
    for variant in study.variants:
        shape = Architecture(variant.architecture, len(JOINTS), 3, 0, len(MUSCLES), window, window - 1)
        counts.append(sum(math.prod(size) for size in shape.weight_shapes().values()))
    return max(counts)
