"""STDRRefineTool: the step after CMC.

Reads a CMC states file (or controls, or StaticOptimization/Moco activations), refines the activations of each gait
cycle with networks trained on measured EMG (STDR-Net, NEM2E paper, section 3), and writes files that OpenSim's tools
and its GUI open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SetupError
from ..log import logger
from ..options import DirectoryPath, FilePath, Options, group, option
from .accessors import STDRRefineToolAccessors
from .gait_events import ContactOptions
from .mechanics_options import MECHANICS_RESULTS, MechanicsOptions, mechanics_faults, mechanics_settings
from .report_record import run_record
from .results import RefineResult
from .tool import Tool, ToolRun, path_seen_from

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.leg_motion import JointAngles
    from ..data.simulation import SimulatedTrial
    from ..estimates.estimate import Estimate
    from ..estimates.measured_emg import MeasuredEMG
    from ..estimates.mechanics import Mechanics
    from ..estimates.write import EstimateWriter
    from ..methods.bundle import Bundle
    from ..report.model_view import ModelFiles
    from ..signals.cycle_sources import CycleSource
    from ..signals.cycles import Cycle
    from ..storage.muscles import StandardMuscle
    from ..storage.osim import OsimModel

    Array = NDArray[np.float64]

_SIDES = ("right", "left")

#: Gait cycles that are shorter are taken for running (s): adults and children walk with 0.85 s and more.
_LONGEST_RUNNING = 0.8

#: Over a cycle straight on the pelvis turns by less (degrees; 6 at most in 24 trials, 42 and more in 5 turns).
_STRAIGHT = 20.0

#: What a run may leave behind, after the tool's name.
_RESULTS = (
    *("_states.sto", "_activation.sto", "_controls.sto", "_emg.sto", "_emg_bands.sto", "_excitation.sto"),
    *("_excitation_bands.sto", "_activation_bands.sto", "_attention.sto", "_summary.csv"),
    "_trust.csv",
    *MECHANICS_RESULTS,
    *("_report.html", "_effective_setup.xml", ".log"),
)


@dataclass(frozen=True)
class RefineOptions(Options):
    """What is refined, by what, and what is written."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    model_file: FilePath = option(
        "",
        "Name of the .osim file of the simulation. Optional: it supplies the muscles' names, bounds and time "
        "constants; without it the defaults below are used.",
    )
    states_file: FilePath = option(
        "", "States file (_states.sto) written by CMC. Give this, or controls_file, or activations_file."
    )
    controls_file: FilePath = option(
        "",
        "Controls file (_controls.sto or ControlSet .xml) written by CMC. Beside states_file: the file whose "
        "columns for reserves and residuals are carried over to the refined controls (found by itself if it lies "
        "beside the states file under CMC's name). Alone: activations are computed from its excitations through "
        "the activation dynamics.",
    )
    activations_file: FilePath = option(
        "", "Activations written by StaticOptimization (_StaticOptimization_activation.sto) or a Moco solution."
    )
    activation_source: Literal["auto", "cmc", "so", "moco"] = option(
        "auto",
        "What computed the activations, as in tables of trials: the run warns where the bundle was not validated with "
        "such simulations. auto: Moco and StaticOptimization are recognised by their files' headers and names; other "
        "states and controls are taken for those of CMC.",
    )
    bundle_file: FilePath = option(
        "gait",
        "Network bundle (.safetensors) written by STDRTrainTool, or the name of a bundle that ships with the package.",
        may_be_name=True,
        required=True,
        formerly=("network_file",),
    )
    muscles: tuple[str, ...] = option(
        (),
        "Muscles to refine: names of the model (soleus_r) or standard names (soleus, both limbs). Empty: all for "
        "which the bundle has a network.",
    )
    motion: str = option(
        "",
        "What the trial is, as the bundle calls it: walk, run or turn. Bundles with EMG profiles by motion use those "
        "of this motion. Empty: run where gait cycles last less than 0.8 s, turn where the pelvis turns by more than "
        "20 degrees over them, otherwise walk.",
    )
    age_group: str = option(
        "", "Whose it is, as the bundle calls it: adult or child. Empty: EMG profiles of all ages are used."
    )
    muscle_names_file: FilePath = option(
        "",
        "Table (.csv with the columns model_muscle, standard_name) that adds to or replaces entries of the "
        "package's own table of muscle names.",
    )
    initial_time: float = option(
        float("-inf"),
        "Initial time of the refinement. Cycles that begin earlier keep OpenSim's values.",
        unit="s",
    )
    final_time: float = option(
        float("inf"), "Final time of the refinement. Cycles that end later keep OpenSim's values.", unit="s"
    )
    cycle_source: Literal["auto", "external_loads", "events", "times", "whole_file"] = option(
        "auto",
        "Where the gait cycles come from. external_loads: heel strikes are found in the ground reactions. "
        "events: they are read from events_file. times: they are listed below. whole_file: the file (or "
        "initial_time to final_time) is one cycle. auto: times if heel strikes are listed, else events if events_file "
        "is given, else external_loads if external_loads_file is given.",
    )
    events_file: FilePath = option("", "Table (.csv) of gait events, as written by GaitEventsTool and edited by hand.")
    external_loads_file: FilePath = option("", "XML file (.xml) with the ExternalLoads of the simulation.")
    contact: ContactOptions = group(ContactOptions)
    right_heel_strikes: tuple[float, ...] = option(
        (),
        "Times of successive right heel strikes, instead of those found in files.",
        bounds="[-1e+10, 1e+10]",
        unit="s",
    )
    left_heel_strikes: tuple[float, ...] = option(
        (),
        "Times of successive left heel strikes, instead of those found in files.",
        bounds="[-1e+10, 1e+10]",
        unit="s",
    )
    whole_file_leading_limb: Literal["right", "left"] = option(
        "right",
        "For cycle_source whole_file: the limb whose heel strike begins the file. The other limb's cycle is the "
        "same stretch of time rolled by half a cycle, as in symmetrical gait.",
    )
    whole_file_heel_strike: float = option(
        float("-inf"),
        "For cycle_source whole_file: when the leading limb strikes the ground, if not at the beginning of the "
        "file (a simulation from mid-stance to mid-stance). Its cycle is then rolled to begin there: this assumes "
        "that the motion repeats itself.",
        unit="s",
    )
    roll_incomplete_cycles: bool = option(
        False,
        "If a limb has no complete cycle but strikes the ground within a complete cycle of the other limb, take "
        "that stretch of time as its cycle, rolled so that it begins with the limb's own heel strike? This assumes "
        "that the motion repeats itself. Useful where the simulation covers one gait cycle only.",
    )
    minimum_cycle_duration: float = option(
        0.4, "Shorter cycles are left alone (with whole_file: only warned of).", bounds="(0, 1000]", unit="s"
    )
    maximum_cycle_duration: float = option(
        2.5,
        "Longer cycles are left alone, as a heel strike was missed (with whole_file: only warned of).",
        bounds="(0, 1000]",
        unit="s",
    )
    maximum_cycle_deviation: float = option(
        0.2,
        "By how much a cycle found in the ground reactions or in a table of events may differ from the limb's "
        "median cycle, as a fraction of it; where it differs more, a contact was missed or wrong. Looked at from "
        "five cycles on. Heel strikes that are listed in the setup are trusted.",
        bounds="(0, Inf]",
    )
    cycle_tolerance: float = option(
        0.04,
        "By how much a cycle may begin before the file or end after it; the file's first or last value is held "
        "there. CMC's results begin 0.03 s after its initial_time, so a simulation from heel strike to heel strike "
        "needs some.",
        bounds="[0, 0.2]",
        unit="s",
    )
    crossfade_duration: float = option(
        0.05,
        "Time over which neighbouring cycles are blended at their heel strike, and over which the activations lead "
        "over to OpenSim's, outside the cycles. name_emg.sto holds the networks' output without any blend.",
        bounds="[0, 10]",
        unit="s",
    )
    interpolation: Literal["pchip", "linear"] = option(
        "pchip",
        "How the network's samples are brought back onto the file's time base. pchip: smooth, without overshoot.",
    )
    minimum_activation: float = option(
        0.01,
        "Lower bound of refined activations where model_file does not say (OpenSim's default for muscles).",
        bounds="[0, 1)",
    )
    activation_time_constant: float = option(
        0.01,
        "Time constant of activation where model_file does not say (default of Millard2012EquilibriumMuscle).",
        bounds="[0.0001, 10]",
        unit="s",
    )
    deactivation_time_constant: float = option(
        0.04,
        "Time constant of deactivation where model_file does not say (default of Millard2012EquilibriumMuscle).",
        bounds="[0.0001, 10]",
        unit="s",
    )
    output_precision: int = option(
        8,
        "Decimals of refined columns. Columns that are not refined keep the digits of the input file.",
        bounds="[1, 20]",
    )
    write_report: bool = option(
        True,
        "Write the report (name_report.html): a page with all curves, what changed, how far it can be trusted and a "
        "methods paragraph, which opens in any browser without a network?",
    )
    write_model_view: bool = option(
        True,
        "Show the model in motion in the report, its muscles coloured by both activations? Needs model_file, a motion "
        "(states_file or coordinates_file) and OpenSim's Python package, and takes some seconds.",
    )
    geometry_directory: DirectoryPath = option(
        "",
        "Where the model's bones (.vtp, .stl, .obj) lie if they are neither beside the model nor in its folder "
        "Geometry nor in that of OPENSIM_HOME. Bones that are not found are drawn as sticks.",
    )
    write_attention: bool = option(False, "Write the attention weights (name_attention.sto)?")
    write_figures: bool = option(
        False,
        "Draw a before/after figure for each muscle group, and figures of the torques where they are known? The report "
        "has all curves without.",
    )
    figure_format: Literal["png", "svg"] = option("png", "Format of the figures.")
    mechanics: MechanicsOptions = group(MechanicsOptions)


@dataclass(frozen=True, eq=False)
class _Estimated:
    """What a run has read, and what the networks say, before anything is written."""

    estimate: Estimate
    writer: EstimateWriter
    model: OsimModel | None
    emg: MeasuredEMG | None
    leg_motion: JointAngles | None


class STDRRefineTool(STDRRefineToolAccessors, Tool[RefineOptions]):
    """Refine the muscle activations of a simulation with networks trained on measured EMG.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = STDRRefineTool()
    >>> tool.setName("subject01_walk1_refined")
    >>> tool.setStatesFileName("ResultsCMC/subject01_walk1_states.sto")
    >>> tool.setModelFilename("subject01_simbody_adjusted.osim")
    >>> tool.setExternalLoadsFileName("subject01_walk1_grf.xml")
    >>> tool.setResultsDir("ResultsNEM2E")
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "STDRRefineTool"
    main_inputs = ("states_file",)
    result_class = RefineResult
    result_endings = _RESULTS
    if TYPE_CHECKING:

        @property
        def result(self) -> RefineResult: ...

    # --- the run -----------------------------------------------------------------------------------------------

    def _check(self) -> list[str]:
        faults = []
        inputs = [name for name in ("states_file", "activations_file") if self.get(name)]
        if len(inputs) == 2:
            faults.append(
                "<states_file> and <activations_file> must not both be given; found "
                f"'{self.states_file}' and '{self.activations_file}'."
            )
        elif not inputs and not self.controls_file:
            faults.append(
                "There is nothing to refine: one of <states_file> (CMC), <controls_file> (CMC) or <activations_file> "
                "(StaticOptimization, Moco) must be given, but all are empty."
            )
        if self.activations_file and self.controls_file:
            faults.append(
                "<controls_file> goes with <states_file> or stands alone, but was found beside <activations_file>."
            )
        for name, kinds in (("motion", "walk, run or turn"), ("age_group", "adult or child")):
            if self.get(name).lower().endswith((".mot", ".sto", ".csv", ".trc", ".c3d", ".xml")):
                faults.append(
                    f"<{name}> is a word such as {kinds}, but the file '{self.get(name)}' was found. A file with the "
                    "motion's coordinates is for <coordinates_file>."
                )
        if not self.initial_time < self.final_time:
            faults.append(
                f"<initial_time> must be less than <final_time>; found {self.initial_time:g} and {self.final_time:g}."
            )
        if not self.minimum_cycle_duration < self.maximum_cycle_duration:
            faults.append(
                "<minimum_cycle_duration> must be less than <maximum_cycle_duration>; found "
                f"{self.minimum_cycle_duration:g} and {self.maximum_cycle_duration:g}."
            )
        for side in _SIDES:
            name = f"{side}_heel_strikes"
            strikes = self.get(name)
            if any(later <= earlier for earlier, later in pairwise(strikes)):
                faults.append(f"<{name}> must be increasing times, but '{_numbers(strikes)}' was found.")
        return faults + mechanics_faults(self) + self._check_cycle_source()

    def _extras(self) -> list[str]:
        torques = self.check_torques or self.redistribute or self.amplitude == "torques"
        return ["opensim"] * torques + ["report"] * self.write_figures

    def _check_cycle_source(self) -> list[str]:
        try:
            source = self._cycle_source()
        except SetupError as error:
            return list(error.faults)
        if source == "external_loads" and not self.external_loads_file:
            return ["<cycle_source> external_loads needs <external_loads_file>, but it is empty."]
        if source == "events" and not self.events_file:
            return ["<cycle_source> events needs <events_file>, but it is empty."]
        if source == "times" and max(len(self.right_heel_strikes), len(self.left_heel_strikes)) < 2:
            return [
                "<cycle_source> times needs two or more times in <right_heel_strikes> or <left_heel_strikes>; found "
                f"'{_numbers(self.right_heel_strikes)}' and '{_numbers(self.left_heel_strikes)}'."
            ]
        return []

    def _cycle_source(self) -> str:
        """Settle ``auto``."""
        given: str = self.cycle_source
        if given != "auto":
            return given
        if self.right_heel_strikes or self.left_heel_strikes:
            return "times"
        if self.events_file:
            return "events"
        if self.external_loads_file:
            return "external_loads"
        raise SetupError(
            "The gait cycles are not known. Four choices: give <external_loads_file> (heel strikes are found in the "
            "ground reactions); or <events_file> (written by GaitEventsTool); or list heel strikes in "
            "<right_heel_strikes> and <left_heel_strikes>; or set "
            "<cycle_source> to whole_file if the file (or <initial_time> to <final_time>) is exactly one gait cycle."
        )

    def find_cycles(self, time: Array) -> dict[str, list[Cycle]]:
        """Find the complete gait cycles of each limb, within the file and the time range.

        Parameters
        ----------
        time : numpy.ndarray, shape (rows,)
            Times of the file's rows (s); its first and last one are what counts.

        Returns
        -------
        dict of str to list of Cycle
            By side, ``'r'`` and ``'l'``.

        Raises
        ------
        opensim_nem2e.errors.CycleError
            There is none.
        """
        from ..signals.cycle_sources import CycleLimits, EventsTable, ListedStrikes, find_cycles, warn_of_other_strikes

        limits = CycleLimits(
            self.initial_time,
            self.final_time,
            self.minimum_cycle_duration,
            self.maximum_cycle_duration,
            self.maximum_cycle_deviation,
            self.cycle_tolerance,
            self.roll_incomplete_cycles,
        )
        self._warn_of_unused(self._cycle_source())
        source, loads = self._source_of_cycles(), self.resolve("external_loads_file")
        cycles = find_cycles(time, source, limits)
        if isinstance(source, ListedStrikes | EventsTable) and loads is not None:
            contact = self.options().contact.settings()
            warn_of_other_strikes(source.heel_strikes(), loads, contact, float(time[0]), float(time[-1]))
        return cycles

    def _source_of_cycles(self) -> CycleSource:
        from ..signals.cycle_sources import EventsTable, GroundReactions, ListedStrikes, WholeFile

        source = self._cycle_source()
        if source == "whole_file":
            strike = self.whole_file_heel_strike
            return WholeFile(self.whole_file_leading_limb[0], strike if strike > float("-inf") else None)
        if source == "times":
            return ListedStrikes(self.right_heel_strikes, self.left_heel_strikes)
        path = self.resolve("events_file" if source == "events" else "external_loads_file")
        assert path is not None  # _check has seen to it
        if source == "events":
            return EventsTable(path)
        return GroundReactions(path, self.options().contact.settings())

    def _warn_of_unused(self, source: str) -> None:
        """Say which statements about cycles the chosen source does not look at."""
        listed = [f"<{word}_heel_strikes>" for word in _SIDES if self.get(f"{word}_heel_strikes")]
        if source != "times" and listed:
            logger.warning("%s: not used, as <cycle_source> is %s.", " and ".join(listed), source)
        for name, its_source in (("external_loads_file", "external_loads"), ("events_file", "events")):
            used_elsewhere = name == "external_loads_file" and self.amplitude in ("auto", "torques")
            used_elsewhere |= name == "external_loads_file" and (self.check_torques or self.redistribute)
            if source != its_source and self.get(name) and not used_elsewhere:
                logger.info("<%s>: not used, as <cycle_source> is %s.", name, source)

    def _run(self, run: ToolRun) -> None:
        from ..estimates.mechanics import examine_mechanics

        settings = mechanics_settings(self)
        torques = settings.check_torques or settings.redistribute or settings.amplitude == "torques"
        torques |= settings.amplitude == "auto" and settings.torques_known
        if find_spec("opensim") and (torques or (self.write_report and self.write_model_view and self.model_file)):
            from ..musculoskeletal.opensim.kept import start_ahead

            start_ahead()
        if self.write_figures and find_spec("matplotlib"):
            # Its import takes as long as the wait for OpenSim does.
            Thread(target=import_module, args=("matplotlib.backends.backend_agg",), daemon=True).start()
        found = self._estimate()
        estimate, writer = found.estimate, found.writer
        run.name = writer.name
        mechanics = examine_mechanics(writer.trial, writer.muscles, estimate, found.model, settings, found.emg)
        run.uses(estimate.provenance.bundle.removesuffix(".safetensors"), estimate.provenance.sha256)
        self._write(found, mechanics, run)
        run.details = {
            "trial": writer.trial,
            "estimate": estimate,
            "refined": mechanics.result,
            "measured": mechanics.emg,
        }

    def _estimate(self) -> _Estimated:
        """Read everything and apply the networks; nothing is written yet."""
        from ..data.simulation import MuscleDefaults, read_simulation
        from ..estimates.apply import estimate_trial, plan_targets
        from ..estimates.trust import warn_of_source
        from ..estimates.write import EstimateWriter
        from ..storage.muscles import MuscleNames

        bundle = self._load_bundle()
        model = self._load_model()
        defaults = MuscleDefaults(
            self.minimum_activation, self.activation_time_constant, self.deactivation_time_constant
        )
        states, controls = self.resolve("states_file"), self.resolve("controls_file")
        trial = read_simulation(
            states, controls, self.resolve("activations_file"), model, defaults, self.activation_source
        )
        name = self.getName() or f"{trial.stem}_refined"
        self._spare_inputs(name, (trial.source.path, trial.controls.path if trial.controls else None))

        names = MuscleNames.load(self.resolve("muscle_names_file"))
        cycles = self.find_cycles(trial.time)
        standard = names.of_model(trial.activations)
        plan = plan_targets(bundle, standard, self.muscles)
        leg_motion = self._leg_motion(trial)
        warn_of_source(bundle.provenance, trial.simulator)
        estimate = estimate_trial(
            bundle,
            trial,
            plan,
            cycles,
            requested=self.muscles,
            crossfade=self.crossfade_duration,
            interpolation=self.interpolation,
            tolerance=self.cycle_tolerance,
            motion=self._motion(bundle, cycles, leg_motion),
            age_group=self.age_group,
        )
        estimate, emg = self._with_measured_emg(estimate, trial, standard, cycles)
        muscles = defaults.muscles(model, trial.activations)
        writer = EstimateWriter(name, trial, muscles, self.output_precision)
        return _Estimated(estimate, writer, model, emg, leg_motion)

    def _with_measured_emg(
        self,
        estimate: Estimate,
        trial: SimulatedTrial,
        names: Mapping[str, StandardMuscle | None],
        cycles: Mapping[str, Sequence[Cycle]],
    ) -> tuple[Estimate, MeasuredEMG | None]:
        """Read the trial's own EMG, and take the shapes of muscles from it if asked to."""
        from ..estimates.measured_emg import (
            log_channels,
            read_maxima,
            read_measured_emg,
            warn_of_misfit,
            with_measured_emg,
        )

        path, maxima_file = self.resolve("emg_file"), self.resolve("emg_maxima_file")
        if path is None:
            return estimate, None
        emg = read_measured_emg(path, self.resolve("emg_channels_file"), self.emg_time_offset, trial.activations)
        if self._cycle_source() == "whole_file":
            emg = emg.for_ever(next(cycle for side in cycles.values() for cycle in side))
        if self.use_emg:
            maxima = None if maxima_file is None else read_maxima(maxima_file, emg)
            estimate = with_measured_emg(estimate, emg, trial, names, cycles, maxima)
        else:
            log_channels(emg)
        warn_of_misfit(emg, trial, estimate.cycles())
        return estimate, emg

    def _motion(self, bundle: Bundle, cycles: Mapping[str, Sequence[Cycle]], leg_motion: JointAngles | None) -> str:
        """Settle what the trial is, and warn of an age group of which nothing is known."""
        motion = self._told_or_found(bundle, cycles, leg_motion)
        ages = _ages(bundle, motion)
        if self.age_group and ages and self.age_group not in ages:
            logger.warning(
                "<age_group> is '%s', but the bundle has EMG profiles of %s: those of all ages are used.",
                *(self.age_group, " and ".join(ages)),
            )
        return motion

    def _told_or_found(
        self, bundle: Bundle, cycles: Mapping[str, Sequence[Cycle]], leg_motion: JointAngles | None
    ) -> str:
        known = bundle.metadata["data"].get("motions", [])
        if self.motion:
            if known and self.motion not in known:
                logger.warning(
                    "<motion> is '%s', but the bundle was trained on %s: nothing is known of its error on this motion.",
                    self.motion,
                    ", ".join(known),
                )
            return self.motion
        durations = [cycle.duration for side in cycles.values() for cycle in side]
        mean = sum(durations) / len(durations)
        found, why = "run" if mean < _LONGEST_RUNNING else "walk", f"gait cycles last {mean:.2f} s"
        if found == "walk" and "turn" in known and leg_motion is not None:
            turns = [leg_motion.turned(cycle.start, cycle.end) for side in cycles.values() for cycle in side]
            angles = [angle for angle in turns if angle is not None]
            if angles and sum(angles) / len(angles) > _STRAIGHT:
                found, why = "turn", f"the pelvis turns by {sum(angles) / len(angles):.0f} degrees over a gait cycle"
        logger.info(
            "Taken as %s: %s. If it is another motion, give <motion>.%s",
            *(found, why),
            "" if self.age_group else _age_hint(_ages(bundle, found)),
        )
        return found

    def _load_bundle(self) -> Bundle:
        from ..methods.bundle import Bundle

        path = self.resolve("bundle_file")
        bundle = Bundle.load_once(path if path is not None else self.bundle_file)
        logger.info(
            "Network bundle: %s (%s), trained on %s; its EMG was normalised by '%s', which its output is relative to.",
            bundle.path.stem if bundle.path else "",
            bundle.provenance.label,
            bundle.trained_on,
            bundle.metadata["normalization"]["emg"],
        )
        logger.debug("Its file: '%s', sha256 %s; muscles %s.", bundle.path, bundle.sha256, ", ".join(bundle.targets))
        logger.debug("Its training data: %s", bundle.metadata["data"]["description"])
        return bundle

    def _load_model(self) -> OsimModel | None:
        from ..storage.osim import read_model

        path = self.resolve("model_file")
        if path is None:
            logger.warning(
                "No <model_file> was given: muscles are taken to have the bounds %g..1 and the time constants %g s and "
                "%g s.",
                self.minimum_activation,
                self.activation_time_constant,
                self.deactivation_time_constant,
            )
            return None
        model = read_model(path)
        logger.info("Model: %s (%d muscles), '%s'.", model.name, len(model.muscles), path)
        return model

    # --- results -----------------------------------------------------------------------------------------------

    def _write(self, found: _Estimated, mechanics: Mechanics, run: ToolRun) -> None:
        """Write every result."""
        from ..estimates.summary import MuscleChange, summarise, summary_in_words, summary_table
        from ..estimates.trust import CycleTrust, judge_cycles, log_cycles, log_trust
        from ..storage.tables import write_rows

        estimate, writer = found.estimate, found.writer
        files, name, trial = run.files, run.name, writer.trial
        result = mechanics.result
        run.resolved = self._resolved(run.directory, trial)
        with files.own_names():
            check = mechanics.write(files, writer)
            writer.write_estimate(files, estimate)
            if self.write_attention:
                writer.write_attention(files, estimate)
            if self.write_figures:
                from ..report.estimate_figures import draw_estimate

                draw_estimate(files, name, trial, result, self.figure_format)
            rows = summarise(estimate, result, trial.activations, writer.muscles)
            write_rows(files.path(f"{name}_summary.csv"), MuscleChange, rows)
            for line in summary_table(rows):
                logger.debug("%s", line)
            logger.info("%s", summary_in_words(rows))
            tradeoff = None
            if check is not None and self.write_figures:
                from ..report.torque_report import draw_mechanics

                tradeoff = draw_mechanics(files, name, mechanics, check, self.figure_format, mechanics.words)
            log_trust(estimate)
            cycles = judge_cycles(estimate, found.leg_motion)
            if cycles:
                write_rows(files.path(f"{name}_trust.csv"), CycleTrust, cycles)
            log_cycles(cycles)
            if self.write_report:
                from ..report.estimate_report import write_report

                write_report(
                    files,
                    name,
                    result,
                    trial=trial,
                    changes=rows,
                    cycles=cycles,
                    mechanics=mechanics,
                    check=check,
                    tradeoff=tradeoff,
                    run=run_record(self, run),
                    model=self._model_files(trial, found.model) if self.write_model_view else None,
                )

    def _leg_motion(self, trial: SimulatedTrial) -> JointAngles | None:
        """Take the motion that was given, or that of the simulation's own states."""
        from ..data.leg_motion import JointAngles
        from ..storage import read_storage

        path = self.resolve("coordinates_file")
        return JointAngles.of(trial.source if path is None else read_storage(path))

    def _model_files(self, trial: SimulatedTrial, model: OsimModel | None) -> ModelFiles:
        """Name what the report's 3D view is made from."""
        from ..report.model_view import ModelFiles

        folder = self.resolve("geometry_directory")
        return ModelFiles(
            self.resolve("model_file"),
            self.resolve("coordinates_file") or (trial.source if trial.has_states else None),
            () if folder is None else (folder,),
            {} if model is None else {name: muscle.max_isometric_force for name, muscle in model.muscles.items()},
        )

    def _resolved(self, directory: Path, trial: SimulatedTrial) -> dict[str, Any]:
        """Return what the setup left open."""
        resolved: dict[str, Any] = {"cycle_source": self._cycle_source()}
        if not self.controls_file and trial.controls is not None and not trial.controls_are_source:
            assert trial.controls.path is not None
            resolved["controls_file"] = path_seen_from(directory, trial.controls.path)
        return resolved


def _ages(bundle: Bundle, motion: str) -> list[str]:
    """Name the age groups of which a bundle has EMG profiles of a motion."""
    classes = (pair for part in bundle.metadata["parts"] for pair in part.get("classes", ()))
    return sorted({age for kind, age in classes if age and kind == motion})


def _age_hint(ages: Sequence[str]) -> str:
    return f" EMG profiles are of all ages unless <age_group> is {' or '.join(ages)}." if ages else ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
