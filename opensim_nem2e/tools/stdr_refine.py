"""STDRRefineTool: the step after CMC.

Reads a CMC states file (or controls, or StaticOptimization/Moco activations), refines the activations of each gait
cycle with networks trained on measured EMG (STDR-Net, NEM2E paper, section 3), and writes files that OpenSim's tools
and its GUI open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CycleError, LabelError, ModelError, SetupError, did_you_mean
from ..log import Recorder, logger
from .properties import Property
from .tool import Tool, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..networks.bundle import Bundle
    from ..networks.refinement import Plan, RefinedMuscle
    from ..signals.cycles import Cycle
    from ..storage import TimeSeries
    from ..storage.atomic import ResultFiles
    from ..storage.osim import MuscleInfo, OsimModel

    Array = NDArray[np.float64]

_SIDES = {"r": "right", "l": "left"}


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
            "Where the gait cycles come from. external_loads: heel strikes are found in the ground reactions. times: "
            "heel strikes are listed below. whole_file: the file (or initial_time to final_time) is one cycle. auto: "
            "external_loads if external_loads_file is given, else times if heel strikes are given.",
            choices=("auto", "external_loads", "times", "whole_file"),
        ),
        Property(
            "external_loads_file",
            "file",
            "",
            "XML file (.xml) with the ExternalLoads of the simulation.",
        ),
        Property(
            "contact_threshold",
            "double",
            20.0,
            "Vertical ground reaction above which a foot is on the ground.",
            bounds="(0, Inf)",
            unit="N",
        ),
        Property(
            "minimum_contact_duration",
            "double",
            0.1,
            "Shorter contacts are not a step (debounce).",
            bounds="[0, Inf)",
            unit="s",
        ),
        Property(
            "minimum_swing_duration",
            "double",
            0.1,
            "Shorter losses of contact do not end a step (debounce).",
            bounds="[0, Inf)",
            unit="s",
        ),
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
            "minimum_cycle_duration",
            "double",
            0.4,
            "Shorter cycles are left alone. Does not apply to whole_file.",
            bounds="(0, Inf)",
            unit="s",
        ),
        Property(
            "maximum_cycle_duration",
            "double",
            2.5,
            "Longer cycles are left alone (a heel strike was missed). Does not apply to whole_file.",
            bounds="(0, Inf)",
            unit="s",
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
    )

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
        return faults + self._check_cycle_source()

    def _check_cycle_source(self) -> list[str]:
        try:
            source = self._cycle_source()
        except SetupError as error:
            return list(error.faults)
        if source == "external_loads" and not self.external_loads_file:
            return ["<cycle_source> external_loads needs <external_loads_file>, but it is empty."]
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
        if self.external_loads_file:
            return "external_loads"
        if self.right_heel_strikes or self.left_heel_strikes:
            return "times"
        raise SetupError(
            "The gait cycles are not known. Three choices: give <external_loads_file> (heel strikes are found in the "
            "ground reactions); or list heel strikes in <right_heel_strikes> and <left_heel_strikes>; or set "
            "<cycle_source> to whole_file if the file (or initial_time to final_time) is exactly one gait cycle."
        )

    def _run(self) -> None:
        recorder = Recorder()
        logger.addHandler(recorder)
        try:
            self._refine(recorder)
        finally:
            logger.removeHandler(recorder)

    def _refine(self, recorder: Recorder) -> None:
        import numpy as np

        from ..networks.refinement import plan_targets, refine_trial
        from ..storage.muscles import MuscleNames

        bundle = self._load_bundle()
        model = self._load_model()
        trial = self._load_trial(model)
        name = self.getName() or f"{trial.stem}_refined"
        results = self.resolve("results_directory")
        assert results is not None
        _refuse_overwriting_inputs(self, results, name, trial)

        names = MuscleNames.load(self.resolve("muscle_names_file"))
        standard = {muscle: names.standard(muscle) for muscle in trial.activations}
        plan = plan_targets(bundle, standard, self.muscles)
        cycles = self._find_cycles(trial.time)
        self._check_sides(plan, cycles)
        _require_finite(trial, plan, cycles)
        _log_plan(plan, cycles)

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
        muscles = self._dynamics_of(model, trial.activations)
        clipped = {}
        for item in refined:
            info = muscles[item.target.muscle]
            bounded = np.clip(item.estimate, info.low, info.high)
            # Outside the cycles OpenSim's value stays, even where it is out of bounds.
            clipped[item.target.muscle] = np.where(item.refined, bounded, item.estimate)
        self._write(results, name, bundle, model, trial, refined, clipped, muscles, recorder)

    def _load_bundle(self) -> Bundle:
        from ..networks.bundle import Bundle

        path = self.resolve("network_file")
        bundle = Bundle.load(path if path is not None else self.network_file)
        data = bundle.metadata["data"]
        logger.info("Network bundle: %s (%s, muscles %s).", bundle.path, bundle.condition, ", ".join(bundle.targets))
        logger.info("It was trained on: %s", data["description"])
        return bundle

    def _load_model(self) -> OsimModel | None:
        from ..storage.osim import read_model

        path = self.resolve("model_file")
        if path is None:
            logger.warning(
                "No model_file was given: muscles have the bounds %g..1 and the time constants %g s and %g s of this "
                "tool's properties.",
                self.minimum_activation,
                self.activation_time_constant,
                self.deactivation_time_constant,
            )
            return None
        model = read_model(path)
        logger.info("Model: %s (%d muscles), from '%s'.", model.name, len(model.muscles), path)
        return model

    def _load_trial(self, model: OsimModel | None) -> _Trial:
        from ..storage import read_storage
        from ..storage.labels import find_activation_columns

        muscle_names = None if model is None else list(model.muscles)
        model_path = self.resolve("model_file")
        states = self.resolve("states_file")
        if states is not None:
            source = read_storage(states, model=model_path)
            labels = find_activation_columns(source)
            if not labels:
                raise LabelError(
                    "A states file must have activation columns (/forceset/soleus_r/activation or "
                    f"soleus_r.activation), but {_found(source.labels)} was found. Activations of StaticOptimization "
                    "go into <activations_file>.",
                    states,
                )
            _require_model_muscles(model, labels, states)
            controls, control_labels = self._controls_beside(states, labels)
            activations = {muscle: source.data[:, source.index(label)] for muscle, label in labels.items()}
            trial = _Trial(source.time, activations, source, labels, True, controls, control_labels, _stem(states))
        elif self.activations_file:
            path = self.resolve("activations_file")
            assert path is not None
            trial = _activations_trial(read_storage(path, model=model_path), path, muscle_names)
            _require_model_muscles(model, trial.activations, path)
        else:
            path = self.resolve("controls_file")
            assert path is not None
            trial = self._controls_trial(path, model, muscle_names)
            _require_model_muscles(model, trial.activations, path)
        logger.info(
            "Read %d muscles over %.4f to %.4f s (%d rows) from '%s'.",
            len(trial.activations),
            trial.time[0],
            trial.time[-1],
            len(trial.time),
            trial.source.path,
        )
        return trial

    def _controls_beside(self, states: Path, muscles: Mapping[str, str]) -> tuple[TimeSeries | None, Mapping[str, str]]:
        """Find the controls that belong to a states file, for the columns of reserves and residuals."""
        from ..storage.labels import find_excitation_columns

        path = self.resolve("controls_file")
        if path is None:
            path = _sibling_controls(states)
            if path is None:
                return None, {}
            logger.info("The controls file beside the states file is used: '%s'.", path)
        controls = _read_controls(path)
        labels = find_excitation_columns(controls, list(muscles))
        missing = [muscle for muscle in muscles if muscle not in labels]
        if missing:
            raise LabelError(
                f"The controls must have a column for every muscle of the states file '{states}', but there is none "
                f"for {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}. Do the two files belong "
                "together?",
                path,
            )
        return controls, labels

    def _controls_trial(self, path: Path, model: OsimModel | None, muscle_names: Sequence[str] | None) -> _Trial:
        """Compute activations from CMC's excitations."""
        import numpy as np

        from ..musculoskeletal.activation import activation_from_excitation
        from ..storage.labels import find_excitation_columns

        source = _read_controls(path)
        labels = find_excitation_columns(source, muscle_names)
        if not labels:
            raise LabelError(f"No column is a muscle's control; {_found(source.labels)} was found.", path)
        muscles = self._dynamics_of(model, labels)
        excitation = source.select(list(labels.values()))
        activation = activation_from_excitation(
            source.time,
            excitation,
            [info.tau_act for info in muscles.values()],
            [info.tau_deact for info in muscles.values()],
            excitation[0],
            [info.kind for info in muscles.values()],
            min_activation=[info.min_activation for info in muscles.values()],
        )
        logger.info("Activations were computed from the controls through the muscles' activation dynamics.")
        activations = {muscle: np.ascontiguousarray(activation[:, k]) for k, muscle in enumerate(labels)}
        return _Trial(source.time, activations, source, {}, False, source, labels, _stem(path))

    def _dynamics_of(self, model: OsimModel | None, muscles: Iterable[str]) -> dict[str, _Muscle]:
        """Return bounds and activation dynamics of every muscle; this tool's defaults where the model is silent."""
        return {muscle: self._muscle(None if model is None else model.muscles[muscle]) for muscle in muscles}

    def _muscle(self, info: MuscleInfo | None) -> _Muscle:
        def first(value: float | None, default: float) -> float:
            return default if value is None else value

        min_control, max_control = (
            (self.minimum_activation, 1.0) if info is None else (info.min_control, info.max_control)
        )
        blended = info is not None and info.class_name == "DeGrooteFregly2016Muscle"
        min_activation = first(None if info is None else info.min_activation, self.minimum_activation)
        return _Muscle(
            # A muscle whose control cannot go below min_control cannot hold a lower activation.
            low=max(min_activation, min_control),
            high=min(1.0, max_control),
            min_control=min_control,
            max_control=max_control,
            min_activation=min_activation,
            tau_act=first(None if info is None else info.activation_time_constant, self.activation_time_constant),
            tau_deact=first(None if info is None else info.deactivation_time_constant, self.deactivation_time_constant),
            kind="degroote_fregly" if blended else "first_order",
        )

    def _find_cycles(self, time: Array) -> dict[str, list[Cycle]]:
        """Return the complete gait cycles of each limb, within the file and the time range."""
        from ..signals.cycles import cycles_from_strikes, whole_file_cycles

        start = max(float(time[0]), self.initial_time)
        end = min(float(time[-1]), self.final_time)
        if not start < end:
            raise CycleError(
                f"The file's time range {time[0]:.4f} to {time[-1]:.4f} s has nothing in common with <initial_time> "
                f"{self.initial_time:g} to <final_time> {self.final_time:g} s."
            )
        source = self._cycle_source()
        if source == "whole_file":
            leading = self.whole_file_leading_limb
            logger.info(
                "Gait cycles: all of %.4f to %.4f s is taken as one cycle that begins with the %s heel strike; the "
                "other limb's cycle is the same stretch rolled by half.",
                start,
                end,
                leading,
            )
            return {side: [cycle] for side, cycle in whole_file_cycles(start, end, leading[0]).items()}
        strikes = self._heel_strikes(source)
        cycles: dict[str, list[Cycle]] = {}
        for side, word in _SIDES.items():
            found, rejected = cycles_from_strikes(
                strikes[side],
                side,
                start,
                end,
                min_duration=self.minimum_cycle_duration,
                max_duration=self.maximum_cycle_duration,
                tolerance=self.cycle_tolerance,
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
        if not any(cycles.values()):
            listed = "; ".join(f"{word}: {_times(strikes[side])}" for side, word in _SIDES.items())
            raise CycleError(
                f"There is no complete gait cycle between {start:.4f} and {end:.4f} s. A cycle lies between two heel "
                f"strikes of one foot; heel strikes found (s): {listed}."
            )
        return cycles

    def _heel_strikes(self, source: str) -> dict[str, Sequence[float]]:
        from ..signals.events import events_from_external_loads

        if source == "times":
            return {side: self.get(f"{word}_heel_strikes") for side, word in _SIDES.items()}
        path = self.resolve("external_loads_file")
        assert path is not None
        events = events_from_external_loads(
            path,
            threshold=self.contact_threshold,
            minimum_contact=self.minimum_contact_duration,
            minimum_swing=self.minimum_swing_duration,
        )
        logger.info("Heel strikes were found in the ground reactions of '%s'.", path)
        return {"r": events.right, "l": events.left}

    def _check_sides(self, plan: Plan, cycles: Mapping[str, Sequence[Cycle]]) -> None:
        """Say which muscles keep OpenSim's values because their limb has no complete cycle."""
        for side, word in _SIDES.items():
            without = [target.muscle for target in plan.targets if target.side == side and not cycles.get(side)]
            if not without:
                continue
            text = f"There is no complete {word} gait cycle; not refined: {', '.join(without)}."
            if self.muscles:
                raise CycleError(text)
            logger.warning("%s", text)
        if not any(cycles.get(target.side) for target in plan.targets):
            raise CycleError("No muscle that the bundle refines has a complete gait cycle of its own limb.")

    # --- results -----------------------------------------------------------------------------------------------

    def _write(
        self,
        directory: Path,
        name: str,
        bundle: Bundle,
        model: OsimModel | None,
        trial: _Trial,
        refined: Sequence[RefinedMuscle],
        clipped: Mapping[str, Array],
        muscles: Mapping[str, _Muscle],
        recorder: Recorder,
    ) -> None:
        """Write every result, or none."""
        import numpy as np

        from ..evaluation.summary import summary_table, write_summary
        from ..networks.refinement import attention_over_time
        from ..storage import TimeSeries, rewrite_columns, write_storage
        from ..storage.atomic import ResultFiles

        precision = self.output_precision
        changed = {item.target.muscle: np.ma.array(clipped[item.target.muscle], mask=~item.refined) for item in refined}
        with ResultFiles(directory) as files:
            if trial.has_states:
                rewrite_columns(
                    trial.source,
                    {trial.labels[muscle]: values for muscle, values in changed.items()},
                    files.path(f"{name}_states.sto"),
                    name=f"{name}_states",
                    precision=precision,
                )
            if trial.labels:
                rewrite_columns(
                    trial.source,
                    {trial.labels[muscle]: values for muscle, values in changed.items()},
                    files.path(f"{name}_activation.sto"),
                    name=f"{name}_activation",
                    precision=precision,
                    columns={label: muscle for muscle, label in trial.labels.items()},
                )
            else:
                activations = {**trial.activations, **clipped}
                write_storage(
                    files.path(f"{name}_activation.sto"),
                    TimeSeries(trial.time, tuple(activations), np.column_stack(list(activations.values())), name=name),
                    precision=precision,
                )
            self._write_controls(files, name, trial, refined, clipped, muscles)
            write_storage(
                files.path(f"{name}_emg.sto"),
                TimeSeries(
                    trial.time,
                    tuple(item.target.muscle for item in refined),
                    np.column_stack([item.estimate for item in refined]),
                    name=f"{name}_emg",
                ),
                precision=precision,
            )
            if self.write_attention:
                time, labels, weights = attention_over_time(bundle, refined)
                write_storage(
                    files.path(f"{name}_attention.sto"),
                    TimeSeries(time, tuple(labels), weights, name=f"{name}_attention"),
                    precision=precision,
                )
            if self.write_figures:
                self._draw(files, name, bundle, trial, refined, clipped)
            rows = [_change(item, muscles[item.target.muscle], clipped) for item in refined]
            write_summary(files.path(f"{name}_summary.csv"), rows)
            for line in summary_table(rows):
                logger.info("%s", line)
            _log_validation(bundle, refined)
            write_text(files.path(f"{name}_setup.xml"), self._effective(directory, trial))
            for path in files.finals:
                logger.info("Writing '%s'.", path)
            write_text(files.path(f"{name}.log"), recorder.text)
        logger.info("Results are in '%s'.", directory)

    def _write_controls(
        self,
        files: ResultFiles,
        name: str,
        trial: _Trial,
        refined: Sequence[RefinedMuscle],
        clipped: Mapping[str, Array],
        muscles: Mapping[str, _Muscle],
    ) -> None:
        """Write excitations that reproduce the refined activations, beside all other actuators' controls."""
        import numpy as np

        from ..musculoskeletal.activation import excitation_from_activation
        from ..signals.resample import interpolate
        from ..storage import TimeSeries, rewrite_columns, write_storage

        path = files.path(f"{name}_controls.sto")
        # Without a file to carry other columns over from, every muscle gets its excitation here.
        wanted = {item.target.muscle: clipped[item.target.muscle] for item in refined}
        if trial.controls is None:
            wanted = {**trial.activations, **wanted}
        parameters = [muscles[muscle] for muscle in wanted]
        excitation, achieved = excitation_from_activation(
            trial.time,
            np.column_stack(list(wanted.values())),
            [info.tau_act for info in parameters],
            [info.tau_deact for info in parameters],
            [info.min_control for info in parameters],
            [info.max_control for info in parameters],
            [info.kind for info in parameters],
            min_activation=[info.min_activation for info in parameters],
        )
        shift = {
            muscle: float(np.sqrt(np.mean((achieved[:, k] - wanted[muscle]) ** 2))) for k, muscle in enumerate(wanted)
        }
        worst = max((item.target.muscle for item in refined), key=lambda muscle: shift[muscle])
        logger.info(
            "The refined controls reproduce the refined activations within %.4f RMS (worst muscle: %s); where a muscle "
            "cannot deactivate as fast as the estimate falls, its excitation is at the lower bound.",
            shift[worst],
            worst,
        )
        if trial.controls is None:
            logger.warning(
                "No controls file of the simulation is at hand: '%s' holds the muscles only. ForwardTool also needs "
                "the reserve and residual actuators: give <controls_file>.",
                f"{name}_controls.sto",
            )
            write_storage(
                path,
                TimeSeries(trial.time, tuple(wanted), excitation, name=f"{name}_controls"),
                precision=self.output_precision,
            )
            return
        time = trial.controls.time
        replacements = {}
        for k, item in enumerate(refined):
            inside = _inside(time, item.cycles)
            values = interpolate(trial.time, excitation[:, k], time)
            replacements[trial.control_labels[item.target.muscle]] = np.ma.array(values, mask=~inside)
        # ForwardTool knows actuators by their bare names only (it refuses /forceset/soleus_r).
        columns = {label: label.rpartition("/")[2] for label in trial.controls.labels if _is_control(label)}
        columns |= {label: muscle for muscle, label in trial.control_labels.items()}
        if trial.controls.path is None or trial.controls.path.suffix.lower() == ".xml":
            data = np.column_stack([_filled(trial.controls, label, replacements) for label in columns])
            write_storage(
                path,
                TimeSeries(time, tuple(columns.values()), data, name=f"{name}_controls"),
                precision=self.output_precision,
            )
            return
        rewrite_columns(
            trial.controls,
            replacements,
            path,
            name=f"{name}_controls",
            precision=self.output_precision,
            columns=columns,
        )

    def _draw(
        self,
        files: ResultFiles,
        name: str,
        bundle: Bundle,
        trial: _Trial,
        refined: Sequence[RefinedMuscle],
        clipped: Mapping[str, Array],
    ) -> None:
        from ..evaluation.figures import BeforeAfter, draw_before_after, grouped

        curves = [
            BeforeAfter(
                muscle=item.target.muscle,
                standard_name=item.target.standard_name,
                side=item.target.side,
                before=trial.activations[item.target.muscle],
                after=clipped[item.target.muscle],
                refined=item.refined,
                boundaries=_boundaries(item.cycles),
            )
            for item in refined
        ]
        for group, members in grouped(curves).items():
            draw_before_after(
                trial.time,
                members,
                files.path(f"{name}_{group}.{self.figure_format}"),
                title=f"{name}: {group}",
                caption=f"OpenSim: {trial.source_name}. Refined: {bundle.condition} networks of "
                f"{bundle.path.name if bundle.path else 'a bundle'}.",
            )

    def _effective(self, directory: Path, trial: _Trial) -> str:
        resolved: dict[str, Any] = {"cycle_source": self._cycle_source()}
        text = self.effective_setup(directory, resolved)
        return text


@dataclass(frozen=True)
class _Muscle:
    """What the refinement needs to know of a muscle: bounds and activation dynamics."""

    low: float
    high: float
    min_control: float
    max_control: float
    min_activation: float
    tau_act: float
    tau_deact: float
    kind: str


@dataclass(frozen=True)
class _Trial:
    """A simulation's result, whatever file it came from.

    Attributes
    ----------
    time : numpy.ndarray, shape (rows,)
        Time (s).
    activations : dict of str to numpy.ndarray
        Activation of every muscle, in file order.
    source : TimeSeries
        The file the activations came from.
    labels : dict of str to str
        The column of each muscle's activation in ``source``; empty if activations were computed from excitations.
    has_states : bool
        Whether ``source`` is a states file, which the GUI can replay.
    controls : TimeSeries or None
        The file whose other columns go into the refined controls.
    control_labels : dict of str to str
        The column of each muscle's excitation in ``controls``.
    stem : str
        What the input file's name begins with.
    """

    time: Array
    activations: Mapping[str, Array]
    source: TimeSeries
    labels: Mapping[str, str]
    has_states: bool
    controls: TimeSeries | None
    control_labels: Mapping[str, str]
    stem: str

    @property
    def source_name(self) -> str:
        """The input file's name."""
        return self.source.path.name if self.source.path else ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _stem(path: Path) -> str:
    """Strip what OpenSim's tools append to their name."""
    return re.sub(r"_(states|controls|(StaticOptimization_)?activation)$", "", path.stem) or path.stem


def _is_control(label: str) -> bool:
    """Whether a column can be a control: Moco solutions also hold states and multipliers."""
    from ..storage.labels import parse_label

    return parse_label(label).kind in ("excitation", "other")


def _boundaries(cycles: Sequence[Cycle]) -> tuple[float, ...]:
    times: set[float] = set()
    for cycle in cycles:
        times |= {cycle.start, cycle.end} if cycle.roll_to is None else {cycle.roll_to}
    return tuple(sorted(times))


def _inside(time: Array, cycles: Sequence[Cycle]) -> NDArray[np.bool_]:
    import numpy as np

    inside = np.zeros(time.shape, dtype=bool)
    for cycle in cycles:
        inside |= (time >= cycle.start) & (time <= cycle.end)
    return inside


def _filled(series: TimeSeries, label: str, replacements: Mapping[str, np.ma.MaskedArray[Any, Any]]) -> Array:
    import numpy as np

    values = series.data[:, series.index(label)]
    if label not in replacements:
        return values
    replacement = replacements[label]
    return np.where(replacement.mask, values, replacement.data)


def _change(item: RefinedMuscle, muscle: _Muscle, clipped: Mapping[str, Array]):  # type: ignore[no-untyped-def]
    import numpy as np

    from ..evaluation.summary import muscle_change

    excess = np.abs(item.estimate - clipped[item.target.muscle])
    return muscle_change(
        item.target.muscle,
        item.target.standard_name,
        item.target.side,
        item.before,
        np.clip(item.after, muscle.low, muscle.high),
        [cycle.end - cycle.start for cycle in item.cycles],
        int(np.count_nonzero(excess)),
        float(excess.max()),
    )


def _found(labels: Sequence[str], most: int = 4) -> str:
    more = ", ..." if len(labels) > most else ""
    return "'" + ", ".join(labels[:most]) + more + "'"


def _times(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values) or "none"


def _sibling_controls(states: Path) -> Path | None:
    """Return the controls file that CMC wrote beside a states file, if it is there."""
    if not states.stem.endswith("_states"):
        return None
    sibling = states.with_name(f"{states.stem.removesuffix('_states')}_controls{states.suffix}")
    return sibling if sibling.is_file() else None


def _read_controls(path: Path) -> TimeSeries:
    from ..storage import read_storage
    from ..storage.controls_xml import read_controls_xml

    return read_controls_xml(path) if path.suffix.lower() == ".xml" else read_storage(path)


def _activations_trial(source: TimeSeries, path: Path, muscle_names: Sequence[str] | None) -> _Trial:
    """Take the activations of a Moco solution (states and controls in one file) or of StaticOptimization."""
    from ..storage.labels import find_activation_columns, find_excitation_columns, find_so_activation_columns

    labels = find_activation_columns(source)
    has_states = bool(labels)
    if labels:
        control_labels = find_excitation_columns(source, list(labels))
        complete = all(muscle in control_labels for muscle in labels)
        controls = source if complete else None
    else:
        labels = find_so_activation_columns(source, muscle_names)
        # StaticOptimization knows no dynamics: its activations are its controls.
        control_labels, controls = labels, source
    if not labels:
        raise LabelError(
            f"No column is a muscle's activation; {_found(source.labels)} was found. With <model_file> every muscle of "
            "the model is known.",
            path,
        )
    activations = {muscle: source.data[:, source.index(label)] for muscle, label in labels.items()}
    return _Trial(source.time, activations, source, labels, has_states, controls, control_labels, _stem(path))


def _require_model_muscles(model: OsimModel | None, muscles: Mapping[str, Any], path: Path) -> None:
    if model is None:
        return
    unknown = [muscle for muscle in muscles if muscle not in model.muscles]
    if unknown:
        hint = did_you_mean(unknown[0], model.muscles)
        raise ModelError(
            f"{path}: the muscles {', '.join(unknown[:5])}{' and others' if len(unknown) > 5 else ''} are not in the "
            f"model '{model.name}' of <model_file>. Is it the model of this simulation?{hint}"
        )


def _require_finite(trial: _Trial, plan: Plan, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    """Refuse missing values in the columns that are needed; elsewhere they do no harm."""
    needed = {name for target in plan.targets if cycles.get(target.side) for name in target.inputs}
    if trial.labels:
        trial.source.select([label for muscle, label in trial.labels.items() if muscle in needed])


def _refuse_overwriting_inputs(tool: STDRRefineTool, directory: Path, name: str, trial: _Trial) -> None:
    """Never let a result replace the file it was made from."""
    inputs = {series.path.resolve() for series in (trial.source, trial.controls) if series and series.path}
    for ending in ("states.sto", "controls.sto", "activation.sto", "emg.sto"):
        result = directory / f"{name}_{ending}"
        if result.resolve() in inputs:
            raise SetupError(
                f"the result '{result}' would replace an input file. Give the tool another name "
                f'(<{tool.tool_name} name="...">) or another <results_directory>.',
                tool.setup_file,
            )


def _log_plan(plan: Plan, cycles: Mapping[str, Sequence[Cycle]]) -> None:
    for target in plan.targets:
        if cycles.get(target.side):
            others = [name for name in target.inputs if name != target.muscle]
            more = f" from {len(target.inputs)} muscles" if others else ""
            logger.info("%s is refined by the network '%s'%s.", target.muscle, target.standard_name, more)
    for muscle, reason in plan.left_alone.items():
        logger.warning("%s is not refined: %s.", muscle, reason)


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


def _log_validation(bundle: Bundle, refined: Sequence[RefinedMuscle]) -> None:
    """Say how far the networks can be trusted: their error on people they were not trained on."""
    validation = bundle.metadata["validation"]
    networks = list(dict.fromkeys(item.target.standard_name for item in refined))
    for method, words in (("leave_one_subject_out", "people left out of training"), ("held_out", "held-out people")):
        figures = validation.get(method)
        if not figures:
            continue
        logger.info("How far the networks can be trusted: their RMS error against measured EMG on %s.", words)
        logger.info("%-8s  subjects  OpenSim  refined  change   mean EMG profile", "network")
        for network in networks:
            row = figures.get(network)
            if row is None:
                logger.info("%-8s  never validated: too few people with this muscle's EMG", network)
                continue
            worse = row["E_refined"] >= row["E_opensim"]
            logger.info(
                "%-8s  %8d  %7.3f  %7.3f  %+5.0f %%  %7.3f%s",
                network,
                row["subjects"],
                row["E_opensim"],
                row["E_refined"],
                100.0 * row["Er_refined"],
                row["E_mean"],
                "  (no better than OpenSim)" if worse else "",
            )
        return
    logger.warning("The bundle carries no validation figures: nothing is known of its error on people it has not seen.")
