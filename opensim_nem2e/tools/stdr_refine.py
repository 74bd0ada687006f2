"""STDRRefineTool: the step after CMC.

Reads a CMC states file (or controls, or StaticOptimization/Moco activations), refines the activations of each gait
cycle with networks trained on measured EMG (STDR-Net, NEM2E paper, section 3), and writes files that OpenSim's tools
and its GUI open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CycleError, SetupError
from ..estimates.mechanics import MECHANICS_PROPERTIES, MECHANICS_RESULTS, examine_mechanics, mechanics_faults
from ..log import Recorder, logger
from .gait_events import CONTACT_PROPERTIES, contact_faults, contact_settings
from .properties import Property
from .tool import Tool, path_seen_from, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.simulation import MuscleDefaults, Trial
    from ..estimates.apply import Plan, RefinedMuscle
    from ..estimates.mechanics import Mechanics
    from ..estimates.write import Refinement
    from ..methods.bundle import Bundle
    from ..signals.cycles import Cycle
    from ..storage.osim import OsimModel

    Array = NDArray[np.float64]

_SIDES = {"r": "right", "l": "left"}

#: A bundle whose error on unseen people is not at least 2 % below that of the mean EMG profile has learned no more.
_WORTH_WHILE = 0.98

#: What a run may leave behind, after the tool's name.
_RESULTS = (
    *("_states.sto", "_activation.sto", "_controls.sto", "_emg.sto", "_attention.sto", "_summary.csv"),
    *MECHANICS_RESULTS,
    *("_effective_setup.xml", ".log"),
)


class STDRRefineTool(Tool):
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
    properties = (
        Property(
            "results_directory",
            "directory",
            "./",
            "Directory used for writing results.",
        ),
        Property(
            "model_file",
            "file",
            "",
            "Name of the .osim file of the simulation. Optional: it supplies the muscles' names, bounds and time "
            "constants; without it the defaults below are used.",
        ),
        Property(
            "states_file",
            "file",
            "",
            "States file (_states.sto) written by CMC. Give this, or controls_file, or activations_file.",
        ),
        Property(
            "controls_file",
            "file",
            "",
            "Controls file (_controls.sto or ControlSet .xml) written by CMC. Beside states_file: the file whose "
            "columns for reserves and residuals are carried over to the refined controls (found by itself if it lies "
            "beside the states file under CMC's name). Alone: activations are computed from its excitations through "
            "the activation dynamics.",
        ),
        Property(
            "activations_file",
            "file",
            "",
            "Activations written by StaticOptimization (_StaticOptimization_activation.sto) or a Moco solution.",
        ),
        Property(
            "network_file",
            "file",
            "gait",
            "Network bundle (.safetensors) written by STDRTrainTool, or the name of a bundle that ships with the "
            "package.",
            may_be_name=True,
            required=True,
        ),
        Property(
            "muscles",
            "strings",
            (),
            "Muscles to refine: names of the model (soleus_r) or standard names (soleus, both limbs). Empty: all for "
            "which the bundle has a network.",
        ),
        Property(
            "muscle_names_file",
            "file",
            "",
            "Table (.csv with the columns model_muscle, standard_name) that adds to or replaces entries of the "
            "package's own table of muscle names.",
        ),
        Property(
            "initial_time",
            "double",
            float("-inf"),
            "Initial time of the refinement. Earlier samples keep OpenSim's values.",
            unit="s",
        ),
        Property(
            "final_time",
            "double",
            float("inf"),
            "Final time of the refinement. Later samples keep OpenSim's values.",
            unit="s",
        ),
        Property(
            "cycle_source",
            "string",
            "auto",
            "Where the gait cycles come from. external_loads: heel strikes are found in the ground reactions. "
            "events: they are read from events_file. times: they are listed below. whole_file: the file (or "
            "initial_time to final_time) is one cycle. auto: events if events_file is given, else external_loads if "
            "external_loads_file is given, else times if heel strikes are given.",
            choices=("auto", "external_loads", "events", "times", "whole_file"),
        ),
        Property(
            "events_file",
            "file",
            "",
            "Table (.csv) of gait events, as written by GaitEventsTool and edited by hand.",
        ),
        Property(
            "external_loads_file",
            "file",
            "",
            "XML file (.xml) with the ExternalLoads of the simulation.",
        ),
        *CONTACT_PROPERTIES,
        Property(
            "right_heel_strikes",
            "doubles",
            (),
            "Times of successive right heel strikes, for cycle_source times.",
            unit="s",
        ),
        Property(
            "left_heel_strikes",
            "doubles",
            (),
            "Times of successive left heel strikes, for cycle_source times.",
            unit="s",
        ),
        Property(
            "whole_file_leading_limb",
            "string",
            "right",
            "For cycle_source whole_file: the limb whose heel strike begins the file. The other limb's cycle is the "
            "same stretch of time rolled by half a cycle, as in symmetrical gait.",
            choices=("right", "left"),
        ),
        Property(
            "whole_file_heel_strike",
            "double",
            float("-inf"),
            "For cycle_source whole_file: when the leading limb strikes the ground, if not at the beginning of the "
            "file (a simulation from mid-stance to mid-stance). Its cycle is then rolled to begin there: this assumes "
            "that the motion repeats itself.",
            unit="s",
        ),
        Property(
            "roll_incomplete_cycles",
            "bool",
            False,
            "If a limb has no complete cycle but strikes the ground within a complete cycle of the other limb, take "
            "that stretch of time as its cycle, rolled so that it begins with the limb's own heel strike? This assumes "
            "that the motion repeats itself. Useful where the simulation covers one gait cycle only.",
        ),
        Property(
            "minimum_cycle_duration",
            "double",
            0.4,
            "Shorter cycles are left alone (with whole_file: only warned of).",
            bounds="(0, Inf)",
            unit="s",
        ),
        Property(
            "maximum_cycle_duration",
            "double",
            2.5,
            "Longer cycles are left alone, as a heel strike was missed (with whole_file: only warned of).",
            bounds="(0, Inf)",
            unit="s",
        ),
        Property(
            "maximum_cycle_deviation",
            "double",
            0.2,
            "By how much a cycle found in the ground reactions or in a table of events may differ from the limb's "
            "median cycle, as a fraction of it; where it differs more, a contact was missed or wrong. Looked at from "
            "five cycles on. Heel strikes that are listed in the setup are trusted.",
            bounds="(0, Inf]",
        ),
        Property(
            "cycle_tolerance",
            "double",
            0.04,
            "By how much a cycle may begin before the file or end after it; the file's first or last value is held "
            "there. CMC's results begin 0.03 s after its initial_time, so a simulation from heel strike to heel strike "
            "needs some.",
            bounds="[0, 0.2]",
            unit="s",
        ),
        Property(
            "crossfade_duration",
            "double",
            0.05,
            "Time over which neighbouring cycles, and refined and unrefined samples, are blended.",
            bounds="[0, Inf)",
            unit="s",
        ),
        Property(
            "interpolation",
            "string",
            "pchip",
            "How the network's samples are brought back onto the file's time base. pchip: smooth, without overshoot.",
            choices=("pchip", "linear"),
        ),
        Property(
            "minimum_activation",
            "double",
            0.01,
            "Lower bound of refined activations where model_file does not say (OpenSim's default for muscles).",
            bounds="[0, 1)",
        ),
        Property(
            "activation_time_constant",
            "double",
            0.01,
            "Time constant of activation where model_file does not say (default of Millard2012EquilibriumMuscle).",
            bounds="(0, Inf)",
            unit="s",
        ),
        Property(
            "deactivation_time_constant",
            "double",
            0.04,
            "Time constant of deactivation where model_file does not say (default of Millard2012EquilibriumMuscle).",
            bounds="(0, Inf)",
            unit="s",
        ),
        Property(
            "output_precision",
            "int",
            8,
            "Decimals of refined columns. Columns that are not refined keep the digits of the input file.",
            bounds="[1, 20]",
        ),
        Property(
            "write_attention",
            "bool",
            False,
            "Write the attention weights (name_attention.sto)?",
        ),
        Property(
            "write_figures",
            "bool",
            False,
            "Draw a before/after figure for each muscle group?",
        ),
        Property(
            "figure_format",
            "string",
            "png",
            "Format of the figures.",
            choices=("png", "svg"),
        ),
        *MECHANICS_PROPERTIES,
    )

    # --- the run -----------------------------------------------------------------------------------------------

    def _check(self) -> list[str]:
        faults = contact_faults(self)
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
        if not self.initial_time < self.final_time:
            faults.append(
                f"<initial_time> must be less than <final_time>; found {self.initial_time:g} and {self.final_time:g}."
            )
        if not self.minimum_cycle_duration < self.maximum_cycle_duration:
            faults.append(
                "<minimum_cycle_duration> must be less than <maximum_cycle_duration>; found "
                f"{self.minimum_cycle_duration:g} and {self.maximum_cycle_duration:g}."
            )
        for side in _SIDES.values():
            name = f"{side}_heel_strikes"
            strikes = self.get(name)
            if any(later <= earlier for earlier, later in pairwise(strikes)):
                faults.append(f"<{name}> must be increasing times, but '{_numbers(strikes)}' was found.")
        return faults + mechanics_faults(self) + self._check_cycle_source()

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
        if self.events_file:
            return "events"
        if self.external_loads_file:
            return "external_loads"
        if self.right_heel_strikes or self.left_heel_strikes:
            return "times"
        raise SetupError(
            "The gait cycles are not known. Four choices: give <external_loads_file> (heel strikes are found in the "
            "ground reactions); or <events_file> (written by GaitEventsTool); or list heel strikes in "
            "<right_heel_strikes> and <left_heel_strikes>; or set "
            "<cycle_source> to whole_file if the file (or initial_time to final_time) is exactly one gait cycle."
        )

    def _run(self) -> None:
        recorder = Recorder()
        with recorder.listening():
            self._announce()
            refinement, model = self._refine()
            self._write(refinement, examine_mechanics(self, refinement, model), recorder)

    def _refine(self) -> tuple[Refinement, OsimModel | None]:
        """Compute everything; nothing is written yet."""
        from ..estimates.apply import plan_targets, refine_trial
        from ..estimates.write import Refinement
        from ..storage.muscles import MuscleNames

        bundle = self._load_bundle()
        model = self._load_model()
        trial = self._load_trial(model)
        name = self.getName() or f"{trial.stem}_refined"
        self._spare_inputs(name, trial)

        names = MuscleNames.load(self.resolve("muscle_names_file"))
        plan = plan_targets(bundle, names.of_model(trial.activations), self.muscles)
        cycles = self.find_cycles(trial.time)
        self._check_sides(plan, cycles)
        trial.require_finite(name for target in plan.targets if cycles.get(target.side) for name in target.inputs)
        _log_plan(plan, cycles)
        _log_coverage(trial.time, cycles)
        refined = refine_trial(
            bundle,
            trial.time,
            trial.activations,
            plan.targets,
            cycles,
            crossfade=self.crossfade_duration,
            interpolation=self.interpolation,
            tolerance=self.cycle_tolerance,
        )
        muscles = self._defaults.muscles(model, trial.activations)
        return Refinement(name, trial, bundle, refined, muscles, self.output_precision), model

    def _load_bundle(self) -> Bundle:
        from ..methods.bundle import Bundle

        path = self.resolve("network_file")
        bundle = Bundle.load(path if path is not None else self.network_file)
        logger.info("Network bundle: %s (%s; %s).", bundle.path, bundle.condition, ", ".join(bundle.targets))
        logger.info("It was trained on: %s", bundle.metadata["data"]["description"])
        logger.info(
            "The EMG it was trained on was normalised by '%s': refined activations are relative to that.",
            bundle.metadata["normalization"]["emg"],
        )
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

    @property
    def _defaults(self) -> MuscleDefaults:
        from ..data.simulation import MuscleDefaults

        return MuscleDefaults(self.minimum_activation, self.activation_time_constant, self.deactivation_time_constant)

    def _load_trial(self, model: OsimModel | None) -> Trial:
        from ..data.simulation import activations_trial, controls_trial, states_trial

        states, controls = self.resolve("states_file"), self.resolve("controls_file")
        activations = self.resolve("activations_file")
        if states is not None:
            trial = states_trial(states, controls, model)
        elif activations is not None:
            trial = activations_trial(activations, model)
        else:
            assert controls is not None  # _check has seen to it
            trial = controls_trial(controls, model, self._defaults)
        logger.info(
            "Read %d muscles over %.4f to %.4f s (%d rows) from '%s'.",
            len(trial.activations),
            trial.time[0],
            trial.time[-1],
            len(trial.time),
            trial.source.path,
        )
        return trial

    def _spare_inputs(self, name: str, trial: Trial) -> None:
        """Never let a result replace the file it was made from."""
        directory = self.resolve("results_directory")
        assert directory is not None
        paths = [self.setup_file, trial.source.path, trial.controls.path if trial.controls else None]
        paths += [self.resolve(prop.name) for prop in self.properties if prop.type == "file"]
        inputs = {path.resolve() for path in paths if path is not None}
        for result in (directory / f"{name}{ending}" for ending in _RESULTS):
            if result.resolve() in inputs:
                raise SetupError(
                    f"The result '{result}' would replace an input file. Give the tool another name "
                    f'(<{self.tool_name} name="...">) or another <results_directory>.',
                    self.setup_file,
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
        from ..signals.cycles import cycles_from_strikes, whole_file_cycles

        if len(time) < 2:
            raise CycleError(f"A trial needs at least two rows, but the file has one, at {time[0]:.4f} s.")
        start = max(float(time[0]), self.initial_time)
        end = min(float(time[-1]), self.final_time)
        if not start < end:
            raise CycleError(
                f"The file's time range {time[0]:.4f} to {time[-1]:.4f} s has nothing in common with <initial_time> "
                f"{self.initial_time:g} to <final_time> {self.final_time:g} s."
            )
        source = self._cycle_source()
        self._warn_of_unused(source)
        if source == "whole_file":
            leading = self.whole_file_leading_limb
            given = self.whole_file_heel_strike
            strike = given if given > float("-inf") else None
            logger.info(
                "Gait cycles: all of %.4f to %.4f s is taken as one cycle that begins with the %s heel strike%s; the "
                "other limb's cycle is the same stretch rolled by half.",
                start,
                end,
                leading,
                "" if strike is None else f" at {strike:.4f} s (rolled)",
            )
            if not self.minimum_cycle_duration <= end - start <= self.maximum_cycle_duration:
                logger.warning(
                    "A gait cycle of %.3f s is not plausible (%g to %g s is): is this really one whole cycle?",
                    end - start,
                    self.minimum_cycle_duration,
                    self.maximum_cycle_duration,
                )
            return {side: [cycle] for side, cycle in whole_file_cycles(start, end, leading[0], strike).items()}
        strikes = self._heel_strikes(source)
        # A cycle may reach a little beyond the file, but not beyond the times that the user sets.
        low = max(float(time[0]) - self.cycle_tolerance, self.initial_time)
        high = min(float(time[-1]) + self.cycle_tolerance, self.final_time)
        cycles: dict[str, list[Cycle]] = {}
        for side, word in _SIDES.items():
            found, rejected = cycles_from_strikes(
                strikes[side],
                side,
                low,
                high,
                min_duration=self.minimum_cycle_duration,
                max_duration=self.maximum_cycle_duration,
                # What the user lists is not second-guessed.
                max_deviation=float("inf") if source == "times" else self.maximum_cycle_deviation,
            )
            for pair in rejected:
                logger.warning(
                    "The %s gait cycle %.4f-%.4f s keeps OpenSim's values: %s.", word, pair.start, pair.end, pair.reason
                )
            for cycle in found:
                _log_overhang(cycle, time)
            spans = ", ".join(f"{cycle.start:.4f}-{cycle.end:.4f}" for cycle in found) or "none"
            logger.info("Complete %s gait cycles (s): %s.", word, spans)
            cycles[side] = found
        if self.roll_incomplete_cycles:
            _roll_incomplete(cycles, strikes)
        if not any(cycles.values()):
            near = {side: [t for t in strikes[side] if start - 1.0 < t < end + 1.0] for side in _SIDES}
            listed = "; ".join(f"{word}: {_times(near[side])}" for side, word in _SIDES.items())
            raise CycleError(
                f"There is no complete gait cycle between {start:.4f} and {end:.4f} s. A cycle lies between two heel "
                f"strikes of one foot; heel strikes around it (s): {listed}. Simulate from before one of them "
                "to beyond the next of the same foot."
            )
        return cycles

    def _warn_of_unused(self, source: str) -> None:
        """Say which statements about cycles the chosen source does not look at."""
        listed = [f"<{word}_heel_strikes>" for word in _SIDES.values() if self.get(f"{word}_heel_strikes")]
        if source != "times" and listed:
            logger.warning("%s: not used, as <cycle_source> is %s.", " and ".join(listed), source)
        for name, its_source in (("external_loads_file", "external_loads"), ("events_file", "events")):
            used_elsewhere = name == "external_loads_file" and (self.check_torques or self.redistribute)
            if source != its_source and self.get(name) and not used_elsewhere:
                logger.info("<%s>: not used, as <cycle_source> is %s.", name, source)

    def _heel_strikes(self, source: str) -> dict[str, Sequence[float]]:
        from ..signals.events import GaitEvents, events_from_external_loads

        if source == "times":
            return {side: self.get(f"{word}_heel_strikes") for side, word in _SIDES.items()}
        if source == "events":
            table = self.resolve("events_file")
            assert table is not None
            listed = GaitEvents.read(table)
            logger.info("Heel strikes were read from the table '%s'.", table)
            return {"r": listed.right.tolist(), "l": listed.left.tolist()}
        path = self.resolve("external_loads_file")
        assert path is not None
        events = events_from_external_loads(path, **contact_settings(self))
        logger.info("Heel strikes were found in the ground reactions of '%s'.", path)
        for note in events.notes:
            logger.info("%s", note)
        return {"r": events.right.tolist(), "l": events.left.tolist()}

    def _check_sides(self, plan: Plan, cycles: Mapping[str, Sequence[Cycle]]) -> None:
        """Say which muscles keep OpenSim's values because their limb has no complete cycle."""
        for side, word in _SIDES.items():
            without = [target.muscle for target in plan.targets if target.side == side and not cycles.get(side)]
            if not without:
                continue
            text = (
                f"There is no complete {word} gait cycle; not refined: {', '.join(without)}. If the motion repeats "
                "itself, <roll_incomplete_cycles> can help."
            )
            # A standard name ("soleus") asks for both limbs as far as they have cycles.
            if set(without) & set(self.muscles):
                raise CycleError(text)
            logger.warning("%s", text)
        if not any(cycles.get(target.side) for target in plan.targets):
            raise CycleError("No muscle that the bundle refines has a complete gait cycle of its own limb.")

    # --- results -----------------------------------------------------------------------------------------------

    def _write(self, refinement: Refinement, mechanics: Mechanics, recorder: Recorder) -> None:
        """Write every result, or none."""
        from ..estimates.summary import MuscleChange, summary_table
        from ..storage.atomic import ResultFiles
        from ..storage.tables import write_rows

        directory = self.resolve("results_directory")
        assert directory is not None
        name = refinement.name
        with ResultFiles(directory) as files, files.own_names():
            refinement.write_series(files)
            if self.write_attention:
                refinement.write_attention(files)
            if self.write_figures:
                refinement.draw(files, self.figure_format)
            rows = refinement.changes()
            write_rows(files.path(f"{name}_summary.csv"), MuscleChange, rows)
            for line in summary_table(rows):
                logger.info("%s", line)
            mechanics.write(files, self.figure_format, self.output_precision)
            _log_validation(refinement.bundle, refinement.refined)
            write_text(files.path(f"{name}_effective_setup.xml"), self._effective(directory, refinement.trial))
            for path in files.finals:
                logger.info("Writing '%s'.", path)
            for path in (directory / f"{name}{ending}" for ending in _RESULTS if ending != ".log"):
                if path.exists() and path not in files.finals:
                    logger.warning("'%s' is of an earlier run: this one did not write such a file.", path)
            write_text(files.path(f"{name}.log"), recorder.text)
        logger.info("Results are in '%s'.", directory)

    def _effective(self, directory: Path, trial: Trial) -> str:
        """Return the setup that was run, with what it left open filled in."""
        resolved: dict[str, Any] = {"cycle_source": self._cycle_source()}
        if not self.controls_file and trial.controls is not None and not trial.controls_are_source:
            assert trial.controls.path is not None
            resolved["controls_file"] = path_seen_from(directory, trial.controls.path)
        return self.effective_setup(directory, resolved)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _times(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values) or "none"


def _roll_incomplete(cycles: dict[str, list[Cycle]], strikes: Mapping[str, Sequence[float]]) -> None:
    """Give a limb without complete cycles those of the other limb, rolled to its own heel strikes."""
    from ..signals.cycles import whole_file_cycles

    for side, other in (("r", "l"), ("l", "r")):
        if cycles[side]:
            continue
        for own in cycles[other]:
            inside = [strike for strike in strikes[side] if own.start < strike < own.end]
            if len(inside) != 1:
                continue
            cycles[side].append(whole_file_cycles(own.start, own.end, side, inside[0])[side])
            logger.info(
                "The %s limb has no complete cycle: %.4f-%.4f s is taken as one, rolled to its heel strike at %.4f s.",
                _SIDES[side],
                own.start,
                own.end,
                inside[0],
            )


def _log_plan(plan: Plan, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    for target in plan.targets:
        if cycles.get(target.side):
            others = [name for name in target.inputs if name != target.muscle]
            more = f" from {len(target.inputs)} muscles" if others else ""
            logger.info("%s is refined by the network '%s'%s.", target.muscle, target.standard_name, more)
    for muscle, reason in plan.left_alone.items():
        logger.warning("%s is not refined: %s.", muscle, reason)
    if plan.without_network:
        logger.info("Not refined, as the bundle has no network for them: %s.", ", ".join(plan.without_network))


def _log_coverage(time: Array, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    """Say which samples keep OpenSim's values because they lie outside complete cycles."""
    from ..signals.cycles import inside_cycles

    for side, word in _SIDES.items():
        own = sorted(cycles.get(side, ()), key=lambda cycle: cycle.start)
        if not own:
            continue
        outside = int((~inside_cycles(time, own)).sum())
        edges = [float(time[0]), *(edge for cycle in own for edge in (cycle.start, cycle.end)), float(time[-1])]
        gaps = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1e-9]
        if outside:
            spans = ", ".join(f"{a:.4f}-{b:.4f}" for a, b in gaps)
            logger.info(
                "The %s limb keeps OpenSim's values outside its cycles: %d of %d rows (s: %s).",
                word,
                outside,
                len(time),
                spans,
            )


def _log_overhang(cycle: Cycle, time: Array) -> None:
    for what, missing in (("begins", time[0] - cycle.start), ("ends", cycle.end - time[-1])):
        if missing > 0:
            logger.info(
                "The cycle %.4f-%.4f s %s %.0f ms outside the file: the %s value is held there.",
                cycle.start,
                cycle.end,
                what,
                1e3 * missing,
                "first" if what == "begins" else "last",
            )


def _log_calibration(calibration: Mapping[str, Any], refined: Sequence[RefinedMuscle]) -> None:
    """Say for whom a calibrated bundle is, and its error on strides of this person that were left out."""
    logger.warning(
        "The networks were calibrated to %s (%s): they are for this person and nothing else.",
        ", ".join(calibration["subjects"]),
        ", ".join(calibration["motions"]),
    )
    columns = ("E_opensim", "E_calibrated", "E_mean")
    for network in dict.fromkeys(item.target.standard_name for item in refined):
        row = calibration["muscles"].get(network, {})
        if all(name in row for name in columns):
            logger.info(
                "%-8s  RMS error on this person's strides left out of the calibration: OpenSim %.3f, refined %.3f, "
                "mean of the other strides %.3f.",
                network,
                *(row[name] for name in columns),
            )
        else:
            logger.info("%-8s  calibrated on a single stride: its error is not known", network)


def _log_validation(bundle: Bundle, refined: Sequence[RefinedMuscle]) -> None:
    """Say how far the networks can be trusted: their error on people they were not trained on."""
    validation = bundle.metadata["validation"]
    if "calibration" in bundle.metadata:
        _log_calibration(bundle.metadata["calibration"], refined)
        return
    networks = list(dict.fromkeys(item.target.standard_name for item in refined))
    for method, words in (("leave_one_subject_out", "people left out of training"), ("held_out", "held-out people")):
        figures = validation.get(method)
        if not figures:
            continue
        logger.info("How far the networks can be trusted: their RMS error against measured EMG on %s.", words)
        logger.info("%-8s  subjects  OpenSim  refined  change   mean EMG profile of the other people", "network")
        for network in networks:
            row = figures.get(network)
            if row is None:
                logger.info("%-8s  never validated: too few people with this muscle's EMG", network)
                continue
            remark = ""
            if row["E_refined"] >= row["E_opensim"]:
                remark = "  (no better than OpenSim)"
            elif row["E_refined"] >= row["E_mean"]:
                remark = "  (no better than the mean profile)"
            logger.info(
                "%-8s  %8d  %7.3f  %7.3f  %+4.0f %%   %7.3f%s",
                network,
                row["subjects"],
                row["E_opensim"],
                row["E_refined"],
                100.0 * row["Er_refined"],
                row["E_mean"],
                remark,
            )
        total = figures.get("ALL")
        if total and total["E_refined"] > _WORTH_WHILE * total["E_mean"]:
            logger.warning(
                "On people it has not seen the bundle is no nearer to measured EMG than the mean EMG profile of other "
                "people: take the refined curves as average waveforms, not as this person's."
            )
        return
    logger.warning("The bundle carries no validation figures: nothing is known of its error on people it has not seen.")
