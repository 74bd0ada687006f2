"""KinematicsToActivationTool: from a motion to muscle activations and forces, without CMC and without EMG."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import StorageError
from ..log import logger
from ..options import DirectoryPath, FilePath, Options, option
from .accessors import KinematicsToActivationToolAccessors
from .tool import Tool, ToolRun

if TYPE_CHECKING:
    from ..estimates.static_optimization import Optimum, ProgramSettings
    from ..methods.motion_bundle import MotionBundle
    from ..musculoskeletal.dynamics import Motion
    from ..storage.osim import OsimModel

#: What a run may leave behind, after the tool's name.
_RESULTS = (
    *("_states.sto", "_activation.sto", "_forces.sto", "_torques.sto", "_reserves.sto", "_flags.sto"),
    *("_summary.csv", "_torques.csv", "_activations.png", "_activations.svg", "_torques.png", "_torques.svg"),
    *("_report.html", "_effective_setup.xml", ".log"),
)

#: How far a row may lie beyond the time wanted and still be taken for its first or last (s).
_SAME_TIME = 1e-9

_FROM_MOTION = "The joint moments do not come from inverse dynamics: a network estimated them from the motion alone"


@dataclass(frozen=True)
class KinematicsToActivationOptions(Options):
    """Which motion, whose muscles, and how they share the joint moments."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    model_file: FilePath = option("", "Name of the .osim file of the subject.", required=True)
    mode: Literal["exact", "kinematics"] = option(
        "exact",
        "Where the joint moments come from. exact: inverse dynamics. kinematics: a network that estimates those of the "
        "legs from the motion alone, without ground reactions. In every frame the muscles then share them at the least "
        "sum of squared activations, as in OpenSim's StaticOptimization, all frames at once.",
    )
    bundle_file: FilePath = option(
        "",
        "For mode kinematics: network bundle (.safetensors) that KinematicsTrainTool wrote, or the name of one that "
        "ships with the package.",
        may_be_name=True,
    )
    coordinates_file: FilePath = option(
        "", "Motion (.mot or .sto): results of inverse kinematics, or states.", required=True
    )
    external_loads_file: FilePath = option(
        "",
        "XML file (.xml) with the ExternalLoads, for inverse dynamics. Empty: nothing touches the body, unless "
        "inverse_dynamics_file is given.",
    )
    inverse_dynamics_file: FilePath = option(
        "",
        "Result of InverseDynamicsTool for this motion (.sto, columns such as knee_angle_r_moment), to be used in "
        "place of running inverse dynamics.",
    )
    initial_time: float = option(float("-inf"), "Initial time.", unit="s")
    final_time: float = option(float("inf"), "Final time.", unit="s")
    lowpass_cutoff_frequency_for_coordinates: float = option(
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates. A negative value results in no filtering.",
        bounds="[-1000, 0) or [0.01, 1000]",
        unit="Hz",
    )
    torque_coordinates: tuple[str, ...] = option(
        (),
        "Coordinates whose moments the muscles share. Empty: all rotations that muscles span and the motion tells; in "
        "mode kinematics, those whose moments the network estimates.",
    )
    muscle_force: Literal["static_optimization", "rigid_tendon"] = option(
        "static_optimization",
        "Active force of a muscle, whose curves are those of its own class. static_optimization: exactly as OpenSim's "
        "StaticOptimization takes it, which lets Millard2012EquilibriumMuscle pull as if nearly unpennated, and "
        "DeGrooteFregly2016Muscle as if unpennated. "
        "rigid_tendon: that of the muscle with a rigid tendon.",
    )
    use_passive_force: bool = option(
        False, "Do the muscles pull passively, too? OpenSim's StaticOptimization leaves that out."
    )
    reserve_optimal_force: float = option(
        1.0,
        "Reserve moment at a coordinate that costs as much as an activation of 1 (optimal_force of the "
        "CoordinateActuators that StaticOptimization is given).",
        bounds="[1e-06, 1000000]",
        unit="Nm",
    )
    output_precision: int = option(8, "Decimals of the results.", bounds="[1, 20]")
    write_report: bool = option(True, "Draw activations and moments, and write a report (.html)?")
    figure_format: Literal["png", "svg"] = option("png", "Format of the figures.")


class KinematicsToActivationTool(KinematicsToActivationToolAccessors, Tool[KinematicsToActivationOptions]):
    """Find muscle activations and forces from a motion.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = KinematicsToActivationTool(model_file="subject01.osim", coordinates_file="walk_ik.mot")
    >>> tool.setName("walk")
    >>> tool.setExternalLoadsFileName("walk_grf.xml")
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "KinematicsToActivationTool"
    main_inputs = ("coordinates_file",)
    results_name = "kinematics"
    result_endings = _RESULTS

    def _check(self) -> list[str]:
        faults = []
        if not self.initial_time < self.final_time:
            faults.append(
                f"<initial_time> must be less than <final_time>; found {self.initial_time:g} and {self.final_time:g}."
            )
        if self.external_loads_file and self.inverse_dynamics_file:
            faults.append(
                "<external_loads_file> and <inverse_dynamics_file> must not both be given: one says how the moments "
                f"are found, the other what they are; found '{self.external_loads_file}' and "
                f"'{self.inverse_dynamics_file}'."
            )
        faults += self._repeated("torque_coordinates")
        if self.mode == "kinematics":
            if not self.bundle_file:
                faults.append(
                    "<mode> kinematics needs <bundle_file>, but it is empty. Give 'whole_body' (where the motion tells "
                    "where the pelvis is) or 'kinematics', which ship with the package, or one that "
                    "KinematicsTrainTool wrote."
                )
            faults += [
                f"<{name}> has no part in <mode> kinematics, where moments come from the motion alone: leave it out."
                for name in ("external_loads_file", "inverse_dynamics_file")
                if self.get(name)
            ]
        elif self.bundle_file:
            faults.append(f"<bundle_file> is for <mode> kinematics; found <mode> {self.mode}.")
        return faults

    def _extras(self) -> list[str]:
        return ["opensim", *(["report"] if self.write_report else [])]

    def _run(self, run: ToolRun) -> None:
        from ..estimates.kinematics_results import write_optimum
        from ..storage.osim import read_model

        # Motions of one folder must not replace each other's results.
        run.name = self.name or f"{self.results_name}_{Path(self.coordinates_file).stem}"
        self._spare_inputs(run.name)
        model_file = self.resolve("model_file")
        assert model_file is not None
        model = read_model(model_file)
        logger.info("Model: %s (%d muscles), '%s'.", model.name, len(model.muscles), model_file)
        bundle = self._bundle() if self.mode == "kinematics" else None
        source = "" if bundle is None else f"{_FROM_MOTION} ({bundle.provenance.source}). {_worth(bundle)}".strip()
        optimum = self._solve(model, bundle)
        with run.files.own_names():
            needed = "inverse_dynamics" if self.mode == "exact" else "network"
            write_optimum(run.files, run.name, model, optimum, self.output_precision, needed)
            if self.write_report:
                from ..report.kinematics_report import write_kinematics_report

                logger.info("Drawing figures and report.")
                write_kinematics_report(
                    run.files, run.name, model, optimum, self.figure_format, source, tuple(run.warnings)
                )

    def _settings(self) -> ProgramSettings:
        from ..estimates.static_optimization import ProgramSettings

        return ProgramSettings(self.muscle_force, self.use_passive_force, self.reserve_optimal_force)

    def _solve(self, model: OsimModel, bundle: MotionBundle | None) -> Optimum:
        """Find the moments, and the activations that make them."""
        from ..estimates.learned_moments import feet_needed
        from ..estimates.static_optimization import moments_of_file, muscle_model, optimise, read_motion
        from ..musculoskeletal.motions import warn_of_unlike_moments

        motion_file, moments_file = self.resolve("coordinates_file"), self.resolve("inverse_dynamics_file")
        loads = self.resolve("external_loads_file")
        assert motion_file is not None
        if self.mode == "exact" and loads is None and moments_file is None:
            logger.warning(
                "No <external_loads_file> was given: inverse dynamics takes it that nothing touches the body."
            )
        start, end = self.initial_time, self.final_time
        if bundle is not None:
            start, end = _looked_at(motion_file, start, end, bundle.network.samples * bundle.network.step)
        motion = read_motion(
            model,
            motion_file,
            loads,
            lowpass=self.lowpass_cutoff_frequency_for_coordinates,
            start=start,
            end=end,
            jacobians=() if bundle is None else feet_needed(bundle.network, model),
        )
        settings = self._settings()
        if bundle is not None:
            return self._learned(bundle, model, motion, settings)
        torque_model = muscle_model(model, motion, self.torque_coordinates, settings)
        if moments_file is None:
            needed = torque_model.required(motion, loads)
        else:
            needed = moments_of_file(moments_file, torque_model.coordinates, motion.time)
            names = torque_model.coordinates
            warn_of_unlike_moments(needed, motion.torques[:, motion.columns(names)], names, moments_file)
        return optimise(model, torque_model, motion, needed, settings)

    def _bundle(self) -> MotionBundle:
        """Load the network, and say what it is worth."""
        from ..methods.motion_bundle import MotionBundle

        bundle = MotionBundle.load(self.resolve("bundle_file") or self.bundle_file)
        logger.info("Moments: %s. Trained on: %s", bundle.provenance.source, bundle.metadata["data"]["description"])
        if worth := _worth(bundle):
            logger.info("%s", worth)
        return bundle

    def _learned(self, bundle: MotionBundle, model: OsimModel, motion: Motion, settings: ProgramSettings) -> Optimum:
        """Have a network estimate the moments, and find the activations that make them."""
        from ..estimates.learned_moments import learned_moments
        from ..estimates.static_optimization import muscle_model, optimise

        rows = (motion.time >= self.initial_time - _SAME_TIME) & (motion.time <= self.final_time + _SAME_TIME)
        if not rows.any():
            raise StorageError(
                f"The motion has no row between <initial_time> and <final_time>, {self.initial_time:g} and "
                f"{self.final_time:g} s; it covers {motion.time[0]:.4f} to {motion.time[-1]:.4f} s nearby.",
                self.resolve("coordinates_file"),
            )
        found = learned_moments(bundle.network, model, motion, rows)
        motion = motion.at(rows)
        spanned = muscle_model(model, motion, self.torque_coordinates or (), settings)
        wanted = self.torque_coordinates or tuple(name for name in spanned.coordinates if name in found.coordinates)
        torque_model = replace(spanned, coordinates=wanted)
        chosen = found.of(wanted)
        unasked = [name for name in spanned.coordinates if name not in wanted]
        if unasked and not self.torque_coordinates:
            logger.warning(
                "The network estimates no moment of %s: nothing is asked of the muscles there, and those that mainly "
                "act there stay near their least activation, whatever the subject does.",
                ", ".join(unasked),
            )
        optimum = optimise(model, torque_model, motion, chosen.moments, settings)
        return replace(optimum, untrained=chosen.outside, guessed=chosen.guessed)


def _looked_at(motion_file: Path, start: float, end: float, around: float) -> tuple[float, float]:
    """Widen a span of time by what a network looks at before and after it, but not across a gap in the motion."""
    from ..signals.gaps import gaps
    from ..storage import read_storage

    holes = gaps(read_storage(motion_file).time)
    before, after = holes[holes[:, 1] <= start, 1], holes[holes[:, 0] >= end, 0]
    return max([start - around, *before.tolist()]), min([end + around, *after.tolist()])


def _worth(bundle: MotionBundle) -> str:
    """Say how good a network's moments were on what was left out of its training."""
    validation = bundle.metadata["validation"]
    rows = [
        f"{joint} {row['median_r2']:.2f} ({row['median_r2_mean']:.2f})"
        for joint, row in validation.get("joints", {}).items()
    ]
    said = "Median R2 of its moments on what was left out of training (in brackets: of the mean moment by phase): "
    return " ".join([*([f"{said}{', '.join(rows)}."] if rows else []), *filter(None, [validation.get("note")])])
